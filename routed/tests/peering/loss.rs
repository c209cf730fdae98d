//! Sessions that end and come back.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::{Duration, Instant},
};

use bgp::{
    session::{Cease, State},
    wire::Message,
};
use routed::peering::{LinkEvent, PeerCommand};
use tokio::net::TcpListener;

use crate::{
    harness::{NEVER, Net, Plan},
    scripted::{Scripted, announce},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn routes_go_with_a_lost_connection_and_come_back_with_the_next() {
    let net = Net::new();
    let a = Plan::new(net, 1, 65_001).peer(2, 65_002, "").start();
    let listener = TcpListener::bind(net.socket(2)).await.unwrap();
    let mut peer = Scripted::accept(&listener).await;
    peer.handshake(65_002).await;
    peer.send(&announce()).await;
    a.best_are(&["192.0.2.0/24"]).await;

    drop(peer);

    a.best_are(&[]).await;
    a.status(2, "told why", |status| status.last_error.is_some()).await;
    let mut peer = Scripted::accept(&listener).await;
    peer.handshake(65_002).await;
    peer.send(&announce()).await;
    a.best_are(&["192.0.2.0/24"]).await;
    assert_eq!(a.peer(2).status().established_count, 2);
    a.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_speaker_gets_the_whole_table_again() {
    let net = Net::new();
    let a = Plan::new(net, 1, 65_001).peer(2, 65_002, "").start();
    a.originate(&["10.244.1.0/24"]).await;
    let b = Plan::new(net, 2, 65_002).peer(1, 65_001, "").start();
    b.best_are(&["10.244.1.0/24"]).await;
    b.stop().await;
    a.status(2, "down", |status| status.state != State::Established).await;

    let b = Plan::new(net, 2, 65_002).peer(1, 65_001, "").start();

    b.best_are(&["10.244.1.0/24"]).await;
    a.stop().await;
    b.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_peer_is_told_by_whom_and_stays_away_until_started() {
    let net = Net::new();
    let a = Plan::new(net, 1, 65_001).peer(2, 65_002, "passive = true").start();
    let mut peer = Scripted::connect(net.host(2), net.socket(1)).await;
    peer.handshake(65_002).await;
    a.established(2).await;

    a.peer(2).command(PeerCommand::Stop("rack maintenance".to_owned())).await;

    let end = loop {
        match peer.news().await {
            Some(Message::Notification(end)) => break end,
            Some(_) => (),
            None => panic!("ended without a word"),
        }
    };
    assert_eq!((end.code, end.subcode, end.shutdown_text()), (6, 2, Some("rack maintenance")));
    let status = a.status(2, "idle", |status| status.state == State::Idle).await;
    assert!(!status.wanted);
    let mut early = Scripted::connect(net.host(2), net.socket(1)).await;
    early.end().await;

    a.peer(2).command(PeerCommand::Start).await;
    a.status(2, "wanted", |status| status.wanted && status.state != State::Idle).await;
    let mut peer = Scripted::connect(net.host(2), net.socket(1)).await;
    peer.handshake(65_002).await;
    a.established(2).await;
    a.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_session_comes_back_by_itself() {
    let net = Net::new();
    let a = Plan::new(net, 1, 65_001).peer(2, 65_002, "").start();
    let b = Plan::new(net, 2, 65_002).peer(1, 65_001, "").start();
    let before = a.established(2).await.established_count;
    b.established(1).await;

    a.peer(2).command(PeerCommand::Reset("new key".to_owned())).await;

    b.status(1, "told", |status| {
        status.last_error.as_ref().is_some_and(|error| error.to_string().contains("new key"))
    })
    .await;
    a.established_again(2, before).await;
    b.established(1).await;
    a.stop().await;
    b.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopping_tells_every_peer_and_waits_for_no_deaf_one() {
    let net = Net::new();
    let a = Plan::new(net, 1, 65_001)
        .peer(2, 65_002, "passive = true")
        .peer(3, 65_003, "passive = true")
        .start();
    let mut peer = Scripted::connect(net.host(2), net.socket(1)).await;
    peer.handshake(65_002).await;
    let mut deaf = Scripted::connect(net.host(3), net.socket(1)).await;
    deaf.handshake(65_003).await;
    a.established(2).await;
    a.established(3).await;

    let start = Instant::now();
    let stopping = tokio::spawn(a.peering.stop(Cease::AdminShutdown("bye".to_owned())));

    assert_eq!(peer.end().await, Some((6, 2)));
    drop(peer);
    stopping.await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_ends_with_its_address_and_is_tried_again() {
    let net = Net::new();
    let a = Plan::new(net, 1, 65_001).peer(2, 65_002, "").start();
    let b = Plan::new(net, 2, 65_002).peer(1, 65_001, "").start();
    let before = a.established(2).await.established_count;

    a.peering.link(&LinkEvent::AddressGone(net.host(99))).await;
    tokio::time::sleep(NEVER / 10).await;
    assert_eq!(a.established(2).await.established_count, before);

    a.peering.link(&LinkEvent::AddressGone(net.host(1))).await;
    a.established_again(2, before).await;
    a.stop().await;
    b.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_over_a_link_ends_with_the_link_and_others_do_not() {
    let net = Net::new();
    let lo = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let a = Plan::new(net, 1, 65_001).dialling_from(lo).peer(2, 65_002, "").start();
    let b = Plan::new(net, 2, 65_002).peer_at(lo, 1, 65_001, "passive = true").start();
    a.established(2).await;

    a.peering.link(&LinkEvent::Down("eth7".to_owned())).await;
    a.peering.link(&LinkEvent::Up("lo".to_owned())).await;
    tokio::time::sleep(NEVER / 10).await;
    assert_eq!(a.peer(2).status().state, State::Established);
    assert_eq!(a.peer(2).status().established_count, 1);

    a.peering.link(&LinkEvent::Down("lo".to_owned())).await;
    a.established_again(2, 1).await;
    a.stop().await;
    b.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_peer_is_dropped_when_the_hold_time_ends() {
    let net = Net::new();
    let a = Plan::new(net, 1, 65_001).peer(2, 65_002, "passive = true\nhold_time = 3").start();
    let mut peer = Scripted::connect(net.host(2), net.socket(1)).await;
    peer.handshake(65_002).await;
    peer.send(&announce()).await;
    a.best_are(&["192.0.2.0/24"]).await;
    let start = Instant::now();

    assert_eq!(peer.end().await, Some((4, 0)));

    let silence = start.elapsed();
    assert!((2_500..4_500).contains(&silence.as_millis()), "{silence:?}");
    a.best_are(&[]).await;
    a.stop().await;
}
