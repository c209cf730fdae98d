//! Just enough BGP for a load generator: messages that are built once and written as they are, and
//! a scan of what comes back that counts prefixes and skips all else.
//!
//! In: numbers of routes. Out: octets, and numbers again. Shares no line with the speaker that is
//! measured, so that a fault of its codec cannot hide here.

use std::net::{IpAddr, Ipv4Addr};
use std::ops::Range;

/// What kind of prefixes the routes have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// Each a /24.
    Ipv4,
    /// Each a /48.
    Ipv6,
}

/// Some routes of one sender.
#[derive(Clone, Debug)]
pub(super) struct Routes {
    pub(super) numbers: Range<u32>,
    pub(super) family: Family,
    /// Routes that share one set of attributes.
    pub(super) per_set: u32,
    /// Routes in one UPDATE at most.
    pub(super) per_update: u32,
    pub(super) asn: u32,
    pub(super) next_hop: IpAddr,
    /// Inside of the speaker's own AS: LOCAL_PREF, and no own AS in the path.
    pub(super) internal: bool,
    /// Each prefix has a path identifier (RFC 7911).
    pub(super) add_path: bool,
}

/// What a session offers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Offer {
    pub(super) asn: u32,
    pub(super) router_id: Ipv4Addr,
    /// In seconds.
    pub(super) hold_time: u16,
    /// Path identifiers both ways (RFC 7911).
    pub(super) add_path: bool,
    /// IPv6 alone, so that it is told nothing of the load.
    pub(super) is_quiet: bool,
}

impl Routes {
    /// UPDATEs that announce all of them.
    pub(super) fn announced(&self) -> Vec<u8> {
        let mut all = Vec::new();
        for (set, numbers) in chunks(self.numbers.clone(), self.per_set) {
            let attributes = self.attributes(set);
            let room = MAX_MESSAGE - HEADER - 4 - attributes.len() - MP_REACH_HEAD;
            let fit = u32::try_from(room / self.octets_each()).expect("a message is short");
            for (_, part) in chunks(numbers, self.per_update.min(fit)) {
                let prefixes = self.prefixes(part);
                match self.family {
                    Family::Ipv4 => update(&mut all, &[], &attributes, &prefixes),
                    Family::Ipv6 => {
                        let mut whole = attributes.clone();
                        whole.extend(mp_reach(self.next_hop, &prefixes));
                        update(&mut all, &[], &whole, &[]);
                    }
                }
            }
        }
        all
    }

    /// UPDATEs that withdraw all of them.
    pub(super) fn withdrawn(&self) -> Vec<u8> {
        let mut all = Vec::new();
        let room = (MAX_MESSAGE - HEADER - 4 - MP_REACH_HEAD) / self.octets_each();
        let fit = u32::try_from(room).expect("a message is short");
        let each = if self.per_update < self.per_set { self.per_update } else { fit };
        for (_, part) in chunks(self.numbers.clone(), each) {
            let prefixes = self.prefixes(part);
            match self.family {
                Family::Ipv4 => update(&mut all, &prefixes, &[], &[]),
                Family::Ipv6 => update(&mut all, &[], &mp_unreach(&prefixes), &[]),
            }
        }
        all
    }

    fn prefixes(&self, numbers: Range<u32>) -> Vec<u8> {
        let mut octets = Vec::new();
        for number in numbers {
            if self.add_path {
                octets.extend(1_u32.to_be_bytes());
            }
            self.family.write_prefix(&mut octets, number);
        }
        octets
    }

    const fn octets_each(&self) -> usize {
        let prefix = match self.family {
            Family::Ipv4 => 4,
            Family::Ipv6 => 7,
        };
        if self.add_path { prefix + 4 } else { prefix }
    }

    /// About what an Internet table has: a path of four ASes and two communities.
    fn attributes(&self, set: u32) -> Vec<u8> {
        let mut octets = vec![0x40, 1, 1, 0];
        let own = (!self.internal).then_some(self.asn);
        let beyond = [100_000 + set % 1000, 200_000 + set / 1000, 300_000 + set % 7];
        let path: Vec<u32> = own.into_iter().chain(beyond).collect();
        let length = u8::try_from(2 + 4 * path.len()).expect("four at most");
        octets.extend([0x40, 2, length, 2, length / 4]);
        path.iter().for_each(|asn| octets.extend(asn.to_be_bytes()));
        if let (Family::Ipv4, IpAddr::V4(next_hop)) = (self.family, self.next_hop) {
            octets.extend([0x40, 3, 4]);
            octets.extend(next_hop.octets());
        }
        if self.internal {
            octets.extend([0x40, 5, 4, 0, 0, 0, 100]);
        }
        octets.extend([0xc0, 8, 8]);
        octets.extend(((65_000 << 16) + set % 60_000).to_be_bytes());
        octets.extend(((65_001 << 16) + set / 60_000).to_be_bytes());
        octets
    }
}

impl Family {
    /// Scattered, so that neither the order nor the layout of a table is favourable; the numbers
    /// can be had back without a table.
    fn write_prefix(self, octets: &mut Vec<u8>, number: u32) {
        let place = number.wrapping_mul(SCATTER) & PLACES;
        match self {
            Self::Ipv4 => {
                octets.push(24);
                octets.extend(&(FIRST_24 + place).to_be_bytes()[1..]);
            }
            Self::Ipv6 => {
                octets.extend([48, 0x2a]);
                octets.extend(&place.to_be_bytes()[1..]);
                octets.extend([0, 0]);
            }
        }
    }

    /// The number of a prefix, if it is one of ours.
    fn number(self, length: u8, octets: &[u8]) -> Option<u32> {
        let place = match (self, length, octets) {
            (Self::Ipv4, 24, [a, b, c]) => {
                u32::from_be_bytes([0, *a, *b, *c]).checked_sub(FIRST_24)?
            }
            (Self::Ipv6, 48, [0x2a, a, b, c, 0, 0]) => u32::from_be_bytes([0, *a, *b, *c]),
            _ => return None,
        };
        (place <= PLACES).then(|| place.wrapping_mul(GATHER) & PLACES)
    }
}

/// What a receiver makes of an UPDATE.
pub(super) trait Heard {
    /// The route is there, or has changed.
    fn reach(&mut self, number: u32);
    /// The route is gone.
    fn withdraw(&mut self, number: u32);
}

/// Tells what stands in an UPDATE (header included). `add_path` is whether path identifiers do.
///
/// `None` if it is malformed or has a prefix that nobody sent.
pub(super) fn scan(message: &[u8], add_path: bool, heard: &mut impl Heard) -> Option<()> {
    let (withdrawn, rest) = counted(message.get(HEADER..)?)?;
    each(Family::Ipv4, withdrawn, add_path, |number| heard.withdraw(number))?;
    let (attributes, reach) = counted(rest)?;
    if reach.is_empty() && !attributes.is_empty() {
        scan_attributes(attributes, add_path, heard)?;
    }
    each(Family::Ipv4, reach, add_path, |number| heard.reach(number))
}

fn scan_attributes(mut rest: &[u8], add_path: bool, heard: &mut impl Heard) -> Option<()> {
    while let [flags, code, tail @ ..] = rest {
        let (length, tail) = if flags & 0x10 == 0 {
            let (length, tail) = tail.split_first()?;
            (usize::from(*length), tail)
        } else {
            let (length, tail) = tail.split_first_chunk()?;
            (usize::from(u16::from_be_bytes(*length)), tail)
        };
        let value = tail.get(..length)?;
        rest = &tail[length..];
        match code {
            14 => {
                let nlri = value.get(5 + usize::from(*value.get(3)?)..)?;
                each(Family::Ipv6, nlri, add_path, |number| heard.reach(number))?;
            }
            15 => each(Family::Ipv6, value.get(3..)?, add_path, |number| heard.withdraw(number))?,
            _ => {}
        }
    }
    Some(())
}

fn each(family: Family, mut nlri: &[u8], add_path: bool, mut tell: impl FnMut(u32)) -> Option<()> {
    while !nlri.is_empty() {
        if add_path {
            nlri = nlri.get(4..)?;
        }
        let (length, rest) = nlri.split_first()?;
        let octets = usize::from(length.div_ceil(8));
        tell(family.number(*length, rest.get(..octets)?)?);
        nlri = &rest[octets..];
    }
    Some(())
}

/// The part behind a length of two octets, and what follows it.
fn counted(octets: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = octets.split_first_chunk()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

/// The type of the first message and where it ends, if all of it is there.
pub(super) fn first_message(octets: &[u8]) -> Option<(u8, usize)> {
    let end = usize::from(u16::from_be_bytes([*octets.get(16)?, *octets.get(17)?]));
    (octets.len() >= end.max(HEADER)).then(|| (octets[18], end.max(HEADER)))
}

/// An OPEN with 4-octet AS.
pub(super) fn open(offer: Offer) -> Vec<u8> {
    let Offer { asn, router_id, hold_time, add_path, is_quiet } = offer;
    let mut capabilities = vec![1, 4, 0, 2, 0, 1, 65, 4];
    capabilities.extend(asn.to_be_bytes());
    if !is_quiet {
        capabilities.extend([1, 4, 0, 1, 0, 1]);
    }
    if add_path {
        capabilities.extend([69, 8, 0, 1, 1, 3, 0, 2, 1, 3]);
    }
    let length = u8::try_from(capabilities.len()).expect("some dozen octets");
    let mut body = vec![4];
    body.extend(u16::try_from(asn).unwrap_or(AS_TRANS).to_be_bytes());
    body.extend(hold_time.to_be_bytes());
    body.extend(router_id.octets());
    body.extend([length + 2, 2, length]);
    body.extend(capabilities);
    let mut message = Vec::new();
    head(&mut message, body.len(), OPEN);
    message.extend(body);
    message
}

/// A KEEPALIVE.
pub(super) fn keepalive() -> Vec<u8> {
    let mut message = Vec::new();
    head(&mut message, 0, KEEPALIVE);
    message
}

fn update(out: &mut Vec<u8>, withdrawn: &[u8], attributes: &[u8], reach: &[u8]) {
    let length = |part: &[u8]| u16::try_from(part.len()).expect("a message is short").to_be_bytes();
    head(out, 4 + withdrawn.len() + attributes.len() + reach.len(), UPDATE);
    out.extend(length(withdrawn));
    out.extend(withdrawn);
    out.extend(length(attributes));
    out.extend(attributes);
    out.extend(reach);
}

fn mp_reach(next_hop: IpAddr, prefixes: &[u8]) -> Vec<u8> {
    let IpAddr::V6(next_hop) = next_hop else { return Vec::new() };
    let length = u16::try_from(MP_REACH_HEAD - 4 + prefixes.len()).expect("a message is short");
    let mut octets = vec![0x90, 14];
    octets.extend(length.to_be_bytes());
    octets.extend([0, 2, 1, 16]);
    octets.extend(next_hop.octets());
    octets.push(0);
    octets.extend(prefixes);
    octets
}

fn mp_unreach(prefixes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(3 + prefixes.len()).expect("a message is short");
    let mut octets = vec![0x90, 15];
    octets.extend(length.to_be_bytes());
    octets.extend([0, 2, 1]);
    octets.extend(prefixes);
    octets
}

fn head(out: &mut Vec<u8>, body: usize, kind: u8) {
    out.extend([0xff; 16]);
    out.extend(u16::try_from(HEADER + body).expect("a message is short").to_be_bytes());
    out.push(kind);
}

/// Consecutive parts of at most `each` numbers, with the part's number.
fn chunks(numbers: Range<u32>, each: u32) -> impl Iterator<Item = (u32, Range<u32>)> {
    let Range { start, end } = numbers;
    let each = each.max(1);
    (start..end)
        .step_by(each as usize)
        .map(move |at| (at / each, at..end.min(at.saturating_add(each))))
}

/// Message types.
pub(super) const OPEN: u8 = 1;
pub(super) const UPDATE: u8 = 2;
pub(super) const NOTIFICATION: u8 = 3;
pub(super) const KEEPALIVE: u8 = 4;
/// Octets of a header.
pub(super) const HEADER: usize = 19;
/// Octets of the longest message (RFC 4271 §4).
pub(super) const MAX_MESSAGE: usize = 4096;
/// Offered by the load, in seconds.
pub(super) const HOLD_TIME: u16 = 180;
const AS_TRANS: u16 = 23456;
/// Octets of MP_REACH_NLRI in front of its prefixes.
const MP_REACH_HEAD: usize = 4 + 4 + 16 + 1;
/// 16.0.0.0/24: from here on and up to 79.255.255.0/24 nothing has a meaning of its own.
const FIRST_24: u32 = 16 << 16;
/// Places of prefixes are numbers of 22 bits.
const PLACES: u32 = (1 << 22) - 1;
/// An odd number, and its inverse modulo 2^32.
const SCATTER: u32 = 0x9e37_79b1;
const GATHER: u32 = {
    let mut inverse = SCATTER;
    let mut round = 0;
    while round < 5 {
        inverse = inverse.wrapping_mul(2_u32.wrapping_sub(SCATTER.wrapping_mul(inverse)));
        round += 1;
    }
    inverse
};

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[derive(Default)]
    struct Sets {
        reach: BTreeSet<u32>,
        withdrawn: BTreeSet<u32>,
    }

    impl Heard for Sets {
        fn reach(&mut self, number: u32) {
            assert!(self.reach.insert(number));
        }
        fn withdraw(&mut self, number: u32) {
            assert!(self.withdrawn.insert(number));
        }
    }

    fn heard(mut octets: &[u8]) -> (Sets, usize) {
        let (mut sets, mut messages) = (Sets::default(), 0);
        while let Some((kind, end)) = first_message(octets) {
            assert_eq!(kind, UPDATE);
            assert!(end <= MAX_MESSAGE);
            scan(&octets[..end], false, &mut sets).unwrap();
            octets = &octets[end..];
            messages += 1;
        }
        assert!(octets.is_empty());
        (sets, messages)
    }

    #[test]
    fn what_is_sent_is_what_is_counted() {
        for (family, next_hop) in [(Family::Ipv4, "10.0.0.1"), (Family::Ipv6, "fd00::1")] {
            let numbers = 100_000..105_005;
            let routes = Routes {
                numbers: numbers.clone(),
                family,
                per_set: 10,
                per_update: u32::MAX,
                asn: 4_200_000_001,
                next_hop: next_hop.parse().unwrap(),
                internal: false,
                add_path: false,
            };
            let (sets, messages) = heard(&routes.announced());
            assert!(sets.reach.into_iter().eq(numbers.clone()) && sets.withdrawn.is_empty());
            assert_eq!(messages, 501);
            let (sets, messages) = heard(&routes.withdrawn());
            assert!(sets.withdrawn.into_iter().eq(numbers.clone()) && sets.reach.is_empty());
            assert!(messages < 12);
            let in_one_set = Routes { per_set: u32::MAX, ..routes.clone() };
            assert_eq!(heard(&in_one_set.announced()).0.reach.len(), numbers.len());
            let one_by_one = Routes { per_update: 1, ..routes };
            assert_eq!(heard(&one_by_one.announced()).1, numbers.len());
            assert_eq!(heard(&one_by_one.withdrawn()).1, numbers.len());
        }
    }

    #[test]
    fn an_update_that_is_cut_short_or_has_a_strange_prefix_is_not_counted() {
        let mut strange = Vec::new();
        update(&mut strange, &[24, 192, 0, 2], &[], &[]);
        assert_eq!(scan(&strange, false, &mut Sets::default()), None);
        let mut cut = Vec::new();
        update(&mut cut, &[24, 16, 0], &[], &[]);
        assert_eq!(scan(&cut, false, &mut Sets::default()), None);
    }
}
