//! Two speakers and one link, in simulated time: they meet, they notice when the other is gone,
//! they come back, and they do not wear each other out.

use std::time::Duration;

use bgp::{
    config::{HoldTime, PeerAs},
    prefix::Prefix,
    session::{Cease, Input, State},
    speaker::PeerSettings,
};
use tests::sim::{LinkId, Net, Pair, RouterId};

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn prefix(text: &str) -> Prefix {
    text.parse().expect("a prefix")
}

/// Both sides offer this hold time.
fn hold(seconds: u16) -> impl Fn(&mut PeerSettings, &mut PeerSettings) {
    move |a, b| {
        for settings in [a, b] {
            settings.session.hold_time = HoldTime::new(seconds).expect("not 1 or 2");
        }
    }
}

/// The prefixes in a router's table.
fn table(pair: &Pair, router: RouterId) -> Vec<String> {
    pair.net.router(router).table.keys().map(ToString::to_string).collect()
}

#[test]
fn two_that_dial_each_other_at_once_end_up_with_one_connection() {
    let mut slowest = Duration::ZERO;
    for seed in 0..500 {
        let mut pair = Pair::new(seed);
        let before = pair.net.now();
        pair.start();
        assert!(pair.joins_within(secs(60)), "seed {seed}");
        slowest = slowest.max(pair.net.now() - before);
        pair.net.advance(secs(600));
        assert!(pair.is_joined(), "seed {seed}");
    }
    assert!(slowest < secs(10), "{slowest:?}");
}

#[test]
fn two_that_start_at_different_times_meet_soon_after_the_second() {
    for seed in 0..100 {
        let mut pair = Pair::new(seed);
        let (first, second) = if seed % 2 == 0 { (pair.a, pair.b) } else { (pair.b, pair.a) };
        pair.net.power_off(second);
        pair.net.start_router(first);
        pair.net.advance(secs(1000));
        pair.net.boot(second);
        assert!(pair.joins_within(secs(10)), "seed {seed}");
    }
}

#[test]
fn routes_flow_both_ways_and_go_when_they_are_withdrawn_or_their_source_is() {
    let mut pair = Pair::established_with(1, hold(9));
    pair.net.originate(pair.a, prefix("10.244.1.0/24"));
    pair.net.originate(pair.a, prefix("fd00:10:244:1::/64"));
    pair.net.originate(pair.b, prefix("10.244.2.0/24"));
    pair.net.advance(secs(1));
    let all = ["10.244.1.0/24", "10.244.2.0/24", "fd00:10:244:1::/64"];
    assert_eq!(table(&pair, pair.a), all);
    assert_eq!(table(&pair, pair.b), all);

    pair.net.withdraw(pair.a, prefix("10.244.1.0/24"));
    pair.net.advance(secs(1));
    assert_eq!(table(&pair, pair.b), all[1..]);

    pair.net.cut(pair.link);
    pair.net.advance(secs(10));
    assert_eq!(table(&pair, pair.b), ["10.244.2.0/24"]);

    pair.net.restore(pair.link);
    assert!(pair.joins_within(secs(20)));
    pair.net.advance(secs(1));
    assert_eq!(table(&pair, pair.b), all[1..]);
}

#[test]
fn silent_peer_is_dropped_when_the_hold_time_ends() {
    for seed in 0..50 {
        let mut pair = Pair::established_with(seed, hold(9));
        pair.net.advance(secs(100));
        pair.net.cut(pair.link);
        // The last KEEPALIVE came up to three seconds before the cut.
        pair.net.advance(secs(5));
        assert!(pair.is_joined(), "seed {seed}");
        pair.net.advance(secs(4) + Duration::from_millis(50));
        for router in [pair.a, pair.b] {
            assert_ne!(pair.state(router), State::Established, "seed {seed}");
            let lost = pair.changes(router).into_iter().rfind(|c| c.from == State::Established);
            let cause = lost.expect("it was established").cause.to_string();
            assert!(cause.contains("Hold Timer Expired"), "{cause}");
        }
    }
}

#[test]
fn a_cut_shorter_than_the_hold_time_is_not_noticed() {
    for seed in 0..50 {
        let mut pair = Pair::established_with(seed, hold(9));
        pair.net.advance(secs(5));
        let counts =
            |pair: &Pair| [pair.a, pair.b].map(|router| pair.session(router).established_count());
        let before = counts(&pair);
        for _ in 0..20 {
            pair.net.cut(pair.link);
            pair.net.advance(secs(5));
            pair.net.restore(pair.link);
            pair.net.advance(secs(20));
        }
        assert_eq!((pair.is_joined(), counts(&pair)), (true, before), "seed {seed}");
    }
}

#[test]
fn a_hold_time_of_zero_survives_any_silence() {
    let mut pair = Pair::established_with(1, hold(0));
    let sent = pair.session(pair.a).counters().1.keepalives;
    pair.net.cut(pair.link);
    pair.net.advance(secs(1_000_000));
    pair.net.restore(pair.link);
    pair.net.originate(pair.a, prefix("10.244.1.0/24"));
    pair.net.advance(secs(1));
    assert_eq!(table(&pair, pair.b), ["10.244.1.0/24"]);
    assert_eq!(pair.session(pair.a).counters().1.keepalives, sent);
}

#[test]
fn keepalives_are_sent_three_to_four_times_in_a_hold_time() {
    let mut pair = Pair::established(1);
    let before = pair.session(pair.a).counters().1.keepalives;
    pair.net.advance(secs(90_000));
    let sent = pair.session(pair.a).counters().1.keepalives - before;
    assert!((3000..=4000).contains(&sent), "{sent} in a thousand hold times");
    assert_eq!(pair.session(pair.b).established_count(), 1);
}

#[test]
fn a_peer_that_connects_and_never_speaks_is_dropped_after_four_minutes_and_tried_again() {
    let mut pair = Pair::with(1, |_, of_b| of_b.session.passive = true);
    pair.net.stall(pair.link, pair.a);
    pair.start();
    pair.net.advance(secs(239));
    assert_eq!(pair.state(pair.a), State::OpenSent);
    pair.net.advance(secs(2));
    assert!(pair.last_error(pair.a).contains("Hold Timer Expired"));

    pair.net.resume(pair.link, pair.a);
    assert!(pair.joins_within(secs(30)));
}

#[test]
fn a_killed_peer_is_back_seconds_after_its_start() {
    for seed in 0..100 {
        let mut pair = Pair::established(seed);
        pair.net.advance(secs(300));
        let (stays, restarts) = if seed % 2 == 0 { (pair.a, pair.b) } else { (pair.b, pair.a) };
        pair.net.kill(restarts);
        pair.net.advance(secs(1));
        assert_ne!(pair.state(stays), State::Established);
        pair.net.boot(restarts);
        assert!(pair.joins_within(secs(12)), "seed {seed}");
    }
}

#[test]
fn a_peer_that_vanished_and_came_back_does_not_wait_for_the_hold_time() {
    for seed in 0..100 {
        let mut pair = Pair::established(seed);
        pair.net.advance(secs(300));
        let (stays, restarts) = if seed % 2 == 0 { (pair.a, pair.b) } else { (pair.b, pair.a) };
        pair.net.power_off(restarts);
        pair.net.advance(secs(3));
        assert_eq!(pair.state(stays), State::Established, "it cannot know yet");
        pair.net.boot(restarts);
        assert!(pair.joins_within(secs(12)), "seed {seed}");
        pair.net.advance(secs(200));
        assert!(pair.is_joined(), "seed {seed}");
    }
}

#[test]
fn a_restart_within_a_restart_ends_as_well() {
    for seed in 0..200 {
        let mut pair = Pair::established(seed);
        pair.net.advance(secs(300));
        for _ in 0..3 {
            pair.net.power_off(pair.b);
            pair.net.boot(pair.b);
            let pause = pair.net.dice().duration(&(Duration::ZERO..secs(2)));
            pair.net.advance(pause);
        }
        assert!(pair.joins_within(secs(30)), "seed {seed}");
        pair.net.advance(secs(200));
        assert!(pair.is_joined(), "seed {seed}");
    }
}

#[test]
fn a_peer_that_keeps_crashing_is_met_less_and_less_often() {
    let mut pair = Pair::established(1);
    let begin = pair.net.now();
    while pair.net.now() < begin + secs(7200) {
        pair.net.advance(secs(1));
        if pair.is_joined() {
            pair.net.kill(pair.b);
            pair.net.boot(pair.b);
        }
    }
    let times = pair.times_in(pair.a, State::Established);
    let last_hour = times.iter().filter(|at| **at > begin + secs(3600)).count();
    assert!((25..=50).contains(&last_hour), "{last_hour} sessions in an hour");
}

#[test]
fn a_stable_session_pardons_earlier_crashes() {
    let mut pair = Pair::established(1);
    for _ in 0..6 {
        pair.net.kill(pair.b);
        pair.net.boot(pair.b);
        assert!(pair.joins_within(secs(150)));
    }
    pair.net.advance(secs(300));
    pair.net.kill(pair.b);
    pair.net.boot(pair.b);
    assert!(pair.joins_within(secs(10)));
}

#[test]
fn a_wrong_as_is_tried_every_two_minutes_and_no_more_until_it_is_mended() {
    let mut pair = Pair::with(3, |of_a, _| of_a.session.peer_asn = PeerAs::External);
    pair.net.reconfigure(pair.link, pair.b, |of_b| {
        of_b.session.local_asn = bgp::aspath::Asn(65009);
        of_b.session.peer_asn = PeerAs::Internal;
    });
    pair.net.kill(pair.b);
    pair.net.start_router(pair.a);
    pair.net.boot(pair.b);
    pair.net.advance(secs(1000));
    let before = pair.times_in(pair.b, State::Idle).len();
    pair.net.advance(secs(12_000));
    let attempts = pair.times_in(pair.b, State::Idle).len() - before;
    assert!((80..=300).contains(&attempts), "{attempts} failures in a hundred rests");
    assert_eq!(pair.session(pair.a).established_count(), 0);
    assert!(pair.last_error(pair.b).contains("Bad Peer AS"), "{}", pair.last_error(pair.b));

    pair.net.reconfigure(pair.link, pair.b, |of_b| {
        of_b.session.local_asn = bgp::aspath::Asn(65002);
        of_b.session.peer_asn = PeerAs::External;
    });
    pair.net.kill(pair.b);
    pair.net.boot(pair.b);
    assert!(pair.joins_within(secs(130)));
}

#[test]
fn without_a_common_family_there_is_no_session() {
    let mut pair = Pair::with(1, |of_a, of_b| {
        of_a.session.families = [bgp::family::Family::Ipv4Unicast].into_iter().collect();
        of_b.session.families = [bgp::family::Family::Ipv6Unicast].into_iter().collect();
    });
    pair.start();
    pair.net.advance(secs(3600));
    assert_eq!(pair.session(pair.a).established_count(), 0);
    assert!(pair.last_error(pair.a).contains("Unsupported Capability"));
}

#[test]
fn two_passive_ones_never_meet_and_one_is_no_hindrance() {
    let passive = |a, b| {
        move |of_a: &mut PeerSettings, of_b: &mut PeerSettings| {
            (of_a.session.passive, of_b.session.passive) = (a, b);
        }
    };
    let mut pair = Pair::with(1, passive(true, true));
    pair.start();
    pair.net.advance(secs(100_000));
    assert_eq!((pair.state(pair.a), pair.state(pair.b)), (State::Active, State::Active));

    for (a, b) in [(true, false), (false, true)] {
        let mut pair = Pair::established_with(1, passive(a, b));
        for _ in 0..10 {
            pair.net.kill(pair.a);
            pair.net.boot(pair.a);
            assert!(pair.joins_within(secs(150)));
        }
    }
}

#[test]
fn an_operators_word_reaches_the_other_side_and_keeps_it_waiting() {
    let mut pair = Pair::established(1);
    pair.give(pair.a, Input::Stop(Cease::AdminShutdown("power work until 6".into())));
    pair.net.advance(secs(1));
    let shown = pair.last_error(pair.b);
    assert!(shown.contains("power work until 6"), "{shown}");

    pair.net.advance(secs(36_000));
    assert_eq!(pair.session(pair.b).established_count(), 1);
    assert_eq!(pair.last_error(pair.b), shown, "it is told again and again");

    pair.give(pair.a, Input::Start);
    assert!(pair.joins_within(secs(15)));
}

#[test]
fn rfc9687_a_peer_that_reads_nothing_is_dropped_and_no_other_peer_suffers() {
    let mut pair = Pair::established_with(1, hold(0));
    let (third, to_third) = add_third(&mut pair.net, pair.a);
    pair.net.socket_buffer = 0;
    pair.net.stall(pair.link, pair.b);
    pair.net.originate(pair.a, prefix("10.244.1.0/24"));
    pair.net.advance(secs(479));
    assert_eq!(pair.state(pair.a), State::Established);
    pair.net.advance(secs(2));
    assert_ne!(pair.state(pair.a), State::Established);
    assert!(pair.last_error(pair.a).contains("send hold"), "{}", pair.last_error(pair.a));
    let table = &pair.net.router(third).table;
    assert!(table.contains_key(&prefix("10.244.1.0/24")));
    let ups = pair.net.router(third).log.iter().filter(|(.., c)| c.to == State::Established);
    assert_eq!((ups.count(), pair.net.state(to_third, third)), (1, State::Established));

    pair.net.resume(pair.link, pair.b);
    assert!(pair.joins_within(secs(60)));
}

/// A third router with a session with `router`.
fn add_third(net: &mut Net, router: RouterId) -> (RouterId, LinkId) {
    let config = tests::sim::router_config(2, 65003);
    let near = net.router(router).config.clone();
    let settings =
        [tests::sim::peer_settings(&near, &config), tests::sim::peer_settings(&config, &near)];
    let third = net.add_router(config);
    let link = net.link([router, third], settings, Duration::ZERO..Duration::from_millis(1));
    net.start_router(third);
    net.start_router(router);
    assert!(net.advance_until(secs(10), Net::is_established));
    (third, link)
}

#[test]
fn whatever_happens_two_healthy_speakers_with_a_link_end_up_with_a_session() {
    for seed in 0..300 {
        let mut pair = Pair::established_with(seed, |of_a, of_b| {
            hold(if seed % 3 == 0 { 9 } else { 90 })(of_a, of_b);
            of_a.session.passive = seed % 5 == 0;
        });
        pair.net.originate(pair.a, prefix("10.244.1.0/24"));
        pair.net.originate(pair.b, prefix("10.244.2.0/24"));
        for _ in 0..40 {
            accident(&mut pair);
            let pause = pair.net.dice().duration(&(Duration::ZERO..secs(30)));
            pair.net.advance(pause);
        }
        heal(&mut pair);
        assert!(pair.joins_within(secs(400)), "seed {seed}");
        pair.net.advance(secs(400));
        assert!(pair.is_joined(), "seed {seed}");
        for router in [pair.a, pair.b] {
            assert_eq!(table(&pair, router), ["10.244.1.0/24", "10.244.2.0/24"], "seed {seed}");
        }
    }
}

/// One of the things that go wrong, or right again.
fn accident(pair: &mut Pair) {
    let router = *pair.net.dice().pick(&[pair.a, pair.b]);
    match pair.net.dice().below(10) {
        0 => pair.net.cut(pair.link),
        1 | 2 => pair.net.restore(pair.link),
        3 => pair.net.kill(router),
        4 => pair.net.power_off(router),
        5 if !pair.net.is_running(router) => pair.net.boot(router),
        6 => pair.net.stall(pair.link, router),
        7 => pair.net.resume(pair.link, router),
        8 => pair.give(router, Input::Stop(Cease::AdminReset(String::new()))),
        _ => pair.give(router, Input::Start),
    }
}

fn heal(pair: &mut Pair) {
    pair.net.restore(pair.link);
    for router in [pair.a, pair.b] {
        pair.net.resume(pair.link, router);
        if !pair.net.is_running(router) {
            pair.net.boot(router);
        }
        pair.give(router, Input::Start);
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = |seed| {
        let mut pair = Pair::new(seed);
        let begin = pair.net.now();
        pair.start();
        for _ in 0..30 {
            accident(&mut pair);
            pair.net.advance(secs(7));
        }
        let log = pair.net.router(pair.a).log.iter();
        log.map(|(at, peer, change)| (*at - begin, *peer, change.clone())).collect::<Vec<_>>()
    };
    assert_eq!(run(5), run(5));
    assert_ne!(run(5), run(6));
}
