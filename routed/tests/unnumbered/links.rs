//! What becomes of a session by interface when the link, the address or the peer does not stay.

use std::time::Duration;

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::lab::{Host, cable, pair, text, until};

const PEER: &str = "[[peers]]\ninterface = \"eth1\"\n";

/// Both routers run and have a session.
fn established() -> (Host, Host) {
    let (mut a, mut b) = pair();
    a.routed(1, PEER);
    b.routed(2, PEER);
    until("established", || a.is_established() && b.is_established());
    (a, b)
}

fn signal(host: &Host, signal: Signal) {
    let pid = host.programs[0].id().try_into().unwrap();
    kill(Pid::from_raw(pid), signal).unwrap();
}

#[test]
fn a_session_ends_with_the_carrier_and_is_back_within_seconds() {
    let (a, b) = established();
    b.ip("link set eth1 down");
    let noticed = until("noticed", || !a.is_established());
    assert!(noticed < Duration::from_secs(6), "the hold timer would have done that");
    until("told", || a.reason() == "the link of eth1 is down");
    until("unrouted", || a.route("fd00:10:244:2::/64").is_empty());
    b.ip("link set eth1 up");
    until("established again", || a.is_established() && b.is_established());
    until("routed again", || a.reaches("fd00:10:244:1::1", "fd00:10:244:2::1"));
}

#[test]
fn an_interface_that_does_not_exist_yet_is_waited_for_and_so_is_one_that_has_gone() {
    let (mut a, mut b) = (Host::new("a"), Host::new("b"));
    a.routed(1, PEER);
    until("told that it is missing", || a.reason() == "there is no interface eth1");
    cable((&a, "eth1"), (&b, "eth1"));
    until("told that nobody is there", || a.reason() == "no router advertisement heard on eth1");
    assert_eq!((a.state(), &a.peer()["address"]), ("Idle".to_owned(), &serde_json::Value::Null));
    assert!(text(&a.peer()["remedy"]).contains("router advertisements"), "{}", a.peer());
    b.routed(2, PEER);
    until("established", || a.is_established() && b.is_established());

    a.ip("link del eth1");
    until("told that it has gone", || a.reason() == "there is no interface eth1");
    cable((&a, "eth1"), (&b, "eth1"));
    until("established by the new interface", || a.is_established() && b.is_established());
}

#[test]
fn a_peer_that_falls_silent_is_lost_by_the_hold_time_and_then_by_its_lifetime() {
    let (a, b) = established();
    let address = b.link_local("eth1").unwrap();
    signal(&b, Signal::SIGSTOP);
    until("lost by the hold time", || !a.is_established());
    let gone = format!("no more router advertisements from {address} on eth1");
    until("lost by the lifetime", || a.reason() == gone);
    signal(&b, Signal::SIGCONT);
    until("established again", || a.is_established() && b.is_established());
}

#[test]
fn a_peer_that_gets_another_address_is_met_again_within_seconds() {
    let (a, b) = established();
    let old = b.link_local("eth1").unwrap();
    b.ip("address add fe80::b/64 dev eth1 nodad");
    b.ip(&format!("address del {old}/64 dev eth1"));
    let is_new = || a.peer()["address"] == "fe80::b" && a.is_established();
    let took = until("met by the new address", is_new);
    assert!(took < Duration::from_secs(45), "longer than the old address was advertised for");
    until("both ends", || b.is_established());
    until("IPv6 by the new address", || a.route("fd00:10:244:2::/64") == ["fe80::b eth1"]);
}

#[test]
fn of_several_routers_on_a_link_the_one_with_the_session_stays_and_another_follows_it() {
    let lan = Host::new("lan");
    lan.ip("link add br0 type bridge");
    lan.ip("link set br0 up");
    let (mut a, mut b, mut c) = (Host::new("a"), Host::new("b"), Host::new("c"));
    for (host, port) in [(&a, "port1"), (&b, "port2"), (&c, "port3")] {
        cable((host, "eth1"), (&lan, port));
        lan.ip(&format!("link set {port} master br0"));
    }
    a.routed(1, PEER);
    b.routed(2, PEER);
    until("established", || a.is_established() && b.is_established());
    until("an address", || c.link_local("eth1").is_some());
    let (second, third) = (b.link_local("eth1").unwrap(), c.link_local("eth1").unwrap());
    c.routed(3, PEER);
    until("noticed", || a.log("routed").contains("several routers advertise themselves"));
    assert!(a.log("routed").contains(&format!("peer={second} other={third}")));
    // Longer than the peer has to answer for itself.
    std::thread::sleep(Duration::from_secs(12));
    assert!(a.is_established() && b.is_established());
    assert_eq!(a.peer()["established_count"], 1);

    b.kill();
    until("the other follows", || a.is_established() && a.peer()["address"] == *third);
    assert_eq!(a.peer()["asn"], 65_003);
}

#[test]
fn a_peer_that_leaves_the_configuration_is_told_that_we_are_no_router() {
    let (a, b) = established();
    let address = a.link_local("eth1").unwrap();
    let path = a.path("routed.toml");
    let config = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, config.replace(PEER, "")).unwrap();
    signal(&a, Signal::SIGHUP);
    let left = format!("{address} on eth1 advertises router lifetime 0");
    until("told", || b.reason() == left);
    assert!(!b.is_established());
}
