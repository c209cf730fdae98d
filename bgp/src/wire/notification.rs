//! NOTIFICATION: why a session ends, as a value, as octets and in words (RFC 4271 §4.5, §6).
//!
//! In: an [`ErrorCode`] and data whose form the code gives, or the body of a received message.
//! Out: octets for the peer, and a line that an operator understands.
//!
//! Never refuses a received NOTIFICATION for its content: a peer may send codes and data that
//! nobody knows, and it must not be answered (RFC 4271 §6.4).

use std::{fmt, net::Ipv4Addr};

use bytes::{BufMut, Bytes, BytesMut};

use super::{HEADER_LEN, MAX_LEN, header};
use crate::{aspath::Asn, family::Family};

mod names;

pub use names::ErrorCode;

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

impl Notification {
    /// A notification with data of the form that its code asks for.
    #[must_use]
    pub fn new(error: ErrorCode, data: impl Into<Bytes>) -> Self {
        Self { code: error.code, subcode: error.subcode, data: data.into() }
    }

    /// A message length that is out of bounds: 1/2 with that length (RFC 4271 §6.1).
    #[must_use]
    pub fn bad_message_length(len: u16) -> Self {
        Self::new(ErrorCode::BAD_MESSAGE_LENGTH, len.to_be_bytes().to_vec())
    }

    /// A message type that nobody knows: 1/3 with that type (RFC 4271 §6.1).
    #[must_use]
    pub fn bad_message_type(kind: u8) -> Self {
        Self::new(ErrorCode::BAD_MESSAGE_TYPE, vec![kind])
    }

    /// Another BGP version than 4: 2/1 with the version that we speak (RFC 4271 §6.2).
    #[must_use]
    pub fn unsupported_version() -> Self {
        Self::new(ErrorCode::UNSUPPORTED_VERSION, 4_u16.to_be_bytes().to_vec())
    }

    /// The peer announced more than `limit` prefixes of a family: 6/1 (RFC 4486 §4).
    #[must_use]
    pub fn max_prefixes(family: Family, limit: u32) -> Self {
        let mut data = BytesMut::with_capacity(7);
        data.put_u16(family.afi());
        data.put_u8(family.safi());
        data.put_u32(limit);
        Self::new(ErrorCode::MAX_PREFIXES, data)
    }

    /// Down until further notice: 6/2 with a text for the peer's operator (RFC 9003). A text of
    /// more than 255 octets is cut at a character border.
    #[must_use]
    pub fn admin_shutdown(text: &str) -> Self {
        Self::new(ErrorCode::ADMIN_SHUTDOWN, shutdown_text(text))
    }

    /// Down and up again: 6/4 with a text for the peer's operator (RFC 9003), cut as above.
    #[must_use]
    pub fn admin_reset(text: &str) -> Self {
        Self::new(ErrorCode::ADMIN_RESET, shutdown_text(text))
    }

    /// The same reason as a hard reset, which a peer must not answer with a graceful restart:
    /// 6/9 with the notification inside (RFC 8538 §3.1).
    #[must_use]
    pub fn hard_reset(&self) -> Self {
        let mut data = BytesMut::with_capacity(2 + self.data.len());
        data.put_u8(self.code);
        data.put_u8(self.subcode);
        data.put_slice(&self.data);
        Self::new(ErrorCode::HARD_RESET, data)
    }

    /// The code and subcode, which have names.
    #[must_use]
    pub const fn error(&self) -> ErrorCode {
        ErrorCode::new(self.code, self.subcode)
    }

    /// What a hard reset wraps (RFC 8538 §3.1); `None` for all others.
    #[must_use]
    pub fn wrapped(&self) -> Option<Self> {
        if self.error() != ErrorCode::HARD_RESET || self.data.len() < 2 {
            return None;
        }
        Some(Self { code: self.data[0], subcode: self.data[1], data: self.data.slice(2..) })
    }

    /// The text that came with an administrative shutdown or reset (RFC 9003 §2); `None` if
    /// there is none, if its length lies, or if it is not UTF-8.
    #[must_use]
    pub fn shutdown_text(&self) -> Option<&str> {
        if !matches!(self.error(), ErrorCode::ADMIN_SHUTDOWN | ErrorCode::ADMIN_RESET) {
            return None;
        }
        let (len, text) = self.data.split_first()?;
        if *len == 0 || usize::from(*len) != text.len() {
            return None;
        }
        std::str::from_utf8(text).ok()
    }

    /// The whole message. Data beyond 4096 octets in all is cut, since every peer takes that
    /// much and none needs to take more.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let room = MAX_LEN - HEADER_LEN - 2;
        let data = &self.data[..self.data.len().min(room)];
        let mut body = BytesMut::with_capacity(2 + data.len());
        body.put_u8(self.code);
        body.put_u8(self.subcode);
        body.put_slice(data);
        header::message(header::Kind::Notification, &body)
    }

    /// Reads the body; at least two octets, as [`super::frame_len`] has checked.
    pub(super) fn decode(body: &Bytes) -> Self {
        Self {
            code: body.first().copied().unwrap_or_default(),
            subcode: body.get(1).copied().unwrap_or_default(),
            data: body.get(2..).map_or_else(Bytes::new, |data| body.slice_ref(data)),
        }
    }
}

/// The names of code and subcode, and what the data says about them. Text from the peer is
/// escaped, so that it cannot forge a log line.
impl fmt::Display for Notification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.error())?;
        if let Some(wrapped) = self.wrapped() {
            // The wrapped one is shown without its own wrapping: nesting would never end.
            return match wrapped.wrapped() {
                Some(_) => write!(f, " ({})", wrapped.error()),
                None => write!(f, " ({wrapped})"),
            };
        }
        if let Some(text) = self.shutdown_text() {
            return write!(f, ": {text:?}");
        }
        match (self.error(), &self.data[..]) {
            (_, []) | (ErrorCode::ADMIN_SHUTDOWN | ErrorCode::ADMIN_RESET, [0]) => Ok(()),
            (ErrorCode::BAD_MESSAGE_LENGTH, [high, low]) => {
                write!(f, " ({} octets)", u16::from_be_bytes([*high, *low]))
            }
            (ErrorCode::BAD_MESSAGE_TYPE, [kind]) => write!(f, " (type {kind})"),
            (ErrorCode::UNSUPPORTED_VERSION, [high, low]) => {
                write!(f, " (version {} is spoken)", u16::from_be_bytes([*high, *low]))
            }
            // RFC 4271 leaves the data of these three open; the field that was refused is what
            // BIRD, FRR and we send.
            (ErrorCode::BAD_PEER_AS, [high, low]) => {
                match Asn(u16::from_be_bytes([*high, *low]).into()) {
                    Asn::TRANS => f.write_str(" (an AS above 65535 was refused)"),
                    asn => write!(f, " (AS {asn} was refused)"),
                }
            }
            (ErrorCode::BAD_PEER_AS, [a, b, c, d]) => {
                write!(f, " (AS {} was refused)", Asn(u32::from_be_bytes([*a, *b, *c, *d])))
            }
            (ErrorCode::BAD_IDENTIFIER, [a, b, c, d]) => {
                write!(f, " ({} was refused)", Ipv4Addr::new(*a, *b, *c, *d))
            }
            (ErrorCode::UNACCEPTABLE_HOLD_TIME, [high, low]) => {
                write!(f, " ({} s was refused)", u16::from_be_bytes([*high, *low]))
            }
            (ErrorCode::MAX_PREFIXES, [a, b, safi, limit @ ..]) if limit.len() == 4 => {
                match Family::from_codes(u16::from_be_bytes([*a, *b]), *safi) {
                    Some(family) => write!(f, " ({family}, ")?,
                    None => write!(f, " (AFI {}, SAFI {safi}, ", u16::from_be_bytes([*a, *b]))?,
                }
                let limit = limit.iter().fold(0_u32, |n, octet| n << 8 | u32::from(*octet));
                write!(f, "limit {limit})")
            }
            (_, data) => write_octets(f, data),
        }
    }
}

/// The first octets of data that has no better form.
fn write_octets(f: &mut fmt::Formatter<'_>, data: &[u8]) -> fmt::Result {
    const SHOWN: usize = 16;
    f.write_str(" (data ")?;
    for octet in data.iter().take(SHOWN) {
        write!(f, "{octet:02x}")?;
    }
    f.write_str(if data.len() > SHOWN { "...)" } else { ")" })
}

/// Length octet and text (RFC 9003 §2).
fn shutdown_text(text: &str) -> Bytes {
    let cut = text.floor_char_boundary(usize::from(u8::MAX));
    let text = &text.as_bytes()[..cut];
    let len = u8::try_from(text.len()).expect("cut to 255 octets in the line above");
    let mut data = BytesMut::with_capacity(1 + text.len());
    data.put_u8(len);
    data.put_slice(text);
    data.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_read_names_and_not_numbers() {
        let cases = [
            (Notification::new(ErrorCode::BAD_PEER_AS, vec![]), "OPEN Message Error/Bad Peer AS"),
            (Notification::new(ErrorCode::HOLD_TIMER_EXPIRED, vec![]), "Hold Timer Expired"),
            (
                Notification::bad_message_length(5000),
                "Message Header Error/Bad Message Length (5000 octets)",
            ),
            (Notification::bad_message_type(9), "Message Header Error/Bad Message Type (type 9)"),
            (
                Notification::unsupported_version(),
                "OPEN Message Error/Unsupported Version Number (version 4 is spoken)",
            ),
            (
                Notification::new(ErrorCode::BAD_PEER_AS, vec![0xFA, 0x56, 0xEA, 2]),
                "OPEN Message Error/Bad Peer AS (AS 4200000002 was refused)",
            ),
            (
                Notification::new(ErrorCode::BAD_PEER_AS, vec![0x5B, 0xA0]),
                "OPEN Message Error/Bad Peer AS (an AS above 65535 was refused)",
            ),
            (
                Notification::new(ErrorCode::BAD_IDENTIFIER, vec![10, 0, 0, 1]),
                "OPEN Message Error/Bad BGP Identifier (10.0.0.1 was refused)",
            ),
            (
                Notification::new(ErrorCode::UNACCEPTABLE_HOLD_TIME, vec![0, 2]),
                "OPEN Message Error/Unacceptable Hold Time (2 s was refused)",
            ),
            (
                Notification::max_prefixes(Family::Ipv6Unicast, 1000),
                "Cease/Maximum Number of Prefixes Reached (ipv6, limit 1000)",
            ),
            (
                Notification::new(ErrorCode::new(3, 5), vec![0x40, 1, 2, 0, 0]),
                "UPDATE Message Error/Attribute Length Error (data 4001020000)",
            ),
            (Notification::new(ErrorCode::new(6, 77), vec![]), "Cease/subcode 77"),
            (Notification::new(ErrorCode::new(99, 1), vec![]), "code 99/subcode 1"),
        ];
        for (notification, text) in cases {
            assert_eq!(notification.to_string(), text);
        }
    }

    #[test]
    fn rfc9003_shutdown_text_is_shown_and_cut_at_255_octets() {
        let shutdown = Notification::admin_shutdown("fire drill until 12:00");
        assert_eq!(
            shutdown.to_string(),
            "Cease/Administrative Shutdown: \"fire drill until 12:00\""
        );
        let long = Notification::admin_reset(&"\u{e9}".repeat(200));
        assert_eq!(long.data.len(), 1 + 254);
        assert_eq!(long.shutdown_text().map(|text| text.chars().count()), Some(127));
        assert_eq!(Notification::admin_shutdown("").to_string(), "Cease/Administrative Shutdown");
    }

    #[test]
    fn rfc9003_text_that_lies_about_its_length_or_forges_lines_is_harmless() {
        let lying = Notification::new(ErrorCode::ADMIN_SHUTDOWN, vec![9, b'a']);
        assert_eq!(lying.shutdown_text(), None);
        assert_eq!(lying.to_string(), "Cease/Administrative Shutdown (data 0961)");
        let not_text = Notification::new(ErrorCode::ADMIN_SHUTDOWN, vec![1, 0xFF]);
        assert_eq!(not_text.shutdown_text(), None);
        let forged = Notification::admin_shutdown("x\nERROR disk on fire\u{1b}[2J");
        assert!(!forged.to_string().contains(['\n', '\u{1b}']), "{forged}");
    }

    #[test]
    fn rfc8538_3_1_hard_reset_wraps_the_reason() {
        let inner = Notification::admin_shutdown("bye");
        let hard = inner.hard_reset();
        assert_eq!((hard.code, hard.subcode), (6, 9));
        assert_eq!(hard.data[..], [6, 2, 3, b'b', b'y', b'e']);
        assert_eq!(hard.wrapped(), Some(inner));
        assert_eq!(hard.to_string(), "Cease/Hard Reset (Cease/Administrative Shutdown: \"bye\")");
        assert_eq!(hard.hard_reset().to_string(), "Cease/Hard Reset (Cease/Hard Reset)");
    }

    #[test]
    fn rfc4271_4_5_octets_are_code_subcode_data() {
        let octets = Notification::bad_message_type(9).encode();
        assert_eq!(octets[16..], [0, 22, 3, 1, 3, 9]);
        assert_eq!(octets[..16], [0xFF; 16]);
    }

    #[test]
    fn endless_data_is_cut_to_what_every_peer_takes() {
        let octets = Notification::new(ErrorCode::new(3, 1), vec![7; 60_000]).encode();
        assert_eq!(octets.len(), MAX_LEN);
    }
}
