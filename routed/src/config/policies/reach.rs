//! What in a policy can have no effect: statements that no path reaches, changes that are not
//! heeded in the direction in which the policy is used.
//!
//! Finds what follows from equal conditions and missing ones; does not reason about values.

use std::sync::Arc;

use bgp::policy::{Action, Decision, NextHopAction, Policy, Statement};

use crate::config::fault::Place;

/// Import or export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config) enum Direction {
    /// What comes in.
    Import,
    /// What goes out.
    Export,
}

/// The statements that no path reaches, each with the statement that takes all of its paths.
pub(super) fn unreachable<'p>(
    policy: &'p Policy,
    places: &'p [Place],
) -> impl Iterator<Item = (&'p Place, String)> {
    // Statements that decide, since the last one that changes paths which go on.
    let mut deciding: Vec<&Statement> = Vec::new();
    policy.statements.iter().zip(places).filter_map(move |(statement, place)| {
        let takes_all = |before: &&&Statement| {
            before.conditions.iter().all(|condition| statement.conditions.contains(condition))
        };
        let before = deciding.iter().find(takes_all).map(|before| before.name.to_string());
        if decides(statement) {
            deciding.push(statement);
        } else if !statement.actions.is_empty() || statement.apply.is_some() {
            // What did not match before may match now; what matches everything still does.
            deciding.retain(|before| before.conditions.is_empty());
        }
        before.map(|before| (place, before))
    })
}

/// Does it decide every path that it matches?
fn decides(statement: &Statement) -> bool {
    statement.decision.is_some()
        || statement.apply.as_ref().is_some_and(|policy| !leaves_paths(policy))
}

/// May it leave a path to the next policy?
pub(super) fn leaves_paths(policy: &Policy) -> bool {
    for statement in &policy.statements {
        if statement.decision == Some(Decision::NextPolicy) {
            return true;
        }
        if statement.conditions.is_empty() && decides(statement) {
            return false;
        }
    }
    policy.default == Decision::NextPolicy
}

/// A policy, this one or one that it applies, with changes that are not heeded in this direction.
pub(super) fn unheeded(policy: &Policy, direction: Direction) -> Option<Arc<str>> {
    let own = policy.statements.iter().flat_map(|statement| &statement.actions);
    if own.into_iter().any(|action| !is_heeded(action, direction)) {
        return Some(Arc::clone(&policy.name));
    }
    let inner = policy.statements.iter().filter_map(|statement| statement.apply.as_deref());
    inner.into_iter().find_map(|policy| unheeded(policy, direction))
}

fn is_heeded(action: &Action, direction: Direction) -> bool {
    match action {
        Action::SetWeight(_) | Action::SetNextHop(NextHopAction::Peer) => {
            direction == Direction::Import
        }
        Action::SetNextHop(NextHopAction::Own | NextHopAction::Unchanged) => {
            direction == Direction::Export
        }
        Action::SetNextHop(NextHopAction::Address { .. })
        | Action::LocalPref(_)
        | Action::Med(_)
        | Action::RemoveMed
        | Action::SetOrigin(_)
        | Action::Communities(_)
        | Action::LargeCommunities(_)
        | Action::ExtCommunities(_)
        | Action::SetLinkBandwidth(_)
        | Action::Prepend(_)
        | Action::PrependLastAs(_) => true,
    }
}
