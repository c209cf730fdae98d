//! Peering with BIRD 2.

use routed::peering::PeerCommand;

use crate::{
    daemon::Daemon,
    harness::{Net, PORT, Plan},
};

fn bird(net: Net, lines: &str) -> Daemon {
    bird_of(net, lines, 65_001)
}

/// The same with us in another AS.
fn bird_of(net: Net, lines: &str, our_asn: u32) -> Daemon {
    let (own, ours) = (net.host(2), net.host(1));
    let config = format!(
        r#"
log stderr all;
debug protocols {{ states, events }};
router id 10.0.0.2;
protocol device {{ }}
protocol static v4 {{ ipv4; route 192.0.2.0/24 blackhole; route 198.51.100.0/24 blackhole; }}
protocol static v6 {{ ipv6; route 2001:db8:2::/48 blackhole; }}
protocol bgp slash32 {{
  local {own} port {PORT} as 65002;
  neighbor {ours} port {PORT} as {our_asn};
  strict bind yes;
  multihop;
  connect retry time 1;
  connect delay time 1;
  {lines}
  ipv4 {{ import all; export all; next hop address 10.0.0.2; }};
  ipv6 {{ import all; export all; next hop address fd00::2; }};
}}
"#
    );
    Daemon::start("bird", &["-f", "-c", "bird.conf", "-s", "bird.ctl"], "bird.conf", &config)
}

fn birdc(question: &str) -> Vec<&str> {
    let mut args = vec!["-r", "-s", "bird.ctl"];
    args.extend(question.split(' '));
    args
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bird_and_we_tell_each_other_routes_of_both_families() {
    let net = Net::new();
    let bird = bird(net, "");
    let a = Plan::new(net, 1, 65_001).peer(2, 65_002, "next_hop_ipv6 = \"fd00::1\"").start();
    a.originate(&["10.244.1.0/24", "fd00:10:244:1::/64"]).await;

    let best = a
        .best_are(&[
            "10.244.1.0/24",
            "192.0.2.0/24",
            "198.51.100.0/24",
            "2001:db8:2::/48",
            "fd00:10:244:1::/64",
        ])
        .await;
    assert_eq!(best[1].1.attrs.next_hop.addr.to_string(), "10.0.0.2");
    assert_eq!(best[3].1.attrs.next_hop.addr.to_string(), "fd00::2");

    let show = birdc("show route all protocol slash32");
    let routes = bird
        .until("our routes in BIRD", "birdc", &show, |text| {
            text.contains("10.244.1.0/24") && text.contains("fd00:10:244:1::/64")
        })
        .await;
    assert!(routes.contains("BGP.next_hop: 10.0.0.1"), "{routes}");
    assert!(routes.contains("BGP.next_hop: fd00::1"), "{routes}");
    assert!(routes.contains("BGP.as_path: 65001"), "{routes}");

    // A withdrawal, and a look at what BIRD thinks of the session.
    a.peering.rib().withdraw("10.244.1.0/24".parse().unwrap()).await.unwrap();
    bird.until("withdrawn", "birdc", &show, |text| !text.contains("10.244.1.0/24")).await;
    let session = bird.ask("birdc", &birdc("show protocols all slash32"));
    assert!(session.contains("Established"), "{session}");

    a.stop().await;
    let why = birdc("show protocols all slash32");
    bird.until("told why we left", "birdc", &why, |text| text.contains("Administrative shutdown"))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bird_withdraws_resets_and_meets_us_again() {
    let net = Net::new();
    let bird = bird(net, "");
    let a = Plan::new(net, 1, 65_001).peer(2, 65_002, "").start();
    a.best_are(&["192.0.2.0/24", "198.51.100.0/24", "2001:db8:2::/48"]).await;
    let before = a.peer(2).status().established_count;

    bird.ask("birdc", &["-s", "bird.ctl", "disable", "v4"]);
    a.best_are(&["2001:db8:2::/48"]).await;

    bird.ask("birdc", &["-s", "bird.ctl", "restart", "slash32"]);
    let before = a.established_again(2, before).await.established_count;
    a.best_are(&["2001:db8:2::/48"]).await;

    a.peer(2).command(PeerCommand::Reset("ours".to_owned())).await;
    a.established_again(2, before).await;
    a.best_are(&["2001:db8:2::/48"]).await;
    a.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bird_with_the_same_password_is_met() {
    use std::io::Write as _;
    let net = Net::new();
    let mut key = tempfile::NamedTempFile::new().unwrap();
    writeln!(key, "correct horse").unwrap();
    let _bird = bird(net, "password \"correct horse\";");
    let line = format!("password_file = \"{}\"", key.path().display());
    let a = Plan::new(net, 1, 65_001).peer(2, 65_002, &line).start();

    a.established(2).await;
    a.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bird_over_its_limit_says_why_and_is_met_again_when_the_limit_is_raised() {
    let net = Net::new();
    let bird = bird(net, "error wait time 1, 1;");
    let plan = |lines: &str| Plan::new(net, 1, 65_001).peer(2, 65_002, lines);
    let a = plan("max_prefixes = { ipv4 = 1, action = \"stop\" }").start();
    let show = birdc("show protocols all slash32");
    let why = "Received: Maximum number of prefixes reached";
    bird.until("told why", "birdc", &show, |text| text.contains(why)).await;
    a.best_are(&[]).await;

    // It dials again each second, and still has the reason.
    tokio::time::sleep(crate::harness::NEVER).await;
    bird.until("told the same", "birdc", &show, |text| text.contains(why)).await;
    assert_eq!(a.peer(2).status().established_count, 1);

    a.peering.apply(&plan("max_prefixes = { ipv4 = 2 }").config()).await.unwrap();
    a.best_are(&["192.0.2.0/24", "198.51.100.0/24", "2001:db8:2::/48"]).await;
    a.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rfc8326_4_bird_sees_that_we_are_drained_by_ebgp_and_by_ibgp() {
    for asn in [65_001, 65_002] {
        let net = Net::new();
        let bird = bird_of(net, "", asn);
        let plan = Plan::new(net, 1, asn).peer(2, 65_002, "next_hop_ipv6 = \"fd00::1\"");
        let a = plan.clone().start();
        a.originate(&["10.244.1.0/24", "fd00:10:244:1::/64"]).await;
        let show = birdc("show route all protocol slash32");
        let both = |text: &str, what: &str| text.matches(what).count() == 2;
        let there = |text: &str| both(text, "[slash32") && !text.contains("(65535,0)");
        bird.until("there", "birdc", &show, there).await;

        a.peering.apply(&plan.clone().bgp("drain = true").config()).await.unwrap();
        let drained = |text: &str| {
            // To BIRD, LOCAL_PREF of eBGP is its own.
            both(text, "(65535,0)") && (asn == 65_001 || both(text, "BGP.local_pref: 0\n"))
        };
        bird.until("drained", "birdc", &show, drained).await;
        // Who comes later hears it as well.
        let before = a.peer(2).status().established_count;
        bird.ask("birdc", &["-s", "bird.ctl", "restart", "slash32"]);
        a.established_again(2, before).await;
        bird.until("drained", "birdc", &show, drained).await;

        a.peering.apply(&plan.config()).await.unwrap();
        let over = |text: &str| there(text) && !text.contains("BGP.local_pref: 0\n");
        bird.until("no longer drained", "birdc", &show, over).await;
        assert_eq!(a.peer(2).status().established_count, before + 1);
        a.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rfc4271_9_2_2_2_bird_hears_of_an_aggregate_and_whose_it_is() {
    let net = Net::new();
    let bird = bird(net, "");
    let lines = "aggregates = [{ prefix = \"10.244.0.0/16\", summary_only = true },\n\
                 { prefix = \"fd00:10:244::/48\" }]";
    let peer = "next_hop_ipv6 = \"fd00::1\"";
    let a = Plan::new(net, 1, 65_001).bgp(lines).peer(2, 65_002, peer).start();
    a.originate(&["10.244.1.0/24", "10.244.2.0/24", "fd00:10:244:1::/64"]).await;
    let show = birdc("show route all protocol slash32");
    let wanted = |text: &str| text.contains("fd00:10:244:1::/64") && text.contains("10.244.0.0/16");
    let routes = bird.until("aggregates in BIRD", "birdc", &show, wanted).await;
    assert!(routes.contains("fd00:10:244::/48"), "{routes}");
    assert!(!routes.contains("10.244.1.0/24"), "{routes}");
    assert_eq!(routes.matches("BGP.aggregator: 10.0.0.1 AS65001").count(), 2, "{routes}");
    assert!(!routes.contains("atomic_aggr"), "{routes}");

    for prefix in ["10.244.1.0/24", "10.244.2.0/24"] {
        a.peering.rib().withdraw(prefix.parse().unwrap()).await.unwrap();
    }
    bird.until("gone", "birdc", &show, |text| !text.contains("10.244.0.0/16")).await;
    a.stop().await;
}
