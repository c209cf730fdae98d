//! The tables as people see them: every path with its verdict, what came from a peer, what goes
//! to it, and how many of each.
//!
//! Changes nothing and keeps nothing: all of it is worked out when somebody asks.

use std::sync::Arc;

use super::{
    ImportCounts, NotAdvertised, PathView, PeerCounts, PeerId, Rib, ToldView,
    dest::{Dest, Path, PathKey},
    export::Exporter,
    peer::Peer,
};
use crate::{attrs::Attrs, config::Counted, family::Family, prefix::Prefix};

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

/// What a peer is told of one path.
pub(super) struct Shown<'d> {
    pub(super) path: &'d Path,
    /// Under which number; 0 where it is told of one at most.
    pub(super) number: u32,
    /// The attributes that it sees, or the reason why not.
    pub(super) outcome: Result<Arc<Attrs>, NotAdvertised>,
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
                let attrs = self.attrs.get(dest.path(key)?.received);
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
        let mut exporter = Exporter::new(self.us(), (peer, &state.up), Arc::new);
        let dests = self.loc.sorted(|dest| dest.best().is_some());
        let mut all = Vec::new();
        for dest in dests {
            let shown = self.shown(state, &mut exporter, dest).into_iter();
            all.extend(shown.map(|Shown { path, number, outcome }| ToldView {
                prefix: dest.prefix,
                path_id: number,
                peer: path.from(),
                outcome,
            }));
        }
        all
    }

    /// What a peer is told of a destination, path by path.
    pub(super) fn shown<'d, F: FnMut(Attrs) -> Arc<Attrs>>(
        &'d self,
        state: &Peer,
        exporter: &mut Exporter<'_, F>,
        dest: &'d Dest,
    ) -> Vec<Shown<'d>> {
        let family = dest.prefix.family();
        // A limit is the one thing that depends on what it was told already.
        let held_back = self.loc.find(dest.prefix).and_then(|id| {
            let out = state.out.as_ref().filter(|out| out.is_held_back(family, id))?;
            let told = out.told_of(state.monitored.id, &self.groups, (family, id));
            Some(told.into_iter().map(|(number, _)| number).collect::<Vec<_>>())
        });
        let shown = exporter.shown(self.judge(), dest).into_iter();
        let shown = shown.map(|(path, outcome)| {
            let number = state.up.number_told(path, family);
            let kept = held_back.as_ref().is_some_and(|told| !told.contains(&number));
            let outcome = match outcome {
                Ok(_) if kept => Err(NotAdvertised::PrefixLimit),
                Ok(_) | Err(_) => outcome,
            };
            Shown { path, number, outcome }
        });
        shown.collect()
    }

    /// Counts of a peer for one family.
    #[must_use]
    pub fn peer_counts(&self, peer: PeerId, family: Family) -> PeerCounts {
        let state = self.peers.get(&peer);
        state.map(|state| state.counts(peer, (&self.groups, &self.loc), family)).unwrap_or_default()
    }

    /// How much it holds at this moment.
    #[must_use]
    pub fn sizes(&self) -> RibSizes {
        let received = |peer: &Peer| {
            let counts = Family::ALL.map(|family| peer.counted(family, Counted::Received));
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
