//! The tables as people see them: every path with its verdict, what came from a peer, what goes
//! to it, and how many of each.
//!
//! Changes nothing and keeps nothing: all of it is worked out when somebody asks.

use std::sync::Arc;

use super::{NotAdvertised, PathView, PeerCounts, PeerId, Rib, dest::PathKey, export::Exporter};
use crate::{attrs::Attrs, family::Family, prefix::Prefix};

impl Rib {
    /// Every prefix of the Loc-RIB and Adj-RIBs-In with all its paths, in prefix order.
    pub fn routes(&self) -> impl Iterator<Item = (Prefix, Vec<PathView>)> {
        let judge = self.judge();
        let dests = self.loc.sorted(|dest| !dest.paths().is_empty());
        dests.into_iter().map(move |dest| (dest.prefix, judge.verdicts(dest)))
    }

    /// The peer's Adj-RIB-In in prefix order: attributes as received (before policy), and verdict.
    #[must_use]
    pub fn received(&self, peer: PeerId) -> Vec<(Prefix, PathView)> {
        let Some(state) = self.peers.get(&peer) else { return Vec::new() };
        let mut dests: Vec<_> = state.received.iter().map(|id| self.loc.get(id)).collect();
        dests.sort_unstable_by_key(|dest| dest.prefix);
        let judge = self.judge();
        let views = dests.into_iter().flat_map(|dest| {
            let views = judge.verdicts(dest).into_iter().filter(|view| view.peer == Some(peer));
            views.filter_map(|view| {
                let key = PathKey { from: view.peer, path_id: view.path_id };
                let attrs = Arc::clone(&dest.path(key)?.received);
                Some((dest.prefix, PathView { attrs, ..view }))
            })
        });
        views.collect()
    }

    /// The peer's Adj-RIB-Out in prefix order: what it was or is about to be told, and for best
    /// paths that it is not told, why.
    #[must_use]
    pub fn advertised(&self, peer: PeerId) -> Vec<(Prefix, Result<Arc<Attrs>, NotAdvertised>)> {
        let Some(state) = self.peers.get(&peer) else { return Vec::new() };
        let judge = self.judge();
        let mut exporter = Exporter::new(self.us(), (peer, &state.up), Arc::new);
        let dests = self.loc.sorted(|dest| dest.best().is_some());
        dests
            .into_iter()
            .filter_map(|dest| Some((dest.prefix, exporter.export(dest.prefix, judge.best(dest)?))))
            .collect()
    }

    /// Counts of a peer for one family.
    #[must_use]
    pub fn peer_counts(&self, peer: PeerId, family: Family) -> PeerCounts {
        self.peers.get(&peer).map(|state| state.counts(family)).unwrap_or_default()
    }

    /// Prefixes in the Loc-RIB of a family.
    #[must_use]
    pub fn best_count(&self, family: Family) -> usize {
        self.loc.in_use(family)
    }
}
