//! The main job: pods on different nodes reach each other across a routed fabric, whichever of
//! its top-of-rack routers lives.
//!
//! Needs the binaries of the workspace, BIRD and FRR; root or user namespaces.

use tests::fabric::{Fabric, eventually, kernel};

#[test]
fn pods_reach_each_other_over_bird_and_frr_at_once_and_over_either_alone() {
    let fabric = Fabric::established(TWO_TORS);
    routed_over(&fabric, &BOTH);
    let before = kernel::state(&fabric, "node1");
    for node in ["node1", "node2"] {
        let result = fabric.pod_add(node, "web").expect("the plugin adds a pod");
        assert_eq!(result["ips"].as_array().map(Vec::len), Some(2), "{result}");
        fabric.pod_check(node, "web").expect("the plugin finds it as it was made");
    }
    pings_go_over(&fabric, &BOTH);

    // The router dies without a word.
    fabric.kill("tor2").expect("FRR dies");
    pings_go_over(&fabric, &["tor1"]);
    fabric.start("tor2").expect("FRR starts");
    pings_go_over(&fabric, &BOTH);

    // All its cables are cut.
    fabric.cut("tor1").expect("the router is there");
    pings_go_over(&fabric, &["tor2"]);
    fabric.mend("tor1").expect("the router is there");
    routed_over(&fabric, &BOTH);
    // With their carriers, links look for their IPv6 neighbours anew, which may cost a packet.
    let pings = || fabric.ping("node1/web", &["node2/web"]).expect("it pings");
    eventually("no packet is lost", pings, |all| all.iter().all(|tally| tally.lost() == 0));
    pings_go_over(&fabric, &BOTH);

    fabric.pod_del("node1", "web").expect("the plugin removes the pod");
    let gone = fabric.ping("node2/web", &["10.244.11.1", "fd00:10:244:11::1"]).expect("it pings");
    assert!(gone.iter().all(|tally| tally.received == 0), "{gone:?}");
    kernel::settles_to(&fabric, "node1", &before);
}

/// Each node forwards the other's pods over exactly these routers, and these forward them on.
fn routed_over(fabric: &Fabric, tors: &[&str]) {
    fabric.kernel_leads("node1", &PODS_OF_NODE2, tors);
    fabric.kernel_leads("node2", &PODS_OF_NODE1, tors);
    for tor in tors {
        fabric.kernel_leads(tor, &PODS_OF_NODE1, &["node1"]);
        fabric.kernel_leads(tor, &PODS_OF_NODE2, &["node2"]);
    }
}

fn pings_go_over(fabric: &Fabric, tors: &[&str]) {
    routed_over(fabric, tors);
    fabric.pings("node1/web", &["node2/web"]);
    fabric.pings("node2/web", &["node1/web"]);
}

#[test]
fn a_pod_is_reachable_through_the_whole_fabric_as_soon_as_add_has_answered() {
    let fabric = Fabric::established(TWO_TORS);
    routed_over(&fabric, &BOTH);
    fabric.pod_add("node1", "first").expect("the plugin adds a pod");
    for pod in ["a", "b", "c"] {
        fabric.pod_add("node2", pod).expect("the plugin adds a pod");
        fabric.pings("node1/first", &[&format!("node2/{pod}")]);
    }
}

const BOTH: [&str; 2] = ["tor1", "tor2"];
const PODS_OF_NODE1: [&str; 2] = ["10.244.11.0/24", "fd00:10:244:11::/64"];
const PODS_OF_NODE2: [&str; 2] = ["10.244.12.0/24", "fd00:10:244:12::/64"];

const TWO_TORS: &str = r#"
links = [["tor1", "node1"], ["tor1", "node2"], ["tor2", "node1"], ["tor2", "node2"]]
[[tors]]
name = "tor1"
asn = 4200000001
runs = "bird"
[[tors]]
name = "tor2"
asn = 4200000002
runs = "frr"
[[nodes]]
name = "node1"
asn = 4200000011
pods = ["10.244.11.0/24", "fd00:10:244:11::/64"]
[[nodes]]
name = "node2"
asn = 4200000012
pods = ["10.244.12.0/24", "fd00:10:244:12::/64"]
"#;
