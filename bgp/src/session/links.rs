//! A session's connections, what is said on them, and the timers that go with that.
//!
//! In: connections to open, to part with, messages to send. Out: outputs in their order, and
//! deadlines. Decides nothing about the session: which connection is kept, and what follows
//! when one ends, is the session's to say.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use bytes::Bytes;

use crate::{
    config::SessionConfig,
    session::{
        ConnId, Counters, Established, Output, State, cease,
        collision::Opener,
        connection::{Connection, Ending},
        negotiate,
        timers::{Jitter, Timer, Timers},
    },
    wire::{self, Refresh},
};

/// The connections on which our OPEN has been sent: at most one opened by each side.
#[derive(Debug)]
pub(super) struct Links {
    connections: Vec<Connection>,
    pub(super) timers: Timers,
    pub(super) jitter: Jitter,
    pub(super) outputs: VecDeque<Output>,
    pub(super) received: Counters,
    pub(super) sent: Counters,
}

impl Links {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            connections: Vec::new(),
            timers: Timers::default(),
            jitter: Jitter::new(seed),
            outputs: VecDeque::new(),
            received: Counters::default(),
            sent: Counters::default(),
        }
    }

    /// A connection is there: our OPEN goes out.
    pub(super) fn open(
        &mut self,
        conn: ConnId,
        opener: Opener,
        config: &SessionConfig,
        now: Instant,
    ) {
        self.connections.push(Connection::new(conn, opener));
        self.timers.set(Timer::Hold(conn), now + LARGE_HOLD_TIME);
        self.sent.opens += 1;
        self.send(conn, negotiate::offer(config).encode(), now);
    }

    /// The terms of both OPENs are accepted: our KEEPALIVE goes out, and the hold timer runs.
    ///
    /// RFC 4271 stops the hold timer if the time is 0. Nothing would then end a handshake whose
    /// KEEPALIVE never comes, so the large one stays until the session stands.
    pub(super) fn confirm(&mut self, conn: ConnId, terms: Box<Established>, now: Instant) {
        let Some(connection) = self.get_mut(conn) else { return };
        let hold = if terms.hold_time > 0 { seconds(terms.hold_time) } else { LARGE_HOLD_TIME };
        connection.confirm(terms);
        self.timers.set(Timer::Hold(conn), now + hold);
        self.send_keepalive(conn, now);
    }

    /// The peer's KEEPALIVE has confirmed the terms, which are returned.
    pub(super) fn establish(&mut self, conn: ConnId) -> Option<&Established> {
        let connection = self.connections.iter_mut().find(|connection| connection.id == conn)?;
        connection.establish();
        let terms = connection.established()?;
        if terms.hold_time == 0 {
            self.timers.stop(Timer::Hold(conn));
        }
        Some(terms)
    }

    /// The peer said something well formed. Any message proves that it lives, not just the
    /// kinds that RFC 4271 names.
    pub(super) fn heard(&mut self, conn: ConnId, now: Instant) {
        let hold_time = self.terms(conn).map_or(0, |terms| terms.hold_time);
        if hold_time > 0 {
            self.timers.set(Timer::Hold(conn), now + seconds(hold_time));
        }
    }

    /// The socket took octets, and `pending` are left.
    pub(super) fn progress(&mut self, conn: ConnId, pending: usize, now: Instant) {
        self.timers.stop(Timer::SendHold(conn));
        if pending > 0 && self.get(conn).is_some() {
            self.watch_sending(conn, now);
        }
    }

    pub(super) fn send_update(&mut self, conn: ConnId, octets: Bytes, now: Instant) {
        self.sent.updates += 1;
        self.send(conn, octets, now);
        self.schedule_keepalive(conn, now);
    }

    pub(super) fn send_refresh(&mut self, conn: ConnId, refresh: Refresh, now: Instant) {
        self.sent.refreshes += 1;
        self.send(conn, refresh.encode(), now);
    }

    pub(super) fn send_keepalive(&mut self, conn: ConnId, now: Instant) {
        self.sent.keepalives += 1;
        self.send(conn, wire::keepalive(), now);
        self.schedule_keepalive(conn, now);
    }

    /// Closes the connection that lost a collision. The session goes on with another.
    pub(super) fn lose(&mut self, conn: ConnId) {
        if self.remove(conn).is_some() {
            self.part(conn, Ending::Tell(cease::collision_resolution()));
        }
    }

    /// Forgets a connection and its timers. The caller parts with it.
    pub(super) fn remove(&mut self, conn: ConnId) -> Option<Connection> {
        let at = self.connections.iter().position(|connection| connection.id == conn)?;
        for timer in [Timer::Hold(conn), Timer::SendHold(conn), Timer::Keepalive(conn)] {
            self.timers.stop(timer);
        }
        Some(self.connections.swap_remove(at))
    }

    /// Takes leave of a connection, whether its OPEN was sent or not.
    pub(super) fn part(&mut self, conn: ConnId, ending: Ending) {
        match ending {
            Ending::Tell(notification) => {
                self.sent.notifications += 1;
                self.outputs.push_back(Output::Send(conn, notification.encode()));
                self.outputs.push_back(Output::Close(conn));
            }
            Ending::Quietly(_) => self.outputs.push_back(Output::Close(conn)),
            Ending::Abort(_) => self.outputs.push_back(Output::Abort(conn)),
            Ending::Gone => {}
        }
    }

    pub(super) fn get(&self, conn: ConnId) -> Option<&Connection> {
        self.connections.iter().find(|connection| connection.id == conn)
    }

    pub(super) fn get_mut(&mut self, conn: ConnId) -> Option<&mut Connection> {
        self.connections.iter_mut().find(|connection| connection.id == conn)
    }

    /// The other connection, if there is one.
    pub(super) fn rival_of(&self, conn: ConnId) -> Option<&Connection> {
        self.connections.iter().find(|connection| connection.id != conn)
    }

    /// The connection that this side opened.
    pub(super) fn opened_by(&self, opener: Opener) -> Option<ConnId> {
        self.connections.iter().find(|c| c.opener == opener).map(|connection| connection.id)
    }

    pub(super) fn established(&self) -> Option<(ConnId, &Established)> {
        self.connections.iter().find_map(|c| Some((c.id, c.established()?)))
    }

    pub(super) fn ids(&self) -> Vec<ConnId> {
        self.connections.iter().map(|connection| connection.id).collect()
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }

    /// State of the most advanced connection.
    pub(super) fn furthest(&self) -> Option<State> {
        self.connections.iter().map(Connection::state).max()
    }

    fn terms(&self, conn: ConnId) -> Option<&Established> {
        self.get(conn).and_then(Connection::terms)
    }

    fn send(&mut self, conn: ConnId, octets: Bytes, now: Instant) {
        self.outputs.push_back(Output::Send(conn, octets));
        self.watch_sending(conn, now);
    }

    /// Starts the send hold timer unless it runs: the larger of eight minutes and twice the hold
    /// time (RFC 9687 §3.2). It runs only while octets wait for the socket, so it does no harm
    /// where the hold time is off.
    fn watch_sending(&mut self, conn: ConnId, now: Instant) {
        let hold_time = self.terms(conn).map_or(0, |terms| terms.hold_time);
        let patience = SEND_HOLD_TIME.max(2 * seconds(hold_time));
        self.timers.start(Timer::SendHold(conn), now + patience);
    }

    /// Starts the keepalive timer anew, since something was sent (RFC 4271 §8.2.2, Established).
    fn schedule_keepalive(&mut self, conn: ConnId, now: Instant) {
        let interval = self.terms(conn).map_or(0, |terms| terms.keepalive_time);
        if interval > 0 {
            let interval = self.jitter.apply(seconds(interval)).max(SHORTEST_KEEPALIVE);
            self.timers.set(Timer::Keepalive(conn), now + interval);
        }
    }
}

const fn seconds(seconds: u16) -> Duration {
    Duration::from_secs(seconds as u64)
}

/// Hold time before one is agreed on (RFC 4271 §8.2.2, Connect).
const LARGE_HOLD_TIME: Duration = Duration::from_secs(240);
/// RFC 9687 §3.2.
const SEND_HOLD_TIME: Duration = Duration::from_secs(480);
/// KEEPALIVEs are never more frequent (RFC 4271 §4.4), jitter or not.
const SHORTEST_KEEPALIVE: Duration = Duration::from_secs(1);
