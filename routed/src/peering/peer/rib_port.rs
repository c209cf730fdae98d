//! A peer's side of the channel to the RIB.
//!
//! In: what the session says. Out: the same on the RIB's channel, in order, as soon as there is
//! room; and what the RIB wants the peer to be told.
//!
//! Never makes the peer's task wait: what does not fit is kept here, and the task stops reading
//! from the peer until it is gone.

use std::{collections::VecDeque, time::SystemTime};

use bgp::{
    family::FamilySet,
    rib::{News, PeerId, PeerUp},
    session::Cause,
};
use tokio::sync::{oneshot, watch};

use crate::peering::rib::{Command, LimitsReached, PeerEvent, Refused, RibHandle, RibStopped};

/// One peer's place at the RIB.
pub(super) struct RibPort {
    peer: PeerId,
    rib: RibHandle,
    /// What had no room yet, oldest first.
    backlog: VecDeque<Command>,
    /// The standing request for news, while a session is up.
    pull: Option<oneshot::Receiver<News>>,
    up: bool,
    stopped: bool,
}

impl RibPort {
    pub(super) const fn new(peer: PeerId, rib: RibHandle) -> Self {
        Self { peer, rib, backlog: VecDeque::new(), pull: None, up: false, stopped: false }
    }

    /// The session is established, and hears by `limits` what it comes to.
    pub(super) fn up(&mut self, up: PeerUp, limits: watch::Sender<LimitsReached>) {
        self.up = true;
        self.push(PeerEvent::Up(Box::new(up), limits));
    }

    /// It is no longer, for this reason; routes of these families are kept.
    pub(super) fn down(&mut self, retain: FamilySet, why: Cause) {
        self.up = false;
        self.pull = None;
        // Routes that the RIB has not seen need not be put in before they are taken out.
        // Nor is anyone left who could be told news.
        self.backlog.retain(|command| match command {
            Command::Peer(_, event) => !retain.is_empty() || event.outlives_the_session(),
            _ => false,
        });
        self.push(PeerEvent::Down { retain, why, at: SystemTime::now().into() });
    }

    /// Hands on what happened in the session.
    pub(super) fn push(&mut self, event: PeerEvent) {
        self.backlog.push_back(Command::Peer(self.peer, event));
        self.flush();
    }

    /// Asks for news of at most about `budget` prefixes, unless asked already.
    pub(super) fn ask(&mut self, budget: usize) {
        if self.up && self.pull.is_none() {
            let (answer, pull) = oneshot::channel();
            self.pull = Some(pull);
            self.backlog.push_back(Command::Pull { peer: self.peer, budget, answer });
            self.flush();
        }
    }

    /// Waits for the news asked for; forever, if none were. May be dropped at any point.
    pub(super) async fn news(&mut self) -> Result<News, RibStopped> {
        let Some(pull) = &mut self.pull else { return std::future::pending().await };
        let news = pull.await;
        self.pull = None;
        news.map_err(|_| RibStopped)
    }

    /// True if everything was handed on: only then may more be read from the peer.
    pub(super) fn is_clear(&self) -> bool {
        self.backlog.is_empty()
    }

    /// Waits until the RIB has taken something of the backlog; forever if there is none. May be
    /// dropped at any point.
    pub(super) async fn room(&mut self) -> Result<(), RibStopped> {
        if self.stopped {
            return Err(RibStopped);
        }
        if self.backlog.is_empty() {
            return std::future::pending().await;
        }
        let room = self.rib.reserve().await?;
        match self.backlog.pop_front() {
            Some(command) => room.send(command),
            None => drop(room),
        }
        self.flush();
        Ok(())
    }

    fn flush(&mut self) {
        while let Some(command) = self.backlog.pop_front() {
            match self.rib.try_send(command) {
                Ok(()) => (),
                Err(Refused::Full(command)) => {
                    self.backlog.push_front(command);
                    return;
                }
                Err(Refused::Stopped) => {
                    self.stopped = true;
                    self.backlog.clear();
                    return;
                }
            }
        }
    }
}
