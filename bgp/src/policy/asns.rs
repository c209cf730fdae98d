//! Sets of AS numbers, single ones and ranges.

use crate::aspath::Asn;

/// AS numbers, looked up by binary search. Two sets are equal if they hold the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AsnSet {
    /// First and last of each range; in order, apart from each other.
    ranges: Box<[(Asn, Asn)]>,
}

impl AsnSet {
    /// Is it in?
    #[must_use]
    pub fn contains(&self, asn: Asn) -> bool {
        let after = self.ranges.partition_point(|(first, _)| *first <= asn);
        after.checked_sub(1).is_some_and(|at| asn <= self.ranges[at].1)
    }
}

impl FromIterator<Asn> for AsnSet {
    fn from_iter<I: IntoIterator<Item = Asn>>(asns: I) -> Self {
        asns.into_iter().map(|asn| (asn, asn)).collect()
    }
}

/// From ranges, each with its first and last number. One that ends before it begins is empty.
impl FromIterator<(Asn, Asn)> for AsnSet {
    fn from_iter<I: IntoIterator<Item = (Asn, Asn)>>(ranges: I) -> Self {
        let mut sorted: Vec<_> = ranges.into_iter().filter(|(first, last)| first <= last).collect();
        sorted.sort_unstable();
        let mut joined: Vec<(Asn, Asn)> = Vec::with_capacity(sorted.len());
        for (first, last) in sorted {
            match joined.last_mut() {
                Some(before) if first.0 <= before.1.0.saturating_add(1) => {
                    before.1 = before.1.max(last);
                }
                Some(_) | None => joined.push((first, last)),
            }
        }
        Self { ranges: joined.into() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_set_holds_what_is_in_one_of_its_ranges(
            ranges in prop::collection::vec((0..40_u32, 0..40_u32), 0..8),
            end in any::<bool>(),
        ) {
            let high = |n: u32| Asn(if end { u32::MAX - 40 + n } else { n });
            let ranges: Vec<_> = ranges.into_iter().map(|(a, b)| (high(a), high(b))).collect();
            let set: AsnSet = ranges.iter().copied().collect();
            for asn in (0..=40).map(high) {
                let expected = ranges.iter().any(|(first, last)| *first <= asn && asn <= *last);
                prop_assert_eq!(set.contains(asn), expected, "{}", asn);
            }
        }
    }

    #[test]
    fn equal_sets_are_equal_however_they_were_written() {
        let one: AsnSet = [(Asn(3), Asn(5)), (Asn(1), Asn(2))].into_iter().collect();
        let other: AsnSet = [1, 2, 3, 4, 5].map(Asn).into_iter().collect();
        assert_eq!(one, other);
    }
}
