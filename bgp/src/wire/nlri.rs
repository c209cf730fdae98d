//! Prefixes on the wire: a length in bits and as many octets as it needs (RFC 4271 §4.3), behind
//! a path identifier where both sides agreed on one (RFC 7911 §3).
//!
//! In: a field of nothing but prefixes of one family. Out: the prefixes in their order, repeats
//! included, or [`BadField`]. Bits past a prefix's length have no meaning and are cleared.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use bytes::{BufMut, BytesMut};

use crate::{family::Family, prefix::Prefix};

/// A prefix as an UPDATE names it: with the number of one of several paths to it where the
/// session carries such numbers (RFC 7911).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nlri {
    /// Destination.
    pub prefix: Prefix,
    /// Tells paths to the prefix apart; the sender's choice, without a meaning to others. 0
    /// where the family has no path identifiers.
    pub path_id: u32,
}

impl Nlri {
    /// The family of the prefix.
    #[must_use]
    pub const fn family(self) -> Family {
        self.prefix.family()
    }
}

/// The prefix with path identifier 0.
impl From<Prefix> for Nlri {
    fn from(prefix: Prefix) -> Self {
        Self { prefix, path_id: 0 }
    }
}

/// `10.0.0.0/8`, with ` path 7` behind it where there is a number.
impl fmt::Display for Nlri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.prefix, f)?;
        match self.path_id {
            0 => Ok(()),
            path_id => write!(f, " path {path_id}"),
        }
    }
}

/// A prefix is longer than its family allows, or its octets are cut short (RFC 7606 §5.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BadField;

/// Reads a whole field; `add_path` if each prefix has a path identifier in front.
pub(super) fn read(family: Family, add_path: bool, field: &[u8]) -> Result<Vec<Nlri>, BadField> {
    if field.is_empty() {
        return Ok(Vec::new());
    }
    // As many as there are if each has four octets, as most do; rounded up, lest one that does not fit double a
    // list that is long already.
    let mut list = Vec::with_capacity((field.len() / 4).next_power_of_two());
    let mut rest = field;
    while !rest.is_empty() {
        let mut path_id = 0;
        if add_path {
            let (octets, tail) = rest.split_first_chunk().ok_or(BadField)?;
            (path_id, rest) = (u32::from_be_bytes(*octets), tail);
        }
        let (len, tail) = rest.split_first().ok_or(BadField)?;
        let octets = tail.get(..usize::from(len.div_ceil(8))).ok_or(BadField)?;
        rest = &tail[octets.len()..];
        let prefix = Prefix::new(address(family, octets)?, *len).map_err(|_| BadField)?;
        list.push(Nlri { prefix, path_id });
    }
    Ok(list)
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
pub(super) fn size(nlri: Nlri, add_path: bool) -> usize {
    let path_id = if add_path { PATH_ID_LEN } else { 0 };
    path_id + 1 + significant(nlri.prefix)
}

/// Octets that the longest prefix of a family takes, with a path identifier.
pub(super) fn longest(family: Family) -> usize {
    PATH_ID_LEN + 1 + usize::from(family.max_len() / 8)
}

/// Writes one prefix; its path identifier only if `add_path`.
pub(super) fn put(nlri: Nlri, add_path: bool, out: &mut BytesMut) {
    let Nlri { prefix, path_id } = nlri;
    if add_path {
        out.put_u32(path_id);
    }
    out.put_u8(prefix.len());
    match prefix.addr() {
        IpAddr::V4(addr) => out.put_slice(&addr.octets()[..significant(prefix)]),
        IpAddr::V6(addr) => out.put_slice(&addr.octets()[..significant(prefix)]),
    }
}

/// Cuts a list into runs of at most `room` octets each, as long as they can be.
///
/// `None` if a prefix needs more than that alone.
pub(super) fn runs(mut list: &[Nlri], add_path: bool, room: usize) -> Option<Vec<&[Nlri]>> {
    let mut runs = Vec::new();
    while !list.is_empty() {
        let mut left = room;
        let fitting = list.iter().take_while(|nlri| {
            let size = size(**nlri, add_path);
            let fits = size <= left;
            left = left.saturating_sub(size);
            fits
        });
        let (run, rest) = list.split_at(fitting.count());
        if run.is_empty() {
            return None;
        }
        runs.push(run);
        list = rest;
    }
    Some(runs)
}

/// Octets of the address that its length makes significant.
const fn significant(prefix: Prefix) -> usize {
    prefix.len().div_ceil(8) as usize
}

/// Octets of a path identifier (RFC 7911 §3).
const PATH_ID_LEN: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn prefixes(texts: &[&str]) -> Vec<Nlri> {
        texts.iter().map(|text| text.parse::<Prefix>().unwrap().into()).collect()
    }

    #[test]
    fn rfc4271_4_3_trailing_bits_have_no_meaning_and_repeats_stay() {
        let field = [8, 10, 20, 10, 1, 0xFF, 20, 10, 1, 0xF0, 0, 32, 10, 0, 0, 1];
        let expected = ["10.0.0.0/8", "10.1.240.0/20", "10.1.240.0/20", "0.0.0.0/0", "10.0.0.1/32"];
        assert_eq!(read(Family::Ipv4Unicast, false, &field), Ok(prefixes(&expected)));
    }

    #[test]
    fn rfc7606_5_3_a_length_past_the_family_or_cut_octets_spoil_the_field() {
        assert_eq!(read(Family::Ipv4Unicast, false, &[33, 10, 0, 0, 0, 0]), Err(BadField));
        assert_eq!(read(Family::Ipv4Unicast, false, &[8, 10, 24, 10, 0]), Err(BadField));
        assert_eq!(read(Family::Ipv4Unicast, false, &[255]), Err(BadField));
        assert_eq!(
            read(Family::Ipv6Unicast, false, &[[129].as_slice(), &[0; 17]].concat()),
            Err(BadField)
        );
        assert_eq!(read(Family::Ipv6Unicast, false, &[128, 0xFD]), Err(BadField));
    }

    #[test]
    fn rfc7911_3_a_path_identifier_stands_in_front_of_each_prefix() {
        let field = [0, 0, 0, 7, 8, 10, 0xFF, 0, 0, 1, 8, 10, 0, 0, 0, 0, 0];
        let [ten, all] = ["10.0.0.0/8", "0.0.0.0/0"].map(|text| text.parse().unwrap());
        let expected = [(ten, 7), (ten, 0xFF00_0001), (all, 0)]
            .map(|(prefix, path_id)| Nlri { prefix, path_id });
        assert_eq!(read(Family::Ipv4Unicast, true, &field), Ok(expected.to_vec()));
        for end in [1, 3, 4, 5, 9, 16] {
            assert_eq!(read(Family::Ipv4Unicast, true, &field[..end]), Err(BadField), "{end}");
        }
        let mut written = BytesMut::new();
        expected.iter().for_each(|nlri| put(*nlri, true, &mut written));
        assert_eq!(written[..], field);
        assert_eq!(expected.iter().map(|nlri| size(*nlri, true)).sum::<usize>(), field.len());
    }

    #[test]
    fn runs_are_as_long_as_they_can_be() {
        let list = prefixes(&["10.0.0.0/8", "10.1.0.0/16", "10.1.1.0/24", "0.0.0.0/0"]);
        let runs = runs(&list, false, 5).unwrap();
        assert_eq!(runs.iter().map(|run| run.len()).collect::<Vec<_>>(), [2, 2]);
        assert_eq!(runs.concat(), list);
        assert_eq!(super::runs(&list, false, 3), None);
        assert_eq!(super::runs(&[], false, 0), Some(vec![]));
    }
}
