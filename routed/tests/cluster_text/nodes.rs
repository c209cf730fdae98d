//! Who the node is, and its sessions with other nodes.

use std::collections::BTreeSet;

use bgp::{
    aspath::Asn,
    config::{PeerAs, Ttl},
};
use serde_json::json;

use super::cluster::Cluster;

#[test]
fn small_clusters_have_a_full_mesh_of_one_session_for_both_families() {
    let mut cluster = Cluster::new();
    cluster.node("n3", &["fd00::3"]);
    cluster.node("n4", &[]);
    let config = cluster.config();
    assert_eq!((config.speaker.asn, config.speaker.router_id), (Asn(64512), [10, 0, 0, 1].into()));
    let [n2, n3] = &config.peers[..] else { panic!("{:?}", config.peers) };
    assert_eq!((&*n2.name, n2.address.to_string()), ("node:n2", "10.0.0.2".to_owned()));
    assert_eq!(n2.local_address, Some([10, 0, 0, 1].into()));
    assert_eq!(n2.next_hop_ipv6, Some("fd00::1".parse().unwrap()));
    assert_eq!(n2.session.families.iter().count(), 2);
    assert_eq!((&*n3.name, n3.address.to_string()), ("node:n3", "fd00::3".to_owned()));
    assert_eq!(n3.session.families.iter().count(), 1);
}

#[test]
fn the_mesh_can_be_switched_off_and_its_port_is_that_of_the_configuration() {
    let mut cluster = Cluster::new();
    cluster.add("BGPConfiguration", "default", &json!({"listenPort": 1179, "asNumber": 65001}));
    let config = cluster.config();
    assert_eq!((config.peers[0].port, config.speaker.asn), (1179, Asn(65001)));
    assert_eq!(config.speaker.listen[0].port(), 1179);
    cluster.add("BGPConfiguration", "default", &json!({"nodeToNodeMeshEnabled": false}));
    assert!(cluster.peers().is_empty());
}

#[test]
fn nodes_with_an_as_of_their_own_have_ebgp_over_any_number_of_hops() {
    let mut cluster = Cluster::new();
    cluster.add(
        "BGPConfiguration",
        "default",
        &json!({"nodeASNumberLabel": "as", "asNumber": 65000}),
    );
    cluster.label("n1", "as", "4200000011");
    cluster.label("n2", "as", "64086.59916");
    cluster.node("n3", &["10.0.0.3"]);
    let config = cluster.config();
    assert_eq!(config.speaker.asn, Asn(4_200_000_011));
    assert_eq!(config.peers[0].session.peer_asn, PeerAs::Exact(Asn(4_200_000_012)));
    assert!(matches!(config.peers[0].ttl, Ttl::Multihop(hops) if hops.get() == 255));
    assert_eq!(config.peers[1].session.peer_asn, PeerAs::Exact(Asn(65000)));
}

#[test]
fn a_label_that_is_no_as_is_reported_and_the_node_has_the_common_one() {
    let mut cluster = Cluster::new();
    cluster.add(
        "BGPConfiguration",
        "default",
        &json!({"nodeASNumberLabel": "as", "asNumber": 65000}),
    );
    cluster.label("n1", "as", "rack-1");
    assert_eq!(cluster.config().speaker.asn, Asn(65000));
    let words = ["Node/n1", "rack-1", "nodeASNumberLabel"];
    cluster.assert_problem(("BGPConfiguration", "default"), "NodeLabelInvalid", &words);
}

#[test]
fn reflectors_reflect_and_the_others_have_sessions_with_them_alone() {
    let mut cluster = Cluster::new();
    for name in ["n3", "n4"] {
        cluster.node(name, &[&format!("10.0.0.{}", &name[1..])]);
    }
    for name in ["n2", "n3"] {
        cluster.label(name, "reflector", "");
    }
    let selector = json!({"matchExpressions": [{"key": "reflector", "operator": "Exists"}]});
    let reflectors = json!({"nodeSelector": selector, "clusterID": "10.0.0.250"});
    cluster.add("BGPConfiguration", "default", &json!({"routeReflectors": reflectors}));
    assert_eq!(cluster.peers(), ["reflector:n2", "reflector:n3"]);
    let config = cluster.config();
    assert_eq!(config.speaker.cluster_id, config.speaker.router_id);
    assert!(!config.peers.iter().any(|peer| peer.rib.route_reflector_client));
    let export = |config: &routed::config::Config| -> BTreeSet<String> {
        let exports = config.peers.iter().filter_map(|peer| peer.rib.export.as_ref());
        exports.map(|policy| policy.name.to_string()).collect()
    };
    assert_eq!(export(&config), BTreeSet::from(["all".to_owned()]));
    let config = cluster.config_of("n2");
    assert_eq!(config.speaker.cluster_id, std::net::Ipv4Addr::new(10, 0, 0, 250));
    let clients: Vec<_> =
        config.peers.iter().map(|peer| (&*peer.name, peer.rib.route_reflector_client)).collect();
    assert_eq!(clients, [("node:n1", true), ("reflector:n3", false), ("node:n4", true)]);
}

#[test]
fn the_mesh_stays_until_reflectors_serve_the_node() {
    let mut cluster = Cluster::new();
    for number in 3..=5 {
        cluster.node(&format!("n{number}"), &[&format!("10.0.0.{number}")]);
    }
    let select = json!({"matchLabels": {"reflector": "yes"}});
    let reflectors = json!({"routeReflectors": {"nodeSelector": select}});
    assert_eq!(cluster.peers(), ["node:n2", "node:n3", "node:n4", "node:n5"]);
    cluster.sessions = cluster.peers().into_iter().map(|name| (name, true)).collect();
    cluster.label("n2", "reflector", "yes");
    cluster.label("n3", "reflector", "yes");
    cluster.add("BGPConfiguration", "default", &reflectors);
    let both = ["reflector:n2", "reflector:n3", "node:n4", "node:n5"];
    assert_eq!(cluster.peers(), both, "the mesh is there still");
    for (second, expected) in [(false, &both[..]), (true, &both[..2])] {
        cluster.sessions.insert("reflector:n2".to_owned(), true);
        cluster.sessions.insert("reflector:n3".to_owned(), second);
        assert_eq!(cluster.peers(), expected);
    }
    cluster.sessions.clear();
    assert_eq!(cluster.peers(), &both[..2], "a node that starts makes no mesh");
}

#[test]
fn a_reflector_that_is_none_any_more_goes_on_until_the_mesh_is_there() {
    let mut cluster = Cluster::new();
    for name in ["n3", "n4"] {
        cluster.node(name, &[&format!("10.0.0.{}", &name[1..])]);
    }
    cluster.label("n1", "reflector", "yes");
    let select = json!({"matchLabels": {"reflector": "yes"}});
    let reflectors = json!({"routeReflectors": {"nodeSelector": select}});
    cluster.add("BGPConfiguration", "default", &reflectors);
    let passes_on = |cluster: &Cluster| {
        let config = cluster.config();
        let peers = config.peers.iter();
        peers
            .filter(|peer| peer.rib.route_reflector_client)
            .map(|peer| peer.name.to_string())
            .collect()
    };
    let all: Vec<String> = ["node:n2", "node:n3", "node:n4"].map(str::to_owned).into();
    assert!(cluster.wanted().reflects);
    assert_eq!(passes_on(&cluster), all);
    let told = |cluster: &Cluster| {
        let text = cluster.wanted().text;
        text.lines().filter(|line| *line == "export = [\"all\"]").count()
    };
    assert_eq!(told(&cluster), 3);

    // The mesh is to take its place.
    cluster.objects.configuration = None;
    cluster.clients = all.iter().cloned().collect();
    assert!(!cluster.wanted().reflects);
    assert_eq!(
        (passes_on(&cluster), told(&cluster)),
        (all, 3),
        "until the others have their sessions"
    );
    cluster.clients.clear();
    assert_eq!((passes_on(&cluster), told(&cluster)), (Vec::<String>::new(), 0));
}

#[test]
fn large_clusters_find_reflectors_for_themselves_and_overlap_while_they_grow() {
    let mut cluster = Cluster::new();
    let mut grown = |count: usize| -> (Vec<String>, usize, usize) {
        for number in 3..=count {
            let address = format!("10.0.{}.{}", number / 200, number % 200 + 1);
            cluster.node(&format!("n{number}"), &[&address]);
        }
        let peers = cluster.peers_of("n5");
        let (reflectors, mesh): (Vec<String>, Vec<String>) =
            peers.into_iter().partition(|name| name.starts_with("reflector:"));
        let names = reflectors.iter().filter_map(|name| name.strip_prefix("reflector:"));
        let names: Vec<String> = names.map(str::to_owned).collect();
        let clients = names.first().map_or(0, |name| {
            let config = cluster.config_of(name);
            config.peers.iter().filter(|peer| peer.rib.route_reflector_client).count()
        });
        (names, mesh.len(), clients)
    };
    assert_eq!(grown(100), (Vec::new(), 99, 0));
    let (reflectors, mesh, clients) = grown(101);
    assert_eq!((reflectors.len(), mesh, clients), (3, 97, 98));
    let (same, mesh, _) = grown(120);
    assert_eq!((same.len(), mesh), (3, 116));
    let (reflectors, mesh, clients) = grown(121);
    assert_eq!((reflectors.len(), mesh, clients), (3, 0, 118));
    let common = same.iter().filter(|name| reflectors.contains(name)).count();
    assert!(common >= 2, "one node more changes one reflector at most");
}

#[test]
fn reflectors_that_are_nobody_or_of_another_as_are_reported() {
    let mut cluster = Cluster::new();
    let select = json!({"matchLabels": {"reflector": "yes"}});
    let spec = json!({"routeReflectors": {"nodeSelector": select}, "nodeASNumberLabel": "as"});
    cluster.add("BGPConfiguration", "default", &spec);
    assert_eq!(cluster.peers(), ["node:n2"], "better than none");
    cluster.assert_problem(("BGPConfiguration", "default"), "NoReflectors", &["label two nodes"]);
    cluster.label("n2", "reflector", "yes");
    cluster.label("n2", "as", "65099");
    assert!(cluster.peers().is_empty());
    cluster.assert_problem(("BGPConfiguration", "default"), "ForeignAS", &["65099", "RFC 4456"]);
    let both = json!({"routeReflectors": {"nodeSelector": select}, "nodeToNodeMeshEnabled": true});
    cluster.add("BGPConfiguration", "default", &both);
    assert_eq!(cluster.peers(), ["node:n2"]);
    cluster.assert_problem(("BGPConfiguration", "default"), "Contradiction", &["full mesh"]);
}

#[test]
fn a_cordoned_node_is_drained_unless_its_annotation_says_otherwise() {
    let mut cluster = Cluster::new();
    assert!(!cluster.config().speaker.drain);
    for (cordoned, annotation, drained) in [
        (true, None, true),
        (true, Some("false"), false),
        (false, Some("true"), true),
        (false, Some("yes"), false),
    ] {
        let node = cluster.objects.nodes.get_mut("n1").unwrap();
        node.unschedulable = cordoned;
        let annotation =
            annotation.map(|value| (routed_cluster::DRAIN.to_owned(), value.to_owned()));
        node.annotations = annotation.into_iter().collect();
        assert_eq!(cluster.config().speaker.drain, drained, "{cordoned} {:?}", node_of(&cluster));
    }
}

fn node_of(cluster: &Cluster) -> &routed_cluster::Node {
    &cluster.objects.nodes["n1"]
}

#[test]
fn what_the_nodes_own_file_says_stands_above_the_objects() {
    let mut cluster = Cluster::new();
    cluster.add("BGPConfiguration", "default", &json!({"asNumber": 65001, "holdTimeSeconds": 9}));
    cluster.base = "[node]\nname = \"by-hand\"\n[bgp]\nasn = 65002\nexport = \"none\"\n\
                    [[peers]]\naddress = \"10.0.0.2\"\nasn = 65003\n"
        .to_owned();
    let config = cluster.config();
    assert_eq!((&*config.node.name, config.speaker.asn), ("by-hand", Asn(65002)));
    assert_eq!(config.peers[0].session.hold_time.seconds(), 9);
    assert_eq!(cluster.peers(), ["10.0.0.2"], "there is a session with n2 already");
}

#[test]
fn a_fault_of_the_file_is_told_with_its_line_there() {
    let mut cluster = Cluster::new();
    cluster.base = "[node]\nname = \"n1\"\n[bgp]\nrouter_id = \"10.0.0\"\n".to_owned();
    let wanted = cluster.wanted();
    let [fault] = &wanted.faults[..] else { panic!("{:?}", wanted.faults) };
    assert_eq!((fault.line, &*fault.key), (Some(4), "bgp.router_id"));
    cluster.base = "[node\n".to_owned();
    assert_eq!(cluster.wanted().faults[0].line, Some(1));
    cluster.base = "bgp = { asn = 1 }\n".to_owned();
    assert!(!cluster.wanted().faults.is_empty());
}

#[test]
fn a_field_of_the_configuration_that_is_wrong_leaves_the_others_in_force() {
    let mut cluster = Cluster::new();
    let spec = json!({"asNumber": 23456, "holdTimeSeconds": 2, "connectRetrySeconds": 7});
    cluster.add("BGPConfiguration", "default", &spec);
    let config = cluster.config();
    assert_eq!(config.speaker.asn, Asn(64512));
    assert_eq!(config.peers[0].session.connect_retry.as_secs(), 7);
    let problems = cluster.problems("BGPConfiguration", "default");
    let has = |word: &str| problems.iter().any(|problem| problem.message.starts_with(word));
    assert!(has("spec.asNumber: ") && has("spec.holdTimeSeconds: "), "{problems:#?}");
}
