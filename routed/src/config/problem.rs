//! What can be wrong with `routed.toml`, and what to write instead.
//!
//! Plain data with texts; who finds what is in the sections.

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use bgp::{
    aspath::Asn,
    community::BadCommunity,
    config::BadHoldTime,
    family::Family,
    prefix::{BadPrefix, Prefix},
};

use super::{
    fault::Place,
    policies::{PolicyCaution, PolicyProblem},
};

/// What can be wrong.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    // The file.
    /// The file cannot be opened or read.
    #[error("cannot be read: {0}; check the path and its permissions")]
    Unreadable(io::Error),
    /// Surely not a configuration.
    #[error("is larger than {limit} octets; is this the right file?")]
    TooLarge {
        /// Octets that would be read.
        limit: u64,
    },
    /// Nothing but white space and comments.
    #[error("is empty; it needs at least [node] with a name and [bgp] with asn and router_id")]
    Empty,
    /// Not text.
    #[error("not UTF-8 text from here on; save the file as UTF-8, or remove the octet")]
    NotUtf8,
    /// Not TOML.
    #[error("syntax: {}", .0.message())]
    Syntax(toml::de::Error),
    /// Not TOML, and the fault is in the last line.
    #[error("syntax: {}; the file ends here: was it written to its end?", .0.message())]
    CutOff(toml::de::Error),

    // Shape.
    /// A required key is not there.
    #[error("missing; write {0}")]
    Missing(&'static str),
    /// A key that nobody reads.
    #[error("unknown key; {0}")]
    UnknownKey(Hint),
    /// Another type.
    #[error("must be {wanted}, not {found}")]
    WrongType {
        /// What is read here, with its article.
        wanted: &'static str,
        /// What stands here.
        found: &'static str,
    },
    /// A number too small or too large.
    #[error("{got} is not allowed; use {min} to {max}")]
    OutOfRange {
        /// As written.
        got: i64,
        /// Smallest.
        min: i64,
        /// Largest.
        max: i64,
    },
    /// A word that is none of those known here.
    #[error("{got:?} is not known here; use {}", quoted(.allowed))]
    NotOneOf {
        /// As written.
        got: String,
        /// Every word that is.
        allowed: &'static [&'static str],
    },
    /// Nothing in a list that needs something.
    #[error("must not be empty; {0}")]
    EmptyValue(&'static str),
    /// The same again.
    #[error("{what} stands {} already; remove one of them", at_line(.first))]
    Repeated {
        /// The value.
        what: String,
        /// Where it was first.
        first: Place,
    },

    // Values.
    /// Not a prefix.
    #[error(transparent)]
    Prefix(#[from] BadPrefix),
    /// Not a community.
    #[error(transparent)]
    Community(#[from] BadCommunity),
    /// One or two seconds.
    #[error(transparent)]
    HoldTime(#[from] BadHoldTime),
    /// Not an address.
    #[error("{0:?} is not an IP address; write it as in 10.1.1.0 or fd00:1::1")]
    Address(String),
    /// Not an IPv4 address.
    #[error("{0:?} is not an IPv4 address; write it as in 10.0.0.11")]
    AddressV4(String),
    /// Not an IPv6 address.
    #[error("{0:?} is not an IPv6 address; write it as in fd00:1::1")]
    AddressV6(String),
    /// Scoped, unspecified, multicast or broadcast.
    #[error("{0} cannot be used here; use a unicast address of a host")]
    NotUnicast(IpAddr),
    /// An IPv6 link-local address needs an interface.
    #[error(
        "{0} is link-local; for a peer write interface = \"eth1\" in place of address, and its \
         link-local address is learned"
    )]
    LinkLocal(String),
    /// Not the name of an interface.
    #[error("{0:?} cannot be an interface; use 1 to 15 characters without spaces and slashes")]
    InterfaceName(String),
    /// Not ADDRESS:PORT.
    #[error("{0:?} is not an address with a port; write it as in 0.0.0.0:179 or [::]:179")]
    SocketAddress(String),
    /// Not where a station can be.
    #[error(
        "{0:?} is not an address with a port; write it as in 192.0.2.10:5000 or [2001:db8::10]:5000"
    )]
    StationAddress(String),
    /// Port 0.
    #[error("port 0 is not allowed; use 1 to 65535 (BGP: 179)")]
    PortZero,
    /// Not an AS number.
    #[error("{0:?} is not an AS number; write 4200000011 or \"64086.59915\"{also}", also = .1)]
    Asn(String, &'static str),
    /// An AS number that no speaker may have (RFC 7607, RFC 6793 §9, RFC 7300).
    #[error("AS {0} is reserved and can be nobody's; use a private one such as 4200000011")]
    ReservedAsn(Asn),
    /// 0.0.0.0 (RFC 6286 §2.1).
    #[error("0.0.0.0 is not allowed; use a unique address of this node, such as its loopback's")]
    ZeroId,
    /// A name with a character that would confuse tables, labels or commands.
    #[error("{0:?} has a character that names cannot have; use letters, digits and . _ - :")]
    Name(String),
    /// A path that depends on the working folder.
    #[error("{} is not an absolute path; begin it with /", .0.display())]
    RelativePath(PathBuf),
    /// `sockaddr_un` holds 108 octets with the final zero.
    #[error("path of {0} octets is too long for a unix socket; use at most 107")]
    LongPath(usize),

    // Cross checks.
    /// One path for two sockets.
    #[error("{} is the path of both sockets.cni and sockets.admin; change one", .0.display())]
    SameSocket(PathBuf),
    /// Two listeners that cannot both be bound.
    #[error("{this} and {other} cannot both be listened on; remove one or change its port")]
    Overlap {
        /// This one.
        this: SocketAddr,
        /// The other.
        other: SocketAddr,
    },
    /// The name is another peer's address.
    #[error("{0:?} is the address or interface of another peer; choose another name")]
    NameIsAddress(String),
    /// A peer that is this node itself.
    #[error("{0} is this node's own address; give the peer's")]
    OwnAddress(IpAddr),
    /// A peer in the pods' range.
    #[error("{address} lies in the pod range {range}; a peer cannot be there")]
    PeerInPods {
        /// The peer.
        address: IpAddr,
        /// The range.
        range: Prefix,
    },
    /// Our own AS among those of others.
    #[error(
        "has our own AS {0}; write \"internal\" alone, or take it out: iBGP and eBGP peers are not \
         treated alike"
    )]
    OwnAsnInList(Asn),
    /// A session of an AS with itself that is meant to be one between two.
    #[error(
        "{0} is the AS of the peer as well: with one AS on both sides it would be an iBGP session; \
         choose another, or write bgp.asn = {0}"
    )]
    LocalAsnIsPeers(Asn),
    /// Peers that would be pods.
    #[error("{prefix} lies in the pod range {range}; peers cannot be there")]
    PeersInPods {
        /// Of the peers.
        prefix: Prefix,
        /// The range.
        range: Prefix,
    },
    /// The kernel would drop everything that this peer says.
    #[error(
        "has no password_file but lies in {0}, whose peers have one: the kernel would drop what is \
         not signed; give it a password_file too"
    )]
    UnsignedInSigned(Prefix),
    /// IPv4 to IPv6 or the reverse.
    #[error("{local} and the peer {peer} are not of one family; use an address of the peer's")]
    FamilyMismatch {
        /// Our end.
        local: IpAddr,
        /// The peer.
        peer: IpAddr,
    },
    /// IPv4 to IPv6 or the reverse.
    #[error("{local} and the station {station} are not of one family; use one of the station's")]
    StationFamily {
        /// Our end.
        local: IpAddr,
        /// The station.
        station: IpAddr,
    },
    /// A group that is not there.
    #[error("no [[peer_groups]] has the name {name:?}; {}{}", known_names(.known), did_you_mean(.meant))]
    UnknownGroup {
        /// As written.
        name: String,
        /// Those there are.
        known: Vec<String>,
        /// The one that is nearest, if near.
        meant: Option<String>,
    },
    /// A peer that is not there.
    #[error(
        "no peer or group of [[dynamic_peers]] has the name {name:?}; {}{}",
        known_names(.known), did_you_mean(.meant)
    )]
    UnknownPeer {
        /// As written.
        name: String,
        /// Those there are.
        known: Vec<String>,
        /// The one that is nearest, if near.
        meant: Option<String>,
    },
    /// In a group, a key that tells peers apart.
    #[error("{0} is one peer's own; write it in its [[peers]]")]
    Identity(&'static str),
    /// Both given.
    #[error("excludes {0}; remove one of them")]
    Excludes(&'static str),
    /// Only within an AS.
    #[error("is for iBGP peers only, and this one is external (RFC 4456); remove it")]
    IbgpOnly,
    /// Only between ASes.
    #[error("is for eBGP peers only, and this one is internal (RFC 7947); remove it")]
    EbgpOnly,
    /// Neither dials nor can be dialled.
    #[error("cannot be, since bgp.listen is empty and so no side would open the session")]
    PassiveWithoutListener,
    /// Pods where there are none.
    #[error("cannot be in mode \"speaker\"; remove it, or set node.mode = \"node\"")]
    SpeakerOnly,
    /// A section of pods without a range.
    #[error("has no range; write ipv4 = [\"10.244.1.0/24\"], ipv6 = [...] or both")]
    NoRange,
    /// 0.0.0.0/0 or ::/0.
    #[error(
        "would have this node discard everything that it has no other route to; use a prefix of the \
         pods"
    )]
    DefaultAggregate,
    /// An aggregate of less than what there is.
    #[error("{prefix} is or is in the pod range {range}, which is announced anyway; remove it")]
    AggregateInRange {
        /// The aggregate.
        prefix: Prefix,
        /// The range.
        range: Prefix,
    },
    /// Wrong list.
    #[error("{0} belongs into the other list, {1}")]
    WrongList(Prefix, &'static str),
    /// The name of the pool that stands in the section itself.
    #[error("{0:?} is the pool of [pods] itself; choose another name, or put the ranges there")]
    FirstPoolsName(String),
    /// Nothing to keep out.
    #[error("{0} is in no range of the pools; remove it or correct it")]
    ReservedOutside(Prefix),
    /// Ranges that share addresses.
    #[error("{this} overlaps with {other}{}; a pod address must have one range", at(.first))]
    RangesOverlap {
        /// This one.
        this: Prefix,
        /// The earlier one.
        other: Prefix,
        /// Where that stands.
        first: Place,
    },
    /// Too few addresses.
    #[error("{0} is too small for pods; use /{1} or shorter")]
    RangeTooSmall(Prefix, u8),
    /// Addresses that no pod can have.
    #[error("{0} contains or is in {1} ({2}), which pods cannot have; use a unicast range")]
    RangeReserved(Prefix, Prefix, &'static str),
    /// Which destinations are pods?
    #[error(
        "NAT must know which {0} addresses are pods', so that these go on seeing each other's own; give \
         the ranges of all pods of the cluster in pods.cluster_ranges"
    )]
    NatWithoutCluster(Family),
    /// Whose packets?
    #[error(
        "[pods] has no ranges of its own and so is no pool; write nat_outgoing into those [[pods.pools]] \
         whose pods need it"
    )]
    NatOfNoRange,
    /// An own range that other nodes take for the outside.
    #[error(
        "{0} lies in none of pods.cluster_ranges, so nodes with NAT would take its pods for the outside; \
         add it there, or a prefix that covers it"
    )]
    OutsideCluster(Prefix),
    /// Nothing can be sent from it.
    #[error(
        "{0} cannot be a packet's source; use an address of this node that the fabric routes to it"
    )]
    NatAddress(IpAddr),
    /// One of them would never be used.
    #[error("{second} is the second of its family after {first}; remove one")]
    SecondNatAddress {
        /// The earlier one.
        first: IpAddr,
        /// This one.
        second: IpAddr,
    },
    /// Table `local` is the kernel's own.
    #[error("255 is the kernel's table of local addresses; use 254 (main) or another")]
    LocalTable,
    /// The number of another routing daemon.
    #[error(
        "{0} marks routes of {1}, which would be mixed up with ours; use 132 or another free one"
    )]
    ProtocolTaken(u8, &'static str),

    // Password files.
    /// It cannot be read.
    #[error("{} cannot be read: {}; the file must hold the key", .0.display(), .1)]
    PasswordUnreadable(PathBuf, io::Error),
    /// Its first line is empty.
    #[error("{} has an empty first line; write the TCP MD5 key there", .0.display())]
    PasswordEmpty(PathBuf),
    /// The kernel takes 80 octets.
    #[error("{}: the key is longer than 80 octets, the most that TCP MD5 takes", .0.display())]
    PasswordTooLong(PathBuf),

    /// Of `[peers.bfd]`.
    #[error(transparent)]
    BfdKey(#[from] routed_core::bfd::BadKey),

    /// In a policy or a list of one.
    #[error(transparent)]
    Policy(#[from] PolicyProblem),
}

/// What to write in place of a key that nobody reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hint {
    /// A key that looks much the same.
    DidYouMean(&'static str),
    /// Every key of the section.
    Known(Vec<&'static str>),
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DidYouMean(key) => write!(f, "did you mean {key}?"),
            Self::Known(keys) => write!(f, "known here are {}", keys.join(", ")),
        }
    }
}

/// What is allowed and perhaps not meant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Caution {
    /// eBGP without import policy.
    #[error(
        "no import policy: nothing is taken from this eBGP peer (RFC 8212); \
        name one with import here or in [bgp]"
    )]
    NoImport,
    /// eBGP without export policy.
    #[error(
        "no export policy: nothing is announced to this eBGP peer (RFC 8212); \
        name one with export here or in [bgp]"
    )]
    NoExport,
    /// What comes in was never originated here.
    #[error("\"originated\" lets nothing in: what a peer announces is not originated by this node")]
    ImportOriginated,
    /// The keepalive would never be used.
    #[error("{} s is more than a third of the hold time of {} s; keepalives go out every {} s",
        .keepalive.as_secs(), .hold.as_secs(), .hold.as_secs() / 3)]
    LongKeepalive {
        /// As written.
        keepalive: Duration,
        /// In force.
        hold: Duration,
    },
    /// A dead peer would never be noticed.
    #[error("0 turns keepalives off: a peer that dies silently keeps its routes for ever")]
    HoldTimeOff,
    /// The key is readable by everybody.
    #[error("{} can be read by every user of this host; chmod 600 it", .0.display())]
    PasswordExposed(PathBuf),
    /// Something for a family that is not spoken.
    #[error("has no effect, since families does not have {0}")]
    FamilyOff(&'static str),
    /// In a policy or a list of one.
    #[error(transparent)]
    Policy(PolicyCaution),
    /// A group without members.
    #[error("no peer is in this group")]
    UnusedGroup,
    /// Pods among the peers.
    #[error(
        "contains the pod range {0}: pods can open sessions; take narrower prefixes, or a \
         password_file"
    )]
    PodsArePeers(Prefix),
    /// An aggregate of nothing.
    #[error("{0} contains no range of [pods] and so is never announced")]
    EmptyAggregate(Prefix),
    /// A part of what is switched off.
    #[error("has no effect, since graceful_restart is false")]
    NoGracefulRestart,
    /// A router alone.
    #[error("no [[peers]]: nothing is announced and nothing learned")]
    NoPeers,
}

fn quoted(words: &[&str]) -> String {
    let words: Vec<_> = words.iter().map(|word| format!("{word:?}")).collect();
    words.join(", ")
}

/// Names to choose from, in an error's remedy.
pub(super) fn known_names(known: &[String]) -> String {
    if known.is_empty() {
        return "there is none in this file".to_owned();
    }
    format!("known are {}", known.join(", "))
}

/// The name that was probably meant, if one is near.
pub(super) fn did_you_mean(name: &Option<String>) -> String {
    name.as_ref().map_or_else(String::new, |name| format!("; did you mean {name:?}?"))
}

fn at(place: &Place) -> String {
    place.line.map_or_else(String::new, |line| format!(" in line {line}"))
}

fn at_line(place: &Place) -> String {
    place.line.map_or_else(|| "there".to_owned(), |line| format!("in line {line}"))
}
