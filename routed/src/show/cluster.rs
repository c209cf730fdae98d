//! The node's cluster for people.

use std::{fmt::Write as _, fs};

use super::{
    ShowError,
    table::{Align, Table, age},
    view::{ClaimView, ClusterView, OrphanView},
};

/// How the node stands to it; there is one.
pub(super) fn text(clusters: &[ClusterView]) -> String {
    clusters.first().map_or_else(
        || "this node has no cluster: routed.toml has no [kubernetes]\n".to_owned(),
        ClusterView::text,
    )
}

/// The text of the configuration in force.
pub(super) fn config(clusters: &[ClusterView]) -> Result<String, ShowError> {
    let Some(ClusterView { effective, .. }) = clusters.first() else {
        return Ok("# all that holds is in the node's own file: routed.toml has no [kubernetes]\n"
            .to_owned());
    };
    fs::read_to_string(effective)
        .map_err(|source| ShowError::Connect { path: effective.clone(), source })
}

impl ClusterView {
    fn text(&self) -> String {
        let mut text = format!("node         {}\n", self.node);
        let mut line = |key: &str, value: String| {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{key:<12} {value}");
        };
        line(
            "API server",
            match self.watched_seconds {
                Some(seconds) => format!("watched for {}", age(seconds)),
                None => "not watched; what is known holds".to_owned(),
            },
        );
        for failing in &self.failing {
            line("  failing", failing.clone());
        }
        if let (Some(error), Some(seconds)) = (&self.last_error, self.last_error_seconds) {
            line("  last error", format!("{error}, {} ago", age(seconds)));
        }
        line("known from", if self.from_disk { "the disk" } else { "the API server" }.to_owned());
        line(
            "objects",
            format!(
                "{} nodes, {} pods of this node, {} IPPools, {} BGPPeers, {} BGPPolicies",
                self.nodes, self.pods, self.pools, self.peers, self.policies
            ),
        );
        line(
            "config",
            match &self.refused {
                None => format!("in force: {}", self.effective.display()),
                Some(why) => format!("NOT in force: {why}"),
            },
        );
        for pool in &self.exhausted_pools {
            line("exhausted", format!("IPPool/{pool}: every block is claimed; add another IPPool"));
        }
        for block in &self.lost_blocks {
            line("lost", format!("{block}: another node has it; delete the pods that use it"));
        }
        if let Some(error) = &self.claims_error {
            line("claims", error.clone());
        }
        line(
            "reported",
            match self.reported_seconds {
                Some(seconds) => format!("{} ago", age(seconds)),
                None => "not yet".to_owned(),
            },
        );
        for what in &self.unreported {
            line("  failing", what.clone());
        }
        self.leadership(&mut line);
        for problem in &self.problems {
            line("not heeded", format!("{}: {}", problem.object, problem.message));
        }
        text + "\n" + &claims(&self.claims)
    }
}

impl ClusterView {
    /// Who leads, and what the leader is about to do.
    fn leadership(&self, line: &mut impl FnMut(&str, String)) {
        let leader = match &self.leader {
            Some(_) if self.leads => "this node".to_owned(),
            Some(node) => node.clone(),
            None => "not known".to_owned(),
        };
        line("leader", leader);
        if let Some(error) = &self.leader_error {
            line("  failing", error.clone());
        }
        for OrphanView { block, node, freed_in_seconds } in &self.orphaned_blocks {
            let what = match freed_in_seconds {
                Some(seconds) => format!("freed in {} unless it comes back", age(*seconds)),
                None => "kept, since its daemon is there".to_owned(),
            };
            line("orphaned", format!("IPBlock/{block}: there is no Node {node}; {what}"));
        }
        for leaked in &self.leaked {
            line("nobody's", leaked.clone());
        }
    }
}

fn claims(claims: &[ClaimView]) -> String {
    let mut table = Table::new()
        .column("BLOCK", Align::Left)
        .column("POOL", Align::Left)
        .column("NEW PODS", Align::Left);
    for ClaimView { block, pool, leasable } in claims {
        let new = if *leasable { "yes" } else { "no" };
        table.row([block.to_string(), pool.clone(), new.to_owned()]);
    }
    table.to_string()
}
