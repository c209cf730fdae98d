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
        let mut octets = BytesMut::new();
        Self::write_reach(attrs, prefixes, codec, &mut octets)?;
        Ok(split(octets))
    }

    /// The same, appended to octets; how many messages it is.
    ///
    /// # Errors
    ///
    /// [`EncodeError`]; then nothing was written.
    pub fn write_reach(
        attrs: &Attrs,
        prefixes: &[Nlri],
        codec: &Codec,
        out: &mut BytesMut,
    ) -> Result<usize, EncodeError> {
        let begin = out.len();
        Self::try_write_reach(attrs, prefixes, codec, out).inspect_err(|_| out.truncate(begin))
    }

    fn try_write_reach(
        attrs: &Attrs,
        prefixes: &[Nlri],
        codec: &Codec,
        out: &mut BytesMut,
    ) -> Result<usize, EncodeError> {
        let mut messages = 0;
        for prefixes in prefixes.chunk_by(|a, b| a.family() == b.family()) {
            let Some(family) = prefixes.first().map(|nlri| nlri.family()) else { continue };
            let place = Place::of(family, attrs.next_hop, codec)?;
            let attributes = write::attributes(attrs, place.classic_next_hop(), codec)?;
            for run in runs(prefixes, place.overhead() + attributes.len(), codec)? {
                reach_message(place, &attributes, run, codec, out)?;
                messages += 1;
            }
        }
        Ok(messages)
    }

    /// Whether any prefix of the family can be announced with these attributes.
    ///
    /// # Errors
    ///
    /// [`EncodeError`]: some prefixes or all cannot.
    pub fn check_room(attrs: &Attrs, family: Family, codec: &Codec) -> Result<(), EncodeError> {
        let place = Place::of(family, attrs.next_hop, codec)?;
        let fixed = EMPTY_UPDATE + place.overhead() + nlri::longest(family);
        if fixed + write::length_at_most(attrs) <= MAX_LEN {
            return Ok(());
        }
        let attributes = write::attributes(attrs, place.classic_next_hop(), codec)?;
        let (needed, limit) = (fixed + attributes.len(), limit(codec));
        if needed <= limit { Ok(()) } else { Err(EncodeError::TooLong { needed, limit }) }
    }

    /// Withdraws prefixes, in as few messages as they fit in.
    #[must_use]
    pub fn encode_withdraw(prefixes: &[Nlri], codec: &Codec) -> Vec<Bytes> {
        let mut octets = BytesMut::new();
        Self::write_withdraw(prefixes, codec, &mut octets);
        split(octets)
    }

    /// The same, appended to octets; how many messages it is.
    pub fn write_withdraw(prefixes: &[Nlri], codec: &Codec, out: &mut BytesMut) -> usize {
        let mut messages = 0;
        for prefixes in prefixes.chunk_by(|a, b| a.family() == b.family()) {
            let Some(family) = prefixes.first().map(|nlri| nlri.family()) else { continue };
            let overhead = match family {
                Family::Ipv4Unicast => 0,
                Family::Ipv6Unicast => LONG_ATTRIBUTE + 3,
            };
            let runs = runs(prefixes, overhead, codec).expect("every peer takes 4096 octets");
            for run in runs {
                withdraw_message(family, run, codec, out);
                messages += 1;
            }
        }
        messages
    }

    /// Says that everything of a family has been announced (RFC 4724 §2): an UPDATE that
    /// withdraws nothing.
    #[must_use]
    pub fn encode_end_of_rib(family: Family) -> Bytes {
        let mut octets = BytesMut::new();
        withdraw_message(family, &[], &Codec::PLAIN, &mut octets);
        octets.freeze()
    }
}

/// Cuts prefixes into runs that fit a message each, beside `overhead` octets of other content.
fn runs<'a>(
    prefixes: &'a [Nlri],
    overhead: usize,
    codec: &Codec,
) -> Result<Vec<&'a [Nlri]>, EncodeError> {
    let limit = limit(codec);
    let used = EMPTY_UPDATE + overhead;
    let add_path = adds_path(prefixes, codec);
    let runs = limit.checked_sub(used).and_then(|room| nlri::runs(prefixes, add_path, room));
    runs.ok_or_else(|| {
        let longest = prefixes.iter().map(|nlri| nlri::size(*nlri, add_path)).max().unwrap_or(0);
        EncodeError::TooLong { needed: used + longest, limit }
    })
}

fn limit(codec: &Codec) -> usize {
    codec.max_send_len.clamp(MAX_LEN, MAX_EXTENDED_LEN)
}

/// Do prefixes of this family, all of them of one, go out with path identifiers?
fn adds_path(prefixes: &[Nlri], codec: &Codec) -> bool {
    prefixes.first().is_some_and(|nlri| codec.add_path_send.contains(nlri.family()))
}

fn reach_message(
    place: Place,
    attributes: &[u8],
    prefixes: &[Nlri],
    codec: &Codec,
    out: &mut BytesMut,
) -> Result<(), EncodeError> {
    let begin = header::begin(Kind::Update, out);
    out.put_u16(0);
    match place {
        Place::Nlri(_) => {
            out.put_u16(length(attributes.len()));
            out.put_slice(attributes);
            put(prefixes, codec, out);
        }
        Place::MpReach(family, addr, link_local) => {
            let next_hop = if link_local.is_some() { 32 } else { 16 };
            let value = 5 + usize::from(next_hop) + size(prefixes, codec);
            let mut head = BytesMut::with_capacity(LONG_ATTRIBUTE);
            write::head(AttrCode::MP_REACH_NLRI, value, &mut head)?;
            out.put_u16(length(head.len() + value + attributes.len()));
            out.put_slice(&head);
            out.put_u16(family.afi());
            out.put_u8(family.safi());
            out.put_u8(next_hop);
            out.put_slice(&addr.octets());
            if let Some(link_local) = link_local {
                out.put_slice(&link_local.octets());
            }
            out.put_u8(0);
            put(prefixes, codec, out);
            out.put_slice(attributes);
        }
    }
    header::end(begin, out);
    Ok(())
}

fn withdraw_message(family: Family, prefixes: &[Nlri], codec: &Codec, out: &mut BytesMut) {
    let begin = header::begin(Kind::Update, out);
    match family {
        Family::Ipv4Unicast => {
            out.put_u16(length(size(prefixes, codec)));
            put(prefixes, codec, out);
            out.put_u16(0);
        }
        Family::Ipv6Unicast => {
            let value = 3 + size(prefixes, codec);
            let mut head = BytesMut::with_capacity(LONG_ATTRIBUTE);
            write::head(AttrCode::MP_UNREACH_NLRI, value, &mut head)
                .expect("runs keep the value far below 65535 octets");
            out.put_u16(0);
            out.put_u16(length(head.len() + value));
            out.put_slice(&head);
            out.put_u16(family.afi());
            out.put_u8(family.safi());
            put(prefixes, codec, out);
        }
    }
    header::end(begin, out);
}

fn put(prefixes: &[Nlri], codec: &Codec, out: &mut BytesMut) {
    let add_path = adds_path(prefixes, codec);
    prefixes.iter().for_each(|nlri| nlri::put(*nlri, add_path, out));
}

/// Octets of prefixes.
fn size(prefixes: &[Nlri], codec: &Codec) -> usize {
    let add_path = adds_path(prefixes, codec);
    prefixes.iter().map(|nlri| nlri::size(*nlri, add_path)).sum()
}

/// The parts of a message fit together, since the runs were cut so.
fn length(octets: usize) -> u16 {
    u16::try_from(octets).expect("runs fit the message")
}

/// Messages one by one.
fn split(octets: BytesMut) -> Vec<Bytes> {
    let mut rest = octets.freeze();
    let mut messages = Vec::new();
    while let Some([high, low]) = rest.get(16..18) {
        messages.push(rest.split_to(u16::from_be_bytes([*high, *low]).into()));
    }
    messages
}

/// Header and both length fields.
const EMPTY_UPDATE: usize = HEADER_LEN + 4;
/// Header of an attribute with a long length field.
const LONG_ATTRIBUTE: usize = 4;
