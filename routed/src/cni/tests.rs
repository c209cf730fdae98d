//! Documents in and out, and a socket that nobody can hold up.

use std::{io::Write, net::IpAddr};

use routed_core::{
    ipam::Lease,
    pod::{
        check::Difference,
        wiring::{HOST_MAC, LinkEnd, RouteStamp},
    },
};

use super::*;

fn wiring() -> Wiring {
    let id = AttachmentId::new("net", "c1", "eth0").unwrap();
    Wiring {
        host: LinkEnd { name: "s32abc".to_owned(), index: 20, mac: HOST_MAC },
        inside: LinkEnd { name: "eth0".to_owned(), index: 21, mac: Mac([2, 0, 0, 0, 0, 0xaf]) },
        lease: Lease { ipv4: "10.0.0.5".parse().ok(), ipv6: "fd00::5".parse().ok() },
        pod: None,
        mtu: 1450,
        default_route: true,
        destinations: vec!["10.64.0.0/10".parse().unwrap()],
        routes: RouteStamp { table: 254, protocol: 132, learned: 0 },
        id,
    }
}

fn rpc_id(container_id: &str) -> rpc::AttachmentId {
    rpc::AttachmentId {
        network: "net".to_owned(),
        container_id: container_id.to_owned(),
        ifname: "eth0".to_owned(),
    }
}

#[test]
fn result_names_both_ends_with_mac_mtu_and_sandbox() {
    let reply = Reply::Attached(Box::new(wiring()));
    let rpc::Response::Added(result) = response(&reply, "/run/netns/x") else { panic!() };
    let json = serde_json::to_value(&result).unwrap();
    assert_eq!(
        json,
        serde_json::json!({
            "interfaces": [
                { "name": "s32abc", "mac": "ee:ee:ee:ee:ee:ee", "mtu": 1450 },
                { "name": "eth0", "mac": "02:00:00:00:00:af", "mtu": 1450,
                  "sandbox": "/run/netns/x" },
            ],
            "ips": [
                { "address": "10.0.0.5/32", "gateway": "169.254.1.1", "interface": 1 },
                { "address": "fd00::5/128", "gateway": "fe80::1", "interface": 1 },
            ],
            "routes": [
                { "dst": "169.254.1.1/32", "scope": 253 },
                { "dst": "10.64.0.0/10", "gw": "169.254.1.1" },
                { "dst": "0.0.0.0/0", "gw": "169.254.1.1" },
                { "dst": "::/0", "gw": "fe80::1" },
            ],
            "dns": {},
        })
    );
}

#[test]
fn our_own_result_is_what_check_expects() {
    let wiring = wiring();
    let expected = expected(&result(&wiring, "/run/netns/x"), "eth0");
    assert!(expected.listed);
    assert_eq!(expected.mac, Some(wiring.inside.mac));
    assert_eq!(expected.mtu, Some(1450));
    assert_eq!(expected.addresses, wiring.lease.iter().collect::<Vec<IpAddr>>());
    assert_eq!(expected.destinations, wiring.destinations);
    assert!(expected.tells_mtu);
    assert!(!super::expected(&AddResult::default(), "eth0").listed);
}

#[test]
fn what_other_plugins_of_the_chain_made_is_not_expected_of_us() {
    let ours = result(&wiring(), "/run/netns/x");
    let other = Interface {
        name: "eth9".to_owned(),
        sandbox: Some("/run/netns/x".to_owned()),
        ..Interface::default()
    };
    let mut both = AddResult { interfaces: vec![other], ..AddResult::default() };
    let foreign =
        |interface| Ip { address: "192.0.2.7/24".parse().unwrap(), gateway: None, interface };
    both.ips = vec![foreign(Some(0)), foreign(None)];
    both.interfaces.extend(ours.interfaces);
    both.ips.extend(ours.ips.into_iter().map(|ip| Ip { interface: Some(2), ..ip }));
    let expected = super::expected(&both, "eth0");
    assert_eq!(expected.addresses, wiring().lease.iter().collect::<Vec<IpAddr>>());
    // Older versions write an empty sandbox for the host's end, and no MTU.
    both.interfaces = vec![Interface { name: "eth0".to_owned(), ..Interface::default() }];
    both.interfaces[0].sandbox = Some(String::new());
    assert!(!super::expected(&both, "eth0").listed);
}

#[test]
fn names_that_cannot_exist_are_refused_by_add_and_gone_for_del() {
    let bad = rpc_id("../../etc");
    let attach = rpc::Attach {
        id: bad.clone(),
        netns: String::new(),
        args: [].into(),
        ips: vec![],
        mac: None,
        mtu: None,
        default_route: None,
        pool: None,
        routes: vec![],
        delegated: false,
    };
    let error = request(&rpc::Request::Add(attach)).unwrap_err();
    assert_eq!(error.code, code::INVALID_ENVIRONMENT);
    assert!(error.details.contains("../../etc"), "{error}");
    assert_eq!(request(&rpc::Request::Del(bad)), Ok(None));
}

#[test]
fn error_says_all_differences_at_once() {
    let found = vec![
        Difference::NoHostRoute("10.0.0.5/32".parse().unwrap()),
        Difference::NotForwarding(bgp::family::Family::Ipv4Unicast),
    ];
    let reply = Reply::Failed(PodError::Differs(found));
    let rpc::Response::Error(error) = response(&reply, "") else { panic!() };
    assert_eq!(error.code, code::CHECK_FAILED);
    assert_eq!(
        error.details,
        "the host has no route 10.0.0.5/32; \
         the host does not forward ipv4; set its forwarding sysctl to 1"
    );
}

mod socket {
    use std::{
        os::unix::{fs::PermissionsExt, net::UnixStream},
        time::Duration,
    };

    use super::{server::*, *};
    use crate::metrics::Metrics;

    #[tokio::test]
    async fn socket_is_its_owners_alone_and_takes_the_place_of_a_stale_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run/cni.sock");
        drop(listen(&path).unwrap());
        let _listener = listen(&path).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[tokio::test]
    async fn socket_of_a_living_daemon_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cni.sock");
        let _living = listen(&path).unwrap();
        assert!(matches!(listen(&path), Err(ListenError::Occupied(_))));
        UnixStream::connect(&path).unwrap();
    }

    #[tokio::test]
    async fn file_that_is_no_socket_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("precious");
        std::fs::write(&path, "data").unwrap();
        assert!(matches!(listen(&path), Err(ListenError::NotASocket(_))));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "data");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn garbage_is_answered_with_an_error_and_a_silent_caller_holds_up_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cni.sock");
        let node = crate::node::NodeHandle::of_nobody();
        let service = Service { node, metrics: Metrics::new(), chooser: None };
        let server = tokio::spawn(serve(listen(&path).unwrap(), service));
        let answers = tokio::task::spawn_blocking(move || {
            let _silent = UnixStream::connect(&path).unwrap();
            let ask = |octets: &[u8]| {
                let mut stream = UnixStream::connect(&path).unwrap();
                stream.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
                stream.write_all(octets).unwrap();
                stream.shutdown(std::net::Shutdown::Write).unwrap();
                match rpc::receive(&stream).unwrap() {
                    rpc::Response::Error(error) => error.code,
                    other => panic!("{other:?}"),
                }
            };
            let frame = |body: &str| {
                let length = u32::try_from(body.len()).unwrap().to_be_bytes();
                ask(&[&length[..], body.as_bytes()].concat())
            };
            [
                frame("{}"),
                frame("GET / HTTP/1.1"),
                frame(r#"{"verb":"STATUS"}"#),
                frame(r#"{"verb":"ADD","id":{"network":"n","container_id":"c","ifname":"e"},"netns":"/x"}"#),
                ask(&[0, 0]),
                ask(&u32::MAX.to_be_bytes()),
            ]
        })
        .await
        .unwrap();
        assert_eq!(
            answers,
            [
                code::DECODING_FAILURE,
                code::DECODING_FAILURE,
                code::TRY_AGAIN,
                code::INVALID_ENVIRONMENT,
                code::IO_FAILURE,
                code::DECODING_FAILURE,
            ]
        );
        server.abort();
    }
}
