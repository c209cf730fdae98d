use std::path::Path;

use super::*;

/// A node with two peers and pods.
const BEFORE: &str = "
[node]
name = \"n1\"
[bgp]
asn = 64512
router_id = \"10.0.0.1\"
import = \"all\"
export = \"originated\"
[[peers]]
name = \"tor-a\"
address = \"10.1.1.0\"
asn = 64600
[[peers]]
name = \"tor-b\"
address = \"10.1.2.0\"
asn = \"external\"
import = \"fabric\"
[pods]
ipv4 = [\"10.244.1.0/24\", \"10.244.2.0/24\"]
[[bmp]]
name = \"collector\"
address = \"192.0.2.10:5000\"
statistics_interval = 30
[[policies]]
name = \"fabric\"
default = \"reject\"
[[policies.statements]]
prefixes = [\"10.0.0.0/8 ge 16\"]
action = \"accept\"
";

fn config(text: &str) -> Config {
    Config::parse(Path::new("routed.toml"), text).unwrap_or_else(|error| panic!("{error}")).config
}

/// What changes if these texts stand for those in [`BEFORE`], a line a change.
fn changes(edits: &[(&str, &str)]) -> Vec<String> {
    let mut text = BEFORE.to_owned();
    for (old, new) in edits {
        assert!(text.contains(old), "{old}");
        text = text.replace(old, new);
    }
    between(&config(BEFORE), &config(&text)).iter().map(ToString::to_string).collect()
}

#[test]
fn a_configuration_does_not_differ_from_itself() {
    assert_eq!(changes(&[]), [""; 0]);
    // Nor does one in which a default is written out.
    assert_eq!(changes(&[("asn = 64600", "asn = 64600\nport = 179\nhold_time = 90")]), [""; 0]);
}

#[test]
fn each_setting_of_a_peer_has_its_own_effect() {
    let edits = [
        ("hold_time = 30", "peers[tor-a].hold_time: 90 -> 30 (reset)"),
        ("families = [\"ipv4\"]", "peers[tor-a].families: ipv4, ipv6 -> ipv4 (reset)"),
        ("local_address = \"10.1.1.1\"", "peers[tor-a].local_address: none -> 10.1.1.1 (reset)"),
        ("import = \"none\"", "peers[tor-a].import: all -> none (soft)"),
        ("next_hop_self = true", "peers[tor-a].next_hop_self: false -> true (soft)"),
        ("next_hop_ipv4 = \"10.1.1.1\"", "peers[tor-a].next_hop_ipv4: none -> 10.1.1.1 (soft)"),
        ("connect_retry = 9", "peers[tor-a].connect_retry: 5 -> 9 (none)"),
        ("keepalive_time = 9", "peers[tor-a].keepalive_time: none -> 9 (none)"),
        ("passive = true", "peers[tor-a].passive: false -> true (none)"),
        ("extended_messages = false", "peers[tor-a].extended_messages: true -> false (reset)"),
        ("role = \"customer\"", "peers[tor-a].role: none -> customer (reset)"),
        ("restart_time = 60", "peers[tor-a].restart_time: 120 -> 60 (reset)"),
        ("stale_path_time = 60", "peers[tor-a].stale_path_time: 360 -> 60 (none)"),
        (
            "long_lived_stale_time = { ipv4 = 9 }",
            "peers[tor-a].long_lived_stale_time.ipv4: 0 -> 9 (reset)",
        ),
        ("add_path_receive = true", "peers[tor-a].add_path_receive: none -> ipv4, ipv6 (reset)"),
        ("drain = true", "peers[tor-a].drain: false -> true (soft)"),
        ("allow_own_as = 2", "peers[tor-a].allow_own_as: 0 -> 2 (soft)"),
        ("port = 1790", "peers[tor-a].port: 179 -> 1790 (none)"),
    ];
    for (line, expected) in edits {
        assert_eq!(changes(&[("asn = 64600", &format!("asn = 64600\n{line}"))]), [expected]);
    }
    assert_eq!(
        changes(&[("asn = 64600", "asn = 64601")]),
        ["peers[tor-a].asn: 64600 -> 64601 (reset)"]
    );
    assert_eq!(changes(&[("tor-a", "tor-c")]), ["peers[tor-c].name: tor-a -> tor-c (soft)"]);
}

#[test]
fn a_change_of_distance_names_what_is_given_up_and_what_comes() {
    assert_eq!(
        changes(&[("asn = 64600", "asn = 64600\nttl_security = 1")]),
        [
            "peers[tor-a].multihop: 1 (on link) -> none (reset)",
            "peers[tor-a].ttl_security: none -> 1 (reset)"
        ]
    );
}

#[test]
fn another_key_in_the_password_file_is_a_change_that_shows_no_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tor-a.key");
    let text = BEFORE
        .replace("asn = 64600", &format!("asn = 64600\npassword_file = \"{}\"", path.display()));
    std::fs::write(&path, "one\n").unwrap();
    let old = config(&text);
    std::fs::write(&path, "two\n").unwrap();
    let new = config(&text);
    let shown: Vec<_> = between(&old, &new).iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["peers[tor-a].password_file: hidden -> hidden, changed (reset)"]);
    let shown: Vec<_> = between(&config(BEFORE), &new).iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["peers[tor-a].password_file: none -> hidden (reset)"]);
}

#[test]
fn what_a_policy_says_concerns_exactly_the_peers_that_use_it() {
    assert_eq!(
        changes(&[("ge 16", "ge 24")]),
        [
            "policies[fabric]: 1 statement -> 1 statement (none)",
            "peers[tor-b].import: fabric -> fabric, changed (soft)"
        ]
    );
}

#[test]
fn peers_that_come_and_go_concern_no_other() {
    let tor_c = "[[peers]]\nname = \"tor-c\"\naddress = \"10.1.3.0\"\nasn = \"external\"\n[pods]";
    assert_eq!(changes(&[("[pods]", tor_c)]), ["peers[tor-c]: added, 10.1.3.0 AS external (none)"]);
    assert_eq!(
        changes(&[("address = \"10.1.1.0\"", "address = \"10.1.1.2\"")]),
        ["peers[tor-a]: removed (reset)", "peers[tor-a]: added, 10.1.1.2 AS 64600 (none)"]
    );
}

#[test]
fn a_new_identity_of_the_speaker_is_told_once_and_resets_every_peer() {
    let text = BEFORE.replace("asn = 64512", "asn = 64513").replace("10.0.0.1", "10.0.0.2");
    assert_eq!(
        changes(&[("asn = 64512", "asn = 64513"), ("10.0.0.1", "10.0.0.2")]),
        [
            "bgp.asn: 64512 -> 64513 (reset)",
            "bgp.router_id: 10.0.0.1 -> 10.0.0.2 (reset)",
            "bgp.cluster_id: 10.0.0.1 -> 10.0.0.2 (soft)",
        ]
    );
    let (old, new) = (config(BEFORE), config(&text));
    for (old, new) in old.peers.iter().zip(&new.peers) {
        assert_eq!(of_peer(old, new), Some(Effect::Reset));
    }
}

#[test]
fn a_new_time_for_a_restart_to_come_disturbs_nobody() {
    assert_eq!(
        changes(&[("asn = 64512", "asn = 64512\nselection_deferral_time = 90")]),
        ["bgp.selection_deferral_time: 60 -> 90 (none)"]
    );
}

#[test]
fn a_default_for_peers_is_a_change_of_those_that_take_it_over() {
    assert_eq!(
        changes(&[("import = \"all\"", "import = \"none\"\nhold_time = 9")]),
        [
            "peers[tor-a].hold_time: 90 -> 9 (reset)",
            "peers[tor-a].import: all -> none (soft)",
            "peers[tor-b].hold_time: 90 -> 9 (reset)",
        ]
    );
}

#[test]
fn what_peers_are_told_of_is_evaluated_anew() {
    let pool = "[[pods.pools]]\nname = \"storage\"\nipv4 = [\"10.245.1.0/24\"]\n";
    let with = |more: &str| config(&format!("{BEFORE}{pool}{more}"));
    let changes = between(&with(""), &with("announce = false\n"));
    let changes: Vec<_> = changes.iter().map(ToString::to_string).collect();
    assert_eq!(changes, ["pods.pools, announce = false: none -> storage (soft)"]);
}

#[test]
fn ranges_of_pods_come_and_go_one_by_one() {
    let edit = ("[\"10.244.1.0/24\", \"10.244.2.0/24\"]", "[\"10.244.2.0/24\", \"10.244.3.0/24\"]");
    assert_eq!(
        changes(&[edit]),
        ["pods[10.244.1.0/24]: removed (soft)", "pods[10.244.3.0/24]: added, range (soft)"]
    );
    let turned =
        ("[\"10.244.1.0/24\", \"10.244.2.0/24\"]", "[\"10.244.2.0/24\", \"10.244.1.0/24\"]");
    assert_eq!(
        changes(&[turned]),
        ["pods, order of ranges: 10.244.1.0/24, 10.244.2.0/24 -> 10.244.2.0/24, 10.244.1.0/24 \
          (none)"]
    );
}

#[test]
fn a_station_is_connected_to_anew_only_for_what_it_was_told_at_the_beginning() {
    let edit = |old: &str, new: &str| changes(&[(old, new)]);
    assert_eq!(
        edit("statistics_interval = 30", "statistics_interval = 0"),
        ["bmp[collector].statistics_interval: 30 -> 0 (none)"]
    );
    assert_eq!(edit("\"collector\"", "\"c\""), ["bmp[c].name: collector -> c (none)"]);
    let views = ("statistics_interval = 30", "statistics_interval = 30\nviews = [\"loc-rib\"]");
    assert_eq!(
        edit(views.0, views.1),
        ["bmp[collector].views: pre-policy, loc-rib -> loc-rib (reset)"]
    );
    assert_eq!(
        edit(":5000", ":5001"),
        [
            "bmp[collector]: removed (reset)",
            "bmp[collector]: added, 192.0.2.10:5001 pre-policy, loc-rib (none)",
        ]
    );
}

#[test]
fn recording_begins_changes_and_ends_without_touching_sessions() {
    let section = "[mrt]\nfile = \"/u.mrt\"\n[[bmp]]";
    assert_eq!(changes(&[("[[bmp]]", section)]), ["mrt: added, /u.mrt (none)"]);
    let with = |lines: &str| {
        let section = section.replace("[[bmp]]", &format!("{lines}\n[[bmp]]"));
        config(&BEFORE.replace("[[bmp]]", &section))
    };
    let lines = "peers = [\"tor-a\"]\nrecord = [\"sent\"]\nrotate_size = 0\nkeep = 3";
    let all: Vec<_> = between(&with(""), &with(lines)).iter().map(ToString::to_string).collect();
    assert_eq!(
        all,
        [
            "mrt.peers: all -> tor-a (none)",
            "mrt.record: received, sent, states -> sent (none)",
            "mrt.rotate_size: 64 -> 0 (none)",
            "mrt.keep: 24 -> 3 (none)",
        ]
    );
}

#[test]
fn what_needs_a_restart_is_left_as_it_is_and_the_rest_is_taken() {
    let text = BEFORE
        .replace("name = \"n1\"", "name = \"n1\"\nmode = \"speaker\"")
        .replace("[pods]\nipv4 = [\"10.244.1.0/24\", \"10.244.2.0/24\"]", "[kernel]\nmetric = 20")
        .replace("asn = 64600", "asn = 64600\nhold_time = 9");
    let (old, new) = (config(BEFORE), config(&text));
    let of = |effect| {
        let all = between(&old, &new);
        let some = all.into_iter().filter(|change| change.effect == effect);
        some.map(|change| change.place).collect::<Vec<_>>()
    };
    let restart = ["node.mode", "pods", "kernel.learned_routes", "kernel.metric"];
    assert_eq!(of(Effect::Restart), restart);
    assert_eq!(of(Effect::Reset), ["peers[tor-a].hold_time"]);

    let taken = without_restart(&old, new.clone());

    let done: Vec<_> = between(&old, &taken).into_iter().map(|change| change.place).collect();
    assert_eq!(done, ["peers[tor-a].hold_time"]);
    let left: Vec<_> = between(&taken, &new).into_iter().map(|change| change.place).collect();
    assert_eq!(left, restart);
}

#[test]
fn nat_changes_without_touching_anything_else() {
    let pods = "ipv4 = [\"10.244.1.0/24\", \"10.244.2.0/24\"]";
    let with = format!(
        "{pods}\nnat_outgoing = true\ncluster_ranges = [\"10.244.0.0/16\"]\n\
         nat_sources = [\"10.244.9.1\"]\nnat_exclude = [\"10.0.0.0/16\"]\nnat_addresses = [\"192.0.2.1\"]"
    );
    assert_eq!(
        changes(&[(pods, &with)]),
        [
            "pods.nat_outgoing: none -> default (none)",
            "pods.nat_sources: none -> 10.244.9.1/32 (none)",
            "pods.cluster_ranges: none -> 10.244.0.0/16 (none)",
            "pods.nat_exclude: none -> 10.0.0.0/16 (none)",
            "pods.nat_addresses: none -> 192.0.2.1 (none)",
        ]
    );
}
