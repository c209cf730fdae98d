//! What this node needs of the cluster, kept current.
//!
//! In: the API server. Out: one [`Known`], which is complete or as the disk has it: until every kind
//! was listed once, nothing that was known before is taken back, and a listing that fails or is cut
//! off changes nothing. Owns the followers of the kinds, one task each.

mod follow;
mod kind;
mod pace;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use kube::{Client, Resource};
use routed_api::{BGPConfiguration, BGPPeer, BGPPolicy, IPPool, IPReservation};
use tokio::{
    sync::{mpsc, watch},
    task::{AbortHandle, JoinSet},
};

use self::kind::{Entry, RawNamespace, RawNode, RawPod, RawSecret};
pub(crate) use self::{
    follow::{Follower, News, Page, Target, page_params},
    kind::{Head, Watched},
    pace::Pace,
};
use crate::{Failure, Objects};

/// What is known of the cluster, and how well.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// The objects; `None`: nothing is known yet.
    pub objects: Option<Objects>,
    /// Whether they were all listed since the start; otherwise they are those of the disk.
    pub is_live: bool,
    /// Grows with every change of a pod.
    pub pods_version: u64,
    /// Grows with every change of anything else.
    pub version: u64,
    /// Secrets that were looked for, whether they are there or not.
    pub seen_secrets: BTreeSet<String>,
    /// How the API server answers.
    pub connection: Connection,
}

/// How the API server answers.
#[derive(Clone, Debug, Default)]
pub struct Connection {
    /// Since when everything is watched; `None`: not everything is.
    pub since: Option<Instant>,
    /// What fails, by kind.
    pub failing: BTreeMap<String, Failure>,
    /// What failed last, and when, whether it does still or not.
    pub last_error: Option<(String, Instant)>,
}

/// The way to what is known. Cheap to clone; when the last one is gone, watching ends.
#[derive(Clone, Debug)]
pub struct Watch {
    known: watch::Receiver<Known>,
    secrets: watch::Sender<BTreeSet<String>>,
}

impl Watch {
    /// Watches the cluster for the node of that name, beginning with what was saved. `namespace` is that
    /// of Secrets. The task ends with the last [`Watch`], and may be dropped anywhere.
    pub fn start(
        client: Client,
        namespace: &str,
        node: &str,
        saved: Option<Objects>,
    ) -> (Self, impl Future<Output = ()> + Send + use<>) {
        let secrets = watch::Sender::new(BTreeSet::new());
        let wanted = secrets.subscribe();
        let known = watch::Sender::new(Known { objects: saved, ..Known::default() });
        let watch = Self { known: known.subscribe(), secrets };
        let keeper = Keeper::new(client, namespace, node, known);
        (watch, keeper.run(wanted))
    }

    /// What is known; its owner waits as long as it is borrowed.
    #[must_use]
    pub fn known(&self) -> watch::Receiver<Known> {
        self.known.clone()
    }

    /// From now on these Secrets are watched, and no others.
    pub fn want_secrets(&self, names: &BTreeSet<String>) {
        self.secrets.send_if_modified(|wanted| {
            let differs = wanted != names;
            if differs {
                wanted.clone_from(names);
            }
            differs
        });
    }
}

/// Puts together what the followers bring.
struct Keeper {
    client: Client,
    /// Of Secrets.
    namespace: String,
    known: watch::Sender<Known>,
    /// What was listed, until every kind was.
    staged: Option<Objects>,
    /// Kinds that were not listed yet.
    unlisted: BTreeSet<String>,
    /// Kinds that are not watched at the moment.
    unwatched: BTreeSet<String>,
    followers: JoinSet<()>,
    secrets: BTreeMap<String, AbortHandle>,
    queue: (mpsc::Sender<Input>, mpsc::Receiver<Input>),
}

/// What a follower brings.
struct Input {
    /// The kind, or `Secret/name`.
    source: String,
    what: What,
}

enum What {
    Change(Change),
    Secret(String, Option<BTreeMap<String, Vec<u8>>>),
    Connected,
    Failing(Failure),
}

struct Change {
    listed: bool,
    is_pod: bool,
    /// Whether it changes anything.
    apply: Box<dyn FnOnce(&mut Objects) -> bool + Send>,
}

impl Keeper {
    fn new(client: Client, namespace: &str, node: &str, known: watch::Sender<Known>) -> Self {
        let mut keeper = Self {
            client,
            namespace: namespace.to_owned(),
            known,
            staged: Some(Objects::default()),
            unlisted: BTreeSet::new(),
            unwatched: BTreeSet::new(),
            followers: JoinSet::new(),
            secrets: BTreeMap::new(),
            queue: mpsc::channel(QUEUE),
        };
        let had = keeper.known.borrow().objects.clone().unwrap_or_default();
        keeper.follow::<IPPool>(ours::<IPPool>(), !had.pools.is_empty());
        keeper.follow::<IPReservation>(ours::<IPReservation>(), !had.reservations.is_empty());
        keeper.follow::<BGPPeer>(ours::<BGPPeer>(), !had.peers.is_empty());
        keeper.follow::<BGPPolicy>(ours::<BGPPolicy>(), !had.policies.is_empty());
        let configuration = Target {
            fields: Some("metadata.name=default".to_owned()),
            ..ours::<BGPConfiguration>()
        };
        keeper.follow::<BGPConfiguration>(configuration, had.configuration.is_some());
        keeper.follow::<RawNode>(core("nodes"), !had.nodes.is_empty());
        let namespaces = Target { metadata: true, ..core("namespaces") };
        keeper.follow::<RawNamespace>(namespaces, !had.namespaces.is_empty());
        let pods = Target {
            fields: Some(format!("spec.nodeName={node}")),
            metadata: true,
            // A node without pods is nothing special.
            doubts_nothing: false,
            ..core("pods")
        };
        keeper.follow::<RawPod>(pods, false);
        keeper
    }

    fn follow<R: Entry>(&mut self, target: Target, had_some: bool) {
        let name = target.name.clone();
        self.unlisted.insert(name.clone());
        self.unwatched.insert(name.clone());
        let is_pod = target.name == "pods";
        let wrap = move |news| {
            let change = |listed, apply| What::Change(Change { listed, is_pod, apply });
            let what = match news {
                News::Listed { all, .. } => change(true, Box::new(|to| R::replace(to, all))),
                News::Applied(key, kept) => change(false, Box::new(|to| R::enter(to, key, kept))),
                News::Gone(key) => change(false, Box::new(move |to| R::remove(to, &key))),
                News::Connected => What::Connected,
                News::Failing(failure) => What::Failing(failure),
            };
            Input { source: name.clone(), what }
        };
        let queue = self.queue.0.clone();
        let follower = Follower::<R, _, _>::new(self.client.clone(), target, had_some, queue, wrap);
        self.followers.spawn(follower.run());
    }

    /// Until nobody wants to know any more.
    async fn run(mut self, mut wanted: watch::Receiver<BTreeSet<String>>) {
        let mut batch = Vec::new();
        loop {
            tokio::select! {
                _ = self.queue.1.recv_many(&mut batch, QUEUE) => self.take(&mut batch),
                changed = wanted.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let names = wanted.borrow_and_update().clone();
                    self.watch_secrets(&names);
                }
                () = self.known.closed() => return,
                Some(ended) = self.followers.join_next() => {
                    if let Err(error) = ended && error.is_panic() {
                        tracing::error!(%error, "a watch has ended; please report it");
                        return;
                    }
                }
            }
        }
    }

    /// All of them are one change to those who look.
    fn take(&mut self, batch: &mut Vec<Input>) {
        let known = self.known.clone();
        known.send_if_modified(|known| {
            let mut changed = false;
            for Input { source, what } in batch.drain(..) {
                changed |= match what {
                    What::Change(change) => self.change(known, &source, change),
                    What::Secret(name, data) => enter_secret(known, name, data),
                    What::Connected => self.connected(&mut known.connection, &source),
                    What::Failing(failure) => {
                        self.failing(&mut known.connection, source, failure);
                        true
                    }
                };
            }
            changed
        });
    }

    fn change(&mut self, known: &mut Known, source: &str, change: Change) -> bool {
        let Change { listed, is_pod, apply } = change;
        let Some(staged) = &mut self.staged else {
            let changed = apply(known.objects.get_or_insert_default());
            if changed {
                *(if is_pod { &mut known.pods_version } else { &mut known.version }) += 1;
            }
            return changed;
        };
        apply(staged);
        if listed {
            self.unlisted.remove(source);
        }
        if !self.unlisted.is_empty() {
            return false;
        }
        let mut objects = self.staged.take().unwrap_or_default();
        // They are asked for only once the peers are known.
        objects.secrets = known.objects.take().map(|known| known.secrets).unwrap_or_default();
        known.objects = Some(objects);
        known.is_live = true;
        known.version += 1;
        known.pods_version += 1;
        true
    }

    fn connected(&mut self, connection: &mut Connection, source: &str) -> bool {
        let was_failing = connection.failing.remove(source).is_some();
        self.unwatched.remove(source);
        let all = self.unwatched.is_empty() && connection.failing.is_empty();
        if all && connection.since.is_none() {
            connection.since = Some(Instant::now());
            tracing::info!("the API server is watched");
            return true;
        }
        was_failing
    }

    fn failing(&mut self, connection: &mut Connection, source: String, failure: Failure) {
        if connection.since.take().is_some() {
            tracing::warn!(error = %failure, "the API server is not watched; what is known of it holds");
        } else if connection.failing.is_empty() {
            tracing::warn!(error = %failure, "the API server is not watched yet");
        }
        self.unwatched.insert(source.clone());
        connection.last_error = Some((failure.text.clone(), Instant::now()));
        connection.failing.insert(source, failure);
    }

    /// Begins and ends watches of Secrets.
    fn watch_secrets(&mut self, names: &BTreeSet<String>) {
        let gone: Vec<_> =
            self.secrets.keys().filter(|name| !names.contains(*name)).cloned().collect();
        let new: Vec<_> = names.iter().filter(|name| !self.secrets.contains_key(*name)).collect();
        for name in &gone {
            if let Some(follower) = self.secrets.remove(name) {
                follower.abort();
            }
            self.unwatched.remove(&source_of(name));
        }
        for name in &new {
            let had = {
                let known = self.known.borrow();
                known.objects.as_ref().is_some_and(|known| known.secrets.contains_key(*name))
            };
            let follower = self.follow_secret(name, had);
            self.secrets.insert((*name).clone(), follower);
        }
        self.known.send_modify(|known| {
            for name in gone {
                known.seen_secrets.remove(&name);
                known.connection.failing.remove(&source_of(&name));
            }
            if let Some(objects) = &mut known.objects {
                objects.secrets.retain(|name, _| names.contains(name));
            }
        });
    }

    fn follow_secret(&mut self, name: &str, had: bool) -> AbortHandle {
        let source = source_of(name);
        let target = Target {
            name: source.clone(),
            path: format!("/api/v1/namespaces/{}/secrets", self.namespace),
            fields: Some(format!("metadata.name={name}")),
            ..core("secrets")
        };
        self.unwatched.insert(source.clone());
        let name = name.to_owned();
        let wrap = move |news| {
            let secret = |data| What::Secret(name.clone(), data);
            let what = match news {
                News::Listed { all, .. } => secret(all.into_values().next()),
                News::Applied(_, data) => secret(Some(data)),
                News::Gone(_) => secret(None),
                News::Connected => What::Connected,
                News::Failing(failure) => What::Failing(failure),
            };
            Input { source: source.clone(), what }
        };
        let queue = self.queue.0.clone();
        let follower =
            Follower::<RawSecret, _, _>::new(self.client.clone(), target, had, queue, wrap);
        self.followers.spawn(follower.run())
    }
}

fn source_of(secret: &str) -> String {
    format!("Secret/{secret}")
}

fn enter_secret(known: &mut Known, name: String, data: Option<BTreeMap<String, Vec<u8>>>) -> bool {
    let mut changed = known.seen_secrets.insert(name.clone());
    // Where nothing is known, nobody asks for Secrets.
    if let Some(objects) = &mut known.objects
        && objects.secrets.get(&name) != data.as_ref()
    {
        match data {
            Some(data) => drop(objects.secrets.insert(name, data)),
            None => drop(objects.secrets.remove(&name)),
        }
        changed = true;
    }
    if changed {
        known.version += 1;
    }
    changed
}

/// Every object of a kind of ours.
pub(crate) fn ours<K: Resource<DynamicType = ()>>() -> Target {
    let (group, version, plural) = (K::group(&()), K::version(&()), K::plural(&()));
    Target {
        name: format!("{plural}.{group}"),
        path: format!("/apis/{group}/{version}/{plural}"),
        fields: None,
        metadata: false,
        doubts_nothing: true,
    }
}

/// Every object of a kind of Kubernetes' own.
fn core(plural: &str) -> Target {
    Target {
        name: plural.to_owned(),
        path: format!("/api/v1/{plural}"),
        fields: None,
        metadata: false,
        doubts_nothing: true,
    }
}

/// Changes that wait for the keeper: a listing is one of them, so the size only bounds how many are
/// taken in at once.
const QUEUE: usize = 256;

#[cfg(test)]
mod tests;
