//! Limits to how many paths a peer may announce, and to how many it is told.
//!
//! In: paths about to be taken, and settings. Out: whether there is room, and events for whoever
//! warns people and ends sessions. What is over a limit is not stored: a peer that has gone mad
//! costs what its limit allows.

use super::{PeerId, Rib, account::Account, dest::PathKey};
use crate::{
    config::{AtLimit, Counted, PrefixLimit},
    family::{Family, PerFamily},
};

/// A peer's routes come near a limit or reach it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitEvent {
    /// The peer.
    pub peer: PeerId,
    /// Of which family.
    pub family: Family,
    /// The limit.
    pub max: u32,
    /// Which limit, and how far.
    pub kind: LimitKind,
}

/// Which limit a peer's routes come to. Each is told once in a session, or again after a change
/// of the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LimitKind {
    /// The peer has announced so many paths that somebody shall know.
    Near,
    /// It has announced more than it may, and they are taken.
    Over,
    /// It has announced more than it may, and no more are taken: its session is to be ended
    /// ([`Cease::MaxPrefixes`](crate::session::Cease::MaxPrefixes)).
    Stop,
    /// There are more paths to tell it than it is to be told.
    Advertised,
}

impl Rib {
    /// The next event. Those of a session that has ended since are not told.
    pub fn poll_limit(&mut self) -> Option<LimitEvent> {
        self.limit_events.pop_first().map(|((peer, family, kind), max)| LimitEvent {
            peer,
            family,
            max,
            kind,
        })
    }

    /// May the peer have this `new` path, in place of an `old` one? Stale paths of a session that
    /// has ended always stay.
    pub(super) fn admit(
        &mut self,
        key: PathKey,
        family: Family,
        old: Option<Account>,
        new: Account,
    ) -> bool {
        let Some(peer) = key.from else { return true };
        let Some(state) = self.peers.get(&peer).filter(|state| state.is_up()) else { return true };
        let Some(limit) = *state.up.config.max_prefixes.get(family) else { return true };
        let counts = |account: Account| match limit.counted {
            Counted::Received => 1,
            Counted::Accepted => usize::from(account.let_in),
        };
        let others = state.counted(family, limit.counted) - old.map_or(0, counts);
        self.measure(peer, family, limit, others + counts(new))
    }

    /// Are no more paths taken from the peer, not even those that it had?
    pub(super) fn is_shut(&self, key: PathKey, family: Family) -> bool {
        let state = key.from.and_then(|peer| self.peers.get(&peer));
        state.is_some_and(|state| {
            let limit = state.up.config.max_prefixes.get(family);
            state.inbound.get(family).exceeded && limit.is_some_and(|limit| limit.at_limit.stops())
        })
    }

    /// The limits of a peer have changed: nobody has been told of the new ones.
    pub(super) fn reset_limits(&mut self, peer: PeerId) {
        self.forget_limits(peer);
        if let Some(state) = self.peers.get_mut(&peer) {
            for family in Family::ALL {
                let inbound = state.inbound.get_mut(family);
                (inbound.warned, inbound.exceeded) = (false, false);
            }
        }
    }

    /// Settings of a peer have changed: what it had announced may be too much now.
    pub(super) fn measure_all(&mut self, peer: PeerId) {
        for family in Family::ALL {
            if let Some(state) = self.peers.get(&peer).filter(|state| state.is_up())
                && let Some(limit) = *state.up.config.max_prefixes.get(family)
            {
                self.measure(peer, family, limit, state.counted(family, limit.counted));
            }
        }
    }

    /// The peer has paths waiting that are more than it is to be told.
    pub(super) fn note_held_back(&mut self, peer: PeerId, held: PerFamily<Option<u32>>) {
        for family in Family::ALL {
            if let Some(max) = *held.get(family) {
                self.limit_events.insert((peer, family, LimitKind::Advertised), max);
            }
        }
    }

    /// Nobody needs to know any more.
    pub(super) fn forget_limits(&mut self, peer: PeerId) {
        self.limit_events.retain(|(other, ..), _| *other != peer);
    }

    /// Whether so many paths are within the limit, or are taken all the same.
    fn measure(&mut self, peer: PeerId, family: Family, limit: PrefixLimit, count: usize) -> bool {
        let Some(state) = self.peers.get_mut(&peer) else { return true };
        let inbound = state.inbound.get_mut(family);
        let over = count > limit.max as usize;
        let news = match limit.at_limit {
            AtLimit::Stop { .. } if inbound.exceeded => return false,
            AtLimit::Stop { .. } if over => Some(LimitKind::Stop),
            AtLimit::Warn if over && !inbound.exceeded => Some(LimitKind::Over),
            AtLimit::Stop { .. } | AtLimit::Warn => {
                let near = !over && count >= limit.warn_from as usize && !inbound.warned;
                near.then_some(LimitKind::Near)
            }
        };
        inbound.exceeded |= over;
        inbound.warned |= news.is_some();
        if let Some(kind) = news {
            self.limit_events.insert((peer, family, kind), limit.max);
        }
        !(over && limit.at_limit.stops())
    }
}
