//! What there is to be shown about our routes.

use std::fmt;

use super::route::{RouteKey, Target, WriteError};

/// How a route of ours stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RouteState {
    /// The kernel has it as it should be.
    Installed,
    /// About to be written.
    Pending,
    /// The kernel refused it; it is tried again.
    Failed,
    /// Somebody else has a route with the same destination, table and metric. Ours follows when
    /// theirs is gone.
    Conflict,
    /// None of its next hops can be reached; what the kernel has stays until BGP decides anew.
    Unresolved,
    /// Learned, but inside this node's own pod ranges, so not installed.
    OwnRange,
    /// In the kernel and not wanted: it is deleted once the first full picture is there.
    Stale,
}

impl RouteState {
    /// Every state.
    pub const ALL: [Self; 7] = [
        Self::Installed,
        Self::Pending,
        Self::Failed,
        Self::Conflict,
        Self::Unresolved,
        Self::OwnRange,
        Self::Stale,
    ];
}

/// The name used in tables and metric labels.
impl fmt::Display for RouteState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Installed => "installed",
            Self::Pending => "pending",
            Self::Failed => "failed",
            Self::Conflict => "conflict",
            Self::Unresolved => "unresolved",
            Self::OwnRange => "own-range",
            Self::Stale => "stale",
        })
    }
}

/// One route with how it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteStatus<'a> {
    /// Which.
    pub key: RouteKey,
    /// What the kernel should have, if anything.
    pub want: Option<&'a Target>,
    /// What it has of ours, if anything.
    pub have: Option<&'a Target>,
    /// The difference, in a word.
    pub state: RouteState,
    /// Attempts that failed in a row.
    pub attempt: u32,
    /// Why the last one did.
    pub error: Option<&'a WriteError>,
}

/// Events since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Routes added or replaced.
    pub written: u64,
    /// Routes deleted.
    pub deleted: u64,
    /// Operations that the kernel refused.
    pub failed: u64,
    /// Wanted routes found deleted or changed by somebody else.
    pub repaired: u64,
    /// Full pictures taken after the first, because single changes could not be followed.
    pub resyncs: u64,
}
