//! Deletes doomed pairs, on a thread of its own.
//!
//! In: pairs and interfaces to delete. Out: one [`Event`] for each. As many at a time as have come
//! together: the kernel waits 20 ms for every deletion, however many interfaces are in it. Ends when the
//! sender of its queue is dropped.

use std::{thread, time::Duration};

use nix::errno::Errno;
use routed_core::{
    attachment::AttachmentId,
    pod::{Answer, Event, verb::PodError},
};
use tokio::sync::mpsc;

use super::{
    QUEUE,
    fuse::Fuse,
    refusal::{broken, number},
    request,
};
use crate::kernel::netlink::{Netlink, NetlinkError, Refusal};

/// Something for the second thread.
#[derive(Debug)]
pub enum Removal {
    /// Delete the pair, which is in the doomed group.
    Sweep(AttachmentId),
    /// Put an interface into the doomed group and delete it.
    Discard(String),
}

/// Starts it in the network namespace of the calling thread, which is the host's.
pub(super) fn spawn(
    events: mpsc::Sender<Event>,
    fuse: Fuse,
) -> Result<mpsc::Sender<Removal>, NetlinkError> {
    let (removals, queue) = mpsc::channel(QUEUE);
    let sweeper = Sweeper { netlink: Netlink::open()?, events, fuse };
    thread::Builder::new().name("pods-sweep".to_owned()).spawn(move || sweeper.run(queue))?;
    Ok(removals)
}

/// Deletes what is given to it.
struct Sweeper {
    netlink: Netlink,
    events: mpsc::Sender<Event>,
    fuse: Fuse,
}

impl Sweeper {
    fn run(mut self, mut queue: mpsc::Receiver<Removal>) {
        while let Some(first) = queue.blocking_recv() {
            thread::sleep(PAUSE);
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
            .messages(requests.len(), |range| netlink.apply(&requests[range]))
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

/// From the first removal to the deletion: more come, and the processor is first for whoever has just
/// been told that its DEL is done.
const PAUSE: Duration = Duration::from_millis(10);
