//! Writing path attributes, in the order of their codes (RFC 4271 §5).
//!
//! In: attributes as the peer must see them. Out: the attribute field without the multiprotocol
//! attributes, whose prefixes differ from message to message, and those on their own.

use std::{iter::Peekable, net::Ipv4Addr, slice};

use bytes::{BufMut, BytesMut};

use super::{
    AttrCode, EXTENDED_LENGTH, PARTIAL_BIT, TRANSITIVE,
    path::{self, Width},
};
use crate::{
    attrs::{Aggregator, Attrs, Origin, PartialSet, UnknownAttr},
    wire::{Codec, EncodeError},
};

/// Writes everything but MP_REACH_NLRI. NEXT_HOP is written if it is given.
///
/// Attributes that the peer must not get are left out: LOCAL_PREF, ORIGINATOR_ID and
/// CLUSTER_LIST towards another AS (RFC 4271 §5.1.5, RFC 4456 §8).
pub(crate) fn attributes(
    attrs: &Attrs,
    next_hop: Option<Ipv4Addr>,
    codec: &Codec,
) -> Result<BytesMut, EncodeError> {
    let mut field = Field::new(attrs);
    let internal = !codec.external;
    field.put(AttrCode::ORIGIN, |out| out.put_u8(origin(attrs.origin)))?;
    let width = Width::of(codec.four_octet_as);
    field.put(AttrCode::AS_PATH, |out| path::put(&attrs.as_path, width, out))?;
    field.put_some(AttrCode::NEXT_HOP, next_hop, |addr, out| out.put_u32(addr.to_bits()))?;
    field.put_some(AttrCode::MULTI_EXIT_DISC, attrs.med, |med, out| out.put_u32(med))?;
    let local_pref = attrs.local_pref.filter(|_| internal);
    field.put_some(AttrCode::LOCAL_PREF, local_pref, |value, out| out.put_u32(value))?;
    field.put_some(AttrCode::ATOMIC_AGGREGATE, attrs.atomic_aggregate.then_some(()), |(), _| {})?;
    field.put_some(AttrCode::AGGREGATOR, attrs.aggregator, |aggregator, out| {
        put_aggregator(aggregator, width, out);
    })?;
    field.put_list(AttrCode::COMMUNITIES, &attrs.communities, |community, out| {
        out.put_u32(community.0);
    })?;
    let originator_id = attrs.originator_id.filter(|_| internal);
    field.put_some(AttrCode::ORIGINATOR_ID, originator_id, |id, out| out.put_u32(id.to_bits()))?;
    let cluster_list = if internal { &attrs.cluster_list[..] } else { &[] };
    field.put_list(AttrCode::CLUSTER_LIST, cluster_list, |id, out| out.put_u32(id.to_bits()))?;
    field.put_list(AttrCode::EXT_COMMUNITIES, &attrs.ext_communities, |community, out| {
        out.put_slice(&community.0);
    })?;
    put_four_octet(attrs, width, &mut field)?;
    field.put_list(AttrCode::LARGE_COMMUNITY, &attrs.large_communities, |community, out| {
        out.put_u32(community.global);
        out.put_u32(community.local1);
        out.put_u32(community.local2);
    })?;
    field.put_some(AttrCode::OTC, attrs.otc, |asn, out| out.put_u32(asn.0))?;
    field.finish()
}

/// No fewer octets than [`attributes`] writes for any peer, found without writing them.
pub(crate) fn length_at_most(attrs: &Attrs) -> usize {
    let unknown = attrs.unknown.iter().map(|unknown| LONG_HEAD + unknown.value.len());
    let lists = 4 * attrs.communities.len()
        + 8 * attrs.ext_communities.len()
        + 12 * attrs.large_communities.len()
        + 4 * attrs.cluster_list.len();
    EVERYTHING_ELSE + MOST_FOR_AN_AS * attrs.as_path.asns().count() + lists + unknown.sum::<usize>()
}

/// Writes one attribute, with a long length field only where it is needed.
pub(crate) fn put(code: AttrCode, value: &[u8], out: &mut BytesMut) -> Result<(), EncodeError> {
    put_with_flags(code, code.flags().unwrap_or(TRANSITIVE), value, out)
}

/// Writes what stands in front of an attribute's value of so many octets, with a long length field
/// only where it is needed.
pub(crate) fn head(code: AttrCode, octets: usize, out: &mut BytesMut) -> Result<(), EncodeError> {
    put_head(code, code.flags().unwrap_or(TRANSITIVE), octets, out)
}

/// AS4_PATH and AS4_AGGREGATOR, where the peer reads two-octet numbers and they say more than
/// AS_PATH and AGGREGATOR could (RFC 6793 §4.2.2).
fn put_four_octet(attrs: &Attrs, width: Width, field: &mut Field<'_>) -> Result<(), EncodeError> {
    if width == Width::Four {
        return Ok(());
    }
    let as4_path = path::needed_as4_path(&attrs.as_path);
    field.put_some(AttrCode::AS4_PATH, as4_path, |as4_path, out| {
        path::put(&as4_path, Width::Four, out);
    })?;
    let aggregator = attrs.aggregator.filter(|other| other.asn.as_two_octets().is_none());
    field.put_some(AttrCode::AS4_AGGREGATOR, aggregator, |aggregator, out| {
        put_aggregator(aggregator, Width::Four, out);
    })
}

fn put_aggregator(aggregator: Aggregator, width: Width, out: &mut BytesMut) {
    width.put(aggregator.asn, out);
    out.put_u32(aggregator.router_id.to_bits());
}

const fn origin(origin: Origin) -> u8 {
    match origin {
        Origin::Igp => 0,
        Origin::Egp => 1,
        Origin::Incomplete => 2,
    }
}

/// The attribute field as it grows. Known attributes must come in the order of their codes;
/// unknown ones find their place between them.
struct Field<'a> {
    out: BytesMut,
    unknown: Peekable<slice::Iter<'a, UnknownAttr>>,
    partial: PartialSet,
    value: BytesMut,
}

impl<'a> Field<'a> {
    fn new(attrs: &'a Attrs) -> Self {
        Self {
            out: BytesMut::with_capacity(USUAL_LEN),
            unknown: attrs.unknown.iter().peekable(),
            partial: attrs.partial,
            value: BytesMut::with_capacity(USUAL_LEN),
        }
    }

    fn put(
        &mut self,
        code: AttrCode,
        value: impl FnOnce(&mut BytesMut),
    ) -> Result<(), EncodeError> {
        self.put_unknown(|unknown| unknown.code < code.0)?;
        self.value.clear();
        value(&mut self.value);
        let flags = code.flags().unwrap_or(TRANSITIVE) | self.partial_bit(code);
        put_with_flags(code, flags, &self.value, &mut self.out)
    }

    fn put_some<T>(
        &mut self,
        code: AttrCode,
        content: Option<T>,
        value: impl FnOnce(T, &mut BytesMut),
    ) -> Result<(), EncodeError> {
        content.map_or(Ok(()), |content| self.put(code, |out| value(content, out)))
    }

    fn put_list<T>(
        &mut self,
        code: AttrCode,
        list: &[T],
        entry: impl Fn(&T, &mut BytesMut),
    ) -> Result<(), EncodeError> {
        if list.is_empty() {
            return Ok(());
        }
        self.put(code, |out| list.iter().for_each(|item| entry(item, out)))
    }

    fn put_unknown(&mut self, now: impl Fn(&UnknownAttr) -> bool) -> Result<(), EncodeError> {
        while let Some(unknown) = self.unknown.next_if(|unknown| now(unknown)) {
            let code = AttrCode(unknown.code);
            put_with_flags(code, TRANSITIVE | PARTIAL_BIT, &unknown.value, &mut self.out)?;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<BytesMut, EncodeError> {
        self.put_unknown(|_| true)?;
        Ok(self.out)
    }

    fn partial_bit(&self, code: AttrCode) -> u8 {
        let place = code.partial();
        if place != PartialSet::NONE && self.partial.contains(place) { PARTIAL_BIT } else { 0 }
    }
}

fn put_with_flags(
    code: AttrCode,
    flags: u8,
    value: &[u8],
    out: &mut BytesMut,
) -> Result<(), EncodeError> {
    put_head(code, flags, value.len(), out)?;
    out.put_slice(value);
    Ok(())
}

fn put_head(
    code: AttrCode,
    flags: u8,
    octets: usize,
    out: &mut BytesMut,
) -> Result<(), EncodeError> {
    match (u8::try_from(octets), u16::try_from(octets)) {
        (Ok(len), _) => out.put_slice(&[flags, code.0, len]),
        (Err(_), Ok(len)) => {
            out.put_slice(&[flags | EXTENDED_LENGTH, code.0]);
            out.put_u16(len);
        }
        (Err(_), Err(_)) => {
            return Err(EncodeError::AttributeTooLong { attribute: code, octets });
        }
    }
    Ok(())
}

/// Octets in front of the value of an attribute with a long length field.
const LONG_HEAD: usize = 4;

/// More than the 15 kinds of attributes take besides their lists: a head each, and no more than 8
/// octets of value.
const EVERYTHING_ELSE: usize = 15 * (LONG_HEAD + 8);

/// An AS in a segment of its own, in AS_PATH with two octets and in AS4_PATH with four.
const MOST_FOR_AN_AS: usize = 2 + 2 + 2 + 4;

/// Enough for the attributes of almost every route.
const USUAL_LEN: usize = 128;
