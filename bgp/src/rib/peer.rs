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
    account::{Account, PeerCounts, Tally},
    adj_out::{AdjOut, Manner},
    aggregate::Aggregate,
    dense::{DestId, DestSet},
    dest::Path,
    export::ToldPath,
    group::{GroupId, Groups},
    imports::ImportCounts,
    loc::Loc,
    monitor::Monitored,
};
use crate::{
    aspath::Asn,
    attrs::NextHop,
    config::{Counted, RibPeerConfig},
    family::{Family, FamilySet, PerFamily},
    policy::{PeerRef, Regions, Source},
    role::Role,
    session::Established,
    timestamp::Timestamp,
    wire::{Codec, MAX_EXTENDED_LEN, MAX_LEN},
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
    /// This router is about to go away: everything that peers are told is marked with
    /// GRACEFUL_SHUTDOWN (RFC 8326 §4).
    pub drain: bool,
    /// Prefixes that are announced while this router originates something inside them; no prefix
    /// twice.
    pub aggregates: Vec<Aggregate>,
}

impl RibConfig {
    /// A router that forwards, without multipath.
    #[must_use]
    pub const fn new(asn: Asn, router_id: Ipv4Addr) -> Self {
        Self {
            asn,
            router_id,
            cluster_id: router_id,
            multipath: 1,
            resolve_next_hops: true,
            drain: false,
            aggregates: Vec::new(),
        }
    }
}

/// A session that has just been established.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// What else was agreed.
    pub options: SessionOptions,
    /// How its routes are treated.
    pub config: RibPeerConfig,
    /// How the session began.
    pub opening: Opening,
}

/// What a session has beyond the plain exchange of routes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionOptions {
    /// The peer has graceful restart, and so sends an End-of-RIB for certain (RFC 4724 §2).
    pub graceful_restart: bool,
    /// Families in which the peer knows of long-lived stale routes (RFC 9494).
    pub long_lived: FamilySet,
    /// Families whose prefixes the peer announces with path identifiers (RFC 7911).
    pub add_path_receive: FamilySet,
    /// Families whose prefixes it is told with path identifiers: it can be told of several paths.
    pub add_path_send: FamilySet,
    /// The peer reads AS numbers of two octets only (RFC 6793 §4.2).
    pub two_octet_as: bool,
    /// It takes messages of up to 65535 octets instead of 4096 (RFC 8654 §4).
    pub extended_messages: bool,
    /// The answer to a route refresh is marked at its beginning and end (RFC 7313).
    pub enhanced_refresh: bool,
    /// Our role towards the peer (RFC 9234).
    pub role: Option<Role>,
}

impl From<&Established> for SessionOptions {
    fn from(terms: &Established) -> Self {
        Self {
            graceful_restart: terms.graceful_restart.is_some(),
            long_lived: terms.long_lived_families(),
            add_path_receive: terms.codec.add_path_receive,
            add_path_send: terms.codec.add_path_send,
            two_octet_as: !terms.codec.four_octet_as,
            extended_messages: terms.codec.max_send_len > MAX_LEN,
            enhanced_refresh: terms.enhanced_refresh,
            role: terms.role,
        }
    }
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

    /// Is it a client of our route server?
    pub(super) fn is_route_server_client(&self) -> bool {
        self.is_external() && self.config.route_server_client
    }

    /// The number by which it is told of a path: 0 where it is told of one at most.
    pub(super) const fn number_told(&self, path: &Path, family: Family) -> u32 {
        if self.options.add_path_send.contains(family) { path.told_as() } else { 0 }
    }

    /// How it is written to.
    pub(super) fn codec(&self) -> Codec {
        let extended = self.extended_next_hop;
        Codec {
            four_octet_as: !self.options.two_octet_as,
            external: self.is_external(),
            families: self.families,
            add_path_receive: self.options.add_path_receive,
            add_path_send: self.options.add_path_send,
            extended_next_hop: [Family::Ipv4Unicast].into_iter().filter(|_| extended).collect(),
            max_receive_len: MAX_LEN,
            max_send_len: if self.options.extended_messages { MAX_EXTENDED_LEN } else { MAX_LEN },
        }
    }

    /// Does it matter to it which paths there are besides the best?
    pub(super) fn looks_beyond_best(&self) -> bool {
        !self.options.add_path_send.is_empty()
            || self.is_route_server_client()
            || self.config.send_link_bandwidth
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

/// A peer while its session lasts, and after that while paths of it are kept as stale.
#[derive(Debug)]
pub(super) struct Peer {
    /// Who it is, or was.
    pub(super) up: PeerUp,
    /// The same for those who monitor it.
    pub(super) monitored: Arc<Monitored>,
    /// Destinations in its Adj-RIB-In. The paths themselves stand with the destinations.
    pub(super) received: DestSet,
    /// Its Adj-RIB-Out; `None` once its session has ended.
    pub(super) out: Option<Out>,
    /// What it has told of its routes as a whole.
    pub(super) inbound: PerFamily<Inbound>,
    /// What became of what it announced.
    pub(super) imports: ImportCounts,
    /// Prefixes for which import makes the same of the same attributes; `None` if that is all.
    pub(super) import_regions: Option<Regions>,
    tallies: PerFamily<Tally>,
    readiness: Readiness,
}

/// What a peer is told: kept for it alone, or with others.
#[derive(Debug)]
pub(super) enum Out {
    Alone(Box<AdjOut>),
    Member(GroupId),
}

impl Out {
    /// What the peer was told of a destination.
    pub(super) fn told_of(
        &self,
        peer: PeerId,
        groups: &Groups,
        (family, id): (Family, DestId),
    ) -> Vec<ToldPath> {
        match self {
            Self::Alone(out) => out.told_of(family, id).collect(),
            Self::Member(group) => {
                groups.told_of(*group, peer, id).map(|attrs| (0, attrs)).into_iter().collect()
            }
        }
    }

    /// Destinations that the peer was told of.
    pub(super) fn told(&self, peer: PeerId, groups: &Groups) -> Vec<DestId> {
        match self {
            Self::Alone(out) => out.told(),
            Self::Member(group) => groups.told(*group, peer),
        }
    }

    /// Is something kept from it since it was told as much as it may be?
    pub(super) fn is_held_back(&self, family: Family, id: DestId) -> bool {
        match self {
            Self::Alone(out) => out.is_held_back(family, id),
            Self::Member(_) => false,
        }
    }

    fn told_count(&self, peer: PeerId, groups: &Groups, loc: &Loc, family: Family) -> usize {
        match self {
            Self::Alone(out) => out.told_count(family),
            Self::Member(group) => groups.told_count(*group, peer, family, loc),
        }
    }

    fn has_work(&self, peer: PeerId, groups: &Groups) -> bool {
        match self {
            Self::Alone(out) => out.has_work(),
            Self::Member(group) => groups.has_work(*group, peer),
        }
    }
}

/// How far a session has come with one family of the peer's routes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Inbound {
    /// Its End-of-RIB has arrived.
    pub(super) ended: bool,
    /// It is announcing everything again (RFC 7313 §4).
    pub(super) refreshing: bool,
    /// Somebody was told that its paths come near their limit.
    pub(super) warned: bool,
    /// Its paths went over their limit, and no more of them are taken.
    pub(super) exceeded: bool,
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
            out: None,
            import_regions: up.config.import_regions(),
            up,
            received: DestSet::default(),
            inbound: PerFamily::default(),
            imports: ImportCounts::default(),
            tallies: PerFamily::default(),
            readiness: Readiness::Idle,
        }
    }

    /// It is up again, and paths of before are still there.
    pub(super) fn resume(&mut self, id: PeerId, up: PeerUp) {
        self.monitored = Arc::new(Monitored::new(id, &up));
        self.imports = ImportCounts::default();
        self.import_regions = up.config.import_regions();
        self.up = up;
    }

    /// What its Adj-RIB-Out depends on besides its routes.
    pub(super) const fn manner(&self, deferring: bool) -> Manner {
        Manner {
            families: self.up.families,
            add_path: self.up.options.add_path_send,
            marks_refreshes: self.up.options.enhanced_refresh,
            deferring,
            limits: self.up.config.max_advertised,
        }
    }

    /// Its session has ended. Gives what it had been told.
    pub(super) fn suspend(&mut self) -> Option<Out> {
        self.inbound = PerFamily::default();
        self.readiness = Readiness::Idle;
        self.out.take()
    }

    /// A path of it came, went or changed; `exists` says whether it still has one for this
    /// destination. `None` is no path.
    pub(super) fn path_changed(
        &mut self,
        id: DestId,
        family: Family,
        (old, new): (Option<Account>, Option<Account>),
        exists: bool,
    ) {
        if exists {
            self.received.insert(id);
        } else {
            self.received.remove(id);
        }
        self.tallies.get_mut(family).shift(old, new);
    }

    /// One of its paths is accounted for differently.
    pub(super) fn account_changed(&mut self, family: Family, old: Account, new: Account) {
        self.tallies.get_mut(family).shift(Some(old), Some(new));
    }

    /// What it accounts for.
    pub(super) fn counts(
        &self,
        id: PeerId,
        (groups, loc): (&Groups, &Loc),
        family: Family,
    ) -> PeerCounts {
        let advertised = self.out.as_ref().map_or(0, |out| out.told_count(id, groups, loc, family));
        PeerCounts { advertised, ..self.tallies.get(family).counts }
    }

    /// Its paths of a family, as a limit counts them.
    pub(super) const fn counted(&self, family: Family, counted: Counted) -> usize {
        let tally = self.tallies.get(family);
        match counted {
            Counted::Received => tally.counts.received,
            Counted::Accepted => tally.let_in,
        }
    }

    /// Something may be there to pull: puts it into the queue unless it knows already.
    pub(super) fn list(&mut self, id: PeerId, ready: &mut VecDeque<PeerId>) {
        if self.readiness == Readiness::Idle {
            self.readiness = Readiness::Listed;
            ready.push_back(id);
        }
    }

    /// Taken from the queue; true if there is something to pull indeed.
    pub(super) fn name(&mut self, id: PeerId, groups: &Groups) -> bool {
        let work = self.has_work(id, groups);
        self.readiness = if work { Readiness::Named } else { Readiness::Idle };
        work
    }

    /// It has pulled: from now on it is named again when there is more.
    pub(super) fn pulled(&mut self, id: PeerId, groups: &Groups, ready: &mut VecDeque<PeerId>) {
        if self.readiness == Readiness::Named {
            self.readiness = Readiness::Idle;
        }
        if self.has_work(id, groups) {
            self.list(id, ready);
        }
    }

    /// Does its session stand?
    pub(super) const fn is_up(&self) -> bool {
        self.out.is_some()
    }

    /// Is there anything to tell it?
    pub(super) fn has_work(&self, id: PeerId, groups: &Groups) -> bool {
        self.out.as_ref().is_some_and(|out| out.has_work(id, groups))
    }
}
