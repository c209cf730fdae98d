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

use std::{
    cmp::Reverse,
    net::{IpAddr, Ipv4Addr},
};

use super::verdict::Step;
use crate::{
    aspath::Asn,
    attrs::{DEFAULT_LOCAL_PREF, Origin},
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
    /// The steps before MED in their order, one after the other from the highest bit on: lower
    /// wins.
    merit: u128,
    /// `None` is our own AS: learned by iBGP with an empty path (RFC 4271 §9.1.2.2 c).
    neighbour: Option<Asn>,
    med: u32,
    /// The same of steps d and e.
    distance: u64,
    router_id: Ipv4Addr,
    clusters: usize,
    address: Option<IpAddr>,
    path_id: u32,
}

/// What the decision asks of a path's attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Merits {
    /// It is long-lived stale (RFC 9494 §4.2).
    pub(super) long_lived: bool,
    pub(super) weight: u32,
    pub(super) local_pref: Option<u32>,
    /// Length of its AS path.
    pub(super) hops: usize,
    pub(super) origin: Origin,
    pub(super) neighbour: Option<Asn>,
    pub(super) med: Option<u32>,
    pub(super) originator_id: Option<Ipv4Addr>,
    /// Length of its CLUSTER_LIST.
    pub(super) clusters: usize,
}

impl Merits {
    /// Of these attributes. The table of attributes reads them from its own form.
    #[cfg(test)]
    pub(super) fn of(attrs: &crate::attrs::Attrs) -> Self {
        Self {
            long_lived: attrs.has(crate::community::Community::LLGR_STALE),
            weight: attrs.weight,
            local_pref: attrs.local_pref,
            hops: attrs.as_path.hops(),
            origin: attrs.origin,
            neighbour: attrs.as_path.first(),
            med: attrs.med,
            originator_id: attrs.originator_id,
            clusters: attrs.cluster_list.len(),
        }
    }
}

impl Contender {
    /// `cost` is that of reaching the next hop.
    pub(super) fn new(index: usize, merits: &Merits, from: Origination, cost: u32) -> Self {
        let (local, external, router_id, address, path_id) = match from {
            Origination::Local => (true, false, Ipv4Addr::UNSPECIFIED, None, 0),
            Origination::Peer { external, router_id, address, path_id } => {
                (false, external, router_id, Some(address), path_id)
            }
        };
        Self {
            index,
            lost: None,
            merit: merit(merits, local),
            neighbour: merits.neighbour,
            med: merits.med.unwrap_or(0),
            distance: u64::from(!external) << COST_BITS | u64::from(cost),
            router_id: merits.originator_id.unwrap_or(router_id),
            clusters: merits.clusters,
            address,
            path_id,
        }
    }

    /// Order among paths that are equal up to step e: lower wins.
    const fn tie_break(&self) -> (Ipv4Addr, usize, Option<IpAddr>, u32) {
        (self.router_id, self.clusters, self.address, self.path_id)
    }
}

/// See [`Contender::merit`].
fn merit(merits: &Merits, local: bool) -> u128 {
    let local_pref = merits.local_pref.unwrap_or(DEFAULT_LOCAL_PREF);
    // No message holds as many.
    let hops = u32::try_from(merits.hops).unwrap_or(u32::MAX);
    u128::from(merits.long_lived) << LONG_LIVED_AT
        | u128::from(!local) << LEARNED_AT
        | u128::from(!merits.weight) << WEIGHT_AT
        | u128::from(!local_pref) << LOCAL_PREF_AT
        | u128::from(hops) << HOPS_AT
        | merits.origin as u128
}

/// The first step at which these merits differ.
const fn step_of_merit(one: u128, other: u128) -> Step {
    match u128::BITS - 1 - (one ^ other).leading_zeros() {
        LONG_LIVED_AT => Step::LongLivedStale,
        LEARNED_AT => Step::LocallyOriginated,
        WEIGHT_AT.. => Step::Weight,
        LOCAL_PREF_AT.. => Step::LocalPref,
        HOPS_AT.. => Step::AsPathLength,
        _ => Step::Origin,
    }
}

/// The first step at which these distances differ.
const fn step_of_distance(one: u64, other: u64) -> Step {
    if (one ^ other) >> COST_BITS == 0 { Step::NextHopCost } else { Step::EbgpOverIbgp }
}

/// Lowest bits of the fields in [`Contender::merit`]; ORIGIN has those below.
const HOPS_AT: u32 = 8;
const LOCAL_PREF_AT: u32 = HOPS_AT + u32::BITS;
const WEIGHT_AT: u32 = LOCAL_PREF_AT + u32::BITS;
const LEARNED_AT: u32 = WEIGHT_AT + u32::BITS;
const LONG_LIVED_AT: u32 = LEARNED_AT + 1;
/// The cost stands below the bit of step d in [`Contender::distance`].
const COST_BITS: u32 = u32::BITS;

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
    left = keep_lowest(&mut paths[..left], |path| path.merit, step_of_merit);
    left = keep_lowest_med(&mut paths[..left]);
    left = keep_lowest(&mut paths[..left], |path| path.distance, step_of_distance);
    break_tie(&mut paths[..left], multipath.max(1))
}

/// Whether the decision uses the same paths, those in `used`, with and without this other one: it
/// loses to them for certain, and none of them to it.
pub(super) fn is_beaten(path: &Contender, used: &[Contender], multipath: usize) -> bool {
    let (Some(best), Some(last)) = (used.first(), used.last()) else { return false };
    if path.merit != best.merit {
        return path.merit > best.merit;
    }
    let rival = used.iter().find(|other| other.neighbour == path.neighbour);
    if let Some(rival) = rival.filter(|rival| rival.med != path.med) {
        return path.med > rival.med;
    }
    // Whom else it puts out by its MED would have lost after that step.
    if path.distance != best.distance {
        return path.distance > best.distance;
    }
    used.len() == multipath.max(1) && path.tie_break() > last.tie_break()
}

/// Whether the decision uses the same paths after a path with this MED, which was not used, is gone: it
/// kept none of the others, with theirs, from being used.
pub(super) fn hid_nobody(gone: Option<u32>, mut others: impl Iterator<Item = Option<u32>>) -> bool {
    // A step that eliminates by value spares the same paths without one of those that it eliminates.
    // Only a MED is compared with those of some paths and not of all.
    others.all(|other| other.unwrap_or(0) <= gone.unwrap_or(0))
}

/// Leaves those with the lowest key in front and gives their number. `step` says at which step the
/// first of two keys has lost to the other.
fn keep_lowest<K: Ord + Copy>(
    paths: &mut [Contender],
    key: impl Fn(&Contender) -> K,
    step: impl Fn(K, K) -> Step,
) -> usize {
    let Some(lowest) = paths.iter().map(&key).min() else { return 0 };
    for path in &mut *paths {
        let key = key(path);
        path.lost = (key > lowest).then(|| step(key, lowest));
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

/// Moves the paths that have just lost behind the others, those that lost later first, and gives
/// the number of the others.
fn losers_last(paths: &mut [Contender]) -> usize {
    let mut left = 0;
    for at in 0..paths.len() {
        if paths[at].lost.is_none() {
            paths.swap(left, at);
            left += 1;
        }
    }
    paths[left..].sort_unstable_by_key(|path| (Reverse(path.lost), path.tie_break()));
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
