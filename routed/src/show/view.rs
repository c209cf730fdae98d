//! What `routed show` shows, row by row: the JSON for programs and the source of every table.
//!
//! Field names are a promise to scripts: fields may be added, none is renamed or removed.
//! Durations are in seconds, counted back from the moment of the answer.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
};

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};

mod why;

pub use why::{HopView, KernelRouteView, PolicyView, StepView, ToldView, WhyPathView, WhyView};

/// One peer and its session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerView {
    /// Name from the configuration.
    pub name: String,
    /// Its address; `None` for a peer that is searched for on its interface and not found yet.
    pub address: Option<IpAddr>,
    /// Interface by which it is configured; `None` if that is by an address.
    pub interface: Option<String>,
    /// Its AS: as it said itself, else as configured; `None` if only "external" is known.
    pub asn: Option<u32>,
    /// Our AS on the session.
    pub local_asn: u32,
    /// Its BGP identifier, while established.
    pub router_id: Option<Ipv4Addr>,
    /// State of the session (RFC 4271 §8.2.2), such as `Established`.
    pub state: String,
    /// False if an operator has stopped the session.
    pub enabled: bool,
    /// True if everything that it is told carries GRACEFUL_SHUTDOWN (RFC 8326).
    #[serde(default)]
    pub drained: bool,
    /// True if that is so for every peer (`routed drain`).
    #[serde(default)]
    pub router_drained: bool,
    /// How long it has been in this state.
    pub since_seconds: Option<u64>,
    /// How often it has been established since the daemon started.
    pub established_count: u64,
    /// Families agreed on, while established.
    pub families: Vec<String>,
    /// What both sides can do beyond plain BGP-4, in words, while established.
    pub capabilities: Vec<String>,
    /// Hold time agreed on, in seconds (0: off), while established.
    pub hold_time: Option<u16>,
    /// Interval of keepalives agreed on, in seconds (0: none), while established.
    pub keepalive_time: Option<u16>,
    /// Wait between attempts to connect, in seconds.
    pub connect_retry: u64,
    /// Our end of the connection, while established.
    pub local_address: Option<IpAddr>,
    /// Import policy by name.
    pub import: Option<String>,
    /// Export policy by name.
    pub export: Option<String>,
    /// Limits of its prefixes, in words, as far as there are any.
    #[serde(default)]
    pub limits: Vec<String>,
    /// Routes by family.
    pub routes: Vec<RouteCounts>,
    /// Messages received.
    pub messages_received: MessageCounts,
    /// Messages sent.
    pub messages_sent: MessageCounts,
    /// Flaws of its UPDATEs for which an attribute was discarded (RFC 7606).
    pub attributes_discarded: u64,
    /// Flaws of its UPDATEs for which routes were treated as withdrawn (RFC 7606).
    pub treated_as_withdraw: u64,
    /// Octets that wait for the peer to take them.
    pub queued_octets: usize,
    /// Why the session last ended or could not be had.
    pub last_error: Option<String>,
    /// How long ago that was.
    pub last_error_seconds: Option<u64>,
    /// How the last session that was established has ended, in words.
    pub last_session_end: Option<String>,
    /// The NOTIFICATION that it came with, if it did.
    pub last_notification: Option<NotificationView>,
    /// What can be done about it.
    pub remedy: Option<String>,
    /// When the next attempt is made.
    pub next_attempt_seconds: Option<u64>,
    /// BFD, if it watches the path.
    #[serde(default)]
    pub bfd: Option<BfdView>,
}

/// A BFD session (RFC 5880).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BfdView {
    /// Its state, such as `Up`.
    pub state: String,
    /// Why it left Up last.
    pub diagnostic: String,
    /// The other side's state and why that left Up last, as it says itself.
    pub remote_state: String,
    /// See there.
    pub remote_diagnostic: String,
    /// Our discriminator.
    pub discriminator: u32,
    /// The other side's; 0: not known.
    pub remote_discriminator: u32,
    /// How long it has been in this state.
    pub since_seconds: u64,
    /// Time between two packets of ours as agreed on, in microseconds; none: the peer wants none.
    pub transmit_interval_micros: Option<u64>,
    /// Silence of the peer that ends the session, in microseconds; 0: the peer was not heard.
    pub detection_time_micros: u64,
    /// How often it came up.
    pub up_count: u64,
    /// How often it failed after that.
    pub failure_count: u64,
    /// The last failure.
    pub last_failure: Option<String>,
    /// Packets sent.
    pub packets_sent: u64,
    /// Packets received and taken.
    pub packets_received: u64,
    /// Packets dropped: malformed, not authenticated, from too far away.
    pub packets_dropped: u64,
    /// What keeps it from working on this node.
    pub trouble: Option<String>,
    /// How the thread that serves it is scheduled: `real-time`, `nice -10` or `usual`.
    #[serde(default)]
    pub scheduling: String,
}

/// A NOTIFICATION that ended a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotificationView {
    /// Whether we sent it; else the peer did.
    pub sent: bool,
    /// Error code.
    pub code: u8,
    /// Error subcode.
    pub subcode: u8,
}

impl PeerView {
    /// Where it is, for tables: `10.1.1.0`, `fe80::1%eth1`, or `eth1` as long as it is not found.
    #[must_use]
    pub fn place(&self) -> String {
        match (&self.address, &self.interface) {
            (Some(address), Some(interface)) => format!("{address}%{interface}"),
            (Some(address), None) => address.to_string(),
            (None, Some(interface)) => interface.clone(),
            (None, None) => String::new(),
        }
    }
}

/// Routes of one family that a peer accounts for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteCounts {
    /// `ipv4` or `ipv6`.
    pub family: String,
    /// Announced by the peer.
    pub received: usize,
    /// Of these, let in by policy and eligible.
    pub accepted: usize,
    /// Of these, in use.
    pub best: usize,
    /// Of those received, kept from a session that ended.
    pub stale: usize,
    /// Announced to the peer.
    pub advertised: usize,
    /// How many it may announce, if that is limited.
    #[serde(default)]
    pub max_prefixes: Option<u32>,
    /// How many it is told at most, if that is limited.
    #[serde(default)]
    pub max_advertised: Option<u32>,
}

/// Messages by type.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageCounts {
    /// All of them.
    pub total: u64,
    /// OPEN.
    pub open: u64,
    /// UPDATE.
    pub update: u64,
    /// NOTIFICATION.
    pub notification: u64,
    /// KEEPALIVE.
    pub keepalive: u64,
    /// ROUTE-REFRESH.
    pub route_refresh: u64,
}

/// One prefix with all its paths.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteView {
    /// The destination.
    pub prefix: IpNetwork,
    /// How the route stands in the kernel, if routes are installed and this one has been tried.
    pub kernel: Option<String>,
    /// The paths in use, best first, then the others.
    pub paths: Vec<PathView>,
}

/// One path of a prefix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathView {
    /// Who announced it; `None` if this node does.
    pub peer: Option<String>,
    /// The peer's number for it where the peer announces several (RFC 7911), else 0.
    #[serde(default)]
    pub path_id: u32,
    /// What became of it.
    pub status: PathStatus,
    /// The same for people: why it is (not) used.
    pub reason: String,
    /// Its attributes: after import policy, or as received if it was not accepted.
    pub attributes: AttrsView,
}

/// What became of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PathStatus {
    /// Used and announced to others.
    Best,
    /// Used beside the best.
    Multipath,
    /// Could be used, but another won.
    Eligible,
    /// Cannot be used.
    Ineligible,
}

/// Path attributes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttrsView {
    /// Where traffic would be sent; `None` for what this node originates and delivers itself.
    pub next_hop: Option<IpAddr>,
    /// The link-local address that came with an IPv6 next hop.
    pub next_hop_link_local: Option<Ipv6Addr>,
    /// The interface on whose link the link-local one of these is meant.
    pub next_hop_interface: Option<String>,
    /// AS path, nearest first; a set in braces.
    pub as_path: String,
    /// `igp`, `egp` or `incomplete`.
    pub origin: String,
    /// Weight that import policy has given it in this router; 0 as a rule.
    #[serde(default)]
    pub weight: u32,
    /// LOCAL_PREF.
    pub local_preference: Option<u32>,
    /// MULTI_EXIT_DISC.
    pub med: Option<u32>,
    /// Communities: `65000:100` or a well-known name.
    pub communities: Vec<String>,
    /// Large communities.
    pub large_communities: Vec<String>,
    /// Extended communities: `rt:65000:100`, `soo:…`, `lb:65000:25Gbit`, else as hexadecimal numbers.
    pub extended_communities: Vec<String>,
    /// ORIGINATOR_ID.
    pub originator_id: Option<Ipv4Addr>,
    /// CLUSTER_LIST.
    pub cluster_list: Vec<Ipv4Addr>,
}

impl AttrsView {
    /// The next hop for tables: `10.1.1.0`, or `fe80::1%eth1`.
    #[must_use]
    pub fn shown_next_hop(&self) -> Option<String> {
        let addr = self.next_hop?;
        let is_link_local = matches!(addr, IpAddr::V6(v6) if v6.is_unicast_link_local());
        Some(match &self.next_hop_interface {
            Some(interface) if is_link_local => format!("{addr}%{interface}"),
            Some(_) | None => addr.to_string(),
        })
    }
}

/// One route as a peer announced it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceivedView {
    /// The destination.
    pub prefix: IpNetwork,
    /// The peer's number for the path where it announces several (RFC 7911), else 0.
    #[serde(default)]
    pub path_id: u32,
    /// What became of it.
    pub status: PathStatus,
    /// The same for people.
    pub reason: String,
    /// As received, before import policy.
    pub attributes: AttrsView,
}

/// One best route and what a peer is told of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdvertisedView {
    /// The destination.
    pub prefix: IpNetwork,
    /// Our number for the path where the peer is told of several (RFC 7911), else 0.
    pub path_id: u32,
    /// Whether the peer is told.
    pub advertised: bool,
    /// Why not, if not.
    pub reason: Option<String>,
    /// As the peer sees them, if it is told.
    pub attributes: Option<AttrsView>,
}

/// One monitoring station and the connection to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StationView {
    /// Name from the configuration.
    pub name: String,
    /// Where it listens.
    pub address: SocketAddr,
    /// What it is told: `pre-policy`, `post-policy`, `loc-rib`, `adj-rib-out-pre-policy`,
    /// `adj-rib-out`.
    pub views: Vec<String>,
    /// `connecting`, `connected`, or `waiting` for the next attempt.
    pub state: String,
    /// How long it has been in this state.
    pub since_seconds: Option<u64>,
    /// How often it has been connected to since it is in the configuration.
    pub connections: u64,
    /// Messages given to its connections, by type.
    pub messages: StationMessages,
    /// Octets given to its connections.
    pub octets: u64,
    /// Octets that wait for it to take them.
    pub queued_octets: usize,
    /// Why it was last lost or could not be had, and what can be done.
    pub last_error: Option<String>,
    /// How long ago that was.
    pub last_error_seconds: Option<u64>,
    /// When the next attempt is made.
    pub next_attempt_seconds: Option<u64>,
}

/// Messages to a monitoring station by type (RFC 7854 §4.1).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StationMessages {
    /// Peer Up, that of the Loc-RIB among them.
    pub peer_up: u64,
    /// Peer Down.
    pub peer_down: u64,
    /// Route Monitoring.
    pub route_monitoring: u64,
    /// Statistics Report.
    pub statistics: u64,
    /// Initiation and Termination.
    pub other: u64,
}

/// A next-hop object of ours in the kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextHopView {
    /// Its number, as in `ip nexthop`.
    pub id: u32,
    /// `group`, which routes point at, or `hop`, which groups have.
    pub kind: String,
    /// How it stands, such as `installed`.
    pub state: String,
    /// Our routes in the kernel that point at it.
    pub routes: usize,
    /// Ways out; several share the traffic.
    pub hops: Vec<HopView>,
    /// Why the kernel refused it, if it did.
    pub error: Option<String>,
}

/// The recorder of what peers say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecorderView {
    /// The file that is written to.
    pub file: PathBuf,
    /// `recording` or `failing`.
    pub state: String,
    /// Octets in the file at present.
    pub file_octets: u64,
    /// Records written since the daemon started, in all files.
    pub records: u64,
    /// Octets written since the daemon started, in all files.
    pub octets: u64,
    /// Records dropped since then: the disk was too slow, or could not be written.
    pub dropped: u64,
    /// Files put aside since then.
    pub rotations: u64,
    /// Octets that wait for the disk.
    pub queued_octets: usize,
    /// What went wrong last, and what can be done.
    pub last_error: Option<String>,
    /// How long ago that was.
    pub last_error_seconds: Option<u64>,
}

/// How the node stands to its cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterView {
    /// Name of the node.
    pub node: String,
    /// Where the text of the configuration in force is.
    pub effective: PathBuf,
    /// How long everything has been watched; `None`: not everything is.
    pub watched_seconds: Option<u64>,
    /// True if nothing was heard from the API server since the start.
    pub from_disk: bool,
    /// What fails at the API server, and the remedy.
    pub failing: Vec<String>,
    /// What failed last, whether it does still or not.
    pub last_error: Option<String>,
    /// How long ago that was.
    pub last_error_seconds: Option<u64>,
    /// Nodes that are known.
    pub nodes: usize,
    /// Pods of this node that are known.
    pub pods: usize,
    /// IPPools that are known.
    pub pools: usize,
    /// BGPPeers that are known.
    pub peers: usize,
    /// BGPPolicies that are known.
    pub policies: usize,
    /// Blocks that this node has.
    pub claims: Vec<ClaimView>,
    /// IPPools without a free block.
    pub exhausted_pools: Vec<String>,
    /// Blocks that another node has, although pods here use them.
    pub lost_blocks: Vec<IpNetwork>,
    /// What failed last of the claims, unless something has succeeded since.
    pub claims_error: Option<String>,
    /// Why what the cluster says is not in force, if so.
    pub refused: Option<String>,
    /// Objects, or parts of them, that are not heeded.
    pub problems: Vec<ObjectProblemView>,
    /// How long ago the BGPNodeStatus of this node was written.
    #[serde(default)]
    pub reported_seconds: Option<u64>,
    /// What cannot be reported to the API server, and the remedy.
    #[serde(default)]
    pub unreported: Vec<String>,
    /// The node whose daemon does what one does for all, as far as is known.
    pub leader: Option<String>,
    /// Whether it is this one.
    pub leads: bool,
    /// Blocks whose nodes are gone; of the leader.
    pub orphaned_blocks: Vec<OrphanView>,
    /// What nobody owns any more; of the leader.
    pub leaked: Vec<String>,
    /// What fails of leading, and the remedy.
    pub leader_error: Option<String>,
}

/// A block whose node is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrphanView {
    /// The name of the IPBlock.
    pub block: String,
    /// The node.
    pub node: String,
    /// When it is freed at the earliest; `None`: not, since the machine is there.
    pub freed_in_seconds: Option<u64>,
}

/// A block of this node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimView {
    /// Its addresses.
    pub block: IpNetwork,
    /// The IPPool that it is of.
    pub pool: String,
    /// Whether new pods get addresses of it.
    pub leasable: bool,
}

/// Why an object is not heeded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectProblemView {
    /// As in `BGPPeer/tor`.
    pub object: String,
    /// One word, as in its condition.
    pub reason: String,
    /// What, and the remedy.
    pub message: String,
}

/// One pod interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodView {
    /// Kubernetes namespace, if the runtime named it.
    pub namespace: Option<String>,
    /// Kubernetes pod name, if the runtime named it.
    pub pod: Option<String>,
    /// Name of the network configuration.
    pub network: String,
    /// The runtime's name for the sandbox.
    pub container_id: String,
    /// Interface inside the pod.
    pub ifname: String,
    /// Interface on the host.
    pub host_ifname: String,
    /// Address of the pod.
    pub ipv4: Option<Ipv4Addr>,
    /// Address of the pod.
    pub ipv6: Option<Ipv6Addr>,
    /// Hardware address of the pod's end.
    pub mac: String,
    /// MTU of both ends, in octets.
    pub mtu: u32,
    /// `attaching`, `ready`, `removing` or `stuck`.
    pub state: String,
}

/// One pod range of this node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolView {
    /// Name of the pool.
    pub name: String,
    /// The range.
    pub prefix: IpNetwork,
    /// `ipv4` or `ipv6`.
    pub family: String,
    /// Addresses that pods can have.
    pub capacity: u128,
    /// Of these, leased.
    pub leased: u128,
    /// Of these, not leased until their cooldown has passed.
    pub cooling: u128,
    /// Of these, free.
    pub free: u128,
    /// No longer in the configuration: nothing new is leased, and it goes with its last lease.
    #[serde(default)]
    pub former: bool,
    /// Whether its pods leave with an address of the node.
    #[serde(default)]
    pub nat_outgoing: Switch,
}

/// Whether something is in force.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Switch {
    /// It is not wanted.
    #[default]
    Off,
    /// It is.
    On,
    /// It is wanted, but the kernel refuses; the log says why.
    Failed,
}

/// One block that addresses are taken from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockView {
    /// Name of its pool.
    pub pool: String,
    /// The block.
    pub prefix: IpNetwork,
    /// Addresses in it.
    pub size: u128,
    /// Of these, leased.
    pub leased: u128,
    /// Of these, not leased until their cooldown has passed.
    pub cooling: u128,
}

/// One address that is leased, or was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseView {
    /// The address.
    pub address: IpAddr,
    /// Name of the holder's network configuration; absent if nobody has it.
    pub network: Option<String>,
    /// The holder's sandbox.
    pub container_id: Option<String>,
    /// The holder's interface.
    pub ifname: Option<String>,
    /// How long nobody has had it, in seconds.
    pub idle_seconds: Option<u64>,
}

impl LeaseView {
    /// Network, container and interface, if somebody has the address.
    #[must_use]
    pub fn holder(&self) -> Option<String> {
        let Self {
            network: Some(network),
            container_id: Some(container),
            ifname: Some(ifname),
            ..
        } = self
        else {
            return None;
        };
        Some(format!("{network}/{container}/{ifname}"))
    }
}
