//! Restarts of a speaker: what its peers keep meanwhile, and whom it waits for.

use std::time::{Duration, Instant};

use bgp::session::Cease;
use routed::peering::PeerCommand;

use crate::{
    harness::{Net, Plan, Speaker, prefix},
    scripted::Scripted,
};

const LONG: Duration = Duration::from_secs(60);

/// The speaker has had its route for all of this time.
async fn keeps(speaker: &mut Speaker, text: &str, time: Duration) {
    let end = Instant::now() + time;
    while Instant::now() < end {
        let left = end.saturating_duration_since(Instant::now());
        let Ok(changes) = tokio::time::timeout(left, speaker.best.next(100)).await else { return };
        for change in changes.unwrap() {
            assert!(change.prefix != prefix(text) || !change.paths.is_empty(), "{text} was lost");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_waits_for_slow_peers_before_it_tells_what_others_announced() {
    let net = Net::new();
    let transit = || Plan::new(net, 1, 65_001).peer(2, 65_002, "").peer(3, 65_003, "");
    let a = transit().start();
    let mut b = Plan::new(net, 2, 65_002).peer(1, 65_001, "").start();
    let c = Plan::new(net, 3, 65_003).peer(1, 65_001, "").pods("10.244.3.0/24").start();
    b.best_are(&["10.244.3.0/24"]).await;

    // The one in the middle restarts while the origin does not talk to it.
    a.peering.stop(Cease::GracefulStop).await;
    c.peer(1).command(PeerCommand::Stop("works".to_owned())).await;
    let a = transit().restart(LONG);
    a.originate(&["10.244.1.0/24"]).await;
    // What is its own is told at once.
    b.best_are(&["10.244.1.0/24", "10.244.3.0/24"]).await;
    keeps(&mut b, "10.244.3.0/24", Duration::from_secs(2)).await;
    let agreed = b.established(1).await.negotiated.unwrap().graceful_restart.unwrap();
    assert!(agreed.restarted && !agreed.forwarding.is_empty(), "{agreed:?}");

    c.peer(1).command(PeerCommand::Start).await;
    a.best_are(&["10.244.1.0/24", "10.244.3.0/24"]).await;
    keeps(&mut b, "10.244.3.0/24", Duration::from_secs(2)).await;
    b.best_are(&["10.244.1.0/24", "10.244.3.0/24"]).await;
    for speaker in [a, b, c] {
        speaker.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_does_not_come_back_holds_up_the_others_for_the_deferral_only() {
    let net = Net::new();
    let transit = || {
        let plan = Plan::new(net, 1, 65_001).peer(2, 65_002, "").peer(3, 65_003, "");
        plan.peer(9, 65_009, "")
    };
    let b = Plan::new(net, 2, 65_002).peer(1, 65_001, "").start();
    let c = Plan::new(net, 3, 65_003).peer(1, 65_001, "").start();
    c.originate(&["10.244.3.0/24"]).await;

    let start = Instant::now();
    let a = transit().restart(Duration::from_secs(3));
    a.best_are(&["10.244.3.0/24"]).await;
    a.established(2).await;
    assert!(b.best().await.is_empty() || start.elapsed() > Duration::from_secs(3));
    b.best_are(&["10.244.3.0/24"]).await;
    assert!(start.elapsed() > Duration::from_secs(3), "{:?}", start.elapsed());
    for speaker in [a, b, c] {
        speaker.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_is_removed_holds_up_nobody() {
    let net = Net::new();
    let both = || Plan::new(net, 1, 65_001).peer(2, 65_002, "").peer(3, 65_003, "");
    let b = Plan::new(net, 2, 65_002).peer(1, 65_001, "").start();
    let c = Plan::new(net, 3, 65_003).peer(1, 65_001, "").start();
    c.originate(&["10.244.3.0/24"]).await;

    let a = both().peer(9, 65_009, "").restart(LONG);
    a.best_are(&["10.244.3.0/24"]).await;
    a.established(2).await;
    assert!(b.best().await.is_empty(), "the ninth is waited for");
    let removed = Instant::now();
    a.peering.apply(&both().config()).await.unwrap();
    b.best_are(&["10.244.3.0/24"]).await;
    assert!(removed.elapsed() < LONG / 2, "{:?}", removed.elapsed());
    for speaker in [a, b, c] {
        speaker.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_without_grace_and_a_peer_without_graceful_restart_take_routes_along() {
    let net = Net::new();
    for (more, cease) in [
        ("", Cease::AdminShutdown(String::new())),
        ("graceful_restart = false", Cease::GracefulStop),
    ] {
        let a = Plan::new(net, 1, 65_001).peer(2, 65_002, more).start();
        let b = Plan::new(net, 2, 65_002).peer(1, 65_001, "").start();
        a.originate(&["10.244.1.0/24"]).await;
        b.best_are(&["10.244.1.0/24"]).await;

        a.peering.stop(cease).await;

        b.best_are(&[]).await;
        let error = b.peer(1).status().last_error.unwrap().to_string();
        assert!(error.contains("Administrative Shutdown"), "{error}");
        b.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dynamic_peer_is_one_for_as_long_as_its_routes_are_kept() {
    let net = Net::new();
    let group = "asn = \"external\"\nlinger = 1";
    let a = Plan::new(net, 1, 65_001).dynamic(&format!("{}/28", net.host(16)), group).start();
    let b = Plan::new(net, 20, 65_020).peer(1, 65_001, "restart_time = 4").start();
    b.originate(&["10.244.20.0/24"]).await;
    a.best_are(&["10.244.20.0/24"]).await;
    let name = format!("group@{}", net.host(20));

    let lost = Instant::now();
    b.peering.stop(Cease::GracefulStop).await;
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert!(a.peering.peer(&name).is_some(), "longer than it lingers");
    a.best_are(&["10.244.20.0/24"]).await;
    a.best_are(&[]).await;
    assert!(lost.elapsed() > Duration::from_secs(3), "{:?}", lost.elapsed());
    while a.peering.peer(&name).is_some() {
        assert!(lost.elapsed() < Duration::from_secs(30), "it never goes");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    a.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_after_the_restart_is_not_told_of_it() {
    let net = Net::new();
    let restart_time = "asn = \"external\"\nrestart_time = 1";
    let a = Plan::new(net, 1, 65_001)
        .dynamic(&format!("{}/28", net.host(16)), restart_time)
        .peer(2, 65_002, "restart_time = 1")
        .restart(Duration::from_secs(1));
    tokio::time::sleep(Duration::from_secs(3)).await;
    for (host, asn) in [(2, 65_002), (20, 65_020)] {
        let b = Plan::new(net, host, asn).peer(1, 65_001, "").start();
        let agreed = b.established(1).await.negotiated.unwrap().graceful_restart.unwrap();
        assert!(!agreed.restarted && agreed.forwarding.is_empty(), "{agreed:?}");
        b.stop().await;
    }
    a.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn own_ranges_are_in_the_first_transfer_of_the_first_session() {
    let net = Net::new();
    let plan = Plan::new(net, 1, 65_001).peer(2, 65_002, "passive = true");
    let a = plan.pods("10.244.1.0/24").start();
    let mut peer = Scripted::connect(net.host(2), net.socket(1)).await;
    peer.handshake(65_002).await;
    let updates = peer.initial_transfer().await;
    assert_eq!(updates[0].reach[0].prefixes, [prefix("10.244.1.0/24").into()]);
    a.stop().await;
}
