//! What is known of one block, and of one pool in which a free one is looked for.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use bgp::prefix::Prefix;

use super::{COLLISIONS, EXHAUSTED_FOR, Scope};
use crate::ipam::last;

/// Wait after the first failure; doubled with each further one.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// Longest wait: an API server that comes back should not wait longer for us.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// One block.
#[derive(Clone, Debug)]
pub(super) struct Block {
    pub(super) pool: String,
    pub(super) state: State,
    /// `metadata.uid` of the claim, once it is known.
    pub(super) uid: Option<String>,
    /// Addresses in use at the last observation.
    used: u128,
    /// The first of the observations at which it has been empty since.
    empty_since: Option<Instant>,
    /// How many those are.
    observations: u32,
}

/// How it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// The claim is asked for.
    Claiming(Retry),
    /// It is ours, since then in this run; in use once it is on disk.
    Held { since: Option<Instant>, stored: bool },
    /// The claim has vanished and is asked for again.
    Reclaiming(Retry),
    /// Its users are asked to let it go.
    Retiring,
    /// It is to go off the disk, with this generation or a later one.
    Forgetting(u64),
    /// The claim is being deleted.
    Deleting(Retry),
    /// Another node has it, and pods here use it.
    Lost,
}

impl Block {
    pub(super) const fn new(pool: String, state: State, uid: Option<String>) -> Self {
        Self { pool, state, uid, used: 0, empty_since: None, observations: 0 }
    }

    pub(super) const fn is_leasable(&self) -> bool {
        matches!(self.state, State::Held { stored: true, .. })
    }

    /// One that waits to be let go is announced until it is.
    pub(super) const fn is_announced(&self) -> bool {
        match self.state {
            State::Held { stored, .. } => stored,
            State::Reclaiming(_) | State::Retiring => true,
            State::Claiming(_) | State::Forgetting(_) | State::Deleting(_) | State::Lost => false,
        }
    }

    /// One whose claim has vanished or is lost stays on disk: its pods are there after a restart too.
    pub(super) const fn is_to_be_stored(&self) -> bool {
        match self.state {
            State::Held { .. } | State::Reclaiming(_) | State::Retiring | State::Lost => true,
            State::Claiming(_) | State::Forgetting(_) | State::Deleting(_) => false,
        }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// Empty, and ours or about to be.
    pub(super) const fn is_spare(&self) -> bool {
        self.is_empty() && matches!(self.state, State::Held { .. } | State::Claiming(_))
    }

    /// Since when it has been empty, if more than one observation says so.
    pub(super) const fn long_empty_since(&self) -> Option<Instant> {
        if self.is_leasable() && self.observations > 1 { self.empty_since } else { None }
    }

    pub(super) fn observe(&mut self, used: u128, now: Instant) {
        self.used = used;
        if used > 0 {
            self.in_use();
        } else {
            self.observations = self.observations.saturating_add(1);
            if self.empty_since.is_none() {
                self.empty_since = Some(now);
            }
        }
    }

    /// Whatever was observed, it is not empty.
    pub(super) fn in_use(&mut self) {
        self.used = self.used.max(1);
        self.empty_since = None;
        self.observations = 0;
    }

    pub(super) const fn retry(&self) -> Option<&Retry> {
        match &self.state {
            State::Claiming(retry) | State::Reclaiming(retry) | State::Deleting(retry) => {
                Some(retry)
            }
            State::Held { .. } | State::Retiring | State::Forgetting(_) | State::Lost => None,
        }
    }

    pub(super) const fn retry_mut(&mut self) -> Option<&mut Retry> {
        match &mut self.state {
            State::Claiming(retry) | State::Reclaiming(retry) | State::Deleting(retry) => {
                Some(retry)
            }
            State::Held { .. } | State::Retiring | State::Forgetting(_) | State::Lost => None,
        }
    }
}

/// A request that is repeated until it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Retry {
    failures: u32,
    /// `None`: it is under way.
    at: Option<Instant>,
}

impl Retry {
    pub(super) const fn now(now: Instant) -> Self {
        Self { failures: 0, at: Some(now) }
    }

    pub(super) const fn due(&self) -> Option<Instant> {
        self.at
    }

    /// True if it is to be sent now; then it is under way.
    pub(super) fn start(&mut self, now: Instant) -> bool {
        let is_due = self.at.is_some_and(|at| at <= now);
        if is_due {
            self.at = None;
        }
        is_due
    }

    /// It is sent again after a while: twice as long each time, and longer by up to a quarter, since
    /// all nodes see the API server fail at the same moment.
    pub(super) fn failed(&mut self, now: Instant, spread: u64) {
        let wait = FIRST_WAIT.saturating_mul(1 << self.failures.min(6)).min(LONGEST_WAIT);
        let part = u32::try_from(spread.wrapping_add(self.failures.into()) & 0xff).unwrap_or(0);
        self.failures = self.failures.saturating_add(1);
        self.at = Some(now + wait + wait * part / 1024);
    }
}

/// The search for a free block of a pool.
///
/// Mostly a node finds one at the first attempt, since each tries them in an order of its own. So what
/// costs much, to list every claim of the cluster, is done only where claims met others' time and again.
#[derive(Clone, Debug, Default)]
pub(super) struct Search {
    /// Claimed blocks, once some were listed; none overlaps another.
    occupied: Option<BTreeSet<Prefix>>,
    /// Whether these are all.
    is_complete: bool,
    /// Blocks that other nodes were found to have.
    met: BTreeSet<Prefix>,
    collisions: u32,
    /// The listing that is asked for, or asked again.
    listing: Option<Retry>,
    exhausted: bool,
    /// How often in a row nothing was found.
    fruitless: u32,
}

impl Search {
    /// What must be listed before the next claim.
    pub(super) const fn must_list(&self) -> Option<Scope> {
        if self.collisions >= COLLISIONS || self.exhausted {
            Some(Scope::All)
        } else if self.occupied.is_none() {
            Some(Scope::OtherSizes)
        } else {
            None
        }
    }

    pub(super) fn start_listing(&mut self, now: Instant) -> bool {
        self.listing.get_or_insert(Retry::now(now)).start(now)
    }

    pub(super) fn is_listing(&self) -> bool {
        self.listing.is_some_and(|listing| listing.due().is_none())
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.listing.and_then(|listing| listing.due())
    }

    pub(super) fn listed(&mut self, scope: Scope, blocks: BTreeSet<Prefix>) {
        *self = Self {
            occupied: Some(blocks),
            is_complete: scope == Scope::All,
            fruitless: self.fruitless,
            ..Self::default()
        };
    }

    pub(super) fn failed(&mut self, now: Instant, spread: u64) {
        self.listing.get_or_insert(Retry::now(now)).failed(now, spread);
    }

    pub(super) fn collided(&mut self, block: Prefix) {
        self.collisions += 1;
        self.met.insert(block);
    }

    /// Nothing is free as far as it is known: if that is all there is, it is looked at again after a while,
    /// which grows, since all nodes are in the same need; else it is looked at now.
    pub(super) fn found_nothing(&mut self, now: Instant, spread: u64) {
        self.exhausted = self.is_complete;
        self.collisions = COLLISIONS;
        if self.exhausted {
            let wait = EXHAUSTED_FOR * (1 << self.fruitless.min(5));
            let part = u32::try_from(spread & 0xff).unwrap_or(0);
            self.fruitless = self.fruitless.saturating_add(1);
            self.listing = Some(Retry { failures: 0, at: Some(now + wait + wait * part / 1024) });
        }
    }

    pub(super) const fn is_exhausted(&self) -> bool {
        self.exhausted
    }

    /// Nothing is looked for any more. What other nodes have is not kept, since it ages, but for the few
    /// blocks of another size than the pool's, which its nodes claim no more of, and some that cost a
    /// request to find out.
    pub(super) fn satisfied(&mut self, size: u8) {
        if self.is_listing() {
            return;
        }
        let mut occupied = self.occupied.take();
        if let Some(occupied) = &mut occupied {
            occupied.retain(|block| block.len() != size);
        }
        let mut met = std::mem::take(&mut self.met);
        while met.len() > MET {
            met.pop_first();
        }
        *self = Self { occupied, met, ..Self::default() };
    }

    /// The pool is another one now.
    pub(super) fn forget(&mut self) {
        *self = Self { listing: self.listing, ..Self::default() };
    }

    /// Does any claimed block share an address with this one?
    pub(super) fn is_occupied(&self, block: Prefix) -> bool {
        let shares = |blocks: &BTreeSet<Prefix>| {
            let around = blocks.range(..=block).next_back();
            let inside = blocks.range(block..=Prefix::host(last(block))).next();
            around
                .into_iter()
                .chain(inside)
                .any(|other| other.covers(block) || block.covers(*other))
        };
        shares(&self.met) || self.occupied.as_ref().is_some_and(shares)
    }
}

/// Blocks of other nodes that are remembered from one claim to the next.
const MET: usize = 64;
