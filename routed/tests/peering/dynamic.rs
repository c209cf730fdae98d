//! Peers that are known by a prefix only.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use bgp::session::State;
use routed::peering::PeerStatus;

use crate::{
    daemon::Daemon,
    harness::{NEVER, Net, PORT, Plan, Speaker},
    refusal::password,
    scripted::{Scripted, open},
};

/// Addresses .16 to .31 of the test's network.
fn prefix(net: Net) -> String {
    format!("{}/28", net.host(16))
}

fn member(speaker: &Speaker, address: IpAddr) -> Option<PeerStatus> {
    speaker.peering.peer(&format!("group@{address}")).map(|peer| peer.status())
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < end, "never {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn member_established(speaker: &Speaker, address: IpAddr) -> PeerStatus {
    let is_up = || member(speaker, address).is_some_and(|peer| peer.state == State::Established);
    until("established", is_up).await;
    member(speaker, address).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_connects_from_the_prefix_is_a_peer_until_some_time_after_its_session() {
    let net = Net::new();
    let plan = Plan::new(net, 1, 65_001);
    let a = plan.dynamic(&prefix(net), "asn = \"external\"\nlinger = 1").start();
    a.originate(&["10.244.1.0/24"]).await;
    assert!(a.peering.peers().list().is_empty());

    let b = Plan::new(net, 20, 65_020).peer(1, 65_001, "").start();
    b.originate(&["10.244.20.0/24"]).await;
    b.best_are(&["10.244.1.0/24", "10.244.20.0/24"]).await;
    a.best_are(&["10.244.1.0/24", "10.244.20.0/24"]).await;
    let first = member_established(&a, net.host(20)).await;
    assert_eq!(&*first.name, format!("group@{}", net.host(20)));
    b.stop().await;
    a.best_are(&["10.244.1.0/24"]).await;
    until("gone", || a.peering.peers().list().is_empty()).await;

    // It may come again, as another peer.
    let mut again = Scripted::connect(net.host(20), net.socket(1)).await;
    again.handshake(65_020).await;
    let second = member_established(&a, net.host(20)).await;
    assert_ne!(first.id, second.id);
    assert_eq!(second.established_count, 1);
    a.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_group_refuses_further_ones_with_out_of_resources_and_keeps_the_others() {
    let net = Net::new();
    let plan = Plan::new(net, 1, 65_001);
    let a = plan.dynamic(&prefix(net), "asn = \"external\"\nlimit = 2\nlinger = 1").start();
    let mut peers = Vec::new();
    for host in [17, 18] {
        let mut peer = Scripted::connect(net.host(host), net.socket(1)).await;
        peer.handshake(65_002).await;
        peers.push(peer);
    }
    for host in [19, 20] {
        let mut third = Scripted::connect(net.host(host), net.socket(1)).await;
        assert_eq!(third.end().await, Some((6, 8)));
    }
    for host in [17, 18] {
        assert_eq!(member_established(&a, net.host(host)).await.established_count, 1);
    }
    // Outside of the prefix nobody is welcome at all.
    let mut stranger = Scripted::connect(net.host(40), net.socket(1)).await;
    assert_eq!(stranger.end().await, Some((6, 5)));

    drop(peers.pop());
    until("gone", || member(&a, net.host(18)).is_none()).await;
    let mut third = Scripted::connect(net.host(19), net.socket(1)).await;
    third.handshake(65_002).await;
    member_established(&a, net.host(19)).await;
    a.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_those_of_the_listed_ases_are_met_and_the_longest_prefix_counts() {
    let net = Net::new();
    let inner = format!("{}/30", net.host(16));
    let a = Plan::new(net, 1, 65_001)
        .dynamic_named("outer", &prefix(net), "asn = [65002, 65003]")
        .dynamic(&inner, "asn = 65009")
        .start();
    let mut met = Vec::new();
    for (host, asn, welcome) in
        [(24, 65_002, true), (25, 65_003, true), (26, 65_009, false), (17, 65_009, true)]
    {
        let mut peer = Scripted::connect(net.host(host), net.socket(1)).await;
        if welcome {
            peer.handshake(asn).await;
            met.push(peer);
        } else {
            peer.send(&open(asn)).await;
            assert_eq!(peer.end().await, Some((2, 2)));
        }
    }
    member_established(&a, net.host(17)).await;
    a.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prefix_has_one_password_for_all_of_its_peers() {
    let net = Net::new();
    let (_file, secret) = password("correct horse");
    let plan = Plan::new(net, 1, 65_001);
    let a = plan.dynamic(&prefix(net), &format!("asn = \"external\"\n{secret}")).start();
    let b = Plan::new(net, 20, 65_020).peer(1, 65_001, &secret).start();
    let c = Plan::new(net, 21, 65_021).peer(1, 65_001, "").start();

    member_established(&a, net.host(20)).await;
    tokio::time::sleep(NEVER).await;
    assert!(member(&a, net.host(21)).is_none(), "unsigned connections do not come through");
    assert_eq!(c.peer(1).status().established_count, 0);
    for speaker in [a, b, c] {
        speaker.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bird_with_the_password_of_the_prefix_is_met() {
    let net = Net::new();
    let (_file, secret) = password("correct horse");
    let (own, ours) = (net.host(20), net.host(1));
    let config = format!(
        "log stderr all;\nrouter id 10.0.0.20;\nprotocol device {{ }}\n\
         protocol bgp slash32 {{ local {own} port {PORT} as 65020; neighbor {ours} port {PORT} as \
         65001; strict bind yes; multihop; connect retry time 1; connect delay time 1; \
         password \"correct horse\"; ipv4 {{ import all; export all; }}; }}\n"
    );
    let _bird = Daemon::start("bird", &["-f", "-c", "b.conf", "-s", "b.ctl"], "b.conf", &config);
    let plan = Plan::new(net, 1, 65_001);
    let a = plan.dynamic(&prefix(net), &format!("asn = [65020]\nmultihop = 2\n{secret}")).start();

    member_established(&a, net.host(20)).await;
    a.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_configuration_touches_members_no_more_than_peers() {
    let net = Net::new();
    let plan = |lines: &str| Plan::new(net, 1, 65_001).dynamic(&prefix(net), lines);
    let a = plan("asn = \"external\"").start();
    let b = Plan::new(net, 20, 65_020).peer(1, 65_001, "").start();
    a.originate(&["10.244.1.0/24"]).await;
    b.best_are(&["10.244.1.0/24"]).await;
    let since = member_established(&a, net.host(20)).await.since;
    let apply = async |plan: Plan| a.peering.apply(&plan.config()).await.unwrap();

    apply(plan("asn = \"external\"\nexport = \"none\"\nlimit = 7\nlinger = 2")).await;
    b.best_are(&[]).await;
    apply(plan("asn = \"external\"")).await;
    b.best_are(&["10.244.1.0/24"]).await;
    assert_eq!(member_established(&a, net.host(20)).await.since, since);

    // Another AS for the group resets its members.
    apply(plan("asn = [65020]")).await;
    until("reset", || {
        member(&a, net.host(20))
            .is_some_and(|peer| peer.state == State::Established && peer.since != since)
    })
    .await;

    // One that gets an entry of its own is the same peer, but no member.
    let id = member(&a, net.host(20)).unwrap().id;
    apply(plan("asn = [65020]").peer(20, 65_020, "")).await;
    assert_eq!(a.established(20).await.id, id);
    assert!(member(&a, net.host(20)).is_none());

    // Without entry and group it is nobody.
    apply(plan("asn = [65020]")).await;
    member_established(&a, net.host(20)).await;
    apply(Plan::new(net, 1, 65_001)).await;
    b.status(1, "told", |status| {
        status.last_error.as_ref().is_some_and(|error| {
            error.to_string().contains("De-configured") || error.to_string().contains("Rejected")
        })
    })
    .await;
    assert!(a.peering.peers().list().is_empty());
    a.stop().await;
    b.stop().await;
}
