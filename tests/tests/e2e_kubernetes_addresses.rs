//! Addresses that are special: of a block that another node took, of an owner who moves, of blocks of one
//! address. Two nodes that run from a real API server below a BIRD ToR.
//!
//! Needs the binaries of the workspace, BIRD 2, iproute2 and the programs of the API server; root.

use std::net::IpAddr;

use serde_json::{Value, json};
use tests::{
    fabric::{
        eventually,
        runtime::{Call, make_netns},
    },
    rack::{Rack, addresses},
};

fn create(rack: &Rack, object: &Value) {
    let said = rack.cluster.create(&object.to_string());
    assert!(said.good, "{}", said.err);
}

fn reaches(rack: &Rack, pod: &str, address: IpAddr) {
    let ping = ["ping", "-c", "1", "-W", "1", &address.to_string()];
    eventually(
        &format!("{pod} reaches {address}"),
        || rack.fabric.exec(pod, &ping).expect("testbed starts"),
        |output| output.status.success(),
    );
}

fn host(address: IpAddr) -> String {
    format!("{address}/32")
}

#[test]
fn pods_of_a_block_that_another_node_took_stay_reachable() {
    let mut rack = Rack::up(
        "apiVersion: slash32.dev/v1alpha1\nkind: IPPool\nmetadata: {name: four}\n\
         spec: {cidr: 10.244.0.0/16}\n",
    );
    let _ = rack.tor_has("a block from each", |seen| seen.iter().all(|of| !of.is_empty()));
    let first = rack.pod("node1", "first")[0];
    let second = rack.pod("node2", "second")[0];
    let claims = rack.show("node1")["claims"].clone();
    let holds = |claim: &&Value| {
        let block: bgp::prefix::Prefix =
            claim["block"].as_str().and_then(|text| text.parse().ok()).expect("a prefix");
        block.contains(first)
    };
    let claim = claims.as_array().into_iter().flatten().find(holds).expect("the pod's block");
    let block = claim["block"].as_str().expect("a prefix").to_owned();

    // While the daemon of its node is away, somebody gives its block to another node.
    assert!(
        rack.fabric.exec("node1", &["routed", "stop"]).expect("testbed starts").status.success()
    );
    let name = block.replace(['.', '/'], "-");
    rack.cluster.must(&["delete", "ipblock", &name]);
    let spec = json!({"cidr": block, "pool": "four", "node": "node2"});
    create(
        &rack,
        &json!({"apiVersion": "slash32.dev/v1alpha1", "kind": "IPBlock",
            "metadata": {"name": name}, "spec": spec}),
    );
    rack.start("node1");
    let _ = rack.tor_has("the block from one, the pod from the other", |[one, two]| {
        two.contains(&block) && !one.contains(&block) && one.contains(&host(first))
    });
    assert_eq!(rack.show("node1")["lost_blocks"], json!([block]));
    reaches(&rack, "node2/second", first);
    reaches(&rack, "node1/first", second);

    // It is not forgotten over a restart, and ends with the pod.
    rack.restart("node1");
    let _ = rack.tor_has("the same", |[one, two]| {
        two.contains(&block) && !one.contains(&block) && one.contains(&host(first))
    });
    reaches(&rack, "node2/second", first);
    assert!(Call::new("node1", "DEL", "first").run(&rack.fabric).succeeded);
    let _ = rack.tor_has("it is gone", |[one, _]| !one.contains(&host(first)));
    eventually(
        "nothing is lost any more",
        || rack.show("node1")["lost_blocks"].clone(),
        |lost| *lost == json!([]),
    );
}

#[test]
fn an_owners_address_is_where_the_api_server_has_the_pod() {
    let rack = Rack::up(
        "apiVersion: slash32.dev/v1alpha1\nkind: IPPool\nmetadata: {name: four}\n\
         spec: {cidr: 10.244.0.0/16}\n---\n\
         apiVersion: slash32.dev/v1alpha1\nkind: IPReservation\nmetadata: {name: db}\n\
         spec: {reservedCIDRs: [10.244.255.10, 10.244.255.11], owner: {namespace: default, statefulSet: db}}\n",
    );
    let _ = rack.tor_has("a block from each", |seen| seen.iter().all(|of| !of.is_empty()));
    let kept: IpAddr = "10.244.255.10".parse().expect("an address");
    assert_eq!(rack.pod("node1", "db-0"), [kept]);
    let _ = rack.tor_has("it is announced", |[one, _]| one.contains(&host(kept)));

    // Another pod of the set has the same annotation.
    let annotation = json!({"slash32.dev/ip-addresses": kept.to_string()});
    let uid = rack.create_pod("node2", "db-1", &annotation);
    let refused = rack.add("node2", "db-1", &uid).refusal(plugin::cni::code::ADDRESS_REFUSED);
    assert!(refused.contains("is not this pod's"), "{refused}");
    // And nobody gets one that no reservation gives it, of a block of another node.
    let annotation = json!({"slash32.dev/ip-addresses": "10.244.77.7"});
    let uid = rack.create_pod("node2", "other", &annotation);
    let refused = rack.add("node2", "other", &uid).refusal(plugin::cni::code::ADDRESS_REFUSED);
    assert!(refused.contains("in no block of this node"), "{refused}");

    // The pod is deleted by force, and its node does not know what to do about it; it runs elsewhere.
    rack.cluster.must(&["delete", "pod", "db-0", "--force", "--grace-period=0"]);
    let uid = rack.create_pod("node2", "db-0", &json!({}));
    make_netns(&rack.fabric, "node2", "db-0-again");
    let args =
        format!("IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=db-0;K8S_POD_UID={uid}");
    let call = Call::new("node2", "ADD", "db-0-again");
    assert_eq!(addresses(&call.with("CNI_ARGS", &args).run(&rack.fabric).result()), [kept]);
    let _ = rack.tor_has("it is announced from there alone", |[one, two]| {
        two.contains(&host(kept)) && !one.contains(&host(kept))
    });
}

#[test]
fn blocks_may_be_single_addresses() {
    let rack = Rack::up(
        "apiVersion: slash32.dev/v1alpha1\nkind: IPPool\nmetadata: {name: one}\n\
         spec: {cidr: 10.250.0.0/28, blockSize: 32}\n",
    );
    let ready = |node: &str| {
        eventually(
            "a block",
            || rack.show(node)["claims"].clone(),
            |claims| claims.as_array().is_some_and(|claims| !claims.is_empty()),
        );
    };
    ready("node1");
    ready("node2");
    let mut given = Vec::new();
    for (number, node) in ["node1", "node2", "node1", "node2"].iter().enumerate() {
        given.extend(rack.pod(node, &format!("pod{number}")));
    }
    let [one, two] = rack.tor_has("each pod from its node, and nothing else", |[one, two]| {
        one.len() == 2 && two.len() == 2
    });
    let mut announced: Vec<_> = one.into_iter().chain(two).collect();
    let mut wanted: Vec<_> = given.iter().copied().map(host).collect();
    announced.sort();
    wanted.sort();
    assert_eq!(announced, wanted);
    reaches(&rack, "node1/pod0", given[1]);
    reaches(&rack, "node2/pod3", given[2]);
}
