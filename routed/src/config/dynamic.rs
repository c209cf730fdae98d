//! Groups of peers that are known by a prefix only: who connects from there is a peer.

use std::{net::IpAddr, sync::Arc, time::Duration};

use bgp::{config::RibPeerConfig, prefix::Prefix};

use super::{Peer, PeerAddress};

/// One `[[dynamic_peers]]` entry.
#[derive(Clone, Debug)]
pub struct DynamicPeers {
    /// Unique name, also among peers; the prefix unless given.
    pub name: Arc<str>,
    /// Where its members connect from. No two groups have the same; of several that contain an
    /// address the one with the longest prefix counts.
    pub prefix: Prefix,
    /// Most members at one time.
    pub limit: usize,
    /// How long a member is kept whose session has ended.
    pub linger: Duration,
    /// A member, but for its name and address.
    template: Peer,
}

/// What makes a peer a member of such a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// Name of the group.
    pub group: Arc<str>,
    /// As in [`DynamicPeers::linger`].
    pub linger: Duration,
}

impl DynamicPeers {
    pub(super) fn new(
        name: Arc<str>,
        prefix: Prefix,
        limit: usize,
        linger: Duration,
        template: Peer,
    ) -> Self {
        Self { name, prefix, limit, linger, template }
    }

    /// The member at this address. Its name, `GROUP@ADDRESS`, can be no other peer's.
    #[must_use]
    pub fn member(&self, address: IpAddr) -> Peer {
        let name: Arc<str> = format!("{}@{address}", self.name).into();
        let membership = Membership { group: Arc::clone(&self.name), linger: self.linger };
        Peer {
            name: Arc::clone(&name),
            address: PeerAddress::Fixed(address),
            rib: RibPeerConfig { name, ..self.template.rib.clone() },
            membership: Some(membership),
            ..self.template.clone()
        }
    }

    /// Policies know the members by this group of peers, else by the name of this one.
    pub(super) fn join(&mut self, group: Option<Arc<str>>) {
        self.template.rib.group = group.or_else(|| Some(Arc::clone(&self.name)));
    }

    /// What all members have in common.
    #[must_use]
    pub const fn template(&self) -> &Peer {
        &self.template
    }

    /// The same, to change.
    pub(crate) const fn template_mut(&mut self) -> &mut Peer {
        &mut self.template
    }

    /// The group that somebody at this address can be in.
    #[must_use]
    pub fn find(groups: &[Self], address: IpAddr) -> Option<&Self> {
        let wide = groups.iter().filter(|group| group.prefix.contains(address));
        wide.max_by_key(|group| group.prefix.len())
    }
}
