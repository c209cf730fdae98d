//! Carries out the steps of pods.
//!
//! In: jobs. Out: one [`Event`] for each. A [`Worker`] attaches, cuts and looks, on the
//! thread of who gives it the jobs; a thread beside it deletes doomed pairs.
//!
//! Decides nothing: which steps, in which order and what undoes them comes with the job.

use std::{
    io,
    net::IpAddr,
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
};

use bgp::{family::Family, prefix::Prefix};
use nix::{errno::Errno, sys::prctl};
use routed_core::{
    attachment::AttachmentId,
    pod::{
        Answer, AttachFailure, Event, RuleTable, Rules,
        check::{LinkSeen, Picture, RouteSeen},
        nat::Translation,
        step::{Setting, Stage, Step, datagrams},
        verb::{self, PodError},
        wiring::Wiring,
    },
};
use tokio::sync::mpsc;

use super::{
    netlink::{Netlink, NetlinkError, Refusal, Request},
    netns::Traveller,
    nft::NftError,
    sysctl,
};

mod changes;
pub mod fuse;
pub mod guard;
mod look;
pub mod nat;
mod refusal;
mod request;
mod seen;
mod sweeper;
mod tables;
mod view;
mod wait;

pub use sweeper::Removal;
pub use view::{Counters, View, address, interfaces, sweeping, view};

use fuse::Fuse;
use guard::Guard;
use look::Neighbours;
use nat::Nat;
use refusal::{broken, given, number, off, pair_refused, refused, unruled, untranslated};
use request::{Context, nothing_to_do, request};

/// Something for a [`Worker`].
#[derive(Debug)]
pub enum Job {
    /// List every interface of the host.
    Survey,
    /// Carry out steps on both sides.
    Attach(AttachmentId, Netns, Vec<Step>),
    /// Look at a pod on both sides.
    Observe(Netns, Box<Wiring>),
    /// Look at a pod's things on the host.
    Inspect(Box<Wiring>),
    /// Carry out steps on the host's side, whether one is refused or not.
    Mend(AttachmentId, Vec<Step>),
    /// Carry out steps on the host's side; what is not there need not be removed.
    Cut(AttachmentId, Vec<Step>),
    /// Put the rules in force, in place of whatever they were.
    Enforce(Option<Rules>),
    /// Have these packets leave with an address of the node, and no others.
    Translate(Vec<Translation>),
    /// Somebody has touched this table: put it back. Nobody waits for it.
    Restore(RuleTable),
}

/// The pod's network namespace as it came with the request; a job without it fails.
pub type Netns = Option<Arc<OwnedFd>>;

/// Carries out jobs on the thread that opened it, one after the other: the kernel does these under one
/// lock anyway.
#[derive(Debug)]
pub struct Worker {
    traveller: Traveller,
    host: Netlink,
    guard: Guard,
    nat: Nat,
    /// Has the kernel IPv6 at all?
    ipv6: bool,
    /// New interfaces believe router advertisements although the node is a router.
    believers: bool,
    fuse: Fuse,
}

impl Worker {
    /// In the network namespace of the calling thread, which is the host's, and for this thread alone.
    ///
    /// # Errors
    ///
    /// If netlink or /proc cannot be used.
    pub fn open(fuse: Fuse) -> Result<Self, NetlinkError> {
        // A kernel that is asked again after 20 µs is not to take 70 µs for it.
        prctl::set_timerslack(1).map_err(io::Error::from)?;
        let believers = sysctl::has_ipv6()
            && sysctl::routers_believe_advertisements().map_err(|error| error.error)?;
        Ok(Self {
            traveller: Traveller::at_home()?,
            host: Netlink::open()?,
            guard: Guard::open().map_err(io::Error::other)?,
            nat: Nat::open().map_err(io::Error::other)?,
            ipv6: sysctl::has_ipv6(),
            believers,
            fuse,
        })
    }

    /// Has [`Job::Restore`] sent when somebody else touches the rules.
    ///
    /// # Errors
    ///
    /// If the kernel gives us no socket or no thread.
    pub fn watch_rules(&self, jobs: mpsc::WeakSender<Job>) -> Result<(), NetlinkError> {
        let (guard, nat) = (self.guard.port(), self.nat.port());
        let own = tables::Own {
            guard: guard.map_err(io::Error::other)?,
            nat: nat.map_err(io::Error::other)?,
        };
        Ok(tables::spawn(own, jobs).map_err(io::Error::other)?)
    }

    /// Has told what happens to pods' things on the host by other hands than this one.
    ///
    /// # Errors
    ///
    /// If the kernel gives us no socket or no thread.
    pub fn watch_changes(&self, events: mpsc::Sender<Event>) -> Result<(), NetlinkError> {
        changes::spawn(self.host.port()?, events)
    }

    /// Does it, and says what happened, unless there was nothing to do.
    pub fn work(&mut self, job: Job) -> Option<Event> {
        Some(match job {
            Job::Survey => Event::Surveyed(self.survey()),
            Job::Attach(id, netns, steps) => {
                Event::Answered(id, Answer::Attached(self.attach(netns.as_deref(), &steps)))
            }
            Job::Observe(netns, wiring) => {
                let picture = self.observe(netns.as_deref(), &wiring).map(Box::new);
                Event::Answered(wiring.id, Answer::Observed(picture))
            }
            Job::Inspect(wiring) => {
                let picture = self.inspect(&wiring).map(Box::new);
                Event::Answered(wiring.id, Answer::Inspected(picture))
            }
            Job::Mend(id, steps) => Event::Answered(id, Answer::Mended(self.mend(&steps))),
            Job::Cut(id, steps) => Event::Answered(id, Answer::Cut(self.cut(&steps))),
            Job::Enforce(rules) => Event::Enforced(self.enforce(rules)),
            Job::Translate(wanted) => {
                Event::Translated(self.nat.enforce(wanted).map_err(untranslated))
            }
            Job::Restore(table) => Event::Restored(table, self.restore(table)?),
        })
    }

    /// The host's end of this index is gone: what it may send from is to go as well, at some time. Is
    /// there anything to [`tidy`](Self::tidy) up?
    pub fn unpermit(&mut self, index: u32) -> bool {
        self.guard.release(index)
    }

    /// Removes what is left in the rules of interfaces that are gone.
    ///
    /// # Errors
    ///
    /// If the kernel refuses; what is left does no harm until it is tried again.
    pub fn tidy(&mut self) -> Result<(), NftError> {
        self.fuse.burn(1, |sent| match sent {
            0 => Ok(()),
            _ => self.guard.tidy(),
        })
    }

    fn enforce(&mut self, rules: Option<Rules>) -> Result<(), PodError> {
        let outcome = match rules {
            Some(Rules { permits, closed_ports }) => self.guard.enforce(permits, closed_ports),
            None => self.guard.lift(),
        };
        outcome.map_err(unruled)
    }

    /// `None` if there shall be no such table: whoever has made one of its name may keep it.
    fn restore(&mut self, table: RuleTable) -> Option<Result<(), PodError>> {
        match table {
            RuleTable::Guard => self.guard.is_on().then(|| self.guard.restore().map_err(unruled)),
            RuleTable::Nat => self.nat.is_on().then(|| self.nat.restore().map_err(untranslated)),
        }
    }

    fn survey(&mut self) -> Result<Vec<LinkSeen>, PodError> {
        look::links(&mut self.host).map_err(broken)
    }

    fn observe(&mut self, netns: Option<&OwnedFd>, wiring: &Wiring) -> Result<Picture, PodError> {
        let mut inside = self.enter(given(netns)?)?;
        let mut picture =
            look::look(&mut self.host, Some(&mut inside), wiring, Neighbours::Gateways)
                .map_err(broken)?;
        picture.permitted = self.permitted(wiring)?;
        Ok(picture)
    }

    fn inspect(&mut self, wiring: &Wiring) -> Result<Picture, PodError> {
        let mut picture =
            look::look(&mut self.host, None, wiring, Neighbours::Gateways).map_err(broken)?;
        // If nothing is forwarded at all, that is not the interface's fault, and is seen to elsewhere.
        let node_forwards = sysctl::is_forwarding(Family::Ipv4Unicast).unwrap_or(false);
        picture.forwarding.retain(|(family, _)| *family == Family::Ipv4Unicast && node_forwards);
        Ok(picture)
    }

    /// Goes on after a refusal, of which the first is returned: one thing that cannot be put right is no
    /// reason to leave another.
    fn mend(&mut self, steps: &[Step]) -> Result<(), PodError> {
        let context = Context { netns: None, ipv6: self.ipv6 };
        let mut outcome = Ok(());
        for steps in datagrams(steps) {
            if steps[0].stage() == Stage::Settings {
                outcome = outcome.and(steps.iter().try_for_each(set));
                continue;
            }
            let requests: Vec<_> = steps.iter().filter_map(|step| request(step, context)).collect();
            let host = &mut self.host;
            let refusals = (self.fuse)
                .messages(requests.len(), |range| host.apply(&requests[range]))
                .map_err(broken)?;
            let refused = |refusal: &Refusal| Err(refused(steps, refusal));
            outcome = outcome.and(refusals.first().map_or(Ok(()), refused));
        }
        outcome
    }

    /// From which of its addresses the pod may send; `None` if that is not ruled.
    fn permitted(&mut self, wiring: &Wiring) -> Result<Option<Vec<IpAddr>>, PodError> {
        let mut permitted = Vec::new();
        for address in wiring.lease.iter() {
            match self.guard.permits((wiring.host.index, address)).map_err(unruled)? {
                Some(true) => permitted.push(address),
                Some(false) => {}
                None => return Ok(None),
            }
        }
        Ok(Some(permitted))
    }

    fn attach(&mut self, netns: Option<&OwnedFd>, steps: &[Step]) -> Result<(), AttachFailure> {
        let failed = |error, reached| AttachFailure { error, reached };
        // First of all, so that a bad descriptor changes nothing.
        let netns = given(netns).map_err(|error| failed(error, 0))?;
        let mut inside = self.enter(netns).map_err(|error| failed(error, 0))?;
        let context = Context { netns: Some(netns.as_fd()), ipv6: self.ipv6 };
        let mut reached = 0;
        for datagram in datagrams(steps) {
            let stage = datagram[0].stage();
            if stage == Stage::Await {
                Self::wait(&mut inside, datagram).map_err(|error| failed(error, reached))?;
                reached += datagram.len();
                continue;
            }
            let before = reached;
            reached += datagram.len();
            if stage == Stage::Guard {
                self.rule(datagram).map_err(|error| failed(error, reached))?;
                continue;
            }
            let requests: Vec<_> =
                datagram.iter().filter_map(|step| request(step, context)).collect();
            let socket = match stage {
                Stage::Pair | Stage::Host | Stage::Guard | Stage::Settings => &mut self.host,
                Stage::Inside | Stage::Await => &mut inside,
            };
            let refusals = (self.fuse)
                .messages(requests.len(), |range| socket.apply(&requests[range]))
                .map_err(|error| failed(broken(error), reached))?;
            let outcome = match (stage, refusals.first()) {
                (_, None) => Ok(()),
                (Stage::Pair, Some(refusal)) => {
                    let error = pair_refused(&datagram[0], refusal, &mut inside);
                    return Err(failed(error, before));
                }
                (Stage::Host, Some(_)) => self.take_over(datagram, &refusals),
                (Stage::Guard | Stage::Settings | Stage::Await, Some(refusal)) => {
                    Err(refused(datagram, refusal))
                }
                (Stage::Inside, Some(_)) => {
                    self.mend_ipv6(netns, &mut inside, datagram, &requests, &refusals)
                }
            };
            outcome.map_err(|error| failed(error, reached))?;
            if let (true, Step::CreatePair { host, .. }) = (self.believers, &datagram[0]) {
                // The pod's end is down still, so no advertisement has come through.
                sysctl::ignore_advertisements(&host.name).unwrap_or_else(|error| {
                    tracing::error!(ifname = host.name, %error, "a pod could become this node's router");
                });
            }
        }
        Ok(())
    }

    /// If all that was refused are routes to addresses that BGP has taught us another way to, puts them in
    /// the place of those. Whose else they are is not touched.
    fn take_over(&mut self, steps: &[Step], refusals: &[Refusal]) -> Result<(), PodError> {
        for refusal in refusals {
            let Step::HostRoute { index, address, stamp } = steps[refusal.index] else {
                return Err(refused(steps, refusal));
            };
            let there = match refusal.errno {
                Errno::EEXIST => look::best_route(&mut self.host, address).map_err(broken)?,
                _ => None,
            };
            let is_learned = |route: &RouteSeen| {
                (route.prefix, route.protocol) == (Prefix::host(address), stamp.learned)
            };
            if !there.as_ref().is_some_and(is_learned) {
                return Err(refused(steps, refusal));
            }
            let moved = Step::MoveHostRoute { index, address, stamp };
            let context = Context { netns: None, ipv6: self.ipv6 };
            let requests: Vec<_> = request(&moved, context).into_iter().collect();
            let refusals = self.host.apply(&requests).map_err(broken)?;
            if let Some(refusal) = refusals.first() {
                return Err(refused(&[moved], refusal));
            }
        }
        Ok(())
    }

    fn wait(inside: &mut Netlink, steps: &[Step]) -> Result<(), PodError> {
        wait::wait(inside, steps).map_err(broken)?.map_err(|late| {
            let errno = number(Errno::ETIMEDOUT);
            PodError::Refused { step: Box::new(late.clone()), errno, text: None }
        })
    }

    /// If all that was refused is IPv6 on an interface where that is switched off, switches it on
    /// and tries again what was refused.
    fn mend_ipv6(
        &self,
        netns: &OwnedFd,
        inside: &mut Netlink,
        steps: &[Step],
        requests: &[Request],
        refusals: &[Refusal],
    ) -> Result<(), PodError> {
        let first = &refusals[0];
        let Some(name) = off(steps, refusals) else { return Err(refused(steps, first)) };
        self.traveller
            .within(netns.as_fd(), || sysctl::enable_ipv6(name))
            .map_err(|errno| PodError::Namespace(number(errno)))?
            .map_err(|error| {
                PodError::Ipv6Off(verb::Errno(error.error.raw_os_error().unwrap_or_default()))
            })?;
        tracing::info!(ifname = name, "IPv6 was switched off in the pod; it is on now");
        let again: Vec<_> =
            refusals.iter().map(|refusal| requests[refusal.index].clone()).collect();
        match inside.apply(&again).map_err(broken)?.into_iter().next() {
            None => Ok(()),
            Some(Refusal { index, errno, text }) => {
                Err(refused(steps, &Refusal { index: refusals[index].index, errno, text }))
            }
        }
    }

    fn cut(&mut self, steps: &[Step]) -> Result<(), PodError> {
        let context = Context { netns: None, ipv6: self.ipv6 };
        for steps in datagrams(steps) {
            if steps[0].stage() == Stage::Guard {
                self.rule(steps)?;
                continue;
            }
            let requests: Vec<_> = steps.iter().filter_map(|step| request(step, context)).collect();
            let host = &mut self.host;
            let refusals = (self.fuse)
                .messages(requests.len(), |range| host.apply(&requests[range]))
                .map_err(broken)?;
            let real = |refusal: &&Refusal| !nothing_to_do(&steps[refusal.index], refusal.errno);
            if let Some(refusal) = refusals.iter().find(real) {
                return Err(refused(steps, refusal));
            }
        }
        Ok(())
    }

    /// Changes the rules.
    fn rule(&mut self, steps: &[Step]) -> Result<(), PodError> {
        steps.iter().try_for_each(|step| {
            match step {
                Step::Permit { permits, .. } => self.fuse.burn(1, |sent| match sent {
                    0 => Ok(()),
                    _ => self.guard.permit(permits),
                }),
                Step::Forbid { index, addresses } => self.fuse.burn(1, |sent| match sent {
                    0 => Ok(()),
                    _ => self.guard.forbid(*index, addresses),
                }),
                Step::CreatePair { .. }
                | Step::Label { .. }
                | Step::Neighbour { .. }
                | Step::HostRoute { .. }
                | Step::LoopbackUp
                | Step::LinkUp { .. }
                | Step::Address { .. }
                | Step::GatewayRoute { .. }
                | Step::Route { .. }
                | Step::DefaultRoute { .. }
                | Step::AwaitCarrier { .. }
                | Step::AwaitAddress { .. }
                | Step::RemoveHostRoute { .. }
                | Step::Adjust { .. }
                | Step::MoveHostRoute { .. }
                | Step::Set { .. }
                | Step::Doom { .. } => Ok(()),
            }
            .map_err(unruled)
        })
    }

    /// A netlink socket in the pod's namespace.
    fn enter(&self, netns: &OwnedFd) -> Result<Netlink, PodError> {
        let errno = |errno| PodError::Namespace(number(errno));
        if self.traveller.is_home(netns.as_fd()).map_err(errno)? {
            return Err(PodError::HostNamespace);
        }
        self.traveller.within(netns.as_fd(), Netlink::open).map_err(errno)?.map_err(broken)
    }
}

/// Writes a setting of an interface.
fn set(step: &Step) -> Result<(), PodError> {
    let outcome = match step {
        Step::Set { name, to: Setting::Forwards } => sysctl::forward_ipv4(name),
        Step::Set { name, to: Setting::IgnoresAdvertisements } => {
            sysctl::ignore_advertisements(name)
        }
        _ => return Ok(()),
    };
    outcome.map_err(|error| PodError::Refused {
        step: Box::new(step.clone()),
        errno: verb::Errno(error.error.raw_os_error().unwrap_or_default()),
        text: Some(error.to_string()),
    })
}

/// Starts the thread that deletes pairs, in the network namespace of the calling thread.
///
/// # Errors
///
/// If netlink cannot be used or there is no thread.
pub fn sweeper(
    events: mpsc::Sender<Event>,
    fuse: Fuse,
) -> Result<mpsc::Sender<Removal>, NetlinkError> {
    sweeper::spawn(events, fuse)
}

/// Removals waiting in front of their thread. More wait with their owner.
const QUEUE: usize = 64;
