//! Sessions between nodes that no BGPPeer asks for: the full mesh, or route reflectors.
//!
//! Reflectors are the nodes that `routeReflectors` selects. Where nothing is said, small clusters have a
//! full mesh, and larger ones [`REFLECTORS`] reflectors that every node finds for itself: those whose
//! names have the highest hashes, so that nodes which come and go seldom change who they are.
//!
//! No session of the mesh ends before what takes its place has settled. Between [`MESH`] nodes and
//! [`MESH_ENDS`] there are both, and a session of the mesh that is there stays until sessions with two
//! reflectors have been established for a while. Who was a reflector goes on passing on what its clients
//! announce until they have had time to make their sessions with each other.

use std::collections::BTreeSet;

use bgp::aspath::Asn;
use routed_core::claims::hash;

use super::{
    Input, node,
    node::Path,
    text::{Part, Table, Value},
};
use crate::Node;

/// Largest cluster that has a full mesh and nothing else.
const MESH: usize = 100;
/// Largest cluster that has one at all, unless it is asked for.
const MESH_ENDS: usize = 120;
/// One may be down for an upgrade and another one fail.
const REFLECTORS: usize = 3;
/// So many sessions with reflectors are as good as a mesh.
const SETTLED: usize = 2;
/// Nodes of other ASes may be any number of hops away.
const HOPS: u8 = 255;

/// Which nodes have sessions with which.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Topology {
    /// Everybody with everybody.
    pub(super) mesh: bool,
    /// Those who pass on what the others announce.
    pub(super) reflectors: BTreeSet<String>,
    /// `routeReflectors` selects nobody.
    pub(super) nobody: bool,
    /// Both are asked for.
    pub(super) contradiction: bool,
}

impl Topology {
    pub(super) fn of(input: &Input<'_>) -> Self {
        let configuration = input.configuration();
        let asked = configuration.and_then(|spec| spec.node_to_node_mesh_enabled);
        let selector = configuration
            .and_then(|spec| spec.route_reflectors.as_ref())
            .map(|reflectors| &reflectors.node_selector);
        let nodes = &input.objects.nodes;
        let Some(selector) = selector else {
            return match asked {
                Some(mesh) => Self { mesh, ..Self::default() },
                None => Self::by_size(input),
            };
        };
        let selected = nodes.iter().filter(|(_, node)| selector.matches(&node.labels));
        let reflectors: BTreeSet<String> = selected.map(|(name, _)| name.clone()).collect();
        if asked == Some(true) {
            return Self { mesh: true, contradiction: true, ..Self::default() };
        }
        if reflectors.is_empty() {
            return Self { nobody: true, ..Self::by_size(input) };
        }
        Self { reflectors, ..Self::default() }
    }

    fn by_size(input: &Input<'_>) -> Self {
        let nodes = &input.objects.nodes;
        let asns: BTreeSet<Asn> =
            nodes.values().map(|node| node::asn(Some(node), input.configuration())).collect();
        // Reflection is within one AS (RFC 4456).
        if nodes.len() <= MESH || asns.len() > 1 {
            return Self { mesh: true, ..Self::default() };
        }
        let mut names: Vec<_> =
            nodes.iter().filter(|(_, node)| !node.addresses.is_empty()).collect();
        names.sort_by_cached_key(|(name, _)| std::cmp::Reverse(hash(&["reflector", name])));
        let reflectors = names.into_iter().take(REFLECTORS).map(|(name, _)| name.clone()).collect();
        Self { mesh: nodes.len() <= MESH_ENDS, reflectors, ..Self::default() }
    }

    pub(super) fn is_reflector(&self, node: &str) -> bool {
        self.reflectors.contains(node)
    }
}

/// A session of the mesh or with a reflector.
pub(super) struct Session<'o> {
    pub(super) other: &'o str,
    pub(super) node: &'o Node,
    pub(super) path: Path,
    /// Of one of the two at least.
    reflected: bool,
    /// We pass on to it what others announce, and the reverse.
    client: bool,
    /// It would need to be, and cannot.
    pub(super) foreign: Option<Asn>,
}

/// Every session of this node, and those that cannot be.
pub(super) fn sessions<'o>(input: &Input<'o>, topology: &Topology, own: Asn) -> Vec<Session<'o>> {
    let reflects = topology.is_reflector(input.node);
    let keeps_mesh = !has_settled(input, topology);
    let others = node::others(input.objects, input.node).into_iter();
    let session = |(other, (node, path)): (&'o str, (&'o Node, Path))| {
        let is_reflector = topology.is_reflector(other);
        let has = |name: String| input.sessions.contains_key(&name);
        let stays = keeps_mesh && (has(mesh_name(other)) || has(reflector_name(other)));
        let lingers = input.clients.contains(&mesh_name(other));
        let reflected = reflects || is_reflector || lingers;
        if !topology.mesh && !reflected && !stays {
            return None;
        }
        let asn = node::asn(Some(node), input.configuration());
        let foreign = (reflected && !topology.mesh && asn != own).then_some(asn);
        let client = (reflects || lingers) && !is_reflector && asn == own;
        Some(Session { other, node, path, reflected, client, foreign })
    };
    others.filter_map(session).collect()
}

/// Do reflectors serve this node already?
fn has_settled(input: &Input<'_>, topology: &Topology) -> bool {
    let reflectors = topology.reflectors.iter().filter(|name| *name != input.node);
    let names: Vec<_> = reflectors.map(|name| reflector_name(name)).collect();
    let settled = names.iter().filter(|name| input.sessions.get(*name) == Some(&true)).count();
    settled >= names.len().min(SETTLED)
}

impl Session<'_> {
    /// What `[[peers]]` says of it, without port and policies.
    pub(super) fn table(&self, input: &Input<'_>, topology: &Topology, own: Asn) -> Table {
        let asn = node::asn(Some(self.node), input.configuration());
        let mut table = Table::new("[[peers]]", Part::whole("Node", self.other));
        let is_reflector = topology.is_reflector(self.other);
        let name = if is_reflector { reflector_name(self.other) } else { mesh_name(self.other) };
        table.set("name", &name, "metadata.name");
        write_path(&mut table, self.path, None);
        table.set("asn", asn.0, "metadata.labels");
        if asn != own {
            table.set("multihop", HOPS, "");
        }
        if self.client {
            table.set("route_reflector_client", true, "");
        }
        table
    }

    /// Whether it is with a reflector.
    pub(super) const fn is_reflected(&self) -> bool {
        self.reflected
    }
}

/// Address, source address, next hop and families of a session between nodes.
pub(super) fn write_path(table: &mut Table, path: Path, families: Option<&[&'static str]>) {
    table.set("address", Value::shown(path.remote()), "status.addresses");
    table.set("local_address", Value::shown(path.local()), "status.addresses");
    let carries = |family| {
        path.only_family().is_none_or(|only| only == family)
            && families.is_none_or(|families| families.contains(&family))
    };
    let carried: Vec<_> = ["ipv4", "ipv6"].into_iter().filter(|family| carries(family)).collect();
    if carried.len() < 2 {
        table.set("families", Value::list(carried.iter().copied()), "spec.families");
    }
    if carried.contains(&"ipv6") {
        table.set_some("next_hop_ipv6", path.next_hop_ipv6().map(Value::shown), "status.addresses");
    }
}

/// No object has a name with a colon.
fn mesh_name(node: &str) -> String {
    format!("node:{node}")
}

fn reflector_name(node: &str) -> String {
    format!("reflector:{node}")
}
