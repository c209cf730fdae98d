//! BFD for peers: the thread that owns every BFD session of the daemon, and the way to it.
//!
//! In: paths to watch, packets, the clock. Out: packets, and each path's [`BfdStatus`].
//!
//! A thread of its own, real-time where that is allowed, so that neither a loaded RIB nor a busy machine
//! makes a session late. What is late itself is told by nobody: a peer takes our silence for our death. It
//! waits for no other thread: what it has to say goes through a [`relay`](Relay), and packets are counted
//! without a lock.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Instant,
};

use crate::config::Reach;
use routed_core::bfd::{Cause, Diagnostic, Settings, State};
use tokio::sync::{mpsc, watch};

mod driver;
mod relay;
mod scheduling;
mod sockets;

pub use scheduling::Scheduling;

use relay::Relay;

/// The way to the thread. Cheap to clone; the thread ends when the last one and every [`Watch`]
/// are gone, or by [`Bfd::stop`].
#[derive(Clone, Debug)]
pub(super) struct Bfd {
    commands: mpsc::UnboundedSender<Command>,
}

/// Where packets go and what is expected of those that come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Path {
    /// The peer, with the interface as scope if its address is link-local. Its port counts for
    /// nothing.
    pub(super) remote: SocketAddr,
    /// Source address, if not left to the kernel.
    pub(super) local: Option<IpAddr>,
    /// The one interface that packets leave by, if not left to the kernel.
    pub(super) device: Option<Arc<str>>,
    /// How far away it is.
    pub(super) reach: Reach,
}

/// A session as people and programs are shown it.
#[derive(Clone, Debug)]
pub struct BfdStatus {
    /// Where it stands.
    pub state: State,
    /// Why it left Up last.
    pub diagnostic: Diagnostic,
    /// What the other side says of itself.
    pub remote: (State, Diagnostic),
    /// Our name for it, and the other side's (0: not known).
    pub discriminators: (u32, u32),
    /// When the state last changed.
    pub since: Instant,
    /// Time between two packets of ours, in microseconds; `None`: the other side wants none.
    pub transmit_micros: Option<u64>,
    /// Silence of the other side that ends the session, in microseconds.
    pub detection_micros: u64,
    /// How often it came up.
    pub ups: u64,
    /// How often it failed after that, an operator's switch on either side aside.
    pub failures: u64,
    /// The last failure.
    pub failure: Option<Failure>,
    /// Packets sent, received and dropped.
    pub packets: Packets,
    /// What keeps it from working here, such as a port in use.
    pub trouble: Option<Arc<str>>,
    /// How the thread that serves it runs.
    pub scheduling: Scheduling,
}

/// A BFD session's status, as fresh as it is asked for.
#[derive(Clone, Debug)]
pub struct BfdReader {
    status: watch::Receiver<BfdStatus>,
    counts: Arc<Counts>,
}

impl BfdReader {
    /// How it stands now.
    #[must_use]
    pub fn status(&self) -> BfdStatus {
        BfdStatus { packets: self.counts.read(), ..self.status.borrow().clone() }
    }
}

/// How a session failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Why.
    pub cause: Cause,
    /// The peer's BFD does not share the fate of its control plane: what failed is forwarding.
    pub independent: bool,
}

/// Counts of packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Packets {
    /// Sent.
    pub sent: u64,
    /// Received and taken.
    pub received: u64,
    /// Received for this session and dropped: malformed, unauthenticated, from too far away.
    pub dropped: u64,
}

/// Counts of packets while they are counted.
#[derive(Debug, Default)]
struct Counts {
    sent: AtomicU64,
    received: AtomicU64,
    dropped: AtomicU64,
}

impl Counts {
    fn read(&self) -> Packets {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Packets {
            sent: read(&self.sent),
            received: read(&self.received),
            dropped: read(&self.dropped),
        }
    }
}

enum Command {
    Open {
        id: u64,
        path: Path,
        settings: Settings,
        status: watch::Sender<BfdStatus>,
        counts: Arc<Counts>,
    },
    Configure(u64, Settings),
    PathDown(u64),
    Close(u64),
    /// Tell every peer that this is no failure, and end.
    Stop,
}

impl Bfd {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// The kernel's, if it gives us no thread or no event loop.
    pub(super) fn start() -> io::Result<(Self, thread::JoinHandle<()>)> {
        let (commands, inbox) = mpsc::unbounded_channel();
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        let relay = Relay::start()?;
        let thread = thread::Builder::new().name("bfd".to_owned()).spawn(move || {
            runtime.block_on(driver::Driver::new(inbox, relay).run());
        })?;
        Ok((Self { commands }, thread))
    }

    /// Has a path watched until the [`Watch`] is dropped.
    pub(super) fn watch(&self, path: Path, settings: Settings) -> Watch {
        let id = super::roster::seed();
        let (out, status) = watch::channel(BfdStatus::new());
        let (commands, open) = (self.commands.clone(), path.clone());
        let counts = Arc::<Counts>::default();
        // An error means that the thread has ended: then the status stays as it is.
        let counted = counts.clone();
        let _ =
            commands.send(Command::Open { id, path: open, settings, status: out, counts: counted });
        Watch { id, path, status, counts, commands }
    }

    /// Tells every peer that our silence from now on is no failure (RFC 5880 §6.8.16), and ends
    /// the thread.
    pub(super) fn stop(&self) {
        let _ = self.commands.send(Command::Stop);
    }
}

impl BfdStatus {
    fn new() -> Self {
        Self {
            state: State::Down,
            diagnostic: Diagnostic::NONE,
            remote: (State::Down, Diagnostic::NONE),
            discriminators: (0, 0),
            since: Instant::now(),
            transmit_micros: None,
            detection_micros: 0,
            ups: 0,
            failures: 0,
            failure: None,
            packets: Packets::default(),
            trouble: None,
            scheduling: Scheduling::default(),
        }
    }
}

/// A path that is watched.
#[derive(Debug)]
pub(super) struct Watch {
    id: u64,
    path: Path,
    status: watch::Receiver<BfdStatus>,
    counts: Arc<Counts>,
    commands: mpsc::UnboundedSender<Command>,
}

impl Watch {
    /// The path.
    pub(super) const fn path(&self) -> &Path {
        &self.path
    }

    /// Waits for a change of state; forever once the thread has ended. May be dropped at any point.
    pub(super) async fn changed(&mut self) {
        if self.status.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// The way to how it stands at any later time.
    pub(super) fn reader(&self) -> BfdReader {
        BfdReader { status: self.status.clone(), counts: self.counts.clone() }
    }

    /// How it stands.
    pub(super) fn status(&mut self) -> BfdStatus {
        let packets = self.counts.read();
        BfdStatus { packets, ..self.status.borrow_and_update().clone() }
    }

    /// Goes on with other settings, without a break.
    pub(super) fn configure(&self, settings: Settings) {
        let _ = self.commands.send(Command::Configure(self.id, settings));
    }

    /// The link is gone: no need to wait for the detection time.
    pub(super) fn path_down(&self) {
        let _ = self.commands.send(Command::PathDown(self.id));
    }
}

/// The peer is told that it is no failure.
impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.commands.send(Command::Close(self.id));
    }
}
