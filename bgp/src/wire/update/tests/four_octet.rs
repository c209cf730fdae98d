//! Peers that speak two-octet AS numbers (RFC 6793).

use super::*;

/// What a two-octet speaker announces with these attributes after ORIGIN and NEXT_HOP.
fn from_old(more: &[Vec<u8>]) -> Update {
    let attributes = [origin(), next_hop(), more.concat()].concat();
    read(&update(&[], &attributes, PREFIX), &TWO_OCTET).unwrap()
}

fn old_path(asns: &[u16]) -> Vec<u8> {
    let mut value = vec![2, u8::try_from(asns.len()).unwrap()];
    value.extend(asns.iter().flat_map(|asn| asn.to_be_bytes()));
    attr(W, 2, &value)
}

fn as4_segment(kind: u8, asns: &[u32]) -> Vec<u8> {
    let mut value = vec![kind, u8::try_from(asns.len()).unwrap()];
    value.extend(asns.iter().flat_map(|asn| asn.to_be_bytes()));
    value
}

fn as4_path(asns: &[u32]) -> Vec<u8> {
    attr(T, 17, &as4_segment(2, asns))
}

fn path(update: &Update) -> String {
    update.reach[0].attrs.as_path.to_string()
}

#[test]
fn rfc6793_4_2_3_as4_path_replaces_the_end_of_a_longer_as_path() {
    let update = from_old(&[old_path(&[65001, 23456, 23456]), as4_path(&[200_000, 300_000])]);
    assert_eq!(path(&update), "65001 200000 300000");
    assert_eq!(update.faults, []);
    let update = from_old(&[old_path(&[23456, 23456]), as4_path(&[200_000, 300_000])]);
    assert_eq!(path(&update), "200000 300000");
    let update = from_old(&[old_path(&[65001])]);
    assert_eq!(path(&update), "65001");
}

#[test]
fn rfc6793_4_2_3_a_longer_as4_path_is_ignored() {
    let update = from_old(&[old_path(&[65001]), as4_path(&[200_000, 300_000])]);
    assert_eq!(path(&update), "65001");
}

#[test]
fn rfc6793_4_2_3_an_aggregator_of_two_octets_outdates_both() {
    let aggregator = |asn: u16| attr(T, 7, &[&asn.to_be_bytes()[..], &[10, 0, 0, 1]].concat());
    let as4_aggregator = attr(T, 18, &[0, 3, 0x0D, 0x40, 10, 0, 0, 2]);
    let read = |asn| {
        let path = old_path(&[65001, 23456]);
        from_old(&[path, aggregator(asn), as4_path(&[200_000]), as4_aggregator.clone()])
    };
    let fresh = read(23456);
    assert_eq!(path(&fresh), "65001 200000");
    let expected = Aggregator { asn: Asn(200_000), router_id: Ipv4Addr::new(10, 0, 0, 2) };
    assert_eq!(fresh.reach[0].attrs.aggregator, Some(expected));
    let outdated = read(65001);
    assert_eq!(path(&outdated), "65001 23456");
    let expected = Aggregator { asn: Asn(65001), router_id: Ipv4Addr::new(10, 0, 0, 1) };
    assert_eq!(outdated.reach[0].attrs.aggregator, Some(expected));
}

#[test]
fn rfc6793_4_2_3_as4_aggregator_alone_says_nothing() {
    let update = from_old(&[old_path(&[65001]), attr(T, 18, &[0, 3, 0x0D, 0x40, 10, 0, 0, 2])]);
    assert_eq!(update.reach[0].attrs.aggregator, None);
}

#[test]
fn the_partial_bit_of_as4_aggregator_is_not_that_of_aggregator() {
    let as4_aggregator = attr(T | 0x20, 18, &[0, 3, 0x0D, 0x40, 10, 0, 0, 2]);
    let update = from_old(&[old_path(&[65001]), as4_aggregator]);
    assert_eq!(update.reach[0].attrs.partial, PartialSet::NONE);
}

#[test]
fn rfc6793_6_a_malformed_as4_path_or_as4_aggregator_is_discarded() {
    for (code, value) in [
        (17, vec![]),
        (17, vec![2, 0]),
        (17, vec![2, 1, 0, 3]),
        (17, vec![9, 1, 0, 3, 0x0D, 0x40]),
        (17, as4_segment(2, &[0])),
        (18, vec![]),
        (18, vec![0xFD, 0xE9, 1, 1, 1, 1]),
        (18, vec![0, 0, 0, 0, 1, 1, 1, 1]),
    ] {
        let attribute = attr(T, code, &value);
        let update = from_old(&[old_path(&[65001, 23456]), attribute.clone()]);
        assert_eq!(path(&update), "65001 23456");
        let fault = &update.faults[0];
        assert_eq!(fault.treatment, Treatment::DiscardAttribute);
        assert_eq!(fault.octets, attribute);
    }
}

#[test]
fn rfc6793_6_confederation_sequences_are_left_out_of_as4_path() {
    let value = [as4_segment(3, &[64_600]), as4_segment(2, &[200_000])].concat();
    let update = from_old(&[old_path(&[65001, 23456]), attr(T, 17, &value)]);
    assert_eq!(path(&update), "65001 200000");
    assert_eq!(update.faults, []);
}

#[test]
fn rfc9774_3_a_set_in_as4_path_withdraws() {
    for kind in [1, 4] {
        let attribute = attr(T, 17, &as4_segment(kind, &[200_000]));
        let update = from_old(&[old_path(&[65001, 23456]), attribute]);
        assert_eq!(update.withdrawn, [prefix("10.1.0.0/16")]);
        assert_eq!(update.faults[0].treatment, Treatment::TreatAsWithdraw);
    }
}

#[test]
fn rfc6793_6_a_four_octet_speaker_must_not_send_them() {
    let more = [as4_path(&[200_000]), attr(T, 18, &[0, 3, 0x0D, 0x40, 1, 1, 1, 1])];
    let update = with(&more.concat(), &EXTERNAL).unwrap();
    assert_eq!(path(&update), "65001");
    assert_eq!(update.reach[0].attrs.aggregator, None);
    let discarded: Vec<_> = update.faults.iter().map(|fault| fault.attribute).collect();
    assert_eq!(discarded, [AttrCode::AS4_PATH, AttrCode::AS4_AGGREGATOR]);
}

#[test]
fn rfc7606_7_7_aggregator_of_an_old_speaker_has_six_octets() {
    let wrong = attr(T, 7, &[0, 0, 0xFD, 0xE9, 1, 1, 1, 1]);
    let update = from_old(&[old_path(&[65001]), wrong]);
    assert_eq!(update.faults[0].treatment, Treatment::DiscardAttribute);
    let right = attr(T, 7, &[0xFD, 0xE9, 1, 1, 1, 1]);
    let update = from_old(&[old_path(&[65001]), right]);
    let expected = Aggregator { asn: Asn(65001), router_id: Ipv4Addr::new(1, 1, 1, 1) };
    assert_eq!(update.reach[0].attrs.aggregator, Some(expected));
}

#[test]
fn rfc6793_4_2_2_as4_attributes_go_out_only_where_they_say_more() {
    let next_hop = NextHop::new("192.0.2.1".parse().unwrap());
    let router_id = Ipv4Addr::new(1, 1, 1, 1);
    let small = Attrs {
        as_path: AsPath::sequence([65001]),
        aggregator: Some(Aggregator { asn: Asn(65002), router_id }),
        ..Attrs::originated(next_hop)
    };
    let octets = encode(&small, &TWO_OCTET);
    let expected =
        [origin(), old_path(&[65001]), super::next_hop(), attr(T, 7, &[0xFD, 0xEA, 1, 1, 1, 1])];
    assert_eq!(octets[23..], [expected.concat(), PREFIX.to_vec()].concat());

    let large = Attrs {
        as_path: AsPath::sequence([65001, 200_000]),
        aggregator: Some(Aggregator { asn: Asn(200_000), router_id }),
        ..Attrs::originated(next_hop)
    };
    let octets = encode(&large, &TWO_OCTET);
    let expected = [
        origin(),
        old_path(&[65001, 23456]),
        super::next_hop(),
        attr(T, 7, &[0x5B, 0xA0, 1, 1, 1, 1]),
        as4_path(&[65001, 200_000]),
        attr(T, 18, &[0, 3, 0x0D, 0x40, 1, 1, 1, 1]),
    ];
    assert_eq!(octets[23..], [expected.concat(), PREFIX.to_vec()].concat());
    assert_eq!(*good(&octets, &TWO_OCTET).reach[0].attrs, large);
}

fn encode(attrs: &Attrs, codec: &Codec) -> Bytes {
    Update::encode_reach(attrs, &[prefix("10.1.0.0/16")], codec).unwrap().remove(0)
}
