//! A daemon that dies or is restarted costs no packet: with graceful restart the top-of-rack
//! router goes on sending to the node, whose kernel goes on forwarding, and the next run takes
//! over without a route having been withdrawn anywhere.
//!
//! Needs the binaries of the workspace, BIRD and FRR; root or user namespaces.

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
fn daemon_that_dies_again_while_it_restarts_loses_no_packet() {
    no_packet_is_lost("bird", |fabric| {
        fabric.kill("node1").expect("it dies");
        fabric.start("node1").expect("it starts");
        fabric.kill("node1").expect("it dies again");
    });
}

/// Pods of two nodes ping each other over one ToR while the first node's daemon goes and comes.
fn no_packet_is_lost(tor: &str, end: impl Fn(&Fabric)) {
    let fabric = Fabric::established(&two_nodes(tor));
    for node in ["node1", "node2"] {
        fabric.pod_add(node, "web").expect("the plugin adds a pod");
    }
    fabric.kernel_leads("node1", &PODS_OF_NODE2, &["tor1"]);
    fabric.kernel_leads("node2", &PODS_OF_NODE1, &["tor1"]);
    fabric.kernel_leads("tor1", &PODS_OF_NODE1, &["node1"]);
    fabric.pings("node1/web", &["node2/web"]);

    let flow = Flow::start(&fabric);
    sleep(Duration::from_millis(300));
    end(&fabric);
    sleep(Duration::from_secs(2));
    // The ToR still sends to the node, and tells the others to send there.
    fabric.kernel_leads("tor1", &PODS_OF_NODE1, &["node1"]);
    fabric.kernel_leads("node2", &PODS_OF_NODE1, &["tor1"]);
    fabric.start("node1").expect("it starts");
    let back = eventually(
        "the session is there again",
        || routed::peer(&fabric, "node1", "tor1"),
        |peer| peer["state"] == "Established",
    );
    assert!(back["capabilities"].to_string().contains("graceful restart"), "{back}");
    fabric.kernel_leads("node1", &PODS_OF_NODE2, &["tor1"]);
    // Long enough for whatever the End-of-RIBs bring about.
    sleep(Duration::from_secs(3));
    fabric.kernel_leads("tor1", &PODS_OF_NODE1, &["node1"]);
    let lines = flow.stop();
    assert!(lines.len() >= 2, "{lines:?}");
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
    format!(
        r#"
links = [["tor1", "node1"], ["tor1", "node2"]]
[[tors]]
name = "tor1"
asn = 4200000001
runs = "{tor}"
[[nodes]]
name = "node1"
asn = 4200000011
pods = ["10.244.11.0/24", "fd00:10:244:11::/64"]
[[nodes]]
name = "node2"
asn = 4200000012
pods = ["10.244.12.0/24", "fd00:10:244:12::/64"]
"#
    )
}
