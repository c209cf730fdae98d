//! What the kernel says about routes: single changes by others, and full pictures.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use super::{
    Fib, means,
    next_hop::NextHopObject,
    others::{Followed, Others, RouteChange},
    route::{Route, RouteKey, Target},
};

impl Fib {
    /// One route was changed by another hand than ours.
    pub(super) fn route(&mut self, change: RouteChange, route: Route, now: Instant) {
        let key = route.key;
        let ours = route.protocol == self.config.protocol;
        if !ours && !self.minds_table(key.table) {
            return;
        }
        if let Some(newer) = &mut self.picture.dumping {
            newer.insert(key);
        }
        if ours {
            match change {
                RouteChange::Created | RouteChange::Replaced => {
                    self.reconciler.seen(key, route.target);
                }
                RouteChange::Appended => {
                    self.reconciler.appended(key, route.target);
                    self.resync(now);
                }
                RouteChange::Gone => self.reconciler.gone(key, &route.target),
            }
        } else {
            if change == RouteChange::Replaced {
                self.reconciler.displaced(key);
            }
            let route = self.spelled_out(route);
            if self.resolver.route(change, route) == Followed::Unsure {
                self.resync(now);
            }
            self.check_taken(key.prefix);
        }
    }

    /// A full picture of the kernel is there.
    pub(super) fn dumped(
        &mut self,
        routes: Vec<Route>,
        next_hops: Option<Vec<NextHopObject>>,
        now: Instant,
    ) {
        let first = !self.picture.routes;
        if !first {
            self.reconciler.count_resync();
        }
        let newer = self.picture.taken(now);
        self.groups.adopt(next_hops);
        self.follow_groups();
        let routes: Vec<_> = routes.into_iter().map(|route| self.spelled_out(route)).collect();
        let (shown, routes): (Vec<_>, Vec<_>) =
            routes.into_iter().partition(|route| newer.contains(&route.key));
        if !self.agrees(&newer, shown) {
            // The picture may be older than what was reported, or what we believed before that
            // wrong. What was reported is kept, and the next picture decides.
            self.resync(now);
        }
        let (ours, others): (Vec<_>, Vec<_>) =
            routes.into_iter().partition(|route| route.protocol == self.config.protocol);
        let ours = ours.into_iter().map(|route| (route.key, route.target));
        let others = others.into_iter().filter(|route| self.minds_table(route.key.table));
        let kept = newer.iter().flat_map(|key| self.resolver.routes_with(*key));
        let others: Others = others.chain(kept.cloned()).collect();
        self.resolver.set_routes(others);
        self.reconciler.adopt(ours, &newer);
        let keys: Vec<_> = self.reconciler.routes().map(|route| route.key).collect();
        for key in keys {
            self.reconciler.taken(key, self.resolver.holds(key));
        }
        self.settle.start(now, self.config.grace);
        if first {
            let means = &mut means(&mut self.resolver, &mut self.groups);
            let prefixes = self.wanted.again_all(means);
            self.refresh_all(prefixes);
        }
    }

    /// Somebody else's route with its hops, whether it lists them or names a next-hop object.
    fn spelled_out(&self, route: Route) -> Route {
        match route.target.group() {
            Some(id) if route.protocol != self.config.protocol => {
                Route { target: Target::Forward(self.groups.hops(id)), ..route }
            }
            Some(_) | None => route,
        }
    }

    /// Whether a full picture shows the same routes with these keys as we believe in.
    fn agrees(&self, keys: &BTreeSet<RouteKey>, shown: Vec<Route>) -> bool {
        let mut by_key: BTreeMap<_, Vec<_>> = keys.iter().map(|key| (*key, Vec::new())).collect();
        for route in shown {
            by_key.entry(route.key).or_default().push(route);
        }
        by_key.into_iter().all(|(key, mut shown)| {
            let ours = shown.extract_if(.., |route| route.protocol == self.config.protocol).next();
            ours.map(|route| route.target).as_ref() == self.reconciler.have(key)
                && shown.iter().eq(self.resolver.routes_with(key))
        })
    }
}
