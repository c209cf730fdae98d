//! BGP peering: sockets, a task for each peer on a thread of their own, and the RIB with its thread.
//!
//! In: the configuration, link events, commands of operators. Out: sessions with the peers, and
//! what the RIB knows (see [`RibHandle`] and [`BestChanges`]). What to say to a peer and which
//! routes are best is decided in the `bgp` package; here it is carried out.

use std::{io, sync::Arc, thread};

use bgp::{rib::RibConfig, session::Cease};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
};

mod bfd;
pub(crate) mod conn;
mod discovery;
pub(crate) mod interfaces;
mod io_thread;
pub mod links;
mod listener;
mod peer;
mod peers;
mod remedy;
mod rib;
mod roster;
pub(crate) mod socket;
mod status;

use crate::{
    announce,
    config::{Config, Mode, Speaker},
    kernel::watch::Links,
    mrt::Recorder,
};
use bfd::Bfd;
use io_thread::IoThread;
use rib::Beginning;
use roster::{Entrances, Order, OwnRestart, Roster};

pub use self::{
    bfd::{BfdReader, BfdStatus, Failure, Packets, Scheduling},
    peer::{LimitCounters, LimitCounts, LinkEvent, PeerCommand},
    peers::{Followed, PeerHandle, Peers},
    remedy::Side,
    rib::{BestChanges, Reports, RibHandle, RibStopped, SessionCounts},
    socket::{Setting, SocketError},
    status::{FaultCounters, LastError, PeerStatus},
};

/// A running speaker. Dropping it aborts its tasks without a word to the peers; see
/// [`Peering::stop`].
pub struct Peering {
    peers: Peers,
    orders: mpsc::Sender<Order>,
    /// The one task that owns all others.
    roster: JoinSet<()>,
    io: IoThread,
    rib: RibHandle,
    rib_thread: thread::JoinHandle<()>,
    recorder: Recorder,
    bfd: Bfd,
    bfd_thread: thread::JoinHandle<()>,
}

/// Why peering could not start.
#[derive(Debug, thiserror::Error)]
pub enum PeeringError {
    /// A listening socket could not be had.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// Sessions, the RIB or BFD got no thread.
    #[error("cannot start a thread: {0}; raise the limit of tasks (TasksMax)")]
    Thread(#[source] io::Error),
    /// There is none any more.
    #[error(transparent)]
    Stopped(#[from] RibStopped),
}

impl Peering {
    /// Starts the RIB, the peers' sessions and the listeners. Peers are numbered in the order
    /// given; those without an address are searched for on their interfaces among `links`.
    ///
    /// # Errors
    ///
    /// [`PeeringError`] if an address cannot be listened on or the RIB gets no thread. Then
    /// nothing is left running.
    pub fn start(
        config: &Config,
        links: watch::Receiver<Links>,
    ) -> Result<(Self, BestChanges), PeeringError> {
        let io = IoThread::start().map_err(PeeringError::Thread)?;
        let served = io.enter();
        let (doors, listeners_doors) = watch::channel(Arc::default());
        let entrances = Entrances::new(config, listeners_doors)?;
        let beginning = Beginning {
            config: rib_config(config),
            originated: announce::originated(config),
            deferred_for: OwnRestart::deferred_for(config),
        };
        let (rib, best, rib_thread) = rib::start(beginning).map_err(PeeringError::Thread)?;
        let recorder = Recorder::off();
        record(&recorder, config);
        let (bfd, bfd_thread) = Bfd::start().map_err(PeeringError::Thread)?;
        let tools = (rib.clone(), recorder.clone(), bfd.clone());
        let (task, peers) = Roster::new(config, entrances, doors, links, tools);
        let (orders, inbox) = mpsc::channel(ORDERS);
        let mut roster = JoinSet::new();
        roster.spawn(task.run(inbox));
        // Ends with its thread.
        tokio::spawn(rib.clone().attend());
        drop(served);
        Ok((Self { peers, orders, roster, io, rib, rib_thread, recorder, bfd, bfd_thread }, best))
    }

    /// Goes on with another configuration. Sessions of peers that it does not change go on, and
    /// so do the others unless [`diff::of_peer`](crate::config::diff::of_peer) says otherwise.
    ///
    /// # Errors
    ///
    /// [`PeeringError`] if an address cannot be listened on; then nothing has changed.
    pub async fn apply(&self, config: &Config) -> Result<(), PeeringError> {
        let (done, outcome) = oneshot::channel();
        let order = Order::Apply(Box::new(config.clone()), done);
        self.orders.send(order).await.map_err(|_| RibStopped)?;
        outcome.await.map_err(|_| RibStopped)??;
        record(&self.recorder, config);
        Ok(())
    }

    /// Ends every session with this reason and waits until the peers have been told, for a few
    /// seconds at most.
    pub async fn stop(mut self, cease: Cease) {
        // An error means that the task has ended already.
        let _ = self.orders.send(Order::Stop(cease)).await;
        while self.roster.join_next().await.is_some() {}
        self.rib.stop().await;
        self.bfd.stop();
        let (rib, bfd, io) = (self.rib_thread, self.bfd_thread, self.io.end());
        let recorder = self.recorder;
        let ended = tokio::task::spawn_blocking(move || {
            recorder.stop();
            // A thread that panicked has said so.
            let _ = (rib.join(), bfd.join(), io.join());
        });
        let _ = ended.await;
    }

    /// The peers, always current.
    #[must_use]
    pub const fn peers(&self) -> &Peers {
        &self.peers
    }

    /// The peer of this name or address.
    #[must_use]
    pub fn peer(&self, name: &str) -> Option<PeerHandle> {
        self.peers.find(name)
    }

    /// Every peer's status as it is now.
    #[must_use]
    pub fn statuses(&self) -> Vec<PeerStatus> {
        self.peers.list().iter().map(PeerHandle::status).collect()
    }

    /// The way to the RIB.
    #[must_use]
    pub const fn rib(&self) -> &RibHandle {
        &self.rib
    }

    /// The recorder of what peers say.
    #[must_use]
    pub const fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// Tells every peer what happened to an interface.
    pub async fn link(&self, event: &LinkEvent) {
        links::tell(&self.peers.list(), event).await;
    }
}

fn rib_config(config: &Config) -> RibConfig {
    let Speaker { asn, router_id, cluster_id, multipath, drain, .. } = config.speaker;
    let aggregates = config.speaker.aggregates.clone();
    let resolve_next_hops = match config.node.mode {
        Mode::Node => true,
        Mode::Speaker => false,
    };
    RibConfig {
        cluster_id,
        multipath,
        resolve_next_hops,
        drain,
        aggregates,
        ..RibConfig::new(asn, router_id)
    }
}

/// Without a thread nothing is recorded, which is no reason to have no sessions.
fn record(recorder: &Recorder, config: &Config) {
    if let Err(error) = recorder.configure(config.recording.as_ref()) {
        tracing::error!(%error, "what peers say is not recorded: no thread; raise the limit of tasks \
            (TasksMax)");
    }
}

/// Orders that may wait for the roster's task: there is one caller.
const ORDERS: usize = 1;

#[cfg(test)]
mod tests;
