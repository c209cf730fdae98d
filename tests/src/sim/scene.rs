//! Ready-made worlds: settings of plain routers, leaf and spine, full mesh, route reflectors.

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    ops::Range,
    sync::Arc,
    time::Duration,
};

use bgp::{
    aspath::Asn,
    config::{PeerAs, RibPeerConfig, SessionConfig},
    policy::Policy,
    rib::RibConfig,
    speaker::PeerSettings,
};

use super::{Net, RouterId};

/// The `n`th router of a world, in this AS. It looks up no next hops, and uses up to 64 paths.
#[must_use]
pub fn router_config(n: usize, asn: u32) -> RibConfig {
    let n = u32::try_from(n).expect("a world has fewer routers");
    let router_id = Ipv4Addr::from_bits(0x0a00_0001 + n);
    RibConfig { multipath: 64, resolve_next_hops: false, ..RibConfig::new(Asn(asn), router_id) }
}

/// What `ours` needs to know of a session with `theirs`.
#[must_use]
pub fn session_config(ours: &RibConfig, theirs: &RibConfig) -> SessionConfig {
    SessionConfig::new(ours.asn, ours.router_id, PeerAs::Exact(theirs.asn))
}

/// The same with everything let in and out, and identifiers for addresses.
#[must_use]
pub fn peer_settings(ours: &RibConfig, theirs: &RibConfig) -> PeerSettings {
    let all = Some(Arc::new(Policy::accept_all()));
    PeerSettings {
        address: theirs.router_id.into(),
        link: None,
        session: session_config(ours, theirs),
        rib: RibPeerConfig {
            import: all.clone(),
            export: all,
            local_addresses: vec![
                ours.router_id.into(),
                Ipv6Addr::from_bits(0xfd00 << 112 | u128::from(ours.router_id.to_bits())).into(),
            ],
            ..RibPeerConfig::default()
        },
    }
}

/// A fabric: every leaf has a session with every spine. Leaves have an AS each, from 65100 on;
/// spines share 65000, or have one each if `own_as`. Spines come first.
#[must_use]
pub fn leaf_spine(seed: u64, spines: usize, leaves: usize, own_as: bool) -> Net {
    let mut net = Net::new(seed);
    let number = |n: usize| u32::try_from(n).expect("a world has fewer routers");
    let spines: Vec<_> = (0..spines)
        .map(|n| net.add_router(router_config(n, 65000 + if own_as { number(n) } else { 0 })))
        .collect();
    for n in 0..leaves {
        let leaf = net.add_router(router_config(spines.len() + n, 65100 + number(n)));
        for spine in &spines {
            join(&mut net, [leaf, *spine], |settings| settings);
        }
    }
    net
}

/// One AS in which every router has a session with every other.
#[must_use]
pub fn full_mesh(seed: u64, routers: usize) -> Net {
    let mut net = Net::new(seed);
    let routers: Vec<_> = (0..routers).map(|n| net.add_router(router_config(n, 65000))).collect();
    for (n, a) in routers.iter().enumerate() {
        for b in &routers[..n] {
            join(&mut net, [*a, *b], |settings| settings);
        }
    }
    net
}

/// One AS in which clients have sessions with route reflectors only, and those with each other.
/// Reflectors come first.
#[must_use]
pub fn reflectors(seed: u64, reflectors: usize, clients: usize) -> Net {
    let mut net = full_mesh(seed, reflectors);
    for n in 0..clients {
        let client = net.add_router(router_config(reflectors + n, 65000));
        for reflector in 0..reflectors {
            join(&mut net, [client, RouterId(reflector)], |[of_client, mut of_reflector]| {
                of_reflector.rib.route_reflector_client = true;
                [of_client, of_reflector]
            });
        }
    }
    net
}

fn join(
    net: &mut Net,
    ends: [RouterId; 2],
    adjust: impl Fn([PeerSettings; 2]) -> [PeerSettings; 2],
) {
    let [a, b] = ends.map(|end| net.router(end).config.clone());
    net.link(ends, adjust([peer_settings(&a, &b), peer_settings(&b, &a)]), LATENCY);
}

/// From a cable to a busy router.
const LATENCY: Range<Duration> = Duration::from_micros(50)..Duration::from_millis(20);
