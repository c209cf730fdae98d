//! One peer's Adj-RIB-Out: what it was told, and what it must be told next.
//!
//! In: destinations whose best path changed. Out: advertisements, made when they are pulled
//! from what the Loc-RIB holds at that moment. A peer that does not pull costs one bit for
//! each destination that changed, however often it changed.

use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::{
    dense::{DestId, DestMap, DestSet},
    dest::Dest,
    loc::Loc,
    peer::PerFamily,
};
use crate::{
    attrs::Attrs,
    family::{Family, FamilySet},
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
#[derive(Debug, Default)]
pub(super) struct AdjOut {
    /// Destinations to look at, each with one claim on it.
    pending: DestSet,
    /// Of these, the ones to be told again even if nothing changed (RFC 2918).
    repeat: DestSet,
    /// What it was told, each with one claim on its destination.
    told: DestMap<Arc<Attrs>>,
    told_counts: PerFamily<usize>,
    /// Where the next pull goes on. Reaching the end once completes the initial transfer.
    cursor: DestId,
    /// Families whose initial transfer is not complete.
    initial: FamilySet,
    /// It cannot be completed yet: some routes are held back.
    deferring: bool,
}

impl AdjOut {
    /// For a peer that has just come up and is owed everything; `deferring` if some of that will
    /// be held back until [`Self::end_deferral`].
    pub(super) fn new(families: FamilySet, deferring: bool) -> Self {
        Self { initial: families, deferring, ..Self::default() }
    }

    /// Nothing is held back any more. The caller marks everything that it may have been.
    pub(super) fn end_deferral(&mut self) {
        self.deferring = false;
        self.cursor = DestId::FIRST;
    }

    /// The best path of the destination changed, or what the peer may see of it.
    pub(super) fn mark(&mut self, loc: &mut Loc, id: DestId) {
        if loc.get(id).best().is_some() || self.told.get(id).is_some() {
            if self.pending.insert(id) {
                loc.claim(id);
            }
        } else if self.pending.remove(id) {
            // Came and went before the peer heard of it.
            self.repeat.remove(id);
            loc.release(id);
        }
    }

    /// The peer wants to be told again what it was told of this destination.
    pub(super) fn mark_again(&mut self, loc: &mut Loc, id: DestId) {
        self.repeat.insert(id);
        self.mark(loc, id);
    }

    /// Destinations that the peer was told.
    pub(super) fn told(&self) -> impl Iterator<Item = DestId> {
        self.told.ids()
    }

    /// What the peer was told of a destination.
    pub(super) fn told_of(&self, id: DestId) -> Option<&Arc<Attrs>> {
        self.told.get(id)
    }

    /// How many prefixes of the family the peer was told.
    pub(super) const fn told_count(&self, family: Family) -> usize {
        *self.told_counts.get(family)
    }

    /// Is there anything to look at?
    pub(super) const fn has_work(&self) -> bool {
        !self.pending.is_empty() || self.may_complete()
    }

    /// Lets go of every destination: the session ended.
    pub(super) fn clear(self, loc: &mut Loc) {
        self.pending.iter().chain(self.told.ids()).for_each(|id| loc.release(id));
    }

    /// What to tell next, at most `budget` prefixes, withdrawals first; `export` says what the
    /// peer shall know of a destination. Empty only if the peer is up to date.
    pub(super) fn pull(
        &mut self,
        loc: &mut Loc,
        budget: usize,
        mut export: impl FnMut(&Dest) -> Option<Arc<Attrs>>,
    ) -> Vec<Advertisement> {
        let mut batch = Batch::default();
        while batch.prefixes < budget.max(1) {
            let Some(id) = self.pending.next_from(self.cursor) else {
                self.cursor = DestId::FIRST;
                if self.may_complete() {
                    batch.complete = std::mem::take(&mut self.initial);
                    break;
                }
                if self.pending.is_empty() {
                    break;
                }
                continue;
            };
            self.cursor = id.next();
            let dest = loc.get(id);
            let (prefix, wanted) = (dest.prefix, export(dest));
            let again = self.repeat.remove(id);
            self.tell(loc, id, prefix, wanted, again, &mut batch);
            self.pending.remove(id);
            loc.release(id);
        }
        batch.into_advertisements()
    }

    const fn may_complete(&self) -> bool {
        !self.initial.is_empty() && !self.deferring
    }

    /// Makes what the peer was told into what is wanted.
    fn tell(
        &mut self,
        loc: &mut Loc,
        id: DestId,
        prefix: Prefix,
        wanted: Option<Arc<Attrs>>,
        again: bool,
        batch: &mut Batch,
    ) {
        let family = prefix.family();
        let Some(attrs) = wanted else {
            if self.told.remove(id).is_some() {
                *self.told_counts.get_mut(family) -= 1;
                loc.release(id);
                batch.withdraw(prefix);
            }
            return;
        };
        match self.told.insert(id, Arc::clone(&attrs)) {
            Some(old) if old == attrs && !again => return,
            Some(_) => {}
            None => {
                *self.told_counts.get_mut(family) += 1;
                loc.claim(id);
            }
        }
        batch.reach(prefix, attrs);
    }
}

/// Advertisements being gathered: a prefix stands in at most one of them, so that their order
/// does not matter.
#[derive(Default)]
struct Batch {
    prefixes: usize,
    withdrawn: PerFamily<Vec<Nlri>>,
    reach: Vec<(Arc<Attrs>, Vec<Nlri>)>,
    /// Where in `reach` a set of attributes (by address: `reach` keeps it alive) stands.
    groups: HashMap<(Family, *const Attrs), usize, RandomState>,
    complete: FamilySet,
}

impl Batch {
    fn withdraw(&mut self, prefix: Prefix) {
        self.withdrawn.get_mut(prefix.family()).push(prefix.into());
        self.prefixes += 1;
    }

    fn reach(&mut self, prefix: Prefix, attrs: Arc<Attrs>) {
        let at = *self.groups.entry((prefix.family(), Arc::as_ptr(&attrs))).or_insert_with(|| {
            self.reach.push((attrs, Vec::new()));
            self.reach.len() - 1
        });
        self.reach[at].1.push(prefix.into());
        self.prefixes += 1;
    }

    fn into_advertisements(mut self) -> Vec<Advertisement> {
        let mut all = Vec::with_capacity(self.reach.len() + 4);
        for family in Family::ALL {
            let prefixes = std::mem::take(self.withdrawn.get_mut(family));
            if !prefixes.is_empty() {
                all.push(Advertisement::Withdraw(prefixes));
            }
        }
        let reach = self.reach.into_iter();
        all.extend(reach.map(|(attrs, prefixes)| Advertisement::Reach { attrs, prefixes }));
        all.extend(self.complete.iter().map(Advertisement::EndOfRib));
        all
    }
}
