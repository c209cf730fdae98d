//! One end of the measured traffic: a process in a pod that sends numbered packets at a constant rate
//! and takes in those of the other end.
//!
//! In: where to send, how many flows, how often; on stdin one octet when to begin, one when to send no
//! more, and the end of the file when nothing is on its way any more. Out: on stdout a line once it
//! hears, one once it has stopped, and [`Log`] as JSON. So no packet is sent that nobody waits for. Every packet carries
//! the number of its flow, its own number, and when it was to be sent; the clock is the machine's
//! (CLOCK_MONOTONIC), which both ends share.

use std::fs;
use std::io::{ErrorKind, Read};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::RcvBufForce;
use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use socket2::SockRef;

use super::tally::{Received, Sent};
use crate::real_time;

/// What one end does.
#[derive(Debug, Args)]
pub(crate) struct End {
    /// Where packets are taken in, and sent to
    #[arg(long, default_value_t = 9000)]
    port: u16,
    /// Whom to send to; flows take turns
    #[arg(long, value_delimiter = ',')]
    to: Vec<IpAddr>,
    /// Flows, each with a source port of its own
    #[arg(long, default_value_t = 16)]
    flows: u16,
    /// Packets a second, all flows together
    #[arg(long, default_value_t = super::RATE)]
    rate: u32,
}

/// What one end has sent and taken in.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Log {
    /// By flow.
    pub(super) sent: Vec<Sent>,
    /// By flow.
    pub(super) received: Vec<Received>,
    /// Packets that arrived and found the receiver's buffer full.
    pub(super) overflow: u64,
}

/// Runs one end.
pub(crate) fn run(end: &End) -> Result<()> {
    ensure!(end.flows > 0 && end.rate > 0, "--flows and --rate: use at least 1");
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, end.port))
        .with_context(|| format!("cannot take in packets at port {}", end.port))?;
    // A receiver that waits for a processor must not lose what the network did not. Beyond the usual
    // limit only root may.
    if setsockopt(&socket, RcvBufForce, &RECEIVE_BUFFER).is_err() {
        SockRef::from(&socket).set_recv_buffer_size(RECEIVE_BUFFER)?;
    }
    socket.set_read_timeout(Some(Duration::from_millis(20)))?;
    let (sending, receiving) = (AtomicBool::new(true), AtomicBool::new(true));
    let log = thread::scope(|scope| -> Result<Log> {
        let receiver = scope.spawn(|| {
            at_once();
            receive(&socket, &receiving)
        });
        // An owner who is gone says nothing any more, which is as good.
        let told = || {
            let _ = std::io::stdin().read(&mut [0; 1]);
        };
        println!("hears");
        told();
        let sender = scope.spawn(|| {
            at_once();
            send(end, &sending)
        });
        told();
        sending.store(false, Ordering::Relaxed);
        let sent = sender.join().expect("the sender does not panic");
        println!("stopped");
        told();
        // What is on its way arrives.
        thread::sleep(AFTERMATH);
        receiving.store(false, Ordering::Relaxed);
        let received = receiver.join().expect("the receiver does not panic");
        Ok(Log { sent: sent?, received: received?, overflow: overflow(end.port)? })
    })?;
    println!("{}", serde_json::to_string(&log)?);
    Ok(())
}

/// The calling thread waits for no ordinary one: a busy machine shall not count as a bad network. In the lab of
/// an ordinary user it may have to.
fn at_once() {
    let _ = real_time::raise(0);
}

/// Sends at fixed points in time; after a delay of its own it makes up for it, so that the rate holds.
fn send(end: &End, go_on: &AtomicBool) -> Result<Vec<Sent>> {
    let flows = usize::from(end.flows);
    let mut sent = vec![Sent::default(); if end.to.is_empty() { 0 } else { flows }];
    if end.to.is_empty() {
        return Ok(sent);
    }
    let sockets: Vec<UdpSocket> = (0..flows)
        .map(|_| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)))
        .collect::<Result<_, _>>()?;
    let interval = 1_000_000_000 / u64::from(end.rate);
    let begun = now();
    let mut number = 0_u64;
    while go_on.load(Ordering::Relaxed) {
        // Also asked here: at a rate beyond what it can do it never catches up.
        while go_on.load(Ordering::Relaxed) && begun + number * interval <= now() {
            let name = u16::try_from(number % u64::from(end.flows)).expect("below a u16");
            let flow = usize::from(name);
            let to = SocketAddr::new(end.to[flow % end.to.len()], end.port);
            let at = now();
            let packet = Packet { flow: name, number: sent[flow].count, sent: at };
            // One that the kernel refuses, for want of a route, is a packet lost.
            let _ = sockets[flow].send_to(&packet.octets(), to);
            sent[flow].note(at);
            number += 1;
        }
        thread::sleep(Duration::from_micros(200));
    }
    Ok(sent)
}

fn receive(socket: &UdpSocket, go_on: &AtomicBool) -> Result<Vec<Received>> {
    let mut received: Vec<Received> = Vec::new();
    let mut octets = [0; OCTETS];
    while go_on.load(Ordering::Relaxed) {
        match socket.recv(&mut octets) {
            Ok(OCTETS) => {
                let Packet { flow, number, sent } = Packet::of(&octets);
                let flow = usize::from(flow);
                if received.len() <= flow {
                    received.resize_with(flow + 1, Received::default);
                }
                received[flow].note(number, sent, now());
            }
            // Somebody else's.
            Ok(_) => {}
            // An ICMP error about what was sent is no news.
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::ConnectionRefused
                ) => {}
            Err(error) => return Err(error).context("cannot take in packets"),
        }
    }
    Ok(received)
}

/// What the kernel counts of the sockets on this port as dropped.
fn overflow(port: u16) -> Result<u64> {
    let table = fs::read_to_string("/proc/thread-self/net/udp")?;
    let own = format!(":{port:04X}");
    let rows = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    // sl local_address … drops
    let rows = rows.filter(|row| row.get(1).is_some_and(|local| local.ends_with(&own)));
    Ok(rows.filter_map(|row| row.last()?.parse::<u64>().ok()).sum())
}

struct Packet {
    flow: u16,
    number: u64,
    sent: u64,
}

impl Packet {
    fn octets(&self) -> [u8; OCTETS] {
        let mut octets = [0; OCTETS];
        octets[..2].copy_from_slice(&self.flow.to_be_bytes());
        octets[2..10].copy_from_slice(&self.number.to_be_bytes());
        octets[10..18].copy_from_slice(&self.sent.to_be_bytes());
        octets
    }

    fn of(octets: &[u8; OCTETS]) -> Self {
        let long = |at: usize| u64::from_be_bytes(*octets[at..].first_chunk().expect("64 octets"));
        Self { flow: u16::from_be_bytes([octets[0], octets[1]]), number: long(2), sent: long(10) }
    }
}

/// Nanoseconds on the clock that both ends share.
fn now() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("every Linux has it");
    u64::try_from(Duration::from(now).as_nanos()).expect("some centuries")
}

/// Octets of a packet's payload.
const OCTETS: usize = 64;
/// Octets: some hundred milliseconds of traffic.
const RECEIVE_BUFFER: usize = 4 << 20;
/// Longer than any queue on the way.
const AFTERMATH: Duration = Duration::from_millis(300);
