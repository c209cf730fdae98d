//! A cursor over received octets that can run out but never panics.
//!
//! In: octets of known extent. Out: numbers and slices, or `None` once too few are left.

/// Reads big-endian fields from the front; what it has given out is gone.
#[derive(Clone, Debug)]
pub(super) struct Reader<'m> {
    rest: &'m [u8],
}

impl<'m> Reader<'m> {
    pub(super) const fn new(octets: &'m [u8]) -> Self {
        Self { rest: octets }
    }

    /// The next `len` octets.
    pub(super) fn take(&mut self, len: usize) -> Option<&'m [u8]> {
        let (octets, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(octets)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (octets, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*octets)
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
    pub(super) const fn rest(&self) -> &'m [u8] {
        self.rest
    }
}
