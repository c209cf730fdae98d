//! Finding the peer on an unnumbered link: router advertisements sent and heard (RFC 4861 §6).
//!
//! In: what the interface is like, packets heard on it, how the session with the peer stands. Out:
//! packets to send, and the peer's link-local address or why there is none. One value for each
//! interface.
//!
//! We advertise ourselves as a router, because peers find us the same way. Hosts that believe
//! advertisements may take a default route from ours, as their last choice: it has the lowest
//! preference (RFC 4191 §2.1). What else an advertisement may hold (prefixes, MTU, name servers) is
//! neither sent nor looked at.
//!
//! Reads no clock, opens no socket. Handle an input, then poll outputs until there are none, and
//! come back at [`Discovery::poll_timeout`].

use std::{collections::VecDeque, net::Ipv6Addr, num::NonZeroU32, time::Instant};

mod message;
mod routers;
mod schedule;

pub use message::{Flaw, HOP_LIMIT, Packet};

use message::Message;
use routers::Routers;
use schedule::{Due, Schedule};

/// See the module.
#[derive(Clone, Debug)]
pub struct Discovery {
    interface: Interface,
    schedule: Schedule,
    routers: Routers,
    /// What was said about the peer last.
    told: Option<Result<Ipv6Addr, Absence>>,
    outputs: VecDeque<Output>,
}

/// Something that happened.
#[derive(Clone, Copy, Debug)]
pub enum Input<'o> {
    /// The interface is like this now.
    Interface(Interface),
    /// A packet came in on it.
    Packet(Packet<'o>),
    /// The session with the peer stands so now.
    Session(Session),
    /// Time has passed.
    Timeout,
}

/// What our end of the link is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interface {
    /// There is none of this name.
    Missing,
    /// It is switched off, or has no carrier.
    Down,
    /// It has no link-local address that can be used yet, or none at all.
    NoAddress,
    /// It carries traffic.
    Up {
        /// Its index: another one is another interface, even if it has the same name.
        index: NonZeroU32,
        /// Our link-local address on it.
        addr: Ipv6Addr,
    },
}

impl Interface {
    /// True if it carries traffic and has an address.
    #[must_use]
    pub const fn is_up(&self) -> bool {
        match self {
            Self::Up { .. } => true,
            Self::Missing | Self::Down | Self::NoAddress => false,
        }
    }
}

/// How the session with the peer stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Session {
    /// It is established.
    pub established: bool,
    /// Messages received so far: the more, the more alive.
    pub messages: u64,
}

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send this as ICMPv6, from our link-local address and with [`HOP_LIMIT`].
    Send {
        /// From the ICMPv6 type on; the checksum is left to the kernel.
        octets: Vec<u8>,
        /// To whom.
        to: Ipv6Addr,
    },
    /// The peer is this one now, or there is none.
    Peer(Result<Ipv6Addr, Absence>),
    /// Something that people should know.
    Note(Note),
}

/// Why there is no peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absence {
    /// There is no interface of this name.
    NoInterface,
    /// It is switched off or has no carrier.
    LinkDown,
    /// It has no link-local address.
    NoAddress,
    /// No router has advertised itself.
    Silence,
    /// This one has said that it is none (any longer), by lifetime 0.
    Left(Ipv6Addr),
    /// This one has not been heard of for its lifetime, or did not answer.
    Expired(Ipv6Addr),
}

/// What people should know about a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note {
    /// There is more than one router.
    Several {
        /// The peer.
        peer: Ipv6Addr,
        /// One of the others.
        other: Ipv6Addr,
    },
    /// The peer is gone and another router took its place.
    Moved {
        /// The former peer.
        from: Ipv6Addr,
        /// The new one.
        to: Ipv6Addr,
    },
}

impl Discovery {
    /// One that knows nothing. `seed` makes its random delays differ from those of others.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self {
            interface: Interface::Missing,
            schedule: Schedule::new(seed),
            routers: Routers::new(Absence::NoInterface),
            told: None,
            outputs: VecDeque::new(),
        }
    }

    /// One thing happened.
    ///
    /// # Errors
    ///
    /// [`Flaw`] of a packet that was dropped.
    pub fn handle(&mut self, input: Input<'_>, now: Instant) -> Result<(), Flaw> {
        let outcome = match input {
            Input::Interface(interface) => {
                self.interface(interface, now);
                Ok(())
            }
            Input::Packet(packet) => self.packet(&packet, now),
            Input::Session(session) => {
                self.routers.session(session, now);
                Ok(())
            }
            Input::Timeout => Ok(()),
        };
        self.routers.timeout(now);
        self.follow(now);
        outcome
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to come back with [`Input::Timeout`]; earlier is harmless.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        [self.schedule.next(), self.routers.next()].into_iter().flatten().min()
    }

    /// Tells the link that we are no router any longer (RFC 4861 §6.2.5): the last word before this
    /// value is dropped, if the peers shall forget us.
    pub fn leave(&mut self) {
        if self.interface.is_up() {
            let octets = message::advertisement(0).to_vec();
            self.outputs.push_back(Output::Send { octets, to: ALL_NODES });
        }
    }

    fn interface(&mut self, interface: Interface, now: Instant) {
        if self.interface == interface {
            return;
        }
        self.interface = interface;
        // Whoever was on the link may be another one now.
        let absence = match interface {
            Interface::Missing => Absence::NoInterface,
            Interface::Down => Absence::LinkDown,
            Interface::NoAddress => Absence::NoAddress,
            Interface::Up { .. } => Absence::Silence,
        };
        self.routers = Routers::new(absence);
        self.schedule.stop();
        if interface.is_up() {
            self.schedule.start(now);
            self.schedule.solicit(now);
        }
    }

    fn packet(&mut self, packet: &Packet<'_>, now: Instant) -> Result<(), Flaw> {
        let message = message::read(packet)?;
        let Interface::Up { addr, .. } = self.interface else { return Ok(()) };
        // Our own, come back by a loop.
        if packet.source == addr {
            return Ok(());
        }
        match message {
            Message::Solicitation => self.schedule.solicited(packet.source, now),
            Message::Advertisement { lifetime } => {
                self.routers.advertised(packet.source, lifetime, now);
            }
        }
        Ok(())
    }

    /// Turns what is due into outputs.
    fn follow(&mut self, now: Instant) {
        if self.routers.take_wants_sign() {
            self.schedule.solicit(now);
        } else if self.routers.is_content() {
            self.schedule.content();
        }
        while let Some(due) = self.schedule.poll(now) {
            let (octets, to) = match due {
                Due::Advertise => (message::advertisement(LIFETIME).to_vec(), ALL_NODES),
                Due::Answer(to) => (message::advertisement(LIFETIME).to_vec(), to),
                Due::Solicit => (message::solicitation().to_vec(), ALL_ROUTERS),
            };
            self.outputs.push_back(Output::Send { octets, to });
        }
        self.outputs.extend(self.routers.take_notes().into_iter().map(Output::Note));
        let peer = self.routers.peer();
        if self.told != Some(peer) {
            self.told = Some(peer);
            self.outputs.push_back(Output::Peer(peer));
        }
    }
}

impl Absence {
    /// For people: that there is no peer on the interface of this name, and why.
    #[must_use]
    pub fn on(self, interface: &str) -> String {
        match self {
            Self::NoInterface => format!("there is no interface {interface}"),
            Self::LinkDown => format!("the link of {interface} is down"),
            Self::NoAddress => format!("{interface} has no link-local address"),
            Self::Silence => format!("no router advertisement heard on {interface}"),
            Self::Left(router) => format!("{router} on {interface} advertises router lifetime 0"),
            Self::Expired(router) => {
                format!("no more router advertisements from {router} on {interface}")
            }
        }
    }
}

/// All nodes on the link.
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// All routers on the link.
pub const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
/// AdvDefaultLifetime in seconds: three intervals (RFC 4861 §6.2.1), so that two advertisements may
/// be lost.
const LIFETIME: u16 = 30;

const _: () = assert!(schedule::MAX_INTERVAL.as_secs() * 3 == LIFETIME as u64);

#[cfg(test)]
mod tests;
