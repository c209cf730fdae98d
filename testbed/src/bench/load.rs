//! The load: sessions of our own that write what was built before as fast as their sockets take it,
//! and note which routes they are told.
//!
//! In: octets to send, and what to wait for. Out: how long that took. One thread, so that the speaker
//! has the rest of the machine.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::ops::Range;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use socket2::{Domain, Protocol, Socket, Type};

use super::wire::{self, Heard, Offer};

/// Who a session is to the speaker.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    pub(super) asn: u32,
    /// Source of the connection and router id.
    pub(super) address: Ipv4Addr,
    /// In seconds.
    pub(super) hold_time: u16,
    /// Path identifiers both ways (RFC 7911).
    pub(super) add_path: bool,
    /// Has IPv6 alone, so that it is told nothing of the load.
    pub(super) is_quiet: bool,
    /// Does not look at what it is told.
    pub(super) is_deaf: bool,
}

/// All sessions.
pub(super) struct Load {
    epoll: Epoll,
    sessions: Vec<Session>,
    last_keepalives: Instant,
}

/// One session.
pub(super) struct Session {
    pub(super) identity: Identity,
    stream: TcpStream,
    /// Octets to send, and how many of the first are sent.
    queue: VecDeque<(Rc<[u8]>, usize)>,
    wants_room: bool,
    inbox: Vec<u8>,
    filled: usize,
    /// Which routes it was told.
    pub(super) told: Told,
    closed: bool,
}

/// Which routes a session was told.
#[derive(Default)]
pub(super) struct Told {
    bits: Vec<u64>,
    count: usize,
    /// Routes that do not count, since the session sent them itself: some speakers echo them.
    own: Range<u32>,
    /// UPDATEs so far.
    pub(super) updates: usize,
}

impl Told {
    /// How many routes are there that others sent.
    pub(super) const fn count(&self) -> usize {
        self.count
    }

    /// Is this route there?
    pub(super) fn knows(&self, number: u32) -> bool {
        let word = self.bits.get(number as usize / 64).copied().unwrap_or_default();
        word & (1 << (number % 64)) != 0
    }

    fn word(&mut self, number: u32) -> (&mut u64, u64) {
        let at = number as usize / 64;
        if self.bits.len() <= at {
            self.bits.resize(at + 1, 0);
        }
        (&mut self.bits[at], 1 << (number % 64))
    }
}

impl Heard for Told {
    fn reach(&mut self, number: u32) {
        if self.own.contains(&number) {
            return;
        }
        let (word, bit) = self.word(number);
        let new = *word & bit == 0;
        *word |= bit;
        self.count += usize::from(new);
    }

    fn withdraw(&mut self, number: u32) {
        let (word, bit) = self.word(number);
        let known = *word & bit != 0;
        *word &= !bit;
        self.count -= usize::from(known);
    }
}

impl Load {
    pub(super) fn new() -> Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        Ok(Self { epoll, sessions: Vec::new(), last_keepalives: Instant::now() })
    }

    /// Establishes one more session and gives its number. Tries again for as long as `patience`
    /// lasts: the speaker may still be starting.
    pub(super) fn join(&mut self, identity: Identity, patience: Duration) -> Result<usize> {
        let begun = Instant::now();
        let stream = loop {
            match establish(&identity) {
                Ok(stream) => break stream,
                Err(error) if begun.elapsed() > patience => {
                    return Err(error.context(format!("no session from {}", identity.address)));
                }
                Err(_) => std::thread::sleep(Duration::from_millis(10)),
            }
        };
        stream.set_read_timeout(None)?;
        stream.set_nonblocking(true)?;
        let number = self.sessions.len();
        let event = EpollEvent::new(EpollFlags::EPOLLIN, number as u64);
        self.epoll.add(&stream, event)?;
        self.sessions.push(Session {
            identity,
            stream,
            queue: VecDeque::new(),
            wants_room: false,
            inbox: vec![0; INBOX],
            filled: 0,
            told: Told::default(),
            closed: false,
        });
        Ok(number)
    }

    pub(super) fn session(&self, number: usize) -> &Session {
        &self.sessions[number]
    }

    pub(super) fn sessions_mut(&mut self) -> impl Iterator<Item = &mut Session> {
        self.sessions.iter_mut()
    }

    /// Routes that this session sends, which do not count when it hears of them.
    pub(super) fn owns(&mut self, number: usize, own: Range<u32>) {
        self.sessions[number].told.own = own;
    }

    /// Ends a session without a word.
    pub(super) fn leave(&mut self, number: usize) -> Result<()> {
        let session = &mut self.sessions[number];
        session.closed = true;
        self.epoll.delete(&session.stream)?;
        session.stream.shutdown(std::net::Shutdown::Both)?;
        Ok(())
    }

    /// Begins to send octets; what does not fit now goes out while something is waited for.
    pub(super) fn send(&mut self, number: usize, octets: &Rc<[u8]>) -> Result<()> {
        self.sessions[number].queue.push_back((Rc::clone(octets), 0));
        self.write(number)
    }

    /// Serves the sessions until `done`; the time since `since`, or `None` if `patience` ended first.
    ///
    /// # Errors
    ///
    /// A session that ended.
    pub(super) fn wait(
        &mut self,
        since: Instant,
        patience: Duration,
        mut done: impl FnMut(&[Session]) -> bool,
    ) -> Result<Option<Duration>> {
        loop {
            if done(&self.sessions) {
                return Ok(Some(since.elapsed()));
            }
            let left = patience.saturating_sub(since.elapsed());
            if left.is_zero() {
                return Ok(None);
            }
            self.pump(left.min(Duration::from_secs(1)))?;
        }
    }

    /// Are the sessions so?
    pub(super) fn is(&self, so: impl Fn(&[Session]) -> bool) -> bool {
        so(&self.sessions)
    }

    /// Serves the sessions for that long.
    pub(super) fn idle(&mut self, time: Duration) -> Result<()> {
        self.wait(Instant::now(), time, |_| false).map(|_| ())
    }

    /// Waits at most that long for anything to do, and does it.
    fn pump(&mut self, patience: Duration) -> Result<()> {
        self.keep_alive()?;
        let mut events = [EpollEvent::empty(); 64];
        let timeout = EpollTimeout::try_from(patience).unwrap_or(EpollTimeout::ZERO);
        let count = match self.epoll.wait(&mut events, timeout) {
            Ok(count) => count,
            Err(nix::errno::Errno::EINTR) => 0,
            Err(error) => return Err(error.into()),
        };
        for event in &events[..count] {
            let number = usize::try_from(event.data()).expect("set by us");
            if event.events().contains(EpollFlags::EPOLLOUT) {
                self.write(number)?;
            }
            if event.events() != EpollFlags::EPOLLOUT {
                self.sessions[number].read()?;
            }
        }
        Ok(())
    }

    fn write(&mut self, number: usize) -> Result<()> {
        let session = &mut self.sessions[number];
        session.write()?;
        let wants_room = !session.queue.is_empty();
        if session.wants_room != wants_room {
            session.wants_room = wants_room;
            let room = if wants_room { EpollFlags::EPOLLOUT } else { EpollFlags::empty() };
            let mut event = EpollEvent::new(EpollFlags::EPOLLIN | room, number as u64);
            self.epoll.modify(session.stream.as_fd(), &mut event)?;
        }
        Ok(())
    }

    fn keep_alive(&mut self) -> Result<()> {
        if self.last_keepalives.elapsed() < KEEPALIVE_INTERVAL {
            return Ok(());
        }
        self.last_keepalives = Instant::now();
        let keepalive = wire::keepalive().into();
        for number in 0..self.sessions.len() {
            if !self.sessions[number].closed {
                self.send(number, &keepalive)?;
            }
        }
        Ok(())
    }
}

impl Session {
    fn write(&mut self) -> Result<()> {
        while let Some((octets, sent)) = self.queue.front_mut() {
            match self.stream.write(&octets[*sent..]) {
                Ok(taken) => {
                    *sent += taken;
                    if *sent == octets.len() {
                        self.queue.pop_front();
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(self.ended(error)),
            }
        }
        Ok(())
    }

    fn read(&mut self) -> Result<()> {
        match self.stream.read(&mut self.inbox[self.filled..]) {
            Ok(0) => bail!("the speaker closed the session of {}", self.identity.address),
            Ok(length) => self.filled += length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(self.ended(error)),
        }
        let mut at = 0;
        while let Some((kind, length)) = wire::first_message(&self.inbox[at..self.filled]) {
            let message = &self.inbox[at..at + length];
            at += length;
            match kind {
                wire::UPDATE if self.identity.is_deaf => {}
                wire::UPDATE => {
                    self.told.updates += 1;
                    let heard = wire::scan(message, self.identity.add_path, &mut self.told);
                    heard.with_context(|| {
                        format!(
                            "{} was told what nobody sent: {message:02x?}",
                            self.identity.address
                        )
                    })?;
                }
                wire::NOTIFICATION => bail!(
                    "the speaker ended the session of {} by NOTIFICATION {:?}",
                    self.identity.address,
                    &message[wire::HEADER..]
                ),
                _ => {}
            }
        }
        self.inbox.copy_within(at..self.filled, 0);
        self.filled -= at;
        Ok(())
    }

    fn ended(&self, error: std::io::Error) -> anyhow::Error {
        anyhow::Error::new(error).context(format!("the session of {} broke", self.identity.address))
    }
}

/// A connection on which both OPENs and both first KEEPALIVEs have been exchanged.
pub(super) fn establish(identity: &Identity) -> Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    let local = IpAddr::V4(identity.address);
    socket.bind(&SocketAddr::new(local, 0).into())?;
    socket.connect_timeout(&SPEAKER.into(), HANDSHAKE_TIME)?;
    let mut stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(HANDSHAKE_TIME))?;
    let Identity { asn, address: router_id, hold_time, add_path, is_quiet, .. } = *identity;
    stream.write_all(&wire::open(Offer { asn, router_id, hold_time, add_path, is_quiet }))?;
    expect(&mut stream, wire::OPEN)?;
    stream.write_all(&wire::keepalive())?;
    expect(&mut stream, wire::KEEPALIVE)?;
    Ok(stream)
}

/// Reads one message, and no octet more.
fn expect(stream: &mut TcpStream, wanted: u8) -> Result<()> {
    let mut head = [0; wire::HEADER];
    stream.read_exact(&mut head)?;
    let (kind, length) = (head[18], usize::from(u16::from_be_bytes([head[16], head[17]])));
    let mut body = vec![0; length.saturating_sub(wire::HEADER)];
    stream.read_exact(&mut body)?;
    ensure!(kind == wanted, "message of type {kind} instead of {wanted}: {body:?}");
    Ok(())
}

/// The speaker's address; everybody dials it.
pub(super) const SPEAKER: SocketAddr =
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 99, 0, 1)), 179);
/// How long a speaker may take for one step of a handshake.
const HANDSHAKE_TIME: Duration = Duration::from_secs(5);
/// The hold time of these sessions is 180 s.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
/// Room for what is read at once.
const INBOX: usize = 256 * 1024;
