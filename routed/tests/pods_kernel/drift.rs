//! What other programs change of pods' things on the host: named, put right within a tenth of a second,
//! and left alone where it is theirs.

use std::{
    os::fd::AsFd,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use routed::kernel::{netns::Traveller, pods, sysctl};
use routed_core::pod::{
    check::{Aspect, differences},
    verb::Attach,
    wiring::Wiring,
};

use super::{
    DUAL, fixed,
    host::{Host, Pod, attach, on_a_host},
    reach,
};

/// What is done (to the host's end, HOST), what CHECK says of it, and as what it counts once it has been
/// put right; nothing for what is another program's, and stays.
const TAMPERING: &[(&str, &str, Option<Aspect>)] = &[
    ("ip link set HOST down", "is down on the host", Some(Aspect::Up)),
    ("ip link set HOST mtu 1400", "on the host has MTU 1400 instead of 1500", Some(Aspect::Mtu)),
    // Below 1280 the kernel has no IPv6 on it at all.
    ("ip link set HOST mtu 1000", "on the host has MTU 1000 instead of 1500", Some(Aspect::Mtu)),
    (
        "ip link set HOST address 02:00:00:00:00:99",
        "hardware address 02:00:00:00:00:99",
        Some(Aspect::Mac),
    ),
    ("ip link set HOST name stolen", "is now called stolen", Some(Aspect::Pair)),
    ("ip link set HOST group default", "is in link group 0", Some(Aspect::Pair)),
    ("ip link set HOST alias mine", "has lost its alias", Some(Aspect::Pair)),
    (
        "ip link set HOST addrgenmode eui64",
        "makes itself IPv6 addresses",
        Some(Aspect::Advertisements),
    ),
    (
        "ip route delete 10.244.1.1/32",
        "the host has no route 10.244.1.1/32",
        Some(Aspect::HostRoutes),
    ),
    (
        "ip -6 route delete fd00:10:244:1::1/128",
        "the host has no route fd00:10:244:1::1/128",
        Some(Aspect::HostRoutes),
    ),
    ("ip route flush dev HOST", "the host has no route 10.244.1.1/32", Some(Aspect::HostRoutes)),
    (
        "ip route replace 10.244.1.1/32 dev lo proto 132",
        "leads to interface 1, not to the pod",
        Some(Aspect::HostRoutes),
    ),
    (
        "ip neigh delete 10.244.1.1 dev HOST",
        "neighbour 10.244.1.1 at",
        Some(Aspect::HostNeighbours),
    ),
    (
        "ip neigh flush dev HOST nud permanent",
        "neighbour fd00:10:244:1::1 at",
        Some(Aspect::HostNeighbours),
    ),
    (
        "ip neigh replace 10.244.1.1 dev HOST lladdr 02:00:00:00:00:99 nud stale",
        "neighbour 10.244.1.1 at",
        Some(Aspect::HostNeighbours),
    ),
    (
        "sysctl -qw net.ipv4.conf.HOST.forwarding=0",
        "does not forward ipv4",
        Some(Aspect::Forwarding),
    ),
    ("ip route replace blackhole 10.244.1.1/32", "the host has no route 10.244.1.1/32", None),
    (
        "ip route replace 10.244.1.1/32 dev HOST proto static",
        "made by another program (protocol 4)",
        None,
    ),
    (
        "ip neigh replace fd00:10:244:1::1 dev HOST lladdr 02:00:00:00:00:99",
        "neighbour fd00:10:244:1::1 at",
        None,
    ),
    // Seen to for all interfaces at once, by another part of the daemon.
    ("sysctl -qw net.ipv4.ip_forward=0", "does not forward ipv4", None),
    ("sysctl -qw net.ipv6.conf.all.forwarding=0", "does not forward ipv6", None),
];

/// What CHECK would say, found without a daemon.
fn found(pod: &Pod, wiring: &Wiring) -> String {
    let traveller = Traveller::at_home().unwrap();
    let view = pods::view(&traveller, Some(pod.netns.as_fd()), wiring).unwrap();
    let found = differences(wiring, None, &view.picture);
    found.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

async fn repaired(host: &Host) -> u64 {
    host.node.drift().await.unwrap().repaired.values().sum()
}

/// How long it took until nothing differed any more.
async fn time_until_whole(pod: &Pod, wiring: &Wiring, after: &str) -> Duration {
    let start = Instant::now();
    loop {
        let found = found(pod, wiring);
        if found.is_empty() {
            return start.elapsed();
        }
        assert!(start.elapsed() < Duration::from_secs(5), "{after}: {found}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn pod_with_known_addresses(host: &Host) -> (Pod, Wiring) {
    let pod = Pod::new("a");
    let wiring = host.add_as(&pod, Attach { wish: fixed(), ..attach(&pod) }).await.unwrap();
    assert_eq!(found(&pod, &wiring), "");
    (pod, wiring)
}

/// Takes back what tampering has done beyond the pod.
fn mend(host: &Host) {
    for family in bgp::family::Family::ALL {
        sysctl::enable_forwarding(family).unwrap();
    }
    host.on_host("ip route flush root 10.244.0.0/16");
}

#[test]
fn tampering_while_no_daemon_runs_is_named_and_put_right_at_its_start() {
    on_a_host(&DUAL, |mut host| async move {
        for (command, named, repaired) in TAMPERING {
            let (pod, wiring) = pod_with_known_addresses(&host).await;
            host.stop().await;
            host.on_host(&command.replace("HOST", &wiring.host.name));
            let seen = found(&pod, &wiring);
            assert!(seen.contains(named), "{command}: {seen:?}");
            host.restart().await;
            // What the daemon knows of the pod after a restart it knows from this interface.
            let told = ["name", "mtu", "address", "alias", "group"];
            let told = told.iter().any(|what| command.contains(&format!("HOST {what} ")));
            if let (Some(aspect), false) = (repaired, told) {
                time_until_whole(&pod, &wiring, command).await;
                let repaired = host.node.drift().await.unwrap().repaired;
                assert!(repaired[aspect] > 0, "{command}: {repaired:?}");
                reach(&host, &[(&pod, &wiring)]);
            }
            mend(&host);
            host.del(&pod).await;
            // One that was not known again.
            let delete = ["link", "delete", &wiring.host.name];
            let _ = Command::new("ip").args(delete).stderr(Stdio::null()).status().unwrap();
        }
    });
}

#[test]
fn tampering_is_put_right_within_a_tenth_of_a_second() {
    on_a_host(&DUAL, |host| async move {
        let (pod, wiring) = pod_with_known_addresses(&host).await;
        let mut times = Vec::new();
        for (command, _, aspect) in TAMPERING {
            let Some(aspect) = aspect else { continue };
            let before = host.node.drift().await.unwrap().repaired;
            host.on_host(&command.replace("HOST", &wiring.host.name));
            times.push((time_until_whole(&pod, &wiring, command).await, *command));
            let after = host.node.drift().await.unwrap().repaired;
            let count = |all: &std::collections::BTreeMap<_, _>| all.get(aspect).copied();
            assert!(count(&after) > count(&before), "{command}: {after:?}");
            reach(&host, &[(&pod, &wiring)]);
            // Until the next is no fight any more, but another matter.
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        times.sort_unstable();
        println!("{times:#?}");
        // A busy machine may delay one or another.
        assert!(times[times.len() / 2].0 < Duration::from_millis(100), "{times:?}");
        assert_eq!(host.node.drift().await.unwrap().left, 0);
    });
}

#[test]
fn what_belongs_to_others_stays_until_they_take_it_back() {
    on_a_host(&DUAL, |host| async move {
        let (pod, wiring) = pod_with_known_addresses(&host).await;
        for foreign in ["blackhole 10.244.1.1/32", "10.244.1.1/32 dev lo proto static"] {
            host.on_host(&format!("ip route replace {foreign}"));
            let deadline = Instant::now() + Duration::from_secs(5);
            while host.node.drift().await.unwrap().left == 0 {
                assert!(Instant::now() < deadline, "{foreign}");
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            let route = host.on_host("ip route show 10.244.1.1/32");
            assert!(route.contains("blackhole") || route.contains("proto static"), "{route}");
            host.on_host(&format!("ip route delete {foreign}"));
            time_until_whole(&pod, &wiring, foreign).await;
            let deadline = Instant::now() + Duration::from_secs(15);
            while host.node.drift().await.unwrap().left != 0 {
                assert!(Instant::now() < deadline, "{foreign}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        let neighbour = format!(
            "ip neigh replace 10.244.1.1 dev {} lladdr 02:00:00:00:00:99 nud permanent",
            wiring.host.name
        );
        let before = repaired(&host).await;
        host.on_host(&neighbour);
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(repaired(&host).await, before);
        assert!(found(&pod, &wiring).contains("neighbour 10.244.1.1 at"));
    });
}

#[test]
fn pods_that_come_and_go_are_no_drift() {
    on_a_host(&DUAL, |host| async move {
        for round in 0..10 {
            let pod = Pod::new(&format!("p{round}"));
            host.add(&pod).await;
            host.del(&pod).await;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(
            host.node.drift().await.unwrap(),
            routed_core::pod::drift::DriftCounters::default()
        );
    });
}

#[test]
fn two_hundred_pods_flushed_at_once_are_whole_again_soon() {
    on_a_host(&["10.244.1.0/24"], |host| async move {
        let pods: Vec<_> = (0..200).map(|number| Pod::new(&format!("p{number}"))).collect();
        let mut wirings = Vec::new();
        for pod in &pods {
            wirings.push(host.add(pod).await);
        }
        host.on_host("ip route flush proto 132");
        let start = Instant::now();
        while host.on_host("ip route show proto 132").lines().count() < pods.len() {
            assert!(start.elapsed() < Duration::from_secs(10));
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        println!("200 routes after {} ms", start.elapsed().as_millis());
        // A flush goes on while routes are put back, and may take one a second time.
        let repairs = repaired(&host).await;
        assert!((200..300).contains(&repairs), "{repairs}");
        reach(&host, &[(&pods[0], &wirings[0]), (&pods[199], &wirings[199])]);
    });
}
