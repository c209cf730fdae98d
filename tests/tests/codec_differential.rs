//! Our octets read by an independent decoder (bgpkit-parser), and its octets read by us: both
//! must mean the same.

use std::{net::Ipv4Addr, sync::Arc};

use bgp::{
    aspath::{AsPath, Asn},
    attrs::{Aggregator, Attrs, NextHop, Origin, PartialSet, UnknownAttr},
    community::{Community, ExtCommunity, LargeCommunity},
    family::{Family, FamilySet},
    wire::{self, Capability, Codec, Message, Nlri, Notification, Open, Reach, Refresh, Update},
};
use bgpkit_parser::{
    models::{self, AsnLength, AttrFlags, Attribute, AttributeValue, BgpMessage, NextHopAddress},
    parser::bgp::parse_bgp_message,
};
use bytes::Bytes;
use proptest::{collection::vec, prelude::*};
use tests::messages;

proptest! {
    #[test]
    fn the_oracle_reads_our_updates_as_we_meant_them((codec, update) in said()) {
        let Ok(octets) = update.encode(&codec) else { return Ok(()) };
        let mut read = Update::default();
        for message in octets {
            let theirs = theirs(&message, &codec);
            let BgpMessage::Update(theirs) = theirs else { panic!("not an UPDATE: {theirs:?}") };
            prop_assert_eq!(theirs.attributes.validation_warnings(), &[]);
            if theirs.is_end_of_rib() {
                read.end_of_rib = Some(match theirs.attributes.get_unreachable_nlri() {
                    Some(_) => Family::Ipv6Unicast,
                    None => Family::Ipv4Unicast,
                });
            }
            let said = translate(theirs);
            read.withdrawn.extend(said.withdrawn);
            read.reach.extend(said.reach);
        }
        prop_assert_eq!(&read.withdrawn, &update.withdrawn);
        prop_assert_eq!(read.end_of_rib, update.end_of_rib);
        prop_assert_eq!(routes(&read), routes(&update));
    }

    #[test]
    fn we_read_the_oracles_updates_as_it_meant_them((codec, update) in said()) {
        let Ok(octets) = update.encode(&codec) else { return Ok(()) };
        for message in octets {
            let again = theirs(&message, &codec).encode(asn_length(&codec));
            let again = again.expect("it has read what it now writes");
            prop_assert_eq!(wire::decode(&again, &codec), wire::decode(&message, &codec));
        }
    }

    #[test]
    fn opens_mean_the_same_to_both(open in offered()) {
        let octets = open.encode();
        let theirs = theirs(&octets, &Codec::default());
        let BgpMessage::Open(read) = &theirs else { panic!("not an OPEN: {theirs:?}") };
        prop_assert_eq!(read.version, 4);
        prop_assert_eq!(read.asn, models::Asn::new_16bit(open.asn));
        prop_assert_eq!(read.hold_time, open.hold_time);
        prop_assert_eq!(read.bgp_identifier, open.router_id);
        let again = theirs.encode(AsnLength::Bits32).expect("it has read what it now writes");
        prop_assert_eq!(wire::decode(&again, &Codec::default()), Ok(Message::Open(open)));
    }

    #[test]
    fn notifications_mean_the_same_to_both(
        code in 1..9_u8, subcode in 0..12_u8, data in vec(any::<u8>(), 0..200)
    ) {
        let notification = Notification { code, subcode, data: data.clone().into() };
        let theirs = theirs(&notification.encode(), &Codec::default());
        let BgpMessage::Notification(theirs) = theirs else { panic!("{theirs:?}") };
        prop_assert_eq!(theirs.error.get_codes(), (code, subcode));
        prop_assert_eq!(theirs.data, data);
    }

    #[test]
    fn refreshes_mean_the_same_to_both(afi in any::<u16>(), subtype in 0..3_u8, safi in any::<u8>()) {
        let theirs = theirs(&Refresh { afi, subtype, safi }.encode(), &Codec::default());
        let BgpMessage::RouteRefresh(theirs) = theirs else { panic!("{theirs:?}") };
        prop_assert_eq!((theirs.afi, theirs.subtype, theirs.safi), (afi, subtype, safi));
    }
}

#[test]
fn keepalives_mean_the_same_to_both() {
    assert_eq!(theirs(&wire::keepalive(), &Codec::default()), BgpMessage::KeepAlive);
}

/// An UPDATE with the codec of the session on which it was said, without what the oracle is known
/// to get wrong: a default route makes it guess that path identifiers follow, and it drops the
/// spare bits of extended communities of flow specifications.
fn said() -> impl Strategy<Value = (Codec, Update)> {
    let update = |codec| {
        messages::update(codec).prop_map(move |mut update| {
            update.withdrawn.retain(|nlri| !nlri.prefix.is_default());
            for reach in &mut update.reach {
                reach.prefixes.retain(|nlri| !nlri.prefix.is_default());
                let attrs = Arc::make_mut(&mut reach.attrs);
                attrs.ext_communities.retain(|community| community.0[0] != 0x40);
                if attrs.ext_communities.is_empty() {
                    attrs.partial = PartialSet::NONE;
                }
            }
            (codec, update)
        })
    };
    // The oracle has one switch for the path identifiers of all families.
    let codec = (messages::codec(), prop::sample::select(&[FamilySet::NONE, FamilySet::ALL]));
    let codec = codec.prop_map(|(codec, add_path)| Codec {
        add_path_receive: add_path,
        add_path_send: add_path,
        ..codec
    });
    codec.prop_flat_map(update)
}

/// An OPEN of capabilities whose numbers the oracle has names for.
fn offered() -> impl Strategy<Value = Open> {
    let family = prop::sample::select(&[(1_u16, 1_u8), (2, 1), (1, 128), (2, 128), (25, 70)]);
    let capability = prop_oneof![
        family.clone().prop_map(|(afi, safi)| Capability::Multiprotocol { afi, safi }),
        Just(Capability::RouteRefresh),
        Just(Capability::ExtendedNextHop(vec![(1, 1, 2)])),
        Just(Capability::ExtendedMessage),
        (0..5_u8).prop_map(Capability::Role),
        (any::<bool>(), 0..4096_u16, vec((family.clone(), any::<bool>()), 0..4)).prop_map(
            |(restarted, time, families)| Capability::GracefulRestart {
                restarted,
                // The oracle does not know RFC 8538.
                notification: false,
                time,
                families: families.into_iter().map(|((a, s), kept)| (a, s, kept)).collect(),
            }
        ),
        any::<u32>().prop_map(|asn| Capability::FourOctetAs(Asn(asn))),
        (family, 1..4_u8).prop_map(|((a, s), way)| Capability::AddPath(vec![(a, s, way)])),
        Just(Capability::EnhancedRouteRefresh),
        Just(Capability::LongLivedGracefulRestart(vec![(1, 1, true, 86_400)])),
        vec(any::<u8>(), 0..200)
            .prop_map(|value| Capability::Unknown { code: 73, value: value.into() }),
    ];
    (any::<u16>(), any::<u16>(), any::<u32>(), vec(capability, 0..10)).prop_map(
        |(asn, hold_time, id, capabilities)| Open {
            asn,
            hold_time,
            router_id: Ipv4Addr::from_bits(id),
            capabilities,
        },
    )
}

const fn asn_length(codec: &Codec) -> AsnLength {
    if codec.four_octet_as { AsnLength::Bits32 } else { AsnLength::Bits16 }
}

fn theirs(message: &Bytes, codec: &Codec) -> BgpMessage {
    let add_path = !codec.add_path_send.is_empty();
    parse_bgp_message(&mut message.clone(), add_path, &asn_length(codec))
        .unwrap_or_else(|error| panic!("the oracle refuses {message:?}: {error}"))
}

/// Every announced prefix with its attributes, in order.
fn routes(update: &Update) -> Vec<(Nlri, Attrs)> {
    let each = |reach: &Reach| -> Vec<_> {
        reach.prefixes.iter().map(|nlri| (*nlri, Attrs::clone(&reach.attrs))).collect()
    };
    update.reach.iter().flat_map(each).collect()
}

/// What the oracle has read, in our words.
fn translate(update: models::BgpUpdateMessage) -> Update {
    let path = update.attributes.effective_as_path();
    let aggregator = update.attributes.aggregator();
    let classic = update.attributes.next_hop().map(NextHop::new);
    let mut attrs = Attrs::originated(NextHop::new(Ipv4Addr::UNSPECIFIED.into()));
    let mut said = Update { withdrawn: prefixes(&update.withdrawn_prefixes), ..Update::default() };
    let mut reach = None;
    for attribute in update.attributes.into_attributes_iter() {
        match &attribute.value {
            AttributeValue::MpReachNlri(nlri) => {
                reach = Some((next_hop(nlri), prefixes(&nlri.prefixes)));
            }
            AttributeValue::MpUnreachNlri(nlri) => said.withdrawn.extend(prefixes(&nlri.prefixes)),
            _ => take(&mut attrs, &attribute),
        }
    }
    attrs.as_path = path.map_or_else(AsPath::empty, |path| as_path(&path));
    attrs.aggregator =
        aggregator.map(|(asn, router_id)| Aggregator { asn: Asn(asn.into()), router_id });
    let announced = prefixes(&update.announced_prefixes);
    let classic = classic.filter(|_| !announced.is_empty()).map(|next_hop| (next_hop, announced));
    for (next_hop, prefixes) in reach.into_iter().chain(classic) {
        let family = prefixes[0].family();
        let attrs = Arc::new(Attrs { next_hop, ..attrs.clone() });
        said.reach.push(Reach { family, attrs, prefixes });
    }
    said
}

fn take(attrs: &mut Attrs, attribute: &Attribute) {
    let partial = attribute.flag.contains(AttrFlags::PARTIAL);
    let mut note = |place| {
        if partial {
            attrs.partial.insert(place);
        }
    };
    match &attribute.value {
        AttributeValue::Origin(origin) => {
            attrs.origin = match origin {
                models::Origin::IGP => Origin::Igp,
                models::Origin::EGP => Origin::Egp,
                models::Origin::INCOMPLETE => Origin::Incomplete,
            }
        }
        AttributeValue::MultiExitDiscriminator(med) => attrs.med = Some(*med),
        AttributeValue::LocalPreference(value) => attrs.local_pref = Some(*value),
        AttributeValue::AtomicAggregate => attrs.atomic_aggregate = true,
        AttributeValue::OriginatorId(id) => attrs.originator_id = Some(*id),
        AttributeValue::Clusters(ids) => {
            attrs.cluster_list = ids.iter().copied().map(Ipv4Addr::from_bits).collect();
        }
        AttributeValue::OnlyToCustomer(asn) => {
            note(PartialSet::OTC);
            attrs.otc = Some(Asn((*asn).into()));
        }
        AttributeValue::Communities(list) => {
            note(PartialSet::COMMUNITIES);
            attrs.communities = list.iter().map(community).collect();
        }
        AttributeValue::LargeCommunities(list) => {
            note(PartialSet::LARGE_COMMUNITIES);
            attrs.large_communities = list
                .iter()
                .map(|large| LargeCommunity {
                    global: large.global_admin,
                    local1: large.local_data[0],
                    local2: large.local_data[1],
                })
                .collect();
        }
        AttributeValue::ExtendedCommunities(_) => {
            note(PartialSet::EXT_COMMUNITIES);
            let octets = attribute.encode(AsnLength::Bits32).expect("it has read it");
            let value = if attribute.is_extended() { &octets[4..] } else { &octets[3..] };
            attrs.ext_communities =
                value.as_chunks::<8>().0.iter().copied().map(ExtCommunity).collect();
        }
        AttributeValue::Unknown(raw) => {
            assert!(attribute.is_optional() && attribute.is_transitive() && partial);
            let value = raw.bytes.clone();
            attrs.unknown.push(UnknownAttr { code: raw.code, value });
        }
        AttributeValue::Aggregator { .. } => note(PartialSet::AGGREGATOR),
        AttributeValue::AsPath(_)
        | AttributeValue::As4Path(_)
        | AttributeValue::As4Aggregator { .. }
        | AttributeValue::NextHop(_) => {}
        other => panic!("nobody has said {other:?}"),
    }
}

fn community(community: &models::Community) -> Community {
    match community {
        models::Community::NoExport => Community::NO_EXPORT,
        models::Community::NoAdvertise => Community::NO_ADVERTISE,
        models::Community::NoExportSubConfed => Community::NO_EXPORT_SUBCONFED,
        models::Community::Custom(asn, value) => {
            Community(u32::from(*asn) << 16 | u32::from(*value))
        }
    }
}

/// Adjacent sequences joined, as we keep them.
fn as_path(path: &models::AsPath) -> AsPath {
    let asns = path.iter_segments().flat_map(|segment| match segment {
        models::AsPathSegment::AsSequence(asns) => asns.iter().map(|asn| u32::from(*asn)),
        other => panic!("nobody has said {other:?}"),
    });
    AsPath::sequence(asns)
}

fn next_hop(nlri: &models::Nlri) -> NextHop {
    match nlri.next_hop {
        Some(NextHopAddress::Ipv4(addr)) => NextHop::new(addr.into()),
        Some(NextHopAddress::Ipv6(addr)) => NextHop::new(addr.into()),
        Some(NextHopAddress::Ipv6LinkLocal(addr, link_local)) => {
            NextHop { addr: addr.into(), link_local: Some(link_local), scope: None }
        }
        other => panic!("nobody has said {other:?}"),
    }
}

fn prefixes(list: &[models::NetworkPrefix]) -> Vec<Nlri> {
    let nlri = |theirs: &models::NetworkPrefix| Nlri {
        prefix: theirs.prefix.to_string().parse().expect("host bits are cleared"),
        path_id: theirs.path_id.unwrap_or_default(),
    };
    list.iter().map(nlri).collect()
}
