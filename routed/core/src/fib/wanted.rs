//! The routes that the kernel should have: learned ones by their next hops, and blackholes.
//!
//! In: best paths, and where next hops lead. Out: what is wanted for a prefix.
//!
//! Prefixes with the same next hops form a group that is resolved once for all of them. A group is
//! what will become one kernel next-hop object.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bgp::{attrs::NextHop, prefix::Prefix};

use super::{
    reconcile::Want,
    resolve::Resolver,
    route::{Hops, Target},
};

/// Next hops of the paths to a prefix, each with its share of the traffic; sorted, and each once.
type NextHops = Arc<[(NextHop, u32)]>;

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// This node's own pod ranges.
    own: BTreeSet<Prefix>,
    /// Aggregates of ours: what goes to none of what they stand for is discarded (RFC 4271
    /// §9.2.2.2), and what is learned inside them is as good as elsewhere.
    aggregates: BTreeSet<Prefix>,
    learned: BTreeMap<Prefix, NextHops>,
    groups: BTreeMap<NextHops, Group>,
    /// Groups in which a next hop takes part.
    groups_of: BTreeMap<NextHop, BTreeSet<NextHops>>,
}

#[derive(Clone, Debug)]
struct Group {
    prefixes: BTreeSet<Prefix>,
    /// Hops of those of its next hops that can be reached.
    hops: Hops,
}

impl Wanted {
    pub(super) fn new(own: impl IntoIterator<Item = Prefix>) -> Self {
        Self {
            own: own.into_iter().collect(),
            aggregates: BTreeSet::new(),
            learned: BTreeMap::new(),
            groups: BTreeMap::new(),
            groups_of: BTreeMap::new(),
        }
    }

    /// This node's own ranges are others: returns the prefixes for which something else may be
    /// wanted now.
    pub(super) fn set_own(&mut self, own: impl IntoIterator<Item = Prefix>) -> BTreeSet<Prefix> {
        let before = std::mem::replace(&mut self.own, own.into_iter().collect());
        let mut changed: BTreeSet<_> = before.symmetric_difference(&self.own).copied().collect();
        let inside = |prefix: &&Prefix| changed.iter().any(|own| own.covers(**prefix));
        let inside: Vec<_> = self.learned.keys().filter(inside).copied().collect();
        changed.extend(inside);
        changed
    }

    /// This node's own ranges that get a blackhole: all but single addresses, since such a one is
    /// the very route to its pod.
    pub(super) fn blackholes(&self) -> impl Iterator<Item = Prefix> {
        self.own.iter().copied().filter(|prefix| prefix.len() < prefix.family().max_len())
    }

    /// The prefix is an aggregate of ours, or no longer.
    pub(super) fn aggregate(&mut self, prefix: Prefix, is_one: bool) {
        if is_one {
            self.aggregates.insert(prefix);
        } else {
            self.aggregates.remove(&prefix);
        }
    }

    /// The paths to a prefix now have these next hops, with these shares of the traffic; none if it
    /// is not learned (any longer). Of a next hop that comes twice the larger share counts.
    pub(super) fn learn(
        &mut self,
        prefix: Prefix,
        paths: impl IntoIterator<Item = (NextHop, u32)>,
        resolver: &mut Resolver,
    ) {
        let mut shares = BTreeMap::new();
        for (next_hop, share) in paths {
            let kept = shares.entry(next_hop).or_insert(share);
            *kept = share.max(*kept);
        }
        let next_hops: NextHops = shares.into_iter().collect();
        let known = self.groups.get_key_value(&next_hops).map(|(shared, _)| shared.clone());
        let next_hops = known.unwrap_or(next_hops);
        if self.learned.get(&prefix).is_some_and(|before| *before == next_hops) {
            return;
        }
        // The new ones first, so that a next hop in both is not forgotten in between.
        if !next_hops.is_empty() {
            self.join(&next_hops, prefix, resolver);
        }
        let before = if next_hops.is_empty() {
            self.learned.remove(&prefix)
        } else {
            self.learned.insert(prefix, next_hops)
        };
        if let Some(before) = before {
            self.leave(&before, prefix, resolver);
        }
    }

    /// A next hop leads elsewhere: returns the prefixes for which something else is wanted now.
    pub(super) fn next_hop_changed(
        &mut self,
        next_hop: NextHop,
        resolver: &Resolver,
    ) -> Vec<Prefix> {
        let mut prefixes = Vec::new();
        for next_hops in self.groups_of.get(&next_hop).into_iter().flatten() {
            let group = self.groups.get_mut(next_hops).expect("`groups_of` lists existing groups");
            let hops = hops_of(next_hops, resolver);
            if group.hops != hops {
                group.hops = hops;
                prefixes.extend(&group.prefixes);
            }
        }
        prefixes
    }

    /// What is wanted for a prefix.
    pub(super) fn want(&self, prefix: Prefix) -> Want {
        if self.own.contains(&prefix) && prefix.len() < prefix.family().max_len() {
            return Want::Target(Target::Blackhole);
        }
        if self.aggregates.contains(&prefix) {
            return Want::Target(Target::Blackhole);
        }
        let Some(next_hops) = self.learned.get(&prefix) else { return Want::Nothing };
        if self.own.iter().any(|own| own.covers(prefix)) {
            return Want::Never;
        }
        let group = &self.groups[next_hops];
        if group.hops.is_empty() {
            Want::Keep
        } else {
            Want::Target(Target::Forward(group.hops.clone()))
        }
    }

    /// Next hops of the paths to a prefix.
    pub(super) fn next_hops(&self, prefix: Prefix) -> impl Iterator<Item = NextHop> {
        let next_hops = self.learned.get(&prefix).map(Arc::as_ref).into_iter().flatten();
        next_hops.map(|(next_hop, _)| *next_hop)
    }

    fn join(&mut self, next_hops: &NextHops, prefix: Prefix, resolver: &mut Resolver) {
        if let Some(group) = self.groups.get_mut(next_hops) {
            group.prefixes.insert(prefix);
            return;
        }
        for (next_hop, _) in next_hops.iter() {
            resolver.acquire(*next_hop);
            self.groups_of.entry(*next_hop).or_default().insert(next_hops.clone());
        }
        let hops = hops_of(next_hops, resolver);
        self.groups.insert(next_hops.clone(), Group { prefixes: BTreeSet::from([prefix]), hops });
    }

    fn leave(&mut self, next_hops: &NextHops, prefix: Prefix, resolver: &mut Resolver) {
        let group = self.groups.get_mut(next_hops).expect("a learned prefix is in its group");
        group.prefixes.remove(&prefix);
        if !group.prefixes.is_empty() {
            return;
        }
        self.groups.remove(next_hops);
        for (next_hop, _) in next_hops.iter() {
            resolver.drop_user(*next_hop);
            let groups = self.groups_of.get_mut(next_hop).expect("listed when the group was made");
            groups.remove(next_hops);
            if groups.is_empty() {
                self.groups_of.remove(next_hop);
            }
        }
    }
}

fn hops_of(next_hops: &NextHops, resolver: &Resolver) -> Hops {
    let hops = next_hops
        .iter()
        .flat_map(|(next_hop, share)| resolver.hops(*next_hop).iter().map(|hop| (*hop, *share)));
    Hops::weighed(hops)
}
