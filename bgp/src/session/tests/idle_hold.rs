//! Rests between failures: they grow, are shown, and end when a session has lasted.

use super::*;

/// Fails the handshake once and returns how long the session rests.
fn fail(bench: &mut Bench, offer: &Open) -> Duration {
    let conn = bench.dialled();
    bench.give(Input::Connected(conn));
    bench.hear(conn, offer.encode());
    assert_eq!(bench.session.state(), State::Idle);
    let rest = bench.session.idle_hold();
    assert_eq!(bench.session.retry_at(), Some(bench.now + rest), "shown as it is");
    rest
}

#[test]
fn rests_double_up_to_two_minutes() {
    let mut bench = Bench::started(config());
    for expected in [1, 2, 4, 8, 16, 32, 64, 120, 120, 120] {
        let rest = fail(&mut bench, &Open { hold_time: 1, ..open() });
        let range = secs(expected).mul_f64(0.75)..=secs(expected);
        assert!(range.contains(&rest), "{rest:?} instead of {expected} s");
        bench.pass(rest);
        assert_eq!(bench.session.state(), State::Connect);
        assert_eq!(bench.session.idle_hold(), Duration::ZERO);
    }
}

#[test]
fn a_brief_established_does_not_shorten_the_next_rest() {
    let mut bench = Bench::started(config());
    let mut rests = Vec::new();
    for _ in 0..10 {
        let conn = bench.dialled();
        bench.give(Input::Connected(conn));
        bench.hear(conn, open().encode());
        bench.hear(conn, wire::keepalive());
        assert_eq!(bench.session.state(), State::Established);
        bench.pass_alive(conn, secs(60));
        bench.give(Input::Closed(conn));
        rests.push(bench.session.idle_hold());
        bench.pass(bench.session.idle_hold());
    }
    assert!(rests.is_sorted() || rests[7] >= secs(90), "{rests:?}");
    assert!(rests[9] >= secs(90), "{rests:?}");
}

#[test]
fn a_session_that_lasts_two_minutes_clears_the_count() {
    let mut bench = Bench::started(config());
    for _ in 0..6 {
        let rest = fail(&mut bench, &Open { hold_time: 1, ..open() });
        bench.pass(rest);
    }
    let conn = bench.dialled();
    bench.give(Input::Connected(conn));
    bench.hear(conn, open().encode());
    bench.hear(conn, wire::keepalive());
    bench.pass_alive(conn, secs(120));
    bench.give(Input::Closed(conn));
    assert!(bench.session.idle_hold() <= secs(1));
}

#[test]
fn a_peer_that_takes_its_leave_is_not_kept_waiting_long() {
    let mut bench = Bench::started(config());
    for _ in 0..20 {
        let conn = bench.dialled();
        bench.give(Input::Connected(conn));
        bench.hear(conn, cease(5));
        assert!(bench.session.idle_hold() <= secs(8));
        bench.pass(bench.session.idle_hold());
    }
    assert_eq!(bench.dials(), 21);
}

#[test]
fn a_peer_for_which_we_are_too_much_is_left_alone_longer_and_longer() {
    let hard = Notification { code: 6, subcode: 1, data: Bytes::new() }.hard_reset().encode();
    for farewell in [cease(1), cease(8), hard] {
        let mut bench = Bench::started(config());
        for _ in 0..8 {
            bench.pass(bench.session.idle_hold());
            let conn = bench.dialled();
            bench.give(Input::Connected(conn));
            bench.hear(conn, farewell.clone());
        }
        assert!(bench.session.idle_hold() >= secs(90));
    }
}

#[test]
fn rfc4271_8_2_2_a_connection_that_ends_before_its_open_is_tried_again_without_a_rest() {
    let (mut bench, conn) = Bench::open_sent(config());
    bench.give(Input::Closed(conn));
    assert_eq!(bench.session.state(), State::Active);
    assert_eq!(bench.session.last_error(), Some(&Cause::Closed));
    bench.pass(secs(5));
    assert_eq!(bench.session.state(), State::Connect);
}

#[test]
fn a_connection_closed_without_a_word_does_not_hide_an_earlier_one() {
    let mut bench = Bench::started(config());
    let rest = fail(&mut bench, &Open { hold_time: 1, ..open() });
    bench.pass(rest);
    let conn = bench.dialled();
    bench.give(Input::Connected(conn));
    bench.give(Input::Closed(conn));
    assert!(matches!(bench.session.last_error(), Some(Cause::Sent(_))));
}

#[test]
fn a_resting_session_turns_callers_away_without_a_word() {
    let mut bench = Bench::started(config());
    fail(&mut bench, &Open { hold_time: 1, ..open() });
    let conn = bench.accept();
    assert!(bench.sent(conn).is_empty());
    assert!(bench.did(&Output::Close(conn)));
    assert_eq!(bench.session.state(), State::Idle);
}

#[test]
fn the_operator_ends_a_rest() {
    let mut bench = Bench::started(config());
    for _ in 0..8 {
        let rest = fail(&mut bench, &Open { hold_time: 1, ..open() });
        bench.pass(rest);
    }
    fail(&mut bench, &Open { hold_time: 1, ..open() });
    bench.give(Input::Start);
    assert_eq!(bench.session.state(), State::Connect);
    let rest = fail(&mut bench, &Open { hold_time: 1, ..open() });
    assert!(rest >= secs(90), "impatience is no cure");

    bench.give(Input::Stop(Cease::AdminReset(String::new())));
    bench.give(Input::Start);
    assert!(fail(&mut bench, &Open { hold_time: 1, ..open() }) <= secs(1), "a reset is");
}

#[test]
fn both_connections_failing_count_as_one_failure() {
    let (mut bench, ours) = Bench::open_sent(config());
    let theirs = bench.accept();
    bench.hear(ours, Open { hold_time: 1, ..open() }.encode());
    assert_eq!(bench.session.state(), State::OpenSent);
    bench.hear(theirs, Open { hold_time: 1, ..open() }.encode());
    assert_eq!(bench.session.state(), State::Idle);
    assert!(bench.session.idle_hold() <= secs(1));
}
