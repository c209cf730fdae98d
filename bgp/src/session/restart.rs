//! Graceful restart of one session, both sides of it: a peer that is gone is expected back and
//! its routes are kept as stale, and our own restart is told to it (RFC 4724, RFC 8538,
//! RFC 9494).
//!
//! In: the session's ups and downs, the peer's End-of-RIBs, and the deadlines that were set. Out:
//! what the RIB must do about stale routes, deadlines, and bits of our OPEN.
//!
//! Knows families and no route: which routes of a family are stale is the RIB's to know. Sets
//! all deadlines itself, in the session's table.

use std::time::{Duration, Instant};

use crate::{
    config::{GracefulRestart, Restarted},
    family::{Family, FamilySet},
    session::{
        Established, LongLived, Output,
        timers::{Timer, Timers},
    },
};

/// Stale routes of a peer by family, and what is left of our own restart.
#[derive(Clone, Debug)]
pub(super) struct Restart {
    settings: Option<GracefulRestart>,
    /// Families of which the RIB holds stale routes.
    stale: FamilySet,
    /// Of these, the ones past the restart time.
    long_lived: FamilySet,
    /// Families whose long-lived stale time ended while the peer was announcing them again. If it
    /// is lost before it has finished, nothing of them is kept (RFC 9494 §4.2).
    spent: FamilySet,
    /// Families whose End-of-RIB is still to come in this session.
    awaited: FamilySet,
    /// What the peer asked for in the session that was lost last.
    stale_times: Vec<LongLived>,
    /// When the restart time after that loss ends.
    restart_ends: Option<Instant>,
    /// When stale routes of a peer that was back since must go, whatever comes between.
    stale_ends: Option<Instant>,
    /// Our forwarding state outlasted the last loss of the session in these families.
    survived: FamilySet,
    ours: Option<OurRestart>,
}

/// Our own restart, until nobody needs to hear of it any more.
#[derive(Clone, Copy, Debug)]
struct OurRestart {
    restarted: Restarted,
    /// Route selection waits for this peer.
    deferring: bool,
    /// The session has not been established since.
    unseen: bool,
}

/// Bits of our OPEN that change from one to the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct OpenFlags {
    /// R bit.
    pub(super) restarted: bool,
    /// F bits.
    pub(super) forwarding: FamilySet,
}

/// How an established session was lost, as far as stale routes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loss {
    /// Without a word, as by a peer that restarts (RFC 4724 §4.2).
    Silent,
    /// By a NOTIFICATION of either side or an expired timer: graceful only if both sides want it
    /// (RFC 8538 §4).
    Notified,
    /// With the link: nothing can be sent to the peer, however well it goes on forwarding. When the
    /// link is back, it has lost its own routes over it as we have ours.
    Cut,
    /// Because the peer has kept another connection in a collision (RFC 4271 §6.8): to it this
    /// session never stood, so it is no second loss after an earlier one.
    Collision,
    /// By a hard reset, or because the operator wants no session: never graceful.
    Hard,
    /// Because this speaker goes and will be back: nothing that it has learned is given up, since
    /// what forwards by it goes on.
    Leaving,
}

impl Restart {
    pub(super) fn new(settings: Option<GracefulRestart>) -> Self {
        let restarted = settings.as_ref().and_then(|settings| settings.restarted);
        Self {
            settings,
            stale: FamilySet::NONE,
            long_lived: FamilySet::NONE,
            spent: FamilySet::NONE,
            awaited: FamilySet::NONE,
            stale_times: Vec::new(),
            restart_ends: None,
            stale_ends: None,
            survived: FamilySet::NONE,
            ours: restarted.map(|restarted| OurRestart {
                restarted,
                deferring: true,
                unseen: true,
            }),
        }
    }

    /// New settings. Whether and how we have restarted is not one of them: it does not change.
    pub(super) fn configure(&mut self, settings: Option<GracefulRestart>) {
        self.settings = settings;
    }

    /// The session is wanted: the deferral runs from here.
    pub(super) fn begin(&self, timers: &mut Timers, now: Instant) {
        if let Some(ours) = self.ours.filter(|ours| ours.deferring) {
            timers.start(Timer::Deferral, now + ours.restarted.deferral);
        }
    }

    /// What our next OPEN says of us.
    ///
    /// F bits stand for forwarding state that has outlasted what the peer saw last: our restart,
    /// or, as RFC 8538 §4 wants it, the loss of a session that both sides have lived through.
    pub(super) fn flags(&self) -> OpenFlags {
        match self.ours {
            Some(ours) => OpenFlags { restarted: true, forwarding: ours.restarted.forwarding },
            None => OpenFlags { restarted: false, forwarding: self.survived },
        }
    }

    /// The session is established again. What is to be done comes before it is told.
    pub(super) fn up(
        &mut self,
        terms: &Established,
        timers: &mut Timers,
        now: Instant,
    ) -> Vec<Output> {
        timers.stop(Timer::Restart);
        let kept = self.stale.intersection(self.kept_by(terms));
        let mut outputs = Vec::from_iter(self.give_up(self.stale.difference(kept), timers));
        self.awaited = terms.families;
        self.survived = FamilySet::NONE;
        if let Some(settings) = self.settings.as_ref().filter(|_| !self.waiting().is_empty()) {
            let ends = *self.stale_ends.get_or_insert(now + settings.stale_path_time);
            timers.set(Timer::StalePath, ends);
        }
        if let Some(ours) = &mut self.ours {
            ours.unseen = false;
        }
        // Nobody waits for a peer that waits for us, or that has no End-of-RIB to send
        // (RFC 4724 §4.1).
        if terms.graceful_restart.is_none_or(|theirs| theirs.restarted) {
            outputs.extend(self.end_deferral(timers));
        }
        self.forget_ours();
        outputs
    }

    /// The peer has announced all of a family, which ends its stale routes. A second one in the
    /// same session means nothing.
    pub(super) fn end_of_rib(&mut self, family: Family, timers: &mut Timers) -> Option<Output> {
        self.awaited.remove(family);
        self.stale.remove(family);
        self.long_lived.remove(family);
        self.spent.remove(family);
        timers.stop(Timer::LongLived(family));
        if self.waiting().is_empty() {
            timers.stop(Timer::StalePath);
        }
        if !self.awaited.is_empty() {
            return None;
        }
        let over = self.end_deferral(timers);
        self.forget_ours();
        over
    }

    /// Routes are kept for a peer that is not here, or not all here yet.
    pub(super) const fn expects_peer(&self) -> bool {
        !self.stale.is_empty()
    }

    /// The peer's routes of this family are not complete yet.
    pub(super) const fn awaits(&self, family: Family) -> bool {
        self.awaited.contains(family)
    }

    /// The established session is lost: [`Output::Down`] with what goes with it.
    pub(super) fn lost(
        &mut self,
        terms: &Established,
        loss: Loss,
        timers: &mut Timers,
        now: Instant,
    ) -> Vec<Output> {
        if loss == Loss::Leaving {
            self.leave(timers);
            self.stale = terms.families;
            return vec![Output::Down { retain: self.stale }];
        }
        let retain = self.retained(terms, loss);
        // Of two losses in a row, what was stale before the second is deleted (RFC 4724 §4.2),
        // unless both sides do RFC 8538, which bounds the time of all losses together instead
        // (§4.1). Long-lived time just runs on, whatever happens before the End-of-RIB (RFC 9494
        // §4.2).
        let agreed = terms.graceful_restart.is_some_and(|theirs| theirs.notification);
        let all = loss == Loss::Collision || agreed;
        let stays = if all { self.stale } else { self.long_lived };
        let stays = stays.intersection(retain);
        let mut outputs = Vec::from_iter(self.give_up(self.stale.difference(stays), timers));
        if self.waiting().is_empty() {
            (self.restart_ends, self.stale_ends) = (None, None);
        } else if loss != Loss::Collision {
            self.restart_ends = None;
        }
        timers.stop(Timer::StalePath);
        self.stale = retain;
        (self.awaited, self.spent) = (FamilySet::NONE, FamilySet::NONE);
        self.stale_times.clone_from(&terms.long_lived);
        self.survived = match &self.settings {
            Some(settings) if is_graceful(terms, loss) => {
                settings.families.intersection(terms.families)
            }
            Some(_) | None => FamilySet::NONE,
        };
        outputs.push(Output::Down { retain });
        if !self.long_lived.is_empty() {
            outputs.push(Output::LongLived(self.long_lived));
        }
        outputs.extend(self.await_return(terms, timers, now));
        if loss == Loss::Hard {
            outputs.extend(self.end_deferral(timers));
        }
        outputs
    }

    /// The session is not wanted any more, established or not.
    pub(super) fn forget(&mut self, timers: &mut Timers) -> Vec<Output> {
        timers.stop(Timer::Restart);
        timers.stop(Timer::StalePath);
        self.survived = FamilySet::NONE;
        let mut outputs = Vec::from_iter(self.give_up(self.stale, timers));
        outputs.extend(self.end_deferral(timers));
        outputs
    }

    /// This speaker goes: nothing expires any more.
    pub(super) fn leave(&mut self, timers: &mut Timers) {
        for timer in [Timer::Restart, Timer::StalePath, Timer::Deferral] {
            timers.stop(timer);
        }
        for family in Family::ALL {
            timers.stop(Timer::LongLived(family));
        }
    }

    /// Our restart is over, whatever peers still have to say.
    pub(super) fn end_ours(&mut self, timers: &mut Timers) {
        self.end_deferral(timers);
        self.ours = None;
    }

    /// The peer has not come back in time (RFC 4724 §4.2).
    pub(super) fn restart_time_over(&mut self, timers: &mut Timers, now: Instant) -> Vec<Output> {
        self.outlast(self.waiting(), timers, now)
    }

    /// The peer is back, but takes too long to announce its routes again.
    pub(super) fn stale_path_time_over(&mut self, timers: &mut Timers) -> Option<Output> {
        self.give_up(self.waiting(), timers)
    }

    /// Long-lived stale routes of a family have lived long enough.
    pub(super) fn long_lived_time_over(
        &mut self,
        family: Family,
        timers: &mut Timers,
    ) -> Option<Output> {
        if self.awaited.contains(family) {
            self.spent.insert(family);
        }
        self.give_up(FamilySet::from_iter([family]), timers)
    }

    /// Route selection has waited long enough.
    pub(super) fn deferral_over(&mut self, timers: &mut Timers) -> Option<Output> {
        let over = self.end_deferral(timers);
        self.forget_ours();
        over
    }

    /// Stale families before their long-lived time.
    const fn waiting(&self) -> FamilySet {
        self.stale.difference(self.long_lived)
    }

    /// Families whose stale routes the peer's new OPEN lets live: those that it still has and
    /// whose forwarding state it has kept. In the long-lived phase that capability counts.
    fn kept_by(&self, terms: &Established) -> FamilySet {
        let forwarding = terms.graceful_restart.map_or(FamilySet::NONE, |theirs| theirs.forwarding);
        let long_lived = terms.long_lived.iter().filter(|long_lived| long_lived.forwarding);
        let long_lived: FamilySet = long_lived.map(|long_lived| long_lived.family).collect();
        let before = forwarding.difference(self.long_lived);
        let past = long_lived.intersection(self.long_lived);
        before.union(past).intersection(terms.families)
    }

    /// Families whose routes are kept over this loss.
    fn retained(&self, terms: &Established, loss: Loss) -> FamilySet {
        match terms.graceful_restart {
            Some(theirs) if is_graceful(terms, loss) => {
                theirs.families.union(lasting(&terms.long_lived)).difference(self.spent)
            }
            Some(_) | None => FamilySet::NONE,
        }
    }

    /// Sets the deadlines for a peer that has just been lost: if it is still lost from an earlier
    /// time, the restart time is that of then, and no later than the stale path time of then if it
    /// was back since. A family without graceful restart but with long-lived stale routes has a
    /// restart time of zero.
    fn await_return(
        &mut self,
        terms: &Established,
        timers: &mut Timers,
        now: Instant,
    ) -> Vec<Output> {
        let Some(theirs) = terms.graceful_restart else { return Vec::new() };
        let patience = Duration::from_secs(theirs.restart_time.into());
        let patient = if patience.is_zero() { FamilySet::NONE } else { theirs.families };
        let outputs = self.outlast(self.waiting().difference(patient), timers, now);
        if !self.waiting().is_empty() {
            let ends = *self.restart_ends.get_or_insert(now + patience);
            timers.set(Timer::Restart, self.stale_ends.map_or(ends, |bound| bound.min(ends)));
        }
        outputs
    }

    /// The restart time of these families is over: on to their long-lived time, or to their end.
    fn outlast(&mut self, families: FamilySet, timers: &mut Timers, now: Instant) -> Vec<Output> {
        let lasting = families.intersection(lasting(&self.stale_times));
        for LongLived { family, stale_time, .. } in &self.stale_times {
            if lasting.contains(*family) {
                let time = Duration::from_secs((*stale_time).into());
                timers.set(Timer::LongLived(*family), now + time);
            }
        }
        self.long_lived = self.long_lived.union(lasting);
        let lasting = (!lasting.is_empty()).then_some(Output::LongLived(lasting));
        let gone = families.difference(self.long_lived);
        lasting.into_iter().chain(self.give_up(gone, timers)).collect()
    }

    /// Stale routes of these families are no more.
    fn give_up(&mut self, families: FamilySet, timers: &mut Timers) -> Option<Output> {
        let gone = families.intersection(self.stale);
        for family in gone.iter() {
            timers.stop(Timer::LongLived(family));
        }
        self.stale = self.stale.difference(gone);
        self.long_lived = self.long_lived.difference(gone);
        (!gone.is_empty()).then_some(Output::StaleExpired(gone))
    }

    fn end_deferral(&mut self, timers: &mut Timers) -> Option<Output> {
        timers.stop(Timer::Deferral);
        let ours = self.ours.as_mut().filter(|ours| ours.deferring)?;
        ours.deferring = false;
        Some(Output::DeferralOver)
    }

    /// Our restart is told for as long as we wait for the peer, and to a peer that has not seen
    /// us since in any case.
    fn forget_ours(&mut self) {
        self.ours = self.ours.filter(|ours| ours.deferring || ours.unseen);
    }
}

/// May routes be kept over this loss?
fn is_graceful(terms: &Established, loss: Loss) -> bool {
    terms.graceful_restart.is_some_and(|theirs| match loss {
        Loss::Silent | Loss::Collision => true,
        Loss::Notified => theirs.notification,
        Loss::Cut | Loss::Hard | Loss::Leaving => false,
    })
}

/// Families with a long-lived stale time.
fn lasting(stale_times: &[LongLived]) -> FamilySet {
    let lasting = stale_times.iter().filter(|long_lived| long_lived.stale_time > 0);
    lasting.map(|long_lived| long_lived.family).collect()
}
