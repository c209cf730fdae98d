//! The RPC between plugin and daemon: one request and one answer per connection of a unix
//! stream socket.
//!
//! Each message is a 4-octet big-endian length and that many octets of JSON. A request that
//! needs a network namespace carries its file descriptor as SCM_RIGHTS with the first octet.
//! The length is at most [`MAX_MESSAGE`]: a broken caller cannot make the other side allocate.

use std::{collections::BTreeMap, net::IpAddr};

use serde::{Deserialize, Serialize};

use crate::cni::{AddResult, Error};

/// Where the daemon listens unless configured otherwise.
pub const DEFAULT_SOCKET: &str = "/run/slash32/cni.sock";
/// Largest message, in octets. GC lists every attachment of a node (at ~150 octets each).
pub const MAX_MESSAGE: usize = 1 << 20;

/// What a runtime asks, as the plugin passes it on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "UPPERCASE")]
pub enum Request {
    /// Attach a pod. Comes with the namespace's descriptor.
    Add(Attach),
    /// Detach it. The descriptor comes along if the namespace is still there.
    Del(AttachmentId),
    /// Compare what ADD made with what is there. Comes with the namespace's descriptor.
    Check(Check),
    /// Can ADD be served?
    Status,
    /// Remove every attachment of this network that is not listed.
    Gc(Gc),
}

/// Names one attachment: unique per network, container and interface.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AttachmentId {
    /// `name` of the network configuration.
    pub network: String,
    /// `CNI_CONTAINERID`.
    pub container_id: String,
    /// `CNI_IFNAME`.
    pub ifname: String,
}

/// What ADD needs to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attach {
    /// Which attachment.
    pub id: AttachmentId,
    /// `CNI_NETNS` as given, for messages and for `sandbox` in the result.
    pub netns: String,
    /// `CNI_ARGS`, such as `K8S_POD_NAMESPACE` and `K8S_POD_NAME`.
    #[serde(default)]
    pub args: BTreeMap<String, String>,
    /// Requested addresses (`ips` capability or `CNI_ARGS` `IP`), at most one a family.
    #[serde(default)]
    pub ips: Vec<IpAddr>,
    /// Requested MAC of the pod's end (`mac` capability), six octets.
    #[serde(default)]
    pub mac: Option<[u8; 6]>,
    /// `mtu` of the network configuration, in octets.
    #[serde(default)]
    pub mtu: Option<u32>,
    /// Whether the pod gets a default route; false for secondary networks.
    #[serde(default = "yes")]
    pub default_route: bool,
}

/// What CHECK needs to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// Which attachment.
    pub id: AttachmentId,
    /// `CNI_NETNS` as given.
    pub netns: String,
    /// `prevResult` of the configuration.
    pub prev_result: AddResult,
}

/// What GC needs to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gc {
    /// `name` of the network configuration.
    pub network: String,
    /// Attachments that are still valid: container id and interface name.
    pub valid: Vec<(String, String)>,
}

/// What the daemon answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Response {
    /// ADD succeeded.
    Added(AddResult),
    /// Any other verb succeeded.
    Done,
    /// It failed; this is what the runtime is to be told.
    Error(Error),
}

const fn yes() -> bool {
    true
}
