//! What goes into a session and what comes out of it.
//!
//! Plain values without behaviour: they name things for the owner of the sockets and of the
//! RIB, and never hold a socket or a time.

use bytes::Bytes;

use crate::{
    family::Family,
    session::{Cease, Established, StateChange},
    wire::Update,
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
    /// Send octets after those already given.
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
    Down,
    /// The peer's routes changed, or an UPDATE had contained faults worth counting.
    Update(Update),
    /// The peer asks for all our routes of a family again (RFC 2918).
    Refresh(Family),
}
