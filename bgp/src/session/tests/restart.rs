//! Graceful restart: as the helper of a peer, and as the one that restarts.

use super::*;
use crate::{
    config::{GracefulRestart, RestartTime, Restarted, StaleTime},
    family::PerFamily,
};

const V4: Family = Family::Ipv4Unicast;
const V6: Family = Family::Ipv6Unicast;

fn restart() -> GracefulRestart {
    GracefulRestart { restart_time: RestartTime::new(77).unwrap(), ..GracefulRestart::default() }
}

/// A helper, and a restarter if need be.
fn graceful() -> SessionConfig {
    with(restart())
}

fn with(restart: GracefulRestart) -> SessionConfig {
    SessionConfig { graceful_restart: Some(restart), ..config() }
}

/// With long-lived stale routes of at most an hour.
fn long_lived() -> SessionConfig {
    let hour = StaleTime::new(3600).unwrap();
    with(GracefulRestart { long_lived_time: PerFamily { ipv4: hour, ipv6: hour }, ..restart() })
}

/// The peer's capability: restart time 60 s, N bit, and these F bits.
fn theirs(restarted: bool, families: &[(Family, bool)]) -> Capability {
    Capability::GracefulRestart {
        restarted,
        notification: true,
        time: 60,
        families: list(families),
    }
}

fn list(families: &[(Family, bool)]) -> Vec<(u16, u8, bool)> {
    families.iter().map(|(family, kept)| (family.afi(), family.safi(), *kept)).collect()
}

/// The peer as it comes up for the first time.
fn peer() -> Open {
    open_with([theirs(false, &[(V4, false), (V6, false)])])
}

/// The capability of a peer that does not know RFC 8538.
fn unaware(restarted: bool, kept: bool) -> Capability {
    Capability::GracefulRestart {
        restarted,
        notification: false,
        time: 60,
        families: list(&[(V4, kept), (V6, kept)]),
    }
}

/// The peer after a restart in which it kept its forwarding state.
fn back() -> Open {
    open_with([theirs(true, &[(V4, true), (V6, true)])])
}

fn down(retain: &[Family]) -> Output {
    Output::Down { retain: families(retain) }
}

fn expired(gone: &[Family]) -> Output {
    Output::StaleExpired(families(gone))
}

fn end_of(family: Family) -> Bytes {
    wire::Update::encode_end_of_rib(family)
}

impl Bench {
    /// Established with the peer, its End-of-RIBs here, and then lost without a word.
    fn bereft(config: SessionConfig, theirs: &Open) -> Self {
        let (mut bench, conn) = Self::established_with(config, theirs);
        bench.hear(conn, end_of(V4));
        bench.hear(conn, end_of(V6));
        bench.outputs.clear();
        bench.give(Input::Closed(conn));
        bench
    }

    /// The peer connects again, once we rest no more, and the session comes up.
    fn comes_back(&mut self, theirs: &Open) -> ConnId {
        while self.session.state() == State::Idle {
            self.pass(secs(1));
        }
        let conn = self.accept();
        self.hear(conn, theirs.encode());
        self.hear(conn, wire::keepalive());
        assert_eq!(self.session.established().map(|(conn, _)| conn), Some(conn));
        conn
    }

    /// Outputs about routes, in their order.
    fn about_routes(&self) -> Vec<&Output> {
        let about = |output: &&Output| {
            matches!(
                output,
                Output::Up(_)
                    | Output::Down { .. }
                    | Output::StaleExpired(_)
                    | Output::LongLived(_)
                    | Output::DeferralOver
            )
        };
        self.outputs.iter().filter(about).collect()
    }

    /// The same without [`Output::Up`].
    fn about_stale_routes(&self) -> Vec<Output> {
        let about = self.about_routes().into_iter();
        about.filter(|output| !matches!(output, Output::Up(_))).cloned().collect()
    }
}

// As helper.

#[test]
fn rfc4724_4_2_routes_of_a_peer_that_is_gone_without_a_word_are_kept_until_the_restart_time() {
    let mut bench = Bench::bereft(graceful(), &peer());
    assert_eq!(bench.about_stale_routes(), [down(&[V4, V6])]);
    bench.outputs.clear();
    // From the loss, whatever happens meanwhile: connections that lead to nothing included.
    bench.pass(secs(30));
    let conn = bench.accept();
    bench.hear(conn, back().encode());
    bench.give(Input::Closed(conn));
    bench.pass(secs(30) - Duration::from_millis(1));
    assert_eq!(bench.about_stale_routes(), []);
    bench.pass(Duration::from_millis(1));
    assert_eq!(bench.about_stale_routes(), [expired(&[V4, V6])]);
}

#[test]
fn without_graceful_restart_on_both_sides_nothing_is_kept() {
    for (ours, theirs) in [(graceful(), open()), (config(), peer())] {
        let bench = Bench::bereft(ours, &theirs);
        assert_eq!(bench.about_stale_routes(), [DOWN]);
    }
    let helped = open_with([theirs(false, &[])]);
    let bench = Bench::bereft(graceful(), &helped);
    assert_eq!(bench.about_stale_routes(), [DOWN], "the peer helps, and is not to be helped");
}

#[test]
fn rfc4724_4_2_only_families_that_the_peer_has_listed_are_kept() {
    let bench = Bench::bereft(graceful(), &open_with([theirs(false, &[(V6, false)])]));
    assert_eq!(bench.about_stale_routes(), [down(&[V6])]);
}

#[test]
fn rfc4724_3_of_several_capabilities_the_last_one_counts() {
    let twice = open_with([theirs(false, &[(V4, true)]), theirs(false, &[(V6, true)])]);
    let bench = Bench::bereft(graceful(), &twice);
    assert_eq!(bench.about_stale_routes(), [down(&[V6])]);
}

#[test]
fn rfc4724_4_2_a_peer_that_is_back_keeps_its_routes_until_its_end_of_rib() {
    let mut bench = Bench::bereft(graceful(), &peer());
    bench.outputs.clear();
    let conn = bench.comes_back(&back());
    bench.pass_alive(conn, secs(100));
    bench.hear(conn, end_of(V4));
    bench.hear(conn, end_of(V6));
    bench.pass_alive(conn, secs(1000));
    assert_eq!(bench.about_stale_routes(), [], "the RIB sees End-of-RIB itself");
}

#[test]
fn rfc4724_4_2_families_without_forwarding_state_in_the_new_open_go_at_once() {
    let v4_only = Open {
        capabilities: vec![Capability::family(V4), theirs(true, &[(V4, true), (V6, true)])],
        ..open()
    };
    for (offer, gone) in [
        (open_with([theirs(true, &[(V4, true), (V6, false)])]), vec![V6]),
        (open_with([theirs(true, &[(V6, true)])]), vec![V4]),
        (v4_only, vec![V6]),
        (open_with([theirs(true, &[])]), vec![V4, V6]),
        (open(), vec![V4, V6]),
    ] {
        let mut bench = Bench::bereft(graceful(), &peer());
        bench.outputs.clear();
        bench.comes_back(&offer);
        let about = bench.about_routes();
        assert_eq!(*about[0], expired(&gone), "{offer:?}");
        assert!(matches!(about[1..], [Output::Up(_)]), "before the new session begins");
    }
}

#[test]
fn rfc4724_4_2_a_peer_without_end_of_rib_is_put_up_with_for_the_stale_path_time() {
    let ours = with(GracefulRestart { stale_path_time: secs(200), ..restart() });
    let mut bench = Bench::bereft(ours, &peer());
    let conn = bench.comes_back(&back());
    bench.hear(conn, end_of(V4));
    bench.outputs.clear();
    bench.pass_alive(conn, secs(199));
    assert_eq!(bench.about_stale_routes(), []);
    bench.pass_alive(conn, secs(1));
    assert_eq!(bench.about_stale_routes(), [expired(&[V6])], "IPv4 had its End-of-RIB");
}

#[test]
fn rfc4724_4_2_a_second_loss_before_end_of_rib_deletes_what_was_stale_before() {
    let mut bench = Bench::bereft(graceful(), &open_with([unaware(false, false)]));
    let conn = bench.comes_back(&open_with([unaware(true, true)]));
    bench.hear(conn, end_of(V4));
    bench.outputs.clear();
    bench.give(Input::Closed(conn));
    assert_eq!(bench.about_stale_routes(), [expired(&[V6]), down(&[V4, V6])]);

    // The restart time runs anew, and the stale path time no more.
    bench.outputs.clear();
    bench.pass(secs(59));
    assert_eq!(bench.about_stale_routes(), []);
    bench.pass(secs(1));
    assert_eq!(bench.about_stale_routes(), [expired(&[V4, V6])]);
    bench.pass(secs(1000));
    assert_eq!(bench.about_stale_routes().len(), 1);
}

#[test]
fn rfc8538_4_1_a_second_loss_deletes_nothing_if_both_agree_and_the_time_of_all_is_bounded() {
    let ours = with(GracefulRestart { stale_path_time: secs(100), ..restart() });
    let mut bench = Bench::bereft(ours, &peer());
    bench.pass(secs(30));
    let conn = bench.comes_back(&back());
    bench.hear(conn, end_of(V4));
    bench.outputs.clear();
    bench.pass_alive(conn, secs(30));
    bench.give(Input::Closed(conn));
    assert_eq!(bench.about_stale_routes(), [down(&[V4, V6])], "IPv6 stays as it was");
    // The restart time runs anew ...
    bench.pass(secs(50));
    let conn = bench.comes_back(&back());
    // ... and the stale path time on, from when the peer was back first.
    bench.pass_alive(conn, secs(5));
    bench.give(Input::Closed(conn));
    assert_eq!(bench.about_stale_routes(), [down(&[V4, V6]), down(&[V4, V6])]);
    let so_far = bench.about_stale_routes().len();
    bench.pass(secs(60));
    assert_eq!(bench.about_stale_routes()[so_far..], [expired(&[V4, V6])]);
}

#[test]
fn rfc8538_4_1_what_was_stale_before_goes_with_a_hard_reset() {
    let mut bench = Bench::bereft(graceful(), &peer());
    let conn = bench.comes_back(&back());
    bench.outputs.clear();
    bench.hear(conn, Notification::admin_shutdown("").hard_reset().encode());
    assert_eq!(bench.about_stale_routes(), [expired(&[V4, V6]), DOWN]);
}

#[test]
fn rfc8538_4_1_a_new_open_without_the_n_bit_deletes_nothing() {
    let mut bench = Bench::bereft(graceful(), &peer());
    bench.outputs.clear();
    bench.comes_back(&open_with([unaware(true, true)]));
    assert_eq!(bench.about_stale_routes(), []);
}

#[test]
fn rfc4271_6_8_a_session_that_loses_a_collision_is_no_second_loss() {
    let mut bench = Bench::bereft(graceful(), &open_with([unaware(false, false)]));
    bench.pass(secs(30));
    let conn = bench.comes_back(&open_with([unaware(true, true)]));
    bench.hear(conn, end_of(V4));
    bench.outputs.clear();
    bench.hear(conn, cease(7));
    assert_eq!(bench.about_stale_routes(), [down(&[V4, V6])], "IPv6 stays as it was");
    // The time is still that of the loss.
    bench.pass(secs(29));
    assert_eq!(bench.about_stale_routes().len(), 1);
    bench.pass(secs(1));
    assert_eq!(bench.about_stale_routes()[1..], [expired(&[V4, V6])]);
}

#[test]
fn rfc8538_4_a_notification_and_a_silent_peer_are_losses_like_others_if_both_agree() {
    type Loss = fn(&mut Bench, ConnId);
    let losses: [Loss; 5] = [
        |bench, conn| bench.hear(conn, message(9, &[])),
        |bench, conn| bench.hear(conn, cease(6)),
        |bench, conn| bench.hear(conn, message(3, &[])),
        |bench, _| bench.pass(secs(90)),
        |bench, _| bench.give(Input::Stop(Cease::AdminReset(String::new()))),
    ];
    let ours_unaware = with(GracefulRestart { notification: false, ..restart() });
    for lose in losses {
        for (ours, theirs, kept) in [
            (graceful(), peer(), true),
            (graceful(), open_with([unaware(false, false)]), false),
            (ours_unaware.clone(), peer(), false),
        ] {
            let (mut bench, conn) = Bench::established_with(ours, &theirs);
            lose(&mut bench, conn);
            let expected = if kept { down(&[V4, V6]) } else { DOWN };
            assert_eq!(bench.about_stale_routes(), [expected]);
        }
    }
}

#[test]
fn rfc9687_a_peer_that_takes_nothing_is_a_loss_like_an_expired_hold_timer() {
    let (mut bench, conn) = Bench::established_with(graceful(), &peer());
    bench.session.send_update(end_of_rib(), bench.now);
    for _ in 0..480 {
        bench.pass(secs(1));
        bench.hear(conn, wire::keepalive());
    }
    assert_eq!(bench.session.last_error(), Some(&Cause::SendHoldExpired));
    assert_eq!(bench.about_stale_routes(), [down(&[V4, V6])]);
}

#[test]
fn rfc8538_4_a_hard_reset_is_never_graceful() {
    let (mut bench, conn) = Bench::established_with(graceful(), &peer());
    bench.hear(conn, Notification::admin_shutdown("").hard_reset().encode());
    assert_eq!(bench.about_stale_routes(), [DOWN]);
}

#[test]
fn stale_routes_go_when_the_operator_wants_no_session_and_stay_when_the_link_flaps() {
    let mut bench = Bench::bereft(graceful(), &peer());
    bench.outputs.clear();
    bench.give(Input::Stop(Cease::LinkDown));
    bench.give(Input::Start);
    assert_eq!(bench.about_stale_routes(), []);
    bench.give(Input::Stop(Cease::AdminShutdown(String::new())));
    assert_eq!(bench.about_stale_routes(), [expired(&[V4, V6])]);
    assert_eq!(bench.session.poll_timeout(), None);
}

#[test]
fn a_session_that_goes_with_its_link_keeps_no_routes() {
    let (mut bench, _) = Bench::established_with(graceful(), &peer());
    bench.give(Input::Stop(Cease::LinkDown));
    bench.give(Input::Start);
    assert_eq!(bench.about_stale_routes(), [DOWN]);
}

#[test]
fn an_operator_who_wants_no_session_any_more_is_heard_while_the_link_is_down() {
    let mut bench = Bench::bereft(graceful(), &peer());
    bench.outputs.clear();
    bench.give(Input::Stop(Cease::LinkDown));
    bench.give(Input::Stop(Cease::AdminShutdown("bye".into())));
    assert_eq!(bench.about_stale_routes(), [expired(&[V4, V6])]);
    assert_eq!(bench.session.poll_timeout(), None);
    let conn = bench.accept();
    assert_eq!(bench.told(conn), Some((6, 2, b"\x03bye".to_vec())));
}

#[test]
fn a_speaker_that_goes_gives_up_no_route_of_anybody() {
    // Neither of a session that stands nor of one that is being waited for, whatever was agreed.
    for (ours, theirs) in [(graceful(), peer()), (long_lived(), peer()), (config(), open())] {
        let (mut bench, _) = Bench::established_with(ours.clone(), &theirs);
        bench.give(Input::Stop(Cease::GracefulStop));
        assert_eq!(bench.about_stale_routes(), [down(&[V4, V6])]);
        assert_eq!(bench.session.poll_timeout(), None);
    }
    let mut bench = Bench::bereft(graceful(), &peer());
    bench.outputs.clear();
    bench.give(Input::Stop(Cease::GracefulStop));
    bench.pass(secs(1000));
    assert_eq!(bench.about_stale_routes(), []);
    let mut bench = Bench::started(reborn());
    bench.give(Input::Stop(Cease::GracefulStop));
    bench.pass(secs(1000));
    assert_eq!(bench.about_stale_routes(), [], "nor is a deferral over");
}

#[test]
fn the_restart_time_also_ends_while_the_link_is_down() {
    let mut bench = Bench::bereft(graceful(), &peer());
    bench.outputs.clear();
    bench.give(Input::Stop(Cease::LinkDown));
    bench.pass(secs(60));
    assert_eq!(bench.about_stale_routes(), [expired(&[V4, V6])]);
}

#[test]
fn rfc4724_3_a_restart_time_of_zero_keeps_nothing() {
    let hasty = Capability::GracefulRestart {
        restarted: false,
        notification: true,
        time: 0,
        families: list(&[(V4, true)]),
    };
    let bench = Bench::bereft(graceful(), &open_with([hasty]));
    assert_eq!(bench.about_stale_routes(), [down(&[V4]), expired(&[V4])]);
}

#[test]
fn a_peer_that_restarts_is_listened_to_at_once_and_dialled_soon() {
    let mut bench = Bench::bereft(graceful(), &peer());
    assert_eq!(bench.session.state(), State::Active);
    let dials = bench.dials();
    bench.pass(secs(1));
    assert_eq!(bench.dials(), dials + 1);

    // Not again and again, or a peer that falls at once is met at full speed.
    let conn = bench.comes_back(&back());
    bench.give(Input::Closed(conn));
    assert_eq!(bench.session.state(), State::Idle);
    let bench = Bench::bereft(config(), &peer());
    assert_eq!(bench.session.state(), State::Idle, "nothing is kept for it");
}

// A peer that connects anew while its session stands.

#[test]
fn rfc4724_4_2_a_peer_that_connects_anew_has_restarted() {
    let (mut bench, old) = Bench::established_with(graceful(), &peer());
    bench.pass_alive(old, secs(300));
    bench.outputs.clear();
    let new = bench.accept();
    bench.hear(new, back().encode().slice(..28));
    assert!(!bench.did(&Output::Abort(old)), "not before it is clear who speaks");
    bench.hear(new, back().encode().slice(28..));

    assert!(bench.did(&Output::Abort(old)));
    assert!(bench.told(old).is_none() && bench.told(new).is_none(), "without a NOTIFICATION");
    assert_eq!(bench.about_stale_routes(), [down(&[V4, V6])]);
    bench.hear(new, wire::keepalive());
    assert_eq!(bench.session.established().map(|(conn, _)| conn), Some(new));
    assert_eq!(bench.session.last_error(), Some(&Cause::PeerRestarted));
    bench.pass_alive(new, secs(10));
    assert_eq!(bench.about_stale_routes(), [down(&[V4, V6])], "and nothing is lost");
}

#[test]
fn rfc4724_4_2_a_peer_that_has_dialled_the_session_restarts_even_a_moment_after() {
    let mut bench = Bench::started(SessionConfig { passive: true, ..graceful() });
    let old = bench.accept();
    bench.hear(old, peer().encode());
    bench.hear(old, wire::keepalive());
    let new = bench.accept();
    bench.hear(new, back().encode());
    assert!(bench.did(&Output::Abort(old)));
    bench.hear(new, wire::keepalive());
    assert_eq!(bench.session.established().map(|(conn, _)| conn), Some(new));
}

#[test]
fn rfc4271_6_8_both_dialling_at_once_is_no_restart() {
    let (mut bench, old) = Bench::established_with(graceful(), &peer());
    bench.pass(Duration::from_millis(900));
    let late = bench.accept();
    bench.hear(late, peer().encode());
    assert_eq!(bench.session.established().map(|(conn, _)| conn), Some(old));
    bench.pass(secs(2));
    assert_eq!(bench.told(late), Some((6, 7, vec![])));
}

#[test]
fn a_connection_without_a_good_open_does_not_end_the_session() {
    let (mut bench, old) = Bench::established_with(graceful(), &peer());
    bench.pass_alive(old, secs(300));
    for said in [
        Bytes::from_static(b"GET / HTTP/1.1\r\n"),
        Bytes::new(),
        Open { hold_time: 1, ..back() }.encode(),
        Open { asn: 0, ..back() }.encode(),
        wire::keepalive(),
    ] {
        let new = bench.accept();
        bench.hear(new, said);
        bench.pass_alive(old, secs(3));
        assert_eq!(bench.session.established().map(|(conn, _)| conn), Some(old));
    }
}

// Long-lived.

/// The peer's long-lived stale times: 1000 s for IPv4, a day for IPv6.
fn lasting(forwarding: bool) -> Capability {
    Capability::LongLivedGracefulRestart(vec![(1, 1, forwarding, 1000), (2, 1, forwarding, 86_400)])
}

#[test]
fn rfc9494_4_2_stale_routes_live_on_after_the_restart_time_for_the_shorter_of_both_times() {
    let mut bench = Bench::bereft(
        long_lived(),
        &open_with([theirs(false, &[(V4, false), (V6, false)]), lasting(false)]),
    );
    bench.outputs.clear();
    bench.pass(secs(60));
    assert_eq!(bench.about_stale_routes(), [Output::LongLived(FamilySet::ALL)]);
    bench.pass(secs(999));
    assert_eq!(bench.about_stale_routes().len(), 1);
    bench.pass(secs(1));
    assert_eq!(bench.about_stale_routes()[1..], [expired(&[V4])]);
    bench.pass(secs(3600 - 1000));
    assert_eq!(bench.about_stale_routes()[2..], [expired(&[V6])], "an hour is what we grant");
}

#[test]
fn rfc9494_4_2_families_without_a_long_lived_time_end_with_the_restart_time() {
    let lasting = Capability::LongLivedGracefulRestart(vec![(1, 1, false, 1000), (2, 1, false, 0)]);
    let theirs = theirs(false, &[(V4, false), (V6, false)]);
    let mut bench = Bench::bereft(long_lived(), &open_with([theirs, lasting]));
    bench.outputs.clear();
    bench.pass(secs(60));
    let expected = [Output::LongLived(families(&[V4])), expired(&[V6])];
    assert_eq!(bench.about_stale_routes(), expected);
}

#[test]
fn rfc9494_5_each_family_is_wanted_by_itself() {
    let ours = with(GracefulRestart {
        long_lived_time: PerFamily { ipv4: StaleTime::OFF, ipv6: StaleTime::new(3600).unwrap() },
        ..restart()
    });
    let (bench, conn) = Bench::open_sent(ours.clone());
    let offered = Capability::LongLivedGracefulRestart(vec![(2, 1, false, 3600)]);
    assert!(bench.offered(conn).capabilities.contains(&offered));
    let theirs = open_with([theirs(false, &[(V4, false), (V6, false)]), lasting(false)]);
    let mut bench = Bench::bereft(ours, &theirs);
    bench.outputs.clear();
    bench.pass(secs(60));
    assert_eq!(bench.about_stale_routes(), [Output::LongLived(families(&[V6])), expired(&[V4])]);
}

#[test]
fn rfc9494_3_1_it_means_nothing_without_graceful_restart_or_on_one_side() {
    let both = [theirs(false, &[(V4, false), (V6, false)]), lasting(false)];
    let bench = Bench::bereft(long_lived(), &open_with([lasting(false)]));
    assert_eq!(bench.about_stale_routes(), [DOWN]);
    let mut bench = Bench::bereft(graceful(), &open_with(both));
    bench.outputs.clear();
    bench.pass(secs(60));
    assert_eq!(bench.about_stale_routes(), [expired(&[V4, V6])]);
}

#[test]
fn rfc9494_4_2_a_family_without_a_restart_time_is_long_lived_at_once() {
    let offer = open_with([theirs(false, &[(V4, false)]), lasting(false)]);
    let bench = Bench::bereft(long_lived(), &offer);
    let expected = [down(&[V4, V6]), Output::LongLived(families(&[V6]))];
    assert_eq!(bench.about_stale_routes(), expected);
}

#[test]
fn rfc9494_4_2_the_long_lived_f_bit_counts_in_the_long_lived_phase() {
    let all = [(V4, true), (V6, true)];
    let none = [(V4, false), (V6, false)];
    for (offer, gone) in [
        ([theirs(true, &none), lasting(true)], vec![]),
        ([theirs(true, &all), lasting(false)], vec![V4, V6]),
    ] {
        let offered = open_with([theirs(false, &none), lasting(false)]);
        let mut bench = Bench::bereft(long_lived(), &offered);
        bench.pass(secs(100));
        bench.outputs.clear();
        bench.comes_back(&open_with(offer));
        let expected: Vec<_> = (!gone.is_empty()).then(|| expired(&gone)).into_iter().collect();
        assert_eq!(bench.about_stale_routes(), expected);
    }
}

#[test]
fn rfc9494_4_2_the_long_lived_time_runs_on_until_end_of_rib() {
    let offer =
        |restarted, kept| open_with([theirs(restarted, &[(V4, kept), (V6, kept)]), lasting(kept)]);
    let mut bench = Bench::bereft(long_lived(), &offer(false, false));
    bench.pass(secs(560));
    let conn = bench.comes_back(&offer(true, true));
    bench.hear(conn, end_of(V6));
    bench.outputs.clear();
    // Lost again before the End-of-RIB of IPv4: its time is what is left of it, while IPv6 has
    // a restart time again.
    bench.give(Input::Closed(conn));
    let expected = [down(&[V4, V6]), Output::LongLived(families(&[V4]))];
    assert_eq!(bench.about_stale_routes(), expected);
    bench.outputs.clear();
    bench.pass(secs(60));
    assert_eq!(bench.about_stale_routes(), [Output::LongLived(families(&[V6]))]);
    bench.pass(secs(439));
    assert_eq!(bench.about_stale_routes().len(), 1);
    bench.pass(secs(1));
    assert_eq!(bench.about_stale_routes()[1..], [expired(&[V4])]);
}

#[test]
fn rfc9494_4_2_a_time_that_ends_before_end_of_rib_leaves_nothing_to_keep() {
    let offer =
        |restarted, kept| open_with([theirs(restarted, &[(V4, kept), (V6, kept)]), lasting(kept)]);
    let mut bench = Bench::bereft(long_lived(), &offer(false, false));
    bench.pass(secs(1000));
    let conn = bench.comes_back(&offer(true, true));
    bench.outputs.clear();
    bench.pass_alive(conn, secs(60));
    assert_eq!(bench.about_stale_routes(), [expired(&[V4])]);
    bench.outputs.clear();
    bench.give(Input::Closed(conn));
    assert_eq!(bench.about_stale_routes()[0], down(&[V6]), "IPv4 had no time left");
}

// As the one that restarts.

/// We have restarted; the forwarding state of IPv6 has survived.
fn reborn() -> SessionConfig {
    let restarted = Restarted { forwarding: families(&[V6]), deferral: secs(100) };
    with(GracefulRestart { restarted: Some(restarted), ..restart() })
}

/// R bit and F bits of the OPEN sent last.
fn flags(bench: &Bench, conn: ConnId) -> (bool, FamilySet) {
    let capabilities = bench.offered(conn).capabilities;
    let found = capabilities.into_iter().find_map(|capability| match capability {
        Capability::GracefulRestart { restarted, families, .. } => {
            let kept = families.into_iter().filter(|(.., kept)| *kept);
            let kept = kept.filter_map(|(afi, safi, _)| Family::from_codes(afi, safi));
            Some((restarted, kept.collect()))
        }
        _ => None,
    });
    found.expect("graceful restart is offered")
}

#[test]
fn rfc4724_3_a_first_open_claims_nothing() {
    let (bench, conn) = Bench::open_sent(graceful());
    assert_eq!(flags(&bench, conn), (false, FamilySet::NONE));
}

#[test]
fn rfc4724_3_our_restart_is_told_until_the_first_session_after_it_has_done_its_work() {
    let (mut bench, first) = Bench::open_sent(reborn());
    assert_eq!(flags(&bench, first), (true, families(&[V6])));
    // It comes to nothing: the next one says the same.
    bench.give(Input::Closed(first));
    bench.pass(secs(5));
    let second = bench.dialled();
    bench.give(Input::Connected(second));
    assert_eq!(flags(&bench, second), (true, families(&[V6])));

    bench.hear(second, peer().encode());
    bench.hear(second, wire::keepalive());
    bench.hear(second, end_of(V4));
    bench.hear(second, end_of(V6));
    bench.hear(second, cease(4));
    let third = bench.comes_back(&peer());
    assert!(!flags(&bench, third).0, "no restart any more");
}

#[test]
fn rfc4724_3_a_session_that_falls_while_we_are_restarting_says_so_again() {
    let (mut bench, conn) = Bench::established_with(reborn(), &peer());
    bench.hear(conn, end_of(V4));
    bench.give(Input::Closed(conn));
    let again = bench.comes_back(&peer());
    assert_eq!(flags(&bench, again), (true, families(&[V6])));
}

#[test]
fn rfc8538_4_after_a_loss_that_both_have_lived_through_forwarding_state_is_claimed_once() {
    let (mut bench, conn) = Bench::established_with(graceful(), &peer());
    bench.give(Input::Closed(conn));
    let again = bench.comes_back(&back());
    assert_eq!(flags(&bench, again), (false, FamilySet::ALL));

    bench.hear(again, Notification::admin_shutdown("").hard_reset().encode());
    let after = bench.comes_back(&peer());
    assert_eq!(flags(&bench, after), (false, FamilySet::NONE), "nobody has kept anything");
}

#[test]
fn rfc4724_4_1_the_deferral_ends_with_the_last_end_of_rib() {
    let (mut bench, conn) = Bench::established_with(reborn(), &peer());
    assert_eq!(bench.about_stale_routes(), []);
    bench.hear(conn, end_of(V6));
    assert_eq!(bench.about_stale_routes(), []);
    bench.hear(conn, end_of(V4));
    assert_eq!(bench.about_stale_routes(), [Output::DeferralOver]);
    let update = bench.outputs.iter().rposition(|output| matches!(output, Output::Update(_)));
    let over = bench.outputs.iter().position(|output| *output == Output::DeferralOver);
    assert!(update < over, "after the End-of-RIB that ended it");

    bench.hear(conn, end_of(V4));
    bench.pass_alive(conn, secs(200));
    assert_eq!(bench.about_stale_routes(), [Output::DeferralOver], "once");
}

#[test]
fn rfc4724_4_1_nobody_waits_for_a_peer_without_graceful_restart_or_that_restarts_as_well() {
    for offer in [open(), back()] {
        let (mut bench, conn) = Bench::open_sent(reborn());
        bench.hear(conn, offer.encode());
        bench.hear(conn, wire::keepalive());
        assert!(matches!(bench.about_routes()[..], [Output::DeferralOver, Output::Up(_)]));
    }
}

#[test]
fn rfc4724_4_1_the_deferral_is_bounded_whether_the_peer_comes_or_not() {
    let mut bench = Bench::started(SessionConfig { passive: true, ..reborn() });
    bench.pass(secs(99));
    assert_eq!(bench.about_stale_routes(), []);
    bench.pass(secs(1));
    assert_eq!(bench.about_stale_routes(), [Output::DeferralOver]);
    let conn = bench.accept();
    assert_eq!(flags(&bench, conn), (true, families(&[V6])), "the peer has not seen us since");

    let (mut bench, conn) = Bench::established_with(reborn(), &peer());
    bench.pass_alive(conn, secs(99));
    assert_eq!(bench.about_stale_routes(), []);
    bench.pass_alive(conn, secs(1));
    assert_eq!(bench.about_stale_routes(), [Output::DeferralOver]);
}

#[test]
fn an_operator_who_wants_no_session_ends_the_deferral() {
    let mut bench = Bench::started(reborn());
    bench.give(Input::Stop(Cease::AdminShutdown(String::new())));
    assert_eq!(bench.about_stale_routes(), [Output::DeferralOver]);
    let (mut bench, _) = Bench::established_with(reborn(), &peer());
    bench.give(Input::Stop(Cease::Deconfigured));
    assert_eq!(bench.about_stale_routes(), [DOWN, Output::DeferralOver]);
}

#[test]
fn the_end_of_our_restart_can_be_told_to_the_session() {
    let mut bench = Bench::started(SessionConfig { passive: true, ..reborn() });
    bench.session.end_restart();
    let conn = bench.accept();
    assert_eq!(flags(&bench, conn), (false, FamilySet::NONE));
    bench.pass(secs(200));
    assert!(!bench.did(&Output::DeferralOver));
}

#[test]
fn rfc7313_4_refresh_marks_before_end_of_rib_are_ignored_with_graceful_restart() {
    let mut offer = peer();
    offer.capabilities.push(Capability::EnhancedRouteRefresh);
    let (mut bench, conn) = Bench::established_with(graceful(), &offer);
    bench.hear(conn, Refresh::begin(V4).encode());
    bench.hear(conn, Refresh::end(V4).encode());
    let ignored = [IgnoredRefresh::BeforeEndOfRib(V4), IgnoredRefresh::WithoutBegin(V4)];
    assert_eq!(bench.outputs, ignored.map(Output::RefreshIgnored));
    bench.hear(conn, end_of(V4));
    bench.hear(conn, Refresh::begin(V4).encode());
    assert!(bench.did(&Output::RefreshBegin(V4)));
    bench.hear(conn, Refresh::begin(V6).encode());
    assert!(bench.did(&Output::RefreshIgnored(IgnoredRefresh::BeforeEndOfRib(V6))));
    assert!(!bench.did(&Output::RefreshBegin(V6)));
}
