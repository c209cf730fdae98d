//! Promises of `routed policy test` with a path that is made up: it is treated as the daemon would
//! treat it, every step is told, and the exit code says what came of it.

use std::{fs, path::PathBuf, process::Command};

use serde_json::Value;

const CONFIG: &str = r#"
[node]
name = "n1"
[bgp]
asn = 64512
router_id = "10.0.0.1"

[[peers]]
name = "tor-a"
address = "192.0.2.1"
asn = 65001
import = ["scrub", "from-tor"]
export = "to-tor"

[[peers]]
name = "tor-b"
address = "2001:db8::b"
asn = "external"
import = "all"
export = "from-a-only"

[[peers]]
name = "reflector"
address = "192.0.2.9"
asn = "internal"

[[peers]]
name = "silent"
address = "192.0.2.7"
asn = 65007
families = ["ipv4"]

[[peers]]
name = "uplink"
interface = "eth1"
import = "all"
export = "all"

[[policies]]
name = "scrub"
default = "next-policy"
[[policies.statements]]
name = "tags"
set = { remove_communities = ["64512:*"], weight = 5 }

[[policies]]
name = "from-tor"
default = "reject"
[[policies.statements]]
name = "storage"
as_path = "_65099$"
set = { local_preference = "+100", add_communities = ["64512:99"] }
action = "accept"

[[policies]]
name = "to-tor"
default = "reject"
[[policies.statements]]
name = "own"
source = "local"
set = { med = 3 }
action = "accept"
[[policies.statements]]
name = "internal"
source = "ibgp"
set = { next_hop = "unchanged" }
action = "accept"

[[policies]]
name = "from-a-only"
default = "reject"
[[policies.statements]]
name = "a"
from_peers = "tor-a"
action = "accept"
"#;

struct Fixture {
    _folder: tempfile::TempDir,
    file: PathBuf,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("routed.toml");
        fs::write(&file, CONFIG).expect("written");
        Self { _folder: folder, file }
    }

    /// Exit code, stdout, stderr.
    fn test(&self, arguments: &[&str]) -> (i32, String, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_routed"))
            .args(["policy", "test", "--config"])
            .arg(&self.file)
            .args(arguments)
            .output()
            .expect("it starts");
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        let code = output.status.code().expect("it exits");
        (code, text(&output.stdout), text(&output.stderr))
    }

    fn json(&self, arguments: &[&str]) -> (i32, Value) {
        let (code, stdout, stderr) = self.test(&[arguments, &["-o", "json"]].concat());
        (code, serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stderr}")))
    }
}

/// What an attribute is before and after.
fn attribute<'v>(view: &'v Value, name: &str) -> (&'v Value, &'v Value) {
    let list = view["attributes"].as_array().expect("a list");
    let one = list.iter().find(|one| one["name"] == name);
    let one = one.unwrap_or_else(|| panic!("no {name} in {view}"));
    (&one["before"], &one["after"])
}

#[test]
fn an_accepted_path_is_shown_as_a_difference_with_every_statement_that_was_tried() {
    let (code, stdout, _) = Fixture::new().test(&[
        "--peer",
        "tor-a",
        "10.1.0.0/16",
        "--as-path",
        "65001 65099",
        "--community",
        "64512:7",
        "--community",
        "no-export",
        "--med",
        "20",
        "--extended-community",
        "rt:65000:1",
    ]);
    assert_eq!(code, 0, "{stdout}");
    let lines: Vec<_> = stdout.lines().collect();
    assert_eq!(
        lines,
        [
            "10.1.0.0/16 from tor-a",
            "",
            "  scrub, from-tor/scrub     match",
            "    scrub/tags              weight 0 -> 5, communities -64512:7",
            "    scrub/(default)         next-policy",
            "  scrub, from-tor/from-tor  match",
            "    from-tor/storage        local_preference none -> 200, communities +64512:99, accept",
            "",
            "accepted by statement storage of policy from-tor",
            "",
            "  next_hop              192.0.2.1",
            "  as_path               65001 65099",
            "  origin                igp",
            "+ weight                5",
            "+ local_preference      200",
            "  med                   20",
            "- communities           64512:7",
            "  communities           no-export",
            "+ communities           64512:99",
            "  extended_communities  rt:65000:1",
        ]
    );
}

#[test]
fn a_rejected_path_is_exit_code_3_and_names_who_rejected_it() {
    let (code, view) = Fixture::new().json(&["--peer", "tor-a", "10.1.0.0/16"]);
    assert_eq!(code, 3);
    assert_eq!((&view["accepted"], &view["policy"]["policy"]), (&false.into(), &"from-tor".into()));
    assert_eq!(view["policy"]["statement"], Value::Null);
    let (before, after) = attribute(&view, "as_path");
    assert_eq!((before, after), (&"65001".into(), &"65001".into()), "the peer's AS, unless said");
}

#[test]
fn rules_that_no_policy_can_overrule_are_part_of_the_answer() {
    let fixture = Fixture::new();
    for (arguments, reason) in [
        (&["--peer", "tor-a", "10.1.0.0/16", "--as-path", "65001 64512"][..], "loop: our AS"),
        (&["--peer", "tor-a", "10.1.0.0/16", "--as-path", "65002"], "does not begin with the peer"),
        (&["--peer", "tor-a", "10.1.0.0/16", "--next-hop", "127.0.0.1"], "next hop is our own"),
        (&["--peer", "silent", "10.1.0.0/16"], "without import policy (RFC 8212)"),
        (&["--peer", "silent", "--export", "10.1.0.0/16"], "without export policy (RFC 8212)"),
        (&["--peer", "tor-a", "--export", "10.1.0.0/16", "--from", "tor-a"], "came from this peer"),
        (
            &[
                "--peer",
                "tor-a",
                "--export",
                "10.1.0.0/16",
                "--source",
                "ibgp",
                "--community",
                "no-export",
            ],
            "a community forbids it",
        ),
    ] {
        let (code, view) = fixture.json(arguments);
        assert_eq!(code, 3, "{arguments:?}: {view}");
        assert!(view["reason"].as_str().is_some_and(|text| text.contains(reason)), "{view}");
    }
}

#[test]
fn what_is_told_is_shown_as_the_peer_sees_it() {
    let fixture = Fixture::new();
    let (code, view) = fixture.json(&["--peer", "tor-a", "--export", "10.244.1.0/24"]);
    assert_eq!((code, &view["policy"]["statement"]), (0, &"own".into()));
    assert_eq!(attribute(&view, "as_path"), (&"".into(), &"64512".into()));
    assert_eq!(attribute(&view, "next_hop"), (&Value::Null, &"10.0.0.1".into()));
    assert_eq!(attribute(&view, "med"), (&Value::Null, &"3".into()));

    let from_reflector =
        ["--peer", "tor-a", "--export", "10.5.0.0/16", "--from", "reflector", "--as-path", "65050"];
    let (code, view) = fixture.json(&from_reflector);
    assert_eq!((code, &view["policy"]["statement"]), (0, &"internal".into()), "{view}");
    assert_eq!(attribute(&view, "next_hop"), (&"192.0.2.9".into(), &"192.0.2.9".into()));
    assert_eq!(attribute(&view, "as_path"), (&"65050".into(), &"64512 65050".into()));
}

#[test]
fn policies_see_the_peer_from_which_a_path_is_said_to_come() {
    let fixture = Fixture::new();
    let to_b = ["--peer", "2001:db8::b", "--export", "10.5.0.0/16"];
    assert_eq!(fixture.json(&[&to_b[..], &["--from", "tor-a"]].concat()).0, 0);
    assert_eq!(fixture.json(&[&to_b[..], &["--from", "reflector"]].concat()).0, 3);
    assert_eq!(fixture.json(&[&to_b[..], &["--source", "ebgp"]].concat()).0, 3);
}

#[test]
fn an_external_peer_of_any_as_has_the_one_that_is_given_or_stands_first() {
    let fixture = Fixture::new();
    let as_path = |arguments: &[&str]| {
        let (code, view) = fixture.json(&[&["--peer", "tor-b", "fd00::/48"], arguments].concat());
        assert_eq!(code, 0, "{view}");
        attribute(&view, "as_path").1.as_str().map(str::to_owned).expect("a text")
    };
    assert_eq!(as_path(&[]), "64496");
    assert_eq!(as_path(&["--peer-as", "65055"]), "65055");
    assert_eq!(as_path(&["--as-path", "65066 1"]), "65066 1");
}

#[test]
fn an_unnumbered_peer_is_tested_by_its_interface() {
    let fixture = Fixture::new();
    let (code, view) = fixture.json(&["--peer", "eth1", "fd00::/48"]);
    assert_eq!((code, &view["peer"]), (0, &"uplink".into()), "{view}");
    assert_eq!(attribute(&view, "next_hop").1, "fe80::1");
    let (code, view) = fixture.json(&["--peer", "uplink", "--export", "10.244.1.0/24"]);
    assert_eq!(code, 0, "{view}");
}

#[test]
fn questions_without_an_answer_are_exit_code_1_with_a_remedy() {
    let fixture = Fixture::new();
    for (arguments, expected) in [
        (
            &["--peer", "tor-x", "10.1.0.0/16"][..],
            "known are tor-a, tor-b, reflector, silent, uplink",
        ),
        (&["--peer", "silent", "fd00::/48"], "silent does not speak the family of fd00::/48"),
        (&["--peer", "tor-a", "10.1.0.0/16", "--local-pref", "5"], "sends no LOCAL_PREF"),
        (&["--peer", "tor-a", "10.1.0.0/16", "--source", "ibgp"], "are for --export"),
        (
            &["--peer", "tor-a", "--export", "10.1.0.0/16", "--from", "tor-b", "--source", "ibgp"],
            "--from tor-b does not go with --source",
        ),
        (
            &[
                "--peer",
                "tor-a",
                "--export",
                "10.1.0.0/16",
                "--source",
                "ibgp",
                "--as-path",
                "64512",
            ],
            "could not be used itself: loop",
        ),
    ] {
        let (code, stdout, stderr) = fixture.test(arguments);
        assert_eq!((code, &*stdout), (1, ""), "{arguments:?}");
        assert!(stderr.contains(expected), "{arguments:?}: {stderr}");
    }
    fs::write(&fixture.file, "[node]\n").expect("written");
    let (code, _, stderr) = fixture.test(&["--peer", "tor-a", "10.1.0.0/16"]);
    assert_eq!(code, 1);
    assert!(stderr.contains("node.name: missing"), "{stderr}");
}

#[test]
fn what_cannot_be_read_is_exit_code_2() {
    let fixture = Fixture::new();
    for arguments in [
        &["--peer", "tor-a", "10.1.0.1/16"][..],
        &["--peer", "tor-a", "10.1.0.0/16", "--as-path", "x"],
        &["--peer", "tor-a", "10.1.0.0/16", "--community", "65536:1"],
        &["--peer", "tor-a", "10.1.0.0/16", "--import", "--export"],
        &["10.1.0.0/16"],
    ] {
        assert_eq!(fixture.test(arguments).0, 2, "{arguments:?}");
    }
    let without = Command::new(env!("CARGO_BIN_EXE_routed"))
        .args(["policy", "test", "--peer", "tor-a", "10.1.0.0/16", "--med", "1"])
        .output()
        .expect("it starts");
    assert_eq!(without.status.code(), Some(2), "a described path needs --config");
}
