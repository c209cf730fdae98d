//! BFD with BIRD's and FRR's: sessions come up with negotiated timers, a path that swallows packets
//! is noticed long before the hold time, and a planned stop is no failure.
//!
//! Needs the binaries of the workspace, BIRD, FRR and nftables; root or user namespaces.

use std::time::{Duration, Instant};

use serde_json::Value;
use tests::fabric::{Fabric, eventually, routed};

const WORLD: [&str; 1] = ["192.0.2.0/24"];
const PODS: [&str; 2] = ["10.244.11.0/24", "fd00:10:244:11::/64"];

#[test]
fn bird_and_we_agree_on_timers_and_notice_a_path_that_swallows_packets() {
    let fabric = Fabric::established(&pair("bird", &bird("bfd on;", ""), USUAL));
    path_that_swallows_packets_is_noticed_and_heals(&fabric);
    eventually(
        "BIRD says the same",
        || fabric.ask("tor1", &["birdc", "show", "bfd", "sessions"]),
        |sessions| sessions.contains("10.1.0.1") && sessions.contains("Up"),
    );
}

#[test]
fn frr_and_we_agree_on_timers_and_notice_a_path_that_swallows_packets() {
    let fabric = Fabric::established(&pair("frr", FRR, USUAL));
    path_that_swallows_packets_is_noticed_and_heals(&fabric);
    eventually(
        "FRR says the same, and has read our interval",
        || fabric.ask_json("tor1", &["vtysh", "-c", "show bfd peers json"])[0].clone(),
        |peer| peer["status"] == "up" && peer["remote-transmit-interval"] == 200,
    );
}

fn path_that_swallows_packets_is_noticed_and_heals(fabric: &Fabric) {
    let up = bfd_is(fabric, "Up");
    assert_eq!(up["remote_state"], "Up", "{up}");
    // The ToR takes a packet every 300 ms and sends one every 250 ms, five of which may be lost.
    eventually(
        "both sides' timers are agreed on",
        || bfd(fabric),
        |bfd| {
            bfd["transmit_interval_micros"] == 300_000 && bfd["detection_time_micros"] == 1_250_000
        },
    );
    fabric.kernel_leads("node1", &WORLD, &["tor1"]);
    fabric.kernel_leads("tor1", &PODS[..1], &["node1"]);

    let before = bfd(fabric)["failure_count"].as_u64().expect("a number");
    let begun = Instant::now();
    swallow(fabric, "tor1");
    fabric.kernel_leads("node1", &WORLD, &[]);
    // Without BFD it would be the hold time.
    assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
    let peer = routed::peer(fabric, "node1", "tor1");
    let failures = peer["bfd"]["failure_count"].as_u64();
    assert!(failures > Some(before), "{peer}");
    let failure = peer["bfd"]["last_failure"].as_str().unwrap_or_default();
    assert!(failure.contains("detection time"), "{peer}");
    let metrics = routed::metrics(fabric, "node1");
    let line = "slash32_bfd_session_up{peer=\"tor1\"} 0";
    assert!(metrics.contains(line), "no {line} in {metrics}");

    let _ = fabric.ask("tor1", &["nft", "delete table inet cut"]);
    bfd_is(fabric, "Up");
    fabric.sessions_stand();
    fabric.kernel_leads("node1", &WORLD, &["tor1"]);
    fabric.kernel_leads("tor1", &PODS[..1], &["node1"]);
}

/// A peer that has not noticed the failure yet would end a new session as soon as it does.
#[test]
fn session_after_a_failure_waits_for_bfd_and_is_begun_once() {
    let patient = USUAL.replace("detect_multiplier = 5", "detect_multiplier = 50");
    let fabric = Fabric::established(&pair("frr", FRR, &patient));
    bfd_is(&fabric, "Up");
    fabric.kernel_leads("node1", &WORLD, &["tor1"]);
    let before = routed::peer(&fabric, "node1", "tor1");
    let count = |peer: &Value| peer["established_count"].as_u64().expect("a number");
    let rules = "add table inet cut; \
        add chain inet cut in { type filter hook input priority -300; udp dport 3784 drop; }; \
        add chain inet cut out { type filter hook output priority -300; udp dport 3784 drop; };";
    let _ = fabric.ask("tor1", &["nft", rules]);
    // We give up after 1.25 s, FRR would after 15 s.
    bfd_is(&fabric, "Down");
    std::thread::sleep(Duration::from_secs(1));
    let _ = fabric.ask("tor1", &["nft", "delete table inet cut"]);
    bfd_is(&fabric, "Up");
    fabric.sessions_stand();
    fabric.kernel_leads("node1", &WORLD, &["tor1"]);
    std::thread::sleep(Duration::from_secs(2));
    let after = routed::peer(&fabric, "node1", "tor1");
    assert_eq!(after["state"], "Established", "{after}");
    assert_eq!(count(&after), count(&before) + 1, "{after}");

    // A peer whose BFD does not return has its session all the same.
    let lines = ["configure terminal", "router bgp 4200000001", "no neighbor 10.1.0.1 bfd"];
    let mut argv = vec!["vtysh"];
    argv.extend(lines.into_iter().flat_map(|line| ["-c", line]));
    let _ = fabric.ask("tor1", &["nft", rules]);
    let _ = fabric.ask("tor1", &argv);
    bfd_is(&fabric, "Down");
    fabric.sessions_stand();
    assert_eq!(bfd(&fabric)["state"], "Down");
}

#[test]
fn bfd_that_the_peers_operator_switches_off_is_no_failure() {
    let fabric = Fabric::established(&pair("frr", FRR, USUAL));
    // FRR begins anew when its BGP has heard of the peer.
    let steady = |bfd: &Value| {
        bfd["state"] == "Up" && bfd["since_seconds"].as_u64().is_some_and(|since| since >= 2)
    };
    let before = eventually("BFD is steady", || bfd(&fabric), steady);
    let switch = |word| {
        let lines = ["configure terminal", "bfd", PEER, word];
        let mut argv = vec!["vtysh"];
        argv.extend(lines.into_iter().flat_map(|line| ["-c", line]));
        let _ = fabric.ask("tor1", &argv);
    };
    switch("shutdown");
    let down = bfd_is(&fabric, "Down");
    assert_eq!(down["remote_state"], "AdminDown", "{down}");
    switch("no shutdown");
    let up = bfd_is(&fabric, "Up");
    assert_eq!(up["failure_count"], before["failure_count"], "{up}");
    fabric.sessions_stand();
}

#[test]
fn bfd_comes_and_goes_with_the_configuration() {
    let fabric = Fabric::established(&pair("bird", &bird("bfd graceful;", ""), USUAL));
    bfd_is(&fabric, "Up");
    let _ = routed::reload(&fabric, "node1", USUAL, "");
    eventually("nothing is watched", || bfd(&fabric), Value::is_null);
    let sockets = || fabric.ask("node1", &["ss", "-Hlun"]);
    eventually("nobody listens", sockets, |sockets| !sockets.contains(":3784"));
    let file = fabric.path_of("node1", "/etc/slash32/routed.toml").expect("a router's own file");
    let text = std::fs::read_to_string(&file).expect("it is there");
    std::fs::write(&file, format!("{text}{USUAL}")).expect("it can be written");
    let _ = fabric.ask("node1", &["routed", "reload"]);
    bfd_is(&fabric, "Up");
    fabric.sessions_stand();
    fabric.kernel_leads("node1", &WORLD, &["tor1"]);
}

#[test]
fn planned_restart_is_no_failure_to_bird_that_is_told_to_be_graceful() {
    planned_restart_is_no_failure("bird", &bird("bfd graceful;", ""));
}

#[test]
fn planned_restart_is_no_failure_to_frr() {
    planned_restart_is_no_failure("frr", FRR);
}

fn planned_restart_is_no_failure(runs: &str, tor: &str) {
    let fabric = Fabric::established(&pair(runs, tor, USUAL));
    bfd_is(&fabric, "Up");
    fabric.kernel_leads("tor1", &PODS[..1], &["node1"]);
    fabric.stop("node1").expect("the daemon ends");
    // Longer than the detection time.
    std::thread::sleep(Duration::from_secs(4));
    fabric.kernel_leads("tor1", &PODS[..1], &["node1"]);
    fabric.start("node1").expect("the daemon starts");
    fabric.sessions_stand();
    bfd_is(&fabric, "Up");
    fabric.kernel_leads("tor1", &PODS[..1], &["node1"]);
}

#[test]
fn keys_must_be_the_same_and_a_strict_session_waits_for_bfd() {
    let key = r#"authentication meticulous keyed sha1; password "rack-7" { id 3; };"#;
    let fabric = Fabric::established(&pair("bird", &bird("bfd on;", key), USUAL));
    let file = fabric.path_of("node1", "/etc/slash32/bfd.key").expect("a path");
    std::fs::write(&file, "rack-8\n").expect("it can be written");
    let keys = "key_file = \"/etc/slash32/bfd.key\"\nkey_id = 3\nstrict = true\n";
    let _ = routed::reload(&fabric, "node1", USUAL, &format!("{USUAL}{keys}"));
    let _ = fabric.ask("node1", &["routed", "peer", "tor1", "reset"]);
    let waiting = eventually(
        "packets with another key are dropped, and there is no session without BFD",
        || routed::peer(&fabric, "node1", "tor1"),
        |peer| {
            let dropped = peer["bfd"]["packets_dropped"].as_u64();
            dropped.is_some_and(|dropped| dropped > 1) && peer["state"] == "Idle"
        },
    );
    assert_eq!(waiting["bfd"]["state"], "Down", "{waiting}");
    let error = waiting["last_error"].as_str().unwrap_or_default();
    assert!(error.contains("waits for BFD"), "{waiting}");

    std::fs::write(&file, "rack-7\n").expect("it can be written");
    let _ = fabric.ask("node1", &["routed", "reload"]);
    bfd_is(&fabric, "Up");
    fabric.sessions_stand();
    fabric.kernel_leads("node1", &WORLD, &["tor1"]);
}

#[test]
fn peer_behind_routers_is_watched_by_multihop_bfd() {
    let keys = format!("multihop = 2\n{USUAL}");
    let fabric = Fabric::established(&pair("bird", &bird("multihop 2; bfd on;", ""), &keys));
    bfd_is(&fabric, "Up");
    let sockets = fabric.ask("node1", &["ss", "-Hlun"]);
    assert!(sockets.contains(":4784") && !sockets.contains(":3784"), "{sockets}");
}

/// Drops whatever goes in or out, while every link keeps its carrier.
fn swallow(fabric: &Fabric, router: &str) {
    let rules = "add table inet cut; \
        add chain inet cut in { type filter hook input priority -300; policy drop; }; \
        add chain inet cut out { type filter hook output priority -300; policy drop; };";
    let _ = fabric.ask(router, &["nft", rules]);
}

fn bfd(fabric: &Fabric) -> Value {
    routed::peer(fabric, "node1", "tor1")["bfd"].clone()
}

fn bfd_is(fabric: &Fabric, state: &str) -> Value {
    eventually(&format!("BFD is {state}"), || bfd(fabric), |bfd| bfd["state"] == state)
}

/// Slow enough for a machine that is busy with other tests.
const USUAL: &str = "[peers.bfd]\ntransmit_interval = 200\nreceive_interval = 200\n\
                     detect_multiplier = 5\n";

/// BIRD that takes a packet every 300 ms and sends one every 250 ms.
fn bird(bgp: &str, auth: &str) -> String {
    format!(
        r#"
router id 10.0.0.1;
protocol device {{ }}
protocol kernel {{ ipv4 {{ export all; }}; }}
protocol kernel {{ ipv6 {{ export all; }}; }}
protocol static {{ ipv4; route 192.0.2.0/24 blackhole; }}
protocol bfd {{
    interface "*" {{
        min rx interval 300 ms; min tx interval 250 ms; idle tx interval 1 s; multiplier 5;
        {auth}
    }};
    multihop {{ min rx interval 300 ms; min tx interval 250 ms; multiplier 5; }};
}}
protocol bgp node1 {{
    local 10.1.0.0 as 4200000001;
    neighbor 10.1.0.1 as 4200000011;
    {bgp}
    hold time 9;
    connect retry time 1;
    connect delay time 1;
    error wait time 1, 2;
    graceful restart on;
    ipv4 {{ import all; export all; next hop self; }};
    ipv6 {{ import all; export all; next hop self; }};
}}
"#
    )
}

const PEER: &str = "peer 10.1.0.1 local-address 10.1.0.0 interface node1";

/// FRR that does the same.
const FRR: &str = r"
frr defaults datacenter
bfd
 peer 10.1.0.1 local-address 10.1.0.0 interface node1
  receive-interval 300
  transmit-interval 250
  detect-multiplier 5
 exit
exit
router bgp 4200000001
 bgp router-id 10.0.0.1
 bgp graceful-restart
 no bgp ebgp-requires-policy
 no bgp network import-check
 neighbor 10.1.0.1 remote-as 4200000011
 neighbor 10.1.0.1 timers 3 9
 neighbor 10.1.0.1 timers connect 1
 neighbor 10.1.0.1 bfd
 address-family ipv4 unicast
  network 192.0.2.0/24
 exit-address-family
 address-family ipv6 unicast
  neighbor 10.1.0.1 activate
 exit-address-family
exit
";

/// A ToR with this configuration, and a node that has `keys` for it.
fn pair(runs: &str, tor: &str, keys: &str) -> String {
    let tor = tor.replace('\\', "\\\\").replace("\"", "\\\"");
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
[pods]
ipv4 = ["10.244.11.0/24"]
ipv6 = ["fd00:10:244:11::/64"]
[[peers]]
name = "tor1"
address = "10.1.0.0"
asn = 4200000001
{keys}
"""
"#
    )
}
