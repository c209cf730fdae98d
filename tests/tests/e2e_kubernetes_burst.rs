//! A node that starts empty is given as many pods at once as a large one takes: it claims block after
//! block while their calls wait, and every pod has an address of its own in the end.
//!
//! Needs the binaries of the workspace, BIRD 2, iproute2 and the programs of the API server; root.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use bgp::prefix::Prefix;
use plugin::cni::code;
use serde_json::{Value, json};
use tests::{
    fabric::{eventually, runtime::Call},
    rack::{Rack, addresses},
};

/// Blocks of 14 addresses for pods each, so that all of them need 22.
const POOL: &str = "apiVersion: slash32.dev/v1alpha1\nkind: IPPool\nmetadata: {name: small}\n\
                    spec: {cidr: 10.244.0.0/20, blockSize: 28}\n";
const PODS: usize = 300;
/// Calls at once. A kubelet starts each pod in a worker of its own, and its runtime bounds them.
const CALLERS: usize = 48;
/// A kubelet's is longer; each pause costs the test as much.
const PAUSE: Duration = Duration::from_millis(200);
/// Of all calls of one kind, only against hanging.
const PATIENCE: Duration = Duration::from_secs(240);

#[test]
fn three_hundred_pods_at_once_get_an_address_each_of_blocks_that_are_the_nodes() {
    let rack = Rack::up(POOL);
    let _ = rack.tor_has("a block from each", |seen| seen.iter().all(|of| !of.is_empty()));
    assert!(claimed(&rack, "node1").len() < 4, "a node claims before it needs");

    let uids = create_pods(&rack);
    make_namespaces(&rack, uids.keys());
    let (given, delayed) = add_all(&rack, &uids);
    let distinct: BTreeSet<IpAddr> = given.values().copied().collect();
    assert_eq!((given.len(), distinct.len()), (PODS, PODS));

    // Whose the blocks are, the objects say; no pod has an address outside of them.
    let full = settled(&rack);
    assert!(full.len() >= PODS.div_ceil(14), "{full:?}");
    for (pod, address) in &given {
        assert!(full.iter().any(|block| block.contains(*address)), "{pod}: {address}: {full:?}");
    }
    let others = claimed(&rack, "node2");
    assert!(full.is_disjoint(&others), "{full:?} {others:?}");
    assert_eq!(rack.show("node1")["pods"], PODS);
    assert_eq!(host_routes(&rack), PODS);
    eprintln!("{} blocks; {delayed} calls were told to try again", full.len());
    // Some of all blocks, from the other side of the fabric.
    let ends = [given.values().min(), given.values().max()].map(|end| end.expect("300"));
    for address in ends.map(ToString::to_string) {
        let ping = ["ping", "-c", "1", "-W", "1", &address];
        let look = || rack.fabric.exec("tor1", &ping).expect("testbed starts");
        eventually("the ToR reaches it", look, |output| output.status.success());
    }

    each(uids.keys(), |pod| {
        assert!(Call::new("node1", "DEL", pod).run(&rack.fabric).succeeded, "{pod}");
    });
    eventually(
        "nobody has an address any more",
        || rack.fabric.ask_json("node1", &["routed", "show", "leases", "-o", "json"]),
        |leases| {
            // Those that somebody had are left alone for a while.
            leases.as_array().is_some_and(|all| all.iter().all(|it| it["container_id"].is_null()))
        },
    );
    eventually("its routes are gone", || host_routes(&rack), |count| *count == 0);
    // Empty blocks are kept for as long as a rolling update takes, and announced meanwhile.
    assert_eq!(settled(&rack), full);
}

/// The blocks of a node, as the API server has them.
fn claimed(rack: &Rack, node: &str) -> BTreeSet<Prefix> {
    let form = format!(
        "jsonpath={{range .items[?(@.spec.node==\"{node}\")]}}{{.spec.cidr}}{{\"\\n\"}}{{end}}"
    );
    let list = rack.cluster.get(&["get", "ipblocks", "-o", &form]);
    list.lines().map(|cidr| cidr.parse().expect("a prefix")).collect()
}

/// The blocks of the first node once the API server, the ToR and the node agree about them.
fn settled(rack: &Rack) -> BTreeSet<Prefix> {
    let look = || {
        let [from_tor, _] = rack.tor_has("any", |_| true);
        let known = rack.show("node1")["claims"].clone();
        let parse = |text: &str| -> Prefix { text.parse().expect("a prefix") };
        let known = known.as_array().into_iter().flatten();
        let known = known.map(|claim| parse(claim["block"].as_str().unwrap_or_default()));
        let from_tor = from_tor.iter().map(|text| parse(text));
        let from_tor: BTreeSet<_> = from_tor.collect();
        (claimed(rack, "node1"), from_tor, known.collect::<BTreeSet<_>>())
    };
    let agree = |(objects, from_tor, known): &(BTreeSet<_>, BTreeSet<_>, BTreeSet<_>)| {
        objects == from_tor && objects == known
    };
    eventually("all agree about the blocks", look, agree).0
}

/// The objects of all pods, as one scheduler binds them; their UIDs by name.
fn create_pods(rack: &Rack) -> BTreeMap<String, String> {
    let pod = |number: usize| {
        json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": format!("p{number:03}"), "namespace": "default"},
            "spec": {"nodeName": "node1", "containers": [{"name": "c", "image": "i"}]}})
    };
    let items: Vec<Value> = (0..PODS).map(pod).collect();
    let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
    let said = rack.cluster.create(&list.to_string());
    assert!(said.good, "{}", said.err);
    let form = "jsonpath={range .items[*]}{.metadata.name} {.metadata.uid}{\"\\n\"}{end}";
    let text = rack.cluster.get(&["get", "pods", "-o", form]);
    let pair = |line: &str| line.split_once(' ').map(|(a, b)| (a.to_owned(), b.to_owned()));
    let uids: BTreeMap<_, _> = text.lines().filter_map(pair).collect();
    assert_eq!(uids.len(), PODS);
    uids
}

/// How many pods the kernel of the first node leads to.
fn host_routes(rack: &Rack) -> usize {
    let text = rack.fabric.ask("node1", &["ip", "-j", "route", "show", "table", "all"]);
    let routes: Vec<Value> = serde_json::from_str(&text).expect("JSON");
    let is_pod = |route: &&Value| {
        let address = route["dst"].as_str().and_then(|text| text.parse::<IpAddr>().ok());
        let pool: Prefix = "10.244.0.0/20".parse().expect("a prefix");
        address.is_some_and(|address| pool.contains(address)) && route["type"].is_null()
    };
    routes.iter().filter(is_pod).count()
}

/// What the runtime does before: one call of the lab for all, which costs a process each.
fn make_namespaces<'a>(rack: &Rack, pods: impl Iterator<Item = &'a String>) {
    let names: Vec<_> = pods.map(String::as_str).collect();
    let script = format!(
        "set -e; for name in {}; do ip netns add $name; ip -n $name link set lo up; done",
        names.join(" ")
    );
    let _ = rack.fabric.ask("node1", &["sh", "-c", &script]);
}

/// Adds all pods, as often as it takes where a call is told to try again: the address of each, and how
/// many calls were told so.
fn add_all(rack: &Rack, uids: &BTreeMap<String, String>) -> (BTreeMap<String, IpAddr>, usize) {
    let (given, delayed) = (Mutex::new(BTreeMap::new()), AtomicUsize::new(0));
    let begun = Instant::now();
    each(uids.keys(), |pod| {
        loop {
            let outcome = rack.add_again("node1", pod, &uids[pod]);
            if outcome.succeeded {
                let addresses = addresses(&outcome.result());
                assert_eq!(addresses.len(), 1, "{pod}: {addresses:?}");
                given.lock().expect("no caller panics").insert(pod.clone(), addresses[0]);
                break;
            }
            assert!(begun.elapsed() < PATIENCE, "{pod}: {:#}", outcome.document);
            let _ = outcome.refusal(code::TRY_AGAIN);
            delayed.fetch_add(1, Ordering::Relaxed);
            thread::sleep(PAUSE);
        }
    });
    eprintln!("{PODS} pods in {:?}", begun.elapsed());
    (given.into_inner().expect("no caller panics"), delayed.into_inner())
}

/// Does something for each pod, many at once.
fn each<'a>(pods: impl Iterator<Item = &'a String> + Send, deed: impl Fn(&String) + Sync) {
    let pods = Mutex::new(pods);
    thread::scope(|scope| {
        for _ in 0..CALLERS {
            scope.spawn(|| {
                let next = || pods.lock().ok()?.next();
                while let Some(pod) = next() {
                    deed(pod);
                }
            });
        }
    });
}
