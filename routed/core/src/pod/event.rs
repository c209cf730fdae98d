//! What happens to the pods, and what they want done: the machine's two sides.

use std::{net::IpAddr, time::Instant};

use super::{
    alias::BadAlias,
    check::{Difference, LinkSeen, Picture},
    nat::Translation,
    plan::Settings,
    step::Step,
    verb::{OpId, PodError, Reply, Request},
    wiring::Wiring,
};
use crate::{
    attachment::AttachmentId,
    ipam::{Lease, LeaseError},
};

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// [`Command::Survey`] ended: every interface of the host.
    Surveyed(Result<Vec<LinkSeen>, PodError>),
    /// A runtime asks.
    Asked(OpId, Request),
    /// [`Command::Enforce`] ended.
    Enforced(Result<(), PodError>),
    /// [`Command::Translate`] ended.
    Translated(Result<(), PodError>),
    /// Another program had touched this table; it was put back, or could not be.
    Restored(RuleTable, Result<(), PodError>),
    /// A command for one attachment ended.
    Answered(AttachmentId, Answer),
    /// How many BGP peers there are and how many sessions are established.
    Sessions {
        /// Peers of the configuration.
        configured: usize,
        /// Of these, established.
        established: usize,
    },
    /// The smallest MTU of the ways to the peers, in octets; `None` if there is no way.
    PathMtu(Option<u32>),
    /// The interface of this index is gone from the host: somebody's, perhaps a pod's.
    LinkGone(u32),
    /// An interface of the host is so now: somebody's, perhaps a pod's.
    LinkChanged(Box<LinkSeen>),
    /// Something else may have changed of the interface of this index: a neighbour, a setting.
    Disturbed(u32),
    /// Another program has changed a route to this very address.
    RouteChanged(IpAddr),
    /// Changes of pods' things by other programs were missed.
    Missed,
    /// [`Command::Discard`] ended, one way or the other.
    Discarded(String),
    /// What the book says may differ from the kernel: look at every interface again.
    Doubt,
    /// The configuration is another one. Holds for pods that are made from now on.
    Configured(Box<Settings>),
    /// The time of [`Pods::poll_timeout`](super::Pods::poll_timeout) has come.
    Due,
}

/// How a command for one attachment ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// [`Command::Attach`].
    Attached(Result<(), AttachFailure>),
    /// [`Command::Observe`].
    Observed(Result<Box<Picture>, PodError>),
    /// [`Command::Inspect`].
    Inspected(Result<Box<Picture>, PodError>),
    /// [`Command::Mend`].
    Mended(Result<(), PodError>),
    /// [`Command::Cut`].
    Cut(Result<(), PodError>),
    /// [`Command::Sweep`].
    Swept(Result<(), PodError>),
}

/// How far an attempt to attach came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttachFailure {
    /// Why it went no further.
    pub error: PodError,
    /// Number of steps, from the first, that may have had an effect.
    pub reached: usize,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// List every interface of the host.
    Survey,
    /// Carry out the steps, in the namespace that came with the request.
    Attach(OpId, AttachmentId, Vec<Step>),
    /// Look at everything that the wiring names, in the namespace that came with the request.
    Observe(OpId, Box<Wiring>),
    /// Look at what the wiring names on the host.
    Inspect(Box<Wiring>),
    /// Carry out the steps, whether one is refused or not; all are on the host's side.
    Mend(AttachmentId, Vec<Step>),
    /// Put the rules in force, in place of whatever they were; `None`: no rules.
    Enforce(Option<Rules>),
    /// Have these packets leave with an address of the node, and no others.
    Translate(Vec<Translation>),
    /// Carry out the steps; all are on the host's side.
    Cut(AttachmentId, Vec<Step>),
    /// Delete the pair, which is in [`GROUP_DOOMED`](super::step::GROUP_DOOMED) by now.
    Sweep(AttachmentId),
    /// Delete an interface that no pod uses.
    Discard(String),
    /// Take back what the host's end of this index, which is gone, may send from. Nothing waits for it,
    /// but nothing may be permitted on a new interface of that index before.
    Unpermit(u32),
    /// Answer.
    Reply(OpId, Reply),
    /// Write into the journal; nothing waits for it.
    Record(Record),
    /// Tell the operator.
    Notice(Notice),
}

/// A table of rules of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RuleTable {
    /// What pods may send.
    Guard,
    /// What leaves with an address of the node.
    Nat,
}

/// What pods may send, all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Which interface from which address.
    pub permits: Vec<(u32, IpAddr)>,
    /// TCP ports of the node that pods do not reach.
    pub closed_ports: Vec<u16>,
}

/// One change of the leases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// An attachment has got a lease.
    Leased(AttachmentId, Lease),
    /// Addresses became idle at this moment.
    Released(Lease, Instant),
}

/// What the journal says at the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Leases of the former run.
    pub leases: Vec<(AttachmentId, Lease)>,
    /// Addresses that were idle, and since when.
    pub idle: Vec<(IpAddr, Instant)>,
}

/// Something an operator would want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The pods of a former run are known; so many.
    Adopted(usize),
    /// Two pods of a former run have the same address, or claim to be the same attachment.
    Conflict {
        /// The pod that is kept out of the leases.
        id: AttachmentId,
        /// Why.
        error: LeaseError,
    },
    /// Two interfaces claim to be the same attachment; this one is left alone.
    Twin {
        /// Its name.
        link: String,
        /// What both claim to be.
        id: AttachmentId,
    },
    /// An interface of a daemon that died while making it is deleted.
    Leftover(String),
    /// An interface in our link group is not understood and left alone.
    Unreadable {
        /// Its name.
        link: String,
        /// Why.
        reason: BadAlias,
    },
    /// The interfaces could not be listed; tried again.
    SurveyFailed(PodError),
    /// Other programs have changed things of a pod on the host, and they are as they were.
    Mended {
        /// The first such pod.
        id: AttachmentId,
        /// What was wrong.
        what: PodError,
        /// How many others since the last notice.
        more: u64,
    },
    /// Something of a pod on the host differs and stays so, for now.
    Unmended {
        /// The first such pod.
        id: AttachmentId,
        /// What is wrong, or why it cannot be put right.
        what: PodError,
        /// How many others since the last notice.
        more: u64,
    },
    /// A pod's interface has gone without a DEL: with its namespace, or somebody has deleted it.
    Vanished(AttachmentId),
    /// The rules of what pods may send could not be put in force; tried again.
    NotEnforced(PodError),
    /// NAT outgoing could not be put in force; tried again.
    NotTranslated(PodError),
    /// A table that another program had touched is as it was.
    Restored(RuleTable),
    /// A pod could not be removed; tried again.
    Stuck {
        /// Which.
        id: AttachmentId,
        /// Why.
        error: PodError,
    },
    /// A repeated ADD found a pod damaged and makes it anew.
    Rebuilding {
        /// Which.
        id: AttachmentId,
        /// What was wrong.
        found: Vec<Difference>,
    },
}
