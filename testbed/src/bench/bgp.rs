//! `bench bgp`: `routed` and its rivals, one after the other, under the same load.
//!
//! In: which scenarios, rivals and how many runs. Out: tables, and JSON. Every run raises a fresh
//! speaker in a network namespace of its own; turns are taken, so that a machine whose speed drifts
//! is unfair to nobody.

mod contestant;
mod goals;
pub(crate) mod relay;
mod report;
mod round;
mod scenario;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde::Serialize;

use super::arena::{self, Arena};
use contestant::Contestant;
use report::{Runs, Section};
use scenario::Scenario;

use super::Machine;
use super::goal::{self, Goal};

/// What to measure.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Which scenarios, in this order
    #[arg(long, value_enum, value_delimiter = ',', default_value = "A,B,C,D,L,FA,FD,I,N,K")]
    scenario: Vec<Scenario>,
    /// Whom to compare with
    #[arg(long, value_enum, value_delimiter = ',', value_name = "RIVALS")]
    rival: Vec<Contestant>,
    /// Runs of each speaker in each scenario
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    runs: u16,
    /// Routes, in proportion to those of the scenario
    #[arg(long, default_value_t = 1.0, value_name = "FACTOR")]
    scale: f64,
    /// Seconds that a speaker may take for one phase
    #[arg(long, default_value_t = 120, value_name = "SECONDS")]
    patience: u64,
    /// Also write all values of all runs to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Where `routed` is [default: beside this program]
    #[arg(long, value_name = "DIR")]
    bin_dir: Option<PathBuf>,
}

/// What all runs have in common.
struct Setting<'a> {
    arena: &'a Arena,
    bin_dir: PathBuf,
    scale: f64,
    patience: Duration,
}

impl Setting<'_> {
    /// So many routes, to the chosen scale.
    fn scaled(&self, routes: u32) -> u32 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the scale is checked; `as` saturates"
        )]
        let scaled = (f64::from(routes) * self.scale).round() as u32;
        scaled.max(1)
    }
}

/// Runs the benchmark; gives the exit code.
pub(crate) fn run(options: &Options) -> Result<i32> {
    options.run()
}

/// What is written as JSON.
#[derive(Serialize)]
struct Results {
    machine: Machine,
    scale: f64,
    versions: BTreeMap<String, String>,
    sections: Vec<Section>,
    goals: Vec<Goal>,
}

impl Options {
    fn run(&self) -> Result<i32> {
        let machine = Machine::here();
        ensure!(
            self.scale > 0.0 && self.scale <= 4.0,
            "--scale {} is not above 0 and at most 4 (numbers of routes end there)",
            self.scale
        );
        let bin_dir = match &self.bin_dir {
            Some(dir) => dir.clone(),
            None => std::env::current_exe()?.parent().context("no folder")?.to_owned(),
        };
        let bin_dir = fs::canonicalize(&bin_dir)
            .with_context(|| format!("no folder {}", bin_dir.display()))?;
        let order = self.order();
        let versions = order
            .iter()
            .map(|contestant| Ok((contestant.to_string(), contestant.version(&bin_dir)?)))
            .collect::<Result<BTreeMap<_, _>>>()?;
        // Opened before the file system is another one.
        let json = super::create(self.json.as_deref())?;
        arena::run_inside(|arena| {
            let peers = (0..u16::try_from(MOST_PEERS)?).map(|at| scenario::identity(at).address);
            arena.add_addresses(peers)?;
            let patience = Duration::from_secs(self.patience);
            let setting = Setting { arena, bin_dir, scale: self.scale, patience };
            let sections = self.measure(&setting, &order, &versions)?;
            if let Some(mut json) = json {
                let goals = goals::goals(&sections);
                let results = Results { machine, scale: self.scale, versions, sections, goals };
                writeln!(json, "{}", serde_json::to_string_pretty(&results)?)?;
            }
            Ok(0)
        })
    }

    /// The floor, ours, then the rivals, each once.
    fn order(&self) -> Vec<Contestant> {
        let mut order = vec![Contestant::Relay, Contestant::Routed];
        for rival in &self.rival {
            if !order.contains(rival) {
                order.push(*rival);
            }
        }
        order
    }

    fn measure(
        &self,
        setting: &Setting<'_>,
        order: &[Contestant],
        versions: &BTreeMap<String, String>,
    ) -> Result<Vec<Section>> {
        self.introduce(order, versions);
        let mut sections = Vec::new();
        for scenario in &self.scenario {
            let entrants = scenario.entrants(order);
            let names: Vec<_> = entrants.iter().map(ToString::to_string).collect();
            let mut section = Section {
                scenario: scenario.to_string(),
                about: scenario.about(setting),
                speakers: names.iter().map(|who| (who.clone(), Runs::default())).collect(),
                order: names,
                pairs: entrants.iter().flat_map(|who| who.pairs(&entrants)).collect(),
            };
            for run in 1..=self.runs {
                for entrant in &entrants {
                    eprintln!("  … {scenario}, run {run} of {}: {entrant}", self.runs);
                    let (measures, failure) = scenario.run(setting, *entrant);
                    let runs = section.speakers.get_mut(&entrant.to_string());
                    runs.context("all are there")?.add(measures, failure);
                }
            }
            println!("{}", section.text());
            sections.push(section);
        }
        println!("{}", goal::table(&goals::goals(&sections)));
        Ok(sections)
    }

    fn introduce(&self, order: &[Contestant], versions: &BTreeMap<String, String>) {
        println!("# BGP speakers, {} run(s) each\n", self.runs);
        for contestant in order {
            println!("* {contestant}: {}", versions[&contestant.to_string()]);
        }
        let first = self.scenario.first().copied().unwrap_or(Scenario::A);
        for contestant in order.iter().filter(|who| **who != Contestant::Relay) {
            let shown = contestant.shown(&first.duty());
            println!("\nConfiguration of {contestant}, with the first peer only:\n");
            shown.lines().for_each(|line| println!("    {line}"));
        }
    }
}

/// Peers in the largest scenario.
const MOST_PEERS: usize = 210;
