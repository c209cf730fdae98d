use k8s_openapi::jiff::Timestamp;
use routed_api::BGPNodeStatusStatus;

use super::{
    super::status::{BEAT, Clock, GAP, SETTLE, Status, WORDS},
    *,
};

/// The machine, and an API server that takes everything at once.
struct Node {
    status: Status,
    began: Instant,
    now: Instant,
    writes: Vec<(Duration, BGPNodeStatusStatus)>,
}

impl Node {
    fn new(seed: u64) -> Self {
        let now = start();
        Self { status: Status::new(seed), began: now, now, writes: Vec::new() }
    }

    /// One whose first status is written.
    fn settled(picture: &Picture) -> Self {
        let mut node = Self::new(1);
        node.see(picture);
        node.wait(secs(10));
        assert_eq!(node.writes.len(), 1);
        node.writes.clear();
        node
    }

    fn see(&mut self, picture: &Picture) {
        self.status.see(&Arc::new(picture.clone()), self.now);
    }

    fn clock(&self) -> Clock {
        let wall = Timestamp::from_second(1_800_000_000).unwrap();
        Clock { now: self.now, wall: wall + (self.now - self.began) }
    }

    fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.status.poll_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            let status = self.status.take(self.clock()).expect("it is due");
            self.status.written(status.conditions.clone(), self.now);
            self.writes.push((self.now - self.began, status));
        }
        self.now = end;
    }

    fn times(&self) -> Vec<Duration> {
        self.writes.iter().map(|(at, _)| *at).collect()
    }
}

#[test]
fn a_change_is_written_after_a_second_and_five_after_the_last_write_at_the_earliest() {
    let mut node = Node::new(1);
    node.see(&fine());
    node.wait(secs(2));
    node.see(&with(vec![session("tor", SessionState::Idle)]));
    node.wait(secs(20));
    let times = node.times();
    assert_eq!(times.len(), 2, "{times:?}");
    assert!((SETTLE..SETTLE + millis(10)).contains(&times[0]), "{times:?}");
    assert_eq!(times[1] - times[0], GAP);
    assert_eq!(node.writes[1].1.established_count, Some(0));
}

#[test]
fn what_is_over_before_it_is_written_is_not_written() {
    let mut node = Node::settled(&fine());
    node.see(&with(vec![session("tor", SessionState::Idle)]));
    node.wait(millis(900));
    node.see(&fine());
    node.wait(secs(200));
    assert!(node.writes.is_empty(), "{:?}", node.times());
}

#[test]
fn counters_and_nothing_wait_for_the_sign_of_life() {
    let mut node = Node::settled(&fine());
    let mut more = fine();
    more.sessions[0].counts = Some(Counts { received: 7, ..Counts::default() });
    node.see(&more);
    node.wait(BEAT * 3);
    let times = node.times();
    assert!((2..=3).contains(&times.len()), "{times:?}");
    let apart = times[1] - times[0];
    assert!((BEAT * 9 / 10..=BEAT * 11 / 10).contains(&apart), "{apart:?}");
    assert_eq!(node.writes[0].1.sessions[0].received, Some(7));
    assert_ne!(node.writes[0].1.last_updated, node.writes[1].1.last_updated);
}

#[test]
fn no_two_nodes_keep_step() {
    let first_beat = |seed| {
        let mut node = Node::new(seed);
        node.see(&fine());
        node.wait(BEAT * 2);
        node.times()[1]
    };
    let beats: BTreeSet<_> = (0..100).map(first_beat).collect();
    assert!(beats.len() > 90);
    assert!(*beats.last().unwrap() - *beats.first().unwrap() > BEAT / 10);
}

#[test]
fn a_change_of_all_nodes_at_once_reaches_the_api_server_one_after_the_other() {
    let written = |seed| {
        let mut node = Node::new(seed);
        node.see(&Picture { nodes: 5_000, ..fine() });
        node.wait(secs(20));
        node.times()[0]
    };
    let mut times: Vec<_> = (0..200).map(written).collect();
    times.sort();
    assert!(times[0] >= SETTLE && *times.last().unwrap() <= SETTLE + secs(5), "{times:?}");
    // 200 of 5,000: at most 1,500 of all in any second.
    let most =
        times.iter().map(|at| times.iter().filter(|it| (*at..*at + secs(1)).contains(it)).count());
    assert!(most.max().unwrap() <= 60);
}

#[test]
fn attempts_and_their_times_are_no_change() {
    let error = |state, ms: u32| failed("tor", state, &format!("no answer within {ms} ms"));
    let mut node = Node::settled(&with(vec![error(SessionState::Idle, 699)]));
    for (n, state) in
        [SessionState::Connect, SessionState::Active, SessionState::Idle].iter().enumerate()
    {
        node.see(&with(vec![error(*state, 700 + u32::try_from(n).unwrap())]));
        node.wait(secs(30));
    }
    assert!(node.writes.is_empty(), "{:?}", node.times());
    let began = node.now;
    node.see(&with(vec![failed("tor", SessionState::Idle, "connection refused")]));
    node.wait(secs(1));
    let times = node.times();
    assert_eq!(times.len(), 1, "more than a minute after the last");
    node.see(&with(vec![error(SessionState::Idle, 1)]));
    node.wait(WORDS - secs(2));
    assert_eq!(node.times().len(), 1, "{:?} after {began:?}", node.times());
    node.wait(secs(2));
    assert_eq!(node.times().len(), 2);
}

#[test]
fn of_a_mesh_only_what_is_down_is_listed_and_everything_is_counted() {
    let mut sessions: Vec<_> =
        (0..99).map(|n| session(&format!("node:n{n}"), SessionState::Established)).collect();
    sessions[7].state = SessionState::Active;
    sessions.push(session("tor", SessionState::Established));
    let mut node = Node::new(1);
    node.see(&with(sessions));
    node.wait(secs(2));
    let status = &node.writes[0].1;
    assert_eq!((status.session_count, status.established_count), (Some(100), Some(99)));
    let listed: Vec<_> = status.sessions.iter().map(|session| &*session.peer).collect();
    assert_eq!(listed, ["node:n7", "tor"]);
}

#[test]
fn what_has_no_room_is_not_what_is_down() {
    let mut sessions: Vec<_> =
        (0..400).map(|n| session(&format!("tor{n:03}"), SessionState::Established)).collect();
    sessions[399].state = SessionState::Idle;
    let problems = (0..100).map(|n| problem(&format!("BGPPeer/p{n}"))).collect();
    let mut node = Node::new(1);
    node.see(&Picture { problems, ..with(sessions) });
    node.wait(secs(2));
    let status = &node.writes[0].1;
    assert_eq!((status.sessions.len(), status.problems.len()), (256, 64));
    assert_eq!(status.sessions[0].peer, "tor399");
}

#[test]
fn since_when_a_session_is_down_does_not_depend_on_attempts() {
    let mut node = Node::settled(&fine());
    node.wait(secs(60));
    let down = node.clock().wall;
    for state in [SessionState::Idle, SessionState::Connect, SessionState::Active] {
        let since = Some(node.now);
        node.see(&with(vec![SessionSeen { since, ..session("tor", state) }]));
        node.wait(secs(40));
    }
    node.wait(BEAT * 2);
    for (_, status) in &node.writes {
        assert_eq!(status.sessions[0].since, Some(down.into()));
    }
    assert!(node.writes.len() >= 2);
}

#[test]
fn conditions_say_what_is_amiss_and_since_when() {
    let mut node = Node::settled(&fine());
    let turned = node.clock().wall + SETTLE;
    let amiss = Picture {
        ready: Err("no session".to_owned()),
        exhausted: BTreeSet::from(["pods".to_owned()]),
        lost: BTreeSet::from(["10.244.1.0/26".to_owned()]),
        refused: Some("line 3".to_owned()),
        ..fine()
    };
    node.see(&amiss);
    node.wait(secs(700));
    assert!(node.writes.len() > 1);
    for (_, status) in &node.writes {
        let said = status.conditions.iter().map(|it| (&*it.type_, &*it.status, &*it.reason));
        let expected = [
            ("Ready", "False", "NotReady"),
            ("ConfigurationInForce", "False", "Refused"),
            ("BlocksAvailable", "False", "Exhausted"),
            ("BlocksHeld", "False", "Lost"),
        ];
        assert!(said.eq(expected), "{:?}", status.conditions);
        for condition in &status.conditions {
            let since = condition.last_transition_time.0;
            assert!((turned..turned + secs(1)).contains(&since), "{condition:?}");
        }
    }
    assert!(node.writes[0].1.conditions[3].message.contains("10.244.1.0/26"));
}

#[test]
fn after_a_failure_nothing_is_written_before_its_time() {
    let mut node = Node::new(1);
    node.see(&fine());
    node.now = node.status.poll_timeout().unwrap().max(node.now);
    assert!(node.status.take(node.clock()).is_some());
    assert_eq!(node.status.poll_timeout(), None, "one at a time");
    node.status.failed(node.now + secs(30));
    node.wait(secs(29));
    assert!(node.writes.is_empty(), "{:?}", node.times());
    node.wait(secs(1));
    assert_eq!(node.times().len(), 1);
    node.wait(secs(5));
    assert_eq!(node.times().len(), 1);
    // The Node is gone, and another one comes: each time something is to be done to the object.
    node.see(&Picture { node_uid: None, ..fine() });
    node.wait(secs(6));
    assert_eq!(node.times().len(), 2);
    node.see(&Picture { node_uid: Some("u2".to_owned()), ..fine() });
    node.wait(secs(6));
    assert_eq!(node.times().len(), 3);
}
