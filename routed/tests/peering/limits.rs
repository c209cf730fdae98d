//! Peers that announce more than they may, and peers that are to be told no more than so much.

use std::time::{Duration, Instant};

use bgp::{
    session::State,
    wire::{Message, Notification},
};
use routed::peering::{LastError, PeerCommand, PeerStatus};

use crate::{
    harness::{NEVER, Net, Plan, Speaker},
    scripted::{Scripted, announce, open},
};

const FIVE: [&str; 5] = ["10.1.0.0/16", "10.2.0.0/16", "10.3.0.0/16", "10.4.0.0/16", "10.5.0.0/16"];

fn last_error(status: &PeerStatus) -> String {
    status.last_error.as_ref().map(ToString::to_string).unwrap_or_default()
}

fn is_over(status: &PeerStatus) -> bool {
    status.state == State::Idle && last_error(status).contains("Maximum Number of Prefixes")
}

/// `a` with peers 2 and 3, of which 2 has these lines; and both.
async fn three(net: Net, lines: &str) -> [Speaker; 3] {
    let a = Plan::new(net, 1, 65_001).peer(2, 65_002, lines).peer(3, 65_003, "").start();
    let b = Plan::new(net, 2, 65_002).peer(1, 65_001, "").start();
    let c = Plan::new(net, 3, 65_003).peer(1, 65_001, "").start();
    c.originate(&["10.244.3.0/24"]).await;
    a.established(2).await;
    a.best_are(&["10.244.3.0/24"]).await;
    [a, b, c]
}

/// What the other side says after its OPEN, which must be a NOTIFICATION.
async fn refusal(scripted: &mut Scripted) -> Notification {
    assert!(matches!(scripted.message().await, Some(Message::Open(_))));
    match scripted.message().await {
        Some(Message::Notification(notification)) => notification,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rfc4486_4_a_peer_over_its_limit_hears_it_and_hears_it_again_when_it_comes_back() {
    let net = Net::new();
    let limited = "passive = true\nmax_prefixes = { ipv4 = 1, action = \"stop\" }";
    let a = Plan::new(net, 1, 65_001).peer(2, 65_002, limited).peer(3, 65_003, "").start();
    let c = Plan::new(net, 3, 65_003).peer(1, 65_001, "").start();
    c.originate(&["10.244.3.0/24"]).await;
    let untouched = a.established(3).await.since;

    let mut peer = Scripted::connect(net.host(2), net.socket(1)).await;
    peer.handshake(65_002).await;
    peer.send(&announce()).await;
    a.best_are(&["10.244.3.0/24", "192.0.2.0/24"]).await;
    let mut second = announce();
    *second.last_mut().unwrap() += 1;
    peer.send(&second).await;
    let told = loop {
        match peer.news().await {
            Some(Message::Notification(told)) => break told,
            Some(_) => (),
            None => panic!("closed without a word"),
        }
    };
    // AFI, SAFI and the limit.
    assert_eq!((told.code, told.subcode, &told.data[..]), (6, 1, &[0, 1, 1, 0, 0, 0, 1][..]));
    assert_eq!(peer.message().await, None);

    let stopped = a.status(2, "stopped", is_over).await;
    assert!(stopped.wanted && stopped.next_attempt.is_none(), "{stopped:?}");
    let remedy = stopped.last_error.as_ref().and_then(LastError::remedy).unwrap();
    assert!(remedy.contains("max_prefixes") && remedy.contains("enable"), "{remedy}");
    assert_eq!(stopped.limits.ipv4.stopped, 1);
    a.best_are(&["10.244.3.0/24"]).await;

    for _ in 0..2 {
        let mut again = Scripted::connect(net.host(2), net.socket(1)).await;
        assert_eq!(refusal(&mut again).await, told);
        assert_eq!(again.message().await, None);
    }

    a.peer(2).command(PeerCommand::Start).await;
    a.status(2, "waiting", |status| status.state == State::Active).await;
    let mut again = Scripted::connect(net.host(2), net.socket(1)).await;
    again.handshake(65_002).await;
    again.send(&announce()).await;
    a.best_are(&["10.244.3.0/24", "192.0.2.0/24"]).await;
    assert_eq!(a.established(3).await.since, untouched, "the other peer did not notice");
    a.stop().await;
    c.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_over_its_limit_is_tried_again_after_its_rest() {
    let net = Net::new();
    let lines = "max_prefixes = { ipv4 = 3, restart_after = 3 }";
    let [a, b, c] = three(net, lines).await;
    let untouched = a.established(3).await.since;
    b.originate(&FIVE[..3]).await;
    a.status(2, "near its limit", |status| status.limits.ipv4.near == 1).await;
    b.originate(&FIVE[3..]).await;
    let stopped = a.status(2, "stopped", is_over).await;
    let since = stopped.since.unwrap();
    assert_eq!(stopped.next_attempt, Some(since + Duration::from_secs(3)));
    let told = b.status(1, "told", |status| last_error(status).starts_with("received")).await;
    assert!(last_error(&told).contains("(ipv4, limit 3)"), "{told:?}");
    a.best_are(&["10.244.3.0/24"]).await;

    b.peering.rib().withdraw(FIVE[4].parse().unwrap()).await.unwrap();
    b.peering.rib().withdraw(FIVE[3].parse().unwrap()).await.unwrap();
    let back = a.established_again(2, 1).await;
    assert!(back.since.unwrap() >= since + Duration::from_secs(3), "{back:?}");
    a.best_are(&[FIVE[0], FIVE[1], FIVE[2], "10.244.3.0/24"]).await;
    a.status(2, "near again in another session", |status| status.limits.ipv4.near == 2).await;
    assert_eq!(a.established(3).await.since, untouched);
    for speaker in [a, b, c] {
        speaker.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_limit_lets_a_stopped_peer_in_and_other_settings_do_not() {
    let net = Net::new();
    let plan = |lines: &str| Plan::new(net, 1, 65_001).peer(2, 65_002, lines);
    let stop = "max_prefixes = { ipv4 = 3, action = \"stop\" }";
    let a = plan(stop).start();
    let b = Plan::new(net, 2, 65_002).peer(1, 65_001, "").start();
    b.originate(&FIVE).await;
    a.status(2, "stopped", is_over).await;

    for other in ["hold_time = 30", "allow_own_as = 1"] {
        a.peering.apply(&plan(&format!("{stop}\n{other}")).config()).await.unwrap();
    }
    tokio::time::sleep(NEVER).await;
    let stopped = a.peer(2).status();
    assert!(is_over(&stopped) && stopped.established_count == 1, "{stopped:?}");

    a.peering
        .apply(&plan("max_prefixes = { ipv4 = 5, action = \"stop\" }").config())
        .await
        .unwrap();
    a.best_are(&FIVE).await;
    // And one that is lowered stops a session that stands.
    a.peering
        .apply(&plan("max_prefixes = { ipv4 = 4, action = \"stop\" }").config())
        .await
        .unwrap();
    a.status(2, "stopped", is_over).await;
    a.best_are(&[]).await;
    a.stop().await;
    b.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_that_warns_takes_all_and_one_of_accepted_routes_counts_no_others() {
    let net = Net::new();
    let [a, b, c] = three(net, "max_prefixes = { ipv4 = 3, action = \"warn\" }").await;
    b.originate(&FIVE).await;
    a.best_are(&[&FIVE[..], &["10.244.3.0/24"]].concat()).await;
    let status = a.status(2, "warned of", |status| status.limits.ipv4.over == 1).await;
    assert_eq!((status.established_count, status.limits.ipv4.stopped), (1, 0));

    let lines = "import = \"none\"\nmax_prefixes = { ipv4 = 3, counted = \"accepted\" }";
    let plan = Plan::new(net, 1, 65_001).peer(2, 65_002, lines).peer(3, 65_003, "");
    a.peering.apply(&plan.config()).await.unwrap();
    a.best_are(&["10.244.3.0/24"]).await;
    assert_eq!(a.established(2).await.established_count, 1);
    for speaker in [a, b, c] {
        speaker.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_is_told_no_more_than_max_advertised() {
    let net = Net::new();
    let [a, b, c] = three(net, "max_advertised = { ipv4 = 2 }").await;
    a.originate(&FIVE).await;
    c.best_are(&[&FIVE[..], &["10.244.3.0/24"]].concat()).await;
    a.status(2, "held back", |status| status.limits.ipv4.held_back == 1).await;
    let start = Instant::now();
    while b.best().await.len() < 2 {
        assert!(start.elapsed() < Duration::from_secs(20), "never told two");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokio::time::sleep(NEVER).await;
    assert_eq!(b.best().await.len(), 2);

    let plan = Plan::new(net, 1, 65_001).peer(2, 65_002, "").peer(3, 65_003, "");
    a.peering.apply(&plan.config()).await.unwrap();
    b.best_are(&[&FIVE[..], &["10.244.3.0/24"]].concat()).await;
    for speaker in [a, b, c] {
        speaker.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dynamic_peer_over_its_limit_is_remembered_for_longer_than_it_lingers() {
    let net = Net::new();
    let prefix = format!("{}/28", net.host(16));
    let lines = "asn = \"external\"\nlinger = 1\nmax_prefixes = { ipv4 = 1, action = \"stop\" }";
    let a = Plan::new(net, 1, 65_001).dynamic(&prefix, lines).start();
    let mut peer = Scripted::connect(net.host(20), net.socket(1)).await;
    peer.handshake(65_020).await;
    let mut second = announce();
    *second.last_mut().unwrap() += 1;
    peer.send(&[announce(), second].concat()).await;
    assert_eq!(peer.end().await, Some((6, 1)));

    tokio::time::sleep(NEVER).await;
    let mut again = Scripted::connect(net.host(20), net.socket(1)).await;
    again.send(&open(65_020)).await;
    let told = refusal(&mut again).await;
    assert_eq!((told.code, told.subcode), (6, 1));
    let member = a.peering.peer(&format!("group@{}", net.host(20))).unwrap();
    assert_eq!(member.status().limits.ipv4.stopped, 1);
    a.stop().await;
}
