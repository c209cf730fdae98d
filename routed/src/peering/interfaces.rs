//! Which interface a session runs over, and which other addresses that interface has.
//!
//! In: an address. Out: what the kernel lists at this moment. Keeps nothing, watches nothing.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    num::NonZeroU32,
};

use nix::{
    ifaddrs::getifaddrs,
    net::if_::{if_indextoname, if_nametoindex},
    sys::socket::SockaddrStorage,
};

/// An interface and those of its addresses that can be a next hop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Interface {
    /// Name.
    pub(crate) name: String,
    /// Index; `None` if it has just gone.
    pub(crate) index: Option<NonZeroU32>,
    /// Addresses that others can send to: no loopback and no IPv4 link-local ones.
    pub(crate) addresses: Vec<IpAddr>,
}

impl Interface {
    /// The first IPv4 address.
    pub(crate) fn ipv4(&self) -> Option<Ipv4Addr> {
        self.addresses.iter().find_map(|address| match address {
            IpAddr::V4(v4) => Some(*v4),
            IpAddr::V6(_) => None,
        })
    }

    /// The first IPv6 address that is not link-local.
    pub(crate) fn ipv6(&self) -> Option<Ipv6Addr> {
        self.all_ipv6().find(|v6| !v6.is_unicast_link_local())
    }

    /// The first link-local IPv6 address.
    pub(crate) fn ipv6_link_local(&self) -> Option<Ipv6Addr> {
        self.all_ipv6().find(Ipv6Addr::is_unicast_link_local)
    }

    fn all_ipv6(&self) -> impl Iterator<Item = Ipv6Addr> {
        self.addresses.iter().filter_map(|address| match address {
            IpAddr::V4(_) => None,
            IpAddr::V6(v6) => Some(*v6),
        })
    }
}

/// The interface that has this address: of several with the same link-local one, that of its
/// scope.
///
/// None if there is none, or if the kernel does not tell.
pub(crate) fn interface_of(address: SocketAddr) -> Option<Interface> {
    let all = list();
    let name = match scope(address) {
        Some(_) => link_of(address)?,
        None => all.iter().find(|entry| entry.address == address.ip())?.name.clone(),
    };
    let index = if_nametoindex(&*name).ok().and_then(NonZeroU32::new);
    let addresses = all
        .into_iter()
        .filter(|entry| entry.name == name && reachable_from_outside(entry.address))
        .map(|entry| entry.address)
        .collect();
    Some(Interface { name, index, addresses })
}

/// The interface on whose link a link-local address is meant, by its name.
pub(crate) fn link_of(address: SocketAddr) -> Option<String> {
    name(scope(address)?)
}

/// The name of the interface with this index, if there is one at this moment.
pub(crate) fn name(index: NonZeroU32) -> Option<String> {
    if_indextoname(index.get()).ok()?.into_string().ok()
}

/// The same by its index.
fn scope(address: SocketAddr) -> Option<NonZeroU32> {
    match address {
        SocketAddr::V4(_) => None,
        SocketAddr::V6(v6) => NonZeroU32::new(v6.scope_id()),
    }
}

/// The interface on whose network this peer is.
pub(crate) fn interface_towards(peer: IpAddr) -> Option<String> {
    let on_link = |entry: &Entry| match (entry.address, entry.netmask, peer) {
        (IpAddr::V4(own), IpAddr::V4(mask), IpAddr::V4(peer)) => {
            own.to_bits() & mask.to_bits() == peer.to_bits() & mask.to_bits()
        }
        (IpAddr::V6(own), IpAddr::V6(mask), IpAddr::V6(peer)) => {
            own.to_bits() & mask.to_bits() == peer.to_bits() & mask.to_bits()
        }
        (IpAddr::V4(_) | IpAddr::V6(_), _, _) => false,
    };
    // The longest mask is the nearest network.
    let mask_len = |entry: &Entry| match entry.netmask {
        IpAddr::V4(mask) => mask.to_bits().count_ones(),
        IpAddr::V6(mask) => mask.to_bits().count_ones(),
    };
    list().into_iter().filter(on_link).max_by_key(mask_len).map(|entry| entry.name)
}

struct Entry {
    name: String,
    address: IpAddr,
    netmask: IpAddr,
}

fn list() -> Vec<Entry> {
    let Ok(all) = getifaddrs() else { return Vec::new() };
    all.filter_map(|entry| {
        let address = ip(&entry.address?)?;
        let netmask = ip(&entry.netmask?)?;
        Some(Entry { name: entry.interface_name, address, netmask })
    })
    .collect()
}

fn ip(address: &SockaddrStorage) -> Option<IpAddr> {
    if let Some(v4) = address.as_sockaddr_in() {
        return Some(v4.ip().into());
    }
    Some(address.as_sockaddr_in6()?.ip().into())
}

fn reachable_from_outside(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !v4.is_loopback() && !v4.is_link_local(),
        IpAddr::V6(v6) => !v6.is_loopback(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_found_by_its_address_and_offers_no_next_hop_in_127() {
        let lo = interface_of((Ipv4Addr::LOCALHOST, 179).into()).unwrap();
        assert_eq!((&*lo.name, lo.index), ("lo", NonZeroU32::new(1)));
        assert!(!lo.addresses.iter().any(IpAddr::is_loopback));
    }

    #[test]
    fn a_peer_on_a_connected_network_is_found_by_the_network() {
        assert_eq!(interface_towards("127.9.9.9".parse().unwrap()).as_deref(), Some("lo"));
        assert_eq!(interface_of("192.0.2.77:179".parse().unwrap()), None);
    }
}
