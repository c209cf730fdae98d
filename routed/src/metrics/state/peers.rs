//! What has a state about peers: their sessions, their BFD, and the groups of dynamic ones.

use bgp::{
    config::PeerAs,
    family::Family,
    session::{Counters, State},
};
use routed_core::bfd::State as BfdState;

use super::{Fresh, group_of, signed};
use crate::peering::{LimitCounters, Packets, PeerHandle, PeerStatus};

/// BGP sessions.
pub(super) fn sessions(fresh: &Fresh, peers: &[PeerHandle]) {
    let peer = &["peer", "peer_asn"];
    let up = fresh.gauges("slash32_bgp_session_up", "1 if the session is established.", peer);
    let states = fresh.gauges(
        "slash32_bgp_session_state",
        "State of the session as in RFC 4273: 1 Idle, 2 Connect, 3 Active, 4 OpenSent, \
         5 OpenConfirm, 6 Established.",
        peer,
    );
    let established = fresh.counters(
        "slash32_bgp_session_established_total",
        "How often the session has been established: its rise counts flaps.",
        peer,
    );
    let queued = fresh.gauges(
        "slash32_bgp_queued_octets",
        "Octets that wait for the peer to take them.",
        &["peer"],
    );
    let messages = fresh.counters(
        "slash32_bgp_messages_total",
        "BGP messages.",
        &["peer", "direction", "type"],
    );
    let faults = fresh.counters(
        "slash32_bgp_update_faults_total",
        "Malformed UPDATEs that were contained (RFC 7606).",
        &["peer", "treatment"],
    );
    let limits = fresh.counters(
        "slash32_bgp_prefix_limit_events_total",
        "How often a session came near max_prefixes, over it (warned of), over it (stopped), or had \
         routes held back by max_advertised.",
        &["peer", "family", "event"],
    );
    for peer in peers {
        let status = peer.status();
        let (name, asn) = (&*peer.settings.name, asn_label(peer));
        let labels = [name, &*asn];
        for (family, event, count) in limit_events(peer, &status) {
            limits.with_label_values(&[name, &*family.to_string(), event]).inc_by(count);
        }
        up.with_label_values(&labels).set(i64::from(status.state == State::Established));
        states.with_label_values(&labels).set(state_number(status.state));
        established.with_label_values(&labels).inc_by(status.established_count);
        queued.with_label_values(&[name]).set(signed(status.queued));
        for (direction, counters) in [("received", status.received), ("sent", status.sent)] {
            for (kind, count) in by_type(counters) {
                messages.with_label_values(&[name, direction, kind]).inc_by(count);
            }
        }
        faults.with_label_values(&[name, "discard"]).inc_by(status.faults.discarded);
        faults.with_label_values(&[name, "withdraw"]).inc_by(status.faults.withdrawn);
    }
}

/// BFD sessions of peers that have one.
pub(super) fn bfd(fresh: &Fresh, peers: &[PeerHandle]) {
    let up = fresh.gauges("slash32_bfd_session_up", "1 if the BFD session is Up.", &["peer"]);
    let ups = fresh.counters(
        "slash32_bfd_session_up_total",
        "How often the BFD session came up.",
        &["peer"],
    );
    let failures = fresh.counters(
        "slash32_bfd_session_failures_total",
        "How often the BFD session failed after it had come up; an operator's switch is none.",
        &["peer"],
    );
    let detection = fresh.gauges(
        "slash32_bfd_detection_time_microseconds",
        "Silence of the peer that ends the BFD session; 0 until it was heard.",
        &["peer"],
    );
    let real_time = fresh.gauges(
        "slash32_bfd_real_time",
        "1 if the thread of BFD runs before everything that is not real-time.",
        &[],
    );
    let packets = fresh.counters(
        "slash32_bfd_packets_total",
        "BFD control packets: sent, received, or received and dropped.",
        &["peer", "direction"],
    );
    for peer in peers {
        let Some(status) = peer.status().bfd.map(|bfd| bfd.status()) else { continue };
        let name = &*peer.settings.name;
        up.with_label_values(&[name]).set(i64::from(status.state == BfdState::Up));
        let none: [&str; 0] = [];
        real_time.with_label_values(&none).set(i64::from(status.scheduling.is_real_time()));
        ups.with_label_values(&[name]).inc_by(status.ups);
        failures.with_label_values(&[name]).inc_by(status.failures);
        let micros = i64::try_from(status.detection_micros).unwrap_or(i64::MAX);
        detection.with_label_values(&[name]).set(micros);
        let Packets { sent, received, dropped } = status.packets;
        for (direction, count) in [("sent", sent), ("received", received), ("dropped", dropped)] {
            packets.with_label_values(&[name, direction]).inc_by(count);
        }
    }
}

/// What happened at the limits of a peer, for families with one.
fn limit_events(
    peer: &PeerHandle,
    status: &PeerStatus,
) -> impl Iterator<Item = (Family, &'static str, u64)> {
    let rib = &peer.settings.rib;
    Family::ALL.into_iter().flat_map(move |family| {
        let LimitCounters { near, over, stopped, held_back } = *status.limits.get(family);
        let taken = [("near", near), ("over", over), ("stopped", stopped)];
        let told = [("held_back", held_back)];
        let taken = taken.into_iter().filter(move |_| rib.max_prefixes.get(family).is_some());
        let told = told.into_iter().filter(move |_| rib.max_advertised.get(family).is_some());
        taken.chain(told).map(move |(event, count)| (family, event, count))
    })
}

/// Dynamic peers by their groups: who is in one is for others to say, so members get no series of
/// their own.
pub(super) fn groups(fresh: &Fresh, members: &[PeerHandle]) {
    let sessions = fresh.gauges(
        "slash32_bgp_dynamic_peers",
        "Members of a group of dynamic peers, by whether their session is established (up) or not \
         (down).",
        &["group", "state"],
    );
    let queued = fresh.gauges(
        "slash32_bgp_dynamic_queued_octets",
        "Octets that wait for the members of a group of dynamic peers to take them.",
        &["group"],
    );
    for member in members {
        let Some(group) = group_of(member) else { continue };
        let status = member.status();
        let is_up = status.state == State::Established;
        for (state, counts) in [("up", is_up), ("down", !is_up)] {
            sessions.with_label_values(&[group, state]).add(i64::from(counts));
        }
        queued.with_label_values(&[group]).add(signed(status.queued));
    }
}

/// As configured, so that a series lives on when the session does not.
fn asn_label(peer: &PeerHandle) -> String {
    let session = &peer.settings.session;
    match &session.peer_asn {
        PeerAs::Internal => session.local_asn.to_string(),
        other @ (PeerAs::Exact(_) | PeerAs::OneOf(_) | PeerAs::External) => other.to_string(),
    }
}

const fn by_type(counters: Counters) -> [(&'static str, u64); 5] {
    let Counters { opens, updates, notifications, keepalives, refreshes } = counters;
    [
        ("open", opens),
        ("update", updates),
        ("notification", notifications),
        ("keepalive", keepalives),
        ("route_refresh", refreshes),
    ]
}

/// bgpPeerState of RFC 4273.
const fn state_number(state: State) -> i64 {
    match state {
        State::Idle => 1,
        State::Connect => 2,
        State::Active => 3,
        State::OpenSent => 4,
        State::OpenConfirm => 5,
        State::Established => 6,
    }
}
