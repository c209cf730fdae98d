//! The real API server takes our definitions and what is right, and refuses what is wrong with a
//! message that says what to write instead.

use std::{env, fs, path::Path};

use routed::convert;
use tests::cluster::{Cluster, Said};

/// An object: kind, name, and spec as YAML on one line.
fn object(kind: &str, name: &str, spec: &str) -> String {
    format!(
        "apiVersion: slash32.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {spec}\n"
    )
}

fn pool(name: &str, spec: &str) -> String {
    object("IPPool", name, spec)
}

/// Creates, and is refused with each of these words. Whitespace counts as one blank.
#[track_caller]
fn refused(cluster: &Cluster, yaml: &str, words: &[&str]) {
    let said = cluster.create(yaml);
    assert!(!said.good, "this was taken:\n{yaml}");
    for word in words {
        assert!(said.err.contains(word), "{word:?} is not in the answer\n{}to\n{yaml}", said.err);
    }
}

#[track_caller]
fn taken(said: &Said) {
    assert!(said.good, "{}", said.err);
}

#[test]
fn every_definition_is_established_and_has_a_structural_schema() {
    let cluster = Cluster::shared();
    let conditions = "{range .items[*]}{.metadata.name}{range .status.conditions[*]} {.type}={.status}\
                      {end}{\"\\n\"}{end}";
    let crds = cluster.get(&["get", "crd", "-o", &format!("jsonpath={conditions}")]);
    let crds: Vec<_> = crds.lines().collect();
    assert_eq!(crds.len(), routed_api::definitions().len(), "{crds:?}");
    for crd in crds {
        assert!(crd.contains("Established=True"), "{crd}");
        assert!(crd.contains("NamesAccepted=True"), "{crd}");
        assert!(!crd.contains("NonStructuralSchema"), "{crd}");
    }
}

#[test]
fn the_manifest_brings_no_warnings() {
    let cluster = Cluster::shared();
    let manifest = cluster.path("crds.yaml").display().to_string();
    let said = cluster.kubectl(&["replace", "--dry-run=server", "-f", &manifest]);
    taken(&said);
    assert_eq!(said.err, "");
}

#[test]
fn objects_that_are_right_are_taken() {
    let cluster = Cluster::shared();
    for (kind, name, spec) in [
        ("IPPool", "right-v4", "{cidr: 10.244.0.0/16}"),
        ("IPPool", "right-v6", "{cidr: 'fd00:10:244::/48', blockSize: 124, natOutgoing: true}"),
        ("IPPool", "right-one-block", "{cidr: 10.245.0.0/26}"),
        (
            "IPPool",
            "right-selected",
            "{cidr: 10.246.0.0/16, blockSize: 32, nodeSelector: {matchLabels: {rack: '1'}, \
             matchExpressions: [{key: ssd, operator: Exists}, {key: row, operator: In, values: [a]}]}}",
        ),
        (
            "IPBlock",
            "10-244-1-64-26",
            "{cidr: 10.244.1.64/26, pool: right-v4, node: node1, nodeUID: 0a1b}",
        ),
        (
            "IPBlock",
            "fd00-10-244---122",
            "{cidr: 'fd00:10:244::/122', pool: right-v6, node: node1}",
        ),
        (
            "IPReservation",
            "right-range",
            "{reservedCIDRs: [10.244.0.0/28, 10.244.0.77, 'fd00::1']}",
        ),
        (
            "IPReservation",
            "right-owner",
            "{reservedCIDRs: [10.244.9.1, 10.244.9.2], owner: {namespace: db, statefulSet: pg}}",
        ),
        (
            "BGPPeer",
            "right-tor",
            "{peerIP: 10.1.1.0, asNumber: 4200000001, ttlSecurity: 1, bfd: {}}",
        ),
        ("BGPPeer", "right-unnumbered", "{interface: eth1}"),
        (
            "BGPPeer",
            "right-labelled",
            "{peerIP: 'fd00:1::1', asNumberLabel: topology.kubernetes.io/tor-as, \
             password: {secretKeyRef: {name: bgp, key: tor}}, maxPrefixes: {ipv4: 1000}}",
        ),
        ("BGPPeer", "right-nodes", "{peerSelector: {matchLabels: {reflector: 'true'}}}"),
        (
            "BGPPolicy",
            "right-policy",
            "{default: Reject, statements: [{name: fabric, match: {prefixes: [{cidr: 10.0.0.0/8, \
             prefixLength: {min: 16, max: 24}}], source: [EBGP], not: {communities: {any: \
             ['65000:*', no-export]}}}, set: {localPreference: {add: -10}, med: {remove: true}, \
             communities: {add: ['65000:1'], replace: []}}, action: Accept}]}",
        ),
        ("BGPNodeStatus", "node1", "{node: node1}"),
    ] {
        taken(&cluster.create(&object(kind, name, spec)));
    }
}

#[test]
fn a_pool_that_is_wrong_is_refused_with_the_remedy() {
    let cluster = Cluster::shared();
    for (spec, words) in [
        (
            "{cidr: 10.1.0.0}",
            "spec.cidr: Invalid value: \"10.1.0.0\": is not a prefix; write an address and a length",
        ),
        ("{cidr: 10.1.0.1/16}", "has bits behind its length"),
        ("{cidr: 'FD00:10::/48'}", "in its shortest form; write the first address of the prefix"),
        ("{cidr: 169.254.0.0/16}", "no pod can have an address of"),
        ("{cidr: 0.0.0.0/0}", "write one of yours, as in 10.244.0.0/16"),
        ("{cidr: 'fe80::/64'}", "no pod can have an address of"),
        ("{cidr: 10.1.0.0/16, blockSize: 122}", "must be 16 to 32 in an IPv4 pool"),
        ("{cidr: 'fd00:1::/64', blockSize: 64}", "must be 16 to 32 in an IPv4 pool and 112 to 128"),
        ("{cidr: 10.1.0.0/16, blockSize: 0}", "should be greater than or equal to 16"),
        (
            "{cidr: 10.1.0.0/28}",
            "is smaller than one block; widen it, or set blockSize to at least",
        ),
        ("{cidr: 10.1.0.0/24, blockSize: 20}", "is smaller than one block"),
        (
            "{cidr: 10.1.0.0/16, nodeSelector: {matchExpressions: [{key: a, operator: In}]}}",
            "values belong to In and NotIn, which need at least one",
        ),
        (
            "{cidr: 10.1.0.0/16, nodeSelector: {matchExpressions: [{key: a, operator: Gt}]}}",
            "supported values: \"In\", \"NotIn\", \"Exists\", \"DoesNotExist\"",
        ),
        ("{cidr: 10.1.0.0/16, blocksize: 26}", "unknown field \"spec.blocksize\""),
        ("{blockSize: 26}", "spec.cidr: Required value"),
    ] {
        refused(&cluster, &pool("wrong", spec), &[words]);
    }
}

#[test]
fn what_nodes_rely_on_cannot_be_changed_under_them() {
    let cluster = Cluster::shared();
    let change = |kind: &str, name: &str, patch: &str| {
        cluster.kubectl(&["patch", kind, name, "--type=merge", "-p", patch])
    };
    taken(&cluster.create(&pool("fixed", "{cidr: 10.20.0.0/16, blockSize: 26}")));
    taken(&cluster.create(&pool("fixed-default", "{cidr: 10.21.0.0/16}")));
    for (name, patch, words) in [
        (
            "fixed",
            r#"{"spec":{"cidr":"10.20.0.0/17"}}"#,
            "cannot be changed, since pods have addresses",
        ),
        ("fixed", r#"{"spec":{"blockSize":27}}"#, "cannot be changed, since nodes hold blocks"),
        ("fixed", r#"{"spec":{"blockSize":null}}"#, "cannot be changed, since nodes hold blocks"),
        ("fixed-default", r#"{"spec":{"blockSize":27}}"#, "add a second pool with the new size"),
    ] {
        let said = change("ippool", name, patch);
        assert!(!said.good && said.err.contains(words), "{patch}: {said:?}");
    }
    taken(&change("ippool", "fixed", r#"{"spec":{"disabled":true,"natOutgoing":true}}"#));

    let block = "{cidr: 10.20.0.0/26, pool: fixed, node: node1}";
    taken(&cluster.create(&object("IPBlock", "10-20-0-0-26", block)));
    let said = change("ipblock", "10-20-0-0-26", r#"{"spec":{"node":"node2"}}"#);
    assert!(!said.good && said.err.contains("a claim cannot be changed"), "{said:?}");
}

#[test]
fn two_nodes_cannot_claim_one_block() {
    let cluster = Cluster::shared();
    let claim = |name: &str, cidr: &str, node: &str| {
        object("IPBlock", name, &format!("{{cidr: '{cidr}', pool: race, node: {node}}}"))
    };
    taken(&cluster.create(&claim("10-30-0-0-26", "10.30.0.0/26", "node1")));
    refused(&cluster, &claim("10-30-0-0-26", "10.30.0.0/26", "node2"), &["already exists"]);
    refused(
        &cluster,
        &claim("another", "10.30.0.0/26", "node2"),
        &["metadata.name must be spec.cidr with - for each of . : /"],
    );
    let spelled = claim("10-30-0-1-26", "10.30.0.1/26", "node2");
    refused(&cluster, &spelled, &["has bits behind its length"]);
    let spelled = claim("fd00-0--0-122", "fd00:0::0/122", "node2");
    refused(&cluster, &spelled, &["in its shortest form"]);
}

#[test]
fn a_peer_that_is_wrong_is_refused_with_the_remedy() {
    let cluster = Cluster::shared();
    for (spec, words) in [
        ("{asNumber: 65001}", "say where the peer is in exactly one way: peerIP"),
        ("{peerIP: 10.1.1.0, interface: eth1, asNumber: 65001}", "in exactly one way: peerIP"),
        ("{peerIP: 10.1.1.0}", "say the peer's AS in exactly one way: asNumber"),
        ("{peerIP: 10.1.1.0, asNumber: 65001, remoteAS: External}", "in exactly one way: asNumber"),
        ("{peerSelector: {}, asNumber: 65001}", "have the AS that BGPConfiguration gives them"),
        ("{peerIP: '10.1.1.0:179', asNumber: 65001}", "is not an address; write 10.1.1.0"),
        (
            "{peerIP: 'fe80::1', asNumber: 65001}",
            "use interface, which finds the router on that link",
        ),
        ("{peerIP: 224.0.0.1, asNumber: 65001}", "is no address of another host"),
        ("{peerIP: 127.0.0.1, asNumber: 65001}", "is no address of another host"),
        ("{peerIP: 0.0.0.0, asNumber: 65001}", "is no address of another host"),
        ("{interface: averyverylongname, asNumber: 65001}", "may not be more than 15"),
        ("{interface: 'eth 1', asNumber: 65001}", "write it as ip link shows it, as in eth1"),
        ("{interface: eth1, port: 1179}", "at port 179; remove port and ebgpMultihop"),
        ("{peerIP: 10.1.1.0, asNumber: 23456}", "is reserved (RFC 6793, RFC 7300) and no peer's"),
        ("{peerIP: 10.1.1.0, asNumber: 4294967295}", "less than or equal to 4294967294"),
        (
            "{peerIP: 10.1.1.0, asNumberLabel: 'a b'}",
            "is not the key of a label; write it as kubectl",
        ),
        (
            "{peerIP: 10.1.1.0, asNumber: 65001, holdTimeSeconds: 2}",
            "must be 0 (off) or at least 3",
        ),
        (
            "{peerIP: 10.1.1.0, asNumber: 65001, holdTimeSeconds: 9, keepaliveTimeSeconds: 9}",
            "must be less than holdTimeSeconds, or the session ends between two keepalives",
        ),
        (
            "{peerIP: 10.1.1.0, asNumber: 65001, ttlSecurity: 1, ebgpMultihop: 2}",
            "ttlSecurity and ebgpMultihop exclude each other",
        ),
        (
            "{peerIP: 10.1.1.0, asNumber: 65001, maxPrefixes: {}}",
            "give a number for ipv4, for ipv6",
        ),
        (
            "{peerIP: 10.1.1.0, asNumber: 65001, importPolicies: ['From Tor']}",
            "is not the name of an object",
        ),
    ] {
        refused(&cluster, &object("BGPPeer", "wrong", spec), &[words]);
    }
}

#[test]
fn a_policy_that_is_wrong_is_refused_with_the_remedy() {
    let cluster = Cluster::shared();
    let policy = |statement: &str| {
        let spec = format!("{{default: Reject, statements: [{statement}]}}");
        object("BGPPolicy", "wrong", &spec)
    };
    for (statement, words) in [
        ("{name: idle}", "does nothing; give it an action (Accept, Reject, NextPolicy)"),
        ("{name: 'a b', action: Accept}", "must be letters, digits and any of . _ : -"),
        (
            "{match: {prefixes: [{cidr: 10.0.0.0/8, prefixLength: {min: 7}}]}, action: Accept}",
            "must be between the length of cidr and 32, or 128 for IPv6",
        ),
        (
            "{match: {prefixes: [{cidr: 10.0.0.0/8, prefixLength: {max: 33}}]}, action: Accept}",
            "must be between the length of cidr and 32, or 128 for IPv6",
        ),
        ("{match: {asPathLength: {min: 3, max: 2}}, action: Accept}", "min is more than max"),
        ("{match: {med: {}}, action: Accept}", "give min, max, or both"),
        ("{match: {communities: {}}, action: Accept}", "give at least one of any, all, none"),
        (
            "{match: {communities: {any: ['65000']}}, action: Accept}",
            "is not a community; write 65000:100",
        ),
        ("{match: {not: {nextHop: [tor]}}, action: Accept}", "is neither an address nor a prefix"),
        ("{match: {asPathContains: [private]}, action: Accept}", "should match"),
        ("{set: {localPreference: {to: 1, add: 1}}}", "give either to (the number) or add"),
        ("{set: {med: {to: 1, remove: true}}}", "give exactly one of to (the number), add"),
        ("{set: {communities: {}}}", "replace: [] takes all off"),
        ("{apply: 'No Name'}", "write metadata.name of the one that is meant"),
        ("{match: {originatedBy: [4294967296]}, action: Accept}", "less than or equal to"),
    ] {
        refused(&cluster, &policy(statement), &[words]);
    }
    let reserved = object("BGPPolicy", "originated", "{default: Accept}");
    refused(&cluster, &reserved, &["are policies that need no object; give this one another name"]);
}

#[test]
fn a_reservation_that_is_wrong_is_refused_with_the_remedy() {
    let cluster = Cluster::shared();
    for (spec, words) in [
        ("{reservedCIDRs: []}", "should have at least 1 items"),
        ("{reservedCIDRs: [ten]}", "is neither an address nor a prefix; write 10.244.0.10"),
        ("{reservedCIDRs: [10.0.0.1/28]}", "has bits behind its length"),
        (
            "{reservedCIDRs: [10.0.0.1], owner: {namespace: db}}",
            "name either a pod or a statefulSet",
        ),
        (
            "{reservedCIDRs: [10.0.0.1], owner: {namespace: db, pod: a, statefulSet: b}}",
            "name either a pod or a statefulSet",
        ),
        (
            "{reservedCIDRs: [10.0.0.0/28], owner: {namespace: db, pod: a}}",
            "with an owner, write single addresses in place of prefixes",
        ),
    ] {
        refused(&cluster, &object("IPReservation", "wrong", spec), &[words]);
    }
}

#[test]
fn the_only_configuration_is_named_default_and_makes_sense() {
    let cluster = Cluster::shared();
    let configuration = |spec: &str| object("BGPConfiguration", "default", spec);
    refused(
        &cluster,
        &object("BGPConfiguration", "node.node1", "{}"),
        &["the only BGPConfiguration is named default"],
    );
    for (spec, words) in [
        (
            "{nodeToNodeMeshEnabled: true, routeReflectors: {nodeSelector: {}}}",
            "a full mesh leaves route reflectors nothing to do",
        ),
        ("{routeReflectors: {nodeSelector: {}, clusterID: 'fd00::1'}}", "is not an IPv4 address"),
        ("{asNumber: 65535}", "use a private one, 64512 to 65534"),
        ("{keepaliveTimeSeconds: 90}", "must be less than holdTimeSeconds (90 unless given)"),
        ("{holdTimeSeconds: 1}", "must be 0 (off) or at least 3"),
        (
            "{communities: [{name: A, value: '65000:1'}]}",
            "must be lower-case letters, digits and -",
        ),
        ("{communities: [{name: a, value: '65000'}]}", "is not a community; write 65000:100"),
        (
            "{prefixAdvertisements: [{cidr: 10.0.0.0/8, communities: [rack]}]}",
            "names a community that is not in communities; add it there",
        ),
        ("{multipath: 65}", "less than or equal to 64"),
    ] {
        refused(&cluster, &configuration(spec), &[words]);
    }
    taken(&cluster.create(&configuration(
        "{asNumber: 64512, nodeToNodeMeshEnabled: false, routeReflectors: {nodeSelector: \
         {matchLabels: {reflector: 'true'}}, clusterID: 10.0.0.250}, holdTimeSeconds: 9, \
         keepaliveTimeSeconds: 3, communities: [{name: rack, value: '65000:1'}], \
         prefixAdvertisements: [{cidr: 10.244.0.0/16, communities: [rack, '65000:2', no-export]}]}",
    )));
}

#[test]
fn tables_show_what_counts_under_short_names() {
    let cluster = Cluster::shared();
    taken(&cluster.create(&pool("shown", "{cidr: 10.40.0.0/16, blockSize: 27}")));
    let status = r#"{"status":{"conditions":[{"type":"Accepted","status":"False","reason":"Overlaps",
        "message":"overlaps pool other","lastTransitionTime":"2026-11-27T00:00:00Z"}]}}"#;
    let patch = ["patch", "ipp", "shown", "--subresource=status", "--type=merge", "-p", status];
    cluster.must(&patch);
    let table = cluster.get(&["get", "ipp", "shown", "-o", "wide"]);
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let lines: Vec<_> = table.lines().map(words).collect();
    assert_eq!(lines[0], ["NAME", "CIDR", "BLOCK", "NAT", "DISABLED", "ACCEPTED", "REASON", "AGE"]);
    assert_eq!(
        lines[1][..7],
        ["shown", "10.40.0.0/16", "27", "false", "false", "False", "Overlaps"]
    );

    let block = "{cidr: 10.40.0.0/27, pool: shown, node: shown-node}";
    taken(&cluster.create(&object("IPBlock", "10-40-0-0-27", block)));
    let of_node = ["get", "ipb", "--field-selector", "spec.node=shown-node", "-o", "name"];
    assert_eq!(cluster.get(&of_node).trim(), "ipblock.slash32.dev/10-40-0-0-27");
    let of_other = ["get", "ipb", "--field-selector", "spec.node=other", "-o", "name"];
    assert_eq!(cluster.get(&of_other), "");

    for short in ["ipp", "ipb", "ipr", "bgpc", "bgpp", "bgppol", "bgpns", "slash32"] {
        cluster.must(&["get", short]);
    }
    let explained = cluster.get(&["explain", "bgppeer.spec.asNumberLabel"]);
    assert!(explained.contains("Key of a label of our node"), "{explained}");
}

/// Has everything checked and leaves nothing; another test's objects are no obstacle.
const WOULD_APPLY: [&str; 6] =
    ["apply", "--server-side", "--force-conflicts", "--dry-run=server", "-f", "-"];

/// A file of the data, compared with what is there, or written with `UPDATE=1`.
#[track_caller]
fn is_as_recorded(name: &str, text: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/calico").join(name);
    if env::var_os("UPDATE").is_some() {
        fs::write(&file, text).expect("write what is expected");
    }
    let recorded = fs::read_to_string(&file).unwrap_or_default();
    assert!(recorded == text, "{name} was recorded otherwise; UPDATE=1 records this:\n{text}");
}

#[test]
fn what_becomes_of_a_calico_cluster_is_taken_as_it_is() {
    let cluster = Cluster::shared();
    let calico = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/calico/cluster.yaml");
    let converted = convert::calico(&[calico]).expect("it is Calico's");
    let yaml = converted.yaml();
    is_as_recorded("slash32.yaml", &yaml);
    let notes = converted.notes.iter().map(|note| format!("{note}\n")).collect::<String>();
    is_as_recorded("notes.txt", &notes);
    taken(&cluster.kubectl_with(&WOULD_APPLY, &yaml));
}

#[test]
fn the_examples_of_the_docs_are_taken() {
    let cluster = Cluster::shared();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../routed/docs/kubernetes.md");
    let text = fs::read_to_string(file).expect("the page is there");
    let blocks: Vec<_> =
        text.split("```yaml\n").skip(1).map(|rest| rest.split("```").next()).collect();
    assert_eq!(blocks.len(), 1, "each block of YAML is tried");
    for block in blocks.into_iter().flatten() {
        taken(&cluster.kubectl_with(&WOULD_APPLY, block));
    }
}
