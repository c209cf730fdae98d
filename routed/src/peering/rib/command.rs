//! What the RIB is asked to do.

use std::{collections::BTreeMap, sync::Arc};

use bgp::{
    attrs::{Attrs, NextHop},
    config::RibPeerConfig,
    family::{Family, FamilySet},
    prefix::Prefix,
    rib::{
        BestChange, LimitKind, News, PeerId, PeerUp, Report, Resolution, Rib, RibConfig, StationId,
    },
    session::Cause,
    timestamp::Timestamp,
    wire::Update,
};
use tokio::sync::{oneshot, watch};

#[cfg(doc)]
use super::RibHandle;
use super::reports::Registration;

/// What a session has to say to the RIB, in the order in which it happened.
#[derive(Clone, Debug)]
pub(crate) enum PeerEvent {
    /// Established. Whoever holds the receiver hears which limits the session comes to.
    Up(Box<PeerUp>, watch::Sender<LimitsReached>),
    /// The peer's routes changed, in this order.
    Updates(Vec<Update>),
    /// The peer asks for a family again.
    Refresh(Family),
    /// Its routes are treated in another way from now on.
    Settings(Box<RibPeerConfig>),
    /// The peer begins to announce all of a family again.
    RefreshBegin(Family),
    /// It has announced all of it.
    RefreshEnd(Family),
    /// No longer established; routes of these families are kept as stale.
    Down {
        /// See [`Output::Down`](bgp::session::Output::Down).
        retain: FamilySet,
        /// How it ended.
        why: Cause,
        /// When.
        at: Timestamp,
    },
    /// What is still stale of these families is gone.
    StaleExpired(FamilySet),
    /// What is stale of these families is kept for long.
    LongLived(FamilySet),
    /// After our own restart this peer is waited for no longer.
    DeferralOver,
}

impl PeerEvent {
    /// True for what must not be skipped, even if the session is over before the RIB hears it and
    /// leaves no routes behind.
    pub(crate) const fn outlives_the_session(&self) -> bool {
        match self {
            Self::Up(..)
            | Self::Down { .. }
            | Self::StaleExpired(_)
            | Self::LongLived(_)
            | Self::DeferralOver => true,
            Self::Updates(_)
            | Self::Refresh(_)
            | Self::RefreshBegin(_)
            | Self::RefreshEnd(_)
            | Self::Settings(_) => false,
        }
    }
}

/// How many prefixes an UPDATE speaks of.
pub(crate) fn prefixes_in(update: &Update) -> usize {
    let announced = update.reach.iter().map(|reach| reach.prefixes.len());
    update.withdrawn.len() + announced.sum::<usize>()
}

/// The limits that a session has come to, and how many prefixes each allows. A state and not a
/// queue, so that the RIB need not wait for whoever wants to know.
pub(crate) type LimitsReached = BTreeMap<(Family, LimitKind), u32>;

/// A look into the RIB, done by its thread.
pub(super) type Look = Box<dyn FnOnce(&Rib) + Send>;

/// One message to the thread.
pub(crate) enum Command {
    /// From a peer's session.
    Peer(PeerId, PeerEvent),
    /// A peer has room for about `budget` prefixes. Answered once there is something to tell;
    /// void when the session goes down or the receiver is dropped.
    Pull { peer: PeerId, budget: usize, answer: oneshot::Sender<News> },
    /// The kernel's side has room for `budget` changes. Answered once there are some.
    PullBest { budget: usize, answer: oneshot::Sender<Vec<BestChange>> },
    /// See [`RibHandle::monitor`].
    Monitor(Registration),
    /// A station has room for about `budget` sessions and prefixes. Answered once there is
    /// something to tell.
    PullReports { station: StationId, budget: usize, answer: oneshot::Sender<Vec<Report>> },
    /// See [`RibHandle::originate`].
    Originate(Prefix, Arc<Attrs>),
    /// See [`RibHandle::withdraw`].
    Withdraw(Prefix),
    /// See [`RibHandle::set_next_hop`].
    SetNextHop(NextHop, Resolution),
    /// See [`RibHandle::configure`].
    Configure(RibConfig),
    /// See [`RibHandle::end_deferral`].
    EndDeferral,
    /// Someone wants to know something.
    Look(Look),
    /// End the thread.
    Stop,
}

impl Command {
    /// How many prefixes it speaks of.
    pub(super) fn prefixes(&self) -> usize {
        match self {
            Self::Peer(_, PeerEvent::Updates(updates)) => updates.iter().map(prefixes_in).sum(),
            _ => 0,
        }
    }

    /// True for what is done in some ten microseconds and not worth waiting for behind others.
    pub(super) fn is_prompt(&self) -> bool {
        match self {
            Self::Pull { .. } | Self::PullBest { .. } => true,
            Self::Peer(_, PeerEvent::Updates(_)) => self.prefixes() <= PROMPT_PREFIXES,
            _ => false,
        }
    }
}

/// See [`Command::is_prompt`].
const PROMPT_PREFIXES: usize = 32;
