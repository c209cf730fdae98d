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
mod key;
mod member;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

pub use self::batch::SharedBatch;
use self::{batch::Builder, member::Member};
pub(super) use self::{key::manner, member::Known};
use super::{
    dense::{DestId, DestMap, DestSet},
    dest::Dest,
    export::ToldPath,
    loc::Loc,
    peer::{PeerId, PeerUp},
};
use crate::{
    attrs::Attrs,
    family::{Family, PerFamily},
    rib::Advertisement,
};

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

/// What a group was told of a destination: the attributes, and whose path it is, who is told
/// nothing of it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Told {
    attrs: Arc<Attrs>,
    from: Option<PeerId>,
}

impl Told {
    /// As this member knows it.
    fn to(this: Option<&Self>, member: PeerId) -> Option<&Arc<Attrs>> {
        this.filter(|told| told.from != Some(member)).map(|told| &told.attrs)
    }
}

/// See the module.
#[derive(Debug)]
struct Group {
    /// The members as export sees them.
    manner: Arc<PeerUp>,
    members: BTreeMap<PeerId, Member>,
    /// Destinations to look at, each with one claim on it.
    pending: DestSet,
    /// Where the next batch goes on.
    cursor: DestId,
    /// How often the end of `pending` was reached.
    passes: u64,
    /// What was told, each destination with one claim on it.
    told: DestMap<Told>,
    counts: PerFamily<usize>,
    /// Batches that some member has not been told, oldest first, and how many have not.
    log: VecDeque<(Arc<SharedBatch>, usize)>,
    /// Number of the first of them.
    first: u64,
    stirred: bool,
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
    pub(super) fn mark(&mut self, loc: &mut Loc, id: DestId, concerned: impl Fn(&PeerUp) -> bool) {
        for (number, group) in &mut self.groups {
            if concerned(&group.manner) {
                group.mark(loc, id);
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
        loc: &mut Loc,
        budget: usize,
        export: impl FnMut(&Dest, &mut Vec<ToldPath>),
    ) -> Pulled {
        let Some(group) = self.groups.get_mut(&id) else { return Pulled::Own(Vec::new()) };
        let end = group.end();
        let pulled = group.pull(peer, loc, budget, export);
        if group.end() != end {
            self.stir(id);
        }
        pulled
    }

    /// Has the member anything to pull?
    pub(super) fn has_work(&self, id: GroupId, peer: PeerId) -> bool {
        self.groups.get(&id).is_some_and(|group| {
            let member = group.members.get(&peer);
            member.is_some_and(|member| !group.pending.is_empty() || member.has_work(group))
        })
    }

    /// What the member was told of a destination.
    pub(super) fn told_of(&self, group: GroupId, peer: PeerId, id: DestId) -> Option<Arc<Attrs>> {
        let group = self.groups.get(&group)?;
        let missed = group.members.get(&peer)?.missed_at(peer, group, id);
        missed.unwrap_or_else(|| Told::to(group.told.get(id), peer)).cloned()
    }

    /// Destinations that it was told of.
    pub(super) fn told(&self, group: GroupId, peer: PeerId) -> Vec<DestId> {
        let Some(group) = self.groups.get(&group) else { return Vec::new() };
        let Some(member) = group.members.get(&peer) else { return Vec::new() };
        let missed = member.missed(peer, group);
        let told = group.told_to(peer).map(|(id, _)| id).filter(|id| !missed.contains_key(id));
        told.chain(missed.iter().filter(|(_, knew)| **knew).map(|(id, _)| *id)).collect()
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

impl Group {
    fn new(manner: Arc<PeerUp>) -> Self {
        Self {
            manner,
            members: BTreeMap::new(),
            pending: DestSet::default(),
            cursor: DestId::FIRST,
            passes: 0,
            told: DestMap::default(),
            counts: PerFamily::default(),
            log: VecDeque::new(),
            first: 0,
            stirred: false,
        }
    }

    fn join(&mut self, peer: PeerId, known: Known, loc: &mut Loc) {
        let member = Member::new(peer, known, self, loc);
        self.members.insert(peer, member);
    }

    fn clear(self, loc: &mut Loc) {
        self.told.ids().chain(self.pending.iter()).for_each(|id| loc.release(id));
    }

    fn mark(&mut self, loc: &mut Loc, id: DestId) {
        if loc.get(id).best().is_some() || self.told.get(id).is_some() {
            if self.pending.insert(id) {
                loc.claim(id);
            }
        } else if self.pending.remove(id) {
            // It came and went before anybody heard of it.
            loc.release(id);
        }
    }

    /// Has the group look at all destinations of its families.
    fn mark_all(&mut self, loc: &mut Loc) {
        for id in loc.ids() {
            if self.manner.families.contains(loc.get(id).prefix.family()) {
                self.mark(loc, id);
            }
        }
    }

    fn pull(
        &mut self,
        peer: PeerId,
        loc: &mut Loc,
        budget: usize,
        mut export: impl FnMut(&Dest, &mut Vec<ToldPath>),
    ) -> Pulled {
        // Who is behind is told of destinations once they are settled.
        let behind = self.members.get(&peer).is_some_and(Member::is_behind);
        if behind && !self.pending.is_empty() {
            self.advance(loc, budget, &mut export);
        }
        let pull = |group: &mut Self, loc: &mut Loc| {
            let pulled = group.with(peer, |group, member| member.pull(peer, group, loc, budget));
            pulled.flatten()
        };
        if let Some(pulled) = pull(self, loc) {
            return pulled;
        }
        // It knows all that the group knows; so the group must learn something. One batch for each
        // pull: if that is nothing to this member, others get their turn before the next.
        if !self.pending.is_empty() && !behind {
            self.advance(loc, budget, &mut export);
        }
        pull(self, loc).unwrap_or(Pulled::Own(Vec::new()))
    }

    /// The next batch, of at most `budget` destinations.
    fn advance(
        &mut self,
        loc: &mut Loc,
        budget: usize,
        export: &mut impl FnMut(&Dest, &mut Vec<ToldPath>),
    ) {
        let mut builder = Builder::default();
        let mut wanted = Vec::new();
        while builder.len() < budget.max(1) {
            let Some(id) = self.pending.next_from(self.cursor) else {
                self.cursor = DestId::FIRST;
                self.passes += 1;
                break;
            };
            self.cursor = id.next();
            self.pending.remove(id);
            let dest = loc.get(id);
            let (prefix, from) = (dest.prefix, dest.best().and_then(|best| best.key.from));
            export(dest, &mut wanted);
            let new = wanted.pop().map(|(_, attrs)| Told { attrs, from });
            if self.told.get(id) == new.as_ref() {
                loc.release(id);
                continue;
            }
            let old = self.tell(id, new, prefix.family(), loc);
            // The batch keeps the claim that `pending` had.
            builder.add(id, prefix, old, self.told.get(id));
        }
        if self.pending.is_empty() && self.cursor != DestId::FIRST {
            self.cursor = DestId::FIRST;
            self.passes += 1;
        }
        if let Some(batch) = builder.finish() {
            self.make_room(loc);
            self.log.push_back((Arc::new(batch), self.members.len()));
        }
    }

    /// Puts it down and gives what stood there; keeps counts and claims.
    fn tell(
        &mut self,
        id: DestId,
        new: Option<Told>,
        family: Family,
        loc: &mut Loc,
    ) -> Option<Told> {
        let is_new = new.is_some();
        let from = new.as_ref().and_then(|told| told.from);
        let old = match new {
            Some(told) => self.told.insert(id, told),
            None => self.told.remove(id),
        };
        let count = self.counts.get_mut(family);
        *count = *count + usize::from(is_new) - usize::from(old.is_some());
        if let Some(member) = from.and_then(|from| self.members.get_mut(&from)) {
            *member.own.get_mut(family) += 1;
        }
        let old_from = old.as_ref().and_then(|told| told.from);
        if let Some(member) = old_from.and_then(|from| self.members.get_mut(&from)) {
            *member.own.get_mut(family) -= 1;
        }
        match (old.is_some(), is_new) {
            (false, true) => loc.claim(id),
            (true, false) => loc.release(id),
            (true, true) | (false, false) => {}
        }
        old
    }

    /// A full log loses its first batch: who has not been told it is behind from now on.
    fn make_room(&mut self, loc: &mut Loc) {
        if self.log.len() < LOG_BATCHES {
            return;
        }
        let slow = self.members.iter().filter(|(_, member)| member.next == self.first);
        let slow: Vec<_> = slow.map(|(peer, _)| *peer).collect();
        for peer in slow {
            self.with(peer, |group, member| member.absorb(peer, group, loc));
        }
        self.trim(loc);
    }

    /// Drops batches that everybody was told.
    fn trim(&mut self, loc: &mut Loc) {
        while self.log.front().is_some_and(|(_, left)| *left == 0) {
            if let Some((batch, _)) = self.log.pop_front() {
                self.first += 1;
                loc.release_all(batch.ids());
            }
        }
    }

    /// A member is told the batch of this number, or has taken note of it.
    fn passed(&mut self, number: u64) -> Option<Arc<SharedBatch>> {
        let at = usize::try_from(number.checked_sub(self.first)?).ok()?;
        let (batch, left) = self.log.get_mut(at)?;
        *left -= 1;
        Some(Arc::clone(batch))
    }

    /// The batches from this number on.
    fn log_from(&self, number: u64) -> impl Iterator<Item = &SharedBatch> {
        let skip = usize::try_from(number - self.first).unwrap_or(usize::MAX);
        self.log.iter().skip(skip).map(|(batch, _)| &**batch)
    }

    /// Number of the batch after the last.
    fn end(&self) -> u64 {
        self.first + self.log.len() as u64
    }

    /// After how many passes everything that is there now has been looked at.
    fn next_full_pass(&self) -> u64 {
        self.passes + if self.cursor == DestId::FIRST { 1 } else { 2 }
    }

    /// Is everything of up to this pass in the log or behind it?
    fn has_passed(&self, passes: u64) -> bool {
        self.passes >= passes || self.pending.is_empty()
    }

    fn told_to(&self, peer: PeerId) -> impl Iterator<Item = (DestId, &Arc<Attrs>)> {
        self.told.iter().filter_map(move |(id, told)| Some((id, Told::to(Some(told), peer)?)))
    }

    /// Does something with a member and the rest of the group.
    fn with<T>(
        &mut self,
        peer: PeerId,
        work: impl FnOnce(&mut Self, &mut Member) -> T,
    ) -> Option<T> {
        let mut member = self.members.remove(&peer)?;
        let result = work(self, &mut member);
        self.members.insert(peer, member);
        Some(result)
    }
}

/// Batches kept for members that are not as fast as the fastest.
const LOG_BATCHES: usize = if cfg!(test) { 2 } else { 256 };
