//! From what ADD asks for to a complete wiring.
//!
//! In: the request, its lease, the settings, and interface indexes that are free. Out: the
//! [`Wiring`], or what is wrong with the request.

use std::collections::{BTreeMap, btree_map::Entry};

use bgp::{family::Family, prefix::Prefix};

use super::{
    nat::NatSettings,
    verb::{Attach, Feature, PodError},
    wiring::{HOST_MAC, LinkEnd, Mac, RouteStamp, Wiring},
};
use crate::{
    attachment::AttachmentId,
    ipam::{IpamSettings, Lease, LeaseError},
};

/// What the machine is told by the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where addresses come from.
    pub ipam: IpamSettings,
    /// MTU of pods that ask for none, in octets; `None`: as the ways to the peers have it.
    pub mtu: Option<u32>,
    /// Marks of the host's routes.
    pub routes: RouteStamp,
    /// What pods may not do; `None` if they may do everything.
    pub guard: Option<GuardSettings>,
    /// What leaves with an address of the node.
    pub nat: NatSettings,
}

/// What pods may not do, besides sending from addresses that are not theirs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GuardSettings {
    /// TCP ports of the node that pods do not reach.
    pub closed_ports: Vec<u16>,
}

/// What a request asks for beyond addresses, checked.
///
/// # Errors
///
/// [`PodError::Mac`] or [`PodError::Mtu`].
pub(super) fn check(attach: &Attach, settings: &Settings) -> Result<(), PodError> {
    if let Some(mac) = attach.mac.filter(|mac| !mac.is_unicast()) {
        return Err(PodError::Mac(mac));
    }
    let mut ranges = settings.ipam.pools.iter().flat_map(|pool| &pool.ranges);
    let ipv6 = ranges.any(|range| range.family() == Family::Ipv6Unicast);
    let least = if ipv6 { LEAST_MTU_IPV6 } else { LEAST_MTU_IPV4 };
    match attach.mtu {
        Some(mtu) if !(least..=MOST_MTU).contains(&mtu) => Err(PodError::Mtu { mtu, least }),
        Some(_) | None => Ok(()),
    }
}

/// Can the destinations be reached from these addresses?
///
/// # Errors
///
/// [`PodError::RouteWithoutAddress`].
pub(super) fn check_routes(destinations: &[Prefix], lease: Lease) -> Result<(), PodError> {
    let reached = |to: &Prefix| lease.iter().any(|own| Prefix::host(own).family() == to.family());
    let unreached = destinations.iter().find(|to| !reached(to));
    unreached.map_or(Ok(()), |to| Err(PodError::RouteWithoutAddress(*to)))
}

/// The wiring that the request gets. `default_route` counts where the request leaves it open.
pub(super) fn plan(
    attach: &Attach,
    lease: Lease,
    index: u32,
    default_route: bool,
    path_mtu: Option<u32>,
    settings: &Settings,
) -> Wiring {
    let Attach { id, pod, mac, mtu, destinations, .. } = attach;
    Wiring {
        host: LinkEnd { name: id.host_link(), index, mac: HOST_MAC },
        inside: LinkEnd {
            name: id.ifname().to_owned(),
            // Never the host's: equal indexes on both ends mean "not paired" to the kernel, which
            // then takes its time to notice a carrier.
            index: index + 1,
            mac: mac.unwrap_or_else(|| Mac::of_pod(id)),
        },
        id: id.clone(),
        pod: pod.clone(),
        lease,
        mtu: mtu.or(settings.mtu).unwrap_or_else(|| mtu_of(path_mtu, lease)),
        default_route: attach.default_route.unwrap_or(default_route),
        destinations: destinations.clone(),
        routes: settings.routes,
    }
}

/// The MTU that suits the ways to the peers, as far as the pod's families allow.
fn mtu_of(path_mtu: Option<u32>, lease: Lease) -> u32 {
    let least = if lease.ipv6.is_some() { LEAST_MTU_IPV6 } else { LEAST_MTU_IPV4 };
    path_mtu.map_or(DEFAULT_MTU, |mtu| mtu.clamp(least, MOST_MTU))
}

/// Why a repeated ADD does not ask for what is there; `None` if it does.
pub(super) fn contradiction(attach: &Attach, wiring: &Wiring) -> Option<PodError> {
    let lease = wiring.lease;
    if let Some(address) = attach.wish.addresses.iter().find(|address| !lease.contains(**address)) {
        return Some(LeaseError::Differs { address: *address, lease }.into());
    }
    let what = if attach.mac.is_some_and(|mac| mac != wiring.inside.mac) {
        Feature::Mac
    } else if attach.mtu.is_some_and(|mtu| mtu != wiring.mtu) {
        Feature::Mtu
    } else if attach.default_route.is_some_and(|wanted| wanted != wiring.default_route) {
        Feature::DefaultRoute
    } else {
        return None;
    };
    Some(PodError::AlreadyAttached { id: wiring.id.clone(), what })
}

/// Interface indexes of the host's ends and whose they are. Each is even; the one after it is for the
/// pod's end.
#[derive(Debug)]
pub(super) struct Indexes {
    used: BTreeMap<u32, AttachmentId>,
    next: u32,
}

impl Indexes {
    pub(super) const fn new() -> Self {
        Self { used: BTreeMap::new(), next: FIRST_INDEX }
    }

    /// One that no pod has, and that was not used shortly ago.
    pub(super) fn take(&mut self, id: &AttachmentId) -> u32 {
        loop {
            let index = self.next;
            self.next = if index >= LAST_INDEX { FIRST_INDEX } else { index + 2 };
            if let Entry::Vacant(free) = self.used.entry(index) {
                free.insert(id.clone());
                return index;
            }
        }
    }

    /// Marks one that a pod of a former run has.
    pub(super) fn adopt(&mut self, index: u32, id: &AttachmentId) {
        self.used.insert(index, id.clone());
        if (self.next..LAST_INDEX - 2).contains(&index) {
            self.next = (index & !1) + 2;
        }
    }

    /// Whose it is.
    pub(super) fn owner(&self, index: u32) -> Option<&AttachmentId> {
        self.used.get(&index)
    }

    pub(super) fn put_back(&mut self, index: u32) {
        self.used.remove(&index);
    }
}

/// The kernel counts its own indexes up from 1, so it does not come here for a long time; if it
/// does, the pair is refused (EBUSY) and the next attempt takes another.
const FIRST_INDEX: u32 = 1 << 24;
/// The kernel's largest is `i32::MAX`, which then is the pod's end.
const LAST_INDEX: u32 = i32::MAX as u32 - 1;
/// RFC 791 §3.2: every host must take this.
const LEAST_MTU_IPV4: u32 = 68;
/// What every Ethernet takes, and the MTU of pods while nothing better is known.
const DEFAULT_MTU: u32 = 1500;
/// RFC 8200 §5: below this the kernel switches IPv6 off on the interface.
const LEAST_MTU_IPV6: u32 = 1280;
/// What a veth takes.
const MOST_MTU: u32 = 65_535;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indexes_are_even_and_never_in_use() {
        let id = AttachmentId::new("net", "c1", "eth0").unwrap();
        let mut indexes = Indexes::new();
        indexes.adopt(FIRST_INDEX + 10, &id);
        assert_eq!(indexes.take(&id), FIRST_INDEX + 12);
        indexes.next = LAST_INDEX;
        assert_eq!(indexes.take(&id), LAST_INDEX);
        indexes.adopt(FIRST_INDEX, &id);
        indexes.next = FIRST_INDEX;
        assert_eq!(indexes.take(&id), FIRST_INDEX + 2);
        assert_eq!(indexes.owner(FIRST_INDEX), Some(&id));
        assert_eq!(FIRST_INDEX % 2, 0);
        assert_eq!(LAST_INDEX % 2, 0);
    }
}
