//! Who is not let in, and what it is told.

use std::io::Write;

use bgp::session::State;
use tempfile::NamedTempFile;

use crate::{
    harness::{NEVER, Net, Plan},
    scripted::{Scripted, open},
};

pub(crate) fn password(text: &str) -> (NamedTempFile, String) {
    let mut file = NamedTempFile::new().unwrap();
    writeln!(file, "{text}").unwrap();
    let line = format!("password_file = \"{}\"", file.path().display());
    (file, line)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_with_the_same_password_meet() {
    let net = Net::new();
    let (_file, secret) = password("correct horse");
    let a = Plan::new(net, 1, 65_001).peer(2, 65_002, &secret).start();
    let b = Plan::new(net, 2, 65_002).peer(1, 65_001, &secret).start();
    a.originate(&["10.244.1.0/24"]).await;

    b.best_are(&["10.244.1.0/24"]).await;

    a.stop().await;
    b.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_with_different_passwords_never_meet_and_others_do() {
    let net = Net::new();
    let (_file, right) = password("right");
    let (_other, wrong) = password("wrong");
    let a = Plan::new(net, 1, 65_001).peer(2, 65_002, &right).peer(3, 65_003, "").start();
    let b = Plan::new(net, 2, 65_002).peer(1, 65_001, &wrong).start();
    let c = Plan::new(net, 3, 65_003).peer(1, 65_001, "").start();

    a.established(3).await;
    tokio::time::sleep(NEVER).await;

    for status in [a.peer(2).status(), b.peer(1).status()] {
        assert_eq!(status.established_count, 0);
        assert!(status.state < State::OpenSent, "{status:?}");
    }
    for speaker in [a, b, c] {
        speaker.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_as_is_refused_and_both_sides_can_read_why() {
    let net = Net::new();
    let a = Plan::new(net, 1, 65_001).peer(2, 65_009, "").start();
    let b = Plan::new(net, 2, 65_002).peer(1, 65_001, "").start();

    // The OPEN that is refused may be that of either connection.
    let why = |status: &routed::peering::PeerStatus, word: &str| {
        status.last_error.as_ref().is_some_and(|error| {
            let text = error.to_string();
            text.starts_with(word) && text.contains("Bad Peer AS")
        })
    };
    a.status(2, "told why it refused", |status| why(status, "sent")).await;
    b.status(1, "told why it was refused", |status| why(status, "received")).await;

    assert_eq!(a.peer(2).status().established_count, 0);
    a.stop().await;
    b.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_gets_connection_rejected_and_no_open() {
    let net = Net::new();
    let a = Plan::new(net, 1, 65_001).peer(2, 65_002, "passive = true").start();

    let mut stranger = Scripted::connect(net.host(66), net.socket(1)).await;
    stranger.send(&open(65_002)).await;

    assert_eq!(
        stranger.message().await,
        Some(bgp::wire::Message::Notification(bgp::wire::Notification {
            code: 6,
            subcode: 5,
            data: bytes::Bytes::new(),
        }))
    );
    assert_eq!(stranger.message().await, None);
    a.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_strangers_do_not_keep_a_peer_out() {
    let net = Net::new();
    let a = Plan::new(net, 1, 65_001).peer(2, 65_002, "passive = true").start();
    let mut strangers = Vec::new();
    for host in 100..250 {
        strangers.push(Scripted::connect(net.host(host), net.socket(1)).await);
    }

    let b = Plan::new(net, 2, 65_002).peer(1, 65_001, "").start();

    a.established(2).await;
    drop(strangers);
    a.stop().await;
    b.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ttl_security_lets_near_peers_in_and_keeps_others_from_the_session() {
    let net = Net::new();
    let near = "ttl_security = 1";
    let a = Plan::new(net, 1, 65_001)
        .peer(2, 65_002, near)
        .peer(3, 65_003, "ttl_security = 1\npassive = true")
        .start();
    let b = Plan::new(net, 2, 65_002).peer(1, 65_001, near).start();

    // This one sends with the kernel's usual hop limit of 64: it is too far away.
    let mut far = Scripted::connect(net.host(3), net.socket(1)).await;
    far.send(&open(65_003)).await;

    assert_eq!(far.message().await, None, "closed without an OPEN");
    a.established(2).await;
    assert_eq!(a.peer(3).status().received.opens, 0);
    a.stop().await;
    b.stop().await;
}
