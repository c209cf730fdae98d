//! ADDs that wait for a deletion: a DEL is answered before its pair is deleted, and the namespace that the
//! pod leaves may get its next interface of the same name at once.

use std::collections::{BTreeMap, BTreeSet};

use super::{Command, Pods, slot::Phase, slot::Work, step, verb::OpId, wiring::Wiring};
use crate::attachment::AttachmentId;

/// Which ADD found its interface's name taken, and whose pairs are yet to be deleted before it is tried
/// once more; none while that is being done.
#[derive(Debug, Default)]
pub(super) struct Held(BTreeMap<AttachmentId, BTreeSet<AttachmentId>>);

impl Held {
    /// Forgets the ADD. Was it held?
    pub(super) fn remove(&mut self, id: &AttachmentId) -> bool {
        self.0.remove(id).is_some()
    }

    /// Nothing of this one is in the way any longer, or it stays: the ADDs that waited for it alone.
    fn left(&mut self, leaving: &AttachmentId) -> Vec<AttachmentId> {
        let waited = |(id, others): (&AttachmentId, &mut BTreeSet<AttachmentId>)| {
            (others.remove(leaving) && others.is_empty()).then(|| id.clone())
        };
        self.0.iter_mut().filter_map(waited).collect()
    }
}

impl Pods {
    /// Holds an ADD that found its interface's name taken, if a pod that is being removed may have it
    /// still. Not those that leave later, so that a name which is really taken is told soon.
    pub(super) fn hold(&mut self, wiring: &Wiring) -> bool {
        let leaving: BTreeSet<_> = self.slots.leaving(&wiring.inside.name).cloned().collect();
        if leaving.is_empty() {
            return false;
        }
        self.held.0.insert(wiring.id.clone(), leaving);
        true
    }

    /// Tries once more what waited for this one's pair to be deleted.
    pub(super) fn left(&mut self, id: &AttachmentId) {
        for held in self.held.left(id) {
            match self.slots.take(&held) {
                Some((wiring, Work::Attaching(op))) => self.send_attach(op, wiring),
                Some((wiring, work)) => self.slots.set(&held, Phase::Working(wiring, work)),
                None => {}
            }
        }
    }

    /// Has an attachment made.
    pub(super) fn send_attach(&mut self, op: OpId, wiring: Wiring) {
        let id = wiring.id.clone();
        let steps = step::attach(&wiring, self.permits(&wiring));
        self.commands.push_back(Command::Attach(op, id.clone(), steps));
        self.slots.set(&id, Phase::Working(wiring, Work::Attaching(op)));
    }
}
