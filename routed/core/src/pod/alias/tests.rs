//! What goes into an alias comes out of it, and it always fits.

use proptest::prelude::*;

use super::*;
use crate::pod::wiring::{HOST_MAC, LinkEnd, RouteStamp};

fn wiring(id: AttachmentId, lease: Lease) -> Wiring {
    let mac = Mac::of_pod(&id);
    Wiring {
        host: LinkEnd { name: id.host_link(), index: 20, mac: HOST_MAC },
        inside: LinkEnd { name: id.ifname().to_owned(), index: 21, mac },
        pod: None,
        lease,
        mtu: 1500,
        default_route: true,
        destinations: vec![],
        routes: RouteStamp { table: 254, protocol: 132, learned: 0 },
        id,
    }
}

#[test]
fn alias_reads_well() {
    let id = AttachmentId::new("k8s", "0f3a", "eth0").unwrap();
    let lease = Lease { ipv4: "10.244.1.5".parse().ok(), ipv6: "fd00::5".parse().ok() };
    let mut wiring = wiring(id, lease);
    wiring.pod = Some(PodName { namespace: "default".to_owned(), name: "web-0".to_owned() });
    let text = "slash32 net=k8s ctr=0f3a if=eth0 ip4=10.244.1.5 ip6=fd00::5 pod=default/web-0";
    assert_eq!(encode(&wiring), text);
    assert_eq!(decode(&format!("{text} later=thing")).unwrap(), decode(text).unwrap());
}

#[test]
fn aliases_of_others_and_damaged_ones_are_refused() {
    assert_eq!(decode("").unwrap_err(), BadAlias::NotOurs);
    assert_eq!(decode("COIL:pool:id:if").unwrap_err(), BadAlias::NotOurs);
    assert_eq!(decode("slash32 net=a if=eth0").unwrap_err(), BadAlias::Incomplete);
    assert!(matches!(decode("slash32 net=a ctr=b if=a/b"), Err(BadAlias::Id(_))));
    assert!(matches!(decode("slash32 net=a ctr=b if=c ip4=x"), Err(BadAlias::Address(_))));
    assert!(matches!(decode("slash32 net=a ctr=b if=c mac=x"), Err(BadAlias::Mac(_))));
}

proptest! {
    #[test]
    fn every_wiring_fits_and_is_read_back(
        network in "[a-zA-Z0-9][a-zA-Z0-9_.-]{0,79}",
        container in "[a-zA-Z0-9][a-zA-Z0-9_.-]{0,79}",
        ifname in "[!-$&-.0-9;-~]{1,15}",
        ipv4 in any::<Option<[u8; 4]>>(),
        ipv6 in any::<Option<[u8; 16]>>(),
        mac in any::<Option<[u8; 6]>>(),
        default_route in any::<bool>(),
        pod in any::<Option<(String, String)>>(),
    ) {
        let Ok(id) = AttachmentId::new(&network, &container, &ifname) else { return Ok(()) };
        let lease = Lease { ipv4: ipv4.map(Into::into), ipv6: ipv6.map(Into::into) };
        let mut wiring = wiring(id, lease);
        wiring.inside.mac = mac.map_or(wiring.inside.mac, Mac);
        wiring.default_route = default_route;
        wiring.pod = pod.map(|(namespace, name)| PodName { namespace, name });
        let alias = encode(&wiring);
        prop_assert!(alias.len() <= ALIAS_MAX && alias.is_ascii(), "{}", alias);
        let read = decode(&alias).unwrap();
        prop_assert_eq!(&read.id, &wiring.id);
        prop_assert_eq!(read.lease, lease);
        prop_assert_eq!(read.mac, wiring.inside.mac);
        prop_assert_eq!(read.default_route, default_route);
    }

    #[test]
    fn any_text_is_read_without_harm(text in "(slash32 )?.{0,300}") {
        let _ = decode(&text);
    }
}
