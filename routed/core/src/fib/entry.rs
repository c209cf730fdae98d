//! One route: what is wanted, what is there, and what therefore is due.

use std::time::Instant;

use bgp::family::Family;

use super::{
    reconcile::Want,
    route::{RouteKey, Target, WriteError},
    status::{RouteState, RouteStatus},
};

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) want: Want,
    /// Our route in the kernel, as far as we know.
    pub(super) have: Option<Target>,
    /// Somebody else has a route with this key.
    pub(super) taken: bool,
    /// The operation that has been handed out and not been answered.
    pub(super) flight: Option<Flight>,
    /// The last attempt failed.
    pub(super) trouble: Option<Trouble>,
}

/// An operation on its way.
#[derive(Clone, Debug)]
pub(super) struct Flight {
    pub(super) deed: Deed,
    /// Somebody else changed the route meanwhile; who was first is unknown.
    pub(super) disturbed: bool,
}

/// What became of the last attempt, and when to try again.
#[derive(Clone, Debug)]
pub(super) struct Trouble {
    /// Attempts that failed in a row, from 1.
    pub(super) attempt: u32,
    pub(super) error: WriteError,
    /// `None` once the wait is over.
    pub(super) retry_at: Option<Instant>,
}

/// An operation without its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    Add(Target),
    Replace(Target),
    Delete,
}

impl Deed {
    /// What is written, if anything.
    pub(super) const fn target(&self) -> Option<&Target> {
        match self {
            Self::Add(target) | Self::Replace(target) => Some(target),
            Self::Delete => None,
        }
    }
}

impl Default for Entry {
    fn default() -> Self {
        Self { want: Want::Nothing, have: None, taken: false, flight: None, trouble: None }
    }
}

impl Entry {
    /// What there is to do, waits and answers that are outstanding aside.
    pub(super) fn due(&self) -> Option<Deed> {
        match (&self.want, &self.have) {
            (Want::Target(want), Some(have)) if want == have => None,
            // Adding would fail. Replacing would hit either ours or theirs.
            (Want::Target(_), _) if self.taken => None,
            (Want::Target(want), Some(_)) => Some(Deed::Replace(want.clone())),
            (Want::Target(want), None) => Some(Deed::Add(want.clone())),
            (Want::Nothing | Want::Never, Some(_)) => Some(Deed::Delete),
            (Want::Nothing | Want::Never, None) | (Want::Keep, _) => None,
        }
    }

    /// True if nobody wants the route and it is not there: nothing to remember.
    pub(super) const fn is_idle(&self) -> bool {
        matches!(self.want, Want::Nothing) && self.have.is_none() && self.flight.is_none()
    }

    /// True if this is what should be there.
    pub(super) fn wants(&self, target: &Target) -> bool {
        matches!(&self.want, Want::Target(wanted) if wanted == target)
    }

    /// True if `before` is wanted and no longer there.
    pub(super) fn misses(&self, before: &Target) -> bool {
        self.wants(before) && self.have.as_ref() != Some(before)
    }

    /// Does not depend on what is in flight, so that handing out an operation changes no count.
    pub(super) fn state(&self) -> RouteState {
        match &self.want {
            Want::Target(target) if self.have.as_ref() == Some(target) => RouteState::Installed,
            Want::Target(_) if self.taken => RouteState::Conflict,
            Want::Target(_) if self.trouble.is_some() => RouteState::Failed,
            Want::Target(_) => RouteState::Pending,
            Want::Keep => RouteState::Unresolved,
            Want::Never if self.have.is_none() => RouteState::OwnRange,
            Want::Nothing | Want::Never => RouteState::Stale,
        }
    }

    pub(super) fn status(&self, key: RouteKey) -> RouteStatus<'_> {
        let want = match &self.want {
            Want::Target(target) => Some(target),
            Want::Nothing | Want::Never | Want::Keep => None,
        };
        RouteStatus {
            key,
            want,
            have: self.have.as_ref(),
            state: self.state(),
            attempt: self.trouble.as_ref().map_or(0, |trouble| trouble.attempt),
            error: self.trouble.as_ref().map(|trouble| &trouble.error),
        }
    }

    /// Interfaces that an IPv4 route in the kernel uses, each as often as it does. (The kernel does
    /// tell when it drops IPv6 routes.)
    pub(super) fn links(&self, key: RouteKey) -> impl Iterator<Item = u32> {
        let silent = key.prefix.family() == Family::Ipv4Unicast;
        let have = self.have.as_ref().filter(|_| silent);
        let hops = have.map_or(&[][..], Target::hops);
        hops.iter().map(|hop| hop.ifindex).collect::<Vec<_>>().into_iter()
    }
}
