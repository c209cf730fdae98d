//! UPDATEs as octets: the forms that are read, and what is written.

use std::net::Ipv4Addr;

use super::*;
use crate::{
    aspath::{AsPath, Asn},
    attrs::{Aggregator, NextHop, Origin, PartialSet, UnknownAttr},
    community::{Community, ExtCommunity, LargeCommunity},
    family::FamilySet,
    prefix::Prefix,
    wire::{
        AttrCode, MAX_EXTENDED_LEN, MAX_LEN, Message, Notification, Treatment, decode, frame_len,
        header::{Kind, message},
    },
};

mod add_path;
mod encoding;
mod extended_next_hop;
mod four_octet;
mod rfc7606;

const EXTERNAL: Codec = Codec { extended_next_hop: FamilySet::ALL, ..Codec::PLAIN };
const INTERNAL: Codec = Codec { external: false, ..EXTERNAL };
const TWO_OCTET: Codec = Codec { four_octet_as: false, ..EXTERNAL };

/// Flags of well-known, optional transitive and optional non-transitive attributes.
const W: u8 = 0x40;
const T: u8 = 0xC0;
const N: u8 = 0x80;

/// One attribute's octets.
fn attr(flags: u8, code: u8, value: &[u8]) -> Vec<u8> {
    let mut octets = vec![flags, code, u8::try_from(value.len()).unwrap()];
    octets.extend(value);
    octets
}

fn origin() -> Vec<u8> {
    attr(W, 1, &[0])
}

/// One sequence: 65001.
fn as_path() -> Vec<u8> {
    attr(W, 2, &[2, 1, 0, 0, 0xFD, 0xE9])
}

fn next_hop() -> Vec<u8> {
    attr(W, 3, &[192, 0, 2, 1])
}

/// What every route to an IPv4 prefix must have.
fn mandatory() -> Vec<u8> {
    [origin(), as_path(), next_hop()].concat()
}

/// fd00:1::/32 through fd00::1.
fn mp_reach() -> Vec<u8> {
    attr(N, 14, &mp_reach_value(&global(), &[32, 0xFD, 0, 0, 1]))
}

fn mp_reach_value(next_hop: &[u8], nlri: &[u8]) -> Vec<u8> {
    let len = u8::try_from(next_hop.len()).unwrap();
    [&[0, 2, 1, len][..], next_hop, &[0], nlri].concat()
}

fn global() -> Vec<u8> {
    let mut octets = vec![0; 16];
    (octets[0], octets[15]) = (0xFD, 1);
    octets
}

fn link_local() -> Vec<u8> {
    let mut octets = vec![0; 16];
    (octets[0], octets[1], octets[15]) = (0xFE, 0x80, 1);
    octets
}

/// 10.1.0.0/16.
const PREFIX: &[u8] = &[16, 10, 1];

fn update(withdrawn: &[u8], attributes: &[u8], nlri: &[u8]) -> Bytes {
    let len = |field: &[u8]| u16::try_from(field.len()).unwrap().to_be_bytes();
    let body = [&len(withdrawn)[..], withdrawn, &len(attributes), attributes, nlri].concat();
    message(Kind::Update, &body)
}

fn read(message: &Bytes, codec: &Codec) -> Result<Update, Notification> {
    assert_eq!(frame_len(message, codec.max_receive_len), Ok(Some(message.len())));
    match decode(message, codec)? {
        Message::Update(update) => Ok(update),
        other => panic!("not an UPDATE: {other:?}"),
    }
}

fn good(message: &Bytes, codec: &Codec) -> Update {
    let update = read(message, codec).unwrap();
    assert_eq!(update.faults, []);
    update
}

/// Reads the mandatory attributes with more after them and one prefix.
fn with(more: &[u8], codec: &Codec) -> Result<Update, Notification> {
    read(&update(&[], &[&mandatory(), more].concat(), PREFIX), codec)
}

fn prefix(text: &str) -> Nlri {
    text.parse::<Prefix>().unwrap().into()
}

#[test]
fn rfc4271_4_3_withdrawn_and_announced_prefixes_share_a_message() {
    let read = good(&update(&[8, 11, 0], &mandatory(), &[16, 10, 1, 24, 10, 2, 3]), &EXTERNAL);
    assert_eq!(read.withdrawn, [prefix("11.0.0.0/8"), prefix("0.0.0.0/0")]);
    assert_eq!(read.reach.len(), 1);
    assert_eq!(read.reach[0].family, Family::Ipv4Unicast);
    assert_eq!(read.reach[0].prefixes, [prefix("10.1.0.0/16"), prefix("10.2.3.0/24")]);
    let expected = Attrs {
        as_path: AsPath::sequence([65001]),
        ..Attrs::originated(NextHop::new(Ipv4Addr::new(192, 0, 2, 1).into()))
    };
    assert_eq!(*read.reach[0].attrs, expected);
    assert_eq!(read.end_of_rib, None);
}

#[test]
fn a_prefix_in_both_fields_stands_in_both_lists_and_repeats_are_harmless() {
    let read = good(&update(PREFIX, &mandatory(), &[PREFIX, PREFIX].concat()), &EXTERNAL);
    assert_eq!(read.withdrawn, [prefix("10.1.0.0/16")]);
    assert_eq!(read.reach[0].prefixes, [prefix("10.1.0.0/16"), prefix("10.1.0.0/16")]);
}

#[test]
fn every_known_attribute_is_read() {
    let more = [
        attr(N, 4, &[0, 0, 0, 50]),
        attr(W, 5, &[0, 0, 0, 200]),
        attr(W, 6, &[]),
        attr(T, 7, &[0, 0, 0xFD, 0xEA, 10, 0, 0, 9]),
        attr(T, 8, &[0xFD, 0xE9, 0, 2, 0xFD, 0xE9, 0, 1, 0xFD, 0xE9, 0, 2]),
        attr(N, 9, &[10, 0, 0, 5]),
        attr(N, 10, &[10, 0, 0, 7, 10, 0, 0, 6]),
        attr(T, 16, &[0, 2, 0, 0, 0, 0, 0, 9, 0, 2, 0, 0, 0, 0, 0, 8]),
        attr(T, 32, &[0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3]),
        attr(T, 35, &[0, 0, 0xFD, 0xE9]),
    ];
    let update = with(&more.concat(), &INTERNAL).unwrap();
    assert_eq!(update.faults, []);
    let attrs = &update.reach[0].attrs;
    let id = Ipv4Addr::new;
    assert_eq!(attrs.med, Some(50));
    assert_eq!(attrs.local_pref, Some(200));
    assert!(attrs.atomic_aggregate);
    let aggregator = Aggregator { asn: Asn(65002), router_id: id(10, 0, 0, 9) };
    assert_eq!(attrs.aggregator, Some(aggregator));
    assert_eq!(attrs.communities, [Community(0xFDE9_0001), Community(0xFDE9_0002)]);
    assert_eq!(attrs.originator_id, Some(id(10, 0, 0, 5)));
    assert_eq!(attrs.cluster_list, [id(10, 0, 0, 7), id(10, 0, 0, 6)]);
    let ext = [[0, 2, 0, 0, 0, 0, 0, 8], [0, 2, 0, 0, 0, 0, 0, 9]].map(ExtCommunity);
    assert_eq!(attrs.ext_communities, ext);
    let large = LargeCommunity { global: 1, local1: 2, local2: 3 };
    assert_eq!(attrs.large_communities, [large]);
    assert_eq!(attrs.otc, Some(Asn(65001)));
    assert_eq!(attrs.partial, PartialSet::NONE);
}

#[test]
fn an_attribute_may_use_the_long_length_field_without_need() {
    let message = update(&[], &[&[0x50, 1, 0, 1, 2][..], &as_path(), &next_hop()].concat(), PREFIX);
    assert_eq!(good(&message, &EXTERNAL).reach[0].attrs.origin, Origin::Incomplete);
}

#[test]
fn rfc4271_5_unknown_optional_transitive_is_kept_and_non_transitive_dropped() {
    let more = [attr(T, 99, &[1, 2, 3]), attr(N, 98, &[4]), attr(T | 0x20, 40, &[])];
    let update = with(&more.concat(), &EXTERNAL).unwrap();
    assert_eq!(update.faults, []);
    let kept = [
        UnknownAttr { code: 40, value: Bytes::new() },
        UnknownAttr { code: 99, value: Bytes::from_static(&[1, 2, 3]) },
    ];
    assert_eq!(update.reach[0].attrs.unknown, kept);
    let again = Update::encode_reach(&update.reach[0].attrs, &update.reach[0].prefixes, &EXTERNAL);
    let octets = &again.unwrap()[0];
    assert!(octets.windows(6).any(|octets| octets == [0xE0, 99, 3, 1, 2, 3]), "{octets:?}");
}

#[test]
fn rfc4271_5_the_partial_bit_of_a_known_attribute_goes_out_as_it_came_in() {
    let more = [attr(T | 0x20, 8, &[0, 1, 0, 1]), attr(T, 32, &[0; 12])].concat();
    let update = with(&more, &EXTERNAL).unwrap();
    let octets = &update.encode(&EXTERNAL).unwrap()[0];
    assert!(octets.windows(7).any(|octets| octets == [0xE0, 8, 4, 0, 1, 0, 1]));
    assert!(octets.windows(3).any(|octets| octets == [0xC0, 32, 12]));
}

#[test]
fn rfc2545_3_next_hops_are_global_or_link_local_or_both() {
    let both = [global(), link_local()].concat();
    let half = [vec![0; 16], link_local()].concat();
    let twice = [global(), global()].concat();
    let ll = "fe80::1".parse().unwrap();
    let cases = [
        (global(), "fd00::1", None),
        (link_local(), "fe80::1", None),
        (both, "fd00::1", Some(ll)),
        (half, "fe80::1", None),
        (twice, "fd00::1", None),
    ];
    for (octets, addr, link_local) in cases {
        let reach = attr(N, 14, &mp_reach_value(&octets, &[0]));
        let read = good(&update(&[], &[reach, origin(), as_path()].concat(), &[]), &EXTERNAL);
        let next_hop = NextHop { addr: addr.parse().unwrap(), link_local, scope: None };
        assert_eq!(read.reach[0].attrs.next_hop, next_hop);
        assert_eq!(read.reach[0].prefixes, [prefix("::/0")]);
    }
}

#[test]
fn both_families_in_one_message_share_all_but_the_next_hop() {
    let attributes = [mandatory(), mp_reach(), attr(N, 4, &[0, 0, 0, 7])].concat();
    let read = good(&update(&[], &attributes, PREFIX), &EXTERNAL);
    let [v6, v4] = &read.reach[..] else { panic!("{read:?}") };
    assert_eq!((v6.family, v4.family), (Family::Ipv6Unicast, Family::Ipv4Unicast));
    assert_eq!(v6.attrs.next_hop.to_string(), "fd00::1");
    assert_eq!(v4.attrs.next_hop.to_string(), "192.0.2.1");
    assert_eq!((v6.attrs.med, v4.attrs.med), (Some(7), Some(7)));
}

#[test]
fn mp_unreach_withdraws_and_may_stand_beside_everything_else() {
    let unreach = attr(N, 15, &[0, 2, 1, 16, 0xFD, 2]);
    let read = good(&update(&[8, 11], &[mandatory(), unreach].concat(), PREFIX), &EXTERNAL);
    assert_eq!(read.withdrawn, [prefix("11.0.0.0/8"), prefix("fd02::/16")]);
    assert_eq!(read.reach.len(), 1);
    assert_eq!(read.end_of_rib, None);
}

#[test]
fn rfc4724_2_end_of_rib_is_recognized_for_both_families() {
    assert_eq!(
        good(&update(&[], &[], &[]), &EXTERNAL),
        Update { end_of_rib: Some(Family::Ipv4Unicast), ..Update::default() }
    );
    for (afi, family) in [(1, Family::Ipv4Unicast), (2, Family::Ipv6Unicast)] {
        let message = update(&[], &attr(N, 15, &[0, afi, 1]), &[]);
        let expected = Update { end_of_rib: Some(family), ..Update::default() };
        assert_eq!(good(&message, &EXTERNAL), expected);
    }
    let beside_others = update(&[], &[attr(N, 15, &[0, 2, 1]), origin()].concat(), &[]);
    assert_eq!(good(&beside_others, &EXTERNAL), Update::default());
    assert_eq!(good(&update(PREFIX, &attr(N, 15, &[0, 2, 1]), &[]), &EXTERNAL).end_of_rib, None);
}

#[test]
fn a_family_that_is_not_ours_is_skipped() {
    let vpn = attr(N, 14, &[0, 1, 128, 12, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 0, 200, 1, 2, 3]);
    let read = good(&update(&[], &[vpn, mandatory()].concat(), PREFIX), &EXTERNAL);
    assert_eq!(read.reach.len(), 1);
    for foreign in [&[0, 25, 70][..], &[0, 25, 70, 255, 1], &[0x40, 4, 71]] {
        let message = update(&[], &attr(N, 15, foreign), &[]);
        assert_eq!(good(&message, &EXTERNAL), Update::default());
    }
}

#[test]
fn rfc4760_8_a_family_that_was_not_negotiated_is_skipped() {
    let v6_only = Codec { families: FamilySet::from_iter([Family::Ipv6Unicast]), ..EXTERNAL };
    let v4_only = Codec { families: FamilySet::from_iter([Family::Ipv4Unicast]), ..EXTERNAL };
    let attributes = [mandatory(), mp_reach(), attr(N, 15, &[0, 2, 1, 8, 0xFD])].concat();
    let both = update(&[8, 11], &attributes, PREFIX);
    let v6 = good(&both, &v6_only);
    assert_eq!(v6.withdrawn, [prefix("fd00::/8")]);
    assert_eq!(
        v6.reach.iter().map(|reach| reach.family).collect::<Vec<_>>(),
        [Family::Ipv6Unicast]
    );
    let v4 = good(&both, &v4_only);
    assert_eq!(v4.withdrawn, [prefix("11.0.0.0/8")]);
    assert_eq!(
        v4.reach.iter().map(|reach| reach.family).collect::<Vec<_>>(),
        [Family::Ipv4Unicast]
    );
    assert_eq!(good(&update(&[], &[], &[]), &v6_only).end_of_rib, None);
    assert_eq!(good(&update(&[], &attr(N, 15, &[0, 2, 1]), &[]), &v4_only).end_of_rib, None);
}

#[test]
fn rfc4271_6_3_prefixes_that_nothing_is_routed_to_are_ignored_and_told() {
    let mp_reach = attr(N, 14, &mp_reach_value(&global(), &[8, 0xFF, 16, 0xFE, 0x80]));
    let both = [&[4, 224, 8, 127][..], PREFIX].concat();
    let read = read(&update(&[], &[mp_reach, mandatory()].concat(), &both), &EXTERNAL).unwrap();
    assert_eq!(read.reach.len(), 1);
    assert_eq!(read.reach[0].prefixes, [prefix("10.1.0.0/16")]);
    let gone = ["ff00::/8", "fe80::/16", "224.0.0.0/4", "127.0.0.0/8"].map(prefix);
    assert_eq!(read.withdrawn, gone);
    let words: Vec<_> = read.faults.iter().map(ToString::to_string).collect();
    let expected =
        "a prefix is multicast, loopback, link-local or unspecified; treated as withdraw";
    assert_eq!(words, [expected, expected]);
    assert!(read.flawed.is_some());
}
