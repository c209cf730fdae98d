//! Commands on their way to the RIB: a lane for those that are soon done, and one for the rest.
//!
//! In: commands, each peer's in the order of its session. Out: the same, those of the prompt lane
//! first, so that a peer with one route does not wait behind another that sends a whole table, and
//! who has room for news does not wait at all. What one peer says keeps its order.
//!
//! Bounded: by [`OTHERS`] and by [`PROMPT_EACH`] commands of each peer.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

use bgp::rib::PeerId;
use tokio::sync::{Semaphore, SemaphorePermit, TryAcquireError};

use super::{
    Refused, RibStopped,
    command::{Command, PeerEvent},
};

/// See the module.
pub(super) struct Lanes {
    queued: Mutex<Queued>,
    /// Wakes the thread.
    arrived: Condvar,
    /// In the lane of the others. Closed at the end.
    room: Semaphore,
}

#[derive(Default)]
struct Queued {
    prompt: VecDeque<Command>,
    others: VecDeque<Command>,
    /// Those who have something in them.
    peers: BTreeMap<PeerId, Waiting>,
    /// There is work without any command.
    stirred: bool,
    /// The thread sleeps.
    sleeping: bool,
    /// Nobody is left who could send anything.
    abandoned: bool,
    /// The thread has ended.
    closed: bool,
}

/// What waits of one peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Waiting {
    prompt_updates: usize,
    other_updates: usize,
    /// Anything else: what comes after it means something else than before.
    milestones: usize,
}

/// A place for one command among the others.
pub(crate) struct Room<'a> {
    lanes: &'a Lanes,
    permit: SemaphorePermit<'a>,
}

/// A command that is taken.
pub(super) struct Taken {
    pub(super) command: Command,
    /// It has overtaken others.
    pub(super) promptly: bool,
}

impl Lanes {
    pub(super) fn new() -> Self {
        Self { queued: Mutex::default(), arrived: Condvar::new(), room: Semaphore::new(OTHERS) }
    }

    /// Puts a command into its lane, if that has room.
    pub(super) fn put(&self, command: Command) -> Result<(), Refused> {
        let mut queued = self.lock();
        if queued.closed {
            return Err(Refused::Stopped);
        }
        if queued.is_prompt(&command) {
            queued.push(command, true);
            self.wake(queued);
            return Ok(());
        }
        match self.room.try_acquire() {
            Ok(permit) => permit.forget(),
            Err(TryAcquireError::NoPermits) => return Err(Refused::Full(command)),
            Err(TryAcquireError::Closed) => return Err(Refused::Stopped),
        }
        queued.push(command, false);
        self.wake(queued);
        Ok(())
    }

    /// Waits for room for one command among the others. May be dropped at any point.
    pub(super) async fn reserve(&self) -> Result<Room<'_>, RibStopped> {
        let permit = self.room.acquire().await.map_err(|_| RibStopped)?;
        Ok(Room { lanes: self, permit })
    }

    /// The next command.
    pub(super) fn take(&self) -> Option<Taken> {
        let mut queued = self.lock();
        let (command, promptly) = match queued.prompt.pop_front() {
            Some(command) => (command, true),
            None => (queued.others.pop_front()?, false),
        };
        queued.leave(&command, promptly);
        drop(queued);
        if !promptly {
            self.room.add_permits(1);
        }
        Some(Taken { command, promptly })
    }

    /// Waits until there is work. False when there will be none any more.
    pub(super) fn wait(&self) -> bool {
        let mut queued = self.lock();
        loop {
            let stirred = std::mem::take(&mut queued.stirred);
            if stirred || queued.len() > 0 {
                return true;
            }
            if queued.abandoned || queued.closed {
                return false;
            }
            queued.sleeping = true;
            queued = self.arrived.wait(queued).unwrap_or_else(PoisonError::into_inner);
            queued.sleeping = false;
        }
    }

    /// There is work for the thread without any command.
    pub(super) fn stir(&self) {
        let mut queued = self.lock();
        queued.stirred = true;
        self.wake(queued);
    }

    /// Nobody is left who could send anything.
    pub(super) fn abandon(&self) {
        let mut queued = self.lock();
        queued.abandoned = true;
        self.wake(queued);
    }

    /// Takes nothing from now on, and lets go of what is there.
    pub(super) fn close(&self) {
        self.room.close();
        let queued = {
            let mut queued = self.lock();
            std::mem::replace(&mut *queued, Queued { closed: true, ..Queued::default() })
        };
        // Who waits for an answer hears that there is none.
        drop(queued);
    }

    /// How many commands wait.
    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, Queued> {
        self.queued.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self, queued: MutexGuard<'_, Queued>) {
        let sleeping = queued.sleeping;
        drop(queued);
        if sleeping {
            self.arrived.notify_one();
        }
    }
}

impl Room<'_> {
    /// Takes the place.
    pub(crate) fn send(self, command: Command) {
        let mut queued = self.lanes.lock();
        if !queued.closed {
            self.permit.forget();
            queued.push(command, false);
            self.lanes.wake(queued);
        }
    }
}

impl Queued {
    fn len(&self) -> usize {
        self.prompt.len() + self.others.len()
    }

    /// May it overtake others, as soon done as it is and with nothing before it that it must follow?
    fn is_prompt(&self, command: &Command) -> bool {
        let waiting = |peer| self.peers.get(peer).copied().unwrap_or_default();
        match command {
            Command::Pull { peer, .. } => waiting(peer).milestones == 0,
            Command::Peer(peer, _) => {
                let Waiting { prompt_updates, other_updates, milestones } = waiting(peer);
                let first = other_updates == 0 && milestones == 0;
                command.is_prompt() && first && prompt_updates < PROMPT_EACH
            }
            _ => command.is_prompt(),
        }
    }

    fn push(&mut self, command: Command, promptly: bool) {
        if let Some(count) = self.count(&command, promptly) {
            *count += 1;
        }
        let lane = if promptly { &mut self.prompt } else { &mut self.others };
        lane.push_back(command);
    }

    fn leave(&mut self, command: &Command, promptly: bool) {
        let Some(count) = self.count(command, promptly) else { return };
        *count -= 1;
        if let Command::Peer(peer, _) = command
            && self.peers.get(peer) == Some(&Waiting::default())
        {
            self.peers.remove(peer);
        }
    }

    fn count(&mut self, command: &Command, promptly: bool) -> Option<&mut usize> {
        let Command::Peer(peer, event) = command else { return None };
        let waiting = self.peers.entry(*peer).or_default();
        Some(match (event, promptly) {
            (PeerEvent::Updates(_), true) => &mut waiting.prompt_updates,
            (PeerEvent::Updates(_), false) => &mut waiting.other_updates,
            (_, _) => &mut waiting.milestones,
        })
    }
}

/// Commands that may wait besides the prompt ones. Those with UPDATEs are the largest: one of 4 KiB
/// on the wire is some 100 KiB taken apart (prefixes of one octet), and a peer's task gathers no more
/// than some hundred KiB besides, so this bounds them to some 50 MiB even when peers do their worst,
/// and lets the thread always find a full batch under load.
pub(super) const OTHERS: usize = 128;

/// Commands with UPDATEs that one peer may have in the prompt lane.
const PROMPT_EACH: usize = 4;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bgp::{
        family::Family,
        prefix::Prefix,
        wire::{Nlri, Update},
    };

    use super::*;

    const MANY: usize = 100;

    fn updates(peer: u32, prefixes: usize) -> Command {
        let nlri = Nlri::from("10.0.0.0/8".parse::<Prefix>().unwrap());
        let update = Update { withdrawn: vec![nlri; prefixes], ..Update::default() };
        Command::Peer(PeerId(peer), PeerEvent::Updates(vec![update]))
    }

    fn refresh(peer: u32) -> Command {
        Command::Peer(PeerId(peer), PeerEvent::Refresh(Family::Ipv4Unicast))
    }

    fn pull(peer: u32) -> Command {
        let (answer, _) = tokio::sync::oneshot::channel();
        Command::Pull { peer: PeerId(peer), budget: 1, answer }
    }

    /// Whose commands come out, and whether they have overtaken others.
    fn taken(lanes: &Lanes) -> Vec<(u32, bool)> {
        let all = std::iter::from_fn(|| lanes.take());
        let peers = all.map(|Taken { command, promptly }| match command {
            Command::Peer(peer, _) | Command::Pull { peer, .. } => (peer.0, promptly),
            _ => (0, promptly),
        });
        peers.collect()
    }

    fn put(lanes: &Lanes, command: Command) {
        assert!(lanes.put(command).is_ok());
    }

    #[test]
    fn a_single_route_and_requests_overtake_the_table_of_another_peer() {
        let lanes = Lanes::new();
        for command in [updates(1, MANY), updates(1, MANY), updates(2, 1), pull(1)] {
            put(&lanes, command);
        }
        assert_eq!(taken(&lanes), [(2, true), (1, true), (1, false), (1, false)]);
        assert_eq!(lanes.len(), 0);
    }

    #[test]
    fn what_one_peer_says_keeps_its_order() {
        let lanes = Lanes::new();
        for command in [updates(1, MANY), updates(1, 1), updates(2, 1), refresh(2), updates(2, 2)] {
            put(&lanes, command);
        }
        // A request means something else after whatever is no UPDATE.
        put(&lanes, pull(2));
        let (first, rest) = ((2, true), [(1, false), (1, false), (2, false), (2, false)]);
        assert_eq!(taken(&lanes), [&[first][..], &rest, &[(2, false)]].concat());
        assert!(lanes.put(pull(2)).is_ok() && lanes.put(updates(1, 1)).is_ok());
        assert_eq!(taken(&lanes), [(2, true), (1, true)], "nothing is before them any more");
    }

    #[test]
    fn both_lanes_are_bounded() {
        let lanes = Lanes::new();
        for _ in 0..PROMPT_EACH + OTHERS {
            put(&lanes, updates(1, 1));
        }
        assert!(matches!(lanes.put(updates(1, 1)), Err(Refused::Full(_))));
        put(&lanes, updates(2, 1));
        assert_eq!(taken(&lanes).iter().filter(|(_, promptly)| *promptly).count(), PROMPT_EACH + 1);
        put(&lanes, updates(1, MANY));
    }

    #[tokio::test]
    async fn whoever_waits_for_room_hears_of_it_or_of_the_end() {
        let lanes = Arc::new(Lanes::new());
        (0..OTHERS).for_each(|_| put(&lanes, updates(1, MANY)));
        let waiting = Arc::clone(&lanes);
        let waiting = tokio::spawn(async move {
            waiting.reserve().await?.send(updates(3, MANY));
            waiting.reserve().await.map(|_| ())
        });
        tokio::task::yield_now().await;
        assert!(lanes.take().is_some());
        while lanes.len() < OTHERS {
            tokio::task::yield_now().await;
        }
        lanes.close();
        assert_eq!(waiting.await.unwrap(), Err(RibStopped));
        assert!(matches!(lanes.put(pull(1)), Err(Refused::Stopped)));
        assert!(!lanes.wait());
    }
}
