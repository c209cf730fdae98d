//! The attribute table: every set of attributes once, by number.
//!
//! In: attributes from UPDATEs, policies and export. Out: numbers, equal for equal sets and for no
//! others, and the sets again. They are kept as a few octets each ([`packed`]), so that a table of
//! many sets is small; those that were asked for last are at hand as values.
//!
//! Numbers are plain values that nobody counts. The owner of all that holds any says from time to
//! time which are in use ([`AttrTable::is_due`], [`AttrTable::sweep`]); the others are forgotten.

use std::{cell::RefCell, fmt, hash::BuildHasher, num::NonZeroU32, sync::Arc};

use foldhash::fast::RandomState;
use hashbrown::{HashTable, hash_table::Entry};

use super::{decide::Merits, verdict::Ineligible};
use crate::attrs::{Attrs, NextHop};

mod brief;
mod packed;

use brief::Brief;

/// A set of attributes by its number in the table, plus one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct AttrId(NonZeroU32);

impl AttrId {
    fn new(at: u32) -> Self {
        Self(NonZeroU32::MIN.saturating_add(at))
    }

    const fn at(self) -> u32 {
        self.0.get() - 1
    }

    const fn index(self) -> usize {
        self.at() as usize
    }
}

/// Why a path is refused, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ReasonId(u32);

/// What import makes of a path: attributes after policy, or why it was not accepted.
pub(super) type Imported = Result<AttrId, ReasonId>;

/// The same in four octets.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct PackedImport(u32);

/// The numbers in use, as far as they were found.
#[derive(Debug, Default)]
pub(super) struct InUse {
    sets: Vec<u64>,
    reasons: Vec<u64>,
}

/// Every attribute set in use.
pub(super) struct AttrTable(RefCell<Table>);

struct Table {
    sets: Vec<Set>,
    free: Vec<u32>,
    by_content: HashTable<u32>,
    hasher: RandomState,
    /// Reasons in use are few.
    reasons: Vec<Option<Ineligible>>,
    /// Sets at hand as values, each at the place of its number.
    recent: Vec<Option<(AttrId, Arc<Attrs>)>>,
    /// For octets in the making.
    scratch: Vec<u8>,
    /// New sets and reasons since the last sweep.
    added: usize,
    /// Paths that are gone since.
    gone: usize,
    /// How much was looked at in the last sweep, and how many sets it kept.
    cost: usize,
    kept: usize,
}

struct Set {
    /// None of a number that is free.
    octets: Box<[u8]>,
    /// Half of their hash, which is not cheap: to grow, no set is looked at.
    hash: u32,
    brief: Brief,
}

impl AttrTable {
    /// An empty one.
    pub(super) fn new() -> Self {
        Self(RefCell::new(Table {
            sets: Vec::new(),
            free: Vec::new(),
            by_content: HashTable::new(),
            hasher: RandomState::default(),
            reasons: Vec::new(),
            recent: Vec::new(),
            scratch: Vec::new(),
            added: 0,
            gone: 0,
            cost: 0,
            kept: 0,
        }))
    }

    /// How many sets there are, those out of use and not swept yet among them.
    pub(super) fn len(&self) -> usize {
        self.0.borrow().by_content.len()
    }

    /// The number of this set.
    pub(super) fn intern(&self, attrs: &Arc<Attrs>) -> AttrId {
        let mut table = self.0.borrow_mut();
        let id = table.number(attrs);
        table.note(id, attrs);
        id
    }

    /// The value that stands for all sets equal to this one, at the moment.
    pub(super) fn share(&self, attrs: Attrs) -> Arc<Attrs> {
        let attrs = Arc::new(attrs);
        let mut table = self.0.borrow_mut();
        let id = table.number(&attrs);
        if let Some(known) = table.at_hand(id) {
            return known;
        }
        table.note(id, &attrs);
        attrs
    }

    /// The set of this number.
    pub(super) fn get(&self, id: AttrId) -> Arc<Attrs> {
        let mut table = self.0.borrow_mut();
        if let Some(known) = table.at_hand(id) {
            return known;
        }
        let attrs = Arc::new(packed::unpack(table.octets(id)));
        table.note(id, &attrs);
        attrs
    }

    /// Its next hop.
    pub(super) fn next_hop(&self, id: AttrId) -> NextHop {
        packed::next_hop(self.0.borrow().octets(id))
    }

    /// What the decision asks of it.
    pub(super) fn merits(&self, id: AttrId) -> Merits {
        let table = self.0.borrow();
        let Set { octets, brief, .. } = &table.sets[id.index()];
        brief.merits().unwrap_or_else(|| packed::merits(octets))
    }

    /// The number of this reason.
    pub(super) fn refuse(&self, reason: Ineligible) -> ReasonId {
        let mut table = self.0.borrow_mut();
        let known = table.reasons.iter().position(|known| known.as_ref() == Some(&reason));
        let at = known.unwrap_or_else(|| {
            table.added += 1;
            let free = table.reasons.iter().position(Option::is_none);
            let at = free.unwrap_or(table.reasons.len());
            if free.is_none() {
                table.reasons.push(None);
            }
            table.reasons[at] = Some(reason);
            at
        });
        ReasonId(u32::try_from(at).expect("fewer reasons than sets of attributes"))
    }

    /// The reason of this number.
    pub(super) fn reason(&self, id: ReasonId) -> Ineligible {
        let reason = self.0.borrow().reasons[id.0 as usize].clone();
        reason.expect("reasons in use are kept")
    }

    /// A path is gone, and may have been the last with its attributes.
    pub(super) fn note_gone(&self) {
        self.0.borrow_mut().gone += 1;
    }

    /// Whether it is time to sweep: as much has come or gone as there is to look at, so that it costs
    /// the same few steps for each however large the tables are.
    pub(super) fn is_due(&self) -> bool {
        let table = self.0.borrow();
        let worth = SMALLEST_SWEEP.max(table.cost / 4).max(table.kept);
        table.added >= worth || table.gone >= SMALLEST_SWEEP.max(table.cost)
    }

    /// Forgets what is not in use. `looked_at` is how much was looked at to find out.
    pub(super) fn sweep(&self, in_use: &InUse, looked_at: usize) {
        let mut table = self.0.borrow_mut();
        let Table { sets, free, by_content, reasons, recent, .. } = &mut *table;
        by_content.retain(|at| {
            let used = bit(&in_use.sets, *at);
            if !used {
                sets[*at as usize].octets = Box::default();
                free.push(*at);
            }
            used
        });
        // The lowest first, so that the end can be given back one day.
        free.sort_unstable_by(|one, other| other.cmp(one));
        while sets.last().is_some_and(|set| set.octets.is_empty()) {
            sets.pop();
        }
        free.retain(|at| (*at as usize) < sets.len());
        if sets.capacity() / 4 > sets.len() {
            sets.shrink_to(sets.len() * 2);
            free.shrink_to_fit();
        }
        if by_content.capacity() / 4 > by_content.len() {
            by_content.shrink_to(by_content.len() * 2, |at| spread(sets[*at as usize].hash));
        }
        for (at, reason) in (0..).zip(reasons) {
            if !bit(&in_use.reasons, at) {
                *reason = None;
            }
        }
        recent
            .iter_mut()
            .for_each(|known| *known = known.take_if(|(id, _)| bit(&in_use.sets, id.at())));
        (table.added, table.gone) = (0, 0);
        (table.cost, table.kept) = (looked_at, table.by_content.len());
    }
}

impl fmt::Debug for AttrTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AttrTable").field("sets", &self.len()).finish_non_exhaustive()
    }
}

impl Table {
    fn number(&mut self, attrs: &Attrs) -> AttrId {
        let Self { sets, free, by_content, hasher, scratch, added, .. } = self;
        scratch.clear();
        packed::pack(attrs, scratch);
        #[expect(clippy::cast_possible_truncation, reason = "half of the hash")]
        let hash = hasher.hash_one(&**scratch) as u32;
        let same = |at: &u32| {
            let set = &sets[*at as usize];
            set.hash == hash && *set.octets == **scratch
        };
        match by_content.entry(spread(hash), same, |at| spread(sets[*at as usize].hash)) {
            Entry::Occupied(known) => AttrId::new(*known.get()),
            Entry::Vacant(place) => {
                *added += 1;
                let at = free.last().copied().unwrap_or_else(|| {
                    u32::try_from(sets.len()).expect("memory ends before 2^31 sets")
                });
                assert!(at < REFUSED, "memory ends before 2^31 sets");
                place.insert(at);
                let brief = Brief::of(&packed::merits(scratch));
                let set = Set { octets: scratch.as_slice().into(), hash, brief };
                match free.pop() {
                    Some(_) => sets[at as usize] = set,
                    None => {
                        if sets.len() == sets.capacity() {
                            // By an eighth: there is one in use for each ten routes or so.
                            sets.reserve_exact(sets.len() / 8 + SMALLEST_SWEEP);
                        }
                        sets.push(set);
                    }
                }
                AttrId::new(at)
            }
        }
    }

    fn octets(&self, id: AttrId) -> &[u8] {
        &self.sets[id.index()].octets
    }

    fn at_hand(&self, id: AttrId) -> Option<Arc<Attrs>> {
        let known = self.recent.get(id.index() % RECENT)?.as_ref();
        known.filter(|(other, _)| *other == id).map(|(_, attrs)| Arc::clone(attrs))
    }

    fn note(&mut self, id: AttrId, attrs: &Arc<Attrs>) {
        if self.recent.is_empty() {
            self.recent.resize(RECENT, None);
        }
        let place = &mut self.recent[id.index() % RECENT];
        if place.as_ref().is_none_or(|(other, _)| *other != id) {
            *place = Some((id, Arc::clone(attrs)));
        }
    }
}

impl PackedImport {
    /// See [`Self::get`].
    pub(super) fn new(imported: Imported) -> Self {
        Self(match imported {
            Ok(id) => id.at(),
            Err(ReasonId(id)) => id | REFUSED,
        })
    }

    /// What was packed.
    pub(super) fn get(self) -> Imported {
        if self.0 & REFUSED == 0 {
            Ok(AttrId::new(self.0))
        } else {
            Err(ReasonId(self.0 & !REFUSED))
        }
    }
}

impl fmt::Debug for PackedImport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

impl InUse {
    /// These attributes are.
    pub(super) fn add(&mut self, id: AttrId) {
        set_bit(&mut self.sets, id.at());
    }

    /// This is.
    pub(super) fn add_imported(&mut self, imported: Imported) {
        match imported {
            Ok(id) => self.add(id),
            Err(reason) => set_bit(&mut self.reasons, reason.0),
        }
    }
}

fn set_bit(bits: &mut Vec<u64>, at: u32) {
    let word = (at / u64::BITS) as usize;
    if bits.len() <= word {
        bits.resize((word + 1).max(bits.len() * 2), 0);
    }
    bits[word] |= 1 << (at % u64::BITS);
}

fn bit(bits: &[u64], at: u32) -> bool {
    bits.get((at / u64::BITS) as usize).is_some_and(|word| word & 1 << (at % u64::BITS) != 0)
}

/// Half a hash as a whole one, whose highest bits count too.
const fn spread(hash: u32) -> u64 {
    (hash as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Marks the number of a reason among those of sets.
const REFUSED: u32 = 1 << 31;

/// Below this many new sets a sweep is not worth its time.
const SMALLEST_SWEEP: usize = if cfg!(test) { 8 } else { 4096 };

/// Sets at hand as values: those of some thousand routes, which mostly come and go together.
const RECENT: usize = if cfg!(test) { 4 } else { 512 };

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn attrs(med: u32) -> Arc<Attrs> {
        let mut attrs = Attrs::originated(NextHop::new(Ipv4Addr::LOCALHOST.into()));
        attrs.med = Some(med);
        Arc::new(attrs)
    }

    #[test]
    fn equal_sets_have_one_number_and_come_out_again() {
        let table = AttrTable::new();
        let ids: Vec<_> = (0..1000).map(|med| table.intern(&attrs(med))).collect();
        for (med, id) in (0..).zip(&ids) {
            assert_eq!((table.intern(&attrs(med)), table.get(*id)), (*id, attrs(med)));
            assert_eq!(table.next_hop(*id), attrs(med).next_hop);
            assert_eq!(table.merits(*id), Merits::of(&attrs(med)));
        }
        assert_eq!(table.len(), 1000);
    }

    #[test]
    fn sets_that_nobody_uses_do_not_pile_up() {
        let table = AttrTable::new();
        let kept = table.intern(&attrs(0));
        let mut in_use = InUse::default();
        in_use.add(kept);
        for med in 1..100_000 {
            table.intern(&attrs(med));
            if table.is_due() {
                table.sweep(&in_use, 1);
            }
        }
        assert!(table.len() <= SMALLEST_SWEEP, "{}", table.len());
        assert!(table.0.borrow().sets.capacity() < 10 * SMALLEST_SWEEP);
        assert_eq!((table.intern(&attrs(0)), table.get(kept)), (kept, attrs(0)));
    }

    #[test]
    fn numbers_that_are_free_again_stand_for_the_new_set() {
        let table = AttrTable::new();
        let old: Vec<_> = (0..20).map(|med| table.intern(&attrs(med))).collect();
        let mut in_use = InUse::default();
        in_use.add(old[19]);
        table.sweep(&in_use, 1);
        let new: Vec<_> = (100..119).map(|med| table.intern(&attrs(med))).collect();
        for (med, id) in (100..).zip(new) {
            assert_eq!(table.get(id), attrs(med));
        }
        assert_eq!(table.get(old[19]), attrs(19));
    }

    #[test]
    fn reasons_are_kept_while_they_are_in_use() {
        let table = AttrTable::new();
        let (one, other) = (table.refuse(Ineligible::AsLoop), table.refuse(Ineligible::FirstAs));
        assert_eq!(table.refuse(Ineligible::AsLoop), one);
        let mut in_use = InUse::default();
        in_use.add_imported(PackedImport::new(Err(other)).get());
        table.sweep(&in_use, 1);
        assert_eq!(table.reason(other), Ineligible::FirstAs);
        assert_eq!(table.refuse(Ineligible::ClusterLoop), one, "used again");
    }
}
