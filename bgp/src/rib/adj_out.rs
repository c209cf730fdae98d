//! One peer's Adj-RIB-Out: what it was told, and what it must be told next.
//!
//! In: destinations where something changed. Out: advertisements, made when they are pulled
//! from what the Loc-RIB holds at that moment. A peer that does not pull costs one bit for
//! each destination that changed, however often it changed.

mod batch;
mod refreshes;
mod told;

use std::sync::Arc;

use self::told::Told;
pub(super) use self::{batch::Batch, refreshes::Refreshes};
use super::{
    attrs::{AttrId, AttrTable},
    dense::{DestId, DestSet},
    dest::Dest,
    export::ToldPath,
    group::Known,
    loc::Loc,
    pending::Pending,
};
use crate::{
    attrs::Attrs,
    family::{Family, FamilySet, PerFamily},
    prefix::Prefix,
    wire::Nlri,
};

/// Announcements or withdrawals for one peer: one UPDATE's worth of content or more, to be
/// encoded and split by [`Update::encode`](crate::wire::Update::encode).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Advertisement {
    /// These prefixes now have these attributes.
    Reach {
        /// Attributes as the peer must see them.
        attrs: Arc<Attrs>,
        /// Prefixes of one family.
        prefixes: Vec<Nlri>,
    },
    /// These prefixes, of one family, are gone.
    Withdraw(Vec<Nlri>),
    /// The initial transfer of this family is complete (RFC 4724 §2).
    EndOfRib(Family),
    /// All routes of this family follow, since the peer has asked for them again. Encoded by
    /// [`Refresh::begin`](crate::wire::Refresh::begin); only for a peer with
    /// [`Established::enhanced_refresh`](crate::session::Established::enhanced_refresh), and not
    /// before its End-of-RIB if it has graceful restart (RFC 7313 §4).
    RefreshBegin(Family),
    /// All routes of this family have been announced again, as
    /// [`Refresh::end`](crate::wire::Refresh::end).
    RefreshEnd(Family),
}

/// What one peer was told and must be told.
#[derive(Debug)]
pub(super) struct AdjOut {
    /// Destinations to look at, each with one claim on it.
    pending: Pending,
    /// What it was told, each destination with one claim on it.
    told: Told,
    /// Destinations of which something is kept from it since it was told as much as it may be,
    /// each with one claim on it.
    held_back: PerFamily<DestSet>,
    limits: PerFamily<Option<u32>>,
    /// Families of which something is held back, and whether somebody knows.
    at_limit: PerFamily<AtLimit>,
    /// Where the next pull goes on. Reaching the end once completes the initial transfer.
    cursor: DestId,
    /// Families whose initial transfer is not complete.
    initial: FamilySet,
    /// It cannot be completed yet: some routes are held back.
    deferring: bool,
    refreshes: Refreshes,
}

/// Whether a peer is told as much as it may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum AtLimit {
    #[default]
    No,
    /// Since the last time somebody asked.
    Newly,
    /// And somebody knows.
    Known,
}

/// What a peer's Adj-RIB-Out depends on besides its routes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    /// Families that the peer is told of.
    pub(super) families: FamilySet,
    /// Of these, the ones in which it is told of several paths (RFC 7911).
    pub(super) add_path: FamilySet,
    /// Whether answers to route refreshes are marked (RFC 7313).
    pub(super) marks_refreshes: bool,
    /// Whether some routes are held back until [`AdjOut::end_deferral`].
    pub(super) deferring: bool,
    /// How many paths the peer is told at most.
    pub(super) limits: PerFamily<Option<u32>>,
}

impl AdjOut {
    /// For a peer that knows this much; what it knows is looked at again.
    pub(super) fn new(manner: &Manner, known: Known, loc: &mut Loc) -> Self {
        let Known { told, initial, deferring, refreshes } = known;
        let mut out = Self {
            pending: Pending::default(),
            told: Told::new(manner.add_path, told),
            held_back: PerFamily::default(),
            limits: manner.limits,
            at_limit: PerFamily::default(),
            cursor: DestId::FIRST,
            initial,
            deferring,
            refreshes,
        };
        out.told().into_iter().for_each(|id| out.mark(loc, id, false));
        out
    }

    /// What the peer knows, of those who are told of one path for each prefix.
    pub(super) fn into_known(self, loc: &mut Loc) -> Known {
        let Self { pending, told, held_back, initial, deferring, refreshes, .. } = self;
        let held_back = Family::ALL.into_iter().flat_map(|of| held_back.get(of).iter());
        pending.iter().chain(held_back).for_each(|id| loc.release(id));
        Known { told: told.into_one(loc), initial, deferring, refreshes }
    }

    /// Nothing is held back any more. The caller marks everything that it may have been.
    pub(super) fn end_deferral(&mut self) {
        self.deferring = false;
        self.cursor = DestId::FIRST;
    }

    /// Other limits. The caller marks everything.
    pub(super) fn set_limits(&mut self, limits: PerFamily<Option<u32>>) {
        if self.limits != limits {
            (self.limits, self.at_limit) = (limits, PerFamily::default());
        }
    }

    /// Limits that were reached since the last call.
    pub(super) fn newly_held_back(&mut self) -> PerFamily<Option<u32>> {
        let mut reached = PerFamily::default();
        for family in Family::ALL {
            let at_limit = self.at_limit.get_mut(family);
            if *at_limit == AtLimit::Newly {
                *at_limit = AtLimit::Known;
                *reached.get_mut(family) = *self.limits.get(family);
            }
        }
        reached
    }

    /// Is something of the destination kept from the peer since it was told as much as it may be?
    pub(super) fn is_held_back(&self, family: Family, id: DestId) -> bool {
        self.held_back.get(family).contains(id)
    }

    /// The paths of the destination changed, or what the peer may see of them.
    pub(super) fn mark(&mut self, loc: &mut Loc, id: DestId, urgent: bool) {
        if loc.get(id).best().is_some() || self.told.contains(loc.get(id).prefix.family(), id) {
            if self.pending.insert(id, urgent) {
                loc.claim(id);
            }
        } else {
            // It came and went before the peer heard of it.
            let family = loc.get(id).prefix.family();
            self.refreshes.done(id, family);
            let held_back = self.held_back.get_mut(family).remove(id);
            let pending = self.pending.remove(id);
            (0..usize::from(held_back) + usize::from(pending)).for_each(|_| loc.release(id));
        }
    }

    /// The peer wants to be told again all that it was told of a family (RFC 2918).
    pub(super) fn refresh(&mut self, loc: &mut Loc, family: Family) {
        if self.refreshes.ask(family, self.initial) {
            for id in self.told.destinations(family) {
                self.refreshes.add(id, family);
                self.mark(loc, id, false);
            }
        }
    }

    /// What the peer was told of a destination.
    pub(super) fn told_of(&self, family: Family, id: DestId) -> impl Iterator<Item = ToldPath> {
        self.told.of(family, id)
    }

    /// Destinations that the peer was told of.
    pub(super) fn told(&self) -> Vec<DestId> {
        Family::ALL.into_iter().flat_map(|family| self.told.destinations(family)).collect()
    }

    /// Attributes that it was told.
    pub(super) fn attrs(&self) -> impl Iterator<Item = AttrId> {
        self.told.attrs()
    }

    /// How many paths of the family the peer was told.
    pub(super) const fn told_count(&self, family: Family) -> usize {
        self.told.count(family)
    }

    /// Is there anything to tell?
    pub(super) fn has_work(&self) -> bool {
        let held_back = Family::ALL.into_iter().any(|family| self.can_let_go(family));
        let marks = self.refreshes.has_marks();
        !self.pending.is_empty() || self.may_complete() || marks || held_back
    }

    /// Lets go of every destination: the session ended.
    pub(super) fn clear(self, loc: &mut Loc) {
        let held_back = Family::ALL.into_iter().flat_map(|of| self.held_back.get(of).iter());
        let told = self.told().into_iter();
        told.chain(self.pending.iter()).chain(held_back).for_each(|id| loc.release(id));
    }

    /// What to tell next, at most about `budget` paths; `export` says what the peer shall know of
    /// a destination. Empty only if the peer is up to date.
    pub(super) fn pull(
        &mut self,
        (loc, attrs): (&mut Loc, &AttrTable),
        budget: usize,
        mut export: impl FnMut(&Dest, &mut Vec<ToldPath>),
    ) -> Vec<Advertisement> {
        let mut batch = Batch::default();
        let mut wanted = Vec::new();
        self.refreshes.begin(&mut batch);
        while batch.paths() < budget.max(1) {
            let ahead = (batch.paths() < budget.div_ceil(2)).then(|| self.pending.next_ahead());
            if let Some(id) = ahead.flatten() {
                self.look_at(loc, id, &mut export, &mut wanted, &mut batch);
                continue;
            }
            let Some(id) = self.pending.next_from(self.cursor) else {
                self.cursor = DestId::FIRST;
                self.let_go(loc);
                if self.may_complete() {
                    batch.complete(std::mem::take(&mut self.initial));
                    break;
                }
                if self.pending.is_empty() {
                    break;
                }
                continue;
            };
            self.cursor = id.next();
            self.look_at(loc, id, &mut export, &mut wanted, &mut batch);
        }
        for family in self.refreshes.end(self.initial, &mut batch).iter() {
            self.refresh(loc, family);
        }
        batch.into_advertisements(attrs)
    }

    /// Works out what the peer shall know of a destination, and what it is told for that.
    fn look_at(
        &mut self,
        loc: &mut Loc,
        id: DestId,
        export: &mut impl FnMut(&Dest, &mut Vec<ToldPath>),
        wanted: &mut Vec<ToldPath>,
        batch: &mut Batch,
    ) {
        let dest = loc.get(id);
        let prefix = dest.prefix;
        export(dest, wanted);
        let again = self.refreshes.done(id, prefix.family());
        self.hold_back(loc, (id, prefix), wanted);
        self.told.replace(loc, (id, prefix), wanted, again, batch);
        self.pending.remove(id);
        loc.release(id);
    }

    /// Leaves of `wanted` what the peer may be told without going over its limit.
    fn hold_back(
        &mut self,
        loc: &mut Loc,
        (id, prefix): (DestId, Prefix),
        wanted: &mut Vec<ToldPath>,
    ) {
        let family = prefix.family();
        let others = self.told.count(family) - self.told.of(family, id).count();
        let room = self.room(family).saturating_sub(others);
        let too_much = wanted.len() > room;
        wanted.truncate(room);
        let held_back = self.held_back.get_mut(family);
        if too_much && held_back.insert(id) {
            loc.claim(id);
        } else if !too_much && held_back.remove(id) {
            loc.release(id);
        }
        let at_limit = self.at_limit.get_mut(family);
        if too_much && *at_limit == AtLimit::No {
            *at_limit = AtLimit::Newly;
        }
    }

    /// Looks again at what was held back, where there is room now.
    fn let_go(&mut self, loc: &mut Loc) {
        for family in Family::ALL {
            if !self.can_let_go(family) {
                continue;
            }
            let room = self.room(family).saturating_sub(self.told.count(family));
            let held_back: Vec<_> = self.held_back.get(family).iter().take(room).collect();
            held_back.into_iter().for_each(|id| self.mark(loc, id, false));
        }
    }

    fn can_let_go(&self, family: Family) -> bool {
        !self.held_back.get(family).is_empty() && self.told.count(family) < self.room(family)
    }

    /// How many paths of the family the peer may be told.
    fn room(&self, family: Family) -> usize {
        self.limits.get(family).map_or(usize::MAX, |max| max as usize)
    }

    const fn may_complete(&self) -> bool {
        !self.initial.is_empty() && !self.deferring
    }
}
