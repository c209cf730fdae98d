//! A simulated world for speakers: routers, links with latency, TCP streams, and a clock that
//! jumps from event to event.
//!
//! In: routers and links, then time to pass and accidents: cut a link, stall a reader, kill a
//! process, turn a router off. Out: every router's [`Speaker`], its table of best paths, and the
//! log of its sessions. Thousands of simulated seconds take moments.
//!
//! The same seed gives the same run, to the last octet. Streams keep their own order; between
//! streams, latency is drawn anew for each piece, so connections overtake each other freely.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::Arc,
    time::{Duration, Instant},
};

use bgp::{
    attrs::{Attrs, NextHop},
    prefix::Prefix,
    rib::{BestPath, LimitEvent, PeerId, RibConfig},
    session::{ConnId, Input, Session, State, StateChange},
    speaker::{Action, Event, PeerSettings, Speaker},
};

mod dice;
mod pair;
mod scene;
mod stream;

pub use dice::Dice;
pub use pair::Pair;
pub use scene::{full_mesh, leaf_spine, peer_settings, reflectors, router_config, session_config};
use stream::{EndId, Item, Streams};

/// A router of the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouterId(pub usize);

/// A link between two routers, over which they have one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub usize);

/// The world.
#[derive(Debug)]
pub struct Net {
    now: Instant,
    dice: Dice,
    routers: Vec<Router>,
    links: Vec<Link>,
    streams: Streams,
    /// When routers want to be called, the next first.
    deadlines: BTreeSet<(Instant, usize)>,
    /// Octets that a socket takes without the peer reading them.
    pub socket_buffer: usize,
}

/// One router.
#[derive(Debug)]
pub struct Router {
    /// Who it is: settings outlive its process.
    pub config: RibConfig,
    speaker: Option<Speaker>,
    powered: bool,
    peers: BTreeMap<PeerId, Neighbor>,
    originated: BTreeMap<Prefix, Arc<Attrs>>,
    deadline: Option<Instant>,
    /// Best paths, as a kernel would have them from the speaker's changes.
    pub table: BTreeMap<Prefix, Vec<BestPath>>,
    /// Limits that its peers came to, oldest first.
    pub limits: Vec<(Instant, LimitEvent)>,
    /// Changes of its sessions, oldest first.
    pub log: Vec<(Instant, PeerId, StateChange)>,
}

#[derive(Clone, Debug)]
struct Neighbor {
    settings: PeerSettings,
    link: LinkId,
}

#[derive(Clone, Debug)]
struct Link {
    ends: [(RouterId, PeerId); 2],
    up: bool,
    latency: Range<Duration>,
    /// Ends whose reader takes nothing.
    stalled: [bool; 2],
}

impl Net {
    /// An empty world.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            now: Instant::now(),
            dice: Dice::new(seed),
            routers: Vec::new(),
            links: Vec::new(),
            streams: Streams::default(),
            deadlines: BTreeSet::new(),
            socket_buffer: 64 * 1024,
        }
    }

    /// Adds a router, which has an address of its own on every session: its identifier.
    pub fn add_router(&mut self, config: RibConfig) -> RouterId {
        self.routers.push(Router {
            speaker: Some(Speaker::new(config.clone())),
            config,
            powered: true,
            peers: BTreeMap::new(),
            originated: BTreeMap::new(),
            deadline: None,
            table: BTreeMap::new(),
            limits: Vec::new(),
            log: Vec::new(),
        });
        RouterId(self.routers.len() - 1)
    }

    /// Adds a link whose session is not started yet. The settings are each router's for the other.
    pub fn link(
        &mut self,
        [a, b]: [RouterId; 2],
        settings: [PeerSettings; 2],
        latency: Range<Duration>,
    ) -> LinkId {
        let link = LinkId(self.links.len());
        let number = u32::try_from(self.links.len()).expect("a world has fewer links");
        let peer = PeerId(number);
        for (router, settings) in [a, b].into_iter().zip(settings) {
            let neighbor = Neighbor { settings: settings.clone(), link };
            self.routers[router.0].peers.insert(peer, neighbor);
            let seed = self.dice.next();
            let speaker = self.routers[router.0].speaker.as_mut();
            speaker.expect("links come before accidents").add_peer(peer, settings, seed, self.now);
        }
        let ends = [(a, peer), (b, peer)];
        self.links.push(Link { ends, up: true, latency, stalled: [false; 2] });
        link
    }

    /// Starts every session of every router, within the first second in an order of its own.
    pub fn start(&mut self) {
        let mut order: Vec<_> = (0..self.routers.len()).collect();
        self.dice.shuffle(&mut order);
        let pause = Duration::from_secs(1) / u32::try_from(order.len().max(1)).unwrap_or(u32::MAX);
        for router in order {
            self.start_router(RouterId(router));
            self.advance(pause);
        }
    }

    /// Starts every session of one router.
    pub fn start_router(&mut self, router: RouterId) {
        let peers: Vec<_> = self.routers[router.0].peers.keys().copied().collect();
        for peer in peers {
            self.tell(router, Event::Session(peer, Input::Start));
        }
    }

    /// Gives one event to a router's speaker. Nothing happens if its process is down.
    pub fn tell(&mut self, router: RouterId, event: Event) {
        let Some(speaker) = &mut self.routers[router.0].speaker else { return };
        speaker.handle(event, self.now);
        self.carry_out(router);
    }

    /// The router originates a prefix, also after a restart.
    pub fn originate(&mut self, router: RouterId, prefix: Prefix) {
        let config = &self.routers[router.0].config;
        let next_hop = NextHop::new(config.router_id.into());
        let attrs = Arc::new(Attrs::originated(next_hop));
        self.routers[router.0].originated.insert(prefix, Arc::clone(&attrs));
        self.tell(router, Event::Originate(prefix, attrs));
    }

    /// It no longer does.
    pub fn withdraw(&mut self, router: RouterId, prefix: Prefix) {
        self.routers[router.0].originated.remove(&prefix);
        self.tell(router, Event::Withdraw(prefix));
    }

    /// Nothing passes the link any more; nobody is told.
    pub fn cut(&mut self, link: LinkId) {
        self.links[link.0].up = false;
    }

    /// The link is back; what waited arrives, as TCP sends it again.
    pub fn restore(&mut self, link: LinkId) {
        self.links[link.0].up = true;
        self.wake(link);
    }

    /// The router's process takes nothing from this link, though its host is there.
    pub fn stall(&mut self, link: LinkId, router: RouterId) {
        let end = self.end_of(link, router);
        self.links[link.0].stalled[end] = true;
    }

    /// It reads again.
    pub fn resume(&mut self, link: LinkId, router: RouterId) {
        let end = self.end_of(link, router);
        self.links[link.0].stalled[end] = false;
        self.wake(link);
    }

    /// The router's process ends; its host closes the connections.
    pub fn kill(&mut self, router: RouterId) {
        for end in self.forget_process(router) {
            self.push(end.far(), Item::Fin);
        }
    }

    /// The router vanishes: nobody hears a word.
    pub fn power_off(&mut self, router: RouterId) {
        self.forget_process(router);
        self.routers[router.0].powered = false;
    }

    /// A new process with the same settings, on a host that is on. Its sessions are started.
    pub fn boot(&mut self, router: RouterId) {
        let state = &mut self.routers[router.0];
        let mut speaker = Speaker::new(state.config.clone());
        for (peer, neighbor) in &state.peers {
            speaker.add_peer(*peer, neighbor.settings.clone(), self.dice.next(), self.now);
        }
        state.powered = true;
        state.speaker = Some(speaker);
        for (prefix, attrs) in state.originated.clone() {
            self.tell(router, Event::Originate(prefix, attrs));
        }
        self.start_router(router);
    }

    /// New settings of a router for one link, with which it boots next time.
    pub fn reconfigure(
        &mut self,
        link: LinkId,
        router: RouterId,
        change: impl FnOnce(&mut PeerSettings),
    ) {
        let (_, peer) = self.links[link.0].ends[self.end_of(link, router)];
        if let Some(neighbor) = self.routers[router.0].peers.get_mut(&peer) {
            change(&mut neighbor.settings);
        }
    }

    /// Is the router's process running?
    #[must_use]
    pub fn is_running(&self, router: RouterId) -> bool {
        self.routers[router.0].speaker.is_some()
    }

    /// Time passes, event by event.
    pub fn advance(&mut self, time: Duration) {
        let end = self.now + time;
        while self.step(end) {}
        self.now = end;
    }

    /// Time passes until this holds, at most that long. False if it never held.
    pub fn advance_until(&mut self, limit: Duration, holds: impl Fn(&Self) -> bool) -> bool {
        let end = self.now + limit;
        while !holds(self) {
            if !self.step(end) {
                self.now = end;
                return holds(self);
            }
        }
        true
    }

    /// The time.
    #[must_use]
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// The source of this world's chances.
    pub const fn dice(&mut self) -> &mut Dice {
        &mut self.dice
    }

    /// A router.
    #[must_use]
    pub fn router(&self, router: RouterId) -> &Router {
        &self.routers[router.0]
    }

    /// All routers.
    pub fn routers(&self) -> impl Iterator<Item = (RouterId, &Router)> {
        self.routers.iter().enumerate().map(|(id, router)| (RouterId(id), router))
    }

    /// All links with the routers at their ends and whether they are up.
    pub fn links(&self) -> impl Iterator<Item = (LinkId, [RouterId; 2], bool)> {
        let links = self.links.iter().enumerate();
        links.map(|(id, link)| (LinkId(id), link.ends.map(|(router, _)| router), link.up))
    }

    /// The state of a link's session at one end; Idle if the process is down.
    #[must_use]
    pub fn state(&self, link: LinkId, router: RouterId) -> State {
        self.session(link, router).map_or(State::Idle, Session::state)
    }

    /// A router's process, if it is running.
    #[must_use]
    pub fn speaker(&self, router: RouterId) -> Option<&Speaker> {
        self.routers[router.0].speaker.as_ref()
    }

    /// A link's session at one end, if the process is up.
    #[must_use]
    pub fn session(&self, link: LinkId, router: RouterId) -> Option<&Session> {
        let (_, peer) = self.links[link.0].ends[self.end_of(link, router)];
        self.routers[router.0].speaker.as_ref()?.session(peer)
    }

    /// True if the session of every link is established.
    #[must_use]
    pub fn is_established(&self) -> bool {
        (0..self.links.len()).all(|link| self.is_joined(LinkId(link)))
    }

    /// True if the link's session is established at both ends, over the same stream.
    #[must_use]
    pub fn is_joined(&self, link: LinkId) -> bool {
        let [a, b] = self.links[link.0].ends.map(|(router, peer)| {
            let (conn, _) = self.session(link, router)?.established()?;
            self.streams.find((router, peer, conn))
        });
        a.is_some() && a.map(EndId::far) == b
    }

    /// The next event up to `end`. False if there is none.
    fn step(&mut self, end: Instant) -> bool {
        let timer = self.deadlines.first().copied();
        match (self.streams.next_at(), timer) {
            (Some(at), timer) if at <= end && timer.is_none_or(|(due, _)| at <= due) => {
                if let Some((at, end)) = self.streams.next() {
                    self.now = self.now.max(at);
                    self.arrive(end);
                }
            }
            (_, Some((due, router))) if due <= end => {
                self.now = self.now.max(due);
                self.tell(RouterId(router), Event::Timeout);
            }
            _ => return false,
        }
        true
    }

    /// The first piece that waits for an end arrives, unless something holds it up: then it
    /// stays and is sent again later.
    fn arrive(&mut self, end: EndId) {
        let (link, router, peer) = self.streams.place(end);
        let stalled = self.links[link.0].stalled[self.end_of(link, router)];
        let Some(first) = self.streams.first(end) else { return };
        if !self.links[link.0].up || stalled && matches!(first, Item::Octets(_) | Item::Fin) {
            return;
        }
        let Some(item) = self.streams.take(end) else { return };
        if !self.routers[router.0].powered {
            return;
        }
        if item == Item::Syn {
            return self.knock(end, router, peer);
        }
        let waited = match &item {
            Item::Octets(octets) => self.streams.waiting(end) + octets.len() > self.socket_buffer,
            _ => false,
        };
        let Some(conn) = self.streams.conn(end) else {
            // The process closed its end, or a new host knows nothing of it.
            if !matches!(item, Item::Rst | Item::Fin | Item::Refused) {
                self.push(end.far(), Item::Rst);
            }
            return;
        };
        let input = match item {
            Item::Syn | Item::SynAck => Input::Connected(conn),
            Item::Octets(octets) => Input::Received(conn, octets),
            Item::Refused => Input::ConnectFailed(conn),
            Item::Fin | Item::Rst => Input::Closed(conn),
        };
        if matches!(input, Input::Closed(_) | Input::ConnectFailed(_)) {
            self.streams.close(end);
        }
        self.tell(router, Event::Session(peer, input));
        if waited {
            self.report(end.far());
        }
    }

    /// Someone wants to connect. If he has given up meanwhile, that shows by what follows.
    fn knock(&mut self, end: EndId, router: RouterId, peer: PeerId) {
        let speaker = self.routers[router.0].speaker.as_mut();
        match speaker.and_then(|speaker| speaker.next_conn(peer)) {
            Some(conn) => {
                self.streams.accept(end, conn);
                self.push(end.far(), Item::SynAck);
                self.tell(router, Event::Session(peer, Input::Accepted(conn)));
            }
            None => self.push(end.far(), Item::Refused),
        }
    }

    /// Tells an end's owner how much of what it sent the sockets have not taken.
    fn report(&mut self, end: EndId) {
        let (_, router, peer) = self.streams.place(end);
        if let Some(conn) = self.streams.conn(end) {
            let pending = self.streams.waiting(end.far()).saturating_sub(self.socket_buffer);
            self.tell(router, Event::Session(peer, Input::Sent { conn, pending }));
        }
    }

    fn push(&mut self, to: EndId, item: Item) {
        let (link, ..) = self.streams.place(to);
        let at = self.now + self.dice.duration(&self.links[link.0].latency);
        self.streams.push(to, item, at);
    }

    fn end_of(&self, link: LinkId, router: RouterId) -> usize {
        let ends = &self.links[link.0].ends;
        ends.iter().position(|end| end.0 == router).expect("the router is at this link")
    }

    /// The process is gone with all it knew; its ends were these.
    fn forget_process(&mut self, router: RouterId) -> Vec<EndId> {
        let state = &mut self.routers[router.0];
        state.speaker = None;
        state.table.clear();
        self.wants_call(router, None);
        let ends = self.streams.ends_of(router);
        for end in &ends {
            self.streams.close(*end);
        }
        ends
    }

    /// What waits on a link is sent again.
    fn wake(&mut self, link: LinkId) {
        let Self { streams, dice, links, now, .. } = self;
        streams.resend(link, || *now + dice.duration(&links[link.0].latency));
    }

    /// Does what a router's speaker wants.
    fn carry_out(&mut self, router: RouterId) {
        let mut sent = BTreeSet::new();
        while let Some(action) = self.poll(router) {
            match action {
                Action::Connect(peer, conn) => {
                    let link = self.routers[router.0].peers[&peer].link;
                    let far = self.links[link.0].ends[1 - self.end_of(link, router)];
                    let far = self.streams.dial(link, (router, peer, conn), far);
                    self.push(far, Item::Syn);
                }
                Action::Send(peer, conn, octets) => {
                    if let Some(end) = self.streams.find((router, peer, conn)) {
                        self.push(end.far(), Item::Octets(octets));
                        sent.insert(end);
                    }
                }
                Action::Close(peer, conn) => self.part((router, peer, conn), Item::Fin),
                Action::Abort(peer, conn) => self.part((router, peer, conn), Item::Rst),
                Action::State(peer, change) => {
                    self.routers[router.0].log.push((self.now, peer, change));
                }
                Action::Best(change) => {
                    let table = &mut self.routers[router.0].table;
                    if change.paths.is_empty() {
                        table.remove(&change.prefix);
                    } else {
                        table.insert(change.prefix, change.paths);
                    }
                }
                Action::NextHop(_) => {}
                Action::Limit(event) => self.routers[router.0].limits.push((self.now, event)),
            }
        }
        for end in sent {
            self.report(end);
        }
    }

    fn part(&mut self, owner: (RouterId, PeerId, ConnId), last: Item) {
        if let Some(end) = self.streams.find(owner) {
            self.streams.close(end);
            self.push(end.far(), last);
        }
    }

    fn poll(&mut self, router: RouterId) -> Option<Action> {
        let state = &mut self.routers[router.0];
        let speaker = state.speaker.as_mut()?;
        let action = speaker.poll_output();
        if action.is_none() {
            let deadline = speaker.poll_timeout();
            self.wants_call(router, deadline);
        }
        action
    }

    fn wants_call(&mut self, router: RouterId, deadline: Option<Instant>) {
        let before = std::mem::replace(&mut self.routers[router.0].deadline, deadline);
        if before != deadline {
            before.map(|at| self.deadlines.remove(&(at, router.0)));
            deadline.map(|at| self.deadlines.insert((at, router.0)));
        }
    }
}
