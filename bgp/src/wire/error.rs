//! How a flaw in an UPDATE is contained (RFC 7606).

use std::fmt;

use bytes::Bytes;

/// What a contained flaw did, gravest last (RFC 7606 §2). A flaw that cannot be contained is
/// a session reset and comes as a [`Notification`](super::Notification) instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Treatment {
    /// The attribute was dropped, its routes kept.
    DiscardAttribute,
    /// The routes of the message were taken as withdrawn.
    TreatAsWithdraw,
}

impl fmt::Display for Treatment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DiscardAttribute => "attribute discarded",
            Self::TreatAsWithdraw => "treated as withdraw",
        })
    }
}

/// One contained flaw of an UPDATE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What was done about it.
    pub treatment: Treatment,
    /// Type code of the attribute.
    pub attribute: u8,
    /// What was wrong, for people.
    pub reason: &'static str,
    /// The attribute's octets as received, header included; empty if it was missing.
    pub octets: Bytes,
}
