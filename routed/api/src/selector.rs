//! Selectors of labels, as everywhere in Kubernetes.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Labels that an object must have. Empty: it may have any.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Selector {
    /// Labels with their values; all of them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub match_labels: BTreeMap<String, String>,
    /// Requirements; all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub match_expressions: Vec<Requirement>,
}

/// What one label must be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(
    "self.operator in ['In', 'NotIn'] ? has(self.values) && size(self.values) > 0 \
     : !has(self.values) || size(self.values) == 0"
).message("values belong to In and NotIn, which need at least one; Exists and DoesNotExist take none"))]
pub struct Requirement {
    /// Key of the label.
    #[schemars(length(max = 317))]
    pub key: String,
    /// How its value is compared.
    pub operator: Operator,
    /// What it is compared with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 63)))]
    pub values: Vec<String>,
}

/// How the value of a label is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Operator {
    /// It is one of the values.
    In,
    /// It is none of them, or there is no such label.
    NotIn,
    /// There is such a label.
    Exists,
    /// There is none.
    DoesNotExist,
}

impl Selector {
    /// Does an object with these labels have what is asked for?
    #[must_use]
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value))
            && self.match_expressions.iter().all(|requirement| requirement.holds(labels))
    }
}

impl Requirement {
    fn holds(&self, labels: &BTreeMap<String, String>) -> bool {
        let value = labels.get(&self.key);
        let is_among = value.is_some_and(|value| self.values.contains(value));
        match self.operator {
            Operator::In => is_among,
            Operator::NotIn => !is_among,
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn every_requirement_must_hold_and_none_is_anything() {
        let rack = labels(&[("rack", "1"), ("ssd", "")]);
        let selector = |operator, key: &str, values: &[&str]| Selector {
            match_expressions: vec![Requirement {
                key: key.to_owned(),
                operator,
                values: values.iter().map(|value| (*value).to_owned()).collect(),
            }],
            ..Selector::default()
        };
        assert!(Selector::default().matches(&labels(&[])));
        assert!(selector(Operator::In, "rack", &["1", "2"]).matches(&rack));
        assert!(!selector(Operator::In, "rack", &["2"]).matches(&rack));
        assert!(!selector(Operator::In, "row", &["2"]).matches(&rack));
        assert!(!selector(Operator::NotIn, "rack", &["1"]).matches(&rack));
        assert!(selector(Operator::NotIn, "row", &["1"]).matches(&rack), "as Kubernetes has it");
        assert!(selector(Operator::Exists, "ssd", &[]).matches(&rack));
        assert!(!selector(Operator::DoesNotExist, "ssd", &[]).matches(&rack));
        let mut both = selector(Operator::Exists, "ssd", &[]);
        both.match_labels = labels(&[("rack", "2")]);
        assert!(!both.matches(&rack));
    }
}
