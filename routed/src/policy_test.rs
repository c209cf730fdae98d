//! `routed policy test`: what a peer's policies make of one path, and which statement decided.
//!
//! In: a peer, a prefix, and either a configuration with a path to be made up or the socket of a
//! running daemon that has one. Out: the attributes before and after, every statement that was
//! tried, and whether the path passes.
//!
//! Has no interpreter of its own: a made-up path goes through a RIB like any other, and a daemon
//! is asked what `routed why` asks.

mod args;
mod live;
mod made_up;
mod view;

use std::path::Path;

use bgp::{
    aspath::{AsPath, Asn},
    attrs::Origin,
    community::{Community, ExtCommunity, LargeCommunity},
    policy::Source,
    prefix::Prefix,
};

pub use self::{
    args::Args,
    view::{AttributeView, PolicyTestView, text},
};
use crate::{
    config::{Config, Invalid},
    show::ShowError,
};

/// What to test.
#[derive(Clone, Debug)]
pub struct Question {
    /// Name or address of the peer.
    pub peer: String,
    /// Which of its policies.
    pub direction: Direction,
    /// The destination.
    pub prefix: Prefix,
}

/// Import or export.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// What the peer announces.
    #[default]
    Import,
    /// What the peer is told.
    Export,
}

/// A path as somebody describes it; what is left out has the value that it most likely has.
#[derive(Clone, Debug, Default)]
pub struct Described {
    /// The AS path. Likely: the AS of an external sender, else nothing.
    pub as_path: Option<AsPath>,
    /// The next hop. Likely: the sender's address.
    pub next_hop: Option<std::net::IpAddr>,
    /// MED.
    pub med: Option<u32>,
    /// LOCAL_PREF; not from an eBGP peer.
    pub local_pref: Option<u32>,
    /// ORIGIN. Likely: IGP.
    pub origin: Option<Origin>,
    /// Communities.
    pub communities: Vec<Community>,
    /// Large communities.
    pub large_communities: Vec<LargeCommunity>,
    /// Extended communities.
    pub ext_communities: Vec<ExtCommunity>,
    /// Where a path for export came from. Likely: originated here.
    pub source: Option<Source>,
    /// Name or address of the configured peer that announced a path for export.
    pub from: Option<String>,
    /// The AS of a peer of which the configuration does not say it.
    pub peer_asn: Option<Asn>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum TestError {
    /// The configuration does not stand.
    #[error(transparent)]
    Config(#[from] Invalid),
    /// The daemon was of no help.
    #[error(transparent)]
    Show(#[from] ShowError),
    /// No peer has this name or address.
    #[error("no peer has the name or address {name:?}; known are {}", .known.join(", "))]
    UnknownPeer {
        /// As asked.
        name: String,
        /// Every peer's name.
        known: Vec<String>,
    },
    /// LOCAL_PREF where there is none.
    #[error("--local-pref: {0} is an eBGP peer, which sends no LOCAL_PREF (RFC 4271 §5.1.5)")]
    NoLocalPref(String),
    /// A source that does not go with the rest.
    #[error("--source and --from are for --export; what is imported comes from the peer itself")]
    ImportSource,
    /// The peer from which a path came is of another kind.
    #[error("--from {0} does not go with --source; leave one of them out")]
    OtherSource(String),
    /// The peer does not speak the family.
    #[error("{peer} does not speak the family of {prefix}; see families in its [[peers]]")]
    Family {
        /// The peer.
        peer: String,
        /// The prefix.
        prefix: Prefix,
    },
    /// A path that this router itself would refuse cannot be told to anybody.
    #[error("the path that was described could not be used itself: {0}")]
    Unusable(String),
    /// The daemon has no such path.
    #[error(
        "{peer} has not announced {prefix}; `routed show received {peer}` lists what it has, and \
         --config FILE makes up a path"
    )]
    NotReceived {
        /// The peer.
        peer: String,
        /// The prefix.
        prefix: Prefix,
    },
    /// The daemon has no best path.
    #[error(
        "there is no best path to {0} that could be told to anybody; --config FILE makes one up"
    )]
    NoBest(Prefix),
    /// The peer is not there.
    #[error("{0} has no session, so that nothing is told to it; --config FILE tests without one")]
    NotUp(String),
}

/// With a path that is made up and treated as this configuration says.
///
/// # Errors
///
/// [`TestError`].
pub fn made_up(
    file: &Path,
    question: &Question,
    path: &Described,
) -> Result<PolicyTestView, TestError> {
    made_up::test(&Config::load(file)?.config, question, path)
}

/// With the path that a running daemon has.
///
/// # Errors
///
/// [`TestError`].
pub fn live(socket: &Path, question: &Question) -> Result<PolicyTestView, TestError> {
    live::test(socket, question)
}
