//! What is there at the start, and what goes without a word: pods adopted, leftovers cleared away.

use std::{collections::BTreeSet, mem, net::IpAddr, time::Instant};

use super::{
    Command, Memory, Notice, Pods, RETRY, Record,
    adopt::{self, Found},
    check::LinkSeen,
    slot::{Phase, Then},
    verb::{OpId, PodError, Request},
    wiring::Wiring,
};
use crate::{attachment::AttachmentId, ipam::Lease};

/// Are the pods of a former run known?
#[derive(Debug)]
pub(super) enum Survey {
    /// No. What was asked so far waits.
    Waiting { early: Vec<(OpId, Request)> },
    /// Yes, but what a daemon left half made is being deleted, or it is not known yet which MTU pods
    /// get.
    Clearing { early: Vec<(OpId, Request)>, leftovers: BTreeSet<String> },
    /// Yes, and requests are served.
    Done,
}

/// Looking at every interface.
#[derive(Debug)]
pub(super) struct Look {
    /// It is being done, or will be again.
    pub(super) asked: bool,
    /// It must be done once more afterwards.
    pub(super) again: bool,
    /// When to try again after a failure.
    pub(super) due: Option<Instant>,
}

impl Pods {
    /// An interface has gone from the host. If it was a pod's and nobody is removing that pod, its
    /// namespace has gone, and what is left of it goes too, for runtimes that send neither DEL nor
    /// GC. But indexes are used again: the kernel is asked before anything is done.
    pub(super) fn link_gone(&mut self, index: u32) {
        let living = |id| self.slots.living(id).is_some();
        match self.survey {
            // The survey may have seen it before it went.
            Survey::Waiting { .. } => self.look.again = true,
            Survey::Clearing { .. } | Survey::Done => {
                if self.indexes.owner(index).is_some_and(living) {
                    self.doubt();
                }
            }
        }
    }

    /// Looks at every interface, once more if that is being done already.
    pub(super) fn doubt(&mut self) {
        if self.look.asked {
            self.look.again = true;
        } else {
            self.look.asked = true;
            self.commands.push_back(Command::Survey);
        }
    }

    pub(super) fn survey_failed(&mut self, error: PodError, now: Instant) {
        self.notice(Notice::SurveyFailed(error));
        self.look.due = Some(now + RETRY);
    }

    pub(super) fn surveyed(&mut self, links: &[LinkSeen], now: Instant) {
        self.look.asked = false;
        let found = adopt::adopt(links, self.settings.routes);
        match mem::replace(&mut self.survey, Survey::Done) {
            Survey::Waiting { early } => {
                // What is discarded may bear the name that a pod needs.
                let leftovers = found.iter().filter_map(Found::discarded).map(str::to_owned);
                self.survey = Survey::Clearing { early, leftovers: leftovers.collect() };
                self.adopt(found);
                // While no daemon ran, anything may have happened.
                self.suspect_all();
                self.enforce();
                self.translate();
                self.remember(now);
                self.notice(Notice::Adopted(self.slots.len()));
                self.serve(now);
            }
            other @ (Survey::Clearing { .. } | Survey::Done) => {
                self.survey = other;
                self.patrol(links, found);
            }
        }
        if mem::take(&mut self.look.again) {
            self.doubt();
        }
    }

    pub(super) fn discarded(&mut self, name: &str, now: Instant) {
        if let Survey::Clearing { leftovers, .. } = &mut self.survey {
            leftovers.remove(name);
        }
        self.serve(now);
    }

    /// Begins with what was asked for early, once nothing is left to clear away and the ways to the
    /// peers have been looked at.
    pub(super) fn serve(&mut self, now: Instant) {
        let mtu_known = self.settings.mtu.is_some() || self.path_mtu.is_some();
        match mem::replace(&mut self.survey, Survey::Done) {
            Survey::Clearing { early, leftovers } if leftovers.is_empty() && mtu_known => {
                for (op, request) in early {
                    self.asked(op, request, now);
                }
            }
            other @ (Survey::Waiting { .. } | Survey::Clearing { .. } | Survey::Done) => {
                self.survey = other;
            }
        }
    }

    /// The kernel is compared with the book: what vanished is removed, what the book does not know
    /// is entered. The kernel's thread does one thing after the other, so what is half made is so
    /// in the book as well.
    pub(super) fn patrol(&mut self, links: &[LinkSeen], found: Vec<Found>) {
        let there: BTreeSet<_> = links.iter().map(|link| link.index).collect();
        let living = self.slots.iter().filter_map(|(_, phase)| phase.living());
        let missing = living.filter(|wiring| !there.contains(&wiring.host.index));
        for id in missing.map(|wiring| wiring.id.clone()).collect::<Vec<_>>() {
            match self.slots.take_ready(&id) {
                Some(wiring) => {
                    self.notice(Notice::Vanished(id));
                    self.begin_cut(wiring, Then::Forget);
                }
                None => self.gone.extend(self.slots.living(&id).map(|wiring| wiring.host.index)),
            }
        }
        let known: BTreeSet<_> = self.pods().map(|(wiring, _)| wiring.host.name.clone()).collect();
        self.adopt(found.into_iter().filter(|found| !known.contains(found.link())).collect());
    }

    pub(super) fn adopt(&mut self, found: Vec<Found>) {
        for found in found {
            match found {
                Found::Pod(wiring) => self.adopt_pod(wiring),
                Found::Doomed(wiring) => self.adopt_doomed(wiring),
                Found::Leftover { name } => {
                    self.commands.push_back(Command::Discard(name.clone()));
                    self.notice(Notice::Leftover(name));
                }
                Found::Unreadable { name, reason } => {
                    self.notice(Notice::Unreadable { link: name, reason });
                }
            }
        }
    }

    /// What the journal knows besides the kernel. A lease of a pod that the kernel does not have was
    /// given back while no daemon ran, nobody knows when.
    pub(super) fn remember(&mut self, now: Instant) {
        let Memory { leases, idle } = mem::take(&mut self.memory);
        for (address, since) in idle {
            self.ipam.idle_since(address, since.min(now));
        }
        let lost = |(id, _): &(AttachmentId, Lease)| self.ipam.get(id).is_none();
        let lost: Vec<_> = leases.into_iter().filter(lost).collect();
        for (_, lease) in lost {
            for address in lease.iter() {
                self.ipam.idle_since(address, now);
            }
            // So that the journal says so as well, of those that nobody has again.
            let is_free = |address: IpAddr| self.ipam.holder(address).is_none();
            let free = Lease {
                ipv4: lease.ipv4.filter(|address| is_free((*address).into())),
                ipv6: lease.ipv6.filter(|address| is_free((*address).into())),
            };
            if free != Lease::default() {
                self.commands.push_back(Command::Record(Record::Released(free, now)));
            }
        }
    }

    /// One that was detached: its addresses are idle, and may be another's by now.
    pub(super) fn adopt_doomed(&mut self, wiring: Wiring) {
        if self.slots.contains(&wiring.id) {
            return self.commands.push_back(Command::Discard(wiring.host.name));
        }
        self.indexes.adopt(wiring.host.index, &wiring.id);
        self.begin_sweep(wiring, Then::Forget);
    }

    pub(super) fn adopt_pod(&mut self, wiring: Wiring) {
        let id = wiring.id.clone();
        if self.slots.contains(&id) {
            return self.notice(Notice::Twin { link: wiring.host.name, id });
        }
        if let Err(error) = self.ipam.adopt(&id, wiring.lease) {
            self.notice(Notice::Conflict { id: id.clone(), error });
        }
        self.indexes.adopt(wiring.host.index, &id);
        self.slots.set(&id, Phase::Ready(wiring));
    }
}
