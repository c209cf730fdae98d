//! What the leader does, a round at a time.
//!
//! In: complete listings of reports, claims and objects, and what this daemon knows of nodes and pools. Out:
//! conditions, events, and claims of dead nodes deleted. What is decided is in `orphans`, `verdict` and
//! `leaks`. Every change is of exactly the version that was seen, and none begins once the leader's time is
//! over: whoever leads next does not meet a change that is late.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::Condition,
    jiff::{SignedDuration, Timestamp},
};
use serde_json::json;
use tokio::{sync::watch, time::sleep};

use super::{
    Findings,
    api::{Api, Judged, KINDS, Kind, ORPHANED},
    leaks::Leaks,
    orphans::{Act, Block, GONE, Listing, Orphans, RUNS},
    verdict::{Reports, Sessions, Verdict, with},
};
use crate::{Failure, Known, watch::Pace};

/// See the module.
pub(super) struct Duties {
    api: Api,
    known: watch::Receiver<Known>,
    /// Until when this daemon leads.
    until: watch::Receiver<Option<Instant>>,
    findings: Arc<watch::Sender<Findings>>,
    after: Duration,
    orphans: Orphans,
    leaks: Leaks,
    /// Which generation of each object there is, and since when: what nodes say of one that has just
    /// changed may be about the one before.
    generations: BTreeMap<String, (Option<i64>, Instant)>,
    /// When the sessions of each BGPPeer were written last.
    counted: BTreeMap<String, Instant>,
}

/// Why a round was not done.
enum Undone {
    /// The leader's time is over.
    Over,
    Failed(Failure),
}

impl From<Failure> for Undone {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// What is known of the cluster by the watch.
struct Picture {
    nodes: BTreeSet<String>,
    pools: BTreeSet<String>,
}

/// What was listed.
struct Listed {
    reports: Reports,
    listing: Listing,
    /// Conditions of the blocks of the listing, by name.
    conditions: BTreeMap<String, Vec<Condition>>,
    leaked: BTreeSet<String>,
}

impl Duties {
    pub(super) fn new(
        api: Api,
        known: watch::Receiver<Known>,
        until: watch::Receiver<Option<Instant>>,
        findings: Arc<watch::Sender<Findings>>,
        after: Duration,
    ) -> Self {
        Self {
            api,
            known,
            until,
            findings,
            after,
            orphans: Orphans::new(after),
            leaks: Leaks::new(after),
            generations: BTreeMap::new(),
            counted: BTreeMap::new(),
        }
    }

    /// As long as this daemon leads; may be dropped anywhere.
    pub(super) async fn run(mut self) {
        let mut pace = Pace::new();
        loop {
            let wait = match self.round().await {
                Ok(nodes) => {
                    pace.succeeded();
                    self.findings.send_modify(|findings| findings.error = None);
                    self.period(nodes)
                }
                Err(Undone::Over) => FIRST,
                Err(Undone::Failed(failure)) => {
                    tracing::debug!(error = %failure, "a round of the leader failed");
                    let wait = pace.failed(failure.wait);
                    self.findings.send_modify(|findings| findings.error = Some(failure.text));
                    wait.max(FIRST)
                }
            };
            sleep(wait).await;
        }
    }

    /// From one round to the next: a large cluster costs more.
    fn period(&self, nodes: usize) -> Duration {
        let nodes = u32::try_from(nodes).unwrap_or(u32::MAX);
        ROUND.max(EACH.saturating_mul(nodes)).min(self.after / 3).max(FIRST)
    }

    fn may_act(&self) -> Result<(), Undone> {
        match *self.until.borrow() {
            Some(until) if Instant::now() < until => Ok(()),
            Some(_) | None => Err(Undone::Over),
        }
    }

    /// What this daemon knows, if it is all there is: who does not watch the cluster decides nothing.
    fn picture(&self) -> Option<Picture> {
        let known = self.known.borrow();
        let is_watched = known.is_live && known.connection.since.is_some();
        let objects = known.objects.as_ref().filter(|_| is_watched)?;
        let (nodes, pools) = (objects.nodes.keys(), objects.pools.keys());
        Some(Picture { nodes: nodes.cloned().collect(), pools: pools.cloned().collect() })
    }

    /// One round; so many nodes there are.
    async fn round(&mut self) -> Result<usize, Undone> {
        self.may_act()?;
        let Some(picture) = self.picture() else { return Ok(0) };
        let asked = Instant::now();
        let listed = self.list(&picture).await?;
        let acts = self.orphans.observe(&listed.listing, asked);
        for leak in self.leaks.observe(&listed.leaked, asked) {
            tracing::warn!("nobody owns {leak}; delete what is not needed");
        }
        let findings = Findings {
            orphans: self.orphans.orphans(&listed.listing).collect(),
            leaked: self.leaks.list().map(str::to_owned).collect(),
            error: None,
        };
        self.findings.send_replace(findings);
        let mut freed = 0;
        for act in acts {
            if matches!(act, Act::Free(_)) {
                freed += 1;
                if freed > FREED {
                    continue;
                }
            }
            self.carry_out(act, &listed.conditions).await?;
        }
        for kind in KINDS {
            self.judge(kind, &listed.reports).await?;
        }
        Ok(picture.nodes.len())
    }

    async fn list(&self, picture: &Picture) -> Result<Listed, Failure> {
        let mut listed = Listed {
            reports: Reports::default(),
            listing: Listing::default(),
            conditions: BTreeMap::new(),
            leaked: BTreeSet::new(),
        };
        let reports = self.api.reports(|report| {
            let node = report.metadata.name;
            if picture.nodes.contains(&node) {
                listed.reports.add(&node, report.status);
                return;
            }
            listed.leaked.insert(format!("BGPNodeStatus/{node} (there is no such Node)"));
            let sign = report.status.last_updated.map(|time| time.0.to_string());
            listed.listing.signs.insert(node, sign.unwrap_or_default());
        });
        reports.await?;
        let blocks = self.api.blocks(|block| {
            let (block, conditions) = block.into_block();
            if !picture.pools.contains(&block.pool) {
                let pool = &block.pool;
                listed
                    .leaked
                    .insert(format!("the IPBlocks of IPPool/{pool} (there is no such IPPool)"));
            }
            if block.orphaned.is_some() || !picture.nodes.contains(&block.node) {
                listed.conditions.insert(block.name.clone(), conditions);
                listed.listing.blocks.push(block);
            }
        });
        blocks.await?;
        // Few clusters have any; of the others the watch says enough.
        listed.listing.nodes = match listed.listing.blocks.is_empty() {
            true => picture.nodes.clone(),
            false => self.api.nodes().await?,
        };
        Ok(listed)
    }

    async fn carry_out(
        &self,
        act: Act,
        conditions: &BTreeMap<String, Vec<Condition>>,
    ) -> Result<(), Undone> {
        match act {
            Act::Tell(block, rest) => {
                let rest = SignedDuration::try_from(rest).unwrap_or(SignedDuration::MAX);
                let at = Timestamp::now().saturating_add(rest).unwrap_or(Timestamp::MAX);
                let at = at.strftime("%Y-%m-%dT%H:%M:%SZ");
                let Block { node, name, .. } = &block;
                let message = format!(
                    "there is no Node {node} any more, and nothing is heard of its daemon; the block is \
                     freed after {at} unless the Node comes back or its daemon is heard of"
                );
                let is_new = block.orphaned.is_none();
                self.say(&block, conditions, (true, GONE, &message)).await?;
                if is_new {
                    tracing::warn!(node, block = name, "the node of this block is gone; {message}");
                    self.api.event(&block, "BlockOrphaned", "Observe", &message).await?;
                }
            }
            Act::TellItRuns(block) => {
                let node = &block.node;
                let message = format!(
                    "there is no Node {node}, but its daemon still reports or claims, so pods may have \
                     addresses of the block: it is kept. Register the Node again, or end the machine"
                );
                self.say(&block, conditions, (true, RUNS, &message)).await?;
            }
            Act::TellItIsBack(block) => {
                let message = format!("Node {} is there", block.node);
                self.say(&block, conditions, (false, "NodeExists", &message)).await?;
            }
            Act::Free(block) => self.free(&block).await?,
        }
        Ok(())
    }

    async fn say(
        &self,
        block: &Block,
        conditions: &BTreeMap<String, Vec<Condition>>,
        (holds, reason, message): (bool, &str, &str),
    ) -> Result<(), Undone> {
        let verdict = Verdict { holds, reason: reason.to_owned(), message: message.to_owned() };
        let before = conditions.get(&block.name).map_or(&[][..], Vec::as_slice);
        if let Some(conditions) = with(before, ORPHANED, &verdict, None, Timestamp::now()) {
            self.may_act()?;
            self.api.write_conditions(block, &conditions).await?;
        }
        Ok(())
    }

    async fn free(&self, block: &Block) -> Result<(), Undone> {
        // The last look: between the listing and now it may have come back.
        if !self.api.is_gone(&block.node).await? {
            return Ok(());
        }
        self.may_act()?;
        if self.api.free(block).await? {
            let Block { node, name, pool, .. } = block;
            tracing::warn!(node, block = name, pool, "the block of a node that is gone is freed");
            let note = format!(
                "Node {node} was gone for {} s and nothing was heard of its daemon; other nodes can claim \
                 the block",
                self.after.as_secs()
            );
            self.api.event(block, "BlockFreed", "Delete", &note).await?;
        }
        Ok(())
    }

    /// Conditions of one kind.
    async fn judge(&mut self, kind: Kind, reports: &Reports) -> Result<(), Undone> {
        let objects = self.api.objects(kind).await?;
        let names: BTreeSet<_> = objects.iter().map(|object| key(kind, object)).collect();
        let beginning = format!("{}/", kind.kind);
        self.generations.retain(|name, _| !name.starts_with(&beginning) || names.contains(name));
        if kind.kind == PEER {
            self.counted.retain(|name, _| names.contains(name));
        }
        for object in objects {
            let (name, now) = (key(kind, &object), Instant::now());
            let generation = object.metadata.generation;
            let seen = self.generations.entry(name.clone()).or_insert((generation, now));
            if seen.0 != generation {
                *seen = (generation, now);
            }
            let settled = now.saturating_duration_since(seen.1) >= SETTLE.min(self.after);
            let Some(verdict) = reports.verdict(&name).filter(|_| settled) else { continue };
            let before = &object.status.conditions;
            let conditions = with(before, ACCEPTED, &verdict, generation, Timestamp::now());
            let mut status = json!({});
            if let Some(conditions) = conditions {
                status["conditions"] = json!(conditions);
            }
            if kind.kind == PEER {
                let Sessions { all, established } = reports.sessions(&object.metadata.name);
                let there = (object.status.sessions, object.status.established);
                let is_due = self.counted.get(&name).is_none_or(|at| at.elapsed() >= COUNT);
                if there != (Some(all), Some(established)) && is_due {
                    status["sessions"] = json!(all);
                    status["established"] = json!(established);
                    self.counted.insert(name, now);
                }
            }
            if status.as_object().is_some_and(|status| !status.is_empty()) {
                self.may_act()?;
                self.api.write_status(kind, &object.metadata, status).await?;
            }
        }
        Ok(())
    }
}

fn key(kind: Kind, object: &Judged) -> String {
    format!("{}/{}", kind.kind, object.metadata.name)
}

/// Condition of the kinds that people write.
const ACCEPTED: &str = "Accepted";
/// Its sessions are counted.
const PEER: &str = "BGPPeer";
/// From one round to the next in a small cluster.
const ROUND: Duration = Duration::from_secs(20);
/// The same for each node of a large one.
const EACH: Duration = Duration::from_millis(30);
/// The shortest wait.
const FIRST: Duration = Duration::from_secs(1);
/// Until all nodes have said what they make of an object that has changed.
const SETTLE: Duration = Duration::from_secs(15);
/// From one count of a peer's sessions to the next: every node hears of it.
const COUNT: Duration = Duration::from_secs(60);
/// Blocks that are freed in one round.
const FREED: usize = 100;
