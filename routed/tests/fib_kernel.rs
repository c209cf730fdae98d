//! Kernel routes against a real kernel: each test in a network namespace of its own, seen by
//! iproute2. Needs root.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics where it stands")]

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    num::NonZeroU32,
    process::{Command, Output, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use bgp::{
    attrs::{Attrs, NextHop},
    family::Family,
    prefix::Prefix,
    rib::{BestChange, BestPath, PeerId, Resolution},
};
use nix::{
    net::if_::if_nametoindex,
    sched::{CloneFlags, unshare},
};
use routed::{
    fib::{self, RibSide},
    kernel::{
        forwarding,
        routes::{Job, start as start_writer},
        sysctl,
        watch::{self, RouteSink},
    },
    peering::RibStopped,
    sources::KernelHandle,
};
use routed_core::fib::{
    Event, Fib, FibConfig, GRACE,
    route::{Hop, Hops, Operation, RouteKey, Target},
    status::{Counters, RouteState},
};
use serde_json::Value;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::sleep,
};

#[path = "fib_kernel/groups.rs"]
mod groups;

/// The daemon's side under test, with the test in the RIB's place.
struct Daemon {
    best: mpsc::UnboundedSender<Event>,
    asker: KernelHandle,
    answers: Answers,
    complete: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

type Answers = Arc<Mutex<BTreeMap<NextHop, Resolution>>>;

struct TestRib {
    news: mpsc::UnboundedReceiver<Event>,
    answers: Answers,
}

impl RibSide for TestRib {
    async fn next(&mut self) -> Result<Event, RibStopped> {
        self.news.recv().await.ok_or(RibStopped)
    }

    async fn answer(
        &mut self,
        next_hop: NextHop,
        resolution: Resolution,
    ) -> Result<(), RibStopped> {
        self.answers.lock().unwrap().insert(next_hop, resolution);
        Ok(())
    }
}

impl Daemon {
    fn start() -> Self {
        Self::with(|_| ())
    }

    fn with(change: impl FnOnce(&mut FibConfig)) -> Self {
        let mut config = FibConfig {
            table: 254,
            protocol: 132,
            metric: None,
            own_ranges: vec![prefix("10.244.1.0/24"), prefix("fd00:244:1::/64")],
            addresses_wander: false,
            learned_routes: true,
            next_hop_groups: true,
            resolve_via_default: false,
            grace: GRACE,
        };
        change(&mut config);
        let (asker, looks) = KernelHandle::new();
        let (best, news) = mpsc::unbounded_channel();
        let (complete, completed) = oneshot::channel();
        let answers = Answers::default();
        let (task, _links) = fib::open(config, looks).unwrap();
        let rib = TestRib { news, answers: Arc::clone(&answers) };
        let task = tokio::spawn(task.run(rib, async {
            if completed.await.is_err() {
                std::future::pending::<()>().await;
            }
        }));
        Self { best, asker, answers, complete: Some(complete), task }
    }

    fn learn(&self, prefixes: impl IntoIterator<Item = Prefix>, next_hops: &[&str]) {
        let path = |next_hop: &&str| BestPath {
            peer: Some(PeerId(1)),
            attrs: Arc::new(Attrs::originated(hop(next_hop))),
            share: 1,
        };
        let paths: Vec<_> = next_hops.iter().map(path).collect();
        let change = |prefix| BestChange { prefix, paths: paths.clone() };
        self.best.send(Event::Best(prefixes.into_iter().map(change).collect())).unwrap();
    }

    /// The same, each next hop from a peer of its own: 1, 2, …
    fn learn_from_each(&self, prefixes: Vec<Prefix>, next_hops: &[&str]) {
        let path = |(peer, next_hop): (u32, &&str)| BestPath {
            peer: Some(PeerId(peer)),
            attrs: Arc::new(Attrs::originated(hop(next_hop))),
            share: 1,
        };
        let paths: Vec<_> = (1..).zip(next_hops).map(path).collect();
        let change = |prefix| BestChange { prefix, paths: paths.clone() };
        self.best.send(Event::Best(prefixes.into_iter().map(change).collect())).unwrap();
    }

    fn ask(&self, next_hops: &[&str]) {
        let next_hops: BTreeSet<_> = next_hops.iter().map(|text| hop(text)).collect();
        self.best.send(Event::NextHops(next_hops)).unwrap();
    }

    fn answer(&self, next_hop: &str) -> Option<Resolution> {
        self.answers.lock().unwrap().get(&hop(next_hop)).copied()
    }

    async fn look<T: Send + 'static>(&self, look: impl FnOnce(&Fib) -> T + Send + 'static) -> T {
        self.asker.ask(look).await.unwrap()
    }

    async fn counters(&self) -> Counters {
        self.look(Fib::counters).await
    }

    async fn count(&self, state: RouteState) -> usize {
        self.look(move |fib| fib.routes().filter(|route| route.state == state).count()).await
    }

    fn complete(&mut self) {
        self.complete.take().unwrap().send(()).unwrap();
    }

    async fn stop(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

/// A next hop; behind a % sign the interface on whose link it is.
fn hop(text: &str) -> NextHop {
    let (addr, interface) = text.split_once('%').map_or((text, None), |(a, b)| (a, Some(b)));
    let scope = interface.and_then(|name| NonZeroU32::new(if_nametoindex(name).unwrap()));
    NextHop { scope, ..NextHop::new(addr.parse().unwrap()) }
}

fn prefix(text: &str) -> Prefix {
    text.parse().unwrap()
}

/// Runs a test on a thread in a new network namespace with the uplinks up1 (10.0.1.2/24,
/// fd00:1::2/64) and up2 (10.0.2.2/24, fd00:2::2/64), whose other ends are far1 and far2. The
/// namespace goes with the thread.
fn in_netns<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send + 'static) {
    let thread = thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).expect("a new network namespace; run the test as root");
        ip("link set lo up");
        sysctl::keep_groups_quiet().unwrap();
        for number in [1, 2] {
            ip(&format!("link add up{number} type veth peer name far{number}"));
            ip(&format!("link set far{number} up"));
            ip(&format!("link set up{number} up"));
            ip(&format!("address add 10.0.{number}.2/24 dev up{number}"));
            ip(&format!("address add fd00:{number}::2/64 dev up{number} nodad"));
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(test());
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

fn try_ip(arguments: &str) -> Output {
    Command::new("ip").args(arguments.split_whitespace()).output().expect("iproute2 is installed")
}

fn ip(arguments: &str) -> String {
    let output = try_ip(arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {arguments}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// Routes as iproute2 shows them: destination, then a text of where it leads.
fn routes(selector: &str) -> BTreeMap<String, String> {
    let mut routes = BTreeMap::new();
    let next_hops = next_hops();
    for family in ["-4", "-6"] {
        let json: Vec<Value> =
            serde_json::from_str(&ip(&format!("{family} -j route show {selector}"))).unwrap();
        routes.extend(json.iter().map(|route| (text(&route["dst"]), target(route, &next_hops))));
    }
    routes
}

fn target(route: &Value, next_hops: &BTreeMap<u64, Value>) -> String {
    if let Some(kind) = route["type"].as_str() {
        return kind.to_owned();
    }
    if let Some(id) = route["nhid"].as_u64() {
        return group(id, next_hops);
    }
    let mut hops: Vec<_> = match route["nexthops"].as_array() {
        Some(hops) => {
            hops.iter().map(|hop| format!("{} {}", one_hop(hop), hop["weight"])).collect()
        }
        None => vec![one_hop(route)],
    };
    hops.sort();
    hops.join(", ")
}

/// The kernel's next-hop objects, by id.
fn next_hops() -> BTreeMap<u64, Value> {
    let all: Vec<Value> = serde_json::from_str(&ip("-j nexthop show")).unwrap();
    all.into_iter().map(|object| (object["id"].as_u64().unwrap(), object)).collect()
}

/// Where the members of a group lead, each with its weight if there are several.
fn group(id: u64, next_hops: &BTreeMap<u64, Value>) -> String {
    // It may have gone since the route was listed.
    let group = next_hops.get(&id).and_then(|object| object["group"].as_array());
    let members = group.map_or(&[][..], Vec::as_slice);
    let member = |member: &Value| {
        let hop = next_hops.get(&member["id"].as_u64().unwrap()).map(one_hop).unwrap_or_default();
        let weight = member["weight"].as_u64().unwrap_or(1);
        if members.len() == 1 { hop } else { format!("{hop} {weight}") }
    };
    let mut hops: Vec<_> = members.iter().map(member).collect();
    hops.sort();
    hops.join(", ")
}

fn one_hop(hop: &Value) -> String {
    let via = if hop["via"].is_object() { &hop["via"]["host"] } else { &hop["gateway"] };
    format!("{} {}", text(via), text(&hop["dev"]))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or("-").to_owned()
}

fn ours() -> BTreeMap<String, String> {
    routes("proto 132")
}

/// Waits until a condition holds, for five seconds.
async fn eventually<T: std::fmt::Debug>(mut look: impl FnMut() -> T, wanted: impl Fn(&T) -> bool) {
    let end = Instant::now() + Duration::from_secs(5);
    loop {
        let seen = look();
        if wanted(&seen) {
            return;
        }
        assert!(Instant::now() < end, "still {seen:?}");
        sleep(Duration::from_millis(10)).await;
    }
}

async fn eventually_leads(destination: &str, target: Option<&str>) {
    let leads = || routes("table main").get(destination).cloned();
    eventually(leads, |seen| seen.as_deref() == target).await;
}

#[test]
fn learned_routes_and_blackholes_are_in_the_kernel_as_decided() {
    in_netns(|| async {
        let daemon = Daemon::start();
        daemon.learn([prefix("10.200.0.0/16")], &["10.0.1.1"]);
        daemon.learn([prefix("0.0.0.0/0")], &["10.0.2.1"]);
        daemon.learn([prefix("10.201.0.0/16")], &["10.0.2.1", "10.0.1.1"]);
        daemon.learn([prefix("fd99:1::/64")], &["fd00:1::1"]);
        daemon.learn([prefix("fd99:2::/64")], &["fd00:1::1", "fd00:2::1"]);
        daemon.learn([prefix("10.202.0.0/16")], &["fd00:1::1"]);
        daemon.learn([prefix("10.203.0.0/16")], &["10.0.1.1", "fd00:2::1"]);
        let expected = BTreeMap::from(
            [
                ("10.244.1.0/24", "blackhole"),
                ("fd00:244:1::/64", "blackhole"),
                ("10.200.0.0/16", "10.0.1.1 up1"),
                ("default", "10.0.2.1 up2"),
                ("10.201.0.0/16", "10.0.1.1 up1 1, 10.0.2.1 up2 1"),
                ("fd99:1::/64", "fd00:1::1 up1"),
                ("fd99:2::/64", "fd00:1::1 up1 1, fd00:2::1 up2 1"),
                ("10.202.0.0/16", "fd00:1::1 up1"),
                ("10.203.0.0/16", "10.0.1.1 up1 1, fd00:2::1 up2 1"),
            ]
            .map(|(destination, target)| (destination.to_owned(), target.to_owned())),
        );
        eventually(ours, |seen| *seen == expected).await;
        eventually_counted(&daemon, RouteState::Installed, expected.len()).await;
    });
}

/// Waits until the machine believes that so many routes are in a state.
async fn eventually_counted(daemon: &Daemon, state: RouteState, wanted: usize) {
    let end = Instant::now() + Duration::from_secs(5);
    loop {
        let count = daemon.count(state).await;
        if count == wanted {
            return;
        }
        assert!(Instant::now() < end, "{count} routes are {state}, not {wanted}");
        sleep(Duration::from_millis(10)).await;
    }
}

#[test]
fn paths_come_and_go_in_place_and_withdrawn_routes_are_deleted() {
    in_netns(|| async {
        let mut daemon = Daemon::start();
        daemon.complete();
        for (destination, near, far, both) in [
            ("10.200.0.0/16", "10.0.1.1", "10.0.2.1", "10.0.1.1 up1 1, 10.0.2.1 up2 1"),
            ("fd99:1::/64", "fd00:1::1", "fd00:2::1", "fd00:1::1 up1 1, fd00:2::1 up2 1"),
        ] {
            let learned = [prefix(destination)];
            daemon.learn(learned, &[near]);
            eventually_leads(destination, Some(&format!("{near} up1"))).await;
            let monitor = Monitor::start();
            daemon.learn(learned, &[near, far]);
            eventually_leads(destination, Some(both)).await;
            daemon.learn(learned, &[far]);
            eventually_leads(destination, Some(&format!("{far} up2"))).await;
            assert_eq!(monitor.deletions(), [""; 0], "never deleted to be added again");
            daemon.learn(learned, &[]);
            eventually_leads(destination, None).await;
        }
    });
}

/// `ip monitor` in the background.
struct Monitor(std::process::Child);

impl Drop for Monitor {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Monitor {
    fn start() -> Self {
        Self::of(&["route"])
    }

    fn of(what: &[&str]) -> Self {
        let mut command = Command::new("ip");
        let child = command.arg("monitor").args(what).stdout(Stdio::piped()).spawn().unwrap();
        // It says nothing when it listens.
        thread::sleep(Duration::from_millis(200));
        Self(child)
    }

    /// Lines about deletions of routes in the main table.
    fn deletions(self) -> Vec<String> {
        let deleted = |line: &String| line.starts_with("Deleted") && !line.contains("table local");
        self.lines().into_iter().filter(deleted).collect()
    }

    fn lines(mut self) -> Vec<String> {
        thread::sleep(Duration::from_millis(100));
        self.0.kill().unwrap();
        let lines = std::io::read_to_string(self.0.stdout.take().unwrap()).unwrap();
        lines.lines().map(str::to_owned).collect()
    }
}

#[test]
fn what_others_delete_or_change_is_restored_at_once() {
    in_netns(|| async {
        let daemon = Daemon::start();
        daemon.learn([prefix("10.200.0.0/16")], &["10.0.1.1", "10.0.2.1"]);
        daemon.learn([prefix("fd99:1::/64")], &["fd00:1::1", "fd00:2::1"]);
        eventually(ours, |seen| seen.len() == 4).await;
        let before = ours();
        for tampering in [
            "route del 10.200.0.0/16",
            "route del blackhole 10.244.1.0/24",
            "-6 route del fd99:1::/64",
            "route replace 10.200.0.0/16 via 10.0.2.1 proto 132",
            "-6 route replace fd99:1::/64 via fd00:1::9 proto 132",
            "-6 route append fd99:1::/64 via fd00:1::9 proto 132",
            "route append 10.200.0.0/16 via 10.0.2.1 proto 132",
            "-6 route flush fd99:1::/64",
            "-4 route flush proto 132",
            "-6 route flush proto 132",
        ] {
            let repaired = daemon.counters().await;
            ip(tampering);
            let mended = Instant::now();
            eventually(ours, |seen| *seen == before).await;
            println!("{tampering}: mended after {:?}", mended.elapsed());
            if tampering.starts_with("route append") {
                // Not only with the next full picture, which may be half a second away.
                assert!(mended.elapsed() < Duration::from_millis(400), "{:?}", mended.elapsed());
            }
            let end = Instant::now() + Duration::from_secs(5);
            while daemon.counters().await.repaired == repaired.repaired {
                assert!(Instant::now() < end, "{tampering}: not counted as repaired");
                sleep(Duration::from_millis(10)).await;
            }
        }
    });
}

#[test]
fn forwarding_that_others_switch_off_is_put_right_for_the_families_kept() {
    in_netns(|| async {
        let read = |key: &str| std::fs::read_to_string(format!("/proc/sys/net/{key}")).unwrap();
        let off = |key: &str| std::fs::write(format!("/proc/sys/net/{key}"), "0").unwrap();
        let (four, six) = ("ipv4/ip_forward", "ipv6/conf/all/forwarding");
        sysctl::enable_forwarding(Family::Ipv4Unicast).unwrap();
        let (mended, counted) = std::sync::mpsc::channel();
        let keep = |families: &[Family]| {
            let mended = mended.clone();
            forwarding::keep(families.to_vec(), move |family| mended.send(family).unwrap()).unwrap()
        };
        let kept = keep(&[Family::Ipv4Unicast]);
        for _ in 0..3 {
            let start = Instant::now();
            off(four);
            eventually(|| read(four), |seen| seen == "1\n").await;
            println!("forwarding is on again after {:?}", start.elapsed());
            assert_eq!(counted.recv_timeout(Duration::from_secs(5)), Ok(Family::Ipv4Unicast));
        }
        sleep(Duration::from_millis(200)).await;
        assert_eq!(read(six), "0\n", "not asked for");
        drop(kept);

        let _kept = keep(&Family::ALL);
        eventually(|| read(six), |seen| seen == "1\n").await;
        off(six);
        eventually(|| read(six), |seen| seen == "1\n").await;
    });
}

#[test]
fn stray_routes_with_our_number_are_removed_and_others_are_kept() {
    in_netns(|| async {
        ip("route add 10.210.0.0/16 via 10.0.1.1 proto 132 table 100");
        ip("route add 10.213.0.0/16 via 10.0.1.1 proto 133 table 100");
        ip("route add 10.244.1.7/32 dev up1 scope link proto 133");
        let mut daemon = Daemon::start();
        daemon.complete();
        ip("route add 10.211.0.0/16 via 10.0.1.1 proto 132");
        ip("-6 route add fd98::/64 via fd00:1::1 proto 132");
        ip("route add 10.212.0.0/16 via 10.0.1.1 proto static");
        let ours_left = || routes("proto 132 table all").len();
        eventually(ours_left, |left| *left == 2).await;
        assert_eq!(routes("proto 133 table all").len(), 2);
        assert_eq!(routes("proto static").len(), 1);
    });
}

#[test]
fn foreign_route_is_kept_and_ours_follows_when_it_is_gone() {
    in_netns(|| async {
        ip("route add 10.200.0.0/16 via 10.0.2.1 proto static");
        ip("-6 route add fd99:1::/64 via fd00:2::1 metric 1024 proto static");
        let daemon = Daemon::start();
        daemon.learn([prefix("10.200.0.0/16")], &["10.0.1.1"]);
        daemon.learn([prefix("fd99:1::/64")], &["fd00:1::1"]);
        daemon.learn([prefix("10.201.0.0/16"), prefix("10.202.0.0/16")], &["10.0.1.1"]);
        eventually_leads("10.202.0.0/16", Some("10.0.1.1 up1")).await;
        eventually_counted(&daemon, RouteState::Conflict, 2).await;
        assert_eq!(routes("proto static").len(), 2);
        assert!(!ours().contains_key("10.200.0.0/16"), "{:?}", ours());

        // Someone takes what was ours. (Before we hear of it we could only overwrite it in return.)
        ip("route replace 10.201.0.0/16 via 10.0.2.1 proto static");
        eventually_counted(&daemon, RouteState::Conflict, 3).await;
        daemon.learn([prefix("10.201.0.0/16")], &["10.0.1.1", "10.0.2.1"]);
        sleep(Duration::from_millis(300)).await;
        eventually_counted(&daemon, RouteState::Conflict, 3).await;
        assert!(routes("proto static").contains_key("10.201.0.0/16"));

        ip("route del 10.200.0.0/16 proto static");
        ip("-6 route del fd99:1::/64 proto static");
        ip("route del 10.201.0.0/16 proto static");
        eventually_leads("10.200.0.0/16", Some("10.0.1.1 up1")).await;
        eventually_leads("fd99:1::/64", Some("fd00:1::1 up1")).await;
        eventually_leads("10.201.0.0/16", Some("10.0.1.1 up1 1, 10.0.2.1 up2 1")).await;
        eventually_counted(&daemon, RouteState::Conflict, 0).await;
    });
}

#[test]
fn lost_carrier_takes_one_hop_out_and_the_rib_is_told() {
    in_netns(|| async {
        let daemon = Daemon::start();
        daemon.ask(&["10.0.1.1", "fd00:1::1", "10.9.9.9"]);
        daemon.learn([prefix("10.200.0.0/16")], &["10.0.1.1", "10.0.2.1"]);
        daemon.learn([prefix("fd99:1::/64")], &["fd00:1::1", "fd00:2::1"]);
        eventually_leads("10.200.0.0/16", Some("10.0.1.1 up1 1, 10.0.2.1 up2 1")).await;
        let reachable = Some(Resolution::Reachable { cost: 0 });
        eventually(|| daemon.answer("10.0.1.1"), |answer| *answer == reachable).await;
        eventually(|| daemon.answer("fd00:1::1"), |answer| *answer == reachable).await;
        assert_eq!(daemon.answer("10.9.9.9"), Some(Resolution::Unreachable));

        ip("link set far1 down");
        let cut = Instant::now();
        eventually_leads("10.200.0.0/16", Some("10.0.2.1 up2")).await;
        eventually_leads("fd99:1::/64", Some("fd00:2::1 up2")).await;
        println!("both families moved within {:?}", cut.elapsed());
        // The kernel is quicker than its notification.
        let unreachable = Some(Resolution::Unreachable);
        eventually(|| daemon.answer("10.0.1.1"), |answer| *answer == unreachable).await;

        ip("link set far1 up");
        eventually_leads("10.200.0.0/16", Some("10.0.1.1 up1 1, 10.0.2.1 up2 1")).await;
        eventually_leads("fd99:1::/64", Some("fd00:1::1 up1 1, fd00:2::1 up2 1")).await;
        eventually(|| daemon.answer("10.0.1.1"), |answer| *answer == reachable).await;
    });
}

#[test]
fn rfc8950_neighbours_by_link_local_address_carry_both_families_and_follow_their_link() {
    in_netns(|| async {
        // The same address on both links, and no IPv4 address on either.
        ip("address del 10.0.1.2/24 dev up1");
        ip("address del 10.0.2.2/24 dev up2");
        let start = || {
            let mut daemon = Daemon::start();
            daemon.complete();
            for destination in ["10.200.0.0/16", "fd99:1::/64"] {
                daemon.learn([prefix(destination)], &["fe80::1%up1"]);
            }
            for destination in ["10.201.0.0/16", "0.0.0.0/0", "fd99:2::/64"] {
                daemon.learn([prefix(destination)], &["fe80::1%up2", "fe80::1%up1"]);
            }
            daemon.learn([prefix("10.202.0.0/16")], &["fd00:2::1", "fe80::1%up1"]);
            daemon
        };
        let daemon = start();
        eventually(ours, |seen| seen.len() == 8).await;
        let before = ours();
        let both = "fe80::1 up1 1, fe80::1 up2 1";
        for (destination, target) in [
            ("10.200.0.0/16", "fe80::1 up1"),
            ("fd99:1::/64", "fe80::1 up1"),
            ("10.201.0.0/16", both),
            ("default", both),
            ("fd99:2::/64", both),
            ("10.202.0.0/16", "fd00:2::1 up2 1, fe80::1 up1 1"),
        ] {
            assert_eq!(before.get(destination).map(String::as_str), Some(target), "{destination}");
        }
        daemon.ask(&["fe80::1%up1", "fe80::1%up2"]);
        let reachable = Some(Resolution::Reachable { cost: 0 });
        eventually(|| daemon.answer("fe80::1%up1"), |answer| *answer == reachable).await;

        ip("link set far1 down");
        eventually_leads("10.201.0.0/16", Some("fe80::1 up2")).await;
        eventually_leads("fd99:2::/64", Some("fe80::1 up2")).await;
        eventually_leads("10.202.0.0/16", Some("fd00:2::1 up2")).await;
        let answers = || ["fe80::1%up1", "fe80::1%up2"].map(|next_hop| daemon.answer(next_hop));
        eventually(answers, |seen| *seen == [Some(Resolution::Unreachable), reachable]).await;
        ip("link set far1 up");
        eventually(ours, |seen| *seen == before).await;

        // An IPv4 address that comes and goes takes the kernel's IPv4 routes with it.
        ip("address add 10.0.1.2/24 dev up1");
        ip("address del 10.0.1.2/24 dev up1");
        eventually(ours, |seen| *seen == before).await;

        daemon.stop().await;
        let daemon = start();
        eventually_counted(&daemon, RouteState::Installed, before.len()).await;
        assert_eq!((ours(), daemon.counters().await.written), (before, 0));
    });
}

#[test]
fn weights_are_in_the_kernel_and_read_back_as_written() {
    in_netns(|| async {
        let hop = |gateway: &str, interface: &str| {
            let ifindex = if_nametoindex(interface).unwrap();
            Hop::new(Some(gateway.parse().unwrap()), ifindex)
        };
        let hops = || {
            Hops::weighed([
                (hop("10.0.1.1", "up1"), 1_000_000_000),
                (hop("fe80::1", "up1"), 2_000_000_000),
                (hop("fe80::1", "up2"), u32::MAX),
            ])
        };
        let six = || Hops::weighed([(hop("fe80::1", "up1"), 100), (hop("fe80::1", "up2"), 25_600)]);
        let key = |text: &str| RouteKey::new(254, prefix(text), None);
        let wanted = [
            (key("10.200.0.0/16"), Target::Forward(hops())),
            (key("fd99:1::/64"), Target::Forward(six())),
        ];
        let mut writer = start_writer(132).unwrap();
        let adds: Arc<[_]> =
            wanted.iter().map(|(key, target)| Operation::Add(*key, target.clone())).collect();
        writer.jobs.send(Job::Write(Arc::clone(&adds))).await.unwrap();
        let written = Event::Written { operations: adds, failures: Vec::new() };
        assert_eq!(writer.answers.recv().await, Some(written));
        assert_eq!(ours()["10.200.0.0/16"], "10.0.1.1 up1 60, fe80::1 up1 119, fe80::1 up2 256");
        assert_eq!(ours()["fd99:1::/64"], "fe80::1 up1 1, fe80::1 up2 256");

        writer.jobs.send(Job::Dump).await.unwrap();
        let Some(Event::Dumped { routes, .. }) = writer.answers.recv().await else {
            panic!("no dump")
        };
        for (key, target) in wanted {
            let read = routes.iter().find(|route| route.key == key).map(|route| &route.target);
            assert_eq!(read, Some(&target));
        }
    });
}

#[test]
fn routes_come_back_after_their_interface_was_down_or_lost_its_address() {
    in_netns(|| async {
        let daemon = Daemon::start();
        daemon.learn([prefix("10.200.0.0/16"), prefix("10.201.0.0/16")], &["10.0.1.1"]);
        daemon.learn([prefix("10.202.0.0/16")], &["10.0.1.1", "10.0.2.1"]);
        daemon.learn([prefix("fd99:1::/64")], &["fd00:1::1"]);
        eventually(ours, |seen| seen.len() == 6).await;
        let before = ours();

        ip("link set up1 down");
        eventually_leads("10.202.0.0/16", Some("10.0.2.1 up2")).await;
        assert!(!ours().contains_key("10.200.0.0/16"), "the kernel dropped it");
        ip("link set up1 up");
        // The kernel drops IPv6 addresses with the interface.
        ip("address add fd00:1::2/64 dev up1 nodad");
        eventually(ours, |seen| *seen == before).await;

        ip("address del 10.0.1.2/24 dev up1");
        eventually_leads("10.202.0.0/16", Some("10.0.2.1 up2")).await;
        ip("address add 10.0.1.2/24 dev up1");
        eventually(ours, |seen| *seen == before).await;

        // And both faster than anyone could follow.
        ip("link set up1 down");
        ip("link set up1 up");
        ip("address add fd00:1::2/64 dev up1 nodad");
        eventually(ours, |seen| *seen == before).await;
    });
}

#[test]
fn next_hop_behind_a_static_route_follows_it() {
    in_netns(|| async {
        let daemon = Daemon::start();
        daemon.ask(&["192.0.2.7"]);
        daemon.learn([prefix("10.200.0.0/16")], &["192.0.2.7"]);
        eventually(|| daemon.answer("192.0.2.7"), Option::is_some).await;
        assert_eq!(daemon.answer("192.0.2.7"), Some(Resolution::Unreachable));

        ip("route add 192.0.2.0/24 via 10.0.1.1 metric 20");
        eventually_leads("10.200.0.0/16", Some("10.0.1.1 up1")).await;
        assert_eq!(daemon.answer("192.0.2.7"), Some(Resolution::Reachable { cost: 20 }));
        ip("route add 192.0.2.7/32 via 10.0.2.1");
        eventually_leads("10.200.0.0/16", Some("10.0.2.1 up2")).await;
        assert_eq!(daemon.answer("192.0.2.7"), Some(Resolution::Reachable { cost: 1 }));
    });
}

#[test]
fn restarted_daemon_adopts_routes_without_touching_them() {
    in_netns(|| async {
        let daemon = Daemon::start();
        let kept = [prefix("10.200.0.0/16"), prefix("fd99:1::/64")];
        daemon.learn([kept[0], prefix("10.201.0.0/16")], &["10.0.1.1", "10.0.2.1"]);
        daemon.learn([kept[1]], &["fd00:1::1", "fd00:2::1"]);
        eventually(ours, |seen| seen.len() == 5).await;
        let before = ours();
        daemon.stop().await;
        assert_eq!(ours(), before);

        let monitor = Monitor::start();
        let mut daemon = Daemon::start();
        sleep(Duration::from_secs(1)).await;
        assert_eq!(ours(), before);
        daemon.learn([kept[0]], &["10.0.1.1", "10.0.2.1"]);
        daemon.learn([kept[1]], &["fd00:1::1", "fd00:2::1"]);
        sleep(Duration::from_millis(200)).await;
        assert_eq!(daemon.counters().await.written, 0, "there was nothing to change");
        assert_eq!(monitor.deletions(), [""; 0]);

        daemon.complete();
        eventually_leads("10.201.0.0/16", None).await;
        assert_eq!(ours().len(), 4);
    });
}

#[test]
fn five_thousand_routes_are_installed_flushed_restored_and_withdrawn() {
    in_netns(|| async {
        let mut daemon = Daemon::start();
        daemon.complete();
        let all: Vec<_> = (0..5000u32)
            .map(|number| {
                let [_, _, high, low] = number.to_be_bytes();
                Prefix::new(IpAddr::from([20 + high, low, 0, 0]), 24).unwrap()
            })
            .collect();
        let count = |selector: &str| ip(&format!("-4 -o route show {selector}")).lines().count();
        let start = Instant::now();
        daemon.learn(all.clone(), &["10.0.1.1", "10.0.2.1"]);
        eventually(|| count("proto 132"), |count| *count == 5001).await;
        println!("installed within {:?}", start.elapsed());

        let start = Instant::now();
        daemon.learn(all.clone(), &["10.0.2.1"]);
        let changed = || {
            assert_eq!(count("proto 132"), 5001, "none is missing at any moment");
            let routes: Vec<Value> =
                serde_json::from_str(&ip("-4 -j route show proto 132")).unwrap();
            let groups: BTreeSet<_> =
                routes.iter().filter_map(|route| route["nhid"].as_u64()).collect();
            let next_hops = next_hops();
            groups.into_iter().map(|id| group(id, &next_hops)).collect::<Vec<_>>()
        };
        eventually(changed, |groups| *groups == ["10.0.2.1 up2"]).await;
        println!("changed within {:?}", start.elapsed());
        let counters = daemon.counters().await;
        assert_eq!((counters.repaired, counters.resyncs), (0, 0), "our own changes are no news");

        let start = Instant::now();
        ip("-4 route flush proto 132");
        eventually(|| count("proto 132"), |count| *count == 5001).await;
        println!("flushed and restored within {:?}", start.elapsed());

        let start = Instant::now();
        daemon.learn(all, &[]);
        eventually(|| count("proto 132"), |count| *count == 1).await;
        println!("withdrawn within {:?}", start.elapsed());
        assert_eq!(daemon.counters().await.failed, 0);
    });
}

#[test]
fn watch_says_so_when_the_kernel_had_to_drop_notifications() {
    in_netns(|| async {
        let (events, mut received) = mpsc::channel(1);
        let links = watch::start(Some(RouteSink { events, ignore_port: 1 })).unwrap();
        assert_eq!(links.borrow().by_name("up1").map(|link| link.carrier), Some(true));

        // 100,000 changes while nobody reads.
        let batch: String = (0..100_000u32)
            .map(|number| {
                let [_, high, middle, low] = number.to_be_bytes();
                format!("route add {}.{middle}.{low}.0/24 via 10.0.1.1\n", 20 + high)
            })
            .collect();
        let mut child =
            Command::new("ip").args(["-batch", "-"]).stdin(Stdio::piped()).spawn().unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), batch.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
        ip("link set far1 down");

        let mut overrun = false;
        while !overrun {
            let events = received.recv().await.unwrap();
            overrun = events.contains(&Event::Overrun);
        }
        assert_eq!(links.borrow().by_name("up1").map(|link| link.carrier), Some(false));
    });
}
