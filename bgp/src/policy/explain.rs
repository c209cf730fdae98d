//! Explanations: every statement that was tried, what it changed, and which decided.
//!
//! In: what the evaluation tells its observer. Out: steps for people and programs. Written down
//! while the policy is applied, so that it cannot say anything but what happens.

use std::{fmt, sync::Arc};

use super::{
    Condition, Decision, NextHopChoice, Outcome, Policy, Statement,
    evaluate::{Draft, Observer, Verdict},
};
use crate::attrs::{Attrs, NextHop};

/// What a policy makes of a path, and how it came to that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// Every statement that was tried, in order; those of a policy that is applied or asked by a
    /// statement come right after that statement, one level deeper.
    pub steps: Vec<Step>,
    /// What came of it.
    pub outcome: Outcome,
    /// The policy that decided.
    pub policy: Arc<str>,
    /// Its statement; `None`: its default.
    pub statement: Option<Arc<str>>,
}

/// One statement that was tried, or the default of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// How many policies are around this one.
    pub depth: usize,
    /// The policy.
    pub policy: Arc<str>,
    /// Its statement; `None`: its default.
    pub statement: Option<Arc<str>>,
    /// What came of it.
    pub result: StepResult,
}

/// What came of a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StepResult {
    /// This condition did not hold; the ones after it were not looked at.
    Unmet(String),
    /// All conditions hold.
    Matched {
        /// What it changed, the policy that it applies aside.
        changes: Vec<Change>,
        /// What it decided; `None`: it left that to the next, or the policy that it applies did.
        decision: Option<Decision>,
    },
}

/// An attribute that was changed: what it was or had, and what it is or has instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The attribute, in the words of the configuration.
    pub attribute: &'static str,
    /// The old value, or the communities that are gone.
    pub removed: Vec<String>,
    /// The new value, or the communities that are new.
    pub added: Vec<String>,
}

/// What differs between two sets of attributes, as far as policies can change them.
#[must_use]
pub fn changes(before: &Attrs, after: &Attrs) -> Vec<Change> {
    let (old, new) = (before, after);
    let number = |number: Option<u32>| number.map(|number| number.to_string());
    let mut changes = Vec::new();
    let mut scalar = |attribute, old: Option<String>, new: Option<String>| {
        if old != new {
            let (removed, added) = (old.into_iter().collect(), new.into_iter().collect());
            changes.push(Change { attribute, removed, added });
        }
    };
    scalar("weight", Some(old.weight.to_string()), Some(new.weight.to_string()));
    scalar("local_preference", number(old.local_pref), number(new.local_pref));
    scalar("med", number(old.med), number(new.med));
    scalar("origin", Some(old.origin.to_string()), Some(new.origin.to_string()));
    scalar("as_path", Some(old.as_path.to_string()), Some(new.as_path.to_string()));
    scalar("next_hop", Some(old.next_hop.to_string()), Some(new.next_hop.to_string()));
    changes.extend(list("communities", &old.communities, &new.communities));
    changes.extend(list("large_communities", &old.large_communities, &new.large_communities));
    changes.extend(list("extended_communities", &old.ext_communities, &new.ext_communities));
    changes
}

fn list<T: PartialEq + ToString>(attribute: &'static str, old: &[T], new: &[T]) -> Option<Change> {
    let without = |list: &[T], other: &[T]| -> Vec<String> {
        list.iter().filter(|one| !other.contains(one)).map(ToString::to_string).collect()
    };
    let (removed, added) = (without(old, new), without(new, old));
    (!removed.is_empty() || !added.is_empty()).then_some(Change { attribute, removed, added })
}

/// `local_preference 100 -> 200`, `communities +65000:1 -no-export`.
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { attribute, removed, added } = self;
        f.write_str(attribute)?;
        if attribute.ends_with("communities") {
            added.iter().try_for_each(|one| write!(f, " +{one}"))?;
            return removed.iter().try_for_each(|one| write!(f, " -{one}"));
        }
        let value = |values: &[String]| match values.first().map(String::as_str) {
            Some("") => "empty".to_owned(),
            Some(value) => value.to_owned(),
            None => "none".to_owned(),
        };
        write!(f, " {} -> {}", value(removed), value(added))
    }
}

impl fmt::Display for StepResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unmet(condition) => write!(f, "no match: {condition}"),
            Self::Matched { changes, decision } => {
                let mut parts: Vec<String> = changes.iter().map(ToString::to_string).collect();
                parts.extend(decision.map(|decision| decision.to_string()));
                if parts.is_empty() {
                    return f.write_str("match");
                }
                f.write_str(&parts.join(", "))
            }
        }
    }
}

/// Writes steps down.
#[derive(Default)]
pub(super) struct Recorder {
    steps: Vec<Step>,
    /// Steps that are not done with, outermost first.
    open: Vec<usize>,
    /// The attributes before the changes of the statement that acts.
    before: Option<(Attrs, NextHopChoice)>,
}

impl Recorder {
    pub(super) fn finish(self, verdict: &Verdict<'_>, outcome: Outcome) -> Explanation {
        Explanation {
            steps: self.steps,
            outcome,
            policy: Arc::clone(&verdict.policy.name),
            statement: verdict.statement.map(|statement| Arc::clone(&statement.name)),
        }
    }

    fn push(&mut self, policy: &Policy, statement: Option<&Statement>, decision: Option<Decision>) {
        self.steps.push(Step {
            depth: self.open.len(),
            policy: Arc::clone(&policy.name),
            statement: statement.map(|statement| Arc::clone(&statement.name)),
            result: StepResult::Matched { changes: Vec::new(), decision },
        });
    }

    fn innermost(&mut self) -> Option<&mut StepResult> {
        self.open.last().map(|at| &mut self.steps[*at].result)
    }
}

impl Observer for Recorder {
    fn trying(&mut self, policy: &Policy, statement: &Statement) {
        self.push(policy, Some(statement), None);
        self.open.push(self.steps.len() - 1);
    }

    fn unmet(&mut self, condition: &Condition) {
        if let Some(result) = self.innermost() {
            *result = StepResult::Unmet(condition.to_string());
        }
        self.open.pop();
    }

    fn acting(&mut self, draft: &Draft<'_>) {
        self.before = Some((Attrs::clone(draft), draft.next_hop_choice));
    }

    fn acted(&mut self, draft: &Draft<'_>) {
        let Some((before, choice)) = self.before.take() else { return };
        let mut made = changes(&before, draft);
        if draft.next_hop_choice != choice {
            made.retain(|change| change.attribute != "next_hop");
            made.push(next_hop_choice(before.next_hop, draft));
        }
        if let Some(StepResult::Matched { changes, .. }) = self.innermost() {
            *changes = made;
        }
    }

    fn left(&mut self, decided: Option<Decision>) {
        if let Some(StepResult::Matched { decision, .. }) = self.innermost() {
            *decision = decided;
        }
        self.open.pop();
    }

    fn defaulted(&mut self, policy: &Policy) {
        self.push(policy, None, Some(policy.default));
    }
}

/// The change of what is to be announced as next hop.
fn next_hop_choice(before: NextHop, draft: &Draft<'_>) -> Change {
    let added = match draft.next_hop_choice {
        NextHopChoice::Usual => "usual".to_owned(),
        NextHopChoice::Own => "self".to_owned(),
        NextHopChoice::AsItIs if draft.next_hop == before => "unchanged".to_owned(),
        NextHopChoice::AsItIs => draft.next_hop.to_string(),
    };
    Change { attribute: "next_hop", removed: vec![before.to_string()], added: vec![added] }
}
