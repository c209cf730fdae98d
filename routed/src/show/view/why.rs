//! What `routed why` shows: the JSON for programs and the source of its text.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};

use super::{AttrsView, PathView};

/// Everything about the routing of one prefix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WhyView {
    /// The prefix asked for.
    pub wanted: IpNetwork,
    /// The most specific one known that covers it.
    pub prefix: IpNetwork,
    /// Its paths, in the order in which they would win.
    pub paths: Vec<WhyPathView>,
    /// Our routes to it in the kernel; none if routes are not installed or not this one.
    pub kernel: Vec<KernelRouteView>,
    /// What peers are told of it; none if there is no best path.
    pub told: Vec<ToldView>,
}

/// One path, from its receipt to its verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WhyPathView {
    /// What became of it.
    #[serde(flatten)]
    pub path: PathView,
    /// Its attributes before import policy.
    pub received: AttrsView,
    /// What import policy made of it, if it was asked.
    pub import: Option<PolicyView>,
}

/// What one peer is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToldView {
    /// Its name.
    pub peer: String,
    /// Whether it is told.
    pub advertised: bool,
    /// Why not, if not.
    pub reason: Option<String>,
    /// The attributes that it sees, if it is told.
    pub attributes: Option<AttrsView>,
    /// What export policy made of it, if it was asked.
    pub export: Option<PolicyView>,
}

/// How a policy came to its answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyView {
    /// Whether it let the path pass.
    pub accepted: bool,
    /// The policy that decided.
    pub policy: String,
    /// Its statement; `None`: its default.
    pub statement: Option<String>,
    /// Every statement that was tried.
    pub steps: Vec<StepView>,
}

/// One statement that was tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepView {
    /// How many policies are around this one.
    pub depth: usize,
    /// The policy.
    pub policy: String,
    /// Its statement; `None`: its default.
    pub statement: Option<String>,
    /// What came of it, in words.
    pub result: String,
}

/// A route of ours in the kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelRouteView {
    /// How it stands, such as `installed`.
    pub state: String,
    /// Routing table.
    pub table: u32,
    /// Metric.
    pub metric: u32,
    /// Why the kernel refused it, if it did.
    pub error: Option<String>,
    /// The kernel's next-hop group that it names, if it does not list its hops itself.
    pub group: Option<u32>,
    /// Ways out; several share the traffic.
    pub hops: Vec<HopView>,
    /// It drops packets.
    pub blackhole: bool,
}

/// One way out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HopView {
    /// The neighbour; `None` if the destination is on the link.
    pub gateway: Option<IpAddr>,
    /// The interface.
    pub interface: String,
    /// Share of the traffic.
    pub weight: u16,
}
