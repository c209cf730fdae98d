//! Writing UPDATEs: as few messages as the routes fit in.
//!
//! In: attributes and prefixes. Out: whole messages, none longer than the peer takes, each with
//! only one of withdrawn routes, NLRI, MP_REACH_NLRI and MP_UNREACH_NLRI in it, and the last
//! two before all other attributes (RFC 7606 §5.1).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bytes::{BufMut, Bytes, BytesMut};

use super::Update;
use crate::{
    attrs::{Attrs, NextHop},
    family::Family,
    wire::{
        AttrCode, Codec, EncodeError, HEADER_LEN, MAX_EXTENDED_LEN, MAX_LEN, Nlri,
        attribute::write,
        header::{self, Kind},
        nlri,
    },
};

/// Where prefixes of a family stand with this next hop.
#[derive(Clone, Copy)]
enum Place {
    /// In the NLRI field, beside NEXT_HOP.
    Nlri(Ipv4Addr),
    /// In MP_REACH_NLRI; for IPv4 prefixes RFC 8950 must have been negotiated.
    MpReach(Family, Ipv6Addr, Option<Ipv6Addr>),
}

impl Place {
    fn of(family: Family, next_hop: NextHop, codec: &Codec) -> Result<Self, EncodeError> {
        match (family, next_hop.addr) {
            (Family::Ipv4Unicast, IpAddr::V4(addr)) => Ok(Self::Nlri(addr)),
            (Family::Ipv4Unicast, IpAddr::V6(_)) if !codec.extended_next_hop.contains(family) => {
                Err(EncodeError::NextHop { next_hop, family })
            }
            (Family::Ipv4Unicast | Family::Ipv6Unicast, IpAddr::V6(addr)) => {
                Ok(Self::MpReach(family, addr, next_hop.link_local))
            }
            (Family::Ipv6Unicast, IpAddr::V4(_)) => Err(EncodeError::NextHop { next_hop, family }),
        }
    }

    const fn classic_next_hop(self) -> Option<Ipv4Addr> {
        match self {
            Self::Nlri(addr) => Some(addr),
            Self::MpReach(..) => None,
        }
    }

    /// Octets that the place itself takes in a message, at most.
    const fn overhead(self) -> usize {
        match self {
            Self::Nlri(_) => 0,
            Self::MpReach(_, _, link_local) => {
                LONG_ATTRIBUTE + 5 + if link_local.is_some() { 32 } else { 16 }
            }
        }
    }
}

impl Update {
    /// Announces prefixes that share their attributes, in as few messages as they fit in, each
    /// no longer than `codec.max_send_len`.
    ///
    /// # Errors
    ///
    /// [`EncodeError`]; then nothing was written.
    pub fn encode_reach(
        attrs: &Attrs,
        prefixes: &[Nlri],
        codec: &Codec,
    ) -> Result<Vec<Bytes>, EncodeError> {
        let mut messages = Vec::new();
        for prefixes in prefixes.chunk_by(|a, b| a.family() == b.family()) {
            let Some(family) = prefixes.first().map(|nlri| nlri.family()) else { continue };
            let place = Place::of(family, attrs.next_hop, codec)?;
            let attributes = write::attributes(attrs, place.classic_next_hop(), codec)?;
            for run in runs(prefixes, place.overhead() + attributes.len(), codec)? {
                messages.push(reach_message(place, &attributes, &octets(run, codec))?);
            }
        }
        Ok(messages)
    }

    /// Withdraws prefixes, in as few messages as they fit in.
    #[must_use]
    pub fn encode_withdraw(prefixes: &[Nlri], codec: &Codec) -> Vec<Bytes> {
        let mut messages = Vec::new();
        for prefixes in prefixes.chunk_by(|a, b| a.family() == b.family()) {
            let Some(family) = prefixes.first().map(|nlri| nlri.family()) else { continue };
            let overhead = match family {
                Family::Ipv4Unicast => 0,
                Family::Ipv6Unicast => LONG_ATTRIBUTE + 3,
            };
            let runs = runs(prefixes, overhead, codec).expect("every peer takes 4096 octets");
            let octets = runs.into_iter().map(|run| octets(run, codec));
            messages.extend(octets.map(|octets| withdraw_message(family, &octets)));
        }
        messages
    }

    /// Says that everything of a family has been announced (RFC 4724 §2): an UPDATE that
    /// withdraws nothing.
    #[must_use]
    pub fn encode_end_of_rib(family: Family) -> Bytes {
        withdraw_message(family, &[])
    }
}

/// Cuts prefixes into runs that fit a message each, beside `overhead` octets of other content.
fn runs<'a>(
    prefixes: &'a [Nlri],
    overhead: usize,
    codec: &Codec,
) -> Result<Vec<&'a [Nlri]>, EncodeError> {
    let limit = codec.max_send_len.clamp(MAX_LEN, MAX_EXTENDED_LEN);
    let used = EMPTY_UPDATE + overhead;
    let add_path = adds_path(prefixes, codec);
    let runs = limit.checked_sub(used).and_then(|room| nlri::runs(prefixes, add_path, room));
    runs.ok_or_else(|| {
        let longest = prefixes.iter().map(|nlri| nlri::size(*nlri, add_path)).max().unwrap_or(0);
        EncodeError::TooLong { needed: used + longest, limit }
    })
}

/// Do prefixes of this family, all of them of one, go out with path identifiers?
fn adds_path(prefixes: &[Nlri], codec: &Codec) -> bool {
    prefixes.first().is_some_and(|nlri| codec.add_path_send.contains(nlri.family()))
}

fn reach_message(place: Place, attributes: &[u8], prefixes: &[u8]) -> Result<Bytes, EncodeError> {
    Ok(match place {
        Place::Nlri(_) => message(&[], &[attributes], prefixes),
        Place::MpReach(family, addr, link_local) => {
            let mut value = BytesMut::with_capacity(prefixes.len() + 37);
            value.put_u16(family.afi());
            value.put_u8(family.safi());
            value.put_u8(if link_local.is_some() { 32 } else { 16 });
            value.put_slice(&addr.octets());
            if let Some(link_local) = link_local {
                value.put_slice(&link_local.octets());
            }
            value.put_u8(0);
            value.put_slice(prefixes);
            let mut mp_reach = BytesMut::with_capacity(LONG_ATTRIBUTE + value.len());
            write::put(AttrCode::MP_REACH_NLRI, &value, &mut mp_reach)?;
            message(&[], &[&mp_reach, attributes], &[])
        }
    })
}

fn withdraw_message(family: Family, prefixes: &[u8]) -> Bytes {
    match family {
        Family::Ipv4Unicast => message(prefixes, &[], &[]),
        Family::Ipv6Unicast => {
            let mut value = BytesMut::with_capacity(3 + prefixes.len());
            value.put_u16(family.afi());
            value.put_u8(family.safi());
            value.put_slice(prefixes);
            let mut mp_unreach = BytesMut::with_capacity(LONG_ATTRIBUTE + value.len());
            write::put(AttrCode::MP_UNREACH_NLRI, &value, &mut mp_unreach)
                .expect("runs keep the value far below 65535 octets");
            message(&[], &[&mp_unreach], &[])
        }
    }
}

fn octets(prefixes: &[Nlri], codec: &Codec) -> BytesMut {
    let add_path = adds_path(prefixes, codec);
    let size = prefixes.iter().map(|nlri| nlri::size(*nlri, add_path)).sum();
    let mut out = BytesMut::with_capacity(size);
    for nlri in prefixes {
        nlri::put(*nlri, add_path, &mut out);
    }
    out
}

/// The whole message. Its parts fit together, since the runs were cut so.
fn message(withdrawn: &[u8], attributes: &[&[u8]], nlri: &[u8]) -> Bytes {
    let attributes = attributes.concat();
    let mut body = BytesMut::with_capacity(4 + withdrawn.len() + attributes.len() + nlri.len());
    let len = |field: &[u8]| u16::try_from(field.len()).expect("runs fit the message");
    body.put_u16(len(withdrawn));
    body.put_slice(withdrawn);
    body.put_u16(len(&attributes));
    body.put_slice(&attributes);
    body.put_slice(nlri);
    header::message(Kind::Update, &body)
}

/// Header and both length fields.
const EMPTY_UPDATE: usize = HEADER_LEN + 4;
/// Header of an attribute with a long length field.
const LONG_ATTRIBUTE: usize = 4;
