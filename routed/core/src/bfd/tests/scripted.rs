//! One session, and what its peer says word by word.

use super::*;

/// A peer's packet that fits to what the session expects.
fn packet(state: State) -> Packet {
    Packet {
        diagnostic: Diagnostic::NONE,
        state,
        poll: false,
        r#final: false,
        control_plane_independent: false,
        demand: false,
        detect_mult: 3,
        my_discriminator: REMOTE,
        your_discriminator: if state == State::Down { 0 } else { LOCAL },
        desired_min_tx: 100_000,
        required_min_rx: 100_000,
        required_min_echo_rx: 0,
    }
}

struct Bench {
    session: Session,
    now: Instant,
}

impl Bench {
    fn new(settings: Settings) -> Self {
        let now = beginning();
        Self { session: session(settings, LOCAL, now), now }
    }

    /// One that is Up, with the poll of its faster interval answered.
    fn up(settings: Settings) -> Self {
        let mut bench = Self::new(settings);
        bench.give(packet(State::Init));
        assert_eq!(bench.session.state(), State::Up);
        bench.give(Packet { r#final: true, ..packet(State::Up) });
        bench
    }

    fn give(&mut self, packet: Packet) -> (Vec<Packet>, Vec<Change>) {
        self.session.handle(Input::Packet(packet, None), self.now).unwrap();
        outputs(&mut self.session)
    }

    fn tell(&mut self, input: Input<'_>) -> (Vec<Packet>, Vec<Change>) {
        self.session.handle(input, self.now).unwrap();
        outputs(&mut self.session)
    }

    /// Time passes, nothing comes in.
    fn wait(&mut self, time: Duration) -> (Vec<(Duration, Packet)>, Vec<Change>) {
        let (start, end) = (self.now, self.now + time);
        let (mut packets, mut changes) = (Vec::new(), Vec::new());
        while let Some(at) = self.session.poll_timeout().filter(|at| *at <= end) {
            self.now = at;
            let (sent, changed) = self.tell(Input::Timeout);
            packets.extend(sent.into_iter().map(|packet| (at - start, packet)));
            changes.extend(changed);
        }
        self.now = end;
        (packets, changes)
    }
}

/// RFC 5880 §6.8.6: the state machine's table, one by one.
#[test]
fn rfc5880_6_8_6_every_state_and_every_state_heard() {
    use State::{AdminDown, Down, Init, Up};
    let reach = |state| {
        let mut bench = Bench::new(settings(100, 100, 3));
        if state != Down {
            bench.give(packet(if state == Init { Down } else { Init }));
        }
        assert_eq!(bench.session.state(), state);
        bench
    };
    let cases = [
        (Down, AdminDown, Down),
        (Down, Down, Init),
        (Down, Init, Up),
        (Down, Up, Down),
        (Init, AdminDown, Down),
        (Init, Down, Init),
        (Init, Init, Up),
        (Init, Up, Up),
        (Up, AdminDown, Down),
        (Up, Down, Down),
        (Up, Init, Up),
        (Up, Up, Up),
    ];
    for (from, heard, to) in cases {
        let mut bench = reach(from);
        let (_, changes) = bench.give(packet(heard));
        assert_eq!(bench.session.state(), to, "{from} hears {heard}");
        assert_eq!(changes.is_empty(), from == to);
        if from != Down && to == Down {
            assert_eq!(bench.session.diagnostic(), Diagnostic::NEIGHBOR_DOWN);
        }
    }
}

#[test]
fn change_of_state_is_told_at_once() {
    let mut bench = Bench::new(settings(100, 100, 3));
    bench.wait(ms(100));
    let (sent, _) = bench.give(packet(State::Down));
    assert_eq!(sent.iter().map(|packet| packet.state).collect::<Vec<_>>(), [State::Init]);
    assert_eq!(sent[0].your_discriminator, REMOTE);
}

/// RFC 5880 §6.8.3.
#[test]
fn slow_until_up_and_the_faster_interval_is_polled_for() {
    let mut bench = Bench::new(settings(100, 100, 3));
    let (sent, _) = bench.wait(ms(3_500));
    let gaps: Vec<_> = sent.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
    assert!(gaps.iter().all(|gap| (ms(750)..=ms(1_000)).contains(gap)), "{gaps:?}");
    assert!(sent.iter().all(|(_, packet)| packet.desired_min_tx == 1_000_000 && !packet.poll));
    let (sent, _) = bench.give(packet(State::Init));
    assert!(sent[0].poll && sent[0].desired_min_tx == 100_000, "{sent:?}");
    let (sent, _) = bench.wait(ms(250));
    assert!(sent.len() >= 2 && sent.iter().all(|(_, packet)| packet.poll), "{sent:?}");
    bench.give(Packet { r#final: true, ..packet(State::Up) });
    let (sent, _) = bench.wait(ms(250));
    assert!(sent.len() >= 2 && sent.iter().all(|(_, packet)| !packet.poll), "{sent:?}");
}

/// RFC 5880 §6.8.7: jitter, and what silences us.
#[test]
fn interval_is_the_slower_of_both_and_jittered() {
    for (mult, least, most) in [(3, 150, 200), (1, 150, 180)] {
        let mut bench = Bench::up(settings(100, 100, mult));
        bench.give(Packet { required_min_rx: 200_000, ..packet(State::Up) });
        let mut gaps = Vec::new();
        for _ in 0..200 {
            let (sent, _) = bench.wait(ms(250));
            gaps.extend(sent.windows(2).map(|pair| pair[1].0 - pair[0].0));
            bench.give(Packet { required_min_rx: 200_000, ..packet(State::Up) });
        }
        let (shortest, longest) = (gaps.iter().min().unwrap(), gaps.iter().max().unwrap());
        assert!(*shortest >= ms(least) && *longest <= ms(most), "{shortest:?} {longest:?}");
        assert!(*longest - *shortest > ms(10), "no jitter");
    }
}

#[test]
fn shorter_interval_that_the_peer_allows_holds_at_once() {
    let mut bench = Bench::up(settings(50, 50, 3));
    bench.give(Packet { required_min_rx: 5_000_000, ..packet(State::Up) });
    bench.wait(ms(80));
    bench.give(Packet { required_min_rx: 50_000, ..packet(State::Up) });
    assert!(!bench.wait(ms(50)).0.is_empty());
}

#[test]
fn rfc5880_6_8_7_no_packet_for_a_peer_that_wants_none_but_answers_to_polls() {
    let mut bench = Bench::up(settings(100, 100, 3));
    bench.give(Packet { required_min_rx: 0, ..packet(State::Up) });
    assert_eq!(bench.wait(ms(250)), (vec![], vec![]));
    let (sent, _) = bench.give(Packet { required_min_rx: 0, poll: true, ..packet(State::Up) });
    assert!(matches!(sent[..], [Packet { r#final: true, poll: false, .. }]), "{sent:?}");
}

/// RFC 5880 §6.6, §6.8.6.
#[test]
fn peer_in_demand_mode_is_not_talked_to_and_still_watched() {
    let mut bench = Bench::up(settings(100, 100, 3));
    bench.give(Packet { demand: true, ..packet(State::Up) });
    assert_eq!(bench.wait(ms(290)), (vec![], vec![]));
    let (sent, _) = bench.give(Packet { demand: true, poll: true, ..packet(State::Up) });
    assert!(sent[0].r#final && !sent[0].demand);
    let (_, changes) = bench.wait(ms(310));
    assert_eq!(changes[0].cause, Cause::Expired(ms(300)));
    let (sent, _) = bench.wait(ms(2_000));
    assert!(!sent.is_empty(), "silence is for Up only");
}

#[test]
fn poll_is_answered_at_once_whatever_the_state_and_never_with_a_poll() {
    for state in [State::Down, State::Init, State::Up] {
        let mut bench = Bench::new(settings(100, 100, 3));
        bench.wait(ms(10));
        let (sent, _) = bench.give(Packet { poll: true, ..packet(state) });
        let answers: Vec<_> = sent.iter().filter(|packet| packet.r#final).collect();
        assert!(matches!(answers[..], [Packet { poll: false, .. }]), "{sent:?}");
    }
}

/// RFC 5880 §6.8.4: the other side's multiplier and the slower of both intervals count.
#[test]
fn silence_ends_the_session_after_the_detection_time_and_not_before() {
    for (interval, peers, mult, detection) in
        [(100, 100, 3, 300), (50, 100, 3, 300), (100, 50, 4, 400), (300, 50, 2, 600)]
    {
        let mut bench = Bench::up(settings(100, interval, 7));
        let heard =
            Packet { detect_mult: mult, desired_min_tx: peers * 1_000, ..packet(State::Up) };
        bench.give(heard);
        assert_eq!(bench.session.detection_time(), ms(detection));
        assert_eq!(bench.wait(ms(detection - 1)).1, []);
        let (_, changes) = bench.wait(ms(1));
        let [Change { from: State::Up, to: State::Down, cause, .. }] = changes[..] else {
            panic!("{changes:?}");
        };
        assert_eq!(cause, Cause::Expired(ms(detection)));
        assert_eq!(bench.session.diagnostic(), Diagnostic::EXPIRED);
        assert_eq!(bench.session.remote_discriminator(), 0);
    }
}

/// RFC 5880 §6.8.3: until the peer has agreed we neither send less often nor expect more.
#[test]
fn slower_sending_and_faster_listening_wait_for_the_answer() {
    let mut bench = Bench::up(settings(100, 200, 3));
    bench.give(packet(State::Up));
    let (sent, _) = bench.tell(Input::Configure(settings(400, 50, 3)));
    assert_eq!(sent, []);
    assert_eq!(bench.session.transmit_interval(), Some(ms(100)));
    assert_eq!(bench.session.detection_time(), ms(600));
    let (sent, _) = bench.wait(ms(100));
    let (_, told) = sent[0];
    assert!(told.poll && told.desired_min_tx == 400_000 && told.required_min_rx == 50_000);
    bench.give(Packet { r#final: true, ..packet(State::Up) });
    assert_eq!(bench.session.transmit_interval(), Some(ms(400)));
    assert_eq!(bench.session.detection_time(), ms(300));
    // Faster sending and slower listening need nobody's leave.
    bench.tell(Input::Configure(settings(100, 250, 3)));
    assert_eq!(bench.session.transmit_interval(), Some(ms(100)));
    assert_eq!(bench.session.detection_time(), ms(750));
    // A change while a poll runs has its own afterwards.
    bench.tell(Input::Configure(settings(300, 250, 3)));
    bench.give(Packet { r#final: true, ..packet(State::Up) });
    assert_eq!(bench.session.transmit_interval(), Some(ms(100)));
    assert!(bench.wait(ms(100)).0[0].1.poll);
    bench.give(Packet { r#final: true, ..packet(State::Up) });
    assert_eq!(bench.session.transmit_interval(), Some(ms(300)));
}

/// RFC 5880 §6.8.16.
#[test]
fn switched_off_it_says_so_for_the_detection_time_and_takes_nothing() {
    let mut bench = Bench::up(settings(100, 100, 3));
    let (sent, changes) = bench.tell(Input::AdminDown(true));
    assert_eq!((sent[0].state, sent[0].diagnostic), (State::AdminDown, Diagnostic::ADMIN_DOWN));
    assert_eq!(changes[0].cause, Cause::Admin);
    let input = Input::Packet(packet(State::Up), None);
    assert_eq!(bench.session.handle(input, bench.now), Err(Flaw::AdminDown));
    assert!(!bench.session.is_silent());
    let (sent, _) = bench.wait(ms(10_000));
    assert!(sent.iter().all(|(at, packet)| *at <= ms(300) && packet.state == State::AdminDown));
    assert!(bench.session.is_silent() && bench.session.poll_timeout().is_none());
    bench.tell(Input::AdminDown(false));
    bench.give(packet(State::Down));
    bench.give(packet(State::Init));
    assert_eq!(bench.session.state(), State::Up);
}

#[test]
fn peer_that_is_switched_off_is_told_apart_from_one_that_fails() {
    let mut bench = Bench::up(settings(100, 100, 3));
    let (_, changes) = bench.give(packet(State::AdminDown));
    assert_eq!(changes[0].cause, Cause::PeerAdminDown);
    let mut bench = Bench::up(settings(100, 100, 3));
    let (_, changes) =
        bench.give(Packet { control_plane_independent: true, ..packet(State::Down) });
    assert_eq!((changes[0].cause, changes[0].independent), (Cause::PeerDown, true));
}

#[test]
fn dead_path_is_acted_on_at_once() {
    let mut bench = Bench::up(settings(100, 100, 3));
    let (sent, changes) = bench.tell(Input::PathDown);
    assert_eq!((sent[0].state, sent[0].diagnostic), (State::Down, Diagnostic::PATH_DOWN));
    assert_eq!(changes[0].cause, Cause::PathDown);
}

#[test]
fn packet_for_another_session_is_refused() {
    let mut bench = Bench::new(settings(100, 100, 3));
    let input = Input::Packet(Packet { your_discriminator: 8, ..packet(State::Init) }, None);
    assert_eq!(bench.session.handle(input, bench.now), Err(Flaw::NoSession(8)));
    assert_eq!(bench.session.state(), State::Down);
}

#[test]
fn passive_one_speaks_when_spoken_to() {
    let mut bench = Bench::new(Settings { passive: true, ..settings(100, 100, 3) });
    assert_eq!(bench.session.poll_timeout(), None);
    let (sent, _) = bench.give(packet(State::Down));
    assert_eq!(sent[0].state, State::Init);
    bench.wait(ms(10_000));
    assert_eq!(bench.session.poll_timeout(), None, "who is gone is not called");
}

#[test]
fn intervals_have_bounds() {
    assert_eq!(Interval::new(ms(10)).unwrap().micros(), 10_000);
    for out in [ms(9), ms(60_001)] {
        assert_eq!(Interval::new(out), Err(BadInterval(out)));
    }
}
