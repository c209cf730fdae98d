//! Dynamic peers: who connects from a group's prefix becomes a peer, and is one no longer when its
//! task has ended.
//!
//! In: connections from addresses that are no peer's. Out: members, made from the group's settings;
//! for those who are too many, a NOTIFICATION "Out of Resources" (RFC 4486 §4).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bgp::{rib::PeerId, wire::Notification};
use bytes::Bytes;
use tokio::sync::mpsc;

use super::{Member, Roster};
use crate::{
    config::{DynamicPeers, Peer, PeerAddress},
    peering::listener::{Doors, Guest, Strangers},
};

/// Where connections of nobody's addresses wait.
pub(super) struct Hall {
    groups: Vec<DynamicPeers>,
    /// Groups that have refused somebody since they were last below their limit.
    full: BTreeSet<Arc<str>>,
    strangers: Strangers,
    entrance: mpsc::Sender<Guest>,
    pub(super) arrivals: mpsc::Receiver<Guest>,
}

impl Hall {
    pub(super) fn new(groups: &[DynamicPeers]) -> Self {
        let (entrance, arrivals) = mpsc::channel(WAITING);
        let (groups, full, strangers) = (groups.to_vec(), BTreeSet::new(), Strangers::new());
        Self { groups, full, strangers, entrance, arrivals }
    }

    pub(super) fn set_groups(&mut self, groups: &[DynamicPeers]) {
        self.groups = groups.to_vec();
        self.full.clear();
    }

    /// Nobody who comes from now on is told that we have restarted.
    pub(super) fn end_restart(&mut self) {
        for group in &mut self.groups {
            if let Some(restart) = &mut group.template_mut().session.graceful_restart {
                restart.restarted = None;
            }
        }
    }

    /// The doors with the way into this hall, if there are groups.
    pub(super) fn open(&self, doors: Doors) -> Doors {
        if self.groups.is_empty() {
            return doors;
        }
        let from = self.groups.iter().map(|group| group.prefix).collect();
        doors.with_hall(self.entrance.clone(), from)
    }

    /// Members that stay, with the settings that their groups have now. Those who have an entry of
    /// their own by now are not among them.
    pub(super) fn keep(&self, former: &BTreeMap<PeerAddress, Member>, peers: &[Peer]) -> Vec<Peer> {
        let members = former.values().filter_map(|member| {
            let settings = &member.handle.settings;
            settings.membership.as_ref()?;
            let address = settings.address.fixed()?;
            let own_entry = peers.iter().any(|peer| peer.address == settings.address);
            let group = DynamicPeers::find(&self.groups, address).filter(|_| !own_entry)?;
            Some(group.member(address))
        });
        members.collect()
    }
}

impl Roster {
    /// Makes peers of those who may be peers.
    pub(super) fn welcome(&mut self, guests: impl Iterator<Item = Guest>) {
        let before = self.members.len();
        for guest in guests {
            self.admit(guest);
        }
        if self.members.len() > before {
            self.publish();
        }
    }

    fn admit(&mut self, Guest { stream, source }: Guest) {
        let address = source.ip().to_canonical();
        // A second connection may come before the first has made its door known.
        let known = self
            .members
            .iter()
            .find(|member| member.handle.settings.address.fixed() == Some(address));
        if let Some(member) = known {
            // Dropped if earlier ones wait still, as at every door.
            let _ = member.door.try_send(stream);
            return;
        }
        let Some(group) = DynamicPeers::find(&self.hall.groups, address).cloned() else {
            // The configuration has changed in this moment.
            return;
        };
        if self.count(&group.name) >= group.limit {
            if self.hall.full.insert(Arc::clone(&group.name)) {
                tracing::warn!(
                    peer = %address,
                    group = %group.name,
                    limit = group.limit,
                    "refused a dynamic peer: its group is full; raise dynamic_peers[].limit",
                );
            }
            return self.hall.strangers.refuse(stream, out_of_resources());
        }
        tracing::info!(peer = %address, group = %group.name, "a dynamic peer has come");
        let member = self.engage(Arc::new(group.member(address)));
        // A new door has room.
        let _ = member.door.try_send(stream);
        self.members.push(member);
    }

    /// A peer's task has ended. A dynamic peer is none any more.
    pub(super) fn part(&mut self, id: PeerId) {
        let is_it =
            |member: &Member| member.handle.id == id && member.handle.settings.membership.is_some();
        let Some(at) = self.members.iter().position(is_it) else { return };
        let member = self.members.remove(at);
        if let Some(membership) = &member.handle.settings.membership {
            self.hall.full.remove(&membership.group);
            let (peer, group) = (&member.handle.settings.name, &membership.group);
            tracing::info!(%peer, %group, "a dynamic peer is gone");
        }
        self.publish();
    }

    fn count(&self, group: &Arc<str>) -> usize {
        let memberships = self.members.iter().map(|member| &member.handle.settings.membership);
        memberships.flatten().filter(|membership| membership.group == *group).count()
    }
}

/// Cease, Out of Resources.
fn out_of_resources() -> Bytes {
    Notification { code: 6, subcode: 8, data: Bytes::new() }.encode()
}

/// Connections that may wait to be looked at. What comes beyond is closed, and comes again.
const WAITING: usize = 256;
