//! What holds for every message: nothing panics, whatever is written is read as it was meant,
//! and every message that is written obeys the rules of those who read it.

use bgp::{
    family::Family,
    wire::{self, AttrCode, Codec, Message, Update},
};
use bytes::Bytes;
use proptest::{collection::vec, prelude::*, sample::Index};
use tests::messages;

#[path = "../../bgp/fuzz/checks.rs"]
mod checks;

proptest! {
    #[test]
    fn updates_are_read_as_they_were_meant(
        (codec, update) in said()
    ) {
        let roomy = Codec { max_send_len: wire::MAX_EXTENDED_LEN, ..codec };
        prop_assert_eq!(update.encode(&roomy).err(), None);
        checks::understood_again(&update, &codec);
    }

    #[test]
    fn updates_obey_the_rules_for_senders(
        (codec, update) in said()
    ) {
        for message in update.encode(&codec).unwrap_or_default() {
            obeys_rfc7606_5_1(&message)?;
        }
    }

    #[test]
    fn opens_are_read_as_they_were_meant(open in messages::open()) {
        prop_assert_eq!(wire::decode(&open.encode(), &Codec::default()), Ok(Message::Open(open)));
    }

    #[test]
    fn any_octets_are_read_without_a_panic(
        choice in 0..64_u8, kind in 0..7_u8, body in vec(any::<u8>(), 0..300)
    ) {
        checks::message(&[&[choice, kind], &body[..]].concat());
    }

    #[test]
    fn any_stream_is_framed_without_a_panic(
        choice in 0..64_u8,
        parts in vec(prop_oneof![
            Just(wire::keepalive()),
            (0..7_u8, vec(any::<u8>(), 0..30)).prop_map(|(kind, body)| checks::framed(kind, &body)),
            vec(prop_oneof![Just(0xFF), any::<u8>()], 0..25).prop_map(Bytes::from),
        ], 0..5)
    ) {
        checks::stream(&[&[choice], &parts.concat()[..]].concat());
    }

    #[test]
    fn damaged_updates_are_read_without_a_panic(
        (codec, update) in said(),
        damage in vec(damage(), 1..4),
    ) {
        let choice = choice(&codec) | 4;
        for message in update.encode(&codec).unwrap_or_default() {
            let body = damaged(message[wire::HEADER_LEN..].to_vec(), &damage);
            checks::message(&[&[choice, 2], &body[..]].concat());
        }
    }

    #[test]
    fn damaged_opens_are_read_without_a_panic(
        open in messages::open(), damage in vec(damage(), 1..4)
    ) {
        let body = damaged(open.encode()[wire::HEADER_LEN..].to_vec(), &damage);
        checks::message(&[&[0, 1], &body[..]].concat());
    }
}

/// An UPDATE with the codec of the session on which it was said.
fn said() -> impl Strategy<Value = (Codec, Update)> {
    messages::codec().prop_flat_map(|codec| (Just(codec), messages::update(codec)))
}

/// The octet by which `checks::codec` chooses this codec.
fn choice(codec: &Codec) -> u8 {
    let bits = [
        codec.four_octet_as,
        codec.external,
        codec.max_receive_len > wire::MAX_LEN,
        !codec.extended_next_hop.contains(Family::Ipv4Unicast),
        codec.add_path_receive.contains(Family::Ipv4Unicast),
        codec.add_path_receive.contains(Family::Ipv6Unicast),
    ];
    bits.into_iter().zip(0..).fold(0, |choice, (bit, place)| choice | u8::from(bit) << place)
}

/// One thing that goes wrong with octets.
#[derive(Clone, Debug)]
enum Damage {
    Set(Index, u8),
    Flip(Index, u8),
    Cut(Index),
    Drop(Index),
    Insert(Index, Vec<u8>),
    Repeat(Index, Index),
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(at, octet)| Damage::Set(at, octet)),
        (any::<Index>(), 0..8_u8).prop_map(|(at, bit)| Damage::Flip(at, bit)),
        any::<Index>().prop_map(Damage::Cut),
        any::<Index>().prop_map(Damage::Drop),
        (any::<Index>(), vec(any::<u8>(), 1..5)).prop_map(|(at, more)| Damage::Insert(at, more)),
        any::<(Index, Index)>().prop_map(|(from, to)| Damage::Repeat(from, to)),
    ]
}

fn damaged(mut octets: Vec<u8>, damage: &[Damage]) -> Vec<u8> {
    for damage in damage {
        if octets.is_empty() {
            break;
        }
        let len = octets.len();
        match damage {
            Damage::Set(at, octet) => octets[at.index(len)] = *octet,
            Damage::Flip(at, bit) => octets[at.index(len)] ^= 1 << bit,
            Damage::Cut(at) => octets.truncate(at.index(len)),
            Damage::Drop(at) => drop(octets.remove(at.index(len))),
            Damage::Insert(at, more) => {
                let at = at.index(len);
                octets.splice(at..at, more.iter().copied());
            }
            Damage::Repeat(from, to) => {
                let (from, to) = (from.index(len), to.index(len));
                let part = octets[from.min(to)..from.max(to)].to_vec();
                octets.splice(from..from, part);
            }
        }
    }
    octets
}

/// Only one of withdrawn routes, NLRI, MP_REACH_NLRI and MP_UNREACH_NLRI; the latter two first;
/// all other attributes in the order of their codes.
fn obeys_rfc7606_5_1(message: &Bytes) -> Result<(), TestCaseError> {
    let body = &message[wire::HEADER_LEN..];
    let (withdrawn, rest) = field(body);
    let (mut attributes, nlri) = field(rest);
    let mut codes = Vec::new();
    while let [flags, code, rest @ ..] = attributes {
        let len = if flags & 0x10 == 0 {
            1 + usize::from(rest[0])
        } else {
            2 + usize::from(u16::from_be_bytes([rest[0], rest[1]]))
        };
        codes.push(AttrCode(*code));
        attributes = &rest[len..];
    }
    let multiprotocol =
        |code: &AttrCode| matches!(*code, AttrCode::MP_REACH_NLRI | AttrCode::MP_UNREACH_NLRI);
    let places = usize::from(!withdrawn.is_empty())
        + usize::from(!nlri.is_empty())
        + codes.iter().filter(|code| multiprotocol(code)).count();
    prop_assert!(places <= 1, "{} places in {:?}", places, message);
    let rest = if codes.first().is_some_and(multiprotocol) { &codes[1..] } else { &codes[..] };
    prop_assert!(rest.is_sorted_by(|a, b| a < b), "{:?}", codes);
    prop_assert_eq!(rest.contains(&AttrCode::NEXT_HOP), !nlri.is_empty());
    Ok(())
}

/// A field with its length in front, and what follows it.
fn field(octets: &[u8]) -> (&[u8], &[u8]) {
    let len = usize::from(u16::from_be_bytes([octets[0], octets[1]]));
    octets[2..].split_at(len)
}
