//! The configuration of a node of a Kubernetes cluster.
//!
//! In: the node's own file, what is known of the cluster, the blocks that the node has. Out: the
//! configuration that these come to, as the text of a `routed.toml`, which is read and put in force as
//! any other. Its parts: `start` waits for the first one, `follow` for every other, `choose` says
//! which addresses a pod gets, `report` tells the cluster how the node is.
//!
//! The start takes what the disk has, so that the API server may be down.

mod choose;
mod follow;
mod report;
mod start;
mod view;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use routed_cluster::{
    Blocks, ClaimsHandle, Fault, Input, Known, LeaderHandle, ReportHandle, Store, Wanted, Watch,
    passwords, wanted, write_file,
};
use tokio::sync::{Notify, watch};

pub(crate) use self::{choose::chooser, follow::follow, report::report, start::start};
use crate::{
    config::{Config, Invalid},
    origin::Read,
};

/// The node's place in its cluster. Cheap to clone.
#[derive(Clone)]
pub struct Cluster(Arc<Parts>);

struct Parts {
    /// The node's own file.
    base: PathBuf,
    node: String,
    store: Store,
    watch: Watch,
    known: watch::Receiver<Known>,
    claims: ClaimsHandle,
    blocks: watch::Receiver<Blocks>,
    report: ReportHandle,
    leader: LeaderHandle,
    /// Where the text in force can be read.
    effective: PathBuf,
    state: Mutex<State>,
    /// Something about the use of addresses has changed.
    used: Notify,
}

/// What became of the last plan.
#[derive(Default)]
struct State {
    /// The text in force.
    text: String,
    /// What was in the files that it names.
    passwords: BTreeMap<String, Vec<u8>>,
    /// What the objects come to.
    wanted: Option<Wanted>,
    /// The sessions that there are, and whether each has been established for a while.
    sessions: BTreeMap<String, bool>,
    /// The sessions to which this node passes on what others announce.
    clients: BTreeSet<String>,
    /// When it was a reflector last.
    reflected: Option<Instant>,
    /// Addresses of pods that run elsewhere now, as far as the API server says.
    moved: BTreeSet<IpAddr>,
    /// Why it is not in force.
    refused: Option<(String, Instant)>,
}

impl State {
    /// Whether those who were its clients need this node as a reflector for a while yet.
    fn lingers(&self) -> bool {
        self.reflected.is_some_and(|at| at.elapsed() < LINGER)
    }
}

/// What the configuration is to be.
struct Plan {
    wanted: Wanted,
    /// What is in the files that the text names.
    passwords: BTreeMap<String, Vec<u8>>,
    /// The blocks that it was made with.
    blocks: Blocks,
    /// `metadata.uid` of the node.
    node_uid: Option<String>,
}

impl Cluster {
    /// The node's own file.
    pub(crate) fn file(&self) -> &Path {
        &self.0.base
    }

    /// The configuration as it is to be now.
    pub(crate) fn read(&self) -> Result<Read, Invalid> {
        let base = crate::config::read_text(&self.0.base)?;
        let text = self.plan(&base).map_or(base, |plan| plan.wanted.text);
        Ok(Read::new(Config::parse(&self.0.effective, &text)?, text))
    }

    /// Remembers what is in force, and writes it to where it can be read.
    pub(crate) fn is_in_force(&self, text: String) {
        if let Err(error) = write_file(&self.0.effective, text.as_bytes()) {
            let path = self.0.effective.display();
            tracing::warn!(%error, "{path} cannot be written; routed show config has it all the same");
        }
        let mut state = self.state();
        state.text = text;
        state.refused = None;
    }

    /// What the configuration is to be; `None`: nothing is known of the cluster yet.
    fn plan(&self, base: &str) -> Option<Plan> {
        let blocks = self.0.blocks.borrow().clone();
        let known = self.0.known.borrow();
        let objects = known.objects.as_ref()?;
        let passwords = passwords(objects);
        if let Err(error) = self.0.store.keep_secrets(&passwords) {
            tracing::error!(%error, "passwords cannot be kept; peers that have one are left out");
        }
        let (sessions, moved, clients) = {
            let mut state = self.state();
            // It has been one up to now.
            if state.wanted.as_ref().is_some_and(|wanted| wanted.reflects) {
                state.reflected = Some(Instant::now());
            }
            let clients = state.clients.iter().filter(|_| state.lingers());
            (state.sessions.clone(), state.moved.clone(), clients.cloned().collect())
        };
        let input = Input {
            objects,
            node: &self.0.node,
            base,
            blocks: &blocks.leasable,
            lost: &blocks.lost,
            moved: &moved,
            sessions: &sessions,
            clients: &clients,
            folder: &self.0.store.secrets(),
        };
        let wanted = wanted(&input, &|text| self.check(text));
        let node_uid = objects.nodes.get(&self.0.node).map(|node| node.uid.clone());
        drop(known);
        Some(Plan { wanted, passwords, blocks, node_uid })
    }

    /// The daemon ends; if it leads, another one shall at once.
    pub(crate) async fn leave(&self) {
        self.0.leader.leave().await;
    }

    /// What is wrong with a text.
    fn check(&self, text: &str) -> Vec<Fault> {
        let Err(invalid) = Config::parse(&self.0.effective, text) else { return Vec::new() };
        let fault = |fault: &crate::config::Fault| Fault {
            line: fault.place.line,
            key: fault.place.key.clone(),
            message: fault.problem.to_string(),
        };
        invalid.faults.iter().map(fault).collect()
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// From a change to the reload: what changes together is one.
const SETTLE: Duration = Duration::from_millis(50);
/// How long a node that was a reflector goes on: all others need their sessions with each other by then.
const LINGER: Duration = Duration::from_secs(120);
/// How long a Secret is waited for that a peer names.
const SECRETS: Duration = Duration::from_secs(3);
/// How often the use of addresses is looked at even if no pod comes or goes.
const USE: Duration = Duration::from_secs(30);
