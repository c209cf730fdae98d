//! Communities: standard (RFC 1997), extended (RFC 4360) and large (RFC 8092).

mod extended;

use std::{fmt, str::FromStr};

pub use self::extended::{BadExtCommunity, BadRate, ExtCommunity, Rate};

/// A standard community: two 16-bit halves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Community(pub u32);

impl Community {
    /// Planned shutdown: receivers use local preference 0 (RFC 8326).
    pub const GRACEFUL_SHUTDOWN: Self = Self(0xFFFF_0000);
    /// To be accepted back by its own originator; for VPN routes, and without an effect here
    /// (RFC 7611).
    pub const ACCEPT_OWN: Self = Self(0xFFFF_0001);
    /// Long-lived stale route (RFC 9494).
    pub const LLGR_STALE: Self = Self(0xFFFF_0006);
    /// Never keep as long-lived stale (RFC 9494).
    pub const NO_LLGR: Self = Self(0xFFFF_0007);
    /// Traffic to this prefix is to be discarded (RFC 7999).
    pub const BLACKHOLE: Self = Self(0xFFFF_029A);
    /// Not to be sent to eBGP peers (RFC 1997).
    pub const NO_EXPORT: Self = Self(0xFFFF_FF01);
    /// Not to be sent to any peer (RFC 1997).
    pub const NO_ADVERTISE: Self = Self(0xFFFF_FF02);
    /// Not to be sent outside the own sub-AS (RFC 1997).
    pub const NO_EXPORT_SUBCONFED: Self = Self(0xFFFF_FF03);

    /// Not to be sent to bilateral peers; for policies, without an effect by itself (RFC 3765).
    pub const NO_PEER: Self = Self(0xFFFF_FF04);

    const NAMES: [(Self, &'static str); 9] = [
        (Self::GRACEFUL_SHUTDOWN, "graceful-shutdown"),
        (Self::ACCEPT_OWN, "accept-own"),
        (Self::LLGR_STALE, "llgr-stale"),
        (Self::NO_LLGR, "no-llgr"),
        (Self::BLACKHOLE, "blackhole"),
        (Self::NO_EXPORT, "no-export"),
        (Self::NO_ADVERTISE, "no-advertise"),
        (Self::NO_EXPORT_SUBCONFED, "no-export-subconfed"),
        (Self::NO_PEER, "no-peer"),
    ];

    /// The names of well-known communities, as they are read and shown.
    pub fn well_known() -> impl Iterator<Item = &'static str> {
        Self::NAMES.iter().map(|(_, name)| *name)
    }
}

/// The well-known name, or `65000:100`.
impl fmt::Display for Community {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Self::NAMES.iter().find(|(community, _)| community == self) {
            Some((_, name)) => f.write_str(name),
            None => write!(f, "{}:{}", self.0 >> 16, self.0 & 0xFFFF),
        }
    }
}

impl FromStr for Community {
    type Err = BadCommunity;

    fn from_str(text: &str) -> Result<Self, BadCommunity> {
        if let Some((community, _)) = Self::NAMES.iter().find(|(_, name)| *name == text) {
            return Ok(*community);
        }
        let bad = || BadCommunity(text.to_owned());
        let (high, low) = text.split_once(':').ok_or_else(bad)?;
        let high: u16 = high.parse().map_err(|_| bad())?;
        let low: u16 = low.parse().map_err(|_| bad())?;
        Ok(Self(u32::from(high) << 16 | u32::from(low)))
    }
}

/// A large community: three 32-bit numbers (RFC 8092).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LargeCommunity {
    /// AS that gives the meaning.
    pub global: u32,
    /// First number of its choice.
    pub local1: u32,
    /// Second number of its choice.
    pub local2: u32,
}

impl fmt::Display for LargeCommunity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.global, self.local1, self.local2)
    }
}

impl FromStr for LargeCommunity {
    type Err = BadCommunity;

    fn from_str(text: &str) -> Result<Self, BadCommunity> {
        let bad = || BadCommunity(text.to_owned());
        let parts: Vec<u32> = text
            .split(':')
            .map(|part| part.parse().map_err(|_| bad()))
            .collect::<Result<_, _>>()?;
        let [global, local1, local2] = parts[..] else { return Err(bad()) };
        Ok(Self { global, local1, local2 })
    }
}

/// Text that is no community.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a community; write 65000:100, 4200000000:1:2 or a name such as no-export")]
pub struct BadCommunity(String);

impl BadCommunity {
    /// For this text.
    pub(crate) fn new(text: &str) -> Self {
        Self(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_read_back_as_written() {
        for text in ["65000:100", "0:0", "no-export", "graceful-shutdown", "blackhole"] {
            assert_eq!(text.parse::<Community>().unwrap().to_string(), text);
        }
        assert_eq!("65535:65281".parse(), Ok(Community::NO_EXPORT));
        let numbers = [
            ("graceful-shutdown", 65535, 0),
            ("accept-own", 65535, 1),
            ("llgr-stale", 65535, 6),
            ("no-llgr", 65535, 7),
            ("blackhole", 65535, 666),
            ("no-export", 65535, 65281),
            ("no-advertise", 65535, 65282),
            ("no-export-subconfed", 65535, 65283),
            ("no-peer", 65535, 65284),
        ];
        for (name, high, low) in numbers {
            assert_eq!(format!("{high}:{low}").parse(), name.parse::<Community>(), "{name}");
        }
        assert_eq!(numbers.len(), Community::NAMES.len());
        assert_eq!(
            "4200000000:1:2".parse::<LargeCommunity>().unwrap().to_string(),
            "4200000000:1:2"
        );
        for text in ["65536:1", "1", "1:2:3", "no-such-name", "-1:2"] {
            assert!(text.parse::<Community>().is_err(), "{text}");
        }
        assert!("1:2".parse::<LargeCommunity>().is_err());
    }
}
