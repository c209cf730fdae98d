//! Promises of the lease book, by example and over random histories.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use proptest::prelude::*;

use super::*;

fn id(number: usize) -> AttachmentId {
    AttachmentId::new("net", &format!("c{number}"), "eth0").unwrap()
}

fn settings(ranges: &[&str]) -> IpamSettings {
    let pool = PoolSettings {
        name: "default".to_owned(),
        ranges: ranges.iter().map(|range| range.parse().unwrap()).collect(),
        block_ipv4: 26,
        block_ipv6: 122,
        announce: true,
    };
    IpamSettings {
        pools: vec![pool],
        reserved: vec![],
        floating: Vec::new(),
        lost: Vec::new(),
        cooldown: Duration::ZERO,
    }
}

/// One pool without cooldown.
fn ipam(ranges: &[&str]) -> Book {
    Book::new(settings(ranges))
}

/// The lease book in simulated time.
struct Book {
    ipam: Ipam,
    now: Instant,
}

impl Book {
    #[expect(clippy::disallowed_methods, reason = "simulated time has to begin somewhere")]
    fn new(settings: IpamSettings) -> Self {
        Self { ipam: Ipam::new(settings), now: Instant::now() }
    }

    fn wait(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }

    fn ask(&mut self, number: usize, wish: &Wish) -> Result<Lease, LeaseError> {
        self.ipam.lease(&id(number), wish, self.now)
    }

    fn lease(&mut self, id: &AttachmentId, addresses: &[IpAddr]) -> Result<Lease, LeaseError> {
        let wish = Wish { addresses: addresses.to_vec(), ..Wish::default() };
        self.ipam.lease(id, &wish, self.now)
    }

    fn release(&mut self, id: &AttachmentId) -> Option<Lease> {
        self.ipam.release(id, self.now)
    }

    fn adopt(&mut self, id: &AttachmentId, lease: Lease) -> Result<(), LeaseError> {
        self.ipam.adopt(id, lease)
    }

    fn get(&self, id: &AttachmentId) -> Option<Lease> {
        self.ipam.get(id)
    }

    fn pools(&self) -> impl Iterator<Item = PoolUse> {
        self.ipam.pools(self.now)
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn v4(ipam: &mut Book, number: usize) -> String {
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
        "no free ipv4 address (pool default, ipv4 10.244.1.0/30: 2 of 2 addresses leased); \
         delete pods or add a prefix to the pool in routed.toml"
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
fn second_range_is_used_when_the_first_has_no_address_left() {
    let mut ipam = ipam(&["10.0.0.0/31", "10.0.1.0/31"]);
    v4(&mut ipam, 1);
    v4(&mut ipam, 2);
    ipam.release(&id(1)).unwrap();
    let next: Vec<_> = (3..=5).map(|number| v4(&mut ipam, number)).collect();
    assert_eq!(next, ["10.0.0.0", "10.0.1.0", "10.0.1.1"]);
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
        |ipam: &mut Book, requested: &[IpAddr]| ipam.lease(&id(2), requested).unwrap_err();
    let error = refused(&mut ipam, &[ip("10.0.0.77")]);
    assert_eq!(error, LeaseError::Taken { address: ip("10.0.0.77"), by: id(1) });
    let error = refused(&mut ipam, &[ip("10.0.1.1")]);
    assert!(matches!(error, LeaseError::OutsidePools { .. }), "{error}");
    let error = refused(&mut ipam, &[ip("10.0.0.1"), ip("10.0.0.2")]);
    assert_eq!(error, LeaseError::TwoOfOneFamily(Family::Ipv4Unicast));
    // What was requested and given back comes up again only after fresh addresses.
    ipam.release(&id(1)).unwrap();
    // Its block is open, so that one is used up before another is opened.
    assert_eq!(v4(&mut ipam, 3), "10.0.0.64");
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
fn large_pools_cost_memory_only_for_what_was_in_use_at_once() {
    let mut ipam = ipam(&["fd00::/16"]);
    for number in 0..10_000 {
        ipam.lease(&id(number), &[]).unwrap();
        ipam.release(&id(number)).unwrap();
        ipam.wait(1);
    }
    assert_eq!(ipam.ipam.blocks(ipam.now).count(), 1);
    assert_eq!(ipam.ipam.idle().count(), 63);
}

#[test]
fn address_is_leased_to_nobody_before_its_cooldown_has_passed() {
    let settings = IpamSettings { cooldown: Duration::from_secs(30), ..settings(&["10.0.0.0/30"]) };
    let mut ipam = Book::new(settings);
    let [first, second] = [1, 2].map(|number| v4(&mut ipam, number));
    ipam.release(&id(1));
    ipam.wait(10);
    ipam.release(&id(2));
    ipam.wait(19);
    let error = ipam.lease(&id(3), &[]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "no free ipv4 address (pool default, ipv4 10.0.0.0/30: 0 of 2 addresses leased, 2 cooling \
         down); the next is free in 2 s; else delete pods or add a prefix to the pool in routed.toml"
    );
    // Who asks for exactly this address knows what he does.
    assert_eq!(ipam.lease(&id(9), &[ip(&second)]).unwrap().ipv4.unwrap().to_string(), second);
    ipam.release(&id(9));
    ipam.wait(1);
    assert_eq!(v4(&mut ipam, 3), first);
    assert!(ipam.lease(&id(4), &[]).is_err());
    ipam.wait(30);
    assert_eq!(v4(&mut ipam, 4), second);
}

#[test]
fn further_block_is_opened_only_when_no_address_of_the_open_ones_can_be_had() {
    let mut settings = settings(&["10.0.0.0/24"]);
    settings.pools[0].block_ipv4 = 30;
    settings.cooldown = Duration::from_secs(30);
    let mut ipam = Book::new(settings);
    let open = |ipam: &Book| -> Vec<String> {
        ipam.ipam.blocks(ipam.now).map(|block| block.prefix.to_string()).collect()
    };
    for number in 1..=3 {
        v4(&mut ipam, number);
    }
    assert_eq!(open(&ipam), ["10.0.0.0/30"]);
    ipam.release(&id(1));
    assert_eq!(v4(&mut ipam, 4), "10.0.0.4", "the first block cools down");
    assert_eq!(open(&ipam), ["10.0.0.0/30", "10.0.0.4/30"]);
    ipam.wait(30);
    assert_eq!([5, 6, 7].map(|n| v4(&mut ipam, n)), ["10.0.0.5", "10.0.0.6", "10.0.0.7"]);
    assert_eq!(v4(&mut ipam, 8), "10.0.0.1", "before a third block");
    assert_eq!(v4(&mut ipam, 9), "10.0.0.8");
    let used = ipam.ipam.blocks(ipam.now).next().unwrap();
    assert_eq!((used.size, used.leased, used.cooling), (4, 3, 0));
}

#[test]
fn reserved_addresses_go_only_to_who_asks_for_them() {
    let mut settings = settings(&["10.0.0.0/29", "fd00::/48"]);
    settings.reserved =
        ["10.0.0.1/32", "10.0.0.4/30", "fd00::/49"].map(|prefix| prefix.parse().unwrap()).into();
    let mut ipam = Book::new(settings);
    let lease = ipam.lease(&id(1), &[]).unwrap();
    assert_eq!(lease.iter().collect::<Vec<_>>(), [ip("10.0.0.2"), ip("fd00:0:0:8000::")]);
    assert_eq!(v4(&mut ipam, 2), "10.0.0.3");
    assert!(matches!(ipam.lease(&id(3), &[]), Err(LeaseError::Exhausted { .. })));
    assert_eq!(ipam.lease(&id(3), &[ip("10.0.0.5")]).unwrap().ipv4, "10.0.0.5".parse().ok());
    ipam.release(&id(3));
    assert!(ipam.lease(&id(4), &[]).is_err(), "given back, it is reserved again");
}

#[test]
fn pools_are_kept_apart_by_name() {
    let mut settings = settings(&["10.0.0.0/24"]);
    let storage = PoolSettings {
        name: "storage".to_owned(),
        ranges: vec!["10.9.0.0/24".parse().unwrap(), "fd09::/64".parse().unwrap()],
        ..settings.pools[0].clone()
    };
    settings.pools.push(storage);
    let mut ipam = Book::new(settings);
    assert_eq!(ipam.lease(&id(1), &[]).unwrap().iter().collect::<Vec<_>>(), [ip("10.0.0.1")]);
    let wish = Wish { pools: vec!["storage".to_owned()], ..Wish::default() };
    let lease = ipam.ask(2, &wish).unwrap();
    assert_eq!(lease.iter().collect::<Vec<_>>(), [ip("10.9.0.1"), ip("fd09::1")]);
    let outside = Wish { addresses: vec![ip("10.0.0.7")], ..wish.clone() };
    assert!(matches!(ipam.ask(3, &outside), Err(LeaseError::OutsidePools { .. })));
    // Without a name any pool that has the address will do.
    assert!(ipam.lease(&id(3), &[ip("10.9.0.7")]).is_ok());
    let unknown = Wish { pools: vec!["stroage".to_owned()], ..Wish::default() };
    let error = ipam.ask(4, &unknown).unwrap_err().to_string();
    assert_eq!(error, "there is no pool \"stroage\"; pools of this node are default, storage");
}

#[test]
fn of_several_pools_the_first_with_a_free_address_gives_it_for_each_family() {
    let mut settings = settings(&["10.0.0.0/24"]);
    let first = settings.pools[0].clone();
    let pool = |name: &str, range: &str| PoolSettings {
        name: name.to_owned(),
        ranges: vec![range.parse().unwrap()],
        ..first.clone()
    };
    let more =
        [pool("small", "10.9.0.0/30"), pool("large", "10.8.0.0/24"), pool("six", "fd00::/64")];
    settings.pools.extend(more);
    let mut ipam = Book::new(settings);
    let pools = ["elsewhere", "small", "large", "six"].map(str::to_owned).to_vec();
    let wish = Wish { pools, families: Family::ALL.to_vec(), ..Wish::default() };
    let mut ask = |number, wish: &Wish| {
        ipam.ask(number, wish)
            .map(|lease| lease.iter().map(|ip| ip.to_string()).collect::<Vec<_>>())
    };
    assert_eq!(ask(1, &wish).unwrap(), ["10.9.0.1", "fd00::1"]);
    assert_eq!(ask(2, &wish).unwrap(), ["10.9.0.2", "fd00::2"]);
    assert_eq!(ask(3, &wish).unwrap(), ["10.8.0.1", "fd00::3"]);
    // Only the named ones have what is asked for by its address.
    let outside = Wish { addresses: vec![ip("10.0.0.7")], ..wish.clone() };
    assert!(matches!(ask(4, &outside), Err(LeaseError::OutsidePools { .. })));
    // A family that it must have is not left out.
    let four = Wish { pools: vec!["large".to_owned()], ..wish.clone() };
    let error = ask(4, &four).unwrap_err();
    let LeaseError::Exhausted { family, wait: None, .. } = error else { panic!("{error}") };
    assert_eq!(family, Family::Ipv6Unicast);
    let none = Wish { pools: vec!["elsewhere".to_owned()], ..wish };
    assert!(matches!(ask(4, &none), Err(LeaseError::Exhausted { .. })));
    assert_eq!(ask(4, &Wish { families: Vec::new(), ..four }).unwrap(), ["10.8.0.2"]);
}

#[test]
fn delegated_addresses_are_taken_as_they_are_and_never_given_to_another() {
    let mut ipam = ipam(&["10.0.0.0/24", "fd00::/64"]);
    let wish =
        |address: &str| Wish { addresses: vec![ip(address)], delegated: true, ..Wish::default() };
    let lease = ipam.ask(1, &wish("192.0.2.7")).unwrap();
    assert_eq!(lease.iter().collect::<Vec<_>>(), [ip("192.0.2.7")], "nothing is added");
    let error = ipam.ask(2, &wish("192.0.2.7")).unwrap_err();
    assert_eq!(error, LeaseError::Taken { address: ip("192.0.2.7"), by: id(1) });
    // Even if it lies in a pool of ours.
    ipam.ask(2, &wish("10.0.0.1")).unwrap();
    assert_eq!(v4(&mut ipam, 3), "10.0.0.2");
    ipam.release(&id(1)).unwrap();
    assert!(ipam.ask(4, &wish("192.0.2.7")).is_ok());
}

#[test]
fn other_pools_change_nothing_for_those_who_have_leases_and_idle_addresses_go_on_cooling() {
    let cooldown = Duration::from_secs(30);
    let mut ipam = Book::new(IpamSettings { cooldown, ..settings(&["10.0.0.0/30", "fd00::/64"]) });
    let stays = ipam.lease(&id(1), &[]).unwrap();
    ipam.lease(&id(2), &[]).unwrap();
    ipam.release(&id(2));
    ipam.wait(10);
    ipam.ipam.reconfigure(IpamSettings { cooldown, ..settings(&["10.0.0.0/30", "10.7.0.0/30"]) });
    assert_eq!(ipam.get(&id(1)), Some(stays));
    assert_eq!(v4(&mut ipam, 3), "10.7.0.1", "10.0.0.2 cools down");
    ipam.wait(20);
    assert_eq!(v4(&mut ipam, 4), "10.7.0.2");
    assert_eq!(v4(&mut ipam, 5), "10.0.0.2");
    // An address of a pool that is gone is still nobody else's.
    assert_eq!(ipam.ipam.holder(ip("fd00::1")), Some(&id(1)));
    assert_eq!(ipam.release(&id(1)), Some(stays));
}

#[test]
fn what_was_idle_before_a_restart_goes_on_cooling_and_keeps_its_turn() {
    let settings = IpamSettings { cooldown: Duration::from_secs(30), ..settings(&["10.0.0.0/30"]) };
    let mut ipam = Book::new(settings);
    let begin = ipam.now;
    ipam.wait(40);
    let at = |seconds| begin + Duration::from_secs(seconds);
    ipam.ipam.idle_since(ip("10.0.0.2"), at(20));
    ipam.ipam.idle_since(ip("10.0.0.1"), at(15));
    assert!(ipam.lease(&id(1), &[]).is_err());
    ipam.wait(10);
    assert_eq!([1, 2].map(|number| v4(&mut ipam, number)), ["10.0.0.1", "10.0.0.2"]);
}

#[derive(Clone, Debug)]
enum Deed {
    Lease { number: usize, requested: Vec<IpAddr> },
    Release { number: usize },
    Wait { seconds: u64 },
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
        1 => (0_u64..20).prop_map(|seconds| Deed::Wait { seconds }),
    ]
}

proptest! {
    #[test]
    fn no_address_has_two_holders_and_a_lease_is_whole(
        adopted in prop::collection::btree_set(1_u8..7, 0..4),
        deeds in prop::collection::vec(deed(), 0..200),
    ) {
        let mut settings = settings(&["10.0.0.0/29", "10.0.0.8/31", "fd00::/125"]);
        settings.pools[0].block_ipv4 = 30;
        settings.pools[0].block_ipv6 = 127;
        settings.cooldown = Duration::from_secs(30);
        let mut ipam = Book::new(settings);
        let mut left: BTreeMap<IpAddr, Instant> = BTreeMap::new();
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
                        for address in lease.iter().filter(|_| before.is_none()) {
                            let cooled = left.remove(&address).is_none_or(|since| {
                                ipam.now - since >= Duration::from_secs(30)
                            });
                            prop_assert!(cooled || requested.contains(&address), "{}", address);
                        }
                    }
                    Err(LeaseError::Exhausted { family, .. }) => {
                        // True only if every address of the family is leased or cooling down.
                        let mut pools = ipam.pools().filter(|pool| pool.family == family);
                        prop_assert!(pools.all(|pool| pool.leased + pool.cooling == pool.size));
                    }
                    Err(_) => {}
                },
                Deed::Release { number } => {
                    let lease = leases.remove(&number);
                    prop_assert_eq!(ipam.release(&id(number)), lease);
                    left.extend(lease.into_iter().flat_map(Lease::iter).map(|a| (a, ipam.now)));
                }
                Deed::Wait { seconds } => ipam.wait(seconds),
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

#[test]
fn a_range_that_leaves_is_a_former_one_until_its_last_lease_ends() {
    let mut ipam = Book::new(settings(&["10.0.0.0/24", "10.0.9.0/24"]));
    v4(&mut ipam, 1);
    v4(&mut ipam, 2);
    let ranges =
        |ipam: &Book| ipam.ipam.prefixes().map(|range| range.to_string()).collect::<Vec<_>>();
    ipam.ipam.reconfigure(settings(&["10.0.1.0/24"]));
    assert_eq!(ranges(&ipam), ["10.0.1.0/24", "10.0.0.0/24"]);
    assert_eq!(ipam.ipam.former().next(), Some(("10.0.0.0/24".parse().unwrap(), 2)));
    assert_eq!(v4(&mut ipam, 3), "10.0.1.1", "nothing is leased from it");

    // It outlives further changes, and is no former one once it is back.
    ipam.ipam.reconfigure(settings(&["10.0.2.0/24"]));
    assert_eq!(ranges(&ipam), ["10.0.2.0/24", "10.0.1.0/24", "10.0.0.0/24"]);
    ipam.ipam.reconfigure(settings(&["10.0.1.0/24"]));
    ipam.release(&id(1)).unwrap();
    assert_eq!(ranges(&ipam), ["10.0.1.0/24", "10.0.0.0/24"]);
    ipam.release(&id(2)).unwrap();
    assert_eq!(ranges(&ipam), ["10.0.1.0/24"]);
}

#[test]
fn a_range_that_grows_takes_its_leases_along() {
    let mut ipam = Book::new(settings(&["10.0.1.0/24"]));
    v4(&mut ipam, 1);
    ipam.ipam.reconfigure(settings(&["10.0.0.0/16"]));
    assert_eq!(ipam.ipam.former().count(), 0);
    ipam.lease(&id(2), &[ip("10.0.200.1")]).unwrap();
    ipam.ipam.reconfigure(settings(&["10.0.1.0/24"]));
    assert_eq!(ipam.ipam.former().next(), Some(("10.0.0.0/16".parse().unwrap(), 1)));
    ipam.release(&id(2)).unwrap();
    assert_eq!(ipam.ipam.former().count(), 0);
}

#[test]
fn what_peers_are_told_of_leaves_out_pools_that_are_not_announced() {
    let pools = |ranges: &[&str], announce| {
        let mut settings = settings(ranges);
        settings.pools[0].announce = announce;
        settings
    };
    let told =
        |ipam: &Book| ipam.ipam.announced().map(|range| range.to_string()).collect::<Vec<_>>();
    let mut ipam = Book::new(pools(&["10.0.0.0/24"], false));
    assert_eq!((told(&ipam), ipam.ipam.prefixes().count()), (vec![], 1));
    v4(&mut ipam, 1);
    ipam.ipam.reconfigure(pools(&["10.0.1.0/24"], true));
    v4(&mut ipam, 2);
    assert_eq!(told(&ipam), ["10.0.1.0/24"], "a former range stays as it was");
    ipam.ipam.reconfigure(pools(&["10.0.2.0/24"], true));
    assert_eq!(told(&ipam), ["10.0.2.0/24", "10.0.1.0/24"]);
    ipam.ipam.reconfigure(pools(&["10.0.2.0/24", "10.0.1.0/24"], false));
    assert!(told(&ipam).is_empty());
}

#[test]
fn floating_addresses_are_leased_on_request_and_announced_while_they_are() {
    let mut settings = settings(&["10.0.0.0/24"]);
    settings.floating = vec!["10.0.9.0/30".parse().unwrap(), "10.0.0.0/23".parse().unwrap()];
    let mut ipam = Book::new(settings.clone());
    let told =
        |ipam: &Book| ipam.ipam.announced().map(|range| range.to_string()).collect::<Vec<_>>();
    assert!(ipam.lease(&id(1), &[ip("10.0.8.1")]).is_err());
    ipam.lease(&id(1), &[ip("10.0.9.1")]).unwrap();
    ipam.lease(&id(2), &[ip("10.0.0.7")]).unwrap();
    assert_eq!(told(&ipam), ["10.0.0.0/24", "10.0.9.1/32"], "one of a range needs no more");
    assert!(matches!(ipam.lease(&id(3), &[ip("10.0.9.1")]), Err(LeaseError::Taken { .. })));
    ipam.ipam.reconfigure(settings);
    assert_eq!(told(&ipam), ["10.0.0.0/24", "10.0.9.1/32"]);
    assert_eq!(ipam.ipam.prefixes().count(), 1, "it is no range");
    ipam.release(&id(1)).unwrap();
    assert_eq!(told(&ipam), ["10.0.0.0/24"]);
    assert_eq!(v4(&mut ipam, 4), "10.0.0.8", "nobody gets one by chance");
}

#[test]
fn of_a_range_that_another_node_has_now_pods_addresses_alone_are_announced() {
    let mut ipam = ipam(&["10.0.1.0/26", "10.0.2.0/26"]);
    let told =
        |ipam: &Book| ipam.ipam.announced().map(|range| range.to_string()).collect::<Vec<_>>();
    ipam.lease(&id(1), &[ip("10.0.1.7")]).unwrap();
    let mut rest = settings(&["10.0.2.0/26"]);
    rest.lost = vec!["10.0.1.0/26".parse().unwrap()];
    ipam.ipam.reconfigure(rest.clone());
    assert_eq!(told(&ipam), ["10.0.2.0/26", "10.0.1.7/32"]);
    let ranges: Vec<_> = ipam.ipam.prefixes().map(|range| range.to_string()).collect();
    assert_eq!(ranges, ["10.0.2.0/26"], "what the other node announces is not discarded here");
    assert!(ipam.lease(&id(2), &[ip("10.0.1.8")]).is_err(), "the other node gives that one");

    // A restart knows it from the kernel.
    let mut again = Book::new(rest);
    again.ipam.adopt(&id(1), ipam.ipam.get(&id(1)).unwrap()).unwrap();
    assert_eq!(told(&again), ["10.0.2.0/26", "10.0.1.7/32"]);
    assert_eq!(again.ipam.former().collect::<Vec<_>>(), [("10.0.1.0/26".parse().unwrap(), 1)]);
    again.release(&id(1)).unwrap();
    assert_eq!((told(&again), again.ipam.former().count()), (vec!["10.0.2.0/26".to_owned()], 0));
}

#[test]
fn ranges_of_one_and_of_two_addresses_are_given_whole() {
    let mut ipam = ipam(&["10.0.0.7/32", "10.0.1.0/31", "fd00::9/128"]);
    let told =
        |ipam: &Book| ipam.ipam.announced().map(|range| range.to_string()).collect::<Vec<_>>();
    assert_eq!(told(&ipam), ["10.0.1.0/31"], "packets to one without a pod would loop");
    let lease = ipam.lease(&id(1), &[]).unwrap();
    assert_eq!(lease.iter().collect::<Vec<_>>(), [ip("10.0.0.7"), ip("fd00::9")]);
    assert_eq!(told(&ipam), ["10.0.0.7/32", "10.0.1.0/31", "fd00::9/128"]);
    ipam.ipam.reconfigure(settings(&["10.0.0.7/32", "10.0.1.0/31"]));
    assert_eq!((v4(&mut ipam, 2), v4(&mut ipam, 3)), ("10.0.1.0".into(), "10.0.1.1".into()));
    ipam.release(&id(1)).unwrap();
    assert_eq!(told(&ipam), ["10.0.1.0/31"]);
}
