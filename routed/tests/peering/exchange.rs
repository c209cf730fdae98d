//! Routes between two speakers.

use std::sync::Arc;

use bgp::{
    aspath::Asn, attrs::Attrs, community::Community, family::Family, rib::NotAdvertised,
    wire::Message,
};
use routed::peering::PeerCommand;

use crate::{
    harness::{Net, Plan, originated, prefix},
    scripted::Scripted,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn routes_of_both_families_go_both_ways() {
    let net = Net::new();
    let v6 = |host: u8| format!("next_hop_ipv6 = \"fd00::{host}\"");
    let a = Plan::new(net, 1, 65_001).peer(2, 65_002, &v6(1)).start();
    let b = Plan::new(net, 2, 65_002).peer(1, 65_001, &v6(2)).start();

    a.originate(&["10.244.1.0/24", "fd00:10:244:1::/64"]).await;
    b.originate(&["10.244.2.0/24", "fd00:10:244:2::/64"]).await;

    let all = ["10.244.1.0/24", "10.244.2.0/24", "fd00:10:244:1::/64", "fd00:10:244:2::/64"];
    let at_a = a.best_are(&all).await;
    let at_b = b.best_are(&all).await;
    let learned = &at_b[0].1;
    assert_eq!(learned.attrs.next_hop.addr.to_string(), "10.0.0.1");
    assert_eq!(learned.attrs.as_path.first(), Some(Asn(65_001)));
    assert_eq!(at_b[2].1.attrs.next_hop.addr.to_string(), "fd00::1");
    assert_eq!(at_a[1].1.attrs.next_hop.addr.to_string(), "10.0.0.2");

    let status = a.established(2).await;
    let agreed = status.negotiated.unwrap();
    assert_eq!((agreed.peer_asn, agreed.hold_time), (Asn(65_002), 9));
    assert_eq!(status.local.unwrap().ip(), net.host(1));
    assert_eq!(status.remote.unwrap().ip(), net.host(2));
    assert_eq!(status.queued, 0);
    a.stop().await;
    b.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_withdrawn_route_goes_at_the_other_side_and_nothing_else() {
    let net = Net::new();
    let a = Plan::new(net, 1, 65_001).peer(2, 65_002, "").start();
    let b = Plan::new(net, 2, 65_002).peer(1, 65_001, "passive = true").start();
    a.originate(&["10.244.1.0/24", "10.244.9.0/24"]).await;
    b.best_are(&["10.244.1.0/24", "10.244.9.0/24"]).await;

    a.peering.rib().withdraw(prefix("10.244.9.0/24")).await.unwrap();

    b.best_are(&["10.244.1.0/24"]).await;
    assert_eq!(b.established(1).await.established_count, 1);
    a.stop().await;
    b.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_family_without_an_own_address_is_not_announced_and_it_is_told_why() {
    let net = Net::new();
    let a = Plan::new(net, 1, 65_001).peer(2, 65_002, "").start();
    let b = Plan::new(net, 2, 65_002).peer(1, 65_001, "").start();

    a.originate(&["10.244.1.0/24", "fd00:10:244:1::/64"]).await;

    b.best_are(&["10.244.1.0/24"]).await;
    let advertised = a.peering.rib().advertised(a.peer(2).id).await.unwrap();
    assert!(advertised[0].outcome.is_ok());
    assert_eq!(advertised[1].outcome, Err(NotAdvertised::NoNextHop));
    a.stop().await;
    b.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn end_of_rib_comes_for_each_family_after_what_there_is_to_tell() {
    let net = Net::new();
    let a = Plan::new(net, 1, 65_001)
        .peer(2, 65_002, "passive = true")
        .peer(3, 65_003, "passive = true")
        .start();
    let mut early = Scripted::connect(net.host(2), net.socket(1)).await;
    early.handshake(65_002).await;
    assert_eq!(early.initial_transfer().await, []);

    a.originate(&["10.244.1.0/24", "10.244.2.0/24"]).await;
    let mut late = Scripted::connect(net.host(3), net.socket(1)).await;
    late.handshake(65_003).await;

    let updates = late.initial_transfer().await;
    let prefixes: Vec<_> = updates[0].reach[0].prefixes.iter().map(|nlri| nlri.prefix).collect();
    assert_eq!(prefixes, [prefix("10.244.1.0/24"), prefix("10.244.2.0/24")]);
    assert_eq!(updates.len(), 1, "what shares its attributes shares a message");
    a.stop().await;
}

/// What the peer has, what it is said to have, and what is counted are the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rfc8654_4_a_route_too_long_for_a_peer_is_kept_from_it_and_it_is_told_why() {
    let net = Net::new();
    let a = Plan::new(net, 1, 65_001)
        .peer(2, 65_002, "passive = true")
        .peer(3, 65_003, "passive = true")
        .start();
    let b = Plan::new(net, 2, 65_002).peer(1, 65_001, "").start();
    let mut plain = Scripted::connect(net.host(3), net.socket(1)).await;
    plain.handshake(65_003).await;
    assert_eq!(plain.initial_transfer().await, []);
    let mut long = Attrs::clone(&originated());
    long.communities = (1..=1020).map(Community).collect();
    a.peering.rib().originate(prefix("10.244.1.0/24"), Arc::new(long)).await.unwrap();
    a.originate(&["10.244.2.0/24"]).await;

    // Our own speaker takes longer messages.
    b.best_are(&["10.244.1.0/24", "10.244.2.0/24"]).await;
    let Some(Message::Update(update)) = plain.news().await else { panic!("no UPDATE") };
    assert_eq!(update.reach[0].prefixes, [prefix("10.244.2.0/24").into()]);
    let id = a.peer(3).id;
    let advertised = a.peering.rib().advertised(id).await.unwrap();
    let reason = advertised[0].outcome.as_ref().unwrap_err().to_string();
    assert!(reason.starts_with("too long for this peer: "), "{reason}");
    assert!(reason.contains("the peer takes 4096"), "{reason}");
    let counts = a.peering.rib().peer_counts(vec![id, a.peer(2).id]).await.unwrap();
    assert_eq!(counts.iter().map(|of| of[0].advertised).collect::<Vec<_>>(), [1, 2]);
    a.stop().await;
    b.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn internal_peers_keep_the_next_hop_and_do_not_pass_routes_on() {
    let net = Net::new();
    let a = Plan::new(net, 1, 65_001).peer(2, 65_002, "").start();
    let b = Plan::new(net, 2, 65_002).peer(1, 65_001, "").peer(3, 65_002, "").start();
    let c = Plan::new(net, 3, 65_002).peer(2, 65_002, "").peer(4, 65_002, "").start();
    let d = Plan::new(net, 4, 65_002).peer(3, 65_002, "").start();

    a.originate(&["10.244.1.0/24"]).await;
    c.originate(&["10.244.3.0/24"]).await;

    let at_c = c.best_are(&["10.244.1.0/24", "10.244.3.0/24"]).await;
    assert_eq!(at_c[0].1.attrs.next_hop.addr.to_string(), "10.0.0.1");
    d.best_are(&["10.244.3.0/24"]).await;
    for speaker in [a, b, c, d] {
        speaker.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn routes_asked_for_again_come_again() {
    let net = Net::new();
    let a = Plan::new(net, 1, 65_001).peer(2, 65_002, "").start();
    let b = Plan::new(net, 2, 65_002).peer(1, 65_001, "").start();
    a.originate(&["10.244.1.0/24"]).await;
    b.best_are(&["10.244.1.0/24"]).await;
    let before = b.peer(1).status().received.updates;

    b.peer(1).command(PeerCommand::Refresh(Family::Ipv4Unicast)).await;

    b.status(1, "told again", |status| status.received.updates > before).await;
    assert_eq!(a.peer(2).status().received.refreshes, 1);
    a.stop().await;
    b.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn best_changes_come_from_peers_too_and_name_them() {
    let net = Net::new();
    let a = Plan::new(net, 1, 65_001).peer(2, 65_002, "").start();
    let mut b = Plan::new(net, 2, 65_002).peer(1, 65_001, "").start();

    a.originate(&["10.244.1.0/24"]).await;
    let changes = b.best.next(10).await.unwrap();
    assert_eq!(changes[0].prefix, prefix("10.244.1.0/24"));
    assert_eq!(changes[0].paths[0].peer, Some(b.peer(1).id));

    a.stop().await;
    let changes = b.best.next(10).await.unwrap();
    assert_eq!((changes[0].prefix, changes[0].paths.len()), (prefix("10.244.1.0/24"), 0));
    b.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn routes_are_told_again_if_an_operator_wants_it() {
    let net = Net::new();
    let a = Plan::new(net, 1, 65_001).peer(2, 65_002, "").start();
    let b = Plan::new(net, 2, 65_002).peer(1, 65_001, "").start();
    a.originate(&["10.244.1.0/24"]).await;
    b.best_are(&["10.244.1.0/24"]).await;
    let before = b.peer(1).status().received.updates;

    a.peer(2).command(PeerCommand::Resend(Family::Ipv4Unicast)).await;

    b.status(1, "told again", |status| status.received.updates > before).await;
    assert_eq!(b.established(1).await.established_count, 1);
    a.stop().await;
    b.stop().await;
}
