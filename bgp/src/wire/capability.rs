//! Capabilities (RFC 5492) inside OPEN.
//!
//! In: code and value of one capability. Out: the capability, [`Capability::Unknown`] where the
//! code is not known or the value does not have the known form: a peer may offer what it likes,
//! and an offer that is not understood is not taken up (RFC 5492 §3).

use bytes::{BufMut, Bytes, BytesMut};

use super::octets::Reader;
use crate::{aspath::Asn, family::Family};

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
    /// Code 5 (RFC 8950 §4): families whose next hop may be of another family, as AFI and SAFI
    /// of the prefixes and AFI of the next hop.
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

impl Capability {
    /// The offer to carry a family.
    #[must_use]
    pub const fn family(family: Family) -> Self {
        Self::Multiprotocol { afi: family.afi(), safi: family.safi() }
    }

    /// Capability code.
    #[must_use]
    pub const fn code(&self) -> u8 {
        match self {
            Self::Multiprotocol { .. } => 1,
            Self::RouteRefresh => 2,
            Self::ExtendedNextHop(_) => 5,
            Self::ExtendedMessage => 6,
            Self::Role(_) => 9,
            Self::GracefulRestart { .. } => 64,
            Self::FourOctetAs(_) => 65,
            Self::AddPath(_) => 69,
            Self::EnhancedRouteRefresh => 70,
            Self::LongLivedGracefulRestart(_) => 71,
            Self::Unknown { code, .. } => *code,
        }
    }

    /// The value's octets.
    pub(super) fn value(&self) -> Bytes {
        let mut value = BytesMut::new();
        match self {
            Self::Multiprotocol { afi, safi } => {
                value.put_u16(*afi);
                value.put_slice(&[0, *safi]);
            }
            Self::RouteRefresh | Self::ExtendedMessage | Self::EnhancedRouteRefresh => {}
            Self::ExtendedNextHop(families) => {
                for (afi, safi, next_hop_afi) in families {
                    value.put_u16(*afi);
                    value.put_u16(*safi);
                    value.put_u16(*next_hop_afi);
                }
            }
            Self::Role(role) => value.put_u8(*role),
            Self::GracefulRestart { restarted, notification, time, families } => {
                let flags = u16::from(*restarted) << 15 | u16::from(*notification) << 14;
                value.put_u16(flags | (*time).min(MAX_RESTART_TIME));
                for (afi, safi, forwarding) in families {
                    value.put_u16(*afi);
                    value.put_slice(&[*safi, u8::from(*forwarding) << 7]);
                }
            }
            Self::FourOctetAs(asn) => value.put_u32(asn.0),
            Self::AddPath(families) => {
                for (afi, safi, direction) in families {
                    value.put_u16(*afi);
                    value.put_slice(&[*safi, *direction]);
                }
            }
            Self::LongLivedGracefulRestart(families) => {
                for (afi, safi, forwarding, time) in families {
                    value.put_u16(*afi);
                    value.put_slice(&[*safi, u8::from(*forwarding) << 7]);
                    value.put_uint(u64::from((*time).min(MAX_STALE_TIME)), 3);
                }
            }
            Self::Unknown { value: octets, .. } => value.put_slice(octets),
        }
        value.freeze()
    }

    /// Reads one capability. Never fails: see [`Self::Unknown`].
    pub(super) fn decode(code: u8, value: &[u8]) -> Self {
        Self::known(code, value)
            .unwrap_or_else(|| Self::Unknown { code, value: Bytes::copy_from_slice(value) })
    }

    fn known(code: u8, octets: &[u8]) -> Option<Self> {
        let mut value = Reader::new(octets);
        let capability = match code {
            1 => {
                let [a, b, _reserved, safi] = value.array()?;
                Self::Multiprotocol { afi: u16::from_be_bytes([a, b]), safi }
            }
            2 => Self::RouteRefresh,
            5 => Self::ExtendedNextHop(entries(&mut value, |[a, b, c, d, e, f]| {
                let number = |high, low| u16::from_be_bytes([high, low]);
                (number(a, b), number(c, d), number(e, f))
            })),
            6 => Self::ExtendedMessage,
            9 => Self::Role(value.u8()?),
            64 => {
                let flags = value.u16()?;
                Self::GracefulRestart {
                    restarted: flags & 0x8000 != 0,
                    notification: flags & 0x4000 != 0,
                    time: flags & MAX_RESTART_TIME,
                    families: entries(&mut value, |[a, b, safi, flags]| {
                        (u16::from_be_bytes([a, b]), safi, flags & 0x80 != 0)
                    }),
                }
            }
            65 => Self::FourOctetAs(Asn(value.u32()?)),
            69 => Self::AddPath(entries(&mut value, |[a, b, safi, direction]| {
                (u16::from_be_bytes([a, b]), safi, direction)
            })),
            70 => Self::EnhancedRouteRefresh,
            71 => Self::LongLivedGracefulRestart(entries(
                &mut value,
                |[a, b, safi, flags, high, middle, low]| {
                    let time = u32::from_be_bytes([0, high, middle, low]);
                    (u16::from_be_bytes([a, b]), safi, flags & 0x80 != 0, time)
                },
            )),
            _ => return None,
        };
        value.is_empty().then_some(capability)
    }
}

/// As many entries of `N` octets as there are; what is left over makes the value malformed.
fn entries<const N: usize, T>(value: &mut Reader<'_>, entry: impl Fn([u8; N]) -> T) -> Vec<T> {
    std::iter::from_fn(|| value.array::<N>()).map(entry).collect()
}

/// 12 bits (RFC 4724 §3).
const MAX_RESTART_TIME: u16 = 0x0FFF;
/// 24 bits (RFC 9494 §3).
const MAX_STALE_TIME: u32 = 0x00FF_FFFF;
