//! From the file as written to a plan with every address settled.
//!
//! In: [`RawTopology`]. Out: [`Topology`], or all faults in the order of the file.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnetwork::{IpNetwork, Ipv4Network, Ipv6Network};

use super::faults::{Fault, Problem};
use super::raw::RawTopology;
use super::{Role, Topology};

mod link;
mod router;

/// Settles every address; see the module.
pub(super) fn settle(source: &str, raw: RawTopology) -> Result<Topology, Vec<Fault>> {
    let mut desk = Desk::default();
    let pools = Pools::check(&raw, &mut desk);
    let mut routers = Vec::new();
    for (role, key, tables) in [
        (Role::Spine, "spines", raw.spines),
        (Role::Tor, "tors", raw.tors),
        (Role::Speaker, "speakers", raw.speakers),
        (Role::Node, "nodes", raw.nodes),
    ] {
        for (index, table) in tables.into_iter().enumerate() {
            let place = format!("{key}[{index}]");
            let ordinal = routers.len() + 1;
            let router = desk.router(&place, role, table, ordinal, &routers, pools);
            routers.push(router);
        }
    }
    let links = desk.links(&raw.links, &routers, pools);
    let lans = desk.lans(raw.lans, &routers);
    if raw.bfd.is_some_and(|bfd| bfd.interval < 50 || bfd.multiplier < 2) {
        desk.fault("bfd", Problem::BfdTooQuick);
    }
    for router in &routers {
        let ends = links.iter().flat_map(|link| &link.ends);
        let mut ends = ends.chain(lans.iter().flat_map(|lan| &lan.members));
        if !ends.any(|end| end.router == router.name) {
            desk.fault("links", Problem::NoLink(router.name.clone()));
        }
    }
    if desk.faults.is_empty() {
        Ok(Topology { source: source.into(), routers, links, lans, bfd: raw.bfd })
    } else {
        Err(desk.faults)
    }
}

/// Where addresses come from that the file leaves open.
#[derive(Clone, Copy)]
struct Pools {
    link_v4: Ipv4Network,
    link_v6: Ipv6Network,
    loopback_v4: Ipv4Network,
    loopback_v6: Ipv6Network,
}

impl Pools {
    fn check(raw: &RawTopology, desk: &mut Desk) -> Self {
        for (place, pool) in [
            ("link_ipv4", IpNetwork::V4(raw.link_ipv4)),
            ("link_ipv6", IpNetwork::V6(raw.link_ipv6)),
            ("loopback_ipv4", IpNetwork::V4(raw.loopback_ipv4)),
            ("loopback_ipv6", IpNetwork::V6(raw.loopback_ipv6)),
        ] {
            desk.no_host_bits(place, pool);
        }
        Self {
            link_v4: raw.link_ipv4,
            link_v6: raw.link_ipv6,
            loopback_v4: raw.loopback_ipv4,
            loopback_v6: raw.loopback_ipv6,
        }
    }
}

/// Faults found and addresses given out so far.
#[derive(Default)]
struct Desk {
    faults: Vec<Fault>,
    /// Prefix and the place that uses it.
    used: Vec<(IpNetwork, String)>,
}

impl Desk {
    fn fault(&mut self, place: impl Into<String>, problem: Problem) {
        self.faults.push(Fault { place: place.into(), problem });
    }

    /// An address made from a pool: claimed, or a fault if the pool had none left.
    fn settled(
        &mut self,
        place: &str,
        pool: IpNetwork,
        made: Option<IpNetwork>,
    ) -> Option<IpNetwork> {
        match made {
            Some(network) => self.claim(place, network),
            None => self.fault(place, Problem::PoolUsedUp(pool)),
        }
        made
    }

    fn claim(&mut self, place: &str, network: IpNetwork) {
        let taken = self.used.iter().find(|(other, _)| overlap(*other, network)).cloned();
        match taken {
            Some((other, user)) => self.fault(place, Problem::Overlap(network, other, user)),
            None => self.used.push((network, place.into())),
        }
    }

    fn no_host_bits(&mut self, place: &str, network: IpNetwork) {
        if network.ip() != network.network() {
            let clean = IpNetwork::new(network.network(), network.prefix())
                .expect("the length was valid before");
            self.fault(place, Problem::HostBits(network, clean));
        }
    }
}

/// The n-th prefix of that length in the pool.
fn nth_v4(pool: Ipv4Network, n: usize, length: u8) -> Option<Ipv4Network> {
    let step = 1_u32 << (32 - length);
    let offset = u32::try_from(n).ok()?.checked_mul(step)?;
    let address = Ipv4Addr::from_bits(pool.network().to_bits().checked_add(offset)?);
    pool.contains(address).then(|| Ipv4Network::new_checked(address, length))?
}

/// The n-th prefix of that length in the pool, `2^spread` (or one prefix) apart.
fn nth_v6(pool: Ipv6Network, n: usize, length: u8, spread: u8) -> Option<Ipv6Network> {
    let step = 1_u128 << (128 - length).max(spread);
    let offset = u128::try_from(n).ok()?.checked_mul(step)?;
    let address = Ipv6Addr::from_bits(pool.network().to_bits().checked_add(offset)?);
    pool.contains(address).then(|| Ipv6Network::new_checked(address, length))?
}

fn overlap(a: IpNetwork, b: IpNetwork) -> bool {
    match (a, b) {
        (IpNetwork::V4(a), IpNetwork::V4(b)) => a.overlaps(b),
        (IpNetwork::V6(a), IpNetwork::V6(b)) => a.overlaps(b),
        (IpNetwork::V4(_), IpNetwork::V6(_)) | (IpNetwork::V6(_), IpNetwork::V4(_)) => false,
    }
}

fn host_length(network: IpNetwork) -> u8 {
    match network {
        IpNetwork::V4(_) => 32,
        IpNetwork::V6(_) => 128,
    }
}
