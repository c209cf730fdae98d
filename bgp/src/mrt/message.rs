//! What is said between us and a peer, and how the session stands: BGP4MP_ET (RFC 6396 §4.4,
//! RFC 8050 §3).

use std::net::IpAddr;

use bytes::{BufMut, Bytes, BytesMut};

use super::{Kind, record};
use crate::{aspath::Asn, session::State, timestamp::Timestamp};

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
/// RFC 8050 §3.
const MESSAGE_ADD_PATH: u16 = 8;
const MESSAGE_AS4_ADD_PATH: u16 = 9;
/// [`Asn::TRANS`] as it stands in a two-octet field (RFC 6793 §9).
const AS_TRANS: u16 = 23456;
