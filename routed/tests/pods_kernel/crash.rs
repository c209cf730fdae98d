//! The daemon killed at every point at which it matters: after each single message to the kernel of an
//! ADD, a DEL, a GC, a rebuilding. After each the next daemon finds a node on which nothing leaks.

use std::time::{Duration, Instant};

use routed::kernel::pods::fuse::Fuse;
use routed_core::pod::{
    verb::{Collect, Reply, Request},
    wiring::Wiring,
};

use super::{
    DUAL,
    host::{Host, Pod, attach, on_a_host},
    lifecycle::leased,
    reach,
};

/// What a runtime does after its daemon has died over a request.
#[derive(Clone, Copy, Debug, PartialEq)]
enum After {
    /// The same again.
    Again,
    /// DEL.
    Del,
    /// Nothing: the namespace goes, and nobody asks any more.
    Vanish,
}

/// A pod that is there all the time, and must not notice.
pub(crate) struct Bystander {
    pod: Pod,
    wiring: Wiring,
}

impl Bystander {
    pub(crate) async fn come(host: &Host) -> Self {
        let pod = Pod::new("bystander");
        let wiring = host.add(&pod).await;
        Self { pod, wiring }
    }

    pub(crate) async fn is_unharmed(&self, host: &Host, at: &str) {
        assert_eq!(host.check(&self.pod, &self.wiring).await, "", "{at}");
    }
}

/// Asks with a fuse of this length; true if the daemon was done before it blew.
async fn ask(host: &mut Host, messages: usize, request: Request, pod: &Pod) -> bool {
    let fuse = Fuse::after(messages);
    host.restart_with(fuse.clone()).await;
    let netns = Some(pod.netns.try_clone().unwrap());
    let node = host.node.clone();
    let asked = tokio::spawn(async move { node.ask(request, netns).await });
    // Done is what is answered, and deleted after the answer.
    let deadline = Instant::now() + Duration::from_secs(30);
    while !(fuse.has_blown() || asked.is_finished() && settled(host).await) {
        assert!(Instant::now() < deadline, "neither answered nor dead");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    if asked.is_finished() {
        let reply = asked.await.unwrap();
        assert!(!matches!(reply, Ok(Reply::Failed(_))), "{reply:?}");
    } else {
        asked.abort();
    }
    let done = !fuse.has_blown();
    host.restart().await;
    done
}

async fn settled(host: &Host) -> bool {
    use routed_core::pod::PodState;
    match host.node.pods().await {
        Ok(pods) => pods.iter().all(|pod| pod.state == PodState::Ready),
        Err(_) => true,
    }
}

#[test]
fn killed_after_any_message_of_an_add() {
    for after in [After::Again, After::Del, After::Vanish] {
        on_a_host(&DUAL, |mut host| async move {
            let bystander = Bystander::come(&host).await;
            let before = host.state();
            let mut done = false;
            let mut messages = 0;
            while !done {
                let pod = Pod::new("a");
                done = ask(&mut host, messages, Request::Attach(attach(&pod)), &pod).await;
                let at = format!("after {messages} messages, then {after:?}");
                match after {
                    After::Again => {
                        let wiring = host.add(&pod).await;
                        assert_eq!(host.check(&pod, &wiring).await, "", "{at}");
                        host.ping(None, wiring.lease.ipv4.unwrap().into());
                        assert_ne!(wiring.lease.ipv4, bystander.wiring.lease.ipv4);
                        host.del(&pod).await;
                    }
                    After::Del => host.del(&pod).await,
                    After::Vanish => drop(pod),
                }
                host.settles_to(&before).await;
                leased(&host, 2).await;
                bystander.is_unharmed(&host, &at).await;
                messages += 1;
            }
            reach(&host, &[(&bystander.pod, &bystander.wiring)]);
            // The pair, its label, 2 neighbours, 2 routes, the rules, 9 inside.
            assert!(messages > 14, "{messages}");
        });
    }
}

#[test]
fn killed_after_any_message_of_a_del() {
    for after in [After::Again, After::Vanish] {
        on_a_host(&DUAL, |mut host| async move {
            let bystander = Bystander::come(&host).await;
            let before = host.state();
            let mut done = false;
            let mut messages = 0;
            while !done {
                let pod = Pod::new("a");
                host.add(&pod).await;
                done = ask(&mut host, messages, Request::Detach(pod.id.clone()), &pod).await;
                let at = format!("after {messages} messages, then {after:?}");
                if after == After::Again {
                    host.del(&pod).await;
                }
                drop(pod);
                host.settles_to(&before).await;
                leased(&host, 2).await;
                bystander.is_unharmed(&host, &at).await;
                messages += 1;
            }
            // 2 routes, the mark, the deletion, the rules.
            assert!(messages > 4, "{messages}");
        });
    }
}

#[test]
fn killed_after_any_message_of_a_gc() {
    on_a_host(&DUAL, |mut host| async move {
        let bystander = Bystander::come(&host).await;
        let before = host.state();
        let mut done = false;
        let mut messages = 0;
        while !done {
            let pods = ["a", "b"].map(Pod::new);
            for pod in &pods {
                host.add(pod).await;
            }
            let valid = [bystander.pod.id.clone()].into();
            let collect = Collect { network: "net".to_owned(), valid };
            done = ask(&mut host, messages, Request::Collect(collect), &pods[0]).await;
            host.gc(&[&bystander.pod]).await;
            host.settles_to(&before).await;
            leased(&host, 2).await;
            bystander.is_unharmed(&host, &messages.to_string()).await;
            messages += 1;
        }
        // Of each pod 2 routes and the mark; of both the deletion, and the rules.
        assert!(messages > 7, "{messages}");
    });
}

#[test]
fn killed_after_any_message_of_making_a_damaged_pod_anew() {
    on_a_host(&DUAL, |mut host| async move {
        let bystander = Bystander::come(&host).await;
        let before = host.state();
        let mut done = false;
        let mut messages = 0;
        while !done {
            let pod = Pod::new("a");
            let first = host.add(&pod).await;
            host.inside(&pod, "ip address flush dev eth0").unwrap();
            done = ask(&mut host, messages, Request::Attach(attach(&pod)), &pod).await;
            let second = host.add(&pod).await;
            assert_eq!(host.check(&pod, &second).await, "", "{messages}");
            assert_eq!(first.inside.mac, second.inside.mac);
            host.del(&pod).await;
            host.settles_to(&before).await;
            bystander.is_unharmed(&host, &messages.to_string()).await;
            messages += 1;
        }
        assert!(messages > 20, "{messages}");
    });
}
