//! What is known of a peer at this moment, for tables, metrics and health.

use std::{fmt, net::SocketAddr, sync::Arc, time::Instant};

use bgp::{
    rib::PeerId,
    session::{Cause, Counters, Established, State},
};

use routed_core::ra::Absence;

use super::{bfd::BfdReader, peer::LimitCounts, socket::SocketError};
use crate::config::Peer;

/// One peer's session as people and programs are shown it.
///
/// Watchers are woken when the session's state, its loss or what is to be done about it changes; counters
/// are as fresh as the last thing that happened, but wake nobody.
#[derive(Clone, Debug)]
pub struct PeerStatus {
    /// Its number in the RIB.
    pub id: PeerId,
    /// Name from the configuration.
    pub name: Arc<str>,
    /// Where the peer is, as far as known; with its port.
    pub peer: Option<SocketAddr>,
    /// Whether the operator wants the session.
    pub wanted: bool,
    /// State of the session.
    pub state: State,
    /// When the state last changed; `None` if it never did.
    pub since: Option<Instant>,
    /// The last session is over and none of its routes are kept for a restart: the RIB is about to
    /// withdraw them.
    pub lost: bool,
    /// Why the session last ended or could not be had.
    pub last_error: Option<LastError>,
    /// When that was.
    pub failed_at: Option<Instant>,
    /// How the last session that was established has ended: attempts that fail since do not hide the
    /// other operator's words (RFC 9003).
    pub session_end: Option<Cause>,
    /// How often it has been established.
    pub established_count: u64,
    /// Messages received.
    pub received: Counters,
    /// Messages sent.
    pub sent: Counters,
    /// Flaws of UPDATEs that were contained (RFC 7606).
    pub faults: FaultCounters,
    /// How often its limits were reached, by family.
    pub limits: LimitCounts,
    /// What was agreed on; `None` unless established.
    pub negotiated: Option<Box<Established>>,
    /// Our end of the established connection.
    pub local: Option<SocketAddr>,
    /// The peer's end of it.
    pub remote: Option<SocketAddr>,
    /// When the session will dial again or end its rest in Idle; `None` if it will not or need
    /// not.
    pub next_attempt: Option<Instant>,
    /// Octets that wait for the peer to take them.
    pub queued: usize,
    /// BFD, if it watches the path.
    pub bfd: Option<BfdReader>,
}

/// Why there is no session, in the most telling words.
#[derive(Clone, Debug)]
pub enum LastError {
    /// BGP said so.
    Session(Cause),
    /// No connection was to be had.
    Socket(Arc<SocketError>),
    /// The session waits for BFD, and may not be without it.
    AwaitsBfd,
    /// There is nobody to connect to on this interface.
    NoPeer(Arc<str>, Absence),
}

impl fmt::Display for LastError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Session(cause) => fmt::Display::fmt(cause, f),
            Self::Socket(error) => fmt::Display::fmt(error, f),
            Self::AwaitsBfd => f.write_str("waits for BFD to come up (strict)"),
            Self::NoPeer(interface, absence) => f.write_str(&absence.on(interface)),
        }
    }
}

/// Flaws of UPDATEs by what was done about them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultCounters {
    /// Attribute discarded, routes kept.
    pub discarded: u64,
    /// Routes treated as withdrawn.
    pub withdrawn: u64,
}

impl PeerStatus {
    pub(crate) fn new(id: PeerId, settings: &Peer) -> Self {
        Self {
            id,
            name: Arc::clone(&settings.name),
            peer: settings.address.fixed().map(|address| (address, settings.port).into()),
            wanted: true,
            state: State::Idle,
            since: None,
            lost: false,
            last_error: None,
            failed_at: None,
            session_end: None,
            established_count: 0,
            received: Counters::default(),
            sent: Counters::default(),
            faults: FaultCounters::default(),
            limits: LimitCounts::default(),
            negotiated: None,
            local: None,
            remote: None,
            next_attempt: None,
            queued: 0,
            bfd: None,
        }
    }
}
