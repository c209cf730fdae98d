//! Headers octet by octet; what is inside is read back by an independent decoder in
//! `tests/tests/bmp_differential.rs`.

use std::sync::Arc;

use bytes::Bytes;

use super::*;
use crate::{
    aspath::Asn,
    attrs::{Attrs, NextHop},
    community::Community,
    family::Family,
    prefix::Prefix,
    rib::{Monitored, Opening, PeerId, Report, SessionOptions, View},
    session::Cause,
    timestamp::Timestamp,
    wire::{self, ErrorCode, Notification, Reach, Update},
};

fn peer(address: &str) -> Peer {
    Peer {
        address: Some(address.parse().unwrap()),
        asn: Asn(4_200_000_001),
        router_id: "10.0.0.2".parse().unwrap(),
    }
}

fn ourselves() -> Peer {
    Peer { address: None, asn: Asn(4_200_000_011), router_id: "10.0.0.1".parse().unwrap() }
}

fn at() -> Timestamp {
    Timestamp::from(
        std::time::SystemTime::UNIX_EPOCH + std::time::Duration::new(0x6A0B_0C0D, 7_000),
    )
}

/// A message as its common header has it: version, length, type; and the rest.
fn common(message: &Bytes) -> (u8, usize, u8, &[u8]) {
    let len = u32::from_be_bytes(message[1..5].try_into().unwrap());
    (message[0], len.try_into().unwrap(), message[5], &message[6..])
}

#[test]
fn rfc7854_4_3_initiation_has_description_and_name() {
    let message = initiation("n1", "Slash32");
    let expected = [&[3, 0, 0, 0, 23, 4][..], &[0, 1, 0, 7], b"Slash32", &[0, 2, 0, 2], b"n1"];
    assert_eq!(message, expected.concat());
}

#[test]
fn rfc7854_4_4_a_text_that_does_not_fit_is_cut_between_characters() {
    let message = initiation("n1", &"é".repeat(40_000));
    assert_eq!(message[8..10], 65_534_u16.to_be_bytes());
    assert_eq!(message.len(), 6 + 4 + 65_534 + 4 + 2);
}

#[test]
fn rfc7854_4_5_termination_has_its_reason() {
    assert_eq!(termination(Termination::Administrative)[..], [3, 0, 0, 0, 12, 5, 0, 1, 0, 2, 0, 0]);
    assert_eq!(termination(Termination::OutOfResources)[10..], [0, 2]);
    assert_eq!(termination(Termination::Permanent)[10..], [0, 4]);
}

#[test]
fn rfc7854_4_2_the_per_peer_header_of_each_view() {
    let four = peer("10.1.1.0");
    let update = wire::Update::encode_end_of_rib(Family::Ipv4Unicast);
    let message = four.routes(View::PostPolicy, &update, at());
    let expected = [
        // Global instance, post-policy, no distinguisher.
        &[0, 0x40, 0, 0, 0, 0, 0, 0, 0, 0][..],
        &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 10, 1, 1, 0],
        &4_200_000_001_u32.to_be_bytes(),
        &[10, 0, 0, 2],
        &[0x6A, 0x0B, 0x0C, 0x0D, 0, 0, 0, 7],
        &update,
    ];
    assert_eq!(common(&message), (3, 48 + 23, 0, &expected.concat()[..]));

    let six = peer("fd00::2");
    let begin = |message: &Bytes| [message[6], message[7]];
    assert_eq!(begin(&four.routes(View::PrePolicy, &update, at())), [0, 0]);
    assert_eq!(begin(&six.routes(View::PrePolicy, &update, at())), [0, 0x80]);
    assert_eq!(begin(&six.routes(View::PostPolicy, &update, at())), [0, 0xC0]);
    // RFC 8671 §4.
    assert_eq!(begin(&four.routes(View::AdjRibOut, &update, at())), [0, 0x50]);
    assert_eq!(begin(&six.routes(View::AdjRibOutPrePolicy, &update, at())), [0, 0x90]);
    // RFC 9069 §5.1: another type, an address of zeros, our AS and identifier.
    let message = ourselves().routes(View::LocRib, &update, Timestamp::UNKNOWN);
    assert_eq!(message[6..32], [[3].as_slice(), &[0; 25]].concat());
    assert_eq!(message[32..36], 4_200_000_011_u32.to_be_bytes());
    assert_eq!(message[36..48], [10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn rfc7854_4_10_peer_up_has_both_ends_and_both_opens() {
    let opening = Opening {
        local: "10.1.1.1:40000".parse().unwrap(),
        remote: "10.1.1.0:179".parse().unwrap(),
        sent_open: Bytes::from_static(b"our OPEN"),
        received_open: Bytes::from_static(b"its OPEN"),
        at: at(),
    };
    let message = peer("10.1.1.0").up(&opening);
    let (version, len, kind, body) = common(&message);
    assert_eq!((version, len, kind), (3, 48 + 20 + 16, 3));
    let expected = [
        &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 10, 1, 1, 1][..],
        &40_000_u16.to_be_bytes(),
        &179_u16.to_be_bytes(),
        b"our OPENits OPEN",
    ];
    assert_eq!(body[42..], expected.concat());
}

#[test]
fn rfc9069_5_2_the_loc_rib_comes_up_with_opens_that_say_how_to_read_it() {
    let message = ourselves().loc_rib_up(at());
    let (_, len, kind, body) = common(&message);
    assert_eq!((len, kind), (message.len(), 3));
    assert_eq!(body[42..62], [0; 20]);
    let open_len = usize::from(u16::from_be_bytes([body[78], body[79]]));
    let (sent, rest) = body[62..].split_at(open_len);
    assert!(rest.starts_with(sent), "both OPENs are the same");
    let open = wire::decode(&Bytes::copy_from_slice(sent), &wire::Codec::default());
    let Ok(wire::Message::Open(open)) = open else { panic!("{open:?}") };
    assert_eq!(open.effective_asn(), Asn(4_200_000_011));
    let ipv6_next_hops = wire::Capability::ExtendedNextHop(vec![(1, 1, 2)]);
    let all = [
        wire::Capability::family(Family::Ipv4Unicast),
        wire::Capability::family(Family::Ipv6Unicast),
        wire::Capability::FourOctetAs(Asn(4_200_000_011)),
        ipv6_next_hops,
        wire::Capability::ExtendedMessage,
    ];
    assert_eq!(open.capabilities, all, "what reading it takes, and nothing else");
    assert_eq!(rest[open_len..], [b"\0\x03\0\x06".as_slice(), b"global"].concat());
}

#[test]
fn rfc7854_4_9_peer_down_says_who_ended_the_session_and_how() {
    let hold = Notification::new(ErrorCode::HOLD_TIMER_EXPIRED, Bytes::new());
    let reasons = [
        (Cause::Sent(hold.clone()), [&[1][..], &hold.encode()].concat()),
        (Cause::Received(hold.clone()), [&[3][..], &hold.encode()].concat()),
        (Cause::Closed, vec![4]),
        (Cause::Stopped, vec![2, 0, 2]),
        (Cause::SendHoldExpired, vec![2, 0, 29]),
        (Cause::ReceivedMalformed(hold), vec![2, 0, 25]),
    ];
    for (cause, expected) in reasons {
        let message = peer("10.1.1.0").down(&PeerDown::from(&cause), at());
        let (_, len, kind, body) = common(&message);
        assert_eq!((len, kind), (message.len(), 2), "{cause}");
        assert_eq!(body[42..], expected, "{cause}");
    }
}

#[test]
fn rfc7854_4_8_counters_have_32_bits_and_gauges_64() {
    let statistics = [
        Statistic::Rejected(0x1_0000_0002),
        Statistic::AdjRibIn(0x1_0000_0002),
        Statistic::FamilyAdjRibIn(Family::Ipv6Unicast, 3),
    ];
    let message = peer("10.1.1.0").statistics(&statistics, at());
    let expected = [
        &[0, 0, 0, 3][..],
        &[0, 0, 0, 4, 0, 0, 0, 2],
        &[0, 7, 0, 8, 0, 0, 0, 1, 0, 0, 0, 2],
        &[0, 9, 0, 11, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 3],
    ];
    let (_, len, kind, body) = common(&message);
    assert_eq!((len, kind), (message.len(), 1));
    assert_eq!(body[42..], expected.concat());
}

fn session() -> Arc<Monitored> {
    Arc::new(Monitored {
        id: PeerId(1),
        address: "10.1.1.0".parse().unwrap(),
        asn: Asn(4_200_000_001),
        router_id: "10.0.0.2".parse().unwrap(),
        families: FamilySet::ALL,
        options: SessionOptions::default(),
        opening: Opening { at: at(), ..Opening::default() },
    })
}

fn announced(attrs: Attrs) -> Report {
    let prefixes = vec![Prefix::host("10.244.1.1".parse().unwrap()).into()];
    let reach = Reach { family: Family::Ipv4Unicast, attrs: Arc::new(attrs), prefixes };
    let update = Update { reach: vec![reach], ..Update::default() };
    Report::Routes { session: Some(session()), view: View::PostPolicy, at: at(), update }
}

#[test]
fn reports_become_messages_of_their_kind_about_their_peer() {
    let (session, us) = (session(), ourselves());
    let four = peer("10.1.1.0");
    let told = |of: &Report| report(of, &us).0;
    assert_eq!(told(&Report::Up(Arc::clone(&session))), [four.up(&session.opening)]);
    let down = Report::Down { session, why: Cause::Closed, at: at() };
    assert_eq!(told(&down), [four.down(&PeerDown::Lost, at())]);

    let end = Update { end_of_rib: Some(Family::Ipv6Unicast), ..Update::default() };
    let octets = Update::encode_end_of_rib(Family::Ipv6Unicast);
    let of_us = Report::Routes { session: None, view: View::LocRib, at: at(), update: end };
    assert_eq!(told(&of_us), [us.routes(View::LocRib, &octets, at())]);
}

#[test]
fn rfc7911_prefixes_have_path_identifiers_where_the_session_has_them() {
    let Report::Routes { view, at, update, .. } =
        announced(Attrs::originated(NextHop::new("10.1.1.0".parse().unwrap())))
    else {
        panic!()
    };
    let options = SessionOptions {
        add_path_receive: [Family::Ipv4Unicast].into_iter().collect(),
        ..SessionOptions::default()
    };
    let told = |options, view| {
        let session = Some(Arc::new(Monitored { options, ..Monitored::clone(&session()) }));
        let routes = Report::Routes { session, view, at, update: update.clone() };
        report(&routes, &ourselves()).0[0].len()
    };
    let plain = told(SessionOptions::default(), view);
    assert_eq!(told(options, View::PrePolicy), plain + 4);
    assert_eq!(told(options, View::PostPolicy), plain + 4);
    assert_eq!(told(options, View::AdjRibOut), plain);
}

#[test]
fn attributes_that_need_more_than_a_usual_message_are_told_in_a_longer_one() {
    let mut attrs = Attrs::originated(NextHop::new("10.1.1.0".parse().unwrap()));
    attrs.communities = (0..1000).map(Community).collect();
    assert!(report(&announced(attrs.clone()), &ourselves()).0[0].len() < 48 + 4096);
    attrs.communities = (0..2000).map(Community).collect();
    let (messages, untold) = report(&announced(attrs.clone()), &ourselves());
    assert!(messages.len() == 1 && messages[0].len() > 8000);
    assert_eq!(untold, None);
    attrs.communities = (0..20_000).map(Community).collect();
    // What fits nowhere is not left as it was before.
    let (messages, untold) = report(&announced(attrs), &ourselves());
    let prefix = Prefix::host("10.244.1.1".parse().unwrap()).into();
    let withdrawal = Update::encode_withdraw(&[prefix], &CODEC);
    assert!(messages.len() == 1 && messages[0].ends_with(&withdrawal[0]));
    assert!(matches!(untold, Some(wire::EncodeError::AttributeTooLong { .. })));
}
