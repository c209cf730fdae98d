//! Routes both ways and in both families between the daemon and the routers of a fabric, as each
//! side's own tools tell them: prefix, next hop, AS path, communities, MED.
//!
//! Needs the binaries of the workspace, BIRD, FRR and GoBGP; root or user namespaces.

use std::net::IpAddr;

use tests::fabric::{Fabric, Seen, bird, eventually, frr, gobgp, routed};

#[test]
fn bird_and_we_hold_each_others_routes_until_they_are_withdrawn() {
    let fabric = Fabric::established(&pair("bird", BIRD_ROUTES));
    let ours = |fabric: &Fabric| bird::learned(fabric, "tor1", "node1");
    ours_arrive(&fabric, ours);

    let marked =
        [bird::learned(&fabric, "tor1", "marked4"), bird::learned(&fabric, "tor1", "marked6")];
    theirs_arrive(&fabric, &marked.concat());

    let _ = fabric.ask("tor1", &["birdc", "disable", "marked4"]);
    their_ipv4_route_goes(&fabric);
    ours_go_with_the_daemon_and_return(&fabric, ours);
}

#[test]
fn frr_and_we_hold_each_others_routes_until_they_are_withdrawn() {
    let fabric = Fabric::established(&pair("frr", FRR_ROUTES));
    let ours = |fabric: &Fabric| frr::learned(fabric, "tor1", "10.1.0.1");
    ours_arrive(&fabric, ours);

    theirs_arrive(&fabric, &frr::learned(&fabric, "tor1", "(unspec)"));

    let mut withdraw = vec!["vtysh"];
    for line in [
        "configure terminal",
        "router bgp 4200000001",
        "address-family ipv4 unicast",
        "no network 198.51.100.0/24",
    ] {
        withdraw.extend(["-c", line]);
    }
    let _ = fabric.ask("tor1", &withdraw);
    their_ipv4_route_goes(&fabric);
    ours_go_with_the_daemon_and_return(&fabric, ours);
}

#[test]
fn gobgp_and_we_hold_each_others_routes_until_they_are_withdrawn() {
    let fabric = Fabric::up(&pair("none", GOBGP));
    eventually(
        "the session stands",
        || routed::peer(&fabric, "node1", "tor1"),
        |peer| peer["state"] == "Established",
    );
    let ours = |fabric: &Fabric| gobgp::received(fabric, "tor1", "10.1.0.1");
    ours_arrive(&fabric, ours);

    for route in [
        "198.51.100.0/24 nexthop 10.1.0.0 community 65001:7 large-community 4200000001:1:2 aspath 64999",
        "-a ipv6 2001:db8:51::/48 nexthop fd00:1:: community 65001:7 aspath 64999",
    ] {
        let argv: Vec<&str> =
            ["gobgp", "global", "rib", "add"].into_iter().chain(route.split(' ')).collect();
        let _ = fabric.ask("tor1", &argv);
    }
    let told = gobgp::advertised(&fabric, "tor1", "10.1.0.1");
    assert_eq!(told.len(), 2, "{told:#?}");
    their_routes_are(&fabric, &told);

    let _ = fabric.ask("tor1", &["gobgp", "global", "rib", "del", "198.51.100.0/24"]);
    their_ipv4_route_goes(&fabric);
    ours_go_with_the_daemon_and_return(&fabric, ours);
}

#[test]
fn range_that_goes_from_the_configuration_is_withdrawn_and_nothing_else_happens() {
    let fabric = Fabric::established(&pair("bird", BIRD_ROUTES));
    let ours = |fabric: &Fabric| bird::learned(fabric, "tor1", "node1");
    ours_arrive(&fabric, ours);
    let file = fabric.path_of("node1", "/etc/slash32/routed.toml").expect("a router's own file");
    let whole = std::fs::read_to_string(&file).expect("it is there");
    let without = whole.replace("ipv6 = [\"fd00:10:244:11::/64\"]\n", "");
    assert_ne!(whole, without);

    std::fs::write(&file, &without).expect("it can be written");
    let _ = fabric.ask("node1", &["routed", "reload"]);

    eventually("only IPv4 is left", || ours(&fabric), |held| *held == expected_of_ours()[..1]);
    fabric.kernel_leads("node1", &THEIRS, &["tor1"]);
    std::fs::write(&file, &whole).expect("it can be written");
    let _ = fabric.ask("node1", &["routed", "reload"]);
    eventually("both are back", || ours(&fabric), |held| *held == expected_of_ours());
    assert_eq!(routed::peer(&fabric, "node1", "tor1")["established_count"], 1);
}

/// The other side holds exactly what our tool says that we have told it.
fn ours_arrive(fabric: &Fabric, held: impl Fn(&Fabric) -> Vec<Seen>) {
    let held = eventually("our routes on the ToR", || held(fabric), |held| held.len() == 2);
    assert_eq!(held, routed::advertised(fabric, "node1", "tor1"));
    assert_eq!(held, expected_of_ours());
}

/// What the policy `marked` makes of the node's pod ranges.
fn expected_of_ours() -> Vec<Seen> {
    let ours = |prefix: &str, next_hop: &str| Seen {
        prefix: prefix.parse().expect("a prefix"),
        next_hop: next_hop.parse().expect("an address"),
        as_path: vec![4_200_000_011],
        communities: ["65011:100".to_owned()].into(),
        large_communities: ["4200000011:0:1".to_owned()].into(),
        med: Some(20),
    };
    vec![ours("10.244.11.0/24", "10.1.0.1"), ours("fd00:10:244:11::/64", "fd00:1::1")]
}

/// We hold what the ToR says that it has, passed on by the ToR.
fn theirs_arrive(fabric: &Fabric, originated: &[Seen]) {
    assert_eq!(originated.len(), 2, "{originated:#?}");
    let next_hops: [IpAddr; 2] = ["10.1.0.0", "fd00:1::"].map(|hop| hop.parse().expect("a hop"));
    let passed_on: Vec<Seen> =
        originated.iter().map(|seen| seen.clone().passed_on_by(4_200_000_001, next_hops)).collect();
    their_routes_are(fabric, &passed_on);
}

fn their_routes_are(fabric: &Fabric, expected: &[Seen]) {
    let received = eventually(
        "the ToR's routes on the node",
        || routed::received(fabric, "node1", "tor1"),
        |received| received.len() == 2,
    );
    assert_eq!(received, expected);
    for seen in expected {
        assert_eq!(seen.as_path, [4_200_000_001, 64_999]);
        assert!(seen.communities.contains("65001:7"), "{seen:#?}");
    }
    assert!(expected[0].large_communities.contains("4200000001:1:2"), "{expected:#?}");
    fabric.kernel_leads("node1", &THEIRS, &["tor1"]);
}

fn their_ipv4_route_goes(fabric: &Fabric) {
    fabric.kernel_leads("node1", &THEIRS[..1], &[]);
    fabric.kernel_leads("node1", &THEIRS[1..], &["tor1"]);
    let received = routed::received(fabric, "node1", "tor1");
    let prefixes: Vec<String> = received.iter().map(|seen| seen.prefix.to_string()).collect();
    assert_eq!(prefixes, [THEIRS[1]]);
}

fn ours_go_with_the_daemon_and_return(fabric: &Fabric, held: impl Fn(&Fabric) -> Vec<Seen>) {
    fabric.stop("node1").expect("the daemon ends");
    eventually("our routes go", || held(fabric), Vec::is_empty);
    fabric.start("node1").expect("the daemon starts");
    eventually("our routes return", || held(fabric), |held| *held == expected_of_ours());
}

const THEIRS: [&str; 2] = ["198.51.100.0/24", "2001:db8:51::/48"];

/// A ToR and a node that marks what it announces.
fn pair(tor_runs: &str, tor: &str) -> String {
    format!(
        r#"
links = [["tor1", "node1"]]
[[tors]]
name = "tor1"
asn = 4200000001
runs = "{tor_runs}"
{tor}
[[nodes]]
name = "node1"
asn = 4200000011
pods = ["10.244.11.0/24", "fd00:10:244:11::/64"]
config = """
[node]
name = "node1"
[bgp]
asn = 4200000011
router_id = "10.0.0.11"
hold_time = 9
connect_retry = 1
import = "all"
export = "marked"
[[peers]]
name = "tor1"
address = "10.1.0.0"
asn = 4200000001
graceful_restart = false
[pods]
ipv4 = ["10.244.11.0/24"]
ipv6 = ["fd00:10:244:11::/64"]
[[policies]]
name = "marked"
default = "reject"
[[policies.statements]]
source = "local"
set = {{ med = 20, add_communities = ["65011:100"], add_large_communities = ["4200000011:0:1"] }}
action = "accept"
"""
"#
    )
}

const BIRD_ROUTES: &str = r#"
extra_config = """
protocol static marked4 {
    ipv4;
    route 198.51.100.0/24 blackhole {
        bgp_path.prepend(64999);
        bgp_community.add((65001,7));
        bgp_large_community.add((4200000001,1,2));
    };
}
protocol static marked6 {
    ipv6;
    route 2001:db8:51::/48 blackhole {
        bgp_path.prepend(64999);
        bgp_community.add((65001,7));
    };
}
"""
"#;

const FRR_ROUTES: &str = r#"
extra_config = """
route-map marked4 permit 10
 set as-path prepend 64999
 set community 65001:7
 set large-community 4200000001:1:2
exit
route-map marked6 permit 10
 set as-path prepend 64999
 set community 65001:7
exit
router bgp 4200000001
 address-family ipv4 unicast
  network 198.51.100.0/24 route-map marked4
 exit-address-family
 address-family ipv6 unicast
  network 2001:db8:51::/48 route-map marked6
 exit-address-family
exit
"""
"#;

const GOBGP: &str = r#"
command = ["gobgpd", "-f", "/etc/gobgpd.toml", "--pprof-disable"]
[tors.files]
"/etc/gobgpd.toml" = """
[global.config]
as = 4200000001
router-id = "10.0.0.1"
[[neighbors]]
[neighbors.config]
neighbor-address = "10.1.0.1"
peer-as = 4200000011
[neighbors.timers.config]
connect-retry = 1
hold-time = 9
[[neighbors.afi-safis]]
[neighbors.afi-safis.config]
afi-safi-name = "ipv4-unicast"
[[neighbors.afi-safis]]
[neighbors.afi-safis.config]
afi-safi-name = "ipv6-unicast"
"""
"#;
