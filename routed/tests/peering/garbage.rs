//! Peers that do not speak as they should.

use bgp::{session::State, wire};
use tokio::io::AsyncWriteExt;

use crate::{
    harness::{Net, Plan, Speaker},
    scripted::{Scripted, announce, announce_with_origin, open},
};

/// A speaker with a scripted peer at .2 and a good one at .3, which is established.
async fn speaker(net: Net) -> (Speaker, Speaker) {
    let a = Plan::new(net, 1, 65_001)
        .peer(2, 65_002, "passive = true")
        .peer(3, 65_003, "passive = true")
        .start();
    let good = Plan::new(net, 3, 65_003).peer(1, 65_001, "").start();
    a.established(3).await;
    (a, good)
}

/// The good peer has not noticed anything.
async fn undisturbed(a: Speaker, good: Speaker) {
    let status = a.established(3).await;
    assert_eq!(status.established_count, 1);
    a.stop().await;
    good.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_is_answered_by_connection_not_synchronized() {
    let net = Net::new();
    let (a, good) = speaker(net).await;

    let mut peer = Scripted::connect(net.host(2), net.socket(1)).await;
    peer.send(b"GET / HTTP/1.1\r\nHost: rack1-node1\r\n\r\n").await;

    assert_eq!(peer.end().await, Some((1, 1)));
    undisturbed(a, good).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_in_an_established_session_ends_it_and_takes_its_routes() {
    let net = Net::new();
    let (a, good) = speaker(net).await;
    let mut peer = Scripted::connect(net.host(2), net.socket(1)).await;
    peer.handshake(65_002).await;
    peer.send(&announce()).await;
    a.best_are(&["192.0.2.0/24"]).await;

    peer.send(&[0; 64]).await;

    assert_eq!(peer.end().await, Some((1, 1)));
    a.best_are(&[]).await;
    undisturbed(a, good).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_a_message_and_an_end_leave_room_for_the_next_attempt() {
    let net = Net::new();
    let (a, good) = speaker(net).await;

    let mut half = Scripted::connect(net.host(2), net.socket(1)).await;
    half.send(&open(65_002)[..21]).await;
    half.stream.shutdown().await.unwrap();
    assert_eq!(half.end().await, None);
    drop(half);

    a.status(2, "back at rest", |status| status.state < State::OpenSent).await;
    let mut whole = None;
    for _ in 0..100 {
        // The session may rest before it takes the next connection.
        let mut peer = Scripted::connect(net.host(2), net.socket(1)).await;
        peer.send(&open(65_002)).await;
        if matches!(peer.message().await, Some(wire::Message::Open(_))) {
            peer.send(&wire::keepalive()).await;
            whole = Some(peer);
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    a.established(2).await;
    drop(whole);
    undisturbed(a, good).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn octets_that_come_one_by_one_are_as_good_as_whole_messages() {
    let net = Net::new();
    let (a, good) = speaker(net).await;
    let mut peer = Scripted::connect(net.host(2), net.socket(1)).await;

    for octet in [&open(65_002)[..], &wire::keepalive(), &announce()].concat() {
        peer.send(&[octet]).await;
        tokio::task::yield_now().await;
    }

    a.best_are(&["192.0.2.0/24"]).await;
    undisturbed(a, good).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flawed_update_withdraws_its_routes_and_keeps_the_session() {
    let net = Net::new();
    let (a, good) = speaker(net).await;
    let mut peer = Scripted::connect(net.host(2), net.socket(1)).await;
    peer.handshake(65_002).await;
    peer.send(&announce()).await;
    a.best_are(&["192.0.2.0/24"]).await;

    // ORIGIN 7 does not exist (RFC 7606 §7.1).
    peer.send(&announce_with_origin(&[0x40, 1, 1, 7])).await;

    a.best_are(&[]).await;
    let status = a.established(2).await;
    assert_eq!((status.faults.withdrawn, status.established_count), (1, 1));
    undisturbed(a, good).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_opens_connection_after_connection_gets_one_session() {
    let net = Net::new();
    let (a, good) = speaker(net).await;
    let mut first = Scripted::connect(net.host(2), net.socket(1)).await;
    first.handshake(65_002).await;
    a.established(2).await;

    let mut more = Vec::new();
    for _ in 0..50 {
        let mut peer = Scripted::connect(net.host(2), net.socket(1)).await;
        let _ = peer.stream.write_all(&open(65_002)).await;
        more.push(peer);
    }
    for peer in &mut more {
        // Cease, Connection Collision Resolution, or just the end.
        assert!(matches!(peer.end().await, Some((6, 7)) | None));
    }

    first.send(&announce()).await;
    a.best_are(&["192.0.2.0/24"]).await;
    assert_eq!(a.peer(2).status().established_count, 1);
    undisturbed(a, good).await;
}
