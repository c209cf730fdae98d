//! Unnumbered peers whose connections are signed (RFC 2385), whoever dials.

use std::{fs, os::unix::fs::PermissionsExt as _};

use crate::lab::{Host, pair, until};

fn key(host: &Host, text: &str) {
    fs::write(host.path("key"), text).unwrap();
    fs::set_permissions(host.path("key"), fs::Permissions::from_mode(0o600)).unwrap();
}

fn peer(passive: bool) -> String {
    format!("[[peers]]\ninterface = \"eth1\"\npassword_file = \"key\"\npassive = {passive}\n")
}

#[test]
fn rfc2385_the_listeners_learn_the_key_with_the_address_and_forget_it() {
    let (mut a, mut b) = pair();
    key(&a, "correct horse");
    key(&b, "correct horse");
    // Only `b` dials: `a` must know the key of an address that it has learned.
    a.routed(1, &peer(true));
    b.routed(2, &peer(false));
    until("established", || a.is_established() && b.is_established());
    until("routes", || a.route("10.244.2.0/24").len() == 1);

    // Another address of the other side is another key to be known.
    b.ip("link set eth1 down");
    until("lost", || !a.is_established());
    b.ip("link set eth1 address 02:00:00:00:00:77");
    b.ip("link set eth1 up");
    until("back", || a.is_established() && b.is_established());

    // Without a key on one side there is no session, and with it there is.
    let before = a.peer()["established_count"].as_u64().unwrap();
    fs::write(
        a.path("routed.toml"),
        fs::read_to_string(a.path("routed.toml")).unwrap().replace("password_file = \"key\"\n", ""),
    )
    .unwrap();
    let reload = || a.try_run(env!("CARGO_BIN_EXE_routed"), "reload --socket admin.sock");
    assert!(reload().status.success());
    until("no session", || !a.is_established() && b.reason().contains("TCP MD5 password"));
    let text = fs::read_to_string(a.path("routed.toml")).unwrap();
    fs::write(
        a.path("routed.toml"),
        text.replace("passive = true", "passive = true\npassword_file = \"key\""),
    )
    .unwrap();
    assert!(reload().status.success());
    until("back", || a.is_established());
    assert_eq!(a.peer()["established_count"].as_u64(), Some(before + 1));
}
