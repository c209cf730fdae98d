//! From Idle to Established, and what refuses to get there.

use super::*;

#[test]
fn a_session_dials_and_comes_up_with_what_both_offered() {
    let (mut bench, conn) = Bench::open_sent(config());
    assert_eq!(bench.states(), [State::Connect, State::OpenSent]);

    bench.hear(conn, open().encode());
    bench.hear(conn, wire::keepalive());

    assert_eq!(bench.session.state(), State::Established);
    let up = Established {
        peer_asn: Asn(65001),
        peer_router_id: Ipv4Addr::new(10, 0, 0, 2),
        families: FamilySet::ALL,
        hold_time: 90,
        keepalive_time: 30,
        codec: Codec { external: true, ..Codec::default() },
        route_refresh: true,
        enhanced_refresh: false,
        graceful_restart: None,
        long_lived: vec![],
        role: None,
        peer_role: None,
        sent_open: bench.first_sent(conn),
        received_open: open().encode(),
    };
    assert!(bench.did(&Output::Up(Box::new(up.clone()))));
    assert_eq!(bench.session.established(), Some((conn, &up)));
    assert_eq!(bench.session.established_count(), 1);
    assert_eq!(bench.session.since(), Some(bench.now));
}

#[test]
fn our_open_offers_just_what_is_wanted() {
    let big = SessionConfig { local_asn: Asn(4_200_000_011), ..config() };
    let (bench, conn) = Bench::open_sent(big);

    let Some(Message::Open(open)) = bench.sent(conn).pop() else { panic!("no OPEN") };
    assert_eq!((open.asn, open.hold_time), (23456, 90));
    assert_eq!(open.router_id, Ipv4Addr::new(10, 0, 0, 1));
    let expected = [
        Capability::family(Family::Ipv4Unicast),
        Capability::family(Family::Ipv6Unicast),
        Capability::RouteRefresh,
        Capability::FourOctetAs(Asn(4_200_000_011)),
        Capability::EnhancedRouteRefresh,
    ];
    assert_eq!(open.capabilities, expected);
}

#[test]
fn any_split_of_the_stream_gives_the_same_session() {
    let stream = [open().encode(), wire::keepalive(), end_of_rib(), wire::keepalive()].concat();
    for size in 1..=stream.len() {
        let (mut bench, conn) = Bench::open_sent(config());
        for chunk in stream.chunks(size) {
            bench.hear(conn, chunk.to_vec());
        }
        assert_eq!(bench.session.state(), State::Established, "chunks of {size}");
        let (received, _) = bench.session.counters();
        assert_eq!((received.opens, received.updates, received.keepalives), (1, 1, 2));
        let updates = bench.outputs.iter().filter(|o| matches!(o, Output::Update(_))).count();
        assert_eq!(updates, 1, "chunks of {size}");
    }
}

#[test]
fn a_passive_session_never_dials_and_comes_up_when_called() {
    let mut bench = Bench::started(SessionConfig { passive: true, ..config() });
    bench.pass(secs(10_000));
    assert_eq!((bench.session.state(), bench.dials()), (State::Active, 0));
    assert_eq!((bench.session.retry_at(), bench.session.poll_timeout()), (None, None));

    let conn = bench.accept();
    bench.hear(conn, open().encode());
    bench.hear(conn, wire::keepalive());
    assert_eq!(bench.session.state(), State::Established);
}

#[test]
fn rfc4271_6_2_a_peer_of_the_wrong_as_is_told_so() {
    let wanted = SessionConfig { peer_asn: PeerAs::Exact(Asn(65002)), ..config() };
    let (mut bench, conn) = Bench::open_sent(wanted.clone());
    bench.hear(conn, open().encode());
    assert_eq!(bench.told(conn), Some((2, 2, vec![0, 0, 0xfd, 0xe9])), "65001 in four octets");
    assert!(bench.did(&Output::Close(conn)));
    assert_eq!(bench.session.state(), State::Idle);

    let (mut bench, conn) = Bench::open_sent(wanted);
    bench.hear(conn, Open { capabilities: vec![], ..open() }.encode());
    assert_eq!(bench.told(conn), Some((2, 2, vec![0xfd, 0xe9])), "65001 in two octets");
}

#[test]
fn rfc7607_2_as_zero_is_refused_in_either_field() {
    let zero = vec![Capability::FourOctetAs(Asn(0))];
    for bad in [Open { asn: 0, ..open() }, Open { capabilities: zero, ..open() }] {
        let (mut bench, conn) = Bench::open_sent(config());
        bench.hear(conn, bad.encode());
        assert!(matches!(bench.told(conn), Some((2, 2, _))), "{bad:?}");
    }
}

#[test]
fn an_internal_peer_must_be_of_our_as_and_an_external_one_of_another() {
    let internal =
        Open { asn: 65000, capabilities: vec![Capability::family(Family::Ipv4Unicast)], ..open() };
    for (wanted, offered, admitted) in [
        (PeerAs::Internal, internal.clone(), true),
        (PeerAs::Internal, open(), false),
        (PeerAs::External, internal, false),
        (PeerAs::External, open(), true),
        (PeerAs::OneOf([Asn(65009), Asn(65001)].into()), open(), true),
        (PeerAs::OneOf([Asn(65009)].into()), open(), false),
    ] {
        let (mut bench, conn) =
            Bench::open_sent(SessionConfig { peer_asn: wanted.clone(), ..config() });
        bench.hear(conn, offered.encode());
        assert_eq!(bench.told(conn).is_none(), admitted, "{wanted:?} {offered:?}");
        if admitted {
            bench.hear(conn, wire::keepalive());
            let (_, terms) = bench.session.established().unwrap();
            assert_eq!(terms.codec.external, wanted != PeerAs::Internal);
        }
    }
}

#[test]
fn rfc4271_6_2_hold_times_of_one_and_two_seconds_are_refused() {
    for theirs in [1, 2] {
        let (mut bench, conn) = Bench::open_sent(config());
        bench.hear(conn, Open { hold_time: theirs, ..open() }.encode());
        assert_eq!(bench.told(conn), Some((2, 6, theirs.to_be_bytes().to_vec())));
    }
}

#[test]
fn rfc4271_4_2_the_smaller_hold_time_is_used_and_keepalives_follow_it() {
    let keep = |seconds| Some(secs(seconds));
    for (ours, keepalive, theirs, agreed, interval) in [
        (90, None, 180, 90, 30),
        (90, None, 9, 9, 3),
        (90, keep(10), 180, 90, 10),
        (90, keep(60), 180, 90, 30),
        (90, keep(0), 180, 90, 1),
        (3, None, 3, 3, 1),
        (5, None, 90, 5, 1),
        (0, None, 90, 0, 0),
        (90, keep(10), 0, 0, 0),
        (65535, None, 65535, 65535, 21845),
    ] {
        let ours = SessionConfig { hold_time: hold(ours), keepalive_time: keepalive, ..config() };
        let (mut bench, conn) = Bench::open_sent(ours);
        bench.hear(conn, Open { hold_time: theirs, ..open() }.encode());
        bench.hear(conn, wire::keepalive());
        let (_, terms) = bench.session.established().unwrap();
        assert_eq!((terms.hold_time, terms.keepalive_time), (agreed, interval));
    }
}

#[test]
fn rfc6286_2_2_identifier_zero_and_in_one_as_our_own_are_refused() {
    let nobody = Open { router_id: Ipv4Addr::UNSPECIFIED, ..open() };
    let (mut bench, conn) = Bench::open_sent(config());
    bench.hear(conn, nobody.encode());
    assert_eq!(bench.told(conn), Some((2, 3, vec![0, 0, 0, 0])));

    let twin = Open { router_id: Ipv4Addr::new(10, 0, 0, 1), ..open() };
    let (mut bench, conn) = Bench::open_sent(config());
    bench.hear(conn, twin.encode());
    assert_eq!(bench.told(conn), None, "another AS may use the same identifier");

    let internal = SessionConfig { local_asn: Asn(65001), peer_asn: PeerAs::Internal, ..config() };
    let (mut bench, conn) = Bench::open_sent(internal);
    bench.hear(conn, twin.encode());
    assert_eq!(bench.told(conn), Some((2, 3, vec![10, 0, 0, 1])));
}

#[test]
fn rfc4760_8_no_multiprotocol_capability_means_ipv4_and_any_means_just_those() {
    let both = FamilySet::ALL;
    let v4: FamilySet = [Family::Ipv4Unicast].into_iter().collect();
    let v6: FamilySet = [Family::Ipv6Unicast].into_iter().collect();
    let family = Capability::family;
    let vpn = Capability::Multiprotocol { afi: 1, safi: 128 };
    for (ours, theirs, agreed) in [
        (both, vec![], v4),
        (both, vec![family(Family::Ipv6Unicast)], v6),
        (both, vec![vpn.clone(), family(Family::Ipv4Unicast)], v4),
        (v4, vec![family(Family::Ipv4Unicast), family(Family::Ipv6Unicast)], v4),
    ] {
        let (mut bench, conn) = Bench::open_sent(SessionConfig { families: ours, ..config() });
        bench.hear(conn, Open { capabilities: theirs, ..open() }.encode());
        bench.hear(conn, wire::keepalive());
        let (_, terms) = bench.session.established().unwrap();
        assert_eq!((terms.families, terms.codec.families), (agreed, agreed));
    }
    for (ours, theirs, missing) in [
        (v6, vec![], vec![1, 4, 0, 2, 0, 1]),
        (v6, vec![family(Family::Ipv4Unicast)], vec![1, 4, 0, 2, 0, 1]),
        (both, vec![vpn], vec![1, 4, 0, 1, 0, 1, 1, 4, 0, 2, 0, 1]),
    ] {
        let (mut bench, conn) = Bench::open_sent(SessionConfig { families: ours, ..config() });
        bench.hear(conn, Open { capabilities: theirs, ..open() }.encode());
        assert_eq!(bench.told(conn), Some((2, 7, missing)));
    }
}

#[test]
fn rfc5492_3_unknown_capabilities_are_ignored() {
    let mut offer = open();
    offer.capabilities.push(Capability::Unknown { code: 250, value: vec![1, 2, 3].into() });
    let (mut bench, conn) = Bench::open_sent(config());
    bench.hear(conn, offer.encode());
    assert_eq!(bench.session.state(), State::OpenConfirm);
}

#[test]
fn rfc6793_4_a_peer_without_four_octet_as_numbers_gets_two_octets() {
    let old = Open { capabilities: vec![Capability::family(Family::Ipv4Unicast)], ..open() };
    let (mut bench, conn) = Bench::open_sent(config());
    bench.hear(conn, old.encode());
    bench.hear(conn, wire::keepalive());
    let (_, terms) = bench.session.established().unwrap();
    assert!(!terms.codec.four_octet_as && !terms.route_refresh);
    assert_eq!(terms.peer_asn, Asn(65001));
}

#[test]
fn rfc4271_6_2_another_version_is_told_ours() {
    let mut octets = open().encode().to_vec();
    octets[19] = 3;
    let (mut bench, conn) = Bench::open_sent(config());
    bench.hear(conn, octets);
    assert_eq!(bench.told(conn), Some((2, 1, vec![0, 4])));
}

#[test]
fn a_failed_dial_leads_to_active_and_the_next_dial_comes_in_time() {
    let mut bench = Bench::started(config());
    bench.give(Input::ConnectFailed(bench.dialled()));
    assert_eq!(bench.session.state(), State::Active);
    assert_eq!(bench.session.last_error(), Some(&Cause::ConnectFailed));
    let retry = bench.session.retry_at().unwrap() - bench.now;
    assert!((secs(5).mul_f64(0.75)..=secs(5)).contains(&retry), "{retry:?}");

    bench.pass(retry);
    assert_eq!((bench.session.state(), bench.dials()), (State::Connect, 2));
}

#[test]
fn a_dial_without_an_answer_is_given_up_and_made_again() {
    let mut bench = Bench::started(config());
    let first = bench.dialled();
    bench.pass(secs(5));
    assert!(bench.did(&Output::Close(first)));
    assert_eq!(bench.dials(), 2);

    // The answer to the first comes late: it means nothing any more.
    bench.give(Input::Connected(first));
    assert_eq!(bench.session.state(), State::Connect);
    assert!(bench.sent(first).is_empty());
}

#[test]
fn retries_are_jittered_between_three_quarters_and_the_whole() {
    let mut bench = Bench::started(config());
    let mut waits = Vec::new();
    for _ in 0..200 {
        let wait = bench.session.poll_timeout().unwrap() - bench.now;
        assert!((secs(5).mul_f64(0.75)..=secs(5)).contains(&wait), "{wait:?}");
        waits.push(wait);
        bench.pass(wait);
    }
    assert!(waits.iter().min().unwrap() < &secs(4), "they differ");
    assert!(waits.iter().max().unwrap() > &secs(5).mul_f64(0.95), "they differ");
}

#[test]
fn rfc4486_4_a_peer_that_connects_to_a_stopped_session_is_rejected() {
    let mut bench = Bench::new(config());
    let conn = bench.accept();
    assert_eq!(bench.told(conn), Some((6, 5, vec![])));
    assert!(bench.did(&Output::Close(conn)));
    assert!(bench.sent(conn).len() == 1, "no OPEN leaks");
}

#[test]
fn a_peer_that_connects_to_a_session_shut_down_is_told_why_again() {
    let (mut bench, _) = Bench::established(config());
    bench.give(Input::Stop(Cease::AdminShutdown("bye".into())));
    let conn = bench.accept();
    assert_eq!(bench.told(conn), Some((6, 2, b"\x03bye".to_vec())));
}

#[test]
fn a_stranger_with_another_protocol_gets_one_answer() {
    let (mut bench, conn) = Bench::open_sent(config());
    bench.hear(conn, b"GET / HTTP/1.1\r\nHost: tor\r\n\r\n".to_vec());
    assert_eq!(bench.told(conn), Some((1, 1, vec![])));
    bench.outputs.clear();
    bench.hear(conn, b"GET / HTTP/1.1\r\nHost: tor\r\n\r\n".to_vec());
    assert!(bench.outputs.is_empty());
}
