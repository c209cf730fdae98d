//! Sessions with real routers that end, come back, or cannot be had: routes follow, both sides'
//! operators can read why, and no other session notices.
//!
//! Needs the binaries of the workspace, BIRD and FRR; root or user namespaces.

use std::process::Stdio;
use std::time::{Duration, Instant};

use bgp::wire::{self, Codec, Message};
use bytes::Bytes;
use tests::fabric::{Fabric, bird, eventually, frr, routed};

#[test]
fn killed_bird_takes_its_routes_along_and_brings_them_back() {
    killed_router_takes_its_routes_along_and_brings_them_back("bird");
}

#[test]
fn killed_frr_takes_its_routes_along_and_brings_them_back() {
    killed_router_takes_its_routes_along_and_brings_them_back("frr");
}

fn killed_router_takes_its_routes_along_and_brings_them_back(tor: &str) {
    let fabric = Fabric::established(&pair(tor, "", ""));
    fabric.kernel_leads("node1", &WORLD, &["tor1"]);
    fabric.kernel_leads("tor1", &PODS, &["node1"]);

    fabric.kill("tor1").expect("it dies");
    fabric.kernel_leads("node1", &WORLD, &[]);
    let lost = routed::peer(&fabric, "node1", "tor1");
    assert_ne!(lost["last_error"], serde_json::Value::Null, "{lost}");

    fabric.start("tor1").expect("it starts");
    fabric.sessions_stand();
    fabric.kernel_leads("node1", &WORLD, &["tor1"]);
    fabric.kernel_leads("tor1", &PODS, &["node1"]);
}

#[test]
fn cut_cable_to_bird_takes_the_routes_at_once_and_brings_them_back() {
    cut_cable_takes_the_routes_at_once_and_brings_them_back("bird");
}

#[test]
fn cut_cable_to_frr_takes_the_routes_at_once_and_brings_them_back() {
    cut_cable_takes_the_routes_at_once_and_brings_them_back("frr");
}

fn cut_cable_takes_the_routes_at_once_and_brings_them_back(tor: &str) {
    let fabric = Fabric::established(&pair(tor, "", ""));
    fabric.kernel_leads("node1", &WORLD, &["tor1"]);

    let begun = Instant::now();
    fabric.link_set("tor1", "node1", false).expect("the link is there");
    fabric.kernel_leads("node1", &WORLD, &[]);
    // The hold time is 9 s: what is over before its end was seen by the carrier.
    assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());

    fabric.link_set("tor1", "node1", true).expect("the link is there");
    fabric.sessions_stand();
    fabric.kernel_leads("node1", &WORLD, &["tor1"]);
    fabric.kernel_leads("tor1", &PODS, &["node1"]);
}

#[test]
fn router_in_another_as_than_configured_is_refused_and_both_can_read_why() {
    // The node believes that the ToR is in another AS than it is.
    let wrong = NODE.replace("asn = 4200000001", "asn = 4200000009");
    let bird = Fabric::up(&pair("bird", "", &wrong));
    routed::last_error(&bird, "node1", "tor1", SENT);
    says(
        &bird,
        "BIRD was told",
        |lab| bird::session(lab, "tor1", "node1"),
        "Received: Bad peer AS",
    );
    drop(bird);

    let frr = Fabric::up(&pair("frr", "", &wrong));
    routed::last_error(&frr, "node1", "tor1", SENT);
    let told = "Notification received (OPEN Message Error/Bad Peer AS)";
    says(&frr, "FRR was told", |lab| frr::session(lab, "tor1", "10.1.0.1"), told);
    assert_eq!(routed::peer(&frr, "node1", "tor1")["established_count"], 0);
}

#[test]
fn node_in_another_as_than_the_router_expects_is_refused_and_both_can_read_why() {
    let wrong = NODE.replace("asn = 4200000011", "asn = 4200000019");
    let bird = Fabric::up(&pair("bird", "", &wrong));
    routed::last_error(&bird, "node1", "tor1", RECEIVED);
    says(&bird, "BIRD refused", |lab| bird::session(lab, "tor1", "node1"), "Error: Bad peer AS");
    drop(bird);

    let frr = Fabric::up(&pair("frr", "", &wrong));
    routed::last_error(&frr, "node1", "tor1", RECEIVED);
    let refused = "Notification sent (OPEN Message Error/Bad Peer AS)";
    says(&frr, "FRR refused", |lab| frr::session(lab, "tor1", "10.1.0.1"), refused);
}

#[test]
fn wrong_password_keeps_the_session_down_with_a_hint_and_the_right_one_lets_it_up() {
    for tor in ["bird", "frr"] {
        let with_password = |key: &str| {
            let node = NODE.replace(
                "asn = 4200000001",
                "asn = 4200000001\npassword_file = \"/etc/slash32/tor1.key\"",
            );
            pair(tor, "", &node).replace(
                r#"["tor1", "node1"]"#,
                r#"{ ends = ["tor1", "node1"], password = "right" }"#,
            ) + &format!("files = {{ \"/etc/slash32/tor1.key\" = \"{key}\\n\" }}\n")
        };
        let fabric = Fabric::up(&with_password("wrong"));
        routed::last_error(&fabric, "node1", "tor1", "another TCP MD5 password?");
        assert_eq!(routed::peer(&fabric, "node1", "tor1")["established_count"], 0);
        drop(fabric);

        let fabric = Fabric::established(&with_password("right"));
        fabric.kernel_leads("node1", &WORLD, &["tor1"]);
    }
}

#[test]
fn garbage_from_one_peer_is_answered_and_named_and_no_other_session_notices() {
    let fabric = Fabric::up(TWO_PEERS);
    let good = || routed::peer(&fabric, "node1", "good");
    eventually("the good session stands", good, |peer| peer["state"] == "Established");
    fabric.kernel_leads("node1", &WORLD, &["good"]);

    // What a port scanner, a lost HTTP client and a broken router send.
    let broken_header = format!("{}\\x00\\x13\\x09", "\\xff".repeat(16));
    for (octets, code) in [
        ("GET / HTTP/1.1\\r\\nHost: node1\\r\\n\\r\\n", (1, 1)),
        (
            "\\x00\\x01\\x02\\x03\\x04\\x05\\x06\\x07\\x08\\x09\\x0a\\x0b\\x0c\\x0d\\x0e\\x0f\\x10\\x11\\x12",
            (1, 1),
        ),
        (&broken_header, (1, 3)),
    ] {
        let end = eventually(
            "a NOTIFICATION in answer",
            // While the session rests after the last fault, it takes no connection.
            || answer(&fabric, octets),
            |messages| matches!(messages.last(), Some(Message::Notification(_))),
        );
        let Some(Message::Notification(end)) = end.last() else { unreachable!("just seen") };
        assert_eq!((end.code, end.subcode), code, "{octets}");
    }
    routed::last_error(&fabric, "node1", "bad", "Message Header Error");

    assert_eq!(good()["established_count"], 1);
    fabric.kernel_leads("node1", &WORLD, &["good"]);
    let uptime = good()["since_seconds"].as_u64();
    let session = bird::session(&fabric, "good", "node1");
    assert!(session.contains("Established"), "{session}");
    eventually(
        "the good session grows older",
        || good()["since_seconds"].as_u64(),
        |now| *now > uptime,
    );
}

/// Connects from the peer `bad`, sends these octets (as `printf` writes them), and reads to the
/// end of the connection.
fn answer(fabric: &Fabric, octets: &str) -> Vec<Message> {
    let script =
        format!("exec 3<>/dev/tcp/10.1.0.1/179 && printf '{octets}' >&3 && timeout 10 cat <&3");
    let mut command = fabric.command("bad", &["bash", "-c", &script]);
    let output = command.stdin(Stdio::null()).output().expect("testbed starts");
    let mut octets = Bytes::from(output.stdout);
    let mut messages = Vec::new();
    while octets.len() >= wire::HEADER_LEN {
        let length = usize::from(u16::from_be_bytes([octets[16], octets[17]]));
        let message = octets.split_to(length.min(octets.len()));
        messages.push(wire::decode(&message, &Codec::default()).expect("a message of ours"));
    }
    messages
}

/// Waits until what a router's software says contains this.
fn says(fabric: &Fabric, what: &str, said: impl Fn(&Fabric) -> String, contains: &str) {
    eventually(what, || said(fabric), |said| said.contains(contains));
}

const SENT: &str = "sent OPEN Message Error/Bad Peer AS (AS 4200000001 was refused)";
const RECEIVED: &str = "received OPEN Message Error/Bad Peer AS";
/// What the ToR announces.
const WORLD: [&str; 2] = ["192.0.2.0/24", "2001:db8::/48"];
/// What the node announces.
const PODS: [&str; 2] = ["10.244.11.0/24", "fd00:10:244:11::/64"];

/// A ToR and a node; `tor` adds lines to the one, `node` is the other's whole configuration.
fn pair(runs: &str, tor: &str, node: &str) -> String {
    let config = if node.is_empty() { NODE } else { node };
    format!(
        r#"
links = [["tor1", "node1"]]
[[tors]]
name = "tor1"
asn = 4200000001
runs = "{runs}"
networks = ["192.0.2.0/24", "2001:db8::/48"]
{tor}
[[nodes]]
name = "node1"
asn = 4200000011
pods = ["10.244.11.0/24", "fd00:10:244:11::/64"]
config = """{config}"""
"#
    )
}

const NODE: &str = r#"
[node]
name = "node1"
[bgp]
asn = 4200000011
router_id = "10.0.0.11"
hold_time = 9
connect_retry = 1
import = "all"
export = "originated"
[[peers]]
name = "tor1"
address = "10.1.0.0"
asn = 4200000001
[pods]
ipv4 = ["10.244.11.0/24"]
ipv6 = ["fd00:10:244:11::/64"]
"#;

/// A node between BIRD and a router on which only what the test sends is spoken.
const TWO_PEERS: &str = r#"
links = [["bad", "node1"], ["good", "node1"]]
[[tors]]
name = "bad"
asn = 4200000001
runs = "none"
[[tors]]
name = "good"
asn = 4200000002
runs = "bird"
networks = ["192.0.2.0/24", "2001:db8::/48"]
[[nodes]]
name = "node1"
asn = 4200000011
pods = ["10.244.11.0/24", "fd00:10:244:11::/64"]
"#;
