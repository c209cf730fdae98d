//! The machine against a made-up kernel: by hand for each promise, and at random for all at once.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};

use bgp::{
    aspath::Asn,
    attrs::{Aggregator, Attrs, NextHop},
    prefix::Prefix,
    rib::{BestChange, BestPath, PeerId, Resolution},
};

use super::{
    route::{Hop, Hops, PROTO_FABRIC, PROTO_PODS, Route, RouteKey, TABLE_MAIN, Target},
    status::RouteState,
    *,
};
use world::{STATIC, World};

mod groups;
mod random;
mod world;

pub(super) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(super) fn prefix(text: &str) -> Prefix {
    text.parse().unwrap()
}

pub(super) fn key(text: &str) -> RouteKey {
    RouteKey::new(TABLE_MAIN, prefix(text), None)
}

/// A route's target through neighbours; the third octet or group of each names the interface.
pub(super) fn via(gateways: &[&str]) -> Target {
    let hop = |gateway: &&str| Hop::new(Some(ip(gateway)), link_of(ip(gateway)));
    Target::Forward(gateways.iter().map(hop).collect())
}

fn link_of(addr: IpAddr) -> u32 {
    match addr {
        IpAddr::V4(v4) => u32::from(v4.octets()[2]),
        IpAddr::V6(v6) => u32::from(v6.segments()[1]),
    }
}

/// The peer that announces what leads through it: on each link one.
pub(super) fn peer_of(next_hop: IpAddr) -> PeerId {
    PeerId(link_of(next_hop))
}

/// The best paths: one for each next hop, from the peer on its link.
pub(super) fn learned(prefix: Prefix, next_hops: &[IpAddr]) -> BestChange {
    let path = |next_hop: &IpAddr| BestPath {
        peer: Some(peer_of(*next_hop)),
        attrs: Arc::new(Attrs::originated(NextHop::new(*next_hop))),
        share: 1,
    };
    BestChange { prefix, paths: next_hops.iter().map(path).collect() }
}

/// A world whose machine has its first picture and nothing left to do.
fn running() -> World {
    let mut world = World::new();
    world.settle_down();
    world
}

fn route(text: &str, protocol: u8, target: Target) -> Route {
    Route { key: key(text), protocol, target }
}

#[test]
fn learned_prefix_becomes_a_route_and_withdrawal_removes_it() {
    let mut world = running();
    world.learn("10.200.0.0/16", &["10.0.1.1"]);
    world.learn("fd99::/64", &["fd00:1::1"]);
    world.settle_down();
    assert_eq!(world.ours("10.200.0.0/16"), Some(via(&["10.0.1.1"])));
    assert_eq!(world.ours("fd99::/64"), Some(via(&["fd00:1::1"])));
    assert_eq!(world.state("fd99::/64"), Some(RouteState::Installed));

    world.learn("10.200.0.0/16", &[]);
    world.settle_down();
    assert_eq!(world.ours("10.200.0.0/16"), None);
    assert_eq!(world.state("10.200.0.0/16"), None);
}

#[test]
fn equal_paths_share_one_route_in_any_order() {
    let mut world = running();
    world.learn("10.200.0.0/16", &["10.0.2.1", "10.0.1.1"]);
    world.settle_down();
    assert_eq!(world.ours("10.200.0.0/16"), Some(via(&["10.0.1.1", "10.0.2.1"])));

    let written = world.fib.counters().written;
    world.learn("10.200.0.0/16", &["10.0.1.1", "10.0.2.1"]);
    world.settle_down();
    assert_eq!(world.fib.counters().written, written);
}

#[test]
fn own_ranges_are_blackholes_and_single_addresses_are_not() {
    let mut world = World::with(|config| {
        config.own_ranges = vec![prefix("10.244.1.0/24"), prefix("fd99::7/128")];
    });
    world.settle_down();
    assert_eq!(world.ours("10.244.1.0/24"), Some(Target::Blackhole));
    assert_eq!(world.ours("fd99::7/128"), None);
}

#[test]
fn prefix_inside_an_own_range_is_not_learned() {
    let mut world = running();
    world.learn("10.244.1.5/32", &["10.0.1.1"]);
    world.learn("10.244.0.0/16", &["10.0.1.1"]);
    world.settle_down();
    assert_eq!(world.ours("10.244.1.5/32"), None);
    assert_eq!(world.state("10.244.1.5/32"), Some(RouteState::OwnRange));
    assert_eq!(world.ours("10.244.0.0/16"), Some(via(&["10.0.1.1"])));
    assert_eq!(world.ours("10.244.1.0/24"), Some(Target::Blackhole));
}

#[test]
fn in_a_cluster_an_address_inside_an_own_range_may_be_elsewhere_unless_a_pod_has_it() {
    let mut world = World::with(|config| config.addresses_wander = true);
    world.settle_down();
    world.learn("10.244.1.5/32", &["10.0.1.1"]);
    world.learn("10.244.1.6/32", &["10.0.1.1"]);
    world.learn("10.244.1.64/26", &["10.0.1.1"]);
    world.settle_down();
    assert_eq!(world.ours("10.244.1.5/32"), Some(via(&["10.0.1.1"])));
    assert_eq!(world.ours("10.244.1.64/26"), None, "a range is this node's or it is not");
    // A pod of this node gets one of them: its route takes the place.
    let to_pod = Target::Forward([Hop::new(None, 3)].into_iter().collect());
    let pod = route("10.244.1.5/32", PROTO_PODS, to_pod);
    world.replace_by_hand(pod.clone());
    world.settle_down();
    assert_eq!(world.all(pod.key), std::slice::from_ref(&pod));
    world.remove_foreign(&pod);
    world.run(Duration::ZERO);
    assert_eq!(world.ours("10.244.1.5/32"), Some(via(&["10.0.1.1"])), "it goes elsewhere again");
    assert_eq!(world.ours("10.244.1.6/32"), Some(via(&["10.0.1.1"])));
}

#[test]
fn originated_prefix_is_not_a_kernel_route() {
    let mut world = running();
    let attrs = Arc::new(Attrs::originated(NextHop::new(Ipv4Addr::UNSPECIFIED.into())));
    let paths = vec![BestPath { peer: None, attrs, share: 1 }];
    world.handle(Event::Best(vec![BestChange { prefix: prefix("10.9.0.0/16"), paths }]));
    world.settle_down();
    assert_eq!(world.state("10.9.0.0/16"), None);
}

fn aggregated(text: &str) -> Event {
    let aggregator = Aggregator { asn: Asn(65000), router_id: Ipv4Addr::new(10, 0, 0, 1) };
    let attrs = Attrs::originated(NextHop::new(Ipv4Addr::UNSPECIFIED.into()));
    let attrs = Arc::new(Attrs { aggregator: Some(aggregator), ..attrs });
    let paths = vec![BestPath { peer: None, attrs, share: 1 }];
    Event::Best(vec![BestChange { prefix: prefix(text), paths }])
}

#[test]
fn an_aggregate_is_a_blackhole_and_what_is_learned_inside_it_is_used() {
    let mut world = running();
    world.handle(aggregated("10.244.0.0/16"));
    world.learn("10.244.9.0/24", &["10.0.1.1"]);
    world.settle_down();
    assert_eq!(world.ours("10.244.0.0/16"), Some(Target::Blackhole));
    assert_eq!(world.ours("10.244.9.0/24"), Some(via(&["10.0.1.1"])));
    // No longer, and another's in its place.
    world.learn("10.244.0.0/16", &["10.0.1.1"]);
    world.settle_down();
    assert_eq!(world.ours("10.244.0.0/16"), Some(via(&["10.0.1.1"])));
    world.learn("10.244.0.0/16", &[]);
    world.settle_down();
    assert_eq!(world.ours("10.244.0.0/16"), None);
    assert_eq!(world.ours("10.244.1.0/24"), Some(Target::Blackhole));
}

#[test]
fn an_aggregate_is_a_blackhole_even_where_nothing_learned_is_installed() {
    let mut world = World::with(|config| config.learned_routes = false);
    world.settle_down();
    world.handle(aggregated("10.244.0.0/16"));
    world.settle_down();
    assert_eq!(world.ours("10.244.0.0/16"), Some(Target::Blackhole));
}

#[test]
fn restart_adopts_routes_and_deletes_strangers_only_after_the_peers_have_spoken() {
    let mut world = World::with(|config| config.next_hop_groups = false);
    let (kept, stale) = ("10.200.0.0/16", "10.201.0.0/16");
    world.put(route(kept, PROTO_FABRIC, via(&["10.0.1.1"])));
    world.put(route(stale, PROTO_FABRIC, via(&["10.0.1.1"])));
    world.run(Duration::from_secs(10));
    assert!(world.ours(kept).is_some() && world.ours(stale).is_some());
    assert_eq!(world.state(stale), Some(RouteState::Stale));

    world.learn(kept, &["10.0.1.1"]);
    let written = world.fib.counters().written;
    world.handle(Event::Complete);
    world.run(Duration::from_secs(1));
    assert!(world.ours(stale).is_some(), "what peers said may still be under way");
    world.run(Duration::from_secs(2));
    assert_eq!(world.ours(stale), None);
    assert_eq!(world.ours(kept), Some(via(&["10.0.1.1"])));
    assert_eq!(world.fib.counters().written, written, "an adopted route is not written again");
}

#[test]
fn grace_ends_even_if_a_peer_never_comes() {
    let mut world = World::new();
    world.put(route("10.201.0.0/16", PROTO_FABRIC, via(&["10.0.1.1"])));
    world.run(GRACE - Duration::from_secs(1));
    assert!(world.ours("10.201.0.0/16").is_some());
    world.run(Duration::from_secs(2));
    assert_eq!(world.ours("10.201.0.0/16"), None);
}

#[test]
fn routes_of_ours_in_a_table_no_longer_used_are_removed() {
    let mut world = World::new();
    let mut old = route("10.201.0.0/16", PROTO_FABRIC, via(&["10.0.1.1"]));
    old.key.table = 100;
    let foreign = Route { protocol: STATIC, ..old.clone() };
    world.put(old);
    world.put(foreign.clone());
    world.settle_down();
    assert_eq!(world.all(foreign.key), [foreign]);
}

#[test]
fn new_routes_are_written_before_old_ones_are_deleted() {
    let mut world = running();
    for number in 0..600u16 {
        world.learn(&format!("10.{}.{}.0/24", 100 + number / 256, number % 256), &["10.0.1.1"]);
    }
    world.settle_down();
    for number in 0..600u16 {
        let (high, low) = (number / 256, number % 256);
        world.learn(&format!("10.{}.{low}.0/24", 100 + high), &[]);
        world.learn(&format!("10.{}.{low}.0/24", 150 + high), &["10.0.2.1"]);
    }
    let mut deleting = false;
    while let Some(command) = world.fib.poll_command(world.now) {
        let Command::Write(operations) = &command else {
            world.carry_out(command);
            world.answer_all();
            continue;
        };
        for operation in operations.iter() {
            match operation {
                Operation::Add(..) | Operation::Replace(..) => assert!(!deleting, "{operation:?}"),
                Operation::Delete(_) => deleting = true,
                Operation::DeleteCopy(..) => panic!("{operation:?}"),
            }
        }
        world.carry_out(command);
        world.answer_all();
    }
    assert!(deleting);
}

#[test]
fn deleted_route_is_put_back_at_once_and_counted() {
    let mut world = running();
    world.learn("10.200.0.0/16", &["10.0.1.1"]);
    world.settle_down();
    world.delete_by_hand("10.200.0.0/16");
    world.run(Duration::ZERO);
    assert_eq!(world.ours("10.200.0.0/16"), Some(via(&["10.0.1.1"])));
    assert_eq!(world.fib.counters().repaired, 1);
}

#[test]
fn changed_route_is_put_right_at_once() {
    let mut world = running();
    world.learn("10.200.0.0/16", &["10.0.1.1"]);
    world.settle_down();
    world.replace_by_hand(route("10.200.0.0/16", PROTO_FABRIC, via(&["10.0.2.1"])));
    world.run(Duration::ZERO);
    assert_eq!(world.ours("10.200.0.0/16"), Some(via(&["10.0.1.1"])));
    assert_eq!(world.fib.counters().repaired, 1);
}

#[test]
fn copies_of_our_routes_are_removed_and_ours_stays() {
    let mut world = running();
    world.learn("10.200.0.0/16", &["10.0.1.1"]);
    world.settle_down();
    let ours = world.raw("10.200.0.0/16");
    for gateway in ["10.0.2.1", "10.0.3.1"] {
        let copy = route("10.200.0.0/16", PROTO_FABRIC, via(&[gateway]));
        world.put(copy.clone());
        world.handle(Event::Route(RouteChange::Appended, copy));
    }
    // However short ago the last full picture was.
    world.run(Duration::ZERO);
    assert_eq!(world.all(key("10.200.0.0/16")).len(), 1);
    world.run(Duration::from_secs(2));
    assert_eq!(world.all(key("10.200.0.0/16")).len(), 1);
    assert_eq!(world.raw("10.200.0.0/16"), ours);
}

#[test]
fn changes_that_were_missed_are_found_by_a_full_picture() {
    let mut world = running();
    world.learn("10.200.0.0/16", &["10.0.1.1"]);
    world.settle_down();
    world.delete_by_hand("10.200.0.0/16");
    world.put(route("10.201.0.0/16", PROTO_FABRIC, Target::Blackhole));
    world.overrun();
    world.settle_down();
    assert_eq!(world.ours("10.200.0.0/16"), Some(via(&["10.0.1.1"])));
    assert_eq!(world.ours("10.201.0.0/16"), None);
    assert_eq!(world.fib.counters().resyncs, 1);
}

#[test]
fn foreign_route_is_never_overwritten_and_ours_follows_when_it_goes() {
    let mut world = running();
    let theirs = route("10.200.0.0/16", STATIC, via(&["10.0.2.1"]));
    world.create_by_hand(theirs.clone());
    world.learn("10.200.0.0/16", &["10.0.1.1"]);
    world.settle_down();
    assert_eq!(world.all(theirs.key), std::slice::from_ref(&theirs));
    assert_eq!(world.state("10.200.0.0/16"), Some(RouteState::Conflict));

    world.remove_foreign(&theirs);
    world.run(Duration::ZERO);
    assert_eq!(world.ours("10.200.0.0/16"), Some(via(&["10.0.1.1"])));
}

#[test]
fn route_of_a_pod_is_somebody_elses() {
    let mut world = World::with(|config| config.own_ranges.clear());
    let pod = route(
        "10.244.1.5/32",
        PROTO_PODS,
        Target::Forward([Hop::new(None, 3)].into_iter().collect()),
    );
    world.put(pod.clone());
    world.learn("10.244.1.5/32", &["10.0.1.1"]);
    world.settle_down();
    assert_eq!(world.all(pod.key), [pod]);
}

#[test]
fn foreign_route_that_displaced_ours_is_left_alone() {
    let mut world = running();
    world.learn("10.200.0.0/16", &["10.0.1.1"]);
    world.settle_down();
    let theirs = route("10.200.0.0/16", STATIC, via(&["10.0.2.1"]));
    world.replace_by_hand(theirs.clone());
    world.settle_down();
    assert_eq!(world.all(theirs.key), [theirs]);
    assert_eq!(world.state("10.200.0.0/16"), Some(RouteState::Conflict));
}

#[test]
fn unknown_foreign_route_is_found_when_adding_is_refused() {
    let mut world = running();
    let theirs = route("10.200.0.0/16", STATIC, via(&["10.0.2.1"]));
    world.put(theirs.clone());
    world.learn("10.200.0.0/16", &["10.0.1.1"]);
    world.settle_down();
    assert_eq!(world.all(theirs.key), [theirs]);
    assert_eq!(world.state("10.200.0.0/16"), Some(RouteState::Conflict));
}

#[test]
fn lost_carrier_takes_the_hop_out_at_once_and_tells_the_rib() {
    let mut world = running();
    world.ask(&["10.0.1.1", "10.0.2.1"]);
    world.learn("10.200.0.0/16", &["10.0.1.1", "10.0.2.1"]);
    world.settle_down();
    assert_eq!(world.answer("10.0.1.1"), Some(Resolution::Reachable { cost: 0 }));

    world.carrier(1, false);
    world.run(Duration::ZERO);
    assert_eq!(world.ours("10.200.0.0/16"), Some(via(&["10.0.2.1"])));
    assert_eq!(world.answer("10.0.1.1"), Some(Resolution::Unreachable));

    world.carrier(1, true);
    world.run(Duration::ZERO);
    assert_eq!(world.ours("10.200.0.0/16"), Some(via(&["10.0.1.1", "10.0.2.1"])));
}

#[test]
fn route_without_a_reachable_next_hop_stays_until_bgp_decides() {
    let mut world = World::with(|config| config.next_hop_groups = false);
    world.settle_down();
    world.learn("10.200.0.0/16", &["10.0.1.1"]);
    world.settle_down();
    world.carrier(1, false);
    world.settle_down();
    assert_eq!(world.state("10.200.0.0/16"), Some(RouteState::Unresolved));
    assert_eq!(world.ours("10.200.0.0/16"), Some(via(&["10.0.1.1"])));
    world.learn("10.200.0.0/16", &["10.0.2.1"]);
    world.settle_down();
    assert_eq!(world.ours("10.200.0.0/16"), Some(via(&["10.0.2.1"])));
}

#[test]
fn routes_that_the_kernel_dropped_in_silence_come_back_with_the_link() {
    let mut world = running();
    world.learn("10.200.0.0/16", &["10.0.1.1"]);
    world.learn("fd99::/64", &["fd00:1::1"]);
    world.settle_down();
    world.admin(1, false);
    world.run(Duration::ZERO);
    assert_eq!(world.ours("10.200.0.0/16"), None, "the kernel took it");
    world.admin(1, true);
    world.run(Duration::ZERO);
    assert_eq!(world.ours("10.200.0.0/16"), Some(via(&["10.0.1.1"])));
    assert_eq!(world.ours("fd99::/64"), Some(via(&["fd00:1::1"])));
}

#[test]
fn refused_route_is_tried_again_ever_less_often() {
    let mut world = running();
    world.refuse(Some("10.200.0.0/16"));
    world.learn("10.200.0.0/16", &["10.0.1.1"]);
    world.run(Duration::from_secs(60));
    let attempts = world.fib.counters().failed;
    assert!((8..=12).contains(&attempts), "{attempts}");
    assert_eq!(world.state("10.200.0.0/16"), Some(RouteState::Failed));
    assert_eq!(world.fib.count(Family::Ipv4Unicast, RouteState::Failed), 1);

    world.refuse(None);
    world.run(Duration::from_secs(31));
    assert_eq!(world.ours("10.200.0.0/16"), Some(via(&["10.0.1.1"])));
}

#[test]
fn nothing_is_answered_about_next_hops_before_the_kernel_is_known() {
    let mut world = World::new();
    world.ask(&["10.0.1.1"]);
    let mut fib = Fib::new(world.config.clone(), world.now);
    fib.handle(Event::NextHops([NextHop::new(ip("10.0.1.1"))].into()), world.now);
    assert_eq!(fib.poll_command(world.now), None);
    world.settle_down();
    assert_eq!(world.answer("10.0.1.1"), Some(Resolution::Reachable { cost: 0 }));
}

#[test]
fn without_learned_routes_only_blackholes_are_written_and_next_hops_answered() {
    let mut world = World::with(|config| config.learned_routes = false);
    world.ask(&["10.0.1.1"]);
    world.learn("10.200.0.0/16", &["10.0.1.1"]);
    world.settle_down();
    assert_eq!(world.ours("10.200.0.0/16"), None);
    assert_eq!(world.ours("10.244.1.0/24"), Some(Target::Blackhole));
    assert_eq!(world.answer("10.0.1.1"), Some(Resolution::Reachable { cost: 0 }));
}

#[test]
fn own_ranges_that_come_and_go_move_blackholes_and_what_is_learned_inside() {
    let mut world = running();
    world.learn("10.244.1.5/32", &["10.0.1.1"]);
    world.learn("10.244.2.0/25", &["10.0.1.1"]);
    world.learn("10.244.2.0/24", &["10.0.1.1"]);
    world.settle_down();
    assert_eq!(world.state("10.244.1.5/32"), Some(RouteState::OwnRange));

    world.own(&["10.244.2.0/24", "10.244.3.0/24"]);
    world.settle_down();

    // Another node may have the range by now.
    assert_eq!(world.ours("10.244.1.0/24"), None);
    assert_eq!(world.ours("10.244.1.5/32"), Some(via(&["10.0.1.1"])));
    assert_eq!(world.ours("10.244.2.0/24"), Some(Target::Blackhole));
    assert_eq!(world.ours("10.244.2.0/25"), None);
    assert_eq!(world.ours("10.244.3.0/24"), Some(Target::Blackhole));
}

/// What is reported late may be older than what we have written since.
#[test]
fn late_reports_of_another_hand_hide_no_route_whose_next_hop_is_lost() {
    // With groups the kernel drops the route with the carrier.
    let mut world = World::with(|config| config.next_hop_groups = false);
    world.settle_down();
    let forged = route("fd99:3::/64", PROTO_FABRIC, via(&["fd00:2::1"]));
    world.carrier(1, false);
    world.replace_by_hand(forged);
    world.delete_by_hand("fd99:3::/64");
    world.learn("fd99:3::/64", &["fd00:1::1"]);
    while world.poll() || world.execute() || world.answer_next() {}
    assert_eq!(world.ours("fd99:3::/64"), Some(via(&["fd00:1::1"])));
    // Only now it hears of the carrier, and of the other hand's route that came and went.
    world.settle_down();
    world.learn("fd99:3::/64", &[]);
    world.settle_down();
    assert_eq!(world.ours("fd99:3::/64"), None, "nobody wants it any more");
}
