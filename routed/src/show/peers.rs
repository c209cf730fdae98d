//! The table of peers; everything about one is in `peers/details.rs`.

use bgp::{family::Family, session::State};

use super::{
    or_dash,
    table::{Align, Table, age},
    view::{PeerView, RouteCounts},
};

mod details;

pub(super) use details::details;

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
            peer.place(),
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
    let drained = if peers.iter().any(|peer| peer.router_drained) { DRAINED } else { "" };
    format!("{table}{drained}")
}

/// What is said below the table.
const DRAINED: &str = "\nthis router is drained: all that peers are told carries GRACEFUL_SHUTDOWN; \
                       `routed undrain` ends it\n";

/// Why there is no session. An error that is overcome is nothing to act upon; programs find it
/// in the JSON.
fn last_error(peer: &PeerView) -> String {
    let established = peer.state == State::Established.to_string();
    let Some(error) = peer.last_error.as_ref().filter(|_| !established) else {
        return String::new();
    };
    match peer.next_attempt_seconds {
        Some(seconds) => format!("{error} (next attempt in {seconds} s)"),
        None => error.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::show::view::MessageCounts;

    fn peer(name: &str, state: &str) -> PeerView {
        let counts = |family: &str, received| RouteCounts {
            family: family.to_owned(),
            received,
            accepted: received - 1,
            best: 1,
            stale: 0,
            advertised: 2,
            max_prefixes: None,
            max_advertised: None,
        };
        PeerView {
            name: name.to_owned(),
            address: Some("10.1.1.0".parse().unwrap()),
            interface: None,
            asn: Some(4_200_000_001),
            local_asn: 4_200_000_011,
            router_id: None,
            state: state.to_owned(),
            enabled: true,
            drained: false,
            router_drained: false,
            since_seconds: Some(7_980),
            established_count: 1,
            families: Vec::new(),
            capabilities: Vec::new(),
            hold_time: None,
            keepalive_time: None,
            connect_retry: 5,
            local_address: None,
            import: None,
            export: None,
            limits: Vec::new(),
            routes: vec![counts("ipv4", 120), counts("ipv6", 7)],
            messages_received: MessageCounts { total: 1204, ..MessageCounts::default() },
            messages_sent: MessageCounts { total: 98, ..MessageCounts::default() },
            attributes_discarded: 0,
            treated_as_withdraw: 0,
            queued_octets: 0,
            last_error: None,
            last_error_seconds: None,
            last_session_end: None,
            last_notification: None,
            remedy: None,
            next_attempt_seconds: None,
            bfd: None,
        }
    }

    #[test]
    fn peers_have_a_line_each_with_both_families_together() {
        let down = PeerView {
            asn: None,
            last_error: Some("connection refused".to_owned()),
            next_attempt_seconds: Some(4),
            since_seconds: None,
            ..peer("b", "Active")
        };
        let stopped = PeerView { enabled: false, ..peer("c", "Idle") };
        assert_eq!(
            table(&[peer("tor-a", "Established"), down, stopped]),
            "PEER   ADDRESS           AS  STATE        UP/DOWN  RECEIVED  ACCEPTED  ADVERTISED  MSGRCVD  MSGSENT  LAST ERROR\n\
             tor-a  10.1.1.0  4200000001  Established    2h13m       127       125           4     1204       98\n\
             b      10.1.1.0    external  Active             -       127       125           4     1204       98  connection refused (next attempt in 4 s)\n\
             c      10.1.1.0  4200000001  Stopped        2h13m       127       125           4     1204       98\n"
        );
    }

    #[test]
    fn a_drained_router_says_so_below_its_peers() {
        let drained = PeerView { router_drained: true, ..peer("a", "Established") };
        assert!(table(&[drained]).ends_with("`routed undrain` ends it\n"));
        let one = PeerView { drained: true, ..peer("a", "Established") };
        assert!(!table(std::slice::from_ref(&one)).contains("drained"));
        assert!(details(&[one]).contains("drained      by this peer's drain = true"));
    }

    #[test]
    fn an_error_is_shown_until_there_is_a_session() {
        let error = "connection refused";
        let with_error =
            |state| PeerView { last_error: Some(error.to_owned()), ..peer("a", state) };
        assert!(table(&[with_error("Connect")]).contains(error));
        assert!(!table(&[with_error("Established")]).contains("ERROR"));
    }

    #[test]
    fn a_family_leaves_out_the_others_routes_and_peers_without_it() {
        let mut peers = vec![peer("both", "Idle"), peer("four", "Idle")];
        peers[1].routes.truncate(1);
        only(&mut peers, Some(Family::Ipv6Unicast));
        assert_eq!(peers.len(), 1);
        assert_eq!((&*peers[0].name, peers[0].routes[0].received), ("both", 7));
    }
}
