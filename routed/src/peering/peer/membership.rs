//! When a dynamic peer is none any more.

use std::time::Instant;

use bgp::session::State;

use super::PeerTask;

impl PeerTask {
    /// When the task ends by itself; never for a peer with an entry of its own. Nor while the peer
    /// may be back: it rests after a failure, its routes are kept for it, or an operator has
    /// something to say about it.
    pub(super) fn expiry(&self) -> Option<Instant> {
        let membership = self.settings.membership.as_ref()?;
        let waits = self.session.state() == State::Active
            && !self.session.keeps_stale_routes()
            && self.inbox.status.borrow().wanted;
        self.session.since().filter(|_| waits).map(|since| since + membership.linger)
    }
}
