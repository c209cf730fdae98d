//! A fabric without addresses on its links: pods of both families reach each other over FRR and
//! BIRD, whichever of them lives.
//!
//! Needs the binaries of the workspace, BIRD and FRR; root or user namespaces.

use tests::fabric::{Fabric, routed};

const TOPOLOGY: &str = include_str!("../../testbed/topologies/unnumbered.toml");
const BOTH: [&str; 2] = ["tor1", "tor2"];
const PODS_OF_NODE1: [&str; 2] = ["10.244.11.0/24", "fd00:10:244:11::/64"];
const PODS_OF_NODE2: [&str; 2] = ["10.244.12.0/24", "fd00:10:244:12::/64"];

#[test]
fn pods_reach_each_other_over_unnumbered_links_and_over_either_router_alone() {
    let fabric = Fabric::established(TOPOLOGY);
    for node in ["node1", "node2"] {
        fabric.pod_add(node, "web").expect("the plugin adds a pod");
        for tor in BOTH {
            let peer = routed::peer(&fabric, node, tor);
            assert_eq!(peer["interface"], tor, "{peer}");
            assert!(peer["address"].as_str().is_some_and(|addr| addr.starts_with("fe80:")));
        }
    }
    pings_go_over(&fabric, &BOTH);
    fabric.cut("tor1").expect("the router is there");
    pings_go_over(&fabric, &["tor2"]);
    fabric.mend("tor1").expect("the router is there");
    pings_go_over(&fabric, &BOTH);
    fabric.kill("tor2").expect("BIRD dies");
    pings_go_over(&fabric, &["tor1"]);
}

fn pings_go_over(fabric: &Fabric, tors: &[&str]) {
    fabric.kernel_leads("node1", &PODS_OF_NODE2, tors);
    fabric.kernel_leads("node2", &PODS_OF_NODE1, tors);
    for tor in tors {
        fabric.kernel_leads(tor, &PODS_OF_NODE1, &["node1"]);
        fabric.kernel_leads(tor, &PODS_OF_NODE2, &["node2"]);
    }
    fabric.pings("node1/web", &["node2/web"]);
    fabric.pings("node2/web", &["node1/web"]);
}
