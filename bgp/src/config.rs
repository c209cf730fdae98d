//! Settings of a speaker and its peers, already checked: cannot hold nonsense.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr},
    num::NonZeroU8,
    sync::Arc,
    time::Duration,
};

use crate::{
    aspath::Asn,
    family::{Family, FamilySet, PerFamily},
    policy::{Policy, Regions},
    role::Role,
};

mod restart;

pub use restart::{
    BadRestartTime, BadStaleTime, GracefulRestart, RestartTime, Restarted, StaleTime,
};

/// Zero (off) or 3..=65535 seconds (RFC 4271 §4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HoldTime(u16);

impl HoldTime {
    /// Neither hold timer nor keepalives.
    pub const OFF: Self = Self(0);

    /// Checks the range.
    ///
    /// # Errors
    ///
    /// [`BadHoldTime`] for 1 and 2.
    pub const fn new(seconds: u16) -> Result<Self, BadHoldTime> {
        match seconds {
            1 | 2 => Err(BadHoldTime(seconds)),
            _ => Ok(Self(seconds)),
        }
    }

    /// In seconds; 0 means off.
    #[must_use]
    pub const fn seconds(self) -> u16 {
        self.0
    }

    /// As a duration; `None` means off.
    #[must_use]
    pub const fn duration(self) -> Option<Duration> {
        match self.0 {
            0 => None,
            seconds => Some(Duration::from_secs(seconds as u64)),
        }
    }
}

/// 90 seconds (RFC 4271 §10).
impl Default for HoldTime {
    fn default() -> Self {
        Self(90)
    }
}

/// One or two seconds were asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("hold time of {0} s is not allowed; use 0 (off) or at least 3 s (RFC 4271 §4.2)")]
pub struct BadHoldTime(pub u16);

/// Which AS the peer must be in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerAs {
    /// Exactly this one.
    Exact(Asn),
    /// One of these, of which none is ours.
    OneOf(Arc<[Asn]>),
    /// Any but ours.
    External,
    /// Ours.
    Internal,
}

impl PeerAs {
    /// True if a peer in `theirs` is welcome to a speaker in `ours`. AS 0 never is (RFC 7607).
    #[must_use]
    pub fn admits(&self, ours: Asn, theirs: Asn) -> bool {
        theirs.0 != 0
            && match self {
                Self::Exact(asn) => *asn == theirs,
                Self::OneOf(list) => list.contains(&theirs),
                Self::External => theirs != ours,
                Self::Internal => theirs == ours,
            }
    }
}

/// As in a configuration: a number, `external`, `internal`, or numbers with commas.
impl fmt::Display for PeerAs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(asn) => fmt::Display::fmt(asn, f),
            Self::OneOf(list) => {
                for (i, asn) in list.iter().enumerate() {
                    write!(f, "{}{asn}", if i == 0 { "" } else { ", " })?;
                }
                Ok(())
            }
            Self::External => f.write_str("external"),
            Self::Internal => f.write_str("internal"),
        }
    }
}

/// How far away the peer may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ttl {
    /// On the link: sent with TTL 1 (eBGP default).
    OnLink,
    /// Up to this many hops away: sent with this TTL.
    Multihop(NonZeroU8),
    /// GTSM (RFC 5082): sent with 255; received only with at least 256 − this many hops.
    Security(NonZeroU8),
    /// No limit: sent with TTL 255 (iBGP default).
    Any,
}

/// What a session needs to know of the speaker and of one peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionConfig {
    /// Our AS on this session.
    pub local_asn: Asn,
    /// Our BGP identifier; never 0.0.0.0.
    pub router_id: Ipv4Addr,
    /// Which AS we accept.
    pub peer_asn: PeerAs,
    /// Hold time to offer.
    pub hold_time: HoldTime,
    /// Keepalive interval if shorter than a third of the hold time agreed on.
    pub keepalive_time: Option<Duration>,
    /// Wait between attempts to connect (RFC 4271 §8, ConnectRetryTime), jittered.
    pub connect_retry: Duration,
    /// Never dial, only accept.
    pub passive: bool,
    /// Families to offer; not empty.
    pub families: FamilySet,
    /// Families in which we take several paths to a prefix (RFC 7911).
    pub add_path_receive: FamilySet,
    /// Families in which we announce several paths to a prefix.
    pub add_path_send: FamilySet,
    /// Families other than IPv6 whose prefixes may have IPv6 next hops (RFC 8950).
    pub extended_next_hop: FamilySet,
    /// Offer messages of up to 65535 octets (RFC 8654).
    pub extended_messages: bool,
    /// What we are to the peer (RFC 9234); only on sessions between ASes.
    pub role: Option<Role>,
    /// Refuse a peer that does not tell its role (RFC 9234 §4.2, strict mode).
    pub strict_role: bool,
    /// Graceful restart; `None`: not offered, and the peer's routes go with its session.
    pub graceful_restart: Option<GracefulRestart>,
}

impl SessionConfig {
    /// A session with nothing out of the ordinary: both families, a hold time of 90 s, dialled
    /// every 5 s, and none of the options.
    #[must_use]
    pub fn new(local_asn: Asn, router_id: Ipv4Addr, peer_asn: PeerAs) -> Self {
        Self {
            local_asn,
            router_id,
            peer_asn,
            hold_time: HoldTime::default(),
            keepalive_time: None,
            connect_retry: Duration::from_secs(5),
            passive: false,
            families: FamilySet::ALL,
            add_path_receive: FamilySet::NONE,
            add_path_send: FamilySet::NONE,
            extended_next_hop: FamilySet::NONE,
            extended_messages: false,
            role: None,
            strict_role: false,
            graceful_restart: None,
        }
    }
}

/// How the RIB treats a peer's routes. Immutable while the session lasts, policies aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RibPeerConfig {
    /// Name of the peer, as policies know it.
    pub name: Arc<str>,
    /// Group of peers that it is in, as policies know it.
    pub group: Option<Arc<str>>,
    /// What may come in, and how it is changed. `None` on eBGP: nothing (RFC 8212); on iBGP: all.
    pub import: Option<Arc<Policy>>,
    /// What may go out, and how it is changed. `None` on eBGP: nothing (RFC 8212); on iBGP: all.
    pub export: Option<Arc<Policy>>,
    /// This peer is a client of our route reflector (RFC 4456).
    pub route_reflector_client: bool,
    /// This peer is a client of our route server (RFC 7947): path and next hop go out unchanged.
    pub route_server_client: bool,
    /// Announce ourselves as next hop also where the rules would keep it (iBGP).
    pub next_hop_self: bool,
    /// How often our own AS may stand in a path from this peer without the path being a loop
    /// (RFC 4271 §9.1.2 leaves it to configuration). For networks in which several sites share
    /// an AS.
    pub allow_own_as: u8,
    /// Put our AS in place of the peer's in what an eBGP peer is told, so that a peer whose other
    /// sites have its AS does not take their paths for loops.
    pub as_override: bool,
    /// What becomes of private ASes in what an eBGP peer is told.
    pub private_as: PrivateAs,
    /// What is different if our AS on this session is not our own.
    pub local_as: LocalAs,
    /// Of which paths the peer is told in families in which it can be told of several (RFC 7911).
    pub add_path: AddPath,
    /// How many paths of each family it may announce.
    pub max_prefixes: PerFamily<Option<PrefixLimit>>,
    /// How many paths of each family it is told at most; what is more is kept from it until there
    /// is room.
    pub max_advertised: PerFamily<Option<u32>>,
    /// The session with this peer is about to be taken down: everything that it is told is
    /// marked with GRACEFUL_SHUTDOWN, and what comes from it by eBGP is the last choice
    /// (RFC 8326 §4.2).
    pub drain: bool,
    /// Tell the peer the bandwidth of all the paths that this router uses, where this router is its
    /// next hop and all of them tell theirs (draft-ietf-idr-link-bandwidth).
    pub send_link_bandwidth: bool,
    /// Pass on learned routes that carry BLACKHOLE to this eBGP peer (RFC 7999 §3.2 wants them
    /// kept inside the AS).
    pub send_blackhole: bool,
    /// Refuse paths of an eBGP peer that do not begin with its AS (RFC 4271 §6.3). To be
    /// switched off for a peer that is a route server, whose AS is not in the path (RFC 7947).
    pub enforce_first_as: bool,
    /// The peer is an eBGP one on the link: its next hops must be on a connected network
    /// (RFC 4271 §5.1.3).
    pub next_hops_on_link: bool,
    /// Our addresses on this session, from which next-hop-self takes the first of the family.
    /// A link-local IPv6 one belongs here only if the peer is on the link; it then goes with
    /// the global one (RFC 2545 §3). A peer's path with one of these as next hop is refused.
    pub local_addresses: Vec<IpAddr>,
}

impl RibPeerConfig {
    /// When a session that was ended for too many paths of a family is tried again; `None`: when
    /// somebody wants it.
    #[must_use]
    pub const fn restart_after(&self, family: Family) -> Option<Duration> {
        match self.max_prefixes.get(family) {
            Some(PrefixLimit { at_limit: AtLimit::Stop { restart_after }, .. }) => *restart_after,
            Some(PrefixLimit { at_limit: AtLimit::Warn, .. }) | None => None,
        }
    }
}

impl RibPeerConfig {
    /// Prefixes that import treats alike if their attributes are the same; `None` if that is all of
    /// them.
    pub(crate) fn import_regions(&self) -> Option<Regions> {
        let policy = self.import.as_ref().filter(|policy| policy.depends_on_prefix())?;
        Some(Regions::of(policy))
    }
}

/// What RFCs ask of a peer about which nothing else is said: no policy, no special role.
impl Default for RibPeerConfig {
    fn default() -> Self {
        Self {
            name: "".into(),
            group: None,
            import: None,
            export: None,
            route_reflector_client: false,
            route_server_client: false,
            next_hop_self: false,
            allow_own_as: 0,
            as_override: false,
            private_as: PrivateAs::Keep,
            local_as: LocalAs::default(),
            add_path: AddPath::All,
            max_prefixes: PerFamily { ipv4: None, ipv6: None },
            max_advertised: PerFamily { ipv4: None, ipv6: None },
            drain: false,
            send_link_bandwidth: false,
            send_blackhole: false,
            enforce_first_as: true,
            next_hops_on_link: false,
            local_addresses: Vec::new(),
        }
    }
}

/// What becomes of private AS numbers (RFC 6996) in what an eBGP peer is told. The peer's own AS
/// always stays: it is how the peer finds loops.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PrivateAs {
    /// They go out as they are.
    #[default]
    Keep,
    /// They are left out, wherever they stand.
    Remove,
    /// Ours stands in the place of each: the path keeps its length.
    Replace,
}

/// What a session on which we pose as another AS (its `local_asn`) does to eBGP paths. With both
/// switches off, the AS that we pose as stands like an AS between us and the peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LocalAs {
    /// Do not put it in front of the paths that the peer announces.
    pub no_prepend: bool,
    /// Do not show our own AS behind it in what the peer is told.
    pub replace_as: bool,
}

/// Of how many paths to one prefix a peer is told that can be told of several (RFC 7911): the best
/// of those that it may be told at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AddPath {
    /// Every eligible one.
    #[default]
    All,
    /// Those that this router uses itself, by multipath.
    Used,
    /// At most this many.
    Best(NonZeroU8),
}

/// How many paths of a family a peer may announce (RFC 4271 §6.7, RFC 4486 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrefixLimit {
    /// More than this is too much.
    pub max: u32,
    /// Somebody is warned when there are so many.
    pub warn_from: u32,
    /// Which paths count.
    pub counted: Counted,
    /// What becomes of more.
    pub at_limit: AtLimit,
}

/// In words, as for an operator who compares two settings.
impl fmt::Display for PrefixLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counted = match self.counted {
            Counted::Received => "received",
            Counted::Accepted => "accepted",
        };
        let at_limit = match self.at_limit {
            AtLimit::Warn => "then warn",
            AtLimit::Stop { .. } => "then stop",
        };
        write!(f, "{} {counted}, warn from {}, {at_limit}", self.max, self.warn_from)?;
        match self.at_limit {
            AtLimit::Stop { restart_after: Some(rest) } => {
                write!(f, " and restart after {} s", rest.as_secs())
            }
            AtLimit::Warn | AtLimit::Stop { restart_after: None } => Ok(()),
        }
    }
}

/// Which of a peer's paths count for its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// All that it announces, before policy.
    Received,
    /// Those that checks and import policy let in, whether or not their next hop will do.
    Accepted,
}

/// What becomes of paths beyond a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtLimit {
    /// They are taken, and somebody is told.
    Warn,
    /// They are not, and the session is to be ended.
    Stop {
        /// When it is tried again; `None`: when somebody wants it.
        restart_after: Option<Duration>,
    },
}

impl AtLimit {
    /// Is the session to be ended?
    #[must_use]
    pub const fn stops(self) -> bool {
        match self {
            Self::Warn => false,
            Self::Stop { .. } => true,
        }
    }
}
