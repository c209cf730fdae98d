//! This machine's interfaces and addresses, as the kernel reports them.
//!
//! In: a full picture, then one change after the other. Out: answers to "is this address ours?",
//! "does this interface carry traffic?", "which address would we use on it?".

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr},
};

use bgp::{family::Family, prefix::Prefix};

/// An interface without its addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its index; never 0.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Administratively up (`ip link set up`). The kernel keeps no routes through one that is not.
    pub up: bool,
    /// The other side is there.
    pub carrier: bool,
}

/// An address of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// Our own address.
    pub local: IpAddr,
    /// The prefix on the link; the peer's address on a point-to-point interface.
    pub on_link: Prefix,
}

/// A change of [`Links`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkEvent {
    /// An interface appeared or changed.
    Present(Link),
    /// It is gone, and its addresses with it.
    Gone(u32),
    /// An interface has an address.
    AddressPresent(u32, Address),
    /// It has it no longer.
    AddressGone(u32, Address),
}

/// Every interface with its addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Links {
    links: BTreeMap<u32, Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    link: Link,
    /// In the order in which the kernel added them: the first of a family is its primary one.
    addresses: Vec<Address>,
}

impl Links {
    /// Takes one change in; false if it brought nothing new.
    pub fn apply(&mut self, event: LinkEvent) -> bool {
        match event {
            LinkEvent::Present(link) => self.present(link),
            LinkEvent::Gone(index) => self.links.remove(&index).is_some(),
            LinkEvent::AddressPresent(index, address) => self.add(index, address),
            LinkEvent::AddressGone(index, address) => self.remove(index, address),
        }
    }

    /// The interface with this index.
    #[must_use]
    pub fn get(&self, index: u32) -> Option<&Link> {
        self.links.get(&index).map(|entry| &entry.link)
    }

    /// The interface with this name.
    #[must_use]
    pub fn by_name(&self, name: &str) -> Option<&Link> {
        self.iter().find(|link| link.name == name)
    }

    /// Every interface, by index.
    pub fn iter(&self) -> impl Iterator<Item = &Link> {
        self.links.values().map(|entry| &entry.link)
    }

    /// Addresses of an interface, primary ones first.
    #[must_use]
    pub fn addresses(&self, index: u32) -> &[Address] {
        self.links.get(&index).map_or(&[], |entry| &entry.addresses)
    }

    /// Our first link-local IPv6 address on an interface.
    #[must_use]
    pub fn link_local(&self, index: u32) -> Option<Ipv6Addr> {
        self.addresses(index).iter().find_map(|address| match address.local {
            IpAddr::V6(v6) if v6.is_unicast_link_local() => Some(v6),
            IpAddr::V4(_) | IpAddr::V6(_) => None,
        })
    }

    /// True if the interface is there and administratively up.
    #[must_use]
    pub fn is_up(&self, index: u32) -> bool {
        self.get(index).is_some_and(|link| link.up)
    }

    /// True if traffic can leave through this interface now: it is up and has carrier.
    #[must_use]
    pub fn carries(&self, index: u32) -> bool {
        self.get(index).is_some_and(|link| link.up && link.carrier)
    }

    /// The interface that has this very address.
    #[must_use]
    pub fn owner(&self, addr: IpAddr) -> Option<&Link> {
        let owns = |entry: &&Entry| entry.addresses.iter().any(|address| address.local == addr);
        self.links.values().find(owns).map(|entry| &entry.link)
    }

    /// The interface on whose link this neighbour is: of the longest prefix that contains it.
    #[must_use]
    pub fn towards(&self, neighbour: IpAddr) -> Option<&Link> {
        let on_link = self.links.values().flat_map(|entry| {
            entry.addresses.iter().map(move |address| (address.on_link, &entry.link))
        });
        let (_, link) = on_link
            .filter(|(prefix, _)| prefix.contains(neighbour))
            .max_by_key(|(prefix, _)| prefix.len())?;
        Some(link)
    }

    /// The address to give as next hop for this family on this interface: its first one that is
    /// good beyond the link.
    #[must_use]
    pub fn source(&self, index: u32, family: Family) -> Option<IpAddr> {
        let beyond_link = |addr: &IpAddr| match addr {
            IpAddr::V4(v4) => family == Family::Ipv4Unicast && !v4.is_loopback(),
            IpAddr::V6(v6) => {
                family == Family::Ipv6Unicast && !v6.is_loopback() && !v6.is_unicast_link_local()
            }
        };
        self.addresses(index).iter().map(|address| address.local).find(beyond_link)
    }

    fn present(&mut self, link: Link) -> bool {
        match self.links.get_mut(&link.index) {
            Some(entry) if entry.link == link => false,
            Some(entry) => {
                entry.link = link;
                true
            }
            None => {
                self.links.insert(link.index, Entry { link, addresses: Vec::new() });
                true
            }
        }
    }

    fn add(&mut self, index: u32, address: Address) -> bool {
        // The kernel reports an address after its interface, so an unknown one is just gone.
        let Some(entry) = self.links.get_mut(&index) else { return false };
        let new = !entry.addresses.contains(&address);
        if new {
            entry.addresses.push(address);
        }
        new
    }

    fn remove(&mut self, index: u32, address: Address) -> bool {
        let Some(entry) = self.links.get_mut(&index) else { return false };
        let before = entry.addresses.len();
        entry.addresses.retain(|other| *other != address);
        entry.addresses.len() != before
    }
}

impl FromIterator<LinkEvent> for Links {
    fn from_iter<I: IntoIterator<Item = LinkEvent>>(events: I) -> Self {
        let mut links = Self::default();
        for event in events {
            links.apply(event);
        }
        links
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn eth0() -> Links {
        let address = |local: &str, on_link: &str| {
            LinkEvent::AddressPresent(
                2,
                Address { local: local.parse().unwrap(), on_link: on_link.parse().unwrap() },
            )
        };
        [
            LinkEvent::Present(Link { index: 2, name: "eth0".into(), up: true, carrier: true }),
            address("fe80::2", "fe80::/64"),
            address("10.1.1.1", "10.1.1.0/31"),
            address("10.1.9.1", "10.1.9.0/24"),
            address("fd00::2", "fd00::/64"),
        ]
        .into_iter()
        .collect()
    }

    #[test]
    fn source_is_the_first_address_that_is_good_beyond_the_link() {
        let links = eth0();
        assert_eq!(links.source(2, Family::Ipv4Unicast), Some("10.1.1.1".parse().unwrap()));
        assert_eq!(links.source(2, Family::Ipv6Unicast), Some("fd00::2".parse().unwrap()));
        assert_eq!(links.source(3, Family::Ipv4Unicast), None);
    }

    #[test]
    fn neighbour_is_found_by_the_prefix_on_the_link_and_an_own_address_by_itself() {
        let links = eth0();
        assert_eq!(links.towards("10.1.1.0".parse().unwrap()).unwrap().index, 2);
        assert_eq!(links.towards("10.2.0.1".parse().unwrap()), None);
        assert_eq!(links.owner("10.1.1.1".parse().unwrap()).unwrap().name, "eth0");
        assert_eq!(links.owner("10.1.1.0".parse().unwrap()), None);
    }

    #[test]
    fn interface_that_goes_takes_its_addresses_along() {
        let mut links = eth0();
        assert!(links.apply(LinkEvent::Gone(2)));
        assert_eq!(links.owner("10.1.1.1".parse().unwrap()), None);
        assert!(!links.carries(2));
        assert!(!links.apply(LinkEvent::Gone(2)));
    }
}
