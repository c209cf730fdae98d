//! What can differ, in words.

use std::{fmt, net::IpAddr};

use bgp::{family::Family, prefix::Prefix};

use super::Aspect;
use crate::{attachment::AttachmentId, pod::wiring::Mac};

/// One thing that is not as it shall be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Difference {
    /// `prevResult` does not list the pod's end.
    #[error("prevResult lists no interface {0} in the pod")]
    NotInResult(String),
    /// `prevResult` lacks an address of the pod.
    #[error("prevResult lacks the pod's address {0}")]
    AddressNotInResult(IpAddr),
    /// `prevResult` has an address that the pod does not have.
    #[error("prevResult has {0}, which is not leased to this pod")]
    NotLeased(IpAddr),
    /// An end of the pair is not there.
    #[error("{name} is missing {side}")]
    Missing {
        /// Where.
        side: Side,
        /// Which.
        name: String,
    },
    /// The host's end has another name.
    #[error("{name} is now called {seen} on the host")]
    Renamed {
        /// As we made it.
        name: String,
        /// As it is.
        seen: String,
    },
    /// An interface of that name is there but belongs to something else.
    #[error("{name} is not the other end of {peer}")]
    NotPaired {
        /// Which.
        name: String,
        /// What it should be paired with.
        peer: String,
    },
    /// The host's end is not in the group of pods' interfaces.
    #[error("{name} on the host is in link group {seen} instead of 5332")]
    Group {
        /// Which.
        name: String,
        /// Where it is.
        seen: u32,
    },
    /// The host's end does not say whose it is: after a restart the pod would not be known.
    #[error("{0} on the host has lost its alias")]
    Unlabelled(String),
    /// The kernel gives the host's end addresses.
    #[error("{0} on the host makes itself IPv6 addresses; set its addrgenmode to none")]
    MakesAddresses(String),
    /// An interface is down.
    #[error("{name} is down {side}")]
    Down {
        /// Where.
        side: Side,
        /// Which.
        name: String,
    },
    /// Another MTU.
    #[error("{name} {side} has MTU {seen} instead of {expected}")]
    Mtu {
        /// Where.
        side: Side,
        /// Which.
        name: String,
        /// Octets.
        expected: u32,
        /// Octets.
        seen: u32,
    },
    /// Another hardware address.
    #[error("{name} {side} has hardware address {} instead of {expected}", seen.map_or("none".to_owned(), |mac| mac.to_string()))]
    Mac {
        /// Where.
        side: Side,
        /// Which.
        name: String,
        /// As it should be.
        expected: Mac,
        /// As it is.
        seen: Option<Mac>,
    },
    /// The pod could become the node's router.
    #[error("{0} on the host believes router advertisements; set its accept_ra to 0")]
    BelievesAdvertisements(String),
    /// The host's route to the pod is missing.
    #[error("the host has no route {0}")]
    NoHostRoute(Prefix),
    /// The host's route leads elsewhere.
    #[error("the host's route {prefix} leads to {}, not to the pod", index.map_or("no interface".to_owned(), |index| format!("interface {index}")))]
    HostRouteElsewhere {
        /// Where to.
        prefix: Prefix,
        /// Interface that it uses.
        index: Option<u32>,
    },
    /// Somebody else made the host's route.
    #[error("the host's route {prefix} was made by another program (protocol {protocol})")]
    HostRouteForeign {
        /// Where to.
        prefix: Prefix,
        /// Protocol number found.
        protocol: u8,
    },
    /// The rules drop what the pod sends.
    #[error("the rules in the table slash32 do not let the pod send from {0}")]
    NotPermitted(IpAddr),
    /// The host does not forward.
    #[error("the host does not forward {0}; set its forwarding sysctl to 1")]
    NotForwarding(Family),
    /// The permanent neighbour is missing or changed.
    #[error("the permanent neighbour {address} at {mac} is missing {side}")]
    Neighbour {
        /// Where.
        side: Side,
        /// Of the neighbour.
        address: IpAddr,
        /// Where it should be.
        mac: Mac,
    },
    /// The pod lacks its address.
    #[error("the pod has no address {0}")]
    NoAddress(Prefix),
    /// The pod's address is not of full length.
    #[error("the pod's address {address} has length /{seen} instead of /{expected}")]
    AddressLength {
        /// Which.
        address: IpAddr,
        /// Bits.
        expected: u8,
        /// Bits.
        seen: u8,
    },
    /// The address cannot be used yet.
    #[error("the pod's address {0} is tentative")]
    Tentative(Prefix),
    /// The address cannot be used at all.
    #[error("the pod's address {0} is a duplicate on its link")]
    Duplicate(Prefix),
    /// The gateway cannot be reached.
    #[error("the pod has no route to its gateway {0}")]
    NoGatewayRoute(IpAddr),
    /// A further route is missing.
    #[error("the pod has no route {destination} via {gateway}")]
    NoRoute {
        /// Where to.
        destination: Prefix,
        /// Its gateway.
        gateway: IpAddr,
    },
    /// An address of the pod is leased to another, or to nobody.
    #[error("the pod's address {address} is leased to {}", by.as_ref().map_or("nobody".to_owned(), ToString::to_string))]
    LeasedElsewhere {
        /// Which.
        address: IpAddr,
        /// Who has it in the daemon's book.
        by: Option<AttachmentId>,
    },
    /// The default route is missing.
    #[error("the pod has no default {family} route via {gateway}")]
    NoDefaultRoute {
        /// Family.
        family: Family,
        /// Its gateway.
        gateway: IpAddr,
    },
}

impl Difference {
    /// What it is a difference in.
    #[must_use]
    pub const fn aspect(&self) -> Aspect {
        match self {
            Self::NotInResult(_)
            | Self::AddressNotInResult(_)
            | Self::NotLeased(_)
            | Self::LeasedElsewhere { .. } => Aspect::Result,
            Self::Missing { .. }
            | Self::Renamed { .. }
            | Self::NotPaired { .. }
            | Self::Group { .. }
            | Self::Unlabelled(_) => Aspect::Pair,
            Self::Down { .. } => Aspect::Up,
            Self::Mtu { .. } => Aspect::Mtu,
            Self::Mac { .. } => Aspect::Mac,
            Self::BelievesAdvertisements(_) | Self::MakesAddresses(_) => Aspect::Advertisements,
            Self::NoHostRoute(_)
            | Self::HostRouteElsewhere { .. }
            | Self::HostRouteForeign { .. } => Aspect::HostRoutes,
            Self::NotPermitted(_) => Aspect::Rules,
            Self::NotForwarding(_) => Aspect::Forwarding,
            Self::Neighbour { side: Side::Host, .. } => Aspect::HostNeighbours,
            Self::Neighbour { side: Side::Pod, .. } => Aspect::Neighbours,
            Self::NoAddress(_)
            | Self::AddressLength { .. }
            | Self::Tentative(_)
            | Self::Duplicate(_) => Aspect::Addresses,
            Self::NoGatewayRoute(_) | Self::NoRoute { .. } | Self::NoDefaultRoute { .. } => {
                Aspect::Routes
            }
        }
    }
}

/// In whose namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The host's.
    Host,
    /// The pod's.
    Pod,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Host => "on the host",
            Self::Pod => "in the pod",
        })
    }
}
