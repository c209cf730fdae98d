//! Messages about one peer: those with a per-peer header (RFC 7854 §4.2).

use std::net::{IpAddr, Ipv4Addr};

use bytes::{BufMut, Bytes, BytesMut};

use super::{Kind, Statistic, message, put_text};
use crate::{
    aspath::Asn,
    family::Family,
    rib::{Opening, View},
    session::Cause,
    timestamp::Timestamp,
    wire::{Capability, Notification, Open},
};

/// Whom a message is about: a peer, or this router itself with its Loc-RIB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The peer's address; none for this router (RFC 9069 §5.1).
    pub address: Option<IpAddr>,
    /// The peer's AS, or ours.
    pub asn: Asn,
    /// The peer's BGP identifier, or ours.
    pub router_id: Ipv4Addr,
}

/// Why a session is over (RFC 7854 §4.9).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerDown {
    /// We ended it and said so (reason 1).
    Told(Notification),
    /// We ended it without a word (reason 2), for this event of RFC 4271 §8.1; 0: for none of
    /// them.
    Silent(u16),
    /// The peer ended it and said so (reason 3).
    Heard(Notification),
    /// The peer ended it without a word (reason 4).
    Lost,
}

impl Peer {
    /// A session was established.
    #[must_use]
    pub fn up(&self, opening: &Opening) -> Bytes {
        message(Kind::PeerUp, |out| {
            self.put_header(self.own_view(), opening.at, out);
            put_address(Some(opening.local.ip()), out);
            out.put_u16(opening.local.port());
            out.put_u16(opening.remote.port());
            out.put_slice(&opening.sent_open);
            out.put_slice(&opening.received_open);
        })
    }

    /// The Loc-RIB begins (RFC 9069 §5.2): both OPENs are made up and say how its UPDATEs are
    /// to be read: IPv4 prefixes may have IPv6 next hops, and a set of attributes may need a longer
    /// message.
    #[must_use]
    pub fn loc_rib_up(&self, at: Timestamp) -> Bytes {
        let families = Family::ALL.into_iter().map(Capability::family);
        let reading = [
            Capability::FourOctetAs(self.asn),
            Capability::ExtendedNextHop(vec![(IPV4, UNICAST, IPV6)]),
            Capability::ExtendedMessage,
        ];
        let open = Open {
            asn: self.asn.as_two_octets().unwrap_or(AS_TRANS),
            hold_time: 0,
            router_id: self.router_id,
            capabilities: families.chain(reading).collect(),
        };
        let open = open.encode();
        message(Kind::PeerUp, |out| {
            self.put_header(View::LocRib, at, out);
            put_address(None, out);
            out.put_u32(0);
            out.put_slice(&open);
            out.put_slice(&open);
            put_text(TABLE_NAME, GLOBAL_TABLE, out);
        })
    }

    /// A session ended, and with it all routes that the station knows of it.
    #[must_use]
    pub fn down(&self, why: &PeerDown, at: Timestamp) -> Bytes {
        message(Kind::PeerDown, |out| {
            self.put_header(self.own_view(), at, out);
            match why {
                PeerDown::Told(notification) => {
                    out.put_u8(1);
                    out.put_slice(&notification.encode());
                }
                PeerDown::Silent(event) => {
                    out.put_u8(2);
                    out.put_u16(*event);
                }
                PeerDown::Heard(notification) => {
                    out.put_u8(3);
                    out.put_slice(&notification.encode());
                }
                PeerDown::Lost => out.put_u8(4),
            }
        })
    }

    /// Routes of a view: a whole UPDATE (RFC 7854 §4.6). `at` is when they were learned.
    #[must_use]
    pub fn routes(&self, view: View, update: &[u8], at: Timestamp) -> Bytes {
        message(Kind::RouteMonitoring, |out| {
            self.put_header(view, at, out);
            out.put_slice(update);
        })
    }

    /// Counts of a peer, or of the Loc-RIB (RFC 7854 §4.8).
    #[must_use]
    pub fn statistics(&self, statistics: &[Statistic], at: Timestamp) -> Bytes {
        message(Kind::StatisticsReport, |out| {
            self.put_header(self.own_view(), at, out);
            out.put_u32(u32::try_from(statistics.len()).expect("there are some twenty kinds"));
            statistics.iter().for_each(|statistic| statistic.put(out));
        })
    }

    /// The view of what is not about routes: the flags then say nothing (RFC 8671 §5).
    const fn own_view(&self) -> View {
        if self.address.is_some() { View::PrePolicy } else { View::LocRib }
    }

    fn put_header(&self, view: View, at: Timestamp, out: &mut BytesMut) {
        let ipv6 =
            if self.address.is_some_and(|address| address.is_ipv6()) { FLAG_IPV6 } else { 0 };
        let (kind, flags) = match view {
            View::PrePolicy => (GLOBAL_INSTANCE, ipv6),
            View::PostPolicy => (GLOBAL_INSTANCE, ipv6 | FLAG_POST_POLICY),
            View::LocRib => (LOC_RIB_INSTANCE, 0),
            View::AdjRibOutPrePolicy => (GLOBAL_INSTANCE, ipv6 | FLAG_ADJ_RIB_OUT),
            View::AdjRibOut => (GLOBAL_INSTANCE, ipv6 | FLAG_POST_POLICY | FLAG_ADJ_RIB_OUT),
        };
        out.put_slice(&[kind, flags]);
        out.put_u64(0);
        put_address(self.address, out);
        out.put_u32(self.asn.0);
        out.put_u32(self.router_id.to_bits());
        out.put_u32(at.seconds());
        out.put_u32(at.micros());
    }
}

/// Of the causes for which a session can end; for others event 0, "none of these".
impl From<&Cause> for PeerDown {
    fn from(cause: &Cause) -> Self {
        match cause {
            Cause::Sent(notification) => Self::Told(notification.clone()),
            Cause::Received(notification) => Self::Heard(notification.clone()),
            // Its octets are not kept, so it cannot be shown.
            Cause::ReceivedMalformed(_) => Self::Silent(EVENT_NOTIFICATION),
            Cause::Closed => Self::Lost,
            Cause::PeerRestarted => Self::Silent(EVENT_TCP_CONFIRMED),
            Cause::Stopped => Self::Silent(EVENT_MANUAL_STOP),
            Cause::SendHoldExpired => Self::Silent(EVENT_SEND_HOLD_EXPIRED),
            Cause::Started | Cause::RetryDue | Cause::Handshake | Cause::ConnectFailed => {
                Self::Silent(0)
            }
        }
    }
}

/// 16 octets; an IPv4 address stands in the last four (RFC 7854 §4.2).
fn put_address(address: Option<IpAddr>, out: &mut BytesMut) {
    match address {
        None => out.put_bytes(0, 16),
        Some(IpAddr::V4(address)) => {
            out.put_bytes(0, 12);
            out.put_slice(&address.octets());
        }
        Some(IpAddr::V6(address)) => out.put_slice(&address.octets()),
    }
}

/// Peer types (RFC 7854 §4.2, RFC 9069 §4.1).
const GLOBAL_INSTANCE: u8 = 0;
const LOC_RIB_INSTANCE: u8 = 3;
/// Flag V (RFC 7854 §4.2).
const FLAG_IPV6: u8 = 0x80;
/// Flag L (RFC 7854 §4.2).
const FLAG_POST_POLICY: u8 = 0x40;
/// Flag O (RFC 8671 §4).
const FLAG_ADJ_RIB_OUT: u8 = 0x10;
/// AFIs and SAFI of an IPv6 next hop of IPv4 prefixes (RFC 8950 §4).
const IPV4: u16 = 1;
const IPV6: u16 = 2;
const UNICAST: u16 = 1;
/// VRF/Table Name (RFC 9069 §5.2.1).
const TABLE_NAME: u16 = 3;
/// Its value for the one table there is.
const GLOBAL_TABLE: &str = "global";
/// Events of RFC 4271 §8.1 and RFC 9687.
const EVENT_MANUAL_STOP: u16 = 2;
const EVENT_TCP_CONFIRMED: u16 = 17;
const EVENT_NOTIFICATION: u16 = 25;
const EVENT_SEND_HOLD_EXPIRED: u16 = 29;
/// [`Asn::TRANS`] as it stands in the two-octet field (RFC 6793 §9).
const AS_TRANS: u16 = 23456;
