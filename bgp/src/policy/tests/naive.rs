//! Random policies against an interpreter that knows no compiled form: it works on plain lists
//! and numbers, copies everything, and follows the words of the language.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// A policy as somebody would say it. Others are named by their number, always a lower one.
#[derive(Clone, Debug)]
struct Said {
    statements: Vec<SaidStatement>,
    default: Decision,
}

#[derive(Clone, Debug)]
struct SaidStatement {
    conditions: Vec<(bool, Test)>,
    acts: Vec<Act>,
    apply: Option<usize>,
    decision: Option<Decision>,
}

/// A community with `None` for a star.
type Star = (Option<u16>, Option<u16>);

#[derive(Clone, Debug)]
enum Test {
    Inside(Vec<(Prefix, u8, u8)>),
    Contains(Vec<(u32, u32)>),
    From(u32),
    Hops(usize, usize),
    AnyOf(Vec<Star>),
    AllOf(Vec<Star>),
    Count(usize),
    LocalPref(u32, u32),
    Med(u32, u32),
    Source(Source),
    Peer(bool),
    Sender(bool),
    Accepts(usize),
}

#[derive(Clone, Debug)]
enum Act {
    LocalPref(i64),
    Med(Option<i64>),
    Add(Vec<(u16, u16)>),
    Remove(Vec<Star>),
    Replace(Vec<(u16, u16)>),
    Prepend(usize),
    PrependLast(usize),
}

/// A path in plain terms.
#[derive(Clone, Debug, PartialEq)]
struct Plain {
    asns: Vec<u32>,
    communities: BTreeSet<(u16, u16)>,
    local_pref: Option<u32>,
    med: Option<u32>,
}

fn matches_star((high, low): (u16, u16), star: Star) -> bool {
    star.0.is_none_or(|wanted| wanted == high) && star.1.is_none_or(|wanted| wanted == low)
}

fn holds(said: &[Said], test: &Test, context: &Context<'_>, path: &Plain) -> bool {
    let carried = |star: &Star| path.communities.iter().any(|tag| matches_star(*tag, *star));
    match test {
        Test::Inside(list) => list.iter().any(|(around, min, max)| {
            let len = context.prefix.len();
            around.covers(context.prefix) && *min <= len && len <= *max
        }),
        Test::Contains(list) => {
            path.asns.iter().any(|asn| list.iter().any(|(low, high)| low <= asn && asn <= high))
        }
        Test::From(asn) => path.asns.first() == Some(asn),
        Test::Hops(min, max) => *min <= path.asns.len() && path.asns.len() <= *max,
        Test::AnyOf(stars) => stars.iter().any(carried),
        Test::AllOf(stars) => stars.iter().all(carried),
        Test::Count(count) => path.communities.len() == *count,
        Test::LocalPref(min, max) => (*min..=*max).contains(&path.local_pref.unwrap_or(100)),
        Test::Med(min, max) => (*min..=*max).contains(&path.med.unwrap_or(0)),
        Test::Source(source) => context.source == *source,
        Test::Peer(is_tor) => (context.peer.name == "tor-a") == *is_tor,
        Test::Sender(is_tor) => context.from.is_some_and(|from| (from.name == "tor-a") == *is_tor),
        Test::Accepts(number) => run(said, *number, context, &mut path.clone()) == Decision::Accept,
    }
}

fn act(act: &Act, context: &Context<'_>, path: &mut Plain) {
    let moved = |old: u32, by: i64| {
        u32::try_from((i64::from(old) + by).clamp(0, i64::from(u32::MAX))).unwrap()
    };
    match act {
        Act::LocalPref(by) => path.local_pref = Some(moved(path.local_pref.unwrap_or(100), *by)),
        Act::Med(by) => path.med = by.map(|by| moved(path.med.unwrap_or(0), by)),
        Act::Add(tags) => path.communities.extend(tags),
        Act::Remove(stars) => {
            path.communities.retain(|tag| !stars.iter().any(|star| matches_star(*tag, *star)));
        }
        Act::Replace(tags) => path.communities = tags.iter().copied().collect(),
        Act::Prepend(times) => {
            path.asns.splice(0..0, vec![context.local_asn.0; *times]);
        }
        Act::PrependLast(times) => {
            if let Some(first) = path.asns.first().copied() {
                path.asns.splice(0..0, vec![first; *times]);
            }
        }
    }
}

fn run(said: &[Said], number: usize, context: &Context<'_>, path: &mut Plain) -> Decision {
    for statement in &said[number].statements {
        let all = statement
            .conditions
            .iter()
            .all(|(positive, test)| holds(said, test, context, path) == *positive);
        if !all {
            continue;
        }
        for one in &statement.acts {
            act(one, context, path);
        }
        if let Some(inner) = statement.apply {
            let decision = run(said, inner, context, path);
            if decision != Decision::NextPolicy {
                return decision;
            }
        }
        if let Some(decision) = statement.decision {
            return decision;
        }
    }
    said[number].default
}

fn community((high, low): (u16, u16)) -> Community {
    Community(u32::from(high) << 16 | u32::from(low))
}

fn tag((high, low): Star) -> TagMatch<Community> {
    let part = |part: Option<u16>| part.map_or("*".to_owned(), |number| number.to_string());
    format!("{}:{}", part(high), part(low)).parse().unwrap()
}

/// The real policies of what was said, each with those before it inside.
fn compiled(said: &[Said]) -> Vec<Arc<Policy>> {
    let mut made: Vec<Arc<Policy>> = Vec::new();
    for (number, policy) in said.iter().enumerate() {
        let statements = policy.statements.iter().enumerate().map(|(i, said)| Statement {
            name: format!("s{i}").into(),
            conditions: said
                .conditions
                .iter()
                .map(|(yes, test)| condition(*yes, test, &made))
                .collect(),
            actions: said.acts.iter().map(action).collect(),
            apply: said.apply.map(|inner| Arc::clone(&made[inner])),
            decision: said.decision,
        });
        let statements = statements.collect();
        let name = format!("p{number}").into();
        made.push(Arc::new(Policy { name, statements, default: policy.default }));
    }
    made
}

fn condition(positive: bool, test: &Test, made: &[Arc<Policy>]) -> Condition {
    let names = |is_tor: bool| PeerTest::Name(vec![if is_tor { "tor-a" } else { "other" }.into()]);
    let condition = match test {
        Test::Inside(list) => Condition::Prefix(
            list.iter()
                .map(|(prefix, min_len, max_len)| PrefixMatch {
                    prefix: *prefix,
                    min_len: *min_len,
                    max_len: *max_len,
                })
                .collect(),
        ),
        Test::Contains(list) => Condition::AsPathContains(
            list.iter().map(|(low, high)| (Asn(*low), Asn(*high))).collect(),
        ),
        Test::From(asn) => Condition::NeighborAs([Asn(*asn)].into_iter().collect()),
        Test::Hops(min, max) => Condition::AsPathLength(*min..=*max),
        Test::AnyOf(stars) => {
            Condition::Communities(Carries::Any(stars.iter().copied().map(tag).collect()))
        }
        Test::AllOf(stars) => {
            Condition::Communities(Carries::All(stars.iter().copied().map(tag).collect()))
        }
        Test::Count(count) => Condition::Communities(Carries::Count(*count..=*count)),
        Test::LocalPref(min, max) => Condition::LocalPref(*min..=*max),
        Test::Med(min, max) => Condition::Med(*min..=*max),
        Test::Source(source) => Condition::Source(vec![*source]),
        Test::Peer(is_tor) => Condition::Peer(names(*is_tor)),
        Test::Sender(is_tor) => Condition::LearnedFrom(names(*is_tor)),
        Test::Accepts(inner) => Condition::Policy(Arc::clone(&made[*inner])),
    };
    if positive { condition } else { Condition::Not(Box::new(condition)) }
}

fn action(act: &Act) -> Action {
    let adjust = |by: i64| {
        let size = u32::try_from(by.unsigned_abs()).unwrap();
        if by < 0 { Adjust::Subtract(size) } else { Adjust::Add(size) }
    };
    let list = |tags: &[(u16, u16)]| tags.iter().copied().map(community).collect();
    match act {
        Act::LocalPref(by) => Action::LocalPref(adjust(*by)),
        Act::Med(Some(by)) => Action::Med(adjust(*by)),
        Act::Med(None) => Action::RemoveMed,
        Act::Add(tags) => Action::Communities(Edit::Add(list(tags))),
        Act::Remove(stars) => {
            Action::Communities(Edit::Remove(stars.iter().copied().map(tag).collect()))
        }
        Act::Replace(tags) => Action::Communities(Edit::Replace(list(tags))),
        Act::Prepend(times) => Action::Prepend(*times),
        Act::PrependLast(times) => Action::PrependLastAs(*times),
    }
}

/// Small worlds, so that things meet.
fn prefixes() -> impl Strategy<Value = Prefix> {
    (0..4_u32, 8..12_u8)
        .prop_map(|(bits, len)| Prefix::new(Ipv4Addr::from_bits(bits << 22).into(), len).unwrap())
}

fn stars() -> impl Strategy<Value = Vec<Star>> {
    let part = || prop_oneof![Just(None), (0..3_u16).prop_map(Some)];
    prop::collection::vec((part(), part()), 0..3)
}

fn communities() -> impl Strategy<Value = Vec<(u16, u16)>> {
    prop::collection::vec((0..3_u16, 0..3_u16), 0..4)
}

fn decisions() -> impl Strategy<Value = Decision> {
    prop::sample::select(vec![Decision::Accept, Decision::Reject, Decision::NextPolicy])
}

fn tests(number: usize) -> BoxedStrategy<Test> {
    let range = || (0..4_u32, 0..4_u32);
    let inside = prop::collection::vec((prefixes(), 7..12_u8, 8..13_u8), 0..3);
    let simple = prop_oneof![
        inside.prop_map(Test::Inside),
        prop::collection::vec(range(), 0..3).prop_map(Test::Contains),
        (0..4_u32).prop_map(Test::From),
        (0..3_usize, 0..4_usize).prop_map(|(min, max)| Test::Hops(min, max)),
        stars().prop_map(Test::AnyOf),
        stars().prop_map(Test::AllOf),
        (0..3_usize).prop_map(Test::Count),
        (98..102_u32, 98..102_u32).prop_map(|(min, max)| Test::LocalPref(min, max)),
        range().prop_map(|(min, max)| Test::Med(min, max)),
        prop::sample::select(vec![Source::Local, Source::Ebgp, Source::Ibgp])
            .prop_map(Test::Source),
        any::<bool>().prop_map(Test::Peer),
        any::<bool>().prop_map(Test::Sender),
    ];
    if number == 0 {
        return simple.boxed();
    }
    prop_oneof![5 => simple, 1 => (0..number).prop_map(Test::Accepts)].boxed()
}

fn acts() -> impl Strategy<Value = Act> {
    let step = || -2..3_i64;
    prop_oneof![
        step().prop_map(Act::LocalPref),
        prop::option::of(step()).prop_map(Act::Med),
        communities().prop_map(Act::Add),
        stars().prop_map(Act::Remove),
        communities().prop_map(Act::Replace),
        (1..3_usize).prop_map(Act::Prepend),
        (1..3_usize).prop_map(Act::PrependLast),
    ]
}

fn policies(number: usize) -> impl Strategy<Value = Said> {
    let inner = if number == 0 {
        Just(None).boxed()
    } else {
        prop_oneof![2 => Just(None), 1 => (0..number).prop_map(Some)].boxed()
    };
    let conditions = prop::collection::vec((any::<bool>(), tests(number)), 0..3);
    let statement =
        (conditions, prop::collection::vec(acts(), 0..3), inner, prop::option::of(decisions()))
            .prop_map(|(conditions, acts, apply, decision)| SaidStatement {
                conditions,
                acts,
                apply,
                decision,
            });
    (prop::collection::vec(statement, 0..5), decisions())
        .prop_map(|(statements, default)| Said { statements, default })
}

fn paths() -> impl Strategy<Value = Plain> {
    let asns = prop::collection::vec(0..4_u32, 0..4);
    (asns, communities(), prop::option::of(98..102_u32), prop::option::of(0..3_u32)).prop_map(
        |(asns, communities, local_pref, med)| {
            let communities = communities.into_iter().collect();
            Plain { asns, communities, local_pref, med }
        },
    )
}

const OTHER: PeerRef<'static> = PeerRef { name: "other", group: None, ..PEER };

fn contexts() -> impl Strategy<Value = Context<'static>> {
    let peer = || prop::sample::select(vec![PEER, OTHER]);
    let source = prop::sample::select(vec![Source::Local, Source::Ebgp, Source::Ibgp]);
    (prefixes(), source, peer(), prop::option::of(peer())).prop_map(
        |(prefix, source, peer, from)| Context { prefix, source, local_asn: Asn(1), peer, from },
    )
}

fn attrs(plain: &Plain) -> Arc<Attrs> {
    let mut attrs = Attrs::clone(&path());
    attrs.as_path = AsPath::sequence(plain.asns.iter().copied());
    attrs.communities = plain.communities.iter().copied().map(community).collect();
    attrs.local_pref = plain.local_pref;
    attrs.med = plain.med;
    Arc::new(attrs)
}

fn all_policies() -> impl Strategy<Value = Vec<Said>> {
    (policies(0), policies(1), policies(2)).prop_map(|(a, b, c)| vec![a, b, c])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn random_policies_do_what_their_words_say(
        said in all_policies(), before in paths(), context in contexts(),
    ) {
        let policy = compiled(&said).pop().unwrap();
        let mut after = before.clone();
        let decision = run(&said, said.len() - 1, &context, &mut after);
        let received = attrs(&before);
        let outcome = policy.apply(&context, &received);
        match &outcome {
            Outcome::Accepted(accepted) => {
                prop_assert_eq!(decision, Decision::Accept);
                prop_assert_eq!(&accepted.attrs, &attrs(&after));
                let same = Arc::ptr_eq(&accepted.attrs, &received);
                prop_assert_eq!(same, before == after, "the same Arc if nothing changed");
            }
            Outcome::Rejected(_) => prop_assert_ne!(decision, Decision::Accept),
        }
        prop_assert_eq!(policy.explain(&context, &received).outcome, outcome);
    }

    #[test]
    fn what_a_policy_does_not_depend_on_makes_no_difference(
        said in all_policies(), path in paths(), context in contexts(), other in contexts(),
    ) {
        let policy = compiled(&said).pop().unwrap();
        let inputs = policy.inputs();
        let (from, peer) = (
            if inputs.from { context.from } else { other.from },
            if inputs.peer { context.peer } else { other.peer },
        );
        let prefix = if inputs.prefix { context.prefix } else { other.prefix };
        let other = Context { prefix, from, peer, ..context };
        let path = attrs(&path);
        prop_assert_eq!(policy.apply(&context, &path), policy.apply(&other, &path));
    }
}
