//! One next-hop object: what is wanted, what is there, and what therefore is due.

use std::fmt;

use crate::fib::{
    entry::Trouble,
    next_hop::{NextHopId, NextHopOperation, Object},
    route::{Hops, WriteError},
};

/// What should become of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Want {
    /// There should be none.
    #[default]
    Nothing,
    /// A group whose hops all lead nowhere: what is there stays until BGP decides anew.
    Keep,
    /// This.
    Object(Object),
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Slot {
    pub(super) want: Want,
    /// Wanted groups that have this hop.
    pub(super) users: usize,
    /// Ours in the kernel, as far as we know.
    pub(super) have: Option<Object>,
    /// The operation that has been handed out and not been answered.
    pub(super) flight: Option<Flight>,
    /// The last attempt failed.
    pub(super) trouble: Option<Trouble>,
}

/// An operation on its way.
#[derive(Clone, Debug)]
pub(super) struct Flight {
    /// What is written; `None` if it is deleted.
    pub(super) object: Option<Object>,
    /// Somebody else, or the kernel, changed the object meanwhile; who was first is unknown.
    pub(super) disturbed: bool,
}

/// How a next-hop object of ours stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GroupState {
    /// The kernel has it as it should be.
    Installed,
    /// About to be written.
    Pending,
    /// The kernel refused it; it is tried again.
    Failed,
    /// None of its hops can be reached; what the kernel has stays until BGP decides anew.
    Unresolved,
    /// In the kernel and not wanted: it is deleted once the first full picture is there and the last
    /// route has left it.
    Stale,
}

impl GroupState {
    /// Every state.
    pub const ALL: [Self; 5] =
        [Self::Installed, Self::Pending, Self::Failed, Self::Unresolved, Self::Stale];
}

/// The name used in tables and metric labels.
impl fmt::Display for GroupState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Installed => "installed",
            Self::Pending => "pending",
            Self::Failed => "failed",
            Self::Unresolved => "unresolved",
            Self::Stale => "stale",
        })
    }
}

/// One object with how it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NextHopStatus<'a> {
    /// Which.
    pub id: NextHopId,
    /// Whether routes may point at it, as opposed to a member of groups.
    pub is_group: bool,
    /// Its hops; one if it is no group.
    pub hops: Hops,
    /// What the kernel has of ours and what it should, in a word.
    pub state: GroupState,
    /// Why the last operation failed, if it did.
    pub error: Option<&'a WriteError>,
}

impl Slot {
    /// What there is to do, waits and others' needs aside.
    pub(super) fn due(&self, id: NextHopId) -> Option<NextHopOperation> {
        if self.flight.is_some() {
            return None;
        }
        match (&self.want, &self.have) {
            (Want::Object(want), Some(have)) if want == have => None,
            (Want::Object(want), Some(_)) => Some(NextHopOperation::Replace(id, want.clone())),
            (Want::Object(want), None) => Some(NextHopOperation::Create(id, want.clone())),
            (Want::Nothing, Some(_)) => Some(NextHopOperation::Delete(id)),
            (Want::Nothing, None) | (Want::Keep, _) => None,
        }
    }

    /// Nobody wants it and it is not there: nothing to remember.
    pub(super) fn is_idle(&self) -> bool {
        self.want == Want::Nothing && self.have.is_none() && self.flight.is_none()
    }

    /// It is there, and whoever wants such a one may have it.
    pub(super) fn is_spare(&self) -> bool {
        self.want == Want::Nothing && self.flight.is_none()
    }

    /// It is there as it should be, and stays so.
    pub(super) fn is_installed(&self) -> bool {
        self.flight.is_none() && self.have.is_some() && self.wants(self.have.as_ref())
    }

    /// This is what it should be.
    pub(super) fn wants(&self, object: Option<&Object>) -> bool {
        matches!((&self.want, object), (Want::Object(want), Some(object)) if want == object)
    }

    /// What is there, and what will be by an operation under way.
    pub(super) fn objects(&self) -> impl Iterator<Item = &Object> {
        let coming = self.flight.as_ref().and_then(|flight| flight.object.as_ref());
        self.have.iter().chain(coming)
    }

    /// What to show of it.
    pub(super) const fn shown(&self) -> Option<&Object> {
        match (&self.have, &self.want) {
            (Some(have), _) => Some(have),
            (None, Want::Object(want)) => Some(want),
            (None, Want::Nothing | Want::Keep) => None,
        }
    }

    pub(super) fn status(&self, id: NextHopId, hops: Hops) -> NextHopStatus<'_> {
        NextHopStatus {
            id,
            is_group: !matches!(self.shown(), Some(Object::Hop(_) | Object::Other)),
            hops,
            state: self.state(),
            error: self.trouble.as_ref().map(|trouble| &trouble.error),
        }
    }

    fn state(&self) -> GroupState {
        match &self.want {
            Want::Object(_) if self.wants(self.have.as_ref()) => GroupState::Installed,
            Want::Object(_) if self.trouble.is_some() => GroupState::Failed,
            Want::Object(_) => GroupState::Pending,
            Want::Keep => GroupState::Unresolved,
            Want::Nothing => GroupState::Stale,
        }
    }
}
