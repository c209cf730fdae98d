//! Actions: the changes that a statement makes to a path's attributes.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::{
    Context, NextHopChoice, Source,
    evaluate::Draft,
    tags::{Tag, TagSet},
};
use crate::{
    attrs::{DEFAULT_LOCAL_PREF, NextHop, Origin},
    community::{Community, ExtCommunity, LargeCommunity, Rate},
    family::Family,
};

/// A change to a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Sets the weight, which only this router sees.
    SetWeight(u32),
    /// Changes LOCAL_PREF; one that is missing counts as 100.
    LocalPref(Adjust),
    /// Changes MED; one that is missing counts as 0.
    Med(Adjust),
    /// Takes MED off.
    RemoveMed,
    /// Sets ORIGIN.
    SetOrigin(Origin),
    /// Changes communities.
    Communities(Edit<Community>),
    /// Changes large communities.
    LargeCommunities(Edit<LargeCommunity>),
    /// Changes extended communities.
    ExtCommunities(Edit<ExtCommunity>),
    /// Puts a link bandwidth in place of any other.
    SetLinkBandwidth(Rate),
    /// Puts our own AS in front this often, beyond what export does anyway.
    Prepend(usize),
    /// Puts the AS that stands first in front again this often; nothing on a path without one.
    PrependLastAs(usize),
    /// Changes the next hop.
    SetNextHop(NextHopAction),
}

/// A change to a number. Results stay within 32 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adjust {
    /// To this.
    Set(u32),
    /// By this much more.
    Add(u32),
    /// By this much less.
    Subtract(u32),
}

/// A change to the communities of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit<T> {
    /// Adds these.
    Add(Vec<T>),
    /// Removes those of this set.
    Remove(TagSet<T>),
    /// Puts these in place of all.
    Replace(Vec<T>),
}

/// A change to the next hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextHopAction {
    /// These addresses, each for prefixes of its family.
    Address {
        /// For IPv4 prefixes.
        ipv4: Option<Ipv4Addr>,
        /// For IPv6 prefixes.
        ipv6: Option<Ipv6Addr>,
    },
    /// On import: the peer. Not an IPv4 address for an IPv6 prefix. No use on export.
    Peer,
    /// On export: this router, also where it would keep another's. No effect on import.
    Own,
    /// On export: the one that the path has, also where this router would put itself. No effect
    /// on import, nor on what this router originates.
    Unchanged,
}

/// Sets a field of the draft if that makes a difference.
macro_rules! set {
    ($draft:ident.$field:ident, $new:expr) => {{
        let new = $new;
        if $draft.$field != new {
            $draft.change().$field = new;
        }
    }};
}

/// Changes a list of communities if that makes a difference.
macro_rules! edit {
    ($draft:ident.$field:ident, $edit:expr) => {
        if let Some(new) = $edit.of(&$draft.$field) {
            $draft.change().$field = new;
        }
    };
}

impl Action {
    /// Makes the change. Touches the draft only if that makes a difference. Lists stay sorted
    /// and without repeats, as [`Attrs`](crate::attrs::Attrs) wants them.
    pub(super) fn apply(&self, context: &Context<'_>, draft: &mut Draft<'_>) {
        match self {
            Self::SetWeight(weight) => set!(draft.weight, *weight),
            Self::LocalPref(adjust) => {
                let old = draft.local_pref.unwrap_or(DEFAULT_LOCAL_PREF);
                set!(draft.local_pref, Some(adjust.of(old)));
            }
            Self::Med(adjust) => set!(draft.med, Some(adjust.of(draft.med.unwrap_or(0)))),
            Self::RemoveMed => set!(draft.med, None),
            Self::SetOrigin(origin) => set!(draft.origin, *origin),
            Self::Communities(edit) => edit!(draft.communities, edit),
            Self::LargeCommunities(edit) => edit!(draft.large_communities, edit),
            Self::ExtCommunities(edit) => edit!(draft.ext_communities, edit),
            Self::SetLinkBandwidth(rate) => {
                let new = ExtCommunity::link_bandwidth(context.local_asn, *rate);
                let is_rate = |community: &&ExtCommunity| community.is_link_bandwidth();
                if !draft.ext_communities.iter().filter(is_rate).eq([&new]) {
                    let list = &mut draft.change().ext_communities;
                    list.retain(|community| !community.is_link_bandwidth());
                    add(list, &[new]);
                }
            }
            Self::Prepend(times) => {
                set!(draft.as_path, draft.as_path.prepended(context.local_asn, *times));
            }
            Self::PrependLastAs(times) => {
                if let Some(first) = draft.as_path.first() {
                    set!(draft.as_path, draft.as_path.prepended(first, *times));
                }
            }
            Self::SetNextHop(action) => action.apply(context, draft),
        }
    }
}

impl Adjust {
    const fn of(self, old: u32) -> u32 {
        match self {
            Self::Set(new) => new,
            Self::Add(more) => old.saturating_add(more),
            Self::Subtract(less) => old.saturating_sub(less),
        }
    }
}

impl<T: Tag> Edit<T> {
    /// What becomes of a list; `None` if it stays as it is.
    fn of(&self, old: &[T]) -> Option<Vec<T>> {
        match self {
            Self::Add(new) => {
                let missing = new.iter().any(|tag| old.binary_search(tag).is_err());
                missing.then(|| {
                    let mut list = old.to_vec();
                    add(&mut list, new);
                    list
                })
            }
            Self::Remove(set) => set
                .has_any(old)
                .then(|| old.iter().copied().filter(|tag| !set.contains(*tag)).collect()),
            Self::Replace(new) => {
                let mut list = Vec::new();
                add(&mut list, new);
                (list != old).then_some(list)
            }
        }
    }
}

fn add<T: Tag>(sorted: &mut Vec<T>, new: &[T]) {
    sorted.extend_from_slice(new);
    sorted.sort_unstable();
    sorted.dedup();
}

impl NextHopAction {
    fn apply(self, context: &Context<'_>, draft: &mut Draft<'_>) {
        let v4_prefix = context.prefix.family() == Family::Ipv4Unicast;
        let next_hop = match self {
            Self::Address { ipv4, ipv6: _ } if v4_prefix => {
                ipv4.map(|ipv4| NextHop::new(ipv4.into()))
            }
            Self::Address { ipv4: _, ipv6 } => ipv6.map(|ipv6| NextHop::new(ipv6.into())),
            Self::Peer => {
                let peer = context.peer.next_hop;
                (v4_prefix || peer.addr.is_ipv6()).then_some(peer)
            }
            Self::Own => {
                draft.next_hop_choice = NextHopChoice::Own;
                return;
            }
            Self::Unchanged => {
                if context.source != Source::Local {
                    draft.next_hop_choice = NextHopChoice::AsItIs;
                }
                return;
            }
        };
        if let Some(next_hop) = next_hop {
            set!(draft.next_hop, next_hop);
            draft.next_hop_choice = NextHopChoice::AsItIs;
        }
    }
}
