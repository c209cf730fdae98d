//! Best-path selection: which of several paths to one prefix are used.
//!
//! In: the eligible paths of one prefix, each reduced to what is compared. Out: the same, best
//! first, how many of them are used, and for every other the step that ruled it out.
//!
//! Keeps no state and reads no clock: the same paths give the same answer in any order. Steps
//! follow RFC 4271 §9.1.2.2 and RFC 4456 §9 by elimination, so MED needs no ordering by
//! arrival ("deterministic MED"). Our choices are listed in the README under "Decisions":
//! locally originated first, MED never compared across neighbouring ASes, a missing MED is 0,
//! multipath over paths of equal length through different ASes.

use std::net::{IpAddr, Ipv4Addr};

use super::verdict::Step;
use crate::{
    aspath::Asn,
    attrs::{Attrs, DEFAULT_LOCAL_PREF, Origin},
    community::Community,
};

/// Who a path came from, as far as the decision cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origination {
    /// Originated by this router.
    Local,
    /// Learned from a peer.
    Peer {
        /// By eBGP.
        external: bool,
        /// The peer's BGP identifier.
        router_id: Ipv4Addr,
        /// The peer's address.
        address: IpAddr,
        /// The peer's number for the path (RFC 7911).
        path_id: u32,
    },
}

/// An eligible path, reduced to what is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Contender {
    /// Which path of the destination this is.
    pub(super) index: usize,
    /// The step that ruled it out; `None` for paths in use.
    pub(super) lost: Option<Step>,
    long_lived: bool,
    local: bool,
    external: bool,
    weight: u32,
    local_pref: u32,
    hops: usize,
    origin: Origin,
    /// `None` is our own AS: learned by iBGP with an empty path (RFC 4271 §9.1.2.2 c).
    neighbour: Option<Asn>,
    med: u32,
    cost: u32,
    router_id: Ipv4Addr,
    clusters: usize,
    address: Option<IpAddr>,
    path_id: u32,
}

impl Contender {
    /// `cost` is that of reaching the next hop.
    pub(super) fn new(index: usize, attrs: &Attrs, from: Origination, cost: u32) -> Self {
        let (local, external, router_id, address, path_id) = match from {
            Origination::Local => (true, false, Ipv4Addr::UNSPECIFIED, None, 0),
            Origination::Peer { external, router_id, address, path_id } => {
                (false, external, router_id, Some(address), path_id)
            }
        };
        Self {
            index,
            lost: None,
            long_lived: attrs.has(Community::LLGR_STALE),
            local,
            external,
            weight: attrs.weight,
            local_pref: attrs.local_pref.unwrap_or(DEFAULT_LOCAL_PREF),
            hops: attrs.as_path.hops(),
            origin: attrs.origin,
            neighbour: attrs.as_path.first(),
            med: attrs.med.unwrap_or(0),
            cost,
            router_id: attrs.originator_id.unwrap_or(router_id),
            clusters: attrs.cluster_list.len(),
            address,
            path_id,
        }
    }

    /// Order among paths that are equal up to step e: lower wins.
    const fn tie_break(&self) -> (Ipv4Addr, usize, Option<IpAddr>, u32) {
        (self.router_id, self.clusters, self.address, self.path_id)
    }
}

/// Sorts the paths best first and gives how many of them, at most `multipath`, are used. The
/// paths after those have their `lost` set; those that lost at a later step come first. That is
/// not the order in which they would win if the best were gone (see [`Judge::ranked`]).
///
/// [`Judge::ranked`]: super::judge::Judge::ranked
pub(super) fn decide(paths: &mut [Contender], multipath: usize) -> usize {
    if let [only] = paths {
        only.lost = None;
        return 1;
    }
    let mut left = paths.len();
    left = keep_lowest(&mut paths[..left], Step::LongLivedStale, |path| path.long_lived);
    left = keep_lowest(&mut paths[..left], Step::LocallyOriginated, |path| !path.local);
    left = keep_lowest(&mut paths[..left], Step::Weight, |path| !path.weight);
    left = keep_lowest(&mut paths[..left], Step::LocalPref, |path| !path.local_pref);
    left = keep_lowest(&mut paths[..left], Step::AsPathLength, |path| path.hops);
    left = keep_lowest(&mut paths[..left], Step::Origin, |path| path.origin);
    left = keep_lowest_med(&mut paths[..left]);
    left = keep_lowest(&mut paths[..left], Step::EbgpOverIbgp, |path| !path.external);
    left = keep_lowest(&mut paths[..left], Step::NextHopCost, |path| path.cost);
    break_tie(&mut paths[..left], multipath.max(1))
}

/// Leaves those with the lowest key in front and gives their number.
fn keep_lowest<K: Ord>(
    paths: &mut [Contender],
    step: Step,
    key: impl Fn(&Contender) -> K,
) -> usize {
    let Some(lowest) = paths.iter().map(&key).min() else { return 0 };
    for path in &mut *paths {
        path.lost = (key(path) > lowest).then_some(step);
    }
    losers_last(paths)
}

/// Step c: of each neighbouring AS, leaves those with its lowest MED.
fn keep_lowest_med(paths: &mut [Contender]) -> usize {
    if paths.windows(2).all(|pair| pair[0].med == pair[1].med) {
        return paths.len();
    }
    for at in 0..paths.len() {
        let (neighbour, med) = (paths[at].neighbour, paths[at].med);
        let beaten = paths.iter().any(|other| other.neighbour == neighbour && other.med < med);
        paths[at].lost = beaten.then_some(Step::Med);
    }
    losers_last(paths)
}

/// Moves the paths that have just lost behind the others and gives the number of the others.
fn losers_last(paths: &mut [Contender]) -> usize {
    let mut left = 0;
    for at in 0..paths.len() {
        if paths[at].lost.is_none() {
            paths.swap(left, at);
            left += 1;
        }
    }
    paths[left..].sort_unstable_by_key(Contender::tie_break);
    left
}

/// Steps f and g, and the multipath limit. Of several paths of one peer (RFC 7911), the one with
/// the lowest number comes first, so that the order does not depend on that of arrival.
fn break_tie(paths: &mut [Contender], multipath: usize) -> usize {
    paths.sort_unstable_by_key(Contender::tie_break);
    let used = paths.len().min(multipath);
    let (winners, losers) = paths.split_at_mut(used);
    let Some(best) = winners.first() else { return 0 };
    for path in losers {
        path.lost = Some(match multipath {
            1 if path.router_id != best.router_id => Step::RouterId,
            1 if path.clusters != best.clusters => Step::ClusterListLength,
            1 if path.address != best.address => Step::PeerAddress,
            1 => Step::PathId,
            _ => Step::MultipathLimit,
        });
    }
    used
}

#[cfg(test)]
mod tests;
