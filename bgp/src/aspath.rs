//! AS numbers and AS paths.

use std::{fmt, num::ParseIntError, str::FromStr};

/// A 4-octet AS number (RFC 6793). Zero is never a valid AS of a speaker (RFC 7607); it can
/// stand here only inside a received path, which is then refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Asn(pub u32);

impl Asn {
    /// AS_TRANS: stands in 2-octet fields for an AS that does not fit (RFC 6793 §9).
    pub const TRANS: Self = Self(23456);

    /// The number as two octets if it fits, else `None`.
    #[must_use]
    pub fn as_two_octets(self) -> Option<u16> {
        u16::try_from(self.0).ok()
    }

    /// True for the private ranges 64512–65534 and 4200000000–4294967294 (RFC 6996 §5).
    #[must_use]
    pub const fn is_private(self) -> bool {
        matches!(self.0, 64_512..=65_534 | 4_200_000_000..=4_294_967_294)
    }
}

impl fmt::Display for Asn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Plain and dotted notation, `4200000001` and `64086.59905` (RFC 5396).
impl FromStr for Asn {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, ParseIntError> {
        match text.split_once('.') {
            Some((high, low)) => {
                Ok(Self(u32::from(high.parse::<u16>()?) << 16 | u32::from(low.parse::<u16>()?)))
            }
            None => text.parse().map(Self),
        }
    }
}

/// The kind of a path segment (RFC 4271 §4.3, RFC 5065 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SegmentKind {
    /// AS_SET, code 1: no order. Not accepted from peers (RFC 9774), kept only to say so.
    Set,
    /// AS_SEQUENCE, code 2.
    Sequence,
    /// AS_CONFED_SEQUENCE, code 3.
    ConfedSequence,
    /// AS_CONFED_SET, code 4.
    ConfedSet,
}

/// One segment of a path, never empty. The wire holds at most 255 numbers in a segment: longer
/// sequences are split when written, and adjacent ones joined when read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Segment {
    /// Kind.
    pub kind: SegmentKind,
    /// Numbers, nearest first.
    pub asns: Vec<Asn>,
}

/// An AS path: nearest AS first.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AsPath {
    /// Segments, nearest first.
    pub segments: Vec<Segment>,
}

impl AsPath {
    /// The path of a locally originated route.
    #[must_use]
    pub const fn empty() -> Self {
        Self { segments: Vec::new() }
    }

    /// A path of one sequence.
    #[must_use]
    pub fn sequence(asns: impl IntoIterator<Item = u32>) -> Self {
        let asns: Vec<_> = asns.into_iter().map(Asn).collect();
        if asns.is_empty() {
            return Self::empty();
        }
        Self { segments: vec![Segment { kind: SegmentKind::Sequence, asns }] }
    }

    /// Length for comparison: a set counts one, confederation segments nothing
    /// (RFC 4271 §9.1.2.2 a, RFC 5065 §5.3).
    #[must_use]
    pub fn hops(&self) -> usize {
        self.segments
            .iter()
            .map(|segment| match segment.kind {
                SegmentKind::Sequence => segment.asns.len(),
                SegmentKind::Set => 1,
                SegmentKind::ConfedSequence | SegmentKind::ConfedSet => 0,
            })
            .sum()
    }

    /// The neighbouring AS: the first of the path if it begins with a sequence.
    #[must_use]
    pub fn first(&self) -> Option<Asn> {
        self.segments
            .iter()
            .find(|segment| matches!(segment.kind, SegmentKind::Sequence | SegmentKind::Set))
            .filter(|segment| segment.kind == SegmentKind::Sequence)
            .and_then(|segment| segment.asns.first().copied())
    }

    /// The AS that originated the route, if the path ends with a sequence.
    #[must_use]
    pub fn origin(&self) -> Option<Asn> {
        self.segments
            .last()
            .filter(|segment| segment.kind == SegmentKind::Sequence)
            .and_then(|segment| segment.asns.last().copied())
    }

    /// How often `asn` stands in the path.
    #[must_use]
    pub fn count(&self, asn: Asn) -> usize {
        self.asns().filter(|other| *other == asn).count()
    }

    /// Every AS number, nearest first, segment borders ignored.
    pub fn asns(&self) -> impl Iterator<Item = Asn> {
        self.segments.iter().flat_map(|segment| segment.asns.iter().copied())
    }

    /// The same path with `asn` put in front `times` times (RFC 4271 §5.1.2).
    #[must_use]
    pub fn prepended(&self, asn: Asn, times: usize) -> Self {
        if times == 0 {
            return self.clone();
        }
        let added = std::iter::repeat_n(asn, times);
        let (first, rest) = match self.segments.split_first() {
            Some((first, rest)) if first.kind == SegmentKind::Sequence => (&first.asns[..], rest),
            Some(_) | None => (&[][..], &self.segments[..]),
        };
        // Kept for long: no room to spare.
        let mut asns = Vec::with_capacity(times + first.len());
        asns.extend(added.chain(first.iter().copied()));
        let mut path = Self { segments: Vec::with_capacity(1 + rest.len()) };
        path.segments.push(Segment { kind: SegmentKind::Sequence, asns });
        path.segments.extend_from_slice(rest);
        path
    }
}

/// As routers print it: numbers with spaces, sets in braces, confederations in parentheses.
impl fmt::Display for AsPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, segment) in self.segments.iter().enumerate() {
            let (open, separator, close) = match segment.kind {
                SegmentKind::Sequence => ("", " ", ""),
                SegmentKind::Set => ("{", ",", "}"),
                SegmentKind::ConfedSequence => ("(", " ", ")"),
                SegmentKind::ConfedSet => ("[", ",", "]"),
            };
            let asns: Vec<_> = segment.asns.iter().map(ToString::to_string).collect();
            let space = if i == 0 { "" } else { " " };
            write!(f, "{space}{open}{}{close}", asns.join(separator))?;
        }
        Ok(())
    }
}

/// As it is printed: `65001 64086.59905 {65002,65003}`.
impl FromStr for AsPath {
    type Err = BadAsPath;

    fn from_str(text: &str) -> Result<Self, BadAsPath> {
        let bad = || BadAsPath(text.to_owned());
        let mut segments: Vec<Segment> = Vec::new();
        let mut rest = text.trim_start();
        while let Some(first) = rest.chars().next() {
            let enclosed = match first {
                '{' => Some((SegmentKind::Set, '}')),
                '(' => Some((SegmentKind::ConfedSequence, ')')),
                '[' => Some((SegmentKind::ConfedSet, ']')),
                _ => None,
            };
            let (kind, inside, after) = match enclosed {
                Some((kind, close)) => {
                    let (inside, after) = rest[1..].split_once(close).ok_or_else(bad)?;
                    (kind, inside, after)
                }
                None => {
                    let end = rest.find(['{', '(', '[']).unwrap_or(rest.len());
                    let (inside, after) = rest.split_at(end);
                    (SegmentKind::Sequence, inside, after)
                }
            };
            let numbers = inside.split([' ', ',']).filter(|number| !number.is_empty());
            let asns = numbers.map(str::parse).collect::<Result<Vec<Asn>, _>>();
            let asns = asns.ok().filter(|asns| !asns.is_empty()).ok_or_else(bad)?;
            segments.push(Segment { kind, asns });
            rest = after.trim_start();
        }
        Ok(Self { segments })
    }
}

/// Text that is no AS path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an AS path; write it as in \"65001 65002\" or \"65001 {{65002,65003}}\"")]
pub struct BadAsPath(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prepending_extends_the_first_sequence_or_starts_one() {
        let path = AsPath::sequence([65001, 65002]);
        assert_eq!(path.prepended(Asn(65000), 2).to_string(), "65000 65000 65001 65002");
        assert_eq!(AsPath::empty().prepended(Asn(1), 1).to_string(), "1");
        let set = AsPath { segments: vec![Segment { kind: SegmentKind::Set, asns: vec![Asn(7)] }] };
        assert_eq!(set.prepended(Asn(1), 1).to_string(), "1 {7}");
        assert_eq!(set.prepended(Asn(1), 0), set);
    }

    #[test]
    fn rfc4271_9_1_2_2_a_set_counts_as_one_hop() {
        let path = AsPath {
            segments: vec![
                Segment { kind: SegmentKind::ConfedSequence, asns: vec![Asn(9)] },
                Segment { kind: SegmentKind::Sequence, asns: vec![Asn(1), Asn(2)] },
                Segment { kind: SegmentKind::Set, asns: vec![Asn(3), Asn(4)] },
            ],
        };
        assert_eq!(path.hops(), 3);
        assert_eq!(path.first(), Some(Asn(1)));
        assert_eq!(path.origin(), None);
    }

    #[test]
    fn dotted_numbers_are_read() {
        assert_eq!("1.10".parse::<Asn>(), Ok(Asn(65546)));
        assert!("65536.1".parse::<Asn>().is_err());
        assert!("-1".parse::<Asn>().is_err());
    }

    #[test]
    fn paths_are_read_as_they_are_shown() {
        for text in ["", "65001", "65001 65002", "1 {2,3}", "{2} 4", "(7 8) 1 [5,6] 9"] {
            assert_eq!(text.parse::<AsPath>().unwrap().to_string(), text);
        }
        assert_eq!(" 1.1  2 ".parse(), Ok(AsPath::sequence([65537, 2])));
        for text in ["x", "1 {2", "1 2}", "{}", "1,x", "65536.1", "4294967296"] {
            assert!(text.parse::<AsPath>().is_err(), "{text}");
        }
    }
}
