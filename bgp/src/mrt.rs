//! MRT: what a router knows and hears, as records for files (RFC 6396, RFC 8050).
//!
//! In: peers, routes with their attributes, messages as they came, changes of sessions' states,
//! each with its time. Out: whole records, which may be written one after another into a file in
//! any number.
//!
//! Write only: reading such files is for the many tools that do.

use bytes::{BufMut, Bytes, BytesMut};

use crate::timestamp::Timestamp;

mod message;
mod table;
#[cfg(test)]
mod tests;

pub use self::{
    message::{Conversation, Said},
    table::{TableEntry, TablePeer, peer_table, table_records},
};

/// Octets of the common header (RFC 6396 §2).
pub const HEADER_LEN: usize = 12;

/// Length of the record that begins with these octets, header included.
#[must_use]
pub fn record_len(header: [u8; HEADER_LEN]) -> u64 {
    let [.., a, b, c, d] = header;
    HEADER_LEN as u64 + u64::from(u32::from_be_bytes([a, b, c, d]))
}

/// Type and subtype (RFC 6396 §4, RFC 8050 §3, §4).
#[derive(Clone, Copy)]
struct Kind(u16, u16);

/// A record with what `body` writes (RFC 6396 §2).
fn record(kind: Kind, at: Timestamp, body: impl FnOnce(&mut BytesMut)) -> Bytes {
    let mut out = BytesMut::with_capacity(USUAL_LEN);
    out.put_u32(at.seconds());
    out.put_u16(kind.0);
    out.put_u16(kind.1);
    out.put_u32(0);
    body(&mut out);
    let len = u32::try_from(out.len() - HEADER_LEN).expect("65,535 attribute fields of 64 KiB");
    out[8..HEADER_LEN].copy_from_slice(&len.to_be_bytes());
    out.freeze()
}

/// Room for the headers and a common UPDATE or the paths of one prefix.
const USUAL_LEN: usize = 256;
