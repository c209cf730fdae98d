//! Events about the node, for those who ask `kubectl describe node` or watch for them.
//!
//! In: pictures of the node, and what became of each event. Out: events, each with a note that a person
//! can act on. What comes and goes within [`LASTS`] is none. What was said before and is so again is
//! counted in the event that there is. So many in a row as [`BURST`], then one every [`REFILL`]; what
//! waits is dropped once it holds no longer, and what finds [`WAITING`] before it is not said at all.
//!
//! A session is said to be up only after it was said to be down: nodes that start make no noise. Of
//! sessions of the mesh nothing is said: a node that dies would be heard of from all others. Reads no clock.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use routed_core::dice::Dice;

use super::picture::{Picture, SessionSeen, gist, short, size};

/// See the module.
#[derive(Debug)]
pub(super) struct Events {
    dice: Dice,
    /// What is so, by what it is about.
    facts: BTreeMap<About, Fact>,
    waiting: VecDeque<Notice>,
    /// What was said, to be counted if it is so again.
    said: BTreeMap<About, Series>,
    tokens: u32,
    /// When the last token came, or the next one begins to grow.
    refilled: Instant,
    node_uid: Option<String>,
    not_before: Instant,
    sending: Option<Notice>,
}

/// What an event is about: its reason, and what of the node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct About {
    pub(super) reason: &'static str,
    pub(super) what: String,
}

#[derive(Clone, Debug)]
struct Fact {
    note: String,
    /// When it is said, unless it has ceased by then; `None`: it was.
    due: Option<Instant>,
}

/// An event to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Notice {
    pub(super) about: About,
    pub(super) is_warning: bool,
    pub(super) note: String,
    /// The event of the same words that is there already, and how often it is so with this time.
    pub(super) series: Option<(String, i32)>,
}

#[derive(Clone, Debug)]
struct Series {
    /// Name of the event.
    name: String,
    note: String,
    count: i32,
    last: Instant,
}

impl Events {
    pub(super) const fn new(seed: u64, now: Instant) -> Self {
        Self {
            dice: Dice::new(seed),
            facts: BTreeMap::new(),
            waiting: VecDeque::new(),
            said: BTreeMap::new(),
            tokens: BURST,
            refilled: now,
            node_uid: None,
            not_before: now,
            sending: None,
        }
    }

    pub(super) fn see(&mut self, picture: &Picture, now: Instant) {
        if self.node_uid != picture.node_uid {
            self.node_uid.clone_from(&picture.node_uid);
            self.said.clear();
        }
        let holds = holds(picture);
        self.cease(picture, &holds, now);
        for (about, note) in holds {
            let spread =
                if about.reason == NOT_HEEDED { EACH * size(picture) } else { Duration::ZERO };
            let due = now + LASTS + self.dice.up_to(spread);
            let fact = self
                .facts
                .entry(about)
                .or_insert_with(|| Fact { note: String::new(), due: Some(due) });
            fact.note = note;
        }
        self.waiting.retain(|notice| self.facts.contains_key(&notice.about));
        self.ripen(now);
    }

    /// When [`take`](Self::take) has something, or a fact is old enough to be said; `None`: not before
    /// something happens.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.node_uid.as_ref()?;
        let ripe = self.facts.values().filter_map(|fact| fact.due).min();
        let free = self.sending.is_none() && !self.waiting.is_empty();
        let token = if self.tokens > 0 { self.not_before } else { self.refilled + REFILL };
        let send = free.then(|| token.max(self.not_before));
        ripe.into_iter().chain(send).min()
    }

    /// The event to be sent now.
    pub(super) fn take(&mut self, now: Instant) -> Option<Notice> {
        self.ripen(now);
        self.refill(now);
        if self.sending.is_some()
            || self.node_uid.is_none()
            || self.tokens == 0
            || now < self.not_before
        {
            return None;
        }
        let mut notice = self.waiting.pop_front()?;
        self.tokens -= 1;
        let before = self.said.get(&notice.about);
        let is_same = |said: &&Series| gist(&said.note) == gist(&notice.note);
        let before = before.filter(is_same).filter(|said| now < said.last + FORGOTTEN);
        notice.series = before.map(|said| (said.name.clone(), said.count + 1));
        self.sending = Some(notice.clone());
        Some(notice)
    }

    /// It is there, under this name.
    pub(super) fn sent(&mut self, name: String, now: Instant) {
        let Some(Notice { about, note, series, .. }) = self.sending.take() else { return };
        let count = series.map_or(1, |(_, count)| count);
        self.said.retain(|_, said| now < said.last + FORGOTTEN);
        if about.reason == UP {
            self.facts.remove(&about);
        }
        self.said.insert(about, Series { name, note, count, last: now });
    }

    /// It is not, and nothing is sent before then. One that counts may have lost its event.
    pub(super) fn failed(&mut self, until: Instant) {
        self.not_before = until;
        let Some(notice) = self.sending.take() else { return };
        self.said.remove(&notice.about);
        if self.facts.contains_key(&notice.about) {
            self.waiting.push_front(notice);
        }
    }

    /// What the server would refuse again is given up.
    pub(super) fn refused(&mut self) {
        if let Some(notice) = self.sending.take() {
            self.said.remove(&notice.about);
            if notice.about.reason == UP {
                self.facts.remove(&notice.about);
            }
        }
    }

    /// Forgets what is so no longer. A session that was said to be down may have come up.
    fn cease(&mut self, picture: &Picture, holds: &BTreeMap<About, String>, now: Instant) {
        let is_over = |about: &About| match about.reason {
            UP => !is_up(picture, &about.what),
            _ => !holds.contains_key(about),
        };
        let over: Vec<_> = self.facts.extract_if(.., |about, _| is_over(about)).collect();
        for (about, Fact { due, .. }) in over {
            let was_said =
                due.is_none() && !self.waiting.iter().any(|notice| notice.about == about);
            if about.reason == DOWN && was_said && is_up(picture, &about.what) {
                let note = format!("the session with {} is established again", about.what);
                let up = About { reason: UP, what: about.what };
                self.facts.insert(up, Fact { note, due: Some(now + LASTS) });
            }
        }
    }

    fn ripen(&mut self, now: Instant) {
        for (about, fact) in &mut self.facts {
            if fact.due.is_none_or(|due| due > now) {
                continue;
            }
            fact.due = None;
            if self.waiting.len() < WAITING {
                let (about, note) = (about.clone(), short(&fact.note, LONGEST));
                let is_warning = about.reason != UP;
                self.waiting.push_back(Notice { about, is_warning, note, series: None });
            }
        }
    }

    fn refill(&mut self, now: Instant) {
        while self.tokens < BURST && self.refilled + REFILL <= now {
            self.tokens += 1;
            self.refilled += REFILL;
        }
        if self.tokens == BURST {
            self.refilled = now;
        }
    }
}

/// What is amiss, by what it is about.
fn holds(picture: &Picture) -> BTreeMap<About, String> {
    let about = |reason, what: &str| About { reason, what: what.to_owned() };
    let mut holds = BTreeMap::new();
    for session in picture.sessions.iter().filter(|session| !session.is_mesh && !session.is_up()) {
        let what = name(session);
        let why = session
            .error
            .as_deref()
            .unwrap_or("no attempt has failed yet; `routed show peers` on the node tells more");
        let note = format!("the session with {what} is not established: {why}");
        holds.insert(about(DOWN, &what), note);
    }
    for pool in &picture.exhausted {
        let note = format!(
            "every block of IPPool/{pool} is claimed, and this node wants one; add another IPPool"
        );
        holds.insert(about("BlocksExhausted", pool), note);
    }
    for block in &picture.lost {
        let note = format!(
            "another node has the block {block}, and pods here have addresses of it; delete those pods"
        );
        holds.insert(about("BlockLost", block), note);
    }
    if let Some(why) = &picture.refused {
        let note = format!(
            "what the cluster says cannot be put in force here, and nothing has changed: {why}"
        );
        holds.insert(about("ConfigurationRefused", ""), note);
    }
    for problem in &picture.problems {
        let note = format!("{}: {}", problem.object, problem.message);
        holds.insert(about(NOT_HEEDED, &format!("{} {}", problem.object, problem.reason)), note);
    }
    holds
}

fn name(session: &SessionSeen) -> String {
    let (peer, address) = session.key();
    if peer == address { peer.to_owned() } else { format!("{peer} ({address})") }
}

fn is_up(picture: &Picture, what: &str) -> bool {
    picture.sessions.iter().any(|session| session.is_up() && name(session) == what)
}

const DOWN: &str = "BGPSessionDown";
const UP: &str = "BGPSessionUp";
const NOT_HEEDED: &str = "ObjectNotHeeded";

/// How long something must be so before it is said.
pub(super) const LASTS: Duration = Duration::from_secs(10);
/// Events in a row.
pub(super) const BURST: u32 = 6;
/// Until there may be one more.
pub(super) const REFILL: Duration = Duration::from_secs(20);
/// Events that may wait for that.
pub(super) const WAITING: usize = 32;
/// The API server keeps events for an hour, and whoever reads them looks at the last few minutes.
pub(super) const FORGOTTEN: Duration = Duration::from_secs(600);
/// How much later the last node of a cluster speaks of an object, for each node: all of them may not
/// heed it.
const EACH: Duration = Duration::from_millis(20);
/// Octets of a note that the API server takes.
const LONGEST: usize = 1000;
