//! Why we end a session: what the peer is told, and whether routes are kept over it (RFC 4486,
//! RFC 9003, RFC 8538 §5, RFC 9384).

use std::time::Duration;

use bytes::Bytes;

use crate::{
    family::Family,
    session::{Cause, connection::Ending, restart::Loss},
    wire::{ErrorCode, Notification},
};

/// Why we end a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cease {
    /// Subcode 1: the peer has announced more prefixes of a family than it may.
    MaxPrefixes {
        /// Of which family.
        family: Family,
        /// How many it may.
        limit: u32,
        /// When the session is tried again; `None`: when somebody starts it.
        restart_after: Option<Duration>,
    },
    /// Subcode 2: down until further notice, with a text for the peer's operator (at most 255
    /// octets of UTF-8; longer texts are cut at a character border).
    AdminShutdown(String),
    /// Subcode 4: down and up again, with a text.
    AdminReset(String),
    /// Subcode 3: the peer no longer exists in our configuration.
    Deconfigured,
    /// Subcode 6: settings changed that need a new OPEN.
    ConfigChange,
    /// Subcode 8: out of resources.
    OutOfResources,
    /// Subcode 10: BFD says that the peer cannot be reached (RFC 9384).
    BfdDown {
        /// BFD says so of the forwarding plane, whatever becomes of the control plane: nobody
        /// keeps routes. If not, it may have gone with a control plane that restarts.
        hard: bool,
    },
    /// The link to the peer is gone: closed without a NOTIFICATION that nobody could receive.
    LinkDown,
    /// This speaker goes and will be back soon: closed without a NOTIFICATION, so that the peer
    /// keeps our routes if it does graceful restart (RFC 4724 §4). We give up none of the peer's
    /// either, with or without graceful restart, and nothing expires afterwards: what forwards by
    /// them outlasts us.
    GracefulStop,
}

impl Cease {
    /// What the peer is told; `None` if nothing.
    #[must_use]
    pub fn notification(&self) -> Option<Notification> {
        match self {
            Self::MaxPrefixes { family, limit, .. } => {
                Some(Notification::max_prefixes(*family, *limit))
            }
            Self::AdminShutdown(text) => Some(Notification::admin_shutdown(text)),
            Self::AdminReset(text) => Some(Notification::admin_reset(text)),
            Self::Deconfigured => Some(bare(ErrorCode::PEER_DECONFIGURED)),
            Self::ConfigChange => Some(bare(ErrorCode::CONFIG_CHANGE)),
            Self::OutOfResources => Some(bare(ErrorCode::OUT_OF_RESOURCES)),
            Self::BfdDown { .. } => Some(bare(ErrorCode::BFD_DOWN)),
            Self::LinkDown | Self::GracefulStop => None,
        }
    }

    /// How an established session is lost by it. `agreed`: both sides keep routes over a
    /// NOTIFICATION (RFC 8538 §2).
    ///
    /// RFC 8538 §5.1 leaves open which reasons are hard. Those by which the peer must not count on
    /// us any more are; those after which we go on are not.
    pub(super) const fn loss(&self, agreed: bool) -> Loss {
        match self {
            Self::MaxPrefixes { .. }
            | Self::AdminShutdown(_)
            | Self::Deconfigured
            | Self::OutOfResources
            | Self::BfdDown { hard: true } => Loss::Hard,
            Self::BfdDown { hard: false } if !agreed => Loss::Silent,
            Self::AdminReset(_) | Self::ConfigChange | Self::BfdDown { hard: false } => {
                Loss::Notified
            }
            Self::LinkDown => Loss::Cut,
            Self::GracefulStop => Loss::Leaving,
        }
    }

    /// False for a reason after which the session is to go on as soon as it can.
    pub(super) const fn is_final(&self) -> bool {
        matches!(self.loss(true), Loss::Hard | Loss::Leaving)
    }

    /// How a connection ends by it; `agreed` as above, and false for one that is not established.
    pub(super) fn ending(&self, agreed: bool) -> Ending {
        match (self.notification(), self.loss(agreed)) {
            (Some(notification), Loss::Hard) if agreed => Ending::Tell(notification.hard_reset()),
            (Some(notification), Loss::Hard | Loss::Notified | Loss::Collision | Loss::Leaving) => {
                Ending::Tell(notification)
            }
            (Some(_) | None, Loss::Silent | Loss::Cut) => Ending::Abort(Cause::Stopped),
            (None, Loss::Hard | Loss::Notified | Loss::Collision | Loss::Leaving) => {
                Ending::Quietly(Cause::Stopped)
            }
        }
    }

    /// What the peer is told if it connects afterwards: the same reason again if it says what to do,
    /// so that its operator still finds it, else just that it is rejected (RFC 4486 §4). Nothing if
    /// we expect to be back before long: the peer had better try again than rest.
    pub(super) fn refusal(&self) -> Option<Notification> {
        match self {
            Self::MaxPrefixes { .. } | Self::AdminShutdown(_) => self.notification(),
            Self::AdminReset(_)
            | Self::Deconfigured
            | Self::ConfigChange
            | Self::OutOfResources => Some(connection_rejected()),
            Self::BfdDown { .. } | Self::LinkDown | Self::GracefulStop => None,
        }
    }
}

/// To a peer that connects and has no business to (RFC 4486 §4).
pub(super) fn connection_rejected() -> Notification {
    bare(ErrorCode::CONNECTION_REJECTED)
}

/// To the connection that loses a collision (RFC 4271 §6.8).
pub(super) fn collision_resolution() -> Notification {
    bare(ErrorCode::COLLISION)
}

/// True for a Cease by which the peer takes its leave on purpose, so that it will be back as
/// soon as its operator wants; false for one that says we are a burden (too many prefixes, out
/// of resources), and for every other code.
pub(super) fn is_farewell(notification: &Notification) -> bool {
    let reason = notification.wrapped().unwrap_or_else(|| notification.clone()).error();
    let burden = [ErrorCode::MAX_PREFIXES, ErrorCode::OUT_OF_RESOURCES];
    reason.code == ErrorCode::CEASE.code && !burden.contains(&reason)
}

fn bare(error: ErrorCode) -> Notification {
    Notification::new(error, Bytes::new())
}
