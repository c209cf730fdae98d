//! OPEN (RFC 4271 §4.2), with extended optional parameters (RFC 9072).
//!
//! In: the body of a received OPEN, or an [`Open`] to send. Out: the value, or the NOTIFICATION
//! for an OPEN whose form is wrong (RFC 4271 §6.2), or octets. Judges form only: whether an AS,
//! an identifier or a hold time is welcome is the session's to say.

use std::net::Ipv4Addr;

use bytes::{BufMut, Bytes, BytesMut};

use super::{HEADER_LEN, MAX_LEN, header, octets::Reader};
use crate::{
    aspath::Asn,
    wire::{Capability, ErrorCode, Notification},
};

/// An OPEN message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    /// The "My Autonomous System" field as sent: AS_TRANS if the number needs four octets.
    pub asn: u16,
    /// Proposed hold time in seconds as sent; 1 and 2 are possible here and refused by the session.
    pub hold_time: u16,
    /// BGP identifier as sent; zero is possible here and refused by the session.
    pub router_id: Ipv4Addr,
    /// Capabilities in the order sent, from all parameters; unknown ones kept.
    pub capabilities: Vec<Capability>,
}

impl Open {
    /// The AS of the sender: from the 4-octet AS capability, else from the 2-octet field.
    #[must_use]
    pub fn effective_asn(&self) -> Asn {
        self.capabilities
            .iter()
            .find_map(|capability| match capability {
                Capability::FourOctetAs(asn) => Some(*asn),
                _ => None,
            })
            .unwrap_or(Asn(u32::from(self.asn)))
    }

    /// The whole message: all capabilities in one parameter, in the extended form of RFC 9072
    /// only if they do not fit otherwise.
    ///
    /// A capability whose value exceeds 255 octets, or that would make the message exceed 4096,
    /// is left out: an offer that cannot be written is not made.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut capabilities = BytesMut::new();
        for capability in &self.capabilities {
            let value = capability.value();
            let Ok(len) = u8::try_from(value.len()) else { continue };
            if capabilities.len() + 2 + value.len() > MAX_CAPABILITIES {
                continue;
            }
            capabilities.put_u8(capability.code());
            capabilities.put_u8(len);
            capabilities.put_slice(&value);
        }
        let mut body = BytesMut::with_capacity(FIXED_LEN + EXTENDED_OVERHEAD + capabilities.len());
        body.put_u8(VERSION);
        body.put_u16(self.asn);
        body.put_u16(self.hold_time);
        body.put_u32(self.router_id.to_bits());
        put_parameter(&mut body, &capabilities);
        header::message(header::Kind::Open, &body)
    }

    /// # Errors
    ///
    /// 2/1 for another version, 2/4 for an optional parameter other than capabilities, 2/0 for
    /// lengths that contradict each other.
    pub(super) fn decode(body: &[u8]) -> Result<Self, Notification> {
        let mut body = Reader::new(body);
        let version = body.u8().ok_or_else(malformed)?;
        if version != VERSION {
            return Err(Notification::unsupported_version());
        }
        let asn = body.u16().ok_or_else(malformed)?;
        let hold_time = body.u16().ok_or_else(malformed)?;
        let router_id = Ipv4Addr::from_bits(body.u32().ok_or_else(malformed)?);
        let capabilities = read_parameters(body)?;
        Ok(Self { asn, hold_time, router_id, capabilities })
    }
}

/// Writes the parameters' length and the one parameter, if there is anything in it.
fn put_parameter(body: &mut BytesMut, capabilities: &[u8]) {
    if capabilities.is_empty() {
        body.put_u8(0);
        return;
    }
    match (u8::try_from(capabilities.len()), u8::try_from(capabilities.len() + 2)) {
        (Ok(len), Ok(total)) => {
            body.put_u8(total);
            body.put_u8(CAPABILITIES);
            body.put_u8(len);
        }
        _ => {
            let len = u16::try_from(capabilities.len()).expect("kept to MAX_CAPABILITIES");
            body.put_slice(&[EXTENDED, EXTENDED]);
            body.put_u16(len + 3);
            body.put_u8(CAPABILITIES);
            body.put_u16(len);
        }
    }
    body.put_slice(capabilities);
}

/// Reads from the parameters' length to the end of the message.
fn read_parameters(mut body: Reader<'_>) -> Result<Vec<Capability>, Notification> {
    let len = body.u8().ok_or_else(malformed)?;
    // The first parameter's type decides, not the length before it (RFC 9072 §2).
    let extended = len != 0 && body.rest().first() == Some(&EXTENDED);
    let len = if extended {
        body.u8();
        body.u16().ok_or_else(malformed)?.into()
    } else {
        usize::from(len)
    };
    if len != body.len() {
        return Err(malformed());
    }
    let mut capabilities = Vec::new();
    while !body.is_empty() {
        let kind = body.u8().ok_or_else(malformed)?;
        let len = if extended { body.u16().map(usize::from) } else { body.u8().map(usize::from) };
        let value = len.and_then(|len| body.take(len)).ok_or_else(malformed)?;
        if kind != CAPABILITIES {
            return Err(Notification::new(ErrorCode::UNSUPPORTED_PARAMETER, Bytes::new()));
        }
        read_capabilities(Reader::new(value), &mut capabilities)?;
    }
    Ok(capabilities)
}

fn read_capabilities(
    mut parameter: Reader<'_>,
    capabilities: &mut Vec<Capability>,
) -> Result<(), Notification> {
    while !parameter.is_empty() {
        let code = parameter.u8().ok_or_else(malformed)?;
        let len = parameter.u8().ok_or_else(malformed)?;
        let value = parameter.take(len.into()).ok_or_else(malformed)?;
        capabilities.push(Capability::decode(code, value));
    }
    Ok(())
}

fn malformed() -> Notification {
    Notification::new(ErrorCode::OPEN_UNSPECIFIC, Bytes::new())
}

const VERSION: u8 = 4;
/// Optional parameter that holds capabilities (RFC 5492 §4).
const CAPABILITIES: u8 = 2;
/// Length and type octet that announce the extended form (RFC 9072 §2).
const EXTENDED: u8 = 255;
/// Octets of the body before the parameters' length.
const FIXED_LEN: usize = 9;
/// Octets of lengths and types around the capabilities in the extended form.
const EXTENDED_OVERHEAD: usize = 7;
/// Most octets of capabilities in an OPEN, which is never longer than 4096 (RFC 8654 §4).
const MAX_CAPABILITIES: usize = MAX_LEN - HEADER_LEN - FIXED_LEN - EXTENDED_OVERHEAD;

#[cfg(test)]
mod tests;
