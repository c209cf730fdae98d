//! Conditions: does a path match a statement? Changes nothing.

use super::{Condition, PrefixMatch, Source};
use crate::{attrs::Attrs, prefix::Prefix};

impl Condition {
    /// Does it hold for this path?
    pub(super) fn holds(&self, prefix: Prefix, attrs: &Attrs, source: Source) -> bool {
        match self {
            Self::Prefix(list) => list.iter().any(|range| range.matches(prefix)),
            Self::Community(list) => list.iter().any(|community| attrs.has(*community)),
            Self::LargeCommunity(list) => {
                list.iter().any(|large| attrs.large_communities.binary_search(large).is_ok())
            }
            Self::AsPathContains(list) => attrs.as_path.asns().any(|asn| list.contains(&asn)),
            Self::OriginatedBy(list) => {
                attrs.as_path.origin().is_some_and(|asn| list.contains(&asn))
            }
            Self::AsPathLength { min, max } => (*min..=*max).contains(&attrs.as_path.hops()),
            Self::Origin(origin) => attrs.origin == *origin,
            Self::Source(wanted) => source == *wanted,
        }
    }
}

impl PrefixMatch {
    /// Does the prefix lie inside, with a length in the range?
    #[must_use]
    pub fn matches(&self, prefix: Prefix) -> bool {
        self.prefix.covers(prefix) && (self.min_len..=self.max_len).contains(&prefix.len())
    }
}
