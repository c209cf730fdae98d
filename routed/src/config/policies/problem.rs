//! What can be wrong with policies and their lists, and what to write instead.

use bgp::{
    community::{BadExtCommunity, BadRate},
    policy::BadPathRegex,
    prefix::Prefix,
};

use crate::config::problem::{did_you_mean, known_names};

/// What can be wrong.
#[derive(Debug, thiserror::Error)]
pub enum PolicyProblem {
    /// A policy that is not there.
    #[error("no policy has the name {name:?}; {}{}", known_names(.known), did_you_mean(.meant))]
    UnknownPolicy {
        /// As written.
        name: String,
        /// Those there are.
        known: Vec<String>,
        /// The one that is nearest, if near.
        meant: Option<String>,
    },
    /// The name of a built-in policy.
    #[error("{0:?} is the name of a built-in policy; choose another")]
    ReservedName(String),
    /// A policy that comes to be applied by itself.
    #[error("policies would apply each other without end ({}); take one out", .0.join(" -> "))]
    Cycle(Vec<String>),
    /// Policies in policies, beyond all use.
    #[error(
        "with all the policies in it, this policy would try {statements} statements for a path, \
         or is nested too deeply; at most {most} statements and {depth} levels are allowed"
    )]
    TooLarge {
        /// How many.
        statements: usize,
        /// How many may be.
        most: usize,
        /// Levels that may be.
        depth: usize,
    },

    /// Neither a value nor a list's name.
    #[error(
        "{name:?} is neither {value} nor the name of a list in [[{table}]]{}",
        did_you_mean(.meant)
    )]
    UnknownList {
        /// As written.
        name: String,
        /// What could stand there, with an example.
        value: &'static str,
        /// Where lists are.
        table: &'static str,
        /// The name that is nearest, if near.
        meant: Option<String>,
    },
    /// A list of communities, but not of the wanted kind.
    #[error("the list {name:?} has no {kind}; add some to it, or take another list")]
    OtherKind {
        /// The list.
        name: String,
        /// The wanted kind.
        kind: &'static str,
    },
    /// A list whose name would be taken for a value.
    #[error("{0:?} would be taken for a value; begin the name with a letter, without : and .")]
    ListName(String),
    /// A peer that is not there.
    #[error("no peer has the name {name:?}; {}{}", known_names(.known), did_you_mean(.meant))]
    UnknownPeer {
        /// As written.
        name: String,
        /// Those there are.
        known: Vec<String>,
        /// The one that is nearest, if near.
        meant: Option<String>,
    },

    /// `ge 16 le 32` is not that.
    #[error("{0:?} is not understood; write \"10.0.0.0/8\", \"10.0.0.0/8 ge 16 le 24\"")]
    PrefixMatch(String),
    /// A range of lengths that nothing can have.
    #[error("lengths {min} to {max} cannot match in {prefix}; {} <= ge <= le <= {}",
        .prefix.len(), .prefix.family().max_len())]
    PrefixLengths {
        /// The covering prefix.
        prefix: Prefix,
        /// `ge`.
        min: u8,
        /// `le`.
        max: u8,
    },
    /// Neither an address nor a prefix.
    #[error("{0:?} is no next hop; write an address, a prefix such as 10.0.0.0/8 or a prefix list")]
    NextHop(String),
    /// Not an AS path expression.
    #[error(transparent)]
    Expression(#[from] BadPathRegex),
    /// Not an extended community.
    #[error(transparent)]
    ExtCommunity(#[from] BadExtCommunity),
    /// Not a bandwidth.
    #[error(transparent)]
    Rate(#[from] BadRate),
    /// `5-3`.
    #[error("{0:?} is an empty range; exchange the numbers")]
    EmptyAsnRange(String),
    /// A range that is empty.
    #[error("min = {0} is greater than max = {1}; exchange them")]
    EmptyRange(usize, usize),

    /// A pattern where communities are to be put on a path.
    #[error("{0:?} is a pattern, which cannot be put on a path; write the community in full")]
    PatternAdded(String),
    /// `+10` without quotes, which TOML reads as 10.
    #[error("+{0} without quotes is just {0}; write \"+{0}\" to add, {0} to set")]
    PlusWithoutQuotes(String),
    /// Not a change to a number.
    #[error("{got:?} is not understood; write 200, \"+10\" or \"-10\"{also}")]
    Adjust {
        /// As written.
        got: String,
        /// What else there is.
        also: &'static str,
    },
    /// Not a next hop to set.
    #[error("{0:?} cannot be set; write an address, \"self\", \"peer\" or \"unchanged\"")]
    SetNextHop(String),
    /// Several that exclude each other.
    #[error("can be one word, or one address for each family; remove the rest")]
    ManyNextHops,
}

/// What is allowed and perhaps not meant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyCaution {
    /// A policy that nobody names.
    #[error("no peer uses this policy")]
    UnusedPolicy,
    /// A list that nobody names.
    #[error("no policy uses this list")]
    UnusedList,
    /// A statement that neither changes nor decides.
    #[error("has neither set nor apply nor action, so it does nothing")]
    IdleStatement,
    /// A statement after one that takes all its paths.
    #[error("is never reached: {0:?} before it decides every path that it could match")]
    Unreachable(String),
    /// A policy in a list after one that leaves it nothing.
    #[error(
        "is never asked: {0:?} before it accepts or rejects everything; give that \
         default = \"next-policy\""
    )]
    NeverAsked(String),
    /// A change that import does not heed.
    #[error("{0:?} sets next_hop = \"self\" or \"unchanged\", which has no effect on import")]
    NoEffectOnImport(String),
    /// A change that export does not heed.
    #[error("{0:?} sets weight or next_hop = \"peer\", which has no effect on export")]
    NoEffectOnExport(String),
}
