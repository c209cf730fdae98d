//! A destination: one prefix with all its paths, and which of them are used.
//!
//! In: paths, and the order that the decision gave them. Out: the paths in that order, each
//! with what it is to the Loc-RIB.

use std::sync::Arc;

use smallvec::SmallVec;

use super::{
    account::{Account, Standing},
    attrs::{AttrId, AttrTable},
    bandwidth,
    decide::Contender,
    peer::PeerId,
};
use crate::{
    attrs::{Attrs, NextHop},
    community::Rate,
    prefix::Prefix,
};

mod path;

pub(super) use path::{Marks, Path, PathKey};

/// One path in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BestPath {
    /// Who announced it; `None` if this router originates it.
    pub peer: Option<PeerId>,
    /// Its attributes after import policy.
    pub attrs: Arc<Attrs>,
    /// Its share of the traffic in proportion to the others': in kbit/s if every path in use tells
    /// its link bandwidth, else 1.
    pub share: u32,
}

/// The paths that were in use at some time: whose, and with which attributes.
pub(super) type Used = SmallVec<[(Option<PeerId>, AttrId); 2]>;

/// A destination.
#[derive(Debug)]
pub(super) struct Dest {
    /// Its prefix.
    pub(super) prefix: Prefix,
    /// It stands in the queue of changes.
    pub(super) unread: bool,
    /// What was last read was not "gone".
    pub(super) reported: bool,
    /// How many Adj-RIBs-Out mention it: pending and told count one each.
    pub(super) claims: u32,
    paths: Paths,
}

/// The paths of a destination: those in use, best first, then the other eligible ones, then the
/// rest. Most have one, which then stands here, and says by its standing what the counts would.
#[derive(Debug)]
enum Paths {
    None,
    One(Path),
    Many(Box<Many>),
}

#[derive(Debug)]
struct Many {
    paths: Vec<Path>,
    used: usize,
    eligible: usize,
}

impl Dest {
    /// One that nothing is known of yet.
    pub(super) const fn new(prefix: Prefix) -> Self {
        Self { prefix, unread: false, reported: false, claims: 0, paths: Paths::None }
    }

    /// All its paths, the used ones first.
    pub(super) fn paths(&self) -> &[Path] {
        match &self.paths {
            Paths::None => &[],
            Paths::One(path) => std::slice::from_ref(path),
            Paths::Many(many) => &many.paths,
        }
    }

    fn paths_mut(&mut self) -> &mut [Path] {
        match &mut self.paths {
            Paths::None => &mut [],
            Paths::One(path) => std::slice::from_mut(path),
            Paths::Many(many) => &mut many.paths,
        }
    }

    /// How many are in use, and how many could be.
    fn counts(&self) -> (usize, usize) {
        match &self.paths {
            Paths::None => (0, 0),
            Paths::One(path) => match path.standing {
                Standing::InUse => (1, 1),
                Standing::Eligible => (0, 1),
                Standing::Ineligible => (0, 0),
            },
            Paths::Many(many) => (many.used, many.eligible),
        }
    }

    /// Of several; one says it by its standing.
    fn set_counts(&mut self, used: usize, eligible: usize) {
        if let Paths::Many(many) = &mut self.paths {
            (many.used, many.eligible) = (used, eligible);
        }
    }

    /// The paths in use, best first.
    pub(super) fn in_use(&self) -> &[Path] {
        &self.paths()[..self.counts().0]
    }

    /// The paths in use, best first, and those that could be.
    pub(super) fn eligible(&self) -> &[Path] {
        &self.paths()[..self.counts().1]
    }

    /// The best path.
    pub(super) fn best(&self) -> Option<&Path> {
        self.in_use().first()
    }

    /// One of its paths.
    pub(super) fn path(&self, key: PathKey) -> Option<&Path> {
        self.paths().iter().find(|path| path.key() == key)
    }

    /// One of its paths, to change what does not concern the decision.
    pub(super) fn path_mut(&mut self, key: PathKey) -> Option<&mut Path> {
        self.paths_mut().iter_mut().find(|path| path.key() == key)
    }

    /// The paths of this peer.
    pub(super) fn paths_of(&self, peer: PeerId) -> impl Iterator<Item = &Path> {
        self.paths().iter().filter(move |path| path.from() == Some(peer))
    }

    /// Does a path have this next hop?
    pub(super) fn has_next_hop(&self, next_hop: NextHop, attrs: &AttrTable) -> bool {
        self.paths().iter().any(|path| path.next_hop(attrs) == Some(next_hop))
    }

    /// The paths in use as readers see them.
    pub(super) fn best_paths(&self, attrs: &AttrTable) -> Vec<BestPath> {
        // Those in use are all accepted ones.
        let used = self.in_use().iter().filter_map(|path| {
            Some(BestPath { peer: path.from(), attrs: attrs.get(path.accepted()?), share: 1 })
        });
        let mut used: Vec<_> = used.collect();
        if used.len() > 1 {
            let shares = bandwidth::shares(used.iter().map(|path| &*path.attrs));
            used.iter_mut().zip(shares).for_each(|(path, share)| path.share = share);
        }
        used
    }

    /// What all paths in use carry together, if each tells it.
    pub(super) fn bandwidth(&self, attrs: &AttrTable) -> Option<Rate> {
        let used = self.in_use().iter().filter_map(|path| Some(attrs.get(path.accepted()?)));
        let used: Vec<_> = used.collect();
        bandwidth::total(used.iter().map(|attrs| &**attrs))
    }

    /// The paths in use, to be compared with those of later.
    pub(super) fn used(&self) -> Used {
        self.in_use().iter().filter_map(|path| Some((path.from(), path.accepted()?))).collect()
    }

    /// How many of the paths in use, from the best on, are those of `before`.
    pub(super) fn unchanged_since(&self, before: &Used) -> usize {
        let same = |(path, (from, attrs)): &(&Path, &(Option<PeerId>, AttrId))| {
            path.from() == *from && path.accepted() == Some(*attrs)
        };
        self.in_use().iter().zip(before).take_while(same).count()
    }

    /// Adds the path, or puts it in place of the one with its key, which is given back. The
    /// caller arranges the paths afterwards.
    pub(super) fn put(&mut self, mut path: Path) -> Option<Path> {
        match self.path_mut(path.key()) {
            Some(other) => {
                path.told_as = other.told_as;
                Some(std::mem::replace(other, path))
            }
            None => {
                path.told_as = self.free_number();
                self.push(path);
                None
            }
        }
    }

    fn push(&mut self, path: Path) {
        let (used, eligible) = self.counts();
        self.paths = match std::mem::replace(&mut self.paths, Paths::None) {
            Paths::None => Paths::One(path),
            Paths::One(first) => {
                Paths::Many(Box::new(Many { paths: vec![first, path], used, eligible }))
            }
            Paths::Many(mut many) => {
                many.paths.push(path);
                Paths::Many(many)
            }
        };
    }

    /// Takes a path out. The caller arranges the paths afterwards.
    pub(super) fn take(&mut self, key: PathKey) -> Option<Path> {
        let at = self.paths().iter().position(|path| path.key() == key)?;
        match &mut self.paths {
            Paths::None => None,
            Paths::One(_) => match std::mem::replace(&mut self.paths, Paths::None) {
                Paths::One(path) => Some(path),
                Paths::None | Paths::Many(_) => None,
            },
            Paths::Many(many) => {
                many.used -= usize::from(at < many.used);
                many.eligible -= usize::from(at < many.eligible);
                let taken = many.paths.remove(at);
                if many.paths.len() == 1 {
                    self.paths = many.paths.pop().map_or(Paths::None, Paths::One);
                }
                Some(taken)
            }
        }
    }

    /// Puts the paths into the order of a decision. The caller has them [`Self::stand`] afterwards.
    pub(super) fn arrange(&mut self, decided: &[Contender]) {
        for (at, contender) in decided.iter().enumerate() {
            // What stood in a place already taken has gone to where that place's path came from.
            let mut from = contender.index;
            while from < at {
                from = decided[from].index;
            }
            self.paths_mut().swap(at, from);
        }
    }

    /// A path that has come or was replaced, and is not in use, finds its place among the others
    /// while the used ones keep theirs. `moved` as in [`Self::stand`].
    pub(super) fn set_aside(
        &mut self,
        key: PathKey,
        eligible: bool,
        moved: impl FnOnce(Option<PeerId>, Account, Account),
    ) {
        let Some(at) = self.paths().iter().position(|path| path.key() == key) else { return };
        let (used, end) = self.counts();
        match (at < end, eligible) {
            (false, true) => {
                self.paths_mut().swap(at, end);
                self.set_counts(used, end + 1);
                self.place(end, Standing::Eligible, moved);
            }
            (true, false) => {
                self.paths_mut().swap(at, end - 1);
                self.set_counts(used, end - 1);
            }
            (true, true) => self.place(at, Standing::Eligible, moved),
            (false, false) => {}
        }
    }

    fn place(
        &mut self,
        at: usize,
        standing: Standing,
        moved: impl FnOnce(Option<PeerId>, Account, Account),
    ) {
        let path = &mut self.paths_mut()[at];
        if path.standing != standing {
            let old = path.account();
            path.standing = standing;
            moved(path.from(), old, path.account());
        }
    }

    /// The first `used` of the paths are in use, the first `eligible` could be. `moved` hears of
    /// each path that its peer accounts for differently: of whom, from what, to what.
    pub(super) fn stand(
        &mut self,
        used: usize,
        eligible: usize,
        mut moved: impl FnMut(Option<PeerId>, Account, Account),
    ) {
        self.set_counts(used, eligible);
        for at in 0..self.paths().len() {
            let standing = if at < used {
                Standing::InUse
            } else if at < eligible {
                Standing::Eligible
            } else {
                Standing::Ineligible
            };
            self.place(at, standing, &mut moved);
        }
    }

    /// The lowest number from 1 that no path has. Used again once its path is gone: to those who
    /// were told, the new path then takes the place of the old one.
    fn free_number(&self) -> u32 {
        let mut low = 1;
        loop {
            // The next 64 numbers, one bit each: one round for all but the largest crowds.
            let numbers = self.paths().iter().filter_map(|path| path.told_as.checked_sub(low));
            let taken =
                numbers.filter(|bit| *bit < u64::BITS).fold(0_u64, |set, bit| set | 1 << bit);
            if taken != u64::MAX {
                return low + taken.trailing_ones();
            }
            low += u64::BITS;
        }
    }

    /// Is a path in use?
    pub(super) fn is_used(&self) -> bool {
        self.counts().0 > 0
    }

    /// Is nothing left of it, and nobody interested?
    pub(super) fn is_unused(&self) -> bool {
        matches!(self.paths, Paths::None) && self.claims == 0 && !self.unread
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A table of a million prefixes is mostly this.
    #[test]
    fn a_destination_with_its_one_path_takes_56_octets() {
        assert_eq!(size_of::<Option<Dest>>(), 56);
    }
}
