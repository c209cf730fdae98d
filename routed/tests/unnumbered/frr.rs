//! FRR as the top-of-rack switch, told of its neighbour by interface alone as well.

use std::{fs, os::unix::fs::PermissionsExt as _};

use serde_json::Value;

use crate::lab::{Host, pair, until};

const PEER: &str = "[[peers]]\ninterface = \"eth1\"\n";

/// Starts FRR with these lines beside the neighbour. Its own ranges are 10.9.0.0/24 and
/// fd00:9::/64.
fn frr(host: &mut Host, more: &str) {
    let folder = host.folder.path().display().to_string();
    // FRR becomes the user of its package, who must be able to make sockets here.
    fs::set_permissions(host.folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    fs::write(host.path("zebra.conf"), "hostname tor\n").unwrap();
    let bgpd = format!(
        "hostname tor\n\
         router bgp 65009\n \
         bgp router-id 10.0.0.9\n \
         no bgp ebgp-requires-policy\n \
         no bgp network import-check\n \
         timers bgp 3 9\n \
         neighbor eth1 interface remote-as external\n \
         neighbor eth1 timers connect 1\n {more}\n \
         address-family ipv4 unicast\n  network 10.9.0.0/24\n exit-address-family\n \
         address-family ipv6 unicast\n  network fd00:9::/64\n  neighbor eth1 activate\n \
         exit-address-family\n"
    );
    fs::write(host.path("bgpd.conf"), bgpd).unwrap();
    for sysctl in ["net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"] {
        host.run("sysctl", &format!("-q -w {sysctl}"));
    }
    for daemon in ["zebra", "bgpd"] {
        let (config, pid) = (format!("{folder}/{daemon}.conf"), format!("{folder}/{daemon}.pid"));
        let socket = format!("{folder}/zserv.api");
        let program = format!("/usr/lib/frr/{daemon}");
        let own = ["-A", "127.0.0.1", "--log", "stdout"];
        let paths = ["-f", &config, "-i", &pid, "-z", &socket, "--vty_socket", &folder];
        host.start(&program, daemon, &[&own[..], &paths[..]].concat());
        until(daemon, || host.path(&format!("{daemon}.vty")).exists());
    }
    host.ip("address add 10.9.0.1/32 dev lo");
    host.ip("-6 address add fd00:9::1/128 dev lo");
}

fn vtysh(host: &Host, question: &str) -> Value {
    let folder = host.folder.path().display().to_string();
    let mut command = host.command("vtysh");
    let output = command.args(["--vty_socket", &folder, "-c", question]).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or(Value::Null)
}

#[test]
fn frr_and_we_exchange_both_families_over_one_unnumbered_session() {
    let (mut a, mut tor) = pair();
    a.routed(1, PEER);
    frr(&mut tor, "");
    until("established", || a.is_established());
    let (ours, theirs) = (a.link_local("eth1").unwrap(), tor.link_local("eth1").unwrap());
    assert_eq!(a.peer()["asn"], 65_009);
    until("FRR's IPv6", || a.route("fd00:9::/64") == [format!("{theirs} eth1")]);
    until("FRR's IPv4 by IPv6", || a.route("10.9.0.0/24") == [format!("inet6 {theirs} eth1")]);

    let next_hop = |family: &str, prefix: &str| {
        let shown = vtysh(&tor, &format!("show bgp {family} unicast {prefix} json"));
        shown["paths"][0]["nexthops"].clone()
    };
    for (family, prefix) in [("ipv4", "10.244.1.0/24"), ("ipv6", "fd00:10:244:1::/64")] {
        let by_us = || next_hop(family, prefix).to_string().contains(&ours);
        until("our routes in FRR, by our link-local address", by_us);
    }
    until("IPv4 reaches", || a.reaches("10.244.1.1", "10.9.0.1"));
    until("IPv6 reaches", || a.reaches("fd00:10:244:1::1", "fd00:9::1"));
    assert_eq!(a.ip("-6 route show default"), "", "nothing taken from FRR's advertisements");

    tor.ip("link set eth1 down");
    until("link lost", || !a.is_established());
    tor.ip("link set eth1 up");
    until("back", || a.is_established());
    until("IPv4 reaches again", || a.reaches("10.244.1.1", "10.9.0.1"));
}

#[test]
fn frr_may_ask_for_gtsm_on_an_unnumbered_link() {
    let (mut a, mut tor) = pair();
    a.routed(1, &format!("{PEER}ttl_security = 1\n"));
    frr(&mut tor, "neighbor eth1 ttl-security hops 1");
    until("established", || a.is_established());
    until("routes", || a.route("fd00:9::/64").len() == 1);
}
