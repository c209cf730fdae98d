//! Next-hop resolution: through which interface, and by which neighbour, a BGP next hop is reached.
//!
//! In: interfaces, addresses, and the kernel's routes that are not ours. Out: for every next hop
//! that somebody asked about, whether it can be reached, at what cost, and the hops that a kernel
//! route needs; said again whenever it changes.
//!
//! A next hop on a connected network costs 0. One behind a route of the main table costs that
//! route's metric, at least 1, and uses that route's gateways. The longest match decides, as in the
//! kernel: if it leads through an interface without carrier or refuses packets, the next hop is
//! unreachable, and no shorter prefix is tried. A default route does not count unless configured:
//! it would make every next hop look reachable. BGP's own routes never count (RFC 4271 §9.1.2.1
//! allows it; resolving BGP through BGP is how loops are made).
//!
//! A next hop with a link-local address (alone, or beside a global one: RFC 2545 §3) is a neighbour
//! on the link of the session: reachable at cost 0 exactly as long as that link carries traffic,
//! whatever the routes say. Without a link, link-local addresses lead nowhere.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv6Addr},
};

use bgp::{attrs::NextHop, prefix::Prefix, rib::Resolution};

use super::{
    links::{Address, LinkEvent, Links},
    others::{Followed, Others, RouteChange},
    route::{Hop, Hops, Route, RouteKey, TABLE_MAIN, Target},
};

/// Where a next hop leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// What the decision process needs to know.
    pub resolution: Resolution,
    /// What a kernel route needs: at least one hop if reachable, none if not.
    pub hops: Hops,
}

impl Resolved {
    fn unreachable() -> Self {
        Self { resolution: Resolution::Unreachable, hops: Hops::from_iter([]) }
    }
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Resolver {
    via_default: bool,
    links: Links,
    others: Others,
    tracked: BTreeMap<NextHop, Tracked>,
    /// Those of the tracked ones that are neighbours on a link, by the link's index.
    neighbours: BTreeMap<u32, BTreeSet<NextHop>>,
    changed: BTreeSet<NextHop>,
}

#[derive(Clone, Debug)]
struct Tracked {
    /// The RIB asks about it, or paths in use have it, or both.
    asked: bool,
    users: usize,
    resolved: Resolved,
}

impl Resolver {
    pub(super) fn new(via_default: bool) -> Self {
        Self { via_default, ..Self::default() }
    }

    /// A full picture of the interfaces.
    pub(super) fn set_links(&mut self, links: Links) {
        self.links = links;
        self.again_all();
    }

    /// One change of the interfaces.
    pub(super) fn link(&mut self, event: LinkEvent) -> LinkLoss {
        let (index, own) = match &event {
            LinkEvent::Present(link) => (link.index, None),
            LinkEvent::Gone(index) => (*index, None),
            LinkEvent::AddressPresent(index, address) | LinkEvent::AddressGone(index, address) => {
                (*index, Some(address.local))
            }
        };
        let (was_up, spoke_ipv4) = (self.links.is_up(index), self.speaks_ipv4(index));
        let carried = self.links.carries(index);
        if !self.links.apply(event) {
            return LinkLoss::default();
        }
        if let Some(addr) = own {
            self.again(Prefix::host(addr));
        }
        let concerned: Vec<_> = self.others.through(index).collect();
        let lost = was_up && !self.links.is_up(index) || spoke_ipv4 && !self.speaks_ipv4(index);
        let gone = if lost {
            let Self { links, others, .. } = self;
            others.link_lost(index, |other| links.is_up(other))
        } else {
            Vec::new()
        };
        for prefix in concerned {
            self.again(prefix);
        }
        for next_hop in self.neighbours.get(&index).cloned().into_iter().flatten() {
            self.again_one(next_hop);
        }
        let silent = carried && !self.links.carries(index);
        LinkLoss { lost: lost.then_some(index), silent: silent.then_some(index), gone }
    }

    /// A full picture of everybody else's routes.
    pub(super) fn set_routes(&mut self, others: Others) {
        self.others = others;
        self.again_all();
    }

    /// One change of somebody else's routes.
    pub(super) fn route(&mut self, change: RouteChange, route: Route) -> Followed {
        let prefix = route.key.prefix;
        let followed = self.others.apply(change, route);
        self.again(prefix);
        followed
    }

    /// The next hops that the RIB asks about now. All of them are reported by [`Self::poll`].
    pub(super) fn ask(&mut self, next_hops: &BTreeSet<NextHop>) {
        let asked = self.tracked.iter().filter(|(_, tracked)| tracked.asked);
        let before: BTreeSet<_> = asked.map(|(next_hop, _)| *next_hop).collect();
        for next_hop in before.difference(next_hops) {
            self.release(*next_hop, |tracked| tracked.asked = false);
        }
        for next_hop in next_hops {
            self.track(*next_hop).asked = true;
            self.changed.insert(*next_hop);
        }
    }

    /// A set of paths in use starts to use this next hop.
    pub(super) fn acquire(&mut self, next_hop: NextHop) {
        self.track(next_hop).users += 1;
    }

    /// It no longer does.
    pub(super) fn drop_user(&mut self, next_hop: NextHop) {
        self.release(next_hop, |tracked| tracked.users -= 1);
    }

    /// The next one whose answer changed, each once with its newest answer.
    pub(super) fn poll(&mut self) -> Option<Changed> {
        loop {
            let next_hop = self.changed.pop_first()?;
            if let Some(Tracked { asked, resolved, .. }) = self.tracked.get(&next_hop) {
                let answer = asked.then(|| resolved.resolution);
                return Some(Changed { next_hop, answer });
            }
        }
    }

    /// Hops that lead to a tracked next hop; none if it is unreachable.
    pub(super) fn hops(&self, next_hop: NextHop) -> &[Hop] {
        self.tracked.get(&next_hop).map_or(&[], |tracked| tracked.resolved.hops.as_slice())
    }

    /// Whether somebody else has a route with this key.
    pub(super) fn holds(&self, key: RouteKey) -> bool {
        self.others.holds(key)
    }

    /// Somebody else's routes with this key.
    pub(super) fn routes_with(&self, key: RouteKey) -> impl Iterator<Item = &Route> {
        self.others.at(key.prefix).iter().filter(move |route| route.key == key)
    }

    pub(super) const fn links(&self) -> &Links {
        &self.links
    }

    /// Where a next hop leads, by what is known now.
    pub(super) fn resolve(&self, next_hop: NextHop) -> Resolved {
        if let Some((index, neighbour)) = neighbour(next_hop) {
            return self.neighbour(index, neighbour, next_hop.addr);
        }
        let addr = next_hop.addr;
        let sendable = match addr {
            IpAddr::V4(v4) => !(v4.is_unspecified() || v4.is_loopback() || v4.is_multicast()),
            IpAddr::V6(v6) => {
                !(v6.is_unspecified()
                    || v6.is_loopback()
                    || v6.is_multicast()
                    || v6.is_unicast_link_local())
            }
        };
        if self.links.owner(addr).is_some() {
            return Resolved { resolution: Resolution::Own, ..Resolved::unreachable() };
        }
        if !sendable {
            return Resolved::unreachable();
        }
        let shortest = u8::from(!self.via_default);
        let longest = Prefix::host(addr).len();
        (shortest..=longest)
            .rev()
            .filter_map(|len| self.best_at(Prefix::new(addr, len).ok()?))
            .next()
            .map_or_else(Resolved::unreachable, |route| self.follow(route, addr))
    }

    /// A neighbour on a link, by its link-local address; `addr` may be its global one.
    fn neighbour(&self, index: u32, neighbour: Ipv6Addr, addr: IpAddr) -> Resolved {
        let is_own = |address: &Address| address.local == neighbour;
        let global_is_own = addr != neighbour && self.links.owner(addr).is_some();
        if global_is_own || self.links.addresses(index).iter().any(is_own) {
            return Resolved { resolution: Resolution::Own, ..Resolved::unreachable() };
        }
        if !self.links.carries(index) {
            return Resolved::unreachable();
        }
        let hops = Hops::from_iter([Hop::new(Some(neighbour.into()), index)]);
        Resolved { resolution: Resolution::Reachable { cost: 0 }, hops }
    }

    /// The main table's route to exactly this prefix that the kernel would use.
    fn best_at(&self, prefix: Prefix) -> Option<&Route> {
        let exists = |route: &&Route| {
            let hops = route.target.hops();
            let up = hops.is_empty() || hops.iter().any(|hop| self.links.is_up(hop.ifindex));
            route.key.table == TABLE_MAIN && up
        };
        self.others.at(prefix).iter().filter(exists).min_by_key(|route| route.key.metric)
    }

    fn follow(&self, route: &Route, addr: IpAddr) -> Resolved {
        let hops = match &route.target {
            Target::Forward(hops) => hops.as_slice(),
            // Those of others come here with their hops.
            Target::Group(_) | Target::Blackhole | Target::Refuse => &[],
        };
        let connected = hops.iter().all(|hop| hop.gateway.is_none());
        let cost = if connected { 0 } else { route.key.metric.max(1) };
        let carrying = hops.iter().filter(|hop| self.links.carries(hop.ifindex));
        let hops: Hops = carrying
            .map(|hop| Hop { gateway: Some(hop.gateway.unwrap_or(addr)), weight: 1, ..*hop })
            .collect();
        if hops.is_empty() {
            return Resolved::unreachable();
        }
        Resolved { resolution: Resolution::Reachable { cost }, hops }
    }

    /// Whether an interface has an IPv4 address: when the last one goes, the kernel drops all
    /// IPv4 routes through it, as it does when the interface goes down.
    fn speaks_ipv4(&self, index: u32) -> bool {
        self.links.addresses(index).iter().any(|address| address.local.is_ipv4())
    }

    fn track(&mut self, next_hop: NextHop) -> &mut Tracked {
        if !self.tracked.contains_key(&next_hop) {
            let resolved = self.resolve(next_hop);
            if let Some((index, _)) = neighbour(next_hop) {
                self.neighbours.entry(index).or_default().insert(next_hop);
            }
            self.tracked.insert(next_hop, Tracked { asked: false, users: 0, resolved });
        }
        self.tracked.get_mut(&next_hop).expect("inserted above if it was missing")
    }

    fn release(&mut self, next_hop: NextHop, change: impl FnOnce(&mut Tracked)) {
        let Some(tracked) = self.tracked.get_mut(&next_hop) else { return };
        change(tracked);
        if tracked.asked || tracked.users > 0 {
            return;
        }
        self.tracked.remove(&next_hop);
        if let Some((index, _)) = neighbour(next_hop)
            && let Some(others) = self.neighbours.get_mut(&index)
        {
            others.remove(&next_hop);
            if others.is_empty() {
                self.neighbours.remove(&index);
            }
        }
    }

    /// Resolves again the tracked next hops inside this prefix.
    fn again(&mut self, prefix: Prefix) {
        let from_first = self.tracked.range(NextHop::new(prefix.addr())..);
        let inside = from_first.take_while(|(next_hop, _)| prefix.contains(next_hop.addr));
        for next_hop in inside.map(|(next_hop, _)| *next_hop).collect::<Vec<_>>() {
            self.again_one(next_hop);
        }
    }

    fn again_all(&mut self) {
        for next_hop in self.tracked.keys().copied().collect::<Vec<_>>() {
            self.again_one(next_hop);
        }
    }

    fn again_one(&mut self, next_hop: NextHop) {
        let resolved = self.resolve(next_hop);
        let Some(tracked) = self.tracked.get_mut(&next_hop) else { return };
        if tracked.resolved != resolved {
            tracked.resolved = resolved;
            self.changed.insert(next_hop);
        }
    }
}

/// The link by index and the address on it, of a next hop that is a neighbour there.
fn neighbour(next_hop: NextHop) -> Option<(u32, Ipv6Addr)> {
    Some((next_hop.scope?.get(), next_hop.on_link()?))
}

/// What went away together with an interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct LinkLoss {
    /// The interface through which the kernel has just dropped all IPv4 routes in silence.
    pub(super) lost: Option<u32>,
    /// The interface through which it has just dropped all next-hop objects: these need a carrier.
    pub(super) silent: Option<u32>,
    /// Prefixes of such routes that were not ours.
    pub(super) gone: Vec<Prefix>,
}

/// A next hop that leads elsewhere than before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Changed {
    pub(super) next_hop: NextHop,
    /// What to tell the RIB, if it asks about this one.
    pub(super) answer: Option<Resolution>,
}

#[cfg(test)]
mod tests;
