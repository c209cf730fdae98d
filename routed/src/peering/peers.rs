//! The peers there are at this moment, as everybody but their owner sees them.
//!
//! In: the list, published by its owner whenever it changes. Out: handles by which a peer's task
//! is asked and watched. Changes nothing.

use std::{collections::BTreeSet, future::poll_fn, net::IpAddr, sync::Arc, task::Poll};

use bgp::rib::PeerId;
use tokio::sync::{mpsc, watch};

use super::{PeerCommand, PeerStatus};
use crate::config::Peer;

/// Every peer; cheap to clone, and always current.
#[derive(Clone, Debug)]
pub struct Peers(watch::Receiver<Arc<[PeerHandle]>>);

/// The way to one peer's task; cheap to clone.
#[derive(Clone, Debug)]
pub struct PeerHandle {
    /// Its number in the RIB.
    pub id: PeerId,
    /// Its settings.
    pub settings: Arc<Peer>,
    pub(super) commands: mpsc::Sender<PeerCommand>,
    pub(super) status: watch::Receiver<PeerStatus>,
}

impl Peers {
    pub(super) const fn new(published: watch::Receiver<Arc<[PeerHandle]>>) -> Self {
        Self(published)
    }

    /// Those of a speaker that has none and never will.
    #[must_use]
    pub fn none() -> Self {
        Self(watch::channel(Arc::new([]) as Arc<[PeerHandle]>).1)
    }

    /// Those there are now, in the order of the configuration.
    #[must_use]
    pub fn list(&self) -> Arc<[PeerHandle]> {
        Arc::clone(&self.0.borrow())
    }

    /// The peer of this name or address.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<PeerHandle> {
        let address: Option<IpAddr> = name.parse().ok();
        let is_it = |peer: &&PeerHandle| {
            *peer.settings.name == *name
                || address.is_some() && peer.settings.address.fixed() == address
        };
        self.0.borrow().iter().find(is_it).cloned()
    }

    /// To look at all statuses again and again.
    #[must_use]
    pub fn follow(&self) -> Followed {
        let mut peers = self.0.clone();
        let statuses = peers.borrow_and_update().iter().map(PeerHandle::watch).collect();
        Followed { peers, statuses }
    }
}

/// The statuses of all peers, whichever these are.
#[derive(Debug)]
pub struct Followed {
    peers: watch::Receiver<Arc<[PeerHandle]>>,
    statuses: Vec<watch::Receiver<PeerStatus>>,
}

impl Followed {
    /// What they are now.
    pub fn statuses(&mut self) -> Vec<PeerStatus> {
        self.statuses.iter_mut().map(|status| status.borrow_and_update().clone()).collect()
    }

    /// The peers whose paths are about to be withdrawn.
    pub fn lost(&mut self) -> BTreeSet<PeerId> {
        let status = |status: &mut watch::Receiver<PeerStatus>| {
            let status = status.borrow_and_update();
            status.lost.then_some(status.id)
        };
        self.statuses.iter_mut().filter_map(status).collect()
    }

    /// Waits until a peer comes or goes, or a status is another than [`Self::statuses`] gave.
    /// May be dropped anywhere.
    pub async fn changed(&mut self) {
        tokio::select! {
            () = any_changed(&mut self.statuses) => (),
            Ok(()) = self.peers.changed() => {
                self.statuses =
                    self.peers.borrow_and_update().iter().map(PeerHandle::watch).collect();
            }
        }
    }
}

impl PeerHandle {
    /// The peer's status as it is now.
    #[must_use]
    pub fn status(&self) -> PeerStatus {
        self.status.borrow().clone()
    }

    /// What of it somebody looks at, without a copy. The peer's task waits meanwhile.
    pub fn look<T>(&self, look: impl FnOnce(&PeerStatus) -> T) -> T {
        look(&self.status.borrow())
    }

    /// To wait for changes of the status.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<PeerStatus> {
        self.status.clone()
    }

    /// Asks something of the peer's task. Does nothing if the task is ending.
    pub async fn command(&self, command: PeerCommand) {
        let _ = self.commands.send(command).await;
    }
}

/// When the first of these changes; forever if there are none.
async fn any_changed(statuses: &mut [watch::Receiver<PeerStatus>]) {
    let mut changes: Vec<_> =
        statuses.iter_mut().map(|status| Some(Box::pin(status.changed()))).collect();
    poll_fn(|cx| {
        for slot in &mut changes {
            let Some(change) = slot else { continue };
            match change.as_mut().poll(cx) {
                Poll::Ready(Ok(())) => return Poll::Ready(()),
                // That peer's task has ended: it will never say anything again.
                Poll::Ready(Err(_)) => *slot = None,
                Poll::Pending => (),
            }
        }
        Poll::Pending
    })
    .await;
}
