//! `BGPNodeStatus`: what one node's speaker and addresses are about.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Name;

/// What one node's BGP is about. Written by the node, at most every few seconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "slash32.dev",
    version = "v1alpha1",
    kind = "BGPNodeStatus",
    plural = "bgpnodestatuses",
    shortname = "bgpns",
    category = "slash32",
    doc = "What the BGP of one node is about. Written by the node itself.",
    status = "BGPNodeStatusStatus",
    derive = "PartialEq",
    validation = Rule::new("self.metadata.name == self.spec.node")
        .message("metadata.name and spec.node must both be the name of the node"),
    printcolumn(name = "AS", type_ = "integer", json_path = ".status.asNumber"),
    printcolumn(name = "RouterID", type_ = "string", json_path = ".status.routerID"),
    printcolumn(name = "Sessions", type_ = "integer", json_path = ".status.sessionCount"),
    printcolumn(name = "Established", type_ = "integer", json_path = ".status.establishedCount"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#
    ),
    printcolumn(name = "Updated", type_ = "date", json_path = ".status.lastUpdated")
)]
#[serde(rename_all = "camelCase")]
pub struct BGPNodeStatusSpec {
    /// The node.
    pub node: Name,
}

/// What the node says of itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct BGPNodeStatusStatus {
    /// Version of its daemon.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Its AS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_number: Option<i64>,
    /// Its BGP identifier.
    #[serde(default, rename = "routerID", skip_serializing_if = "Option::is_none")]
    pub router_id: Option<String>,
    /// When this was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_updated: Option<Time>,
    /// How many sessions it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_count: Option<i32>,
    /// Those that are established.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub established_count: Option<i32>,
    /// Its sessions with peers; of a mesh, those alone that are not established.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub sessions: Vec<Session>,
    /// What this node cannot heed of the cluster's objects.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub problems: Vec<ObjectProblem>,
    /// `Ready`, and what is amiss.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// Why a node does not heed an object, or a part of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObjectProblem {
    /// The object, as in `BGPPeer/tor`.
    pub object: String,
    /// One word for programs, as in `SecretMissing`.
    pub reason: String,
    /// What is wrong, and the remedy.
    pub message: String,
}

/// One session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Session {
    /// Name of the BGPPeer. A session that none asks for has `node:NAME` or `reflector:NAME` with the
    /// name of the other node, or `file:NAME` if it is of the node's own routed.toml.
    pub peer: String,
    /// Address or interface of the peer.
    pub address: String,
    /// AS of the peer, once it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_number: Option<i64>,
    /// State (RFC 4271 section 8.2.2).
    pub state: SessionState,
    /// Since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// Why it is not established, or was not before, with what to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// Routes that the peer has announced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub received: Option<i64>,
    /// Those that import policy has let in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<i64>,
    /// Routes that the peer is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advertised: Option<i64>,
}

/// State of a session (RFC 4271 section 8.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SessionState {
    /// Refuses connections, or waits before the next attempt.
    Idle,
    /// Is connecting.
    Connect,
    /// Waits for the peer to connect.
    Active,
    /// Waits for the peer's OPEN.
    OpenSent,
    /// Waits for the peer's first KEEPALIVE.
    OpenConfirm,
    /// Exchanges routes.
    Established,
}
