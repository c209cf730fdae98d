//! Promises of `routed.toml`: every fault in one run, each with its place and remedy; what is
//! complete is taken as it is written.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use bgp::{
    config::{PeerAs, Ttl},
    family::{Family, FamilySet},
    rib::View,
};
use routed::config::{Caution, Config, Invalid, Loaded};

/// A file that is valid and says nothing it need not.
const LEAST: &str = "
[node]
name = \"n1\"
[bgp]
asn = 64512
router_id = \"10.0.0.1\"
";

fn data(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/config").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn parse(text: &str) -> Result<Loaded, Invalid> {
    Config::parse(Path::new("routed.toml"), text)
}

/// The faults of the least file with this added, without the file's name and the lines.
fn faults_of(added: &str) -> Vec<String> {
    let invalid = parse(&format!("{LEAST}{added}")).expect_err(added);
    let faults = invalid.faults.iter();
    faults.map(|fault| format!("{}: {}", fault.place.key, fault.problem)).collect()
}

fn warnings_of(added: &str) -> Vec<String> {
    let loaded = parse(&format!("{LEAST}{added}")).unwrap_or_else(|error| panic!("{error}"));
    let warnings = loaded.warnings.iter();
    warnings.map(|warning| format!("{}: {}", warning.place.key, warning.caution)).collect()
}

/// A peer with these lines added.
fn peer(added: &str) -> String {
    format!(
        "[[peers]]\naddress = \"10.1.1.0\"\nasn = 4200000001\nimport = \"all\"\nexport = \"all\"\n{added}\n"
    )
}

#[test]
fn every_fault_of_a_broken_file_is_told_in_one_run() {
    let invalid = parse(&data("faults.toml")).expect_err("the file is broken");
    assert_eq!(format!("{invalid}\n"), data("faults.expected"));
}

#[test]
fn the_example_file_is_valid_and_gives_no_warning() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/routed.example.toml");
    let Loaded { config, warnings } = Config::load(&path).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(warnings, []);
    assert_eq!(config.node.name, "rack1-node1");
    let [tor_a, tor_b, eth1, reflector] = &config.peers[..] else { panic!("{:?}", config.peers) };
    assert_eq!((&*tor_a.name, tor_a.session.hold_time.seconds()), ("tor-a", 9));
    assert!(matches!(tor_a.ttl, Ttl::Security(hops) if hops.get() == 1));
    assert_eq!(tor_a.rib.import.as_ref().unwrap().statements.len(), 3);
    assert_eq!((tor_b.session.peer_asn.clone(), tor_b.ttl), (PeerAs::External, Ttl::OnLink));
    assert_eq!((eth1.session.peer_asn.clone(), &*eth1.name), (PeerAs::External, "eth1"));
    assert_eq!((reflector.session.peer_asn.clone(), reflector.ttl), (PeerAs::Internal, Ttl::Any));
    let [rack] = &config.dynamic_peers[..] else { panic!("{:?}", config.dynamic_peers) };
    assert_eq!((&*rack.name, rack.limit, rack.linger.as_secs()), ("rack", 100, 60));
    let pods = config.pods.unwrap();
    assert_eq!((pods.prefixes.len(), pods.ipam.pools.len(), pods.ipam.reserved.len()), (4, 2, 2));
}

#[test]
fn the_least_file_gets_the_documented_defaults() {
    let config = parse(LEAST).unwrap().config;
    let listen: Vec<_> = config.speaker.listen.iter().map(ToString::to_string).collect();
    assert_eq!(listen, ["0.0.0.0:179", "[::]:179"]);
    assert_eq!(config.speaker.cluster_id, config.speaker.router_id);
    assert_eq!((config.kernel.table, config.kernel.protocol), (254, 132));
    assert!(config.kernel.learned_routes && config.kernel.next_hop_groups);
    assert_eq!(config.sockets.http.unwrap().to_string(), "127.0.0.1:9732");
    assert!(config.pods.is_none());
}

#[test]
fn a_speaker_has_neither_pods_nor_kernel_routes() {
    let speaker = LEAST.replace("\"n1\"", "\"n1\"\nmode = \"speaker\"");
    assert!(!parse(&speaker).unwrap().config.kernel.learned_routes);
    let both = "[pods]\nipv4 = [\"10.244.1.0/24\"]\n[kernel]\nlearned_routes = true\n";
    let invalid = parse(&format!("{speaker}{both}")).unwrap_err();
    assert_eq!(
        invalid.to_string(),
        "routed.toml:8: pods: cannot be in mode \"speaker\"; remove it, or set node.mode = \"node\"\n\
         routed.toml:11: kernel.learned_routes: cannot be in mode \"speaker\"; remove it, or set \
         node.mode = \"node\""
    );
}

#[test]
fn an_empty_file_and_one_of_comments_say_what_is_needed() {
    for text in ["", "\n# nothing yet\n"] {
        assert_eq!(
            parse(text).unwrap_err().to_string(),
            "routed.toml: is empty; it needs at least [node] with a name and [bgp] with asn and \
             router_id"
        );
    }
}

#[test]
fn a_station_needs_an_address_and_is_told_what_its_list_says() {
    let stations = parse(&format!(
        "{LEAST}[[bmp]]\naddress = \"192.0.2.10:5000\"\n[[bmp]]\nname = \"b\"\n\
         address = \"[2001:db8::1]:5000\"\nviews = [\"adj-rib-out\"]\nstatistics_interval = 0\n"
    ));
    let [plain, other] = &stations.unwrap().config.stations[..] else { panic!() };
    assert_eq!((&*plain.name, plain.local_address), ("192.0.2.10:5000", None));
    let told: Vec<_> = plain.views.iter().chain(other.views.iter()).collect();
    assert_eq!(told, [View::PrePolicy, View::LocRib, View::AdjRibOut]);
    let seconds = [plain.connect_retry, plain.send_hold_time].map(|time| time.as_secs());
    assert_eq!((seconds, plain.statistics_interval.unwrap().as_secs()), ([30, 90], 60));
    assert_eq!(other.statistics_interval, None);
}

#[test]
fn faults_of_stations_are_told_with_their_remedy() {
    let station = |lines: &str| faults_of(&format!("[[bmp]]\n{lines}\n"));
    let good = "address = \"192.0.2.10:5000\"\n";
    assert_eq!(station(""), ["bmp[0].address: missing; write address = \"192.0.2.10:5000\""]);
    for (address, expected) in [
        (
            "192.0.2.10",
            "\"192.0.2.10\" is not an address with a port; write it as in 192.0.2.10:5000 or \
             [2001:db8::10]:5000",
        ),
        ("192.0.2.10:0", "port 0 is not allowed; use 1 to 65535 (BGP: 179)"),
        ("0.0.0.0:5000", "0.0.0.0 cannot be used here; use a unicast address of a host"),
    ] {
        let found = station(&format!("address = \"{address}\""));
        assert_eq!(found, [format!("bmp[0].address: {expected}")]);
    }
    for (line, expected) in [
        (
            "local_address = \"fd00::1\"",
            "local_address: fd00::1 and the station 192.0.2.10 are not of one family; use one of \
             the station's",
        ),
        (
            "views = [\"adj-rib-in\"]",
            "views[0]: \"adj-rib-in\" is not known here; use \"pre-policy\", \"post-policy\", \
             \"loc-rib\", \"adj-rib-out-pre-policy\", \"adj-rib-out\"",
        ),
        (
            "views = []",
            "views: must not be empty; write [\"pre-policy\", \"loc-rib\"], or remove the key",
        ),
        ("connect_retry = 0", "connect_retry: 0 is not allowed; use 1 to 65535"),
        ("send_hold_tiem = 9", "send_hold_tiem: unknown key; did you mean send_hold_time?"),
    ] {
        assert_eq!(station(&format!("{good}{line}")), [format!("bmp[0].{expected}")]);
    }
    assert_eq!(
        faults_of(&format!("[[bmp]]\nname = \"a\"\n{good}[[bmp]]\nname = \"a\"\n{good}")),
        [
            "bmp[1].name: the name \"a\" stands in line 8 already; remove one of them",
            "bmp[1].address: the address 192.0.2.10:5000 stands in line 9 already; remove one of \
             them",
        ]
    );
}

#[test]
fn a_recording_has_the_documented_defaults_and_faults_with_their_remedy() {
    let file = "[mrt]\nfile = \"/var/lib/slash32/updates.mrt\"\n";
    let recording = parse(&format!("{LEAST}{file}")).unwrap().config.recording.unwrap();
    assert_eq!((recording.received, recording.sent, recording.states), (true, true, true));
    assert_eq!((recording.peers, recording.keep), (None, Some(24)));
    assert_eq!(recording.rotate_interval.unwrap().as_secs(), 3600);
    assert_eq!(recording.rotate_size, Some(64 << 20));
    let never = format!("{LEAST}{file}rotate_interval = 0\nrotate_size = 0\nkeep = 0\n");
    let never = parse(&never).unwrap().config.recording.unwrap();
    assert_eq!((never.rotate_interval, never.rotate_size, never.keep), (None, None, None));
    let some = format!("{LEAST}{file}record = [\"states\"]\n");
    let some = parse(&some).unwrap().config.recording.unwrap();
    assert_eq!((some.received, some.sent, some.states), (false, false, true));

    assert_eq!(
        faults_of("[mrt]\n"),
        ["mrt.file: missing; write file = \"/var/lib/slash32/updates.mrt\""]
    );
    for (lines, expected) in [
        ("file = \"updates\"", "file: updates is not an absolute path; begin it with /"),
        (
            "file = \"/u\"\nrecord = [\"heard\"]",
            "record[0]: \"heard\" is not known here; use \"received\", \"sent\", \"states\"",
        ),
        (
            "file = \"/u\"\nrecord = []",
            "record: must not be empty; write [\"received\", \"sent\", \"states\"] or some of these",
        ),
        (
            "file = \"/u\"\npeers = []",
            "peers: must not be empty; name some, or remove the key to record all",
        ),
        (
            "file = \"/u\"\npeers = [\"tor-a\"]",
            "peers[0]: no peer or group of [[dynamic_peers]] has the name \"tor-a\"; there is none in \
             this file",
        ),
    ] {
        assert_eq!(faults_of(&format!("[mrt]\n{lines}\n")), [format!("mrt.{expected}")]);
    }
    let named = peer("name = \"tor-a\"") + file + "peers = [\"tor-b\"]\n";
    assert_eq!(
        faults_of(&named),
        ["mrt.peers[0]: no peer or group of [[dynamic_peers]] has the name \"tor-b\"; known are \
          tor-a; did you mean \"tor-a\"?"]
    );
}

#[test]
fn missing_sections_are_missing_keys_without_a_line() {
    assert_eq!(
        parse("[pods]\nipv4 = [\"10.244.1.0/24\"]\n").unwrap_err().to_string(),
        "routed.toml: node.name: missing; write name = \"rack1-node1\"\n\
         routed.toml: bgp.asn: missing; write asn = 4200000011\n\
         routed.toml: bgp.router_id: missing; write router_id = \"10.0.0.11\""
    );
}

#[test]
fn a_half_written_file_is_a_syntax_fault_with_line_and_column() {
    let error = parse(&format!("{LEAST}[[peers]]\naddress = \"10.1.1")).unwrap_err().to_string();
    assert_eq!(
        error,
        "routed.toml:8:18: syntax: invalid basic string, expected `\"`; the file ends here: was it \
         written to its end?"
    );
    let error = parse(&format!("{LEAST}[[pee")).unwrap_err().to_string();
    assert!(error.starts_with("routed.toml:7:"), "{error}");
}

#[test]
fn every_syntax_fault_is_told() {
    let error = parse("[node]\nname = n1\n[bgp]\nasn = 64512 64513\n").unwrap_err();
    let lines: Vec<_> = error.faults.iter().map(|fault| fault.place.line.unwrap()).collect();
    assert_eq!(lines, [2, 4], "{error}");
}

#[test]
fn a_key_given_twice_is_told_with_its_line() {
    let error = parse("[node]\nname = \"a\"\nname = \"b\"\n").unwrap_err().to_string();
    assert!(error.starts_with("routed.toml:3:1: syntax: duplicate key"), "{error}");
}

#[test]
fn what_is_not_text_is_told_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("routed.toml");
    fs::write(&path, b"[node]\nname = \"\xff\"\n").unwrap();
    assert_eq!(
        Config::load(&path).unwrap_err().to_string(),
        format!(
            "{}:2:9: not UTF-8 text from here on; save the file as UTF-8, or remove the octet",
            path.display()
        )
    );
}

#[test]
fn a_file_that_is_not_there_or_a_folder_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("routed.toml");
    let error = Config::load(&path).unwrap_err().to_string();
    assert!(error.contains(": cannot be read: No such file"), "{error}");
    let error = Config::load(folder.path()).unwrap_err().to_string();
    assert!(error.contains(": cannot be read: Is a directory"), "{error}");
}

#[test]
fn values_of_another_type_are_told_and_do_not_hide_other_faults() {
    assert_eq!(
        faults_of("[kernel]\ntable = \"main\"\nprotocol = 300\n[[pods]]\nmtu = 1\n"),
        [
            "kernel.table: must be a whole number, not string",
            "kernel.protocol: 300 is not allowed; use 1 to 255",
            "pods: must be a table, not array",
        ]
    );
    assert_eq!(
        faults_of("peers = 1\n"),
        ["bgp.peers: unknown key; known here are asn, router_id, \
        cluster_id, multipath, selection_deferral_time, listen, drain, aggregates, \
        hold_time, keepalive_time, connect_retry, import, export"]
    );
}

#[test]
fn the_protocol_number_of_somebody_else_is_refused() {
    assert_eq!(
        faults_of("[kernel]\nprotocol = 133\ntable = 255\n"),
        [
            "kernel.protocol: 133 marks routes of this daemon's pods, which would be mixed up \
             with ours; use 132 or another free one",
            "kernel.table: 255 is the kernel's table of local addresses; use 254 (main) or another",
        ]
    );
}

#[test]
fn numbers_beyond_their_range_are_told_with_the_range() {
    assert_eq!(
        faults_of(&peer("port = 70000\nconnect_retry = 0\nmultihop = -1\nhold_time = 65536")),
        [
            "peers[0].port: 70000 is not allowed; use 0 to 65535",
            "peers[0].connect_retry: 0 is not allowed; use 1 to 65535",
            "peers[0].multihop: -1 is not allowed; use 1 to 255",
            "peers[0].hold_time: 65536 is not allowed; use 0 to 65535",
        ]
    );
    assert_eq!(
        faults_of(&peer("port = 0")),
        ["peers[0].port: port 0 is not allowed; use 1 to 65535 (BGP: 179)"]
    );
}

#[test]
fn a_peer_is_neither_this_node_nor_one_of_its_pods() {
    assert_eq!(
        faults_of(&peer("local_address = \"10.1.1.0\"")),
        ["peers[0].local_address: 10.1.1.0 is this node's own address; give the peer's"]
    );
    let own_id = peer("").replace("10.1.1.0", "10.0.0.1");
    assert_eq!(
        faults_of(&own_id),
        ["peers[0].address: 10.0.0.1 is this node's own address; give the peer's"]
    );
    assert_eq!(
        faults_of(&format!("{}[pods]\nipv4 = [\"10.1.1.0/24\"]\n", peer(""))),
        ["peers[0].address: 10.1.1.0 lies in the pod range 10.1.1.0/24; a peer cannot be there"]
    );
}

#[test]
fn a_name_that_is_another_peers_address_is_refused() {
    let second = "[[peers]]\nname = \"10.1.1.0\"\naddress = \"10.1.1.2\"\nasn = \"internal\"\n";
    assert_eq!(
        faults_of(&format!("{}{second}", peer(""))),
        [
            "peers[1].name: \"10.1.1.0\" is the address or interface of another peer; choose another name"
        ]
    );
}

#[test]
fn an_interface_is_a_whole_peer() {
    let least = "[[peers]]\ninterface = \"eth1\"\n";
    let Loaded { config, warnings } = parse(&format!("{LEAST}{least}")).unwrap();
    let [peer] = &config.peers[..] else { panic!("{:?}", config.peers) };
    assert_eq!(peer.address.interface().map(|name| &**name), Some("eth1"));
    assert_eq!((&*peer.name, peer.session.peer_asn.clone()), ("eth1", PeerAs::External));
    assert_eq!(peer.session.families, FamilySet::ALL);
    assert!(peer.session.extended_next_hop.contains(Family::Ipv4Unicast));
    assert!(peer.is_on_link() && peer.rib.next_hops_on_link);
    assert_eq!(peer.ttl, Ttl::Any, "so that the peer may ask for GTSM");
    let told: Vec<_> = warnings.iter().map(|warning| &warning.caution).collect();
    assert_eq!(told, [&Caution::NoImport, &Caution::NoExport], "as for every eBGP peer");

    let more = "asn = \"internal\"\nextended_next_hop = false\nttl_security = 1\n";
    let config = parse(&format!("{LEAST}{least}{more}")).unwrap().config;
    let peer = &config.peers[0];
    assert_eq!(peer.session.extended_next_hop, FamilySet::NONE);
    assert!(peer.is_on_link() && !peer.rib.next_hops_on_link, "others' next hops come by iBGP");
    assert!(matches!(peer.ttl, Ttl::Security(hops) if hops.get() == 1));
}

#[test]
fn a_peer_has_an_address_or_an_interface_and_what_fits_it() {
    let interface = |added: &str| {
        let both = "import = \"all\"\nexport = \"all\"";
        format!("[[peers]]\ninterface = \"eth1\"\n{both}\n{added}\n")
    };
    assert_eq!(
        faults_of("[[peers]]\nasn = 65001\nimport = \"all\"\nexport = \"all\"\n"),
        ["peers[0].address: missing; write address = \"10.1.1.0\" or interface = \"eth1\""]
    );
    assert_eq!(
        faults_of(&peer("interface = \"eth1\"")),
        ["peers[0].interface: excludes address; remove one of them"]
    );
    let excluded = "local_address = \"10.1.1.1\"\nmultihop = 2";
    assert_eq!(
        faults_of(&interface(excluded)),
        [
            "peers[0].local_address: excludes interface; remove one of them",
            "peers[0].multihop: excludes interface; remove one of them",
        ]
    );
    assert_eq!(
        faults_of(&format!("{}{}", interface(""), interface(""))),
        ["peers[1].interface: the interface eth1 stands in line 8 already; remove one of them"]
    );
    for name in ["", "a b", "eth0/1", "an-interface-too-long"] {
        assert_eq!(
            faults_of(&interface("").replace("eth1", name)),
            [format!(
                "peers[0].interface: {name:?} cannot be an interface; use 1 to 15 characters \
                 without spaces and slashes"
            )]
        );
    }
    let link_local = peer("").replace("10.1.1.0", "fe80::1%eth1");
    assert_eq!(
        faults_of(&link_local),
        ["peers[0].address: fe80::1%eth1 is link-local; for a peer write interface = \"eth1\" in \
          place of address, and its link-local address is learned"]
    );
}

#[test]
fn options_of_the_other_kind_of_session_are_refused() {
    let internal = peer("route_server_client = true").replace("4200000001", "64512");
    assert_eq!(
        faults_of(&internal),
        ["peers[0].route_server_client: is for eBGP peers only, and this one is internal \
          (RFC 7947); remove it"]
    );
    assert_eq!(
        faults_of(&peer("route_reflector_client = true")),
        ["peers[0].route_reflector_client: is for iBGP peers only, and this one is external \
          (RFC 4456); remove it"]
    );
}

#[test]
fn a_passive_peer_needs_a_listener() {
    let text = format!("listen = []\n{}", peer("passive = true"));
    assert_eq!(
        faults_of(&text),
        ["peers[0].passive: cannot be, since bgp.listen is empty and so no side would open the \
          session"]
    );
}

#[test]
fn ranges_that_no_pod_can_use_are_refused() {
    assert_eq!(
        faults_of("[pods]\nipv4 = [\"169.254.0.0/17\", \"0.0.0.0/0\"]\nipv6 = [\"fe80::/64\"]\n"),
        [
            "pods.ipv4[0]: 169.254.0.0/17 contains or is in 169.254.0.0/16 (link-local, with the \
             pods' gateway), which pods cannot have; use a unicast range",
            "pods.ipv4[1]: 0.0.0.0/0 contains or is in 0.0.0.0/8 (this network), which pods \
             cannot have; use a unicast range",
            "pods.ipv6[0]: fe80::/64 contains or is in fe80::/10 (link-local, with the pods' \
             gateway), which pods cannot have; use a unicast range",
        ]
    );
    assert_eq!(
        faults_of(
            "[pods]\nipv4 = [\"10.244.1.0/24\"]\nreserved = [\"10.244.1.9\", \"10.9.0.0/24\", \"x\"]\n\
             cooldown = 3601\nblock_ipv4 = 15\nblock_ipv6 = 129\n\
             [[pods.pools]]\nname = \"a\"\nipv4 = [\"10.244.1.128/25\"]\n\
             [[pods.pools]]\nname = \"a\"\n[[pods.pools]]\nname = \"default\"\nipv6 = [\"fd00::/64\"]\n"
        ),
        [
            "pods.reserved[1]: 10.9.0.0/24 is in no range of the pools; remove it or correct it",
            "pods.reserved[2]: \"x\" is not a prefix; write ADDRESS/LENGTH, as in 10.244.1.0/24 or \
             fd00:1::/64",
            "pods.cooldown: 3601 is not allowed; use 0 to 3600",
            "pods.block_ipv4: 15 is not allowed; use 16 to 32",
            "pods.block_ipv6: 129 is not allowed; use 112 to 128",
            "pods.pools[0].ipv4[0]: 10.244.1.128/25 overlaps with 10.244.1.0/24 in line 8; a pod \
             address must have one range",
            "pods.pools[1]: has no range; write ipv4 = [\"10.244.1.0/24\"], ipv6 = [...] or both",
            "pods.pools[1].name: the name \"a\" stands in line 14 already; remove one of them",
            "pods.pools[2].name: \"default\" is the pool of [pods] itself; choose another name, or \
             put the ranges there",
        ]
    );
    assert_eq!(
        faults_of("[pods]\nmtu = 1500\n"),
        ["pods: has no range; write ipv4 = [\"10.244.1.0/24\"], ipv6 = [...] or both"]
    );
}

#[test]
fn sockets_must_be_two_and_clear_of_each_other() {
    assert_eq!(
        faults_of("[sockets]\nadmin = \"/run/slash32/cni.sock\"\nhttp = \"127.0.0.1:179\"\n"),
        [
            "sockets.admin: /run/slash32/cni.sock is the path of both sockets.cni and sockets.admin; change one",
            "sockets.http: 127.0.0.1:179 and 0.0.0.0:179 cannot both be listened on; remove one \
             or change its port",
        ]
    );
}

#[test]
fn password_files_are_judged_by_their_first_line_and_their_mode() {
    let folder = tempfile::tempdir().unwrap();
    let long = "x".repeat(81);
    for (name, content, mode) in [
        ("good", "key\n", 0o600),
        ("open", "key\n", 0o644),
        ("empty", "\nkey", 0o600),
        ("long", &long, 0o600),
    ] {
        fs::write(folder.path().join(name), content).unwrap();
        fs::set_permissions(folder.path().join(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    let with = |name: &str| {
        let text = format!("{LEAST}{}", peer(&format!("password_file = \"{name}\"")));
        Config::parse(&folder.path().join("routed.toml"), &text)
    };
    let good = with("good").unwrap();
    assert_eq!(good.config.peers[0].password.as_ref().unwrap().octets(), b"key");
    assert_eq!(good.warnings, []);
    let open = with("open").unwrap();
    assert!(open.warnings[0].caution.to_string().ends_with("chmod 600 it"));
    for (name, told) in [("empty", "empty first line"), ("long", "longer than 80 octets")] {
        let error = with(name).unwrap_err().to_string();
        assert!(error.contains(told), "{error}");
    }
}

#[test]
fn what_is_allowed_but_perhaps_not_meant_is_a_warning() {
    assert_eq!(warnings_of(""), [": no [[peers]]: nothing is announced and nothing learned"]);
    assert_eq!(
        warnings_of("[[peers]]\naddress = \"10.1.1.0\"\nasn = \"external\"\nhold_time = 0\n"),
        [
            "peers[0]: no import policy: nothing is taken from this eBGP peer (RFC 8212); name \
             one with import here or in [bgp]",
            "peers[0]: no export policy: nothing is announced to this eBGP peer (RFC 8212); name \
             one with export here or in [bgp]",
            "peers[0].hold_time: 0 turns keepalives off: a peer that dies silently keeps its \
             routes for ever",
        ]
    );
    assert_eq!(
        warnings_of(&peer("hold_time = 9\nkeepalive_time = 4")),
        ["peers[0].keepalive_time: 4 s is more than a third of the hold time of 9 s; keepalives \
          go out every 3 s"]
    );
    assert_eq!(
        warnings_of("[[peers]]\naddress = \"10.1.1.0\"\nasn = \"internal\"\n"),
        [""; 0],
        "iBGP needs no policy"
    );
}

#[test]
fn a_policy_that_nobody_uses_or_that_does_nothing_is_a_warning() {
    let policy = "[[policies]]\nname = \"p\"\ndefault = \"accept\"\n[[policies.statements]]\n";
    assert_eq!(
        warnings_of(&format!("{}{policy}", peer(""))),
        [
            "policies[0]: no peer uses this policy",
            "policies[0].statements[0]: has neither set nor apply nor action, so it does nothing",
        ]
    );
}

#[test]
fn faults_of_a_policy_do_not_make_its_users_faulty() {
    let policy = "[[policies]]\nname = \"p\"\ndefault = \"accept\"\n[[policies.statements]]\n\
        as_path_length = { min = 4, max = 2 }\ncommunities = []\naction = \"accept\"\n";
    assert_eq!(
        faults_of(&format!("{}{policy}", peer("").replace("\"all\"", "\"p\""))),
        [
            "policies[0].statements[0].as_path_length: min = 4 is greater than max = 2; exchange \
             them",
            "policies[0].statements[0].communities: must not be empty; give at least one value, \
             or remove the key",
        ]
    );
}

/// A group of dynamic peers with these lines.
fn dynamic(prefix: &str, lines: &str) -> String {
    format!(
        "[[dynamic_peers]]\nprefix = \"{prefix}\"\nasn = \"external\"\nimport = \"all\"\n\
         export = \"all\"\n{lines}\n"
    )
}

#[test]
fn dynamic_peers_have_what_peers_have_but_for_what_would_dial() {
    let text = format!("{LEAST}{}", dynamic("10.9.0.0/16", "hold_time = 9\nlimit = 7\nlinger = 5"));
    let config = parse(&text).unwrap_or_else(|error| panic!("{error}")).config;
    let [group] = &config.dynamic_peers[..] else { panic!("{:?}", config.dynamic_peers) };
    assert_eq!((&*group.name, group.limit, group.linger.as_secs()), ("10.9.0.0/16", 7, 5));
    let member = group.member("10.9.8.7".parse().unwrap());
    assert_eq!(&*member.name, "10.9.0.0/16@10.9.8.7");
    assert_eq!((member.session.hold_time.seconds(), member.session.passive), (9, true));
    assert_eq!(&*member.rib.name, &*member.name);
    let faults = faults_of(&dynamic("10.9.0.0/16", "passive = false\nport = 1790"));
    let starts = ["dynamic_peers[0].passive: unknown key", "dynamic_peers[0].port: unknown key"];
    assert_eq!(faults.len(), 2);
    for (fault, start) in faults.iter().zip(starts) {
        assert!(fault.starts_with(start), "{fault}");
    }
}

#[test]
fn groups_of_dynamic_peers_fit_together_and_with_peers() {
    let twice = dynamic("10.9.0.0/16", "name = \"a\"") + &dynamic("10.9.0.0/16", "name = \"a\"");
    assert_eq!(
        faults_of(&twice),
        [
            "dynamic_peers[1].prefix: the prefix 10.9.0.0/16 stands in line 8 already; remove one of \
             them",
            "dynamic_peers[1].name: the name \"a\" stands in line 12 already; remove one of them",
        ]
    );
    let key = tempfile::NamedTempFile::new().unwrap();
    fs::write(key.path(), "secret\n").unwrap();
    let signed = format!("password_file = \"{}\"", key.path().display());
    let inside = dynamic("10.0.0.0/8", &signed) + &dynamic("10.9.0.0/16", "") + &peer("");
    assert_eq!(
        faults_of(&inside),
        [
            "dynamic_peers[1].prefix: has no password_file but lies in 10.0.0.0/8, whose peers have \
             one: the kernel would drop what is not signed; give it a password_file too",
            "peers[0].address: has no password_file but lies in 10.0.0.0/8, whose peers have one: \
             the kernel would drop what is not signed; give it a password_file too",
        ]
    );
    let pods = "[pods]\nipv4 = [\"10.244.1.0/24\"]\n";
    assert_eq!(
        faults_of(&(dynamic("10.244.1.128/25", "") + pods)),
        [
            "dynamic_peers[0].prefix: 10.244.1.128/25 lies in the pod range 10.244.1.0/24; peers cannot \
          be there"
        ]
    );
    assert_eq!(
        warnings_of(&(dynamic("10.0.0.0/8", "") + pods)),
        ["dynamic_peers[0].prefix: contains the pod range 10.244.1.0/24: pods can open sessions; \
          take narrower prefixes, or a password_file"]
    );
    let deaf = "listen = []\n".to_owned() + &dynamic("10.9.0.0/16", "");
    assert_eq!(
        faults_of(&deaf),
        ["dynamic_peers[0]: cannot be, since bgp.listen is empty and so no side would open the \
          session"]
    );
}

#[test]
fn a_list_of_ases_is_for_external_peers_and_not_empty() {
    assert_eq!(
        faults_of(&peer("").replace("4200000001", "[]")),
        ["peers[0].asn: must not be empty; write [4200000001, 4200000002] or \"external\""]
    );
    assert_eq!(
        faults_of(&peer("").replace("4200000001", "[64512, 64513]")),
        ["peers[0].asn: has our own AS 64512; write \"internal\" alone, or take it out: iBGP and \
          eBGP peers are not treated alike"]
    );
    assert_eq!(
        faults_of(&peer("").replace("4200000001", "[64513, 0]")),
        [
            "peers[0].asn: AS 0 is reserved and can be nobody's; use a private one such as 4200000011"
        ]
    );
}

#[test]
fn limits_say_what_follows_and_what_is_counted() {
    let limits = |lines: &str| {
        let config = parse(&format!("{LEAST}{}", peer(lines))).unwrap().config;
        let rib = config.peers[0].rib.clone();
        let text = |limit: &Option<bgp::config::PrefixLimit>| {
            limit.map_or_else(|| "none".to_owned(), |limit| limit.to_string())
        };
        (text(&rib.max_prefixes.ipv4), text(&rib.max_prefixes.ipv6), rib.max_advertised)
    };
    let none = || "none".to_owned();
    let unlimited = bgp::family::PerFamily { ipv4: None, ipv6: None };
    assert_eq!(limits(""), (none(), none(), unlimited));
    assert_eq!(
        limits("max_prefixes = { ipv4 = 1000 }"),
        (
            "1000 received, warn from 750, then stop and restart after 300 s".into(),
            none(),
            unlimited
        )
    );
    let all = "max_prefixes = { ipv4 = 10, ipv6 = 3, action = \"stop\", warn_percent = 50, \
               counted = \"accepted\" }\nmax_advertised = { ipv6 = 0 }";
    assert_eq!(
        limits(all),
        (
            "10 accepted, warn from 5, then stop".into(),
            "3 accepted, warn from 2, then stop".into(),
            bgp::family::PerFamily { ipv4: None, ipv6: Some(0) },
        )
    );
    let warn = "max_prefixes = { ipv6 = 4, action = \"warn\" }";
    assert_eq!(limits(warn).1, "4 received, warn from 3, then warn");
}

#[test]
fn limits_that_say_nothing_or_contradict_themselves_are_faults() {
    for (lines, fault) in [
        ("max_prefixes = {}", "peers[0].max_prefixes: must not be empty; write ipv4 = 12000"),
        ("max_prefixes = { ipv4 = 0 }", "peers[0].max_prefixes.ipv4: 0 is not allowed; use 1 to"),
        (
            "max_prefixes = { ipv4 = 9, action = \"stop\", restart_after = 60 }",
            "peers[0].max_prefixes.restart_after: missing; write action = \"restart\" with it",
        ),
        (
            "max_prefixes = { ipv4 = 9, action = \"reset\" }",
            "peers[0].max_prefixes.action: \"reset\" is not known here; use \"warn\", \"stop\", \
             \"restart\"",
        ),
        ("max_prefixes = 100", "peers[0].max_prefixes: must be a table, not integer"),
        ("max_advertised = { all = 9 }", "peers[0].max_advertised.all: unknown key; "),
    ] {
        let faults = faults_of(&peer(lines));
        assert!(faults.iter().any(|found| found.starts_with(fault)), "{lines}: {faults:?}");
    }
    assert_eq!(
        warnings_of(&peer("families = [\"ipv4\"]\nmax_prefixes = { ipv6 = 9 }")),
        ["peers[0].max_prefixes.ipv6: has no effect, since families does not have ipv6"]
    );
}

#[test]
fn aggregates_stand_for_ranges_of_this_node() {
    let pods = "[pods]\nipv4 = [\"10.244.1.0/24\"]\n[[peers]]\naddress = \"10.1.1.0\"\nasn = \"internal\"\n";
    let table = |lines: &str| format!("[[bgp.aggregates]]\n{lines}\n{pods}");
    let good = table("prefix = \"10.244.0.0/16\"\nsummary_only = true");
    assert_eq!(warnings_of(&good), [""; 0]);
    for (lines, fault) in [
        (
            "prefix = \"0.0.0.0/0\"",
            "bgp.aggregates[0].prefix: would have this node discard everything that it has no \
             other route to; use a prefix of the pods",
        ),
        (
            "prefix = \"10.244.1.0/24\"",
            "bgp.aggregates[0].prefix: 10.244.1.0/24 is or is in the pod range 10.244.1.0/24, which \
             is announced anyway; remove it",
        ),
        (
            "prefix = \"10.244.0.0/16\"\n[[bgp.aggregates]]\nprefix = \"10.244.0.0/16\"",
            "bgp.aggregates[1].prefix: the prefix 10.244.0.0/16 stands in line 8 already; remove \
             one of them",
        ),
        (
            "summary_only = true",
            "bgp.aggregates[0].prefix: missing; write prefix = \"10.244.0.0/16\"",
        ),
    ] {
        assert_eq!(faults_of(&table(lines)), [fault]);
    }
    assert_eq!(
        warnings_of(&table("prefix = \"10.245.0.0/16\"")),
        ["bgp.aggregates[0].prefix: 10.245.0.0/16 contains no range of [pods] and so is never \
          announced"]
    );
}

#[test]
fn settings_of_a_peer_that_contradict_each_other_are_faults() {
    let external = |lines: &str| {
        format!(
            "[[peers]]\nname = \"p\"\naddress = \"10.1.1.0\"\nimport = \"all\"\nexport = \"all\"\n{lines}\n"
        )
    };
    let same = "peers[0].local_asn: 64999 is the AS of the peer as well: with one AS on both sides it \
                would be an iBGP session; choose another, or write bgp.asn = 64999";
    for (lines, fault) in [
        ("asn = 64999\nlocal_asn = 64999", same),
        ("asn = [64998, 64999]\nlocal_asn = 64999", same),
        (
            "asn = 64999\nlocal_asn_replace = true",
            "peers[0].local_asn_replace: missing; write local_asn = 64999 with it",
        ),
        (
            "asn = 64999\nbind_device = \"a/b\"",
            "peers[0].bind_device: \"a/b\" cannot be an interface; \
            use 1 to 15 characters without spaces and slashes",
        ),
    ] {
        assert_eq!(faults_of(&external(lines)), [fault]);
    }
    let unnumbered = "[[peers]]\ninterface = \"eth1\"\nbind_device = \"eth1\"\n";
    assert_eq!(
        faults_of(unnumbered),
        ["peers[0].bind_device: excludes interface; remove one of them"]
    );
    assert_eq!(
        warnings_of(&external("asn = 64999\ngraceful_restart = false\nrestart_time = 9")),
        ["peers[0].restart_time: has no effect, since graceful_restart is false"]
    );
}

#[test]
fn tcp_ao_is_another_use_of_the_password_file() {
    use routed::config::{Algorithm, Scheme};
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    fs::write(&key, "correct horse\n").unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let scheme = |lines: &str| {
        let lines = format!("password_file = \"{}\"\n{lines}", key.display());
        let config = parse(&format!("{LEAST}{}", peer(&lines))).unwrap().config;
        config.peers[0].password.as_ref().unwrap().scheme()
    };
    assert_eq!(scheme(""), Scheme::Md5);
    let usual = Scheme::Ao { algorithm: Algorithm::HmacSha1, send_id: 0, receive_id: 0 };
    assert_eq!(scheme("tcp_ao = {}"), usual);
    let all = "tcp_ao = { send_id = 1, receive_id = 255, algorithm = \"aes-128-cmac-96\" }";
    let other = Scheme::Ao { algorithm: Algorithm::AesCmac, send_id: 1, receive_id: 255 };
    assert_eq!(scheme(all), other);
    for (lines, fault) in [
        (
            "tcp_ao = { send_id = 1 }",
            "peers[0].tcp_ao: missing; write password_file = \"/etc/slash32/tor-a.key\" with it",
        ),
        ("tcp_ao = { send_id = 256 }", "peers[0].tcp_ao.send_id: 256 is not allowed; use 0 to 255"),
        (
            "tcp_ao = { algorithm = \"md5\" }",
            "peers[0].tcp_ao.algorithm: \"md5\" is not known here; use \"hmac-sha-1-96\", \
             \"aes-128-cmac-96\"",
        ),
    ] {
        let faults = faults_of(&peer(lines));
        assert!(faults.iter().any(|found| found == fault), "{faults:?}");
    }
}

#[test]
fn nat_needs_to_know_what_is_a_pod_and_from_where_it_can_send() {
    let pods = "[pods]\nipv4 = [\"10.244.1.0/24\"]\nipv6 = [\"fd00:1::/64\"]\n";
    let blind = "pods.nat_outgoing: NAT must know which ipv6 addresses are pods', so that these go on \
                 seeing each other's own; give the ranges of all pods of the cluster in \
                 pods.cluster_ranges";
    let outside = "pods.ipv6[0]: fd00:1::/64 lies in none of pods.cluster_ranges, so nodes with NAT \
                   would take its pods for the outside; add it there, or a prefix that covers it";
    let four = "cluster_ranges = [\"10.0.0.0/8\"]\n";
    assert_eq!(faults_of(&format!("{pods}nat_outgoing = true\n{four}")), [outside, blind]);
    assert_eq!(faults_of(&format!("{pods}{four}")), [outside], "whoever has the NAT");
    let addresses = "nat_addresses = [\"127.0.0.1\", \"192.0.2.1\", \"192.0.2.2\"]\n";
    assert_eq!(
        faults_of(&format!("{pods}{addresses}")),
        [
            "pods.nat_addresses[0]: 127.0.0.1 cannot be a packet's source; use an address of this node \
             that the fabric routes to it",
            "pods.nat_addresses[2]: 192.0.2.2 is the second of its family after 192.0.2.1; remove one",
        ]
    );
    let no_range = "[pods]\nnat_outgoing = true\nnat_sources = [\"fd00::1\"]\n[[pods.pools]]\n\
                    name = \"b\"\nipv4 = [\"10.9.0.0/24\"]\n";
    assert_eq!(
        faults_of(no_range),
        [
            "pods.nat_outgoing: [pods] has no ranges of its own and so is no pool; write nat_outgoing into \
             those [[pods.pools]] whose pods need it",
            "pods.nat_sources[0]: NAT must know which ipv6 addresses are pods', so that these go on seeing \
             each other's own; give the ranges of all pods of the cluster in pods.cluster_ranges",
        ]
    );
    let second = "[[pods.pools]]\nname = \"b\"\nipv4 = [\"10.9.0.0/24\"]\nnat_outgoing = true\n";
    let both = "cluster_ranges = [\"10.0.0.0/8\", \"fd00::/8\"]\nnat_exclude = [\"192.0.2.7\"]\n";
    let Ok(Loaded { config, .. }) = parse(&format!("{LEAST}{pods}{both}{second}")) else {
        panic!("it is valid")
    };
    let nat = config.pods.expect("pods").nat;
    assert_eq!(nat.pools, ["b"], "each pool says for itself");
    assert_eq!(nat.sources, ["10.9.0.0/24".parse().unwrap()]);
    assert_eq!(nat.exclude, ["192.0.2.7/32".parse().unwrap()]);
}
