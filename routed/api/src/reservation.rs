//! `IPReservation`: addresses that no pod gets by chance.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::{Address, Name};

/// Addresses that no pod gets unless it asks for them, or that belong to certain pods.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "slash32.dev",
    version = "v1alpha1",
    kind = "IPReservation",
    plural = "ipreservations",
    shortname = "ipr",
    category = "slash32",
    doc = "Addresses that no pod gets unless it asks for them, or that belong to certain pods.",
    status = "IPReservationStatus",
    derive = "PartialEq",
    printcolumn(name = "Reserved", type_ = "string", json_path = ".spec.reservedCIDRs"),
    printcolumn(name = "Namespace", type_ = "string", json_path = ".spec.owner.namespace"),
    printcolumn(name = "Pod", type_ = "string", json_path = ".spec.owner.pod"),
    printcolumn(name = "StatefulSet", type_ = "string", json_path = ".spec.owner.statefulSet"),
    printcolumn(
        name = "Accepted",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Accepted")].status"#
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.owner) || self.reservedCIDRs.all(c, !c.contains('/'))")
    .message("with an owner, write single addresses in place of prefixes: an owner gets the first \
              address of each family, or the n-th for the n-th pod of a StatefulSet")
    .field_path(".reservedCIDRs"))]
pub struct IPReservationSpec {
    /// Addresses and prefixes that are not given to pods by chance.
    #[serde(rename = "reservedCIDRs")]
    #[schemars(length(min = 1, max = 256))]
    pub reserved_cidrs: Vec<Address>,
    /// Whose they are; the pods that ask for them by annotation unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Owner>,
}

/// Pods that addresses belong to, wherever they run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.pod) != has(self.statefulSet)")
    .message("name either a pod or a statefulSet, whose pod number n gets the n-th address of each \
              family, counted from 0"))]
pub struct Owner {
    /// Their namespace.
    pub namespace: Name,
    /// Name of the only pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<Name>,
    /// Name of the StatefulSet whose pods get them, by number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stateful_set: Option<Name>,
}

/// What became of a reservation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct IPReservationStatus {
    /// `Accepted`: whether it is heeded, and if not, why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}
