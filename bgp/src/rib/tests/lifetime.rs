//! Peers that restart, stay away for long, or say everything again.

use super::*;
use crate::community::Community;

const IPV4: FamilySet = FamilySet::of(Family::Ipv4Unicast);

/// Peer 1 has announced two prefixes, and peer 2 was told of both.
fn after_learning() -> Rib {
    let mut rib = router();
    rib.peer_up(PeerId(1), peer(1, 65001));
    rib.peer_up(PeerId(2), peer(2, 65002));
    rib.update(PeerId(1), &announce(&["10.1.0.0/16", "10.2.0.0/16"], path(1, &[65001])));
    rib.update(PeerId(1), &announce(&["fd00:1::/64"], path_v6(1, &[65001])));
    pull(&mut rib, 2);
    drain_best(&mut rib);
    rib
}

fn down(rib: &mut Rib, retain: FamilySet) {
    rib.peer_down(PeerId(1), retain, &Cause::Closed, Timestamp::UNKNOWN);
}

fn end_of_rib(family: Family) -> Update {
    Update { end_of_rib: Some(family), ..Update::default() }
}

fn counts(rib: &Rib) -> [usize; 2] {
    let counts = rib.peer_counts(PeerId(1), Family::Ipv4Unicast);
    [counts.received, counts.stale]
}

fn freshness(rib: &Rib, text: &str) -> Option<Freshness> {
    let received = rib.received(PeerId(1)).into_iter();
    let mut views = received.filter(|(of, _)| *of == prefix(text)).map(|(_, view)| view.freshness);
    views.next()
}

#[test]
fn rfc4724_4_2_routes_of_a_restarting_peer_are_kept_and_used_until_its_end_of_rib() {
    let mut rib = after_learning();
    down(&mut rib, IPV4);
    assert_eq!(drain_best(&mut rib), [("fd00:1::/64".to_owned(), vec![])]);
    assert_eq!(pull(&mut rib, 2), [Advertisement::Withdraw(vec![nlri("fd00:1::/64")])]);
    assert_eq!(freshness(&rib, "10.1.0.0/16"), Some(Freshness::Stale));
    assert_eq!(counts(&rib), [2, 2]);

    rib.peer_up(PeerId(1), peer(1, 65001));
    rib.update(PeerId(1), &announce(&["10.1.0.0/16"], path(1, &[65001])));
    assert_eq!(freshness(&rib, "10.1.0.0/16"), Some(Freshness::Current));
    assert_eq!(freshness(&rib, "10.2.0.0/16"), Some(Freshness::Stale));
    assert_eq!(counts(&rib), [2, 1]);
    assert_eq!(drain_best(&mut rib), [], "the same routes: nobody else hears of the restart");
    assert_eq!(pull(&mut rib, 2), []);

    rib.update(PeerId(1), &end_of_rib(Family::Ipv6Unicast));
    assert_eq!(counts(&rib), [2, 1], "the other family's");
    rib.update(PeerId(1), &end_of_rib(Family::Ipv4Unicast));
    assert_eq!(drain_best(&mut rib), [("10.2.0.0/16".to_owned(), vec![])]);
    assert_eq!(counts(&rib), [1, 0]);
}

#[test]
fn rfc4724_4_2_a_route_announced_anew_replaces_the_stale_one() {
    let mut rib = after_learning();
    down(&mut rib, IPV4);
    pull(&mut rib, 2);
    rib.peer_up(PeerId(1), peer(1, 65001));
    rib.update(PeerId(1), &announce(&["10.1.0.0/16"], path(1, &[65001, 65009])));
    assert_eq!(freshness(&rib, "10.1.0.0/16"), Some(Freshness::Current));
    assert_eq!(told(&mut rib, 2).as_path, AsPath::sequence([US.0, 65001, 65009]));
    rib.update(PeerId(1), &withdraw(&["10.2.0.0/16"]));
    assert_eq!(counts(&rib), [1, 0]);
}

#[test]
fn rfc4724_4_2_stale_routes_go_when_the_session_says_so_and_nothing_of_the_peer_is_left() {
    let mut rib = after_learning();
    down(&mut rib, FamilySet::ALL);
    rib.stale_expired(PeerId(1), IPV4);
    assert_eq!(counts(&rib), [0, 0]);
    assert_eq!(rib.received(PeerId(1)).len(), 1);
    rib.stale_expired(PeerId(1), FamilySet::ALL);
    assert_eq!(rib.received(PeerId(1)), []);
    assert!(!rib.peers.contains_key(&PeerId(1)));
    assert_eq!(rib.best_count(Family::Ipv6Unicast), 0);
}

#[test]
fn rfc4724_4_2_a_second_loss_before_end_of_rib_ends_what_was_stale_and_keeps_what_is_new() {
    let mut rib = after_learning();
    down(&mut rib, IPV4);
    rib.peer_up(PeerId(1), peer(1, 65001));
    rib.update(PeerId(1), &announce(&["10.1.0.0/16"], path(1, &[65001])));
    // As the session says it.
    rib.stale_expired(PeerId(1), IPV4);
    down(&mut rib, IPV4);
    assert_eq!(counts(&rib), [1, 1]);
    assert_eq!(freshness(&rib, "10.1.0.0/16"), Some(Freshness::Stale));
}

#[test]
fn a_family_that_the_new_session_does_not_have_loses_its_stale_routes_at_once() {
    let mut rib = after_learning();
    down(&mut rib, FamilySet::ALL);
    drain_best(&mut rib);
    rib.peer_up(PeerId(1), PeerUp { families: IPV4, ..peer(1, 65001) });
    assert_eq!(drain_best(&mut rib), [("fd00:1::/64".to_owned(), vec![])]);
    assert_eq!(counts(&rib), [2, 2]);
}

#[test]
fn stale_routes_are_judged_by_who_the_peer_is_now() {
    let mut rib = after_learning();
    down(&mut rib, IPV4);
    drain_best(&mut rib);
    let mut up = peer(1, 65001);
    up.config.import = None;
    rib.peer_up(PeerId(1), up);
    assert_eq!(drain_best(&mut rib).len(), 2, "eBGP without a policy: both are out");
    assert_eq!(counts(&rib), [2, 2]);
}

#[test]
fn policies_change_what_is_stale_too() {
    let mut rib = after_learning();
    down(&mut rib, IPV4);
    drain_best(&mut rib);
    let config = RibPeerConfig { import: None, ..peer(1, 65001).config };
    rib.set_policies(PeerId(1), config);
    assert_eq!(drain_best(&mut rib).len(), 2);
}

#[test]
fn nothing_is_taken_from_a_peer_whose_session_is_down() {
    let mut rib = after_learning();
    down(&mut rib, IPV4);
    rib.update(PeerId(1), &announce(&["10.3.0.0/16"], path(1, &[65001])));
    rib.update(PeerId(1), &withdraw(&["10.1.0.0/16"]));
    rib.refresh(PeerId(1), Family::Ipv4Unicast);
    assert_eq!(counts(&rib), [2, 2]);
    assert_eq!(rib.poll_advertisements(PeerId(1), 10), []);
    assert_eq!(rib.poll_ready(), Some(PeerId(2)), "only the other");
    assert_eq!(rib.poll_ready(), None);
}

#[test]
fn rfc9494_4_2_long_lived_stale_routes_are_marked_and_the_last_choice() {
    let mut rib = after_learning();
    rib.update(PeerId(2), &announce(&["10.1.0.0/16"], path(2, &[65002, 65008, 65009])));
    down(&mut rib, IPV4);
    drain_best(&mut rib);
    rib.long_lived(PeerId(1), IPV4);
    let best: Vec<_> = std::iter::from_fn(|| rib.poll_best()).collect();
    let used = |text| &best.iter().find(|change| change.prefix == prefix(text)).unwrap().paths[0];
    assert_eq!(used("10.1.0.0/16").peer, Some(PeerId(2)), "a longer path, but a fresh one");
    let only = used("10.2.0.0/16");
    assert_eq!(only.peer, Some(PeerId(1)), "better than nothing");
    assert_eq!(only.attrs.communities, [Community::LLGR_STALE]);
    assert_eq!(freshness(&rib, "10.2.0.0/16"), Some(Freshness::LongLived));
    let views: Vec<_> = rib.routes().next().unwrap().1;
    assert_eq!(views[1].verdict, Verdict::Lost(Step::LongLivedStale));

    // Back, and as good as ever.
    rib.peer_up(PeerId(1), peer(1, 65001));
    rib.update(PeerId(1), &announce(&["10.1.0.0/16", "10.2.0.0/16"], path(1, &[65001])));
    let best = drain_best(&mut rib);
    assert_eq!(best[0], ("10.1.0.0/16".to_owned(), vec![Some(1)]));
    assert!(rib.routes().all(|(_, views)| !views[0].attrs.has(Community::LLGR_STALE)));
    assert_eq!(counts(&rib), [2, 0]);
}

#[test]
fn rfc9494_4_2_a_route_with_no_llgr_does_not_outlive_the_restart_time() {
    let mut rib = after_learning();
    let mut attrs = path(1, &[65001]);
    attrs.add(Community::NO_LLGR);
    rib.update(PeerId(1), &announce(&["10.1.0.0/16"], attrs));
    down(&mut rib, IPV4);
    assert_eq!(counts(&rib), [2, 2]);
    rib.long_lived(PeerId(1), IPV4);
    assert_eq!(counts(&rib), [1, 1]);
    assert_eq!(freshness(&rib, "10.1.0.0/16"), None);
}

#[test]
fn rfc9494_4_3_a_route_that_comes_with_llgr_stale_is_the_last_choice_as_well() {
    let mut rib = after_learning();
    let mut attrs = path(2, &[65002]);
    attrs.local_pref = Some(1000);
    attrs.add(Community::LLGR_STALE);
    rib.update(PeerId(2), &announce(&["10.1.0.0/16"], attrs));
    assert_eq!(verdict(&rib, 2), Verdict::Lost(Step::LongLivedStale));
}

#[test]
fn rfc7313_4_what_a_refresh_leaves_out_is_gone_at_its_end() {
    let mut rib = after_learning();
    rib.refresh_begin(PeerId(1), Family::Ipv4Unicast);
    rib.update(PeerId(1), &announce(&["10.1.0.0/16"], path(1, &[65001])));
    assert_eq!(drain_best(&mut rib), [], "all is used until the end");
    rib.refresh_end(PeerId(1), Family::Ipv4Unicast);
    assert_eq!(drain_best(&mut rib), [("10.2.0.0/16".to_owned(), vec![])]);
    assert_eq!(rib.received(PeerId(1)).len(), 2, "the other family is as it was");
    rib.refresh_end(PeerId(1), Family::Ipv4Unicast);
    assert_eq!(counts(&rib), [1, 0], "an end without a beginning means nothing");
}

#[test]
fn rfc7313_4_a_second_beginning_starts_over() {
    let mut rib = after_learning();
    rib.refresh_begin(PeerId(1), Family::Ipv4Unicast);
    rib.update(PeerId(1), &announce(&["10.1.0.0/16"], path(1, &[65001])));
    rib.refresh_begin(PeerId(1), Family::Ipv4Unicast);
    rib.update(PeerId(1), &announce(&["10.2.0.0/16"], path(1, &[65001])));
    rib.refresh_end(PeerId(1), Family::Ipv4Unicast);
    assert_eq!(drain_best(&mut rib), [("10.1.0.0/16".to_owned(), vec![])]);
}

#[test]
fn rfc7313_4_a_beginning_before_the_end_of_rib_of_a_restarting_peer_is_ignored() {
    let mut rib = router();
    let mut up = peer(1, 65001);
    up.options.graceful_restart = true;
    rib.peer_up(PeerId(1), up);
    rib.update(PeerId(1), &announce(&["10.1.0.0/16"], path(1, &[65001])));
    rib.refresh_begin(PeerId(1), Family::Ipv4Unicast);
    rib.refresh_end(PeerId(1), Family::Ipv4Unicast);
    assert_eq!(counts(&rib), [1, 0]);
    rib.update(PeerId(1), &end_of_rib(Family::Ipv4Unicast));
    rib.refresh_begin(PeerId(1), Family::Ipv4Unicast);
    rib.refresh_end(PeerId(1), Family::Ipv4Unicast);
    assert_eq!(counts(&rib), [0, 0]);
}

#[test]
fn a_refresh_that_the_end_of_the_session_cuts_off_leaves_no_trace() {
    let mut rib = after_learning();
    rib.refresh_begin(PeerId(1), Family::Ipv4Unicast);
    down(&mut rib, IPV4);
    rib.peer_up(PeerId(1), peer(1, 65001));
    rib.refresh_end(PeerId(1), Family::Ipv4Unicast);
    assert_eq!(counts(&rib), [2, 2]);
}

/// A router that has restarted and waits for peers 1 and 3; peer 2 is up.
fn restarted() -> Rib {
    let mut rib = router();
    rib.defer_for([PeerId(1), PeerId(3)]);
    rib.originate(prefix("10.9.0.0/16"), Arc::new(Attrs::originated(hop("0.0.0.0"))));
    rib.peer_up(PeerId(1), peer(1, 65001));
    rib.peer_up(PeerId(2), peer(2, 65002));
    rib.update(PeerId(1), &announce(&["10.1.0.0/16"], path(1, &[65001])));
    rib
}

/// The prefixes that a peer is told now, and whether it hears of the end.
fn heard(rib: &mut Rib, n: u32) -> (Vec<String>, bool) {
    let news: Vec<_> = std::iter::from_fn(|| {
        Some(rib.poll_advertisements(PeerId(n), 1)).filter(|news| !news.is_empty())
    })
    .flatten()
    .collect();
    let mut prefixes = Vec::new();
    for piece in &news {
        if let Advertisement::Reach { prefixes: some, .. } = piece {
            prefixes.extend(some.iter().map(ToString::to_string));
        }
    }
    prefixes.sort();
    let end = news.contains(&Advertisement::EndOfRib(Family::Ipv4Unicast));
    (prefixes, end)
}

#[test]
fn rfc4724_4_1_after_a_restart_our_own_routes_go_out_at_once_and_others_when_all_peers_are_heard() {
    let mut rib = restarted();
    for n in [1, 2] {
        assert_eq!(heard(&mut rib, n), (vec!["10.9.0.0/16".to_owned()], false));
    }
    assert_eq!(rib.advertised(PeerId(2))[0].outcome, Err(NotAdvertised::Deferred));
    while rib.poll_ready().is_some() {}
    rib.deferral_over(PeerId(1));
    rib.deferral_over(PeerId(1));
    assert_eq!(rib.deferred_for().collect::<Vec<_>>(), [PeerId(3)]);
    assert_eq!(rib.poll_ready(), None, "nothing to say, and nobody is bothered");
    rib.deferral_over(PeerId(3));
    assert_eq!(rib.poll_ready(), Some(PeerId(1)));
    assert_eq!(rib.poll_ready(), Some(PeerId(2)));
    assert_eq!(heard(&mut rib, 2), (vec!["10.1.0.0/16".to_owned()], true));
    assert_eq!(heard(&mut rib, 1), (vec![], true));
}

#[test]
fn rfc4724_4_1_the_kernel_has_learned_routes_while_peers_are_waited_for() {
    let mut rib = restarted();
    assert!(drain_best(&mut rib).contains(&("10.1.0.0/16".to_owned(), vec![Some(1)])));
}

#[test]
fn a_peer_that_comes_up_after_the_deferral_hears_everything_at_once() {
    let mut rib = restarted();
    rib.deferral_over(PeerId(1));
    rib.deferral_over(PeerId(3));
    rib.peer_up(PeerId(3), peer(3, 65003));
    let all = vec!["10.1.0.0/16".to_owned(), "10.9.0.0/16".to_owned()];
    assert_eq!(heard(&mut rib, 3), (all, true));
}
