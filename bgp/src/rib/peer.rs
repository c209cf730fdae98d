//! The router and its peers as the RIB sees them: who they are and what they account for.

use std::{
    collections::VecDeque,
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    num::NonZeroU32,
    sync::Arc,
};

use bytes::Bytes;

use super::{
    adj_out::AdjOut,
    dense::{DestId, DestSet},
    monitor::Monitored,
};
use crate::{
    aspath::Asn,
    attrs::NextHop,
    config::RibPeerConfig,
    family::{Family, FamilySet},
    policy::{PeerRef, Source},
    timestamp::Timestamp,
};

/// A peer of this router, by a number given by the caller and never used for another peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub u32);

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Settings of the RIB as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
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

impl RibConfig {
    /// A router that forwards, without multipath.
    #[must_use]
    pub const fn new(asn: Asn, router_id: Ipv4Addr) -> Self {
        Self { asn, router_id, cluster_id: router_id, multipath: 1, resolve_next_hops: true }
    }
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
    /// Our interface to the peer by its index, if the peer is on the link: the scope of its
    /// link-local next hops.
    pub link: Option<NonZeroU32>,
    /// Whether it takes IPv6 next hops for IPv4 prefixes (RFC 8950 §4).
    pub extended_next_hop: bool,
    /// How its routes are treated.
    pub config: RibPeerConfig,
    /// How the session began.
    pub opening: Opening,
}

/// What stood at the beginning of a session, for those who monitor it (RFC 7854 §4.10).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    /// Our end of the connection.
    pub local: SocketAddr,
    /// The peer's end of it.
    pub remote: SocketAddr,
    /// The OPEN that we sent, header included.
    pub sent_open: Bytes,
    /// The OPEN that the peer sent, header included.
    pub received_open: Bytes,
    /// When the session was established.
    pub at: Timestamp,
}

/// Nothing known: no addresses, no OPENs, no time.
impl Default for Opening {
    fn default() -> Self {
        let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        Self {
            local: nowhere,
            remote: nowhere,
            sent_open: Bytes::new(),
            received_open: Bytes::new(),
            at: Timestamp::UNKNOWN,
        }
    }
}

impl PeerUp {
    /// Is the peer in another AS?
    pub(super) fn is_external(&self) -> bool {
        self.peer_asn != self.local_asn
    }

    /// Who it is to policies.
    pub(super) fn as_seen_by_policies(&self) -> PeerRef<'_> {
        PeerRef {
            name: &self.config.name,
            group: self.config.group.as_deref(),
            asn: self.peer_asn,
            next_hop: NextHop::new(self.address).heard_on(self.link),
        }
    }

    /// What its paths are to policies.
    pub(super) fn source(&self) -> Source {
        if self.is_external() { Source::Ebgp } else { Source::Ibgp }
    }
}

/// A peer while its session lasts.
#[derive(Debug)]
pub(super) struct Peer {
    /// Who it is.
    pub(super) up: PeerUp,
    /// The same for those who monitor it.
    pub(super) monitored: Arc<Monitored>,
    /// Destinations in its Adj-RIB-In. The paths themselves stand with the destinations.
    pub(super) received: DestSet,
    /// Its Adj-RIB-Out.
    pub(super) out: AdjOut,
    counts: PerFamily<PeerCounts>,
    readiness: Readiness,
}

/// Whether the peer is named to those who pull.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Readiness {
    /// Not in the queue of ready peers.
    Idle,
    /// In the queue.
    Listed,
    /// Taken from the queue, and has not pulled since.
    Named,
}

impl Peer {
    /// A peer that has just come up.
    pub(super) fn new(id: PeerId, up: PeerUp) -> Self {
        Self {
            monitored: Arc::new(Monitored::new(id, &up)),
            out: AdjOut::new(up.families),
            up,
            received: DestSet::default(),
            counts: PerFamily::default(),
            readiness: Readiness::Idle,
        }
    }

    /// It has a path for this destination, or (`exists` false) has none any more; `old` is
    /// the standing of the path that it had before.
    pub(super) fn path_changed(
        &mut self,
        id: DestId,
        family: Family,
        old: Option<Standing>,
        exists: bool,
    ) {
        if exists {
            self.received.insert(id);
        } else {
            self.received.remove(id);
        }
        self.counts.get_mut(family).shift(old, exists.then_some(Standing::Ineligible));
    }

    /// The decision changed the standing of one of its paths.
    pub(super) fn standing_changed(&mut self, family: Family, old: Standing, new: Standing) {
        self.counts.get_mut(family).shift(Some(old), Some(new));
    }

    /// What it accounts for.
    pub(super) fn counts(&self, family: Family) -> PeerCounts {
        PeerCounts { advertised: self.out.told_count(family), ..*self.counts.get(family) }
    }

    /// Something may be there to pull: puts it into the queue unless it knows already.
    pub(super) fn list(&mut self, id: PeerId, ready: &mut VecDeque<PeerId>) {
        if self.readiness == Readiness::Idle {
            self.readiness = Readiness::Listed;
            ready.push_back(id);
        }
    }

    /// Taken from the queue; true if there is something to pull indeed.
    pub(super) fn name(&mut self) -> bool {
        let work = self.out.has_work();
        self.readiness = if work { Readiness::Named } else { Readiness::Idle };
        work
    }

    /// It has pulled: from now on it is named again when there is more.
    pub(super) fn pulled(&mut self, id: PeerId, ready: &mut VecDeque<PeerId>) {
        if self.readiness == Readiness::Named {
            self.readiness = Readiness::Idle;
        }
        if self.out.has_work() {
            self.list(id, ready);
        }
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

impl PeerCounts {
    /// A path of the peer came, went or changed: `None` is no path.
    pub(super) fn shift(&mut self, old: Option<Standing>, new: Option<Standing>) {
        for (standing, add) in [(old, false), (new, true)] {
            let Some(standing) = standing else { continue };
            let (accepted, best) = match standing {
                Standing::Ineligible => (0, 0),
                Standing::Eligible => (1, 0),
                Standing::InUse => (1, 1),
            };
            for (count, by) in
                [(&mut self.received, 1), (&mut self.accepted, accepted), (&mut self.best, best)]
            {
                *count = if add { *count + by } else { *count - by };
            }
        }
    }
}

/// What a path is to the Loc-RIB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Takes no part.
    Ineligible,
    /// Could be used, but others are.
    Eligible,
    /// Best or multipath.
    InUse,
}

/// One value for each family.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PerFamily<T> {
    ipv4: T,
    ipv6: T,
}

impl<T> PerFamily<T> {
    /// The family's.
    pub(super) const fn get(&self, family: Family) -> &T {
        match family {
            Family::Ipv4Unicast => &self.ipv4,
            Family::Ipv6Unicast => &self.ipv6,
        }
    }

    /// The family's, to change.
    pub(super) const fn get_mut(&mut self, family: Family) -> &mut T {
        match family {
            Family::Ipv4Unicast => &mut self.ipv4,
            Family::Ipv6Unicast => &mut self.ipv6,
        }
    }
}
