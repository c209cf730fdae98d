//! Two speakers that dial each other at the same moment: every order in which the pieces of
//! both connections can arrive (RFC 4271 §6.8).
//!
//! The pieces of one direction of one connection keep their order; between them every choice is
//! tried. States that were met before are not followed again, so the search is exhaustive.

use std::{
    collections::{BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use bgp::{
    config::{GracefulRestart, SessionConfig},
    rib::RibConfig,
    session::{ConnId, Input, Output, Session, State},
};
use bytes::Bytes;
use tests::sim::{router_config, session_config};

/// What travels.
#[derive(Clone, Debug)]
enum Piece {
    Syn,
    SynAck,
    Octets(Bytes),
    End,
}

/// One connection. Index 0 is a's side, 1 is b's.
#[derive(Clone, Debug)]
struct Wire {
    conns: [Option<ConnId>; 2],
    towards: [VecDeque<Piece>; 2],
}

/// Two sessions, the connections between them, and no time that passes by itself.
#[derive(Clone, Debug)]
struct World {
    sessions: [Session; 2],
    wires: Vec<Wire>,
    now: Instant,
    configs: [SessionConfig; 2],
    /// Sides that have not begun to dial.
    asleep: [bool; 2],
    /// How often a side's process may still die and be started again.
    crashes: [usize; 2],
}

/// What may happen next.
#[derive(Clone, Copy, Debug)]
enum Choice {
    /// The first piece towards a side of a wire arrives.
    Arrive { wire: usize, side: usize },
    /// A side begins to dial.
    Start(usize),
    /// A side's process dies, its host closes its connections, and a new one begins to dial.
    Crash(usize),
}

impl World {
    /// Both are about to dial. Each side's process may die so many times.
    fn new(configs: &[SessionConfig; 2], crashes: [usize; 2], now: Instant) -> Self {
        Self {
            sessions: [0, 1].map(|side| session(configs, side, 0)),
            wires: Vec::new(),
            now,
            configs: configs.clone(),
            asleep: [true; 2],
            crashes,
        }
    }

    fn happen(&mut self, choice: Choice) {
        match choice {
            Choice::Arrive { wire, side } => self.arrive(wire, side),
            Choice::Start(side) => {
                self.asleep[side] = false;
                self.give(side, Input::Start);
            }
            Choice::Crash(side) => {
                self.crashes[side] -= 1;
                for wire in self.wires.iter_mut().filter(|wire| wire.conns[side].is_some()) {
                    wire.conns[side] = None;
                    wire.towards[1 - side].push_back(Piece::End);
                }
                self.sessions[side] = session(&self.configs, side, 1 + self.crashes[side]);
                self.give(side, Input::Start);
            }
        }
        self.tidy();
    }

    fn give(&mut self, side: usize, input: Input) {
        self.sessions[side].handle(input, self.now);
        while let Some(output) = self.sessions[side].poll_output() {
            match output {
                Output::Connect(conn) => {
                    let mut wire = Wire { conns: [None; 2], towards: Default::default() };
                    wire.conns[side] = Some(conn);
                    wire.towards[1 - side].push_back(Piece::Syn);
                    self.wires.push(wire);
                }
                Output::Send(conn, octets) => {
                    self.send(side, conn, &Piece::Octets(octets));
                    self.sessions[side].handle(Input::Sent { conn, pending: 0 }, self.now);
                }
                Output::Close(conn) | Output::Abort(conn) => {
                    self.send(side, conn, &Piece::End);
                    for wire in self.wires.iter_mut().filter(|w| w.conns[side] == Some(conn)) {
                        wire.conns[side] = None;
                    }
                }
                Output::State(_)
                | Output::Up(_)
                | Output::Down { .. }
                | Output::StaleExpired(_)
                | Output::LongLived(_)
                | Output::DeferralOver
                | Output::Heard(..)
                | Output::Update(_)
                | Output::Refresh(_)
                | Output::RefreshBegin(_)
                | Output::RefreshEnd(_)
                | Output::RefreshIgnored(_) => {}
            }
        }
    }

    fn send(&mut self, side: usize, conn: ConnId, piece: &Piece) {
        for wire in self.wires.iter_mut().filter(|wire| wire.conns[side] == Some(conn)) {
            wire.towards[1 - side].push_back(piece.clone());
        }
    }

    /// Lets pieces arrive that nobody is there for, since that changes nothing in any order.
    fn tidy(&mut self) {
        for wire in &mut self.wires {
            for side in 0..2 {
                let syn = matches!(wire.towards[side].front(), Some(Piece::Syn));
                if wire.conns[side].is_none() && !syn {
                    wire.towards[side].clear();
                }
            }
        }
        self.wires.retain(|wire| {
            wire.conns != [None; 2] || wire.towards.iter().any(|pieces| !pieces.is_empty())
        });
    }

    /// What can happen next; nothing once all has arrived.
    fn choices(&self) -> Vec<Choice> {
        let wires = 0..self.wires.len();
        let places = wires.flat_map(|wire| [(wire, 0), (wire, 1)]);
        let waiting = places.filter(|(wire, side)| !self.wires[*wire].towards[*side].is_empty());
        let mut choices: Vec<_> =
            waiting.map(|(wire, side)| Choice::Arrive { wire, side }).collect();
        choices.extend((0..2).filter(|side| self.asleep[*side]).map(Choice::Start));
        if !choices.is_empty() {
            let may_crash = |side: &usize| self.crashes[*side] > 0 && !self.asleep[*side];
            choices.extend((0..2).filter(may_crash).map(Choice::Crash));
        }
        choices
    }

    fn arrive(&mut self, wire: usize, side: usize) {
        let Some(piece) = self.wires[wire].towards[side].pop_front() else { return };
        match (piece, self.wires[wire].conns[side]) {
            (Piece::Syn, _) => {
                let conn = self.sessions[side].next_conn();
                self.wires[wire].conns[side] = Some(conn);
                self.wires[wire].towards[1 - side].push_back(Piece::SynAck);
                self.give(side, Input::Accepted(conn));
            }
            (Piece::SynAck, Some(conn)) => self.give(side, Input::Connected(conn)),
            (Piece::Octets(octets), Some(conn)) => self.give(side, Input::Received(conn, octets)),
            (Piece::End, Some(conn)) => {
                self.wires[wire].conns[side] = None;
                self.give(side, Input::Closed(conn));
            }
            (Piece::SynAck | Piece::Octets(_) | Piece::End, None) => {}
        }
    }

    /// The wire over which both are established.
    fn joined(&self) -> Option<usize> {
        let on = |side: usize| {
            let (conn, _) = self.sessions[side].established()?;
            self.wires.iter().position(|wire| wire.conns[side] == Some(conn))
        };
        on(0).filter(|wire| on(1) == Some(*wire))
    }

    /// Time passes, and everything arrives at once.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            while let Some(choice) = self.choices().first().copied() {
                self.happen(choice);
            }
            let due = (0..2).filter_map(|side| Some((self.sessions[side].poll_timeout()?, side)));
            let Some((at, side)) = due.min().filter(|(at, _)| *at <= end) else { break };
            self.now = self.now.max(at);
            self.give(side, Input::Timeout);
        }
        self.now = end;
    }
}

/// A session of one side; `life` makes its jitter differ from that of its earlier lives.
fn session(configs: &[SessionConfig; 2], side: usize, life: usize) -> Session {
    let seed = u64::try_from(2 * life + side).expect("few lives");
    Session::new(configs[side].clone(), seed)
}

/// What two routers know of each other, with graceful restart or without.
fn settings(routers: &[RibConfig; 2], graceful: bool) -> [SessionConfig; 2] {
    [0, 1].map(|side| SessionConfig {
        graceful_restart: graceful.then(GracefulRestart::default),
        ..session_config(&routers[side], &routers[1 - side])
    })
}

/// What became of all orders.
#[derive(Debug, Default)]
struct Outcome {
    states: usize,
    joined: usize,
    lost_both: usize,
}

/// Follows every order from here to its end, and then time until both have met.
fn explore(start: World) -> Outcome {
    let mut outcome = Outcome::default();
    let mut seen = BTreeSet::new();
    let mut open = vec![start];
    while let Some(world) = open.pop() {
        if !seen.insert(format!("{world:?}")) {
            continue;
        }
        outcome.states += 1;
        let choices = world.choices();
        if choices.is_empty() {
            judge(world, &mut outcome);
            continue;
        }
        for choice in choices {
            let mut next = world.clone();
            next.happen(choice);
            open.push(next);
        }
    }
    outcome
}

fn judge(mut world: World, outcome: &mut Outcome) {
    let established = world.sessions.each_ref().map(Session::state) == [State::Established; 2];
    if established {
        assert!(world.joined().is_some(), "on different connections: {world:#?}");
        outcome.joined += 1;
    } else {
        outcome.lost_both += 1;
    }
    world.pass(Duration::from_secs(30));
    assert!(world.joined().is_some(), "not met again: {world:#?}");
    let before = world.sessions.each_ref().map(Session::established_count);
    world.pass(Duration::from_secs(3000));
    assert_eq!(world.sessions.each_ref().map(Session::established_count), before);
    assert!(world.joined().is_some(), "and parted: {world:#?}");
}

#[test]
fn every_order_of_a_simultaneous_open_ends_with_one_session() {
    let external = || [router_config(0, 65001), router_config(1, 65002)];
    for (name, configs) in [
        ("external", settings(&external(), false)),
        ("internal", settings(&[router_config(0, 65000), router_config(1, 65000)], false)),
        ("equal identifiers", settings(&[router_config(0, 65001), router_config(0, 65002)], false)),
        ("graceful restart", settings(&external(), true)),
    ] {
        let outcome = explore(World::new(&configs, [0, 0], Instant::now()));
        println!("{name}: {outcome:?}");
        assert!(outcome.states > 400, "{name}: the search is no search: {outcome:?}");
        assert!(outcome.joined > 4 * outcome.lost_both, "{name}: {outcome:?}");
    }
}

#[test]
fn a_process_that_dies_at_any_moment_of_the_handshake_gets_its_session_in_the_end() {
    for (graceful, crashes) in [(false, [1, 0]), (false, [0, 1]), (true, [1, 0]), (true, [0, 1])] {
        let configs = settings(&[router_config(0, 65001), router_config(1, 65002)], graceful);
        let outcome = explore(World::new(&configs, crashes, Instant::now()));
        println!("graceful restart {graceful}, crashes {crashes:?}: {outcome:?}");
        assert!(outcome.states > 4000, "the search is no search: {outcome:?}");
    }
}
