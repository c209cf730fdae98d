//! What we record in MRT files, read by an independent decoder (bgpkit-parser).

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics where it stands")]

use bgp::{
    aspath::Asn,
    attrs::Attrs,
    bmp,
    mrt::{self, Conversation, Said, TableEntry, TablePeer},
    prefix::Prefix,
    session::State,
    timestamp::Timestamp,
    wire::Update,
};
use bgpkit_parser::{
    models::{Bgp4MpEnum, BgpMessage, BgpState, MrtMessage, MrtRecord, TableDumpV2Message},
    parser::mrt::mrt_record::parse_mrt_record,
};
use proptest::{collection::vec, option, prelude::*};
use tests::{messages, oracle};

fn theirs(record: &[u8]) -> MrtRecord {
    let mut rest = record;
    let read = parse_mrt_record(&mut rest)
        .unwrap_or_else(|error| panic!("the oracle refuses {record:?}: {}", error.error));
    assert!(rest.is_empty(), "octets are left after {read:?}");
    read
}

/// A peer's place, a time, a path identifier, attributes.
type Path = (u16, u32, Option<u32>, Attrs);

/// A prefix with paths that peers could have announced.
fn routes() -> impl Strategy<Value = (Prefix, Vec<Path>)> {
    messages::family().prop_flat_map(|family| {
        let attrs = messages::attrs(family, bmp::CODEC).prop_map(oracle::readable_attrs);
        let path = (any::<u16>(), any::<u32>(), option::of(any::<u32>()), attrs);
        (messages::prefix(family), vec(path, 1..6))
    })
}

proptest! {
    #[test]
    fn routes_are_read_with_their_peers_and_times((prefix, paths) in routes()) {
        let entries: Vec<_> = paths
            .iter()
            .map(|(peer, learned, path_id, attrs)| TableEntry {
                peer: *peer,
                learned: Timestamp::from_seconds(*learned),
                path_id: *path_id,
                attrs,
            })
            .collect();
        let mut sequence = 7;
        let (records, left_out) =
            mrt::table_records(prefix, &entries, &mut sequence, Timestamp::from_seconds(5));
        prop_assert_eq!(left_out, []);
        let mut read = Vec::new();
        for record in &records {
            let MrtRecord { common_header, message } = theirs(record);
            prop_assert_eq!(common_header.timestamp, 5);
            let MrtMessage::TableDumpV2Message(TableDumpV2Message::RibAfi(rib)) = message else {
                panic!("{message:?}")
            };
            prop_assert_eq!(rib.prefix.prefix.to_string(), prefix.to_string());
            read.extend(rib.rib_entries.into_iter().map(|entry| {
                let attrs = oracle::attrs(entry.attributes);
                (entry.peer_index, entry.originated_time, entry.path_id, attrs)
            }));
        }
        let mut expected = paths;
        expected.sort_by_key(|(_, _, path_id, _)| path_id.is_some());
        prop_assert_eq!(read, expected);
        prop_assert_eq!(sequence, 7 + u32::try_from(records.len()).unwrap());
    }

    #[test]
    fn messages_are_read_as_they_came(
        (codec, update) in oracle::codec().prop_flat_map(|codec| (Just(codec), messages::update(codec))),
        micros in 0..1_000_000_u32, six in any::<bool>()
    ) {
        let update = oracle::readable(update);
        let Ok(octets) = update.encode(&codec) else { return Ok(()) };
        let at = std::time::SystemTime::UNIX_EPOCH
            + std::time::Duration::new(1_795_800_000, micros * 1000);
        let conversation = conversation(six);
        let said = Said { four_octet_as: codec.four_octet_as, add_path: !codec.add_path_send.is_empty() };
        let mut read = Update::default();
        for message in octets {
            let record = theirs(&conversation.heard(&message, said, at.into()));
            prop_assert_eq!(record.common_header.timestamp, 1_795_800_000);
            prop_assert_eq!(record.common_header.microsecond_timestamp, Some(micros));
            let MrtMessage::Bgp4Mp(Bgp4MpEnum::Message(message)) = record.message else { panic!() };
            let asn = if said.four_octet_as { 4_200_000_001 } else { 23_456 };
            prop_assert_eq!(u32::from(message.peer_asn), asn);
            prop_assert_eq!(u32::from(message.local_asn), 64_512);
            prop_assert_eq!((message.peer_ip, message.local_ip), (conversation.peer, conversation.local));
            let BgpMessage::Update(theirs) = message.bgp_message else { panic!() };
            if theirs.is_end_of_rib() {
                read.end_of_rib = update.end_of_rib;
                continue;
            }
            let said = oracle::update(theirs);
            read.withdrawn.extend(said.withdrawn);
            read.reach.extend(said.reach);
        }
        prop_assert_eq!(&read.withdrawn, &update.withdrawn);
        prop_assert_eq!(oracle::routes(&read), oracle::routes(&update));
    }
}

fn conversation(six: bool) -> Conversation {
    let (peer, local) = if six { ("fd00::2", "fd00::1") } else { ("10.1.1.0", "10.1.1.1") };
    Conversation {
        peer_asn: Asn(4_200_000_001),
        local_asn: Asn(64_512),
        peer: peer.parse().unwrap(),
        local: local.parse().unwrap(),
    }
}

#[test]
fn the_table_of_peers_is_read_with_every_peer_in_its_place() {
    let peers = [
        TablePeer {
            router_id: "10.0.0.2".parse().unwrap(),
            address: "10.1.1.0".parse().unwrap(),
            asn: Asn(4_200_000_001),
        },
        TablePeer {
            router_id: "10.0.0.3".parse().unwrap(),
            address: "fd00::3".parse().unwrap(),
            asn: Asn(64_512),
        },
    ];
    let record = theirs(&mrt::peer_table("10.0.0.1".parse().unwrap(), &peers, Timestamp::UNKNOWN));
    let MrtMessage::TableDumpV2Message(TableDumpV2Message::PeerIndexTable(read)) = record.message
    else {
        panic!("{record:?}")
    };
    assert_eq!(read.collector_bgp_id.to_string(), "10.0.0.1");
    assert_eq!(read.id_peer_map.len(), 2);
    for (place, peer) in (0..).zip(peers) {
        let theirs = read.id_peer_map[&place];
        assert_eq!((theirs.peer_bgp_id, theirs.peer_ip), (peer.router_id, peer.address));
        assert_eq!(u32::from(theirs.peer_asn), peer.asn.0);
    }
}

#[test]
fn every_change_of_state_is_read() {
    let states = [
        (State::Idle, BgpState::Idle),
        (State::Connect, BgpState::Connect),
        (State::Active, BgpState::Active),
        (State::OpenSent, BgpState::OpenSent),
        (State::OpenConfirm, BgpState::OpenConfirm),
        (State::Established, BgpState::Established),
    ];
    for ((from, from_read), (to, to_read)) in states.into_iter().zip(states.into_iter().skip(1)) {
        let record = theirs(&conversation(false).state(from, to, Timestamp::UNKNOWN));
        let MrtMessage::Bgp4Mp(Bgp4MpEnum::StateChange(read)) = record.message else { panic!() };
        assert_eq!((read.old_state, read.new_state), (from_read, to_read));
    }
}

#[test]
fn a_record_says_how_long_it_is() {
    let record = conversation(false).state(State::Idle, State::Connect, Timestamp::UNKNOWN);
    let header = record[..mrt::HEADER_LEN].try_into().unwrap();
    assert_eq!(mrt::record_len(header), record.len() as u64);
    let of_both = [record.clone(), record].concat();
    let mut rest = &of_both[..];
    for _ in 0..2 {
        parse_mrt_record(&mut rest).unwrap();
    }
    assert!(rest.is_empty(), "records may follow each other");
}
