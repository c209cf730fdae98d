//! What is going on with each attachment: one thing at a time, the rest waits in order.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    mem,
    time::Instant,
};

use serde::Serialize;

use super::{
    check::{Difference, Expected},
    verb::{Attach, OpId, PodError},
    wiring::Wiring,
};
use crate::attachment::AttachmentId;

/// Every attachment that exists or is asked for.
#[derive(Debug, Default)]
pub(super) struct Slots {
    all: BTreeMap<AttachmentId, Slot>,
    /// Those of each container, so that finding them does not grow with the number of pods.
    containers: BTreeMap<String, BTreeSet<AttachmentId>>,
    /// Those that are stuck, which are rarely any.
    stuck: BTreeMap<AttachmentId, Instant>,
}

/// One attachment.
#[derive(Debug, Default)]
struct Slot {
    phase: Phase,
    waiting: VecDeque<Errand>,
}

impl Slots {
    pub(super) fn push(&mut self, id: &AttachmentId, errand: Errand) {
        self.slot(id).waiting.push_back(errand);
    }

    pub(super) fn set(&mut self, id: &AttachmentId, phase: Phase) {
        match phase.again() {
            Some(again) => {
                self.stuck.insert(id.clone(), again);
            }
            None => {
                self.stuck.remove(id);
            }
        }
        self.slot(id).phase = phase;
    }

    /// When the first of those that are stuck is to be tried again.
    pub(super) fn again(&self) -> Option<Instant> {
        self.stuck.values().min().copied()
    }

    /// Those that are to be tried again by now.
    pub(super) fn due(&self, now: Instant) -> Vec<AttachmentId> {
        let due = self.stuck.iter().filter(|(_, again)| **again <= now);
        due.map(|(id, _)| id.clone()).collect()
    }

    /// The next errand with the wiring that exists for it, if nothing is under way. An attachment
    /// of which nothing exists and for which nothing waits is forgotten.
    pub(super) fn next(&mut self, id: &AttachmentId) -> Option<(Option<Wiring>, Errand)> {
        let slot = self.all.get_mut(id)?;
        if let Phase::Working(..) = slot.phase {
            return None;
        }
        match (slot.waiting.pop_front(), mem::take(&mut slot.phase)) {
            (Some(errand), Phase::Ready(wiring)) => Some((Some(wiring), errand)),
            (Some(errand), Phase::Vacant | Phase::Working(..)) => Some((None, errand)),
            (None, Phase::Vacant) => {
                self.forget(id);
                None
            }
            (None, phase @ (Phase::Ready(_) | Phase::Working(..))) => {
                slot.phase = phase;
                None
            }
        }
    }

    /// Takes out what is under way.
    pub(super) fn take(&mut self, id: &AttachmentId) -> Option<(Wiring, Work)> {
        let slot = self.all.get_mut(id)?;
        self.stuck.remove(id);
        match mem::take(&mut slot.phase) {
            Phase::Working(wiring, work) => Some((wiring, work)),
            phase @ (Phase::Vacant | Phase::Ready(_)) => {
                slot.phase = phase;
                None
            }
        }
    }

    /// Takes out what exists and has nothing under way.
    pub(super) fn take_ready(&mut self, id: &AttachmentId) -> Option<Wiring> {
        let slot = self.all.get_mut(id)?;
        match mem::take(&mut slot.phase) {
            Phase::Ready(wiring) => Some(wiring),
            phase @ (Phase::Vacant | Phase::Working(..)) => {
                slot.phase = phase;
                None
            }
        }
    }

    /// Does it exist, with nothing under way?
    pub(super) fn is_ready(&self, id: &AttachmentId) -> bool {
        self.all.get(id).is_some_and(|slot| matches!(slot.phase, Phase::Ready(_)))
    }

    /// Takes out all that waits.
    pub(super) fn drain(&mut self, id: &AttachmentId) -> VecDeque<Errand> {
        self.all.get_mut(id).map(|slot| mem::take(&mut slot.waiting)).unwrap_or_default()
    }

    /// The wiring of an attachment that exists and is not being removed.
    pub(super) fn living(&self, id: &AttachmentId) -> Option<&Wiring> {
        self.all.get(id)?.phase.living()
    }

    /// Existing attachments of the same container, but not this one.
    pub(super) fn siblings<'a>(&'a self, id: &'a AttachmentId) -> impl Iterator<Item = &'a Wiring> {
        let ids = self.containers.get(id.container_id()).into_iter().flatten();
        let slots = ids.filter(move |other| *other != id).filter_map(|other| self.all.get(other));
        slots.filter_map(|slot| slot.phase.living())
    }

    /// Those that are being removed and have an interface of this name in their pod.
    pub(super) fn leaving<'a>(&'a self, ifname: &'a str) -> impl Iterator<Item = &'a AttachmentId> {
        let leaving = move |slot: &Slot| match &slot.phase {
            Phase::Working(wiring, Work::Cutting(_) | Work::Sweeping(_)) => {
                wiring.inside.name == ifname
            }
            Phase::Vacant | Phase::Ready(_) | Phase::Working(..) => false,
        };
        self.all.iter().filter(move |(_, slot)| leaving(slot)).map(|(id, _)| id)
    }

    fn slot(&mut self, id: &AttachmentId) -> &mut Slot {
        if !self.all.contains_key(id) {
            let container = id.container_id().to_owned();
            self.containers.entry(container).or_default().insert(id.clone());
        }
        self.all.entry(id.clone()).or_default()
    }

    fn forget(&mut self, id: &AttachmentId) {
        self.all.remove(id);
        if let Some(ids) = self.containers.get_mut(id.container_id()) {
            ids.remove(id);
            if ids.is_empty() {
                self.containers.remove(id.container_id());
            }
        }
    }

    pub(super) fn contains(&self, id: &AttachmentId) -> bool {
        self.all.contains_key(id)
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&AttachmentId, &Phase)> {
        self.all.iter().map(|(id, slot)| (id, &slot.phase))
    }
}

/// What is asked for one attachment.
#[derive(Debug)]
pub(super) enum Errand {
    Attach {
        op: OpId,
        attach: Box<Attach>,
    },
    Detach {
        op: OpId,
    },
    Check {
        op: OpId,
        expected: Expected,
    },
    /// Detach on behalf of a GC.
    Collect {
        op: OpId,
    },
}

/// How far an attachment is.
#[derive(Debug, Default)]
pub(super) enum Phase {
    /// Nothing of it exists.
    #[default]
    Vacant,
    /// It exists.
    Ready(Wiring),
    /// The kernel is being asked, or will be asked again.
    Working(Wiring, Work),
}

/// What is under way.
#[derive(Debug)]
pub(super) enum Work {
    /// Its steps are being carried out.
    Attaching(OpId),
    /// The kernel's state is being read.
    Observing(Why),
    /// What others may have changed on the host is being looked at.
    Inspecting,
    /// What they have changed is being put right.
    Mending(Vec<Difference>),
    /// Routes are being removed.
    Cutting(Then),
    /// The pair is being deleted; nothing leads to it any more.
    Sweeping(Then),
    /// Cutting (or, if that is done, sweeping) failed and is tried again. Whoever asked was told.
    Stuck { cut: bool, again: Instant },
}

/// Why the kernel's state is read.
#[derive(Debug)]
pub(super) enum Why {
    Check {
        op: OpId,
        expected: Expected,
    },
    /// ADD of what exists: the same answer if all of it is still there.
    Repeat {
        op: OpId,
        attach: Box<Attach>,
    },
}

/// What follows once an attachment is gone.
#[derive(Debug)]
pub(super) enum Then {
    /// Nothing.
    Forget,
    /// Tell the one who sent DEL.
    Answer(OpId),
    /// Count it for a GC.
    Collected(OpId),
    /// Tell the one who sent ADD why it failed.
    Fail { op: OpId, error: PodError },
    /// Make it anew, with the same addresses.
    Rebuild { op: OpId, attach: Box<Attach> },
}

/// How an attachment is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PodState {
    /// ADD is under way.
    Attaching,
    /// It exists.
    Ready,
    /// It is being removed.
    Removing,
    /// Removing it failed and is tried again.
    Stuck,
}

impl Phase {
    /// The wiring and how to show it; nothing of a vacant one.
    pub(super) const fn shown(&self) -> Option<(&Wiring, PodState)> {
        match self {
            Self::Vacant => None,
            Self::Ready(wiring) => Some((wiring, PodState::Ready)),
            Self::Working(wiring, work) => Some((wiring, work.shown())),
        }
    }

    /// The wiring of what exists and is not being removed.
    pub(super) const fn living(&self) -> Option<&Wiring> {
        match self {
            Self::Ready(wiring)
            | Self::Working(
                wiring,
                Work::Attaching(_) | Work::Observing(_) | Work::Inspecting | Work::Mending(_),
            ) => Some(wiring),
            Self::Vacant
            | Self::Working(_, Work::Cutting(_) | Work::Sweeping(_) | Work::Stuck { .. }) => None,
        }
    }

    /// When to try again, if it is stuck.
    pub(super) const fn again(&self) -> Option<Instant> {
        match self {
            Self::Working(_, Work::Stuck { again, .. }) => Some(*again),
            Self::Vacant | Self::Ready(_) | Self::Working(..) => None,
        }
    }

    /// Would a GC have to remove it? Not what is leaving anyway, and not what is only being made:
    /// the runtime's list may be older than that ADD.
    pub(super) const fn collectable(&self) -> bool {
        match self {
            Self::Ready(_)
            | Self::Working(
                _,
                Work::Observing(_) | Work::Inspecting | Work::Mending(_) | Work::Stuck { .. },
            ) => true,
            Self::Vacant
            | Self::Working(_, Work::Attaching(_) | Work::Cutting(_) | Work::Sweeping(_)) => false,
        }
    }
}

impl Work {
    const fn shown(&self) -> PodState {
        match self {
            Self::Observing(_) | Self::Inspecting | Self::Mending(_) => PodState::Ready,
            Self::Attaching(_) => PodState::Attaching,
            Self::Cutting(_) | Self::Sweeping(_) => PodState::Removing,
            Self::Stuck { .. } => PodState::Stuck,
        }
    }
}
