//! Import and export policy: ordered statements, compiled once, applied to paths.
//!
//! In: a path's prefix, attributes, where it came from and where it would go. Out: accepted with
//! new attributes, or rejected by a named statement; on request with every statement that was
//! tried. A pure function: keeps no state, and a policy that [depends](Policy::inputs) on less
//! than all of that gives the same answer for all of the rest.
//!
//! `evaluate` is the one interpreter; everything that it looks up is compiled when the policy is
//! made: prefix lists to sorted sets, expressions to tables of states.

mod action;
mod asns;
mod condition;
mod evaluate;
mod explain;
mod inputs;
mod path_regex;
mod prefixes;
mod regions;
mod tags;

use std::{fmt, sync::Arc};

pub(crate) use self::regions::{Region, Regions};
pub use self::{
    action::{Action, Adjust, Edit, NextHopAction},
    asns::AsnSet,
    condition::{Carries, Condition, PeerTest},
    explain::{Change, Explanation, Step, StepResult, changes},
    inputs::Inputs,
    path_regex::{BadPathRegex, Flaw, PathRegex},
    prefixes::{PrefixMatch, PrefixSet},
    tags::{Tag, TagMatch, TagSet},
};
use self::{
    evaluate::{Draft, Observer, Verdict},
    explain::Recorder,
};
use crate::{
    aspath::Asn,
    attrs::{Attrs, NextHop},
    prefix::Prefix,
};

/// An ordered list of statements with a verdict for paths that none decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Name, as in configuration and in every explanation.
    pub name: Arc<str>,
    /// Tried in order; the first that matches and decides ends the policy.
    pub statements: Vec<Statement>,
    /// For paths that no statement decides.
    pub default: Decision,
}

/// What a policy or statement decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Let it pass. No further policy is asked.
    Accept,
    /// Stop it. No further policy is asked.
    Reject,
    /// Leave it, with the changes made, to whoever applied this policy: the next policy of a
    /// chain, or what follows in the statement. A path that is left by the last policy is
    /// rejected.
    NextPolicy,
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Accept => "accept",
            Self::Reject => "reject",
            Self::NextPolicy => "next-policy",
        })
    }
}

/// One statement: conditions, changes, and a decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Name shown when this statement rejects.
    pub name: Arc<str>,
    /// All must hold; none given matches everything.
    pub conditions: Vec<Condition>,
    /// Applied in order if the conditions hold.
    pub actions: Vec<Action>,
    /// Applied after that. If it accepts or rejects, that is the decision; if it leaves the path,
    /// its changes are kept.
    pub apply: Option<Arc<Policy>>,
    /// `None`: go on with the next statement, changes kept.
    pub decision: Option<Decision>,
}

/// What is asked of a policy besides the attributes.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The destination.
    pub prefix: Prefix,
    /// Where the path came from.
    pub source: Source,
    /// Our AS on the session.
    pub local_asn: Asn,
    /// The peer of the session: who announced the path (import), or would hear of it (export).
    pub peer: PeerRef<'a>,
    /// Who announced the path: on import the same; `None` if this router originates it.
    pub from: Option<PeerRef<'a>>,
}

/// A peer as policies know it.
#[derive(Clone, Copy, Debug)]
pub struct PeerRef<'a> {
    /// Name.
    pub name: &'a str,
    /// Group that it is configured in.
    pub group: Option<&'a str>,
    /// Its AS.
    pub asn: Asn,
    /// Its address, as next hop of what it announces.
    pub next_hop: NextHop,
}

/// Where a path came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// Originated by this router.
    Local,
    /// Learned by eBGP.
    Ebgp,
    /// Learned by iBGP.
    Ibgp,
}

/// What a policy makes of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Let through.
    Accepted(Accepted),
    /// Rejected.
    Rejected(Rejection),
}

/// An accepted path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Its attributes (the same `Arc` if nothing was changed).
    pub attrs: Arc<Attrs>,
    /// What export shall do about the next hop; import has nothing to do.
    pub next_hop: NextHopChoice,
}

/// The next hop that is to be announced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NextHopChoice {
    /// The one that the rules of BGP give.
    #[default]
    Usual,
    /// This router.
    Own,
    /// The one that the attributes have, where there is one: of learned paths, and wherever a
    /// policy has set it.
    AsItIs,
}

/// What rejected a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The policy.
    pub policy: Arc<str>,
    /// Its statement; `None` if no statement decided, so that the default did.
    pub statement: Option<Arc<str>>,
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.statement {
            Some(statement) => write!(f, "statement {statement} of policy {}", self.policy),
            None => write!(f, "the default of policy {}", self.policy),
        }
    }
}

impl Policy {
    /// Accepts everything unchanged.
    #[must_use]
    pub fn accept_all() -> Self {
        Self { name: "all".into(), statements: Vec::new(), default: Decision::Accept }
    }

    /// Rejects everything.
    #[must_use]
    pub fn reject_all() -> Self {
        Self { name: "none".into(), statements: Vec::new(), default: Decision::Reject }
    }

    /// Accepts what this router originates itself, unchanged, and nothing else.
    #[must_use]
    pub fn originated() -> Self {
        let statement = Statement {
            name: "originated".into(),
            conditions: vec![Condition::Source(vec![Source::Local])],
            actions: Vec::new(),
            apply: None,
            decision: Some(Decision::Accept),
        };
        Self { name: "originated".into(), statements: vec![statement], default: Decision::Reject }
    }

    /// Several policies in order: the first that accepts or rejects decides, and the changes of
    /// those before it are kept. What all of them leave is rejected.
    #[must_use]
    pub fn chain(policies: Vec<Arc<Self>>) -> Self {
        let names: Vec<&str> = policies.iter().map(|policy| &*policy.name).collect();
        let name = names.join(", ").into();
        let statement = |policy: Arc<Self>| Statement {
            name: Arc::clone(&policy.name),
            conditions: Vec::new(),
            actions: Vec::new(),
            apply: Some(policy),
            decision: None,
        };
        let statements = policies.into_iter().map(statement).collect();
        Self { name, statements, default: Decision::Reject }
    }

    /// Applies the policy to a path.
    #[must_use]
    pub fn apply(&self, context: &Context<'_>, attrs: &Arc<Attrs>) -> Outcome {
        self.judge(context, attrs, &mut ()).1
    }

    /// Applies the policy to a path and tells how it came to its answer. Slower than
    /// [`Self::apply`], and sure to agree with it.
    #[must_use]
    pub fn explain(&self, context: &Context<'_>, attrs: &Arc<Attrs>) -> Explanation {
        let mut recorder = Recorder::default();
        let (verdict, outcome) = self.judge(context, attrs, &mut recorder);
        recorder.finish(&verdict, outcome)
    }

    fn judge<O: Observer>(
        &self,
        context: &Context<'_>,
        attrs: &Arc<Attrs>,
        observer: &mut O,
    ) -> (Verdict<'_>, Outcome) {
        let mut draft = Draft::new(attrs);
        let verdict = self.evaluate(context, &mut draft, observer);
        let outcome = if verdict.accepts() {
            let next_hop = draft.next_hop_choice;
            Outcome::Accepted(Accepted { attrs: draft.finish(attrs), next_hop })
        } else {
            Outcome::Rejected(Rejection {
                policy: Arc::clone(&verdict.policy.name),
                statement: verdict.statement.map(|statement| Arc::clone(&statement.name)),
            })
        };
        (verdict, outcome)
    }
}

#[cfg(test)]
mod tests;
