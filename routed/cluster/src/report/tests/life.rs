use super::{
    super::life::{Deed, Found, LOOK, Life, Said, UNAVAILABLE_AFTER, WORDS},
    *,
};

/// The machine, and a Node object that takes everything at once.
struct Node {
    life: Life,
    object: Found,
    now: Instant,
    did: Vec<String>,
}

impl Node {
    fn new(condition: Option<Said>, is_tainted: bool) -> Self {
        let now = start();
        let object = Found { uid: "u1".to_owned(), condition, is_tainted };
        Self { life: Life::new(1, now), object, now, did: Vec::new() }
    }

    fn see(&mut self, picture: &Picture) {
        self.life.see(&Arc::new(picture.clone()), self.now);
        self.wait(Duration::ZERO);
    }

    fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.life.poll_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            match self.life.take(self.now).expect("it is due") {
                Deed::Look => {
                    self.did.push("look".to_owned());
                    self.life.found(self.object.clone(), self.now);
                }
                Deed::Untaint => {
                    self.did.push("untaint".to_owned());
                    self.object.is_tainted = false;
                    self.life.found(self.object.clone(), self.now);
                }
                Deed::Say(said) => {
                    self.did.push(format!("{} {}", said.unavailable, said.reason));
                    self.object.condition = Some(said.clone());
                    self.life.said(said, self.now);
                }
            }
        }
        self.now = end;
    }

    fn did(&mut self) -> Vec<String> {
        std::mem::take(&mut self.did)
    }
}

fn available() -> Option<Said> {
    Some(Said {
        unavailable: false,
        reason: "RoutedIsUp".to_owned(),
        message: "routed serves the pods of this node".to_owned(),
    })
}

fn down() -> Picture {
    let why = || Err("no session".to_owned());
    Picture { ready: why(), serves: why(), ..fine() }
}

#[test]
fn a_fresh_node_is_unavailable_until_it_serves_and_tainted_until_it_is_ready() {
    let mut node = Node::new(None, true);
    node.see(&down());
    assert_eq!(node.did(), ["look", "true RoutedIsNotReady"]);
    node.wait(secs(20));
    node.see(&Picture { ready: Err("1 of 2 sessions".to_owned()), ..fine() });
    assert_eq!(node.did(), ["false RoutedIsUp"]);
    node.wait(secs(20));
    node.see(&Picture { has_addresses: false, ..fine() });
    assert_eq!(node.did(), [""; 0]);
    node.see(&fine());
    assert_eq!(node.did(), ["untaint"]);
    node.wait(LOOK / 2);
    assert_eq!(node.did(), [""; 0]);
}

#[test]
fn a_daemon_that_is_restarted_is_no_news() {
    let mut node = Node::new(available(), false);
    node.see(&down());
    node.wait(UNAVAILABLE_AFTER - secs(1));
    node.see(&fine());
    node.wait(secs(100));
    assert_eq!(node.did(), ["look"]);
}

#[test]
fn a_node_that_stays_without_sessions_becomes_unavailable_and_is_never_tainted() {
    let mut node = Node::new(available(), false);
    node.see(&fine());
    node.wait(secs(100));
    node.see(&down());
    node.wait(UNAVAILABLE_AFTER - millis(1));
    assert_eq!(node.did(), ["look"]);
    node.wait(millis(5));
    assert_eq!(node.did(), ["true RoutedIsNotReady"]);
    assert!(!node.object.is_tainted);
    node.see(&fine());
    assert_eq!(node.did(), ["false RoutedIsUp"]);
}

#[test]
fn other_words_wait_for_a_minute() {
    let mut node = Node::new(None, false);
    node.see(&down());
    let _ = node.did();
    node.see(&Picture { serves: Err("no kernel".to_owned()), ..down() });
    node.wait(WORDS - millis(1));
    assert_eq!(node.did(), [""; 0]);
    node.wait(millis(1));
    assert_eq!(node.did(), ["true RoutedIsNotReady"]);
    assert_eq!(node.object.condition.as_ref().unwrap().message, "no kernel");
}

#[test]
fn a_node_that_is_made_anew_is_told_anew() {
    let mut node = Node::new(None, true);
    node.see(&fine());
    assert_eq!(node.did(), ["look", "untaint", "false RoutedIsUp"]);
    node.see(&Picture { node_uid: None, ..fine() });
    node.wait(secs(10_000));
    assert_eq!(node.did(), [""; 0], "there is nobody to tell of");
    node.object = Found { uid: "u2".to_owned(), condition: None, is_tainted: true };
    node.see(&Picture { node_uid: Some("u2".to_owned()), ..fine() });
    assert_eq!(node.did(), ["look", "untaint", "false RoutedIsUp"]);
}

#[test]
fn what_others_do_to_the_condition_is_put_right_in_time() {
    let mut node = Node::new(available(), false);
    node.see(&fine());
    node.object.condition = None;
    node.wait(LOOK * 12 / 10);
    assert_eq!(node.did(), ["look", "look", "false RoutedIsUp"]);
}

#[test]
fn the_node_that_was_read_may_be_newer_than_the_watch() {
    let mut node = Node::new(None, true);
    node.object.uid = "u2".to_owned();
    node.see(&fine());
    node.wait(secs(14));
    assert_eq!(node.did(), ["look"; 3], "nothing is done to another one");
    node.see(&Picture { node_uid: Some("u2".to_owned()), ..fine() });
    node.wait(secs(5));
    assert_eq!(node.did(), ["look", "untaint", "false RoutedIsUp"]);
}

#[test]
fn after_a_failure_the_object_is_read_again() {
    let mut node = Node::new(available(), true);
    node.life.see(&Arc::new(fine()), node.now);
    assert_eq!(node.life.take(node.now), Some(Deed::Look));
    node.life.found(node.object.clone(), node.now);
    assert_eq!(node.life.take(node.now), Some(Deed::Untaint));
    assert_eq!(node.life.poll_timeout(), None, "one at a time");
    node.life.failed(&Deed::Untaint, node.now + secs(3));
    node.wait(millis(2_999));
    assert_eq!(node.did(), ["look"]);
    node.wait(millis(1));
    assert_eq!(node.did(), ["untaint"]);
}

#[test]
fn a_right_that_is_missing_keeps_nothing_else_back() {
    let refuse = |what: fn(&Deed) -> bool| {
        let mut node = Node::new(None, true);
        node.life.see(&Arc::new(fine()), node.now);
        let mut did = Vec::new();
        let end = node.now + secs(100);
        while let Some(due) = node.life.poll_timeout().filter(|due| *due <= end) {
            node.now = node.now.max(due);
            match node.life.take(node.now).expect("it is due") {
                deed if what(&deed) => {
                    did.push("refused");
                    node.life.failed(&deed, node.now + secs(60));
                }
                Deed::Look => node.life.found(node.object.clone(), node.now),
                Deed::Untaint => {
                    did.push("untaint");
                    node.object.is_tainted = false;
                    node.life.found(node.object.clone(), node.now);
                }
                Deed::Say(said) => {
                    did.push("say");
                    node.object.condition = Some(said.clone());
                    node.life.said(said, node.now);
                }
            }
        }
        did
    };
    assert_eq!(refuse(|deed| matches!(deed, Deed::Say(_))), ["untaint", "refused", "refused"]);
    assert_eq!(refuse(|deed| *deed == Deed::Untaint), ["refused", "say", "refused"]);
}

#[test]
fn what_befalls_all_nodes_at_once_is_said_by_one_after_the_other() {
    let said = |seed| {
        let mut node = Node::new(available(), false);
        node.life = Life::new(seed, node.now);
        node.see(&Picture { nodes: 5_000, ..fine() });
        let _ = node.did();
        let begun = node.now;
        node.see(&Picture { nodes: 5_000, ..down() });
        while node.did().is_empty() {
            node.wait(millis(50));
        }
        node.now - begun
    };
    let mut all: Vec<_> = (0..100).map(said).collect();
    all.sort();
    assert!(all[0] >= UNAVAILABLE_AFTER && all[99] - all[0] > secs(3), "{all:?}");
}
