//! From the file as written to a plan with every address settled.
//!
//! In: [`RawTopology`]. Out: [`Topology`], or all faults in the order of the file.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Component, Path};

use ipnetwork::{IpNetwork, Ipv4Network, Ipv6Network};

use super::faults::{Fault, Problem};
use super::raw::{RawLink, RawRouter, RawTopology};
use super::{End, Link, Role, Router, Runs, Topology};

/// Settles every address; see the module.
pub(super) fn settle(source: &str, raw: RawTopology) -> Result<Topology, Vec<Fault>> {
    let mut desk = Desk::default();
    let pools = Pools::check(&raw, &mut desk);
    let mut routers = Vec::new();
    for (role, key, tables) in [
        (Role::Spine, "spines", raw.spines),
        (Role::Tor, "tors", raw.tors),
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
    for router in &routers {
        let linked = links.iter().any(|link| link.ends.iter().any(|end| end.router == router.name));
        if !linked {
            desk.fault("links", Problem::NoLink(router.name.clone()));
        }
    }
    if desk.faults.is_empty() {
        Ok(Topology { source: source.into(), routers, links })
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

    fn router(
        &mut self,
        place: &str,
        role: Role,
        raw: RawRouter,
        ordinal: usize,
        earlier: &[Router],
        pools: Pools,
    ) -> Router {
        if !is_router_name(&raw.name) {
            self.fault(format!("{place}.name"), Problem::BadName(raw.name.clone()));
        }
        if earlier.iter().any(|router| router.name == raw.name) {
            self.fault(format!("{place}.name"), Problem::NameTwice(raw.name.clone()));
        }
        // 0, AS_TRANS and the last number of either width.
        if matches!(raw.asn, 0 | 23456 | 65535 | u32::MAX) {
            self.fault(format!("{place}.asn"), Problem::BadAsn(raw.asn));
        }
        let loopback = self.loopback(place, &raw.loopback, ordinal, pools);
        let router_id = loopback.iter().find_map(|network| match network.ip() {
            IpAddr::V4(v4) => Some(v4),
            IpAddr::V6(_) => None,
        });
        if router_id.is_none() {
            self.fault(format!("{place}.loopback"), Problem::NoRouterId);
        }
        self.announced(place, role, &raw);
        self.software(place, &raw);
        Router {
            name: raw.name,
            role,
            runs: raw.runs,
            asn: raw.asn,
            router_id: router_id.unwrap_or(Ipv4Addr::UNSPECIFIED),
            loopback,
            pods: raw.pods,
            networks: raw.networks,
            config: raw.config,
            extra_config: raw.extra_config,
            command: raw.command,
            files: raw.files,
        }
    }

    fn loopback(
        &mut self,
        place: &str,
        written: &[IpNetwork],
        ordinal: usize,
        pools: Pools,
    ) -> Vec<IpNetwork> {
        let place = format!("{place}.loopback");
        if written.is_empty() {
            let v4 = nth_v4(pools.loopback_v4, ordinal, 32);
            let v6 = nth_v6(pools.loopback_v6, ordinal, 128, 0);
            return self
                .settled(&place, pools.loopback_v4.into(), v4.map(IpNetwork::V4))
                .into_iter()
                .chain(self.settled(&place, pools.loopback_v6.into(), v6.map(IpNetwork::V6)))
                .collect();
        }
        for (index, network) in written.iter().enumerate() {
            let place = format!("{place}[{index}]");
            if network.prefix() != host_length(*network) {
                self.fault(&place, Problem::LoopbackNotHost(*network));
            }
            self.claim(&place, *network);
        }
        written.to_vec()
    }

    /// Pod ranges and networks: on the right role, without host bits, used once.
    fn announced(&mut self, place: &str, role: Role, raw: &RawRouter) {
        if role != Role::Node && !raw.pods.is_empty() {
            self.fault(format!("{place}.pods"), Problem::PodsElsewhere);
        }
        if role == Role::Node && !raw.networks.is_empty() {
            self.fault(format!("{place}.networks"), Problem::NetworksOnNode);
        }
        for (key, list) in [("pods", &raw.pods), ("networks", &raw.networks)] {
            for (index, network) in list.iter().enumerate() {
                let place = format!("{place}.{key}[{index}]");
                self.no_host_bits(&place, *network);
                self.claim(&place, *network);
            }
        }
    }

    fn software(&mut self, place: &str, raw: &RawRouter) {
        if raw.runs != Runs::None && !raw.command.is_empty() {
            self.fault(format!("{place}.command"), Problem::CommandBesideSoftware);
        }
        if raw.runs == Runs::None && (raw.config.is_some() || raw.extra_config.is_some()) {
            self.fault(format!("{place}.config"), Problem::ConfigWithoutSoftware);
        }
        for path in raw.files.keys().filter(|path| !is_own_path(path)) {
            let path = path.display().to_string();
            self.fault(format!("{place}.files"), Problem::FileElsewhere(path));
        }
    }

    fn links(&mut self, raw: &[RawLink], routers: &[Router], pools: Pools) -> Vec<Link> {
        // Fixed addresses first, so that an open one never takes what another link names.
        for (index, link) in raw.iter().enumerate() {
            let place = format!("links[{index}]");
            if let Some(v4) = link.ipv4 {
                self.fixed_link(&place, "ipv4", v4.into());
            }
            if let Some(v6) = link.ipv6 {
                self.fixed_link(&place, "ipv6", v6.into());
            }
        }
        let mut open = 0;
        let mut links: Vec<Link> = Vec::new();
        for (index, link) in raw.iter().enumerate() {
            let place = format!("links[{index}]");
            self.ends(&place, link, routers, &links);
            if link.mtu.is_some_and(|mtu| !(1280..=65535).contains(&mtu)) {
                self.fault(format!("{place}.mtu"), Problem::BadMtu(link.mtu.unwrap_or_default()));
            }
            if link.password.as_deref().is_some_and(|password| !is_password(password)) {
                self.fault(format!("{place}.password"), Problem::BadPassword);
            }
            let v4 = link.ipv4.or_else(|| {
                let made = nth_v4(pools.link_v4, open, 31);
                let made = self.settled(&place, pools.link_v4.into(), made.map(IpNetwork::V4))?;
                match made {
                    IpNetwork::V4(v4) => Some(v4),
                    IpNetwork::V6(_) => None,
                }
            });
            let v6 = link.ipv6.or_else(|| {
                // One /64 a link, so that the link's number shows in the fourth group.
                let made = nth_v6(pools.link_v6, open, 127, 64);
                let made = self.settled(&place, pools.link_v6.into(), made.map(IpNetwork::V6))?;
                match made {
                    IpNetwork::V4(_) => None,
                    IpNetwork::V6(v6) => Some(v6),
                }
            });
            open += usize::from(link.ipv4.is_none() || link.ipv6.is_none());
            if let (Some(v4), Some(v6)) = (v4, v6) {
                links.push(built_link(link, v4, v6));
            }
        }
        links
    }

    fn ends(&mut self, place: &str, link: &RawLink, routers: &[Router], earlier: &[Link]) {
        for end in &link.ends {
            if !routers.iter().any(|router| router.name == *end) {
                self.fault(place, Problem::UnknownRouter(end.clone()));
            }
        }
        let [a, b] = &link.ends;
        if a == b {
            self.fault(place, Problem::LinkToSelf(a.clone()));
        }
        let same = |earlier: &Link| {
            let names = [&earlier.ends[0].router, &earlier.ends[1].router];
            names == [a, b] || names == [b, a]
        };
        if let Some(index) = earlier.iter().position(same) {
            self.fault(place, Problem::LinkTwice(a.clone(), b.clone(), index));
        }
    }

    fn fixed_link(&mut self, place: &str, key: &str, network: IpNetwork) {
        let place = format!("{place}.{key}");
        if host_length(network) - network.prefix() != 1 {
            self.fault(&place, Problem::NotPointToPoint(network));
        }
        self.no_host_bits(&place, network);
        self.claim(&place, network);
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

fn built_link(raw: &RawLink, v4: Ipv4Network, v6: Ipv6Network) -> Link {
    let end = |near: usize, far: usize, offset: u8| End {
        router: raw.ends[near].clone(),
        ifname: raw.ends[far].clone(),
        ipv4: Ipv4Network::new_checked(
            Ipv4Addr::from_bits(v4.network().to_bits() + u32::from(offset)),
            v4.prefix(),
        )
        .expect("the length was valid before"),
        ipv6: Ipv6Network::new_checked(
            Ipv6Addr::from_bits(v6.network().to_bits() + u128::from(offset)),
            v6.prefix(),
        )
        .expect("the length was valid before"),
    };
    Link {
        ends: [end(0, 1, 0), end(1, 0, 1)],
        password: raw.password.clone(),
        mtu: raw.mtu.unwrap_or(DEFAULT_MTU),
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

fn is_router_name(name: &str) -> bool {
    (1..=15).contains(&name.len())
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        && !matches!(name, "lo" | "all" | "default")
}

fn is_password(password: &str) -> bool {
    (1..=80).contains(&password.len())
        && password.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

fn is_own_path(path: &Path) -> bool {
    let own = ["/etc", "/run", "/var/lib", "/var/log", "/var/tmp"];
    own.iter().any(|dir| path.starts_with(dir) && path != Path::new(dir))
        && path.components().all(|part| part != Component::ParentDir)
}

const DEFAULT_MTU: u32 = 1500;
