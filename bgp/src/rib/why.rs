//! Why a prefix is routed as it is: every path from its receipt to its verdict, and what each
//! peer is told, with the policy statements that decided.
//!
//! Changes nothing and keeps nothing. The policies' part is told by the policies themselves, by
//! the same code that applies them.

use std::sync::Arc;

use super::{
    NotAdvertised, PathView, PeerId, Rib, adj_in, dest::PathKey, export::Exporter, tables::Shown,
};
use crate::{attrs::Attrs, policy::Explanation, prefix::Prefix};

/// Everything about the routing of one prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Why {
    /// The most specific prefix known that covers the one asked for.
    pub prefix: Prefix,
    /// Its paths, the used ones first, best first.
    pub paths: Vec<WhyPath>,
    /// What peers are told of it, by peer. Empty if there is no best path.
    pub told: Vec<WhyTold>,
}

/// One path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WhyPath {
    /// What became of it.
    pub view: PathView,
    /// Attributes as received.
    pub received: Arc<Attrs>,
    /// What import policy made of it; `None` if there is none, or if it did not come to that.
    pub import: Option<Explanation>,
}

/// What one peer is told of one path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WhyTold {
    /// The peer.
    pub peer: PeerId,
    /// Our number for the path where the peer is told of several (RFC 7911), else 0.
    pub path_id: u32,
    /// Whose path it is; `None` if this router originates it.
    pub from: Option<PeerId>,
    /// The attributes that it sees, or why it is not told.
    pub outcome: Result<Arc<Attrs>, NotAdvertised>,
    /// What export policy made of it; `None` if there is none, or if it did not come to that.
    pub export: Option<Explanation>,
}

impl Rib {
    /// Why traffic to this prefix goes where it goes, and who is told; `to` asks about one peer
    /// only. `None` if no prefix covers it.
    #[must_use]
    pub fn why(&self, wanted: Prefix, to: Option<PeerId>) -> Option<Why> {
        let lengths = (0..=wanted.len()).rev();
        let covering = lengths.filter_map(|len| Prefix::new(wanted.addr(), len).ok());
        let mut dests = covering.filter_map(|prefix| Some(self.loc.get(self.loc.find(prefix)?)));
        let dest = dests.find(|dest| !dest.paths().is_empty())?;
        let judge = self.judge();
        let paths = judge.verdicts(dest).into_iter().filter_map(|view| {
            let path = dest.path(PathKey { from: view.peer, path_id: view.path_id })?;
            let received = self.attrs.get(path.received);
            let peer = view.peer.and_then(|peer| self.peers.get(&peer));
            let import = peer.and_then(|peer| {
                adj_in::screen(&self.config, &peer.up, &received).ok()?;
                adj_in::explain(&self.config, &peer.up, dest.prefix, &received)
            });
            Some(WhyPath { view, received, import })
        });
        let paths = paths.collect();
        let asked = |peer: &PeerId| to.is_none_or(|to| to == *peer);
        let up = self.peers.iter().filter(|(peer, state)| asked(peer) && state.is_up());
        let told = up.flat_map(|(peer, state)| {
            let mut exporter = Exporter::new(self.us(), (*peer, &state.up), Arc::new);
            let shown = self.shown(state, &mut exporter, dest).into_iter();
            let told = shown.map(|Shown { path, number, outcome }| WhyTold {
                peer: *peer,
                path_id: number,
                from: path.from(),
                outcome,
                export: judge.candidate(path).and_then(|it| exporter.explain(dest.prefix, &it)),
            });
            told.collect::<Vec<_>>()
        });
        Some(Why { prefix: dest.prefix, paths, told: told.collect() })
    }
}
