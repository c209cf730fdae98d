//! From the objects of the cluster to the `routed.toml` of one node.
//!
//! In: what is known of the cluster, the node's own file, its blocks. Out: the text of the file that
//! holds, and for each object whether it is heeded. What the node's own file says stands above what
//! objects say.
//!
//! Every rule of `routed.toml` is asked of the text itself, by a check that the caller has: what is at
//! fault in it is traced to its object, that is left out, and the rest is written again. One wrong
//! object thus never stops the others, and a rule is written down once.
//!
//! Keeps no state and reads no clock: the same input gives the same text.

mod base;
mod configuration;
mod mesh;
mod node;
mod peers;
mod policies;
pub(crate) mod pools;
mod text;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
    path::Path,
};

use bgp::prefix::Prefix;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use routed_api::BGPConfigurationSpec;
use routed_core::claims;

pub use self::peers::passwords;
use self::{
    base::Base,
    mesh::Topology,
    peers::Peers,
    policies::Policies,
    text::{Line, Origin, Part, Table, Value},
};
use crate::Objects;

/// What the node's configuration is made from.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// What is known of the cluster.
    pub objects: &'a Objects,
    /// The name of this node.
    pub node: &'a str,
    /// The node's own `routed.toml`.
    pub base: &'a str,
    /// The blocks that it has and may give addresses of, from [`claims::Claims`].
    pub blocks: &'a [Block],
    /// Blocks that it had and another node has now, while pods here have addresses of them.
    pub lost: &'a [Block],
    /// Addresses with an owner that pods here still have although the API server knows no such pod of this
    /// node any more: where the pod runs now it has them, and they are not announced from here.
    pub moved: &'a BTreeSet<IpAddr>,
    /// The sessions that it has now, by name, and whether each has been established for a minute: what
    /// others need to have settled by then as well.
    pub sessions: &'a BTreeMap<String, bool>,
    /// Sessions, by name, to which this node passes on what others announce and is to go on for a while,
    /// although it is no reflector any more.
    pub clients: &'a BTreeSet<String>,
    /// The folder of the files with [`passwords`].
    pub folder: &'a Path,
}

impl<'a> Input<'a> {
    fn configuration(&self) -> Option<&'a BGPConfigurationSpec> {
        self.objects.configuration.as_ref().map(|configuration| &configuration.spec)
    }
}

/// A block of this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Its addresses.
    pub prefix: Prefix,
    /// The pool that it is of.
    pub pool: String,
}

/// What a check found in the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where, from 1; `None`: in the text as a whole.
    pub line: Option<usize>,
    /// The key, as in `peers[2].hold_time`.
    pub key: String,
    /// What, and the remedy.
    pub message: String,
}

/// What the objects come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The `routed.toml` that holds. It passes the check unless there are `faults`.
    pub text: String,
    /// What is wrong with each object that this node heeds; nothing: it is accepted. Of kinds that are
    /// not ours (Node), those with a problem.
    pub problems: BTreeMap<ObjectRef, Vec<Problem>>,
    /// What is wrong with the node's own file, with the lines there. The text cannot be used then.
    pub faults: Vec<Fault>,
    /// Pools that this node may claim blocks of.
    pub pools: Vec<claims::Pool>,
    /// Secrets that peers of this node name.
    pub secrets: BTreeSet<String>,
    /// The BGPPeer of each session that one asks for, by the session's name.
    pub sessions: BTreeMap<String, String>,
    /// Whether this node is a reflector.
    pub reflects: bool,
}

/// An object of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectRef {
    /// Its kind, as in `BGPPeer`.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
}

/// `BGPPeer/tor`
impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A name that was written past the schema must not end a line.
        write!(f, "{}/{}", self.kind, self.name.escape_debug())
    }
}

/// Why an object, or a part of it, is not heeded.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// One word for programs, as conditions have it: `SecretMissing`.
    pub reason: &'static str,
    /// What, and the remedy.
    pub message: String,
}

/// The text that holds on this node, and what cannot. `check` finds everything that is wrong in a text;
/// the files with [`passwords`] must be there by then.
pub fn wanted(input: &Input<'_>, check: &dyn Fn(&str) -> Vec<Fault>) -> Wanted {
    let base = Base::read(input.base);
    let mut left_out: BTreeMap<Part, Vec<Problem>> = probe(input, check);
    loop {
        let draft = Draft::of(input, &base, &left_out);
        let faults = check(&text(&draft.lines));
        let mut found: BTreeMap<Part, Vec<Problem>> = BTreeMap::new();
        let mut others = Vec::new();
        for fault in faults {
            let line = fault.line.and_then(|line| draft.lines.get(line.checked_sub(1)?));
            match line.map(|line| &line.origin) {
                Some(Origin::Object(part, field)) if !left_out.contains_key(part) => {
                    let message = format!("{}: {}", field_of(field, &fault.key), fault.message);
                    let problems = found.entry(part.clone()).or_default();
                    problems.push(Problem { reason: "Invalid", message });
                }
                Some(Origin::Base(line)) => others.push(Fault { line: Some(*line), ..fault }),
                Some(Origin::Object(..) | Origin::Own) | None => {
                    others.push(Fault { line: None, ..fault });
                }
            }
        }
        if found.is_empty() {
            return draft.finish(&left_out, others);
        }
        // Each round leaves out something that was in, of which there is an end.
        left_out.extend(found);
    }
}

/// Pools whose range no pod can have an address of: the check knows which those are, and there may be no
/// block yet that it could find at fault.
fn probe(input: &Input<'_>, check: &dyn Fn(&str) -> Vec<Fault>) -> BTreeMap<Part, Vec<Problem>> {
    let mut left_out = BTreeMap::new();
    for pool in pools::usable(input.objects).0 {
        let key = if pool.cidr.addr().is_ipv4() { "ipv4" } else { "ipv6" };
        let head = "[node]\nname = \"probe\"\n[kubernetes]\n[bgp]\nasn = 64512\nrouter_id = \"192.0.2.1\"\n[pods]\n";
        let faults = check(&format!("{head}{key} = [\"{}\"]\n", pool.cidr));
        let problems: Vec<_> = faults
            .into_iter()
            .map(|fault| Problem {
                reason: "Invalid",
                message: format!("spec.cidr: {}", fault.message),
            })
            .collect();
        if !problems.is_empty() {
            left_out.insert(Part::whole("IPPool", pool.name), problems);
        }
    }
    left_out
}

/// One version of the text, with some things left out.
struct Draft<'r> {
    left_out: &'r BTreeMap<Part, Vec<Problem>>,
    lines: Vec<Line>,
    tables: Vec<Table>,
    problems: BTreeMap<ObjectRef, Vec<Problem>>,
    pools: Vec<claims::Pool>,
    secrets: BTreeSet<String>,
    sessions: BTreeMap<String, String>,
    reflects: bool,
}

impl<'r> Draft<'r> {
    fn of(input: &Input<'_>, base: &Base<'_>, left_out: &'r BTreeMap<Part, Vec<Problem>>) -> Self {
        let mut draft = Self {
            left_out,
            lines: Vec::new(),
            tables: Vec::new(),
            problems: BTreeMap::new(),
            pools: Vec::new(),
            secrets: BTreeSet::new(),
            sessions: BTreeMap::new(),
            reflects: false,
        };
        if input.objects.configuration.is_some() {
            draft.accept("BGPConfiguration", configuration::NAME);
        }
        for name in input.objects.policies.keys() {
            draft.accept("BGPPolicy", name);
        }
        let topology = Topology::of(input);
        draft.judge(&topology);
        draft.reflects = topology.is_reflector(input.node);
        let asn = base.asn().unwrap_or_else(|| {
            node::asn(input.objects.nodes.get(input.node), input.configuration())
        });
        let policies = Policies::of(input, &mut draft);
        let (speaker, defaults) =
            configuration::write(input, base, &mut draft, &topology, &policies);
        let context = peers::Context {
            base,
            policies: &policies,
            defaults: &defaults,
            topology: &topology,
            asn,
        };
        let peers = Peers::of(input, &mut draft, &context);
        policies.write(input, &mut draft, &peers.sessions);
        draft.write_sessions(input, &context, &peers.addresses);
        draft.tables.extend(peers.tables);
        for (peer, sessions) in peers.sessions {
            draft.sessions.extend(sessions.into_iter().map(|session| (session, peer.clone())));
        }
        let pods = if base.is_speaker() {
            Table::without_header(Part::whole("Node", input.node))
        } else {
            pools::write(input, base, &mut draft)
        };
        let mut name = Table::without_header(Part::whole("Node", input.node));
        if !base.has("node", "name") {
            name.set("name", input.node, "metadata.name");
        }
        let keys = vec![("node", name), ("bgp", speaker), ("pods", pods)];
        let tables = std::mem::take(&mut draft.tables);
        draft.lines = base.with(keys, tables);
        draft
    }

    /// What the configuration says of sessions between nodes.
    fn judge(&mut self, topology: &Topology) {
        let part = configuration::part("spec.routeReflectors");
        if topology.nobody {
            let message = "spec.routeReflectors.nodeSelector: selects no node; label two nodes or more \
                           as it asks. Until then nodes have the sessions that they have by default";
            self.problem(&part, Problem { reason: "NoReflectors", message: message.to_owned() });
        }
        if topology.contradiction {
            let message = "spec.routeReflectors: a full mesh leaves route reflectors nothing to do; \
                           set nodeToNodeMeshEnabled to false, or remove routeReflectors. Until then \
                           there is a full mesh";
            self.problem(&part, Problem { reason: "Contradiction", message: message.to_owned() });
        }
    }

    /// The mesh and reflectors, without those that a BGPPeer has a session with.
    fn write_sessions(
        &mut self,
        input: &Input<'_>,
        context: &peers::Context<'_>,
        taken: &BTreeSet<String>,
    ) {
        let peers::Context { topology, defaults, asn, base, .. } = context;
        let by_hand = base.peers();
        for session in mesh::sessions(input, topology, *asn) {
            let part = Part::whole("Node", session.other);
            let address = session.path.remote().to_string();
            let is_taken = taken.contains(&address) || by_hand.contains(&*address);
            if is_taken || self.is_left_out(&part) {
                continue;
            }
            if let Some(foreign) = session.foreign {
                let message = format!(
                    "spec.routeReflectors: Node/{} has AS {foreign} and this node {asn}; routes are \
                     reflected within one AS only (RFC 4456). Give both the same, or have a BGPPeer \
                     with peerSelector in place of routeReflectors",
                    session.other
                );
                let part = configuration::part("spec.routeReflectors");
                self.problem(&part, Problem { reason: "ForeignAS", message });
                continue;
            }
            let mut table = session.table(input, topology, *asn);
            configuration::write_port(input, self, &mut table);
            let import = defaults.inner_import.as_ref();
            table.set_some("import", import.map(Value::list), "spec.importPolicies");
            let reflected = defaults.reflected_export.as_ref().filter(|_| session.is_reflected());
            let export = reflected.or(defaults.inner_export.as_ref());
            table.set_some("export", export.map(Value::list), "spec.exportPolicies");
            self.tables.push(table);
        }
    }

    /// The object is one that this node heeds.
    fn accept(&mut self, kind: &'static str, name: &str) {
        let object = ObjectRef { kind, name: name.to_owned() };
        self.problems.entry(object).or_default();
    }

    fn problem(&mut self, part: &Part, problem: Problem) {
        let problems = self.problems.entry(part.object.clone()).or_default();
        if !problems.contains(&problem) {
            problems.push(problem);
        }
    }

    fn is_left_out(&self, part: &Part) -> bool {
        self.left_out.contains_key(part)
    }

    fn finish(mut self, left_out: &BTreeMap<Part, Vec<Problem>>, faults: Vec<Fault>) -> Wanted {
        for (part, problems) in left_out {
            for problem in problems {
                self.problem(part, problem.clone());
            }
        }
        Wanted {
            text: text(&self.lines),
            problems: self.problems,
            faults,
            pools: self.pools,
            secrets: self.secrets,
            sessions: self.sessions,
            reflects: self.reflects,
        }
    }
}

fn text(lines: &[Line]) -> String {
    lines.iter().flat_map(|line| [line.text.as_str(), "\n"]).collect()
}

/// The field of an object, from the one that a line was written from and the key that was at fault.
/// Fields of statements do not say which statement they are of; the key does.
fn field_of(field: &str, key: &str) -> String {
    let inside = key.split_once('.').map_or("", |(_, inside)| inside);
    let statement = inside.split('.').next().filter(|word| word.starts_with("statements["));
    match statement {
        Some(statement) if field.is_empty() => format!("spec.{statement}"),
        Some(statement) if !field.starts_with("spec.") => format!("spec.{statement}.{field}"),
        Some(_) | None if field.is_empty() => "spec".to_owned(),
        Some(_) | None => field.to_owned(),
    }
}

/// Objects, the oldest first; of one age by name. Those without a time of creation come last.
fn by_age<T>(
    objects: &BTreeMap<String, T>,
    metadata: impl Fn(&T) -> &ObjectMeta,
) -> Vec<(&str, &T)> {
    let mut list: Vec<_> = objects.iter().map(|(name, object)| (name.as_str(), object)).collect();
    list.sort_by_key(|(name, object)| {
        let created = metadata(object).creation_timestamp.as_ref().map(|time| time.0);
        (created.is_none(), created, *name)
    });
    list
}
