//! Kernel next-hop objects as values: single hops, and groups of them that routes point at.
//!
//! A route that names a group follows whatever becomes of the group, so that a neighbour that is lost
//! costs one change for all routes through it (ip-nexthop(8)).

use std::{fmt, sync::Arc};

use super::route::{Hop, Hops};

/// Number of a next-hop object, unique in a network namespace and never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NextHopId(pub u32);

impl fmt::Display for NextHopId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Members of a group with their weights, 1..=256, by id: equal sets compare equal however the kernel
/// lists them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Members(Arc<[(NextHopId, u16)]>);

impl Members {
    /// The members, each with its weight.
    #[must_use]
    pub fn as_slice(&self) -> &[(NextHopId, u16)] {
        &self.0
    }

    /// Those of the members that pass; `None` if all do.
    pub(super) fn without(&self, lost: impl Fn(NextHopId) -> bool) -> Option<Self> {
        let left = self.0.iter().copied().filter(|(id, _)| !lost(*id));
        let left: Self = left.collect();
        (left.0.len() < self.0.len()).then_some(left)
    }
}

impl FromIterator<(NextHopId, u16)> for Members {
    fn from_iter<I: IntoIterator<Item = (NextHopId, u16)>>(members: I) -> Self {
        let mut members: Vec<_> = members.into_iter().collect();
        members.sort_unstable();
        Self(members.into())
    }
}

/// What a next-hop object is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Object {
    /// One way out of this machine, of weight 1.
    Hop(Hop),
    /// Several that share the traffic by their weights; one is enough.
    Group(Members),
    /// Something that we never make: a blackhole, a bridge's, an encapsulation.
    Other,
}

/// A next-hop object as the kernel reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NextHopObject {
    /// Which.
    pub id: NextHopId,
    /// Whose: the route protocol number.
    pub protocol: u8,
    /// What.
    pub object: Object,
}

/// What happened to a next-hop object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextHopChange {
    /// It is there, new or changed.
    Present,
    /// It was deleted.
    Gone,
}

/// One change to the kernel's next-hop objects, always of our protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NextHopOperation {
    /// Creates it; must be refused if anything has its id.
    Create(NextHopId, Object),
    /// Gives ours another content without a moment in between.
    Replace(NextHopId, Object),
    /// Removes it. The kernel takes it out of groups, and removes routes that name it.
    Delete(NextHopId),
}

impl NextHopOperation {
    /// The object concerned.
    #[must_use]
    pub const fn id(&self) -> NextHopId {
        match self {
            Self::Create(id, _) | Self::Replace(id, _) | Self::Delete(id) => *id,
        }
    }

    /// What is written, if anything.
    #[must_use]
    pub const fn object(&self) -> Option<&Object> {
        match self {
            Self::Create(_, object) | Self::Replace(_, object) => Some(object),
            Self::Delete(_) => None,
        }
    }
}

/// The hops of an object, by what is known of the others.
pub(super) fn hops_of<'a>(
    object: &Object,
    known: impl Fn(NextHopId) -> Option<&'a Object>,
) -> Hops {
    match object {
        Object::Hop(hop) => Hops::from_iter([*hop]),
        Object::Group(members) => {
            let hop = |(id, weight): &(NextHopId, u16)| match known(*id)? {
                Object::Hop(hop) => Some(Hop { weight: *weight, ..*hop }),
                Object::Group(_) | Object::Other => None,
            };
            members.as_slice().iter().filter_map(hop).collect()
        }
        Object::Other => Hops::from_iter([]),
    }
}
