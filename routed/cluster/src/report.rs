//! What this node tells its cluster: its [`BGPNodeStatus`], its condition, events.
//!
//! In: a [`Picture`] of the node, whenever the daemon has a newer one. Out: requests to the API server,
//! as few as tell the whole: 5,000 nodes share one. Three machines decide what is said and when, each
//! with one request under way at most: `status` (the object of the node), `life` (condition and taint of
//! its Node), `events`. The driver asks the API server and decides nothing.
//!
//! Nothing of the node waits for any of it. What fails is tried again, ever more seldom.
//!
//! [`BGPNodeStatus`]: routed_api::BGPNodeStatus

mod api;
mod driver;
mod events;
mod life;
mod picture;
mod pruned;
mod status;

pub use self::{
    driver::{ReportHandle, Reporting},
    picture::{Counts, Picture, SessionSeen},
};

/// The taint that a node may be registered with, so that no pod comes before its network does.
pub const TAINT: &str = "slash32.dev/agent-not-ready";

#[cfg(test)]
mod tests;
