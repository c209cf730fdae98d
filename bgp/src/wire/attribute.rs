//! Path attributes on the wire: codes, flags, and the octets of each (RFC 4271 §4.3, §5).
//!
//! In: the attribute field of an UPDATE, or [`Attrs`](crate::attrs::Attrs). Out: everything the
//! field holds with each flaw classed as RFC 7606 asks (`read`), or octets (`write`).
//!
//! A new attribute has a line in the table here, an arm in `read` and a line in `write`.

use std::fmt;

use super::octets::Reader;
use crate::attrs::PartialSet;

mod path;
pub(super) mod read;
pub(crate) mod write;

/// A path attribute's type code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttrCode(pub u8);

impl AttrCode {
    /// No attribute: the code is reserved.
    pub const NONE: Self = Self(0);
}

/// One line an attribute: constant, code, flags, name, and where it is defined.
macro_rules! attr_codes {
    ($($constant:ident = $code:literal, $flags:ident, $name:literal, $rfc:literal;)*) => {
        impl AttrCode {
            $(
                #[doc = concat!($name, " (", $rfc, ").")]
                pub const $constant: Self = Self($code);
            )*

            /// The name in its RFC, if this speaker knows it.
            #[must_use]
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($code => Some($name),)*
                    _ => None,
                }
            }

            /// The Optional and Transitive bits that a known attribute must have.
            const fn flags(self) -> Option<u8> {
                match self.0 {
                    $($code => Some($flags),)*
                    _ => None,
                }
            }
        }
    };
}

attr_codes! {
    ORIGIN = 1, WELL_KNOWN, "ORIGIN", "RFC 4271 §5.1.1";
    AS_PATH = 2, WELL_KNOWN, "AS_PATH", "RFC 4271 §5.1.2";
    NEXT_HOP = 3, WELL_KNOWN, "NEXT_HOP", "RFC 4271 §5.1.3";
    MULTI_EXIT_DISC = 4, NON_TRANSITIVE, "MULTI_EXIT_DISC", "RFC 4271 §5.1.4";
    LOCAL_PREF = 5, WELL_KNOWN, "LOCAL_PREF", "RFC 4271 §5.1.5";
    ATOMIC_AGGREGATE = 6, WELL_KNOWN, "ATOMIC_AGGREGATE", "RFC 4271 §5.1.6";
    AGGREGATOR = 7, TRANSITIVE, "AGGREGATOR", "RFC 4271 §5.1.7";
    COMMUNITIES = 8, TRANSITIVE, "COMMUNITIES", "RFC 1997";
    ORIGINATOR_ID = 9, NON_TRANSITIVE, "ORIGINATOR_ID", "RFC 4456 §8";
    CLUSTER_LIST = 10, NON_TRANSITIVE, "CLUSTER_LIST", "RFC 4456 §8";
    MP_REACH_NLRI = 14, NON_TRANSITIVE, "MP_REACH_NLRI", "RFC 4760 §3";
    MP_UNREACH_NLRI = 15, NON_TRANSITIVE, "MP_UNREACH_NLRI", "RFC 4760 §4";
    EXT_COMMUNITIES = 16, TRANSITIVE, "EXTENDED COMMUNITIES", "RFC 4360";
    AS4_PATH = 17, TRANSITIVE, "AS4_PATH", "RFC 6793 §3";
    AS4_AGGREGATOR = 18, TRANSITIVE, "AS4_AGGREGATOR", "RFC 6793 §3";
    IPV6_EXT_COMMUNITIES = 25, TRANSITIVE, "IPv6 EXTENDED COMMUNITIES", "RFC 5701";
    LARGE_COMMUNITY = 32, TRANSITIVE, "LARGE_COMMUNITY", "RFC 8092 §3";
    OTC = 35, TRANSITIVE, "OTC", "RFC 9234 §5";
}

impl AttrCode {
    /// Where the Partial bit is kept; nowhere if the attribute may not have one, if it is always
    /// set on the way out, or if the attribute goes up in another (AS4_AGGREGATOR).
    const fn partial(self) -> PartialSet {
        match self {
            Self::AGGREGATOR => PartialSet::AGGREGATOR,
            Self::COMMUNITIES => PartialSet::COMMUNITIES,
            Self::EXT_COMMUNITIES => PartialSet::EXT_COMMUNITIES,
            Self::LARGE_COMMUNITY => PartialSet::LARGE_COMMUNITIES,
            Self::OTC => PartialSet::OTC,
            Self(_) => PartialSet::NONE,
        }
    }
}

impl fmt::Display for AttrCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "attribute {}", self.0),
        }
    }
}

/// One attribute as it stands in the field.
struct RawAttr<'m> {
    flags: u8,
    code: AttrCode,
    value: &'m [u8],
    /// Header and value.
    octets: &'m [u8],
}

/// The field ends inside an attribute (RFC 7606 §4). Its code is 0 if even that is missing.
struct Overrun<'m> {
    code: AttrCode,
    octets: &'m [u8],
}

impl<'m> RawAttr<'m> {
    /// Takes the next attribute off the field; after an [`Overrun`] nothing is left in it.
    fn take(field: &mut Reader<'m>) -> Result<Self, Overrun<'m>> {
        let whole = field.rest();
        let overrun = |code| Overrun { code: AttrCode(code), octets: whole };
        let flags = field.u8().ok_or_else(|| overrun(0))?;
        let code = field.u8().ok_or_else(|| overrun(0))?;
        let len = match flags & EXTENDED_LENGTH {
            0 => field.u8().map(usize::from),
            _ => field.u16().map(usize::from),
        };
        let value = len.and_then(|len| field.take(len)).ok_or_else(|| overrun(code))?;
        let octets = &whole[..whole.len() - field.len()];
        Ok(Self { flags, code: AttrCode(code), value, octets })
    }
}

const OPTIONAL_BIT: u8 = 0x80;
const TRANSITIVE_BIT: u8 = 0x40;
const PARTIAL_BIT: u8 = 0x20;
/// The length takes two octets.
const EXTENDED_LENGTH: u8 = 0x10;

const WELL_KNOWN: u8 = TRANSITIVE_BIT;
/// Optional transitive.
const TRANSITIVE: u8 = OPTIONAL_BIT | TRANSITIVE_BIT;
/// Optional non-transitive.
const NON_TRANSITIVE: u8 = OPTIONAL_BIT;
