//! Made-up BGP values for property tests: every value that a peer could mean, in the canonical
//! form in which it is read.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    ops::RangeInclusive,
    sync::Arc,
};

use bgp::{
    aspath::{AsPath, Asn},
    attrs::{Aggregator, Attrs, NextHop, Origin, PartialSet, UnknownAttr},
    community::{Community, ExtCommunity, LargeCommunity},
    family::{Family, FamilySet},
    prefix::Prefix,
    wire::{AttrCode, Capability, Codec, MAX_EXTENDED_LEN, MAX_LEN, Nlri, Open, Reach, Update},
};
use bytes::Bytes;
use proptest::{collection::vec, option, prelude::*};

/// Every way of reading and writing, the same in both directions.
pub fn codec() -> impl Strategy<Value = Codec> {
    let families = (families(), families());
    (any::<[bool; 3]>(), families).prop_map(
        |([four_octet_as, external, extended], (add_path, extended_next_hop))| {
            let max_len = if extended { MAX_EXTENDED_LEN } else { MAX_LEN };
            Codec {
                four_octet_as,
                external,
                families: FamilySet::ALL,
                add_path_receive: add_path,
                add_path_send: add_path,
                extended_next_hop,
                max_receive_len: max_len,
                max_send_len: max_len,
            }
        },
    )
}

/// Either family.
pub fn family() -> impl Strategy<Value = Family> {
    prop::sample::select(&Family::ALL)
}

/// Any set of families.
pub fn families() -> impl Strategy<Value = FamilySet> {
    any::<[bool; 2]>().prop_map(|chosen| {
        let families = Family::ALL.into_iter().zip(chosen);
        families.filter_map(|(family, chosen)| chosen.then_some(family)).collect()
    })
}

/// Any prefix of a family with a path identifier where the family has them.
pub fn nlri(family: Family, codec: Codec) -> impl Strategy<Value = Nlri> {
    let add_path = codec.add_path_send.contains(family);
    (prefix(family), any::<u32>())
        .prop_map(move |(prefix, id)| Nlri { prefix, path_id: if add_path { id } else { 0 } })
}

/// Any prefix of a family, every length as likely as the next.
pub fn prefix(family: Family) -> impl Strategy<Value = Prefix> {
    (any::<u128>(), 0..=family.max_len()).prop_map(move |(bits, len)| {
        let addr = match family {
            Family::Ipv4Unicast => {
                let [a, b, c, d, ..] = bits.to_be_bytes();
                IpAddr::V4(Ipv4Addr::new(a, b, c, d))
            }
            Family::Ipv6Unicast => IpAddr::V6(Ipv6Addr::from_bits(bits)),
        };
        Prefix::new(addr, len).expect("the length is within the family's")
    })
}

/// AS numbers as they are met: mostly of two octets.
pub fn asn() -> impl Strategy<Value = Asn> {
    prop_oneof![3 => 1..=65_535_u32, 1 => 1..=u32::MAX].prop_map(Asn)
}

/// A path of one sequence, now and then longer than a segment.
pub fn as_path() -> impl Strategy<Value = AsPath> {
    let asns = prop_oneof![20 => vec(asn(), 0..8), 1 => vec(asn(), 250..600)];
    asns.prop_map(|asns| AsPath::sequence(asns.into_iter().map(|asn| asn.0)))
}

/// A next hop that prefixes of the family can have on a session with this codec.
pub fn next_hop(family: Family, codec: Codec) -> impl Strategy<Value = NextHop> {
    let global = any::<u128>().prop_map(|bits| Ipv6Addr::from_bits(bits | 1 << 125));
    let link_local =
        any::<u64>().prop_map(|bits| Ipv6Addr::from_bits(0xFE80_u128 << 112 | u128::from(bits)));
    let v6 = (global, option::of(link_local.clone())).prop_map(|(addr, link_local)| NextHop {
        addr: addr.into(),
        link_local,
        scope: None,
    });
    let v6 = prop_oneof![v6, link_local.prop_map(|addr| NextHop::new(addr.into()))];
    let v4 = any::<u32>().prop_map(|bits| NextHop::new(Ipv4Addr::from_bits(bits).into()));
    match family {
        Family::Ipv4Unicast if codec.extended_next_hop.contains(family) => {
            prop_oneof![v4, v6].boxed()
        }
        Family::Ipv4Unicast => v4.boxed(),
        Family::Ipv6Unicast => v6.boxed(),
    }
}

/// Attributes that a peer with this codec can send with prefixes of this family.
pub fn attrs(family: Family, codec: Codec) -> impl Strategy<Value = Attrs> {
    let origin = prop::sample::select(&[Origin::Igp, Origin::Egp, Origin::Incomplete]);
    let aggregator = (asn(), any::<u32>())
        .prop_map(|(asn, id)| Aggregator { asn, router_id: Ipv4Addr::from_bits(id) });
    let large = any::<(u32, u32, u32)>().prop_map(|(global, local1, local2)| LargeCommunity {
        global,
        local1,
        local2,
    });
    let basic =
        (origin, as_path(), next_hop(family, codec), option::of(any::<u32>()), any::<bool>());
    let communities = (
        sorted(any::<u32>().prop_map(Community)),
        sorted(any::<[u8; 8]>().prop_map(ExtCommunity)),
        sorted(large),
    );
    let inside = (option::of(any::<u32>()), option::of(any::<u32>()), vec(any::<u32>(), 0..4));
    let rest = (option::of(aggregator), option::of(asn()), unknown(), any::<[bool; 5]>());
    (basic, communities, inside, rest).prop_map(move |(basic, communities, inside, rest)| {
        let mut attrs = Attrs {
            weight: 0,
            origin: basic.0,
            as_path: basic.1,
            next_hop: basic.2,
            med: basic.3,
            atomic_aggregate: basic.4,
            communities: communities.0,
            ext_communities: communities.1,
            large_communities: communities.2,
            local_pref: inside.0,
            originator_id: inside.1.map(Ipv4Addr::from_bits),
            cluster_list: inside.2.into_iter().map(Ipv4Addr::from_bits).collect(),
            aggregator: rest.0,
            otc: rest.1,
            unknown: rest.2,
            partial: PartialSet::NONE,
        };
        if codec.external {
            (attrs.local_pref, attrs.originator_id, attrs.cluster_list) = (None, None, Vec::new());
        }
        attrs.partial = partial(&attrs, rest.3);
        attrs
    })
}

/// Only an attribute that is there can be partial.
fn partial(attrs: &Attrs, wished: [bool; 5]) -> PartialSet {
    let there = [
        (attrs.aggregator.is_some(), PartialSet::AGGREGATOR),
        (!attrs.communities.is_empty(), PartialSet::COMMUNITIES),
        (!attrs.ext_communities.is_empty(), PartialSet::EXT_COMMUNITIES),
        (!attrs.large_communities.is_empty(), PartialSet::LARGE_COMMUNITIES),
        (attrs.otc.is_some(), PartialSet::OTC),
    ];
    let mut set = PartialSet::NONE;
    for ((there, place), wished) in there.into_iter().zip(wished) {
        if there && wished {
            set.insert(place);
        }
    }
    set
}

/// Attributes that no RFC has given a meaning, in the order of their codes.
fn unknown() -> impl Strategy<Value = Vec<UnknownAttr>> {
    let one = (UNASSIGNED, prop_oneof![9 => vec(any::<u8>(), 0..20), 1 => vec(any::<u8>(), 300)])
        .prop_map(|(code, value)| UnknownAttr { code, value: Bytes::from(value) });
    vec(one, 0..3).prop_map(|mut list| {
        list.retain(|attr| AttrCode(attr.code).name().is_none());
        list.sort();
        list.dedup_by_key(|attr| attr.code);
        list
    })
}

fn sorted<T: Ord + std::fmt::Debug>(
    element: impl Strategy<Value = T>,
) -> impl Strategy<Value = Vec<T>> {
    vec(element, 0..6).prop_map(|mut list| {
        list.sort_unstable();
        list.dedup();
        list
    })
}

/// Prefixes with attributes that a peer with this codec can send.
pub fn reach(family: Family, codec: Codec) -> impl Strategy<Value = Reach> {
    let routed = nlri(family, codec).prop_filter("unicast", |nlri| nlri.prefix.is_unicast());
    (attrs(family, codec), vec(routed, 1..40)).prop_map(move |(attrs, prefixes)| Reach {
        family,
        attrs: Arc::new(attrs),
        prefixes,
    })
}

/// Anything that a peer with this codec can say in UPDATEs without a flaw.
pub fn update(codec: Codec) -> impl Strategy<Value = Update> {
    let withdrawn = family().prop_flat_map(move |family| vec(nlri(family, codec), 0..40));
    let reach = family().prop_flat_map(move |family| vec(reach(family, codec), 0..3));
    (withdrawn, reach, option::weighted(0.1, family())).prop_map(
        |(withdrawn, reach, end_of_rib)| Update {
            withdrawn,
            reach,
            end_of_rib,
            ..Update::default()
        },
    )
}

/// Any OPEN that fits in one message.
pub fn open() -> impl Strategy<Value = Open> {
    (any::<u16>(), any::<u16>(), any::<u32>(), vec(capability(), 0..12)).prop_map(
        |(asn, hold_time, id, capabilities)| Open {
            asn,
            hold_time,
            router_id: Ipv4Addr::from_bits(id),
            capabilities,
        },
    )
}

fn capability() -> impl Strategy<Value = Capability> {
    let restart_families = vec(any::<(u16, u8, bool)>(), 0..4);
    let stale_families = vec((any::<u16>(), any::<u8>(), any::<bool>(), 0..1_u32 << 24), 0..4);
    prop_oneof![
        any::<(u16, u8)>().prop_map(|(afi, safi)| Capability::Multiprotocol { afi, safi }),
        Just(Capability::RouteRefresh),
        vec(any::<(u16, u16, u16)>(), 0..4).prop_map(Capability::ExtendedNextHop),
        Just(Capability::ExtendedMessage),
        any::<u8>().prop_map(Capability::Role),
        (any::<bool>(), any::<bool>(), 0..4096_u16, restart_families).prop_map(
            |(restarted, notification, time, families)| Capability::GracefulRestart {
                restarted,
                notification,
                time,
                families,
            }
        ),
        any::<u32>().prop_map(|asn| Capability::FourOctetAs(Asn(asn))),
        vec(any::<(u16, u8, u8)>(), 0..4).prop_map(Capability::AddPath),
        Just(Capability::EnhancedRouteRefresh),
        stale_families.prop_map(Capability::LongLivedGracefulRestart),
        (73..=254_u8, vec(any::<u8>(), 0..60))
            .prop_map(|(code, value)| Capability::Unknown { code, value: value.into() }),
    ]
}

/// Type codes without a meaning (IANA "BGP Path Attributes").
const UNASSIGNED: RangeInclusive<u8> = 130..=240;
