//! What goes into the machine and what comes out.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use bgp::{
    attrs::NextHop,
    prefix::Prefix,
    rib::{BestChange, PeerId, Resolution},
};

use super::{
    links::{LinkEvent, Links},
    next_hop::{NextHopChange, NextHopObject, NextHopOperation},
    others::RouteChange,
    route::{Operation, Route, WriteError},
};

/// Settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FibConfig {
    /// Table that our routes go to.
    pub table: u32,
    /// Their protocol number: what makes them ours.
    pub protocol: u8,
    /// Their metric; the kernel's default for each family unless set.
    pub metric: Option<u32>,
    /// This node's own pod ranges. Each gets a blackhole, so that traffic to pods that do not
    /// exist ends here; nothing inside them is ever learned.
    pub own_ranges: Vec<Prefix>,
    /// Whether a single address of them may be elsewhere, as in a cluster, where an address can follow its
    /// pod to another node: a learned route to exactly one is used then, unless a pod here has it.
    pub addresses_wander: bool,
    /// Whether learned routes go into the kernel. If not, next hops are resolved all the same.
    pub learned_routes: bool,
    /// Whether they point at next-hop groups, if the kernel has those; if not, each lists its hops.
    pub next_hop_groups: bool,
    /// Whether a default route of somebody else makes next hops reachable.
    pub resolve_via_default: bool,
    /// Longest time after the start for which routes that nobody wants (yet) are kept.
    pub grace: Duration,
}

/// One thing happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Every interface and address: at the start, and after changes were missed.
    Links(Links),
    /// A change of one.
    Link(LinkEvent),
    /// A change of one route that was not made by our own writer.
    Route(RouteChange, Route),
    /// A change of one next-hop object that was not made by our own writer.
    NextHop(NextHopChange, NextHopObject),
    /// Changes of routes or next-hop objects were missed.
    Overrun,
    /// Answer to [`Command::Dump`].
    Dumped {
        /// Every unicast, blackhole and refusing route of the kernel.
        routes: Vec<Route>,
        /// Every next-hop object; `None` if the kernel has none such.
        next_hops: Option<Vec<NextHopObject>>,
    },
    /// It could not be had.
    DumpFailed,
    /// Answer to [`Command::Write`].
    Written {
        /// What was asked.
        operations: Arc<[Operation]>,
        /// Those that were not done, by position, in order.
        failures: Vec<(usize, WriteError)>,
    },
    /// Answer to [`Command::WriteNextHops`].
    NextHopsWritten {
        /// What was asked.
        operations: Arc<[NextHopOperation]>,
        /// Those that were not done, by position, in order.
        failures: Vec<(usize, WriteError)>,
    },
    /// The peers whose sessions are over and whose routes are not kept for their restart: all of
    /// them, whenever one comes or goes. Of what the RIB makes of it, [`Event::Best`] tells later.
    Lost(BTreeSet<PeerId>),
    /// Changes of the Loc-RIB.
    Best(Vec<BestChange>),
    /// Every next hop that the RIB asks about. Each is answered, whether it was asked about before
    /// or not: the RIB may have forgotten it in between.
    NextHops(BTreeSet<NextHop>),
    /// This node's own pod ranges are these from now on.
    OwnRanges(Vec<Prefix>),
    /// The peers have told us all they have. What they told may still be on its way here.
    Complete,
    /// The time that [`Fib::poll_timeout`](super::Fib::poll_timeout) named has come.
    Timeout,
}

/// One thing to do. Dumps and writes must be carried out in the order in which they were polled, by
/// the same hand, and be answered in that order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Take a full picture of the kernel's routes and next-hop objects.
    Dump,
    /// Change routes.
    Write(Arc<[Operation]>),
    /// Change next-hop objects.
    WriteNextHops(Arc<[NextHopOperation]>),
    /// Tell the RIB about a next hop.
    Answer(NextHop, Resolution),
}
