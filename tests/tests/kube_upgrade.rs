//! A cluster whose definitions are an older release's, or a newer one's, than the daemons: they go on
//! working and say what they miss; then the current definitions are applied, and no session ends.
//!
//! Needs the binaries of the workspace, BIRD 2, iproute2 and the programs of the API server; root.

use std::{thread, time::Duration};

use serde_json::{Value, json};
use tests::{
    cluster::Cluster,
    fabric::eventually,
    rack::{NODES, Rack},
};

/// Optional fields that a release may not have had yet: kind, and where they are in its schema.
const NEWER: [(&str, &[&str]); 8] = [
    ("BGPNodeStatus", &["status", "problems"]),
    ("BGPNodeStatus", &["status", "routerID"]),
    ("BGPNodeStatus", &["status", "sessions", "lastError"]),
    ("BGPPeer", &["status", "sessions"]),
    ("BGPPeer", &["status", "established"]),
    ("BGPPeer", &["spec", "extendedNextHop"]),
    ("IPPool", &["spec", "disableBGPExport"]),
    ("BGPConfiguration", &["spec", "multipath"]),
];
/// Kinds that a release to come has another field of.
const TO_COME: [&str; 3] = ["IPPool", "BGPPeer", "BGPConfiguration"];

const OBJECTS: &str = r#"
apiVersion: slash32.dev/v1alpha1
kind: IPPool
metadata: {name: pods}
spec: {cidr: 10.244.0.0/16, toCome: {some: thing}}
"#;

fn definitions(change: impl Fn(&str, &mut Value)) -> String {
    let definition = |definition| {
        let mut value = serde_json::to_value(definition).expect("plain data");
        let kind = value["spec"]["names"]["kind"].as_str().unwrap_or_default().to_owned();
        change(&kind, &mut value["spec"]["versions"][0]["schema"]["openAPIV3Schema"]);
        format!("---\n{value}\n")
    };
    routed_api::definitions().into_iter().map(definition).collect()
}

/// As an older release has them.
fn older() -> String {
    definitions(|of, schema| {
        for (_, path) in NEWER.iter().filter(|(kind, _)| *kind == of) {
            let (field, path) = path.split_last().expect("a field");
            let mut at = &mut *schema;
            for part in path {
                at = &mut at["properties"][part];
                if at["type"] == "array" {
                    at = &mut at["items"];
                }
            }
            let fields = at["properties"].as_object_mut().expect("it has fields");
            assert!(fields.remove(*field).is_some(), "{of} has no {path:?} {field} any more");
        }
    })
}

/// As a release to come may have them.
fn newer() -> String {
    definitions(|of, schema| {
        if TO_COME.contains(&of) {
            let field = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
            schema["properties"]["spec"]["properties"]["toCome"] = field;
        }
    })
}

fn object(rack: &Rack, kind: &str, name: &str) -> Value {
    let said = rack.cluster.kubectl(&["get", kind, name, "-o", "json"]);
    serde_json::from_str(&said.out).unwrap_or_else(|_| json!(said.err))
}

/// A peer whose Secret nobody has made, which the first node reports.
fn peer_without_secret(rack: &Rack, number: u8) {
    let said = rack.cluster.create(&format!(
        "apiVersion: slash32.dev/v1alpha1\nkind: BGPPeer\nmetadata: {{name: other{number}}}\nspec:\n  \
         nodeSelector: {{matchLabels: {{side: left}}}}\n  peerIP: 10.9.0.{number}\n  \
         asNumber: 65001\n  password: {{secretKeyRef: {{name: nobody, key: password}}}}\n"
    ));
    assert!(said.good, "{}", said.err);
}

/// What a node's status says is wrong with an object.
fn reason<'a>(status: &'a Value, of: &str) -> &'a Value {
    let problems = status["status"]["problems"].as_array();
    let mut problems = problems.into_iter().flatten();
    problems.find(|problem| problem["object"] == of).map_or(&Value::Null, |it| &it["reason"])
}

fn wait_for(rack: &Rack, what: &str, kind: &str, name: &str, wanted: impl Fn(&Value) -> bool) {
    let look = || {
        thread::sleep(Duration::from_millis(500));
        object(rack, kind, name)
    };
    let _ = eventually(what, look, wanted);
}

/// How often each node's session with its ToR was established.
fn established(rack: &Rack) -> [Value; 2] {
    NODES.map(|node| {
        let peers = rack.fabric.ask_json(node, &["routed", "show", "peers", "-o", "json"]);
        let peers = peers.as_array().into_iter().flatten();
        let mut tor = peers.filter(|peer| peer["asn"] == 4_200_000_001_u32);
        tor.next().map(|peer| json!([peer["state"], peer["established_count"]])).unwrap_or_default()
    })
}

fn all_watch(rack: &Rack) {
    for node in NODES {
        eventually("it watches", || rack.show(node), |shown| shown["watched_seconds"].is_u64());
    }
}

/// What a node cannot report.
fn unreported(rack: &Rack) -> String {
    rack.show("node1")["unreported"].to_string()
}

/// Writes of statuses that the API server has seen.
fn writes(rack: &Rack) -> u64 {
    let metrics = rack.cluster.get(&["get", "--raw", "/metrics"]);
    let is_ours = |line: &&str| {
        line.starts_with("apiserver_request_total{")
            && line.contains("group=\"slash32.dev\"")
            && line.contains("subresource=\"status\"")
            && line.contains("verb=\"PATCH\"")
    };
    let count = |line: &str| line.rsplit(' ').next()?.parse::<u64>().ok();
    metrics.lines().filter(is_ours).filter_map(count).sum()
}

#[test]
fn daemons_go_on_while_definitions_become_older_and_newer_than_they_are() {
    let cluster = Cluster::start();
    cluster.define(&newer());
    let rack = Rack::in_cluster(cluster, OBJECTS);
    let has_block = |seen: &[Vec<String>; 2]| seen.iter().all(|of| !of.is_empty());
    let blocks = rack.tor_has("a block from each", has_block);
    let up = json!(["Established", 1]);
    let stand = |rack: &Rack| assert_eq!(established(rack), [up.clone(), up.clone()]);
    stand(&rack);
    // What nobody here knows is served, and does not matter.
    assert_eq!(object(&rack, "ippool", "pods")["spec"]["toCome"]["some"], "thing");
    assert_eq!(rack.pod("node1", "first").len(), 1);
    peer_without_secret(&rack, 71);
    wait_for(&rack, "the problem", "bgpns", "node1", |status| {
        reason(status, "BGPPeer/other71") == "SecretMissing"
    });
    assert_eq!(unreported(&rack), "[]");

    // Somebody applies those of an older release.
    rack.cluster.define(&older());
    rack.cluster.must(&["label", "ippool", "pods", "touched=older"]);
    wait_for(&rack, "that it is pruned", "ippool", "pods", |pool| {
        pool["spec"]["toCome"].is_null() && pool["spec"]["disableBGPExport"].is_null()
    });
    all_watch(&rack);
    assert_eq!(rack.pod("node1", "second").len(), 1);
    // Something that a daemon reports, and the definition drops.
    peer_without_secret(&rack, 72);
    eventually(
        "it says what is dropped",
        || unreported(&rack),
        |text| text.contains("status.problems") && text.contains("kubectl apply"),
    );
    let status = object(&rack, "bgpns", "node1");
    assert!(status["status"]["problems"].is_null(), "{status:#}");
    assert_eq!(status["status"]["establishedCount"], 1, "{status:#}");
    let problems = rack.show("node1")["problems"].to_string();
    assert!(problems.contains("BGPPeer/other72"), "{problems}");
    // What is dropped is not written over and over.
    let before = writes(&rack);
    assert!(before > 0, "they are counted");
    thread::sleep(Duration::from_secs(10));
    let written = writes(&rack) - before;
    assert!(written <= 12, "{written} writes of statuses in 10 s");
    stand(&rack);

    // The release of the daemons is applied.
    rack.cluster.define(&routed_api::manifest());
    peer_without_secret(&rack, 73);
    wait_for(&rack, "all fields", "bgpns", "node1", |status| {
        [71, 72, 73]
            .iter()
            .all(|number| reason(status, &format!("BGPPeer/other{number}")) == "SecretMissing")
            && status["status"]["routerID"].is_string()
    });
    eventually("nothing is dropped", || unreported(&rack), |text| text == "[]");
    all_watch(&rack);
    for kind in ["ippool", "bgppeer", "bgpconfiguration", "ipblock", "bgpnodestatus"] {
        let name = "-o=jsonpath={range .items[*]}{.metadata.name}{\"\\n\"}{end}";
        for name in rack.cluster.get(&["get", kind, name]).lines() {
            // Valid as they are: a write without a change goes through every rule.
            rack.cluster.must(&["label", "--overwrite", kind, name, "touched=current"]);
        }
    }
    let _ = rack.tor_has("what was announced still is", |seen| {
        seen.iter().zip(&blocks).all(|(seen, before)| before.iter().all(|it| seen.contains(it)))
    });
    assert_eq!(rack.pod("node2", "third").len(), 1);
    wait_for(&rack, "the count of sessions", "bgppeer", "tor-left", |peer| {
        peer["status"]["established"] == 1
    });
    stand(&rack);

    // A field that is new to this cluster is heeded.
    let patch = r#"{"spec":{"disableBGPExport":true}}"#;
    rack.cluster.must(&["patch", "ippool", "pods", "--type=merge", "-p", patch]);
    let _ = rack.tor_has("the blocks are not announced", |seen| {
        seen.iter().all(|of| of.iter().all(|prefix| !prefix.starts_with("10.244.")))
    });
    stand(&rack);
}
