//! How a path enters the RIBs, is replaced and leaves them, and what follows from it.
//!
//! In: a path of a peer or of ours, or its end. Out: paths at their destination, a new decision,
//! and a word to the readers whom it concerns.

use std::sync::Arc;

use super::{
    Freshness, Judge, PeerId, PeerUp, Rib, adj_in,
    attrs::{AttrId, Imported},
    dense::DestId,
    dest::{Marks, Path, PathKey, Used},
    loc::TOUCHED,
    peer::{Out, Peer},
};
use crate::{attrs::Attrs, family::Family, policy::Region, prefix::Prefix, wire::Nlri};

impl Rib {
    /// The peer announced this path to these prefixes.
    pub(super) fn learn(&mut self, peer: PeerId, attrs: &Arc<Attrs>, prefixes: &[Nlri]) {
        let received = self.attrs.intern(attrs);
        let Some(state) = self.peers.get_mut(&peer) else { return };
        let mut counts = state.imports;
        counts.screened(&adj_in::screen(&self.config, &state.up, attrs));
        let regions = state.import_regions.take();
        let marks = Marks::new(self.now);
        // What import makes of the attributes, once for all prefixes that are the same to it.
        let mut made: Option<Imported> = None;
        let mut made_for: Option<Region> = None;
        for (at, nlri) in prefixes.iter().enumerate() {
            if at % TOUCHED == 0 {
                self.loc.touch(prefixes[at..].iter().map(|nlri| nlri.prefix));
            }
            let key = PathKey { from: Some(peer), path_id: nlri.path_id };
            let id = self.loc.open(nlri.prefix);
            let known = self.loc.get(id).path(key);
            if let Some(known) = known.filter(|path| path.received == received) {
                let repeated = known.marks() == Marks::new(known.marks().learned);
                counts.duplicate_announcements += u64::from(repeated);
                self.confirm(id, key);
                continue;
            }
            let region = regions.as_ref().map(|regions| regions.find(nlri.prefix));
            if made.is_none() || region != made_for {
                made_for = region;
                made = self.imported(peer, nlri.prefix, (received, attrs), marks.freshness);
            }
            let Some(imported) = made else { continue };
            if self.take_in(id, Path::new(key, received, imported, marks)) {
                counts.imported(imported.err().map(|why| self.attrs.reason(why)).as_ref());
            }
        }
        if let Some(state) = self.peers.get_mut(&peer) {
            state.imports = counts;
            state.import_regions = regions;
        }
    }

    /// A path does not exist any more. False if it did not before.
    pub(super) fn remove(&mut self, key: PathKey, prefix: Prefix) -> bool {
        let Some(id) = self.loc.find(prefix) else { return false };
        let exists = self.loc.get(id).path(key).is_some();
        if exists {
            self.set_path(id, key, None);
        }
        exists
    }

    /// Takes every path of a peer for which `doomed` holds out of its family's table.
    pub(super) fn remove_all(&mut self, peer: PeerId, doomed: impl Fn(Family, &Path) -> bool) {
        self.for_each_path(peer, |rib, id, key| {
            let dest = rib.loc.get(id);
            if dest.path(key).is_some_and(|path| doomed(dest.prefix.family(), path)) {
                rib.set_path(id, key, None);
            }
        });
    }

    /// Does something to every path of a peer. A path may be taken out when it is its turn.
    pub(super) fn for_each_path(
        &mut self,
        peer: PeerId,
        mut each: impl FnMut(&mut Self, DestId, PathKey),
    ) {
        let Some(state) = self.peers.get(&peer) else { return };
        let received: Vec<_> = state.received.iter().collect();
        let mut keys = Vec::new();
        for id in received {
            keys.extend(self.loc.get(id).paths_of(peer).map(Path::key));
            keys.drain(..).for_each(|key| each(self, id, key));
        }
    }

    /// Has a stored path pass import again, under the settings of now.
    pub(super) fn import_again(&mut self, id: DestId, key: PathKey) {
        let Some(path) = self.loc.get(id).path(key) else { return };
        let (received, marks) = (path.received, path.marks());
        let Some(peer) = key.from else { return };
        let prefix = self.loc.get(id).prefix;
        let attrs = self.attrs.get(received);
        let made = self.imported(peer, prefix, (received, &attrs), marks.freshness);
        self.set_path(id, key, made.map(|made| Path::new(key, received, made, marks)));
    }

    /// Marks a path, which has no meaning to the decision.
    pub(super) fn mark(&mut self, id: DestId, key: PathKey, change: impl FnOnce(&mut Marks)) {
        let dest = self.loc.get_mut(id);
        let family = dest.prefix.family();
        let Some(path) = dest.path_mut(key) else { return };
        let old = path.account();
        let mut marks = path.marks();
        change(&mut marks);
        path.set_marks(marks);
        let new = path.account();
        if let Some(state) = key.from.and_then(|peer| self.peers.get_mut(&peer)) {
            state.account_changed(family, old, new);
        }
    }

    /// The peer announced a path again as it is.
    fn confirm(&mut self, id: DestId, key: PathKey) {
        let dest = self.loc.get(id);
        let Some(path) = dest.path(key) else { return };
        if self.is_shut(key, dest.prefix.family()) {
            self.set_path(id, key, None);
            return;
        }
        let marks = Marks::new(path.marks().learned);
        match path.marks().freshness {
            Freshness::Current | Freshness::Stale => self.mark(id, key, |old| *old = marks),
            // Import had left its mark.
            Freshness::LongLived => {
                let (received, prefix) = (path.received, dest.prefix);
                let Some(peer) = key.from else { return };
                let attrs = self.attrs.get(received);
                let heard = (received, &attrs);
                if let Some(made) = self.imported(peer, prefix, heard, marks.freshness) {
                    self.take_in(id, Path::new(key, received, made, marks));
                }
            }
        }
    }

    /// Takes a path that has passed import into its destination. False if there is no room for it;
    /// the destination may be gone then.
    fn take_in(&mut self, id: DestId, path: Path) -> bool {
        let key = path.key();
        let dest = self.loc.get(id);
        let known = dest.path(key).map(Path::account);
        let admitted = self.admit(key, dest.prefix.family(), known, path.account());
        if admitted {
            self.set_path(id, key, Some(path));
        } else if known.is_some() {
            self.set_path(id, key, None);
        } else {
            self.loc.retire(id);
        }
        admitted
    }

    /// What import makes of a path; `None` if its peer is unknown.
    fn imported(
        &mut self,
        peer: PeerId,
        prefix: Prefix,
        (id, received): (AttrId, &Arc<Attrs>),
        freshness: Freshness,
    ) -> Option<Imported> {
        let (us, up) = (&self.config, &self.peers.get(&peer)?.up);
        let imported = adj_in::screen(us, up, received)
            .and_then(|()| adj_in::import(us, up, prefix, received, freshness));
        Some(match imported {
            Ok(changed) if Arc::ptr_eq(&changed, received) => Ok(id),
            Ok(changed) => Ok(self.attrs.intern(&changed)),
            Err(reason) => Err(self.attrs.refuse(reason)),
        })
    }

    /// Puts in, replaces or takes out a path, and settles what follows.
    pub(super) fn set_path(&mut self, id: DestId, key: PathKey, path: Option<Path>) {
        let before = self.loc.get(id).used();
        let resolves = self.config.resolve_next_hops;
        let hop = path.as_ref().filter(|_| resolves).and_then(|path| path.next_hop(&self.attrs));
        let dest = self.loc.get_mut(id);
        let new = path.as_ref().map(Path::account);
        let old = match path {
            Some(path) => dest.put(path),
            None => dest.take(key),
        };
        if old.is_some() {
            self.attrs.note_gone();
        }
        if resolves {
            let old_hop = old.as_ref().and_then(|old| old.next_hop(&self.attrs));
            if let Some(old_hop) = old_hop.filter(|hop| !dest.has_next_hop(*hop, &self.attrs)) {
                self.next_hops.remove(old_hop, id);
            }
            if let Some(hop) = hop {
                self.next_hops.add(hop, id);
            }
        }
        let family = dest.prefix.family();
        // Stations may let go of the destination before all is settled.
        self.loc.claim(id);
        if let Some(peer) = key.from {
            self.monitors.path_changed(&mut self.loc, peer, (id, key.path_id), old.as_ref());
            let exists = new.is_some() || self.loc.get(id).paths_of(peer).next().is_some();
            if let Some(state) = self.peers.get_mut(&peer) {
                let old = old.as_ref().map(Path::account);
                state.path_changed(id, family, (old, new), exists);
            }
        }
        if self.judge().keeps_used(self.loc.get(id), key, old.as_ref()) {
            self.set_aside(id, key);
        } else {
            self.settle(id, &before);
        }
        self.loc.release(id);
    }

    /// What became of a path changes nothing for those in use.
    fn set_aside(&mut self, id: DestId, key: PathKey) {
        let judge = Judge {
            config: &self.config,
            peers: &self.peers,
            next_hops: &self.next_hops,
            attrs: &self.attrs,
        };
        let dest = self.loc.get_mut(id);
        let family = dest.prefix.family();
        let eligible = dest.path(key).is_some_and(|path| judge.is_eligible(path));
        dest.set_aside(key, eligible, |from, old, new| {
            if let Some(state) = from.and_then(|peer| self.peers.get_mut(&peer)) {
                state.account_changed(family, old, new);
            }
        });
        if self.onlookers > 0 {
            self.offer_to(id, PeerUp::looks_beyond_best);
        }
    }

    /// Decides anew, and tells the readers if that changed what is used.
    pub(super) fn settle(&mut self, id: DestId, before: &Used) {
        let judge = Judge {
            config: &self.config,
            peers: &self.peers,
            next_hops: &self.next_hops,
            attrs: &self.attrs,
        };
        let dest = self.loc.get_mut(id);
        let (used, eligible) = match dest.paths() {
            [] => (0, 0),
            [only] => {
                let eligible = usize::from(judge.is_eligible(only));
                (eligible, eligible)
            }
            [..] => {
                let (decided, used) = judge.decide(dest);
                dest.arrange(&decided);
                (used, decided.len())
            }
        };
        let family = dest.prefix.family();
        dest.stand(used, eligible, |from, old, new| {
            if let Some(state) = from.and_then(|peer| self.peers.get_mut(&peer)) {
                state.account_changed(family, old, new);
            }
        });
        let unchanged = dest.unchanged_since(before);
        let changed = unchanged < before.len().max(dest.in_use().len());
        if changed {
            self.loc.changed(id, !before.is_empty());
        }
        if changed && unchanged == 0 {
            self.offer(id);
            self.monitors.best_changed(&mut self.loc, id);
        } else if self.onlookers > 0 {
            self.offer_to(id, PeerUp::looks_beyond_best);
        }
    }

    /// Has every peer look at a destination.
    pub(super) fn offer(&mut self, id: DestId) {
        self.offer_to(id, |_| true);
    }

    fn offer_to(&mut self, id: DestId, concerned: impl Fn(&PeerUp) -> bool) {
        let family = self.loc.get(id).prefix.family();
        let concerned = |up: &PeerUp| up.families.contains(family) && concerned(up);
        self.groups.mark(&mut self.loc, (id, self.urgent), concerned);
        if self.loners == 0 && self.monitors.is_empty() {
            return;
        }
        for (peer, state) in &mut self.peers {
            if !concerned(&state.up) || state.out.is_none() {
                continue;
            }
            if let Some(Out::Alone(out)) = &mut state.out {
                out.mark(&mut self.loc, id, self.urgent);
                state.list(*peer, &mut self.ready);
            }
            self.monitors.offered(&mut self.loc, *peer, id);
        }
    }

    /// A peer came, went or has other settings.
    pub(super) fn count_onlookers(&mut self) {
        let up = self.peers.values().filter(|state| state.is_up());
        self.onlookers = up.filter(|state| state.up.looks_beyond_best()).count();
        let alone = |state: &&Peer| matches!(state.out, Some(Out::Alone(_)));
        self.loners = self.peers.values().filter(alone).count();
    }

    /// Has every peer look at every destination.
    pub(super) fn offer_all_to_everybody(&mut self) {
        self.groups.mark_everything(&mut self.loc);
        let peers: Vec<_> = self.peers.keys().copied().collect();
        peers.into_iter().for_each(|peer| self.offer_all(peer));
    }

    /// Has one peer look at every destination, unless it has a group that does.
    pub(super) fn offer_all(&mut self, peer: PeerId) {
        let Some(state) = self.peers.get_mut(&peer) else { return };
        let Some(out) = &mut state.out else { return };
        let all = matches!(out, Out::Alone(_)) || !self.monitors.is_empty();
        for id in all.then(|| self.loc.ids()).into_iter().flatten() {
            if state.up.families.contains(self.loc.get(id).prefix.family()) {
                if let Out::Alone(out) = out {
                    out.mark(&mut self.loc, id, false);
                }
                self.monitors.offered(&mut self.loc, peer, id);
            }
        }
        state.list(peer, &mut self.ready);
    }
}
