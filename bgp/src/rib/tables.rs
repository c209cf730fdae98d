//! The tables as people see them: every path with its verdict, what came from a peer, what goes
//! to it, and how many of each.
//!
//! Changes nothing and keeps nothing: all of it is worked out when somebody asks.

use std::sync::Arc;

use super::{
    ImportCounts, PathView, PeerCounts, PeerId, Rib, ToldView, dest::PathKey, export::Exporter,
    peer::Peer,
};
use crate::{family::Family, prefix::Prefix};

/// How much a RIB holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RibSizes {
    /// Prefixes known, with or without a path in use. One that a peer must still be told is gone
    /// counts.
    pub destinations: usize,
    /// Paths of all Adj-RIBs-In.
    pub paths_received: usize,
    /// Different sets of attributes. Those out of use are swept from time to time and count
    /// until then.
    pub attribute_sets: usize,
}

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
    /// paths that it is not told, why; in families with several paths the same for each of them.
    #[must_use]
    pub fn advertised(&self, peer: PeerId) -> Vec<ToldView> {
        let Some(state) = self.peers.get(&peer) else { return Vec::new() };
        let judge = self.judge();
        let mut exporter = Exporter::new(self.us(), (peer, &state.up), Arc::new);
        let dests = self.loc.sorted(|dest| dest.best().is_some());
        let mut all = Vec::new();
        for dest in dests {
            let shown = exporter.shown(judge, dest).into_iter();
            all.extend(shown.map(|(path, outcome)| ToldView {
                prefix: dest.prefix,
                path_id: state.up.number_told(path, dest.prefix.family()),
                peer: path.key.from,
                outcome,
            }));
        }
        all
    }

    /// Counts of a peer for one family.
    #[must_use]
    pub fn peer_counts(&self, peer: PeerId, family: Family) -> PeerCounts {
        self.peers.get(&peer).map(|state| state.counts(family)).unwrap_or_default()
    }

    /// How much it holds at this moment.
    #[must_use]
    pub fn sizes(&self) -> RibSizes {
        let received = |peer: &Peer| {
            let counts = Family::ALL.map(|family| peer.counts(family).received);
            counts.into_iter().sum::<usize>()
        };
        RibSizes {
            destinations: self.loc.len(),
            paths_received: self.peers.values().map(received).sum(),
            attribute_sets: self.attrs.len(),
        }
    }

    /// What became of what a peer announced since its session began.
    #[must_use]
    pub fn import_counts(&self, peer: PeerId) -> ImportCounts {
        self.peers.get(&peer).map(|state| state.imports).unwrap_or_default()
    }

    /// Prefixes in the Loc-RIB of a family.
    #[must_use]
    pub fn best_count(&self, family: Family) -> usize {
        self.loc.in_use(family)
    }
}
