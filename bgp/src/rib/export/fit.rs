//! Whether a message that the peer takes can hold a path (RFC 8654 §4).
//!
//! In: attributes as the peer would see them. Out: those that fit, or why none do. What is found too
//! long here is never told, so that the Adj-RIB-Out has what the peer has.

use std::sync::Arc;

use super::Exporter;
use crate::{
    attrs::Attrs,
    family::Family,
    prefix::Prefix,
    rib::{PeerId, Rib, peer::PeerUp, verdict::NotAdvertised},
    wire::{EncodeError, Update},
};

/// Paths that a peer is not told, since no message that it takes can hold them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsendable {
    /// The first of the prefixes.
    pub first: Prefix,
    /// How many paths.
    pub paths: usize,
    /// Why the first cannot be told.
    pub error: EncodeError,
}

/// The attributes if they leave room for every prefix of the family, or without those that RFC 7606
/// lets us discard.
pub(super) fn fitting(
    mut attrs: Attrs,
    family: Family,
    to: &PeerUp,
) -> Result<Attrs, NotAdvertised> {
    let codec = to.codec();
    if Update::check_room(&attrs, family, &codec).is_ok() {
        return Ok(attrs);
    }
    // RFC 7606 §7.6 and §7.7.
    (attrs.atomic_aggregate, attrs.aggregator) = (false, None);
    match Update::check_room(&attrs, family, &codec) {
        Ok(()) => Ok(attrs),
        Err(error) => Err(NotAdvertised::Unsendable(error)),
    }
}

impl Rib {
    /// Paths that were found too long for a peer since somebody asked last, with the peer's name.
    /// Kept for each peer are those of one pull, of its own or of another that is told the same.
    pub fn poll_unsendable(&mut self) -> Option<(Arc<str>, Unsendable)> {
        loop {
            let (peer, too_long) = self.unsendable.pop_first()?;
            if let Some(state) = self.peers.get(&peer).filter(|state| state.is_up()) {
                return Some((Arc::clone(&state.up.config.name), too_long));
            }
        }
    }
}

impl<F: FnMut(Attrs) -> Arc<Attrs>> Exporter<'_, F> {
    /// Paths that were found too long since the last call, and whose the first is.
    pub(in crate::rib) const fn take_unsendable(&mut self) -> Option<(Option<PeerId>, Unsendable)> {
        self.unsendable.take()
    }

    /// Takes note of a path if that is why it is not told.
    pub(super) fn note_unsendable(
        &mut self,
        prefix: Prefix,
        from: Option<PeerId>,
        outcome: &Result<Arc<Attrs>, NotAdvertised>,
    ) {
        if let Err(NotAdvertised::Unsendable(error)) = outcome {
            let first = || Unsendable { first: prefix, paths: 0, error: error.clone() };
            self.unsendable.get_or_insert_with(|| (from, first())).1.paths += 1;
        }
    }
}
