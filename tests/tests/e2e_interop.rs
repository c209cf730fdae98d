//! What sessions with BIRD, FRR, GoBGP and ExaBGP can do, several of them behind one listener: each
//! option that a speaker has is used with it, not only agreed on, and its own tools say so.
//!
//! Needs the binaries of the workspace, BIRD, FRR, GoBGP and ExaBGP; root or user namespaces.

use std::fmt::Write;

use serde_json::Value;
use tests::fabric::{Fabric, bird, eventually, exabgp, frr, gobgp, routed};

#[test]
fn bird_frr_and_gobgp_use_with_us_whatever_they_have_in_common_with_us() {
    let fabric = Fabric::up(&many_options());
    for peer in ["bird", "frr", "gobgp"] {
        routed::stands(&fabric, "us", peer);
    }
    rfc6793_a_speaker_of_two_octets_loses_no_as(&fabric);
    rfc8654_a_long_message_goes_to_those_who_take_it(&fabric);
    rfc9234_frr_has_its_role_and_marks(&fabric);
    link_bandwidths_go_both_ways(&fabric);
    rfc2918_routes_are_asked_for_again_both_ways(&fabric);
    another_identifier_of_ours_is_met_by_all(&fabric);
    rfc9003_words_of_one_operator_reach_the_other(&fabric);
}

/// BIRD without 4-octet AS numbers knows us as AS 65000.
fn rfc6793_a_speaker_of_two_octets_loses_no_as(fabric: &Fabric) {
    let ours = |peer: &Value| peer["capabilities"].to_string().contains("4-octet AS");
    assert!(!ours(&routed::peer(fabric, "us", "bird")));
    let received = eventually(
        "BIRD's routes",
        || routed::received(fabric, "us", "bird"),
        |routes| routes.len() == 2,
    );
    assert_eq!(received[0].as_path, [65001, 65077, 4_200_000_077], "{received:#?}");
    let learned = eventually(
        "FRR's route at BIRD",
        || bird::learned(fabric, "bird", "speaker"),
        |routes| routes.len() == 1,
    );
    assert_eq!(learned[0].as_path, [65000, 4_200_000_000, 65002], "{learned:#?}");
}

/// 400 large communities are 4800 octets. GoBGP takes no such message: it must not have the route.
fn rfc8654_a_long_message_goes_to_those_who_take_it(fabric: &Fabric) {
    let at_frr = || frr::learned(fabric, "frr", "10.2.0.1");
    let all = eventually("BIRD's routes at FRR", at_frr, |routes| routes.len() == 2);
    assert_eq!(all[1].large_communities.len(), 400);
    let at_gobgp = eventually(
        "what is left for GoBGP",
        || gobgp::received(fabric, "gobgp", "10.2.0.1"),
        |routes| routes.len() == 2,
    );
    let prefixes: Vec<_> = at_gobgp.iter().map(|seen| seen.prefix.to_string()).collect();
    assert_eq!(prefixes, ["192.0.2.0/26", "198.51.100.0/24"]);
    let log = fabric.ask("us", &["cat", "/var/log/routed.log"]);
    let line = log.lines().find(|line| line.contains("the peer takes 4096"));
    assert!(line.is_some_and(|line| line.contains("prefix=192.0.2.128/26")), "{log}");
}

fn rfc9234_frr_has_its_role_and_marks(fabric: &Fabric) {
    let command = ["vtysh", "-c", "show bgp neighbors 10.2.0.1 json"];
    let neighbour = fabric.ask_json("frr", &command)["10.2.0.1"].clone();
    assert_eq!(neighbour["localRole"], "customer", "{neighbour}");
    assert_eq!(neighbour["remoteRole"], "provider", "{neighbour}");
    assert_eq!(path_at_frr(fabric)["otc"], 4_200_000_000_u32);
}

fn link_bandwidths_go_both_ways(fabric: &Fabric) {
    let told = path_at_frr(fabric)["extendedCommunity"]["string"].clone();
    assert!(told.as_str().is_some_and(|text| text.contains("(10.000 Gbps)")), "{told}");
    let rows = fabric.ask_json("us", &["routed", "show", "received", "frr", "-o", "json"]);
    let heard = &rows[0]["attributes"]["extended_communities"];
    assert_eq!(*heard, serde_json::json!(["lb:65002:1Gbit"]), "{rows}");
}

fn path_at_frr(fabric: &Fabric) -> Value {
    let command = ["vtysh", "-c", "show bgp ipv4 unicast 192.0.2.0/26 json"];
    fabric.ask_json("frr", &command)["paths"][0].clone()
}

/// Counted by the messages of one who is asked.
fn rfc2918_routes_are_asked_for_again_both_ways(fabric: &Fabric) {
    let refreshes = |name: &str, way: &str| {
        let peer = routed::peer(fabric, "us", name);
        (peer[way]["route_refresh"].as_u64(), peer[way]["update"].as_u64())
    };
    let asks: [(&str, &str, &[&str]); 2] = [
        ("bird", "bird", &["birdc", "reload", "in", "speaker"]),
        ("frr", "frr", &["vtysh", "-c", "clear bgp 10.2.0.1 soft in"]),
    ];
    for (name, router, ask) in asks {
        let (heard, told) =
            (refreshes(name, "messages_received").0, refreshes(name, "messages_sent").1);
        let _ = fabric.ask(router, ask);
        eventually(
            &format!("{name} asks, and has our routes again"),
            || (refreshes(name, "messages_received").0, refreshes(name, "messages_sent").1),
            |(asked, again)| *asked > heard && *again > told,
        );
    }
    for name in ["bird", "frr"] {
        let heard = refreshes(name, "messages_received").1;
        let _ = fabric.ask("us", &["routed", "peer", name, "refresh", "in"]);
        eventually(
            &format!("{name} is asked, and says its routes again"),
            || refreshes(name, "messages_received").1,
            |again| *again > heard,
        );
    }
    // Nothing was lost by it.
    assert_eq!(routed::received(fabric, "us", "bird").len(), 2);
    for name in ["bird", "frr"] {
        assert_eq!(routed::peer(fabric, "us", name)["established_count"], 1);
    }
}

fn another_identifier_of_ours_is_met_by_all(fabric: &Fabric) {
    let file = fabric.path_of("us", "/etc/slash32/routed.toml").expect("a router's own file");
    let config = std::fs::read_to_string(&file).expect("it is there");
    let changed = config.replace("router_id = \"10.0.0.9\"", "router_id = \"10.0.0.8\"");
    assert_ne!(config, changed);
    std::fs::write(&file, changed).expect("it can be written");
    let _ = fabric.ask("us", &["routed", "reload"]);
    says(fabric, "bird", &["birdc", "show", "protocols", "all", "speaker"], "10.0.0.8");
    says(
        fabric,
        "frr",
        &["vtysh", "-c", "show bgp neighbors 10.2.0.1"],
        "remote router ID 10.0.0.8",
    );
    says(fabric, "gobgp", &["gobgp", "neighbor", "10.2.0.1"], "remote router ID 10.0.0.8");
    for peer in ["bird", "frr", "gobgp"] {
        routed::stands(fabric, "us", peer);
    }
}

fn rfc9003_words_of_one_operator_reach_the_other(fabric: &Fabric) {
    for name in ["bird", "frr", "gobgp"] {
        let _ = fabric.ask("us", &["routed", "peer", name, "disable", "drained by us"]);
    }
    says(fabric, "bird", &["birdc", "show", "protocols", "all", "speaker"], "drained by us");
    // What FRR shows of its neighbour is soon about the next attempt.
    says(fabric, "frr", &["cat", "/var/log/frr.log"], "\"drained by us\"");
    says(fabric, "gobgp", &["cat", "/var/log/gobgpd.log"], "drained by us");
    for name in ["bird", "frr", "gobgp"] {
        let _ = fabric.ask("us", &["routed", "peer", name, "enable"]);
    }
    for name in ["bird", "frr"] {
        routed::stands(fabric, "us", name);
    }

    let _ = fabric.ask("bird", &["birdc", "disable", "speaker", "\"down until ten\""]);
    let shutdown = "neighbor 10.2.0.1 shutdown message down until nine";
    let mut argv = vec!["vtysh"];
    for line in ["configure terminal", "router bgp 65002", shutdown] {
        argv.extend(["-c", line]);
    }
    let _ = fabric.ask("frr", &argv);
    for (name, words) in [("bird", "down until ten"), ("frr", "down until nine")] {
        says(fabric, "us", &["routed", "show", "peers", name], words);
    }
}

/// Waits until what a command prints contains this.
fn says(fabric: &Fabric, router: &str, command: &[&str], words: &str) {
    eventually(
        &format!("{words:?} at {router}"),
        || fabric.ask(router, command),
        |text| text.contains(words),
    );
}

#[test]
fn rfc2385_rfc5082_all_meet_us_with_the_right_key_from_near_by_and_none_with_another() {
    let fabric = Fabric::up(&secured());
    let all = ["bird", "frr", "gobgp", "exabgp"];
    for peer in all {
        routed::stands(&fabric, "us", peer);
    }
    // BIRD, which is met by IPv6, and FRR check what we send as well.
    says(&fabric, "bird", &["birdc", "show", "protocols", "all", "speaker"], "Established");
    says(&fabric, "frr", &["vtysh", "-c", "show bgp neighbors 10.2.0.1"], "hops away");

    let key = fabric.path_of("us", "/etc/slash32/key").expect("a router's own file");
    std::fs::write(&key, "another\n").expect("it can be written");
    let _ = fabric.ask("us", &["routed", "reload"]);
    for peer in ["bird", "frr", "gobgp"] {
        routed::last_error(&fabric, "us", peer, "another TCP MD5 password?");
    }
    for peer in all {
        let row = routed::peer(&fabric, "us", peer);
        assert_ne!(row["state"], "Established", "{row}");
        assert_eq!(row["established_count"], 1, "{row}");
    }

    std::fs::write(&key, "secret\n").expect("it can be written");
    let _ = fabric.ask("us", &["routed", "reload"]);
    for peer in all {
        routed::stands(&fabric, "us", peer);
    }
}

const LAN: &str = r#"
[[lans]]
name = "lan1"
ipv4 = "10.2.0.0/24"
ipv6 = "fd00:2::/64"
"#;

fn many_options() -> String {
    let many = (0..400).fold(String::new(), |mut text, n| {
        write!(text, "bgp_large_community.add((65001,1,{n}));").expect("String takes all");
        text
    });
    format!(
        r#"{LAN}
members = ["us", "bird", "frr", "gobgp"]
hub = "us"

[[speakers]]
name = "us"
asn = 4200000000
config = """
[node]
name = "us"
mode = "speaker"
[bgp]
asn = 4200000000
router_id = "10.0.0.9"
hold_time = 30
connect_retry = 1
import = "all"
export = "all"
[[peers]]
name = "bird"
asn = 65001
address = "10.2.0.2"
local_asn = 65000
[[peers]]
name = "frr"
asn = 65002
address = "10.2.0.3"
role = "provider"
strict_role = true
export = "with-bandwidth"
[[peers]]
name = "gobgp"
asn = 65003
address = "10.2.0.4"
[[policies]]
name = "with-bandwidth"
default = "reject"
[[policies.statements]]
set = {{ link_bandwidth = "10Gbit" }}
action = "accept"
"""

[[tors]]
name = "bird"
asn = 65001
runs = "bird"
config = """
router id 10.0.0.1;
protocol device {{ }}
protocol direct {{ ipv4; interface "lan1"; }}
protocol static {{
    ipv4;
    route 192.0.2.0/26 blackhole {{ bgp_path.prepend(4200000077); bgp_path.prepend(65077); }};
    route 192.0.2.128/26 blackhole {{ {many} }};
}}
protocol bgp speaker {{
    local 10.2.0.2 as 65001;
    neighbor 10.2.0.1 as 65000;
    enable as4 off;
    enable extended messages on;
    connect delay time 1;
    ipv4 {{ import all; export where source = RTS_STATIC; }};
}}
"""

[[tors]]
name = "frr"
asn = 65002
runs = "frr"
config = """
frr defaults datacenter
log file /var/log/frr.log informational
router bgp 65002
 bgp router-id 10.0.0.2
 no bgp ebgp-requires-policy
 no bgp network import-check
 neighbor 10.2.0.1 remote-as 4200000000
 neighbor 10.2.0.1 timers connect 1
 neighbor 10.2.0.1 local-role customer strict-mode
 address-family ipv4 unicast
  network 198.51.100.0/24
  neighbor 10.2.0.1 activate
  neighbor 10.2.0.1 route-map bandwidth out
 exit-address-family
exit
route-map bandwidth permit 10
 set extcommunity bandwidth 1000
exit
"""
{}"#,
        gobgp_router(4_200_000_000, "", "")
    )
}

fn secured() -> String {
    let neighbor = "router-id 10.0.0.4; local-address 10.2.0.5; local-as 65004; peer-as 65000; \
                    hold-time 9; md5-password secret; outgoing-ttl 255; incoming-ttl 255; \
                    family { ipv4 unicast; }";
    let ttl = "[neighbors.ttl-security.config]\nenabled = true\nttl-min = 255\n";
    format!(
        r#"{LAN}
members = ["us", "bird", "frr", "gobgp", "exabgp"]
hub = "us"

[[speakers]]
name = "us"
asn = 65000
files = {{ "/etc/slash32/key" = "secret\n" }}
config = """
[node]
name = "us"
mode = "speaker"
[bgp]
asn = 65000
router_id = "10.0.0.9"
hold_time = 9
connect_retry = 1
import = "all"
export = "all"
[[peer_groups]]
name = "near"
ttl_security = 1
password_file = "/etc/slash32/key"
graceful_restart = false
[[peers]]
name = "bird"
group = "near"
asn = 65001
address = "fd00:2::2"
[[peers]]
name = "frr"
group = "near"
asn = 65002
address = "10.2.0.3"
[[peers]]
name = "gobgp"
group = "near"
asn = 65003
address = "10.2.0.4"
[[peers]]
name = "exabgp"
group = "near"
asn = 65004
address = "10.2.0.5"
"""

[[tors]]
name = "bird"
asn = 65001
runs = "bird"
config = """
router id 10.0.0.1;
protocol device {{ }}
protocol direct {{ ipv4; interface "lan1"; }}
protocol bgp speaker {{
    local fd00:2::2 as 65001;
    neighbor fd00:2::1 as 65000;
    password "secret";
    ttl security on;
    connect delay time 1;
    error wait time 1, 2;
    ipv6 {{ import all; export none; }};
}}
"""

[[tors]]
name = "frr"
asn = 65002
runs = "frr"
config = """
frr defaults datacenter
router bgp 65002
 bgp router-id 10.0.0.2
 neighbor 10.2.0.1 remote-as 65000
 neighbor 10.2.0.1 timers connect 1
 neighbor 10.2.0.1 password secret
 neighbor 10.2.0.1 ttl-security hops 1
exit
"""
{}{}"#,
        gobgp_router(65000, "auth-password = \"secret\"\n", ttl),
        exabgp::router("exabgp", 65004, "10.2.0.1", neighbor)
    )
}

/// GoBGP in AS 65003 with one neighbour; `config` and `tables` are about it as well.
fn gobgp_router(asn: u32, config: &str, tables: &str) -> String {
    format!(
        r#"
[[tors]]
name = "gobgp"
asn = 65003
runs = "none"
command = ["gobgpd", "-f", "/etc/gobgpd.toml", "--pprof-disable"]
[tors.files]
"/etc/gobgpd.toml" = """
[global.config]
as = 65003
router-id = "10.0.0.3"
[[neighbors]]
[neighbors.config]
neighbor-address = "10.2.0.1"
peer-as = {asn}
{config}
{tables}
[neighbors.timers.config]
connect-retry = 1
hold-time = 9
idle-hold-time-after-reset = 1
"""
"#
    )
}
