//! Forms of OPEN and what is refused.

use super::*;
use crate::{
    family::Family,
    wire::{Codec, Message, decode},
};

/// An OPEN of AS 65001, hold time 90, 10.0.0.1, with these octets from the parameters' length on.
fn open(parameters: &[u8]) -> Bytes {
    let fixed = [4, 0xFD, 0xE9, 0, 90, 10, 0, 0, 1];
    header::message(header::Kind::Open, &[&fixed[..], parameters].concat())
}

/// The same, with one octet of the body changed.
fn patched(at: usize, octet: u8) -> Bytes {
    let mut octets = open(&[0]).to_vec();
    octets[HEADER_LEN + at] = octet;
    octets.into()
}

fn read(message: &Bytes) -> Result<Open, Notification> {
    match decode(message, &Codec::default())? {
        Message::Open(open) => Ok(open),
        other => panic!("not an OPEN: {other:?}"),
    }
}

fn capabilities(parameters: &[u8]) -> Vec<Capability> {
    read(&open(parameters)).unwrap().capabilities
}

fn error(message: &Bytes) -> (u8, u8, Vec<u8>) {
    let error = read(message).unwrap_err();
    (error.code, error.subcode, error.data.to_vec())
}

fn sent(capabilities: Vec<Capability>) -> Open {
    Open { asn: 65001, hold_time: 90, router_id: Ipv4Addr::new(10, 0, 0, 1), capabilities }
}

/// One of each kind.
fn every_capability() -> Vec<Capability> {
    vec![
        Capability::family(Family::Ipv4Unicast),
        Capability::family(Family::Ipv6Unicast),
        Capability::RouteRefresh,
        Capability::ExtendedNextHop(vec![(1, 1, 2), (1, 128, 2)]),
        Capability::ExtendedMessage,
        Capability::Role(3),
        Capability::GracefulRestart {
            restarted: true,
            notification: true,
            time: 4095,
            families: vec![(1, 1, true), (2, 1, false)],
        },
        Capability::FourOctetAs(Asn(4_200_000_001)),
        Capability::AddPath(vec![(1, 1, 3)]),
        Capability::EnhancedRouteRefresh,
        Capability::LongLivedGracefulRestart(vec![(1, 1, true, 0x00FF_FFFF)]),
        Capability::Unknown { code: 73, value: Bytes::from_static(b"\x04rack\x00") },
    ]
}

#[test]
fn rfc4271_4_2_the_fixed_fields_are_read() {
    assert_eq!(read(&open(&[0])), Ok(sent(vec![])));
}

#[test]
fn rfc5492_4_capabilities_in_one_parameter_in_several_and_mixed_are_the_same() {
    let expected = vec![
        Capability::family(Family::Ipv4Unicast),
        Capability::RouteRefresh,
        Capability::FourOctetAs(Asn(65001)),
    ];
    let multiprotocol = [1, 4, 0, 1, 0, 1];
    let refresh = [2, 0];
    let asn = [65, 4, 0, 0, 0xFD, 0xE9];
    let one = [&[16, 2, 14][..], &multiprotocol, &refresh, &asn].concat();
    let each = [&[20, 2, 6][..], &multiprotocol, &[2, 2], &refresh, &[2, 6], &asn].concat();
    let mixed = [&[20, 2, 6][..], &multiprotocol, &[2, 8], &refresh, &asn, &[2, 0]].concat();
    let extended =
        [&[255, 255, 0, 20, 2, 0, 6][..], &multiprotocol, &[2, 0, 8], &refresh, &asn].concat();
    // The length before the type is not what tells the form (RFC 9072 §2).
    let sloppy = [&[1, 255, 0, 17, 2, 0, 14][..], &multiprotocol, &refresh, &asn].concat();
    for parameters in [one, each, mixed, extended, sloppy] {
        assert_eq!(capabilities(&parameters), expected, "{parameters:?}");
    }
    assert_eq!(capabilities(&[255, 255, 0, 0]), []);
}

#[test]
fn every_capability_reads_back_as_written() {
    let open = sent(every_capability());
    assert_eq!(read(&open.encode()), Ok(open));
}

#[test]
fn rfc9072_2_the_extended_form_is_used_only_when_it_is_needed() {
    let unknown = |len: usize| Capability::Unknown { code: 200, value: vec![7; len].into() };
    let fits = sent(vec![unknown(249), Capability::RouteRefresh]);
    let octets = fits.encode();
    assert_eq!(octets[28..31], [255, 2, 253]);
    assert_eq!(read(&octets), Ok(fits));
    let long = sent(vec![unknown(250), Capability::RouteRefresh]);
    let octets = long.encode();
    assert_eq!(octets[28..35], [255, 255, 1, 1, 2, 0, 254]);
    assert_eq!(read(&octets), Ok(long));
    let many = sent(vec![unknown(255); 15]);
    assert_eq!(read(&many.encode()), Ok(many));
}

#[test]
fn an_offer_that_cannot_be_written_is_left_out() {
    let huge = Capability::Unknown { code: 200, value: vec![7; 256].into() };
    let open = sent(vec![huge, Capability::RouteRefresh]);
    assert_eq!(read(&open.encode()), Ok(sent(vec![Capability::RouteRefresh])));
    let large = Capability::Unknown { code: 200, value: vec![7; 255].into() };
    let octets = sent(vec![large; 40]).encode();
    assert!(octets.len() <= MAX_LEN);
    assert_eq!(read(&octets).unwrap().capabilities.len(), 15);
}

#[test]
fn rfc4271_6_2_another_version_is_answered_with_ours() {
    for version in [0, 3, 5] {
        assert_eq!(error(&patched(0, version)), (2, 1, vec![0, 4]));
    }
}

#[test]
fn rfc4271_6_2_an_unknown_optional_parameter_is_refused() {
    for parameters in [&[3, 1, 1, 0][..], &[2, 200, 0], &[6, 2, 2, 2, 0, 9, 0]] {
        assert_eq!(error(&open(parameters)), (2, 4, vec![]), "{parameters:?}");
    }
    assert_eq!(error(&open(&[255, 255, 0, 3, 1, 0, 0])), (2, 4, vec![]));
}

#[test]
fn rfc4271_6_2_lengths_that_contradict_each_other_are_refused() {
    let cases: [&[u8]; 13] = [
        &[1],
        &[0, 2],
        &[2, 2],
        &[4, 2, 2, 2],
        &[4, 2, 3, 2, 0],
        &[4, 2, 2, 1, 4],
        &[3, 2, 1, 2],
        &[3, 2, 2, 2],
        &[5, 2, 2, 2, 0, 2],
        &[255, 255],
        &[255, 255, 0],
        &[255, 255, 0, 1],
        &[255, 255, 0, 2, 2, 0],
    ];
    for parameters in cases {
        assert_eq!(error(&open(parameters)), (2, 0, vec![]), "{parameters:?}");
    }
}

#[test]
fn rfc5492_3_unknown_capabilities_are_kept_for_a_look_and_break_nothing() {
    let read = capabilities(&[9, 2, 7, 199, 3, 1, 2, 3, 2, 0]);
    let unknown = Capability::Unknown { code: 199, value: Bytes::from_static(&[1, 2, 3]) };
    assert_eq!(read, [unknown, Capability::RouteRefresh]);
}

#[test]
fn a_known_capability_of_a_wrong_form_is_none() {
    let cases: [(u8, &[u8]); 14] = [
        (1, &[0, 1, 0]),
        (1, &[0, 1, 0, 1, 0]),
        (2, &[0]),
        (5, &[0, 1, 0, 1, 0]),
        (6, &[1]),
        (9, &[]),
        (9, &[1, 2]),
        (64, &[]),
        (64, &[0, 1, 0, 1, 1]),
        (65, &[0, 0, 1]),
        (65, &[0, 0, 0, 0, 1]),
        (69, &[0, 1, 1]),
        (70, &[0]),
        (71, &[0, 1, 1, 0, 0, 0]),
    ];
    for (code, value) in cases {
        let len = u8::try_from(value.len()).unwrap();
        let parameters = [&[len + 4, 2, len + 2, code, len][..], value].concat();
        let value = Bytes::copy_from_slice(value);
        assert_eq!(capabilities(&parameters), [Capability::Unknown { code, value }]);
    }
}

#[test]
fn rfc6793_4_1_the_four_octet_capability_says_the_as() {
    let open = Open { asn: 23456, ..sent(vec![Capability::FourOctetAs(Asn(200_000))]) };
    assert_eq!(open.effective_asn(), Asn(200_000));
    assert_eq!(sent(vec![]).effective_asn(), Asn(65001));
}
