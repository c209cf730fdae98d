//! The kernel's routes: which we want, which it has, and what to do about the difference.
//!
//! In: best paths, lost peers, this node's pod ranges, and what the kernel holds and reports. Out:
//! operations on routes and on the next-hop groups that they point at, and for the RIB which next hops
//! can be reached. Ours is exactly what has our protocol number ([`route::PROTO_FABRIC`]), in any table;
//! nothing else is ever written.
//!
//! A neighbour that is lost is taken out of the groups at once, however many routes point at them; the
//! RIB's new choice follows.
//!
//! Nothing is written before the first full picture of the kernel; nothing is deleted before
//! the RIB's is complete too, or [`FibConfig::grace`] has passed, so that a restart of the daemon
//! takes over the routes of its predecessor without a gap.
//!
//! Reads no clock, opens no socket. Handle an event, then poll commands until there are none, and
//! come back at [`Fib::poll_timeout`].

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use bgp::{
    attrs::NextHop,
    family::Family,
    prefix::Prefix,
    rib::{BestChange, Resolution},
};

mod entry;
mod event;
pub mod links;
pub mod next_hop;
pub mod nexthop_group;
mod observe;
mod others;
mod phase;
mod reconcile;
pub mod resolve;
pub mod route;
pub mod status;
mod wanted;

pub use event::{Command, Event, FibConfig};
pub use others::RouteChange;

use links::{LinkEvent, Links};
use next_hop::{NextHopChange, NextHopObject, NextHopOperation};
use nexthop_group::{GroupCounters, NextHopGroups, NextHopStatus, Presence};
use phase::{DUMP_PAUSE, Picture, Settle};
use reconcile::Reconciler;
use resolve::{Resolved, Resolver};
use route::{Hop, Operation, RouteKey, TABLE_MAIN, Target, WriteError};
use status::{Counters, RouteState, RouteStatus};
use wanted::{Means, Path, Wanted};

/// See the module.
#[derive(Clone, Debug)]
pub struct Fib {
    config: FibConfig,
    resolver: Resolver,
    wanted: Wanted,
    reconciler: Reconciler,
    groups: NextHopGroups,
    answers: BTreeMap<NextHop, Resolution>,
    picture: Picture,
    settle: Settle,
    batches: usize,
}

impl Fib {
    /// One that knows nothing of the kernel yet.
    #[must_use]
    pub fn new(config: FibConfig, now: Instant) -> Self {
        let wanted = Wanted::new(config.own_ranges.iter().copied(), config.addresses_wander);
        let mut fib = Self {
            resolver: Resolver::new(config.resolve_via_default),
            reconciler: Reconciler::default(),
            groups: NextHopGroups::new(config.protocol, config.next_hop_groups),
            answers: BTreeMap::new(),
            picture: Picture::unknown(now),
            settle: Settle::Starting { complete: false },
            batches: 0,
            config,
            wanted,
        };
        for prefix in fib.wanted.blackholes().collect::<Vec<_>>() {
            fib.refresh(prefix);
        }
        fib
    }

    /// One thing happened.
    pub fn handle(&mut self, event: Event, now: Instant) {
        match event {
            Event::Links(links) => {
                self.resolver.set_links(links);
                self.picture.links = true;
            }
            Event::Link(event) => self.link(event, now),
            Event::Route(change, route) => self.route(change, route, now),
            Event::NextHop(change, object) => self.next_hop(change, object, now),
            Event::Overrun => {
                self.picture.missed();
                self.resync(now);
            }
            Event::Dumped { routes, next_hops } => self.dumped(routes, next_hops, now),
            Event::DumpFailed => {
                self.picture.dumping = None;
                self.picture.dump_at = Some(now + DUMP_PAUSE);
            }
            Event::Written { operations, failures } => self.written(&operations, failures, now),
            Event::NextHopsWritten { operations, failures } => {
                let mut failures: BTreeMap<_, _> = failures.into_iter().collect();
                for (position, operation) in operations.iter().enumerate() {
                    let outcome = failures.remove(&position).map_or(Ok(()), Err);
                    self.groups.written(operation, outcome, now);
                }
            }
            Event::Lost(peers) => {
                let means = &mut means(&mut self.resolver, &mut self.groups);
                let prefixes = self.wanted.set_lost(peers, means);
                self.refresh_all(prefixes);
            }
            Event::Best(changes) => self.best(changes, now),
            Event::NextHops(next_hops) => self.resolver.ask(&next_hops),
            Event::OwnRanges(ranges) => {
                for prefix in self.wanted.set_own(ranges) {
                    self.refresh(prefix);
                }
            }
            Event::Complete => self.settle.complete(now),
            Event::Timeout => {}
        }
        self.follow_next_hops();
        self.groups.wake(now);
        self.follow_groups();
        self.reconciler.wake(now);
        if self.settle.is_over(now) {
            self.settle = Settle::Settled;
            self.reconciler.settle();
            self.groups.settle();
        }
        if self.reconciler.take_doubt() | self.groups.take_doubt() {
            self.resync(now);
        }
    }

    /// The next thing to do.
    pub fn poll_command(&mut self, now: Instant) -> Option<Command> {
        if self.picture.links && self.picture.dump_due().is_some_and(|at| at <= now) {
            self.picture.ask();
            self.groups.dumping();
            return Some(Command::Dump);
        }
        // Before the answers, which may wait for a RIB that is busy with the very loss that these are
        // about.
        if let Some(operations) = self.next_hop_operations() {
            return Some(Command::WriteNextHops(operations));
        }
        if let Some((next_hop, resolution)) = self.answers.pop_first() {
            return Some(Command::Answer(next_hop, resolution));
        }
        if !self.is_ready() || self.batches >= BATCHES {
            return None;
        }
        let more = self.groups.are_being_written();
        // Copies first: what is written next takes the place of the route that stays.
        let mut operations = Vec::new();
        if !self.picture.blind {
            let copies = self.reconciler.take_copies().into_iter();
            operations.extend(copies.map(|(key, target)| Operation::DeleteCopy(key, target)));
        }
        operations.extend(self.reconciler.next(BATCH, self.picture.blind, more));
        if operations.is_empty() {
            return None;
        }
        self.batches += 1;
        Some(Command::Write(operations.into()))
    }

    /// When to come back with [`Event::Timeout`]; earlier is harmless.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let dump = self.picture.dump_due().filter(|_| self.picture.links);
        let waits = [self.reconciler.deadline(), self.groups.deadline()];
        waits.into_iter().chain([dump, self.settle.deadline()]).flatten().min()
    }

    /// Every route that is wanted or there, by table, prefix and metric.
    pub fn routes(&self) -> impl Iterator<Item = RouteStatus<'_>> {
        self.reconciler.routes()
    }

    /// How many routes of a family are in a state.
    #[must_use]
    pub fn count(&self, family: Family, state: RouteState) -> usize {
        self.reconciler.count(family, state)
    }

    /// Events since the start.
    #[must_use]
    pub const fn counters(&self) -> Counters {
        self.reconciler.counters()
    }

    /// Every next-hop object of ours that is wanted or there, by id, with how many of our routes in the
    /// kernel name it.
    pub fn next_hop_objects(&self) -> impl Iterator<Item = (NextHopStatus<'_>, usize)> {
        self.groups.objects().map(|status| {
            let routes = self.reconciler.routes_of(status.id);
            (status, routes)
        })
    }

    /// Events since the start that concern next-hop objects.
    #[must_use]
    pub const fn group_counters(&self) -> GroupCounters {
        self.groups.counters()
    }

    /// Whether our routes point at next-hop groups.
    #[must_use]
    pub fn uses_groups(&self) -> bool {
        self.groups.are_used()
    }

    /// Whether the kernel was found to have no next-hop groups, although routes should point at some.
    #[must_use]
    pub fn lacks_groups(&self) -> bool {
        self.groups.are_missing()
    }

    /// Where a route of ours leads: its own hops, or those of its group.
    #[must_use]
    pub fn hops(&self, target: &Target) -> Vec<Hop> {
        match target.group() {
            Some(id) => self.groups.hops(id).as_slice().to_vec(),
            None => target.hops().to_vec(),
        }
    }

    /// Next hops of the paths in use to a prefix.
    pub fn next_hops(&self, prefix: Prefix) -> impl Iterator<Item = NextHop> {
        self.wanted.next_hops(prefix)
    }

    /// Where a next hop leads, by what is known now.
    #[must_use]
    pub fn resolve(&self, next_hop: NextHop) -> Resolved {
        self.resolver.resolve(next_hop)
    }

    /// Interfaces and addresses as last reported.
    #[must_use]
    pub const fn links(&self) -> &Links {
        self.resolver.links()
    }

    /// Whether the kernel's first full picture is there, so that routes are written.
    #[must_use]
    pub const fn is_ready(&self) -> bool {
        self.picture.links && self.picture.routes
    }

    /// Whether routes that nobody wants are deleted by now.
    #[must_use]
    pub const fn is_settled(&self) -> bool {
        matches!(self.settle, Settle::Settled)
    }

    fn link(&mut self, event: LinkEvent, now: Instant) {
        let loss = self.resolver.link(event);
        if let Some(ifindex) = loss.lost {
            let links = self.resolver.links();
            self.reconciler.link_lost(ifindex, |other| links.is_up(other));
        }
        if let Some(ifindex) = loss.silent {
            self.groups.link_lost(ifindex);
        }
        if self.picture.dumping.is_some() && (loss.lost.is_some() || loss.silent.is_some()) {
            // Its answer may still show what has gone.
            self.resync(now);
        }
        for prefix in loss.gone {
            self.check_taken(prefix);
        }
    }

    fn next_hop(&mut self, change: NextHopChange, object: NextHopObject, now: Instant) {
        if self.groups.changed(change, object) {
            // Of the routes that name it we know only where they led.
            self.resync(now);
        }
    }

    fn written(
        &mut self,
        operations: &[Operation],
        failures: Vec<(usize, WriteError)>,
        now: Instant,
    ) {
        self.batches = self.batches.saturating_sub(1);
        let mut failures: BTreeMap<_, _> = failures.into_iter().collect();
        for (position, operation) in operations.iter().enumerate() {
            let outcome = failures.remove(&position).map_or(Ok(()), Err);
            if let Operation::DeleteCopy(..) = operation {
                self.reconciler.copy_deleted(&outcome);
            } else {
                self.reconciler.written(operation.key(), outcome, now);
            }
        }
    }

    fn best(&mut self, changes: Vec<BestChange>, now: Instant) {
        self.settle.postpone(now);
        for BestChange { prefix, paths } in changes {
            // Our own prefixes have no path through a peer beside them: originating wins. Of
            // these, AGGREGATOR marks what is made of others.
            let mut ours = paths.iter().filter(|path| path.peer.is_none());
            self.wanted.aggregate(prefix, ours.any(|path| path.attrs.aggregator.is_some()));
            let learned = paths.iter().filter(|_| self.config.learned_routes);
            let learned = learned.filter_map(|path| {
                let (next_hop, share) = (path.attrs.next_hop, path.share);
                path.peer.map(|peer| Path { next_hop, peer, share })
            });
            let means = &mut means(&mut self.resolver, &mut self.groups);
            self.wanted.learn(prefix, learned, means);
            self.refresh(prefix);
        }
    }

    /// Carries what changed about next hops to the routes that use them and to the RIB. Until the
    /// kernel is known, everything would look unreachable.
    fn follow_next_hops(&mut self) {
        if !self.is_ready() {
            return;
        }
        while let Some(changed) = self.resolver.poll() {
            let means = &mut means(&mut self.resolver, &mut self.groups);
            let prefixes = self.wanted.next_hop_changed(changed.next_hop, means);
            self.refresh_all(prefixes);
            if let Some(answer) = changed.answer {
                self.answers.insert(changed.next_hop, answer);
            }
        }
    }

    /// Carries to the routes which groups have come and gone in the kernel.
    fn follow_groups(&mut self) {
        // In a cluster every node is a next hop: thousands of groups go with one interface. So those
        // that go one after the other are looked for at once.
        let mut gone = BTreeMap::new();
        for presence in self.groups.take_presences() {
            match presence {
                Presence::Gone { id, by_hand } => drop(gone.insert(id, by_hand)),
                Presence::There(id) => {
                    self.reconciler.groups_gone(&std::mem::take(&mut gone));
                    self.reconciler.group_there(id);
                }
            }
        }
        self.reconciler.groups_gone(&gone);
    }

    fn next_hop_operations(&mut self) -> Option<Arc<[NextHopOperation]>> {
        if !self.is_ready() || self.groups.are_being_written() {
            return None;
        }
        let reconciler = &self.reconciler;
        let operations = self.groups.next(self.picture.blind, |id| reconciler.uses(id));
        (!operations.is_empty()).then(|| operations.into())
    }

    fn refresh_all(&mut self, prefixes: Vec<Prefix>) {
        for prefix in prefixes {
            self.refresh(prefix);
        }
    }

    /// Works out again what is wanted for a prefix.
    fn refresh(&mut self, prefix: Prefix) {
        let key = self.key(prefix);
        self.reconciler.want(key, self.wanted.want(prefix), self.resolver.holds(key));
    }

    fn check_taken(&mut self, prefix: Prefix) {
        let key = self.key(prefix);
        self.reconciler.taken(key, self.resolver.holds(key));
    }

    fn resync(&mut self, now: Instant) {
        self.picture.dump_at.get_or_insert(now);
    }

    const fn key(&self, prefix: Prefix) -> RouteKey {
        RouteKey::new(self.config.table, prefix, self.config.metric)
    }

    /// Whether somebody else's routes in a table matter: for next hops, or for our own keys.
    const fn minds_table(&self, table: u32) -> bool {
        table == TABLE_MAIN || table == self.config.table
    }
}

fn means<'a>(resolver: &'a mut Resolver, groups: &'a mut NextHopGroups) -> Means<'a> {
    Means { resolver, groups }
}

/// Longest time for which a restarted daemon keeps routes that no peer has confirmed: sessions
/// come back within seconds, and a peer that does not holds nothing of value.
pub const GRACE: Duration = Duration::from_secs(60);
/// Operations in one command: enough to keep the kernel busy for milliseconds.
const BATCH: usize = 512;
/// Write commands under way at once: one being carried out, one waiting behind it.
pub const BATCHES: usize = 2;
#[cfg(test)]
mod tests;
