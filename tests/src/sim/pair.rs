//! Two routers and the link between them.

use std::time::{Duration, Instant};

use bgp::{
    session::{Cause, Input, Session, State, StateChange},
    speaker::{Event, PeerSettings},
};

use super::{LinkId, Net, RouterId, peer_settings, router_config};

/// Two speakers of different ASes and their world.
#[derive(Debug)]
pub struct Pair {
    /// The world.
    pub net: Net,
    /// AS 65001, 10.0.0.1.
    pub a: RouterId,
    /// AS 65002, 10.0.0.2: the higher identifier.
    pub b: RouterId,
    /// Between them.
    pub link: LinkId,
}

impl Pair {
    /// Both with settings as they come, not started.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::with(seed, |_, _| {})
    }

    /// Both with adjusted settings (a's of b, b's of a), not started.
    #[must_use]
    pub fn with(seed: u64, adjust: impl Fn(&mut PeerSettings, &mut PeerSettings)) -> Self {
        let mut net = Net::new(seed);
        let configs = [router_config(0, 65001), router_config(1, 65002)];
        let mut of_a = peer_settings(&configs[0], &configs[1]);
        let mut of_b = peer_settings(&configs[1], &configs[0]);
        adjust(&mut of_a, &mut of_b);
        let [a, b] = configs.map(|config| net.add_router(config));
        let latency = Duration::from_millis(1)..Duration::from_millis(50);
        let link = net.link([a, b], [of_a, of_b], latency);
        Self { net, a, b, link }
    }

    /// Both started and established.
    #[must_use]
    pub fn established(seed: u64) -> Self {
        Self::established_with(seed, |_, _| {})
    }

    /// Both with adjusted settings, started and established.
    ///
    /// # Panics
    ///
    /// If they are not established within a minute.
    #[must_use]
    pub fn established_with(
        seed: u64,
        adjust: impl Fn(&mut PeerSettings, &mut PeerSettings),
    ) -> Self {
        let mut pair = Self::with(seed, adjust);
        pair.start();
        assert!(pair.joins_within(Duration::from_secs(60)), "no session, seed {seed}");
        pair
    }

    /// Starts both at the same moment.
    pub fn start(&mut self) {
        self.net.start_router(self.a);
        self.net.start_router(self.b);
    }

    /// Gives one of them's session something.
    pub fn give(&mut self, router: RouterId, input: Input) {
        let peer = bgp::rib::PeerId(0);
        self.net.tell(router, Event::Session(peer, input));
    }

    /// Time passes until the session is established at both ends. False if the time is over.
    pub fn joins_within(&mut self, limit: Duration) -> bool {
        let link = self.link;
        self.net.advance_until(limit, |net| net.is_joined(link))
    }

    /// Is the session established at both ends?
    #[must_use]
    pub fn is_joined(&self) -> bool {
        self.net.is_joined(self.link)
    }

    /// The state at one end.
    #[must_use]
    pub fn state(&self, router: RouterId) -> State {
        self.net.state(self.link, router)
    }

    /// The session at one end.
    ///
    /// # Panics
    ///
    /// If the router's process is down.
    #[must_use]
    pub fn session(&self, router: RouterId) -> &Session {
        self.net.session(self.link, router).expect("the process is up")
    }

    /// The last failure that one end shows, in words; empty if none.
    #[must_use]
    pub fn last_error(&self, router: RouterId) -> String {
        self.session(router).last_error().map(Cause::to_string).unwrap_or_default()
    }

    /// When one end came to a state, over and over.
    #[must_use]
    pub fn times_in(&self, router: RouterId, state: State) -> Vec<Instant> {
        let log = self.net.router(router).log.iter();
        log.filter(|(.., change)| change.to == state).map(|(at, ..)| *at).collect()
    }

    /// The changes of one end's state.
    #[must_use]
    pub fn changes(&self, router: RouterId) -> Vec<StateChange> {
        self.net.router(router).log.iter().map(|(.., change)| change.clone()).collect()
    }
}
