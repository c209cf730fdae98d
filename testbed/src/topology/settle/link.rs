//! Links and LANs: who is joined to whom, and by which addresses.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnetwork::{IpNetwork, Ipv4Network, Ipv6Network};

use super::super::faults::Problem;
use super::super::raw::{RawLan, RawLink};
use super::super::{Addresses, End, Lan, Link, Router};
use super::router::is_router_name;
use super::{Desk, Pools, host_length, nth_v4, nth_v6};

impl Desk {
    pub(super) fn links(&mut self, raw: &[RawLink], routers: &[Router], pools: Pools) -> Vec<Link> {
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
            if link.unnumbered {
                self.unnumbered(&place, link);
                links.push(built_link(link, None));
                continue;
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
                links.push(built_link(link, Some((v4, v6))));
            }
        }
        links
    }

    /// Nothing that needs an address fits a link without.
    fn unnumbered(&mut self, place: &str, link: &RawLink) {
        let given = [
            ("ipv4", link.ipv4.is_some()),
            ("ipv6", link.ipv6.is_some()),
            ("password", link.password.is_some()),
        ];
        for (key, _) in given.into_iter().filter(|(_, given)| *given) {
            self.fault(format!("{place}.{key}"), Problem::NeedsAddresses);
        }
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

    pub(super) fn lans(&mut self, raw: Vec<RawLan>, routers: &[Router]) -> Vec<Lan> {
        let mut lans = Vec::new();
        for (index, lan) in raw.into_iter().enumerate() {
            let place = format!("lans[{index}]");
            // The LAN names interfaces, and so do the routers.
            let taken = lans.iter().any(|earlier: &Lan| earlier.name == lan.name)
                || routers.iter().any(|router| router.name == lan.name);
            if !is_router_name(&lan.name) || taken {
                self.fault(format!("{place}.name"), Problem::BadLanName(lan.name.clone()));
            }
            self.members(&place, &lan, routers);
            for (key, network) in [("ipv4", lan.ipv4.into()), ("ipv6", lan.ipv6.into())] {
                let place = format!("{place}.{key}");
                self.no_host_bits(&place, network);
                self.claim(&place, network);
                // The network's own address and the last one are nobody's.
                let spare = host_length(network) - network.prefix();
                if spare < 7 && (1_usize << spare) < lan.members.len() + 2 {
                    self.fault(&place, Problem::PoolUsedUp(network));
                }
            }
            lans.push(built_lan(lan));
        }
        lans
    }

    fn members(&mut self, place: &str, lan: &RawLan, routers: &[Router]) {
        for (index, member) in lan.members.iter().enumerate() {
            let place = format!("{place}.members[{index}]");
            if !routers.iter().any(|router| router.name == *member) {
                self.fault(&place, Problem::UnknownRouter(member.clone()));
            }
            if lan.members[..index].contains(member) {
                self.fault(&place, Problem::MemberTwice(member.clone()));
            }
        }
        if lan.members.len() < 2 {
            self.fault(format!("{place}.members"), Problem::LonelyLan);
        }
        if let Some(hub) = lan.hub.as_ref().filter(|hub| !lan.members.contains(hub)) {
            self.fault(format!("{place}.hub"), Problem::HubElsewhere(hub.clone()));
        }
    }
}

fn built_link(raw: &RawLink, networks: Option<(Ipv4Network, Ipv6Network)>) -> Link {
    let end = |near: usize, far: usize, number: u8| End {
        router: raw.ends[near].clone(),
        ifname: raw.ends[far].clone(),
        addresses: networks
            .map(|(v4, v6)| Addresses { ipv4: host_v4(v4, number), ipv6: host_v6(v6, number) }),
    };
    Link {
        ends: [end(0, 1, 0), end(1, 0, 1)],
        password: raw.password.clone(),
        mtu: raw.mtu.unwrap_or(DEFAULT_MTU),
    }
}

fn built_lan(raw: RawLan) -> Lan {
    let member = |(router, number): (&String, u8)| End {
        router: router.clone(),
        ifname: raw.name.clone(),
        addresses: Some(Addresses {
            ipv4: host_v4(raw.ipv4, number),
            ipv6: host_v6(raw.ipv6, number),
        }),
    };
    let members = raw.members.iter().zip(1..).map(member).collect();
    Lan { name: raw.name, members, hub: raw.hub }
}

/// The n-th address of a network, with the network's length.
fn host_v4(network: Ipv4Network, n: u8) -> Ipv4Network {
    let address = Ipv4Addr::from_bits(network.network().to_bits() | u32::from(n));
    Ipv4Network::new_checked(address, network.prefix()).expect("the length was valid before")
}

fn host_v6(network: Ipv6Network, n: u8) -> Ipv6Network {
    let address = Ipv6Addr::from_bits(network.network().to_bits() | u128::from(n));
    Ipv6Network::new_checked(address, network.prefix()).expect("the length was valid before")
}

fn is_password(password: &str) -> bool {
    (1..=80).contains(&password.len())
        && password.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

const DEFAULT_MTU: u32 = 1500;
