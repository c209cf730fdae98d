//! The RIB with its own thread, and the handle by which everybody else reaches it.
//!
//! In: commands in bounded lanes, each peer's in the order of its session. Out: what each
//! peer must be told and what the kernel must hold, both only when their readers ask for more,
//! and the next hops whose reachability the RIB wants to know.
//!
//! The thread never waits for a socket, for netlink, or for a reader: it takes a batch of
//! commands, then answers those who wait. While it has nothing to do, whoever brings a command that
//! is soon done does it on the spot: to wake a thread takes longer. Those whom that concerns are
//! answered once everybody who is to be served in the same turn of the event loop has had a say
//! ([`RibHandle::attend`]), so that many who speak at once are heard at once. Encodes nothing.

use std::{
    collections::BTreeSet,
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, TryLockError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use bgp::{
    attrs::{Attrs, NextHop},
    family::Family,
    prefix::Prefix,
    rib::{
        BestChange, ImportCounts, PathView, PeerCounts, PeerId, Resolution, Rib, RibConfig,
        RibSizes, ToldView, Why,
    },
};
use tokio::sync::{Notify, oneshot, watch};

mod command;
mod lanes;
mod owner;
mod reports;

pub(crate) use command::{Command, LimitsReached, PeerEvent, prefixes_in};
pub use reports::{Reports, SessionCounts};

use lanes::{Lanes, Room};
use owner::RibOwner;

/// The way to the RIB; cheap to clone.
///
/// Every method waits only for room in the command channel and for the answer, if there is one.
#[derive(Clone)]
pub struct RibHandle {
    way: Arc<Way>,
    next_hops: watch::Receiver<BTreeSet<NextHop>>,
}

/// What all handles share. Once they are gone the thread ends.
struct Way(Arc<Shared>);

struct Shared {
    lanes: Lanes,
    /// Held by whoever does something with it; `None` once the thread has ended.
    owner: Mutex<Option<RibOwner>>,
    /// Somebody is to be answered in this turn of the event loop.
    owing: Notify,
    /// There is one who does so.
    attended: AtomicBool,
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
    way: Arc<Way>,
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
    let (next_hops_in, next_hops) = watch::channel(BTreeSet::new());
    let reader = Arc::new(());
    let of_reader = Arc::downgrade(&reader);
    let Beginning { config, originated, deferred_for } = beginning;
    let mut rib = Rib::new(config);
    rib.defer_for(deferred_for);
    for (prefix, attrs) in originated {
        rib.originate(prefix, attrs);
    }
    let owner = RibOwner::new(rib, next_hops_in, of_reader);
    let shared = Arc::new(Shared::new(Some(owner)));
    let of_thread = Arc::clone(&shared);
    let thread = thread::Builder::new().name("rib".to_owned()).spawn(move || of_thread.run())?;
    let way = Arc::new(Way(shared));
    let best = BestChanges { way: Arc::clone(&way), asked: None, _reader: reader };
    Ok((RibHandle { way, next_hops }, best, thread))
}

impl Shared {
    fn new(owner: Option<RibOwner>) -> Self {
        Self {
            lanes: Lanes::new(),
            owner: Mutex::new(owner),
            owing: Notify::new(),
            attended: AtomicBool::new(false),
        }
    }

    /// The RIB, if nobody does anything with it.
    fn idle(&self) -> Option<MutexGuard<'_, Option<RibOwner>>> {
        match self.owner.try_lock() {
            Ok(owner) => Some(owner),
            Err(TryLockError::Poisoned(owner)) => Some(owner.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// The thread: does what is brought until told to stop or until every handle is dropped.
    fn run(&self) {
        while self.lanes.wait() {
            let mut owner = self.owner.lock().unwrap_or_else(PoisonError::into_inner);
            if owner.as_mut().is_none_or(|owner| owner.work(&self.lanes).is_break()) {
                break;
            }
        }
        self.lanes.close();
        // Who waits for news hears that there will be none.
        *self.owner.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Does the command at once if that is soon done and the thread has nothing to do; else puts it
    /// into its lane, if that has room.
    fn hand_in(&self, command: Command) -> Result<(), Refused> {
        if !command.is_prompt() {
            return self.lanes.put(command);
        }
        // The thread takes nothing from the lanes without the lock, so that nothing is under way.
        let mut owner = self.idle().filter(|_| self.lanes.len() == 0);
        let Some(rib) = owner.as_mut().and_then(|owner| owner.as_mut()) else {
            return self.lanes.put(command);
        };
        rib.serve(command);
        let attended = self.attended.load(Ordering::Relaxed);
        let unfinished = !attended && rib.settle();
        // Before the one who answers is woken: if he found it taken, nobody would.
        drop(owner);
        if attended {
            self.owing.notify_one();
        } else if unfinished {
            self.lanes.stir();
        }
        Ok(())
    }

    /// Answers those whom commands concern that were done on the spot. If the thread has begun to
    /// work, it does so.
    fn settle(&self) {
        let mut owner = self.idle();
        if let Some(owner) = owner.as_mut().and_then(|owner| owner.as_mut())
            && owner.settle()
        {
            self.lanes.stir();
        }
    }

    /// The same for the one who reads the Loc-RIB's changes.
    fn ask(&self, command: Command) -> Result<(), RibStopped> {
        // Prompt commands that are no UPDATEs find room always.
        self.hand_in(command).map_err(|_| RibStopped)
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        self.0.lanes.abandon();
    }
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
        self.way.0.lanes.len()
    }

    /// For a peer's task, which must not wait: hands over what can be at once.
    pub(crate) fn try_send(&self, command: Command) -> Result<(), Refused> {
        self.way.0.hand_in(command)
    }

    /// On the event loop that serves the peers: answers them, once in each of its turns. Whoever is
    /// ready there has its say before this has its turn, since tasks run in the order in which they
    /// are woken. Never ends.
    pub(crate) async fn attend(self) {
        let shared = &self.way.0;
        shared.attended.store(true, Ordering::Relaxed);
        loop {
            shared.owing.notified().await;
            shared.settle();
        }
    }

    /// Waits for room for one command. May be dropped at any point.
    pub(crate) async fn reserve(&self) -> Result<Room<'_>, RibStopped> {
        self.way.0.lanes.reserve().await
    }

    /// Ends the thread once what was sent before is done.
    pub(crate) async fn stop(&self) {
        // An error means that it has ended already.
        let _ = self.send(Command::Stop).await;
    }

    /// A way that leads to no RIB but to whoever has the other end.
    #[cfg(test)]
    pub(crate) fn without_thread() -> (Self, impl FnMut() -> Option<Command>) {
        let shared = Arc::new(Shared::new(None));
        let (_, next_hops) = watch::channel(BTreeSet::new());
        let handle = Self { way: Arc::new(Way(Arc::clone(&shared))), next_hops };
        (handle, move || shared.lanes.take().map(|taken| taken.command))
    }

    async fn send(&self, command: Command) -> Result<(), RibStopped> {
        self.reserve().await?.send(command);
        Ok(())
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
            let (answer, asked) = oneshot::channel();
            self.way.0.ask(Command::PullBest { budget, answer })?;
            self.asked = Some(asked);
        }
        let asked = self.asked.as_mut().expect("set above");
        let changes = asked.await;
        self.asked = None;
        changes.map_err(|_| RibStopped)
    }
}

#[cfg(test)]
mod tests;
