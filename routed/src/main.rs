//! The command line of the node daemon.
//!
//! In: arguments. Out: a running daemon, or text on stdout with errors on stderr. Exit code 0 is
//! success, 1 a failure that was explained, 2 a wrong command line, 3 a tested path that is
//! rejected or a conversion that leaves something out, 10 a daemon that was to leave the fabric.

mod control;
#[path = "install/arguments.rs"]
mod install;

use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use bgp::{family::Family, prefix::Prefix};
use clap::{Args, Parser, Subcommand, ValueEnum};
use ipnetwork::IpNetwork;
use routed::{
    admin::{Selection, StopMode},
    cleanup::{self, Cleanup},
    config::{DEFAULT_ADMIN, DEFAULT_PATH},
    convert, dump, inspect, ipam,
    kernel::sysctl,
    manifest, policy_test, run,
    show::{self, Format, Show, check::CheckView},
};
use tracing_subscriber::EnvFilter;

/// The node daemon of Slash32: a /32 for every pod, every route in BGP, no overlay.
#[derive(Debug, Parser)]
#[command(name = "routed", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon in the foreground
    Run(RunArgs),
    /// Check a configuration file: all its faults, or what it comes to
    Check(CheckArgs),
    /// Have the running daemon read its configuration again and go on with it
    Reload(control::ReloadArgs),
    /// Have traffic go elsewhere before this router does: mark all that peers are told with
    /// GRACEFUL_SHUTDOWN (RFC 8326), until undrain or the next boot
    Drain(control::DrainArgs),
    /// End a drain
    Undrain(control::DrainArgs),
    /// Have the daemon end, and wait until it has; kernel routes and pods stay as they are
    Stop(control::StopArgs),
    /// Start, stop or reset the session of a peer, or have routes told again
    Peer(control::PeerArgs),
    /// Show what the running daemon knows
    Show(ShowArgs),
    /// Say why a prefix is routed as it is: every path with the statements that decided about it,
    /// the kernel's route, and what each peer is told
    Why(WhyArgs),
    /// Write everything that peers have announced into a file, as other tools read it
    Dump(DumpArgs),
    /// Addresses of pods
    Ipam(IpamArgs),
    /// Import and export policies
    Policy(PolicyArgs),
    /// One pod from both sides, with the verdict of every check; exit code 1 if one is bad
    Pod(PodArgs),
    /// Make our Kubernetes objects out of those of another CNI
    Convert(ConvertArgs),
    /// Print the definitions of the Kubernetes objects, as for kubectl apply --server-side -f -
    Crds,
    /// Print everything that a cluster needs to run us, as for kubectl apply --server-side -f -
    Manifest(ManifestArgs),
    /// Put the CNI plugin in its place, and its network as soon as the daemon serves pods
    Install(install::InstallArgs),
    /// Take the network and the plugin away, then everything else that is ours on this node
    Uninstall(install::UninstallArgs),
    /// Remove everything that is ours from this node, and nothing else
    Cleanup(CleanupArgs),
    /// Print the version
    Version,
}

/// The Kubernetes client warns of every watch that ends, and calls an API server that is down an error for
/// each request: whoever asked says it once, with what follows from it.
const QUIET: &str = "kube_client=off";

#[derive(Debug, Args)]
struct RunArgs {
    /// Configuration file
    #[arg(long, value_name = "FILE", default_value = DEFAULT_PATH)]
    config: PathBuf,
    /// What to log, as in "info" or "info,routed::peering=debug"; of the library that speaks to the API
    /// server nothing, unless kube_client=debug asks for it
    #[arg(long, value_name = "FILTER", env = "RUST_LOG", default_value = "info")]
    log: String,
    /// Put the CNI plugin in its place, and its network as soon as pods are served, and keep both there
    #[arg(long)]
    install: bool,
    /// Make /proc/sys writable first, which it is not in a container
    #[arg(long)]
    unlock_sysctls: bool,
    #[command(flatten)]
    places: install::Places,
}

#[derive(Debug, Args)]
struct ManifestArgs {
    /// Image of the daemon, instead of that of the chart's values
    #[arg(long)]
    image: Option<String>,
    /// Namespace of everything, instead of slash32-system
    #[arg(long)]
    namespace: Option<String>,
    /// A routed.toml for all nodes, instead of one that only switches Kubernetes on
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct CheckArgs {
    /// Configuration file
    #[arg(value_name = "FILE", default_value = DEFAULT_PATH)]
    file: PathBuf,
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

#[derive(Debug, Args)]
struct ShowArgs {
    #[command(subcommand)]
    what: What,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, Args)]
struct PodArgs {
    /// Name, container id, process id in the pod, address, or interface on the host
    which: String,
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
    /// The daemon's sockets.admin; works without a daemon too
    #[arg(long, value_name = "PATH", default_value = DEFAULT_ADMIN)]
    socket: PathBuf,
}

#[derive(Debug, Args)]
struct CleanupArgs {
    /// Only say what would be removed
    #[arg(long)]
    dry_run: bool,
    /// Configuration file, if there still is one
    #[arg(long, value_name = "FILE", default_value = DEFAULT_PATH)]
    config: PathBuf,
}

#[derive(Debug, Args)]
struct ConvertArgs {
    #[command(subcommand)]
    from: ConvertFrom,
}

#[derive(Debug, Subcommand)]
enum ConvertFrom {
    /// IPPools, IPReservations, BGPConfigurations, BGPPeers and BGPFilters of Calico, as YAML. Ours
    /// are printed, and on stderr what has no counterpart and what to do about it. Exit code 0: all is
    /// converted, 3: some is not
    Calico {
        /// Files as kubectl get -o yaml or calicoctl get -o yaml print them; "-" is stdin
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
}

#[derive(Debug, Args)]
struct DumpArgs {
    /// File to write; "-" is stdout
    file: PathBuf,
    /// Form of the file
    #[arg(long, value_enum, default_value_t)]
    format: DumpFormat,
    /// The daemon's sockets.admin
    #[arg(long, value_name = "PATH", default_value = DEFAULT_ADMIN)]
    socket: PathBuf,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum DumpFormat {
    /// MRT TABLE_DUMP_V2 (RFC 6396), for bgpdump and the like
    #[default]
    Mrt,
}

#[derive(Debug, Args)]
struct IpamArgs {
    #[command(subcommand)]
    what: IpamCommand,
}

#[derive(Debug, Args)]
struct PolicyArgs {
    #[command(subcommand)]
    what: PolicyCommand,
}

#[derive(Debug, Subcommand)]
enum PolicyCommand {
    /// Say what a peer's policy makes of a path: every statement that is tried, which one decides,
    /// and the attributes before and after. Exit code 0: the path passes, 3: it does not
    Test(Box<TestArgs>),
}

#[derive(Debug, Args)]
struct TestArgs {
    #[command(flatten)]
    what: policy_test::Args,
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

#[derive(Debug, Subcommand)]
enum IpamCommand {
    /// Compare leases, interfaces and journal: every difference, exit code 1 if there is one
    Check {
        /// Have the daemon put right what differs, then compare again
        #[arg(long)]
        fix: bool,
        /// Form of the output
        #[arg(short, long, value_enum, default_value_t)]
        output: Output,
        /// The daemon's sockets.admin
        #[arg(long, value_name = "PATH", default_value = DEFAULT_ADMIN)]
        socket: PathBuf,
        /// The journal of leases, beside the daemon's sockets.cni
        #[arg(long, value_name = "PATH", default_value = ipam::DEFAULT_JOURNAL)]
        journal: PathBuf,
    },
}

#[derive(Debug, Args)]
struct WhyArgs {
    /// A prefix or address
    #[arg(value_parser = prefix_or_address)]
    prefix: IpNetwork,
    /// Only what this peer (name or address) is told
    #[arg(long, value_name = "PEER")]
    to: Option<String>,
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
    /// The daemon's sockets.admin
    #[arg(long, value_name = "PATH", default_value = DEFAULT_ADMIN)]
    socket: PathBuf,
}

#[derive(Debug, Args)]
struct How {
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t, global = true)]
    output: Output,
    /// The daemon's sockets.admin
    #[arg(long, value_name = "PATH", default_value = DEFAULT_ADMIN, global = true)]
    socket: PathBuf,
    /// Only this family
    #[arg(long, value_enum, global = true)]
    family: Option<FamilyArg>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// BGP peers and their sessions; with a name or address everything about that one
    Peers {
        /// Name or address of the peer
        peer: Option<String>,
    },
    /// Routes with all their paths; with a prefix or address, why each path is (not) used
    Routes {
        /// A prefix or address: the route that traffic to it takes
        #[arg(value_parser = prefix_or_address)]
        prefix: Option<IpNetwork>,
        /// The routes to the prefix and to everything inside it
        #[arg(long, requires = "prefix")]
        longer: bool,
        /// Only paths of this peer (name or address)
        #[arg(long)]
        peer: Option<String>,
    },
    /// What a peer has announced, before import policy
    Received {
        /// Name or address of the peer
        peer: String,
    },
    /// What a peer is told, and what it is not told and why
    Advertised {
        /// Name or address of the peer
        peer: String,
    },
    /// Monitoring stations (BMP) and their connections
    Bmp,
    /// The recorder of what peers say ([mrt])
    Mrt,
    /// Next-hop groups in the kernel, which learned routes point at
    Nexthops,
    /// Pods of this node
    Pods,
    /// Pod ranges of this node and how full they are
    Pools,
    /// Blocks that pods' addresses are taken from
    Blocks,
    /// Addresses that pods have, and those that cool down
    Leases,
    /// How the node stands to its Kubernetes cluster: the API server, blocks, objects not heeded
    Cluster,
    /// The configuration in force on a node of a cluster, as one file
    Config,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Output {
    /// For people
    #[default]
    Table,
    /// For programs
    Json,
}

impl From<Output> for Format {
    fn from(output: Output) -> Self {
        match output {
            Output::Table => Self::Table,
            Output::Json => Self::Json,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum FamilyArg {
    /// IPv4
    Ipv4,
    /// IPv6
    Ipv6,
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Run(args) => start(&args),
        Command::Check(args) => check(&args),
        Command::Reload(args) => control::reload(&args).map(|()| ExitCode::SUCCESS),
        Command::Drain(args) => control::drain(&args, true).map(|()| ExitCode::SUCCESS),
        Command::Undrain(args) => control::drain(&args, false).map(|()| ExitCode::SUCCESS),
        Command::Stop(args) => control::stop(&args).map(|()| ExitCode::SUCCESS),
        Command::Peer(args) => control::peer(args).map(|()| ExitCode::SUCCESS),
        Command::Show(args) => shown(args).map(|()| ExitCode::SUCCESS),
        Command::Why(args) => why(args),
        Command::Dump(args) => dump_routes(&args),
        Command::Ipam(args) => ipam_check(&args.what),
        Command::Policy(PolicyArgs { what: PolicyCommand::Test(args) }) => test_policy(&args),
        Command::Pod(args) => pod(&args),
        Command::Convert(ConvertArgs { from: ConvertFrom::Calico { files } }) => calico(&files),
        Command::Crds => print(&routed_api::manifest()).map(|()| ExitCode::SUCCESS),
        Command::Manifest(args) => print_manifest(args),
        Command::Install(args) => install::install(&args),
        Command::Uninstall(args) => install::uninstall(args),
        Command::Cleanup(args) => cleanup(args),
        Command::Version => {
            print(&format!("routed {}\n", env!("CARGO_PKG_VERSION"))).map(|()| ExitCode::SUCCESS)
        }
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("routed: {}", explained(&error));
        ExitCode::FAILURE
    })
}

fn start(args: &RunArgs) -> anyhow::Result<ExitCode> {
    let filter = EnvFilter::try_new(format!("{QUIET},{}", args.log))
        .with_context(|| format!("--log {:?} is not a filter; write info or debug", args.log))?;
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).init();
    if args.unlock_sysctls
        && let Err(error) = sysctl::unlock()
    {
        tracing::warn!(%error, "/proc/sys stays read-only; settings of the network that are not as \
            they should be cannot be put right");
    }
    let install = |cni: &Path| args.install.then(|| args.places.install(cni));
    let mode = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime's threads")?
        .block_on(run::run(&args.config, install))?;
    Ok(match mode {
        StopMode::Graceful => ExitCode::SUCCESS,
        StopMode::Withdraw => ExitCode::from(WITHDRAWN),
    })
}

fn check(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let view = CheckView::of(&args.file);
    match args.output {
        Output::Json => print(&(serde_json::to_string_pretty(&view)? + "\n"))?,
        Output::Table => tell(&args.file, &view)?,
    }
    Ok(if view.valid { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What it comes to on stdout, everything to be mended on stderr.
fn tell(file: &Path, view: &CheckView) -> anyhow::Result<()> {
    let mut stderr = io::stderr().lock();
    let file = file.display();
    for (findings, kind) in [(&view.faults, ""), (&view.warnings, "warning: ")] {
        for finding in findings {
            writeln!(stderr, "{file}{}{kind}{}", finding.place, finding.message)?;
        }
    }
    match &view.summary {
        Some(summary) => print(&format!("{file} is valid\n\n{}", summary.text())),
        None if view.valid => print(&format!(
            "{file} is valid for a node of a cluster; what is not in it comes from the API server, and \
             `routed show config` has the whole on the node\n"
        )),
        None => {
            let faults = view.faults.len();
            let s = if faults == 1 { "" } else { "s" };
            writeln!(stderr, "{file}: {faults} fault{s}; routed would not start with it")?;
            Ok(())
        }
    }
}

fn why(args: WhyArgs) -> anyhow::Result<ExitCode> {
    let WhyArgs { prefix, to, output, socket } = args;
    let text = show::show(&Show::Why(prefix, to), output.into(), None, &socket)?;
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn shown(args: ShowArgs) -> anyhow::Result<()> {
    let what = match args.what {
        What::Peers { peer } => Show::Peers(peer),
        What::Routes { prefix, longer, peer } => {
            let of = match prefix {
                None => Selection::All,
                Some(prefix) if longer => Selection::Inside(prefix),
                Some(prefix) => Selection::Covering(prefix),
            };
            Show::Routes(of, peer)
        }
        What::Received { peer } => Show::Received(peer),
        What::Advertised { peer } => Show::Advertised(peer),
        What::Bmp => Show::Stations,
        What::Mrt => Show::Recorder,
        What::Nexthops => Show::NextHops,
        What::Pods => Show::Pods,
        What::Pools => Show::Pools,
        What::Blocks => Show::Blocks,
        What::Leases => Show::Leases,
        What::Cluster => Show::Cluster,
        What::Config => Show::Config,
    };
    let format = args.how.output.into();
    let family = args.how.family.map(|family| match family {
        FamilyArg::Ipv4 => Family::Ipv4Unicast,
        FamilyArg::Ipv6 => Family::Ipv6Unicast,
    });
    print(&show::show(&what, format, family, &args.how.socket)?)
}

fn pod(args: &PodArgs) -> anyhow::Result<ExitCode> {
    let reports = inspect::run(&args.which, &args.socket)?;
    print(&show::render(args.output.into(), &reports, inspect::text)?)?;
    let mut verdicts = reports.iter().flat_map(|report| &report.checks);
    let good = verdicts.all(|verdict| verdict.differences.is_empty());
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn cleanup(args: CleanupArgs) -> anyhow::Result<ExitCode> {
    let CleanupArgs { dry_run, config } = args;
    print(&cleanup::run(&Cleanup { config, dry_run, root: "/".into() })?)?;
    Ok(ExitCode::SUCCESS)
}

fn print_manifest(args: ManifestArgs) -> anyhow::Result<ExitCode> {
    let ManifestArgs { image, namespace, config } = args;
    let read = |path: PathBuf| {
        std::fs::read_to_string(&path).with_context(|| format!("{} cannot be read", path.display()))
    };
    let config = config.map(read).transpose()?;
    print(&manifest::manifest(&manifest::Choices { namespace, image, config })?)?;
    Ok(ExitCode::SUCCESS)
}

fn calico(files: &[PathBuf]) -> anyhow::Result<ExitCode> {
    let converted = convert::calico(files)?;
    print(&converted.yaml())?;
    for note in &converted.notes {
        eprintln!("{}{note}", if note.is_loss { "" } else { "note: " });
    }
    Ok(if converted.has_losses() { ExitCode::from(INCOMPLETE) } else { ExitCode::SUCCESS })
}

fn dump_routes(args: &DumpArgs) -> anyhow::Result<ExitCode> {
    let DumpFormat::Mrt = args.format;
    if args.file == Path::new("-") {
        dump::to_stdout(&args.socket)?;
    } else {
        print(&format!("{}\n", dump::to_file(&args.file, &args.socket)?))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn ipam_check(command: &IpamCommand) -> anyhow::Result<ExitCode> {
    let IpamCommand::Check { fix, output, socket, journal } = command;
    let findings = ipam::run(socket, journal, *fix)?;
    print(&show::render((*output).into(), &findings, ipam::text)?)?;
    Ok(if findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn test_policy(args: &TestArgs) -> anyhow::Result<ExitCode> {
    let view = args.what.run()?;
    match args.output {
        Output::Json => print(&(serde_json::to_string_pretty(&view)? + "\n"))?,
        Output::Table => print(&policy_test::text(&view))?,
    }
    Ok(if view.accepted { ExitCode::SUCCESS } else { ExitCode::from(REJECTED) })
}

/// Exit code of a daemon that was to leave the fabric: its unit does not start it again.
const WITHDRAWN: u8 = 10;

/// Exit code of a test whose path does not pass: apart from 1, a test that could not be made,
/// and 2, a wrong command line.
const REJECTED: u8 = 3;

/// Exit code of a conversion that leaves something out.
const INCOMPLETE: u8 = 3;

/// Text for stdout. A reader that has seen enough (`| head`) is no failure.
fn print(text: &str) -> anyhow::Result<()> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        outcome => outcome.context("cannot write to stdout"),
    }
}

/// The error with its causes, without those that are part of its text already.
fn explained(error: &anyhow::Error) -> String {
    error.chain().fold(String::new(), |told, cause| match cause.to_string() {
        cause if told.is_empty() => cause,
        cause if told.contains(&cause) => told,
        cause => format!("{told}: {cause}"),
    })
}

fn prefix_or_address(text: &str) -> Result<IpNetwork, String> {
    if let Ok(address) = text.parse() {
        return Ok(Prefix::host(address).into());
    }
    text.parse::<Prefix>().map(Into::into).map_err(|error| error.to_string())
}
