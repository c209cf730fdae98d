//! IPv4 prefixes with IPv6 next hops (RFC 8950).

use super::*;

/// Nothing of the kind was agreed on.
const NOT_AGREED: Codec = Codec { extended_next_hop: FamilySet::NONE, ..EXTERNAL };

/// 10.1.0.0/16 in MP_REACH_NLRI with these octets as next hop.
fn ipv4_reach(next_hop: &[u8]) -> Vec<u8> {
    let mut value = mp_reach_value(next_hop, PREFIX);
    value[1] = 1;
    attr(N, 14, &value)
}

fn ipv4_update(next_hop: &[u8]) -> Bytes {
    update(&[], &[ipv4_reach(next_hop), origin(), as_path()].concat(), &[])
}

#[test]
fn rfc8950_3_ipv4_prefixes_may_have_an_ipv6_next_hop() {
    let both = NextHop {
        link_local: Some("fe80::1".parse().unwrap()),
        ..NextHop::new("fd00::1".parse().unwrap())
    };
    for (next_hop, expected) in [
        (global(), NextHop::new("fd00::1".parse().unwrap())),
        (link_local(), NextHop::new("fe80::1".parse().unwrap())),
        ([global(), link_local()].concat(), both),
        ([vec![0; 16], link_local()].concat(), NextHop::new("fe80::1".parse().unwrap())),
        (vec![192, 0, 2, 7], NextHop::new("192.0.2.7".parse().unwrap())),
    ] {
        let read = good(&ipv4_update(&next_hop), &EXTERNAL);
        assert_eq!(read.reach[0].family, Family::Ipv4Unicast);
        assert_eq!(read.reach[0].attrs.next_hop, expected);
        assert_eq!(read.reach[0].prefixes, [prefix("10.1.0.0/16")]);
    }
}

#[test]
fn rfc8950_3_ipv4_with_an_ipv6_next_hop_uses_mp_reach() {
    let next_hop = NextHop {
        link_local: Some("fe80::1".parse().unwrap()),
        ..NextHop::new("fd00::1".parse().unwrap())
    };
    let attrs = Attrs { as_path: AsPath::sequence([65001]), ..Attrs::originated(next_hop) };
    let messages = Update::encode_reach(&attrs, &[prefix("10.1.0.0/16")], &EXTERNAL).unwrap();
    assert_eq!(messages, [ipv4_update(&[global(), link_local()].concat())]);
    assert_eq!(good(&messages[0], &EXTERNAL).reach[0].attrs.next_hop, next_hop);
}

#[test]
fn rfc8950_4_a_peer_that_has_not_agreed_never_gets_an_ipv6_next_hop() {
    let attrs = Attrs::originated(NextHop::new("fd00::1".parse().unwrap()));
    let error = Update::encode_reach(&attrs, &[prefix("10.1.0.0/16")], &NOT_AGREED).unwrap_err();
    assert_eq!(error.to_string(), "next hop fd00::1 cannot stand with ipv4 prefixes");
    let v6 = Update::encode_reach(&attrs, &[prefix("fd00::/8")], &NOT_AGREED);
    assert_eq!(v6.unwrap().len(), 1, "IPv6 prefixes are as ever");
}

#[test]
fn rfc7606_7_11_an_ipv6_next_hop_that_was_not_agreed_on_resets_the_session() {
    for next_hop in [global(), link_local(), [global(), link_local()].concat()] {
        let error = read(&ipv4_update(&next_hop), &NOT_AGREED).unwrap_err();
        assert_eq!((error.code, error.subcode), (3, 9));
        assert_eq!(error.data, ipv4_reach(&next_hop));
    }
    assert_eq!(good(&ipv4_update(&[192, 0, 2, 7]), &NOT_AGREED).reach.len(), 1);
}

#[test]
fn rfc7606_7_11_a_next_hop_of_no_valid_length_resets_the_session() {
    for len in [0, 1, 3, 5, 8, 12, 15, 17, 24, 31, 33, 48] {
        for codec in [EXTERNAL, NOT_AGREED] {
            let error = read(&ipv4_update(&vec![1; len]), &codec).unwrap_err();
            assert_eq!((error.code, error.subcode), (3, 9), "{len}");
        }
    }
}

#[test]
fn rfc7606_3_a_flaw_withdraws_prefixes_with_such_a_next_hop_as_well() {
    let attributes = [ipv4_reach(&global()), origin(), as_path(), attr(N, 4, &[1])].concat();
    let update = read(&update(&[], &attributes, &[]), &EXTERNAL).unwrap();
    assert_eq!(update.withdrawn, [prefix("10.1.0.0/16")]);
    assert_eq!(update.reach, []);
    assert_eq!(update.faults[0].treatment, Treatment::TreatAsWithdraw);
}

#[test]
fn both_places_of_ipv4_prefixes_in_one_message_have_their_own_next_hop() {
    let attributes = [ipv4_reach(&global()), mandatory()].concat();
    let read = good(&update(&[], &attributes, &[16, 10, 2]), &EXTERNAL);
    let told: Vec<_> = read
        .reach
        .iter()
        .map(|reach| (reach.prefixes[0].to_string(), reach.attrs.next_hop.to_string()))
        .collect();
    let told: Vec<_> = told.iter().map(|(p, hop)| (p.as_str(), hop.as_str())).collect();
    assert_eq!(told, [("10.1.0.0/16", "fd00::1"), ("10.2.0.0/16", "192.0.2.1")]);
}
