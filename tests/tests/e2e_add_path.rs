//! Several paths to a prefix over one session (RFC 7911): FRR, a route reflector, has them from two
//! routers and tells a node of both, in both families; the node's kernel shares its traffic between
//! the two, and follows when one of them goes.
//!
//! Needs the binaries of the workspace, BIRD and FRR; root or user namespaces.

use tests::fabric::{Fabric, eventually, routed};

#[test]
fn rfc7911_several_paths_of_frr_are_all_used_in_both_families() {
    let fabric = Fabric::up(&topology());
    let frr = routed::stands(&fabric, "node", "frr");
    assert!(frr["capabilities"].to_string().contains("add-path (receives ipv4 and ipv6)"), "{frr}");

    both_families_lead_to(&fabric, &[3, 4]);
    let row = routed::peer(&fabric, "node", "frr");
    for family in 0..2 {
        assert_eq!(row["routes"][family]["best"], 4, "{row}");
    }
    for (prefix, _) in PREFIXES {
        let routes = fabric.ask_json("node", &["routed", "show", "routes", prefix, "-o", "json"]);
        let paths = routes[0]["paths"].as_array().into_iter().flatten();
        let mut numbers: Vec<_> = paths.map(|path| path["path_id"].as_u64()).collect();
        numbers.sort();
        numbers.dedup();
        assert!(matches!(numbers[..], [Some(1..), Some(1..)]), "{routes}");
    }

    // One path of each prefix goes, and the other stays.
    let _ = fabric.ask("bird1", &["birdc", "disable", "frr"]);
    both_families_lead_to(&fabric, &[4]);
    let _ = fabric.ask("bird1", &["birdc", "enable", "frr"]);
    both_families_lead_to(&fabric, &[3, 4]);
    assert_eq!(routed::peer(&fabric, "node", "frr")["established_count"], 1);
}

/// Waits until the kernel sends all that goes to the prefixes to these hosts of the network.
fn both_families_lead_to(fabric: &Fabric, hosts: &[u8]) {
    for (prefix, next_hop) in PREFIXES {
        let wanted: Vec<_> = hosts.iter().map(|host| format!("{next_hop}{host}")).collect();
        eventually(
            &format!("{prefix} leads to {wanted:?}"),
            || gateways(fabric, prefix),
            |gateways| *gateways == wanted,
        );
    }
}

/// Where the kernel sends what goes to a prefix, sorted.
fn gateways(fabric: &Fabric, prefix: &str) -> Vec<String> {
    let routes = fabric.routes("node").unwrap_or_else(|error| panic!("{error:#}"));
    let hops = routes.into_iter().filter(|route| route.dst.to_string() == prefix);
    let hops = hops.flat_map(|route| route.hops);
    let mut gateways: Vec<_> = hops.filter_map(|hop| Some(hop.gateway?.to_string())).collect();
    gateways.sort();
    gateways
}

const PREFIXES: [(&str, &str); 4] = [
    ("192.0.2.0/25", "10.2.0."),
    ("192.0.2.128/25", "10.2.0."),
    ("2001:db8:1::/48", "fd00:2::"),
    ("2001:db8:2::/48", "fd00:2::"),
];

fn topology() -> String {
    let bird = |number: u8| {
        let host = number + 2;
        format!(
            r#"
[[tors]]
name = "bird{number}"
asn = 65000
runs = "bird"
config = """
router id 10.0.0.{host};
protocol device {{ }}
protocol direct {{ ipv4; ipv6; interface "lan1"; }}
protocol static {{ ipv4; route 192.0.2.0/25 blackhole; route 192.0.2.128/25 blackhole; }}
protocol static six {{
    ipv6; route 2001:db8:1::/48 blackhole; route 2001:db8:2::/48 blackhole;
}}
protocol bgp frr {{
    local 10.2.0.{host} as 65000;
    neighbor 10.2.0.2 as 65000;
    connect delay time 1;
    ipv4 {{ import none; export where source = RTS_STATIC; next hop self; }};
    ipv6 {{ import none; export where source = RTS_STATIC; next hop address fd00:2::{host}; }};
}}
"""
"#
        )
    };
    NODE_AND_FRR.to_owned() + &bird(1) + &bird(2)
}

const NODE_AND_FRR: &str = r#"
[[lans]]
name = "lan1"
ipv4 = "10.2.0.0/24"
ipv6 = "fd00:2::/64"
members = ["node", "frr", "bird1", "bird2"]
hub = "frr"

[[nodes]]
name = "node"
asn = 65000
pods = ["10.244.11.0/24"]
config = """
[node]
name = "node"
[bgp]
asn = 65000
router_id = "10.0.0.1"
connect_retry = 1
import = "all"
export = "originated"
multipath = 4
[[peers]]
name = "frr"
asn = "internal"
address = "10.2.0.2"
add_path_receive = true
[pods]
ipv4 = ["10.244.11.0/24"]
"""

[[tors]]
name = "frr"
asn = 65000
runs = "frr"
config = """
frr defaults datacenter
router bgp 65000
 bgp router-id 10.0.0.2
 no bgp default ipv4-unicast
 neighbor clients peer-group
 neighbor clients remote-as 65000
 neighbor clients timers connect 1
 neighbor 10.2.0.1 peer-group clients
 neighbor 10.2.0.3 peer-group clients
 neighbor 10.2.0.4 peer-group clients
 address-family ipv4 unicast
  neighbor clients activate
  neighbor clients route-reflector-client
  neighbor 10.2.0.1 addpath-tx-all-paths
 exit-address-family
 address-family ipv6 unicast
  neighbor clients activate
  neighbor clients route-reflector-client
  neighbor 10.2.0.1 addpath-tx-all-paths
 exit-address-family
exit
"""
"#;
