//! What the cluster is told of this node.
//!
//! In: sessions, problems, blocks, readiness. Out: a [`Picture`] of all that, again and again; what of it
//! is told, and when, decides the report. Ends with the daemon, and may be dropped anywhere.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use bgp::{config::PeerAs, rib::PeerId, session::State};
use routed_api::{ObjectProblem, SessionState};
use routed_cluster::{Counts, Picture, SessionSeen, Wanted};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use super::{Cluster, State as ClusterState};
use crate::{
    http::ready::{self, Readiness},
    peering::{LastError, PeerHandle, PeerStatus},
    sources::{Sources, in_time},
};

/// For as long as the daemon runs. `installed`: whether plugin and network are in their places; `None`:
/// others see to that.
pub(crate) async fn report(
    cluster: Cluster,
    sources: Sources,
    installed: Option<watch::Receiver<bool>>,
) {
    let mut peers = sources.peers.follow();
    let mut counted = Counted::default();
    loop {
        counted.renew(&sources).await;
        let picture = cluster.picture(&sources, installed.as_ref(), &counted).await;
        cluster.0.report.show(picture);
        // Of what is no session, a change is no matter of seconds.
        if timeout(LOOK, peers.changed()).await.is_ok() {
            // What changes together is one picture.
            sleep(SETTLE).await;
            let _ = peers.statuses();
        }
    }
}

/// Routes of each peer, as they were counted last: the RIB is not asked for every picture.
#[derive(Default)]
struct Counted {
    /// Our AS and BGP identifier.
    identity: Option<(u32, Ipv4Addr)>,
    counts: BTreeMap<PeerId, Counts>,
    /// The sessions that were established then, and when that was.
    of: Option<(BTreeSet<PeerId>, Instant)>,
}

impl Counted {
    async fn renew(&mut self, sources: &Sources) {
        let is_up = |status: &PeerStatus| status.state == State::Established;
        let established = |peer: &&PeerHandle| peer.look(is_up);
        let up: BTreeSet<_> =
            sources.peers.list().iter().filter(established).map(|peer| peer.id).collect();
        let is_fresh = |(of, at): &(BTreeSet<PeerId>, Instant)| *of == up && at.elapsed() < COUNT;
        if self.of.as_ref().is_some_and(is_fresh) {
            return;
        }
        let ids: Vec<_> = sources.peers.list().iter().map(|peer| peer.id).collect();
        let Ok(counts) = in_time(sources.rib.peer_counts(ids.clone())).await else { return };
        if let Ok((router, _)) = in_time(sources.rib.router_and_sessions()).await {
            self.identity = Some((router.asn.0, router.router_id));
        }
        let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let all = ids.into_iter().zip(counts).map(|(id, families)| {
            let sum = families.iter().fold(Counts::default(), |sum, family| Counts {
                received: sum.received + count(family.received),
                accepted: sum.accepted + count(family.accepted),
                advertised: sum.advertised + count(family.advertised),
            });
            (id, sum)
        });
        self.counts = all.collect();
        self.of = Some((up, Instant::now()));
    }
}

impl Cluster {
    /// See [`routed_cluster::ReportHandle::farewell`].
    pub(crate) async fn farewell(&self) {
        self.0.report.farewell().await;
    }

    async fn picture(
        &self,
        sources: &Sources,
        installed: Option<&watch::Receiver<bool>>,
        counted: &Counted,
    ) -> Picture {
        let Readiness { mut ready, serves } = ready::readiness(sources).await;
        for missing in missing(sources, installed).await {
            let before = ready.err().map(|before| format!("{before}; ")).unwrap_or_default();
            ready = Err(before + missing);
        }
        let has_addresses = has_addresses(sources).await;
        let known = self.0.known.borrow();
        let blocks = self.0.blocks.borrow();
        let state = self.state();
        let node = known.objects.as_ref().and_then(|objects| objects.nodes.get(&self.0.node));
        Picture {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            identity: counted.identity,
            sessions: sessions(sources, &state, counted),
            problems: state.wanted.as_ref().map(problems).unwrap_or_default(),
            refused: state.refused.as_ref().map(|(why, _)| why.clone()),
            exhausted: blocks.exhausted.clone(),
            lost: blocks.lost.iter().map(|block| block.prefix.to_string()).collect(),
            ready,
            serves,
            has_addresses,
            node_uid: node.map(|node| node.uid.clone()).filter(|uid| !uid.is_empty()),
            nodes: known.objects.as_ref().map_or(0, |objects| objects.nodes.len()),
        }
    }
}

/// What pods need besides what `/readyz` looks at.
async fn missing(
    sources: &Sources,
    installed: Option<&watch::Receiver<bool>>,
) -> Vec<&'static str> {
    let mut missing = Vec::new();
    if installed.is_some_and(|installed| !*installed.borrow()) {
        missing.push("the plugin and its network are not in their places yet");
    }
    if let Some(pods) = &sources.pods
        && let Ok(true) = in_time(pods.lacks_rules()).await
    {
        missing.push("the kernel refuses rules that pods need; the log of the daemon says which");
    }
    missing
}

/// Is there an address for one more pod?
async fn has_addresses(sources: &Sources) -> bool {
    let Some(pods) = &sources.pods else { return true };
    let pools = in_time(pods.pools()).await.unwrap_or_default();
    pools.iter().any(|pool| pool.leased + pool.cooling < pool.size)
}

fn problems(wanted: &Wanted) -> Vec<ObjectProblem> {
    let problems = wanted.problems.iter().flat_map(|(object, problems)| {
        problems.iter().map(move |problem| ObjectProblem {
            object: object.to_string(),
            reason: problem.reason.to_owned(),
            message: problem.message.clone(),
        })
    });
    problems.collect()
}

fn sessions(sources: &Sources, state: &ClusterState, counted: &Counted) -> Vec<SessionSeen> {
    let peers = sources.peers.list();
    let look = |peer: &PeerHandle| {
        peer.look(|status| status.wanted.then(|| session(peer, status, state, counted)))
    };
    peers.iter().filter_map(look).collect()
}

fn session(
    peer: &PeerHandle,
    status: &PeerStatus,
    state: &ClusterState,
    counted: &Counted,
) -> SessionSeen {
    let settings = &peer.settings;
    let name = &*settings.name;
    let asked = state.wanted.as_ref().and_then(|wanted| wanted.sessions.get(name));
    // No object has a name with a colon.
    let is_mesh = name.starts_with("node:") || name.starts_with("reflector:");
    let peer_name = match asked {
        Some(peer) => peer.clone(),
        None if is_mesh => name.to_owned(),
        None => format!("file:{name}"),
    };
    let address = settings.address.interface().map(ToString::to_string);
    let address = address.or_else(|| status.peer.map(|peer| peer.ip().to_string()));
    let configured = match &settings.session.peer_asn {
        PeerAs::Exact(asn) => Some(*asn),
        PeerAs::Internal => Some(settings.session.local_asn),
        PeerAs::External | PeerAs::OneOf(_) => None,
    };
    let agreed = status.negotiated.as_ref().map(|agreed| agreed.peer_asn);
    let error = |error: &LastError| match error.remedy() {
        Some(remedy) => format!("{error}; {remedy}"),
        None => error.to_string(),
    };
    SessionSeen {
        peer: peer_name,
        is_mesh: asked.is_none() && is_mesh,
        address: address.unwrap_or_default(),
        asn: agreed.or(configured).map(|asn| asn.0),
        state: shown(status.state),
        since: status.since,
        error: status.last_error.as_ref().map(error),
        counts: counted.counts.get(&peer.id).copied(),
    }
}

const fn shown(state: State) -> SessionState {
    match state {
        State::Idle => SessionState::Idle,
        State::Connect => SessionState::Connect,
        State::Active => SessionState::Active,
        State::OpenSent => SessionState::OpenSent,
        State::OpenConfirm => SessionState::OpenConfirm,
        State::Established => SessionState::Established,
    }
}

/// How often everything is looked at though no session has changed.
const LOOK: Duration = Duration::from_secs(2);
/// From a change of a session to the picture.
const SETTLE: Duration = Duration::from_millis(200);
/// How old counts of routes may be while no session has changed.
const COUNT: Duration = Duration::from_secs(30);
