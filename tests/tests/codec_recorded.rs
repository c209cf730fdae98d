//! Octets recorded from the daemons that are met in the field: read without a fault, and as their
//! operators configured them. The recordings stand in `data/wire`.

use std::{collections::BTreeMap, fs, path::Path, sync::Arc};

use bgp::{
    aspath::Asn,
    attrs::{Aggregator, Attrs},
    family::{Family, FamilySet},
    prefix::Prefix,
    wire::{self, Capability, Codec, Message, Open},
};
use bytes::Bytes;

/// What a daemon has said.
struct Recording {
    open: Open,
    routes: BTreeMap<Prefix, Arc<Attrs>>,
    ended: FamilySet,
}

/// Reads a recording as one stream; the codec is that of an external peer.
fn recording(name: &str, four_octet_as: bool) -> Recording {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/wire").join(name);
    let text = fs::read_to_string(path).expect("the recording is part of the source");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let octets = lines.flat_map(|line| {
        let (_, hex) = line.split_once(' ').expect("type and octets");
        let digits = hex.as_bytes().as_chunks::<2>().0;
        digits.iter().map(|pair| {
            let pair = str::from_utf8(pair).expect("ASCII");
            u8::from_str_radix(pair, 16).expect("hexadecimal digits")
        })
    });
    let mut stream: Bytes = octets.collect();
    let codec = Codec { four_octet_as, ..Codec::default() };
    let (mut open, mut routes, mut ended) = (None, BTreeMap::new(), FamilySet::NONE);
    while !stream.is_empty() {
        let len = wire::frame_len(&stream, codec.max_receive_len).expect("sound").expect("whole");
        match wire::decode(&stream.split_to(len), &codec).expect("sound") {
            Message::Open(message) => open = Some(message),
            Message::Keepalive => {}
            Message::Update(update) => {
                assert_eq!(update.faults, []);
                assert_eq!(update.withdrawn, []);
                for reach in update.reach {
                    let attrs = reach.attrs;
                    routes.extend(reach.prefixes.iter().map(|nlri| (nlri.prefix, attrs.clone())));
                }
                if let Some(family) = update.end_of_rib {
                    ended.insert(family);
                }
            }
            other => panic!("not recorded: {other:?}"),
        }
    }
    Recording { open: open.expect("an OPEN comes first"), routes, ended }
}

fn prefix(text: &str) -> Prefix {
    text.parse().expect("a prefix")
}

/// The OPEN of AS 4200000001, 10.99.0.1.
fn check_open(open: &Open, hold_time: u16) {
    assert_eq!(open.asn, 23_456);
    assert_eq!(open.effective_asn(), Asn(4_200_000_001));
    assert_eq!(open.router_id.to_string(), "10.99.0.1");
    assert_eq!(open.hold_time, hold_time);
    for family in Family::ALL {
        assert!(open.capabilities.contains(&Capability::family(family)));
    }
    assert!(open.capabilities.contains(&Capability::RouteRefresh));
}

/// The route that was configured with every kind of community.
fn check_decorated(attrs: &Attrs, path: &str, next_hop: &str) {
    assert_eq!(attrs.as_path.to_string(), path);
    assert_eq!(attrs.next_hop.to_string(), next_hop);
    let texts: Vec<_> = attrs.communities.iter().map(ToString::to_string).collect();
    assert_eq!(texts, ["65001:100"]);
    let texts: Vec<_> = attrs.large_communities.iter().map(ToString::to_string).collect();
    assert_eq!(texts, ["4200000001:1:2"]);
    let texts: Vec<_> = attrs.ext_communities.iter().map(ToString::to_string).collect();
    assert_eq!(texts, ["rt:65001:7"]);
}

/// Graceful restart with notifications is offered, for 120 seconds.
fn check_graceful_restart(open: &Open, restarted: bool, families: &[(u16, u8, bool)]) {
    let families = families.to_vec();
    let offer = Capability::GracefulRestart { restarted, notification: true, time: 120, families };
    assert!(open.capabilities.contains(&offer), "{:?}", open.capabilities);
}

#[test]
fn bird_is_understood_with_its_ipv4_prefixes_in_mp_reach() {
    let bird = recording("bird-2.0.12.txt", true);
    check_open(&bird.open, 240);
    assert!(bird.open.capabilities.contains(&Capability::ExtendedNextHop(vec![(1, 1, 2)])));
    assert!(bird.open.capabilities.contains(&Capability::ExtendedMessage));
    let helper = Capability::GracefulRestart {
        restarted: false,
        notification: false,
        time: 120,
        families: vec![],
    };
    assert!(bird.open.capabilities.contains(&helper));
    assert_eq!(bird.routes.len(), 5);
    check_decorated(&bird.routes[&prefix("10.1.0.0/16")], "4200000001 65001", "127.0.0.2");
    let v6 = &bird.routes[&prefix("fd00:2:3::/48")];
    assert_eq!(v6.as_path.to_string(), "4200000001");
    assert_eq!(v6.next_hop.to_string(), "fd00::1");
    assert_eq!(bird.ended, FamilySet::ALL);
}

#[test]
fn bird_is_understood_when_it_speaks_two_octet_as_numbers() {
    let old = recording("bird-2.0.12-old.txt", false);
    let new = recording("bird-2.0.12.txt", true);
    assert_eq!(old.routes.len(), 5);
    assert_eq!(old.routes, new.routes);
    assert_eq!(old.ended, FamilySet::ALL);
}

#[test]
fn frr_is_understood_with_one_capability_a_parameter() {
    let frr = recording("frr-8.4.4.txt", true);
    check_open(&frr.open, 180);
    assert!(frr.open.capabilities.contains(&Capability::EnhancedRouteRefresh));
    let add_path = Capability::AddPath(vec![(1, 1, 1), (2, 1, 1)]);
    assert!(frr.open.capabilities.contains(&add_path));
    let stale = vec![(1, 1, true, 0), (2, 1, true, 0)];
    assert!(frr.open.capabilities.contains(&Capability::LongLivedGracefulRestart(stale)));
    check_graceful_restart(&frr.open, true, &[(1, 1, false), (2, 1, false)]);
    assert_eq!(frr.routes.len(), 5);
    let decorated = &frr.routes[&prefix("10.1.0.0/16")];
    check_decorated(decorated, "4200000001", "127.0.0.1");
    assert_eq!(decorated.med, Some(50));
    assert!(decorated.atomic_aggregate);
    let router_id = "10.99.0.2".parse().expect("an address");
    // This version writes another AS than the 4200000002 that it was configured with.
    assert_eq!(decorated.aggregator, Some(Aggregator { asn: Asn(3_388_172_498), router_id }));
    assert_eq!(frr.routes[&prefix("fd00:1::/32")].next_hop.to_string(), "fd00::1");
}

#[test]
fn gobgp_is_understood() {
    let gobgp = recording("gobgp-3.10.0.txt", true);
    check_open(&gobgp.open, 90);
    check_graceful_restart(&gobgp.open, false, &[(1, 1, false)]);
    assert_eq!(gobgp.routes.len(), 5);
    let decorated = &gobgp.routes[&prefix("10.1.0.0/16")];
    check_decorated(decorated, "4200000001", "127.0.0.2");
    assert_eq!(decorated.med, Some(50));
    assert_eq!(decorated.aggregator.map(|aggregator| aggregator.asn), Some(Asn(4_200_000_002)));
    assert!(gobgp.routes.contains_key(&prefix("0.0.0.0/0")));
    assert_eq!(gobgp.routes[&prefix("fd00:2:3::/48")].next_hop.to_string(), "fd00::1");
}
