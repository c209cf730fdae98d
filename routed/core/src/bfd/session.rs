//! One session: the machine of RFC 5880 §6.8.

use std::{
    collections::VecDeque,
    fmt,
    num::NonZeroU32,
    time::{Duration, Instant},
};

use super::{
    Settings,
    auth::{Sealed, Sequences, Window},
    packet::{Diagnostic, Flaw, Packet, State},
    timing::Ours,
};
use crate::dice::Dice;

/// See the module.
#[derive(Clone, Debug)]
pub struct Session {
    settings: Settings,
    /// Our name for it.
    discriminator: NonZeroU32,
    state: State,
    diagnostic: Diagnostic,
    ours: Ours,
    theirs: Theirs,
    sequences: Sequences,
    dice: Dice,
    /// When something was heard last; `None`: not within the detection time.
    heard: Option<Instant>,
    /// When the next packet goes out that nobody has asked for.
    send_at: Option<Instant>,
    /// When the last one went out, and the share of the interval until the next.
    sent: Option<(Instant, f64)>,
    /// Switched off: when the other side has had its chance to hear it.
    silent_at: Option<Instant>,
    outputs: VecDeque<Output>,
}

/// What the other side has said last.
#[derive(Clone, Copy, Debug)]
struct Theirs {
    discriminator: u32,
    state: State,
    diagnostic: Diagnostic,
    detect_mult: u8,
    desired_min_tx: u32,
    required_min_rx: u32,
    demand: bool,
    control_plane_independent: bool,
}

/// Of a side that is not known: §6.8.1.
impl Default for Theirs {
    fn default() -> Self {
        Self {
            discriminator: 0,
            state: State::Down,
            diagnostic: Diagnostic::NONE,
            detect_mult: 0,
            desired_min_tx: 0,
            required_min_rx: 1,
            demand: false,
            control_plane_independent: false,
        }
    }
}

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Input<'o> {
    /// A packet for this session came in, as [`Packet::read`] gives it.
    Packet(Packet, Option<Sealed<'o>>),
    /// Time has passed.
    Timeout,
    /// Go on with other settings, without a break.
    Configure(Settings),
    /// Switch it off, or on again (§6.8.16).
    AdminDown(bool),
    /// The path is known to be dead, such as by the loss of carrier.
    PathDown,
}

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send this to the peer.
    Send(Vec<u8>),
    /// The state is another one.
    Change(Change),
}

/// A change of state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// The former state.
    pub from: State,
    /// The new one.
    pub to: State,
    /// Why.
    pub cause: Cause,
    /// The other side's BFD does not share the fate of its control plane (its C bit): if the
    /// session fails, so do the packets that it forwards (RFC 5882 §4.3).
    pub independent: bool,
}

/// Why the state changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A packet of the other side, which is on its way up with us.
    Heard,
    /// Nothing was heard for the detection time, which was this.
    Expired(Duration),
    /// The other side says that it is down.
    PeerDown,
    /// The other side was switched off: no sign that the path is dead (RFC 5882 §3.2).
    PeerAdminDown,
    /// What is below says that the path is dead.
    PathDown,
    /// An operator here.
    Admin,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Heard => "the peer answers",
            Self::Expired(time) => {
                return write!(
                    f,
                    "nothing was heard for the detection time of {} ms",
                    time.as_millis()
                );
            }
            Self::PeerDown => "the peer says that it is down",
            Self::PeerAdminDown => "switched off by the peer's operator",
            Self::PathDown => "the link is down",
            Self::Admin => "switched off by an operator here",
        })
    }
}

impl Session {
    /// One that is Down and knows nothing. `discriminator` is its name on this router; `seed` makes
    /// its jitter and its first sequence number differ from those of others.
    #[must_use]
    pub fn new(settings: Settings, discriminator: NonZeroU32, seed: u64, now: Instant) -> Self {
        let mut dice = Dice::new(seed);
        let first = u32::try_from(dice.number() >> 32).expect("32 bits are left");
        let mut session = Self {
            ours: Ours::new(&settings),
            settings,
            discriminator,
            state: State::Down,
            diagnostic: Diagnostic::NONE,
            theirs: Theirs::default(),
            sequences: Sequences::new(first),
            dice,
            heard: None,
            send_at: None,
            sent: None,
            silent_at: None,
            outputs: VecDeque::new(),
        };
        session.schedule(now);
        session
    }

    /// One thing happened.
    ///
    /// # Errors
    ///
    /// [`Flaw`] of a packet that was dropped.
    pub fn handle(&mut self, input: Input<'_>, now: Instant) -> Result<(), Flaw> {
        self.expire(now);
        let outcome = match input {
            Input::Packet(packet, sealed) => self.receive(&packet, sealed, now),
            Input::Timeout => Ok(()),
            Input::Configure(settings) => {
                self.settings = settings;
                self.ours.follow(&self.settings, self.state);
                self.schedule(now);
                Ok(())
            }
            Input::AdminDown(down) => {
                self.admin(down, now);
                Ok(())
            }
            Input::PathDown => {
                if matches!(self.state, State::Init | State::Up) {
                    self.go(State::Down, Diagnostic::PATH_DOWN, Cause::PathDown, now);
                }
                Ok(())
            }
        };
        while self.send_at.is_some_and(|at| at <= now) {
            self.send(false, now);
        }
        outcome
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to come back with [`Input::Timeout`]; earlier is harmless.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        [self.send_at, self.expires_at(), self.silent_at].into_iter().flatten().min()
    }

    /// Where it stands.
    #[must_use]
    pub const fn state(&self) -> State {
        self.state
    }

    /// Why it left Up last.
    #[must_use]
    pub const fn diagnostic(&self) -> Diagnostic {
        self.diagnostic
    }

    /// What the other side says of itself: its state, and why it left Up last.
    #[must_use]
    pub const fn remote(&self) -> (State, Diagnostic) {
        (self.theirs.state, self.theirs.diagnostic)
    }

    /// Our name for it.
    #[must_use]
    pub const fn discriminator(&self) -> NonZeroU32 {
        self.discriminator
    }

    /// The other side's name for it; 0: not known.
    #[must_use]
    pub const fn remote_discriminator(&self) -> u32 {
        self.theirs.discriminator
    }

    /// Time between two packets of ours as agreed on, jitter aside; `None`: the other side wants none.
    #[must_use]
    pub fn transmit_interval(&self) -> Option<Duration> {
        self.ours.transmit_interval(self.theirs.required_min_rx)
    }

    /// Silence of the other side that ends the session; zero until it was heard.
    #[must_use]
    pub fn detection_time(&self) -> Duration {
        self.ours.detection_time(self.theirs.detect_mult, self.theirs.desired_min_tx)
    }

    /// True once the session was switched off and the other side has had the time to hear it.
    #[must_use]
    pub const fn is_silent(&self) -> bool {
        matches!(self.state, State::AdminDown) && self.silent_at.is_none()
    }

    /// §6.8.6, from where the session is known.
    fn receive(
        &mut self,
        packet: &Packet,
        sealed: Option<Sealed<'_>>,
        now: Instant,
    ) -> Result<(), Flaw> {
        if packet.your_discriminator != 0 && packet.your_discriminator != self.discriminator.get() {
            return Err(Flaw::NoSession(packet.your_discriminator));
        }
        self.authenticate(packet, sealed, now)?;
        self.theirs = Theirs {
            discriminator: packet.my_discriminator,
            state: packet.state,
            diagnostic: packet.diagnostic,
            detect_mult: packet.detect_mult,
            desired_min_tx: packet.desired_min_tx,
            required_min_rx: packet.required_min_rx,
            demand: packet.demand,
            control_plane_independent: packet.control_plane_independent,
        };
        if packet.r#final {
            self.ours.answered();
        }
        self.heard = Some(now);
        if self.state == State::AdminDown {
            return Err(Flaw::AdminDown);
        }
        let before = self.state;
        match (self.state, packet.state) {
            (State::Init | State::Up, State::AdminDown) => {
                self.go(State::Down, Diagnostic::NEIGHBOR_DOWN, Cause::PeerAdminDown, now);
            }
            (State::Up, State::Down) => {
                self.go(State::Down, Diagnostic::NEIGHBOR_DOWN, Cause::PeerDown, now);
            }
            (State::Down, State::Down) => self.go(State::Init, self.diagnostic, Cause::Heard, now),
            (State::Down, State::Init) | (State::Init, State::Init | State::Up) => {
                self.go(State::Up, Diagnostic::NONE, Cause::Heard, now);
            }
            _ => {}
        }
        if packet.poll {
            self.send(true, now);
        } else if before == self.state {
            self.schedule(now);
        }
        Ok(())
    }

    fn authenticate(
        &mut self,
        packet: &Packet,
        sealed: Option<Sealed<'_>>,
        now: Instant,
    ) -> Result<(), Flaw> {
        let (key, sealed) = match (&self.settings.key, sealed) {
            (None, None) => return Ok(()),
            (Some(key), Some(sealed)) => (key, sealed),
            (None, Some(_)) => return Err(Flaw::Authentication(true)),
            (Some(_), None) => return Err(Flaw::Authentication(false)),
        };
        let time = self.ours.detection_time(packet.detect_mult, packet.desired_min_tx) * 2;
        let window = Window { packets: 3 * u32::from(packet.detect_mult), time };
        self.sequences.verify(key, sealed, window, now)
    }

    fn admin(&mut self, down: bool, now: Instant) {
        match (down, self.state) {
            (true, State::AdminDown) | (false, State::Down | State::Init | State::Up) => {}
            (true, _) => {
                let detection = self.transmit_interval().unwrap_or_default();
                let detection = detection * u32::from(self.settings.detect_mult.get());
                // Who does not know us misses nothing.
                let told = self.theirs.discriminator != 0;
                self.silent_at = told.then(|| now + detection);
                self.go(State::AdminDown, Diagnostic::ADMIN_DOWN, Cause::Admin, now);
            }
            (false, State::AdminDown) => {
                self.silent_at = None;
                self.go(State::Down, self.diagnostic, Cause::Admin, now);
            }
        }
    }

    /// Silence has lasted too long (§6.8.4), or we have said long enough that we are off.
    fn expire(&mut self, now: Instant) {
        if self.silent_at.take_if(|at| *at <= now).is_some() {
            self.schedule(now);
        }
        if self.expires_at().is_none_or(|at| at > now) {
            return;
        }
        self.heard = None;
        let cause = Cause::Expired(self.detection_time());
        let independent = self.theirs.control_plane_independent;
        // Whoever answers next may be another one: a restarted peer has another name and may have
        // other settings.
        self.theirs = Theirs { control_plane_independent: independent, ..Theirs::default() };
        if matches!(self.state, State::Init | State::Up) {
            self.go(State::Down, Diagnostic::EXPIRED, cause, now);
        } else {
            self.schedule(now);
        }
    }

    fn expires_at(&self) -> Option<Instant> {
        self.heard.map(|heard| heard + self.detection_time())
    }

    /// Changes the state and tells everybody: our side, and the other one at once (§6.8.7, last
    /// paragraph but one).
    fn go(&mut self, to: State, diagnostic: Diagnostic, cause: Cause, now: Instant) {
        let from = std::mem::replace(&mut self.state, to);
        self.diagnostic = diagnostic;
        self.ours.follow(&self.settings, to);
        let independent = self.theirs.control_plane_independent;
        self.outputs.push_back(Output::Change(Change { from, to, cause, independent }));
        if self.may_send() {
            self.send(false, now);
        } else {
            self.schedule(now);
        }
    }

    /// §6.8.7: reasons to say nothing of our own accord.
    fn may_send(&self) -> bool {
        let unknown = self.theirs.discriminator == 0;
        let silenced = self.theirs.demand
            && self.state == State::Up
            && self.theirs.state == State::Up
            && !self.ours.polls();
        let off = self.state == State::AdminDown && self.silent_at.is_none();
        let first_word = self.settings.passive && unknown;
        !(silenced || off || first_word) && self.theirs.required_min_rx > 0
    }

    fn send(&mut self, r#final: bool, now: Instant) {
        let packet = Packet {
            diagnostic: self.diagnostic,
            state: self.state,
            poll: self.ours.polls() && !r#final,
            r#final,
            // We are part of the daemon, and end with it.
            control_plane_independent: false,
            demand: false,
            detect_mult: self.settings.detect_mult.get(),
            my_discriminator: self.discriminator.get(),
            your_discriminator: self.theirs.discriminator,
            desired_min_tx: self.ours.desired_tx,
            required_min_rx: self.ours.required_rx,
            required_min_echo_rx: 0,
        };
        let octets = packet.write();
        let octets = match &self.settings.key {
            Some(key) => self.sequences.seal(key, octets),
            None => octets.to_vec(),
        };
        self.outputs.push_back(Output::Send(octets));
        // §6.8.7: up to a quarter early, and with a multiplier of 1 at least a tenth, so that two
        // routers never fall into step.
        let least = if self.settings.detect_mult.get() == 1 { 0.10 } else { 0.0 };
        let early = f64::from(u16::try_from(self.dice.number() >> 48).expect("16 bits are left"))
            / f64::from(u16::MAX);
        self.sent = Some((now, 1.0 - (least + early * (0.25 - least))));
        self.schedule(now);
    }

    /// When the next packet is due, from what both sides want now: a shorter interval holds at once.
    fn schedule(&mut self, now: Instant) {
        let interval = self.transmit_interval().filter(|_| self.may_send());
        self.send_at = interval.map(|interval| match self.sent {
            Some((at, share)) => at + interval.mul_f64(share),
            None => now,
        });
    }
}
