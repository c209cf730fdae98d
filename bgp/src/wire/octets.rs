//! A cursor over received octets that can run out but never panics.
//!
//! In: octets of known extent. Out: numbers and slices, or `None` once too few are left.

use bytes::{Buf, Bytes};

/// Reads big-endian fields from the front; what it has given out is gone.
#[derive(Clone, Debug)]
pub(super) struct Reader {
    rest: Bytes,
}

impl Reader {
    pub(super) const fn new(octets: Bytes) -> Self {
        Self { rest: octets }
    }

    /// The next `len` octets, sharing the buffer.
    pub(super) fn take(&mut self, len: usize) -> Option<Bytes> {
        (len <= self.rest.len()).then(|| self.rest.split_to(len))
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let octets = self.rest.first_chunk::<N>().copied()?;
        self.rest.advance(N);
        Some(octets)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array().map(|[octet]| octet)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.rest.len()
    }

    /// Octets not read yet.
    pub(super) const fn rest(&self) -> &Bytes {
        &self.rest
    }
}
