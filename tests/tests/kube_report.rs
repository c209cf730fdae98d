//! What a node tells its cluster, by a real API server and its kubectl: a ToR goes and comes, objects are
//! wrong, the API server is away, the Node is deleted and comes back, the daemon is stopped for good.
//!
//! Needs the binaries of the workspace, BIRD 2, iproute2 and the programs of the API server; root.

use std::{fs, process::Command, thread, time::Duration};

use serde_json::{Value, json};
use tests::{
    cluster::{Cluster, Said},
    fabric::eventually,
    node::program,
    rack::{Rack, give_address},
};

const POOLS: &str = "apiVersion: slash32.dev/v1alpha1\nkind: IPPool\nmetadata: {name: pods}\n\
                     spec: {cidr: 10.244.0.0/16}\n";

/// What kubectl prints for an object.
fn object(rack: &Rack, kind: &str, name: &str) -> Value {
    let said = rack.cluster.kubectl(&["get", kind, name, "-o", "json"]);
    serde_json::from_str(&said.out).unwrap_or_else(|_| json!(said.err))
}

/// What the plugin prints, as kubectl runs it.
fn slash32(rack: &Rack, arguments: &[&str]) -> Said {
    rack.cluster.kubectl(&[&["slash32"], arguments].concat())
}

/// Rows of a table that begin with these words.
fn has_row(table: &str, words: &[&str]) -> bool {
    table.lines().any(|line| line.split_whitespace().take(words.len()).eq(words.iter().copied()))
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
    assert!(rack.installed("node1", "net.d").join("10-slash32.conflist").is_file());
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
    let _ = wait_for(&rack, "the other session", "bgpns", "node2", is_up);
    let said = slash32(&rack, &["peers", "--check"]);
    assert!(said.good, "{said:?}");
    for (node, peer, address) in
        [("node1", "tor-left", "10.9.0.0"), ("node2", "tor-right", "10.9.1.0")]
    {
        let row = [node, peer, address, "4200000001", "Established"];
        assert!(has_row(&said.out, &row), "{}", said.out);
    }
    let one = slash32(&rack, &["peers", "--node", "node2", "-o", "json"]);
    let rows: Value = serde_json::from_str(&one.out).expect("JSON");
    assert_eq!((&rows[0]["peer"], &rows[1]), (&json!("tor-right"), &Value::Null));
    let nodes = slash32(&rack, &["nodes"]).out;
    assert!(
        has_row(&nodes, &["node1", "4200000011", "10.9.0.1", "1", "1", "1", "0", "True"]),
        "{nodes}"
    );
    let pools = slash32(&rack, &["blocks"]).out;
    assert!(
        has_row(&pools, &["pods", "10.244.0.0/16", "/26", "1024", "2", "1022", "2"]),
        "{pools}"
    );
    let blocks = slash32(&rack, &["blocks", "--list", "--node", "node1"]).out;
    assert_eq!(blocks.lines().count(), 2, "{blocks}");
    let problems = slash32(&rack, &["problems"]).out;
    assert_eq!(problems, "no node reports a problem, and every object is accepted\n");

    // The ToR's operator stops the session.
    let _ = rack.fabric.ask("tor1", &["birdc", "disable", "node1"]);
    let down = wait_for(&rack, "the end of the session", "bgpns", "node1", |status| !is_up(status));
    assert_eq!(down["status"]["establishedCount"], 0);
    let error = session(&down)["lastError"].as_str().unwrap_or_default();
    assert!(error.contains("Administrative Shutdown"), "{error}");
    let said = slash32(&rack, &["peers", "--check"]);
    assert!(!said.good && said.out.contains("Administrative Shutdown"), "{said:?}");
    let first = said.out.lines().nth(1).unwrap_or_default();
    assert!(first.starts_with("node1  tor-left"), "what is down comes first: {}", said.out);
    assert!(slash32(&rack, &["peers"]).good);
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
    let problems = slash32(&rack, &["problems"]).out;
    assert!(has_row(&problems, &["BGPPeer/other", "SecretMissing", "node1"]), "{problems}");
    let _ = wait_for_event(&rack, "node1", &["ObjectNotHeeded", "BGPPeer/other", "nobody"]);

    // One of the nodes leads, and puts together what all of them report.
    let _ = wait_for(&rack, "what becomes of the peer", "bgppeer", "other", |peer| {
        let accepted = condition(peer, "Accepted");
        accepted["status"] == "False" && accepted["reason"] == "SecretMissing"
    });
    let _ = wait_for(&rack, "the count of its sessions", "bgppeer", "tor-left", |peer| {
        (&peer["status"]["sessions"], &peer["status"]["established"]) == (&json!(1), &json!(1))
    });

    // While the API server is away things change.
    rack.cluster.stop_api_server();
    let _ = rack.fabric.ask("tor1", &["birdc", "disable", "node1"]);
    eventually(
        "that it is missed",
        || rack.show("node1"),
        |shown| shown["unreported"].as_array().is_some_and(|list| !list.is_empty()),
    );
    let said = slash32(&rack, &["peers"]);
    assert!(!said.good && said.err.contains("does not answer: "), "{said:?}");
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
    // Nothing can be put where the plugin was.
    let bin = rack.installed("node2", "bin");
    fs::remove_dir_all(&bin).expect("it is there");
    fs::write(&bin, "").expect("a file");
    let _ = wait_for(&rack, "that the plugin is missed", "bgpns", "node2", |status| {
        condition(status, "Ready")["message"].to_string().contains("not in their places")
    });
    rack.cluster.must(&["delete", "node", "node2"]);
    // Nobody here deletes what a Node owns; the daemon knows whose it was.
    let said = rack.cluster.create(
        "apiVersion: v1\nkind: Node\nmetadata: {name: node2, labels: {example.com/as: \"4200000012\", \
         side: right}}\nspec: {taints: [{key: slash32.dev/agent-not-ready, effect: NoSchedule}]}\n",
    );
    assert!(said.good, "{}", said.err);
    give_address(&rack.cluster, "node2");
    let second = wait_for(&rack, "the network again", "node", "node2", |node| {
        network(node) == ("False", "RoutedIsUp")
    });
    thread::sleep(Duration::from_secs(3));
    let waits = object(&rack, "node", "node2");
    assert!(taints(&waits).contains(&"slash32.dev/agent-not-ready"), "{waits:#}");
    fs::remove_file(&bin).expect("it is there");
    let _ = wait_for(&rack, "that pods may come", "node", "node2", is_served);
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

#[test]
fn plugin_says_what_keeps_it_from_an_answer() {
    let cluster = Cluster::start();
    let config = cluster.kubeconfig().display().to_string();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(program("kubectl-slash32"));
        let output =
            command.env_remove("KUBECONFIG").args(arguments).output().expect("it is built");
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        assert_eq!(text(&output.stdout), "");
        (output.status.code(), text(&output.stderr))
    };
    let expect = |arguments: &[&str], words: &str| {
        let (code, text) = run(arguments);
        assert!(code == Some(3) && text.contains(words), "{arguments:?}: {code:?} {text}");
    };
    expect(&["peers", "--kubeconfig", "/nonexistent"], "name another by --kubeconfig");
    expect(&["peers", "--kubeconfig", &config, "--context", "no"], "another context by --context");
    // Another cluster, or one without Slash32.
    for command in ["peers", "nodes", "blocks", "problems"] {
        expect(&[command, "--kubeconfig", &config], "Slash32 is not installed there");
    }
    expect(&["peers", "--node", "n1", "--kubeconfig", &config], "Slash32 is not installed there");
    let crds = cluster.path("crds.yaml");
    fs::write(&crds, routed_api::manifest()).expect("write the definitions");
    cluster.must(&["apply", "--server-side", "-f", &crds.display().to_string()]);
    cluster.must(&["wait", "--for=condition=Established", "--timeout=60s", "crd", "--all"]);
    expect(&["peers", "--node", "n1", "--kubeconfig", &config], "no BGPNodeStatus of the node n1");
    // Nobody is here who would say otherwise.
    assert!(cluster.create(POOLS).good);
    let condition = r#"{"status":{"conditions":[{"type":"Accepted","status":"False","reason":"Overlap",
        "message":"no","lastTransitionTime":"2026-01-01T00:00:00Z"}]}}"#;
    let patch =
        ["patch", "ippool", "pods", "--subresource=status", "--type=merge", "-p", condition];
    cluster.must(&patch);
    let problems = cluster.get(&["slash32", "problems"]);
    assert!(has_row(&problems, &["IPPool/pods", "Overlap", "no"]), "{problems}");
    // Somebody who may nothing, and somebody whom nobody knows.
    let text = fs::read_to_string(cluster.kubeconfig()).expect("a kubeconfig");
    let other = cluster.path("other");
    let write = |text: String| fs::write(&other, text).expect("write a kubeconfig");
    let name = other.display().to_string();
    write(text.replace("    token: test", "    token: nobody"));
    expect(&["peers", "--kubeconfig", &name], "renew the credentials");
    write(text.replace("    token: test", "    token: test\n    as: somebody"));
    expect(&["peers", "--kubeconfig", &name], "ask for the ClusterRole slash32-view");
    let role = "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\n\
                metadata: {name: ours}\nrules:\n- {apiGroups: [slash32.dev], resources: [\"*\"], \
                verbs: [get, list]}\n";
    assert!(cluster.create(role).good);
    cluster.must(&[
        "create",
        "clusterrolebinding",
        "ours",
        "--clusterrole=ours",
        "--user=somebody",
    ]);
    let plugin =
        || Command::new(program("kubectl-slash32")).args(["nodes", "--kubeconfig", &name]).output();
    let seen = eventually("it is allowed", plugin, |output| {
        output.as_ref().is_ok_and(|output| output.status.success())
    });
    let note = String::from_utf8_lossy(&seen.expect("it runs").stderr).into_owned();
    assert!(note.contains("forbids to list nodes"), "{note}");
}
