//! What sessions can do beyond plain BGP, agreed on with BIRD and FRR and used: several paths to a
//! prefix, long messages, roles, enhanced refresh, and restarts of the other side.
//!
//! Needs the binaries of the workspace, BIRD and FRR; root or user namespaces.

use serde_json::Value;
use tests::fabric::{Fabric, bird, eventually, routed};

#[test]
fn bird_agrees_on_every_option_that_it_has() {
    let bird = r#"
router id 10.0.0.1;
protocol device { }
protocol static { ipv4; route 192.0.2.0/24 blackhole; }
protocol bgp node1 {
    local 10.1.0.0 as 4200000001;
    neighbor 10.1.0.1 as 4200000011;
    local role provider;
    enable extended messages on;
    graceful restart on;
    long lived graceful restart on;
    ipv4 { import all; export all; next hop self; add paths on; };
    ipv6 { import all; export all; next hop self; add paths on; };
}
"#;
    let fabric = Fabric::established(&pair("bird", bird, "role = \"customer\""));
    let told = capabilities(&fabric);
    for expected in [
        "enhanced route refresh",
        "extended messages",
        "add-path (receives ipv4 and ipv6)",
        "add-path (sends ipv4 and ipv6)",
        "graceful restart (120 s for ipv4 and ipv6",
        "long-lived graceful restart (ipv4 and ipv6)",
        "roles (customer here, provider there)",
    ] {
        assert!(told.contains(expected), "no {expected:?} in {told}");
    }
    let neighbour = fabric.ask("tor1", &["birdc", "show", "protocols", "all", "node1"]);
    for expected in
        ["Extended message", "Role: customer", "ADD-PATH", "Enhanced refresh", "Long-lived"]
    {
        assert!(neighbour.contains(expected), "no {expected:?} in\n{neighbour}");
    }
    // Routes with path identifiers, both ways.
    fabric.kernel_leads("node1", &["192.0.2.0/24"], &["tor1"]);
    eventually(
        "BIRD has the node's range",
        || fabric.ask("tor1", &["birdc", "show", "route", "10.244.11.0/24", "all"]),
        |text| text.contains("via 10.1.0.1"),
    );
}

#[test]
fn a_role_that_does_not_fit_keeps_bird_out_and_both_sides_say_so() {
    let bird = r#"
router id 10.0.0.1;
protocol device { }
protocol bgp node1 {
    local 10.1.0.0 as 4200000001;
    neighbor 10.1.0.1 as 4200000011;
    local role provider;
    ipv4 { import all; export all; };
}
"#;
    let fabric = Fabric::up(&pair("bird", bird, "role = \"provider\""));
    routed::last_error(&fabric, "node1", "tor1", "Role Mismatch");
    let peer = routed::peer(&fabric, "node1", "tor1");
    assert!(peer["remedy"].as_str().is_some_and(|text| text.contains("roles")), "{peer}");
    assert_eq!(peer["established_count"], 0);
}

#[test]
fn several_paths_come_from_frr_with_their_identifiers() {
    let frr = r#"
frr defaults datacenter
router bgp 4200000001
 bgp router-id 10.0.0.1
 no bgp ebgp-requires-policy
 no bgp default ipv4-unicast
 no bgp network import-check
 neighbor 10.1.0.1 remote-as 4200000011
 address-family ipv4 unicast
  network 192.0.2.0/24
  neighbor 10.1.0.1 activate
  neighbor 10.1.0.1 addpath-tx-all-paths
  neighbor 10.1.0.1 next-hop-self
 exit-address-family
exit
"#;
    let fabric = Fabric::established(&pair("frr", frr, ""));
    let told = capabilities(&fabric);
    assert!(told.contains("add-path (receives ipv4"), "{told}");
    assert!(told.contains("graceful restart"), "{told}");
    fabric.kernel_leads("node1", &["192.0.2.0/24"], &["tor1"]);
    // FRR has heard the node's own, by the same session.
    fabric.kernel_leads("tor1", &["10.244.11.0/24"], &["node1"]);
}

/// The node helps a ToR over its restart: what the ToR announced stays in the node's kernel while
/// it is away, and nothing has to be announced for that.
#[test]
fn routes_of_a_killed_router_with_graceful_restart_stay_until_it_is_back() {
    let bird = r#"
router id 10.0.0.1;
protocol device { }
protocol static { ipv4; route 192.0.2.0/24 blackhole; }
protocol bgp node1 {
    local 10.1.0.0 as 4200000001;
    neighbor 10.1.0.1 as 4200000011;
    graceful restart on;
    graceful restart time 30;
    hold time 9;
    ipv4 { import all; export all; next hop self; };
}
"#;
    let fabric = Fabric::established(&pair("bird", bird, ""));
    fabric.kernel_leads("node1", &["192.0.2.0/24"], &["tor1"]);
    fabric.kill("tor1").expect("it dies");
    let kept = eventually(
        "the node has noticed, and keeps the route as stale",
        || routed::peer(&fabric, "node1", "tor1"),
        |peer| peer["state"] != "Established",
    );
    assert_eq!(kept["routes"][0]["stale"], 1, "{kept}");
    std::thread::sleep(std::time::Duration::from_secs(2));
    fabric.kernel_leads("node1", &["192.0.2.0/24"], &["tor1"]);
    fabric.start("tor1").expect("it starts");
    fabric.sessions_stand();
    eventually(
        "the route is current again",
        || routed::peer(&fabric, "node1", "tor1")["routes"][0].clone(),
        |routes| routes["stale"] == 0 && routes["received"] == 1,
    );
    fabric.kernel_leads("node1", &["192.0.2.0/24"], &["tor1"]);

    // A router that does not come back is waited for no longer than it asked.
    fabric.kill("tor1").expect("it dies");
    fabric.kernel_leads("node1", &["192.0.2.0/24"], &[]);
}

/// Each side keeps what the other has announced beyond its restart time, marked as the last choice.
#[test]
fn rfc9494_bird_and_we_keep_each_others_routes_as_long_lived_stale() {
    let bird = r#"
router id 10.0.0.1;
protocol device { }
protocol static { ipv4; route 192.0.2.0/24 blackhole; }
protocol bgp node1 {
    local 10.1.0.0 as 4200000001;
    neighbor 10.1.0.1 as 4200000011;
    graceful restart on;
    graceful restart time 1;
    long lived graceful restart on;
    long lived stale time 60;
    connect delay time 1;
    ipv4 { import all; export all; next hop self; };
}
"#;
    let fabric = Fabric::established(&pair("bird", bird, "restart_time = 1"));
    fabric.kernel_leads("node1", &["192.0.2.0/24"], &["tor1"]);
    let ours_marked = |marked: bool| {
        let show = ["routed", "show", "routes", "192.0.2.0/24", "-o", "json"];
        eventually(
            "the ToR's route at the node",
            || fabric.ask("node1", &show),
            |route| route.contains("\"best\"") && route.contains("llgr-stale") == marked,
        );
        fabric.kernel_leads("node1", &["192.0.2.0/24"], &["tor1"]);
    };
    let theirs_marked = |marked: bool| {
        eventually(
            "the node's route at BIRD",
            || bird::route(&fabric, "tor1", "node1", "10.244.11.0/24"),
            |route| route.contains("via 10.1.0.1") && route.contains("(65535,6)") == marked,
        );
    };
    ours_marked(false);
    fabric.kill("tor1").expect("it dies");
    ours_marked(true);
    fabric.start("tor1").expect("it starts");
    fabric.sessions_stand();
    ours_marked(false);

    theirs_marked(false);
    fabric.kill("node1").expect("it dies");
    theirs_marked(true);
    fabric.start("node1").expect("it starts");
    theirs_marked(false);
    ours_marked(false);
}

fn capabilities(fabric: &Fabric) -> String {
    let peer = routed::peer(fabric, "node1", "tor1");
    assert_eq!(peer["state"], "Established", "{peer}");
    let words = peer["capabilities"].as_array().into_iter().flatten().filter_map(Value::as_str);
    words.collect::<Vec<_>>().join("; ")
}

/// A ToR with this configuration, and a node that takes and sends several paths and has `keys`.
fn pair(runs: &str, tor: &str, keys: &str) -> String {
    format!(
        r#"
links = [["tor1", "node1"]]
[[tors]]
name = "tor1"
asn = 4200000001
runs = "{runs}"
config = """{tor}"""
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
export = "originated"
[[peers]]
name = "tor1"
address = "10.1.0.0"
asn = 4200000001
add_path_receive = true
add_path_send = "all"
long_lived_stale_time = {{ ipv4 = 60, ipv6 = 60 }}
{keys}
[pods]
ipv4 = ["10.244.11.0/24"]
ipv6 = ["fd00:10:244:11::/64"]
"""
"#
    )
}
