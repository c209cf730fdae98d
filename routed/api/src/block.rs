//! `IPBlock`: the claim of one node to one block of a pool.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::{Cidr, Name};

/// The claim of one node to one block. Creating the object is the claim: its name is that of the
/// block, so the API server lets one node alone have it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "slash32.dev",
    version = "v1alpha1",
    kind = "IPBlock",
    plural = "ipblocks",
    shortname = "ipb",
    category = "slash32",
    doc = "The claim of one node to one block of a pool. Made and deleted by the nodes themselves.",
    status = "IPBlockStatus",
    derive = "PartialEq",
    selectable = ".spec.node",
    validation = Rule::new("self.metadata.name == self.spec.cidr.replace('.', '-').replace(':', '-').replace('/', '-')")
        .message("metadata.name must be spec.cidr with - for each of . : / so that no two nodes can \
                  claim one block; leave making blocks to the nodes"),
    printcolumn(name = "CIDR", type_ = "string", json_path = ".spec.cidr"),
    printcolumn(name = "Node", type_ = "string", json_path = ".spec.node"),
    printcolumn(name = "Pool", type_ = "string", json_path = ".spec.pool"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self == oldSelf")
    .message("a claim cannot be changed, since its node may have given addresses of it to pods; it ends \
              when its node deletes it"))]
pub struct IPBlockSpec {
    /// The block.
    pub cidr: Cidr,
    /// The pool that it is of.
    pub pool: Name,
    /// The node that has it.
    pub node: Name,
    /// `metadata.uid` of that node: one of the same name that came later is another.
    #[serde(default, rename = "nodeUID", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub node_uid: Option<String>,
}

impl IPBlock {
    /// The name of the claim to a block.
    #[must_use]
    pub fn name_of(cidr: &Cidr) -> String {
        cidr.0.replace(['.', ':', '/'], "-")
    }
}

/// What is known of a block.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct IPBlockStatus {
    /// `Orphaned`: whether its node is gone, and since when.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_claim_is_the_block_with_dashes() {
        assert_eq!(IPBlock::name_of(&"10.244.1.64/26".into()), "10-244-1-64-26");
        assert_eq!(IPBlock::name_of(&"fd00:10:244::/122".into()), "fd00-10-244---122");
    }
}
