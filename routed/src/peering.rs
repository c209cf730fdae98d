//! BGP peering: sockets, a task for each peer, and the RIB's thread.
//!
//! In: the configuration, link events, commands of operators. Out: sessions with the peers, and
//! what the RIB knows (see [`RibHandle`] and [`BestChanges`]). What to say to a peer and which
//! routes are best is decided in the `bgp` package; here it is carried out.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hasher},
    io,
    net::SocketAddr,
    sync::Arc,
    thread,
};

use bgp::{
    rib::{PeerId, RibConfig},
    session::Cease,
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};

mod conn;
mod interfaces;
pub mod links;
mod listener;
mod peer;
mod remedy;
mod rib;
mod socket;
mod status;

use crate::config::{Config, Mode, Peer, Speaker};
use listener::{Doors, Listener};
use peer::{Inbox, PeerTask};

pub use self::{
    peer::{LinkEvent, PeerCommand},
    remedy::Side,
    rib::{BestChanges, RibHandle, RibStopped},
    socket::{Setting, SocketError},
    status::{FaultCounters, LastError, PeerStatus},
};

/// A running speaker. Dropping it aborts its tasks without a word to the peers; see
/// [`Peering::stop`].
pub struct Peering {
    peers: Vec<PeerHandle>,
    tasks: JoinSet<()>,
    listeners: JoinSet<()>,
    listening: Vec<SocketAddr>,
    rib: RibHandle,
    rib_thread: thread::JoinHandle<()>,
}

/// The way to one peer's task; cheap to clone.
#[derive(Clone, Debug)]
pub struct PeerHandle {
    /// Its number in the RIB.
    pub id: PeerId,
    /// Its settings.
    pub settings: Arc<Peer>,
    commands: mpsc::Sender<PeerCommand>,
    status: watch::Receiver<PeerStatus>,
}

/// Why peering could not start.
#[derive(Debug, thiserror::Error)]
pub enum PeeringError {
    /// A listening socket could not be had.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The RIB got no thread.
    #[error("cannot start the RIB's thread: {0}; raise the limit of tasks (TasksMax)")]
    Thread(#[source] io::Error),
}

impl Peering {
    /// Starts the RIB, the peers' sessions and the listeners. Peers are numbered in the order
    /// given. Must be called inside a tokio runtime with I/O and time.
    ///
    /// # Errors
    ///
    /// [`PeeringError`] if an address cannot be listened on or the RIB gets no thread. Then
    /// nothing is left running.
    pub fn start(config: &Config) -> Result<(Self, BestChanges), PeeringError> {
        let peers = || config.peers.iter();
        let keys = || peers().filter_map(|peer| Some((peer.address, peer.password.as_ref()?)));
        let sockets: Vec<_> = config
            .speaker
            .listen
            .iter()
            .map(|address| socket::listen(*address, keys()))
            .collect::<Result<_, _>>()?;
        let (rib, best, rib_thread) =
            rib::start(rib_config(config)).map_err(PeeringError::Thread)?;

        let mut doors = Doors::new();
        let mut tasks = JoinSet::new();
        let mut handles = Vec::new();
        for (id, settings) in (0..).map(PeerId).zip(&config.peers) {
            let settings = Arc::new(settings.clone());
            let (commands, commands_in) = mpsc::channel(COMMANDS);
            let (door, accepted) = mpsc::channel(DOOR);
            let (status_out, status) = watch::channel(PeerStatus::new(id, &settings));
            doors.insert(settings.address.to_canonical(), door);
            let inbox = Inbox { commands: commands_in, accepted, status: status_out };
            let task = PeerTask::new(id, Arc::clone(&settings), rib.clone(), inbox, seed());
            tasks.spawn(task.run());
            handles.push(PeerHandle { id, settings, commands, status });
        }
        let doors = Arc::new(doors);
        let listening = sockets.iter().filter_map(|socket| socket.local_addr().ok()).collect();
        let mut listeners = JoinSet::new();
        for socket in sockets {
            listeners.spawn(Listener::new(socket, Arc::clone(&doors)).run());
        }
        Ok((Self { peers: handles, tasks, listeners, listening, rib, rib_thread }, best))
    }

    /// Ends every session with this reason and waits until the peers have been told, for a few
    /// seconds at most.
    pub async fn stop(mut self, cease: Cease) {
        self.listeners.shutdown().await;
        for peer in &self.peers {
            // An error means that the task has ended already.
            let _ = peer.commands.send(PeerCommand::Shutdown(cease.clone())).await;
        }
        while self.tasks.join_next().await.is_some() {}
        self.rib.stop().await;
        let thread = self.rib_thread;
        // A thread that panicked has said so.
        let _ = tokio::task::spawn_blocking(move || thread.join()).await;
    }

    /// The peers, in the order of the configuration.
    #[must_use]
    pub fn peers(&self) -> &[PeerHandle] {
        &self.peers
    }

    /// The peer of this name.
    #[must_use]
    pub fn peer(&self, name: &str) -> Option<&PeerHandle> {
        self.peers.iter().find(|peer| &*peer.settings.name == name)
    }

    /// Every peer's status as it is now.
    #[must_use]
    pub fn statuses(&self) -> Vec<PeerStatus> {
        self.peers.iter().map(PeerHandle::status).collect()
    }

    /// Where connections are accepted, with the ports that were free.
    #[must_use]
    pub fn listening(&self) -> &[SocketAddr] {
        &self.listening
    }

    /// The way to the RIB.
    #[must_use]
    pub const fn rib(&self) -> &RibHandle {
        &self.rib
    }

    /// Tells every peer what happened to an interface.
    pub async fn link(&self, event: &LinkEvent) {
        links::tell(&self.peers, event).await;
    }
}

impl PeerHandle {
    /// The peer's status as it is now.
    #[must_use]
    pub fn status(&self) -> PeerStatus {
        self.status.borrow().clone()
    }

    /// To wait for changes of the status.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<PeerStatus> {
        self.status.clone()
    }

    /// Asks something of the peer's task. Does nothing if the daemon is stopping.
    pub async fn command(&self, command: PeerCommand) {
        let _ = self.commands.send(command).await;
    }
}

fn rib_config(config: &Config) -> RibConfig {
    let Speaker { asn, router_id, cluster_id, multipath, .. } = config.speaker;
    let resolve_next_hops = match config.node.mode {
        Mode::Node => true,
        Mode::Speaker => false,
    };
    RibConfig { cluster_id, multipath, resolve_next_hops, ..RibConfig::new(asn, router_id) }
}

/// A number that nobody can guess and that differs for each session.
fn seed() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// Commands that may wait for a peer's task, which takes them at once.
const COMMANDS: usize = 16;

/// Connections of one peer that may wait for its task: more than two are never kept.
const DOOR: usize = 4;

#[cfg(test)]
mod tests;
