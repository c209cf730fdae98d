//! A lab as one reads it from a topology file: routers, links, addresses, who runs what.
//!
//! In: TOML text. Out: a [`Topology`] in which every address is settled, or all faults of the
//! text at once, each with its place and what to write instead.
//!
//! Touches neither the kernel nor the disk, except [`Topology::load`], which reads one file.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use ipnetwork::{IpNetwork, Ipv4Network, Ipv6Network};
use serde::{Deserialize, Serialize};

mod faults;
mod raw;
mod settle;
#[cfg(test)]
mod tests;

pub use faults::{Fault, Problem};

/// A lab's plan with every address settled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topology {
    /// Where it came from: a built-in name or a file's path, for messages and configs.
    pub source: String,
    /// Spines first, then ToRs, then nodes, each in the order of the file.
    pub routers: Vec<Router>,
    /// Cables between routers, in the order of the file.
    pub links: Vec<Link>,
    /// Segments that join more than two routers.
    #[serde(default)]
    pub lans: Vec<Lan>,
    /// How neighbours watch each other, if they do.
    #[serde(default)]
    pub bfd: Option<Bfd>,
}

/// BFD between all neighbours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bfd {
    /// Milliseconds between packets, both ways; at least 50, which is what FRR takes.
    pub interval: u16,
    /// Packets that may be lost in a row.
    pub multiplier: u8,
}

/// One router: a node, a top-of-rack router or a spine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Router {
    /// Host name; also the name of the interface that leads to it. At most 15 characters.
    pub name: String,
    /// Its place in the fabric.
    pub role: Role,
    /// The routing software on it.
    pub runs: Runs,
    /// Autonomous system number.
    pub asn: u32,
    /// The first IPv4 loopback address.
    pub router_id: Ipv4Addr,
    /// Addresses on `lo`, each /32 or /128. Not announced.
    pub loopback: Vec<IpNetwork>,
    /// Ranges that pods get addresses from; announced. Only nodes have them.
    pub pods: Vec<IpNetwork>,
    /// Prefixes announced by ToRs and spines: "the rest of the world". The first address of
    /// each is on `lo`, so that it answers pings.
    pub networks: Vec<IpNetwork>,
    /// Replaces the whole generated main configuration, word for word.
    pub config: Option<String>,
    /// Appended to the generated main configuration, word for word.
    pub extra_config: Option<String>,
    /// It asks its neighbours to keep its routes while it restarts (RFC 4724), as `routed` always does.
    #[serde(default)]
    pub graceful_restart: bool,
    /// With `runs = "none"`: a program of one's own to start.
    pub command: Vec<String>,
    /// Further files, by absolute path inside the router.
    pub files: BTreeMap<PathBuf, String>,
}

/// A router's place in the fabric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Joins the ToRs.
    Spine,
    /// Top of rack.
    Tor,
    /// A route server or reflector: speaks BGP, forwards nothing.
    Speaker,
    /// Carries pods.
    Node,
}

/// The routing software on a router.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Runs {
    /// Slash32's own daemon.
    Routed,
    /// BIRD 2.
    Bird,
    /// FRR: zebra and bgpd.
    Frr,
    /// Nothing, or the router's own `command`.
    None,
}

/// One cable: a veth pair with a session over it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Both ends; the first has the even addresses, if there are any.
    pub ends: [End; 2],
    /// TCP MD5 key of the session over this link.
    pub password: Option<String>,
    /// Octets.
    pub mtu: u32,
}

/// A segment that joins more than two routers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lan {
    /// Names each member's interface. At most 15 characters.
    pub name: String,
    /// One end for each router, numbered in the order of the file.
    pub members: Vec<End>,
    /// The one that all others peer with; without it everyone peers with everyone.
    pub hub: Option<String>,
}

/// One end of a link, or one member of a LAN.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// Name of the router it is in.
    pub router: String,
    /// Name of the interface: the router at the other end, or the LAN.
    pub ifname: String,
    /// Its addresses; `None` on an unnumbered link, where routers peer by interface.
    pub addresses: Option<Addresses>,
}

/// Addresses of one end, with the prefix length of the link or LAN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Addresses {
    /// One of each family.
    pub ipv4: Ipv4Network,
    /// The other.
    pub ipv6: Ipv6Network,
}

impl Addresses {
    /// Both.
    pub fn iter(&self) -> impl Iterator<Item = IpNetwork> + use<> {
        [self.ipv4.into(), self.ipv6.into()].into_iter()
    }
}

/// What one router sees of a link or LAN: another router to peer with.
#[derive(Clone, Copy, Debug)]
pub struct Neighbour<'a> {
    /// Our end.
    pub near: &'a End,
    /// Their end.
    pub far: &'a End,
    /// The router at their end.
    pub router: &'a Router,
    /// TCP MD5 key of the session.
    pub password: Option<&'a str>,
}

impl Neighbour<'_> {
    /// Their IPv4 address; `None` on an unnumbered link.
    pub(crate) fn address(&self) -> Option<Ipv4Addr> {
        self.far.addresses.map(|addresses| addresses.ipv4.ip())
    }
}

/// Why there is no topology.
#[derive(Debug, thiserror::Error)]
pub enum TopologyError {
    /// Neither a built-in name nor a readable file.
    #[error("cannot read topology {path}: {error}; built in are: {}", Topology::built_in().join(", "))]
    Unreadable {
        /// What was asked for.
        path: PathBuf,
        /// Why it could not be read.
        error: std::io::Error,
    },
    /// Not TOML, or not of this form.
    #[error("topology {from}: {error}")]
    Malformed {
        /// Where the text came from.
        from: String,
        /// Line, column and reason.
        #[source]
        error: Box<toml::de::Error>,
    },
    /// TOML that describes no possible lab.
    #[error("topology {from} has {} fault(s):{}", faults.len(), faults::list(faults))]
    Faulty {
        /// Where the text came from.
        from: String,
        /// All of them, in the order of the file.
        faults: Vec<Fault>,
    },
}

impl Topology {
    /// Reads the built-in topology of that name, or else the file at that path.
    ///
    /// # Errors
    ///
    /// [`TopologyError`], with all faults of the file.
    pub fn load(name_or_path: &str) -> Result<Self, TopologyError> {
        if let Some((_, text)) = BUILT_IN.iter().find(|(name, _)| *name == name_or_path) {
            return Self::parse(name_or_path, text);
        }
        let path = Path::new(name_or_path);
        let text = std::fs::read_to_string(path)
            .map_err(|error| TopologyError::Unreadable { path: path.into(), error })?;
        Self::parse(name_or_path, &text)
    }

    /// Reads TOML text; `source` names it in messages.
    ///
    /// # Errors
    ///
    /// [`TopologyError::Malformed`] or [`TopologyError::Faulty`].
    pub fn parse(source: &str, text: &str) -> Result<Self, TopologyError> {
        let raw: raw::RawTopology = toml::from_str(text).map_err(|error| {
            TopologyError::Malformed { from: source.into(), error: Box::new(error) }
        })?;
        settle::settle(source, raw)
            .map_err(|faults| TopologyError::Faulty { from: source.into(), faults })
    }

    /// Names of the topologies that the program carries in itself.
    #[must_use]
    pub fn built_in() -> Vec<&'static str> {
        BUILT_IN.iter().map(|(name, _)| *name).collect()
    }

    /// The same plan with other software on all spines, ToRs and speakers. Drops their own
    /// configuration texts, which were written for the software named in the file.
    pub fn set_fabric(&mut self, runs: Runs) {
        for router in self.routers.iter_mut().filter(|router| router.role != Role::Node) {
            router.change_software(runs);
        }
    }

    /// The same plan with other software on all nodes, see [`Topology::set_fabric`].
    pub fn set_nodes(&mut self, runs: Runs) {
        for router in self.routers.iter_mut().filter(|router| router.role == Role::Node) {
            router.change_software(runs);
        }
    }

    /// The router of that name.
    #[must_use]
    pub fn router(&self, name: &str) -> Option<&Router> {
        self.routers.iter().find(|router| router.name == name)
    }

    /// All routers that this one peers with, links first.
    pub fn neighbours<'a>(&'a self, name: &'a str) -> impl Iterator<Item = Neighbour<'a>> + 'a {
        let links = self.links.iter().flat_map(|link| {
            let [a, b] = &link.ends;
            [(a, b, link.password.as_deref()), (b, a, link.password.as_deref())]
        });
        let lans = self.lans.iter().flat_map(Lan::pairs).map(|(near, far)| (near, far, None));
        links.chain(lans).filter(move |(near, ..)| near.router == name).filter_map(
            |(near, far, password)| {
                let router = self.router(&far.router)?;
                Some(Neighbour { near, far, router, password })
            },
        )
    }

    /// How many cables there are: one a link, one a member of a LAN.
    #[must_use]
    pub fn cables(&self) -> usize {
        self.links.len() + self.lans.iter().map(|lan| lan.members.len()).sum::<usize>()
    }

    /// The interfaces of a router, `lo` apart.
    pub fn ends<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a End> + 'a {
        let links = self.links.iter().flat_map(|link| &link.ends);
        let lans = self.lans.iter().flat_map(|lan| &lan.members);
        links.chain(lans).filter(move |end| end.router == name)
    }
}

impl Lan {
    /// Who peers with whom, each pair both ways.
    fn pairs(&self) -> impl Iterator<Item = (&End, &End)> {
        let all = self.members.iter().flat_map(|near| {
            self.members
                .iter()
                .filter(move |far| far.router != near.router)
                .map(move |far| (near, far))
        });
        all.filter(|(near, far)| {
            self.hub.as_ref().is_none_or(|hub| [&near.router, &far.router].contains(&hub))
        })
    }
}

impl Router {
    fn change_software(&mut self, runs: Runs) {
        if self.runs != runs {
            self.runs = runs;
            self.config = None;
            self.extra_config = None;
            self.command.clear();
        }
    }

    /// What this router announces by itself.
    pub fn originates(&self) -> impl Iterator<Item = IpNetwork> + '_ {
        self.pods.iter().chain(&self.networks).copied()
    }

    /// Addresses on `lo`: loopbacks, and the first address of each announced network.
    pub fn lo_addresses(&self) -> impl Iterator<Item = IpNetwork> + '_ {
        let answering = self.networks.iter().map(|network| match network {
            IpNetwork::V4(v4) => IpNetwork::from(IpAddr::V4(first_host_v4(*v4))),
            IpNetwork::V6(v6) => IpNetwork::from(IpAddr::V6(first_host_v6(*v6))),
        });
        self.loopback.iter().copied().chain(answering)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Spine => "spine",
            Self::Tor => "tor",
            Self::Speaker => "speaker",
            Self::Node => "node",
        })
    }
}

impl fmt::Display for Runs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Routed => "routed",
            Self::Bird => "bird",
            Self::Frr => "frr",
            Self::None => "none",
        })
    }
}

/// The address after the network's own, or the network's own if it has no other.
fn first_host_v4(network: Ipv4Network) -> Ipv4Addr {
    let own = network.network();
    if network.prefix() == 32 { own } else { Ipv4Addr::from_bits(own.to_bits() + 1) }
}

fn first_host_v6(network: Ipv6Network) -> Ipv6Addr {
    let own = network.network();
    if network.prefix() == 128 { own } else { Ipv6Addr::from_bits(own.to_bits() + 1) }
}

/// Topologies that need no file.
const BUILT_IN: [(&str, &str); 5] = [
    ("two-racks", include_str!("../topologies/two-racks.toml")),
    ("unnumbered", include_str!("../topologies/unnumbered.toml")),
    ("pair", include_str!("../topologies/pair.toml")),
    ("route-server", include_str!("../topologies/route-server.toml")),
    ("single-peer", include_str!("../topologies/single-peer.toml")),
];
