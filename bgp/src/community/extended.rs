//! Extended communities (RFC 4360), with text for those that have a use here: route target,
//! site of origin (RFC 4360, RFC 5668) and link bandwidth (draft-ietf-idr-link-bandwidth).

use std::{fmt, net::Ipv4Addr, str::FromStr};

use crate::aspath::Asn;

/// An extended community, kept as its eight octets (RFC 4360 §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExtCommunity(pub [u8; 8]);

/// Types, of which the second highest bit says "not to be passed to other ASes".
const TWO_OCTET_AS: u8 = 0x00;
const IPV4: u8 = 0x01;
const FOUR_OCTET_AS: u8 = 0x02;
const NON_TRANSITIVE: u8 = 0x40;
/// Subtypes.
const ROUTE_TARGET: u8 = 0x02;
const SITE_OF_ORIGIN: u8 = 0x03;
const LINK_BANDWIDTH: u8 = 0x04;

impl ExtCommunity {
    /// A link bandwidth that crosses AS borders, in the name of this AS. A number that does not
    /// fit into two octets is AS_TRANS there.
    #[must_use]
    pub fn link_bandwidth(asn: Asn, rate: Rate) -> Self {
        let [a, b] = asn.as_two_octets().unwrap_or(TWO_OCTET_TRANS).to_be_bytes();
        let [c, d, e, f] = rate.0.to_be_bytes();
        Self([TWO_OCTET_AS, LINK_BANDWIDTH, a, b, c, d, e, f])
    }

    /// The bandwidth that it tells, if it is a link bandwidth that makes sense.
    #[must_use]
    pub fn rate(self) -> Option<Rate> {
        let [_, _, _, _, rate @ ..] = self.0;
        let rate = Rate(u32::from_be_bytes(rate));
        (self.is_link_bandwidth() && rate.makes_sense()).then_some(rate)
    }

    /// True if it is a link bandwidth, whether or not it may cross AS borders.
    #[must_use]
    pub const fn is_link_bandwidth(self) -> bool {
        let [kind, subtype, ..] = self.0;
        kind & !NON_TRANSITIVE == TWO_OCTET_AS && subtype == LINK_BANDWIDTH
    }

    /// True if it may cross AS borders: the T bit is clear (RFC 4360 §2).
    #[must_use]
    pub const fn is_transitive(self) -> bool {
        self.0[0] & NON_TRANSITIVE == 0
    }

    /// The text with its name, if it has one that is read back as the same.
    fn named(self) -> Option<String> {
        let [kind, subtype, a, b, c, d, e, f] = self.0;
        let name = match (kind, subtype) {
            (TWO_OCTET_AS | IPV4 | FOUR_OCTET_AS, ROUTE_TARGET) => "rt",
            (TWO_OCTET_AS | IPV4 | FOUR_OCTET_AS, SITE_OF_ORIGIN) => "soo",
            (TWO_OCTET_AS, LINK_BANDWIDTH) => "lb",
            (NON_TRANSITIVE, LINK_BANDWIDTH) => "lb-local",
            _ => return None,
        };
        if subtype == LINK_BANDWIDTH {
            return Some(format!("{name}:{}:{}", u16::from_be_bytes([a, b]), self.rate()?));
        }
        let short = u16::from_be_bytes([e, f]);
        Some(match kind {
            TWO_OCTET_AS => {
                let number = u32::from_be_bytes([c, d, e, f]);
                format!("{name}:{}:{number}", u16::from_be_bytes([a, b]))
            }
            IPV4 => format!("{name}:{}:{short}", Ipv4Addr::new(a, b, c, d)),
            _ => {
                let asn = u32::from_be_bytes([a, b, c, d]);
                let long = if asn > u32::from(u16::MAX) { "" } else { "L" };
                format!("{name}:{asn}{long}:{short}")
            }
        })
    }
}

/// With a name, as in `rt:65000:100` or `lb:65000:25Gbit`, or as 16 hexadecimal digits. A small
/// AS number that is kept in four octets has an `L` after it; a bandwidth that stays inside its AS
/// is `lb-local`.
impl fmt::Display for ExtCommunity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.named() {
            Some(text) => f.write_str(&text),
            None => write!(f, "0x{:016x}", u64::from_be_bytes(self.0)),
        }
    }
}

impl FromStr for ExtCommunity {
    type Err = BadExtCommunity;

    fn from_str(text: &str) -> Result<Self, BadExtCommunity> {
        let bad = || BadExtCommunity::new(text);
        if let Some(digits) = text.strip_prefix("0x") {
            let fits = digits.len() == 16 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
            let octets = u64::from_str_radix(digits, 16).ok().filter(|_| fits);
            return octets.map(|octets| Self(octets.to_be_bytes())).ok_or_else(bad);
        }
        let (name, value) = text.split_once(':').ok_or_else(bad)?;
        let (admin, number) = value.rsplit_once(':').ok_or_else(bad)?;
        let subtype = match name {
            "rt" => ROUTE_TARGET,
            "soo" => SITE_OF_ORIGIN,
            "lb" | "lb-local" => {
                let asn: u16 = admin.parse().map_err(|_| bad())?;
                let rate = number.parse().map_err(|_| bad())?;
                let mut community = Self::link_bandwidth(Asn(asn.into()), rate);
                if name == "lb-local" {
                    community.0[0] |= NON_TRANSITIVE;
                }
                return Ok(community);
            }
            _ => return Err(bad()),
        };
        specific(subtype, admin, number).ok_or_else(bad)
    }
}

/// An AS-specific or address-specific community of this subtype.
fn specific(subtype: u8, admin: &str, number: &str) -> Option<ExtCommunity> {
    if let Ok(address) = admin.parse::<Ipv4Addr>() {
        let [a, b, c, d] = address.octets();
        let [e, f] = number.parse::<u16>().ok()?.to_be_bytes();
        return Some(ExtCommunity([IPV4, subtype, a, b, c, d, e, f]));
    }
    let (asn, long) = match admin.strip_suffix('L') {
        Some(asn) => (asn, true),
        None => (admin, false),
    };
    let asn: Asn = asn.parse().ok()?;
    match asn.as_two_octets().filter(|_| !long) {
        Some(asn) => {
            let [a, b] = asn.to_be_bytes();
            let [c, d, e, f] = number.parse::<u32>().ok()?.to_be_bytes();
            Some(ExtCommunity([TWO_OCTET_AS, subtype, a, b, c, d, e, f]))
        }
        None => {
            let [a, b, c, d] = asn.0.to_be_bytes();
            let [e, f] = number.parse::<u16>().ok()?.to_be_bytes();
            Some(ExtCommunity([FOUR_OCTET_AS, subtype, a, b, c, d, e, f]))
        }
    }
}

/// Text that is no extended community.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not an extended community; write rt:65000:100, soo:10.0.0.1:7, lb:65000:25Gbit or \
     0x and 16 hexadecimal digits"
)]
pub struct BadExtCommunity(String);

impl BadExtCommunity {
    /// For this text.
    pub(crate) fn new(text: &str) -> Self {
        Self(text.to_owned())
    }
}

/// A bandwidth: IEEE single precision, octets a second, as link bandwidth communities hold it.
/// Finite, not negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rate(u32);

impl Rate {
    /// In bits a second.
    #[must_use]
    pub fn bits_per_second(self) -> f64 {
        f64::from(f32::from_bits(self.0)) * 8.0
    }

    /// All of these together; the largest that can be told if they are more.
    #[must_use]
    pub fn sum(rates: impl IntoIterator<Item = Self>) -> Self {
        let octets: f64 = rates.into_iter().map(|rate| f64::from(f32::from_bits(rate.0))).sum();
        #[expect(clippy::cast_possible_truncation, reason = "the wire has single precision")]
        let octets = octets.min(f64::from(f32::MAX)) as f32;
        Self(octets.to_bits())
    }

    fn makes_sense(self) -> bool {
        let octets = f32::from_bits(self.0);
        octets.is_finite() && octets.is_sign_positive()
    }
}

const UNITS: [(&str, f64); 5] =
    [("Tbit", 1e12), ("Gbit", 1e9), ("Mbit", 1e6), ("kbit", 1e3), ("bit", 1.0)];

/// As in `25Gbit`, with as many digits as are needed to read the same back.
impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = self.bits_per_second();
        let fitting = UNITS.iter().find(|(_, unit)| bits >= *unit);
        let (name, unit) = fitting.unwrap_or(&("bit", 1.0));
        let number = bits / unit;
        // 25 Gbit are 24.999999488 in single precision, which nobody wants to read.
        #[expect(clippy::cast_possible_truncation, reason = "taken only if nothing is lost")]
        let short = format!("{}{name}", number as f32);
        if short.parse() == Ok(*self) { f.write_str(&short) } else { write!(f, "{number}{name}") }
    }
}

impl FromStr for Rate {
    type Err = BadRate;

    fn from_str(text: &str) -> Result<Self, BadRate> {
        let bad = || BadRate(text.to_owned());
        let (number, unit) = UNITS
            .iter()
            .find_map(|(name, unit)| Some((text.strip_suffix(name)?, unit)))
            .ok_or_else(bad)?;
        // Digits and a point only: no sign, no exponent, no "inf".
        if !number.starts_with(|first: char| first.is_ascii_digit())
            || !number.chars().all(|c| c.is_ascii_digit() || c == '.')
        {
            return Err(bad());
        }
        let number: f64 = number.parse().map_err(|_| bad())?;
        #[expect(clippy::cast_possible_truncation, reason = "the wire has single precision")]
        let octets = (number * unit / 8.0) as f32;
        let rate = Self(octets.to_bits());
        if rate.makes_sense() { Ok(rate) } else { Err(bad()) }
    }
}

/// Text that is no bandwidth.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a bandwidth; write it as in 25Gbit, 400Mbit or 2.5Gbit")]
pub struct BadRate(String);

/// AS_TRANS (RFC 6793 §9).
const TWO_OCTET_TRANS: u16 = 23456;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_read_and_shown() {
        let cases = [
            ("rt:65000:100", [0, 2, 0xFD, 0xE8, 0, 0, 0, 100]),
            ("rt:10.0.0.1:7", [1, 2, 10, 0, 0, 1, 0, 7]),
            ("rt:4200000000:100", [2, 2, 0xFA, 0x56, 0xEA, 0, 0, 100]),
            ("soo:65000:70000", [0, 3, 0xFD, 0xE8, 0, 1, 0x11, 0x70]),
            ("soo:65000L:7", [2, 3, 0, 0, 0xFD, 0xE8, 0, 7]),
            // 12.5 MB a second.
            ("lb:65000:100Mbit", [0, 4, 0xFD, 0xE8, 0x4B, 0x3E, 0xBC, 0x20]),
            ("lb-local:65000:100Mbit", [0x40, 4, 0xFD, 0xE8, 0x4B, 0x3E, 0xBC, 0x20]),
            ("0x0004fde8ff800000", [0, 4, 0xFD, 0xE8, 0xFF, 0x80, 0, 0]),
        ];
        for (text, octets) in cases {
            assert_eq!(text.parse(), Ok(ExtCommunity(octets)), "{text}");
            assert_eq!(ExtCommunity(octets).to_string(), text);
        }
        assert_eq!("rt:64086.59904:1".parse(), "rt:4200000000:1".parse::<ExtCommunity>());
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for text in [
            "rt:65000",
            "rt:4200000000:65536",
            "rt:10.0.0.1:65536",
            "xx:1:1",
            "0x12",
            "0x+123456789abcdef",
            "lb:65536:1Gbit",
            "lb:1:-1Gbit",
            "lb:1:infbit",
            "lb:1:1e3bit",
            "lb:1:1",
            "rt:1:*",
        ] {
            assert!(text.parse::<ExtCommunity>().is_err(), "{text}");
        }
    }

    #[test]
    fn link_bandwidths_are_known_in_both_forms_and_read_only_if_they_make_sense() {
        let rate: Rate = "10Gbit".parse().unwrap();
        assert!((rate.bits_per_second() - 1e10).abs() < 1.0);
        let ours = ExtCommunity::link_bandwidth(Asn(4_200_000_000), rate);
        assert_eq!(ours.to_string(), "lb:23456:10Gbit");
        assert_eq!(ours.rate(), Some(rate));
        let mut local = ours;
        local.0[0] = NON_TRANSITIVE;
        assert_eq!((local.rate(), local.is_transitive()), (Some(rate), false));
        let mut nonsense = ours;
        nonsense.0[4..].copy_from_slice(&f32::NAN.to_be_bytes());
        assert!(nonsense.is_link_bandwidth());
        assert_eq!(nonsense.rate(), None);
    }

    proptest! {
        #[test]
        fn every_community_reads_back_as_it_is_shown(
            kind in prop::sample::select(&[0_u8, 1, 2, 3, 0x40, 0x41]), subtype in 1..6_u8, rest in any::<[u8; 6]>(),
        ) {
            let [a, b, c, d, e, f] = rest;
            let community = ExtCommunity([kind, subtype, a, b, c, d, e, f]);
            prop_assert_eq!(community.to_string().parse(), Ok(community));
        }
    }
}
