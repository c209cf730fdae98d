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
    collections::{BTreeSet, VecDeque},
    mem,
    net::IpAddr,
    time::{Duration, Instant},
};

use crate::{
    attachment::AttachmentId,
    ipam::{Ipam, Lease},
};

pub mod adopt;
pub mod alias;
pub mod check;
pub mod event;
pub mod step;
pub mod undo;
pub mod verb;
pub mod wiring;

mod collection;
mod plan;
mod slot;

pub use event::{Answer, AttachFailure, Command, Event, Memory, Notice, Record, Rules};
pub use plan::{GuardSettings, Settings};
pub use slot::PodState;

use adopt::Found;
use check::{Difference, Expected, LinkSeen, Picture, differences};
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
    /// When to try again to put the rules in force, after a failure.
    enforce_again: Option<Instant>,
    memory: Memory,
    /// Indexes of host's ends that were missing while something was under way for their pods.
    gone: BTreeSet<u32>,
    look: Look,
    isolated: bool,
    commands: VecDeque<Command>,
}

impl Pods {
    /// Begins by asking for a survey.
    #[must_use]
    pub fn new(settings: Settings, memory: Memory) -> Self {
        Self {
            ipam: Ipam::new(settings.ipam.clone()),
            settings,
            indexes: Indexes::new(),
            slots: Slots::default(),
            collections: Collections::default(),
            survey: Survey::Waiting { early: Vec::new() },
            look: Look { asked: true, again: false, due: None },
            enforce_again: None,
            memory,
            gone: BTreeSet::new(),
            isolated: false,
            commands: VecDeque::from([Command::Survey]),
        }
    }

    /// One thing happened. Drain [`poll_command`](Self::poll_command) afterwards.
    pub fn handle(&mut self, event: Event, now: Instant) {
        match event {
            Event::Surveyed(Ok(links)) => self.surveyed(&links, now),
            Event::Surveyed(Err(error)) => self.survey_failed(error, now),
            Event::Asked(op, request) => self.asked(op, request, now),
            Event::Enforced(Ok(())) => self.enforce_again = None,
            Event::Enforced(Err(error)) => {
                self.enforce_again = Some(now + RETRY);
                self.notice(Notice::NotEnforced(error));
            }
            Event::Answered(id, answer) => self.answered(&id, answer, now),
            Event::Sessions { configured, established } => {
                self.isolated = configured > 0 && established == 0;
            }
            Event::LinkGone(index) => self.link_gone(index),
            Event::Doubt => self.doubt(),
            Event::Discarded(name) => self.discarded(&name, now),
            Event::Configured(settings) => {
                self.ipam.reconfigure(settings.ipam.clone());
                self.settings = *settings;
                self.enforce();
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
        stuck.chain(self.look.due).chain(self.enforce_again).min()
    }

    /// Can ADD be served, and will its pod be reached? A full pool is no reason: that would take a
    /// node and all its pods out of service.
    ///
    /// # Errors
    ///
    /// [`NotReady`].
    pub const fn readiness(&self) -> Result<(), NotReady> {
        match self.survey {
            Survey::Waiting { .. } | Survey::Clearing { .. } => Err(NotReady::Starting),
            Survey::Done if self.isolated => Err(NotReady::Isolated),
            Survey::Done => Ok(()),
        }
    }

    /// Every pod and how far it is, by network, container and interface.
    pub fn pods(&self) -> impl Iterator<Item = (&Wiring, PodState)> {
        self.slots.iter().filter_map(|(_, phase)| phase.shown())
    }

    /// Who has which address, which are idle, and how full the pools are.
    #[must_use]
    pub const fn ipam(&self) -> &Ipam {
        &self.ipam
    }

    fn asked(&mut self, op: OpId, request: Request, now: Instant) {
        if let Survey::Waiting { early } | Survey::Clearing { early, .. } = &mut self.survey
            && request != Request::Status
        {
            early.push((op, request));
            return;
        }
        match request {
            Request::Attach(attach) => {
                let id = attach.id.clone();
                self.enqueue(&id, Errand::Attach { op, attach: Box::new(attach) }, now);
            }
            Request::Detach(id) => self.enqueue(&id, Errand::Detach { op }, now),
            Request::Check(id, expected) => self.enqueue(&id, Errand::Check { op, expected }, now),
            Request::Collect(collect) => self.collect(op, &collect, now),
            Request::Status => {
                let reply =
                    self.readiness().map_or_else(|why| Reply::Failed(why.into()), |()| Reply::Done);
                self.reply(op, reply);
            }
        }
    }

    fn enqueue(&mut self, id: &AttachmentId, errand: Errand, now: Instant) {
        self.slots.push(id, errand);
        self.retry(id);
        self.advance(id, now);
    }

    /// Begins with what waits, for as long as nothing is under way.
    fn advance(&mut self, id: &AttachmentId, now: Instant) {
        while let Some((existing, errand)) = self.slots.next(id) {
            match existing {
                Some(wiring) => self.begin_with(wiring, errand),
                None => self.begin_without(id, errand, now),
            }
        }
    }

    /// An errand for an attachment that does not exist.
    fn begin_without(&mut self, id: &AttachmentId, errand: Errand, now: Instant) {
        match errand {
            Errand::Attach { op, attach } => self.begin_attach(op, &attach, now),
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

    fn begin_attach(&mut self, op: OpId, attach: &Attach, now: Instant) {
        let id = &attach.id;
        let rebuilt = self.ipam.get(id).is_some();
        let lease = plan::check(attach, &self.settings)
            .and_then(|()| Ok(self.ipam.lease(id, &attach.wish, now)?))
            .and_then(|lease| plan::check_routes(&attach.destinations, lease).map(|()| lease));
        match lease {
            Ok(lease) => {
                if !rebuilt {
                    self.commands.push_back(Command::Record(Record::Leased(id.clone(), lease)));
                }
                let index = self.indexes.take(id);
                let first = !self.has_default_route(id);
                let wiring = plan(attach, lease, index, first, &self.settings);
                let steps = step::attach(&wiring, self.permits(&wiring));
                self.commands.push_back(Command::Attach(op, id.clone(), steps));
                self.slots.set(id, Phase::Working(wiring, Work::Attaching(op)));
            }
            Err(error) => {
                // There is one if this was to make an existing pod anew.
                self.release(id, now);
                self.fail(op, error);
            }
        }
    }

    /// Has another interface of the same container default routes?
    fn has_default_route(&self, id: &AttachmentId) -> bool {
        self.slots.siblings(id).any(|wiring| wiring.default_route)
    }

    /// What a new interface adds to the rules, if there are any.
    fn permits(&self, wiring: &Wiring) -> Option<Vec<(u32, IpAddr)>> {
        self.settings.guard.as_ref()?;
        let siblings: Vec<_> = self.slots.siblings(&wiring.id).collect();
        Some(step::permits(wiring, &siblings))
    }

    /// The steps that have made it, for undoing them.
    fn made(&self, wiring: &Wiring) -> Vec<Step> {
        step::attach(wiring, self.settings.guard.as_ref().map(|_| Vec::new()))
    }

    /// Puts the rules in force, for all pods at once.
    fn enforce(&mut self) {
        let rules = self.settings.guard.as_ref().map(|guard| {
            let living = self.slots.iter().filter_map(|(_, phase)| phase.living());
            let permits = living.flat_map(|wiring| {
                let siblings: Vec<_> = self.slots.siblings(&wiring.id).collect();
                step::permits(wiring, &siblings)
            });
            Rules { permits: permits.collect(), closed_ports: guard.closed_ports.clone() }
        });
        self.commands.push_back(Command::Enforce(rules));
    }

    fn begin_observe(&mut self, op: OpId, wiring: Wiring, why: Why) {
        let id = wiring.id.clone();
        self.commands.push_back(Command::Observe(op, Box::new(wiring.clone())));
        self.slots.set(&id, Phase::Working(wiring, Work::Observing(why)));
    }

    /// Begins to remove what exists.
    fn begin_cut(&mut self, wiring: Wiring, then: Then) {
        let steps = undo(&self.made(&wiring));
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
            (Work::Attaching(op), Answer::Attached(outcome)) => {
                self.attached(wiring, op, outcome, now);
            }
            (Work::Observing(why), Answer::Observed(outcome)) => {
                self.observed(wiring, why, outcome);
            }
            (Work::Cutting(then), Answer::Cut(Ok(()))) => self.was_cut(wiring, then, now),
            (Work::Cutting(then), Answer::Cut(Err(error))) => {
                self.stuck(wiring, then, false, error, now);
            }
            (Work::Sweeping(then), Answer::Swept(Ok(()))) => self.was_swept(wiring, then, now),
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
        self.advance(id, now);
    }

    fn attached(
        &mut self,
        wiring: Wiring,
        op: OpId,
        outcome: Result<(), AttachFailure>,
        now: Instant,
    ) {
        match outcome {
            Ok(()) => {
                self.reply(op, Reply::Attached(Box::new(wiring.clone())));
                self.ready(wiring);
            }
            Err(AttachFailure { error, reached: 0 }) => {
                self.was_swept(wiring, Then::Fail { op, error }, now);
            }
            Err(AttachFailure { error, reached }) => {
                let mut done = self.made(&wiring);
                done.truncate(reached);
                self.cut_by(undo(&done), wiring, Then::Fail { op, error });
            }
        }
    }

    fn observed(&mut self, wiring: Wiring, why: Why, outcome: Result<Box<Picture>, PodError>) {
        let look = |expected: Option<&Expected>| {
            outcome.map(|picture| {
                let mut found = differences(&wiring, expected, &picture);
                found.extend(self.misleased(&wiring));
                found
            })
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

    /// Addresses of the pod that the book gives to another, or to nobody.
    fn misleased(&self, wiring: &Wiring) -> Vec<Difference> {
        let holder = |address| (address, self.ipam.holder(address).cloned());
        let elsewhere =
            wiring.lease.iter().map(holder).filter(|(_, by)| *by != Some(wiring.id.clone()));
        elsewhere.map(|(address, by)| Difference::LeasedElsewhere { address, by }).collect()
    }

    /// Nothing leads to the pod any more, so its addresses are idle: what automatic choice needs
    /// beyond that is the cooldown, and who asks for an address by name may have it at once.
    fn was_cut(&mut self, wiring: Wiring, then: Then, now: Instant) {
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

    fn was_swept(&mut self, wiring: Wiring, then: Then, now: Instant) {
        self.indexes.put_back(wiring.host.index);
        self.gone.remove(&wiring.host.index);
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
    fn release(&mut self, id: &AttachmentId, now: Instant) {
        if let Some(lease) = self.ipam.release(id, now) {
            self.commands.push_back(Command::Record(Record::Released(lease, now)));
        }
    }

    /// An interface has gone from the host. If it was a pod's and nobody is removing that pod, its
    /// namespace has gone, and what is left of it goes too, for runtimes that send neither DEL nor
    /// GC. But indexes are used again: the kernel is asked before anything is done.
    fn link_gone(&mut self, index: u32) {
        let living = |id| self.slots.living(id).is_some();
        match self.survey {
            // The survey may have seen it before it went.
            Survey::Waiting { .. } => self.look.again = true,
            Survey::Clearing { .. } | Survey::Done => {
                if self.indexes.owner(index).is_some_and(living) {
                    self.doubt();
                }
            }
        }
    }

    /// Looks at every interface, once more if that is being done already.
    fn doubt(&mut self) {
        if self.look.asked {
            self.look.again = true;
        } else {
            self.look.asked = true;
            self.commands.push_back(Command::Survey);
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
        if self.enforce_again.is_some_and(|again| again <= now) {
            self.enforce_again = None;
            self.enforce();
        }
        if self.look.due.is_some_and(|due| due <= now) {
            self.look.due = None;
            self.commands.push_back(Command::Survey);
        }
    }

    fn collect(&mut self, op: OpId, collect: &Collect, now: Instant) {
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
    fn collected(&mut self, op: OpId, id: &AttachmentId, outcome: Result<(), PodError>) {
        if let Some(reply) = self.collections.done(op, id, outcome) {
            self.reply(op, reply);
        }
    }

    fn survey_failed(&mut self, error: PodError, now: Instant) {
        self.notice(Notice::SurveyFailed(error));
        self.look.due = Some(now + RETRY);
    }

    fn surveyed(&mut self, links: &[LinkSeen], now: Instant) {
        self.look.asked = false;
        let found = adopt::adopt(links, self.settings.routes);
        match mem::replace(&mut self.survey, Survey::Done) {
            Survey::Waiting { early } => {
                // What is discarded may bear the name that a pod needs.
                let leftovers = found.iter().filter_map(Found::discarded).map(str::to_owned);
                self.survey = Survey::Clearing { early, leftovers: leftovers.collect() };
                self.adopt(found);
                self.enforce();
                self.remember(now);
                self.notice(Notice::Adopted(self.slots.len()));
                self.serve(now);
            }
            other @ (Survey::Clearing { .. } | Survey::Done) => {
                self.survey = other;
                self.patrol(links, found);
            }
        }
        if mem::take(&mut self.look.again) {
            self.doubt();
        }
    }

    fn discarded(&mut self, name: &str, now: Instant) {
        if let Survey::Clearing { leftovers, .. } = &mut self.survey {
            leftovers.remove(name);
        }
        self.serve(now);
    }

    /// Begins with what was asked for early, once nothing is left to clear away.
    fn serve(&mut self, now: Instant) {
        match mem::replace(&mut self.survey, Survey::Done) {
            Survey::Clearing { early, leftovers } if leftovers.is_empty() => {
                for (op, request) in early {
                    self.asked(op, request, now);
                }
            }
            other @ (Survey::Waiting { .. } | Survey::Clearing { .. } | Survey::Done) => {
                self.survey = other;
            }
        }
    }

    /// The kernel is compared with the book: what vanished is removed, what the book does not know
    /// is entered. The kernel's thread does one thing after the other, so what is half made is so
    /// in the book as well.
    fn patrol(&mut self, links: &[LinkSeen], found: Vec<Found>) {
        let there: BTreeSet<_> = links.iter().map(|link| link.index).collect();
        let living = self.slots.iter().filter_map(|(_, phase)| phase.living());
        let missing = living.filter(|wiring| !there.contains(&wiring.host.index));
        for id in missing.map(|wiring| wiring.id.clone()).collect::<Vec<_>>() {
            match self.slots.take_ready(&id) {
                Some(wiring) => {
                    self.notice(Notice::Vanished(id));
                    self.begin_cut(wiring, Then::Forget);
                }
                None => self.gone.extend(self.slots.living(&id).map(|wiring| wiring.host.index)),
            }
        }
        let known: BTreeSet<_> = self.pods().map(|(wiring, _)| wiring.host.name.clone()).collect();
        self.adopt(found.into_iter().filter(|found| !known.contains(found.link())).collect());
    }

    fn adopt(&mut self, found: Vec<Found>) {
        for found in found {
            match found {
                Found::Pod(wiring) => self.adopt_pod(wiring),
                Found::Doomed(wiring) => self.adopt_doomed(wiring),
                Found::Leftover { name } => {
                    self.commands.push_back(Command::Discard(name.clone()));
                    self.notice(Notice::Leftover(name));
                }
                Found::Unreadable { name, reason } => {
                    self.notice(Notice::Unreadable { link: name, reason });
                }
            }
        }
    }

    /// What the journal knows besides the kernel. A lease of a pod that the kernel does not have was
    /// given back while no daemon ran, nobody knows when.
    fn remember(&mut self, now: Instant) {
        let Memory { leases, idle } = mem::take(&mut self.memory);
        for (address, since) in idle {
            self.ipam.idle_since(address, since.min(now));
        }
        let lost = |(id, _): &(AttachmentId, Lease)| self.ipam.get(id).is_none();
        let lost: Vec<_> = leases.into_iter().filter(lost).collect();
        for address in lost.into_iter().flat_map(|(_, lease)| lease.iter()) {
            self.ipam.idle_since(address, now);
        }
    }

    /// One that was detached: its addresses are idle, and may be another's by now.
    fn adopt_doomed(&mut self, wiring: Wiring) {
        if self.slots.contains(&wiring.id) {
            return self.commands.push_back(Command::Discard(wiring.host.name));
        }
        self.indexes.adopt(wiring.host.index, &wiring.id);
        self.begin_sweep(wiring, Then::Forget);
    }

    fn adopt_pod(&mut self, wiring: Wiring) {
        let id = wiring.id.clone();
        if self.slots.contains(&id) {
            return self.notice(Notice::Twin { link: wiring.host.name, id });
        }
        if let Err(error) = self.ipam.adopt(&id, wiring.lease) {
            self.notice(Notice::Conflict { id: id.clone(), error });
        }
        self.indexes.adopt(wiring.host.index, &id);
        self.slots.set(&id, Phase::Ready(wiring));
    }

    fn ready(&mut self, wiring: Wiring) {
        let id = wiring.id.clone();
        if self.gone.remove(&wiring.host.index) {
            self.doubt();
        }
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
    /// No. What was asked so far waits.
    Waiting { early: Vec<(OpId, Request)> },
    /// Yes, but what a daemon left half made is being deleted.
    Clearing { early: Vec<(OpId, Request)>, leftovers: BTreeSet<String> },
    /// Yes, and requests are served.
    Done,
}

/// Looking at every interface.
#[derive(Debug)]
struct Look {
    /// It is being done, or will be again.
    asked: bool,
    /// It must be done once more afterwards.
    again: bool,
    /// When to try again after a failure.
    due: Option<Instant>,
}

/// Between attempts to remove a pod or to list the interfaces. Failures are of the kernel, not of
/// one pod, so nothing is gained by waiting longer and longer.
const RETRY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
