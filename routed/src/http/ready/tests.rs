//! The two phases of readiness.

use std::sync::Arc;

use bgp::rib::PeerId;

use super::*;

fn peer(name: &str, state: State, established_count: u64) -> PeerStatus {
    PeerStatus {
        id: PeerId(0),
        name: Arc::from(name),
        peer: Some("10.1.1.0:179".parse().unwrap()),
        wanted: true,
        state,
        since: None,
        last_error: None,
        session_end: None,
        failed_at: None,
        lost: false,
        established_count,
        received: bgp::session::Counters::default(),
        sent: bgp::session::Counters::default(),
        faults: crate::peering::FaultCounters::default(),
        limits: crate::peering::LimitCounts::default(),
        negotiated: None,
        local: None,
        remote: None,
        next_attempt: None,
        queued: 0,
        bfd: None,
    }
}

const EARLY: Duration = Duration::from_secs(1);

#[test]
fn at_the_start_every_peer_is_needed() {
    let peers = [peer("a", State::Established, 1), peer("b", State::Active, 0)];
    assert_eq!(
        bgp(&peers, EARLY).unwrap_err(),
        "1 of 2 sessions established; missing: b (Active); at the start all are needed, from \
         120 s on one is enough"
    );
    let peers = [peer("a", State::Established, 1), peer("b", State::Established, 1)];
    assert_eq!(bgp(&peers, EARLY).unwrap(), "2 of 2 sessions established");
}

#[test]
fn once_each_was_established_one_is_enough() {
    let peers = [peer("a", State::Established, 1), peer("b", State::Active, 3)];
    assert!(bgp(&peers, EARLY).is_ok());
    let peers = [peer("a", State::Idle, 1), peer("b", State::Active, 3)];
    assert_eq!(
        bgp(&peers, EARLY).unwrap_err(),
        "0 of 2 sessions established; missing: a (Idle), b (Active)"
    );
}

#[test]
fn a_peer_that_never_comes_is_not_waited_for_longer_than_the_start() {
    let peers = [peer("a", State::Established, 1), peer("b", State::Active, 0)];
    assert!(bgp(&peers, STARTUP - Duration::from_millis(1)).is_err());
    assert!(bgp(&peers, STARTUP).is_ok());
    let peers = [peer("a", State::Active, 0), peer("b", State::Active, 0)];
    assert!(bgp(&peers, STARTUP).is_err());
}

#[test]
fn without_peers_or_with_stopped_ones_only_nothing_is_missing() {
    assert!(bgp(&[], EARLY).is_ok());
    let stopped = PeerStatus { wanted: false, ..peer("a", State::Idle, 0) };
    assert!(bgp(&[stopped], EARLY).is_ok());
}
