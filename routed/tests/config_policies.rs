//! Promises of `[[policies]]` and their lists: every fault with its place and remedy, warnings of
//! what has no effect, and policies that do what is written.

use std::{fs, path::Path, sync::Arc};

use bgp::{
    attrs::{Attrs, NextHop},
    policy::{Context, Outcome, PeerRef, Policy, Source},
};
use routed::config::{Config, Invalid, Loaded};

const LEAST: &str = "
[node]
name = \"n1\"
[bgp]
asn = 64512
router_id = \"10.0.0.1\"
[[peers]]
name = \"tor-a\"
group = \"tors\"
address = \"192.0.2.1\"
import = [\"p\"]
[[peer_groups]]
name = \"tors\"
asn = 65001
export = \"all\"
";

fn parse(added: &str) -> Result<Loaded, Invalid> {
    Config::parse(Path::new("routed.toml"), &format!("{LEAST}{added}"))
}

fn warnings_of(added: &str) -> Vec<String> {
    let loaded = parse(added).unwrap_or_else(|error| panic!("{error}"));
    let warnings = loaded.warnings.iter();
    warnings.map(|warning| format!("{}: {}", warning.place.key, warning.caution)).collect()
}

/// A statement of the policy `p`, which is what the peer's import is, with this in it.
fn statement(keys: &str) -> String {
    format!("[[policies]]\nname = \"p\"\ndefault = \"reject\"\n[[policies.statements]]\n{keys}\n")
}

/// The peer's import policy with these tables.
fn import(added: &str) -> Arc<Policy> {
    let loaded = parse(added).unwrap_or_else(|error| panic!("{error}"));
    loaded.config.peers[0].rib.import.clone().expect("it names one")
}

fn path() -> Attrs {
    let mut attrs = Attrs::originated(NextHop::new([192, 0, 2, 1].into()));
    attrs.as_path = bgp::aspath::AsPath::sequence([65001, 65002]);
    attrs.communities = vec!["65000:100".parse().expect("is one")];
    attrs.large_communities = vec!["65000:1:2".parse().expect("is one")];
    attrs.ext_communities = vec!["rt:65000:7".parse().expect("is one")];
    attrs.local_pref = Some(100);
    attrs
}

/// What becomes of `path()` for 10.1.0.0/16 from the peer.
fn judged(policy: &Policy) -> Option<Attrs> {
    let prefix = "10.1.0.0/16".parse().expect("is one");
    let next_hop = NextHop::new([192, 0, 2, 1].into());
    let asn = bgp::aspath::Asn(65001);
    let peer = PeerRef { name: "tor-a", group: Some("tors"), asn, next_hop };
    let local_asn = bgp::aspath::Asn(64512);
    let context = Context { prefix, source: Source::Ebgp, local_asn, peer, from: Some(peer) };
    match policy.apply(&context, &Arc::new(path())) {
        Outcome::Accepted(accepted) => Some(Attrs::clone(&accepted.attrs)),
        Outcome::Rejected(_) => None,
    }
}

#[test]
fn every_fault_of_policies_and_lists_is_told_with_its_place_and_remedy() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/config");
    let text = fs::read_to_string(folder.join("policies.toml")).unwrap();
    let expected = fs::read_to_string(folder.join("policies.expected")).unwrap();
    let invalid = Config::parse(Path::new("routed.toml"), &text).expect_err("it has faults");
    assert_eq!(format!("{invalid}\n"), expected);
}

#[test]
fn every_condition_that_can_be_written_is_the_one_that_is_meant() {
    let holding = [
        "prefixes = [\"10.0.0.0/8 ge 16\"]",
        "prefixes = \"fabric\"",
        "family = \"ipv4\"",
        "as_path = \"^65001_\"",
        "as_path = [\"^$\", \"_65002$\"]",
        "as_path_contains = [65009, \"65002-65003\"]",
        "as_path_contains = \"0.65001\"",
        "originated_by = 65002",
        "neighbor_as = [65001]",
        "as_path_length = 2",
        "as_path_length = { min = 2 }",
        "communities = \"65000:*\"",
        "communities = [\"tags\"]",
        "communities = { any = [\"1:1\", \"65000:100\"], all = [\"*:100\"], none = [\"no-export\"] }",
        "communities = { count = 1 }",
        "communities = { count = { max = 5 } }",
        "large_communities = \"65000:*:2\"",
        "large_communities = \"tags\"",
        "extended_communities = [\"rt:*\"]",
        "extended_communities = { all = [\"tags\"], count = 1 }",
        "next_hop = \"192.0.2.1\"",
        "next_hop = [\"fd00::/8\", \"192.0.2.0/24\"]",
        "next_hop = \"hops\"",
        "origin = \"igp\"",
        "origin = [\"egp\", \"igp\"]",
        "source = [\"local\", \"ebgp\"]",
        "local_preference = 100",
        "local_preference = { min = 100, max = 100 }",
        "med = { max = 0 }",
        "peers = \"tor-a\"",
        "peer_groups = [\"tors\"]",
        "peer_asns = [\"65000-65010\"]",
        "from_peers = \"tor-a\"",
        "from_groups = \"tors\"",
        "from_asns = 65001",
        "policy = \"yes\"",
        "not = { origin = \"egp\", family = \"ipv6\", policy = \"none\" }",
    ];
    let others = "[[prefix_lists]]\nname = \"fabric\"\nprefixes = [\"10.1.0.0/16\"]\n\
        [[prefix_lists]]\nname = \"hops\"\nprefixes = [\"192.0.2.0/24 le 25\"]\n\
        [[community_lists]]\nname = \"tags\"\ncommunities = [\"65000:100\"]\n\
        large_communities = [\"65000:1:2\"]\nextended_communities = [\"rt:65000:*\"]\n\
        [[policies]]\nname = \"yes\"\ndefault = \"accept\"\n";
    for keys in holding {
        let tables = format!("{}{others}", statement(&format!("{keys}\naction = \"accept\"")));
        assert!(judged(&import(&tables)).is_some(), "{keys}");
        if let Some(inner) = keys.strip_prefix("not = ") {
            assert!(inner.starts_with('{'), "{keys}");
            continue;
        }
        let negated = format!("not = {{ {keys} }}\naction = \"accept\"");
        let tables = format!("{}{others}", statement(&negated));
        let none_of_it = judged(&import(&tables)).is_none();
        assert!(none_of_it, "not {keys}");
    }
}

#[test]
fn every_change_that_can_be_written_is_the_one_that_is_meant() {
    type Change = fn(&mut Attrs);
    let cases: [(&str, Change); 22] = [
        ("weight = 5", |attrs| attrs.weight = 5),
        ("local_preference = 200", |attrs| attrs.local_pref = Some(200)),
        ("local_preference = \"+10\"", |attrs| attrs.local_pref = Some(110)),
        ("local_preference = \"-10\"", |attrs| attrs.local_pref = Some(90)),
        ("med = 5", |attrs| attrs.med = Some(5)),
        ("med = \"+5\"", |attrs| attrs.med = Some(5)),
        ("med = \"remove\"", |attrs| attrs.med = None),
        ("origin = \"incomplete\"", |attrs| attrs.origin = bgp::attrs::Origin::Incomplete),
        ("add_communities = [\"1:1\"]", |attrs| {
            attrs.communities.insert(0, "1:1".parse().unwrap());
        }),
        ("remove_communities = \"65000:*\"", |attrs| attrs.communities.clear()),
        ("remove_communities = \"tags\"", |attrs| attrs.communities.clear()),
        ("replace_communities = [\"1:1\"]", |attrs| {
            attrs.communities = vec!["1:1".parse().unwrap()];
        }),
        ("replace_communities = []", |attrs| attrs.communities.clear()),
        ("add_large_communities = [\"1:1:1\"]", |attrs| {
            attrs.large_communities.insert(0, "1:1:1".parse().unwrap());
        }),
        ("remove_large_communities = \"65000:*:*\"", |attrs| attrs.large_communities.clear()),
        ("replace_large_communities = []", |attrs| attrs.large_communities.clear()),
        ("add_extended_communities = \"soo:1:1\"", |attrs| {
            attrs.ext_communities.insert(1, "soo:1:1".parse().unwrap());
        }),
        ("remove_extended_communities = \"rt:*\"\nreplace_large_communities = []", |attrs| {
            attrs.ext_communities.clear();
            attrs.large_communities.clear();
        }),
        ("link_bandwidth = \"10Gbit\"", |attrs| {
            attrs.ext_communities.push("lb:64512:10Gbit".parse().unwrap());
        }),
        ("prepend = 2", |attrs| {
            attrs.as_path = attrs.as_path.prepended(bgp::aspath::Asn(64512), 2);
        }),
        ("prepend_last_as = 1", |attrs| {
            attrs.as_path = attrs.as_path.prepended(bgp::aspath::Asn(65001), 1);
        }),
        ("next_hop = [\"10.9.9.9\", \"fd00::9\"]", |attrs| {
            attrs.next_hop = NextHop::new([10, 9, 9, 9].into());
        }),
    ];
    let tags = "[[community_lists]]\nname = \"tags\"\ncommunities = [\"65000:*\"]\n";
    for (keys, change) in cases {
        let set = format!("action = \"accept\"\n[policies.statements.set]\n{keys}");
        let mut expected = path();
        change(&mut expected);
        let made = judged(&import(&format!("{}{tags}", statement(&set))));
        assert_eq!(made, Some(expected), "{keys}");
    }
}

#[test]
fn lists_of_policies_are_asked_in_their_order_and_equal_lists_are_one_policy() {
    let text = LEAST.replace("import = [\"p\"]", "import = [\"marks\", \"p\"]")
        + "[[peers]]\naddress = \"192.0.2.2\"\ngroup = \"tors\"\nimport = [\"marks\", \"p\"]\n\
           [[policies]]\nname = \"marks\"\ndefault = \"next-policy\"\n\
           [[policies.statements]]\nset = { add_communities = [\"1:1\"] }\n"
        + &statement("communities = [\"1:1\"]\naction = \"accept\"");
    let loaded = Config::parse(Path::new("routed.toml"), &text).unwrap();
    assert_eq!(loaded.warnings, []);
    let imports: Vec<_> =
        loaded.config.peers.iter().map(|peer| peer.rib.import.clone().unwrap()).collect();
    assert_eq!(&*imports[0].name, "marks, p");
    assert!(Arc::ptr_eq(&imports[0], &imports[1]));
    assert_eq!(judged(&imports[0]).unwrap().communities.len(), 2);
}

#[test]
fn policies_may_be_named_before_they_are_written() {
    let text = statement("apply = \"later\"\naction = \"accept\"")
        + "[[policies]]\nname = \"later\"\ndefault = \"next-policy\"\n\
           [[policies.statements]]\nset = { weight = 7 }\n";
    assert_eq!(judged(&import(&text)).unwrap().weight, 7);
}

#[test]
fn statements_that_no_path_reaches_are_warned_of() {
    let two = |first: &str, between: &str, second: &str| {
        let text = format!(
            "[[policies]]\nname = \"p\"\ndefault = \"reject\"\n\
             [[policies.statements]]\nname = \"first\"\n{first}\n{between}\n\
             [[policies.statements]]\nname = \"second\"\n{second}\n\
             [[policies]]\nname = \"no\"\ndefault = \"reject\"\n\
             [[policies]]\nname = \"on\"\ndefault = \"next-policy\"\n"
        );
        let warnings = warnings_of(&text);
        warnings.into_iter().filter(|warning| !warning.contains("no peer uses")).collect::<Vec<_>>()
    };
    let told = |number| {
        vec![format!(
            "policies[0].statements[{number}]: is never reached: \"first\" before it decides \
             every path that it could match"
        )]
    };
    let accept = "action = \"accept\"";
    assert_eq!(two(accept, "", accept), told(1));
    assert_eq!(two("action = \"next-policy\"", "", accept), told(1));
    assert_eq!(two("apply = \"no\"", "", accept), told(1));
    assert_eq!(two("apply = \"on\"", "", accept), [""; 0]);
    let of_one = "neighbor_as = 1\naction = \"accept\"";
    let of_one_by_ebgp = "neighbor_as = 1\nsource = \"ebgp\"\naction = \"reject\"";
    assert_eq!(two(of_one, "", of_one_by_ebgp), told(1));
    assert_eq!(two(of_one_by_ebgp, "", of_one), [""; 0]);
    let marks = "[[policies.statements]]\nname = \"between\"\nset = { prepend = 1 }";
    assert_eq!(two(of_one, marks, of_one_by_ebgp), [""; 0], "the path begins differently now");
    assert_eq!(two(accept, marks, accept).len(), 2, "both are after everything");
}

#[test]
fn policies_after_one_that_decides_everything_are_warned_of() {
    let text = LEAST.replace("import = [\"p\"]", "import = [\"p\", \"all\"]")
        + &statement("action = \"accept\"");
    let loaded = Config::parse(Path::new("routed.toml"), &text).unwrap();
    let warnings: Vec<_> =
        loaded.warnings.iter().map(|w| format!("{}: {}", w.place.key, w.caution)).collect();
    assert_eq!(
        warnings,
        [
            "peers[0].import[1]: is never asked: \"p\" before it accepts or rejects everything; give \
          that default = \"next-policy\""
        ]
    );
}

#[test]
fn changes_without_effect_in_their_direction_and_unused_lists_are_warned_of() {
    let text = LEAST.replace("export = \"all\"", "export = \"out\"")
        + &statement("set = { next_hop = \"self\" }\naction = \"accept\"")
        + "[[policies]]\nname = \"out\"\ndefault = \"accept\"\n[[policies.statements]]\n\
           apply = \"inner\"\n\
           [[policies]]\nname = \"inner\"\ndefault = \"next-policy\"\n\
           [[policies.statements]]\nset = { weight = 1 }\n\
           [[prefix_lists]]\nname = \"l\"\nprefixes = [\"10.0.0.0/8\"]\n";
    let loaded = Config::parse(Path::new("routed.toml"), &text).unwrap();
    let warnings: Vec<_> =
        loaded.warnings.iter().map(|w| format!("{}: {}", w.place.key, w.caution)).collect();
    assert_eq!(
        warnings,
        [
            "peers[0].import[0]: \"p\" sets next_hop = \"self\" or \"unchanged\", which has no \
             effect on import",
            "peer_groups[0].export (for peers[0]): \"inner\" sets weight or next_hop = \"peer\", \
             which has no effect on export",
            "prefix_lists[0]: no policy uses this list",
        ]
    );
}

#[test]
fn policies_within_policies_have_a_limit() {
    let chain = |count: usize, times: usize| {
        let mut text = String::new();
        for n in 0..count {
            let name = if n == 0 { "p".to_owned() } else { format!("p{n}") };
            text += &format!("[[policies]]\nname = \"{name}\"\ndefault = \"next-policy\"\n");
            for i in 0..times {
                let apply =
                    if n + 1 < count { format!("apply = \"p{}\"", n + 1) } else { String::new() };
                text += &format!(
                    "[[policies.statements]]\nname = \"s{i}\"\nset = {{ prepend = 1 }}\n{apply}\n"
                );
            }
        }
        text
    };
    assert!(parse(&chain(17, 1)).is_ok());
    for (count, times) in [(18, 1), (1000, 1), (16, 100)] {
        let error = parse(&chain(count, times)).expect_err("too large").to_string();
        assert!(error.contains("at most 10000 statements and 16 levels are allowed"), "{error}");
    }
}
