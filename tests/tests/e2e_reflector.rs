//! A route reflector between BIRD, FRR, GoBGP and ExaBGP: every client hears of every other's routes,
//! of each path by itself where it wants that, and of no route that comes back.
//!
//! Needs the binaries of the workspace, BIRD, FRR, GoBGP and ExaBGP; root or user namespaces.

use serde_json::{Value, json};
use tests::fabric::{Fabric, bird, eventually, exabgp, routed};

#[test]
fn rfc4456_rfc7911_clients_of_every_make_hear_of_each_other_by_our_reflector() {
    let fabric = Fabric::up(&topology());
    for client in CLIENTS {
        routed::stands(&fabric, "rr", client);
    }
    for route in ["203.0.113.0/24", "100.64.0.0/24"] {
        let argv = ["gobgp", "global", "rib", "add", route, "nexthop", "10.2.0.4"];
        let _ = fabric.ask("gobgp", &argv);
    }
    for number in ["10", "20"] {
        let argv = ["gobgp", "global", "rib", "add", "100.65.0.0/24", "nexthop", "10.2.0.4"];
        let numbered = ["identifier", number, "community", &format!("65000:{number}")];
        let _ = fabric.ask("gobgp", &[&argv[..], &numbered].concat());
    }
    for route in [
        "100.64.0.0/24 path-information 1.1.1.1 community [65000:1]",
        "100.64.0.0/24 path-information 1.1.1.2 community [65000:2]",
        "192.0.2.128/25 originator-id 10.0.0.77 cluster-list [ 10.0.0.88 ]",
        "192.0.2.0/25 originator-id 10.0.0.77 cluster-list [ 10.0.0.88 10.0.0.9 ]",
        "192.0.2.64/26 originator-id 10.0.0.9",
    ] {
        exabgp::say(&fabric, "exabgp", &format!("announce route {route} next-hop 10.2.0.5"));
    }

    every_client_has_what_another_originates(&fabric);
    a_second_reflector_stays_in_the_path_and_loops_are_seen(&fabric);
    every_path_is_told_by_itself(&fabric);
}

/// With the originator and our cluster, and the next hop as it was.
fn every_client_has_what_another_originates(fabric: &Fabric) {
    let bird = bird_route(fabric, "198.51.100.0/24", 1);
    for line in ["next_hop: 10.2.0.3", "originator_id: 10.0.0.2", "cluster_list: 10.0.0.9"] {
        assert!(bird.contains(line), "no {line:?} in {bird}");
    }
    let six = bird_route(fabric, "2001:db8:2::/48", 1);
    for line in ["next_hop: fd00:2::3", "originator_id: 10.0.0.2", "cluster_list: 10.0.0.9"] {
        assert!(six.contains(line), "no {line:?} in {six}");
    }
    let frr = frr_paths(fabric, "ipv4", "203.0.113.0/24", 1);
    assert_eq!(frr[0]["nexthops"][0]["ip"], "10.2.0.4", "{frr:?}");
    assert_eq!(frr[0]["originatorId"], "10.0.0.3", "{frr:?}");
    assert_eq!(frr[0]["clusterList"]["list"], json!(["10.0.0.9"]), "{frr:?}");
    let gobgp = gobgp_paths(fabric, "198.51.100.0/24", 1);
    assert_eq!(attribute(&gobgp[0], 3)["nexthop"], "10.2.0.3", "{gobgp:?}");
    assert_eq!(attribute(&gobgp[0], 9)["value"], "10.0.0.2", "{gobgp:?}");
    assert_eq!(attribute(&gobgp[0], 10)["value"], json!(["10.0.0.9"]), "{gobgp:?}");
}

/// What has been through another reflector keeps its originator; what has been through us, or comes
/// from us, is kept from everybody.
fn a_second_reflector_stays_in_the_path_and_loops_are_seen(fabric: &Fabric) {
    let bird = bird_route(fabric, "192.0.2.128/25", 1);
    for line in ["originator_id: 10.0.0.77", "cluster_list: 10.0.0.9 10.0.0.88"] {
        assert!(bird.contains(line), "no {line:?} in {bird}");
    }
    let received = fabric.ask_json("rr", &["routed", "show", "received", "exabgp", "-o", "json"]);
    for (prefix, reason) in [
        ("192.0.2.0/25", "our cluster id is in the cluster list"),
        ("192.0.2.64/26", "we are its originator"),
    ] {
        let rows = received.as_array().into_iter().flatten();
        let row = rows.into_iter().find(|row| row["prefix"] == prefix);
        let row = row.unwrap_or_else(|| panic!("no {prefix} in {received}"));
        assert!(row["reason"].as_str().is_some_and(|text| text.contains(reason)), "{row}");
        let table = bird::route(fabric, "bird", "reflector", prefix);
        assert!(!table.contains("unicast"), "{table}");
    }
}

/// BIRD, GoBGP and, twice, ExaBGP have a route to 100.64.0.0/24; BIRD has two to 192.0.2.0/24, GoBGP
/// two to 100.65.0.0/24.
fn every_path_is_told_by_itself(fabric: &Fabric) {
    let hops = |paths: &[Value]| -> Vec<String> {
        let hop = |path: &Value| path["nexthops"][0]["ip"].as_str().unwrap_or_default().to_owned();
        let mut hops: Vec<_> = paths.iter().map(hop).collect();
        hops.sort();
        hops
    };
    let frr = frr_paths(fabric, "ipv4", "100.64.0.0/24", 4);
    assert_eq!(hops(&frr), ["10.2.0.2", "10.2.0.4", "10.2.0.5", "10.2.0.5"]);
    assert_eq!(hops(&frr_paths(fabric, "ipv4", "192.0.2.0/24", 2)), ["10.2.0.2", "10.2.0.2"]);
    let _ = frr_paths(fabric, "ipv4", "100.65.0.0/24", 2);
    // The client's own among them, as it has it.
    let _ = gobgp_paths(fabric, "100.64.0.0/24", 4);
    let bird = bird_route(fabric, "100.64.0.0/24", 3);
    assert_eq!(bird.matches("originator_id: 10.0.0.4").count(), 2, "{bird}");

    // One path goes, and no other.
    let gone = "withdraw route 100.64.0.0/24 path-information 1.1.1.1 next-hop 10.2.0.5";
    exabgp::say(fabric, "exabgp", gone);
    let frr = frr_paths(fabric, "ipv4", "100.64.0.0/24", 3);
    let communities: Vec<_> =
        frr.iter().filter_map(|path| path["community"]["string"].as_str()).collect();
    assert_eq!(communities, ["65000:2"]);
    let _ = bird_route(fabric, "100.64.0.0/24", 2);
}

/// What BIRD says of a prefix once it has as many paths by the reflector.
fn bird_route(fabric: &Fabric, prefix: &str, paths: usize) -> String {
    eventually(
        &format!("BIRD has {paths} paths to {prefix}"),
        || bird::route(fabric, "bird", "reflector", prefix),
        |table| table.matches("BGP.next_hop").count() == paths,
    )
}

/// FRR's paths to a prefix once there are as many.
fn frr_paths(fabric: &Fabric, family: &str, prefix: &str, count: usize) -> Vec<Value> {
    let command = format!("show bgp {family} unicast {prefix} json");
    eventually(
        &format!("FRR has {count} paths to {prefix}"),
        || list(&fabric.ask_json("frr", &["vtysh", "-c", &command])["paths"]),
        |paths| paths.len() == count,
    )
}

/// GoBGP's paths to a prefix once there are as many.
fn gobgp_paths(fabric: &Fabric, prefix: &str, count: usize) -> Vec<Value> {
    let look = || {
        let output = fabric.exec("gobgp", &["gobgp", "-j", "global", "rib", prefix]);
        // It fails as long as there is none.
        let text = output.expect("testbed starts").stdout;
        list(&serde_json::from_slice::<Value>(&text).unwrap_or_default()[prefix])
    };
    let enough = |paths: &Vec<Value>| paths.len() == count;
    eventually(&format!("GoBGP has {count} paths to {prefix}"), look, enough)
}

fn attribute(path: &Value, code: u64) -> Value {
    let all = list(&path["attrs"]);
    all.into_iter().find(|attribute| attribute["type"] == code).unwrap_or_default()
}

fn list(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}

const CLIENTS: [&str; 4] = ["bird", "frr", "gobgp", "exabgp"];

fn topology() -> String {
    let neighbor = "router-id 10.0.0.4; local-address 10.2.0.5; local-as 65000; peer-as 65000; \
                    hold-time 30; family { ipv4 unicast; } capability { add-path send/receive; }";
    ROUTERS.to_owned() + &exabgp::router("exabgp", 65000, "10.2.0.1", neighbor)
}

const ROUTERS: &str = r#"
[[lans]]
name = "lan1"
ipv4 = "10.2.0.0/24"
ipv6 = "fd00:2::/64"
members = ["rr", "bird", "frr", "gobgp", "exabgp"]
hub = "rr"

[[speakers]]
name = "rr"
asn = 65000
config = """
[node]
name = "rr"
mode = "speaker"
[bgp]
asn = 65000
router_id = "10.0.0.9"
hold_time = 30
connect_retry = 1
[[peer_groups]]
name = "clients"
asn = "internal"
route_reflector_client = true
add_path_receive = true
add_path_send = "all"
[[peers]]
name = "bird"
group = "clients"
address = "10.2.0.2"
[[peers]]
name = "frr"
group = "clients"
address = "10.2.0.3"
[[peers]]
name = "gobgp"
group = "clients"
address = "10.2.0.4"
[[peers]]
name = "exabgp"
group = "clients"
address = "10.2.0.5"
"""

[[tors]]
name = "bird"
asn = 65000
runs = "bird"
config = """
router id 10.0.0.1;
protocol device { }
protocol direct { ipv4; ipv6; interface "lan1"; }
protocol static plain {
    ipv4;
    route 192.0.2.0/24 blackhole;
    route 100.64.0.0/24 blackhole;
}
protocol static marked {
    ipv4 { import filter { bgp_community.add((65000,9)); accept; }; };
    route 192.0.2.0/24 blackhole;
}
protocol bgp reflector {
    local 10.2.0.2 as 65000;
    neighbor 10.2.0.1 as 65000;
    connect delay time 1;
    ipv4 { import all; export where source = RTS_STATIC; next hop self; add paths on; };
    ipv6 { import all; export none; add paths on; };
}
"""

[[tors]]
name = "frr"
asn = 65000
runs = "frr"
config = """
frr defaults datacenter
router bgp 65000
 bgp router-id 10.0.0.2
 no bgp default ipv4-unicast
 no bgp network import-check
 neighbor 10.2.0.1 remote-as 65000
 neighbor 10.2.0.1 timers connect 1
 address-family ipv4 unicast
  network 198.51.100.0/24
  neighbor 10.2.0.1 activate
 exit-address-family
 address-family ipv6 unicast
  network 2001:db8:2::/48
  neighbor 10.2.0.1 activate
 exit-address-family
exit
"""

[[tors]]
name = "gobgp"
asn = 65000
runs = "none"
command = ["gobgpd", "-f", "/etc/gobgpd.toml", "--pprof-disable"]
[tors.files]
"/etc/gobgpd.toml" = """
[global.config]
as = 65000
router-id = "10.0.0.3"
[[neighbors]]
[neighbors.config]
neighbor-address = "10.2.0.1"
peer-as = 65000
[neighbors.timers.config]
connect-retry = 1
hold-time = 30
[[neighbors.afi-safis]]
[neighbors.afi-safis.config]
afi-safi-name = "ipv4-unicast"
[neighbors.afi-safis.add-paths.config]
receive = true
send-max = 8
"""
"#;
