//! What we tell monitoring stations, read by an independent decoder (bgpkit-parser).

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics where it stands")]

use std::sync::Arc;

use bgp::{
    aspath::Asn,
    bmp::{self, Peer, PeerDown, Statistic, Termination},
    family::{Family, FamilySet},
    rib::{Monitored, Opening, PeerId, Report, SessionOptions, View},
    timestamp::Timestamp,
    wire::{Capability, ErrorCode, Notification, Open, Update},
};
use bgpkit_parser::{
    models::BgpMessage,
    parser::bmp::{
        messages::{
            BmpMessage, BmpMessageBody, BmpPeerType, PeerDownReason, PeerFlags, PerPeerFlags,
            StatType, StatsData,
        },
        parse_bmp_msg,
    },
};
use bytes::Bytes;
use proptest::prelude::*;
use tests::{messages, oracle};

fn theirs(message: &Bytes) -> BmpMessage {
    let mut rest = message.clone();
    let read = parse_bmp_msg(&mut rest)
        .unwrap_or_else(|error| panic!("the oracle refuses {message:?}: {error}"));
    assert!(rest.is_empty(), "octets are left after {read:?}");
    read
}

fn at() -> Timestamp {
    Timestamp::from_seconds(1_795_800_000)
}

fn open(asn: u32) -> Open {
    Open {
        asn: 23_456,
        hold_time: 90,
        router_id: "10.0.0.2".parse().unwrap(),
        capabilities: vec![
            Capability::family(Family::Ipv4Unicast),
            Capability::FourOctetAs(Asn(asn)),
        ],
    }
}

fn session(address: &str) -> Arc<Monitored> {
    Arc::new(Monitored {
        id: PeerId(1),
        address: address.parse().unwrap(),
        asn: Asn(4_200_000_001),
        router_id: "10.0.0.2".parse().unwrap(),
        families: FamilySet::ALL,
        options: SessionOptions::default(),
        opening: Opening {
            local: "10.1.1.1:40000".parse().unwrap(),
            remote: "10.1.1.0:179".parse().unwrap(),
            sent_open: open(4_200_000_011).encode(),
            received_open: open(4_200_000_001).encode(),
            at: at(),
        },
    })
}

fn ourselves() -> Peer {
    Peer { address: None, asn: Asn(4_200_000_011), router_id: "10.0.0.1".parse().unwrap() }
}

proptest! {
    #[test]
    fn routes_of_every_view_are_read_as_they_are(
        update in messages::update(bmp::CODEC), view in prop::sample::select(&View::ALL),
        six in any::<bool>(), seconds in any::<u32>()
    ) {
        let update = oracle::readable(update);
        let session = (view != View::LocRib)
            .then(|| session(if six { "fd00::2" } else { "10.1.1.0" }));
        let at = Timestamp::from_seconds(seconds);
        let report = Report::Routes { session, view, at, update: update.clone() };
        let mut read = Update::default();
        for message in bmp::report(&report, &ourselves()).0 {
            let BmpMessage { per_peer_header: Some(header), message_body, .. } = theirs(&message)
            else { panic!("no header") };
            let of_us = view == View::LocRib;
            prop_assert_eq!(header.peer_type == BmpPeerType::LocalRib, of_us);
            if let PerPeerFlags::PeerFlags(flags) = header.peer_flags {
                let expected = match view {
                    View::PrePolicy | View::LocRib => PeerFlags::empty(),
                    View::PostPolicy => PeerFlags::IS_POST_POLICY,
                    View::AdjRibOutPrePolicy => PeerFlags::IS_ADJ_RIB_OUT,
                    View::AdjRibOut => PeerFlags::IS_POST_POLICY | PeerFlags::IS_ADJ_RIB_OUT,
                };
                prop_assert_eq!(flags - PeerFlags::ADDRESS_FAMILY_IPV6, expected);
                let address = if six { "fd00::2" } else { "10.1.1.0" };
                prop_assert_eq!(header.peer_ip.to_string(), address);
            }
            let asn = if of_us { 4_200_000_011 } else { 4_200_000_001 };
            prop_assert_eq!(u32::from(header.peer_asn), asn);
            prop_assert_eq!(header.timestamp, f64::from(seconds));
            let BmpMessageBody::RouteMonitoring(routes) = message_body else { panic!() };
            let BgpMessage::Update(theirs) = routes.bgp_message else { panic!() };
            prop_assert_eq!(theirs.attributes.validation_warnings(), &[]);
            if theirs.is_end_of_rib() {
                read.end_of_rib = update.end_of_rib;
                continue;
            }
            let said = oracle::update(theirs);
            read.withdrawn.extend(said.withdrawn);
            read.reach.extend(said.reach);
        }
        prop_assert_eq!(&read.withdrawn, &update.withdrawn);
        prop_assert_eq!(read.end_of_rib, update.end_of_rib);
        prop_assert_eq!(oracle::routes(&read), oracle::routes(&update));
    }
}

#[test]
fn beginning_and_end_of_a_connection_are_read() {
    let begun = theirs(&bmp::initiation("rack1-node1", "Slash32 routed 0.1.0"));
    let BmpMessageBody::InitiationMessage(begun) = begun.message_body else { panic!() };
    let texts: Vec<_> = begun.tlvs.iter().map(|tlv| &*tlv.info).collect();
    assert_eq!(texts, ["Slash32 routed 0.1.0", "rack1-node1"]);
    let ended = theirs(&bmp::termination(Termination::Administrative)).message_body;
    assert!(matches!(ended, BmpMessageBody::TerminationMessage(_)), "{ended:?}");
}

#[test]
fn a_session_is_read_with_both_opens() {
    let session = session("10.1.1.0");
    let messages = bmp::report(&Report::Up(session), &ourselves()).0;
    let BmpMessageBody::PeerUpNotification(up) = theirs(&messages[0]).message_body else {
        panic!()
    };
    assert_eq!((up.local_port, up.remote_port), (40_000, 179));
    assert_eq!(up.local_addr.to_string(), "10.1.1.1");
    for (open, asn) in [(up.sent_open, 4_200_000_011_u32), (up.received_open, 4_200_000_001)] {
        let BgpMessage::Open(open) = open else { panic!("{open:?}") };
        let asns = open.opt_params.iter().map(|parameter| format!("{parameter:?}"));
        assert!(asns.collect::<String>().contains(&format!("{asn}")), "{open:?}");
    }
}

#[test]
fn the_loc_rib_comes_up_as_an_instance_with_a_name() {
    let up = theirs(&ourselves().loc_rib_up(at()));
    assert_eq!(up.per_peer_header.unwrap().peer_type, BmpPeerType::LocalRib);
    let BmpMessageBody::PeerUpNotification(up) = up.message_body else { panic!() };
    assert_eq!(up.sent_open, up.received_open);
    let names: Vec<_> = up.tlvs.iter().map(|tlv| &*tlv.info_value).collect();
    assert_eq!(names, ["global"]);
}

#[test]
fn the_end_of_a_session_is_read_with_its_reason() {
    let notification = Notification::new(ErrorCode::HOLD_TIMER_EXPIRED, Bytes::new());
    let reasons = [
        (
            PeerDown::Told(notification.clone()),
            PeerDownReason::LocalSystemClosedNotificationPduFollows,
        ),
        (PeerDown::Silent(2), PeerDownReason::LocalSystemClosedFsmEvenFollows),
        (PeerDown::Heard(notification), PeerDownReason::RemoteSystemClosedNotificationPduFollows),
        (PeerDown::Lost, PeerDownReason::RemoteSystemsClosedNoData),
    ];
    let peer = Peer { address: Some("10.1.1.0".parse().unwrap()), ..ourselves() };
    for (why, expected) in reasons {
        let down = theirs(&peer.down(&why, at()));
        let BmpMessageBody::PeerDownNotification(down) = down.message_body else { panic!() };
        assert_eq!(down.reason, expected);
    }
}

#[test]
fn counts_are_read_under_their_names() {
    let family = Family::Ipv6Unicast;
    let statistics = [
        (Statistic::Rejected(1), StatType::PrefixesRejectedByInboundPolicy),
        (Statistic::DuplicateAnnouncements(2), StatType::DuplicatePrefixAdvertisements),
        (Statistic::DuplicateWithdrawals(3), StatType::DuplicateWithdrawnPrefixes),
        (Statistic::ClusterLoops(4), StatType::UpdatesInvalidatedDueToClusterListLoop),
        (Statistic::AsLoops(5), StatType::UpdatesInvalidatedDueToASPathLoop),
        (Statistic::OriginatorLoops(6), StatType::UpdatesInvalidatedDueToOriginatorId),
        (Statistic::AdjRibIn(7), StatType::RoutesInAdjRibsIn),
        (Statistic::LocRib(8), StatType::RoutesInLocRib),
        (Statistic::FamilyAdjRibIn(family, 9), StatType::RoutesInPerAfiSafiAdjRibIn),
        (Statistic::FamilyLocRib(family, 10), StatType::RoutesInPerAfiSafiLocRib),
        (Statistic::TreatedAsWithdraw(11), StatType::UpdatesSubjectedToTreatAsWithdraw),
        (Statistic::AdjRibOut(12), StatType::RoutesInPostPolicyAdjRibOut),
        (Statistic::FamilyAdjRibOut(family, 13), StatType::RoutesInPerAfiSafiPostPolicyAdjRibOut),
    ];
    let all: Vec<_> = statistics.iter().map(|(statistic, _)| *statistic).collect();
    let BmpMessageBody::StatsReport(report) =
        theirs(&ourselves().statistics(&all, at())).message_body
    else {
        panic!()
    };
    assert_eq!(report.counters.len(), all.len());
    for ((number, counter), (_, kind)) in (1..).zip(report.counters).zip(statistics) {
        assert_eq!(counter.stat_type, kind);
        let read = match counter.stat_data {
            StatsData::Counter(count) => count.into(),
            StatsData::Gauge(count) => count,
            StatsData::AfiSafiGauge(afi, safi, count) => {
                assert_eq!((afi, safi), (2, 1));
                count
            }
            StatsData::Unknown(octets) => panic!("{kind:?}: {octets:?}"),
        };
        assert_eq!(read, number, "{kind:?}");
    }
}
