//! Promises of `[[peer_groups]]`: peers take over what they do not say themselves, and every
//! fault names the place where the value stands.

use std::path::Path;

use bgp::family::Family;
use routed::config::{Config, Invalid, Loaded, Peer};

const LEAST: &str = "
[node]
name = \"n1\"
[bgp]
asn = 64512
router_id = \"10.0.0.1\"
import = \"all\"
export = \"all\"
";

fn parse(added: &str) -> Result<Loaded, Invalid> {
    Config::parse(Path::new("routed.toml"), &format!("{LEAST}{added}"))
}

fn config(added: &str) -> Config {
    let loaded = parse(added).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(loaded.warnings, []);
    loaded.config
}

/// The faults without the file's name.
fn faults_of(added: &str) -> Vec<String> {
    let invalid = parse(added).expect_err(added);
    let faults = invalid.faults.iter();
    faults
        .map(|fault| {
            let line = fault.place.line.map_or(0, |line| line - LEAST.lines().count());
            format!("{line}: {}: {}", fault.place.key, fault.problem)
        })
        .collect()
}

const GROUP: &str = "[[peer_groups]]
name = \"tors\"
asn = 4200000001
hold_time = 9
families = [\"ipv4\"]
import = \"none\"
";

/// Hold time, number of families, import policy, group.
fn seen(peer: &Peer) -> (u16, usize, String, Option<&str>) {
    let families = Family::ALL.into_iter().filter(|family| peer.session.families.contains(*family));
    let import = peer.rib.import.as_ref().map_or("-".to_owned(), |policy| policy.name.to_string());
    (peer.session.hold_time.seconds(), families.count(), import, peer.rib.group.as_deref())
}

#[test]
fn a_peer_takes_over_what_it_does_not_say_and_nothing_that_it_says() {
    let config = config(&format!(
        "{GROUP}
        [[peers]]
        group = \"tors\"
        address = \"10.1.1.0\"
        [[peers]]
        group = \"tors\"
        address = \"10.1.2.0\"
        hold_time = 30
        families = [\"ipv6\"]
        import = \"all\"
        [[peers]]
        address = \"10.1.3.0\"
        asn = 4200000003
        "
    ));
    let [one, two, three] = &config.peers[..] else { panic!("{:?}", config.peers) };
    assert_eq!(seen(one), (9, 1, "none".to_owned(), Some("tors")));
    assert_eq!(seen(two), (30, 1, "all".to_owned(), Some("tors")));
    assert_eq!(seen(three), (90, 2, "all".to_owned(), None));
    assert_eq!(one.name.to_string(), "10.1.1.0", "the group's name is no peer's");
}

#[test]
fn a_value_that_is_wrong_in_a_group_is_told_once_and_there() {
    let group = "[[peer_groups]]
name = \"tors\"
hold_time = 2
families = [\"ipv4\", \"ipv5\"]
passsive = true
asn = 4200000001
";
    let peers = "[[peers]]\naddress = \"10.1.1.0\"\ngroup = \"tors\"\n\
                 [[peers]]\naddress = \"10.1.2.0\"\ngroup = \"tors\"\n";
    assert_eq!(
        faults_of(&format!("{group}{peers}")),
        [
            "3: peer_groups[0].hold_time: hold time of 2 s is not allowed; use 0 (off) or at \
             least 3 s (RFC 4271 §4.2)",
            "4: peer_groups[0].families[1]: \"ipv5\" is not known here; use \"ipv4\", \"ipv6\"",
            "5: peer_groups[0].passsive: unknown key; did you mean passive?",
        ]
    );
}

#[test]
fn a_value_of_a_group_that_does_not_fit_names_the_peers_for_which_it_does_not() {
    let group = "[[peer_groups]]
name = \"clients\"
route_reflector_client = true
import = \"no-such\"
";
    let peers = "[[peers]]\naddress = \"10.1.1.0\"\nasn = \"internal\"\ngroup = \"clients\"\n\
                 [[peers]]\naddress = \"10.1.2.0\"\nasn = \"external\"\ngroup = \"clients\"\n";
    assert_eq!(
        faults_of(&format!("{group}{peers}")),
        [
            "3: peer_groups[0].route_reflector_client (for peers[1]): is for iBGP peers only, and \
             this one is external (RFC 4456); remove it",
            "4: peer_groups[0].import (for peers[0], peers[1]): no policy has the name \
             \"no-such\"; known are all, none, originated",
        ]
    );
}

#[test]
fn many_peers_with_the_same_fault_of_their_group_are_counted() {
    let mut text = "[[peer_groups]]\nname = \"g\"\nimport = \"x\"\nasn = 4200000001\n".to_owned();
    for n in 0..9 {
        text += &format!("[[peers]]\naddress = \"10.1.{n}.0\"\ngroup = \"g\"\n");
    }
    let faults = faults_of(&text);
    assert_eq!(faults.len(), 1, "{faults:?}");
    let place = "3: peer_groups[0].import (for peers[0], peers[1], peers[2] and 6 more): ";
    assert!(faults[0].starts_with(place), "{faults:?}");
}

#[test]
fn what_one_peer_lacks_and_the_group_too_is_missing_in_the_peer() {
    let text = "[[peer_groups]]\nname = \"g\"\n[[peers]]\naddress = \"10.1.1.0\"\ngroup = \"g\"\n";
    let faults = faults_of(text);
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert!(faults[0].starts_with("3: peers[0].asn: missing; write asn = "), "{faults:?}");
}

#[test]
fn groups_have_names_of_their_own_and_nothing_that_is_one_peers() {
    let text = "[[peer_groups]]
address = \"10.1.1.0\"
group = \"other\"
[[peer_groups]]
name = \"tors\"
[[peer_groups]]
name = \"tors\"
[[peers]]
address = \"10.1.1.0\"
asn = 4200000001
group = \"tor\"
";
    let invalid = faults_of(text);
    assert_eq!(
        invalid,
        [
            "1: peer_groups[0].name: missing; write name = \"tors\"",
            "2: peer_groups[0].address: address is one peer's own; write it in its [[peers]]",
            "3: peer_groups[0].group: group is one peer's own; write it in its [[peers]]",
            "7: peer_groups[2].name: the name \"tors\" stands in line 13 already; remove one of \
             them",
            "11: peers[0].group: no [[peer_groups]] has the name \"tor\"; known are tors; did you \
             mean \"tors\"?",
        ]
    );
    let none = "[[peers]]\naddress = \"10.1.1.0\"\nasn = 4200000001\ngroup = \"tors\"\n";
    assert_eq!(
        faults_of(none),
        ["4: peers[0].group: no [[peer_groups]] has the name \"tors\"; there is none in this file"]
    );
}

#[test]
fn a_group_without_peers_is_warned_of() {
    let loaded =
        parse(&format!("{GROUP}[[peers]]\naddress = \"10.1.1.0\"\nasn = 4200000001\n")).unwrap();
    let warnings: Vec<_> = loaded
        .warnings
        .iter()
        .map(|warning| format!("{}: {}", warning.place.key, warning.caution))
        .collect();
    assert_eq!(warnings, ["peer_groups[0]: no peer is in this group"]);
}
