//! What is told of a run: tables of medians with their spread, ratios, goals; or JSON.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::fabric::Setting;
use super::scenario::{Outcome, Step};
use super::tally::Tally;
use crate::bench::Machine;
use crate::bench::goal::{self, Goal};
use crate::bench::stats::Figures;
use crate::bench::table::Table;
use crate::topology::{Bfd, Runs};

/// The whole run.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) machine: Machine,
    pub(super) sections: Vec<Section>,
    pub(super) goals: Vec<Goal>,
}

/// All contenders under the same conditions.
#[derive(Debug, Serialize)]
pub(super) struct Section {
    pub(super) setting: Setting,
    /// By step, then by the software on the nodes.
    steps: BTreeMap<Step, Vec<(Runs, Measures)>>,
    /// Runnable processes of the minute before each lab: other work makes figures worse.
    loads: Figures,
    /// What could not be measured, and why.
    failures: Vec<String>,
}

/// One step of one contender, in all runs. Times in milliseconds.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Measures {
    sent: Figures,
    lost: Figures,
    duplicates: Figures,
    reordered: Figures,
    /// The longest time without a packet that arrived, from the node where it happens.
    gap_out: Figures,
    /// To that node.
    gap_into: Figures,
    /// The longer of both.
    gap: Figures,
    /// The slowest packet's time on its way.
    slowest: Figures,
}

impl Section {
    pub(super) fn new(setting: Setting) -> Self {
        Self { setting, steps: BTreeMap::new(), loads: Figures::default(), failures: Vec::new() }
    }

    pub(super) fn add(&mut self, node: Runs, step: Step, outcome: Outcome) {
        let contenders = self.steps.entry(step).or_default();
        let at = contenders.iter().position(|(who, _)| *who == node).unwrap_or_else(|| {
            contenders.push((node, Measures::default()));
            contenders.len() - 1
        });
        contenders[at].1.add(outcome);
    }

    pub(super) fn note_load(&mut self, load: f64) {
        self.loads.push(load);
    }

    pub(super) fn failed(&mut self, node: Runs, what: &str, error: &anyhow::Error) {
        self.failures.push(format!("{node}, {what}: {error:#}"));
    }

    fn of(&self, step: Step, node: Runs) -> Option<&Measures> {
        let contenders = self.steps.get(&step)?;
        contenders.iter().find(|(who, _)| *who == node).map(|(_, measures)| measures)
    }
}

impl Measures {
    fn add(&mut self, Outcome { out, into }: Outcome) {
        let Tally { sent, lost, duplicates, reordered, gap, slowest } = out.and(into);
        let count = |count: u64| count as f64;
        let millis = |nanos: u64| nanos as f64 / 1e6;
        self.sent.push(count(sent));
        self.lost.push(count(lost));
        self.duplicates.push(count(duplicates));
        self.reordered.push(count(reordered));
        self.gap_out.push(millis(out.gap));
        self.gap_into.push(millis(into.gap));
        self.gap.push(millis(gap));
        self.slowest.push(millis(slowest));
    }
}

/// What is to be reached, as far as it was measured.
pub(super) fn goals(sections: &[Section]) -> Vec<Goal> {
    let mut goals = Vec::new();
    for section in sections {
        absolute(section, &mut goals);
        beside_rivals(section, &mut goals);
        by_routes(section, sections, &mut goals);
    }
    goals
}

fn absolute(section: &Section, goals: &mut Vec<Goal>) {
    let setting = &section.setting;
    for step in RESTARTS {
        if let Some(lost) = section.of(step, Runs::Routed).and_then(|of| of.lost.worst()) {
            goals.push(Goal::at_most(
                &format!("{setting}: {step}, lost in the worst run"),
                lost,
                0.0,
            ));
        }
    }
    let quick = setting.bfd == Some(Bfd { interval: 50, multiplier: 3 });
    let gap = |step| section.of(step, Runs::Routed).and_then(|of| of.gap.median());
    if let (true, Some(gap)) = (quick, gap(Step::TorDeath)) {
        goals.push(Goal::at_most(&format!("{setting}: {}, gap in ms", Step::TorDeath), gap, 200.0));
    }
    let out = section.of(Step::Carrier, Runs::Routed).and_then(|of| of.gap_out.median());
    if let Some(gap) = out {
        let name = format!("{setting}: {}, gap from the node in ms", Step::Carrier);
        goals.push(Goal::at_most(&name, gap, 20.0));
    }
    for step in DRAINS {
        if let Some(lost) = section.of(step, Runs::Routed).and_then(|of| of.lost.worst()) {
            goals.push(Goal::at_most(
                &format!("{setting}: {step}, lost in the worst run"),
                lost,
                0.0,
            ));
        }
    }
}

fn beside_rivals(section: &Section, goals: &mut Vec<Goal>) {
    for step in DEATHS {
        let gap = |node| section.of(step, node).and_then(|of| of.gap.median());
        if let (Some(ours), Some(theirs)) = (gap(Runs::Routed), gap(Runs::Bird)) {
            let name = format!("{}: {step}, gap to BIRD's", section.setting);
            goals.push(Goal::at_most(&name, ratio(ours, theirs), NOISE));
        }
    }
}

/// The largest table against the smallest, all else being equal.
fn by_routes(section: &Section, sections: &[Section], goals: &mut Vec<Goal>) {
    let same = |other: &&Section| {
        (other.setting.tor, other.setting.bfd) == (section.setting.tor, section.setting.bfd)
    };
    let smallest = sections.iter().filter(same).min_by_key(|other| other.setting.routes);
    let Some(smallest) = smallest.filter(|other| other.setting.routes < section.setting.routes)
    else {
        return;
    };
    for step in DEATHS {
        let gap = |section: &Section| section.of(step, Runs::Routed).and_then(|of| of.gap.median());
        if let (Some(many), Some(few)) = (gap(section), gap(smallest)) {
            let few_routes = smallest.setting.routes;
            let name = format!("{}: {step}, gap to that with {few_routes}", section.setting);
            goals.push(Goal::at_most(&name, ratio(many, few), NOISE));
        }
    }
}

/// Two that lost nothing are equal.
fn ratio(ours: f64, theirs: f64) -> f64 {
    if ours == 0.0 && theirs == 0.0 { 1.0 } else { ours / theirs }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n", self.machine)?;
        writeln!(
            f,
            "packets, and milliseconds, of {} packets a second: median (lowest–highest)\n\
             gap: the longest time in which no packet of a flow arrived that was sent\n\
             out, in: from and to the node where it happens\n",
            super::RATE
        )?;
        for section in &self.sections {
            write!(f, "{section}")?;
        }
        write!(f, "{}", goal::table(&self.goals))
    }
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let load = self.loads.cell(|load| format!("{load:.1}"));
        writeln!(f, "{}; load before it {load}", self.setting)?;
        let heads = ["step", "on the nodes", "lost", "twice", "reordered", "gap out", "gap in"];
        let heads: Vec<_> = heads.into_iter().chain(["slowest", "gap to routed's"]).collect();
        let mut table = Table::new(2, &heads);
        for (step, contenders) in &self.steps {
            let ours = self.of(*step, Runs::Routed).and_then(|of| of.gap.median());
            for (node, of) in contenders {
                let count = |figures: &Figures| figures.cell(|count| format!("{count:.0}"));
                let millis = |figures: &Figures| figures.cell(|millis| format!("{millis:.1}"));
                let to_ours = of.gap.median().zip(ours).map(|(theirs, ours)| ratio(theirs, ours));
                table.row([
                    step.to_string(),
                    node.to_string(),
                    count(&of.lost),
                    count(&of.duplicates),
                    count(&of.reordered),
                    millis(&of.gap_out),
                    millis(&of.gap_into),
                    millis(&of.slowest),
                    to_ours.map_or_else(|| "-".into(), |ratio| format!("{ratio:.2}")),
                ]);
            }
        }
        writeln!(f, "{table}")?;
        for failure in &self.failures {
            writeln!(f, "{failure}\n")?;
        }
        Ok(())
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Restart => "restart",
            Self::Kill => "kill -9",
            Self::CrashLoop => "crash loop",
            Self::Upgrade => "upgrade, 3 s away",
            Self::TorDeath => "ToR dead",
            Self::TorReturn => "ToR back",
            Self::TorFrozen => "ToR frozen",
            Self::TorThawed => "ToR thawed",
            Self::Carrier => "cable cut",
            Self::CarrierBack => "cable back",
            Self::OneWay => "one way cut",
            Self::OneWayBack => "one way back",
            Self::DrainTor => "ToR drained, off",
            Self::UndrainTor => "ToR undrained",
            Self::DrainNode => "node drained",
            Self::UndrainNode => "node undrained",
        })
    }
}

/// What must lose nothing.
const RESTARTS: [Step; 4] = [Step::Restart, Step::Kill, Step::CrashLoop, Step::Upgrade];
const DRAINS: [Step; 4] = [Step::DrainTor, Step::UndrainTor, Step::DrainNode, Step::UndrainNode];
/// What may lose packets, but not for long.
const DEATHS: [Step; 4] = [Step::TorDeath, Step::TorFrozen, Step::Carrier, Step::OneWay];
/// Ratios up to this are equal.
const NOISE: f64 = 1.1;

#[cfg(test)]
mod tests {
    use super::*;

    fn section(routes: u32, gaps: [(Runs, u64); 2]) -> Section {
        let bfd = Some(Bfd { interval: 50, multiplier: 3 });
        let mut section = Section::new(Setting { tor: Runs::Bird, routes, bfd });
        for (node, gap) in gaps {
            let tally = Tally { sent: 1000, lost: 7, gap: gap * 1_000_000, ..Tally::default() };
            let outcome = Outcome { out: tally, into: Tally::default() };
            section.add(node, Step::TorDeath, outcome);
        }
        section
    }

    #[test]
    fn goals_are_absolute_beside_bird_and_by_routes() {
        let few = section(10, [(Runs::Routed, 150), (Runs::Bird, 160)]);
        let many = section(1000, [(Runs::Routed, 300), (Runs::Bird, 200)]);
        let goals = goals(&[few, many]);
        let told: Vec<_> =
            goals.iter().map(|goal| (goal.figure.round(), goal.limit, goal.met)).collect();
        let expected = [
            (150.0, 200.0, true),
            (1.0, 1.1, true),
            (300.0, 200.0, false),
            (2.0, 1.1, false),
            (2.0, 1.1, false),
        ];
        assert_eq!(told, expected, "{goals:#?}");
    }

    #[test]
    fn a_table_has_medians_spread_and_ratios() {
        let mut section = section(10, [(Runs::Routed, 100), (Runs::Bird, 200)]);
        section.add(
            Runs::Routed,
            Step::TorDeath,
            Outcome {
                out: Tally { lost: 9, gap: 110_000_000, ..Tally::default() },
                into: Tally::default(),
            },
        );
        let text = section.to_string();
        assert!(text.contains("bird on the ToRs, 10 routes, BFD 3 × 50 ms"), "{text}");
        assert!(text.contains("8 (7–9)") && text.contains("105.0 (100.0–110.0)"), "{text}");
        assert!(
            text.lines().any(|line| line.contains("bird ") && line.ends_with("1.90")),
            "{text}"
        );
    }
}
