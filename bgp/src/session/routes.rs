//! What goes over an established session, and what becomes of the peer's routes after it.
//!
//! In: UPDATEs and refresh marks in both directions, the loss of the session, deadlines about
//! routes. Out: the outputs for the RIB in their order. The rules are in [`restart`](super::restart)
//! and [`refreshing`](super::refreshing).

use std::time::Instant;

use bytes::Bytes;

use super::{
    Established, IgnoredRefresh, Output, Session, links::Links, restart::Loss, timers::Timer,
};
use crate::{
    family::Family,
    wire::{Refresh, Update},
};

impl Session {
    /// Sends one UPDATE as [`Update`] encodes it for this session's codec.
    /// Does nothing unless established.
    pub fn send_update(&mut self, octets: Bytes, now: Instant) {
        self.send_updates(octets, 1, now);
    }

    /// Sends so many UPDATEs, one behind the other in `octets`.
    /// Does nothing unless established.
    pub fn send_updates(&mut self, octets: Bytes, updates: usize, now: Instant) {
        if let Some((conn, _)) = self.established() {
            self.links.send_updates(conn, octets, updates, now);
        }
    }

    /// Tells the peer that all routes of a family follow, or that they have been announced
    /// (RFC 7313 §4), in the order of the UPDATEs around it. Does nothing unless established, or
    /// if the peer does not know these marks.
    pub fn send_refresh_mark(&mut self, mark: Refresh, now: Instant) {
        if let Some((conn, _)) = self.established().filter(|(_, terms)| terms.enhanced_refresh) {
            self.links.send_refresh(conn, mark, now);
        }
    }

    /// Asks the peer for its routes of a family again. False if it cannot be asked.
    pub fn request_refresh(&mut self, family: Family, now: Instant) -> bool {
        let Some((conn, terms)) = self.established() else { return false };
        let possible = terms.route_refresh && terms.families.contains(family);
        if possible {
            self.links.send_refresh(conn, Refresh::request(family), now);
        }
        possible
    }

    /// Our restart is over: OPENs do not speak of it any more, and no [`Output::DeferralOver`]
    /// follows. To be called when all routes that this router has after its restart are there, if
    /// the session has not come to that end by itself: a peer that is met later must not take it
    /// for one that has just restarted (RFC 4724 §4.1).
    pub fn end_restart(&mut self) {
        self.restart.end_ours(&mut self.links.timers);
    }

    pub(super) fn deliver(&mut self, update: Update) {
        let ended = update.end_of_rib;
        self.links.outputs.push_back(Output::Update(update));
        let Links { timers, outputs, .. } = &mut self.links;
        outputs.extend(ended.and_then(|family| self.restart.end_of_rib(family, timers)));
    }

    /// Ignored before the End-of-RIB of a peer with graceful restart (RFC 7313 §4): until then
    /// its first transfer goes on.
    pub(super) fn refresh_begin(&mut self, family: Family, now: Instant) {
        let restarts =
            self.established().is_some_and(|(_, terms)| terms.graceful_restart.is_some());
        let output = if restarts && self.restart.awaits(family) {
            Output::RefreshIgnored(IgnoredRefresh::BeforeEndOfRib(family))
        } else {
            self.refreshing.begin(family, &mut self.links.timers, now)
        };
        self.links.outputs.push_back(output);
    }

    /// The established connection is gone: tells the RIB what becomes of the peer's routes.
    pub(super) fn lost(&mut self, terms: &Established, loss: Loss, now: Instant) {
        let Links { timers, outputs, .. } = &mut self.links;
        timers.stop(Timer::Stable);
        self.refreshing.clear(timers);
        outputs.extend(self.restart.lost(terms, loss, timers, now));
    }

    /// A deadline about routes, not about connections.
    pub(super) fn routes_timeout(&mut self, timer: Timer, now: Instant) {
        let Links { timers, outputs, .. } = &mut self.links;
        let restart = &mut self.restart;
        match timer {
            Timer::Restart => outputs.extend(restart.restart_time_over(timers, now)),
            Timer::StalePath => outputs.extend(restart.stale_path_time_over(timers)),
            Timer::LongLived(family) => {
                outputs.extend(restart.long_lived_time_over(family, timers));
            }
            Timer::Deferral => outputs.extend(restart.deferral_over(timers)),
            Timer::Refresh(family) => outputs.extend(self.refreshing.end(family, timers)),
            Timer::Hold(_)
            | Timer::SendHold(_)
            | Timer::Keepalive(_)
            | Timer::Challenge
            | Timer::Stable
            | Timer::ConnectRetry
            | Timer::IdleHold => {}
        }
    }
}
