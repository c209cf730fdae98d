//! The task that finds an unnumbered peer: one for each interface that a peer is configured by.
//!
//! In: the interfaces, packets heard on this one, how the peer's session stands. Out: packets, and
//! where the peer is ([`Finding`]). Decides nothing: [`ra::Discovery`] does.
//!
//! Ends when nobody wants to know any more. May be dropped anywhere.

use std::{
    net::{Ipv6Addr, SocketAddrV6},
    num::NonZeroU32,
    sync::Arc,
    time::{Duration, Instant},
};

use bgp::session::State;
use routed_core::{
    fib::links::Links,
    ra::{self, Absence, Input, Interface, Note, Output, Session},
};
use tokio::sync::{oneshot, watch};

use super::{PeerStatus, SocketError};
use crate::{deadline::until, kernel::sysctl};
use socket::{Heard, LinkSocket};

mod socket;

/// Where the peer is (its port aside, which is 0), or why that is not known.
pub(super) type Finding = Result<SocketAddrV6, NoPeer>;

/// Why there is nobody to have a session with.
#[derive(Clone, Debug)]
pub(super) enum NoPeer {
    /// The link says so.
    Absent(Absence),
    /// We cannot listen on the link.
    Deaf(Arc<SocketError>),
}

/// The peer's task's side.
pub(super) struct Search {
    pub(super) found: watch::Receiver<Finding>,
    /// To be used when the peer is no longer in the configuration: the link is told that we are no
    /// router.
    pub(super) leave: oneshot::Sender<()>,
}

/// What the task is about.
pub(super) struct Link {
    /// Name of the interface.
    pub(super) interface: Arc<str>,
    /// All interfaces, always current.
    pub(super) links: watch::Receiver<Links>,
    /// The peer's session.
    pub(super) status: watch::Receiver<PeerStatus>,
    /// Whether the kernel's routes are ours to keep clean.
    pub(super) guard_routes: bool,
    /// A number that differs for each link.
    pub(super) seed: u64,
}

/// See the module.
pub(super) struct Discovery {
    link: Link,
    machine: ra::Discovery,
    /// What the machine said last.
    peer: Result<Ipv6Addr, Absence>,
    socket: Option<LinkSocket>,
    /// Why there is no socket although the link is up.
    deaf: Option<Arc<SocketError>>,
    /// When to try again.
    reopen_at: Option<Instant>,
    found: watch::Sender<Finding>,
    leave: oneshot::Receiver<()>,
}

/// What the task waited for.
enum Event {
    Links,
    Status,
    Heard(Heard),
    Deadline,
    End,
    Leave,
}

impl Discovery {
    /// The task, ready to run, and where it tells what it finds.
    pub(super) fn new(link: Link) -> (Self, Search) {
        let (found, search) = watch::channel(Err(NoPeer::Absent(Absence::NoInterface)));
        let (leaver, leave) = oneshot::channel();
        let task = Self {
            machine: ra::Discovery::new(link.seed),
            link,
            peer: Err(Absence::NoInterface),
            socket: None,
            deaf: None,
            reopen_at: None,
            found,
            leave,
        };
        (task, Search { found: search, leave: leaver })
    }

    /// Serves until the peer's task has ended.
    pub(super) async fn run(mut self) {
        self.look_at_link();
        loop {
            let event = self.next_event().await;
            match event {
                Event::Links => self.look_at_link(),
                Event::Status => self.look_at_session(),
                Event::Heard(heard) => self.heard(&heard),
                Event::Deadline => self.deadline(),
                Event::End => return,
                Event::Leave => {
                    self.machine.leave();
                    self.carry_out();
                    return;
                }
            }
        }
    }

    async fn next_event(&mut self) -> Event {
        let deadline = [self.machine.poll_timeout(), self.reopen_at].into_iter().flatten().min();
        let Self { link, socket, found, leave, .. } = self;
        tokio::select! {
            // Who leaves has stopped listening as well, and the link is to hear the last word.
            biased;
            left = leave => if left.is_ok() { Event::Leave } else { Event::End },
            () = found.closed() => Event::End,
            () = until(deadline) => Event::Deadline,
            Ok(()) = link.links.changed() => Event::Links,
            Ok(()) = link.status.changed() => Event::Status,
            heard = hear(socket.as_ref()) => Event::Heard(heard),
        }
    }

    /// Takes in what the interface is like now. The socket lives exactly as long as the interface
    /// carries traffic and is the same.
    fn look_at_link(&mut self) {
        let mut interface = interface(&self.link.links.borrow_and_update(), &self.link.interface);
        if self.reopen_at.is_some_and(|at| Instant::now() < at) && interface.is_up() {
            // Other interfaces change all the time, which is no reason to try again.
            return;
        }
        (self.deaf, self.reopen_at) = (None, None);
        match interface {
            Interface::Missing | Interface::Down | Interface::NoAddress => self.socket = None,
            Interface::Up { index, .. } => {
                if self.socket.as_ref().is_none_or(|socket| socket.index() != index) {
                    self.open(index);
                }
                if self.socket.is_none() {
                    // Without ears it might as well be down.
                    interface = Interface::Down;
                }
            }
        }
        self.give(Input::Interface(interface));
        if self.deaf.is_some() {
            self.tell();
        }
    }

    fn open(&mut self, index: NonZeroU32) {
        let name = &self.link.interface;
        if self.link.guard_routes
            && let Err(error) = sysctl::take_no_default_route(name)
        {
            tracing::warn!(interface = %name, %error,
                "a default route that the peer advertises may stand in the way of ours");
        }
        self.socket = None;
        match LinkSocket::open(index) {
            Ok(socket) => self.socket = Some(socket),
            Err(error) => {
                tracing::warn!(interface = %name, %error, "cannot listen for routers");
                self.deaf = Some(Arc::new(error));
                self.reopen_at = Some(Instant::now() + REOPEN);
            }
        }
    }

    fn look_at_session(&mut self) {
        let status = self.link.status.borrow_and_update();
        let established = status.state == State::Established;
        let session = Session { established, messages: status.received.total() };
        drop(status);
        self.give(Input::Session(session));
    }

    fn heard(&mut self, heard: &Heard) {
        let packet = match heard {
            Heard::Packet(packet) => packet,
            Heard::Nothing => return,
            Heard::Failed(error) => {
                // As a rule the interface has gone, which we are about to be told.
                tracing::debug!(interface = %self.link.interface, %error, "cannot hear");
                self.socket = None;
                self.reopen_at = Some(Instant::now() + REOPEN);
                return;
            }
        };
        let now = Instant::now();
        if let Err(flaw) = self.machine.handle(Input::Packet(packet.as_packet()), now) {
            tracing::debug!(interface = %self.link.interface, source = %packet.source, %flaw,
                "packet dropped");
        }
        self.carry_out();
    }

    fn deadline(&mut self) {
        if self.reopen_at.is_some_and(|at| at <= Instant::now()) {
            self.look_at_link();
        }
        // Messages do not wake us, but count.
        self.look_at_session();
        self.give(Input::Timeout);
    }

    fn give(&mut self, input: Input<'_>) {
        // Only packets have flaws.
        let _ = self.machine.handle(input, Instant::now());
        self.carry_out();
    }

    fn carry_out(&mut self) {
        while let Some(output) = self.machine.poll_output() {
            match output {
                Output::Send { octets, to } => self.send(&octets, to),
                Output::Peer(peer) => {
                    self.peer = peer;
                    self.tell();
                }
                Output::Note(note) => self.say(note),
            }
        }
    }

    fn send(&self, octets: &[u8], to: Ipv6Addr) {
        let Some(socket) = &self.socket else { return };
        if let Err(error) = socket.send(octets, to) {
            tracing::debug!(interface = %self.link.interface, %to, %error, "cannot send");
        }
    }

    fn tell(&self) {
        let scope = self.socket.as_ref().map_or(0, |socket| socket.index().get());
        let finding = match (&self.deaf, self.peer) {
            (Some(error), _) => Err(NoPeer::Deaf(Arc::clone(error))),
            (None, Ok(addr)) => Ok(SocketAddrV6::new(addr, 0, 0, scope)),
            (None, Err(absence)) => Err(NoPeer::Absent(absence)),
        };
        self.found.send_modify(|found| *found = finding);
    }

    fn say(&self, note: Note) {
        let interface = &self.link.interface;
        match note {
            Note::Several { peer, other } => tracing::warn!(
                %interface, %peer, %other,
                "several routers advertise themselves on a link that should have one; the peer \
                 stays as long as it lives",
            ),
            Note::Moved { from, to } => {
                tracing::info!(%interface, %from, %to, "another router is the peer now");
            }
        }
    }
}

/// What the interface of this name is like.
fn interface(links: &Links, name: &str) -> Interface {
    let Some(link) = links.by_name(name) else { return Interface::Missing };
    let Some(index) = NonZeroU32::new(link.index) else { return Interface::Missing };
    if !links.carries(link.index) {
        return Interface::Down;
    }
    links.link_local(link.index).map_or(Interface::NoAddress, |addr| Interface::Up { index, addr })
}

/// The next packet; forever, if there is no socket.
async fn hear(socket: Option<&LinkSocket>) -> Heard {
    match socket {
        Some(socket) => socket.hear().await,
        None => std::future::pending().await,
    }
}

/// Rest after a socket could not be had.
const REOPEN: Duration = Duration::from_secs(5);
