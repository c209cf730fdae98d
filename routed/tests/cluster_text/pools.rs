//! IPPools with the node's blocks, IPReservations, and the node's own ranges.

use bgp::prefix::Prefix;
use routed::config::Pods;
use routed_cluster::Block;
use routed_core::claims;
use serde_json::json;

use super::cluster::Cluster;

fn prefixes(texts: &[&str]) -> Vec<Prefix> {
    texts.iter().map(|text| text.parse().expect("a prefix")).collect()
}

fn pods(cluster: &Cluster) -> Pods {
    cluster.config().pods.expect("a node with pods")
}

#[test]
fn blocks_become_ranges_of_their_pools() {
    let mut cluster = Cluster::new();
    cluster.add("IPPool", "four", &json!({"cidr": "10.244.0.0/16", "blockSize": 27}));
    cluster.add("IPPool", "six", &json!({"cidr": "fd00:10::/64", "disableBGPExport": true}));
    cluster.add("IPPool", "empty", &json!({"cidr": "10.245.0.0/16"}));
    for (pool, block) in
        [("four", "10.244.3.0/27"), ("four", "10.244.9.32/27"), ("six", "fd00:10::40/122")]
    {
        cluster.block(pool, block);
    }
    let pools = pods(&cluster).ipam.pools;
    let pools: Vec<_> = pools.iter().filter(|pool| !pool.ranges.is_empty()).collect();
    assert_eq!(pools[0].ranges, prefixes(&["10.244.3.0/27", "10.244.9.32/27"]));
    assert_eq!((&*pools[0].name, pools[0].block_ipv4, pools[0].announce), ("four", 27, true));
    assert_eq!(pools[1].ranges, prefixes(&["fd00:10::40/122"]));
    assert_eq!((&*pools[1].name, pools[1].block_ipv6, pools[1].announce), ("six", 122, false));
}

#[test]
fn the_node_claims_of_pools_that_are_for_it_and_not_disabled() {
    let mut cluster = Cluster::new();
    cluster.add("IPPool", "four", &json!({"cidr": "10.244.0.0/16"}));
    cluster.add("IPPool", "six", &json!({"cidr": "fd00:10::/64", "blockSize": 120}));
    cluster.add("IPPool", "old", &json!({"cidr": "10.245.0.0/16", "disabled": true}));
    let rack = json!({"matchLabels": {"rack": "2"}});
    cluster.add("IPPool", "theirs", &json!({"cidr": "10.246.0.0/16", "nodeSelector": rack}));
    let pool = |name: &str, cidr: &str, block, spare| claims::Pool {
        name: name.to_owned(),
        cidr: cidr.parse().unwrap(),
        block,
        spare,
    };
    let ours = [
        pool("four", "10.244.0.0/16", 26, 1),
        pool("old", "10.245.0.0/16", 26, 0),
        pool("six", "fd00:10::/64", 120, 1),
    ];
    assert_eq!(cluster.wanted().pools, ours);
    cluster.label("n1", "rack", "2");
    assert_eq!(cluster.wanted().pools.len(), 4);
}

#[test]
fn of_two_pools_that_overlap_the_older_one_counts() {
    let mut cluster = Cluster::new();
    cluster.add("IPPool", "b", &json!({"cidr": "10.244.0.0/16"}));
    cluster.add("IPPool", "a", &json!({"cidr": "10.244.128.0/17"}));
    let words = ["10.244.0.0/16", "IPPool/a", "which is older"];
    cluster.assert_problem(("IPPool", "b"), "Overlap", &words);
    cluster.add_at("IPPool", "b", "2026-10-01T00:00:00Z", &json!({"cidr": "10.244.0.0/16"}));
    cluster.assert_problem(("IPPool", "a"), "Overlap", &["IPPool/b"]);
    let names: Vec<_> = cluster.wanted().pools.into_iter().map(|pool| pool.name).collect();
    assert_eq!(names, ["b"]);
    // What pods have addresses of stays, whatever became of the pool.
    cluster.block("a", "10.244.200.0/26");
    cluster.block("gone", "10.9.0.0/26");
    assert_eq!(pods(&cluster).prefixes, prefixes(&["10.244.200.0/26", "10.9.0.0/26"]));
}

#[test]
fn pools_that_are_wrong_past_the_schema_are_not_claimed_of() {
    for (spec, words) in [
        (json!({"cidr": "10.244.0.1/16"}), ["spec.cidr: ", "10.244.0.1/16"]),
        (json!({"cidr": "10.244.0.0/28"}), ["spec.cidr: ", "smaller than one block"]),
        (json!({"cidr": "10.244.0.0/16", "blockSize": 8}), ["spec.blockSize: ", "16 to 32"]),
        (json!({"cidr": "169.254.0.0/16"}), ["spec.cidr: ", "link-local"]),
    ] {
        let mut cluster = Cluster::new();
        cluster.add("IPPool", "p", &spec);
        cluster.assert_problem(("IPPool", "p"), "Invalid", &words);
        assert!(cluster.wanted().pools.is_empty());
    }
}

#[test]
fn a_block_that_cannot_be_a_range_costs_that_block_alone() {
    let mut cluster = Cluster::new();
    cluster.add("IPPool", "p", &json!({"cidr": "10.244.0.0/16"}));
    for block in ["10.244.1.0/26", "10.244.1.0/27", "10.244.2.0/26"] {
        cluster.block("p", block);
    }
    assert_eq!(pods(&cluster).prefixes, prefixes(&["10.244.1.0/26", "10.244.2.0/26"]));
    cluster.assert_problem(("IPPool", "p"), "Invalid", &["spec.cidr: ", "10.244.1.0/27"]);
}

#[test]
fn reservations_hold_in_the_blocks_of_this_node() {
    let mut cluster = Cluster::new();
    cluster.add("IPPool", "p", &json!({"cidr": "10.244.0.0/16"}));
    cluster.block("p", "10.244.1.0/26");
    cluster.block("p", "10.244.2.0/26");
    cluster.add("IPReservation", "wide", &json!({"reservedCIDRs": ["10.244.2.0/24"]}));
    let some = json!({"reservedCIDRs": ["10.244.1.10", "10.244.9.1", "10.244.1.16/28", "x"]});
    cluster.add("IPReservation", "some", &some);
    let reserved = prefixes(&["10.244.1.10/32", "10.244.1.16/28", "10.244.2.0/26"]);
    assert_eq!(pods(&cluster).ipam.reserved, reserved);
    assert!(pods(&cluster).ipam.floating.is_empty(), "nobody owns them");
    cluster.assert_problem(
        ("IPReservation", "some"),
        "Invalid",
        &["spec.reservedCIDRs: ", "\"x\""],
    );
    cluster.base = "[pods]\nreserved = [\"10.244.1.1\"]\n".to_owned();
    assert_eq!(pods(&cluster).ipam.reserved, prefixes(&["10.244.1.1/32"]));
    cluster.assert_problem(("IPReservation", "wide"), "Overridden", &["remove it there"]);
}

#[test]
fn without_a_pool_for_it_the_node_has_its_own_ranges() {
    let mut cluster = Cluster::new();
    let ranges = prefixes(&["10.244.1.0/24", "fd00:10:1::/64", "169.254.0.0/24"]);
    cluster.objects.nodes.get_mut("n1").unwrap().pod_cidrs = ranges;
    assert_eq!(pods(&cluster).prefixes, prefixes(&["10.244.1.0/24", "fd00:10:1::/64"]));
    cluster.assert_problem(("Node", "n1"), "Invalid", &["spec.podCIDRs: ", "169.254.0.0/24"]);
    let rack = json!({"matchLabels": {"rack": "2"}});
    cluster.add("IPPool", "theirs", &json!({"cidr": "10.246.0.0/16", "nodeSelector": rack}));
    assert_eq!(pods(&cluster).prefixes.len(), 2, "a pool of other nodes changes nothing");
    cluster.add("IPPool", "ours", &json!({"cidr": "10.247.0.0/16"}));
    assert!(cluster.config().pods.is_none(), "its blocks are still to come");
}

#[test]
fn nat_is_in_force_or_the_pool_says_that_it_is_not() {
    let mut cluster = Cluster::new();
    cluster.add("IPPool", "p", &json!({"cidr": "10.244.0.0/16", "natOutgoing": true}));
    cluster.add("IPPool", "q", &json!({"cidr": "fd00:10::/64"}));
    cluster.block("p", "10.244.1.0/26");
    cluster.block("gone", "10.9.0.0/26");
    let text = cluster.wanted().text;
    let all = "cluster_ranges = [\"10.244.0.0/16\", \"fd00:10::/64\", \"10.9.0.0/26\"]";
    let in_force = text.contains("nat_outgoing = true") && text.contains(all);
    let problems = cluster.problems("IPPool", "p");
    let told = problems.iter().any(|problem| problem.message.starts_with("spec.natOutgoing: "));
    assert!(in_force != told, "{problems:?}\n{text}");
    assert_eq!(pods(&cluster).prefixes, prefixes(&["10.244.1.0/26", "10.9.0.0/26"]));
}

#[test]
fn a_reflector_has_no_pods() {
    let mut cluster = Cluster::new();
    cluster.base = "[node]\nmode = \"speaker\"\n".to_owned();
    cluster.add("IPPool", "p", &json!({"cidr": "10.244.0.0/16"}));
    cluster.block("p", "10.244.1.0/26");
    let wanted = cluster.wanted();
    assert!(wanted.pools.is_empty() && cluster.config().pods.is_none());
}

#[test]
fn addresses_with_an_owner_follow_their_pod_unless_it_has_moved_on() {
    let mut cluster = Cluster::new();
    cluster.add("IPPool", "p", &json!({"cidr": "10.244.0.0/16", "natOutgoing": true}));
    cluster.block("p", "10.244.1.0/26");
    let owner = json!({"namespace": "db", "statefulSet": "postgres"});
    let reserved = ["10.244.1.10", "10.244.9.1", "10.244.9.2", "192.0.2.1"];
    let spec = json!({"reservedCIDRs": reserved, "owner": owner});
    cluster.add("IPReservation", "postgres", &spec);
    let both = prefixes(&["10.244.9.1/32", "10.244.9.2/32"]);
    assert_eq!(pods(&cluster).ipam.floating, both);
    let sources = pods(&cluster).nat.sources;
    assert!(both.iter().all(|address| sources.contains(address)), "{sources:?}");
    cluster.moved.insert("10.244.9.1".parse().unwrap());
    assert_eq!(pods(&cluster).ipam.floating, prefixes(&["10.244.9.2/32"]));
    // Without a block of its own the node has them all the same.
    cluster.blocks.clear();
    cluster.block("other", "10.9.0.0/26");
    let pods = pods(&cluster);
    assert!(pods.nat.sources.contains(&both[1]), "{:?}", pods.nat);
}

#[test]
fn a_block_may_be_a_single_address() {
    let mut cluster = Cluster::new();
    cluster.base = "[kubernetes]\n".to_owned();
    cluster.add("IPPool", "one", &json!({"cidr": "10.244.0.0/28", "blockSize": 32}));
    cluster.add("IPPool", "two", &json!({"cidr": "10.245.0.0/31", "blockSize": 31}));
    cluster.add("IPPool", "six", &json!({"cidr": "fd00:10::/120", "blockSize": 128}));
    assert_eq!(cluster.wanted().pools.len(), 3);
    cluster.block("one", "10.244.0.7/32");
    cluster.block("two", "10.245.0.0/31");
    cluster.block("six", "fd00:10::9/128");
    let problems = cluster.wanted().problems;
    assert!(problems.values().all(Vec::is_empty), "{problems:#?}");
    let ranges = prefixes(&["10.244.0.7/32", "fd00:10::9/128", "10.245.0.0/31"]);
    assert_eq!(pods(&cluster).prefixes, ranges);
}

#[test]
fn of_a_lost_block_pods_addresses_are_announced_unless_the_pool_is_not() {
    let mut cluster = Cluster::new();
    cluster.add("IPPool", "p", &json!({"cidr": "10.244.0.0/16"}));
    cluster.add("IPPool", "quiet", &json!({"cidr": "10.245.0.0/16", "disableBGPExport": true}));
    cluster.block("p", "10.244.1.0/26");
    for (pool, block) in
        [("p", "10.244.2.0/26"), ("quiet", "10.245.2.0/26"), ("gone", "10.9.0.0/26")]
    {
        cluster.lost.push(Block { prefix: block.parse().unwrap(), pool: pool.to_owned() });
    }
    let pods = pods(&cluster);
    assert_eq!(pods.ipam.lost, prefixes(&["10.244.2.0/26", "10.9.0.0/26"]));
    assert_eq!(pods.prefixes, prefixes(&["10.244.1.0/26"]));
}
