//! How we take our leave, and how a peer that does.

use super::*;
use crate::config::GracefulRestart;

/// Both sides keep routes over a NOTIFICATION if `notification`.
fn graceful(notification: bool) -> (SessionConfig, Open) {
    let restart = GracefulRestart { notification, ..GracefulRestart::default() };
    let theirs = Capability::GracefulRestart {
        restarted: false,
        notification,
        time: 60,
        families: vec![(1, 1, false), (2, 1, false)],
    };
    (SessionConfig { graceful_restart: Some(restart), ..config() }, open_with([theirs]))
}

fn wrapped(subcode: u8, data: &[u8]) -> Option<(u8, u8, Vec<u8>)> {
    Some((6, 9, [&[6, subcode], data].concat()))
}

/// A reason, the subcode and data that it is told by, and whether it is a hard one.
type Reason = (Cease, Option<(u8, Vec<u8>)>, bool);

fn reasons() -> Vec<Reason> {
    let limit =
        Cease::MaxPrefixes { family: Family::Ipv6Unicast, limit: 100_000, restart_after: None };
    vec![
        (limit, Some((1, vec![0, 2, 1, 0, 1, 0x86, 0xA0])), true),
        (Cease::AdminShutdown("bye".into()), Some((2, b"\x03bye".to_vec())), true),
        (Cease::Deconfigured, Some((3, vec![])), true),
        (Cease::AdminReset(String::new()), Some((4, vec![0])), false),
        (Cease::ConfigChange, Some((6, vec![])), false),
        (Cease::OutOfResources, Some((8, vec![])), true),
        (Cease::BfdDown { hard: true }, Some((10, vec![])), true),
        (Cease::BfdDown { hard: false }, Some((10, vec![])), false),
        (Cease::LinkDown, None, false),
        (Cease::GracefulStop, None, false),
    ]
}

#[test]
fn rfc4486_4_every_reason_has_its_subcode_and_data() {
    for (reason, told, _) in reasons() {
        if reason == (Cease::BfdDown { hard: false }) {
            continue;
        }
        let leaving = reason == Cease::GracefulStop;
        let (mut bench, conn) = Bench::established(config());
        bench.give(Input::Stop(reason.clone()));
        let told = told.map(|(subcode, data)| (6, subcode, data));
        assert_eq!(bench.told(conn), told, "{reason:?}");
        let retain = if leaving { FamilySet::ALL } else { FamilySet::NONE };
        assert!(bench.did(&Output::Down { retain }));
        assert_eq!(bench.session.state(), State::Idle);
    }
}

#[test]
fn rfc8538_3_1_reasons_that_forbid_a_graceful_restart_are_wrapped_in_a_hard_reset() {
    for (reason, told, hard) in reasons() {
        let (ours, theirs) = graceful(true);
        let (mut bench, conn) = Bench::established_with(ours, &theirs);
        bench.give(Input::Stop(reason.clone()));
        let expected =
            told.and_then(
                |(subcode, data)| {
                    if hard { wrapped(subcode, &data) } else { Some((6, subcode, data)) }
                },
            );
        assert_eq!(bench.told(conn), expected, "{reason:?}");
        // Over a link that is gone nothing can be forwarded, hard reset or not.
        let gone = hard || reason == Cease::LinkDown;
        let retain = if gone { FamilySet::NONE } else { FamilySet::ALL };
        assert!(bench.did(&Output::Down { retain }), "{reason:?}: {:?}", bench.outputs);
    }
}

#[test]
fn rfc8538_3_1_a_hard_reset_is_not_sent_to_a_peer_that_did_not_agree() {
    let (ours, _) = graceful(true);
    let (_, theirs) = graceful(false);
    for (ours, theirs) in [(ours.clone(), theirs), (ours, open())] {
        let (mut bench, conn) = Bench::established_with(ours, &theirs);
        bench.give(Input::Stop(Cease::AdminShutdown("bye".into())));
        assert_eq!(bench.told(conn), Some((6, 2, b"\x03bye".to_vec())));
        assert!(bench.did(&DOWN));
    }
}

#[test]
fn rfc8538_3_1_a_connection_in_the_handshake_gets_the_reason_unwrapped() {
    let (ours, theirs) = graceful(true);
    let (mut bench, conn) = Bench::open_sent(ours);
    bench.hear(conn, theirs.encode());
    bench.give(Input::Stop(Cease::Deconfigured));
    assert_eq!(bench.told(conn), Some((6, 3, vec![])));
}

#[test]
fn a_graceful_stop_closes_without_a_word_and_sends_what_was_said_before() {
    let (ours, theirs) = graceful(true);
    let (mut bench, conn) = Bench::established_with(ours, &theirs);
    bench.session.send_update(end_of_rib(), bench.now);
    bench.give(Input::Stop(Cease::GracefulStop));
    assert!(bench.told(conn).is_none());
    let ends: Vec<_> = bench
        .outputs
        .iter()
        .filter(|output| matches!(output, Output::Send(..) | Output::Close(_) | Output::Abort(_)))
        .collect();
    assert_eq!(ends, [&Output::Send(conn, end_of_rib()), &Output::Close(conn)]);
    assert_eq!(bench.session.poll_timeout(), None);

    let again = bench.accept();
    assert!(bench.sent(again).is_empty(), "a NOTIFICATION would make the peer rest");
    assert!(bench.did(&Output::Close(again)));
}

#[test]
fn rfc9384_3_bfd_down_without_rfc8538_is_silent_if_the_peer_may_be_restarting() {
    let (ours, theirs) = graceful(false);
    let (mut bench, conn) = Bench::established_with(ours, &theirs);
    bench.give(Input::Stop(Cease::BfdDown { hard: false }));
    assert!(bench.sent(conn).is_empty() && bench.did(&Output::Abort(conn)));
    assert!(bench.did(&Output::Down { retain: FamilySet::ALL }));
}

#[test]
fn rfc9003_2_texts_of_128_and_255_octets_pass_both_ways() {
    for len in [1, 128, 129, 255] {
        let text = "x".repeat(len);
        for reason in [Cease::AdminShutdown(text.clone()), Cease::AdminReset(text.clone())] {
            let (mut ours, conn) = Bench::established(config());
            ours.give(Input::Stop(reason));
            let Some(Message::Notification(told)) = ours.sent(conn).pop() else { panic!() };
            assert_eq!(usize::from(told.data[0]), len);

            let (mut theirs, conn) = Bench::established(config());
            theirs.hear(conn, told.encode());
            let Some(Cause::Received(heard)) = theirs.session.last_error() else { panic!() };
            assert_eq!(heard.shutdown_text(), Some(&text[..]));
        }
    }
}

#[test]
fn rfc8538_3_2_a_hard_reset_shows_the_reason_inside() {
    let (ours, theirs) = graceful(true);
    let (mut bench, conn) = Bench::established_with(ours, &theirs);
    let told = Notification::admin_shutdown("fire drill").hard_reset();
    bench.hear(conn, told.encode());
    assert!(bench.did(&DOWN), "nothing is kept");
    let shown = bench.session.last_error().unwrap().to_string();
    assert!(shown.ends_with("(Cease/Administrative Shutdown: \"fire drill\")"), "{shown}");
    assert!(bench.session.idle_hold() <= secs(1), "a farewell, not a fault");
}

#[test]
fn rfc9003_2_a_text_inside_a_hard_reset_is_cut_like_any_other() {
    let (ours, theirs) = graceful(true);
    let (mut bench, conn) = Bench::established_with(ours, &theirs);
    bench.give(Input::Stop(Cease::AdminShutdown("é".repeat(200))));
    let Some((6, 9, data)) = bench.told(conn) else { panic!("no hard reset") };
    assert_eq!(data[..3], [6, 2, 254]);
    assert_eq!(data.len(), 3 + 254);
}

/// Stopped for too many prefixes, with this rest.
fn barred(restart_after: Option<Duration>) -> Bench {
    let (mut bench, conn) = Bench::established(config());
    let family = Family::Ipv4Unicast;
    bench.give(Input::Stop(Cease::MaxPrefixes { family, limit: 9, restart_after }));
    assert!(bench.told(conn).is_some());
    bench
}

#[test]
fn rfc4486_4_a_peer_over_its_limit_that_connects_again_hears_the_reason_again() {
    let mut bench = barred(None);
    let shown = bench.session.last_error().unwrap().to_string();
    assert!(shown.contains("(ipv4, limit 9)"), "{shown}");
    assert_eq!(bench.session.poll_timeout(), None);
    for _ in 0..2 {
        let again = bench.accept();
        assert_eq!(bench.told(again), Some((6, 1, vec![0, 1, 1, 0, 0, 0, 9])));
        // In OpenSent, where the peer is, a NOTIFICATION would be an error (RFC 4271 §8.2.2).
        assert!(matches!(bench.sent(again)[..], [Message::Open(_), Message::Notification(_)]));
        assert!(bench.did(&Output::Close(again)));
    }
    assert!(bench.session.is_barred(), "being asked changes nothing");
    // Nor does what ends sessions that go on afterwards.
    bench.give(Input::Stop(Cease::LinkDown));
    assert!(bench.session.is_barred());
    bench.give(Input::Start);
    assert_eq!(bench.session.state(), State::Connect);
}

#[test]
fn a_peer_over_its_limit_is_tried_again_after_its_rest_and_not_before() {
    let mut bench = barred(Some(secs(300)));
    let since = bench.now;
    assert_eq!(bench.session.retry_at(), Some(since + secs(300)));
    bench.pass(secs(299));
    assert!(bench.session.is_barred());
    bench.pass(secs(2));
    assert_eq!((bench.session.state(), bench.session.is_barred()), (State::Connect, false));
}

#[test]
fn an_operator_who_stops_a_barred_session_has_the_last_word() {
    let mut bench = barred(Some(secs(300)));
    bench.give(Input::Stop(Cease::AdminShutdown("maintenance".into())));
    bench.pass(secs(600));
    assert_eq!((bench.session.state(), bench.session.is_barred()), (State::Idle, false));
    let again = bench.accept();
    assert!(matches!(bench.told(again), Some((6, 2, _))));
}
