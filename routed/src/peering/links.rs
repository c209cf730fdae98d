//! What becomes of this node's interfaces, as far as sessions care.
//!
//! In: the interfaces, always current. Out: for every peer's task, interfaces that begin or cease
//! to carry traffic, and addresses that are gone. Decides nothing about sessions.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use routed_core::fib::links::Links;
use tokio::sync::watch;

use super::{LinkEvent, PeerCommand, PeerHandle, Peers};

/// Tells the peers what happens to interfaces, until nobody watches those any more. May be dropped
/// anywhere.
pub async fn follow(mut links: watch::Receiver<Links>, peers: Peers) {
    let mut known = Seen::of(&links.borrow_and_update());
    while links.changed().await.is_ok() {
        let seen = Seen::of(&links.borrow_and_update());
        for event in known.until(&seen) {
            tell(&peers.list(), &event).await;
        }
        known = seen;
    }
}

/// Tells every peer what happened to an interface.
pub(super) async fn tell(peers: &[PeerHandle], event: &LinkEvent) {
    for peer in peers {
        peer.command(PeerCommand::Link(event.clone())).await;
    }
}

/// What sessions can notice of the interfaces.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    /// Interfaces by name, and whether traffic can leave through them.
    carries: BTreeMap<String, bool>,
    addresses: BTreeSet<IpAddr>,
}

impl Seen {
    fn of(links: &Links) -> Self {
        let carries = links.iter().map(|link| (link.name.clone(), links.carries(link.index)));
        let addresses = links.iter().flat_map(|link| links.addresses(link.index));
        Self {
            carries: carries.collect(),
            addresses: addresses.map(|address| address.local).collect(),
        }
    }

    /// What happened between this and a later look, losses first.
    fn until(&self, later: &Self) -> Vec<LinkEvent> {
        let carries = |seen: &Self, name: &String| seen.carries.get(name) == Some(&true);
        let down = self.carries.keys().filter(|name| carries(self, name) && !carries(later, name));
        let up = later.carries.keys().filter(|name| !carries(self, name) && carries(later, name));
        let gone = self.addresses.difference(&later.addresses).copied();
        down.cloned()
            .map(LinkEvent::Down)
            .chain(gone.map(LinkEvent::AddressGone))
            .chain(up.cloned().map(LinkEvent::Up))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use routed_core::fib::links::{Address, Link, LinkEvent as Change};

    use super::*;

    fn link(index: u32, name: &str, carrier: bool) -> Change {
        Change::Present(Link { index, name: name.to_owned(), up: true, carrier })
    }

    fn address(index: u32, local: &str) -> Change {
        let local: IpAddr = local.parse().unwrap();
        let on_link = bgp::prefix::Prefix::host(local);
        Change::AddressPresent(index, Address { local, on_link })
    }

    fn seen(changes: &[Change]) -> Seen {
        Seen::of(&changes.iter().cloned().collect())
    }

    #[test]
    fn losses_of_carrier_and_address_are_told_before_what_is_new() {
        let before = seen(&[link(2, "eth0", true), address(2, "10.1.1.1"), link(3, "eth1", false)]);
        let after = seen(&[link(2, "eth0", false), link(3, "eth1", true)]);
        assert_eq!(
            before.until(&after),
            [
                LinkEvent::Down("eth0".to_owned()),
                LinkEvent::AddressGone("10.1.1.1".parse().unwrap()),
                LinkEvent::Up("eth1".to_owned()),
            ]
        );
        assert_eq!(after.until(&after), []);
    }

    #[test]
    fn an_interface_that_vanishes_is_down_and_one_that_moves_its_address_keeps_it() {
        let before = seen(&[link(2, "eth0", true), address(2, "10.1.1.1")]);
        let renamed = seen(&[link(2, "up0", true), address(2, "10.1.1.1")]);
        assert_eq!(
            before.until(&renamed),
            [LinkEvent::Down("eth0".to_owned()), LinkEvent::Up("up0".to_owned())]
        );
    }
}
