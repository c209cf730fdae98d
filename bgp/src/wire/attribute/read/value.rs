//! The values of single attributes, each flaw with what RFC 7606 §7 asks for.
//!
//! In: an attribute's value, its flags already checked. Out: what it says, or its [`Flaw`].

use std::net::Ipv4Addr;

use super::Flaw;
use crate::{
    aspath::{AsPath, Asn},
    attrs::{Aggregator, Origin},
    community::{Community, LargeCommunity},
    wire::{
        ErrorCode,
        attribute::path::{self, BadPath, Width},
        octets::Reader,
    },
};

pub(super) fn origin(value: &[u8]) -> Result<Origin, Flaw> {
    match value {
        [0] => Ok(Origin::Igp),
        [1] => Ok(Origin::Egp),
        [2] => Ok(Origin::Incomplete),
        [_] => Err(Flaw::Withdraw(ErrorCode::INVALID_ORIGIN, "value is above 2")),
        _ => Err(Flaw::Withdraw(ErrorCode::ATTRIBUTE_LENGTH, "length is not 1")),
    }
}

/// A 32-bit number.
pub(super) fn number(value: &[u8]) -> Result<u32, Flaw> {
    let octets = value.try_into();
    let octets = octets.map_err(|_| Flaw::Withdraw(ErrorCode::ATTRIBUTE_LENGTH, "length is not 4"));
    octets.map(u32::from_be_bytes)
}

pub(super) fn address(value: &[u8]) -> Result<Ipv4Addr, Flaw> {
    number(value).map(Ipv4Addr::from_bits)
}

/// AGGREGATOR and AS4_AGGREGATOR (RFC 7606 §7.7, RFC 6793 §6, RFC 7607 §2).
pub(super) fn aggregator(value: &[u8], width: Width) -> Result<Aggregator, Flaw> {
    let mut value = Reader::new(value);
    match (width.read(&mut value), value.u32(), value.is_empty()) {
        (Some(Asn(0)), Some(_), true) => Err(Flaw::Discard("AS 0 (RFC 7607)")),
        (Some(asn), Some(id), true) => Ok(Aggregator { asn, router_id: Ipv4Addr::from_bits(id) }),
        (Some(_) | None, Some(_) | None, true | false) => Err(Flaw::Discard(match width {
            Width::Two => "length is not 6",
            Width::Four => "length is not 8",
        })),
    }
}

/// Any flaw of an AS_PATH spoils the routes (RFC 7606 §7.2, RFC 7607 §2, RFC 9774 §3).
pub(super) fn as_path(value: &[u8], width: Width) -> Result<AsPath, Flaw> {
    path::as_path(value, width)
        .map_err(|bad| Flaw::Withdraw(ErrorCode::MALFORMED_AS_PATH, bad.reason()))
}

/// A malformed AS4_PATH is discarded (RFC 6793 §6), one with a set spoils the routes
/// (RFC 9774 §3).
pub(super) fn as4_path(value: &[u8]) -> Result<AsPath, Flaw> {
    path::as4_path(value).map_err(|bad| match bad {
        BadPath::Malformed(reason) => Flaw::Discard(reason),
        BadPath::Set(reason) => Flaw::Withdraw(ErrorCode::MALFORMED_AS_PATH, reason),
    })
}

pub(super) fn community(octets: [u8; 4]) -> Community {
    Community(u32::from_be_bytes(octets))
}

pub(super) fn large_community(octets: [u8; 12]) -> LargeCommunity {
    let [a, b, c, d, e, f, g, h, i, j, k, l] = octets;
    LargeCommunity {
        global: u32::from_be_bytes([a, b, c, d]),
        local1: u32::from_be_bytes([e, f, g, h]),
        local2: u32::from_be_bytes([i, j, k, l]),
    }
}

/// A list of fixed-size entries, at least one (RFC 7606 §7.8, §7.10, §7.14; RFC 8092 §6).
pub(super) fn entries<const N: usize, T>(
    value: &[u8],
    entry: impl Fn([u8; N]) -> T,
) -> Result<Vec<T>, Flaw> {
    match value.as_chunks::<N>() {
        (entries, []) if !entries.is_empty() => Ok(entries.iter().copied().map(entry).collect()),
        _ => {
            let reason = "length is no multiple of the size of an entry, or 0";
            Err(Flaw::Withdraw(ErrorCode::OPTIONAL_ATTRIBUTE, reason))
        }
    }
}

/// As [`entries`], for lists without an order.
pub(super) fn sorted<const N: usize, T: Ord>(
    value: &[u8],
    entry: impl Fn([u8; N]) -> T,
) -> Result<Vec<T>, Flaw> {
    let mut list = entries(value, entry)?;
    list.sort_unstable();
    list.dedup();
    Ok(list)
}
