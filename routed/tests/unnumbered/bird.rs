//! BIRD 2 as the top-of-rack switch: it advertises itself by its `radv` protocol, and takes whoever
//! dials it from the link.

use std::{fs, os::unix::fs::PermissionsExt as _};

use crate::lab::{Host, pair, until};

const PEER: &str = "[[peers]]\ninterface = \"eth1\"\n";

/// Its own ranges are 10.9.0.0/24 and fd00:9::/64.
fn bird(host: &mut Host, lines: &str) {
    let config = r#"
log stderr all;
router id 10.0.0.9;
protocol device { }
protocol kernel kernel4 { ipv4 { import none; export where source = RTS_BGP; }; }
protocol kernel kernel6 { ipv6 { import none; export where source = RTS_BGP; }; }
protocol static own4 { ipv4; route 10.9.0.0/24 blackhole; }
protocol static own6 { ipv6; route fd00:9::/64 blackhole; }
protocol radv {
  interface "eth1" { max ra interval 10; default lifetime 30; };
}
protocol bgp nodes {
  local as 65009;
  neighbor range fe80::/10 external;
  interface "eth1";
  dynamic name "node";
  hold time 9;
  check link on;
  LINES
  ipv4 { import all; export all; extended next hop on; };
  ipv6 { import all; export all; };
}
"#;
    fs::write(host.path("bird.conf"), config.replace("LINES", lines)).unwrap();
    host.start("bird", "bird", &["-f", "-c", "bird.conf", "-s", "bird.ctl"]);
    for sysctl in ["net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"] {
        host.run("sysctl", &format!("-q -w {sysctl}"));
    }
    host.ip("address add 10.9.0.1/32 dev lo");
    host.ip("-6 address add fd00:9::1/128 dev lo");
}

#[test]
fn bird_takes_us_from_the_link_and_both_families_flow() {
    let (mut a, mut tor) = pair();
    bird(&mut tor, "");
    a.routed(1, PEER);
    until("established", || a.is_established());
    let theirs = tor.link_local("eth1").unwrap();
    until("BIRD's IPv6", || a.route("fd00:9::/64") == [format!("{theirs} eth1")]);
    until("BIRD's IPv4 by IPv6", || a.route("10.9.0.0/24") == [format!("inet6 {theirs} eth1")]);
    until("IPv4 reaches", || a.reaches("10.244.1.1", "10.9.0.1"));
    until("IPv6 reaches", || a.reaches("fd00:10:244:1::1", "fd00:9::1"));

    tor.ip("link set eth1 down");
    until("link lost", || !a.is_established());
    tor.ip("link set eth1 up");
    until("back", || a.is_established());
    until("IPv4 reaches again", || a.reaches("10.244.1.1", "10.9.0.1"));
}

#[test]
fn rfc2385_bird_with_the_same_password_is_met_and_one_with_another_is_not() {
    let (mut a, mut tor) = pair();
    bird(&mut tor, "password \"correct horse\";");
    fs::write(a.path("key"), "another\n").unwrap();
    fs::set_permissions(a.path("key"), fs::Permissions::from_mode(0o600)).unwrap();
    a.routed(1, &format!("{PEER}password_file = \"key\"\n"));
    until("no answer", || a.reason().contains("another TCP MD5 password"));
    assert_eq!(a.peer()["established_count"], 0);

    fs::write(a.path("key"), "correct horse\n").unwrap();
    let done = a.try_run(env!("CARGO_BIN_EXE_routed"), "reload --socket admin.sock");
    assert!(done.status.success(), "{done:?}");
    until("established", || a.is_established());
    until("BIRD's IPv6", || a.route("fd00:9::/64").len() == 1);
}
