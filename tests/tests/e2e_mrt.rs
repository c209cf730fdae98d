//! MRT files of a daemon with BIRD and FRR as peers: the table and every message, read by bgpdump and
//! by an independent decoder, compared with what our and the peers' own tools say; and a disk that is
//! full.
//!
//! Needs the binaries of the workspace, BIRD, FRR and bgpdump; root or user namespaces.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::Command,
};

use bgpkit_parser::{
    models::{
        Bgp4MpEnum, Bgp4MpType, BgpMessage, BgpState, EntryType, MrtMessage, MrtRecord,
        TableDumpV2Message,
    },
    parser::mrt::mrt_record::parse_mrt_record,
};
use serde_json::Value;
use tests::{
    fabric::{Fabric, Seen, eventually, routed},
    oracle,
};

#[test]
fn a_dump_is_read_by_bgpdump_with_every_peer_and_path() {
    let fabric = Fabric::established(&topology("", ""));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("table.mrt");
    settled(&fabric);

    let said = fabric.ask("node1", &["routed", "dump", text(&file)]);
    let paths = BIRDS.len() + FRRS.len() + PODS.len();
    assert!(said.contains(&format!("{paths} paths of 3 peers")), "{said}");

    let dumped = bgpdump(&file);
    for (name, address) in [("tor1", TOR1), ("tor2", TOR2)] {
        let announced = routed::announced(&fabric, "node1", name);
        let expected: BTreeSet<_> = announced.iter().map(|seen| line(address, seen)).collect();
        let told: BTreeSet<_> = dumped.iter().filter(|line| line[0] == address).cloned().collect();
        assert_eq!(told, expected, "{name}");
    }
    let own: BTreeSet<_> =
        dumped.iter().filter(|line| line[0] == "0.0.0.0").map(|line| line[2].clone()).collect();
    assert_eq!(own, PODS.map(str::to_owned).into());
    assert_eq!(dumped.len(), paths);

    // To stdout it is the same, but for the time of the dump.
    let script = format!("routed dump - > {}/piped && ls {0}", folder.path().display());
    let left = fabric.ask("node1", &["sh", "-c", &script]);
    assert_eq!(left, "piped\ntable.mrt\n", "nothing else is left");
    let piped = bgpdump(&folder.path().join("piped"));
    assert_eq!(piped, dumped);
}

#[test]
fn a_dump_has_path_identifiers_where_the_session_has_them() {
    let fabric = Fabric::established(&topology("add_path_receive = true", ""));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("table.mrt");
    settled(&fabric);
    let _ = fabric.ask("node1", &["routed", "dump", text(&file)]);
    let mut with_ids = BTreeMap::<bool, BTreeSet<String>>::new();
    for MrtRecord { message, .. } in records(&file) {
        let MrtMessage::TableDumpV2Message(message) = message else { panic!("{message:?}") };
        let TableDumpV2Message::RibAfi(rib) = message else { continue };
        for entry in &rib.rib_entries {
            // BIRD offers to send several paths, FRR does not unless told to.
            assert_eq!(entry.peer_index == 1, entry.path_id.is_some(), "{rib:?}");
            let has_id = entry.path_id.is_some();
            with_ids.entry(has_id).or_default().insert(rib.prefix.prefix.to_string());
        }
    }
    assert_eq!(with_ids[&true], BIRDS.map(str::to_owned).into());
    let without: BTreeSet<_> = FRRS.iter().chain(&PODS).map(|p| (*p).to_owned()).collect();
    assert_eq!(with_ids[&false], without);
}

#[test]
fn every_message_and_state_is_recorded_as_both_sides_count_them() {
    let fabric = Fabric::established(&topology("", "[mrt]\nfile = \"/var/log/updates.mrt\"\n"));
    settled(&fabric);
    let file = fabric.path_of("node1", "/var/log/updates.mrt").expect("a router's own file");
    let count = |what: &str| {
        routed::peer(&fabric, "node1", "tor1")[what]["total"].as_u64().expect("a count")
    };
    let counts = || [count("messages_received"), count("messages_sent")];
    let (_, log, _) = eventually(
        "all that is counted is recorded, and no more",
        // The peer goes on talking meanwhile.
        || (counts(), Log::read(&file, TOR1), counts()),
        |(before, log, after)| {
            let kept = [log.received.len() as u64, log.sent.len() as u64];
            (0..2).all(|way| before[way] <= kept[way] && kept[way] <= after[way])
        },
    );
    assert!(matches!(log.received[0], BgpMessage::Open(_)), "{:?}", log.received[0]);
    assert!(matches!(log.sent[0], BgpMessage::Open(_)));
    let announced = |messages: &[BgpMessage]| -> BTreeSet<String> {
        let updates = messages.iter().filter_map(|message| match message {
            BgpMessage::Update(update) if !update.is_end_of_rib() => Some(update.clone()),
            _ => None,
        });
        let updates = updates.map(oracle::update);
        let routes = updates.flat_map(|update| oracle::routes(&update));
        routes.map(|(nlri, _)| nlri.prefix.to_string()).collect()
    };
    assert_eq!(announced(&log.received), BIRDS.map(str::to_owned).into());
    assert_eq!(announced(&log.sent), PODS.map(str::to_owned).into());
    let established = (BgpState::OpenConfirm, BgpState::Established);
    assert_eq!(log.states.last(), Some(&established), "{:?}", log.states);
    assert_eq!(log.states.first().map(|(from, _)| *from), Some(BgpState::Idle));
    assert!(log.states.windows(2).all(|pair| pair[0].1 == pair[1].0), "{:?}", log.states);

    // Ours and the other side's tool: what BIRD has sent is what we have received.
    let lines = bgpdump(&file);
    let told: BTreeSet<_> =
        lines.iter().filter(|line| line[0] == TOR1).map(|line| line[2].clone()).collect();
    assert!(BIRDS.iter().all(|prefix| told.contains(*prefix)), "{told:?}");

    let _ = fabric.ask("node1", &["routed", "peer", "tor1", "disable", "maintenance"]);
    let log = eventually(
        "the end is recorded",
        || Log::read(&file, TOR1),
        |log| log.states.last().is_some_and(|(_, to)| *to == BgpState::Idle),
    );
    assert!(matches!(log.sent.last(), Some(BgpMessage::Notification(_))), "{:?}", log.sent.last());
    let metrics = routed::metrics(&fabric, "node1");
    assert!(metrics.contains("slash32_mrt_up 1"), "{metrics}");
    assert!(metrics.contains("slash32_mrt_dropped_total 0"), "{metrics}");

    // Only of FRR from now on, and only what it says.
    let said = routed::reload(
        &fabric,
        "node1",
        "[mrt]\nfile = \"/var/log/updates.mrt\"\n",
        "[mrt]\nfile = \"/var/log/other.mrt\"\npeers = [\"tor2\"]\nrecord = [\"received\"]\n",
    );
    assert!(said.contains("mrt.file"), "{said}");
    let other = fabric.path_of("node1", "/var/log/other.mrt").expect("a router's own file");
    let _ = fabric.ask("node1", &["routed", "peer", "tor1", "enable"]);
    fabric.sessions_stand();
    let log = eventually(
        "FRR's KEEPALIVE is recorded",
        || Log::read(&other, TOR2),
        |log| !log.received.is_empty(),
    );
    assert!(log.sent.is_empty() && log.states.is_empty(), "{log:?}");
    let of_bird = Log::read(&other, TOR1);
    assert!(of_bird.received.is_empty() && of_bird.sent.is_empty(), "{of_bird:?}");
}

#[test]
fn a_full_disk_is_told_and_hurts_no_peer_and_recording_goes_on_when_there_is_room() {
    let fabric =
        Fabric::established(&topology("", "[mrt]\nfile = \"/var/log/small/updates.mrt\"\n"));
    let failing = |row: &Value, error: &str| {
        row["state"] == "failing" && row["last_error"].as_str().is_some_and(|e| e.contains(error))
    };
    let row = || recorder(&fabric);
    eventually("it has no folder", row, |row| failing(row, "make its folder"));

    let disk = "mkdir -p /var/log/small && mount -t tmpfs -o size=64k tmpfs /var/log/small && \
                head -c 60k /dev/zero > /var/log/small/filler && ! head -c 60k /dev/zero > /var/log/small/more";
    let _ = fabric.ask("node1", &["sh", "-c", disk]);
    // Messages enough to meet the end of the disk: all that is sent is sent again.
    let _ = fabric.ask("node1", &["routed", "peer", "tor1", "reset"]);
    fabric.sessions_stand();
    eventually("the disk is full", row, |row| failing(row, "No space left on device"));
    let shown = fabric.ask("node1", &["routed", "show", "mrt"]);
    assert!(shown.contains("make room"), "{shown}");
    for tor in ["tor1", "tor2"] {
        assert_eq!(routed::peer(&fabric, "node1", tor)["state"], "Established");
    }
    let dump = fabric.exec("node1", &["routed", "dump", "/var/log/small/table.mrt"]);
    let dump = dump.expect("testbed starts");
    let error = String::from_utf8_lossy(&dump.stderr).into_owned();
    assert_eq!(dump.status.code(), Some(1), "{error}");
    assert!(error.contains("/var/log/small/table.mrt cannot be written: No space left"), "{error}");
    let left = fabric.ask("node1", &["ls", "/var/log/small"]);
    assert!(!left.contains("table"), "{left}");

    let _ = fabric.ask("node1", &["rm", "/var/log/small/filler", "/var/log/small/more"]);
    eventually("it goes on", row, |row| row["state"] == "recording" && row["queued_octets"] == 0);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("copy");
    let _ = fabric.ask("node1", &["cp", "/var/log/small/updates.mrt", text(&file)]);
    let log = Log::read(&file, TOR1);
    assert!(
        matches!(log.received[0], BgpMessage::Open(_)),
        "what waited is there from the beginning"
    );
    let states = log.states.iter().filter(|(_, to)| *to == BgpState::Established).count();
    assert!(states >= 2, "{:?}", log.states);
    assert_eq!(row()["dropped"], 0);
}

/// Every route is where it is to be, and what FRR sends back as well.
fn settled(fabric: &Fabric) {
    for (name, prefixes) in [("tor1", &BIRDS[..]), ("tor2", &FRRS[..])] {
        eventually(
            &format!("{name}'s routes"),
            || routed::announced(fabric, "node1", name),
            |seen| seen.iter().map(|seen| seen.prefix.to_string()).eq(prefixes.iter().copied()),
        );
    }
}

fn recorder(fabric: &Fabric) -> Value {
    let rows = fabric.ask_json("node1", &["routed", "show", "mrt", "-o", "json"]);
    assert_eq!(rows.as_array().map(Vec::len), Some(1), "{rows}");
    rows[0].clone()
}

/// What a file of messages has of one peer.
#[derive(Debug, Default)]
struct Log {
    received: Vec<BgpMessage>,
    sent: Vec<BgpMessage>,
    states: Vec<(BgpState, BgpState)>,
}

impl Log {
    fn read(file: &Path, peer: &str) -> Self {
        let mut log = Self::default();
        for MrtRecord { common_header, message } in records(file) {
            assert_eq!(common_header.entry_type, EntryType::BGP4MP_ET);
            let MrtMessage::Bgp4Mp(message) = message else { panic!("{message:?}") };
            match message {
                Bgp4MpEnum::StateChange(change) if change.peer_ip.to_string() == peer => {
                    log.states.push((change.old_state, change.new_state));
                }
                Bgp4MpEnum::Message(message) if message.peer_ip.to_string() == peer => {
                    match message.msg_type {
                        Bgp4MpType::MessageAs4 => log.received.push(message.bgp_message),
                        Bgp4MpType::MessageAs4Local => log.sent.push(message.bgp_message),
                        other => panic!("{other:?}"),
                    }
                }
                Bgp4MpEnum::StateChange(_) | Bgp4MpEnum::Message(_) => {}
            }
        }
        log
    }
}

fn records(file: &Path) -> Vec<MrtRecord> {
    let octets = fs::read(file).unwrap_or_default();
    let mut rest = &octets[..];
    let mut records = Vec::new();
    while !rest.is_empty() {
        let read = parse_mrt_record(&mut rest);
        records.push(read.unwrap_or_else(|error| panic!("the oracle refuses: {}", error.error)));
    }
    records
}

/// Peer, its AS, prefix, AS path, next hop, MED and communities of each announcement that bgpdump has
/// read.
fn bgpdump(file: &Path) -> Vec<Vec<String>> {
    let output = Command::new("bgpdump").args(["-m", text(file)]).output().expect("bgpdump");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!said.contains("WARN") && !said.contains("ERR"), "{said}");
    let lines = printed.lines().filter(|line| !line.contains("|STATE|") && !line.contains("|W|"));
    let fields = lines.map(|line| line.split('|').map(str::to_owned).collect::<Vec<_>>());
    let wanted =
        |fields: Vec<String>| [3, 4, 5, 6, 8, 10, 11].map(|at| fields[at].clone()).to_vec();
    fields.map(wanted).collect()
}

/// A route as [`bgpdump`] gives it, which does not print large communities.
fn line(peer: &str, seen: &Seen) -> Vec<String> {
    let path: Vec<_> = seen.as_path.iter().map(ToString::to_string).collect();
    let communities: Vec<_> = seen.communities.iter().cloned().collect();
    vec![
        peer.to_owned(),
        path[0].clone(),
        seen.prefix.to_string(),
        path.join(" "),
        seen.next_hop.to_string(),
        seen.med.unwrap_or(0).to_string(),
        communities.join(" "),
    ]
}

fn text(path: &Path) -> &str {
    path.to_str().expect("plain letters")
}

/// BIRD on tor1, FRR on tor2, and between them the node: `peer` are lines of each of its `[[peers]]`,
/// `more` further sections.
fn topology(peer: &str, more: &str) -> String {
    format!(
        r#"
links = [["tor1", "node1"], ["tor2", "node1"]]
[[tors]]
name = "tor1"
asn = 4200000001
runs = "bird"
config = """
router id 10.0.0.1;
protocol device {{ }}
protocol static {{ ipv6; route 2001:db8::/48 blackhole; }}
protocol static {{
    ipv4;
    route 192.0.2.0/24 blackhole;
    route 198.51.100.0/24 blackhole {{
        bgp_path.prepend(64999);
        bgp_med = 50;
        bgp_community.add((65001,7));
        bgp_large_community.add((4200000001,1,2));
    }};
}}
protocol bgp node1 {{
    local as 4200000001;
    neighbor 10.1.0.1 as 4200000011;
    hold time 9;
    connect retry time 1;
    ipv4 {{ import all; export where source = RTS_STATIC; next hop self; add paths tx; }};
    ipv6 {{ import all; export where source = RTS_STATIC; next hop self; add paths tx; }};
}}
"""
[[tors]]
name = "tor2"
asn = 4200000002
runs = "frr"
networks = ["198.18.0.0/24", "2001:db8:18::/48"]
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
[[peers]]
name = "tor1"
address = "10.1.0.0"
asn = 4200000001
{peer}
[[peers]]
name = "tor2"
address = "10.1.0.2"
asn = 4200000002
{peer}
[pods]
ipv4 = ["10.244.11.0/24"]
ipv6 = ["fd00:10:244:11::/64"]
{more}
"""
"#
    )
}

const TOR1: &str = "10.1.0.0";
const TOR2: &str = "10.1.0.2";
/// What BIRD announces.
const BIRDS: [&str; 3] = ["192.0.2.0/24", "198.51.100.0/24", "2001:db8::/48"];
/// What FRR announces: what it hears from the node goes back there.
const FRRS: [&str; 4] =
    ["10.244.11.0/24", "198.18.0.0/24", "2001:db8:18::/48", "fd00:10:244:11::/64"];
/// What the node announces.
const PODS: [&str; 2] = ["10.244.11.0/24", "fd00:10:244:11::/64"];
