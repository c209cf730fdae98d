//! Headers octet by octet; what is inside is read back by an independent decoder in
//! `tests/tests/mrt_differential.rs`.

use std::time::{Duration, SystemTime};

use super::*;
use crate::{
    aspath::Asn,
    attrs::{Attrs, NextHop},
    family::{Family, FamilySet},
    session::State,
    wire::{self, Codec, EncodeError, Nlri, Update},
};

fn at() -> Timestamp {
    Timestamp::from(SystemTime::UNIX_EPOCH + Duration::new(0x6A0B_0C0D, 7_000))
}

fn attrs(next_hop: &str) -> Attrs {
    Attrs::originated(NextHop::new(next_hop.parse().unwrap()))
}

/// ORIGIN IGP and an empty AS_PATH.
const LEAST: [u8; 7] = [0x40, 1, 1, 0, 0x40, 2, 0];

#[test]
fn rfc6396_4_3_1_the_peer_table_has_each_peer_with_its_family_and_as() {
    let peers = [
        TablePeer {
            router_id: "10.0.0.2".parse().unwrap(),
            address: "10.1.1.0".parse().unwrap(),
            asn: Asn(4_200_000_001),
        },
        TablePeer {
            router_id: "10.0.0.3".parse().unwrap(),
            address: "fd00::3".parse().unwrap(),
            asn: Asn(64_512),
        },
    ];
    let expected = [
        // Header: time, type 13, subtype 1, 46 octets.
        &[0x6A, 0x0B, 0x0C, 0x0D, 0, 13, 0, 1, 0, 0, 0, 46][..],
        // Collector, no view name, two peers.
        &[10, 0, 0, 1, 0, 0, 0, 2],
        &[2, 10, 0, 0, 2, 10, 1, 1, 0],
        &4_200_000_001_u32.to_be_bytes(),
        &[3, 10, 0, 0, 3],
        &[0xFD, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3],
        &64_512_u32.to_be_bytes(),
    ];
    assert_eq!(peer_table("10.0.0.1".parse().unwrap(), &peers, at()), expected.concat());
}

#[test]
fn rfc6396_4_3_2_a_prefix_has_one_record_with_all_its_paths() {
    let (first, second) = (attrs("10.1.1.0"), attrs("10.1.2.0"));
    let entry = |peer, attrs| TableEntry {
        peer,
        learned: Timestamp::from_seconds(0x0102_0304),
        path_id: None,
        attrs,
    };
    let mut sequence = 5;
    let prefix = "10.244.1.0/24".parse().unwrap();
    let entries = [entry(0, &first), entry(7, &second)];
    let (records, left_out) = table_records(prefix, &entries, &mut sequence, at());
    let body = [
        &[0, 0, 0, 5, 24, 10, 244, 1, 0, 2][..],
        &[0, 0, 1, 2, 3, 4, 0, 14],
        &LEAST,
        &[0x40, 3, 4, 10, 1, 1, 0],
        &[0, 7, 1, 2, 3, 4, 0, 14],
        &LEAST,
        &[0x40, 3, 4, 10, 1, 2, 0],
    ]
    .concat();
    let header = [0x6A, 0x0B, 0x0C, 0x0D, 0, 13, 0, 2, 0, 0, 0, body.len().try_into().unwrap()];
    assert_eq!(records, [[&header[..], &body].concat()]);
    assert_eq!((left_out, sequence), (vec![], 6));
    assert_eq!(record_len(header), records[0].len() as u64);
}

#[test]
fn rfc6396_4_3_4_an_ipv6_next_hop_stands_in_an_mp_reach_of_nothing_else() {
    let attrs = attrs("fd00::1");
    for (prefix, subtype) in [("fd00:10::/64", 4), ("10.244.1.0/24", 2)] {
        let entry =
            TableEntry { peer: 0, learned: Timestamp::UNKNOWN, path_id: None, attrs: &attrs };
        let (records, _) = table_records(prefix.parse().unwrap(), &[entry], &mut 0, at());
        assert_eq!(records[0][6..8], [0, subtype], "{prefix}");
        let mp_reach = [&[0x80, 14, 17, 16, 0xFD][..], &[0; 14], &[1]].concat();
        let attributes = [&mp_reach[..], &LEAST].concat();
        assert!(records[0].ends_with(&attributes), "{prefix}: {:?}", records[0]);
    }
}

#[test]
fn rfc8050_4_paths_with_identifiers_have_a_record_of_their_own() {
    let attrs = attrs("10.1.1.0");
    let entry = |path_id| TableEntry { peer: 0, learned: at(), path_id, attrs: &attrs };
    let entries = [entry(Some(9)), entry(None), entry(Some(10))];
    let mut sequence = 0;
    let (records, _) =
        table_records("10.244.1.0/24".parse().unwrap(), &entries, &mut sequence, at());
    let subtypes: Vec<_> = records.iter().map(|record| record[7]).collect();
    assert_eq!((subtypes, sequence), (vec![2, 8], 2));
    let counts: Vec<_> = records.iter().map(|record| record[21]).collect();
    assert_eq!(counts, [1, 2]);
    assert_eq!(records[1][12..16], [0, 0, 0, 1], "the sequence goes on");
    assert_eq!(records[1][28..32], [0, 0, 0, 9], "after peer and time");
}

#[test]
fn a_path_that_cannot_be_written_does_not_take_the_others_with_it() {
    let (good, bad) = (attrs("fd00::1"), attrs("10.1.1.0"));
    let entry = |attrs| TableEntry { peer: 0, learned: at(), path_id: None, attrs };
    let prefix = "fd00:10::/64".parse().unwrap();
    let (records, left_out) = table_records(prefix, &[entry(&bad), entry(&good)], &mut 0, at());
    assert_eq!((records.len(), records[0][26]), (1, 1));
    assert!(matches!(left_out[..], [EncodeError::NextHop { .. }]));
    let (records, _) = table_records(prefix, &[entry(&bad)], &mut 0, at());
    assert!(records.is_empty());
}

#[test]
fn rfc6396_4_4_messages_and_states_have_microseconds_and_both_ends() {
    let conversation = Conversation {
        peer_asn: Asn(4_200_000_001),
        local_asn: Asn(64_512),
        peer: "10.1.1.0".parse().unwrap(),
        local: "10.1.1.1".parse().unwrap(),
    };
    let ends = [0, 0, 0, 1, 10, 1, 1, 0, 10, 1, 1, 1];
    let said = |four_octet_as, add_path| Said { four_octet_as, add_path };
    let record = conversation.heard(b"octets", said(true, false), at());
    let expected = [
        &[0x6A, 0x0B, 0x0C, 0x0D, 0, 17, 0, 4, 0, 0, 0, 30][..],
        &[0, 0, 0, 7],
        &4_200_000_001_u32.to_be_bytes(),
        &64_512_u32.to_be_bytes(),
        &ends,
        b"octets",
    ];
    assert_eq!(record, expected.concat());

    // Of a session with 2-octet AS numbers.
    let record = conversation.heard(b"octets", said(false, false), at());
    let expected = [&[0, 0, 0, 7][..], &[0x5B, 0xA0, 0xFC, 0], &ends, b"octets"];
    assert_eq!(record[6..8], [0, 1]);
    assert_eq!(record[12..], expected.concat());
    // RFC 8050 §3.
    assert_eq!(conversation.heard(b"", said(false, true), at())[6..8], [0, 8]);
    assert_eq!(conversation.heard(b"", said(true, true), at())[6..8], [0, 9]);

    // What we say ourselves.
    for (said, subtype) in [
        (said(false, false), 6),
        (said(true, false), 7),
        (said(false, true), 10),
        (said(true, true), 11),
    ] {
        let heard = conversation.heard(b"octets", said, at());
        let told = conversation.told(b"octets", said, at());
        assert_eq!((told[7], &told[8..]), (subtype, &heard[8..]));
    }

    let record = conversation.state(State::OpenConfirm, State::Established, at());
    assert_eq!(record[6..8], [0, 5]);
    assert_eq!(record[record.len() - 4..], [0, 5, 0, 6]);
}

#[test]
fn rfc8050_3_a_message_is_marked_if_its_own_family_has_path_identifiers() {
    let codec = |families: &[Family]| Codec {
        four_octet_as: false,
        add_path_receive: families.iter().copied().collect(),
        ..Codec::PLAIN
    };
    let of = |message: &[u8], families: &[Family]| {
        let said = Said::by_peer(message, &codec(families));
        assert!(!said.four_octet_as);
        assert!(!Said::by_us(message, &codec(families)).add_path, "we send none");
        said.add_path
    };
    let (four, six) = (Family::Ipv4Unicast, Family::Ipv6Unicast);
    let nlri = |prefix: &str| Nlri { prefix: prefix.parse().unwrap(), path_id: 7 };
    for (attrs, prefix, own, other) in
        [(attrs("10.1.1.0"), "10.0.0.0/8", four, six), (attrs("fd00::1"), "fd00::/8", six, four)]
    {
        let writing = Codec { add_path_send: FamilySet::ALL, ..Codec::PLAIN };
        let reach = Update::encode_reach(&attrs, &[nlri(prefix)], &writing).unwrap();
        let withdraw = Update::encode_withdraw(&[nlri(prefix)], &writing);
        for message in reach.iter().chain(&withdraw) {
            assert!(of(message, &[own]), "{message:?}");
            assert!(of(message, &[four, six]));
            assert!(!of(message, &[other]));
            assert!(!of(message, &[]));
            // Cut off anywhere it is read as far as it goes.
            for len in 0..message.len() {
                let _ = Said::by_peer(&message[..len], &codec(&[six]));
            }
        }
    }
    let open = Said::by_peer(&wire::keepalive(), &codec(&[four, six]));
    assert_eq!(open, Said { four_octet_as: true, add_path: false }, "says nothing of routes");
}
