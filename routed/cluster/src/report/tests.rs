//! The machines in simulated time, and the driver against an API server that answers as told.

mod driver;
mod events;
mod life;
mod status;

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use routed_api::{ObjectProblem, SessionState};

use super::picture::{Counts, Picture, SessionSeen};

/// A node in order, with a session.
fn fine() -> Picture {
    Picture {
        version: "1".to_owned(),
        identity: Some((64_512, [10, 0, 0, 1].into())),
        sessions: vec![session("tor", SessionState::Established)],
        problems: Vec::new(),
        refused: None,
        exhausted: BTreeSet::new(),
        lost: BTreeSet::new(),
        ready: Ok(()),
        serves: Ok(()),
        has_addresses: true,
        node_uid: Some("u1".to_owned()),
        nodes: 2,
    }
}

fn with(sessions: Vec<SessionSeen>) -> Picture {
    Picture { sessions, ..fine() }
}

fn session(peer: &str, state: SessionState) -> SessionSeen {
    SessionSeen {
        peer: peer.to_owned(),
        is_mesh: peer.starts_with("node:"),
        address: "10.1.1.0".to_owned(),
        asn: Some(64_513),
        state,
        since: None,
        error: None,
        counts: Some(Counts::default()),
    }
}

fn failed(peer: &str, state: SessionState, error: &str) -> SessionSeen {
    SessionSeen { error: Some(error.to_owned()), ..session(peer, state) }
}

fn problem(object: &str) -> ObjectProblem {
    ObjectProblem {
        object: object.to_owned(),
        reason: "Invalid".to_owned(),
        message: "spec: mend it".to_owned(),
    }
}

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A moment that has others before it.
fn start() -> Instant {
    Instant::now() + secs(100_000)
}
