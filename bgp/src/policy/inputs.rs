//! What a policy's answer depends on, so that an engine asks it no more often than needed.

use super::{Action, Condition, NextHopAction, Policy, Statement};

/// What an answer depends on besides the attributes, the source, the family of the prefix and
/// our AS on the session, which always count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Inputs {
    /// The prefix itself.
    pub prefix: bool,
    /// The peer of the session.
    pub peer: bool,
    /// The peer that announced the path.
    pub from: bool,
    /// It may set a next hop or keep the path's, which on export must not be the peer itself.
    pub next_hop: bool,
}

impl Inputs {
    const NONE: Self = Self { prefix: false, peer: false, from: false, next_hop: false };

    const fn or(self, other: Self) -> Self {
        Self {
            prefix: self.prefix || other.prefix,
            peer: self.peer || other.peer,
            from: self.from || other.from,
            next_hop: self.next_hop || other.next_hop,
        }
    }
}

impl Policy {
    /// What its answers depend on. Looks at every statement, those of inner policies included:
    /// to be asked once for a policy, not once for a path.
    #[must_use]
    pub fn inputs(&self) -> Inputs {
        self.statements.iter().map(Statement::inputs).fold(Inputs::NONE, Inputs::or)
    }

    /// Whether its answer for one prefix may differ from that for another of the family.
    #[must_use]
    pub fn depends_on_prefix(&self) -> bool {
        self.inputs().prefix
    }
}

impl Statement {
    fn inputs(&self) -> Inputs {
        let conditions = self.conditions.iter().map(Condition::inputs);
        let actions = self.actions.iter().map(Action::inputs);
        let inner = self.apply.iter().map(|policy| policy.inputs());
        conditions.chain(actions).chain(inner).fold(Inputs::NONE, Inputs::or)
    }
}

impl Condition {
    fn inputs(&self) -> Inputs {
        match self {
            Self::Prefix(_) => Inputs { prefix: true, ..Inputs::NONE },
            Self::Peer(_) => Inputs { peer: true, ..Inputs::NONE },
            Self::LearnedFrom(_) => Inputs { from: true, ..Inputs::NONE },
            Self::Policy(policy) => policy.inputs(),
            Self::Not(condition) => condition.inputs(),
            Self::Family(_)
            | Self::AsPathContains(_)
            | Self::OriginatedBy(_)
            | Self::NeighborAs(_)
            | Self::AsPathLength(_)
            | Self::AsPath(_)
            | Self::Communities(_)
            | Self::LargeCommunities(_)
            | Self::ExtCommunities(_)
            | Self::NextHop(_)
            | Self::Origin(_)
            | Self::Source(_)
            | Self::LocalPref(_)
            | Self::Med(_) => Inputs::NONE,
        }
    }
}

impl Action {
    const fn inputs(&self) -> Inputs {
        match self {
            Self::SetNextHop(NextHopAction::Peer) => Inputs { peer: true, ..Inputs::NONE },
            Self::SetNextHop(NextHopAction::Address { .. } | NextHopAction::Unchanged) => {
                Inputs { next_hop: true, ..Inputs::NONE }
            }
            Self::SetNextHop(NextHopAction::Own)
            | Self::SetWeight(_)
            | Self::LocalPref(_)
            | Self::Med(_)
            | Self::RemoveMed
            | Self::SetOrigin(_)
            | Self::Communities(_)
            | Self::LargeCommunities(_)
            | Self::ExtCommunities(_)
            | Self::SetLinkBandwidth(_)
            | Self::Prepend(_)
            | Self::PrependLastAs(_) => Inputs::NONE,
        }
    }
}
