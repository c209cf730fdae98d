//! The routing information bases of one router (RFC 4271 §3.2, §9): Adj-RIB-In per peer,
//! Loc-RIB with multipath, Adj-RIB-Out per peer.
//!
//! In: sessions coming and going, their UPDATEs, locally originated prefixes, and which next
//! hops can be reached. Out: changes of the best paths, for the kernel, and for each peer the
//! announcements and withdrawals that bring it up to date. Both are pulled by their readers and
//! keyed by prefix, so a slow reader costs the newest state of each prefix and no more. What a
//! peer is told is worked out when it pulls, from the Loc-RIB of that moment.
//!
//! Reads no clock, opens no socket, waits for nobody.

mod adj_in;
mod adj_out;
mod attrs;
mod decide;
mod dense;
mod dest;
mod export;
mod intake;
mod judge;
mod loc;
mod monitor;
mod nexthop;
mod peer;
mod settings;
mod tables;
mod verdict;
mod view;

use std::{
    collections::{BTreeMap, VecDeque},
    num::NonZeroU32,
    sync::Arc,
};

pub use self::{
    adj_out::Advertisement,
    dest::BestPath,
    loc::BestChange,
    monitor::{Monitored, Report, StationId},
    nexthop::{NextHopInterest, Resolution},
    peer::{Opening, PeerCounts, PeerId, PeerUp, RibConfig},
    verdict::{Ineligible, NotAdvertised, PathView, Step, Verdict},
    view::{View, ViewSet},
};
use self::{
    attrs::AttrTable, dest::Path, export::Exporter, judge::Judge, loc::Loc, monitor::Monitors,
    nexthop::NextHops, peer::Peer, settings::Effects,
};
use crate::{
    attrs::{Attrs, NextHop},
    config::RibPeerConfig,
    family::Family,
    prefix::Prefix,
    session::Cause,
    timestamp::Timestamp,
    wire::Update,
};

/// The RIBs of one router.
#[derive(Debug)]
pub struct Rib {
    config: RibConfig,
    attrs: AttrTable,
    loc: Loc,
    peers: BTreeMap<PeerId, Peer>,
    next_hops: NextHops,
    /// Peers that may have something to pull, each once.
    ready: VecDeque<PeerId>,
    monitors: Monitors,
    /// See [`Self::set_time`].
    now: Timestamp,
}

impl Rib {
    /// An empty one.
    #[must_use]
    pub fn new(config: RibConfig) -> Self {
        Self {
            config,
            attrs: AttrTable::new(),
            loc: Loc::default(),
            peers: BTreeMap::new(),
            next_hops: NextHops::default(),
            ready: VecDeque::new(),
            monitors: Monitors::default(),
            now: Timestamp::UNKNOWN,
        }
    }

    /// The time that is written down for what follows. Nothing is decided by it.
    pub const fn set_time(&mut self, now: Timestamp) {
        self.now = now;
    }

    /// A session was established: its peer gets everything that is due to it, then End-of-RIB
    /// for each family. An older session of the same peer counts as ended.
    pub fn peer_up(&mut self, peer: PeerId, up: PeerUp) {
        self.peer_down(peer, &Cause::Handshake, up.opening.at);
        let state = Peer::new(peer, up);
        self.monitors.peer_up(&state.monitored);
        self.peers.insert(peer, state);
        self.offer_all(peer);
    }

    /// A session ended: the peer's routes are gone. Cause and time are for the stations.
    pub fn peer_down(&mut self, peer: PeerId, why: &Cause, at: Timestamp) {
        let Some(state) = self.peers.remove(&peer) else { return };
        self.monitors.peer_down(&mut self.loc, peer, why, at);
        for id in state.received.iter() {
            self.set_path(id, Some(peer), None);
        }
        state.out.clear(&mut self.loc);
        self.ready.retain(|other| *other != peer);
        self.attrs.sweep();
    }

    /// The peer's routes changed. Ignored if the peer is not up; prefixes of families that were
    /// not agreed with it are ignored.
    pub fn update(&mut self, peer: PeerId, update: &Update) {
        let Some(state) = self.peers.get(&peer) else { return };
        let (families, link) = (state.up.families, state.up.link);
        for nlri in &update.withdrawn {
            self.remove(Some(peer), nlri.prefix);
        }
        for reach in &update.reach {
            if families.contains(reach.family) {
                let attrs = self.attrs.intern(heard_on(link, &reach.attrs));
                self.learn(peer, &attrs, &reach.prefixes);
            }
        }
    }

    /// The peer wants a family's routes again (RFC 2918).
    pub fn refresh(&mut self, peer: PeerId, family: Family) {
        let Some(state) = self.peers.get_mut(&peer) else { return };
        let told: Vec<_> = state.out.told().collect();
        for id in told {
            if self.loc.get(id).prefix.family() == family {
                state.out.mark_again(&mut self.loc, id);
            }
        }
        state.list(peer, &mut self.ready);
    }

    /// New settings: what they concern is evaluated anew, without a session reset.
    pub fn set_policies(&mut self, peer: PeerId, config: RibPeerConfig) {
        let Some(state) = self.peers.get_mut(&peer) else { return };
        let effects = Effects::between(&state.up.config, &config);
        state.up.config = config;
        let received: Vec<_> = state.received.iter().collect();
        if effects.import {
            self.import_anew(peer, &received);
        }
        if effects.reflection {
            // Whether others may hear of it depends on its source being a client.
            for id in received {
                self.offer(id);
            }
        }
        if effects.export {
            self.offer_all(peer);
        }
    }

    /// New settings of the router itself: everything is evaluated anew, without a session reset.
    /// [`RibConfig::resolve_next_hops`] stays as it was from the start.
    pub fn configure(&mut self, config: &RibConfig) {
        let resolve_next_hops = self.config.resolve_next_hops;
        self.config = RibConfig { resolve_next_hops, ..config.clone() };
        let peers: Vec<_> = self.peers.keys().copied().collect();
        for peer in &peers {
            let received: Vec<_> = self.peers[peer].received.iter().collect();
            self.import_anew(*peer, &received);
        }
        for peer in peers {
            self.offer_all(peer);
        }
    }

    /// This router originates the prefix. Idempotent. Peers get this router as next hop,
    /// whatever the attributes say.
    pub fn originate(&mut self, prefix: Prefix, attrs: Arc<Attrs>) {
        let attrs = self.attrs.intern(attrs);
        let id = self.loc.open(prefix);
        let path = Path::new(None, Arc::clone(&attrs), Ok(attrs), self.now);
        self.set_path(id, None, Some(path));
    }

    /// It no longer does. Idempotent.
    pub fn withdraw(&mut self, prefix: Prefix) {
        self.remove(None, prefix);
    }

    /// The next hop whose resolution is needed, or needed no more. Nothing is asked for unless
    /// [`RibConfig::resolve_next_hops`] is set.
    pub fn poll_next_hop(&mut self) -> Option<NextHopInterest> {
        self.next_hops.poll()
    }

    /// Whether and how a next hop can be reached.
    pub fn set_next_hop(&mut self, next_hop: NextHop, resolution: Resolution) {
        for id in self.next_hops.resolve(next_hop, resolution) {
            let before = self.loc.get(id).best_paths();
            self.settle(id, &before);
        }
    }

    /// The next change of the Loc-RIB, each prefix once with its newest state.
    pub fn poll_best(&mut self) -> Option<BestChange> {
        self.loc.next_change()
    }

    /// The next peer with something to pull by [`Self::poll_advertisements`]. It is not named
    /// again before it has pulled; after that, as soon as there is more.
    pub fn poll_ready(&mut self) -> Option<PeerId> {
        while let Some(peer) = self.ready.pop_front() {
            if self.peers.get_mut(&peer).is_some_and(Peer::name) {
                return Some(peer);
            }
        }
        None
    }

    /// What the peer must be told next, at most about `budget` prefixes; empty when it is up to
    /// date. Any order of applying the pieces of one call has the same result.
    pub fn poll_advertisements(&mut self, peer: PeerId, budget: usize) -> Vec<Advertisement> {
        let Some(state) = self.peers.get_mut(&peer) else { return Vec::new() };
        let mut out = std::mem::take(&mut state.out);
        let Self { config, attrs, loc, peers, next_hops, .. } = self;
        let judge = Judge { config, peers, next_hops };
        let share = |new| attrs.intern(Arc::new(new));
        let mut exporter = Exporter::new(config, (peer, &peers[&peer].up), share);
        let pulled =
            out.pull(loc, budget, |dest| exporter.export(dest.prefix, judge.best(dest)?).ok());
        if let Some(state) = self.peers.get_mut(&peer) {
            state.out = out;
            state.pulled(peer, &mut self.ready);
        }
        self.monitors.advertised(&mut self.loc, peer, &pulled);
        pulled
    }

    /// A monitoring station begins: it is owed every session and route of these views, then
    /// End-of-RIB for each, then changes. One of the same number is forgotten.
    pub fn add_station(&mut self, station: StationId, views: ViewSet) {
        self.monitors.add(station, views, &self.peers, &mut self.loc);
    }

    /// A monitoring station is gone.
    pub fn remove_station(&mut self, station: StationId) {
        self.monitors.remove(station, &mut self.loc);
    }

    /// Is there something for [`Self::poll_reports`]?
    #[must_use]
    pub fn has_reports(&self, station: StationId) -> bool {
        self.monitors.has_work(station)
    }

    /// What the station must be told next, in this order, at most about `budget` sessions and
    /// prefixes; empty when it is up to date.
    pub fn poll_reports(&mut self, station: StationId, budget: usize) -> Vec<Report> {
        self.monitors.pull(station, budget, &self.peers, &mut self.loc, self.now)
    }

    const fn judge(&self) -> Judge<'_> {
        Judge { config: &self.config, peers: &self.peers, next_hops: &self.next_hops }
    }
}

/// The attributes with the scope of their next hop.
fn heard_on(link: Option<NonZeroU32>, attrs: &Arc<Attrs>) -> Arc<Attrs> {
    let mut attrs = Arc::clone(attrs);
    let next_hop = attrs.next_hop.heard_on(link);
    if attrs.next_hop != next_hop {
        Arc::make_mut(&mut attrs).next_hop = next_hop;
    }
    attrs
}

#[cfg(test)]
mod tests;
