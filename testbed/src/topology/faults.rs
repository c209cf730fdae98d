//! What can be wrong with a topology file, and how each fault is told.

use std::fmt;

use ipnetwork::IpNetwork;

/// One fault and where in the file it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Place in the file, such as `nodes[1].pods[0]`.
    pub place: String,
    /// What is wrong there.
    pub problem: Problem,
}

/// What is wrong, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The name cannot be an interface's or a host's.
    #[error(
        "{0:?} cannot name a router and its neighbours' interfaces; use 1 to 15 of a-z, 0-9 and '-', with a letter first, and not \"lo\", \"all\" or \"default\""
    )]
    BadName(String),
    /// Two routers of one name.
    #[error("{0:?} is already the name of another router; give each its own")]
    NameTwice(String),
    /// A reserved AS number.
    #[error("AS number {0} is reserved (RFC 7607, RFC 4893, RFC 7300); use another")]
    BadAsn(u32),
    /// Loopbacks are single addresses.
    #[error("{0} is not a single address; write /32 for IPv4 or /128 for IPv6")]
    LoopbackNotHost(IpNetwork),
    /// No IPv4 loopback to take the router id from.
    #[error("no IPv4 address among the loopbacks; add one, it is the router id")]
    NoRouterId,
    /// The pool has no more addresses.
    #[error("the pool {0} is used up; write a larger one")]
    PoolUsedUp(IpNetwork),
    /// The prefix has host bits set.
    #[error("{0} has bits set beyond its length; write {1}")]
    HostBits(IpNetwork, IpNetwork),
    /// Ranges on a router that carries no pods.
    #[error("only nodes have pods; use `networks` for what a ToR or spine announces")]
    PodsElsewhere,
    /// A node announces its pod ranges only.
    #[error("only ToRs and spines announce `networks`; a node announces its `pods`")]
    NetworksOnNode,
    /// Two uses of the same addresses.
    #[error("{0} overlaps {1} of {2}; give each its own")]
    Overlap(IpNetwork, IpNetwork, String),
    /// A link to nowhere.
    #[error("{0:?} is no router of this file; add it or correct the name")]
    UnknownRouter(String),
    /// A link from a router to itself.
    #[error("both ends are {0:?}; name two routers")]
    LinkToSelf(String),
    /// A second link between two routers.
    #[error("{0} and {1} are linked already, by links[{2}]; one link for each pair")]
    LinkTwice(String, String, usize),
    /// A point-to-point prefix of the wrong length.
    #[error("{0} is not a point-to-point prefix; write /31 for IPv4 or /127 for IPv6")]
    NotPointToPoint(IpNetwork),
    /// Something for addresses on a link that has none.
    #[error("an unnumbered link has no addresses; remove this, or `unnumbered`")]
    NeedsAddresses,
    /// Out of the kernel's range for IPv6.
    #[error("an MTU of {0} octets cannot carry IPv6 over a veth; use 1280 to 65535")]
    BadMtu(u32),
    /// Not a key that all three daemons' configuration files can hold.
    #[error(
        "the password must have 1 to 80 of A-Z, a-z, 0-9, '-', '_', '.' to fit every daemon's file"
    )]
    BadPassword,
    /// The LAN's name cannot be an interface's, or another's already.
    #[error(
        "{0:?} cannot name a LAN; use 1 to 15 of a-z, 0-9 and '-', with a letter first, and no router's name"
    )]
    BadLanName(String),
    /// A router is on a LAN by one interface.
    #[error("{0:?} is a member already; name each once")]
    MemberTwice(String),
    /// A LAN joins routers.
    #[error("a LAN joins two routers or more; name them")]
    LonelyLan,
    /// Everyone's peer must be there.
    #[error("{0:?} is no member; add it to `members`, or leave `hub` out for a full mesh")]
    HubElsewhere(String),
    /// Out of what all daemons can do.
    #[error("use an interval of at least 50 ms and a multiplier of at least 2")]
    BfdTooQuick,
    /// A router that nothing leads to.
    #[error("{0:?} has no link; add one to `links`, or make it a member of a LAN")]
    NoLink(String),
    /// A program next to the routing software.
    #[error("`command` is only for `runs = \"none\"`")]
    CommandBesideSoftware,
    /// Configuration for no program.
    #[error("`runs = \"none\"` has no configuration; use `files`")]
    ConfigWithoutSoftware,
    /// A file outside of what a router has for itself.
    #[error(
        "{0:?} is not the router's own; place files below /etc, /run, /var/lib, /var/log or /var/tmp, without `..`"
    )]
    FileElsewhere(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.problem)
    }
}

/// One fault a line, indented.
pub(super) fn list(faults: &[Fault]) -> String {
    faults.iter().map(|fault| format!("\n  {fault}")).collect()
}
