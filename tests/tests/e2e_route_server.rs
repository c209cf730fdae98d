//! A route server among BIRD, FRR and GoBGP, one of them met as a dynamic peer, and a client that says
//! odd things by ExaBGP: what is only unknown reaches the others unchanged, what is malformed costs
//! just its own routes (RFC 7606), and what cannot be contained just its own session.
//!
//! Needs the binaries of the workspace, BIRD, FRR, GoBGP and ExaBGP; root or user namespaces.

use serde_json::Value;
use tests::fabric::{Fabric, bird, eventually, exabgp, frr, gobgp, routed};

#[test]
fn rfc7606_odd_attributes_of_one_client_disturb_nobody_and_pass_if_they_may() {
    let fabric = Fabric::up(&topology());
    for client in ["bird", "gobgp", "exabgp", "others@10.2.0.3"] {
        routed::stands(&fabric, "rs", client);
    }
    clients_hear_of_each_other_as_if_there_were_no_server(&fabric);
    unknown_attributes_pass_if_they_are_transitive(&fabric);
    malformed_attributes_withdraw_or_are_discarded(&fabric);
    what_cannot_be_contained_ends_one_session(&fabric);
}

/// Path and next hop are the client's (RFC 7947 §2.2).
fn clients_hear_of_each_other_as_if_there_were_no_server(fabric: &Fabric) {
    let learned = |at: &str| match at {
        "frr" => frr::learned(fabric, "frr", "10.2.0.1"),
        "gobgp" => gobgp::received(fabric, "gobgp", "10.2.0.1"),
        _ => bird::learned(fabric, "bird", "server"),
    };
    for (at, prefix, next_hop, asn) in [
        ("bird", "198.51.100.64/26", "10.2.0.3", 65002),
        ("frr", "198.51.100.0/26", "10.2.0.2", 65001),
        ("gobgp", "198.51.100.0/26", "10.2.0.2", 65001),
    ] {
        eventually(
            &format!("{at} has {prefix} as its client told it"),
            || learned(at),
            |routes| {
                routes.iter().any(|seen| {
                    seen.prefix.to_string() == prefix
                        && seen.next_hop.to_string() == next_hop
                        && seen.as_path == [asn]
                })
            },
        );
    }
}

fn unknown_attributes_pass_if_they_are_transitive(fabric: &Fabric) {
    announce(fabric, "192.0.2.64/26", "attribute [ 0x63 0xc0 0xdeadbeef ]");
    announce(fabric, "192.0.2.128/26", "attribute [ 0x63 0x80 0xdeadbeef ]");
    at_bird(fabric, "192.0.2.64/26", |route| route.contains("BGP.63 [t]: de ad be ef"));
    at_bird(fabric, "192.0.2.128/26", |route| {
        route.contains("BGP.as_path: 65004") && !route.contains("BGP.63")
    });
    let unknown = |prefix: &str| {
        let output = fabric.exec("gobgp", &["gobgp", "-j", "global", "rib", prefix]);
        // It fails as long as there is none.
        let text = output.expect("testbed starts").stdout;
        let table: Value = serde_json::from_slice(&text).ok()?;
        let attributes = table[prefix][0]["attrs"].as_array()?.clone();
        Some(attributes.into_iter().find(|attribute| attribute["type"] == 99).unwrap_or_default())
    };
    eventually(
        "GoBGP has it with the Partial bit",
        || unknown("192.0.2.64/26"),
        |seen| seen.as_ref().is_some_and(|it| it["flags"] == 0xE0 && it["value"] == "3q2+7w=="),
    );
    eventually(
        "and the other route without it",
        || unknown("192.0.2.128/26"),
        |seen| *seen == Some(Value::Null),
    );
}

/// Each prefix is there before, so that it has something to lose.
fn malformed_attributes_withdraw_or_are_discarded(fabric: &Fabric) {
    let withdrawn = [
        "attribute [ 0x08 0xc0 0x0102 ]",     // COMMUNITIES of two octets
        "attribute [ 0x04 0x80 0x0102 ]",     // MULTI_EXIT_DISC of two
        "attribute [ 0x04 0x40 0x00000001 ]", // … with the flags of a well-known attribute
        "attribute [ 0x20 0xc0 0x0102 ]",     // LARGE_COMMUNITY of two
        "attribute [ 0x23 0xc0 0x01 ]",       // OTC of one
        "as-path [ 65004 ( 65005 65006 ) ]",  // AS_SET (RFC 9774)
        "as-path [ 65004 0 ]",                // AS 0 (RFC 7607)
    ];
    let discarded = [
        "attribute [ 0x06 0x40 0x01 ]",       // ATOMIC_AGGREGATE of one octet
        "attribute [ 0x0a 0x80 0x01020304 ]", // CLUSTER_LIST from an external peer
        "attribute [ 0x09 0x80 0x01020304 ]", // ORIGINATOR_ID from an external peer
    ];
    let prefix = |n: usize| format!("203.0.113.{}/28", n * 16);
    let all = withdrawn.len() + discarded.len();
    for n in 0..all {
        announce(fabric, &prefix(n), "");
    }
    for n in 0..all {
        at_bird(fabric, &prefix(n), |route| route.contains("BGP.as_path: 65004"));
    }
    for (n, attributes) in withdrawn.iter().chain(&discarded).enumerate() {
        announce(fabric, &prefix(n), attributes);
    }
    for n in 0..withdrawn.len() {
        at_bird(fabric, &prefix(n), |route| !route.contains("unicast"));
    }
    eventually(
        "flaws are counted by what was done",
        || routed::peer(fabric, "rs", "exabgp"),
        |peer| {
            peer["treated_as_withdraw"] == withdrawn.len()
                && peer["attributes_discarded"] == discarded.len()
        },
    );
    for n in withdrawn.len()..all {
        at_bird(fabric, &prefix(n), |route| route.contains("BGP.as_path: 65004"));
    }
    assert_eq!(routed::peer(fabric, "rs", "exabgp")["established_count"], 1);
    // The first of them is in the log, whole (RFC 7606 §6).
    let log = fabric.ask("rs", &["cat", "/var/log/routed.log"]);
    let line = log.lines().find(|line| line.contains("malformed UPDATE"));
    let line = line.unwrap_or_else(|| panic!("nothing of it in {log}"));
    for word in ["peer=exabgp", "treated as withdraw", "203.0.113.0/28", "c008020102"] {
        assert!(line.contains(word), "no {word:?} in {line}");
    }
}

/// An unknown attribute that says it is well-known (RFC 4271 §6.3).
fn what_cannot_be_contained_ends_one_session(fabric: &Fabric) {
    announce(fabric, "203.0.113.240/28", "attribute [ 0x63 0x40 0x01 ]");
    routed::last_error(fabric, "rs", "exabgp", "Unrecognized Well-known Attribute");
    at_bird(fabric, "192.0.2.64/26", |route| !route.contains("unicast"));
    for client in ["bird", "gobgp", "others@10.2.0.3"] {
        let peer = routed::peer(fabric, "rs", client);
        assert_eq!(peer["state"], "Established", "{peer}");
        assert_eq!(peer["established_count"], 1, "{peer}");
    }
    at_bird(fabric, "198.51.100.64/26", |route| route.contains("BGP.as_path: 65002"));
}

fn announce(fabric: &Fabric, prefix: &str, attributes: &str) {
    let command = format!("announce route {prefix} next-hop 10.2.0.5 {attributes}");
    exabgp::say(fabric, "exabgp", &command);
}

/// Waits until what BIRD says of a prefix is as wanted.
fn at_bird(fabric: &Fabric, prefix: &str, wanted: impl Fn(&str) -> bool) {
    eventually(
        &format!("{prefix} at BIRD"),
        || bird::route(fabric, "bird", "server", prefix),
        |route| wanted(route),
    );
}

fn topology() -> String {
    let neighbor = "router-id 10.0.0.4; local-address 10.2.0.5; local-as 65004; peer-as 65000; \
                    hold-time 30; family { ipv4 unicast; }";
    ROUTERS.to_owned() + &exabgp::router("exabgp", 65004, "10.2.0.1", neighbor)
}

const ROUTERS: &str = r#"
[[lans]]
name = "lan1"
ipv4 = "10.2.0.0/24"
ipv6 = "fd00:2::/64"
members = ["rs", "bird", "frr", "gobgp", "exabgp"]
hub = "rs"

[[speakers]]
name = "rs"
asn = 65000
config = """
[node]
name = "rs"
mode = "speaker"
[bgp]
asn = 65000
router_id = "10.0.0.9"
hold_time = 30
connect_retry = 1
import = "all"
export = "all"
[[peer_groups]]
name = "clients"
route_server_client = true
[[peers]]
name = "bird"
group = "clients"
asn = 65001
address = "10.2.0.2"
[[peers]]
name = "gobgp"
group = "clients"
asn = 65003
address = "10.2.0.4"
[[peers]]
name = "exabgp"
group = "clients"
asn = 65004
address = "10.2.0.5"
[[dynamic_peers]]
name = "others"
group = "clients"
prefix = "10.2.0.0/24"
asn = "external"
"""

[[tors]]
name = "bird"
asn = 65001
runs = "bird"
config = """
router id 10.0.0.1;
protocol device { }
protocol direct { ipv4; ipv6; interface "lan1"; }
protocol static { ipv4; route 198.51.100.0/26 blackhole; }
protocol bgp server {
    local 10.2.0.2 as 65001;
    neighbor 10.2.0.1 as 65000;
    connect delay time 1;
    ipv4 { import all; export where source = RTS_STATIC; };
}
"""

[[tors]]
name = "frr"
asn = 65002
runs = "frr"
config = """
frr defaults datacenter
router bgp 65002
 bgp router-id 10.0.0.2
 no bgp default ipv4-unicast
 no bgp network import-check
 no bgp ebgp-requires-policy
 neighbor 10.2.0.1 remote-as 65000
 neighbor 10.2.0.1 timers connect 1
 address-family ipv4 unicast
  network 198.51.100.64/26
  neighbor 10.2.0.1 activate
 exit-address-family
exit
"""

[[tors]]
name = "gobgp"
asn = 65003
runs = "none"
command = ["gobgpd", "-f", "/etc/gobgpd.toml", "--pprof-disable"]
[tors.files]
"/etc/gobgpd.toml" = """
[global.config]
as = 65003
router-id = "10.0.0.3"
[[neighbors]]
[neighbors.config]
neighbor-address = "10.2.0.1"
peer-as = 65000
[neighbors.timers.config]
connect-retry = 1
hold-time = 30
"""
"#;
