//! `[[peers]]`: each table on its own, then what only shows when all are seen together.

mod bfd;
mod dynamic;
mod group;
mod limits;
mod options;
mod peer;

use std::{collections::BTreeMap, path::Path};

pub use self::bfd::{Bfd, Reach};
use self::{group::Groups, peer::Read};
use super::{
    DynamicPeers, Peer, PeerAddress,
    fault::Place,
    policies::Policies,
    problem::{Caution, Problem},
    section::Section,
    speaker,
};

/// What a peer is judged by besides its own table.
pub(super) struct Context<'c> {
    pub(super) speaker: &'c speaker::Read,
    pub(super) policies: &'c Policies,
    /// Pod ranges; empty without pods.
    pub(super) pods: &'c [bgp::prefix::Prefix],
    /// Where relative password files are looked for.
    pub(super) folder: &'c Path,
}

/// Every table, and every one of `[[dynamic_peers]]`. What cannot stand is left out, with a fault.
pub(super) fn read_all(
    root: &mut Section<'_, '_>,
    context: &Context<'_>,
) -> (Vec<Peer>, Vec<DynamicPeers>) {
    let defaults =
        speaker::PolicyDefaults::resolve(root, &context.speaker.defaults, context.policies);
    let groups = Groups::read_all(root, |section| peer::read(section, context, &defaults));
    let read = root.tables("peers", |section| {
        let group = groups.join(section);
        let mut read = peer::read(section, context, &defaults);
        if let Some(peer) = &mut read.peer {
            peer.rib.group = group;
        }
        read
    });
    let dynamic = root.tables("dynamic_peers", |section| {
        let group = groups.join(section);
        let mut read = dynamic::read(section, context, &defaults);
        if let Some(dynamic) = &mut read.group {
            dynamic.join(group);
        }
        read
    });
    groups.warn_unused(root);
    let names: Vec<String> = read.iter().filter_map(Read::shown_name).collect();
    let names: Vec<&str> = names.iter().map(|name| &**name).collect();
    let known = dynamic.iter().filter_map(|read| read.group.as_ref());
    let known: Vec<_> = groups.names().chain(known.map(|group| &*group.name)).collect();
    context.policies.check_peers(root, &names, &known);
    if read.is_empty() && !root.has("peers") && dynamic.is_empty() {
        root.warn(Place::whole_file(), Caution::NoPeers);
    }
    check_repeats(root, &read, &dynamic);
    dynamic::check(root, &dynamic, &read);
    let peers = read.into_iter().filter_map(|read| read.peer).collect();
    (peers, dynamic.into_iter().filter_map(|read| read.group).collect())
}

/// Addresses tell sessions apart and names tell people; both must be one peer's only.
fn check_repeats(root: &mut Section<'_, '_>, peers: &[Read], dynamic: &[dynamic::Read]) {
    let mut addresses: BTreeMap<&PeerAddress, &Place> = BTreeMap::new();
    for address in peers.iter().filter_map(|peer| peer.address.as_ref()) {
        if let Some(first) = addresses.get(&address.value) {
            let what = match &address.value {
                PeerAddress::Fixed(address) => format!("the address {address}"),
                PeerAddress::Learned(interface) => format!("the interface {interface}"),
            };
            let problem = Problem::Repeated { what, first: (*first).clone() };
            root.fault(address.place.clone(), problem);
        } else {
            addresses.insert(&address.value, &address.place);
        }
    }
    let mut names: BTreeMap<&str, &Place> = BTreeMap::new();
    let peers = peers
        .iter()
        .map(|peer| (peer.name.as_ref(), peer.address.as_ref().map(|address| &address.value)));
    for (name, own) in peers.chain(dynamic.iter().map(|group| (group.name.as_ref(), None))) {
        let Some(name) = name else { continue };
        let named = [
            name.value.parse().ok().map(PeerAddress::Fixed),
            Some(PeerAddress::Learned((*name.value).into())),
        ];
        let is_other = |named: &PeerAddress| Some(named) != own && addresses.contains_key(named);
        if named.iter().flatten().any(is_other) {
            root.fault(name.place.clone(), Problem::NameIsAddress(name.value.clone()));
        } else if let Some(first) = names.get(&*name.value) {
            let what = format!("the name {:?}", name.value);
            let problem = Problem::Repeated { what, first: (*first).clone() };
            root.fault(name.place.clone(), problem);
        } else {
            names.insert(&name.value, &name.place);
        }
    }
}
