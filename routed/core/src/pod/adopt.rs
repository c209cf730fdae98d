//! Pods of a former run, found again from the kernel's interfaces.
//!
//! In: every interface of the host. Out: what is ours among them and what that means. Touches
//! nothing; an interface outside our link groups is not even looked at.

use super::{
    alias::{self, BadAlias},
    check::LinkSeen,
    step::{GROUP_DOOMED, GROUP_LIVE},
    wiring::{HOST_MAC, LinkEnd, RouteStamp, Wiring},
};
use crate::attachment::LINK_PREFIX;

/// What an interface of ours is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// A pod's.
    Pod(Wiring),
    /// A pod's that was detached; deleting the interface was not finished.
    Doomed(Wiring),
    /// Made just before a daemon died, and never used: it has no alias, hence no routes.
    Leftover {
        /// Of the interface.
        name: String,
    },
    /// In our group, but its alias is not understood.
    Unreadable {
        /// Of the interface.
        name: String,
        /// Why.
        reason: BadAlias,
    },
}

impl Found {
    /// Name of the interface, if it is of no use to anybody and is deleted.
    pub(super) fn discarded(&self) -> Option<&str> {
        match self {
            Self::Leftover { name } => Some(name),
            Self::Pod(_) | Self::Doomed(_) | Self::Unreadable { .. } => None,
        }
    }

    /// Name of the interface.
    pub(super) fn link(&self) -> &str {
        match self {
            Self::Pod(wiring) | Self::Doomed(wiring) => &wiring.host.name,
            Self::Leftover { name } | Self::Unreadable { name, .. } => name,
        }
    }
}

/// What is ours, in the order of the interfaces.
pub(super) fn adopt(links: &[LinkSeen], routes: RouteStamp) -> Vec<Found> {
    links.iter().filter_map(|link| recognize(link, routes)).collect()
}

/// What one interface is; `None` for a stranger's.
#[must_use]
pub fn recognize(link: &LinkSeen, routes: RouteStamp) -> Option<Found> {
    if !link.veth || !matches!(link.group, GROUP_LIVE | GROUP_DOOMED) {
        return None;
    }
    let name = || link.name.clone();
    let Some(text) = &link.alias else {
        let ours = link.name.starts_with(LINK_PREFIX);
        return Some(if ours {
            Found::Leftover { name: name() }
        } else {
            Found::Unreadable { name: name(), reason: BadAlias::NotOurs }
        });
    };
    let identity = match alias::decode(text) {
        Ok(identity) => identity,
        Err(reason) => return Some(Found::Unreadable { name: name(), reason }),
    };
    let wiring = Wiring {
        host: LinkEnd { name: name(), index: link.index, mac: link.mac.unwrap_or(HOST_MAC) },
        inside: LinkEnd {
            name: identity.id.ifname().to_owned(),
            index: link.peer.unwrap_or_default(),
            mac: identity.mac,
        },
        id: identity.id,
        pod: identity.pod,
        lease: identity.lease,
        mtu: link.mtu,
        default_route: identity.default_route,
        destinations: Vec::new(),
        routes,
    };
    Some(if link.group == GROUP_LIVE { Found::Pod(wiring) } else { Found::Doomed(wiring) })
}
