//! Whatever the objects are, the text is one that the daemon takes, and nothing is left out in silence.

use proptest::{prelude::*, sample::select};
use serde_json::{Value, json};

use super::cluster::{Cluster, problems};

const NAMES: [&str; 4] = ["a", "b", "default", "none"];
const ADDRESSES: [&str; 6] = ["10.0.0.2", "10.1.1.0", "fd00::9", "10.244.1.5", "nowhere", ""];
const PREFIXES: [&str; 7] = [
    "10.244.0.0/16",
    "10.244.1.0/24",
    "10.245.0.0/16",
    "fd00:10::/64",
    "fd00:10::/112",
    "10.0.0.1/8",
    "127.0.0.0/8",
];

/// The value in most cases, else none.
fn maybe(value: impl Strategy<Value = Value> + 'static) -> BoxedStrategy<Option<Value>> {
    prop_oneof![2 => Just(None), 1 => value.prop_map(Some)].boxed()
}

fn object(fields: Vec<(&'static str, BoxedStrategy<Option<Value>>)>) -> BoxedStrategy<Value> {
    let (keys, values): (Vec<_>, Vec<_>) = fields.into_iter().unzip();
    values
        .prop_map(move |values| {
            let given = keys.iter().zip(values).filter_map(|(key, value)| Some((*key, value?)));
            given
                .map(|(key, value)| (key.to_owned(), value))
                .collect::<serde_json::Map<_, _>>()
                .into()
        })
        .boxed()
}

fn of(values: &'static [&'static str]) -> BoxedStrategy<Value> {
    select(values).prop_map(Value::from).boxed()
}

fn number(values: &'static [u32]) -> BoxedStrategy<Value> {
    select(values).prop_map(Value::from).boxed()
}

fn flag() -> BoxedStrategy<Value> {
    any::<bool>().prop_map(Value::from).boxed()
}

fn list(of: BoxedStrategy<Value>) -> BoxedStrategy<Value> {
    prop::collection::vec(of, 0..3).prop_map(Value::from).boxed()
}

fn selector() -> BoxedStrategy<Value> {
    prop_oneof![
        Just(json!({})),
        Just(json!({"matchLabels": {"rack": "1"}})),
        Just(json!({"matchExpressions": [{"key": "rack", "operator": "DoesNotExist"}]})),
    ]
    .boxed()
}

fn configuration() -> BoxedStrategy<Value> {
    let advertisement =
        (select(&PREFIXES[..]), select(&["name", "65000:1", "1:2:3", "no-such"][..]))
            .prop_map(|(cidr, community)| json!({"cidr": cidr, "communities": [community]}));
    object(vec![
        ("asNumber", maybe(number(&[65001, 65535, 23456, 0]))),
        ("nodeASNumberLabel", maybe(Just(json!("as")))),
        ("nodeToNodeMeshEnabled", maybe(flag())),
        (
            "routeReflectors",
            maybe(
                selector().prop_map(
                    |selector| json!({"nodeSelector": selector, "clusterID": "10.9.9.9"}),
                ),
            ),
        ),
        ("listenPort", maybe(number(&[0, 1179]))),
        ("holdTimeSeconds", maybe(number(&[0, 2, 9]))),
        ("multipath", maybe(number(&[0, 8, 200]))),
        ("importPolicies", maybe(list(of(&NAMES)))),
        ("exportPolicies", maybe(list(of(&NAMES)))),
        ("communities", maybe(Just(json!([{"name": "name", "value": "65000:7"}])))),
        ("prefixAdvertisements", maybe(list(advertisement.boxed()))),
    ])
}

fn peer() -> BoxedStrategy<Value> {
    let password = json!({"secretKeyRef": {"name": "tor", "key": "md5"}});
    object(vec![
        ("nodeSelector", maybe(selector())),
        ("peerIP", prop_oneof![Just(None), of(&ADDRESSES).prop_map(Some)].boxed()),
        ("interface", maybe(of(&["eth1", "a/b", "\"\n[bgp]\n"]))),
        ("peerSelector", maybe(selector())),
        (
            "asNumber",
            prop_oneof![Just(None), number(&[65001, 65002, 64512, 65535]).prop_map(Some)].boxed(),
        ),
        ("remoteAS", maybe(of(&["External", "Internal"]))),
        ("asNumberLabel", maybe(of(&["as", "none"]))),
        ("localASNumber", maybe(number(&[64512, 64999]))),
        ("ttlSecurity", maybe(number(&[0, 1]))),
        ("ebgpMultihop", maybe(number(&[2]))),
        ("passive", maybe(flag())),
        ("password", maybe(Just(password))),
        ("bfd", maybe(Just(json!({"transmitIntervalMilliseconds": 5})))),
        ("gracefulRestart", maybe(Just(json!({"enabled": false, "restartTimeSeconds": 5000})))),
        ("holdTimeSeconds", maybe(number(&[0, 2, 9]))),
        ("families", maybe(list(of(&["IPv4", "IPv6"])))),
        ("maxPrefixes", maybe(Just(json!({"ipv4": 0})))),
        ("importPolicies", maybe(list(of(&NAMES)))),
        ("exportPolicies", maybe(list(of(&NAMES)))),
    ])
}

fn policy() -> BoxedStrategy<Value> {
    let conditions = object(vec![
        (
            "prefixes",
            maybe(list(
                select(&PREFIXES[..])
                    .prop_map(|cidr| json!({"cidr": cidr, "prefixLength": {"min": 20}}))
                    .boxed(),
            )),
        ),
        ("asPath", maybe(list(of(&["^1$", "("])))),
        ("communities", maybe(Just(json!({"any": ["65000:1", "name"]})))),
        ("peers", maybe(list(of(&NAMES)))),
        ("policy", maybe(of(&NAMES))),
        ("med", maybe(Just(json!({})))),
    ]);
    let set = object(vec![
        ("localPreference", maybe(Just(json!({"to": 1})))),
        ("med", maybe(Just(json!({})))),
        ("prepend", maybe(number(&[1, 99]))),
    ]);
    let statement = object(vec![
        ("name", maybe(of(&["s", "s\"x"]))),
        ("match", maybe(conditions)),
        ("set", maybe(set)),
        ("apply", maybe(of(&NAMES))),
        ("action", maybe(of(&["Accept", "Reject", "NextPolicy"]))),
    ]);
    (of(&["Accept", "Reject"]), list(statement))
        .prop_map(|(default, statements)| json!({"default": default, "statements": statements}))
        .boxed()
}

fn pool() -> BoxedStrategy<Value> {
    object(vec![
        ("cidr", select(&PREFIXES[..]).prop_map(|cidr| Some(json!(cidr))).boxed()),
        ("blockSize", maybe(number(&[24, 26, 28, 124]))),
        ("nodeSelector", maybe(selector())),
        ("disabled", maybe(flag())),
        ("disableBGPExport", maybe(flag())),
        ("natOutgoing", maybe(flag())),
    ])
}

/// Objects of one kind: name, age, specification.
fn some(spec: BoxedStrategy<Value>) -> BoxedStrategy<Vec<(&'static str, u8, Value)>> {
    prop::collection::vec((select(&NAMES[..]), 1..9_u8, spec), 0..4).boxed()
}

fn cluster() -> impl Strategy<Value = Cluster> {
    let kinds = (some(peer()), some(policy()), some(pool()));
    let reservation = list(of(&["10.244.1.5", "10.244.0.0/16", "x"]))
        .prop_map(|addresses| json!({"reservedCIDRs": addresses}))
        .boxed();
    let blocks = prop::collection::vec(
        (
            select(&NAMES[..]),
            select(&["10.244.1.0/26", "10.244.1.0/27", "fd00:10::/122", "127.0.0.0/26"][..]),
        ),
        0..3,
    );
    let own = (any::<bool>(), any::<bool>(), any::<bool>());
    (kinds, maybe(configuration()), some(reservation), blocks, own).prop_map(
        |((peers, policies, pools), configuration, reservations, blocks, (rack, asn, secret))| {
            let mut cluster = Cluster::new();
            cluster.node("n3", &["10.0.0.3"]).unschedulable = true;
            for node in [("n1", rack), ("n2", true)] {
                if node.1 {
                    cluster.label(node.0, "rack", "1");
                }
            }
            if asn {
                cluster.label("n1", "as", "65010");
                cluster.label("n3", "as", "x");
            }
            if secret {
                cluster.secret("tor", "md5", "x");
            }
            if let Some(spec) = configuration {
                cluster.add("BGPConfiguration", "default", &spec);
            }
            let all = [
                ("BGPPeer", peers),
                ("BGPPolicy", policies),
                ("IPPool", pools),
                ("IPReservation", reservations),
            ];
            for (kind, list) in all {
                for (name, day, spec) in list {
                    cluster.add_at(kind, name, &format!("2026-11-0{day}T00:00:00Z"), &spec);
                }
            }
            let mut taken = Vec::new();
            for (pool, block) in blocks {
                // A node has a block once.
                if !taken.contains(&block) {
                    taken.push(block);
                    cluster.block(pool, block);
                }
            }
            cluster
        },
    )
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster")
            .field("objects", &self.objects)
            .field("blocks", &self.blocks)
            .finish()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn the_text_passes_and_what_is_left_out_has_a_reason(cluster in cluster()) {
        // That it passes is seen to by the cluster itself.
        let wanted = cluster.wanted();
        prop_assert!(wanted.faults.is_empty(), "{:?}", wanted.faults);
        let has = |table: &str, name: &str| {
            let lines: Vec<&str> = wanted.text.lines().collect();
            let is_it = |pair: &[&str]| pair[0] == table && pair[1] == format!("name = {name:?}");
            lines.windows(2).any(is_it)
        };
        for (name, peer) in &cluster.objects.peers {
            let everywhere = peer.spec.node_selector.is_none() && peer.spec.peer_ip.is_some();
            if everywhere && !has("[[peers]]", name) {
                prop_assert!(!problems(&wanted, "BGPPeer", name).is_empty(), "{name} of\n{}", wanted.text);
            }
        }
        for name in cluster.objects.policies.keys() {
            if !has("[[policies]]", name) {
                prop_assert!(!problems(&wanted, "BGPPolicy", name).is_empty(), "{name} of\n{}", wanted.text);
            }
        }
        for (name, pool) in &cluster.objects.pools {
            let claimed = wanted.pools.iter().any(|pool| pool.name == *name);
            if pool.spec.node_selector.is_none() && !claimed {
                prop_assert!(!problems(&wanted, "IPPool", name).is_empty(), "{name} of\n{}", wanted.text);
            }
        }
    }

    #[test]
    fn both_ends_of_a_mesh_session_have_it(cluster in cluster()) {
        let mut cluster = cluster;
        cluster.objects.peers.clear();
        let [near, far] = ["n1", "n2"].map(|node| cluster.peers_of(node));
        let other = |peers: &[String], node: &str| {
            peers.iter().any(|name| ["node:", "reflector:"].iter().any(|kind| **name == format!("{kind}{node}")))
        };
        prop_assert_eq!(other(&near, "n2"), other(&far, "n1"), "{:?} {:?}", near, far);
    }
}
