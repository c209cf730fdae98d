//! What must hold for a session whatever happens to it and in whatever order: shared by the fuzz
//! target here and by the tests that replay its corpus and make up more.
//!
//! Panics if a promise is broken.

use std::{
    collections::BTreeSet,
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use bgp::{
    aspath::Asn,
    config::{GracefulRestart, HoldTime, PeerAs, Restarted, SessionConfig, StaleTime},
    family::{Family, FamilySet, PerFamily},
    session::{Cause, Cease, ConnId, Established, Input, Output, Session, State},
    wire::{self, Capability, ErrorCode, Notification, Open, Refresh, Update},
};
use bytes::Bytes;

/// Octets of the input, taken off its front; zeros when they are used up.
struct Choices<'a>(&'a [u8]);

impl Choices<'_> {
    fn next(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }
}

/// A session, its clock, and what those who act on its outputs believe.
struct World {
    session: Session,
    now: Instant,
    /// Connections being opened.
    dialling: BTreeSet<ConnId>,
    /// Connections that both ends still have in their hands.
    conns: BTreeSet<ConnId>,
    up: Option<Box<Established>>,
    stale: FamilySet,
    long_lived: FamilySet,
    refreshing: FamilySet,
    /// This speaker went, and nothing was given up.
    left: bool,
    /// How often the end of our restart may still be told.
    restarts: usize,
}

/// Settings by the first octet, then what happens, an octet and its operands each.
pub(crate) fn lives_through(input: &[u8]) {
    let mut choices = Choices(input);
    let config = config(choices.next());
    let restarts = config.graceful_restart.as_ref().is_some_and(|ours| ours.restarted.is_some());
    let now = Instant::now();
    let mut world = World {
        session: Session::new(config, 7),
        now,
        dialling: BTreeSet::new(),
        conns: BTreeSet::new(),
        up: None,
        stale: FamilySet::NONE,
        long_lived: FamilySet::NONE,
        refreshing: FamilySet::NONE,
        left: false,
        restarts: usize::from(restarts),
    };
    while !choices.0.is_empty() {
        world.happens(&mut choices);
    }
    // Whatever it was, the operator has the last word.
    world.give(Input::Stop(Cease::AdminShutdown(String::new())));
    assert!(world.conns.is_empty() && world.dialling.is_empty(), "a connection is left over");
    assert_eq!((world.session.state(), world.session.poll_timeout()), (State::Idle, None));
    assert!(world.stale.is_empty());
}

/// Bit 0 passive, 1 graceful restart, 2 RFC 8538, 3 long-lived stale routes, 4 we have restarted,
/// 5 no hold time, 6 IPv6 only.
fn config(choice: u8) -> SessionConfig {
    let chosen = |bit: u8| choice & 1 << bit != 0;
    let restarted = Restarted { forwarding: FamilySet::ALL, deferral: Duration::from_secs(60) };
    let stale_time = StaleTime::new(if chosen(3) { 500 } else { 0 }).expect("in range");
    let graceful_restart = GracefulRestart {
        notification: chosen(2),
        restarted: chosen(4).then_some(restarted),
        long_lived_time: PerFamily { ipv4: stale_time, ipv6: stale_time },
        ..GracefulRestart::default()
    };
    SessionConfig {
        passive: chosen(0),
        graceful_restart: chosen(1).then_some(graceful_restart),
        hold_time: if chosen(5) { HoldTime::OFF } else { HoldTime::default() },
        families: if chosen(6) { v6_only() } else { FamilySet::ALL },
        ..SessionConfig::new(Asn(65000), Ipv4Addr::new(10, 0, 0, 1), PeerAs::External)
    }
}

impl World {
    fn happens(&mut self, choices: &mut Choices<'_>) {
        match choices.next() % 14 {
            0 => self.give(Input::Start),
            1 => self.stop(choices.next()),
            2 => {
                if let Some(conn) = self.dialling.pop_last() {
                    self.conns.insert(conn);
                    self.give(Input::Connected(conn));
                }
            }
            3 => {
                if let Some(conn) = self.dialling.pop_last() {
                    self.give(Input::ConnectFailed(conn));
                }
            }
            4 => {
                let conn = self.session.next_conn();
                self.conns.insert(conn);
                self.give(Input::Accepted(conn));
            }
            5 => self.hear(choices.next(), open(choices.next()).encode()),
            6 => self.hear(choices.next(), wire::keepalive()),
            7 => {
                let family = family(choices.next());
                self.hear(choices.next(), Update::encode_end_of_rib(family));
            }
            8 => self.hear(choices.next(), notification(choices.next()).encode()),
            9 => {
                let (family, subtype) = (family(choices.next()), choices.next() % 4);
                let refresh = Refresh { subtype, ..Refresh::request(family) };
                self.hear(choices.next(), refresh.encode());
            }
            10 => {
                let len = usize::from(choices.next() % 32).min(choices.0.len());
                let (raw, rest) = choices.0.split_at(len);
                let raw = Bytes::copy_from_slice(raw);
                choices.0 = rest;
                self.hear(choices.next(), raw);
            }
            11 => {
                if let Some(conn) = self.pick(choices.next()) {
                    self.conns.remove(&conn);
                    self.give(Input::Closed(conn));
                }
            }
            12 => self.pass(choices.next()),
            _ => self.ask(choices.next()),
        }
    }

    /// The operator's side.
    fn stop(&mut self, choice: u8) {
        let cease = match choice % 8 {
            0 => Cease::MaxPrefixes { family: Family::Ipv4Unicast, limit: 10, restart_after: None },
            1 => Cease::AdminShutdown("bye".to_owned()),
            2 => Cease::AdminReset(String::new()),
            3 => Cease::ConfigChange,
            4 => Cease::BfdDown { hard: true },
            5 => Cease::BfdDown { hard: false },
            6 => Cease::LinkDown,
            _ => Cease::GracefulStop,
        };
        self.left = cease == Cease::GracefulStop;
        self.give(Input::Stop(cease));
        self.left = false;
        assert_eq!(self.session.state(), State::Idle);
    }

    /// Up to the next deadline, or for some seconds with every deadline on the way.
    fn pass(&mut self, choice: u8) {
        let next = self.session.poll_timeout().unwrap_or(self.now);
        let end = match choice {
            0..128 => next,
            _ => self.now + Duration::from_secs(u64::from(choice - 127) * 3),
        };
        let mut deadlines = 0;
        while let Some(at) = self.session.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.give(Input::Timeout);
            let next = self.session.poll_timeout();
            assert!(next.is_none_or(|next| next > self.now), "what is due is done");
            deadlines += 1;
            assert!(deadlines < 10_000, "it goes round in circles");
        }
        self.now = self.now.max(end);
    }

    /// The RIB's side and the sockets'.
    fn ask(&mut self, choice: u8) {
        let family = family(choice);
        match choice % 6 {
            0 => self.session.send_update(Update::encode_end_of_rib(family), self.now),
            1 => self.session.send_refresh_mark(Refresh::begin(family), self.now),
            2 => {
                self.session.request_refresh(family, self.now);
            }
            3 => {
                self.session.end_restart();
                self.restarts = 0;
            }
            4 => self.give_on(choice, |conn| Input::Sent { conn, pending: 0 }),
            _ => self.give_on(choice, |conn| Input::Sent { conn, pending: 9 }),
        }
        self.drain();
    }

    fn hear(&mut self, conn: u8, octets: Bytes) {
        self.give_on(conn, |conn| Input::Received(conn, octets));
    }

    fn give_on(&mut self, conn: u8, input: impl FnOnce(ConnId) -> Input) {
        if let Some(conn) = self.pick(conn) {
            self.give(input(conn));
        }
    }

    /// One of the connections, newest first.
    fn pick(&self, choice: u8) -> Option<ConnId> {
        self.conns.iter().rev().nth(usize::from(choice) % self.conns.len().max(1)).copied()
    }

    fn give(&mut self, input: Input) {
        self.session.handle(input, self.now);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.session.poll_output() {
            self.take(output);
        }
        assert_eq!(self.up.is_some(), self.session.state() == State::Established);
        assert_eq!(self.up.as_deref(), self.session.established().map(|(_, terms)| terms));
        // Two in a collision, or one that stands and a challenger.
        assert!(self.conns.len() <= 3 && self.dialling.len() <= 1, "{:?}", self.conns);
    }

    /// Has the peer just said that it goes on with another connection?
    fn lost_collision(&self) -> bool {
        let cause = self.session.last_error();
        matches!(cause, Some(Cause::Received(told)) if told.error() == ErrorCode::COLLISION)
    }

    fn take(&mut self, output: Output) {
        match output {
            Output::Connect(conn) => assert!(self.dialling.insert(conn), "a number is used once"),
            Output::Send(conn, _) => assert!(self.conns.contains(&conn), "sent to nobody"),
            Output::Close(conn) | Output::Abort(conn) => {
                assert!(self.conns.remove(&conn) || self.dialling.remove(&conn), "closed twice");
            }
            Output::State(change) => assert_ne!(change.from, change.to),
            Output::Up(terms) => {
                let kept = terms.graceful_restart.map(|theirs| theirs.forwarding);
                let lasting = terms.long_lived.iter().filter(|lasting| lasting.forwarding);
                let kept = kept.unwrap_or_default().union(lasting.map(|l| l.family).collect());
                assert!(self.stale.difference(kept).is_empty(), "the peer has lost them");
                assert!(self.up.replace(terms).is_none(), "up twice");
            }
            Output::Down { retain } => {
                let terms = self.up.take().expect("down without up");
                let theirs = terms.graceful_restart.map(|theirs| theirs.families);
                let may = theirs.map(|theirs| theirs.union(terms.long_lived_families()));
                let all = if self.left { terms.families } else { FamilySet::NONE };
                assert!(retain.difference(may.unwrap_or_default().union(all)).is_empty());
                let twice = self.stale.difference(self.long_lived);
                let agreed = terms.graceful_restart.is_some_and(|theirs| theirs.notification);
                let again = agreed || self.left || self.lost_collision();
                assert!(twice.is_empty() || again, "stale twice");
                assert!(self.stale.difference(retain).is_empty());
                (self.stale, self.refreshing) = (retain, FamilySet::NONE);
            }
            Output::StaleExpired(gone) => {
                assert!(!gone.is_empty() && gone.difference(self.stale).is_empty());
                self.stale = self.stale.difference(gone);
                self.long_lived = self.long_lived.difference(gone);
            }
            Output::LongLived(lasting) => {
                assert!(!lasting.is_empty() && lasting.difference(self.stale).is_empty());
                assert!(self.up.is_none());
                self.long_lived = self.long_lived.union(lasting);
            }
            Output::DeferralOver => {
                self.restarts = self.restarts.checked_sub(1).expect("told once");
            }
            Output::Heard(..) => panic!("nobody has asked for messages as they came"),
            Output::Update(update) => {
                assert!(self.up.is_some());
                if let Some(family) = update.end_of_rib {
                    self.stale.remove(family);
                    self.long_lived.remove(family);
                }
            }
            Output::Refresh(_) => assert!(self.up.is_some()),
            Output::RefreshBegin(family) => {
                assert!(self.up.as_ref().is_some_and(|terms| terms.enhanced_refresh));
                self.refreshing.insert(family);
            }
            Output::RefreshEnd(family) => {
                assert!(self.up.is_some() && self.refreshing.contains(family));
                self.refreshing.remove(family);
            }
            Output::RefreshIgnored(_) => assert!(self.up.is_some()),
        }
    }
}

/// The peer's OPEN. Bit 0 graceful restart, 1 RFC 8538, 2 R bit, 3 F bit of IPv4, 4 of IPv6, 5
/// long-lived stale routes, 6 IPv6 only, 7 something that is refused.
fn open(choice: u8) -> Open {
    let chosen = |bit: u8| choice & 1 << bit != 0;
    let families = if chosen(6) { v6_only() } else { FamilySet::ALL };
    let mut capabilities: Vec<_> = families.iter().map(Capability::family).collect();
    capabilities.extend([Capability::RouteRefresh, Capability::EnhancedRouteRefresh]);
    if chosen(0) {
        capabilities.push(Capability::GracefulRestart {
            restarted: chosen(2),
            notification: chosen(1),
            time: 100,
            families: vec![(1, 1, chosen(3)), (2, 1, chosen(4))],
        });
    }
    if chosen(5) {
        let families = vec![(1, 1, chosen(4), 300), (2, 1, chosen(3), 0)];
        capabilities.push(Capability::LongLivedGracefulRestart(families));
    }
    Open {
        asn: 65001,
        hold_time: if chosen(7) { 1 } else { 30 },
        router_id: Ipv4Addr::new(10, 0, 0, choice % 2),
        capabilities,
    }
}

fn notification(choice: u8) -> Notification {
    match choice % 5 {
        0 => Notification::admin_shutdown("bye"),
        1 => Notification::admin_shutdown("bye").hard_reset(),
        2 => Notification::max_prefixes(Family::Ipv4Unicast, 10),
        3 => Notification::new(ErrorCode::COLLISION, Bytes::new()),
        _ => Notification { code: choice, subcode: choice, data: Bytes::new() },
    }
}

fn family(choice: u8) -> Family {
    if choice & 0x80 == 0 { Family::Ipv4Unicast } else { Family::Ipv6Unicast }
}

fn v6_only() -> FamilySet {
    [Family::Ipv6Unicast].into_iter().collect()
}
