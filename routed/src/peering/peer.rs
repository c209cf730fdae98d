//! One peer: the task that owns its session and its connections.
//!
//! In: commands, connections that the listener accepted, octets, the RIB's news, the clock. Out:
//! octets, the session's UPDATEs for the RIB, and the peer's [`PeerStatus`].
//!
//! Decides nothing: [`Session`] does. It waits in one place only, for whatever comes first, so
//! timers run on time whatever the sockets and the RIB do.

use std::{
    future::poll_fn,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};

use bgp::{
    rib::{News, PeerId},
    session::{Cause, Cease, ConnId, Input, Output, Session},
};
use bytes::Bytes;
use tokio::{
    net::TcpStream,
    sync::{mpsc, watch},
    task::JoinSet,
};

mod advertise;
mod command;
mod limits;
mod liveness;
mod membership;
mod record;
mod report;
mod rib_port;
mod whereabouts;

pub use command::{LinkEvent, PeerCommand};
use limits::Limits;
pub use limits::{LimitCounters, LimitCounts};
use liveness::Liveness;
use record::Tape;
use rib_port::RibPort;
use whereabouts::Whereabouts;

use super::{
    bfd::Bfd,
    conn::{Conn, Read, Ready, Write},
    discovery::Search,
    listener::Complaints,
    rib::{PeerEvent, RibHandle, RibStopped},
    socket::{self, Dial, SocketError},
    status::PeerStatus,
};
use crate::{config::Peer, deadline::until, mrt::Recorder};

/// The ends of a peer's channels that belong to its task.
pub(super) struct Inbox {
    pub(super) commands: mpsc::Receiver<PeerCommand>,
    pub(super) accepted: mpsc::Receiver<TcpStream>,
    pub(super) status: watch::Sender<PeerStatus>,
    /// Of a peer without an address in the configuration.
    pub(super) search: Option<Search>,
    pub(super) bfd: Bfd,
}

/// The task. Ends by [`PeerCommand::Shutdown`], when the RIB has ended, or, for a dynamic peer, when
/// it has had no session for long enough.
pub(super) struct PeerTask {
    settings: Arc<Peer>,
    whereabouts: Whereabouts,
    session: Session,
    /// Open connections: the session keeps at most three, and that for a moment.
    conns: Vec<Conn>,
    dialling: Option<Dialling>,
    /// Connections that the session is done with and whose last words are on their way.
    farewells: JoinSet<()>,
    rib: RibPort,
    limits: Limits,
    tape: Tape,
    liveness: Liveness,
    inbox: Inbox,
    /// Interface of the established connection.
    interface: Option<String>,
    /// Why the last attempt to connect failed.
    dial_error: Option<Arc<SocketError>>,
    /// When the session last failed.
    failed_at: Option<Instant>,
    /// The failure last told to the log, which is told once and not at each attempt.
    warned: Option<String>,
    /// About UPDATEs that were malformed.
    complaints: Complaints,
    ending: bool,
}

struct Dialling {
    conn: ConnId,
    result: Pin<Box<dyn Future<Output = Result<TcpStream, SocketError>> + Send>>,
}

/// What the task waited for.
enum Event {
    Command(PeerCommand),
    /// The search for the peer has news.
    Found,
    /// So has BFD.
    Liveness,
    Accepted(TcpStream),
    Dialled(Result<TcpStream, SocketError>),
    Ready(Ready),
    News(News),
    /// The session has come to a limit.
    Limit,
    /// The RIB took some of the backlog.
    Room,
    Deadline,
    /// A dynamic peer has been gone for long enough.
    Expired,
    /// BFD has not come up again after a failure.
    RecoveryOver,
    RibStopped,
}

impl PeerTask {
    /// A task at rest. `seed` makes the session's jitter differ from that of others.
    pub(super) fn new(
        id: PeerId,
        settings: Arc<Peer>,
        (rib, recorder): (RibHandle, Recorder),
        mut inbox: Inbox,
        seed: u64,
    ) -> Self {
        Self {
            whereabouts: Whereabouts::new(settings.address.fixed(), inbox.search.take()),
            session: Session::new(settings.session.clone(), seed),
            settings,
            conns: Vec::new(),
            dialling: None,
            farewells: JoinSet::new(),
            rib: RibPort::new(id, rib),
            limits: Limits::default(),
            tape: Tape::new(recorder),
            liveness: Liveness::new(inbox.bfd.clone()),
            inbox,
            interface: None,
            dial_error: None,
            failed_at: None,
            warned: None,
            complaints: Complaints::default(),
            ending: false,
        }
    }

    /// Starts the session and serves it until the end.
    pub(super) async fn run(mut self) {
        self.follow_recorder();
        self.watch_path();
        self.begin();
        while !self.ending {
            self.ask_for_news();
            self.publish();
            let event = self.next_event().await;
            // Before what has happened is recorded.
            self.follow_recorder();
            let is_work = matches!(event, Event::Ready(_) | Event::News(_));
            self.take(event);
            if is_work {
                // While there always is more, nothing here would wait, and the runtime would come
                // to its timers too late for keepalives.
                tokio::task::yield_now().await;
            }
        }
        self.publish();
        // The RIB must hear that the session is down, and the peer why.
        while !self.rib.is_clear() && self.rib.room().await.is_ok() {}
        while self.farewells.join_next().await.is_some() {}
    }

    /// Waits for whatever comes first. Nothing is lost if it is dropped: every part either
    /// leaves what it waits for in place or is polled again.
    async fn next_event(&mut self) -> Event {
        let deadline = self.session.poll_timeout();
        let expiry = self.expiry();
        let recovers_by = self.liveness.recovers_by();
        let read = self.rib.is_clear();
        let conns = &self.conns;
        let ready = poll_fn(|cx| {
            let mut polls = conns.iter().map(|conn| conn.poll_ready(cx, read));
            polls.find(Poll::is_ready).unwrap_or(Poll::Pending)
        });
        let dialled = async {
            match &mut self.dialling {
                Some(dialling) => dialling.result.as_mut().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            command = self.inbox.commands.recv() => {
                // Without a sender nobody is left who could want the session.
                Event::Command(command.unwrap_or(PeerCommand::Shutdown(Cease::Deconfigured)))
            }
            () = self.whereabouts.changed() => Event::Found,
            () = self.liveness.changed() => Event::Liveness,
            Some(stream) = self.inbox.accepted.recv() => Event::Accepted(stream),
            result = dialled => Event::Dialled(result),
            ready = ready => Event::Ready(ready),
            () = self.limits.changed() => Event::Limit,
            () = until(deadline) => Event::Deadline,
            () = until(expiry) => Event::Expired,
            () = until(recovers_by) => Event::RecoveryOver,
            room = async {
                // One borrow of the port: what waits to go in goes before what comes out.
                if self.rib.is_clear() {
                    self.rib.news().await.map(Event::News)
                } else {
                    self.rib.room().await.map(|()| Event::Room)
                }
            } => room.unwrap_or_else(|RibStopped| Event::RibStopped),
            Some(_) = self.farewells.join_next() => Event::Room,
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Command(command) => self.command(command),
            Event::Found => self.found(),
            Event::Liveness => self.liveness_changed(),
            Event::Accepted(stream) => self.accepted(stream),
            Event::Dialled(result) => self.dialled(result),
            Event::Ready(Ready::Read(conn)) => self.read(conn, Conn::read),
            Event::Ready(Ready::Write(_)) => self.carry_out(),
            Event::News(news) => self.advertise(news),
            Event::Limit => self.note_limits(),
            Event::Room => (),
            Event::Deadline => self.deadline(),
            Event::Expired => self.shut_down(Cease::Deconfigured),
            Event::RecoveryOver => self.recovery_over(),
            Event::RibStopped => self.shut_down(Cease::OutOfResources),
        }
    }

    fn accepted(&mut self, stream: TcpStream) {
        let Some(peer) = self.peer_address().filter(|_| self.is_from_peer(&stream)) else {
            return;
        };
        let device = self.settings.bind_device.as_deref();
        if let Err(error) = socket::prepare_accepted(&stream, peer.ip(), self.settings.ttl, device)
        {
            self.warn_once(&error);
            return;
        }
        let conn = self.session.next_conn();
        self.conns.push(Conn::new(conn, stream));
        self.handle(Input::Accepted(conn));
    }

    fn dialled(&mut self, result: Result<TcpStream, SocketError>) {
        let Some(Dialling { conn, .. }) = self.dialling.take() else { return };
        match result {
            Ok(stream) => {
                self.dial_error = None;
                self.conns.push(Conn::new(conn, stream));
                self.handle(Input::Connected(conn));
            }
            Err(error) => {
                self.dial_error = Some(Arc::new(error));
                self.handle(Input::ConnectFailed(conn));
            }
        }
    }

    fn read(&mut self, id: ConnId, read: fn(&mut Conn) -> Read) {
        let Some(conn) = self.conns.iter_mut().find(|conn| conn.id == id) else { return };
        match read(conn) {
            Read::Octets(octets) => self.handle(Input::Received(id, octets)),
            Read::Nothing => (),
            Read::Ended(error) => {
                tracing::debug!(peer = %self.settings.name, ?error, "connection ended");
                self.conns.retain(|conn| conn.id != id);
                self.handle(Input::Closed(id));
            }
        }
    }

    /// A timer of the session may be due. If it is the hold timer, octets that have arrived and
    /// that we were too busy to read count as life: they are read first.
    fn deadline(&mut self) {
        let ids: Vec<_> = self.conns.iter().map(|conn| conn.id).collect();
        for id in ids {
            self.read(id, Conn::read_now);
        }
        self.handle(Input::Timeout);
    }

    fn handle(&mut self, input: Input) {
        self.session.handle(input, Instant::now());
        self.carry_out();
    }

    /// Does what the session wants, and writes as much as the sockets take, until neither has
    /// anything more.
    fn carry_out(&mut self) {
        self.do_all();
        self.rib.hand_on();
    }

    fn do_all(&mut self) {
        loop {
            while let Some(output) = self.session.poll_output() {
                self.execute(output);
            }
            let Some((conn, written)) = self.write_some() else { return };
            match written {
                Ok(pending) => {
                    self.session.handle(Input::Sent { conn, pending }, Instant::now());
                }
                Err(error) => {
                    tracing::debug!(peer = %self.settings.name, %error, "connection broke");
                    self.broken(conn);
                }
            }
        }
    }

    /// Writes to the first connection that takes anything; how much still waits there.
    fn write_some(&mut self) -> Option<(ConnId, std::io::Result<usize>)> {
        self.conns.iter_mut().find_map(|conn| match conn.write() {
            Write::Progress => Some((conn.id, Ok(conn.pending()))),
            Write::Nothing => None,
            Write::Broken(error) => Some((conn.id, Err(error))),
        })
    }

    /// A connection that takes no octets any more may still hold some, often a NOTIFICATION
    /// that tells why.
    fn broken(&mut self, id: ConnId) {
        while let Some(conn) = self.conns.iter_mut().find(|conn| conn.id == id) {
            if let Read::Octets(octets) = conn.read_now() {
                self.session.handle(Input::Received(id, octets), Instant::now());
                while let Some(output) = self.session.poll_output() {
                    self.execute(output);
                }
            } else {
                self.conns.retain(|conn| conn.id != id);
                self.session.handle(Input::Closed(id), Instant::now());
            }
        }
    }

    fn execute(&mut self, output: Output) {
        match output {
            Output::Connect(conn) => self.dial(conn),
            Output::Send(id, octets) => {
                self.record_told(id, &octets);
                self.send(id, octets);
            }
            Output::Close(id) => self.close(id),
            Output::Abort(id) => self.abort(id),
            Output::State(change) => {
                self.record_state(&change);
                self.note(&change);
            }
            Output::Up(established) => {
                self.tape.up(&established);
                self.note_loss(false);
                self.up(&established);
            }
            Output::Down { retain } => {
                self.note_loss(retain.is_empty());
                self.interface = None;
                self.limits.end();
                let why = self.session.departure().cloned().unwrap_or(Cause::Closed);
                self.rib.down(retain, why);
            }
            Output::StaleExpired(families) => self.rib.push(PeerEvent::StaleExpired(families)),
            Output::LongLived(families) => self.rib.push(PeerEvent::LongLived(families)),
            Output::DeferralOver => self.rib.push(PeerEvent::DeferralOver),
            Output::RefreshBegin(family) => self.rib.push(PeerEvent::RefreshBegin(family)),
            Output::RefreshEnd(family) => self.rib.push(PeerEvent::RefreshEnd(family)),
            Output::Heard(id, octets, codec) => self.record_heard(id, &octets, &codec),
            Output::Update(update) => {
                self.note_faults(&update);
                self.rib.update(update);
            }
            Output::Refresh(family) => self.rib.push(PeerEvent::Refresh(family)),
            Output::RefreshIgnored(ignored) => self.note_ignored(ignored),
        }
    }

    fn dial(&mut self, conn: ConnId) {
        let settings = &self.settings;
        let Some(peer) = self.peer_address() else {
            // A rest has ended before the peer was found again.
            return self.session.handle(Input::ConnectFailed(conn), Instant::now());
        };
        let dial = Dial {
            peer,
            local: settings.local_address,
            ttl: settings.ttl,
            device: settings.bind_device.clone(),
            key: settings.password.clone(),
            patience: patience(settings.session.connect_retry),
        };
        self.dialling = Some(Dialling { conn, result: Box::pin(dial.connect()) });
    }

    fn send(&mut self, id: ConnId, octets: Bytes) {
        if let Some(conn) = self.conns.iter_mut().find(|conn| conn.id == id) {
            conn.send(octets);
        }
    }

    fn close(&mut self, id: ConnId) {
        self.dialling.take_if(|dialling| dialling.conn == id);
        if let Some(at) = self.conns.iter().position(|conn| conn.id == id) {
            self.farewells.spawn(self.conns.swap_remove(at).farewell());
        }
    }

    fn abort(&mut self, id: ConnId) {
        if let Some(at) = self.conns.iter().position(|conn| conn.id == id) {
            self.conns.swap_remove(at).abort();
        }
    }

    /// Our end of the established connection.
    fn local(&self) -> Option<SocketAddr> {
        self.ends().map(|(local, _)| local)
    }

    /// Both ends of the established connection, ours first.
    fn ends(&self) -> Option<(SocketAddr, SocketAddr)> {
        let (id, _) = self.session.established()?;
        let stream = self.conns.iter().find(|conn| conn.id == id)?.stream();
        stream.local_addr().ok().zip(stream.peer_addr().ok())
    }
}

/// How long a dial may take: shorter than the session's wait for the next, jitter included, so
/// that people hear that there was no answer; and not so long that a fresh dial has better
/// chances.
fn patience(connect_retry: Duration) -> Duration {
    connect_retry.mul_f32(0.7).min(LONGEST_DIAL)
}

/// See [`patience`]. The kernel sends four SYNs in this time.
const LONGEST_DIAL: Duration = Duration::from_secs(10);
