//! Why we end a session, as the peer is told: subcodes of Cease (RFC 4486, RFC 9003).

use bytes::Bytes;

use crate::wire::{ErrorCode, Notification};

/// Why we end a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cease {
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
    /// The link to the peer is gone: closed without a NOTIFICATION that nobody could receive.
    LinkDown,
}

impl Cease {
    /// What the peer is told; `None` if it cannot be told anything.
    #[must_use]
    pub fn notification(&self) -> Option<Notification> {
        match self {
            Self::AdminShutdown(text) => Some(Notification::admin_shutdown(text)),
            Self::AdminReset(text) => Some(Notification::admin_reset(text)),
            Self::Deconfigured => Some(bare(ErrorCode::PEER_DECONFIGURED)),
            Self::ConfigChange => Some(bare(ErrorCode::CONFIG_CHANGE)),
            Self::OutOfResources => Some(bare(ErrorCode::OUT_OF_RESOURCES)),
            Self::LinkDown => None,
        }
    }

    /// What the peer is told if it connects afterwards: the same text again if there is one, so
    /// that its operator still finds it, else just that it is rejected (RFC 4486 §4).
    pub(super) fn refusal(&self) -> Notification {
        match self {
            Self::AdminShutdown(text) => Notification::admin_shutdown(text),
            Self::AdminReset(_)
            | Self::Deconfigured
            | Self::ConfigChange
            | Self::OutOfResources
            | Self::LinkDown => connection_rejected(),
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
