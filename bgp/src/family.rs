//! Address families: which kinds of prefixes a session carries.
//!
//! Code points: IANA "Address Family Numbers" and "SAFI Values" (RFC 4760 §6).

use std::fmt;

/// One address family with its subsequent address family (RFC 4760).
///
/// Only the families that this speaker routes exist here; anything else stays a pair of
/// numbers in the capability it came in, and is never negotiated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// AFI 1, SAFI 1.
    Ipv4Unicast,
    /// AFI 2, SAFI 1.
    Ipv6Unicast,
}

impl Family {
    /// Every family, in the order in which messages and tables list them.
    pub const ALL: [Self; 2] = [Self::Ipv4Unicast, Self::Ipv6Unicast];

    /// The family with these numbers, if this speaker routes it.
    #[must_use]
    pub const fn from_codes(afi: u16, safi: u8) -> Option<Self> {
        match (afi, safi) {
            (1, 1) => Some(Self::Ipv4Unicast),
            (2, 1) => Some(Self::Ipv6Unicast),
            _ => None,
        }
    }

    /// Address family number.
    #[must_use]
    pub const fn afi(self) -> u16 {
        match self {
            Self::Ipv4Unicast => 1,
            Self::Ipv6Unicast => 2,
        }
    }

    /// Subsequent address family number.
    #[must_use]
    pub const fn safi(self) -> u8 {
        1
    }

    /// Longest prefix length of the family, in bits.
    #[must_use]
    pub const fn max_len(self) -> u8 {
        match self {
            Self::Ipv4Unicast => 32,
            Self::Ipv6Unicast => 128,
        }
    }

    const fn bit(self) -> u8 {
        match self {
            Self::Ipv4Unicast => 1,
            Self::Ipv6Unicast => 2,
        }
    }
}

/// The name used in configuration, tables, logs and metric labels.
impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ipv4Unicast => "ipv4",
            Self::Ipv6Unicast => "ipv6",
        })
    }
}

/// A set of families.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FamilySet(u8);

impl FamilySet {
    /// No family.
    pub const NONE: Self = Self(0);
    /// Every family that this speaker routes.
    pub const ALL: Self = Self(0b11);

    /// Just this one.
    #[must_use]
    pub const fn of(family: Family) -> Self {
        Self(family.bit())
    }

    /// Adds one.
    pub const fn insert(&mut self, family: Family) {
        self.0 |= family.bit();
    }

    /// Removes one.
    pub const fn remove(&mut self, family: Family) {
        self.0 &= !family.bit();
    }

    /// Is it in?
    #[must_use]
    pub const fn contains(self, family: Family) -> bool {
        self.0 & family.bit() != 0
    }

    /// Those in both.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Those in either.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Those that are not in the other.
    #[must_use]
    pub const fn difference(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// True if nothing is in.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Those in the set, in the order of [`Family::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Family> {
        Family::ALL.into_iter().filter(move |family| self.contains(*family))
    }
}

impl FromIterator<Family> for FamilySet {
    fn from_iter<I: IntoIterator<Item = Family>>(families: I) -> Self {
        let mut set = Self::NONE;
        for family in families {
            set.insert(family);
        }
        set
    }
}

/// One value for each family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PerFamily<T> {
    /// Of IPv4 unicast.
    pub ipv4: T,
    /// Of IPv6 unicast.
    pub ipv6: T,
}

impl<T> PerFamily<T> {
    /// The family's.
    #[must_use]
    pub const fn get(&self, family: Family) -> &T {
        match family {
            Family::Ipv4Unicast => &self.ipv4,
            Family::Ipv6Unicast => &self.ipv6,
        }
    }

    /// The family's, to change.
    pub const fn get_mut(&mut self, family: Family) -> &mut T {
        match family {
            Family::Ipv4Unicast => &mut self.ipv4,
            Family::Ipv6Unicast => &mut self.ipv6,
        }
    }
}
