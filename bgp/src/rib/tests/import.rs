//! What is taken from peers, and what is left out with which reason.

use super::*;
use crate::{
    community::Community,
    policy::{Action, Adjust, Condition, Decision, NextHopAction, PeerTest, Rejection, Statement},
    role::{Role, RouteLeak},
};

/// What becomes of a path from this peer (number 1).
fn fate(up: PeerUp, attrs: Attrs) -> Verdict {
    let mut rib = router();
    rib.peer_up(PeerId(1), up);
    rib.update(PeerId(1), &announce(&["10.1.0.0/16"], attrs));
    verdict(&rib, 1)
}

fn refused(up: PeerUp, attrs: Attrs) -> Ineligible {
    match fate(up, attrs) {
        Verdict::Ineligible(reason) => reason,
        other => panic!("{other}"),
    }
}

#[test]
fn rfc4271_9_1_2_our_as_in_the_path_is_a_loop_from_ebgp_and_ibgp() {
    let attrs = path(1, &[65001, US.0, 65002]);
    assert_eq!(refused(peer(1, 65001), attrs.clone()), Ineligible::AsLoop);
    assert_eq!(refused(peer(1, US.0), attrs), Ineligible::AsLoop);
}

#[test]
fn our_as_may_stand_in_the_path_as_often_as_is_allowed_and_no_more() {
    let mut up = peer(1, 65001);
    up.config.allow_own_as = 2;
    assert_eq!(fate(up.clone(), path(1, &[65001, US.0, 65002, US.0])), Verdict::Best);
    let thrice = path(1, &[65001, US.0, US.0, US.0]);
    assert_eq!(refused(up.clone(), thrice), Ineligible::AsLoop);
    // Each AS that we go by counts for itself.
    up.local_asn = Asn(64999);
    assert_eq!(fate(up.clone(), path(1, &[65001, US.0, 64999, US.0])), Verdict::Best);
    assert_eq!(refused(up, path(1, &[65001, 64999, 64999, 64999])), Ineligible::AsLoop);
}

#[test]
fn a_local_as_is_a_loop_in_what_comes_in_and_is_put_in_front_of_it() {
    let mut up = peer(1, 65001);
    up.local_asn = Asn(64999);
    assert_eq!(refused(up.clone(), path(1, &[65001, 64999])), Ineligible::AsLoop);
    assert_eq!(refused(up.clone(), path(1, &[65001, US.0])), Ineligible::AsLoop);
    for (no_prepend, expected) in [(false, "64999 65001"), (true, "65001")] {
        up.config.local_as.no_prepend = no_prepend;
        let mut rib = router();
        rib.peer_up(PeerId(1), up.clone());
        rib.update(PeerId(1), &announce(&["10.1.0.0/16"], path(1, &[65001])));
        let best = rib.poll_best().unwrap();
        assert_eq!(best.paths[0].attrs.as_path.to_string(), expected);
    }
}

#[test]
fn rfc4271_6_3_ebgp_paths_begin_with_the_peers_as_unless_it_is_a_route_server() {
    let mut up = peer(1, 65001);
    assert_eq!(refused(up.clone(), path(1, &[65002])), Ineligible::FirstAs);
    assert_eq!(refused(up.clone(), path(1, &[])), Ineligible::FirstAs);
    assert_eq!(fate(up.clone(), path(1, &[65001, 65002])), Verdict::Best);
    assert_eq!(fate(peer(1, US.0), path(1, &[65002])), Verdict::Best);
    up.config.enforce_first_as = false;
    assert_eq!(fate(up, path(1, &[65002])), Verdict::Best);
}

#[test]
fn rfc4456_8_our_own_reflected_routes_are_loops() {
    let mut attrs = path(1, &[65001]);
    attrs.originator_id = Some(OUR_ID);
    assert_eq!(refused(peer(1, US.0), attrs.clone()), Ineligible::OriginatorLoop);
    attrs.originator_id = Some(Ipv4Addr::new(7, 7, 7, 7));
    attrs.cluster_list = vec![Ipv4Addr::new(8, 8, 8, 8), OUR_ID];
    assert_eq!(refused(peer(1, US.0), attrs), Ineligible::ClusterLoop);
}

#[test]
fn rfc4271_6_3_next_hops_that_are_ours_or_nobodys_are_refused_without_harm_to_the_session() {
    for addr in ["198.51.100.1", "0.0.0.0", "127.0.0.1", "224.0.0.1", "169.254.0.1"] {
        let mut attrs = path(1, &[65001]);
        attrs.next_hop = hop(addr);
        assert_eq!(refused(peer(1, 65001), attrs), Ineligible::NextHopInvalid, "{addr}");
    }
}

#[test]
fn rfc8212_ebgp_without_import_policy_brings_nothing_and_ibgp_everything() {
    let without = |asn| {
        let mut up = peer(1, asn);
        up.config.import = None;
        up
    };
    assert_eq!(refused(without(65001), path(1, &[65001])), Ineligible::NoImportPolicy);
    assert_eq!(fate(without(US.0), path(1, &[65001])), Verdict::Best);
}

#[test]
fn rfc8326_graceful_shutdown_means_local_pref_0_from_ebgp_only() {
    for (asn, expected) in [(65001, Some(0)), (US.0, Some(300))] {
        let mut rib = router();
        rib.peer_up(PeerId(1), peer(1, asn));
        let mut attrs = path(1, &[65001]);
        attrs.communities = vec![Community::GRACEFUL_SHUTDOWN];
        attrs.local_pref = Some(300);
        rib.update(PeerId(1), &announce(&["10.1.0.0/16"], attrs));
        let change = rib.poll_best().unwrap();
        assert_eq!(change.paths[0].attrs.local_pref, expected);
    }
}

#[test]
fn import_policy_changes_what_is_used_and_not_what_was_received() {
    let mut up = peer(1, 65001);
    let set = Statement {
        name: "prefer".into(),
        conditions: vec![],
        actions: vec![Action::LocalPref(Adjust::Set(200))],
        apply: None,
        decision: None,
    };
    let policy = Policy { name: "p".into(), statements: vec![set], default: Decision::Accept };
    up.config.import = Some(Arc::new(policy));
    let mut rib = router();
    rib.peer_up(PeerId(1), up);
    rib.update(PeerId(1), &announce(&["10.1.0.0/16"], path(1, &[65001])));
    assert_eq!(rib.received(PeerId(1))[0].1.attrs.local_pref, None);
    let (_, views) = rib.routes().next().unwrap();
    assert_eq!(views[0].attrs.local_pref, Some(200));
}

#[test]
fn a_rejected_path_is_kept_and_names_what_rejected_it() {
    let mut up = peer(1, 65001);
    let reject = Statement {
        name: "martians".into(),
        conditions: vec![Condition::AsPathContains([Asn(65001)].into_iter().collect())],
        actions: vec![],
        apply: None,
        decision: Some(Decision::Reject),
    };
    let policy = Policy { name: "in".into(), statements: vec![reject], default: Decision::Accept };
    up.config.import = Some(Arc::new(policy));
    let reason = refused(up, path(1, &[65001]));
    let rejection = Rejection { policy: "in".into(), statement: Some("martians".into()) };
    assert_eq!(reason, Ineligible::Rejected(rejection));
    assert_eq!(reason.to_string(), "rejected by statement martians of policy in");
}

#[test]
fn rfc4271_9_1_2_1_a_path_waits_until_its_next_hop_is_known_to_be_reachable() {
    let mut rib = resolving_router();
    rib.peer_up(PeerId(1), peer(1, 65001));
    rib.update(PeerId(1), &announce(&["10.1.0.0/16"], path(1, &[65001])));
    let unreachable = Verdict::Ineligible(Ineligible::NextHopUnreachable);
    assert_eq!(verdict(&rib, 1), unreachable, "not answered yet");
    assert_eq!(rib.poll_next_hop(), Some(NextHopInterest::Watch(hop("192.0.2.1"))));
    for (answer, expected) in [
        (Resolution::Reachable { cost: 3 }, Verdict::Best),
        (Resolution::Own, Verdict::Ineligible(Ineligible::NextHopInvalid)),
        (Resolution::Reachable { cost: 0 }, Verdict::Best),
        (Resolution::Unreachable, unreachable.clone()),
    ] {
        rib.set_next_hop(hop("192.0.2.1"), answer);
        assert_eq!(verdict(&rib, 1), expected, "{answer:?}");
        assert_eq!(drain_best(&mut rib).len(), 1);
    }
    rib.update(PeerId(1), &withdraw(&["10.1.0.0/16"]));
    assert_eq!(rib.poll_next_hop(), Some(NextHopInterest::Forget(hop("192.0.2.1"))));
}

#[test]
fn rfc4271_5_1_3_next_hops_of_an_ebgp_peer_on_the_link_must_be_on_a_connected_network() {
    let mut up = peer(1, 65001);
    up.config.next_hops_on_link = true;
    let mut rib = resolving_router();
    rib.peer_up(PeerId(1), up);
    rib.update(PeerId(1), &announce(&["10.1.0.0/16"], path(1, &[65001])));
    rib.set_next_hop(hop("192.0.2.1"), Resolution::Reachable { cost: 20 });
    assert_eq!(verdict(&rib, 1), Verdict::Ineligible(Ineligible::NextHopNotOnLink));
    rib.set_next_hop(hop("192.0.2.1"), Resolution::Reachable { cost: 0 });
    assert_eq!(verdict(&rib, 1), Verdict::Best);
}

#[test]
fn the_nearer_next_hop_wins_and_a_change_of_cost_decides_anew() {
    let mut rib = resolving_router();
    for n in [1, 2] {
        rib.peer_up(PeerId(n.into()), peer(n, US.0));
        rib.update(PeerId(n.into()), &announce(&["10.1.0.0/16"], path(n, &[65001])));
    }
    rib.set_next_hop(hop("192.0.2.1"), Resolution::Reachable { cost: 20 });
    rib.set_next_hop(hop("192.0.2.2"), Resolution::Reachable { cost: 10 });
    assert_eq!(verdict(&rib, 1), Verdict::Lost(Step::NextHopCost));
    drain_best(&mut rib);
    rib.set_next_hop(hop("192.0.2.1"), Resolution::Reachable { cost: 10 });
    assert_eq!(drain_best(&mut rib), [("10.1.0.0/16".to_owned(), vec![Some(1), Some(2)])]);
    assert_eq!(verdict(&rib, 2), Verdict::Multipath);
}

#[test]
fn what_we_originate_beats_what_peers_say_of_it() {
    let mut rib = router();
    rib.peer_up(PeerId(1), peer(1, US.0));
    let mut attrs = path(1, &[]);
    attrs.local_pref = Some(u32::MAX);
    rib.update(PeerId(1), &announce(&["10.1.0.0/16"], attrs));
    rib.originate(prefix("10.1.0.0/16"), Arc::new(Attrs::originated(hop("0.0.0.0"))));
    assert_eq!(verdict(&rib, 1), Verdict::Lost(Step::LocallyOriginated));
    rib.withdraw(prefix("10.1.0.0/16"));
    assert_eq!(verdict(&rib, 1), Verdict::Best);
}

#[test]
fn every_reason_is_a_short_clause() {
    for (verdict, text) in [
        (Verdict::Best, "best"),
        (Verdict::Multipath, "used beside the best"),
        (Verdict::Lost(Step::AsPathLength), "lost: longer AS path"),
        (Verdict::Ineligible(Ineligible::AsLoop), "loop: our AS is in the AS path"),
    ] {
        assert_eq!(verdict.to_string(), text);
    }
}

#[test]
fn rfc4007_6_a_link_local_next_hop_is_another_one_on_another_link() {
    let mut rib = resolving_router();
    for (n, link) in [(1, 3), (2, 4)] {
        let mut up = peer(n, 65000 + u32::from(n));
        (up.link, up.config.next_hops_on_link) = (NonZeroU32::new(link), true);
        rib.peer_up(PeerId(n.into()), up);
        let mut attrs = path(n, &[65000 + u32::from(n)]);
        attrs.next_hop = hop("fe80::1");
        rib.update(PeerId(n.into()), &announce(&["10.1.0.0/16"], attrs));
    }
    let on = |link| NextHop { scope: NonZeroU32::new(link), ..hop("fe80::1") };
    assert_eq!(rib.poll_next_hop(), Some(NextHopInterest::Watch(on(3))));
    assert_eq!(rib.poll_next_hop(), Some(NextHopInterest::Watch(on(4))));
    rib.set_next_hop(on(3), Resolution::Unreachable);
    rib.set_next_hop(on(4), Resolution::Reachable { cost: 0 });
    assert_eq!(verdict(&rib, 1), Verdict::Ineligible(Ineligible::NextHopUnreachable));
    assert_eq!(verdict(&rib, 2), Verdict::Best);
}

#[test]
fn a_link_local_half_that_is_our_own_address_makes_the_next_hop_invalid() {
    let mut up = peer(1, 65001);
    up.config.local_addresses.push("fe80::9".parse().unwrap());
    let mut attrs = path(1, &[65001]);
    attrs.next_hop = NextHop { link_local: Some("fe80::9".parse().unwrap()), ..hop("2001:db8::2") };
    assert_eq!(refused(up, attrs), Ineligible::NextHopInvalid);
}

#[test]
fn a_next_hop_that_import_policy_sets_must_be_usable_but_not_on_the_link() {
    let with = |address: &str| {
        let ipv4 = Some(address.parse().unwrap());
        let action = Action::SetNextHop(NextHopAction::Address { ipv4, ipv6: None });
        let set = Statement {
            name: "set".into(),
            conditions: vec![],
            actions: vec![action],
            apply: None,
            decision: None,
        };
        let policy = Policy { name: "p".into(), statements: vec![set], default: Decision::Accept };
        let mut up = peer(1, 65001);
        up.config.import = Some(Arc::new(policy));
        up.config.next_hops_on_link = true;
        up
    };
    assert_eq!(refused(with("198.51.100.1"), path(1, &[65001])), Ineligible::NextHopInvalid);
    let mut rib = resolving_router();
    rib.peer_up(PeerId(1), with("203.0.113.9"));
    rib.update(PeerId(1), &announce(&["10.1.0.0/16"], path(1, &[65001])));
    rib.set_next_hop(hop("203.0.113.9"), Resolution::Reachable { cost: 5 });
    assert_eq!(verdict(&rib, 1), Verdict::Best);
}

#[test]
fn policies_know_the_peer_by_its_name_and_a_new_name_is_judged_anew() {
    let only_a = Statement {
        name: "a".into(),
        conditions: vec![Condition::Peer(PeerTest::Name(vec!["tor-a".into()]))],
        actions: vec![],
        apply: None,
        decision: Some(Decision::Accept),
    };
    let statements = vec![only_a];
    let policy = Policy { name: "p".into(), statements, default: Decision::Reject };
    let mut up = peer(1, 65001);
    up.config.import = Some(Arc::new(policy));
    up.config.name = "tor-b".into();
    let mut rib = router();
    rib.peer_up(PeerId(1), up.clone());
    rib.update(PeerId(1), &announce(&["10.1.0.0/16"], path(1, &[65001])));
    assert!(matches!(verdict(&rib, 1), Verdict::Ineligible(Ineligible::Rejected(_))));
    up.config.name = "tor-a".into();
    rib.set_policies(PeerId(1), up.config);
    assert_eq!(verdict(&rib, 1), Verdict::Best);
}

#[test]
fn rfc9234_5_a_leaked_route_takes_no_part_and_shows_why() {
    let mut up = peer(1, 65001);
    let marked = Attrs { otc: Some(Asn(65009)), ..path(1, &[65001]) };
    let leak = Ineligible::RouteLeak(RouteLeak { otc: Asn(65009) });
    for role in [Role::Provider, Role::RouteServer, Role::Peer] {
        up.options.role = Some(role);
        assert_eq!(refused(up.clone(), marked.clone()), leak, "{role}");
    }
    up.options.role = Some(Role::Customer);
    assert_eq!(fate(up.clone(), marked.clone()), Verdict::Best);
    up.options.role = None;
    assert_eq!(fate(up, marked), Verdict::Best, "nobody said what it is");
}

#[test]
fn rfc7854_4_8_what_becomes_of_announcements_is_counted_as_it_arrives() {
    let mut rib = router();
    rib.peer_up(PeerId(1), peer(1, 65001));
    let counts = |rib: &Rib| rib.import_counts(PeerId(1));
    let good = announce(&["10.1.0.0/16", "10.2.0.0/16"], path(1, &[65001]));
    rib.update(PeerId(1), &good);
    assert_eq!(counts(&rib), ImportCounts::default());
    rib.update(PeerId(1), &good);
    assert_eq!(counts(&rib).duplicate_announcements, 2);
    rib.update(PeerId(1), &withdraw(&["10.1.0.0/16", "10.9.0.0/16"]));
    assert_eq!(counts(&rib).duplicate_withdrawals, 1);

    // Loops count once for what shares its attributes, however many prefixes there are.
    rib.update(PeerId(1), &announce(&["10.3.0.0/16", "10.4.0.0/16"], path(1, &[65001, US.0])));
    let looped = Attrs { originator_id: Some(OUR_ID), ..path(1, &[65001]) };
    rib.update(PeerId(1), &announce(&["10.5.0.0/16"], looped));
    let looped = Attrs { cluster_list: vec![OUR_ID], ..path(1, &[65001]) };
    rib.update(PeerId(1), &announce(&["10.5.0.0/16"], looped));
    let ImportCounts { as_loops, originator_loops, cluster_loops, rejected, .. } = counts(&rib);
    assert_eq!((as_loops, originator_loops, cluster_loops, rejected), (1, 1, 1, 0));

    // Treated as withdrawn: the peer did not mean to withdraw.
    let fault = crate::wire::Fault {
        treatment: crate::wire::Treatment::TreatAsWithdraw,
        attribute: crate::wire::AttrCode::ORIGIN,
        reason: "",
        octets: bytes::Bytes::new(),
    };
    rib.update(PeerId(1), &Update { faults: vec![fault], ..withdraw(&["10.9.0.0/16"]) });
    assert_eq!((counts(&rib).treated_as_withdraw, counts(&rib).duplicate_withdrawals), (1, 1));

    // A new policy rejects what is stored: nothing has arrived.
    let config = RibPeerConfig { import: None, ..peer(1, 65001).config };
    rib.set_policies(PeerId(1), config.clone());
    assert_eq!(counts(&rib).rejected, 0);
    rib.update(PeerId(1), &announce(&["10.6.0.0/16", "10.7.0.0/16"], path(1, &[65001])));
    assert_eq!(counts(&rib).rejected, 2);

    // The next session begins at 0.
    rib.peer_up(PeerId(1), PeerUp { config, ..peer(1, 65001) });
    assert_eq!(counts(&rib), ImportCounts::default());
}
