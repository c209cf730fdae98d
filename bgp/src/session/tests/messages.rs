//! Which message is welcome in which state, and what an unwelcome one earns.

use super::*;

fn refresh(family: Family) -> Bytes {
    Refresh::request(family).encode()
}

#[test]
fn rfc6608_unexpected_messages_name_the_state_and_the_type() {
    type Start = fn(SessionConfig) -> (Bench, ConnId);
    let open = open().encode();
    let (update, keepalive) = (end_of_rib(), wire::keepalive());
    let refresh = refresh(Family::Ipv4Unicast);
    for (start, subcode, unexpected) in [
        (Bench::open_sent as Start, 1, vec![&update, &keepalive, &refresh]),
        (Bench::open_confirm as Start, 2, vec![&open, &update, &refresh]),
        (Bench::established as Start, 3, vec![&open]),
    ] {
        for octets in unexpected {
            let (mut bench, conn) = start(config());
            bench.hear(conn, octets.clone());
            assert_eq!(bench.told(conn), Some((5, subcode, vec![octets[18]])));
            assert!(bench.did(&Output::Close(conn)));
            assert_eq!(bench.session.state(), State::Idle);
        }
    }
}

#[test]
fn rfc6608_a_malformed_update_before_its_time_is_above_all_too_early() {
    let (mut bench, conn) = Bench::open_confirm(config());
    bench.hear(conn, message(2, &[0xff, 0xff, 0, 0]));
    assert_eq!(bench.told(conn), Some((5, 2, vec![2])));
}

#[test]
fn rfc4271_6_4_a_notification_is_never_answered() {
    for notification in [cease(2), message(3, &[2, 2]), message(3, &[99, 77, 1, 2, 3])] {
        for start in [Bench::open_sent, Bench::open_confirm, Bench::established] {
            let (mut bench, conn) = start(config());
            bench.outputs.clear();
            bench.hear(conn, notification.clone());
            assert!(bench.sent(conn).is_empty());
            assert!(bench.did(&Output::Close(conn)));
            assert!(matches!(bench.session.last_error(), Some(Cause::Received(_))));
        }
    }
}

#[test]
fn rfc4271_6_4_a_malformed_notification_is_not_answered_either() {
    // Too short, and longer than any message.
    for octets in [message(3, &[]), [&[0xff; 16], &[0xff, 0xff, 3][..]].concat().into()] {
        let (mut bench, conn) = Bench::established(config());
        bench.hear(conn, octets);
        assert!(bench.sent(conn).is_empty());
        assert!(bench.did(&Output::Close(conn)));
        assert!(matches!(bench.session.last_error(), Some(Cause::ReceivedMalformed(_))));
    }
}

#[test]
fn rfc4271_6_1_bad_headers_are_answered_with_what_was_wrong() {
    for (octets, expected) in [
        (message(9, &[]), (1, 3, vec![9])),
        (message(4, &[0]), (1, 2, vec![0, 20])),
        (message(1, &[4]), (1, 2, vec![0, 20])),
        ([&[0xff; 16], &[0, 18, 4][..]].concat().into(), (1, 2, vec![0, 18])),
    ] {
        let (mut bench, conn) = Bench::established(config());
        bench.hear(conn, octets);
        assert_eq!(bench.told(conn), Some(expected));
        assert!(bench.did(&DOWN));
    }
}

#[test]
fn what_follows_an_error_in_the_same_octets_is_not_read() {
    let (mut bench, conn) = Bench::established(config());
    bench.hear(conn, [message(9, &[]), end_of_rib(), open().encode()].concat());
    assert_eq!(bench.sent(conn).len(), 1);
    assert!(!bench.outputs.iter().any(|output| matches!(output, Output::Update(_))));
}

#[test]
fn updates_are_passed_up_in_order_and_after_up() {
    let (mut bench, conn) = Bench::open_confirm(config());
    bench.outputs.clear();
    let end_of_rib6 = message(2, &[0, 0, 0, 6, 0x80, 15, 3, 0, 2, 1]);
    bench.hear(conn, [wire::keepalive(), end_of_rib(), end_of_rib6].concat());
    let order: Vec<_> = bench.outputs.iter().map(std::mem::discriminant).collect();
    let up = bench.outputs.iter().position(|output| matches!(output, Output::Up(_))).unwrap();
    let families: Vec<_> = bench.outputs[up + 1..]
        .iter()
        .filter_map(|output| match output {
            Output::Update(update) => update.end_of_rib,
            _ => None,
        })
        .collect();
    assert_eq!(families, [Family::Ipv4Unicast, Family::Ipv6Unicast], "{order:?}");
}

#[test]
fn rfc2918_4_a_refresh_is_passed_up_only_for_a_negotiated_family() {
    let v6 = [Family::Ipv6Unicast].into_iter().collect();
    let (mut bench, conn) = Bench::established(SessionConfig { families: v6, ..config() });
    bench.hear(conn, refresh(Family::Ipv6Unicast));
    bench.hear(conn, refresh(Family::Ipv4Unicast));
    bench.hear(conn, message(5, &[0, 1, 0, 128]));
    bench.hear(conn, message(5, &[0, 2, 1, 1]));
    bench.hear(conn, message(5, &[0, 2, 9, 1]));
    let unknown = IgnoredRefresh::UnknownSubtype { afi: 2, subtype: 9, safi: 1 };
    let outputs = [Output::Refresh(Family::Ipv6Unicast), Output::RefreshIgnored(unknown)];
    assert_eq!(bench.outputs, outputs);
    assert_eq!(bench.session.counters().0.refreshes, 5);
}

#[test]
fn rfc2918_4_only_a_peer_that_can_is_asked_for_its_routes() {
    let (mut bench, conn) = Bench::established(config());
    assert!(bench.session.request_refresh(Family::Ipv6Unicast, bench.now));
    bench.drain();
    assert_eq!(bench.sent(conn), [Message::Refresh(Refresh::request(Family::Ipv6Unicast))]);

    let (mut bench, conn) = Bench::open_sent(config());
    assert!(!bench.session.request_refresh(Family::Ipv4Unicast, bench.now), "not established");
    bench.hear(conn, Open { capabilities: vec![], ..open() }.encode());
    bench.hear(conn, wire::keepalive());
    assert!(!bench.session.request_refresh(Family::Ipv4Unicast, bench.now), "not offered");
}

#[test]
fn an_update_is_sent_only_when_established() {
    let (mut bench, conn) = Bench::open_confirm(config());
    bench.outputs.clear();
    bench.session.send_update(end_of_rib(), bench.now);
    bench.drain();
    assert!(bench.outputs.is_empty());

    bench.hear(conn, wire::keepalive());
    bench.session.send_update(end_of_rib(), bench.now);
    bench.drain();
    assert!(bench.did(&Output::Send(conn, end_of_rib())));
    assert_eq!(bench.session.counters().1.updates, 1);
}

#[test]
fn stop_tells_the_peer_why_on_every_connection() {
    let text = "é".repeat(200);
    let mut data = vec![254];
    data.extend("é".repeat(127).as_bytes());
    for (reason, told) in [
        (Cease::AdminShutdown(String::new()), Some((6, 2, vec![0]))),
        (Cease::AdminShutdown(text), Some((6, 2, data))),
        (Cease::AdminReset("bye".into()), Some((6, 4, b"\x03bye".to_vec()))),
        (Cease::Deconfigured, Some((6, 3, vec![]))),
        (Cease::ConfigChange, Some((6, 6, vec![]))),
        (Cease::OutOfResources, Some((6, 8, vec![]))),
    ] {
        let (mut bench, conn) = Bench::established(config());
        bench.give(Input::Stop(reason.clone()));
        assert_eq!(bench.told(conn), told, "{reason:?}");
        assert!(bench.did(&Output::Close(conn)) && bench.did(&DOWN));
        assert_eq!(bench.session.state(), State::Idle);
        assert_eq!(bench.session.poll_timeout(), None, "nothing goes on by itself");

        bench.give(Input::Start);
        assert_eq!(bench.session.state(), State::Connect, "and up again at once");
    }
}

#[test]
fn stop_in_the_midst_of_a_collision_leaves_no_connection() {
    let (mut bench, dialled) = Bench::open_sent(config());
    let accepted = bench.accept();
    bench.give(Input::Stop(Cease::Deconfigured));
    for conn in [dialled, accepted] {
        assert_eq!(bench.told(conn), Some((6, 3, vec![])));
        assert!(bench.did(&Output::Close(conn)));
    }
    assert!(!bench.did(&DOWN), "it was never up");
}

#[test]
fn a_lost_link_closes_at_once_and_says_nothing() {
    let (mut bench, conn) = Bench::established(config());
    bench.give(Input::Stop(Cease::LinkDown));
    assert!(bench.sent(conn).is_empty());
    assert!(bench.did(&Output::Abort(conn)) && bench.did(&DOWN));
}

#[test]
fn a_connection_that_is_given_up_is_not_listened_to() {
    let (mut bench, conn) = Bench::established(config());
    bench.give(Input::Stop(Cease::Deconfigured));
    bench.outputs.clear();
    bench.hear(conn, end_of_rib());
    bench.give(Input::Sent { conn, pending: 5 });
    bench.give(Input::Closed(conn));
    bench.give(Input::Connected(conn));
    bench.give(Input::ConnectFailed(conn));
    assert!(bench.outputs.is_empty());
    assert_eq!(bench.session.poll_timeout(), None);
}

#[test]
fn messages_are_passed_up_as_they_came_only_if_somebody_records_them() {
    let (mut bench, conn) = Bench::established(config());
    bench.hear(conn, end_of_rib());
    let heard = |bench: &Bench| -> Vec<Bytes> {
        let heard = bench.outputs.iter().filter_map(|output| match output {
            Output::Heard(_, octets, _) => Some(octets.clone()),
            _ => None,
        });
        heard.collect()
    };
    assert!(heard(&bench).is_empty());

    bench.session.record(true);
    // In pieces, and with a flaw that is contained: ORIGIN of two octets.
    let flawed = message(2, &[0, 0, 0, 5, 0x40, 1, 2, 0, 0]);
    let stream = [end_of_rib(), flawed.clone()].concat();
    for octet in stream {
        bench.hear(conn, vec![octet]);
    }
    assert_eq!(heard(&bench), [end_of_rib(), flawed]);
    let first = bench.outputs.iter().position(|output| matches!(output, Output::Heard(..)));
    assert!(
        matches!(bench.outputs[first.unwrap() + 1], Output::Update(_)),
        "the cause comes first"
    );
}

#[test]
fn how_a_session_ended_is_kept_as_the_peer_saw_it() {
    let (mut bench, _) = Bench::established(config());
    assert_eq!(bench.session.departure(), None);
    bench.give(Input::Stop(Cease::AdminShutdown("bye".to_owned())));
    assert_eq!(
        bench.session.departure(),
        Some(&Cause::Sent(wire::Notification::admin_shutdown("bye"))),
        "although the session's own cause is that it was stopped"
    );

    let (mut bench, conn) = Bench::established(config());
    bench.hear(conn, cease(2));
    assert!(matches!(bench.session.departure(), Some(Cause::Received(_))));
    // What happens before the next session stands does not change it.
    bench.give(Input::Start);
    assert!(matches!(bench.session.departure(), Some(Cause::Received(_))));
}
