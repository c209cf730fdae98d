//! Next-hop objects as netlink messages, and back (`linux/nexthop.h`).

use std::net::IpAddr;

use netlink_packet_core::{NLA_TYPE_MASK, NetlinkBuffer, NlasIterator};
use routed_core::fib::{
    Event,
    next_hop::{NextHopChange, NextHopId, NextHopObject, NextHopOperation, Object},
    route::Hop,
};

use crate::kernel::netlink::{Message, Request};

/// An operation as a request of our protocol.
pub(super) fn request(operation: &NextHopOperation, protocol: u8) -> Request {
    match operation {
        NextHopOperation::Create(id, object) => Request::create(written(*id, object, protocol)),
        NextHopOperation::Replace(id, object) => Request::replace(written(*id, object, protocol)),
        NextHopOperation::Delete(id) => Request::existing(deletion(*id)),
    }
}

/// The request that deletes an object.
pub(in crate::kernel) fn deletion(id: NextHopId) -> Message {
    let mut payload = vec![0; HEADER];
    push(&mut payload, NHA_ID, &id.0.to_ne_bytes());
    Message::Octets { kind: RTM_DELNEXTHOP, payload }
}

/// The request for every object.
pub(in crate::kernel) fn everything() -> Message {
    Message::Octets { kind: RTM_GETNEXTHOP, payload: vec![0; HEADER] }
}

/// An object as the kernel lists it.
pub(in crate::kernel) fn object(message: &NetlinkBuffer<&[u8]>) -> Option<NextHopObject> {
    (message.message_type() == RTM_NEWNEXTHOP).then(|| parse(message.payload()))?
}

/// What a notification says of an object, if it is about one.
pub(in crate::kernel) fn event(message: &NetlinkBuffer<&[u8]>) -> Option<Event> {
    let change = match message.message_type() {
        RTM_NEWNEXTHOP => NextHopChange::Present,
        RTM_DELNEXTHOP => NextHopChange::Gone,
        _ => return None,
    };
    Some(Event::NextHop(change, parse(message.payload())?))
}

fn written(id: NextHopId, object: &Object, protocol: u8) -> Message {
    let mut payload = vec![0; HEADER];
    payload[PROTOCOL] = protocol;
    push(&mut payload, NHA_ID, &id.0.to_ne_bytes());
    match object {
        Object::Hop(hop) => {
            payload[FAMILY] = match hop.gateway {
                Some(IpAddr::V6(_)) => AF_INET6,
                Some(IpAddr::V4(_)) | None => AF_INET,
            };
            let flags = if hop.onlink { RTNH_F_ONLINK } else { 0 };
            payload[FLAGS..HEADER].copy_from_slice(&flags.to_ne_bytes());
            push(&mut payload, NHA_OIF, &hop.ifindex.to_ne_bytes());
            match hop.gateway {
                Some(IpAddr::V4(v4)) => push(&mut payload, NHA_GATEWAY, &v4.octets()),
                Some(IpAddr::V6(v6)) => push(&mut payload, NHA_GATEWAY, &v6.octets()),
                None => {}
            }
        }
        Object::Group(members) => {
            let entries: Vec<u8> = members.as_slice().iter().flat_map(entry).collect();
            push(&mut payload, NHA_GROUP, &entries);
        }
        // Never made; the kernel refuses an object of nothing.
        Object::Other => {}
    }
    Message::Octets { kind: RTM_NEWNEXTHOP, payload }
}

/// `struct nexthop_grp`: id, weight less one, its high octet (from Linux 6.12 on; ours is 0), two
/// octets of nothing.
fn entry((id, weight): &(NextHopId, u16)) -> [u8; ENTRY] {
    let [a, b, c, d] = id.0.to_ne_bytes();
    [a, b, c, d, u8::try_from(weight.saturating_sub(1)).unwrap_or(u8::MAX), 0, 0, 0]
}

fn parse(payload: &[u8]) -> Option<NextHopObject> {
    let (header, attributes) = payload.split_at_checked(HEADER)?;
    let onlink = number(&header[FLAGS..])? & RTNH_F_ONLINK != 0;
    let (mut id, mut ifindex, mut gateway, mut members) = (None, None, None, None);
    let mut other = false;
    for attribute in NlasIterator::new(attributes) {
        let attribute = attribute.ok()?;
        let value = attribute.value();
        match attribute.kind() & NLA_TYPE_MASK {
            NHA_ID => id = number(value),
            NHA_OIF => ifindex = number(value),
            NHA_GATEWAY => gateway = address(value),
            NHA_GROUP => members = Some(value.chunks_exact(ENTRY).filter_map(member).collect()),
            // Resilient groups move flows by themselves.
            NHA_GROUP_TYPE => other |= value.first().is_some_and(|kind| *kind != 0),
            NHA_BLACKHOLE | NHA_ENCAP_TYPE | NHA_FDB => other = true,
            _ => {}
        }
    }
    let object = match (members, ifindex) {
        _ if other => Object::Other,
        (Some(members), _) => Object::Group(members),
        (None, Some(ifindex)) => Object::Hop(Hop { gateway, ifindex, weight: 1, onlink }),
        // A notice of deletion may have no more than the id.
        (None, None) => Object::Other,
    };
    Some(NextHopObject { id: NextHopId(id?), protocol: header[PROTOCOL], object })
}

fn member(entry: &[u8]) -> Option<(NextHopId, u16)> {
    let weight = u16::from_le_bytes([entry[4], entry[5]]);
    Some((NextHopId(number(entry)?), weight.saturating_add(1)))
}

fn number(octets: &[u8]) -> Option<u32> {
    octets.first_chunk().map(|octets| u32::from_ne_bytes(*octets))
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(octets) {
        return Some(v4.into());
    }
    <[u8; 16]>::try_from(octets).ok().map(Into::into)
}

fn push(payload: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(value.len() + 4).expect("a group has far fewer than 8000 members");
    payload.extend(length.to_ne_bytes());
    payload.extend(kind.to_ne_bytes());
    payload.extend(value);
    payload.resize(payload.len().next_multiple_of(4), 0);
}

// `struct nhmsg`: its length, and offsets in it.
const HEADER: usize = 8;
const FAMILY: usize = 0;
const PROTOCOL: usize = 2;
const FLAGS: usize = 4;
/// Octets of `struct nexthop_grp`.
const ENTRY: usize = 8;
const RTM_NEWNEXTHOP: u16 = 104;
const RTM_DELNEXTHOP: u16 = 105;
const RTM_GETNEXTHOP: u16 = 106;
const NHA_ID: u16 = 1;
const NHA_GROUP: u16 = 2;
const NHA_GROUP_TYPE: u16 = 3;
const NHA_BLACKHOLE: u16 = 4;
const NHA_OIF: u16 = 5;
const NHA_GATEWAY: u16 = 6;
const NHA_ENCAP_TYPE: u16 = 7;
const NHA_FDB: u16 = 11;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const RTNH_F_ONLINK: u32 = 4;

#[cfg(test)]
mod tests {
    use routed_core::fib::next_hop::Members;

    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let hop = |gateway: &str| Hop::new(Some(gateway.parse().unwrap()), 7);
        let weights = [(NextHopId(9), 1), (NextHopId(10), 256)];
        for object in [
            Object::Hop(hop("10.0.0.1")),
            Object::Hop(Hop { onlink: true, ..hop("fe80::1") }),
            Object::Group(Members::from_iter(weights)),
        ] {
            let Message::Octets { payload, .. } = written(NextHopId(5), &object, 132) else {
                unreachable!("always octets");
            };
            let expected = NextHopObject { id: NextHopId(5), protocol: 132, object };
            assert_eq!(parse(&payload), Some(expected));
        }
    }

    #[test]
    fn what_is_cut_short_or_odd_is_no_object_of_ours() {
        assert_eq!(parse(&[0; 7]), None);
        assert_eq!(parse(&[0; 8]), None, "no id");
        let mut payload = vec![0; HEADER];
        push(&mut payload, NHA_ID, &5u32.to_ne_bytes());
        push(&mut payload, NHA_BLACKHOLE, &[]);
        assert_eq!(parse(&payload).unwrap().object, Object::Other);
    }
}
