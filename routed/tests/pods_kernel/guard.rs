//! What pods cannot do: send as others, answer for others, be a router, reach the daemon; and that
//! the rules which see to it come back when somebody has touched them.

use std::{
    net::{Ipv6Addr, SocketAddrV6, TcpListener, TcpStream},
    os::fd::AsFd,
    time::{Duration, Instant},
};

use routed::kernel::netns::Traveller;
use routed_core::pod::{
    Settings,
    verb::{Reply, Request},
};

use super::{
    DUAL,
    host::{Host, Pod, on_a_host},
    reach,
};

/// Packets that the rules have dropped so far.
fn dropped(host: &Host) -> u64 {
    let table = host.on_host("nft list table inet slash32");
    let counters = table.split("counter packets ").skip(1);
    counters.map(|rest| rest.split(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}

#[test]
fn pod_sends_from_no_address_but_its_own() {
    on_a_host(&DUAL, |host| async move {
        let [a, b] = ["a", "b"].map(Pod::new);
        let (one, two) = (host.add(&a).await, host.add(&b).await);
        for (own, node, strange) in [
            (one.lease.ipv4.unwrap().to_string(), "192.0.2.1", "10.9.9.9/32"),
            (one.lease.ipv4.unwrap().to_string(), "192.0.2.1", "10.244.1.2/32"),
            (one.lease.ipv6.unwrap().to_string(), "2001:db8::1", "fd09::9/128"),
            (one.lease.ipv6.unwrap().to_string(), "2001:db8::1", "fd00:10:244:1::2/128"),
        ] {
            host.inside(&a, &format!("ip address add {strange} dev eth0 nodad")).unwrap();
            let strange = strange.split('/').next().unwrap();
            let before = dropped(&host);
            let ping = |from: &str| host.inside(&a, &format!("ping -c 1 -W 1 -n -I {from} {node}"));
            assert!(ping(strange).is_err(), "{strange}");
            assert!(dropped(&host) > before, "{strange}");
            ping(&own).unwrap();
        }
        reach(&host, &[(&b, &two)]);
    });
}

#[test]
fn pod_that_claims_anothers_address_gets_none_of_its_traffic() {
    on_a_host(&DUAL, |host| async move {
        let [a, b] = ["a", "b"].map(Pod::new);
        host.add(&a).await;
        let two = host.add(&b).await;
        let before = host.on_host("ip neigh");
        host.inside(&a, "ip address add 10.244.1.2/32 dev eth0").unwrap();
        host.inside(&a, "ip address add fd00:10:244:1::2/128 dev eth0 nodad").unwrap();
        // Both tell the link of all their addresses when it comes up.
        for setting in ["ipv4.conf.eth0.arp_notify", "ipv6.conf.eth0.ndisc_notify"] {
            host.inside(&a, &format!("sysctl -qw net.{setting}=1")).unwrap();
        }
        host.inside(&a, "ip link set eth0 down").unwrap();
        host.inside(&a, "ip link set eth0 up").unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(host.on_host("ip neigh"), before);
        reach(&host, &[(&b, &two)]);
        assert_eq!(host.check(&b, &two).await, "");
    });
}

#[test]
fn router_advertisement_of_a_pod_is_not_heard() {
    on_a_host(&DUAL, |host| async move {
        let pod = Pod::new("a");
        let wiring = host.add(&pod).await;
        let link = &wiring.host.name;
        // Even on a host that would believe it.
        host.on_host(&format!("sysctl -qw net.ipv6.conf.{link}.accept_ra=2"));
        let routes = host.on_host("ip -6 route");
        let before = dropped(&host);
        let traveller = Traveller::at_home().unwrap();
        let send = || {
            use socket2::{Domain, Protocol, Socket, Type};
            let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6)).unwrap();
            socket.set_multicast_hops_v6(255).unwrap();
            let all_nodes = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
            let to = SocketAddrV6::new(all_nodes, 0, 0, wiring.inside.index);
            // Type 134, hop limit 64, no flags, lifetime 1800 s (RFC 4861 §4.2).
            let advertisement = [134, 0, 0, 0, 64, 0, 0x07, 0x08, 0, 0, 0, 0, 0, 0, 0, 0];
            let deadline = Instant::now() + Duration::from_secs(10);
            // The pod's link-local address is tentative at first.
            while socket.send_to(&advertisement, &to.into()).is_err() {
                assert!(Instant::now() < deadline);
                std::thread::sleep(Duration::from_millis(50));
            }
        };
        traveller.within(pod.netns.as_fd(), send).unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        while dropped(&host) == before {
            assert!(Instant::now() < deadline);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(host.on_host("ip -6 route"), routes);
    });
}

#[test]
fn pod_does_not_reach_the_closed_ports_of_the_node_and_all_others() {
    on_a_host(&DUAL, |host| async move {
        let pod = Pod::new("a");
        host.add(&pod).await;
        let traveller = Traveller::at_home().unwrap();
        for (at, reached) in
            [("192.0.2.1:179", false), ("[2001:db8::1]:179", false), ("192.0.2.1:8179", true)]
        {
            let _listener = TcpListener::bind(at).unwrap();
            let at = at.parse().unwrap();
            let connect = || TcpStream::connect_timeout(&at, Duration::from_secs(5));
            let outcome = traveller.within(pod.netns.as_fd(), connect).unwrap();
            assert_eq!(outcome.is_ok(), reached, "{at}");
            // Told so at once, instead of waiting.
            let refused = outcome.err().map(|error| error.kind());
            assert_eq!(refused, (!reached).then_some(std::io::ErrorKind::ConnectionRefused));
            assert!(connect().is_ok(), "from the node itself");
        }
    });
}

#[test]
fn rules_that_somebody_has_touched_are_put_back_at_once() {
    on_a_host(&DUAL, |host| async move {
        let pod = Pod::new("a");
        let wiring = host.add(&pod).await;
        let before = host.state();
        let index = wiring.host.index;
        for damage in [
            "flush ruleset".to_owned(),
            "delete table inet slash32".to_owned(),
            "flush chain inet slash32 from-pods".to_owned(),
            format!("delete element inet slash32 sources4 {{ {index} . 10.244.1.1 }}"),
            "add rule inet slash32 from-pods accept".to_owned(),
        ] {
            host.on_host(&format!("nft {damage}"));
            let damaged = Instant::now();
            while host.state() != before || !host.check(&pod, &wiring).await.is_empty() {
                assert!(damaged.elapsed() < Duration::from_secs(5), "{damage}");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            let chain = host.on_host("nft list chain inet slash32 from-pods");
            assert_eq!(chain.lines().count(), 8, "{damage}: {chain}");
            reach(&host, &[(&pod, &wiring)]);
        }
        // What others have beside it is theirs.
        host.on_host("nft add table inet other");
        host.on_host("nft delete table inet slash32");
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(host.on_host("nft list tables").contains("table inet other"));
    });
}

#[test]
fn permit_that_is_missing_is_named_by_check_and_without_guard_there_is_no_table() {
    on_a_host(&DUAL, |mut host| async move {
        let pod = Pod::new("a");
        let wiring = host.add(&pod).await;
        assert_eq!(host.check(&pod, &wiring).await, "");
        host.node.reconfigure(Settings { guard: None, ..host.settings.clone() }).await.unwrap();
        assert_eq!(host.check(&pod, &wiring).await, "");
        assert_eq!(host.on_host("nft list tables"), "");
        host.settings.guard = None;
        host.restart().await;
        let other = Pod::new("b");
        let two = host.add(&other).await;
        assert_eq!(host.check(&other, &two).await, "");
        assert_eq!(host.ask(Request::Detach(other.id.clone()), None).await, Reply::Done);
        assert_eq!(host.on_host("nft list tables"), "");
    });
}

#[test]
fn rules_are_in_force_again_before_a_restarted_daemon_serves() {
    on_a_host(&DUAL, |mut host| async move {
        let pod = Pod::new("a");
        let wiring = host.add(&pod).await;
        host.stop().await;
        host.on_host("nft delete table inet slash32");
        host.restart().await;
        assert_eq!(host.check(&pod, &wiring).await, "");
        reach(&host, &[(&pod, &wiring)]);
        host.inside(&pod, "ip address add 10.9.9.9/32 dev eth0").unwrap();
        assert!(host.inside(&pod, "ping -c 1 -W 1 -n -I 10.9.9.9 192.0.2.1").is_err());
    });
}
