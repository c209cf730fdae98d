//! What takes steps back, in reverse order.
//!
//! Only the host's side needs it: everything inside the pod's namespace goes with the veth pair.
//! Removing what is not there is no failure, so the same steps serve a failed ADD, a DEL, and a
//! DEL whose namespace has long been gone.

use super::step::Step;

/// The steps that undo `steps`, last first.
#[must_use]
pub fn undo(steps: &[Step]) -> Vec<Step> {
    steps.iter().rev().filter_map(inverse).collect()
}

fn inverse(step: &Step) -> Option<Step> {
    match step {
        Step::CreatePair { host, .. } => Some(Step::Doom { name: host.name.clone() }),
        Step::HostRoute { index, address, stamp } => {
            Some(Step::RemoveHostRoute { index: *index, address: *address, stamp: *stamp })
        }
        Step::Permit { index, addresses, .. } => {
            Some(Step::Forbid { index: *index, addresses: addresses.clone() })
        }
        // It is of no use without the route, and goes with the pair.
        Step::Neighbour { .. }
        | Step::Forbid { .. }
        | Step::Label { .. }
        | Step::LoopbackUp
        | Step::LinkUp { .. }
        | Step::Address { .. }
        | Step::GatewayRoute { .. }
        | Step::Route { .. }
        | Step::DefaultRoute { .. }
        | Step::AwaitCarrier { .. }
        | Step::AwaitAddress { .. }
        | Step::RemoveHostRoute { .. }
        | Step::Adjust { .. }
        | Step::MoveHostRoute { .. }
        | Step::Set { .. }
        | Step::Doom { .. } => None,
    }
}
