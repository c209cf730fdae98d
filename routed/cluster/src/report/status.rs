//! What stands in the node's `BGPNodeStatus`, and when it is written.
//!
//! In: pictures of the node, and what became of each write. Out: the status to be written, once it is
//! due. A change that matters is written [`SETTLE`] later, so that what changes together is one write,
//! and [`GAP`] after the last write at the earliest; other words for the same failure after [`WORDS`];
//! counters alone, or nothing, as a sign of life every [`BEAT`], each node at times of its own.
//!
//! Reads no clock. A session that is not established changes its state all the time: since when it is
//! down matters, and not which attempt is under way.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::{SignedDuration, Timestamp},
};
use routed_api::{BGPNodeStatusStatus, ObjectProblem, Session};
use routed_core::dice::Dice;

use super::picture::{Picture, SessionSeen, gist, short, size};

/// See the module.
#[derive(Debug)]
pub(super) struct Status {
    dice: Dice,
    picture: Option<Arc<Picture>>,
    /// Since when each session is up or down.
    since: BTreeMap<(String, String), (bool, Instant)>,
    /// Of the conditions as they were written last: status and since when.
    transitions: BTreeMap<String, (String, Time)>,
    written: Option<Told>,
    /// When what was written last stopped to be true.
    changed: Option<Instant>,
    last: Option<Instant>,
    /// When it is written again whatever happens.
    beat: Duration,
    /// After a failure, not before then.
    held: Option<Instant>,
    /// What is under way.
    writing: Option<Told>,
}

/// What a status says, as far as another one would be written for it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Told {
    /// A change of these matters at once.
    facts: Vec<String>,
    /// These are words about them.
    words: Vec<String>,
}

/// The wall clock at some moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    pub(super) now: Instant,
    pub(super) wall: Timestamp,
}

impl Status {
    pub(super) fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let beat = beat(&mut dice);
        Self {
            dice,
            picture: None,
            since: BTreeMap::new(),
            transitions: BTreeMap::new(),
            written: None,
            changed: None,
            last: None,
            beat,
            held: None,
            writing: None,
        }
    }

    /// There is a newer picture.
    pub(super) fn see(&mut self, picture: &Arc<Picture>, now: Instant) {
        self.note_sessions(picture, now);
        let told = Told::of(picture);
        if self.written.as_ref().is_some_and(|written| written.facts == told.facts) {
            self.changed = None;
        } else if self.changed.is_none() {
            // Where one thing changes for all nodes, the API server hears of it from one after the other.
            self.changed = Some(now + self.dice.up_to(EACH * size(picture)));
        }
        self.picture = Some(Arc::clone(picture));
    }

    /// When [`take`](Self::take) has something; `None`: not before something happens.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let picture = self.picture.as_ref()?;
        if self.writing.is_some() {
            return None;
        }
        let after_last = |wait| self.last.map(|last| last + wait);
        let changed = self.changed.map(|at| (at + SETTLE).max(after_last(GAP).unwrap_or(at)));
        let words = self.written.as_ref().filter(|written| **written != Told::of(picture));
        let words = words.and_then(|_| after_last(WORDS));
        let due = changed.into_iter().chain(words).chain(after_last(self.beat)).min()?;
        Some(self.held.map_or(due, |held| due.max(held)))
    }

    /// The status to be written now, if it is due.
    pub(super) fn take(&mut self, clock: Clock) -> Option<BGPNodeStatusStatus> {
        if self.poll_timeout().is_none_or(|due| due > clock.now) {
            return None;
        }
        let picture = self.picture.as_ref()?;
        self.writing = Some(Told::of(picture));
        Some(self.render(picture, clock))
    }

    /// It stands there, with these conditions.
    pub(super) fn written(&mut self, conditions: Vec<Condition>, now: Instant) {
        let of = |condition: Condition| {
            (condition.type_, (condition.status, condition.last_transition_time))
        };
        self.transitions = conditions.into_iter().map(of).collect();
        self.written = self.writing.take();
        self.beat = beat(&mut self.dice);
        (self.last, self.held, self.changed) = (Some(now), None, None);
        if let Some(picture) = self.picture.take() {
            self.see(&picture, now);
        }
    }

    /// It does not, and is not tried again before then.
    pub(super) fn failed(&mut self, until: Instant) {
        self.writing = None;
        self.held = Some(until);
    }

    fn note_sessions(&mut self, picture: &Picture, now: Instant) {
        let mut since = BTreeMap::new();
        for session in &picture.sessions {
            let (peer, address) = session.key();
            let key = (peer.to_owned(), address.to_owned());
            let up = session.is_up();
            let before = self.since.get(&key).filter(|(was_up, _)| *was_up == up);
            let at = match before {
                Some((_, at)) if !up => *at,
                _ if up => session.since.unwrap_or(now),
                _ => now,
            };
            since.insert(key, (up, at));
        }
        self.since = since;
    }

    fn render(&self, picture: &Picture, clock: Clock) -> BGPNodeStatusStatus {
        let up = picture.sessions.iter().filter(|session| session.is_up()).count();
        BGPNodeStatusStatus {
            version: Some(picture.version.clone()),
            as_number: picture.identity.map(|(asn, _)| asn.into()),
            router_id: picture.identity.map(|(_, router_id)| router_id.to_string()),
            last_updated: Some(clock.wall.into()),
            session_count: Some(number(picture.sessions.len())),
            established_count: Some(number(up)),
            sessions: listed(picture).map(|session| self.session(session, clock)).collect(),
            problems: problems(picture),
            conditions: self.conditions(picture, clock),
        }
    }

    fn session(&self, seen: &SessionSeen, clock: Clock) -> Session {
        let (peer, address) = seen.key();
        let since = self.since.get(&(peer.to_owned(), address.to_owned()));
        let counts = seen.counts;
        Session {
            peer: peer.to_owned(),
            address: address.to_owned(),
            as_number: seen.asn.map(i64::from),
            state: seen.state,
            since: since.map(|(_, at)| clock.at(*at)),
            last_error: seen.error.as_deref().map(|error| short(error, LONGEST)),
            received: counts.map(|counts| counts.received),
            accepted: counts.map(|counts| counts.accepted),
            advertised: counts.map(|counts| counts.advertised),
        }
    }

    fn conditions(&self, picture: &Picture, clock: Clock) -> Vec<Condition> {
        let condition = |Verdict { kind, holds, reason, message }: Verdict| {
            let status = if holds { "True" } else { "False" };
            let before = self.transitions.get(kind).filter(|(before, _)| before == status);
            Condition {
                type_: kind.to_owned(),
                status: status.to_owned(),
                reason: reason.to_owned(),
                message: short(&message, LONGEST),
                last_transition_time: before.map_or(clock.wall.into(), |(_, at)| at.clone()),
                observed_generation: None,
            }
        };
        verdicts(picture).map(condition).into()
    }
}

impl Clock {
    /// The time of day at a moment that has passed.
    fn at(self, moment: Instant) -> Time {
        let ago = self.now.saturating_duration_since(moment);
        let ago = SignedDuration::try_from(ago).unwrap_or(SignedDuration::ZERO);
        self.wall.checked_sub(ago).unwrap_or(self.wall).into()
    }
}

impl Told {
    fn of(picture: &Picture) -> Self {
        let mut facts = vec![
            picture.version.clone(),
            format!("{:?}", picture.identity),
            picture.node_uid.clone().unwrap_or_default(),
            picture.sessions.len().to_string(),
            picture.sessions.iter().filter(|session| session.is_up()).count().to_string(),
        ];
        let mut words = Vec::new();
        for session in listed(picture) {
            let SessionSeen { peer, address, asn, error, .. } = session;
            let (up, failed) = (session.is_up(), error.is_some());
            facts.push(format!("{peer} {address} {asn:?} {up} {failed}"));
            words.extend(error.as_deref().map(gist));
        }
        for ObjectProblem { object, reason, message } in problems(picture) {
            facts.push(format!("{object} {reason}"));
            words.push(gist(&message));
        }
        for Verdict { kind, holds, reason, message } in verdicts(picture) {
            facts.push(format!("{kind} {holds} {reason}"));
            words.push(gist(&message));
        }
        Self { facts, words }
    }
}

/// One condition.
struct Verdict {
    kind: &'static str,
    holds: bool,
    reason: &'static str,
    message: String,
}

fn verdicts(picture: &Picture) -> [Verdict; 4] {
    let verdict =
        |kind, (good, bad): (&'static str, &'static str), fault: Option<String>, fine: &str| {
            let (holds, reason) = if fault.is_none() { (true, good) } else { (false, bad) };
            Verdict { kind, holds, reason, message: fault.unwrap_or_else(|| fine.to_owned()) }
        };
    let listed = |names: &std::collections::BTreeSet<String>| {
        let names = names.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        (!names.is_empty()).then_some(names)
    };
    let exhausted = listed(&picture.exhausted).map(|pools| {
        format!("every block of these IPPools is claimed: {pools}; add another IPPool")
    });
    let lost = listed(&picture.lost).map(|blocks| {
        format!("other nodes have these blocks: {blocks}; delete the pods here that have addresses of them")
    });
    [
        verdict(
            "Ready",
            ("Ready", "NotReady"),
            picture.ready.clone().err(),
            "traffic and pods may come",
        ),
        verdict(
            "ConfigurationInForce",
            ("InForce", "Refused"),
            picture.refused.clone(),
            "what the objects say is in force, but for problems",
        ),
        verdict(
            "BlocksAvailable",
            ("Available", "Exhausted"),
            exhausted,
            "no pool that the node wanted a block of is exhausted",
        ),
        verdict("BlocksHeld", ("Held", "Lost"), lost, "every block of the node is its own"),
    ]
}

/// Sessions that are listed one by one: those that are down first, so that they are never those
/// which have no room.
fn listed(picture: &Picture) -> impl Iterator<Item = &SessionSeen> {
    let mut sessions: Vec<_> =
        picture.sessions.iter().filter(|session| !session.is_mesh || !session.is_up()).collect();
    sessions.sort_by_key(|session| (session.is_up(), session.is_mesh, session.key()));
    sessions.into_iter().take(SESSIONS)
}

fn problems(picture: &Picture) -> Vec<ObjectProblem> {
    let mut problems = picture.problems.clone();
    problems.truncate(PROBLEMS);
    for problem in &mut problems {
        problem.message = short(&problem.message, LONGEST);
    }
    problems
}

fn number(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

fn beat(dice: &mut Dice) -> Duration {
    dice.between(BEAT - BEAT / 10, BEAT + BEAT / 10)
}

/// From a change to its write.
pub(super) const SETTLE: Duration = Duration::from_secs(1);
/// Between two writes.
pub(super) const GAP: Duration = Duration::from_secs(5);
/// Between two writes if only the words for it differ.
pub(super) const WORDS: Duration = Duration::from_secs(60);
/// Between two writes if nothing but counters differs: on the average, a tenth more or less.
pub(super) const BEAT: Duration = Duration::from_secs(300);
/// How much later the last node of a cluster writes what has changed for all, for each node.
const EACH: Duration = Duration::from_millis(1);
/// What the definition of the object has room for.
const SESSIONS: usize = 256;
const PROBLEMS: usize = 64;
/// Octets of a message.
const LONGEST: usize = 1024;
