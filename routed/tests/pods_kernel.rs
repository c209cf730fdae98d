//! Pods in the real kernel: each test has a host and pods in network namespaces of its own. Needs
//! root, iproute2 and ping.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics where it stands")]

use std::{
    collections::BTreeSet,
    net::IpAddr,
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
};

use plugin::{cni::code, rpc};
use routed::{
    cni::server::{Service, listen, serve},
    metrics::Metrics,
};
use routed_core::ipam::Wish;
use routed_core::pod::{
    PodState,
    verb::{Attach, Collect, PodError, Reply, Request},
    wiring::{GATEWAY_V4, GATEWAY_V6},
};

#[path = "pods_kernel/crash.rs"]
mod crash;
#[path = "pods_kernel/drift.rs"]
mod drift;
#[path = "pods_kernel/faults.rs"]
mod faults;
#[path = "pods_kernel/guard.rs"]
mod guard;
#[path = "pods_kernel/host.rs"]
mod host;
#[path = "pods_kernel/lifecycle.rs"]
mod lifecycle;
#[path = "pods_kernel/ranges.rs"]
mod ranges;

use host::{Host, Pod, attach, on_a_host};
use lifecycle::leased as leased_in_time;

const DUAL: [&str; 2] = ["10.244.1.0/24", "fd00:10:244:1::/64"];

/// Host to pod, pod to host and pod to pod, in every family that the pods have.
fn reach(host: &Host, pods: &[(&Pod, &routed_core::pod::wiring::Wiring)]) {
    for (pod, wiring) in pods {
        for address in wiring.lease.iter() {
            host.ping(None, address);
            let node: IpAddr =
                if address.is_ipv4() { "192.0.2.1" } else { "2001:db8::1" }.parse().unwrap();
            host.ping(Some(pod), node);
            for (_, other) in pods.iter().filter(|(other, _)| other.id != pod.id) {
                for address in other.lease.iter() {
                    host.ping(Some(pod), address);
                }
            }
        }
    }
}

#[test]
fn pods_reach_host_and_each_other_at_once_and_check_is_content() {
    on_a_host(&DUAL, |host| async move {
        let [a, b] = ["a", "b"].map(Pod::new);
        let (one, two) = (host.add(&a).await, host.add(&b).await);
        reach(&host, &[(&a, &one), (&b, &two)]);
        assert_eq!(host.check(&a, &one).await, "");
        assert_eq!(host.check(&b, &two).await, "");
        assert_eq!(one.lease.ipv4, "10.244.1.1".parse().ok());
        assert_eq!(one.lease.ipv6, "fd00:10:244:1::1".parse().ok());
        let link = host.on_host(&format!("ip -d link show {}", one.host.name));
        for part in [
            "alias slash32 net=net ctr=a if=eth0",
            "group 5332",
            "addrgenmode none",
            "numtxqueues 1",
        ] {
            assert!(link.contains(part), "{part} is not in {link}");
        }
        let routes = host.on_host("ip route show proto 132");
        assert!(
            routes.contains(&format!("10.244.1.1 dev {} scope link", one.host.name)),
            "{routes}"
        );
    });
}

#[test]
fn each_family_works_alone() {
    for pools in [&DUAL[..1], &DUAL[1..]] {
        on_a_host(pools, |host| async move {
            let [a, b] = ["a", "b"].map(Pod::new);
            let (one, two) = (host.add(&a).await, host.add(&b).await);
            assert_eq!(one.lease.iter().count(), 1);
            reach(&host, &[(&a, &one), (&b, &two)]);
            assert_eq!(host.check(&a, &one).await, "");
        });
    }
}

#[test]
fn detached_pod_leaves_the_host_as_it_was() {
    on_a_host(&DUAL, |host| async move {
        let before = host.state();
        let pods = ["a", "b", "c"].map(Pod::new);
        let mut wirings = vec![];
        for pod in &pods {
            wirings.push(host.add(pod).await);
        }
        for (pod, wiring) in pods.iter().zip(&wirings) {
            host.del(pod).await;
            let address = wiring.lease.ipv4.unwrap().to_string();
            assert!(!host.on_host("ip route show proto 132").contains(&address));
        }
        host.settles_to(&before).await;
        assert!(host.inside(&pods[0], "ip link show eth0").is_err());
        assert_eq!(host.leased().await, 0);
        host.del(&pods[0]).await;
        host.del(&Pod::new("never")).await;
    });
}

/// What is done in the pod, and what CHECK must say.
const INSIDE: &[(&str, &str)] = &[
    ("ip link set eth0 mtu 1400", "in the pod has MTU 1400 instead of 1500"),
    ("ip link set lo down", "lo is down in the pod"),
    ("ip address delete 10.244.1.1/32 dev eth0", "the pod has no address 10.244.1.1/32"),
    (
        "ip address delete fd00:10:244:1::1/128 dev eth0 && ip address add fd00:10:244:1::1/64 dev eth0",
        "has length /64 instead of /128",
    ),
    ("ip route delete default", "no default ipv4 route via 169.254.1.1"),
    ("ip -6 route delete default", "no default ipv6 route via fe80::1"),
    ("ip route delete 169.254.1.1", "no route to its gateway 169.254.1.1"),
    ("ip neigh delete 169.254.1.1 dev eth0", "neighbour 169.254.1.1 at"),
    (
        "ip neigh replace fe80::1 dev eth0 lladdr 02:00:00:00:00:99 nud reachable",
        "neighbour fe80::1 at",
    ),
];

#[test]
fn pod_whose_interface_is_deleted_is_soon_no_pod_any_more() {
    on_a_host(&DUAL, |host| async move {
        let before = host.state();
        let pod = Pod::new("a");
        let wiring = host.add(&pod).await;
        host.on_host(&format!("ip link delete {}", wiring.host.name));
        // Until the kernel has told of it, it is missing.
        let found = host.check(&pod, &wiring).await;
        assert!(found.contains("is missing") || found.contains("is not known here"), "{found}");
        host.settles_to(&before).await;
        leased_in_time(&host, 0).await;
        host.add(&pod).await;
    });
}

#[test]
fn every_tampering_in_the_pod_is_named_by_check() {
    on_a_host(&DUAL, |host| async move {
        let pod = Pod::new("a");
        for (command, named) in INSIDE {
            let wiring = host.add_as(&pod, Attach { wish: fixed(), ..attach(&pod) }).await;
            let wiring = wiring.unwrap_or_else(|error| panic!("before {command}: {error}"));
            assert_eq!(host.check(&pod, &wiring).await, "", "before {command}");
            for command in command.split(" && ") {
                host.inside(&pod, command).unwrap();
            }
            let found = host.check(&pod, &wiring).await;
            assert!(found.contains(named), "{command}: {found:?}");
            host.del(&pod).await;
        }
    });
}

fn fixed() -> Wish {
    let addresses = ["10.244.1.1", "fd00:10:244:1::1"].map(|address| address.parse().unwrap());
    Wish { addresses: addresses.into(), ..Wish::default() }
}

#[test]
fn all_differences_are_named_at_once() {
    on_a_host(&DUAL, |host| async move {
        let pod = Pod::new("a");
        let wiring = host.add(&pod).await;
        host.on_host("ip route replace 10.244.1.1/32 dev lo proto static");
        host.inside(&pod, "ip address flush dev eth0").unwrap();
        let found = host.check(&pod, &wiring).await;
        for part in [
            "the host's route 10.244.1.1/32 leads to interface 1",
            "no address 10.244.1.1/32",
            "no address fd00:10:244:1::1/128",
        ] {
            assert!(found.contains(part), "{part}: {found}");
        }
    });
}

#[test]
fn check_of_another_namespace_finds_the_pod_missing() {
    on_a_host(&DUAL, |host| async move {
        let pod = Pod::new("a");
        let wiring = host.add(&pod).await;
        let elsewhere = Pod { id: pod.id.clone(), netns: Pod::new("x").netns };
        let found = host.check(&elsewhere, &wiring).await;
        assert!(found.contains("eth0 is missing in the pod"), "{found}");
    });
}

#[test]
fn repeated_add_answers_the_same_and_changes_nothing() {
    on_a_host(&DUAL, |host| async move {
        let pod = Pod::new("a");
        let first = host.add(&pod).await;
        let (before, inside) = (host.state(), host.inside(&pod, "ip -o address").unwrap());
        assert_eq!(host.add(&pod).await, first);
        assert_eq!(host.state(), before);
        assert_eq!(host.inside(&pod, "ip -o address").unwrap(), inside);
    });
}

#[test]
fn repeated_add_repairs_a_damaged_pod() {
    on_a_host(&DUAL, |host| async move {
        let pod = Pod::new("a");
        let first = host.add(&pod).await;
        host.on_host("ip route delete 10.244.1.1/32");
        host.inside(&pod, "ip address flush dev eth0").unwrap();
        host.inside(&pod, "ip link set eth0 down").unwrap();
        let second = host.add(&pod).await;
        assert_eq!(second.lease, first.lease);
        reach(&host, &[(&pod, &second)]);
        assert_eq!(host.check(&pod, &second).await, "");
    });
}

#[test]
fn del_after_the_namespace_is_gone_succeeds_and_frees_the_address() {
    on_a_host(&DUAL, |host| async move {
        let before = host.state();
        let pod = Pod::new("a");
        host.add(&pod).await;
        let Pod { id, netns } = pod;
        drop(netns);
        assert_eq!(host.ask(Request::Detach(id), None).await, Reply::Done);
        host.settles_to(&before).await;
        assert_eq!(host.leased().await, 0);
    });
}

#[test]
fn late_del_of_an_old_sandbox_does_not_touch_the_new_one() {
    on_a_host(&DUAL, |host| async move {
        let old = Pod::new("old");
        host.add(&old).await;
        let new = Pod::new("new");
        let wiring = host.add(&new).await;
        host.del(&old).await;
        host.del(&old).await;
        reach(&host, &[(&new, &wiring)]);
        assert_eq!(host.check(&new, &wiring).await, "");
    });
}

#[test]
fn restarted_daemon_knows_its_pods_and_touches_nothing() {
    on_a_host(&DUAL, |mut host| async move {
        let before = host.state();
        let [a, b] = ["a", "b"].map(Pod::new);
        let mac = Some(routed_core::pod::wiring::Mac([2, 0x5e, 0, 0, 0, 7]));
        let one = Attach { mac, mtu: Some(1400), ..attach(&a) };
        let (one, two) = (host.add_as(&a, one).await.unwrap(), host.add(&b).await);
        let with_pods = host.state();
        host.restart().await;
        let pods = host.node.pods().await.unwrap();
        let pods = if pods.is_empty() { survey(&host).await } else { pods };
        assert_eq!(
            pods.iter().map(|pod| pod.wiring.clone()).collect::<Vec<_>>(),
            [one.clone(), two.clone()]
        );
        assert!(pods.iter().all(|pod| pod.state == PodState::Ready));
        assert_eq!(host.state(), with_pods);
        reach(&host, &[(&a, &one), (&b, &two)]);
        assert_eq!(host.check(&a, &one).await, "");
        let third = host.add(&Pod::new("c")).await;
        assert_eq!(third.lease.ipv4, "10.244.1.3".parse().ok());
        assert_eq!(host.gc(&[&b]).await, Reply::Done);
        assert_eq!(host.check(&b, &two).await, "");
        host.del(&b).await;
        host.settles_to(&before).await;
    });
}

/// The pods once the survey is over: requests wait for it.
async fn survey(host: &Host) -> Vec<routed::node::PodStatus> {
    host.del(&Pod::new("nobody")).await;
    host.node.pods().await.unwrap()
}

#[test]
fn gc_removes_all_but_the_listed_of_its_network() {
    on_a_host(&DUAL, |host| async move {
        let pods = ["a", "b", "c"].map(Pod::new);
        let mut wirings = vec![];
        for pod in &pods {
            wirings.push(host.add(pod).await);
        }
        let valid = BTreeSet::new();
        let other = Collect { network: "other".to_owned(), valid };
        assert_eq!(host.ask(Request::Collect(other), None).await, Reply::Done);
        assert_eq!(host.gc(&[&pods[1]]).await, Reply::Done);
        assert_eq!(host.check(&pods[1], &wirings[1]).await, "");
        let routes = host.on_host("ip route show proto 132");
        assert_eq!(routes.lines().count(), 1, "{routes}");
    });
}

#[test]
fn namespaces_that_are_none_are_refused_and_nothing_changes() {
    on_a_host(&DUAL, |host| async move {
        let before = host.state();
        let of = |path: &str| Pod {
            id: Pod::new("a").id,
            netns: OwnedFd::from(std::fs::File::open(path).unwrap()),
        };
        let error = host.try_add(&of("/proc/thread-self/ns/net")).await.unwrap_err();
        assert_eq!(error, PodError::HostNamespace);
        for path in ["/proc/self/status", "/proc/thread-self/ns/mnt", "/dev/null"] {
            let error = host.try_add(&of(path)).await.unwrap_err();
            assert!(matches!(error, PodError::Namespace(_)), "{path}: {error}");
        }
        assert_eq!(host.state(), before);
        assert_eq!(host.leased().await, 0);
    });
}

#[test]
fn interface_of_that_name_in_the_pod_is_refused_and_stays() {
    on_a_host(&DUAL, |host| async move {
        let before = host.state();
        let pod = Pod::new("a");
        host.inside(&pod, "ip link add eth0 type veth peer name other").unwrap();
        let inside = host.inside(&pod, "ip -o link").unwrap();
        let error = host.try_add(&pod).await.unwrap_err();
        assert_eq!(error, PodError::IfnameTaken("eth0".to_owned()));
        assert_eq!(host.state(), before);
        assert_eq!(host.inside(&pod, "ip -o link").unwrap(), inside);
        assert_eq!(host.leased().await, 0);
    });
}

#[test]
fn interface_of_the_hosts_end_name_is_named_and_stays() {
    on_a_host(&DUAL, |host| async move {
        let pod = Pod::new("a");
        let name = pod.id.host_link();
        host.on_host(&format!("ip link add {name} type veth peer name other"));
        let before = host.state();
        assert_eq!(host.try_add(&pod).await.unwrap_err(), PodError::HostLinkTaken { name });
        assert_eq!(host.state(), before);
    });
}

#[test]
fn refused_step_undoes_all_before_it() {
    on_a_host(&DUAL, |host| async move {
        let pod = Pod::new("a");
        host.on_host("ip route add 10.244.1.1/32 dev lo");
        let before = host.state();
        let error = host.try_add(&pod).await.unwrap_err().to_string();
        assert!(error.starts_with("adding the route 10.244.1.1/32"), "{error}");
        host.settles_to(&before).await;
        host.inside(&pod, "ip link add dummy0 type veth peer name dummy1").unwrap();
        host.inside(&pod, "ip link set dummy0 up").unwrap();
        host.inside(&pod, "ip route add default dev dummy0").unwrap();
        host.on_host("ip route delete 10.244.1.1/32");
        let before = host.state();
        let error = host.try_add(&pod).await.unwrap_err().to_string();
        assert!(error.starts_with("adding the default route via 169.254.1.1"), "{error}");
        host.settles_to(&before).await;
        assert!(host.inside(&pod, "ip link show eth0").is_err());
        assert_eq!(host.leased().await, 0);
    });
}

#[test]
fn second_interface_without_default_route_stands_beside_the_first() {
    on_a_host(&DUAL, |host| async move {
        let pod = Pod::new("a");
        let first = host.add(&pod).await;
        let second = pod.second("net1");
        let other = host.add(&second).await;
        assert!(first.default_route && !other.default_route);
        assert_eq!(host.check(&pod, &first).await, "");
        assert_eq!(host.check(&second, &other).await, "");
        reach(&host, &[(&pod, &first)]);
        host.del(&second).await;
        assert_eq!(host.check(&pod, &first).await, "");
    });
}

#[test]
fn ipv6_switched_off_in_the_pod_is_switched_on_for_its_interface() {
    on_a_host(&DUAL, |host| async move {
        let pod = Pod::new("a");
        host.inside(&pod, "sysctl -qw net.ipv6.conf.all.disable_ipv6=1").unwrap();
        host.inside(&pod, "sysctl -qw net.ipv6.conf.default.disable_ipv6=1").unwrap();
        let wiring = host.add(&pod).await;
        reach(&host, &[(&pod, &wiring)]);
        assert_eq!(host.check(&pod, &wiring).await, "");
    });
}

#[test]
fn pod_cannot_become_the_nodes_router_even_if_the_node_believes_advertisements() {
    on_a_host(&DUAL, |mut host| async move {
        host.on_host("sysctl -qw net.ipv6.conf.default.accept_ra=2");
        host.restart().await;
        let pod = Pod::new("a");
        let wiring = host.add(&pod).await;
        assert_eq!(host.check(&pod, &wiring).await, "");
    });
}

#[test]
fn half_made_pair_of_a_dead_daemon_is_deleted_and_strangers_stay() {
    on_a_host(&DUAL, |mut host| async move {
        host.on_host("ip link add s32stranger type veth peer name other");
        host.on_host("ip link add grouped group 5332 type veth peer name other2");
        let before = host.state();
        host.on_host("ip link add s32leftover group 5332 type veth peer name other3");
        host.restart().await;
        survey(&host).await;
        host.settles_to(&before).await;
    });
}

#[test]
fn many_pods_at_once_come_and_go_without_a_trace() {
    on_a_host(&DUAL, |host| async move {
        let before = host.state();
        let pods: Vec<_> = (0..60).map(|number| Pod::new(&format!("c{number}"))).collect();
        let adds = pods.iter().map(|pod| host.add(pod));
        let wirings = join_all(adds).await;
        let addresses: BTreeSet<_> =
            wirings.iter().flat_map(|wiring| wiring.lease.iter()).collect();
        assert_eq!(addresses.len(), 120);
        for wiring in wirings.iter().step_by(7) {
            for address in wiring.lease.iter() {
                host.ping(None, address);
            }
        }
        join_all(pods.iter().map(|pod| host.del(pod))).await;
        host.settles_to(&before).await;
        assert_eq!(host.leased().await, 0);
    });
}

async fn join_all<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut futures: Vec<_> = futures.map(Box::pin).collect();
    let mut done: Vec<Option<F::Output>> = futures.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (future, done) in futures.iter_mut().zip(&mut done) {
            if done.is_none()
                && let std::task::Poll::Ready(output) = future.as_mut().poll(context)
            {
                *done = Some(output);
            }
        }
        if done.iter().all(Option::is_some) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    done.into_iter().flatten().collect()
}

#[test]
fn plugins_requests_over_the_socket_make_check_and_remove_a_pod() {
    on_a_host(&DUAL, |host| async move {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cni.sock");
        let service = Service { node: host.node.clone(), metrics: Metrics::new(), chooser: None };
        let server = tokio::spawn(serve(listen(&path).unwrap(), service));
        let before = host.state();
        let pod = Pod::new("a");
        let netns = pod.netns.try_clone().unwrap();
        let answers = tokio::task::spawn_blocking(move || {
            let ask = |request: &rpc::Request, netns: Option<&OwnedFd>| {
                let stream = UnixStream::connect(&path).unwrap();
                rpc::send_request(&stream, request, netns.map(AsFd::as_fd)).unwrap();
                rpc::receive::<rpc::Response>(&stream).unwrap()
            };
            let attach = rpc::Attach {
                id: rpc_id(),
                netns: "/run/netns/a".to_owned(),
                args: [].into(),
                ips: vec![],
                mac: None,
                mtu: None,
                default_route: None,
                pool: None,
                routes: vec![],
                delegated: false,
            };
            let added = ask(&rpc::Request::Add(attach), Some(&netns));
            let rpc::Response::Added(prev_result) = added else { panic!("{added:?}") };
            let check = rpc::Check { id: rpc_id(), netns: "/run/netns/a".to_owned(), prev_result };
            let check = rpc::Request::Check(check);
            [
                ask(&check, Some(&netns)),
                ask(&check, None),
                ask(&rpc::Request::Status, None),
                ask(&rpc::Request::Del(rpc_id()), Some(&netns)),
                ask(&rpc::Request::Del(rpc_id()), None),
                ask(&check, Some(&netns)),
            ]
        });
        let codes = answers.await.unwrap().map(|answer| match answer {
            rpc::Response::Error(error) => error.code,
            rpc::Response::Done => 0,
            rpc::Response::Added(_) => panic!("nothing else was added"),
        });
        let unknown = code::UNKNOWN_CONTAINER;
        assert_eq!(codes, [0, code::INVALID_ENVIRONMENT, 0, 0, 0, unknown]);
        host.settles_to(&before).await;
        server.abort();
    });
}

fn rpc_id() -> rpc::AttachmentId {
    let [network, container_id, ifname] = ["net", "a", "eth0"].map(str::to_owned);
    rpc::AttachmentId { network, container_id, ifname }
}

#[test]
fn gateways_are_those_that_users_know() {
    assert_eq!(GATEWAY_V4.to_string(), "169.254.1.1");
    assert_eq!(GATEWAY_V6.to_string(), "fe80::1");
}
