//! What is known of a station at this moment, for tables and metrics.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::peering::SocketError;

/// One station's connection as people and programs are shown it.
#[derive(Clone, Debug, Default)]
pub struct StationStatus {
    /// How it stands.
    pub phase: Phase,
    /// Since when; `None` before the first attempt.
    pub since: Option<Instant>,
    /// When the next attempt is made; `None` unless one is waited for.
    pub next_attempt: Option<Instant>,
    /// How often it has been connected to.
    pub connections: u64,
    /// Messages given to its connections.
    pub sent: Messages,
    /// Octets given to its connections.
    pub octets: u64,
    /// Octets that wait for it to take them.
    pub queued: usize,
    /// Why it was last lost or could not be had.
    pub last_error: Option<Arc<StationError>>,
    /// When that was.
    pub failed_at: Option<Instant>,
}

/// How the connection to a station stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// It is being dialled.
    #[default]
    Connecting,
    /// It is told what there is.
    Connected,
    /// The next attempt is waited for.
    Waiting,
}

/// Messages by type (RFC 7854 §4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Messages {
    /// Peer Up.
    pub peer_up: u64,
    /// Peer Down.
    pub peer_down: u64,
    /// Route Monitoring.
    pub route_monitoring: u64,
    /// Statistics Report.
    pub statistics: u64,
    /// Initiation and Termination.
    pub other: u64,
}

/// Why there is no connection to a station.
#[derive(Debug, thiserror::Error)]
pub enum StationError {
    /// It could not be had.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The station ended it.
    #[error("the station closed the connection; its log should say why")]
    Closed,
    /// It broke.
    #[error("the connection broke: {0}; is the station up, and is there a way to it?")]
    Broken(#[source] io::Error),
    /// The station took nothing of what it was owed.
    #[error(
        "the station took nothing for {} s (send_hold_time) and was given up; is it overloaded?",
        .0.as_secs()
    )]
    SendHold(Duration),
}
