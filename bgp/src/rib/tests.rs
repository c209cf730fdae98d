//! The RIB's promises, each as seen by its callers.

use std::net::{IpAddr, Ipv4Addr};

use super::*;
use crate::{
    aspath::{AsPath, Asn},
    family::FamilySet,
    policy::Policy,
    wire::Reach,
};

const US: Asn = Asn(65000);

fn prefix(text: &str) -> Prefix {
    text.parse().unwrap()
}

fn router(resolve_next_hops: bool) -> Rib {
    let router_id = Ipv4Addr::new(10, 0, 0, 1);
    let multipath = 4;
    let cluster_id = Ipv4Addr::new(10, 0, 0, 1);
    Rib::new(RibConfig { asn: US, router_id, cluster_id, multipath, resolve_next_hops })
}

/// Peer `n` in AS `asn`, at 192.0.2.n, with everything allowed in and out.
fn peer(n: u8, asn: u32) -> PeerUp {
    let external = Asn(asn) != US;
    PeerUp {
        families: FamilySet::ALL,
        local_asn: US,
        peer_asn: Asn(asn),
        router_id: Ipv4Addr::new(192, 0, 2, n),
        address: Ipv4Addr::new(192, 0, 2, n).into(),
        config: RibPeerConfig {
            import: Some(Arc::new(Policy::accept_all())),
            export: Some(Arc::new(Policy::accept_all())),
            route_reflector_client: false,
            route_server_client: false,
            next_hop_self: false,
            enforce_first_as: true,
            next_hops_on_link: external,
            local_addresses: vec!["198.51.100.1".parse().unwrap(), "2001:db8::1".parse().unwrap()],
        },
    }
}

/// What peer `n` says of a path through these ASes.
fn path(n: u8, asns: &[u32]) -> Attrs {
    let mut attrs = Attrs::originated(NextHop::new(Ipv4Addr::new(192, 0, 2, n).into()));
    attrs.as_path = AsPath::sequence(asns.iter().copied());
    attrs
}

fn announce(prefixes: &[&str], attrs: Attrs) -> Update {
    let prefixes: Vec<_> = prefixes.iter().map(|text| prefix(text)).collect();
    let reach = Reach { family: prefixes[0].family(), attrs: Arc::new(attrs), prefixes };
    Update { reach: vec![reach], ..Update::default() }
}

/// All that the peer is told now.
fn pull(rib: &mut Rib, n: u32) -> Vec<Advertisement> {
    let mut all = Vec::new();
    loop {
        let some = rib.poll_advertisements(PeerId(n), 1000);
        if some.is_empty() {
            return all;
        }
        all.extend(some);
    }
}

fn told(rib: &mut Rib, n: u32) -> Attrs {
    let told = pull(rib, n);
    let [Advertisement::Reach { attrs, .. }] = &told[..] else { panic!("{told:?}") };
    Attrs::clone(attrs)
}

#[test]
fn rfc4271_5_1_ebgp_paths_get_our_as_and_next_hop_and_lose_local_pref_and_med() {
    let mut rib = router(false);
    rib.peer_up(PeerId(1), peer(1, 65001));
    rib.peer_up(PeerId(2), peer(2, 65002));
    pull(&mut rib, 2);
    let mut attrs = path(1, &[65001]);
    (attrs.med, attrs.local_pref) = (Some(7), Some(300));
    rib.update(PeerId(1), &announce(&["10.1.0.0/16"], attrs));
    let told = told(&mut rib, 2);
    assert_eq!(told.as_path, AsPath::sequence([65000, 65001]));
    assert_eq!(told.next_hop.addr, "198.51.100.1".parse::<IpAddr>().unwrap());
    assert_eq!((told.med, told.local_pref), (None, None));
}
