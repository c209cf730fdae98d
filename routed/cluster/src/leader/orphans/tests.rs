//! Single promises, and a world in which nodes, their objects and their daemons come and go while
//! leaders change.

use proptest::prelude::*;

use super::*;

const AFTER: Duration = Duration::from_secs(600);

fn block(node: &str, number: u32, orphaned: Option<&str>) -> Block {
    Block {
        name: format!("10-0-0-{number}-32"),
        uid: format!("u{number}"),
        version: "1".to_owned(),
        node: node.to_owned(),
        pool: "pods".to_owned(),
        orphaned: orphaned.map(str::to_owned),
    }
}

fn listing(nodes: &[&str], blocks: Vec<Block>, sign: Option<&str>) -> Listing {
    Listing {
        nodes: nodes.iter().map(|node| (*node).to_owned()).collect(),
        blocks,
        signs: sign.map(|sign| ("n1".to_owned(), sign.to_owned())).into_iter().collect(),
    }
}

fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(60 * minutes)
}

#[test]
fn a_block_is_freed_after_two_listings_and_a_report_in_between() {
    let (now, mut orphans) = (Instant::now(), Orphans::new(AFTER));
    let seen = |orphaned| listing(&["n2"], vec![block("n1", 1, orphaned)], None);
    assert_eq!(orphans.observe(&seen(None), now), [Act::Tell(block("n1", 1, None), AFTER)]);
    assert_eq!(orphans.observe(&seen(Some(GONE)), now + minutes(9)), []);
    let told = orphans.orphans(&seen(Some(GONE))).map(|orphan| orphan.freed).collect::<Vec<_>>();
    assert_eq!(told, [Some(now + AFTER)]);
    // If it could not be reported, it is not freed.
    let rest = Duration::ZERO;
    assert_eq!(
        orphans.observe(&seen(None), now + minutes(10)),
        [Act::Tell(block("n1", 1, None), rest)]
    );
    let gone = block("n1", 1, Some(GONE));
    assert_eq!(orphans.observe(&seen(Some(GONE)), now + minutes(11)), [Act::Free(gone)]);
}

#[test]
fn a_long_time_between_two_listings_is_one_observation_each() {
    let (now, mut orphans) = (Instant::now(), Orphans::new(AFTER));
    let seen = listing(&["n2"], vec![block("n1", 1, Some(GONE))], None);
    let tell = Act::Tell(block("n1", 1, Some(GONE)), AFTER);
    assert_eq!(orphans.observe(&seen, now), [tell], "who leads anew counts anew");
    assert_eq!(orphans.observe(&seen, now + minutes(60)), [Act::Free(block("n1", 1, Some(GONE)))]);
}

#[test]
fn a_node_that_is_back_keeps_its_blocks() {
    let (now, mut orphans) = (Instant::now(), Orphans::new(AFTER));
    let gone = listing(&["n2"], vec![block("n1", 1, Some(GONE))], None);
    let back = listing(&["n1", "n2"], vec![block("n1", 1, Some(GONE))], None);
    orphans.observe(&gone, now);
    let acts = orphans.observe(&back, now + minutes(9));
    assert_eq!(acts, [Act::TellItIsBack(block("n1", 1, Some(GONE)))]);
    let acts = orphans.observe(&gone, now + minutes(11));
    assert!(matches!(acts[..], [Act::Tell(..)]), "the time begins anew: {acts:?}");
}

#[test]
fn a_listing_without_nodes_says_nothing() {
    let (now, mut orphans) = (Instant::now(), Orphans::new(AFTER));
    let none = listing(&[], vec![block("n1", 1, Some(GONE))], None);
    for minute in 0..60 {
        assert_eq!(orphans.observe(&none, now + minutes(minute)), []);
    }
}

#[test]
fn of_a_machine_that_reports_or_claims_nothing_is_taken() {
    let (now, mut orphans) = (Instant::now(), Orphans::new(AFTER));
    for minute in 0..60 {
        let sign = format!("report {}", minute / 6);
        let told = if minute < 7 { GONE } else { RUNS };
        let seen = listing(&["n2"], vec![block("n1", 1, Some(told))], Some(&sign));
        let acts = orphans.observe(&seen, now + minutes(minute));
        let frees = acts.iter().any(|act| matches!(act, Act::Free(_)));
        assert!(!frees, "after {minute} minutes: {acts:?}");
        let says = acts.iter().any(|act| matches!(act, Act::TellItRuns(_)));
        assert!(minute != 6 || says, "{acts:?}");
    }
    // It stops; nine minutes later it has claimed a block with its last breath.
    let mut both = vec![block("n1", 1, Some(RUNS))];
    let at = |minute| now + minutes(minute);
    orphans.observe(&listing(&["n2"], both.clone(), Some("report 9")), at(63));
    both.push(block("n1", 2, None));
    orphans.observe(&listing(&["n2"], both.clone(), Some("report 9")), at(63));
    let acts = orphans.observe(&listing(&["n2"], both.clone(), Some("report 9")), at(72));
    assert!(!acts.iter().any(|act| matches!(act, Act::Free(_))), "{acts:?}");
    let acts = orphans.observe(&listing(&["n2"], both.clone(), Some("report 9")), at(73));
    assert!(matches!(acts[..], [Act::Tell(..), Act::Tell(..)]), "it stopped: {acts:?}");
    both.iter_mut().for_each(|block| block.orphaned = Some(GONE.to_owned()));
    let acts = orphans.observe(&listing(&["n2"], both, Some("report 9")), at(74));
    assert!(matches!(acts[..], [Act::Free(_), Act::Free(_)]), "{acts:?}");
}

#[derive(Clone, Debug)]
enum Step {
    Advance(u64),
    /// The leader looks; what it wants to tell arrives or does not.
    Observe(bool),
    NewLeader,
    DeleteNode,
    AddNode,
    /// The machine ends, or starts.
    Power(bool),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (10..400_u64).prop_map(Step::Advance),
        6 => any::<bool>().prop_map(Step::Observe),
        1 => Just(Step::NewLeader),
        2 => Just(Step::DeleteNode),
        1 => Just(Step::AddNode),
        1 => any::<bool>().prop_map(Step::Power),
    ];
    prop::collection::vec(step, 1..80)
}

proptest! {
    #[test]
    fn nothing_is_taken_from_a_machine_that_runs_or_a_node_that_is_there(steps in steps()) {
        let start = Instant::now();
        let (mut clock, mut orphans) = (0, Orphans::new(AFTER));
        let (mut has_node, mut runs, mut reported) = (true, true, 0);
        // As the listings have it.
        let (mut absent_since, mut told) = (None::<u64>, None::<String>);
        for step in steps {
            match step {
                Step::Advance(seconds) => clock += seconds,
                Step::NewLeader => orphans = Orphans::new(AFTER),
                Step::DeleteNode => has_node = false,
                Step::AddNode => has_node = true,
                Step::Power(on) => runs = on,
                Step::Observe(arrives) => {
                    if runs {
                        // At least every six minutes.
                        reported = clock / 360;
                    }
                    absent_since = if has_node { None } else { absent_since.or(Some(clock)) };
                    let nodes: &[&str] = if has_node { &["n1", "n2"] } else { &["n2"] };
                    let sign = format!("{reported}");
                    let seen = listing(nodes, vec![block("n1", 1, told.as_deref())], Some(&sign));
                    let now = start + Duration::from_secs(clock);
                    for act in orphans.observe(&seen, now) {
                        match act {
                            Act::Tell(..) if arrives => told = Some(GONE.to_owned()),
                            Act::TellItRuns(_) if arrives => told = Some(RUNS.to_owned()),
                            Act::TellItIsBack(_) if arrives => told = None,
                            Act::Tell(..) | Act::TellItRuns(_) | Act::TellItIsBack(_) => {}
                            Act::Free(_) => {
                                prop_assert!(!has_node);
                                let absent = clock - absent_since.expect("it is absent");
                                prop_assert!(absent >= 600, "after {absent} s");
                                prop_assert!(!runs, "it runs, and reports");
                            }
                        }
                    }
                }
            }
        }
    }
}
