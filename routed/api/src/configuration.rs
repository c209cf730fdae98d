//! `BGPConfiguration`: what holds for every node's BGP.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Cidr, Community, Ipv4, LabelKey, Name, Selector};

/// What holds for the BGP of every node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "slash32.dev",
    version = "v1alpha1",
    kind = "BGPConfiguration",
    plural = "bgpconfigurations",
    shortname = "bgpc",
    category = "slash32",
    doc = "What holds for the BGP of every node. There is one, and its name is default.",
    status = "BGPConfigurationStatus",
    derive = "PartialEq",
    validation = Rule::new("self.metadata.name == 'default'")
        .message("the only BGPConfiguration is named default; what differs between nodes goes into \
                  BGPPeers with a nodeSelector, or into node labels (nodeASNumberLabel)"),
    printcolumn(name = "AS", type_ = "integer", json_path = ".spec.asNumber"),
    printcolumn(name = "Mesh", type_ = "boolean", json_path = ".spec.nodeToNodeMeshEnabled"),
    printcolumn(name = "Port", type_ = "integer", json_path = ".spec.listenPort"),
    printcolumn(
        name = "Accepted",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Accepted")].status"#
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.routeReflectors) || !has(self.nodeToNodeMeshEnabled) || \
        !self.nodeToNodeMeshEnabled")
        .message("a full mesh leaves route reflectors nothing to do; set nodeToNodeMeshEnabled to \
                  false, or remove routeReflectors"),
    validation = Rule::new("!has(self.keepaliveTimeSeconds) || (has(self.holdTimeSeconds) ? \
        self.holdTimeSeconds : 90) == 0 || self.keepaliveTimeSeconds < (has(self.holdTimeSeconds) ? \
        self.holdTimeSeconds : 90)")
        .message("must be less than holdTimeSeconds (90 unless given), or sessions end between two \
                  keepalives; a third of it is usual, and the default")
        .field_path(".keepaliveTimeSeconds"),
    validation = Rule::new("!has(self.prefixAdvertisements) || self.prefixAdvertisements.all(a, \
        a.communities.all(c, c.contains(':') || (has(self.communities) && \
        self.communities.exists(n, n.name == c)) || c in ['no-export', 'no-advertise', \
        'no-export-subconfed', 'no-peer', 'blackhole', 'graceful-shutdown', 'accept-own', \
        'llgr-stale', 'no-llgr']))")
        .message("names a community that is not in communities; add it there, or write it as 65000:100")
        .field_path(".prefixAdvertisements")
)]
pub struct BGPConfigurationSpec {
    /// AS of every node that has none by label: 1 to 4294967294; default 64512.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 4_294_967_294_u32))]
    #[x_kube(validation = Rule::new("self != 23456 && self != 65535")
        .message("is reserved (RFC 6793, RFC 7300); use a private one, 64512 to 65534 or 4200000000 to \
                  4294967294"))]
    pub as_number: Option<u32>,
    /// Key of a node label with the node's own AS.
    #[serde(default, rename = "nodeASNumberLabel", skip_serializing_if = "Option::is_none")]
    pub node_as_number_label: Option<LabelKey>,
    /// Every node has a session with every other; default: true unless there are routeReflectors
    /// or more than 120 nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_to_node_mesh_enabled: Option<bool>,
    /// Nodes that pass on the routes of the others, in place of a full mesh.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route_reflectors: Option<RouteReflectors>,
    /// TCP port on which nodes take sessions; default 179.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub listen_port: Option<u16>,
    /// Seconds without a message until a session ends: 0 (never) or 3 to 65535; default 90.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self == 0 || self >= 3")
        .message("must be 0 (off) or at least 3 (RFC 4271 section 4.2)"))]
    #[schemars(range(min = 0, max = 65535))]
    pub hold_time_seconds: Option<u16>,
    /// Seconds between keepalives; default: a third of the hold time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub keepalive_time_seconds: Option<u16>,
    /// Seconds between attempts to connect; default 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub connect_retry_seconds: Option<u16>,
    /// Equal paths used at once; default 16.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 64))]
    pub multipath: Option<u8>,
    /// BGPPolicies, in this order, for what peers announce that name none; default: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub import_policies: Vec<Name>,
    /// The same for what peers are told; default: originated, and all between reflectors and nodes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub export_policies: Vec<Name>,
    /// Names for communities.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub communities: Vec<NamedCommunity>,
    /// Prefixes that carry communities when they are announced.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub prefix_advertisements: Vec<PrefixAdvertisement>,
}

/// Nodes that reflect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RouteReflectors {
    /// Which nodes; two or more.
    pub node_selector: Selector,
    /// Their cluster id (RFC 4456 section 7); default: each one's own router id.
    #[serde(default, rename = "clusterID", skip_serializing_if = "Option::is_none")]
    pub cluster_id: Option<Ipv4>,
}

/// A name for a community.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct NamedCommunity {
    /// The name.
    #[schemars(length(max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')")
        .message("must be lower-case letters, digits and -, and begin with a letter, as in from-rack-1"))]
    pub name: String,
    /// `65000:100`, or a large one, `4200000000:1:2`.
    #[schemars(length(max = 32))]
    #[x_kube(validation = Rule::new("self.matches('^[0-9]{1,5}:[0-9]{1,5}$|^[0-9]{1,10}:[0-9]{1,10}:[0-9]{1,10}$')")
        .message("is not a community; write 65000:100, or a large one as 4200000000:1:2"))]
    pub value: String,
}

/// Communities of announced prefixes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PrefixAdvertisement {
    /// Blocks inside this prefix carry them.
    pub cidr: Cidr,
    /// Communities, or names of some.
    #[schemars(length(min = 1, max = 32))]
    pub communities: Vec<Community>,
}

/// What became of the configuration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct BGPConfigurationStatus {
    /// `Accepted`: whether nodes heed it, and if not, why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}
