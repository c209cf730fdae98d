//! The RIB's promises, each as seen by its callers.

mod aggregate;
mod dump;
mod export;
mod import;
mod lifetime;
mod limit;
mod model;
mod monitor;
mod outputs;
mod several;
mod why;

use std::net::Ipv4Addr;

use super::*;
use crate::{
    aspath::{AsPath, Asn},
    family::{FamilySet, PerFamily},
    policy::Policy,
    session::Cause,
    wire::{Nlri, Reach},
};

const US: Asn = Asn(65000);
const OUR_ID: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

fn prefix(text: &str) -> Prefix {
    text.parse().unwrap()
}

fn nlri(text: &str) -> Nlri {
    prefix(text).into()
}

fn hop(text: &str) -> NextHop {
    NextHop::new(text.parse().unwrap())
}

fn settings() -> RibConfig {
    RibConfig { multipath: 4, resolve_next_hops: false, ..RibConfig::new(US, OUR_ID) }
}

/// A router that takes every next hop as reachable.
fn router() -> Rib {
    Rib::new(settings())
}

fn resolving_router() -> Rib {
    Rib::new(RibConfig { resolve_next_hops: true, ..settings() })
}

/// Peer `n` in AS `asn`, at 192.0.2.n, with everything allowed in and out.
fn peer(n: u8, asn: u32) -> PeerUp {
    PeerUp {
        families: FamilySet::ALL,
        local_asn: US,
        peer_asn: Asn(asn),
        router_id: Ipv4Addr::new(192, 0, 2, n),
        address: Ipv4Addr::new(192, 0, 2, n).into(),
        link: None,
        extended_next_hop: false,
        options: SessionOptions::default(),
        config: RibPeerConfig {
            import: Some(Arc::new(Policy::accept_all())),
            export: Some(Arc::new(Policy::accept_all())),
            local_addresses: vec!["198.51.100.1".parse().unwrap(), "2001:db8::1".parse().unwrap()],
            ..RibPeerConfig::default()
        },
        opening: Opening::default(),
    }
}

/// What peer `n` says of a path through these ASes.
fn path(n: u8, asns: &[u32]) -> Attrs {
    let mut attrs = Attrs::originated(NextHop::new(Ipv4Addr::new(192, 0, 2, n).into()));
    attrs.as_path = AsPath::sequence(asns.iter().copied());
    attrs
}

/// The same with an IPv6 next hop.
fn path_v6(n: u8, asns: &[u32]) -> Attrs {
    Attrs { next_hop: hop(&format!("2001:db8:1::{n}")), ..path(n, asns) }
}

fn announce(prefixes: &[&str], attrs: Attrs) -> Update {
    let prefixes: Vec<_> = prefixes.iter().map(|text| nlri(text)).collect();
    let reach = Reach { family: prefixes[0].family(), attrs: Arc::new(attrs), prefixes };
    Update { reach: vec![reach], ..Update::default() }
}

fn withdraw(prefixes: &[&str]) -> Update {
    let withdrawn = prefixes.iter().map(|text| nlri(text)).collect();
    Update { withdrawn, ..Update::default() }
}

/// All that the peer is told now, End-of-RIB left out.
fn pull(rib: &mut Rib, n: u32) -> Vec<Advertisement> {
    let mut all = Vec::new();
    loop {
        let some = rib.poll_advertisements(PeerId(n), 1000);
        if some.is_empty() {
            all.retain(|piece| !matches!(piece, Advertisement::EndOfRib(_)));
            return all;
        }
        all.extend(some);
    }
}

/// The attributes of the single announcement that the peer is told now.
fn told(rib: &mut Rib, n: u32) -> Attrs {
    let told = pull(rib, n);
    let [Advertisement::Reach { attrs, .. }] = &told[..] else { panic!("{told:?}") };
    Attrs::clone(attrs)
}

/// Why the single route of the Loc-RIB is not announced to the peer.
fn untold(rib: &Rib, n: u32) -> NotAdvertised {
    let routes = rib.advertised(PeerId(n));
    let [ToldView { outcome: Err(reason), .. }] = &routes[..] else { panic!("{routes:?}") };
    reason.clone()
}

/// The verdict on peer `n`'s only path.
fn verdict(rib: &Rib, n: u32) -> Verdict {
    let received = rib.received(PeerId(n));
    let [(_, view)] = &received[..] else { panic!("{received:?}") };
    view.verdict.clone()
}

/// Prefixes in use after the last change, with the peers of their paths.
fn drain_best(rib: &mut Rib) -> Vec<(String, Vec<Option<u32>>)> {
    std::iter::from_fn(|| rib.poll_best())
        .map(|change| {
            let peers = change.paths.iter().map(|path| path.peer.map(|peer| peer.0)).collect();
            (change.prefix.to_string(), peers)
        })
        .collect()
}
