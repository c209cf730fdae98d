//! Echo requests to several addresses at once, and how many came back.
//!
//! In: addresses, a pace, an end. Out: a [`Tally`] for each address. Built in so that a lab needs
//! no `ping` program, and so that a cut cable can be measured: the longest outage is told.

use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::{Deserialize, Serialize};
use socket2::{Domain, Protocol, Socket, Type};

/// Pace and end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// Between two requests to the same address.
    pub(crate) interval: Duration,
    /// Requests to each address; none: until SIGINT or SIGTERM.
    pub(crate) count: Option<u16>,
}

/// What came of the requests to one address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Where they went.
    pub address: IpAddr,
    /// Requests.
    pub sent: usize,
    /// Answers.
    pub received: usize,
    /// From the first unanswered request to the next answered one, at worst, in milliseconds.
    pub longest_outage_ms: u64,
    /// Mean time to an answer, in microseconds.
    pub mean_us: u64,
    /// Hops that the last answer could still have taken.
    pub ttl: Option<u8>,
}

impl Tally {
    /// Requests without an answer.
    #[must_use]
    pub fn lost(&self) -> usize {
        self.sent - self.received
    }
}

/// Sends and listens until the end; `heard` is told of each answer: address, number, time, TTL.
pub(crate) fn ping(
    addresses: &[IpAddr],
    pace: Pace,
    mut heard: impl FnMut(IpAddr, usize, Duration, Option<u8>),
) -> io::Result<Vec<Tally>> {
    let mut sockets = Sockets::open(addresses)?;
    let mut targets: Vec<Target> = addresses.iter().map(|address| Target::new(*address)).collect();
    let begun = Instant::now();
    let mut round: u32 = 0;
    while !ended() && pace.count.is_none_or(|count| round < u32::from(count)) {
        for (index, target) in targets.iter_mut().enumerate() {
            target.requests.push(Request { sent: Instant::now(), answered: None });
            let packet = echo_request(target.address, index, target.requests.len() - 1);
            // No route is a loss like any other.
            let _ = sockets.send(&packet, target.address);
        }
        round += 1;
        let next = begun + pace.interval * round;
        sockets.listen(next, ended, &mut targets, &mut heard)?;
    }
    // Also after a signal: what is still on its way is not lost.
    let last_wait = Instant::now() + LAST_WAIT;
    while Instant::now() < last_wait && targets.iter().any(Target::is_waiting) {
        let soon = Instant::now() + Duration::from_millis(10);
        sockets.listen(soon, || false, &mut targets, &mut heard)?;
    }
    Ok(targets.iter().map(Target::tally).collect())
}

/// Makes [`ping`] end and count when this process is told to end.
pub(crate) fn end_on_signals() -> nix::Result<()> {
    use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
    extern "C" fn end(_: libc::c_int) {
        ENDED.store(true, Ordering::Relaxed);
    }
    let action = SigAction::new(SigHandler::Handler(end), SaFlags::empty(), SigSet::empty());
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        // SAFETY: the handler stores to an atomic and does nothing else.
        unsafe { sigaction(signal, &action)? };
    }
    Ok(())
}

struct Target {
    address: IpAddr,
    requests: Vec<Request>,
    ttl: Option<u8>,
}

struct Request {
    sent: Instant,
    answered: Option<Duration>,
}

impl Target {
    fn new(address: IpAddr) -> Self {
        Self { address, requests: Vec::new(), ttl: None }
    }

    fn is_waiting(&self) -> bool {
        self.requests.last().is_some_and(|last| last.answered.is_none())
    }

    fn tally(&self) -> Tally {
        let answers: Vec<Duration> =
            self.requests.iter().filter_map(|request| request.answered).collect();
        let mean = answers.iter().sum::<Duration>()
            / u32::try_from(answers.len().max(1)).unwrap_or(u32::MAX);
        Tally {
            address: self.address,
            sent: self.requests.len(),
            received: answers.len(),
            longest_outage_ms: millis(self.longest_outage()),
            mean_us: u64::try_from(mean.as_micros()).unwrap_or(u64::MAX),
            ttl: self.ttl,
        }
    }

    fn longest_outage(&self) -> Duration {
        let (mut longest, mut since) = (Duration::ZERO, None);
        for request in &self.requests {
            match (request.answered, since) {
                (None, None) => since = Some(request.sent),
                (Some(_), Some(lost)) => {
                    longest = longest.max(request.sent - lost);
                    since = None;
                }
                (None, Some(_)) | (Some(_), None) => {}
            }
        }
        // Still out at the end.
        let open = since.map(|lost| Instant::now() - lost);
        longest.max(open.unwrap_or_default())
    }
}

/// A raw socket for each family in use.
struct Sockets {
    v4: Option<Socket>,
    v6: Option<Socket>,
}

impl Sockets {
    fn open(addresses: &[IpAddr]) -> io::Result<Self> {
        let raw = |domain, protocol| -> io::Result<Socket> {
            let socket = Socket::new(domain, Type::RAW, Some(protocol))?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        };
        let v4 = addresses.iter().any(IpAddr::is_ipv4);
        let v6 = addresses.iter().any(IpAddr::is_ipv6);
        Ok(Self {
            v4: v4.then(|| raw(Domain::IPV4, Protocol::ICMPV4)).transpose()?,
            v6: v6.then(|| raw(Domain::IPV6, Protocol::ICMPV6)).transpose()?,
        })
    }

    fn send(&self, packet: &[u8], address: IpAddr) -> io::Result<usize> {
        let socket = if address.is_ipv4() { &self.v4 } else { &self.v6 };
        match socket {
            Some(socket) => socket.send_to(packet, &SocketAddr::new(address, 0).into()),
            None => Err(io::ErrorKind::AddrNotAvailable.into()),
        }
    }

    /// Takes in answers until that time, or until `ended` once a signal has come.
    fn listen(
        &mut self,
        until: Instant,
        ended: impl Fn() -> bool,
        targets: &mut [Target],
        heard: &mut impl FnMut(IpAddr, usize, Duration, Option<u8>),
    ) -> io::Result<()> {
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || ended() {
                return Ok(());
            }
            let sockets: Vec<&Socket> = self.v4.iter().chain(&self.v6).collect();
            let mut watched: Vec<PollFd<'_>> = sockets
                .iter()
                .map(|socket| PollFd::new(socket.as_fd(), PollFlags::POLLIN))
                .collect();
            // Rounded up: waking early would spin.
            let timeout = u16::try_from(left.as_millis() + 1).unwrap_or(u16::MAX);
            match poll(&mut watched, PollTimeout::from(timeout)) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
            for (socket, v4) in [(&mut self.v4, true), (&mut self.v6, false)] {
                let Some(socket) = socket else { continue };
                let mut octets = [0; 2048];
                while let Ok(length) = socket.read(&mut octets) {
                    if let Some(reply) = echo_reply(&octets[..length], v4) {
                        note(targets, &reply, heard);
                    }
                }
            }
        }
    }
}

struct Reply {
    target: usize,
    number: u16,
    ttl: Option<u8>,
}

fn note(
    targets: &mut [Target],
    reply: &Reply,
    heard: &mut impl FnMut(IpAddr, usize, Duration, Option<u8>),
) {
    let Some(target) = targets.get_mut(reply.target) else { return };
    // The number has 16 bits: it means the last request that it fits.
    let newest = target.requests.len();
    let number = usize::from(reply.number);
    let Some(behind) = newest.checked_sub(number + 1) else { return };
    let number = number + (behind / WRAP) * WRAP;
    let Some(request) = target.requests.get_mut(number) else { return };
    if request.answered.is_none() {
        let elapsed = request.sent.elapsed();
        request.answered = Some(elapsed);
        target.ttl = reply.ttl;
        heard(target.address, number, elapsed, reply.ttl);
    }
}

/// An ICMP or ICMPv6 echo request. The identifier tells our targets apart.
fn echo_request(address: IpAddr, target: usize, number: usize) -> Vec<u8> {
    let mut packet = vec![if address.is_ipv4() { 8 } else { 128 }, 0, 0, 0];
    packet.extend_from_slice(&identifier(target).to_be_bytes());
    packet.extend_from_slice(&low_16(number).to_be_bytes());
    packet.extend_from_slice(b"slash32 testbed ping");
    if address.is_ipv4() {
        // The kernel fills in the checksum of ICMPv6 only.
        let sum = checksum(&packet).to_be_bytes();
        packet[2..4].copy_from_slice(&sum);
    }
    packet
}

fn echo_reply(octets: &[u8], v4: bool) -> Option<Reply> {
    // A raw IPv4 socket hands out the IP header as well.
    let (icmp, ttl) = if v4 {
        let header = usize::from(octets.first()? & 0x0f) * 4;
        (octets.get(header..)?, octets.get(8).copied())
    } else {
        (octets, None)
    };
    let expected = if v4 { 0 } else { 129 };
    let id = u16::from_be_bytes([*icmp.get(4)?, *icmp.get(5)?]);
    let number = u16::from_be_bytes([*icmp.get(6)?, *icmp.get(7)?]);
    let target = usize::from(id.wrapping_sub(identifier(0)));
    (icmp[0] == expected).then_some(Reply { target, number, ttl })
}

fn identifier(target: usize) -> u16 {
    low_16(std::process::id() as usize * 64 + target)
}

fn low_16(number: usize) -> u16 {
    u16::try_from(number % WRAP).expect("below 2^16")
}

/// RFC 1071.
fn checksum(octets: &[u8]) -> u16 {
    let mut sum: u32 = octets
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0)))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).expect("folded to 16 bits")
}

/// This process was told to end.
fn ended() -> bool {
    ENDED.load(Ordering::Relaxed)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

static ENDED: AtomicBool = AtomicBool::new(false);
/// For answers to the last requests.
const LAST_WAIT: Duration = Duration::from_secs(1);
/// Numbers of requests repeat after so many.
const WRAP: usize = 1 << 16;
