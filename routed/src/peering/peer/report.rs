//! What the peer's task tells people: the log and [`PeerStatus`](super::PeerStatus).

use std::{fmt::Display, sync::Arc, time::Instant};

use bgp::{
    session::{Cause, State, StateChange},
    wire::{Fault, Treatment},
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

    /// Logs a failure unless it is the one logged last.
    pub(super) fn warn_once(&mut self, error: &impl Display) {
        let text = error.to_string();
        if self.warned.as_ref() != Some(&text) {
            tracing::warn!(peer = %self.settings.name, error = %text, "no session yet; it is tried again");
            self.warned = Some(text);
        }
    }

    /// Logs and counts the flaws of an UPDATE that were contained.
    pub(super) fn note_faults(&self, faults: &[Fault]) {
        for fault in faults {
            tracing::debug!(peer = %self.settings.name, %fault, octets = ?fault.octets, "flawed update");
        }
        if !faults.is_empty() {
            self.inbox.status.send_if_modified(|status| {
                for fault in faults {
                    match fault.treatment {
                        Treatment::DiscardAttribute => status.faults.discarded += 1,
                        Treatment::TreatAsWithdraw => status.faults.withdrawn += 1,
                    }
                }
                // Like all counters, these wake nobody.
                false
            });
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
                let failure = || session.last_error().and_then(|cause| self.failure(cause));
                status.last_error = self.whereabouts.absence.clone().or_else(failure);
                status.negotiated = established.map(|(_, agreed)| Box::new(agreed.clone()));
                status.local = conn.and_then(|conn| conn.stream().local_addr().ok());
                status.remote = conn.and_then(|conn| conn.stream().peer_addr().ok());
            }
            changed
        });
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
