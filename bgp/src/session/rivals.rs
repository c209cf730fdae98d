//! Several connections to one peer at a time: which one the session goes on with.
//!
//! In: connections that the peer opens, OPENs that arrive, the end of the established
//! connection. Out: the losers are parted with; the rules are in [`collision`].

use std::time::Instant;

use super::{
    Cause, ConnId, Established, Output, Session,
    backoff::Severity,
    collision::{self, Identity, Opener, Verdict},
    connection::Challenger,
};

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
        self.links.open(conn, Opener::Peer, &self.config, now);
        self.publish(Cause::Handshake, now);
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
        self.links.open(challenger.id, Opener::Peer, &self.config, now);
        Some(challenger)
    }
}
