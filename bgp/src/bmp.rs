//! BMP: what a monitoring station is told, as octets (RFC 7854, RFC 8671, RFC 9069).
//!
//! In: who this router is, whose session or routes a message is about, what happened, and when.
//! Out: whole messages. UPDATEs inside are written by [`wire`](crate::wire) with [`CODEC`].
//!
//! Write only: a station never says anything (RFC 7854 §3.2).

use bytes::{BufMut, Bytes, BytesMut};

use crate::{family::FamilySet, wire::Codec};

mod peer;
mod report;
mod statistics;
#[cfg(test)]
mod tests;

pub use self::{
    peer::{Peer, PeerDown},
    report::report,
    statistics::Statistic,
};

/// How UPDATEs for a station are written: with 4-octet AS numbers and with the attributes that
/// only go round inside an AS. A set of attributes that needs more than 4096 octets is written
/// with [`MAX_EXTENDED_LEN`](crate::wire::MAX_EXTENDED_LEN) in its place.
pub const CODEC: Codec =
    Codec { external: false, extended_next_hop: FamilySet::ALL, ..Codec::PLAIN };

/// The first message on a connection: who speaks (RFC 7854 §4.3).
#[must_use]
pub fn initiation(system_name: &str, system_description: &str) -> Bytes {
    message(Kind::Initiation, |out| {
        put_text(SYS_DESCR, system_description, out);
        put_text(SYS_NAME, system_name, out);
    })
}

/// The last message on a connection: why it ends (RFC 7854 §4.5).
#[must_use]
pub fn termination(reason: Termination) -> Bytes {
    message(Kind::Termination, |out| {
        out.put_u16(TERMINATION_REASON);
        out.put_u16(2);
        out.put_u16(match reason {
            Termination::Administrative => 0,
            Termination::OutOfResources => 2,
            Termination::Permanent => 4,
        });
    })
}

/// Why a router ends the connection to a station.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Termination {
    /// Its administrator wants it; it may come back.
    Administrative,
    /// It has no room for the station.
    OutOfResources,
    /// Its administrator does not want it any more; it will not come back.
    Permanent,
}

/// RFC 7854 §4.1.
#[derive(Clone, Copy, Debug)]
enum Kind {
    RouteMonitoring = 0,
    StatisticsReport = 1,
    PeerDown = 2,
    PeerUp = 3,
    Initiation = 4,
    Termination = 5,
}

/// The common header with what `body` writes (RFC 7854 §4.1).
fn message(kind: Kind, body: impl FnOnce(&mut BytesMut)) -> Bytes {
    let mut out = BytesMut::with_capacity(USUAL_LEN);
    out.put_u8(VERSION);
    out.put_u32(0);
    out.put_u8(kind as u8);
    body(&mut out);
    let len = u32::try_from(out.len()).expect("two OPENs or an UPDATE and some texts of 64 KiB");
    out[1..5].copy_from_slice(&len.to_be_bytes());
    out.freeze()
}

/// An information TLV (RFC 7854 §4.4). A text that its length field cannot hold is cut.
fn put_text(kind: u16, text: &str, out: &mut BytesMut) {
    let text = &text[..text.floor_char_boundary(u16::MAX.into())];
    out.put_u16(kind);
    out.put_u16(u16::try_from(text.len()).unwrap_or(u16::MAX));
    out.put_slice(text.as_bytes());
}

const VERSION: u8 = 3;
/// sysDescr (RFC 7854 §4.4).
const SYS_DESCR: u16 = 1;
/// sysName (RFC 7854 §4.4).
const SYS_NAME: u16 = 2;
/// Reason of a termination (RFC 7854 §4.5).
const TERMINATION_REASON: u16 = 1;
/// Room for the headers and a common UPDATE.
const USUAL_LEN: usize = 256;
