//! Everything that peers have announced, for a dump: walked through in slices, so that nobody
//! waits for it.
//!
//! Each destination is as it is when its slice is taken. One that goes and comes back while the
//! walk lasts can be missed; all others are met once.

use std::sync::Arc;

use super::{Monitored, PeerId, Rib, RibConfig, dense::DestId, dest::Path, monitor};
use crate::{attrs::Attrs, prefix::Prefix, timestamp::Timestamp};

/// How far a walk is; the default is its beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DumpCursor(DestId);

/// A destination with its paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dumped {
    /// The destination.
    pub prefix: Prefix,
    /// Every path to it, in no particular order.
    pub paths: Vec<DumpedPath>,
}

/// A path as it was received, before policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DumpedPath {
    /// Who announced it; `None` if this router originates it, whose next hop is then all zeros.
    pub peer: Option<PeerId>,
    /// Its identifier (RFC 7911); 0 if the peer gives none.
    pub path_id: u32,
    /// Its attributes.
    pub attrs: Arc<Attrs>,
    /// When it was received.
    pub learned: Timestamp,
}

impl Rib {
    /// Settings of the router in force.
    #[must_use]
    pub const fn config(&self) -> &RibConfig {
        &self.config
    }

    /// The sessions that stand, and those whose paths are kept as stale, by the number of the peer.
    pub fn sessions(&self) -> impl Iterator<Item = &Arc<Monitored>> {
        self.peers.values().map(|peer| &peer.monitored)
    }

    /// The next destinations of a walk, of at most `budget` numbers of destinations, and how far it
    /// then is; `None` at the end.
    #[must_use]
    pub fn dump(&self, cursor: DumpCursor, budget: usize) -> (Vec<Dumped>, Option<DumpCursor>) {
        let slice = self.loc.slice(cursor.0, budget.max(1));
        let dests = slice.iter().flatten().filter(|dest| !dest.paths().is_empty());
        let dumped = dests.map(|dest| {
            let path = |path: &Path| DumpedPath {
                peer: path.from(),
                path_id: path.key().path_id,
                attrs: {
                    let received = self.attrs.get(path.received);
                    monitor::shown(path.from(), &received, dest.prefix.family())
                },
                learned: path.marks().learned,
            };
            Dumped { prefix: dest.prefix, paths: dest.paths().iter().map(path).collect() }
        });
        let next = slice.last().map(|_| DumpCursor(cursor.0.plus(slice.len())));
        (dumped.collect(), next)
    }
}
