//! The command line of `testbed`.
//!
//! In: arguments. Out: text on stdout, errors on stderr, an exit code. Each command is a few
//! lines that call the module that does the work.

use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::enter::Place;
use crate::topology::Runs;

mod fault;
mod inside;
mod labs;

/// Labs of network namespaces with real routers in them.
#[derive(Debug, Parser)]
#[command(name = "testbed", version, disable_help_subcommand = true)]
struct Arguments {
    /// Which lab; not needed while only one is up. For `up`: the new lab's name [default: the
    /// topology's]
    #[arg(long, short, global = true, value_name = "LAB")]
    name: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Raise a lab: built in are two-racks, unnumbered, pair, route-server and single-peer; or a file
    Up(Up),
    /// Take a lab down: --name LAB, or the only one
    Down {
        /// Take all of them down
        #[arg(long)]
        all: bool,
    },
    /// Show which labs are up, and a lab's routers, sessions, links and pods
    Show,
    /// Show the whole of it, step by step: two racks, pods, a ToR that is cut off
    Demo(Demo),
    /// Check a topology and show what it describes, without raising it
    Check {
        /// A built-in name or a file
        topology: String,
    },
    /// Run a command in a router or a pod
    Exec {
        /// ROUTER or ROUTER/POD
        place: Place,
        /// The command and its arguments
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        command: Vec<String>,
    },
    /// Add, check or remove a pod through the real plugin
    Pod {
        /// What to do
        #[arg(value_enum)]
        verb: PodVerb,
        /// The node
        node: String,
        /// The pod's name
        pod: String,
    },
    /// Show the kernel's routes of a router or a pod, as `ip route` does
    Routes {
        /// ROUTER or ROUTER/POD
        place: Place,
        /// `json` for programs
        #[arg(short, value_enum, default_value_t = Format::Text)]
        output: Format,
    },
    /// Send echo requests from a router or a pod
    Ping(Ping),
    /// Switch one interface of a router
    Link {
        /// The router
        router: String,
        /// The router at the other end of the cable, or the LAN
        neighbour: String,
        /// What to do
        #[arg(value_enum)]
        to: Switch,
    },
    /// Cut a router off: switch off all of its interfaces
    Cut {
        /// The router
        router: String,
    },
    /// Undo `cut`
    Mend {
        /// The router
        router: String,
    },
    /// Start a router's daemons
    Start {
        /// The router
        router: String,
    },
    /// Ask a router's daemons to end (SIGTERM)
    Stop {
        /// The router
        router: String,
    },
    /// End a router's daemons without warning (SIGKILL)
    Kill {
        /// The router
        router: String,
    },
    /// Stop and start a router's daemons
    Restart {
        /// The router
        router: String,
    },
    /// Make something go wrong: links that lose packets, daemons that hang, clocks that jump
    #[command(subcommand)]
    Fault(fault::Fault),
    /// Measure, beside others in the same run
    Bench {
        #[command(subcommand)]
        what: Bench,
    },
    #[command(hide = true)]
    Supervise { dir: PathBuf },
    #[command(hide = true)]
    Hold { dir: PathBuf, name: String },
    #[command(hide = true)]
    Boot { dir: PathBuf, router: String, holder: i32 },
}

#[derive(Debug, Subcommand)]
enum Bench {
    /// ADD, CHECK and DEL of pods, beside the reference plugins
    Cni(crate::bench::cni::Options),
    /// The BGP speaker under load, beside rivals if they are named
    Bgp(crate::bench::bgp::Options),
    /// Packets lost when daemons, routers and links fail, with routed on the nodes, and with others
    Failover(crate::bench::failover::Options),
    /// What a cluster of thousands of nodes costs the daemon of one
    Cluster(crate::bench::cluster::Options),
    #[command(hide = true)]
    Relay,
    #[command(hide = true)]
    Traffic(crate::bench::failover::End),
}

#[derive(Debug, Args)]
struct Up {
    /// A built-in name or a file
    topology: String,
    #[command(flatten)]
    software: Software,
}

/// What runs where, in place of what the topology names.
#[derive(Debug, Args)]
struct Software {
    /// Software of all ToRs and spines
    #[arg(long, value_enum, value_name = "SOFTWARE")]
    tor: Option<Runs>,
    /// Software of all nodes
    #[arg(long, value_enum, value_name = "SOFTWARE")]
    node: Option<Runs>,
    /// Where `routed` and `slash32` are [default: beside this program]
    #[arg(long, value_name = "DIR")]
    bin_dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Demo {
    /// Software of ToRs and spine
    #[arg(long, value_enum, value_name = "SOFTWARE", default_value_t = Runs::Routed)]
    tor: Runs,
    /// Leave the lab up at the end
    #[arg(long)]
    keep: bool,
    /// No pauses for reading
    #[arg(long)]
    fast: bool,
    /// Where `routed` and `slash32` are [default: beside this program]
    #[arg(long, value_name = "DIR")]
    bin_dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Ping {
    /// ROUTER or ROUTER/POD to send from
    place: Place,
    /// Addresses, or ROUTER/POD for all addresses of that pod
    #[arg(required = true)]
    to: Vec<String>,
    /// Requests to each address
    #[arg(short, long, default_value_t = 3)]
    count: u16,
    /// Go on until Ctrl-C or SIGTERM
    #[arg(long, conflicts_with = "count")]
    endless: bool,
    /// Seconds between requests
    #[arg(short, long, default_value_t = 0.2)]
    interval: f64,
    /// Only the totals
    #[arg(short, long)]
    quiet: bool,
    /// `json` for programs
    #[arg(short, value_enum, default_value_t = Format::Text)]
    output: Format,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum PodVerb {
    Add,
    Check,
    Del,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Switch {
    Up,
    Down,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments) {
        Ok(code) => ExitCode::from(u8::try_from(code).unwrap_or(1)),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(Arguments { name, command }: Arguments) -> Result<i32> {
    let name = name.as_deref();
    match command {
        Command::Up(up) => labs::up(name, &up),
        Command::Down { all } => labs::down(name, all),
        Command::Show => labs::show(name),
        Command::Demo(demo) => labs::demo(demo),
        Command::Check { topology } => labs::check(&topology),
        Command::Exec { place, command } => inside::exec(name, &place, &command),
        Command::Pod { verb, node, pod } => inside::pod(name, verb, node, &pod),
        Command::Routes { place, output } => inside::routes(name, &place, output),
        Command::Ping(ping) => inside::ping(name, &ping),
        Command::Link { router, neighbour, to } => {
            inside::switch(name, router, Some(&neighbour), matches!(to, Switch::Up))
        }
        Command::Cut { router } => inside::switch(name, router, None, false),
        Command::Mend { router } => inside::switch(name, router, None, true),
        Command::Start { router } => inside::daemons(name, router, None, true),
        Command::Stop { router } => inside::daemons(name, router, TERM, false),
        Command::Kill { router } => inside::daemons(name, router, KILL, false),
        Command::Restart { router } => inside::daemons(name, router, TERM, true),
        Command::Fault(fault) => fault::run(name, fault),
        Command::Bench { what: Bench::Cni(options) } => crate::bench::cni::run(&options),
        Command::Bench { what: Bench::Bgp(options) } => crate::bench::bgp::run(&options),
        Command::Bench { what: Bench::Failover(options) } => crate::bench::failover::run(&options),
        Command::Bench { what: Bench::Cluster(options) } => crate::bench::cluster::run(&options),
        Command::Bench { what: Bench::Traffic(end) } => {
            crate::bench::failover::run_end(&end).map(|()| 0)
        }
        Command::Bench { what: Bench::Relay } => crate::bench::bgp::relay::run().map(|()| 0),
        Command::Supervise { dir } => crate::supervisor::supervise(&dir).map(|()| 0),
        Command::Hold { dir, name } => crate::holder::hold(&dir, &name).map(|()| 0),
        Command::Boot { dir, router, holder } => inside::boot(&dir, &router, holder),
    }
}

/// Prints, and takes a reader who has seen enough (`| head`) for no error.
fn print(text: &str) -> Result<()> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
        Ok(()) | Err(_) => Ok(()),
    }
}

const TERM: Option<nix::sys::signal::Signal> = Some(nix::sys::signal::Signal::SIGTERM);
const KILL: Option<nix::sys::signal::Signal> = Some(nix::sys::signal::Signal::SIGKILL);
