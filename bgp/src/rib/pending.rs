//! Destinations that somebody is to look at: by their numbers, but for some that go first.
//!
//! However many wait, a single route need not stand behind a whole table.

use std::collections::VecDeque;

use super::dense::{DestId, DestSet};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Pending {
    all: DestSet,
    /// Those that go first, oldest first. Some may have been looked at since.
    ahead: VecDeque<DestId>,
}

impl Pending {
    /// Adds one; true if it was not in. An urgent one goes before those that are not.
    pub(super) fn insert(&mut self, id: DestId, urgent: bool) -> bool {
        if urgent && self.ahead.len() < AHEAD {
            self.ahead.push_back(id);
        }
        self.all.insert(id)
    }

    /// Takes one out; true if it was in.
    pub(super) fn remove(&mut self, id: DestId) -> bool {
        let removed = self.all.remove(id);
        if self.all.is_empty() {
            self.ahead.clear();
        }
        removed
    }

    /// Is it in?
    pub(super) fn contains(&self, id: DestId) -> bool {
        self.all.contains(id)
    }

    /// True if none is in.
    pub(super) const fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Puts one that is in before the others.
    pub(super) fn put_first(&mut self, id: DestId) {
        self.ahead.push_front(id);
    }

    /// The next of those that go first. Not named again, but still in.
    pub(super) fn next_ahead(&mut self) -> Option<DestId> {
        std::iter::from_fn(|| self.ahead.pop_front()).find(|id| self.all.contains(*id))
    }

    /// What [`Self::next_ahead`] will give.
    pub(super) fn peek_ahead(&self) -> Option<DestId> {
        self.ahead.iter().copied().find(|id| self.all.contains(*id))
    }

    /// The lowest that is `start` or above.
    pub(super) fn next_from(&self, start: DestId) -> Option<DestId> {
        self.all.next_from(start)
    }

    /// All, lowest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = DestId> {
        self.all.iter()
    }
}

/// As many go first at most: what is urgent in such numbers is a table of its own.
const AHEAD: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urgent_ones_go_first_and_once() {
        let mut pending = Pending::default();
        for (id, urgent) in [(1, false), (9, true), (5, true), (1, false), (9, true)] {
            pending.insert(DestId(id), urgent);
        }
        pending.remove(DestId(5));

        assert_eq!(pending.next_ahead(), Some(DestId(9)));
        pending.remove(DestId(9));
        assert_eq!(pending.next_ahead(), None);
        assert_eq!(pending.iter().collect::<Vec<_>>(), [DestId(1)]);

        // A number that is used again later has no claim to go first.
        pending.insert(DestId(7), true);
        pending.remove(DestId(7));
        pending.remove(DestId(1));
        pending.insert(DestId(7), false);
        assert_eq!(pending.next_ahead(), None);
    }

    #[test]
    fn what_goes_first_is_bounded() {
        let mut pending = Pending::default();
        (0..5000).for_each(|id| assert!(pending.insert(DestId(id), true)));
        assert_eq!(std::iter::from_fn(|| pending.next_ahead()).count(), AHEAD);
        assert_eq!(pending.iter().count(), 5000);
    }
}
