//! Whole objects, as Calico's users have them.

use super::*;

fn converted(text: &str) -> Converted {
    let mut found = Vec::new();
    for document in parse(text).expect("it is YAML") {
        flatten(document, &mut found);
    }
    convert(&found)
}

/// The specs by kind and name, and the notes.
fn outcome(text: &str) -> (Vec<(String, Value)>, Vec<String>) {
    let converted = converted(text);
    let spec = |object: &Value| {
        let text = |pointer| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        assert_eq!(text("/apiVersion"), "slash32.dev/v1alpha1");
        (format!("{}/{}", text("/kind"), text("/metadata/name")), object["spec"].clone())
    };
    let specs = converted.objects.iter().map(spec).collect();
    let note = |note: &Note| format!("{}{note}", if note.is_loss { "" } else { "note: " });
    (specs, converted.notes.iter().map(note).collect())
}

fn calico(kind: &str, name: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: projectcalico.org/v3\nkind: {kind}\nmetadata: {{name: {name}}}\n\
         spec: {spec}\n"
    )
}

/// Objects that are made of a spec, and what is said about it. `words`: one for each note.
#[track_caller]
fn becomes(kind: &str, spec: &str, wanted: &[(&str, Value)], words: &[&str]) {
    let (specs, notes) = outcome(&calico(kind, "it", spec));
    let wanted: Vec<_> =
        wanted.iter().map(|(name, spec)| ((*name).to_owned(), spec.clone())).collect();
    assert_eq!(specs, wanted, "{spec}");
    assert_eq!(notes.len(), words.len(), "{notes:#?}");
    for (note, word) in notes.iter().zip(words) {
        assert!(note.contains(word), "{word:?} is not in {note:?}");
    }
}

#[test]
fn pools_keep_what_has_the_same_meaning() {
    becomes(
        "IPPool",
        "{cidr: 10.244.0.0/16, blockSize: 26, ipipMode: Never, vxlanMode: Never, natOutgoing: true, \
         nodeSelector: all(), allowedUses: [Workload, Tunnel], disabled: false, assignmentMode: Automatic}",
        &[(
            "IPPool/it",
            json!({"cidr": "10.244.0.0/16", "blockSize": 26, "natOutgoing": true, "disabled": false,
                "disableBGPExport": false}),
        )],
        &[],
    );
    becomes(
        "IPPool",
        "{cidr: 'fd00::/48', nodeSelector: \"rack == '1'\", disableBGPExport: true}",
        &[(
            "IPPool/it",
            json!({"cidr": "fd00::/48", "nodeSelector": {"matchLabels": {"rack": "1"}},
                "natOutgoing": false, "disabled": false, "disableBGPExport": true}),
        )],
        &[],
    );
}

#[test]
fn a_pool_for_requests_only_is_reserved_as_a_whole() {
    let pool = json!({"cidr": "10.1.0.0/16", "natOutgoing": false, "disabled": false,
        "disableBGPExport": false});
    becomes(
        "IPPool",
        "{cidr: 10.1.0.0/16, assignmentMode: Manual}",
        &[
            ("IPPool/it", pool),
            ("IPReservation/it-manual", json!({"reservedCIDRs": ["10.1.0.0/16"]})),
        ],
        &["note: IPPool/it: spec.assignmentMode: Manual became IPReservation/it-manual"],
    );
}

#[test]
fn tunnels_and_selectors_without_counterpart_are_named() {
    let (specs, notes) = outcome(&calico(
        "IPPool",
        "it",
        "{cidr: 10.1.0.0/16, ipipMode: CrossSubnet, nodeSelector: \"a == '1' || b == '2'\", new: 1}",
    ));
    let selector: routed_api::Selector =
        serde_json::from_value(specs[0].1["nodeSelector"].clone()).expect("a selector");
    assert!(!selector.matches(&[("a".to_owned(), "1".to_owned())].into()), "it selects nothing");
    assert_eq!(notes.len(), 3, "{notes:#?}");
    assert!(
        notes[0].starts_with("IPPool/it: spec.ipipMode: CrossSubnet: there are no tunnels here")
    );
    assert!(notes[1].contains("make one object for each side of ||"), "{}", notes[1]);
    assert_eq!(notes[2], "IPPool/it: spec.new: 1 has no counterpart; it is left out");
}

#[test]
fn peers_by_address_keep_their_reach() {
    let peer = |extra: Value| {
        let mut spec = json!({"passive": false, "nextHopSelf": false});
        let object = spec.as_object_mut().expect("an object");
        object.extend(extra.as_object().expect("an object").clone());
        spec
    };
    becomes(
        "BGPPeer",
        "{peerIP: '192.0.2.1:1790', asNumber: 65001, node: n1, maxRestartTime: 2m0s, \
         password: {secretKeyRef: {name: bgp, key: tor}}}",
        &[(
            "BGPPeer/it",
            peer(json!({
                "peerIP": "192.0.2.1", "port": 1790, "asNumber": 65001, "ebgpMultihop": 255,
                "nodeSelector": {"matchExpressions": [{"key": "kubernetes.io/hostname",
                    "operator": "In", "values": ["n1"]}]},
                "gracefulRestart": {"enabled": true, "restartTimeSeconds": 120},
                "password": {"secretKeyRef": {"name": "bgp", "key": "tor"}},
            })),
        )],
        &[
            "note: BGPPeer/it: spec.node",
            "must be in the namespace of our daemon",
            "ttlSecurity: 1",
        ],
    );
    becomes(
        "BGPPeer",
        "{peerIP: '[fd00::1]:179', asNumber: '1.10', ttlSecurity: 1}",
        &[(
            "BGPPeer/it",
            peer(json!({"peerIP": "fd00::1", "port": 179, "asNumber": 65546, "ttlSecurity": 1})),
        )],
        &[],
    );
    becomes(
        "BGPPeer",
        "{nodeSelector: all(), peerSelector: \"route-reflector == 'true'\"}",
        &[(
            "BGPPeer/it",
            peer(json!({"peerSelector": {"matchLabels": {"route-reflector": "true"}}})),
        )],
        &[],
    );
    becomes(
        "BGPPeer",
        "{localWorkloadSelector: all()}",
        &[],
        &["sessions with pods have no counterpart"],
    );
    becomes("BGPPeer", "{}", &[], &["there is neither peerIP nor peerSelector"]);
}

#[test]
fn filters_are_policies_and_their_peers_name_them() {
    let text = calico(
        "BGPFilter",
        "fabric",
        "{importV4: [{action: Accept, matchOperator: In, cidr: 10.0.0.0/8, \
          prefixLength: {max: 24}}, {action: Reject}], \
          exportV6: [{action: Reject, matchOperator: NotEqual, cidr: 'fd00::/48', source: RemotePeers}]}",
    ) + &calico(
        "BGPPeer",
        "tor",
        "{peerIP: 10.1.1.0, asNumber: 64512, filters: [fabric, other]}",
    );
    let (specs, notes) = outcome(&text);
    assert_eq!(
        specs[..2],
        [
            (
                "BGPPolicy/fabric-import".to_owned(),
                json!({"default": "NextPolicy", "statements": [
                    {"name": "importV4-0", "match": {"family": "IPv4", "prefixes": [
                        {"cidr": "10.0.0.0/8", "prefixLength": {"min": 8, "max": 24}}]},
                        "action": "Accept"},
                    {"name": "importV4-1", "match": {"family": "IPv4"}, "action": "Reject"},
                ]})
            ),
            (
                "BGPPolicy/fabric-export".to_owned(),
                json!({"default": "NextPolicy", "statements": [
                    {"name": "exportV6-0", "match": {"family": "IPv6", "source": ["EBGP", "IBGP"],
                        "not": {"prefixes": [{"cidr": "fd00::/48"}]}}, "action": "Reject"},
                ]})
            ),
        ]
    );
    assert_eq!(specs[2].1["importPolicies"], json!(["fabric-import", "all"]));
    assert_eq!(specs[2].1["exportPolicies"], json!(["fabric-export", "originated"]));
    assert_eq!(
        notes,
        ["BGPPeer/tor: spec.filters: BGPFilter/other is in none of the files; name its file too"]
    );
}

#[test]
fn a_rule_with_a_condition_that_is_not_there_is_left_out_as_a_whole() {
    becomes(
        "BGPFilter",
        "{exportV4: [{action: Accept, interface: eth0, operations: [{setPriority: {value: 1}}]}, \
          {action: Accept, communities: {values: ['65000:1:2']}, asPathPrefix: [65001, '65002'], \
           operations: [{addCommunity: {value: '65000:7'}}, {setPriority: {value: 1}}]}]}",
        &[(
            "BGPPolicy/it-export",
            json!({"default": "NextPolicy", "statements": [{
                "name": "exportV4-1",
                "match": {"family": "IPv4", "largeCommunities": {"any": ["65000:1:2"]},
                    "asPath": ["^65001_65002_"]},
                "set": {"communities": {"add": ["65000:7"]}},
                "action": "Accept",
            }]}),
        )],
        &["spec.exportV4[0].interface: routes are not told by interface", "setPriority"],
    );
}

#[test]
fn the_default_configuration_is_converted_and_those_of_nodes_are_named() {
    becomes("BGPConfiguration", "{}", &[], &["settings of one node have no counterpart"]);
    let text = calico(
        "BGPConfiguration",
        "default",
        "{asNumber: 65010, nodeToNodeMeshEnabled: false, listenPort: 178, logSeverityScreen: Info, \
          serviceClusterIPs: [{cidr: 10.96.0.0/12}], bindMode: NodeIP, \
          communities: [{name: rack, value: '65000:1'}], \
          prefixAdvertisements: [{cidr: 10.244.0.0/16, communities: [rack]}]}",
    );
    let (specs, notes) = outcome(&text);
    assert_eq!(
        specs,
        [(
            "BGPConfiguration/default".to_owned(),
            json!({"asNumber": 65010, "nodeToNodeMeshEnabled": false, "listenPort": 178,
                "communities": [{"name": "rack", "value": "65000:1"}],
                "prefixAdvertisements": [{"cidr": "10.244.0.0/16", "communities": ["rack"]}]})
        )]
    );
    assert_eq!(notes.len(), 3, "{notes:#?}");
    assert!(notes[2].contains("spec.bindMode: \"NodeIP\" has no counterpart"), "{}", notes[2]);
}

#[test]
fn lists_of_both_tools_and_several_documents_are_read() {
    let text = "apiVersion: v1\nkind: List\nitems:\n- apiVersion: crd.projectcalico.org/v1\n  kind: IPPool\n  \
        metadata: {name: a}\n  spec: {cidr: 10.1.0.0/16}\n---\n---\napiVersion: projectcalico.org/v3\n\
        kind: IPPoolList\nitems:\n- metadata: {name: b}\n  spec: {cidr: 10.2.0.0/16}\n---\n\
        apiVersion: v1\nkind: Service\nmetadata: {name: c}\n";
    let (specs, notes) = outcome(text);
    let names: Vec<_> = specs.iter().map(|(name, _)| &**name).collect();
    assert_eq!(names, ["IPPool/a", "IPPool/b"]);
    assert_eq!(notes.len(), 1);
    assert!(notes[0].starts_with("Service/c: \"v1\" is not Calico's API"), "{}", notes[0]);
}

#[test]
fn values_of_the_wrong_kind_are_named_and_nothing_panics() {
    for spec in ["7", "[]", "{cidr: 7}", "{cidr: {}}", "{peerIP: [], filters: x}", "null"] {
        for kind in ["IPPool", "BGPPeer", "BGPFilter", "BGPConfiguration", "IPReservation", "Tier"]
        {
            let _ = outcome(&calico(kind, "it", spec));
        }
    }
    becomes(
        "IPPool",
        "{cidr: 10.1.0.0/16, blockSize: big}",
        &[(
            "IPPool/it",
            json!({"cidr": "10.1.0.0/16", "natOutgoing": false, "disabled": false,
                "disableBGPExport": false}),
        )],
        &["spec.blockSize: is \"big\", and not a number in its range; it is left out"],
    );
}
