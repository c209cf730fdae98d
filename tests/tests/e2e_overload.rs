//! Whatever one peer, one pod or one client does, the session with the other ToR does not notice:
//! floods, flaps, too many routes, a pod that sends all it can, no descriptors left.
//!
//! A peer that never reads is in `routed/tests/peering/slow.rs`, limits with scripted peers are in
//! `limits.rs` beside it. Needs the binaries of the workspace, BIRD and prlimit; root or user
//! namespaces.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{Ipv4Addr, UdpSocket};
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::Duration;

use nix::sched::{CloneFlags, setns};
use serde_json::Value;
use tests::fabric::{Fabric, eventually, routed};

const WORLD: [&str; 1] = ["192.0.2.0/24"];

#[test]
fn peer_that_floods_updates_delays_nobody() {
    let fabric = Fabric::established(&two_tors(""));
    announce(&fabric, 10_000);
    let calm = Calm::begins(&fabric);
    // Withdrawn and announced again as fast as BIRD can.
    for _ in 0..6 {
        for verb in ["disable", "enable"] {
            let _ = fabric.ask("tor2", &["birdc", verb, "flood"]);
            sleep(Duration::from_secs(1));
        }
    }
    calm.held();
    eventually("all is taken in", || flooded(&fabric), |count| *count == 10_000);
    fabric.kernel_leads("node1", &WORLD, &["tor1"]);
}

#[test]
fn peer_that_flaps_every_second_is_rested_from_longer_and_longer() {
    let fabric = Fabric::established(&two_tors(""));
    let before = established(&fabric, "tor2");
    let calm = Calm::begins(&fabric);
    let flaps = 20;
    for _ in 0..flaps {
        let _ = fabric.ask("tor2", &["birdc", "restart", "node1"]);
        sleep(Duration::from_secs(1));
    }
    calm.held();
    // BIRD itself is back within a second each time.
    let times = established(&fabric, "tor2") - before;
    assert!((1..=flaps / 2).contains(&times), "{times} sessions in {flaps} flaps");
    let peer = routed::peer(&fabric, "node1", "tor2");
    assert_ne!(peer["last_error"], Value::Null, "{peer}");
    routed::stands(&fabric, "node1", "tor2");
}

#[test]
fn hundred_thousand_routes_where_a_thousand_were_expected_end_one_session() {
    let fabric = Fabric::established(&two_tors("max_prefixes = { ipv4 = 1000 }"));
    let calm = Calm::begins(&fabric);
    announce(&fabric, 100_000);
    routed::last_error(&fabric, "node1", "tor2", "Maximum Number of Prefixes");
    calm.held();
    let flood = flooded(&fabric);
    assert!(flood <= 1000, "{flood} routes of a session that has ended");
    fabric.kernel_leads("node1", &WORLD, &["tor1"]);
}

/// Without the limit the same routes would take more than there is.
#[test]
fn limit_of_routes_protects_a_daemon_that_is_short_of_memory() {
    let fabric = Fabric::established(&two_tors("max_prefixes = { ipv4 = 1000 }"));
    let calm = Calm::begins(&fabric);
    let script = "pid=$(cat /run/testbed/routed.pid); \
        size=$(awk '/^VmSize/ { print $2 * 1024 }' /proc/$pid/status); \
        prlimit --pid $pid --as=$((size + (24 << 20))); echo $pid";
    let pid = fabric.ask("node1", &["bash", "-c", script]);
    announce(&fabric, 100_000);
    routed::last_error(&fabric, "node1", "tor2", "Maximum Number of Prefixes");
    sleep(Duration::from_secs(3));
    calm.held();
    assert_eq!(fabric.ask("node1", &["cat", "/run/testbed/routed.pid"]), pid, "the same run");
    fabric.pod_add("node1", "late").expect("the plugin adds a pod");
    fabric.kernel_leads("node1", &WORLD, &["tor1"]);
}

#[test]
fn pod_that_sends_all_it_can_keeps_no_peer_and_no_runtime_waiting() {
    let fabric = Fabric::established(&two_tors(""));
    fabric.pod_add("node1", "loud").expect("the plugin adds a pod");
    let calm = Calm::begins(&fabric);
    // To its own node's daemon, to an address that nobody has, and to the world.
    let to = "10.0.0.11,10.244.11.200,192.0.2.1";
    let argv = ["testbed", "bench", "traffic", "--rate", "1000000", "--to", to];
    let mut command = fabric.command("node1/loud", &argv);
    command.stdin(Stdio::piped()).stdout(Stdio::null());
    let mut loud = Flood(command.spawn().expect("testbed starts"));
    // Its sign to begin.
    let stdin = loud.0.stdin.as_mut().expect("spawned with a pipe");
    stdin.write_all(b".").expect("it waits for it");
    for number in 0..6 {
        let pod = format!("quiet{number}");
        fabric.pod_add("node1", &pod).expect("the plugin adds a pod");
        fabric.pod_del("node1", &pod).expect("the plugin removes a pod");
        sleep(Duration::from_secs(2));
    }
    drop(loud);
    calm.held();
}

#[test]
fn full_connection_table_ends_no_session() {
    let fabric = Fabric::established(&two_tors(""));
    // From now on the node's kernel tracks connections.
    let rules = "add table inet track; \
        add chain inet track out { type filter hook output priority 0; }; \
        add rule inet track out ct state invalid counter";
    let _ = fabric.ask("node1", &["nft", rules]);
    let calm = Calm::begins(&fabric);
    let number = |name: &str| -> u64 {
        let file = format!("/proc/sys/net/netfilter/nf_conntrack_{name}");
        fabric.ask("node1", &["cat", &file]).trim().parse().expect("a number")
    };
    let most = number("max");
    let netns = fabric.netns("node1").expect("the lab runs");
    let flood = || {
        setns(&netns, CloneFlags::CLONE_NEWNET).expect("the test runs as root");
        let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
        for flow in 0..most + 10_000 {
            let port = u16::try_from(flow % 65_000 + 1).expect("below 65,001");
            let host = u8::try_from(flow / 65_000 + 1).expect("some 262,000 flows");
            // What the table refuses comes back as an error.
            let _ = socket.send_to(b"new", (Ipv4Addr::new(192, 0, 2, host), port));
        }
    };
    for _ in 0..3 {
        std::thread::scope(|scope| scope.spawn(flood).join()).expect("it floods");
        sleep(Duration::from_secs(4));
    }
    let count = number("count");
    assert!(count > most / 10 * 9, "{count} of {most} connections");
    calm.held();
}

#[test]
fn daemon_without_descriptors_keeps_its_sessions_and_answers_again_once_it_has_some() {
    let fabric = Fabric::established(&two_tors(""));
    let calm = Calm::begins(&fabric);
    let limit = |count: &str| {
        let script = format!(
            "pid=$(cat /run/testbed/routed.pid); open=$(ls /proc/$pid/fd | wc -l); \
             prlimit --pid $pid --nofile={count}"
        );
        let _ = fabric.ask("node1", &["bash", "-c", &script]);
    };
    limit("$((open + 4)):4096");
    // Clients that say nothing take what is left, for longer than the hold time.
    let script = "for i in $(seq 40); do exec {fd}<>/dev/tcp/127.0.0.1/9732; done; read -r";
    let mut command = fabric.command("node1", &["bash", "-c", script]);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let clients = Flood(command.spawn().expect("testbed starts"));
    sleep(Duration::from_secs(12));
    let log = fabric.ask("node1", &["cat", "/var/log/routed.log"]);
    drop(clients);
    limit("4096:4096");
    calm.held();
    assert!(log.contains("Too many open files"), "nobody was refused: {log}");
    assert!(log.lines().count() < 200, "the log is flooded");
    assert!(routed::metrics(&fabric, "node1").contains("slash32_bgp_drained"));
}

/// The session with the ToR that does nothing wrong.
struct Calm<'a> {
    fabric: &'a Fabric,
    before: Value,
}

impl<'a> Calm<'a> {
    fn begins(fabric: &'a Fabric) -> Self {
        let before = eventually(
            "BFD with tor1 is up",
            || routed::peer(fabric, "node1", "tor1"),
            |peer| peer["bfd"]["state"] == "Up",
        );
        Self { fabric, before }
    }

    /// It is still the same session; its hold timer and BFD have not ended it for a moment.
    fn held(&self) {
        let peer = routed::peer(self.fabric, "node1", "tor1");
        assert_eq!(peer["state"], "Established", "{peer}");
        assert_eq!(peer["established_count"], self.before["established_count"], "{peer}");
        assert_eq!(peer["bfd"]["failure_count"], self.before["bfd"]["failure_count"], "{peer}");
    }
}

/// Ends with its stdin.
struct Flood(Child);

impl Drop for Flood {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

fn established(fabric: &Fabric, peer: &str) -> u64 {
    let peer = routed::peer(fabric, "node1", peer);
    peer["established_count"].as_u64().expect("a number")
}

/// Routes of the flood in the node's kernel.
fn flooded(fabric: &Fabric) -> usize {
    let routes = fabric.routes("node1").expect("they can be listed");
    routes.iter().filter(|route| route.dst.to_string().starts_with("20.")).count()
}

/// Has tor2 announce so many routes.
fn announce(fabric: &Fabric, routes: u32) {
    let mut text = String::from("protocol static flood { ipv4;\n");
    for number in 0..routes {
        let network = Ipv4Addr::from_bits((20 << 24) + (number << 8));
        writeln!(text, "route {network}/24 blackhole;").expect("String takes all");
    }
    let file = fabric.path_of("tor2", "/etc/bird/flood.conf").expect("a router's own file");
    std::fs::write(file, text + "}\n").expect("it can be written");
    let _ = fabric.ask("tor2", &["birdc", "configure"]);
}

/// A node below two ToRs, of which the second may do anything; `keys` are the node's for it.
fn two_tors(keys: &str) -> String {
    format!(
        r#"
bfd = {{ interval = 1000, multiplier = 5 }}
links = [["tor1", "node1"], ["tor2", "node1"]]
[[tors]]
name = "tor1"
asn = 4200000001
runs = "bird"
networks = ["192.0.2.0/24"]
[[tors]]
name = "tor2"
asn = 4200000002
runs = "bird"
extra_config = 'include "/etc/bird/flood.conf";'
files = {{ "/etc/bird/flood.conf" = "" }}
[[nodes]]
name = "node1"
asn = 4200000011
loopback = ["10.0.0.11/32"]
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
[[peers]]
name = "tor1"
address = "10.1.0.0"
asn = 4200000001
{BFD}
[[peers]]
name = "tor2"
address = "10.1.0.2"
asn = 4200000002
{keys}
{BFD}
"""
"#
    )
}

const BFD: &str =
    "[peers.bfd]\ntransmit_interval = 1000\nreceive_interval = 1000\ndetect_multiplier = 5\n";
