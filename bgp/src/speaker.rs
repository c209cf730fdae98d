//! One router's BGP as one value: the sessions with its peers and the RIB between them.
//!
//! In: what happens to the sessions, prefixes to originate, answers about next hops, the time.
//! Out: connections to open and close, octets to send, and changes of the best paths. For
//! simulation and for programs that embed a speaker; a daemon that spreads its sessions over
//! tasks uses [`Session`] and [`Rib`] by themselves in the same way.
//!
//! Reads no clock and owns no socket. The caller drains [`Speaker::poll_output`] after every
//! [`Speaker::handle`], and calls it with [`Event::Timeout`] when [`Speaker::poll_timeout`] is
//! due.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::IpAddr,
    num::NonZeroU32,
    sync::Arc,
    time::Instant,
};

use bytes::Bytes;

use crate::{
    attrs::{Attrs, NextHop},
    config::{RibPeerConfig, SessionConfig},
    family::{Family, FamilySet},
    prefix::Prefix,
    rib::{
        Advertisement, BestChange, LimitEvent, LimitKind, News, NextHopInterest, Opening, PeerId,
        PeerUp, Resolution, Rib, RibConfig,
    },
    session::{Cause, Cease, ConnId, Established, Input, Output, Session, StateChange},
    timestamp::Timestamp,
    wire::{Codec, Refresh, Update},
};

/// What a speaker needs to know of one peer.
#[derive(Clone, Debug)]
pub struct PeerSettings {
    /// The peer's address.
    pub address: IpAddr,
    /// Our interface to it by its index, if it is on the link; see [`PeerUp::link`].
    pub link: Option<NonZeroU32>,
    /// Its session.
    pub session: SessionConfig,
    /// How its routes are treated.
    pub rib: RibPeerConfig,
}

/// Something that happened to the speaker.
#[derive(Clone, Debug)]
pub enum Event {
    /// To the session with this peer. Ignored if there is no such peer.
    Session(PeerId, Input),
    /// This router originates the prefix.
    Originate(Prefix, Arc<Attrs>),
    /// It no longer does.
    Withdraw(Prefix),
    /// The peer is asked for all its routes of a family again, if it can be (RFC 2918).
    Refresh(PeerId, Family),
    /// The answer to [`Action::NextHop`], and again whenever it changes.
    Resolved(NextHop, Resolution),
    /// Time has passed; a deadline of some session may be due.
    Timeout,
}

/// Something the owner of the sockets and of the routes must do, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// As [`Output::Connect`].
    Connect(PeerId, ConnId),
    /// As [`Output::Send`].
    Send(PeerId, ConnId, Bytes),
    /// As [`Output::Close`].
    Close(PeerId, ConnId),
    /// As [`Output::Abort`].
    Abort(PeerId, ConnId),
    /// The state of a session changed.
    State(PeerId, StateChange),
    /// The Loc-RIB changed.
    Best(BestChange),
    /// A next hop begins or ceases to matter.
    NextHop(NextHopInterest),
    /// A peer's routes come near a limit or reach it. If that ends its session, it is done.
    Limit(LimitEvent),
}

/// The sessions and the RIB of one router.
#[derive(Debug)]
pub struct Speaker {
    peers: BTreeMap<PeerId, Peer>,
    rib: Rib,
    /// The next deadline of each session that has one.
    deadlines: BTreeSet<(Instant, PeerId)>,
    /// Peers that the RIB has something for and whose backlog may have room.
    owed: BTreeSet<PeerId>,
    actions: VecDeque<Action>,
}

#[derive(Debug)]
struct Peer {
    settings: PeerSettings,
    session: Session,
    /// As it stands in the speaker's list.
    deadline: Option<Instant>,
    /// Octets of UPDATEs given to the established connection and not known to be taken.
    backlog: usize,
}

impl Speaker {
    /// A speaker without peers.
    #[must_use]
    pub fn new(config: RibConfig) -> Self {
        Self {
            peers: BTreeMap::new(),
            rib: Rib::new(config),
            deadlines: BTreeSet::new(),
            owed: BTreeSet::new(),
            actions: VecDeque::new(),
        }
    }

    /// Adds a peer whose session is to be started by [`Input::Start`]. A peer of the same number
    /// is removed first, as by [`Self::remove_peer`]. `seed` is as in [`Session::new`]. If its
    /// settings say that this router has restarted, learned routes are held back from all peers
    /// until its routes are there or the deferral time is over.
    pub fn add_peer(&mut self, id: PeerId, settings: PeerSettings, seed: u64, now: Instant) {
        self.remove_peer(id, now);
        let restart = settings.session.graceful_restart.as_ref();
        self.rib.defer_for(restart.and_then(|restart| restart.restarted).map(|_| id));
        let session = Session::new(settings.session.clone(), seed);
        self.peers.insert(id, Peer { settings, session, deadline: None, backlog: 0 });
    }

    /// Ends the session with a peer and forgets it.
    pub fn remove_peer(&mut self, id: PeerId, now: Instant) {
        self.handle(Event::Session(id, Input::Stop(Cease::Deconfigured)), now);
        self.peers.remove(&id);
        self.rib.stale_expired(id, FamilySet::ALL);
        self.rib.deferral_over(id);
        self.settle(now);
    }

    /// A number for a connection that the peer opened; `None` if there is no such peer.
    pub fn next_conn(&mut self, id: PeerId) -> Option<ConnId> {
        Some(self.peers.get_mut(&id)?.session.next_conn())
    }

    /// One thing happened. Drain [`Self::poll_output`] afterwards.
    pub fn handle(&mut self, event: Event, now: Instant) {
        match event {
            Event::Session(id, input) => self.give(id, input, now),
            Event::Originate(prefix, attrs) => self.rib.originate(prefix, attrs),
            Event::Withdraw(prefix) => self.rib.withdraw(prefix),
            Event::Refresh(id, family) => {
                if let Some(peer) = self.peers.get_mut(&id) {
                    peer.session.request_refresh(family, now);
                    self.drain(id);
                }
            }
            Event::Resolved(next_hop, resolution) => self.rib.set_next_hop(next_hop, resolution),
            Event::Timeout => self.timeout(now),
        }
        self.settle(now);
    }

    /// What to do next; `None` when all is done.
    pub fn poll_output(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When to call [`Self::handle`] with [`Event::Timeout`].
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// The session with a peer.
    #[must_use]
    pub fn session(&self, id: PeerId) -> Option<&Session> {
        self.peers.get(&id).map(|peer| &peer.session)
    }

    /// All peers with their sessions.
    pub fn sessions(&self) -> impl Iterator<Item = (PeerId, &Session)> {
        self.peers.iter().map(|(id, peer)| (*id, &peer.session))
    }

    /// The routes.
    #[must_use]
    pub const fn rib(&self) -> &Rib {
        &self.rib
    }

    fn give(&mut self, id: PeerId, input: Input, now: Instant) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if let Input::Sent { conn, pending } = input
            && peer.session.established().is_some_and(|(established, _)| established == conn)
        {
            peer.backlog = pending;
        }
        peer.session.handle(input, now);
        self.drain(id);
    }

    fn timeout(&mut self, now: Instant) {
        while let Some((_, id)) = self.deadlines.first().copied().filter(|(at, _)| *at <= now) {
            self.give(id, Input::Timeout, now);
        }
    }

    /// Carries the RIB's changes to the peers and to the caller.
    fn settle(&mut self, now: Instant) {
        while let Some(interest) = self.rib.poll_next_hop() {
            self.actions.push_back(Action::NextHop(interest));
        }
        while let Some(event) = self.rib.poll_limit() {
            self.actions.push_back(Action::Limit(event));
            self.enforce(event, now);
        }
        while let Some(change) = self.rib.poll_best() {
            self.actions.push_back(Action::Best(change));
        }
        let mut owed = self.owed.clone();
        loop {
            owed.extend(std::iter::from_fn(|| self.rib.poll_ready()));
            let Some(id) = owed.pop_first() else { return };
            self.owed.insert(id);
            self.advertise(id, now);
        }
    }

    /// Ends the session of a peer that has announced too much.
    fn enforce(&mut self, event: LimitEvent, now: Instant) {
        let LimitEvent { peer: id, family, max, kind } = event;
        match kind {
            LimitKind::Near | LimitKind::Over | LimitKind::Advertised => {}
            LimitKind::Stop => {
                let Some(peer) = self.peers.get(&id) else { return };
                let restart_after = peer.settings.rib.restart_after(family);
                let cease = Cease::MaxPrefixes { family, limit: max, restart_after };
                self.give(id, Input::Stop(cease), now);
            }
        }
    }

    /// Tells a peer what it is owed while its connection takes it. What must wait stays in the
    /// RIB, where only its newest state counts.
    fn advertise(&mut self, id: PeerId, now: Instant) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        while peer.backlog < HIGH_WATER {
            let Some((_, terms)) = peer.session.established() else { break };
            let codec = terms.codec;
            let news = self.rib.poll_news(id, BUDGET);
            if news.is_empty() {
                // If there is more, it is named again.
                break;
            }
            match news {
                News::Own(own) => {
                    for advertisement in &own {
                        peer.backlog += say(&mut peer.session, advertisement, &codec, now);
                    }
                }
                News::Shared { batch, to } => {
                    for (octets, updates) in batch.encode(to, &codec) {
                        peer.backlog += octets.len();
                        peer.session.send_updates(octets, updates, now);
                    }
                }
            }
        }
        if peer.backlog < HIGH_WATER {
            self.owed.remove(&id);
        }
        self.drain(id);
    }

    /// Takes a session's outputs: those about routes go to the RIB, the others to the caller.
    fn drain(&mut self, id: PeerId) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        while let Some(output) = peer.session.poll_output() {
            match output {
                Output::Connect(conn) => self.actions.push_back(Action::Connect(id, conn)),
                Output::Send(conn, octets) => {
                    self.actions.push_back(Action::Send(id, conn, octets));
                }
                Output::Close(conn) => self.actions.push_back(Action::Close(id, conn)),
                Output::Abort(conn) => self.actions.push_back(Action::Abort(id, conn)),
                Output::State(change) => self.actions.push_back(Action::State(id, change)),
                Output::Up(terms) => {
                    peer.backlog = 0;
                    self.rib.peer_up(id, peer_up(&peer.settings, &terms));
                }
                Output::Down { retain } => {
                    self.owed.remove(&id);
                    // Cause and time are for stations, which a speaker has none of.
                    self.rib.peer_down(id, retain, &Cause::Closed, Timestamp::UNKNOWN);
                }
                Output::StaleExpired(families) => self.rib.stale_expired(id, families),
                Output::LongLived(families) => self.rib.long_lived(id, families),
                Output::DeferralOver => self.rib.deferral_over(id),
                Output::RefreshBegin(family) => self.rib.refresh_begin(id, family),
                Output::RefreshEnd(family) => self.rib.refresh_end(id, family),
                Output::Heard(..) | Output::RefreshIgnored(_) => {}
                Output::Update(update) => self.rib.update(id, &update),
                Output::Refresh(family) => self.rib.refresh(id, family),
            }
        }
        self.set_deadline(id);
    }

    /// Puts the peer's next deadline into the list.
    fn set_deadline(&mut self, id: PeerId) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let deadline = peer.session.poll_timeout();
        if peer.deadline != deadline {
            self.deadlines.extend(deadline.map(|at| (at, id)));
            let old = std::mem::replace(&mut peer.deadline, deadline);
            if let Some(old) = old {
                self.deadlines.remove(&(old, id));
            }
        }
    }
}

fn peer_up(settings: &PeerSettings, terms: &Established) -> PeerUp {
    PeerUp {
        families: terms.families,
        local_asn: settings.session.local_asn,
        peer_asn: terms.peer_asn,
        router_id: terms.peer_router_id,
        address: settings.address,
        link: settings.link,
        extended_next_hop: terms.codec.extended_next_hop.contains(Family::Ipv4Unicast),
        options: terms.into(),
        config: settings.rib.clone(),
        opening: Opening::default(),
    }
}

/// Tells an advertisement to the peer, in so many octets of UPDATEs. Routes whose attributes fit in
/// no message are withdrawn: the peer must not go on with what they were before.
fn say(session: &mut Session, advertisement: &Advertisement, codec: &Codec, now: Instant) -> usize {
    let updates = match advertisement {
        Advertisement::Reach { attrs, prefixes } => Update::encode_reach(attrs, prefixes, codec)
            .unwrap_or_else(|_| Update::encode_withdraw(prefixes, codec)),
        Advertisement::Withdraw(prefixes) => Update::encode_withdraw(prefixes, codec),
        Advertisement::EndOfRib(family) => vec![Update::encode_end_of_rib(*family)],
        Advertisement::RefreshBegin(family) => {
            session.send_refresh_mark(Refresh::begin(*family), now);
            Vec::new()
        }
        Advertisement::RefreshEnd(family) => {
            session.send_refresh_mark(Refresh::end(*family), now);
            Vec::new()
        }
    };
    let octets = updates.iter().map(Bytes::len).sum();
    updates.into_iter().for_each(|update| session.send_update(update, now));
    octets
}

/// Octets given to a connection above which a peer is told no more until they are taken: a few
/// round trips' worth.
const HIGH_WATER: usize = 64 * 1024;

/// Prefixes pulled from the RIB at once.
const BUDGET: usize = 1024;
