//! Carries out the steps of pods, on two threads of its own.
//!
//! In: jobs over bounded channels. Out: one [`Event`] for each but [`Removal::Discard`]. The first
//! thread attaches, cuts and looks, one job after the other: the kernel does these under one lock
//! anyway. The second deletes doomed pairs, as many at a time as have come together: the kernel
//! waits 20 ms for every deletion, however many interfaces are in it.
//!
//! Decides nothing: which steps, in which order and what undoes them comes with the job. Both
//! threads end when the sender of their jobs is dropped.

use std::{
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
    thread,
};

use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{LinkAttribute, LinkMessage},
};
use nix::errno::Errno;
use routed_core::{
    attachment::AttachmentId,
    pod::{
        Answer, AttachFailure, Event,
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
    sysctl,
};

pub mod gone;
mod look;
mod request;
mod seen;
mod wait;

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
}

/// The pod's network namespace as it came with the request; a job without it fails.
pub type Netns = Option<Arc<OwnedFd>>;

/// Something for the second thread.
#[derive(Debug)]
pub enum Removal {
    /// Delete the pair, which is in the doomed group.
    Sweep(AttachmentId),
    /// Put an interface into the doomed group and delete it; nobody waits for it.
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
pub fn spawn(events: mpsc::Sender<Event>) -> Result<Executor, NetlinkError> {
    let (jobs, mut job_queue) = mpsc::channel(QUEUE);
    let (removals, removal_queue) = mpsc::channel(QUEUE);
    let sweeper = Sweeper { netlink: Netlink::open()?, events: events.clone() };
    let host = Netlink::open()?;
    let believers = sysctl::has_ipv6()
        && sysctl::routers_believe_advertisements().map_err(|error| error.error)?;
    thread::Builder::new().name("pods".to_owned()).spawn(move || {
        let traveller = match Traveller::at_home() {
            Ok(traveller) => traveller,
            Err(error) => return tracing::error!(%error, "pods cannot be served: mount /proc"),
        };
        let mut worker = Worker { traveller, host, ipv6: sysctl::has_ipv6(), believers };
        while let Some(job) = job_queue.blocking_recv() {
            if events.blocking_send(worker.work(job)).is_err() {
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

/// The first thread.
struct Worker {
    traveller: Traveller,
    host: Netlink,
    /// Has the kernel IPv6 at all?
    ipv6: bool,
    /// New interfaces believe router advertisements although the node is a router.
    believers: bool,
}

impl Worker {
    fn work(&mut self, job: Job) -> Event {
        match job {
            Job::Survey => Event::Surveyed(self.survey()),
            Job::Attach(id, netns, steps) => {
                Event::Answered(id, Answer::Attached(self.attach(netns.as_deref(), &steps)))
            }
            Job::Observe(netns, wiring) => {
                let picture = self.observe(netns.as_deref(), &wiring).map(Box::new);
                Event::Answered(wiring.id, Answer::Observed(picture))
            }
            Job::Cut(id, steps) => Event::Answered(id, Answer::Cut(self.cut(&steps))),
        }
    }

    fn survey(&mut self) -> Result<Vec<LinkSeen>, PodError> {
        look::links(&mut self.host).map_err(broken)
    }

    fn observe(&mut self, netns: Option<&OwnedFd>, wiring: &Wiring) -> Result<Picture, PodError> {
        let mut inside = self.enter(given(netns)?)?;
        look::look(&mut self.host, &mut inside, wiring).map_err(broken)
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
            let requests: Vec<_> =
                datagram.iter().filter_map(|step| request(step, context)).collect();
            let socket = match stage {
                Stage::Pair | Stage::Host => &mut self.host,
                Stage::Inside | Stage::Await => &mut inside,
            };
            let before = reached;
            reached += datagram.len();
            let refusals =
                socket.apply(&requests).map_err(|error| failed(broken(error), reached))?;
            let outcome = match (stage, refusals.first()) {
                (_, None) => Ok(()),
                (Stage::Pair, Some(refusal)) => {
                    let error = pair_refused(&datagram[0], refusal, &mut inside);
                    return Err(failed(error, before));
                }
                (Stage::Host | Stage::Await, Some(refusal)) => Err(refused(datagram, refusal)),
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
        let requests: Vec<_> = steps.iter().filter_map(|step| request(step, context)).collect();
        let refusals = self.host.apply(&requests).map_err(broken)?;
        let real = |refusal: &&Refusal| !nothing_to_do(&steps[refusal.index], refusal.errno);
        refusals.iter().find(real).map_or(Ok(()), |refusal| Err(refused(steps, refusal)))
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
                    Removal::Discard(_) => continue,
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
        let refusals = self.netlink.apply(&requests).map_err(broken)?;
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

const fn number(errno: Errno) -> verb::Errno {
    verb::Errno(errno as i32)
}

/// Jobs waiting in front of each thread. More wait with their owner, so the size only has to keep
/// the thread from waiting for the owner: a few milliseconds of work.
const QUEUE: usize = 64;
