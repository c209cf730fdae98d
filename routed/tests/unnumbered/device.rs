//! Peers that are bound to an interface, with two cables to choose from.

use std::fs;

use crate::lab::{Host, cable, pair, text, until};

/// A peer at this address of the other side, with these lines.
fn peer(address: &str, asn: u32, lines: &str) -> String {
    format!("[[peers]]\naddress = \"{address}\"\nasn = {asn}\nmultihop = 4\n{lines}\n")
}

fn reload(host: &Host, from: &str, to: &str) {
    let file = host.path("routed.toml");
    fs::write(&file, fs::read_to_string(&file).unwrap().replace(from, to)).unwrap();
    let done = host.try_run(env!("CARGO_BIN_EXE_routed"), "reload --socket admin.sock");
    assert!(done.status.success(), "{done:?}");
}

#[test]
fn a_session_uses_its_interface_and_no_other_whoever_dials() {
    let (mut a, mut b) = pair();
    cable((&a, "eth2"), (&b, "eth2"));
    for (host, number) in [(&a, 1), (&b, 2)] {
        for link in [1, 2] {
            host.ip(&format!("address add 10.9.{link}.{number}/24 dev eth{link}"));
        }
    }
    // It comes by eth2, and must not.
    a.routed(1, &peer("10.9.2.2", 65_002, "passive = true\nbind_device = \"eth1\""));
    b.routed(2, &peer("10.9.2.1", 65_001, ""));
    until("refused", || a.log("routed").contains("it came by eth2, and bind_device is eth1"));
    assert_eq!(a.peer()["established_count"], 0);
    reload(&a, "bind_device = \"eth1\"", "bind_device = \"eth2\"");
    until("established", || a.is_established());

    // The same for whom we dial: there is nobody of this address on eth1.
    reload(&b, "multihop = 4", "multihop = 4\npassive = true");
    reload(&a, "passive = true\nbind_device = \"eth2\"", "bind_device = \"eth1\"");
    until("no longer", || a.state() != "Established" && !text(&a.peer()["last_error"]).is_empty());
    let before = a.peer()["established_count"].clone();
    reload(&a, "bind_device = \"eth1\"", "bind_device = \"eth2\"");
    until("established again", || a.is_established());
    assert_eq!(a.peer()["established_count"].as_u64(), before.as_u64().map(|n| n + 1));
}
