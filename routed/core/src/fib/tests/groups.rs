//! Next-hop groups: many routes follow one change.

use super::*;
use crate::fib::next_hop::{Members, NextHopChange, NextHopId, NextHopObject, Object};

const A: &str = "10.0.1.1";
const B: &str = "10.0.2.1";
const BOTH: [&str; 2] = [A, B];

/// A world with this many routes through both neighbours.
fn world_of(routes: usize) -> World {
    let mut world = running();
    let prefixes: Vec<_> = (0..routes).map(nth).collect();
    let next_hops = BOTH.map(ip);
    let changes = prefixes.iter().map(|prefix| learned(*prefix, &next_hops)).collect();
    world.learned.extend(prefixes.into_iter().map(|prefix| (prefix, next_hops.to_vec())));
    world.handle(Event::Best(changes));
    world.settle_down();
    world.hop_writes.clear();
    world
}

fn nth(number: usize) -> Prefix {
    prefix(&format!("10.{}.{}.0/24", 100 + number / 256, number % 256))
}

/// Route operations so far.
fn written(world: &World) -> u64 {
    world.fib.counters().written + world.fib.counters().deleted
}

#[test]
fn routes_with_the_same_next_hops_name_one_group() {
    let world = world_of(1000);
    let objects = world.objects(PROTO_FABRIC);
    assert_eq!(objects.len(), 3, "two hops and a group: {objects:?}");
    let named: std::collections::BTreeSet<_> =
        world.routes.iter().filter_map(|route| route.target.group()).collect();
    assert_eq!(named.len(), 1);
    assert_eq!(world.ours("10.100.0.0/24"), Some(via(&BOTH)));
}

#[test]
fn lost_peer_is_one_change_of_a_group_however_many_routes_name_it() {
    for routes in [10, 1000] {
        let mut world = world_of(routes);
        let before = written(&world);
        world.handle(Event::Lost([peer_of(ip(A))].into()));
        world.run(Duration::ZERO);
        assert_eq!(world.ours("10.100.0.0/24"), Some(via(&[B])));
        let first = std::mem::take(&mut world.hop_writes);
        let of_group = |operation: &NextHopOperation| {
            matches!(operation, NextHopOperation::Replace(_, Object::Group(_)))
        };
        assert!(of_group(&first[0]) && first.len() == 2, "then the hop goes: {first:?}");
        assert_eq!(written(&world), before, "no route was touched");

        world.handle(Event::Lost([].into()));
        world.run(Duration::ZERO);
        assert_eq!(world.ours("10.100.0.0/24"), Some(via(&BOTH)));
        assert_eq!(world.hop_writes.len(), 2, "the hop and the group: {:?}", world.hop_writes);
    }
}

#[test]
fn group_of_a_lost_peer_alone_stays_until_bgp_decides() {
    let mut world = running();
    world.learn("10.200.0.0/16", &[A]);
    world.settle_down();
    world.handle(Event::Lost([peer_of(ip(A))].into()));
    world.settle_down();
    assert_eq!(world.ours("10.200.0.0/16"), Some(via(&[A])));
    assert_eq!(world.state("10.200.0.0/16"), Some(RouteState::Unresolved));
    world.learn("10.200.0.0/16", &[B]);
    world.settle_down();
    assert_eq!(world.ours("10.200.0.0/16"), Some(via(&[B])));
    assert_eq!(world.objects(PROTO_FABRIC).len(), 2, "the old hop and its group are gone");
}

#[test]
fn path_of_another_peer_by_the_same_next_hop_is_not_lost_with_the_first() {
    let mut world = running();
    let path = |peer, next_hop| BestPath {
        peer: Some(PeerId(peer)),
        attrs: Arc::new(Attrs::originated(NextHop::new(ip(next_hop)))),
        share: 1,
    };
    let prefix = prefix("10.200.0.0/16");
    let paths = vec![path(7, A), path(8, A), path(9, B)];
    world.handle(Event::Best(vec![BestChange { prefix, paths }]));
    world.settle_down();
    assert_eq!(world.ours("10.200.0.0/16"), Some(via(&BOTH)));
    world.handle(Event::Lost([PeerId(7)].into()));
    world.run(Duration::ZERO);
    assert_eq!(world.ours("10.200.0.0/16"), Some(via(&BOTH)));
    world.handle(Event::Lost([PeerId(7), PeerId(8)].into()));
    world.run(Duration::ZERO);
    assert_eq!(world.ours("10.200.0.0/16"), Some(via(&[B])));
}

#[test]
fn lost_carrier_costs_no_write_since_the_kernel_has_acted_itself() {
    let mut world = world_of(100);
    let before = written(&world);
    world.carrier(1, false);
    world.run(Duration::from_secs(1));
    assert_eq!(world.ours("10.100.0.0/24"), Some(via(&[B])));
    assert_eq!(world.hop_writes, []);

    world.carrier(1, true);
    world.run(Duration::from_secs(1));
    assert_eq!(world.ours("10.100.0.0/24"), Some(via(&BOTH)));
    assert_eq!(world.hop_writes.len(), 2, "a hop and the group: {:?}", world.hop_writes);
    assert_eq!(written(&world), before, "no route was touched");
    let counters = world.fib.group_counters();
    assert_eq!((counters.failed, counters.repaired), (0, 0));
}

#[test]
fn routes_come_back_with_the_last_link_of_their_group() {
    let mut world = world_of(10);
    world.carrier(1, false);
    world.carrier(2, false);
    world.run(Duration::from_secs(1));
    assert_eq!(world.ours("10.100.0.0/24"), None, "the kernel took it");
    world.carrier(2, true);
    world.run(Duration::ZERO);
    assert_eq!(world.ours("10.100.0.0/24"), Some(via(&[B])));
    assert_eq!(world.fib.counters().repaired, 0, "nobody has done that by hand");
}

#[test]
fn deleted_hop_and_deleted_group_are_put_back_with_their_routes_and_counted() {
    let mut world = world_of(10);
    let objects = world.objects(PROTO_FABRIC);
    let is_group = |object: &Object| matches!(object, Object::Group(_));
    let group = objects.iter().find(|(_, it)| is_group(it)).map(|(id, _)| *id).unwrap();
    world.delete_next_hop(group);
    assert_eq!(world.ours("10.100.0.0/24"), None);
    world.run(Duration::ZERO);
    assert_eq!(world.ours("10.100.0.0/24"), Some(via(&BOTH)));
    assert_eq!(world.fib.group_counters().repaired, 1);
    assert_eq!(world.fib.counters().repaired, 10);

    let hop = objects.iter().find(|(_, it)| !is_group(it)).map(|(id, _)| *id).unwrap();
    world.delete_next_hop(hop);
    assert_eq!(world.ours("10.100.0.0/24"), Some(via(&[B])));
    world.run(Duration::ZERO);
    assert_eq!(world.ours("10.100.0.0/24"), Some(via(&BOTH)));
    assert_eq!(world.fib.group_counters().repaired, 3, "the hop, and the group that lost it");
}

#[test]
fn restart_takes_groups_over_and_removes_what_is_left_only_when_the_peers_have_spoken() {
    let mut world = world_of(10);
    let before = world.objects(PROTO_FABRIC);
    let (stale, foreign) = (NextHopId(1_320_000_900), NextHopId(1_320_000_901));
    let hop = Object::Hop(Hop::new(Some(ip("10.0.3.1")), 3));
    let object = |id, protocol| NextHopObject { id, protocol, object: hop.clone() };
    world.make_next_hop(object(stale, PROTO_FABRIC));
    world.make_next_hop(object(foreign, STATIC));
    world.restart();
    world.run(Duration::from_secs(5));
    assert_eq!(world.hop_writes, [], "what is there is as it should be");
    assert_eq!(world.fib.counters().written, 0);
    assert!(world.objects(PROTO_FABRIC).contains_key(&stale));

    world.settle_down();
    assert_eq!(world.objects(PROTO_FABRIC), before);
    assert!(world.objects(STATIC).contains_key(&foreign));
}

#[test]
fn routes_that_list_their_hops_move_to_groups_in_place_and_back() {
    let mut world = World::new();
    world.put(route("10.200.0.0/16", PROTO_FABRIC, via(&BOTH)));
    world.learn("10.200.0.0/16", &BOTH);
    world.settle_down();
    assert!(world.raw("10.200.0.0/16").unwrap().group().is_some());
    assert_eq!(world.fib.counters(), Counters { written: 2, ..Counters::default() });

    world.config.next_hop_groups = false;
    world.restart();
    world.settle_down();
    assert_eq!(world.raw("10.200.0.0/16"), Some(via(&BOTH)));
    assert!(world.objects(PROTO_FABRIC).is_empty());
}

#[test]
fn kernel_without_next_hop_objects_gets_plain_routes() {
    let mut world = World::new();
    world.next_hops = None;
    world.learn("10.200.0.0/16", &BOTH);
    world.settle_down();
    assert_eq!(world.raw("10.200.0.0/16"), Some(via(&BOTH)));
    assert!(world.fib.lacks_groups() && !world.fib.uses_groups());
}

#[test]
fn weights_follow_the_shares_and_a_group_has_sixty_four_ways() {
    let mut world = running();
    let paths = (1..=64u32).map(|number| BestPath {
        peer: Some(PeerId(number)),
        attrs: Arc::new(Attrs::originated(NextHop::new(ip(&format!("10.0.1.{}", number + 2))))),
        share: number * 1000,
    });
    let prefix = prefix("10.200.0.0/16");
    world.handle(Event::Best(vec![BestChange { prefix, paths: paths.collect() }]));
    world.settle_down();
    let target = world.ours("10.200.0.0/16").unwrap();
    let weights: Vec<_> = target.hops().iter().map(|hop| hop.weight).collect();
    assert_eq!(weights, (1..=64).collect::<Vec<u16>>());
}

#[test]
fn next_hop_behind_somebody_elses_group_is_resolved_through_it() {
    let mut world = World::new();
    let (hop, group) = (NextHopId(5), NextHopId(6));
    let through = Object::Hop(Hop::new(Some(ip("10.0.3.9")), 3));
    world.make_next_hop(NextHopObject { id: hop, protocol: STATIC, object: through });
    let members = Members::from_iter([(hop, 1)]);
    let object = Object::Group(members);
    world.make_next_hop(NextHopObject { id: group, protocol: STATIC, object });
    world.put(route("10.77.0.0/16", STATIC, Target::Group(group)));
    world.learn("10.200.0.0/16", &["10.77.0.1"]);
    world.settle_down();
    let expected = Hop::new(Some(ip("10.0.3.9")), 3);
    assert_eq!(
        world.ours("10.200.0.0/16"),
        Some(Target::Forward([expected].into_iter().collect()))
    );

    let elsewhere = Object::Hop(Hop::new(Some(ip("10.0.2.9")), 2));
    world.make_next_hop(NextHopObject { id: hop, protocol: STATIC, object: elsewhere });
    world.run(Duration::from_secs(1));
    let expected = Hop::new(Some(ip("10.0.2.9")), 2);
    assert_eq!(
        world.ours("10.200.0.0/16"),
        Some(Target::Forward([expected].into_iter().collect()))
    );
}

#[test]
fn id_that_somebody_else_has_is_left_to_them() {
    let mut world = World::new();
    let first = NextHopId(1_320_000_000);
    let object = Object::Hop(Hop::new(Some(ip("10.0.3.9")), 3));
    let theirs = NextHopObject { id: first, protocol: STATIC, object: object.clone() };
    world.next_hops.as_mut().unwrap().insert(first, theirs);
    world.learn("10.200.0.0/16", &[A]);
    world.settle_down();
    assert_eq!(world.ours("10.200.0.0/16"), Some(via(&[A])));
    assert_eq!(world.objects(STATIC), [(first, object)].into());
    let gone = NextHopObject { id: first, protocol: STATIC, object: Object::Other };
    world.handle(Event::NextHop(NextHopChange::Gone, gone));
    world.run(Duration::from_secs(1));
    assert_eq!(world.objects(STATIC).len(), 1);
}
