//! Pulling: what readers get, when, and what it costs if they do not.

use super::*;
use crate::policy::{Condition, Decision, PrefixMatch, Statement};

fn two_peers() -> Rib {
    let mut rib = router();
    rib.peer_up(PeerId(1), peer(1, 65001));
    rib.peer_up(PeerId(2), peer(2, 65002));
    for n in [1, 2] {
        pull(&mut rib, n);
    }
    while rib.poll_ready().is_some() {}
    rib
}

#[test]
fn a_new_peer_gets_everything_and_then_end_of_rib_once_a_family() {
    let mut rib = router();
    rib.peer_up(PeerId(1), peer(1, 65001));
    rib.update(PeerId(1), &announce(&["10.1.0.0/16", "10.2.0.0/16"], path(1, &[65001])));
    rib.peer_up(PeerId(2), peer(2, 65002));
    let first = rib.poll_advertisements(PeerId(2), 1);
    assert!(matches!(&first[..], [Advertisement::Reach { prefixes, .. }] if prefixes.len() == 1));
    let second = rib.poll_advertisements(PeerId(2), 1);
    assert!(matches!(&second[..], [Advertisement::Reach { prefixes, .. }] if prefixes.len() == 1));
    let ends = Family::ALL.map(Advertisement::EndOfRib);
    assert_eq!(rib.poll_advertisements(PeerId(2), 1), ends);
    rib.update(PeerId(1), &announce(&["10.3.0.0/16"], path(1, &[65001])));
    rib.refresh(PeerId(2), Family::Ipv4Unicast);
    let later = rib.poll_advertisements(PeerId(2), 100);
    assert!(!later.iter().any(|piece| ends.contains(piece)), "{later:?}");
    assert_eq!(rib.poll_advertisements(PeerId(2), 100), []);
}

#[test]
fn rfc4724_2_end_of_rib_comes_also_when_there_is_nothing_to_tell() {
    let mut rib = router();
    let mut up = peer(1, 65001);
    up.families = [Family::Ipv6Unicast].into_iter().collect();
    rib.peer_up(PeerId(1), up);
    assert_eq!(rib.poll_ready(), Some(PeerId(1)));
    let expected = [Advertisement::EndOfRib(Family::Ipv6Unicast)];
    assert_eq!(rib.poll_advertisements(PeerId(1), 10), expected);
    assert_eq!(rib.poll_ready(), None);
}

#[test]
fn a_change_during_the_initial_transfer_does_not_put_off_end_of_rib() {
    let mut rib = router();
    rib.peer_up(PeerId(1), peer(1, 65001));
    rib.update(PeerId(1), &announce(&["10.1.0.0/16", "10.2.0.0/16"], path(1, &[65001])));
    rib.peer_up(PeerId(2), peer(2, 65002));
    let mut pulls = 0;
    loop {
        pulls += 1;
        assert!(pulls < 5, "End-of-RIB starves");
        let told = rib.poll_advertisements(PeerId(2), 1);
        if told.contains(&Advertisement::EndOfRib(Family::Ipv4Unicast)) {
            break;
        }
        // What was told first changes again each time.
        let hops: Vec<_> = std::iter::repeat_n(65001, pulls + 1).collect();
        rib.update(PeerId(1), &announce(&["10.1.0.0/16"], path(1, &hops)));
    }
}

#[test]
fn prefixes_with_equal_attributes_are_told_together_and_withdrawals_first() {
    let mut rib = two_peers();
    rib.update(PeerId(1), &announce(&["10.9.0.0/16"], path(1, &[65001])));
    pull(&mut rib, 2);
    rib.update(PeerId(1), &announce(&["10.1.0.0/16"], path(1, &[65001])));
    rib.update(PeerId(1), &announce(&["10.2.0.0/16"], path(1, &[65001, 65009])));
    rib.update(PeerId(1), &announce(&["10.3.0.0/16"], path(1, &[65001])));
    rib.update(PeerId(1), &withdraw(&["10.9.0.0/16"]));
    let told = pull(&mut rib, 2);
    let [Advertisement::Withdraw(gone), groups @ ..] = &told[..] else { panic!("{told:?}") };
    assert_eq!(gone, &[nlri("10.9.0.0/16")]);
    let sizes: Vec<_> = groups
        .iter()
        .map(|piece| match piece {
            Advertisement::Reach { prefixes, .. } => prefixes.len(),
            Advertisement::Withdraw(_)
            | Advertisement::EndOfRib(_)
            | Advertisement::RefreshBegin(_)
            | Advertisement::RefreshEnd(_) => 0,
        })
        .collect();
    assert_eq!(sizes, [2, 1]);
}

#[test]
fn rfc4271_4_3_withdrawn_and_announced_in_one_message_is_announced() {
    let mut rib = two_peers();
    let mut update = announce(&["10.1.0.0/16"], path(1, &[65001]));
    update.withdrawn = vec![nlri("10.1.0.0/16")];
    for _ in 0..2 {
        rib.update(PeerId(1), &update);
        assert_eq!(verdict(&rib, 1), Verdict::Best);
    }
    assert_eq!(told(&mut rib, 2).as_path, AsPath::sequence([US.0, 65001]));
}

#[test]
fn the_same_announcement_again_changes_nothing() {
    let mut rib = two_peers();
    let update = announce(&["10.1.0.0/16"], path(1, &[65001]));
    rib.update(PeerId(1), &update);
    pull(&mut rib, 2);
    drain_best(&mut rib);
    while rib.poll_ready().is_some() {}
    rib.update(PeerId(1), &update);
    assert_eq!(rib.poll_ready(), None);
    assert_eq!(drain_best(&mut rib), []);
    assert_eq!(rib.poll_advertisements(PeerId(2), 10), []);
}

/// RFC 4271 §9.2: a change of the best path that looks the same outside is not told.
#[test]
fn a_new_best_path_that_looks_the_same_to_a_peer_is_not_told() {
    let mut rib = two_peers();
    rib.peer_up(PeerId(3), peer(3, 65001));
    rib.update(PeerId(3), &announce(&["10.1.0.0/16"], path(3, &[65001])));
    pull(&mut rib, 2);
    rib.update(PeerId(1), &announce(&["10.1.0.0/16"], path(1, &[65001])));
    assert_eq!(verdict(&rib, 1), Verdict::Best);
    assert_eq!(pull(&mut rib, 2), []);
}

#[test]
fn a_slow_peer_costs_the_newest_state_of_each_prefix_and_no_more() {
    let mut rib = two_peers();
    for round in 0..1000_u32 {
        let attrs = path(1, &[65001, 1 + round % 7]);
        rib.update(PeerId(1), &announce(&["10.1.0.0/16", "10.2.0.0/16"], attrs));
        rib.update(PeerId(1), &withdraw(&["10.2.0.0/16"]));
    }
    let named: Vec<_> = std::iter::from_fn(|| rib.poll_ready()).collect();
    assert_eq!(named.iter().filter(|peer| **peer == PeerId(2)).count(), 1);
    assert_eq!(told(&mut rib, 2).as_path, AsPath::sequence([US.0, 65001, 1 + 999 % 7]));
    assert_eq!(drain_best(&mut rib), [("10.1.0.0/16".to_owned(), vec![Some(1)])]);
}

#[test]
fn a_peer_is_named_once_until_it_pulls_and_again_while_there_is_more() {
    let mut rib = two_peers();
    rib.update(PeerId(1), &announce(&["10.1.0.0/16", "10.2.0.0/16"], path(1, &[65001])));
    assert_eq!(rib.poll_ready(), Some(PeerId(1)));
    assert_eq!(rib.poll_ready(), Some(PeerId(2)));
    rib.update(PeerId(1), &announce(&["10.3.0.0/16"], path(1, &[65001])));
    assert_eq!(rib.poll_ready(), None, "named already and has not pulled");
    rib.poll_advertisements(PeerId(2), 1);
    assert_eq!(rib.poll_ready(), Some(PeerId(2)), "two are left");
    rib.poll_advertisements(PeerId(2), 10);
    assert_eq!(rib.poll_ready(), None);
}

#[test]
fn rfc2918_a_refresh_tells_one_family_again_and_no_other() {
    let mut rib = two_peers();
    rib.update(PeerId(1), &announce(&["10.1.0.0/16"], path(1, &[65001])));
    rib.originate(prefix("fd00::/64"), Arc::new(Attrs::originated(hop("::"))));
    assert_eq!(pull(&mut rib, 2).len(), 2);
    rib.refresh(PeerId(2), Family::Ipv4Unicast);
    assert_eq!(rib.peer_counts(PeerId(2), Family::Ipv4Unicast).advertised, 1);
    assert_eq!(told(&mut rib, 2).as_path, AsPath::sequence([US.0, 65001]));
    assert_eq!(pull(&mut rib, 2), []);
}

fn refreshing(graceful_restart: bool) -> Rib {
    let mut rib = two_peers();
    rib.update(PeerId(1), &announce(&["10.1.0.0/16", "10.2.0.0/16"], path(1, &[65001])));
    let mut up = peer(3, 65003);
    up.options.enhanced_refresh = true;
    up.options.graceful_restart = graceful_restart;
    rib.peer_up(PeerId(3), up);
    rib
}

#[test]
fn rfc7313_4_the_answer_to_a_refresh_is_marked_at_both_ends() {
    let mut rib = refreshing(false);
    pull(&mut rib, 3);
    rib.refresh(PeerId(3), Family::Ipv4Unicast);
    let marks = [
        Advertisement::RefreshBegin(Family::Ipv4Unicast),
        Advertisement::RefreshEnd(Family::Ipv4Unicast),
    ];
    let first = rib.poll_advertisements(PeerId(3), 1);
    assert!(matches!(&first[..], [begin, Advertisement::Reach { .. }] if *begin == marks[0]));
    // A change in between goes out as well, and what was withdrawn need not be repeated.
    rib.update(PeerId(1), &announce(&["10.3.0.0/16"], path(1, &[65001])));
    rib.update(PeerId(1), &withdraw(&["10.2.0.0/16"]));
    let second = rib.poll_advertisements(PeerId(3), 10);
    let [Advertisement::Withdraw(gone), Advertisement::Reach { prefixes, .. }, end] = &second[..]
    else {
        panic!("{second:?}")
    };
    assert_eq!(
        (gone, prefixes, end),
        (&vec![nlri("10.2.0.0/16")], &vec![nlri("10.3.0.0/16")], &marks[1])
    );
    assert_eq!(rib.poll_advertisements(PeerId(3), 10), []);
    // Of nothing there is a beginning and an end too.
    rib.refresh(PeerId(3), Family::Ipv6Unicast);
    while rib.poll_ready().is_some_and(|peer| peer != PeerId(3)) {}
    let both = [Advertisement::RefreshBegin, Advertisement::RefreshEnd]
        .map(|mark| mark(Family::Ipv6Unicast));
    assert_eq!(rib.poll_advertisements(PeerId(3), 10), both);
}

#[test]
fn rfc7313_4_a_refresh_waits_for_the_end_of_the_first_transfer() {
    let mut rib = refreshing(true);
    rib.poll_advertisements(PeerId(3), 1);
    rib.refresh(PeerId(3), Family::Ipv4Unicast);
    let mut news = Vec::new();
    loop {
        let some = rib.poll_advertisements(PeerId(3), 1);
        if some.is_empty() {
            break;
        }
        news.extend(some);
    }
    let place = |wanted: &Advertisement| news.iter().position(|piece| piece == wanted).unwrap();
    let ends = place(&Advertisement::EndOfRib(Family::Ipv4Unicast));
    let begins = place(&Advertisement::RefreshBegin(Family::Ipv4Unicast));
    assert!(ends < begins);
    let repeated = news[begins..].iter().map(|piece| match piece {
        Advertisement::Reach { prefixes, .. } => prefixes.len(),
        _ => 0,
    });
    assert_eq!(repeated.sum::<usize>(), 2);
    assert_eq!(news.last(), Some(&Advertisement::RefreshEnd(Family::Ipv4Unicast)));
}

#[test]
fn rfc7313_4_a_second_request_starts_the_answer_over() {
    let mut rib = refreshing(false);
    pull(&mut rib, 3);
    rib.refresh(PeerId(3), Family::Ipv4Unicast);
    rib.poll_advertisements(PeerId(3), 1);
    rib.refresh(PeerId(3), Family::Ipv4Unicast);
    let again = rib.poll_advertisements(PeerId(3), 10);
    let [begin, Advertisement::Reach { prefixes, .. }, end] = &again[..] else {
        panic!("{again:?}")
    };
    assert_eq!(*begin, Advertisement::RefreshBegin(Family::Ipv4Unicast));
    assert_eq!(prefixes.len(), 2);
    assert_eq!(*end, Advertisement::RefreshEnd(Family::Ipv4Unicast));
}

#[test]
fn a_lost_peer_takes_its_routes_along_and_the_next_best_stands_in() {
    let mut rib = two_peers();
    rib.update(PeerId(1), &announce(&["10.1.0.0/16", "10.2.0.0/16"], path(1, &[65001])));
    rib.update(PeerId(2), &announce(&["10.2.0.0/16"], path(2, &[65002, 65009])));
    drain_best(&mut rib);
    rib.peer_down(PeerId(1), FamilySet::NONE, &Cause::Closed, Timestamp::UNKNOWN);
    let expected = [("10.1.0.0/16".to_owned(), vec![]), ("10.2.0.0/16".to_owned(), vec![Some(2)])];
    assert_eq!(drain_best(&mut rib), expected);
    assert_eq!(rib.received(PeerId(1)), []);
    assert_eq!(rib.best_count(Family::Ipv4Unicast), 1);
}

fn only(text: &str) -> Option<Arc<Policy>> {
    let prefix = prefix(text);
    let (min_len, max_len) = (prefix.len(), prefix.len());
    let range = PrefixMatch { prefix, min_len, max_len };
    let condition = Condition::Prefix([range].into_iter().collect());
    let accept = Statement {
        name: "only".into(),
        conditions: vec![condition],
        actions: vec![],
        apply: None,
        decision: Some(Decision::Accept),
    };
    let statements = vec![accept];
    Some(Arc::new(Policy { name: "only".into(), statements, default: Decision::Reject }))
}

#[test]
fn a_change_of_policy_is_applied_in_both_directions_without_a_new_update() {
    let mut rib = two_peers();
    rib.update(PeerId(1), &announce(&["10.1.0.0/16", "10.2.0.0/16"], path(1, &[65001])));
    pull(&mut rib, 2);
    let (one, two) = (peer(1, 65001).config, peer(2, 65002).config);
    let gone = |text| vec![Advertisement::Withdraw(vec![nlri(text)])];

    rib.set_policies(PeerId(2), RibPeerConfig { export: only("10.1.0.0/16"), ..two.clone() });
    assert_eq!(pull(&mut rib, 2), gone("10.2.0.0/16"));
    rib.set_policies(PeerId(1), RibPeerConfig { import: only("10.2.0.0/16"), ..one.clone() });
    assert_eq!(pull(&mut rib, 2), gone("10.1.0.0/16"));
    assert_eq!(rib.peer_counts(PeerId(1), Family::Ipv4Unicast).accepted, 1);

    rib.set_policies(PeerId(1), one);
    rib.set_policies(PeerId(2), two);
    let told = pull(&mut rib, 2);
    let [Advertisement::Reach { prefixes, .. }] = &told[..] else { panic!("{told:?}") };
    assert_eq!(prefixes.len(), 2);
}

#[test]
fn settings_that_are_the_same_or_concern_one_direction_leave_the_other_alone() {
    let mut rib = two_peers();
    rib.update(PeerId(1), &announce(&["10.1.0.0/16"], path(1, &[65001])));
    pull(&mut rib, 2);
    pull(&mut rib, 1);
    while rib.poll_ready().is_some() {}
    let two = peer(2, 65002).config;
    rib.set_policies(PeerId(2), two.clone());
    // Equal policies that are not the same value are equal all the same.
    rib.set_policies(PeerId(2), RibPeerConfig { import: two.export.clone(), ..two.clone() });
    rib.set_policies(PeerId(2), RibPeerConfig { allow_own_as: 1, ..two.clone() });
    assert_eq!(rib.poll_ready(), None);
    rib.set_policies(PeerId(2), RibPeerConfig { as_override: true, ..two });
    assert_eq!(rib.poll_ready(), Some(PeerId(2)));
    assert_eq!(rib.poll_ready(), None, "only the peer in question");
}

#[test]
fn a_route_that_becomes_filtered_is_withdrawn_downstream() {
    let mut rib = two_peers();
    rib.update(PeerId(1), &announce(&["10.1.0.0/16"], path(1, &[65001])));
    pull(&mut rib, 2);
    rib.update(PeerId(1), &announce(&["10.1.0.0/16"], path(1, &[65001, US.0])));
    assert_eq!(pull(&mut rib, 2), [Advertisement::Withdraw(vec![nlri("10.1.0.0/16")])]);
}

#[test]
fn counts_follow_every_path() {
    let mut rib = two_peers();
    let count = |rib: &Rib, n| rib.peer_counts(PeerId(n), Family::Ipv4Unicast);
    rib.update(PeerId(1), &announce(&["10.1.0.0/16", "10.2.0.0/16"], path(1, &[65001, 65009])));
    rib.update(PeerId(1), &announce(&["10.3.0.0/16"], path(1, &[65001, US.0])));
    rib.update(PeerId(2), &announce(&["10.1.0.0/16"], path(2, &[65002])));
    pull(&mut rib, 2);
    let one = PeerCounts { received: 3, accepted: 2, best: 1, ..PeerCounts::default() };
    let two =
        PeerCounts { received: 1, accepted: 1, best: 1, advertised: 1, ..PeerCounts::default() };
    assert_eq!(count(&rib, 1), one);
    assert_eq!(count(&rib, 2), two);
    assert_eq!(rib.best_count(Family::Ipv4Unicast), 2);
    rib.update(PeerId(2), &withdraw(&["10.1.0.0/16"]));
    assert_eq!(count(&rib, 1).best, 2);
    assert_eq!(count(&rib, 2), PeerCounts { advertised: 1, ..PeerCounts::default() });
}

#[test]
fn tables_are_shown_in_prefix_order_with_every_path_and_its_verdict() {
    let mut rib = two_peers();
    rib.update(PeerId(1), &announce(&["10.2.0.0/16", "10.1.0.0/16"], path(1, &[65001, US.0])));
    rib.update(PeerId(2), &announce(&["10.2.0.0/16"], path(2, &[65002])));
    let shown: Vec<_> = rib
        .routes()
        .map(|(prefix, views)| {
            let views = views.iter().map(|view| (view.peer.unwrap().0, view.verdict.to_string()));
            (prefix.to_string(), views.collect::<Vec<_>>())
        })
        .collect();
    let (best, looped) = ("best".to_owned(), "loop: our AS is in the AS path".to_owned());
    let expected = [
        ("10.1.0.0/16".to_owned(), vec![(1, looped.clone())]),
        ("10.2.0.0/16".to_owned(), vec![(2, best), (1, looped)]),
    ];
    assert_eq!(shown, expected);
}

#[test]
fn settings_of_the_router_change_what_is_used_and_told_without_a_new_session() {
    let mut rib = two_peers();
    for n in [1, 2] {
        rib.update(PeerId(n), &announce(&["10.1.0.0/16"], path(1, &[65000 + n])));
    }
    rib.originate(prefix("10.244.1.0/24"), Arc::new(path(9, &[])));
    pull(&mut rib, 1);
    drain_best(&mut rib);
    let both = rib.routes().next().unwrap().1;
    let used = |paths: &[PathView]| {
        let in_use = |path: &&PathView| matches!(path.verdict, Verdict::Best | Verdict::Multipath);
        paths.iter().filter(in_use).count()
    };
    assert_eq!(used(&both), 2);

    rib.configure(&RibConfig { multipath: 1, ..settings() });

    assert_eq!(used(&rib.routes().next().unwrap().1), 1);
    assert_eq!(drain_best(&mut rib), [("10.1.0.0/16".to_owned(), vec![Some(1)])]);
    assert_eq!(pull(&mut rib, 1), [], "what peers are told stays the same");

    // In another AS than before, that of the first peer's neighbour: its path is a loop now.
    rib.configure(&RibConfig { asn: Asn(65002), ..settings() });

    assert!(matches!(verdict(&rib, 2), Verdict::Ineligible(Ineligible::AsLoop)));
}
