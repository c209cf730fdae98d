//! BGPPeers.

use bgp::{
    aspath::Asn,
    config::{PeerAs, Ttl},
    family::Family,
};
use serde_json::{Value, json};

use super::cluster::Cluster;

/// Without the mesh.
fn cluster() -> Cluster {
    let mut cluster = Cluster::new();
    cluster.add("BGPConfiguration", "default", &json!({"nodeToNodeMeshEnabled": false}));
    cluster
}

fn with(spec: &Value) -> Cluster {
    let mut cluster = cluster();
    cluster.add("BGPPeer", "tor", spec);
    cluster
}

#[test]
fn every_field_of_a_peer_is_heeded() {
    let mut cluster = with(&json!({
        "peerIP": "10.1.1.0", "asNumber": 4200000001_u32, "port": 1790, "localASNumber": 64999,
        "numAllowedLocalASNumbers": 2, "ttlSecurity": 3, "passive": true,
        "password": {"secretKeyRef": {"name": "tor", "key": "md5"}},
        "bfd": {"transmitIntervalMilliseconds": 50, "detectMultiplier": 5},
        "gracefulRestart": {"restartTimeSeconds": 30, "stalePathTimeSeconds": 40},
        "holdTimeSeconds": 9, "keepaliveTimeSeconds": 3, "connectRetrySeconds": 2,
        "families": ["IPv4"], "extendedNextHop": true, "nextHopSelf": true,
        "maxPrefixes": {"ipv4": 10}, "importPolicies": ["none"], "exportPolicies": ["all"],
    }));
    cluster.secret("tor", "md5", "geheim\n");
    let wanted = cluster.wanted();
    assert!(cluster.problems("BGPPeer", "tor").is_empty());
    assert!(wanted.text.contains("password_file = \"/secrets/tor:md5\""), "{}", wanted.text);
    assert_eq!(wanted.secrets.iter().collect::<Vec<_>>(), ["tor"]);
    let config = cluster.config();
    let peer = &config.peers[0];
    assert_eq!(
        (&*peer.name, peer.address.to_string(), peer.port),
        ("tor", "10.1.1.0".into(), 1790)
    );
    let session = &peer.session;
    assert_eq!(
        (session.peer_asn.clone(), session.local_asn),
        (PeerAs::Exact(Asn(4_200_000_001)), Asn(64999))
    );
    assert!(matches!(peer.ttl, Ttl::Security(hops) if hops.get() == 3));
    assert!(session.passive && peer.rib.next_hop_self && peer.rib.allow_own_as == 2);
    assert_eq!(session.families.iter().collect::<Vec<_>>(), [Family::Ipv4Unicast]);
    assert!(session.extended_next_hop.contains(Family::Ipv4Unicast));
    assert_eq!(session.connect_retry.as_secs(), 2);
    assert_eq!(session.keepalive_time.map(|time| time.as_secs()), Some(3));
    let restart = session.graceful_restart.as_ref().unwrap();
    assert_eq!(restart.stale_path_time.as_secs(), 40);
    assert!(peer.rib.max_prefixes.ipv4.is_some() && peer.rib.max_prefixes.ipv6.is_none());
    let bfd = peer.bfd.as_ref().unwrap();
    assert_eq!(bfd.to_string(), "50/300 ms x 5, multihop from hop limit 253 on");
    let names =
        [&peer.rib.import, &peer.rib.export].map(|policy| policy.as_ref().map(|p| &*p.name));
    assert_eq!(names, [Some("none"), Some("all")]);
}

#[test]
fn restart_can_be_switched_off_and_multihop_and_interfaces_are_known() {
    let off = with(&json!({"peerIP": "10.1.1.0", "remoteAS": "External", "ebgpMultihop": 4,
        "gracefulRestart": {"enabled": false}}));
    let config = off.config();
    assert!(config.peers[0].session.graceful_restart.is_none());
    assert!(matches!(config.peers[0].ttl, Ttl::Multihop(hops) if hops.get() == 4));
    let config = with(&json!({"interface": "eth1"})).config();
    assert_eq!(config.peers[0].address.to_string(), "eth1");
    assert_eq!(config.peers[0].session.peer_asn, PeerAs::External);
    let config = with(&json!({"interface": "eth1", "remoteAS": "Internal"})).config();
    assert_eq!(config.peers[0].session.peer_asn, PeerAs::Internal);
}

#[test]
fn the_tor_of_a_rack_has_the_as_that_a_label_of_the_node_says() {
    let mut cluster = with(&json!({"peerIP": "10.1.1.0", "asNumberLabel": "rack-as"}));
    let words = ["no such label", "kubectl label node n1 rack-as="];
    cluster.assert_problem(("BGPPeer", "tor"), "NodeLabelMissing", &words);
    assert!(cluster.peers().is_empty());
    cluster.label("n1", "rack-as", "4200000001");
    assert_eq!(cluster.config().peers[0].session.peer_asn, PeerAs::Exact(Asn(4_200_000_001)));
}

#[test]
fn a_peer_of_other_nodes_is_none_of_ours() {
    let mut cluster = with(&json!({"peerIP": "10.1.1.0", "asNumber": 65001,
        "nodeSelector": {"matchLabels": {"rack": "1"}}}));
    assert!(cluster.peers().is_empty());
    assert!(!cluster.wanted().problems.keys().any(|object| object.kind == "BGPPeer"));
    cluster.label("n1", "rack", "1");
    assert_eq!(cluster.peers(), ["tor"]);
}

#[test]
fn a_node_is_no_peer_of_itself() {
    let cluster = with(&json!({"peerIP": "10.0.0.2", "asNumber": 64512}));
    assert_eq!(cluster.peers_of("n1"), ["tor"]);
    assert!(cluster.peers_of("n2").is_empty());
}

#[test]
fn nodes_that_are_peers_have_the_session_at_both_ends() {
    let mut cluster = with(&json!({
        "nodeSelector": {"matchLabels": {"rack": "1"}}, "peerSelector": {"matchLabels": {"hub": "yes"}},
        "passive": true, "holdTimeSeconds": 9,
    }));
    cluster.label("n1", "rack", "1");
    cluster.label("n2", "hub", "yes");
    let (near, far) = (cluster.config_of("n1"), cluster.config_of("n2"));
    assert_eq!((&*near.peers[0].name, &*far.peers[0].name), ("tor:n2", "tor:n1"));
    assert_eq!(near.peers[0].local_address, far.peers[0].address.fixed());
    assert!(near.peers[0].session.passive && !far.peers[0].session.passive, "one must connect");
    cluster.add("BGPPeer", "tor", &json!({"peerSelector": {}, "passive": true}));
    let ends = ["n1", "n2"].map(|node| cluster.config_of(node).peers[0].session.passive);
    assert_eq!(ends, [false, true], "of two that both wait one does not");
}

#[test]
fn a_session_that_a_peer_asks_for_takes_the_place_of_that_of_the_mesh() {
    let mut cluster = Cluster::new();
    cluster.node("n3", &["10.0.0.3"]);
    cluster.label("n2", "hub", "yes");
    let hubs = json!({"peerSelector": {"matchLabels": {"hub": "yes"}}, "bfd": {}});
    cluster.add("BGPPeer", "hubs", &hubs);
    assert_eq!(cluster.peers(), ["node:n3", "hubs:n2"]);
    assert!(cluster.config().peers[1].bfd.is_some());
}

#[test]
fn a_session_is_known_to_be_of_the_peer_that_asks_for_it() {
    let mut cluster = Cluster::new();
    cluster.node("n3", &["10.0.0.3"]);
    cluster.label("n2", "hub", "yes");
    cluster.add("BGPPeer", "hubs", &json!({"peerSelector": {"matchLabels": {"hub": "yes"}}}));
    cluster.add("BGPPeer", "tor", &json!({"peerIP": "10.1.1.0", "asNumber": 65001}));
    let sessions = cluster.wanted().sessions;
    let sessions: Vec<_> = sessions.iter().map(|(name, peer)| (&**name, &**peer)).collect();
    assert_eq!(sessions, [("hubs:n2", "hubs"), ("tor", "tor")]);
}

#[test]
fn a_secret_that_is_missing_costs_one_session() {
    let password = json!({"secretKeyRef": {"name": "tor", "key": "md5"}});
    let mut cluster = with(&json!({"peerIP": "10.1.1.0", "asNumber": 65001, "password": password}));
    cluster.add("BGPPeer", "other", &json!({"peerIP": "10.1.2.0", "asNumber": 65001}));
    let missing = ["no Secret/tor", "kubectl create secret"];
    cluster.assert_problem(("BGPPeer", "tor"), "SecretMissing", &missing);
    assert_eq!(cluster.peers(), ["other"]);
    assert!(cluster.wanted().secrets.contains("tor"), "it is waited for");
    cluster.secret("tor", "password", "x");
    let missing = ["no key \"md5\"", "password"];
    cluster.assert_problem(("BGPPeer", "tor"), "SecretMissing", &missing);
    cluster.secret("tor", "md5", "");
    let empty = ["spec.password: ", "empty first line"];
    cluster.assert_problem(("BGPPeer", "tor"), "Invalid", &empty);
    cluster.secret("tor", "md5", "x");
    assert_eq!(cluster.peers(), ["other", "tor"]);
}

#[test]
fn names_of_secrets_lead_nowhere_else() {
    for (name, key) in [("../../etc", "shadow"), ("a", "b/c"), ("", "x"), ("a:b", "c")] {
        let password = json!({"secretKeyRef": {"name": name, "key": key}});
        let mut cluster =
            with(&json!({"peerIP": "10.1.1.0", "asNumber": 65001, "password": password}));
        cluster.secret(name, key, "x");
        cluster.assert_problem(("BGPPeer", "tor"), "Invalid", &["is no key of a Secret"]);
        assert!(routed_cluster::passwords(&cluster.objects).is_empty());
    }
}

#[test]
fn of_two_peers_with_one_address_the_older_one_counts() {
    let mut cluster = with(&json!({"peerIP": "10.1.1.0", "asNumber": 65001}));
    let spec = json!({"peerIP": "10.1.1.0", "asNumber": 65002});
    cluster.add_at("BGPPeer", "a-later-one", "2026-11-02T00:00:00Z", &spec);
    assert_eq!(cluster.peers(), ["tor"]);
    let words = ["BGPPeer/tor", "10.1.1.0", "spec.peerIP"];
    cluster.assert_problem(("BGPPeer", "a-later-one"), "SessionRepeated", &words);
    cluster.add_at("BGPPeer", "a-later-one", "2026-10-01T00:00:00Z", &spec);
    assert_eq!(cluster.peers(), ["a-later-one"]);
}

#[test]
fn what_is_wrong_past_the_schema_is_told_by_its_field() {
    for (spec, words) in [
        (json!({"asNumber": 65001}), ["spec: ", "in exactly one way"]),
        (
            json!({"peerIP": "10.1.1.0", "interface": "eth1", "asNumber": 1}),
            ["spec: ", "exactly one"],
        ),
        (json!({"peerIP": "10.1.1.0", "asNumber": 1, "remoteAS": "External"}), ["spec: ", "AS"]),
        (json!({"peerSelector": {}, "asNumber": 1}), ["spec: ", "remove asNumber"]),
        (json!({"peerIP": "10.1.1.0"}), ["spec", "asn"]),
        (json!({"peerIP": "10.1.1", "asNumber": 65001}), ["spec.peerIP: ", "10.1.1"]),
        (json!({"peerIP": "10.1.1.0", "asNumber": 23456}), ["spec.asNumber: ", "23456"]),
        (
            json!({"peerIP": "10.1.1.0", "asNumber": 65001, "holdTimeSeconds": 2}),
            ["spec.holdTimeSeconds: ", "at least 3"],
        ),
        (
            json!({"peerIP": "10.1.1.0", "asNumber": 65001, "ttlSecurity": 1, "ebgpMultihop": 2}),
            ["spec.ebgpMultihop: ", "ttl_security"],
        ),
        (json!({"interface": "a/b"}), ["spec.interface: ", "a/b"]),
        (json!({"interface": "eth1\"\n[bgp]\nasn = 1"}), ["spec.interface: ", "eth1"]),
        (
            json!({"peerIP": "10.1.1.0", "asNumber": 65001, "bfd": {"detectMultiplier": 0}}),
            ["spec.bfd: ", "0"],
        ),
    ] {
        let cluster = with(&spec);
        let wanted = cluster.wanted();
        assert!(wanted.faults.is_empty(), "{spec}: {:?}\n{}", wanted.faults, wanted.text);
        cluster.assert_problem(("BGPPeer", "tor"), "Invalid", &words);
        assert!(cluster.peers().is_empty(), "{spec}");
    }
}
