//! A peer that takes nothing while a large table is on its way to it.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use bgp::{
    attrs::{Attrs, NextHop},
    community::LargeCommunity,
    prefix::Prefix,
    wire,
};

use crate::{
    harness::{Net, Plan},
    scripted::{Scripted, announce},
};

/// Routes of the table.
const ROUTES: u32 = 20_000;

/// Attributes of some 700 octets that no other route has: no two routes share a message.
fn bulky(number: u32) -> Arc<Attrs> {
    let mut attrs = Attrs::originated(NextHop::new("0.0.0.0".parse().unwrap()));
    let large = |local2| LargeCommunity { global: 65_001, local1: number, local2 };
    attrs.large_communities = (0..55).map(large).collect();
    Arc::new(attrs)
}

fn host_route(number: u32) -> Prefix {
    Prefix::new(std::net::Ipv4Addr::from_bits(0x0a80_0000 + number).into(), 32).unwrap()
}

/// This process's resident memory, in octets.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_never_reads_costs_little_and_is_still_heard_while_others_get_everything() {
    let net = Net::new();
    let a = Plan::new(net, 1, 65_001)
        .peer(2, 65_002, "passive = true")
        .peer(3, 65_003, "passive = true")
        .start();
    let mut deaf = Scripted::connect(net.host(2), net.socket(1)).await;
    deaf.handshake(65_002).await;
    let good = Plan::new(net, 3, 65_003).peer(1, 65_001, "").start();
    a.established(3).await;

    for number in 0..ROUTES {
        if number % 1000 == 0 {
            // Deaf, but not dead: the hold time is 9 s, and this may be a busy machine.
            deaf.send(&wire::keepalive()).await;
        }
        a.peering.rib().originate(host_route(number), bulky(number)).await.unwrap();
    }
    deaf.send(&wire::keepalive()).await;
    let with_table = resident();

    // The other peer has the whole table although the deaf one has not.
    let start = Instant::now();
    let table = usize::try_from(ROUTES).unwrap();
    while good.peering.rib().best_counts().await.unwrap()[0] < table {
        assert!(start.elapsed() < Duration::from_secs(60), "the good peer waits for the deaf one");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    let status = a.peer(2).status();
    assert!(status.queued > 0, "the deaf peer has been told everything: make the table larger");
    assert!(status.queued < 4 << 20, "{} octets queued for one slow peer", status.queued);
    // The good speaker lives in this process too: its table and the kernel's buffers count.
    let grown = resident().saturating_sub(with_table);
    assert!(grown < 200 << 20, "{} MiB more", grown >> 20);

    // It talks, and is heard.
    deaf.send(&announce()).await;
    while a.peering.rib().received(a.peer(2).id).await.unwrap().is_empty() {
        assert!(start.elapsed() < Duration::from_secs(60), "the deaf peer is not read from");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    // What it then reads ends with the newest state: a route withdrawn meanwhile is never seen,
    // or seen to go.
    a.peering.rib().withdraw(host_route(ROUTES - 1)).await.unwrap();
    a.peering.rib().best_counts().await.unwrap();
    let mut known = BTreeSet::<Prefix>::new();
    let expected = table - 1;
    while known.len() != expected || known.contains(&host_route(ROUTES - 1)) {
        let Some(bgp::wire::Message::Update(update)) = deaf.news().await else {
            panic!("the session ended after {} routes", known.len());
        };
        for nlri in &update.withdrawn {
            known.remove(&nlri.prefix);
        }
        known.extend(update.reach.iter().flat_map(|reach| &reach.prefixes).map(|nlri| nlri.prefix));
    }
    a.stop().await;
    good.stop().await;
}
