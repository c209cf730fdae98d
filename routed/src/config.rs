//! `routed.toml`: from text to settings that cannot hold nonsense.
//!
//! In: one TOML file and the password files it names. Out: a [`Config`] whose parts are the
//! types that sessions, RIB, pods and kernel take as they are, with warnings; or every fault of
//! the file at once, each with its line, its key and what to write instead.
//!
//! Never fills a gap with a guess: a value that was refused leaves a fault, and then there is
//! no `Config` at all.

mod aggregates;
mod bmp;
pub mod diff;
mod dynamic;
mod fault;
mod kernel;
mod kubernetes;
mod mrt;
mod node;
mod password;
mod peers;
mod pods;
mod policies;
mod problem;
mod section;
mod sockets;
mod speaker;
mod value;

use std::{
    collections::BTreeSet,
    fmt, fs,
    io::Read as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bgp::{
    aspath::Asn,
    config::{RibPeerConfig, SessionConfig, Ttl},
    policy::Policy,
    prefix::Prefix,
    rib::Aggregate,
    rib::ViewSet,
};
use routed_core::ipam::IpamSettings;

pub(crate) use self::kubernetes::{DEFAULT_STATE, effective_beside};
pub use self::{
    dynamic::{DynamicPeers, Membership},
    fault::{Fault, Invalid, Place, Warning},
    kubernetes::Base,
    password::{Algorithm, Password, Scheme},
    peers::{Bfd, Reach},
    policies::{PolicyCaution, PolicyProblem},
    problem::{Caution, Hint, Problem},
    sockets::DEFAULT_ADMIN,
};
use self::{fault::Findings, section::Section};

/// Where the daemon looks for its configuration unless told otherwise.
pub const DEFAULT_PATH: &str = "/etc/slash32/routed.toml";
/// Largest file that is read, in octets: a thousand peers need less than a tenth of it, and
/// a mistyped path (a device, an image) is refused instead of read to its end.
const MAX_FILE: u64 = 4 << 20;

/// Everything the daemon was told, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// Who this node is.
    pub node: Node,
    /// What holds for every session.
    pub speaker: Speaker,
    /// The peers, in the order of the file; names and addresses are unique.
    pub peers: Vec<Peer>,
    /// Groups of peers that are known by a prefix only, in the order of the file.
    pub dynamic_peers: Vec<DynamicPeers>,
    /// The node's pod ranges; `None`: a router without pods.
    pub pods: Option<Pods>,
    /// What goes into the kernel's routing tables.
    pub kernel: Kernel,
    /// Where the daemon can be reached locally.
    pub sockets: Sockets,
    /// Monitoring stations, in the order of the file; names and addresses are unique.
    pub stations: Vec<Station>,
    /// What is recorded of what peers say; `None`: nothing.
    pub recording: Option<Recording>,
    /// The cluster that the node is of; `None`: all that holds is in the file.
    pub kubernetes: Option<Kubernetes>,
    /// Every `[[policies]]` entry, used or not, in the order of the file.
    pub policies: Vec<Arc<Policy>>,
}

/// `[node]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Name of the node in logs, metrics and tables; not empty.
    pub name: String,
    /// What it does.
    pub mode: Mode,
}

/// What a daemon does besides speaking BGP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Pods and kernel routes.
    #[default]
    Node,
    /// Neither: a route reflector or route server.
    Speaker,
}

/// `[bgp]`, as far as it is not a default for peers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Speaker {
    /// Our AS.
    pub asn: Asn,
    /// Our BGP identifier; never 0.0.0.0.
    pub router_id: Ipv4Addr,
    /// Our cluster id as a route reflector (RFC 4456 §7).
    pub cluster_id: Ipv4Addr,
    /// Addresses on which sessions are accepted; empty: none are.
    pub listen: Vec<SocketAddr>,
    /// Equal paths used at once for one prefix, 1..=64.
    pub multipath: usize,
    /// Everything that peers are told carries GRACEFUL_SHUTDOWN (RFC 8326).
    pub drain: bool,
    /// Prefixes that stand for own ranges inside them; no prefix twice.
    pub aggregates: Vec<Aggregate>,
    /// How long what others announced is held back after a restart of ours until each peer has sent
    /// its End-of-RIB (RFC 4724 §4.1, Selection_Deferral_Timer); whole seconds, 1..=65535.
    pub selection_deferral_time: Duration,
}

/// One `[[peers]]` entry, with what it takes over from `[bgp]`.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Unique name; the address or interface unless given.
    pub name: Arc<str>,
    /// Where the peer is.
    pub address: PeerAddress,
    /// TCP port to dial; never 0.
    pub port: u16,
    /// Source address of the session, of the peer's family; `None`: the kernel chooses, as it
    /// always does for a peer that is found by its interface.
    pub local_address: Option<IpAddr>,
    /// The only interface that the session may use; `None`: any. An unnumbered peer needs none.
    pub bind_device: Option<Arc<str>>,
    /// How far away it may be.
    pub ttl: Ttl,
    /// Key with which its connections are signed.
    pub password: Option<Password>,
    /// What the session needs to know.
    pub session: SessionConfig,
    /// How its routes are treated. `local_addresses` is empty: it is known only once a session
    /// is established.
    pub rib: RibPeerConfig,
    /// Next hop to announce for IPv4 prefixes in place of the session's own address.
    pub next_hop_ipv4: Option<Ipv4Addr>,
    /// Next hop to announce for IPv6 prefixes in place of the session's own address.
    pub next_hop_ipv6: Option<Ipv6Addr>,
    /// How the path to it is watched; `None`: by BGP's own timers alone.
    pub bfd: Option<Bfd>,
    /// The group of dynamic peers that it is in; `None`: it has an entry of its own.
    pub membership: Option<Membership>,
}

/// How a peer is found. No two peers have the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PeerAddress {
    /// It has this address.
    Fixed(IpAddr),
    /// It is the router on the link of this interface (an unnumbered peer): its link-local address
    /// is learned from its router advertisements.
    Learned(Arc<str>),
}

impl PeerAddress {
    /// The address, unless it is learned.
    #[must_use]
    pub const fn fixed(&self) -> Option<IpAddr> {
        match self {
            Self::Fixed(address) => Some(*address),
            Self::Learned(_) => None,
        }
    }

    /// The interface on which it is learned.
    #[must_use]
    pub const fn interface(&self) -> Option<&Arc<str>> {
        match self {
            Self::Fixed(_) => None,
            Self::Learned(interface) => Some(interface),
        }
    }
}

/// The address or the interface.
impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(address) => fmt::Display::fmt(address, f),
            Self::Learned(interface) => f.write_str(interface),
        }
    }
}

impl Peer {
    /// True if the peer must be on a link that one of our interfaces is on, so that the session
    /// ends with the link.
    #[must_use]
    pub const fn is_on_link(&self) -> bool {
        match (&self.address, self.ttl) {
            (PeerAddress::Learned(_), _) | (PeerAddress::Fixed(_), Ttl::OnLink) => true,
            (PeerAddress::Fixed(_), Ttl::Security(hops)) => hops.get() == 1,
            (PeerAddress::Fixed(_), Ttl::Multihop(_) | Ttl::Any) => false,
        }
    }
}

/// `[pods]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pods {
    /// Ranges of all pools and both families, disjoint; at least one, unless in a cluster.
    pub prefixes: Vec<Prefix>,
    /// Where addresses come from.
    pub ipam: IpamSettings,
    /// MTU of the pods' interfaces, in octets.
    pub mtu: Option<u32>,
    /// Whether pods send from their own addresses only, and do not reach the daemon.
    pub guard: bool,
    /// What of the daemon they reach all the same.
    pub open_to_pods: Vec<Service>,
    /// What leaves with an address of the node.
    pub nat: Nat,
}

/// NAT outgoing of `[pods]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Nat {
    /// Names of the pools that have it.
    pub pools: Vec<String>,
    /// Ranges of these pools, and what else pods of this node may have: floating addresses.
    pub sources: Vec<Prefix>,
    /// Ranges of all pods of the cluster. If there is one, every range of this node lies in one, and
    /// for each family of the sources there is one.
    pub cluster_ranges: Vec<Prefix>,
    /// What else sees pods under their own addresses.
    pub exclude: Vec<Prefix>,
    /// What pods' packets leave with, at most one address a family.
    pub addresses: Vec<IpAddr>,
}

/// What the daemon listens for on the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// BGP sessions.
    Bgp,
    /// Metrics and health.
    Http,
}

impl std::fmt::Display for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Bgp => "bgp",
            Self::Http => "http",
        })
    }
}

/// `[kernel]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// Whether learned routes are installed. Always false in [`Mode::Speaker`].
    pub learned_routes: bool,
    /// Routing table; never 0 (unspecified) or 255 (local).
    pub table: u32,
    /// Route protocol number that marks routes as ours; of no other routing daemon.
    pub protocol: u8,
    /// Metric of our routes; `None`: the kernel's default.
    pub metric: Option<u32>,
    /// Whether learned routes point at next-hop groups, if the kernel has those.
    pub next_hop_groups: bool,
}

/// `[sockets]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sockets {
    /// Unix socket for the CNI plugin.
    pub cni: PathBuf,
    /// Unix socket for `routed show`.
    pub admin: PathBuf,
    /// Address of `/metrics`, `/healthz` and `/readyz`; `None`: off.
    pub http: Option<SocketAddr>,
}

/// One `[[bmp]]` entry: a monitoring station (RFC 7854).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Station {
    /// Unique name; the address unless given.
    pub name: Arc<str>,
    /// Where it listens.
    pub address: SocketAddr,
    /// Source address of the connection, of the station's family; `None`: the kernel chooses.
    pub local_address: Option<IpAddr>,
    /// What it is told; at least one.
    pub views: ViewSet,
    /// Time from one statistics report to the next; `None`: none are sent.
    pub statistics_interval: Option<Duration>,
    /// Wait after the first failure to connect, doubled with each further one.
    pub connect_retry: Duration,
    /// How long it may take nothing of what waits for it before it is given up.
    pub send_hold_time: Duration,
}

/// `[mrt]`: records of what peers say (RFC 6396).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recording {
    /// The file that is written to; absolute.
    pub file: PathBuf,
    /// Names of the peers, or of groups of dynamic ones, that are recorded; `None`: all.
    pub peers: Option<BTreeSet<Arc<str>>>,
    /// Messages received.
    pub received: bool,
    /// Messages sent.
    pub sent: bool,
    /// Changes of sessions' states.
    pub states: bool,
    /// Age at which the file is put aside; `None`: never.
    pub rotate_interval: Option<Duration>,
    /// Octets from which on it is; `None`: never.
    pub rotate_size: Option<u64>,
    /// Most files put aside that are kept; `None`: all.
    pub keep: Option<usize>,
}

/// `[kubernetes]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kubernetes {
    /// Where the API server is and who we are to it; `None`: as Kubernetes tells its pods.
    pub kubeconfig: Option<PathBuf>,
    /// The namespace of Secrets and Lease; `None`: that of the service account, else `kube-system`.
    pub namespace: Option<String>,
    /// The folder of what must be known after a reboot as well; absolute.
    pub state: PathBuf,
    /// How long a node must be gone, and silent, until the leader frees its blocks.
    pub orphan_after: Duration,
}

/// A configuration with what is allowed but perhaps not meant.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The settings.
    pub config: Config,
    /// In the order of the file.
    pub warnings: Vec<Warning>,
}

impl Config {
    /// Reads and checks a file, and the password files that it names.
    ///
    /// # Errors
    ///
    /// [`Invalid`] with every fault.
    pub fn load(path: &Path) -> Result<Loaded, Invalid> {
        Self::parse(path, &read_text(path)?)
    }

    /// Checks the text of a file. `path` names it in messages, and relative password files are
    /// looked for beside it.
    ///
    /// # Errors
    ///
    /// [`Invalid`] with every fault.
    pub fn parse(path: &Path, text: &str) -> Result<Loaded, Invalid> {
        let findings = Findings::new(text);
        let folder = path.parent().unwrap_or(Path::new(""));
        let config = section::document(text, &findings, |root| Self::read(root, folder));
        findings.finish(path, config)
    }

    /// Every section in turn. `None` if something has no value to stand for it.
    fn read(root: &mut Section<'_, '_>, folder: &Path) -> Option<Self> {
        let (node, mode) = root.section("node", node::read);
        let speaker = root.section("bgp", speaker::read);
        let sockets = root.section("sockets", |section| sockets::read(section, &speaker.listen));
        let policies = policies::read_all(root);
        let kubernetes = kubernetes::read(root);
        let pods = pods::read(root, mode, kubernetes.is_some());
        let kernel = root.section("kernel", |section| kernel::read(section, mode));
        let stations = bmp::read_all(root);
        let recording = mrt::read(root);
        let ranges = pods.as_ref().map_or(&[][..], |pods| &pods.prefixes);
        aggregates::check(root, &speaker.aggregates, ranges);
        let context =
            peers::Context { speaker: &speaker, policies: &policies, pods: ranges, folder };
        let (peers, dynamic_peers) = peers::read_all(root, &context);
        policies.warn_unused(root);
        let recording = mrt::checked(root, recording, &peers, &dynamic_peers);
        Some(Self {
            node: node?,
            speaker: speaker.speaker()?,
            peers,
            dynamic_peers,
            pods,
            kernel,
            sockets,
            stations,
            recording,
            kubernetes,
            policies: policies.into_named(),
        })
    }
}

/// The text of a file.
pub(crate) fn read_text(path: &Path) -> Result<String, Invalid> {
    let octets = read_file(path).map_err(|problem| Invalid::whole_file(path, problem))?;
    String::from_utf8(octets)
        .map_err(|error| Invalid::not_utf8(path, error.as_bytes(), error.utf8_error()))
}

/// The octets of a regular file of reasonable size.
fn read_file(path: &Path) -> Result<Vec<u8>, Problem> {
    let mut octets = Vec::new();
    fs::File::open(path)
        .and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut octets))
        .map_err(Problem::Unreadable)?;
    if octets.len() as u64 > MAX_FILE {
        return Err(Problem::TooLarge { limit: MAX_FILE });
    }
    Ok(octets)
}
