//! The kinds of objects that are watched, and what is kept of each.
//!
//! In: what the API server says of an object, of which only the named fields are read. Out: what
//! [`Objects`] has of it.

use std::collections::BTreeMap;

use bgp::prefix::Prefix;
use k8s_openapi::ByteString;
use kube::api::ObjectMeta;
use routed_api::{BGPConfiguration, BGPPeer, BGPPolicy, IPBlock, IPPool, IPReservation};
use serde::{Deserialize, de::DeserializeOwned};

use crate::{Meta, Node, Objects, Pod};

/// An object as it comes from the API server.
pub(crate) trait Watched: DeserializeOwned + Clone + Send + 'static {
    /// What is kept of it.
    type Kept: Send + 'static;

    /// Its key in [`Objects`], and its version.
    fn head(&self) -> (String, Option<&str>);

    /// What is kept of it.
    fn keep(self) -> Self::Kept;
}

/// One that stands in [`Objects`].
pub(crate) trait Entry: Watched {
    /// Where.
    fn enter(objects: &mut Objects, key: String, kept: Self::Kept) -> bool;

    /// The same for one that is gone.
    fn remove(objects: &mut Objects, key: &str) -> bool;

    /// Every one there is.
    fn replace(objects: &mut Objects, all: BTreeMap<String, Self::Kept>) -> bool;
}

/// Enters something unless it is there already.
fn enter<T: PartialEq>(map: &mut BTreeMap<String, T>, key: String, kept: T) -> bool {
    if map.get(&key) == Some(&kept) {
        return false;
    }
    map.insert(key, kept);
    true
}

fn replace<T: PartialEq>(old: &mut T, new: T) -> bool {
    let differs = *old != new;
    if differs {
        *old = new;
    }
    differs
}

/// A kind whose objects stand in one map of [`Objects`].
macro_rules! in_map {
    ($kind:ty, $map:ident) => {
        impl Entry for $kind {
            fn enter(objects: &mut Objects, key: String, kept: Self::Kept) -> bool {
                enter(&mut objects.$map, key, kept)
            }

            fn remove(objects: &mut Objects, key: &str) -> bool {
                objects.$map.remove(key).is_some()
            }

            fn replace(objects: &mut Objects, all: BTreeMap<String, Self::Kept>) -> bool {
                replace(&mut objects.$map, all)
            }
        }
    };
}

/// A kind of ours, kept as it is but for its status and the books that the API server keeps.
macro_rules! ours {
    ($kind:ty) => {
        impl Watched for $kind {
            type Kept = Self;

            fn head(&self) -> (String, Option<&str>) {
                let version = self.metadata.resource_version.as_deref();
                (self.metadata.name.clone().unwrap_or_default(), version)
            }

            fn keep(mut self) -> Self {
                self.metadata = slim(self.metadata);
                // What becomes of an object changes nothing of what it asks for.
                self.status = None;
                self
            }
        }
    };
}

fn slim(meta: ObjectMeta) -> ObjectMeta {
    ObjectMeta {
        name: meta.name,
        uid: meta.uid,
        generation: meta.generation,
        labels: meta.labels,
        annotations: meta.annotations.map(ours_of).filter(|ours| !ours.is_empty()),
        creation_timestamp: meta.creation_timestamp,
        deletion_timestamp: meta.deletion_timestamp,
        ..ObjectMeta::default()
    }
}

ours!(IPPool);
ours!(IPReservation);
ours!(BGPConfiguration);
ours!(BGPPeer);
ours!(BGPPolicy);
ours!(IPBlock);
in_map!(IPPool, pools);
in_map!(IPReservation, reservations);
in_map!(BGPPeer, peers);
in_map!(BGPPolicy, policies);

impl Entry for BGPConfiguration {
    fn enter(objects: &mut Objects, _: String, kept: Self) -> bool {
        replace(&mut objects.configuration, Some(kept))
    }

    fn remove(objects: &mut Objects, _: &str) -> bool {
        objects.configuration.take().is_some()
    }

    fn replace(objects: &mut Objects, all: BTreeMap<String, Self>) -> bool {
        replace(&mut objects.configuration, all.into_values().next())
    }
}

/// `metadata`, as far as it is read.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Head {
    name: String,
    namespace: Option<String>,
    #[serde(default)]
    uid: String,
    resource_version: Option<String>,
    deletion_timestamp: Option<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

impl Head {
    /// Whether it is gone as soon as nobody holds it back.
    pub(crate) const fn is_leaving(&self) -> bool {
        self.deletion_timestamp.is_some()
    }

    pub(crate) fn into_uid(self) -> String {
        self.uid
    }

    pub(crate) fn head(&self) -> (String, Option<&str>) {
        let key = self
            .namespace
            .as_ref()
            .map_or_else(|| self.name.clone(), |namespace| format!("{namespace}/{}", self.name));
        (key, self.resource_version.as_deref())
    }
}

fn ours_of(annotations: BTreeMap<String, String>) -> BTreeMap<String, String> {
    annotations.into_iter().filter(|(key, _)| key.starts_with(OURS)).collect()
}

/// A node.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct RawNode {
    metadata: Head,
    #[serde(default)]
    spec: NodeSpec,
    #[serde(default)]
    status: NodeStatus,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct NodeSpec {
    #[serde(default, rename = "podCIDRs")]
    pod_cidrs: Vec<String>,
    #[serde(default)]
    unschedulable: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct NodeStatus {
    #[serde(default)]
    addresses: Vec<NodeAddress>,
}

#[derive(Clone, Debug, Deserialize)]
struct NodeAddress {
    #[serde(rename = "type")]
    kind: String,
    address: String,
}

impl Watched for RawNode {
    type Kept = Node;

    fn head(&self) -> (String, Option<&str>) {
        self.metadata.head()
    }

    /// What is no address or prefix the API server has not let in.
    fn keep(self) -> Node {
        let internal = self.status.addresses.iter().filter(|at| at.kind == "InternalIP");
        let prefixes = self.spec.pod_cidrs.iter();
        Node {
            uid: self.metadata.uid,
            labels: self.metadata.labels,
            annotations: ours_of(self.metadata.annotations),
            addresses: internal.filter_map(|at| at.address.parse().ok()).collect(),
            pod_cidrs: prefixes.filter_map(|text| text.parse::<Prefix>().ok()).collect(),
            unschedulable: self.spec.unschedulable,
        }
    }
}

in_map!(RawNode, nodes);

/// The metadata of a namespace.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct RawNamespace {
    metadata: Head,
}

impl Watched for RawNamespace {
    type Kept = Meta;

    fn head(&self) -> (String, Option<&str>) {
        self.metadata.head()
    }

    fn keep(self) -> Meta {
        let Head { labels, annotations, .. } = self.metadata;
        Meta { labels, annotations: ours_of(annotations) }
    }
}

in_map!(RawNamespace, namespaces);

/// A pod of this node.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct RawPod {
    metadata: Head,
    #[serde(default)]
    spec: PodSpec,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PodSpec {
    #[serde(default)]
    node_name: String,
}

impl Watched for RawPod {
    type Kept = Pod;

    fn head(&self) -> (String, Option<&str>) {
        self.metadata.head()
    }

    fn keep(self) -> Pod {
        let Head { uid, labels, mut annotations, .. } = self.metadata;
        annotations.retain(|key, _| key.starts_with(OURS) || key == MIRROR);
        Pod { uid, labels, annotations, node: self.spec.node_name }
    }
}

in_map!(RawPod, pods);

impl Pod {
    /// Whether a runtime may mean this pod by that `K8S_POD_UID`. Of a static pod it has another one than
    /// the object, which says so.
    #[must_use]
    pub fn has_uid(&self, uid: &str) -> bool {
        self.uid == uid || self.annotations.get(MIRROR).is_some_and(|mirrored| mirrored == uid)
    }
}

/// A Secret with a password.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct RawSecret {
    metadata: Head,
    #[serde(default)]
    data: BTreeMap<String, ByteString>,
}

impl Watched for RawSecret {
    type Kept = BTreeMap<String, Vec<u8>>;

    /// They are all of one namespace.
    fn head(&self) -> (String, Option<&str>) {
        (self.metadata.name.clone(), self.metadata.resource_version.as_deref())
    }

    fn keep(self) -> Self::Kept {
        self.data.into_iter().map(|(key, value)| (key, value.0)).collect()
    }
}

/// On the object that stands for a static pod: the uid that the kubelet gave that.
const MIRROR: &str = "kubernetes.io/config.mirror";
/// Prefix of annotations that are ours.
const OURS: &str = "slash32.dev/";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_that_is_written_is_no_change() {
        let pool = |status: serde_json::Value| -> IPPool {
            serde_json::from_value(serde_json::json!({
                "apiVersion": "slash32.dev/v1alpha1", "kind": "IPPool",
                "metadata": {"name": "pods", "resourceVersion": status.to_string()},
                "spec": {"cidr": "10.244.0.0/16"}, "status": {"conditions": status},
            }))
            .unwrap()
        };
        let accepted = serde_json::json!([{
            "type": "Accepted", "status": "True", "reason": "Accepted", "message": "",
            "lastTransitionTime": "2026-11-01T00:00:00Z",
        }]);
        let mut objects = Objects::default();
        let name = || "pods".to_owned();
        assert!(IPPool::enter(&mut objects, name(), pool(serde_json::json!([])).keep()));
        assert!(!IPPool::enter(&mut objects, name(), pool(accepted).keep()));
    }
}
