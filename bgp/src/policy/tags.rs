//! Sets of communities of one kind, for matching and removing: exact ones and patterns.

use std::str::FromStr;

use crate::community::{BadCommunity, BadExtCommunity, Community, ExtCommunity, LargeCommunity};

/// A community of any kind, as a number whose bits can be compared under a mask.
pub trait Tag: Copy + Ord {
    /// All its bits, the last octet lowest.
    fn bits(self) -> u128;
}

impl Tag for Community {
    fn bits(self) -> u128 {
        self.0.into()
    }
}

impl Tag for ExtCommunity {
    fn bits(self) -> u128 {
        u64::from_be_bytes(self.0).into()
    }
}

impl Tag for LargeCommunity {
    fn bits(self) -> u128 {
        u128::from(self.global) << 64 | u128::from(self.local1) << 32 | u128::from(self.local2)
    }
}

/// One community, or all that are alike in some bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TagMatch<T> {
    /// Exactly this one.
    Exact(T),
    /// All that have these bits where the mask has ones.
    Masked {
        /// Bits that count.
        mask: u128,
        /// What they must be; no others are set.
        value: u128,
    },
}

impl<T: Tag> TagMatch<T> {
    /// Those that are like `tag` where the mask has ones.
    pub fn masked(tag: T, mask: u128) -> Self {
        Self::Masked { mask, value: tag.bits() & mask }
    }

    /// Is it meant?
    pub fn matches(&self, tag: T) -> bool {
        match self {
            Self::Exact(exact) => *exact == tag,
            Self::Masked { mask, value } => tag.bits() & mask == *value,
        }
    }
}

/// Several of them. Two sets are equal if they were written the same, order and repeats aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagSet<T> {
    exact: Box<[T]>,
    masked: Box<[TagMatch<T>]>,
}

impl<T: Tag> TagSet<T> {
    /// Does one of them match?
    pub fn contains(&self, tag: T) -> bool {
        self.exact.binary_search(&tag).is_ok() || self.masked.iter().any(|one| one.matches(tag))
    }

    /// Is one of these communities in the set?
    pub fn has_any(&self, tags: &[T]) -> bool {
        tags.iter().any(|tag| self.contains(*tag))
    }

    /// Is everything in the set among these communities? `tags` are sorted; a pattern is met by
    /// any that it matches.
    pub fn has_all(&self, tags: &[T]) -> bool {
        self.exact.iter().all(|tag| tags.binary_search(tag).is_ok())
            && self.masked.iter().all(|one| tags.iter().any(|tag| one.matches(*tag)))
    }
}

impl<T: Tag> FromIterator<TagMatch<T>> for TagSet<T> {
    fn from_iter<I: IntoIterator<Item = TagMatch<T>>>(matches: I) -> Self {
        let (mut exact, mut masked) = (Vec::new(), Vec::new());
        for one in matches {
            match one {
                TagMatch::Exact(tag) => exact.push(tag),
                pattern @ TagMatch::Masked { .. } => masked.push(pattern),
            }
        }
        exact.sort_unstable();
        exact.dedup();
        masked.sort_unstable();
        masked.dedup();
        Self { exact: exact.into(), masked: masked.into() }
    }
}

/// A community, or one with `*` for a half: `65000:*`, `*:100`.
impl FromStr for TagMatch<Community> {
    type Err = BadCommunity;

    fn from_str(text: &str) -> Result<Self, BadCommunity> {
        let Some((zeros, mask)) = unstarred::<2>(text, 0xFFFF) else {
            return text.parse().map(Self::Exact);
        };
        let community = zeros.parse().map_err(|_| BadCommunity::new(text))?;
        Ok(Self::masked(community, mask[0] << 16 | mask[1]))
    }
}

/// A community, or one with `*` for some of its numbers: `4200000011:1:*`.
impl FromStr for TagMatch<LargeCommunity> {
    type Err = BadCommunity;

    fn from_str(text: &str) -> Result<Self, BadCommunity> {
        let Some((zeros, mask)) = unstarred::<3>(text, 0xFFFF_FFFF) else {
            return text.parse().map(Self::Exact);
        };
        let community = zeros.parse().map_err(|_| BadCommunity::new(text))?;
        Ok(Self::masked(community, mask[0] << 64 | mask[1] << 32 | mask[2]))
    }
}

/// The text with `0` in place of each `*`, and for each of its parts the mask: `full`, or zero
/// where there was a star. `None` without a star, or with another number of parts.
fn unstarred<const N: usize>(text: &str, full: u128) -> Option<(String, [u128; N])> {
    let parts: [&str; N] = text.split(':').collect::<Vec<_>>().try_into().ok()?;
    if !parts.contains(&"*") {
        return None;
    }
    let zeros = parts.map(|part| if part == "*" { "0" } else { part });
    Some((zeros.join(":"), parts.map(|part| if part == "*" { 0 } else { full })))
}

/// A community, `rt:*` for all of a name, or `rt:65000:*` for all of an administrator.
impl FromStr for TagMatch<ExtCommunity> {
    type Err = BadExtCommunity;

    fn from_str(text: &str) -> Result<Self, BadExtCommunity> {
        let Some(begin) = text.strip_suffix(":*") else { return text.parse().map(Self::Exact) };
        let bad = |_| BadExtCommunity::new(text);
        let (example, mask) = match begin {
            // AS numbers of either size and addresses: types 0 to 2.
            "rt" | "soo" => (format!("{begin}:0:0"), 0xFCFF << 48),
            "lb" => ("lb:0:0bit".to_owned(), 0xBFFF << 48),
            link if link.starts_with("lb:") => (format!("{link}:0bit"), 0xBFFF_FFFF << 32),
            _ => (format!("{begin}:0"), number_mask(&format!("{begin}:0").parse().map_err(bad)?)),
        };
        Ok(Self::masked(example.parse().map_err(bad)?, mask))
    }
}

/// All of a community but its number, which is longer after a short AS number (RFC 4360 §3.1).
const fn number_mask(ExtCommunity([kind, ..]): &ExtCommunity) -> u128 {
    match kind {
        0 => 0xFFFF_FFFF << 32,
        _ => 0xFFFF_FFFF_FFFF << 16,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set<T: Tag>(texts: &[&str]) -> TagSet<T>
    where
        TagMatch<T>: FromStr<Err: std::fmt::Debug>,
    {
        texts.iter().map(|text| text.parse::<TagMatch<T>>().unwrap()).collect()
    }

    fn tags<T: Ord + FromStr<Err: std::fmt::Debug>>(texts: &[&str]) -> Vec<T> {
        let mut tags: Vec<T> = texts.iter().map(|text| text.parse().unwrap()).collect();
        tags.sort_unstable();
        tags
    }

    #[test]
    fn a_star_stands_for_any_number_in_its_place() {
        let cases: [(&str, &[&str], &[&str]); 3] = [
            ("65000:*", &["65000:0", "65000:65535"], &["65001:0", "no-export"]),
            ("*:100", &["0:100", "65000:100"], &["100:0", "65000:1000"]),
            ("*:*", &["0:0", "no-export"], &[]),
        ];
        for (pattern, inside, outside) in cases {
            let set = set::<Community>(&[pattern]);
            assert!(tags(inside).into_iter().all(|tag| set.contains(tag)), "{pattern}");
            assert!(!tags(outside).into_iter().any(|tag| set.contains(tag)), "{pattern}");
        }
        let set = set::<LargeCommunity>(&["4200000011:*:7"]);
        assert!(tags(&["4200000011:1:7"]).into_iter().all(|tag| set.contains(tag)));
        assert!(!tags(&["4200000011:1:8", "1:1:7"]).into_iter().any(|tag| set.contains(tag)));
    }

    #[test]
    fn extended_communities_match_by_name_and_administrator() {
        let cases: [(&str, &[&str], &[&str]); 5] = [
            ("rt:*", &["rt:1:2", "rt:10.0.0.1:3", "rt:4200000011:4"], &["soo:1:2", "lb:1:1Gbit"]),
            ("rt:65000:*", &["rt:65000:0", "rt:65000:70000"], &["rt:65001:0", "rt:65000L:0"]),
            ("rt:10.0.0.1:*", &["rt:10.0.0.1:9"], &["rt:10.0.0.2:9"]),
            ("lb:*", &["lb:1:1Gbit", "0x40040001000000ff"], &["rt:1:4"]),
            ("lb:65000:*", &["lb:65000:1Gbit", "lb:65000:2Mbit"], &["lb:65001:1Gbit"]),
        ];
        for (pattern, inside, outside) in cases {
            let set = set::<ExtCommunity>(&[pattern]);
            for (texts, expected) in [(inside, true), (outside, false)] {
                for tag in tags(texts) {
                    assert_eq!(set.contains(tag), expected, "{pattern} {tag}");
                }
            }
        }
    }

    #[test]
    fn other_stars_are_refused() {
        for text in ["*", "65000*:1", "65000:1*", "*:*:*", "no-export:*"] {
            assert!(text.parse::<TagMatch<Community>>().is_err(), "{text}");
        }
        assert!("1:*".parse::<TagMatch<LargeCommunity>>().is_err());
        for text in ["*", "*:1:1", "rt:1:*:*", "xx:*", "lb:x:*"] {
            assert!(text.parse::<TagMatch<ExtCommunity>>().is_err(), "{text}");
        }
    }

    #[test]
    fn any_needs_one_and_all_needs_each() {
        let wanted = set::<Community>(&["1:1", "2:*"]);
        let has = |texts: &[&str]| (wanted.has_any(&tags(texts)), wanted.has_all(&tags(texts)));
        assert_eq!(has(&[]), (false, false));
        assert_eq!(has(&["1:1"]), (true, false));
        assert_eq!(has(&["2:7"]), (true, false));
        assert_eq!(has(&["2:7", "1:1", "3:3"]), (true, true));
        let nothing = set::<Community>(&[]);
        assert!(!nothing.has_any(&tags(&["1:1"])));
        assert!(nothing.has_all(&tags(&["1:1"])));
    }
}
