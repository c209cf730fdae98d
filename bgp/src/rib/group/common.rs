//! What the members of one group share: what they were told, what is to be looked at, and the batches
//! that not all of them have been told.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use super::{
    Pulled, SharedBatch,
    batch::Builder,
    member::{Known, Member},
};
use crate::{
    family::{Family, PerFamily},
    rib::{
        attrs::{AttrId, AttrTable},
        dense::{DestId, DestMap},
        dest::{Dest, Path},
        export::ToldPath,
        loc::Loc,
        peer::{PeerId, PeerUp},
        pending::Pending,
    },
};

/// See the module.
#[derive(Debug)]
pub(super) struct Group {
    /// The members as export sees them.
    pub(super) manner: Arc<PeerUp>,
    pub(super) members: BTreeMap<PeerId, Member>,
    /// Destinations to look at, each with one claim on it.
    pub(super) pending: Pending,
    /// Where the next batch goes on.
    pub(super) cursor: DestId,
    /// How often the end of `pending` was reached.
    pub(super) passes: u64,
    /// What was told, each destination with one claim on it.
    pub(super) told: DestMap<Told>,
    pub(super) counts: PerFamily<usize>,
    /// Batches that some member has not been told, oldest first, and how many have not.
    pub(super) log: VecDeque<(Arc<SharedBatch>, usize)>,
    /// Number of the first of them.
    pub(super) first: u64,
    pub(super) stirred: bool,
    /// Counts what `pending` was changed by.
    pub(super) marks: u64,
}

/// What a group was told of a destination: the attributes, and whose path it is, who is told
/// nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) attrs: AttrId,
    /// A peer's number, or [`OURS`].
    pub(super) from: u32,
}

/// No peer: this router originates it.
const OURS: u32 = u32::MAX;

impl Told {
    pub(super) fn new(attrs: AttrId, from: Option<PeerId>) -> Self {
        Self { attrs, from: from.map_or(OURS, |peer| peer.0) }
    }

    pub(super) fn from(self) -> Option<PeerId> {
        (self.from != OURS).then_some(PeerId(self.from))
    }

    /// As this member knows it.
    pub(super) fn to(this: Option<&Self>, member: PeerId) -> Option<AttrId> {
        this.filter(|told| told.from() != Some(member)).map(|told| told.attrs)
    }
}

impl Group {
    pub(super) fn new(manner: Arc<PeerUp>) -> Self {
        Self {
            manner,
            members: BTreeMap::new(),
            pending: Pending::default(),
            cursor: DestId::FIRST,
            passes: 0,
            told: DestMap::default(),
            counts: PerFamily::default(),
            log: VecDeque::new(),
            first: 0,
            stirred: false,
            marks: 0,
        }
    }

    pub(super) fn join(&mut self, peer: PeerId, known: Known, loc: &mut Loc) {
        let member = Member::new(peer, known, self, loc);
        self.members.insert(peer, member);
    }

    pub(super) fn clear(self, loc: &mut Loc) {
        self.told.ids().chain(self.pending.iter()).for_each(|id| loc.release(id));
    }

    pub(super) fn mark(&mut self, loc: &mut Loc, id: DestId, urgent: bool) {
        self.marks += 1;
        if loc.get(id).best().is_some() || self.told.get(id).is_some() {
            if self.pending.insert(id, urgent) {
                loc.claim(id);
            }
        } else if self.pending.remove(id) {
            // It came and went before anybody heard of it.
            loc.release(id);
        }
    }

    /// Has the group look at all destinations of its families.
    pub(super) fn mark_all(&mut self, loc: &mut Loc) {
        for id in loc.ids() {
            if self.manner.families.contains(loc.get(id).prefix.family()) {
                self.mark(loc, id, false);
            }
        }
    }

    pub(super) fn pull(
        &mut self,
        peer: PeerId,
        (loc, attrs): (&mut Loc, &AttrTable),
        budget: usize,
        mut export: impl FnMut(&Dest, &mut Vec<ToldPath>),
    ) -> Pulled {
        // Who is behind is told of destinations once they are settled.
        let behind = self.members.get(&peer).is_some_and(Member::is_behind);
        if behind && !self.pending.is_empty() {
            self.advance((&mut *loc, attrs), budget, &mut export);
        }
        let pull = |group: &mut Self, loc: &mut Loc| {
            let pulled =
                group.with(peer, |group, member| member.pull(peer, group, (loc, attrs), budget));
            pulled.flatten()
        };
        if let Some(pulled) = pull(self, loc) {
            return pulled;
        }
        // It knows all that the group knows; so the group must learn something, if there is something for
        // this member. Who has nothing to be told of what waits, since it has announced it all, must
        // not drive the others, who would have to run after the log.
        if !self.pending.is_empty() && !behind && self.has_news_for(peer, loc) {
            self.advance((&mut *loc, attrs), budget, &mut export);
        }
        pull(self, loc).unwrap_or(Pulled::Own(Vec::new()))
    }

    /// Whether something is pending of which the member must be told; that then goes first. Looks at
    /// some destinations at most, and goes on there the next time.
    fn has_news_for(&mut self, peer: PeerId, loc: &Loc) -> bool {
        let next = self.pending.peek_ahead().or_else(|| self.pending.next_from(self.cursor));
        if next.is_some_and(|id| self.concerns(peer, id, loc)) {
            return true;
        }
        let Some(Some(mut search)) = self.members.get(&peer).map(Member::search) else {
            return true;
        };
        let mut found = None;
        for _ in 0..SEARCHED {
            let Some(id) = self.pending.next_from(search.at) else {
                search.end();
                break;
            };
            if self.concerns(peer, id, loc) {
                found = Some(id);
                break;
            }
            search.begin(self.marks);
            search.at = id.next();
        }
        if let Some(member) = self.members.get_mut(&peer) {
            member.set_search(search);
        }
        found.inspect(|id| self.pending.put_first(*id)).is_some()
    }

    /// May the member have to be told of what becomes of this destination?
    fn concerns(&self, peer: PeerId, id: DestId, loc: &Loc) -> bool {
        let known = Told::to(self.told.get(id), peer).is_some();
        known || loc.get(id).best().is_some_and(|best| best.from() != Some(peer))
    }

    /// The next batch, of at most `budget` destinations.
    pub(super) fn advance(
        &mut self,
        (loc, attrs): (&mut Loc, &AttrTable),
        budget: usize,
        export: &mut impl FnMut(&Dest, &mut Vec<ToldPath>),
    ) {
        let mut builder = Builder::default();
        let mut wanted = Vec::new();
        while builder.len() < budget.max(1) {
            let ahead =
                (builder.len() < budget.div_ceil(2)).then(|| self.pending.next_ahead()).flatten();
            let next = ahead.or_else(|| self.pending.next_from(self.cursor));
            let Some(id) = next else {
                self.cursor = DestId::FIRST;
                self.passes += 1;
                break;
            };
            if ahead.is_none() {
                self.cursor = id.next();
            }
            self.pending.remove(id);
            let dest = loc.get(id);
            let (prefix, from) = (dest.prefix, dest.best().and_then(Path::from));
            export(dest, &mut wanted);
            let new = wanted.pop().map(|(_, attrs)| Told::new(attrs, from));
            if self.told.get(id) == new.as_ref() {
                loc.release(id);
                continue;
            }
            let old = self.tell(id, new, prefix.family(), loc);
            // The batch keeps the claim that `pending` had.
            builder.add(id, prefix, old, self.told.get(id).copied());
        }
        if self.pending.is_empty() && self.cursor != DestId::FIRST {
            self.cursor = DestId::FIRST;
            self.passes += 1;
        }
        if let Some(batch) = builder.finish(attrs) {
            self.make_room(loc);
            self.log.push_back((Arc::new(batch), self.members.len()));
        }
    }

    /// Puts it down and gives what stood there; keeps counts and claims.
    pub(super) fn tell(
        &mut self,
        id: DestId,
        new: Option<Told>,
        family: Family,
        loc: &mut Loc,
    ) -> Option<Told> {
        let is_new = new.is_some();
        let from = new.and_then(Told::from);
        let old = match new {
            Some(told) => self.told.insert(id, told),
            None => self.told.remove(id),
        };
        let count = self.counts.get_mut(family);
        *count = *count + usize::from(is_new) - usize::from(old.is_some());
        if let Some(member) = from.and_then(|from| self.members.get_mut(&from)) {
            *member.own.get_mut(family) += 1;
        }
        let old_from = old.and_then(Told::from);
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
    pub(super) fn make_room(&mut self, loc: &mut Loc) {
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
    pub(super) fn trim(&mut self, loc: &mut Loc) {
        while self.log.front().is_some_and(|(_, left)| *left == 0) {
            if let Some((batch, _)) = self.log.pop_front() {
                self.first += 1;
                loc.release_all(batch.ids());
            }
        }
    }

    /// A member is told the batch of this number, or has taken note of it.
    pub(super) fn passed(&mut self, number: u64) -> Option<Arc<SharedBatch>> {
        let at = usize::try_from(number.checked_sub(self.first)?).ok()?;
        let (batch, left) = self.log.get_mut(at)?;
        *left -= 1;
        Some(Arc::clone(batch))
    }

    /// The batches from this number on.
    pub(super) fn log_from(&self, number: u64) -> impl Iterator<Item = &SharedBatch> {
        let skip = usize::try_from(number - self.first).unwrap_or(usize::MAX);
        self.log.iter().skip(skip).map(|(batch, _)| &**batch)
    }

    /// Number of the batch after the last.
    pub(super) fn end(&self) -> u64 {
        self.first + self.log.len() as u64
    }

    /// After how many passes everything that is there now has been looked at.
    pub(super) fn next_full_pass(&self) -> u64 {
        self.passes + if self.cursor == DestId::FIRST { 1 } else { 2 }
    }

    /// Is everything of up to this pass in the log or behind it?
    pub(super) fn has_passed(&self, passes: u64) -> bool {
        self.passes >= passes || self.pending.is_empty()
    }

    pub(super) fn told_to(&self, peer: PeerId) -> impl Iterator<Item = (DestId, AttrId)> {
        self.told.iter().filter_map(move |(id, told)| Some((id, Told::to(Some(told), peer)?)))
    }

    /// Does something with a member and the rest of the group.
    pub(super) fn with<T>(
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

/// Destinations looked at for one pull: some ten microseconds.
const SEARCHED: usize = if cfg!(test) { 2 } else { 4096 };

/// Batches kept for members that are not as fast as the fastest.
const LOG_BATCHES: usize = if cfg!(test) { 2 } else { 256 };
