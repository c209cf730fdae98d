//! ROUTE-REFRESH (RFC 2918) and its enhanced subtypes (RFC 7313).
//!
//! In: a whole message. Out: which family it is about and what it says, not whether that was
//! negotiated: the session knows, and ignores what was not.

use bytes::Bytes;

use super::{HEADER_LEN, header, notification::ErrorCode, notification::Notification};
use crate::family::Family;

/// A ROUTE-REFRESH message. A family that was not negotiated is possible here; the session
/// ignores it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refresh {
    /// Address family.
    pub afi: u16,
    /// 0 request, 1 beginning of refresh, 2 end of refresh (RFC 7313 §3.2); others are ignored.
    pub subtype: u8,
    /// Subsequent address family.
    pub safi: u8,
}

impl Refresh {
    /// Subtype of a request (RFC 7313 §3.2).
    pub const REQUEST: u8 = 0;
    /// Subtype of the mark before the answer, BoRR.
    pub const BEGIN: u8 = 1;
    /// Subtype of the mark after the answer, EoRR.
    pub const END: u8 = 2;

    /// Asks for all routes of a family again.
    #[must_use]
    pub const fn request(family: Family) -> Self {
        Self { afi: family.afi(), subtype: Self::REQUEST, safi: family.safi() }
    }

    /// All routes of a family follow (BoRR, RFC 7313 §4).
    #[must_use]
    pub const fn begin(family: Family) -> Self {
        Self { afi: family.afi(), subtype: Self::BEGIN, safi: family.safi() }
    }

    /// All routes of a family have been announced (EoRR, RFC 7313 §4).
    #[must_use]
    pub const fn end(family: Family) -> Self {
        Self { afi: family.afi(), subtype: Self::END, safi: family.safi() }
    }

    /// The family, if this speaker routes it.
    #[must_use]
    pub const fn family(&self) -> Option<Family> {
        Family::from_codes(self.afi, self.safi)
    }

    /// The whole message.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let [high, low] = self.afi.to_be_bytes();
        header::message(header::Kind::Refresh, &[high, low, self.subtype, self.safi])
    }

    /// # Errors
    ///
    /// 7/1 with the whole message if the body is not four octets (RFC 7313 §5). Of an unknown
    /// subtype only the first four are looked at, since the rest may mean something to others.
    pub(super) fn decode(message: &Bytes) -> Result<Self, Notification> {
        match message.get(HEADER_LEN..) {
            Some([high, low, subtype, safi, rest @ ..])
                if rest.is_empty() || *subtype > Self::END =>
            {
                Ok(Self { afi: u16::from_be_bytes([*high, *low]), subtype: *subtype, safi: *safi })
            }
            _ => Err(Notification::new(ErrorCode::INVALID_REFRESH_LENGTH, message.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Codec, Message, decode};

    fn message(body: &[u8]) -> Bytes {
        header::message(header::Kind::Refresh, body)
    }

    #[test]
    fn rfc2918_3_a_request_is_afi_zero_safi() {
        let request = Refresh::request(Family::Ipv6Unicast);
        assert_eq!(request.encode()[16..], [0, 23, 5, 0, 2, 0, 1]);
        assert_eq!(decode(&request.encode(), &Codec::default()), Ok(Message::Refresh(request)));
        assert_eq!(request.family(), Some(Family::Ipv6Unicast));
    }

    #[test]
    fn rfc7313_5_a_wrong_length_is_answered_with_the_whole_message() {
        for body in [&[][..], &[0, 1, 0], &[0, 1, 0, 1, 9], &[0, 1, 1, 1, 0], &[0, 1, 2, 1, 0]] {
            let message = message(body);
            let error = decode(&message, &Codec::default()).unwrap_err();
            assert_eq!((error.code, error.subcode), (7, 1), "{body:?}");
            assert_eq!(error.data, message);
        }
    }

    #[test]
    fn rfc7313_5_an_unknown_subtype_of_any_length_is_left_to_be_ignored() {
        let refresh = Refresh { afi: 1, subtype: 7, safi: 1 };
        assert_eq!(Refresh::decode(&message(&[0, 1, 7, 1, 0, 0])), Ok(refresh));
    }
}
