//! The attribute table: equal attribute sets are one shared [`Arc`].
//!
//! In: attributes from UPDATEs, policies and export. Out: the one `Arc` that stands for them,
//! so that equal sets take memory once and are compared by address in the common case.
//! Sets that only the table still holds are dropped when it has doubled, and on request.

use std::{hash::BuildHasher, sync::Arc};

use foldhash::fast::RandomState;
use hashbrown::{HashTable, hash_table::Entry};

use crate::attrs::Attrs;

/// Below this many sets a sweep is not worth its time.
const SMALLEST_SWEEP: usize = 1024;

/// Every attribute set in use.
#[derive(Debug)]
pub(super) struct AttrTable {
    /// Each beside its hash, which is not cheap: to grow, no set is looked at.
    sets: HashTable<(u64, Arc<Attrs>)>,
    hasher: RandomState,
    sweep_at: usize,
}

impl AttrTable {
    /// An empty one.
    pub(super) fn new() -> Self {
        let (sets, hasher) = (HashTable::new(), RandomState::default());
        Self { sets, hasher, sweep_at: SMALLEST_SWEEP }
    }

    /// How many sets there are, those out of use and not swept yet among them.
    pub(super) fn len(&self) -> usize {
        self.sets.len()
    }

    /// The shared set equal to this one.
    pub(super) fn intern(&mut self, attrs: Arc<Attrs>) -> Arc<Attrs> {
        let hash = self.hasher.hash_one(&*attrs);
        let same = |(other, known): &(u64, Arc<Attrs>)| *other == hash && *known == attrs;
        match self.sets.entry(hash, same, |(hash, _)| *hash) {
            Entry::Occupied(known) => return Arc::clone(&known.get().1),
            Entry::Vacant(place) => place.insert((hash, Arc::clone(&attrs))),
        };
        if self.sets.len() >= self.sweep_at {
            self.sweep();
        }
        attrs
    }

    /// Drops the sets that nobody else holds. Amortised over insertions this is constant time.
    pub(super) fn sweep(&mut self) {
        self.sets.retain(|(_, attrs)| Arc::strong_count(attrs) > 1);
        self.sets.shrink_to(self.sets.len() * 2, |(hash, _)| *hash);
        self.sweep_at = SMALLEST_SWEEP.max(self.sets.len() * 2);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::attrs::NextHop;

    fn attrs(med: u32) -> Arc<Attrs> {
        let mut attrs = Attrs::originated(NextHop::new(Ipv4Addr::LOCALHOST.into()));
        attrs.med = Some(med);
        Arc::new(attrs)
    }

    #[test]
    fn equal_sets_are_one() {
        let mut table = AttrTable::new();
        let first = table.intern(attrs(1));
        let second = table.intern(attrs(1));
        assert!(Arc::ptr_eq(&first, &second));
        assert!(!Arc::ptr_eq(&first, &table.intern(attrs(2))));
    }

    #[test]
    fn sets_that_nobody_uses_do_not_pile_up() {
        let mut table = AttrTable::new();
        let kept = table.intern(attrs(0));
        for med in 1..100_000 {
            table.intern(attrs(med));
        }
        assert!(table.sets.len() <= SMALLEST_SWEEP, "{}", table.sets.len());
        assert!(Arc::ptr_eq(&kept, &table.intern(attrs(0))));
    }
}
