//! `kubectl slash32`: what the nodes of a cluster report, for the whole of it at once.
//!
//! In: arguments, a kubeconfig as kubectl takes it. Out: tables for people or JSON for programs on
//! stdout, errors on stderr. Reads objects and changes none; talks to the API server only, never to a
//! node. Exit code 0 is success, 1 that something is down if `--check` asks for it, 2 a wrong command
//! line, 3 that there is no answer.

mod blocks;
mod cluster;
mod nodes;
mod peers;
mod problems;
#[path = "../../src/show/table.rs"]
#[allow(unreachable_pub, reason = "it is shared with `routed show`, which has it in a library")]
mod table;

use std::{
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Args, Parser, Subcommand, ValueEnum};
use k8s_openapi::{api::core::v1::Node, jiff::Timestamp};
use routed_api::{
    BGPConfiguration, BGPNodeStatus, BGPPeer, BGPPolicy, IPBlock, IPPool, IPReservation,
};
use serde::Serialize;

use self::cluster::{Access, Cluster, Trouble};

/// Peers, nodes, blocks and problems of a Slash32 cluster, as its nodes report them.
#[derive(Debug, Parser)]
#[command(name = "kubectl slash32", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// The kubeconfig (default: $KUBECONFIG, else ~/.kube/config)
    #[arg(long, global = true, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig (default: the current one)
    #[arg(long, global = true, value_name = "NAME")]
    context: Option<String>,
    /// Table or JSON
    #[arg(short, long, global = true, value_enum, default_value_t)]
    output: Output,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Output {
    /// For people
    #[default]
    Table,
    /// For programs: one array
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// BGP sessions of all nodes, those that are down first
    Peers(PeersArgs),
    /// Nodes: AS, sessions, blocks, readiness, when they last reported
    Nodes,
    /// Pools: how many blocks they have, and how many are free
    Blocks(BlocksArgs),
    /// What nodes cannot heed of the cluster's objects, and what else is amiss with them
    Problems,
}

#[derive(Debug, Args)]
struct PeersArgs {
    /// Only those of this node
    #[arg(long, value_name = "NAME")]
    node: Option<String>,
    /// Exit with 1 if a session is down, or a node has not reported for 15 minutes
    #[arg(long)]
    check: bool,
}

#[derive(Debug, Args)]
struct BlocksArgs {
    /// Each block and its node in place of the pools
    #[arg(long)]
    list: bool,
    /// Only blocks of this node
    #[arg(long, value_name = "NAME", requires = "list")]
    node: Option<String>,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = runtime.map_err(Trouble::Runtime).and_then(|runtime| runtime.block_on(run(&cli)));
    match done {
        Ok(code) => code,
        Err(trouble) => {
            eprintln!("error: {trouble}");
            ExitCode::from(NO_ANSWER)
        }
    }
}

async fn run(cli: &Cli) -> Result<ExitCode, Trouble> {
    let access = Access { kubeconfig: cli.kubeconfig.as_deref(), context: cli.context.as_deref() };
    let cluster = Cluster::connect(&access).await?;
    let now = Timestamp::now();
    let mut code = ExitCode::SUCCESS;
    match &cli.command {
        Command::Peers(args) => {
            let reports = match &args.node {
                Some(node) => vec![cluster.report(node).await?],
                None => cluster.list::<BGPNodeStatus>().await?,
            };
            let sessions = peers::Sessions::of(&reports, now);
            print(cli.output, &sessions.rows, &sessions.text())?;
            if args.check && !sessions.are_up() {
                code = ExitCode::from(DOWN);
            }
        }
        Command::Nodes => {
            let reports = cluster.list::<BGPNodeStatus>().await?;
            let blocks = cluster.list::<IPBlock>().await?;
            let known = match cluster.names::<Node>().await {
                Ok(known) => Some(known),
                Err(trouble @ Trouble::Forbidden { .. }) => {
                    eprintln!("note: nodes that have not reported are not known, since {trouble}");
                    None
                }
                Err(trouble) => return Err(trouble),
            };
            let rows = nodes::rows(&reports, &blocks, known.as_deref(), now);
            print(cli.output, &rows, &nodes::text(&rows))?;
        }
        Command::Blocks(BlocksArgs { list: false, .. }) => {
            let (pools, blocks) =
                (cluster.list::<IPPool>().await?, cluster.list::<IPBlock>().await?);
            let rows = blocks::pools(&pools, &blocks);
            print(cli.output, &rows, &blocks::pools_text(&rows))?;
        }
        Command::Blocks(BlocksArgs { node, .. }) => {
            let blocks = cluster.list::<IPBlock>().await?;
            let rows = blocks::claims(&blocks, node.as_deref(), now);
            print(cli.output, &rows, &blocks::claims_text(&rows))?;
        }
        Command::Problems => {
            let reports = cluster.list::<BGPNodeStatus>().await?;
            let refused = [
                cluster.refused::<IPPool>().await?,
                cluster.refused::<IPReservation>().await?,
                cluster.refused::<BGPConfiguration>().await?,
                cluster.refused::<BGPPeer>().await?,
                cluster.refused::<BGPPolicy>().await?,
            ];
            let rows = problems::rows(&reports, &refused.concat(), now);
            print(cli.output, &rows, &problems::text(&rows))?;
        }
    }
    Ok(code)
}

/// Prints either. Whoever reads may go before the end.
fn print<T: Serialize>(output: Output, rows: &[T], text: &str) -> Result<(), Trouble> {
    let mut stdout = io::stdout().lock();
    let printed = match output {
        Output::Table => stdout.write_all(text.as_bytes()),
        Output::Json => serde_json::to_writer_pretty(&mut stdout, rows)
            .map_err(io::Error::from)
            .and_then(|()| stdout.write_all(b"\n")),
    };
    match printed.and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Trouble::Stdout(error)),
        _ => Ok(()),
    }
}

/// Something is down.
const DOWN: u8 = 1;
/// There is no answer, and the error says why.
const NO_ANSWER: u8 = 3;
