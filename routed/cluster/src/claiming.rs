//! The node's claims at the API server and on disk.
//!
//! In: which pools the node may claim from, how much of its blocks is used, what the API server says.
//! Out: the blocks that addresses may be given from, those that may be announced, and those that are to
//! be let go. [`Claims`] decides; this task asks the API server, writes to the disk, and decides nothing.
//!
//! A claim is the node's by the node's name: a machine that joins again under its name goes on with what
//! it has, and two machines of one name Kubernetes does not have either. `nodeUID` says which of them
//! made the claim. A claim has no owner reference: Kubernetes would delete it at once with the Node
//! object, while the machine and its pods may well be there still.

mod api;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use bgp::prefix::Prefix;
use kube::Client;
use routed_core::claims::{Claims, Command, Event, Pool, Saved, Trouble};
use tokio::{
    sync::{mpsc, watch},
    task::{JoinError, JoinSet},
    time::sleep_until,
};

use self::api::{Api, Claim, RawClaim};
use crate::{
    Block, Failure, Store,
    watch::{Follower, News, Pace},
};

/// What the node has of the cluster's pools.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Blocks {
    /// Addresses may be given from these.
    pub leasable: Vec<Block>,
    /// These may be announced.
    pub announced: Vec<Block>,
    /// These are to be let go: once no address is given from them and they are not announced any more,
    /// [`ClaimsHandle::withdrawn`], or [`ClaimsHandle::kept`] if a pod has an address of one.
    pub leaving: BTreeSet<Prefix>,
    /// Another node has these, and pods here have addresses of them, which are announced by themselves.
    pub lost: Vec<Block>,
    /// Pools without a free block.
    pub exhausted: BTreeSet<String>,
    /// What failed last, and when, unless something has succeeded since.
    pub error: Option<(String, Instant)>,
}

/// The way to the claims. Cheap to clone; when the last one is gone, the task ends.
#[derive(Clone, Debug)]
pub struct ClaimsHandle {
    asks: mpsc::Sender<Ask>,
    blocks: watch::Receiver<Blocks>,
}

#[derive(Debug)]
enum Ask {
    Pools(Vec<Pool>, Option<String>),
    Event(Event),
}

impl ClaimsHandle {
    /// Begins with the claims of the disk. The task ends with the last handle; if it is dropped, what it has
    /// asked of the API server may be carried out, and the next run finds it there.
    pub fn start(
        client: Client,
        node: &str,
        store: Store,
    ) -> (Self, impl Future<Output = ()> + Send + use<>) {
        let (asks, asked) = mpsc::channel(QUEUE);
        let claims = Claims::new(node, store.claims());
        let blocks = watch::Sender::new(Blocks::default());
        let handle = Self { asks, blocks: blocks.subscribe() };
        let mut driver = Driver {
            claims,
            api: Api::new(client, node),
            store,
            pools: Vec::new(),
            node_uid: None,
            known: BTreeMap::new(),
            leaving: BTreeSet::new(),
            error: None,
            deeds: JoinSet::new(),
            is_storing: false,
            to_store: None,
            listing: Listing::Idle,
            pace: Pace::new(),
            blocks,
        };
        driver.publish();
        (handle, driver.run(asked))
    }

    /// What the node has, always current.
    #[must_use]
    pub fn blocks(&self) -> watch::Receiver<Blocks> {
        self.blocks.clone()
    }

    /// Tells which pools the node may claim from, and its `metadata.uid`, if it is known.
    pub async fn pools(&self, pools: Vec<Pool>, node_uid: Option<String>) {
        self.ask(Ask::Pools(pools, node_uid)).await;
    }

    /// Tells how many addresses of each block are leased or cool down.
    pub async fn used(&self, used: BTreeMap<Prefix, u128>) {
        self.ask(Ask::Event(Event::Used(used))).await;
    }

    /// No address is given from this block any more, none is leased, and it is not announced.
    pub async fn withdrawn(&self, block: Prefix) {
        self.ask(Ask::Event(Event::Withdrawn(block))).await;
    }

    /// A pod has an address of this block.
    pub async fn kept(&self, block: Prefix) {
        self.ask(Ask::Event(Event::Kept(block))).await;
    }

    /// If the task has ended, the daemon is stopping.
    async fn ask(&self, ask: Ask) {
        let _ = self.asks.send(ask).await;
    }
}

struct Driver {
    claims: Claims,
    api: Api,
    store: Store,
    pools: Vec<Pool>,
    node_uid: Option<String>,
    /// `metadata.uid` of the claims that the API server has of this node, by block.
    known: BTreeMap<Prefix, String>,
    /// Blocks whose users are asked to let them go.
    leaving: BTreeSet<Prefix>,
    error: Option<(String, Instant)>,
    /// What is under way.
    deeds: JoinSet<Done>,
    is_storing: bool,
    to_store: Option<(u64, Vec<Saved>)>,
    listing: Listing,
    pace: Pace,
    blocks: watch::Sender<Blocks>,
}

/// Of the node's own claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Listing {
    Idle,
    /// Asked for then.
    Due(Instant),
    UnderWay {
        again: bool,
    },
}

/// What was done.
enum Done {
    /// The API server has answered a request of the claims.
    Asked(Event, Option<Failure>),
    /// The node's own claims.
    Own(Instant, Result<Vec<Claim>, Failure>),
    Stored(Event),
}

impl Driver {
    async fn run(mut self, mut asked: mpsc::Receiver<Ask>) {
        let (queue, mut own) = mpsc::channel(QUEUE);
        let follower = Follower::<RawClaim, _, _>::new(
            self.api.client(),
            self.api.own(),
            false,
            queue,
            |news| news,
        );
        let mut follower = JoinSet::from_iter([follower.run()]);
        loop {
            let due = self.due();
            tokio::select! {
                ask = asked.recv() => match ask {
                    None => break,
                    Some(Ask::Event(event)) => self.handle(event),
                    Some(Ask::Pools(pools, node_uid)) => {
                        self.node_uid = node_uid;
                        self.pools.clone_from(&pools);
                        self.handle(Event::Pools(pools));
                    }
                },
                Some(news) = own.recv() => self.hear(news),
                Some(done) = self.deeds.join_next() => self.done(done),
                () = sleep_until(due.unwrap_or_else(far).into()), if due.is_some() => self.tick(),
            }
            self.publish();
        }
        follower.shutdown().await;
    }

    fn due(&self) -> Option<Instant> {
        let listing = if let Listing::Due(at) = self.listing { Some(at) } else { None };
        self.claims.poll_timeout().into_iter().chain(listing).min()
    }

    fn tick(&mut self) {
        if matches!(self.listing, Listing::Due(at) if at <= Instant::now()) {
            self.list_own();
        }
        self.handle(Event::Tick);
    }

    /// The watch of the node's claims says that something is other than expected: then they are listed,
    /// since only a listing says what there is at one time.
    fn hear(&mut self, news: News<Claim>) {
        match news {
            News::Listed { asked, all } => {
                let claims = all.into_values().collect();
                self.own(asked.into_std(), claims);
            }
            News::Applied(_, claim) => {
                if claim.block.is_some_and(|block| self.known.get(&block) != Some(&claim.uid)) {
                    self.list_own();
                }
            }
            News::Gone(name) => {
                if self.known.keys().any(|block| api::name_of(*block) == name) {
                    self.list_own();
                }
            }
            News::Connected => {}
            News::Failing(failure) => self.failed(failure),
        }
    }

    fn list_own(&mut self) {
        if let Listing::UnderWay { again } = &mut self.listing {
            *again = true;
            return;
        }
        self.listing = Listing::UnderWay { again: false };
        let (api, asked) = (self.api.clone(), Instant::now());
        self.deeds.spawn(async move { Done::Own(asked, api.list_own().await) });
    }

    fn own(&mut self, asked: Instant, claims: Vec<Claim>) {
        let saved: Vec<_> = claims.into_iter().filter_map(Claim::saved).collect();
        self.known = saved.iter().map(|claim| (claim.block, claim.uid.clone())).collect();
        self.handle(Event::Own { asked, claims: saved });
    }

    fn done(&mut self, done: Result<Done, JoinError>) {
        match done {
            Ok(Done::Asked(event, failure)) => {
                match failure {
                    Some(failure) => self.failed(failure),
                    None => self.error = None,
                }
                match &event {
                    Event::Created { block, uid } | Event::Exists { block, ours: Some(uid) } => {
                        self.known.insert(*block, uid.clone());
                    }
                    Event::Deleted(block) => drop(self.known.remove(block)),
                    _ => {}
                }
                self.handle(event);
            }
            Ok(Done::Own(asked, outcome)) => {
                let again = self.listing == Listing::UnderWay { again: true };
                self.listing = Listing::Idle;
                match outcome {
                    Ok(claims) => {
                        self.pace.succeeded();
                        self.own(asked, claims);
                        if again {
                            self.list_own();
                        }
                    }
                    Err(failure) => {
                        let wait = self.pace.failed(failure.wait);
                        self.listing = Listing::Due(Instant::now() + wait);
                        self.failed(failure);
                    }
                }
            }
            Ok(Done::Stored(event)) => {
                self.is_storing = false;
                self.handle(event);
                self.write();
            }
            Err(error) => {
                tracing::error!(%error, "a request for claims has ended; please report it");
            }
        }
    }

    fn failed(&mut self, failure: Failure) {
        tracing::debug!(error = %failure, "claims");
        self.error = Some((failure.text, Instant::now()));
    }

    fn handle(&mut self, event: Event) {
        if let Event::Withdrawn(block) | Event::Kept(block) = &event {
            self.leaving.remove(block);
        }
        self.claims.handle(event, Instant::now());
        while let Some(command) = self.claims.poll_command() {
            self.carry_out(command);
        }
    }

    fn carry_out(&mut self, command: Command) {
        let api = self.api.clone();
        match command {
            Command::Create { block, pool } => {
                let uid = self.node_uid.clone();
                self.ask(async move { api.create(block, &pool, uid).await });
            }
            Command::List { pool, scope } => {
                let range = self.pools.iter().find(|known| known.name == pool);
                let range = range.map(|pool| (pool.cidr, pool.block));
                self.ask(async move { api.list(pool, range, scope).await });
            }
            Command::Delete { block, uid } => {
                self.ask(async move { api.delete(block, uid).await });
            }
            Command::Withdraw(block) => drop(self.leaving.insert(block)),
            Command::Store { generation, claims } => {
                self.to_store = Some((generation, claims));
                self.write();
            }
        }
    }

    fn ask(&mut self, asked: impl Future<Output = (Event, Option<Failure>)> + Send + 'static) {
        self.deeds.spawn(async move {
            let (event, failure) = asked.await;
            Done::Asked(event, failure)
        });
    }

    /// One at a time, and of several that wait only the newest.
    fn write(&mut self) {
        if self.is_storing {
            return;
        }
        let Some((generation, claims)) = self.to_store.take() else { return };
        self.is_storing = true;
        let store = self.store.clone();
        self.deeds.spawn_blocking(move || {
            Done::Stored(match store.keep_claims(&claims) {
                Ok(()) => Event::Stored(generation),
                Err(error) => {
                    let folder = store.folder().display();
                    tracing::error!(%error, "claims cannot be kept in {folder}; no new block is used");
                    Event::StoreFailed(generation)
                }
            })
        });
    }

    fn publish(&mut self) {
        let block = |(prefix, pool): (Prefix, &str)| Block { prefix, pool: pool.to_owned() };
        let exhausted = self.claims.troubles().filter_map(|trouble| match trouble {
            Trouble::Exhausted { pool } => Some(pool),
            Trouble::Lost { .. } => None,
        });
        let now = Blocks {
            leasable: self.claims.leasable().map(block).collect(),
            announced: self.claims.announced().map(block).collect(),
            leaving: self.leaving.clone(),
            lost: self.claims.lost().map(block).collect(),
            exhausted: exhausted.collect(),
            error: self.error.clone(),
        };
        self.blocks.send_if_modified(|before| {
            tell(before, &now);
            let differs = *before != now;
            *before = now;
            differs
        });
    }
}

/// What an operator would want to know.
fn tell(before: &Blocks, now: &Blocks) {
    for Block { prefix, pool } in &now.leasable {
        if !before.leasable.iter().any(|block| block.prefix == *prefix) {
            tracing::info!(%prefix, pool, "block claimed");
        }
    }
    for Block { prefix, pool } in &before.leasable {
        if !now.leasable.iter().any(|block| block.prefix == *prefix) {
            tracing::info!(%prefix, pool, "block not used for new pods any more");
        }
    }
    for pool in now.exhausted.difference(&before.exhausted) {
        tracing::warn!(pool, "every block of the pool is claimed; add another IPPool");
    }
    for Block { prefix, .. } in now.lost.iter().filter(|block| !before.lost.contains(block)) {
        tracing::error!(
            %prefix,
            "another node has this block, and pods here use it; they stay reachable, each by a route of its \
             own, but the other node may give their addresses again: delete those pods"
        );
    }
}

fn far() -> Instant {
    Instant::now() + Duration::from_secs(3600)
}

/// Each asker waits until there is room.
const QUEUE: usize = 64;
