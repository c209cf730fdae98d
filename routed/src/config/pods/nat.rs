//! NAT outgoing: `nat_outgoing` of each pool, and for all of them together `cluster_ranges`,
//! `nat_exclude` and `nat_addresses`.

use std::net::IpAddr;

use bgp::{family::Family, prefix::Prefix};

use super::{Pool, address_or_prefix};
use crate::config::{
    Nat,
    fault::Place,
    problem::Problem,
    section::{At, Section},
    value,
};

/// Where a pool asks for it, if it does.
pub(super) fn of_pool(section: &mut Section<'_, '_>) -> Option<Place> {
    let asked = section.optional("nat_outgoing", value::flag)?;
    asked.value.then_some(asked.place)
}

/// The rest of it, checked against the pools.
pub(super) fn read<'p>(
    section: &mut Section<'_, '_>,
    pools: impl Iterator<Item = &'p Pool>,
    ranges: &[At<Prefix>],
) -> Nat {
    let cluster = section.list("cluster_ranges", value::prefix).unwrap_or_default();
    let cluster_ranges: Vec<_> = cluster.into_iter().map(|at| at.value).collect();
    let exclude = section.list("nat_exclude", address_or_prefix).unwrap_or_default();
    let further = section.list("nat_sources", address_or_prefix).unwrap_or_default();
    let mut nat = Nat {
        pools: Vec::new(),
        sources: further.iter().map(|at| at.value).collect(),
        exclude: exclude.into_iter().map(|at| at.value).collect(),
        addresses: addresses(section),
        cluster_ranges,
    };
    for At { value: source, place } in further {
        if !nat.cluster_ranges.iter().any(|range| range.family() == source.family()) {
            section.fault(place, Problem::NatWithoutCluster(source.family()));
        }
    }
    for pool in pools {
        let Some(place) = &pool.nat else { continue };
        for family in [Family::Ipv4Unicast, Family::Ipv6Unicast] {
            let has = |ranges: &[Prefix]| ranges.iter().any(|range| range.family() == family);
            if has(&pool.ranges) && !has(&nat.cluster_ranges) {
                section.fault(place.clone(), Problem::NatWithoutCluster(family));
            }
        }
        nat.pools.push(pool.name());
        nat.sources.extend(&pool.ranges);
    }
    if !nat.cluster_ranges.is_empty() {
        for range in ranges {
            if !nat.cluster_ranges.iter().any(|cluster| cluster.covers(range.value)) {
                section.fault(range.place.clone(), Problem::OutsideCluster(range.value));
            }
        }
    }
    nat
}

/// At most one a family.
fn addresses(section: &mut Section<'_, '_>) -> Vec<IpAddr> {
    let all = section.list("nat_addresses", |value| {
        let address = value::host(value)?;
        if Prefix::host(address).is_unicast() {
            Ok(address)
        } else {
            Err(Problem::NatAddress(address))
        }
    });
    let all = all.unwrap_or_default();
    for (i, address) in all.iter().enumerate() {
        let same = |other: &&At<IpAddr>| other.value.is_ipv4() == address.value.is_ipv4();
        if let Some(first) = all[..i].iter().find(same) {
            section.fault(
                address.place.clone(),
                Problem::SecondNatAddress { first: first.value, second: address.value },
            );
        }
    }
    all.into_iter().map(|at| at.value).collect()
}
