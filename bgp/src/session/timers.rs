//! All deadlines of one session in one table, and the jitter that keeps sessions apart.
//!
//! In: when something is due. Out: the next deadline, and what is due by now, earliest first.
//! Reads no clock: every time comes in as an argument.

use std::time::{Duration, Instant};

use crate::{family::Family, session::ConnId};

/// Something that happens at a time (RFC 4271 §8.1.3, §10).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// The peer was silent for too long.
    Hold(ConnId),
    /// The peer took nothing for too long (RFC 9687).
    SendHold(ConnId),
    /// We must say something.
    Keepalive(ConnId),
    /// A challenger has waited long enough for the established connection to die.
    Challenge,
    /// The session has lasted long enough to forget earlier failures.
    Stable,
    /// Time to dial (again).
    ConnectRetry,
    /// The rest after a failure is over.
    IdleHold,
    /// The peer has had the time to come back (RFC 4724 §4.2).
    Restart,
    /// The peer is back and has had the time to announce its routes again.
    StalePath,
    /// Long-lived stale routes of a family have had their time (RFC 9494 §4.2).
    LongLived(Family),
    /// We have restarted, and the peer has had the time to announce its routes (RFC 4724 §4.1).
    Deferral,
    /// The peer has had the time to announce a family again (RFC 7313 §4).
    Refresh(Family),
}

/// The table: at most three timers a connection, two a family and seven of the session, so that
/// looking through all of them is quicker than keeping them in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Timers {
    due: Vec<(Instant, Timer)>,
}

impl Timers {
    /// Starts a timer, or starts it anew.
    pub(super) fn set(&mut self, timer: Timer, at: Instant) {
        match self.due.iter_mut().find(|(_, running)| *running == timer) {
            Some((due, _)) => *due = at,
            None => self.due.push((at, timer)),
        }
    }

    /// Starts a timer unless it runs already.
    pub(super) fn start(&mut self, timer: Timer, at: Instant) {
        if self.at(timer).is_none() {
            self.due.push((at, timer));
        }
    }

    pub(super) fn stop(&mut self, timer: Timer) {
        self.due.retain(|(_, running)| *running != timer);
    }

    /// Takes the earliest timer out of the table if it is due; of several at one instant the first
    /// in the order of [`Timer`].
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<Timer> {
        let (at, timer) = self.due.iter().min().copied()?;
        (at <= now).then(|| self.stop(timer))?;
        Some(timer)
    }

    /// When a timer will be due, if it runs.
    pub(super) fn at(&self, timer: Timer) -> Option<Instant> {
        self.due.iter().find(|(_, running)| *running == timer).map(|(at, _)| *at)
    }

    /// The next deadline.
    pub(super) fn next(&self) -> Option<Instant> {
        self.due.iter().map(|(at, _)| *at).min()
    }
}

/// A repeatable source of jitter (splitmix64). Not for secrets.
#[derive(Clone, Debug)]
pub(super) struct Jitter(u64);

impl Jitter {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The duration times a factor between 0.75 and 1.0 (RFC 4271 §10).
    pub(super) fn apply(&mut self, base: Duration) -> Duration {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let quarter = f64::from(u16::try_from(z >> 48).expect("16 bits are left")) / 262_140.0;
        base.mul_f64(0.75 + quarter)
    }
}
