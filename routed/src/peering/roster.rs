//! The task that owns the peers: which there are, the task of each, and the listeners.
//!
//! In: orders of the daemon, and connections of those who may become dynamic peers. Out: the tasks,
//! and the list of peers as everybody else sees it. Decides nothing about sessions and touches no
//! octet of them.

mod entrances;
mod hall;
mod keyring;
mod restart;

use std::{
    collections::{BTreeMap, hash_map::RandomState},
    hash::{BuildHasher, Hasher},
    sync::Arc,
    time::Instant,
};

use bgp::{
    rib::{PeerId, RibConfig},
    session::Cease,
};
use tokio::{
    net::TcpStream,
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
};

use super::{
    PeerCommand, PeerHandle, PeeringError, Peers, RibHandle,
    bfd::Bfd,
    discovery::{Discovery, Link},
    listener::Doors,
    peer::{Inbox, PeerTask},
    rib_config,
    status::PeerStatus,
};
use crate::{
    config::{Config, Mode, Peer, PeerAddress, diff},
    deadline::until,
    kernel::watch::Links,
    mrt::Recorder,
};

pub(super) use entrances::Entrances;
use hall::Hall;
use keyring::Whereabouts;
use restart::Over;
pub(super) use restart::OwnRestart;

/// What the daemon asks of the roster.
#[derive(Debug)]
pub(super) enum Order {
    /// Go on with another configuration, if its addresses can be listened on.
    Apply(Box<Config>, oneshot::Sender<Result<(), PeeringError>>),
    /// End every session with this reason, then the task.
    Stop(Cease),
}

/// The task. Ends by [`Order::Stop`]; if it is dropped, all its tasks are aborted.
pub(super) struct Roster {
    rib: RibHandle,
    recorder: Recorder,
    bfd: Bfd,
    router: RibConfig,
    /// All interfaces, always current.
    links: watch::Receiver<Links>,
    /// Whether the kernel's routes are ours to keep clean.
    guard_routes: bool,
    /// In the order of the configuration, dynamic ones last.
    members: Vec<Member>,
    hall: Hall,
    /// Until it is over.
    restart: Option<OwnRestart>,
    published: watch::Sender<Arc<[PeerHandle]>>,
    doors: watch::Sender<Arc<Doors>>,
    /// Those of the members, and of peers that are taking their leave.
    tasks: JoinSet<Option<PeerId>>,
    entrances: Entrances,
    /// Where unnumbered peers are.
    found: (mpsc::Sender<Whereabouts>, mpsc::Receiver<Whereabouts>),
    next_id: u32,
}

/// A peer that there is.
struct Member {
    handle: PeerHandle,
    door: mpsc::Sender<TcpStream>,
}

impl Roster {
    /// A roster with the peers of the configuration, their sessions begun. Must be called inside
    /// a tokio runtime with I/O and time.
    pub(super) fn new(
        config: &Config,
        entrances: Entrances,
        doors: watch::Sender<Arc<Doors>>,
        links: watch::Receiver<Links>,
        (rib, recorder, bfd): (RibHandle, Recorder, Bfd),
    ) -> (Self, Peers) {
        let (published, peers) = watch::channel(Arc::new([]) as Arc<[PeerHandle]>);
        let mut roster = Self {
            rib,
            recorder,
            bfd,
            router: rib_config(config),
            links,
            guard_routes: config.node.mode == Mode::Node,
            members: Vec::new(),
            hall: Hall::new(&config.dynamic_peers),
            restart: OwnRestart::of(config, Instant::now()),
            published,
            doors,
            tasks: JoinSet::new(),
            entrances,
            found: mpsc::channel(FOUND),
            next_id: 0,
        };
        for settings in &config.peers {
            let member = roster.engage(Arc::new(settings.clone()));
            roster.members.push(member);
        }
        roster.publish();
        roster.entrances.serve();
        (roster, Peers::new(peers))
    }

    /// Serves until told to stop.
    pub(super) async fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        let mut guests = Vec::new();
        loop {
            tokio::select! {
                order = orders.recv() => match order {
                    Some(Order::Apply(config, done)) => {
                        // Who asked may have gone.
                        let _ = done.send(self.apply(*config).await);
                    }
                    Some(Order::Stop(cease)) => return self.stop(cease).await,
                    // Nobody is left who could want the sessions.
                    None => return,
                },
                _ = self.hall.arrivals.recv_many(&mut guests, GUESTS) => {
                    self.welcome(guests.drain(..));
                }
                Some(whereabouts) = self.found.1.recv() => {
                    if let Err(error) = self.entrances.learn(whereabouts) {
                        tracing::warn!(%error, "an unnumbered peer's key is not known to the listeners");
                    }
                }
                () = until(self.restart.as_ref().map(OwnRestart::due)) => {
                    self.pass_restart().await;
                }
                // A task that has ended needs no memory.
                Some(ended) = self.tasks.join_next() => {
                    if let Ok(Some(peer)) = ended {
                        self.part(peer);
                    }
                }
            }
        }
    }

    async fn stop(mut self, cease: Cease) {
        self.entrances.shutdown().await;
        for member in &self.members {
            member.handle.command(PeerCommand::Shutdown(cease.clone())).await;
        }
        while self.tasks.join_next().await.is_some() {}
    }

    /// Makes the peers those of another configuration. Only what differs is touched, and each
    /// peer by what [`diff::of_peer`] says.
    async fn apply(&mut self, mut config: Config) -> Result<(), PeeringError> {
        self.entrances.change(&config).await?;
        if let Some(restart) = &self.restart {
            restart.announce(&mut config);
        }
        let members = std::mem::take(&mut self.members).into_iter();
        let mut former: BTreeMap<PeerAddress, Member> =
            members.map(|member| (member.handle.settings.address.clone(), member)).collect();
        let mut changed = Vec::new();
        self.hall.set_groups(&config.dynamic_peers);
        let mut wanted = config.peers.clone();
        wanted.extend(self.hall.keep(&former, &config.peers));
        for settings in wanted {
            let settings = Arc::new(settings);
            let Some(mut member) = former.remove(&settings.address) else {
                let member = self.engage(settings);
                self.members.push(member);
                continue;
            };
            if let Some(effect) = diff::of_peer(&member.handle.settings, &settings) {
                let command = PeerCommand::Configure(Arc::clone(&settings), effect);
                member.handle.settings = settings;
                changed.push((member.handle.clone(), command));
            }
            self.members.push(member);
        }
        self.publish();
        for member in former.values() {
            member.handle.command(PeerCommand::Shutdown(Cease::Deconfigured)).await;
        }
        for (peer, command) in changed {
            peer.command(command).await;
        }
        let router = rib_config(&config);
        if router != self.router {
            self.rib.configure(router.clone()).await?;
            self.router = router;
        }
        Ok(())
    }

    /// Our restart is over in part or as a whole: nobody waits for peers any more, or is told of
    /// it.
    async fn pass_restart(&mut self) {
        let Some(over) = self.restart.as_mut().and_then(|own| own.pass(Instant::now())) else {
            return;
        };
        match over {
            // An error means that the RIB has ended.
            Over::Deferral => drop(self.rib.end_deferral().await),
            Over::Restart => {
                self.restart = None;
                self.hall.end_restart();
                for member in &self.members {
                    member.handle.command(PeerCommand::RestartOver).await;
                }
            }
        }
    }

    /// Starts a peer's task.
    fn engage(&mut self, settings: Arc<Peer>) -> Member {
        let id = PeerId(self.next_id);
        self.next_id += 1;
        let (commands, commands_in) = mpsc::channel(COMMANDS);
        let (door, accepted) = mpsc::channel(DOOR);
        let (status_out, status) = watch::channel(PeerStatus::new(id, &settings));
        let search = settings.address.interface().map(|interface| {
            let (task, search) = Discovery::new(Link {
                interface: Arc::clone(interface),
                links: self.links.clone(),
                status: status.clone(),
                guard_routes: self.guard_routes,
                seed: seed(),
            });
            self.tasks.spawn(async {
                task.run().await;
                None
            });
            let (interface, status) = (Arc::clone(interface), status.clone());
            let followed = keyring::follow(id, interface, status, self.found.0.clone());
            self.tasks.spawn(async {
                followed.await;
                None
            });
            search
        });
        let bfd = self.bfd.clone();
        let inbox = Inbox { commands: commands_in, accepted, status: status_out, search, bfd };
        let task = PeerTask::new(
            id,
            Arc::clone(&settings),
            (self.rib.clone(), self.recorder.clone()),
            inbox,
            seed(),
        );
        self.tasks.spawn(async move {
            task.run().await;
            Some(id)
        });
        Member { handle: PeerHandle { id, settings, commands, status }, door }
    }

    /// Tells everybody which peers there are.
    fn publish(&self) {
        let doors = self
            .members
            .iter()
            .map(|member| (&member.handle.settings.address, member.door.clone()));
        let doors: Doors = doors.collect();
        self.doors.send_replace(Arc::new(self.hall.open(doors)));
        self.published
            .send_replace(self.members.iter().map(|member| member.handle.clone()).collect());
    }
}

/// A number that nobody can guess and that differs for each session.
pub(super) fn seed() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// Guests looked at together: after a restart all of them come at once.
const GUESTS: usize = 64;

/// Commands that may wait for a peer's task, which takes them at once.
const COMMANDS: usize = 16;

/// Whereabouts of peers that may wait: after a start many are found at once.
const FOUND: usize = 64;

/// Connections of one peer that may wait for its task: more than two are never kept.
const DOOR: usize = 4;
