//! One session against a scripted peer: every test is the peer's hand and reads what the
//! session does. Two real sessions meet in `tests/tests/sim_session.rs`.

use std::net::Ipv4Addr;

use super::*;
use crate::{
    aspath::Asn,
    config::{HoldTime, PeerAs},
    family::{Family, FamilySet},
    wire::{self, Capability, Codec, Message, Notification, Open, Refresh},
};

mod collisions;
mod handshake;
mod idle_hold;
mod messages;
mod options;
mod restart;
mod shutdown;
mod timing;

/// A session, its clock, and what it did.
struct Bench {
    session: Session,
    now: Instant,
    outputs: Vec<Output>,
}

impl Bench {
    /// A session that has not been started.
    fn new(config: SessionConfig) -> Self {
        #[expect(clippy::disallowed_methods, reason = "a test needs some instant to begin with")]
        let now = Instant::now();
        Self { session: Session::new(config, 7), now, outputs: Vec::new() }
    }

    /// Started, and dialling unless passive.
    fn started(config: SessionConfig) -> Self {
        let mut bench = Self::new(config);
        bench.give(Input::Start);
        bench
    }

    /// In OpenSent, over a connection that the session opened.
    fn open_sent(config: SessionConfig) -> (Self, ConnId) {
        let mut bench = Self::started(config);
        let conn = bench.dialled();
        bench.give(Input::Connected(conn));
        (bench, conn)
    }

    /// In OpenConfirm, over a connection that the session opened.
    fn open_confirm(config: SessionConfig) -> (Self, ConnId) {
        let (mut bench, conn) = Self::open_sent(config);
        bench.hear(conn, open().encode());
        assert_eq!(bench.session.state(), State::OpenConfirm);
        (bench, conn)
    }

    /// Established, over a connection that the session opened, with its outputs read.
    fn established(config: SessionConfig) -> (Self, ConnId) {
        let (mut bench, conn) = Self::open_confirm(config);
        bench.hear(conn, wire::keepalive());
        assert_eq!(bench.session.state(), State::Established);
        bench.outputs.clear();
        (bench, conn)
    }

    /// Established with a peer that offers this.
    fn established_with(config: SessionConfig, theirs: &Open) -> (Self, ConnId) {
        let (mut bench, conn) = Self::open_sent(config);
        bench.hear(conn, theirs.encode());
        bench.hear(conn, wire::keepalive());
        assert_eq!(bench.session.state(), State::Established);
        bench.outputs.clear();
        (bench, conn)
    }

    /// What was agreed on.
    fn terms(&self) -> &Established {
        self.session.established().expect("the session stands").1
    }

    /// The OPEN sent last on a connection.
    fn offered(&self, conn: ConnId) -> Open {
        let open = self.sent(conn).into_iter().rev().find_map(|message| match message {
            Message::Open(open) => Some(open),
            _ => None,
        });
        open.expect("an OPEN was sent")
    }

    fn give(&mut self, input: Input) {
        self.session.handle(input, self.now);
        self.drain();
    }

    /// Octets arrive.
    fn hear(&mut self, conn: ConnId, octets: impl Into<Bytes>) {
        self.give(Input::Received(conn, octets.into()));
    }

    /// The peer opens a connection.
    fn accept(&mut self) -> ConnId {
        let conn = self.session.next_conn();
        self.give(Input::Accepted(conn));
        conn
    }

    /// The socket has taken everything, as it does from a live peer.
    fn flush(&mut self, conn: ConnId) {
        self.give(Input::Sent { conn, pending: 0 });
    }

    /// Time passes, deadline by deadline.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.session.poll_timeout().filter(|at| *at <= end) {
            self.now = at.max(self.now);
            self.give(Input::Timeout);
        }
        self.now = end;
        self.give(Input::Timeout);
    }

    /// Time passes while the peer takes all we send and keeps saying that it is there.
    fn pass_alive(&mut self, conn: ConnId, time: Duration) {
        for _ in 0..time.as_secs() {
            self.pass(secs(1));
            self.flush(conn);
            self.hear(conn, wire::keepalive());
        }
    }

    fn drain(&mut self) {
        while let Some(output) = self.session.poll_output() {
            self.outputs.push(output);
        }
    }

    /// The connection that the session last asked for.
    fn dialled(&self) -> ConnId {
        let dialled = self.outputs.iter().rev().find_map(|output| match output {
            Output::Connect(conn) => Some(*conn),
            _ => None,
        });
        dialled.expect("the session dials")
    }

    fn dials(&self) -> usize {
        self.outputs.iter().filter(|output| matches!(output, Output::Connect(_))).count()
    }

    /// Messages sent on a connection.
    fn sent(&self, conn: ConnId) -> Vec<Message> {
        let codec = Codec::default();
        let sent = self.outputs.iter().filter_map(|output| match output {
            Output::Send(on, octets) if *on == conn => Some(octets),
            _ => None,
        });
        sent.map(|octets| wire::decode(octets, &codec).expect("we send what is well formed"))
            .collect()
    }

    /// The octets sent first on a connection.
    fn first_sent(&self, conn: ConnId) -> Bytes {
        let sent = self.outputs.iter().find_map(|output| match output {
            Output::Send(on, octets) if *on == conn => Some(octets.clone()),
            _ => None,
        });
        sent.expect("something was sent")
    }

    /// The NOTIFICATION sent last on a connection, as numbers and data.
    fn told(&self, conn: ConnId) -> Option<(u8, u8, Vec<u8>)> {
        match self.sent(conn).pop()? {
            Message::Notification(told) => Some((told.code, told.subcode, told.data.to_vec())),
            _ => None,
        }
    }

    fn did(&self, output: &Output) -> bool {
        self.outputs.contains(output)
    }

    /// The state changes so far, each as the state it led to.
    fn states(&self) -> Vec<State> {
        let states = self.outputs.iter().filter_map(|output| match output {
            Output::State(change) => Some(change.to),
            _ => None,
        });
        states.collect()
    }
}

/// Down, and nothing is kept.
const DOWN: Output = Output::Down { retain: FamilySet::NONE };

/// We are AS 65000, 10.0.0.1; the peer is any other AS.
fn config() -> SessionConfig {
    SessionConfig::new(Asn(65000), Ipv4Addr::new(10, 0, 0, 1), PeerAs::External)
}

/// The peer's OPEN with more capabilities.
fn open_with(capabilities: impl IntoIterator<Item = Capability>) -> Open {
    let mut open = open();
    open.capabilities.extend(capabilities);
    open
}

fn families(families: &[Family]) -> FamilySet {
    families.iter().copied().collect()
}

/// The peer's OPEN: AS 65001, 10.0.0.2, both families.
fn open() -> Open {
    Open {
        asn: 65001,
        hold_time: 90,
        router_id: Ipv4Addr::new(10, 0, 0, 2),
        capabilities: vec![
            Capability::family(Family::Ipv4Unicast),
            Capability::family(Family::Ipv6Unicast),
            Capability::RouteRefresh,
            Capability::FourOctetAs(Asn(65001)),
        ],
    }
}

fn hold(seconds: u16) -> HoldTime {
    HoldTime::new(seconds).unwrap()
}

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// An UPDATE without content: End-of-RIB of IPv4.
fn end_of_rib() -> Bytes {
    message(2, &[0, 0, 0, 0])
}

/// Any message, well formed or not.
fn message(kind: u8, body: &[u8]) -> Bytes {
    let len = u16::try_from(19 + body.len()).unwrap();
    [&[0xff; 16], &len.to_be_bytes()[..], &[kind], body].concat().into()
}

fn cease(subcode: u8) -> Bytes {
    Notification { code: 6, subcode, data: Bytes::new() }.encode()
}
