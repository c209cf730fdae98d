//! `routed show …`: asks the running daemon and prints what it says.
//!
//! In: what to show, and the path of the administrator's socket. Out: a table for people or JSON
//! for programs on stdout, or an error that says what to do.

pub mod check;
mod cluster;
pub mod control;
mod next_hops;
mod peers;
mod pods;
mod recorder;
mod routes;
mod stations;
pub mod table;
pub mod view;
pub(crate) mod why;

use std::{
    io,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

use bgp::family::Family;
use ipnetwork::IpNetwork;
use plugin::rpc::{self, RpcError};
use serde::{Serialize, de::DeserializeOwned};

use crate::admin::{Part, Refusal, Request, Selection};

/// What to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Show {
    /// Peers and their sessions; with a name or address only that one, in full.
    Peers(Option<String>),
    /// Routes. One that covers a prefix is shown in full.
    Routes(Selection, Option<String>),
    /// Why a prefix is routed as it is; with a peer, only what that one is told.
    Why(IpNetwork, Option<String>),
    /// What this peer announced.
    Received(String),
    /// What this peer is told.
    Advertised(String),
    /// Monitoring stations.
    Stations,
    /// The recorder of what peers say.
    Recorder,
    /// Next-hop groups in the kernel.
    NextHops,
    /// Pod interfaces.
    Pods,
    /// Pod ranges.
    Pools,
    /// Blocks that addresses are taken from.
    Blocks,
    /// Addresses that are or were leased.
    Leases,
    /// How the node stands to its cluster.
    Cluster,
    /// The text of the configuration in force.
    Config,
}

/// In which form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For people.
    #[default]
    Table,
    /// For programs: one array.
    Json,
}

/// Why there is nothing to show.
#[derive(Debug, thiserror::Error)]
pub enum ShowError {
    /// No socket, or nobody behind it.
    #[error(
        "nobody answers on {}: routed is not running? Start it with `routed run`, or name its \
         sockets.admin with --socket", .0.display()
    )]
    NotRunning(PathBuf),
    /// The socket is not ours to use.
    #[error("no permission for {}: only the user that runs routed may ask; try sudo", .0.display())]
    Permission(PathBuf),
    /// The socket failed.
    #[error("cannot ask on {}: {source}", .path.display())]
    Connect {
        /// The socket.
        path: PathBuf,
        /// What failed.
        source: io::Error,
    },
    /// The daemon took too long.
    #[error("no answer within {} s: routed is stuck or overloaded, see its log", PATIENCE.as_secs())]
    Late,
    /// The connection broke or said nonsense.
    #[error("the answer is not usable: {0}")]
    Answer(RpcError),
    /// The daemon said no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// JSON could not be written.
    #[error("cannot write JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// What stdout gets.
///
/// # Errors
///
/// [`ShowError`].
pub fn show(
    what: &Show,
    format: Format,
    family: Option<Family>,
    socket: &Path,
) -> Result<String, ShowError> {
    let of_family = |prefix: &IpNetwork| family.is_none_or(|family| family == family_of(*prefix));
    match what {
        Show::Peers(name) => {
            let mut peers = ask(socket, &Request::Peers { peer: name.clone() })?;
            peers::only(&mut peers, family);
            match name {
                Some(_) => render(format, &peers, peers::details),
                None => render(format, &peers, peers::table),
            }
        }
        Show::Routes(of, peer) => {
            let request = Request::Routes { of: *of, peer: peer.clone() };
            let mut routes: Vec<view::RouteView> = ask(socket, &request)?;
            routes.retain(|route| of_family(&route.prefix));
            match of {
                Selection::Covering(wanted) => {
                    render(format, &routes, |routes| routes::details(routes, *wanted))
                }
                Selection::All | Selection::Inside(_) => render(format, &routes, routes::table),
            }
        }
        Show::Why(prefix, to) => {
            let request = Request::Why { prefix: *prefix, to: to.clone() };
            render(format, &ask(socket, &request)?, |rows| why::why(rows, *prefix))
        }
        Show::Received(peer) => {
            let mut routes: Vec<view::ReceivedView> =
                ask(socket, &Request::Received { peer: peer.clone() })?;
            routes.retain(|route| of_family(&route.prefix));
            render(format, &routes, routes::received)
        }
        Show::Advertised(peer) => {
            let mut routes: Vec<view::AdvertisedView> =
                ask(socket, &Request::Advertised { peer: peer.clone() })?;
            routes.retain(|route| of_family(&route.prefix));
            render(format, &routes, routes::advertised)
        }
        Show::Stations => render(format, &ask(socket, &Request::Stations)?, stations::table),
        Show::Recorder => render(format, &ask(socket, &Request::Recorder)?, recorder::text),
        Show::Cluster => render(format, &ask(socket, &Request::Cluster)?, cluster::text),
        Show::Config => cluster::config(&ask(socket, &Request::Cluster)?),
        Show::NextHops => render(format, &ask(socket, &Request::NextHops)?, next_hops::table),
        Show::Pods => render(format, &ask(socket, &Request::Pods)?, pods::pods),
        Show::Pools => render(format, &ask(socket, &Request::Pools)?, pods::pools),
        Show::Blocks => render(format, &ask(socket, &Request::Blocks)?, pods::blocks),
        Show::Leases => render(format, &ask(socket, &Request::Leases)?, pods::leases),
    }
}

/// Every row of the answer.
///
/// # Errors
///
/// [`ShowError`].
pub fn ask<T: DeserializeOwned>(socket: &Path, request: &Request) -> Result<Vec<T>, ShowError> {
    let stream = connect(socket)?;
    rpc::send(&stream, request).map_err(answer)?;
    let mut rows = Vec::new();
    loop {
        match rpc::receive(&stream).map_err(answer)? {
            Part::Row(row) => rows.push(row),
            Part::End => return Ok(rows),
            Part::Refused(refusal) => return Err(refusal.into()),
        }
    }
}

pub(crate) fn connect(socket: &Path) -> Result<UnixStream, ShowError> {
    let path = socket.to_path_buf();
    let stream = UnixStream::connect(socket).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => ShowError::NotRunning(path),
        io::ErrorKind::PermissionDenied => ShowError::Permission(path),
        _ => ShowError::Connect { path, source },
    })?;
    let patience = Some(PATIENCE);
    stream
        .set_read_timeout(patience)
        .and_then(|()| stream.set_write_timeout(patience))
        .map_err(|source| ShowError::Connect { path: socket.to_path_buf(), source })?;
    Ok(stream)
}

pub(crate) fn answer(error: RpcError) -> ShowError {
    match error {
        RpcError::Io(io)
            if matches!(io.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) =>
        {
            ShowError::Late
        }
        error => ShowError::Answer(error),
    }
}

/// The rows in the form that was asked for.
///
/// # Errors
///
/// [`ShowError::Json`].
pub fn render<T: Serialize>(
    format: Format,
    rows: &[T],
    table: impl FnOnce(&[T]) -> String,
) -> Result<String, ShowError> {
    match format {
        Format::Table => Ok(table(rows)),
        Format::Json => Ok(serde_json::to_string_pretty(rows)? + "\n"),
    }
}

const fn family_of(prefix: IpNetwork) -> Family {
    match prefix {
        IpNetwork::V4(_) => Family::Ipv4Unicast,
        IpNetwork::V6(_) => Family::Ipv6Unicast,
    }
}

/// How long the daemon may say nothing: longer than it gives the owners of what is shown.
const PATIENCE: Duration = Duration::from_secs(15);

fn or_dash(text: Option<impl ToString>) -> String {
    text.map_or_else(|| "-".to_owned(), |text| text.to_string())
}
