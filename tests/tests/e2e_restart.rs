//! A daemon that dies or is restarted costs no packet: with graceful restart the top-of-rack
//! router goes on sending to the node, whose kernel goes on forwarding, and the next run takes
//! over without a route having been withdrawn anywhere. The same if it is the router's that dies.
//!
//! Needs the binaries of the workspace, BIRD, FRR and GoBGP; root or user namespaces.

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tests::fabric::{Fabric, eventually, routed};

#[test]
fn killed_daemon_below_bird_loses_no_packet() {
    no_packet_is_lost("bird", |fabric| fabric.kill("node1").expect("it dies"));
}

#[test]
fn killed_daemon_below_frr_loses_no_packet() {
    no_packet_is_lost("frr", |fabric| fabric.kill("node1").expect("it dies"));
}

#[test]
fn restarted_daemon_below_bird_loses_no_packet() {
    no_packet_is_lost("bird", |fabric| fabric.stop("node1").expect("it ends"));
}

#[test]
fn restarted_daemon_below_frr_loses_no_packet() {
    no_packet_is_lost("frr", |fabric| fabric.stop("node1").expect("it ends"));
}

#[test]
fn killed_daemon_below_gobgp_loses_no_packet() {
    no_packet_is_lost("gobgp", |fabric| fabric.kill("node1").expect("it dies"));
}

#[test]
fn restarted_daemon_below_gobgp_loses_no_packet() {
    no_packet_is_lost("gobgp", |fabric| fabric.stop("node1").expect("it ends"));
}

#[test]
fn killed_gobgp_loses_no_packet() {
    no_packet_is_lost_while("gobgp", "tor1", |fabric| fabric.kill("tor1").expect("it dies"));
}

/// Its bgpd alone, as it is when watchfrr starts that again.
#[test]
fn killed_frr_loses_no_packet() {
    no_packet_is_lost_until("frr-restarting", kill_bgpd, start_bgpd);
}

#[test]
fn frr_that_dies_again_as_soon_as_it_is_back_loses_no_packet() {
    no_packet_is_lost_until(
        "frr-restarting",
        |fabric| {
            kill_bgpd(fabric);
            start_bgpd(fabric);
            routed::stands(fabric, "node1", "tor1");
            routed::stands(fabric, "node2", "tor1");
            kill_bgpd(fabric);
        },
        start_bgpd,
    );
}

fn kill_bgpd(fabric: &Fabric) {
    forward_whatever_zebra_does(fabric);
    let _ = fabric.ask("tor1", &["bash", "-c", "kill -KILL $(cat /run/testbed/bgpd.pid)"]);
}

/// The nodes are looked at, not the ToR: when bgpd is back, zebra (FRR 8.4) takes its routes out of the
/// kernel and puts them in again, 50 ms later.
fn forward_whatever_zebra_does(fabric: &Fabric) {
    let script = "for family in -4 -6; do \
                      ip $family rule show pref 100 | grep -q . || ip $family rule add pref 100 lookup 100; \
                  done && \
                  ip route replace 10.244.11.0/24 via 10.1.0.1 table 100 && \
                  ip route replace 10.244.12.0/24 via 10.1.0.3 table 100 && \
                  ip -6 route replace fd00:10:244:11::/64 via fd00:1::1 table 100 && \
                  ip -6 route replace fd00:10:244:12::/64 via fd00:1:0:1::1 table 100";
    let _ = fabric.ask("tor1", &["bash", "-c", script]);
}

fn start_bgpd(fabric: &Fabric) {
    let script = "bgpd -d -u root -g root --log file:/var/log/bgpd.log && \
                  cp /run/frr/bgpd.pid /run/testbed/bgpd.pid && vtysh -b";
    let _ = fabric.ask("tor1", &["bash", "-c", script]);
}

/// Both sides do RFC 8538: what the nodes still keep from before its first death is not given up at
/// its second (§4.1).
#[test]
fn rfc8538_gobgp_that_dies_again_as_soon_as_it_is_back_loses_no_packet() {
    no_packet_is_lost_while("gobgp", "tor1", |fabric| {
        fabric.kill("tor1").expect("it dies");
        fabric.start("tor1").expect("it starts");
        routed::stands(fabric, "node1", "tor1");
        fabric.kill("tor1").expect("it dies again");
    });
}

#[test]
fn daemon_that_dies_again_while_it_restarts_loses_no_packet() {
    no_packet_is_lost("bird", |fabric| {
        fabric.kill("node1").expect("it dies");
        fabric.start("node1").expect("it starts");
        fabric.kill("node1").expect("it dies again");
    });
}

/// Another hold time, so that every session is opened with other words, and one more range.
#[test]
fn daemon_that_restarts_with_another_configuration_loses_no_packet() {
    no_packet_is_lost_until(
        "bird",
        |fabric| {
            fabric.stop("node1").expect("it ends");
            let file = fabric.path_of("node1", "/etc/slash32/routed.toml").expect("its own file");
            let text = std::fs::read_to_string(&file).expect("it is there");
            let changed = text
                .replace("hold_time = 9", "hold_time = 12")
                .replace("\"10.244.11.0/24\"", "\"10.244.11.0/24\", \"10.244.13.0/24\"");
            assert!(changed.contains("= 12") && changed.contains("244.13."), "{changed}");
            std::fs::write(&file, changed).expect("it can be written");
        },
        |fabric| {
            fabric.start("node1").expect("it starts");
            fabric.kernel_leads("tor1", &["10.244.13.0/24"], &["node1"]);
        },
    );
}

/// The next run is killed while it compares tens of thousands of routes with those in the kernel, and
/// while the ToR tells it them.
#[test]
fn daemon_that_dies_during_its_first_sync_of_many_routes_loses_no_packet() {
    const MANY: usize = 20_000;
    let learned = |fabric: &Fabric| -> usize {
        let routes = fabric.routes("node1").expect("they can be listed");
        routes.iter().filter(|route| route.dst.to_string().starts_with("20.")).count()
    };
    no_packet_is_lost_until(
        "bird-with-many-routes",
        |fabric| {
            announce(fabric, MANY);
            eventually("all are in the kernel", || learned(fabric), |count| *count == MANY);
            fabric.kill("node1").expect("it dies");
            for _ in 0..3 {
                fabric.start("node1").expect("it starts");
                routed::stands(fabric, "node1", "tor1");
                fabric.kill("node1").expect("it dies again");
                assert_eq!(learned(fabric), MANY);
            }
        },
        |fabric| {
            fabric.start("node1").expect("it starts");
            eventually(
                "all have been confirmed",
                || routed::metrics(fabric, "node1"),
                |metrics| {
                    let line = format!(
                        "slash32_kernel_routes{{family=\"ipv4\",state=\"installed\"}} {}",
                        MANY + 2
                    );
                    metrics.contains(&line)
                },
            );
            assert_eq!(learned(fabric), MANY);
        },
    );
}

/// Has the ToR announce so many routes.
fn announce(fabric: &Fabric, routes: usize) {
    let mut text = String::from("protocol static many { ipv4;\n");
    for number in 0..u32::try_from(routes).expect("not that many") {
        let network = Ipv4Addr::from_bits((20 << 24) + (number << 8));
        writeln!(text, "route {network}/24 blackhole;").expect("String takes all");
    }
    let file = fabric.path_of("tor1", MANY_FILE).expect("a router's own file");
    std::fs::write(file, text + "}\n").expect("it can be written");
    let _ = fabric.ask("tor1", &["birdc", "configure"]);
}

/// Files that an earlier or a later release has left, or that are damaged.
#[test]
fn daemon_that_finds_state_of_another_release_loses_no_packet_and_keeps_its_pods() {
    no_packet_is_lost_until(
        "bird",
        |fabric| {
            fabric.stop("node1").expect("it ends");
            let script = "cd /run/slash32 && ls && \
                for file in routed.run routed.drain leases owed-detaches; do \
                    echo '{\"version\":99,\"boot\":\"x\",\"more\":1}' > $file; \
                done";
            let _ = fabric.ask("node1", &["bash", "-c", script]);
        },
        |fabric| {
            fabric.start("node1").expect("it starts");
            let log = fabric.ask("node1", &["cat", "/var/log/routed.log"]);
            assert!(log.contains("the journal of leases is not used"), "{log}");
            assert!(!log.contains("panicked"), "{log}");
            let pods = fabric.ask_json("node1", &["routed", "show", "pods", "-o", "json"]);
            assert_eq!(pods.as_array().map(Vec::len), Some(1), "{pods}");
        },
    );
}

#[test]
fn readyz_says_no_while_the_daemon_is_being_stopped() {
    let fabric = Fabric::established(&two_nodes("bird"));
    let ready = || routed::http(&fabric, "node1", "/readyz");
    eventually("it is ready", ready, |answer| answer.starts_with("HTTP/1.1 200"));
    let argv = ["routed", "stop", "--drain", "--settle", "4"];
    let mut command = fabric.command("node1", &argv);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let mut stop = command.spawn().expect("testbed starts");
    let answer =
        eventually("it is ready no longer", ready, |answer| answer.starts_with("HTTP/1.1 503"));
    assert!(answer.contains("drain") || answer.contains("stop"), "{answer}");
    // Still there, and still forwarding.
    fabric.kernel_leads("node1", &PODS_OF_NODE2[..1], &["tor1"]);
    assert!(stop.try_wait().expect("it can be asked").is_none(), "it is still under way");
    assert!(stop.wait().expect("it ends").success());
}

/// Pods of two nodes ping each other over one ToR while the first node's daemon goes and comes.
fn no_packet_is_lost(tor: &str, end: impl Fn(&Fabric)) {
    no_packet_is_lost_while(tor, "node1", end);
}

/// The same while the software of any of the three goes and comes.
fn no_packet_is_lost_while(tor: &str, away: &str, end: impl Fn(&Fabric)) {
    no_packet_is_lost_until(tor, end, |fabric| fabric.start(away).expect("it starts"));
}

/// The same between `end` and `begin`.
fn no_packet_is_lost_until(tor: &str, end: impl Fn(&Fabric), begin: impl Fn(&Fabric)) {
    let fabric = Fabric::up(&two_nodes(tor));
    for node in ["node1", "node2"] {
        routed::stands(&fabric, node, "tor1");
    }
    // GoBGP has no next hop for IPv6 routes on a session over IPv4.
    let families = if tor == "gobgp" { ..1 } else { ..2 };
    let (pods_of_node1, pods_of_node2) = (&PODS_OF_NODE1[families], &PODS_OF_NODE2[families]);
    for node in ["node1", "node2"] {
        fabric.pod_add(node, "web").expect("the plugin adds a pod");
    }
    fabric.kernel_leads("node1", pods_of_node2, &["tor1"]);
    fabric.kernel_leads("node2", pods_of_node1, &["tor1"]);
    fabric.kernel_leads("tor1", pods_of_node1, &["node1"]);
    fabric.pings("node1/web", &["node2/web"]);

    let flow = Flow::start(&fabric);
    sleep(Duration::from_millis(300));
    end(&fabric);
    sleep(Duration::from_secs(2));
    // The ToR still sends to the node, and tells the others to send there.
    fabric.kernel_leads("tor1", pods_of_node1, &["node1"]);
    fabric.kernel_leads("node2", pods_of_node1, &["tor1"]);
    begin(&fabric);
    let back = eventually(
        "the session is there again",
        || routed::peer(&fabric, "node1", "tor1"),
        |peer| peer["state"] == "Established",
    );
    assert!(back["capabilities"].to_string().contains("graceful restart"), "{back}");
    fabric.kernel_leads("node1", pods_of_node2, &["tor1"]);
    // Long enough for whatever the End-of-RIBs bring about.
    sleep(Duration::from_secs(3));
    fabric.kernel_leads("tor1", pods_of_node1, &["node1"]);
    let lines = flow.stop();
    assert!(lines.len() >= pods_of_node1.len(), "{lines:?}");
    for line in &lines {
        assert!(line.contains(" 0 lost"), "{lines:#?}");
    }
}

/// Echo requests every 10 ms in both families.
struct Flow(Option<Child>);

impl Flow {
    fn start(fabric: &Fabric) -> Self {
        let arguments = ["ping", "node2/web", "node1/web", "--endless", "--quiet", "-i", "0.01"];
        let mut command = fabric.testbed(&arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        Self(Some(command.spawn().expect("testbed pings")))
    }

    /// A line for each address.
    fn stop(mut self) -> Vec<String> {
        let child = self.0.take().expect("it is stopped once");
        terminate(&child);
        let output = child.wait_with_output().expect("it ends");
        String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            terminate(child);
            let _ = child.wait();
        }
    }
}

fn terminate(child: &Child) {
    // It may have ended.
    let _ = kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM);
}

const PODS_OF_NODE1: [&str; 2] = ["10.244.11.0/24", "fd00:10:244:11::/64"];
const PODS_OF_NODE2: [&str; 2] = ["10.244.12.0/24", "fd00:10:244:12::/64"];

fn two_nodes(tor: &str) -> String {
    let (tor, second) = match tor {
        "gobgp" => (gobgp(), ["", ""]),
        "bird-with-many-routes" => (MANY_ROUTES.to_owned(), BOTH),
        "frr-restarting" => (FRR_RESTARTING.to_owned(), BOTH),
        runs => (format!("runs = \"{runs}\""), BOTH),
    };
    let [second1, second2] = second;
    format!(
        r#"
links = [["tor1", "node1"], ["tor1", "node2"]]
[[nodes]]
name = "node1"
asn = 4200000011
pods = ["10.244.11.0/24"{second1}]
[[nodes]]
name = "node2"
asn = 4200000012
pods = ["10.244.12.0/24"{second2}]
[[tors]]
name = "tor1"
asn = 4200000001
{tor}
"#
    )
}

/// The nodes' ranges of IPv6.
const BOTH: [&str; 2] = [", \"fd00:10:244:11::/64\"", ", \"fd00:10:244:12::/64\""];

const MANY_FILE: &str = "/etc/bird/many.conf";
const MANY_ROUTES: &str = r#"runs = "bird"
extra_config = 'include "/etc/bird/many.conf";'
files = { "/etc/bird/many.conf" = "" }
"#;

/// FRR that restarts itself, instead of only helping others, and keeps its routes meanwhile.
const FRR_RESTARTING: &str = r#"runs = "frr"
extra_config = """
router bgp 4200000001
 bgp graceful-restart
 bgp graceful-restart preserve-fw-state
exit
"""
"#;

/// GoBGP, which writes no routes itself: they stand in the kernel from the beginning.
fn gobgp() -> String {
    let neighbor = |address: &str, asn: u32| {
        format!(
            r#"
[[neighbors]]
[neighbors.config]
neighbor-address = "{address}"
peer-as = {asn}
[neighbors.timers.config]
connect-retry = 1
hold-time = 9
idle-hold-time-after-reset = 1
[neighbors.graceful-restart.config]
enabled = true
notification-enabled = true
restart-time = 30
[[neighbors.afi-safis]]
[neighbors.afi-safis.config]
afi-safi-name = "ipv4-unicast"
[neighbors.afi-safis.mp-graceful-restart.config]
enabled = true
"#
        )
    };
    format!(
        r#"runs = "none"
command = ["bash", "-c", "ip route replace 10.244.11.0/24 via 10.1.0.1 && ip route replace 10.244.12.0/24 via 10.1.0.3 && exec gobgpd -r -f /etc/gobgpd.toml --pprof-disable"]
[tors.files]
"/etc/gobgpd.toml" = """
[global.config]
as = 4200000001
router-id = "10.0.0.1"
{}{}"""
"#,
        neighbor("10.1.0.1", 4_200_000_011),
        neighbor("10.1.0.3", 4_200_000_012)
    )
}
