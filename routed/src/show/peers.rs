//! The table of peers.

use bgp::family::Family;

use super::{
    or_dash,
    table::{Align, Table, age},
    view::{PeerView, RouteCounts},
};

/// Leaves out what is not of the family: peers without it, and the others' counts.
pub(super) fn only(peers: &mut Vec<PeerView>, family: Option<Family>) {
    let Some(family) = family.map(|family| family.to_string()) else { return };
    for peer in peers.iter_mut() {
        peer.routes.retain(|counts| counts.family == family);
    }
    peers.retain(|peer| !peer.routes.is_empty());
}

/// One line a peer; routes of all families together.
pub(super) fn table(peers: &[PeerView]) -> String {
    if peers.is_empty() {
        return "no peers: routed.toml has no [[peers]] of this kind\n".to_owned();
    }
    let mut table = Table::new()
        .column("PEER", Align::Left)
        .column("ADDRESS", Align::Left)
        .column("AS", Align::Right)
        .column("STATE", Align::Left)
        .column("UP/DOWN", Align::Right)
        .column("RECEIVED", Align::Right)
        .column("ACCEPTED", Align::Right)
        .column("ADVERTISED", Align::Right)
        .column("MSGRCVD", Align::Right)
        .column("MSGSENT", Align::Right)
        .optional("LAST ERROR", Align::Left);
    for peer in peers {
        let sum = |count: fn(&RouteCounts) -> usize| {
            peer.routes.iter().map(count).sum::<usize>().to_string()
        };
        table.row([
            peer.name.clone(),
            peer.address.to_string(),
            peer.asn.map_or_else(|| "external".to_owned(), |asn| asn.to_string()),
            if peer.enabled { peer.state.clone() } else { "Stopped".to_owned() },
            or_dash(peer.since_seconds.map(age)),
            sum(|counts| counts.received),
            sum(|counts| counts.accepted),
            sum(|counts| counts.advertised),
            peer.messages_received.total.to_string(),
            peer.messages_sent.total.to_string(),
            last_error(peer),
        ]);
    }
    table.to_string()
}

/// Why there is no session, or what ended the one before.
fn last_error(peer: &PeerView) -> String {
    let Some(error) = &peer.last_error else { return String::new() };
    match peer.next_attempt_seconds {
        Some(seconds) => format!("{error} (next attempt in {seconds} s)"),
        None => error.clone(),
    }
}
