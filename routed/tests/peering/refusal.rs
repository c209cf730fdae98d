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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rfc5925_a_kernel_without_tcp_ao_is_told_of_and_nothing_else_changes() {
    let net = Net::new();
    let (_file, secret) = password("correct horse");
    let plan = Plan::new(net, 1, 65_001).peer(2, 65_002, "");
    let a = plan.clone().start();
    let b = Plan::new(net, 2, 65_002).peer(1, 65_001, "").start();
    let before = a.established(2).await.since;
    let signed = plan.peer(3, 65_003, &format!("{secret}\ntcp_ao = {{ send_id = 1 }}"));
    // On a kernel that has it there is nothing to be told of.
    if let Err(error) = a.peering.apply(&signed.config()).await {
        let text = error.to_string();
        assert!(text.contains("CONFIG_TCP_AO") && text.contains("remove tcp_ao"), "{text}");
        assert!(a.peering.peer("p3").is_none());
    }
    assert_eq!(a.established(2).await.since, before);
    a.stop().await;
    b.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a kernel with CONFIG_TCP_AO"]
async fn rfc5925_peers_with_the_same_master_key_meet_and_others_do_not() {
    let net = Net::new();
    let (_file, secret) = password("correct horse");
    let (_other, wrong) = password("wrong");
    let ids =
        |send: u8, receive: u8| format!("tcp_ao = {{ send_id = {send}, receive_id = {receive} }}");
    let a = Plan::new(net, 1, 65_001)
        .peer(2, 65_002, &format!("{secret}\n{}", ids(1, 2)))
        .peer(3, 65_003, &format!("{secret}\n{}", ids(1, 2)))
        .start();
    let b = Plan::new(net, 2, 65_002).peer(1, 65_001, &format!("{secret}\n{}", ids(2, 1))).start();
    let c = Plan::new(net, 3, 65_003).peer(1, 65_001, &format!("{wrong}\n{}", ids(2, 1))).start();
    a.established(2).await;
    tokio::time::sleep(NEVER).await;
    assert_eq!(a.peer(3).status().established_count, 0);
    for speaker in [a, b, c] {
        speaker.stop().await;
    }
}
