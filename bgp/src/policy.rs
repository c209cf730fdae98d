//! Import and export policy: ordered statements, compiled once, applied to paths.
//!
//! In: a path's prefix, attributes and where it came from. Out: accepted with new attributes,
//! or rejected by a named statement. Keeps no state.

mod action;
mod matching;

use std::{fmt, sync::Arc};

use crate::{
    aspath::Asn,
    attrs::{Attrs, Origin},
    community::{Community, LargeCommunity},
    prefix::Prefix,
};

/// An ordered list of statements with a verdict for paths that none decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Name, as in configuration and in every explanation.
    pub name: Arc<str>,
    /// Tried in order; the first that matches and accepts or rejects decides.
    pub statements: Vec<Statement>,
    /// For paths that no statement decides.
    pub default: Decision,
}

/// Accept or reject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Let it pass.
    Accept,
    /// Stop it.
    Reject,
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
    /// `None`: go on with the next statement, changes kept.
    pub decision: Option<Decision>,
}

/// A condition on a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// The prefix matches one of these.
    Prefix(Vec<PrefixMatch>),
    /// It carries one of these communities.
    Community(Vec<Community>),
    /// It carries one of these large communities.
    LargeCommunity(Vec<LargeCommunity>),
    /// One of these stands in the AS path.
    AsPathContains(Vec<Asn>),
    /// The AS path ends with one of these.
    OriginatedBy(Vec<Asn>),
    /// The AS path has a number of hops in this range.
    AsPathLength {
        /// At least.
        min: usize,
        /// At most.
        max: usize,
    },
    /// It has this ORIGIN.
    Origin(Origin),
    /// It came from here.
    Source(Source),
}

/// A prefix with a range of lengths: matches prefixes inside it whose length is in the range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrefixMatch {
    /// The covering prefix.
    pub prefix: Prefix,
    /// Shortest length that matches.
    pub min_len: u8,
    /// Longest length that matches.
    pub max_len: u8,
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

/// A change to a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Sets LOCAL_PREF.
    SetLocalPref(u32),
    /// Sets MED.
    SetMed(u32),
    /// Adds communities.
    AddCommunities(Vec<Community>),
    /// Removes communities.
    RemoveCommunities(Vec<Community>),
    /// Adds large communities.
    AddLargeCommunities(Vec<LargeCommunity>),
    /// Puts our own AS in front this often, beyond what export does anyway.
    Prepend {
        /// AS to put in front.
        asn: Asn,
        /// How often, 1..=16.
        times: usize,
    },
}

/// What a policy makes of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Accepted with these attributes (the same `Arc` if nothing was changed).
    Accepted(Arc<Attrs>),
    /// Rejected.
    Rejected(Rejection),
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
            conditions: vec![Condition::Source(Source::Local)],
            actions: Vec::new(),
            decision: Some(Decision::Accept),
        };
        Self { name: "originated".into(), statements: vec![statement], default: Decision::Reject }
    }

    /// Applies the policy to a path: statements in order until one decides, each seeing the
    /// changes of those before it; then the default.
    #[must_use]
    pub fn apply(&self, prefix: Prefix, attrs: &Arc<Attrs>, source: Source) -> Outcome {
        let mut changed = Arc::clone(attrs);
        for statement in &self.statements {
            if !statement.matches(prefix, &changed, source) {
                continue;
            }
            for action in &statement.actions {
                // Copies on the first change only.
                action.apply(Arc::make_mut(&mut changed));
            }
            if let Some(decision) = statement.decision {
                return self.conclude(decision, Some(statement), changed, attrs);
            }
        }
        self.conclude(self.default, None, changed, attrs)
    }

    fn conclude(
        &self,
        decision: Decision,
        statement: Option<&Statement>,
        changed: Arc<Attrs>,
        original: &Arc<Attrs>,
    ) -> Outcome {
        match decision {
            Decision::Accept if changed == *original => Outcome::Accepted(Arc::clone(original)),
            Decision::Accept => Outcome::Accepted(changed),
            Decision::Reject => Outcome::Rejected(Rejection {
                policy: Arc::clone(&self.name),
                statement: statement.map(|statement| Arc::clone(&statement.name)),
            }),
        }
    }
}

impl Statement {
    fn matches(&self, prefix: Prefix, attrs: &Attrs, source: Source) -> bool {
        self.conditions.iter().all(|condition| condition.holds(prefix, attrs, source))
    }
}

#[cfg(test)]
mod tests;
