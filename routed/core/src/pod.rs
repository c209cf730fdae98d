//! Pods: ADD, DEL, CHECK, GC and STATUS as a machine over what the kernel does.
//!
//! In: requests, and how commands to the kernel ended. Out: commands with the steps to take, and
//! one reply to every request. Owns the leases and knows every pod of the node.
//!
//! Promises: an attachment is worked on by one request at a time, in the order of asking; a failed
//! ADD leaves nothing behind; a repeated ADD gives the same answer and repairs what is broken; DEL
//! succeeds for what is not there; an address is free again only when nothing in the kernel leads
//! to it. Until the pods of a former run are known, everything but STATUS waits.
//!
//! Never talks to the kernel and never logs: that is what [`Command`] is for.

use std::{
    collections::VecDeque,
    mem,
    time::{Duration, Instant},
};

use crate::{
    attachment::AttachmentId,
    ipam::{Ipam, PoolUse},
};

pub mod alias;
pub mod check;
pub mod event;
pub mod step;
pub mod undo;
pub mod verb;
pub mod wiring;

mod adopt;
mod collection;
mod plan;
mod slot;

pub use event::{Answer, AttachFailure, Command, Event, Notice};
pub use plan::Settings;
pub use slot::PodState;

use adopt::Found;
use check::{Expected, LinkSeen, Picture, differences};
use collection::Collections;
use plan::{Indexes, contradiction, plan};
use slot::{Errand, Phase, Slots, Then, Why, Work};
use step::Step;
use undo::undo;
use verb::{Attach, Collect, NotReady, OpId, PodError, Reply, Request};
use wiring::Wiring;

/// Every pod of the node.
#[derive(Debug)]
pub struct Pods {
    settings: Settings,
    ipam: Ipam,
    indexes: Indexes,
    slots: Slots,
    collections: Collections,
    survey: Survey,
    isolated: bool,
    commands: VecDeque<Command>,
}

impl Pods {
    /// Begins by asking for a survey.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            ipam: Ipam::new(settings.pools.iter().copied()),
            settings,
            indexes: Indexes::new(),
            slots: Slots::default(),
            collections: Collections::default(),
            survey: Survey::Waiting { early: Vec::new(), again: None },
            isolated: false,
            commands: VecDeque::from([Command::Survey]),
        }
    }

    /// One thing happened. Drain [`poll_command`](Self::poll_command) afterwards.
    pub fn handle(&mut self, event: Event, now: Instant) {
        match event {
            Event::Surveyed(Ok(links)) => self.adopt(&links),
            Event::Surveyed(Err(error)) => self.survey_failed(error, now),
            Event::Asked(op, request) => self.asked(op, request),
            Event::Answered(id, answer) => self.answered(&id, answer, now),
            Event::Sessions { configured, established } => {
                self.isolated = configured > 0 && established == 0;
            }
            Event::Due => self.due(now),
        }
    }

    /// The next thing to do.
    pub fn poll_command(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    /// When to call with [`Event::Due`]; early calls are harmless.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let stuck = self.slots.iter().filter_map(|(_, phase)| phase.again());
        let survey = match self.survey {
            Survey::Waiting { again, .. } => again,
            Survey::Done => None,
        };
        stuck.chain(survey).min()
    }

    /// Can ADD be served, and will its pod be reached? A full pool is no reason: that would take a
    /// node and all its pods out of service.
    ///
    /// # Errors
    ///
    /// [`NotReady`].
    pub const fn readiness(&self) -> Result<(), NotReady> {
        match self.survey {
            Survey::Waiting { .. } => Err(NotReady::Starting),
            Survey::Done if self.isolated => Err(NotReady::Isolated),
            Survey::Done => Ok(()),
        }
    }

    /// Every pod and how far it is, by network, container and interface.
    pub fn pods(&self) -> impl Iterator<Item = (&Wiring, PodState)> {
        self.slots.iter().filter_map(|(_, phase)| phase.shown())
    }

    /// Every pool, in the order of the configuration.
    pub fn pools(&self) -> impl Iterator<Item = PoolUse> {
        self.ipam.pools()
    }

    fn asked(&mut self, op: OpId, request: Request) {
        if let Survey::Waiting { early, .. } = &mut self.survey
            && request != Request::Status
        {
            early.push((op, request));
            return;
        }
        match request {
            Request::Attach(attach) => {
                self.enqueue(&attach.id.clone(), Errand::Attach { op, attach });
            }
            Request::Detach(id) => self.enqueue(&id, Errand::Detach { op }),
            Request::Check(id, expected) => self.enqueue(&id, Errand::Check { op, expected }),
            Request::Collect(collect) => self.collect(op, &collect),
            Request::Status => {
                let reply =
                    self.readiness().map_or_else(|why| Reply::Failed(why.into()), |()| Reply::Done);
                self.reply(op, reply);
            }
        }
    }

    fn enqueue(&mut self, id: &AttachmentId, errand: Errand) {
        self.slots.push(id, errand);
        self.retry(id);
        self.advance(id);
    }

    /// Begins with what waits, for as long as nothing is under way.
    fn advance(&mut self, id: &AttachmentId) {
        while let Some((existing, errand)) = self.slots.next(id) {
            match existing {
                Some(wiring) => self.begin_with(wiring, errand),
                None => self.begin_without(id, errand),
            }
        }
    }

    /// An errand for an attachment that does not exist.
    fn begin_without(&mut self, id: &AttachmentId, errand: Errand) {
        match errand {
            Errand::Attach { op, attach } => self.begin_attach(op, &attach),
            Errand::Detach { op } => self.reply(op, Reply::Done),
            Errand::Check { op, .. } => self.fail(op, PodError::Unknown(id.clone())),
            Errand::Collect { op } => self.collected(op, id, Ok(())),
        }
    }

    /// An errand for an attachment that exists.
    fn begin_with(&mut self, wiring: Wiring, errand: Errand) {
        match errand {
            Errand::Attach { op, attach } => match contradiction(&attach, &wiring) {
                Some(error) => {
                    self.fail(op, error);
                    self.ready(wiring);
                }
                None => self.begin_observe(op, wiring, Why::Repeat { op, attach }),
            },
            Errand::Detach { op } => self.begin_cut(wiring, Then::Answer(op)),
            Errand::Check { op, expected } => {
                self.begin_observe(op, wiring, Why::Check { op, expected });
            }
            Errand::Collect { op } => self.begin_cut(wiring, Then::Collected(op)),
        }
    }

    fn begin_attach(&mut self, op: OpId, attach: &Attach) {
        let id = &attach.id;
        let lease = plan::check(attach, &self.settings)
            .and_then(|()| Ok(self.ipam.lease(id, &attach.addresses)?));
        match lease {
            Ok(lease) => {
                let wiring = plan(attach, lease, self.indexes.take(), &self.settings);
                let steps = step::attach(&wiring);
                self.commands.push_back(Command::Attach(op, id.clone(), steps));
                self.slots.set(id, Phase::Working(wiring, Work::Attaching(op)));
            }
            Err(error) => {
                // There is one only if this was to make an existing pod anew.
                self.ipam.release(id);
                self.fail(op, error);
            }
        }
    }

    fn begin_observe(&mut self, op: OpId, wiring: Wiring, why: Why) {
        let id = wiring.id.clone();
        self.commands.push_back(Command::Observe(op, Box::new(wiring.clone())));
        self.slots.set(&id, Phase::Working(wiring, Work::Observing(why)));
    }

    /// Begins to remove what exists.
    fn begin_cut(&mut self, wiring: Wiring, then: Then) {
        let steps = undo(&step::attach(&wiring));
        self.cut_by(steps, wiring, then);
    }

    fn cut_by(&mut self, steps: Vec<Step>, wiring: Wiring, then: Then) {
        let id = wiring.id.clone();
        self.commands.push_back(Command::Cut(id.clone(), steps));
        self.slots.set(&id, Phase::Working(wiring, Work::Cutting(then)));
    }

    fn begin_sweep(&mut self, wiring: Wiring, then: Then) {
        let id = wiring.id.clone();
        self.commands.push_back(Command::Sweep(id.clone()));
        self.slots.set(&id, Phase::Working(wiring, Work::Sweeping(then)));
    }

    fn answered(&mut self, id: &AttachmentId, answer: Answer, now: Instant) {
        let Some((wiring, work)) = self.slots.take(id) else { return };
        match (work, answer) {
            (Work::Attaching(op), Answer::Attached(outcome)) => self.attached(wiring, op, outcome),
            (Work::Observing(why), Answer::Observed(outcome)) => {
                self.observed(wiring, why, outcome);
            }
            (Work::Cutting(then), Answer::Cut(Ok(()))) => self.was_cut(wiring, then),
            (Work::Cutting(then), Answer::Cut(Err(error))) => {
                self.stuck(wiring, then, false, error, now);
            }
            (Work::Sweeping(then), Answer::Swept(Ok(()))) => self.was_swept(wiring, then),
            (Work::Sweeping(then), Answer::Swept(Err(error))) => {
                self.stuck(wiring, then, true, error, now);
            }
            // The answer to a command that nobody waits for.
            (
                work,
                Answer::Attached(_) | Answer::Observed(_) | Answer::Cut(_) | Answer::Swept(_),
            ) => {
                self.slots.set(id, Phase::Working(wiring, work));
            }
        }
        self.advance(id);
    }

    fn attached(&mut self, wiring: Wiring, op: OpId, outcome: Result<(), AttachFailure>) {
        match outcome {
            Ok(()) => {
                self.reply(op, Reply::Attached(Box::new(wiring.clone())));
                self.ready(wiring);
            }
            Err(AttachFailure { error, reached: 0 }) => {
                self.was_swept(wiring, Then::Fail { op, error });
            }
            Err(AttachFailure { error, reached }) => {
                let mut done = step::attach(&wiring);
                done.truncate(reached);
                self.cut_by(undo(&done), wiring, Then::Fail { op, error });
            }
        }
    }

    fn observed(&mut self, wiring: Wiring, why: Why, outcome: Result<Box<Picture>, PodError>) {
        let look = |expected: Option<&Expected>| {
            outcome.map(|picture| differences(&wiring, expected, &picture))
        };
        match why {
            Why::Check { op, expected } => {
                let reply = match look(Some(&expected)) {
                    Ok(found) if found.is_empty() => Reply::Done,
                    Ok(found) => Reply::Failed(PodError::Differs(found)),
                    Err(error) => Reply::Failed(error),
                };
                self.reply(op, reply);
                self.ready(wiring);
            }
            Why::Repeat { op, attach } => match look(None) {
                Ok(found) if found.is_empty() => {
                    self.reply(op, Reply::Attached(Box::new(wiring.clone())));
                    self.ready(wiring);
                }
                Ok(found) => {
                    self.notice(Notice::Rebuilding { id: attach.id.clone(), found });
                    self.begin_cut(wiring, Then::Rebuild { op, attach });
                }
                Err(error) => {
                    self.fail(op, error);
                    self.ready(wiring);
                }
            },
        }
    }

    fn was_cut(&mut self, wiring: Wiring, then: Then) {
        let then = match then {
            // Nothing leads to the pod any more: that is what DEL promises. Deleting the pair
            // takes the kernel 20 ms, which nobody needs to wait for.
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

    fn was_swept(&mut self, wiring: Wiring, then: Then) {
        self.indexes.put_back(wiring.host.index);
        if let Then::Rebuild { op, attach } = then {
            // The lease stays: the runtime may have told others about the addresses.
            let attach = Attach {
                mac: Some(wiring.inside.mac),
                mtu: Some(wiring.mtu),
                pod: attach.pod.or(wiring.pod),
                ..attach
            };
            return self.begin_attach(op, &attach);
        }
        self.ipam.release(&wiring.id);
        match then {
            Then::Forget | Then::Rebuild { .. } => {}
            Then::Answer(op) => self.reply(op, Reply::Done),
            Then::Collected(op) => self.collected(op, &wiring.id, Ok(())),
            Then::Fail { op, error } => self.fail(op, error),
        }
    }

    /// Removing failed: everybody who waits is told, and it is tried again later.
    fn stuck(&mut self, wiring: Wiring, then: Then, cut: bool, error: PodError, now: Instant) {
        let id = wiring.id.clone();
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
    fn retry(&mut self, id: &AttachmentId) {
        match self.slots.take(id) {
            Some((wiring, Work::Stuck { cut: true, .. })) => self.begin_sweep(wiring, Then::Forget),
            Some((wiring, Work::Stuck { cut: false, .. })) => self.begin_cut(wiring, Then::Forget),
            Some((wiring, work)) => self.slots.set(id, Phase::Working(wiring, work)),
            None => {}
        }
    }

    fn due(&mut self, now: Instant) {
        let late = |phase: &Phase| phase.again().is_some_and(|again| again <= now);
        let late = self.slots.iter().filter(|(_, phase)| late(phase));
        for id in late.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
            self.retry(&id);
        }
        if let Survey::Waiting { again, .. } = &mut self.survey
            && again.is_some_and(|again| again <= now)
        {
            *again = None;
            self.commands.push_back(Command::Survey);
        }
    }

    fn collect(&mut self, op: OpId, collect: &Collect) {
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
            self.enqueue(&id, Errand::Collect { op });
        }
    }

    /// One attachment of a GC is done.
    fn collected(&mut self, op: OpId, id: &AttachmentId, outcome: Result<(), PodError>) {
        if let Some(reply) = self.collections.done(op, id, outcome) {
            self.reply(op, reply);
        }
    }

    fn survey_failed(&mut self, error: PodError, now: Instant) {
        if let Survey::Waiting { again, .. } = &mut self.survey {
            *again = Some(now + RETRY);
            self.notice(Notice::SurveyFailed(error));
        }
    }

    fn adopt(&mut self, links: &[LinkSeen]) {
        let Survey::Waiting { early, .. } = mem::replace(&mut self.survey, Survey::Done) else {
            return;
        };
        for found in adopt::adopt(links, self.settings.routes) {
            match found {
                Found::Pod(wiring) => self.adopt_pod(wiring, Phase::Ready),
                Found::Doomed(wiring) => {
                    self.commands.push_back(Command::Sweep(wiring.id.clone()));
                    self.adopt_pod(wiring, |wiring| {
                        Phase::Working(wiring, Work::Sweeping(Then::Forget))
                    });
                }
                Found::Leftover { name } => {
                    self.commands.push_back(Command::Discard(name.clone()));
                    self.notice(Notice::Leftover(name));
                }
                Found::Unreadable { name, reason } => {
                    self.notice(Notice::Unreadable { link: name, reason });
                }
            }
        }
        self.notice(Notice::Adopted(self.slots.len()));
        for (op, request) in early {
            self.asked(op, request);
        }
    }

    fn adopt_pod(&mut self, wiring: Wiring, phase: impl FnOnce(Wiring) -> Phase) {
        let id = wiring.id.clone();
        if self.slots.contains(&id) {
            return self.notice(Notice::Twin { link: wiring.host.name, id });
        }
        if let Err(error) = self.ipam.adopt(&id, wiring.lease) {
            self.notice(Notice::Conflict { id: id.clone(), error });
        }
        self.indexes.adopt(wiring.host.index);
        self.slots.set(&id, phase(wiring));
    }

    fn ready(&mut self, wiring: Wiring) {
        let id = wiring.id.clone();
        self.slots.set(&id, Phase::Ready(wiring));
    }

    fn fail(&mut self, op: OpId, error: PodError) {
        self.reply(op, Reply::Failed(error));
    }

    fn reply(&mut self, op: OpId, reply: Reply) {
        self.commands.push_back(Command::Reply(op, reply));
    }

    fn notice(&mut self, notice: Notice) {
        self.commands.push_back(Command::Notice(notice));
    }
}

/// Are the pods of a former run known?
#[derive(Debug)]
enum Survey {
    /// No. What was asked so far, and when to survey again after a failure.
    Waiting { early: Vec<(OpId, Request)>, again: Option<Instant> },
    /// Yes.
    Done,
}

/// Between attempts to remove a pod or to list the interfaces. Failures are of the kernel, not of
/// one pod, so nothing is gained by waiting longer and longer.
const RETRY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
