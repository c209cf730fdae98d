//! How many routes a peer accounts for, kept as paths come, go and change.

/// How many routes of one family a peer accounts for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerCounts {
    /// In its Adj-RIB-In.
    pub received: usize,
    /// Of these, accepted by policy and eligible.
    pub accepted: usize,
    /// Of these, in use (best or multipath).
    pub best: usize,
    /// Of those received, kept from a session that ended (RFC 4724 §4.2, RFC 9494 §4.2).
    pub stale: usize,
    /// In its Adj-RIB-Out.
    pub advertised: usize,
}

/// A peer's counts of one family, of what comes from it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    pub(super) counts: PeerCounts,
    /// Of those received, let in by checks and policy, whether or not the next hop will do.
    pub(super) let_in: usize,
}

impl Tally {
    /// A path of the peer came, went or changed: `None` is no path.
    pub(super) fn shift(&mut self, old: Option<Account>, new: Option<Account>) {
        for (account, add) in [(old, false), (new, true)] {
            let Some(Account { standing, stale, let_in }) = account else { continue };
            let (accepted, best) = match standing {
                Standing::Ineligible => (false, false),
                Standing::Eligible => (true, false),
                Standing::InUse => (true, true),
            };
            let counted = [
                (&mut self.counts.received, true),
                (&mut self.counts.accepted, accepted),
                (&mut self.counts.best, best),
                (&mut self.counts.stale, stale),
                (&mut self.let_in, let_in),
            ];
            for (count, counts) in counted {
                let by = usize::from(counts);
                *count = if add { *count + by } else { *count - by };
            }
        }
    }
}

/// What its peer accounts for by one path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Account {
    /// What it is to the Loc-RIB.
    pub(super) standing: Standing,
    /// It is kept from a session that ended.
    pub(super) stale: bool,
    /// Checks and policy let it in.
    pub(super) let_in: bool,
}

/// What a path is to the Loc-RIB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Takes no part.
    Ineligible,
    /// Could be used, but others are.
    Eligible,
    /// Best or multipath.
    InUse,
}
