//! What this node knows of the cluster: the newest of everything that it watches.
//!
//! It goes to disk as JSON, so that a daemon which starts while the API server is down does what it did
//! before. It holds what the node acts on and nothing else: of other nodes their labels and addresses,
//! of namespaces their labels, of pods only this node's.

use std::{collections::BTreeMap, net::IpAddr};

use bgp::prefix::Prefix;
use routed_api::{BGPConfiguration, BGPPeer, BGPPolicy, IPPool, IPReservation};
use serde::{Deserialize, Serialize};

/// What of the cluster this node knows. Keys are names; of what has a namespace, `namespace/name`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Objects {
    /// Every pool.
    pub pools: BTreeMap<String, IPPool>,
    /// Every reservation.
    pub reservations: BTreeMap<String, IPReservation>,
    /// The one that is named `default`.
    pub configuration: Option<BGPConfiguration>,
    /// Every peer, of other nodes too.
    pub peers: BTreeMap<String, BGPPeer>,
    /// Every policy.
    pub policies: BTreeMap<String, BGPPolicy>,
    /// Every node, this one too.
    pub nodes: BTreeMap<String, Node>,
    /// Every namespace.
    pub namespaces: BTreeMap<String, Meta>,
    /// The pods of this node.
    pub pods: BTreeMap<String, Pod>,
    /// Those of the daemon's own namespace that peers name for passwords: what stands under each key.
    pub secrets: BTreeMap<String, BTreeMap<String, Vec<u8>>>,
}

/// Labels, and those annotations that are ours (`slash32.dev/…`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Meta {
    /// Every label.
    pub labels: BTreeMap<String, String>,
    /// Ours alone.
    pub annotations: BTreeMap<String, String>,
}

/// A node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Node {
    /// `metadata.uid`: one of the same name that came later is another.
    pub uid: String,
    /// Every label.
    pub labels: BTreeMap<String, String>,
    /// Ours alone.
    pub annotations: BTreeMap<String, String>,
    /// `status.addresses` of type InternalIP, in their order.
    pub addresses: Vec<IpAddr>,
    /// `spec.podCIDRs`.
    #[serde(with = "texts")]
    pub pod_cidrs: Vec<Prefix>,
    /// `spec.unschedulable`: it is cordoned.
    pub unschedulable: bool,
}

impl Node {
    /// Others are to prefer other ways: it is cordoned, and [`DRAIN`] does not say otherwise.
    pub(crate) fn is_drained(&self) -> bool {
        match self.annotations.get(DRAIN).map(String::as_str) {
            Some("true") => true,
            Some("false") => false,
            Some(_) | None => self.unschedulable,
        }
    }
}

/// Annotation of a node: `true` drains it though it is not cordoned, `false` keeps a cordoned one from it.
pub const DRAIN: &str = "slash32.dev/drain";

/// A pod of this node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Pod {
    /// `metadata.uid`.
    pub uid: String,
    /// Every label.
    pub labels: BTreeMap<String, String>,
    /// Ours alone.
    pub annotations: BTreeMap<String, String>,
    /// `spec.nodeName`.
    pub node: String,
}

/// Prefixes as text, on disk.
mod texts {
    use bgp::prefix::Prefix;
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(prefixes: &[Prefix], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(prefixes.iter().map(ToString::to_string))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Prefix>, D::Error> {
        let texts = Vec::<String>::deserialize(from)?;
        let prefix = |text: String| {
            text.parse().map_err(|_| D::Error::custom(format!("{text:?} is no prefix")))
        };
        texts.into_iter().map(prefix).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_to_disk_comes_back_the_same() {
        let node = Node {
            addresses: vec!["10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap()],
            pod_cidrs: vec!["10.244.1.0/24".parse().unwrap(), "fd00:10::/64".parse().unwrap()],
            ..Node::default()
        };
        let secret = BTreeMap::from([("key".to_owned(), vec![0, 255])]);
        let objects = Objects {
            nodes: BTreeMap::from([("n1".to_owned(), node)]),
            secrets: BTreeMap::from([("tor".to_owned(), secret)]),
            ..Objects::default()
        };
        let text = serde_json::to_string(&objects).unwrap();
        assert_eq!(serde_json::from_str::<Objects>(&text).unwrap(), objects);
    }

    #[test]
    fn what_an_older_daemon_did_not_know_is_empty() {
        let objects: Objects = serde_json::from_str(r#"{"nodes": {"n1": {}}}"#).unwrap();
        assert_eq!(objects.nodes["n1"], Node::default());
        let wrong = serde_json::from_str::<Objects>(r#"{"nodes": {"n1": {"pod_cidrs": ["x"]}}}"#);
        assert!(wrong.is_err());
    }
}
