//! Explanations: every statement that was tried, what it did, and who decided.

use super::*;

/// The steps as lines, inner policies indented.
fn lines(explanation: &Explanation) -> Vec<String> {
    let line = |step: &Step| {
        let name = step.statement.as_deref().unwrap_or("default");
        format!("{}{}/{name}: {}", "  ".repeat(step.depth), step.policy, step.result)
    };
    explanation.steps.iter().map(line).collect()
}

#[test]
fn every_statement_that_was_tried_is_told_with_what_it_changed_and_who_decided() {
    let inner = Arc::new(policy(
        "scrub",
        vec![
            statement("martian", vec![carries(Community(1))], vec![], Some(Decision::Reject)),
            statement("mark", vec![], vec![add(Community(7))], None),
        ],
        Decision::NextPolicy,
    ));
    let asked = Arc::new(policy(
        "ours",
        vec![statement("s", vec![carries(Community(9))], vec![], Some(Decision::Accept))],
        Decision::Reject,
    ));
    let is_ours = || Condition::Policy(Arc::clone(&asked));
    let prefer = vec![
        Action::LocalPref(Adjust::Set(200)),
        Action::Prepend(1),
        Action::SetNextHop(NextHopAction::Own),
        Action::Communities(Edit::Remove(
            [TagMatch::Exact(Community::NO_EXPORT)].into_iter().collect(),
        )),
    ];
    let statements = vec![
        statement("ours", vec![is_ours()], vec![], Some(Decision::Reject)),
        statement("first", vec![Condition::Not(Box::new(is_ours()))], prefer, None),
        applying("scrubbed", &inner, None),
        statement("end", vec![], vec![], Some(Decision::Accept)),
        statement("late", vec![], vec![], None),
    ];
    let explanation = policy("in", statements, Decision::Reject).explain(&context(), &path());
    assert_eq!(
        lines(&explanation),
        [
            "in/ours: no match: policy ours",
            "  ours/s: no match: communities",
            "  ours/default: reject",
            "in/first: local_preference none -> 200, as_path 65001 65002 -> 65000 65001 65002, \
             communities -no-export, next_hop 192.0.2.1 -> self",
            "  ours/s: no match: communities",
            "  ours/default: reject",
            "in/scrubbed: match",
            "  scrub/martian: no match: communities",
            "  scrub/mark: communities +0:7",
            "  scrub/default: next-policy",
            "in/end: accept",
        ]
    );
    assert_eq!((&*explanation.policy, explanation.statement.as_deref()), ("in", Some("end")));
    assert!(matches!(explanation.outcome, Outcome::Accepted(_)));
}

#[test]
fn the_one_who_decides_may_be_a_default_or_an_inner_policy() {
    let no = Arc::new(policy("no", vec![], Decision::Reject));
    let chain = Policy::chain(vec![Arc::clone(&no)]);
    let explanation = chain.explain(&context(), &path());
    assert_eq!(lines(&explanation), ["no/no: match", "  no/default: reject"]);
    assert_eq!((&*explanation.policy, explanation.statement.as_deref()), ("no", None));
}

#[test]
fn changes_are_told_attribute_by_attribute() {
    let before = Attrs::clone(&path());
    assert_eq!(changes(&before, &before), []);
    let mut after = before.clone();
    after.weight = 5;
    after.med = Some(1);
    after.origin = Origin::Egp;
    after.as_path = AsPath::empty();
    after.next_hop = NextHop::new("10.0.0.1".parse().unwrap());
    after.large_communities.clear();
    after.ext_communities = vec!["lb:65000:1Gbit".parse().unwrap()];
    let told: Vec<_> = changes(&before, &after).iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "weight 0 -> 5",
            "med none -> 1",
            "origin igp -> egp",
            "as_path 65001 65002 -> empty",
            "next_hop 192.0.2.1 -> 10.0.0.1",
            "large_communities -65000:1:2",
            "extended_communities +lb:65000:1Gbit -rt:65000:7",
        ]
    );
}
