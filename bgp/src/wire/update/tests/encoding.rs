//! What is written: packing, order, limits.

use super::*;

fn attrs(next_hop: &str) -> Attrs {
    let next_hop = NextHop::new(next_hop.parse().unwrap());
    Attrs { as_path: AsPath::sequence([65001]), ..Attrs::originated(next_hop) }
}

/// As many different /32 or /128 prefixes.
fn hosts(family: Family, count: u32) -> Vec<Nlri> {
    (0..count)
        .map(|i| match family {
            Family::Ipv4Unicast => Prefix::host(Ipv4Addr::from_bits(0x0A00_0000 + i).into()),
            Family::Ipv6Unicast => {
                let bits = 0xFD00_u128 << 112 | u128::from(i);
                Prefix::host(std::net::Ipv6Addr::from_bits(bits).into())
            }
        })
        .map(Nlri::from)
        .collect()
}

/// Reads the messages back and gives all prefixes announced, in order.
fn announced(messages: &[Bytes], codec: &Codec) -> Vec<Nlri> {
    messages
        .iter()
        .flat_map(|message| good(message, codec).reach)
        .flat_map(|reach| reach.prefixes)
        .collect()
}

#[test]
fn ipv4_with_an_ipv4_next_hop_uses_the_nlri_field() {
    let messages =
        Update::encode_reach(&attrs("192.0.2.1"), &[prefix("10.1.0.0/16")], &EXTERNAL).unwrap();
    assert_eq!(messages, [update(&[], &mandatory(), PREFIX)]);
}

#[test]
fn rfc7606_5_1_mp_reach_is_the_first_attribute_and_alone() {
    let messages =
        Update::encode_reach(&attrs("fd00::1"), &[prefix("fd00:1::/32")], &EXTERNAL).unwrap();
    assert_eq!(messages, [update(&[], &[mp_reach(), origin(), as_path()].concat(), &[])]);
}

#[test]
fn an_ipv4_next_hop_for_ipv6_prefixes_is_refused() {
    let error =
        Update::encode_reach(&attrs("192.0.2.1"), &[prefix("fd00::/8")], &EXTERNAL).unwrap_err();
    assert_eq!(error.to_string(), "next hop 192.0.2.1 cannot stand with ipv6 prefixes");
}

#[test]
fn attributes_stand_in_the_order_of_their_codes() {
    let attrs = Attrs {
        med: Some(1),
        local_pref: Some(2),
        atomic_aggregate: true,
        aggregator: Some(Aggregator { asn: Asn(1), router_id: Ipv4Addr::new(1, 1, 1, 1) }),
        communities: vec![Community(1)],
        ext_communities: vec![ExtCommunity([0; 8])],
        large_communities: vec![LargeCommunity { global: 1, local1: 2, local2: 3 }],
        originator_id: Some(Ipv4Addr::new(1, 1, 1, 1)),
        cluster_list: vec![Ipv4Addr::new(1, 1, 1, 1)],
        otc: Some(Asn(1)),
        unknown: [11, 20, 33, 200]
            .map(|code| UnknownAttr { code, value: Bytes::from_static(b"x") })
            .to_vec(),
        ..attrs("192.0.2.1")
    };
    let codes = |codec: &Codec| {
        let message = Update::encode_reach(&attrs, &[prefix("10.1.0.0/16")], codec).unwrap();
        let mut rest = message[0].slice(23..message[0].len() - PREFIX.len());
        let mut codes = Vec::new();
        while !rest.is_empty() {
            codes.push(rest[1]);
            rest = rest.slice(3 + usize::from(rest[2])..);
        }
        codes
    };
    assert_eq!(codes(&INTERNAL), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 16, 20, 32, 33, 35, 200]);
    // LOCAL_PREF, ORIGINATOR_ID and CLUSTER_LIST stay inside the AS.
    assert_eq!(codes(&EXTERNAL), [1, 2, 3, 4, 6, 7, 8, 11, 16, 20, 32, 33, 35, 200]);
}

#[test]
fn messages_are_as_few_and_as_full_as_they_can_be() {
    let cases = [
        (Family::Ipv4Unicast, "192.0.2.1", 20_000),
        (Family::Ipv6Unicast, "fd00::1", 20_000),
        (Family::Ipv4Unicast, "fd00::1", 20_000),
    ];
    for (family, next_hop, count) in cases {
        for max_len in [MAX_LEN, MAX_EXTENDED_LEN] {
            let codec = Codec { max_receive_len: max_len, max_send_len: max_len, ..EXTERNAL };
            let prefixes = hosts(family, count);
            let messages = Update::encode_reach(&attrs(next_hop), &prefixes, &codec).unwrap();
            let withdrawals = Update::encode_withdraw(&prefixes, &codec);
            for messages in [&messages, &withdrawals] {
                let (last, full) = messages.split_last().unwrap();
                for message in full {
                    assert!(message.len() <= max_len);
                    let room = usize::from(family.max_len()) / 8 + 1;
                    assert!(message.len() + room > max_len, "{}", message.len());
                }
                assert!(last.len() <= max_len);
            }
            assert_eq!(announced(&messages, &codec), prefixes);
            let withdrawn: Vec<_> =
                withdrawals.iter().flat_map(|message| good(message, &codec).withdrawn).collect();
            assert_eq!(withdrawn, prefixes);
        }
    }
}

#[test]
fn nothing_to_say_is_no_message() {
    assert_eq!(Update::encode_reach(&attrs("192.0.2.1"), &[], &EXTERNAL), Ok(vec![]));
    assert_eq!(Update::encode_withdraw(&[], &EXTERNAL), Vec::<Bytes>::new());
    assert_eq!(Update::default().encode(&EXTERNAL), Ok(vec![]));
}

#[test]
fn withdrawals_of_both_families_go_in_messages_of_their_own() {
    let prefixes = [prefix("10.1.0.0/16"), prefix("fd00::/8"), prefix("fd01::/16")];
    let messages = Update::encode_withdraw(&prefixes, &EXTERNAL);
    let unreach = attr(N, 15, &[0, 2, 1, 8, 0xFD, 16, 0xFD, 1]);
    assert_eq!(messages, [update(PREFIX, &[], &[]), update(&[], &unreach, &[])]);
}

#[test]
fn rfc4724_2_end_of_rib_is_an_update_that_withdraws_nothing() {
    let v4 = Update::encode_end_of_rib(Family::Ipv4Unicast);
    assert_eq!(v4[16..], [0, 23, 2, 0, 0, 0, 0]);
    let v6 = Update::encode_end_of_rib(Family::Ipv6Unicast);
    assert_eq!(v6[16..], [0, 29, 2, 0, 0, 0, 6, 0x80, 15, 3, 0, 2, 1]);
}

#[test]
fn attributes_that_leave_no_room_are_an_error_that_says_how_much() {
    let mut attrs = attrs("192.0.2.1");
    attrs.communities = (0..1015).map(Community).collect();
    let host = [prefix("10.0.0.1/32")];
    let error = Update::encode_reach(&attrs, &host, &EXTERNAL).unwrap_err();
    // Header and lengths, ORIGIN, AS_PATH and NEXT_HOP, then COMMUNITIES and the prefix.
    let needed = 23 + (4 + 9 + 7) + (4 + 4 * 1015) + 5;
    assert_eq!(error, EncodeError::TooLong { needed, limit: 4096 });
    let extended =
        Codec { max_receive_len: MAX_EXTENDED_LEN, max_send_len: MAX_EXTENDED_LEN, ..EXTERNAL };
    let messages = Update::encode_reach(&attrs, &host, &extended).unwrap();
    assert_eq!(*good(&messages[0], &extended).reach[0].attrs, attrs);

    attrs.communities = (0..20_000).map(Community).collect();
    let error = Update::encode_reach(&attrs, &host, &extended).unwrap_err();
    let attribute = AttrCode::COMMUNITIES;
    assert_eq!(error, EncodeError::AttributeTooLong { attribute, octets: 80_000 });
}

#[test]
fn rfc4271_4_3_a_long_sequence_is_split_and_read_back_as_one() {
    let attrs = Attrs { as_path: AsPath::sequence(1..=600), ..attrs("192.0.2.1") };
    for codec in [EXTERNAL, TWO_OCTET] {
        let messages = Update::encode_reach(&attrs, &[prefix("10.1.0.0/16")], &codec).unwrap();
        assert_eq!(*good(&messages[0], &codec).reach[0].attrs, attrs);
        let segments = [2, 255, 2, 255, 2, 90];
        let heads: Vec<u8> = {
            let width = if codec.four_octet_as { 4 } else { 2 };
            let path = &messages[0][23 + 4 + 4..];
            [0, 2 + 255 * width, 2 * (2 + 255 * width)]
                .iter()
                .flat_map(|at| path[*at..*at + 2].to_vec())
                .collect()
        };
        assert_eq!(heads, segments);
    }
}

#[test]
fn room_is_checked_for_the_longest_prefix_and_to_the_octet() {
    let extended = Codec { max_send_len: MAX_EXTENDED_LEN, ..INTERNAL };
    let adds_path = |codec| Codec { add_path_send: FamilySet::ALL, ..codec };
    for (family, next_hop) in [
        (Family::Ipv4Unicast, "192.0.2.1"),
        (Family::Ipv4Unicast, "fd00::1"),
        (Family::Ipv6Unicast, "fd00::1"),
    ] {
        for codec in [EXTERNAL, INTERNAL, TWO_OCTET, extended].map(adds_path) {
            let host = &hosts(family, 1);
            let (mut fitting, mut octets) = (0, 0);
            for value in 3700..4100 {
                let mut attrs = Attrs { as_path: AsPath::sequence([70_000]), ..attrs(next_hop) };
                attrs.communities = vec![Community::NO_EXPORT];
                attrs.unknown = vec![UnknownAttr { code: 200, value: Bytes::from(vec![0; value]) }];
                let encoded = Update::encode_reach(&attrs, host, &codec);
                let room = Update::check_room(&attrs, family, &codec);
                assert_eq!(room.clone().err(), encoded.clone().err());
                fitting += usize::from(room.is_ok());
                octets = octets.max(encoded.map_or(0, |messages| messages[0].len()));
            }
            let long = codec.max_send_len > MAX_LEN;
            // The head of a short MP_REACH_NLRI takes an octet less than is set aside for it.
            let full = (MAX_LEN - 1..=MAX_LEN).contains(&octets);
            assert_eq!((fitting == 400, full), (long, !long), "{family} {next_hop}");
        }
    }
}
