//! Each condition: what it holds for, and what it does not.

use super::*;
use crate::{
    aspath::{Segment, SegmentKind},
    community::ExtCommunity,
    family::Family,
};

fn holds_for(condition: Condition, context: &Context<'_>, attrs: &Arc<Attrs>) -> bool {
    let accept = statement("s", vec![condition], vec![], Some(Decision::Accept));
    let policy = policy("p", vec![accept], Decision::Reject);
    matches!(policy.apply(context, attrs), Outcome::Accepted(_))
}

fn holds(condition: Condition) -> bool {
    holds_for(condition, &context(), &path())
}

fn asns(list: &[u32]) -> AsnSet {
    list.iter().copied().map(Asn).collect()
}

fn tags<T: Tag>(texts: &[&str]) -> TagSet<T>
where
    TagMatch<T>: std::str::FromStr<Err: fmt::Debug>,
{
    texts.iter().map(|text| text.parse::<TagMatch<T>>().unwrap()).collect()
}

#[test]
fn prefix_ranges_match_prefixes_inside_with_a_length_in_the_range() {
    let range = |text: &str, min_len, max_len| {
        let range = PrefixMatch { prefix: prefix(text), min_len, max_len };
        Condition::Prefix([range].into_iter().collect())
    };
    assert!(holds(range("10.1.0.0/16", 16, 16)));
    assert!(holds(range("10.0.0.0/8", 16, 24)));
    assert!(holds(range("0.0.0.0/0", 0, 32)));
    assert!(!holds(range("10.0.0.0/8", 8, 15)), "too long");
    assert!(!holds(range("10.0.0.0/8", 17, 32)), "too short");
    assert!(!holds(range("10.1.0.0/24", 0, 32)), "covers, is not inside");
    assert!(!holds(range("10.2.0.0/16", 16, 32)), "beside");
    assert!(!holds(range("::/0", 0, 128)), "other family");
}

#[test]
fn a_family_is_that_of_the_prefix() {
    assert!(holds(Condition::Family(Family::Ipv4Unicast)));
    assert!(!holds(Condition::Family(Family::Ipv6Unicast)));
    assert!(holds_for(Condition::Family(Family::Ipv6Unicast), &imported("fd00::/64"), &path()));
}

#[test]
fn as_numbers_stand_anywhere_at_the_beginning_or_at_the_end() {
    assert!(holds(Condition::AsPathContains(asns(&[65002, 7]))));
    assert!(!holds(Condition::AsPathContains(asns(&[65003]))));
    assert!(holds(Condition::OriginatedBy(asns(&[65002]))));
    assert!(!holds(Condition::OriginatedBy(asns(&[65001]))));
    assert!(holds(Condition::NeighborAs(asns(&[65001]))));
    assert!(!holds(Condition::NeighborAs(asns(&[65002]))));

    let mut set = Attrs::clone(&path());
    set.as_path.segments.push(Segment { kind: SegmentKind::Set, asns: vec![Asn(9), Asn(8)] });
    let set = Arc::new(set);
    assert!(holds_for(Condition::AsPathContains(asns(&[8])), &context(), &set));
    assert!(!holds_for(Condition::OriginatedBy(asns(&[8, 9, 65002])), &context(), &set));

    let empty = Arc::new(Attrs { as_path: AsPath::empty(), ..Attrs::clone(&path()) });
    for condition in [Condition::AsPathContains, Condition::OriginatedBy, Condition::NeighborAs] {
        let any: AsnSet = [(Asn(0), Asn(u32::MAX))].into_iter().collect();
        assert!(!holds_for(condition(any), &context(), &empty));
    }
}

#[test]
fn an_as_path_has_a_length_and_matches_one_of_several_expressions() {
    assert!(holds(Condition::AsPathLength(2..=2)));
    assert!(!holds(Condition::AsPathLength(0..=1)));
    assert!(!holds(Condition::AsPathLength(3..=9)));
    let expressions =
        |list: &[&str]| Condition::AsPath(list.iter().map(|text| text.parse().unwrap()).collect());
    assert!(holds(expressions(&["^$", "_65002$"])));
    assert!(!holds(expressions(&["^$", "^65002_"])));
}

#[test]
fn communities_of_each_kind_are_any_all_or_a_number_of_them() {
    let standard = |texts: &[&str]| tags::<Community>(texts);
    assert!(holds(Condition::Communities(Carries::Any(standard(&["1:1", "no-export"])))));
    assert!(!holds(Condition::Communities(Carries::Any(standard(&["1:1"])))));
    assert!(!holds(Condition::Communities(Carries::Any(standard(&[])))), "one of none");
    assert!(holds(Condition::Communities(Carries::All(standard(&["65000:*", "no-export"])))));
    assert!(!holds(Condition::Communities(Carries::All(standard(&["65000:*", "1:1"])))));
    assert!(holds(Condition::Communities(Carries::Count(2..=2))));
    assert!(!holds(Condition::Communities(Carries::Count(3..=9))));

    let large = |text: &str| Condition::LargeCommunities(Carries::Any(tags(&[text])));
    assert!(holds(large("65000:1:2")));
    assert!(holds(large("65000:*:2")));
    assert!(!holds(large("65000:*:3")));

    let extended =
        |text: &str| Condition::ExtCommunities(Carries::Any(tags::<ExtCommunity>(&[text])));
    assert!(holds(extended("rt:65000:7")));
    assert!(holds(extended("rt:*")));
    assert!(!holds(extended("soo:*")));
    assert!(!holds(extended("lb:*")));
}

#[test]
fn a_next_hop_is_inside_a_prefix_unless_there_is_none() {
    let inside =
        |text| Condition::NextHop([PrefixMatch::inside(prefix(text))].into_iter().collect());
    assert!(holds(inside("192.0.2.0/24")));
    assert!(holds(inside("192.0.2.1/32")));
    assert!(!holds(inside("192.0.3.0/24")));
    let local = Context { source: Source::Local, from: None, ..context() };
    assert!(!holds_for(inside("0.0.0.0/0"), &local, &path()));
}

#[test]
fn origin_and_source_are_one_of_those_named() {
    assert!(holds(Condition::Origin(vec![Origin::Egp, Origin::Igp])));
    assert!(!holds(Condition::Origin(vec![Origin::Incomplete])));
    assert!(holds(Condition::Source(vec![Source::Ebgp])));
    assert!(!holds(Condition::Source(vec![Source::Local, Source::Ibgp])));
}

#[test]
fn numbers_are_compared_and_a_missing_one_has_its_default() {
    let with = |local_pref, med| {
        let attrs = Arc::new(Attrs { local_pref, med, ..Attrs::clone(&path()) });
        move |condition| holds_for(condition, &context(), &attrs)
    };
    let missing = with(None, None);
    assert!(missing(Condition::LocalPref(100..=100)));
    assert!(!missing(Condition::LocalPref(101..=u32::MAX)));
    assert!(missing(Condition::Med(0..=0)));
    let there = with(Some(200), Some(5));
    assert!(there(Condition::LocalPref(101..=200)));
    assert!(!there(Condition::LocalPref(0..=199)));
    assert!(there(Condition::Med(5..=5)));
    assert!(!there(Condition::Med(0..=4)));
}

#[test]
fn peers_are_told_apart_by_name_group_and_as_in_both_directions() {
    let receiver = PeerRef { name: "spine", group: None, asn: Asn(65009), next_hop: PEER.next_hop };
    let exported = Context { peer: receiver, ..context() };
    let local = Context { from: None, source: Source::Local, ..exported };
    let tests = |name: &str, group: &str, asn| {
        [
            PeerTest::Name(vec!["x".into(), name.into()]),
            PeerTest::Group(vec![group.into()]),
            PeerTest::Asn(asns(&[asn])),
        ]
    };
    for test in tests("tor-a", "tors", 65001) {
        assert!(holds(Condition::Peer(test.clone())), "{test:?}");
        assert!(holds(Condition::LearnedFrom(test.clone())), "{test:?}");
        assert!(!holds_for(Condition::Peer(test.clone()), &exported, &path()), "{test:?}");
        assert!(holds_for(Condition::LearnedFrom(test.clone()), &exported, &path()), "{test:?}");
        assert!(!holds_for(Condition::LearnedFrom(test.clone()), &local, &path()), "{test:?}");
    }
    let [name, group, asn] = tests("spine", "spines", 65009);
    assert!(holds_for(Condition::Peer(name), &exported, &path()));
    assert!(!holds_for(Condition::Peer(group), &exported, &path()), "it is in no group");
    assert!(holds_for(Condition::Peer(asn), &exported, &path()));
}

#[test]
fn not_turns_a_condition_around() {
    let not = |condition| Condition::Not(Box::new(condition));
    assert!(holds(not(Condition::Origin(vec![Origin::Egp]))));
    assert!(!holds(not(Condition::Origin(vec![Origin::Igp]))));
    assert!(holds(not(not(Condition::Origin(vec![Origin::Igp])))));
}
