//! One station: the task that connects to it and tells it what there is.
//!
//! In: orders of the owner, reports of the RIB, the clock. Out: BMP messages, and the station's
//! [`StationStatus`]. Ends by [`Order::Stop`], or when the RIB has ended.
//!
//! Holds one answer of the RIB at a time: it asks for more when the station has taken most of what
//! it was given.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use bgp::{
    bmp::{self, Termination},
    config::Ttl,
    rib::{Monitored, PeerId, Report, View},
    timestamp::Timestamp,
};
use bytes::Bytes;
use socket2::SockRef;
use tokio::{
    net::TcpStream,
    sync::{mpsc, watch},
};

use super::{Messages, Phase, Router, StationError, StationStatus, link::Link, statistics};
use crate::{
    config::Station,
    deadline::until,
    peering::{Reports, RibHandle, RibStopped, socket::Dial},
};

/// What the owner wants of the task.
#[derive(Debug)]
pub(super) enum Order {
    /// Go on with other settings.
    Configure(Arc<Station>, Arc<Router>),
    /// Take leave of the station and end: the daemon goes.
    Stop,
    /// The same for good: the station is not in the configuration any more.
    Dismiss,
}

/// See the module.
pub(super) struct StationTask {
    settings: Arc<Station>,
    router: Arc<Router>,
    rib: RibHandle,
    orders: mpsc::Receiver<Order>,
    status: watch::Sender<StationStatus>,
    /// Failures since the last connection that stood for a while.
    failures: u32,
}

/// How an attempt, a connection or a rest ended.
enum End {
    /// The task has to end, and the station hears this.
    Stopped(Termination),
    /// Connect at once, with settings that are new.
    Anew,
    /// Connect again after a rest.
    Failed(StationError),
}

/// A connection that stands.
struct Connection {
    link: Link,
    reports: Reports,
    /// Sessions that the station was told of.
    sessions: BTreeMap<PeerId, Arc<Monitored>>,
    /// When it is told statistics.
    statistics_due: Option<Instant>,
}

impl StationTask {
    pub(super) const fn new(
        settings: Arc<Station>,
        router: Arc<Router>,
        rib: RibHandle,
        orders: mpsc::Receiver<Order>,
        status: watch::Sender<StationStatus>,
    ) -> Self {
        Self { settings, router, rib, orders, status, failures: 0 }
    }

    /// Serves the station until the end.
    pub(super) async fn run(mut self) {
        loop {
            let end = match self.dial().await {
                Ok(stream) => self.serve(stream).await,
                Err(end) => end,
            };
            let end = match end {
                End::Failed(error) => self.rest(error).await,
                other => other,
            };
            if matches!(end, End::Stopped(_)) {
                return;
            }
        }
    }

    async fn dial(&mut self) -> Result<TcpStream, End> {
        self.enter(Phase::Connecting);
        let dial = Dial {
            peer: self.settings.address,
            local: self.settings.local_address,
            ttl: Ttl::Any,
            device: None,
            key: None,
            patience: DIAL_TIME,
        };
        let stream = tokio::select! {
            stream = dial.connect() => stream.map_err(|error| End::Failed(error.into()))?,
            order = self.orders.recv() => return Err(self.take(order)),
        };
        set_priority(&stream);
        Ok(stream)
    }

    /// Waits before the next attempt, longer after each failure (RFC 7854 §3.2).
    async fn rest(&mut self, error: StationError) -> End {
        let wait = backoff(self.settings.connect_retry, self.failures);
        let (station, retry_s) = (&self.settings.name, wait.as_secs());
        if self.failures == 0 {
            tracing::warn!(%station, %error, retry_s, "no connection to the monitoring station");
        } else {
            tracing::debug!(%station, %error, retry_s, "still no connection to the station");
        }
        self.failures = self.failures.saturating_add(1);
        let now = Instant::now();
        self.status.send_modify(|status| {
            status.last_error = Some(Arc::new(error));
            status.failed_at = Some(now);
            status.queued = 0;
        });
        self.enter(Phase::Waiting);
        let next = now + wait;
        self.status.send_modify(|status| status.next_attempt = Some(next));
        tokio::select! {
            () = until(Some(next)) => End::Anew,
            order = self.orders.recv() => self.take(order),
        }
    }

    /// An order that comes while there is no connection.
    fn take(&mut self, order: Option<Order>) -> End {
        match order {
            Some(Order::Configure(settings, router)) => {
                (self.settings, self.router) = (settings, router);
                self.failures = 0;
                End::Anew
            }
            Some(Order::Dismiss) => End::Stopped(Termination::Permanent),
            Some(Order::Stop) | None => STOPPED,
        }
    }

    /// Tells the station what there is, then what changes, until the connection ends.
    async fn serve(&mut self, stream: TcpStream) -> End {
        let Ok(reports) = self.rib.monitor(self.settings.views).await else { return STOPPED };
        let connected = Instant::now();
        let mut connection = Connection {
            link: Link::new(stream, self.settings.send_hold_time),
            reports,
            sessions: BTreeMap::new(),
            statistics_due: self.settings.statistics_interval.map(|interval| connected + interval),
        };
        self.enter(Phase::Connected);
        self.status.send_modify(|status| status.connections += 1);
        tracing::info!(station = %self.settings.name, "connected to the monitoring station");
        self.greet(&mut connection.link);
        let end = loop {
            self.note_queue(&connection.link);
            match self.step(&mut connection).await {
                Ok(()) => (),
                Err(end) => break end,
            }
        };
        if connected.elapsed() >= STABLE_AFTER {
            self.failures = 0;
        }
        self.part(connection, end).await
    }

    /// The first words (RFC 7854 §4.3), and that there is a Loc-RIB (RFC 9069 §5.2).
    fn greet(&self, link: &mut Link) {
        let Router { name, us } = &*self.router;
        let mut messages = vec![bmp::initiation(name, DESCRIPTION)];
        let has_loc_rib = self.settings.views.contains(View::LocRib);
        if has_loc_rib {
            messages.push(us.loc_rib_up(now()));
        }
        let count = |sent: &mut Messages| {
            sent.other += 1;
            sent.peer_up += u64::from(has_loc_rib);
        };
        self.send(link, messages, count);
    }

    /// Waits for whatever comes first and does what follows.
    async fn step(&mut self, connection: &mut Connection) -> Result<(), End> {
        let Connection { link, reports, statistics_due, .. } = connection;
        let has_room = link.pending() < LOW_WATER;
        tokio::select! {
            order = self.orders.recv() => self.configure(connection, order),
            progress = link.progress() => progress.map_err(End::Failed),
            reports = reports.next(BUDGET), if has_room => {
                let reports = reports.map_err(|RibStopped| STOPPED)?;
                self.tell(connection, &reports);
                Ok(())
            }
            () = until(*statistics_due), if has_room => self.count(connection).await,
        }
    }

    /// An order that comes while there is a connection.
    fn configure(&mut self, connection: &mut Connection, order: Option<Order>) -> Result<(), End> {
        let (settings, router) = match order {
            Some(Order::Configure(settings, router)) => (settings, router),
            Some(Order::Dismiss) => return Err(End::Stopped(Termination::Permanent)),
            Some(Order::Stop) | None => return Err(STOPPED),
        };
        let told = |station: &Station| (station.local_address, station.views);
        let anew = told(&self.settings) != told(&settings) || self.router.us != router.us;
        (self.settings, self.router) = (settings, router);
        if anew {
            return Err(End::Anew);
        }
        connection.link.set_send_hold_time(self.settings.send_hold_time);
        let interval = self.settings.statistics_interval;
        connection.statistics_due = interval.map(|interval| Instant::now() + interval);
        Ok(())
    }

    fn tell(&self, connection: &mut Connection, reports: &[Report]) {
        for report in reports {
            match report {
                Report::Up(session) => {
                    connection.sessions.insert(session.id, Arc::clone(session));
                }
                Report::Down { session, .. } => {
                    connection.sessions.remove(&session.id);
                }
                Report::Routes { .. } => {}
            }
            let (messages, error) = bmp::report(report, &self.router.us);
            if let Some(error) = error {
                let station = &self.settings.name;
                tracing::error!(%station, %error, "routes cannot be told and are withdrawn there");
            }
            let many = messages.len() as u64;
            self.send(&mut connection.link, messages, |sent| match report {
                Report::Up(_) => sent.peer_up += many,
                Report::Down { .. } => sent.peer_down += many,
                Report::Routes { .. } => sent.route_monitoring += many,
            });
        }
    }

    /// Tells the statistics of every session that the station knows of, and of the Loc-RIB.
    async fn count(&self, connection: &mut Connection) -> Result<(), End> {
        let stopped = |RibStopped| STOPPED;
        let ids = connection.sessions.keys().copied().collect();
        let counts = self.rib.session_counts(ids).await.map_err(stopped)?;
        let at = now();
        let sessions = connection.sessions.values().zip(counts);
        let mut messages: Vec<_> = sessions
            .map(|(session, counts)| {
                let statistics = statistics::of_session(counts, session.families);
                bmp::Peer::from(&**session).statistics(&statistics, at)
            })
            .collect();
        if self.settings.views.contains(View::LocRib) {
            let best = self.rib.best_counts().await.map_err(stopped)?;
            messages.push(self.router.us.statistics(&statistics::of_loc_rib(best), at));
        }
        let many = messages.len() as u64;
        self.send(&mut connection.link, messages, |sent| sent.statistics += many);
        let interval = self.settings.statistics_interval;
        connection.statistics_due = interval.map(|interval| Instant::now() + interval);
        Ok(())
    }

    /// Ends the connection as its end wants it.
    async fn part(&self, connection: Connection, end: End) -> End {
        let Connection { mut link, reports, .. } = connection;
        // The RIB need keep nothing for it any more.
        drop(reports);
        let reason = match &end {
            End::Stopped(reason) => *reason,
            End::Anew => Termination::Administrative,
            End::Failed(StationError::SendHold(_)) => {
                link.abort();
                return end;
            }
            End::Failed(_) => return end,
        };
        let message = bmp::termination(reason);
        self.send(&mut link, vec![message], |sent| sent.other += 1);
        link.farewell().await;
        tracing::info!(station = %self.settings.name, "left the monitoring station");
        end
    }

    fn send(&self, link: &mut Link, messages: Vec<Bytes>, count: impl FnOnce(&mut Messages)) {
        let octets: usize = messages.iter().map(Bytes::len).sum();
        messages.into_iter().for_each(|message| link.send(message));
        self.status.send_if_modified(|status| {
            count(&mut status.sent);
            status.octets += octets as u64;
            // Counters wake nobody.
            false
        });
    }

    fn note_queue(&self, link: &Link) {
        self.status.send_if_modified(|status| {
            status.queued = link.pending();
            false
        });
    }

    fn enter(&self, phase: Phase) {
        self.status.send_modify(|status| {
            status.phase = phase;
            status.since = Some(Instant::now());
            status.next_attempt = None;
        });
    }
}

/// The wait after this many failures before.
fn backoff(first: Duration, failures: u32) -> Duration {
    let longest = first * LONGEST_BACKOFF;
    first.saturating_mul(1 << failures.min(8)).min(longest)
}

/// Marks our packets as what management sends (CS2, RFC 4594 §3.3): not as urgent as BGP itself.
fn set_priority(stream: &TcpStream) {
    let socket = SockRef::from(stream);
    // Without it they are marked as BGP is, which does no harm.
    let _ = match stream.peer_addr() {
        Ok(peer) if peer.is_ipv6() => socket.set_tclass_v6(CS2),
        Ok(_) | Err(_) => socket.set_tos_v4(CS2),
    };
}

fn now() -> Timestamp {
    SystemTime::now().into()
}

/// The daemon goes, and may come back.
const STOPPED: End = End::Stopped(Termination::Administrative);
/// sysDescr (RFC 7854 §4.4).
const DESCRIPTION: &str = concat!("Slash32 routed ", env!("CARGO_PKG_VERSION"));
/// How long a dial may take: the kernel sends four SYNs in this time.
const DIAL_TIME: Duration = Duration::from_secs(10);
/// Octets waiting for the socket below which the RIB is asked for more.
const LOW_WATER: usize = 64 * 1024;
/// Sessions and prefixes asked for at once: some 100 KiB with common attributes; at worst, each
/// prefix with attributes that fill a message, 4 MiB.
const BUDGET: usize = 1024;
/// The longest wait between attempts, in first ones: 30 s and 720 s in RFC 7854 §3.2.
const LONGEST_BACKOFF: u32 = 24;
/// A connection that lasts so long makes failures before it forgotten: one that comes and goes is
/// tried ever less often.
const STABLE_AFTER: Duration = Duration::from_secs(60);
/// Class selector 2 in the upper six bits of TOS and Traffic Class (RFC 2474 §4.2.2).
const CS2: u32 = 16 << 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc7854_3_2_waits_double_from_30_to_720_seconds() {
        let first = Duration::from_secs(30);
        let waits = [0, 1, 2, 3, 4, 5, 6, 1000].map(|failures| backoff(first, failures).as_secs());
        assert_eq!(waits, [30, 60, 120, 240, 480, 720, 720, 720]);
    }
}
