//! Update groups: peers that see paths alike share one Adj-RIB-Out.
//!
//! In: destinations where something changed, and members that want to be told. Out: batches of
//! changes, worked out once and encoded once for all members, which differ only in that nobody is
//! told its own paths. A member has a place in the log of batches. One that falls behind the end
//! of the log, or joins late, is told by destination instead: that costs it a bit for each, and
//! what it knew there, so the log is short however slow a member is.
//!
//! Peers with an Adj-RIB-Out of their own ([`AdjOut`](super::adj_out::AdjOut)) are those that can be
//! told of several paths, of fewer than there are, or by policies that look at them.

mod batch;
mod common;
mod key;
mod member;

use std::{collections::BTreeMap, sync::Arc};

pub use self::batch::SharedBatch;
use self::{
    common::{Group, Told},
    member::Member,
};
pub(super) use self::{key::manner, member::Known};
use super::{
    attrs::{AttrId, AttrTable, InUse},
    dense::DestId,
    dest::Dest,
    export::ToldPath,
    loc::Loc,
    peer::{PeerId, PeerUp},
};
use crate::{family::Family, rib::Advertisement};

/// A group, by a number that is never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct GroupId(u32);

/// All groups.
#[derive(Debug, Default)]
pub(super) struct Groups {
    groups: BTreeMap<GroupId, Group>,
    next: u32,
    /// Groups whose members may have something new to pull, each once.
    stirred: Vec<GroupId>,
}

/// What one pull of a member comes to.
pub(super) enum Pulled {
    /// A batch that all share.
    Shared(Arc<SharedBatch>),
    /// Something of its own; empty if it is up to date, or others should be asked before it.
    Own(Vec<Advertisement>),
}

impl Groups {
    /// The peer joins those that see paths as it does. What it `knows` from elsewhere is compared
    /// with what the group was told.
    pub(super) fn join(
        &mut self,
        peer: PeerId,
        manner: PeerUp,
        known: Known,
        loc: &mut Loc,
    ) -> GroupId {
        let found = self.groups.iter().find(|(_, group)| *group.manner == manner);
        let id = found.map(|(id, _)| *id).unwrap_or_else(|| {
            let id = GroupId(self.next);
            self.next += 1;
            let mut group = Group::new(Arc::new(manner));
            group.mark_all(loc);
            self.groups.insert(id, group);
            id
        });
        let group = self.groups.get_mut(&id).expect("found or made above");
        group.join(peer, known, loc);
        id
    }

    /// The peer's session has ended.
    pub(super) fn leave(&mut self, id: GroupId, peer: PeerId, loc: &mut Loc) {
        let Some(group) = self.groups.get_mut(&id) else { return };
        if let Some(member) = group.members.remove(&peer) {
            member.clear(group, loc);
        }
        self.close_if_empty(id, loc);
    }

    /// The peer leaves for another place, with what it knows.
    pub(super) fn move_out(&mut self, id: GroupId, peer: PeerId, loc: &mut Loc) -> Option<Known> {
        let group = self.groups.get_mut(&id)?;
        let mut member = group.members.remove(&peer)?;
        member.absorb(peer, group, loc);
        let known = member.into_known(peer, group, loc);
        self.close_if_empty(id, loc);
        Some(known)
    }

    /// The paths of the destination changed, or what peers may see of them.
    pub(super) fn mark(
        &mut self,
        loc: &mut Loc,
        (id, urgent): (DestId, bool),
        concerned: impl Fn(&PeerUp) -> bool,
    ) {
        for (number, group) in &mut self.groups {
            if concerned(&group.manner) {
                group.mark(loc, id, urgent);
                if !std::mem::replace(&mut group.stirred, true) {
                    self.stirred.push(*number);
                }
            }
        }
    }

    /// The same for all destinations and groups.
    pub(super) fn mark_everything(&mut self, loc: &mut Loc) {
        let groups: Vec<_> = self.groups.keys().copied().collect();
        for id in groups {
            if let Some(group) = self.groups.get_mut(&id) {
                group.mark_all(loc);
            }
            self.stir(id);
        }
    }

    /// Members of groups with news since the last call. Not every one has something to pull.
    pub(super) fn stirred(&mut self) -> Vec<PeerId> {
        let mut peers = Vec::new();
        for id in self.stirred.drain(..) {
            if let Some(group) = self.groups.get_mut(&id) {
                group.stirred = false;
                peers.extend(group.members.keys());
            }
        }
        peers
    }

    /// Who is in a group.
    pub(super) fn members(&self, id: GroupId) -> impl Iterator<Item = PeerId> {
        let group = self.groups.get(&id);
        group.into_iter().flat_map(|group| group.members.keys().copied())
    }

    /// How the members of a group are seen by export.
    pub(super) fn manner(&self, id: GroupId) -> Option<Arc<PeerUp>> {
        self.groups.get(&id).map(|group| Arc::clone(&group.manner))
    }

    /// The peer wants to be told again all that it was told of a family (RFC 2918).
    pub(super) fn refresh(&mut self, id: GroupId, peer: PeerId, family: Family, loc: &mut Loc) {
        if let Some(group) = self.groups.get_mut(&id) {
            group.with(peer, |group, member| member.refresh(peer, family, group, loc));
        }
    }

    /// Nothing is held back any more. The caller marks everything that it may have been.
    pub(super) fn end_deferral(&mut self) {
        for group in self.groups.values_mut() {
            let due = group.next_full_pass();
            group.members.values_mut().for_each(|member| member.end_deferral(due));
        }
    }

    /// What to tell a member next, at most about `budget` paths; `export` says what the group shall
    /// know of a destination.
    pub(super) fn pull(
        &mut self,
        id: GroupId,
        peer: PeerId,
        (loc, attrs): (&mut Loc, &AttrTable),
        budget: usize,
        export: impl FnMut(&Dest, &mut Vec<ToldPath>),
    ) -> Pulled {
        let Some(group) = self.groups.get_mut(&id) else { return Pulled::Own(Vec::new()) };
        let end = group.end();
        let pulled = group.pull(peer, (loc, attrs), budget, export);
        if group.end() != end {
            self.stir(id);
        }
        pulled
    }

    /// Has the member anything to pull?
    pub(super) fn has_work(&self, id: GroupId, peer: PeerId) -> bool {
        self.groups.get(&id).is_some_and(|group| {
            let member = group.members.get(&peer);
            member.is_some_and(|member| member.may_find(group) || member.has_work(group))
        })
    }

    /// What the member was told of a destination.
    pub(super) fn told_of(&self, group: GroupId, peer: PeerId, id: DestId) -> Option<AttrId> {
        let group = self.groups.get(&group)?;
        let missed = group.members.get(&peer)?.missed_at(peer, group, id);
        missed.unwrap_or_else(|| Told::to(group.told.get(id), peer))
    }

    /// Destinations that it was told of.
    pub(super) fn told(&self, group: GroupId, peer: PeerId) -> Vec<DestId> {
        let Some(group) = self.groups.get(&group) else { return Vec::new() };
        let Some(member) = group.members.get(&peer) else { return Vec::new() };
        let missed = member.missed(peer, group);
        let told = group.told_to(peer).map(|(id, _)| id).filter(|id| !missed.contains_key(id));
        told.chain(missed.iter().filter(|(_, knew)| **knew).map(|(id, _)| *id)).collect()
    }

    /// Attributes that groups and members know of.
    pub(super) fn note_attrs(&self, in_use: &mut InUse) -> usize {
        let mut looked_at = 0;
        for group in self.groups.values() {
            let log = group.log.iter().flat_map(|(batch, _)| batch.before());
            let before = log.filter_map(|(_, told)| told.map(|told| told.attrs));
            let told = group.told.values().map(|told| told.attrs);
            let knew = group.members.values().flat_map(Member::attrs);
            before.chain(told).chain(knew).for_each(|id| {
                in_use.add(id);
                looked_at += 1;
            });
        }
        looked_at
    }

    /// How many paths of the family it was told.
    pub(super) fn told_count(
        &self,
        group: GroupId,
        peer: PeerId,
        family: Family,
        loc: &Loc,
    ) -> usize {
        let Some(members) = self.groups.get(&group) else { return 0 };
        let Some(member) = members.members.get(&peer) else { return 0 };
        if member.is_in_step(members) {
            return members.counts.get(family) - member.own.get(family);
        }
        let told = self.told(group, peer).into_iter();
        told.filter(|id| loc.get(*id).prefix.family() == family).count()
    }

    fn close_if_empty(&mut self, id: GroupId, loc: &mut Loc) {
        if self.groups.get(&id).is_some_and(|group| group.members.is_empty()) {
            self.stirred.retain(|other| *other != id);
            if let Some(group) = self.groups.remove(&id) {
                group.clear(loc);
            }
        }
    }

    fn stir(&mut self, id: GroupId) {
        if let Some(group) = self.groups.get_mut(&id)
            && !std::mem::replace(&mut group.stirred, true)
        {
            self.stirred.push(id);
        }
    }
}
