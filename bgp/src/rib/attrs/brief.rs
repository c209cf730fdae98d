//! What the decision asks of a set of attributes, beside the set: its octets are mostly far away.
//!
//! In: merits. Out: the same, from 16 octets; or nothing of those that do not fit.

use crate::{aspath::Asn, attrs::Origin, rib::decide::Merits};

/// Merits of a set, if they fit. Nearly all do: a weight, an ORIGINATOR_ID or a CLUSTER_LIST does not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Brief {
    local_pref: u32,
    med: u32,
    neighbour: u32,
    hops: u16,
    marks: u16,
}

/// Bits of [`Brief::marks`]; the lowest two are ORIGIN.
mod mark {
    pub(super) const ORIGIN: u16 = 0b11;
    pub(super) const FITS: u16 = 1 << 2;
    pub(super) const LONG_LIVED: u16 = 1 << 3;
    pub(super) const LOCAL_PREF: u16 = 1 << 4;
    pub(super) const MED: u16 = 1 << 5;
    pub(super) const NEIGHBOUR: u16 = 1 << 6;
}

impl Brief {
    /// Of these.
    pub(super) fn of(merits: &Merits) -> Self {
        let Merits {
            long_lived,
            weight,
            local_pref,
            hops,
            origin,
            neighbour,
            med,
            originator_id,
            clusters,
        } = *merits;
        let Ok(hops) = u16::try_from(hops) else { return Self::default() };
        if weight != 0 || originator_id.is_some() || clusters != 0 {
            return Self::default();
        }
        let marks = [
            (mark::FITS, true),
            (mark::LONG_LIVED, long_lived),
            (mark::LOCAL_PREF, local_pref.is_some()),
            (mark::MED, med.is_some()),
            (mark::NEIGHBOUR, neighbour.is_some()),
        ];
        let marks = marks.into_iter().filter(|(_, there)| *there);
        Self {
            local_pref: local_pref.unwrap_or(0),
            med: med.unwrap_or(0),
            neighbour: neighbour.map_or(0, |Asn(asn)| asn),
            hops,
            marks: marks.fold(origin as u16, |marks, (mark, _)| marks | mark),
        }
    }

    /// What it was made of; `None` if that did not fit.
    pub(super) fn merits(self) -> Option<Merits> {
        let has = |mark| self.marks & mark != 0;
        has(mark::FITS).then(|| Merits {
            long_lived: has(mark::LONG_LIVED),
            weight: 0,
            local_pref: has(mark::LOCAL_PREF).then_some(self.local_pref),
            hops: self.hops.into(),
            origin: match self.marks & mark::ORIGIN {
                0 => Origin::Igp,
                1 => Origin::Egp,
                _ => Origin::Incomplete,
            },
            neighbour: has(mark::NEIGHBOUR).then_some(Asn(self.neighbour)),
            med: has(mark::MED).then_some(self.med),
            originator_id: None,
            clusters: 0,
        })
    }
}
