//! The cluster that is simulated: its objects when the daemon starts, and what changes after that.
//!
//! In: how large it is. Out: objects in a [`Store`]. They are as large as those of real clusters: a Node
//! has labels, conditions and the names of its images, about 8 KiB of which a daemon needs little.

use std::{net::Ipv4Addr, ops::Range, sync::Arc, time::Duration};

use serde_json::{Value, json};
use tokio::time::{MissedTickBehavior, interval};

use super::store::{Object, Store};

/// How large the cluster is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    pub(super) nodes: u32,
    pub(super) pods: u32,
}

/// See the module. Cheap to clone.
#[derive(Clone)]
pub(super) struct World {
    pub(super) store: Arc<Store>,
    size: Size,
}

/// What happens in a second.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rates {
    /// Pods that change.
    pub(super) pods: u32,
    /// Nodes whose kubelet says that it lives, and the same for our daemons.
    pub(super) signs: u32,
}

impl World {
    /// A cluster of its first nodes alone. Node 0 is the one whose daemon is measured; the next two are
    /// reflectors.
    pub(super) fn new(size: Size) -> Self {
        let world = Self { store: Arc::new(Store::new()), size };
        for (path, version, kind) in KINDS {
            world.store.define(path, version, kind);
        }
        world.put(POOLS, pool());
        world.put(CONFIGURATIONS, configuration());
        (0..NAMESPACES).for_each(|number| world.put(SPACES, namespace(number)));
        world.grow(0..FOUNDERS.min(size.nodes));
        world
    }

    /// These nodes join, with their pods.
    pub(super) fn grow(&self, nodes: Range<u32>) {
        for number in nodes.clone() {
            self.put(NODES, node(number));
            self.put(STATUSES, status(number));
            // The daemon claims its own.
            if number > 0 {
                (0..BLOCKS_EACH).for_each(|at| self.put(BLOCKS, block(number, at)));
            }
        }
        for number in (0..self.size.pods).filter(|pod| nodes.contains(&(pod % self.size.nodes))) {
            self.put(PODS, self.pod(number, 0));
        }
    }

    /// All nodes join that are not there from the beginning.
    pub(super) fn grow_up(&self) {
        self.grow(FOUNDERS.min(self.size.nodes)..self.size.nodes);
    }

    fn put(&self, path: &str, object: Object) {
        // Every kind is defined above.
        let _ = self.store.put(path, object);
    }

    fn pod(&self, number: u32, generation: u32) -> Object {
        let key = format!("space-{}/pod-{number}", number % NAMESPACES);
        let (space, name) = key.split_once('/').unwrap_or_default();
        let owner = format!("set-{}", number / 10);
        let metadata = json!({"name": name, "namespace": space, "uid": format!("pod-{number}"),
            "creationTimestamp": CREATED, "generation": generation,
            "labels": {"app": owner, "pod-template-hash": "5d4f8c7b9d", "tier": "backend",
                "app.kubernetes.io/name": owner, "app.kubernetes.io/part-of": "shop"},
            "annotations": {"prometheus.io/scrape": "true", "prometheus.io/port": "9090",
                "checksum/config": "3b1c4f0f1f2c5d8e9a7b6c5d4e3f2a1b0c9d8e7f6a5b4c3d2e1f0a9b8c7d6e5f"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": owner,
                "uid": owner, "controller": true}]});
        let node = node_name(number % self.size.nodes);
        let rest = format!(r#","spec":{{"nodeName":"{node}"}},"status":{{"phase":"Running"}}"#);
        Object::new(&key, &metadata.to_string(), rest).on(&node)
    }

    /// Somebody else is the leader, and stays it.
    pub(super) fn hold_lease(&self, namespace: &str, name: &str, renewed: u32) {
        let metadata = json!({"name": name, "namespace": namespace, "uid": "lease"});
        let time = format!("2026-01-01T00:{:02}:{:02}.000000Z", renewed / 60 % 60, renewed % 60);
        let spec = json!({"holderIdentity": node_name(1), "leaseDurationSeconds": 15,
            "acquireTime": "2026-01-01T00:00:00.000000Z", "renewTime": time, "leaseTransitions": 1});
        let key = format!("{namespace}/{name}");
        self.put(LEASES, Object::new(&key, &metadata.to_string(), format!(r#","spec":{spec}"#)));
    }

    /// Lets time pass in the cluster until it is dropped.
    pub(super) async fn live(self, rates: Rates, leads_elsewhere: bool) {
        let tick = |times: u32| {
            let mut ticks = interval(Duration::from_secs(1) / times.max(1));
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        };
        let (mut pods, mut signs, mut seconds) = (tick(rates.pods), tick(rates.signs), tick(1));
        let (mut at, mut second) = (0_u32, 0);
        loop {
            tokio::select! {
                _ = pods.tick(), if rates.pods > 0 => {
                    at = at.wrapping_add(1);
                    let number = at.wrapping_mul(SCATTER) % self.size.pods.max(1);
                    self.put(PODS, self.pod(number, at));
                }
                _ = signs.tick(), if rates.signs > 0 => {
                    at = at.wrapping_add(1);
                    let number = at.wrapping_mul(SCATTER) % self.size.nodes;
                    self.put(NODES, node(number));
                    self.put(STATUSES, status(number));
                }
                _ = seconds.tick() => {
                    second += 1;
                    self.second(second, leads_elsewhere);
                }
            }
        }
    }

    fn second(&self, second: u32, leads_elsewhere: bool) {
        if leads_elsewhere {
            self.hold_lease(NAMESPACE, LEASE, second);
        }
        // A node joins, and ten seconds later it leaves.
        let number = self.size.nodes + second / 20;
        match second % 20 {
            5 => {
                self.put(NODES, node(number));
                self.put(BLOCKS, block(number, 0));
            }
            15 => {
                // It is there since ten seconds.
                let _ = self.store.remove(NODES, &node_name(number));
                let _ = self.store.remove(BLOCKS, &block_name(number, 0));
            }
            _ => {}
        }
    }
}

/// The address of a node; those of the first ones are on the cable of the arena.
pub(super) fn node_address(number: u32) -> Ipv4Addr {
    match number {
        0 => OWN,
        // The load has these.
        1 | 2 => Ipv4Addr::from(FIRST_LOAD + number),
        number => Ipv4Addr::from(FIRST_NODE + number),
    }
}

pub(super) fn node_name(number: u32) -> String {
    format!("node-{number:05}")
}

fn node(number: u32) -> Object {
    let name = node_name(number);
    let address = node_address(number).to_string();
    let mut labels = json!({"kubernetes.io/hostname": name, "kubernetes.io/arch": "amd64",
        "kubernetes.io/os": "linux", "beta.kubernetes.io/arch": "amd64",
        "beta.kubernetes.io/os": "linux", "node.kubernetes.io/instance-type": "m6.4xlarge",
        "topology.kubernetes.io/region": "eu-west", "topology.kubernetes.io/rack":
        format!("rack-{}", number / 40), "topology.kubernetes.io/zone": "eu-west-1a",
        "node-role.kubernetes.io/worker": ""});
    if let 1 | 2 = number {
        labels[REFLECTOR] = json!("true");
    }
    let annotations = json!({"node.alpha.kubernetes.io/ttl": "30",
        "volumes.kubernetes.io/controller-managed-attach-detach": "true",
        "csi.volume.kubernetes.io/nodeid": format!("{{\"ebs.csi.aws.com\":\"{name}\"}}")});
    let metadata = json!({"name": name, "uid": format!("uid-of-{name}"), "labels": labels,
        "annotations": annotations, "creationTimestamp": CREATED});
    let image = |at: u32| {
        json!({"names": [format!("registry.example.com/shop/service-{at}@sha256:{:064x}", at),
            format!("registry.example.com/shop/service-{at}:v1.{at}.0")], "sizeBytes": 52_428_800 + at})
    };
    let condition = |kind: &str, status: &str| {
        json!({"type": kind, "status": status, "lastHeartbeatTime": CREATED,
            "lastTransitionTime": CREATED, "reason": "KubeletIsFine",
            "message": "the kubelet says that this condition is as it should be"})
    };
    let amounts = json!({"cpu": "16", "memory": "65793560Ki", "pods": "110",
        "ephemeral-storage": "203056560Ki", "hugepages-1Gi": "0", "hugepages-2Mi": "0"});
    let status = json!({"addresses": [{"type": "InternalIP", "address": address},
            {"type": "Hostname", "address": name}],
        "capacity": amounts, "allocatable": amounts,
        "conditions": [condition("MemoryPressure", "False"), condition("DiskPressure", "False"),
            condition("PIDPressure", "False"), condition("Ready", "True")],
        "nodeInfo": {"machineID": name, "systemUUID": name, "bootID": name, "kernelVersion": "6.12.0",
            "osImage": "Debian GNU/Linux 13", "containerRuntimeVersion": "containerd://2.1.0",
            "kubeletVersion": "v1.37.2", "operatingSystem": "linux", "architecture": "amd64"},
        "images": (0..25).map(image).collect::<Vec<Value>>()});
    let rest = format!(r#","spec":{{"podCIDRs":[]}},"status":{status}"#);
    Object::new(&name, &metadata.to_string(), rest)
}

fn status(number: u32) -> Object {
    let name = node_name(number);
    let metadata = json!({"name": name, "uid": format!("status-of-{name}")});
    let session = |peer: u32| {
        json!({"peer": node_name(peer), "address": node_address(peer).to_string(),
            "asNumber": AS, "state": "Established", "since": CREATED, "received": 10_000,
            "accepted": 10_000, "advertised": 2})
    };
    let status = json!({"version": "0.1.0", "asNumber": AS, "sessionCount": 2, "establishedCount": 2,
        "routerID": node_address(number).to_string(), "lastUpdated": CREATED,
        "sessions": [session(1), session(2)]});
    let rest = format!(r#","spec":{{"node":"{name}"}},"status":{status}"#);
    Object::new(&name, &metadata.to_string(), rest)
}

fn namespace(number: u32) -> Object {
    let name = format!("space-{number}");
    let metadata = json!({"name": name, "uid": name, "creationTimestamp": CREATED,
        "labels": {"kubernetes.io/metadata.name": name, "team": format!("team-{}", number % 20)}});
    Object::new(&name, &metadata.to_string(), "")
}

fn pool() -> Object {
    let metadata = json!({"name": "pods", "uid": "pool", "creationTimestamp": CREATED});
    Object::new("pods", &metadata.to_string(), r#","spec":{"cidr":"172.16.0.0/12"}"#)
}

fn configuration() -> Object {
    let metadata = json!({"name": "default", "uid": "configuration", "creationTimestamp": CREATED});
    let spec = json!({"asNumber": AS,
        "routeReflectors": {"nodeSelector": {"matchLabels": {REFLECTOR: "true"}}}});
    Object::new("default", &metadata.to_string(), format!(r#","spec":{spec}"#))
}

fn block_name(number: u32, at: u32) -> String {
    block_cidr(number, at).replace(['.', '/'], "-")
}

fn block_cidr(number: u32, at: u32) -> String {
    let block = number * BLOCKS_EACH + at;
    format!("{}/26", Ipv4Addr::from(FIRST_BLOCK + 64 * block))
}

fn block(number: u32, at: u32) -> Object {
    let (name, node) = (block_name(number, at), node_name(number));
    let metadata =
        json!({"name": name, "uid": format!("block-{name}"), "creationTimestamp": CREATED});
    let spec = json!({"cidr": block_cidr(number, at), "pool": "pods", "node": node});
    Object::new(&name, &metadata.to_string(), format!(r#","spec":{spec}"#)).on(&node)
}

/// Where the daemon looks for the Lease of the leader, and Secrets.
pub(super) const NAMESPACE: &str = "slash32-system";
const LEASE: &str = "slash32-leader";
/// Nodes that are there from the beginning.
const FOUNDERS: u32 = 3;
/// Of every node.
pub(super) const AS: u32 = 64_512;
/// Blocks that a node has: one in use, one to spare.
pub(super) const BLOCKS_EACH: u32 = 2;
const REFLECTOR: &str = "slash32.dev/reflector";
const NAMESPACES: u32 = 200;
const CREATED: &str = "2026-01-01T00:00:00Z";
/// Of the node that is measured: the speaker's end of the cable.
const OWN: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);
/// 10.99.1.0.
const FIRST_LOAD: u32 = 0x0a63_0100;
/// 10.99.64.0.
const FIRST_NODE: u32 = 0x0a63_4000;
/// 172.16.0.0.
const FIRST_BLOCK: u32 = 0xac10_0000;
/// Odd, and no factor of anything here: what changes next is somewhere else.
const SCATTER: u32 = 2_654_435_761;

const NODES: &str = "/api/v1/nodes";
const PODS: &str = "/api/v1/pods";
const SPACES: &str = "/api/v1/namespaces";
const POOLS: &str = "/apis/slash32.dev/v1alpha1/ippools";
const BLOCKS: &str = "/apis/slash32.dev/v1alpha1/ipblocks";
const CONFIGURATIONS: &str = "/apis/slash32.dev/v1alpha1/bgpconfigurations";
const STATUSES: &str = "/apis/slash32.dev/v1alpha1/bgpnodestatuses";
const LEASES: &str = "/apis/coordination.k8s.io/v1/leases";
const KINDS: [(&str, &str, &str); 14] = [
    (NODES, "v1", "Node"),
    (PODS, "v1", "Pod"),
    (SPACES, "v1", "Namespace"),
    ("/api/v1/secrets", "v1", "Secret"),
    ("/api/v1/events", "v1", "Event"),
    ("/apis/events.k8s.io/v1/events", "events.k8s.io/v1", "Event"),
    (LEASES, "coordination.k8s.io/v1", "Lease"),
    (POOLS, "slash32.dev/v1alpha1", "IPPool"),
    (BLOCKS, "slash32.dev/v1alpha1", "IPBlock"),
    ("/apis/slash32.dev/v1alpha1/ipreservations", "slash32.dev/v1alpha1", "IPReservation"),
    (STATUSES, "slash32.dev/v1alpha1", "BGPNodeStatus"),
    (CONFIGURATIONS, "slash32.dev/v1alpha1", "BGPConfiguration"),
    ("/apis/slash32.dev/v1alpha1/bgppeers", "slash32.dev/v1alpha1", "BGPPeer"),
    ("/apis/slash32.dev/v1alpha1/bgppolicies", "slash32.dev/v1alpha1", "BGPPolicy"),
];
