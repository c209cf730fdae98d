//! What the RIB's thread does: take commands, then answer those who wait for news.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
    sync::Weak,
    time::SystemTime,
};

use bgp::{
    attrs::NextHop,
    rib::{BestChange, LimitEvent, News, NextHopInterest, PeerId, Rib, Unsendable},
};
use tokio::sync::{oneshot, watch};

use super::{
    Command, LimitsReached, PeerEvent,
    lanes::{Lanes, Taken},
    reports::Stations,
};

/// A reader that has room.
struct Pull<T> {
    budget: usize,
    answer: oneshot::Sender<T>,
}

/// The RIB with those who wait for it.
pub(super) struct RibOwner {
    rib: Rib,
    /// Peers with room that had nothing to be told when last looked at, or have asked since.
    pulls: BTreeMap<PeerId, Pull<News>>,
    /// Peers that have news, or have asked since the last round. Between rounds only such as wait
    /// and can be told more.
    ready: BTreeSet<PeerId>,
    best: Option<Pull<Vec<BestChange>>>,
    best_reader: Weak<()>,
    /// Commands were done whose news nobody has looked at yet.
    owing: bool,
    stations: Stations,
    next_hops: watch::Sender<BTreeSet<NextHop>>,
    /// Where each session hears of its limits.
    limits: BTreeMap<PeerId, watch::Sender<LimitsReached>>,
}

impl RibOwner {
    pub(super) fn new(
        rib: Rib,
        next_hops: watch::Sender<BTreeSet<NextHop>>,
        best_reader: Weak<()>,
    ) -> Self {
        Self {
            rib,
            pulls: BTreeMap::new(),
            ready: BTreeSet::new(),
            best: None,
            best_reader,
            owing: false,
            stations: Stations::default(),
            next_hops,
            limits: BTreeMap::new(),
        }
    }

    /// Does what there is to do.
    pub(super) fn work(&mut self, lanes: &Lanes) -> ControlFlow<()> {
        loop {
            self.rib.set_time(SystemTime::now().into());
            let mut prefixes = 0;
            let mut taken = 0;
            while prefixes < ROUND_PREFIXES && taken < ROUND {
                let Some(Taken { command, promptly }) = lanes.take() else { break };
                prefixes += command.prefixes();
                taken += 1;
                self.take(command, promptly)?;
            }
            if taken == 0 && self.ready.is_empty() && !self.owing {
                return ControlFlow::Continue(());
            }
            self.answer();
        }
    }

    /// Does a command that is soon done, in place of the thread. [`Self::settle`] is owed then.
    pub(super) fn serve(&mut self, command: Command) {
        self.rib.set_time(SystemTime::now().into());
        // What ends the thread is not soon done.
        let _ = self.take(command, true);
        self.owing = true;
    }

    /// Answers those whom that concerns. True if there is more to do, which is the thread's.
    pub(super) fn settle(&mut self) -> bool {
        if self.owing {
            self.answer();
        }
        !self.ready.is_empty()
    }

    fn answer(&mut self) {
        self.owing = false;
        self.answer_peers();
        self.tell_limits();
        self.answer_best();
        self.stations.answer(&mut self.rib);
        self.publish_next_hops();
    }

    fn take(&mut self, command: Command, promptly: bool) -> ControlFlow<()> {
        match command {
            Command::Peer(peer, event) => self.take_event(peer, event, promptly),
            Command::Pull { peer, budget, answer } => {
                self.pulls.insert(peer, Pull { budget, answer });
                self.ready.insert(peer);
            }
            Command::PullBest { budget, answer } => self.best = Some(Pull { budget, answer }),
            Command::Monitor(registration) => self.stations.add(&mut self.rib, registration),
            Command::PullReports { station, budget, answer } => {
                self.stations.ask(station, budget, answer);
            }
            Command::Originate(prefix, attrs) => self.rib.originate(prefix, attrs),
            Command::Withdraw(prefix) => self.rib.withdraw(prefix),
            Command::SetNextHop(next_hop, resolution) => {
                self.rib.set_next_hop(next_hop, resolution);
            }
            Command::Configure(config) => self.rib.configure(&config),
            Command::EndDeferral => {
                for peer in self.rib.deferred_for().collect::<Vec<_>>() {
                    self.end_deferral(peer);
                }
            }
            Command::Look(look) => look(&self.rib),
            Command::Stop => return ControlFlow::Break(()),
        }
        ControlFlow::Continue(())
    }

    fn take_event(&mut self, peer: PeerId, event: PeerEvent, promptly: bool) {
        match event {
            PeerEvent::Up(up, limits) => {
                // Whoever asked before belongs to an earlier session, and must not be given
                // what this one is owed.
                self.pulls.remove(&peer);
                self.limits.insert(peer, limits);
                self.rib.peer_up(peer, *up);
            }
            PeerEvent::Updates(updates) => {
                self.rib.set_urgent(promptly);
                updates.iter().for_each(|update| self.rib.update(peer, update));
                self.rib.set_urgent(false);
            }
            PeerEvent::Refresh(family) => self.rib.refresh(peer, family),
            PeerEvent::Settings(config) => self.rib.set_policies(peer, *config),
            PeerEvent::RefreshBegin(family) => self.rib.refresh_begin(peer, family),
            PeerEvent::RefreshEnd(family) => self.rib.refresh_end(peer, family),
            PeerEvent::Down { retain, why, at } => {
                self.pulls.remove(&peer);
                self.limits.remove(&peer);
                self.rib.peer_down(peer, retain, &why, at);
            }
            PeerEvent::StaleExpired(families) => self.rib.stale_expired(peer, families),
            PeerEvent::LongLived(families) => self.rib.long_lived(peer, families),
            PeerEvent::DeferralOver => self.end_deferral(peer),
        }
    }

    /// After a restart of ours nobody waits for this peer any more.
    fn end_deferral(&mut self, peer: PeerId) {
        let waited = self.rib.deferred_for().next().is_some();
        self.rib.deferral_over(peer);
        if waited && self.rib.deferred_for().next().is_none() {
            tracing::info!("the restart is over: peers are told what others have announced");
        }
    }

    /// Tells each peer that has both news and room.
    fn answer_peers(&mut self) {
        while let Some(peer) = self.rib.poll_ready() {
            self.ready.insert(peer);
        }
        for peer in std::mem::take(&mut self.ready) {
            let Some(pull) = self.pulls.remove(&peer) else { continue };
            if pull.answer.is_closed() {
                continue;
            }
            let news = self.rib.poll_news(peer, pull.budget);
            if news.is_empty() {
                self.pulls.insert(peer, pull);
            } else {
                // If the reader goes in this very moment, so does its session, and with it
                // everything that it was told.
                let _ = pull.answer.send(news);
            }
        }
        self.log_unsendable();
        // What one was told may be news to others, who have their turn after the next commands.
        while let Some(peer) = self.rib.poll_ready() {
            if self.pulls.contains_key(&peer) {
                self.ready.insert(peer);
            }
        }
    }

    fn log_unsendable(&mut self) {
        while let Some((peer, Unsendable { first, paths, error })) = self.rib.poll_unsendable() {
            tracing::error!(
                %peer, prefix = %first, paths, %error,
                "routes are too long for this peer, which is not told of them",
            );
        }
    }

    /// Tells sessions which limits they have come to.
    fn tell_limits(&mut self) {
        while let Some(LimitEvent { peer, family, max, kind }) = self.rib.poll_limit() {
            if let Some(limits) = self.limits.get(&peer) {
                limits.send_modify(|reached| {
                    reached.insert((family, kind), max);
                });
            }
        }
    }

    fn answer_best(&mut self) {
        if self.best_reader.strong_count() == 0 {
            self.rib.ignore_best();
        }
        let Some(pull) = self.best.take() else { return };
        if pull.answer.is_closed() {
            return;
        }
        let changes: Vec<_> =
            std::iter::from_fn(|| self.rib.poll_best()).take(pull.budget).collect();
        if changes.is_empty() {
            self.best = Some(pull);
        } else {
            let _ = pull.answer.send(changes);
        }
    }

    fn publish_next_hops(&mut self) {
        let mut interests = std::iter::from_fn(|| self.rib.poll_next_hop()).peekable();
        if interests.peek().is_none() {
            return;
        }
        self.next_hops.send_modify(|watched| {
            for interest in interests {
                match interest {
                    NextHopInterest::Watch(next_hop) => watched.insert(next_hop),
                    NextHopInterest::Forget(next_hop) => watched.remove(&next_hop),
                };
            }
        });
    }
}

/// Commands taken before those who wait are answered: enough that under load one look at the
/// peers serves many UPDATEs.
const ROUND: usize = 256;

/// Prefixes after which they are answered earlier, so that an answer waits for a millisecond only,
/// is encoded while the thread goes on, and what goes out keeps up with what comes in.
const ROUND_PREFIXES: usize = 1024;
