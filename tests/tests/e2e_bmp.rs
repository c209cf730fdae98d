//! What monitoring stations are told while BIRD and FRR are peers: compared with what our own and
//! the peers' tools say, as an independent decoder and another's collector (pmbmpd) read it.
//!
//! Needs the binaries of the workspace, BIRD, FRR and pmacct; root or user namespaces.

use std::{collections::BTreeSet, fs, net::IpAddr, path::Path, process::Child};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use tempfile::TempDir;
use tests::{
    fabric::{Fabric, Seen, eventually, routed},
    station::{Station, Table, Whose},
};

#[test]
fn a_station_is_told_every_session_table_and_count() {
    let fabric = Fabric::established(&topology(ALL_VIEWS));
    let collector = Collector::start(&fabric);
    let station = eventually(
        "all tables are told whole",
        || collector.hears(1),
        |station| {
            let peers = [TOR1, TOR2].map(whose);
            let out = [Table::AdjRibOutPrePolicy, Table::AdjRibOut];
            let of_peers = [Table::PrePolicy, Table::PostPolicy].into_iter().chain(out);
            let of_peers: Vec<_> = of_peers.collect();
            station.is_complete(None, Table::LocRib)
                && prefixes(station, whose(TOR2), Table::PrePolicy) == of(&FRRS)
                && peers.iter().all(|peer| of_peers.iter().all(|t| station.is_complete(*peer, *t)))
        },
    );

    assert_eq!(station.router.last().map(String::as_str), Some("node1"), "{:?}", station.router);
    assert_eq!(station.up.len(), 3);
    let router_ids = [(TOR1, 4_200_000_001, "10.1.0.1"), (TOR2, 4_200_000_002, "10.1.0.3")];
    for ((name, address, asn, own), shown) in ["tor1", "tor2"]
        .into_iter()
        .zip(router_ids)
        .map(|(name, (address, asn, own))| (name, address, asn, own))
        .zip(["tor1", "tor2"].map(|name| routed::peer(&fabric, "node1", name)))
    {
        let session = &station.up[&whose(address)];
        assert_eq!(session.asn, asn);
        assert_eq!(shown["router_id"], session.router_id.as_str(), "{name}");
        let opening = &session.opening;
        assert_eq!(opening.local_addr.to_string(), own);
        assert!(opening.local_port == 179 || opening.remote_port == 179, "{opening:?}");
        for (open, asn) in [(&opening.sent_open, 4_200_000_011), (&opening.received_open, asn)] {
            assert!(format!("{open:?}").contains(&asn.to_string()), "{open:?}");
        }
        let announced = routed::announced(&fabric, "node1", name);
        assert_eq!(station.table(whose(address), Table::PrePolicy), announced);
        let let_in = announced.iter().filter(|seen| is_let_in(seen)).cloned();
        let let_in: Vec<_> = let_in.map(|seen| Seen { med: Some(7), ..seen }).collect();
        assert_eq!(station.table(whose(address), Table::PostPolicy), let_in);
        let advertised = routed::advertised(&fabric, "node1", name);
        assert_eq!(advertised.len(), PODS.len());
        assert_eq!(station.table(whose(address), Table::AdjRibOut), advertised);
        // What policy, which lets nothing but own ranges out, is asked about.
        let own = prefixes(&station, whose(address), Table::PostPolicy);
        let others: BTreeSet<_> =
            best().into_iter().filter(|prefix| !own.contains(prefix)).collect();
        assert_eq!(prefixes(&station, whose(address), Table::AdjRibOutPrePolicy), others);
    }
    assert_eq!(prefixes(&station, whose(TOR1), Table::PrePolicy), of(&BIRDS));
    let best = best();
    assert_eq!(prefixes(&station, None, Table::LocRib), best);
    for own in station.table(None, Table::LocRib) {
        let is_own = PODS.contains(&&*own.prefix.to_string());
        assert_eq!(own.next_hop.is_unspecified(), is_own, "RFC 9069: {own:?}");
    }

    let counted = eventually(
        "counts are told",
        || collector.hears(1).statistics,
        |statistics| statistics.len() == 3,
    );
    let count = |peer: Whose, kind, afi| counted[&peer].get(&(kind, afi)).copied();
    for (address, received, rejected) in [(TOR1, &BIRDS[..], 0), (TOR2, &FRRS[..], 1)] {
        let peer = whose(address);
        assert_eq!(count(peer, 0, 0), Some(rejected));
        assert_eq!(count(peer, 7, 0), Some(received.len() as u64));
        let of_ipv6 = received.iter().filter(|prefix| prefix.contains(':')).count() as u64;
        assert_eq!(count(peer, 9, 2), Some(of_ipv6));
        assert_eq!(count(peer, 9, 1), Some(received.len() as u64 - of_ipv6));
        assert_eq!(count(peer, 15, 0), Some(2));
        assert_eq!((count(peer, 17, 1), count(peer, 17, 2)), (Some(1), Some(1)));
    }
    assert_eq!(count(None, 8, 0), Some(best.len() as u64));
    assert_eq!(count(None, 10, 2), Some(3));

    let row = routed::station(&fabric, "node1");
    assert_eq!((&row["name"], &row["state"]), (&"collector".into(), &"connected".into()));
    assert_eq!(row["messages"]["peer_up"], 3);
    let metrics = routed::metrics(&fabric, "node1");
    assert!(metrics.contains("slash32_bmp_up{station=\"collector\"} 1"), "{metrics}");
}

#[test]
fn a_station_follows_sessions_that_end_and_come_back_and_the_daemons_end() {
    let fabric = Fabric::established(&topology(ALL_VIEWS));
    let collector = Collector::start(&fabric);
    let told = |station: &Station, tor| station.is_complete(whose(tor), Table::PrePolicy);
    eventually("both are told", || collector.hears(1), |s| told(s, TOR1) && told(s, TOR2));

    fabric.kill("tor2").expect("it dies");
    let station = eventually(
        "the end of the session with FRR",
        || collector.hears(1),
        |station| !station.up.contains_key(&whose(TOR2)),
    );
    assert_eq!(station.ended, [(whose(TOR2), LOST, Vec::new())]);
    assert!(told(&station, TOR1));
    fabric.start("tor2").expect("it starts");
    let is_back = |station: &Station| prefixes(station, whose(TOR2), Table::PrePolicy) == of(&FRRS);
    eventually("FRR is back", || collector.hears(1), is_back);

    let _ = fabric.ask("node1", &["routed", "peer", "tor1", "disable", "maintenance"]);
    let station = eventually(
        "the end of the session with BIRD",
        || collector.hears(1),
        |station| !station.up.contains_key(&whose(TOR1)),
    );
    let (of_whom, reason, notification) = station.ended.last().expect("just ended");
    assert_eq!((*of_whom, *reason), (whose(TOR1), TOLD));
    // A whole NOTIFICATION: Cease/2 with the text (RFC 9003).
    assert_eq!(notification[18..22], [3, 6, 2, 11], "{notification:?}");
    assert_eq!(&notification[22..], b"maintenance");
    let gone = |station: &Station| {
        let best = prefixes(station, None, Table::LocRib);
        of(&BIRDS).iter().all(|prefix| !best.contains(prefix))
    };
    eventually("its routes leave the Loc-RIB", || collector.hears(1), gone);

    fabric.stop("node1").expect("it stops");
    let last = eventually("a Termination", || collector.hears(1), |s| s.terminated.is_some());
    assert_eq!(last.terminated, Some(0), "administratively closed");
}

#[test]
fn a_station_that_comes_back_is_told_everything_anew_and_a_reload_changes_what_it_is_told() {
    let fabric = Fabric::established(&topology(r#"["pre-policy"]"#));
    let whole = |station: &Station| prefixes(station, whose(TOR1), Table::PrePolicy) == of(&BIRDS);
    let row = eventually(
        "nobody is there",
        || routed::station(&fabric, "node1"),
        |row| row["state"] == "waiting",
    );
    let error = row["last_error"].as_str().expect("there is one");
    assert!(error.contains("cannot connect to 10.1.0.0:5000"), "{error}");

    let first = Collector::start(&fabric);
    eventually("all is told", || first.hears(1), whole);
    drop(first);
    let lost = eventually(
        "it is lost",
        || routed::station(&fabric, "node1"),
        |row| row["state"] != "connected",
    );
    assert_eq!(lost["connections"], 1);
    let second = Collector::start(&fabric);
    let station = eventually("all is told again", || second.hears(1), whole);
    assert!(!station.up.contains_key(&None), "no Loc-RIB is asked for");

    let said = routed::reload(&fabric, "node1", "interval = 1\n", "interval = 0\n");
    assert!(said.contains("bmp[collector].statistics_interval"), "{said}");
    assert_eq!(routed::station(&fabric, "node1")["connections"], 2);
    let said = routed::reload(&fabric, "node1", r#"["pre-policy"]"#, r#"["loc-rib"]"#);
    assert!(said.contains("reset"), "{said}");
    eventually("the old connection ends", || second.hears(1), |s| s.terminated == Some(0));
    let of_own = |station: &Station| station.is_complete(None, Table::LocRib);
    let station = eventually("the Loc-RIB is told", || second.hears(2), of_own);
    for tor in [TOR1, TOR2] {
        assert_eq!(station.table(whose(tor), Table::PrePolicy), []);
        assert!(station.up.contains_key(&whose(tor)));
    }

    let _ = routed::reload(&fabric, "node1", "name = \"collector\"", "name = \"other\"");
    let station = routed::station(&fabric, "node1");
    assert_eq!((&station["name"], &station["connections"]), (&"other".into(), &3.into()));
    let file = fabric.path_of("node1", "/etc/slash32/routed.toml").expect("a router's own file");
    let text = fs::read_to_string(&file).expect("it is there");
    let (without, _) = text.split_once("[[bmp]]").expect("just written");
    fs::write(&file, without).expect("it can be written");
    let _ = fabric.ask("node1", &["routed", "reload"]);
    eventually("it is left for good", || second.hears(2), |s| s.terminated == Some(4));
    let none = fabric.ask("node1", &["routed", "show", "bmp"]);
    assert_eq!(none, "no monitoring stations: routed.toml has no [[bmp]]\n");
    assert_eq!(routed::peer(&fabric, "node1", "tor1")["established_count"], 1);
}

#[test]
fn a_station_that_takes_nothing_is_given_up_and_delays_no_peer() {
    let routes: String = (0..ROUTES)
        .map(|n| {
            let (high, low) = (n / 256, n % 256);
            format!(
                "    route 100.{high}.{low}.0/24 blackhole {{ bgp_community.add((1,{n})); }};\n"
            )
        })
        .collect();
    let many = format!("protocol static many {{\n    ipv4;\n{routes}}}\n");
    let text = topology(ALL_VIEWS).replace("send_hold_time = 60", "send_hold_time = 2");
    // Other than in the other tests, the node passes on what it hears.
    let text = text.replace("protocol static marked", &format!("{many}protocol static marked"));
    let text = text.replace("export = \"originated\"", "export = \"all\"");
    let fabric = Fabric::up(&text);
    let collector = Collector::start_deaf(&fabric);
    let last = format!("100.{}.{}.0/24", (ROUTES - 1) / 256, (ROUTES - 1) % 256);
    // FRR hears by way of the node what BIRD announces.
    fabric.kernel_leads("tor2", &[&last], &["node1"]);

    let row = eventually(
        "the station is given up",
        || routed::station(&fabric, "node1"),
        |row| {
            row["last_error"].as_str().is_some_and(|error| error.contains("took nothing for 2 s"))
        },
    );
    assert!(row["queued_octets"].as_u64().is_some_and(|octets| octets < 1 << 20), "{row}");
    for tor in ["tor1", "tor2"] {
        let peer = routed::peer(&fabric, "node1", tor);
        assert_eq!(
            (&peer["state"], &peer["established_count"]),
            (&"Established".into(), &1.into())
        );
    }

    collector.listen();
    let connection = eventually(
        "a connection on which all is told",
        || collector.last(),
        |number| {
            let Some(number) = number else { return false };
            let table = collector.hears(*number).table(whose(TOR1), Table::PostPolicy);
            table.len() == BIRDS.len() + ROUTES
        },
    );
    let told = collector.hears(connection.expect("just seen"));
    let passed_on = routed::advertised(&fabric, "node1", "tor2");
    eventually(
        "what FRR is told is told",
        || collector.hears(connection.expect("just seen")).table(whose(TOR2), Table::AdjRibOut),
        |table| *table == passed_on,
    );
    assert_eq!(told.terminated, None);
}

#[test]
fn the_collector_of_pmacct_reads_what_it_is_told() {
    let fabric = Fabric::established(&topology(ALL_VIEWS));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("log");
    let log = file.to_str().expect("plain letters");
    let argv = ["pmbmpd", "-L", "10.1.0.0", "-l", "5000", "-o", log];
    let running = fabric.spawn("tor1", &argv).expect("testbed starts");
    let _running = Running(running);
    let read = || -> Vec<Value> {
        let text = fs::read_to_string(&file).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    };
    let routes = |events: &[Value], of: &dyn Fn(&Value) -> bool| -> BTreeSet<String> {
        let is = |event: &&Value| event["bmp_msg_type"] == "route_monitor" && of(event);
        let prefix = |event: &Value| event["ip_prefix"].as_str().map(str::to_owned);
        events.iter().filter(is).filter_map(prefix).collect()
    };
    let of_peer = |event: &Value, address: &str| event["peer_ip"] == address;
    let best = best();
    let events = eventually("pmbmpd has every table", &read, |events| {
        let is_loc = |event: &Value| event["is_loc"] == 1;
        let pre = |event: &Value| {
            event["is_in"] == 1 && event["is_post"] == 0 && of_peer(event, "10.1.0.2")
        };
        let out = |event: &Value| {
            event["is_out"] == 1 && event["is_post"] == 1 && of_peer(event, "10.1.0.0")
        };
        routes(events, &is_loc) == best
            && routes(events, &pre) == of(&FRRS)
            && routes(events, &out) == of(&PODS)
    });
    let ups = events.iter().filter(|event| event["bmp_msg_type"] == "peer_up");
    let ups: BTreeSet<_> = ups.filter_map(|event| event["peer_ip"].as_str()).collect();
    assert!(ups.is_superset(&[TOR1, TOR2].into()), "{ups:?}");
    let is_init = |event: &Value| event["bmp_msg_type"] == "init";
    assert!(events.iter().any(is_init), "{events:#?}");
    let count = |event: &Value| event["counter_type"] == 8 && event["counter_value"] == 7;
    eventually("pmbmpd has counts", &read, |events| events.iter().any(count));
}

/// The collector of this package, on tor1.
struct Collector {
    folder: TempDir,
    _running: Running,
}

/// A program in a lab, ended with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let pid = self.0.id().try_into().expect("a process id");
        // It may have ended by itself.
        let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        let _ = self.0.wait();
    }
}

impl Collector {
    fn start(fabric: &Fabric) -> Self {
        Self::start_in(fabric, tempfile::tempdir().expect("a temporary folder"))
    }

    /// One that takes nothing.
    fn start_deaf(fabric: &Fabric) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::write(folder.path().join("deaf"), "").expect("a file");
        Self::start_in(fabric, folder)
    }

    fn start_in(fabric: &Fabric, folder: TempDir) -> Self {
        let program = env!("CARGO_BIN_EXE_bmp-collector");
        let path = folder.path().to_str().expect("plain letters");
        let running = fabric.spawn("tor1", &[program, "10.1.0.0:5000", path]);
        let running = Running(running.expect("testbed starts"));
        let is_there = |name| Path::exists(&folder.path().join(name));
        eventually("the collector listens", || is_there("listening"), |there| *there);
        Self { folder, _running: running }
    }

    /// From now on it takes what comes.
    fn listen(&self) {
        fs::remove_file(self.folder.path().join("deaf")).expect("it is deaf");
    }

    /// The number of the last connection.
    fn last(&self) -> Option<u32> {
        (1..).take_while(|number| self.folder.path().join(number.to_string()).exists()).last()
    }

    /// What was heard on a connection.
    fn hears(&self, connection: u32) -> Station {
        let octets = fs::read(self.folder.path().join(connection.to_string()));
        Station::of(&octets.unwrap_or_default())
    }
}

fn whose(address: &str) -> Whose {
    Some(address.parse::<IpAddr>().expect("an address"))
}

fn prefixes(station: &Station, whose: Whose, table: Table) -> BTreeSet<String> {
    station.table(whose, table).iter().map(|seen| seen.prefix.to_string()).collect()
}

fn of(prefixes: &[&str]) -> BTreeSet<String> {
    prefixes.iter().map(|prefix| (*prefix).to_owned()).collect()
}

/// Not what policy rejects, nor what has been here before.
fn is_let_in(seen: &Seen) -> bool {
    seen.prefix.to_string() != REJECTED && !seen.as_path.contains(&4_200_000_011)
}

/// The prefixes of the node's Loc-RIB.
fn best() -> BTreeSet<String> {
    let all = of(&BIRDS).into_iter().chain(of(&FRRS)).chain(of(&PODS));
    all.filter(|prefix| prefix != REJECTED).collect()
}

/// BIRD on tor1, FRR on tor2, and between them the node, which tells a station on tor1 of these
/// views.
fn topology(views: &str) -> String {
    format!(
        r#"
links = [["tor1", "node1"], ["tor2", "node1"]]
[[tors]]
name = "tor1"
asn = 4200000001
runs = "bird"
networks = ["192.0.2.0/24", "2001:db8::/48"]
extra_config = """
protocol static marked {{
    ipv4;
    route 198.51.100.0/24 blackhole {{
        bgp_path.prepend(64999);
        bgp_community.add((65001,7));
        bgp_large_community.add((4200000001,1,2));
    }};
}}
"""
[[tors]]
name = "tor2"
asn = 4200000002
runs = "frr"
networks = ["198.18.0.0/24", "203.0.113.0/24", "2001:db8:18::/48"]
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
import = "marked"
export = "originated"
[[peers]]
name = "tor1"
address = "10.1.0.0"
asn = 4200000001
graceful_restart = false
[[peers]]
name = "tor2"
address = "10.1.0.2"
asn = 4200000002
graceful_restart = false
[pods]
ipv4 = ["10.244.11.0/24"]
ipv6 = ["fd00:10:244:11::/64"]
[[policies]]
name = "marked"
default = "reject"
[[policies.statements]]
prefixes = ["{REJECTED}"]
action = "reject"
[[policies.statements]]
set = {{ med = 7 }}
action = "accept"
[[bmp]]
name = "collector"
address = "10.1.0.0:5000"
views = {views}
statistics_interval = 1
connect_retry = 1
send_hold_time = 60
"""
"#
    )
}

const ALL_VIEWS: &str =
    r#"["pre-policy", "post-policy", "loc-rib", "adj-rib-out-pre-policy", "adj-rib-out"]"#;
const TOR1: &str = "10.1.0.0";
const TOR2: &str = "10.1.0.2";
/// What BIRD announces.
const BIRDS: [&str; 3] = ["192.0.2.0/24", "198.51.100.0/24", "2001:db8::/48"];
/// What FRR announces: what it hears from the node goes back there.
const FRRS: [&str; 5] = [
    "10.244.11.0/24",
    "198.18.0.0/24",
    "203.0.113.0/24",
    "2001:db8:18::/48",
    "fd00:10:244:11::/64",
];
/// What the node announces.
const PODS: [&str; 2] = ["10.244.11.0/24", "fd00:10:244:11::/64"];
/// What of it import policy does not let in.
const REJECTED: &str = "203.0.113.0/24";
/// Routes that fill every buffer on the way to a station that takes nothing.
const ROUTES: usize = 8000;
/// Reasons of Peer Down (RFC 7854 §4.9).
const TOLD: u8 = 1;
const LOST: u8 = 4;
