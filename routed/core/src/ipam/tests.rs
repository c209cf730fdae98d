//! Promises of the lease book, by example and over random histories.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

fn id(number: usize) -> AttachmentId {
    AttachmentId::new("net", &format!("c{number}"), "eth0").unwrap()
}

fn ipam(pools: &[&str]) -> Ipam {
    Ipam::new(pools.iter().map(|pool| pool.parse::<Prefix>().unwrap()))
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn v4(ipam: &mut Ipam, number: usize) -> String {
    ipam.lease(&id(number), &[]).unwrap().ipv4.unwrap().to_string()
}

#[test]
fn network_broadcast_and_anycast_addresses_are_never_leased() {
    let sizes = |pool: &str| ipam(&[pool]).pools().next().unwrap().size;
    assert_eq!(sizes("10.0.0.0/24"), 254);
    assert_eq!(sizes("10.0.0.0/30"), 2);
    assert_eq!(sizes("10.0.0.0/31"), 2);
    assert_eq!(sizes("10.0.0.1/32"), 1);
    assert_eq!(sizes("fd00::/126"), 3);
    assert_eq!(sizes("fd00::/127"), 2);
    assert_eq!(sizes("fd00::1/128"), 1);
    assert_eq!(sizes("fd00::/64"), (1 << 64) - 1);

    let mut small = ipam(&["10.0.0.0/30"]);
    assert_eq!([v4(&mut small, 1), v4(&mut small, 2)], ["10.0.0.1", "10.0.0.2"]);
    assert!(matches!(small.lease(&id(3), &[]), Err(LeaseError::Exhausted { .. })));
    let mut small = ipam(&["10.0.0.0/30"]);
    for reserved in ["10.0.0.0", "10.0.0.3"] {
        let error = small.lease(&id(1), &[ip(reserved)]).unwrap_err();
        assert!(matches!(error, LeaseError::Reserved { .. }), "{error}");
    }
}

#[test]
fn error_of_a_full_pool_names_pool_use_and_remedy() {
    let mut ipam = ipam(&["10.244.1.0/30"]);
    v4(&mut ipam, 1);
    v4(&mut ipam, 2);
    assert_eq!(
        ipam.lease(&id(3), &[]).unwrap_err().to_string(),
        "no free ipv4 address (pool ipv4 10.244.1.0/30: 2 of 2 addresses leased); \
         delete pods or add a prefix to pods.ipv4 in routed.toml"
    );
}

#[test]
fn fresh_addresses_go_first_and_then_the_longest_idle() {
    let mut ipam = ipam(&["10.0.0.0/29"]);
    for number in 1..=4 {
        v4(&mut ipam, number);
    }
    ipam.release(&id(3)).unwrap();
    ipam.release(&id(1)).unwrap();
    let next: Vec<_> = (5..=8).map(|number| v4(&mut ipam, number)).collect();
    assert_eq!(next, ["10.0.0.5", "10.0.0.6", "10.0.0.3", "10.0.0.1"]);
}

#[test]
fn second_pool_is_used_when_the_first_has_no_fresh_address() {
    let mut ipam = ipam(&["10.0.0.0/31", "10.0.1.0/31"]);
    v4(&mut ipam, 1);
    v4(&mut ipam, 2);
    ipam.release(&id(1)).unwrap();
    let next: Vec<_> = (3..=5).map(|number| v4(&mut ipam, number)).collect();
    assert_eq!(next, ["10.0.1.0", "10.0.1.1", "10.0.0.0"]);
}

#[test]
fn both_families_or_none() {
    let mut dual = ipam(&["10.0.0.0/24", "fd00::/127"]);
    let lease = dual.lease(&id(1), &[]).unwrap();
    assert_eq!(lease.iter().collect::<Vec<_>>(), [ip("10.0.0.1"), ip("fd00::")]);
    dual.lease(&id(2), &[]).unwrap();
    let error = dual.lease(&id(3), &[]).unwrap_err();
    assert!(matches!(error, LeaseError::Exhausted { family: Family::Ipv6Unicast, .. }), "{error}");
    assert_eq!(dual.pools().next().unwrap().leased, 2);
    assert_eq!(dual.get(&id(3)), None);
    dual.release(&id(2)).unwrap();
    // The address that the failed attempt found is still the next fresh one.
    assert_eq!(v4(&mut dual, 4), "10.0.0.3");
}

#[test]
fn same_attachment_gets_the_same_lease_again() {
    let mut ipam = ipam(&["10.0.0.0/24"]);
    let lease = ipam.lease(&id(1), &[]).unwrap();
    assert_eq!(ipam.lease(&id(1), &[]).unwrap(), lease);
    assert_eq!(ipam.lease(&id(1), &[ip("10.0.0.1")]).unwrap(), lease);
    let error = ipam.lease(&id(1), &[ip("10.0.0.9")]).unwrap_err();
    assert!(matches!(error, LeaseError::Differs { .. }), "{error}");
}

#[test]
fn requested_addresses_are_leased_or_refused_with_the_reason() {
    let mut ipam = ipam(&["10.0.0.0/24", "fd00::/64"]);
    let lease = ipam.lease(&id(1), &[ip("10.0.0.77")]).unwrap();
    assert_eq!(lease.iter().collect::<Vec<_>>(), [ip("10.0.0.77"), ip("fd00::1")]);
    let refused =
        |ipam: &mut Ipam, requested: &[IpAddr]| ipam.lease(&id(2), requested).unwrap_err();
    let error = refused(&mut ipam, &[ip("10.0.0.77")]);
    assert_eq!(error, LeaseError::Taken { address: ip("10.0.0.77"), by: id(1) });
    let error = refused(&mut ipam, &[ip("10.0.1.1")]);
    assert!(matches!(error, LeaseError::OutsidePools { .. }), "{error}");
    let error = refused(&mut ipam, &[ip("10.0.0.1"), ip("10.0.0.2")]);
    assert_eq!(error, LeaseError::TwoOfOneFamily(Family::Ipv4Unicast));
    // What was requested and given back comes up again only after fresh addresses.
    ipam.release(&id(1)).unwrap();
    assert_eq!(v4(&mut ipam, 3), "10.0.0.1");
    assert_eq!(ipam.lease(&id(4), &[ip("10.0.0.77")]).unwrap().ipv4, "10.0.0.77".parse().ok());
}

#[test]
fn without_a_pool_of_the_family_a_request_says_so() {
    let error = ipam(&["10.0.0.0/24"]).lease(&id(1), &[ip("fd00::1")]).unwrap_err();
    assert!(error.to_string().contains("there is no pool of its family"), "{error}");
}

#[test]
fn after_a_restart_leasing_goes_on_behind_what_is_in_use() {
    let mut ipam = ipam(&["10.0.0.0/29"]);
    let lease = |text: &str| Lease { ipv4: text.parse().ok(), ipv6: None };
    ipam.adopt(&id(1), lease("10.0.0.2")).unwrap();
    ipam.adopt(&id(2), lease("10.0.0.4")).unwrap();
    ipam.adopt(&id(3), lease("192.0.2.1")).unwrap();
    let error = ipam.adopt(&id(4), lease("10.0.0.4")).unwrap_err();
    assert!(matches!(error, LeaseError::Taken { .. }), "{error}");
    let next: Vec<_> = (5..=8).map(|number| v4(&mut ipam, number)).collect();
    assert_eq!(next, ["10.0.0.5", "10.0.0.6", "10.0.0.1", "10.0.0.3"]);
    assert!(ipam.release(&id(3)).is_some());
    assert!(matches!(ipam.lease(&id(9), &[]), Err(LeaseError::Exhausted { .. })));
}

#[test]
fn large_pools_cost_memory_only_for_what_was_used() {
    let mut ipam = ipam(&["fd00::/64"]);
    let rounds = IDLE_MAX + 1000;
    for number in 0..rounds {
        ipam.lease(&id(number), &[]).unwrap();
        ipam.release(&id(number)).unwrap();
    }
    assert_eq!(ipam.pools[0].idle(), IDLE_MAX);
    assert_eq!(ipam.lease(&id(0), &[]).unwrap().ipv6.unwrap().to_string(), "fd00::3e9");
}

#[derive(Clone, Debug)]
enum Deed {
    Lease { number: usize, requested: Vec<IpAddr> },
    Release { number: usize },
}

fn deed() -> impl Strategy<Value = Deed> {
    let requested = prop_oneof![
        6 => Just(vec![]),
        1 => (0_u8..16).prop_map(|host| vec![IpAddr::from([10, 0, 0, host])]),
        1 => (0_u16..5).prop_map(|host| vec![IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, host])]),
    ];
    prop_oneof![
        3 => (0_usize..12, requested)
            .prop_map(|(number, requested)| Deed::Lease { number, requested }),
        2 => (0_usize..12).prop_map(|number| Deed::Release { number }),
    ]
}

proptest! {
    #[test]
    fn no_address_has_two_holders_and_a_lease_is_whole(
        adopted in prop::collection::btree_set(1_u8..7, 0..4),
        deeds in prop::collection::vec(deed(), 0..200),
    ) {
        let mut ipam = ipam(&["10.0.0.0/29", "10.0.0.8/31", "fd00::/125"]);
        let mut leases: BTreeMap<usize, Lease> = BTreeMap::new();
        for host in adopted {
            let lease = Lease { ipv4: Some([10, 0, 0, host].into()), ipv6: None };
            let number = 100 + usize::from(host);
            ipam.adopt(&id(number), lease).unwrap();
            leases.insert(number, lease);
        }
        for deed in deeds {
            match deed {
                Deed::Lease { number, requested } => match ipam.lease(&id(number), &requested) {
                    Ok(lease) => {
                        prop_assert!(lease.ipv4.is_some() && lease.ipv6.is_some());
                        prop_assert!(requested.iter().all(|address| lease.contains(*address)));
                        let before = leases.insert(number, lease);
                        prop_assert!(before.is_none_or(|before| before == lease));
                    }
                    Err(LeaseError::Exhausted { family, .. }) => {
                        // True only if every address of the family is really leased.
                        let mut pools = ipam.pools().filter(|pool| pool.family == family);
                        prop_assert!(pools.all(|pool| pool.leased == pool.size));
                    }
                    Err(_) => {}
                },
                Deed::Release { number } => {
                    prop_assert_eq!(ipam.release(&id(number)), leases.remove(&number));
                }
            }
            let mut seen = BTreeSet::new();
            for (number, lease) in &leases {
                prop_assert_eq!(ipam.get(&id(*number)), Some(*lease));
                for address in lease.iter() {
                    prop_assert!(seen.insert(address), "{} is leased twice", address);
                }
            }
            let leased: u128 = ipam.pools().map(|pool| pool.leased).sum();
            prop_assert_eq!(leased, seen.len() as u128);
        }
    }
}
