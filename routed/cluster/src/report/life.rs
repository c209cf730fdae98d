//! The node's condition `NetworkUnavailable`, and its start-up taint.
//!
//! In: pictures of the node, and what its Node object says. Out: what is to be read of it or written to
//! it. A fresh node is unavailable until it serves pods, with the reason. One that has served is so only
//! if it does not for [`UNAVAILABLE_AFTER`]: a restart of the daemon is none of the scheduler's business.
//!
//! The taint is taken off once in the life of a Node object, and never put on: pods that run stay,
//! whatever becomes of the daemon. Reads no clock.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use routed_core::dice::Dice;

use super::picture::{Picture, gist, short, size};

/// See the module.
#[derive(Debug)]
pub(super) struct Life {
    dice: Dice,
    picture: Option<Arc<Picture>>,
    /// `metadata.uid` of the Node that the rest is about.
    uid: Option<String>,
    /// What its object says, and when it is read again, since others may change it; `None`: it must be
    /// read.
    found: Option<(Found, Instant)>,
    /// The node does not serve; if that lasts until then, it is called unavailable.
    failing: Option<Instant>,
    /// When the condition was written.
    last: Option<Instant>,
    held: Held,
    busy: bool,
}

/// What has failed is not tried before then. The account may have the right to one and not to another.
#[derive(Clone, Copy, Debug)]
struct Held {
    look: Instant,
    say: Instant,
    untaint: Instant,
}

/// What a Node object says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// `metadata.uid`.
    pub(super) uid: String,
    /// Its condition; `None`: it has none.
    pub(super) condition: Option<Said>,
    /// Whether it has our taint.
    pub(super) is_tainted: bool,
}

/// The condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) unavailable: bool,
    pub(super) reason: String,
    pub(super) message: String,
}

/// What is to be done; one thing at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    /// Read the Node object.
    Look,
    /// Write the condition.
    Say(Said),
    /// Take the taint off.
    Untaint,
}

impl Life {
    pub(super) const fn new(seed: u64, now: Instant) -> Self {
        Self {
            dice: Dice::new(seed),
            picture: None,
            uid: None,
            found: None,
            failing: None,
            last: None,
            held: Held { look: now, say: now, untaint: now },
            busy: false,
        }
    }

    pub(super) fn see(&mut self, picture: &Arc<Picture>, now: Instant) {
        if self.uid != picture.node_uid {
            self.uid.clone_from(&picture.node_uid);
            (self.found, self.last) = (None, None);
        }
        match picture.serves {
            Ok(()) => self.failing = None,
            Err(_) if self.failing.is_some() => {}
            Err(_) => {
                // Where a reflector is gone, all nodes say it, one after the other.
                let spread = self.dice.up_to(EACH * size(picture));
                self.failing = Some(now + UNAVAILABLE_AFTER + spread);
            }
        }
        self.picture = Some(Arc::clone(picture));
    }

    /// When [`take`](Self::take) has something; `None`: not before something happens.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.next().map(|(_, due)| due)
    }

    /// What is to be done now.
    pub(super) fn take(&mut self, now: Instant) -> Option<Deed> {
        let (deed, due) = self.next()?;
        if due > now {
            return None;
        }
        self.busy = true;
        Some(deed)
    }

    /// So the object is: it was read, or the taint was taken off.
    pub(super) fn found(&mut self, found: Found, now: Instant) {
        self.busy = false;
        if Some(&found.uid) != self.uid.as_ref() {
            // That it is another one the watch will say in a moment.
            (self.found, self.held.look) = (None, now + SOON);
            return;
        }
        let again = now + self.dice.between(LOOK - LOOK / 10, LOOK + LOOK / 10);
        self.found = Some((found, again));
    }

    /// The condition is written.
    pub(super) fn said(&mut self, said: Said, now: Instant) {
        (self.busy, self.last) = (false, Some(now));
        if let Some((found, _)) = &mut self.found {
            found.condition = Some(said);
        }
    }

    /// It failed, and is not tried before then; the object may be another.
    pub(super) fn failed(&mut self, deed: &Deed, until: Instant) {
        (self.busy, self.found) = (false, None);
        match deed {
            Deed::Look => self.held.look = until,
            Deed::Say(_) => self.held.say = until,
            Deed::Untaint => self.held.untaint = until,
        }
    }

    fn next(&self) -> Option<(Deed, Instant)> {
        let picture = self.picture.as_ref()?;
        self.uid.as_ref()?;
        if self.busy {
            return None;
        }
        let Some((found, again)) = &self.found else { return Some((Deed::Look, self.held.look)) };
        let may_come = picture.ready.is_ok() && picture.has_addresses;
        let untaint = (found.is_tainted && may_come).then_some((Deed::Untaint, self.held.untaint));
        let say = self.wanted(picture, found.condition.as_ref());
        let say = say.map(|(said, due)| (Deed::Say(said), due.max(self.held.say)));
        let look = Some((Deed::Look, (*again).max(self.held.look)));
        [untaint, say, look].into_iter().flatten().min_by_key(|(_, due)| *due)
    }

    /// The condition that ought to be there, and from when on.
    fn wanted(&self, picture: &Picture, before: Option<&Said>) -> Option<(Said, Instant)> {
        let said = Said::of(picture);
        let due = match before {
            Some(before) if before.unavailable == said.unavailable => {
                if before.reason == said.reason && gist(&before.message) == gist(&said.message) {
                    return None;
                }
                self.last.map_or(self.held.say, |last| last + WORDS)
            }
            Some(_) if said.unavailable => self.failing?,
            Some(_) | None => self.held.say,
        };
        Some((said, due))
    }
}

impl Said {
    fn of(picture: &Picture) -> Self {
        match &picture.serves {
            Ok(()) => Self {
                unavailable: false,
                reason: "RoutedIsUp".to_owned(),
                message: "routed serves the pods of this node".to_owned(),
            },
            Err(missing) => Self {
                unavailable: true,
                reason: "RoutedIsNotReady".to_owned(),
                message: short(missing, LONGEST),
            },
        }
    }

    /// What is said last, by a daemon that is stopped for good.
    pub(super) fn farewell() -> Self {
        Self {
            unavailable: true,
            reason: "RoutedIsDown".to_owned(),
            message:
                "routed was stopped and has withdrawn the routes to this node's pods; start it, or \
                      drain and remove the node"
                    .to_owned(),
        }
    }
}

/// How long a node that has served may fail to before it is called unavailable.
pub(super) const UNAVAILABLE_AFTER: Duration = Duration::from_secs(30);
/// How much later the last node of a cluster says so, for each node.
const EACH: Duration = Duration::from_millis(1);
/// Between two writes if only the words for it differ.
pub(super) const WORDS: Duration = Duration::from_secs(60);
/// How often the object is read although nothing has happened: on the average, a tenth more or less.
pub(super) const LOOK: Duration = Duration::from_secs(900);
/// Until the watch has heard of what was just read.
const SOON: Duration = Duration::from_secs(5);
/// Octets of a message.
const LONGEST: usize = 1024;
