//! Peering with GoBGP.

use crate::{
    daemon::Daemon,
    harness::{Net, PORT, Plan},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gobgp_and_we_tell_each_other_routes() {
    let net = Net::new();
    let (own, ours) = (net.host(2), net.host(1));
    let config = format!(
        r#"
[global.config]
as = 65002
router-id = "10.0.0.2"
port = {PORT}
local-address-list = ["{own}"]
[[neighbors]]
[neighbors.config]
neighbor-address = "{ours}"
peer-as = 65001
[neighbors.transport.config]
local-address = "{own}"
remote-port = {PORT}
[neighbors.timers.config]
connect-retry = 1
[[neighbors.afi-safis]]
[neighbors.afi-safis.config]
afi-safi-name = "ipv4-unicast"
[[neighbors.afi-safis]]
[neighbors.afi-safis.config]
afi-safi-name = "ipv6-unicast"
"#
    );
    let api = format!("{own}:50051");
    let args = ["-f", "gobgpd.toml", "--api-hosts", &api, "--pprof-disable"];
    let gobgp = Daemon::start("gobgpd", &args, "gobgpd.toml", &config);
    let own = own.to_string();
    let ask = |question: &'static str| {
        let mut args = vec!["-u", &own, "-p", "50051"];
        args.extend(question.split(' '));
        args.into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let a = Plan::new(net, 1, 65_001).peer(2, 65_002, "next_hop_ipv6 = \"fd00::1\"").start();
    a.originate(&["10.244.1.0/24", "fd00:10:244:1::/64"]).await;
    a.established(2).await;

    for question in [
        "global rib add 198.51.100.0/24 nexthop 10.0.0.2 community 65002:7",
        "global rib add -a ipv6 2001:db8:2::/48 nexthop fd00::2",
    ] {
        let args = ask(question);
        gobgp.ask("gobgp", &args.iter().map(String::as_str).collect::<Vec<_>>());
    }

    let best = a
        .best_are(&["10.244.1.0/24", "198.51.100.0/24", "2001:db8:2::/48", "fd00:10:244:1::/64"])
        .await;
    assert_eq!(best[1].1.attrs.communities[0].to_string(), "65002:7");
    for (question, prefix) in
        [("global rib", "10.244.1.0/24"), ("global rib -a ipv6", "fd00:10:244:1::/64")]
    {
        let args = ask(question);
        let args: Vec<_> = args.iter().map(String::as_str).collect();
        gobgp.until("our route in GoBGP", "gobgp", &args, |text| text.contains(prefix)).await;
    }
    a.stop().await;
}
