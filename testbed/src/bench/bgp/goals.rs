//! The goals of the speaker, as ratios of one run where there is a rival, else as figures.

use std::cmp::Ordering;

use super::report::{Metric, Section};
use crate::bench::goal::Goal;

/// Those goals of which the run had what it takes.
pub(super) fn goals(sections: &[Section]) -> Vec<Goal> {
    sections.iter().flat_map(of).collect()
}

fn of(section: &Section) -> Vec<Goal> {
    let to = |metric, rivals, limit| to_best(section, metric, rivals, limit);
    let at_most = |metric, limit| at_most(section, metric, limit);
    let goals = match &*section.scenario {
        "A" => vec![
            to(Metric::Converge, BIRD, 0.4),
            to(Metric::Withdraw, BIRD, 0.6),
            to(Metric::LateJoiner, BIRD, 0.2),
            to(Metric::Resident, BIRD, 1.0),
        ],
        "B" => vec![to(Metric::Converge, RIVALS, 0.5), to(Metric::Withdraw, RIVALS, 0.5)],
        "C" => vec![to(Metric::Converge, FRR, 0.2), to(Metric::Resident, BIRD, 1.3)],
        "D" => vec![to(Metric::Converge, FRR, 0.5), more_memory(section, "bird", 5.0)],
        "L" => vec![
            to(Metric::IdleP50, RELAY, 1.3),
            to(Metric::IdleP99, RELAY, 1.3),
            to(Metric::FullP50, RELAY, 1.3),
            to(Metric::FullP99, RELAY, 1.3),
            at_most(Metric::LoadingP99, 5000.0),
        ],
        "FA" => vec![flaps(section, BIRD, 1.0)],
        "FD" => vec![flaps(section, FRR, 4.0)],
        "I" => section.pairs.iter().map(|(who, plain)| beside_plain(section, who, plain)).collect(),
        "N" => vec![
            at_most(Metric::InKernel, 0.3),
            at_most(Metric::Resident, 20.0),
            at_most(Metric::IdleCpu, 0.1),
        ],
        "K" => vec![at_most(Metric::LateMost, 100.0)],
        _ => Vec::new(),
    };
    goals.into_iter().flatten().collect()
}

fn beside_plain(section: &Section, who: &str, plain: &str) -> Option<Goal> {
    let ratio = section.ratio(who, plain, Metric::Converge)?;
    Some(Goal::at_most(&format!("I: {who}, converge: to {plain}"), ratio, 1.3))
}

/// Ours in proportion to the lowest of those rivals that were there.
fn to_best(section: &Section, metric: Metric, rivals: &[&str], limit: f64) -> Option<Goal> {
    let (name, ratio) = beside(section, metric, rivals, f64::total_cmp)?;
    Some(Goal::at_most(&name, ratio, limit))
}

/// Ours in proportion to the most that one of those rivals does.
fn flaps(section: &Section, rivals: &[&str], limit: f64) -> Option<Goal> {
    let most_first = |one: &f64, other: &f64| other.total_cmp(one);
    let (name, ratio) = beside(section, Metric::Flaps, rivals, most_first)?;
    Some(Goal::at_least(&name, ratio, limit))
}

/// Ours in proportion to the first in that order, and what that is called.
fn beside(
    section: &Section,
    metric: Metric,
    rivals: &[&str],
    order: impl Fn(&f64, &f64) -> Ordering,
) -> Option<(String, f64)> {
    let measured = rivals.iter().filter_map(|rival| Some((*rival, section.median(rival, metric)?)));
    let (best, _) = measured.min_by(|(_, one), (_, other)| order(one, other))?;
    let ratio = section.ratio(OURS, best, metric)?;
    Some((format!("{}: {metric}: to {best}", section.scenario), ratio))
}

fn at_most(section: &Section, metric: Metric, limit: f64) -> Option<Goal> {
    let figure = section.median(OURS, metric)?;
    Some(Goal::at_most(&format!("{}: {metric}", section.scenario), figure, limit))
}

/// What ours has resident beyond another.
fn more_memory(section: &Section, than: &str, limit: f64) -> Option<Goal> {
    let more = section.median(OURS, Metric::Resident)? - section.median(than, Metric::Resident)?;
    let name = format!("{}: {} more than {than}", section.scenario, Metric::Resident);
    Some(Goal::at_most(&name, more, limit))
}

const OURS: &str = "routed";
const RELAY: &[&str] = &["relay"];
const BIRD: &[&str] = &["bird"];
const FRR: &[&str] = &["frr", "frr-co0"];
const RIVALS: &[&str] = &["bird", "frr", "frr-co0", "gobgp"];

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::bench::bgp::report::{Measures, Runs};

    fn section(scenario: &str, metric: Metric, figures: &[(&str, f64)]) -> Section {
        let runs = |figure| {
            let (mut runs, mut measures) = (Runs::default(), Measures::default());
            measures.set(metric, figure);
            runs.add(measures, None);
            runs
        };
        let speakers: BTreeMap<_, _> =
            figures.iter().map(|(who, figure)| ((*who).to_owned(), runs(*figure))).collect();
        Section {
            scenario: scenario.into(),
            about: String::new(),
            order: speakers.keys().cloned().collect(),
            speakers,
            pairs: vec![("IPv6".into(), "plain".into())],
        }
    }

    fn verdicts(section: Section) -> Vec<(String, f64, bool)> {
        let goals = goals(&[section]);
        goals.into_iter().map(|goal| (goal.name, goal.figure, goal.met)).collect()
    }

    #[test]
    fn ours_is_measured_against_the_best_that_was_there() {
        let figures = [("routed", 1.0), ("bird", 4.0), ("frr", 1.5), ("relay", 0.1)];
        let b = verdicts(section("B", Metric::Converge, &figures));
        assert_eq!(b, [("B: converge s: to frr".to_owned(), 1.0 / 1.5, false)]);
        let flaps = [("routed", 50.0), ("frr", 1.0), ("frr-co0", 10.0)];
        let d = verdicts(section("FD", Metric::Flaps, &flaps));
        assert_eq!(d, [("FD: changes/s: to frr-co0".to_owned(), 5.0, true)]);
        let i = verdicts(section("I", Metric::Converge, &[("plain", 1.0), ("IPv6", 1.25)]));
        assert_eq!(i, [("I: IPv6, converge: to plain".to_owned(), 1.25, true)]);
    }

    #[test]
    fn a_goal_without_a_rival_has_no_verdict() {
        assert_eq!(verdicts(section("A", Metric::Converge, &[("routed", 1.0)])), []);
    }
}
