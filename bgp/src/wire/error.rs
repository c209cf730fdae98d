//! How a flaw in an UPDATE is contained (RFC 7606), and why one cannot be written.

use std::fmt;

use bytes::Bytes;

use super::AttrCode;
use crate::{attrs::NextHop, family::Family};

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
    /// The attribute; [`AttrCode::NONE`] if it is none, or if too few octets were left to name one.
    pub attribute: AttrCode,
    /// What was wrong, for people. One of a fixed set, so it can stand in a metric's label.
    pub reason: &'static str,
    /// The attribute's octets as received, header included; empty if it was missing.
    pub octets: Bytes,
}

/// `MULTI_EXIT_DISC: length is not 4 octets; treated as withdraw`.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.attribute == AttrCode::NONE {
            return write!(f, "{}; {}", self.reason, self.treatment);
        }
        write!(f, "{}: {}; {}", self.attribute, self.reason, self.treatment)
    }
}

/// Why routes cannot be written as an UPDATE. Nothing of them was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// The attributes leave no room for a prefix. The routes must not be announced to this
    /// peer, and withdrawn if they were before (RFC 8654 §4).
    #[error(
        "attributes and one prefix need {needed} octets, the peer takes {limit}; announce fewer \
         communities or a shorter path"
    )]
    TooLong {
        /// Octets of the smallest message that would hold the attributes and a prefix.
        needed: usize,
        /// Octets of the largest message that the peer takes.
        limit: usize,
    },
    /// One attribute is longer than its length field can say.
    #[error("{attribute} needs {octets} octets, an attribute holds 65535")]
    AttributeTooLong {
        /// Which.
        attribute: AttrCode,
        /// Octets of its value.
        octets: usize,
    },
    /// There is no form for this next hop with prefixes of this family.
    #[error("next hop {next_hop} cannot stand with {family} prefixes")]
    NextHop {
        /// The next hop.
        next_hop: NextHop,
        /// The prefixes' family.
        family: Family,
    },
}
