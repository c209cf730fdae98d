//! Conditions: does a path match a statement? Changes nothing.

use std::{fmt, ops::RangeInclusive, sync::Arc};

use super::{
    AsnSet, Context, PathRegex, PeerRef, Policy, PrefixSet, Source,
    evaluate::{Draft, Observer},
    tags::{Tag, TagSet},
};
use crate::{
    aspath::Asn,
    attrs::{Attrs, DEFAULT_LOCAL_PREF, Origin},
    community::{Community, ExtCommunity, LargeCommunity},
    family::Family,
};

/// A condition on a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// The prefix is in this set.
    Prefix(PrefixSet),
    /// The prefix is of this family.
    Family(Family),
    /// One of these stands in the AS path.
    AsPathContains(AsnSet),
    /// The AS path ends with one of these.
    OriginatedBy(AsnSet),
    /// The AS path begins with one of these.
    NeighborAs(AsnSet),
    /// The AS path has a number of hops in this range.
    AsPathLength(RangeInclusive<usize>),
    /// The AS path matches one of these expressions.
    AsPath(Vec<PathRegex>),
    /// It carries such communities.
    Communities(Carries<Community>),
    /// It carries such large communities.
    LargeCommunities(Carries<LargeCommunity>),
    /// It carries such extended communities.
    ExtCommunities(Carries<ExtCommunity>),
    /// Its next hop is inside one of these prefixes. Never holds for what this router
    /// originates, which has no next hop yet.
    NextHop(PrefixSet),
    /// It has one of these ORIGINs.
    Origin(Vec<Origin>),
    /// It came from one of these.
    Source(Vec<Source>),
    /// Its LOCAL_PREF is in this range; one that is missing counts as 100.
    LocalPref(RangeInclusive<u32>),
    /// Its MED is in this range; one that is missing counts as 0.
    Med(RangeInclusive<u32>),
    /// The session is with one of these peers: it came from it, or would go to it.
    Peer(PeerTest),
    /// It was learned from one of these peers; on import the same as `Peer`.
    LearnedFrom(PeerTest),
    /// This policy accepts it. What that policy would change is not changed.
    Policy(Arc<Policy>),
    /// This does not hold.
    Not(Box<Self>),
}

/// A condition on the communities of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Carries<T> {
    /// One of these.
    Any(TagSet<T>),
    /// Every one of these; a pattern is met by any that it matches.
    All(TagSet<T>),
    /// A number of them in this range.
    Count(RangeInclusive<usize>),
}

/// A condition on a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerTest {
    /// It has one of these names.
    Name(Vec<Arc<str>>),
    /// It is in one of these groups.
    Group(Vec<Arc<str>>),
    /// Its AS is one of these.
    Asn(AsnSet),
}

impl Condition {
    /// Does it hold for this path?
    pub(super) fn holds<O: Observer>(
        &self,
        context: &Context<'_>,
        attrs: &Attrs,
        observer: &mut O,
    ) -> bool {
        let is_one_of = |asn: Option<Asn>, set: &AsnSet| asn.is_some_and(|asn| set.contains(asn));
        match self {
            Self::Prefix(set) => set.contains(context.prefix),
            Self::Family(family) => context.prefix.family() == *family,
            Self::AsPathContains(set) => attrs.as_path.asns().any(|asn| set.contains(asn)),
            Self::OriginatedBy(set) => is_one_of(attrs.as_path.origin(), set),
            Self::NeighborAs(set) => is_one_of(attrs.as_path.first(), set),
            Self::AsPathLength(range) => range.contains(&attrs.as_path.hops()),
            Self::AsPath(list) => list.iter().any(|regex| regex.matches(&attrs.as_path)),
            Self::Communities(carries) => carries.holds(&attrs.communities),
            Self::LargeCommunities(carries) => carries.holds(&attrs.large_communities),
            Self::ExtCommunities(carries) => carries.holds(&attrs.ext_communities),
            Self::NextHop(set) => {
                context.source != Source::Local && set.covers(attrs.next_hop.addr)
            }
            Self::Origin(list) => list.contains(&attrs.origin),
            Self::Source(list) => list.contains(&context.source),
            Self::LocalPref(range) => {
                range.contains(&attrs.local_pref.unwrap_or(DEFAULT_LOCAL_PREF))
            }
            Self::Med(range) => range.contains(&attrs.med.unwrap_or(0)),
            Self::Peer(test) => test.holds(context.peer),
            Self::LearnedFrom(test) => context.from.is_some_and(|from| test.holds(from)),
            Self::Policy(policy) => {
                policy.evaluate(context, &mut Draft::new(attrs), observer).accepts()
            }
            Self::Not(condition) => !condition.holds(context, attrs, observer),
        }
    }
}

/// What is tested, in the words of the configuration: `communities`, `not as_path`.
impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Prefix(_) => "prefixes",
            Self::Family(_) => "family",
            Self::AsPathContains(_) => "as_path_contains",
            Self::OriginatedBy(_) => "originated_by",
            Self::NeighborAs(_) => "neighbor_as",
            Self::AsPathLength(_) => "as_path_length",
            Self::AsPath(_) => "as_path",
            Self::Communities(_) => "communities",
            Self::LargeCommunities(_) => "large_communities",
            Self::ExtCommunities(_) => "extended_communities",
            Self::NextHop(_) => "next_hop",
            Self::Origin(_) => "origin",
            Self::Source(_) => "source",
            Self::LocalPref(_) => "local_preference",
            Self::Med(_) => "med",
            Self::Peer(PeerTest::Name(_)) => "peers",
            Self::Peer(PeerTest::Group(_)) => "peer_groups",
            Self::Peer(PeerTest::Asn(_)) => "peer_asns",
            Self::LearnedFrom(PeerTest::Name(_)) => "from_peers",
            Self::LearnedFrom(PeerTest::Group(_)) => "from_groups",
            Self::LearnedFrom(PeerTest::Asn(_)) => "from_asns",
            Self::Policy(policy) => return write!(f, "policy {}", policy.name),
            Self::Not(condition) => return write!(f, "not {condition}"),
        })
    }
}

impl<T: Tag> Carries<T> {
    fn holds(&self, tags: &[T]) -> bool {
        match self {
            Self::Any(set) => set.has_any(tags),
            Self::All(set) => set.has_all(tags),
            Self::Count(range) => range.contains(&tags.len()),
        }
    }
}

impl PeerTest {
    fn holds(&self, peer: PeerRef<'_>) -> bool {
        match self {
            Self::Name(names) => names.iter().any(|name| **name == *peer.name),
            Self::Group(groups) => {
                peer.group.is_some_and(|group| groups.iter().any(|other| **other == *group))
            }
            Self::Asn(set) => set.contains(peer.asn),
        }
    }
}
