//! Peering with FRR: its bgpd alone, which installs nothing.

use serde_json::Value;

use crate::{
    daemon::Daemon,
    harness::{Net, PORT, Plan},
};

/// A bgpd at .2 in AS 65002 that knows us at .1 in AS 65001, with these lines about us.
fn frr(net: Net, lines: &str) -> Daemon {
    frr_of(net, 65_001, lines)
}

/// The same with us in another AS.
fn frr_of(net: Net, our_asn: u32, lines: &str) -> Daemon {
    // Between ASes; bgpd refuses it inside one.
    let multihop = if our_asn == 65_002 {
        String::new()
    } else {
        format!(" neighbor {} ebgp-multihop 2\n", net.host(1))
    };
    let (own, ours) = (net.host(2), net.host(1));
    let config = format!(
        "hostname tor\n\
         router bgp 65002\n \
         bgp router-id 10.0.0.2\n \
         no bgp ebgp-requires-policy\n \
         no bgp network import-check\n \
         neighbor {ours} remote-as {our_asn}\n \
         neighbor {ours} port {PORT}\n \
         neighbor {ours} update-source {own}\n \
         neighbor {ours} timers connect 1\n\
         {multihop}{lines}\n \
         address-family ipv4 unicast\n  \
         network 192.0.2.0/24\n  \
         network 198.51.100.0/24\n  \
         neighbor {ours} route-map out out\n \
         exit-address-family\n\
         route-map out permit 10\n \
         set ip next-hop 10.0.0.2\n"
    );
    let (port, own) = (PORT.to_string(), own.to_string());
    let args = ["-S", "-Z", "-n", "-A", "127.0.0.1", "-P", "0", "-p", &port, "-l", &own];
    let files = ["-f", "bgpd.conf", "-i", "bgpd.pid", "--vty_socket", ".", "--log", "stdout"];
    Daemon::start("/usr/lib/frr/bgpd", &[&args[..], &files[..]].concat(), "bgpd.conf", &config)
}

fn vtysh(question: &str) -> [&str; 4] {
    ["--vty_socket", ".", "-c", question]
}

/// What FRR says of us.
async fn neighbor(frr: &Daemon, net: Net, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
    let ours = net.host(1).to_string();
    let parsed = |text: &str| -> Value {
        let all: Value = serde_json::from_str(text).unwrap_or_default();
        all[&ours].clone()
    };
    let question = vtysh("show bgp neighbors json");
    parsed(&frr.until(what, "vtysh", &question, |text| holds(&parsed(text))).await)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frr_over_its_limit_says_why_and_is_met_again_when_the_limit_is_raised() {
    let net = Net::new();
    let frr = frr(net, "");
    let plan = |lines: &str| Plan::new(net, 1, 65_001).peer(2, 65_002, lines);
    let a = plan("max_prefixes = { ipv4 = 1, action = \"stop\" }").start();
    let why = "Cease/Maximum Number of Prefixes Reached";
    let told = |neighbor: &Value| neighbor["lastNotificationReason"] == why;
    neighbor(&frr, net, "told why", told).await;

    // It dials again each second, and still has the reason.
    let dropped = |neighbor: &Value| neighbor["connectionsDropped"].as_u64().unwrap_or(0);
    let before = neighbor(&frr, net, "told why", told).await;
    assert_eq!(dropped(&before), 1, "{before}");
    tokio::time::sleep(crate::harness::NEVER).await;
    let after = neighbor(&frr, net, "told the same", told).await;
    assert_eq!(dropped(&after), 1, "{after}");
    assert_eq!(a.peer(2).status().established_count, 1);

    a.peering.apply(&plan("max_prefixes = { ipv4 = 2 }").config()).await.unwrap();
    a.best_are(&["192.0.2.0/24", "198.51.100.0/24"]).await;
    a.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rfc8326_4_frr_sees_that_we_are_drained_by_ebgp_and_by_ibgp() {
    for asn in [65_001, 65_002] {
        let net = Net::new();
        let frr = frr_of(net, asn, "");
        let plan = Plan::new(net, 1, asn).peer(2, 65_002, "");
        let a = plan.clone().start();
        a.originate(&["10.244.1.0/24"]).await;
        let show = vtysh("show bgp ipv4 unicast 10.244.1.0/24 json");
        let path = |text: &str| -> Value {
            let shown: Value = serde_json::from_str(text).unwrap_or_default();
            shown["paths"][0].clone()
        };
        let marked = |path: &Value| path["community"]["string"] == "graceful-shutdown";
        let there = |text: &str| path(text)["aspath"].is_object() && !marked(&path(text));
        frr.until("there", "vtysh", &show, there).await;

        a.peering.apply(&plan.clone().bgp("drain = true").config()).await.unwrap();
        // By eBGP it is FRR itself that makes 0 of it.
        let drained = |text: &str| marked(&path(text)) && path(text)["locPrf"] == 0;
        frr.until("drained", "vtysh", &show, drained).await;

        a.peering.apply(&plan.config()).await.unwrap();
        let over = |text: &str| there(text) && path(text)["locPrf"] != 0;
        frr.until("no longer drained", "vtysh", &show, over).await;
        assert_eq!(a.peer(2).status().established_count, 1);
        a.stop().await;
    }
}
