//! The route writer: an OS thread that changes the kernel's routes and next-hop objects, and takes
//! full pictures of them.
//!
//! In: jobs, in order. Out: for each its answer, in the same order, as an event of the machine
//! that decides ([`routed_core::fib::Fib`]). Decides nothing, repeats nothing; ends when the way to
//! it is dropped.

use std::{io, sync::Arc, thread};

use netlink_packet_route::RouteNetlinkMessage;
use nix::errno::Errno;
use routed_core::fib::{
    BATCHES, Event,
    next_hop::{NextHopObject, NextHopOperation},
    route::{Operation, Route, WriteError},
};
use tokio::sync::mpsc;

use super::netlink::{Netlink, NetlinkError, Refusal, Request};

pub(super) mod message;
pub(super) mod next_hop;

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Job {
    /// Answered by [`Event::Dumped`] or [`Event::DumpFailed`].
    Dump,
    /// Answered by [`Event::Written`].
    Write(Arc<[Operation]>),
    /// Answered by [`Event::NextHopsWritten`].
    WriteNextHops(Arc<[NextHopOperation]>),
}

/// The two ends of the writer.
#[derive(Debug)]
pub struct RouteWriter {
    /// Where jobs go. Dropping it ends the thread.
    pub jobs: mpsc::Sender<Job>,
    /// Where answers come from; it must be read, or the writer waits.
    pub answers: mpsc::Receiver<Event>,
    /// The kernel names this as the source of changes that the writer made.
    pub port: u32,
}

/// Why the writer could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No netlink socket.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// No thread.
    #[error("cannot start a thread for kernel routes: {0}; raise the limit of tasks (TasksMax)")]
    Thread(#[source] io::Error),
}

/// Starts a writer of routes with this protocol number in the calling thread's network namespace.
///
/// # Errors
///
/// [`StartError`] if the kernel gives us no socket or no thread.
pub fn start(protocol: u8) -> Result<RouteWriter, StartError> {
    let mut netlink = Netlink::open()?;
    let port = netlink.port()?;
    let (jobs, mut inbox) = mpsc::channel(QUEUE);
    let (outbox, answers) = mpsc::channel(QUEUE);
    let thread = thread::Builder::new().name("routes".to_owned()).spawn(move || {
        while let Some(job) = inbox.blocking_recv() {
            let answer = match job {
                Job::Dump => dump(&mut netlink),
                Job::Write(operations) => write(&mut netlink, operations, protocol),
                Job::WriteNextHops(operations) => {
                    write_next_hops(&mut netlink, operations, protocol)
                }
            };
            if outbox.blocking_send(answer).is_err() {
                break;
            }
        }
    });
    thread.map_err(StartError::Thread)?;
    Ok(RouteWriter { jobs, answers, port })
}

/// Every route of the calling thread's network namespace that the machine looks at.
///
/// # Errors
///
/// [`NetlinkError`].
pub fn list() -> Result<Vec<Route>, NetlinkError> {
    all_routes(&mut Netlink::open()?)
}

fn dump(netlink: &mut Netlink) -> Event {
    let picture = next_hops(netlink).and_then(|next_hops| Ok((next_hops, all_routes(netlink)?)));
    match picture {
        Ok((next_hops, routes)) => Event::Dumped { routes, next_hops },
        Err(error) => {
            tracing::warn!(%error, "cannot list the kernel's routes; trying again");
            Event::DumpFailed
        }
    }
}

fn all_routes(netlink: &mut Netlink) -> Result<Vec<Route>, NetlinkError> {
    let mut routes = Vec::new();
    for request in message::everything() {
        routes.extend(netlink.dump(&request)?.iter().filter_map(|object| match object {
            RouteNetlinkMessage::NewRoute(route) => message::route(route),
            _ => None,
        }));
    }
    Ok(routes)
}

/// Every next-hop object; `None` if the kernel knows no such things (before Linux 5.3).
pub(super) fn next_hops(netlink: &mut Netlink) -> Result<Option<Vec<NextHopObject>>, NetlinkError> {
    match netlink.dump_with(&next_hop::everything(), next_hop::object) {
        Ok(objects) => Ok(Some(objects)),
        Err(NetlinkError::Dump(Refusal {
            errno: Errno::EOPNOTSUPP | Errno::EINVAL | Errno::EAFNOSUPPORT,
            ..
        })) => Ok(None),
        Err(error) => Err(error),
    }
}

fn write(netlink: &mut Netlink, operations: Arc<[Operation]>, protocol: u8) -> Event {
    let requests: Vec<_> =
        operations.iter().map(|operation| message::request(operation, protocol)).collect();
    let failures = apply(netlink, &requests, |refusal| {
        let operation = &operations[refusal.index];
        tracing::debug!(prefix = %operation.key().prefix, error = %refusal, ?operation,
            "kernel refused a route");
    });
    Event::Written { operations, failures }
}

fn write_next_hops(
    netlink: &mut Netlink,
    operations: Arc<[NextHopOperation]>,
    protocol: u8,
) -> Event {
    let requests: Vec<_> =
        operations.iter().map(|operation| next_hop::request(operation, protocol)).collect();
    let failures = apply(netlink, &requests, |refusal| {
        let operation = &operations[refusal.index];
        tracing::debug!(id = %operation.id(), error = %refusal, ?operation,
            "kernel refused a next-hop object");
    });
    Event::NextHopsWritten { operations, failures }
}

/// Carries out the requests and returns those that were not done, each of which is told.
fn apply(
    netlink: &mut Netlink,
    requests: &[Request],
    tell: impl Fn(&Refusal),
) -> Vec<(usize, WriteError)> {
    match netlink.apply(requests) {
        Ok(refusals) => {
            refusals.iter().inspect(|it| tell(it)).map(|it| (it.index, reason(it))).collect()
        }
        Err(error) => {
            tracing::error!(%error, "kernel routes cannot be written");
            (0..requests.len()).map(|index| (index, WriteError::Unknown)).collect()
        }
    }
}

fn reason(refusal: &Refusal) -> WriteError {
    match refusal.errno {
        Errno::EEXIST => WriteError::Exists,
        Errno::ESRCH | Errno::ENOENT => WriteError::Missing,
        errno => WriteError::Refused {
            errno: errno as i32,
            text: refusal.text.as_deref().map(Arc::from),
        },
    }
}

/// The machine has this many jobs that write routes under way at most, one that writes next-hop
/// objects, and one dump.
const QUEUE: usize = BATCHES + 2;
