//! The password of a session is that of a Secret, also when the Secret changes. Two nodes that run from a real
//! API server.
//!
//! Needs the binaries of the workspace, BIRD 2, iproute2 and the programs of the API server; root.

use serde_json::{Value, json};
use tests::{
    fabric::eventually,
    rack::{NODES, Rack},
};

/// Both nodes have the session, over the ToR.
const BETWEEN: &str = r#"
apiVersion: slash32.dev/v1alpha1
kind: BGPPeer
metadata: {name: between}
spec:
  nodeSelector: {matchLabels: {side: left}}
  peerSelector: {matchLabels: {side: right}}
  ebgpMultihop: 255
  password: {secretKeyRef: {name: between, key: password}}
---
apiVersion: slash32.dev/v1alpha1
kind: IPPool
metadata: {name: four}
spec: {cidr: 10.244.0.0/16}
"#;

fn secret(rack: &Rack, password: &str) {
    let secret = json!({"apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": "between", "namespace": "kube-system"},
        "stringData": {"password": password}});
    let said = rack.cluster.kubectl_with(&["apply", "-f", "-"], &secret.to_string());
    assert!(said.good, "{}", said.err);
}

/// State, and how often it was established, on each node.
fn sessions(rack: &Rack) -> Vec<(String, u64)> {
    let of_node = |node: &str| {
        let peers = rack.fabric.ask_json(node, &["routed", "show", "peers", "-o", "json"]);
        let peers = peers.as_array().into_iter().flatten();
        let mut between = peers
            .filter(|peer| peer["name"].as_str().is_some_and(|name| name.starts_with("between")));
        let state = |peer: &Value| {
            let state = peer["state"].as_str().unwrap_or_default().to_owned();
            (state, peer["established_count"].as_u64().unwrap_or_default())
        };
        between.next().map(state).unwrap_or_default()
    };
    NODES.iter().map(|node| of_node(node)).collect()
}

#[test]
fn a_secret_that_changes_is_the_password_of_a_new_session() {
    let rack = Rack::up(BETWEEN);
    // The ToR does not announce its links.
    for (node, other, tor) in [("node1", 1, "10.9.0.0"), ("node2", 0, "10.9.1.0")] {
        let link = format!("10.9.{other}.0/31");
        let _ = rack.fabric.ask(node, &["ip", "route", "add", &link, "via", tor]);
    }
    // Until there is a password there is no session, and the object says why.
    let problems = |rack: &Rack| rack.show("node1")["problems"].to_string();
    eventually("it is missed", || problems(&rack), |text| text.contains("SecretMissing"));
    assert_eq!(sessions(&rack), vec![(String::new(), 0); 2]);
    secret(&rack, "first");
    let up = |times: u64| {
        move |seen: &Vec<(String, u64)>| {
            seen.iter().all(|(state, count)| state == "Established" && *count == times)
        }
    };
    eventually("both have it", || sessions(&rack), up(1));
    assert_eq!(problems(&rack), "[]");

    secret(&rack, "second");
    eventually("both have it with the other password", || sessions(&rack), up(2));
    for node in NODES {
        let folder = "/var/lib/slash32/cluster/secrets";
        let kept = rack.fabric.ask(node, &["sh", "-c", &format!("cat {folder}/*")]);
        assert_eq!(kept.trim(), "second", "{node}");
        let modes = rack.fabric.ask(node, &["sh", "-c", &format!("stat -c %a {folder}/*")]);
        assert_eq!(modes.trim(), "600", "{node}");
    }
}
