//! NAT outgoing: pods are seen outside of the cluster by an address of the node, and by their own
//! everywhere else; what others do to the rules is put right; what is switched off leaves nothing.
//!
//! Needs root, iproute2 and nftables.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics where it stands")]

use std::{
    fs,
    net::IpAddr,
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tests::{
    node::{Node, Pod, on_a_node, program, try_run},
    runtime::{Attachment, Runtime},
};

const RANGES: &str = "ipv4 = [\"10.244.1.0/24\"]\nipv6 = [\"fd00:10:244:1::/64\"]\ncooldown = 0\n";
const NAT: &str = "nat_outgoing = true\ncluster_ranges = [\"10.244.0.0/16\", \"fd00:10:244::/48\"]\n\
                   nat_exclude = [\"203.0.113.0/24\", \"2001:db8:203::/48\"]\n";
const PORT: u16 = 8000;

/// Somebody outside of the cluster, a pod of another node and somebody in the excluded range, all
/// behind the node's uplink.
const OUTSIDE: [&str; 2] = ["198.51.100.2", "2001:db8:1::2"];
const OTHER_POD: [&str; 2] = ["10.244.9.1", "fd00:10:244:9::1"];
const EXCLUDED: [&str; 2] = ["203.0.113.1", "2001:db8:203::1"];
/// The node's addresses on its uplink, and those that it has on no link.
const UPLINK: [&str; 2] = ["198.51.100.1", "2001:db8:1::1"];
const LOOPBACK: [&str; 2] = ["192.0.2.1", "2001:db8::1"];

/// A pod on the node, and the rest of the world.
struct World {
    pod: Pod,
    world: Pod,
    own: [String; 2],
}

impl World {
    fn new(node: &Node) -> Self {
        let world = Pod::new("world");
        node.run(&format!("ip link add up0 type veth peer name out0 netns {}", world.netns_path()));
        let on_node = [
            "ip link set up0 up",
            "ip address add 198.51.100.1/24 dev up0",
            "ip address add 2001:db8:1::1/64 dev up0 nodad",
            "ip route add 10.244.9.0/24 via 198.51.100.2",
            "ip route add 203.0.113.0/24 via 198.51.100.2",
            "ip route add fd00:10:244:9::/64 via 2001:db8:1::2",
            "ip route add 2001:db8:203::/48 via 2001:db8:1::2",
        ];
        on_node.iter().for_each(|command| drop(node.run(command)));
        for command in [
            "ip link set lo up",
            "ip link set out0 up",
            "ip address add 198.51.100.2/24 dev out0",
            "ip address add 2001:db8:1::2/64 dev out0 nodad",
            "ip address add 10.244.9.1/32 dev lo",
            "ip address add 203.0.113.1/32 dev lo",
            "ip address add fd00:10:244:9::1/128 dev lo nodad",
            "ip address add 2001:db8:203::1/128 dev lo nodad",
            // Where a pod's own address leads somewhere, it would be seen if it were not translated.
            "ip route add default via 198.51.100.1",
            "ip -6 route add default via 2001:db8:1::1",
        ] {
            node.inside(&world, command).unwrap();
        }
        node.tell_address(&world, PORT);
        let pod = Pod::new("a");
        let network = network(node);
        let result = Runtime::default().add(&Attachment::new(&network, &pod, "eth0")).unwrap();
        let own = [0, 1].map(|i| {
            let address = result["ips"][i]["address"].as_str().unwrap();
            address.split_once('/').unwrap().0.to_owned()
        });
        Self { pod, world, own }
    }

    /// The pod is seen so there, in both families.
    #[track_caller]
    fn is_seen(&self, node: &Node, there: [&str; 2], seen: [&str; 2]) {
        for (at, seen) in there.into_iter().zip(seen) {
            let is = node.seen_as(&self.pod, (at.parse::<IpAddr>().unwrap(), PORT).into());
            assert_eq!(is, Ok(seen.parse().unwrap()), "by {at}\n{}", rules(node));
        }
    }

    #[track_caller]
    fn is_seen_by_its_own(&self, node: &Node, there: [&str; 2]) {
        self.is_seen(node, there, [&self.own[0], &self.own[1]]);
    }
}

fn network(node: &Node) -> Value {
    let ours = json!({"type": "slash32", "socket": node.path("cni.sock")});
    json!({"cniVersion": "1.1.0", "name": "pods", "plugins": [ours]})
}

fn rules(node: &Node) -> String {
    node.run("nft list ruleset")
}

/// The node goes on with other lines in `[pods]`.
fn reload(node: &Node, pods: &str) -> String {
    let file = node.path("routed.toml");
    let text = fs::read_to_string(&file).unwrap();
    let (before, _) = text.split_once("[pods]").unwrap();
    fs::write(&file, format!("{before}[pods]\n{pods}")).unwrap();
    node.routed("reload").unwrap()
}

#[track_caller]
fn soon(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        thread::sleep(Duration::from_millis(20));
    }
}

fn has_table(node: &Node) -> bool {
    node.run("nft list tables").contains("inet slash32-nat")
}

#[test]
fn outside_sees_the_node_and_pods_and_excluded_ranges_see_the_pod() {
    on_a_node(&format!("{RANGES}{NAT}"), |node| {
        let world = World::new(node);
        world.is_seen(node, OUTSIDE, UPLINK);
        world.is_seen_by_its_own(node, OTHER_POD);
        world.is_seen_by_its_own(node, EXCLUDED);
        // Another pod of the node, and the node itself.
        let other = Pod::new("b");
        let network = network(node);
        let result = Runtime::default().add(&Attachment::new(&network, &other, "eth0")).unwrap();
        node.tell_address(&other, PORT);
        let beside = [0, 1].map(|i| result["ips"][i]["address"].as_str().unwrap());
        let beside = beside.map(|address| address.split_once('/').unwrap().0);
        world.is_seen_by_its_own(node, beside);
        // Who connects to the pod is answered by the pod.
        node.tell_address(&world.pod, PORT);
        for (own, seen) in world.own.iter().zip(OUTSIDE) {
            let at = (own.parse::<IpAddr>().unwrap(), PORT).into();
            assert_eq!(node.seen_as(&world.world, at), Ok(seen.parse().unwrap()));
        }
    });
}

#[test]
fn reload_switches_it_on_changes_it_and_switches_it_off_without_a_trace() {
    on_a_node(RANGES, |node| {
        let world = World::new(node);
        world.is_seen_by_its_own(node, OUTSIDE);
        assert!(!has_table(node));
        let said = reload(node, &format!("{RANGES}{NAT}"));
        assert!(said.contains("pods.nat_outgoing"), "{said}");
        soon("the table comes", || has_table(node));
        world.is_seen(node, OUTSIDE, UPLINK);
        let pools = node.routed("show pools").unwrap();
        assert!(pools.contains("outgoing"), "{pools}");
        let addresses = "nat_addresses = [\"192.0.2.1\", \"2001:db8::1\"]\n";
        reload(node, &format!("{RANGES}{NAT}{addresses}"));
        soon("other rules", || rules(node).contains("snat"));
        world.is_seen(node, OUTSIDE, LOOPBACK);
        world.is_seen_by_its_own(node, EXCLUDED);
        reload(node, RANGES);
        soon("the table goes", || !has_table(node));
        world.is_seen_by_its_own(node, OUTSIDE);
        let pools = node.routed("show pools").unwrap();
        assert!(!pools.contains("outgoing"), "{pools}");
    });
}

#[test]
fn what_others_do_to_the_rules_is_put_right_also_after_the_daemon_was_away() {
    on_a_node(&format!("{RANGES}{NAT}"), |node| {
        let world = World::new(node);
        soon("the table is there", || has_table(node));
        let before = node.run("nft --stateless list table inet slash32-nat");
        let is_back = || {
            try_run("nft --stateless list table inet slash32-nat").is_ok_and(|now| now == before)
        };
        for damage in [
            "nft delete table inet slash32-nat",
            "nft flush ruleset",
            "nft flush chain inet slash32-nat postrouting",
            "nft delete element inet slash32-nat direct4 { 224.0.0.0/4 }",
        ] {
            node.run(damage);
            soon(damage, is_back);
            world.is_seen(node, OUTSIDE, UPLINK);
        }
        node.kill();
        // Without the daemon it goes on.
        world.is_seen(node, OUTSIDE, UPLINK);
        node.run("nft delete table inet slash32-nat");
        node.start();
        soon("a new daemon", is_back);
        world.is_seen(node, OUTSIDE, UPLINK);
        // What a former run has left and nobody wants any more.
        node.kill();
        let file = node.path("routed.toml");
        let text = fs::read_to_string(&file).unwrap().replace("nat_outgoing = true", "");
        fs::write(&file, text).unwrap();
        node.start();
        soon("the table goes", || !has_table(node));
    });
}

#[test]
fn cleanup_removes_the_rules() {
    on_a_node(&format!("{RANGES}{NAT}"), |node| {
        soon("the table is there", || has_table(node));
        node.kill();
        node.run("nft add table inet other");
        let cleanup = format!(
            "{} cleanup --config {}",
            program("routed").display(),
            node.path("routed.toml").display()
        );
        let removed = node.run(&cleanup);
        assert!(removed.contains("removed nftables table inet slash32-nat"), "{removed}");
        assert_eq!(node.run("nft list tables").trim(), "table inet other");
    });
}
