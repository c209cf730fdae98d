//! Limits to how much a peer may announce, and to how much it is told (RFC 4271 §6.7, checklist
//! line U13).

use super::*;
use crate::config::{AtLimit, Counted, PrefixLimit};

const FAMILY: Family = Family::Ipv4Unicast;
const STOP: AtLimit = AtLimit::Stop { restart_after: None };

fn limited(counted: Counted, at_limit: AtLimit) -> PeerUp {
    let mut up = peer(1, 65001);
    let limit = PrefixLimit { max: 3, warn_from: 2, counted, at_limit };
    up.config.max_prefixes.ipv4 = Some(limit);
    up
}

fn learn(rib: &mut Rib, prefixes: &[&str], asns: &[u32]) {
    rib.update(PeerId(1), &announce(prefixes, path(1, asns)));
}

fn events(rib: &mut Rib) -> Vec<(u32, Family, u32, LimitKind)> {
    std::iter::from_fn(|| rib.poll_limit())
        .map(|event| (event.peer.0, event.family, event.max, event.kind))
        .collect()
}

fn received(rib: &Rib) -> usize {
    rib.peer_counts(PeerId(1), FAMILY).received
}

#[test]
fn a_peer_near_its_limit_is_warned_of_once_and_one_over_it_is_stopped_and_costs_no_more() {
    let mut rib = router();
    rib.peer_up(PeerId(1), limited(Counted::Received, STOP));
    learn(&mut rib, &["10.1.0.0/16"], &[65001]);
    assert_eq!(events(&mut rib), []);
    learn(&mut rib, &["10.2.0.0/16", "10.3.0.0/16"], &[65001]);
    assert_eq!(events(&mut rib), [(1, FAMILY, 3, LimitKind::Near)]);
    // What is announced again or replaced counts once.
    learn(&mut rib, &["10.2.0.0/16"], &[65001]);
    learn(&mut rib, &["10.2.0.0/16"], &[65001, 65009]);
    assert_eq!((received(&rib), events(&mut rib)), (3, vec![]));

    let many: Vec<_> = (0..100).map(|n| format!("10.99.{n}.0/24")).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    learn(&mut rib, &many, &[65001]);
    assert_eq!(events(&mut rib), [(1, FAMILY, 3, LimitKind::Stop)]);
    assert_eq!(received(&rib), 3);
    assert_eq!(rib.loc.ids().len(), 3, "the others were never stored");
    // It is over, whatever is withdrawn.
    rib.update(PeerId(1), &withdraw(&["10.1.0.0/16"]));
    learn(&mut rib, &["10.4.0.0/16"], &[65001]);
    learn(&mut rib, &["10.3.0.0/16"], &[65001]);
    assert_eq!((received(&rib), events(&mut rib)), (1, vec![]));

    // The next session starts afresh.
    rib.peer_up(PeerId(1), limited(Counted::Received, STOP));
    learn(&mut rib, &["10.1.0.0/16"], &[65001]);
    assert_eq!((received(&rib), events(&mut rib)), (1, vec![]));
}

#[test]
fn each_family_has_its_own_limit() {
    let mut rib = router();
    rib.peer_up(PeerId(1), limited(Counted::Received, STOP));
    let six: Vec<_> = (0..9).map(|n| format!("fd00:{n}::/32")).collect();
    let six: Vec<_> = six.iter().map(String::as_str).collect();
    rib.update(PeerId(1), &announce(&six, path_v6(1, &[65001])));
    learn(&mut rib, &["10.1.0.0/16"], &[65001]);
    assert_eq!(events(&mut rib), []);
    assert_eq!(rib.peer_counts(PeerId(1), Family::Ipv6Unicast).received, 9);
}

#[test]
fn a_limit_after_policy_does_not_count_what_is_refused() {
    let mut rib = router();
    rib.peer_up(PeerId(1), limited(Counted::Accepted, STOP));
    let looped = &[65001, US.0];
    learn(&mut rib, &["10.1.0.0/16", "10.2.0.0/16", "10.3.0.0/16", "10.4.0.0/16"], looped);
    assert_eq!((received(&rib), events(&mut rib)), (4, vec![]));
    learn(&mut rib, &["10.5.0.0/16", "10.6.0.0/16", "10.7.0.0/16"], &[65001]);
    assert_eq!(events(&mut rib), [(1, FAMILY, 3, LimitKind::Near)]);
    // A path that was refused and is accepted now counts from now on.
    learn(&mut rib, &["10.1.0.0/16"], &[65001]);
    assert_eq!(events(&mut rib), [(1, FAMILY, 3, LimitKind::Stop)]);
    assert_eq!(received(&rib), 6);
}

#[test]
fn a_policy_that_lets_in_more_may_break_a_limit_after_policy() {
    let mut rib = router();
    let up = limited(Counted::Accepted, STOP);
    let closed = RibPeerConfig { import: None, ..up.config.clone() };
    rib.peer_up(PeerId(1), PeerUp { config: closed, ..up.clone() });
    let all = ["10.1.0.0/16", "10.2.0.0/16", "10.3.0.0/16", "10.4.0.0/16"];
    learn(&mut rib, &all, &[65001]);
    assert_eq!(events(&mut rib), []);
    rib.set_policies(PeerId(1), up.config);
    assert_eq!(events(&mut rib), [(1, FAMILY, 3, LimitKind::Stop)]);
}

#[test]
fn a_limit_that_only_warns_takes_everything_and_says_so_once() {
    let mut rib = router();
    rib.peer_up(PeerId(1), limited(Counted::Received, AtLimit::Warn));
    let all = ["10.1.0.0/16", "10.2.0.0/16", "10.3.0.0/16", "10.4.0.0/16", "10.5.0.0/16"];
    learn(&mut rib, &all, &[65001]);
    let expected = [(1, FAMILY, 3, LimitKind::Near), (1, FAMILY, 3, LimitKind::Over)];
    assert_eq!((received(&rib), events(&mut rib)), (5, expected.to_vec()));
    learn(&mut rib, &["10.6.0.0/16"], &[65001]);
    assert_eq!((received(&rib), events(&mut rib)), (6, vec![]));
}

#[test]
fn a_new_limit_measures_what_is_there() {
    let mut rib = router();
    rib.peer_up(PeerId(1), peer(1, 65001));
    let all = ["10.1.0.0/16", "10.2.0.0/16", "10.3.0.0/16", "10.4.0.0/16"];
    learn(&mut rib, &all, &[65001]);
    let config = limited(Counted::Received, STOP).config;
    rib.set_policies(PeerId(1), config.clone());
    assert_eq!(events(&mut rib), [(1, FAMILY, 3, LimitKind::Stop)]);
    rib.set_policies(PeerId(1), RibPeerConfig { allow_own_as: 1, ..config });
    assert_eq!(events(&mut rib), [], "not told again for another setting");
}

#[test]
fn nobody_hears_of_a_session_that_is_over() {
    let mut rib = router();
    rib.peer_up(PeerId(1), limited(Counted::Received, STOP));
    learn(&mut rib, &["10.1.0.0/16", "10.2.0.0/16"], &[65001]);
    rib.peer_down(PeerId(1), FamilySet::NONE, &Cause::Closed, Timestamp::UNKNOWN);
    assert_eq!(events(&mut rib), []);
}

/// Peer 2 is told two prefixes at most.
fn reserved() -> Rib {
    let mut rib = router();
    let mut up = peer(2, 65002);
    up.config.max_advertised.ipv4 = Some(2);
    rib.peer_up(PeerId(1), peer(1, 65001));
    rib.peer_up(PeerId(2), up);
    pull(&mut rib, 2);
    rib
}

/// Prefixes announced (+) and withdrawn (-) to peer 2.
fn news(rib: &mut Rib) -> Vec<String> {
    let mut all = Vec::new();
    for piece in pull(rib, 2) {
        match piece {
            Advertisement::Reach { prefixes, .. } => {
                all.extend(prefixes.iter().map(|nlri| format!("+{nlri}")));
            }
            Advertisement::Withdraw(prefixes) => {
                all.extend(prefixes.iter().map(|nlri| format!("-{nlri}")));
            }
            other => panic!("{other:?}"),
        }
    }
    all
}

#[test]
fn a_peer_is_told_no_more_than_its_limit_and_the_next_when_there_is_room() {
    let mut rib = reserved();
    learn(&mut rib, &["10.1.0.0/16", "10.2.0.0/16", "10.3.0.0/16"], &[65001]);
    assert_eq!(news(&mut rib), ["+10.1.0.0/16", "+10.2.0.0/16"]);
    assert_eq!(events(&mut rib), [(2, FAMILY, 2, LimitKind::Advertised)]);
    let kept: Vec<_> = rib.advertised(PeerId(2)).into_iter().map(|view| view.outcome).collect();
    assert!(matches!(kept[..], [Ok(_), Ok(_), Err(NotAdvertised::PrefixLimit)]));
    // A change of what is told is told.
    learn(&mut rib, &["10.1.0.0/16"], &[65001, 65009]);
    assert_eq!(news(&mut rib), ["+10.1.0.0/16"]);
    rib.update(PeerId(1), &withdraw(&["10.1.0.0/16"]));
    assert_eq!(news(&mut rib), ["-10.1.0.0/16", "+10.3.0.0/16"]);
    assert_eq!((news(&mut rib), events(&mut rib)), (vec![], vec![]));
    assert_eq!(rib.poll_ready(), Some(PeerId(1)));
    assert_eq!(rib.poll_ready(), None, "nobody is called for nothing");
}

#[test]
fn another_limit_withdraws_or_adds_what_it_must() {
    let mut rib = reserved();
    learn(&mut rib, &["10.1.0.0/16", "10.2.0.0/16", "10.3.0.0/16"], &[65001]);
    pull(&mut rib, 2);
    let with = |limit| {
        let mut config = peer(2, 65002).config;
        config.max_advertised.ipv4 = limit;
        config
    };
    rib.set_policies(PeerId(2), with(Some(1)));
    assert_eq!(news(&mut rib), ["-10.1.0.0/16"]);
    rib.set_policies(PeerId(2), with(None));
    assert_eq!(news(&mut rib), ["+10.1.0.0/16", "+10.3.0.0/16"]);
}
