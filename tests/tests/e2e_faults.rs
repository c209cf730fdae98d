//! The lab's faults (`testbed fault`): each does what it says, is shown, and is undone; and what the
//! daemon makes of lost notifications, flushed routes and a clock that jumps.
//!
//! Needs the binaries of the workspace, BIRD, FRR, nftables and faketime; root or user namespaces.

use std::fmt::Write as _;
use std::process::Stdio;

use tests::fabric::{Fabric, eventually, routed};

const WORLD: [&str; 2] = ["192.0.2.0/24", "2001:db8::/48"];

#[test]
fn packets_are_lost_where_and_as_often_as_was_asked_for() {
    let fabric = Fabric::established(&pair("bird"));
    // Of 200 requests and their answers about half arrive, both ways together.
    fault(&fabric, &["loss", "tor1", "node1", "30"]);
    assert_eq!(shown(&fabric), ["tor1: to node1: 30 % lost", "node1: to tor1: 30 % lost"]);
    let received = answers(&fabric, 200);
    assert!((60..=140).contains(&received), "{received} of 200");

    fault(&fabric, &["loss", "tor1", "node1", "0"]);
    assert_eq!(answers(&fabric, 20), 20);

    fault(&fabric, &["oneway", "tor1", "node1"]);
    assert_eq!(shown(&fabric), ["tor1: to node1: 100 % lost"]);
    let before = packets(&fabric, "tor1");
    assert_eq!(answers(&fabric, 5), 0);
    assert!(packets(&fabric, "tor1") >= before + 5, "requests still arrive at the ToR");
    assert_eq!(fabric.ask("node1", &["cat", "/sys/class/net/tor1/carrier"]), "1\n");

    fabric.clear_faults().expect("faults end");
    fault(&fabric, &["swallow", "tor1"]);
    assert_eq!(answers(&fabric, 5), 0);
    assert_eq!(shown(&fabric), ["tor1: from node1: 100 % lost", "tor1: to node1: 100 % lost"]);

    fabric.clear_faults().expect("faults end");
    assert_eq!(shown(&fabric), [""; 0]);
    assert_eq!(answers(&fabric, 20), 20);
    fabric.sessions_stand();
}

#[test]
fn one_daemon_is_frozen_or_killed_and_clear_has_all_run_again() {
    let fabric = Fabric::established(&pair("frr"));
    fault(&fabric, &["freeze", "tor1", "bgpd"]);
    fault(&fabric, &["kill", "tor1", "zebra"]);
    fault(&fabric, &["stop", "node1"]);
    let wrong = ["tor1: zebra does not run", "tor1: bgpd is frozen", "node1: routed does not run"];
    assert_eq!(shown(&fabric), wrong);
    let show = fabric.testbed(&["show"]).output().expect("testbed starts");
    let show = String::from_utf8_lossy(&show.stdout).into_owned();
    assert!(wrong.iter().all(|line| show.contains(line)), "{show}");

    fabric.clear_faults().expect("faults end");
    assert_eq!(shown(&fabric), [""; 0]);
    fabric.sessions_stand();
    fabric.kernel_leads("node1", &WORLD, &["tor1"]);
    let error = fabric.fault(&["freeze", "tor1", "nix"]).expect_err("there is no such daemon");
    assert!(error.to_string().contains("there are: mgmtd, zebra, bgpd"), "{error:#}");
}

#[test]
fn lost_notifications_and_flushed_routes_are_made_good_and_foreign_routes_stay() {
    let fabric = Fabric::established(&pair("bird"));
    fabric.kernel_leads("node1", &WORLD, &["tor1"]);
    let foreign = "198.51.100.0/24";
    let _ = fabric.ask("node1", &["ip", "route", "add", foreign, "dev", "tor1", "proto", "99"]);
    fault(&fabric, &["overflow", "node1"]);
    eventually(
        "the daemon has noticed",
        || fabric.ask("node1", &["cat", "/var/log/routed.log"]),
        |log| log.contains("kernel notifications were lost"),
    );
    fault(&fabric, &["flush", "node1"]);
    fabric.kernel_leads("node1", &WORLD, &["tor1"]);
    fabric.kernel_leads("node1", &[foreign], &["tor1"]);
}

#[test]
fn clock_that_jumps_ends_no_session() {
    let fabric = Fabric::established(&pair("bird"));
    // The first time daemons are restarted for it.
    fault(&fabric, &["clock", "node1", "0"]);
    let established = routed::stands(&fabric, "node1", "tor1")["established_count"].clone();
    for seconds in ["86400", "-86400", "315360000"] {
        fault(&fabric, &["clock", "node1", seconds]);
        // Longer than a keepalive.
        std::thread::sleep(std::time::Duration::from_secs(4));
        let peer = routed::peer(&fabric, "node1", "tor1");
        assert_eq!(peer["state"], "Established", "{peer}");
        assert_eq!(peer["established_count"], established, "{peer}");
        let of_the_state = peer["since_seconds"].as_u64().unwrap_or_default();
        assert!(of_the_state < 3600, "{peer}");
    }
    assert_eq!(shown(&fabric), ["node1: clock is off by +315360000 s"]);
    let year =
        |place: &str| fabric.ask(place, &["date", "+%Y"]).trim().parse::<i32>().expect("a year");
    let _ = fabric.ask("node1", &["routed", "drain"]);
    let log = fabric.ask("node1", &["tail", "-n", "1", "/var/log/routed.log"]);
    assert!(log.starts_with(&(year("node1") + 10).to_string()), "{log}");
    fabric.clear_faults().expect("faults end");
    assert_eq!(shown(&fabric), [""; 0]);
}

/// What `ip monitor` hears of next-hop objects while one of two ToRs is lost: as much with 4,000 routes
/// as with one.
#[test]
fn lost_tor_is_one_change_of_the_kernels_group_however_many_routes_there_are() {
    let fabric = Fabric::established(&two_tors_with_many_routes());
    let learned = || {
        let routes = fabric.routes("node1").expect("they can be listed");
        let both = routes
            .iter()
            .filter(|route| route.dst.to_string().starts_with("20.") && route.hops.len() == 2);
        both.count()
    };
    eventually("all lead over both", learned, |count| *count == 4_000);
    let mut monitor = fabric.command("node1", &["timeout", "12", "ip", "monitor", "nexthop"]);
    let monitor = monitor.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    let monitor = monitor.expect("testbed starts");
    std::thread::sleep(std::time::Duration::from_secs(1));
    fault(&fabric, &["swallow", "tor2"]);
    eventually("none leads over both", learned, |count| *count == 0);
    let heard = monitor.wait_with_output().expect("it ends by itself");
    let heard = String::from_utf8_lossy(&heard.stdout);
    let groups: Vec<_> = heard.lines().filter(|line| line.contains(" group ")).collect();
    println!("{heard}");
    // The change, and afterwards the group of what BGP decides anew, which takes over the routes.
    let changes = groups.iter().filter(|line| !line.contains("Deleted")).count();
    assert!((1..=2).contains(&changes), "{heard}");
    assert!(heard.lines().count() < 20, "{heard}");
}

fn two_tors_with_many_routes() -> String {
    let mut routes = String::from("protocol static many { ipv4;\n");
    for number in 0..4_000_u32 {
        let network = std::net::Ipv4Addr::from_bits((20 << 24) + (number << 8));
        writeln!(routes, "route {network}/24 blackhole;").expect("String takes all");
    }
    routes.push('}');
    let tor = |number: u8| {
        format!(
            "[[tors]]\nname = \"tor{number}\"\nasn = 4200000001\nruns = \"bird\"\n\
             extra_config = '''\n{routes}\n'''\n"
        )
    };
    format!(
        r#"
bfd = {{ interval = 300, multiplier = 3 }}
links = [["tor1", "node1"], ["tor2", "node1"]]
{}{}
[[nodes]]
name = "node1"
asn = 4200000011
pods = ["10.244.11.0/24"]
"#,
        tor(1),
        tor(2)
    )
}

fn fault(fabric: &Fabric, words: &[&str]) {
    let _ = fabric.fault(words).unwrap_or_else(|error| panic!("{error:#}"));
}

fn shown(fabric: &Fabric) -> Vec<String> {
    let faults = fabric.faults().unwrap_or_else(|error| panic!("{error:#}"));
    faults.lines().map(str::to_owned).collect()
}

/// How many of so many echo requests to the ToR are answered.
fn answers(fabric: &Fabric, requests: u16) -> u64 {
    let count = requests.to_string();
    let arguments = ["ping", "node1", "10.1.0.0", "-c", &count, "-i", "0.005", "-o", "json"];
    let output = fabric.testbed(&arguments).output().expect("testbed starts");
    let tallies: serde_json::Value = serde_json::from_slice(&output.stdout).expect("tallies");
    tallies[0]["received"].as_u64().expect("a number")
}

/// Packets that a router has received from the other.
fn packets(fabric: &Fabric, router: &str) -> u64 {
    let other = if router == "tor1" { "node1" } else { "tor1" };
    let file = format!("/sys/class/net/{other}/statistics/rx_packets");
    fabric.ask(router, &["cat", &file]).trim().parse().expect("a number")
}

fn pair(tor: &str) -> String {
    format!(
        r#"
links = [["tor1", "node1"]]
[[tors]]
name = "tor1"
asn = 4200000001
runs = "{tor}"
networks = ["192.0.2.0/24", "2001:db8::/48"]
[[nodes]]
name = "node1"
asn = 4200000011
pods = ["10.244.11.0/24", "fd00:10:244:11::/64"]
"#
    )
}
