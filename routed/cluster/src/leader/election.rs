//! Who leads: one daemon of the cluster, by a Lease.
//!
//! In: what the API server answers about the Lease, and the time. Out: the next [`Ask`], and until when
//! this daemon may act as the leader.
//!
//! Two never lead at once, whatever the wall clocks say. The leader stops [`LEAD`] after it *sent* the last
//! renewal that was confirmed. Another one takes the Lease only if it has seen it unchanged for
//! [`DURATION`], from the *answer* that showed it first to the *question* that showed it last, both by its
//! own steady clock; and it replaces exactly the version that it saw, so that a renewal in between wins.
//! `DURATION - LEAD` is the time that a request of the leader may still be on its way.
//!
//! Those who do not lead look seldom: all of them together about twice a second, however many they are. A
//! Lease that looks old by the wall clocks is looked at again soon; a clock that is wrong costs one request
//! more, and nothing else.

use std::time::{Duration, Instant};

use routed_core::dice::Dice;

/// What the API server has of the Lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lease {
    /// Empty: it was released.
    pub(super) holder: String,
    /// `metadata.resourceVersion`.
    pub(super) version: String,
    /// How often it has changed hands.
    pub(super) transitions: i32,
    /// How long ago it was renewed, by the wall clocks.
    pub(super) age: Duration,
}

/// What is to be asked of the API server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// Get the Lease.
    Look,
    /// Write the Lease with this daemon as its holder, or without one, in place of this version of it;
    /// `None`: create it.
    Write { holds: bool, version: Option<String>, transitions: i32 },
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The Lease, if there is one.
    Seen(Option<Lease>),
    /// It was written, and has this version now.
    Written(String),
    /// It was not: it is another one than it was thought to be.
    Refused,
    /// Nobody knows.
    Unanswered,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Election {
    me: String,
    dice: Dice,
    /// Nodes of the cluster, each of which looks.
    nodes: usize,
    /// The version that was seen last, and when it was seen first.
    seen: Option<(Lease, Instant)>,
    /// Since when it has been seen that there is no Lease.
    missing: Option<Instant>,
    /// The last look was a second one, after a Lease that seemed old.
    doubted: bool,
    /// The version that this daemon has written, while it leads.
    held: Option<(String, i32)>,
    /// It may act until then.
    until: Option<Instant>,
    /// What is asked next, and when; `None`: nothing any more.
    next: Option<(Instant, Ask)>,
    /// What is under way, and since when.
    asked: Option<(Instant, Ask)>,
    /// It ends, and is to release the Lease.
    leaves: bool,
}

impl Election {
    /// Begins as one of many. `me` must be another one in each run of a daemon.
    pub(super) fn new(me: String, seed: u64, now: Instant) -> Self {
        let mut dice = Dice::new(seed);
        let first = dice.up_to(LOOK);
        Self {
            me,
            dice,
            nodes: 1,
            seen: None,
            missing: None,
            doubted: false,
            held: None,
            until: None,
            next: Some((now + first, Ask::Look)),
            asked: None,
            leaves: false,
        }
    }

    /// So many nodes the cluster has.
    pub(super) fn nodes(&mut self, nodes: usize, now: Instant) {
        let before = std::mem::replace(&mut self.nodes, nodes.max(1));
        // One that has just heard of thousands of others does not ask as if it were alone.
        let is_news = before == 1 && self.nodes > 1;
        if is_news
            && self.missing.is_none()
            && self.seen.is_none()
            && self.asked.is_none()
            && self.held.is_none()
        {
            let wait = self.dice.up_to(self.mean());
            self.next = self.next.take().map(|(_, ask)| (now + wait, ask));
        }
    }

    /// The next question, if one is due. To be answered before the next.
    pub(super) fn poll(&mut self, now: Instant) -> Option<Ask> {
        // What is over is nothing to wait for any more.
        self.until = self.leads_until(now);
        if self.asked.is_some() {
            return None;
        }
        let (_, ask) = self.next.take_if(|(at, _)| *at <= now)?;
        self.asked = Some((now, ask.clone()));
        Some(ask)
    }

    /// When to poll next, unless an answer comes before; `None`: not before one does.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let question = self.next.as_ref().map(|(at, _)| *at).filter(|_| self.asked.is_none());
        question.into_iter().chain(self.until).min()
    }

    /// It may act as the leader until then.
    pub(super) fn leads_until(&self, now: Instant) -> Option<Instant> {
        self.until.filter(|until| now < *until)
    }

    /// Whoever held the Lease when it was looked at; empty: nobody.
    pub(super) fn holder(&self) -> Option<&str> {
        match (&self.held, &self.seen) {
            (Some(_), _) => Some(&self.me),
            (None, Some((lease, _))) => Some(&lease.holder),
            (None, None) => None,
        }
    }

    /// Takes in an answer.
    pub(super) fn handle(&mut self, answer: Answer, now: Instant) {
        let Some((asked, ask)) = self.asked.take() else { return };
        match (ask, answer) {
            (Ask::Look, Answer::Seen(lease)) => self.saw(lease, asked, now),
            (Ask::Write { holds: true, transitions, .. }, Answer::Written(version)) => {
                self.held = Some((version.clone(), transitions));
                self.until = Some(asked + LEAD);
                self.seen = None;
                self.next = Some((asked + RENEW, self.write(Some(version), transitions)));
            }
            (Ask::Write { holds: false, .. }, Answer::Written(_) | Answer::Refused) => {
                (self.held, self.next) = (None, None);
            }
            (Ask::Write { holds: true, .. }, Answer::Refused) => {
                // Somebody was faster.
                (self.held, self.until, self.seen) = (None, None, None);
                self.look_in(RETRY, now);
            }
            (_, Answer::Unanswered) => {
                // It may have been carried out: what the Lease says now is what holds.
                let wait = if self.held.is_some() { RETRY } else { self.usual() };
                self.look_in(wait, now);
            }
            (Ask::Look, Answer::Written(_) | Answer::Refused)
            | (Ask::Write { .. }, Answer::Seen(_)) => self.look_in(RETRY, now),
        }
        if self.leaves {
            self.leave(now);
        }
    }

    /// Leads no more from now on, and gives the Lease away if it has it.
    pub(super) fn leave(&mut self, now: Instant) {
        self.leaves = true;
        self.until = None;
        let release = |(version, transitions)| {
            (now, Ask::Write { holds: false, version: Some(version), transitions })
        };
        // One whose renewal is under way does not know its version yet.
        self.next = if self.asked.is_some() { None } else { self.held.take().map(release) };
    }

    /// Whether it has nothing to give away any more.
    pub(super) const fn has_left(&self) -> bool {
        self.leaves && self.next.is_none() && self.asked.is_none()
    }

    fn saw(&mut self, lease: Option<Lease>, asked: Instant, now: Instant) {
        let Some(lease) = lease else {
            return self.saw_none(asked, now);
        };
        self.missing = None;
        let (version, transitions) = (lease.version.clone(), lease.transitions);
        if lease.holder == self.me {
            // Of a write without an answer. Nobody else takes it for a while.
            self.held = Some((version.clone(), transitions));
            self.next = Some((now, self.write(Some(version), transitions)));
            return;
        }
        (self.held, self.until) = (None, None);
        if lease.holder.is_empty() {
            self.seen = Some((lease, now));
            return self.take_in(SPREAD, (Some(version), transitions + 1), now);
        }
        let same = self.seen.as_ref().filter(|(seen, _)| seen.version == version);
        let since = same.map_or(now, |(_, since)| *since);
        let is_known = same.is_some();
        let looks_old = lease.age > DURATION * 2 && !self.doubted;
        self.seen = Some((lease, since));
        if asked.saturating_duration_since(since) >= DURATION {
            self.doubted = false;
            self.next = Some((now, self.write(Some(version), transitions + 1)));
        } else if is_known || looks_old {
            self.doubted = true;
            let again = since + DURATION + self.dice.up_to(SPREAD);
            self.next = Some((again.max(now), Ask::Look));
        } else {
            self.doubted = false;
            let usual = self.usual();
            self.look_in(usual, now);
        }
    }

    /// There is none. If somebody has deleted it, who held it may act for a while yet.
    fn saw_none(&mut self, asked: Instant, now: Instant) {
        (self.held, self.until, self.seen) = (None, None, None);
        let since = *self.missing.get_or_insert(now);
        if asked.saturating_duration_since(since) >= DURATION {
            self.next = Some((now, self.write(None, 0)));
        } else {
            let again = since + DURATION + self.dice.up_to(SPREAD);
            self.next = Some((again.max(now), Ask::Look));
        }
    }

    /// A Lease that nobody has: of those who see it at the same time one shall be first.
    fn take_in(
        &mut self,
        most: Duration,
        (version, transitions): (Option<String>, i32),
        now: Instant,
    ) {
        let wait = self.dice.up_to(most);
        self.next = Some((now + wait, self.write(version, transitions)));
    }

    fn look_in(&mut self, wait: Duration, now: Instant) {
        self.next = Some((now + wait, Ask::Look));
    }

    const fn write(&self, version: Option<String>, transitions: i32) -> Ask {
        Ask::Write { holds: true, version, transitions }
    }

    /// Until the next look: of many nodes, two look in a second.
    fn usual(&mut self) -> Duration {
        let mean = self.mean();
        self.dice.between(mean / 2, mean * 3 / 2)
    }

    fn mean(&self) -> Duration {
        let nodes = u32::try_from(self.nodes).unwrap_or(u32::MAX);
        LOOK.max(EACH.saturating_mul(nodes))
    }
}

/// How long a Lease holds that is not renewed.
pub(super) const DURATION: Duration = Duration::from_secs(15);
/// How long the leader acts on a renewal.
pub(super) const LEAD: Duration = Duration::from_secs(10);
/// How long a request about the Lease may take: two can fail before the leader has to stop.
pub(super) const ANSWER: Duration = Duration::from_secs(3);
/// From one renewal to the next.
const RENEW: Duration = Duration::from_secs(5);
/// After a failure, for those who lead.
const RETRY: Duration = Duration::from_secs(1);
/// Those who want a free Lease ask within this time, each at another moment.
const SPREAD: Duration = Duration::from_secs(2);
/// From one look to the next in a small cluster, on average.
const LOOK: Duration = Duration::from_secs(10);
/// The same for each node of a large one.
const EACH: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests;
