//! Path attributes on the wire: codes, flags, and the octets of each (RFC 4271 §4.3, §5).

use std::fmt;

/// A path attribute's type code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttrCode(pub u8);

/// One line an attribute: constant, code, name.
macro_rules! attr_codes {
    ($($constant:ident = $code:literal, $name:literal, $rfc:literal;)*) => {
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
        }
    };
}

attr_codes! {
    ORIGIN = 1, "ORIGIN", "RFC 4271 §5.1.1";
    AS_PATH = 2, "AS_PATH", "RFC 4271 §5.1.2";
    NEXT_HOP = 3, "NEXT_HOP", "RFC 4271 §5.1.3";
    MULTI_EXIT_DISC = 4, "MULTI_EXIT_DISC", "RFC 4271 §5.1.4";
    LOCAL_PREF = 5, "LOCAL_PREF", "RFC 4271 §5.1.5";
    ATOMIC_AGGREGATE = 6, "ATOMIC_AGGREGATE", "RFC 4271 §5.1.6";
    AGGREGATOR = 7, "AGGREGATOR", "RFC 4271 §5.1.7";
    COMMUNITIES = 8, "COMMUNITIES", "RFC 1997";
    ORIGINATOR_ID = 9, "ORIGINATOR_ID", "RFC 4456 §8";
    CLUSTER_LIST = 10, "CLUSTER_LIST", "RFC 4456 §8";
    MP_REACH_NLRI = 14, "MP_REACH_NLRI", "RFC 4760 §3";
    MP_UNREACH_NLRI = 15, "MP_UNREACH_NLRI", "RFC 4760 §4";
    EXT_COMMUNITIES = 16, "EXTENDED COMMUNITIES", "RFC 4360";
    AS4_PATH = 17, "AS4_PATH", "RFC 6793 §3";
    AS4_AGGREGATOR = 18, "AS4_AGGREGATOR", "RFC 6793 §3";
    IPV6_EXT_COMMUNITIES = 25, "IPv6 EXTENDED COMMUNITIES", "RFC 5701";
    LARGE_COMMUNITY = 32, "LARGE_COMMUNITY", "RFC 8092 §3";
    OTC = 35, "OTC", "RFC 9234 §5";
}

impl fmt::Display for AttrCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "attribute {}", self.0),
        }
    }
}
