//! Sets of prefixes with ranges of lengths: the prefix lists of policies.
//!
//! In: a list as it is written, in any order, overlapping as it likes. Out: whether a prefix is
//! in it, by one binary search however long the list is.

use std::net::IpAddr;

use crate::prefix::Prefix;

/// A prefix with a range of lengths: matches prefixes inside it whose length is in the range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrefixMatch {
    /// The covering prefix.
    pub prefix: Prefix,
    /// Shortest length that matches.
    pub min_len: u8,
    /// Longest length that matches.
    pub max_len: u8,
}

impl PrefixMatch {
    /// Every prefix inside this one, and every address.
    #[must_use]
    pub const fn inside(prefix: Prefix) -> Self {
        Self { prefix, min_len: prefix.len(), max_len: prefix.family().max_len() }
    }

    /// Does the prefix lie inside, with a length in the range?
    #[must_use]
    pub fn matches(&self, prefix: Prefix) -> bool {
        self.prefix.covers(prefix) && (self.min_len..=self.max_len).contains(&prefix.len())
    }
}

/// What any of several [`PrefixMatch`]es matches. Two sets are equal if they match the same
/// by the same covering prefixes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PrefixSet {
    /// By prefix, so that a prefix stands before all that lie inside it.
    entries: Box<[Entry]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    prefix: Prefix,
    /// Lengths that match inside this prefix, by it or by one around it.
    lengths: Lengths,
    /// The nearest entry around this one.
    parent: Option<u32>,
}

impl PrefixSet {
    /// Is nothing in it?
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Is this prefix in it?
    #[must_use]
    pub fn contains(&self, prefix: Prefix) -> bool {
        self.nearest_index(prefix).is_some_and(|at| self.entries[at].lengths.has(prefix.len()))
    }

    /// Does one of its prefixes contain this address, whatever the lengths?
    #[must_use]
    pub fn covers(&self, address: IpAddr) -> bool {
        self.nearest_index(Prefix::host(address)).is_some()
    }

    /// Its covering prefixes.
    pub(super) fn prefixes(&self) -> impl Iterator<Item = Prefix> {
        self.entries.iter().map(|entry| entry.prefix)
    }

    /// The place of the longest entry that covers the prefix.
    pub(super) fn nearest_index(&self, prefix: Prefix) -> Option<usize> {
        // Whatever covers the prefix stands before it, and around its last predecessor.
        let after = self.entries.partition_point(|entry| entry.prefix <= prefix);
        let mut at = after.checked_sub(1);
        while let Some(entry) = at.map(|at| &self.entries[at]) {
            if entry.prefix.covers(prefix) {
                return at;
            }
            at = entry.parent.map(index);
        }
        None
    }
}

impl FromIterator<PrefixMatch> for PrefixSet {
    fn from_iter<I: IntoIterator<Item = PrefixMatch>>(matches: I) -> Self {
        let mut sorted: Vec<PrefixMatch> = matches.into_iter().collect();
        sorted.sort_unstable_by_key(|one| one.prefix);
        let mut entries: Vec<Entry> = Vec::with_capacity(sorted.len());
        for one in sorted {
            // Only what can match counts: nothing inside a prefix is shorter than it.
            let lengths = Lengths::range(one.min_len.max(one.prefix.len()), one.max_len);
            if let Some(last) = entries.last_mut().filter(|last| last.prefix == one.prefix) {
                last.lengths = last.lengths.or(lengths);
                continue;
            }
            let mut parent = entries.len().checked_sub(1);
            while let Some(at) = parent.filter(|at| !entries[*at].prefix.covers(one.prefix)) {
                parent = entries[at].parent.map(index);
            }
            let around = parent.map_or(Lengths::NONE, |at| entries[at].lengths);
            let parent = parent.map(|at| u32::try_from(at).expect("a list fits into memory"));
            entries.push(Entry { prefix: one.prefix, lengths: around.or(lengths), parent });
        }
        Self { entries: entries.into() }
    }
}

const fn index(at: u32) -> usize {
    at as usize
}

/// Prefix lengths, 0 to 128.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Lengths {
    /// Bit n for length n.
    shorter: u128,
    /// Length 128.
    host: bool,
}

impl Lengths {
    const NONE: Self = Self { shorter: 0, host: false };

    const fn range(min: u8, max: u8) -> Self {
        if min > max {
            return Self::NONE;
        }
        let shorter = Self::below(max.saturating_add(1)) & !Self::below(min);
        Self { shorter, host: max >= 128 && min <= 128 }
    }

    const fn below(length: u8) -> u128 {
        match length {
            0..128 => (1 << length) - 1,
            _ => u128::MAX,
        }
    }

    const fn or(self, other: Self) -> Self {
        Self { shorter: self.shorter | other.shorter, host: self.host || other.host }
    }

    const fn has(self, length: u8) -> bool {
        match length {
            0..128 => self.shorter >> length & 1 == 1,
            _ => self.host,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;

    use super::*;

    fn one(text: &str, min_len: u8, max_len: u8) -> PrefixMatch {
        PrefixMatch { prefix: text.parse().unwrap(), min_len, max_len }
    }

    fn prefix(text: &str) -> Prefix {
        text.parse().unwrap()
    }

    #[test]
    fn a_prefix_deep_in_a_list_is_found_through_those_around_it() {
        let set: PrefixSet = [
            one("10.0.0.0/8", 24, 24),
            one("10.1.0.0/16", 16, 16),
            one("10.1.1.0/24", 32, 32),
            one("10.1.2.0/24", 25, 25),
            one("::/0", 0, 128),
        ]
        .into_iter()
        .collect();
        for inside in ["10.1.1.0/24", "10.1.0.0/16", "10.1.1.7/32", "10.9.9.0/24", "fd00::1/128"] {
            assert!(set.contains(prefix(inside)), "{inside}");
        }
        for outside in ["10.1.2.7/32", "10.0.0.0/8", "10.1.1.0/25", "11.0.0.0/24", "0.0.0.0/0"] {
            assert!(!set.contains(prefix(outside)), "{outside}");
        }
        assert!(set.covers("10.200.0.1".parse().unwrap()));
        assert!(!set.covers("11.0.0.1".parse().unwrap()));
        assert!(!PrefixSet::default().contains(prefix("0.0.0.0/0")));
    }

    #[test]
    fn lengths_hold_from_zero_to_the_longest() {
        for (min, max) in [(0, 0), (0, 32), (1, 127), (0, 128), (128, 128), (32, 32), (5, 4)] {
            for length in 0..=128 {
                let expected = (min..=max).contains(&length);
                assert_eq!(Lengths::range(min, max).has(length), expected, "{min}-{max} {length}");
            }
        }
    }

    /// Few addresses, so that prefixes nest often.
    fn prefixes() -> impl Strategy<Value = Prefix> {
        let v4 = (0..4_u32, 0..4_u32, 0..=32_u8)
            .prop_map(|(high, low, len)| (IpAddr::V4(Ipv4Addr::from_bits(high << 30 | low)), len));
        let v6 = (0..4_u128, 0..4_u128, 0..=128_u8)
            .prop_map(|(high, low, len)| (IpAddr::V6(Ipv6Addr::from_bits(high << 126 | low)), len));
        prop_oneof![v4, v6].prop_map(|(addr, len)| Prefix::new(addr, len).unwrap())
    }

    proptest! {
        #[test]
        fn a_set_contains_what_one_of_its_entries_matches(
            list in prop::collection::vec((prefixes(), 0..=130_u8, 0..=130_u8), 0..40),
            asked in prop::collection::vec(prefixes(), 40),
        ) {
            let list: Vec<_> = list
                .into_iter()
                .map(|(prefix, min_len, max_len)| PrefixMatch { prefix, min_len, max_len })
                .collect();
            let set: PrefixSet = list.iter().copied().collect();
            for prefix in asked {
                let expected = list.iter().any(|one| one.matches(prefix));
                prop_assert_eq!(set.contains(prefix), expected, "{}", prefix);
                let expected = list.iter().any(|one| one.prefix.contains(prefix.addr()));
                prop_assert_eq!(set.covers(prefix.addr()), expected, "{}", prefix.addr());
            }
        }
    }
}
