//! The RIB's own thread, and the handle by which everybody else reaches it.
//!
//! In: commands on one bounded channel, each peer's in the order of its session. Out: what each
//! peer must be told and what the kernel must hold, both only when their readers ask for more,
//! and the next hops whose reachability the RIB wants to know.
//!
//! The thread never waits for a socket, for netlink, or for a reader: it takes a batch of
//! commands, then answers those who wait. Encodes nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::Arc,
    thread,
};

use bgp::{
    attrs::{Attrs, NextHop},
    config::RibPeerConfig,
    family::{Family, FamilySet},
    prefix::Prefix,
    rib::{
        BestChange, ImportCounts, LimitKind, News, PathView, PeerCounts, PeerId, PeerUp, Report,
        Resolution, Rib, RibConfig, RibSizes, StationId, ToldView, Why,
    },
    session::Cause,
    timestamp::Timestamp,
    wire::Update,
};
use tokio::sync::{mpsc, oneshot, watch};

mod owner;
mod reports;

pub use reports::{Reports, SessionCounts};

use reports::Registration;

/// What a session has to say to the RIB, in the order in which it happened.
#[derive(Clone, Debug)]
pub(crate) enum PeerEvent {
    /// Established. Whoever holds the receiver hears which limits the session comes to.
    Up(Box<PeerUp>, watch::Sender<LimitsReached>),
    /// The peer's routes changed, in this order.
    Updates(Vec<Update>),
    /// The peer asks for a family again.
    Refresh(Family),
    /// Its routes are treated in another way from now on.
    Settings(Box<RibPeerConfig>),
    /// The peer begins to announce all of a family again.
    RefreshBegin(Family),
    /// It has announced all of it.
    RefreshEnd(Family),
    /// No longer established; routes of these families are kept as stale.
    Down {
        /// See [`Output::Down`](bgp::session::Output::Down).
        retain: FamilySet,
        /// How it ended.
        why: Cause,
        /// When.
        at: Timestamp,
    },
    /// What is still stale of these families is gone.
    StaleExpired(FamilySet),
    /// What is stale of these families is kept for long.
    LongLived(FamilySet),
    /// After our own restart this peer is waited for no longer.
    DeferralOver,
}

impl PeerEvent {
    /// True for what must not be skipped, even if the session is over before the RIB hears it and
    /// leaves no routes behind.
    pub(crate) const fn outlives_the_session(&self) -> bool {
        match self {
            Self::Up(..)
            | Self::Down { .. }
            | Self::StaleExpired(_)
            | Self::LongLived(_)
            | Self::DeferralOver => true,
            Self::Updates(_)
            | Self::Refresh(_)
            | Self::RefreshBegin(_)
            | Self::RefreshEnd(_)
            | Self::Settings(_) => false,
        }
    }
}

/// How many prefixes an UPDATE speaks of.
pub(crate) fn prefixes_in(update: &Update) -> usize {
    let announced = update.reach.iter().map(|reach| reach.prefixes.len());
    update.withdrawn.len() + announced.sum::<usize>()
}

/// The limits that a session has come to, and how many prefixes each allows. A state and not a
/// queue, so that the RIB need not wait for whoever wants to know.
pub(crate) type LimitsReached = BTreeMap<(Family, LimitKind), u32>;

/// A look into the RIB, done by its thread.
type Look = Box<dyn FnOnce(&Rib) + Send>;

/// One message to the thread.
pub(crate) enum Command {
    /// From a peer's session.
    Peer(PeerId, PeerEvent),
    /// A peer has room for about `budget` prefixes. Answered once there is something to tell;
    /// void when the session goes down or the receiver is dropped.
    Pull { peer: PeerId, budget: usize, answer: oneshot::Sender<News> },
    /// The kernel's side has room for `budget` changes. Answered once there are some.
    PullBest { budget: usize, answer: oneshot::Sender<Vec<BestChange>> },
    /// See [`RibHandle::monitor`].
    Monitor(Registration),
    /// A station has room for about `budget` sessions and prefixes. Answered once there is
    /// something to tell.
    PullReports { station: StationId, budget: usize, answer: oneshot::Sender<Vec<Report>> },
    /// See [`RibHandle::originate`].
    Originate(Prefix, Arc<Attrs>),
    /// See [`RibHandle::withdraw`].
    Withdraw(Prefix),
    /// See [`RibHandle::set_next_hop`].
    SetNextHop(NextHop, Resolution),
    /// See [`RibHandle::configure`].
    Configure(RibConfig),
    /// See [`RibHandle::end_deferral`].
    EndDeferral,
    /// Someone wants to know something.
    Look(Look),
    /// End the thread.
    Stop,
}

impl Command {
    /// How many prefixes it speaks of.
    fn prefixes(&self) -> usize {
        match self {
            Self::Peer(_, PeerEvent::Updates(updates)) => updates.iter().map(prefixes_in).sum(),
            _ => 0,
        }
    }
}

/// The way to the RIB; cheap to clone.
///
/// Every method waits only for room in the command channel and for the answer, if there is one.
#[derive(Clone)]
pub struct RibHandle {
    commands: mpsc::Sender<Command>,
    next_hops: watch::Receiver<BTreeSet<NextHop>>,
}

/// The thread that owned the RIB has ended: the daemon is stopping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the RIB is stopped; nothing can be asked of it while the daemon goes down")]
pub struct RibStopped;

/// The Loc-RIB's changes, for the one reader that carries them to the kernel.
///
/// Each prefix comes with its newest state, once, however long the reader takes. When this is
/// dropped the RIB stops keeping changes for it.
pub struct BestChanges {
    commands: mpsc::Sender<Command>,
    asked: Option<oneshot::Receiver<Vec<BestChange>>>,
    /// Its counterpart in the thread tells whether a reader is still there.
    _reader: Arc<()>,
}

/// What the RIB begins with, before any session is up.
pub(crate) struct Beginning {
    /// Settings of the router.
    pub(crate) config: RibConfig,
    /// What this router originates. A session that comes up before it is there would end its first
    /// transfer without it, and a peer that has kept it over a restart of ours would drop it.
    pub(crate) originated: Vec<(Prefix, Arc<Attrs>)>,
    /// After a restart of ours, the peers whose routes are waited for before learned routes are told
    /// to anybody.
    pub(crate) deferred_for: Vec<PeerId>,
}

/// Starts the thread.
///
/// # Errors
///
/// The kernel's, if it gives us no thread.
pub(crate) fn start(
    beginning: Beginning,
) -> io::Result<(RibHandle, BestChanges, thread::JoinHandle<()>)> {
    let (commands, inbox) = mpsc::channel(COMMAND_QUEUE);
    let (next_hops_in, next_hops) = watch::channel(BTreeSet::new());
    let reader = Arc::new(());
    let of_reader = Arc::downgrade(&reader);
    let Beginning { config, originated, deferred_for } = beginning;
    let mut rib = Rib::new(config);
    rib.defer_for(deferred_for);
    for (prefix, attrs) in originated {
        rib.originate(prefix, attrs);
    }
    let thread = thread::Builder::new().name("rib".to_owned()).spawn(move || {
        owner::RibOwner::new(rib, next_hops_in, of_reader).run(inbox);
    })?;
    let best = BestChanges { commands: commands.clone(), asked: None, _reader: reader };
    Ok((RibHandle { commands, next_hops }, best, thread))
}

impl RibHandle {
    /// This router originates the prefix. Idempotent.
    ///
    /// # Errors
    ///
    /// [`RibStopped`], as of every method here.
    pub async fn originate(&self, prefix: Prefix, attrs: Arc<Attrs>) -> Result<(), RibStopped> {
        self.send(Command::Originate(prefix, attrs)).await
    }

    /// It no longer does. Idempotent.
    ///
    /// # Errors
    ///
    /// [`RibStopped`].
    pub async fn withdraw(&self, prefix: Prefix) -> Result<(), RibStopped> {
        self.send(Command::Withdraw(prefix)).await
    }

    /// Whether and how a next hop can be reached.
    ///
    /// # Errors
    ///
    /// [`RibStopped`].
    pub async fn set_next_hop(
        &self,
        next_hop: NextHop,
        resolution: Resolution,
    ) -> Result<(), RibStopped> {
        self.send(Command::SetNextHop(next_hop, resolution)).await
    }

    /// New settings of the router itself, in force at once and without a session reset.
    ///
    /// # Errors
    ///
    /// [`RibStopped`].
    pub(crate) async fn configure(&self, config: RibConfig) -> Result<(), RibStopped> {
        self.send(Command::Configure(config)).await
    }

    /// Waits no longer for routes of any peer after a restart of ours.
    ///
    /// # Errors
    ///
    /// [`RibStopped`].
    pub(crate) async fn end_deferral(&self) -> Result<(), RibStopped> {
        self.send(Command::EndDeferral).await
    }

    /// Next hops whose resolution the RIB wants to be told by [`Self::set_next_hop`], and told
    /// again when it changes. Changes whenever that set does.
    #[must_use]
    pub fn next_hops(&self) -> watch::Receiver<BTreeSet<NextHop>> {
        self.next_hops.clone()
    }

    /// Every prefix with all its paths, in prefix order.
    ///
    /// # Errors
    ///
    /// [`RibStopped`].
    pub async fn routes(&self) -> Result<Vec<(Prefix, Vec<PathView>)>, RibStopped> {
        self.look(|rib| rib.routes().collect()).await
    }

    /// A peer's Adj-RIB-In.
    ///
    /// # Errors
    ///
    /// [`RibStopped`].
    pub async fn received(&self, peer: PeerId) -> Result<Vec<(Prefix, PathView)>, RibStopped> {
        self.look(move |rib| rib.received(peer)).await
    }

    /// A peer's Adj-RIB-Out, with what is kept from it and why.
    ///
    /// # Errors
    ///
    /// [`RibStopped`].
    pub async fn advertised(&self, peer: PeerId) -> Result<Vec<ToldView>, RibStopped> {
        self.look(move |rib| rib.advertised(peer)).await
    }

    /// Why traffic to a prefix goes where it goes, and what peers (or one) are told of it.
    ///
    /// # Errors
    ///
    /// [`RibStopped`].
    pub async fn why(&self, prefix: Prefix, to: Option<PeerId>) -> Result<Option<Why>, RibStopped> {
        self.look(move |rib| rib.why(prefix, to)).await
    }

    /// Routes that each of these peers accounts for, by family in the order of [`Family::ALL`].
    ///
    /// # Errors
    ///
    /// [`RibStopped`].
    pub async fn peer_counts(
        &self,
        peers: Vec<PeerId>,
    ) -> Result<Vec<[PeerCounts; Family::ALL.len()]>, RibStopped> {
        self.look(move |rib| {
            let counts = |peer| Family::ALL.map(|family| rib.peer_counts(peer, family));
            peers.into_iter().map(counts).collect()
        })
        .await
    }

    /// Prefixes in the Loc-RIB, by family in the order of [`Family::ALL`].
    ///
    /// # Errors
    ///
    /// [`RibStopped`].
    pub async fn best_counts(&self) -> Result<[usize; Family::ALL.len()], RibStopped> {
        self.look(|rib| Family::ALL.map(|family| rib.best_count(family))).await
    }

    /// What became of what each of these peers has announced in its session.
    ///
    /// # Errors
    ///
    /// [`RibStopped`].
    pub async fn import_counts(&self, peers: Vec<PeerId>) -> Result<Vec<ImportCounts>, RibStopped> {
        self.look(move |rib| peers.into_iter().map(|peer| rib.import_counts(peer)).collect()).await
    }

    /// Is everything that peers are told marked with GRACEFUL_SHUTDOWN?
    ///
    /// # Errors
    ///
    /// [`RibStopped`].
    pub async fn is_drained(&self) -> Result<bool, RibStopped> {
        self.look(Rib::is_drained).await
    }

    /// Those of the peers that are still to be told something.
    ///
    /// # Errors
    ///
    /// [`RibStopped`].
    pub async fn owed(&self, mut peers: Vec<PeerId>) -> Result<Vec<PeerId>, RibStopped> {
        self.look(move |rib| {
            peers.retain(|peer| rib.owes(*peer));
            peers
        })
        .await
    }

    /// How much it holds.
    ///
    /// # Errors
    ///
    /// [`RibStopped`].
    pub async fn sizes(&self) -> Result<RibSizes, RibStopped> {
        self.look(Rib::sizes).await
    }

    /// Commands that wait for the thread at this moment.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.commands.max_capacity() - self.commands.capacity()
    }

    /// For a peer's task, which must not wait: hands over what fits at once.
    pub(crate) fn try_send(&self, command: Command) -> Result<(), Refused> {
        self.commands.try_send(command).map_err(|error| match error {
            mpsc::error::TrySendError::Full(command) => Refused::Full(command),
            mpsc::error::TrySendError::Closed(_) => Refused::Stopped,
        })
    }

    /// Waits for room for one command. May be dropped at any point.
    pub(crate) async fn reserve(&self) -> Result<mpsc::Permit<'_, Command>, RibStopped> {
        self.commands.reserve().await.map_err(|_| RibStopped)
    }

    /// Ends the thread once what was sent before is done.
    pub(crate) async fn stop(&self) {
        // An error means that it has ended already.
        let _ = self.send(Command::Stop).await;
    }

    /// A way that leads to no RIB but to whoever has the receiver.
    #[cfg(test)]
    pub(crate) fn without_thread() -> (Self, mpsc::Receiver<Command>) {
        let (commands, inbox) = mpsc::channel(COMMAND_QUEUE);
        let (_, next_hops) = watch::channel(BTreeSet::new());
        (Self { commands, next_hops }, inbox)
    }

    async fn send(&self, command: Command) -> Result<(), RibStopped> {
        self.commands.send(command).await.map_err(|_| RibStopped)
    }

    async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Rib) -> T + Send + 'static,
    ) -> Result<T, RibStopped> {
        let (answer, answered) = oneshot::channel();
        let look = Box::new(move |rib: &Rib| {
            // Who asked may have gone.
            let _ = answer.send(look(rib));
        });
        self.send(Command::Look(look)).await?;
        answered.await.map_err(|_| RibStopped)
    }
}

/// Why a command was not taken at once.
pub(crate) enum Refused {
    /// No room; the command comes back.
    Full(Command),
    /// The thread has ended.
    Stopped,
}

impl BestChanges {
    /// The next changes, at most `budget`; waits until there are some. May be dropped at any
    /// point without losing a change.
    ///
    /// # Errors
    ///
    /// [`RibStopped`].
    pub async fn next(&mut self, budget: usize) -> Result<Vec<BestChange>, RibStopped> {
        if self.asked.is_none() {
            let room = self.commands.reserve().await.map_err(|_| RibStopped)?;
            let (answer, asked) = oneshot::channel();
            room.send(Command::PullBest { budget, answer });
            self.asked = Some(asked);
        }
        let asked = self.asked.as_mut().expect("set above");
        let changes = asked.await;
        self.asked = None;
        changes.map_err(|_| RibStopped)
    }
}

/// Commands that may wait for the thread. Those with UPDATEs are the largest: one of 4 KiB on the
/// wire is some 100 KiB taken apart (prefixes of one octet), and a peer's task gathers no more than
/// some hundred KiB besides, so this bounds them to some 50 MiB even when peers do their worst, and
/// lets the thread always find a full batch under load.
const COMMAND_QUEUE: usize = 128;

#[cfg(test)]
mod tests;
