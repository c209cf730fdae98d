//! Two sessions over a link that loses, and one session with a scripted peer. Time is simulated.

use std::{
    num::{NonZeroU8, NonZeroU32},
    time::{Duration, Instant},
};

use proptest::prelude::*;

use super::*;

mod auth;
mod pair;
mod scripted;
mod wire;

const LOCAL: u32 = 7;
const REMOTE: u32 = 9;

#[expect(clippy::disallowed_methods, reason = "simulated time has to begin somewhere")]
fn beginning() -> Instant {
    Instant::now()
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn settings(transmit: u64, receive: u64, detect_mult: u8) -> Settings {
    let [transmit, receive] = [transmit, receive].map(|time| Interval::new(ms(time)).unwrap());
    let detect_mult = NonZeroU8::new(detect_mult).unwrap();
    Settings { transmit, receive, detect_mult, ..Settings::default() }
}

fn session(settings: Settings, discriminator: u32, now: Instant) -> Session {
    let name = NonZeroU32::new(discriminator).unwrap();
    Session::new(settings, name, u64::from(discriminator), now)
}

/// Everything that there is to do.
fn outputs(session: &mut Session) -> (Vec<Packet>, Vec<Change>) {
    let (mut packets, mut changes) = (Vec::new(), Vec::new());
    while let Some(output) = session.poll_output() {
        match output {
            Output::Send(octets) => packets.push(Packet::read(&octets).unwrap().0),
            Output::Change(change) => changes.push(change),
        }
    }
    (packets, changes)
}
