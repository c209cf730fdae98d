//! Connection collision: which of two connections to one peer is kept (RFC 4271 §6.8).
//!
//! In: who opened the connection on which an OPEN has just arrived, how far its rival is, and
//! both speakers' identities. Out: which one goes. Keeps no state. Both speakers come to the
//! same answer from their own ends.

use std::net::Ipv4Addr;

use crate::aspath::Asn;

/// Who opened a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opener {
    /// We dialled.
    We,
    /// The peer dialled.
    Peer,
}

/// How far the other connection is when an OPEN arrives on this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rival {
    /// The peer's OPEN has not arrived there: it is looked at when it does.
    OpenSent,
    /// Both are as good.
    OpenConfirm,
    /// The session stands.
    Established,
}

/// What becomes of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Both go on for now.
    KeepBoth,
    /// The connection on which the OPEN arrived is closed.
    CloseNewcomer,
    /// The other one is closed.
    CloseRival,
}

/// Who a speaker is, in the order of precedence: the higher identifier, and if both are equal
/// the higher AS (RFC 6286 §2.3), keeps the connection that it opened. Identifiers compare as
/// unsigned numbers in host order, which is the order of [`Ipv4Addr`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Identity {
    pub(super) router_id: Ipv4Addr,
    pub(super) asn: Asn,
}

/// Decides when an OPEN has arrived and been found good.
pub(super) fn decide(newcomer: Opener, rival: Rival, ours: Identity, theirs: Identity) -> Verdict {
    match rival {
        Rival::OpenSent => Verdict::KeepBoth,
        Rival::Established => Verdict::CloseNewcomer,
        Rival::OpenConfirm => {
            let kept = if ours > theirs { Opener::We } else { Opener::Peer };
            if newcomer == kept { Verdict::CloseRival } else { Verdict::CloseNewcomer }
        }
    }
}
