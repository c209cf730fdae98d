//! Cuts one connection's stream of octets into messages (RFC 4271 §4.1).
//!
//! In: octets in any split. Out: whole messages, without copying those that arrive whole.
//! Holds less than one message between calls.

use bytes::{Bytes, BytesMut};

use crate::wire::{self, HEADER_LEN, Notification};

/// The beginning of a message whose end has not arrived.
#[derive(Clone, Debug, Default)]
pub(super) struct Inbox {
    partial: BytesMut,
}

/// A header that cannot be followed to the next message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum BadHeader {
    /// The NOTIFICATION that the peer has earned.
    Answer(Notification),
    /// The same, but the message says it is a NOTIFICATION, which is never answered by another
    /// (RFC 4271 §6.4).
    Unanswerable(Notification),
}

impl Inbox {
    /// The next whole message, taken from the front of `input`; `None` when `input` is used up.
    pub(super) fn next(
        &mut self,
        input: &mut Bytes,
        max_len: usize,
    ) -> Result<Option<Bytes>, BadHeader> {
        if self.partial.is_empty() {
            if let Some(len) = measure(input, max_len)?
                && len <= input.len()
            {
                return Ok(Some(input.split_to(len)));
            }
            self.fill(input, usize::MAX);
            return Ok(None);
        }
        self.fill(input, HEADER_LEN);
        let Some(len) = measure(&self.partial, max_len)? else {
            return Ok(None);
        };
        self.fill(input, len);
        Ok((self.partial.len() == len).then(|| self.partial.split().freeze()))
    }

    /// Moves octets over until there are `len` of them or `input` is used up.
    fn fill(&mut self, input: &mut Bytes, len: usize) {
        let wanted = len.saturating_sub(self.partial.len()).min(input.len());
        self.partial.extend_from_slice(&input.split_to(wanted));
    }
}

fn measure(octets: &[u8], max_len: usize) -> Result<Option<usize>, BadHeader> {
    wire::frame_len(octets, max_len).map_err(|notification| {
        if octets.get(TYPE_AT) == Some(&TYPE_NOTIFICATION) {
            BadHeader::Unanswerable(notification)
        } else {
            BadHeader::Answer(notification)
        }
    })
}

/// Where the type octet stands in a message.
pub(super) const TYPE_AT: usize = HEADER_LEN - 1;
/// RFC 4271 §4.1.
pub(super) const TYPE_OPEN: u8 = 1;
/// RFC 4271 §4.1.
pub(super) const TYPE_UPDATE: u8 = 2;
/// RFC 4271 §4.1.
pub(super) const TYPE_NOTIFICATION: u8 = 3;
