//! Policy by example: what matches, what is changed, who decides.

use std::net::Ipv4Addr;

use super::*;
use crate::{aspath::AsPath, attrs::NextHop};

fn path() -> Arc<Attrs> {
    let mut attrs = Attrs::originated(NextHop::new(Ipv4Addr::new(192, 0, 2, 1).into()));
    attrs.as_path = AsPath::sequence([65001, 65002]);
    attrs.communities = vec![Community(65000 << 16 | 100), Community::NO_EXPORT];
    attrs.large_communities = vec![LargeCommunity { global: 65000, local1: 1, local2: 2 }];
    Arc::new(attrs)
}

fn prefix() -> Prefix {
    "10.1.0.0/16".parse().unwrap()
}

fn statement(
    name: &str,
    conditions: Vec<Condition>,
    actions: Vec<Action>,
    decision: Option<Decision>,
) -> Statement {
    Statement { name: name.into(), conditions, actions, decision }
}

fn policy(statements: Vec<Statement>, default: Decision) -> Policy {
    Policy { name: "p".into(), statements, default }
}

fn holds(condition: Condition) -> bool {
    let accept = statement("s", vec![condition], vec![], Some(Decision::Accept));
    let policy = policy(vec![accept], Decision::Reject);
    matches!(policy.apply(prefix(), &path(), Source::Ebgp), Outcome::Accepted(_))
}

fn accepted(policy: &Policy) -> Arc<Attrs> {
    match policy.apply(prefix(), &path(), Source::Ebgp) {
        Outcome::Accepted(attrs) => attrs,
        Outcome::Rejected(rejection) => panic!("rejected by {rejection}"),
    }
}

#[test]
fn prefix_ranges_match_prefixes_inside_with_a_length_in_the_range() {
    let range = |prefix: &str, min_len, max_len| {
        let prefix = prefix.parse().unwrap();
        Condition::Prefix(vec![PrefixMatch { prefix, min_len, max_len }])
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
fn each_condition_holds_for_what_it_names_and_nothing_else() {
    assert!(holds(Condition::Community(vec![Community(1), Community::NO_EXPORT])));
    assert!(!holds(Condition::Community(vec![Community(1)])));
    let large = LargeCommunity { global: 65000, local1: 1, local2: 2 };
    assert!(holds(Condition::LargeCommunity(vec![large])));
    assert!(!holds(Condition::LargeCommunity(vec![LargeCommunity { local2: 3, ..large }])));
    assert!(holds(Condition::AsPathContains(vec![Asn(65001)])));
    assert!(!holds(Condition::AsPathContains(vec![Asn(65003)])));
    assert!(holds(Condition::OriginatedBy(vec![Asn(65002)])));
    assert!(!holds(Condition::OriginatedBy(vec![Asn(65001)])));
    assert!(holds(Condition::AsPathLength { min: 2, max: 2 }));
    assert!(!holds(Condition::AsPathLength { min: 0, max: 1 }));
    assert!(!holds(Condition::AsPathLength { min: 3, max: 9 }));
    assert!(holds(Condition::Origin(Origin::Igp)));
    assert!(!holds(Condition::Origin(Origin::Incomplete)));
    assert!(holds(Condition::Source(Source::Ebgp)));
    assert!(!holds(Condition::Source(Source::Local)));
    assert!(!holds(Condition::Community(vec![])), "one of none");
}

#[test]
fn all_conditions_of_a_statement_must_hold() {
    let both = |source| vec![Condition::Origin(Origin::Igp), Condition::Source(source)];
    let try_it = |source| {
        let one = statement("s", both(source), vec![], Some(Decision::Accept));
        policy(vec![one], Decision::Reject).apply(prefix(), &path(), Source::Ebgp)
    };
    assert!(matches!(try_it(Source::Ebgp), Outcome::Accepted(_)));
    assert!(matches!(try_it(Source::Ibgp), Outcome::Rejected(_)));
}

#[test]
fn a_statement_without_decision_goes_on_and_its_changes_stay_and_are_seen() {
    let mark = Community(65000 << 16 | 1);
    let policy = policy(
        vec![
            statement("mark", vec![], vec![Action::AddCommunities(vec![mark])], None),
            statement(
                "marked",
                vec![Condition::Community(vec![mark])],
                vec![Action::SetLocalPref(200)],
                Some(Decision::Accept),
            ),
            statement("late", vec![], vec![Action::SetMed(1)], Some(Decision::Reject)),
        ],
        Decision::Reject,
    );
    let attrs = accepted(&policy);
    assert!(attrs.has(mark));
    assert_eq!((attrs.local_pref, attrs.med), (Some(200), None));
}

#[test]
fn every_action_changes_what_it_names() {
    let (low, high) = (Community(1), Community(0xFFFF_FFFF));
    let large = LargeCommunity { global: 1, local1: 0, local2: 0 };
    let actions = vec![
        Action::SetLocalPref(50),
        Action::SetMed(9),
        Action::AddCommunities(vec![high, low, high]),
        Action::RemoveCommunities(vec![Community::NO_EXPORT]),
        Action::AddLargeCommunities(vec![large]),
        Action::Prepend { asn: Asn(65000), times: 2 },
    ];
    let attrs = accepted(&policy(vec![statement("s", vec![], actions, None)], Decision::Accept));
    assert_eq!((attrs.local_pref, attrs.med), (Some(50), Some(9)));
    assert_eq!(attrs.communities, [low, Community(65000 << 16 | 100), high]);
    assert_eq!(attrs.large_communities[0], large);
    assert_eq!(attrs.as_path, AsPath::sequence([65000, 65000, 65001, 65002]));
}

#[test]
fn attributes_that_end_up_unchanged_are_the_same_arc() {
    let there = Action::AddCommunities(vec![Community::NO_EXPORT]);
    let policy = policy(vec![statement("s", vec![], vec![there], None)], Decision::Accept);
    let before = path();
    let outcome = policy.apply(prefix(), &before, Source::Ebgp);
    let Outcome::Accepted(after) = outcome else { panic!("{outcome:?}") };
    assert!(Arc::ptr_eq(&before, &after));
}

#[test]
fn a_rejection_names_the_statement_or_the_default() {
    let no = statement("martians", vec![], vec![], Some(Decision::Reject));
    for (statements, text) in
        [(vec![no], "statement martians of policy p"), (vec![], "the default of policy p")]
    {
        let outcome = policy(statements, Decision::Reject).apply(prefix(), &path(), Source::Ebgp);
        let Outcome::Rejected(rejection) = outcome else { panic!("{outcome:?}") };
        assert_eq!(rejection.to_string(), text);
    }
}

#[test]
fn the_built_in_policies_do_what_their_names_say() {
    for (policy, local, learned) in [
        (Policy::accept_all(), true, true),
        (Policy::reject_all(), false, false),
        (Policy::originated(), true, false),
    ] {
        let accepts =
            |source| matches!(policy.apply(prefix(), &path(), source), Outcome::Accepted(_));
        assert_eq!(accepts(Source::Local), local, "{}", policy.name);
        assert_eq!(accepts(Source::Ebgp), learned, "{}", policy.name);
        assert_eq!(accepts(Source::Ibgp), learned, "{}", policy.name);
    }
}
