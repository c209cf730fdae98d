//! `[[peers]]` from BGPPeers: with whom this node has sessions that somebody asked for.
//!
//! A peer that is somewhere else is written once. Nodes that a `peerSelector` finds are written one by
//! one, and both ends do so: a node that is found has the session too.

mod password;

use std::collections::{BTreeMap, BTreeSet};

use bgp::aspath::Asn;
use routed_api::{BGPPeer, BGPPeerSpec, Name, RemoteAs, Selector};

use super::{
    Draft, Input, Problem,
    base::Base,
    by_age,
    configuration::{self, Defaults},
    mesh::{Topology, write_path},
    node::{self, Path},
    policies::{Policies, family},
    text::{Part, Table, Value},
};
use crate::Node;

pub use self::password::passwords;

/// What there is, to be written once policies are.
#[derive(Default)]
pub(super) struct Peers {
    pub(super) tables: Vec<Table>,
    /// What the sessions of each are called.
    pub(super) sessions: BTreeMap<String, Vec<String>>,
    /// Addresses that they are with.
    pub(super) addresses: BTreeSet<String>,
}

/// What a peer is judged by besides its own object.
pub(super) struct Context<'c> {
    pub(super) base: &'c Base<'c>,
    pub(super) policies: &'c Policies,
    pub(super) defaults: &'c Defaults,
    pub(super) topology: &'c Topology,
    /// The AS of this node.
    pub(super) asn: Asn,
}

impl Peers {
    /// Every one of this node. Of two for the same address the older one counts.
    pub(super) fn of(input: &Input<'_>, draft: &mut Draft<'_>, context: &Context<'_>) -> Self {
        let mut peers = Self::default();
        let mut taken: BTreeMap<String, String> = context
            .base
            .peers()
            .into_iter()
            .map(|address| (address.to_owned(), "the node's own routed.toml".to_owned()))
            .collect();
        for (name, peer) in by_age(&input.objects.peers, |peer| &peer.metadata) {
            let ends = ends(input, peer);
            // One that is nowhere is told so by the nodes that it is for.
            let spec = &peer.spec;
            let is_somewhere =
                spec.peer_ip.is_some() || spec.interface.is_some() || spec.peer_selector.is_some();
            if ends.is_empty() && (is_somewhere || !is_ours(input, spec)) {
                continue;
            }
            draft.accept("BGPPeer", name);
            draft
                .secrets
                .extend(peer.spec.password.iter().map(|p| p.secret_key_ref.name.0.clone()));
            let part = Part::whole("BGPPeer", name);
            if draft.is_left_out(&part) {
                continue;
            }
            let common = match common(input, name, &peer.spec, context) {
                Ok(common) => common,
                Err(problem) => {
                    draft.problem(&part, problem);
                    continue;
                }
            };
            for end in ends {
                let place = end.place();
                if let Some(first) = taken.get(&place) {
                    let message = format!(
                        "{}: {first} has a session with {place} already, and there is one of each \
                         two; remove one of them",
                        end.field()
                    );
                    draft.problem(&part, Problem { reason: "SessionRepeated", message });
                    continue;
                }
                peers.addresses.insert(place.clone());
                taken.insert(place, part.object.to_string());
                peers.add(input, draft, (name, &peer.spec), &end, &common, context);
            }
        }
        peers
    }

    fn add(
        &mut self,
        input: &Input<'_>,
        draft: &Draft<'_>,
        (name, spec): (&str, &BGPPeerSpec),
        end: &End<'_>,
        common: &Common,
        context: &Context<'_>,
    ) {
        let mut table = Table::new("[[peers]]", Part::whole("BGPPeer", name));
        let session = match end {
            End::Node { name: other, .. } => format!("{name}:{other}"),
            End::Address(_) | End::Interface(_) => name.to_owned(),
        };
        table.set("name", &session, "metadata.name");
        let families: Vec<_> = spec.families.iter().copied().map(family).collect();
        let mut passive = spec.passive;
        match end {
            End::Address(address) => table.set("address", *address, "spec.peerIP"),
            End::Interface(interface) => table.set("interface", *interface, "spec.interface"),
            End::Node { name: other, node, path, waits } => {
                let families = (!families.is_empty()).then_some(&*families);
                write_path(&mut table, *path, families);
                let asn = node::asn(Some(node), input.configuration());
                table.set("asn", asn.0, "spec.peerSelector");
                passive &= *waits;
                let reflects = context.topology.is_reflector(input.node);
                if reflects && !context.topology.is_reflector(other) && asn == context.asn {
                    table.set("route_reflector_client", true, "spec.peerSelector");
                }
            }
        }
        if !matches!(end, End::Node { .. }) {
            table.set_some("asn", common.asn.clone(), "spec.asNumber");
            table.set_list("families", families, "spec.families");
        }
        if passive {
            table.set("passive", true, "spec.passive");
        }
        table.set_some("port", spec.port, "spec.port");
        if spec.port.is_none() && matches!(end, End::Node { .. }) {
            configuration::write_port(input, draft, &mut table);
        }
        write_options(spec, common, context, &mut table);
        self.sessions.entry(name.to_owned()).or_default().push(session);
        self.tables.push(table);
    }
}

/// The other end of a session.
enum End<'o> {
    Address(&'o str),
    Interface(&'o str),
    Node {
        name: &'o str,
        node: &'o Node,
        path: Path,
        /// With `passive`: this end is the one that does.
        waits: bool,
    },
}

impl End<'_> {
    fn place(&self) -> String {
        match self {
            Self::Address(place) | Self::Interface(place) => (*place).to_owned(),
            Self::Node { path, .. } => path.remote().to_string(),
        }
    }

    const fn field(&self) -> &'static str {
        match self {
            Self::Address(_) => "spec.peerIP",
            Self::Interface(_) => "spec.interface",
            Self::Node { .. } => "spec.peerSelector",
        }
    }
}

/// The other ends that a peer has on this node.
fn ends<'o>(input: &Input<'o>, peer: &'o BGPPeer) -> Vec<End<'o>> {
    let spec = &peer.spec;
    let is_ours = is_ours(input, spec);
    let mut ends = Vec::new();
    if is_ours {
        let own = input.objects.nodes.get(input.node).map(|node| &*node.addresses);
        // A peer of all nodes that is one of them is none of its own.
        let is_own = |address: &str| {
            let address = address.parse();
            address.is_ok_and(|address| own.unwrap_or_default().contains(&address))
        };
        let address = spec.peer_ip.as_ref().map(|host| host.0.as_str());
        ends.extend(address.filter(|address| !is_own(address)).map(End::Address));
        ends.extend(spec.interface.as_deref().map(End::Interface));
    }
    let Some(selector) = &spec.peer_selector else { return ends };
    let is_found = selects(input, Some(selector), input.node);
    for (name, (node, path)) in node::others(input.objects, input.node) {
        let ours = is_ours && selector.matches(&node.labels);
        let theirs = is_found && selects(input, spec.node_selector.as_ref(), name);
        if ours || theirs {
            // If both were to wait, neither would ever connect.
            let waits = ours && (!theirs || input.node > name);
            ends.push(End::Node { name, node, path, waits });
        }
    }
    ends
}

fn is_ours(input: &Input<'_>, spec: &BGPPeerSpec) -> bool {
    selects(input, spec.node_selector.as_ref(), input.node)
}

/// A node that is not known has no labels.
fn selects(input: &Input<'_>, selector: Option<&Selector>, node: &str) -> bool {
    let none = BTreeMap::new();
    let labels = input.objects.nodes.get(node).map_or(&none, |node| &node.labels);
    selector.is_none_or(|selector| selector.matches(labels))
}

/// What all sessions of one peer have.
struct Common {
    asn: Option<Value>,
    password_file: Option<String>,
    import: Option<Vec<String>>,
    export: Option<Vec<String>>,
}

fn common(
    input: &Input<'_>,
    name: &str,
    spec: &BGPPeerSpec,
    context: &Context<'_>,
) -> Result<Common, Problem> {
    let invalid = |message: &str| Err(Problem { reason: "Invalid", message: message.to_owned() });
    let places = [spec.peer_ip.is_some(), spec.interface.is_some(), spec.peer_selector.is_some()];
    if places.into_iter().filter(|given| *given).count() != 1 {
        return invalid(
            "spec: say where the peer is in exactly one way: peerIP (an address), interface (the \
             router on that link), or peerSelector (other nodes)",
        );
    }
    let numbers =
        [spec.as_number.is_some(), spec.remote_as.is_some(), spec.as_number_label.is_some()];
    match (numbers.into_iter().filter(|given| *given).count(), &spec.peer_selector) {
        (0, _) | (1, None) => {}
        (_, Some(_)) => {
            return invalid(
                "spec: nodes that peerSelector finds have the AS that BGPConfiguration gives them; \
                 remove asNumber, remoteAS and asNumberLabel",
            );
        }
        (_, None) => {
            return invalid(
                "spec: say the peer's AS in exactly one way: asNumber (a number), remoteAS (External \
                 or Internal), or asNumberLabel (the key of a label of our node)",
            );
        }
    }
    let list = |names: &[Name], field: &str| {
        context.policies.find(names).map_err(|problem| Problem {
            message: format!("spec.{field}: {}", problem.message),
            ..problem
        })
    };
    list(&spec.import_policies, "importPolicies")?;
    list(&spec.export_policies, "exportPolicies")?;
    let names =
        |names: &[Name]| -> Vec<String> { names.iter().map(|name| name.0.clone()).collect() };
    let import = (!spec.import_policies.is_empty()).then(|| names(&spec.import_policies));
    let export = spec.export_policies.iter().map(|name| name.0.as_str());
    let export = (!spec.export_policies.is_empty()).then(|| context.defaults.export(export));
    Ok(Common {
        asn: asn(input, spec)?,
        password_file: password::file(input, name, spec)?,
        import,
        export,
    })
}

/// The AS of a peer that is no node.
fn asn(input: &Input<'_>, spec: &BGPPeerSpec) -> Result<Option<Value>, Problem> {
    if let Some(asn) = spec.as_number {
        return Ok(Some(asn.into()));
    }
    if let Some(remote) = spec.remote_as {
        return Ok(Some(Value::from(match remote {
            RemoteAs::External => "external",
            RemoteAs::Internal => "internal",
        })));
    }
    let Some(label) = &spec.as_number_label else { return Ok(None) };
    let node = input.objects.nodes.get(input.node);
    let value = node.and_then(|node| node.labels.get(&label.0));
    let asn = value.and_then(|value| value.parse::<Asn>().ok());
    asn.map(|asn| Some(asn.0.into())).ok_or_else(|| {
        let found = value.map_or_else(|| "no such label".to_owned(), |value| format!("{value:?}"));
        let message = format!(
            "spec.asNumberLabel: Node/{} has {found}; kubectl label node {} {label}=AS with the AS of \
             this peer, or leave the node out by nodeSelector",
            input.node, input.node
        );
        Problem { reason: "NodeLabelMissing", message }
    })
}

fn write_options(spec: &BGPPeerSpec, common: &Common, context: &Context<'_>, table: &mut Table) {
    table.set_some("local_asn", spec.local_as_number, "spec.localASNumber");
    let own = spec.num_allowed_local_as_numbers;
    table.set_some("allow_own_as", own, "spec.numAllowedLocalASNumbers");
    table.set_some("ttl_security", spec.ttl_security, "spec.ttlSecurity");
    table.set_some("multihop", spec.ebgp_multihop, "spec.ebgpMultihop");
    table.set_some("password_file", common.password_file.as_ref(), "spec.password");
    table.set_some("hold_time", spec.hold_time_seconds, "spec.holdTimeSeconds");
    table.set_some("keepalive_time", spec.keepalive_time_seconds, "spec.keepaliveTimeSeconds");
    table.set_some("connect_retry", spec.connect_retry_seconds, "spec.connectRetrySeconds");
    table.set_some("extended_next_hop", spec.extended_next_hop, "spec.extendedNextHop");
    if spec.next_hop_self {
        table.set("next_hop_self", true, "spec.nextHopSelf");
    }
    if let Some(restart) = &spec.graceful_restart {
        table.set("graceful_restart", restart.enabled, "spec.gracefulRestart.enabled");
        let wait = restart.restart_time_seconds;
        table.set_some("restart_time", wait, "spec.gracefulRestart.restartTimeSeconds");
        let stale = restart.stale_path_time_seconds;
        table.set_some("stale_path_time", stale, "spec.gracefulRestart.stalePathTimeSeconds");
    }
    if let Some(most) = &spec.max_prefixes {
        let limits = [("ipv4", most.ipv4), ("ipv6", most.ipv6)];
        let limits = limits.into_iter().filter_map(|(key, limit)| Some((key, limit?.into())));
        table.set("max_prefixes", Value::table(limits), "spec.maxPrefixes");
    }
    if let Some(bfd) = &spec.bfd {
        let settings = [
            ("transmit_interval", bfd.transmit_interval_milliseconds),
            ("receive_interval", bfd.receive_interval_milliseconds),
            ("detect_multiplier", bfd.detect_multiplier.map(u16::from)),
        ];
        let settings = settings.into_iter().filter_map(|(key, value)| Some((key, value?.into())));
        table.set("bfd", Value::table(settings), "spec.bfd");
    }
    write_policies(spec, common, context, table);
}

fn write_policies(spec: &BGPPeerSpec, common: &Common, context: &Context<'_>, table: &mut Table) {
    let of_node = spec.peer_selector.is_some();
    let defaults = context.defaults;
    let inner_import = defaults.inner_import.as_ref().filter(|_| of_node);
    let import = common.import.as_ref().or(inner_import);
    table.set_some("import", import.map(Value::list), "spec.importPolicies");
    let inner_export = defaults.inner_export.as_ref().filter(|_| of_node);
    let export = common.export.as_ref().or(inner_export);
    table.set_some("export", export.map(Value::list), "spec.exportPolicies");
}
