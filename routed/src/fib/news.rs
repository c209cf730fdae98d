//! What the log says about kernel routes: what changed since it was last said, at most once a
//! second.

use std::time::{Duration, Instant};

use bgp::family::Family;
use routed_core::fib::{
    Fib,
    nexthop_group::GroupCounters,
    status::{Counters, RouteState, RouteStatus},
};

/// What has been said.
#[derive(Debug, Default)]
pub(super) struct News {
    ready: bool,
    settled: bool,
    conflicts: usize,
    failed: usize,
    counters: Counters,
    groups: GroupCounters,
    said_at: Option<Instant>,
    /// There is something to say that has to wait.
    due: Option<Instant>,
}

impl News {
    /// When [`Self::report`] has more to say.
    pub(super) const fn due(&self) -> Option<Instant> {
        self.due
    }

    pub(super) fn report(&mut self, fib: &Fib, now: Instant) {
        self.milestones(fib);
        if !self.has_changed(fib) {
            self.due = None;
            return;
        }
        let earliest = self.said_at.map_or(now, |at| at + PAUSE);
        if now < earliest {
            self.due = Some(earliest);
            return;
        }
        self.due = None;
        self.said_at = Some(now);
        self.say(fib);
    }

    fn milestones(&mut self, fib: &Fib) {
        if fib.is_ready() && !self.ready {
            self.ready = true;
            let adopted = fib.routes().filter(|route| route.have.is_some()).count();
            tracing::info!(adopted, "kernel routes read; those of an earlier run are kept for now");
            if fib.lacks_groups() {
                tracing::warn!(
                    "the kernel has no next-hop groups (Linux 5.3 on has them): the loss of \
                    a neighbour is one change for each route"
                );
            }
        }
        if fib.is_settled() && !self.settled {
            self.settled = true;
            let stale = count(fib, RouteState::Stale);
            tracing::info!(stale, "routes that no peer has confirmed are removed from now on");
        }
    }

    fn has_changed(&self, fib: &Fib) -> bool {
        self.conflicts != count(fib, RouteState::Conflict)
            || self.failed != count(fib, RouteState::Failed)
            || self.counters.repaired != fib.counters().repaired
            || self.counters.resyncs != fib.counters().resyncs
            || self.groups.repaired != fib.group_counters().repaired
            || self.groups.failed != fib.group_counters().failed
    }

    fn say(&mut self, fib: &Fib) {
        let conflicts = count(fib, RouteState::Conflict);
        if let Some(route) =
            example(fib, RouteState::Conflict).filter(|_| conflicts > self.conflicts)
        {
            tracing::warn!(conflicts, prefix = %route.key.prefix,
                "another program has routes with our destinations, table and metric; ours follow \
                 when those are deleted, or set another [kernel] metric");
        } else if conflicts < self.conflicts {
            tracing::info!(conflicts, "routes of other programs gave way to ours");
        }
        let failed = count(fib, RouteState::Failed);
        if let Some(route) = example(fib, RouteState::Failed).filter(|_| failed > self.failed)
            && let Some(error) = route.error
        {
            tracing::warn!(failed, prefix = %route.key.prefix, attempt = route.attempt, %error,
                "routes cannot be installed; trying again");
        } else if failed < self.failed {
            tracing::info!(failed, "routes that were refused are installed or no longer wanted");
        }
        let counters = fib.counters();
        let repaired = counters.repaired - self.counters.repaired;
        if repaired > 0 {
            tracing::warn!(repaired, "another program changed or deleted our routes; restored");
        }
        self.say_of_groups(fib);
        let resyncs = counters.resyncs - self.counters.resyncs;
        if resyncs > 0 {
            tracing::debug!(resyncs, "all kernel routes read again");
        }
        (self.conflicts, self.failed, self.counters) = (conflicts, failed, counters);
    }
}

impl News {
    fn say_of_groups(&mut self, fib: &Fib) {
        let counters = fib.group_counters();
        let repaired = counters.repaired - self.groups.repaired;
        if repaired > 0 {
            tracing::warn!(
                repaired,
                "another program changed or deleted our next-hop objects; \
                restored"
            );
        }
        let failed = counters.failed - self.groups.failed;
        let mut objects = fib.next_hop_objects();
        if failed > 0
            && let Some((object, error)) =
                objects.find_map(|(object, _)| Some((object.id, object.error?)))
        {
            tracing::warn!(failed, id = %object, %error,
                "next-hop objects cannot be written; trying again");
        }
        self.groups = counters;
    }
}

fn count(fib: &Fib, state: RouteState) -> usize {
    Family::ALL.into_iter().map(|family| fib.count(family, state)).sum()
}

fn example(fib: &Fib, state: RouteState) -> Option<RouteStatus<'_>> {
    (count(fib, state) > 0).then(|| fib.routes().find(|route| route.state == state))?
}

/// Shortest time between two reports.
const PAUSE: Duration = Duration::from_secs(1);
