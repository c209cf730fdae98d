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

use crate::{attachment::AttachmentId, ipam::Ipam};

pub mod adopt;
pub mod alias;
pub mod check;
pub mod drift;
pub mod event;
pub mod nat;
pub mod step;
pub mod undo;
pub mod verb;
pub mod wiring;

mod collection;
mod held;
mod plan;
mod removal;
mod slot;
mod survey;

pub use event::{Answer, AttachFailure, Command, Event, Memory, Notice, Record, RuleTable, Rules};
pub use plan::{GuardSettings, Settings};
pub use slot::PodState;

use check::{Difference, Expected, Picture, differences};
use collection::Collections;
use drift::Drift;
use held::Held;
use nat::Nat;
use plan::{Indexes, contradiction, plan};
use slot::{Errand, Phase, Slots, Then, Why, Work};
use step::Step;
use survey::{Look, Survey};
use undo::undo;
use verb::{Attach, NotReady, OpId, PodError, Reply, Request};
use wiring::Wiring;

/// Every pod of the node.
#[derive(Debug)]
pub struct Pods {
    settings: Settings,
    ipam: Ipam,
    indexes: Indexes,
    slots: Slots,
    collections: Collections,
    held: Held,
    survey: Survey,
    drift: Drift,
    /// When to try again to put the rules in force, after a failure.
    enforce_again: Option<Instant>,
    nat: Nat,
    memory: Memory,
    /// Indexes of host's ends that were missing while something was under way for their pods.
    gone: BTreeSet<u32>,
    look: Look,
    isolated: bool,
    /// Of the ways to the peers, if they have been looked at and there are any.
    path_mtu: Option<Option<u32>>,
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
            held: Held::default(),
            survey: Survey::Waiting { early: Vec::new() },
            look: Look { asked: true, again: false, due: None },
            drift: Drift::default(),
            enforce_again: None,
            nat: Nat::default(),
            memory,
            gone: BTreeSet::new(),
            isolated: false,
            path_mtu: None,
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
            Event::Enforced(Err(error)) => self.not_enforced(error, now),
            Event::Translated(outcome) => self.translated(outcome, now),
            Event::Restored(table, outcome) => self.restored(table, outcome, now),
            Event::Answered(id, answer) => self.answered(&id, answer, now),
            Event::Sessions { configured, established } => {
                self.isolated = configured > 0 && established == 0;
            }
            Event::PathMtu(mtu) => {
                self.path_mtu = Some(mtu);
                self.serve(now);
            }
            Event::LinkGone(index) => self.link_gone(index),
            Event::LinkChanged(link) => self.link_changed(&link),
            Event::Disturbed(index) => self.suspect_at(index),
            Event::RouteChanged(address) => self.route_changed(address),
            Event::Missed => {
                self.doubt();
                self.suspect_all();
            }
            Event::Doubt => self.doubt(),
            Event::Discarded(name) => self.discarded(&name, now),
            Event::Configured(settings) => {
                self.ipam.reconfigure(settings.ipam.clone());
                let before = mem::replace(&mut self.settings, *settings);
                self.enforce();
                self.nat_reconfigured(&before.nat);
                self.serve(now);
            }
            Event::Due => self.due(now),
        }
        self.look_after(now);
    }

    /// The next thing to do.
    pub fn poll_command(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    /// When to call with [`Event::Due`]; early calls are harmless.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let again = self.slots.again().into_iter().chain(self.look.due).chain(self.enforce_again);
        again.chain(self.nat.again).chain(self.drift_deadline()).min()
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

    /// Whether the kernel has refused rules that stand before pods or translate for them. It is asked
    /// again meanwhile.
    #[must_use]
    pub const fn lacks_rules(&self) -> bool {
        self.enforce_again.is_some() || self.nat.again.is_some()
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
                let wiring =
                    plan(attach, lease, index, first, self.path_mtu.flatten(), &self.settings);
                self.send_attach(op, wiring);
            }
            Err(error) => {
                // There is one if this was to make an existing pod anew.
                self.release(id, now);
                self.fail(op, error);
            }
        }
    }

    /// The MTU of the configuration, if it has one.
    #[must_use]
    pub const fn fixed_mtu(&self) -> Option<u32> {
        self.settings.mtu
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

    fn not_enforced(&mut self, error: PodError, now: Instant) {
        self.enforce_again = Some(now + RETRY);
        self.notice(Notice::NotEnforced(error));
    }

    fn begin_observe(&mut self, op: OpId, wiring: Wiring, why: Why) {
        let id = wiring.id.clone();
        self.commands.push_back(Command::Observe(op, Box::new(wiring.clone())));
        self.slots.set(&id, Phase::Working(wiring, Work::Observing(why)));
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
            (Work::Inspecting, Answer::Inspected(outcome)) => self.inspected(wiring, outcome, now),
            (Work::Mending(found), Answer::Mended(outcome)) => {
                self.mended(wiring, found, outcome, now);
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
                Answer::Attached(_)
                | Answer::Observed(_)
                | Answer::Inspected(_)
                | Answer::Mended(_)
                | Answer::Cut(_)
                | Answer::Swept(_),
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
        let retried = self.held.remove(&wiring.id);
        match outcome {
            Ok(()) => {
                self.reply(op, Reply::Attached(Box::new(wiring.clone())));
                self.ready(wiring);
            }
            Err(AttachFailure { error: PodError::IfnameTaken(_), reached: 0 })
                if !retried && self.hold(&wiring) =>
            {
                let id = wiring.id.clone();
                self.slots.set(&id, Phase::Working(wiring, Work::Attaching(op)));
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

/// Between attempts to remove a pod or to list the interfaces. Failures are of the kernel, not of
/// one pod, so nothing is gained by waiting longer and longer.
const RETRY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
