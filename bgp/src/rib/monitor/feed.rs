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
        attrs::AttrTable,
        dense::{DestId, DestMap, DestSet},
        dest::Path,
        export::{Exporter, Us},
        group::Groups,
        judge::Judge,
        loc::Loc,
        nexthop::NextHops,
        peer::{Peer, PeerId},
    },
    timestamp::Timestamp,
    wire::Nlri,
};

/// Where routes come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Source {
    PrePolicy(PeerId),
    PostPolicy(PeerId),
    LocRib,
    AdjRibOutPrePolicy(PeerId),
    AdjRibOut(PeerId),
}

impl Source {
    /// Those of a peer.
    pub(super) const fn of(peer: PeerId) -> [Self; 4] {
        [
            Self::PrePolicy(peer),
            Self::PostPolicy(peer),
            Self::AdjRibOutPrePolicy(peer),
            Self::AdjRibOut(peer),
        ]
    }

    pub(super) const fn view(self) -> View {
        match self {
            Self::PrePolicy(_) => View::PrePolicy,
            Self::PostPolicy(_) => View::PostPolicy,
            Self::LocRib => View::LocRib,
            Self::AdjRibOutPrePolicy(_) => View::AdjRibOutPrePolicy,
            Self::AdjRibOut(_) => View::AdjRibOut,
        }
    }

    pub(super) const fn peer(self) -> Option<PeerId> {
        match self {
            Self::LocRib => None,
            Self::PrePolicy(peer)
            | Self::PostPolicy(peer)
            | Self::AdjRibOutPrePolicy(peer)
            | Self::AdjRibOut(peer) => Some(peer),
        }
    }

    /// Destinations of which it may have something.
    pub(super) fn destinations(
        self,
        (peers, groups): (&BTreeMap<PeerId, Peer>, &Groups),
        loc: &Loc,
    ) -> Vec<DestId> {
        match self {
            Self::PrePolicy(peer) | Self::PostPolicy(peer) => {
                peers[&peer].received.iter().collect()
            }
            Self::LocRib | Self::AdjRibOutPrePolicy(_) => loc.ids(),
            Self::AdjRibOut(peer) => {
                peers[&peer].out.iter().flat_map(|out| out.told(peer, groups)).collect()
            }
        }
    }

    /// What it has of a destination.
    fn routes(self, id: DestId, tables: Tables<'_>, loc: &Loc) -> Vec<Route> {
        let Tables { us, peers, groups, next_hops, attrs: table } = tables;
        let dest = loc.get(id);
        let received = |path: &Path, attrs| Route {
            path_id: path.key().path_id,
            attrs: table.get(attrs),
            learned: Some(path.marks().learned),
        };
        let other = |attrs| Route { path_id: 0, attrs, learned: None };
        match self {
            Self::PrePolicy(peer) => {
                dest.paths_of(peer).map(|path| received(path, path.received)).collect()
            }
            Self::PostPolicy(peer) => {
                let accepted = |path: &Path| Some(received(path, path.accepted()?));
                dest.paths_of(peer).filter_map(accepted).collect()
            }
            Self::LocRib => {
                let best = dest.best().and_then(|path| {
                    let attrs = table.get(path.accepted()?);
                    Some(shown(path.from(), &attrs, dest.prefix.family()))
                });
                best.map(other).into_iter().collect()
            }
            Self::AdjRibOutPrePolicy(peer) => {
                let judge = Judge { config: us.config, peers, next_hops, attrs: table };
                let exporter = Exporter::new(us, (peer, &peers[&peer].up), Arc::new);
                let offers = exporter.offers(judge, dest).into_iter();
                offers.map(|(path_id, attrs)| Route { path_id, attrs, learned: None }).collect()
            }
            Self::AdjRibOut(peer) => {
                let family = dest.prefix.family();
                let told =
                    peers[&peer].out.iter().flat_map(|out| out.told_of(peer, groups, (family, id)));
                let route =
                    |(path_id, attrs)| Route { path_id, attrs: table.get(attrs), learned: None };
                told.map(route).collect()
            }
        }
    }
}

/// What the routes of a source are worked out from, besides the destinations.
#[derive(Clone, Copy)]
pub(in crate::rib) struct Tables<'a> {
    pub(in crate::rib) us: Us<'a>,
    pub(in crate::rib) peers: &'a BTreeMap<PeerId, Peer>,
    pub(in crate::rib) groups: &'a Groups,
    pub(in crate::rib) next_hops: &'a NextHops,
    pub(in crate::rib) attrs: &'a AttrTable,
}

/// A route of a source.
struct Route {
    /// 0 where the source has no path identifiers.
    path_id: u32,
    attrs: Arc<Attrs>,
    /// When it was learned, if that is known.
    learned: Option<Timestamp>,
}

/// A path's attributes for those who monitor. What this router originates has no next hop: that is
/// said by an address of zeros, of the family that the prefix can have.
pub(in crate::rib) fn shown(
    from: Option<PeerId>,
    attrs: &Arc<Attrs>,
    family: Family,
) -> Arc<Attrs> {
    if from.is_some() {
        return Arc::clone(attrs);
    }
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
    /// The path identifiers that it knows there, unless it is the one path with identifier 0.
    told_paths: DestMap<Box<[u32]>>,
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
            told_paths: DestMap::default(),
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
        tables: Tables<'_>,
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
            self.tell(loc, id, source.routes(id, tables, loc), batch);
            self.pending.remove(id);
            loc.release(id);
        }
    }

    /// Makes what the station knows of a destination into what there is.
    fn tell(&mut self, loc: &mut Loc, id: DestId, routes: Vec<Route>, batch: &mut Batch) {
        let prefix = loc.get(id).prefix;
        let path_ids: Box<[u32]> = routes.iter().map(|route| route.path_id).collect();
        let gone = |path_id: &u32| !path_ids.contains(path_id);
        for path_id in self.known_paths(id).into_iter().filter(gone) {
            batch.withdraw(Nlri { prefix, path_id });
        }
        // What stood there before the station came has no known time.
        let now = if self.initial.is_empty() { batch.now() } else { Timestamp::UNKNOWN };
        for Route { path_id, attrs, learned } in routes {
            batch.reach(Nlri { prefix, path_id }, attrs, learned.unwrap_or(now));
        }
        match *path_ids {
            [] => {
                if self.told.remove(id) {
                    loc.release(id);
                }
                self.told_paths.remove(id);
                return;
            }
            [0] => drop(self.told_paths.remove(id)),
            [..] => drop(self.told_paths.insert(id, path_ids)),
        }
        if self.told.insert(id) {
            loc.claim(id);
        }
    }

    fn known_paths(&self, id: DestId) -> Vec<u32> {
        match self.told_paths.get(id) {
            Some(path_ids) => path_ids.to_vec(),
            None if self.told.contains(id) => vec![0],
            None => Vec::new(),
        }
    }
}
