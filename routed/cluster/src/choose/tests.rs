use std::collections::BTreeMap;

use routed_api::{IPPool, IPReservation};
use serde_json::json;

use super::*;
use crate::{Meta, Node, Pod};

fn pool(objects: &mut Objects, name: &str, spec: &serde_json::Value) {
    let pool: IPPool = serde_json::from_value(json!({
        "apiVersion": "slash32.dev/v1alpha1", "kind": "IPPool", "metadata": {"name": name}, "spec": spec
    }))
    .unwrap();
    objects.pools.insert(name.to_owned(), pool);
}

fn reservation(objects: &mut Objects, name: &str, spec: &serde_json::Value) {
    let reservation: IPReservation = serde_json::from_value(json!({
        "apiVersion": "slash32.dev/v1alpha1", "kind": "IPReservation", "metadata": {"name": name},
        "spec": spec
    }))
    .unwrap();
    objects.reservations.insert(name.to_owned(), reservation);
}

fn annotated(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// Pools `four` and `six` for all, `db` for namespaces of that kind, `rack2` for other nodes.
fn cluster() -> Objects {
    let mut objects = Objects::default();
    pool(&mut objects, "four", &json!({"cidr": "10.244.0.0/16"}));
    pool(&mut objects, "six", &json!({"cidr": "fd00:10::/64"}));
    let databases = json!({"matchLabels": {"kind": "db"}});
    pool(&mut objects, "db", &json!({"cidr": "10.245.0.0/16", "namespaceSelector": databases}));
    let rack = json!({"matchLabels": {"rack": "2"}});
    pool(&mut objects, "rack2", &json!({"cidr": "10.246.0.0/16", "nodeSelector": rack}));
    pool(&mut objects, "old", &json!({"cidr": "10.247.0.0/16", "disabled": true}));
    objects.nodes.insert("n1".to_owned(), Node::default());
    let space = Meta { labels: annotated(&[("kind", "db")]), ..Meta::default() };
    objects.namespaces.insert("db".to_owned(), space);
    objects.namespaces.insert("web".to_owned(), Meta::default());
    objects
}

/// Of this node.
fn blocks() -> Vec<Block> {
    let block =
        |pool: &str, prefix: &str| Block { pool: pool.to_owned(), prefix: prefix.parse().unwrap() };
    vec![block("four", "10.244.0.0/26"), block("rack2", "10.246.0.0/26")]
}

fn with(objects: &mut Objects, pod: &str, annotations: &[(&str, &str)]) -> Result<Choice, String> {
    let annotations = annotated(annotations);
    let pod_object = Pod { annotations, node: "n1".to_owned(), ..Pod::default() };
    objects.pods.insert(pod.to_owned(), pod_object);
    choose(objects, "n1", &blocks(), pod)
}

fn pools(objects: &mut Objects, pod: &str, annotations: &[(&str, &str)]) -> Vec<String> {
    with(objects, pod, annotations).unwrap().pools
}

#[test]
fn pools_come_from_the_pod_then_the_namespace_then_selectors() {
    let mut objects = cluster();
    assert_eq!(pools(&mut objects, "web/a", &[]), ["four", "six"]);
    assert_eq!(pools(&mut objects, "db/a", &[]), ["db", "four", "six"]);
    objects.namespaces.get_mut("web").unwrap().annotations = annotated(&[(POOLS, "six")]);
    let choice = with(&mut objects, "web/a", &[]).unwrap();
    assert_eq!(
        (choice.pools, choice.families),
        (vec!["six".to_owned()], vec![Family::Ipv6Unicast])
    );
    assert_eq!(pools(&mut objects, "web/a", &[(POOLS, "db, six")]), ["db", "six"]);
    assert_eq!(pools(&mut objects, "web/a", &[(POOLS, r#"["four"]"#)]), ["four"]);
    assert_eq!(choose(&objects, "n1", &blocks(), "web/a").unwrap().families, [Family::Ipv4Unicast]);
}

#[test]
fn what_cannot_be_had_is_refused_with_the_remedy() {
    let mut objects = cluster();
    for (annotation, text, word) in [
        (POOLS, "fuor", "known are db, four, six"),
        (POOLS, "old", "is disabled"),
        (POOLS, "rack2", "does not select this node"),
        (POOLS, "", "is empty"),
        (POOLS, "[four]", "is no list"),
        (ADDRESSES, "10.244.0", "is no address"),
        (ADDRESSES, "10.244.0.1,10.244.0.2", "the second of its family"),
        (ADDRESSES, "192.0.2.1", "in no IPPool"),
        (ADDRESSES, "10.244.9.1", "in no block of this node"),
    ] {
        let error = with(&mut objects, "web/a", &[(annotation, text)]).unwrap_err();
        assert!(error.contains(word) && error.contains("web/a"), "{error}");
    }
    assert!(choose(&objects, "n1", &blocks(), "b").unwrap_err().contains("NAMESPACE/NAME"));
    objects.pools.retain(|name, _| name == "db");
    assert!(with(&mut objects, "web/a", &[]).unwrap_err().contains("namespaceSelector"));
}

#[test]
fn a_pod_that_is_not_known_yet_gets_what_its_namespace_does() {
    let mut objects = cluster();
    assert_eq!(choose(&objects, "n1", &blocks(), "db/new").unwrap().pools, ["db", "four", "six"]);
    objects.namespaces.get_mut("db").unwrap().annotations = annotated(&[(POOLS, "six")]);
    assert_eq!(choose(&objects, "n1", &blocks(), "db/new").unwrap().pools, ["six"]);
    assert_eq!(choose(&objects, "n1", &blocks(), "new/new").unwrap().pools, ["four", "six"]);
}

#[test]
fn without_pools_for_the_node_its_own_ranges_are_used() {
    let mut objects = cluster();
    objects.pools.retain(|name, _| name == "rack2");
    assert_eq!(with(&mut objects, "web/a", &[]), Ok(Choice::default()));
}

#[test]
fn pods_of_a_stateful_set_get_their_addresses_by_number() {
    let mut objects = cluster();
    let owner = json!({"namespace": "db", "statefulSet": "postgres"});
    let addresses = ["10.244.255.10", "fd00:10::a", "10.244.255.11"];
    reservation(&mut objects, "postgres", &json!({"reservedCIDRs": addresses, "owner": owner}));
    let mut addresses = |pod: &str| -> Vec<String> {
        let choice = with(&mut objects, pod, &[]).unwrap();
        choice.addresses.iter().map(ToString::to_string).collect()
    };
    assert_eq!(addresses("db/postgres-0"), ["10.244.255.10", "fd00:10::a"]);
    assert_eq!(addresses("db/postgres-1"), ["10.244.255.11"]);
    for other in
        ["db/postgres-2", "db/postgres-01", "db/postgres", "db/postgres-x-0", "web/postgres-0"]
    {
        assert!(addresses(other).is_empty(), "{other}");
    }
    let taken = with(&mut objects, "web/a", &[(ADDRESSES, "10.244.255.10")]).unwrap_err();
    assert!(taken.contains("IPReservation postgres"), "{taken}");
    let own = with(&mut objects, "db/postgres-1", &[(ADDRESSES, "10.244.255.11")]).unwrap();
    assert_eq!(own.addresses, ["10.244.255.11".parse::<IpAddr>().unwrap()]);
    // The template of a StatefulSet gives each of its pods the same annotation.
    for other in ["db/postgres-0", "db/postgres-3"] {
        let error = with(&mut objects, other, &[(ADDRESSES, "10.244.255.11")]).unwrap_err();
        assert!(error.contains("is not this pod's"), "{error}");
    }
}

#[test]
fn a_pod_by_name_gets_the_first_address_of_each_family() {
    let mut objects = cluster();
    let owner = json!({"namespace": "web", "pod": "edge"});
    reservation(&mut objects, "edge", &json!({"reservedCIDRs": ["10.244.0.1"], "owner": owner}));
    let choice = with(&mut objects, "web/edge", &[]).unwrap();
    assert_eq!(choice.addresses, ["10.244.0.1".parse::<IpAddr>().unwrap()]);
    assert_eq!(choice.pools, ["four", "six"]);
    let asked = with(&mut objects, "web/edge", &[(ADDRESSES, "10.244.0.9")]).unwrap();
    assert_eq!(
        asked.addresses,
        ["10.244.0.9".parse::<IpAddr>().unwrap()],
        "the pod says so itself"
    );
}

#[test]
fn the_pool_of_an_address_comes_along() {
    let mut objects = cluster();
    let choice = with(&mut objects, "web/a", &[(ADDRESSES, "10.246.0.9"), (POOLS, "six")]).unwrap();
    assert_eq!(choice.pools, ["six", "rack2"], "wherever the pod runs");
    assert_eq!(choice.families, Family::ALL);
}

#[test]
fn an_address_that_is_reserved_for_nobody_is_had_where_its_block_is() {
    let mut objects = cluster();
    reservation(&mut objects, "spare", &json!({"reservedCIDRs": ["10.244.0.0/24", "10.244.0.9"]}));
    assert!(with(&mut objects, "web/a", &[(ADDRESSES, "10.244.0.9")]).is_ok());
    let elsewhere = with(&mut objects, "web/a", &[(ADDRESSES, "10.244.0.200")]).unwrap_err();
    assert!(elsewhere.contains("name the pod as owner"), "{elsewhere}");
}
