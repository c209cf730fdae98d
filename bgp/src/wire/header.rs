//! The common header: where one message ends and what it is (RFC 4271 §4.1).
//!
//! In: the octets of a stream as far as they are here. Out: the length of the first message, or
//! the NOTIFICATION that a bad header earns (RFC 4271 §6.1). Looks at nothing past the header.

use bytes::{BufMut, Bytes, BytesMut};

use super::{HEADER_LEN, MAX_EXTENDED_LEN, MAX_LEN, Notification, notification::ErrorCode};

/// The type octet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Open,
    Update,
    Notification,
    Keepalive,
    Refresh,
}

impl Kind {
    const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Open),
            2 => Some(Self::Update),
            3 => Some(Self::Notification),
            4 => Some(Self::Keepalive),
            5 => Some(Self::Refresh),
            _ => None,
        }
    }

    const fn code(self) -> u8 {
        match self {
            Self::Open => 1,
            Self::Update => 2,
            Self::Notification => 3,
            Self::Keepalive => 4,
            Self::Refresh => 5,
        }
    }

    /// Shortest and longest message of the kind, in octets (RFC 4271 §4, RFC 8654 §4).
    ///
    /// A ROUTE-REFRESH of a wrong length has an error code of its own (RFC 7313 §5), so any
    /// length passes here.
    const fn bounds(self, max_len: usize) -> (usize, usize) {
        match self {
            Self::Open => (29, MAX_LEN),
            Self::Update => (23, max_len),
            Self::Notification => (21, max_len),
            Self::Keepalive => (HEADER_LEN, HEADER_LEN),
            Self::Refresh => (HEADER_LEN, max_len),
        }
    }
}

/// Length of the message that these octets begin with, header included; `None` while too few
/// are here to tell. `max_len` is [`MAX_LEN`], or [`MAX_EXTENDED_LEN`] where RFC 8654 was
/// negotiated.
///
/// The marker is judged as far as it is here, so that a stranger who speaks another protocol
/// gets its answer at once.
///
/// # Errors
///
/// The NOTIFICATION to close the connection with: 1/1, 1/2 with the length, 1/3 with the type
/// (RFC 4271 §6.1).
pub fn frame_len(octets: &[u8], max_len: usize) -> Result<Option<usize>, Notification> {
    read(octets, max_len).map(|header| header.map(|(_, len)| len))
}

/// As [`frame_len`], with the kind of the message.
pub(super) fn read(octets: &[u8], max_len: usize) -> Result<Option<(Kind, usize)>, Notification> {
    if !MARKER.starts_with(&octets[..octets.len().min(MARKER.len())]) {
        return Err(Notification::new(ErrorCode::NOT_SYNCHRONIZED, Bytes::new()));
    }
    let Some([high, low]) = octets.get(16..18) else { return Ok(None) };
    let announced = u16::from_be_bytes([*high, *low]);
    let len = usize::from(announced);
    let max_len = max_len.clamp(MAX_LEN, MAX_EXTENDED_LEN);
    if !(HEADER_LEN..=max_len).contains(&len) {
        return Err(Notification::bad_message_length(announced));
    }
    let Some(code) = octets.get(18) else { return Ok(None) };
    let kind = Kind::from_code(*code).ok_or_else(|| Notification::bad_message_type(*code))?;
    let (shortest, longest) = kind.bounds(max_len);
    if !(shortest..=longest).contains(&len) {
        return Err(Notification::bad_message_length(announced));
    }
    Ok(Some((kind, len)))
}

/// A whole message of this body. The caller keeps the body within 65,516 octets.
pub(super) fn message(kind: Kind, body: &[u8]) -> Bytes {
    let len = u16::try_from(HEADER_LEN + body.len()).expect("the caller keeps to MAX_EXTENDED_LEN");
    let mut octets = BytesMut::with_capacity(HEADER_LEN + body.len());
    octets.put_slice(&MARKER);
    octets.put_u16(len);
    octets.put_u8(kind.code());
    octets.put_slice(body);
    octets.freeze()
}

/// Begins a message whose body follows in `out`; what it gives goes to [`end`].
pub(super) fn begin(kind: Kind, out: &mut BytesMut) -> usize {
    let begin = out.len();
    out.put_slice(&MARKER);
    out.put_u16(0);
    out.put_u8(kind.code());
    begin
}

/// Ends it. The caller keeps the body within 65,516 octets.
pub(super) fn end(begin: usize, out: &mut BytesMut) {
    let len = u16::try_from(out.len() - begin).expect("the caller keeps to MAX_EXTENDED_LEN");
    out[begin + 16..begin + 18].copy_from_slice(&len.to_be_bytes());
}

const MARKER: [u8; 16] = [0xFF; 16];

#[cfg(test)]
mod tests {
    use super::*;

    fn header(len: u16, kind: u8) -> Vec<u8> {
        let mut octets = MARKER.to_vec();
        octets.extend(len.to_be_bytes());
        octets.push(kind);
        octets
    }

    fn error(octets: &[u8], max_len: usize) -> (u8, u8, Vec<u8>) {
        let error = frame_len(octets, max_len).unwrap_err();
        (error.code, error.subcode, error.data.to_vec())
    }

    #[test]
    fn a_header_that_is_not_whole_asks_for_more() {
        let octets = header(19, 4);
        for end in 0..19 {
            assert_eq!(frame_len(&octets[..end], MAX_LEN), Ok(None), "{end}");
        }
        assert_eq!(frame_len(&octets, MAX_LEN), Ok(Some(19)));
    }

    #[test]
    fn rfc4271_6_1_a_wrong_marker_is_not_synchronized() {
        assert_eq!(error(b"GET / HTTP/1.1\r\n", MAX_LEN), (1, 1, vec![]));
        for place in 0..16 {
            let mut octets = header(19, 4);
            octets[place] = 0xFE;
            assert_eq!(error(&octets, MAX_LEN), (1, 1, vec![]), "{place}");
        }
    }

    #[test]
    fn rfc4271_6_1_a_length_out_of_bounds_is_answered_with_that_length() {
        for len in [0_u16, 18, 4097, 65_535] {
            let data = len.to_be_bytes().to_vec();
            assert_eq!(error(&header(len, 2), MAX_LEN), (1, 2, data), "{len}");
        }
    }

    #[test]
    fn rfc4271_6_1_each_type_has_a_shortest_and_keepalive_a_longest_length() {
        let good = [(1, 29), (1, 4096), (2, 23), (2, 4096), (3, 21), (4, 19), (5, 23)];
        for (kind, len) in good {
            assert_eq!(frame_len(&header(len, kind), MAX_LEN), Ok(Some(usize::from(len))));
        }
        for (kind, len) in [(1, 28_u16), (2, 22), (3, 20), (4, 20), (4, 18)] {
            let data = len.to_be_bytes().to_vec();
            assert_eq!(error(&header(len, kind), MAX_LEN), (1, 2, data), "{kind} {len}");
        }
    }

    #[test]
    fn rfc4271_6_1_an_unknown_type_is_answered_with_that_type() {
        for kind in [0, 6, 255] {
            assert_eq!(error(&header(19, kind), MAX_LEN), (1, 3, vec![kind]));
        }
    }

    #[test]
    fn rfc8654_4_open_and_keepalive_never_grow() {
        assert_eq!(frame_len(&header(65_535, 2), MAX_EXTENDED_LEN), Ok(Some(65_535)));
        assert_eq!(frame_len(&header(65_535, 3), MAX_EXTENDED_LEN), Ok(Some(65_535)));
        let (code, subcode, data) = error(&header(4097, 1), MAX_EXTENDED_LEN);
        assert_eq!((code, subcode, data), (1, 2, 4097_u16.to_be_bytes().to_vec()));
        assert_eq!(error(&header(4097, 4), MAX_EXTENDED_LEN).1, 2);
    }
}
