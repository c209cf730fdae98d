//! What netlink says about interfaces, addresses, routes and neighbours, as CHECK compares it.

use std::net::IpAddr;

use bgp::prefix::Prefix;
use netlink_packet_route::{
    AddressFamily,
    address::{AddressAttribute, AddressFlags, AddressMessage},
    link::{
        AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoKind, LinkAttribute, LinkFlags, LinkInfo,
        LinkMessage,
    },
    neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState},
    route::{RouteAddress, RouteAttribute, RouteMessage, RouteProtocol, RouteType},
};
use routed_core::pod::{
    check::{AddressSeen, LinkSeen, NeighbourSeen, RouteSeen},
    wiring::Mac,
};

pub(super) fn link(message: LinkMessage) -> LinkSeen {
    let mut seen = LinkSeen {
        name: String::new(),
        index: message.header.index,
        group: 0,
        veth: false,
        peer: None,
        up: message.header.flags.contains(LinkFlags::Up),
        mtu: 0,
        mac: None,
        alias: None,
        believes_advertisements: false,
        makes_addresses: false,
    };
    for attribute in message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => seen.name = name,
            LinkAttribute::Group(group) => seen.group = group,
            LinkAttribute::Link(peer) => seen.peer = Some(peer),
            LinkAttribute::Mtu(mtu) => seen.mtu = mtu,
            LinkAttribute::Address(octets) => seen.mac = mac(&octets),
            LinkAttribute::IfAlias(alias) => seen.alias = Some(alias),
            LinkAttribute::LinkInfo(infos) => {
                seen.veth = infos.contains(&LinkInfo::Kind(InfoKind::Veth));
            }
            LinkAttribute::AfSpecUnspec(families) => {
                seen.believes_advertisements = families.iter().any(believes_advertisements);
                seen.makes_addresses = families.iter().any(makes_addresses);
            }
            // Attributes of the kernel that say nothing about a pod.
            _ => {}
        }
    }
    seen
}

/// `accept_ra`: 1 while the interface does not forward, 2 always (kernel, ip-sysctl).
fn believes_advertisements(family: &AfSpecUnspec) -> bool {
    let AfSpecUnspec::Inet6(attributes) = family else { return false };
    attributes.iter().any(|attribute| match attribute {
        AfSpecInet6::DevConf(settings) => {
            settings.accept_ra == 2 || (settings.accept_ra == 1 && settings.forwarding == 0)
        }
        _ => false,
    })
}

fn makes_addresses(family: &AfSpecUnspec) -> bool {
    let AfSpecUnspec::Inet6(attributes) = family else { return false };
    attributes.iter().any(|attribute| {
        matches!(attribute, AfSpecInet6::AddrGenMode(mode) if *mode != In6AddrGenMode::None)
    })
}

/// `None` if the message names no address.
pub(super) fn address(message: &AddressMessage) -> Option<AddressSeen> {
    let mut address = None;
    let mut flags = AddressFlags::from_bits_retain(u32::from(message.header.flags.bits()));
    for attribute in &message.attributes {
        match attribute {
            // IPv4 says the peer's address in the other attribute, if there is one.
            AddressAttribute::Local(local) => address = Some(*local),
            AddressAttribute::Address(own) if address.is_none() => address = Some(*own),
            AddressAttribute::Flags(all) => flags = *all,
            _ => {}
        }
    }
    Some(AddressSeen {
        address: address?,
        len: message.header.prefix_len,
        tentative: flags.contains(AddressFlags::Tentative),
        duplicate: flags.contains(AddressFlags::Dadfailed),
    })
}

/// `None` for what is no unicast route to a prefix: local, broadcast and multicast routes,
/// blackholes and their like.
pub(super) fn route(message: &RouteMessage) -> Option<RouteSeen> {
    if message.header.kind != RouteType::Unicast {
        return None;
    }
    let unspecified = match message.header.address_family {
        AddressFamily::Inet => IpAddr::from([0; 4]),
        AddressFamily::Inet6 => IpAddr::from([0; 16]),
        _ => return None,
    };
    let (mut destination, mut index, mut gateway) = (unspecified, None, None);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(to) => destination = ip(to)?,
            RouteAttribute::Gateway(via) => gateway = ip(via),
            RouteAttribute::Oif(oif) => index = Some(*oif),
            _ => {}
        }
    }
    Some(RouteSeen {
        prefix: Prefix::new(destination, message.header.destination_prefix_length).ok()?,
        index,
        gateway,
        protocol: number(message.header.protocol),
    })
}

/// `None` if the message names no address.
pub(super) fn neighbour(message: &NeighbourMessage) -> Option<NeighbourSeen> {
    let (mut address, mut hardware) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(own)) => {
                address = Some(IpAddr::V4(*own));
            }
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(own)) => {
                address = Some(IpAddr::V6(*own));
            }
            NeighbourAttribute::LinkLayerAddress(octets) => hardware = mac(octets),
            _ => {}
        }
    }
    let permanent = message.header.state == NeighbourState::Permanent;
    Some(NeighbourSeen { address: address?, mac: hardware, permanent })
}

fn number(protocol: RouteProtocol) -> u8 {
    protocol.into()
}

fn mac(octets: &[u8]) -> Option<Mac> {
    octets.try_into().ok().map(Mac)
}

pub(super) const fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some(IpAddr::V4(*address)),
        RouteAddress::Inet6(address) => Some(IpAddr::V6(*address)),
        _ => None,
    }
}
