//! BGPPolicies, and where they are named.

use routed::config::Config;
use serde_json::{Value, json};

use super::cluster::Cluster;

/// With a peer, and without the mesh.
fn cluster() -> Cluster {
    let mut cluster = Cluster::new();
    cluster.add("BGPConfiguration", "default", &json!({"nodeToNodeMeshEnabled": false}));
    cluster.add("BGPPeer", "tor", &json!({"peerIP": "10.1.1.0", "asNumber": 65001}));
    cluster
}

fn with(statements: &Value) -> Cluster {
    let mut cluster = cluster();
    cluster.add("BGPPolicy", "p", &json!({"default": "Reject", "statements": statements}));
    cluster
}

fn lists(config: &Config, peer: &str) -> [String; 2] {
    let peer = config.peers.iter().find(|one| &*one.name == peer).expect("a peer");
    [&peer.rib.import, &peer.rib.export]
        .map(|policy| policy.as_ref().map_or_else(String::new, |policy| policy.name.to_string()))
}

#[test]
fn every_condition_and_change_is_written() {
    let conditions = json!({
        "prefixes": [{"cidr": "10.0.0.0/8", "prefixLength": {"min": 16, "max": 24}}, {"cidr": "fd00::/8"}],
        "family": "IPv4", "asPath": ["_65099_"], "asPathContains": ["64512-65534", "7"],
        "originatedBy": [65002], "neighborAS": [65001], "asPathLength": {"min": 1, "max": 5},
        "communities": {"any": ["rack", "65000:*"], "all": ["no-export"], "none": ["65000:9"]},
        "largeCommunities": {"any": ["4200000000:1:2"]}, "extendedCommunities": {"any": ["rt:65000:1"]},
        "nextHop": ["10.1.0.0/16", "10.2.0.1"], "origin": ["IGP", "Incomplete"], "source": ["EBGP", "Local"],
        "localPreference": {"min": 50}, "med": {"max": 7}, "peers": ["tor"], "peerASNumbers": [65001],
        "fromPeers": ["tor"], "fromASNumbers": [65001], "policy": "q",
    });
    let changes = json!({
        "weight": 1, "localPreference": {"add": 10}, "med": {"add": -5}, "origin": "EGP",
        "communities": {"add": ["rack"], "remove": ["65001:*"]},
        "largeCommunities": {"replace": []},
        "extendedCommunities": {"replace": ["rt:65000:1", "rt:65000:2"], "remove": ["rt:65000:2"], "add": ["rt:65000:3"]},
        "prependLastAS": 1, "prepend": 2,
    });
    let mut matches = conditions.clone();
    matches["not"] = json!({"asPath": ["^1$"], "peers": ["tor"], "policy": "q"});
    let mut cluster = with(&json!([
        {"name": "s", "match": matches, "set": changes, "apply": "q", "action": "Accept"},
        {"set": {"med": {"remove": true}, "localPreference": {"to": 7}}, "action": "NextPolicy"},
    ]));
    cluster.add("BGPPolicy", "q", &json!({"default": "Accept"}));
    let spec = json!({"nodeToNodeMeshEnabled": false,
        "communities": [{"name": "rack", "value": "65000:1"}]});
    cluster.add("BGPConfiguration", "default", &spec);
    assert!(cluster.problems("BGPPolicy", "p").is_empty(), "{:#?}", cluster.wanted().problems);
    let text = cluster.wanted().text;
    for line in [
        r#"prefixes = ["10.0.0.0/8 ge 16 le 24", "fd00::/8"]"#,
        r#"family = "ipv4""#,
        r#"as_path_contains = ["64512-65534", "7"]"#,
        "as_path_length = { min = 1, max = 5 }",
        r#"communities = { any = ["65000:1", "65000:*"], all = ["no-export"], none = ["65000:9"] }"#,
        r#"origin = ["igp", "incomplete"]"#,
        r#"source = ["ebgp", "local"]"#,
        "local_preference = { min = 50 }",
        "med = { max = 7 }",
        r#"from_peers = ["tor"]"#,
        r#"not = { as_path = ["^1$"], peers = ["tor"], policy = "q" }"#,
        r#"set = { local_preference = 7, med = "remove" }"#,
        r#"action = "next-policy""#,
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
    for change in [
        "weight = 1",
        r#"local_preference = "+10""#,
        r#"med = "-5""#,
        r#"add_communities = ["65000:1"]"#,
        "replace_large_communities = []",
        r#"replace_extended_communities = ["rt:65000:1", "rt:65000:3"]"#,
        "prepend_last_as = 1",
        "prepend = 2",
    ] {
        assert!(text.contains(change), "{change} is not in\n{text}");
    }
}

#[test]
fn policies_are_named_by_peers_and_else_by_the_configuration() {
    let mut cluster = with(&json!([]));
    cluster.add("BGPPolicy", "q", &json!({"default": "NextPolicy"}));
    assert_eq!(lists(&cluster.config(), "tor"), ["all", "originated"]);
    let spec = json!({"nodeToNodeMeshEnabled": false, "importPolicies": ["q", "p"]});
    cluster.add("BGPConfiguration", "default", &spec);
    cluster.add(
        "BGPPeer",
        "other",
        &json!({"peerIP": "10.1.2.0", "asNumber": 65001,
        "importPolicies": ["p"], "exportPolicies": ["q", "all"]}),
    );
    let config = cluster.config();
    let [tor_import, tor_export] = lists(&config, "tor");
    assert!(tor_import.contains('q') && tor_import.contains('p') && tor_export == "originated");
    let [import, export] = lists(&config, "other");
    assert!(import == "p" && export.contains('q') && export.contains("all"), "{import} {export}");
}

#[test]
fn a_policy_that_is_missing_costs_the_peers_that_name_it() {
    let mut cluster = cluster();
    cluster.add(
        "BGPPeer",
        "other",
        &json!({"peerIP": "10.1.2.0", "asNumber": 65001,
        "exportPolicies": ["mising"]}),
    );
    let words = ["spec.exportPolicies: ", "no BGPPolicy/mising", "originated"];
    cluster.assert_problem(("BGPPeer", "other"), "PolicyMissing", &words);
    assert_eq!(cluster.peers(), ["tor"]);
}

#[test]
fn default_policies_that_are_missing_close_the_outside_and_not_the_inside() {
    let mut cluster = cluster();
    cluster.add(
        "BGPConfiguration",
        "default",
        &json!({"exportPolicies": ["x"], "importPolicies": ["x"]}),
    );
    let config = cluster.config();
    assert_eq!(lists(&config, "tor"), ["none", "none"]);
    assert_eq!(lists(&config, "node:n2"), ["all", "originated"]);
    let problems = cluster.problems("BGPConfiguration", "default");
    assert_eq!(problems.len(), 2);
    assert!(problems.iter().all(|problem| problem.reason == "PolicyMissing"), "{problems:#?}");
}

#[test]
fn a_policy_with_a_fault_is_left_out_and_what_needs_it() {
    let mut cluster = with(&json!([{"match": {"asPath": ["("]}, "action": "Accept"}]));
    cluster.add("BGPPolicy", "q", &json!({"default": "Reject", "statements": [{"apply": "p"}]}));
    cluster.add(
        "BGPPeer",
        "other",
        &json!({"peerIP": "10.1.2.0", "asNumber": 65001, "importPolicies": ["q"]}),
    );
    cluster.assert_problem(("BGPPolicy", "p"), "Invalid", &["spec.statements[0].match.asPath: "]);
    cluster.assert_problem(("BGPPolicy", "q"), "PolicyNotAccepted", &["BGPPolicy/p"]);
    cluster.assert_problem(("BGPPeer", "other"), "PolicyNotAccepted", &["BGPPolicy/q"]);
    assert_eq!(cluster.peers(), ["tor"]);
}

#[test]
fn policies_that_apply_each_other_are_refused() {
    let mut cluster = with(&json!([{"apply": "q"}]));
    cluster.add("BGPPolicy", "q", &json!({"default": "Reject", "statements": [{"apply": "p"}]}));
    let problems = [cluster.problems("BGPPolicy", "p"), cluster.problems("BGPPolicy", "q")];
    assert!(problems.iter().any(|problems| !problems.is_empty()), "{problems:?}");
}

#[test]
fn conditions_about_peers_of_other_nodes_hold_for_none_here() {
    let mut cluster = with(&json!([
        {"name": "theirs", "match": {"peers": ["far"]}, "action": "Accept"},
        {"name": "not-theirs", "match": {"not": {"fromPeers": ["far"]}}, "action": "Accept"},
        {"name": "hubs", "match": {"peers": ["hubs"]}, "action": "Accept"},
    ]));
    cluster.add(
        "BGPPeer",
        "far",
        &json!({"peerIP": "10.9.0.1", "asNumber": 65001,
        "nodeSelector": {"matchLabels": {"rack": "9"}}}),
    );
    cluster.add("BGPPeer", "hubs", &json!({"peerSelector": {}}));
    let text = cluster.wanted().text;
    assert!(!text.contains("name = \"theirs\""), "{text}");
    assert!(text.contains("name = \"not-theirs\"") && !text.contains("far"), "{text}");
    assert!(text.contains("peers = [\"hubs:n2\"]"), "{text}");
    assert!(cluster.problems("BGPPolicy", "p").is_empty());
    let cluster = with(&json!([{"match": {"peers": ["typo"]}, "action": "Accept"}]));
    cluster.assert_problem(("BGPPolicy", "p"), "PeerMissing", &["BGPPeer/typo"]);
}

#[test]
fn changes_that_contradict_each_other_are_refused() {
    for (set, words) in [
        (json!({"localPreference": {"to": 1, "add": 1}}), "localPreference"),
        (json!({"med": {}}), "med"),
        (json!({"communities": {"replace": ["1:1"], "remove": ["1:*"]}}), "pattern"),
        (json!({"prepend": 99}), "99"),
    ] {
        let cluster = with(&json!([{}, {"set": set, "action": "Accept"}]));
        let words = ["spec.statements[1].set", words];
        cluster.assert_problem(("BGPPolicy", "p"), "Invalid", &words);
    }
}

#[test]
fn announced_prefixes_carry_their_communities_to_every_peer() {
    let mut cluster = cluster();
    cluster.add(
        "BGPConfiguration",
        "default",
        &json!({
            "communities": [{"name": "rack", "value": "65000:1"}],
            "prefixAdvertisements": [
                {"cidr": "10.244.0.0/16", "communities": ["rack", "4200000000:1:2", "no-export"]},
                {"cidr": "fd00::/48", "communities": ["65000:2"]},
            ],
        }),
    );
    cluster.add(
        "BGPPeer",
        "other",
        &json!({"peerIP": "10.1.2.0", "asNumber": 65001, "exportPolicies": ["all"]}),
    );
    let text = cluster.wanted().text;
    let set = "set = { add_communities = [\"65000:1\", \"no-export\"], \
               add_large_communities = [\"4200000000:1:2\"] }";
    assert!(text.contains("prefixes = \"10.244.0.0/16 le 32\"") && text.contains(set), "{text}");
    let config = cluster.config();
    for (peer, rest) in [("tor", "originated"), ("other", "all"), ("node:n2", "originated")] {
        let [_, export] = lists(&config, peer);
        assert!(export.contains("prefixAdvertisements") && export.contains(rest), "{export}");
    }
    let wrong = json!({"prefixAdvertisements": [
        {"cidr": "10.244.0.0/16", "communities": ["nobody"]},
        {"cidr": "10.245.0.0/16", "communities": ["65000:3"]},
    ]});
    cluster.add("BGPConfiguration", "default", &wrong);
    let words = ["spec.prefixAdvertisements: ", "nobody"];
    cluster.assert_problem(("BGPConfiguration", "default"), "Invalid", &words);
    assert!(cluster.wanted().text.contains("65000:3"));
}
