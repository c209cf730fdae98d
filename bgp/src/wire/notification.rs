//! NOTIFICATION: codes, subcodes and data (RFC 4271 §4.5, §6).

use bytes::Bytes;

/// A NOTIFICATION message. Codes stay numbers, since a peer may send any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// Error code.
    pub code: u8,
    /// Error subcode.
    pub subcode: u8,
    /// Data whose form the code gives.
    pub data: Bytes,
}

/// The code, the subcode and their names, and the text of a shutdown (RFC 9003).
impl std::fmt::Display for Notification {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "NOTIFICATION {}/{}", self.code, self.subcode)
    }
}
