use super::{
    super::events::{BURST, Events, FORGOTTEN, LASTS, Notice, REFILL, WAITING},
    *,
};

/// The machine, and an API server that takes everything at once.
struct Node {
    events: Events,
    now: Instant,
    sent: Vec<Notice>,
}

impl Node {
    fn new() -> Self {
        let now = start();
        Self { events: Events::new(1, now), now, sent: Vec::new() }
    }

    fn see(&mut self, picture: &Picture) {
        self.events.see(picture, self.now);
    }

    fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.events.poll_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            if let Some(notice) = self.events.take(self.now) {
                self.events.sent(format!("event{}", self.sent.len()), self.now);
                self.sent.push(notice);
            }
        }
        self.now = end;
    }

    fn reasons(&self) -> Vec<&str> {
        self.sent.iter().map(|notice| notice.about.reason).collect()
    }
}

fn tor_down() -> Picture {
    with(vec![failed("tor", SessionState::Connect, "connection refused; is it up?")])
}

#[test]
fn a_session_that_stays_down_is_told_of_and_so_is_its_return() {
    let mut node = Node::new();
    node.see(&fine());
    node.wait(secs(60));
    node.see(&tor_down());
    node.wait(LASTS - millis(1));
    node.see(&fine());
    node.wait(secs(60));
    assert_eq!(node.reasons(), [""; 0], "what comes and goes is nothing");
    node.see(&tor_down());
    node.wait(LASTS);
    assert_eq!(node.reasons(), ["BGPSessionDown"]);
    let note = &node.sent[0].note;
    assert!(note.contains("tor (10.1.1.0)") && note.contains("is it up?"), "{note}");
    node.wait(secs(600));
    node.see(&fine());
    node.wait(LASTS - millis(1));
    assert_eq!(node.reasons().len(), 1);
    node.wait(millis(1));
    assert_eq!(node.reasons(), ["BGPSessionDown", "BGPSessionUp"]);
    assert!(node.sent[0].is_warning && !node.sent[1].is_warning);
    node.wait(secs(3_600));
    assert_eq!(node.sent.len(), 2);
}

#[test]
fn a_session_that_is_gone_is_not_up() {
    let mut node = Node::new();
    node.see(&tor_down());
    node.wait(LASTS);
    node.see(&with(Vec::new()));
    node.wait(secs(100));
    assert_eq!(node.reasons(), ["BGPSessionDown"]);
}

#[test]
fn of_a_mesh_nothing_is_told() {
    let mut node = Node::new();
    node.see(&with((0..99).map(|n| session(&format!("node:n{n}"), SessionState::Idle)).collect()));
    node.wait(secs(3_600));
    assert_eq!(node.reasons(), [""; 0]);
}

#[test]
fn everything_that_is_amiss_has_a_reason_of_its_own() {
    let mut node = Node::new();
    node.see(&Picture {
        problems: vec![problem("BGPPeer/x")],
        exhausted: BTreeSet::from(["pods".to_owned()]),
        lost: BTreeSet::from(["10.244.1.0/26".to_owned()]),
        refused: Some("line 3: no".to_owned()),
        ..tor_down()
    });
    node.wait(secs(100));
    let mut reasons = node.reasons();
    reasons.sort_unstable();
    assert_eq!(
        reasons,
        [
            "BGPSessionDown",
            "BlockLost",
            "BlocksExhausted",
            "ConfigurationRefused",
            "ObjectNotHeeded"
        ]
    );
    let of = |reason| &node.sent.iter().find(|notice| notice.about.reason == reason).unwrap().note;
    assert_eq!(of("ObjectNotHeeded"), "BGPPeer/x: spec: mend it");
    assert!(of("BlocksExhausted").contains("IPPool/pods"));
}

#[test]
fn many_at_once_come_one_after_the_other_and_no_more_than_are_of_use() {
    let mut node = Node::new();
    let problems: Vec<_> = (0..60).map(|n| problem(&format!("BGPPeer/p{n:02}"))).collect();
    node.see(&Picture { problems, ..fine() });
    node.wait(LASTS + millis(100));
    assert_eq!(node.sent.len(), BURST as usize);
    node.wait(REFILL * 3);
    assert_eq!(node.sent.len(), BURST as usize + 3);
    // What is mended is not told of any more.
    node.see(&fine());
    node.wait(REFILL * 100);
    assert_eq!(node.sent.len(), BURST as usize + 3);
}

#[test]
fn what_does_not_end_is_bounded() {
    let mut node = Node::new();
    let problems: Vec<_> = (0..60).map(|n| problem(&format!("BGPPeer/p{n:02}"))).collect();
    node.see(&Picture { problems, ..fine() });
    node.wait(REFILL * 1_000);
    assert!(node.sent.len() <= BURST as usize + WAITING, "{}", node.sent.len());
}

#[test]
fn the_same_again_is_counted_and_later_told_anew() {
    let mut node = Node::new();
    for _ in 0..3 {
        node.see(&tor_down());
        node.wait(secs(60));
        node.see(&fine());
        node.wait(secs(60));
    }
    let series: Vec<_> = node.sent.iter().map(|notice| notice.series.clone()).collect();
    let of = |name: &str, count| Some((name.to_owned(), count));
    assert_eq!(
        series,
        [None, None, of("event0", 2), of("event1", 2), of("event2", 3), of("event3", 3)]
    );
    node.wait(FORGOTTEN);
    node.see(&tor_down());
    node.wait(secs(60));
    assert_eq!(node.sent.last().unwrap().series, None);
}

#[test]
fn an_event_that_fails_is_sent_later_if_it_holds_still() {
    let mut node = Node::new();
    node.see(&tor_down());
    node.now += LASTS;
    assert!(node.events.take(node.now).is_some());
    node.events.failed(node.now + secs(20));
    node.wait(secs(19));
    assert_eq!(node.reasons(), [""; 0]);
    node.wait(secs(1));
    assert_eq!(node.reasons(), ["BGPSessionDown"]);

    let mut node = Node::new();
    node.see(&tor_down());
    node.now += LASTS;
    assert!(node.events.take(node.now).is_some());
    node.events.failed(node.now + secs(20));
    node.see(&fine());
    node.wait(secs(100));
    assert_eq!(node.reasons(), [""; 0], "nobody was told that it was down");
}

#[test]
fn all_nodes_of_a_large_cluster_do_not_speak_of_one_object_at_once() {
    let due = |seed| {
        let now = start();
        let mut events = Events::new(seed, now);
        events.see(&Picture { problems: vec![problem("BGPPeer/x")], nodes: 5_000, ..fine() }, now);
        events.poll_timeout().unwrap() - now
    };
    let mut all: Vec<_> = (0..200).map(due).collect();
    all.sort();
    assert!(all[0] >= LASTS && all[199] - all[0] > secs(80), "{all:?}");
}
