//! Two nodes that run from a real API server below a BIRD ToR: what the objects say is what they do;
//! pods that are objects reach each other; and with the API server down all of that goes on.
//!
//! Needs the binaries of the workspace, BIRD 2, iproute2 and the programs of the API server; root.

use std::net::IpAddr;

use serde_json::{Value, json};
use tests::{
    fabric::eventually,
    rack::{Rack, addresses},
};

const POOLS: &str = r#"
apiVersion: slash32.dev/v1alpha1
kind: IPPool
metadata: {name: four}
spec: {cidr: 10.244.0.0/16}
---
apiVersion: slash32.dev/v1alpha1
kind: IPPool
metadata: {name: six}
spec: {cidr: "fd00:10:244::/112"}
"#;

#[test]
fn pods_of_two_nodes_reach_each_other_also_while_the_api_server_is_down() {
    let mut rack = Rack::up(POOLS);
    let both = |seen: &[Vec<String>; 2]| {
        seen.iter().all(|of_node| {
            let has = |length| of_node.iter().any(|prefix: &String| prefix.ends_with(length));
            has("/26") && has("/122")
        })
    };
    let _ = rack.tor_has("a block of each family from each node", both);
    let first = rack.pod("node1", "first");
    let second = rack.pod("node2", "second");
    assert_eq!((first.len(), second.len()), (2, 2), "{first:?} {second:?}");
    let reach = |rack: &Rack, pod: &str, to: &[IpAddr]| {
        for address in to {
            let address = address.to_string();
            eventually(
                &format!("{pod} reaches {address}"),
                || {
                    rack.fabric
                        .exec(pod, &["ping", "-c", "1", "-W", "1", &address])
                        .expect("testbed starts")
                },
                |output| output.status.success(),
            );
        }
    };
    reach(&rack, "node1/first", &second);
    let shown = rack.show("node1");
    assert_eq!((&shown["from_disk"], &shown["problems"]), (&json!(false), &json!([])), "{shown:#}");
    assert!(shown["watched_seconds"].is_u64(), "{shown:#}");

    // An object that is known when the API server ends.
    let uid = rack.create_pod("node1", "third", &json!({}));
    eventually("it is known", || rack.show("node1"), |shown| shown["pods"] == 2);
    // What is known goes to the disk in time.
    let kept = || rack.fabric.ask("node1", &["cat", "/var/lib/slash32/cluster/objects.json"]);
    eventually("it is kept", kept, |text| text.contains(&uid));
    rack.cluster.stop_api_server();
    eventually("it is missed", || rack.show("node1"), |shown| shown["watched_seconds"].is_null());
    rack.restart("node1");
    let shown = rack.show("node1");
    assert_eq!(shown["from_disk"], json!(true), "{shown:#}");
    let _ = rack.tor_has("the same from each node", both);
    assert_eq!(addresses(&rack.add_again("node1", "first", "").result()), first, "it keeps them");
    let third = addresses(&rack.add("node1", "third", &uid).result());
    assert_eq!(third.len(), 2);
    // One of which nothing is known.
    let fourth = addresses(&rack.add("node1", "fourth", "0a1b").result());
    assert_eq!(fourth.len(), 2);
    reach(&rack, "node2/second", &[first, third, fourth].concat());
    reach(&rack, "node1/fourth", &second);

    rack.cluster.start_api_server();
    eventually(
        "it is watched again",
        || rack.show("node1"),
        |shown| shown["watched_seconds"].is_u64(),
    );
    let fifth = rack.pod("node1", "fifth");
    reach(&rack, "node2/second", &fifth);
}

#[test]
fn a_pool_that_is_exhausted_is_named_and_a_further_one_helps() {
    // Two blocks of two addresses for pods each; a node wants an empty one besides.
    let rack = Rack::up(
        "apiVersion: slash32.dev/v1alpha1\nkind: IPPool\nmetadata: {name: tiny}\n\
         spec: {cidr: 10.250.0.0/29, blockSize: 30, nodeSelector: {matchLabels: {side: left}}}\n",
    );
    let _ = rack.tor_has("a block", |seen| !seen[0].is_empty());
    let mut given: Vec<_> = (1..=4).map(|n| rack.pod("node1", &format!("pod{n}"))).collect();
    let uid = rack.create_pod("node1", "last", &json!({}));
    let refused = rack.add("node1", "last", &uid).refusal(plugin::cni::code::POOL_EXHAUSTED);
    assert!(refused.contains("pool tiny"), "{refused}");
    let exhausted = |shown: &Value| shown["exhausted_pools"] == json!(["tiny"]);
    eventually("the pool is named", || rack.show("node1"), exhausted);

    let said = rack.cluster.create(
        "apiVersion: slash32.dev/v1alpha1\nkind: IPPool\nmetadata: {name: more}\n\
         spec: {cidr: 10.251.0.0/24, blockSize: 28}\n",
    );
    assert!(said.good, "{}", said.err);
    let _ = rack.tor_has("a block of it", |seen| {
        seen[0].iter().any(|prefix| prefix.starts_with("10.251."))
    });
    given.push(addresses(&rack.add_again("node1", "last", &uid).result()));
    given.sort();
    given.dedup();
    assert_eq!(given.len(), 5, "{given:?}");
}
