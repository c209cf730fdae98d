//! Destination numbers by the hash of their prefix.
//!
//! In: hashes with numbers. Out: the number of a hash for which the caller says that it is the one.
//! Open addressing with linear probing: what is looked for stands in one line of the cache, mostly,
//! and half of the hash stands beside each number, so that searching and growing look at nothing
//! else. Entries behind one that is taken out move up, so there are no tombstones.

use crate::rib::dense::DestId;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// A power of two of them, or none.
    slots: Vec<Slot>,
    len: usize,
}

/// `NOWHERE` in an empty one.
#[derive(Clone, Copy, Debug)]
struct Slot {
    id: DestId,
    hash: u32,
}

impl Slot {
    const EMPTY: Self = Self { id: NOWHERE, hash: 0 };

    fn is_empty(self) -> bool {
        self.id == NOWHERE
    }
}

/// No destination: memory ends before that many.
const NOWHERE: DestId = DestId(u32::MAX);

const SMALLEST: usize = 16;

impl Index {
    /// How many there are.
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// The number of this hash for which `is_it` holds.
    pub(super) fn find(&self, hash: u32, is_it: impl Fn(DestId) -> bool) -> Option<DestId> {
        let at = self.place(hash, |slot| slot.hash == hash && is_it(slot.id))?;
        Some(self.slots[at].id)
    }

    /// Adds a number that is not in.
    pub(super) fn insert(&mut self, hash: u32, id: DestId) {
        // At most three quarters full.
        if (self.len + 1) * 4 > self.slots.len() * 3 {
            self.grow();
        }
        self.len += 1;
        self.put(Slot { id, hash });
    }

    /// Takes a number out that is in.
    pub(super) fn remove(&mut self, hash: u32, id: DestId) {
        let found = self.place(hash, |slot| slot.id == id);
        let mut hole = found.expect("listed while it lives");
        self.len -= 1;
        let mask = self.slots.len() - 1;
        let mut at = hole;
        loop {
            at = (at + 1) & mask;
            let slot = self.slots[at];
            if slot.is_empty() {
                break;
            }
            // It may move up to the hole unless its home lies behind that.
            let from_home = at.wrapping_sub(self.home(slot.hash)) & mask;
            let from_hole = at.wrapping_sub(hole) & mask;
            if from_home >= from_hole {
                self.slots[hole] = slot;
                hole = at;
            }
        }
        self.slots[hole] = Slot::EMPTY;
        if self.len == 0 {
            self.slots = Vec::new();
        }
    }

    /// Reads where the search for this hash will begin: the sum means nothing. Of many that nobody
    /// waits for, memory delivers several at a time.
    pub(super) fn touch(&self, hash: u32) -> u32 {
        self.slots.get(self.home(hash)).map_or(0, |slot| slot.hash)
    }

    fn place(&self, hash: u32, is_it: impl Fn(Slot) -> bool) -> Option<usize> {
        let mask = self.slots.len().checked_sub(1)?;
        let mut at = self.home(hash);
        // There always is an empty one.
        loop {
            let slot = self.slots[at];
            if slot.is_empty() {
                return None;
            }
            if is_it(slot) {
                return Some(at);
            }
            at = (at + 1) & mask;
        }
    }

    fn put(&mut self, slot: Slot) {
        let mask = self.slots.len() - 1;
        let mut at = self.home(slot.hash);
        while !self.slots[at].is_empty() {
            at = (at + 1) & mask;
        }
        self.slots[at] = slot;
    }

    fn grow(&mut self) {
        let size = (self.slots.len() * 2).max(SMALLEST);
        let old = std::mem::replace(&mut self.slots, vec![Slot::EMPTY; size]);
        old.into_iter().filter(|slot| !slot.is_empty()).for_each(|slot| self.put(slot));
    }

    const fn home(&self, hash: u32) -> usize {
        hash as usize & self.slots.len().wrapping_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Few different hashes, some of them in the last places: long stretches, around the end.
        #[test]
        fn index_agrees_with_the_ordered_map_of_std(
            steps in prop::collection::vec((any::<bool>(), 0_u32..60), 0..400),
            hashes in prop::collection::vec(prop_oneof![0_u32..8, u32::MAX - 4..u32::MAX], 60),
        ) {
            let (mut index, mut model) = (Index::default(), BTreeMap::new());
            for (add, number) in steps {
                let (id, hash) = (DestId(number), hashes[number as usize]);
                if add && model.insert(id, hash).is_none() {
                    index.insert(hash, id);
                } else if !add && model.remove(&id).is_some() {
                    index.remove(hash, id);
                }
                prop_assert_eq!(index.len(), model.len());
                for (number, hash) in hashes.iter().enumerate() {
                    let id = DestId(u32::try_from(number).unwrap());
                    let known = model.contains_key(&id).then_some(id);
                    prop_assert_eq!(index.find(*hash, |found| found == id), known);
                }
            }
        }
    }

    #[test]
    fn what_is_empty_takes_no_memory() {
        let mut index = Index::default();
        (0..1000).for_each(|id| index.insert(id * 7, DestId(id)));
        (0..1000).for_each(|id| index.remove(id * 7, DestId(id)));
        assert_eq!((index.len(), index.slots.capacity()), (0, 0));
    }
}
