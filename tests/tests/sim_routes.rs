//! What routes do between speakers in simulated time: several paths through a reflector, limits,
//! refreshes, roles, and restarts that go wrong.

use std::{num::NonZeroU8, time::Duration};

use bgp::{
    config::{AddPath, AtLimit, Counted, GracefulRestart, PrefixLimit, RestartTime, Restarted},
    family::{Family, FamilySet},
    prefix::Prefix,
    rib::{LimitKind, PeerId, Verdict},
    role::Role,
    session::State,
    speaker::{Event, PeerSettings},
};
use tests::sim::{LinkId, Net, Pair, RouterId, peer_settings, router_config};

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn prefix(text: &str) -> Prefix {
    text.parse().expect("a prefix")
}

const LATENCY: std::ops::Range<Duration> = Duration::from_millis(1)..Duration::from_millis(20);

/// A session between two routers with adjusted settings (the first's of the second first).
fn join(
    net: &mut Net,
    ends: [RouterId; 2],
    adjust: impl Fn(&mut PeerSettings, &mut PeerSettings),
) -> LinkId {
    let [a, b] = ends.map(|end| net.router(end).config.clone());
    let (mut of_a, mut of_b) = (peer_settings(&a, &b), peer_settings(&b, &a));
    adjust(&mut of_a, &mut of_b);
    net.link(ends, [of_a, of_b], LATENCY)
}

/// Two clients that originate one prefix, a reflector, and a client that hears of it from there.
fn through_a_reflector(seed: u64, add_path: AddPath) -> (Net, [RouterId; 4]) {
    let mut net = Net::new(seed);
    let [x, y, reflector, client] = [0, 1, 2, 3].map(|n| net.add_router(router_config(n, 65000)));
    for router in [x, y, client] {
        join(&mut net, [router, reflector], |of_router, of_reflector| {
            of_reflector.rib.route_reflector_client = true;
            if router == client {
                of_reflector.session.add_path_send = FamilySet::ALL;
                of_reflector.rib.add_path = add_path;
                of_router.session.add_path_receive = FamilySet::ALL;
            }
        });
    }
    net.start();
    assert!(net.advance_until(secs(60), Net::is_established), "seed {seed}");
    for router in [x, y] {
        net.originate(router, prefix("10.9.0.0/16"));
    }
    net.advance(secs(5));
    (net, [x, y, reflector, client])
}

/// The next hops that a router uses for the prefix, in order.
fn next_hops(net: &Net, router: RouterId) -> Vec<String> {
    let paths = net.router(router).table.get(&prefix("10.9.0.0/16")).into_iter().flatten();
    let mut hops: Vec<_> = paths.map(|path| path.attrs.next_hop.to_string()).collect();
    hops.sort();
    hops
}

#[test]
fn rfc7911_a_client_has_every_path_through_its_reflector_and_keeps_one_when_the_other_goes() {
    for seed in 0..10 {
        let (mut net, [x, y, _, client]) = through_a_reflector(seed, AddPath::All);
        assert_eq!(next_hops(&net, client), ["10.0.0.1", "10.0.0.2"], "seed {seed}");
        net.withdraw(x, prefix("10.9.0.0/16"));
        // Not for a moment without: the other path was there before.
        let lacks = |net: &Net| next_hops(net, client).is_empty();
        assert!(!net.advance_until(secs(5), lacks), "seed {seed}");
        assert_eq!(next_hops(&net, client), ["10.0.0.2"], "seed {seed}");
        net.originate(x, prefix("10.9.0.0/16"));
        net.kill(y);
        net.advance(secs(5));
        assert_eq!(next_hops(&net, client), ["10.0.0.1"], "seed {seed}");
    }
}

#[test]
fn rfc7911_the_best_one_is_all_that_a_client_hears_if_that_is_what_the_reflector_wants() {
    let best = AddPath::Best(NonZeroU8::MIN);
    let (mut net, [x, _, reflector, client]) = through_a_reflector(1, best);
    assert_eq!(next_hops(&net, reflector).len(), 2);
    assert_eq!(next_hops(&net, client), ["10.0.0.1"]);
    net.kill(x);
    net.advance(secs(5));
    assert_eq!(next_hops(&net, client), ["10.0.0.2"]);
}

#[test]
fn rfc4486_4_a_peer_over_its_limit_is_stopped_and_tried_again_later_without_flapping() {
    let at_limit = AtLimit::Stop { restart_after: Some(secs(300)) };
    let limit = PrefixLimit { max: 3, warn_from: 2, counted: Counted::Received, at_limit };
    let mut pair = Pair::established_with(1, |of_a, _| {
        of_a.rib.max_prefixes.ipv4 = Some(limit);
    });
    let (a, b) = (pair.a, pair.b);
    for n in 1..=4 {
        pair.net.originate(b, prefix(&format!("10.{n}.0.0/16")));
        pair.net.advance(secs(2));
    }
    let kinds: Vec<_> = pair.net.router(a).limits.iter().map(|(_, event)| event.kind).collect();
    assert_eq!(kinds, [LimitKind::Near, LimitKind::Stop]);
    assert_eq!(pair.state(a), State::Idle);
    assert!(pair.net.router(a).table.is_empty(), "nothing of it is kept");
    // It hears why, and then that it is not welcome.
    let causes: Vec<_> = pair.changes(b).iter().map(|change| change.cause.to_string()).collect();
    assert!(causes.iter().any(|cause| cause.contains("Prefixes")), "{causes:?}");

    pair.net.advance(secs(280));
    assert_eq!(pair.times_in(a, State::Established).len(), 1, "no flapping meanwhile");
    pair.net.withdraw(b, prefix("10.4.0.0/16"));
    assert!(pair.joins_within(secs(200)), "{} {}", pair.last_error(a), pair.last_error(b));
    pair.net.advance(secs(10));
    assert_eq!(pair.net.router(a).table.len(), 3);
}

#[test]
fn rfc7313_a_refresh_while_routes_change_loses_and_keeps_nothing_that_it_should_not() {
    for seed in 0..20 {
        let mut pair = Pair::established(seed);
        let (a, b) = (pair.a, pair.b);
        let all: Vec<_> = (0..40).map(|n| prefix(&format!("10.{n}.0.0/16"))).collect();
        for prefix in &all {
            pair.net.originate(b, *prefix);
        }
        pair.net.advance(secs(5));
        let stays: Vec<_> = all[20..].to_vec();
        let lacks =
            move |net: &Net| stays.iter().any(|prefix| !net.router(a).table.contains_key(prefix));
        for (n, prefix) in all[..20].iter().enumerate() {
            if n % 3 == 0 {
                pair.net.tell(a, Event::Refresh(PeerId(0), Family::Ipv4Unicast));
            }
            pair.net.withdraw(b, *prefix);
            let pause = pair.net.dice().duration(&(Duration::ZERO..Duration::from_millis(60)));
            assert!(!pair.net.advance_until(pause, &lacks), "seed {seed}");
        }
        assert!(!pair.net.advance_until(secs(10), &lacks), "seed {seed}");
        assert_eq!(pair.net.router(a).table.len(), 20, "seed {seed}");
        let (marks, requests) = pair.session(a).counters();
        assert_eq!(requests.refreshes, 7);
        // Each answer has an end; a request in the middle of one begins it anew.
        assert!((8..=14).contains(&marks.refreshes), "{}", marks.refreshes);
    }
}

/// A provider above, a customer below in the middle of two providers: what it hears from one must
/// not get to the other, unless it forgets its role.
fn between_providers(middle_has_role: bool) -> (Net, [RouterId; 3]) {
    let mut net = Net::new(3);
    let [left, middle, right] =
        [(0, 65001), (1, 65002), (2, 65003)].map(|(n, asn)| net.add_router(router_config(n, asn)));
    for provider in [left, right] {
        join(&mut net, [provider, middle], |of_provider, of_middle| {
            of_provider.session.role = Some(Role::Provider);
            if middle_has_role {
                of_middle.session.role = Some(Role::Customer);
            }
        });
    }
    net.start();
    assert!(net.advance_until(secs(60), Net::is_established));
    net.originate(left, prefix("10.1.0.0/16"));
    net.originate(middle, prefix("10.2.0.0/16"));
    net.advance(secs(5));
    (net, [left, middle, right])
}

#[test]
fn rfc9234_a_customer_with_a_role_does_not_pass_on_what_a_provider_told_it() {
    let (net, [_, middle, right]) = between_providers(true);
    assert!(net.router(middle).table.contains_key(&prefix("10.1.0.0/16")));
    assert!(!net.router(right).table.contains_key(&prefix("10.1.0.0/16")));
    assert!(net.router(right).table.contains_key(&prefix("10.2.0.0/16")), "its own it does");
}

#[test]
fn rfc9234_a_leak_of_a_customer_that_forgets_its_role_is_stopped_by_the_provider() {
    let (net, [_, middle, right]) = between_providers(false);
    assert!(net.router(middle).table.contains_key(&prefix("10.1.0.0/16")));
    assert!(!net.router(right).table.contains_key(&prefix("10.1.0.0/16")));
    let received = net.speaker(right).expect("it runs").rib().received(PeerId(1));
    let leaked = received.iter().find(|(of, _)| *of == prefix("10.1.0.0/16")).expect("it came");
    assert!(matches!(leaked.1.verdict, Verdict::Ineligible(_)));
    assert!(leaked.1.verdict.to_string().contains("leak"), "{}", leaked.1.verdict);
}

fn restart(stale_path_time: Duration) -> GracefulRestart {
    let restart_time = RestartTime::new(60).expect("in range");
    GracefulRestart { restart_time, stale_path_time, ..GracefulRestart::default() }
}

/// b, which restarts, between a and c. Established, with a route of each at all of them.
fn in_a_row(seed: u64, restart: &GracefulRestart) -> (Net, [RouterId; 3], [LinkId; 2]) {
    let mut net = Net::new(seed);
    let [a, b, c] =
        [(0, 65001), (1, 65002), (2, 65003)].map(|(n, asn)| net.add_router(router_config(n, asn)));
    let links = [a, c].map(|other| {
        join(&mut net, [other, b], |of_other, of_b| {
            of_other.session.graceful_restart = Some(restart.clone());
            of_b.session.graceful_restart = Some(restart.clone());
        })
    });
    net.start();
    for (router, text) in [(a, "10.1.0.0/16"), (b, "10.2.0.0/16"), (c, "10.3.0.0/16")] {
        net.originate(router, prefix(text));
    }
    assert!(net.advance_until(secs(60), Net::is_established), "seed {seed}");
    net.advance(secs(10));
    for router in [a, b, c] {
        assert_eq!(net.router(router).table.len(), 3, "seed {seed}");
    }
    (net, [a, b, c], links)
}

/// b boots from here on as one that has restarted, and waits so long for those around it.
fn as_restarted(net: &mut Net, b: RouterId, links: [LinkId; 2], deferral: Duration) {
    for link in links {
        net.reconfigure(link, b, |settings| {
            let restart = settings.session.graceful_restart.as_mut().expect("it is on");
            restart.restarted = Some(Restarted { forwarding: FamilySet::ALL, deferral });
        });
    }
}

#[test]
fn rfc4724_4_1_a_restarted_router_tells_its_own_at_once_and_others_routes_when_all_are_heard() {
    for seed in 0..10 {
        let (mut net, [a, b, c], links) = in_a_row(seed, &restart(secs(100)));
        as_restarted(&mut net, b, links, secs(40));
        net.kill(b);
        net.kill(c);
        net.withdraw(b, prefix("10.2.0.0/16"));
        net.originate(b, prefix("10.22.0.0/16"));
        net.boot(b);
        // c is away: its routes are not there, but what a has of them stays for now.
        let lacks = |net: &Net| !net.router(a).table.contains_key(&prefix("10.3.0.0/16"));
        let own = |net: &Net| net.router(a).table.contains_key(&prefix("10.22.0.0/16"));
        assert!(net.advance_until(secs(15), own), "seed {seed}: own routes are not held back");
        assert!(!net.advance_until(secs(15), lacks), "seed {seed}");
        net.boot(c);
        net.advance(secs(60));
        assert!(!lacks(&net) && net.is_established(), "seed {seed}");
        assert!(!net.router(a).table.contains_key(&prefix("10.2.0.0/16")), "gone with the end");
    }
}

#[test]
fn rfc4724_4_1_the_wait_for_a_peer_that_stays_away_is_bounded() {
    let (mut net, [a, b, c], links) = in_a_row(5, &restart(secs(100)));
    as_restarted(&mut net, b, links, secs(40));
    net.kill(b);
    net.power_off(c);
    net.boot(b);
    net.advance(secs(35));
    assert!(net.router(a).table.contains_key(&prefix("10.3.0.0/16")), "stale, but kept");
    net.advance(secs(10));
    // The deferral is over: b ends its transfer, and what c had is gone with it.
    assert!(!net.router(a).table.contains_key(&prefix("10.3.0.0/16")));
    assert!(net.router(a).table.contains_key(&prefix("10.2.0.0/16")));
}

#[test]
fn rfc4724_4_2_a_peer_that_is_back_but_never_comes_to_an_end_is_given_a_time() {
    // b waits for c for ever, as far as a is concerned, and sends no End-of-RIB meanwhile.
    let (mut net, [a, b, c], links) = in_a_row(6, &restart(secs(30)));
    as_restarted(&mut net, b, links, secs(1000));
    net.kill(b);
    net.power_off(c);
    net.boot(b);
    net.advance(secs(25));
    assert!(net.router(a).table.contains_key(&prefix("10.3.0.0/16")));
    net.advance(secs(30));
    assert!(!net.router(a).table.contains_key(&prefix("10.3.0.0/16")));
    assert!(net.router(a).table.contains_key(&prefix("10.2.0.0/16")), "what it said is true");
}

/// b dies again before it has said all that it said before: what becomes of c's route at a.
fn a_restart_within_a_restart(notification: bool, kept: bool) {
    for seed in 0..20 {
        let restart = GracefulRestart { notification, ..restart(secs(100)) };
        let (mut net, [a, b, c], links) = in_a_row(seed, &restart);
        as_restarted(&mut net, b, links, secs(500));
        net.power_off(c);
        net.kill(b);
        net.boot(b);
        let back = |net: &Net| net.is_joined(links[0]);
        assert!(net.advance_until(secs(30), back), "seed {seed}");
        net.advance(secs(2));
        // What is of b itself has been said again, what is of c has not.
        net.kill(b);
        net.advance(secs(1));
        let table = &net.router(a).table;
        assert!(table.contains_key(&prefix("10.2.0.0/16")), "seed {seed}");
        assert_eq!(table.contains_key(&prefix("10.3.0.0/16")), kept, "seed {seed}");
        net.boot(b);
        net.advance(secs(20));
        assert!(net.router(a).table.contains_key(&prefix("10.2.0.0/16")), "seed {seed}");
        // Whatever b goes on waiting for, its time is bounded.
        net.advance(secs(100));
        assert!(!net.router(a).table.contains_key(&prefix("10.3.0.0/16")), "seed {seed}");
    }
}

#[test]
fn rfc4724_4_2_a_restart_within_a_restart_ends_what_was_stale_and_keeps_what_is_new() {
    a_restart_within_a_restart(false, false);
}

#[test]
fn rfc8538_4_1_a_restart_within_a_restart_ends_nothing_if_both_agree() {
    a_restart_within_a_restart(true, true);
}
