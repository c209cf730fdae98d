//! Bidirectional Forwarding Detection (RFC 5880): whether packets get to a peer and back.
//!
//! In: control packets, the clock, an operator's wish. Out: packets to send, and changes of state.
//! One value for each session. Asynchronous mode; a peer that asks for silence while both are Up
//! (demand mode, §6.6) gets it, we never ask for it. No echo packets: those of a peer are asked
//! for by nobody.
//!
//! Reads no clock, opens no socket. Handle an input, then poll outputs until there are none, and
//! come back at [`Session::poll_timeout`].

use std::{num::NonZeroU8, time::Duration};

mod auth;
mod packet;
mod session;
mod timing;

pub use auth::{BadKey, Key, Sealed};
pub use packet::{Diagnostic, Flaw, LEN, Packet, State};
pub use session::{Cause, Change, Input, Output, Session};

/// What an operator wants of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `bfd.DesiredMinTxInterval`: how often we want to send.
    pub transmit: Interval,
    /// `bfd.RequiredMinRxInterval`: how often the other side may send.
    pub receive: Interval,
    /// `bfd.DetectMult`: so many packets of ours in a row may be lost before the other side gives
    /// the path up.
    pub detect_mult: NonZeroU8,
    /// Says nothing before it has heard something.
    pub passive: bool,
    /// Packets without this key do not count.
    pub key: Option<Key>,
}

impl Default for Settings {
    /// 300 ms, three times.
    fn default() -> Self {
        let interval = Interval(300_000);
        let detect_mult = NonZeroU8::new(3).expect("not 0");
        Self { transmit: interval, receive: interval, detect_mult, passive: false, key: None }
    }
}

/// Time between two packets, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Interval(u32);

/// Why a time is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not from 10 ms to 60 s")]
pub struct BadInterval(pub Duration);

impl Interval {
    /// What a process among others can keep: 10 ms.
    pub const LEAST: Duration = Duration::from_millis(10);
    /// Beyond a minute BFD is slower than BGP itself.
    pub const MOST: Duration = Duration::from_secs(60);

    /// A time between [`Self::LEAST`] and [`Self::MOST`].
    ///
    /// # Errors
    ///
    /// [`BadInterval`].
    pub fn new(time: Duration) -> Result<Self, BadInterval> {
        if !(Self::LEAST..=Self::MOST).contains(&time) {
            return Err(BadInterval(time));
        }
        u32::try_from(time.as_micros()).map(Self).map_err(|_| BadInterval(time))
    }

    /// In microseconds.
    #[must_use]
    pub const fn micros(self) -> u32 {
        self.0
    }
}

#[cfg(test)]
mod tests;
