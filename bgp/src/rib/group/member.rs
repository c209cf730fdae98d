//! One member of a group: how far it has come, and what it missed.
//!
//! A member is in step with the log, or behind: then it is told by destination what the group was
//! told last, compared with what the member knew. Batches that come meanwhile only add to what it
//! missed, so that it is never told something old or something twice.

use std::collections::BTreeMap;

use super::{Group, Pulled, SharedBatch, Told};
use crate::{
    family::{Family, FamilySet, PerFamily},
    rib::{
        adj_out::{Batch, Manner, Refreshes},
        attrs::{AttrId, AttrTable},
        dense::{DestId, DestMap, DestSet},
        loc::Loc,
        peer::PeerId,
    },
};

/// See the module.
#[derive(Debug)]
pub(super) struct Member {
    /// The batch that it is told next.
    pub(super) next: u64,
    /// Of the group's paths, those that came from it.
    pub(super) own: PerFamily<usize>,
    /// Destinations at which it missed something, each with one claim on it.
    behind: DestSet,
    /// Of these, those that it knows of, with what it knows.
    knew: DestMap<AttrId>,
    /// Where it catches up next.
    cursor: DestId,
    /// Families whose initial transfer is not complete.
    initial: FamilySet,
    /// It cannot be completed yet: some routes are held back.
    deferring: bool,
    /// After how many passes of the group all that it is owed is in the log,
    due: u64,
    /// and the end of the log at that time.
    due_batch: Option<u64>,
    /// It has caught up once since.
    passed: bool,
    refreshes: Refreshes,
    search: Search,
}

/// How far a member has looked through what is pending in its group for something that concerns it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Search {
    /// Where it goes on.
    pub(super) at: DestId,
    /// The group's marks when it began.
    begun: u64,
    /// The same of the last search that found nothing.
    in_vain: u64,
}

impl Search {
    /// Looks at a destination, with these marks of the group.
    pub(super) fn begin(&mut self, marks: u64) {
        if self.at == DestId::FIRST {
            self.begun = marks;
        }
    }

    /// All was looked at.
    pub(super) fn end(&mut self) {
        if self.at != DestId::FIRST {
            self.in_vain = self.begun;
        }
        self.at = DestId::FIRST;
    }
}

/// What a peer knows when it joins or leaves a group.
#[derive(Debug)]
pub(in crate::rib) struct Known {
    /// What it was told, by destination, each with one claim on it.
    pub(in crate::rib) told: PerFamily<DestMap<AttrId>>,
    /// Families whose initial transfer is not complete.
    pub(in crate::rib) initial: FamilySet,
    /// It cannot be completed yet.
    pub(in crate::rib) deferring: bool,
    /// What it asked to be told again: nothing that it does not know.
    pub(in crate::rib) refreshes: Refreshes,
}

impl Known {
    /// A peer that has just come up and is owed everything.
    pub(in crate::rib) fn nothing(manner: &Manner) -> Self {
        Self {
            told: PerFamily::default(),
            initial: manner.families,
            deferring: manner.deferring,
            refreshes: Refreshes::new(manner.marks_refreshes),
        }
    }
}

impl Member {
    pub(super) fn new(peer: PeerId, known: Known, group: &Group, loc: &mut Loc) -> Self {
        let Known { mut told, initial, deferring, refreshes } = known;
        let mut member = Self {
            next: group.end(),
            own: PerFamily::default(),
            behind: DestSet::default(),
            knew: DestMap::default(),
            cursor: DestId::FIRST,
            initial,
            deferring,
            due: group.next_full_pass(),
            due_batch: None,
            passed: false,
            refreshes,
            search: Search::default(),
        };
        for (id, of_group) in group.told.iter() {
            let family = loc.get(id).prefix.family();
            *member.own.get_mut(family) += usize::from(of_group.from() == Some(peer));
            let Some(attrs) = Told::to(Some(of_group), peer) else { continue };
            let same = told.get(family).get(id).is_some_and(|known| *known == attrs);
            if same && !member.refreshes.is_due(id) {
                told.get_mut(family).remove(id);
                loc.release(id);
            } else {
                member.behind.insert(id);
                loc.claim(id);
            }
        }
        for family in Family::ALL {
            for (id, attrs) in std::mem::take(told.get_mut(family)).into_entries() {
                if !member.behind.insert(id) {
                    loc.release(id);
                }
                member.knew.insert(id, attrs);
            }
        }
        member
    }

    /// Nothing is held back any more; all is there after that many passes of the group.
    pub(super) const fn end_deferral(&mut self, due: u64) {
        self.deferring = false;
        (self.due, self.due_batch, self.passed) = (due, None, false);
    }

    /// The peer wants to be told again all that it was told of a family.
    pub(super) fn refresh(
        &mut self,
        peer: PeerId,
        family: Family,
        group: &mut Group,
        loc: &mut Loc,
    ) {
        if !self.refreshes.ask(family, self.initial) {
            return;
        }
        self.absorb(peer, group, loc);
        for (id, attrs) in group.told_to(peer) {
            if loc.get(id).prefix.family() == family && self.behind.insert(id) {
                loc.claim(id);
                self.knew.insert(id, attrs);
            }
        }
        for id in self.knew.ids().filter(|id| loc.get(*id).prefix.family() == family) {
            self.refreshes.add(id, family);
        }
    }

    /// What it is told next; `None` if it knows all that the group was told.
    pub(super) fn pull(
        &mut self,
        peer: PeerId,
        group: &mut Group,
        (loc, attrs): (&mut Loc, &AttrTable),
        budget: usize,
    ) -> Option<Pulled> {
        loop {
            let mut batch = Batch::default();
            self.refreshes.begin(&mut batch);
            if !self.behind.is_empty() {
                self.absorb(peer, group, loc);
                self.catch_up(peer, group, loc, budget, &mut batch);
            }
            if self.may_complete(group) {
                batch.complete(std::mem::take(&mut self.initial));
            }
            for family in self.refreshes.end(self.initial, &mut batch).iter() {
                self.refresh(peer, family, group, loc);
            }
            let own = batch.into_advertisements(attrs);
            if !own.is_empty() {
                return Some(Pulled::Own(own));
            }
            if self.is_behind() {
                if group.pending.is_empty() {
                    continue;
                }
                return None;
            }
            let batch = group.passed(self.next)?;
            self.next += 1;
            group.trim(loc);
            if batch.concerns(peer) {
                return Some(Pulled::Shared(batch));
            }
        }
    }

    /// Is there anything to tell it that the group was told?
    pub(super) fn has_work(&self, group: &Group) -> bool {
        let due = !self.initial.is_empty() && !self.deferring;
        let completes = due && (self.due_batch.is_some() || group.has_passed(self.due));
        !self.behind.is_empty()
            || self.next < group.end()
            || completes
            || self.refreshes.has_marks()
    }

    /// Attributes that it knows of.
    pub(super) fn attrs(&self) -> impl Iterator<Item = AttrId> {
        self.knew.values().copied()
    }

    /// How far it has looked through what is pending; `None` if it waits for the end of all that.
    pub(super) fn search(&self) -> Option<Search> {
        (self.initial.is_empty() || self.deferring).then_some(self.search)
    }

    pub(super) const fn set_search(&mut self, search: Search) {
        self.search = search;
    }

    /// May something be pending that concerns it?
    pub(super) fn may_find(&self, group: &Group) -> bool {
        let searched = self.search().is_some_and(|search| search.in_vain == group.marks);
        !group.pending.is_empty() && !searched
    }

    /// Is it told by destination?
    pub(super) fn is_behind(&self) -> bool {
        !self.behind.is_empty() || self.refreshes.has_marks()
    }

    /// Was it told all that the group was told?
    pub(super) fn is_in_step(&self, group: &Group) -> bool {
        self.behind.is_empty() && self.next == group.end()
    }

    /// Destinations at which it was not told what the group was told, and whether it knows of them.
    pub(super) fn missed(&self, peer: PeerId, group: &Group) -> BTreeMap<DestId, bool> {
        let behind = self.behind.iter().map(|id| (id, self.knew.get(id).is_some()));
        let mut missed: BTreeMap<_, _> = behind.collect();
        for (id, before) in group.log_from(self.next).flat_map(SharedBatch::before) {
            missed.entry(id).or_insert(Told::to(before, peer).is_some());
        }
        missed
    }

    /// The same for one destination, with what it knows of it.
    pub(super) fn missed_at(
        &self,
        peer: PeerId,
        group: &Group,
        id: DestId,
    ) -> Option<Option<AttrId>> {
        if self.behind.contains(id) {
            return Some(self.knew.get(id).copied());
        }
        let mut log = group.log_from(self.next).flat_map(SharedBatch::before);
        log.find(|(at, _)| *at == id).map(|(_, before)| Told::to(before, peer))
    }

    /// Takes note of what the log still has for it, to be told by destination.
    pub(super) fn absorb(&mut self, peer: PeerId, group: &mut Group, loc: &mut Loc) {
        while let Some(batch) = group.passed(self.next) {
            self.next += 1;
            for (id, before) in batch.before() {
                if self.behind.insert(id) {
                    loc.claim(id);
                    if let Some(attrs) = Told::to(before, peer) {
                        self.knew.insert(id, attrs);
                    }
                }
            }
        }
        group.trim(loc);
    }

    /// Lets go of every destination: the session ended.
    pub(super) fn clear(mut self, group: &mut Group, loc: &mut Loc) {
        while group.passed(self.next).is_some() {
            self.next += 1;
        }
        group.trim(loc);
        self.behind.iter().for_each(|id| loc.release(id));
    }

    /// What it knows, when it has taken note of all that was in the log.
    pub(super) fn into_known(self, peer: PeerId, group: &Group, loc: &mut Loc) -> Known {
        let Self { behind, mut knew, initial, deferring, refreshes, .. } = self;
        let mut told = PerFamily::<DestMap<AttrId>>::default();
        for (id, attrs) in group.told_to(peer).filter(|(id, _)| !behind.contains(*id)) {
            loc.claim(id);
            told.get_mut(loc.get(id).prefix.family()).insert(id, attrs);
        }
        for id in behind.iter() {
            match knew.remove(id) {
                Some(attrs) => {
                    told.get_mut(loc.get(id).prefix.family()).insert(id, attrs);
                }
                None => loc.release(id),
            }
        }
        Known { told, initial, deferring, refreshes }
    }

    fn catch_up(
        &mut self,
        peer: PeerId,
        group: &Group,
        loc: &mut Loc,
        budget: usize,
        batch: &mut Batch,
    ) {
        let mut wrapped = false;
        while batch.paths() < budget.max(1) {
            let Some(id) = self.behind.next_from(self.cursor) else {
                self.cursor = DestId::FIRST;
                self.passed = true;
                // Once around: what is still there waits for the group.
                let done = std::mem::replace(&mut wrapped, true) || self.behind.is_empty();
                if done || self.may_complete(group) {
                    return;
                }
                continue;
            };
            self.cursor = id.next();
            if group.pending.contains(id) {
                // What the group was told is not what it will be told.
                continue;
            }
            self.behind.remove(id);
            let prefix = loc.get(id).prefix;
            let again = self.refreshes.done(id, prefix.family());
            match (self.knew.remove(id), Told::to(group.told.get(id), peer)) {
                (Some(old), Some(new)) if old == new && !again => {}
                (_, Some(new)) => batch.reach(prefix.into(), new),
                (Some(_), None) => batch.withdraw(prefix.into()),
                (None, None) => {}
            }
            loc.release(id);
        }
    }

    /// Was it told everything that it is owed at first? Routes that keep changing cannot put that
    /// off: what is due is what was there at its beginning.
    fn may_complete(&mut self, group: &Group) -> bool {
        if self.initial.is_empty() || self.deferring {
            return false;
        }
        if self.due_batch.is_none() && group.has_passed(self.due) {
            (self.due_batch, self.passed) = (Some(group.end()), false);
        }
        let in_log = self.due_batch.is_some_and(|due| self.next >= due);
        in_log && (self.behind.is_empty() || self.passed)
    }
}
