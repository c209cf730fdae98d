//! When to advertise ourselves and when to look for routers (RFC 4861 §6.2.4, §6.2.6, §6.3.7).
//!
//! In: that the link is up, solicitations heard, the wish to hear from routers. Out: what to send
//! by now, and when to ask again. Times are arguments; the dice are seeded.

use std::{
    net::Ipv6Addr,
    time::{Duration, Instant},
};

use crate::dice::Dice;

/// Something to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// An advertisement to everybody on the link.
    Advertise,
    /// An advertisement to one who asked.
    Answer(Ipv6Addr),
    /// A solicitation to all routers.
    Solicit,
}

/// See the module. Nothing is due before [`Schedule::start`].
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    dice: Dice,
    /// The next advertisement to everybody.
    advertise_at: Option<Instant>,
    /// The last one.
    advertised: Option<Instant>,
    answer: Option<Answer>,
    soliciting: Option<Soliciting>,
}

#[derive(Clone, Copy, Debug)]
struct Answer {
    to: Ipv6Addr,
    at: Instant,
}

#[derive(Clone, Copy, Debug)]
struct Soliciting {
    at: Instant,
    left: u8,
}

impl Schedule {
    pub(super) const fn new(seed: u64) -> Self {
        let dice = Dice::new(seed);
        Self { dice, advertise_at: None, advertised: None, answer: None, soliciting: None }
    }

    /// The link is up: advertises at once and from then on.
    pub(super) const fn start(&mut self, now: Instant) {
        self.stop();
        self.advertise_at = Some(now);
    }

    /// The link is down: nothing is due any more.
    pub(super) const fn stop(&mut self) {
        (self.advertise_at, self.advertised) = (None, None);
        (self.answer, self.soliciting) = (None, None);
    }

    /// Somebody looks for routers.
    pub(super) fn solicited(&mut self, source: Ipv6Addr, now: Instant) {
        if self.advertise_at.is_none() {
            return;
        }
        let at = now + self.dice.up_to(MAX_RA_DELAY_TIME);
        match self.answer {
            Some(answer) if answer.to == source => {}
            None if source.is_unicast_link_local() => self.answer = Some(Answer { to: source, at }),
            Some(_) | None => self.advertise_by(at),
        }
    }

    /// Solicits at once, and again until [`Self::content`] or it seems futile.
    ///
    /// Without the random delay of RFC 4861 §6.3.7, which is for many hosts on one link: a fabric's
    /// link has one neighbour, and a session waits for it.
    pub(super) const fn solicit(&mut self, now: Instant) {
        if self.advertise_at.is_some() {
            self.soliciting = Some(Soliciting { at: now, left: MAX_RTR_SOLICITATIONS });
        }
    }

    /// Enough was heard.
    pub(super) const fn content(&mut self) {
        self.soliciting = None;
    }

    /// What is due by now, one after the other.
    pub(super) fn poll(&mut self, now: Instant) -> Option<Due> {
        if self.advertise_at.is_some_and(|at| at <= now) {
            self.advertise_at = Some(now + self.dice.between(MIN_INTERVAL, MAX_INTERVAL));
            self.advertised = Some(now);
            self.answer = None;
            return Some(Due::Advertise);
        }
        if let Some(answer) = self.answer.filter(|answer| answer.at <= now) {
            self.answer = None;
            return Some(Due::Answer(answer.to));
        }
        let Soliciting { at, left } = self.soliciting.filter(|next| next.at <= now)?;
        let next = Soliciting { at: at.max(now) + RTR_SOLICITATION_INTERVAL, left: left - 1 };
        self.soliciting = Some(next).filter(|next| next.left > 0);
        Some(Due::Solicit)
    }

    /// When [`Self::poll`] has something next.
    pub(super) fn next(&self) -> Option<Instant> {
        let answer = self.answer.map(|answer| answer.at);
        let solicit = self.soliciting.map(|next| next.at);
        [self.advertise_at, answer, solicit].into_iter().flatten().min()
    }

    /// Advertises to everybody by then, but never too soon after the last time (§6.2.6).
    fn advertise_by(&mut self, at: Instant) {
        let at = self.advertised.map_or(at, |last| at.max(last + MIN_DELAY_BETWEEN_RAS));
        self.advertise_at = self.advertise_at.map(|next| next.min(at));
    }
}

/// MaxRtrAdvInterval, as FRR has it for unnumbered peers: a lost advertisement costs little time.
pub(super) const MAX_INTERVAL: Duration = Duration::from_secs(10);
/// MinRtrAdvInterval: a third of it.
pub(super) const MIN_INTERVAL: Duration = Duration::from_millis(3_333);
/// Most time until an answer (RFC 4861 §10).
pub(super) const MAX_RA_DELAY_TIME: Duration = Duration::from_millis(500);
/// Least time between two advertisements to everybody (RFC 4861 §10).
const MIN_DELAY_BETWEEN_RAS: Duration = Duration::from_secs(3);
/// Time between two solicitations (RFC 4861 §10).
pub(super) const RTR_SOLICITATION_INTERVAL: Duration = Duration::from_secs(4);
/// Solicitations without an answer before we only listen (RFC 4861 §10).
const MAX_RTR_SOLICITATIONS: u8 = 3;
