//! A session's connections, what is said on them, and the timers that go with that: the one
//! being opened, those in the handshake or established, and a challenger.
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
        connection::{Challenger, Connection, Ending},
        negotiate,
        timers::{Jitter, Timer, Timers},
    },
    wire::{self, MAX_LEN, Refresh},
};

/// The connections of one session.
#[derive(Clone, Debug)]
pub(super) struct Links {
    last_conn: u64,
    dialling: Option<ConnId>,
    /// Those on which our OPEN has been sent: at most one opened by each side.
    connections: Vec<Connection>,
    challenger: Option<Challenger>,
    pub(super) timers: Timers,
    pub(super) jitter: Jitter,
    pub(super) outputs: VecDeque<Output>,
    pub(super) received: Counters,
    pub(super) sent: Counters,
}

impl Links {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            last_conn: 0,
            dialling: None,
            connections: Vec::new(),
            challenger: None,
            timers: Timers::default(),
            jitter: Jitter::new(seed),
            outputs: VecDeque::new(),
            received: Counters::default(),
            sent: Counters::default(),
        }
    }

    pub(super) const fn next_conn(&mut self) -> ConnId {
        self.last_conn += 1;
        ConnId(self.last_conn)
    }

    /// Opens a connection. The retry timer runs from here.
    pub(super) fn dial(&mut self, config: &SessionConfig, now: Instant) {
        let conn = self.next_conn();
        self.dialling = Some(conn);
        self.outputs.push_back(Output::Connect(conn));
        self.schedule_retry(config, now);
    }

    /// True if this is the connection that was being opened, which it no longer is.
    pub(super) fn dial_ended(&mut self, conn: ConnId) -> bool {
        self.dialling.take_if(|dialling| *dialling == conn).is_some()
    }

    pub(super) fn give_up_dialling(&mut self) {
        self.timers.stop(Timer::ConnectRetry);
        self.outputs.extend(self.dialling.take().map(Output::Close));
    }

    pub(super) fn schedule_retry(&mut self, config: &SessionConfig, now: Instant) {
        let interval = self.jitter.apply(config.connect_retry);
        self.timers.set(Timer::ConnectRetry, now + interval);
    }

    /// A connection is there: our OPEN, `offer`, goes out.
    pub(super) fn open(&mut self, conn: ConnId, opener: Opener, offer: Bytes, now: Instant) {
        self.connections.push(Connection::new(conn, opener, offer.clone()));
        self.timers.set(Timer::Hold(conn), now + LARGE_HOLD_TIME);
        self.sent.opens += 1;
        self.send(conn, offer, now);
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

    /// `octets` are so many whole UPDATEs.
    pub(super) fn send_updates(
        &mut self,
        conn: ConnId,
        octets: Bytes,
        updates: usize,
        now: Instant,
    ) {
        self.sent.updates += updates as u64;
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

    /// Keepalive intervals by new settings, within the hold times agreed on.
    pub(super) fn set_keepalive_times(&mut self, config: &SessionConfig, now: Instant) {
        let mut due = Vec::new();
        for connection in &mut self.connections {
            let Some(terms) = connection.terms_mut() else { continue };
            let interval = negotiate::keepalive_time(config, terms.hold_time);
            if std::mem::replace(&mut terms.keepalive_time, interval) != interval {
                due.push(connection.id);
            }
        }
        for conn in due {
            self.schedule_keepalive(conn, now);
        }
    }

    /// Closes the connection that lost a collision. The session goes on with another.
    pub(super) fn lose(&mut self, conn: ConnId) {
        if self.remove(conn).is_some() {
            self.part(conn, Ending::Tell(cease::collision_resolution()));
        }
    }

    /// The peer connects while its session stands. Either this is a late collision, which the
    /// established connection wins (RFC 4271 §6.8), or the peer has restarted without a word and
    /// would be locked out until the hold timer ends. A KEEPALIVE on the old connection tells:
    /// a host that does not know it answers with a reset.
    pub(super) fn challenge(&mut self, established: ConnId, conn: ConnId, now: Instant) {
        match self.challenger.replace(Challenger { id: conn, said: Vec::new() }) {
            Some(earlier) => self.part(earlier.id, Ending::Tell(cease::collision_resolution())),
            None => {
                self.timers.set(Timer::Challenge, now + CHALLENGE_TIME);
                self.send_keepalive(established, now);
            }
        }
    }

    /// Keeps what the challenger says for later; at most one message. True if this was it.
    pub(super) fn hear_challenger(&mut self, conn: ConnId, octets: &[u8]) -> bool {
        let challenger = self.challenger.as_mut().filter(|c| c.id == conn);
        let Some(challenger) = challenger else { return false };
        challenger.said.extend_from_slice(octets);
        if challenger.said.len() > MAX_LEN {
            self.refuse_challenger();
        }
        true
    }

    pub(super) const fn challenger(&self) -> Option<&Challenger> {
        self.challenger.as_ref()
    }

    pub(super) fn refuse_challenger(&mut self) {
        if let Some(challenger) = self.take_challenger() {
            self.part(challenger.id, Ending::Tell(cease::collision_resolution()));
        }
    }

    /// The connection has ended, and was perhaps the challenger.
    pub(super) fn forget_challenger(&mut self, conn: ConnId) {
        if self.challenger.as_ref().is_some_and(|challenger| challenger.id == conn) {
            self.take_challenger();
        }
    }

    pub(super) fn take_challenger(&mut self) -> Option<Challenger> {
        self.timers.stop(Timer::Challenge);
        self.challenger.take()
    }

    /// The session is to end: no connection is left. All of them end in the same way.
    pub(super) fn part_with_all(&mut self, ending: &Ending) {
        let challenger = self.take_challenger().map(|challenger| challenger.id);
        let all: Vec<_> = self.connections.iter().map(|c| c.id).chain(challenger).collect();
        for conn in all {
            self.remove(conn);
            self.part(conn, ending.clone());
        }
        self.give_up_dialling();
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

    pub(super) const fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }

    pub(super) const fn is_dialling(&self) -> bool {
        self.dialling.is_some()
    }

    /// State of the most advanced connection.
    pub(super) fn state(&self) -> State {
        let tcp = if self.is_dialling() { State::Connect } else { State::Active };
        self.connections.iter().map(Connection::state).max().unwrap_or(tcp)
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
/// How long an established connection has to show that it is dead: a few round trips and
/// retransmissions.
const CHALLENGE_TIME: Duration = Duration::from_secs(2);
