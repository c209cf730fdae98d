//! What a peer asked to be told again (RFC 2918), and marks around it if it knows them (RFC 7313).
//!
//! In: requests, and destinations told again. Out: what is due, and marks at the beginning and end.

use super::batch::Batch;
use crate::{
    family::{Family, FamilySet, PerFamily},
    rib::dense::{DestId, DestSet},
};

/// See the module.
#[derive(Debug)]
pub(in crate::rib) struct Refreshes {
    /// Whether answers are marked.
    marked: bool,
    states: PerFamily<State>,
    /// Destinations to be told again even if nothing changed.
    due: DestSet,
    left: PerFamily<usize>,
}

/// How far a marked answer has come (RFC 7313 §4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    No,
    /// The initial transfer comes first.
    Later,
    /// The beginning is to be marked next.
    Begins,
    /// What is to be repeated goes out; then the end is marked.
    Runs,
}

impl Refreshes {
    pub(in crate::rib) fn new(marked: bool) -> Self {
        Self {
            marked,
            states: PerFamily::default(),
            due: DestSet::default(),
            left: PerFamily::default(),
        }
    }

    /// The peer asks. True if the answer begins now: all that the peer was told is then
    /// [`Self::add`]ed.
    pub(in crate::rib) const fn ask(&mut self, family: Family, initial: FamilySet) -> bool {
        let state = self.states.get_mut(family);
        if self.marked && initial.contains(family) {
            *state = State::Later;
            return false;
        }
        if self.marked {
            *state = State::Begins;
        }
        true
    }

    /// This destination must be told again.
    pub(in crate::rib) fn add(&mut self, id: DestId, family: Family) {
        if self.due.insert(id) {
            *self.left.get_mut(family) += 1;
        }
    }

    /// It needs to be told again no more. True if it had to be.
    pub(in crate::rib) fn done(&mut self, id: DestId, family: Family) -> bool {
        let was_due = self.due.remove(id);
        *self.left.get_mut(family) -= usize::from(was_due);
        was_due
    }

    /// Must it be told again?
    pub(in crate::rib) fn is_due(&self, id: DestId) -> bool {
        self.due.contains(id)
    }

    /// Is there a mark to be told, now or after what is due?
    pub(in crate::rib) fn has_marks(&self) -> bool {
        Family::ALL.into_iter().any(|family| match self.states.get(family) {
            State::No | State::Later => false,
            State::Begins | State::Runs => true,
        })
    }

    /// Tells the beginnings.
    pub(in crate::rib) fn begin(&mut self, batch: &mut Batch) {
        for family in Family::ALL {
            let state = self.states.get_mut(family);
            if *state == State::Begins {
                *state = State::Runs;
                batch.refresh_begins(family);
            }
        }
    }

    /// Tells the ends that have been reached. Families whose turn comes now are given back, to be
    /// asked for again.
    pub(in crate::rib) fn end(&mut self, initial: FamilySet, batch: &mut Batch) -> FamilySet {
        let mut now = FamilySet::NONE;
        for family in Family::ALL {
            let state = self.states.get_mut(family);
            match state {
                State::Runs if *self.left.get(family) == 0 => {
                    *state = State::No;
                    batch.refresh_ends(family);
                }
                State::Later if !initial.contains(family) => now.insert(family),
                State::No | State::Later | State::Begins | State::Runs => {}
            }
        }
        now
    }
}
