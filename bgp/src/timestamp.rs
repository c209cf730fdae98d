//! Moments of the wall clock, as BMP and MRT write them.
//!
//! The rest of the package measures time by `Instant`; what is recorded for others needs a date.

use std::time::{Duration, SystemTime};

/// Seconds and microseconds since 1970-01-01 00:00 UTC.
///
/// The default, zero, means "not known" to BMP (RFC 7854 §4.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    seconds: u32,
    micros: u32,
}

impl Timestamp {
    /// Not known.
    pub const UNKNOWN: Self = Self { seconds: 0, micros: 0 };

    /// A whole second.
    #[must_use]
    pub const fn from_seconds(seconds: u32) -> Self {
        Self { seconds, micros: 0 }
    }

    /// Seconds since 1970-01-01 00:00 UTC.
    #[must_use]
    pub const fn seconds(self) -> u32 {
        self.seconds
    }

    /// Microseconds of the second, below 1,000,000.
    #[must_use]
    pub const fn micros(self) -> u32 {
        self.micros
    }
}

/// A clock before 1970 gives [`Timestamp::UNKNOWN`]; one after 2106, when the 32 bits of both
/// protocols are used up, their last second.
impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Self {
            seconds: u32::try_from(since.as_secs()).unwrap_or(u32::MAX),
            micros: since.subsec_micros(),
        }
    }
}

impl From<Timestamp> for SystemTime {
    fn from(time: Timestamp) -> Self {
        let since = Duration::new(time.seconds.into(), time.micros * 1000);
        Self::UNIX_EPOCH + since
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_keep_their_microseconds() {
        let time = SystemTime::UNIX_EPOCH + Duration::new(1_795_000_000, 123_456_789);
        let stamp = Timestamp::from(time);
        assert_eq!((stamp.seconds(), stamp.micros()), (1_795_000_000, 123_456));
        assert_eq!(Timestamp::from(SystemTime::from(stamp)), stamp);
    }

    #[test]
    fn clocks_out_of_range_do_not_wrap() {
        let before = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
        assert_eq!(Timestamp::from(before), Timestamp::UNKNOWN);
        let after = SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 33);
        assert_eq!(Timestamp::from(after).seconds(), u32::MAX);
    }
}
