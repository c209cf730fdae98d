//! Blocks of nodes that are gone.
//!
//! In: what complete listings say of blocks, nodes and nodes' reports. Out: what is to be told of each
//! block, and which are to be freed.
//!
//! A Node object that is gone does not say that the machine is: its pods may well be reachable, and
//! their addresses must not be given again. So a block is freed only if
//!
//! * its node was missing in every listing for as long as the settings say, in two at least;
//! * the block's condition has said so since an earlier listing, so that whoever looks can act;
//! * in all that time the machine gave no sign of life: its daemon writes its BGPNodeStatus every few
//!   minutes, and claims blocks as it needs them. A sign begins the time anew.
//!
//! A node that comes back has its blocks as before. A listing without any node says nothing. Whoever
//! leads next begins to count anew: nothing but the conditions outlives the leader.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

/// One claim, as it was listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Block {
    /// Of the object.
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) version: String,
    pub(super) node: String,
    pub(super) pool: String,
    /// Reason of its condition `Orphaned`, if that is true.
    pub(super) orphaned: Option<String>,
}

/// What was listed: all of it, or the listing is none.
#[derive(Clone, Debug, Default)]
pub(super) struct Listing {
    /// Names of nodes.
    pub(super) nodes: BTreeSet<String>,
    /// Blocks of nodes that may be gone, and those that are told to be orphaned.
    pub(super) blocks: Vec<Block>,
    /// Of each node what changes whenever its daemon reports.
    pub(super) signs: BTreeMap<String, String>,
}

/// What is to be done about a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// Tell that its node is gone, and that it is freed after so long.
    Tell(Block, Duration),
    /// Tell that its node is gone and its machine is not.
    TellItRuns(Block),
    /// Tell that its node is there again.
    TellItIsBack(Block),
    /// Delete the claim, if it still is this one, and if the node still is not there.
    Free(Block),
}

/// See the module.
#[derive(Debug)]
pub(super) struct Orphans {
    after: Duration,
    suspects: BTreeMap<String, Suspect>,
}

/// A node without an object that has blocks.
#[derive(Debug)]
struct Suspect {
    /// Since when there was neither an object nor a sign.
    since: Instant,
    /// Listings since then.
    listings: u32,
    sign: Option<String>,
    /// `metadata.uid` of its claims.
    claims: BTreeSet<String>,
    /// Whether it gave a sign since its object is missing.
    runs: bool,
    /// Whether this leader has told of it.
    told: bool,
}

/// A block that is about to be freed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Orphan {
    /// The name of the IPBlock.
    pub block: String,
    /// Its node, which is gone.
    pub node: String,
    /// When it is freed at the earliest; `None`: not, since the machine is there.
    pub freed: Option<Instant>,
}

impl Orphans {
    /// Nothing is known. Blocks are freed after that time.
    pub(super) const fn new(after: Duration) -> Self {
        Self { after, suspects: BTreeMap::new() }
    }

    /// What follows from a listing that was complete and was asked for then.
    pub(super) fn observe(&mut self, listing: &Listing, asked: Instant) -> Vec<Act> {
        if listing.nodes.is_empty() {
            return Vec::new();
        }
        let mut by_node: BTreeMap<&str, Vec<&Block>> = BTreeMap::new();
        for block in &listing.blocks {
            by_node.entry(&block.node).or_default().push(block);
        }
        let is_suspect = |node: &str| !listing.nodes.contains(node) && by_node.contains_key(node);
        self.suspects.retain(|node, _| is_suspect(node));
        let mut acts = Vec::new();
        for (node, blocks) in &by_node {
            if listing.nodes.contains(*node) {
                let told = blocks.iter().filter(|block| block.orphaned.is_some());
                acts.extend(told.map(|block| Act::TellItIsBack((*block).clone())));
            } else {
                acts.extend(self.suspect(node, blocks, listing.signs.get(*node), asked));
            }
        }
        acts
    }

    fn suspect(
        &mut self,
        node: &str,
        blocks: &[&Block],
        sign: Option<&String>,
        asked: Instant,
    ) -> Vec<Act> {
        let claims: BTreeSet<_> = blocks.iter().map(|block| block.uid.clone()).collect();
        let suspect = self.suspects.entry(node.to_owned()).or_insert_with(|| Suspect {
            since: asked,
            listings: 0,
            sign: sign.cloned(),
            claims: claims.clone(),
            runs: false,
            told: false,
        });
        // A report that is gone went with the Node object, or somebody has deleted it.
        let reports = sign.is_some() && suspect.sign.as_ref() != sign;
        let claims_anew = !claims.is_subset(&suspect.claims);
        if reports || claims_anew {
            let (claims, sign) = (BTreeSet::new(), sign.cloned());
            *suspect = Suspect { since: asked, listings: 0, sign, claims, runs: true, told: false };
        }
        suspect.claims = claims;
        suspect.listings = suspect.listings.saturating_add(1);
        let waited = asked.saturating_duration_since(suspect.since);
        let is_over = suspect.listings > 1 && waited >= self.after;
        if is_over {
            // If it ever ran without its object, it has stopped.
            suspect.runs = false;
        }
        let (told, runs) = (std::mem::replace(&mut suspect.told, true), suspect.runs);
        let act = |block: &&Block| {
            let says = |reason: &str| block.orphaned.as_deref() == Some(reason);
            match (is_over, runs) {
                (true, _) if says(GONE) => Some(Act::Free((*block).clone())),
                (false, true) => (!says(RUNS) || !told).then(|| Act::TellItRuns((*block).clone())),
                (true, _) | (false, false) => {
                    let rest = self.after.saturating_sub(waited);
                    (!says(GONE) || !told).then(|| Act::Tell((*block).clone(), rest))
                }
            }
        };
        blocks.iter().filter_map(act).collect()
    }

    /// Blocks of nodes that are gone.
    pub(super) fn orphans<'l>(&'l self, listing: &'l Listing) -> impl Iterator<Item = Orphan> + 'l {
        listing.blocks.iter().filter_map(|block| {
            let suspect = self.suspects.get(&block.node)?;
            let freed = (!suspect.runs).then(|| suspect.since + self.after);
            Some(Orphan { block: block.name.clone(), node: block.node.clone(), freed })
        })
    }
}

/// Reason of the condition: neither object nor sign.
pub(super) const GONE: &str = "NodeGone";
/// The object is gone, and the machine is there.
pub(super) const RUNS: &str = "MachineRuns";

#[cfg(test)]
mod tests;
