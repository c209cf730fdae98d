//! The wire: BGP messages as values, and the octets they come from and turn into.
//!
//! In: one whole message, its framing already checked by the session. Out: a [`Message`], or
//! the NOTIFICATION that the peer has earned. A flawed UPDATE is classed per attribute as
//! RFC 7606 asks (see [`error`]); only what cannot be contained becomes a NOTIFICATION.
//!
//! Never panics on any input and never allocates more than a small multiple of its length.

use bytes::Bytes;

pub mod capability;
pub mod error;
pub mod notification;
pub mod open;
pub mod refresh;
pub mod update;

pub use capability::Capability;
pub use error::{Fault, Treatment};
pub use notification::Notification;
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
    /// (RFC 7606 §7.5, §7.9, §7.10).
    pub external: bool,
    /// Largest message that the peer may send and takes, in octets.
    pub max_len: usize,
}

impl Default for Codec {
    fn default() -> Self {
        Self { four_octet_as: true, external: true, max_len: MAX_LEN }
    }
}

/// Octets ready for the socket.
pub type Octets = Bytes;
