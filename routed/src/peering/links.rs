//! What becomes of this node's interfaces, as far as sessions care.
//!
//! In: the interfaces, always current. Out: for every peer's task, interfaces that begin or cease
//! to carry traffic, and addresses that are gone. Decides nothing about sessions.

use std::{collections::BTreeSet, mem, net::IpAddr};

use routed_core::fib::links::Links;
use tokio::sync::watch;

use super::{LinkEvent, PeerCommand, PeerHandle, Peers};

/// Tells the peers what happens to interfaces, until nobody watches those any more. May be dropped
/// anywhere.
pub async fn follow(mut links: watch::Receiver<Links>, peers: Peers) {
    let mut known = Seen::default();
    // What is there at the start is no news.
    known.look(&links.borrow_and_update());
    while links.changed().await.is_ok() {
        let events = known.look(&links.borrow_and_update());
        for event in events {
            tell(&peers.list(), &event).await;
        }
    }
}

/// Tells every peer what happened to an interface.
pub(super) async fn tell(peers: &[PeerHandle], event: &LinkEvent) {
    for peer in peers {
        peer.command(PeerCommand::Link(event.clone())).await;
    }
}

/// What sessions can notice of the interfaces. Looked at anew with every pod that comes or goes, so a look
/// makes nothing of the thousands that have not changed.
#[derive(Debug, Default)]
struct Seen {
    /// By index.
    interfaces: Vec<Interface>,
    addresses: BTreeSet<IpAddr>,
}

#[derive(Debug, Default)]
struct Interface {
    index: u32,
    name: String,
    /// Traffic can leave through it.
    carries: bool,
}

impl Seen {
    /// Learns of the interfaces as they are now; returns what happened since the last look, losses first.
    fn look(&mut self, links: &Links) -> Vec<LinkEvent> {
        let (mut down, mut up) = (Vec::new(), Vec::new());
        let mut before = mem::take(&mut self.interfaces).into_iter().peekable();
        let lost = |interface: Interface, down: &mut Vec<_>| {
            if interface.carries {
                down.push(LinkEvent::Down(interface.name));
            }
        };
        for link in links.iter() {
            while let Some(gone) = before.next_if(|interface| interface.index < link.index) {
                lost(gone, &mut down);
            }
            let same = before.next_if(|interface| interface.index == link.index);
            let same = same.filter(|interface| {
                let same = interface.name == link.name;
                if !same && interface.carries {
                    down.push(LinkEvent::Down(interface.name.clone()));
                }
                same
            });
            let mut now = same.unwrap_or_else(|| Interface {
                index: link.index,
                name: link.name.clone(),
                carries: false,
            });
            let carries = link.up && link.carrier;
            match (now.carries, carries) {
                (true, false) => down.push(LinkEvent::Down(now.name.clone())),
                (false, true) => up.push(LinkEvent::Up(now.name.clone())),
                (true, true) | (false, false) => {}
            }
            now.carries = carries;
            self.interfaces.push(now);
        }
        for gone in before {
            lost(gone, &mut down);
        }
        let addresses = links.iter().flat_map(|link| links.addresses(link.index));
        let addresses: BTreeSet<_> = addresses.map(|address| address.local).collect();
        let gone = self.addresses.difference(&addresses).copied();
        down.extend(gone.map(LinkEvent::AddressGone));
        self.addresses = addresses;
        down.extend(up);
        down
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

    /// What is told of each of these looks.
    fn told<const N: usize>(looks: [&[Change]; N]) -> [Vec<LinkEvent>; N] {
        let mut seen = Seen::default();
        looks.map(|changes| seen.look(&changes.iter().cloned().collect()))
    }

    #[test]
    fn losses_of_carrier_and_address_are_told_before_what_is_new() {
        let before = [link(2, "eth0", true), address(2, "10.1.1.1"), link(3, "eth1", false)];
        let after = [link(2, "eth0", false), link(3, "eth1", true)];
        let [_, told, nothing] = told([&before, &after, &after]);
        assert_eq!(
            told,
            [
                LinkEvent::Down("eth0".to_owned()),
                LinkEvent::AddressGone("10.1.1.1".parse().unwrap()),
                LinkEvent::Up("eth1".to_owned()),
            ]
        );
        assert_eq!(nothing, []);
    }

    #[test]
    fn an_interface_that_vanishes_is_down_and_one_that_moves_its_address_keeps_it() {
        let before = [link(2, "eth0", true), address(2, "10.1.1.1"), link(3, "eth1", true)];
        let renamed = [link(2, "up0", true), address(2, "10.1.1.1"), link(3, "eth1", true)];
        let moved = [link(3, "eth1", true), address(3, "10.1.1.1"), link(4, "eth2", false)];
        let [first, renamed, moved, none] = told([&before, &renamed, &moved, &[]]);
        let (down, up) = (
            |name: &str| LinkEvent::Down(name.to_owned()),
            |name: &str| LinkEvent::Up(name.to_owned()),
        );
        assert_eq!(first, [up("eth0"), up("eth1")]);
        assert_eq!(renamed, [down("eth0"), up("up0")]);
        assert_eq!(moved, [down("up0")]);
        let address = LinkEvent::AddressGone("10.1.1.1".parse().unwrap());
        assert_eq!(none, [down("eth1"), address]);
    }
}
