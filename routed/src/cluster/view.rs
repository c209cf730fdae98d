//! How the node stands to its cluster, for those who look.

use std::time::Instant;

use super::Cluster;
use crate::show::view::{ClaimView, ClusterView, ObjectProblemView, OrphanView};

impl Cluster {
    /// How it stands at this moment.
    pub(crate) fn view(&self) -> ClusterView {
        let ago = |at: Instant| at.elapsed().as_secs();
        let known = self.0.known.borrow();
        let blocks = self.0.blocks.borrow();
        let state = self.state();
        let connection = &known.connection;
        let reporting = self.0.report.reporting();
        let leadership = self.0.leader.leadership();
        let leadership = leadership.borrow();
        let objects = known.objects.as_ref();
        let count = |count: fn(&routed_cluster::Objects) -> usize| objects.map_or(0, count);
        let claim = |block: &routed_cluster::Block| ClaimView {
            block: block.prefix.into(),
            pool: block.pool.clone(),
            leasable: blocks.leasable.contains(block),
        };
        let problems = state.wanted.iter().flat_map(|wanted| &wanted.problems);
        let problems = problems.flat_map(|(object, problems)| {
            problems.iter().map(|problem| ObjectProblemView {
                object: object.to_string(),
                reason: problem.reason.to_owned(),
                message: problem.message.clone(),
            })
        });
        ClusterView {
            node: self.0.node.clone(),
            effective: self.0.effective.clone(),
            watched_seconds: connection.since.map(ago),
            from_disk: !known.is_live,
            failing: connection.failing.values().map(|failure| failure.text.clone()).collect(),
            last_error: connection.last_error.as_ref().map(|(text, _)| text.clone()),
            last_error_seconds: connection.last_error.as_ref().map(|(_, at)| ago(*at)),
            nodes: count(|objects| objects.nodes.len()),
            pods: count(|objects| objects.pods.len()),
            pools: count(|objects| objects.pools.len()),
            peers: count(|objects| objects.peers.len()),
            policies: count(|objects| objects.policies.len()),
            claims: blocks.announced.iter().map(claim).collect(),
            exhausted_pools: blocks.exhausted.iter().cloned().collect(),
            lost_blocks: blocks.lost.iter().map(|block| block.prefix.into()).collect(),
            claims_error: blocks.error.as_ref().map(|(text, _)| text.clone()),
            refused: state.refused.as_ref().map(|(text, _)| text.clone()),
            problems: problems.collect(),
            reported_seconds: reporting.written.map(ago),
            unreported: reporting
                .failing
                .iter()
                .map(|(what, why)| format!("{what}: {why}"))
                .collect(),
            leader: leadership.leader.clone(),
            leads: leadership.leads,
            orphaned_blocks: leadership.orphans.iter().map(orphan).collect(),
            leaked: leadership.leaked.clone(),
            leader_error: leadership.error.clone(),
        }
    }
}

fn orphan(orphan: &routed_cluster::Orphan) -> OrphanView {
    let rest = |at: Instant| at.saturating_duration_since(Instant::now()).as_secs();
    OrphanView {
        block: orphan.block.clone(),
        node: orphan.node.clone(),
        freed_in_seconds: orphan.freed.map(rest),
    }
}
