//! One test for each row of RFC 7606's rules: what is contained, and what is not.

use super::*;

/// The routes stay, the attribute goes.
fn discarded(result: Result<Update, Notification>, code: AttrCode, octets: &[u8]) -> Attrs {
    let update = result.unwrap();
    assert_eq!(update.withdrawn, []);
    assert_eq!(update.reach.len(), 1, "{code}");
    let fault = update.faults.first().unwrap_or_else(|| panic!("{code}: no fault"));
    assert_eq!(update.faults.len(), 1, "{:?}", update.faults);
    assert_eq!((fault.treatment, fault.attribute), (Treatment::DiscardAttribute, code));
    assert_eq!(fault.octets, octets, "{code}");
    update.reach[0].attrs.as_ref().clone()
}

/// The routes go.
fn withdrawn(result: Result<Update, Notification>, code: AttrCode, octets: &[u8]) {
    let update = result.unwrap();
    assert_eq!(update.withdrawn, [prefix("10.1.0.0/16")], "{code}");
    assert_eq!(update.reach, []);
    let fault = update.faults.first().unwrap_or_else(|| panic!("{code}: no fault"));
    assert_eq!((fault.treatment, fault.attribute), (Treatment::TreatAsWithdraw, code));
    assert_eq!(fault.octets, octets, "{code}");
}

fn reset(result: Result<Update, Notification>, subcode: u8) -> Notification {
    let notification = result.unwrap_err();
    assert_eq!((notification.code, notification.subcode), (3, subcode));
    notification
}

/// Mandatory attributes, one of them replaced.
fn replaced(code: u8, by: &[u8], codec: &Codec) -> Result<Update, Notification> {
    let mut attributes = Vec::new();
    for attribute in [origin(), as_path(), next_hop()] {
        attributes.extend(if attribute[1] == code { by.to_vec() } else { attribute });
    }
    read(&update(&[], &attributes, PREFIX), codec)
}

#[test]
fn rfc7606_3b_lengths_that_pass_the_end_of_the_message_reset_the_session() {
    for body in [
        &[0, 1, 0, 0][..],
        &[0, 0, 0, 1],
        &[0xFF, 0xFF, 0, 0],
        &[0, 0, 0xFF, 0xFF],
        &[0, 2, 8, 10, 0, 1],
        &[0, 3, 8, 10, 0],
    ] {
        reset(read(&message(Kind::Update, body), &EXTERNAL), 1);
    }
}

#[test]
fn rfc7606_3c_conflicting_flags_withdraw() {
    let known: [(u8, u8, &[u8]); 11] = [
        (4, N, &[0, 0, 0, 1]),
        (5, W, &[0, 0, 0, 1]),
        (6, W, &[]),
        (7, T, &[0, 0, 0, 1, 1, 1, 1, 1]),
        (8, T, &[0, 0, 0, 1]),
        (9, N, &[0, 0, 0, 1]),
        (10, N, &[0, 0, 0, 1]),
        (16, T, &[0; 8]),
        (25, T, &[0; 20]),
        (32, T, &[0; 12]),
        (35, T, &[0, 0, 0, 1]),
    ];
    for (code, right, value) in known {
        assert_eq!(with(&attr(right, code, value), &INTERNAL).unwrap().faults, [], "{code}");
        for flags in [0, N, W, T].into_iter().filter(|flags| *flags != right) {
            let attribute = attr(flags, code, value);
            withdrawn(with(&attribute, &INTERNAL), AttrCode(code), &attribute);
        }
    }
    for (code, value) in [(1, origin()), (2, as_path()), (3, next_hop())] {
        let attribute = attr(T, code, &value[3..]);
        withdrawn(replaced(code, &attribute, &EXTERNAL), AttrCode(code), &attribute);
    }
    for (code, value) in [(17, &[2, 1, 0, 1, 0, 0][..]), (18, &[0, 1, 0, 0, 1, 1, 1, 1])] {
        let attribute = attr(N, code, value);
        let path = attr(W, 2, &[2, 1, 0xFD, 0xE9]);
        let attributes = [origin(), path, next_hop(), attribute.clone()].concat();
        let result = read(&update(&[], &attributes, PREFIX), &TWO_OCTET);
        withdrawn(result, AttrCode(code), &attribute);
    }
}

#[test]
fn rfc7606_3d_a_missing_mandatory_attribute_withdraws() {
    for code in 1..=3 {
        withdrawn(replaced(code, &[], &EXTERNAL), AttrCode(code), &[]);
    }
    // NEXT_HOP is not one for the prefixes of MP_REACH_NLRI.
    let without = update(&[], &[mp_reach(), origin(), as_path()].concat(), &[]);
    assert_eq!(good(&without, &EXTERNAL).reach.len(), 1);
    let without = update(&[], &[mp_reach(), origin()].concat(), &[]);
    let read = read(&without, &EXTERNAL).unwrap();
    assert_eq!(read.withdrawn, [prefix("fd00:1::/32")]);
    assert_eq!(read.faults[0].attribute, AttrCode::AS_PATH);
}

#[test]
fn rfc7606_3g_a_repeated_attribute_counts_once_and_is_told_once() {
    let second = attr(N, 4, &[0, 0, 0, 9]);
    let more = [attr(N, 4, &[0, 0, 0, 1]), second.clone(), second.clone(), second.clone()];
    let attrs = discarded(with(&more.concat(), &EXTERNAL), AttrCode(4), &second);
    assert_eq!(attrs.med, Some(1));
    let unknown = [attr(T, 99, &[1]), attr(T, 99, &[2])];
    let attrs = discarded(with(&unknown.concat(), &EXTERNAL), AttrCode(99), &unknown[1]);
    assert_eq!(attrs.unknown, [UnknownAttr { code: 99, value: Bytes::from_static(&[1]) }]);
    // The first counts even if it is the malformed one.
    let first = attr(N, 4, &[0]);
    let more = [first.clone(), second].concat();
    withdrawn(with(&more, &EXTERNAL), AttrCode(4), &first);
}

#[test]
fn rfc7606_3g_a_repeated_multiprotocol_attribute_resets_the_session() {
    let unreach = attr(N, 15, &[0, 2, 1, 8, 0xFD]);
    for twice in [[mp_reach(), mp_reach()], [unreach.clone(), unreach]] {
        let attributes = [mandatory(), twice.concat()].concat();
        reset(read(&update(&[], &attributes, PREFIX), &EXTERNAL), 1);
    }
}

#[test]
fn rfc7606_3h_the_strongest_treatment_wins() {
    let bad_atomic = attr(W, 6, &[1]);
    let bad_med = attr(N, 4, &[1]);
    let update = with(&[bad_atomic, bad_med.clone()].concat(), &EXTERNAL).unwrap();
    assert_eq!(update.withdrawn, [prefix("10.1.0.0/16")]);
    let treatments: Vec<_> = update.faults.iter().map(|fault| fault.treatment).collect();
    assert_eq!(treatments, [Treatment::DiscardAttribute, Treatment::TreatAsWithdraw]);
    let bad_reach = attr(N, 14, &[0, 2, 1, 16]);
    reset(with(&[bad_med, bad_reach].concat(), &EXTERNAL), 9);
}

#[test]
fn rfc7606_4_an_attribute_that_overruns_withdraws_what_the_nlri_field_holds() {
    for tail in [&[W][..], &[W, 6], &[0x50, 6, 0], &[N, 4, 4, 0, 0, 0], &[0xD0, 99, 0xFF, 0xFF]] {
        let code = AttrCode(tail.get(1).copied().unwrap_or(0));
        withdrawn(with(tail, &EXTERNAL), code, tail);
    }
}

#[test]
fn rfc7606_4_a_multiprotocol_attribute_that_overruns_resets_the_session() {
    let tail = [N, 14, 40, 0, 2, 1];
    assert_eq!(reset(with(&tail, &EXTERNAL), 9).data[..], tail);
}

#[test]
fn rfc7606_5_2_a_withdraw_class_flaw_without_routes_resets_the_session() {
    let bad_med = attr(N, 4, &[1]);
    let unreach = attr(N, 15, &[0, 2, 1, 8, 0xFD]);
    let empty_reach = attr(N, 14, &mp_reach_value(&global(), &[]));
    for (withdrawn, attributes) in [
        (&[][..], bad_med.clone()),
        (PREFIX, bad_med.clone()),
        (&[], [unreach.clone(), bad_med.clone()].concat()),
        (&[], [empty_reach, bad_med.clone()].concat()),
    ] {
        let error = reset(read(&update(withdrawn, &attributes, &[]), &EXTERNAL), 5);
        assert_eq!(error.data, bad_med);
    }
    reset(read(&update(&[], &[unreach, vec![W]].concat(), &[]), &EXTERNAL), 5);
    // A discarded attribute is no reason to.
    let message = update(PREFIX, &attr(W, 6, &[1]), &[]);
    assert_eq!(read(&message, &EXTERNAL).unwrap().faults.len(), 1);
    // Prefixes of a family that is not ours are prefixes still.
    let vpn = attr(N, 14, &[0, 1, 128, 0, 0, 88, 1, 2, 3]);
    let message = update(&[], &[vpn, bad_med].concat(), &[]);
    assert_eq!(read(&message, &EXTERNAL).unwrap().reach, []);
}

#[test]
fn rfc7606_5_3_prefixes_that_cannot_be_read_reset_the_session() {
    for field in [&[33, 10, 0, 0, 0, 0][..], &[24, 10], &[16, 10, 1, 200]] {
        reset(read(&update(field, &[], &[]), &EXTERNAL), 10);
        reset(read(&update(&[], &mandatory(), field), &EXTERNAL), 10);
    }
}

#[test]
fn rfc7606_5_3_multiprotocol_attributes_with_wrong_flags_reset_the_session() {
    for flags in [0, W, T] {
        let mut reach = mp_reach();
        reach[0] = flags;
        reset(with(&reach, &EXTERNAL), 9);
        reset(with(&attr(flags, 15, &[0, 2, 1]), &EXTERNAL), 9);
    }
}

#[test]
fn rfc7606_7_1_origin() {
    for value in [&[][..], &[3], &[255], &[0, 0]] {
        let attribute = attr(W, 1, value);
        withdrawn(replaced(1, &attribute, &EXTERNAL), AttrCode::ORIGIN, &attribute);
    }
}

#[test]
fn rfc7606_7_2_as_path() {
    for value in [
        &[5, 1, 0, 0, 0xFD, 0xE9][..],
        &[0, 1, 0, 0, 0xFD, 0xE9],
        &[2, 0],
        &[2],
        &[2, 2, 0, 0, 0xFD, 0xE9],
        &[2, 1, 0, 0, 0xFD, 0xE9, 2],
        &[2, 1, 0xFD, 0xE9],
    ] {
        let attribute = attr(W, 2, value);
        withdrawn(replaced(2, &attribute, &EXTERNAL), AttrCode::AS_PATH, &attribute);
    }
    let update = replaced(2, &attr(W, 2, &[]), &INTERNAL).unwrap();
    assert_eq!(update.faults, []);
    assert_eq!(update.reach[0].attrs.as_path, AsPath::empty());
}

#[test]
fn rfc7607_2_as_0_in_the_path_withdraws_whoever_sends_it() {
    let attribute = attr(W, 2, &[2, 2, 0, 0, 0xFD, 0xE9, 0, 0, 0, 0]);
    for codec in [EXTERNAL, INTERNAL] {
        withdrawn(replaced(2, &attribute, &codec), AttrCode::AS_PATH, &attribute);
    }
}

#[test]
fn rfc9774_3_sets_and_confederation_segments_withdraw_whoever_sends_them() {
    for kind in [1, 3, 4] {
        let attribute = attr(W, 2, &[2, 1, 0, 0, 0xFD, 0xE9, kind, 1, 0, 0, 0xFD, 0xEA]);
        for codec in [EXTERNAL, INTERNAL] {
            withdrawn(replaced(2, &attribute, &codec), AttrCode::AS_PATH, &attribute);
        }
    }
}

#[test]
fn rfc7606_7_3_next_hop() {
    for value in [&[][..], &[1, 2, 3], &[1, 2, 3, 4, 5]] {
        let attribute = attr(W, 3, value);
        withdrawn(replaced(3, &attribute, &EXTERNAL), AttrCode::NEXT_HOP, &attribute);
    }
}

#[test]
fn rfc7606_7_4_multi_exit_disc() {
    for value in [&[][..], &[0, 0, 1], &[0, 0, 0, 0, 1]] {
        let attribute = attr(N, 4, value);
        withdrawn(with(&attribute, &EXTERNAL), AttrCode::MULTI_EXIT_DISC, &attribute);
    }
}

#[test]
fn rfc7606_7_5_local_pref() {
    for value in [&[][..], &[0, 0, 1], &[0, 0, 0, 0, 1]] {
        let attribute = attr(W, 5, value);
        withdrawn(with(&attribute, &INTERNAL), AttrCode::LOCAL_PREF, &attribute);
    }
    for attribute in [attr(W, 5, &[0, 0, 0, 9]), attr(W, 5, &[9]), attr(T, 5, &[])] {
        let attrs = discarded(with(&attribute, &EXTERNAL), AttrCode::LOCAL_PREF, &attribute);
        assert_eq!(attrs.local_pref, None);
    }
}

#[test]
fn rfc7606_7_6_atomic_aggregate() {
    let attribute = attr(W, 6, &[0]);
    let attrs = discarded(with(&attribute, &EXTERNAL), AttrCode::ATOMIC_AGGREGATE, &attribute);
    assert!(!attrs.atomic_aggregate);
}

#[test]
fn rfc7606_7_7_aggregator() {
    for value in [&[][..], &[0xFD, 0xE9, 1, 1, 1, 1], &[0, 0, 0, 1, 1, 1, 1, 1, 1]] {
        let attribute = attr(T, 7, value);
        discarded(with(&attribute, &EXTERNAL), AttrCode::AGGREGATOR, &attribute);
    }
}

#[test]
fn rfc7607_2_as_0_as_aggregator_is_discarded() {
    let attribute = attr(T, 7, &[0, 0, 0, 0, 1, 1, 1, 1]);
    let attrs = discarded(with(&attribute, &EXTERNAL), AttrCode::AGGREGATOR, &attribute);
    assert_eq!(attrs.aggregator, None);
}

#[test]
fn rfc7606_7_8_communities() {
    for value in [&[][..], &[0, 1, 0], &[0, 1, 0, 1, 0]] {
        let attribute = attr(T, 8, value);
        withdrawn(with(&attribute, &EXTERNAL), AttrCode::COMMUNITIES, &attribute);
    }
}

#[test]
fn rfc7606_7_9_originator_id() {
    for value in [&[][..], &[1, 1, 1], &[1, 1, 1, 1, 1]] {
        let attribute = attr(N, 9, value);
        withdrawn(with(&attribute, &INTERNAL), AttrCode::ORIGINATOR_ID, &attribute);
        discarded(with(&attribute, &EXTERNAL), AttrCode::ORIGINATOR_ID, &attribute);
    }
    let attribute = attr(N, 9, &[1, 1, 1, 1]);
    let attrs = discarded(with(&attribute, &EXTERNAL), AttrCode::ORIGINATOR_ID, &attribute);
    assert_eq!(attrs.originator_id, None);
}

#[test]
fn rfc7606_7_10_cluster_list() {
    for value in [&[][..], &[1, 1, 1], &[1, 1, 1, 1, 1]] {
        let attribute = attr(N, 10, value);
        withdrawn(with(&attribute, &INTERNAL), AttrCode::CLUSTER_LIST, &attribute);
        discarded(with(&attribute, &EXTERNAL), AttrCode::CLUSTER_LIST, &attribute);
    }
    let attribute = attr(N, 10, &[1, 1, 1, 1]);
    let attrs = discarded(with(&attribute, &EXTERNAL), AttrCode::CLUSTER_LIST, &attribute);
    assert_eq!(attrs.cluster_list, Vec::<Ipv4Addr>::new());
}

#[test]
fn rfc7606_7_11_mp_reach_that_cannot_be_read_resets_the_session() {
    let whole = mp_reach_value(&global(), &[32, 0xFD, 0, 0, 1]);
    let mut cases: Vec<Vec<u8>> = (0..=4).map(|len| whole[..len].to_vec()).collect();
    for len in [0, 4, 12, 15, 17, 24, 31, 48, 255] {
        cases.push(mp_reach_value(&vec![1; len.min(200)], &[0]));
        cases.last_mut().unwrap()[3] = u8::try_from(len).unwrap();
    }
    cases.push(mp_reach_value(&global(), &[129; 18]));
    cases.push(mp_reach_value(&global(), &[64, 1, 2]));
    for value in cases {
        let attribute = attr(N, 14, &value);
        let attributes = [&attribute[..], &origin(), &as_path()].concat();
        let error = reset(read(&update(&[], &attributes, &[]), &EXTERNAL), 9);
        assert_eq!(error.data, attribute);
    }
}

#[test]
fn rfc7606_7_12_mp_unreach_that_cannot_be_read_resets_the_session() {
    for value in [&[][..], &[0, 2], &[0, 2, 1, 129], &[0, 2, 1, 64, 1, 2], &[0, 1, 1, 33]] {
        let attribute = attr(N, 15, value);
        let error = reset(read(&update(&[], &attribute, &[]), &EXTERNAL), 9);
        assert_eq!(error.data, attribute);
    }
}

#[test]
fn rfc7606_7_14_extended_communities_and_rfc8092_6_large_communities() {
    for (code, size) in [(16, 8), (25, 20), (32, 12)] {
        for len in [0, 1, size - 1, size + 1] {
            let attribute = attr(T, code, &vec![1; len]);
            withdrawn(with(&attribute, &EXTERNAL), AttrCode(code), &attribute);
        }
        assert_eq!(with(&attr(T, code, &vec![1; 2 * size]), &EXTERNAL).unwrap().faults, []);
    }
}

#[test]
fn rfc9234_5_otc() {
    for value in [&[][..], &[0, 0, 1], &[0, 0, 0, 0, 1]] {
        let attribute = attr(T, 35, value);
        withdrawn(with(&attribute, &EXTERNAL), AttrCode::OTC, &attribute);
    }
}

#[test]
fn rfc4271_6_3_an_unknown_well_known_attribute_resets_the_session() {
    for flags in [0, W] {
        let attribute = attr(flags, 99, &[1, 2]);
        assert_eq!(reset(with(&attribute, &EXTERNAL), 2).data, attribute);
    }
}

#[test]
fn prefixes_of_both_families_are_withdrawn_together() {
    let attributes = [mandatory(), mp_reach(), attr(N, 4, &[1])].concat();
    let update = read(&update(&[8, 11], &attributes, PREFIX), &EXTERNAL).unwrap();
    let all = ["11.0.0.0/8", "fd00:1::/32", "10.1.0.0/16"].map(prefix);
    assert_eq!(update.withdrawn, all);
    assert_eq!(update.reach, []);
}

#[test]
fn rfc7606_6_the_whole_message_comes_along_if_it_is_malformed_and_only_then() {
    let message = update(&[], &[mandatory(), attr(N, 4, &[1])].concat(), PREFIX);
    assert_eq!(read(&message, &EXTERNAL).unwrap().flawed, Some(message));
    let message = update(&[], &[mandatory(), attr(W, 6, &[1])].concat(), PREFIX);
    assert_eq!(read(&message, &EXTERNAL).unwrap().flawed, Some(message));
    assert_eq!(with(&[], &EXTERNAL).unwrap().flawed, None);
}

#[test]
fn a_fault_reads_as_a_sentence() {
    let update = with(&attr(N, 4, &[1]), &EXTERNAL).unwrap();
    assert_eq!(
        update.faults[0].to_string(),
        "MULTI_EXIT_DISC: length is not 4; treated as withdraw"
    );
}
