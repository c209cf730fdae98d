//! `IPPool`: a range from which nodes claim blocks for their pods.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::{Cidr, Selector};

/// A range of addresses from which nodes claim blocks for their pods.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "slash32.dev",
    version = "v1alpha1",
    kind = "IPPool",
    plural = "ippools",
    shortname = "ipp",
    category = "slash32",
    doc = "A range of addresses from which nodes claim blocks for their pods.",
    status = "IPPoolStatus",
    derive = "PartialEq",
    printcolumn(name = "CIDR", type_ = "string", json_path = ".spec.cidr"),
    printcolumn(name = "Block", type_ = "integer", json_path = ".spec.blockSize"),
    printcolumn(name = "NAT", type_ = "boolean", json_path = ".spec.natOutgoing"),
    printcolumn(name = "Disabled", type_ = "boolean", json_path = ".spec.disabled"),
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
    validation = Rule::new("has(self.blockSize) == has(oldSelf.blockSize) && \
        (!has(self.blockSize) || self.blockSize == oldSelf.blockSize)")
        .message("cannot be changed, since nodes hold blocks of this size; add a second pool with the \
                  new size, set disabled on this one, and delete it once its blocks are gone")
        .field_path(".blockSize"),
    validation = Rule::new("!has(self.blockSize) || !isCIDR(self.cidr) || \
        (cidr(self.cidr).ip().family() == 4 ? self.blockSize >= 16 && self.blockSize <= 32 \
         : self.blockSize >= 112 && self.blockSize <= 128)")
        .message("must be 16 to 32 in an IPv4 pool and 112 to 128 in an IPv6 pool; leave it out for 26 \
                  and 122")
        .field_path(".blockSize"),
    validation = Rule::new("!isCIDR(self.cidr) || cidr(self.cidr).prefixLength() <= \
        (has(self.blockSize) ? self.blockSize : (cidr(self.cidr).ip().family() == 4 ? 26 : 122))")
        .message("is smaller than one block; widen it, or set blockSize to at least its length")
        .field_path(".cidr")
)]
pub struct IPPoolSpec {
    /// The range; no other pool may overlap it, nor any network outside of the cluster.
    #[x_kube(
        validation = Rule::new("self == oldSelf")
            .message("cannot be changed, since pods have addresses in it; add a second pool, set \
                      disabled on this one, and delete it once its blocks are gone"),
        validation = Rule::new("!isCIDR(self) || !['0.0.0.0/8', '127.0.0.0/8', '169.254.0.0/16', \
            '224.0.0.0/3', '::/16', 'fe80::/10', 'ff00::/8'].exists(r, \
            cidr(r).containsCIDR(cidr(self)) || cidr(self).containsCIDR(cidr(r)))")
            .message("overlaps a range that no pod can have an address of (0.0.0.0/8, 127.0.0.0/8, \
                      169.254.0.0/16, 224.0.0.0/3, ::/16, fe80::/10, ff00::/8); write one of yours, as \
                      in 10.244.0.0/16")
    )]
    pub cidr: Cidr,
    /// Length of the blocks that nodes claim: 16 to 32, default 26; IPv6 112 to 128, default 122.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 16, max = 128))]
    pub block_size: Option<u8>,
    /// Nodes that claim blocks of it; all unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_selector: Option<Selector>,
    /// Namespaces whose pods get addresses of it unless they name a pool; all unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<Selector>,
    /// No block of it is claimed and no address of it given any more; pods keep theirs.
    #[serde(default)]
    pub disabled: bool,
    /// Packets from its pods to addresses outside of every pool leave with the node's address.
    #[serde(default)]
    pub nat_outgoing: bool,
    /// Blocks of it are not announced to peers.
    #[serde(default, rename = "disableBGPExport")]
    pub disable_bgp_export: bool,
}

/// What became of a pool.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct IPPoolStatus {
    /// `Accepted`: whether nodes claim blocks of it, and if not, why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}
