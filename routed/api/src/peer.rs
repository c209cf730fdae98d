//! `BGPPeer`: with whom the selected nodes have a session.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Host, LabelKey, Name, Selector};

/// With whom the selected nodes have a session.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "slash32.dev",
    version = "v1alpha1",
    kind = "BGPPeer",
    plural = "bgppeers",
    shortname = "bgpp",
    category = "slash32",
    doc = "With whom the selected nodes have a BGP session.",
    status = "BGPPeerStatus",
    derive = "PartialEq",
    printcolumn(name = "Peer", type_ = "string", json_path = ".spec.peerIP"),
    printcolumn(name = "Interface", type_ = "string", json_path = ".spec.interface"),
    printcolumn(name = "AS", type_ = "integer", json_path = ".spec.asNumber"),
    printcolumn(name = "Sessions", type_ = "integer", json_path = ".status.sessions"),
    printcolumn(name = "Established", type_ = "integer", json_path = ".status.established"),
    printcolumn(
        name = "Accepted",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Accepted")].status"#
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Accepted")].reason"#,
        priority = "1"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("[has(self.peerIP), has(self.interface), has(self.peerSelector)]\
        .filter(x, x).size() == 1")
        .message("say where the peer is in exactly one way: peerIP (an address), interface (the router \
                  on that link), or peerSelector (other nodes)"),
    validation = Rule::new("has(self.peerSelector) || [has(self.asNumber), has(self.remoteAS), \
        has(self.asNumberLabel)].filter(x, x).size() == 1 || (has(self.interface) && \
        !has(self.asNumber) && !has(self.remoteAS) && !has(self.asNumberLabel))")
        .message("say the peer's AS in exactly one way: asNumber (a number), remoteAS (External or \
                  Internal), or asNumberLabel (the key of a label of our node)"),
    validation = Rule::new("!has(self.peerSelector) || (!has(self.asNumber) && !has(self.remoteAS) && \
        !has(self.asNumberLabel))")
        .message("nodes that peerSelector finds have the AS that BGPConfiguration gives them; remove \
                  asNumber, remoteAS and asNumberLabel"),
    validation = Rule::new("!has(self.ttlSecurity) || !has(self.ebgpMultihop)")
        .message("ttlSecurity and ebgpMultihop exclude each other; ttlSecurity alone allows so many \
                  hops, and refuses who is further away"),
    validation = Rule::new("!has(self.interface) || (!has(self.port) && !has(self.ebgpMultihop))")
        .message("a peer that is found by its interface is on that link, at port 179; remove port and \
                  ebgpMultihop"),
    validation = Rule::new("!has(self.keepaliveTimeSeconds) || !has(self.holdTimeSeconds) || \
        self.holdTimeSeconds == 0 || self.keepaliveTimeSeconds < self.holdTimeSeconds")
        .message("must be less than holdTimeSeconds, or the session ends between two keepalives; a \
                  third of it is usual, and the default")
        .field_path(".keepaliveTimeSeconds")
)]
pub struct BGPPeerSpec {
    /// Nodes that have the session; all unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_selector: Option<Selector>,
    /// Address of the peer.
    #[serde(default, rename = "peerIP", skip_serializing_if = "Option::is_none")]
    pub peer_ip: Option<Host>,
    /// Interface of our nodes on whose link the peer is the router (an unnumbered peer).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 15))]
    #[x_kube(validation = Rule::new("self.matches('^[^/:[:space:]]+$') && self != '.' && self != '..'")
        .message("is not the name of an interface; write it as ip link shows it, as in eth1"))]
    pub interface: Option<String>,
    /// Nodes that are the peers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer_selector: Option<Selector>,
    /// TCP port of the peer; default 179.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
    /// AS of the peer: 1 to 4294967294.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 4_294_967_294_u32))]
    #[x_kube(validation = Rule::new("self != 23456 && self != 65535")
        .message("is reserved (RFC 6793, RFC 7300) and no peer's; write the AS that the peer is in, or \
                  remoteAS: External"))]
    pub as_number: Option<u32>,
    /// Any AS but ours, or ours. A peer on an interface is External unless something else is said.
    #[serde(default, rename = "remoteAS", skip_serializing_if = "Option::is_none")]
    pub remote_as: Option<RemoteAs>,
    /// Key of a label of our node that has the peer's AS, as for the ToR of its rack.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_number_label: Option<LabelKey>,
    /// eBGP: pose as this AS to the peer.
    #[serde(default, rename = "localASNumber", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 4_294_967_294_u32))]
    pub local_as_number: Option<u32>,
    /// How often our AS may stand in the peer's paths; default 0.
    #[serde(default, rename = "numAllowedLocalASNumbers", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 10))]
    pub num_allowed_local_as_numbers: Option<u8>,
    /// GTSM (RFC 5082): the peer is at most so many hops away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 254))]
    pub ttl_security: Option<u8>,
    /// TTL of a session with an eBGP peer that is not on a link of ours; default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 255))]
    pub ebgp_multihop: Option<u8>,
    /// Wait for the peer to connect.
    #[serde(default)]
    pub passive: bool,
    /// TCP MD5 password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Password>,
    /// The path is watched by BFD; `bfd: {}` is enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bfd: Option<Bfd>,
    /// Graceful restart (RFC 4724); on unless switched off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub graceful_restart: Option<GracefulRestart>,
    /// Seconds without a message until the session ends; default: of BGPConfiguration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self == 0 || self >= 3")
        .message("must be 0 (off) or at least 3 (RFC 4271 section 4.2)"))]
    #[schemars(range(min = 0, max = 65535))]
    pub hold_time_seconds: Option<u16>,
    /// Seconds between keepalives; default: a third of the hold time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub keepalive_time_seconds: Option<u16>,
    /// Seconds between attempts to connect; default: of BGPConfiguration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub connect_retry_seconds: Option<u16>,
    /// Families that are exchanged; both unless given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 2))]
    pub families: Vec<Family>,
    /// IPv4 prefixes with IPv6 next hops (RFC 8950); default: true with an interface, else false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extended_next_hop: Option<bool>,
    /// iBGP: announce ourselves as next hop of what others announced.
    #[serde(default)]
    pub next_hop_self: bool,
    /// Most routes that it may announce.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_prefixes: Option<MaxPrefixes>,
    /// BGPPolicies, in this order, for what it announces; default: of BGPConfiguration.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub import_policies: Vec<Name>,
    /// The same for what it is told.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub export_policies: Vec<Name>,
}

/// An AS that is known by where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RemoteAs {
    /// Any but ours.
    External,
    /// Ours.
    Internal,
}

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Family {
    /// IPv4 unicast.
    IPv4,
    /// IPv6 unicast.
    IPv6,
}

/// Where a password is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Password {
    /// A key of a Secret in the daemon's own namespace.
    pub secret_key_ref: SecretKey,
}

/// A key of a Secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SecretKey {
    /// Name of the Secret.
    pub name: Name,
    /// The key in it.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// How BFD watches the path (RFC 5880).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Bfd {
    /// How often we want to send, 10 to 60000; default 300.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 10, max = 60000))]
    pub transmit_interval_milliseconds: Option<u16>,
    /// How often the peer may send, 10 to 60000; default 300.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 10, max = 60000))]
    pub receive_interval_milliseconds: Option<u16>,
    /// Packets in a row that may be lost; default 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 255))]
    pub detect_multiplier: Option<u8>,
}

/// Graceful restart (RFC 4724).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GracefulRestart {
    /// Whether it is offered.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Seconds that the peer is to wait for us, 0 to 4095; default 120.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 4095))]
    pub restart_time_seconds: Option<u16>,
    /// Seconds that a peer which is back may take to announce all again; default 360.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub stale_path_time_seconds: Option<u16>,
}

const fn yes() -> bool {
    true
}

/// Most routes of each family; more end the session for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new("has(self.ipv4) || has(self.ipv6)")
    .message("give a number for ipv4, for ipv6, or for both; without a limit, remove maxPrefixes"))]
pub struct MaxPrefixes {
    /// Of IPv4.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 4_294_967_295_u32))]
    pub ipv4: Option<u32>,
    /// Of IPv6.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 4_294_967_295_u32))]
    pub ipv6: Option<u32>,
}

/// What became of a peer on all its nodes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct BGPPeerStatus {
    /// Sessions that nodes have with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sessions: Option<i32>,
    /// Those that are established.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub established: Option<i32>,
    /// `Accepted`: whether nodes heed it, and if not, why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}
