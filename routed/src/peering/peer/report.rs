//! What the peer's task tells people: the log and [`PeerStatus`](super::PeerStatus).

use std::{
    fmt::{self, Display},
    sync::Arc,
    time::Instant,
};

use bgp::{
    session::{Cause, IgnoredRefresh, State, StateChange},
    wire::{Treatment, Update},
};

use super::PeerTask;
use crate::peering::{conn::Conn, status::LastError};

impl PeerTask {
    /// Logs a change of state: what an operator would want to know as info, a failure once as
    /// a warning, steps of the handshake as debug.
    pub(super) fn note(&mut self, change: &StateChange) {
        let peer = Arc::clone(&self.settings.name);
        let StateChange { from, to, cause } = change;
        if cause.is_failure() {
            self.failed_at = Some(Instant::now());
        }
        match (from, to) {
            (_, State::Established) => {
                self.warned = None;
                tracing::info!(%peer, "session established");
            }
            (State::Established, _) if cause.is_failure() => {
                self.warned = Some(cause.to_string());
                tracing::warn!(%peer, error = %cause, "session lost");
            }
            (State::Established, _) => tracing::info!(%peer, "session ended as asked"),
            _ => {
                tracing::debug!(%peer, %from, %to, %cause, "session changed state");
                if let Some(error) = self.failure(cause) {
                    self.warn_once(&error);
                }
            }
        }
    }

    /// Says whether the peer's paths are lost, without waiting for the RIB to work through them.
    pub(super) fn note_loss(&self, lost: bool) {
        self.inbox
            .status
            .send_if_modified(|status| std::mem::replace(&mut status.lost, lost) != lost);
    }

    /// Logs a failure unless it is the one logged last.
    pub(super) fn warn_once(&mut self, error: &impl Display) {
        let text = error.to_string();
        if self.warned.as_ref() != Some(&text) {
            tracing::warn!(peer = %self.settings.name, error = %text, "no session yet; it is tried again");
            self.warned = Some(text);
        }
    }

    /// Counts the flaws of an UPDATE that were contained, and logs the message with the prefixes
    /// that it is about, as RFC 7606 §6 asks; of many in a short time only the first.
    pub(super) fn note_faults(&mut self, update: &Update) {
        let Some(gravest) = update.faults.iter().max_by_key(|fault| fault.treatment) else {
            return;
        };
        let message = update.flawed.as_deref().unwrap_or_default();
        if let Some(unsaid) = self.complaints.next(Instant::now()) {
            tracing::warn!(
                peer = %self.settings.name, error = %gravest, faults = update.faults.len(),
                prefixes = %Prefixes(update), octets = %Octets(message), unsaid,
                "the peer sent a malformed UPDATE; the session goes on"
            );
        }
        self.inbox.status.send_if_modified(|status| {
            for fault in &update.faults {
                match fault.treatment {
                    Treatment::DiscardAttribute => status.faults.discarded += 1,
                    Treatment::TreatAsWithdraw => status.faults.withdrawn += 1,
                }
            }
            // Like all counters, these wake nobody.
            false
        });
    }

    /// Logs a ROUTE-REFRESH that had no effect (RFC 7313 §4, §5); of many in a short time only the
    /// first.
    pub(super) fn note_ignored(&mut self, ignored: IgnoredRefresh) {
        if let Some(unsaid) = self.complaints.next(Instant::now()) {
            tracing::warn!(
                peer = %self.settings.name, error = %ignored, unsaid,
                "the peer sent a ROUTE-REFRESH that is ignored; the session goes on"
            );
        }
    }

    /// The settings may have another name than before.
    pub(super) fn rename(&self) {
        let name = &self.settings.name;
        self.inbox.status.send_if_modified(|status| {
            let renamed = status.name != *name;
            status.name = Arc::clone(name);
            renamed
        });
    }

    /// The operator wants the session, or not.
    pub(super) fn wanted(&self, wanted: bool) {
        self.inbox
            .status
            .send_if_modified(|status| std::mem::replace(&mut status.wanted, wanted) != wanted);
    }

    /// Brings the status up to date.
    pub(super) fn publish(&self) {
        let session = &self.session;
        let established = session.established();
        let conn = established.and_then(|(id, _)| self.conns.iter().find(|conn| conn.id == id));
        let (received, sent) = session.counters();
        let waiting = self.waiting();
        self.inbox.status.send_if_modified(|status| {
            status.received = received;
            status.sent = sent;
            status.queued = conn.map_or(0, Conn::pending);
            status.next_attempt = session.retry_at();
            let changed = status.since != session.since() || status.state != session.state();
            if changed {
                status.state = session.state();
                status.since = session.since();
                status.established_count = session.established_count();
                status.failed_at = self.failed_at;
                status.session_end = session.departure().cloned();
                let failure = || session.last_error().and_then(|cause| self.failure(cause));
                status.last_error = self.whereabouts.absence.clone().or(waiting).or_else(failure);
                status.negotiated = established.map(|(_, agreed)| Box::new(agreed.clone()));
                status.local = conn.and_then(|conn| conn.stream().local_addr().ok());
                status.remote = conn.and_then(|conn| conn.stream().peer_addr().ok());
            }
            changed
        });
    }

    /// Why a session that is wanted is not begun.
    fn waiting(&self) -> Option<LastError> {
        let rests = self.session.state() == State::Idle && self.inbox.status.borrow().wanted;
        (rests && self.awaits_bfd()).then_some(LastError::AwaitsBfd)
    }

    /// A cause that is a failure, in the most telling words: if TCP was the matter, the
    /// socket's.
    fn failure(&self, cause: &Cause) -> Option<LastError> {
        match cause {
            Cause::ConnectFailed => Some(match &self.dial_error {
                Some(error) => LastError::Socket(Arc::clone(error)),
                None => LastError::Session(cause.clone()),
            }),
            other => other.is_failure().then(|| LastError::Session(other.clone())),
        }
    }
}

/// All prefixes of an UPDATE, announced ones first, as `10.1.0.0/16, 10.2.0.0/16`; of many the first
/// few and how many more there are.
struct Prefixes<'a>(&'a Update);

impl Display for Prefixes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let announced = self.0.reach.iter().flat_map(|reach| &reach.prefixes);
        let mut all = announced.chain(&self.0.withdrawn);
        for (n, nlri) in all.by_ref().take(PREFIXES_SHOWN).enumerate() {
            let comma = if n > 0 { ", " } else { "" };
            write!(f, "{comma}{nlri}")?;
        }
        match all.count() {
            0 => Ok(()),
            more => write!(f, ", and {more} more"),
        }
    }
}

/// Octets as hexadecimal digits, as decoders of packets take them.
struct Octets<'a>(&'a [u8]);

impl Display for Octets<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

/// Prefixes of a malformed UPDATE that are named in the log; the message itself has all of them.
const PREFIXES_SHOWN: usize = 16;

#[cfg(test)]
mod tests {
    use bgp::{prefix::Prefix, wire::Nlri};

    use super::*;

    #[test]
    fn a_malformed_message_is_shown_with_its_first_prefixes_and_all_octets() {
        let nlri = |n: u8| Nlri::from(Prefix::new([10, n, 0, 0].into(), 16).unwrap());
        let mut update = Update { withdrawn: vec![nlri(1), nlri(2)], ..Update::default() };
        assert_eq!(Prefixes(&update).to_string(), "10.1.0.0/16, 10.2.0.0/16");
        update.withdrawn = (0..18).map(nlri).collect();
        let shown = Prefixes(&update).to_string();
        assert!(shown.ends_with(", 10.15.0.0/16, and 2 more"), "{shown}");
        assert_eq!(Octets(&[0xFF, 0, 0x1A]).to_string(), "ff001a");
    }
}
