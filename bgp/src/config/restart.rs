//! Settings of graceful restart: what we ask of a peer when we restart, and how long we put up
//! with one that does (RFC 4724, RFC 8538, RFC 9494).

use std::time::Duration;

use crate::family::{FamilySet, PerFamily};

/// Graceful restart on one session. A session with it is always a helper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GracefulRestart {
    /// How long the peer is to wait for us.
    pub restart_time: RestartTime,
    /// Families in which we keep forwarding while we restart; families that the session does not
    /// offer play no part. None: we only help the peer over its restarts.
    pub families: FamilySet,
    /// What holds from the beginning of a session's life if this process has taken over from an
    /// earlier one that did not say goodbye; `None` if it has not.
    pub restarted: Option<Restarted>,
    /// Also keep the routes over errors and hold timer expiry, not only over a lost connection,
    /// if the peer wants the same (RFC 8538).
    pub notification: bool,
    /// How long a peer that is back may take until its End-of-RIB before the routes that it has
    /// not announced again are given up.
    pub stale_path_time: Duration,
    /// Long-lived graceful restart, after the restart time (RFC 9494): the time that we ask for
    /// and the longest that we grant, wanted for each family by itself (§5). Zero: not offered.
    pub long_lived_time: PerFamily<StaleTime>,
}

/// A restart of ours as peers must hear of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restarted {
    /// Families whose forwarding state has survived.
    pub forwarding: FamilySet,
    /// How long route selection waits for the peer's End-of-RIB, from the start of the session on
    /// (RFC 4724 §4.1, Selection_Deferral_Timer).
    pub deferral: Duration,
}

/// 120 s to come back, both families, everything else on but long-lived stale routes.
impl Default for GracefulRestart {
    fn default() -> Self {
        Self {
            restart_time: RestartTime(120),
            families: FamilySet::ALL,
            restarted: None,
            notification: true,
            stale_path_time: Duration::from_secs(360),
            long_lived_time: PerFamily { ipv4: StaleTime::OFF, ipv6: StaleTime::OFF },
        }
    }
}

/// 0..=4095 seconds: the capability has twelve bits for it (RFC 4724 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RestartTime(u16);

impl RestartTime {
    /// Checks the range.
    ///
    /// # Errors
    ///
    /// [`BadRestartTime`] above 4095 s.
    pub const fn new(seconds: u16) -> Result<Self, BadRestartTime> {
        if seconds > 4095 { Err(BadRestartTime(seconds)) } else { Ok(Self(seconds)) }
    }

    /// In seconds.
    #[must_use]
    pub const fn seconds(self) -> u16 {
        self.0
    }
}

/// A restart time that the capability cannot say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("restart time of {0} s is not possible; use at most 4095 s (RFC 4724 §3)")]
pub struct BadRestartTime(pub u16);

/// 0 (off) to 16777215 seconds: the capability has 24 bits for it (RFC 9494 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StaleTime(u32);

impl StaleTime {
    /// No long-lived stale routes.
    pub const OFF: Self = Self(0);

    /// Checks the range.
    ///
    /// # Errors
    ///
    /// [`BadStaleTime`] above 16777215 s.
    pub const fn new(seconds: u32) -> Result<Self, BadStaleTime> {
        if seconds > 0x00FF_FFFF { Err(BadStaleTime(seconds)) } else { Ok(Self(seconds)) }
    }

    /// In seconds.
    #[must_use]
    pub const fn seconds(self) -> u32 {
        self.0
    }
}

/// A stale time that the capability cannot say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("long-lived stale time of {0} s is not possible; use at most 16777215 s (RFC 9494 §3.1)")]
pub struct BadStaleTime(pub u32);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_that_the_capabilities_cannot_say_are_refused() {
        assert_eq!(RestartTime::new(4095).map(RestartTime::seconds), Ok(4095));
        assert_eq!(RestartTime::new(4096), Err(BadRestartTime(4096)));
        assert_eq!(StaleTime::new(16_777_215).map(StaleTime::seconds), Ok(16_777_215));
        assert_eq!(StaleTime::new(16_777_216), Err(BadStaleTime(16_777_216)));
    }
}
