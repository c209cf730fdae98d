//! Enhanced route refresh as its receiver: the peer marks where it begins to announce all routes
//! of a family again, and where it has done so (RFC 7313 §4).
//!
//! In: the peer's marks, and the deadline for the second. Out: what the RIB must do about it.
//! Holds no route.

use std::time::{Duration, Instant};

use crate::{
    family::{Family, FamilySet},
    session::{
        Output,
        timers::{Timer, Timers},
    },
};

/// Families between both marks.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Refreshing(FamilySet);

impl Refreshing {
    /// The peer begins; perhaps once more, before it has come to the end.
    pub(super) fn begin(&mut self, family: Family, timers: &mut Timers, now: Instant) -> Output {
        self.0.insert(family);
        timers.set(Timer::Refresh(family), now + LONGEST_REFRESH);
        Output::RefreshBegin(family)
    }

    /// The peer has announced everything, or had the time to. An end without a beginning means
    /// nothing.
    pub(super) fn end(&mut self, family: Family, timers: &mut Timers) -> Option<Output> {
        timers.stop(Timer::Refresh(family));
        let begun = self.0.contains(family);
        self.0.remove(family);
        begun.then_some(Output::RefreshEnd(family))
    }

    /// The peer says that it has: it should have begun.
    pub(super) fn ended(&mut self, family: Family, timers: &mut Timers) -> Output {
        let without_begin = Output::RefreshIgnored(IgnoredRefresh::WithoutBegin(family));
        self.end(family, timers).unwrap_or(without_begin)
    }

    /// The session is lost.
    pub(super) fn clear(&mut self, timers: &mut Timers) {
        for family in self.0.iter() {
            timers.stop(Timer::Refresh(family));
        }
        self.0 = FamilySet::NONE;
    }
}

/// A ROUTE-REFRESH that has no effect, although it should have meant something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IgnoredRefresh {
    /// RFC 7313 §5.
    #[error("subtype {subtype} is unknown (AFI {afi}, SAFI {safi})")]
    UnknownSubtype {
        /// Address family.
        afi: u16,
        /// Message subtype, above 2.
        subtype: u8,
        /// Subsequent address family.
        safi: u8,
    },
    /// RFC 7313 §4: the peer has graceful restart.
    #[error("a refresh of {0} begins before End-of-RIB")]
    BeforeEndOfRib(Family),
    /// RFC 7313 §4.
    #[error("a refresh of {0} ends that has not begun")]
    WithoutBegin(Family),
}

/// How long a peer may take from one mark to the other. The same as for the first transfer after a
/// restart unless configured otherwise: it is the same work.
const LONGEST_REFRESH: Duration = Duration::from_secs(360);
