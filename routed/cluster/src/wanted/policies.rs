//! `[[policies]]`: BGPPolicies.

mod statement;

use std::collections::{BTreeMap, BTreeSet};

use routed_api::{Action, BGPPolicySpec, Conditions, Name};

pub(super) use self::statement::family;
use super::{
    Draft, Input, Problem,
    text::{Part, Table},
};

/// Those that need no object.
const BUILT_IN: [&str; 3] = ["all", "none", "originated"];

/// Which there are.
pub(super) struct Policies {
    usable: BTreeSet<String>,
    refused: BTreeSet<String>,
}

impl Policies {
    /// A policy that names one which cannot be used cannot be used itself.
    pub(super) fn of(input: &Input<'_>, draft: &mut Draft<'_>) -> Self {
        let objects = input.objects;
        let mut policies = Self { usable: BTreeSet::new(), refused: BTreeSet::new() };
        for name in objects.policies.keys() {
            let refused = draft.is_left_out(&part(name));
            if refused { &mut policies.refused } else { &mut policies.usable }.insert(name.clone());
        }
        loop {
            let problem = policies.usable.iter().find_map(|name| {
                let spec = &objects.policies.get(name)?.spec;
                let problem = references(spec)
                    .find_map(|other| policies.find(std::slice::from_ref(other)).err())
                    .or_else(|| unknown_peer(spec, input))
                    .or_else(|| statement::invalid(&spec.statements))?;
                Some((name.clone(), problem))
            });
            let Some((name, problem)) = problem else { return policies };
            draft.problem(&part(&name), problem);
            policies.usable.remove(&name);
            policies.refused.insert(name);
        }
    }

    /// Whether all of these can be used; if not, why.
    pub(super) fn find(&self, names: &[Name]) -> Result<(), Problem> {
        let missing = names
            .iter()
            .find(|Name(name)| !BUILT_IN.contains(&name.as_str()) && !self.usable.contains(name));
        let Some(Name(name)) = missing else { return Ok(()) };
        Err(if self.refused.contains(name) {
            let message = format!("BGPPolicy/{name} is not accepted; its own condition says why");
            Problem { reason: "PolicyNotAccepted", message }
        } else {
            let known: Vec<_> = BUILT_IN
                .into_iter()
                .chain(self.usable.iter().chain(&self.refused).map(String::as_str))
                .collect();
            let message = format!(
                "there is no BGPPolicy/{name}; create it, or name one of {}",
                known.join(", ")
            );
            Problem { reason: "PolicyMissing", message }
        })
    }

    /// Every usable one. `sessions`: what the sessions of each BGPPeer are called on this node.
    pub(super) fn write(
        &self,
        input: &Input<'_>,
        draft: &mut Draft<'_>,
        sessions: &BTreeMap<String, Vec<String>>,
    ) {
        let communities =
            input.configuration().map(super::configuration::names).unwrap_or_default();
        let names = statement::Names { sessions, communities };
        for (name, policy) in &input.objects.policies {
            if !self.usable.contains(name) {
                continue;
            }
            let mut table = Table::new("[[policies]]", part(name));
            table.set("name", name, "metadata.name");
            table.set("default", action(policy.spec.default), "spec.default");
            statement::write_all(&policy.spec.statements, &names, &mut table);
            draft.tables.push(table);
        }
    }
}

fn part(name: &str) -> Part {
    Part::whole("BGPPolicy", name)
}

const fn action(action: Action) -> &'static str {
    match action {
        Action::Accept => "accept",
        Action::Reject => "reject",
        Action::NextPolicy => "next-policy",
    }
}

fn conditions(spec: &BGPPolicySpec) -> impl Iterator<Item = &Conditions> {
    let matches = spec.statements.iter().filter_map(|statement| statement.matches.as_ref());
    matches.flat_map(|matches| [Some(&matches.conditions), matches.not.as_ref()]).flatten()
}

/// Other policies that it names.
fn references(spec: &BGPPolicySpec) -> impl Iterator<Item = &Name> {
    let applied = spec.statements.iter().filter_map(|statement| statement.apply.as_ref());
    applied.chain(conditions(spec).filter_map(|conditions| conditions.policy.as_ref()))
}

/// A peer that is nowhere in the cluster is a slip of the pen; one of other nodes is not.
fn unknown_peer(spec: &BGPPolicySpec, input: &Input<'_>) -> Option<Problem> {
    let mut named = conditions(spec)
        .flat_map(|conditions| conditions.peers.iter().chain(&conditions.from_peers));
    let Name(name) = named.find(|Name(name)| !input.objects.peers.contains_key(name))?;
    let message = format!(
        "spec.statements: there is no BGPPeer/{name}; create it, or name metadata.name of the one \
         that is meant"
    );
    Some(Problem { reason: "PeerMissing", message })
}
