//! Whatever happens in whatever order: it converges, nobody else's route is touched, and no wanted
//! route is taken away. (The world checks the last two at every step.)

use std::collections::{BTreeMap, BTreeSet};

use proptest::{collection::vec, prelude::*};

use super::{
    world::{LINKS, STATIC, World},
    *,
};
use crate::fib::next_hop::{Members, NextHopId, Object};

/// Destinations of both families, one of them inside the node's own range.
const PREFIXES: [&str; 6] = [
    "10.200.0.0/16",
    "10.201.0.0/16",
    "10.244.1.64/26",
    "fd99:1::/64",
    "fd99:2::/64",
    "fd99:3::/64",
];

/// Own ranges of the node, one after another.
const OWN: [&[&str]; 4] =
    [&["10.244.1.0/24"], &[], &["10.244.1.0/24", "fd99:1::/48"], &["10.201.0.0/16"]];

#[derive(Clone, Debug)]
enum Step {
    /// BGP decides: next hops through these interfaces.
    Learn {
        prefix: usize,
        links: Vec<usize>,
    },
    /// The node's own ranges become these of [`OWN`].
    Own(usize),
    Complete,
    /// Somebody deletes a route of ours, ...
    DeleteOurs(usize),
    /// ... changes one or makes one up, ...
    ForgeOurs {
        prefix: usize,
        link: usize,
    },
    /// ... makes or removes one of their own, ...
    CreateTheirs {
        prefix: usize,
        link: usize,
    },
    RemoveTheirs(usize),
    /// ... or puts theirs where ours is.
    Displace {
        prefix: usize,
        link: usize,
    },
    Carrier {
        link: usize,
        carrier: bool,
    },
    Admin {
        link: usize,
        up: bool,
    },
    Refuse(Option<usize>),
    /// Somebody deletes one of our next-hop objects, the how manieth.
    DeleteNextHop(usize),
    /// Somebody makes our hop or group another.
    ForgeGroup(usize),
    /// Sessions with these peers are over.
    Lost(Vec<u32>),
    Overrun,
    Poll,
    Execute,
    Answer,
    Notify,
    Wait {
        ms: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let prefix = || 0..PREFIXES.len();
    let link = || 0..LINKS.len();
    prop_oneof![
        4 => (prefix(), vec(link(), 0..3)).prop_map(|(prefix, links)| Step::Learn { prefix, links }),
        1 => (0..OWN.len()).prop_map(Step::Own),
        1 => Just(Step::Complete),
        1 => prefix().prop_map(Step::DeleteOurs),
        1 => (prefix(), link()).prop_map(|(prefix, link)| Step::ForgeOurs { prefix, link }),
        1 => (prefix(), link()).prop_map(|(prefix, link)| Step::CreateTheirs { prefix, link }),
        1 => prefix().prop_map(Step::RemoveTheirs),
        1 => (prefix(), link()).prop_map(|(prefix, link)| Step::Displace { prefix, link }),
        1 => (link(), any::<bool>()).prop_map(|(link, carrier)| Step::Carrier { link, carrier }),
        1 => (link(), any::<bool>()).prop_map(|(link, up)| Step::Admin { link, up }),
        1 => proptest::option::of(prefix()).prop_map(Step::Refuse),
        1 => (0..4usize).prop_map(Step::DeleteNextHop),
        1 => (0..4usize).prop_map(Step::ForgeGroup),
        1 => vec(1..4u32, 0..3).prop_map(Step::Lost),
        1 => Just(Step::Overrun),
        5 => Just(Step::Poll),
        4 => Just(Step::Execute),
        4 => Just(Step::Answer),
        4 => Just(Step::Notify),
        2 => (0..2000u64).prop_map(|ms| Step::Wait { ms }),
    ]
}

fn take(world: &mut World, step: Step) {
    let gateway = |prefix: &Prefix, link: usize| match prefix.addr() {
        IpAddr::V4(_) => ip(&format!("10.0.{}.1", LINKS[link])),
        IpAddr::V6(_) => ip(&format!("fd00:{}::1", LINKS[link])),
    };
    let made = |number: usize, protocol: u8, link: usize| {
        let hop = Hop::new(Some(gateway(&prefix(PREFIXES[number]), link)), LINKS[link]);
        route(PREFIXES[number], protocol, Target::Forward([hop].into_iter().collect()))
    };
    let up = world.links_up();
    // Where theirs takes the place of ours: while an operation of ours is under way, or before we
    // are told, the kernel's interface gives us no means not to overwrite theirs in return.
    match step {
        Step::Learn { prefix: number, links } => {
            let prefix = prefix(PREFIXES[number]);
            let next_hops = links.into_iter().map(|link| gateway(&prefix, link)).collect();
            world.learn_all(prefix, next_hops);
        }
        Step::Own(number) => {
            // What is under way was right when it was asked for.
            while world.execute() {}
            world.own(OWN[number]);
        }
        Step::Complete => world.handle(Event::Complete),
        Step::DeleteOurs(number) => world.delete_by_hand(PREFIXES[number]),
        Step::ForgeOurs { prefix, link } => {
            if up(LINKS[link]) && !taken(world, PREFIXES[prefix]) {
                world.replace_by_hand(made(prefix, PROTO_FABRIC, link));
            }
        }
        Step::CreateTheirs { prefix, link } => {
            while world.execute() {}
            if up(LINKS[link]) && world.all(key(PREFIXES[prefix])).is_empty() {
                world.create_by_hand(made(prefix, STATIC, link));
            }
            world.notify_all();
        }
        Step::RemoveTheirs(number) => {
            for route in world.all(key(PREFIXES[number])) {
                if route.protocol == STATIC {
                    world.remove_foreign(&route);
                }
            }
        }
        Step::Displace { prefix, link } => {
            while world.execute() {}
            if up(LINKS[link]) {
                world.replace_by_hand(made(prefix, STATIC, link));
            }
            world.notify_all();
        }
        Step::Carrier { link, carrier } => world.carrier(LINKS[link], carrier),
        Step::Admin { link, up } => world.admin(LINKS[link], up),
        Step::Refuse(number) => world.refuse(number.map(|number| PREFIXES[number])),
        Step::DeleteNextHop(number) => {
            if let Some(id) = world.objects(PROTO_FABRIC).into_keys().nth(number) {
                world.delete_next_hop(id);
            }
        }
        Step::ForgeGroup(number) => {
            let objects = world.objects(PROTO_FABRIC);
            let is_hop = |(_, object): &(&NextHopId, &Object)| matches!(object, Object::Hop(_));
            let Some(hop) = objects.iter().find(is_hop).map(|(id, _)| *id) else { return };
            let groups = objects.iter().filter(|(_, object)| matches!(object, Object::Group(_)));
            if let Some((id, _)) = groups.into_iter().nth(number) {
                let object = Object::Group(Members::from_iter([(hop, 7)]));
                world.make_next_hop(NextHopObject { id: *id, protocol: PROTO_FABRIC, object });
            }
        }
        Step::Lost(peers) => {
            world.lost = peers.iter().copied().map(PeerId).collect();
            world.handle(Event::Lost(world.lost.clone()));
        }
        Step::Overrun => {
            while world.execute() {}
            world.overrun();
            world.notify_all();
        }
        Step::Poll => drop(world.poll()),
        Step::Execute => drop(world.execute()),
        Step::Answer => drop(world.answer_next()),
        Step::Notify => drop(world.notify()),
        Step::Wait { ms } => {
            world.now += Duration::from_millis(ms);
            world.handle(Event::Timeout);
        }
    }
}

fn taken(world: &World, text: &str) -> bool {
    world.all(key(text)).iter().any(|route| route.protocol != PROTO_FABRIC)
}

/// What must be in the kernel in the end, worked out anew. `None`: anything of ours or nothing.
fn expected(world: &World) -> BTreeMap<Prefix, Option<Target>> {
    let up = world.links_up();
    let own = &world.config.own_ranges;
    let mut expected: BTreeMap<_, _> =
        own.iter().map(|range| (*range, Some(Target::Blackhole))).collect();
    for (prefix, next_hops) in &world.learned {
        if own.iter().any(|range| range.covers(*prefix)) || next_hops.is_empty() {
            continue;
        }
        let hops: Hops = next_hops
            .iter()
            .map(|next_hop| Hop::new(Some(*next_hop), link_of(*next_hop)))
            .filter(|hop| up(hop.ifindex) && !world.lost.contains(&peer_of(hop.gateway.unwrap())))
            .collect();
        expected.insert(*prefix, (!hops.is_empty()).then_some(Target::Forward(hops)));
    }
    expected
}

fn assert_converged(world: &World) {
    let expected = expected(world);
    for (prefix, target) in &expected {
        let Some(target) = target else { continue };
        let text = prefix.to_string();
        if !taken(world, &text) {
            assert_eq!(world.ours(&text).as_ref(), Some(target), "{text}");
        }
    }
    for route in world.routes.iter().filter(|route| route.protocol == PROTO_FABRIC) {
        assert!(expected.contains_key(&route.key.prefix), "{} is not wanted", route.key);
    }
    for status in world.fib.routes() {
        let text = status.key.prefix.to_string();
        assert_eq!(status.have, world.raw(&text).as_ref(), "{text}: what we believe");
    }
    assert_nothing_leaks(world);
    let counted: usize = RouteState::ALL
        .into_iter()
        .flat_map(|state| Family::ALL.map(|family| world.fib.count(family, state)))
        .sum();
    assert_eq!(counted, world.fib.routes().count());
}

/// As many groups as there are sets of next hops, at most, and no hop that is in no group.
fn assert_nothing_leaks(world: &World) {
    let sets: BTreeSet<_> = world.learned.values().filter(|hops| !hops.is_empty()).collect();
    let objects = world.objects(PROTO_FABRIC);
    let groups: Vec<_> = objects
        .values()
        .filter_map(|object| match object {
            Object::Group(members) => Some(members),
            Object::Hop(_) | Object::Other => None,
        })
        .collect();
    assert!(groups.len() <= sets.len(), "{objects:?}");
    for (id, object) in &objects {
        let is_member = |members: &&Members| members.without(|member| member == *id).is_some();
        let used = matches!(object, Object::Group(_)) || groups.iter().any(is_member);
        assert!(used, "{id} is in no group: {objects:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn anything_in_any_order_converges(
        steps in vec(step(), 0..80),
        kernel_has_groups in any::<bool>(),
        restart_after in 0..80usize,
    ) {
        let mut world = World::new();
        if !kernel_has_groups {
            world.next_hops = None;
        }
        let theirs = |world: &World| {
            let routes = world.routes.iter().filter(|route| route.protocol == STATIC);
            (routes.cloned().collect::<Vec<_>>(), world.objects(STATIC))
        };
        for (number, step) in steps.into_iter().enumerate() {
            if number == restart_after {
                world.restart();
            }
            take(&mut world, step);
        }
        world.refuse(None);
        let before = theirs(&world);
        world.handle(Event::Complete);
        world.run(Duration::from_secs(70));
        assert_converged(&world);
        prop_assert_eq!(before, theirs(&world));
    }
}
