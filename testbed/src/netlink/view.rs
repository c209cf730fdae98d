//! What the kernel reports, reduced to what the lab shows: links, addresses, routes.
//!
//! In: payloads of route netlink messages. Out: views with names in place of indices and next-hop
//! groups written out. Skips what it does not know; never fails on a foreign attribute.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnetwork::IpNetwork;
use netlink_packet_core::{NlasIterator, Parseable};
use netlink_packet_route::link::{LinkAttribute, LinkMessage};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteNextHopFlags, RouteProtocol,
    RouteType, RouteVia,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::Reply;

/// An interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LinkView {
    pub(crate) index: u32,
    pub(crate) name: String,
}

/// A route of the main table, printed as `ip route` does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RouteView {
    pub(crate) destination: IpNetwork,
    pub(crate) kind: RouteType,
    pub(crate) protocol: RouteProtocol,
    pub(crate) metric: Option<u32>,
    pub(crate) source: Option<IpAddr>,
    pub(crate) hops: Vec<Hop>,
}

/// One way that a route leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hop {
    pub(crate) gateway: Option<IpAddr>,
    pub(crate) ifname: Option<String>,
    /// The cable is cut at the other end.
    pub(crate) linkdown: bool,
}

pub(super) fn link(payload: &[u8]) -> io::Result<LinkView> {
    let message = LinkMessage::parse(payload).map_err(io::Error::other)?;
    let mut view = LinkView { index: message.header.index, name: String::new() };
    for attribute in message.attributes {
        if let LinkAttribute::IfName(name) = attribute {
            view.name = name;
        }
    }
    Ok(view)
}

pub(super) fn all_routes(family: AddressFamily) -> RouteNetlinkMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family;
    RouteNetlinkMessage::GetRoute(message)
}

pub(super) fn route(
    payload: &[u8],
    names: &[(u32, String)],
    objects: &[(u32, Vec<Hop>)],
) -> io::Result<Option<RouteView>> {
    let message = RouteMessage::parse(payload).map_err(io::Error::other)?;
    let header = &message.header;
    if header.table != RouteHeader::RT_TABLE_MAIN {
        return Ok(None);
    }
    let unspecified: IpAddr = match header.address_family {
        AddressFamily::Inet => Ipv4Addr::UNSPECIFIED.into(),
        _ => Ipv6Addr::UNSPECIFIED.into(),
    };
    let mut destination = unspecified;
    let (mut metric, mut source, mut object) = (None, None, None);
    let mut hops = Vec::new();
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(address) => {
                destination = ip(address).unwrap_or(destination);
            }
            RouteAttribute::Priority(value) => metric = Some(*value),
            RouteAttribute::PrefSource(address) => source = ip(address),
            RouteAttribute::NhId(id) => object = Some(*id),
            RouteAttribute::MultiPath(next_hops) => {
                hops.extend(next_hops.iter().map(|next_hop| {
                    let linkdown = next_hop.flags.contains(RouteNextHopFlags::Linkdown);
                    hop(&next_hop.attributes, Some(next_hop.interface_index), linkdown, names)
                }));
            }
            _ => {}
        }
    }
    if hops.is_empty() {
        hops = match object.and_then(|id| objects.iter().find(|(known, _)| *known == id)) {
            Some((_, hops)) => hops.clone(),
            None => {
                let flags = u32::from(header.flags.bits().to_le_bytes()[0]);
                let linkdown = flags & u32::from(RouteNextHopFlags::Linkdown.bits()) != 0;
                vec![hop(&message.attributes, None, linkdown, names)]
            }
        };
    }
    let destination =
        IpNetwork::new(destination, header.destination_prefix_length).map_err(io::Error::other)?;
    let (kind, protocol) = (header.kind, header.protocol);
    Ok(Some(RouteView { destination, kind, protocol, metric, source, hops }))
}

/// The kernel lists an IPv6 route with several next hops once for each; join them.
pub(super) fn merge_hops(routes: Vec<RouteView>) -> Vec<RouteView> {
    let mut merged: Vec<RouteView> = Vec::new();
    for route in routes {
        match merged.last_mut() {
            Some(last)
                if last.destination == route.destination
                    && last.protocol == route.protocol
                    && last.metric == route.metric
                    && route.hops.iter().all(|hop| hop.gateway.is_some())
                    && last.hops.iter().all(|hop| hop.gateway.is_some()) =>
            {
                last.hops.extend(route.hops);
            }
            _ => merged.push(route),
        }
    }
    merged
}

/// Next-hop objects by their number, groups written out. netlink-packet-route has no type for
/// them; layout: `struct nhmsg` (8 octets), then attributes (linux/nexthop.h).
pub(super) fn next_hops(dump: &[Reply], names: &[(u32, String)]) -> Vec<(u32, Vec<Hop>)> {
    let mut single: Vec<(u32, Vec<Hop>)> = Vec::new();
    let mut groups: Vec<(u32, Vec<u32>)> = Vec::new();
    for reply in dump {
        let Some(attributes) = reply.payload.get(8..) else { continue };
        let (mut id, mut members) = (None, None);
        let mut way = Hop { gateway: None, ifname: None, linkdown: false };
        for attribute in NlasIterator::new(attributes).flatten() {
            let value = attribute.value();
            match attribute.kind() {
                NHA_ID => id = number(value),
                NHA_OIF => way.ifname = number(value).and_then(|index| name_of(index, names)),
                NHA_GATEWAY => way.gateway = octets_to_ip(value),
                // Entries of 8 octets, each with the member's number first.
                NHA_GROUP => members = Some(value.chunks_exact(8).filter_map(number).collect()),
                _ => {}
            }
        }
        let flags = reply.payload.get(4..8).and_then(number).unwrap_or(0);
        way.linkdown = flags & u32::from(RouteNextHopFlags::Linkdown.bits()) != 0;
        match (id, members) {
            (Some(id), Some(members)) => groups.push((id, members)),
            (Some(id), None) => single.push((id, vec![way])),
            (None, _) => {}
        }
    }
    let written_out: Vec<(u32, Vec<Hop>)> = groups
        .into_iter()
        .map(|(id, members)| {
            let member = |id: &u32| single.iter().find(|(known, _)| known == id);
            let hops = members.iter().filter_map(member).flat_map(|(_, hops)| hops.clone());
            (id, hops.collect())
        })
        .collect();
    single.extend(written_out);
    single
}

fn hop(
    attributes: &[RouteAttribute],
    index: Option<u32>,
    linkdown: bool,
    names: &[(u32, String)],
) -> Hop {
    let mut way =
        Hop { gateway: None, ifname: index.and_then(|index| name_of(index, names)), linkdown };
    for attribute in attributes {
        match attribute {
            RouteAttribute::Gateway(address) => way.gateway = ip(address),
            RouteAttribute::Via(RouteVia::Inet(v4)) => way.gateway = Some((*v4).into()),
            RouteAttribute::Via(RouteVia::Inet6(v6)) => way.gateway = Some((*v6).into()),
            RouteAttribute::Oif(index) => way.ifname = name_of(*index, names),
            _ => {}
        }
    }
    way
}

fn name_of(index: u32, names: &[(u32, String)]) -> Option<String> {
    names.iter().find(|(known, _)| *known == index).map(|(_, name)| name.clone())
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(v4) => Some((*v4).into()),
        RouteAddress::Inet6(v6) => Some((*v6).into()),
        _ => None,
    }
}

fn number(octets: &[u8]) -> Option<u32> {
    octets.first_chunk().map(|four| u32::from_ne_bytes(*four))
}

fn octets_to_ip(octets: &[u8]) -> Option<IpAddr> {
    if let Ok(four) = <[u8; 4]>::try_from(octets) {
        return Some(four.into());
    }
    <[u8; 16]>::try_from(octets).ok().map(IpAddr::from)
}

impl fmt::Display for RouteView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            RouteType::BlackHole => f.write_str("blackhole ")?,
            RouteType::Unreachable => f.write_str("unreachable ")?,
            RouteType::Prohibit => f.write_str("prohibit ")?,
            _ => {}
        }
        match self.destination.prefix() {
            0 => f.write_str("default")?,
            32 | 128 if self.is_host() => write!(f, "{}", self.destination.ip())?,
            _ => write!(f, "{}", self.destination)?,
        }
        if let [only] = &self.hops[..] {
            write!(f, "{only}")?;
        }
        match self.protocol {
            RouteProtocol::Unspec => {}
            RouteProtocol::Other(number) => write!(f, " proto {number}")?,
            ref known => write!(f, " proto {}", format!("{known:?}").to_lowercase())?,
        }
        if let Some(source) = self.source {
            write!(f, " src {source}")?;
        }
        if let Some(metric) = self.metric {
            write!(f, " metric {metric}")?;
        }
        if self.hops.len() > 1 {
            for hop in &self.hops {
                write!(f, "\n    nexthop{hop}")?;
            }
        }
        Ok(())
    }
}

impl RouteView {
    fn is_host(&self) -> bool {
        self.destination.prefix() == if self.destination.is_ipv4() { 32 } else { 128 }
    }
}

impl fmt::Display for Hop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(gateway) = self.gateway {
            write!(f, " via {gateway}")?;
        }
        if let Some(ifname) = &self.ifname {
            write!(f, " dev {ifname}")?;
        }
        if self.linkdown {
            f.write_str(" linkdown")?;
        }
        Ok(())
    }
}

pub(super) const RTM_GETNEXTHOP: u16 = 106;
const NHA_ID: u16 = 1;
const NHA_GROUP: u16 = 2;
const NHA_OIF: u16 = 5;
const NHA_GATEWAY: u16 = 6;
