//! What needs a look behind the face: sessions while the RIB is busy. Everything else that
//! peering promises is tested from outside, in `tests/peering`.

use std::{
    net::Ipv4Addr,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use bgp::{
    attrs::{Attrs, NextHop},
    prefix::Prefix,
    session::State,
};

use super::{rib::Command, *};

/// The first of two speakers, or the second. Several runs may share the machine.
fn address(second: bool) -> Ipv4Addr {
    let run = u8::try_from(std::process::id() % 200).unwrap() + 20;
    Ipv4Addr::new(127, run, 0, if second { 2 } else { 1 })
}

fn start(second: bool) -> (Peering, BestChanges) {
    let (own, peer) = (address(second), address(!second));
    let (asn, peer_asn) = if second { (65_002, 65_001) } else { (65_001, 65_002) };
    let text = format!(
        "[node]\nname = \"n\"\nmode = \"speaker\"\n\
         [bgp]\nasn = {asn}\nrouter_id = \"{own}\"\nlisten = [\"{own}:1790\"]\nhold_time = 3\n\
         connect_retry = 1\nimport = \"all\"\nexport = \"all\"\n\
         [[peers]]\nname = \"peer\"\naddress = \"{peer}\"\nport = 1790\nasn = {peer_asn}\n\
         local_address = \"{own}\"\nnext_hop_ipv4 = \"10.0.0.{}\"\npassive = {}\n",
        own.octets()[3],
        !second,
    );
    let config = Config::parse(Path::new("test.toml"), &text).unwrap().config;
    Peering::start(&config, watch::channel(Links::default()).1).unwrap()
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !holds().await {
        assert!(start.elapsed() < Duration::from_secs(30), "never {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_outlive_a_rib_that_is_busy_for_longer_than_the_hold_time() {
    const ROUTES: u32 = 20_000;
    const BUSY: Duration = Duration::from_secs(7);
    let (a, _best_a) = start(false);
    let (b, _best_b) = start(true);
    let up = async |peering: &Peering| peering.statuses()[0].state == State::Established;
    until("established", async || up(&a).await && up(&b).await).await;

    let busy = Command::Look(Box::new(|_| thread::sleep(BUSY)));
    let busy_since = Instant::now();
    assert!(a.rib().try_send(busy).is_ok());
    for number in 0..ROUTES {
        // No two share their attributes, so each takes a message.
        let mut attrs = Attrs::originated(NextHop::new(Ipv4Addr::UNSPECIFIED.into()));
        attrs.med = Some(number);
        let address = Ipv4Addr::from_bits(0x0a80_0000 + number);
        let prefix = Prefix::new(address.into(), 32).unwrap();
        b.rib().originate(prefix, Arc::new(attrs)).await.unwrap();
    }

    // Far fewer than there are: the busy RIB has stopped the reading.
    let end = BUSY - Duration::from_secs(1);
    tokio::time::sleep(end.saturating_sub(busy_since.elapsed())).await;
    let heard = a.statuses()[0].received.updates;
    assert!(heard < u64::from(ROUTES), "{heard} messages piled up");

    let table = usize::try_from(ROUTES).unwrap();
    until("all routes", async || a.rib().best_counts().await.unwrap()[0] == table).await;
    assert!(busy_since.elapsed() > Duration::from_secs(3), "the RIB was not busy");
    for peering in [&a, &b] {
        let status = &peering.statuses()[0];
        assert_eq!((status.state, status.established_count), (State::Established, 1));
    }
    a.stop(Cease::Deconfigured).await;
    b.stop(Cease::Deconfigured).await;
}
