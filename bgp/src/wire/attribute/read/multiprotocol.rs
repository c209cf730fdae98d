//! MP_REACH_NLRI and MP_UNREACH_NLRI (RFC 4760 §3, §4).
//!
//! In: an attribute's value and what was negotiated. Out: prefixes with their next hop, or
//! nothing where the attribute is incorrect and the session must go (RFC 7606 §5.3). Another
//! family's prefixes are not looked at.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::{
    attrs::NextHop,
    family::Family,
    wire::{Codec, Nlri, nlri, octets::Reader},
};

/// What MP_REACH_NLRI announces.
#[derive(Debug)]
pub(in crate::wire) enum MpReach {
    /// Prefixes of a family that was negotiated.
    Ours {
        /// Which.
        family: Family,
        /// For all of them.
        next_hop: NextHop,
        /// In message order; may be none.
        prefixes: Vec<Nlri>,
    },
    /// Something of another family.
    Foreign {
        /// True if it announces anything at all.
        has_nlri: bool,
    },
}

impl MpReach {
    pub(in crate::wire) const fn has_nlri(&self) -> bool {
        match self {
            Self::Ours { prefixes, .. } => !prefixes.is_empty(),
            Self::Foreign { has_nlri } => *has_nlri,
        }
    }

    /// `None` if the attribute is incorrect.
    pub(super) fn read(value: &[u8], codec: &Codec) -> Option<Self> {
        let mut value = Reader::new(value);
        let family = family(&mut value, codec)?;
        let len = value.u8()?;
        let octets = value.take(len.into())?;
        let _reserved = value.u8()?;
        let Some(family) = family else {
            return Some(Self::Foreign { has_nlri: !value.is_empty() });
        };
        let next_hop = next_hop(family, octets, codec)?;
        let prefixes = prefixes(family, value.rest(), codec)?;
        Some(Self::Ours { family, next_hop, prefixes })
    }
}

/// What MP_UNREACH_NLRI withdraws.
#[derive(Debug)]
pub(in crate::wire) enum MpUnreach {
    /// Prefixes of a family that was negotiated.
    Ours {
        /// Which.
        family: Family,
        /// In message order; none in an End-of-RIB.
        prefixes: Vec<Nlri>,
    },
    /// Something of another family.
    Foreign,
}

impl MpUnreach {
    /// `None` if the attribute is incorrect.
    pub(super) fn read(value: &[u8], codec: &Codec) -> Option<Self> {
        let mut value = Reader::new(value);
        let Some(family) = family(&mut value, codec)? else { return Some(Self::Foreign) };
        let prefixes = prefixes(family, value.rest(), codec)?;
        Some(Self::Ours { family, prefixes })
    }
}

/// The family of an attribute: `Some(None)` if it is not one that was negotiated, `None` if it is
/// cut short.
#[expect(clippy::option_option, reason = "cut short, foreign, and ours are three answers")]
fn family(value: &mut Reader<'_>, codec: &Codec) -> Option<Option<Family>> {
    let afi = value.u16()?;
    let safi = value.u8()?;
    Some(Family::from_codes(afi, safi).filter(|family| codec.families.contains(*family)))
}

fn prefixes(family: Family, field: &[u8], codec: &Codec) -> Option<Vec<Nlri>> {
    nlri::read(family, codec.add_path_receive.contains(family), field).ok()
}

/// Four octets for IPv4 prefixes only; 16, or 32 with a link-local address, for IPv6 ones and
/// for those of families that may have such next hops (RFC 2545 §3, RFC 8950 §3).
fn next_hop(family: Family, octets: &[u8], codec: &Codec) -> Option<NextHop> {
    let address = |octets: &[u8]| <[u8; 16]>::try_from(octets).ok().map(Ipv6Addr::from);
    let ipv6 = match family {
        Family::Ipv4Unicast => codec.extended_next_hop.contains(family),
        Family::Ipv6Unicast => true,
    };
    match (family, octets.len()) {
        (Family::Ipv4Unicast, 4) => {
            let octets = <[u8; 4]>::try_from(octets).ok()?;
            Some(NextHop::new(IpAddr::V4(Ipv4Addr::from(octets))))
        }
        (Family::Ipv4Unicast | Family::Ipv6Unicast, 16) if ipv6 => {
            Some(NextHop::new(address(octets)?.into()))
        }
        (Family::Ipv4Unicast | Family::Ipv6Unicast, 32) if ipv6 => {
            let addr = address(&octets[..16])?;
            let link_local = address(&octets[16..])?;
            Some(match (addr.is_unspecified(), link_local.is_unicast_link_local()) {
                // Some speakers on an unnumbered link leave the global half empty.
                (true, true) => NextHop::new(link_local.into()),
                (false, true) => {
                    NextHop { addr: addr.into(), link_local: Some(link_local), scope: None }
                }
                (true | false, false) => NextHop::new(addr.into()),
            })
        }
        (Family::Ipv4Unicast | Family::Ipv6Unicast, _) => None,
    }
}
