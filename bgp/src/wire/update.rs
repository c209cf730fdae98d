//! UPDATE (RFC 4271 §4.3) with multiprotocol reachability (RFC 4760).

use std::sync::Arc;

use crate::{attrs::Attrs, family::Family, prefix::Prefix, wire::Fault};

/// What an UPDATE says, after error handling: prefixes of a treated-as-withdrawn message
/// already stand in `withdrawn`.
///
/// A prefix both withdrawn and announced in one message is announced (RFC 4271 §4.3), so
/// readers apply `withdrawn` first, then `reach`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Update {
    /// Withdrawn prefixes of both families.
    pub withdrawn: Vec<Prefix>,
    /// Announcements, at most one a family.
    pub reach: Vec<Reach>,
    /// The family whose initial transfer this message ends (RFC 4724 §2).
    pub end_of_rib: Option<Family>,
    /// What was wrong with the message and contained, for counters and the log.
    pub faults: Vec<Fault>,
}

/// Prefixes of one family that share their attributes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reach {
    /// Family of all the prefixes.
    pub family: Family,
    /// Their attributes.
    pub attrs: Arc<Attrs>,
    /// The prefixes, in message order.
    pub prefixes: Vec<Prefix>,
}
