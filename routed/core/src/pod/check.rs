//! CHECK: what is there compared with what ADD made.
//!
//! In: a pod's [`Wiring`], what the runtime remembers of it (`prevResult`), and a [`Picture`] of
//! the kernel. Out: every difference at once. Things that others added are no differences; where
//! a later plugin of the chain has changed MAC or MTU, `prevResult` says so and counts.

use std::net::IpAddr;

use bgp::{family::Family, prefix::Prefix};

use super::{
    alias,
    step::GROUP_LIVE,
    wiring::{Mac, Wiring, gateway},
};

mod aspect;
mod difference;

pub use aspect::Aspect;
pub use difference::{Difference, Side};

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
    /// Does the kernel give it link-local addresses?
    pub makes_addresses: bool,
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

pub(super) fn compare_host(
    wiring: &Wiring,
    expected: Option<&Expected>,
    picture: &Picture,
    found: &mut Vec<Difference>,
) {
    let Wiring { host, inside, lease, routes, .. } = wiring;
    // If a later plugin has changed it, the host must have been told: there is no ARP here.
    let mac = expected.and_then(|expected| expected.mac).unwrap_or(inside.mac);
    let Some(link) = picture.host.as_ref().filter(|link| link.veth) else {
        found.push(Difference::Missing { side: Side::Host, name: host.name.clone() });
        return;
    };
    compare_host_link(wiring, link, found);
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

/// What differs of the host's end itself.
pub(super) fn compare_host_link(wiring: &Wiring, link: &LinkSeen, found: &mut Vec<Difference>) {
    let Wiring { id, host, inside, mtu, .. } = wiring;
    let name = || host.name.clone();
    if link.name != host.name {
        found.push(Difference::Renamed { name: name(), seen: link.name.clone() });
    }
    if link.peer != Some(inside.index) {
        found.push(Difference::NotPaired { name: name(), peer: inside.name.clone() });
    }
    if link.group != GROUP_LIVE {
        found.push(Difference::Group { name: name(), seen: link.group });
    }
    let labelled = link
        .alias
        .as_deref()
        .is_some_and(|alias| alias::decode(alias).is_ok_and(|identity| identity.id == *id));
    if !labelled {
        found.push(Difference::Unlabelled(name()));
    }
    compare_link(Side::Host, link, *mtu, host.mac, found);
    if link.believes_advertisements {
        found.push(Difference::BelievesAdvertisements(name()));
    }
    if link.makes_addresses {
        found.push(Difference::MakesAddresses(name()));
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
