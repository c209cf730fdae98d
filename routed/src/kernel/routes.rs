//! The route writer: an OS thread that changes the kernel's routes and takes full pictures of them.
//!
//! In: jobs, in order. Out: for each its answer, in the same order, as an event of the machine
//! that decides ([`routed_core::fib::Fib`]). Decides nothing, repeats nothing; ends when the way to
//! it is dropped.

use std::{io, sync::Arc, thread};

use netlink_packet_route::RouteNetlinkMessage;
use nix::errno::Errno;
use routed_core::fib::{
    BATCHES, Event,
    route::{Operation, Route, WriteError},
};
use tokio::sync::mpsc;

use super::netlink::{Netlink, NetlinkError, Refusal};

pub(super) mod message;

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Job {
    /// Answered by [`Event::Dumped`] or [`Event::DumpFailed`].
    Dump,
    /// Answered by [`Event::Written`].
    Write(Arc<[Operation]>),
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
    match all_routes(netlink) {
        Ok(routes) => Event::Dumped(routes),
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

fn write(netlink: &mut Netlink, operations: Arc<[Operation]>, protocol: u8) -> Event {
    let requests: Vec<_> =
        operations.iter().map(|operation| message::request(operation, protocol)).collect();
    let failures = match netlink.apply(&requests) {
        Ok(refusals) => refusals
            .into_iter()
            .map(|refusal| {
                let operation = &operations[refusal.index];
                tracing::debug!(prefix = %operation.key().prefix, error = %refusal, ?operation,
                    "kernel refused a route");
                (refusal.index, reason(&refusal))
            })
            .collect(),
        Err(error) => {
            tracing::error!(%error, "kernel routes cannot be written");
            (0..operations.len()).map(|index| (index, WriteError::Unknown)).collect()
        }
    };
    Event::Written { operations, failures }
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

/// The machine has this many write jobs under way at most, and one dump.
const QUEUE: usize = BATCHES + 1;
