//! No speaker at all: whatever one session says, all others are told, unread. What any speaker
//! costs beyond this is its own work; what the relay costs is sockets and load.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsFd;

use anyhow::Result;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use super::contestant::OWN_AS;
use crate::bench::{load, wire};

/// Runs until it is killed.
pub(crate) fn run() -> Result<()> {
    let listener = TcpListener::bind(load::SPEAKER)?;
    listener.set_nonblocking(true)?;
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    epoll.add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER))?;
    let mut relay = Relay::default();
    let mut events = [EpollEvent::empty(); 256];
    loop {
        let count = epoll.wait(&mut events, EpollTimeout::NONE)?;
        for event in &events[..count] {
            if event.data() == LISTENER {
                while let Ok((stream, _)) = listener.accept() {
                    let number = relay.peers.len();
                    relay.accept(stream)?;
                    let peer = &relay.peers[number];
                    let event = EpollEvent::new(EpollFlags::EPOLLIN, number as u64);
                    epoll.add(&peer.stream, event)?;
                }
            } else if event.events().contains(EpollFlags::EPOLLIN) {
                relay.read(usize::try_from(event.data())?);
            }
        }
        // All that has come by now goes out in one write a peer.
        relay.write(&epoll)?;
    }
}

/// Everything that was said, and how much of it each has been told.
#[derive(Default)]
struct Relay {
    peers: Vec<Peer>,
    log: Vec<u8>,
    /// Who said what: the end of each part of the log.
    parts: Vec<(usize, usize)>,
}

struct Peer {
    stream: TcpStream,
    inbox: Box<[u8]>,
    filled: usize,
    /// Part of the log, and place in it, that it is told next.
    next: (usize, usize),
    wants_room: bool,
    gone: bool,
}

impl Relay {
    fn accept(&mut self, stream: TcpStream) -> Result<()> {
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let mut peer = Peer {
            stream,
            inbox: vec![0; READ].into(),
            filled: 0,
            next: (0, 0),
            wants_room: false,
            gone: false,
        };
        // A fresh socket has room for both.
        peer.stream.write_all(&wire::open(wire::Offer {
            asn: OWN_AS,
            router_id: Ipv4Addr::new(10, 99, 0, 1),
            hold_time: wire::HOLD_TIME,
            add_path: false,
            is_quiet: false,
        }))?;
        peer.stream.write_all(&wire::keepalive())?;
        self.peers.push(peer);
        Ok(())
    }

    fn read(&mut self, number: usize) {
        let peer = &mut self.peers[number];
        match peer.stream.read(&mut peer.inbox[peer.filled..]) {
            Ok(0) => peer.gone = true,
            Ok(length) => peer.filled += length,
            Err(error) => peer.gone = error.kind() != ErrorKind::WouldBlock,
        }
        let mut at = 0;
        while let Some((kind, length)) = wire::first_message(&peer.inbox[at..peer.filled]) {
            if kind == wire::UPDATE {
                self.log.extend_from_slice(&peer.inbox[at..at + length]);
            }
            at += length;
        }
        peer.inbox.copy_within(at..peer.filled, 0);
        peer.filled -= at;
        match self.parts.last_mut() {
            Some((by, end)) if *by == number => *end = self.log.len(),
            _ => self.parts.push((number, self.log.len())),
        }
    }

    fn write(&mut self, epoll: &Epoll) -> Result<()> {
        for (number, peer) in self.peers.iter_mut().enumerate() {
            if peer.gone {
                // Deleted twice if it was before, which does no harm.
                let _ = epoll.delete(peer.stream.as_fd());
                continue;
            }
            let behind = peer.write(number, &self.log, &self.parts);
            if behind != peer.wants_room {
                peer.wants_room = behind;
                let room = if behind { EpollFlags::EPOLLOUT } else { EpollFlags::empty() };
                let mut event = EpollEvent::new(EpollFlags::EPOLLIN | room, number as u64);
                epoll.modify(peer.stream.as_fd(), &mut event)?;
            }
        }
        self.forget();
        Ok(())
    }

    /// What all have been told is kept for those who join late, but not without bound.
    fn forget(&mut self) {
        let told = |peer: &Peer| peer.gone || peer.next.1 == self.log.len();
        if self.log.len() > MOST_KEPT && self.peers.iter().all(told) {
            self.log.clear();
            self.parts.clear();
            self.peers.iter_mut().for_each(|peer| peer.next = (0, 0));
        }
    }
}

impl Peer {
    /// True if something is left.
    fn write(&mut self, number: usize, log: &[u8], parts: &[(usize, usize)]) -> bool {
        let mut slices = Vec::new();
        loop {
            slices.clear();
            let (first, mut from) = self.next;
            let mut part = first;
            while let Some((by, end)) = parts.get(part).filter(|_| slices.len() < 256) {
                if *by != number && *end > from {
                    slices.push(std::io::IoSlice::new(&log[from..*end]));
                }
                from = *end;
                part += 1;
            }
            if slices.is_empty() {
                // The last part may grow.
                self.next = (part.saturating_sub(1), from);
                if part == parts.len() {
                    return false;
                }
                self.next.0 = part;
                continue;
            }
            match self.stream.write_vectored(&slices) {
                Ok(taken) => self.advance(taken, number, parts),
                Err(error) => {
                    self.gone |= error.kind() != ErrorKind::WouldBlock;
                    return !self.gone;
                }
            }
        }
    }

    fn advance(&mut self, mut taken: usize, number: usize, parts: &[(usize, usize)]) {
        while let Some((by, end)) = parts.get(self.next.0) {
            let length = if *by == number { 0 } else { end - self.next.1 };
            if taken < length {
                self.next.1 += taken;
                return;
            }
            taken -= length;
            self.next.1 = *end;
            if self.next.0 + 1 == parts.len() {
                return;
            }
            self.next.0 += 1;
        }
    }
}

const LISTENER: u64 = u64::MAX;
/// Octets read at once.
const READ: usize = 256 * 1024;
/// Octets kept for those who join late.
const MOST_KEPT: usize = 64 << 20;
