//! What happens to pods besides ADD and DEL: namespaces that go, daemons that die, DELs that find
//! nobody, books that differ from the kernel.

use std::time::Duration;

use plugin::{client, rpc};
use routed::{
    cni::{
        owed,
        server::{Service, listen, serve},
    },
    metrics::Metrics,
};
use routed_core::{
    attachment::AttachmentId,
    pod::{
        PodState,
        verb::{Attach, Reply, Request},
    },
};

use super::{
    DUAL,
    host::{Host, Pod, attach, on_a_host},
    reach,
};

/// Waits until so many addresses are leased.
pub(crate) async fn leased(host: &Host, count: u128) {
    for _ in 0..500 {
        if host.leased().await == count {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{} addresses are leased", host.leased().await);
}

#[test]
fn pod_whose_namespace_goes_without_del_leaves_nothing() {
    on_a_host(&DUAL, |host| async move {
        let before = host.state();
        let pods = ["a", "b"].map(Pod::new);
        for pod in &pods {
            host.add(pod).await;
        }
        assert_eq!(host.leased().await, 4);
        let [a, b] = pods;
        drop(a.netns);
        leased(&host, 2).await;
        host.on_host(&format!("ip link delete {}", b.id.host_link()));
        leased(&host, 0).await;
        host.settles_to(&before).await;
    });
}

#[test]
fn namespaces_that_go_while_no_daemon_runs_are_noticed_at_the_start_and_their_addresses_cool_down()
{
    on_a_host(&DUAL, |mut host| async move {
        host.settings.ipam.cooldown = Duration::from_secs(30);
        host.restart().await;
        let before = host.state();
        let [a, b] = ["a", "b"].map(Pod::new);
        host.add(&a).await;
        let stays = host.add(&b).await;
        host.stop().await;
        drop(a.netns);
        tokio::time::sleep(Duration::from_millis(200)).await;
        host.restart().await;
        host.del(&Pod::new("nobody")).await;
        assert_eq!(host.leased().await, 2);
        assert_eq!(host.node.pools().await.unwrap()[0].cooling, 1);
        reach(&host, &[(&b, &stays)]);
        let next = host.add(&Pod::new("c")).await;
        assert_eq!(next.lease.ipv4, "10.244.1.3".parse().ok(), "10.244.1.1 cools down");
        host.del(&b).await;
        host.gc(&[]).await;
        host.settles_to(&before).await;
    });
}

#[test]
fn cooldown_goes_on_over_a_restart_and_the_longest_idle_address_is_first() {
    on_a_host(&["10.244.1.0/30"], |mut host| async move {
        let pods = ["a", "b"].map(Pod::new);
        for pod in &pods {
            host.add(pod).await;
        }
        for pod in [&pods[1], &pods[0]] {
            host.del(pod).await;
            leased(&host, if pod.id == pods[1].id { 1 } else { 0 }).await;
        }
        host.settings.ipam.cooldown = Duration::from_secs(3600);
        host.restart().await;
        let error = host.try_add(&Pod::new("c")).await.unwrap_err().to_string();
        assert!(error.contains("2 cooling down"), "{error}");
        host.settings.ipam.cooldown = Duration::ZERO;
        host.restart().await;
        assert_eq!(host.add(&Pod::new("c")).await.lease.ipv4, "10.244.1.2".parse().ok());
        // A journal of another boot says nothing about this one.
        let journal = host.folder.path().join("leases");
        host.settings.ipam.cooldown = Duration::from_secs(3600);
        host.stop().await;
        let text = std::fs::read_to_string(&journal).unwrap();
        let (_, rest) = text.split_once('\n').unwrap();
        std::fs::write(&journal, format!("slash32-leases 1 another-boot\n{rest}")).unwrap();
        host.restart().await;
        assert!(host.try_add(&Pod::new("d")).await.is_ok());
    });
}

#[test]
fn interface_name_is_free_again_once_del_is_answered() {
    on_a_host(&DUAL, |host| async move {
        let before = host.state();
        let mut pod = Pod::new("a");
        for container_id in ["b", "c", "d"] {
            let wiring = host.add(&pod).await;
            reach(&host, &[(&pod, &wiring)]);
            host.del(&pod).await;
            pod.id = AttachmentId::new("net", container_id, "eth0").unwrap();
        }
        host.settles_to(&before).await;
    });
}

#[test]
fn del_that_found_no_daemon_is_settled_before_anything_else_when_it_is_back() {
    on_a_host(&DUAL, |mut host| async move {
        let before = host.state();
        let socket = host.folder.path().join("cni.sock");
        let pod = Pod::new("a");
        host.add(&pod).await;
        host.stop().await;
        let id = rpc::AttachmentId {
            network: "net".to_owned(),
            container_id: "a".to_owned(),
            ifname: "eth0".to_owned(),
        };
        assert_eq!(client::detach(&socket, &id).unwrap(), rpc::Response::Done);
        assert_eq!(client::owed_detaches(&socket).unwrap().len(), 1);
        std::fs::write(host.folder.path().join("owed-detaches/nonsense"), "{").unwrap();

        host.restart().await;
        let listener = listen(&socket).unwrap();
        let (node, beside) = (host.node.clone(), socket.clone());
        let server = tokio::spawn(async move {
            owed::settle(&beside, &node).await;
            serve(listener, Service { node, metrics: Metrics::new(), chooser: None }).await;
        });
        // Answered only after what was owed.
        let asked = tokio::task::spawn_blocking(move || {
            let answer = client::call(&socket, &rpc::Request::Status, None).unwrap();
            (answer, client::owed_detaches(&socket).unwrap())
        });
        let (answer, owed) = asked.await.unwrap();
        assert_eq!(answer, rpc::Response::Done);
        assert_eq!(owed.len(), 1, "what is not understood is left for a person");
        assert!(owed[0].1.is_none());
        host.settles_to(&before).await;
        assert_eq!(host.leased().await, 0);
        server.abort();
    });
}

#[test]
fn in_doubt_the_book_is_made_to_agree_with_the_kernel() {
    on_a_host(&DUAL, |host| async move {
        let [a, b] = ["a", "b"].map(Pod::new);
        let wiring = host.add(&a).await;
        let before = host.state();
        host.node.put_right().await.unwrap();
        host.add(&b).await;
        host.del(&b).await;
        host.settles_to(&before).await;
        assert_eq!(host.check(&a, &wiring).await, "");
        let pods = host.node.pods().await.unwrap();
        assert!(pods.iter().all(|pod| pod.state == PodState::Ready));
    });
}

#[test]
fn further_destinations_lead_through_their_own_interface() {
    on_a_host(&DUAL, |host| async move {
        let pod = Pod::new("a");
        let first = host.add(&pod).await;
        let second = pod.second("net1");
        let destinations = ["10.64.0.0/10", "fd64::/16"].map(|to| to.parse().unwrap()).into();
        let other = host.add_as(&second, Attach { destinations, ..attach(&second) }).await.unwrap();
        for (to, via) in [("10.64.0.1", "net1"), ("fd64::1", "net1"), ("10.1.1.1", "eth0")] {
            let route = host.inside(&pod, &format!("ip route get {to}")).unwrap();
            assert!(route.contains(&format!("dev {via}")), "{route}");
        }
        assert_eq!(host.check(&second, &other).await, "");
        host.inside(&pod, "ip route delete 10.64.0.0/10").unwrap();
        let found = host.check(&second, &other).await;
        assert_eq!(found, "the pod has no route 10.64.0.0/10 via 169.254.1.1");
        assert_eq!(host.check(&pod, &first).await, "");
    });
}

#[test]
fn delegated_addresses_are_routed_like_our_own() {
    on_a_host(&DUAL, |host| async move {
        let before = host.state();
        let pod = Pod::new("a");
        let mut request = attach(&pod);
        request.wish.addresses = vec!["198.51.100.7".parse().unwrap()];
        request.wish.delegated = true;
        let wiring = host.add_as(&pod, request).await.unwrap();
        assert_eq!(wiring.lease.iter().count(), 1);
        reach(&host, &[(&pod, &wiring)]);
        assert_eq!(host.check(&pod, &wiring).await, "");
        assert_eq!(host.ask(Request::Detach(pod.id.clone()), None).await, Reply::Done);
        host.settles_to(&before).await;
    });
}
