//! Graceful restart between speakers in simulated time: what one has in its table while the other
//! is away, and after it is back.

use std::{collections::BTreeSet, time::Duration};

use bgp::{
    community::Community,
    config::{GracefulRestart, HoldTime, RestartTime, Restarted, StaleTime},
    family::{Family, FamilySet, PerFamily},
    prefix::Prefix,
    role::Role,
    session::{Cause, Cease, Input, State},
    speaker::PeerSettings,
};
use tests::sim::{Net, Pair, RouterId, leaf_spine};

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn prefix(text: &str) -> Prefix {
    text.parse().expect("a prefix")
}

/// 60 s to come back, and no more than 100 s to say everything again.
fn restart() -> GracefulRestart {
    GracefulRestart {
        restart_time: RestartTime::new(60).expect("in range"),
        stale_path_time: secs(100),
        ..GracefulRestart::default()
    }
}

/// Both sides with a hold time of 30 s and these settings.
fn both(restart: GracefulRestart) -> impl Fn(&mut PeerSettings, &mut PeerSettings) {
    move |a, b| {
        for settings in [a, b] {
            settings.session.hold_time = HoldTime::new(30).expect("not 1 or 2");
            settings.session.graceful_restart = Some(restart.clone());
        }
    }
}

/// b boots again from here on as one whose forwarding state has survived.
fn survive(pair: &mut Pair, forwarding: FamilySet) {
    let restarted = Restarted { forwarding, deferral: secs(30) };
    let (link, b) = (pair.link, pair.b);
    pair.net.reconfigure(link, b, |settings| {
        let restart = settings.session.graceful_restart.as_mut().expect("it is on");
        restart.restarted = Some(restarted);
    });
}

const ROUTES: [&str; 2] = ["10.2.0.0/16", "fd02::/48"];

/// Established, each with routes of the other; the first transfer is over.
fn settled(seed: u64, adjust: impl Fn(&mut PeerSettings, &mut PeerSettings)) -> Pair {
    let mut pair = Pair::established_with(seed, adjust);
    for route in ROUTES {
        pair.net.originate(pair.b, prefix(route));
    }
    pair.net.originate(pair.a, prefix("10.1.0.0/16"));
    pair.net.advance(secs(10));
    assert_eq!(kept(&pair), ROUTES);
    pair
}

/// What a has from b.
fn kept(pair: &Pair) -> Vec<String> {
    let table = pair.net.router(pair.a).table.iter();
    let from_b = table.filter(|(_, paths)| paths.iter().any(|path| path.peer.is_some()));
    from_b.map(|(prefix, _)| prefix.to_string()).collect()
}

/// Time passes event by event; false as soon as a lacks a route of b.
fn keeps_for(pair: &mut Pair, time: Duration) -> bool {
    let a = pair.a;
    let lacks = |net: &Net| ROUTES.iter().any(|r| !net.router(a).table.contains_key(&prefix(r)));
    !pair.net.advance_until(time, lacks)
}

#[test]
fn a_peer_that_is_killed_and_comes_back_loses_no_route_for_a_moment() {
    for seed in 0..50 {
        let mut pair = settled(seed, both(restart()));
        survive(&mut pair, FamilySet::ALL);
        let b = pair.b;
        pair.net.kill(b);
        assert!(keeps_for(&mut pair, secs(20)), "seed {seed}");
        assert_ne!(pair.state(pair.a), State::Established);
        pair.net.boot(b);
        assert!(keeps_for(&mut pair, secs(20)), "seed {seed}");
        assert!(pair.is_joined(), "seed {seed}");
        // It has everything too, and nothing is left that would expire.
        assert!(pair.net.router(b).table.contains_key(&prefix("10.1.0.0/16")));
        assert!(keeps_for(&mut pair, secs(500)), "seed {seed}");
    }
}

#[test]
fn a_route_that_the_peer_does_not_have_any_more_goes_with_its_end_of_rib() {
    let mut pair = settled(1, both(restart()));
    survive(&mut pair, FamilySet::ALL);
    let b = pair.b;
    pair.net.kill(b);
    pair.net.withdraw(b, prefix(ROUTES[0]));
    pair.net.boot(b);
    assert!(pair.joins_within(secs(30)));
    pair.net.advance(secs(5));
    assert_eq!(kept(&pair), [ROUTES[1]]);
}

#[test]
fn a_peer_that_does_not_come_back_is_given_up_after_the_restart_time() {
    let mut pair = settled(2, both(restart()));
    let b = pair.b;
    pair.net.kill(b);
    assert!(keeps_for(&mut pair, secs(59)));
    pair.net.advance(secs(2));
    assert_eq!(kept(&pair), Vec::<String>::new());
}

#[test]
fn a_family_whose_forwarding_state_has_not_survived_goes_when_the_peer_is_back() {
    let mut pair = settled(3, both(restart()));
    survive(&mut pair, FamilySet::of(Family::Ipv6Unicast));
    let (a, b) = (pair.a, pair.b);
    pair.net.kill(b);
    pair.net.boot(b);
    let gone = |net: &Net| !net.router(a).table.contains_key(&prefix(ROUTES[0]));
    assert!(pair.net.advance_until(secs(30), gone));
    assert!(pair.net.router(a).table.contains_key(&prefix(ROUTES[1])), "IPv6 stays");
    pair.net.advance(secs(10));
    assert_eq!(kept(&pair), ROUTES);
}

#[test]
fn rfc8538_a_link_that_is_cut_longer_than_the_hold_time_loses_no_route() {
    for seed in 0..20 {
        let mut pair = settled(seed, both(restart()));
        let link = pair.link;
        pair.net.cut(link);
        assert!(keeps_for(&mut pair, secs(60)), "seed {seed}");
        assert_ne!(pair.state(pair.a), State::Established);
        pair.net.restore(link);
        assert!(keeps_for(&mut pair, secs(30)), "seed {seed}");
        assert!(pair.is_joined(), "seed {seed}");
    }
    // Without it the routes are gone with the hold time.
    let unaware = GracefulRestart { notification: false, ..restart() };
    let mut pair = settled(1, both(unaware));
    let link = pair.link;
    pair.net.cut(link);
    assert!(!keeps_for(&mut pair, secs(60)));
}

#[test]
fn rfc8538_a_shutdown_is_a_hard_reset_and_a_reset_is_not() {
    let mut pair = settled(4, both(restart()));
    let b = pair.b;
    pair.give(b, Input::Stop(Cease::AdminReset("new cable".to_owned())));
    pair.give(b, Input::Start);
    assert!(keeps_for(&mut pair, secs(30)));
    assert!(pair.is_joined());

    pair.give(b, Input::Stop(Cease::AdminShutdown("for good".to_owned())));
    pair.net.advance(secs(1));
    assert_eq!(kept(&pair), Vec::<String>::new());
    let shown = pair.last_error(pair.a);
    assert!(shown.contains("Hard Reset") && shown.contains("for good"), "{shown}");
}

#[test]
fn a_graceful_stop_is_a_restart_to_the_peer() {
    let mut pair = settled(5, both(restart()));
    survive(&mut pair, FamilySet::ALL);
    let b = pair.b;
    pair.give(b, Input::Stop(Cease::GracefulStop));
    pair.net.advance(secs(1));
    pair.net.kill(b);
    assert!(keeps_for(&mut pair, secs(10)));
    let mut changes = pair.changes(pair.a).into_iter().rev();
    let lost = changes.find(|change| change.from == State::Established);
    assert_eq!(lost.map(|change| change.cause), Some(Cause::Closed));
    pair.net.boot(b);
    assert!(keeps_for(&mut pair, secs(30)));
    assert!(pair.is_joined());
}

#[test]
fn rfc4724_4_2_a_peer_that_vanished_and_connects_anew_is_taken_back_at_once() {
    for seed in 0..50 {
        let mut pair = settled(seed, both(restart()));
        survive(&mut pair, FamilySet::ALL);
        let (a, b) = (pair.a, pair.b);
        // A session that has just come up out of a collision has a failure to live down first.
        pair.net.advance(secs(120));
        pair.net.power_off(b);
        pair.net.advance(secs(5));
        assert_eq!(pair.state(a), State::Established, "nobody has told a");
        pair.net.boot(b);
        let before = pair.net.now();
        assert!(pair.joins_within(secs(5)), "seed {seed}");
        assert!(pair.net.now() - before < secs(1), "seed {seed}");
        assert!(keeps_for(&mut pair, secs(100)), "seed {seed}");
    }
}

#[test]
fn rfc4724_4_1_two_that_restart_at_once_do_not_wait_for_each_other() {
    let mut pair = settled(6, both(restart()));
    survive(&mut pair, FamilySet::ALL);
    let restarted = Restarted { forwarding: FamilySet::ALL, deferral: secs(300) };
    let (link, a, b) = (pair.link, pair.a, pair.b);
    for router in [a, b] {
        pair.net.reconfigure(link, router, |settings| {
            let restart = settings.session.graceful_restart.as_mut().expect("it is on");
            restart.restarted = Some(restarted);
        });
    }
    pair.net.kill(a);
    pair.net.kill(b);
    pair.net.boot(a);
    pair.net.boot(b);
    assert!(pair.joins_within(secs(30)));
    pair.net.advance(secs(5));
    assert_eq!(kept(&pair), ROUTES);
}

#[test]
fn rfc9494_routes_live_on_as_the_last_choice_and_end_in_their_time() {
    let time = StaleTime::new(1000).expect("in range");
    let long_lived_time = PerFamily { ipv4: time, ipv6: time };
    let lasting = GracefulRestart { long_lived_time, ..restart() };
    let mut pair = settled(7, both(lasting));
    let (a, b) = (pair.a, pair.b);
    pair.net.kill(b);
    pair.net.advance(secs(59));
    let marked = |pair: &Pair| {
        let path = &pair.net.router(a).table[&prefix(ROUTES[0])][0];
        path.attrs.communities.contains(&Community::LLGR_STALE)
    };
    assert!(!marked(&pair));
    pair.net.advance(secs(2));
    assert!(marked(&pair));
    assert!(keeps_for(&mut pair, secs(997)));
    pair.net.advance(secs(4));
    assert_eq!(kept(&pair), Vec::<String>::new());
}

#[test]
fn a_fabric_that_restarts_router_by_router_and_all_at_once_comes_to_the_same_answers() {
    for seed in 0..3 {
        let mut net = leaf_spine(seed, 3, 8, true);
        let links: Vec<_> = net.links().map(|(link, ends, _)| (link, ends)).collect();
        for (link, ends) in &links {
            for end in ends {
                let restarted = Restarted { forwarding: FamilySet::ALL, deferral: secs(30) };
                net.reconfigure(*link, *end, |settings| {
                    settings.session.hold_time = HoldTime::new(30).expect("not 1 or 2");
                    settings.session.graceful_restart =
                        Some(GracefulRestart { restarted: Some(restarted), ..restart() });
                });
            }
        }
        let routers: Vec<_> = net.routers().map(|(id, _)| id).collect();
        for router in &routers {
            net.kill(*router);
            net.originate(*router, own(*router));
            net.boot(*router);
        }
        assert!(net.advance_until(secs(100), Net::is_established), "seed {seed}");
        net.advance(secs(60));
        let before = answers(&net);
        assert_eq!(before.len(), routers.len() * routers.len(), "everybody has everything");

        for _ in 0..40 {
            let router = *net.dice().pick(&routers);
            match net.dice().below(3) {
                0 => net.kill(router),
                1 => net.power_off(router),
                _ => {}
            }
            net.advance(secs(3));
            if !net.is_running(router) {
                net.boot(router);
            }
            net.advance(secs(2));
        }
        assert!(net.advance_until(secs(600), Net::is_established), "seed {seed}");
        net.advance(secs(200));
        assert_eq!(answers(&net), before, "seed {seed}");
    }
}

fn own(router: RouterId) -> Prefix {
    prefix(&format!("10.{}.0.0/16", 100 + router.0))
}

/// Router, prefix and AS paths of all that is used.
fn answers(net: &Net) -> BTreeSet<(usize, String, Vec<String>)> {
    let mut answers = BTreeSet::new();
    for (router, state) in net.routers() {
        for (prefix, paths) in &state.table {
            let paths = paths.iter().map(|path| path.attrs.as_path.to_string()).collect();
            answers.insert((router.0, prefix.to_string(), paths));
        }
    }
    answers
}

#[test]
fn rfc9234_speakers_whose_roles_do_not_go_together_tell_each_other_so() {
    let roles = |ours, theirs| {
        move |a: &mut PeerSettings, b: &mut PeerSettings| {
            a.session.role = Some(ours);
            b.session.role = Some(theirs);
        }
    };
    let mut pair = Pair::with(8, roles(Role::Provider, Role::Provider));
    pair.start();
    assert!(!pair.joins_within(secs(60)));
    let shown = [pair.last_error(pair.a), pair.last_error(pair.b)];
    assert!(shown.iter().all(|error| error.contains("Role Mismatch")), "{shown:?}");
    let _ = Pair::established_with(9, roles(Role::Provider, Role::Customer));
}
