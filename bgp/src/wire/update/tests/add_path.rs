//! Prefixes with path identifiers (RFC 7911), and the rules of RFC 7606 for them.

use super::*;

/// Path identifiers in both directions with the prefixes of both families.
const ADD_PATH: Codec =
    Codec { add_path_receive: FamilySet::ALL, add_path_send: FamilySet::ALL, ..EXTERNAL };

/// 10.1.0.0/16, path 7.
const PATH_7: &[u8] = &[0, 0, 0, 7, 16, 10, 1];
/// The same prefix, path 8.
const PATH_8: &[u8] = &[0, 0, 0, 8, 16, 10, 1];

fn nlri(text: &str, path_id: u32) -> Nlri {
    Nlri { prefix: text.parse().unwrap(), path_id }
}

fn error(message: &Bytes) -> (u8, u8) {
    let error = read(message, &ADD_PATH).unwrap_err();
    (error.code, error.subcode)
}

fn v6_reach(nlri: &[u8]) -> Vec<u8> {
    attr(N, 14, &mp_reach_value(&global(), nlri))
}

#[test]
fn rfc7911_3_all_four_places_have_path_identifiers() {
    let v6 = [0, 0, 0, 9, 32, 0xFD, 0, 0, 1];
    let unreach = attr(N, 15, &[&[0, 2, 1][..], &v6].concat());
    let attributes = [v6_reach(&v6), mandatory(), unreach].concat();
    let read = good(&update(PATH_8, &attributes, PATH_7), &ADD_PATH);
    assert_eq!(read.withdrawn, [nlri("10.1.0.0/16", 8), nlri("fd00:1::/32", 9)]);
    assert_eq!(read.reach[0].prefixes, [nlri("fd00:1::/32", 9)]);
    assert_eq!(read.reach[1].prefixes, [nlri("10.1.0.0/16", 7)]);

    let [v6, v4] = &read.reach[..] else { panic!("{read:?}") };
    let v4 = Update::encode_reach(&v4.attrs, &v4.prefixes, &ADD_PATH).unwrap();
    assert!(v4[0].ends_with(PATH_7));
    let v6 = Update::encode_reach(&v6.attrs, &v6.prefixes, &ADD_PATH).unwrap();
    assert_eq!(good(&v6[0], &ADD_PATH).reach[0].prefixes, [nlri("fd00:1::/32", 9)]);
    let gone = Update::encode_withdraw(&read.withdrawn, &ADD_PATH);
    assert_eq!(gone[0], update(PATH_8, &[], &[]));
    assert_eq!(good(&gone[1], &ADD_PATH).withdrawn, [nlri("fd00:1::/32", 9)]);
}

#[test]
fn rfc7911_3_paths_to_one_prefix_are_told_apart_and_repeats_are_harmless() {
    let field = [PATH_7, PATH_8, PATH_7].concat();
    let read = good(&update(PATH_7, &mandatory(), &field), &ADD_PATH);
    assert_eq!(read.withdrawn, [nlri("10.1.0.0/16", 7)]);
    let paths: Vec<_> = read.reach[0].prefixes.iter().map(|nlri| nlri.path_id).collect();
    assert_eq!(paths, [7, 8, 7]);
}

#[test]
fn rfc7911_4_each_family_and_each_direction_by_itself() {
    let v4_receive = Codec {
        add_path_receive: FamilySet::from_iter([Family::Ipv4Unicast]),
        add_path_send: FamilySet::NONE,
        ..EXTERNAL
    };
    let attributes = [v6_reach(&[32, 0xFD, 0, 0, 1]), mandatory()].concat();
    let read = good(&update(&[], &attributes, PATH_7), &v4_receive);
    assert_eq!(read.reach[0].prefixes, [nlri("fd00:1::/32", 0)]);
    assert_eq!(read.reach[1].prefixes, [nlri("10.1.0.0/16", 7)]);
    let sent = Update::encode_reach(&read.reach[1].attrs, &read.reach[1].prefixes, &v4_receive);
    assert_eq!(sent.unwrap(), [update(&[], &mandatory(), PREFIX)], "the number stays with us");
}

#[test]
fn rfc4724_2_end_of_rib_has_no_path_identifier() {
    for family in Family::ALL {
        let read = good(&Update::encode_end_of_rib(family), &ADD_PATH);
        assert_eq!(read, Update { end_of_rib: Some(family), ..Update::default() });
    }
}

#[test]
fn rfc7606_3_a_flaw_withdraws_just_the_paths_of_the_message() {
    let bad_med = attr(N, 4, &[1]);
    let v6 = [0, 0, 0, 9, 32, 0xFD, 0, 0, 1];
    let attributes = [v6_reach(&v6), mandatory(), bad_med].concat();
    let read = read(&update(&[], &attributes, PATH_7), &ADD_PATH).unwrap();
    assert_eq!(read.withdrawn, [nlri("fd00:1::/32", 9), nlri("10.1.0.0/16", 7)]);
    assert_eq!(read.reach, []);
    assert_eq!(read.faults[0].treatment, Treatment::TreatAsWithdraw);
}

#[test]
fn rfc7606_5_3_prefixes_with_path_identifiers_that_cannot_be_read_reset_the_session() {
    let long = [0, 0, 0, 7, 33, 10, 0, 0, 0, 0];
    for field in [&PATH_7[..1], &PATH_7[..4], &PATH_7[..6], &[PATH_7, &[0, 0]].concat(), &long] {
        assert_eq!(error(&update(field, &[], &[])), (3, 10), "{field:?}");
        assert_eq!(error(&update(&[], &mandatory(), field)), (3, 10), "{field:?}");
        let reach = [v6_reach(field), origin(), as_path()].concat();
        // The long one is none for IPv6.
        if field != &long[..] {
            assert_eq!(error(&update(&[], &reach, &[])), (3, 9), "{field:?}");
            let unreach = attr(N, 15, &[&[0, 2, 1][..], field].concat());
            assert_eq!(error(&update(&[], &unreach, &[])), (3, 9), "{field:?}");
        }
    }
    let long_v6 = [&[0, 0, 0, 7, 129][..], &[0; 17]].concat();
    assert_eq!(error(&update(&[], &[v6_reach(&long_v6), mandatory()].concat(), &[])), (3, 9));
}

#[test]
fn messages_with_path_identifiers_are_as_full_as_they_can_be() {
    for max_len in [MAX_LEN, MAX_EXTENDED_LEN] {
        let codec = Codec { max_receive_len: max_len, max_send_len: max_len, ..ADD_PATH };
        for family in Family::ALL {
            let host = match family {
                Family::Ipv4Unicast => "10.0.0.1/32",
                Family::Ipv6Unicast => "fd00::1/128",
            };
            let paths: Vec<_> = (0..10_000).map(|path_id| nlri(host, path_id)).collect();
            let next_hop = if family == Family::Ipv4Unicast { "192.0.2.1" } else { "fd00::1" };
            let attrs = Attrs::originated(NextHop::new(next_hop.parse().unwrap()));
            let room = usize::from(family.max_len()) / 8 + 1 + 4;
            let reach = Update::encode_reach(&attrs, &paths, &codec).unwrap();
            let gone = Update::encode_withdraw(&paths, &codec);
            for messages in [&reach, &gone] {
                let (last, full) = messages.split_last().unwrap();
                assert!(last.len() <= max_len);
                assert!(full.iter().all(|m| (max_len - room + 1..=max_len).contains(&m.len())));
            }
            let read: Vec<_> = reach
                .iter()
                .flat_map(|message| good(message, &codec).reach)
                .flat_map(|reach| reach.prefixes)
                .collect();
            assert_eq!(read, paths);
            let read: Vec<_> =
                gone.iter().flat_map(|message| good(message, &codec).withdrawn).collect();
            assert_eq!(read, paths);
        }
    }
}
