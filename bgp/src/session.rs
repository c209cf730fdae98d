//! One peer's session: octets in, octets out (RFC 4271 §8).
//!
//! In: what happens to the peer's TCP connections, the octets that arrive, the operator's wish
//! to start or stop, and the time. Out: connections to open and close, octets to send, and, once
//! established, the peer's UPDATEs. Holds up to two connections while a collision is being
//! decided (RFC 4271 §6.8).
//!
//! Reads no clock and owns no socket. The caller drains [`Session::poll_output`] after every
//! [`Session::handle`] and calls it with [`Input::Timeout`] when [`Session::poll_timeout`] is due.

use std::{fmt, net::Ipv4Addr, time::Instant};

use bytes::Bytes;

use crate::{
    aspath::Asn,
    config::SessionConfig,
    family::{Family, FamilySet},
    wire::{Codec, Notification, Update},
};

/// One TCP connection of a session, by a number that is never used twice in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub u64);

/// Something that happened to the session.
#[derive(Clone, Debug)]
pub enum Input {
    /// The operator wants the session (RFC 4271 §8.1.2, events 1 and 4).
    Start,
    /// The operator wants it down (event 2); the reason goes to the peer as a Cease.
    Stop(Cease),
    /// The connection asked for by [`Output::Connect`] is there.
    Connected(ConnId),
    /// That connection could not be made.
    ConnectFailed(ConnId),
    /// The peer opened a connection; the session gives it its number by [`Session::next_conn`].
    Accepted(ConnId),
    /// Octets arrived. Any split of the stream gives the same result.
    Received(ConnId, Bytes),
    /// The connection ended (FIN, RST or error).
    Closed(ConnId),
    /// The socket took octets that were waiting: progress for the send hold timer (RFC 9687).
    /// `pending` is how many octets still wait.
    Sent {
        /// Which connection.
        conn: ConnId,
        /// Octets handed to the session's connection and not yet taken by the socket.
        pending: usize,
    },
    /// Time has passed; a deadline may be due. Early calls are harmless.
    Timeout,
}

/// Something the owner of the sockets and of the RIB must do, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Open a connection to the peer.
    Connect(ConnId),
    /// Send octets after those already given.
    Send(ConnId, Bytes),
    /// Close the connection once what was given before is sent, or at once if it cannot be sent.
    /// No [`Input::Closed`] needs to follow.
    Close(ConnId),
    /// The state shown to people changed.
    State(StateChange),
    /// Established: routes may flow.
    Up(Box<Established>),
    /// No longer established: the peer's routes are no longer its word.
    Down,
    /// The peer's routes changed.
    Update(Update),
    /// The peer asks for all our routes of a family again (RFC 2918).
    Refresh(Family),
}

/// RFC 4271 §8.2.2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Nothing is attempted.
    #[default]
    Idle,
    /// A connection is being opened.
    Connect,
    /// Waiting for the retry timer or for the peer to connect.
    Active,
    /// Our OPEN is out, the peer's is not here.
    OpenSent,
    /// The peer's OPEN is good; its KEEPALIVE is not here.
    OpenConfirm,
    /// Routes flow.
    Established,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// A change of the session's state with its cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateChange {
    /// Before.
    pub from: State,
    /// After.
    pub to: State,
    /// Why.
    pub cause: Cause,
}

/// Why a session changed its state: what people are shown as the last error.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Cause {
    /// As asked by the operator.
    #[error("started")]
    Started,
    /// As asked by the operator.
    #[error("stopped by the operator")]
    Stopped,
    /// The handshake went on.
    #[error("handshake")]
    Handshake,
    /// TCP could not be opened.
    #[error("connection failed")]
    ConnectFailed,
    /// TCP ended without a NOTIFICATION.
    #[error("connection closed by the peer")]
    Closed,
    /// We sent a NOTIFICATION.
    #[error("sent {0}")]
    Sent(Notification),
    /// The peer sent a NOTIFICATION.
    #[error("received {0}")]
    Received(Notification),
    /// The peer took no octets for the send hold time (RFC 9687).
    #[error("send hold timer expired: the peer did not take our messages (RFC 9687)")]
    SendHoldExpired,
}

/// Why we end a session: subcodes of Cease (RFC 4486, RFC 8203/9003).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cease {
    /// Subcode 2: down until further notice, with a text for the peer's operator (at most 255
    /// octets of UTF-8; longer texts are cut at a character border).
    AdminShutdown(String),
    /// Subcode 4: down and up again, with a text.
    AdminReset(String),
    /// Subcode 3: the peer no longer exists in our configuration.
    Deconfigured,
    /// Subcode 6: settings changed that need a new OPEN.
    ConfigChange,
    /// Subcode 8: out of resources.
    OutOfResources,
    /// The link to the peer is gone: closed without a NOTIFICATION that nobody could receive.
    LinkDown,
}

/// What both OPENs came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Established {
    /// The peer's AS.
    pub peer_asn: Asn,
    /// The peer's BGP identifier.
    pub peer_router_id: Ipv4Addr,
    /// Families that both offered.
    pub families: FamilySet,
    /// Hold time agreed on, in seconds; 0 means off.
    pub hold_time: u16,
    /// Keepalive interval in seconds; 0 means none are sent.
    pub keepalive_time: u16,
    /// How UPDATEs are read and written.
    pub codec: Codec,
    /// The peer can be asked for its routes again (RFC 2918).
    pub route_refresh: bool,
}

/// Messages counted since the session was made, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// OPEN.
    pub opens: u64,
    /// UPDATE.
    pub updates: u64,
    /// NOTIFICATION.
    pub notifications: u64,
    /// KEEPALIVE.
    pub keepalives: u64,
    /// ROUTE-REFRESH.
    pub refreshes: u64,
}

/// One peer's session.
#[derive(Debug)]
pub struct Session {}

impl Session {
    /// A session at rest. `seed` makes its jitter repeatable; sessions get different ones.
    #[must_use]
    pub fn new(_config: SessionConfig, _seed: u64) -> Self {
        todo!()
    }

    /// A number for a connection that the peer opened.
    pub fn next_conn(&mut self) -> ConnId {
        todo!()
    }

    /// One thing happened. Drain [`Self::poll_output`] afterwards.
    pub fn handle(&mut self, _input: Input, _now: Instant) {
        todo!()
    }

    /// What to do next; `None` when all is done.
    pub fn poll_output(&mut self) -> Option<Output> {
        todo!()
    }

    /// When to call [`Self::handle`] with [`Input::Timeout`]. Changes only by `handle`.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        todo!()
    }

    /// Sends one UPDATE as encoded by [`Update::encode`] for this session's codec.
    /// Does nothing unless established.
    pub fn send_update(&mut self, _octets: Bytes, _now: Instant) {
        todo!()
    }

    /// Asks the peer for its routes of a family again. False if it cannot be asked.
    pub fn request_refresh(&mut self, _family: Family, _now: Instant) -> bool {
        todo!()
    }

    /// State shown to people: that of the most advanced connection.
    #[must_use]
    pub fn state(&self) -> State {
        todo!()
    }

    /// The connection that is established, if one is.
    #[must_use]
    pub fn established(&self) -> Option<(ConnId, &Established)> {
        todo!()
    }

    /// When the state last changed.
    #[must_use]
    pub fn since(&self) -> Option<Instant> {
        todo!()
    }

    /// Why the session last left [`State::Established`] or failed to get there.
    #[must_use]
    pub fn last_error(&self) -> Option<&Cause> {
        todo!()
    }

    /// How often the session has been established.
    #[must_use]
    pub fn established_count(&self) -> u64 {
        todo!()
    }

    /// Messages received and sent.
    #[must_use]
    pub fn counters(&self) -> (Counters, Counters) {
        todo!()
    }
}
