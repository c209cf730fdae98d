//! Each action: what it changes, and that it changes nothing else.

use std::num::NonZeroU32;

use super::*;
use crate::community::ExtCommunity;

/// What these actions make of the path of the examples, or of one that is made from it.
fn made_of(attrs: &Arc<Attrs>, context: &Context<'_>, actions: Vec<Action>) -> Accepted {
    let policy = policy("p", vec![statement("s", vec![], actions, None)], Decision::Accept);
    match policy.apply(context, attrs) {
        Outcome::Accepted(accepted) => accepted,
        Outcome::Rejected(rejection) => panic!("rejected by {rejection}"),
    }
}

fn made(actions: Vec<Action>) -> Attrs {
    Attrs::clone(&made_of(&path(), &context(), actions).attrs)
}

fn path_with(change: impl FnOnce(&mut Attrs)) -> Attrs {
    let mut attrs = Attrs::clone(&path());
    change(&mut attrs);
    attrs
}

#[test]
fn numbers_are_set_raised_and_lowered_within_their_bounds() {
    let local_pref = |old, adjust| {
        let before = Arc::new(path_with(|attrs| attrs.local_pref = old));
        made_of(&before, &context(), vec![Action::LocalPref(adjust)]).attrs.local_pref
    };
    assert_eq!(local_pref(None, Adjust::Set(50)), Some(50));
    assert_eq!(local_pref(None, Adjust::Add(10)), Some(110));
    assert_eq!(local_pref(Some(7), Adjust::Subtract(10)), Some(0));
    assert_eq!(local_pref(Some(u32::MAX), Adjust::Add(1)), Some(u32::MAX));
    let med = |old, action| {
        let before = Arc::new(path_with(|attrs| attrs.med = old));
        made_of(&before, &context(), vec![action]).attrs.med
    };
    assert_eq!(med(None, Action::Med(Adjust::Add(5))), Some(5));
    assert_eq!(med(Some(7), Action::Med(Adjust::Subtract(5))), Some(2));
    assert_eq!(med(Some(7), Action::Med(Adjust::Set(0))), Some(0));
    assert_eq!(med(Some(7), Action::RemoveMed), None);
    assert_eq!(made(vec![Action::SetWeight(9)]), path_with(|attrs| attrs.weight = 9));
    let origin = Action::SetOrigin(Origin::Incomplete);
    assert_eq!(made(vec![origin]), path_with(|attrs| attrs.origin = Origin::Incomplete));
}

#[test]
fn communities_are_added_removed_and_replaced_and_stay_sorted() {
    let (low, own, high) = (Community(1), Community(65000 << 16 | 100), Community(u32::MAX));
    let edited = |edit| made(vec![Action::Communities(edit)]).communities;
    assert_eq!(edited(Edit::Add(vec![high, low, high])), [low, own, Community::NO_EXPORT, high]);
    let all_own = "65000:*".parse().unwrap();
    assert_eq!(edited(Edit::Remove([all_own].into_iter().collect())), [Community::NO_EXPORT]);
    assert_eq!(edited(Edit::Replace(vec![high, low])), [low, high]);
    assert_eq!(edited(Edit::Replace(vec![])), []);

    let large: LargeCommunity = "1:0:0".parse().unwrap();
    let attrs = made(vec![Action::LargeCommunities(Edit::Add(vec![large]))]);
    assert_eq!(attrs.large_communities[0], large);
    let target: ExtCommunity = "rt:65000:8".parse().unwrap();
    let attrs = made(vec![Action::ExtCommunities(Edit::Replace(vec![target]))]);
    assert_eq!(attrs, path_with(|attrs| attrs.ext_communities = vec![target]));
}

#[test]
fn a_link_bandwidth_takes_the_place_of_any_other() {
    let old = ["lb:65001:1Gbit", "rt:65000:7", "0x4004fde84b3ebc20"];
    let before = Arc::new(path_with(|attrs| {
        attrs.ext_communities = old.map(|text| text.parse().unwrap()).to_vec();
        attrs.ext_communities.sort_unstable();
    }));
    let set = || vec![Action::SetLinkBandwidth("25Gbit".parse().unwrap())];
    let after = made_of(&before, &context(), set()).attrs;
    let texts: Vec<_> = after.ext_communities.iter().map(ToString::to_string).collect();
    assert_eq!(texts, ["rt:65000:7", "lb:65000:25Gbit"]);
    assert!(Arc::ptr_eq(&after, &made_of(&after, &context(), set()).attrs), "set already");
}

#[test]
fn prepending_repeats_our_as_or_the_one_in_front() {
    let as_path = |action| made(vec![action]).as_path.to_string();
    assert_eq!(as_path(Action::Prepend(2)), "65000 65000 65001 65002");
    assert_eq!(as_path(Action::PrependLastAs(2)), "65001 65001 65001 65002");
    let empty = Arc::new(path_with(|attrs| attrs.as_path = AsPath::empty()));
    let after = made_of(&empty, &context(), vec![Action::PrependLastAs(2)]);
    assert_eq!(after.attrs.as_path, AsPath::empty());
}

#[test]
fn next_hops_are_set_by_family_and_asked_of_export() {
    let both = NextHopAction::Address {
        ipv4: Some(Ipv4Addr::new(10, 0, 0, 9)),
        ipv6: Some("fd00::9".parse().unwrap()),
    };
    let only_v6 = NextHopAction::Address { ipv4: None, ipv6: Some("fd00::9".parse().unwrap()) };
    let of = |context: &Context<'_>, action| {
        let made = made_of(&path(), context, vec![Action::SetNextHop(action)]);
        (made.attrs.next_hop.to_string(), made.next_hop)
    };
    let (v4, v6) = (context(), imported("fd00:1::/64"));
    let as_it_is = |address: &str| (address.to_owned(), NextHopChoice::AsItIs);
    assert_eq!(of(&v4, both), as_it_is("10.0.0.9"));
    assert_eq!(of(&v6, both), as_it_is("fd00::9"));
    assert_eq!(of(&v4, only_v6), ("192.0.2.1".to_owned(), NextHopChoice::Usual));
    assert_eq!(of(&v4, NextHopAction::Own), ("192.0.2.1".to_owned(), NextHopChoice::Own));
    assert_eq!(of(&v4, NextHopAction::Unchanged), as_it_is("192.0.2.1"));
    let local = Context { source: Source::Local, from: None, ..v4 };
    assert_eq!(of(&local, NextHopAction::Unchanged).1, NextHopChoice::Usual);

    let other = PeerRef { next_hop: NextHop::new("192.0.2.77".parse().unwrap()), ..PEER };
    assert_eq!(of(&Context { peer: other, ..v4 }, NextHopAction::Peer), as_it_is("192.0.2.77"));
    assert_eq!(of(&Context { peer: other, ..v6 }, NextHopAction::Peer).0, "192.0.2.1");
    let other = PeerRef {
        next_hop: NextHop::new("fe80::7".parse().unwrap()).heard_on(NonZeroU32::new(3)),
        ..PEER
    };
    assert_eq!(of(&Context { peer: other, ..v4 }, NextHopAction::Peer), as_it_is("fe80::7%3"));
}
