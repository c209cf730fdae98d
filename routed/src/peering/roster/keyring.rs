//! Whose connections are signed (RFC 2385): peers by their addresses, groups by their prefixes, and
//! unnumbered peers by the addresses that are learned on their links.
//!
//! In: the configuration, and where unnumbered peers are. Out: the keys that listening sockets need.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use bgp::{prefix::Prefix, rib::PeerId};
use tokio::sync::{mpsc, watch};

use crate::{
    config::{Config, Password, Peer, PeerAddress},
    peering::status::PeerStatus,
};

/// Whose connections are signed, and with which key.
pub(super) type Keys = BTreeMap<Prefix, Password>;

/// See the module.
#[derive(Clone, Default)]
pub(super) struct Keyring {
    fixed: Keys,
    by_interface: BTreeMap<Arc<str>, Password>,
    /// Where unnumbered peers are, and on which interface.
    learned: BTreeMap<PeerId, (Arc<str>, IpAddr)>,
}

/// Where an unnumbered peer is; `None`: that is no longer known.
#[derive(Debug)]
pub(super) struct Whereabouts {
    pub(super) peer: PeerId,
    pub(super) interface: Arc<str>,
    pub(super) address: Option<IpAddr>,
}

impl Keyring {
    /// That of a configuration, with what was learned before.
    pub(super) fn change(&self, config: &Config) -> Self {
        let fixed = |peer: &Peer| {
            Some((Prefix::host(peer.address.fixed()?.to_canonical()), peer.password.clone()?))
        };
        let groups = config.dynamic_peers.iter();
        let groups =
            groups.filter_map(|group| Some((group.prefix, group.template().password.clone()?)));
        let by_interface = |peer: &Peer| match &peer.address {
            PeerAddress::Learned(interface) => {
                Some((Arc::clone(interface), peer.password.clone()?))
            }
            PeerAddress::Fixed(_) => None,
        };
        Self {
            fixed: config.peers.iter().filter_map(fixed).chain(groups).collect(),
            by_interface: config.peers.iter().filter_map(by_interface).collect(),
            learned: self.learned.clone(),
        }
    }

    /// An unnumbered peer was found or lost.
    pub(super) fn learn(&mut self, whereabouts: Whereabouts) {
        let Whereabouts { peer, interface, address } = whereabouts;
        match address {
            Some(address) => drop(self.learned.insert(peer, (interface, address))),
            None => drop(self.learned.remove(&peer)),
        }
    }

    /// Everything that listening sockets need. The kernel knows no links here: of two unnumbered
    /// peers that have the same link-local address and other keys only one can dial us. Both are
    /// dialled with their own.
    pub(super) fn keys(&self) -> Keys {
        let learned = self.learned.values().filter_map(|(interface, address)| {
            Some((Prefix::host(*address), self.by_interface.get(interface)?.clone()))
        });
        learned.chain(self.fixed.clone()).collect()
    }
}

/// Tells where an unnumbered peer is whenever that changes, until its task has ended.
pub(super) async fn follow(
    peer: PeerId,
    interface: Arc<str>,
    mut status: watch::Receiver<PeerStatus>,
    found: mpsc::Sender<Whereabouts>,
) {
    let mut known = None;
    loop {
        let address = status.borrow_and_update().peer.map(|peer| peer.ip());
        let ended = status.changed();
        if address != known {
            known = address;
            let interface = Arc::clone(&interface);
            // An error means that the roster has ended.
            let _ = found.send(Whereabouts { peer, interface, address }).await;
        }
        if ended.await.is_err() {
            break;
        }
    }
    let _ = found.send(Whereabouts { peer, interface, address: None }).await;
}
