//! The Loc-RIB: every destination.
//!
//! In: prefixes, and which destinations changed. Out: destinations by prefix or number, and
//! those whose use changed, each once until read. The paths of all Adj-RIBs-In stand with their
//! destination: a decision finds all it compares in one place.

mod index;

use std::{collections::VecDeque, hash::BuildHasher, hint::black_box, net::IpAddr};

use foldhash::fast::RandomState;

use self::index::Index;
use super::{
    attrs::{AttrTable, InUse},
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
    /// By prefix, which stands with the destination.
    ids: Index,
    hasher: RandomState,
    /// In pages, so that growing moves nothing; all but the last are full.
    pages: Vec<Vec<Option<Dest>>>,
    free: Vec<DestId>,
    changes: VecDeque<DestId>,
    in_use: PerFamily<usize>,
    /// Nobody reads changes.
    unwatched: bool,
}

impl Loc {
    /// The destination of this prefix, made if there is none.
    pub(super) fn open(&mut self, prefix: Prefix) -> DestId {
        let hash = self.hash(prefix);
        if let Some(id) = self.find_hashed(prefix, hash) {
            return id;
        }
        let id = self.free.pop().unwrap_or_else(|| self.append());
        *self.slot(id) = Some(Dest::new(prefix));
        self.ids.insert(hash, id);
        id
    }

    /// The destination of this prefix.
    pub(super) fn find(&self, prefix: Prefix) -> Option<DestId> {
        self.find_hashed(prefix, self.hash(prefix))
    }

    /// Has memory fetch what looking up these prefixes will need, several at a time: one after the
    /// other, each look-up in a large table waits for it twice.
    pub(super) fn touch(&self, prefixes: impl Iterator<Item = Prefix>) {
        let mut ids = [DestId::FIRST; TOUCHED];
        let mut hashes = [0; TOUCHED];
        let hashed = prefixes.zip(&mut hashes).map(|(prefix, hash)| *hash = self.hash(prefix));
        let count = hashed.count();
        let hashes = &hashes[..count];
        black_box(hashes.iter().fold(0, |sum, hash| sum ^ self.ids.touch(*hash)));
        let mut found = 0;
        for hash in hashes {
            if let Some(id) = self.ids.find(*hash, |_| true) {
                ids[found] = id;
                found += 1;
            }
        }
        let lens =
            ids[..found].iter().map(|id| at(&self.pages, *id).map_or(0, |it| it.prefix.len()));
        black_box(lens.fold(0, |sum, len| sum ^ len));
    }

    fn find_hashed(&self, prefix: Prefix, hash: u32) -> Option<DestId> {
        self.ids.find(hash, |id| at(&self.pages, id).is_some_and(|it| it.prefix == prefix))
    }

    /// From a seed of this process, since peers choose the prefixes.
    fn hash(&self, prefix: Prefix) -> u32 {
        let hash = match prefix.addr() {
            IpAddr::V4(addr) => {
                self.hasher.hash_one(u64::from(addr.to_bits()) << 8 | u64::from(prefix.len()))
            }
            IpAddr::V6(addr) => self.hasher.hash_one((addr.to_bits(), prefix.len())),
        };
        #[expect(clippy::cast_possible_truncation, reason = "half of the hash")]
        let half = hash as u32;
        half
    }

    /// A destination by its number.
    pub(super) fn get(&self, id: DestId) -> &Dest {
        at(&self.pages, id).expect("numbers are held only while claimed")
    }

    /// A destination by its number, to change.
    pub(super) fn get_mut(&mut self, id: DestId) -> &mut Dest {
        self.slot(id).as_mut().expect("numbers are held only while claimed")
    }

    /// Every destination's number.
    pub(super) fn ids(&self) -> Vec<DestId> {
        let numbers = (0..).map(DestId).zip(self.pages.iter().flatten());
        numbers.filter(|(_, dest)| dest.is_some()).map(|(id, _)| id).collect()
    }

    /// Attributes and reasons that paths have; how many destinations there are.
    pub(super) fn note_attrs(&self, in_use: &mut InUse) -> usize {
        for path in self.pages.iter().flatten().flatten().flat_map(Dest::paths) {
            in_use.add(path.received);
            in_use.add_imported(path.imported());
        }
        self.len()
    }

    /// Some destinations, at most `count`, from this number on; none past the last.
    pub(super) fn slice(&self, from: DestId, count: usize) -> &[Option<Dest>] {
        let page = self.pages.get(from.index() / PAGE).map_or(&[][..], Vec::as_slice);
        let rest = page.get(from.index() % PAGE..).unwrap_or_default();
        &rest[..rest.len().min(count)]
    }

    /// Destinations of which `shown` holds, in prefix order.
    pub(super) fn sorted(&self, shown: impl Fn(&Dest) -> bool) -> Vec<&Dest> {
        let mut dests: Vec<_> =
            self.pages.iter().flatten().flatten().filter(|dest| shown(dest)).collect();
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

    /// The same for many, of which many may be forgotten.
    pub(super) fn release_all(&mut self, mut ids: impl Iterator<Item = DestId>) {
        let mut some = [DestId::FIRST; TOUCHED];
        loop {
            let count = ids.by_ref().zip(&mut some).map(|(id, place)| *place = id).count();
            let some = &some[..count];
            let last = some.iter().map(|id| self.get(*id)).filter(|dest| dest.claims == 1);
            let hashes = last.map(|dest| self.hash(dest.prefix));
            black_box(hashes.fold(0, |sum, hash| sum ^ self.ids.touch(hash)));
            some.iter().for_each(|id| self.release(*id));
            if count < TOUCHED {
                break;
            }
        }
    }

    /// Forgets the destination if nothing is left of it.
    pub(super) fn retire(&mut self, id: DestId) {
        let dest = self.get(id);
        if dest.is_unused() {
            self.ids.remove(self.hash(dest.prefix), id);
            *self.slot(id) = None;
            self.free.push(id);
        }
    }

    /// The use of the destination changed; `was_used` is whether there was any before.
    pub(super) fn changed(&mut self, id: DestId, was_used: bool) {
        let unwatched = self.unwatched;
        let dest = self.get_mut(id);
        let newly = !unwatched && !std::mem::replace(&mut dest.unread, true);
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
    pub(super) fn next_change(&mut self, attrs: &AttrTable) -> Option<BestChange> {
        while let Some(id) = self.changes.pop_front() {
            let dest = self.get_mut(id);
            dest.unread = false;
            let is_used = dest.is_used();
            let reported = std::mem::replace(&mut dest.reported, is_used);
            let change = BestChange { prefix: dest.prefix, paths: dest.best_paths(attrs) };
            self.retire(id);
            if reported || !change.paths.is_empty() {
                return Some(change);
            }
        }
        None
    }

    /// Changes are kept for nobody from now on.
    pub(super) fn ignore_changes(&mut self, attrs: &AttrTable) {
        while self.next_change(attrs).is_some() {}
        self.unwatched = true;
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    /// Destinations of a family that have a path in use.
    pub(super) const fn in_use(&self, family: Family) -> usize {
        *self.in_use.get(family)
    }

    /// A new number, the last one.
    fn append(&mut self) -> DestId {
        if self.pages.last().is_none_or(|page| page.len() == PAGE) {
            self.pages.push(Vec::with_capacity(if self.pages.is_empty() { 0 } else { PAGE }));
        }
        let before = (self.pages.len() - 1) * PAGE;
        let page = self.pages.last_mut().expect("pushed above");
        page.push(None);
        let id = u32::try_from(before + page.len() - 1);
        DestId(id.expect("memory ends before 2^32 prefixes"))
    }

    fn slot(&mut self, id: DestId) -> &mut Option<Dest> {
        &mut self.pages[id.index() / PAGE][id.index() % PAGE]
    }
}

fn at(pages: &[Vec<Option<Dest>>], id: DestId) -> Option<&Dest> {
    pages.get(id.index() / PAGE)?.get(id.index() % PAGE)?.as_ref()
}

/// Destinations in a page: some 100 KiB.
const PAGE: usize = 1024;

/// Prefixes looked up together at most: more than memory delivers at a time.
pub(super) const TOUCHED: usize = 32;
