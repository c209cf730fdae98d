//! Sets and maps keyed by destination number.
//!
//! Destinations have small consecutive numbers, so a set is a bitmap and a map an array, both
//! in pages that exist only where something is in: a peer with ten prefixes costs some hundred
//! octets, one with a full table one bit or one slot for each.

/// A destination by its number in the Loc-RIB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct DestId(pub(super) u32);

impl DestId {
    /// The lowest.
    pub(super) const FIRST: Self = Self(0);

    /// The one after it.
    pub(super) const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// So many after it.
    pub(super) fn plus(self, count: usize) -> Self {
        Self::from_index(self.index() + count)
    }

    /// As an index.
    pub(super) const fn index(self) -> usize {
        self.0 as usize
    }

    fn from_index(index: usize) -> Self {
        Self(u32::try_from(index).expect("destinations are numbered with 32 bits"))
    }
}

/// 512 destinations in one cache line.
type SetPage = [u64; 8];
const SET_PAGE_BITS: usize = 512;

/// A set of destinations.
#[derive(Debug, Default)]
pub(super) struct DestSet {
    pages: Vec<Option<Box<SetPage>>>,
    len: usize,
}

impl DestSet {
    /// Adds one; true if it was not in.
    pub(super) fn insert(&mut self, id: DestId) -> bool {
        let (page, word, bit) = Self::place(id);
        if self.pages.len() <= page {
            self.pages.resize_with(page + 1, || None);
        }
        let words = self.pages[page].get_or_insert_default();
        let added = words[word] & bit == 0;
        words[word] |= bit;
        self.len += usize::from(added);
        added
    }

    /// Takes one out; true if it was in.
    pub(super) fn remove(&mut self, id: DestId) -> bool {
        let (page, word, bit) = Self::place(id);
        let Some(Some(words)) = self.pages.get_mut(page) else { return false };
        let removed = words[word] & bit != 0;
        words[word] &= !bit;
        if removed {
            self.len -= 1;
            if words[word] == 0 && words.iter().all(|word| *word == 0) {
                self.pages[page] = None;
            }
        }
        removed
    }

    /// Is it in?
    pub(super) fn contains(&self, id: DestId) -> bool {
        let (page, word, bit) = Self::place(id);
        matches!(self.pages.get(page), Some(Some(words)) if words[word] & bit != 0)
    }

    /// True if none is in.
    pub(super) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The lowest that is `start` or above.
    pub(super) fn next_from(&self, start: DestId) -> Option<DestId> {
        let (first, word, bit) = Self::place(start);
        for (page, words) in self.pages.iter().enumerate().skip(first) {
            let Some(words) = words else { continue };
            let start = if page == first { word } else { 0 };
            for (at, word) in words.iter().enumerate().skip(start) {
                // `bit - 1` are the places below `start` in its own word.
                let below = if page == first && at == start { bit - 1 } else { 0 };
                let rest = word & !below;
                if rest != 0 {
                    let place = rest.trailing_zeros() as usize;
                    return Some(DestId::from_index(page * SET_PAGE_BITS + at * 64 + place));
                }
            }
        }
        None
    }

    /// All, lowest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = DestId> {
        std::iter::successors(self.next_from(DestId::FIRST), |id| self.next_from(id.next()))
    }

    const fn place(id: DestId) -> (usize, usize, u64) {
        let index = id.index();
        (index / SET_PAGE_BITS, index % SET_PAGE_BITS / 64, 1 << (index % 64))
    }
}

const MAP_PAGE_SLOTS: usize = 64;

#[derive(Debug)]
struct MapPage<T> {
    slots: [Option<T>; MAP_PAGE_SLOTS],
    len: usize,
}

/// A value for some destinations.
#[derive(Debug)]
pub(super) struct DestMap<T> {
    pages: Vec<Option<Box<MapPage<T>>>>,
}

impl<T> Default for DestMap<T> {
    fn default() -> Self {
        Self { pages: Vec::new() }
    }
}

impl<T> DestMap<T> {
    /// Sets a value and gives back the one that was there.
    pub(super) fn insert(&mut self, id: DestId, value: T) -> Option<T> {
        let (page, slot) = Self::place(id);
        if self.pages.len() <= page {
            self.pages.resize_with(page + 1, || None);
        }
        let page = self.pages[page].get_or_insert_with(|| {
            Box::new(MapPage { slots: [const { None }; MAP_PAGE_SLOTS], len: 0 })
        });
        let old = page.slots[slot].replace(value);
        page.len += usize::from(old.is_none());
        old
    }

    /// Takes a value out.
    pub(super) fn remove(&mut self, id: DestId) -> Option<T> {
        let (at, slot) = Self::place(id);
        let page = self.pages.get_mut(at)?.as_mut()?;
        let old = page.slots[slot].take()?;
        page.len -= 1;
        if page.len == 0 {
            self.pages[at] = None;
        }
        Some(old)
    }

    /// The value of a destination.
    pub(super) fn get(&self, id: DestId) -> Option<&T> {
        let (page, slot) = Self::place(id);
        self.pages.get(page)?.as_ref()?.slots[slot].as_ref()
    }

    /// Destinations that have a value, lowest first.
    pub(super) fn ids(&self) -> impl Iterator<Item = DestId> {
        self.pages.iter().enumerate().filter_map(|(at, page)| Some((at, page.as_ref()?))).flat_map(
            |(at, page)| {
                let used = page.slots.iter().enumerate().filter(|(_, slot)| slot.is_some());
                used.map(move |(slot, _)| DestId::from_index(at * MAP_PAGE_SLOTS + slot))
            },
        )
    }

    /// The values, those of lower destinations first.
    pub(super) fn values(&self) -> impl Iterator<Item = &T> {
        self.pages.iter().flatten().flat_map(|page| page.slots.iter().flatten())
    }

    /// Destinations with their values, lowest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = (DestId, &T)> {
        self.ids().filter_map(|id| Some((id, self.get(id)?)))
    }

    /// The same, to keep.
    pub(super) fn into_entries(self) -> impl Iterator<Item = (DestId, T)> {
        let pages = self.pages.into_iter().enumerate();
        let pages = pages.filter_map(|(at, page)| Some((at, page?)));
        pages.flat_map(|(at, page)| {
            let slots = page.slots.into_iter().enumerate();
            slots.filter_map(move |(slot, value)| {
                Some((DestId::from_index(at * MAP_PAGE_SLOTS + slot), value?))
            })
        })
    }

    const fn place(id: DestId) -> (usize, usize) {
        (id.index() / MAP_PAGE_SLOTS, id.index() % MAP_PAGE_SLOTS)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn set_and_map_agree_with_the_ordered_ones_of_std(
            steps in prop::collection::vec((any::<bool>(), 0_u32..2000, 0_u32..2000), 0..300)
        ) {
            let (mut set, mut map) = (DestSet::default(), DestMap::default());
            let (mut set_model, mut map_model) = (BTreeSet::new(), BTreeMap::new());
            for (add, id, start) in steps {
                let (id, start) = (DestId(id), DestId(start));
                if add {
                    prop_assert_eq!(set.insert(id), set_model.insert(id));
                    prop_assert_eq!(map.insert(id, start), map_model.insert(id, start));
                } else {
                    prop_assert_eq!(set.remove(id), set_model.remove(&id));
                    prop_assert_eq!(map.remove(id), map_model.remove(&id));
                }
                prop_assert_eq!(set.contains(start), set_model.contains(&start));
                prop_assert_eq!(set.next_from(start), set_model.range(start..).next().copied());
                prop_assert_eq!(map.get(start), map_model.get(&start));
                prop_assert_eq!(set.is_empty(), set_model.is_empty());
            }
            prop_assert!(set.iter().eq(set_model));
            prop_assert!(map.ids().eq(map_model.keys().copied()));
            prop_assert!(map.iter().map(|(id, value)| (id, *value)).eq(map_model.clone()));
            prop_assert!(map.into_entries().eq(map_model));
        }
    }

    #[test]
    fn pages_without_entries_are_given_back() {
        let (mut set, mut map) = (DestSet::default(), DestMap::default());
        for id in (0..5000).map(DestId) {
            set.insert(id);
            map.insert(id, ());
        }
        for id in (0..5000).map(DestId) {
            set.remove(id);
            map.remove(id);
        }
        assert!(set.is_empty());
        assert!(set.pages.iter().all(Option::is_none));
        assert!(map.pages.iter().all(Option::is_none));
    }
}
