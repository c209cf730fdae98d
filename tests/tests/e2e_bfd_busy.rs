//! Quick BFD stands while every processor has more to do than it can. Alone in its file, since for three
//! seconds nothing else on the machine gets far.
//!
//! Needs the binaries of the workspace; root, without which there are no real-time threads.

use std::process::{Child, Command};

use serde_json::Value;
use tests::fabric::{Fabric, eventually, routed};

#[test]
fn quick_session_stands_while_all_processors_are_busy() {
    let fabric = Fabric::established(QUICK);
    let quick = |bfd: &Value| bfd["state"] == "Up" && bfd["detection_time_micros"] == 150_000;
    let before = eventually("BFD is Up and quick", || bfd(&fabric), quick);
    if before["scheduling"] != "real-time" {
        eprintln!("not tested: no real-time threads here, but {}", before["scheduling"]);
        return;
    }
    // Everything else on the machine, the BGP sides of both daemons included, comes after these.
    let spin = ["3", "nice", "-n", "-5", "sh", "-c", "while :; do :; done"];
    let spin = || Command::new("timeout").args(spin).spawn().expect("coreutils are there");
    let mut spinning: Vec<Child> = (0..6).map(|_| spin()).collect();
    for child in &mut spinning {
        child.wait().expect("it ends by itself");
    }
    let after = bfd(&fabric);
    assert_eq!(after["failure_count"], before["failure_count"], "{after}");
    assert_eq!(after["up_count"], before["up_count"], "{after}");
    // They went on all the time: about 20 packets a second.
    let received = |bfd: &Value| bfd["packets_received"].as_u64().expect("a number");
    let new = received(&after) - received(&before);
    assert!(new >= 45, "{new} packets in three seconds");
    let metrics = routed::metrics(&fabric, "node1");
    assert!(metrics.contains("slash32_bfd_real_time 1"), "{metrics}");
    fabric.sessions_stand();
}

/// Both sides are ours, and quick.
const QUICK: &str = r#"
bfd = { interval = 50, multiplier = 3 }
links = [["tor1", "node1"]]
[[tors]]
name = "tor1"
asn = 4200000001
runs = "routed"
[[nodes]]
name = "node1"
asn = 4200000011
runs = "routed"
pods = ["10.244.11.0/24"]
"#;

fn bfd(fabric: &Fabric) -> Value {
    routed::peer(fabric, "node1", "tor1")["bfd"].clone()
}
