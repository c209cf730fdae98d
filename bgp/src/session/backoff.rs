//! How long a session rests in Idle after a failure (RFC 4271 §8.1.1, IdleHoldTime with
//! DampPeerOscillations).
//!
//! In: what ended the last attempt. Out: whether and how long to rest. The rest doubles with
//! every failure, and only a session that lasts for [`STABLE_AFTER`] resets it: a peer that
//! comes up and falls at once is not tried at full speed forever.

use std::time::Duration;

use crate::session::{Cause, cease};

/// The doubling rest of one session.
#[derive(Clone, Debug, Default)]
pub(super) struct Backoff {
    /// Failures since the last stable session, as far as they count for the length of the rest.
    failures: u32,
}

/// What follows the end of a session's last connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Aftermath {
    /// Keep listening and dial again when the retry timer says so: nothing was agreed or spoiled.
    Retry,
    /// Rest in Idle first.
    Rest(Severity),
}

/// How long rests may become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Severity {
    /// The peer took its leave on purpose; it may be back any moment. Up to about 8 s.
    Farewell,
    /// Something is broken. Up to 120 s.
    Fault,
}

impl Backoff {
    /// One more failure: how long to rest, before jitter.
    pub(super) fn fail(&mut self, severity: Severity) -> Duration {
        let limit = match severity {
            Severity::Farewell => 3,
            Severity::Fault => 7,
        };
        let rest = FIRST_REST * 2u32.pow(self.failures.min(limit));
        self.failures = self.failures.max((self.failures + 1).min(limit));
        rest.min(LONGEST_REST)
    }

    /// The session has been stable, or the operator has started it anew.
    pub(super) const fn reset(&mut self) {
        self.failures = 0;
    }

    /// True if nothing has failed since the last stable session.
    pub(super) const fn is_clear(&self) -> bool {
        self.failures == 0
    }
}

/// What the end of a connection for this cause leads to, if no other connection is left.
/// `open_sent`: the peer's OPEN had not been accepted yet.
///
/// A connection that ends before the peer's OPEN leads to Active, as RFC 4271 §8.2.2 (OpenSent,
/// event 18) has it. This also keeps two resting speakers from refusing each other forever.
pub(super) fn aftermath(cause: &Cause, open_sent: bool) -> Aftermath {
    match cause {
        Cause::Closed if open_sent => Aftermath::Retry,
        Cause::Started | Cause::RetryDue | Cause::Handshake | Cause::ConnectFailed => {
            Aftermath::Retry
        }
        Cause::Received(notification) if cease::is_farewell(notification) => {
            Aftermath::Rest(Severity::Farewell)
        }
        Cause::Closed
        | Cause::PeerRestarted
        | Cause::Stopped
        | Cause::Sent(_)
        | Cause::Received(_)
        | Cause::ReceivedMalformed(_)
        | Cause::SendHoldExpired => Aftermath::Rest(Severity::Fault),
    }
}

/// Rest after the first failure.
const FIRST_REST: Duration = Duration::from_secs(1);
/// No rest is longer: an operator who has mended something waits two minutes at most.
const LONGEST_REST: Duration = Duration::from_secs(120);
/// A session that lasts this long is stable: as long as the longest rest, so that at worst
/// half of a flapping peer's time is spent in sessions.
pub(super) const STABLE_AFTER: Duration = LONGEST_REST;
