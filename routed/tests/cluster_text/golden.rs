//! The whole text of one cluster, as an operator reads it. `UPDATE=1` writes it anew.

use std::{env, fs, path::PathBuf};

use serde_json::json;

use super::cluster::Cluster;

#[test]
fn the_text_says_of_each_section_where_it_comes_from() {
    let mut cluster = Cluster::new();
    cluster.node("n3", &["10.0.0.3"]);
    cluster.base =
        "# Of this node alone.\n[node]\nname = \"n1\"\n\n[bgp]\nrouter_id = \"10.255.0.1\"\n\n\
                    [pods]\nmtu = 9000\n"
            .to_owned();
    cluster.label("n1", "rack-as", "4200000001");
    cluster.add(
        "BGPConfiguration",
        "default",
        &json!({
            "asNumber": 64600, "holdTimeSeconds": 9,
            "communities": [{"name": "pods", "value": "64600:1"}],
            "prefixAdvertisements": [{"cidr": "10.244.0.0/16", "communities": ["pods"]}],
        }),
    );
    cluster.add("BGPPeer", "tor", &json!({
        "peerIP": "10.1.1.0", "asNumberLabel": "rack-as", "ttlSecurity": 1, "bfd": {},
        "importPolicies": ["from-tor"], "password": {"secretKeyRef": {"name": "tor", "key": "md5"}},
    }));
    cluster.add("BGPPeer", "spine", &json!({"interface": "eth1"}));
    cluster.add("BGPPeer", "wrong", &json!({"peerIP": "10.1.9.0", "asNumber": 65535}));
    cluster.secret("tor", "md5", "geheim");
    cluster.add(
        "BGPPolicy",
        "from-tor",
        &json!({"default": "Reject", "statements": [
            {"name": "default", "match": {"prefixes": [{"cidr": "0.0.0.0/0"}, {"cidr": "::/0"}]},
             "action": "Accept"},
        ]}),
    );
    cluster.add("IPPool", "pods", &json!({"cidr": "10.244.0.0/16"}));
    cluster.block("pods", "10.244.3.0/26");
    cluster.block("pods", "10.244.17.64/26");
    cluster.add(
        "IPReservation",
        "postgres",
        &json!({"reservedCIDRs": ["10.244.3.10"],
        "owner": {"namespace": "db", "statefulSet": "postgres"}}),
    );
    let text = cluster.wanted().text;
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/cluster_text/golden.toml");
    if env::var_os("UPDATE").is_some() {
        fs::write(&file, &text).unwrap();
    }
    assert_eq!(text, fs::read_to_string(&file).unwrap(), "UPDATE=1 writes it anew");
}
