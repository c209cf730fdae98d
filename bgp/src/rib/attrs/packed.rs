//! Attributes as a few octets: how the table keeps them.
//!
//! In: a set of attributes. Out: octets, the same for equal sets and for no others, and the set
//! again, or just what the decision or the watch on next hops asks. What most sets lack costs one bit.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU32;

use bytes::Bytes;

use crate::{
    aspath::{AsPath, Asn, Segment, SegmentKind},
    attrs::{Aggregator, Attrs, NextHop, Origin, PartialSet, UnknownAttr},
    community::{Community, ExtCommunity, LargeCommunity},
    rib::decide::Merits,
};

/// Which parts follow; those of the decision first. The lowest two bits are ORIGIN.
mod has {
    pub(super) const ORIGIN: u32 = 0b11;
    pub(super) const LONG_LIVED: u32 = 1 << 2;
    pub(super) const ATOMIC_AGGREGATE: u32 = 1 << 3;
    pub(super) const IPV6: u32 = 1 << 4;
    pub(super) const LINK_LOCAL: u32 = 1 << 5;
    pub(super) const SCOPE: u32 = 1 << 6;
    pub(super) const WEIGHT: u32 = 1 << 7;
    pub(super) const LOCAL_PREF: u32 = 1 << 8;
    pub(super) const MED: u32 = 1 << 9;
    pub(super) const ORIGINATOR: u32 = 1 << 10;
    pub(super) const CLUSTERS: u32 = 1 << 11;
    pub(super) const AGGREGATOR: u32 = 1 << 12;
    pub(super) const OTC: u32 = 1 << 13;
    pub(super) const PARTIAL: u32 = 1 << 14;
    pub(super) const COMMUNITIES: u32 = 1 << 15;
    pub(super) const EXT_COMMUNITIES: u32 = 1 << 16;
    pub(super) const LARGE_COMMUNITIES: u32 = 1 << 17;
    pub(super) const UNKNOWN: u32 = 1 << 18;
}

/// Writes the octets of a set behind what stands in `out`.
pub(super) fn pack(attrs: &Attrs, out: &mut Vec<u8>) {
    put_count(out, parts(attrs) as usize);
    match attrs.next_hop.addr {
        IpAddr::V4(addr) => out.extend_from_slice(&addr.octets()),
        IpAddr::V6(addr) => out.extend_from_slice(&addr.octets()),
    }
    if let Some(addr) = attrs.next_hop.link_local {
        out.extend_from_slice(&addr.octets());
    }
    let scope = attrs.next_hop.scope.map(NonZeroU32::get);
    let weight = (attrs.weight != 0).then_some(attrs.weight);
    let originator = attrs.originator_id.map(Ipv4Addr::to_bits);
    for number in [scope, weight, attrs.local_pref, attrs.med, originator].into_iter().flatten() {
        put_number(out, number);
    }
    put_list(out, &attrs.cluster_list, |router| router.octets());
    put_count(out, attrs.as_path.segments.len());
    for Segment { kind, asns } in &attrs.as_path.segments {
        put_count(out, asns.len() << 2 | *kind as usize);
        for asn in asns {
            put_number(out, asn.0);
        }
    }
    if let Some(Aggregator { asn, router_id }) = attrs.aggregator {
        put_number(out, asn.0);
        put_number(out, router_id.to_bits());
    }
    if let Some(asn) = attrs.otc {
        put_number(out, asn.0);
    }
    if attrs.partial != PartialSet::NONE {
        out.push(attrs.partial.bits());
    }
    put_list(out, &attrs.communities, |community| community.0.to_be_bytes());
    put_list(out, &attrs.ext_communities, |community| community.0);
    if !attrs.large_communities.is_empty() {
        put_count(out, attrs.large_communities.len());
        for LargeCommunity { global, local1, local2 } in &attrs.large_communities {
            for part in [global, local1, local2] {
                put_number(out, *part);
            }
        }
    }
    if !attrs.unknown.is_empty() {
        put_count(out, attrs.unknown.len());
        for UnknownAttr { code, value } in &attrs.unknown {
            out.push(*code);
            put_count(out, value.len());
            out.extend_from_slice(value);
        }
    }
}

/// The set of these octets.
pub(super) fn unpack(octets: &[u8]) -> Attrs {
    let mut rest = Octets(octets);
    let Head { parts, next_hop, weight, local_pref, med, originator_id } = rest.head();
    let cluster_list = rest.list(parts & has::CLUSTERS, Octets::address);
    let segments = (0..rest.count()).map(|_| {
        let (kind, len) = rest.segment();
        Segment { kind, asns: (0..len).map(|_| Asn(rest.number())).collect() }
    });
    let as_path = AsPath { segments: segments.collect() };
    let aggregator = (parts & has::AGGREGATOR != 0)
        .then(|| Aggregator { asn: Asn(rest.number()), router_id: rest.address() });
    let otc = rest.number_if(parts & has::OTC).map(Asn);
    let mut partial = PartialSet::NONE;
    if parts & has::PARTIAL != 0 {
        partial = PartialSet::from_bits(rest.octets::<1>()[0]);
    }
    let communities = rest.list(parts & has::COMMUNITIES, |rest| Community(rest.number()));
    let ext_communities =
        rest.list(parts & has::EXT_COMMUNITIES, |rest| ExtCommunity(rest.octets()));
    let large_communities = rest.list(parts & has::LARGE_COMMUNITIES, |rest| {
        let (global, local1, local2) = (rest.number(), rest.number(), rest.number());
        LargeCommunity { global, local1, local2 }
    });
    let unknown = rest.list(parts & has::UNKNOWN, |rest| {
        let [code] = rest.octets();
        let len = rest.count();
        UnknownAttr { code, value: Bytes::copy_from_slice(rest.take(len)) }
    });
    Attrs {
        weight: weight.unwrap_or(0),
        origin: origin(parts),
        as_path,
        next_hop,
        med,
        local_pref,
        atomic_aggregate: parts & has::ATOMIC_AGGREGATE != 0,
        aggregator,
        communities,
        ext_communities,
        large_communities,
        originator_id,
        cluster_list,
        otc,
        unknown,
        partial,
    }
}

/// The next hop of the set of these octets.
pub(super) fn next_hop(octets: &[u8]) -> NextHop {
    Octets(octets).head().next_hop
}

/// What the decision asks of the set of these octets.
pub(super) fn merits(octets: &[u8]) -> Merits {
    let mut rest = Octets(octets);
    let Head { parts, weight, local_pref, med, originator_id, .. } = rest.head();
    let clusters = if parts & has::CLUSTERS == 0 { 0 } else { rest.count() };
    rest.take(clusters * size_of::<u32>());
    let (mut hops, mut neighbour, mut seen) = (0, None, false);
    for _ in 0..rest.count() {
        let (kind, len) = rest.segment();
        let asns = rest.take(len * size_of::<u32>());
        hops += match kind {
            SegmentKind::Sequence => len,
            SegmentKind::Set => 1,
            SegmentKind::ConfedSequence | SegmentKind::ConfedSet => 0,
        };
        if matches!(kind, SegmentKind::Sequence | SegmentKind::Set) && !seen {
            seen = true;
            let first = (kind == SegmentKind::Sequence && len > 0).then(|| Octets(asns).number());
            neighbour = first.map(Asn);
        }
    }
    Merits {
        long_lived: parts & has::LONG_LIVED != 0,
        weight: weight.unwrap_or(0),
        local_pref,
        hops,
        origin: origin(parts),
        neighbour,
        med,
        originator_id,
        clusters,
    }
}

fn parts(attrs: &Attrs) -> u32 {
    let which = [
        (has::LONG_LIVED, attrs.has(Community::LLGR_STALE)),
        (has::ATOMIC_AGGREGATE, attrs.atomic_aggregate),
        (has::IPV6, attrs.next_hop.addr.is_ipv6()),
        (has::LINK_LOCAL, attrs.next_hop.link_local.is_some()),
        (has::SCOPE, attrs.next_hop.scope.is_some()),
        (has::WEIGHT, attrs.weight != 0),
        (has::LOCAL_PREF, attrs.local_pref.is_some()),
        (has::MED, attrs.med.is_some()),
        (has::ORIGINATOR, attrs.originator_id.is_some()),
        (has::CLUSTERS, !attrs.cluster_list.is_empty()),
        (has::AGGREGATOR, attrs.aggregator.is_some()),
        (has::OTC, attrs.otc.is_some()),
        (has::PARTIAL, attrs.partial != PartialSet::NONE),
        (has::COMMUNITIES, !attrs.communities.is_empty()),
        (has::EXT_COMMUNITIES, !attrs.ext_communities.is_empty()),
        (has::LARGE_COMMUNITIES, !attrs.large_communities.is_empty()),
        (has::UNKNOWN, !attrs.unknown.is_empty()),
    ];
    let which = which.into_iter().filter(|(_, there)| *there);
    which.fold(attrs.origin as u32, |parts, (part, _)| parts | part)
}

const fn origin(parts: u32) -> Origin {
    match parts & has::ORIGIN {
        0 => Origin::Igp,
        1 => Origin::Egp,
        _ => Origin::Incomplete,
    }
}

fn put_list<T: Copy, const N: usize>(out: &mut Vec<u8>, list: &[T], octets: fn(T) -> [u8; N]) {
    if !list.is_empty() {
        put_count(out, list.len());
        for item in list {
            out.extend_from_slice(&octets(*item));
        }
    }
}

fn put_number(out: &mut Vec<u8>, number: u32) {
    out.extend_from_slice(&number.to_be_bytes());
}

/// Seven bits an octet, the lowest first; the highest bit says that more follow.
fn put_count(out: &mut Vec<u8>, mut count: usize) {
    while count >= 0x80 {
        out.push(count.to_le_bytes()[0] | 0x80);
        count >>= 7;
    }
    out.push(count.to_le_bytes()[0]);
}

/// What stands at the beginning.
struct Head {
    parts: u32,
    next_hop: NextHop,
    weight: Option<u32>,
    local_pref: Option<u32>,
    med: Option<u32>,
    originator_id: Option<Ipv4Addr>,
}

/// Octets still to be read, which [`pack`] has written.
struct Octets<'a>(&'a [u8]);

impl<'a> Octets<'a> {
    fn head(&mut self) -> Head {
        let parts = u32::try_from(self.count()).expect("written from 32 bits");
        let addr = if parts & has::IPV6 == 0 {
            IpAddr::V4(self.address())
        } else {
            IpAddr::V6(Ipv6Addr::from(self.octets::<16>()))
        };
        let link_local =
            (parts & has::LINK_LOCAL != 0).then(|| Ipv6Addr::from(self.octets::<16>()));
        let scope = self.number_if(parts & has::SCOPE).and_then(NonZeroU32::new);
        Head {
            parts,
            next_hop: NextHop { addr, link_local, scope },
            weight: self.number_if(parts & has::WEIGHT),
            local_pref: self.number_if(parts & has::LOCAL_PREF),
            med: self.number_if(parts & has::MED),
            originator_id: self.number_if(parts & has::ORIGINATOR).map(Ipv4Addr::from_bits),
        }
    }

    fn segment(&mut self) -> (SegmentKind, usize) {
        let head = self.count();
        let kind = match head & 0b11 {
            0 => SegmentKind::Set,
            1 => SegmentKind::Sequence,
            2 => SegmentKind::ConfedSequence,
            _ => SegmentKind::ConfedSet,
        };
        (kind, head >> 2)
    }

    fn list<T>(&mut self, there: u32, mut item: impl FnMut(&mut Self) -> T) -> Vec<T> {
        if there == 0 {
            return Vec::new();
        }
        (0..self.count()).map(|_| item(self)).collect()
    }

    fn number_if(&mut self, there: u32) -> Option<u32> {
        (there != 0).then(|| self.number())
    }

    fn number(&mut self) -> u32 {
        u32::from_be_bytes(self.octets())
    }

    fn address(&mut self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.number())
    }

    fn count(&mut self) -> usize {
        let (mut count, mut at) = (0, 0);
        loop {
            let [octet] = self.octets();
            count |= usize::from(octet & 0x7f) << at;
            at += 7;
            if octet & 0x80 == 0 {
                return count;
            }
        }
    }

    fn octets<const N: usize>(&mut self) -> [u8; N] {
        let (octets, rest) = self.0.split_first_chunk().expect("as many as were written");
        self.0 = rest;
        *octets
    }

    fn take(&mut self, len: usize) -> &'a [u8] {
        let (octets, rest) = self.0.split_at(len);
        self.0 = rest;
        octets
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, option, prelude::*};

    use super::{super::brief::Brief, *};

    fn any_path() -> impl Strategy<Value = AsPath> {
        let kind = prop_oneof![
            Just(SegmentKind::Set),
            Just(SegmentKind::Sequence),
            Just(SegmentKind::ConfedSequence),
            Just(SegmentKind::ConfedSet),
        ];
        let asns = prop_oneof![vec(any::<u32>().prop_map(Asn), 1..5), vec(Just(Asn(7)), 1..300)];
        let segment = (kind, asns).prop_map(|(kind, asns)| Segment { kind, asns });
        vec(segment, 0..4).prop_map(|segments| AsPath { segments })
    }

    fn any_next_hop() -> impl Strategy<Value = NextHop> {
        let link_local = option::of(any::<u128>().prop_map(Ipv6Addr::from_bits));
        let scope = any::<u32>().prop_map(NonZeroU32::new);
        let addr = any::<IpAddr>();
        (addr, link_local, scope).prop_map(|(addr, link_local, scope)| NextHop {
            addr,
            link_local,
            scope,
        })
    }

    fn any_origin() -> impl Strategy<Value = Origin> {
        prop_oneof![Just(Origin::Igp), Just(Origin::Egp), Just(Origin::Incomplete)]
    }

    prop_compose! {
        fn any_attrs()(
            (weight, med, local_pref, otc) in
                (prop_oneof![Just(0), any::<u32>()], any::<Option<u32>>(), any::<Option<u32>>(),
                 any::<Option<u32>>()),
            (origin, as_path, next_hop) in (any_origin(), any_path(), any_next_hop()),
            (atomic_aggregate, partial, aggregator, originator) in
                (any::<bool>(), any::<u8>(), any::<Option<(u32, u32)>>(), any::<Option<u32>>()),
            (stale, communities, ext) in
                (any::<bool>(), vec(any::<u32>(), 0..4), vec(any::<[u8; 8]>(), 0..3)),
            (large, clusters) in (vec(any::<(u32, u32, u32)>(), 0..3), vec(any::<u32>(), 0..3)),
            unknown in vec((any::<u8>(), vec(any::<u8>(), 0..200)), 0..3),
        ) -> Attrs {
            let mut attrs = Attrs {
                weight,
                origin,
                as_path,
                next_hop,
                med,
                local_pref,
                atomic_aggregate,
                aggregator: aggregator
                    .map(|(asn, id)| Aggregator { asn: Asn(asn), router_id: id.into() }),
                communities: Vec::new(),
                ext_communities: ext.into_iter().map(ExtCommunity).collect(),
                large_communities: large
                    .into_iter()
                    .map(|(global, local1, local2)| LargeCommunity { global, local1, local2 })
                    .collect(),
                originator_id: originator.map(Ipv4Addr::from_bits),
                cluster_list: clusters.into_iter().map(Ipv4Addr::from_bits).collect(),
                otc: otc.map(Asn),
                unknown: unknown
                    .into_iter()
                    .map(|(code, value)| UnknownAttr { code, value: value.into() })
                    .collect(),
                partial: PartialSet::from_bits(partial),
            };
            communities.into_iter().for_each(|community| attrs.add(Community(community)));
            if stale {
                attrs.add(Community::LLGR_STALE);
            }
            attrs
        }
    }

    fn packed(attrs: &Attrs) -> Vec<u8> {
        let mut octets = Vec::new();
        pack(attrs, &mut octets);
        octets
    }

    proptest! {
        #[test]
        fn what_is_packed_comes_out_again_whole_or_in_part(attrs in any_attrs()) {
            let octets = packed(&attrs);
            prop_assert_eq!(&unpack(&octets), &attrs);
            prop_assert_eq!(next_hop(&octets), attrs.next_hop);
            prop_assert_eq!(merits(&octets), Merits::of(&attrs));
            let brief = Brief::of(&merits(&octets)).merits();
            let fits = attrs.weight == 0 && attrs.originator_id.is_none()
                && attrs.cluster_list.is_empty();
            prop_assert_eq!(brief, fits.then(|| Merits::of(&attrs)));
        }

        #[test]
        fn only_equal_sets_have_equal_octets(one in any_attrs(), other in any_attrs()) {
            prop_assert_eq!(packed(&one) == packed(&other), one == other);
        }
    }

    #[test]
    fn an_ordinary_set_takes_some_forty_octets() {
        let mut attrs = Attrs::originated(NextHop::new(Ipv4Addr::LOCALHOST.into()));
        attrs.as_path = AsPath::sequence([65_001, 100_000, 200_000, 300_000]);
        attrs.communities = vec![Community(1), Community(2)];
        assert_eq!(packed(&attrs).len(), 34);
    }
}
