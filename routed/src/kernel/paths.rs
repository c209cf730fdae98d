//! By which interface, and with which MTU, the kernel sends to an address.

use std::{net::SocketAddr, sync::Arc};

use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    link::LinkAttribute,
    route::{RouteAddress, RouteAttribute, RouteMessage, RouteMetric, RouteType},
};

use super::netlink::{Netlink, NetlinkError};

/// The way to an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    /// Interface by which it leads.
    pub ifname: String,
    /// Of the route if it says one, else of the interface, in octets.
    pub mtu: u32,
}

/// The ways to those of the peers to which there is one that leaves the node.
///
/// # Errors
///
/// If the kernel cannot be asked.
pub fn towards(peers: &[(Arc<str>, SocketAddr)]) -> Result<Vec<(Arc<str>, Path)>, NetlinkError> {
    let mut netlink = Netlink::open()?;
    let mut ways = Vec::new();
    for (peer, address) in peers {
        ways.extend(path(&mut netlink, address)?.map(|path| (Arc::clone(peer), path)));
    }
    Ok(ways)
}

fn path(netlink: &mut Netlink, to: &SocketAddr) -> Result<Option<Path>, NetlinkError> {
    let mut message = RouteMessage::default();
    (message.header.address_family, message.header.destination_prefix_length) = match to {
        SocketAddr::V4(_) => (AddressFamily::Inet, 32),
        SocketAddr::V6(_) => (AddressFamily::Inet6, 128),
    };
    message.attributes.push(RouteAttribute::Destination(RouteAddress::from(to.ip())));
    if let SocketAddr::V6(to) = to
        && to.scope_id() != 0
    {
        message.attributes.push(RouteAttribute::Oif(to.scope_id()));
    }
    let route = match netlink.get(&RouteNetlinkMessage::GetRoute(message)) {
        Ok(Some(RouteNetlinkMessage::NewRoute(route)))
            if route.header.kind == RouteType::Unicast =>
        {
            route
        }
        // No route, a blackhole, ourselves; or it has just gone.
        Ok(_) | Err(NetlinkError::Dump(_)) => return Ok(None),
        Err(error) => return Err(error),
    };
    let (mut index, mut own) = (None, None);
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::Oif(oif) => index = Some(*oif),
            RouteAttribute::Metrics(metrics) => {
                own = metrics.iter().find_map(|metric| match metric {
                    RouteMetric::Mtu(mtu) => Some(*mtu),
                    _ => None,
                });
            }
            _ => {}
        }
    }
    let Some(index) = index else { return Ok(None) };
    let Some(link) = netlink.link(index)? else { return Ok(None) };
    let (mut ifname, mut mtu) = (None, own);
    for attribute in link.attributes {
        match attribute {
            LinkAttribute::IfName(name) => ifname = Some(name),
            LinkAttribute::Mtu(of_link) => mtu = Some(own.map_or(of_link, |own| own.min(of_link))),
            _ => {}
        }
    }
    Ok(ifname.zip(mtu).map(|(ifname, mtu)| Path { ifname, mtu }))
}
