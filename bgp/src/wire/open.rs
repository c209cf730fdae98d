//! OPEN (RFC 4271 §4.2), with extended optional parameters (RFC 9072).

use std::net::Ipv4Addr;

use crate::{aspath::Asn, wire::Capability};

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
}
