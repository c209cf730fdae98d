//! Fifty speakers in simulated time: a fabric of leaves and spines, a full mesh, and route
//! reflectors with their clients. Whatever the order of events, they come to the same answers,
//! and to those that a look at the graph gives.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use bgp::{
    aspath::Asn,
    prefix::Prefix,
    rib::{BestPath, PeerId},
    session::State,
};
use tests::sim::{LinkId, Net, RouterId, full_mesh, leaf_spine, reflectors};

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// What a router uses for each prefix: AS path and peer of each path, best first.
type Answers = Vec<BTreeMap<Prefix, Vec<(Vec<Asn>, Option<PeerId>)>>>;

/// The answers of all routers.
fn answers(net: &Net) -> Answers {
    let answer = |path: &BestPath| (path.attrs.as_path.asns().collect(), path.peer);
    let table = |table: &BTreeMap<Prefix, Vec<BestPath>>| {
        table.iter().map(|(prefix, paths)| (*prefix, paths.iter().map(answer).collect())).collect()
    };
    net.routers().map(|(_, router)| table(&router.table)).collect()
}

/// The prefixes of a router: one of each family, like a node's pod ranges.
fn prefixes_of(router: RouterId) -> [Prefix; 2] {
    [format!("10.{}.0.0/16", 100 + router.0), format!("fd00:{:x}::/48", router.0)]
        .map(|text| text.parse().expect("a prefix"))
}

/// Starts everything, with every router from `first` on originating its prefixes.
fn bring_up(net: &mut Net, first: usize) {
    net.start();
    for router in originators(net, first) {
        for prefix in prefixes_of(router) {
            net.originate(router, prefix);
        }
    }
    assert!(net.advance_until(secs(60), Net::is_established), "not all sessions came up");
    net.advance(secs(20));
    assert!(net.is_established());
}

fn originators(net: &Net, first: usize) -> Vec<RouterId> {
    net.routers().map(|(id, _)| id).skip(first).collect()
}

/// Sessions by router: who is next to whom over which peer number.
fn neighbors(net: &Net) -> BTreeMap<RouterId, Vec<RouterId>> {
    let mut neighbors: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (link, [a, b], _) in net.links() {
        if net.is_joined(link) {
            neighbors.entry(a).or_default().push(b);
            neighbors.entry(b).or_default().push(a);
        }
    }
    neighbors
}

/// How many sessions away every router is from one.
fn distances(neighbors: &BTreeMap<RouterId, Vec<RouterId>>, from: RouterId) -> Vec<usize> {
    let mut distances = vec![usize::MAX; 64];
    distances[from.0] = 0;
    let mut queue = VecDeque::from([from]);
    while let Some(router) = queue.pop_front() {
        for next in neighbors.get(&router).into_iter().flatten() {
            if distances[next.0] == usize::MAX {
                distances[next.0] = distances[router.0] + 1;
                queue.push_back(*next);
            }
        }
    }
    distances
}

/// Where every router has an AS of its own, the shortest path is the best, and all shortest
/// paths are used: what each router must have, from the graph alone.
fn check_against_graph(net: &Net, withdrawn: &BTreeSet<Prefix>, seed: u64) {
    let neighbors = neighbors(net);
    for origin in originators(net, 0) {
        let distances = distances(&neighbors, origin);
        for (router, state) in net.routers() {
            let nearer = |next: &&RouterId| distances[next.0] < distances[router.0];
            let ways = neighbors.get(&router).into_iter().flatten().filter(nearer).count();
            for prefix in prefixes_of(origin) {
                let paths = state.table.get(&prefix).map_or(&[][..], Vec::as_slice);
                let hops: BTreeSet<_> = paths.iter().map(|p| p.attrs.as_path.hops()).collect();
                let expected = match distances[router.0] {
                    _ if withdrawn.contains(&prefix) => (0, BTreeSet::new()),
                    usize::MAX => (0, BTreeSet::new()),
                    0 => (1, BTreeSet::from([0])),
                    distance => (ways, BTreeSet::from([distance])),
                };
                let place = format!("{prefix} of {origin:?} at {router:?}, seed {seed}");
                assert_eq!((paths.len(), hops), expected, "{place}");
            }
        }
    }
}

#[test]
fn every_leaf_of_a_fabric_reaches_every_other_through_all_spines() {
    let mut first = None;
    for seed in 0..3 {
        let mut net = leaf_spine(seed, 4, 46, false);
        bring_up(&mut net, 4);
        for (router, state) in net.routers() {
            assert_eq!(state.table.len(), 92, "{router:?}");
            for (prefix, paths) in &state.table {
                let own = prefixes_of(router).contains(prefix);
                let expected = if own || router.0 < 4 { 1 } else { 4 };
                assert_eq!(paths.len(), expected, "{prefix} at {router:?}, seed {seed}");
            }
        }
        let answers = answers(&net);
        assert_eq!(*first.get_or_insert(answers.clone()), answers, "seed {seed}");
    }
}

#[test]
fn a_fabric_that_loses_a_spine_goes_on_with_the_others_and_takes_it_back() {
    let mut net = leaf_spine(7, 4, 46, false);
    bring_up(&mut net, 4);
    let before = answers(&net);

    net.power_off(RouterId(0));
    net.advance(secs(91));
    for (router, state) in net.routers().skip(4) {
        for (prefix, paths) in &state.table {
            let own = prefixes_of(router).contains(prefix);
            assert_eq!(paths.len(), if own { 1 } else { 3 }, "{prefix} at {router:?}");
        }
    }

    net.boot(RouterId(0));
    assert!(net.advance_until(secs(60), Net::is_established));
    net.advance(secs(5));
    assert_eq!(answers(&net), before);
}

#[test]
fn a_withdrawn_range_is_gone_everywhere_within_a_second() {
    let mut net = leaf_spine(8, 4, 46, false);
    bring_up(&mut net, 4);
    let leaf = RouterId(20);
    for prefix in prefixes_of(leaf) {
        net.withdraw(leaf, prefix);
    }
    net.advance(secs(1));
    for (router, state) in net.routers() {
        for prefix in prefixes_of(leaf) {
            assert!(!state.table.contains_key(&prefix), "{prefix} at {router:?}");
        }
        assert_eq!(state.table.len(), 90);
    }
}

#[test]
fn a_graph_of_many_ases_finds_all_shortest_paths_whatever_is_cut() {
    for seed in 0..4 {
        let mut net = leaf_spine(seed, 4, 12, true);
        bring_up(&mut net, 0);
        check_against_graph(&net, &BTreeSet::new(), seed);

        let links: Vec<_> = net.links().map(|(link, ..)| link).collect();
        let mut cut: BTreeSet<LinkId> = BTreeSet::new();
        let mut withdrawn = BTreeSet::new();
        for _ in 0..6 {
            for _ in 0..6 {
                let link = *net.dice().pick(&links);
                if cut.insert(link) {
                    net.cut(link);
                }
            }
            let router = RouterId(net.dice().below(16));
            let [prefix, _] = prefixes_of(router);
            if withdrawn.insert(prefix) {
                net.withdraw(router, prefix);
            } else {
                withdrawn.remove(&prefix);
                net.originate(router, prefix);
            }
            net.advance(secs(100));
            check_against_graph(&net, &withdrawn, seed);

            let back: Vec<_> = cut.iter().copied().take(3).collect();
            for link in back {
                cut.remove(&link);
                net.restore(link);
            }
        }
        for link in cut {
            net.restore(link);
        }
        assert!(net.advance_until(secs(200), Net::is_established), "seed {seed}");
        net.advance(secs(5));
        check_against_graph(&net, &withdrawn, seed);
    }
}

#[test]
fn fifty_in_a_full_mesh_agree_and_nobody_passes_on_what_it_heard_inside() {
    let mut first = None;
    for seed in 0..2 {
        let mut net = full_mesh(seed, 50);
        bring_up(&mut net, 0);
        for (router, state) in net.routers() {
            assert_eq!(state.table.len(), 100, "{router:?}");
            let mut inside = state.table.iter().filter(|(p, _)| !prefixes_of(router).contains(p));
            assert!(
                inside.all(|(_, paths)| {
                    paths.len() == 1 && paths[0].attrs.originator_id.is_none()
                }),
                "one path, from its originator itself: {router:?}"
            );
        }
        let answers = answers(&net);
        assert_eq!(*first.get_or_insert(answers.clone()), answers, "seed {seed}");
    }
}

#[test]
fn clients_of_reflectors_learn_from_each_other_and_survive_the_loss_of_one() {
    let mut first = None;
    for seed in 0..3 {
        let mut net = reflectors(seed, 2, 48);
        bring_up(&mut net, 2);
        check_reflected(&net, 2, seed);
        let all = answers(&net);
        assert_eq!(*first.get_or_insert(all.clone()), all, "seed {seed}");

        net.kill(RouterId(0));
        net.advance(secs(2));
        check_reflected(&net, 1, seed);

        net.boot(RouterId(0));
        assert!(net.advance_until(secs(60), Net::is_established), "seed {seed}");
        net.advance(secs(5));
        assert_eq!(answers(&net), all, "seed {seed}");
    }
}

/// Every client has every other's prefixes, with the other's next hop, from this many
/// reflectors.
fn check_reflected(net: &Net, reflectors: usize, seed: u64) {
    let ids: BTreeMap<_, _> =
        net.routers().map(|(id, router)| (id, router.config.router_id)).collect();
    for (router, state) in net.routers().skip(2) {
        assert_eq!(state.table.len(), 96, "{router:?}, seed {seed}");
        for origin in originators(net, 2).into_iter().filter(|origin| *origin != router) {
            let paths = &state.table[&prefixes_of(origin)[0]];
            assert_eq!(paths.len(), reflectors, "{origin:?} at {router:?}, seed {seed}");
            for path in paths {
                assert_eq!(path.attrs.originator_id, Some(ids[&origin]));
                assert_eq!(path.attrs.next_hop.addr, ids[&origin]);
                assert_eq!(path.attrs.cluster_list.len(), 1);
            }
        }
    }
}

#[test]
fn random_accidents_in_a_fabric_leave_no_trace_once_they_are_over() {
    for seed in 100..103 {
        let mut net = leaf_spine(seed, 3, 10, false);
        bring_up(&mut net, 3);
        let before = answers(&net);
        let links: Vec<_> = net.links().map(|(link, ..)| link).collect();
        for _ in 0..60 {
            let link = *net.dice().pick(&links);
            let router = RouterId(net.dice().below(13));
            match net.dice().below(6) {
                0 | 1 => net.cut(link),
                2 | 3 => net.restore(link),
                4 if net.is_running(router) => net.power_off(router),
                _ if net.is_running(router) => net.kill(router),
                _ => net.boot(router),
            }
            let pause = net.dice().duration(&(Duration::ZERO..secs(20)));
            net.advance(pause);
        }
        for link in links {
            net.restore(link);
        }
        for router in 0..13 {
            if !net.is_running(RouterId(router)) {
                net.boot(RouterId(router));
            }
        }
        assert!(net.advance_until(secs(400), Net::is_established), "seed {seed}");
        net.advance(secs(300));
        assert!(net.is_established(), "seed {seed}");
        assert_eq!(answers(&net), before, "seed {seed}");
    }
}

#[test]
fn ten_thousand_quiet_seconds_change_nothing() {
    let mut net = leaf_spine(1, 4, 46, false);
    bring_up(&mut net, 4);
    let (before, log) = (answers(&net), net.router(RouterId(0)).log.len());
    net.advance(secs(10_000));
    assert_eq!(answers(&net), before);
    assert_eq!(net.router(RouterId(0)).log.len(), log);
    assert!(net.links().all(|(link, [a, _], _)| net.state(link, a) == State::Established));
}
