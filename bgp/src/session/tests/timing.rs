//! Hold, keepalive and send hold timers.

use super::*;

#[test]
fn rfc4271_6_5_a_silent_peer_is_dropped_when_the_hold_time_ends() {
    let (mut bench, conn) = Bench::established(SessionConfig { hold_time: hold(9), ..config() });
    bench.pass(secs(8));
    assert_eq!(bench.session.state(), State::Established);
    bench.pass(secs(1));
    assert_eq!(bench.told(conn), Some((4, 0, vec![])));
    assert!(bench.did(&Output::Close(conn)) && bench.did(&DOWN));
    assert_eq!(bench.session.state(), State::Idle);
}

#[test]
fn every_message_restarts_the_hold_timer_and_parts_of_one_do_not() {
    let refresh = Refresh::request(Family::Ipv4Unicast).encode();
    for octets in [wire::keepalive(), end_of_rib(), refresh] {
        let (mut bench, conn) =
            Bench::established(SessionConfig { hold_time: hold(9), ..config() });
        bench.pass(secs(8));
        bench.hear(conn, octets.slice(..18));
        bench.hear(conn, octets.slice(18..));
        bench.pass(secs(8));
        assert_eq!(bench.session.state(), State::Established);
        bench.hear(conn, octets.slice(..18));
        bench.pass(secs(1));
        assert_eq!(bench.told(conn), Some((4, 0, vec![])));
    }
}

#[test]
fn octets_given_before_the_due_timeout_save_the_session() {
    let (mut bench, conn) = Bench::established(SessionConfig { hold_time: hold(9), ..config() });
    bench.now += secs(30);
    bench.hear(conn, wire::keepalive());
    bench.give(Input::Timeout);
    assert_eq!(bench.session.state(), State::Established);
}

#[test]
fn rfc4271_8_2_2_a_peer_that_never_sends_an_open_is_dropped_after_four_minutes() {
    let (mut bench, conn) = Bench::open_sent(config());
    bench.flush(conn);
    bench.pass(secs(239));
    assert_eq!(bench.session.state(), State::OpenSent);
    bench.pass(secs(1));
    assert_eq!(bench.told(conn), Some((4, 0, vec![])));
}

#[test]
fn rfc4271_8_2_2_the_agreed_hold_time_runs_in_open_confirm() {
    let (mut bench, conn) = Bench::open_confirm(SessionConfig { hold_time: hold(9), ..config() });
    bench.pass(secs(9));
    assert_eq!(bench.told(conn), Some((4, 0, vec![])));
}

#[test]
fn an_open_confirm_without_a_hold_time_ends_after_four_minutes() {
    let (mut bench, conn) = Bench::open_confirm(SessionConfig { hold_time: hold(0), ..config() });
    bench.pass(secs(239));
    assert_eq!(bench.session.state(), State::OpenConfirm);
    bench.pass(secs(1));
    assert_eq!(bench.told(conn), Some((4, 0, vec![])));
}

#[test]
fn rfc4271_4_2_a_hold_time_of_zero_means_no_timer_and_no_keepalives() {
    let (mut bench, conn) = Bench::established(SessionConfig { hold_time: hold(0), ..config() });
    bench.flush(conn);
    bench.pass(secs(1_000_000));
    assert_eq!(bench.session.state(), State::Established);
    assert!(bench.sent(conn).is_empty());
}

#[test]
fn keepalives_come_with_jitter_and_never_too_late() {
    let (mut bench, conn) = Bench::established(config());
    let mut gaps = Vec::new();
    for _ in 0..200 {
        let before = bench.now;
        while bench.sent(conn).is_empty() {
            let next = bench.session.poll_timeout().unwrap() - bench.now;
            bench.pass(next);
        }
        gaps.push(bench.now - before);
        assert_eq!(bench.sent(conn), [Message::Keepalive]);
        bench.outputs.clear();
        bench.flush(conn);
        bench.hear(conn, wire::keepalive());
    }
    assert!(gaps.iter().all(|gap| (secs(30).mul_f64(0.75)..=secs(30)).contains(gap)), "{gaps:?}");
    assert!(*gaps.iter().max().unwrap() - *gaps.iter().min().unwrap() > secs(5), "{gaps:?}");
}

#[test]
fn rfc4271_4_4_keepalives_are_at_least_a_second_apart() {
    let (mut bench, conn) = Bench::established(SessionConfig { hold_time: hold(3), ..config() });
    for _ in 0..50 {
        bench.flush(conn);
        bench.hear(conn, wire::keepalive());
        bench.outputs.clear();
        bench.pass(secs(1) - Duration::from_millis(1));
        assert!(bench.sent(conn).is_empty());
        bench.pass(Duration::from_millis(1));
        assert_eq!(bench.sent(conn), [Message::Keepalive]);
    }
}

#[test]
fn an_update_takes_the_place_of_a_keepalive() {
    let (mut bench, conn) = Bench::established(config());
    for _ in 0..20 {
        bench.pass(secs(20));
        bench.hear(conn, wire::keepalive());
        bench.session.send_update(end_of_rib(), bench.now);
        bench.flush(conn);
    }
    assert_eq!(bench.session.counters().1.keepalives, 1, "the one of the handshake");
}

#[test]
fn rfc9687_a_peer_that_takes_nothing_is_dropped_after_eight_minutes() {
    let (mut bench, conn) = Bench::established(config());
    bench.flush(conn);
    let alive = |bench: &mut Bench, seconds| {
        for _ in 0..seconds {
            bench.pass(secs(1));
            bench.hear(conn, wire::keepalive());
        }
    };
    bench.session.send_update(end_of_rib(), bench.now);
    alive(&mut bench, 479);
    assert_eq!(bench.session.state(), State::Established);
    alive(&mut bench, 1);
    assert!(bench.did(&Output::Abort(conn)) && bench.did(&DOWN));
    assert_eq!(bench.session.last_error(), Some(&Cause::SendHoldExpired));
}

#[test]
fn rfc9687_any_progress_starts_the_eight_minutes_anew() {
    let (mut bench, conn) = Bench::established(config());
    for _ in 0..20 {
        for _ in 0..400 {
            bench.pass(secs(1));
            bench.hear(conn, wire::keepalive());
        }
        bench.give(Input::Sent { conn, pending: 100_000 });
    }
    assert_eq!(bench.session.state(), State::Established);
}

#[test]
fn rfc9687_the_send_hold_time_is_at_least_twice_the_hold_time() {
    let long = SessionConfig { hold_time: hold(3600), ..config() };
    let (mut bench, conn) = Bench::open_sent(long);
    bench.hear(conn, Open { hold_time: 3600, ..open() }.encode());
    bench.flush(conn);
    bench.hear(conn, wire::keepalive());
    bench.session.send_update(end_of_rib(), bench.now);
    for _ in 0..7199 {
        bench.pass(secs(1));
        bench.hear(conn, wire::keepalive());
    }
    assert_eq!(bench.session.state(), State::Established);
    bench.pass(secs(1));
    assert!(bench.did(&Output::Abort(conn)));
}

#[test]
fn early_timeouts_are_harmless() {
    let (mut bench, _) = Bench::established(config());
    let deadline = bench.session.poll_timeout();
    bench.give(Input::Timeout);
    bench.give(Input::Timeout);
    assert!(bench.outputs.is_empty());
    assert_eq!(bench.session.poll_timeout(), deadline);
}

#[test]
fn a_new_keepalive_time_holds_at_once_and_the_agreed_hold_time_stays() {
    let (mut bench, conn) = Bench::established(config());
    let often = SessionConfig { keepalive_time: Some(secs(2)), hold_time: hold(30), ..config() };
    bench.session.configure(often, bench.now);
    bench.pass(secs(2));
    assert_eq!(bench.sent(conn), [Message::Keepalive]);
    let (_, terms) = bench.session.established().unwrap();
    assert_eq!((terms.keepalive_time, terms.hold_time), (2, 90));
    assert!(!bench.outputs.iter().any(|output| matches!(output, Output::Down { .. })));
}

#[test]
fn a_new_wait_between_attempts_holds_from_the_next_attempt_on() {
    let mut bench = Bench::started(SessionConfig { connect_retry: secs(5), ..config() });
    let rare = SessionConfig { connect_retry: secs(1000), ..config() };
    bench.session.configure(rare, bench.now);
    bench.pass(secs(5));
    assert_eq!(bench.dials(), 2, "the wait that was running");
    bench.pass(secs(749));
    assert_eq!(bench.dials(), 2);
    bench.pass(secs(251));
    assert_eq!(bench.dials(), 3);
}
