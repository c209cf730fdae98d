//! What people and programs are shown of a session: its state, why it changed, what both sides
//! agreed on, and how many messages went by.

use std::{fmt, net::Ipv4Addr};

use crate::{
    aspath::Asn,
    family::FamilySet,
    wire::{Codec, Message, Notification},
};

/// RFC 4271 §8.2.2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Nothing is attempted: stopped, or resting after a failure.
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
    /// The idle hold or retry timer ended.
    #[error("time to try again")]
    RetryDue,
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
    /// The peer sent a NOTIFICATION that is itself malformed; it is not answered
    /// (RFC 4271 §6.4). The field says what it would have earned.
    #[error("received a malformed NOTIFICATION ({0})")]
    ReceivedMalformed(Notification),
    /// The peer took no octets for the send hold time (RFC 9687).
    #[error("send hold timer expired: the peer did not take our messages (RFC 9687)")]
    SendHoldExpired,
}

impl Cause {
    /// True for what an operator may have to look into, false for the normal course of events.
    #[must_use]
    pub const fn is_failure(&self) -> bool {
        match self {
            Self::Started | Self::Stopped | Self::RetryDue | Self::Handshake => false,
            Self::ConnectFailed
            | Self::Closed
            | Self::Sent(_)
            | Self::Received(_)
            | Self::ReceivedMalformed(_)
            | Self::SendHoldExpired => true,
        }
    }
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
    /// Keepalive interval in seconds before jitter; 0 means none are sent.
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

impl Counters {
    pub(super) const fn count(&mut self, message: &Message) {
        match message {
            Message::Open(_) => self.opens += 1,
            Message::Update(_) => self.updates += 1,
            Message::Notification(_) => self.notifications += 1,
            Message::Keepalive => self.keepalives += 1,
            Message::Refresh(_) => self.refreshes += 1,
        }
    }
}
