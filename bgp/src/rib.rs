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

mod account;
mod adj_in;
mod adj_out;
mod aggregate;
mod attrs;
mod bandwidth;
mod decide;
mod deferral;
mod dense;
mod dest;
mod dump;
mod export;
mod group;
mod imports;
mod intake;
mod judge;
mod lifetime;
mod limit;
mod loc;
mod monitor;
mod nexthop;
mod peer;
mod pending;
mod settings;
mod tables;
mod verdict;
mod view;
mod why;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    num::NonZeroU32,
    sync::Arc,
};

pub use self::{
    account::PeerCounts,
    adj_out::Advertisement,
    aggregate::Aggregate,
    dest::BestPath,
    dump::{DumpCursor, Dumped, DumpedPath},
    export::Unsendable,
    group::SharedBatch,
    imports::ImportCounts,
    limit::{LimitEvent, LimitKind},
    loc::BestChange,
    monitor::{Monitored, Report, StationId},
    nexthop::{NextHopInterest, Resolution},
    peer::{Opening, PeerId, PeerUp, RibConfig, SessionOptions},
    tables::RibSizes,
    verdict::{Freshness, Ineligible, NotAdvertised, PathView, Step, ToldView, Verdict},
    view::{View, ViewSet},
    why::{Why, WhyPath, WhyTold},
};
use self::{
    attrs::{AttrTable, InUse},
    dest::PathKey,
    export::{Exporter, Us},
    group::{Groups, Pulled},
    judge::Judge,
    loc::{Loc, TOUCHED},
    monitor::{Monitors, Tables},
    nexthop::NextHops,
    peer::{Out, Peer},
    settings::Effects,
};
use crate::{
    attrs::{Attrs, NextHop},
    config::RibPeerConfig,
    family::{Family, PerFamily},
    prefix::Prefix,
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
    groups: Groups,
    next_hops: NextHops,
    /// What this router originates by itself, aggregates aside.
    originated: BTreeMap<Prefix, Arc<Attrs>>,
    /// Peers to which it matters which paths there are besides the best.
    onlookers: usize,
    /// Peers with an Adj-RIB-Out of their own.
    loners: usize,
    /// Peers that may have something to pull, each once.
    ready: VecDeque<PeerId>,
    monitors: Monitors,
    /// See [`Self::set_time`].
    now: Timestamp,
    /// See [`Self::set_urgent`].
    urgent: bool,
    /// Limits that somebody must hear of, with their value, until they are read.
    limit_events: BTreeMap<(PeerId, Family, LimitKind), u32>,
    /// What is too long for peers, until it is read.
    unsendable: BTreeMap<PeerId, Unsendable>,
    /// Peers whose routes are waited for before learned routes are told to anybody.
    deferred_for: BTreeSet<PeerId>,
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
            groups: Groups::default(),
            next_hops: NextHops::default(),
            originated: BTreeMap::new(),
            onlookers: 0,
            loners: 0,
            ready: VecDeque::new(),
            limit_events: BTreeMap::new(),
            unsendable: BTreeMap::new(),
            deferred_for: BTreeSet::new(),
            monitors: Monitors::default(),
            now: Timestamp::UNKNOWN,
            urgent: false,
        }
    }

    /// The time that is written down for what follows. Nothing is decided by it.
    pub const fn set_time(&mut self, now: Timestamp) {
        self.now = now;
    }

    /// Whether peers hear of what follows before what else waits for them, as far as there is not
    /// too much of it: for single routes that shall not wait behind whole tables of others. In the
    /// end everybody knows the same.
    pub const fn set_urgent(&mut self, urgent: bool) {
        self.urgent = urgent;
    }

    /// The peer's routes changed. Ignored if its session is not up; prefixes of families that were
    /// not agreed with it are ignored.
    pub fn update(&mut self, peer: PeerId, update: &Update) {
        self.sweep_if_due();
        let Some(state) = self.peers.get_mut(&peer).filter(|state| state.is_up()) else { return };
        let (families, link) = (state.up.families, state.up.link);
        let wished = state.imports.arrived(update);
        let mut missing = 0;
        for some in update.withdrawn.chunks(TOUCHED) {
            self.loc.touch(some.iter().map(|nlri| nlri.prefix));
            for nlri in some {
                let key = PathKey { from: Some(peer), path_id: nlri.path_id };
                missing += u64::from(!self.remove(key, nlri.prefix));
            }
        }
        if let Some(state) = self.peers.get_mut(&peer).filter(|_| wished) {
            state.imports.duplicate_withdrawals += missing;
        }
        for reach in &update.reach {
            if families.contains(reach.family) {
                self.learn(peer, &heard_on(link, &reach.attrs), &reach.prefixes);
            }
        }
        if let Some(family) = update.end_of_rib.filter(|family| families.contains(*family)) {
            self.end_of_rib(peer, family);
        }
    }

    /// The peer wants a family's routes again (RFC 2918). If it knows of enhanced route refresh,
    /// the answer is marked at its beginning and end, and comes after End-of-RIB (RFC 7313 §4).
    pub fn refresh(&mut self, peer: PeerId, family: Family) {
        let Some(state) = self.peers.get_mut(&peer) else { return };
        match &mut state.out {
            Some(Out::Alone(out)) => out.refresh(&mut self.loc, family),
            Some(Out::Member(group)) => self.groups.refresh(*group, peer, family, &mut self.loc),
            None => return,
        }
        state.list(peer, &mut self.ready);
    }

    /// New settings: what they concern is evaluated anew, without a session reset.
    pub fn set_policies(&mut self, peer: PeerId, config: RibPeerConfig) {
        let Some(state) = self.peers.get_mut(&peer) else { return };
        let effects = Effects::between(&state.up.config, &config);
        state.import_regions = config.import_regions();
        state.up.config = config;
        if effects.limits {
            self.reset_limits(peer);
        }
        self.for_each_path(peer, |rib, id, key| {
            if effects.import {
                rib.import_again(id, key);
            }
            if effects.reflection {
                // Whether others may hear of it depends on its source being a client.
                rib.offer(id);
            }
        });
        if effects.export {
            self.export_again(peer);
        }
        self.measure_all(peer);
        self.count_onlookers();
    }

    /// New settings of the router itself: everything is evaluated anew, without a session reset.
    /// [`RibConfig::resolve_next_hops`] stays as it was from the start.
    pub fn configure(&mut self, config: &RibConfig) {
        let resolve_next_hops = self.config.resolve_next_hops;
        let config = RibConfig { resolve_next_hops, ..config.clone() };
        let before = std::mem::replace(&mut self.config, config);
        self.aggregate_again(&before);
        let RibConfig { drain, aggregates, .. } = before.clone();
        if before == (RibConfig { drain, aggregates, ..self.config.clone() }) {
            // Nothing that is received looks different for the rest.
            if drain != self.config.drain {
                self.offer_all_to_everybody();
            }
            return;
        }
        let peers: Vec<_> = self.peers.keys().copied().collect();
        for peer in peers {
            self.for_each_path(peer, Self::import_again);
        }
        self.offer_all_to_everybody();
    }

    /// Marks everything that peers are told with GRACEFUL_SHUTDOWN, or no longer: this router is
    /// about to go away, or stays after all (RFC 8326 §4).
    pub fn set_drain(&mut self, drain: bool) {
        if std::mem::replace(&mut self.config.drain, drain) != drain {
            self.offer_all_to_everybody();
        }
    }

    /// Is it so marked?
    #[must_use]
    pub const fn is_drained(&self) -> bool {
        self.config.drain
    }

    /// Is there something that the peer is still to be told?
    #[must_use]
    pub fn owes(&self, peer: PeerId) -> bool {
        self.peers.get(&peer).is_some_and(|state| state.has_work(peer, &self.groups))
    }

    /// The next hop whose resolution is needed, or needed no more. Nothing is asked for unless
    /// [`RibConfig::resolve_next_hops`] is set.
    pub fn poll_next_hop(&mut self) -> Option<NextHopInterest> {
        self.next_hops.poll()
    }

    /// Whether and how a next hop can be reached.
    pub fn set_next_hop(&mut self, next_hop: NextHop, resolution: Resolution) {
        for id in self.next_hops.resolve(next_hop, resolution) {
            let before = self.loc.get(id).used();
            self.settle(id, &before);
        }
    }

    /// The next change of the Loc-RIB, each prefix once with its newest state.
    pub fn poll_best(&mut self) -> Option<BestChange> {
        self.loc.next_change(&self.attrs)
    }

    /// Nobody will call [`Self::poll_best`]: changes are not kept from now on.
    pub fn ignore_best(&mut self) {
        self.loc.ignore_changes(&self.attrs);
    }

    /// The next peer with something to pull by [`Self::poll_advertisements`]. It is not named
    /// again before it has pulled; after that, as soon as there is more.
    pub fn poll_ready(&mut self) -> Option<PeerId> {
        for peer in self.groups.stirred() {
            if let Some(state) = self.peers.get_mut(&peer) {
                state.list(peer, &mut self.ready);
            }
        }
        while let Some(peer) = self.ready.pop_front() {
            let state = self.peers.get_mut(&peer);
            if state.is_some_and(|state| state.name(peer, &self.groups)) {
                return Some(peer);
            }
        }
        None
    }

    /// What the peer must be told next, at most about `budget` paths, in this order; empty when it
    /// is up to date.
    pub fn poll_advertisements(&mut self, peer: PeerId, budget: usize) -> Vec<Advertisement> {
        loop {
            let news = self.poll_news(peer, budget).into_advertisements();
            if !news.is_empty() || !self.owes(peer) {
                return news;
            }
        }
    }

    /// The same in a form that peers who are told the same share, to be encoded once for all. It may
    /// be empty although there is more: then [`Self::poll_ready`] names the peer again, after others
    /// who shall have their turn first.
    pub fn poll_news(&mut self, peer: PeerId, budget: usize) -> News {
        self.sweep_if_due();
        let Some(state) = self.peers.get_mut(&peer) else { return News::NONE };
        let mut held_back = PerFamily::default();
        let deferring = !self.deferred_for.is_empty();
        let news = match state.out.take() {
            None => return News::NONE,
            Some(Out::Alone(mut out)) => {
                let Self { config, attrs, loc, peers, next_hops, .. } = self;
                let judge = Judge { config, peers, next_hops, attrs };
                let share = |new| attrs.share(new);
                let to = (peer, &peers[&peer].up);
                let mut exporter = Exporter::new(Us { config, deferring }, to, share);
                let own = out
                    .pull((loc, attrs), budget, |dest, wanted| exporter.tell(judge, dest, wanted));
                held_back = out.newly_held_back();
                self.unsendable.extend(exporter.take_unsendable().map(|(_, it)| (peer, it)));
                self.restore(peer, Out::Alone(out));
                News::Own(own)
            }
            Some(Out::Member(group)) => {
                let Self { config, attrs, loc, peers, groups, next_hops, .. } = self;
                let Some(manner) = groups.manner(group) else { return News::NONE };
                let judge = Judge { config, peers, next_hops, attrs };
                let share = |new| attrs.share(new);
                let mut exporter = Exporter::for_group(Us { config, deferring }, &manner, share);
                let pulled = groups.pull(group, peer, (loc, attrs), budget, |dest, wanted| {
                    exporter.tell(judge, dest, wanted);
                });
                if let Some((from, too_long)) = exporter.take_unsendable() {
                    let members = groups.members(group).filter(|peer| from != Some(*peer));
                    self.unsendable.extend(members.map(|peer| (peer, too_long.clone())));
                }
                self.restore(peer, Out::Member(group));
                match pulled {
                    Pulled::Own(own) => News::Own(own),
                    Pulled::Shared(batch) => News::Shared { batch, to: peer },
                }
            }
        };
        self.note_held_back(peer, held_back);
        self.monitors.advertised(&mut self.loc, peer, &news);
        news
    }

    fn restore(&mut self, peer: PeerId, out: Out) {
        if let Some(state) = self.peers.get_mut(&peer) {
            state.out = Some(out);
            state.pulled(peer, &self.groups, &mut self.ready);
        }
    }

    /// A monitoring station begins: it is owed every session and route of these views, then
    /// End-of-RIB for each, then changes. One of the same number is forgotten.
    pub fn add_station(&mut self, station: StationId, views: ViewSet) {
        self.monitors.add(station, views, (&self.peers, &self.groups), &mut self.loc);
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
        let us = Us { config: &self.config, deferring: self.is_deferring() };
        let Self { peers, groups, next_hops, attrs, .. } = self;
        let tables = Tables { us, peers, groups, next_hops, attrs };
        self.monitors.pull(station, budget, tables, &mut self.loc, self.now)
    }

    fn us(&self) -> Us<'_> {
        Us { config: &self.config, deferring: self.is_deferring() }
    }

    /// Forgets attributes that nothing holds any more, if it is time. Not while something is under
    /// way that has numbers of them in hand.
    fn sweep_if_due(&self) {
        if !self.attrs.is_due() {
            return;
        }
        let mut in_use = InUse::default();
        let mut looked_at = self.loc.note_attrs(&mut in_use);
        looked_at += self.groups.note_attrs(&mut in_use);
        for peer in self.peers.values() {
            if let Some(Out::Alone(out)) = &peer.out {
                out.attrs().for_each(|id| in_use.add(id));
            }
        }
        self.attrs.sweep(&in_use, looked_at);
    }

    const fn judge(&self) -> Judge<'_> {
        let Self { config, peers, next_hops, attrs, .. } = self;
        Judge { config, peers, next_hops, attrs }
    }
}

/// What a peer is told next.
#[derive(Clone, Debug)]
pub enum News {
    /// It alone.
    Own(Vec<Advertisement>),
    /// With others, who are told the same.
    Shared {
        /// What all are told.
        batch: Arc<SharedBatch>,
        /// The peer.
        to: PeerId,
    },
}

impl News {
    const NONE: Self = Self::Own(Vec::new());

    /// Is there nothing to tell?
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        match self {
            Self::Own(own) => own.is_empty(),
            Self::Shared { .. } => false,
        }
    }

    /// As if it were for the peer alone.
    #[must_use]
    pub fn into_advertisements(self) -> Vec<Advertisement> {
        match self {
            Self::Own(own) => own,
            Self::Shared { batch, to } => batch.advertisements(to),
        }
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
