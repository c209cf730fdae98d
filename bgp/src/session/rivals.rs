//! Several connections to one peer at a time: which one the session goes on with.
//!
//! In: connections that the peer opens, OPENs that arrive, the end of the established
//! connection. Out: the losers are parted with; the rules are in [`collision`].

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{
    Cause, ConnId, Established, Output, Session,
    backoff::Severity,
    collision::{self, Identity, Opener, Verdict},
    connection::{Challenger, Ending},
    negotiate,
};
use crate::wire::{self, Codec, MAX_LEN, Message};

impl Session {
    /// The peer opened a connection. It opens one at a time, so an earlier one that is still in
    /// the handshake is dead to it.
    pub(super) fn accept(&mut self, conn: ConnId, now: Instant) {
        if let Some((established, _)) = self.established() {
            return self.links.challenge(established, conn, now);
        }
        if let Some(earlier) = self.links.opened_by(Opener::Peer) {
            self.links.lose(earlier);
        }
        self.open(conn, Opener::Peer, now);
        self.publish(Cause::Handshake, now);
    }

    /// Octets on a connection that the peer opened beside the established one.
    ///
    /// If the peer does graceful restart and they are an OPEN that we would accept, it has
    /// restarted: the old connection is dropped without a word (RFC 4724 §4.2, which makes an
    /// exception from RFC 4271 §6.8 here). RFC 4724 would have it as soon as the connection is
    /// there; but then anything on the peer's host could end the session by a TCP handshake.
    ///
    /// False, and nothing happens, if they came on another connection.
    pub(super) fn hear_challenger(&mut self, conn: ConnId, octets: &[u8], now: Instant) -> bool {
        let heard = self.links.hear_challenger(conn, octets);
        if heard
            && let Some(old) = self.outlived(now)
            && self.links.challenger().is_some_and(|challenger| self.is_welcome(challenger))
        {
            self.end(old, Ending::Abort(Cause::PeerRestarted), now);
        }
        heard
    }

    /// The established connection if another one of the peer means that it has restarted, and
    /// not just that both have dialled at once. It dials one connection at a time, so a second
    /// one of it never is a collision, and one beside ours only for a moment.
    fn outlived(&self, now: Instant) -> Option<ConnId> {
        let (old, terms) = self.established()?;
        terms.graceful_restart?;
        let since = self.since.filter(|_| self.links.opened_by(Opener::We) == Some(old));
        since.is_none_or(|since| now >= since + LATEST_COLLISION).then_some(old)
    }

    /// Has the challenger said an OPEN that fits our settings?
    fn is_welcome(&self, challenger: &Challenger) -> bool {
        let said = &challenger.said;
        let open = match wire::frame_len(said, MAX_LEN) {
            Ok(Some(len)) => said.get(..len),
            Ok(None) | Err(_) => None,
        };
        let open = open.map(|open| wire::decode(&Bytes::copy_from_slice(open), &Codec::PLAIN));
        matches!(open, Some(Ok(Message::Open(open))) if negotiate::agree(&self.config, &open).is_ok())
    }

    /// The peer's OPEN is good: look for a collision, then go to OpenConfirm.
    pub(super) fn agree(&mut self, conn: ConnId, terms: Box<Established>, now: Instant) {
        let ours = Identity { router_id: self.config.router_id, asn: self.config.local_asn };
        let theirs = Identity { router_id: terms.peer_router_id, asn: terms.peer_asn };
        let Some(newcomer) = self.links.get(conn) else { return };
        let verdict = self.links.rival_of(conn).map(|rival| {
            let verdict = collision::decide(newcomer.opener, rival.as_rival(), ours, theirs);
            (verdict, rival.id)
        });
        match verdict {
            Some((Verdict::CloseNewcomer, _)) => return self.links.lose(conn),
            Some((Verdict::CloseRival, rival)) => self.links.lose(rival),
            Some((Verdict::KeepBoth, _)) | None => {}
        }
        self.links.confirm(conn, terms, now);
        self.publish(Cause::Handshake, now);
    }

    /// The established connection is gone: its challenger takes its place if the peer was found
    /// dead, and not again and again, since that would get around the rest between failures.
    pub(super) fn succeed(&mut self, dead: bool, now: Instant) -> Option<Challenger> {
        let challenger = self.links.take_challenger()?;
        if !dead || !self.backoff.is_clear() {
            self.links.outputs.push_back(Output::Close(challenger.id));
            return None;
        }
        self.backoff.fail(Severity::Fault);
        if let Some(earlier) = self.links.opened_by(Opener::Peer) {
            self.links.lose(earlier);
        }
        self.open(challenger.id, Opener::Peer, now);
        Some(challenger)
    }
}

/// How long after the session was established a connection that the peer dialled before may still
/// come in: a few round trips around the world.
const LATEST_COLLISION: Duration = Duration::from_secs(1);
