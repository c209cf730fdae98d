//! What a station is told, and the gathering of routes into few reports.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::{
    aspath::Asn,
    attrs::Attrs,
    family::{Family, FamilySet, PerFamily},
    rib::{Opening, PeerId, PeerUp, SessionOptions, View},
    session::Cause,
    timestamp::Timestamp,
    wire::{Nlri, Reach, Update},
};

/// A session with a peer, for those who monitor it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Monitored {
    /// The peer's number.
    pub id: PeerId,
    /// The peer's address.
    pub address: IpAddr,
    /// The peer's AS.
    pub asn: Asn,
    /// The peer's BGP identifier.
    pub router_id: Ipv4Addr,
    /// Families that were agreed on.
    pub families: FamilySet,
    /// What else was agreed.
    pub options: SessionOptions,
    /// How it began.
    pub opening: Opening,
}

impl Monitored {
    pub(in crate::rib) fn new(id: PeerId, up: &PeerUp) -> Self {
        Self {
            id,
            address: up.address,
            asn: up.peer_asn,
            router_id: up.router_id,
            families: up.families,
            options: up.options,
            opening: up.opening.clone(),
        }
    }
}

/// Something that a station must be told, in the order in which it is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// A session stands.
    Up(Arc<Monitored>),
    /// It is over, and with it every route that was reported of it.
    Down {
        /// Which.
        session: Arc<Monitored>,
        /// Why.
        why: Cause,
        /// Since when.
        at: Timestamp,
    },
    /// Routes of a view.
    Routes {
        /// Whose; `None` for the Loc-RIB.
        session: Option<Arc<Monitored>>,
        /// Which view.
        view: View,
        /// When they were learned, or when they went.
        at: Timestamp,
        /// Either withdrawals, or announcements with one set of attributes, or an End-of-RIB.
        update: Update,
    },
}

/// Routes of one view, gathered by their attributes and their time. A prefix stands there once,
/// so that their order does not matter.
pub(super) struct Batch {
    session: Option<Arc<Monitored>>,
    view: View,
    now: Timestamp,
    prefixes: usize,
    withdrawn: PerFamily<Vec<Nlri>>,
    reach: Vec<(Timestamp, Reach)>,
    /// Where in `reach` attributes (by address: `reach` keeps them alive) of a time stand.
    groups: HashMap<(Family, *const Attrs, Timestamp), usize, RandomState>,
    complete: FamilySet,
}

impl Batch {
    pub(super) fn new(session: Option<Arc<Monitored>>, view: View, now: Timestamp) -> Self {
        Self {
            session,
            view,
            now,
            prefixes: 0,
            withdrawn: PerFamily::default(),
            reach: Vec::new(),
            groups: HashMap::default(),
            complete: FamilySet::NONE,
        }
    }

    pub(super) const fn now(&self) -> Timestamp {
        self.now
    }

    pub(super) const fn prefixes(&self) -> usize {
        self.prefixes
    }

    pub(super) fn withdraw(&mut self, nlri: Nlri) {
        self.withdrawn.get_mut(nlri.family()).push(nlri);
        self.prefixes += 1;
    }

    pub(super) fn reach(&mut self, nlri: Nlri, attrs: Arc<Attrs>, learned: Timestamp) {
        let family = nlri.family();
        let group = (family, Arc::as_ptr(&attrs), learned);
        let at = *self.groups.entry(group).or_insert_with(|| {
            self.reach.push((learned, Reach { family, attrs, prefixes: Vec::new() }));
            self.reach.len() - 1
        });
        self.reach[at].1.prefixes.push(nlri);
        self.prefixes += 1;
    }

    /// The initial transfer of these families ends with this batch.
    pub(super) const fn complete(&mut self, families: FamilySet) {
        self.complete = families;
    }

    pub(super) fn into_reports(mut self) -> Vec<Report> {
        let mut updates = Vec::with_capacity(self.reach.len() + 4);
        for family in Family::ALL {
            let withdrawn = std::mem::take(self.withdrawn.get_mut(family));
            if !withdrawn.is_empty() {
                updates.push((self.now, Update { withdrawn, ..Update::default() }));
            }
        }
        for (learned, reach) in self.reach {
            updates.push((learned, Update { reach: vec![reach], ..Update::default() }));
        }
        for family in self.complete.iter() {
            updates.push((self.now, Update { end_of_rib: Some(family), ..Update::default() }));
        }
        let (session, view) = (&self.session, self.view);
        let report = |(at, update)| Report::Routes { session: session.clone(), view, at, update };
        updates.into_iter().map(report).collect()
    }
}
