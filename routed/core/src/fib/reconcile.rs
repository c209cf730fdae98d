//! What the kernel should have, what it has, and the operations that turn one into the other.
//!
//! In: wishes, the kernel's full pictures, single changes by somebody else's hand, and the outcome
//! of each operation. Out: operations, as many as the writer has room for, each route once with
//! its newest wish.
//!
//! A route changes in place, is never deleted to be added again, and is deleted only after all
//! that is to be added has been, and not before [`Reconciler::settle`]. A key that somebody else
//! has is left to them. Where the kernel's state is in doubt, [`Reconciler::take_doubt`] asks for a
//! full picture: adding is always exclusive, so that nothing goes wrong meanwhile.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use bgp::family::Family;

mod loss;

use super::{
    entry::{Deed, Entry, Flight, Trouble},
    next_hop::NextHopId,
    route::{Operation, RouteKey, Target, WriteError},
    status::{Counters, RouteState, RouteStatus},
};

/// What should become of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Want {
    /// There should be none.
    Nothing,
    /// It was learned, but it lies inside this node's own pod ranges: there should be none.
    Never,
    /// It was learned, but its next hops lead nowhere now. What is there stays, until the RIB, which
    /// has been told, names other paths or withdraws it: so traffic never falls between the two.
    Keep,
    /// This.
    Target(Target),
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Reconciler {
    entries: BTreeMap<RouteKey, Entry>,
    /// Keys with something to add, to replace, to delete; each in one of them at most, and in none
    /// while in flight.
    adds: BTreeSet<RouteKey>,
    replaces: BTreeSet<RouteKey>,
    deletes: BTreeSet<RouteKey>,
    /// Routes of ours that somebody has put beside ours.
    copies: Vec<(RouteKey, Target)>,
    /// Keys whose route is to name a group that is not there yet, by that group.
    blocked: BTreeMap<NextHopId, BTreeSet<RouteKey>>,
    /// The kernel's groups, as far as they matter here.
    groups: BTreeSet<NextHopId>,
    /// How many of our routes in the kernel name a group.
    members: BTreeMap<NextHopId, usize>,
    /// Keys that wait after a failure, by the time until when.
    waiting: BTreeSet<(Instant, RouteKey)>,
    flights: BTreeSet<RouteKey>,
    /// How many of our IPv4 routes in the kernel use an interface.
    users: BTreeMap<u32, usize>,
    states: BTreeMap<(Family, RouteState), usize>,
    counters: Counters,
    settled: bool,
    doubt: bool,
}

impl Reconciler {
    /// What should become of the route, and whether somebody else has one with its key.
    pub(super) fn want(&mut self, key: RouteKey, want: Want, taken: bool) {
        self.change(key, |entry| {
            if entry.want != want || entry.taken != taken {
                entry.trouble = None;
            }
            entry.want = want;
            entry.taken = taken;
        });
    }

    /// Somebody took or gave back a key that we may have a route for.
    pub(super) fn taken(&mut self, key: RouteKey, taken: bool) {
        if let Some(entry) = self.entries.get(&key)
            && entry.taken != taken
        {
            let want = entry.want.clone();
            self.want(key, want, taken);
        }
    }

    /// Somebody else's route has just taken the place of whatever had this key.
    pub(super) fn displaced(&mut self, key: RouteKey) {
        let ours = |entry: &Entry| entry.have.is_some() || entry.flight.is_some();
        if self.entries.get(&key).is_some_and(ours) {
            self.foreign_hand(key, None);
            self.doubt = true;
        }
    }

    /// Somebody else created or changed a route of our protocol. What we have written since may be
    /// answered already, so that only a full picture tells who was last.
    pub(super) fn seen(&mut self, key: RouteKey, target: Target) {
        self.doubt = true;
        self.foreign_hand(key, Some(target));
    }

    /// Somebody else put a route of our protocol beside ours. The kernel names an IPv4 one exactly, so it
    /// can go at once; of IPv6 it tells piecemeal.
    pub(super) fn appended(&mut self, key: RouteKey, target: Target) {
        let beside = |entry: &Entry| {
            let quiet = entry.flight.is_none() && !entry.wants(&target);
            quiet && entry.have.as_ref().is_some_and(|have| *have != target)
        };
        let ipv4 = key.prefix.family() == Family::Ipv4Unicast;
        if ipv4 && self.entries.get(&key).is_some_and(beside) {
            self.copies.push((key, target));
            self.doubt = true;
        } else {
            self.seen(key, target);
        }
    }

    /// Somebody else, or the kernel, deleted a route of our protocol. If we have written it since, adding
    /// it again is refused, and that tells.
    pub(super) fn gone(&mut self, key: RouteKey, target: &Target) {
        let Some(entry) = self.entries.get(&key) else { return };
        if entry.have.as_ref().is_some_and(|have| have != target) {
            // One hop of several, perhaps.
            self.doubt = true;
        }
        self.foreign_hand(key, None);
    }

    /// The kernel's full picture: the routes of our protocol. Keys in `newer` changed since it was
    /// asked for, so they keep what was reported.
    pub(super) fn adopt(
        &mut self,
        picture: impl IntoIterator<Item = (RouteKey, Target)>,
        newer: &BTreeSet<RouteKey>,
    ) {
        let mut ours = self.only_one_each(picture);
        ours.retain(|key, _| !newer.contains(key));
        let known: Vec<_> = self
            .entries
            .iter()
            .filter(|(key, entry)| !newer.contains(key) && entry.have.as_ref() != ours.get(key))
            .map(|(key, _)| *key)
            .collect();
        for key in known {
            let have = ours.remove(&key);
            self.foreign_hand_found(key, have);
        }
        for (key, target) in ours {
            if !self.entries.contains_key(&key) {
                self.change(key, |entry| entry.have = Some(target));
            }
        }
    }

    /// One route for each key; of several the others go.
    fn only_one_each(
        &mut self,
        picture: impl IntoIterator<Item = (RouteKey, Target)>,
    ) -> BTreeMap<RouteKey, Target> {
        let mut ours = BTreeMap::new();
        self.copies.clear();
        for (key, target) in picture {
            let Some(first) = ours.insert(key, target) else { continue };
            if self.is_kept(key, &first) {
                self.copies.extend(ours.insert(key, first).map(|copy| (key, copy)));
            } else {
                self.copies.push((key, first));
            }
        }
        ours
    }

    /// Whether of several routes with the same key this one stays. The one that is wanted does, except
    /// for IPv6: asked to delete a route with certain hops, the kernel deletes any that names a group.
    /// So of these the one that lists its hops stays, to be replaced.
    fn is_kept(&self, key: RouteKey, target: &Target) -> bool {
        match key.prefix.family() {
            Family::Ipv4Unicast => self.entries.get(&key).is_some_and(|it| it.wants(target)),
            Family::Ipv6Unicast => target.group().is_none(),
        }
    }

    /// From now on routes that nobody wants are deleted.
    pub(super) fn settle(&mut self) {
        self.settled = true;
    }

    /// Ends the waits that are over.
    pub(super) fn wake(&mut self, now: Instant) {
        while let Some((at, key)) = self.waiting.first().copied()
            && at <= now
        {
            self.waiting.pop_first();
            if let Some(trouble) = self.entries.get_mut(&key).and_then(|it| it.trouble.as_mut()) {
                trouble.retry_at = None;
            }
            self.enqueue(key);
        }
    }

    /// The next operations in the order in which to carry them out, at most `limit`; each must be
    /// answered by [`Self::written`]. If we are `blind`, having missed who knows what, nothing is
    /// replaced: what has the key now may be somebody else's. If there is `more` to be added soon,
    /// nothing is deleted.
    pub(super) fn next(&mut self, limit: usize, blind: bool, more: bool) -> Vec<Operation> {
        let mut operations = Vec::new();
        while operations.len() < limit
            && let Some(key) = self.next_key(blind, more)
        {
            let entry = self.entries.get_mut(&key).expect("queued keys have an entry");
            let deed = entry.due().expect("queued keys have something to do");
            entry.flight = Some(Flight { deed: deed.clone(), disturbed: false });
            self.flights.insert(key);
            operations.push(match deed {
                Deed::Add(target) => Operation::Add(key, target),
                Deed::Replace(target) => Operation::Replace(key, target),
                Deed::Delete => Operation::Delete(key),
            });
        }
        operations
    }

    /// What became of an operation.
    pub(super) fn written(&mut self, key: RouteKey, outcome: Result<(), WriteError>, now: Instant) {
        let Some(flight) = self.entries.get_mut(&key).and_then(|entry| entry.flight.take()) else {
            return;
        };
        self.flights.remove(&key);
        self.doubt |= flight.disturbed;
        let outcome = match (outcome, &flight.deed) {
            // Gone already: just what was asked for.
            (Err(WriteError::Missing), Deed::Delete) => Ok(()),
            (outcome, Deed::Add(_) | Deed::Replace(_) | Deed::Delete) => outcome,
        };
        match outcome {
            Ok(()) => self.succeeded(key, flight),
            Err(error) => self.failed(key, &flight.deed, error, now),
        }
    }

    /// Routes that somebody has put beside ours, which are to be deleted.
    pub(super) fn take_copies(&mut self) -> Vec<(RouteKey, Target)> {
        std::mem::take(&mut self.copies)
    }

    /// What became of deleting a copy: the next full picture shows.
    pub(super) fn copy_deleted(&mut self, outcome: &Result<(), WriteError>) {
        if outcome.is_ok() {
            self.counters.repaired += 1;
        }
        self.doubt = true;
    }

    /// A full picture after the first was taken.
    pub(super) const fn count_resync(&mut self) {
        self.counters.resyncs += 1;
    }

    /// Whether the kernel's state is in doubt; asked for once.
    pub(super) fn take_doubt(&mut self) -> bool {
        std::mem::take(&mut self.doubt)
    }

    /// Whether a route of ours names the group, or may by an operation under way.
    pub(super) fn uses(&self, id: NextHopId) -> bool {
        let flies = |key: &RouteKey| {
            let flight = self.entries.get(key).and_then(|entry| entry.flight.as_ref());
            let target = flight.and_then(|flight| flight.deed.target());
            target.and_then(Target::group) == Some(id)
        };
        self.routes_of(id) > 0 || self.flights.iter().any(flies)
    }

    /// How many of our routes in the kernel name the group.
    pub(super) fn routes_of(&self, id: NextHopId) -> usize {
        self.members.get(&id).copied().unwrap_or(0)
    }

    /// When [`Self::wake`] has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.waiting.first().map(|(at, _)| *at)
    }

    pub(super) const fn counters(&self) -> Counters {
        self.counters
    }

    /// How many routes of a family are in a state.
    pub(super) fn count(&self, family: Family, state: RouteState) -> usize {
        self.states.get(&(family, state)).copied().unwrap_or(0)
    }

    /// Our route in the kernel, as far as we know.
    pub(super) fn have(&self, key: RouteKey) -> Option<&Target> {
        self.entries.get(&key).and_then(|entry| entry.have.as_ref())
    }

    /// Every route that is wanted or there, by table, prefix and metric.
    pub(super) fn routes(&self) -> impl Iterator<Item = RouteStatus<'_>> {
        self.entries.iter().map(|(key, entry)| entry.status(*key))
    }

    fn next_key(&mut self, blind: bool, more: bool) -> Option<RouteKey> {
        if let Some(key) = self.adds.pop_first() {
            return Some(key);
        }
        if !self.replaces.is_empty() {
            return if blind { None } else { self.replaces.pop_first() };
        }
        if self.settled && !more { self.deletes.pop_first() } else { None }
    }

    fn succeeded(&mut self, key: RouteKey, flight: Flight) {
        match flight.deed {
            Deed::Add(_) | Deed::Replace(_) => self.counters.written += 1,
            Deed::Delete => self.counters.deleted += 1,
        }
        self.change(key, |entry| {
            entry.trouble = None;
            if !flight.disturbed {
                entry.have = match flight.deed {
                    Deed::Add(target) | Deed::Replace(target) => Some(target),
                    Deed::Delete => None,
                };
            }
        });
    }

    fn failed(&mut self, key: RouteKey, deed: &Deed, error: WriteError, now: Instant) {
        self.counters.failed += 1;
        self.doubt |= match (deed, &error) {
            (_, WriteError::Exists | WriteError::Missing | WriteError::Unknown) => true,
            // The kernel may have taken away the old IPv6 route before it refused the new one.
            (Deed::Replace(_), WriteError::Refused { .. }) => true,
            (Deed::Add(_) | Deed::Delete, WriteError::Refused { .. }) => false,
        };
        self.change(key, |entry| {
            let attempt = entry.trouble.as_ref().map_or(1, |trouble| trouble.attempt + 1);
            let retry_at = Some(now + backoff(attempt));
            entry.trouble = Some(Trouble { attempt, error, retry_at });
        });
    }

    /// Somebody else's change, as reported.
    fn foreign_hand(&mut self, key: RouteKey, have: Option<Target>) {
        if let Some(flight) = self.entries.get_mut(&key).and_then(|it| it.flight.as_mut()) {
            flight.disturbed = true;
        }
        self.foreign_hand_found(key, have);
        // The report may be older than what we have written since. Where there is something to do
        // the kernel's answer tells; where whatever is there shall stay, nobody would ask.
        self.doubt |= self.entries.get(&key).is_some_and(|entry| entry.want == Want::Keep);
    }

    /// Somebody else's change, whenever it was.
    fn foreign_hand_found(&mut self, key: RouteKey, have: Option<Target>) {
        let before = self.entries.get(&key).and_then(|entry| entry.have.clone());
        self.change(key, |entry| {
            entry.have = have;
            entry.trouble = None;
        });
        let lost = before.is_some_and(|before| {
            self.entries.get(&key).is_some_and(|entry| entry.misses(&before))
        });
        if lost {
            self.counters.repaired += 1;
        }
    }

    /// Changes an entry and everything that is counted or queued by it.
    fn change(&mut self, key: RouteKey, change: impl FnOnce(&mut Entry)) {
        let mut entry = self.entries.remove(&key).unwrap_or_default();
        self.forget(key, &entry);
        change(&mut entry);
        if entry.is_idle() {
            return;
        }
        for ifindex in entry.links(key) {
            *self.users.entry(ifindex).or_insert(0) += 1;
        }
        if let Some(id) = entry.have.as_ref().and_then(Target::group) {
            *self.members.entry(id).or_insert(0) += 1;
        }
        *self.states.entry((key.prefix.family(), entry.state())).or_insert(0) += 1;
        self.entries.insert(key, entry);
        self.enqueue(key);
    }

    /// Takes an entry out of every count and queue.
    fn forget(&mut self, key: RouteKey, entry: &Entry) {
        self.adds.remove(&key);
        self.replaces.remove(&key);
        self.deletes.remove(&key);
        if let Want::Target(Target::Group(id)) = entry.want
            && let Some(keys) = self.blocked.get_mut(&id)
        {
            keys.remove(&key);
            if keys.is_empty() {
                self.blocked.remove(&id);
            }
        }
        if let Some(at) = entry.trouble.as_ref().and_then(|trouble| trouble.retry_at) {
            self.waiting.remove(&(at, key));
        }
        for ifindex in entry.links(key) {
            count_down(&mut self.users, &ifindex);
        }
        if let Some(id) = entry.have.as_ref().and_then(Target::group) {
            count_down(&mut self.members, &id);
        }
        if let Some(count) = self.states.get_mut(&(key.prefix.family(), entry.state())) {
            *count = count.saturating_sub(1);
        }
    }

    fn enqueue(&mut self, key: RouteKey) {
        let Some(entry) = self.entries.get(&key) else { return };
        if entry.flight.is_some() {
            return;
        }
        let Some(deed) = entry.due() else { return };
        let group = deed.target().and_then(Target::group);
        if let Some(id) = group
            && !self.groups.contains(&id)
        {
            self.blocked.entry(id).or_default().insert(key);
            return;
        }
        match (entry.trouble.as_ref().and_then(|trouble| trouble.retry_at), deed) {
            (Some(at), _) => self.waiting.insert((at, key)),
            (None, Deed::Add(_)) => self.adds.insert(key),
            (None, Deed::Replace(_)) => self.replaces.insert(key),
            (None, Deed::Delete) => self.deletes.insert(key),
        };
    }
}

fn count_down<K: Ord>(counts: &mut BTreeMap<K, usize>, of: &K) {
    if let Some(count) = counts.get_mut(of) {
        *count -= 1;
        if *count == 0 {
            counts.remove(of);
        }
    }
}

/// How long to wait before the next attempt: twice as long each time.
pub(super) fn backoff(attempt: u32) -> Duration {
    let doublings = attempt.saturating_sub(1).min(16);
    (RETRY_FIRST * (1 << doublings)).min(RETRY_MOST)
}

/// Long enough for an interface to come up, short enough not to be noticed.
const RETRY_FIRST: Duration = Duration::from_millis(100);
/// A route that the kernel refuses for good costs next to nothing at this rate.
const RETRY_MOST: Duration = Duration::from_secs(30);
