//! The evaluation of a policy: the one piece of code that both applies and explains.
//!
//! In: a policy, a path, and somebody who may look on. Out: who decided what; the changes stand
//! in the draft. Without an observer and without changes it takes no memory.

use std::{ops::Deref, sync::Arc};

use super::{Condition, Context, Decision, NextHopChoice, Policy, Statement};
use crate::attrs::Attrs;

/// Attributes on their way through a policy, copied only once something changes.
pub(super) struct Draft<'a> {
    original: &'a Attrs,
    changed: Option<Attrs>,
    /// What export shall do about the next hop.
    pub(super) next_hop_choice: NextHopChoice,
}

impl<'a> Draft<'a> {
    pub(super) const fn new(original: &'a Attrs) -> Self {
        Self { original, changed: None, next_hop_choice: NextHopChoice::Usual }
    }

    /// The attributes, to be changed.
    pub(super) fn change(&mut self) -> &mut Attrs {
        self.changed.get_or_insert_with(|| self.original.clone())
    }

    /// The attributes in the end; the same `Arc` if they are what they were. `original` is what
    /// the draft was begun with.
    pub(super) fn finish(self, original: &Arc<Attrs>) -> Arc<Attrs> {
        match self.changed.filter(|changed| *changed != **original) {
            Some(changed) => Arc::new(changed),
            None => Arc::clone(original),
        }
    }
}

impl Deref for Draft<'_> {
    type Target = Attrs;

    fn deref(&self) -> &Attrs {
        self.changed.as_ref().unwrap_or(self.original)
    }
}

/// Somebody who looks on. Each call of `trying` is followed by one of `unmet` or by one each of
/// `acting`, `acted` and `left`; those of policies inside come in between.
pub(super) trait Observer {
    /// A statement is looked at.
    fn trying(&mut self, _policy: &Policy, _statement: &Statement) {}
    /// This condition of it does not hold.
    fn unmet(&mut self, _condition: &Condition) {}
    /// All of them hold; its changes come next.
    fn acting(&mut self, _draft: &Draft<'_>) {}
    /// They are made.
    fn acted(&mut self, _draft: &Draft<'_>) {}
    /// It is done with, and has decided this.
    fn left(&mut self, _decision: Option<Decision>) {}
    /// No statement has decided.
    fn defaulted(&mut self, _policy: &Policy) {}
}

/// Nobody.
impl Observer for () {}

/// Who decided what.
pub(super) struct Verdict<'p> {
    pub(super) decision: Decision,
    pub(super) policy: &'p Policy,
    /// `None`: its default.
    pub(super) statement: Option<&'p Statement>,
}

impl Verdict<'_> {
    /// A path that all policies leave to the next one is not accepted.
    pub(super) const fn accepts(&self) -> bool {
        match self.decision {
            Decision::Accept => true,
            Decision::Reject | Decision::NextPolicy => false,
        }
    }
}

impl Policy {
    /// Statements in order until one decides, each seeing the changes of those before it; then
    /// the default.
    pub(super) fn evaluate<'p, O: Observer>(
        &'p self,
        context: &Context<'_>,
        draft: &mut Draft<'_>,
        observer: &mut O,
    ) -> Verdict<'p> {
        for statement in &self.statements {
            observer.trying(self, statement);
            if let Some(condition) = statement.unmet(context, draft, observer) {
                observer.unmet(condition);
                continue;
            }
            if let Some(verdict) = self.follow(statement, context, draft, observer) {
                return verdict;
            }
        }
        observer.defaulted(self);
        Verdict { decision: self.default, policy: self, statement: None }
    }

    /// What a statement does whose conditions hold.
    fn follow<'p, O: Observer>(
        &'p self,
        statement: &'p Statement,
        context: &Context<'_>,
        draft: &mut Draft<'_>,
        observer: &mut O,
    ) -> Option<Verdict<'p>> {
        observer.acting(draft);
        for action in &statement.actions {
            action.apply(context, draft);
        }
        observer.acted(draft);
        let inner = statement.apply.as_ref().and_then(|policy| {
            let verdict = policy.evaluate(context, draft, observer);
            (verdict.decision != Decision::NextPolicy).then_some(verdict)
        });
        if inner.is_some() {
            observer.left(None);
            return inner;
        }
        observer.left(statement.decision);
        let decision = statement.decision?;
        Some(Verdict { decision, policy: self, statement: Some(statement) })
    }
}

impl Statement {
    /// The first condition that does not hold.
    fn unmet<O: Observer>(
        &self,
        context: &Context<'_>,
        attrs: &Attrs,
        observer: &mut O,
    ) -> Option<&Condition> {
        self.conditions.iter().find(|condition| !condition.holds(context, attrs, observer))
    }
}
