//! Our own restart, for as long as peers may have to hear of it (RFC 4724 §4.1).
//!
//! In: the configuration that the daemon started with, the clock. Out: which peers the RIB waits
//! for, and when nobody waits or is told any more, whatever became of the peers: one that is down
//! or not even found must not hold up the others, and one that is met later is not to take us for
//! a router that has just restarted.

use std::time::{Duration, Instant};

use bgp::{config::Restarted, rib::PeerId};

use crate::config::{Config, DynamicPeers, Peer};

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(in crate::peering) struct OwnRestart {
    restarted: Restarted,
    /// When the RIB waits for nobody any more; `None` once that is so.
    deferred_until: Option<Instant>,
    told_until: Instant,
}

/// What is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over {
    /// The wait for routes of others.
    Deferral,
    /// The restart as a whole.
    Restart,
}

impl OwnRestart {
    /// That of which the configuration says that peers are to hear, from now on.
    pub(super) fn of(config: &Config, now: Instant) -> Option<Self> {
        let settings =
            || sessions(config).filter_map(|peer| peer.session.graceful_restart.as_ref());
        let restarted = settings().find_map(|restart| restart.restarted)?;
        let longest = settings().map(|restart| restart.restart_time.seconds()).max();
        let told = Duration::from_secs(longest.unwrap_or_default().into());
        Some(Self {
            restarted,
            deferred_until: Some(now + restarted.deferral),
            // Peers forget what they kept for us after the restart time.
            told_until: now + told.max(restarted.deferral),
        })
    }

    /// The peers of the configuration whose routes are waited for, by the numbers that they get.
    pub(in crate::peering) fn deferred_for(config: &Config) -> Vec<PeerId> {
        let waits = |peer: &Peer| {
            peer.session
                .graceful_restart
                .as_ref()
                .is_some_and(|restart| restart.restarted.is_some())
        };
        let numbered = (0..).map(PeerId).zip(&config.peers);
        numbered.filter(|(_, peer)| waits(peer)).map(|(id, _)| id).collect()
    }

    /// Says in another configuration what was said in the first one: members of its groups that
    /// come now may have to hear it.
    pub(super) fn announce(&self, config: &mut Config) {
        crate::restart::announce(config, Some(self.restarted));
    }

    /// When [`Self::pass`] has something to say.
    pub(super) const fn due(&self) -> Instant {
        match self.deferred_until {
            Some(until) => until,
            None => self.told_until,
        }
    }

    /// What is over by now, once each.
    pub(super) fn pass(&mut self, now: Instant) -> Option<Over> {
        if self.deferred_until.take_if(|until| *until <= now).is_some() {
            return Some(Over::Deferral);
        }
        (self.deferred_until.is_none() && self.told_until <= now).then_some(Over::Restart)
    }
}

fn sessions(config: &Config) -> impl Iterator<Item = &Peer> {
    config.peers.iter().chain(config.dynamic_peers.iter().map(DynamicPeers::template))
}
