//! What optional capabilities come to.

use super::*;
use crate::{
    config::{GracefulRestart, RestartTime, StaleTime},
    family::PerFamily,
    role::Role,
    wire::{MAX_EXTENDED_LEN, MAX_LEN},
};

/// Everything on.
fn lavish() -> SessionConfig {
    let hour = StaleTime::new(3600).unwrap();
    SessionConfig {
        add_path_receive: FamilySet::ALL,
        add_path_send: families(&[Family::Ipv6Unicast]),
        extended_next_hop: families(&[Family::Ipv4Unicast]),
        extended_messages: true,
        role: Some(Role::Customer),
        graceful_restart: Some(GracefulRestart {
            restart_time: RestartTime::new(77).unwrap(),
            long_lived_time: PerFamily { ipv4: hour, ipv6: hour },
            ..GracefulRestart::default()
        }),
        ..config()
    }
}

#[test]
fn everything_that_is_wanted_is_offered_and_nothing_else() {
    let (bench, conn) = Bench::open_sent(lavish());
    let restart = Capability::GracefulRestart {
        restarted: false,
        notification: true,
        time: 77,
        families: vec![(1, 1, false), (2, 1, false)],
    };
    let expected = [
        Capability::family(Family::Ipv4Unicast),
        Capability::family(Family::Ipv6Unicast),
        Capability::RouteRefresh,
        Capability::ExtendedNextHop(vec![(1, 1, 2)]),
        Capability::ExtendedMessage,
        Capability::Role(3),
        restart,
        Capability::FourOctetAs(Asn(65000)),
        Capability::AddPath(vec![(1, 1, 1), (2, 1, 3)]),
        Capability::EnhancedRouteRefresh,
        Capability::LongLivedGracefulRestart(vec![(1, 1, false, 3600), (2, 1, false, 3600)]),
    ];
    assert_eq!(bench.offered(conn).capabilities, expected);
}

#[test]
fn an_option_for_a_family_that_is_not_offered_is_not_offered_either() {
    let v6 = families(&[Family::Ipv6Unicast]);
    let (bench, conn) = Bench::open_sent(SessionConfig { families: v6, ..lavish() });
    let offered = bench.offered(conn).capabilities;
    assert!(!offered.iter().any(|capability| matches!(capability, Capability::ExtendedNextHop(_))));
    assert!(offered.contains(&Capability::AddPath(vec![(2, 1, 3)])));
    let stale = Capability::LongLivedGracefulRestart(vec![(2, 1, false, 3600)]);
    assert!(offered.contains(&stale));
}

#[test]
fn a_peer_that_offers_nothing_gets_nothing() {
    let (bench, _) = Bench::established(lavish());
    let terms = bench.terms();
    let expected = Codec { max_receive_len: MAX_EXTENDED_LEN, ..Codec::PLAIN };
    assert_eq!(terms.codec, expected, "what we take stays what we offered to take");
    assert!(!terms.enhanced_refresh);
    assert_eq!((&terms.graceful_restart, &terms.long_lived[..]), (&None, &[][..]));
    assert_eq!((terms.role, terms.peer_role), (Some(Role::Customer), None));
}

#[test]
fn rfc8654_3_messages_are_long_only_if_both_offer_it() {
    for (ours, theirs, receive, send) in [
        (true, true, MAX_EXTENDED_LEN, MAX_EXTENDED_LEN),
        (true, false, MAX_EXTENDED_LEN, MAX_LEN),
        (false, true, MAX_LEN, MAX_LEN),
        (false, false, MAX_LEN, MAX_LEN),
    ] {
        let offer = open_with(theirs.then_some(Capability::ExtendedMessage));
        let ours = SessionConfig { extended_messages: ours, ..config() };
        let (bench, _) = Bench::established_with(ours, &offer);
        let codec = bench.terms().codec;
        assert_eq!((codec.max_receive_len, codec.max_send_len), (receive, send));
    }
}

#[test]
fn rfc8654_4_a_message_of_65535_octets_is_taken_in_any_pieces_and_only_if_agreed() {
    // Withdrawn routes of one octet each, and as many as fit.
    let count = MAX_EXTENDED_LEN - 19 - 4;
    let mut body = u16::try_from(count).unwrap().to_be_bytes().to_vec();
    body.extend(vec![0; count + 2]);
    let update = message(2, &body);
    assert_eq!(update.len(), MAX_EXTENDED_LEN);

    let ours = SessionConfig { extended_messages: true, ..config() };
    for size in [1, 4096, MAX_EXTENDED_LEN] {
        let offer = open_with([Capability::ExtendedMessage]);
        let (mut bench, conn) = Bench::established_with(ours.clone(), &offer);
        for piece in update.chunks(size) {
            bench.hear(conn, piece.to_vec());
        }
        let [Output::Update(read)] = &bench.outputs[..] else { panic!("pieces of {size}") };
        assert_eq!(read.withdrawn.len(), count);
        // An OPEN or KEEPALIVE is never that long.
        bench.hear(conn, message(1, &[0; 4078]));
        assert_eq!(bench.told(conn), Some((1, 2, 4097_u16.to_be_bytes().to_vec())));
    }

    let (mut bench, conn) = Bench::established(config());
    bench.hear(conn, update);
    assert_eq!(bench.told(conn), Some((1, 2, vec![0xFF, 0xFF])));
}

#[test]
fn rfc7911_4_each_direction_of_each_family_is_agreed_on_by_itself() {
    let (v4, v6) = (families(&[Family::Ipv4Unicast]), families(&[Family::Ipv6Unicast]));
    // Ours: both ways for IPv4, only to receive for IPv6.
    let ours = SessionConfig { add_path_receive: FamilySet::ALL, add_path_send: v4, ..config() };
    for (theirs, receive, send) in [
        (vec![(1, 1, 3), (2, 1, 3)], FamilySet::ALL, v4),
        (vec![(1, 1, 1), (2, 1, 1)], FamilySet::NONE, v4),
        (vec![(1, 1, 2), (2, 1, 2)], FamilySet::ALL, FamilySet::NONE),
        (vec![(2, 1, 2)], v6, FamilySet::NONE),
        // Values without a meaning are no offer.
        (vec![(1, 1, 0), (2, 1, 7)], FamilySet::NONE, FamilySet::NONE),
        (vec![(1, 128, 3)], FamilySet::NONE, FamilySet::NONE),
    ] {
        let offer = open_with([Capability::AddPath(theirs.clone())]);
        let (bench, _) = Bench::established_with(ours.clone(), &offer);
        let codec = bench.terms().codec;
        assert_eq!((codec.add_path_receive, codec.add_path_send), (receive, send), "{theirs:?}");
    }
}

#[test]
fn rfc7911_4_a_family_of_which_only_paths_were_offered_has_none() {
    let ours = SessionConfig { add_path_receive: FamilySet::ALL, ..config() };
    let offer = Open {
        capabilities: vec![
            Capability::family(Family::Ipv4Unicast),
            Capability::AddPath(vec![(1, 1, 3), (2, 1, 3)]),
        ],
        ..open()
    };
    let (bench, _) = Bench::established_with(ours, &offer);
    assert_eq!(bench.terms().codec.add_path_receive, families(&[Family::Ipv4Unicast]));
}

#[test]
fn rfc8950_4_ipv6_next_hops_of_ipv4_prefixes_need_both() {
    let v4 = families(&[Family::Ipv4Unicast]);
    let wanted = SessionConfig { extended_next_hop: v4, ..config() };
    for (ours, theirs, agreed) in [
        (wanted.clone(), vec![(1, 1, 2)], v4),
        (wanted.clone(), vec![(1, 128, 2), (1, 1, 2)], v4),
        (wanted.clone(), vec![(1, 128, 2)], FamilySet::NONE),
        (wanted, vec![], FamilySet::NONE),
        (config(), vec![(1, 1, 2)], FamilySet::NONE),
    ] {
        let offer = open_with([Capability::ExtendedNextHop(theirs)]);
        let (bench, _) = Bench::established_with(ours, &offer);
        assert_eq!(bench.terms().codec.extended_next_hop, agreed);
    }
}

#[test]
fn rfc9234_4_2_roles_that_do_not_go_together_are_refused() {
    let ours = |role, strict_role| SessionConfig { role, strict_role, ..config() };
    let codes = |codes: &[u8]| open_with(codes.iter().copied().map(Capability::Role));
    for (role, strict, theirs, agreed) in [
        (Some(Role::Provider), false, &[3][..], true),
        (Some(Role::Customer), true, &[0], true),
        (Some(Role::RouteServer), false, &[2], true),
        (Some(Role::RouteServerClient), false, &[1], true),
        (Some(Role::Peer), false, &[4, 4], true),
        (Some(Role::Provider), false, &[0], false),
        (Some(Role::Peer), false, &[3], false),
        (Some(Role::Customer), false, &[1], false),
        (Some(Role::Customer), false, &[0, 1], false),
        (Some(Role::Customer), false, &[9], false),
        (Some(Role::Customer), false, &[], true),
        (Some(Role::Customer), true, &[], false),
        // Whoever has no role of his own has no say in it.
        (None, false, &[0], true),
    ] {
        let (mut bench, conn) = Bench::open_sent(ours(role, strict));
        bench.hear(conn, codes(theirs).encode());
        let expected = (!agreed).then_some((2, 11, vec![]));
        assert_eq!(bench.told(conn), expected, "{role:?} {theirs:?}");
        if agreed {
            bench.hear(conn, wire::keepalive());
            let counterpart = role.filter(|_| !theirs.is_empty()).map(Role::counterpart);
            assert_eq!((bench.terms().role, bench.terms().peer_role), (role, counterpart));
        }
    }
}

#[test]
fn rfc9234_4_1_within_an_as_there_are_no_roles() {
    let ours = SessionConfig {
        local_asn: Asn(65001),
        peer_asn: PeerAs::Internal,
        role: Some(Role::Provider),
        strict_role: true,
        ..config()
    };
    let (bench, conn) = Bench::open_sent(ours.clone());
    let offered = bench.offered(conn).capabilities;
    assert!(!offered.iter().any(|capability| matches!(capability, Capability::Role(_))));
    let (bench, _) = Bench::established_with(ours, &open_with([Capability::Role(0)]));
    assert_eq!((bench.terms().role, bench.terms().peer_role), (None, None));
}

#[test]
fn rfc9072_2_an_open_that_needs_it_is_sent_and_read_in_the_extended_form() {
    let unknown = |code| Capability::Unknown { code, value: vec![7; 120].into() };
    let offer = open_with([unknown(200), unknown(201), Capability::ExtendedMessage]);
    assert_eq!(offer.encode()[28..30], [255, 255]);
    let ours = SessionConfig { extended_messages: true, ..config() };
    let (bench, _) = Bench::established_with(ours, &offer);
    assert_eq!(bench.terms().codec.max_send_len, MAX_EXTENDED_LEN);
    assert_eq!(bench.terms().received_open, offer.encode());
}

#[test]
fn rfc7313_3_2_refresh_marks_are_passed_up_if_both_know_them() {
    let (begin, end) = (Refresh::begin(Family::Ipv6Unicast), Refresh::end(Family::Ipv6Unicast));
    let enhanced = open_with([Capability::EnhancedRouteRefresh]);
    let (mut bench, conn) = Bench::established_with(config(), &enhanced);
    // The second beginning starts anew; the second end has no beginning.
    for mark in [begin, begin, end, end] {
        bench.hear(conn, mark.encode());
    }
    bench.hear(conn, Refresh { safi: 128, ..begin }.encode());
    bench.hear(conn, Refresh { subtype: 77, ..begin }.encode());
    bench.hear(conn, message(5, &[0, 2, 77, 1, 9, 9, 9]));
    let began = Output::RefreshBegin(Family::Ipv6Unicast);
    let ended = Output::RefreshEnd(Family::Ipv6Unicast);
    let no_begin = ignored(IgnoredRefresh::WithoutBegin(Family::Ipv6Unicast));
    let unknown = ignored(IgnoredRefresh::UnknownSubtype { afi: 2, subtype: 77, safi: 1 });
    assert_eq!(bench.outputs, [began.clone(), began, ended, no_begin, unknown.clone(), unknown]);

    let (mut bench, conn) = Bench::established(config());
    bench.hear(conn, begin.encode());
    bench.hear(conn, end.encode());
    assert_eq!(bench.outputs, []);
    let unknown = IgnoredRefresh::UnknownSubtype { afi: 9, subtype: 255, safi: 4 };
    bench.hear(conn, message(5, &[0, 9, 255, 4]));
    assert_eq!(bench.outputs, [ignored(unknown)], "whatever was agreed");
}

const fn ignored(refresh: IgnoredRefresh) -> Output {
    Output::RefreshIgnored(refresh)
}

#[test]
fn rfc7313_3_2_refresh_marks_are_sent_if_both_know_them() {
    let mark = Refresh::begin(Family::Ipv4Unicast);
    let (mut bench, conn) = Bench::established(config());
    bench.session.send_refresh_mark(mark, bench.now);
    bench.drain();
    assert!(bench.sent(conn).is_empty());

    let enhanced = open_with([Capability::EnhancedRouteRefresh]);
    let (mut bench, conn) = Bench::established_with(config(), &enhanced);
    bench.session.send_refresh_mark(mark, bench.now);
    bench.session.send_update(end_of_rib(), bench.now);
    bench.session.send_refresh_mark(Refresh::end(Family::Ipv4Unicast), bench.now);
    bench.drain();
    let sent = bench.sent(conn);
    assert_eq!(sent[0], Message::Refresh(mark));
    assert!(matches!(sent[1], Message::Update(_)));
    assert_eq!(sent[2], Message::Refresh(Refresh::end(Family::Ipv4Unicast)));
    assert_eq!(bench.session.counters().1.refreshes, 2);
}

#[test]
fn rfc7313_4_a_refresh_without_an_end_is_ended_after_a_while() {
    let enhanced = open_with([Capability::EnhancedRouteRefresh]);
    let (mut bench, conn) = Bench::established_with(config(), &enhanced);
    bench.hear(conn, Refresh::begin(Family::Ipv4Unicast).encode());
    bench.pass_alive(conn, secs(359));
    assert!(!bench.did(&Output::RefreshEnd(Family::Ipv4Unicast)));
    bench.pass_alive(conn, secs(1));
    assert!(bench.did(&Output::RefreshEnd(Family::Ipv4Unicast)));

    bench.hear(conn, Refresh::begin(Family::Ipv4Unicast).encode());
    bench.give(Input::Closed(conn));
    bench.outputs.clear();
    bench.pass(secs(400));
    assert!(!bench.did(&Output::RefreshEnd(Family::Ipv4Unicast)), "the session is another");
}

#[test]
fn rfc7313_5_a_refresh_of_a_wrong_length_is_an_error_that_the_peer_knows() {
    for octets in [message(5, &[0, 1, 0]), message(5, &[0, 1, 0, 1, 0]), message(5, &[])] {
        let enhanced = open_with([Capability::EnhancedRouteRefresh]);
        let (mut bench, conn) = Bench::established_with(config(), &enhanced);
        bench.hear(conn, octets.clone());
        assert_eq!(bench.told(conn), Some((7, 1, octets.to_vec())));

        let (mut bench, conn) = Bench::established(config());
        bench.hear(conn, octets.clone());
        let len = u16::try_from(octets.len()).unwrap().to_be_bytes();
        assert_eq!(bench.told(conn), Some((1, 2, len.to_vec())), "code 7 is unknown to it");
    }
}
