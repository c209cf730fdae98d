//! Prefixes that a policy cannot tell apart, so that its answer for one is that for all of them.
//!
//! Whether a prefix is in a prefix list depends on its length and on the longest entry that covers it.
//! So does the answer of all lists of a policy together, with the entries of all of them.

use super::{Condition, Policy, PrefixMatch, PrefixSet};
use crate::prefix::Prefix;

/// See the module: of one policy.
#[derive(Clone, Debug)]
pub(crate) struct Regions(PrefixSet);

/// Prefixes of one region are the same to the policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Region {
    /// The longest entry around the prefix.
    entry: Option<usize>,
    len: u8,
}

impl Regions {
    /// Those of a policy, inner policies included.
    pub(crate) fn of(policy: &Policy) -> Self {
        let mut around = Vec::new();
        note_policy(policy, &mut around);
        Self(around.into_iter().map(PrefixMatch::inside).collect())
    }

    /// The region of a prefix.
    pub(crate) fn find(&self, prefix: Prefix) -> Region {
        Region { entry: self.0.nearest_index(prefix), len: prefix.len() }
    }
}

fn note_policy(policy: &Policy, around: &mut Vec<Prefix>) {
    for statement in &policy.statements {
        statement.conditions.iter().for_each(|condition| note_condition(condition, around));
        if let Some(inner) = &statement.apply {
            note_policy(inner, around);
        }
    }
}

fn note_condition(condition: &Condition, around: &mut Vec<Prefix>) {
    match condition {
        Condition::Prefix(set) => around.extend(set.prefixes()),
        Condition::Policy(policy) => note_policy(policy, around),
        Condition::Not(inner) => note_condition(inner, around),
        Condition::Family(_)
        | Condition::AsPathContains(_)
        | Condition::OriginatedBy(_)
        | Condition::NeighborAs(_)
        | Condition::AsPathLength(_)
        | Condition::AsPath(_)
        | Condition::Communities(_)
        | Condition::LargeCommunities(_)
        | Condition::ExtCommunities(_)
        | Condition::NextHop(_)
        | Condition::Origin(_)
        | Condition::Source(_)
        | Condition::LocalPref(_)
        | Condition::Med(_)
        | Condition::Peer(_)
        | Condition::LearnedFrom(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::*;
    use crate::policy::{Decision, Statement};

    fn prefixes() -> impl Strategy<Value = Prefix> {
        (0..4_u32, 0..4_u32, 0..=32_u8).prop_map(|(high, low, len)| {
            Prefix::new(Ipv4Addr::from_bits(high << 30 | low).into(), len).unwrap()
        })
    }

    fn sets() -> impl Strategy<Value = PrefixSet> {
        let entry = (prefixes(), 0..=33_u8, 0..=33_u8)
            .prop_map(|(prefix, min_len, max_len)| PrefixMatch { prefix, min_len, max_len });
        prop::collection::vec(entry, 0..4).prop_map(|list| list.into_iter().collect())
    }

    fn policy(conditions: Vec<Condition>, apply: Option<std::sync::Arc<Policy>>) -> Policy {
        let statement = Statement {
            name: "".into(),
            conditions,
            actions: Vec::new(),
            apply,
            decision: Some(Decision::Accept),
        };
        Policy { name: "".into(), statements: vec![statement], default: Decision::Reject }
    }

    proptest! {
        #[test]
        fn prefixes_of_one_region_are_in_the_same_lists(
            sets in prop::collection::vec(sets(), 4),
            asked in prop::collection::vec(prefixes(), 60),
        ) {
            let inner = policy(vec![Condition::Prefix(sets[0].clone())], None);
            let not = Condition::Not(Box::new(Condition::Prefix(sets[1].clone())));
            let subroutine = policy(vec![Condition::Prefix(sets[2].clone())], None);
            let plain = Condition::Prefix(sets[3].clone());
            let whole =
                policy(vec![not, Condition::Policy(subroutine.into()), plain], Some(inner.into()));
            let regions = Regions::of(&whole);
            for one in &asked {
                for other in &asked {
                    if regions.find(*one) == regions.find(*other) {
                        for set in &sets {
                            prop_assert_eq!(set.contains(*one), set.contains(*other));
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn prefixes_outside_of_all_lists_are_of_one_region_for_each_length() {
        let set = [PrefixMatch::inside("10.0.0.0/8".parse().unwrap())].into_iter().collect();
        let regions = Regions::of(&policy(vec![Condition::Prefix(set)], None));
        let region = |text: &str| regions.find(text.parse().unwrap());
        assert_eq!(region("192.0.2.0/24"), region("198.51.100.0/24"));
        assert_ne!(region("192.0.2.0/24"), region("10.0.2.0/24"));
        assert_ne!(region("192.0.2.0/24"), region("192.0.2.0/25"));
    }
}
