//! The routes of all peers at one moment: TABLE_DUMP_V2 (RFC 6396 §4.3, RFC 8050 §4).

use std::net::{IpAddr, Ipv4Addr};

use bytes::{BufMut, Bytes, BytesMut};

use super::{Kind, record};
use crate::{
    aspath::Asn,
    attrs::{Attrs, NextHop},
    family::{Family, FamilySet},
    prefix::Prefix,
    timestamp::Timestamp,
    wire::{AttrCode, Codec, EncodeError, MAX_EXTENDED_LEN, attribute::write},
};

/// A peer whose routes are in a dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TablePeer {
    /// Its BGP identifier.
    pub router_id: Ipv4Addr,
    /// Its address.
    pub address: IpAddr,
    /// Its AS.
    pub asn: Asn,
}

/// A path of a prefix in a dump.
#[derive(Clone, Copy, Debug)]
pub struct TableEntry<'a> {
    /// Whose it is: a place in the list given to [`peer_table`].
    pub peer: u16,
    /// When it was learned.
    pub learned: Timestamp,
    /// Its path identifier, if the peer gives it one (RFC 7911).
    pub path_id: Option<u32>,
    /// Its attributes.
    pub attrs: &'a Attrs,
}

/// The first record of a dump, to which all others refer. Of more than 65,535 peers the rest is
/// left out.
#[must_use]
pub fn peer_table(router_id: Ipv4Addr, peers: &[TablePeer], at: Timestamp) -> Bytes {
    let count = u16::try_from(peers.len()).unwrap_or(u16::MAX);
    record(Kind(TABLE_DUMP_V2, PEER_INDEX_TABLE), at, |out| {
        out.put_u32(router_id.to_bits());
        // The view has no name.
        out.put_u16(0);
        out.put_u16(count);
        for peer in &peers[..count.into()] {
            let kind = PEER_AS4 | if peer.address.is_ipv6() { PEER_IPV6 } else { 0 };
            out.put_u8(kind);
            out.put_u32(peer.router_id.to_bits());
            match peer.address {
                IpAddr::V4(address) => out.put_slice(&address.octets()),
                IpAddr::V6(address) => out.put_slice(&address.octets()),
            }
            out.put_u32(peer.asn.0);
        }
    })
}

/// The records of one prefix: one for the paths without an identifier, one for those with. Each
/// takes the next number of `sequence`.
///
/// A path whose attributes cannot be written is left out and comes back as an error.
pub fn table_records(
    prefix: Prefix,
    entries: &[TableEntry<'_>],
    sequence: &mut u32,
    at: Timestamp,
) -> (Vec<Bytes>, Vec<EncodeError>) {
    let (mut records, mut left_out) = (Vec::new(), Vec::new());
    for add_path in [false, true] {
        let (mut count, mut octets) = (0, BytesMut::new());
        for entry in entries.iter().filter(|entry| entry.path_id.is_some() == add_path) {
            // More paths than a record can count do not exist: each peer has few.
            if count == u16::MAX {
                break;
            }
            match put_entry(prefix.family(), entry, &mut octets) {
                Ok(()) => count += 1,
                Err(error) => left_out.push(error),
            }
        }
        if count > 0 {
            let kind = Kind(TABLE_DUMP_V2, subtype(prefix.family(), add_path));
            records.push(record(kind, at, |out| {
                out.put_u32(*sequence);
                put_prefix(prefix, out);
                out.put_u16(count);
                out.put_slice(&octets);
            }));
            *sequence = sequence.wrapping_add(1);
        }
    }
    (records, left_out)
}

/// Writes all of the entry or nothing.
fn put_entry(
    family: Family,
    entry: &TableEntry<'_>,
    out: &mut BytesMut,
) -> Result<(), EncodeError> {
    let attributes = attributes(family, entry.attrs)?;
    let too_long = || EncodeError::TooLong { needed: attributes.len(), limit: u16::MAX.into() };
    let len = u16::try_from(attributes.len()).map_err(|_| too_long())?;
    out.put_u16(entry.peer);
    out.put_u32(entry.learned.seconds());
    if let Some(path_id) = entry.path_id {
        out.put_u32(path_id);
    }
    out.put_u16(len);
    out.put_slice(&attributes);
    Ok(())
}

/// The attribute field. A next hop that does not fit NEXT_HOP stands in an MP_REACH_NLRI of
/// nothing else (RFC 6396 §4.3.4).
fn attributes(family: Family, attrs: &Attrs) -> Result<BytesMut, EncodeError> {
    let NextHop { addr, link_local, .. } = attrs.next_hop;
    match (family, addr) {
        (Family::Ipv4Unicast, IpAddr::V4(addr)) => write::attributes(attrs, Some(addr), &CODEC),
        (Family::Ipv4Unicast | Family::Ipv6Unicast, IpAddr::V6(addr)) => {
            let mut value = BytesMut::with_capacity(33);
            value.put_u8(if link_local.is_some() { 32 } else { 16 });
            value.put_slice(&addr.octets());
            if let Some(link_local) = link_local {
                value.put_slice(&link_local.octets());
            }
            let mut field = BytesMut::new();
            write::put(AttrCode::MP_REACH_NLRI, &value, &mut field)?;
            field.put_slice(&write::attributes(attrs, None, &CODEC)?);
            Ok(field)
        }
        (Family::Ipv6Unicast, IpAddr::V4(_)) => {
            Err(EncodeError::NextHop { next_hop: attrs.next_hop, family })
        }
    }
}

fn put_prefix(prefix: Prefix, out: &mut BytesMut) {
    let significant = usize::from(prefix.len().div_ceil(8));
    out.put_u8(prefix.len());
    match prefix.addr() {
        IpAddr::V4(address) => out.put_slice(&address.octets()[..significant]),
        IpAddr::V6(address) => out.put_slice(&address.octets()[..significant]),
    }
}

/// RFC 6396 §4.3.2, RFC 8050 §4.
const fn subtype(family: Family, add_path: bool) -> u16 {
    match (family, add_path) {
        (Family::Ipv4Unicast, false) => 2,
        (Family::Ipv6Unicast, false) => 4,
        (Family::Ipv4Unicast, true) => 8,
        (Family::Ipv6Unicast, true) => 10,
    }
}

/// AS numbers always have four octets (RFC 6396 §4.3.4), and no attribute is held back.
const CODEC: Codec = Codec {
    external: false,
    extended_next_hop: FamilySet::ALL,
    max_send_len: MAX_EXTENDED_LEN,
    ..Codec::PLAIN
};
const TABLE_DUMP_V2: u16 = 13;
const PEER_INDEX_TABLE: u16 = 1;
/// Bits of a peer's type (RFC 6396 §4.3.1).
const PEER_IPV6: u8 = 1;
const PEER_AS4: u8 = 2;
