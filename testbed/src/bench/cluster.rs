//! `bench cluster`: what a cluster of thousands of nodes costs the daemon of one.
//!
//! In: how large the cluster is, what changes in it. Out: memory, processor time, and how long a start
//! and a new block take; as a table or JSON. The objects come from a generator that speaks the protocol
//! of the API server, the routes from two reflectors, which are sessions of the load of `bench bgp`.
//! Daemon, kernel, protocol and routes are real; the other nodes are not.

mod api;
mod report;
mod start;
mod store;
mod world;

use std::{
    fs,
    io::Write as _,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use tokio::runtime::{Builder, Runtime};

use self::{
    api::Api,
    report::{Figures, Report},
    start::Daemon,
    world::{AS, BLOCKS_EACH, Rates, Size, World, node_address},
};
use super::{
    Machine,
    arena::{self, Arena},
    load::{Identity, Load},
    stats::Samples,
    wire::{self, Family, Routes},
};

/// What to measure.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Nodes of the cluster
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(3..=8_000))]
    nodes: u32,
    /// Pods of the cluster, spread over all nodes
    #[arg(long, default_value_t = 150_000, value_parser = clap::value_parser!(u32).range(..=1_000_000))]
    pods: u32,
    /// Pods that change in a second
    #[arg(long, default_value_t = 50, value_name = "PER_SECOND", value_parser = clap::value_parser!(u32).range(..=1_000))]
    changes: u32,
    /// How long the daemon is watched while the cluster lives
    #[arg(long, default_value_t = 60, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3_600))]
    watched: u64,
    /// New blocks of other nodes whose way into the kernel is timed
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    blocks: u32,
    /// Nobody else is the leader: the daemon becomes it, and does its work too
    #[arg(long)]
    leader: bool,
    /// Seconds that one step may take
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    patience: u64,
    /// Also write all figures to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Where `routed` is [default: beside this program]
    #[arg(long, value_name = "DIR")]
    bin_dir: Option<PathBuf>,
}

/// Runs the benchmark; gives the exit code.
pub(crate) fn run(options: &Options) -> Result<i32> {
    let machine = Machine::here();
    let bin_dir = match &options.bin_dir {
        Some(dir) => dir.clone(),
        None => std::env::current_exe()?.parent().context("no folder")?.to_owned(),
    };
    let routed = bin_dir.join("routed");
    ensure!(
        routed.is_file(),
        "no routed in {}; `./testbed/run bench` builds it, or name its folder with --bin-dir",
        bin_dir.display()
    );
    // Opened before the file system is another one.
    let json = super::create(options.json.as_deref())?;
    let routed = fs::canonicalize(routed)?;
    arena::run_inside(|arena| {
        arena.add_addresses([1, 2].into_iter().map(node_address))?;
        let figures = Bench::new(options, arena, routed)?.measure()?;
        let report = Report::new(machine, options, figures);
        print!("{report}");
        if let Some(mut json) = json {
            writeln!(json, "{}", serde_json::to_string_pretty(&report)?)?;
        }
        Ok(0)
    })
}

/// A benchmark that runs.
struct Bench<'a> {
    options: &'a Options,
    arena: &'a Arena,
    routed: PathBuf,
    world: World,
    patience: Duration,
    /// Where the generator runs; without it there is no API server.
    runtime: Option<(Runtime, Api)>,
}

impl<'a> Bench<'a> {
    fn new(options: &'a Options, arena: &'a Arena, routed: PathBuf) -> Result<Self> {
        let Options { nodes, pods, .. } = *options;
        eprintln!("  … making {nodes} nodes and {pods} pods");
        let world = World::new(Size { nodes, pods });
        let patience = Duration::from_secs(options.patience);
        let mut bench = Self { options, arena, routed, world, patience, runtime: None };
        bench.raise_api()?;
        Ok(bench)
    }

    fn raise_api(&mut self) -> Result<()> {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let Options { changes, nodes, leader, .. } = *self.options;
        // A kubelet says every five minutes that it lives, and so do we.
        let rates = Rates { pods: changes, signs: nodes / 300 };
        let store = std::sync::Arc::clone(&self.world.store);
        let api = runtime.block_on(Api::serve(store, API))?;
        runtime.spawn(self.world.clone().live(rates, !leader));
        self.runtime = Some((runtime, api));
        Ok(())
    }

    fn measure(mut self) -> Result<Figures> {
        let mut figures = Figures::default();
        if self.options.leader {
            let (mut daemon, mut load) = self.become_leader()?;
            self.observe(&mut daemon, &mut load, &mut figures)?;
            return Ok(figures);
        }
        self.world.grow_up();
        eprintln!("  … the first start");
        let (daemon, load) = self.start()?;
        figures.first_start = Some(daemon.took);
        figures.first_peak = Some(daemon.running.usage()?.peak);
        drop((daemon, load));

        eprintln!("  … a start with what the disk has");
        let (mut daemon, mut load) = self.start()?;
        figures.start = Some(daemon.took);
        self.observe(&mut daemon, &mut load, &mut figures)?;
        drop((daemon, load));

        eprintln!("  … a start without API server");
        self.runtime = None;
        let (daemon, _load) = self.start()?;
        figures.start_alone = Some(daemon.took);
        Ok(figures)
    }

    /// What a daemon needs that runs, and how it follows the cluster.
    fn observe(&self, daemon: &mut Daemon, load: &mut Load, figures: &mut Figures) -> Result<()> {
        self.watch(daemon, load, figures)?;
        self.time_blocks(daemon, load, figures)?;
        if let Some(obituary) = daemon.running.obituary() {
            bail!(obituary);
        }
        figures.peak = daemon.running.usage()?.peak;
        Ok(())
    }

    /// A daemon that leads. Of thousands each looks seldom whether somebody does: so it becomes the leader
    /// of a small cluster, which then grows.
    fn become_leader(&self) -> Result<(Daemon, Load)> {
        eprintln!("  … a small cluster gets its leader, and grows");
        let mut daemon = Daemon::start(self.arena, &self.routed)?;
        let mut load = Load::new()?;
        let leads = |daemon: &Daemon| daemon.metric("slash32_cluster_leader") == Some(1);
        while !leads(&daemon) {
            if let Some(obituary) = daemon.running.obituary() {
                bail!(obituary);
            }
            ensure!(
                daemon.begun.elapsed() < 2 * self.patience,
                "the daemon does not become the leader"
            );
            load.idle(Duration::from_millis(200))?;
        }
        self.world.grow_up();
        daemon.begun = Instant::now();
        self.bring_up(&mut daemon, &mut load)?;
        ensure!(leads(&daemon), "the daemon leads no more");
        Ok((daemon, load))
    }

    /// A daemon that is ready, with every route in the kernel, and the sessions of the reflectors.
    fn start(&self) -> Result<(Daemon, Load)> {
        // As after a reboot.
        self.arena.forget_routes()?;
        let mut daemon = Daemon::start(self.arena, &self.routed)?;
        let mut load = Load::new()?;
        let outcome = self.bring_up(&mut daemon, &mut load);
        match (outcome, daemon.running.obituary()) {
            (Ok(()), _) => Ok((daemon, load)),
            (Err(error), Some(obituary)) => Err(error.context(obituary)),
            (Err(error), None) => Err(error),
        }
    }

    fn bring_up(&self, daemon: &mut Daemon, load: &mut Load) -> Result<()> {
        let before = daemon.running.kernel_routes()?;
        for reflector in [1, 2] {
            let number = load.join(reflector_identity(reflector), self.patience)?;
            let octets: Rc<[u8]> = self.table().into();
            load.send(number, &octets)?;
        }
        let all = before + BLOCKS_EACH * (self.options.nodes - 1);
        loop {
            let missing = all.saturating_sub(daemon.running.kernel_routes()?);
            if missing == 0 && daemon.is_ready(self.options.nodes) {
                break;
            }
            ensure!(
                daemon.begun.elapsed() < self.patience,
                "after {} s {missing} of {all} routes are not in the kernel; not ready: {}",
                self.options.patience,
                daemon.why_not_ready()
            );
            load.idle(LOOK)?;
        }
        daemon.took = daemon.begun.elapsed().as_secs_f64();
        eprintln!("    {:.2} s", daemon.took);
        Ok(())
    }

    /// What a reflector announces: the blocks of all nodes but the first.
    fn table(&self) -> Vec<u8> {
        (1..self.options.nodes).flat_map(|node| blocks_of(node).announced()).collect()
    }

    /// The cluster lives, and the daemon is watched.
    fn watch(&self, daemon: &Daemon, load: &mut Load, figures: &mut Figures) -> Result<()> {
        eprintln!("  … {} s of the cluster's life", self.options.watched);
        load.idle(REST)?;
        ensure!(daemon.metric("slash32_cluster_watched") == Some(1), "the daemon does not watch");
        let api = self.runtime.as_ref().map(|(_, api)| api);
        api.map(Api::take_asked);
        let (before, begun) = (daemon.running.usage()?, Instant::now());
        for second in 0..self.options.watched {
            load.idle(Duration::from_secs(1))?;
            // Blocks come and go as well.
            let changing = flapping();
            let octets = if second % 2 == 0 { changing.announced() } else { changing.withdrawn() };
            let octets: Rc<[u8]> = octets.into();
            load.send(0, &octets)?;
            load.send(1, &octets)?;
        }
        let after = daemon.running.usage()?;
        let used = (after.cpu - before.cpu).as_secs_f64();
        figures.cpu = 100.0 * used / begun.elapsed().as_secs_f64();
        figures.resident = after.resident;
        figures.asked = api.map(Api::take_asked).unwrap_or_default();
        Ok(())
    }

    /// One new block after the other, each of another node.
    fn time_blocks(&self, daemon: &Daemon, load: &mut Load, figures: &mut Figures) -> Result<()> {
        eprintln!("  … {} new blocks", self.options.blocks);
        // What came and went last is through by then.
        load.idle(REST)?;
        let mut took = Samples::default();
        for at in 0..self.options.blocks {
            let route = new_block(at, self.options.nodes);
            let octets: Rc<[u8]> = route.announced().into();
            let all = daemon.running.kernel_routes()? + 1;
            let begun = Instant::now();
            // One reflector is a little later than the other.
            load.send(0, &octets)?;
            while daemon.running.kernel_routes()? < all {
                ensure!(
                    begun.elapsed() < self.patience,
                    "block {at} does not come into the kernel"
                );
                load.idle(GLANCE)?;
            }
            took.push(begun.elapsed());
            load.send(1, &octets)?;
            load.idle(LOOK)?;
        }
        figures.new_block = took.summary();
        Ok(())
    }
}

/// A reflector as a session of the load.
fn reflector_identity(node: u32) -> Identity {
    Identity {
        asn: AS,
        address: node_address(node),
        hold_time: wire::HOLD_TIME,
        add_path: false,
        is_quiet: false,
        is_deaf: true,
    }
}

/// The blocks of a node.
fn blocks_of(node: u32) -> Routes {
    let first = BLOCKS_EACH * node;
    routes(first..first + BLOCKS_EACH, node)
}

/// A block that nobody had before.
fn new_block(at: u32, nodes: u32) -> Routes {
    let number = NEW_BLOCKS + at;
    routes(number..number + 1, 3.min(nodes - 1) + at % (nodes - 3).max(1))
}

/// One that comes and goes.
fn flapping() -> Routes {
    routes(FLAPPING..FLAPPING + 1, 2)
}

fn routes(numbers: std::ops::Range<u32>, node: u32) -> Routes {
    Routes {
        numbers,
        family: Family::Ipv4,
        per_set: u32::MAX,
        per_update: u32::MAX,
        asn: AS,
        next_hop: IpAddr::V4(node_address(node)),
        internal: true,
        add_path: false,
    }
}

/// Of the generator.
const API: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::new(10, 99, 1, 1)), 6443);
/// Numbers of routes that are no node's at first.
const NEW_BLOCKS: u32 = 100_000;
const FLAPPING: u32 = 90_000;
/// Between two looks at the kernel.
const LOOK: Duration = Duration::from_millis(5);
const GLANCE: Duration = Duration::from_micros(500);
/// After the start, before anything is measured.
const REST: Duration = Duration::from_secs(5);
