//! CHECK: what is there compared with what ADD made.
//!
//! In: a pod's [`Wiring`], what the runtime remembers of it (`prevResult`), and a [`Picture`] of
//! the kernel. Out: every difference at once. Things that others added are no differences; where
//! a later plugin of the chain has changed MAC or MTU, `prevResult` says so and counts.

use std::{fmt, net::IpAddr};

use bgp::{family::Family, prefix::Prefix};

use super::wiring::{Mac, Wiring, gateway};
use crate::attachment::AttachmentId;

/// What the kernel holds of one pod's network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Picture {
    /// The interface with the index of the host's end.
    pub host: Option<LinkSeen>,
    /// For each of the pod's addresses, the host's most specific route to it, if any.
    pub host_routes: Vec<RouteSeen>,
    /// Neighbours of the host's end.
    pub host_neighbours: Vec<NeighbourSeen>,
    /// Does the host forward this family?
    pub forwarding: Vec<(Family, bool)>,
    /// From which of the pod's addresses its interface may send; `None` if that is not ruled.
    pub permitted: Option<Vec<IpAddr>>,
    /// Interfaces in the pod's namespace.
    pub inside: Vec<LinkSeen>,
    /// Addresses of the interface with the pod end's name.
    pub addresses: Vec<AddressSeen>,
    /// Routes of the pod's main table through that interface.
    pub routes: Vec<RouteSeen>,
    /// Neighbours of that interface.
    pub neighbours: Vec<NeighbourSeen>,
}

/// An interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkSeen {
    /// Name.
    pub name: String,
    /// Index.
    pub index: u32,
    /// Link group.
    pub group: u32,
    /// Is it a veth?
    pub veth: bool,
    /// Index of the other end, in the other end's namespace.
    pub peer: Option<u32>,
    /// Set up?
    pub up: bool,
    /// Octets.
    pub mtu: u32,
    /// Hardware address; `None` if it is not of six octets.
    pub mac: Option<Mac>,
    /// Alias.
    pub alias: Option<String>,
    /// Would a router advertisement from the other end be believed?
    pub believes_advertisements: bool,
}

/// An address of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressSeen {
    /// The address.
    pub address: IpAddr,
    /// Its prefix length.
    pub len: u8,
    /// Duplicate address detection is not done.
    pub tentative: bool,
    /// Duplicate address detection has found the address elsewhere.
    pub duplicate: bool,
}

/// A route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteSeen {
    /// Where to.
    pub prefix: Prefix,
    /// Interface index, if it has one.
    pub index: Option<u32>,
    /// Next hop, if it has one.
    pub gateway: Option<IpAddr>,
    /// Protocol number.
    pub protocol: u8,
}

/// A neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeighbourSeen {
    /// The neighbour's address.
    pub address: IpAddr,
    /// Where it is.
    pub mac: Option<Mac>,
    /// Never asked for and never forgotten?
    pub permanent: bool,
}

/// What the runtime's `prevResult` says about the pod's end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// Is the interface listed, as one inside the pod?
    pub listed: bool,
    /// Its hardware address, if given.
    pub mac: Option<Mac>,
    /// Its MTU, if given.
    pub mtu: Option<u32>,
    /// Addresses of that interface.
    pub addresses: Vec<IpAddr>,
    /// Destinations by way of the pods' gateway, without the default.
    pub destinations: Vec<Prefix>,
    /// MTUs are part of results of this version (1.1.0); in older ones a later plugin may have
    /// lowered it without a word.
    pub tells_mtu: bool,
}

/// Every difference; empty if all is well. `expected` is absent if only our own record counts.
#[must_use]
pub fn differences(
    wiring: &Wiring,
    expected: Option<&Expected>,
    picture: &Picture,
) -> Vec<Difference> {
    let mut found = Vec::new();
    if let Some(expected) = expected {
        compare_result(wiring, expected, &mut found);
    }
    compare_host(wiring, expected, picture, &mut found);
    compare_inside(wiring, expected, picture, &mut found);
    found
}

fn compare_result(wiring: &Wiring, expected: &Expected, found: &mut Vec<Difference>) {
    if !expected.listed {
        found.push(Difference::NotInResult(wiring.inside.name.clone()));
        return;
    }
    let missing = wiring.lease.iter().filter(|own| !expected.addresses.contains(own));
    found.extend(missing.map(Difference::AddressNotInResult));
    let strange = expected.addresses.iter().filter(|address| !wiring.lease.contains(**address));
    found.extend(strange.map(|address| Difference::NotLeased(*address)));
}

fn compare_host(
    wiring: &Wiring,
    expected: Option<&Expected>,
    picture: &Picture,
    found: &mut Vec<Difference>,
) {
    let Wiring { host, inside, lease, mtu, routes, .. } = wiring;
    // If a later plugin has changed it, the host must have been told: there is no ARP here.
    let mac = expected.and_then(|expected| expected.mac).unwrap_or(inside.mac);
    let Some(link) = picture.host.as_ref().filter(|link| link.veth) else {
        found.push(Difference::Missing { side: Side::Host, name: host.name.clone() });
        return;
    };
    if link.name != host.name {
        found.push(Difference::Renamed { name: host.name.clone(), seen: link.name.clone() });
    }
    if link.peer != Some(inside.index) {
        found.push(Difference::NotPaired { name: host.name.clone(), peer: inside.name.clone() });
    }
    compare_link(Side::Host, link, *mtu, host.mac, found);
    if link.believes_advertisements {
        found.push(Difference::BelievesAdvertisements(host.name.clone()));
    }
    for address in lease.iter() {
        let prefix = Prefix::host(address);
        match picture.host_routes.iter().find(|route| route.prefix == prefix) {
            None => found.push(Difference::NoHostRoute(prefix)),
            Some(route) if route.index != Some(host.index) || route.gateway.is_some() => {
                found.push(Difference::HostRouteElsewhere { prefix, index: route.index });
            }
            Some(RouteSeen { protocol, .. }) if *protocol != routes.protocol => {
                found.push(Difference::HostRouteForeign { prefix, protocol: *protocol });
            }
            Some(_) => {}
        }
        if picture.permitted.as_ref().is_some_and(|permitted| !permitted.contains(&address)) {
            found.push(Difference::NotPermitted(address));
        }
        compare_neighbour(Side::Host, address, mac, &picture.host_neighbours, found);
        let family = prefix.family();
        if picture.forwarding.contains(&(family, false)) {
            found.push(Difference::NotForwarding(family));
        }
    }
}

fn compare_inside(
    wiring: &Wiring,
    expected: Option<&Expected>,
    picture: &Picture,
    found: &mut Vec<Difference>,
) {
    let Wiring { host, inside, lease, mtu, .. } = wiring;
    let Some(link) = picture.inside.iter().find(|link| link.name == inside.name && link.veth)
    else {
        found.push(Difference::Missing { side: Side::Pod, name: inside.name.clone() });
        return;
    };
    if link.index != inside.index || link.peer != Some(host.index) {
        found.push(Difference::NotPaired { name: inside.name.clone(), peer: host.name.clone() });
    }
    let lowered = || expected.is_some_and(|expected| !expected.tells_mtu) && link.mtu < *mtu;
    let told = expected.and_then(|expected| expected.mtu);
    let mtu = told.unwrap_or_else(|| if lowered() { link.mtu } else { *mtu });
    let mac = expected.and_then(|expected| expected.mac).unwrap_or(inside.mac);
    compare_link(Side::Pod, link, mtu, mac, found);
    if picture.inside.iter().any(|link| link.name == "lo" && !link.up) {
        found.push(Difference::Down { side: Side::Pod, name: "lo".to_owned() });
    }
    for address in lease.iter() {
        compare_address(address, &picture.addresses, found);
        let gateway = gateway(address);
        compare_neighbour(Side::Pod, gateway, host.mac, &picture.neighbours, found);
        let has = |prefix, via| {
            picture.routes.iter().any(|route| route.prefix == prefix && route.gateway == via)
        };
        if gateway.is_ipv4() && !has(Prefix::host(gateway), None) {
            found.push(Difference::NoGatewayRoute(gateway));
        }
        let family = Prefix::host(address).family();
        let told = expected.map_or(&[][..], |expected| &expected.destinations);
        for to in wiring.destinations.iter().chain(told).filter(|to| to.family() == family) {
            let difference = Difference::NoRoute { destination: *to, gateway };
            if !has(*to, Some(gateway)) && !found.contains(&difference) {
                found.push(difference);
            }
        }
        let everything = Prefix::new(unspecified(address), 0).expect("length 0 fits every family");
        if wiring.default_route && !has(everything, Some(gateway)) {
            found.push(Difference::NoDefaultRoute { family: everything.family(), gateway });
        }
    }
}

fn compare_link(side: Side, link: &LinkSeen, mtu: u32, mac: Mac, found: &mut Vec<Difference>) {
    let name = || link.name.clone();
    if !link.up {
        found.push(Difference::Down { side, name: name() });
    }
    if link.mtu != mtu {
        found.push(Difference::Mtu { side, name: name(), expected: mtu, seen: link.mtu });
    }
    if link.mac != Some(mac) {
        found.push(Difference::Mac { side, name: name(), expected: mac, seen: link.mac });
    }
}

fn compare_address(address: IpAddr, seen: &[AddressSeen], found: &mut Vec<Difference>) {
    let prefix = Prefix::host(address);
    match seen.iter().find(|seen| seen.address == address) {
        None => found.push(Difference::NoAddress(prefix)),
        Some(AddressSeen { len, .. }) if *len != prefix.len() => {
            found.push(Difference::AddressLength { address, expected: prefix.len(), seen: *len });
        }
        Some(AddressSeen { duplicate: true, .. }) => found.push(Difference::Duplicate(prefix)),
        Some(AddressSeen { tentative: true, .. }) => found.push(Difference::Tentative(prefix)),
        Some(_) => {}
    }
}

fn compare_neighbour(
    side: Side,
    address: IpAddr,
    mac: Mac,
    seen: &[NeighbourSeen],
    found: &mut Vec<Difference>,
) {
    let neighbour = seen.iter().find(|seen| seen.address == address);
    if !neighbour.is_some_and(|seen| seen.permanent && seen.mac == Some(mac)) {
        found.push(Difference::Neighbour { side, address, mac });
    }
}

const fn unspecified(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED),
    }
}

/// What a check looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Aspect {
    /// `prevResult` and the daemon's record.
    Result,
    /// Both ends are there and belong together.
    Pair,
    /// Set up.
    Up,
    /// MTU of both ends.
    Mtu,
    /// Hardware addresses of both ends.
    Mac,
    /// The host's routes to the pod.
    HostRoutes,
    /// The host's neighbours.
    HostNeighbours,
    /// The host forwards.
    Forwarding,
    /// The host hears no router advertisements of the pod.
    Advertisements,
    /// The rules let the pod send.
    Rules,
    /// The pod's addresses.
    Addresses,
    /// The pod's routes.
    Routes,
    /// The pod's neighbours.
    Neighbours,
}

impl Aspect {
    /// Every aspect, in the order of showing them.
    pub const ALL: [Self; 13] = [
        Self::Result,
        Self::Pair,
        Self::Up,
        Self::Mtu,
        Self::Mac,
        Self::HostRoutes,
        Self::HostNeighbours,
        Self::Forwarding,
        Self::Advertisements,
        Self::Rules,
        Self::Addresses,
        Self::Routes,
        Self::Neighbours,
    ];

    /// Can it be seen in the pod's namespace only?
    #[must_use]
    pub const fn is_inside(self) -> bool {
        match self {
            Self::Addresses | Self::Routes | Self::Neighbours => true,
            Self::Result
            | Self::Pair
            | Self::Up
            | Self::Mtu
            | Self::Mac
            | Self::HostRoutes
            | Self::HostNeighbours
            | Self::Forwarding
            | Self::Advertisements
            | Self::Rules => false,
        }
    }
}

impl fmt::Display for Aspect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Result => "result",
            Self::Pair => "pair",
            Self::Up => "up",
            Self::Mtu => "mtu",
            Self::Mac => "mac",
            Self::HostRoutes => "host routes",
            Self::HostNeighbours => "host neighbours",
            Self::Forwarding => "forwarding",
            Self::Advertisements => "advertisements",
            Self::Rules => "rules",
            Self::Addresses => "addresses",
            Self::Routes => "routes",
            Self::Neighbours => "neighbours",
        })
    }
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
            Self::Missing { .. } | Self::Renamed { .. } | Self::NotPaired { .. } => Aspect::Pair,
            Self::Down { .. } => Aspect::Up,
            Self::Mtu { .. } => Aspect::Mtu,
            Self::Mac { .. } => Aspect::Mac,
            Self::BelievesAdvertisements(_) => Aspect::Advertisements,
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
