//! Capabilities (RFC 5492) inside OPEN.

use bytes::Bytes;

use crate::aspath::Asn;

/// One capability. Numbers are kept as sent, so that families unknown here survive a look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Capability {
    /// Code 1 (RFC 4760 §8).
    Multiprotocol {
        /// Address family.
        afi: u16,
        /// Subsequent address family.
        safi: u8,
    },
    /// Code 2 (RFC 2918).
    RouteRefresh,
    /// Code 5 (RFC 8950 §4): families whose next hop may be of another family.
    ExtendedNextHop(Vec<(u16, u16, u16)>),
    /// Code 6 (RFC 8654).
    ExtendedMessage,
    /// Code 9 (RFC 9234): 0 provider, 1 route server, 2 its client, 3 customer, 4 peer.
    Role(u8),
    /// Code 64 (RFC 4724 §3).
    GracefulRestart {
        /// R bit: the sender has restarted.
        restarted: bool,
        /// N bit (RFC 8538).
        notification: bool,
        /// Restart time in seconds, 0..=4095.
        time: u16,
        /// Families with their forwarding-state bit.
        families: Vec<(u16, u8, bool)>,
    },
    /// Code 65 (RFC 6793).
    FourOctetAs(Asn),
    /// Code 69 (RFC 7911): AFI, SAFI, send/receive.
    AddPath(Vec<(u16, u8, u8)>),
    /// Code 70 (RFC 7313).
    EnhancedRouteRefresh,
    /// Code 71 (RFC 9494): AFI, SAFI, forwarding bit, stale time in seconds (24 bits).
    LongLivedGracefulRestart(Vec<(u16, u8, bool, u32)>),
    /// Anything else, or a known code whose value does not have the known form.
    Unknown {
        /// Capability code.
        code: u8,
        /// Value.
        value: Bytes,
    },
}
