//! Our octets read by an independent decoder (bgpkit-parser), and its octets read by us: both
//! must mean the same.

use std::net::Ipv4Addr;

use bgp::{
    aspath::Asn,
    family::Family,
    wire::{self, Capability, Codec, Message, Notification, Open, Refresh, Update},
};
use bgpkit_parser::{
    models::{self, AsnLength, BgpMessage},
    parser::bgp::parse_bgp_message,
};
use bytes::Bytes;
use proptest::{collection::vec, prelude::*};
use tests::{messages, oracle};

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
            let said = oracle::update(theirs);
            read.withdrawn.extend(said.withdrawn);
            read.reach.extend(said.reach);
        }
        prop_assert_eq!(&read.withdrawn, &update.withdrawn);
        prop_assert_eq!(read.end_of_rib, update.end_of_rib);
        prop_assert_eq!(oracle::routes(&read), oracle::routes(&update));
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

/// An UPDATE that the oracle can read, with the codec of the session on which it was said.
fn said() -> impl Strategy<Value = (Codec, Update)> {
    let update =
        |codec| messages::update(codec).prop_map(move |update| (codec, oracle::readable(update)));
    oracle::codec().prop_flat_map(update)
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
