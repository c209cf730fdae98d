//! The task that owns the peers: which there are, the task of each, and the listeners.
//!
//! In: orders of the daemon. Out: the tasks, and the list of peers as everybody else sees it.
//! Decides nothing about sessions and touches no octet of them.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hasher},
    sync::Arc,
};

use bgp::{rib::PeerId, session::Cease};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
    task::JoinSet,
};

use super::{
    PeerCommand, PeerHandle, Peers, RibHandle, SocketError,
    listener::{Doors, Listener},
    peer::{Inbox, PeerTask},
    socket,
    status::PeerStatus,
};
use crate::config::{Config, Peer};

/// What the daemon asks of the roster.
#[derive(Debug)]
pub(super) enum Order {
    /// End every session with this reason, then the task.
    Stop(Cease),
}

/// The task. Ends by [`Order::Stop`]; if it is dropped, all its tasks are aborted.
pub(super) struct Roster {
    rib: RibHandle,
    /// In the order of the configuration.
    members: Vec<Member>,
    published: watch::Sender<Arc<[PeerHandle]>>,
    doors: watch::Sender<Arc<Doors>>,
    /// Those of the members, and of peers that are taking their leave.
    tasks: JoinSet<()>,
    listeners: JoinSet<()>,
    next_id: u32,
}

/// A peer that there is.
struct Member {
    handle: PeerHandle,
    door: mpsc::Sender<TcpStream>,
}

/// Opens the listening sockets of a configuration.
///
/// # Errors
///
/// [`SocketError`] of the first that cannot be had; then none is left open.
pub(super) fn listen(config: &Config) -> Result<Vec<TcpListener>, SocketError> {
    let keys =
        || config.peers.iter().filter_map(|peer| Some((peer.address, peer.password.as_ref()?)));
    config.speaker.listen.iter().map(|address| socket::listen(*address, keys())).collect()
}

impl Roster {
    /// A roster with the peers of the configuration, their sessions begun. Must be called inside
    /// a tokio runtime with I/O and time.
    pub(super) fn new(config: &Config, sockets: Vec<TcpListener>, rib: RibHandle) -> (Self, Peers) {
        let (published, peers) = watch::channel(Arc::new([]) as Arc<[PeerHandle]>);
        let (doors, _) = watch::channel(Arc::default());
        let mut roster = Self {
            rib,
            members: Vec::new(),
            published,
            doors,
            tasks: JoinSet::new(),
            listeners: JoinSet::new(),
            next_id: 0,
        };
        for settings in &config.peers {
            let member = roster.engage(Arc::new(settings.clone()));
            roster.members.push(member);
        }
        roster.publish();
        for socket in sockets {
            roster.listeners.spawn(Listener::new(socket, roster.doors.subscribe()).run());
        }
        (roster, Peers::new(peers))
    }

    /// Serves until told to stop.
    pub(super) async fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        loop {
            tokio::select! {
                order = orders.recv() => match order {
                    Some(Order::Stop(cease)) => return self.stop(cease).await,
                    // Nobody is left who could want the sessions.
                    None => return,
                },
                // A task that has ended needs no memory.
                Some(_) = self.tasks.join_next() => (),
            }
        }
    }

    async fn stop(mut self, cease: Cease) {
        self.listeners.shutdown().await;
        for member in &self.members {
            member.handle.command(PeerCommand::Shutdown(cease.clone())).await;
        }
        while self.tasks.join_next().await.is_some() {}
    }

    /// Starts a peer's task.
    fn engage(&mut self, settings: Arc<Peer>) -> Member {
        let id = PeerId(self.next_id);
        self.next_id += 1;
        let (commands, commands_in) = mpsc::channel(COMMANDS);
        let (door, accepted) = mpsc::channel(DOOR);
        let (status_out, status) = watch::channel(PeerStatus::new(id, &settings));
        let inbox = Inbox { commands: commands_in, accepted, status: status_out };
        let task = PeerTask::new(id, Arc::clone(&settings), self.rib.clone(), inbox, seed());
        self.tasks.spawn(task.run());
        Member { handle: PeerHandle { id, settings, commands, status }, door }
    }

    /// Tells everybody which peers there are.
    fn publish(&self) {
        let door =
            |member: &Member| (member.handle.settings.address.to_canonical(), member.door.clone());
        self.doors.send_replace(Arc::new(self.members.iter().map(door).collect()));
        self.published
            .send_replace(self.members.iter().map(|member| member.handle.clone()).collect());
    }
}

/// A number that nobody can guess and that differs for each session.
fn seed() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// Commands that may wait for a peer's task, which takes them at once.
const COMMANDS: usize = 16;

/// Connections of one peer that may wait for its task: more than two are never kept.
const DOOR: usize = 4;
