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
    wire::Update,
};
use tokio::sync::{oneshot, watch};

use crate::peering::rib::{
    Command, LimitsReached, PeerEvent, Refused, RibHandle, RibStopped, prefixes_in,
};

/// One peer's place at the RIB.
pub(super) struct RibPort {
    peer: PeerId,
    rib: RibHandle,
    /// UPDATEs to be handed on together, and how many prefixes they speak of.
    gathered: (Vec<Update>, usize),
    /// What had no room yet, oldest first.
    backlog: VecDeque<Command>,
    /// The standing request for news, while a session is up.
    pull: Option<oneshot::Receiver<News>>,
    up: bool,
    stopped: bool,
}

impl RibPort {
    pub(super) const fn new(peer: PeerId, rib: RibHandle) -> Self {
        Self {
            peer,
            rib,
            gathered: (Vec::new(), 0),
            backlog: VecDeque::new(),
            pull: None,
            up: false,
            stopped: false,
        }
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
        if retain.is_empty() {
            self.gathered = (Vec::new(), 0);
        }
        self.backlog.retain(|command| match command {
            Command::Peer(_, event) => !retain.is_empty() || event.outlives_the_session(),
            _ => false,
        });
        self.push(PeerEvent::Down { retain, why, at: SystemTime::now().into() });
    }

    /// Takes an UPDATE, to be handed on with those that come right after it: under load one command
    /// carries all that was read at once. The caller sees to [`Self::hand_on`].
    pub(super) fn update(&mut self, update: Update) {
        let (updates, prefixes) = &mut self.gathered;
        *prefixes += prefixes_in(&update);
        updates.push(update);
        if updates.len() >= GATHERED || *prefixes >= GATHERED_PREFIXES {
            self.hand_on();
        }
    }

    /// Hands on the UPDATEs taken so far.
    pub(super) fn hand_on(&mut self) {
        let (updates, _) = std::mem::take(&mut self.gathered);
        if !updates.is_empty() {
            self.backlog.push_back(Command::Peer(self.peer, PeerEvent::Updates(updates)));
            self.flush();
        }
    }

    /// Hands on what happened in the session.
    pub(super) fn push(&mut self, event: PeerEvent) {
        self.hand_on();
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
        self.backlog.is_empty() && self.gathered.0.is_empty()
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

/// UPDATEs handed on together at most. Their attributes are some 100 KiB even if each message is full
/// of them.
const GATHERED: usize = 32;

/// Prefixes after which no more UPDATEs are gathered: a few full messages of short ones.
const GATHERED_PREFIXES: usize = 2048;

#[cfg(test)]
mod tests {
    use bgp::{family::Family, wire::Nlri};

    use super::*;

    fn port() -> (RibPort, impl FnMut() -> Option<Command>) {
        let (rib, inbox) = RibHandle::without_thread();
        (RibPort::new(PeerId(1), rib), inbox)
    }

    /// What was handed on: UPDATEs by their number, anything else as none.
    fn heard(inbox: &mut impl FnMut() -> Option<Command>) -> Vec<Option<usize>> {
        let commands = std::iter::from_fn(inbox);
        let number = |command| match command {
            Command::Peer(_, PeerEvent::Updates(updates)) => Some(updates.len()),
            _ => None,
        };
        commands.map(number).collect()
    }

    #[test]
    fn updates_are_handed_on_together_and_before_what_follows_them() {
        let (mut port, mut inbox) = port();
        (0..GATHERED + 2).for_each(|_| port.update(Update::default()));
        port.push(PeerEvent::Refresh(Family::Ipv4Unicast));
        assert_eq!(heard(&mut inbox), [Some(GATHERED), Some(2), None]);

        let nlri = Nlri::from("10.0.0.0/8".parse::<bgp::prefix::Prefix>().unwrap());
        let withdrawn = vec![nlri; GATHERED_PREFIXES];
        port.update(Update { withdrawn, ..Update::default() });
        assert_eq!(heard(&mut inbox), [Some(1)]);

        port.update(Update::default());
        assert!(!port.is_clear());
        port.hand_on();
        port.hand_on();
        assert_eq!(heard(&mut inbox), [Some(1)]);
        assert!(port.is_clear());
    }

    #[test]
    fn updates_of_a_session_that_leaves_nothing_behind_are_not_handed_on_after_it() {
        for (retain, expected) in
            [(FamilySet::NONE, vec![None]), (FamilySet::ALL, vec![Some(1), None])]
        {
            let (mut port, mut inbox) = port();
            port.update(Update::default());
            port.down(retain, Cause::Closed);
            assert_eq!(heard(&mut inbox), expected);
        }
    }
}
