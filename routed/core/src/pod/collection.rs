//! GCs under way: each is answered once all its attachments are gone, or cannot be removed.

use std::collections::BTreeMap;

use super::verb::{OpId, PodError, Reply, Uncollected};
use crate::attachment::AttachmentId;

/// Every GC under way.
#[derive(Debug, Default)]
pub(super) struct Collections(BTreeMap<OpId, Collection>);

#[derive(Debug)]
struct Collection {
    left: usize,
    failed: Vec<Uncollected>,
}

impl Collections {
    /// One that has so many attachments to remove; at least one.
    pub(super) fn begin(&mut self, op: OpId, left: usize) {
        self.0.insert(op, Collection { left, failed: Vec::new() });
    }

    /// One attachment is done; the answer if it was the last. Failures are collected, since one
    /// pod that cannot be removed shall not keep the others.
    pub(super) fn done(
        &mut self,
        op: OpId,
        id: &AttachmentId,
        outcome: Result<(), PodError>,
    ) -> Option<Reply> {
        let collection = self.0.get_mut(&op)?;
        collection.left -= 1;
        collection.failed.extend(outcome.err().map(|error| Uncollected { id: id.clone(), error }));
        if collection.left > 0 {
            return None;
        }
        let Collection { failed, .. } = self.0.remove(&op)?;
        let clean = failed.is_empty();
        Some(if clean { Reply::Done } else { Reply::Failed(PodError::NotCollected(failed)) })
    }
}
