//! The routing information bases of one router (RFC 4271 §3.2, §9): Adj-RIB-In per peer,
//! Loc-RIB with multipath, Adj-RIB-Out per peer.
//!
//! In: sessions coming and going, their UPDATEs, locally originated prefixes, and which next
//! hops can be reached. Out: changes of the best paths, for the kernel, and for each peer the
//! announcements and withdrawals that bring it up to date. Both are pulled by their readers and
//! keyed by prefix, so a slow reader costs the newest state of each prefix and no more.
//!
//! Reads no clock, opens no socket, waits for nobody.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use crate::{
    aspath::Asn,
    attrs::{Attrs, NextHop},
    config::RibPeerConfig,
    family::{Family, FamilySet},
    prefix::Prefix,
    wire::Update,
};

/// A peer of this router, by a number given by the caller and never used for another peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub u32);

/// Settings of the RIB as a whole.
#[derive(Clone, Debug)]
pub struct RibConfig {
    /// Our AS.
    pub asn: Asn,
    /// Our BGP identifier.
    pub router_id: Ipv4Addr,
    /// Cluster id as a route reflector (RFC 4456 §7); the router id unless set.
    pub cluster_id: Ipv4Addr,
    /// Most paths used at once for one prefix; 1 means no multipath.
    pub multipath: usize,
    /// Whether paths whose next hop does not resolve are left out (RFC 4271 §9.1.2.1). Off for
    /// a router that forwards nothing itself, such as a route server or reflector.
    pub resolve_next_hops: bool,
}

/// A session that has just been established.
#[derive(Clone, Debug)]
pub struct PeerUp {
    /// What was agreed with the peer.
    pub families: FamilySet,
    /// Our AS on this session.
    pub local_asn: Asn,
    /// The peer's AS.
    pub peer_asn: Asn,
    /// The peer's BGP identifier.
    pub router_id: Ipv4Addr,
    /// The peer's address.
    pub address: IpAddr,
    /// How its routes are treated.
    pub config: RibPeerConfig,
}

/// What the Loc-RIB now holds for one prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BestChange {
    /// The prefix.
    pub prefix: Prefix,
    /// The paths to use, best first; none means that the prefix is gone.
    pub paths: Vec<BestPath>,
}

/// One path in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BestPath {
    /// Who announced it; `None` if this router originates it.
    pub peer: Option<PeerId>,
    /// Its attributes after import policy.
    pub attrs: Arc<Attrs>,
}

/// Announcements or withdrawals for one peer: one UPDATE's worth of content or more, to be
/// encoded and split by [`Update::encode`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Advertisement {
    /// These prefixes now have these attributes.
    Reach {
        /// Attributes as the peer must see them.
        attrs: Arc<Attrs>,
        /// Prefixes of one family.
        prefixes: Vec<Prefix>,
    },
    /// These prefixes are gone.
    Withdraw(Vec<Prefix>),
    /// The initial transfer of this family is complete (RFC 4724 §2).
    EndOfRib(Family),
}

/// Where traffic to a next hop would go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// It can be reached, at this interior cost (0: on a connected network).
    Reachable {
        /// Cost to compare in step e of RFC 4271 §9.1.2.2.
        cost: u32,
    },
    /// No route leads there.
    Unreachable,
}

/// One path of a prefix with what became of it: the answer to "why (not) this one?".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathView {
    /// Who announced it; `None` if this router originates it.
    pub peer: Option<PeerId>,
    /// Attributes: after import policy, or as received if it was not accepted.
    pub attrs: Arc<Attrs>,
    /// Whether it is used, and if not, why.
    pub verdict: Verdict,
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

/// The step of the decision process that ruled a path out (RFC 4271 §9.1.2.2, in order).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// Another has a higher weight (set by local policy).
    Weight,
    /// Another has a higher LOCAL_PREF (§9.1.1).
    LocalPref,
    /// Another is originated by this router.
    LocallyOriginated,
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
    /// As good as the best, but the multipath limit is reached.
    MultipathLimit,
}

/// Why a path takes no part in the decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ineligible {
    /// Our own AS stands in its path (RFC 4271 §9.1.2).
    AsLoop,
    /// Our BGP identifier is its ORIGINATOR_ID (RFC 4456 §8).
    OriginatorLoop,
    /// Our cluster id stands in its CLUSTER_LIST (RFC 4456 §8).
    ClusterLoop,
    /// No route leads to its next hop.
    NextHopUnreachable,
    /// Its next hop is one of our own addresses, or none that traffic can be sent to.
    NextHopInvalid,
    /// eBGP without an import policy (RFC 8212).
    NoImportPolicy,
    /// The import policy's statement of this name rejected it.
    Rejected(Arc<str>),
}

/// Why a best path is not announced to a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotAdvertised {
    /// The peer does not speak the family.
    Family,
    /// It came from this peer.
    SplitHorizon,
    /// Learned by iBGP, and neither side is a route reflector client (RFC 4271 §9.2).
    IbgpToIbgp,
    /// A community forbids it (NO_EXPORT, NO_ADVERTISE, NO_EXPORT_SUBCONFED).
    Community,
    /// eBGP without an export policy (RFC 8212).
    NoExportPolicy,
    /// The export policy's statement of this name rejected it.
    Rejected(Arc<str>),
    /// We have no address of the family to be the next hop on this session.
    NoNextHop,
}

impl fmt::Display for Verdict {
    fn fmt(&self, _f: &mut fmt::Formatter<'_>) -> fmt::Result {
        todo!()
    }
}

/// The RIBs of one router.
#[derive(Debug)]
pub struct Rib {}

impl Rib {
    /// An empty one.
    #[must_use]
    pub fn new(_config: RibConfig) -> Self {
        todo!()
    }

    /// A session was established: its peer gets everything that is due to it, then End-of-RIB
    /// for each family.
    pub fn peer_up(&mut self, _peer: PeerId, _up: PeerUp) {
        todo!()
    }

    /// A session ended: the peer's routes are gone.
    pub fn peer_down(&mut self, _peer: PeerId) {
        todo!()
    }

    /// The peer's routes changed. Ignored if the peer is not up.
    pub fn update(&mut self, _peer: PeerId, _update: &Update) {
        todo!()
    }

    /// The peer wants a family's routes again (RFC 2918).
    pub fn refresh(&mut self, _peer: PeerId, _family: Family) {
        todo!()
    }

    /// New policies: both directions are evaluated anew, without a session reset.
    pub fn set_policies(&mut self, _peer: PeerId, _config: RibPeerConfig) {
        todo!()
    }

    /// This router originates the prefix. Idempotent.
    pub fn originate(&mut self, _prefix: Prefix, _attrs: Arc<Attrs>) {
        todo!()
    }

    /// It no longer does. Idempotent.
    pub fn withdraw(&mut self, _prefix: Prefix) {
        todo!()
    }

    /// Next hops that paths have and whose resolution is not known yet or no longer asked for:
    /// the caller answers with [`Self::set_next_hop`], and again whenever the answer changes.
    pub fn next_hops(&self) -> impl Iterator<Item = NextHop> {
        std::iter::empty()
    }

    /// Whether and how a next hop can be reached.
    pub fn set_next_hop(&mut self, _next_hop: NextHop, _resolution: Resolution) {
        todo!()
    }

    /// The next change of the Loc-RIB, each prefix once with its newest state.
    pub fn poll_best(&mut self) -> Option<BestChange> {
        todo!()
    }

    /// Peers for which [`Self::poll_advertisements`] would return something, each once until pulled.
    pub fn poll_ready(&mut self) -> Option<PeerId> {
        todo!()
    }

    /// What the peer must be told next, at most about `budget` prefixes; empty when it is up to date.
    pub fn poll_advertisements(&mut self, _peer: PeerId, _budget: usize) -> Vec<Advertisement> {
        todo!()
    }

    /// Every prefix of the Loc-RIB and Adj-RIBs-In with all its paths, in prefix order.
    pub fn routes(&self) -> impl Iterator<Item = (Prefix, Vec<PathView>)> {
        std::iter::empty()
    }

    /// The peer's Adj-RIB-In in prefix order: attributes as received (before policy), and verdict.
    #[must_use]
    pub fn received(&self, _peer: PeerId) -> Vec<(Prefix, PathView)> {
        todo!()
    }

    /// The peer's Adj-RIB-Out in prefix order: what it was or is about to be told, and for best
    /// paths that it is not told, why.
    #[must_use]
    pub fn advertised(&self, _peer: PeerId) -> Vec<(Prefix, Result<Arc<Attrs>, NotAdvertised>)> {
        todo!()
    }

    /// Counts of a peer for one family.
    #[must_use]
    pub fn peer_counts(&self, _peer: PeerId, _family: Family) -> PeerCounts {
        todo!()
    }

    /// Prefixes in the Loc-RIB of a family.
    #[must_use]
    pub fn best_count(&self, _family: Family) -> usize {
        todo!()
    }
}

/// How many routes of one family a peer accounts for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerCounts {
    /// In its Adj-RIB-In.
    pub received: usize,
    /// Of these, accepted by policy and eligible.
    pub accepted: usize,
    /// Of these, in use (best or multipath).
    pub best: usize,
    /// In its Adj-RIB-Out.
    pub advertised: usize,
}
