//! The thread: moves packets and time into sessions, and what comes out of them to sockets.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io,
    net::{IpAddr, SocketAddr},
    num::NonZeroU32,
    sync::{Arc, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

use routed_core::bfd::{Cause, Change, Flaw, Input, Output, Packet, Session, State};
use tokio::{
    net::UdpSocket,
    sync::{mpsc, watch},
};

use super::{
    BfdStatus, Command, Counts, Failure, Path, Relay, Scheduling, scheduling,
    sockets::{self, Datagram, FIRST_PORT},
};
use crate::{config::Reach, deadline::until, peering::roster::seed};

/// See the module.
pub(super) struct Driver {
    inbox: mpsc::UnboundedReceiver<Command>,
    /// By our discriminator.
    sessions: BTreeMap<NonZeroU32, Entry>,
    names: BTreeMap<u64, NonZeroU32>,
    /// Who speaks first knows no discriminator of ours (RFC 5881 §3).
    paths: BTreeMap<Key, NonZeroU32>,
    deadlines: BTreeSet<(Instant, NonZeroU32)>,
    /// Sessions that nobody watches any more, and when their peers are told.
    farewells: VecDeque<(Instant, NonZeroU32)>,
    ears: Ears,
    relay: Relay,
    /// Once there has been a session.
    scheduling: Option<Scheduling>,
    ending: bool,
}

/// What tells packets of sessions that know no discriminator yet apart.
type Key = (IpAddr, u32, Kind);

/// How a datagram is taken.
type Receive = fn(&UdpSocket, &mut [u8]) -> io::Result<Option<Datagram>>;

/// Which port packets come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    SingleHop,
    Multihop,
}

struct Entry {
    path: Path,
    session: Session,
    socket: Option<std::net::UdpSocket>,
    /// As last published.
    status: BfdStatus,
    published: Arc<watch::Sender<BfdStatus>>,
    counts: Arc<Counts>,
    /// Its place in [`Driver::deadlines`].
    deadline: Option<Instant>,
    /// Nobody watches it any more: it ends once the peer has been told.
    closing: bool,
    /// What was told to the log about its socket.
    warned: bool,
}

/// The listening sockets, opened when somebody needs them.
#[derive(Default)]
struct Ears {
    sockets: [Option<UdpSocket>; 4],
}

enum Event {
    Command(Option<Command>),
    Readable(usize),
    Deadline,
}

impl Driver {
    pub(super) fn new(inbox: mpsc::UnboundedReceiver<Command>, relay: Relay) -> Self {
        Self {
            inbox,
            sessions: BTreeMap::new(),
            names: BTreeMap::new(),
            paths: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            ears: Ears::default(),
            farewells: VecDeque::new(),
            relay,
            scheduling: None,
            ending: false,
        }
    }

    /// Serves until told to stop, or until nobody is left who could want anything.
    pub(super) async fn run(mut self) {
        let mut give_up = None;
        while !(self.ending && self.sessions.is_empty()) {
            match self.next_event(give_up).await {
                Event::Command(Some(command)) => self.command(command),
                Event::Command(None) => self.ending = true,
                Event::Readable(ear) => {
                    self.read(ear, sockets::receive_readable);
                    // However much comes in, what is due is done.
                    self.pass_time();
                }
                Event::Deadline => self.pass_time(),
            }
            if self.ending && give_up.is_none() {
                give_up = Some(Instant::now() + LONGEST_FAREWELL);
            }
            if give_up.is_some_and(|at| at <= Instant::now()) {
                return;
            }
        }
    }

    async fn next_event(&mut self, give_up: Option<Instant>) -> Event {
        let next = self.deadlines.first().map(|(at, _)| *at);
        let farewell = self.farewells.front().map(|(at, _)| *at);
        let deadline = until(next.into_iter().chain(farewell).chain(give_up).min());
        let [one, two, three, four] = &self.ears.sockets;
        tokio::select! {
            biased;
            command = self.inbox.recv(), if !self.ending => Event::Command(command),
            () = readable(one) => Event::Readable(0),
            () = readable(two) => Event::Readable(1),
            () = readable(three) => Event::Readable(2),
            () = readable(four) => Event::Readable(3),
            () = deadline => Event::Deadline,
        }
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Open { id, path, settings, status, counts } => {
                // It may be to a peer that has not been told of the end of another one.
                while self.say_farewell() {}
                let scheduling = self.scheduling();
                let name = self.free_name();
                let session = Session::new(settings, name, seed(), Instant::now());
                self.names.insert(id, name);
                self.paths.insert(key(path.remote, kind(path.reach)), name);
                let (socket, deadline) = (None, None);
                let shown =
                    BfdStatus { discriminators: (name.get(), 0), scheduling, ..BfdStatus::new() };
                let mut entry = Entry {
                    path,
                    session,
                    socket,
                    status: shown,
                    published: Arc::new(status),
                    counts,
                    deadline,
                    closing: false,
                    warned: false,
                };
                entry.open(&mut self.ears, &self.relay);
                entry.publish(&self.relay, false);
                self.sessions.insert(name, entry);
                self.handle(name, Input::Timeout);
            }
            Command::Configure(id, settings) => self.tell(id, Input::Configure(settings)),
            Command::PathDown(id) => self.tell(id, Input::PathDown),
            Command::Close(id) => self.close(id),
            Command::Stop => {
                for id in self.names.keys().copied().collect::<Vec<_>>() {
                    self.close(id);
                }
                self.ending = true;
            }
        }
    }

    /// The class of this thread, which is raised with the first session.
    fn scheduling(&mut self) -> Scheduling {
        *self.scheduling.get_or_insert_with(|| match scheduling::raise() {
            Ok(scheduling) => {
                self.relay.put(move || tracing::info!(%scheduling, "the thread of BFD is ready"));
                scheduling
            }
            Err((scheduling, error)) => {
                self.relay.put(move || {
                    tracing::warn!(
                        %scheduling, %error,
                        "the thread of BFD is not real-time and may be late when the processors are busy; \
                         give routed CAP_SYS_NICE"
                    );
                });
                scheduling
            }
        })
    }

    fn tell(&mut self, id: u64, input: Input<'_>) {
        if let Some(name) = self.names.get(&id).copied() {
            self.handle(name, input);
        }
    }

    fn close(&mut self, id: u64) {
        let Some(name) = self.names.remove(&id) else { return };
        if let Some(entry) = self.sessions.get_mut(&name) {
            entry.closing = true;
            // Another one to the same peer may come before this one is forgotten.
            let key = key(entry.path.remote, kind(entry.path.reach));
            if self.paths.get(&key) == Some(&name) {
                self.paths.remove(&key);
            }
        }
        self.farewells.push_back((Instant::now() + BEFORE_FAREWELL, name));
    }

    /// Tells the next peer that waits for it that our silence from now on is no failure. False if there
    /// is none.
    fn say_farewell(&mut self) -> bool {
        let Some((_, name)) = self.farewells.pop_front() else { return false };
        self.handle(name, Input::AdminDown(true));
        true
    }

    /// Every deadline that is due.
    fn pass_time(&mut self) {
        let now = Instant::now();
        while self.farewells.front().is_some_and(|(at, _)| *at <= now) {
            self.say_farewell();
        }
        while let Some((at, name)) = self.deadlines.first().copied()
            && at <= now
        {
            self.deadlines.pop_first();
            if let Some(entry) = self.sessions.get_mut(&name) {
                entry.deadline = None;
            }
            // What has arrived and waits to be read shows life: a deadline that we come late to is
            // our fault and not the peer's. Read for each, since a read takes so many at most; and
            // from the kernel, since the event loop looked at the sockets before we were late.
            for ear in 0..self.ears.sockets.len() {
                self.read(ear, sockets::receive);
            }
            self.handle(name, Input::Timeout);
        }
    }

    fn read(&mut self, ear: usize, receive: Receive) {
        let mut octets = [0; LONGEST];
        for number in 0..DATAGRAMS {
            if number + 1 == DATAGRAMS && self.scheduling == Some(Scheduling::RealTime) {
                // More than any number of sessions sends. Whoever floods the port shall not have all of
                // a processor at our priority.
                thread::sleep(BREATH);
            }
            let Some(socket) = &self.ears.sockets[ear] else { return };
            match receive(socket, &mut octets) {
                Ok(Some(datagram)) => self.datagram(ear, datagram, &octets[..datagram.len]),
                Ok(None) => (),
                Err(_) => return,
            }
        }
    }

    /// RFC 5880 §6.8.6, RFC 5881 §3: to the session that the discriminator names, or else to that
    /// with the sender.
    fn datagram(&mut self, ear: usize, datagram: Datagram, octets: &[u8]) {
        let kind = if ear < 2 { Kind::SingleHop } else { Kind::Multihop };
        let key = key(datagram.source, kind);
        let read = Packet::read(octets);
        let named = read.as_ref().ok().and_then(|(packet, _)| {
            NonZeroU32::new(packet.your_discriminator).filter(|name| self.is_with(*name, key))
        });
        let of_path = || {
            let (packet, _) = read.as_ref().ok()?;
            // One that knows a wrong name is not met anew: it has to find out itself.
            (packet.your_discriminator == 0).then(|| self.paths.get(&key).copied())?
        };
        let Some(name) = named.or_else(of_path) else {
            self.drop_datagram(key, read.err());
            return;
        };
        let far =
            self.sessions.get(&name).is_none_or(|entry| datagram.ttl < least_ttl(entry.path.reach));
        match read {
            Ok((packet, sealed)) if !far => self.handle(name, Input::Packet(packet, sealed)),
            _ => self.drop_datagram(key, None),
        }
    }

    /// Whoever knows a discriminator may still not speak for another address.
    fn is_with(&self, name: NonZeroU32, key: Key) -> bool {
        self.sessions
            .get(&name)
            .is_some_and(|entry| self::key(entry.path.remote, kind(entry.path.reach)) == key)
    }

    fn drop_datagram(&mut self, key: Key, flaw: Option<Flaw>) {
        tracing::debug!(from = %key.0, ?flaw, "BFD packet dropped");
        if let Some(entry) = self.paths.get(&key).and_then(|name| self.sessions.get(name)) {
            entry.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// One thing happened to a session.
    fn handle(&mut self, name: NonZeroU32, input: Input<'_>) {
        let Some(entry) = self.sessions.get_mut(&name) else { return };
        let now = Instant::now();
        let packet = matches!(input, Input::Packet(..));
        let outcome = entry.session.handle(input, now);
        if packet {
            entry.count(outcome);
        }
        entry.carry_out(now, &self.relay);
        if let Some(at) = entry.deadline.take() {
            self.deadlines.remove(&(at, name));
        }
        if entry.closing && entry.session.is_silent() {
            self.sessions.remove(&name);
            self.ears.close_idle(self.sessions.values().map(|entry| &entry.path));
            return;
        }
        if entry.session.state() == State::Down && entry.status.trouble.is_some() {
            entry.open(&mut self.ears, &self.relay);
        }
        entry.deadline = entry.session.poll_timeout();
        if let Some(at) = entry.deadline {
            self.deadlines.insert((at, name));
        }
    }

    /// A discriminator that nobody has and nobody can guess.
    fn free_name(&self) -> NonZeroU32 {
        loop {
            let name = u32::try_from(seed() >> 32).ok().and_then(NonZeroU32::new);
            if let Some(name) = name.filter(|name| !self.sessions.contains_key(name)) {
                return name;
            }
        }
    }
}

impl Entry {
    /// Has its packets listened for, and shows what hinders that.
    fn open(&mut self, ears: &mut Ears, relay: &Relay) {
        let trouble: Option<Arc<str>> = ears.open(&self.path).err().map(Into::into);
        if self.status.trouble == trouble {
            return;
        }
        if let Some(error) = trouble.clone() {
            let peer = self.path.remote.ip();
            relay.put(move || tracing::warn!(%peer, %error, "BFD does not work"));
        }
        self.status.trouble = trouble;
        self.publish(relay, true);
    }

    /// Shows how it stands; `wakes` those who wait for a change.
    fn publish(&self, relay: &Relay, wakes: bool) {
        let (published, status) = (self.published.clone(), self.status.clone());
        relay.put(move || {
            published.send_if_modified(|shown| {
                *shown = status;
                wakes
            });
        });
    }

    fn count(&self, outcome: Result<(), Flaw>) {
        if let Err(flaw) = outcome {
            tracing::debug!(peer = %self.path.remote.ip(), %flaw, "BFD packet dropped");
        }
        let count = match outcome {
            Ok(()) => &self.counts.received,
            Err(_) => &self.counts.dropped,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// Does what the session wants, and shows how it stands.
    fn carry_out(&mut self, now: Instant, relay: &Relay) {
        let mut sent = 0;
        let mut changes = Vec::new();
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::Send(octets) => sent += u64::from(self.send(&octets, relay)),
                Output::Change(change) => changes.push(change),
            }
        }
        self.counts.sent.fetch_add(sent, Ordering::Relaxed);
        let (session, status) = (&self.session, &mut self.status);
        let shown = |status: &BfdStatus| {
            let BfdStatus { diagnostic, remote, discriminators, .. } = status;
            let times = (status.transmit_micros, status.detection_micros);
            (*diagnostic, *remote, *discriminators, times)
        };
        let before = shown(status);
        status.diagnostic = session.diagnostic();
        status.remote = session.remote();
        status.discriminators.1 = session.remote_discriminator();
        status.transmit_micros = session.transmit_interval().map(micros);
        status.detection_micros = micros(session.detection_time());
        for change in &changes {
            note(status, change, now);
        }
        if !changes.is_empty() || shown(status) != before {
            self.publish(relay, !changes.is_empty());
        }
    }

    /// Sends; true if the kernel took it.
    fn send(&mut self, octets: &[u8], relay: &Relay) -> bool {
        match self.try_send(octets) {
            Ok(()) => {
                self.warned = false;
                true
            }
            // A peer without BFD answers with "port unreachable".
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => true,
            Err(error) => {
                let peer = self.path.remote.ip();
                if !std::mem::replace(&mut self.warned, true) {
                    relay.put(move || tracing::info!(%peer, %error, "BFD packets cannot be sent"));
                }
                // The route or our address may have changed: the next one has a fresh socket.
                self.socket = None;
                false
            }
        }
    }

    fn try_send(&mut self, octets: &[u8]) -> io::Result<()> {
        let socket = match &self.socket {
            Some(socket) => socket,
            None => {
                let mut to = self.path.remote;
                to.set_port(port(self.path.reach));
                let spread =
                    u16::try_from(self.session.discriminator().get() % PORTS).unwrap_or_default();
                let opened = sockets::sender(&self.path, to, FIRST_PORT + spread)?;
                self.socket.insert(opened)
            }
        };
        socket.send(octets).map(drop)
    }
}

fn note(status: &mut BfdStatus, change: &Change, now: Instant) {
    let Change { from, to, cause, independent } = *change;
    status.state = to;
    status.since = now;
    if to == State::Up {
        status.ups += 1;
    }
    let failed = match cause {
        Cause::Expired(_) | Cause::PeerDown | Cause::PathDown => from == State::Up,
        Cause::Heard | Cause::PeerAdminDown | Cause::Admin => false,
    };
    if failed {
        status.failures += 1;
        status.failure = Some(Failure { cause, independent });
    }
}

impl Ears {
    /// Opens the socket for a path, unless it is open.
    fn open(&mut self, path: &Path) -> Result<(), String> {
        let at = Self::of(path);
        if self.sockets[at].is_some() {
            return Ok(());
        }
        let port = port(path.reach);
        let opened =
            sockets::listen(path.remote.is_ipv6(), port).map_err(|error| match error.kind() {
                io::ErrorKind::AddrInUse => {
                    format!("UDP port {port} is in use: is another BFD daemon running?")
                }
                _ => format!("UDP port {port} cannot be listened on: {error}"),
            })?;
        self.sockets[at] = Some(opened);
        Ok(())
    }

    /// Closes those that none of these paths needs.
    fn close_idle<'p>(&mut self, paths: impl Iterator<Item = &'p Path>) {
        let mut needed = [false; 4];
        paths.for_each(|path| needed[Self::of(path)] = true);
        for (socket, needed) in self.sockets.iter_mut().zip(needed) {
            socket.take_if(|_| !needed);
        }
    }

    /// IPv4 before IPv6, one hop before several.
    fn of(path: &Path) -> usize {
        let family = usize::from(path.remote.is_ipv6());
        match kind(path.reach) {
            Kind::SingleHop => family,
            Kind::Multihop => 2 + family,
        }
    }
}

const fn kind(reach: Reach) -> Kind {
    match reach {
        Reach::SingleHop => Kind::SingleHop,
        Reach::Multihop { .. } => Kind::Multihop,
    }
}

/// RFC 5881 §4, RFC 5883 §5.
const fn port(reach: Reach) -> u16 {
    match reach {
        Reach::SingleHop => 3784,
        Reach::Multihop { .. } => 4784,
    }
}

/// The hop limit with which packets come at least (RFC 5881 §5, RFC 5883 §4.3).
const fn least_ttl(reach: Reach) -> u8 {
    match reach {
        Reach::SingleHop => 255,
        Reach::Multihop { least_ttl } => least_ttl,
    }
}

fn key(remote: SocketAddr, kind: Kind) -> Key {
    let scope = match remote {
        SocketAddr::V6(six) if six.ip().is_unicast_link_local() => six.scope_id(),
        SocketAddr::V4(_) | SocketAddr::V6(_) => 0,
    };
    (remote.ip(), scope, kind)
}

async fn readable(socket: &Option<UdpSocket>) {
    match socket {
        // An error shows at the next read.
        Some(socket) => drop(socket.readable().await),
        None => std::future::pending().await,
    }
}

fn micros(time: Duration) -> u64 {
    time.as_micros().try_into().unwrap_or(u64::MAX)
}

/// From the end of a session's use to telling the peer: routing daemons that hear of it before they have
/// seen the end of the BGP session take it for a failure, and forget routes that graceful restart keeps.
const BEFORE_FAREWELL: Duration = Duration::from_millis(200);
/// How long the end of the daemon may wait for peers to be told.
const LONGEST_FAREWELL: Duration = Duration::from_secs(1);
/// Room for the longest packet that we take.
const LONGEST: usize = 64;
/// Datagrams read in a row before timers have their turn.
const DATAGRAMS: usize = 64;
/// After so many without a pause.
const BREATH: Duration = Duration::from_micros(500);
/// Ports to spread sessions over.
const PORTS: u32 = 16_000;
