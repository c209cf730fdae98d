//! What must hold for any octets whatsoever: shared by the fuzz targets here and by the tests
//! that replay their corpus and make up more (`tests/tests/codec_*.rs`).
//!
//! Each check panics if its promise is broken.

use std::sync::Arc;

use bgp::{
    attrs::Attrs,
    family::{Family, FamilySet},
    wire::{
        self, Codec, HEADER_LEN, MAX_EXTENDED_LEN, MAX_LEN, Message, Nlri, Notification, Open,
        Reach, Update,
    },
};
use bytes::Bytes;

/// The codec that an octet chooses: bit 0 four-octet AS numbers, bit 1 external peer, bit 2
/// extended messages, bit 3 no IPv6 next hops for IPv4 prefixes, bits 4 and 5 path identifiers
/// with IPv4 and IPv6 prefixes.
pub(crate) fn codec(choice: u8) -> Codec {
    let max_len = if choice & 4 == 0 { MAX_LEN } else { MAX_EXTENDED_LEN };
    let families = |bits: [(u8, Family); 2]| -> FamilySet {
        bits.into_iter().filter_map(|(bit, family)| (choice & bit != 0).then_some(family)).collect()
    };
    let add_path = families([(16, Family::Ipv4Unicast), (32, Family::Ipv6Unicast)]);
    Codec {
        four_octet_as: choice & 1 != 0,
        external: choice & 2 != 0,
        families: FamilySet::ALL,
        add_path_receive: add_path,
        add_path_send: add_path,
        extended_next_hop: if choice & 8 == 0 { FamilySet::ALL } else { FamilySet::NONE },
        max_receive_len: max_len,
        max_send_len: max_len,
    }
}

/// A message of this type and body, its header right.
pub(crate) fn framed(kind: u8, body: &[u8]) -> Bytes {
    let len = u16::try_from(HEADER_LEN + body.len()).unwrap_or(u16::MAX);
    let mut octets = vec![0xFF; 16];
    octets.extend(len.to_be_bytes());
    octets.push(kind);
    octets.extend(body.iter().take(MAX_EXTENDED_LEN - HEADER_LEN));
    octets.into()
}

/// One message: an octet for the codec, one for the type, then the body. It is read without a
/// panic, and what was understood is understood again once written.
pub(crate) fn message(input: &[u8]) {
    let [choice, kind, body @ ..] = input else { return };
    let codec = codec(*choice);
    match wire::decode(&framed(*kind, body), &codec) {
        Err(error) => sendable(&error),
        Ok(Message::Update(update)) => understood_again(&update, &codec),
        Ok(Message::Open(open)) => offered_again(&open),
        Ok(Message::Notification(notification)) => sendable(&notification),
        Ok(Message::Refresh(refresh)) => {
            let again = wire::decode(&refresh.encode(), &codec);
            assert_eq!(again, Ok(Message::Refresh(refresh)));
        }
        Ok(Message::Keepalive) => assert_eq!(wire::keepalive(), framed(4, &[])),
    }
}

/// A stream: an octet for the codec, then octets as they may come from anybody. Framing gives
/// the same answer however few octets are there, once it gives one, and makes progress.
pub(crate) fn stream(input: &[u8]) {
    let [choice, stream @ ..] = input else { return };
    let codec = codec(*choice);
    let mut rest = Bytes::copy_from_slice(stream);
    loop {
        let whole = wire::frame_len(&rest, codec.max_receive_len);
        for end in 0..rest.len().min(HEADER_LEN) {
            match wire::frame_len(&rest[..end], codec.max_receive_len) {
                Ok(None) => {}
                early => assert_eq!(early, whole, "changed its mind after {end} octets"),
            }
        }
        match whole {
            Ok(Some(len)) if len <= rest.len() => {
                let message = rest.split_to(len);
                if let Err(error) = wire::decode(&message, &codec) {
                    return sendable(&error);
                }
            }
            Ok(_) => return,
            Err(error) => return sendable(&error),
        }
    }
}

/// Whatever an UPDATE says can be said again, in messages that obey every limit, and means the
/// same; unless the attributes need more room than they came in.
pub(crate) fn understood_again(update: &Update, codec: &Codec) {
    let Ok(messages) = update.encode(codec) else { return };
    let mut again = Update::default();
    for message in messages {
        assert!(message.len() <= codec.max_receive_len);
        assert_eq!(wire::frame_len(&message, codec.max_receive_len), Ok(Some(message.len())));
        match wire::decode(&message, codec) {
            Ok(Message::Update(part)) => {
                again.withdrawn.extend(part.withdrawn);
                again.reach.extend(part.reach);
                again.end_of_rib = again.end_of_rib.or(part.end_of_rib);
                again.faults.extend(part.faults);
            }
            other => panic!("an UPDATE was read as {other:?}"),
        }
    }
    assert_eq!(again.faults, []);
    assert_eq!(again.withdrawn, update.withdrawn);
    assert_eq!(again.end_of_rib, update.end_of_rib);
    assert_eq!(routes(&again), routes(update));
}

/// Every announced prefix with its attributes, in order.
fn routes(update: &Update) -> Vec<(Nlri, Arc<Attrs>)> {
    let each = |reach: &Reach| -> Vec<_> {
        reach.prefixes.iter().map(|nlri| (*nlri, Arc::clone(&reach.attrs))).collect()
    };
    update.reach.iter().flat_map(each).collect()
}

/// An OPEN that was read can be written, and reads the same unless it was too long for us.
fn offered_again(open: &Open) {
    let octets = open.encode();
    assert!(octets.len() <= MAX_LEN);
    match wire::decode(&octets, &Codec::default()) {
        Ok(Message::Open(again)) => {
            assert!(again.capabilities.len() <= open.capabilities.len());
            if again.capabilities.len() == open.capabilities.len() {
                assert_eq!(again, *open);
            }
        }
        other => panic!("an OPEN was read as {other:?}"),
    }
}

/// A NOTIFICATION can be sent to any peer and shown to an operator on one line.
fn sendable(notification: &Notification) {
    let octets = notification.encode();
    assert!(octets.len() <= MAX_LEN);
    match wire::decode(&octets, &Codec::default()) {
        Ok(Message::Notification(again)) => {
            assert_eq!(again.error(), notification.error());
            assert!(notification.data.starts_with(&again.data));
        }
        other => panic!("a NOTIFICATION was read as {other:?}"),
    }
    let text = notification.to_string();
    assert!(!text.contains(char::is_control), "{text:?}");
    assert!(text.len() < 2048, "{} octets of text", text.len());
}
