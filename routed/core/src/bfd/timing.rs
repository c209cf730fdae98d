//! How often each side sends, and how long silence may last (RFC 5880 §6.8.2–§6.8.4), with the poll
//! sequences by which both sides agree on a change (§6.5).

use std::time::Duration;

use super::{Settings, packet::State};

/// What we say of our side, and what of it is in force.
///
/// While a session is Up, slower sending and faster listening wait until the other side has
/// answered a poll: before that it would take our silence for a failure, or we its.
#[derive(Clone, Debug)]
pub(super) struct Ours {
    /// `bfd.DesiredMinTxInterval` in microseconds, as told.
    pub(super) desired_tx: u32,
    /// `bfd.RequiredMinRxInterval` in microseconds, as told.
    pub(super) required_rx: u32,
    /// What of both is in force.
    tx: u32,
    rx: u32,
    /// What the running poll sequence asks about.
    poll: Option<(u32, u32)>,
}

impl Ours {
    pub(super) fn new(settings: &Settings) -> Self {
        let (desired_tx, required_rx) = wanted(settings, State::Down);
        Self { desired_tx, required_rx, tx: desired_tx, rx: required_rx, poll: None }
    }

    /// The settings or the state have changed.
    pub(super) fn follow(&mut self, settings: &Settings, state: State) {
        let before = (self.desired_tx, self.required_rx);
        (self.desired_tx, self.required_rx) = wanted(settings, state);
        if state != State::Up {
            (self.tx, self.rx, self.poll) = (self.desired_tx, self.required_rx, None);
            return;
        }
        self.tx = self.tx.min(self.desired_tx);
        self.rx = self.rx.max(self.required_rx);
        // One poll at a time: what changes meanwhile has its turn after it.
        if before != (self.desired_tx, self.required_rx) && self.poll.is_none() {
            self.poll = Some((self.desired_tx, self.required_rx));
        }
    }

    /// Are packets to have the P bit?
    pub(super) const fn polls(&self) -> bool {
        self.poll.is_some()
    }

    /// The other side has answered. True if there is more to ask.
    pub(super) fn answered(&mut self) {
        let Some((tx, rx)) = self.poll.take() else { return };
        let told = (self.desired_tx, self.required_rx);
        if (tx, rx) == told {
            (self.tx, self.rx) = told;
        } else {
            self.poll = Some(told);
        }
    }

    /// Time between two packets of ours; `None` if the other side wants none.
    pub(super) fn transmit_interval(&self, remote_min_rx: u32) -> Option<Duration> {
        (remote_min_rx > 0).then(|| micros(self.tx.max(remote_min_rx)))
    }

    /// Silence of the other side that ends a session.
    pub(super) fn detection_time(&self, remote_mult: u8, remote_min_tx: u32) -> Duration {
        micros(self.rx.max(remote_min_tx)) * u32::from(remote_mult)
    }
}

/// §6.8.3: at most one packet a second unless Up.
fn wanted(settings: &Settings, state: State) -> (u32, u32) {
    let transmit = settings.transmit.micros();
    let transmit = if state == State::Up { transmit } else { transmit.max(SLOW) };
    (transmit, settings.receive.micros())
}

fn micros(micros: u32) -> Duration {
    Duration::from_micros(micros.into())
}

/// Microseconds between packets of a session that is not Up.
pub(super) const SLOW: u32 = 1_000_000;
