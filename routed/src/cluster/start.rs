//! From the node's own file to the first configuration.

use std::{io, pin::Pin, time::Duration};

use anyhow::Context as _;
use routed_cluster::{
    Access, ClaimsHandle, Known, LeaderHandle, ReportHandle, Store, Watch, connect, node_name,
};
use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
    time::sleep,
};

use super::{Cluster, Parts, State};
use crate::config::{Base, Config, Loaded, read_text};

/// Begins to watch the cluster, with what the disk has, and waits until a configuration comes of it.
/// Its tasks go to `tasks`, each with the name under which its end is reported.
///
/// # Errors
///
/// What must be mended on the node: the folder for what is kept, the credentials.
pub(crate) async fn start(
    base: Base,
    tasks: &mut JoinSet<&'static str>,
) -> anyhow::Result<(Cluster, Loaded)> {
    let effective = base.effective();
    let Base { path, kubernetes, name, .. } = base;
    let node = match name {
        Some(name) => name,
        None => node_name().context("the host has no name; set node.name")?,
    };
    let store = Store::open(&kubernetes.state, &node).with_context(|| {
        format!("kubernetes.state: {} cannot be used", kubernetes.state.display())
    })?;
    let access = Access { kubeconfig: kubernetes.kubeconfig, namespace: kubernetes.namespace };
    let (client, namespace) = connect(&access).await?;
    let saved = store.objects();
    tracing::info!(node, saved = saved.is_some(), "the configuration is that of the cluster");
    let (watch, watching) = Watch::start(client.clone(), &namespace, &node, saved);
    let (report, reporting) = ReportHandle::start(client.clone(), &node);
    let (leader, leading) = LeaderHandle::start(
        client.clone(),
        &namespace,
        &node,
        watch.known(),
        kubernetes.orphan_after,
    );
    let (claims, claiming) = ClaimsHandle::start(client, &node, store.clone());
    let keeping = keep(watch.known(), store.clone());
    for (name, task) in [
        ("the watch of the cluster", Box::pin(watching) as Task),
        ("the claims of blocks", Box::pin(claiming)),
        ("what the API server is told of the node", Box::pin(reporting)),
        ("the leader's part", Box::pin(leading)),
        ("the keeping of what is known of the cluster", Box::pin(keeping)),
    ] {
        tasks.spawn(async move {
            task.await;
            name
        });
    }
    let cluster = Cluster(
        Parts {
            base: path,
            node,
            store,
            known: watch.known(),
            watch,
            blocks: claims.blocks(),
            claims,
            report,
            leader,
            effective,
            state: std::sync::Mutex::new(State::default()),
            used: Notify::new(),
        }
        .into(),
    );
    let loaded = cluster.first().await?;
    Ok((cluster, loaded))
}

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Cluster {
    /// The first configuration.
    async fn first(&self) -> anyhow::Result<Loaded> {
        let (mut known, mut blocks) = (self.0.known.clone(), self.0.blocks.clone());
        let mut told = None;
        loop {
            known.mark_unchanged();
            blocks.mark_unchanged();
            let why = match self.adopt().await {
                Ok(loaded) => return Ok(loaded),
                Err(why) => why,
            };
            if told.as_ref() != Some(&why) {
                tracing::warn!("not running yet: {why}");
                told = Some(why);
            }
            tokio::select! {
                changed = known.changed() => changed.context("the cluster is not watched any more")?,
                changed = blocks.changed() => changed.context("no blocks are claimed any more")?,
            }
            sleep(super::SETTLE).await;
        }
    }

    /// The configuration, if one comes of what is known; else why not.
    async fn adopt(&self) -> Result<Loaded, String> {
        let base = read_text(&self.0.base).map_err(|invalid| invalid.to_string())?;
        let Some(plan) = self.arranged(&base).await else {
            let known = self.0.known.borrow();
            let failing = known.connection.failing.values().next();
            return Err(failing.map_or_else(
                || "nothing is known of the cluster yet".to_owned(),
                |failure| format!("nothing is known of the cluster: {failure}"),
            ));
        };
        let super::Plan { wanted, passwords, .. } = plan;
        let text = wanted.text.clone();
        let loaded =
            Config::parse(&self.0.effective, &text).map_err(|invalid| invalid.to_string())?;
        {
            let mut state = self.state();
            (state.wanted, state.passwords) = (Some(wanted), passwords);
        }
        self.is_in_force(text);
        Ok(loaded)
    }
}

/// Keeps what is known of the cluster on disk, for as long as it is watched.
async fn keep(mut known: watch::Receiver<Known>, store: Store) {
    let mut kept = (0, 0);
    loop {
        let versions = {
            let known = known.borrow_and_update();
            // What is from the disk is there.
            if known.is_live { (known.version, known.pods_version) } else { kept }
        };
        if versions != kept {
            // Pods come and go all the time, and what a daemon must know of them at its start is little.
            let wait = if versions.0 == kept.0 { PODS } else { OTHERS };
            sleep(wait).await;
            kept = versions;
            write(&known, &store).await;
            continue;
        }
        if known.changed().await.is_err() {
            return;
        }
    }
}

async fn write(known: &watch::Receiver<Known>, store: &Store) {
    let text = {
        let known = known.borrow();
        known.objects.as_ref().map(|objects| store.objects_text(objects))
    };
    let Some(text) = text else { return };
    let store = store.clone();
    let folder = store.folder().to_owned();
    let written = tokio::task::spawn_blocking(move || store.keep_objects(&text?)).await;
    if let Err(error) = written.unwrap_or_else(|panic| Err(io::Error::other(panic))) {
        let folder = folder.display();
        tracing::error!(%error, "what is known of the cluster cannot be kept in {folder}");
    }
}

/// From a change to the disk: more are to be expected.
const OTHERS: Duration = Duration::from_secs(1);
/// The same if only pods have changed.
const PODS: Duration = Duration::from_secs(10);
