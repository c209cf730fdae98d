//! What goes into a session and what comes out of it.
//!
//! Plain values without behaviour: they name things for the owner of the sockets and of the
//! RIB, and never hold a socket or a time.

use bytes::Bytes;

use crate::{
    family::{Family, FamilySet},
    session::{Cease, Established, IgnoredRefresh, StateChange},
    wire::{Codec, Update},
};

/// One TCP connection of a session, by a number that is never used twice in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub u64);

/// Something that happened to the session.
#[derive(Clone, Debug)]
pub enum Input {
    /// The operator wants the session (RFC 4271 §8.1.2, events 1 and 4). Ends an idle hold.
    Start,
    /// The operator wants it down (event 2); the reason goes to the peer as a Cease.
    Stop(Cease),
    /// The connection asked for by [`Output::Connect`] is there.
    Connected(ConnId),
    /// That connection could not be made.
    ConnectFailed(ConnId),
    /// The peer opened a connection; [`Session::next_conn`](super::Session::next_conn) gave it
    /// its number.
    Accepted(ConnId),
    /// Octets arrived. Any split of the stream gives the same result.
    Received(ConnId, Bytes),
    /// The connection ended (FIN, RST or error).
    Closed(ConnId),
    /// The socket took octets that were waiting: progress for the send hold timer (RFC 9687).
    /// Give it after every write that took at least one octet, or with 0 once all is taken.
    Sent {
        /// Which connection.
        conn: ConnId,
        /// Octets given by [`Output::Send`] on it that the socket has not taken yet.
        pending: usize,
    },
    /// Time has passed; a deadline may be due. Early calls are harmless.
    ///
    /// Give it last: octets that lie in the socket when a hold timer is due are given as
    /// [`Input::Received`] first, or a peer that did speak in time is dropped.
    Timeout,
}

/// Something the owner of the sockets and of the RIB must do, in this order.
///
/// Outputs about a connection that is already gone on the owner's side are ignored by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Open a connection to the peer.
    Connect(ConnId),
    /// Send octets, one or more whole messages, after those already given.
    Send(ConnId, Bytes),
    /// Close the connection (or give up opening it) once what was given before is sent, or
    /// soon if it cannot be sent: a second is plenty. No [`Input::Closed`] needs to follow.
    Close(ConnId),
    /// Close the connection at once and throw away what was not sent yet.
    /// No [`Input::Closed`] needs to follow.
    Abort(ConnId),
    /// The state shown to people changed.
    State(StateChange),
    /// Established: routes may flow.
    Up(Box<Established>),
    /// No longer established: the peer's routes are no longer its word.
    Down {
        /// Families whose routes are kept as stale, since the peer is expected back (RFC 4724
        /// §4.2), or since this speaker goes itself; the routes of all others are gone. So is by
        /// now what was stale before and is to go: a [`Self::StaleExpired`] came first.
        retain: FamilySet,
    },
    /// What is still stale of these families is gone: the peer did not come back in time, it came
    /// back without them, it took too long to announce them again, or the session is not wanted
    /// any more. Comes before [`Self::Up`] if the new session is the reason.
    ///
    /// Does not come for a family whose End-of-RIB arrives (see [`Update::end_of_rib`]), which
    /// ends the stale routes as well.
    StaleExpired(FamilySet),
    /// What is stale of these families is from now on kept as long-lived stale (RFC 9494 §4.2):
    /// marked with LLGR_STALE, last choice, and gone if it carries NO_LLGR.
    LongLived(FamilySet),
    /// We have restarted, and need not wait for this peer any more before routes are selected:
    /// it has sent its End-of-RIB for every family, it has no graceful restart or has restarted
    /// itself, or the deferral time is over (RFC 4724 §4.1). Once in the life of a session that
    /// was made with [`Restarted`](crate::config::Restarted) and never otherwise.
    DeferralOver,
    /// The peer said this on a connection: a whole message as it came, flaws included, and how it is
    /// read. Comes
    /// before what follows from it, and only if [`Session::record`](super::Session::record) asks
    /// for it.
    Heard(ConnId, Bytes, Codec),
    /// The peer's routes changed, or an UPDATE had contained faults worth counting.
    Update(Update),
    /// The peer asks for all our routes of a family again (RFC 2918).
    Refresh(Family),
    /// The peer begins to announce all its routes of a family again: what it has not announced
    /// at the end is gone (RFC 7313 §4).
    RefreshBegin(Family),
    /// It has announced all of them.
    RefreshEnd(Family),
    /// The peer sent a ROUTE-REFRESH that nothing follows from, to be logged as an error (RFC 7313
    /// §4, §5).
    RefreshIgnored(IgnoredRefresh),
}
