//! A RIB and its model side by side, and what their readers have heard so far.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    super::*,
    PEERS, PREFIXES, id,
    moves::{Move, attrs_of, policy_of},
    naive::{Heard, Naive, NaivePeer, Used, gbits},
    peer_of,
};

/// See the module.
pub(super) struct Trial {
    rib: Rib,
    model: Naive,
    best: BTreeMap<Prefix, Used>,
    told: BTreeMap<u8, Listener>,
}

/// What a peer has heard in its session.
#[derive(Default)]
struct Listener {
    routes: BTreeMap<Nlri, Attrs>,
    /// End-of-RIBs by family.
    ends: BTreeMap<Family, usize>,
    /// What has not come again yet since the beginning of a marked refresh.
    unrefreshed: BTreeMap<Family, BTreeSet<Nlri>>,
}

impl Trial {
    pub(super) fn new(resolve: bool, restarted: bool) -> Self {
        let mut rib = if resolve { resolving_router() } else { router() };
        let mut model = Naive { resolve, ..Naive::default() };
        if restarted {
            model.waiting.extend([0, PEERS - 1]);
            rib.defer_for([id(0), id(PEERS - 1)]);
        }
        Self { rib, model, best: BTreeMap::new(), told: BTreeMap::new() }
    }

    pub(super) fn make(&mut self, step: Move) {
        match step {
            Move::Announce { .. }
            | Move::Withdraw { .. }
            | Move::EndOfRib { .. }
            | Move::RefreshBegin { .. }
            | Move::RefreshEnd { .. } => self.hear(step),
            Move::Up { .. }
            | Move::Down { .. }
            | Move::StaleExpired { .. }
            | Move::LongLived { .. }
            | Move::DeferralOver { .. } => self.change_session(step),
            Move::Originate { prefix: at, med } => {
                let mut attrs = Attrs::originated(hop("0.0.0.0"));
                attrs.med = med;
                self.rib.originate(prefix(PREFIXES[at]), Arc::new(attrs.clone()));
                self.model.local.insert(prefix(PREFIXES[at]), attrs);
            }
            Move::Cease { prefix: at } => {
                self.rib.withdraw(prefix(PREFIXES[at]));
                self.model.local.remove(&prefix(PREFIXES[at]));
            }
            Move::Policies { peer, import, export } => self.configure(peer, |config| {
                config.import = policy_of(import);
                config.export = policy_of(export);
            }),
            Move::Knobs { peer, knobs } => self.configure(peer, |config| {
                config.allow_own_as = knobs.allow_own_as;
                config.as_override = knobs.as_override;
                config.private_as = knobs.private_as;
                config.local_as = knobs.local_as;
                config.add_path = knobs.add_path;
                config.drain = knobs.drain;
                config.send_blackhole = knobs.send_blackhole;
                config.send_link_bandwidth = knobs.send_link_bandwidth;
                config.max_prefixes.ipv4 = knobs.max_prefixes;
                config.max_advertised.ipv4 = knobs.max_advertised;
            }),
            Move::Urgent(urgent) => self.rib.set_urgent(urgent),
            Move::Drain(drain) => {
                self.rib.set_drain(drain);
                self.model.drain = drain;
            }
            Move::Aggregates(aggregates) => {
                let all = PREFIXES.into_iter().zip(aggregates);
                let all = all.filter_map(|(text, alone)| Some((prefix(text), alone?)));
                self.model.aggregates = all.collect();
                let all = self.model.aggregates.iter();
                let aggregates =
                    all.map(|(prefix, alone)| Aggregate { prefix: *prefix, summary_only: *alone });
                let (aggregates, drain) = (aggregates.collect(), self.model.drain);
                self.rib.configure(&RibConfig { aggregates, drain, ..settings() });
            }
            Move::NextHop { hop, resolution } => {
                self.read_next_hops();
                for next_hop in Naive::next_hops(hop) {
                    self.rib.set_next_hop(next_hop, resolution);
                    if let Some(answer) = self.model.next_hops.get_mut(&next_hop) {
                        *answer = Some(resolution);
                    }
                }
            }
            Move::Refresh { peer } => self.refresh(peer),
            Move::Pull { peer, budget } => {
                self.pull(peer, budget);
            }
            Move::ReadBest => self.read_best(),
        }
    }

    /// A peer said something.
    fn hear(&mut self, step: Move) {
        match step {
            Move::Announce { peer, prefix: at, path_id, path } => {
                let (nlri, attrs) = (place(peer, at, path_id), attrs_of(peer, PREFIXES[at], path));
                let (family, heard) = (nlri.family(), Arc::new(attrs.clone()));
                let reach = Reach { family, attrs: heard, prefixes: vec![nlri] };
                self.rib.update(id(peer), &Update { reach: vec![reach], ..Update::default() });
                if let Some(state) = self.model.live(peer)
                    && state.up.families.contains(family)
                {
                    let freshness = Freshness::Current;
                    state.heard.insert(nlri, Heard { attrs, freshness, unrefreshed: false });
                    if !state.is_within_limit(family) {
                        state.heard.remove(&nlri);
                    }
                }
            }
            Move::Withdraw { peer, prefix: at, path_id } => {
                let nlri = place(peer, at, path_id);
                let update = Update { withdrawn: vec![nlri], ..Update::default() };
                self.rib.update(id(peer), &update);
                if let Some(state) = self.model.live(peer) {
                    state.heard.remove(&nlri);
                }
            }
            Move::EndOfRib { peer, family } => {
                let update = Update { end_of_rib: Some(family), ..Update::default() };
                self.rib.update(id(peer), &update);
                let Some(state) = self.model.live(peer) else { return };
                if state.up.families.contains(family) {
                    state.ended.insert(family);
                    self.model.retain(peer, |of, heard| {
                        of != family || heard.freshness == Freshness::Current
                    });
                }
            }
            Move::RefreshBegin { peer, family } => {
                self.rib.refresh_begin(id(peer), family);
                let Some(state) = self.model.live(peer) else { return };
                if state.up.options.graceful_restart && !state.ended.contains(family) {
                    return;
                }
                state.refreshing.insert(family);
                for (nlri, heard) in &mut state.heard {
                    heard.unrefreshed |= nlri.family() == family;
                }
            }
            Move::RefreshEnd { peer, family } => {
                self.rib.refresh_end(id(peer), family);
                let Some(state) = self.model.live(peer) else { return };
                if state.refreshing.contains(family) {
                    state.refreshing.remove(family);
                    self.model.retain(peer, |of, heard| of != family || !heard.unrefreshed);
                }
            }
            _ => unreachable!("another kind"),
        }
    }

    /// A session said something.
    fn change_session(&mut self, step: Move) {
        match step {
            Move::Up { peer, narrow } => {
                let mut up = peer_of(peer);
                if narrow {
                    up.families = FamilySet::of(Family::Ipv4Unicast);
                }
                self.end(peer, FamilySet::NONE);
                self.rib.peer_up(id(peer), up.clone());
                let families = up.families;
                let new = NaivePeer {
                    heard: self.model.peers.remove(&peer).map(|old| old.heard).unwrap_or_default(),
                    up,
                    live: true,
                    ended: FamilySet::NONE,
                    refreshing: FamilySet::NONE,
                    exceeded: FamilySet::NONE,
                };
                self.model.peers.insert(peer, new);
                self.model.retain(peer, |family, _| families.contains(family));
                self.told.insert(peer, Listener::default());
            }
            Move::Down { peer, retain } => {
                self.rib.peer_down(id(peer), retain, &Cause::Closed, Timestamp::UNKNOWN);
                self.end(peer, retain);
            }
            Move::StaleExpired { peer, families } => {
                self.rib.stale_expired(id(peer), families);
                self.model.retain(peer, |family, heard| {
                    !families.contains(family) || heard.freshness == Freshness::Current
                });
            }
            Move::LongLived { peer, families } => {
                self.rib.long_lived(id(peer), families);
                self.model.long_lived(peer, families);
            }
            Move::DeferralOver { peer } => {
                self.rib.deferral_over(id(peer));
                self.model.waiting.remove(&peer);
            }
            _ => unreachable!("another kind"),
        }
    }

    /// The model's session ends.
    fn end(&mut self, peer: u8, retain: FamilySet) {
        let Some(state) = self.model.live(peer) else { return };
        state.live = false;
        for heard in state.heard.values_mut() {
            heard.freshness = heard.freshness.max(Freshness::Stale);
            heard.unrefreshed = false;
        }
        self.model.retain(peer, |family, _| retain.contains(family));
        self.told.remove(&peer);
    }

    fn configure(&mut self, peer: u8, change: impl FnOnce(&mut RibPeerConfig)) {
        let Some(state) = self.model.peers.get_mut(&peer) else { return };
        let limits = state.up.config.max_prefixes;
        change(&mut state.up.config);
        let changed = state.up.config.max_prefixes != limits;
        if changed && state.live {
            for family in Family::ALL {
                state.exceeded.remove(family);
                state.is_within_limit(family);
            }
        }
        self.rib.set_policies(id(peer), state.up.config.clone());
    }

    fn refresh(&mut self, peer: u8) {
        let family = Family::Ipv4Unicast;
        self.rib.refresh(id(peer), family);
        // Without marks, all of it must come again: the peer may as well have forgotten it.
        if let Some(told) = self.told.get_mut(&peer)
            && !peer_of(peer).options.enhanced_refresh
        {
            told.routes.retain(|nlri, _| nlri.family() != family);
        }
    }

    /// Watched next hops without an answer count as unreachable; forgotten ones are forgotten.
    fn read_next_hops(&mut self) {
        while let Some(interest) = self.rib.poll_next_hop() {
            match interest {
                NextHopInterest::Watch(next_hop) => {
                    assert!(self.model.next_hops.insert(next_hop, None).is_none());
                }
                NextHopInterest::Forget(next_hop) => {
                    assert!(self.model.next_hops.remove(&next_hop).is_some());
                }
            }
        }
    }

    fn pull(&mut self, peer: u8, budget: usize) -> bool {
        let pieces = self.rib.poll_advertisements(id(peer), budget);
        if let Some(listener) = self.told.get_mut(&peer) {
            pieces.iter().for_each(|piece| listener.hear(piece));
        } else {
            assert_eq!(pieces, []);
        }
        !pieces.is_empty()
    }

    fn read_best(&mut self) {
        while let Some(change) = self.rib.poll_best() {
            let gbits: Option<Vec<_>> = change.paths.iter().map(|it| gbits(&it.attrs)).collect();
            let told = gbits.filter(|_| change.paths.len() > 1);
            let shares: Vec<_> = change.paths.iter().map(|path| path.share).collect();
            let ones = || vec![1; shares.len()];
            let expected =
                told.map_or_else(ones, |all| all.iter().map(|it| it * 1_000_000).collect());
            assert_eq!(shares, expected, "shares of {}", change.prefix);
            let used = change.paths.iter();
            let used: Used = used
                .map(|path| {
                    let peer = path.peer.map(|peer| u8::try_from(peer.0).unwrap());
                    (peer, Attrs::clone(&path.attrs))
                })
                .collect();
            if used.is_empty() {
                assert!(self.best.remove(&change.prefix).is_some(), "gone but never there");
            } else {
                self.best.insert(change.prefix, used);
            }
        }
    }

    /// Lets every reader catch up, by way of [`Rib::poll_ready`] alone, and compares.
    pub(super) fn check(&mut self) {
        self.read_next_hops();
        self.read_best();
        // Those named before and not pulled since are not named again.
        for peer in 0..PEERS {
            self.pull(peer, 1);
        }
        while let Some(peer) = self.rib.poll_ready() {
            self.pull(u8::try_from(peer.0).unwrap(), 2);
        }
        let watched: BTreeSet<_> = self.model.next_hops.keys().copied().collect();
        assert_eq!(watched, self.model.wanted_next_hops());
        for text in PREFIXES {
            let best = self.best.get(&prefix(text)).cloned().unwrap_or_default();
            assert_eq!(best, self.model.best(prefix(text)), "best paths of {text}");
        }
        for (peer, state) in &self.model.peers {
            for family in Family::ALL {
                self.check_counts(*peer, family);
            }
            if state.live {
                self.check_told(*peer, state.up.families);
            }
        }
    }

    fn check_told(&self, peer: u8, families: FamilySet) {
        let listener = &self.told[&peer];
        let shown = self.rib.advertised(id(peer));
        let limits = self.model.peers[&peer].up.config.max_advertised;
        let mut due: PerFamily<usize> = PerFamily::default();
        for text in PREFIXES {
            let expected = self.model.told(peer, prefix(text));
            let family = prefix(text).family();
            *due.get_mut(family) += expected.len();
            let told = listener.routes.iter().filter(|(nlri, _)| nlri.prefix == prefix(text));
            let mut told: Vec<_> = told.map(|(_, attrs)| attrs.clone()).collect();
            told.sort();
            if limits.get(family).is_none() {
                assert_eq!(told, expected, "told to peer {peer} of {text}");
            }
            assert!(told.iter().all(|attrs| expected.contains(attrs)), "{peer}, {text}");
            let shown = shown.iter().filter(|view| view.prefix == prefix(text));
            let shown: BTreeMap<_, _> = shown
                .filter_map(|view| Some((view.path_id, Attrs::clone(view.outcome.as_ref().ok()?))))
                .collect();
            let routes = listener.routes.iter().filter(|(nlri, _)| nlri.prefix == prefix(text));
            let routes = routes.map(|(nlri, attrs)| (nlri.path_id, attrs.clone()));
            assert_eq!(shown, routes.collect(), "shown for peer {peer} of {text}");
        }
        for family in Family::ALL {
            // As many as are allowed, whichever they are.
            let most = limits.get(family).map_or(usize::MAX, |max| max as usize);
            let told = listener.routes.keys().filter(|nlri| nlri.family() == family).count();
            assert_eq!(told, (*due.get(family)).min(most), "number told to peer {peer}");
        }
        for family in families.iter() {
            let ends = usize::from(self.model.waiting.is_empty());
            assert_eq!(listener.ends.get(&family).copied().unwrap_or(0), ends, "End-of-RIB");
        }
        assert!(listener.unrefreshed.is_empty(), "a refresh without an end");
    }

    fn check_counts(&self, peer: u8, family: Family) {
        let heard: Vec<_> = self.model.peers[&peer]
            .heard
            .iter()
            .filter(|(nlri, _)| nlri.family() == family)
            .map(|(_, heard)| heard.freshness)
            .collect();
        let views = self.rib.received(id(peer));
        let views: Vec<_> = views.iter().filter(|(of, _)| of.family() == family).collect();
        let verdicts = || views.iter().map(|(_, view)| &view.verdict);
        let told = self
            .told
            .get(&peer)
            .map(|listener| listener.routes.keys().filter(|nlri| nlri.family() == family).count());
        let expected = PeerCounts {
            received: heard.len(),
            accepted: verdicts().filter(|it| !matches!(it, Verdict::Ineligible(_))).count(),
            best: verdicts().filter(|it| matches!(it, Verdict::Best | Verdict::Multipath)).count(),
            stale: heard.iter().filter(|freshness| **freshness != Freshness::Current).count(),
            advertised: told.unwrap_or(0),
        };
        assert_eq!(self.rib.peer_counts(id(peer), family), expected);
        let mut shown: Vec<_> = views.iter().map(|(_, view)| view.freshness).collect();
        shown.sort();
        let mut heard = heard;
        heard.sort();
        assert_eq!(shown, heard);
        let best = self.best.keys().filter(|prefix| prefix.family() == family).count();
        assert_eq!(self.rib.best_count(family), best);
    }

    /// Takes everything away; nothing may be left behind.
    pub(super) fn check_leaks(&mut self) {
        for peer in 0..PEERS {
            self.make(Move::Down { peer, retain: FamilySet::NONE });
            self.make(Move::StaleExpired { peer, families: FamilySet::ALL });
            self.make(Move::DeferralOver { peer });
        }
        for prefix in 0..PREFIXES.len() {
            self.make(Move::Cease { prefix });
        }
        self.check();
        assert!(self.rib.peers.is_empty(), "peers left");
        assert_eq!(self.rib.loc.ids(), [], "destinations left");
        assert_eq!(self.rib.routes().count(), 0);
    }
}

impl Listener {
    fn hear(&mut self, piece: &Advertisement) {
        match piece {
            Advertisement::Reach { attrs, prefixes } => {
                for nlri in prefixes {
                    let family = nlri.family();
                    let old = self.routes.insert(*nlri, Attrs::clone(attrs));
                    let due = self.unrefreshed.get_mut(&family).map(|left| left.remove(nlri));
                    let news = old.is_none_or(|old| old != **attrs);
                    assert!(news || due == Some(true), "told for nothing: {nlri}");
                }
            }
            Advertisement::Withdraw(prefixes) => {
                for nlri in prefixes {
                    self.routes.remove(nlri);
                    self.unrefreshed.get_mut(&nlri.family()).map(|left| left.remove(nlri));
                }
            }
            Advertisement::EndOfRib(family) => *self.ends.entry(*family).or_default() += 1,
            Advertisement::RefreshBegin(family) => {
                assert!(self.ends.contains_key(family), "before the end of the first transfer");
                let of_family = self.routes.keys().filter(|nlri| nlri.family() == *family);
                self.unrefreshed.insert(*family, of_family.copied().collect());
            }
            Advertisement::RefreshEnd(family) => {
                let left = self.unrefreshed.remove(family).expect("an end without a beginning");
                assert_eq!(left, BTreeSet::new(), "not told again");
            }
        }
    }
}

/// Only the peers with several paths number them.
fn place(peer: u8, at: usize, path_id: u32) -> Nlri {
    let path_id = if peer == 7 { path_id } else { 0 };
    Nlri { prefix: prefix(PREFIXES[at]), path_id }
}
