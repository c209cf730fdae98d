//! The Loc-RIB: every destination with its paths, and which of them are used.
//!
//! In: paths, in the order that the decision gave them. Out: destinations by prefix or number,
//! and those whose use changed, each once until read. The paths of all Adj-RIBs-In stand here
//! too, with their destination: a decision finds all it compares in one place.

use std::{collections::VecDeque, sync::Arc};

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::{
    decide::Contender,
    dense::DestId,
    peer::{PeerId, PerFamily, Standing},
    verdict::Ineligible,
};
use crate::{
    attrs::{Attrs, NextHop},
    family::Family,
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

/// One path in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BestPath {
    /// Who announced it; `None` if this router originates it.
    pub peer: Option<PeerId>,
    /// Its attributes after import policy.
    pub attrs: Arc<Attrs>,
}

/// One way to a destination.
#[derive(Debug)]
pub(super) struct Path {
    /// Who announced it; `None` if this router originates it.
    pub(super) from: Option<PeerId>,
    /// Attributes as received.
    pub(super) received: Arc<Attrs>,
    /// Attributes after import policy, or why it was not accepted.
    pub(super) imported: Result<Arc<Attrs>, Box<Ineligible>>,
    /// What came of it; kept by [`Dest::arrange`].
    pub(super) standing: Standing,
}

impl Path {
    /// A path that no decision has seen yet.
    pub(super) const fn new(
        from: Option<PeerId>,
        received: Arc<Attrs>,
        imported: Result<Arc<Attrs>, Box<Ineligible>>,
    ) -> Self {
        Self { from, received, imported, standing: Standing::Ineligible }
    }

    /// The next hop that must be reached to use it, if there is one.
    pub(super) fn next_hop(&self) -> Option<NextHop> {
        match (&self.imported, self.from) {
            (Ok(attrs), Some(_)) => Some(attrs.next_hop),
            (Ok(_), None) | (Err(_), _) => None,
        }
    }
}

/// A destination.
#[derive(Debug)]
pub(super) struct Dest {
    /// Its prefix.
    pub(super) prefix: Prefix,
    /// Its paths: those in use, best first, then the other eligible ones in the order in which
    /// they would win, then the rest.
    paths: Vec<Path>,
    used: usize,
    /// How many Adj-RIBs-Out mention it: pending and told count one each.
    claims: u32,
    /// It stands in the queue of changes.
    unread: bool,
    /// What was last read was not "gone".
    reported: bool,
}

impl Dest {
    /// All its paths, the used ones first.
    pub(super) fn paths(&self) -> &[Path] {
        &self.paths
    }

    /// The paths in use, best first.
    pub(super) fn in_use(&self) -> &[Path] {
        &self.paths[..self.used]
    }

    /// The best path.
    pub(super) fn best(&self) -> Option<&Path> {
        self.in_use().first()
    }

    /// The path of this peer, or ours.
    pub(super) fn path_of(&self, from: Option<PeerId>) -> Option<&Path> {
        self.paths.iter().find(|path| path.from == from)
    }

    /// Does a path have this next hop?
    pub(super) fn has_next_hop(&self, next_hop: NextHop) -> bool {
        self.paths.iter().any(|path| path.next_hop() == Some(next_hop))
    }

    /// The paths in use as readers see them.
    pub(super) fn best_paths(&self) -> Vec<BestPath> {
        let attrs = |path: &Path| path.imported.as_ref().ok().cloned();
        self.in_use()
            .iter()
            .filter_map(|path| Some(BestPath { peer: path.from, attrs: attrs(path)? }))
            .collect()
    }

    /// How many of the paths in use, from the best on, are those of `before`.
    pub(super) fn unchanged_since(&self, before: &[BestPath]) -> usize {
        let same = |(path, old): &(&Path, &BestPath)| {
            path.from == old.peer && path.imported.as_ref().is_ok_and(|new| *new == old.attrs)
        };
        self.in_use().iter().zip(before).take_while(same).count()
    }

    /// Adds the path, or puts it in place of its peer's, which is given back. The caller
    /// arranges the paths afterwards.
    pub(super) fn put(&mut self, path: Path) -> Option<Path> {
        match self.paths.iter_mut().find(|other| other.from == path.from) {
            Some(other) => Some(std::mem::replace(other, path)),
            None => {
                self.paths.push(path);
                None
            }
        }
    }

    /// Takes out the path of this peer, or ours. The caller arranges the paths afterwards.
    pub(super) fn take(&mut self, from: Option<PeerId>) -> Option<Path> {
        let at = self.paths.iter().position(|path| path.from == from)?;
        self.used -= usize::from(at < self.used);
        Some(self.paths.remove(at))
    }

    /// Puts the paths into the order of a decision, of which the first `used` are used.
    /// `moved` hears of each path whose standing changed: of whom, from what, to what.
    pub(super) fn arrange(
        &mut self,
        decided: &[Contender],
        used: usize,
        mut moved: impl FnMut(Option<PeerId>, Standing, Standing),
    ) {
        if decided.iter().enumerate().any(|(at, contender)| contender.index != at) {
            let mut old: Vec<_> = std::mem::take(&mut self.paths).into_iter().map(Some).collect();
            self.paths = decided.iter().filter_map(|path| old[path.index].take()).collect();
            self.paths.extend(old.into_iter().flatten());
        }
        self.used = used;
        for (at, path) in self.paths.iter_mut().enumerate() {
            let standing = if at < used {
                Standing::InUse
            } else if at < decided.len() {
                Standing::Eligible
            } else {
                Standing::Ineligible
            };
            let old = std::mem::replace(&mut path.standing, standing);
            if old != standing {
                moved(path.from, old, standing);
            }
        }
    }

    const fn is_unused(&self) -> bool {
        self.paths.is_empty() && self.claims == 0 && !self.unread
    }
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
            let dest = Dest {
                prefix,
                paths: Vec::new(),
                used: 0,
                claims: 0,
                unread: false,
                reported: false,
            };
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
        let (family, is_used) = (dest.prefix.family(), dest.used > 0);
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
            let reported = std::mem::replace(&mut dest.reported, dest.used > 0);
            let change = BestChange { prefix: dest.prefix, paths: dest.best_paths() };
            self.retire(id);
            if reported || !change.paths.is_empty() {
                return Some(change);
            }
        }
        None
    }

    /// Destinations of a family that have a path in use.
    pub(super) const fn in_use(&self, family: Family) -> usize {
        *self.in_use.get(family)
    }
}
