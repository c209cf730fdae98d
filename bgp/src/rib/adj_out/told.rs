//! What a peer was told, by destination.
//!
//! In: what it shall know of a destination. Out: the difference, as announcements and
//! withdrawals. Where a family has one path for each prefix, that is a number in an array; where
//! it can have several (RFC 7911), a list of them.

use super::batch::Batch;
use crate::{
    family::{Family, FamilySet, PerFamily},
    prefix::Prefix,
    rib::{
        attrs::AttrId,
        dense::{DestId, DestMap},
        export::ToldPath,
        loc::Loc,
    },
    wire::Nlri,
};

/// See the module. Each destination in it has one claim on it.
#[derive(Debug)]
pub(super) struct Told {
    /// Families with several paths.
    add_path: FamilySet,
    one: PerFamily<DestMap<AttrId>>,
    /// Never empty lists.
    several: PerFamily<DestMap<Vec<ToldPath>>>,
    counts: PerFamily<usize>,
}

impl Told {
    /// This much. Who can be told of several paths has been told nothing before.
    pub(super) fn new(add_path: FamilySet, one: PerFamily<DestMap<AttrId>>) -> Self {
        let mut counts = PerFamily::default();
        for family in Family::ALL {
            *counts.get_mut(family) = one.get(family).ids().count();
        }
        Self { add_path, one, several: PerFamily::default(), counts }
    }

    /// All of families with one path; the others are let go.
    pub(super) fn into_one(self, loc: &mut Loc) -> PerFamily<DestMap<AttrId>> {
        let several = Family::ALL.into_iter().flat_map(|family| self.several.get(family).ids());
        several.for_each(|id| loc.release(id));
        self.one
    }

    /// Does the peer know of the destination?
    pub(super) fn contains(&self, family: Family, id: DestId) -> bool {
        self.one.get(family).get(id).is_some() || self.several.get(family).get(id).is_some()
    }

    /// What it knows of it.
    pub(super) fn of(&self, family: Family, id: DestId) -> impl Iterator<Item = ToldPath> {
        let one = self.one.get(family).get(id).map(|attrs| (0, *attrs));
        let several = self.several.get(family).get(id).into_iter().flatten().cloned();
        one.into_iter().chain(several)
    }

    /// Destinations of a family that it knows of.
    pub(super) fn destinations(&self, family: Family) -> Vec<DestId> {
        self.one.get(family).ids().chain(self.several.get(family).ids()).collect()
    }

    /// Attributes that it knows.
    pub(super) fn attrs(&self) -> impl Iterator<Item = AttrId> {
        let one = Family::ALL.into_iter().flat_map(|family| self.one.get(family).values());
        let several = Family::ALL.into_iter().flat_map(|family| self.several.get(family).values());
        one.copied().chain(several.flatten().map(|(_, attrs)| *attrs))
    }

    /// How many paths of the family it knows.
    pub(super) const fn count(&self, family: Family) -> usize {
        *self.counts.get(family)
    }

    /// Makes what the peer knows of a destination into what is `wanted`, which is left empty.
    /// What stays as it is is told only if `again`.
    pub(super) fn replace(
        &mut self,
        loc: &mut Loc,
        (id, prefix): (DestId, Prefix),
        wanted: &mut Vec<ToldPath>,
        again: bool,
        batch: &mut Batch,
    ) {
        let family = prefix.family();
        let known = self.contains(family, id);
        let exists = !wanted.is_empty();
        if self.add_path.contains(family) {
            self.replace_several((id, prefix), wanted, again, batch);
        } else {
            self.replace_one((id, prefix), wanted.pop().map(|(_, attrs)| attrs), again, batch);
        }
        match (known, exists) {
            (false, true) => loc.claim(id),
            (true, false) => loc.release(id),
            (true, true) | (false, false) => {}
        }
    }

    fn replace_one(
        &mut self,
        (id, prefix): (DestId, Prefix),
        wanted: Option<AttrId>,
        again: bool,
        batch: &mut Batch,
    ) {
        let family = prefix.family();
        let count = self.counts.get_mut(family);
        let told = self.one.get_mut(family);
        let Some(attrs) = wanted else {
            if told.remove(id).is_some() {
                *count -= 1;
                batch.withdraw(prefix.into());
            }
            return;
        };
        match told.insert(id, attrs) {
            Some(old) if old == attrs && !again => return,
            Some(_) => {}
            None => *count += 1,
        }
        batch.reach(prefix.into(), attrs);
    }

    fn replace_several(
        &mut self,
        (id, prefix): (DestId, Prefix),
        wanted: &mut Vec<ToldPath>,
        again: bool,
        batch: &mut Batch,
    ) {
        let family = prefix.family();
        let told = self.several.get_mut(family);
        let new = std::mem::take(wanted);
        let count = new.len();
        let old = if new.is_empty() { told.remove(id) } else { told.insert(id, new.clone()) };
        let old = old.unwrap_or_default();
        for (path_id, _) in &old {
            if new.iter().all(|(other, _)| other != path_id) {
                batch.withdraw(Nlri { prefix, path_id: *path_id });
            }
        }
        let total = self.counts.get_mut(family);
        *total = *total + count - old.len();
        for path in new {
            if again || !old.contains(&path) {
                let (path_id, attrs) = path;
                batch.reach(Nlri { prefix, path_id }, attrs);
            }
        }
    }
}
