//! What is said between us and a peer, and how the session stands: BGP4MP_ET (RFC 6396 §4.4,
//! RFC 8050 §3).

use std::net::IpAddr;

use bytes::{BufMut, Bytes, BytesMut};

use super::{Kind, record};
use crate::{
    aspath::Asn,
    family::{Family, FamilySet},
    session::State,
    timestamp::Timestamp,
    wire::{AttrCode, Codec, HEADER_LEN},
};

/// Who talks with whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conversation {
    /// The peer's AS; 0 while it is not known.
    pub peer_asn: Asn,
    /// Our AS.
    pub local_asn: Asn,
    /// The peer's address.
    pub peer: IpAddr,
    /// Our end of the connection, of the same family; unspecified while there is none.
    pub local: IpAddr,
}

/// How a message of a session is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Said {
    /// AS numbers in it have four octets.
    pub four_octet_as: bool,
    /// Its prefixes have path identifiers (RFC 7911).
    pub add_path: bool,
}

impl Said {
    /// How a message that was received is to be read.
    #[must_use]
    pub fn by_peer(message: &[u8], codec: &Codec) -> Self {
        Self::with(message, codec, codec.add_path_receive)
    }

    /// The same of one that was sent.
    #[must_use]
    pub fn by_us(message: &[u8], codec: &Codec) -> Self {
        Self::with(message, codec, codec.add_path_send)
    }

    /// Only UPDATEs depend on what was agreed; whatever else it is, the record has room for whole AS
    /// numbers.
    fn with(message: &[u8], codec: &Codec, add_path: FamilySet) -> Self {
        if message.get(HEADER_LEN - 1) != Some(&UPDATE) {
            return Self { four_octet_as: true, add_path: false };
        }
        let add_path = !add_path.is_empty()
            && (add_path == codec.families || add_path.contains(family(message)));
        Self { four_octet_as: codec.four_octet_as, add_path }
    }
}

/// The family of an UPDATE: that of its MP_REACH_NLRI or MP_UNREACH_NLRI, else IPv4. One that has
/// prefixes of both cannot be told in one record if only one has path identifiers; nobody sends it.
fn family(message: &[u8]) -> Family {
    let mut attributes = attributes(message).unwrap_or_default();
    while let [flags, code, rest @ ..] = attributes {
        let extended = flags & EXTENDED_LENGTH != 0;
        let (length, rest) = match rest {
            [high, low, rest @ ..] if extended => (u16::from_be_bytes([*high, *low]), rest),
            [length, rest @ ..] if !extended => (u16::from(*length), rest),
            _ => break,
        };
        let Some((value, rest)) = rest.split_at_checked(length.into()) else { break };
        let multiprotocol = [AttrCode::MP_REACH_NLRI, AttrCode::MP_UNREACH_NLRI];
        if multiprotocol.contains(&AttrCode(*code)) && value.starts_with(&[0, 2]) {
            return Family::Ipv6Unicast;
        }
        attributes = rest;
    }
    Family::Ipv4Unicast
}

/// The attribute field of an UPDATE, behind its withdrawn routes (RFC 4271 §4.3).
fn attributes(message: &[u8]) -> Option<&[u8]> {
    let (_withdrawn, rest) = field(message.get(HEADER_LEN..)?)?;
    field(rest).map(|(attributes, _)| attributes)
}

/// A field with its length in front, and what follows.
fn field(octets: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = octets.split_first_chunk::<2>()?;
    rest.split_at_checked(u16::from_be_bytes(*length).into())
}

impl Conversation {
    /// The peer said this: one whole message.
    #[must_use]
    pub fn heard(&self, message: &[u8], said: Said, at: Timestamp) -> Bytes {
        let subtype = match (said.four_octet_as, said.add_path) {
            (false, false) => MESSAGE,
            (true, false) => MESSAGE_AS4,
            (false, true) => MESSAGE_ADD_PATH,
            (true, true) => MESSAGE_AS4_ADD_PATH,
        };
        self.message(subtype, message, said, at)
    }

    /// We said this: one whole message (RFC 6396 §4.4.5, §4.4.6).
    #[must_use]
    pub fn told(&self, message: &[u8], said: Said, at: Timestamp) -> Bytes {
        let subtype = match (said.four_octet_as, said.add_path) {
            (false, false) => MESSAGE_LOCAL,
            (true, false) => MESSAGE_AS4_LOCAL,
            (false, true) => MESSAGE_LOCAL_ADD_PATH,
            (true, true) => MESSAGE_AS4_LOCAL_ADD_PATH,
        };
        self.message(subtype, message, said, at)
    }

    fn message(&self, subtype: u16, message: &[u8], said: Said, at: Timestamp) -> Bytes {
        record(Kind(BGP4MP_ET, subtype), at, |out| {
            self.put(said.four_octet_as, at, out);
            out.put_slice(message);
        })
    }

    /// The session went from one state to another.
    #[must_use]
    pub fn state(&self, from: State, to: State, at: Timestamp) -> Bytes {
        record(Kind(BGP4MP_ET, STATE_CHANGE_AS4), at, |out| {
            self.put(true, at, out);
            out.put_u16(state(from));
            out.put_u16(state(to));
        })
    }

    /// The microseconds that stand first in every body (RFC 6396 §3), and the fields that all
    /// have in common.
    fn put(&self, four_octet_as: bool, at: Timestamp, out: &mut BytesMut) {
        out.put_u32(at.micros());
        for asn in [self.peer_asn, self.local_asn] {
            if four_octet_as {
                out.put_u32(asn.0);
            } else {
                out.put_u16(asn.as_two_octets().unwrap_or(AS_TRANS));
            }
        }
        // The interface: not known.
        out.put_u16(0);
        out.put_u16(if self.peer.is_ipv4() { 1 } else { 2 });
        for address in [self.peer, self.local] {
            match address {
                IpAddr::V4(address) => out.put_slice(&address.octets()),
                IpAddr::V6(address) => out.put_slice(&address.octets()),
            }
        }
    }
}

/// RFC 6396 §4.4.1.
const fn state(state: State) -> u16 {
    match state {
        State::Idle => 1,
        State::Connect => 2,
        State::Active => 3,
        State::OpenSent => 4,
        State::OpenConfirm => 5,
        State::Established => 6,
    }
}

/// With microseconds (RFC 6396 §4.4, §3).
const BGP4MP_ET: u16 = 17;
const MESSAGE: u16 = 1;
const MESSAGE_AS4: u16 = 4;
const STATE_CHANGE_AS4: u16 = 5;
const MESSAGE_LOCAL: u16 = 6;
const MESSAGE_AS4_LOCAL: u16 = 7;
/// RFC 8050 §3.
const MESSAGE_ADD_PATH: u16 = 8;
const MESSAGE_AS4_ADD_PATH: u16 = 9;
const MESSAGE_LOCAL_ADD_PATH: u16 = 10;
const MESSAGE_AS4_LOCAL_ADD_PATH: u16 = 11;
/// Type of an UPDATE (RFC 4271 §4.1).
const UPDATE: u8 = 2;
/// Flag of an attribute whose length takes two octets (RFC 4271 §4.3).
const EXTENDED_LENGTH: u8 = 0x10;
/// [`Asn::TRANS`] as it stands in a two-octet field (RFC 6793 §9).
const AS_TRANS: u16 = 23456;
