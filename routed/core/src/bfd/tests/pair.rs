//! Two sessions with a link between them.

use super::*;

struct Pair {
    sides: [Session; 2],
    /// What is under way: when it arrives, and at whom.
    wire: Vec<(Instant, usize, Vec<u8>)>,
    now: Instant,
    delay: Duration,
    /// Packets towards each side are lost.
    cut: [bool; 2],
    /// One in so many is lost.
    loss: u64,
    sent: u64,
    changes: Vec<(Duration, usize, Change)>,
    start: Instant,
}

impl Pair {
    fn new(settings: [Settings; 2]) -> Self {
        let start = beginning();
        let [one, other] = settings;
        let sides = [session(one, LOCAL, start), session(other, REMOTE, start)];
        let (wire, changes) = (Vec::new(), Vec::new());
        let (delay, cut) = (ms(1), [false; 2]);
        Self { sides, wire, now: start, delay, cut, loss: u64::MAX, sent: 0, changes, start }
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            for side in 0..2 {
                self.collect(side);
            }
            let arrival = self.wire.iter().map(|(at, ..)| *at).min();
            let timeouts = self.sides.iter().filter_map(Session::poll_timeout);
            let Some(next) = timeouts.chain(arrival).min().filter(|at| *at <= end) else { break };
            self.now = next;
            for side in &mut self.sides {
                side.handle(Input::Timeout, next).unwrap();
            }
            let (due, later): (Vec<_>, Vec<_>) =
                self.wire.drain(..).partition(|(at, ..)| *at <= next);
            self.wire = later;
            for (_, to, octets) in due {
                let (packet, sealed) = Packet::read(&octets).unwrap();
                let _ = self.sides[to].handle(Input::Packet(packet, sealed), next);
            }
        }
        self.now = end;
    }

    fn collect(&mut self, side: usize) {
        while let Some(output) = self.sides[side].poll_output() {
            match output {
                Output::Send(octets) => {
                    self.sent += 1;
                    if !self.cut[1 - side] && !self.sent.is_multiple_of(self.loss) {
                        self.wire.push((self.now + self.delay, 1 - side, octets));
                    }
                }
                Output::Change(change) => {
                    self.changes.push((self.now - self.start, side, change));
                }
            }
        }
    }

    fn states(&self) -> [State; 2] {
        [self.sides[0].state(), self.sides[1].state()]
    }
}

#[test]
fn two_come_up_within_two_slow_intervals_and_agree_on_the_slower_interval() {
    let mut pair = Pair::new([settings(50, 50, 3), settings(300, 300, 5)]);
    pair.run(ms(2_500));
    assert_eq!(pair.states(), [State::Up; 2]);
    for side in &pair.sides {
        assert_eq!(side.transmit_interval(), Some(ms(300)));
    }
    assert_eq!(pair.sides[0].detection_time(), ms(1_500));
    assert_eq!(pair.sides[1].detection_time(), ms(900));
    let before = pair.changes.len();
    pair.run(Duration::from_secs(600));
    assert_eq!(pair.changes.len(), before, "ten quiet minutes");
}

#[test]
fn keys_and_passive_sides_come_up_as_well() {
    for meticulous in [false, true] {
        let key = Some(Key::new(1, b"secret", meticulous).unwrap());
        let mine = Settings { key, ..settings(50, 50, 3) };
        let mut pair = Pair::new([Settings { passive: true, ..mine.clone() }, mine]);
        pair.run(ms(2_500));
        assert_eq!(pair.states(), [State::Up; 2]);
        pair.loss = 5;
        let before = pair.changes.len();
        pair.run(Duration::from_secs(60));
        assert_eq!(pair.changes.len(), before, "single losses end nothing");
    }
    let mut pair = Pair::new([
        Settings { passive: true, ..settings(50, 50, 3) },
        Settings { passive: true, ..settings(50, 50, 3) },
    ]);
    pair.run(Duration::from_secs(60));
    assert_eq!(pair.states(), [State::Down; 2]);
}

#[test]
fn cut_link_is_noticed_by_both_within_the_detection_time_and_heals() {
    for cut in [[true, true], [true, false], [false, true]] {
        let mut pair = Pair::new([settings(50, 50, 3), settings(50, 50, 3)]);
        pair.run(ms(3_000));
        pair.changes.clear();
        let at = pair.now - pair.start;
        pair.cut = cut;
        pair.run(ms(400));
        assert!(pair.states().iter().all(|state| *state < State::Up), "{:?}", pair.states());
        let first: Vec<_> = (0..2)
            .map(|side| pair.changes.iter().find(|(_, of, _)| *of == side).unwrap())
            .collect();
        // Whoever hears nothing finds out by the clock, the other one is told at once.
        assert!(first.iter().all(|(when, ..)| *when - at <= ms(155)), "{:?}", pair.changes);
        pair.cut = [false; 2];
        pair.run(ms(3_000));
        assert_eq!(pair.states(), [State::Up; 2]);
    }
}

#[test]
fn one_that_restarts_under_the_same_address_is_met_anew() {
    let mut pair = Pair::new([settings(50, 50, 3), settings(50, 50, 3)]);
    pair.run(ms(3_000));
    pair.sides[1] = session(settings(50, 50, 3), 4711, pair.now);
    pair.run(ms(3_000));
    assert_eq!(pair.states(), [State::Up; 2]);
    assert_eq!(pair.sides[0].remote_discriminator(), 4711);
}

#[test]
fn operator_at_one_side_is_no_failure_at_the_other() {
    let mut pair = Pair::new([settings(50, 50, 3), settings(50, 50, 3)]);
    pair.run(ms(3_000));
    pair.changes.clear();
    let now = pair.now;
    pair.sides[1].handle(Input::AdminDown(true), now).unwrap();
    pair.run(ms(5_000));
    assert_eq!(pair.states(), [State::Down, State::AdminDown]);
    let causes: Vec<_> = pair
        .changes
        .iter()
        .filter(|(_, side, _)| *side == 0)
        .map(|(.., change)| change.cause)
        .collect();
    assert_eq!(causes, [Cause::PeerAdminDown]);
    let now = pair.now;
    pair.sides[1].handle(Input::AdminDown(false), now).unwrap();
    pair.run(ms(3_000));
    assert_eq!(pair.states(), [State::Up; 2]);
}

proptest! {
    /// However settings change on both sides, a link that loses nothing loses no session.
    #[test]
    fn new_intervals_never_end_a_session(
        changes in prop::collection::vec((0..2usize, 10u64..2_000, 10u64..2_000, 0u64..3_000), 1..20),
    ) {
        let mut pair = Pair::new([settings(50, 50, 3), settings(50, 50, 3)]);
        pair.run(ms(3_000));
        prop_assert_eq!(pair.states(), [State::Up; 2]);
        pair.changes.clear();
        for (side, transmit, receive, later) in changes {
            let now = pair.now;
            pair.sides[side].handle(Input::Configure(settings(transmit, receive, 3)), now).unwrap();
            pair.run(ms(later));
        }
        pair.run(ms(20_000));
        prop_assert_eq!(&pair.changes, &[]);
    }
}
