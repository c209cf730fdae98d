//! The wire: BGP messages as values, and the octets they come from and turn into.
//!
//! In: a stream's octets for [`frame_len`], then one whole message for [`decode`]. Out: a
//! [`Message`], or the NOTIFICATION that the peer has earned. A flawed UPDATE is classed per
//! attribute as RFC 7606 asks (see [`error`]); only what cannot be contained becomes a
//! NOTIFICATION. The other way, each message type has its `encode`.
//!
//! Never panics on any input and never allocates more than a small multiple of its length.

use bytes::Bytes;

use crate::family::FamilySet;

pub mod attribute;
pub mod capability;
pub mod error;
mod header;
mod nlri;
pub mod notification;
mod octets;
pub mod open;
pub mod refresh;
pub mod update;

pub use attribute::AttrCode;
pub use capability::Capability;
pub use error::{EncodeError, Fault, Treatment};
pub use header::frame_len;
pub use nlri::Nlri;
pub use notification::{ErrorCode, Notification};
pub use open::Open;
pub use refresh::Refresh;
pub use update::{Reach, Update};

/// Octets of the common header (RFC 4271 §4.1).
pub const HEADER_LEN: usize = 19;
/// Largest message without RFC 8654.
pub const MAX_LEN: usize = 4096;
/// Largest UPDATE, NOTIFICATION or ROUTE-REFRESH with RFC 8654 negotiated.
pub const MAX_EXTENDED_LEN: usize = 65_535;

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// OPEN (RFC 4271 §4.2).
    Open(Open),
    /// UPDATE (RFC 4271 §4.3).
    Update(Update),
    /// NOTIFICATION (RFC 4271 §4.5).
    Notification(Notification),
    /// KEEPALIVE (RFC 4271 §4.4).
    Keepalive,
    /// ROUTE-REFRESH (RFC 2918).
    Refresh(Refresh),
}

/// What was negotiated that changes how octets are read and written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Codec {
    /// Both sides speak 4-octet AS numbers (RFC 6793): AS_PATH and AGGREGATOR use them.
    pub four_octet_as: bool,
    /// The peer is in another AS: LOCAL_PREF, ORIGINATOR_ID and CLUSTER_LIST are discarded
    /// when read (RFC 7606 §7.5, §7.9, §7.10) and not written (RFC 4271 §5.1.5, RFC 4456 §8).
    pub external: bool,
    /// Families negotiated: prefixes of others are skipped when read.
    pub families: FamilySet,
    /// Families whose prefixes come with a path identifier (RFC 7911 §3).
    pub add_path_receive: FamilySet,
    /// Families whose prefixes go out with a path identifier.
    pub add_path_send: FamilySet,
    /// Families whose prefixes may have an IPv6 next hop although they are not IPv6 ones
    /// (RFC 8950 §4). Without it such a next hop is neither read nor written.
    pub extended_next_hop: FamilySet,
    /// Largest message that the peer may send: [`MAX_LEN`] or [`MAX_EXTENDED_LEN`] (RFC 8654 §4).
    /// An OPEN or KEEPALIVE is never larger than [`MAX_LEN`], whatever stands here.
    pub max_receive_len: usize,
    /// Largest message that the peer takes: [`MAX_LEN`] or [`MAX_EXTENDED_LEN`].
    pub max_send_len: usize,
}

impl Codec {
    /// All families and 4-octet AS numbers with an external peer, and no other option.
    pub const PLAIN: Self = Self {
        four_octet_as: true,
        external: true,
        families: FamilySet::ALL,
        add_path_receive: FamilySet::NONE,
        add_path_send: FamilySet::NONE,
        extended_next_hop: FamilySet::NONE,
        max_receive_len: MAX_LEN,
        max_send_len: MAX_LEN,
    };
}

/// [`Codec::PLAIN`].
impl Default for Codec {
    fn default() -> Self {
        Self::PLAIN
    }
}

/// Reads one whole message, header included: as many octets as [`frame_len`] said.
///
/// # Errors
///
/// The NOTIFICATION to close the session with. What is wrong with an UPDATE and can be
/// contained is no error: see [`Update::faults`].
pub fn decode(message: &Bytes, codec: &Codec) -> Result<Message, Notification> {
    let cut_short =
        || Notification::bad_message_length(u16::try_from(message.len()).unwrap_or(u16::MAX));
    let (kind, len) = header::read(message, codec.max_receive_len)?.ok_or_else(cut_short)?;
    if len != message.len() {
        return Err(cut_short());
    }
    let body = &message[HEADER_LEN..];
    match kind {
        header::Kind::Open => Open::decode(body).map(Message::Open),
        header::Kind::Update => Update::decode(body, codec).map(|mut update| {
            update.flawed = (!update.faults.is_empty()).then(|| message.clone());
            Message::Update(update)
        }),
        header::Kind::Notification => {
            Ok(Message::Notification(Notification::decode(&message.slice(HEADER_LEN..))))
        }
        header::Kind::Keepalive => Ok(Message::Keepalive),
        header::Kind::Refresh => Refresh::decode(message).map(Message::Refresh),
    }
}

/// A KEEPALIVE message.
#[must_use]
pub fn keepalive() -> Bytes {
    header::message(header::Kind::Keepalive, &[])
}
