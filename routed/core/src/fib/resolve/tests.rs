//! One resolver with two uplinks and a route or two.

use std::num::NonZeroU32;

use super::*;
use crate::fib::{links::Link, others::RouteChange};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn link(index: u32, up: bool, carrier: bool) -> LinkEvent {
    LinkEvent::Present(Link { index, name: format!("eth{index}"), up, carrier })
}

fn address(index: u32, local: &str, on_link: &str) -> LinkEvent {
    let address = Address { local: ip(local), on_link: on_link.parse().unwrap() };
    LinkEvent::AddressPresent(index, address)
}

fn route(prefix: &str, metric: u32, target: Target) -> Route {
    let key = RouteKey::new(TABLE_MAIN, prefix.parse().unwrap(), Some(metric));
    Route { key, protocol: 4, target }
}

fn forward(hops: &[(Option<&str>, u32)]) -> Target {
    let hop = |(gateway, ifindex): &(Option<&str>, u32)| Hop::new(gateway.map(ip), *ifindex);
    Target::Forward(hops.iter().map(hop).collect())
}

/// Two uplinks, eth1 with 10.0.1.2/24 and eth2 with fd00:2::2/64.
fn resolver() -> Resolver {
    let mut resolver = Resolver::new(false);
    let events = [
        link(1, true, true),
        link(2, true, true),
        address(1, "10.0.1.2", "10.0.1.0/24"),
        address(2, "fd00:2::2", "fd00:2::/64"),
    ];
    resolver.set_links(events.into_iter().collect());
    add(&mut resolver, route("10.0.1.0/24", 0, forward(&[(None, 1)])));
    add(&mut resolver, route("fd00:2::/64", 256, forward(&[(None, 2)])));
    resolver
}

fn add(resolver: &mut Resolver, route: Route) {
    assert_eq!(resolver.route(RouteChange::Created, route), Followed::Surely);
}

/// Cost and hops of a next hop, if it can be reached.
fn reach(resolver: &Resolver, addr: &str) -> Option<(u32, Vec<Hop>)> {
    let resolved = resolver.resolve(NextHop::new(ip(addr)));
    match resolved.resolution {
        Resolution::Reachable { cost } => Some((cost, resolved.hops.as_slice().to_vec())),
        Resolution::Unreachable | Resolution::Own => {
            assert!(resolved.hops.is_empty());
            None
        }
    }
}

fn hop(gateway: &str, ifindex: u32) -> Hop {
    Hop::new(Some(ip(gateway)), ifindex)
}

#[test]
fn connected_next_hop_costs_nothing_and_is_its_own_gateway() {
    let resolver = resolver();
    assert_eq!(reach(&resolver, "10.0.1.1"), Some((0, vec![hop("10.0.1.1", 1)])));
    assert_eq!(reach(&resolver, "fd00:2::1"), Some((0, vec![hop("fd00:2::1", 2)])));
}

#[test]
fn next_hop_behind_a_static_route_costs_its_metric_and_uses_its_gateways() {
    let mut resolver = resolver();
    add(&mut resolver, route("192.0.2.0/24", 20, forward(&[(Some("10.0.1.1"), 1)])));
    add(&mut resolver, route("198.51.100.0/24", 0, forward(&[(Some("10.0.1.9"), 1)])));
    assert_eq!(reach(&resolver, "192.0.2.7"), Some((20, vec![hop("10.0.1.1", 1)])));
    assert_eq!(reach(&resolver, "198.51.100.7"), Some((1, vec![hop("10.0.1.9", 1)])));
}

#[test]
fn longest_match_decides_even_if_it_refuses() {
    let mut resolver = resolver();
    add(&mut resolver, route("192.0.2.0/24", 0, forward(&[(Some("10.0.1.1"), 1)])));
    add(&mut resolver, route("192.0.2.7/32", 0, Target::Blackhole));
    assert_eq!(reach(&resolver, "192.0.2.7"), None);
    assert!(reach(&resolver, "192.0.2.8").is_some());
}

#[test]
fn lowest_metric_decides_among_routes_to_one_prefix() {
    let mut resolver = resolver();
    add(&mut resolver, route("192.0.2.0/24", 30, forward(&[(Some("10.0.1.3"), 1)])));
    add(&mut resolver, route("192.0.2.0/24", 20, forward(&[(Some("10.0.1.2"), 1)])));
    assert_eq!(reach(&resolver, "192.0.2.7"), Some((20, vec![hop("10.0.1.2", 1)])));
}

#[test]
fn default_route_counts_only_if_configured() {
    let mut resolver = resolver();
    add(&mut resolver, route("0.0.0.0/0", 0, forward(&[(Some("10.0.1.1"), 1)])));
    assert_eq!(reach(&resolver, "192.0.2.7"), None);
    resolver.via_default = true;
    assert_eq!(reach(&resolver, "192.0.2.7"), Some((1, vec![hop("10.0.1.1", 1)])));
}

#[test]
fn interface_without_carrier_makes_unreachable_and_is_not_bypassed() {
    let mut resolver = resolver();
    add(&mut resolver, route("10.0.0.0/8", 0, forward(&[(Some("10.9.9.9"), 2)])));
    let _ = resolver.link(link(1, true, false));
    assert_eq!(reach(&resolver, "10.0.1.1"), None);
    // The kernel takes routes off an interface that is down, and so the shorter prefix counts.
    let _ = resolver.link(link(1, false, false));
    assert_eq!(reach(&resolver, "10.0.1.1"), Some((1, vec![hop("10.9.9.9", 2)])));
}

#[test]
fn of_several_gateways_those_with_carrier_are_used() {
    let mut resolver = resolver();
    let both = forward(&[(Some("10.0.1.1"), 1), (Some("10.9.9.9"), 2)]);
    add(&mut resolver, route("192.0.2.0/24", 5, both));
    let _ = resolver.link(link(1, true, false));
    assert_eq!(reach(&resolver, "192.0.2.7"), Some((5, vec![hop("10.9.9.9", 2)])));
}

#[test]
fn own_and_unusable_addresses_lead_nowhere() {
    let mut resolver = resolver();
    add(&mut resolver, route("fe80::/64", 256, forward(&[(None, 2)])));
    for addr in ["10.0.1.2", "fd00:2::2", "0.0.0.0", "127.0.0.1", "224.0.0.1", "fe80::1", "::1"] {
        assert_eq!(reach(&resolver, addr), None, "{addr}");
    }
    let own = resolver.resolve(NextHop::new(ip("10.0.1.2")));
    assert_eq!(own.resolution, Resolution::Own);
}

#[test]
fn routes_of_other_tables_do_not_resolve() {
    let mut resolver = resolver();
    let mut elsewhere = route("192.0.2.0/24", 0, forward(&[(Some("10.0.1.1"), 1)]));
    elsewhere.key.table = 100;
    add(&mut resolver, elsewhere);
    assert_eq!(reach(&resolver, "192.0.2.7"), None);
}

#[test]
fn changes_are_reported_once_and_only_for_what_is_asked() {
    let mut resolver = resolver();
    let (asked, used) = (NextHop::new(ip("10.0.1.1")), NextHop::new(ip("10.0.1.9")));
    resolver.ask(&BTreeSet::from([asked]));
    resolver.acquire(used);
    let reachable = Some(Resolution::Reachable { cost: 0 });
    assert_eq!(resolver.poll(), Some(Changed { next_hop: asked, answer: reachable }));
    assert_eq!(resolver.poll(), None);

    let _ = resolver.link(link(1, true, false));
    let unreachable = Some(Resolution::Unreachable);
    assert_eq!(resolver.poll(), Some(Changed { next_hop: asked, answer: unreachable }));
    assert_eq!(resolver.poll(), Some(Changed { next_hop: used, answer: None }));

    resolver.ask(&BTreeSet::new());
    resolver.drop_user(used);
    let _ = resolver.link(link(1, true, true));
    assert_eq!(resolver.poll(), None);
}

#[test]
fn next_hop_that_is_asked_about_again_is_answered_again() {
    let mut resolver = resolver();
    let asked = BTreeSet::from([NextHop::new(ip("10.0.1.1"))]);
    resolver.ask(&asked);
    assert!(resolver.poll().is_some());
    resolver.ask(&asked);
    assert!(resolver.poll().is_some_and(|changed| changed.answer.is_some()));
}

#[test]
fn next_hop_that_becomes_our_own_address_is_reported() {
    let mut resolver = resolver();
    resolver.ask(&BTreeSet::from([NextHop::new(ip("10.0.1.7"))]));
    while resolver.poll().is_some() {}
    let _ = resolver.link(address(2, "10.0.1.7", "10.0.1.7/32"));
    let answer = resolver.poll().and_then(|changed| changed.answer);
    assert_eq!(answer, Some(Resolution::Own));
}

/// A neighbour on the link with this index.
fn on_link(addr: &str, link_local: Option<&str>, index: u32) -> NextHop {
    let link_local = link_local.map(|addr| addr.parse().unwrap());
    NextHop { addr: ip(addr), link_local, scope: NonZeroU32::new(index) }
}

fn reachable(hops: &[Hop]) -> Resolved {
    let hops = hops.iter().copied().collect();
    Resolved { resolution: Resolution::Reachable { cost: 0 }, hops }
}

#[test]
fn link_local_next_hop_is_a_neighbour_on_its_own_link_whatever_the_routes_say() {
    let mut resolver = resolver();
    add(&mut resolver, route("fe80::/10", 0, Target::Blackhole));
    for index in [1, 2] {
        let expected = reachable(&[hop("fe80::1", index)]);
        assert_eq!(resolver.resolve(on_link("fe80::1", None, index)), expected);
    }
    assert_eq!(resolver.resolve(on_link("fe80::1", None, 3)), Resolved::unreachable());
}

#[test]
fn rfc2545_3_the_link_local_half_of_a_next_hop_is_the_gateway() {
    let resolver = resolver();
    let next_hop = on_link("2001:db8::1", Some("fe80::1"), 1);
    assert_eq!(resolver.resolve(next_hop), reachable(&[hop("fe80::1", 1)]));
    let no_link = NextHop { scope: None, ..next_hop };
    assert_eq!(resolver.resolve(no_link), Resolved::unreachable());
}

#[test]
fn neighbour_is_ourselves_only_if_the_address_is_ours_on_that_very_link() {
    let mut resolver = resolver();
    let _ = resolver.link(address(1, "fe80::7", "fe80::/64"));
    let ours = |next_hop| resolver.resolve(next_hop).resolution == Resolution::Own;
    assert!(ours(on_link("fe80::7", None, 1)));
    assert!(!ours(on_link("fe80::7", None, 2)));
    assert!(ours(on_link("fd00:2::2", Some("fe80::1"), 1)));
}

#[test]
fn neighbours_follow_their_link_and_no_other() {
    let mut resolver = resolver();
    let (first, second) = (on_link("fe80::1", None, 1), on_link("fd00::9", Some("fe80::1"), 2));
    resolver.ask(&BTreeSet::from([first, second]));
    while resolver.poll().is_some() {}
    for (carrier, answer) in
        [(false, Resolution::Unreachable), (true, Resolution::Reachable { cost: 0 })]
    {
        let _ = resolver.link(link(2, true, carrier));
        let changed = Changed { next_hop: second, answer: Some(answer) };
        assert_eq!((resolver.poll(), resolver.poll()), (Some(changed), None));
    }
    let _ = resolver.link(LinkEvent::Gone(1));
    let changed = Changed { next_hop: first, answer: Some(Resolution::Unreachable) };
    assert_eq!((resolver.poll(), resolver.poll()), (Some(changed), None));
    resolver.ask(&BTreeSet::new());
    assert!(resolver.neighbours.is_empty());
}
