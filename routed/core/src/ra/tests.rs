//! One interface in simulated time.

use std::time::Duration;

use super::{
    message::{advertisement, solicitation},
    schedule::{MAX_INTERVAL, MAX_RA_DELAY_TIME, MIN_INTERVAL},
    *,
};

const US: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0xff);

/// The router fe80::n.
const fn router(n: u16) -> Ipv6Addr {
    Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, n)
}

fn secs(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

/// The machine with a clock, and everything it has put out since it was last looked at.
struct Link {
    discovery: Discovery,
    start: Instant,
    now: Instant,
    sent: Vec<(Duration, Vec<u8>, Ipv6Addr)>,
    peers: Vec<Result<Ipv6Addr, Absence>>,
    notes: Vec<Note>,
}

impl Link {
    #[expect(clippy::disallowed_methods, reason = "simulated time has to begin somewhere")]
    fn absent() -> Self {
        let now = Instant::now();
        Self {
            discovery: Discovery::new(7),
            start: now,
            now,
            sent: Vec::new(),
            peers: Vec::new(),
            notes: Vec::new(),
        }
    }

    fn up() -> Self {
        let mut link = Self::absent();
        link.interface(up(3));
        link.peers.clear();
        link
    }

    /// A link with a router and a session with it.
    fn with_session(n: u16) -> Self {
        let mut link = Self::up();
        link.hear(n, 30);
        link.session(true, 1);
        (link.sent, link.peers) = (Vec::new(), Vec::new());
        link
    }

    fn give(&mut self, input: Input<'_>) -> Result<(), Flaw> {
        let outcome = self.discovery.handle(input, self.now);
        while let Some(output) = self.discovery.poll_output() {
            match output {
                Output::Send { octets, to } => {
                    self.sent.push((self.now - self.start, octets, to));
                }
                Output::Peer(peer) => self.peers.push(peer),
                Output::Note(note) => self.notes.push(note),
            }
        }
        outcome
    }

    fn interface(&mut self, interface: Interface) {
        self.give(Input::Interface(interface)).unwrap();
    }

    fn packet(&mut self, source: Ipv6Addr, octets: &[u8]) -> Result<(), Flaw> {
        self.give(Input::Packet(Packet { source, hop_limit: HOP_LIMIT, octets }))
    }

    /// Router n advertises itself for so many seconds.
    fn hear(&mut self, n: u16, lifetime: u16) {
        self.packet(router(n), &advertisement(lifetime)).unwrap();
    }

    fn session(&mut self, established: bool, messages: u64) {
        self.give(Input::Session(Session { established, messages })).unwrap();
    }

    /// Lets time pass, and looks whenever the machine wants to be looked at.
    fn advance(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(next) = self.discovery.poll_timeout().filter(|next| *next <= end) {
            self.now = self.now.max(next);
            self.give(Input::Timeout).unwrap();
        }
        self.now = end;
    }

    fn peer(&self) -> Result<Ipv6Addr, Absence> {
        self.discovery.routers.peer()
    }

    /// When something was sent to everybody, since the start.
    fn times(&self, octets: &[u8]) -> Vec<Duration> {
        let these = self.sent.iter().filter(|(_, sent, to)| sent == octets && to.is_multicast());
        these.map(|(at, ..)| *at).collect()
    }

    fn advertised_at(&self) -> Vec<Duration> {
        self.times(&advertisement(30))
    }

    fn solicited_at(&self) -> Vec<Duration> {
        self.times(&solicitation())
    }
}

fn up(index: u32) -> Interface {
    Interface::Up { index: NonZeroU32::new(index).unwrap(), addr: US }
}

#[test]
fn nothing_is_sent_before_the_link_is_up_with_an_address() {
    let mut link = Link::absent();
    link.advance(secs(60.0));
    let states = [
        (Interface::Missing, Absence::NoInterface),
        (Interface::Down, Absence::LinkDown),
        (Interface::NoAddress, Absence::NoAddress),
    ];
    for (interface, absence) in states {
        link.interface(interface);
        link.advance(secs(60.0));
        link.hear(1, 30);
        assert_eq!(link.peer(), Err(absence));
    }
    assert_eq!(link.sent, []);
    assert_eq!(link.peers, states.map(|(_, absence)| Err(absence)));
}

#[test]
fn rfc4861_6_2_4_we_advertise_at_once_and_then_at_random_intervals() {
    let mut link = Link::up();
    link.advance(secs(600.0));
    let times = link.advertised_at();
    assert_eq!(times[0], Duration::ZERO);
    let intervals: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(intervals.iter().all(|time| (MIN_INTERVAL..=MAX_INTERVAL).contains(time)));
    assert!(intervals.iter().max() > intervals.iter().min(), "{intervals:?}");
}

#[test]
fn rfc4861_6_3_7_routers_are_solicited_three_times_and_no_longer_than_needed() {
    let mut link = Link::up();
    link.advance(secs(60.0));
    assert_eq!(link.solicited_at(), [secs(0.0), secs(4.0), secs(8.0)]);

    let mut link = Link::up();
    link.advance(secs(5.0));
    link.hear(1, 30);
    link.advance(secs(25.0));
    assert_eq!(link.solicited_at(), [secs(0.0), secs(4.0)]);
}

#[test]
fn rfc4861_6_2_6_who_asks_is_answered_by_itself_within_half_a_second() {
    let mut link = Link::up();
    link.advance(secs(1.0));
    link.packet(router(1), &solicitation()).unwrap();
    link.packet(router(1), &solicitation()).unwrap();
    link.advance(MAX_RA_DELAY_TIME);
    let answers: Vec<_> = link.sent.iter().filter(|(_, _, to)| *to == router(1)).collect();
    let [(_, octets, _)] = answers[..] else { panic!("{answers:?}") };
    assert_eq!(*octets, advertisement(30));
}

#[test]
fn rfc4861_6_2_6_advertisements_to_everybody_are_three_seconds_apart_whoever_asks() {
    let mut link = Link::up();
    for n in 0..200 {
        link.packet(Ipv6Addr::UNSPECIFIED, &solicitation()).unwrap();
        link.packet(router(n), &solicitation()).unwrap();
        link.advance(secs(0.1));
    }
    let times = link.advertised_at();
    assert!(times.len() >= 5, "{times:?}");
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= secs(3.0)), "{times:?}");
    assert!(link.sent.len() < 100, "{} packets in 20 s", link.sent.len());
}

#[test]
fn a_router_that_advertises_itself_is_the_peer_until_its_lifetime_ends() {
    let mut link = Link::up();
    link.advance(secs(2.0));
    link.hear(1, 30);
    assert_eq!(link.peers, [Ok(router(1))]);
    link.advance(secs(20.0));
    link.hear(1, 30);
    link.advance(secs(29.9));
    assert_eq!(link.peer(), Ok(router(1)));
    link.sent.clear();
    link.advance(secs(0.1));
    assert_eq!(link.peers[1..], [Err(Absence::Expired(router(1)))]);
    assert_eq!(link.solicited_at().len(), 1, "it is asked for at once");
    link.hear(1, 30);
    assert_eq!(link.peers[2..], [Ok(router(1))]);
}

#[test]
fn rfc4861_6_3_4_lifetime_zero_removes_the_peer_at_once_even_with_a_session() {
    for session in [false, true] {
        let mut link = Link::up();
        link.hear(1, 30);
        link.session(session, 9);
        link.hear(1, 0);
        assert_eq!(link.peers, [Ok(router(1)), Err(Absence::Left(router(1)))]);
    }
    let mut link = Link::up();
    link.hear(1, 0);
    assert_eq!(link.peers, [Err(Absence::Left(router(1)))], "and it is told as the reason");
}

#[test]
fn a_session_keeps_a_peer_that_is_silent_on_the_link() {
    let mut link = Link::with_session(1);
    link.advance(secs(600.0));
    assert_eq!(link.peer(), Ok(router(1)));
    link.session(false, 9);
    assert_eq!(link.peers, [Err(Absence::Expired(router(1)))]);
}

#[test]
fn a_link_that_was_down_or_is_another_begins_anew() {
    let mut link = Link::with_session(1);
    link.advance(secs(3.0));
    link.interface(Interface::Down);
    assert_eq!(link.peers, [Err(Absence::LinkDown)]);
    link.advance(secs(60.0));
    assert_eq!(link.sent.len(), 0, "{:?}", link.sent);
    link.interface(up(3));
    assert_eq!((link.advertised_at().len(), link.solicited_at().len()), (1, 1));
    link.hear(1, 30);
    // Deleted and created again between two looks.
    link.interface(up(4));
    assert_eq!(link.peers[2..], [Ok(router(1)), Err(Absence::Silence)]);
}

#[test]
fn of_several_routers_the_one_with_a_session_stays_if_it_answers() {
    let mut link = Link::with_session(2);
    link.hear(1, 30);
    assert_eq!(link.notes, [Note::Several { peer: router(2), other: router(1) }]);
    assert_eq!(link.solicited_at().len(), 1, "it is asked for a sign of life");
    link.advance(secs(3.0));
    link.hear(2, 30);
    link.advance(secs(20.0));
    assert_eq!((link.solicited_at().len(), &link.peers[..]), (1, &[][..]));
    // The other one stays on the link: that is known.
    for _ in 0..20 {
        link.hear(1, 30);
        link.advance(secs(10.0));
    }
    assert_eq!(link.solicited_at().len(), 1);
    assert_eq!(link.notes.len(), 1);
    assert_eq!(link.peer(), Ok(router(2)));
}

#[test]
fn of_several_routers_the_one_whose_session_speaks_stays_though_it_does_not_answer() {
    let mut link = Link::with_session(2);
    link.hear(1, 30);
    link.advance(secs(5.0));
    link.session(true, 2);
    link.advance(secs(60.0));
    assert_eq!((link.peers.len(), link.peer()), (0, Ok(router(2))));
}

#[test]
fn a_peer_that_shows_no_sign_of_life_gives_way_to_its_new_address() {
    let mut link = Link::with_session(2);
    link.hear(1, 30);
    link.advance(secs(7.9));
    assert_eq!(link.peers, []);
    link.advance(secs(0.1));
    assert_eq!(link.peers, [Ok(router(1))]);
    assert_eq!(link.notes[1..], [Note::Moved { from: router(2), to: router(1) }]);
}

#[test]
fn a_peer_that_leaves_gives_way_to_another_router_at_once() {
    let mut link = Link::with_session(2);
    link.hear(1, 30);
    link.hear(2, 0);
    assert_eq!(link.peers, [Ok(router(1))]);
}

#[test]
fn after_a_session_among_several_routers_the_peer_is_kept_only_if_it_answers() {
    for answers in [true, false] {
        let mut link = Link::with_session(2);
        link.hear(1, 9000);
        link.hear(2, 9000);
        link.advance(secs(100.0));
        (link.sent, link.peers) = (Vec::new(), Vec::new());
        link.session(false, 9);
        assert_eq!(link.solicited_at().len(), 1);
        if answers {
            link.hear(2, 9000);
        }
        link.advance(secs(8.0));
        assert_eq!(link.peer(), Ok(router(if answers { 2 } else { 1 })));
    }
}

#[test]
fn without_a_session_several_routers_take_turns_by_their_addresses() {
    let mut link = Link::up();
    for n in [2, 1, 3] {
        link.hear(n, 9000);
    }
    link.hear(2, 9000);
    link.advance(secs(29.9));
    assert_eq!(link.peers, [Ok(router(2))], "the first one heard has the first turn");
    link.advance(secs(60.1));
    let turns = [2, 3, 1, 2].map(|n| Ok(router(n)));
    assert_eq!(link.peers, turns);
    link.session(true, 5);
    link.advance(secs(600.0));
    assert_eq!(link.peers, turns, "the one that has a session stays");
}

#[test]
fn a_single_router_without_a_session_is_tried_for_as_long_as_it_advertises() {
    let mut link = Link::up();
    for _ in 0..60 {
        link.hear(1, 30);
        link.advance(secs(10.0));
    }
    assert_eq!(link.peers, [Ok(router(1))]);
}

#[test]
fn a_flood_of_routers_costs_bounded_memory_packets_and_words() {
    let mut link = Link::with_session(1);
    for n in 2..2000 {
        link.hear(n, 1);
        link.hear(1, 30);
        link.advance(secs(0.01));
    }
    assert_eq!(link.peer(), Ok(router(1)));
    assert_eq!((link.notes.len(), link.peers.len()), (1, 0));
    let mut link = Link::with_session(1);
    for n in 2..2000 {
        link.hear(n, 30);
        link.advance(secs(0.001));
    }
    assert!(link.sent.len() < 10, "{} packets in 2 s", link.sent.len());
}

#[test]
fn our_own_packets_and_flawed_ones_are_nobodys() {
    let mut link = Link::up();
    link.packet(US, &advertisement(30)).unwrap();
    let global = "2001:db8::1".parse().unwrap();
    assert_eq!(link.packet(global, &advertisement(30)), Err(Flaw::Source));
    assert_eq!(link.peers, []);
}

#[test]
fn rfc4861_6_2_5_our_last_word_has_lifetime_zero() {
    let mut link = Link::absent();
    link.discovery.leave();
    assert_eq!(link.discovery.poll_output(), None);
    link.interface(up(3));
    link.discovery.leave();
    let octets = advertisement(0).to_vec();
    assert_eq!(link.discovery.poll_output(), Some(Output::Send { octets, to: ALL_NODES }));
}

#[test]
fn every_absence_says_where_and_why() {
    for (absence, text) in [
        (Absence::NoInterface, "there is no interface eth1"),
        (Absence::LinkDown, "the link of eth1 is down"),
        (Absence::NoAddress, "eth1 has no link-local address"),
        (Absence::Silence, "no router advertisement heard on eth1"),
        (Absence::Left(router(1)), "fe80::1 on eth1 advertises router lifetime 0"),
        (Absence::Expired(router(1)), "no more router advertisements from fe80::1 on eth1"),
    ] {
        assert_eq!(absence.on("eth1"), text);
    }
}
