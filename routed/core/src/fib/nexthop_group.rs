//! Next-hop groups of the kernel that our routes point at: which are wanted, which are there, and the
//! operations between.
//!
//! In: groups of hops that are wanted, full pictures and single changes of the kernel's objects, lost
//! links, outcomes of operations. Out: operations; and which groups are there, so that routes are
//! written after their group and a group is deleted only after its last route.
//!
//! A group keeps its id while its members change, so that its routes need not be touched. What an
//! earlier run has left is taken over by content. Ids are ours by the protocol number of the object;
//! what bears another is never written, and its id never used.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use super::{
    entry::Trouble,
    next_hop::{Members, NextHopId, NextHopOperation, Object, hops_of},
    reconcile::backoff,
    route::{Hop, Hops, WriteError},
};

mod seen;
mod slot;

pub use slot::{GroupState, NextHopStatus};

use slot::{Flight, Slot, Want};

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct NextHopGroups {
    protocol: u8,
    use_them: bool,
    support: Support,
    slots: BTreeMap<NextHopId, Slot>,
    /// Hops that groups want, by content.
    hops: BTreeMap<Hop, NextHopId>,
    /// What is there and nobody wants, by content.
    spare: BTreeSet<(Object, NextHopId)>,
    /// Objects with something to write, and to delete; in none while in flight or waiting.
    writes: BTreeSet<NextHopId>,
    deletes: BTreeSet<NextHopId>,
    /// Objects that wait after a failure, by the time until when.
    waiting: BTreeSet<(Instant, NextHopId)>,
    /// Everybody else's.
    others: BTreeMap<NextHopId, Object>,
    /// Where to look for the next free id.
    cursor: u32,
    /// A full picture is under way; ids that were reported changed since it was asked for.
    newer: Option<BTreeSet<NextHopId>>,
    presences: Vec<Presence>,
    /// Operations under way.
    flying: usize,
    counters: GroupCounters,
    settled: bool,
    doubt: bool,
}

/// Whether the kernel has next-hop objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Support {
    Unknown,
    No,
    Yes,
}

/// A group has come or gone in the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    There(NextHopId),
    /// With it, and in silence, the kernel has dropped the routes that named it.
    Gone {
        id: NextHopId,
        /// Somebody has deleted it, as opposed to its last link having gone.
        by_hand: bool,
    },
}

/// Events since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupCounters {
    /// Objects created or replaced.
    pub written: u64,
    /// Objects deleted.
    pub deleted: u64,
    /// Operations that the kernel refused.
    pub failed: u64,
    /// Wanted objects found deleted or changed by somebody else.
    pub repaired: u64,
}

impl NextHopGroups {
    /// None known, none wanted.
    pub(super) fn new(protocol: u8, use_them: bool) -> Self {
        Self {
            protocol,
            use_them,
            support: Support::Unknown,
            slots: BTreeMap::new(),
            hops: BTreeMap::new(),
            spare: BTreeSet::new(),
            writes: BTreeSet::new(),
            deletes: BTreeSet::new(),
            waiting: BTreeSet::new(),
            others: BTreeMap::new(),
            cursor: FIRST_ID,
            newer: None,
            presences: Vec::new(),
            flying: 0,
            counters: GroupCounters::default(),
            settled: false,
            doubt: false,
        }
    }

    /// Whether routes are to point at groups; if not, they list their hops themselves.
    pub(super) fn are_used(&self) -> bool {
        self.use_them && self.support == Support::Yes
    }

    /// Whether the kernel was found to have no next-hop objects, although they are wanted.
    pub(super) fn are_missing(&self) -> bool {
        self.use_them && self.support == Support::No
    }

    /// A new group of these hops, at least one: the one that an earlier run has left, if there is one.
    /// `None` if there are to be no groups (yet), or no more.
    pub(super) fn assign(&mut self, hops: &Hops) -> Option<NextHopId> {
        if !self.are_used() {
            return None;
        }
        let members = self.acquire(hops)?;
        let group = Object::Group(members);
        let Some(id) = self.spare_one(&group).or_else(|| self.free_id()) else {
            self.release_members(&Want::Object(group));
            return None;
        };
        self.want(id, Want::Object(group));
        Some(id)
    }

    /// The group has other hops from now on, at least one.
    pub(super) fn update(&mut self, id: NextHopId, hops: &Hops) {
        if let Some(members) = self.acquire(hops) {
            self.want(id, Want::Object(Object::Group(members)));
        }
    }

    /// The group's hops all lead nowhere; what is there of it stays.
    pub(super) fn suspend(&mut self, id: NextHopId) {
        self.want(id, Want::Keep);
    }

    /// Nobody wants the group any more. It goes after its last route.
    pub(super) fn release(&mut self, id: NextHopId) {
        self.want(id, Want::Nothing);
    }

    /// From now on what nobody wants is deleted.
    pub(super) fn settle(&mut self) {
        self.settled = true;
    }

    /// Ends the waits that are over.
    pub(super) fn wake(&mut self, now: Instant) {
        while let Some((at, id)) = self.waiting.first().copied()
            && at <= now
        {
            self.waiting.pop_first();
            self.change(id, |slot| {
                if let Some(trouble) = &mut slot.trouble {
                    trouble.retry_at = None;
                }
            });
        }
    }

    /// The next operations in the order in which to carry them out; each must be answered by
    /// [`Self::written`]. Members are written before their group, and a group that a route `uses` is
    /// not deleted, nor anything if we are `blind`.
    pub(super) fn next(
        &mut self,
        blind: bool,
        uses: impl Fn(NextHopId) -> bool,
    ) -> Vec<NextHopOperation> {
        let writes = self.writes.iter().filter(|id| self.is_writable(**id));
        let may_delete = self.settled && !blind && !self.deletes.is_empty();
        let members = if may_delete { self.members() } else { BTreeSet::new() };
        let deletes = self.deletes.iter().filter(|id| !uses(**id) && !members.contains(id));
        let deletes = deletes.filter(|_| may_delete);
        let ids: Vec<_> = writes.chain(deletes).copied().take(BATCH).collect();
        let mut operations = Vec::new();
        for id in ids {
            self.change(id, |slot| {
                let Some(operation) = slot.due(id) else { return };
                slot.flight =
                    Some(Flight { object: operation.object().cloned(), disturbed: false });
                operations.push(operation);
            });
        }
        self.flying += operations.len();
        operations
    }

    /// Whether operations are under way, after which routes may follow.
    pub(super) const fn are_being_written(&self) -> bool {
        self.flying > 0
    }

    /// What became of an operation.
    pub(super) fn written(
        &mut self,
        operation: &NextHopOperation,
        outcome: Result<(), WriteError>,
        now: Instant,
    ) {
        let id = operation.id();
        let Some(flight) = self.slots.get_mut(&id).and_then(|slot| slot.flight.take()) else {
            return;
        };
        self.flying -= 1;
        self.doubt |= flight.disturbed;
        let deleted = flight.object.is_none();
        match outcome {
            Err(error) if !(deleted && error == WriteError::Missing) => {
                self.counters.failed += 1;
                self.doubt |= !matches!(error, WriteError::Refused { .. });
                self.change(id, |slot| {
                    let attempt = slot.trouble.as_ref().map_or(1, |trouble| trouble.attempt + 1);
                    let retry_at = Some(now + backoff(attempt));
                    slot.trouble = Some(Trouble { attempt, error, retry_at });
                });
            }
            Ok(()) | Err(_) => {
                let count =
                    if deleted { &mut self.counters.deleted } else { &mut self.counters.written };
                *count += 1;
                self.change(id, |slot| slot.trouble = None);
                if !flight.disturbed {
                    self.have(id, flight.object, false);
                }
            }
        }
    }

    /// The next group that has come or gone.
    pub(super) fn take_presences(&mut self) -> Vec<Presence> {
        std::mem::take(&mut self.presences)
    }

    /// Whether the kernel's state is in doubt; asked for once.
    pub(super) fn take_doubt(&mut self) -> bool {
        std::mem::take(&mut self.doubt)
    }

    /// When [`Self::wake`] has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.waiting.first().map(|(at, _)| *at)
    }

    pub(super) const fn counters(&self) -> GroupCounters {
        self.counters
    }

    /// The hops of an object, ours or not, as the kernel has it or will.
    pub(super) fn hops(&self, id: NextHopId) -> Hops {
        let object = |id: NextHopId| {
            self.slots.get(&id).and_then(Slot::shown).or_else(|| self.others.get(&id))
        };
        object(id).map_or_else(|| Hops::from_iter([]), |it| hops_of(it, object))
    }

    /// Every object of ours, wanted or there, by id.
    pub(super) fn objects(&self) -> impl Iterator<Item = NextHopStatus<'_>> {
        self.slots.iter().map(|(id, slot)| slot.status(*id, self.hops(*id)))
    }

    fn want(&mut self, id: NextHopId, want: Want) {
        let mut before = Want::Nothing;
        self.change(id, |slot| {
            if slot.want != want {
                slot.trouble = None;
            }
            before = std::mem::replace(&mut slot.want, want);
        });
        self.release_members(&before);
    }

    /// Wants the hops, once more each, and returns their ids; `None` if there are no more ids.
    fn acquire(&mut self, hops: &Hops) -> Option<Members> {
        let mut members = Vec::new();
        for hop in hops.as_slice() {
            let alone = Hop { weight: 1, ..*hop };
            let known = self.hops.get(&alone).copied();
            let spare = || self.spare_one(&Object::Hop(alone));
            let Some(id) = known.or_else(spare).or_else(|| self.free_id()) else {
                let taken = Object::Group(members.into_iter().collect());
                self.release_members(&Want::Object(taken));
                return None;
            };
            self.hops.insert(alone, id);
            self.change(id, |slot| {
                slot.users += 1;
                slot.want = Want::Object(Object::Hop(alone));
            });
            members.push((id, hop.weight));
        }
        Some(members.into_iter().collect())
    }

    fn release_members(&mut self, want: &Want) {
        let Want::Object(Object::Group(members)) = want else { return };
        for (id, _) in members.as_slice() {
            let mut unused = None;
            self.change(*id, |slot| {
                slot.users -= 1;
                if slot.users == 0 {
                    unused = Some(std::mem::replace(&mut slot.want, Want::Nothing));
                    slot.trouble = None;
                }
            });
            if let Some(Want::Object(Object::Hop(hop))) = unused {
                self.hops.remove(&hop);
            }
        }
    }

    /// Something that is there with this content and that nobody wants.
    fn spare_one(&self, object: &Object) -> Option<NextHopId> {
        let first = (object.clone(), NextHopId(0));
        let (found, id) = self.spare.range(first..).next()?;
        (found == object).then_some(*id)
    }

    /// An id that nothing has; `None` if all are taken.
    fn free_id(&mut self) -> Option<NextHopId> {
        for _ in FIRST_ID..=LAST_ID {
            let id = NextHopId(self.cursor);
            self.cursor = if self.cursor == LAST_ID { FIRST_ID } else { self.cursor + 1 };
            if !self.slots.contains_key(&id) && !self.others.contains_key(&id) {
                return Some(id);
            }
        }
        None
    }

    /// All of its members are in the kernel as they should be.
    fn is_writable(&self, id: NextHopId) -> bool {
        let Want::Object(Object::Group(members)) = &self.slots[&id].want else { return true };
        let mut members = members.as_slice().iter();
        members.all(|(id, _)| self.slots.get(id).is_some_and(Slot::is_installed))
    }

    /// What groups in the kernel have, or may get by an operation under way.
    fn members(&self) -> BTreeSet<NextHopId> {
        let objects = self.slots.values().flat_map(Slot::objects);
        let members = objects.filter_map(|object| match object {
            Object::Group(members) => Some(members.as_slice().iter().map(|(id, _)| *id)),
            Object::Hop(_) | Object::Other => None,
        });
        members.flatten().collect()
    }

    /// Our object in the kernel is this from now on. Says so if thereby a group comes or goes.
    fn have(&mut self, id: NextHopId, have: Option<Object>, by_hand: bool) {
        let is_group = |slot: &Slot| matches!(slot.have, Some(Object::Group(_)));
        let was_there = self.slots.get(&id).is_some_and(is_group);
        self.change(id, |slot| slot.have = have);
        match (was_there, self.slots.get(&id).is_some_and(is_group)) {
            (false, true) => self.presences.push(Presence::There(id)),
            (true, false) => self.presences.push(Presence::Gone { id, by_hand }),
            (false, false) | (true, true) => {}
        }
    }

    /// Changes a slot and everything that lists it.
    fn change(&mut self, id: NextHopId, change: impl FnOnce(&mut Slot)) {
        let mut slot = self.slots.remove(&id).unwrap_or_default();
        self.writes.remove(&id);
        self.deletes.remove(&id);
        if let Some(at) = slot.trouble.as_ref().and_then(|trouble| trouble.retry_at) {
            self.waiting.remove(&(at, id));
        }
        if let Some(have) = &slot.have {
            self.spare.remove(&(have.clone(), id));
        }
        change(&mut slot);
        if slot.is_idle() {
            return;
        }
        if let Some(have) = slot.have.as_ref().filter(|_| slot.is_spare()) {
            self.spare.insert((have.clone(), id));
        }
        match (slot.trouble.as_ref().and_then(|trouble| trouble.retry_at), slot.due(id)) {
            (_, None) => {}
            (Some(at), Some(_)) => {
                self.waiting.insert((at, id));
            }
            (None, Some(operation)) if operation.object().is_some() => {
                self.writes.insert(id);
            }
            (None, Some(_)) => {
                self.deletes.insert(id);
            }
        }
        self.slots.insert(id, slot);
    }
}

/// Ids that we take, clear of those that the kernel and FRR give out by themselves, from 1 on.
const FIRST_ID: u32 = 1_320_000_000;
/// A million objects; nodes have a handful.
const LAST_ID: u32 = FIRST_ID + 999_999;
/// Operations in one command.
const BATCH: usize = 512;
