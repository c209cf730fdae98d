//! `testbed bench cni`: pods through the real plugin and daemon, as a container runtime has them made.
//!
//! In: how many callers, pods and rounds. Out: times of ADD, CHECK and DEL, as the runtime sees them
//! (from starting the plugin to its end), of four contenders who take turns on one node:
//!
//! * `slash32`: the plugin and the daemon;
//! * `ptp`: the reference plugins `ptp` and `host-local`;
//! * `floor`: a static plugin that does nothing, which is what starting a program costs;
//! * `kernel`: the same objects made by this process, with as few messages as the kernel takes.
//!
//! The node is a network namespace of its own with so many pods in it already; every answer is
//! checked, and after each DEL the node must be as before.

use std::io::Write as _;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use serde::Serialize;

use super::{Machine, stats::Samples};

mod goals;
mod minimum;
mod node;
mod report;
mod runtime;

use minimum::Minimum;
use node::Node;
use report::{Cell, DaemonUse, Report};
use runtime::{Contender, Sandbox, Verb};

/// What is measured.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Callers at once
    #[arg(long, value_delimiter = ',', default_values_t = [1, 8, 32])]
    callers: Vec<usize>,
    /// Pods on the node already
    #[arg(long, value_delimiter = ',', default_values_t = [0, 500, 2000])]
    present: Vec<usize>,
    /// Families of the pods' addresses
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Families::Ipv4, Families::Dual])]
    families: Vec<Families>,
    /// Pods that each contender makes, checks and removes in a round
    #[arg(long, default_value_t = 200)]
    pods: usize,
    /// Pods of the reference plugins in a round, which take longer
    #[arg(long, default_value_t = 40)]
    reference_pods: usize,
    /// Rounds, in which the contenders take turns
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Folder of the reference plugins `ptp` and `host-local` [Debian: containernetworking-plugins]
    #[arg(long, value_name = "DIR", default_value = "/usr/lib/cni")]
    reference: PathBuf,
    /// Our plugin [default: beside this program]
    #[arg(long, value_name = "FILE")]
    plugin: Option<PathBuf>,
    /// The plugin that does nothing [default: beside this program]
    #[arg(long, value_name = "FILE")]
    floor: Option<PathBuf>,
    /// Where `routed` is [default: beside this program]
    #[arg(long, value_name = "DIR")]
    bin_dir: Option<PathBuf>,
    /// `json` for programs
    #[arg(short, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// Form of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    Text,
    Json,
}

/// Which addresses a pod gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Families {
    Ipv4,
    Dual,
}

/// Runs it and prints the report.
pub(crate) fn run(options: &Options) -> Result<i32> {
    ensure!(
        options.pods > 0 && options.reference_pods > 0 && options.rounds > 0,
        "--pods, --reference-pods and --rounds: use at least 1"
    );
    ensure!(options.callers.iter().all(|&callers| callers > 0), "--callers: use at least 1");
    let bench = Bench::prepare(options)?;
    let report = bench.run()?;
    let text = match options.output {
        Output::Text => report.to_string(),
        Output::Json => serde_json::to_string_pretty(&report)? + "\n",
    };
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(0)
}

struct Bench<'a> {
    options: &'a Options,
    machine: Machine,
    node: Node,
    /// Where the measured pods live, one after the other.
    sandboxes: Vec<Sandbox>,
    /// Pods that only are there.
    present: Vec<Sandbox>,
}

/// Whose turn it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Slash32,
    Reference,
    Floor,
    Kernel,
}

impl<'a> Bench<'a> {
    fn prepare(options: &'a Options) -> Result<Self> {
        let machine = Machine::here();
        let own = std::env::current_exe()?;
        let beside = own.parent().context("this program has no folder")?;
        let bin_dir = options.bin_dir.clone().unwrap_or_else(|| beside.to_owned());
        let program = |given: &Option<PathBuf>, name: &str| {
            let path = given.clone().unwrap_or_else(|| beside.join(name));
            ensure!(path.is_file(), "{} is not there; run ./testbed/run bench cni", path.display());
            Ok(path)
        };
        let plugin = program(&options.plugin, "slash32")?;
        let floor = program(&options.floor, "cni-floor")?;
        let reference = options.reference.join("ptp").is_file().then_some(&*options.reference);
        if reference.is_none() {
            eprintln!(
                "no ptp in {}: its figures are left out (Debian: containernetworking-plugins)",
                options.reference.display()
            );
        }
        let node = Node::raise(&bin_dir, &plugin, &floor, reference)?;
        let sandboxes = Sandbox::make(options.pods.max(options.reference_pods))?;
        Ok(Self { options, machine, node, sandboxes, present: Vec::new() })
    }

    fn run(mut self) -> Result<Report> {
        let mut present = self.options.present.clone();
        present.sort_unstable();
        present.dedup();
        let mut cells = Vec::new();
        let mut daemon = Vec::new();
        for present in present {
            self.fill(present)?;
            daemon.push(DaemonUse { pods: present, resident: self.node.resident()? });
            for &families in &self.options.families {
                for &callers in &self.options.callers {
                    eprintln!("{present} pods present, {families:?}, {callers} callers");
                    cells.push(self.cell(present, families, callers)?);
                }
            }
        }
        let plugin = report::plugin_file(&self.node.contender(Families::Dual).program)?;
        let goals = goals::goals(&cells, &daemon, &plugin);
        Ok(Report { machine: self.machine, plugin, daemon, cells, goals })
    }

    /// Adds pods until so many are there.
    fn fill(&mut self, present: usize) -> Result<()> {
        let more = Sandbox::make(present.saturating_sub(self.present.len()))?;
        let contender = self.node.contender(Families::Dual);
        let first = self.present.len();
        let names = |number: usize| format!("present-{}", first + number);
        runtime::phase(contender, Verb::Add, &more, &names, FILLERS)?;
        self.present.extend(more);
        Ok(())
    }

    fn cell(&self, present: usize, families: Families, callers: usize) -> Result<Cell> {
        let mut turns = vec![Turn::Slash32, Turn::Floor];
        // With IPv6 the reference waits 1.7 s a pod for duplicate address detection.
        if families == Families::Ipv4 && self.node.has_reference() {
            turns.push(Turn::Reference);
        }
        // The kernel's own work has no callers.
        if callers == 1 {
            turns.push(Turn::Kernel);
        }
        let mut cell = Cell::new(present, families, callers);
        for round in 0..self.options.rounds {
            turns.rotate_left(1);
            for turn in &turns {
                self.turn(*turn, round, &mut cell)
                    .with_context(|| format!("{turn:?}, round {round}"))?;
            }
        }
        Ok(cell)
    }

    fn turn(&self, turn: Turn, round: usize, cell: &mut Cell) -> Result<()> {
        let contender = match turn {
            Turn::Slash32 => self.node.contender(cell.families),
            Turn::Reference => self.node.reference().context("asked for without one")?,
            Turn::Floor => self.node.floor(),
            Turn::Kernel => return self.kernel(cell),
        };
        let pods = match turn {
            Turn::Reference => self.options.reference_pods,
            Turn::Slash32 | Turn::Floor | Turn::Kernel => self.options.pods,
        };
        let sandboxes = &self.sandboxes[..pods];
        let before = self.node.links()?;
        let work = self.node.work(turn == Turn::Slash32)?;
        let names = |number: usize| format!("{round}-{number}-{turn:?}");
        let callers = cell.callers;
        let phase = |verb| runtime::phase(contender, verb, sandboxes, &names, callers);
        let add = phase(Verb::Add)?;
        if turn != Turn::Floor {
            self.node.expect_links(before + pods)?;
        }
        let check = phase(Verb::Check)?;
        let begun = Instant::now();
        let del = phase(Verb::Del)?;
        let answered = begun.elapsed();
        self.node.settles_to(before)?;
        let gone = begun.elapsed();
        let work = self.node.work(turn == Turn::Slash32)?.saturating_sub(work);
        let figures = match turn {
            Turn::Slash32 => &mut cell.slash32,
            Turn::Reference => cell.reference.get_or_insert_default(),
            Turn::Floor => &mut cell.floor,
            Turn::Kernel => return Ok(()),
        };
        figures.take(add, check, del, work);
        if turn == Turn::Slash32 {
            cell.removal.get_or_insert_default().take(pods, answered, gone);
        }
        Ok(())
    }

    /// The kernel's own part, by this process.
    fn kernel(&self, cell: &mut Cell) -> Result<()> {
        let before = self.node.links()?;
        let mut minimum = Minimum::open(cell.families)?;
        let (mut add, mut del) = (Samples::default(), Samples::default());
        for (number, sandbox) in self.sandboxes[..self.options.pods].iter().enumerate() {
            let netns = sandbox.open()?;
            add.push(minimum.add(number, netns.as_fd())?);
        }
        self.node.expect_links(before + self.options.pods)?;
        for number in 0..self.options.pods {
            del.push(minimum.del(number)?);
        }
        minimum.sweep()?;
        self.node.settles_to(before)?;
        let kernel = cell.kernel.get_or_insert_default();
        kernel.add.extend(add);
        kernel.del.extend(del);
        Ok(())
    }
}

/// Callers who make the pods that only are there.
const FILLERS: usize = 8;
/// What takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(60);
