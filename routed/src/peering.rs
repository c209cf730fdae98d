//! BGP peering: sockets, a task for each peer, and the RIB's thread.

#[expect(dead_code, reason = "the peers' tasks that use it come next")]
mod rib;

pub use rib::{BestChanges, RibHandle, RibStopped};
