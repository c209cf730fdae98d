//! What a node tells its cluster, by a real API server and its kubectl: a ToR goes and comes, objects are
//! wrong, the API server is away, the Node is deleted and comes back, the daemon is stopped for good.
//!
//! Needs the binaries of the workspace, BIRD 2, iproute2 and the programs of the API server; root.

use std::{thread, time::Duration};

use serde_json::{Value, json};
use tests::{
    fabric::eventually,
    rack::{Rack, give_address},
};

const POOLS: &str = "apiVersion: slash32.dev/v1alpha1\nkind: IPPool\nmetadata: {name: pods}\n\
                     spec: {cidr: 10.244.0.0/16}\n";

/// What kubectl prints for an object.
fn object(rack: &Rack, kind: &str, name: &str) -> Value {
    let said = rack.cluster.kubectl(&["get", kind, name, "-o", "json"]);
    serde_json::from_str(&said.out).unwrap_or_else(|_| json!(said.err))
}

/// Waits for something of an object, which is asked for twice in a second.
fn wait_for(
    rack: &Rack,
    what: &str,
    kind: &str,
    name: &str,
    wanted: impl Fn(&Value) -> bool,
) -> Value {
    let look = || {
        thread::sleep(Duration::from_millis(500));
        object(rack, kind, name)
    };
    eventually(what, look, wanted)
}

fn condition<'a>(object: &'a Value, kind: &str) -> &'a Value {
    let conditions = object["status"]["conditions"].as_array();
    let mut conditions = conditions.into_iter().flatten();
    conditions.find(|condition| condition["type"] == kind).unwrap_or(&Value::Null)
}

/// Status and reason of the condition that the scheduler heeds.
fn network(node: &Value) -> (&str, &str) {
    let condition = condition(node, "NetworkUnavailable");
    let text = |key: &str| condition[key].as_str().unwrap_or_default();
    (text("status"), text("reason"))
}

fn taints(node: &Value) -> Vec<&str> {
    let taints = node["spec"]["taints"].as_array();
    taints.into_iter().flatten().filter_map(|taint| taint["key"].as_str()).collect()
}

/// The only session of a node with a BGPPeer.
fn session(status: &Value) -> &Value {
    &status["status"]["sessions"][0]
}

fn is_up(status: &Value) -> bool {
    session(status)["state"] == "Established"
}

/// What `kubectl describe` has to say at the end.
fn events(rack: &Rack, node: &str) -> String {
    let text = rack.cluster.get(&["describe", "node", node]);
    text.split_once("Events:").map(|(_, events)| events.to_owned()).unwrap_or_default()
}

fn wait_for_event(rack: &Rack, node: &str, words: &[&str]) -> String {
    let look = || {
        thread::sleep(Duration::from_millis(500));
        events(rack, node)
    };
    let has_all = |line: &str| words.iter().all(|word| line.contains(word));
    eventually("an event", look, |text| text.lines().any(has_all))
}

#[test]
fn a_cluster_hears_of_a_tor_that_goes_and_comes_and_of_wrong_objects() {
    let mut rack = Rack::up(POOLS);
    let status = wait_for(&rack, "its session", "bgpns", "node1", is_up);
    let node = wait_for(&rack, "the network", "node", "node1", |node| {
        network(node) == ("False", "RoutedIsUp")
            && !taints(node).contains(&"slash32.dev/agent-not-ready")
    });
    assert!(taints(&node).contains(&"example.com/other"), "{node:#}");
    assert_eq!(status["metadata"]["ownerReferences"][0]["uid"], node["metadata"]["uid"]);
    assert_eq!(session(&status)["peer"], "tor-left");
    assert_eq!(session(&status)["asNumber"], 4_200_000_001_u32);
    assert_eq!(status["status"]["asNumber"], 4_200_000_011_u32);
    assert_eq!(status["status"]["routerID"], "10.9.0.1");
    let status = wait_for(&rack, "readiness", "bgpns", "node1", |status| {
        condition(status, "Ready")["status"] == "True"
    });
    assert_eq!(status["status"]["establishedCount"], 1);
    let table = rack.cluster.get(&["get", "bgpns", "node1"]);
    let line = table.lines().nth(1).unwrap_or_default();
    let columns: Vec<_> = line.split_whitespace().take(6).collect();
    assert_eq!(columns, ["node1", "4200000011", "10.9.0.1", "1", "1", "True"], "{table}");

    // The ToR's operator stops the session.
    let _ = rack.fabric.ask("tor1", &["birdc", "disable", "node1"]);
    let down = wait_for(&rack, "the end of the session", "bgpns", "node1", |status| !is_up(status));
    assert_eq!(down["status"]["establishedCount"], 0);
    let error = session(&down)["lastError"].as_str().unwrap_or_default();
    assert!(error.contains("Administrative Shutdown"), "{error}");
    let event = ["Warning", "BGPSessionDown", "tor-left (10.9.0.0)"];
    let text = wait_for_event(&rack, "node1", &event);
    assert!(!text.contains("Up"), "{text}");
    let node = wait_for(&rack, "no network", "node", "node1", |node| network(node).0 == "True");
    assert_eq!(network(&node).1, "RoutedIsNotReady");
    let message = condition(&node, "NetworkUnavailable")["message"].to_string();
    assert!(message.contains("tor-left"), "{message}");
    assert!(!taints(&node).contains(&"slash32.dev/agent-not-ready"), "it is never put on");
    let _ = rack.fabric.ask("tor1", &["birdc", "enable", "node1"]);
    let _ = wait_for(&rack, "the session again", "bgpns", "node1", is_up);
    let _ =
        wait_for(&rack, "the network again", "node", "node1", |node| network(node).0 == "False");
    let _ = wait_for_event(&rack, "node1", &["Normal", "BGPSessionUp", "established again"]);
    let listed = rack.cluster.get(&["get", "events", "--field-selector", "reason=BGPSessionDown"]);
    assert!(listed.contains("node/node1") && listed.contains("tor-left"), "{listed}");

    // A peer whose Secret nobody has made.
    let said = rack.cluster.create(
        "apiVersion: slash32.dev/v1alpha1\nkind: BGPPeer\nmetadata: {name: other}\nspec:\n  \
         nodeSelector: {matchLabels: {side: left}}\n  peerIP: 10.9.0.77\n  asNumber: 65001\n  \
         password: {secretKeyRef: {name: nobody, key: password}}\n",
    );
    assert!(said.good, "{}", said.err);
    let wrong = wait_for(&rack, "the problem", "bgpns", "node1", |status| {
        status["status"]["problems"][0]["object"] == "BGPPeer/other"
    });
    assert_eq!(wrong["status"]["problems"][0]["reason"], "SecretMissing", "{wrong:#}");
    let _ = wait_for_event(&rack, "node1", &["ObjectNotHeeded", "BGPPeer/other", "nobody"]);

    // While the API server is away things change.
    rack.cluster.stop_api_server();
    let _ = rack.fabric.ask("tor1", &["birdc", "disable", "node1"]);
    eventually(
        "that it is missed",
        || rack.show("node1"),
        |shown| shown["unreported"].as_array().is_some_and(|list| !list.is_empty()),
    );
    rack.cluster.start_api_server();
    let _ = wait_for(&rack, "what has changed", "bgpns", "node1", |status| !is_up(status));
    let _ = rack.fabric.ask("tor1", &["birdc", "enable", "node1"]);
    let _ = wait_for(&rack, "the session at last", "bgpns", "node1", is_up);
    eventually(
        "that nothing is missed",
        || rack.show("node1"),
        |shown| shown["unreported"] == json!([]) && shown["reported_seconds"].is_u64(),
    );
}

#[test]
fn a_node_that_is_made_anew_is_told_anew_and_one_that_is_stopped_says_so() {
    let mut rack = Rack::up(POOLS);
    let is_served = |node: &Value| {
        network(node) == ("False", "RoutedIsUp")
            && !taints(node).contains(&"slash32.dev/agent-not-ready")
    };
    let first = wait_for(&rack, "the network", "node", "node2", is_served);
    let _ = wait_for(&rack, "its session", "bgpns", "node2", is_up);
    rack.cluster.must(&["delete", "node", "node2"]);
    // Nobody here deletes what a Node owns; the daemon knows whose it was.
    let said = rack.cluster.create(
        "apiVersion: v1\nkind: Node\nmetadata: {name: node2, labels: {example.com/as: \"4200000012\", \
         side: right}}\nspec: {taints: [{key: slash32.dev/agent-not-ready, effect: NoSchedule}]}\n",
    );
    assert!(said.good, "{}", said.err);
    give_address(&rack.cluster, "node2");
    let second = wait_for(&rack, "the network again", "node", "node2", is_served);
    let uid = &second["metadata"]["uid"];
    assert_ne!(*uid, first["metadata"]["uid"]);
    let owner = |status: &Value| status["metadata"]["ownerReferences"][0]["uid"].clone();
    let is_new = |status: &Value| owner(status) == *uid && is_up(status);
    let _ = wait_for(&rack, "an object of the new Node", "bgpns", "node2", is_new);

    let _ = rack.fabric.ask("node2", &["routed", "stop", "--withdraw"]);
    rack.ended("node2");
    let node = object(&rack, "node", "node2");
    assert_eq!(network(&node), ("True", "RoutedIsDown"), "{node:#}");
    rack.start("node2");
    let _ = wait_for(&rack, "the network at last", "node", "node2", is_served);
}
