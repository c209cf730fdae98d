//! Carries out the steps of pods, on two threads of its own.
//!
//! In: jobs over bounded channels. Out: one [`Event`] for each but [`Job::Restore`]. The first
//! thread attaches, cuts and looks, one job after the other: the kernel does these under one lock
//! anyway. The second deletes doomed pairs, as many at a time as have come together: the kernel
//! waits 20 ms for every deletion, however many interfaces are in it.
//!
//! Decides nothing: which steps, in which order and what undoes them comes with the job. Both
//! threads end when the sender of their jobs is dropped.

use std::{
    io,
    net::IpAddr,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
    thread,
};

use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{LinkAttribute, LinkMessage},
    route::RouteAddress,
};
use nix::errno::Errno;
use routed_core::{
    attachment::AttachmentId,
    pod::{
        Answer, AttachFailure, Event, Rules,
        check::{LinkSeen, Picture},
        step::{Stage, Step, datagrams},
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

pub mod fuse;
pub mod gone;
pub mod guard;
mod look;
mod request;
mod seen;
mod wait;

use fuse::Fuse;
use guard::Guard;
use request::{Context, nothing_to_do, request};

/// Something for the first thread.
#[derive(Debug)]
pub enum Job {
    /// List every interface of the host.
    Survey,
    /// Carry out steps on both sides.
    Attach(AttachmentId, Netns, Vec<Step>),
    /// Look at a pod on both sides.
    Observe(Netns, Box<Wiring>),
    /// Carry out steps on the host's side; what is not there need not be removed.
    Cut(AttachmentId, Vec<Step>),
    /// Put the rules in force, in place of whatever they were.
    Enforce(Option<Rules>),
    /// Somebody has touched the rules: put them back. Nobody waits for it.
    Restore,
}

/// The pod's network namespace as it came with the request; a job without it fails.
pub type Netns = Option<Arc<OwnedFd>>;

/// Something for the second thread.
#[derive(Debug)]
pub enum Removal {
    /// Delete the pair, which is in the doomed group.
    Sweep(AttachmentId),
    /// Put an interface into the doomed group and delete it.
    Discard(String),
}

/// Where jobs go.
#[derive(Debug)]
pub struct Executor {
    /// To the first thread.
    pub jobs: mpsc::Sender<Job>,
    /// To the second thread.
    pub removals: mpsc::Sender<Removal>,
}

/// Starts both threads in the network namespace of the calling thread, which is the host's.
///
/// # Errors
///
/// If a thread cannot be started, or netlink or /proc cannot be used.
pub fn spawn(events: mpsc::Sender<Event>, fuse: Fuse) -> Result<Executor, NetlinkError> {
    let (jobs, mut job_queue) = mpsc::channel(QUEUE);
    let (removals, removal_queue) = mpsc::channel(QUEUE);
    let sweeper = Sweeper { netlink: Netlink::open()?, events: events.clone(), fuse: fuse.clone() };
    let host = Netlink::open()?;
    let guard = Guard::open().map_err(io::Error::other)?;
    let own = guard.port().map_err(io::Error::other)?;
    guard::watch::spawn(own, jobs.downgrade()).map_err(io::Error::other)?;
    let believers = sysctl::has_ipv6()
        && sysctl::routers_believe_advertisements().map_err(|error| error.error)?;
    thread::Builder::new().name("pods".to_owned()).spawn(move || {
        let traveller = match Traveller::at_home() {
            Ok(traveller) => traveller,
            Err(error) => return tracing::error!(%error, "pods cannot be served: mount /proc"),
        };
        let mut worker =
            Worker { traveller, host, guard, ipv6: sysctl::has_ipv6(), believers, fuse };
        while let Some(job) = job_queue.blocking_recv() {
            if let Some(event) = worker.work(job)
                && events.blocking_send(event).is_err()
            {
                return;
            }
        }
    })?;
    thread::Builder::new()
        .name("pods-sweep".to_owned())
        .spawn(move || sweeper.run(removal_queue))?;
    Ok(Executor { jobs, removals })
}

/// Every interface of the calling thread's namespace, for tools that look without a daemon.
///
/// # Errors
///
/// If they cannot be listed.
pub fn interfaces() -> Result<Vec<LinkSeen>, NetlinkError> {
    look::links(&mut Netlink::open()?)
}

/// What the pods' interfaces have carried, seen from the side they are on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets.
    pub received: u64,
    /// Octets.
    pub received_octets: u64,
    /// Packets.
    pub sent: u64,
    /// Octets.
    pub sent_octets: u64,
    /// Packets, both ways.
    pub errors: u64,
    /// Packets, both ways.
    pub dropped: u64,
}

/// A pod as it can be seen without a daemon.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// What CHECK would look at.
    pub picture: Picture,
    /// Of the host's end.
    pub host: Option<Counters>,
    /// Of the pod's end.
    pub inside: Option<Counters>,
}

/// Looks at a pod from the calling thread's namespace, the host's, and from its own if that is known.
///
/// # Errors
///
/// If the kernel cannot be read.
pub fn view(
    traveller: &Traveller,
    netns: Option<BorrowedFd<'_>>,
    wiring: &Wiring,
) -> Result<View, NetlinkError> {
    let mut host = Netlink::open()?;
    let mut inside = match netns {
        Some(netns) => Some(traveller.within(netns, Netlink::open).map_err(io::Error::from)??),
        None => None,
    };
    let mut guard = Guard::open().map_err(io::Error::other)?;
    let picture = look::look(&mut host, inside.as_mut(), wiring)?;
    let permitted = guard.seen(wiring.host.index, wiring.lease).map_err(io::Error::other)?;
    Ok(View {
        picture: Picture { permitted, ..picture },
        host: look::counters(&mut host, wiring.host.index)?,
        inside: match &mut inside {
            Some(inside) => look::counters(inside, wiring.inside.index)?,
            None => None,
        },
    })
}

/// Requests that delete these interfaces of ours, all at once.
#[must_use]
pub fn sweeping(links: &[String]) -> Vec<Request> {
    let dooming = links.iter().map(|name| request::doom(name));
    dooming.chain([request::sweep()]).collect()
}

/// The address of a route's destination or gateway.
#[must_use]
pub const fn address(address: &RouteAddress) -> Option<IpAddr> {
    seen::ip(address)
}

/// The first thread.
struct Worker {
    traveller: Traveller,
    host: Netlink,
    guard: Guard,
    /// Has the kernel IPv6 at all?
    ipv6: bool,
    /// New interfaces believe router advertisements although the node is a router.
    believers: bool,
    fuse: Fuse,
}

impl Worker {
    fn work(&mut self, job: Job) -> Option<Event> {
        Some(match job {
            Job::Survey => Event::Surveyed(self.survey()),
            Job::Attach(id, netns, steps) => {
                Event::Answered(id, Answer::Attached(self.attach(netns.as_deref(), &steps)))
            }
            Job::Observe(netns, wiring) => {
                let picture = self.observe(netns.as_deref(), &wiring).map(Box::new);
                Event::Answered(wiring.id, Answer::Observed(picture))
            }
            Job::Cut(id, steps) => Event::Answered(id, Answer::Cut(self.cut(&steps))),
            Job::Enforce(rules) => Event::Enforced(self.enforce(rules)),
            Job::Restore => {
                match self.guard.restore() {
                    Ok(()) => {
                        tracing::warn!("somebody has changed the table slash32; it is as it was");
                    }
                    Err(error) => tracing::error!(
                        %error, "somebody has changed the table slash32, and it cannot be put back"
                    ),
                }
                return None;
            }
        })
    }

    fn enforce(&mut self, rules: Option<Rules>) -> Result<(), PodError> {
        let outcome = match rules {
            Some(Rules { permits, closed_ports }) => self.guard.enforce(permits, closed_ports),
            None => self.guard.lift(),
        };
        outcome.map_err(unruled)
    }

    fn survey(&mut self) -> Result<Vec<LinkSeen>, PodError> {
        look::links(&mut self.host).map_err(broken)
    }

    fn observe(&mut self, netns: Option<&OwnedFd>, wiring: &Wiring) -> Result<Picture, PodError> {
        let mut inside = self.enter(given(netns)?)?;
        let mut picture = look::look(&mut self.host, Some(&mut inside), wiring).map_err(broken)?;
        picture.permitted = self.permitted(wiring)?;
        Ok(picture)
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
                return self
                    .wait(&mut inside, datagram)
                    .map_err(|error| failed(error, steps.len()));
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
                Stage::Pair | Stage::Host | Stage::Guard => &mut self.host,
                Stage::Inside | Stage::Await => &mut inside,
            };
            let refusals = (self.fuse)
                .burn(requests.len(), |sent| socket.apply(&requests[..sent]))
                .map_err(|error| failed(broken(error), reached))?;
            let outcome = match (stage, refusals.first()) {
                (_, None) => Ok(()),
                (Stage::Pair, Some(refusal)) => {
                    let error = pair_refused(&datagram[0], refusal, &mut inside);
                    return Err(failed(error, before));
                }
                (Stage::Host | Stage::Guard | Stage::Await, Some(refusal)) => {
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

    fn wait(&mut self, inside: &mut Netlink, steps: &[Step]) -> Result<(), PodError> {
        wait::wait(&mut self.host, inside, steps).map_err(broken)?.map_err(|late| {
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
                .burn(requests.len(), |sent| host.apply(&requests[..sent]))
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
                | Step::RemoveNeighbour { .. }
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

/// The second thread.
struct Sweeper {
    netlink: Netlink,
    events: mpsc::Sender<Event>,
    fuse: Fuse,
}

impl Sweeper {
    fn run(mut self, mut queue: mpsc::Receiver<Removal>) {
        while let Some(first) = queue.blocking_recv() {
            let mut removals = vec![first];
            while let Ok(more) = queue.try_recv() {
                removals.push(more);
            }
            let outcome = self.remove(&removals);
            for removal in removals {
                let event = match removal {
                    Removal::Sweep(id) => Event::Answered(id, Answer::Swept(outcome.clone())),
                    Removal::Discard(name) => Event::Discarded(name),
                };
                if self.events.blocking_send(event).is_err() {
                    return;
                }
            }
        }
    }

    fn remove(&mut self, removals: &[Removal]) -> Result<(), PodError> {
        let mut requests: Vec<_> = removals
            .iter()
            .filter_map(|removal| match removal {
                Removal::Discard(name) => Some(request::doom(name)),
                Removal::Sweep(_) => None,
            })
            .collect();
        requests.push(request::sweep());
        let netlink = &mut self.netlink;
        let refusals = (self.fuse)
            .burn(requests.len(), |sent| netlink.apply(&requests[..sent]))
            .map_err(broken)?;
        // ENODEV: the group is empty, since the pods' namespaces went first.
        let real = |refusal: &&Refusal| {
            refusal.index + 1 == requests.len() && refusal.errno != Errno::ENODEV
        };
        match refusals.iter().find(real) {
            None => Ok(()),
            Some(refusal) => {
                tracing::error!(error = %refusal, "pods' interfaces cannot be deleted");
                Err(PodError::Netlink(number(refusal.errno)))
            }
        }
    }
}

/// Why the pair could not be made: for EEXIST the kernel does not say which name is taken.
fn pair_refused(step: &Step, refusal: &Refusal, inside: &mut Netlink) -> PodError {
    let Step::CreatePair { host, inside: end, .. } = step else {
        return refused(std::slice::from_ref(step), refusal);
    };
    if refusal.errno != Errno::EEXIST {
        return refused(std::slice::from_ref(step), refusal);
    }
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::IfName(end.name.clone()));
    match inside.get(&RouteNetlinkMessage::GetLink(message)) {
        Ok(Some(_)) => PodError::IfnameTaken(end.name.clone()),
        Ok(None) => PodError::HostLinkTaken { name: host.name.clone() },
        Err(error) => broken(error),
    }
}

/// The interface on which IPv6 is switched off, if that explains every refusal.
fn off<'a>(steps: &'a [Step], refusals: &[Refusal]) -> Option<&'a str> {
    let six = |step: &Step| match step {
        Step::Neighbour { address, .. } | Step::Address { address, .. } => address.is_ipv6(),
        Step::GatewayRoute { gateway, .. }
        | Step::Route { gateway, .. }
        | Step::DefaultRoute { gateway, .. } => gateway.is_ipv6(),
        Step::CreatePair { .. }
        | Step::Label { .. }
        | Step::HostRoute { .. }
        | Step::Permit { .. }
        | Step::Forbid { .. }
        | Step::LoopbackUp
        | Step::LinkUp { .. }
        | Step::AwaitCarrier { .. }
        | Step::AwaitAddress { .. }
        | Step::RemoveHostRoute { .. }
        | Step::RemoveNeighbour { .. }
        | Step::Doom { .. } => false,
    };
    if !refusals.iter().all(|refusal| six(&steps[refusal.index])) {
        return None;
    }
    refusals.iter().find_map(|refusal| match &steps[refusal.index] {
        Step::Address { name, .. } if refusal.errno == Errno::EACCES => Some(name.as_str()),
        _ => None,
    })
}

fn given(netns: Option<&OwnedFd>) -> Result<&OwnedFd, PodError> {
    netns.ok_or(PodError::Namespace(number(Errno::EBADF)))
}

fn refused(steps: &[Step], refusal: &Refusal) -> PodError {
    PodError::Refused {
        step: Box::new(steps[refusal.index].clone()),
        errno: number(refusal.errno),
        text: refusal.text.clone(),
    }
}

fn broken(error: NetlinkError) -> PodError {
    tracing::error!(%error, "netlink failed");
    PodError::Netlink(match error {
        NetlinkError::Socket(error) => verb::Errno(error.raw_os_error().unwrap_or_default()),
        NetlinkError::Silent(_) => number(Errno::ETIMEDOUT),
        NetlinkError::Dump(refusal) => number(refusal.errno),
        NetlinkError::Restless(_) => number(Errno::EAGAIN),
    })
}

fn unruled(error: NftError) -> PodError {
    tracing::error!(%error, "the rules of what pods may send cannot be changed");
    PodError::Guard(match error {
        NftError::Socket(error) => verb::Errno(error.raw_os_error().unwrap_or_default()),
        NftError::Silent => number(Errno::ETIMEDOUT),
        NftError::Refused { errno, .. } => number(errno),
    })
}

const fn number(errno: Errno) -> verb::Errno {
    verb::Errno(errno as i32)
}

/// Jobs waiting in front of each thread. More wait with their owner, so the size only has to keep
/// the thread from waiting for the owner: a few milliseconds of work.
const QUEUE: usize = 64;
