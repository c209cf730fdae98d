//! The connection to one station: octets that wait for it, and whether it takes any.
//!
//! In: whole messages. Out: progress, or why the connection is at its end. What the station says is
//! dropped: it has nothing to say (RFC 7854 §3.2).

use std::{
    future::poll_fn,
    time::{Duration, Instant},
};

use bgp::session::ConnId;
use bytes::Bytes;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

use super::StationError;
use crate::{
    deadline::until,
    peering::conn::{Conn, Read, Ready, Write},
};

/// See the module.
pub(super) struct Link {
    conn: Conn,
    send_hold_time: Duration,
    /// When the station is given up, while octets wait for it.
    deadline: Option<Instant>,
}

impl Link {
    pub(super) fn new(stream: TcpStream, send_hold_time: Duration) -> Self {
        let mut link = Self { conn: Conn::new(ConnId(0), stream), send_hold_time, deadline: None };
        link.watch_over();
        link
    }

    /// A station that is gone without a word is noticed within this time of silence as well.
    pub(super) fn set_send_hold_time(&mut self, send_hold_time: Duration) {
        self.send_hold_time = send_hold_time;
        self.watch_over();
        self.deadline = self.deadline.map(|_| Instant::now() + send_hold_time);
    }

    /// Queues a message behind those that wait already.
    pub(super) fn send(&mut self, message: Bytes) {
        self.conn.send(message);
        if self.deadline.is_none() {
            self.deadline = Some(Instant::now() + self.send_hold_time);
        }
    }

    /// Octets that wait.
    pub(super) const fn pending(&self) -> usize {
        self.conn.pending()
    }

    /// Waits until the station has taken something; forever, if nothing waits. May be dropped at
    /// any point.
    ///
    /// # Errors
    ///
    /// [`StationError`] if the connection is at its end.
    pub(super) async fn progress(&mut self) -> Result<(), StationError> {
        loop {
            let conn = &self.conn;
            let ready = poll_fn(|cx| conn.poll_ready(cx, true));
            let ready = tokio::select! {
                ready = ready => ready,
                () = until(self.deadline) => {
                    return Err(StationError::SendHold(self.send_hold_time));
                }
            };
            match ready {
                Ready::Read(_) => match self.conn.read() {
                    Read::Octets(_) | Read::Nothing => (),
                    Read::Ended(None) => return Err(StationError::Closed),
                    Read::Ended(Some(error)) => return Err(StationError::Broken(error)),
                },
                Ready::Write(_) => match self.conn.write() {
                    Write::Nothing => (),
                    Write::Broken(error) => return Err(StationError::Broken(error)),
                    Write::Progress => {
                        let waits = self.conn.pending() > 0;
                        self.deadline = waits.then(|| Instant::now() + self.send_hold_time);
                        return Ok(());
                    }
                },
            }
        }
    }

    /// Ends the connection so that the station gets to read what waits; takes a second at most.
    pub(super) async fn farewell(self) {
        self.conn.farewell().await;
    }

    /// Ends the connection at once.
    pub(super) fn abort(self) {
        self.conn.abort();
    }

    /// Has the kernel find out that nobody is there any more, even if we have nothing to say.
    fn watch_over(&mut self) {
        let socket = SockRef::from(self.conn.stream());
        let probes = TcpKeepalive::new()
            .with_time(self.send_hold_time / 2)
            .with_interval((self.send_hold_time / 8).max(Duration::from_secs(1)));
        // Without these the kernel takes longer, and what waits has its own deadline.
        let _ = socket.set_tcp_keepalive(&probes);
        // Longer than ours, so that a station that is there and does not read is told as such.
        let _ = socket.set_tcp_user_timeout(Some(2 * self.send_hold_time));
    }
}
