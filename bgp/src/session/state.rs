//! What people and programs are shown of a session: its state, why it changed, what both sides
//! agreed on, and how many messages went by.

use std::{fmt, net::Ipv4Addr};

use bytes::Bytes;

use crate::{
    aspath::Asn,
    family::{Family, FamilySet},
    role::Role,
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
    /// The peer has restarted: it connected anew while its session stood (RFC 4724 §4.2).
    #[error("the peer has restarted: it connected again")]
    PeerRestarted,
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
            | Self::PeerRestarted
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
    /// Both mark where an answer to such a request begins and ends (RFC 7313).
    pub enhanced_refresh: bool,
    /// What the peer said of its restarts (RFC 4724); `None` if one side does not offer it.
    pub graceful_restart: Option<PeerRestart>,
    /// Families in which the peer asks for long-lived stale routes (RFC 9494); none if one side
    /// does not offer it.
    pub long_lived: Vec<LongLived>,
    /// Our role (RFC 9234), by which route leaks are told, whether the peer has told its own or
    /// not.
    pub role: Option<Role>,
    /// The role that the peer told, if it is an assigned one.
    pub peer_role: Option<Role>,
    /// Our OPEN as sent, header included.
    pub sent_open: Bytes,
    /// The peer's OPEN as received, header included.
    pub received_open: Bytes,
}

impl Established {
    /// Families in which the peer takes part in long-lived graceful restart: only there may it be
    /// sent routes with LLGR_STALE (RFC 9494 §4.3).
    #[must_use]
    pub fn long_lived_families(&self) -> FamilySet {
        self.long_lived.iter().map(|long_lived| long_lived.family).collect()
    }
}

/// A peer's graceful restart capability, as far as it concerns the session's families.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerRestart {
    /// R bit: it has restarted, and does not wait for our End-of-RIB.
    pub restarted: bool,
    /// N bit on both sides: errors and hold timer expiry keep routes as well (RFC 8538 §2).
    pub notification: bool,
    /// How long it wants to be waited for, in seconds; 0..=4095.
    pub restart_time: u16,
    /// Families whose routes it wants to be kept when it restarts.
    pub families: FamilySet,
    /// F bit: of these, the ones whose forwarding state has survived its last restart.
    pub forwarding: FamilySet,
}

/// A family of a peer's long-lived graceful restart capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LongLived {
    /// Which.
    pub family: Family,
    /// F bit: its forwarding state has survived.
    pub forwarding: bool,
    /// How long it wants its routes to be kept after the restart time, in seconds; 24 bits.
    pub stale_time: u32,
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
    /// All of them.
    #[must_use]
    pub const fn total(&self) -> u64 {
        let Self { opens, updates, notifications, keepalives, refreshes } = *self;
        opens + updates + notifications + keepalives + refreshes
    }

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
