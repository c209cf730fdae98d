//! The counts of a statistics report (RFC 7854 §4.8, RFC 8671 §6.2): those that this speaker
//! keeps.

use bytes::{BufMut, BytesMut};

use crate::family::Family;

/// One count. Counters have 32 bits on the wire and start again from 0 when those are used up;
/// gauges have 64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Statistic {
    /// Counter: prefixes that import policy rejected.
    Rejected(u64),
    /// Counter: prefixes announced with the attributes that they had.
    DuplicateAnnouncements(u64),
    /// Counter: prefixes withdrawn that were not there.
    DuplicateWithdrawals(u64),
    /// Counter: UPDATEs invalid for our cluster id in CLUSTER_LIST.
    ClusterLoops(u64),
    /// Counter: UPDATEs invalid for our AS in AS_PATH.
    AsLoops(u64),
    /// Counter: UPDATEs invalid for our identifier as ORIGINATOR_ID.
    OriginatorLoops(u64),
    /// Gauge: routes in the Adj-RIBs-In, before policy.
    AdjRibIn(u64),
    /// Gauge: routes in the Loc-RIB.
    LocRib(u64),
    /// Gauge: routes of a family in the Adj-RIB-In.
    FamilyAdjRibIn(Family, u64),
    /// Gauge: routes of a family in the Loc-RIB.
    FamilyLocRib(Family, u64),
    /// Counter: UPDATEs whose routes were treated as withdrawn (RFC 7606).
    TreatedAsWithdraw(u64),
    /// Gauge: routes in the Adj-RIB-Out, after policy.
    AdjRibOut(u64),
    /// Gauge: routes of a family in the Adj-RIB-Out, after policy.
    FamilyAdjRibOut(Family, u64),
}

impl Statistic {
    pub(super) fn put(self, out: &mut BytesMut) {
        match self {
            Self::Rejected(count) => put_counter(0, count, out),
            Self::DuplicateAnnouncements(count) => put_counter(1, count, out),
            Self::DuplicateWithdrawals(count) => put_counter(2, count, out),
            Self::ClusterLoops(count) => put_counter(3, count, out),
            Self::AsLoops(count) => put_counter(4, count, out),
            Self::OriginatorLoops(count) => put_counter(5, count, out),
            Self::AdjRibIn(count) => put_gauge(7, count, out),
            Self::LocRib(count) => put_gauge(8, count, out),
            Self::FamilyAdjRibIn(family, count) => put_family_gauge(9, family, count, out),
            Self::FamilyLocRib(family, count) => put_family_gauge(10, family, count, out),
            Self::TreatedAsWithdraw(count) => put_counter(11, count, out),
            Self::AdjRibOut(count) => put_gauge(15, count, out),
            Self::FamilyAdjRibOut(family, count) => put_family_gauge(17, family, count, out),
        }
    }
}

fn put_counter(kind: u16, count: u64, out: &mut BytesMut) {
    out.put_u16(kind);
    out.put_u16(4);
    out.put_slice(&count.to_be_bytes()[4..]);
}

fn put_gauge(kind: u16, count: u64, out: &mut BytesMut) {
    out.put_u16(kind);
    out.put_u16(8);
    out.put_u64(count);
}

fn put_family_gauge(kind: u16, family: Family, count: u64, out: &mut BytesMut) {
    out.put_u16(kind);
    out.put_u16(11);
    out.put_u16(family.afi());
    out.put_u8(family.safi());
    out.put_u64(count);
}
