//! One way to a destination.
//!
//! Attributes stand here as numbers, so that a path takes 32 octets.

#[cfg(doc)]
use super::Dest;
use crate::{
    attrs::NextHop,
    rib::{
        account::{Account, Standing},
        attrs::{AttrId, AttrTable, Imported, PackedImport},
        peer::PeerId,
        verdict::Freshness,
    },
    timestamp::Timestamp,
};

/// Which of a destination's paths: no two have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::rib) struct PathKey {
    /// Who announced it; `None` if this router originates it.
    pub(in crate::rib) from: Option<PeerId>,
    /// The peer's number for it (RFC 7911); 0 if it gives none.
    pub(in crate::rib) path_id: u32,
}

impl PathKey {
    /// Of what this router originates.
    pub(in crate::rib) const OURS: Self = Self { from: None, path_id: 0 };
}

/// One way to a destination.
#[derive(Debug)]
pub(in crate::rib) struct Path {
    /// Who announced it: a peer's number, or [`OURS`].
    from: u32,
    path_id: u32,
    /// Attributes as received.
    pub(in crate::rib) received: AttrId,
    imported: PackedImport,
    /// Our own number for it, given by [`Dest::put`]; see [`Self::told_as`].
    pub(super) told_as: u32,
    learned: Timestamp,
    freshness: Freshness,
    unrefreshed: bool,
    /// What came of it; kept by [`Dest::stand`].
    pub(super) standing: Standing,
}

/// No peer: this router originates it.
const OURS: u32 = u32::MAX;

/// When a path came, and whether its peer still stands by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::rib) struct Marks {
    /// When it was received; kept when a change of policy changes what is made of it.
    pub(in crate::rib) learned: Timestamp,
    /// Which session it is from, and since when it is kept if that has ended.
    pub(in crate::rib) freshness: Freshness,
    /// Its peer is announcing everything again and has not come to it yet (RFC 7313 §4).
    pub(in crate::rib) unrefreshed: bool,
}

impl Marks {
    /// Of a path that has just come.
    pub(in crate::rib) const fn new(learned: Timestamp) -> Self {
        Self { learned, freshness: Freshness::Current, unrefreshed: false }
    }
}

impl Path {
    /// A path that no decision has seen yet.
    pub(in crate::rib) fn new(
        key: PathKey,
        received: AttrId,
        imported: Imported,
        marks: Marks,
    ) -> Self {
        Self {
            from: key.from.map_or(OURS, |peer| peer.0),
            path_id: key.path_id,
            received,
            imported: PackedImport::new(imported),
            told_as: 0,
            learned: marks.learned,
            freshness: marks.freshness,
            unrefreshed: marks.unrefreshed,
            standing: Standing::Ineligible,
        }
    }

    /// When it came, and whether its peer still stands by it.
    pub(in crate::rib) const fn marks(&self) -> Marks {
        let Self { learned, freshness, unrefreshed, .. } = *self;
        Marks { learned, freshness, unrefreshed }
    }

    /// Has others put in their place.
    pub(in crate::rib) const fn set_marks(&mut self, marks: Marks) {
        let Marks { learned, freshness, unrefreshed } = marks;
        self.learned = learned;
        self.freshness = freshness;
        self.unrefreshed = unrefreshed;
    }

    /// Which it is.
    pub(in crate::rib) fn key(&self) -> PathKey {
        PathKey { from: self.from(), path_id: self.path_id }
    }

    /// Who announced it; `None` if this router originates it.
    pub(in crate::rib) fn from(&self) -> Option<PeerId> {
        (self.from != OURS).then_some(PeerId(self.from))
    }

    /// Attributes after import policy, or why it was not accepted.
    pub(in crate::rib) fn imported(&self) -> Imported {
        self.imported.get()
    }

    /// The attributes, if it was accepted.
    pub(in crate::rib) fn accepted(&self) -> Option<AttrId> {
        self.imported().ok()
    }

    /// The next hop that must be reached to use it, if there is one.
    pub(in crate::rib) fn next_hop(&self, attrs: &AttrTable) -> Option<NextHop> {
        self.accepted().filter(|_| self.from != OURS).map(|id| attrs.next_hop(id))
    }

    /// The number by which peers are told of it where they are told of several (RFC 7911): not 0,
    /// no other path of the destination has it, and it stays when the path is replaced.
    pub(in crate::rib) const fn told_as(&self) -> u32 {
        self.told_as
    }

    /// What came of it at the last decision.
    pub(in crate::rib) const fn standing(&self) -> Standing {
        self.standing
    }

    /// What its peer accounts for by it.
    pub(in crate::rib) fn account(&self) -> Account {
        let stale = !matches!(self.freshness, Freshness::Current);
        Account { standing: self.standing, stale, let_in: self.imported().is_ok() }
    }
}
