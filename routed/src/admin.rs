//! The administrator's socket: what `routed show` asks and is told, and what `routed reload` and
//! `routed peer` have done.
//!
//! In: one request a connection, a JSON document with its length in front as between plugin and
//! daemon. Out: one JSON document for each row of the answer, then an end; or the reason why
//! there is no answer.
//!
//! A caller can cost one small buffer and one of a few places for a bounded time, no more.

mod answer;
mod control;
mod dump;
mod next_hops;
mod recorder;
mod routes;
mod server;
mod stations;
mod why;

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};

pub use self::{
    control::{Direction, PeerAction, ReloadRow},
    dump::DumpPart,
    server::{AdminError, AdminServer},
};
pub(crate) use self::{routes::attrs_view, why::policy_view};

/// What can be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Peers: [`PeerView`](crate::show::view::PeerView).
    Peers {
        /// Only the one of this name or address.
        peer: Option<String>,
    },
    /// Routes with all their paths: [`RouteView`](crate::show::view::RouteView).
    Routes {
        /// Which prefixes.
        of: Selection,
        /// Only routes with a path of this peer (name or address), and of their paths only its.
        peer: Option<String>,
    },
    /// Why a prefix is routed as it is: [`WhyView`](crate::show::view::WhyView), one or none.
    Why {
        /// The prefix.
        prefix: IpNetwork,
        /// Only what this peer (name or address) is told of it.
        to: Option<String>,
    },
    /// What a peer has announced: [`ReceivedView`](crate::show::view::ReceivedView).
    Received {
        /// Name or address.
        peer: String,
    },
    /// What a peer is told, and is not: [`AdvertisedView`](crate::show::view::AdvertisedView).
    Advertised {
        /// Name or address.
        peer: String,
    },
    /// Every monitoring station: [`StationView`](crate::show::view::StationView).
    Stations,
    /// The recorder of what peers say: [`RecorderView`](crate::show::view::RecorderView), if there is one.
    Recorder,
    /// The node's cluster: [`ClusterView`](crate::show::view::ClusterView), if there is one.
    Cluster,
    /// Every next-hop object of ours in the kernel: [`NextHopView`](crate::show::view::NextHopView).
    NextHops,
    /// Everything that peers have announced, as MRT: [`DumpPart`].
    Dump,
    /// Every pod interface: [`PodView`](crate::show::view::PodView).
    Pods,
    /// Every pod range: [`PoolView`](crate::show::view::PoolView).
    Pools,
    /// Every open block: [`BlockView`](crate::show::view::BlockView).
    Blocks,
    /// Every address that is leased or idle: [`LeaseView`](crate::show::view::LeaseView).
    Leases,
    /// Compare pods with the kernel and put right what differs; no rows.
    PutRight,
    /// Read the configuration again and go on with it: [`ReloadRow`].
    Reload {
        /// Only tell what would change.
        dry_run: bool,
    },
    /// Mark everything that peers are told with GRACEFUL_SHUTDOWN, or no longer. Rows: what else an
    /// operator should know, in words.
    Drain {
        /// Whether it is wanted.
        wanted: bool,
        /// Whether the next run of the daemon is to be drained as well.
        lasting: bool,
    },
    /// End. No rows: the answer comes before the end, and the socket goes with it.
    Stop(StopMode),
    /// Peers with a session that have not taken everything yet that they are to be told, by name.
    Owed,
    /// Do something with a peer's session. No rows.
    Peer {
        /// Name or address.
        peer: String,
        /// What.
        action: PeerAction,
    },
}

/// What peers are told when the daemon ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopMode {
    /// Nothing, if they agreed on graceful restart: it will be back soon.
    Graceful,
    /// That it is down until further notice (RFC 4486 §4, RFC 8538 §3): they keep no routes.
    Withdraw,
}

/// Which routes are asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Selection {
    /// Every one.
    #[default]
    All,
    /// The most specific one that covers this: where traffic to it goes.
    Covering(IpNetwork),
    /// This one and all inside it.
    Inside(IpNetwork),
}

/// One document of an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part<T> {
    /// One row.
    Row(T),
    /// There are no more: the answer is complete.
    End,
    /// There is no answer.
    Refused(Refusal),
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// No peer has this name or address.
    #[error("no peer has the name or address {name:?}; known are {}", known_peers(.known))]
    UnknownPeer {
        /// As asked.
        name: String,
        /// Every peer's name.
        known: Vec<String>,
    },
    /// This daemon has no pods.
    #[error("this node has no pods: its routed.toml has no section [pods]")]
    NoPods,
    /// The owner of what was asked for does not answer.
    #[error("no answer from the {part}: {reason}")]
    NoAnswer {
        /// Whose state it is.
        part: String,
        /// Why.
        reason: String,
    },
    /// The configuration has faults.
    #[error("not reloaded, nothing has changed:\n{}", .faults.join("\n"))]
    Invalid {
        /// Each with its place.
        faults: Vec<String>,
    },
    /// The configuration is valid but cannot be had.
    #[error("not reloaded, nothing has changed: {reason}")]
    NotApplied {
        /// Why.
        reason: String,
    },
    /// The router stays as it is.
    #[error("nothing has changed: {reason}")]
    NotDrained {
        /// Why.
        reason: String,
    },
    /// There is no session over which routes could go.
    #[error("{peer} has no established session; `routed show peers {peer}` says why")]
    NotEstablished {
        /// As asked.
        peer: String,
    },
    /// The peer cannot be asked.
    #[error(
        "{peer} cannot be asked for its routes again (it lacks route refresh, RFC 2918); use          `routed peer {peer} reset`"
    )]
    NoRefresh {
        /// As asked.
        peer: String,
    },
    /// The request is not understood.
    #[error("the request is not understood ({reason}); are both sides of the same release?")]
    BadRequest {
        /// Why.
        reason: String,
    },
    /// A row was too long for one document.
    #[error("a row of {octets} octets is too long to be sent; ask for less, as for one prefix")]
    LongRow {
        /// Its length.
        octets: usize,
    },
}

fn known_peers(known: &[String]) -> String {
    if known.is_empty() {
        "none: routed.toml has no [[peers]]".to_owned()
    } else {
        known.join(", ")
    }
}
