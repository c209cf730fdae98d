//! What well-behaved peers never say: a scripted peer of the real daemon, in a lab.
//!
//! Needs the binaries of the workspace and bash; root or user namespaces.

use bgp::family::Family;
use bgp::wire::{Capability, Message, Refresh, Update};
use tests::fabric::scripted::Scripted;
use tests::fabric::{Fabric, eventually, routed};

/// RFC 7313 §4 and §5: ignored, logged as what it is, and nothing else happens.
#[test]
fn rfc7313_refreshes_that_mean_nothing_are_logged_and_ignored() {
    for (octets, error) in [
        (refresh(77), "subtype 77 is unknown (AFI 1, SAFI 1)"),
        (refresh(Refresh::BEGIN), "a refresh of ipv4 begins before End-of-RIB"),
        (refresh(Refresh::END), "a refresh of ipv4 ends that has not begun"),
    ] {
        let fabric = Fabric::up(TOPOLOGY);
        let mut peer = Scripted::established(
            &fabric,
            ("raw", "10.2.0.1"),
            65002,
            &[
                Capability::EnhancedRouteRefresh,
                Capability::GracefulRestart {
                    restarted: false,
                    notification: false,
                    time: 60,
                    families: vec![(1, 1, false)],
                },
            ],
        );
        peer.say(&octets);
        eventually(
            &format!("{error:?} is in the log"),
            || fabric.ask("node", &["cat", "/var/log/routed.log"]),
            |log| log.lines().any(|line| line.contains("peer=raw") && line.contains(error)),
        );
        // It goes on: a request is answered, with marks around the answer.
        peer.say(&Update::encode_end_of_rib(Family::Ipv4Unicast));
        peer.say(&Refresh::request(Family::Ipv4Unicast).encode());
        let mark = Message::Refresh(Refresh::end(Family::Ipv4Unicast));
        let _ = peer.hear_until("the mark after the answer", |message| *message == mark);
        assert_eq!(routed::peer(&fabric, "node", "raw")["established_count"], 1);
    }
}

/// A ROUTE-REFRESH of IPv4 with this subtype.
fn refresh(subtype: u8) -> Vec<u8> {
    Refresh { subtype, ..Refresh::request(Family::Ipv4Unicast) }.encode().to_vec()
}

const TOPOLOGY: &str = r#"
[[lans]]
name = "lan1"
ipv4 = "10.2.0.0/24"
ipv6 = "fd00:2::/64"
members = ["node", "raw"]
hub = "node"

[[speakers]]
name = "node"
asn = 65001
config = """
[node]
name = "node"
mode = "speaker"
[bgp]
asn = 65001
router_id = "10.0.0.1"
connect_retry = 1
import = "all"
export = "all"
[[peers]]
name = "raw"
asn = 65002
address = "10.2.0.2"
passive = true
"""

[[tors]]
name = "raw"
asn = 65002
runs = "none"
command = ["sleep", "infinity"]
"#;
