//! The routers on a link, and which of them is the peer.
//!
//! In: advertisements, how the session with the peer stands, the time. Out: the peer's address, or
//! why there is none; whether routers must be asked for a sign of life.
//!
//! A link of a fabric has one router at its other end. If there are several, this holds:
//!
//! * The peer stays the peer while it lives. With a session it lives as long as that does, unless it
//!   takes its leave by an advertisement with lifetime 0. Without one, it lives for the lifetime
//!   that it advertised last.
//! * A router that is new on the link while there is a session may be the peer under a new address.
//!   So the peer is asked for a sign of life, and given up if neither it nor the session shows one.
//!   The same is asked when the session ends while there are others.
//! * Without a session, the routers take turns, in the order of their addresses.

use std::{
    collections::BTreeMap,
    net::Ipv6Addr,
    time::{Duration, Instant},
};

use super::{Absence, Note, Session};

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Routers {
    heard: BTreeMap<Ipv6Addr, Heard>,
    peer: Result<Peer, Absence>,
    notes: Vec<Note>,
    wants_sign: bool,
}

#[derive(Clone, Copy, Debug)]
struct Heard {
    at: Instant,
    lifetime: Duration,
}

impl Heard {
    fn expires(&self) -> Instant {
        self.at + self.lifetime
    }
}

#[derive(Clone, Copy, Debug)]
struct Peer {
    addr: Ipv6Addr,
    /// How its session stands, as told last.
    session: Session,
    /// When another one gets its turn, if there is no session.
    turn_ends: Instant,
    doubt: Option<Doubt>,
    /// People know that it is not alone.
    told: bool,
}

/// Does the peer still live?
#[derive(Clone, Copy, Debug)]
struct Doubt {
    since: Instant,
    /// Messages on the session until then.
    messages: u64,
}

impl Routers {
    pub(super) const fn new(absence: Absence) -> Self {
        Self { heard: BTreeMap::new(), peer: Err(absence), notes: Vec::new(), wants_sign: false }
    }

    /// The peer's address, or why there is none.
    pub(super) fn peer(&self) -> Result<Ipv6Addr, Absence> {
        self.peer.map(|peer| peer.addr)
    }

    /// Whether a router shall be asked for a sign of life; asked for once.
    pub(super) fn take_wants_sign(&mut self) -> bool {
        std::mem::take(&mut self.wants_sign)
    }

    /// True if no sign of life is being waited for.
    pub(super) fn is_content(&self) -> bool {
        self.peer.is_ok_and(|peer| peer.doubt.is_none())
    }

    /// What people shall be told.
    pub(super) fn take_notes(&mut self) -> Vec<Note> {
        std::mem::take(&mut self.notes)
    }

    /// A router advertised itself.
    pub(super) fn advertised(&mut self, source: Ipv6Addr, lifetime: Duration, now: Instant) {
        if lifetime.is_zero() {
            self.heard.remove(&source);
            match self.peer {
                Ok(peer) if peer.addr == source => self.lose(Absence::Left(source), now),
                // It has never been one, says so, and there is no better reason.
                Err(Absence::Silence) => self.peer = Err(Absence::Left(source)),
                Ok(_) | Err(_) => {}
            }
            return;
        }
        let is_new = !self.heard.contains_key(&source);
        if is_new && self.heard.len() >= MOST_ROUTERS {
            return;
        }
        self.heard.insert(source, Heard { at: now, lifetime });
        match &mut self.peer {
            Err(_) => self.choose(source, now),
            Ok(peer) if peer.addr == source => peer.doubt = None,
            Ok(peer) if is_new => {
                if !std::mem::replace(&mut peer.told, true) {
                    self.notes.push(Note::Several { peer: peer.addr, other: source });
                }
                self.doubt(now);
            }
            Ok(_) => {}
        }
    }

    /// How the session with the peer stands.
    pub(super) fn session(&mut self, session: Session, now: Instant) {
        let Ok(peer) = &mut self.peer else { return };
        let before = std::mem::replace(&mut peer.session, session);
        if before.established && !session.established {
            peer.turn_ends = now + TURN;
            if self.heard.len() > 1 {
                self.doubt(now);
            }
        }
    }

    /// Gives up what has expired.
    pub(super) fn timeout(&mut self, now: Instant) {
        let peer = self.peer.ok();
        let stays = |addr| peer.is_some_and(|peer| peer.addr == addr && peer.session.established);
        self.heard.retain(|addr, heard| heard.expires() > now || stays(*addr));
        let Some(peer) = peer else { return };
        if !self.heard.contains_key(&peer.addr) {
            self.lose(Absence::Expired(peer.addr), now);
        } else if peer.doubt.is_some_and(|doubt| doubt.since + SIGN_OF_LIFE <= now) {
            self.end_doubt(peer, now);
        } else if !peer.session.established && self.heard.len() > 1 && peer.turn_ends <= now {
            self.next_turn(peer.addr, now);
        }
    }

    /// When [`Self::timeout`] has something to do.
    pub(super) fn next(&self) -> Option<Instant> {
        let peer = self.peer.ok();
        let stays = |addr| peer.is_some_and(|peer| peer.addr == addr && peer.session.established);
        let mortal = self.heard.iter().filter(|(addr, _)| !stays(**addr));
        let expiry = mortal.map(|(_, heard)| heard.expires()).min();
        let doubt = peer.and_then(|peer| peer.doubt).map(|doubt| doubt.since + SIGN_OF_LIFE);
        let turn = peer.filter(|peer| !peer.session.established && self.heard.len() > 1);
        [expiry, doubt, turn.map(|peer| peer.turn_ends)].into_iter().flatten().min()
    }

    fn doubt(&mut self, now: Instant) {
        if let Ok(peer) = &mut self.peer
            && peer.doubt.is_none()
        {
            peer.doubt = Some(Doubt { since: now, messages: peer.session.messages });
            self.wants_sign = true;
        }
    }

    /// The time for a sign of life is over, and no advertisement came.
    fn end_doubt(&mut self, peer: Peer, now: Instant) {
        let spoke =
            |doubt: Doubt| peer.session.established && peer.session.messages > doubt.messages;
        if peer.doubt.is_some_and(spoke) {
            self.peer = Ok(Peer { doubt: None, ..peer });
        } else {
            self.heard.remove(&peer.addr);
            self.lose(Absence::Expired(peer.addr), now);
        }
    }

    /// The peer is gone: another router takes its place, if there is one.
    fn lose(&mut self, absence: Absence, now: Instant) {
        let Ok(gone) = self.peer() else { return };
        self.peer = Err(absence);
        self.next_turn(gone, now);
        match self.peer() {
            Ok(new) => self.notes.push(Note::Moved { from: gone, to: new }),
            Err(_) => self.wants_sign = true,
        }
    }

    /// The turn of the router after this one.
    fn next_turn(&mut self, last: Ipv6Addr, now: Instant) {
        let after = self.heard.keys().find(|addr| **addr > last);
        if let Some(next) = after.or_else(|| self.heard.keys().next()).copied() {
            self.choose(next, now);
        }
    }

    fn choose(&mut self, addr: Ipv6Addr, now: Instant) {
        let session = Session::default();
        self.peer = Ok(Peer { addr, session, turn_ends: now + TURN, doubt: None, told: false });
    }
}

/// How long a router without a session stays the peer while there are others: some attempts to
/// connect, with the rest between them.
pub(super) const TURN: Duration = Duration::from_secs(30);
/// How long to wait for a sign of life: two solicitations with the time that a router has to answer,
/// which is 3.5 s at most (RFC 4861 §6.2.6).
pub(super) const SIGN_OF_LIFE: Duration = Duration::from_secs(8);
/// Routers remembered on a link: two are a fault already, and the rest must not cost memory.
pub(super) const MOST_ROUTERS: usize = 16;
