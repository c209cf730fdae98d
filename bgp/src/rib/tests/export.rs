//! What peers are told, and what they are not.

use std::net::IpAddr;

use super::*;
use crate::{
    community::{Community, ExtCommunity},
    policy::{Action, Adjust, Decision, Edit, NextHopAction, Statement},
    role::{CustomersOnly, Role},
    wire::EncodeError,
};

/// A router with peer 1, which announces, and peer 2, which listens.
fn between(from: PeerUp, to: PeerUp) -> Rib {
    let mut rib = router();
    rib.peer_up(PeerId(1), from);
    rib.peer_up(PeerId(2), to);
    pull(&mut rib, 2);
    rib
}

fn client(n: u8) -> PeerUp {
    let mut up = peer(n, US.0);
    up.config.route_reflector_client = true;
    up
}

fn server_client(n: u8, asn: u32) -> PeerUp {
    let mut up = peer(n, asn);
    up.config.route_server_client = true;
    up
}

fn our_v4() -> IpAddr {
    "198.51.100.1".parse().unwrap()
}

#[test]
fn rfc4271_5_1_ebgp_gets_our_as_and_next_hop_and_neither_local_pref_nor_med() {
    let mut rib = between(peer(1, 65001), peer(2, 65002));
    let mut attrs = path(1, &[65001]);
    (attrs.med, attrs.local_pref) = (Some(7), Some(300));
    rib.update(PeerId(1), &announce(&["10.1.0.0/16"], attrs));
    let told = told(&mut rib, 2);
    assert_eq!(told.as_path, AsPath::sequence([65000, 65001]));
    assert_eq!(told.next_hop.addr, our_v4());
    assert_eq!((told.med, told.local_pref), (None, None));
}

#[test]
fn settings_of_the_as_path_hold_for_ebgp_and_neither_for_ibgp_nor_for_route_server_clients() {
    let bend = |mut to: PeerUp| {
        to.config.as_override = true;
        to.config.private_as = crate::config::PrivateAs::Remove;
        let mut rib = between(peer(1, 65001), to);
        let attrs = path(1, &[65001, 65002, 3]);
        rib.update(PeerId(1), &announce(&["10.1.0.0/16"], attrs));
        told(&mut rib, 2).as_path.to_string()
    };
    assert_eq!(bend(peer(2, 65002)), "65000 65000 3");
    assert_eq!(bend(peer(2, US.0)), "65001 65002 3");
    assert_eq!(bend(server_client(2, 65003)), "65001 65002 3");
}

#[test]
fn rfc4271_5_1_4_a_med_of_our_own_or_of_export_policy_goes_out() {
    let mut up = peer(2, 65002);
    let mut rib = between(peer(1, 65001), up.clone());
    let mut ours = Attrs::originated(hop("0.0.0.0"));
    ours.med = Some(4);
    rib.originate(prefix("10.9.0.0/16"), Arc::new(ours));
    assert_eq!(told(&mut rib, 2).med, Some(4));
    rib.withdraw(prefix("10.9.0.0/16"));
    pull(&mut rib, 2);
    let set = Statement {
        name: "set".into(),
        conditions: vec![],
        actions: vec![Action::Med(Adjust::Set(5))],
        apply: None,
        decision: None,
    };
    let policy = Policy { name: "p".into(), statements: vec![set], default: Decision::Accept };
    up.config.export = Some(Arc::new(policy));
    rib.set_policies(PeerId(2), up.config);
    rib.update(PeerId(1), &announce(&["10.1.0.0/16"], path(1, &[65001])));
    assert_eq!(told(&mut rib, 2).med, Some(5));
}

#[test]
fn rfc4271_5_1_3_ibgp_keeps_the_next_hop_and_gets_a_local_pref_of_100() {
    let mut rib = between(peer(1, 65001), peer(2, US.0));
    let mut attrs = path(1, &[65001]);
    attrs.med = Some(7);
    rib.update(PeerId(1), &announce(&["10.1.0.0/16"], attrs));
    let told = told(&mut rib, 2);
    assert_eq!(told.as_path, AsPath::sequence([65001]));
    assert_eq!(told.next_hop, hop("192.0.2.1"));
    assert_eq!((told.med, told.local_pref), (Some(7), Some(100)));
}

#[test]
fn next_hop_self_replaces_the_next_hop_on_ibgp() {
    let mut to = peer(2, US.0);
    to.config.next_hop_self = true;
    let mut rib = between(peer(1, 65001), to);
    rib.update(PeerId(1), &announce(&["10.1.0.0/16"], path(1, &[65001])));
    assert_eq!(told(&mut rib, 2).next_hop.addr, our_v4());
}

#[test]
fn what_we_originate_has_us_as_next_hop_in_each_family() {
    for asn in [US.0, 65002] {
        let mut to = peer(2, asn);
        to.config.local_addresses.insert(0, "fe80::1".parse().unwrap());
        let mut rib = between(peer(1, 65001), to);
        rib.originate(prefix("10.9.0.0/16"), Arc::new(Attrs::originated(hop("0.0.0.0"))));
        assert_eq!(told(&mut rib, 2).next_hop, hop("198.51.100.1"));
        rib.originate(prefix("fd00::/64"), Arc::new(Attrs::originated(hop("::"))));
        let next_hop = told(&mut rib, 2).next_hop;
        // RFC 2545 §3: the global address first, the link-local one with it.
        assert_eq!(next_hop.addr, "2001:db8::1".parse::<IpAddr>().unwrap());
        assert_eq!(next_hop.link_local, Some("fe80::1".parse().unwrap()));
    }
}

#[test]
fn without_an_own_address_of_the_family_nothing_is_announced() {
    let mut to = peer(2, 65002);
    to.config.local_addresses = vec!["fe80::1".parse().unwrap()];
    let mut rib = between(peer(1, 65001), to);
    rib.originate(prefix("10.9.0.0/16"), Arc::new(Attrs::originated(hop("0.0.0.0"))));
    assert_eq!(pull(&mut rib, 2), []);
    assert_eq!(untold(&rib, 2), NotAdvertised::NoNextHop);
    rib.withdraw(prefix("10.9.0.0/16"));
    rib.originate(prefix("fd00::/64"), Arc::new(Attrs::originated(hop("::"))));
    assert_eq!(told(&mut rib, 2).next_hop, hop("fe80::1"));
}

#[test]
fn rfc4271_9_2_ibgp_routes_do_not_go_to_ibgp_peers() {
    let mut rib = between(peer(1, US.0), peer(2, US.0));
    rib.update(PeerId(1), &announce(&["10.1.0.0/16"], path(1, &[65001])));
    assert_eq!(pull(&mut rib, 2), []);
    assert_eq!(untold(&rib, 2), NotAdvertised::IbgpToIbgp);
}

#[test]
fn rfc4456_8_reflected_routes_name_their_originator_and_our_cluster() {
    for (from, to) in
        [(client(1), peer(2, US.0)), (peer(1, US.0), client(2)), (client(1), client(2))]
    {
        let mut rib = between(from, to);
        rib.update(PeerId(1), &announce(&["10.1.0.0/16"], path(1, &[65001])));
        let told = told(&mut rib, 2);
        assert_eq!(told.originator_id, Some(Ipv4Addr::new(192, 0, 2, 1)));
        assert_eq!(told.cluster_list, [OUR_ID]);
        assert_eq!(told.next_hop, hop("192.0.2.1"));
    }
}

#[test]
fn rfc4456_8_a_second_reflector_keeps_the_originator_and_puts_its_cluster_in_front() {
    let mut rib = between(client(1), peer(2, US.0));
    let mut attrs = path(1, &[65001]);
    attrs.originator_id = Some(Ipv4Addr::new(7, 7, 7, 7));
    attrs.cluster_list = vec![Ipv4Addr::new(8, 8, 8, 8)];
    rib.update(PeerId(1), &announce(&["10.1.0.0/16"], attrs));
    let told = told(&mut rib, 2);
    assert_eq!(told.originator_id, Some(Ipv4Addr::new(7, 7, 7, 7)));
    assert_eq!(told.cluster_list, [OUR_ID, Ipv4Addr::new(8, 8, 8, 8)]);
}

#[test]
fn rfc4456_8_reflection_attributes_and_local_pref_stay_in_the_as() {
    let mut rib = between(client(1), peer(2, 65002));
    let mut attrs = path(1, &[65001]);
    attrs.originator_id = Some(Ipv4Addr::new(7, 7, 7, 7));
    attrs.cluster_list = vec![Ipv4Addr::new(8, 8, 8, 8)];
    attrs.local_pref = Some(200);
    rib.update(PeerId(1), &announce(&["10.1.0.0/16"], attrs));
    let told = told(&mut rib, 2);
    assert_eq!((told.originator_id, told.local_pref), (None, None));
    assert!(told.cluster_list.is_empty());
}

#[test]
fn rfc7947_2_2_a_route_server_changes_neither_path_nor_next_hop_nor_med_nor_communities() {
    let mut rib = between(server_client(1, 65001), server_client(2, 65002));
    let mut attrs = path(1, &[65001]);
    attrs.med = Some(7);
    attrs.communities = vec![Community::NO_EXPORT];
    attrs.ext_communities = vec![ExtCommunity([0x40, 4, 0, 0, 0, 0, 0, 1])];
    rib.update(PeerId(1), &announce(&["10.1.0.0/16"], attrs.clone()));
    assert_eq!(told(&mut rib, 2), attrs);
}

#[test]
fn what_a_route_server_originates_goes_out_as_from_any_router() {
    let mut rib = between(server_client(1, 65001), server_client(2, 65002));
    rib.originate(prefix("10.9.0.0/16"), Arc::new(Attrs::originated(hop("0.0.0.0"))));
    let told = told(&mut rib, 2);
    assert_eq!(told.as_path, AsPath::sequence([US.0]));
    assert_eq!(told.next_hop.addr, our_v4());
}

#[test]
fn rfc1997_communities_that_forbid_are_obeyed() {
    for (community, to_ebgp, to_ibgp) in [
        (Community::NO_EXPORT, false, true),
        (Community::NO_EXPORT_SUBCONFED, false, true),
        (Community::NO_ADVERTISE, false, false),
        (Community(1), true, true),
    ] {
        for (asn, allowed) in [(65002, to_ebgp), (US.0, to_ibgp)] {
            let mut rib = between(peer(1, 65001), peer(2, asn));
            let mut attrs = path(1, &[65001]);
            attrs.communities = vec![community];
            rib.update(PeerId(1), &announce(&["10.1.0.0/16"], attrs));
            assert_eq!(pull(&mut rib, 2).len(), usize::from(allowed), "{community} to {asn}");
            if !allowed {
                assert_eq!(untold(&rib, 2), NotAdvertised::Community);
            }
        }
    }
}

#[test]
fn rfc4360_6_non_transitive_extended_communities_stay_in_the_as() {
    let (stays, goes) =
        (ExtCommunity([0x40, 4, 0, 0, 0, 0, 0, 1]), ExtCommunity([0, 2, 0, 0, 0, 0, 0, 1]));
    for (asn, expected) in [(65002, vec![goes]), (US.0, vec![goes, stays])] {
        let mut rib = between(peer(1, 65001), peer(2, asn));
        let mut attrs = path(1, &[65001]);
        attrs.ext_communities = vec![goes, stays];
        rib.update(PeerId(1), &announce(&["10.1.0.0/16"], attrs));
        assert_eq!(told(&mut rib, 2).ext_communities, expected);
    }
}

#[test]
fn rfc8212_ebgp_without_export_policy_is_told_nothing_and_ibgp_everything() {
    for (asn, told) in [(65002, 0), (US.0, 1)] {
        let mut to = peer(2, asn);
        to.config.export = None;
        let mut rib = between(peer(1, 65001), to);
        rib.update(PeerId(1), &announce(&["10.1.0.0/16"], path(1, &[65001])));
        assert_eq!(pull(&mut rib, 2).len(), told);
        if told == 0 {
            assert_eq!(untold(&rib, 2), NotAdvertised::NoExportPolicy);
        }
    }
}

#[test]
fn a_route_does_not_go_back_to_the_peer_that_is_its_best_path() {
    let mut rib = between(peer(1, 65001), peer(2, 65002));
    rib.update(PeerId(1), &announce(&["10.1.0.0/16"], path(1, &[65001, 65009])));
    pull(&mut rib, 1);
    pull(&mut rib, 2);
    assert_eq!(untold(&rib, 1), NotAdvertised::SplitHorizon);
    // Peer 2 takes over: it is told that the route is gone, and peer 1 gets it.
    rib.update(PeerId(2), &announce(&["10.1.0.0/16"], path(2, &[65002])));
    assert_eq!(pull(&mut rib, 2), [Advertisement::Withdraw(vec![nlri("10.1.0.0/16")])]);
    assert_eq!(told(&mut rib, 1).as_path, AsPath::sequence([US.0, 65002]));
}

#[test]
fn families_that_a_peer_does_not_speak_are_neither_told_nor_taken() {
    let mut to = peer(2, 65002);
    to.families = [Family::Ipv4Unicast].into_iter().collect();
    let mut rib = between(peer(1, 65001), to);
    let mut attrs = path(1, &[65001]);
    attrs.next_hop = hop("2001:db8::2");
    rib.update(PeerId(1), &announce(&["fd00::/64"], attrs.clone()));
    assert_eq!(pull(&mut rib, 2), []);
    assert_eq!(untold(&rib, 2), NotAdvertised::Family);
    rib.update(PeerId(2), &announce(&["fd01::/64"], attrs));
    assert_eq!(rib.received(PeerId(2)), []);
}

#[test]
fn rfc4456_8_equal_attributes_of_two_clients_keep_their_originators_apart() {
    let mut rib = between(client(1), peer(2, US.0));
    rib.peer_up(PeerId(3), client(3));
    rib.update(PeerId(1), &announce(&["10.1.0.0/16"], path(9, &[65001])));
    rib.update(PeerId(3), &announce(&["10.3.0.0/16"], path(9, &[65001])));
    let told = pull(&mut rib, 2).into_iter().map(|piece| match piece {
        Advertisement::Reach { attrs, prefixes } => {
            (prefixes[0].to_string(), attrs.originator_id.unwrap().octets()[3])
        }
        other => panic!("{other:?}"),
    });
    assert!(told.eq([("10.1.0.0/16".to_owned(), 1), ("10.3.0.0/16".to_owned(), 3)]));
}

/// The next hop that peer 2 is told when peer 1, on link 3, announces the prefix with this one.
fn next_hop_told(to: PeerUp, prefix: &str, next_hop: NextHop) -> Option<NextHop> {
    let mut from = peer(1, if to.config.route_server_client { 65001 } else { US.0 });
    from.link = NonZeroU32::new(3);
    from.config.route_reflector_client = true;
    let mut rib = between(from, to);
    let mut attrs = path(1, &[65001]);
    attrs.next_hop = next_hop;
    rib.update(PeerId(1), &announce(&[prefix], attrs));
    match &pull(&mut rib, 2)[..] {
        [Advertisement::Reach { attrs, .. }] => Some(attrs.next_hop),
        _ => None,
    }
}

#[test]
fn rfc2545_3_a_link_local_next_hop_is_told_on_its_own_link_only() {
    let pair = NextHop { link_local: Some("fe80::1".parse().unwrap()), ..hop("2001:db8::9") };
    for to in [client(2), server_client(2, 65002)] {
        for (link, alone, beside) in [
            (NonZeroU32::new(3), hop("fe80::1"), pair),
            (NonZeroU32::new(4), hop("2001:db8::1"), hop("2001:db8::9")),
            (None, hop("2001:db8::1"), hop("2001:db8::9")),
        ] {
            let to = PeerUp { link, ..to.clone() };
            assert_eq!(next_hop_told(to.clone(), "fd00::/64", hop("fe80::1")), Some(alone));
            assert_eq!(next_hop_told(to, "fd00::/64", pair), Some(beside));
        }
    }
}

#[test]
fn rfc8950_4_an_ipv6_next_hop_of_ipv4_prefixes_is_told_to_those_who_take_it() {
    let theirs = hop("2001:db8::9");
    let mut to = client(2);
    assert_eq!(next_hop_told(to.clone(), "10.1.0.0/16", theirs), Some(hop("198.51.100.1")));
    to.config.local_addresses.retain(IpAddr::is_ipv6);
    assert_eq!(next_hop_told(to.clone(), "10.1.0.0/16", theirs), None);
    to.extended_next_hop = true;
    assert_eq!(next_hop_told(to, "10.1.0.0/16", theirs), Some(theirs));
}

#[test]
fn rfc8950_4_we_are_an_ipv6_next_hop_of_ipv4_prefixes_if_we_have_no_ipv4_address() {
    let mut to = peer(2, 65002);
    to.extended_next_hop = true;
    to.config.local_addresses.push("fe80::9".parse().unwrap());
    for (addresses, expected) in [
        (to.config.local_addresses.clone(), hop("198.51.100.1")),
        (vec!["fe80::9".parse().unwrap()], hop("fe80::9")),
        (
            vec!["fe80::9".parse().unwrap(), "2001:db8::1".parse().unwrap()],
            NextHop { link_local: Some("fe80::9".parse().unwrap()), ..hop("2001:db8::1") },
        ),
    ] {
        to.config.local_addresses = addresses;
        let mut rib = between(peer(1, 65001), to.clone());
        rib.update(PeerId(1), &announce(&["10.1.0.0/16"], path(1, &[65001])));
        assert_eq!(told(&mut rib, 2).next_hop, expected);
    }
}
/// A peer whose export policy does this to the next hop.
fn with_next_hop(mut to: PeerUp, action: NextHopAction) -> PeerUp {
    let set = Statement {
        name: "set".into(),
        conditions: vec![],
        actions: vec![Action::SetNextHop(action)],
        apply: None,
        decision: None,
    };
    let policy = Policy { name: "p".into(), statements: vec![set], default: Decision::Accept };
    to.config.export = Some(Arc::new(policy));
    to
}

#[test]
fn an_export_policy_keeps_sets_or_takes_over_the_next_hop() {
    let given = NextHopAction::Address { ipv4: Some(Ipv4Addr::new(10, 0, 0, 9)), ipv6: None };
    let (theirs, ours) = ("192.0.2.1", "198.51.100.1");
    for (to, action, expected) in [
        (peer(2, 65002), NextHopAction::Unchanged, theirs),
        (peer(2, 65002), NextHopAction::Own, ours),
        (peer(2, 65002), given, "10.0.0.9"),
        (peer(2, US.0), NextHopAction::Own, ours),
        (peer(2, US.0), NextHopAction::Unchanged, theirs),
        (server_client(2, 65002), NextHopAction::Own, ours),
        (server_client(2, 65002), given, "10.0.0.9"),
    ] {
        let mut rib = between(peer(1, 65001), with_next_hop(to.clone(), action));
        rib.update(PeerId(1), &announce(&["10.1.0.0/16"], path(1, &[65001])));
        let told = told(&mut rib, 2).next_hop.to_string();
        assert_eq!(told, expected, "{action:?} to {to:?}");
    }
}

#[test]
fn rfc4271_5_1_3_no_policy_tells_a_peer_that_it_is_its_own_next_hop() {
    let to = with_next_hop(peer(2, 65002), NextHopAction::Unchanged);
    let mut rib = between(peer(1, 65001), to);
    rib.update(PeerId(1), &announce(&["10.1.0.0/16"], path(2, &[65001])));
    assert_eq!(told(&mut rib, 2).next_hop.addr, our_v4());
    let to = with_next_hop(peer(2, 65002), NextHopAction::Unchanged);
    let mut rib = between(peer(1, 65001), to);
    rib.originate(prefix("10.9.0.0/16"), Arc::new(Attrs::originated(hop("0.0.0.0"))));
    assert_eq!(told(&mut rib, 2).next_hop.addr, our_v4(), "what is ours has no other next hop");
}

fn marked(community: Community) -> Attrs {
    let mut attrs = path(1, &[65001]);
    attrs.add(community);
    attrs
}

#[test]
fn rfc9494_4_3_long_lived_stale_routes_leave_the_as_only_to_those_who_know_of_them() {
    let mut to = peer(2, 65002);
    let mut rib = between(peer(1, 65001), to.clone());
    rib.update(PeerId(1), &announce(&["10.1.0.0/16"], marked(Community::LLGR_STALE)));
    assert_eq!(untold(&rib, 2), NotAdvertised::LongLivedStale);
    to.options.long_lived = FamilySet::of(Family::Ipv4Unicast);
    // Not to be removed, whatever the policy says.
    let remove = Statement {
        name: "remove".into(),
        conditions: vec![],
        actions: vec![Action::Communities(Edit::Replace(vec![]))],
        apply: None,
        decision: None,
    };
    let policy = Policy { name: "p".into(), statements: vec![remove], default: Decision::Accept };
    to.config.export = Some(Arc::new(policy));
    rib.peer_up(PeerId(2), to);
    assert_eq!(told(&mut rib, 2).communities, [Community::LLGR_STALE]);
}

#[test]
fn rfc9494_4_6_inside_the_as_others_have_long_lived_stale_routes_as_the_last_choice() {
    let mut to = peer(2, US.0);
    let mut rib = between(peer(1, 65001), to.clone());
    rib.update(PeerId(1), &announce(&["10.1.0.0/16"], marked(Community::LLGR_STALE)));
    let old = told(&mut rib, 2);
    assert_eq!(old.communities, [Community::LLGR_STALE, Community::NO_EXPORT]);
    assert_eq!(old.local_pref, Some(0));
    to.options.long_lived = FamilySet::ALL;
    rib.peer_up(PeerId(2), to);
    let new = told(&mut rib, 2);
    assert_eq!(new.communities, [Community::LLGR_STALE]);
    assert_eq!(new.local_pref, Some(100));
}

#[test]
fn rfc8326_4_a_router_that_drains_marks_all_that_it_tells_and_stops_when_it_stays() {
    let mut rib = between(peer(1, 65001), peer(2, 65002));
    rib.peer_up(PeerId(3), peer(3, US.0));
    rib.update(PeerId(1), &announce(&["10.1.0.0/16"], path(1, &[65001])));
    let plain = [told(&mut rib, 2), told(&mut rib, 3)];
    rib.set_drain(true);
    assert!(rib.is_drained() && rib.owes(PeerId(2)));
    let drained = [told(&mut rib, 2), told(&mut rib, 3)];
    assert!(drained.iter().all(|attrs| attrs.has(Community::GRACEFUL_SHUTDOWN)));
    assert_eq!(drained[0].local_pref, None);
    assert_eq!(drained[1].local_pref, Some(0), "inside the AS");
    rib.set_drain(false);
    assert_eq!([told(&mut rib, 2), told(&mut rib, 3)], plain);
}

#[test]
fn rfc8326_4_2_a_session_that_drains_is_the_last_choice_in_both_directions() {
    let mut rib = between(peer(1, 65001), peer(2, 65002));
    rib.peer_up(PeerId(3), peer(3, 65003));
    rib.update(PeerId(1), &announce(&["10.1.0.0/16"], path(1, &[65001])));
    rib.update(PeerId(2), &announce(&["10.1.0.0/16"], path(2, &[65002, 65009])));
    rib.originate(prefix("10.9.0.0/16"), Arc::new(Attrs::originated(hop("0.0.0.0"))));
    pull(&mut rib, 3);
    let config = RibPeerConfig { drain: true, ..peer(1, 65001).config };
    rib.set_policies(PeerId(1), config);
    assert_eq!(verdict(&rib, 1), Verdict::Lost(Step::LocalPref));
    let told_to_one = pull(&mut rib, 1);
    let marked = |piece: &Advertisement| match piece {
        Advertisement::Reach { attrs, .. } => attrs.has(Community::GRACEFUL_SHUTDOWN),
        _ => false,
    };
    assert!(!told_to_one.is_empty() && told_to_one.iter().all(marked), "{told_to_one:?}");
    let told_to_three = pull(&mut rib, 3);
    assert!(!told_to_three.iter().any(marked), "the other way is not about to go");
}

#[test]
fn rfc7999_3_2_a_learned_blackhole_stays_in_the_as_unless_configured() {
    let mut to = peer(2, 65002);
    let mut rib = between(peer(1, 65001), to.clone());
    rib.peer_up(PeerId(3), peer(3, US.0));
    rib.update(PeerId(1), &announce(&["10.1.0.0/32"], marked(Community::BLACKHOLE)));
    assert_eq!(untold(&rib, 2), NotAdvertised::Blackhole);
    assert_eq!(told(&mut rib, 3).communities, [Community::BLACKHOLE]);
    to.config.send_blackhole = true;
    rib.set_policies(PeerId(2), to.config);
    assert_eq!(told(&mut rib, 2).communities, [Community::BLACKHOLE]);
}

#[test]
fn rfc7999_3_2_a_blackhole_of_our_own_is_announced() {
    let mut rib = between(peer(1, 65001), peer(2, 65002));
    let mut attrs = Attrs::originated(hop("0.0.0.0"));
    attrs.add(Community::BLACKHOLE);
    rib.originate(prefix("10.9.0.1/32"), Arc::new(attrs));
    assert_eq!(told(&mut rib, 2).communities, [Community::BLACKHOLE]);
}

fn in_role(mut up: PeerUp, role: Role) -> PeerUp {
    up.options.role = Some(role);
    up
}

#[test]
fn rfc9234_5_what_comes_from_a_provider_goes_to_customers_only() {
    for (role, told) in [
        (Role::Provider, true),
        (Role::RouteServer, true),
        (Role::Customer, false),
        (Role::Peer, false),
        (Role::RouteServerClient, false),
    ] {
        let mut rib =
            between(in_role(peer(1, 65001), Role::Customer), in_role(peer(2, 65002), role));
        rib.update(PeerId(1), &announce(&["10.1.0.0/16"], path(1, &[65001])));
        if told {
            assert_eq!(super::told(&mut rib, 2).otc, Some(Asn(65001)), "{role}");
        } else {
            let mark = CustomersOnly { otc: Asn(65001) };
            assert_eq!(untold(&rib, 2), NotAdvertised::CustomersOnly(mark), "{role}");
        }
    }
}

#[test]
fn rfc9234_5_what_we_tell_downwards_and_sideways_is_marked_with_our_as() {
    for (role, otc) in [
        (Role::Provider, Some(US)),
        (Role::RouteServer, Some(US)),
        (Role::Peer, Some(US)),
        (Role::Customer, None),
        (Role::RouteServerClient, None),
    ] {
        let mut rib = between(peer(1, 65001), in_role(peer(2, 65002), role));
        rib.originate(prefix("10.9.0.0/16"), Arc::new(Attrs::originated(hop("0.0.0.0"))));
        assert_eq!(told(&mut rib, 2).otc, otc, "{role}");
    }
}

#[test]
fn rfc9234_5_inside_the_as_and_without_a_role_otc_is_left_alone() {
    for to in [peer(2, 65002), in_role(peer(2, US.0), Role::Customer)] {
        let mut rib = between(peer(1, 65001), to);
        let attrs = Attrs { otc: Some(Asn(65009)), ..path(1, &[65001]) };
        rib.update(PeerId(1), &announce(&["10.1.0.0/16"], attrs));
        assert_eq!(told(&mut rib, 2).otc, Some(Asn(65009)));
    }
}

fn with_bandwidth(n: u8, rate: &str) -> Attrs {
    let asn = 65000 + u32::from(n);
    let community = ExtCommunity::link_bandwidth(Asn(asn), rate.parse().unwrap());
    Attrs { ext_communities: vec![community], ..path(n, &[asn]) }
}

#[test]
fn the_bandwidth_of_all_links_in_use_is_told_to_whom_it_is_configured_and_no_other() {
    let mut to = peer(2, 65002);
    to.config.send_link_bandwidth = true;
    let mut rib = between(peer(1, 65001), to);
    rib.peer_up(PeerId(3), peer(3, 65003));
    rib.peer_up(PeerId(4), peer(4, 65004));
    rib.update(PeerId(1), &announce(&["10.1.0.0/16"], with_bandwidth(1, "10Gbit")));
    assert_eq!(told(&mut rib, 2).link_bandwidth(), Some("10Gbit".parse().unwrap()));
    assert_eq!(told(&mut rib, 4).link_bandwidth(), None, "the next hop is another");
    // The best path is the same, but more can be had through us.
    rib.update(PeerId(3), &announce(&["10.1.0.0/16"], with_bandwidth(3, "25Gbit")));
    assert_eq!(told(&mut rib, 2).link_bandwidth(), Some("35Gbit".parse().unwrap()));
    assert_eq!(pull(&mut rib, 4), []);
    let change = std::iter::from_fn(|| rib.poll_best()).last().unwrap();
    let shares: Vec<_> = change.paths.iter().map(|path| path.share).collect();
    assert_eq!(shares, [10_000_000, 25_000_000]);
    // One that tells none spoils it for all.
    rib.update(PeerId(3), &announce(&["10.1.0.0/16"], path(3, &[65003])));
    assert_eq!(told(&mut rib, 2).link_bandwidth(), None);
    let change = rib.poll_best().unwrap();
    assert!(change.paths.iter().all(|path| path.share == 1));
}

#[test]
fn a_bandwidth_goes_on_with_its_next_hop_and_one_of_the_policy_stays() {
    let mut rib = between(peer(1, 65001), peer(2, US.0));
    rib.update(PeerId(1), &announce(&["10.1.0.0/16"], with_bandwidth(1, "10Gbit")));
    let inside = told(&mut rib, 2);
    assert_eq!(
        (inside.next_hop, inside.link_bandwidth()),
        (hop("192.0.2.1"), Some("10Gbit".parse().unwrap()))
    );

    let set = Statement {
        name: "set".into(),
        conditions: vec![],
        actions: vec![Action::SetLinkBandwidth("1Gbit".parse().unwrap())],
        apply: None,
        decision: None,
    };
    let policy = Policy { name: "p".into(), statements: vec![set], default: Decision::Accept };
    let mut to = peer(2, 65002);
    to.config.export = Some(Arc::new(policy));
    let mut rib = between(peer(1, 65001), to);
    rib.update(PeerId(1), &announce(&["10.1.0.0/16"], with_bandwidth(1, "10Gbit")));
    assert_eq!(told(&mut rib, 2).link_bandwidth(), Some("1Gbit".parse().unwrap()));
}

/// A path with so many communities.
fn with_communities(n: u8, asns: &[u32], count: u32) -> Attrs {
    let mut attrs = path(n, asns);
    attrs.communities = (1..=count).map(Community).collect();
    attrs
}

/// Header, lengths, ORIGIN, AS_PATH of two, NEXT_HOP, the head of COMMUNITIES, and a /32 with a path
/// identifier.
const BESIDE_COMMUNITIES: u32 = 23 + 4 + 13 + 7 + 4 + 9;
/// As many communities as go out in 4096 octets.
const MOST_COMMUNITIES: u32 = (4096 - BESIDE_COMMUNITIES) / 4;

#[test]
fn rfc8654_4_a_route_too_long_for_a_peer_is_gone_for_it_and_counted_as_such() {
    let mut alone = peer(3, 65003);
    alone.config.send_link_bandwidth = true;
    let mut extended = peer(4, 65004);
    extended.options.extended_messages = true;
    let mut rib = between(peer(1, 65001), peer(2, 65002));
    rib.peer_up(PeerId(3), alone);
    rib.peer_up(PeerId(4), extended);
    let route = |count| announce(&["10.1.0.0/16"], with_communities(1, &[65001], count));
    rib.update(PeerId(1), &route(MOST_COMMUNITIES));
    for n in 2..5 {
        assert!(matches!(pull(&mut rib, n)[..], [Advertisement::Reach { .. }]));
        assert_eq!(rib.peer_counts(PeerId(n), Family::Ipv4Unicast).advertised, 1);
    }
    assert_eq!(rib.poll_unsendable(), None);

    rib.update(PeerId(1), &route(MOST_COMMUNITIES + 1));
    let gone = Advertisement::Withdraw(vec![nlri("10.1.0.0/16")]);
    // Peer 1 as well, which would not be told its own path.
    pull(&mut rib, 1);
    for n in 2..4 {
        assert_eq!(pull(&mut rib, n), std::slice::from_ref(&gone));
        assert_eq!(rib.peer_counts(PeerId(n), Family::Ipv4Unicast).advertised, 0);
        let needed = 4096 + 4 - ((4096 - BESIDE_COMMUNITIES) % 4) as usize;
        let error = EncodeError::TooLong { needed, limit: 4096 };
        assert_eq!(untold(&rib, n), NotAdvertised::Unsendable(error.clone()));
        let (_, unsendable) = rib.poll_unsendable().unwrap();
        assert_eq!(unsendable, Unsendable { first: prefix("10.1.0.0/16"), paths: 1, error });
    }
    assert_eq!(rib.poll_unsendable(), None);
    assert_eq!(told(&mut rib, 4).communities.len(), MOST_COMMUNITIES as usize + 1);
}

#[test]
fn rfc8654_4_attributes_that_may_be_discarded_go_before_the_route_does() {
    let mut rib = between(peer(1, 65001), peer(2, 65002));
    let mut attrs = with_communities(1, &[65001], MOST_COMMUNITIES);
    attrs.atomic_aggregate = true;
    attrs.aggregator = Some(crate::attrs::Aggregator { asn: Asn(65001), router_id: OUR_ID });
    rib.update(PeerId(1), &announce(&["10.1.0.0/16"], attrs));
    let told = told(&mut rib, 2);
    assert_eq!((told.atomic_aggregate, told.aggregator), (false, None));
    assert_eq!(told.communities.len(), MOST_COMMUNITIES as usize);
}

#[test]
fn rfc7947_2_3_2_1_a_client_is_told_of_the_next_best_path_if_the_best_is_too_long() {
    let mut rib = between(server_client(1, 65001), server_client(2, 65002));
    rib.peer_up(PeerId(3), server_client(3, 65003));
    let long = with_communities(1, &[65001], MOST_COMMUNITIES + 2);
    rib.update(PeerId(1), &announce(&["10.1.0.0/16"], long));
    rib.update(PeerId(3), &announce(&["10.1.0.0/16"], path(3, &[65003, 65009])));
    assert_eq!(told(&mut rib, 2).as_path.to_string(), "65003 65009");
}

#[test]
fn rfc6793_4_2_what_an_old_speaker_needs_besides_counts_as_well() {
    let mut old = peer(2, 2);
    old.options.two_octet_as = true;
    let asns: Vec<_> = std::iter::once(65001).chain(100_000..100_800).collect();
    let mut rib = between(peer(1, 65001), peer(3, 3));
    rib.peer_up(PeerId(2), old);
    rib.peer_up(PeerId(3), peer(3, 3));
    pull(&mut rib, 2);
    rib.update(PeerId(1), &announce(&["10.1.0.0/16"], path(1, &asns)));
    assert_eq!(told(&mut rib, 3).as_path.hops(), 802);
    assert!(matches!(untold(&rib, 2), NotAdvertised::Unsendable(_)));
}
