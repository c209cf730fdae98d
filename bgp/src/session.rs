//! One peer's session: octets in, octets out (RFC 4271 §8).
//!
//! In: what happens to the peer's TCP connections, the octets that arrive, the operator's wish
//! to start or stop, and the time. Out: connections to open and close, octets to send, and, once
//! established, the peer's UPDATEs. Holds up to two connections while a collision is being
//! decided (RFC 4271 §6.8), and a third for a moment while an established one is probed.
//!
//! Reads no clock and owns no socket. The caller drains [`Session::poll_output`] after every
//! [`Session::handle`] and calls it with [`Input::Timeout`] when [`Session::poll_timeout`] is due.
//!
//! Of the optional parts of RFC 4271 §8, idle hold with damping and passive mode are done;
//! DelayOpen is not: an OPEN goes out as soon as there is a connection. Departures, each
//! explained where it is made: a failed dial leads to Active, not Idle; the large hold timer
//! keeps watch in OpenConfirm when the hold time is off; a peer that connects anew while its
//! session stands gets the old connection probed, or has restarted once its OPEN is here.

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::{config::SessionConfig, wire::Notification};

mod backoff;
mod cease;
mod collision;
mod connection;
mod event;
mod inbox;
mod links;
mod negotiate;
mod refreshing;
mod rest;
mod restart;
mod rivals;
mod routes;
mod state;
mod timers;
mod view;

pub use cease::Cease;
pub use event::{ConnId, Input, Output};
pub use refreshing::IgnoredRefresh;
pub use state::{Cause, Counters, Established, LongLived, PeerRestart, State, StateChange};

use backoff::{Aftermath, Backoff, STABLE_AFTER};
use collision::Opener;
use connection::{Ending, Event, Reaction};
use links::Links;
use refreshing::Refreshing;
use restart::{Loss, Restart};
use timers::Timer;

/// One peer's session.
#[derive(Clone, Debug)]
pub struct Session {
    config: SessionConfig,
    mode: Mode,
    links: Links,
    backoff: Backoff,
    restart: Restart,
    refreshing: Refreshing,
    /// What a peer is told that connects while the session is stopped.
    /// `None`: nothing.
    refusal: Option<Notification>,
    state: State,
    since: Option<Instant>,
    last_error: Option<Cause>,
    /// How the last established session ended.
    departure: Option<Cause>,
    idle_hold: Duration,
    established_count: u64,
    /// Whether messages are passed up as they came.
    recording: bool,
}

/// What the session as a whole is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// The operator does not want it.
    Stopped,
    /// The peer has announced too much: until its time or until somebody starts it.
    Barred,
    /// It rests in Idle after a failure.
    Resting,
    /// It is up, or on its way.
    Running,
}

impl Session {
    /// A session at rest. `seed` makes its jitter repeatable; sessions get different ones.
    #[must_use]
    pub fn new(config: SessionConfig, seed: u64) -> Self {
        Self {
            restart: Restart::new(config.graceful_restart.clone()),
            config,
            mode: Mode::Stopped,
            links: Links::new(seed),
            backoff: Backoff::default(),
            refreshing: Refreshing::default(),
            refusal: Some(cease::connection_rejected()),
            state: State::Idle,
            since: None,
            last_error: None,
            departure: None,
            idle_hold: Duration::ZERO,
            established_count: 0,
            recording: false,
        }
    }

    /// A number for a connection that the peer opened.
    pub const fn next_conn(&mut self) -> ConnId {
        self.links.next_conn()
    }

    /// One thing happened. Drain [`Self::poll_output`] afterwards.
    ///
    /// What comes from a connection that the session has given up is ignored.
    pub fn handle(&mut self, input: Input, now: Instant) {
        match (self.mode, input) {
            (Mode::Stopped | Mode::Barred, Input::Start) => {
                self.backoff.reset();
                self.begin(Cause::Started, now);
            }
            (Mode::Resting, Input::Start) => self.begin(Cause::Started, now),
            (Mode::Running, Input::Start) => {}
            // One after which the session was to go on may have come before.
            (Mode::Stopped | Mode::Barred, Input::Stop(cease)) if !cease.is_final() => {}
            (Mode::Stopped | Mode::Barred | Mode::Resting | Mode::Running, Input::Stop(cease)) => {
                self.stop(&cease, now);
            }
            (Mode::Stopped | Mode::Barred, Input::Accepted(conn)) => {
                self.refuse(conn);
            }
            // Quietly: a NOTIFICATION would make the peer rest as well.
            (Mode::Resting, Input::Accepted(conn)) => {
                self.links.outputs.push_back(Output::Close(conn));
            }
            (Mode::Running, Input::Accepted(conn)) => self.accept(conn, now),
            (Mode::Running, Input::Connected(conn)) => self.connected(conn, now),
            (Mode::Running, Input::ConnectFailed(conn)) => self.connect_failed(conn, now),
            (Mode::Running, Input::Received(conn, octets)) => self.receive(conn, octets, now),
            (Mode::Running, Input::Closed(conn)) => self.closed(conn, now),
            (Mode::Running, Input::Sent { conn, pending }) => {
                self.links.progress(conn, pending, now);
            }
            (
                Mode::Stopped | Mode::Barred | Mode::Resting,
                Input::Connected(_)
                | Input::ConnectFailed(_)
                | Input::Received(..)
                | Input::Closed(_)
                | Input::Sent { .. },
            ) => {}
            (Mode::Stopped | Mode::Barred | Mode::Resting | Mode::Running, Input::Timeout) => {
                self.timeout(now);
            }
        }
    }

    /// New settings, in force from now on. What stands in OPEN may differ only while the session
    /// is stopped: connections keep what was agreed on them.
    pub fn configure(&mut self, config: SessionConfig, now: Instant) {
        self.restart.configure(config.graceful_restart.clone());
        self.config = config;
        self.links.set_keepalive_times(&self.config, now);
    }

    /// From now on gives each message as it came, by [`Output::Heard`], or no longer does.
    pub const fn record(&mut self, recording: bool) {
        self.recording = recording;
    }

    /// What to do next; `None` when all is done.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.links.outputs.pop_front()
    }

    /// When to call [`Self::handle`] with [`Input::Timeout`]. Changes only by `handle`,
    /// [`Self::configure`], [`Self::send_update`], [`Self::send_refresh_mark`],
    /// [`Self::request_refresh`] and [`Self::end_restart`].
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.links.timers.next()
    }

    /// From Idle on: dial, or wait for the peer.
    fn begin(&mut self, cause: Cause, now: Instant) {
        self.mode = Mode::Running;
        self.idle_hold = Duration::ZERO;
        self.links.timers.stop(Timer::IdleHold);
        self.restart.begin(&mut self.links.timers, now);
        if !self.config.passive {
            self.links.dial(&self.config, now);
        }
        self.publish(cause, now);
    }

    fn stop(&mut self, cease: &Cease, now: Instant) {
        let mut ending = cease.ending(false);
        if let Some((conn, terms)) = self.established() {
            let agreed = terms.graceful_restart.is_some_and(|theirs| theirs.notification);
            let terms = terms.clone();
            ending = cease.ending(agreed);
            self.departure = Some(ending.cause());
            self.links.remove(conn);
            self.links.part(conn, ending.clone());
            self.lost(&terms, cease.loss(agreed), now);
        } else {
            match cease.loss(true) {
                Loss::Hard => {
                    self.links.outputs.extend(self.restart.forget(&mut self.links.timers));
                }
                Loss::Leaving => self.restart.leave(&mut self.links.timers),
                Loss::Silent | Loss::Notified | Loss::Cut | Loss::Collision => {}
            }
        }
        self.links.part_with_all(&cease.ending(false));
        self.links.timers.stop(Timer::IdleHold);
        self.refusal = cease.refusal();
        self.mode = Mode::Stopped;
        self.idle_hold = Duration::ZERO;
        let cause = match cease {
            Cease::MaxPrefixes { restart_after, .. } => {
                self.bar(*restart_after, now);
                self.last_error = Some(ending.cause());
                ending.cause()
            }
            _ => Cause::Stopped,
        };
        self.publish(cause, now);
    }

    fn timeout(&mut self, now: Instant) {
        while let Some(timer) = self.links.timers.pop_due(now) {
            match timer {
                Timer::Hold(conn) => self.step(conn, Event::HoldExpired, now),
                Timer::SendHold(conn) => self.step(conn, Event::SendHoldExpired, now),
                Timer::Keepalive(conn) => self.step(conn, Event::KeepaliveDue, now),
                Timer::Challenge => self.links.refuse_challenger(),
                Timer::Stable => self.backoff.reset(),
                Timer::ConnectRetry => self.retry(now),
                Timer::IdleHold => self.begin(Cause::RetryDue, now),
                Timer::Restart
                | Timer::StalePath
                | Timer::LongLived(_)
                | Timer::Deferral
                | Timer::Refresh(_) => self.routes_timeout(timer, now),
            }
        }
    }

    /// The connect retry timer ended (event 9). A dial that takes so long is given up; with
    /// another connection on its way there is no need for a new one.
    fn retry(&mut self, now: Instant) {
        self.links.give_up_dialling();
        if self.links.is_empty() {
            self.links.dial(&self.config, now);
        }
        self.publish(Cause::RetryDue, now);
    }

    fn connected(&mut self, conn: ConnId, now: Instant) {
        if self.links.dial_ended(conn) {
            self.links.timers.stop(Timer::ConnectRetry);
            self.open(conn, Opener::We, now);
            self.publish(Cause::Handshake, now);
        }
    }

    /// To Active, with the retry timer running on from the dial. RFC 4271 goes to Idle here
    /// (Connect, event 18) and would then not listen for a while; whoever restarts its peers in
    /// turn would wait for nothing.
    fn connect_failed(&mut self, conn: ConnId, now: Instant) {
        if self.links.dial_ended(conn) {
            self.last_error = Some(Cause::ConnectFailed);
            self.publish(Cause::ConnectFailed, now);
        }
    }

    fn receive(&mut self, conn: ConnId, mut octets: Bytes, now: Instant) {
        if self.hear_challenger(conn, &octets, now) {
            return;
        }
        // Ends when the octets are used up or the connection is given up.
        while let Some(heard) = self.links.get_mut(conn).and_then(|c| c.read(&mut octets)) {
            if let Some((message, codec)) = heard.message.filter(|_| self.recording) {
                self.links.outputs.push_back(Output::Heard(conn, message, codec));
            }
            self.step(conn, heard.event, now);
        }
    }

    fn closed(&mut self, conn: ConnId, now: Instant) {
        self.links.forget_challenger(conn);
        self.step(conn, Event::Closed, now);
    }

    /// One event of one connection.
    fn step(&mut self, conn: ConnId, event: Event, now: Instant) {
        if let Event::Message(message) = &event {
            self.links.received.count(message);
            self.links.heard(conn, now);
        }
        let Some(connection) = self.links.get(conn) else { return };
        match connection.react(event, &self.config) {
            Reaction::Stay => {}
            Reaction::Agree(terms) => self.agree(conn, terms, now),
            Reaction::Establish => self.establish(conn, now),
            Reaction::Deliver(update) => self.deliver(update),
            Reaction::Refresh(family) => self.links.outputs.push_back(Output::Refresh(family)),
            Reaction::RefreshBegin(family) => self.refresh_begin(family, now),
            Reaction::RefreshEnd(family) => {
                let end = self.refreshing.ended(family, &mut self.links.timers);
                self.links.outputs.push_back(end);
            }
            Reaction::IgnoreRefresh(ignored) => {
                self.links.outputs.push_back(Output::RefreshIgnored(ignored));
            }
            Reaction::Keepalive => self.links.send_keepalive(conn, now),
            Reaction::End(ending) => self.end(conn, ending, now),
        }
    }

    /// Our OPEN goes out on a new connection.
    fn open(&mut self, conn: ConnId, opener: Opener, now: Instant) {
        let offer = negotiate::offer(&self.config, self.restart.flags()).encode();
        self.links.open(conn, opener, offer, now);
    }

    fn establish(&mut self, conn: ConnId, now: Instant) {
        let Some(terms) = self.links.establish(conn).cloned() else { return };
        self.links.timers.set(Timer::Stable, now + STABLE_AFTER);
        self.established_count += 1;
        self.links.give_up_dialling();
        self.publish(Cause::Handshake, now);
        let before = self.restart.up(&terms, &mut self.links.timers, now);
        self.links.outputs.extend(before);
        self.links.outputs.push_back(Output::Up(Box::new(terms)));
    }

    /// The connection ends, and with it the session unless another connection is on its way.
    fn end(&mut self, conn: ConnId, ending: Ending, now: Instant) {
        let Some(connection) = self.links.remove(conn) else { return };
        let cause = ending.cause();
        let terms = connection.established().cloned();
        let was_established = terms.is_some();
        let open_sent = connection.state() == State::OpenSent;
        let dead = was_established && ending.found_dead();
        let loss = ending.loss();
        self.links.part(conn, ending);
        if let Some(terms) = terms {
            self.departure = Some(cause.clone());
            self.lost(&terms, loss, now);
        }
        let expected = loss == Loss::Silent && self.restart.expects_peer();
        if was_established || self.links.is_empty() {
            self.blame(&cause, open_sent);
        }
        let successor = if was_established { self.succeed(dead, now) } else { None };
        if self.links.is_empty() {
            match backoff::aftermath(&cause, open_sent) {
                Aftermath::Retry => self.keep_trying(now),
                Aftermath::Rest(severity) if expected => self.await_return(severity, now),
                Aftermath::Rest(severity) => self.rest(severity, now),
            }
        }
        self.publish(cause, now);
        if let Some(challenger) = successor {
            self.receive(challenger.id, challenger.said.into(), now);
        }
    }

    /// Keeps a cause to be shown. A resting peer closes connections without a word; that does
    /// not hide the NOTIFICATION that says why it rests.
    fn blame(&mut self, cause: &Cause, open_sent: bool) {
        let word = matches!(self.last_error, Some(Cause::Sent(_) | Cause::Received(_)));
        if !(open_sent && word && *cause == Cause::Closed) {
            self.last_error = Some(cause.clone());
        }
    }

    /// Tells of a change of the state, if there is one.
    fn publish(&mut self, cause: Cause, now: Instant) {
        let from = self.state;
        self.state = self.current_state();
        if from != self.state {
            self.since = Some(now);
            self.links.outputs.push_back(Output::State(StateChange {
                from,
                to: self.state,
                cause,
            }));
        }
    }

    fn current_state(&self) -> State {
        match self.mode {
            Mode::Stopped | Mode::Barred | Mode::Resting => State::Idle,
            Mode::Running => self.links.state(),
        }
    }
}

#[cfg(test)]
mod tests;
