//! Monitoring: what stations must be told of sessions and routes.
//!
//! In: sessions coming and going, and destinations where something changed. Out: reports, made
//! when a station pulls them from what the RIB holds at that moment: sessions first, then routes.
//! A station that does not pull costs two bits for each destination and view, however often it
//! changed, and delays nobody.
//!
//! What a station is told fits together: routes of a session stand between its [`Report::Up`]
//! and its [`Report::Down`]. A session that came and went between two pulls is not mentioned.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use super::{
    dense::{DestId, DestSet},
    dest::{Path, PathKey},
    group::Groups,
    loc::Loc,
    peer::{Peer, PeerId},
};
use crate::{
    family::FamilySet,
    rib::{Advertisement, News, ViewSet},
    session::Cause,
    timestamp::Timestamp,
};

mod feed;
mod report;

pub(super) use feed::{Tables, shown};
pub use report::{Monitored, Report};

use feed::{Feed, Source};
use report::Batch;

/// A monitoring station, by a number given by the caller and never used for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StationId(pub u32);

/// Every station.
#[derive(Debug, Default)]
pub(super) struct Monitors {
    stations: BTreeMap<StationId, Station>,
}

/// What one station knows and must be told.
#[derive(Debug)]
struct Station {
    views: ViewSet,
    /// Sessions that it knows of.
    known: BTreeMap<PeerId, Arc<Monitored>>,
    /// Of these, the ones that are over.
    ended: BTreeMap<PeerId, (Cause, Timestamp)>,
    /// Sessions that it does not know of.
    begun: BTreeMap<PeerId, Arc<Monitored>>,
    /// Of every view of every session that stands, and of the Loc-RIB.
    feeds: BTreeMap<Source, Feed>,
    /// Feeds with something to tell, each once.
    ready: VecDeque<Source>,
}

impl Monitors {
    /// A new station, which is owed everything there is. One of the same number is forgotten.
    pub(super) fn add(
        &mut self,
        id: StationId,
        views: ViewSet,
        of: (&BTreeMap<PeerId, Peer>, &Groups),
        loc: &mut Loc,
    ) {
        let (peers, _) = of;
        self.remove(id, loc);
        let mut station = Station::new(views);
        for peer in peers.values().filter(|peer| peer.is_up()) {
            station.peer_up(&peer.monitored);
        }
        for (source, feed) in &mut station.feeds {
            for id in source.destinations(of, loc) {
                feed.mark(loc, id, true);
            }
        }
        self.stations.insert(id, station);
    }

    /// The station is gone.
    pub(super) fn remove(&mut self, id: StationId, loc: &mut Loc) {
        let Some(station) = self.stations.remove(&id) else { return };
        station.feeds.into_values().for_each(|feed| feed.clear(loc));
    }

    /// A session was established; there are stale paths to these destinations.
    pub(super) fn peer_up(&mut self, peer: &Arc<Monitored>, loc: &mut Loc, stale: &DestSet) {
        for station in self.stations.values_mut() {
            station.peer_up(peer);
            for source in [Source::PrePolicy(peer.id), Source::PostPolicy(peer.id)] {
                if let Some(feed) = station.feeds.get_mut(&source) {
                    stale.iter().for_each(|id| feed.mark(loc, id, true));
                }
            }
        }
    }

    /// It ended.
    pub(super) fn peer_down(&mut self, loc: &mut Loc, peer: PeerId, why: &Cause, at: Timestamp) {
        self.stations.values_mut().for_each(|station| station.peer_down(loc, peer, why, at));
    }

    /// A path of the peer to a destination came, went or changed; before, it was `old`.
    pub(super) fn path_changed(
        &mut self,
        loc: &mut Loc,
        peer: PeerId,
        (id, path_id): (DestId, u32),
        old: Option<&Path>,
    ) {
        if self.stations.is_empty() {
            return;
        }
        let dest = loc.get(id);
        let new = dest.path(PathKey { from: Some(peer), path_id });
        let received = |path: &Path| path.received;
        let pre_policy = (old.map(received), new.map(received));
        let post_policy = (old.and_then(Path::accepted), new.and_then(Path::accepted));
        let exists = dest.paths_of(peer).next().is_some();
        let sources =
            [(Source::PrePolicy(peer), pre_policy), (Source::PostPolicy(peer), post_policy)];
        for (source, (old, new)) in sources {
            if old != new {
                self.mark(loc, source, id, exists);
            }
        }
    }

    /// The best path of a destination changed.
    pub(super) fn best_changed(&mut self, loc: &mut Loc, id: DestId) {
        if self.stations.is_empty() {
            return;
        }
        let exists = loc.get(id).best().is_some();
        self.mark(loc, Source::LocRib, id, exists);
    }

    /// The peer was told this.
    pub(super) fn advertised(&mut self, loc: &mut Loc, peer: PeerId, news: &News) {
        let source = Source::AdjRibOut(peer);
        if !self.stations.values().any(|station| station.feeds.contains_key(&source)) {
            return;
        }
        let news = news.clone().into_advertisements();
        for advertisement in &news {
            let prefixes = match advertisement {
                Advertisement::Reach { prefixes, .. } | Advertisement::Withdraw(prefixes) => {
                    prefixes
                }
                Advertisement::EndOfRib(_)
                | Advertisement::RefreshBegin(_)
                | Advertisement::RefreshEnd(_) => continue,
            };
            for nlri in prefixes {
                // A destination that is gone is one that no station knows of.
                if let Some(id) = loc.find(nlri.prefix) {
                    // Of a withdrawn path too: there may be others of the same prefix.
                    self.mark(loc, source, id, true);
                }
            }
        }
    }

    /// Is there nobody?
    pub(super) fn is_empty(&self) -> bool {
        self.stations.is_empty()
    }

    /// What the peer may be told of a destination may be something else.
    pub(super) fn offered(&mut self, loc: &mut Loc, peer: PeerId, id: DestId) {
        self.mark(loc, Source::AdjRibOutPrePolicy(peer), id, true);
    }

    /// Has the station anything to pull?
    pub(super) fn has_work(&self, id: StationId) -> bool {
        self.stations.get(&id).is_some_and(Station::has_work)
    }

    /// What the station must be told next, at most about `budget` sessions and prefixes.
    pub(super) fn pull(
        &mut self,
        id: StationId,
        budget: usize,
        tables: Tables<'_>,
        loc: &mut Loc,
        now: Timestamp,
    ) -> Vec<Report> {
        let Some(station) = self.stations.get_mut(&id) else { return Vec::new() };
        let budget = budget.max(1);
        let mut reports = station.pull_sessions(budget);
        // No routes before their session: these come when all sessions are told.
        let mut left = budget - reports.len();
        while left > 0
            && let Some(source) = station.ready.pop_front()
        {
            let Some(feed) = station.feeds.get_mut(&source) else { continue };
            let session = source.peer().and_then(|peer| station.known.get(&peer).cloned());
            let mut batch = Batch::new(session, source.view(), now);
            feed.pull(source, tables, loc, left, &mut batch);
            let prefixes = batch.prefixes();
            let told = batch.into_reports();
            left = left.saturating_sub(prefixes.max(told.len()));
            reports.extend(told);
            if feed.has_work() {
                station.ready.push_back(source);
            } else {
                feed.listed = false;
            }
        }
        reports
    }

    fn mark(&mut self, loc: &mut Loc, source: Source, id: DestId, exists: bool) {
        for station in self.stations.values_mut() {
            let Some(feed) = station.feeds.get_mut(&source) else { continue };
            feed.mark(loc, id, exists);
            if feed.has_work() && !std::mem::replace(&mut feed.listed, true) {
                station.ready.push_back(source);
            }
        }
    }
}

impl Station {
    fn new(views: ViewSet) -> Self {
        let mut station = Self {
            views,
            known: BTreeMap::new(),
            ended: BTreeMap::new(),
            begun: BTreeMap::new(),
            feeds: BTreeMap::new(),
            ready: VecDeque::new(),
        };
        station.open(Source::LocRib, FamilySet::ALL);
        station
    }

    /// Begins a feed, if the station wants it. It is owed End-of-RIB at least.
    fn open(&mut self, source: Source, families: FamilySet) {
        if self.views.contains(source.view()) {
            self.feeds.insert(source, Feed::new(families));
            self.ready.push_back(source);
        }
    }

    fn peer_up(&mut self, peer: &Arc<Monitored>) {
        self.begun.insert(peer.id, Arc::clone(peer));
        for source in Source::of(peer.id) {
            self.open(source, peer.families);
        }
    }

    fn peer_down(&mut self, loc: &mut Loc, peer: PeerId, why: &Cause, at: Timestamp) {
        // If the session that it knows of has ended before, that end is what it is told.
        if self.begun.remove(&peer).is_none() && self.known.contains_key(&peer) {
            self.ended.insert(peer, (why.clone(), at));
        }
        for feed in Source::of(peer).iter().filter_map(|source| self.feeds.remove(source)) {
            feed.clear(loc);
        }
        self.ready.retain(|source| source.peer() != Some(peer));
    }

    fn has_work(&self) -> bool {
        !(self.ended.is_empty() && self.begun.is_empty() && self.ready.is_empty())
    }

    /// The ends of sessions, then their beginnings.
    fn pull_sessions(&mut self, budget: usize) -> Vec<Report> {
        let mut reports = Vec::new();
        while reports.len() < budget {
            if let Some((peer, (why, at))) = self.ended.pop_first() {
                let session = self.known.remove(&peer);
                reports.extend(session.map(|session| Report::Down { session, why, at }));
            } else if let Some((peer, session)) = self.begun.pop_first() {
                self.known.insert(peer, Arc::clone(&session));
                reports.push(Report::Up(session));
            } else {
                break;
            }
        }
        reports
    }
}
