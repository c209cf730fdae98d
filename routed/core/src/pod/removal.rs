//! Removing pods: routes and rules first, then the answer, then the pair; and trying again.

use std::time::Instant;

use super::{
    Command, Notice, Pods, RETRY, Record,
    slot::{Errand, Phase, Then, Work},
    step::Step,
    undo::undo,
    verb::{Attach, Collect, OpId, PodError, Reply},
    wiring::Wiring,
};
use crate::attachment::AttachmentId;

impl Pods {
    /// Begins to remove what exists.
    pub(super) fn begin_cut(&mut self, wiring: Wiring, then: Then) {
        let mut steps = undo(&self.made(&wiring));
        if self.slots.siblings(&wiring.id).next().is_none() {
            // Nothing comes in any more through a doomed interface, and no other may send from these
            // addresses: the rules can wait until the interface is gone.
            steps.retain(|step| !matches!(step, Step::Forbid { .. }));
        }
        self.cut_by(steps, wiring, then);
    }

    pub(super) fn cut_by(&mut self, steps: Vec<Step>, wiring: Wiring, then: Then) {
        let id = wiring.id.clone();
        self.commands.push_back(Command::Cut(id.clone(), steps));
        self.slots.set(&id, Phase::Working(wiring, Work::Cutting(then)));
    }

    pub(super) fn begin_sweep(&mut self, wiring: Wiring, then: Then) {
        let id = wiring.id.clone();
        self.commands.push_back(Command::Sweep(id.clone()));
        self.slots.set(&id, Phase::Working(wiring, Work::Sweeping(then)));
    }

    /// Nothing leads to the pod any more, so its addresses are idle: what automatic choice needs
    /// beyond that is the cooldown, and who asks for an address by name may have it at once.
    pub(super) fn was_cut(&mut self, wiring: Wiring, then: Then, now: Instant) {
        match then {
            // The runtime may have told others about the addresses.
            Then::Rebuild { .. } => {}
            Then::Forget | Then::Answer(_) | Then::Collected(_) | Then::Fail { .. } => {
                self.release(&wiring.id, now);
            }
        }
        let then = match then {
            // That is what DEL promises. Deleting the pair takes the kernel 20 ms, which nobody
            // needs to wait for.
            Then::Answer(op) => {
                self.reply(op, Reply::Done);
                Then::Forget
            }
            Then::Collected(op) => {
                self.collected(op, &wiring.id, Ok(()));
                Then::Forget
            }
            then @ (Then::Forget | Then::Fail { .. } | Then::Rebuild { .. }) => then,
        };
        self.begin_sweep(wiring, then);
    }

    pub(super) fn was_swept(&mut self, wiring: Wiring, then: Then, now: Instant) {
        if self.settings.guard.is_some() {
            self.commands.push_back(Command::Unpermit(wiring.host.index));
        }
        self.indexes.put_back(wiring.host.index);
        self.gone.remove(&wiring.host.index);
        self.drift.forget(&wiring.id);
        self.left(&wiring.id);
        if let Then::Rebuild { op, attach } = then {
            let attach = Attach {
                mac: Some(wiring.inside.mac),
                mtu: Some(wiring.mtu),
                default_route: Some(wiring.default_route),
                pod: attach.pod.or(wiring.pod),
                ..*attach
            };
            return self.begin_attach(op, &attach, now);
        }
        self.release(&wiring.id, now);
        match then {
            Then::Forget | Then::Rebuild { .. } => {}
            Then::Answer(op) => self.reply(op, Reply::Done),
            Then::Collected(op) => self.collected(op, &wiring.id, Ok(())),
            Then::Fail { op, error } => self.fail(op, error),
        }
    }

    /// The addresses are idle from now on.
    pub(super) fn release(&mut self, id: &AttachmentId, now: Instant) {
        if let Some(lease) = self.ipam.release(id, now) {
            self.commands.push_back(Command::Record(Record::Released(lease, now)));
        }
    }

    /// Removing failed: everybody who waits is told, and it is tried again later.
    pub(super) fn stuck(
        &mut self,
        wiring: Wiring,
        then: Then,
        cut: bool,
        error: PodError,
        now: Instant,
    ) {
        let id = wiring.id.clone();
        self.left(&id);
        match then {
            Then::Forget => {}
            Then::Answer(op) | Then::Rebuild { op, .. } => self.fail(op, error.clone()),
            Then::Fail { op, error: first } => self.fail(op, first),
            Then::Collected(op) => self.collected(op, &id, Err(error.clone())),
        }
        let again = now + RETRY;
        self.slots.set(&id, Phase::Working(wiring, Work::Stuck { cut, again }));
        for errand in self.slots.drain(&id) {
            match errand {
                Errand::Collect { op } => self.collected(op, &id, Err(error.clone())),
                Errand::Attach { op, .. } | Errand::Detach { op } | Errand::Check { op, .. } => {
                    self.fail(op, error.clone());
                }
            }
        }
        self.notice(Notice::Stuck { id, error });
    }

    /// Tries once more to remove what is stuck; nothing happens if it is not.
    pub(super) fn retry(&mut self, id: &AttachmentId) {
        match self.slots.take(id) {
            Some((wiring, Work::Stuck { cut: true, .. })) => self.begin_sweep(wiring, Then::Forget),
            Some((wiring, Work::Stuck { cut: false, .. })) => self.begin_cut(wiring, Then::Forget),
            Some((wiring, work)) => self.slots.set(id, Phase::Working(wiring, work)),
            None => {}
        }
    }

    pub(super) fn due(&mut self, now: Instant) {
        for id in self.slots.due(now) {
            self.retry(&id);
        }
        if self.enforce_again.is_some_and(|again| again <= now) {
            self.enforce_again = None;
            self.enforce();
        }
        if self.nat.again.is_some_and(|again| again <= now) {
            self.nat.again = None;
            self.translate();
        }
        if self.look.due.is_some_and(|due| due <= now) {
            self.look.due = None;
            self.commands.push_back(Command::Survey);
        }
    }

    pub(super) fn collect(&mut self, op: OpId, collect: &Collect, now: Instant) {
        let leaving = |id: &AttachmentId, phase: &Phase| {
            id.network() == collect.network && !collect.valid.contains(id) && phase.collectable()
        };
        let leaving = self.slots.iter().filter(|(id, phase)| leaving(id, phase));
        let leaving: Vec<_> = leaving.map(|(id, _)| id.clone()).collect();
        if leaving.is_empty() {
            return self.reply(op, Reply::Done);
        }
        self.collections.begin(op, leaving.len());
        for id in leaving {
            self.enqueue(&id, Errand::Collect { op }, now);
        }
    }

    /// One attachment of a GC is done.
    pub(super) fn collected(&mut self, op: OpId, id: &AttachmentId, outcome: Result<(), PodError>) {
        if let Some(reply) = self.collections.done(op, id, outcome) {
            self.reply(op, reply);
        }
    }
}
