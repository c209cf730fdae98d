//! Prefixes on the wire: a length in bits and as many octets as it needs (RFC 4271 §4.3).
//!
//! In: a field of nothing but prefixes of one family. Out: the prefixes in their order, repeats
//! included, or [`BadField`]. Bits past a prefix's length have no meaning and are cleared.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bytes::{BufMut, BytesMut};

use crate::{family::Family, prefix::Prefix};

/// A prefix is longer than its family allows, or its octets are cut short (RFC 7606 §5.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BadField;

/// Reads a whole field.
pub(super) fn read(family: Family, field: &[u8]) -> Result<Vec<Prefix>, BadField> {
    let mut prefixes = Vec::new();
    let mut rest = field;
    while let Some((len, tail)) = rest.split_first() {
        let octets = tail.get(..usize::from(len.div_ceil(8))).ok_or(BadField)?;
        rest = &tail[octets.len()..];
        prefixes.push(Prefix::new(address(family, octets)?, *len).map_err(|_| BadField)?);
    }
    Ok(prefixes)
}

/// The address that begins with these octets.
fn address(family: Family, octets: &[u8]) -> Result<IpAddr, BadField> {
    let mut whole = [0; 16];
    let size = usize::from(family.max_len() / 8);
    whole[..size].get_mut(..octets.len()).ok_or(BadField)?.copy_from_slice(octets);
    Ok(match family {
        Family::Ipv4Unicast => Ipv4Addr::new(whole[0], whole[1], whole[2], whole[3]).into(),
        Family::Ipv6Unicast => Ipv6Addr::from(whole).into(),
    })
}

/// Octets that a prefix takes.
pub(super) fn size(prefix: Prefix) -> usize {
    1 + usize::from(prefix.len().div_ceil(8))
}

/// Writes one prefix.
pub(super) fn put(prefix: Prefix, out: &mut BytesMut) {
    let significant = size(prefix) - 1;
    out.put_u8(prefix.len());
    match prefix.addr() {
        IpAddr::V4(addr) => out.put_slice(&addr.octets()[..significant]),
        IpAddr::V6(addr) => out.put_slice(&addr.octets()[..significant]),
    }
}

/// Cuts a list into runs of at most `room` octets each, as long as they can be.
///
/// `None` if a prefix needs more than that alone.
pub(super) fn runs(mut prefixes: &[Prefix], room: usize) -> Option<Vec<&[Prefix]>> {
    let mut runs = Vec::new();
    while !prefixes.is_empty() {
        let mut left = room;
        let fitting = prefixes.iter().take_while(|prefix| {
            let fits = size(**prefix) <= left;
            left = left.saturating_sub(size(**prefix));
            fits
        });
        let (run, rest) = prefixes.split_at(fitting.count());
        if run.is_empty() {
            return None;
        }
        runs.push(run);
        prefixes = rest;
    }
    Some(runs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefixes(texts: &[&str]) -> Vec<Prefix> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn rfc4271_4_3_trailing_bits_have_no_meaning_and_repeats_stay() {
        let field = [8, 10, 20, 10, 1, 0xFF, 20, 10, 1, 0xF0, 0, 32, 10, 0, 0, 1];
        let expected = ["10.0.0.0/8", "10.1.240.0/20", "10.1.240.0/20", "0.0.0.0/0", "10.0.0.1/32"];
        assert_eq!(read(Family::Ipv4Unicast, &field), Ok(prefixes(&expected)));
    }

    #[test]
    fn rfc7606_5_3_a_length_past_the_family_or_cut_octets_spoil_the_field() {
        assert_eq!(read(Family::Ipv4Unicast, &[33, 10, 0, 0, 0, 0]), Err(BadField));
        assert_eq!(read(Family::Ipv4Unicast, &[8, 10, 24, 10, 0]), Err(BadField));
        assert_eq!(read(Family::Ipv4Unicast, &[255]), Err(BadField));
        assert_eq!(
            read(Family::Ipv6Unicast, &[[129].as_slice(), &[0; 17]].concat()),
            Err(BadField)
        );
        assert_eq!(read(Family::Ipv6Unicast, &[128, 0xFD]), Err(BadField));
    }

    #[test]
    fn runs_are_as_long_as_they_can_be() {
        let list = prefixes(&["10.0.0.0/8", "10.1.0.0/16", "10.1.1.0/24", "0.0.0.0/0"]);
        let runs = runs(&list, 5).unwrap();
        assert_eq!(runs.iter().map(|run| run.len()).collect::<Vec<_>>(), [2, 2]);
        assert_eq!(runs.concat(), list);
        assert_eq!(super::runs(&list, 3), None);
        assert_eq!(super::runs(&[], 0), Some(vec![]));
    }
}
