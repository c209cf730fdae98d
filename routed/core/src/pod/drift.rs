//! What other programs change of pods' things on the host is noticed and put right.
//!
//! In: reports of the kernel that something of a pod may have changed. Out: a look at that pod's things,
//! then steps that put right what differs. One pod is looked at at a time, so that a runtime's request
//! waits for no more than that, however many pods a program has hit at once.
//!
//! What is not ours stays: a route of another program to a pod's address, and a permanent neighbour with
//! another hardware address, which is how the host is told of one that was changed inside the pod. Both
//! are left for CHECK to name. A program that insists is answered less and less often, and the log hears
//! of it at most once in ten seconds.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::{Duration, Instant},
};

use super::{
    Command, Notice, Pods, RuleTable, alias,
    check::{self, Aspect, Difference, LinkSeen, Picture, RouteSeen, Side},
    slot::{Phase, Work},
    step::{Adjustment, End, Setting, Step},
    verb::PodError,
    wiring::Wiring,
};
use crate::attachment::AttachmentId;

/// What the drift of pods' things has come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DriftCounters {
    /// Differences put right since the start.
    pub repaired: BTreeMap<Aspect, u64>,
    /// The same of tables of rules.
    pub tables: BTreeMap<RuleTable, u64>,
    /// Attempts at that which failed, since the start.
    pub failed: u64,
    /// Pods of which something differs now that cannot be put right, or belongs to another program.
    pub left: usize,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Drift {
    /// Of which something may differ.
    suspects: BTreeSet<AttachmentId>,
    /// One is being looked at or put right.
    busy: bool,
    /// Those that were put right lately.
    rests: BTreeMap<AttachmentId, Rest>,
    /// Those that cannot be put right, and why.
    left: BTreeMap<AttachmentId, PodError>,
    repaired: BTreeMap<Aspect, u64>,
    tables: BTreeMap<RuleTable, u64>,
    failed: u64,
    mended: Word,
    unmended: Word,
}

/// How a pod is left alone after it was put right.
#[derive(Clone, Copy, Debug)]
struct Rest {
    /// No look before.
    until: Instant,
    /// Whoever changes something after this has not been at it all the time.
    calm: Instant,
    /// Attempts in a row.
    attempts: u32,
}

impl Drift {
    /// A table that another program had touched was put back, or could not be.
    pub(super) fn table(&mut self, table: RuleTable, put_back: bool) {
        if put_back {
            *self.tables.entry(table).or_default() += 1;
        } else {
            self.failed += 1;
        }
    }

    fn rest(&mut self, id: &AttachmentId, now: Instant) {
        let before = self.rests.get(id).filter(|rest| now < rest.calm);
        let attempts = before.map_or(1, |rest| rest.attempts + 1);
        let pause = (FIRST_REST * (1 << (attempts - 1).min(16))).min(LONGEST_REST);
        let until = now + pause;
        self.rests.insert(id.clone(), Rest { until, calm: until + pause * CALM, attempts });
        // Another look shows whether all is well: the kernel takes some of a pod's things along when an
        // interface goes down, or gets another hardware address, or loses IPv6 to a small MTU.
        self.suspects.insert(id.clone());
    }

    fn may_look(&self, id: &AttachmentId, now: Instant) -> bool {
        self.rests.get(id).is_none_or(|rest| rest.until <= now)
    }

    fn leave(&mut self, id: &AttachmentId, why: PodError) {
        if self.left.get(id) != Some(&why) {
            self.unmended.add(id, &why);
            self.left.insert(id.clone(), why);
        }
    }

    pub(super) fn forget(&mut self, id: &AttachmentId) {
        self.suspects.remove(id);
        self.rests.remove(id);
        self.left.remove(id);
    }
}

/// What the log is to hear of, not more often than every [`SILENCE`].
#[derive(Debug, Default)]
struct Word {
    /// The first that has not been said, and how many followed.
    waiting: Option<(AttachmentId, PodError, u64)>,
    /// When it may be said.
    due: Option<Instant>,
    silent_until: Option<Instant>,
}

impl Word {
    fn add(&mut self, id: &AttachmentId, what: &PodError) {
        match &mut self.waiting {
            Some((_, _, more)) => *more += 1,
            None => self.waiting = Some((id.clone(), what.clone(), 0)),
        }
    }

    fn take(&mut self, now: Instant) -> Option<(AttachmentId, PodError, u64)> {
        self.due = self.silent_until.filter(|until| self.waiting.is_some() && now < *until);
        if self.due.is_some() {
            return None;
        }
        let waiting = self.waiting.take()?;
        self.silent_until = Some(now + SILENCE);
        Some(waiting)
    }
}

impl Pods {
    /// How much other programs have changed.
    #[must_use]
    pub fn drift(&self) -> DriftCounters {
        let Drift { repaired, tables, failed, left, .. } = &self.drift;
        let (repaired, tables) = (repaired.clone(), tables.clone());
        DriftCounters { repaired, tables, failed: *failed, left: left.len() }
    }

    /// The kernel tells how an interface is now.
    pub(super) fn link_changed(&mut self, link: &LinkSeen) {
        let Some(wiring) = self.wiring_at(link.index) else { return };
        // Most of these tell nothing new: that a new pod's interface has its carrier, for one.
        let mut found = Vec::new();
        check::compare_host_link(wiring, link, &mut found);
        if !found.is_empty() {
            self.suspect_at(link.index);
        }
    }

    /// Something else of the interface with this index may have changed.
    pub(super) fn suspect_at(&mut self, index: u32) {
        let id = self.wiring_at(index).map(|wiring| wiring.id.clone());
        self.drift.suspects.extend(id);
    }

    /// A route to this very address has changed.
    pub(super) fn route_changed(&mut self, address: IpAddr) {
        self.drift.suspects.extend(self.ipam.holder(address).cloned());
    }

    /// Who knows what has changed.
    pub(super) fn suspect_all(&mut self) {
        let living = self.slots.iter().filter(|(_, phase)| phase.living().is_some());
        self.drift.suspects.extend(living.map(|(id, _)| id.clone()));
    }

    /// Looks at the next pod of which something may differ, once nothing else is under way for it.
    pub(super) fn look_after(&mut self, now: Instant) {
        for (word, notice) in [(&mut self.drift.mended, true), (&mut self.drift.unmended, false)] {
            let Some((id, what, more)) = word.take(now) else { continue };
            self.commands.push_back(Command::Notice(if notice {
                Notice::Mended { id, what, more }
            } else {
                Notice::Unmended { id, what, more }
            }));
        }
        if self.drift.busy || self.drift.suspects.is_empty() {
            return;
        }
        let suspects: Vec<_> = self.drift.suspects.iter().cloned().collect();
        for id in suspects {
            if self.slots.living(&id).is_none() {
                // Gone, or going. What is made anew is made right.
                self.drift.suspects.remove(&id);
            } else if self.drift.may_look(&id, now)
                && let Some(wiring) = self.slots.take_ready(&id)
            {
                self.drift.suspects.remove(&id);
                self.drift.busy = true;
                self.commands.push_back(Command::Inspect(Box::new(wiring.clone())));
                self.slots.set(&id, Phase::Working(wiring, Work::Inspecting));
                return;
            }
        }
    }

    /// When [`Self::look_after`] has something to do without anything having happened.
    pub(super) fn drift_deadline(&self) -> Option<Instant> {
        let Drift { suspects, busy, rests, mended, unmended, .. } = &self.drift;
        // Whatever is under way ends with an event.
        let waits = suspects.iter().filter(|id| !*busy && self.slots.is_ready(id));
        let looks = waits.filter_map(|id| rests.get(id)).map(|rest| rest.until);
        looks.chain(mended.due).chain(unmended.due).min()
    }

    /// How things on the host stand.
    pub(super) fn inspected(
        &mut self,
        wiring: Wiring,
        outcome: Result<Box<Picture>, PodError>,
        now: Instant,
    ) {
        let id = wiring.id.clone();
        let picture = match outcome {
            Ok(picture) => picture,
            Err(error) => {
                self.drift.failed += 1;
                self.drift.leave(&id, error);
                self.drift.rest(&id, now);
                return self.well(wiring);
            }
        };
        if picture.host.is_none() {
            // The survey tells what has become of it.
            self.doubt();
            return self.well(wiring);
        }
        let mine = |address: &IpAddr| self.ipam.holder(*address) == Some(&id);
        let mine: Vec<_> = wiring.lease.iter().filter(mine).collect();
        let found = self.differences_on_host(&wiring, &picture, &mine);
        let (steps, left) = mend(&wiring, &picture, &mine, &found);
        if left.is_empty() {
            self.drift.left.remove(&id);
        } else {
            self.drift.leave(&id, PodError::Differs(left));
        }
        if steps.is_empty() {
            return self.well(wiring);
        }
        self.commands.push_back(Command::Mend(id.clone(), steps));
        self.slots.set(&id, Phase::Working(wiring, Work::Mending(found)));
    }

    /// What was found has been put right, or not.
    pub(super) fn mended(
        &mut self,
        wiring: Wiring,
        found: Vec<Difference>,
        outcome: Result<(), PodError>,
        now: Instant,
    ) {
        let id = wiring.id.clone();
        match outcome {
            Ok(()) => {
                for difference in &found {
                    *self.drift.repaired.entry(difference.aspect()).or_insert(0) += 1;
                }
                self.drift.mended.add(&id, &PodError::Differs(found));
            }
            Err(error) => {
                self.drift.failed += 1;
                self.drift.leave(&id, error);
            }
        }
        self.drift.rest(&id, now);
        self.well(wiring);
    }

    fn well(&mut self, wiring: Wiring) {
        self.drift.busy = false;
        self.ready(wiring);
    }

    /// What differs on the host, of these addresses of the pod.
    fn differences_on_host(
        &self,
        wiring: &Wiring,
        picture: &Picture,
        mine: &[IpAddr],
    ) -> Vec<Difference> {
        let mut found = Vec::new();
        check::compare_host(wiring, None, picture, &mut found);
        let told = |address: &IpAddr| {
            let mut neighbours = picture.host_neighbours.iter();
            neighbours.any(|seen| seen.address == *address && seen.permanent && seen.mac.is_some())
        };
        found.retain(|difference| match difference {
            Difference::Neighbour { address, .. } => mine.contains(address) && !told(address),
            Difference::NoHostRoute(prefix)
            | Difference::HostRouteElsewhere { prefix, .. }
            | Difference::HostRouteForeign { prefix, .. } => mine.contains(&prefix.addr()),
            _ => true,
        });
        found
    }

    fn wiring_at(&self, index: u32) -> Option<&Wiring> {
        self.slots.living(self.indexes.owner(index)?)
    }
}

/// The steps that put right what differs, in the order of carrying them out, and what none of them can
/// or may put right.
fn mend(
    wiring: &Wiring,
    picture: &Picture,
    mine: &[IpAddr],
    found: &[Difference],
) -> (Vec<Step>, Vec<Difference>) {
    let Wiring { host, inside, mtu, routes, .. } = wiring;
    let index = host.index;
    let adjust = |to| Step::Adjust { index, to };
    let neighbour = |address| Step::Neighbour { on: End::Host(index), address, mac: inside.mac };
    let ours = |prefix| {
        let mut there = picture.host_routes.iter();
        there.any(|route: &RouteSeen| route.prefix == prefix && route.protocol == routes.protocol)
    };
    let (mut links, mut rest, mut left) = (BTreeMap::new(), Vec::new(), Vec::new());
    for difference in found {
        match difference {
            Difference::Renamed { .. } => {
                links.insert(0, adjust(Adjustment::Name(host.name.clone())));
            }
            Difference::Group { .. } => {
                links.insert(1, adjust(Adjustment::Group));
            }
            Difference::Unlabelled(_) | Difference::MakesAddresses(_) => {
                let (name, alias) = (host.name.clone(), alias::encode(wiring));
                links.insert(2, Step::Label { name, alias });
            }
            Difference::Mtu { side: Side::Host, .. } => {
                links.insert(3, adjust(Adjustment::Mtu(*mtu)));
            }
            Difference::Mac { side: Side::Host, .. } => {
                links.insert(4, adjust(Adjustment::Mac(host.mac)));
                // With the old one the kernel forgets the neighbours.
                rest.extend(mine.iter().map(|address| neighbour(*address)));
            }
            Difference::Down { side: Side::Host, .. } => {
                links.insert(5, Step::LinkUp { on: End::Host(index) });
            }
            Difference::Neighbour { side: Side::Host, address, .. } => {
                rest.push(neighbour(*address));
            }
            Difference::NoHostRoute(prefix) => {
                let (address, stamp) = (prefix.addr(), *routes);
                rest.push(Step::HostRoute { index, address, stamp });
            }
            Difference::HostRouteElsewhere { prefix, .. } if ours(*prefix) => {
                let (address, stamp) = (prefix.addr(), *routes);
                rest.push(Step::MoveHostRoute { index, address, stamp });
            }
            Difference::NotForwarding(_) => {
                rest.push(Step::Set { name: host.name.clone(), to: Setting::Forwards });
            }
            Difference::BelievesAdvertisements(_) => {
                rest.push(Step::Set {
                    name: host.name.clone(),
                    to: Setting::IgnoresAdvertisements,
                });
            }
            other => left.push(other.clone()),
        }
    }
    // Settings last: they have a stage of their own.
    rest.sort_by_key(Step::stage);
    (links.into_values().chain(rest).collect(), left)
}

/// Between putting right and the next look at the same pod, if it differs again and again.
const FIRST_REST: Duration = Duration::from_millis(20);
/// The longest such time: a program that insists has it this long at most.
const LONGEST_REST: Duration = Duration::from_secs(10);
/// After so many more times that without a difference whatever comes is another matter.
const CALM: u32 = 4;
/// Between two words in the log.
const SILENCE: Duration = Duration::from_secs(10);
