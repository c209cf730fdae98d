//! How well we know the kernel and our own wishes: what may be done already.
//!
//! [`Picture`]: nothing is written before the first full picture of the kernel, and another one is
//! taken when changes could not be followed. [`Settle`]: nothing is deleted before everybody has
//! said what they want.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use super::route::RouteKey;

/// How well we know the kernel.
#[derive(Clone, Debug, Default)]
pub(super) struct Picture {
    pub(super) links: bool,
    pub(super) routes: bool,
    /// A dump is under way; keys that were reported changed since it was asked for.
    pub(super) dumping: Option<BTreeSet<RouteKey>>,
    /// Changes were missed that only the next full picture will show.
    pub(super) blind: bool,
    /// They were missed since the dump that is under way was asked for.
    missed: bool,
    /// When to ask for (another) one.
    pub(super) dump_at: Option<Instant>,
    last_dump: Option<Instant>,
}

/// How well we know what is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Settle {
    /// Waiting for the first picture of the kernel; `complete` if the peers are through already.
    Starting { complete: bool },
    /// Until then.
    Waiting { complete: bool, quiet_at: Instant, at_last: Instant },
    /// Routes that nobody wants go.
    Settled,
}

impl Picture {
    /// Nothing is known; the first picture is due.
    pub(super) fn unknown(now: Instant) -> Self {
        Self { dump_at: Some(now), ..Self::default() }
    }

    /// Changes of routes were missed.
    pub(super) fn missed(&mut self) {
        self.blind = true;
        self.missed = true;
    }

    /// A dump is asked for now.
    pub(super) fn ask(&mut self) {
        self.dump_at = None;
        self.dumping = Some(BTreeSet::new());
        self.missed = false;
    }

    /// Here it is. Returns the keys that changed meanwhile, of which we know better.
    pub(super) fn taken(&mut self, now: Instant) -> BTreeSet<RouteKey> {
        self.routes = true;
        self.last_dump = Some(now);
        self.blind = self.missed;
        self.dumping.take().unwrap_or_default()
    }

    /// When the next dump is due: none while one is under way, nor shortly after the last.
    pub(super) fn dump_due(&self) -> Option<Instant> {
        let at = self.dump_at.filter(|_| self.dumping.is_none())?;
        Some(self.last_dump.map_or(at, |last| at.max(last + DUMP_PAUSE)))
    }
}

impl Settle {
    pub(super) fn start(&mut self, now: Instant, grace: Duration) {
        if let Self::Starting { complete } = *self {
            *self = Self::Waiting { complete, quiet_at: now + QUIET, at_last: now + grace };
        }
    }

    pub(super) fn complete(&mut self, now: Instant) {
        match self {
            Self::Starting { complete } => *complete = true,
            Self::Waiting { complete, quiet_at, .. } => {
                *complete = true;
                *quiet_at = now + QUIET;
            }
            Self::Settled => {}
        }
    }

    pub(super) fn postpone(&mut self, now: Instant) {
        match self {
            Self::Waiting { quiet_at, .. } => *quiet_at = now + QUIET,
            Self::Starting { .. } | Self::Settled => {}
        }
    }

    /// When [`Self::is_over`] may become true by itself.
    pub(super) fn deadline(self) -> Option<Instant> {
        match self {
            Self::Waiting { complete: true, quiet_at, at_last } => Some(quiet_at.min(at_last)),
            Self::Waiting { complete: false, at_last, .. } => Some(at_last),
            Self::Starting { .. } | Self::Settled => None,
        }
    }

    pub(super) fn is_over(self, now: Instant) -> bool {
        match self {
            Self::Waiting { complete, quiet_at, at_last } => {
                now >= at_last || complete && now >= quiet_at
            }
            Self::Starting { .. } | Self::Settled => false,
        }
    }
}

/// Shortest time between two full pictures, however much is in doubt: one of 100,000 routes takes
/// some 50 ms.
pub(super) const DUMP_PAUSE: Duration = Duration::from_millis(500);
/// The RIB is through with what peers sent once it has been silent for so long.
const QUIET: Duration = Duration::from_secs(2);
