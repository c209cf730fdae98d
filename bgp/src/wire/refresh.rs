//! ROUTE-REFRESH (RFC 2918) and its enhanced subtypes (RFC 7313).

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
