//! How a path enters the RIBs, is replaced and leaves them, and what follows from it.
//!
//! In: a path of a peer or of ours, or its end. Out: paths at their destination, a new decision,
//! and a word to the readers whom it concerns.

use std::sync::Arc;

use super::{BestPath, PeerId, Rib, adj_in, dense::DestId, dest::Path};
use crate::{attrs::Attrs, prefix::Prefix, timestamp::Timestamp, wire::Nlri};

impl Rib {
    /// The peer announced these prefixes with these attributes.
    pub(super) fn learn(&mut self, peer: PeerId, attrs: &Arc<Attrs>, prefixes: &[Nlri]) {
        for nlri in prefixes {
            let id = self.loc.open(nlri.prefix);
            let known = self.loc.get(id).path_of(Some(peer));
            if known.is_some_and(|path| Arc::ptr_eq(&path.received, attrs)) {
                continue;
            }
            self.learn_anew(peer, attrs, id, self.now);
        }
    }

    /// A peer (or this router) has no path for the prefix any more.
    pub(super) fn remove(&mut self, from: Option<PeerId>, prefix: Prefix) {
        let Some(id) = self.loc.find(prefix) else { return };
        if self.loc.get(id).path_of(from).is_some() {
            self.set_path(id, from, None);
        }
    }

    /// Takes a path, received at `learned`, through import into its destination.
    pub(super) fn learn_anew(
        &mut self,
        peer: PeerId,
        attrs: &Arc<Attrs>,
        id: DestId,
        learned: Timestamp,
    ) {
        let up = &self.peers[&peer].up;
        let imported = adj_in::screen(&self.config, up, attrs)
            .and_then(|()| adj_in::import(&self.config, up, self.loc.get(id).prefix, attrs));
        let imported = match imported {
            Ok(changed) if Arc::ptr_eq(&changed, attrs) => Ok(changed),
            Ok(changed) => Ok(self.attrs.intern(changed)),
            Err(reason) => Err(Box::new(reason)),
        };
        let path = Path::new(Some(peer), Arc::clone(attrs), imported, learned);
        self.set_path(id, Some(peer), Some(path));
    }

    /// Takes the peer's paths to these destinations through import again.
    pub(super) fn import_anew(&mut self, peer: PeerId, received: &[DestId]) {
        for id in received {
            let Some(path) = self.loc.get(*id).path_of(Some(peer)) else { continue };
            let (attrs, learned) = (Arc::clone(&path.received), path.learned);
            self.learn_anew(peer, &attrs, *id, learned);
        }
    }

    /// Puts in, replaces or takes out the path that a peer (or this router) has for a
    /// destination, and settles what follows.
    pub(super) fn set_path(&mut self, id: DestId, from: Option<PeerId>, path: Option<Path>) {
        let before = self.loc.get(id).best_paths();
        let hop = path.as_ref().and_then(Path::next_hop);
        let dest = self.loc.get_mut(id);
        let exists = path.is_some();
        let old = match path {
            Some(path) => dest.put(path),
            None => dest.take(from),
        };
        if self.config.resolve_next_hops {
            let old_hop = old.as_ref().and_then(Path::next_hop);
            if let Some(old_hop) = old_hop.filter(|hop| !dest.has_next_hop(*hop)) {
                self.next_hops.remove(old_hop, id);
            }
            if let Some(hop) = hop {
                self.next_hops.add(hop, id);
            }
        }
        let family = dest.prefix.family();
        // Stations may let go of the destination before all is settled.
        self.loc.claim(id);
        if let Some(peer) = from {
            self.monitors.path_changed(&mut self.loc, peer, id, old.as_ref());
        }
        if let Some(state) = from.and_then(|peer| self.peers.get_mut(&peer)) {
            state.path_changed(id, family, old.map(|path| path.standing), exists);
        }
        self.settle(id, &before);
        self.loc.release(id);
    }

    /// Decides anew, and tells the readers if that changed what is used.
    pub(super) fn settle(&mut self, id: DestId, before: &[BestPath]) {
        let (decided, used) = self.judge().decide(self.loc.get(id));
        let dest = self.loc.get_mut(id);
        let family = dest.prefix.family();
        dest.arrange(&decided, used, |from, old, new| {
            if let Some(state) = from.and_then(|peer| self.peers.get_mut(&peer)) {
                state.standing_changed(family, old, new);
            }
        });
        let unchanged = dest.unchanged_since(before);
        if unchanged < before.len().max(dest.in_use().len()) {
            self.loc.changed(id, !before.is_empty());
            if unchanged == 0 {
                self.offer(id);
                self.monitors.best_changed(&mut self.loc, id);
            }
        }
        self.loc.retire(id);
    }

    /// Has every peer look at a destination.
    pub(super) fn offer(&mut self, id: DestId) {
        let family = self.loc.get(id).prefix.family();
        for (peer, state) in &mut self.peers {
            if state.up.families.contains(family) {
                state.out.mark(&mut self.loc, id);
                state.list(*peer, &mut self.ready);
            }
        }
    }

    /// Has one peer look at every destination.
    pub(super) fn offer_all(&mut self, peer: PeerId) {
        let Some(state) = self.peers.get_mut(&peer) else { return };
        for id in self.loc.ids() {
            if state.up.families.contains(self.loc.get(id).prefix.family()) {
                state.out.mark(&mut self.loc, id);
            }
        }
        state.list(peer, &mut self.ready);
    }
}
