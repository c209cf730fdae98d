//! Two connections to one peer, and peers that come back before we know they were gone.

use super::*;

/// A bench in OpenSent on two connections: one that we opened, one that the peer opened.
fn two(config: SessionConfig) -> (Bench, ConnId, ConnId) {
    let (mut bench, ours) = Bench::open_sent(config);
    let theirs = bench.accept();
    assert!(matches!(bench.sent(theirs)[..], [Message::Open(_)]));
    (bench, ours, theirs)
}

/// The peer's OPEN with this identifier.
fn identified(id: [u8; 4]) -> Bytes {
    Open { router_id: id.into(), ..open() }.encode()
}

#[test]
fn rfc4271_6_8_the_connection_of_the_higher_identifier_is_kept_whichever_open_comes_first() {
    // We are 10.0.0.1. The second peer is higher as octets of a little-endian number, the third
    // lower as a signed number.
    for (id, ours_kept) in
        [([10, 0, 0, 2], false), ([9, 255, 255, 255], true), ([200, 0, 0, 0], false)]
    {
        for ours_first in [true, false] {
            let (mut bench, ours, theirs) = two(config());
            let (first, second) = if ours_first { (ours, theirs) } else { (theirs, ours) };
            bench.hear(first, identified(id));
            assert_eq!(bench.session.state(), State::OpenConfirm);
            assert!(bench.told(second).is_none(), "nothing is decided by one OPEN");

            bench.hear(second, identified(id));
            let (kept, lost) = if ours_kept { (ours, theirs) } else { (theirs, ours) };
            assert_eq!(bench.told(lost), Some((6, 7, vec![])));
            assert!(bench.did(&Output::Close(lost)) && !bench.did(&Output::Close(kept)));

            bench.hear(kept, wire::keepalive());
            assert_eq!(bench.session.established().unwrap().0, kept);
            assert_eq!(bench.session.last_error(), None, "a collision is no failure");
        }
    }
}

#[test]
fn rfc6286_2_3_between_equal_identifiers_the_higher_as_decides() {
    for (their_asn, ours_kept) in [(64999, true), (65001, false)] {
        let (mut bench, ours, theirs) = two(config());
        let offer = Open {
            asn: their_asn,
            router_id: config().router_id,
            capabilities: vec![Capability::family(Family::Ipv4Unicast)],
            ..open()
        };
        bench.hear(ours, offer.encode());
        bench.hear(theirs, offer.encode());
        let lost = if ours_kept { theirs } else { ours };
        assert_eq!(bench.told(lost), Some((6, 7, vec![])), "peer in AS {their_asn}");
    }
}

#[test]
fn rfc4271_6_8_an_established_connection_wins_over_a_later_open() {
    let (mut bench, ours, theirs) = two(config());
    bench.hear(ours, open().encode());
    bench.hear(ours, wire::keepalive());
    assert_eq!(bench.session.state(), State::Established);
    assert!(bench.told(theirs).is_none(), "decided when its OPEN arrives");

    bench.hear(theirs, open().encode());
    assert_eq!(bench.told(theirs), Some((6, 7, vec![])));
    assert_eq!(bench.session.established().unwrap().0, ours);
}

#[test]
fn a_bad_open_on_one_connection_does_not_touch_the_other() {
    let (mut bench, ours, theirs) = two(config());
    bench.hear(ours, open().encode());
    bench.hear(theirs, Open { hold_time: 1, ..open() }.encode());
    assert!(matches!(bench.told(theirs), Some((2, 6, _))));
    bench.hear(ours, wire::keepalive());
    assert_eq!(bench.session.established().unwrap().0, ours);
}

#[test]
fn the_loser_of_the_peers_choice_just_goes() {
    let (mut bench, ours, theirs) = two(config());
    bench.hear(theirs, open().encode());
    bench.hear(ours, cease(7));
    assert_eq!(bench.session.state(), State::OpenConfirm);
    bench.hear(theirs, wire::keepalive());
    assert_eq!(bench.session.established().unwrap().0, theirs);
}

#[test]
fn a_second_connection_of_the_peer_replaces_its_first_in_the_handshake() {
    let mut bench = Bench::started(SessionConfig { passive: true, ..config() });
    let first = bench.accept();
    bench.hear(first, open().encode());
    let second = bench.accept();
    assert_eq!(bench.told(first), Some((6, 7, vec![])));
    bench.hear(second, open().encode());
    bench.hear(second, wire::keepalive());
    assert_eq!(bench.session.established().unwrap().0, second);
}

#[test]
fn a_dial_is_given_up_once_the_session_stands() {
    let mut bench = Bench::started(config());
    let dialled = bench.dialled();
    let theirs = bench.accept();
    bench.hear(theirs, open().encode());
    assert!(!bench.did(&Output::Close(dialled)));
    bench.hear(theirs, wire::keepalive());
    assert!(bench.did(&Output::Close(dialled)));
    bench.give(Input::Connected(dialled));
    assert!(bench.sent(dialled).is_empty());
    bench.outputs.clear();
    bench.pass_alive(theirs, secs(100));
    assert_eq!(bench.dials(), 0);
}

#[test]
fn a_late_connection_beside_a_live_session_is_refused_after_a_probe() {
    let (mut bench, conn) = Bench::established(config());
    let late = bench.accept();
    assert_eq!(bench.sent(conn), [Message::Keepalive], "is anyone there?");
    assert!(bench.sent(late).is_empty());
    bench.hear(late, open().encode());
    bench.pass(secs(2));
    assert_eq!(bench.told(late), Some((6, 7, vec![])));
    assert!(bench.did(&Output::Close(late)));
    assert_eq!(bench.session.established().unwrap().0, conn);
}

#[test]
fn a_restarted_peer_gets_in_as_soon_as_its_old_connection_proves_dead() {
    let (mut bench, old) = Bench::established(config());
    bench.pass_alive(old, secs(300));
    bench.outputs.clear();
    let new = bench.accept();
    bench.hear(new, open().encode().slice(..25));
    bench.hear(new, open().encode().slice(25..));
    bench.give(Input::Closed(old));

    assert!(bench.did(&DOWN));
    assert_eq!(bench.states(), [State::OpenSent, State::OpenConfirm]);
    bench.hear(new, wire::keepalive());
    assert_eq!(bench.session.established().unwrap().0, new);
    bench.pass(secs(2));
    assert_eq!(bench.session.state(), State::Established, "no probe is left over");
}

#[test]
fn a_peer_that_restarts_within_its_restart_gets_in_with_its_last_connection() {
    let (mut bench, old) = Bench::established(config());
    bench.pass_alive(old, secs(300));
    let first = bench.accept();
    bench.hear(first, open().encode());
    let second = bench.accept();
    assert_eq!(bench.told(first), Some((6, 7, vec![])));
    bench.give(Input::Closed(first));
    bench.hear(second, open().encode());
    bench.give(Input::Closed(old));
    bench.hear(second, wire::keepalive());
    assert_eq!(bench.session.established().unwrap().0, second);
}

#[test]
fn a_peer_that_keeps_replacing_its_session_has_to_rest_in_between() {
    let (mut bench, old) = Bench::established(config());
    let mut current = old;
    let mut replaced = 0;
    for _ in 0..1000 {
        let new = bench.accept();
        bench.give(Input::Closed(current));
        bench.hear(new, open().encode());
        bench.hear(new, wire::keepalive());
        replaced += usize::from(bench.session.state() == State::Established);
        current = new;
        bench.pass(Duration::from_millis(10));
    }
    assert!(replaced <= 4, "{replaced} sessions in ten seconds");
}

#[test]
fn a_challenger_that_says_too_much_is_refused_at_once() {
    let (mut bench, _) = Bench::established(config());
    let late = bench.accept();
    for _ in 0..5 {
        bench.hear(late, vec![0xff; 1000]);
    }
    assert_eq!(bench.told(late), Some((6, 7, vec![])));
}

#[test]
fn a_session_that_we_end_is_not_taken_over() {
    let (mut bench, old) = Bench::established(config());
    let new = bench.accept();
    bench.hear(old, message(9, &[]));
    assert_eq!(bench.session.state(), State::Idle);
    assert!(bench.did(&Output::Close(new)) && bench.sent(new).is_empty());
}
