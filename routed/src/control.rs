//! The command line of `routed reload`, `routed drain`, `routed stop` and `routed peer`: what changes a running daemon.

use std::{
    io::{self, Write as _},
    path::PathBuf,
    time::Duration,
};

use clap::{Args, Subcommand, ValueEnum};
use routed::{
    admin::{Direction, PeerAction, StopMode},
    config::DEFAULT_ADMIN,
    show,
};

use crate::{Output, print};

#[derive(Debug, Args)]
pub(crate) struct ReloadArgs {
    /// Only tell what would change, and what that does to sessions
    #[arg(long)]
    dry_run: bool,
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
    /// The daemon's sockets.admin
    #[arg(long, value_name = "PATH", default_value = DEFAULT_ADMIN)]
    socket: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct DrainArgs {
    /// Return when every peer with a session has been told, after so many seconds at most (30)
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "30")]
    wait: Option<u16>,
    /// The daemon's sockets.admin
    #[arg(long, value_name = "PATH", default_value = DEFAULT_ADMIN)]
    socket: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct StopArgs {
    /// It will be back soon: peers that agreed on graceful restart keep our routes meanwhile; as SIGTERM
    /// does (default)
    #[arg(long, group = "how")]
    graceful: bool,
    /// It leaves: peers are told GRACEFUL_SHUTDOWN (RFC 8326), get time to send traffic another way, and
    /// then that it is down
    #[arg(long, group = "how")]
    drain: bool,
    /// It is to be without traffic at once: peers are told that it is down and drop its routes
    #[arg(long, group = "how")]
    withdraw: bool,
    /// Each step takes so many seconds at most: peers hearing of the drain, the daemon ending
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    wait: u16,
    /// After all peers have heard of the drain: seconds for the fabric to pass it on
    #[arg(long, value_name = "SECONDS", default_value_t = 5, requires = "drain")]
    settle: u16,
    /// The daemon's sockets.admin
    #[arg(long, value_name = "PATH", default_value = DEFAULT_ADMIN)]
    socket: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct PeerArgs {
    /// Name or address of the peer
    peer: String,
    #[command(subcommand)]
    action: PeerWord,
    /// The daemon's sockets.admin
    #[arg(long, value_name = "PATH", default_value = DEFAULT_ADMIN, global = true)]
    socket: PathBuf,
}

#[derive(Debug, Subcommand)]
enum PeerWord {
    /// Have the session (again)
    Enable,
    /// Have no session until it is enabled, or the daemon starts again
    Disable {
        /// For the peer's operator, at most 255 octets (RFC 9003)
        #[arg(value_parser = shutdown_text, default_value = "")]
        text: String,
    },
    /// Close the session and open it again
    Reset {
        /// For the peer's operator, at most 255 octets (RFC 9003)
        #[arg(value_parser = shutdown_text, default_value = "")]
        text: String,
    },
    /// Have all routes told again without touching the session
    Refresh {
        /// Whose routes
        #[arg(value_enum, default_value_t)]
        direction: DirectionArg,
    },
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum DirectionArg {
    /// Those of the peer
    In,
    /// Ours
    Out,
    /// Either's
    #[default]
    Both,
}

/// Has the daemon read its configuration again.
pub(crate) fn reload(args: &ReloadArgs) -> anyhow::Result<()> {
    let (text, notes) = show::control::reload(args.dry_run, args.output.into(), &args.socket)?;
    for note in notes {
        writeln!(io::stderr(), "{note}")?;
    }
    print(&text)
}

/// Has the router drained, or no longer.
pub(crate) fn drain(args: &DrainArgs, wanted: bool) -> anyhow::Result<()> {
    for note in show::control::drain(wanted, true, &args.socket)? {
        writeln!(io::stderr(), "{note}")?;
    }
    let Some(seconds) = args.wait else { return Ok(()) };
    let owed = show::control::told(Duration::from_secs(seconds.into()), &args.socket)?;
    if owed.is_empty() {
        return Ok(());
    }
    anyhow::bail!("after {seconds} s not yet told: {}; the others are", owed.join(", "))
}

/// Has the daemon end, and says what it came to.
pub(crate) fn stop(args: &StopArgs) -> anyhow::Result<()> {
    let patience = Duration::from_secs(args.wait.into());
    if args.drain {
        show::control::drain(true, false, &args.socket)?;
        let owed = show::control::told(patience, &args.socket)?;
        if owed.is_empty() {
            print("drained: every peer with a session has been told\n")?;
        } else {
            // Going on loses what still comes by those; staying helps nobody who wants to go.
            let (seconds, owed) = (args.wait, owed.join(", "));
            print(&format!("after {seconds} s not yet told of the drain: {owed}; going on\n"))?;
        }
        std::thread::sleep(Duration::from_secs(args.settle.into()));
    }
    let (mode, told) = if args.drain || args.withdraw {
        (StopMode::Withdraw, "peers have been told that this router is down")
    } else {
        (StopMode::Graceful, "peers that agreed on graceful restart keep its routes for now")
    };
    if !show::control::stop(mode, patience, &args.socket)? {
        anyhow::bail!(
            "after {} s the daemon has not ended yet; the log says what it waits for",
            args.wait
        );
    }
    print(&format!("stopped: {told}; kernel routes and pods stay as they are\n"))
}

/// Has the daemon act on one session.
pub(crate) fn peer(args: PeerArgs) -> anyhow::Result<()> {
    let action = match args.action {
        PeerWord::Enable => PeerAction::Enable,
        PeerWord::Disable { text } => PeerAction::Disable(text),
        PeerWord::Reset { text } => PeerAction::Reset(text),
        PeerWord::Refresh { direction } => PeerAction::Refresh(match direction {
            DirectionArg::In => Direction::In,
            DirectionArg::Out => Direction::Out,
            DirectionArg::Both => Direction::Both,
        }),
    };
    Ok(show::control::peer(&args.peer, action, &args.socket)?)
}

fn shutdown_text(text: &str) -> Result<String, String> {
    match text.len() {
        0..=255 => Ok(text.to_owned()),
        octets => Err(format!("{octets} octets are too many; at most 255 can be told (RFC 9003)")),
    }
}
