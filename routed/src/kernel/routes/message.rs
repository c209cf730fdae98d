//! Routes as netlink messages, and back.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bgp::{family::Family, prefix::Prefix};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    route::{
        RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteNextHop,
        RouteNextHopFlags, RouteProtocol, RouteScope, RouteType, RouteVia,
    },
};
use routed_core::fib::{
    next_hop::NextHopId,
    route::{Hop, Hops, Operation, Route, RouteKey, Target},
};

use crate::kernel::netlink::Request;

/// An operation as a request of our protocol.
pub(super) fn request(operation: &Operation, protocol: u8) -> Request {
    match operation {
        Operation::Add(key, target) => {
            Request::create(RouteNetlinkMessage::NewRoute(written(*key, target, protocol)))
        }
        Operation::Replace(key, target) => {
            Request::replace(RouteNetlinkMessage::NewRoute(written(*key, target, protocol)))
        }
        Operation::Delete(key) => {
            let mut message = message(*key, protocol);
            // Whatever its type and scope. The kernel compares the protocol.
            message.header.kind = RouteType::Unspec;
            message.header.scope = RouteScope::NoWhere;
            Request::existing(RouteNetlinkMessage::DelRoute(message))
        }
        Operation::DeleteCopy(key, target) => {
            let mut message = written(*key, target, protocol);
            message.header.scope = RouteScope::NoWhere;
            Request::existing(RouteNetlinkMessage::DelRoute(message))
        }
    }
}

/// The request for every route of both families and all tables.
pub(super) fn everything() -> [RouteNetlinkMessage; 2] {
    [AddressFamily::Inet, AddressFamily::Inet6].map(|family| {
        let mut message = RouteMessage::default();
        message.header.address_family = family;
        RouteNetlinkMessage::GetRoute(message)
    })
}

/// A route as the kernel reports it; `None` for what is no route that packets to others take: local
/// and multicast ones, cache entries, and those that depend on more than the destination.
pub(in crate::kernel) fn route(message: &RouteMessage) -> Option<Route> {
    let RouteHeader { destination_prefix_length, source_prefix_length, tos, .. } = message.header;
    let cached = message.header.flags.contains(RouteFlags::Cloned);
    if cached || source_prefix_length != 0 || tos != 0 {
        return None;
    }
    let unspecified: IpAddr = match message.header.address_family {
        AddressFamily::Inet => Ipv4Addr::UNSPECIFIED.into(),
        AddressFamily::Inet6 => Ipv6Addr::UNSPECIFIED.into(),
        _ => return None,
    };
    let (mut addr, mut table, mut metric) = (unspecified, u32::from(message.header.table), 0);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(destination) => addr = ip(destination)?,
            RouteAttribute::Table(number) => table = *number,
            RouteAttribute::Priority(number) => metric = *number,
            _ => {}
        }
    }
    let prefix = Prefix::new(addr, destination_prefix_length).ok()?;
    let target = match message.header.kind {
        RouteType::Unicast => match group(message) {
            Some(id) => Target::Group(id),
            None => Target::Forward(hops(message)),
        },
        RouteType::BlackHole => Target::Blackhole,
        RouteType::Unreachable | RouteType::Prohibit | RouteType::Throw => Target::Refuse,
        _ => return None,
    };
    let key = RouteKey { table, prefix, metric };
    Some(Route { key, protocol: message.header.protocol.into(), target })
}

fn written(key: RouteKey, target: &Target, protocol: u8) -> RouteMessage {
    let mut message = message(key, protocol);
    let family = key.prefix.family();
    match target {
        Target::Forward(hops) => match hops.as_slice() {
            [hop] => {
                if hop.gateway.is_none() && family == Family::Ipv4Unicast {
                    message.header.scope = RouteScope::Link;
                }
                if hop.onlink {
                    message.header.flags |= RouteFlags::Onlink;
                }
                message.attributes.extend(gateway(hop, family));
                message.attributes.push(RouteAttribute::Oif(hop.ifindex));
            }
            hops => {
                let hops = hops.iter().map(|hop| next_hop(hop, family)).collect();
                message.attributes.push(RouteAttribute::MultiPath(hops));
            }
        },
        Target::Group(id) => message.attributes.push(RouteAttribute::NhId(id.0)),
        Target::Blackhole => message.header.kind = RouteType::BlackHole,
        Target::Refuse => message.header.kind = RouteType::Unreachable,
    }
    message
}

fn message(key: RouteKey, protocol: u8) -> RouteMessage {
    let mut message = RouteMessage::default();
    let addr = key.prefix.addr();
    message.header.address_family = match addr {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    };
    message.header.destination_prefix_length = key.prefix.len();
    message.header.protocol = RouteProtocol::from(protocol);
    message.header.scope = RouteScope::Universe;
    message.header.kind = RouteType::Unicast;
    // The attribute counts; here there is room for small numbers only.
    message.header.table = u8::try_from(key.table).unwrap_or(0);
    message.attributes = vec![
        RouteAttribute::Destination(addr.into()),
        RouteAttribute::Table(key.table),
        RouteAttribute::Priority(key.metric),
    ];
    message
}

fn gateway(hop: &Hop, family: Family) -> Option<RouteAttribute> {
    Some(match (family, hop.gateway?) {
        (Family::Ipv4Unicast, IpAddr::V6(v6)) => RouteAttribute::Via(RouteVia::Inet6(v6)),
        (Family::Ipv4Unicast | Family::Ipv6Unicast, addr) => RouteAttribute::Gateway(addr.into()),
    })
}

fn next_hop(hop: &Hop, family: Family) -> RouteNextHop {
    let mut next_hop = RouteNextHop::default();
    next_hop.interface_index = hop.ifindex;
    // On the wire a weight of 1 is 0.
    next_hop.hops = u8::try_from(hop.weight.saturating_sub(1)).unwrap_or(u8::MAX);
    if hop.onlink {
        next_hop.flags |= RouteNextHopFlags::Onlink;
    }
    next_hop.attributes.extend(gateway(hop, family));
    next_hop
}

/// The next-hop object that a route names. The kernel may list its hops as well.
fn group(message: &RouteMessage) -> Option<NextHopId> {
    message.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::NhId(id) => Some(NextHopId(*id)),
        _ => None,
    })
}

/// Hops of a route: listed, or a single one in the route itself.
fn hops(message: &RouteMessage) -> Hops {
    let listed = message.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::MultiPath(hops) => Some(hops),
        _ => None,
    });
    if let Some(listed) = listed {
        return listed
            .iter()
            .map(|next_hop| Hop {
                gateway: gateway_of(&next_hop.attributes),
                ifindex: next_hop.interface_index,
                weight: u16::from(next_hop.hops) + 1,
                onlink: next_hop.flags.contains(RouteNextHopFlags::Onlink),
            })
            .collect();
    }
    let ifindex = message.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Oif(index) => Some(*index),
        _ => None,
    });
    let hop = ifindex.map(|ifindex| Hop {
        gateway: gateway_of(&message.attributes),
        ifindex,
        weight: 1,
        onlink: message.header.flags.contains(RouteFlags::Onlink),
    });
    hop.into_iter().collect()
}

fn gateway_of(attributes: &[RouteAttribute]) -> Option<IpAddr> {
    attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Gateway(addr) => ip(addr),
        RouteAttribute::Via(RouteVia::Inet(v4)) => Some((*v4).into()),
        RouteAttribute::Via(RouteVia::Inet6(v6)) => Some((*v6).into()),
        _ => None,
    })
}

fn ip(addr: &RouteAddress) -> Option<IpAddr> {
    match addr {
        RouteAddress::Inet(v4) => Some((*v4).into()),
        RouteAddress::Inet6(v6) => Some((*v6).into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hop(gateway: &str, ifindex: u32) -> Hop {
        Hop::new(Some(gateway.parse().unwrap()), ifindex)
    }

    fn round_trip(prefix: &str, target: &Target) {
        let key = RouteKey::new(1000, prefix.parse().unwrap(), Some(7));
        let read = route(&written(key, target, 132)).unwrap();
        assert_eq!(read, Route { key, protocol: 132, target: target.clone() });
    }

    #[test]
    fn what_is_written_is_read_back() {
        let mut onlink = hop("fe80::1", 4);
        onlink.onlink = true;
        onlink.weight = 256;
        for (prefix, hops) in [
            ("10.0.0.0/8", vec![hop("10.0.1.1", 3)]),
            ("0.0.0.0/0", vec![hop("10.0.1.1", 3), hop("10.0.2.1", 4)]),
            ("10.0.0.0/8", vec![hop("fe80::1", 3)]),
            ("10.0.0.0/8", vec![hop("10.0.1.1", 3), onlink]),
            ("fd00::/8", vec![hop("fe80::1", 3)]),
            ("::/0", vec![hop("fd00::1", 3), onlink]),
            ("10.0.0.1/32", vec![Hop::new(None, 9)]),
        ] {
            round_trip(prefix, &Target::Forward(hops.into_iter().collect()));
        }
        round_trip("10.0.0.0/8", &Target::Group(NextHopId(1_320_000_000)));
        round_trip("fd00::/8", &Target::Group(NextHopId(7)));
        round_trip("fd00::/64", &Target::Blackhole);
        round_trip("10.1.0.0/16", &Target::Refuse);
    }

    #[test]
    fn local_cached_and_source_dependent_routes_are_not_routes() {
        let key = RouteKey::new(254, "10.0.0.0/8".parse().unwrap(), None);
        let change: [fn(&mut RouteMessage); 4] = [
            |message| message.header.kind = RouteType::Local,
            |message| message.header.flags |= RouteFlags::Cloned,
            |message| message.header.source_prefix_length = 64,
            |message| message.header.tos = 8,
        ];
        for change in change {
            let mut message = written(key, &Target::Blackhole, 132);
            change(&mut message);
            assert_eq!(route(&message), None);
        }
    }
}
