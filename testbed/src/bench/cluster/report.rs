//! What came out.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;

use super::Options;
use crate::bench::{
    Machine,
    goal::{self, Goal},
    stats::Summary,
    table::{Table, millis},
};

/// What was measured.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Figures {
    /// Seconds from a start with nothing on disk until the daemon was ready with every route in the kernel.
    pub(super) first_start: Option<f64>,
    /// Octets that were resident at most meanwhile.
    pub(super) first_peak: Option<u64>,
    /// Seconds of a start with what an earlier run has left.
    pub(super) start: Option<f64>,
    /// The same while the API server is down.
    pub(super) start_alone: Option<f64>,
    /// Octets resident after the cluster has lived for a while.
    pub(super) resident: u64,
    /// Most of them in the life of that daemon.
    pub(super) peak: u64,
    /// Per cent of one processor meanwhile.
    pub(super) cpu: f64,
    /// What the daemon asked of the API server meanwhile.
    pub(super) asked: BTreeMap<String, u64>,
    /// From the announcement of a reflector to the kernel.
    pub(super) new_block: Summary,
}

impl Figures {
    /// What was started, and seconds; nothing is started of a daemon that leads.
    const fn starts(&self) -> [(&'static str, Option<f64>); 3] {
        [
            ("first start, s", self.first_start),
            ("start with what the disk has, s", self.start),
            ("start without API server, s", self.start_alone),
        ]
    }
}

/// Figures, with what they are figures of.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    machine: Machine,
    nodes: u32,
    pods: u32,
    changes: u32,
    watched: u64,
    leader: bool,
    figures: Figures,
    goals: Vec<Goal>,
}

impl Report {
    pub(super) fn new(machine: Machine, options: &Options, figures: Figures) -> Self {
        let Options { nodes, pods, changes, watched, leader, .. } = *options;
        let mut goals = vec![
            Goal::at_most("resident, MiB", mib(figures.resident), 64.0),
            Goal::at_most("processor, %", figures.cpu, 2.0),
            Goal::at_most("new block in the kernel, p99, s", figures.new_block.p99_us / 1e6, 1.0),
        ];
        let starts = figures.starts().into_iter();
        goals.extend(
            starts.filter_map(|(what, took)| took.map(|took| Goal::at_most(what, took, 5.0))),
        );
        Self { machine, nodes, pods, changes, watched, leader, figures, goals }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { machine, nodes, pods, changes, watched, leader, figures, goals } = self;
        let role = if *leader { "it is the leader" } else { "another node is the leader" };
        writeln!(
            f,
            "# A cluster of {nodes} nodes and {pods} pods; {changes} pods change in a second\n"
        )?;
        writeln!(f, "{machine}; watched for {watched} s; {role}\n")?;
        let mut table = Table::new(1, &["routed on one of the nodes", ""]);
        let mut row = |what: &str, figure: String| table.row([what.to_owned(), figure]);
        row("resident, MiB", format!("{:.1}", mib(figures.resident)));
        row("  at most, MiB", format!("{:.1}", mib(figures.peak)));
        if let Some(peak) = figures.first_peak {
            row("  at most at the first start, MiB", format!("{:.1}", mib(peak)));
        }
        row("processor, % of one", format!("{:.2}", figures.cpu));
        for (what, took) in figures.starts() {
            took.into_iter().for_each(|took| row(what, format!("{took:.2}")));
        }
        let Summary { count, p50_us, p99_us, max_us, .. } = figures.new_block;
        row("new block in the kernel, p50, ms", millis(p50_us));
        row("  p99, ms", millis(p99_us));
        row(&format!("  the longest of {count}, ms"), millis(max_us));
        writeln!(f, "{table}")?;
        writeln!(f, "Asked of the API server meanwhile:\n")?;
        let mut asked = Table::new(1, &["what", "times"]);
        for (what, times) in &figures.asked {
            asked.row([what.clone(), times.to_string()]);
        }
        if figures.asked.is_empty() {
            asked.row(["nothing".to_owned()]);
        }
        writeln!(f, "{asked}")?;
        writeln!(f, "{}", goal::table(goals))?;
        f.write_str(PUBLISHED)
    }
}

#[expect(clippy::cast_precision_loss, reason = "some MiB are nothing near 2^52 octets")]
fn mib(octets: u64) -> f64 {
    octets as f64 / f64::from(1 << 20)
}

/// What others say of themselves; it was not measured here.
const PUBLISHED: &str = "\
What others publish of themselves, on machines of their own:
* Cilium, 1,000 nodes and 50,000 pods: 438 MiB of memory of an agent on average, 573 MiB at most, and
  10.5 KiB more for each pod of the cluster; 0.15 % of 2 processors at rest, 3.4 % while pods are made
  (Cilium's scalability report)
* Calico: above 100 nodes an intermediary (Typha) is essential; the status of a node's sessions, written
  every 10 s, costs 5 % of a processor and is for fewer than 10 nodes at a time (Calico's documentation)
";
