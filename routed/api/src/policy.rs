//! `BGPPolicy`: which paths come in and go out, and how they are changed.
//!
//! The language is that of `[[policies]]` in `routed.toml` (`docs/policy.md`), without named lists.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Address, Cidr, Community, Family, Name};

/// An ordered list of statements about paths.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "slash32.dev",
    version = "v1alpha1",
    kind = "BGPPolicy",
    plural = "bgppolicies",
    shortname = "bgppol",
    category = "slash32",
    doc = "Which paths come in and go out, and how they are changed. BGPPeers name it.",
    status = "BGPPolicyStatus",
    derive = "PartialEq",
    validation = Rule::new("!(self.metadata.name in ['all', 'none', 'originated'])")
        .message("all, none and originated are policies that need no object; give this one another name"),
    printcolumn(name = "Default", type_ = "string", json_path = ".spec.default"),
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
pub struct BGPPolicySpec {
    /// What becomes of paths that no statement decides about.
    pub default: Action,
    /// Statements, tried in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub statements: Vec<Statement>,
}

/// What a statement decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Action {
    /// The path passes.
    Accept,
    /// It does not.
    Reject,
    /// The next policy of the peer's list decides; at the end of the list it does not pass.
    NextPolicy,
}

/// Conditions, changes and a decision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.action) || has(self.set) || has(self.apply)")
    .message("does nothing; give it an action (Accept, Reject, NextPolicy), changes (set), or a policy \
              to apply"))]
pub struct Statement {
    /// Its name in what `routed` shows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9._:-]+$')")
        .message("must be letters, digits and any of . _ : -, as in from-tor"))]
    pub name: Option<String>,
    /// Which paths it is about; all unless given.
    #[serde(default, rename = "match", skip_serializing_if = "Option::is_none")]
    pub matches: Option<Match>,
    /// What it changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<Set>,
    /// Another BGPPolicy that is applied then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub apply: Option<Name>,
    /// What it decides; the next statement is tried unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<Action>,
}

/// All of these hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Match {
    /// What holds.
    #[serde(flatten)]
    pub conditions: Conditions,
    /// What does not: none of these holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not: Option<Conditions>,
}

/// Each that is there is a condition; of a list, one value is enough.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Conditions {
    /// The prefix is one of these, or inside and of such a length.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128))]
    pub prefixes: Vec<PrefixMatch>,
    /// It is of this family.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub family: Option<Family>,
    /// The AS path matches one of these expressions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(max = 256)))]
    pub as_path: Vec<String>,
    /// One of these stands in it: numbers, or ranges as `64512-65534`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(regex(pattern = r"^[0-9]{1,10}(-[0-9]{1,10})?$")))]
    pub as_path_contains: Vec<String>,
    /// It ends with one of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub originated_by: Vec<u32>,
    /// It begins with one of these.
    #[serde(default, rename = "neighborAS", skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub neighbor_as: Vec<u32>,
    /// It has so many hops.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_path_length: Option<Range>,
    /// Communities that it carries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub communities: Option<Communities>,
    /// Large communities that it carries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub large_communities: Option<Communities>,
    /// Extended communities that it carries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extended_communities: Option<Communities>,
    /// Its next hop is one of these, or inside.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub next_hop: Vec<Address>,
    /// Its origin is one of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 3))]
    pub origin: Vec<Origin>,
    /// It came from one of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 3))]
    pub source: Vec<Source>,
    /// Its local preference; 100 if it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_preference: Option<Range>,
    /// Its MED; 0 if it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub med: Option<Range>,
    /// The session is with one of these BGPPeers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub peers: Vec<Name>,
    /// The session is with one of these ASes.
    #[serde(default, rename = "peerASNumbers", skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub peer_as_numbers: Vec<u32>,
    /// One of these BGPPeers announced it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub from_peers: Vec<Name>,
    /// One of these ASes announced it.
    #[serde(default, rename = "fromASNumbers", skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub from_as_numbers: Vec<u32>,
    /// That BGPPolicy would accept it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<Name>,
}

/// A prefix, and lengths of others inside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.prefixLength) || !isCIDR(self.cidr) || \
    ((!has(self.prefixLength.min) || (self.prefixLength.min >= cidr(self.cidr).prefixLength() && \
    self.prefixLength.min <= (cidr(self.cidr).ip().family() == 4 ? 32 : 128))) && \
    (!has(self.prefixLength.max) || (self.prefixLength.max >= cidr(self.cidr).prefixLength() && \
    self.prefixLength.max <= (cidr(self.cidr).ip().family() == 4 ? 32 : 128))))")
    .message("must be between the length of cidr and 32, or 128 for IPv6: no prefix inside is shorter")
    .field_path(".prefixLength"))]
pub struct PrefixMatch {
    /// The prefix.
    pub cidr: Cidr,
    /// Lengths of prefixes inside it; just the prefix itself unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix_length: Option<Range>,
}

/// From the least to the most, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(
    validation = Rule::new("has(self.min) || has(self.max)")
        .message("give min, max, or both"),
    validation = Rule::new("!has(self.min) || !has(self.max) || self.min <= self.max")
        .message("min is more than max, which nothing can be; exchange them")
)]
pub struct Range {
    /// The least; 0 unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<u32>,
    /// The most; no limit unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<u32>,
}

/// Communities that a path carries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new("has(self.any) || has(self.all) || has(self.none)")
    .message("give at least one of any, all, none"))]
pub struct Communities {
    /// One of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub any: Vec<Community>,
    /// All of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub all: Vec<Community>,
    /// None of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub none: Vec<Community>,
}

/// Origin of a path (RFC 4271 section 5.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Origin {
    /// Interior.
    IGP,
    /// Exterior.
    EGP,
    /// Neither.
    Incomplete,
}

/// Where a path came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Source {
    /// This node.
    Local,
    /// A peer of another AS.
    EBGP,
    /// A peer of our own.
    IBGP,
}

/// Changes, made in this order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Set {
    /// For this node alone, compared before local preference; on import only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
    /// Local preference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_preference: Option<NumberChange>,
    /// MED.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub med: Option<MedChange>,
    /// Origin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    /// Communities.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub communities: Option<CommunityChange>,
    /// Large communities.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub large_communities: Option<CommunityChange>,
    /// Extended communities.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extended_communities: Option<CommunityChange>,
    /// The AS that stands first, put in front once more, so often.
    #[serde(default, rename = "prependLastAS", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 16))]
    pub prepend_last_as: Option<u8>,
    /// Our AS, put in front so often beyond what export does anyway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 16))]
    pub prepend: Option<u8>,
}

/// How a number changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new("has(self.to) != has(self.add)")
    .message("give either to (the number) or add (the difference, below 0 for less)"))]
pub struct NumberChange {
    /// To this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<u32>,
    /// By this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub add: Option<i32>,
}

/// How the MED changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new("[has(self.to), has(self.add), has(self.remove) && self.remove]\
    .filter(x, x).size() == 1")
    .message("give exactly one of to (the number), add (the difference) and remove: true"))]
pub struct MedChange {
    /// To this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<u32>,
    /// By this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub add: Option<i32>,
    /// To none at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remove: Option<bool>,
}

/// How a set of communities changes; what is removed and added is there in the end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new("has(self.replace) || has(self.add) || has(self.remove)")
    .message("give at least one of replace, remove, add; replace: [] takes all off"))]
pub struct CommunityChange {
    /// These in place of all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub replace: Option<Vec<Community>>,
    /// Without what matches one of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub remove: Vec<Community>,
    /// With these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub add: Vec<Community>,
}

/// What became of a policy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct BGPPolicyStatus {
    /// `Accepted`: whether nodes heed it, and if not, why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}
