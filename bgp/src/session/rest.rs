//! What a session does between two attempts: go on at once, wait for a peer that will be back, rest, or
//! stay away from one that announces too much.
//!
//! In: how the last attempt ended. Out: the mode of the session and when it is over.

use std::time::{Duration, Instant};

use super::{
    Cause, ConnId, Mode, Output, Session, backoff::Severity, cease, connection::Ending, negotiate,
    timers::Timer,
};

impl Session {
    /// To a peer that connects while the session is stopped. One that is to hear a reason gets our
    /// OPEN before it: in OpenSent a NOTIFICATION is an error of the state machine (RFC 4271 §8.2.2),
    /// and what FRR then shows is that error and not the reason.
    pub(super) fn refuse(&mut self, conn: ConnId) {
        let Some(refusal) = self.refusal.clone() else {
            return self.links.part(conn, Ending::Quietly(Cause::Stopped));
        };
        if refusal != cease::connection_rejected() {
            let offer = negotiate::offer(&self.config, self.restart.flags()).encode();
            self.links.sent.opens += 1;
            self.links.outputs.push_back(Output::Send(conn, offer));
        }
        self.links.part(conn, Ending::Tell(refusal));
    }

    /// To Active, or on with the dial.
    pub(super) fn keep_trying(&mut self, now: Instant) {
        if !self.links.is_dialling() && !self.config.passive {
            self.links.schedule_retry(&self.config, now);
        }
    }

    /// To Active for a peer that is likely to restart: it is listened to at once, and dialled after
    /// what would have been the rest. A peer that goes again and again has to be rested from.
    pub(super) fn await_return(&mut self, severity: Severity, now: Instant) {
        if !self.backoff.is_clear() {
            return self.rest(severity, now);
        }
        let wait = self.links.jitter.apply(self.backoff.fail(severity));
        if !self.links.is_dialling() && !self.config.passive {
            self.links.timers.set(Timer::ConnectRetry, now + wait);
        }
    }

    /// To Idle for a while.
    pub(super) fn rest(&mut self, severity: Severity, now: Instant) {
        self.links.give_up_dialling();
        self.mode = Mode::Resting;
        self.idle_hold = self.links.jitter.apply(self.backoff.fail(severity));
        self.links.timers.set(Timer::IdleHold, now + self.idle_hold);
    }

    /// Not again before its time, whatever else happens.
    pub(super) fn bar(&mut self, restart_after: Option<Duration>, now: Instant) {
        self.mode = Mode::Barred;
        if let Some(rest) = restart_after {
            self.idle_hold = rest;
            self.links.timers.set(Timer::IdleHold, now + rest);
        }
    }
}
