//! Policy by example: what matches, what is changed, who decides. Random policies are compared
//! with a naive interpreter in `naive`.

mod actions;
mod conditions;
mod explanations;
mod naive;

use std::net::{IpAddr, Ipv4Addr};

use super::*;
use crate::{
    aspath::AsPath,
    attrs::{NextHop, Origin},
    community::{Community, LargeCommunity},
};

const PEER: PeerRef<'static> = PeerRef {
    name: "tor-a",
    group: Some("tors"),
    asn: Asn(65001),
    next_hop: NextHop::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1))),
};

fn path() -> Arc<Attrs> {
    let mut attrs = Attrs::originated(PEER.next_hop);
    attrs.as_path = AsPath::sequence([65001, 65002]);
    attrs.communities = vec![Community(65000 << 16 | 100), Community::NO_EXPORT];
    attrs.large_communities = vec![LargeCommunity { global: 65000, local1: 1, local2: 2 }];
    attrs.ext_communities = vec!["rt:65000:7".parse().unwrap()];
    Arc::new(attrs)
}

fn prefix(text: &str) -> Prefix {
    text.parse().unwrap()
}

/// A path of this prefix that came from `PEER` by eBGP, and is being imported.
fn imported(text: &str) -> Context<'static> {
    let (prefix, source) = (prefix(text), Source::Ebgp);
    Context { prefix, source, local_asn: Asn(65000), peer: PEER, from: Some(PEER) }
}

fn context() -> Context<'static> {
    imported("10.1.0.0/16")
}

fn statement(
    name: &str,
    conditions: Vec<Condition>,
    actions: Vec<Action>,
    decision: Option<Decision>,
) -> Statement {
    Statement { name: name.into(), conditions, actions, apply: None, decision }
}

/// A statement that matches everything and applies this policy.
fn applying(name: &str, policy: &Arc<Policy>, decision: Option<Decision>) -> Statement {
    Statement { apply: Some(Arc::clone(policy)), ..statement(name, vec![], vec![], decision) }
}

fn policy(name: &str, statements: Vec<Statement>, default: Decision) -> Policy {
    Policy { name: name.into(), statements, default }
}

fn accepted(policy: &Policy) -> Arc<Attrs> {
    match policy.apply(&context(), &path()) {
        Outcome::Accepted(accepted) => accepted.attrs,
        Outcome::Rejected(rejection) => panic!("rejected by {rejection}"),
    }
}

fn rejected(policy: &Policy) -> String {
    match policy.apply(&context(), &path()) {
        Outcome::Accepted(accepted) => panic!("accepted: {accepted:?}"),
        Outcome::Rejected(rejection) => rejection.to_string(),
    }
}

fn add(community: Community) -> Action {
    Action::Communities(Edit::Add(vec![community]))
}

fn carries(community: Community) -> Condition {
    Condition::Communities(Carries::Any([TagMatch::Exact(community)].into_iter().collect()))
}

#[test]
fn all_conditions_of_a_statement_must_hold() {
    let try_it = |source| {
        let both = vec![Condition::Origin(vec![Origin::Igp]), Condition::Source(vec![source])];
        let one = statement("s", both, vec![], Some(Decision::Accept));
        policy("p", vec![one], Decision::Reject).apply(&context(), &path())
    };
    assert!(matches!(try_it(Source::Ebgp), Outcome::Accepted(_)));
    assert!(matches!(try_it(Source::Ibgp), Outcome::Rejected(_)));
}

#[test]
fn a_statement_without_decision_goes_on_and_its_changes_stay_and_are_seen() {
    let mark = Community(65000 << 16 | 1);
    let prefer = Action::LocalPref(Adjust::Set(200));
    let late = Action::Med(Adjust::Set(1));
    let statements = vec![
        statement("mark", vec![], vec![add(mark)], None),
        statement("marked", vec![carries(mark)], vec![prefer], Some(Decision::Accept)),
        statement("late", vec![], vec![late], Some(Decision::Reject)),
    ];
    let attrs = accepted(&policy("p", statements, Decision::Reject));
    assert!(attrs.has(mark));
    assert_eq!((attrs.local_pref, attrs.med), (Some(200), None));
}

#[test]
fn attributes_that_end_up_unchanged_are_the_same_arc() {
    let mark = Community(1);
    let remove = Edit::Remove([TagMatch::Exact(mark)].into_iter().collect());
    for actions in [
        vec![add(Community::NO_EXPORT)],
        vec![add(mark), Action::Communities(remove)],
        vec![Action::SetOrigin(Origin::Igp), Action::RemoveMed, Action::SetWeight(0)],
    ] {
        let policy = policy("p", vec![statement("s", vec![], actions, None)], Decision::Accept);
        let before = path();
        let Outcome::Accepted(after) = policy.apply(&context(), &before) else { panic!() };
        assert!(Arc::ptr_eq(&before, &after.attrs));
    }
}

#[test]
fn a_rejection_names_the_statement_or_the_default() {
    let statements = vec![
        statement("first", vec![Condition::Source(vec![Source::Local])], vec![], None),
        statement("second", vec![], vec![], Some(Decision::Reject)),
    ];
    let by_statement = policy("in", statements, Decision::Accept);
    assert_eq!(rejected(&by_statement), "statement second of policy in");
    let by_default = policy("in", vec![], Decision::Reject);
    assert_eq!(rejected(&by_default), "the default of policy in");
    let by_nobody = policy("in", vec![], Decision::NextPolicy);
    assert_eq!(rejected(&by_nobody), "the default of policy in");
}

#[test]
fn the_built_in_policies_do_what_their_names_say() {
    let accepts = |policy: &Policy, source| {
        matches!(policy.apply(&Context { source, ..context() }, &path()), Outcome::Accepted(_))
    };
    for source in [Source::Local, Source::Ebgp, Source::Ibgp] {
        assert!(accepts(&Policy::accept_all(), source));
        assert!(!accepts(&Policy::reject_all(), source));
        assert_eq!(accepts(&Policy::originated(), source), source == Source::Local);
    }
}

#[test]
fn in_a_chain_the_first_policy_that_decides_ends_it_and_earlier_changes_stay() {
    let mark = Community(7);
    let marks = Arc::new(policy(
        "marks",
        vec![statement("s", vec![], vec![add(mark)], None)],
        Decision::NextPolicy,
    ));
    let says = |name, decision| Arc::new(policy(name, vec![], decision));
    let (yes, no) = (says("yes", Decision::Accept), says("no", Decision::Reject));
    let chain = |list: &[&Arc<Policy>]| Policy::chain(list.iter().copied().cloned().collect());

    assert!(accepted(&chain(&[&marks, &yes, &no])).has(mark));
    assert_eq!(rejected(&chain(&[&marks, &no, &yes])), "the default of policy no");
    assert_eq!(rejected(&chain(&[&marks])), "the default of policy marks");
    assert_eq!(rejected(&chain(&[])), "the default of policy ");
}

#[test]
fn an_applied_policy_decides_or_leaves_the_path_with_its_changes() {
    let mark = Community(7);
    let scrub = Arc::new(policy(
        "scrub",
        vec![
            statement("martian", vec![carries(Community(1))], vec![], Some(Decision::Reject)),
            statement("mark", vec![], vec![add(mark)], None),
        ],
        Decision::NextPolicy,
    ));
    let outer = |first: Vec<Action>| {
        let begin = statement("begin", vec![], first, None);
        let then = applying("scrubbed", &scrub, Some(Decision::Accept));
        policy("outer", vec![begin, then], Decision::Reject)
    };
    assert!(accepted(&outer(vec![])).has(mark));
    let refused = rejected(&outer(vec![add(Community(1))]));
    assert_eq!(refused, "statement martian of policy scrub");
}

#[test]
fn a_policy_as_condition_changes_nothing() {
    let inner = Arc::new(policy(
        "inner",
        vec![statement("s", vec![], vec![add(Community(7))], None)],
        Decision::Accept,
    ));
    let asks = |condition| {
        let ask = statement("ask", vec![condition], vec![], Some(Decision::Accept));
        policy("outer", vec![ask], Decision::Reject)
    };
    let before = path();
    let outcome = asks(Condition::Policy(Arc::clone(&inner))).apply(&context(), &before);
    let Outcome::Accepted(after) = outcome else { panic!("{outcome:?}") };
    assert!(Arc::ptr_eq(&before, &after.attrs));
    rejected(&asks(Condition::Not(Box::new(Condition::Policy(inner)))));
    let leaves = Arc::new(policy("leaves", vec![], Decision::NextPolicy));
    rejected(&asks(Condition::Policy(leaves)));
}

#[test]
fn inputs_name_what_an_answer_depends_on() {
    let asking = |condition| {
        let inner = Arc::new(policy(
            "inner",
            vec![statement("s", vec![condition], vec![], None)],
            Decision::NextPolicy,
        ));
        policy("p", vec![applying("a", &inner, None)], Decision::Accept)
    };
    let group = || PeerTest::Group(vec!["tors".into()]);
    let not = |condition| Condition::Not(Box::new(condition));
    let (no, yes) = (false, true);
    for (condition, prefix, peer, from) in [
        (Condition::Origin(vec![Origin::Igp]), no, no, no),
        (Condition::Prefix(PrefixSet::default()), yes, no, no),
        (not(Condition::Peer(group())), no, yes, no),
        (not(Condition::LearnedFrom(group())), no, no, yes),
        (Condition::Policy(Arc::new(asking(Condition::Prefix(PrefixSet::default())))), yes, no, no),
    ] {
        let policy = asking(condition);
        assert_eq!(policy.inputs(), Inputs { prefix, peer, from, next_hop: false }, "{policy:?}");
        assert_eq!(policy.depends_on_prefix(), prefix);
    }
    let peer = Action::SetNextHop(NextHopAction::Peer);
    let to_peer = policy("p", vec![statement("s", vec![], vec![peer], None)], Decision::Accept);
    assert!(to_peer.inputs().peer);
}
