//! Claims of blocks: which blocks of the cluster's pools are this node's.
//!
//! In: the pools that the node may claim from, what the API server answers, how much of each block is
//! used, and at start what was on disk. Out: [`Command`]s for the API server and the disk, and which
//! blocks addresses may be given from and which may be announced.
//!
//! A claim is an object whose name is the block's, so that the API server lets one node alone create
//! it. What keeps two nodes from ever using one block:
//!
//! * A block is used only once its claim is confirmed **and** on disk. A daemon that starts while the
//!   API server is down thus knows all its blocks.
//! * A block is given back in this order: nobody uses or announces it any more ([`Command::Withdraw`]),
//!   it is off the disk, and only then its claim is deleted.
//! * A request without an answer may have been carried out. It is asked again until there is an answer;
//!   creating what is ours already, or deleting what is gone, is one.
//! * A claim that has vanished is asked for again. Until then pods keep what they have, and no new one
//!   gets an address of it. If another node was faster, the block is lost: it is not announced any more,
//!   only the addresses that pods here still have.
//!
//! Blocks are claimed before they are needed (each pool has its spare ones), and given back when they
//! were empty and superfluous at two observations [`GIVE_BACK_AFTER`] apart. Nothing is ever concluded
//! from a listing that failed.

mod event;
mod order;
mod state;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::{Duration, Instant},
};

pub use self::{
    event::{Command, Event, Pool, Saved, Scope, Trouble},
    order::hash,
};
use self::{
    order::Order,
    state::{Block, Retry, Search, State},
};
use bgp::prefix::Prefix;

/// How long a block must have been empty and superfluous. Longer than a rolling update of everything
/// on a node takes.
pub const GIVE_BACK_AFTER: Duration = Duration::from_secs(600);
/// Claims that may meet another node's before the pool is listed anew. A listing costs the API server
/// as much as hundreds of them.
const COLLISIONS: u32 = 8;
/// How long a pool without a free block is left alone at first; in the end it is 32 times as long.
const EXHAUSTED_FOR: Duration = Duration::from_secs(30);

/// The node's claims.
#[derive(Clone, Debug)]
pub struct Claims {
    node: String,
    /// `None` until they are known: then nothing is claimed or given back.
    pools: Option<Vec<Pool>>,
    blocks: BTreeMap<Prefix, Block>,
    searches: BTreeMap<String, Search>,
    commands: VecDeque<Command>,
    /// Of the newest [`Command::Store`].
    generation: u64,
    /// When to try again to store what could not be.
    store_again: Option<Retry>,
}

impl Claims {
    /// What was on disk counts as confirmed: it was when it was written, and is off the disk before it
    /// ends.
    pub fn new(node: impl Into<String>, saved: impl IntoIterator<Item = Saved>) -> Self {
        let block = |saved: Saved| {
            let Saved { block, pool, uid, lost } = saved;
            let held = State::Held { since: None, stored: true };
            (block, Block::new(pool, if lost { State::Lost } else { held }, Some(uid)))
        };
        Self {
            node: node.into(),
            pools: None,
            blocks: saved.into_iter().map(block).collect(),
            searches: BTreeMap::new(),
            commands: VecDeque::new(),
            generation: 0,
            store_again: None,
        }
    }

    /// Takes in what has happened.
    pub fn handle(&mut self, event: Event, now: Instant) {
        match event {
            Event::Pools(pools) => self.know_pools(pools),
            Event::Own { asked, claims } => self.compare(asked, claims, now),
            Event::Used(used) => self.observe(&used, now),
            Event::Created { block, uid } => self.confirm(block, uid, now),
            Event::Exists { block, ours: Some(uid) } => self.confirm(block, uid, now),
            Event::Exists { block, ours: None } => self.refused(block),
            Event::CreateFailed(block) | Event::DeleteFailed(block) => self.again(block, now),
            Event::Occupied { pool, scope, blocks } => {
                self.searches.entry(pool).or_default().listed(scope, blocks);
            }
            Event::ListFailed(pool) => self.list_failed(pool, now),
            Event::Withdrawn(block) => self.withdrawn(block),
            Event::Kept(block) => self.kept(block),
            Event::Deleted(block) => self.deleted(block),
            Event::Stored(generation) => self.stored(generation, now),
            Event::StoreFailed(generation) => self.store_failed(generation, now),
            Event::Tick => {}
        }
        self.retry(now);
        self.plan(now);
    }

    /// The next thing to do; to be drained after every [`handle`](Self::handle).
    pub fn poll_command(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    /// When to call again with [`Event::Tick`]; earlier calls are harmless.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let blocks = self.blocks.values().filter_map(|block| block.retry().and_then(Retry::due));
        let searches = self.searches.values().filter_map(Search::due);
        let store = self.store_again.and_then(|retry| retry.due());
        blocks.chain(searches).chain(store).min()
    }

    /// Blocks that addresses may be given from, with their pools.
    pub fn leasable(&self) -> impl Iterator<Item = (Prefix, &str)> {
        let leasable = self.blocks.iter().filter(|(_, block)| block.is_leasable());
        leasable.map(|(prefix, block)| (*prefix, &*block.pool))
    }

    /// Blocks that may be announced, with their pools.
    pub fn announced(&self) -> impl Iterator<Item = (Prefix, &str)> {
        let announced = self.blocks.iter().filter(|(_, block)| block.is_announced());
        announced.map(|(prefix, block)| (*prefix, &*block.pool))
    }

    /// Blocks that another node has, and pods here have addresses of, with their pools.
    pub fn lost(&self) -> impl Iterator<Item = (Prefix, &str)> {
        let lost = self.blocks.iter().filter(|(_, block)| block.state == State::Lost);
        lost.map(|(prefix, block)| (*prefix, &*block.pool))
    }

    /// What a person should know.
    pub fn troubles(&self) -> impl Iterator<Item = Trouble> {
        let exhausted = self.searches.iter().filter(|(_, search)| search.is_exhausted());
        let exhausted = exhausted.map(|(pool, _)| Trouble::Exhausted { pool: pool.clone() });
        exhausted.chain(self.lost().map(|(block, _)| Trouble::Lost { block }))
    }

    fn know_pools(&mut self, pools: Vec<Pool>) {
        let known = self.pools.take().unwrap_or_default();
        // One that is new, or another under its old name, has to be looked at first.
        let is_as_before = |name: &str| {
            let find = |pools: &[Pool]| {
                let pool = pools.iter().find(|pool| pool.name == name);
                pool.map(|pool| (pool.cidr, pool.block))
            };
            find(&known).is_some_and(|before| find(&pools) == Some(before))
        };
        self.searches.retain(|name, search| is_as_before(name) || search.is_listing());
        for (name, search) in &mut self.searches {
            if !is_as_before(name) {
                search.forget();
            }
        }
        self.pools = Some(pools);
    }

    /// Every claim that the API server knows of this node, and those that it does not know.
    fn compare(&mut self, asked: Instant, claims: Vec<Saved>, now: Instant) {
        let listed: BTreeSet<_> = claims.iter().map(|claim| claim.block).collect();
        for Saved { block, pool, uid, .. } in claims {
            match self.blocks.get(&block).map(|block| &block.state) {
                // Made before a daemon of ours died, or by hand: its name says that it is ours.
                None => {
                    self.blocks
                        .insert(block, Block::new(pool, State::Claiming(Retry::now(now)), None));
                    self.confirm(block, uid, now);
                }
                Some(
                    State::Claiming(_) | State::Reclaiming(_) | State::Held { .. } | State::Lost,
                ) => self.confirm(block, uid, now),
                Some(State::Retiring | State::Forgetting(_) | State::Deleting(_)) => {}
            }
        }
        for (prefix, block) in &mut self.blocks {
            let State::Held { since, .. } = block.state else { continue };
            if !listed.contains(prefix) && since.is_none_or(|since| since < asked) {
                block.state = State::Reclaiming(Retry::now(now));
            }
        }
    }

    fn observe(&mut self, used: &BTreeMap<Prefix, u128>, now: Instant) {
        for (prefix, block) in &mut self.blocks {
            block.observe(used.get(prefix).copied().unwrap_or(0), now);
        }
        let lost = |block: &Block| block.state == State::Lost && block.is_empty();
        let ended: Vec<_> = self
            .blocks
            .iter()
            .filter(|(_, block)| lost(block))
            .map(|(prefix, _)| *prefix)
            .collect();
        for prefix in &ended {
            self.blocks.remove(prefix);
        }
        if !ended.is_empty() {
            self.store();
        }
    }

    /// The claim is ours. One that is being given back stays so.
    fn confirm(&mut self, prefix: Prefix, uid: String, now: Instant) {
        let Some(block) = self.blocks.get_mut(&prefix) else { return };
        let stored = match block.state {
            State::Held { stored, .. } => stored && block.uid.as_ref() == Some(&uid),
            State::Claiming(_) | State::Reclaiming(_) | State::Lost => false,
            State::Retiring | State::Forgetting(_) | State::Deleting(_) => return,
        };
        block.uid = Some(uid);
        let was_held = matches!(block.state, State::Held { .. });
        if was_held && stored {
            return;
        }
        block.state = State::Held { since: Some(now), stored: false };
        self.store();
    }

    /// Another node has it.
    fn refused(&mut self, prefix: Prefix) {
        let Some(block) = self.blocks.get_mut(&prefix) else { return };
        match block.state {
            State::Claiming(_) => {
                let search = self.searches.entry(block.pool.clone()).or_default();
                search.collided(prefix);
                self.blocks.remove(&prefix);
            }
            State::Reclaiming(_) => {
                block.state = State::Lost;
                self.store();
            }
            State::Held { .. }
            | State::Retiring
            | State::Forgetting(_)
            | State::Deleting(_)
            | State::Lost => {}
        }
    }

    fn again(&mut self, prefix: Prefix, now: Instant) {
        let spread = order::hash(&[&self.node, &prefix.to_string()]);
        if let Some(retry) = self.blocks.get_mut(&prefix).and_then(Block::retry_mut) {
            retry.failed(now, spread);
        }
    }

    fn list_failed(&mut self, pool: String, now: Instant) {
        let spread = order::hash(&[&self.node, &pool]);
        self.searches.entry(pool).or_default().failed(now, spread);
    }

    fn withdrawn(&mut self, prefix: Prefix) {
        let Some(block) = self.blocks.get_mut(&prefix) else { return };
        if block.state == State::Retiring {
            block.state = State::Forgetting(self.generation + 1);
            self.store();
        }
    }

    fn kept(&mut self, prefix: Prefix) {
        let Some(block) = self.blocks.get_mut(&prefix) else { return };
        if block.state == State::Retiring {
            block.state = State::Held { since: None, stored: true };
            block.in_use();
        }
    }

    fn deleted(&mut self, prefix: Prefix) {
        let is_it = |block: &Block| matches!(block.state, State::Deleting(_));
        if self.blocks.get(&prefix).is_some_and(is_it) {
            self.blocks.remove(&prefix);
        }
    }

    fn stored(&mut self, generation: u64, now: Instant) {
        if generation != self.generation {
            // A later one is under way, which has everything that this one had.
            return;
        }
        self.store_again = None;
        for block in self.blocks.values_mut() {
            match &mut block.state {
                State::Held { stored, .. } => *stored = true,
                State::Forgetting(since) if *since <= generation => {
                    block.state = State::Deleting(Retry::now(now));
                }
                State::Forgetting(_)
                | State::Claiming(_)
                | State::Reclaiming(_)
                | State::Retiring
                | State::Deleting(_)
                | State::Lost => {}
            }
        }
    }

    fn store_failed(&mut self, generation: u64, now: Instant) {
        if generation == self.generation {
            let spread = order::hash(&[&self.node]);
            self.store_again.get_or_insert(Retry::now(now)).failed(now, spread);
        }
    }

    fn store(&mut self) {
        self.generation += 1;
        let saved = self.blocks.iter().filter(|(_, block)| block.is_to_be_stored());
        let saved = saved.filter_map(|(prefix, block)| {
            let uid = block.uid.clone()?;
            let lost = block.state == State::Lost;
            Some(Saved { block: *prefix, pool: block.pool.clone(), uid, lost })
        });
        let (generation, claims) = (self.generation, saved.collect());
        // Only the newest counts; one that was not begun need not be.
        self.commands.retain(|command| !matches!(command, Command::Store { .. }));
        self.commands.push_back(Command::Store { generation, claims });
    }

    /// Asks again for what has waited long enough.
    fn retry(&mut self, now: Instant) {
        for (prefix, block) in &mut self.blocks {
            let (pool, uid) = (&block.pool, &block.uid);
            let command = match &block.state {
                State::Claiming(_) | State::Reclaiming(_) => {
                    Command::Create { block: *prefix, pool: pool.clone() }
                }
                State::Deleting(_) => {
                    Command::Delete { block: *prefix, uid: uid.clone().unwrap_or_default() }
                }
                State::Held { .. } | State::Retiring | State::Forgetting(_) | State::Lost => {
                    continue;
                }
            };
            if block.retry_mut().is_some_and(|retry| retry.start(now)) {
                self.commands.push_back(command);
            }
        }
        if self.store_again.as_mut().is_some_and(|retry| retry.start(now)) {
            self.store();
        }
    }

    /// Claims what is missing, and gives back what is too much.
    fn plan(&mut self, now: Instant) {
        let Some(pools) = self.pools.clone() else { return };
        for pool in &pools {
            let of_pool = || self.blocks.values().filter(|block| block.pool == pool.name);
            let is_claiming = of_pool().any(|block| matches!(block.state, State::Claiming(_)));
            let empty = of_pool().filter(|block| block.is_spare()).count();
            if empty < pool.spare && !is_claiming {
                self.claim(pool, now);
            } else if empty >= pool.spare
                && let Some(search) = self.searches.get_mut(&pool.name)
            {
                search.satisfied(pool.block);
            }
        }
        let spare =
            |name: &str| pools.iter().find(|pool| pool.name == name).map_or(0, |pool| pool.spare);
        let names: BTreeSet<_> = self.blocks.values().map(|block| block.pool.clone()).collect();
        for name in names {
            self.give_back(&name, spare(&name), now);
        }
    }

    fn claim(&mut self, pool: &Pool, now: Instant) {
        let search = self.searches.entry(pool.name.clone()).or_default();
        if let Some(scope) = search.must_list() {
            if search.start_listing(now) {
                self.commands.push_back(Command::List { pool: pool.name.clone(), scope });
            }
            return;
        }
        let order = Order::new(&self.node, pool);
        let is_free = |block: &Prefix| {
            !search.is_occupied(*block)
                && !self.blocks.keys().any(|own| own.covers(*block) || block.covers(*own))
        };
        match order.candidates().find(is_free) {
            Some(block) => {
                let mut retry = Retry::now(now);
                retry.start(now);
                let claim = Block::new(pool.name.clone(), State::Claiming(retry), None);
                self.blocks.insert(block, claim);
                self.commands.push_back(Command::Create { block, pool: pool.name.clone() });
            }
            None => {
                search.found_nothing(now, order::hash(&[&self.node, &pool.name]));
                if search.start_listing(now) {
                    let (pool, scope) = (pool.name.clone(), Scope::All);
                    self.commands.push_back(Command::List { pool, scope });
                }
            }
        }
    }

    /// At most one at a time, and the one that has been empty longest.
    fn give_back(&mut self, pool: &str, spare: usize, now: Instant) {
        let of_pool = || self.blocks.iter().filter(|(_, block)| block.pool == pool);
        let is_leaving = |block: &Block| {
            matches!(block.state, State::Retiring | State::Forgetting(_) | State::Deleting(_))
        };
        let empty = of_pool().filter(|(_, block)| block.is_spare()).count();
        if empty <= spare || of_pool().any(|(_, block)| is_leaving(block)) {
            return;
        }
        let old = of_pool().filter_map(|(prefix, block)| {
            let since = block.long_empty_since()?;
            (now.saturating_duration_since(since) >= GIVE_BACK_AFTER).then_some((since, *prefix))
        });
        let Some((_, prefix)) = old.min() else { return };
        if let Some(block) = self.blocks.get_mut(&prefix) {
            block.state = State::Retiring;
            self.commands.push_back(Command::Withdraw(prefix));
        }
    }
}

#[cfg(test)]
mod tests;
