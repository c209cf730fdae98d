//! The Loc-RIB: every destination.
//!
//! In: prefixes, and which destinations changed. Out: destinations by prefix or number, and
//! those whose use changed, each once until read. The paths of all Adj-RIBs-In stand with their
//! destination: a decision finds all it compares in one place.

use std::collections::VecDeque;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::{
    dense::DestId,
    dest::{BestPath, Dest},
};
use crate::{
    family::{Family, PerFamily},
    prefix::Prefix,
};

/// What the Loc-RIB now holds for one prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BestChange {
    /// The prefix.
    pub prefix: Prefix,
    /// The paths to use, best first; none means that the prefix is gone.
    pub paths: Vec<BestPath>,
}

/// All destinations.
#[derive(Debug, Default)]
pub(super) struct Loc {
    ids: HashMap<Prefix, DestId, RandomState>,
    dests: Vec<Option<Dest>>,
    free: Vec<DestId>,
    changes: VecDeque<DestId>,
    in_use: PerFamily<usize>,
}

impl Loc {
    /// The destination of this prefix, made if there is none.
    pub(super) fn open(&mut self, prefix: Prefix) -> DestId {
        *self.ids.entry(prefix).or_insert_with(|| {
            let dest = Dest::new(prefix);
            if let Some(id) = self.free.pop() {
                self.dests[id.index()] = Some(dest);
                return id;
            }
            let id = u32::try_from(self.dests.len()).expect("memory ends before 2^32 prefixes");
            self.dests.push(Some(dest));
            DestId(id)
        })
    }

    /// The destination of this prefix.
    pub(super) fn find(&self, prefix: Prefix) -> Option<DestId> {
        self.ids.get(&prefix).copied()
    }

    /// A destination by its number.
    pub(super) fn get(&self, id: DestId) -> &Dest {
        self.dests[id.index()].as_ref().expect("numbers are held only while claimed")
    }

    /// A destination by its number, to change.
    pub(super) fn get_mut(&mut self, id: DestId) -> &mut Dest {
        self.dests[id.index()].as_mut().expect("numbers are held only while claimed")
    }

    /// Every destination's number.
    pub(super) fn ids(&self) -> Vec<DestId> {
        let numbers = (0..).map(DestId).zip(&self.dests);
        numbers.filter(|(_, dest)| dest.is_some()).map(|(id, _)| id).collect()
    }

    /// The destinations of at most `count` numbers, from this one on; none past the last.
    pub(super) fn slice(&self, from: DestId, count: usize) -> &[Option<Dest>] {
        let rest = self.dests.get(from.index()..).unwrap_or_default();
        &rest[..rest.len().min(count)]
    }

    /// Destinations of which `shown` holds, in prefix order.
    pub(super) fn sorted(&self, shown: impl Fn(&Dest) -> bool) -> Vec<&Dest> {
        let mut dests: Vec<_> = self.dests.iter().flatten().filter(|dest| shown(dest)).collect();
        dests.sort_unstable_by_key(|dest| dest.prefix);
        dests
    }

    /// An Adj-RIB-Out mentions the destination once more.
    pub(super) fn claim(&mut self, id: DestId) {
        self.get_mut(id).claims += 1;
    }

    /// An Adj-RIB-Out mentions it once less.
    pub(super) fn release(&mut self, id: DestId) {
        self.get_mut(id).claims -= 1;
        self.retire(id);
    }

    /// Forgets the destination if nothing is left of it.
    pub(super) fn retire(&mut self, id: DestId) {
        let dest = self.get(id);
        if dest.is_unused() {
            let prefix = dest.prefix;
            self.ids.remove(&prefix);
            self.dests[id.index()] = None;
            self.free.push(id);
        }
    }

    /// The use of the destination changed; `was_used` is whether there was any before.
    pub(super) fn changed(&mut self, id: DestId, was_used: bool) {
        let dest = self.get_mut(id);
        let newly = !std::mem::replace(&mut dest.unread, true);
        let (family, is_used) = (dest.prefix.family(), dest.is_used());
        if newly {
            self.changes.push_back(id);
        }
        let count = self.in_use.get_mut(family);
        match (was_used, is_used) {
            (false, true) => *count += 1,
            (true, false) => *count -= 1,
            (true, true) | (false, false) => {}
        }
    }

    /// The next change to read. What came and went unread is not mentioned.
    pub(super) fn next_change(&mut self) -> Option<BestChange> {
        while let Some(id) = self.changes.pop_front() {
            let dest = self.get_mut(id);
            dest.unread = false;
            let is_used = dest.is_used();
            let reported = std::mem::replace(&mut dest.reported, is_used);
            let change = BestChange { prefix: dest.prefix, paths: dest.best_paths() };
            self.retire(id);
            if reported || !change.paths.is_empty() {
                return Some(change);
            }
        }
        None
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    /// Destinations of a family that have a path in use.
    pub(super) const fn in_use(&self, family: Family) -> usize {
        *self.in_use.get(family)
    }
}
