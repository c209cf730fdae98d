//! Made-up clusters, and what they come to by the daemon's own check.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::IpAddr,
    path::Path,
};

use routed::config::{Config, Invalid};
use routed_cluster::{
    Block, Fault, Input, Node, ObjectRef, Objects, Problem, Wanted, passwords, wanted,
};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A cluster as one of its nodes, `n1`, sees it.
#[derive(Default)]
pub(crate) struct Cluster {
    pub(crate) objects: Objects,
    pub(crate) base: String,
    pub(crate) blocks: Vec<Block>,
    pub(crate) lost: Vec<Block>,
    pub(crate) moved: BTreeSet<IpAddr>,
    pub(crate) clients: BTreeSet<String>,
    pub(crate) sessions: BTreeMap<String, bool>,
}

impl Cluster {
    /// Two nodes with an address of each family.
    pub(crate) fn new() -> Self {
        let mut cluster = Self::default();
        cluster.node("n1", &["10.0.0.1", "fd00::1"]);
        cluster.node("n2", &["10.0.0.2", "fd00::2"]);
        cluster
    }

    pub(crate) fn node(&mut self, name: &str, addresses: &[&str]) -> &mut Node {
        let node = self.objects.nodes.entry(name.to_owned()).or_default();
        node.addresses =
            addresses.iter().map(|address| address.parse().expect("an address")).collect();
        node
    }

    pub(crate) fn label(&mut self, node: &str, key: &str, value: &str) {
        let labels = &mut self.objects.nodes.get_mut(node).expect("a node").labels;
        labels.insert(key.to_owned(), value.to_owned());
    }

    /// An object of ours.
    pub(crate) fn add(&mut self, kind: &str, name: &str, spec: &Value) {
        self.add_at(kind, name, "2026-11-01T00:00:00Z", spec);
    }

    /// The same, made at that time.
    pub(crate) fn add_at(&mut self, kind: &str, name: &str, created: &str, spec: &Value) {
        let object = json!({
            "apiVersion": "slash32.dev/v1alpha1", "kind": kind, "spec": spec,
            "metadata": {"name": name, "creationTimestamp": created},
        });
        let objects = &mut self.objects;
        let name = name.to_owned();
        match kind {
            "IPPool" => drop(objects.pools.insert(name, read(object))),
            "IPReservation" => drop(objects.reservations.insert(name, read(object))),
            "BGPConfiguration" => objects.configuration = Some(read(object)),
            "BGPPeer" => drop(objects.peers.insert(name, read(object))),
            "BGPPolicy" => drop(objects.policies.insert(name, read(object))),
            kind => panic!("{kind} is none of ours"),
        }
    }

    pub(crate) fn block(&mut self, pool: &str, prefix: &str) {
        self.blocks
            .push(Block { prefix: prefix.parse().expect("a prefix"), pool: pool.to_owned() });
    }

    pub(crate) fn secret(&mut self, name: &str, key: &str, value: &str) {
        let secret = self.objects.secrets.entry(name.to_owned()).or_default();
        secret.insert(key.to_owned(), value.into());
    }

    /// With the daemon's own check, as node `n1`.
    pub(crate) fn wanted(&self) -> Wanted {
        self.wanted_by("n1")
    }

    pub(crate) fn wanted_by(&self, node: &str) -> Wanted {
        let folder = TempDir::new().expect("a folder");
        for (name, content) in passwords(&self.objects) {
            fs::write(folder.path().join(name), content).expect("a file");
        }
        let input = Input {
            objects: &self.objects,
            node,
            base: &self.base,
            blocks: &self.blocks,
            lost: &self.lost,
            moved: &self.moved,
            clients: &self.clients,
            sessions: &self.sessions,
            folder: folder.path(),
        };
        let mut wanted = wanted(&input, &|text| check(text));
        let faults = check(&wanted.text);
        assert_eq!(faults.is_empty(), wanted.faults.is_empty(), "{faults:?}\n{}", wanted.text);
        // Where the folder lies is another matter in each run.
        wanted.text = wanted.text.replace(&*folder.path().to_string_lossy(), "/secrets");
        wanted
    }

    /// The settings that the daemon would have.
    pub(crate) fn config(&self) -> Config {
        self.config_of("n1")
    }

    pub(crate) fn config_of(&self, node: &str) -> Config {
        let text = self.wanted_by(node).text;
        let without = text.lines().filter(|line| !line.starts_with("password_file"));
        let text: String = without.flat_map(|line| [line, "\n"]).collect();
        match Config::parse(Path::new("effective.toml"), &text) {
            Ok(loaded) => loaded.config,
            Err(invalid) => panic!("{invalid}\n{text}"),
        }
    }

    /// Names of the peers that it would have.
    pub(crate) fn peers(&self) -> Vec<String> {
        self.peers_of("n1")
    }

    pub(crate) fn peers_of(&self, node: &str) -> Vec<String> {
        self.config_of(node).peers.iter().map(|peer| peer.name.to_string()).collect()
    }

    /// What is wrong with an object.
    pub(crate) fn problems(&self, kind: &'static str, name: &str) -> Vec<Problem> {
        problems(&self.wanted(), kind, name)
    }

    /// That just this is wrong with it: a reason, and words of the message.
    #[track_caller]
    pub(crate) fn assert_problem(
        &self,
        object: (&'static str, &str),
        reason: &str,
        words: &[&str],
    ) {
        let problems = self.problems(object.0, object.1);
        let [problem] = &problems[..] else { panic!("{object:?}: {problems:#?}") };
        assert_eq!(problem.reason, reason, "{}", problem.message);
        for word in words {
            assert!(problem.message.contains(word), "{word:?} is not in: {}", problem.message);
        }
    }
}

pub(crate) fn problems(wanted: &Wanted, kind: &'static str, name: &str) -> Vec<Problem> {
    let object = ObjectRef { kind, name: name.to_owned() };
    wanted.problems.get(&object).cloned().unwrap_or_default()
}

/// What the daemon says of a text.
pub(crate) fn check(text: &str) -> Vec<Fault> {
    let Err(Invalid { faults, .. }) = Config::parse(Path::new("effective.toml"), text) else {
        return Vec::new();
    };
    let fault = |fault: &routed::config::Fault| Fault {
        line: fault.place.line,
        key: fault.place.key.clone(),
        message: fault.problem.to_string(),
    };
    faults.iter().map(fault).collect()
}

fn read<T: serde::de::DeserializeOwned>(object: Value) -> T {
    serde_json::from_value(object).expect("an object of its kind")
}
