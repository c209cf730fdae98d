//! `testbed bench failover`: numbered packets between pods on two racks, while daemons, routers and
//! links fail; with `routed` on the nodes, and with BIRD and FRR in its place.
//!
//! In: which scenarios, software, tables and BFD timers. Out: packets lost, twice and out of order,
//! and the longest gap, for each; as tables or JSON. Every run raises fresh labs, and contenders take
//! turns.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::Args;

use super::Machine;
use crate::topology::{Bfd, Runs};

mod fabric;
mod report;
mod scenario;
mod soak;
mod tally;
mod traffic;

use fabric::{Fabric, Setting};
use report::{Report, Section};
use scenario::Scenario;
pub(crate) use traffic::{End, run as run_end};

/// What to measure.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Which scenarios, in this order [default: all]
    #[arg(long, value_enum, value_delimiter = ',')]
    scenario: Vec<Scenario>,
    /// Software of the nodes, which is what is compared
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Runs::Routed, Runs::Bird, Runs::Frr])]
    node: Vec<Runs>,
    /// Software of the ToRs
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Runs::Bird, Runs::Frr])]
    tor: Vec<Runs>,
    /// Routes that every node learns
    #[arg(long, value_delimiter = ',', default_values_t = [10, 100_000], value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    routes: Vec<u32>,
    /// Milliseconds between BFD packets, three of which may be lost
    #[arg(long, value_delimiter = ',', default_values_t = [50, 300], value_parser = clap::value_parser!(u16).range(50..))]
    bfd: Vec<u16>,
    /// Runs of each
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    runs: u16,
    /// Instead of measuring: so many faults at random, after which everything must be in its place
    #[arg(long, value_name = "STEPS")]
    soak: Option<u32>,
    /// Seed of the soak [default: one that is new each time, and printed]
    #[arg(long, requires = "soak")]
    seed: Option<u64>,
    /// Also write all values of all runs to this file, anew after each lab
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Where `routed` and `slash32` are [default: beside this program]
    #[arg(long, value_name = "DIR")]
    bin_dir: Option<PathBuf>,
}

/// Runs the benchmark; gives the exit code.
pub(crate) fn run(options: &Options) -> Result<i32> {
    let software = options.node.iter().chain(&options.tor);
    ensure!(software.clone().all(|runs| *runs != Runs::None), "--node, --tor: name some software");
    if let Some(steps) = options.soak {
        return options.soak(steps);
    }
    let sections = options.settings().into_iter().map(Section::new).collect();
    let mut report = Report { machine: Machine::here(), sections, goals: Vec::new() };
    // Also before the work is done, so that a file that cannot be written is told of at once.
    options.note(&report)?;
    for at in 0..report.sections.len() {
        for run in 1..=options.runs {
            for node in &options.node {
                let section = &mut report.sections[at];
                eprintln!(
                    "  … {}: {node} on the nodes, run {run} of {}",
                    section.setting, options.runs
                );
                section.note_load(Machine::here().load);
                if let Err(error) = options.measure(section, *node) {
                    eprintln!("    failed: {error:#}");
                    section.failed(*node, &format!("run {run}"), &error);
                }
                report.goals = report::goals(&report.sections);
                // After each lab: a run of hours that is cut short has told what it knows.
                options.note(&report)?;
            }
        }
    }
    std::io::stdout().write_all(report.to_string().as_bytes())?;
    Ok(0)
}

impl Options {
    /// Writes what is known to the file for it, if there is to be one.
    fn note(&self, report: &Report) -> Result<()> {
        let Some(file) = &self.json else { return Ok(()) };
        let text = serde_json::to_string_pretty(report)? + "\n";
        // Whole or not at all.
        let draft = file.with_added_extension("new");
        fs::write(&draft, text)
            .and_then(|()| fs::rename(&draft, file))
            .with_context(|| format!("cannot write {}", file.display()))
    }

    /// All conditions under which there is something to measure.
    fn settings(&self) -> Vec<Setting> {
        let mut settings = Vec::new();
        for &tor in &self.tor {
            for &routes in &self.routes {
                let quick = self.bfd.iter().map(|&interval| Some(Bfd { interval, multiplier: 3 }));
                for bfd in std::iter::once(None).chain(quick) {
                    if !self.scenarios(bfd).is_empty() {
                        settings.push(Setting { tor, routes, bfd });
                    }
                }
            }
        }
        settings
    }

    /// Those that belong to labs with or without BFD.
    fn scenarios(&self, bfd: Option<Bfd>) -> Vec<Scenario> {
        let all = <Scenario as clap::ValueEnum>::value_variants();
        let chosen = if self.scenario.is_empty() { all } else { &self.scenario[..] };
        chosen.iter().copied().filter(|scenario| scenario.needs_bfd() == bfd.is_some()).collect()
    }

    /// In a fabric of the first software and size that were named, with BFD at its default.
    fn soak(&self, steps: u32) -> Result<i32> {
        let seed = match self.seed {
            Some(seed) => seed,
            None => u64::from(std::time::UNIX_EPOCH.elapsed()?.subsec_nanos()),
        };
        let setting = Setting {
            tor: self.tor[0],
            routes: self.routes[0],
            bfd: Some(Bfd { interval: 300, multiplier: 3 }),
        };
        println!("seed {seed}, {steps} steps; {setting}");
        let fabric = Fabric::raise(&setting, Runs::Routed, self.bin_dir.clone())?;
        soak::soak(&fabric, seed, steps).with_context(|| {
            let folder = fabric.lab.dir().display();
            format!("seed {seed} (repeat it with --soak {steps} --seed {seed}; it was {folder})")
        })?;
        println!("seed {seed}: everything is in its place");
        fabric.lab.down()?;
        Ok(0)
    }

    /// One lab, in which everything happens once.
    fn measure(&self, section: &mut Section, node: Runs) -> Result<()> {
        let fabric = Fabric::raise(&section.setting, node, self.bin_dir.clone())?;
        for scenario in self.scenarios(section.setting.bfd) {
            for step in scenario.steps() {
                let outcome = step.measure(&fabric).with_context(|| step.to_string())?;
                section.add(node, *step, outcome);
            }
        }
        fabric.lab.down()
    }
}

/// Packets a second between the pods, each way.
const RATE: u32 = 10_000;
