//! What CHECK needs to see, read from the kernel.
//!
//! In: a pod's wiring and the sockets of both namespaces. Out: a [`Picture`]. On the host it asks
//! for exactly the pod's objects, so that the time does not grow with the number of pods or
//! routes; inside the pod it lists what there is, except neighbours: all namespaces' are in one table.

use std::net::IpAddr;

use bgp::family::Family;
use netlink_packet_route::{
    RouteNetlinkMessage,
    address::AddressMessage,
    link::{LinkAttribute, LinkMessage},
    neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage},
    route::{RouteAddress, RouteAttribute, RouteFlags, RouteMessage},
};
use nix::errno::Errno;
use routed_core::pod::{
    check::{LinkSeen, NeighbourSeen, Picture, RouteSeen},
    wiring::{Wiring, gateway},
};

use super::{
    Counters,
    request::{family, full_length},
    seen,
};
use crate::kernel::{
    netlink::{Netlink, NetlinkError, Refusal},
    sysctl,
};

/// Whose neighbours are looked for in the pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Neighbours {
    /// Every one: the kernel walks through those of all pods for it.
    All,
    /// The gateways, which are asked for by name.
    Gateways,
}

/// Everything that the wiring names; of the pod's side nothing without a socket there.
pub(super) fn look(
    host: &mut Netlink,
    inside: Option<&mut Netlink>,
    wiring: &Wiring,
    neighbours: Neighbours,
) -> Result<Picture, NetlinkError> {
    let index = wiring.host.index;
    let mut picture = Picture { host: link(host, index)?, ..Picture::default() };
    for address in wiring.lease.iter() {
        picture.host_routes.extend(best_route(host, address)?);
        picture.host_neighbours.extend(neighbour(host, index, address)?);
    }
    if let Some(link) = &picture.host {
        // What cannot be read is no difference: the interface has just gone, or /proc is missing.
        let state = |family| Some((family, sysctl::forwards(family, &link.name).ok()?));
        picture.forwarding = Family::ALL.into_iter().filter_map(state).collect();
    }
    let Some(inside) = inside else { return Ok(picture) };
    picture.inside = links(inside)?;
    let own = picture.inside.iter().find(|link| link.name == wiring.inside.name);
    if let Some(index) = own.map(|link| link.index) {
        look_inside(inside, index, &mut picture)?;
        picture.neighbours = match neighbours {
            Neighbours::All => all_neighbours(inside, index)?,
            Neighbours::Gateways => {
                let gateways = wiring.lease.iter().map(gateway);
                let found = gateways.map(|gateway| neighbour(inside, index, gateway));
                found.filter_map(Result::transpose).collect::<Result<_, _>>()?
            }
        };
    }
    Ok(picture)
}

/// What an interface has carried; `None` if it is not there.
pub(super) fn counters(
    netlink: &mut Netlink,
    index: u32,
) -> Result<Option<Counters>, NetlinkError> {
    let Some(link) = netlink.link(index)? else { return Ok(None) };
    Ok(link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Stats64(stats) => Some(Counters {
            received: stats.rx_packets,
            received_octets: stats.rx_bytes,
            sent: stats.tx_packets,
            sent_octets: stats.tx_bytes,
            errors: stats.rx_errors + stats.tx_errors,
            dropped: stats.rx_dropped + stats.tx_dropped,
        }),
        _ => None,
    }))
}

/// Every interface of a namespace.
pub(super) fn links(netlink: &mut Netlink) -> Result<Vec<LinkSeen>, NetlinkError> {
    let links = netlink.dump(&RouteNetlinkMessage::GetLink(LinkMessage::default()))?;
    let link = |message| match message {
        RouteNetlinkMessage::NewLink(message) => Some(seen::link(message)),
        _ => None,
    };
    Ok(links.into_iter().filter_map(link).collect())
}

fn look_inside(
    netlink: &mut Netlink,
    index: u32,
    picture: &mut Picture,
) -> Result<(), NetlinkError> {
    let mut addresses = AddressMessage::default();
    addresses.header.index = index;
    for message in netlink.dump(&RouteNetlinkMessage::GetAddress(addresses))? {
        if let RouteNetlinkMessage::NewAddress(message) = message {
            picture.addresses.extend(seen::address(&message));
        }
    }
    let mut routes = RouteMessage::default();
    routes.attributes.push(RouteAttribute::Oif(index));
    for message in netlink.dump(&RouteNetlinkMessage::GetRoute(routes))? {
        if let RouteNetlinkMessage::NewRoute(message) = message {
            picture.routes.extend(seen::route(&message));
        }
    }
    Ok(())
}

fn all_neighbours(netlink: &mut Netlink, index: u32) -> Result<Vec<NeighbourSeen>, NetlinkError> {
    let mut message = NeighbourMessage::default();
    message.attributes.push(NeighbourAttribute::IfIndex(index));
    let neighbours = netlink.dump(&RouteNetlinkMessage::GetNeighbour(message))?;
    let seen = neighbours.into_iter().filter_map(|message| match message {
        RouteNetlinkMessage::NewNeighbour(message) => seen::neighbour(&message),
        _ => None,
    });
    Ok(seen.collect())
}

fn link(netlink: &mut Netlink, index: u32) -> Result<Option<LinkSeen>, NetlinkError> {
    Ok(netlink.link(index)?.map(seen::link))
}

/// The table's entry (not the result of a look-up) that traffic to the address would use.
pub(super) fn best_route(
    netlink: &mut Netlink,
    to: IpAddr,
) -> Result<Option<RouteSeen>, NetlinkError> {
    let mut message = RouteMessage::default();
    message.header.address_family = family(to);
    message.header.destination_prefix_length = full_length(to);
    message.header.flags = RouteFlags::FibMatch;
    message.attributes.push(RouteAttribute::Destination(RouteAddress::from(to)));
    match netlink.get(&RouteNetlinkMessage::GetRoute(message)) {
        Ok(Some(RouteNetlinkMessage::NewRoute(message))) => Ok(seen::route(&message)),
        Ok(Some(_) | None) => Ok(None),
        // Nothing, a blackhole, an unreachable or a prohibit route.
        Err(NetlinkError::Dump(Refusal {
            errno: Errno::ENETUNREACH | Errno::EINVAL | Errno::EHOSTUNREACH | Errno::EACCES,
            ..
        })) => Ok(None),
        Err(error) => Err(error),
    }
}

fn neighbour(
    netlink: &mut Netlink,
    index: u32,
    address: IpAddr,
) -> Result<Option<NeighbourSeen>, NetlinkError> {
    let mut message = NeighbourMessage::default();
    message.header.family = family(address);
    message.header.ifindex = index;
    message.attributes.push(NeighbourAttribute::Destination(match address {
        IpAddr::V4(address) => NeighbourAddress::Inet(address),
        IpAddr::V6(address) => NeighbourAddress::Inet6(address),
    }));
    Ok(match netlink.get(&RouteNetlinkMessage::GetNeighbour(message))? {
        Some(RouteNetlinkMessage::NewNeighbour(message)) => seen::neighbour(&message),
        Some(_) | None => None,
    })
}
