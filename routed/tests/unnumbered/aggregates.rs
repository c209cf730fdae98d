//! A range that is announced as part of an aggregate: at the neighbour, and in our kernel.

use std::fs;

use crate::lab::{Host, pair, until};

const PEER: &str = "[[peers]]\ninterface = \"eth1\"\n";

/// Blackholes of ours.
fn blackholes(host: &Host) -> Vec<String> {
    let shown = host.ip("-4 route show type blackhole proto 132");
    let mut all: Vec<_> = shown
        .lines()
        .filter_map(|line| line.split_whitespace().nth(1))
        .map(str::to_owned)
        .collect();
    all.sort();
    all
}

fn reload(host: &Host, text: &str) {
    fs::write(host.path("routed.toml"), text).unwrap();
    let done = host.try_run(env!("CARGO_BIN_EXE_routed"), "reload --socket admin.sock");
    assert!(done.status.success(), "{done:?}");
}

#[test]
fn rfc4271_9_2_2_2_a_range_behind_its_aggregate_is_reached_and_the_rest_is_discarded() {
    let (mut a, mut b) = pair();
    a.routed(1, PEER);
    b.routed(2, PEER);
    let way = |prefix: &str| b.route(prefix).len();
    until("announced by itself", || way("10.244.1.0/24") == 1);
    assert_eq!(blackholes(&a), ["10.244.1.0/24"]);

    let plain = fs::read_to_string(a.path("routed.toml")).unwrap();
    let table = "[[bgp.aggregates]]\nprefix = \"10.244.0.0/16\"\nsummary_only = true\n";
    reload(&a, &format!("{plain}{table}"));
    until("summarised", || way("10.244.0.0/16") == 1 && way("10.244.1.0/24") == 0);
    until("discarded", || blackholes(&a) == ["10.244.0.0/16", "10.244.1.0/24"]);
    until("IPv4 reaches", || b.reaches("10.244.2.1", "10.244.1.1"));
    // What the neighbour has inside it, we use: it is more specific.
    assert_eq!(a.route("10.244.2.0/24").len(), 1);
    assert!(a.is_established() && a.peer()["established_count"] == 1);

    // Another run of the daemon begins with it.
    a.kill();
    a.start(env!("CARGO_BIN_EXE_routed"), "routed2", &["run", "--config", "routed.toml"]);
    until("back", || a.is_established());
    until("summarised", || way("10.244.0.0/16") == 1 && way("10.244.1.0/24") == 0);

    reload(&a, &plain);
    until("by itself again", || way("10.244.0.0/16") == 0 && way("10.244.1.0/24") == 1);
    until("no longer discarded", || blackholes(&a) == ["10.244.1.0/24"]);
}
