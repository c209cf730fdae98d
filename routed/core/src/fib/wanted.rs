//! The routes that the kernel should have: learned ones by their next hops, and blackholes.
//!
//! In: best paths, where next hops lead, and peers that are lost. Out: what is wanted for a prefix.
//!
//! Prefixes with the same paths form a group that is resolved once for all of them, and that is one
//! kernel next-hop group if the kernel has those.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bgp::{attrs::NextHop, prefix::Prefix, rib::PeerId};

use super::{
    next_hop::NextHopId,
    nexthop_group::NextHopGroups,
    reconcile::Want,
    resolve::Resolver,
    route::{Hops, Target},
};

/// One path that a peer has told us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Path {
    pub(super) next_hop: NextHop,
    pub(super) peer: PeerId,
    /// Of the traffic, in proportion to the others'.
    pub(super) share: u32,
}

/// The paths to a prefix; sorted.
type Paths = Arc<[Path]>;

/// What a prefix is wanted to lead to depends on these.
pub(super) struct Means<'a> {
    pub(super) resolver: &'a mut Resolver,
    pub(super) groups: &'a mut NextHopGroups,
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// This node's own pod ranges.
    own: BTreeSet<Prefix>,
    /// Whether single addresses of them may be elsewhere.
    wander: bool,
    /// Aggregates of ours: what goes to none of what they stand for is discarded (RFC 4271
    /// §9.2.2.2), and what is learned inside them is as good as elsewhere.
    aggregates: BTreeSet<Prefix>,
    learned: BTreeMap<Prefix, Paths>,
    groups: BTreeMap<Paths, Group>,
    /// Groups in which a next hop takes part.
    groups_of: BTreeMap<NextHop, BTreeSet<Paths>>,
    /// Peers whose paths are about to be withdrawn.
    lost: BTreeSet<PeerId>,
}

#[derive(Clone, Debug)]
struct Group {
    prefixes: BTreeSet<Prefix>,
    /// Hops of those of its next hops that can be reached.
    hops: Hops,
    /// The kernel's group; `None` until it has had a hop, or if there are to be none.
    id: Option<NextHopId>,
}

impl Wanted {
    pub(super) fn new(own: impl IntoIterator<Item = Prefix>, wander: bool) -> Self {
        Self {
            own: own.into_iter().collect(),
            wander,
            aggregates: BTreeSet::new(),
            learned: BTreeMap::new(),
            groups: BTreeMap::new(),
            groups_of: BTreeMap::new(),
            lost: BTreeSet::new(),
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

    /// The paths to a prefix are these now; none if it is not learned (any longer).
    pub(super) fn learn(
        &mut self,
        prefix: Prefix,
        paths: impl IntoIterator<Item = Path>,
        means: &mut Means<'_>,
    ) {
        let mut paths: Vec<_> = paths.into_iter().collect();
        paths.sort_unstable();
        let paths: Paths = paths.into();
        let known = self.groups.get_key_value(&paths).map(|(shared, _)| shared.clone());
        let paths = known.unwrap_or(paths);
        if self.learned.get(&prefix).is_some_and(|before| *before == paths) {
            return;
        }
        // The new ones first, so that a next hop in both is not forgotten in between.
        if !paths.is_empty() {
            self.join(&paths, prefix, means);
        }
        let before = if paths.is_empty() {
            self.learned.remove(&prefix)
        } else {
            self.learned.insert(prefix, paths)
        };
        if let Some(before) = before {
            self.leave(&before, prefix, means);
        }
    }

    /// A next hop leads elsewhere: returns the prefixes for which something else is wanted now.
    pub(super) fn next_hop_changed(
        &mut self,
        next_hop: NextHop,
        means: &mut Means<'_>,
    ) -> Vec<Prefix> {
        let concerned = self.groups_of.get(&next_hop).into_iter().flatten().cloned();
        self.again(concerned.collect(), means)
    }

    /// Paths of these peers, and only theirs, are about to be withdrawn: nothing is sent along them
    /// from now on where there are others. Returns the prefixes for which something else is wanted.
    pub(super) fn set_lost(
        &mut self,
        lost: BTreeSet<PeerId>,
        means: &mut Means<'_>,
    ) -> Vec<Prefix> {
        let before = std::mem::replace(&mut self.lost, lost);
        let changed: BTreeSet<_> = before.symmetric_difference(&self.lost).copied().collect();
        let concerned = |paths: &&Paths| paths.iter().any(|path| changed.contains(&path.peer));
        let concerned = self.groups.keys().filter(concerned).cloned().collect();
        self.again(concerned, means)
    }

    /// Works out all groups again, now that it is known whether the kernel has such. Returns the
    /// prefixes for which something else is wanted.
    pub(super) fn again_all(&mut self, means: &mut Means<'_>) -> Vec<Prefix> {
        self.again(self.groups.keys().cloned().collect(), means)
    }

    fn again(&mut self, concerned: Vec<Paths>, means: &mut Means<'_>) -> Vec<Prefix> {
        let mut prefixes = Vec::new();
        for paths in concerned {
            let hops = hops_of(&paths, &self.lost, means.resolver);
            let group = self.groups.get_mut(&paths).expect("only existing groups are listed");
            let before = group.target();
            group.lead(hops, means.groups);
            if group.target() != before {
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
        let Some(paths) = self.learned.get(&prefix) else { return Want::Nothing };
        let may_be_elsewhere = self.wander && prefix == Prefix::host(prefix.addr());
        if !may_be_elsewhere && self.own.iter().any(|own| own.covers(prefix)) {
            return Want::Never;
        }
        self.groups[paths].target().map_or(Want::Keep, Want::Target)
    }

    /// Next hops of the paths to a prefix.
    pub(super) fn next_hops(&self, prefix: Prefix) -> impl Iterator<Item = NextHop> {
        let paths = self.learned.get(&prefix).map(Arc::as_ref).into_iter().flatten();
        paths.map(|path| path.next_hop)
    }

    fn join(&mut self, paths: &Paths, prefix: Prefix, means: &mut Means<'_>) {
        if let Some(group) = self.groups.get_mut(paths) {
            group.prefixes.insert(prefix);
            return;
        }
        for path in paths.iter() {
            means.resolver.acquire(path.next_hop);
            self.groups_of.entry(path.next_hop).or_default().insert(paths.clone());
        }
        let mut group =
            Group { prefixes: BTreeSet::from([prefix]), hops: Hops::from_iter([]), id: None };
        group.lead(hops_of(paths, &self.lost, means.resolver), means.groups);
        self.groups.insert(paths.clone(), group);
    }

    fn leave(&mut self, paths: &Paths, prefix: Prefix, means: &mut Means<'_>) {
        let group = self.groups.get_mut(paths).expect("a learned prefix is in its group");
        group.prefixes.remove(&prefix);
        if !group.prefixes.is_empty() {
            return;
        }
        if let Some(id) = group.id {
            means.groups.release(id);
        }
        self.groups.remove(paths);
        for path in paths.iter() {
            means.resolver.drop_user(path.next_hop);
            if let Some(groups) = self.groups_of.get_mut(&path.next_hop) {
                groups.remove(paths);
                if groups.is_empty() {
                    self.groups_of.remove(&path.next_hop);
                }
            }
        }
    }
}

impl Group {
    /// Its paths lead by these hops from now on.
    fn lead(&mut self, hops: Hops, groups: &mut NextHopGroups) {
        match self.id {
            None if hops.is_empty() => {}
            None => self.id = groups.assign(&hops),
            Some(id) if hops.is_empty() => groups.suspend(id),
            Some(id) => groups.update(id, &hops),
        }
        self.hops = hops;
    }

    /// What its routes lead to; `None` if nowhere.
    fn target(&self) -> Option<Target> {
        if self.hops.is_empty() {
            return None;
        }
        Some(self.id.map_or_else(|| Target::Forward(self.hops.clone()), Target::Group))
    }
}

fn hops_of(paths: &Paths, lost: &BTreeSet<PeerId>, resolver: &Resolver) -> Hops {
    let alive = paths.iter().filter(|path| !lost.contains(&path.peer));
    let hops =
        alive.flat_map(|path| resolver.hops(path.next_hop).iter().map(|hop| (*hop, path.share)));
    Hops::weighed(hops)
}
