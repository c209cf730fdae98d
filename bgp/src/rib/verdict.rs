//! What people are told: what became of each path, and why a route is not announced.
//!
//! Every text is a short clause that a table can show after the route.

use std::{fmt, sync::Arc};

use super::peer::PeerId;
use crate::{
    attrs::Attrs,
    policy::Rejection,
    prefix::Prefix,
    role::{CustomersOnly, RouteLeak},
    wire::EncodeError,
};

/// One path of a prefix with what became of it: the answer to "why (not) this one?".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathView {
    /// Who announced it; `None` if this router originates it.
    pub peer: Option<PeerId>,
    /// The peer's number for it where it announces several (RFC 7911); 0 if it gives none.
    pub path_id: u32,
    /// Attributes: after import policy, or as received if it was not accepted.
    pub attrs: Arc<Attrs>,
    /// Whether it is used, and if not, why.
    pub verdict: Verdict,
    /// Whether its peer still stands by it.
    pub freshness: Freshness,
}

/// Whether a path is still its peer's word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Freshness {
    /// Announced in the session that stands.
    #[default]
    Current,
    /// Kept from a session that ended, while its peer restarts (RFC 4724 §4.2).
    Stale,
    /// The same after the restart time, as the last choice (RFC 9494 §4.2).
    LongLived,
}

/// What a peer is told of a path, or why it is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToldView {
    /// The prefix.
    pub prefix: Prefix,
    /// Our number for the path where the peer is told of several (RFC 7911), else 0.
    pub path_id: u32,
    /// Whose path it is; `None` if this router originates it.
    pub peer: Option<PeerId>,
    /// The attributes as the peer sees them.
    pub outcome: Result<Arc<Attrs>, NotAdvertised>,
}

/// What became of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The best: used, and announced to others.
    Best,
    /// Equal enough to the best to be used beside it.
    Multipath,
    /// Another path won at this step.
    Lost(Step),
    /// Not eligible at all.
    Ineligible(Ineligible),
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Best => f.write_str("best"),
            Self::Multipath => f.write_str("used beside the best"),
            Self::Lost(step) => write!(f, "lost: {step}"),
            Self::Ineligible(reason) => fmt::Display::fmt(reason, f),
        }
    }
}

/// The step of the decision process that ruled a path out (RFC 4271 §9.1.2.2, in order).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// It is long-lived stale, and another is not (RFC 9494 §4.3).
    LongLivedStale,
    /// Another is originated by this router.
    LocallyOriginated,
    /// Another has a higher weight in this router.
    Weight,
    /// Another has a higher LOCAL_PREF (§9.1.1).
    LocalPref,
    /// Another has a shorter AS_PATH (a).
    AsPathLength,
    /// Another has a lower ORIGIN (b).
    Origin,
    /// Another of the same neighbouring AS has a lower MED (c).
    Med,
    /// Another was learned by eBGP (d).
    EbgpOverIbgp,
    /// Another has a nearer next hop (e).
    NextHopCost,
    /// Another comes from a lower BGP identifier or ORIGINATOR_ID (f; RFC 4456 §9).
    RouterId,
    /// Another has a shorter CLUSTER_LIST (RFC 4456 §9).
    ClusterListLength,
    /// Another comes from a lower peer address (g).
    PeerAddress,
    /// Another of the same peer has a lower path identifier (ours; RFC 7911 leaves it open).
    PathId,
    /// As good as the best, but the multipath limit is reached.
    MultipathLimit,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LongLivedStale => "long-lived stale",
            Self::LocallyOriginated => "another path is originated here",
            Self::Weight => "lower weight",
            Self::LocalPref => "lower local preference",
            Self::AsPathLength => "longer AS path",
            Self::Origin => "worse origin",
            Self::Med => "higher MED from the same AS",
            Self::EbgpOverIbgp => "iBGP, another path is eBGP",
            Self::NextHopCost => "farther next hop",
            Self::RouterId => "higher router id",
            Self::ClusterListLength => "longer cluster list",
            Self::PeerAddress => "higher peer address",
            Self::PathId => "higher path identifier of the same peer",
            Self::MultipathLimit => "multipath limit reached",
        })
    }
}

/// Why a path takes no part in the decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ineligible {
    /// Our own AS stands in its path (RFC 4271 §9.1.2).
    AsLoop,
    /// Its path does not begin with the AS of the eBGP peer that sent it (RFC 4271 §6.3).
    FirstAs,
    /// Our BGP identifier is its ORIGINATOR_ID (RFC 4456 §8).
    OriginatorLoop,
    /// Our cluster id stands in its CLUSTER_LIST (RFC 4456 §8).
    ClusterLoop,
    /// Its next hop is one of our own addresses, or none that traffic can be sent to.
    NextHopInvalid,
    /// By the roles of both sides it should not have come from this peer (RFC 9234 §5).
    RouteLeak(RouteLeak),
    /// eBGP without an import policy (RFC 8212).
    NoImportPolicy,
    /// The import policy rejected it.
    Rejected(Rejection),
    /// It would be long-lived stale, which it forbids by NO_LLGR (RFC 9494 §4.2).
    NoLongLived,
    /// No route leads to its next hop, or none is known yet.
    NextHopUnreachable,
    /// From an eBGP peer on the link, with a next hop that is not on a connected network
    /// (RFC 4271 §5.1.3).
    NextHopNotOnLink,
}

impl fmt::Display for Ineligible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AsLoop => "loop: our AS is in the AS path",
            Self::FirstAs => "AS path does not begin with the peer's AS",
            Self::OriginatorLoop => "loop: we are its originator",
            Self::ClusterLoop => "loop: our cluster id is in the cluster list",
            Self::NextHopInvalid => "next hop is our own address or not usable",
            Self::RouteLeak(leak) => return write!(f, "{leak}"),
            Self::NoImportPolicy => "eBGP peer without import policy (RFC 8212)",
            Self::Rejected(rejection) => return write!(f, "rejected by {rejection}"),
            Self::NoLongLived => "stale, and not to be kept for long (NO_LLGR)",
            Self::NextHopUnreachable => "next hop unreachable",
            Self::NextHopNotOnLink => "next hop is not on a connected network",
        })
    }
}

/// Why a best path is not announced to a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotAdvertised {
    /// The peer does not speak the family.
    Family,
    /// We have restarted, and some peers have not told us all their routes yet (RFC 4724 §4.1).
    Deferred,
    /// It came from this peer.
    SplitHorizon,
    /// Learned by iBGP, and neither side is a route reflector client (RFC 4271 §9.2).
    IbgpToIbgp,
    /// This router originates it, and tells of this aggregate instead (RFC 4271 §9.2.2.2).
    Aggregated(Prefix),
    /// A community forbids it (NO_EXPORT, NO_ADVERTISE, NO_EXPORT_SUBCONFED).
    Community,
    /// It carries BLACKHOLE, and is not to leave the AS (RFC 7999 §3.2).
    Blackhole,
    /// It is long-lived stale, and the peer is external and does not know of such routes
    /// (RFC 9494 §4.3).
    LongLivedStale,
    /// It is for customers only, which the peer is not (RFC 9234 §5).
    CustomersOnly(CustomersOnly),
    /// eBGP without an export policy (RFC 8212).
    NoExportPolicy,
    /// The export policy rejected it.
    Rejected(Rejection),
    /// The peer is told of as many better paths as it shall be.
    Enough,
    /// The peer is told of as many prefixes as it shall be.
    PrefixLimit,
    /// We have no address of the family to be the next hop on this session.
    NoNextHop,
    /// No message that the peer takes can hold it (RFC 8654 §4).
    Unsendable(EncodeError),
}

impl fmt::Display for NotAdvertised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Family => "peer does not speak the family",
            Self::Deferred => "held back until peers have told all after our restart",
            Self::SplitHorizon => "came from this peer",
            Self::IbgpToIbgp => "learned by iBGP, no reflector client on either side",
            Self::Aggregated(summary) => return write!(f, "{summary} is announced instead"),
            Self::Community => "a community forbids it",
            Self::Blackhole => "a blackhole is not announced to other ASes",
            Self::LongLivedStale => "long-lived stale, which the peer does not know",
            Self::CustomersOnly(mark) => return write!(f, "{mark}"),
            Self::NoExportPolicy => "eBGP peer without export policy (RFC 8212)",
            Self::Rejected(rejection) => return write!(f, "rejected by {rejection}"),
            Self::Enough => "better paths are announced instead",
            Self::PrefixLimit => "as many prefixes are announced as are allowed",
            Self::NoNextHop => "no own address of the family on this session",
            Self::Unsendable(error) => return write!(f, "too long for this peer: {error}"),
        })
    }
}
