//! Routes of everybody else: what next hops are resolved by, and what we must not overwrite.
//!
//! In: full pictures and single changes. Out: the routes of a prefix, and whether a key is taken.
//!
//! The kernel says nothing when it drops IPv4 routes with their interface, and it tells changes of
//! IPv6 multipath routes piecemeal. Where a change cannot be followed for certain, the answer is
//! [`Followed::Unsure`], and only a new full picture helps.

use std::collections::{BTreeMap, BTreeSet};

use bgp::{family::Family, prefix::Prefix};

use super::route::{Hop, Route, RouteKey};

/// What happened to a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteChange {
    /// It was created.
    Created,
    /// It took the place of the one with its key.
    Replaced,
    /// It was created beside others with its key, or became one more hop of theirs.
    Appended,
    /// It was deleted.
    Gone,
}

/// Whether our picture still is the kernel's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Followed {
    Surely,
    Unsure,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Others {
    routes: BTreeMap<Prefix, Vec<Route>>,
    /// Prefixes with a route through this interface.
    by_link: BTreeMap<u32, BTreeSet<Prefix>>,
}

impl Others {
    pub(super) fn apply(&mut self, change: RouteChange, route: Route) -> Followed {
        match change {
            RouteChange::Created => self.create(route),
            RouteChange::Replaced => self.replace(route),
            RouteChange::Appended => self.append(route),
            RouteChange::Gone => self.delete(&route),
        }
    }

    /// An interface went down or away: drops the IPv4 routes that the kernel now drops in silence,
    /// those without a hop through an interface that is still up. Returns the prefixes concerned.
    pub(super) fn link_lost(&mut self, index: u32, up: impl Fn(u32) -> bool) -> Vec<Prefix> {
        let silent = |prefix: &Prefix| prefix.family() == Family::Ipv4Unicast;
        let prefixes: Vec<_> = self.through(index).filter(silent).collect();
        let alive = |hop: &Hop| hop.ifindex != index && up(hop.ifindex);
        for prefix in &prefixes {
            self.retain(*prefix, |route| {
                let hops = route.target.hops();
                hops.is_empty() || hops.iter().any(alive)
            });
        }
        prefixes
    }

    /// Removes every route of a prefix that fails the test.
    fn retain(&mut self, prefix: Prefix, keep: impl Fn(&Route) -> bool) {
        let Some(routes) = self.routes.get_mut(&prefix) else { return };
        let links: BTreeSet<_> = routes.iter().flat_map(links_of).collect();
        routes.retain(keep);
        let left: BTreeSet<_> = routes.iter().flat_map(links_of).collect();
        if routes.is_empty() {
            self.routes.remove(&prefix);
        }
        for index in links.difference(&left) {
            if let Some(prefixes) = self.by_link.get_mut(index) {
                prefixes.remove(&prefix);
                if prefixes.is_empty() {
                    self.by_link.remove(index);
                }
            }
        }
    }

    /// Routes to exactly this prefix, in any order.
    pub(super) fn at(&self, prefix: Prefix) -> &[Route] {
        self.routes.get(&prefix).map_or(&[], Vec::as_slice)
    }

    /// Prefixes with a route through this interface.
    pub(super) fn through(&self, index: u32) -> impl Iterator<Item = Prefix> {
        self.by_link.get(&index).into_iter().flatten().copied()
    }

    /// Whether somebody else has a route with this key.
    pub(super) fn holds(&self, key: RouteKey) -> bool {
        self.at(key.prefix).iter().any(|route| route.key == key)
    }

    fn create(&mut self, route: Route) -> Followed {
        if !self.at(route.key.prefix).contains(&route) {
            self.push(route);
        }
        Followed::Surely
    }

    fn replace(&mut self, route: Route) -> Followed {
        let key = route.key;
        let same_key = self.at(key.prefix).iter().filter(|other| other.key == key).count();
        self.retain(key.prefix, |other| other.key != key);
        self.push(route);
        if same_key <= 1 { Followed::Surely } else { Followed::Unsure }
    }

    fn append(&mut self, route: Route) -> Followed {
        match route.key.prefix.family() {
            Family::Ipv4Unicast => self.create(route),
            Family::Ipv6Unicast => {
                let _ = self.replace(route);
                Followed::Unsure
            }
        }
    }

    fn delete(&mut self, route: &Route) -> Followed {
        let prefix = route.key.prefix;
        if self.at(prefix).contains(route) {
            self.retain(prefix, |other| other != route);
            return Followed::Surely;
        }
        let alike = |other: &Route| other.key == route.key && other.protocol == route.protocol;
        if self.at(prefix).iter().any(alike) {
            self.retain(prefix, |other| !alike(other));
            return Followed::Unsure;
        }
        Followed::Surely
    }

    fn push(&mut self, route: Route) {
        for index in links_of(&route) {
            self.by_link.entry(index).or_default().insert(route.key.prefix);
        }
        self.routes.entry(route.key.prefix).or_default().push(route);
    }
}

impl FromIterator<Route> for Others {
    fn from_iter<I: IntoIterator<Item = Route>>(routes: I) -> Self {
        let mut others = Self::default();
        for route in routes {
            others.push(route);
        }
        others
    }
}

fn links_of(route: &Route) -> impl Iterator<Item = u32> {
    route.target.hops().iter().map(|hop| hop.ifindex)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fib::route::Target;

    fn route(prefix: &str, protocol: u8, ifindexes: &[u32]) -> Route {
        let hops = ifindexes.iter().map(|ifindex| Hop::new(None, *ifindex)).collect();
        let key = RouteKey::new(254, prefix.parse().unwrap(), None);
        Route { key, protocol, target: Target::Forward(hops) }
    }

    #[test]
    fn lost_link_takes_the_ipv4_routes_with_it_that_have_no_other() {
        let mut others: Others = [
            route("10.0.0.0/8", 2, &[7]),
            route("10.1.0.0/16", 4, &[7, 8]),
            route("fd00::/64", 2, &[7]),
        ]
        .into_iter()
        .collect();
        let touched = others.link_lost(7, |_| true);
        assert_eq!(touched.len(), 2, "{touched:?}");
        let left: Vec<_> = others.routes.keys().map(ToString::to_string).collect();
        assert_eq!(left, ["10.1.0.0/16", "fd00::/64"]);
        others.link_lost(8, |index| index != 7);
        let left: Vec<_> = others.routes.keys().map(ToString::to_string).collect();
        assert_eq!(left, ["fd00::/64"]);
    }

    #[test]
    fn deletion_that_matches_no_route_exactly_is_unsure() {
        let mut others: Others = [route("fd00::/64", 4, &[7, 8])].into_iter().collect();
        let gone = route("fd00::/64", 4, &[8]);
        assert_eq!(others.apply(RouteChange::Gone, gone.clone()), Followed::Unsure);
        assert_eq!(others.apply(RouteChange::Gone, gone), Followed::Surely);
    }

    #[test]
    fn replacing_keeps_one_route_of_a_key_and_creating_adds() {
        let mut others = Others::default();
        let (old, new) = (route("10.0.0.0/8", 4, &[7]), route("10.0.0.0/8", 16, &[8]));
        assert_eq!(others.apply(RouteChange::Created, old), Followed::Surely);
        assert_eq!(others.apply(RouteChange::Replaced, new.clone()), Followed::Surely);
        assert_eq!(others.at(new.key.prefix), std::slice::from_ref(&new));
        assert!(others.holds(new.key));
        assert_eq!(others.apply(RouteChange::Gone, new.clone()), Followed::Surely);
        assert!(!others.holds(new.key));
    }
}
