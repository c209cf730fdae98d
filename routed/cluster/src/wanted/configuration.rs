//! `[bgp]`: the BGPConfiguration, and what of the node itself belongs there.

use std::collections::BTreeMap;

use bgp::aspath::Asn;
use routed_api::{BGPConfigurationSpec, PrefixAdvertisement};

use super::{
    Draft, Input, Problem,
    base::Base,
    mesh::Topology,
    node,
    policies::Policies,
    text::{Part, Table, Value},
};

/// Of the only one.
pub(super) const NAME: &str = "default";
const KIND: &str = "BGPConfiguration";
/// Policy that puts communities on what `prefixAdvertisements` names. No object has such a name.
const ADVERTISEMENTS: &str = "configuration:prefixAdvertisements";

/// Policies of sessions that name none.
pub(super) struct Defaults {
    /// Goes before every list of export policies.
    first: Option<&'static str>,
    /// For sessions between nodes, if it is not that of `[bgp]`.
    pub(super) inner_import: Option<Vec<String>>,
    /// The same.
    pub(super) inner_export: Option<Vec<String>>,
    /// Of sessions with and of reflectors.
    pub(super) reflected_export: Option<Vec<String>>,
}

impl Defaults {
    /// A list of export policies as it is to be written.
    pub(super) fn export<'n>(&self, names: impl IntoIterator<Item = &'n str>) -> Vec<String> {
        self.first.into_iter().chain(names).map(str::to_owned).collect()
    }
}

/// The port of other nodes, unless it was refused.
pub(super) fn write_port(input: &Input<'_>, draft: &Draft<'_>, table: &mut Table) {
    let (field, part) = ("spec.listenPort", part("spec.listenPort"));
    let port = input.configuration().and_then(|spec| spec.listen_port);
    if let Some(port) = port.filter(|_| !draft.is_left_out(&part)) {
        table.set_of(part, "port", port.into(), field);
    }
}

/// A field of the configuration that can be done without.
pub(super) fn part(field: &str) -> Part {
    Part::of(KIND, NAME, field)
}

/// The keys of `[bgp]` that the file does not have.
pub(super) fn write(
    input: &Input<'_>,
    base: &Base<'_>,
    draft: &mut Draft<'_>,
    topology: &Topology,
    policies: &Policies,
) -> (Table, Defaults) {
    let mut keys = Keys { table: Table::without_header(part("")), base, draft };
    identity(input, &mut keys, topology);
    if let Some(spec) = input.configuration() {
        timers(spec, &mut keys);
    }
    let defaults = default_policies(input.configuration(), &mut keys, policies);
    (keys.table, defaults)
}

struct Keys<'k, 'd> {
    table: Table,
    base: &'k Base<'k>,
    draft: &'k mut Draft<'d>,
}

impl Keys<'_, '_> {
    /// Unless the file has it, or the field was refused.
    fn set(&mut self, key: &str, value: impl Into<Value>, part: Part, field: &'static str) {
        if !self.base.has("bgp", key) && !self.draft.is_left_out(&part) {
            self.table.set_of(part, key, value.into(), field);
        }
    }

    fn set_some(&mut self, key: &str, value: Option<impl Into<Value>>, field: &'static str) {
        if let Some(value) = value {
            self.set(key, value, part(field), field);
        }
    }
}

fn identity(input: &Input<'_>, keys: &mut Keys<'_, '_>, topology: &Topology) {
    let own = input.objects.nodes.get(input.node);
    let configuration = input.configuration();
    for (name, node) in &input.objects.nodes {
        let Err(value) = node::labelled_asn(node, configuration) else { continue };
        let message = format!(
            "spec.nodeASNumberLabel: Node/{name} has {value:?}, which is no AS; label it with one, as \
             in 4200000011, or remove the label. Until then it has the AS of the others"
        );
        keys.draft.problem(&part(""), Problem { reason: "NodeLabelInvalid", message });
    }
    let of_node = |field| Part::of("Node", input.node, field);
    let number = configuration.and_then(|spec| spec.as_number);
    if let Some(number) = number.filter(|number| !node::is_usable(Asn(*number))) {
        let usual = node::common_asn(None);
        let message = format!(
            "spec.asNumber: {number} is reserved and nobody's; use a private one, 64512 to 65534 or \
             4200000000 to 4294967294. Until then it is {usual}"
        );
        keys.draft.problem(&part(""), Problem { reason: "Invalid", message });
    }
    let labelled = own.and_then(|own| node::labelled_asn(own, configuration).ok().flatten());
    match labelled {
        Some(asn) => {
            keys.set("asn", asn.0, part("spec.nodeASNumberLabel"), "spec.nodeASNumberLabel");
        }
        None => {
            let asn = node::common_asn(configuration);
            keys.set("asn", asn.0, part("spec.asNumber"), "spec.asNumber");
        }
    }
    let id = node::router_id(input.objects, input.node);
    keys.set("router_id", Value::shown(id), of_node("router id"), "status.addresses");
    let cluster =
        configuration.and_then(|spec| spec.route_reflectors.as_ref()?.cluster_id.as_ref());
    if topology.is_reflector(input.node) {
        keys.set_some("cluster_id", cluster.map(|id| &id.0), "spec.routeReflectors.clusterID");
    }
    if own.is_some_and(crate::Node::is_drained) {
        keys.set("drain", true, of_node("drain"), "spec.unschedulable");
    }
}

fn timers(spec: &BGPConfigurationSpec, keys: &mut Keys<'_, '_>) {
    let listen = spec
        .listen_port
        .map(|port| Value::list([format!("0.0.0.0:{port}"), format!("[::]:{port}")].iter()));
    keys.set_some("listen", listen, "spec.listenPort");
    keys.set_some("hold_time", spec.hold_time_seconds, "spec.holdTimeSeconds");
    keys.set_some("keepalive_time", spec.keepalive_time_seconds, "spec.keepaliveTimeSeconds");
    keys.set_some("connect_retry", spec.connect_retry_seconds, "spec.connectRetrySeconds");
    keys.set_some("multipath", spec.multipath, "spec.multipath");
}

fn default_policies(
    spec: Option<&BGPConfigurationSpec>,
    keys: &mut Keys<'_, '_>,
    policies: &Policies,
) -> Defaults {
    let first = spec.and_then(|spec| advertisements(spec, keys));
    let mut defaults =
        Defaults { first, inner_import: None, inner_export: None, reflected_export: None };
    let mut find = |names: &[routed_api::Name], field: &'static str| {
        let part = part(field);
        let missing = policies.find(names).err();
        if let Some(problem) = missing.clone() {
            let message = format!(
                "{field}: {}. Until then peers that name none are told nothing and believed nothing; \
                 sessions between nodes go on",
                problem.message
            );
            keys.draft.problem(&part, Problem { message, ..problem });
        }
        missing.is_none()
    };
    let (import, export) =
        spec.map_or((&[][..], &[][..]), |spec| (&spec.import_policies, &spec.export_policies));
    let import_found = find(import, "spec.importPolicies");
    let export_found = find(export, "spec.exportPolicies");
    let names = |list: &[routed_api::Name], found: bool, usual: &str| -> Vec<String> {
        match list {
            _ if !found => vec!["none".to_owned()],
            [] => vec![usual.to_owned()],
            list => list.iter().map(|name| name.0.clone()).collect(),
        }
    };
    let import_names = names(import, import_found, "all");
    let export_names = names(export, export_found, "originated");
    let written = defaults.export(export_names.iter().map(String::as_str));
    let of = |field, given: bool| if given { part(field) } else { part("defaults") };
    let (given_import, given_export) = (!import.is_empty(), !export.is_empty());
    keys.set(
        "import",
        Value::list(&import_names),
        of("spec.importPolicies", given_import),
        "spec.importPolicies",
    );
    keys.set(
        "export",
        Value::list(&written),
        of("spec.exportPolicies", given_export),
        "spec.exportPolicies",
    );
    if !import_found && !keys.base.has("bgp", "import") {
        defaults.inner_import = Some(vec!["all".to_owned()]);
    }
    if !keys.base.has("bgp", "export") {
        if !export_found {
            defaults.inner_export = Some(defaults.export(["originated"]));
        }
        if !export_found || export.is_empty() {
            defaults.reflected_export = Some(defaults.export(["all"]));
        }
    }
    defaults
}

/// The policy with the communities of `prefixAdvertisements`. Gives its name if there is one.
fn advertisements(spec: &BGPConfigurationSpec, keys: &mut Keys<'_, '_>) -> Option<&'static str> {
    let names = names(spec);
    let kept: Vec<_> = spec
        .prefix_advertisements
        .iter()
        .enumerate()
        .map(|(number, advertisement)| {
            (part(&format!("spec.prefixAdvertisements[{number}]")), advertisement)
        })
        .filter(|(part, _)| !keys.draft.is_left_out(part))
        .collect();
    let field = "spec.prefixAdvertisements";
    if kept.is_empty() {
        return None;
    }
    let mut head = Table::new("[[policies]]", part(field));
    head.set("name", ADVERTISEMENTS, field);
    head.set("default", "next-policy", field);
    keys.draft.tables.push(head);
    for (part, PrefixAdvertisement { cidr, communities }) in kept {
        let mut statement = Table::without_header(part);
        statement.header("[[policies.statements]]", field);
        let longest = if cidr.0.contains(':') { 128 } else { 32 };
        statement.set("prefixes", &format!("{cidr} le {longest}"), field);
        statement.set("source", "local", field);
        let values = communities.iter().map(|community| {
            names.get(community.0.as_str()).copied().unwrap_or(community.0.as_str())
        });
        let (large, plain): (Vec<&str>, Vec<&str>) = values.partition(|value| is_large(value));
        let sets = [("add_communities", plain), ("add_large_communities", large)];
        let sets = sets.into_iter().filter(|(_, values)| !values.is_empty());
        let sets = sets.map(|(key, values)| (key, Value::list(values)));
        statement.set("set", Value::table(sets), field);
        keys.draft.tables.push(statement);
    }
    Some(ADVERTISEMENTS)
}

/// Names of communities, with their values.
pub(super) fn names(spec: &BGPConfigurationSpec) -> BTreeMap<&str, &str> {
    spec.communities.iter().map(|named| (named.name.as_str(), named.value.as_str())).collect()
}

fn is_large(community: &str) -> bool {
    community.split(':').count() == 3 && !community.starts_with(|c: char| c.is_ascii_alphabetic())
}
