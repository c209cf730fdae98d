//! What this router originates, and the aggregates that stand for it (RFC 4271 §9.2.2.2).
//!
//! In: prefixes originated one by one, and the aggregates of the settings. Out: the path of ours to
//! each prefix, if there is one, and what is told only as part of an aggregate.
//!
//! Only what this router originates contributes. Nothing of an AS path is lost by that, so an
//! aggregate has an empty one and no ATOMIC_AGGREGATE (§5.1.6), and AGGREGATOR says whose it is
//! (§5.1.7). Aggregates of what others announced would need sets of ASes, which RFC 9774 forbids.

use std::{collections::BTreeSet, net::Ipv4Addr, sync::Arc};

use super::{
    Rib,
    dest::{Marks, Path, PathKey},
    peer::RibConfig,
};
use crate::{
    attrs::{Aggregator, Attrs, NextHop},
    prefix::Prefix,
};

/// A prefix that is announced while this router originates something inside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aggregate {
    /// The prefix.
    pub prefix: Prefix,
    /// Whether peers are told of it alone, and not of what this router originates inside it.
    pub summary_only: bool,
}

impl RibConfig {
    /// The aggregate by which peers hear of something that this router originates; `None` if they
    /// hear of it by itself.
    pub(super) fn summary_of(&self, prefix: Prefix) -> Option<Prefix> {
        let inside = |aggregate: &&Aggregate| is_inside(prefix, aggregate.prefix);
        let mut around = self.aggregates.iter().filter(inside);
        around.find(|aggregate| aggregate.summary_only).map(|aggregate| aggregate.prefix)
    }

    fn is_aggregate(&self, prefix: Prefix) -> bool {
        self.aggregates.iter().any(|aggregate| aggregate.prefix == prefix)
    }
}

impl Rib {
    /// This router originates the prefix. Idempotent. Peers get this router as next hop,
    /// whatever the attributes say.
    pub fn originate(&mut self, prefix: Prefix, attrs: Arc<Attrs>) {
        self.originated.insert(prefix, attrs);
        self.stand_by(prefix);
        self.stand_by_aggregates_of(prefix);
    }

    /// It no longer does. Idempotent.
    pub fn withdraw(&mut self, prefix: Prefix) {
        self.originated.remove(&prefix);
        self.stand_by(prefix);
        self.stand_by_aggregates_of(prefix);
    }

    /// Other settings are in force: aggregates come and go, and what is inside them may be told
    /// otherwise than before.
    pub(super) fn aggregate_again(&mut self, before: &RibConfig) {
        let all = before.aggregates.iter().chain(&self.config.aggregates);
        let prefixes: BTreeSet<_> = all.map(|aggregate| aggregate.prefix).collect();
        for prefix in &prefixes {
            self.stand_by(*prefix);
        }
        let ours = self.originated.keys().chain(&prefixes).copied();
        let changed = ours.filter(|ours| before.summary_of(*ours) != self.config.summary_of(*ours));
        for prefix in changed.collect::<BTreeSet<_>>() {
            if let Some(id) = self.loc.find(prefix) {
                self.offer(id);
            }
        }
    }

    fn stand_by_aggregates_of(&mut self, prefix: Prefix) {
        let around = self.config.aggregates.iter().map(|aggregate| aggregate.prefix);
        let around: Vec<_> = around.filter(|around| is_inside(prefix, *around)).collect();
        around.into_iter().for_each(|aggregate| self.stand_by(aggregate));
    }

    /// Puts the path of ours to a prefix in, or takes it out.
    fn stand_by(&mut self, prefix: Prefix) {
        let Some(attrs) = self.ours(prefix) else {
            self.remove(PathKey::OURS, prefix);
            return;
        };
        let attrs = self.attrs.intern(&attrs);
        let id = self.loc.open(prefix);
        let known = self.loc.get(id).path(PathKey::OURS);
        if known.is_some_and(|path| path.received == attrs) {
            return;
        }
        let path = Path::new(PathKey::OURS, attrs, Ok(attrs), Marks::new(self.now));
        self.set_path(id, PathKey::OURS, Some(path));
    }

    /// What this router originates is itself, an aggregate of it else.
    fn ours(&self, prefix: Prefix) -> Option<Arc<Attrs>> {
        if let Some(attrs) = self.originated.get(&prefix) {
            return Some(Arc::clone(attrs));
        }
        let mut originated = self.originated.keys();
        let is_wanted = self.config.is_aggregate(prefix)
            && originated.any(|originated| is_inside(*originated, prefix));
        is_wanted.then(|| {
            let next_hop = NextHop::new(Ipv4Addr::UNSPECIFIED.into());
            let RibConfig { asn, router_id, .. } = self.config;
            let aggregator = Some(Aggregator { asn, router_id });
            Arc::new(Attrs { aggregator, ..Attrs::originated(next_hop) })
        })
    }
}

fn is_inside(prefix: Prefix, aggregate: Prefix) -> bool {
    prefix != aggregate && aggregate.covers(prefix)
}
