//! The time after our own restart in which peers tell us again what we had forgotten (RFC 4724
//! §4.1).
//!
//! In: which peers we wait for, and that the wait for one is over; the sessions keep the time. Out:
//! routes of others that are held back meanwhile, then told. Our own are told at once: nobody
//! else's word could change them. So are the kernel's routes kept up to date: only peers would
//! take a route for gone that is merely not there yet.

use super::{PeerId, Rib, peer::Out};

impl Rib {
    /// This router has restarted, and these peers may not have told it everything yet: peers
    /// hear of no learned route, nor of the end of the first transfer, until
    /// [`Self::deferral_over`] was called for each of them. Call it before sessions are up.
    pub fn defer_for(&mut self, peers: impl IntoIterator<Item = PeerId>) {
        self.deferred_for.extend(peers);
    }

    /// This peer has told everything, or has been waited for long enough, or is none any more.
    pub fn deferral_over(&mut self, peer: PeerId) {
        if !self.deferred_for.remove(&peer) || self.is_deferring() {
            return;
        }
        for state in self.peers.values_mut() {
            if let Some(Out::Alone(out)) = &mut state.out {
                out.end_deferral();
            }
        }
        self.groups.end_deferral();
        self.offer_all_to_everybody();
    }

    /// The peers that are still waited for.
    pub fn deferred_for(&self) -> impl Iterator<Item = PeerId> {
        self.deferred_for.iter().copied()
    }

    /// Are learned routes held back?
    pub(super) fn is_deferring(&self) -> bool {
        !self.deferred_for.is_empty()
    }
}
