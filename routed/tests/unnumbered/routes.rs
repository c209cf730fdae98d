//! Sessions by interface alone, and what they carry.

use crate::lab::{Host, cable, pair, until};

const PEER: &str = "[[peers]]\ninterface = \"eth1\"\n";

#[test]
fn an_interface_is_all_that_two_routers_need_to_reach_each_others_ranges_in_both_families() {
    let (mut a, mut b) = pair();
    a.routed(1, PEER);
    b.routed(2, PEER);
    until("established", || a.is_established() && b.is_established());

    let (peer, address) = (a.peer(), b.link_local("eth1").unwrap());
    assert_eq!((&peer["address"], &peer["interface"]), (&address.into(), &"eth1".into()));
    assert_eq!(peer["asn"], 65_002);
    for (near, far, number) in [(&a, &b, 2), (&b, &a, 1)] {
        let gateway = far.link_local("eth1").unwrap();
        let (four, six) = (format!("10.244.{number}.0/24"), format!("fd00:10:244:{number}::/64"));
        until("IPv6 in the kernel", || near.route(&six) == [format!("{gateway} eth1")]);
        until("IPv4 by IPv6", || near.route(&four) == [format!("inet6 {gateway} eth1")]);
    }
    until("IPv4 reaches", || a.reaches("10.244.1.1", "10.244.2.1"));
    until("IPv6 reaches", || b.reaches("fd00:10:244:2::1", "fd00:10:244:1::1"));
    // The kernel of neither has taken a default route from the other's advertisements.
    for host in [&a, &b] {
        assert_eq!(host.ip("-6 route show default"), "");
        assert_eq!(host.ip("-4 route show default"), "");
    }
}

#[test]
fn two_links_with_the_same_link_local_address_at_the_far_end_are_two_ways() {
    let (mut node, mut left, mut right) =
        (Host::new("node"), Host::new("left"), Host::new("right"));
    cable((&node, "eth1"), (&left, "eth1"));
    cable((&node, "eth2"), (&right, "eth1"));
    for tor in [&left, &right] {
        tor.ip("-6 address flush dev eth1 scope link");
        tor.ip("address add fe80::1/64 dev eth1 nodad");
    }
    node.routed(1, "[[peers]]\ninterface = \"eth1\"\n[[peers]]\ninterface = \"eth2\"\n");
    left.routed(2, PEER);
    right.routed(3, PEER);
    until("both established", || left.is_established() && right.is_established());
    for (number, interface) in [(2, "eth1"), (3, "eth2")] {
        let six = format!("fd00:10:244:{number}::/64");
        until("its own link", || node.route(&six) == [format!("fe80::1 {interface}")]);
        let four = format!("10.244.{number}.0/24");
        until("IPv4 too", || node.route(&four) == [format!("inet6 fe80::1 {interface}")]);
    }
    // What is learned from the one is told to the other, with the node as next hop.
    until("through the node", || left.reaches("10.244.2.1", "10.244.3.1"));
    let table = node.run(env!("CARGO_BIN_EXE_routed"), "show routes --socket admin.sock");
    for (prefix, next_hop) in
        [("10.244.2.0/24", "fe80::1%eth1"), ("fd00:10:244:3::/64", "fe80::1%eth2")]
    {
        let line = table.lines().find(|line| line.contains(prefix)).unwrap_or_default();
        assert!(line.contains(next_hop), "{table}");
    }
}
