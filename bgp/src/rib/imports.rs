//! What becomes of what a peer announces, counted for statistics (RFC 7854 §4.8).
//!
//! Counts what arrives, not what is stored: a change of policy changes no count.

use super::verdict::Ineligible;
use crate::wire::{Treatment, Update};

/// Counts of one session, from 0 at its beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ImportCounts {
    /// Prefixes that import policy rejected, or the lack of one (RFC 8212).
    pub rejected: u64,
    /// Prefixes announced with the very attributes that they had.
    pub duplicate_announcements: u64,
    /// Prefixes withdrawn that were not there.
    pub duplicate_withdrawals: u64,
    /// Sets of routes with our cluster id in their CLUSTER_LIST.
    pub cluster_loops: u64,
    /// Sets of routes with our AS in their path.
    pub as_loops: u64,
    /// Sets of routes with our identifier as their ORIGINATOR_ID.
    pub originator_loops: u64,
    /// UPDATEs whose routes were treated as withdrawn (RFC 7606).
    pub treated_as_withdraw: u64,
}

impl ImportCounts {
    /// An UPDATE arrived. True if what it withdraws is the peer's own wish.
    pub(super) fn arrived(&mut self, update: &Update) -> bool {
        let treated =
            update.faults.iter().any(|fault| fault.treatment == Treatment::TreatAsWithdraw);
        self.treated_as_withdraw += u64::from(treated);
        !treated
    }

    /// What the checks that hold for a whole set of routes have found.
    pub(super) const fn screened(&mut self, found: &Result<(), Ineligible>) {
        match found {
            Err(Ineligible::AsLoop) => self.as_loops += 1,
            Err(Ineligible::OriginatorLoop) => self.originator_loops += 1,
            Err(Ineligible::ClusterLoop) => self.cluster_loops += 1,
            Ok(()) | Err(_) => {}
        }
    }

    /// What became of one prefix.
    pub(super) fn imported(&mut self, ineligible: Option<&Ineligible>) {
        let rejected =
            matches!(ineligible, Some(Ineligible::Rejected(_) | Ineligible::NoImportPolicy));
        self.rejected += u64::from(rejected);
    }
}
