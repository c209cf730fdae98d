//! KEEPALIVEs of quiet sessions with a hold time of 3 s, while others are busy: how late they come.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::bench::load::{self, Identity};
use crate::bench::stats::Samples;
use crate::bench::wire;

/// In seconds; a KEEPALIVE is due after a third of it (RFC 4271 §4.4).
pub(super) const HOLD_TIME: u16 = 3;
const DUE: Duration = Duration::from_secs(1);

/// Quiet sessions on a thread of their own, since the load's may be busy.
pub(super) struct Quiet {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Samples>>,
}

impl Quiet {
    /// Establishes all of them.
    pub(super) fn begin(peers: Vec<Identity>) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (ready, established) = mpsc::channel();
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut watch = Watch::new(&peers)?;
            // The other end waits for this, or has gone.
            let _ = ready.send(());
            while !stopped.load(Ordering::Relaxed) {
                watch.step()?;
            }
            Ok(watch.late)
        });
        let quiet = Self { stop, thread };
        match established.recv() {
            Ok(()) => Ok(quiet),
            Err(_) => match quiet.end() {
                Ok(_) => bail!("the quiet sessions ended at once"),
                Err(error) => Err(error),
            },
        }
    }

    /// Ends them; how late KEEPALIVEs were.
    pub(super) fn end(self) -> Result<Samples> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow::anyhow!("the watch over timers panicked"))?
    }
}

struct Watch {
    epoll: Epoll,
    sessions: Vec<(TcpStream, Instant)>,
    spoken: Instant,
    late: Samples,
}

impl Watch {
    fn new(peers: &[Identity]) -> Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let mut sessions = Vec::new();
        for (at, peer) in peers.iter().enumerate() {
            let stream = load::establish(peer)
                .with_context(|| format!("no quiet session from {}", peer.address))?;
            stream.set_nonblocking(true)?;
            epoll.add(&stream, EpollEvent::new(EpollFlags::EPOLLIN, at as u64))?;
            sessions.push((stream, Instant::now()));
        }
        Ok(Self { epoll, sessions, spoken: Instant::now(), late: Samples::default() })
    }

    fn step(&mut self) -> Result<()> {
        if self.spoken.elapsed() > DUE / 2 {
            self.spoken = Instant::now();
            for (stream, _) in &mut self.sessions {
                stream.write_all(&wire::keepalive()).context("a quiet session")?;
            }
        }
        let mut events = [EpollEvent::empty(); 64];
        let timeout = EpollTimeout::try_from(DUE / 10).unwrap_or(EpollTimeout::ZERO);
        let count = match self.epoll.wait(&mut events, timeout) {
            Ok(count) => count,
            Err(nix::errno::Errno::EINTR) => 0,
            Err(error) => return Err(error.into()),
        };
        let now = Instant::now();
        for event in &events[..count] {
            let (stream, heard) = &mut self.sessions[usize::try_from(event.data())?];
            // A KEEPALIVE and little else; what it says is all the same.
            match stream.read(&mut [0; 4096]) {
                Ok(0) => bail!("the speaker closed a quiet session"),
                Ok(_) => {
                    self.late.push(now.duration_since(*heard).saturating_sub(DUE));
                    *heard = now;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error).context("a quiet session"),
            }
        }
        Ok(())
    }
}
