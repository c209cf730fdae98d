//! What people and programs are shown of a session while it goes on.
//!
//! In: the session. Out: its state, terms and counters. Changes nothing.

use std::time::{Duration, Instant};

use super::{Cause, ConnId, Counters, Established, Mode, Session, State, timers::Timer};

impl Session {
    /// State shown to people: that of the most advanced connection.
    #[must_use]
    pub const fn state(&self) -> State {
        self.state
    }

    /// The connection that is established, if one is.
    #[must_use]
    pub fn established(&self) -> Option<(ConnId, &Established)> {
        self.links.established()
    }

    /// When the state last changed.
    #[must_use]
    pub const fn since(&self) -> Option<Instant> {
        self.since
    }

    /// Why the session last left [`State::Established`] or failed to get there.
    #[must_use]
    pub const fn last_error(&self) -> Option<&Cause> {
        self.last_error.as_ref()
    }

    /// How the last session that stood has ended, as the peer saw it: what we sent, if we sent
    /// anything. `None` if none has ended.
    #[must_use]
    pub const fn departure(&self) -> Option<&Cause> {
        self.departure.as_ref()
    }

    /// When the session will next dial or leave Idle by itself; `None` if it will not, as in
    /// passive mode or when stopped, or need not.
    #[must_use]
    pub fn retry_at(&self) -> Option<Instant> {
        match self.state {
            State::Idle => self.links.timers.at(Timer::IdleHold),
            State::Connect | State::Active => self.links.timers.at(Timer::ConnectRetry),
            State::OpenSent | State::OpenConfirm | State::Established => None,
        }
    }

    /// The peer has announced more than it may, and the session waits for its time or for somebody
    /// to start it ([`Cease::MaxPrefixes`](super::Cease::MaxPrefixes)). A link that comes back or a
    /// setting that changes is no reason to.
    #[must_use]
    pub const fn is_barred(&self) -> bool {
        matches!(self.mode, Mode::Barred)
    }

    /// How long the rest in Idle is that the session is in; zero if it is not resting.
    #[must_use]
    pub const fn idle_hold(&self) -> Duration {
        self.idle_hold
    }

    /// Routes of the peer are kept as stale because it is expected back, or is back and has not
    /// announced all of them again (RFC 4724 §4.2).
    #[must_use]
    pub const fn keeps_stale_routes(&self) -> bool {
        self.restart.expects_peer()
    }

    /// How often the session has been established.
    #[must_use]
    pub const fn established_count(&self) -> u64 {
        self.established_count
    }

    /// Messages received and sent.
    #[must_use]
    pub const fn counters(&self) -> (Counters, Counters) {
        (self.links.received, self.links.sent)
    }
}
