//! Path attributes as a value: what a path carries besides its prefix.
//!
//! One [`Attrs`] is shared by all the paths of an UPDATE that carry it, and is never changed
//! once built: policy and export make a new one. Lists that have no order on the wire
//! (communities) are kept sorted and without repeats, so that equal sets compare equal.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    num::NonZeroU32,
};

use bytes::Bytes;

use crate::{
    aspath::{AsPath, Asn},
    community::{Community, ExtCommunity, LargeCommunity, Rate},
};

/// ORIGIN (RFC 4271 §5.1.1), best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// Code 0: from inside the originating AS.
    Igp,
    /// Code 1: from EGP.
    Egp,
    /// Code 2: by other means.
    Incomplete,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Igp => "igp",
            Self::Egp => "egp",
            Self::Incomplete => "incomplete",
        })
    }
}

/// LOCAL_PREF of paths that carry none: the usual default of other routers.
pub const DEFAULT_LOCAL_PREF: u32 = 100;

/// Where to send traffic: a global address, a link-local one, or both (RFC 2545 §3, RFC 8950).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NextHop {
    /// The address that resolution starts from. May itself be link-local on an unnumbered link.
    pub addr: IpAddr,
    /// The link-local address that came with a global IPv6 one.
    pub link_local: Option<Ipv6Addr>,
    /// The link on which the link-local one of these addresses is meant, as the index of our
    /// interface to it (RFC 4007 §11.2): the same address on another link is another router.
    /// Set on import, from the link of the session; never on the wire.
    pub scope: Option<NonZeroU32>,
}

impl NextHop {
    /// A plain next hop.
    #[must_use]
    pub const fn new(addr: IpAddr) -> Self {
        Self { addr, link_local: None, scope: None }
    }

    /// The link-local address in it: alone or beside a global one.
    #[must_use]
    pub const fn on_link(&self) -> Option<Ipv6Addr> {
        match self.addr {
            IpAddr::V6(addr) if addr.is_unicast_link_local() => Some(addr),
            IpAddr::V4(_) | IpAddr::V6(_) => self.link_local,
        }
    }

    /// The same as heard over this link: with a scope if there is something that needs one.
    #[must_use]
    pub const fn heard_on(self, link: Option<NonZeroU32>) -> Self {
        let scope = if self.on_link().is_some() { link } else { None };
        Self { scope, ..self }
    }
}

/// The address, and for a link-local one its interface's index after a % sign (RFC 4007 §11).
impl fmt::Display for NextHop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.addr, f)?;
        match self.scope {
            Some(scope) if self.on_link().map(IpAddr::V6) == Some(self.addr) => {
                write!(f, "%{scope}")
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// AGGREGATOR (RFC 4271 §5.1.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Aggregator {
    /// AS that aggregated.
    pub asn: Asn,
    /// Its router.
    pub router_id: Ipv4Addr,
}

/// Which of the known optional transitive attributes came with the Partial bit: some router on
/// the way did not know them. It goes out as it came in (RFC 4271 §5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartialSet(u8);

impl PartialSet {
    /// No attribute.
    pub const NONE: Self = Self(0);
    /// AGGREGATOR.
    pub const AGGREGATOR: Self = Self(1);
    /// COMMUNITIES.
    pub const COMMUNITIES: Self = Self(1 << 1);
    /// EXTENDED COMMUNITIES.
    pub const EXT_COMMUNITIES: Self = Self(1 << 2);
    /// LARGE_COMMUNITY.
    pub const LARGE_COMMUNITIES: Self = Self(1 << 3);
    /// OTC.
    pub const OTC: Self = Self(1 << 4);

    /// As bits, one for each attribute.
    pub(crate) const fn bits(self) -> u8 {
        self.0
    }

    /// What [`Self::bits`] has given.
    pub(crate) const fn from_bits(bits: u8) -> Self {
        Self(bits)
    }

    /// Adds those of another set.
    pub const fn insert(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// Are all of the other set in?
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// An optional transitive attribute that this speaker does not know. It is passed on with the
/// Partial bit set and its value untouched (RFC 4271 §5).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnknownAttr {
    /// Attribute type code.
    pub code: u8,
    /// Value.
    pub value: Bytes,
}

/// The attributes of a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attrs {
    /// Preference within this router alone: higher is better, before anything that peers say.
    /// Given by import policy; never on the wire.
    pub weight: u32,
    /// ORIGIN.
    pub origin: Origin,
    /// AS_PATH, with AS4_PATH already merged in (RFC 6793 §4.2.3).
    pub as_path: AsPath,
    /// NEXT_HOP, or the next hop of MP_REACH_NLRI.
    pub next_hop: NextHop,
    /// MULTI_EXIT_DISC: lower is better, compared within one neighbouring AS only.
    pub med: Option<u32>,
    /// LOCAL_PREF: higher is better; only on iBGP sessions.
    pub local_pref: Option<u32>,
    /// ATOMIC_AGGREGATE.
    pub atomic_aggregate: bool,
    /// AGGREGATOR, with AS4_AGGREGATOR already merged in.
    pub aggregator: Option<Aggregator>,
    /// COMMUNITIES, sorted, no repeats.
    pub communities: Vec<Community>,
    /// EXTENDED COMMUNITIES, sorted, no repeats.
    pub ext_communities: Vec<ExtCommunity>,
    /// LARGE_COMMUNITY, sorted, no repeats.
    pub large_communities: Vec<LargeCommunity>,
    /// ORIGINATOR_ID (RFC 4456 §8).
    pub originator_id: Option<Ipv4Addr>,
    /// CLUSTER_LIST, nearest first (RFC 4456 §8).
    pub cluster_list: Vec<Ipv4Addr>,
    /// Only to Customer, type 35 (RFC 9234 §5).
    pub otc: Option<Asn>,
    /// Unknown optional transitive attributes, by code, each once.
    pub unknown: Vec<UnknownAttr>,
    /// Known optional transitive attributes that are marked as partial.
    pub partial: PartialSet,
}

impl Attrs {
    /// Attributes of a route that this router originates (RFC 4271 §5.1): origin IGP, empty path.
    #[must_use]
    pub const fn originated(next_hop: NextHop) -> Self {
        Self {
            weight: 0,
            origin: Origin::Igp,
            as_path: AsPath::empty(),
            next_hop,
            med: None,
            local_pref: None,
            atomic_aggregate: false,
            aggregator: None,
            communities: Vec::new(),
            ext_communities: Vec::new(),
            large_communities: Vec::new(),
            originator_id: None,
            cluster_list: Vec::new(),
            otc: None,
            unknown: Vec::new(),
            partial: PartialSet::NONE,
        }
    }

    /// Adds a community.
    pub fn add(&mut self, community: Community) {
        if let Err(place) = self.communities.binary_search(&community) {
            self.communities.insert(place, community);
        }
    }

    /// The bandwidth of the link that the path leads over, if it tells one
    /// (draft-ietf-idr-link-bandwidth).
    #[must_use]
    pub fn link_bandwidth(&self) -> Option<Rate> {
        self.ext_communities.iter().find_map(|community| community.rate())
    }

    /// Does the path carry this community?
    #[must_use]
    pub fn has(&self, community: Community) -> bool {
        self.communities.binary_search(&community).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_next_hops_with_a_link_local_address_have_a_scope() {
        let link = NonZeroU32::new(3);
        for (addr, link_local, scope, text) in [
            ("fe80::1", None, link, "fe80::1%3"),
            ("fd00::1", Some("fe80::1".parse().unwrap()), link, "fd00::1"),
            ("fd00::1", None, None, "fd00::1"),
            ("10.0.0.1", None, None, "10.0.0.1"),
        ] {
            let next_hop = NextHop { addr: addr.parse().unwrap(), link_local, scope: None };
            let heard = next_hop.heard_on(link);
            assert_eq!((heard.scope, heard.to_string()), (scope, text.to_owned()));
            assert_eq!(heard.heard_on(None), next_hop);
        }
    }
}
