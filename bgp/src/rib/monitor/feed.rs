//! One view of a peer, or the Loc-RIB, on its way to one station: which destinations it was told,
//! and which it must be told next.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use super::report::Batch;
use crate::{
    attrs::{Attrs, NextHop},
    family::{Family, FamilySet},
    rib::{
        View,
        adj_out::AdjOut,
        dense::{DestId, DestSet},
        loc::Loc,
        peer::{Peer, PeerId},
    },
    timestamp::Timestamp,
};

/// Where routes come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Source {
    PrePolicy(PeerId),
    PostPolicy(PeerId),
    LocRib,
    AdjRibOut(PeerId),
}

impl Source {
    /// Those of a peer.
    pub(super) const fn of(peer: PeerId) -> [Self; 3] {
        [Self::PrePolicy(peer), Self::PostPolicy(peer), Self::AdjRibOut(peer)]
    }

    pub(super) const fn view(self) -> View {
        match self {
            Self::PrePolicy(_) => View::PrePolicy,
            Self::PostPolicy(_) => View::PostPolicy,
            Self::LocRib => View::LocRib,
            Self::AdjRibOut(_) => View::AdjRibOut,
        }
    }

    pub(super) const fn peer(self) -> Option<PeerId> {
        match self {
            Self::LocRib => None,
            Self::PrePolicy(peer) | Self::PostPolicy(peer) | Self::AdjRibOut(peer) => Some(peer),
        }
    }

    /// Destinations of which it may have something.
    pub(super) fn destinations(self, peers: &BTreeMap<PeerId, Peer>, loc: &Loc) -> Vec<DestId> {
        match self {
            Self::PrePolicy(peer) | Self::PostPolicy(peer) => {
                peers[&peer].received.iter().collect()
            }
            Self::LocRib => loc.ids(),
            Self::AdjRibOut(peer) => peers[&peer].out.iter().flat_map(AdjOut::told).collect(),
        }
    }

    /// What it has of a destination, and when that was learned if it is known.
    fn route(
        self,
        id: DestId,
        peers: &BTreeMap<PeerId, Peer>,
        loc: &Loc,
    ) -> Option<(Arc<Attrs>, Option<Timestamp>)> {
        let dest = loc.get(id);
        match self {
            Self::PrePolicy(peer) => {
                let path = dest.paths_of(peer).next()?;
                Some((Arc::clone(&path.received), Some(path.marks.learned)))
            }
            Self::PostPolicy(peer) => {
                let path = dest.paths_of(peer).next()?;
                Some((path.imported.as_ref().ok().cloned()?, Some(path.marks.learned)))
            }
            Self::LocRib => {
                let path = dest.best()?;
                let attrs = path.imported.as_ref().ok()?;
                Some(match path.key.from {
                    Some(_) => (Arc::clone(attrs), None),
                    None => (local(attrs, dest.prefix.family()), None),
                })
            }
            Self::AdjRibOut(peer) => {
                Some((Arc::clone(peers[&peer].out.as_ref()?.told_of(id)?), None))
            }
        }
    }
}

/// What this router originates has no next hop: it says so by an address of zeros, of the family
/// that the prefix can have.
fn local(attrs: &Arc<Attrs>, family: Family) -> Arc<Attrs> {
    let addr = match family {
        Family::Ipv4Unicast => Ipv4Addr::UNSPECIFIED.into(),
        Family::Ipv6Unicast => Ipv6Addr::UNSPECIFIED.into(),
    };
    Arc::new(Attrs { next_hop: NextHop::new(addr), ..Attrs::clone(attrs) })
}

/// See the module.
#[derive(Debug)]
pub(super) struct Feed {
    /// Destinations to look at, each with one claim on it.
    pending: DestSet,
    /// Destinations that the station knows of, each with one claim on it.
    told: DestSet,
    /// Where the next pull goes on. Reaching the end once completes the initial transfer.
    cursor: DestId,
    /// Families whose initial transfer is not complete.
    initial: FamilySet,
    /// It stands in the queue of those with something to tell.
    pub(super) listed: bool,
}

impl Feed {
    /// One that has everything to tell, and stands in the queue.
    pub(super) fn new(families: FamilySet) -> Self {
        Self {
            pending: DestSet::default(),
            told: DestSet::default(),
            cursor: DestId::FIRST,
            initial: families,
            listed: true,
        }
    }

    /// Something changed at a destination, of which there is or is not a route now.
    pub(super) fn mark(&mut self, loc: &mut Loc, id: DestId, exists: bool) {
        if exists || self.told.contains(id) {
            if self.pending.insert(id) {
                loc.claim(id);
            }
        } else if self.pending.remove(id) {
            // Came and went before the station heard of it.
            loc.release(id);
        }
    }

    /// Is there anything to tell?
    pub(super) const fn has_work(&self) -> bool {
        !self.pending.is_empty() || !self.initial.is_empty()
    }

    /// Lets go of every destination.
    pub(super) fn clear(self, loc: &mut Loc) {
        self.pending.iter().chain(self.told.iter()).for_each(|id| loc.release(id));
    }

    /// Puts into the batch what to tell next, until it holds `budget` prefixes.
    pub(super) fn pull(
        &mut self,
        source: Source,
        peers: &BTreeMap<PeerId, Peer>,
        loc: &mut Loc,
        budget: usize,
        batch: &mut Batch,
    ) {
        while batch.prefixes() < budget {
            let Some(id) = self.pending.next_from(self.cursor) else {
                self.cursor = DestId::FIRST;
                if !self.initial.is_empty() {
                    batch.complete(std::mem::take(&mut self.initial));
                    return;
                }
                if self.pending.is_empty() {
                    return;
                }
                continue;
            };
            self.cursor = id.next();
            let prefix = loc.get(id).prefix;
            match source.route(id, peers, loc) {
                Some((attrs, learned)) => {
                    // What stood there before the station came has no known time.
                    let known = self.initial.is_empty().then_some(batch.now());
                    batch.reach(prefix.into(), attrs, learned.or(known).unwrap_or_default());
                    if self.told.insert(id) {
                        loc.claim(id);
                    }
                }
                None => {
                    if self.told.remove(id) {
                        loc.release(id);
                        batch.withdraw(prefix.into());
                    }
                }
            }
            self.pending.remove(id);
            loc.release(id);
        }
    }
}
