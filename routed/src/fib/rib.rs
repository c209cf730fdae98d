//! The RIB as the routes' task sees it.

use std::{collections::BTreeSet, future::Future};

use bgp::{attrs::NextHop, rib::Resolution};
use routed_core::fib::Event;
use tokio::sync::watch;

use crate::peering::{BestChanges, RibHandle, RibStopped};

/// Where best paths come from and answers about next hops go: the RIB's thread, or a test.
pub trait RibSide: Send {
    /// The next news: [`Event::Best`] or [`Event::NextHops`]. May be dropped at any point without
    /// losing one.
    fn next(&mut self) -> impl Future<Output = Result<Event, RibStopped>> + Send;

    /// Tells where a next hop leads.
    fn answer(
        &mut self,
        next_hop: NextHop,
        resolution: Resolution,
    ) -> impl Future<Output = Result<(), RibStopped>> + Send;
}

/// The RIB's thread.
pub struct RibThread {
    rib: RibHandle,
    best: BestChanges,
    next_hops: watch::Receiver<BTreeSet<NextHop>>,
}

impl RibThread {
    /// The side of the RIB that is meant for the kernel.
    #[must_use]
    pub fn new(rib: RibHandle, best: BestChanges) -> Self {
        let mut next_hops = rib.next_hops();
        // Those that the RIB asked about before we came.
        next_hops.mark_changed();
        Self { rib, best, next_hops }
    }
}

impl RibSide for RibThread {
    async fn next(&mut self) -> Result<Event, RibStopped> {
        tokio::select! {
            changes = self.best.next(BEST) => changes.map(Event::Best),
            changed = self.next_hops.changed() => {
                changed.map_err(|_| RibStopped)?;
                Ok(Event::NextHops(self.next_hops.borrow_and_update().clone()))
            }
        }
    }

    async fn answer(
        &mut self,
        next_hop: NextHop,
        resolution: Resolution,
    ) -> Result<(), RibStopped> {
        self.rib.set_next_hop(next_hop, resolution).await
    }
}

/// Changes of the Loc-RIB taken at once: milliseconds of work, so that the kernel's news never
/// wait for longer.
const BEST: usize = 4096;
