//! The configuration follows the cluster, and the blocks follow what pods need.
//!
//! In: changes of what is known and of the node's blocks, of the use of addresses. Out: reloads; to the
//! claims, which pools there are, how full the blocks are, and which were let go. Ends with the daemon,
//! and may be dropped anywhere.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::{Duration, Instant},
};

use bgp::{prefix::Prefix, session::State};
use routed_core::attachment::PodName;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::{Cluster, Plan, SECRETS, SETTLE, USE};
use crate::{
    node::{NodeHandle, Stopped},
    peering::{PeerStatus, Peers},
    reload::{ReloadError, ReloadHandle},
};

/// For as long as the daemon runs. `node` is `None` on a router without pods.
pub(crate) async fn follow(
    cluster: Cluster,
    reload: ReloadHandle,
    peers: Peers,
    node: Option<NodeHandle>,
) {
    let counted = cluster.clone();
    let count = async {
        match &node {
            Some(node) => counted.count(node).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = cluster.reload(&reload, &peers, node.as_ref()) => {}
        () = count => {}
    }
}

impl Cluster {
    /// Reloads whenever something else comes of the cluster.
    async fn reload(&self, reload: &ReloadHandle, peers: &Peers, node: Option<&NodeHandle>) {
        let (mut known, mut blocks) = (self.0.known.clone(), self.0.blocks.clone());
        let mut ticks = interval(SESSIONS);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut seen = None;
        loop {
            let version = known.borrow_and_update().version;
            let have = blocks.borrow_and_update().clone();
            let sessions = sessions(peers);
            let Ok(moved) = self.moved(node).await else { return };
            let clients = clients(peers);
            let lingers = self.state().lingers();
            let now =
                Some((version, have, sessions.clone(), clients.clone(), moved.clone(), lingers));
            if seen != now {
                seen = now;
                {
                    let mut state = self.state();
                    (state.sessions, state.clients, state.moved) = (sessions, clients, moved);
                }
                if let Err(Stopped) = self.bring_up_to_date(reload, node).await {
                    return;
                }
            }
            tokio::select! {
                changed = known.changed() => if changed.is_err() { return },
                changed = blocks.changed() => if changed.is_err() { return },
                _ = ticks.tick() => {}
            }
            // What changes together is one reload.
            sleep(SETTLE).await;
        }
    }

    async fn bring_up_to_date(
        &self,
        reload: &ReloadHandle,
        node: Option<&NodeHandle>,
    ) -> Result<(), Stopped> {
        let base = match crate::config::read_text(&self.0.base) {
            Ok(base) => base,
            Err(invalid) => return self.refused(&invalid.to_string()),
        };
        let Some(plan) = self.arranged(&base).await else { return Ok(()) };
        let Plan { wanted, passwords, blocks, .. } = plan;
        let differs = {
            let mut state = self.state();
            let differs = state.text != wanted.text || state.passwords != passwords;
            state.wanted = Some(wanted);
            differs
        };
        if differs {
            match reload.reload(false).await {
                Ok(_) => self.state().passwords = passwords,
                Err(ReloadError::Stopping) => return Err(Stopped),
                Err(error) => return self.refused(&error.to_string()),
            }
        }
        let Some(node) = node else { return Ok(()) };
        for block in blocks.leaving {
            if self.is_used(block, node).await? {
                self.0.claims.kept(block).await;
            } else {
                self.0.claims.withdrawn(block).await;
            }
        }
        Ok(())
    }

    /// The next change of anything is another attempt.
    fn refused(&self, why: &str) -> Result<(), Stopped> {
        let mut state = self.state();
        if state.refused.as_ref().is_none_or(|(before, _)| before != why) {
            tracing::error!(
                error = why,
                "what the cluster says cannot be put in force; nothing has changed"
            );
        }
        state.refused = Some((why.to_owned(), Instant::now()));
        Ok(())
    }

    /// What the configuration is to be, once those who must know of it do: the claims, and the watch of
    /// Secrets, for which it waits a little: a peer without its password would lose its session.
    pub(super) async fn arranged(&self, base: &str) -> Option<Plan> {
        let plan = self.plan(base)?;
        self.0.watch.want_secrets(&plan.wanted.secrets);
        self.0.claims.pools(plan.wanted.pools.clone(), plan.node_uid.clone()).await;
        let mut known = self.0.known.clone();
        let is_seen = |known: &routed_cluster::Known| {
            let objects = known.objects.as_ref();
            let has = |name| objects.is_some_and(|objects| objects.secrets.contains_key(name));
            plan.wanted.secrets.iter().all(|name| has(name) || known.seen_secrets.contains(name))
        };
        if is_seen(&known.borrow()) {
            return Some(plan);
        }
        let _ = timeout(SECRETS, known.wait_for(is_seen)).await;
        self.plan(base)
    }

    /// Addresses with an owner that a pod here still has although the API server, which is watched, knows no
    /// such pod of this node: it was deleted by force, say, and runs elsewhere.
    async fn moved(&self, node: Option<&NodeHandle>) -> Result<BTreeSet<IpAddr>, Stopped> {
        let owned: BTreeSet<IpAddr> = {
            let known = self.0.known.borrow();
            let objects = known.objects.as_ref().filter(|_| known.is_live);
            let reservations = objects.iter().flat_map(|objects| objects.reservations.values());
            let owned = reservations.filter(|reservation| reservation.spec.owner.is_some());
            let texts = owned.flat_map(|reservation| &reservation.spec.reserved_cidrs);
            texts.filter_map(|text| text.0.parse().ok()).collect()
        };
        let Some(node) = node.filter(|_| !owned.is_empty()) else { return Ok(BTreeSet::new()) };
        let pods = node.pods().await?;
        let known = self.0.known.borrow();
        let names = || known.objects.iter().flat_map(|objects| objects.pods.keys());
        let is_gone = |pod: &PodName| !names().any(|name| pod.may_be(name));
        let gone = pods.iter().filter(|pod| pod.wiring.pod.as_ref().is_some_and(is_gone));
        Ok(gone.flat_map(|pod| pod.wiring.lease.iter()).filter(|at| owned.contains(at)).collect())
    }

    /// Tells the claims how full the blocks are.
    async fn count(&self, node: &NodeHandle) {
        let mut ticks = interval(USE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = self.0.used.notified() => {}
            }
            let Ok(used) = used(node).await else { return };
            self.0.claims.used(used).await;
        }
    }

    /// Has a pod an address of this block?
    async fn is_used(&self, block: Prefix, node: &NodeHandle) -> Result<bool, Stopped> {
        let book = node.leases().await?;
        let mut leased = book.leased.iter().flat_map(|(_, lease)| lease.iter());
        Ok(leased.any(|address| block.contains(address)))
    }
}

/// The sessions by name, and whether each has been established for a while.
fn sessions(peers: &Peers) -> BTreeMap<String, bool> {
    let has_settled = |status: &PeerStatus| {
        let since = status.since.filter(|_| status.state == State::Established);
        since.is_some_and(|since| since.elapsed() >= SETTLED)
    };
    let peers = peers.list();
    peers.iter().map(|peer| (peer.settings.name.to_string(), has_settled(&peer.status()))).collect()
}

/// The sessions to which this node passes on what others announce.
fn clients(peers: &Peers) -> BTreeSet<String> {
    let peers = peers.list();
    let clients = peers.iter().filter(|peer| peer.settings.rib.route_reflector_client);
    clients.map(|peer| peer.settings.name.to_string()).collect()
}

/// Addresses in use of each range, those among them that cool down.
async fn used(node: &NodeHandle) -> Result<BTreeMap<Prefix, u128>, Stopped> {
    let ranges =
        node.pools().await?.into_iter().map(|pool| (pool.prefix, pool.leased + pool.cooling));
    let former = node.former_ranges().await?.into_iter();
    let former = former.map(|(range, leased)| (range, leased as u128));
    Ok(ranges.chain(former).collect())
}

/// How often it is looked which sessions have settled.
const SESSIONS: Duration = Duration::from_secs(15);
/// How long a session must have been established to be relied on.
const SETTLED: Duration = Duration::from_secs(60);
