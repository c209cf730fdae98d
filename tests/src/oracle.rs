//! What an independent decoder (bgpkit-parser) has read, in our words.
//!
//! In: its values. Out: ours; a panic for what nobody has said in a test.

use std::{net::Ipv4Addr, sync::Arc};

use bgp::{
    aspath::{AsPath, Asn},
    attrs::{Aggregator, Attrs, NextHop, Origin, PartialSet, UnknownAttr},
    community::{Community, ExtCommunity, LargeCommunity},
    family::FamilySet,
    wire::{Codec, Nlri, Reach, Update},
};
use bgpkit_parser::models::{
    self, AsnLength, AttrFlags, Attribute, AttributeValue, NextHopAddress,
};
use proptest::prelude::*;

use crate::messages;

/// Every way of reading and writing that the oracle knows: it has one switch for the path
/// identifiers of all families.
pub fn codec() -> impl Strategy<Value = Codec> {
    let add_path = prop::sample::select(&[FamilySet::NONE, FamilySet::ALL]);
    (messages::codec(), add_path).prop_map(|(codec, add_path)| Codec {
        add_path_receive: add_path,
        add_path_send: add_path,
        ..codec
    })
}

/// An UPDATE without what the oracle is known to get wrong: a default route makes it guess that
/// path identifiers follow; for attributes see [`readable_attrs`].
pub fn readable(mut update: Update) -> Update {
    update.withdrawn.retain(|nlri| !nlri.prefix.is_default());
    for reach in &mut update.reach {
        reach.prefixes.retain(|nlri| !nlri.prefix.is_default());
        reach.attrs = Arc::new(readable_attrs(Attrs::clone(&reach.attrs)));
    }
    update
}

/// Attributes without what the oracle is known to get wrong: it drops the spare bits of extended
/// communities of flow specifications.
pub fn readable_attrs(mut attrs: Attrs) -> Attrs {
    attrs.ext_communities.retain(|community| community.0[0] != 0x40);
    if attrs.ext_communities.is_empty() {
        attrs.partial = PartialSet::NONE;
    }
    attrs
}

/// Every announced prefix with its attributes, in order.
pub fn routes(update: &Update) -> Vec<(Nlri, Attrs)> {
    let each = |reach: &Reach| -> Vec<_> {
        reach.prefixes.iter().map(|nlri| (*nlri, Attrs::clone(&reach.attrs))).collect()
    };
    update.reach.iter().flat_map(each).collect()
}

/// An UPDATE.
pub fn update(update: models::BgpUpdateMessage) -> Update {
    let mut said = Update { withdrawn: prefixes(&update.withdrawn_prefixes), ..Update::default() };
    let unreach = update.attributes.get_unreachable_nlri();
    said.withdrawn.extend(unreach.into_iter().flat_map(|nlri| prefixes(&nlri.prefixes)));
    let reach = update.attributes.get_reachable_nlri();
    let reach = reach.map(|nlri| (next_hop(nlri), prefixes(&nlri.prefixes)));
    let classic = update.attributes.next_hop().map(NextHop::new);
    let attrs = attrs(update.attributes);
    let announced = prefixes(&update.announced_prefixes);
    let classic = classic.filter(|_| !announced.is_empty()).map(|next_hop| (next_hop, announced));
    for (next_hop, prefixes) in reach.into_iter().chain(classic) {
        let family = prefixes[0].family();
        let attrs = Arc::new(Attrs { next_hop, ..attrs.clone() });
        said.reach.push(Reach { family, attrs, prefixes });
    }
    said
}

/// Attributes; the next hop is that of MP_REACH_NLRI if there is one.
pub fn attrs(attributes: models::Attributes) -> Attrs {
    let path = attributes.effective_as_path();
    let aggregator = attributes.aggregator();
    let classic = attributes.next_hop().unwrap_or_else(|| Ipv4Addr::UNSPECIFIED.into());
    let mut attrs = Attrs::originated(NextHop::new(classic));
    for attribute in attributes.into_attributes_iter() {
        match &attribute.value {
            AttributeValue::MpReachNlri(nlri) => attrs.next_hop = next_hop(nlri),
            AttributeValue::MpUnreachNlri(_) => {}
            _ => take(&mut attrs, &attribute),
        }
    }
    attrs.as_path = path.map_or_else(AsPath::empty, |path| as_path(&path));
    attrs.aggregator =
        aggregator.map(|(asn, router_id)| Aggregator { asn: Asn(asn.into()), router_id });
    attrs
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
