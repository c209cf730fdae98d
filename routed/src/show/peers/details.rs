//! Everything about one peer: what a person wants to know at the first question.

use std::time::Duration;

use crate::show::{
    table::{Align, Table, age, printable},
    view::{BfdView, MessageCounts, PeerView, RouteCounts},
};

/// A paragraph and two small tables for each peer.
pub(in crate::show) fn details(peers: &[PeerView]) -> String {
    if peers.is_empty() {
        return "the peer does not carry this family\n".to_owned();
    }
    peers.iter().map(one).collect::<Vec<_>>().join("\n")
}

fn one(peer: &PeerView) -> String {
    let mut text = format!("{}  {}\n", printable(&peer.name), peer.place());
    for (title, line) in facts(peer) {
        if !line.is_empty() {
            text.push_str(&format!("  {title:<13}{}\n", printable(&line)));
        }
    }
    format!("{text}\n{}\n{}", routes(peer), messages(peer))
}

fn facts(peer: &PeerView) -> Vec<(&'static str, String)> {
    let asn = peer.asn.map_or_else(|| "external".to_owned(), |asn| asn.to_string());
    vec![
        ("AS", format!("{asn}; ours is {}", peer.local_asn)),
        ("state", state(peer)),
        ("drained", drained(peer).to_owned()),
        ("last error", last_error(peer)),
        ("last session", last_session(peer)),
        ("what to do", peer.remedy.clone().unwrap_or_default()),
        (
            "next attempt",
            peer.next_attempt_seconds.map(|s| format!("in {s} s")).unwrap_or_default(),
        ),
        ("BFD", peer.bfd.as_ref().map(bfd).unwrap_or_default()),
        ("router id", peer.router_id.map(|id| id.to_string()).unwrap_or_default()),
        ("our address", peer.local_address.map(|addr| addr.to_string()).unwrap_or_default()),
        ("timers", timers(peer)),
        ("families", peer.families.join(", ")),
        ("can do", peer.capabilities.join(", ")),
        ("policies", policies(peer)),
        ("limits", peer.limits.join("; ")),
    ]
}

fn bfd(bfd: &BfdView) -> String {
    if let Some(trouble) = &bfd.trouble {
        return trouble.clone();
    }
    let mut text = format!("{} for {}", bfd.state, age(bfd.since_seconds));
    if bfd.remote_discriminator == 0 {
        text += "; the peer was not heard";
    } else {
        let millis = |micros: u64| Duration::from_micros(micros).as_secs_f64() * 1_000.0;
        let sent = bfd.transmit_interval_micros;
        let sent = sent.map_or("never".to_owned(), |time| format!("every {} ms", millis(time)));
        let detection = millis(bfd.detection_time_micros);
        text +=
            &format!("; sends {sent}, detects in {detection} ms; the peer is {}", bfd.remote_state);
    }
    if let Some(failure) = &bfd.last_failure {
        text += &format!("; failed {} times, last: {failure}", bfd.failure_count);
    }
    if bfd.packets_dropped > 0 {
        text += &format!("; {} packets dropped", bfd.packets_dropped);
    }
    text
}

fn state(peer: &PeerView) -> String {
    let state = if peer.enabled { &peer.state } else { "Stopped" };
    let since = peer.since_seconds.map(|seconds| format!(" for {}", age(seconds)));
    let since = since.unwrap_or_default();
    format!("{state}{since}; established {} times since the start", peer.established_count)
}

const fn drained(peer: &PeerView) -> &'static str {
    match (peer.router_drained, peer.drained) {
        (true, _) => "as the whole router is (routed undrain ends it)",
        (false, true) => "by this peer's drain = true",
        (false, false) => "",
    }
}

fn last_error(peer: &PeerView) -> String {
    let Some(error) = &peer.last_error else { return String::new() };
    let ago = peer.last_error_seconds.map(|seconds| format!(", {} ago", age(seconds)));
    let code = peer.last_notification.as_ref();
    let code = code.map(|n| format!(" [code {}/{}]", n.code, n.subcode)).unwrap_or_default();
    format!("{error}{code}{}", ago.unwrap_or_default())
}

/// How the last session ended, unless that is what the last error says.
fn last_session(peer: &PeerView) -> String {
    let ended = peer.last_session_end.as_ref();
    let ended = ended.filter(|end| peer.last_error.as_ref() != Some(*end));
    ended.map(|end| format!("ended: {end}")).unwrap_or_default()
}

fn timers(peer: &PeerView) -> String {
    let agreed = match (peer.hold_time, peer.keepalive_time) {
        (Some(0), _) => "hold off, no keepalives; ".to_owned(),
        (Some(hold), Some(keepalive)) => format!("hold {hold} s, keepalive {keepalive} s; "),
        (Some(_) | None, _) => String::new(),
    };
    format!("{agreed}connect retry {} s", peer.connect_retry)
}

fn policies(peer: &PeerView) -> String {
    let name = |policy: &Option<String>| policy.clone().unwrap_or_else(|| "none".to_owned());
    format!("import {}, export {}", name(&peer.import), name(&peer.export))
}

fn routes(peer: &PeerView) -> String {
    let mut table = Table::new()
        .column("  ROUTES", Align::Left)
        .column("RECEIVED", Align::Right)
        .column("ACCEPTED", Align::Right)
        .column("BEST", Align::Right)
        .column("STALE", Align::Right)
        .column("ADVERTISED", Align::Right);
    for counts in &peer.routes {
        let RouteCounts { received, accepted, best, stale, advertised, .. } = counts;
        let numbers = [received, accepted, best, stale, advertised];
        let family = format!("  {}", counts.family);
        table.row([family].into_iter().chain(numbers.map(ToString::to_string)));
    }
    table.to_string()
}

fn messages(peer: &PeerView) -> String {
    let mut table = Table::new().column("  MESSAGES", Align::Left);
    let names = ["TOTAL", "OPEN", "UPDATE", "KEEPALIVE", "REFRESH", "NOTIFICATION"];
    for name in names {
        table = table.column(name, Align::Right);
    }
    for (side, counts) in [("received", &peer.messages_received), ("sent", &peer.messages_sent)] {
        let MessageCounts { total, open, update, notification, keepalive, route_refresh } = *counts;
        let numbers = [total, open, update, keepalive, route_refresh, notification];
        table.row([format!("  {side}")].into_iter().chain(numbers.map(|n| n.to_string())));
    }
    let mut text = table.to_string();
    let faults = peer.attributes_discarded + peer.treated_as_withdraw;
    if faults > 0 {
        text.push_str(&format!(
            "\n  malformed updates contained (RFC 7606): {} attributes discarded, {} treated as \
             withdrawals\n",
            peer.attributes_discarded, peer.treated_as_withdraw
        ));
    }
    if peer.queued_octets > 0 {
        text.push_str(&format!(
            "\n  {} octets wait for the peer to take them\n",
            peer.queued_octets
        ));
    }
    text
}
