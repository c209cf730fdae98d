//! Peers with several paths to a prefix (RFC 7911), and clients of a route server (RFC 7947), who
//! are told of the best path that they may have.

use std::num::NonZeroU8;

use super::*;
use crate::{
    config::AddPath,
    policy::{Condition, Decision, PeerTest, Statement},
};

/// Peer `n`, which takes several paths.
fn wide(n: u8, asn: u32, add_path: AddPath) -> PeerUp {
    let mut up = peer(n, asn);
    up.options.add_path_send = FamilySet::ALL;
    up.config.add_path = add_path;
    up
}

/// A router with peers 1 to 3, and peer 9, which listens.
fn with_listener(up: PeerUp) -> Rib {
    let mut rib = router();
    for n in 1..4 {
        rib.peer_up(PeerId(n), peer(u8::try_from(n).unwrap(), 65000 + n));
    }
    rib.peer_up(PeerId(9), up);
    pull(&mut rib, 9);
    rib
}

/// Peer `n` announces the prefix through so many further ASes.
fn learn(rib: &mut Rib, n: u8, hops: usize) {
    let mut asns = vec![65000 + u32::from(n)];
    asns.extend(std::iter::repeat_n(65009, hops));
    rib.update(PeerId(n.into()), &announce(&["10.1.0.0/16"], path(n, &asns)));
}

/// What peer 9 is told now: numbers and AS paths without ours, and numbers that are gone.
fn news(rib: &mut Rib) -> (Vec<(u32, String)>, Vec<u32>) {
    let (mut told, mut gone) = (Vec::new(), Vec::new());
    for piece in pull(rib, 9) {
        match piece {
            Advertisement::Reach { attrs, prefixes } => {
                let path = attrs.as_path.to_string();
                let path = path.strip_prefix("65000 ").unwrap().to_owned();
                told.extend(prefixes.iter().map(|nlri| (nlri.path_id, path.clone())));
            }
            Advertisement::Withdraw(prefixes) => {
                gone.extend(prefixes.iter().map(|nlri| nlri.path_id));
            }
            other => panic!("{other:?}"),
        }
    }
    told.sort();
    (told, gone)
}

fn paths(list: &[(u32, &str)]) -> Vec<(u32, String)> {
    list.iter().map(|(id, path)| (*id, (*path).to_owned())).collect()
}

#[test]
fn rfc7911_4_a_peer_is_told_of_every_path_by_a_number_that_stays() {
    let mut rib = with_listener(wide(9, 65099, AddPath::All));
    learn(&mut rib, 1, 1);
    learn(&mut rib, 2, 0);
    assert_eq!(news(&mut rib), (paths(&[(1, "65001 65009"), (2, "65002")]), vec![]));
    // Another becomes the best: nobody's number changes, and only the new path is told.
    learn(&mut rib, 3, 0);
    assert_eq!(news(&mut rib), (paths(&[(3, "65003")]), vec![]));
    rib.update(PeerId(2), &withdraw(&["10.1.0.0/16"]));
    assert_eq!(news(&mut rib), (vec![], vec![2]));
    learn(&mut rib, 1, 0);
    assert_eq!(news(&mut rib), (paths(&[(1, "65001")]), vec![]));
    // A number that is free is used again.
    learn(&mut rib, 2, 3);
    assert_eq!(news(&mut rib), (paths(&[(2, "65002 65009 65009 65009")]), vec![]));
    assert_eq!(rib.peer_counts(PeerId(9), Family::Ipv4Unicast).advertised, 3);
}

#[test]
fn rfc7911_5_paths_of_one_peer_are_told_apart_by_its_numbers() {
    let mut rib = with_listener(wide(9, 65099, AddPath::All));
    let from_one = |path_id, asns: &[u32]| {
        let prefixes = vec![Nlri { prefix: prefix("10.1.0.0/16"), path_id }];
        let attrs = Arc::new(path(1, asns));
        let reach = Reach { family: Family::Ipv4Unicast, attrs, prefixes };
        Update { reach: vec![reach], ..Update::default() }
    };
    rib.update(PeerId(1), &from_one(70, &[65001]));
    rib.update(PeerId(1), &from_one(5, &[65001, 65007]));
    assert_eq!(news(&mut rib), (paths(&[(1, "65001"), (2, "65001 65007")]), vec![]));
    assert_eq!(rib.peer_counts(PeerId(1), Family::Ipv4Unicast).received, 2);
    let shown = rib.received(PeerId(1));
    let shown: Vec<_> = shown.iter().map(|(_, view)| (view.path_id, &view.verdict)).collect();
    assert_eq!(shown, [(70, &Verdict::Best), (5, &Verdict::Lost(Step::AsPathLength))]);

    rib.update(PeerId(1), &from_one(70, &[65001, 65007, 65008]));
    assert_eq!(news(&mut rib), (paths(&[(1, "65001 65007 65008")]), vec![]));
    let withdrawn = vec![Nlri { prefix: prefix("10.1.0.0/16"), path_id: 5 }];
    rib.update(PeerId(1), &Update { withdrawn, ..Update::default() });
    assert_eq!(news(&mut rib), (vec![], vec![2]));
    assert_eq!(rib.peer_counts(PeerId(1), Family::Ipv4Unicast).received, 1);
    rib.peer_down(PeerId(1), FamilySet::NONE, &Cause::Closed, Timestamp::UNKNOWN);
    assert_eq!(news(&mut rib), (vec![], vec![1]));
}

#[test]
fn the_best_few_are_those_that_would_win_one_after_the_other_and_that_the_peer_may_have() {
    let two = AddPath::Best(NonZeroU8::new(2).unwrap());
    let mut rib = with_listener(wide(9, 65099, two));
    learn(&mut rib, 1, 2);
    learn(&mut rib, 2, 1);
    learn(&mut rib, 3, 0);
    assert_eq!(news(&mut rib).0, paths(&[(2, "65002 65009"), (3, "65003")]));
    // Its own path does not count.
    let own = path(9, &[65099]);
    rib.update(PeerId(9), &announce(&["10.1.0.0/16"], own));
    assert_eq!(news(&mut rib), (vec![], vec![]));
    rib.update(PeerId(3), &withdraw(&["10.1.0.0/16"]));
    assert_eq!(news(&mut rib), (paths(&[(1, "65001 65009 65009")]), vec![3]));
    let reasons = rib.advertised(PeerId(9));
    let reasons: Vec<_> = reasons.iter().map(|view| view.outcome.as_ref().err()).collect();
    assert_eq!(reasons, [Some(&NotAdvertised::SplitHorizon), None, None]);
}

#[test]
fn more_than_the_wanted_number_is_shown_as_enough() {
    let one = AddPath::Best(NonZeroU8::MIN);
    let mut rib = with_listener(wide(9, 65099, one));
    learn(&mut rib, 1, 1);
    learn(&mut rib, 2, 0);
    let shown = rib.advertised(PeerId(9));
    assert_eq!(shown[1].outcome, Err(NotAdvertised::Enough));
    assert_eq!((shown[1].peer, shown[1].path_id), (Some(PeerId(1)), 1));
}

#[test]
fn only_paths_in_use_are_told_if_that_is_what_is_wanted() {
    let mut rib = with_listener(wide(9, 65099, AddPath::Used));
    learn(&mut rib, 1, 0);
    learn(&mut rib, 2, 0);
    learn(&mut rib, 3, 1);
    assert_eq!(news(&mut rib).0, paths(&[(1, "65001"), (2, "65002")]));
    learn(&mut rib, 3, 0);
    assert_eq!(news(&mut rib), (paths(&[(3, "65003")]), vec![]));
    let config = RibPeerConfig { add_path: AddPath::All, ..wide(9, 65099, AddPath::All).config };
    learn(&mut rib, 2, 1);
    assert_eq!(news(&mut rib), (vec![], vec![2]));
    rib.set_policies(PeerId(9), config);
    assert_eq!(news(&mut rib), (paths(&[(2, "65002 65009")]), vec![]));
}

#[test]
fn rfc7911_a_refresh_repeats_every_path_by_its_number() {
    let mut rib = with_listener(wide(9, 65099, AddPath::All));
    learn(&mut rib, 1, 0);
    learn(&mut rib, 2, 1);
    let before = news(&mut rib);
    rib.refresh(PeerId(9), Family::Ipv4Unicast);
    assert_eq!(news(&mut rib), before);
    assert_eq!(news(&mut rib), (vec![], vec![]));
}

#[test]
fn rfc4456_a_reflector_tells_its_clients_of_all_paths_but_their_own() {
    let client = |n| {
        let mut up = wide(n, US.0, AddPath::All);
        up.config.route_reflector_client = true;
        up
    };
    let mut rib = router();
    for n in 1..4 {
        rib.peer_up(PeerId(n.into()), client(n));
    }
    rib.peer_up(PeerId(9), peer(9, US.0));
    for n in 1..3 {
        rib.update(PeerId(n), &announce(&["10.1.0.0/16"], path(u8::try_from(n).unwrap(), &[])));
    }
    let told = |rib: &mut Rib, n| {
        let pieces = pull(rib, n).into_iter();
        let mut hops: Vec<_> = pieces
            .map(|piece| match piece {
                Advertisement::Reach { attrs, .. } => attrs.next_hop.to_string(),
                other => panic!("{other:?}"),
            })
            .collect();
        hops.sort();
        hops
    };
    assert_eq!(told(&mut rib, 1), ["192.0.2.2"]);
    assert_eq!(told(&mut rib, 2), ["192.0.2.1"]);
    assert_eq!(told(&mut rib, 3), ["192.0.2.1", "192.0.2.2"]);
    assert_eq!(told(&mut rib, 9), ["192.0.2.1"], "who takes one path gets the best");
}

/// A client of a route server with peers 1 to 3 as further clients, which takes nothing from
/// these ASes.
fn choosy(asns: &[u32]) -> Rib {
    let refused = PeerTest::Asn(asns.iter().map(|asn| Asn(*asn)).collect());
    let refuse = Statement {
        name: "refuse".into(),
        conditions: vec![Condition::LearnedFrom(refused)],
        actions: vec![],
        apply: None,
        decision: Some(Decision::Reject),
    };
    let policy =
        Policy { name: "choosy".into(), statements: vec![refuse], default: Decision::Accept };
    let mut up = peer(9, 65099);
    up.config.route_server_client = true;
    up.config.export = Some(Arc::new(policy));
    with_listener(up)
}

/// The AS path that the client is told of, if any.
fn client_path(rib: &mut Rib) -> Vec<String> {
    let pieces = pull(rib, 9).into_iter();
    pieces
        .map(|piece| match piece {
            Advertisement::Reach { attrs, .. } => attrs.as_path.to_string(),
            Advertisement::Withdraw(_) => "gone".to_owned(),
            other => panic!("{other:?}"),
        })
        .collect()
}

#[test]
fn rfc7947_2_3_2_1_a_client_gets_the_best_path_that_its_policy_lets_through() {
    let mut rib = choosy(&[65001]);
    learn(&mut rib, 1, 0);
    assert_eq!(client_path(&mut rib), [""; 0]);
    assert!(matches!(untold(&rib, 9), NotAdvertised::Rejected(_)));
    learn(&mut rib, 2, 2);
    learn(&mut rib, 3, 1);
    assert_eq!(client_path(&mut rib), ["65003 65009"]);
    let shown = rib.advertised(PeerId(9));
    assert_eq!((shown.len(), shown[0].peer), (1, Some(PeerId(3))));
    rib.update(PeerId(3), &withdraw(&["10.1.0.0/16"]));
    assert_eq!(client_path(&mut rib), ["65002 65009 65009"]);
    rib.update(PeerId(2), &withdraw(&["10.1.0.0/16"]));
    assert_eq!(client_path(&mut rib), ["gone"]);
}

#[test]
fn rfc7947_2_3_2_1_a_client_whose_own_path_is_the_best_gets_the_next() {
    let mut rib = choosy(&[]);
    rib.update(PeerId(9), &announce(&["10.1.0.0/16"], path(9, &[65099])));
    learn(&mut rib, 1, 3);
    assert_eq!(client_path(&mut rib), ["65001 65009 65009 65009"]);
}
