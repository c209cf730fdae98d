//! Another configuration while sessions stand: what changes, and what must not notice.

use std::net::SocketAddr;

use bgp::{rib::Verdict, session::State};
use routed::peering::{PeerCommand, PeerStatus};
use tokio::net::TcpStream;

use crate::{
    harness::{NEVER, Net, PORT, Plan, Speaker},
    refusal::password,
    scripted::Scripted,
};

/// What shows that a session has gone on: its beginning.
async fn since(speaker: &Speaker, host: u8) -> Option<std::time::Instant> {
    speaker.established(host).await.since
}

fn last_error(status: &PeerStatus) -> String {
    status.last_error.as_ref().map(ToString::to_string).unwrap_or_default()
}

async fn apply(speaker: &Speaker, plan: &Plan) {
    speaker.peering.apply(&plan.config()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_policy_is_in_force_at_once_and_resets_nothing() {
    let net = Net::new();
    let a = Plan::new(net, 1, 65_001).peer(2, 65_002, "").start();
    let b = Plan::new(net, 2, 65_002).peer(1, 65_001, "").start();
    a.originate(&["10.244.1.0/24"]).await;
    b.originate(&["10.244.2.0/24"]).await;
    a.best_are(&["10.244.1.0/24", "10.244.2.0/24"]).await;
    b.best_are(&["10.244.1.0/24", "10.244.2.0/24"]).await;
    let before = (since(&a, 2).await, since(&b, 1).await);

    apply(&a, &Plan::new(net, 1, 65_001).peer(2, 65_002, "export = \"none\"")).await;
    b.best_are(&["10.244.2.0/24"]).await;
    apply(&a, &Plan::new(net, 1, 65_001).peer(2, 65_002, "import = \"none\"")).await;
    b.best_are(&["10.244.1.0/24", "10.244.2.0/24"]).await;
    a.best_are(&["10.244.1.0/24"]).await;
    apply(&a, &Plan::new(net, 1, 65_001).peer(2, 65_002, "")).await;
    a.best_are(&["10.244.1.0/24", "10.244.2.0/24"]).await;

    assert_eq!((since(&a, 2).await, since(&b, 1).await), before);
    a.stop().await;
    b.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_come_and_go_and_the_others_do_not_notice() {
    let net = Net::new();
    let one = Plan::new(net, 1, 65_001).peer(2, 65_002, "");
    let both = one.clone().peer(3, 65_003, "");
    let a = one.clone().start();
    let b = Plan::new(net, 2, 65_002).peer(1, 65_001, "").start();
    let c = Plan::new(net, 3, 65_003).peer(1, 65_001, "").start();
    c.originate(&["10.244.3.0/24"]).await;
    a.established(2).await;
    let before = (since(&a, 2).await, since(&b, 1).await);

    apply(&a, &both).await;
    b.best_are(&["10.244.3.0/24"]).await;
    let id = a.peer(3).id;

    apply(&a, &one).await;
    let told =
        c.status(1, "told", |status| last_error(status).contains("Peer De-configured")).await;
    assert!(last_error(&told).starts_with("received"), "{told:?}");
    assert!(a.peering.peer("p3").is_none());
    b.best_are(&[]).await;

    apply(&a, &both).await;
    b.best_are(&["10.244.3.0/24"]).await;
    assert_ne!(a.peer(3).id, id, "a peer's number is never another's");
    assert_eq!((since(&a, 2).await, since(&b, 1).await), before);
    for speaker in [a, b, c] {
        speaker.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_stands_in_open_resets_exactly_the_peer_that_it_concerns() {
    let net = Net::new();
    let plan = |more: &str| Plan::new(net, 1, 65_001).peer(2, 65_002, more).peer(3, 65_003, "");
    let a = plan("").start();
    let b = Plan::new(net, 2, 65_002).peer(1, 65_001, "").start();
    let c = Plan::new(net, 3, 65_003).peer(1, 65_001, "").start();
    let first = a.established(2).await.established_count;
    a.established(3).await;
    let other = (since(&a, 3).await, since(&c, 1).await);

    apply(&a, &plan("hold_time = 6")).await;
    b.status(1, "told", |status| last_error(status).contains("Other Configuration Change")).await;
    let status = a.established_again(2, first).await;
    assert_eq!(status.negotiated.unwrap().hold_time, 6);

    apply(&a, &plan("hold_time = 6\nfamilies = [\"ipv4\"]")).await;
    let only = |status: &PeerStatus| {
        status.negotiated.as_ref().is_some_and(|agreed| agreed.families.iter().count() == 1)
    };
    a.status(2, "established with one family", only).await;

    assert_eq!((since(&a, 3).await, since(&c, 1).await), other);
    for speaker in [a, b, c] {
        speaker.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn timers_and_names_change_without_a_reset() {
    let net = Net::new();
    let a = Plan::new(net, 1, 65_001).peer(2, 65_002, "").start();
    let b = Plan::new(net, 2, 65_002).peer(1, 65_001, "").start();
    a.established(2).await;
    let before = since(&a, 2).await;
    let keepalives = b.peer(1).status().received.keepalives;

    let more = "keepalive_time = 1\nconnect_retry = 7\npassive = true\n";
    apply(&a, &Plan::new(net, 1, 65_001).peer(2, 65_002, more)).await;

    b.status(1, "told oftener", |status| status.received.keepalives >= keepalives + 3).await;
    assert_eq!(since(&a, 2).await, before);
    assert!(a.peer(2).settings.session.passive);
    a.stop().await;
    b.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_password_locks_out_the_old_one_and_lets_in_the_new_one() {
    let net = Net::new();
    let (_file, old) = password("old");
    let (_other, new) = password("new");
    let plan = |more: &str| Plan::new(net, 1, 65_001).peer(2, 65_002, more).peer(3, 65_003, "");
    let passive = |more: &str| Plan::new(net, 2, 65_002).peer(1, 65_001, more);
    let a = plan(&format!("{old}\npassive = true")).start();
    let b = passive(&old).start();
    let c = Plan::new(net, 3, 65_003).peer(1, 65_001, "").start();
    a.established(2).await;
    a.established(3).await;
    let other = since(&a, 3).await;

    apply(&a, &plan(&format!("{new}\npassive = true"))).await;
    b.status(1, "reset", |status| status.state != State::Established).await;
    tokio::time::sleep(NEVER).await;
    assert_ne!(b.peer(1).status().state, State::Established);

    apply(&b, &passive(&new)).await;
    a.established(2).await;

    // And without any: signed connections are not taken any more either.
    apply(&a, &plan("passive = true")).await;
    b.status(1, "reset", |status| status.state != State::Established).await;
    apply(&b, &passive("")).await;
    a.established(2).await;
    assert_eq!(since(&a, 3).await, other);
    for speaker in [a, b, c] {
        speaker.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_listening_addresses_do_not_touch_sessions() {
    let net = Net::new();
    let plan = || Plan::new(net, 1, 65_001).peer(2, 65_002, "passive = true");
    let a = plan().start();
    let mut peer = Scripted::connect(net.host(2), net.socket(1)).await;
    peer.handshake(65_002).await;
    a.established(2).await;
    let before = since(&a, 2).await;

    // The new address is not another one but includes the old: both cannot be open at once.
    let port = 20_000 + u16::from(net.third());
    let on = |host: u8, port| SocketAddr::new(net.host(host), port);
    apply(&a, &plan().listening_on(&[net.socket(1), on(9, port)])).await;
    assert!(TcpStream::connect(on(9, port)).await.is_ok());
    let everywhere = SocketAddr::from(([0, 0, 0, 0], port));
    apply(&a, &plan().listening_on(&[everywhere])).await;
    assert!(TcpStream::connect(on(8, port)).await.is_ok());
    assert!(TcpStream::connect(net.socket(1)).await.is_err());

    assert_eq!(since(&a, 2).await, before);
    assert_eq!(a.peer(2).status().state, State::Established);
    a.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_cannot_be_listened_on_changes_nothing_at_all() {
    let net = Net::new();
    let (_file, secret) = password("secret");
    let a = Plan::new(net, 1, 65_001).peer(2, 65_002, "passive = true").start();
    let taken = std::net::TcpListener::bind(SocketAddr::new(net.host(7), PORT)).unwrap();

    let other = Plan::new(net, 1, 65_001)
        .peer(2, 65_002, &format!("passive = true\n{secret}"))
        .peer(3, 65_003, "")
        .listening_on(&[taken.local_addr().unwrap()]);
    let error = a.peering.apply(&other.config()).await.unwrap_err();

    assert!(error.to_string().contains(&format!("cannot listen on {}", net.socket(7))), "{error}");
    assert!(a.peering.peer("p3").is_none());
    let mut peer = Scripted::connect(net.host(2), net.socket(1)).await;
    peer.handshake(65_002).await;
    a.established(2).await;
    a.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_as_of_ours_resets_every_peer_and_they_meet_again_with_it() {
    let net = Net::new();
    let a = Plan::new(net, 1, 65_001).peer(2, 65_002, "").start();
    let b = Plan::new(net, 2, 65_002).peer(1, 65_001, "").start();
    a.originate(&["10.244.1.0/24"]).await;
    b.best_are(&["10.244.1.0/24"]).await;

    apply(&a, &Plan::new(net, 1, 65_009).peer(2, 65_002, "")).await;
    apply(&b, &Plan::new(net, 2, 65_002).peer(1, 65_009, "")).await;

    b.status(1, "in another AS", |status| {
        status.negotiated.as_ref().is_some_and(|agreed| agreed.peer_asn.0 == 65_009)
    })
    .await;
    let best = b.best_are(&["10.244.1.0/24"]).await;
    assert_eq!(best[0].1.attrs.as_path.to_string(), "65009");
    a.stop().await;
    b.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_number_of_equal_paths_changes_without_a_reset() {
    let net = Net::new();
    let plan = |paths: u8| {
        let plan = Plan::new(net, 1, 65_001).bgp(&format!("multipath = {paths}"));
        plan.peer(2, 65_002, "").peer(3, 65_003, "")
    };
    let a = plan(2).start();
    let b = Plan::new(net, 2, 65_002).peer(1, 65_001, "").start();
    let c = Plan::new(net, 3, 65_003).peer(1, 65_001, "").start();
    for speaker in [&b, &c] {
        speaker.originate(&["10.244.9.0/24"]).await;
    }
    let used = async || {
        let routes = a.peering.rib().routes().await.unwrap();
        let paths = routes.into_iter().flat_map(|(_, paths)| paths);
        let used = |verdict: &Verdict| matches!(verdict, Verdict::Best | Verdict::Multipath);
        paths.filter(|path| used(&path.verdict)).count()
    };
    while used().await != 2 {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let before = (since(&a, 2).await, since(&a, 3).await);

    apply(&a, &plan(1)).await;

    assert_eq!(used().await, 1);
    assert_eq!((since(&a, 2).await, since(&a, 3).await), before);
    for speaker in [a, b, c] {
        speaker.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_an_operator_has_stopped_stays_so() {
    let net = Net::new();
    let a = Plan::new(net, 1, 65_001).peer(2, 65_002, "").start();
    let b = Plan::new(net, 2, 65_002).peer(1, 65_001, "").start();
    a.established(2).await;
    a.peer(2).command(PeerCommand::Stop("works".to_owned())).await;
    a.status(2, "stopped", |status| !status.wanted && status.state == State::Idle).await;

    apply(&a, &Plan::new(net, 1, 65_001).peer(2, 65_002, "hold_time = 6")).await;
    tokio::time::sleep(NEVER).await;
    assert_eq!(a.peer(2).status().state, State::Idle);

    a.peer(2).command(PeerCommand::Start).await;
    assert_eq!(a.established(2).await.negotiated.unwrap().hold_time, 6);
    a.stop().await;
    b.stop().await;
}
