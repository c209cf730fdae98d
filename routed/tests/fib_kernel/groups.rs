//! Next-hop groups in a real kernel.

use super::*;

fn objects(selector: &str) -> Vec<Value> {
    serde_json::from_str(&ip(&format!("-j nexthop show {selector}"))).unwrap()
}

/// Ids of our next-hop objects, hops and groups.
fn ids() -> BTreeSet<u64> {
    objects("proto 132").iter().filter_map(|object| object["id"].as_u64()).collect()
}

fn many(count: u32) -> Vec<Prefix> {
    let nth = |number: u32| {
        let [_, _, high, low] = number.to_be_bytes();
        Prefix::new(IpAddr::from([20 + high, low, 0, 0]), 24).unwrap()
    };
    (0..count).map(nth).collect()
}

/// A daemon with this many routes through both neighbours, in the kernel.
async fn with_routes(count: u32) -> Daemon {
    let mut daemon = Daemon::start();
    daemon.complete();
    daemon.learn_from_each(many(count), &["10.0.1.1", "10.0.2.1"]);
    let installed = usize::try_from(count).unwrap() + 2;
    eventually_counted(&daemon, RouteState::Installed, installed).await;
    daemon
}

#[test]
fn lost_neighbour_is_one_change_for_ten_thousand_routes() {
    in_netns(|| async {
        let daemon = with_routes(10_000).await;
        let before = daemon.counters().await;
        let route: Value = serde_json::from_str(&ip("-j route show 20.0.0.0/24")).unwrap();
        let id = route[0]["nhid"].as_u64().unwrap();
        assert_eq!(group(id, &next_hops()), "10.0.1.1 up1 1, 10.0.2.1 up2 1");

        let monitor = Monitor::of(&["nexthop"]);
        daemon.best.send(Event::Lost([PeerId(1)].into())).unwrap();
        let lost = Instant::now();
        let leads = || group(id, &next_hops());
        eventually(leads, |hops| hops == "10.0.2.1 up2").await;
        println!("10,000 routes moved within {:?}, `ip` included", lost.elapsed());
        let lines = monitor.lines();
        let (groups, others): (Vec<_>, Vec<_>) =
            lines.iter().partition(|line| line.contains("group"));
        assert_eq!(groups.len(), 1, "{lines:?}");
        assert!(others.len() <= 1, "the hop that no group has any more: {lines:?}");
        let now = daemon.counters().await;
        assert_eq!((now.written, now.deleted), (before.written, before.deleted), "no route");
    });
}

#[test]
fn lost_carrier_leaves_groups_with_the_other_leg_and_comes_back_into_them() {
    in_netns(|| async {
        let daemon = with_routes(1000).await;
        let before = (ids(), daemon.counters().await);
        ip("link set far1 down");
        eventually_leads("20.0.0.0/24", Some("10.0.2.1 up2")).await;
        ip("link set far1 up");
        eventually_leads("20.0.0.0/24", Some("10.0.1.1 up1 1, 10.0.2.1 up2 1")).await;
        // The full picture that is taken to be sure finds nothing amiss.
        sleep(Duration::from_millis(600)).await;
        let Counters { resyncs, .. } = daemon.counters().await;
        let counters = Counters { resyncs: before.1.resyncs, ..daemon.counters().await };
        assert_eq!((ids().len(), counters), (before.0.len(), before.1));
        assert!(resyncs > before.1.resyncs);
    });
}

#[test]
fn what_others_do_to_our_groups_is_put_right_with_the_routes() {
    in_netns(|| async {
        let daemon = with_routes(100).await;
        daemon.learn([prefix("fd99:1::/64")], &["fd00:1::1", "fd00:2::1"]);
        eventually(ours, |seen| seen.len() == 103).await;
        let before = (ours(), ids());
        let of = |destination: &str| {
            let family = if destination.contains(':') { "-6" } else { "-4" };
            let routes: Vec<Value> =
                serde_json::from_str(&ip(&format!("{family} -j route show {destination}")))
                    .unwrap();
            routes[0]["nhid"].as_u64().unwrap()
        };
        for tampering in ["flush", "group", "group6", "hop", "replace", "link"] {
            let (four, six) = (of("20.0.0.0/24"), of("fd99:1::/64"));
            let group: Value =
                serde_json::from_str(&ip(&format!("-j nexthop get id {four}"))).unwrap();
            let hop = group[0]["group"][0]["id"].as_u64().unwrap();
            let repaired = daemon.look(Fib::group_counters).await.repaired;
            match tampering {
                "flush" => drop(ip("nexthop flush proto 132")),
                "group" => drop(ip(&format!("nexthop del id {four}"))),
                "group6" => drop(ip(&format!("nexthop del id {six}"))),
                "hop" => drop(ip(&format!("nexthop del id {hop}"))),
                "replace" => drop(ip(&format!("nexthop replace id {four} group {hop} proto 132"))),
                _ => {
                    ip("link set up1 down");
                    ip("link set up1 up");
                    ip("address add fd00:1::2/64 dev up1 nodad");
                }
            }
            let start = Instant::now();
            eventually(ours, |seen| *seen == before.0).await;
            println!("{tampering}: mended after {:?}, `ip` included", start.elapsed());
            let now = daemon.look(Fib::group_counters).await.repaired;
            assert_eq!(now > repaired, tampering != "link", "{tampering}: counted as repaired");
            eventually(ids, |seen| seen.len() == before.1.len()).await;
        }
    });
}

#[test]
fn restarted_daemon_takes_groups_over_removes_leftovers_and_leaves_foreign_ones() {
    in_netns(|| async {
        let daemon = with_routes(100).await;
        let before = (ours(), ids());
        daemon.stop().await;
        ip("nexthop add id 1320000500 via 10.0.1.9 dev up1 proto 132");
        ip("nexthop add id 1320000501 via 10.0.1.9 dev up1 proto static");
        let monitor = Monitor::of(&["nexthop", "route"]);
        let mut daemon = Daemon::start();
        daemon.learn_from_each(many(100), &["10.0.1.1", "10.0.2.1"]);
        eventually_counted(&daemon, RouteState::Installed, 102).await;
        assert_eq!(monitor.lines(), [""; 0]);
        daemon.complete();
        eventually(ids, |seen| *seen == before.1).await;
        assert_eq!(ours(), before.0);
        assert_eq!(objects("id 1320000501").len(), 1);
    });
}

#[test]
fn routes_of_an_earlier_version_move_to_groups_in_place_and_back() {
    in_netns(|| async {
        let learn = |daemon: &Daemon| {
            daemon.learn([prefix("10.200.0.0/16")], &["10.0.1.1", "10.0.2.1"]);
            daemon.learn([prefix("fd99:1::/64")], &["fd00:1::1", "fd00:2::1"]);
        };
        let mut shown = None;
        for next_hop_groups in [false, true, false] {
            let monitor = Monitor::start();
            let mut daemon = Daemon::with(|config| config.next_hop_groups = next_hop_groups);
            learn(&daemon);
            daemon.complete();
            eventually(ids, |ids| ids.is_empty() != next_hop_groups).await;
            eventually_counted(&daemon, RouteState::Installed, 4).await;
            assert_eq!(monitor.deletions(), [""; 0]);
            let routes = ours();
            assert_eq!(*shown.get_or_insert(routes.clone()), routes);
            daemon.stop().await;
        }
    });
}
