//! The MTU of pods, by the ways to the peers: what a pod sends leaves the node on one of those.
//!
//! In: where the peers are, and the kernel's routes to them. Out: the smallest MTU of these ways, told to
//! the pods' machine, and to the log what does not fit together. Interfaces, sessions and routes are
//! looked at again when something changes, and every ten seconds, since the kernel tells of no change of an
//! interface's MTU that we listen to.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use routed_core::fib::links::Links;
use tokio::{sync::watch, task, time};

use crate::{
    kernel::paths::{self, Path},
    node::NodeHandle,
    peering::Peers,
};

/// The ways, by peer.
type Ways = BTreeMap<Arc<str>, Path>;

/// Follows the ways until the pods' machine ends. If the configuration has an MTU, that counts; then only
/// what does not fit is told.
pub(crate) async fn follow(mut links: watch::Receiver<Links>, peers: Peers, node: NodeHandle) {
    let mut peers = peers.follow();
    let mut ways = Ways::new();
    let mut told = None;
    loop {
        links.borrow_and_update();
        let asked: Vec<_> = peers.statuses().into_iter().filter(|peer| peer.wanted).collect();
        let asked = asked.into_iter().filter_map(|peer| {
            let address: SocketAddr = peer.remote.or(peer.peer)?;
            Some((peer.name, address))
        });
        let asked: Vec<_> = asked.collect();
        match task::spawn_blocking(move || paths::towards(&asked)).await {
            Ok(Ok(found)) => ways = found.into_iter().collect(),
            Ok(Err(error)) => {
                tracing::warn!(%error, "the ways to the peers cannot be looked at; trying again");
            }
            Err(_) => {}
        }
        let Ok(fixed) = node.fixed_mtu().await else { return };
        // After the first look in any case: the first pods wait for it.
        let now = Some((ways.clone(), fixed));
        if now != told {
            if let Some(misfit) = misfit(&ways, fixed) {
                tracing::warn!("{misfit}");
            }
            let least = ways.values().map(|way| way.mtu).min();
            if node.path_mtu(least).await.is_err() {
                return;
            }
            told = now;
        }
        // Not more often than that: pods come and go by the hundred.
        time::sleep(AT_LEAST).await;
        let _ = time::timeout(AT_MOST, async {
            tokio::select! {
                _ = links.changed() => {}
                () = peers.changed() => {}
            }
        })
        .await;
    }
}

/// What does not fit together, if anything.
fn misfit(ways: &Ways, fixed: Option<u32>) -> Option<String> {
    let least = ways.values().map(|way| way.mtu).min()?;
    let most = ways.values().map(|way| way.mtu).max()?;
    let list = || {
        let ways =
            ways.iter().map(|(peer, Path { ifname, mtu })| format!("{mtu} on {ifname} to {peer}"));
        ways.collect::<Vec<_>>().join(", ")
    };
    match fixed {
        Some(fixed) if fixed > least => Some(format!(
            "pods.mtu is {fixed}, but not all ways to the peers take that ({}): larger packets of \
             pods are lost or cut; lower it, or raise the MTU of the interfaces",
            list()
        )),
        Some(_) => None,
        None if least != most => Some(format!(
            "the ways to the peers have different MTUs ({}); new pods get {least}; make them alike, \
             or set pods.mtu",
            list()
        )),
        None => None,
    }
}

/// Between two looks.
const AT_LEAST: Duration = Duration::from_millis(500);
const AT_MOST: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    fn ways(ways: &[(&str, &str, u32)]) -> Ways {
        let way = |(peer, ifname, mtu): &(&str, &str, u32)| {
            (Arc::from(*peer), Path { ifname: (*ifname).to_owned(), mtu: *mtu })
        };
        ways.iter().map(way).collect()
    }

    #[test]
    fn ways_that_differ_are_named_each() {
        let differing = ways(&[("tor1", "eth0", 9000), ("tor2", "eth1", 1500)]);
        let misfit = misfit(&differing, None).unwrap();
        assert!(misfit.contains("9000 on eth0 to tor1, 1500 on eth1 to tor2"), "{misfit}");
        assert!(misfit.contains("new pods get 1500"), "{misfit}");
    }

    #[test]
    fn a_fixed_mtu_is_a_misfit_only_if_a_way_does_not_take_it() {
        let differing = ways(&[("tor1", "eth0", 9000), ("tor2", "eth1", 1500)]);
        assert_eq!(misfit(&differing, Some(1500)), None);
        assert!(misfit(&differing, Some(1501)).unwrap().contains("1500 on eth1 to tor2"));
        let alike = ways(&[("tor1", "eth0", 9000), ("tor2", "eth1", 9000)]);
        assert_eq!(misfit(&alike, None), None);
        assert_eq!(misfit(&Ways::new(), Some(9000)), None);
    }
}
