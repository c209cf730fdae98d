//! A destination: one prefix with all its paths, and which of them are used.
//!
//! In: paths, and the order that the decision gave them. Out: the paths in that order, each
//! with what it is to the Loc-RIB.

use std::sync::Arc;

use smallvec::SmallVec;

use super::{
    account::{Account, Standing},
    bandwidth,
    decide::Contender,
    peer::PeerId,
    verdict::{Freshness, Ineligible},
};
use crate::{
    attrs::{Attrs, NextHop},
    community::Rate,
    prefix::Prefix,
    timestamp::Timestamp,
};

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
pub(super) type Used = SmallVec<[(Option<PeerId>, Arc<Attrs>); 2]>;

/// Which of a destination's paths: no two have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PathKey {
    /// Who announced it; `None` if this router originates it.
    pub(super) from: Option<PeerId>,
    /// The peer's number for it (RFC 7911); 0 if it gives none.
    pub(super) path_id: u32,
}

impl PathKey {
    /// Of what this router originates.
    pub(super) const OURS: Self = Self { from: None, path_id: 0 };
}

/// What import makes of a path: attributes after policy, or why it was not accepted.
pub(super) type Imported = Result<Arc<Attrs>, Box<Ineligible>>;

/// One way to a destination.
#[derive(Debug)]
pub(super) struct Path {
    /// Which it is.
    pub(super) key: PathKey,
    /// Attributes as received.
    pub(super) received: Arc<Attrs>,
    /// Attributes after import policy, or why it was not accepted.
    pub(super) imported: Imported,
    /// When it came, and whether its peer still stands by it.
    pub(super) marks: Marks,
    /// What came of it; kept by [`Dest::arrange`].
    standing: Standing,
    /// Our own number for it, given by [`Dest::put`]; see [`Self::told_as`].
    told_as: u32,
}

/// When a path came, and whether its peer still stands by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Marks {
    /// When it was received; kept when a change of policy changes what is made of it.
    pub(super) learned: Timestamp,
    /// Which session it is from, and since when it is kept if that has ended.
    pub(super) freshness: Freshness,
    /// Its peer is announcing everything again and has not come to it yet (RFC 7313 §4).
    pub(super) unrefreshed: bool,
}

impl Marks {
    /// Of a path that has just come.
    pub(super) const fn new(learned: Timestamp) -> Self {
        Self { learned, freshness: Freshness::Current, unrefreshed: false }
    }
}

impl Path {
    /// A path that no decision has seen yet.
    pub(super) const fn new(
        key: PathKey,
        received: Arc<Attrs>,
        imported: Imported,
        marks: Marks,
    ) -> Self {
        Self { key, received, imported, marks, standing: Standing::Ineligible, told_as: 0 }
    }

    /// The next hop that must be reached to use it, if there is one.
    pub(super) fn next_hop(&self) -> Option<NextHop> {
        match (&self.imported, self.key.from) {
            (Ok(attrs), Some(_)) => Some(attrs.next_hop),
            (Ok(_), None) | (Err(_), _) => None,
        }
    }

    /// The number by which peers are told of it where they are told of several (RFC 7911): not 0,
    /// no other path of the destination has it, and it stays when the path is replaced.
    pub(super) const fn told_as(&self) -> u32 {
        self.told_as
    }

    /// What came of it at the last decision.
    pub(super) const fn standing(&self) -> Standing {
        self.standing
    }

    /// What its peer accounts for by it.
    pub(super) const fn account(&self) -> Account {
        let stale = !matches!(self.marks.freshness, Freshness::Current);
        Account { standing: self.standing, stale, let_in: self.imported.is_ok() }
    }
}

/// A destination.
#[derive(Debug)]
pub(super) struct Dest {
    /// Its prefix.
    pub(super) prefix: Prefix,
    /// Its paths: those in use, best first, then the other eligible ones, then the rest.
    /// One for most, which then stands here.
    paths: SmallVec<[Path; 1]>,
    used: u32,
    eligible: u32,
    /// How many Adj-RIBs-Out mention it: pending and told count one each.
    pub(super) claims: u32,
    /// It stands in the queue of changes.
    pub(super) unread: bool,
    /// What was last read was not "gone".
    pub(super) reported: bool,
}

impl Dest {
    /// One that nothing is known of yet.
    pub(super) const fn new(prefix: Prefix) -> Self {
        Self {
            prefix,
            paths: SmallVec::new_const(),
            used: 0,
            eligible: 0,
            claims: 0,
            unread: false,
            reported: false,
        }
    }

    /// All its paths, the used ones first.
    pub(super) fn paths(&self) -> &[Path] {
        &self.paths
    }

    /// The paths in use, best first.
    pub(super) fn in_use(&self) -> &[Path] {
        &self.paths[..self.used as usize]
    }

    /// The paths in use, best first, and those that could be.
    pub(super) fn eligible(&self) -> &[Path] {
        &self.paths[..self.eligible as usize]
    }

    /// The best path.
    pub(super) fn best(&self) -> Option<&Path> {
        self.in_use().first()
    }

    /// One of its paths.
    pub(super) fn path(&self, key: PathKey) -> Option<&Path> {
        self.paths.iter().find(|path| path.key == key)
    }

    /// One of its paths, to change what does not concern the decision.
    pub(super) fn path_mut(&mut self, key: PathKey) -> Option<&mut Path> {
        self.paths.iter_mut().find(|path| path.key == key)
    }

    /// The paths of this peer.
    pub(super) fn paths_of(&self, peer: PeerId) -> impl Iterator<Item = &Path> {
        self.paths.iter().filter(move |path| path.key.from == Some(peer))
    }

    /// Does a path have this next hop?
    pub(super) fn has_next_hop(&self, next_hop: NextHop) -> bool {
        self.paths.iter().any(|path| path.next_hop() == Some(next_hop))
    }

    /// The paths in use as readers see them.
    pub(super) fn best_paths(&self) -> Vec<BestPath> {
        let shares = bandwidth::shares(self.used_attrs().map(|attrs| &**attrs));
        let paths = self.in_use().iter().zip(self.used_attrs()).zip(shares);
        paths
            .map(|((path, attrs), share)| BestPath {
                peer: path.key.from,
                attrs: Arc::clone(attrs),
                share,
            })
            .collect()
    }

    /// What all paths in use carry together, if each tells it.
    pub(super) fn bandwidth(&self) -> Option<Rate> {
        bandwidth::total(self.used_attrs().map(|attrs| &**attrs))
    }

    /// Attributes of the paths in use, which are all accepted ones.
    fn used_attrs(&self) -> impl Iterator<Item = &Arc<Attrs>> + Clone {
        self.in_use().iter().filter_map(|path| path.imported.as_ref().ok())
    }

    /// The paths in use, to be compared with those of later.
    pub(super) fn used(&self) -> Used {
        self.in_use().iter().zip(self.used_attrs()).map(|(p, a)| (p.key.from, a.clone())).collect()
    }

    /// How many of the paths in use, from the best on, are those of `before`.
    pub(super) fn unchanged_since(&self, before: &Used) -> usize {
        let same = |(path, (from, attrs)): &(&Path, &(Option<PeerId>, Arc<Attrs>))| {
            path.key.from == *from && path.imported.as_ref().is_ok_and(|new| new == attrs)
        };
        self.in_use().iter().zip(before).take_while(same).count()
    }

    /// Adds the path, or puts it in place of the one with its key, which is given back. The
    /// caller arranges the paths afterwards.
    pub(super) fn put(&mut self, mut path: Path) -> Option<Path> {
        match self.path_mut(path.key) {
            Some(other) => {
                path.told_as = other.told_as;
                Some(std::mem::replace(other, path))
            }
            None => {
                path.told_as = self.free_number();
                self.paths.push(path);
                None
            }
        }
    }

    /// Takes a path out. The caller arranges the paths afterwards.
    pub(super) fn take(&mut self, key: PathKey) -> Option<Path> {
        let at = self.paths.iter().position(|path| path.key == key)?;
        self.used -= u32::from(at < self.used as usize);
        self.eligible -= u32::from(at < self.eligible as usize);
        Some(self.paths.remove(at))
    }

    /// Puts the paths into the order of a decision. The caller has them [`Self::stand`] afterwards.
    pub(super) fn arrange(&mut self, decided: &[Contender]) {
        for (at, contender) in decided.iter().enumerate() {
            // What stood in a place already taken has gone to where that place's path came from.
            let mut from = contender.index;
            while from < at {
                from = decided[from].index;
            }
            self.paths.swap(at, from);
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
        let Some(at) = self.paths.iter().position(|path| path.key == key) else { return };
        let end = self.eligible as usize;
        match (at < end, eligible) {
            (false, true) => {
                self.paths.swap(at, end);
                self.eligible += 1;
                self.place(end, Standing::Eligible, moved);
            }
            (true, false) => {
                self.paths.swap(at, end - 1);
                self.eligible -= 1;
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
        let path = &mut self.paths[at];
        if path.standing != standing {
            let old = path.account();
            path.standing = standing;
            moved(path.key.from, old, path.account());
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
        let number = |count: usize| u32::try_from(count).expect("memory ends before 2^32 paths");
        (self.used, self.eligible) = (number(used), number(eligible));
        for at in 0..self.paths.len() {
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
            let numbers = self.paths.iter().filter_map(|path| path.told_as.checked_sub(low));
            let taken =
                numbers.filter(|bit| *bit < u64::BITS).fold(0_u64, |set, bit| set | 1 << bit);
            if taken != u64::MAX {
                return low + taken.trailing_ones();
            }
            low += u64::BITS;
        }
    }

    /// Is a path in use?
    pub(super) const fn is_used(&self) -> bool {
        self.used > 0
    }

    /// Is nothing left of it, and nobody interested?
    pub(super) fn is_unused(&self) -> bool {
        self.paths.is_empty() && self.claims == 0 && !self.unread
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A table of a million prefixes is mostly this.
    #[test]
    fn a_destination_with_its_one_path_takes_96_octets() {
        assert_eq!(size_of::<Option<Dest>>(), 96);
    }
}
