//! Sessions that begin and end, and what becomes of a peer's paths meanwhile: stale ones of a peer
//! that restarts (RFC 4724, RFC 9494), and those that a refresh leaves out (RFC 7313).
//!
//! In: what the session says, which keeps all the timers. Out: paths marked, taken out or back to
//! normal. Stale paths are used like any other until something here ends them; long-lived stale
//! ones are the last choice.

use std::collections::btree_map::Entry;

use super::{
    Freshness, PeerId, PeerUp, Rib,
    adj_out::AdjOut,
    dense::DestId,
    dest::PathKey,
    group::{self, Known},
    peer::{Out, Peer},
};
use crate::{
    community::Community,
    family::{Family, FamilySet},
    session::Cause,
    timestamp::Timestamp,
};

impl Rib {
    /// A session was established: its peer gets everything that is due to it, then End-of-RIB
    /// for each family. An older session of the same peer counts as ended. Stale paths of an
    /// earlier one stay until the peer's End-of-RIB or [`Self::stale_expired`], but for families
    /// that the session does not have.
    pub fn peer_up(&mut self, peer: PeerId, up: PeerUp) {
        if self.peers.get(&peer).is_some_and(Peer::is_up) {
            self.peer_down(peer, FamilySet::NONE, &Cause::Handshake, up.opening.at);
        }
        let families = up.families;
        let state = match self.peers.entry(peer) {
            Entry::Occupied(entry) => {
                let state = entry.into_mut();
                state.resume(peer, up);
                state
            }
            Entry::Vacant(entry) => entry.insert(Peer::new(peer, up)),
        };
        let known = Known::nothing(&state.manner(!self.deferred_for.is_empty()));
        self.monitors.peer_up(&state.monitored, &mut self.loc, &state.received);
        self.admit_to_told(peer, known);
        self.remove_all(peer, |family, _| !families.contains(family));
        // It may be another than before, and so may its paths be to others.
        self.for_each_path(peer, |rib, id, key| {
            rib.import_again(id, key);
            rib.offer(id);
        });
    }

    /// Decides with whom the peer is told what it is told, and has it look at everything.
    pub(super) fn admit_to_told(&mut self, peer: PeerId, known: Known) {
        let Some(state) = self.peers.get_mut(&peer) else { return };
        state.out = Some(match group::manner(&state.up) {
            Some(manner) => Out::Member(self.groups.join(peer, manner, known, &mut self.loc)),
            None => {
                let manner = state.manner(!self.deferred_for.is_empty());
                Out::Alone(Box::new(AdjOut::new(&manner, known, &mut self.loc)))
            }
        });
        self.count_onlookers();
        self.offer_all(peer);
    }

    /// A session ended. Its paths of the families in `retain` are stale from now on, those of
    /// the others are gone. What was stale before stays so (RFC 4724 §4.2 has it deleted, but
    /// RFC 9494 §4.2 does not always): call [`Self::stale_expired`] first for what is to go.
    /// Cause and time are for the stations.
    pub fn peer_down(&mut self, peer: PeerId, retain: FamilySet, why: &Cause, at: Timestamp) {
        let Some(state) = self.peers.get_mut(&peer) else { return };
        match state.suspend() {
            Some(Out::Alone(out)) => out.clear(&mut self.loc),
            Some(Out::Member(group)) => self.groups.leave(group, peer, &mut self.loc),
            None => return,
        }
        self.monitors.peer_down(&mut self.loc, peer, why, at);
        self.ready.retain(|other| *other != peer);
        self.count_onlookers();
        self.forget_limits(peer);
        self.remove_all(peer, |family, _| !retain.contains(family));
        self.for_each_path(peer, |rib, id, key| {
            rib.mark(id, key, |marks| {
                marks.freshness = marks.freshness.max(Freshness::Stale);
                marks.unrefreshed = false;
            });
        });
        self.forget_if_gone(peer);
        self.sweep_if_due();
    }

    /// What is still stale of these families is gone.
    pub fn stale_expired(&mut self, peer: PeerId, families: FamilySet) {
        self.remove_all(peer, |family, path| {
            families.contains(family) && path.marks().freshness != Freshness::Current
        });
        self.forget_if_gone(peer);
    }

    /// What is stale of these families is from now on long-lived stale: the last choice, marked
    /// as such to others, and gone if it carries NO_LLGR (RFC 9494 §4.2).
    pub fn long_lived(&mut self, peer: PeerId, families: FamilySet) {
        self.for_each_path(peer, |rib, id, key| {
            let family = rib.loc.get(id).prefix.family();
            if families.contains(family) && rib.freshness(id, key) == Freshness::Stale {
                rib.keep_for_long(id, key);
            }
        });
        self.forget_if_gone(peer);
    }

    /// The peer begins to announce all of a family again. Ignored before the End-of-RIB of a peer
    /// that sends one for sure (RFC 7313 §4).
    pub fn refresh_begin(&mut self, peer: PeerId, family: Family) {
        let Some(state) = self.peers.get_mut(&peer).filter(|state| state.is_up()) else { return };
        let inbound = state.inbound.get_mut(family);
        if !inbound.ended && state.up.options.graceful_restart {
            return;
        }
        inbound.refreshing = true;
        self.for_each_path(peer, |rib, id, key| {
            if rib.loc.get(id).prefix.family() == family {
                rib.mark(id, key, |marks| marks.unrefreshed = true);
            }
        });
    }

    /// It has announced all of it: what did not come is gone. Ignored without a beginning.
    pub fn refresh_end(&mut self, peer: PeerId, family: Family) {
        let Some(state) = self.peers.get_mut(&peer) else { return };
        if std::mem::take(&mut state.inbound.get_mut(family).refreshing) {
            self.remove_all(peer, |of, path| of == family && path.marks().unrefreshed);
        }
    }

    /// The peer's first transfer of a family is complete: what is still stale is gone
    /// (RFC 4724 §4.2).
    pub(super) fn end_of_rib(&mut self, peer: PeerId, family: Family) {
        let Some(state) = self.peers.get_mut(&peer) else { return };
        state.inbound.get_mut(family).ended = true;
        self.stale_expired(peer, FamilySet::of(family));
    }

    fn keep_for_long(&mut self, id: DestId, key: PathKey) {
        let Some(path) = self.loc.get(id).path(key) else { return };
        let refuses = |attrs| self.attrs.get(attrs).has(Community::NO_LLGR);
        if refuses(path.received) || path.accepted().is_some_and(refuses) {
            self.set_path(id, key, None);
            return;
        }
        self.mark(id, key, |marks| marks.freshness = Freshness::LongLived);
        self.import_again(id, key);
    }

    fn freshness(&self, id: DestId, key: PathKey) -> Freshness {
        self.loc.get(id).path(key).map_or(Freshness::Current, |path| path.marks().freshness)
    }

    /// Forgets a peer whose session has ended once it has no path left.
    fn forget_if_gone(&mut self, peer: PeerId) {
        if self.peers.get(&peer).is_some_and(|state| !state.is_up() && state.received.is_empty()) {
            self.peers.remove(&peer);
        }
    }
}
