//! The node's own pod ranges in BGP.
//!
//! In: the ranges, always current. Out: the same as prefixes that this router originates.

use std::{net::Ipv4Addr, sync::Arc};

use bgp::{
    attrs::{Attrs, NextHop},
    prefix::Prefix,
};
use tokio::sync::watch;

use crate::{
    config::Config,
    peering::{RibHandle, RibStopped},
};

/// What the node announces from the first moment on.
pub(crate) fn originated(config: &Config) -> Vec<(Prefix, Arc<Attrs>)> {
    let attrs = attrs();
    let pools = config.pods.iter().flat_map(|pods| &pods.ipam.pools);
    let ranges = pools.filter(|pool| pool.announce).flat_map(|pool| &pool.ranges);
    // A single address is announced while a pod has it.
    let ranges = ranges.filter(|range| **range != Prefix::host(range.addr()));
    ranges.map(|range| (*range, Arc::clone(&attrs))).collect()
}

/// Announces the ranges and follows their changes, until the RIB or their owner ends. May be
/// dropped anywhere: what is announced stays.
pub(crate) async fn follow(mut ranges: watch::Receiver<Vec<Prefix>>, rib: RibHandle) {
    let mut announced = Vec::new();
    loop {
        let wanted = ranges.borrow_and_update().clone();
        if let Err(RibStopped) = change(&announced, &wanted, &rib).await {
            return;
        }
        announced = wanted;
        if ranges.changed().await.is_err() {
            return;
        }
    }
}

async fn change(old: &[Prefix], new: &[Prefix], rib: &RibHandle) -> Result<(), RibStopped> {
    let attrs = attrs();
    for range in new.iter().filter(|range| !old.contains(range)) {
        tracing::info!(prefix = %range, "pod range announced");
        rib.originate(*range, Arc::clone(&attrs)).await?;
    }
    for range in old.iter().filter(|range| !new.contains(range)) {
        tracing::info!(prefix = %range, "pod range no longer announced");
        rib.withdraw(*range).await?;
    }
    Ok(())
}

/// What peers are told as next hop is worked out for each of them.
fn attrs() -> Arc<Attrs> {
    Arc::new(Attrs::originated(NextHop::new(Ipv4Addr::UNSPECIFIED.into())))
}
