//! Prefixes: destinations, always in canonical form (no bit set past the length).

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use ipnetwork::IpNetwork;

use crate::family::Family;

/// An IPv4 or IPv6 prefix whose host bits are zero.
///
/// Ordered by family, then address, then length: the order of every table that is shown.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    addr: IpAddr,
    len: u8,
}

impl Prefix {
    /// The prefix of this length that contains `addr`; host bits are cleared, since trailing
    /// bits of a received prefix have no meaning (RFC 4271 §4.3).
    ///
    /// # Errors
    ///
    /// [`BadPrefix::Length`] if `len` exceeds 32 (IPv4) or 128 (IPv6).
    pub fn new(addr: IpAddr, len: u8) -> Result<Self, BadPrefix> {
        let addr = match addr {
            IpAddr::V4(v4) if len <= 32 => {
                let mask = u32::MAX.checked_shl(32 - u32::from(len)).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & mask))
            }
            IpAddr::V6(v6) if len <= 128 => {
                let mask = u128::MAX.checked_shl(128 - u32::from(len)).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & mask))
            }
            IpAddr::V4(_) | IpAddr::V6(_) => return Err(BadPrefix::Length { addr, len }),
        };
        Ok(Self { addr, len })
    }

    /// The prefix that contains just this address: /32 or /128.
    #[must_use]
    pub const fn host(addr: IpAddr) -> Self {
        let len = if addr.is_ipv4() { 32 } else { 128 };
        Self { addr, len }
    }

    /// First address of the prefix.
    #[must_use]
    pub const fn addr(self) -> IpAddr {
        self.addr
    }

    /// Length in bits.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a length in bits, not a size")]
    pub const fn len(self) -> u8 {
        self.len
    }

    /// True for 0.0.0.0/0 and ::/0.
    #[must_use]
    pub const fn is_default(self) -> bool {
        self.len == 0
    }

    /// Can packets be routed there by unicast? Not where all of it is multicast, loopback,
    /// unspecified ("this network"), limited broadcast or, in IPv6, link-local (RFC 6890 §2.2).
    #[must_use]
    pub const fn is_unicast(self) -> bool {
        let whole = self.len == if self.addr.is_ipv4() { 32 } else { 128 };
        match self.addr {
            IpAddr::V4(v4) => {
                let this_network = v4.octets()[0] == 0;
                !(self.len >= 4 && v4.is_multicast()
                    || self.len >= 8 && (v4.is_loopback() || this_network)
                    || whole && v4.is_broadcast())
            }
            IpAddr::V6(v6) => {
                !(self.len >= 8 && v6.is_multicast()
                    || self.len >= 10 && v6.is_unicast_link_local()
                    || whole && (v6.is_loopback() || v6.is_unspecified()))
            }
        }
    }

    /// Family in which the prefix is announced.
    #[must_use]
    pub const fn family(self) -> Family {
        match self.addr {
            IpAddr::V4(_) => Family::Ipv4Unicast,
            IpAddr::V6(_) => Family::Ipv6Unicast,
        }
    }

    /// True if `addr` lies inside.
    #[must_use]
    pub fn contains(self, addr: IpAddr) -> bool {
        addr.is_ipv4() == self.addr.is_ipv4()
            && Self::new(addr, self.len).is_ok_and(|other| other == self)
    }

    /// True if `other` is this prefix or lies inside it.
    #[must_use]
    pub fn covers(self, other: Self) -> bool {
        other.len >= self.len && self.contains(other.addr)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.addr, self.len)
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Text is taken strictly: a prefix with host bits is refused, since in a configuration it is
/// more often a typing error than a wish.
impl FromStr for Prefix {
    type Err = BadPrefix;

    fn from_str(text: &str) -> Result<Self, BadPrefix> {
        let syntax = || BadPrefix::Syntax(text.to_owned());
        let (addr, len) = text.split_once('/').ok_or_else(syntax)?;
        let addr: IpAddr = addr.parse().map_err(|_| syntax())?;
        let len: u8 = len.parse().map_err(|_| syntax())?;
        let prefix = Self::new(addr, len)?;
        if prefix.addr == addr { Ok(prefix) } else { Err(BadPrefix::HostBits { addr, prefix }) }
    }
}

impl From<IpNetwork> for Prefix {
    fn from(network: IpNetwork) -> Self {
        Self { addr: network.network(), len: network.prefix() }
    }
}

impl From<Prefix> for IpNetwork {
    fn from(prefix: Prefix) -> Self {
        Self::new(prefix.addr, prefix.len).expect("a Prefix's length fits its family")
    }
}

/// Why something is not a prefix.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPrefix {
    /// Not of the form ADDRESS/LENGTH.
    #[error("{0:?} is not a prefix; write ADDRESS/LENGTH, as in 10.244.1.0/24 or fd00:1::/64")]
    Syntax(String),
    /// Longer than the family allows.
    #[error("/{len} is too long for {addr}; use at most /{}", if addr.is_ipv4() { 32 } else { 128 })]
    Length {
        /// The address part.
        addr: IpAddr,
        /// The length asked for.
        len: u8,
    },
    /// Bits beyond the length are set.
    #[error("{addr}/{} has host bits set; did you mean {prefix}?", prefix.len())]
    HostBits {
        /// The address as written.
        addr: IpAddr,
        /// The same with host bits cleared.
        prefix: Prefix,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_bits_are_cleared_by_new_and_refused_in_text() {
        let prefix = Prefix::new("10.1.2.3".parse().unwrap(), 16).unwrap();
        assert_eq!(prefix.to_string(), "10.1.0.0/16");
        let error = "10.1.2.3/16".parse::<Prefix>().unwrap_err();
        assert_eq!(error.to_string(), "10.1.2.3/16 has host bits set; did you mean 10.1.0.0/16?");
    }

    #[test]
    fn lengths_zero_and_full_are_prefixes_and_longer_ones_are_not() {
        for text in ["0.0.0.0/0", "::/0", "10.0.0.1/32", "fd00::1/128"] {
            assert_eq!(text.parse::<Prefix>().unwrap().to_string(), text);
        }
        for text in ["10.0.0.1/33", "fd00::/129", "10.0.0.0", "x/8", "10.0.0.0/-1"] {
            assert!(text.parse::<Prefix>().is_err(), "{text}");
        }
    }

    #[test]
    fn covering_needs_the_same_family_and_no_shorter_length() {
        let p = |text: &str| text.parse::<Prefix>().unwrap();
        assert!(p("10.0.0.0/8").covers(p("10.1.0.0/16")));
        assert!(p("10.0.0.0/8").covers(p("10.0.0.0/8")));
        assert!(!p("10.1.0.0/16").covers(p("10.0.0.0/8")));
        assert!(!p("0.0.0.0/0").covers(p("fd00::/8")));
        assert!(p("::/0").covers(p("fd00::/8")));
    }

    #[test]
    fn rfc6890_2_2_prefixes_that_nothing_is_routed_to_are_not_unicast() {
        for text in [
            "224.0.0.0/4",
            "239.255.0.0/16",
            "127.0.0.0/8",
            "127.0.0.1/32",
            "0.0.0.0/8",
            "0.1.0.0/16",
            "255.255.255.255/32",
            "ff00::/8",
            "ff02::1/128",
            "fe80::/10",
            "fe80::1/128",
            "::1/128",
            "::/128",
        ] {
            assert!(!text.parse::<Prefix>().unwrap().is_unicast(), "{text}");
        }
        for text in [
            "0.0.0.0/0",
            "0.0.0.0/1",
            "128.0.0.0/1",
            "224.0.0.0/3",
            "126.0.0.0/7",
            "10.0.0.0/8",
            "169.254.1.1/32",
            "240.0.0.0/4",
            "::/0",
            "::/3",
            "8000::/1",
            "fc00::/7",
            "fe00::/9",
            "2001:db8::/32",
        ] {
            assert!(text.parse::<Prefix>().unwrap().is_unicast(), "{text}");
        }
    }
}
