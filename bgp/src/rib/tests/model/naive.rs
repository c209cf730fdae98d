//! A RIB that keeps what it was told and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use super::{super::*, LOCAL_AS};
use crate::{
    attrs::Aggregator,
    community::{Community, ExtCommunity},
    config::{AddPath, PrivateAs},
    policy::{Context, NextHopChoice, Outcome, PeerRef, Source},
};

/// See the module.
#[derive(Default)]
pub(super) struct Naive {
    pub(super) resolve: bool,
    pub(super) drain: bool,
    /// Peers that are waited for after a restart.
    pub(super) waiting: BTreeSet<u8>,
    pub(super) peers: BTreeMap<u8, NaivePeer>,
    pub(super) local: BTreeMap<Prefix, Attrs>,
    /// Each with whether it is told alone.
    pub(super) aggregates: BTreeMap<Prefix, bool>,
    /// Answers for next hops that were asked for.
    pub(super) next_hops: BTreeMap<NextHop, Option<Resolution>>,
}

/// A peer that is up, or of which there are stale paths.
pub(super) struct NaivePeer {
    pub(super) up: PeerUp,
    pub(super) live: bool,
    pub(super) heard: BTreeMap<Nlri, Heard>,
    /// Families whose End-of-RIB came in this session.
    pub(super) ended: FamilySet,
    /// Families that it is announcing again.
    pub(super) refreshing: FamilySet,
    /// Families of which it has announced more than it may, so that no more are taken.
    pub(super) exceeded: FamilySet,
}

impl NaivePeer {
    /// Is what was heard within the limit, and was it ever since the limit was set?
    pub(super) fn is_within_limit(&mut self, family: Family) -> bool {
        let count = self.heard.keys().filter(|nlri| nlri.family() == family).count();
        if let Some(limit) = self.up.config.max_prefixes.get(family)
            && limit.at_limit.stops()
            && count > limit.max as usize
        {
            self.exceeded.insert(family);
        }
        !self.exceeded.contains(family)
    }
}

/// A path as a peer announced it.
pub(super) struct Heard {
    pub(super) attrs: Attrs,
    pub(super) freshness: Freshness,
    pub(super) unrefreshed: bool,
}

/// An eligible path.
#[derive(Clone)]
struct Way<'a> {
    /// Which path of which peer; `None` is ours.
    from: Option<(u8, &'a PeerUp, u32)>,
    attrs: Attrs,
    cost: u32,
}

/// Peers and attributes of paths in use, best first.
pub(super) type Used = Vec<(Option<u8>, Attrs)>;

impl Naive {
    /// The next hops of this number in the paths of each family.
    pub(super) fn next_hops(number: u8) -> [NextHop; 2] {
        [path(200 + number, &[]), path_v6(200 + number, &[])].map(|attrs| attrs.next_hop)
    }

    /// The peer if its session is up.
    pub(super) fn live(&mut self, peer: u8) -> Option<&mut NaivePeer> {
        self.peers.get_mut(&peer).filter(|state| state.live)
    }

    /// Takes out paths of a peer, and the peer if nothing is left of it.
    pub(super) fn retain(&mut self, peer: u8, kept: impl Fn(Family, &Heard) -> bool) {
        let Some(state) = self.peers.get_mut(&peer) else { return };
        state.heard.retain(|nlri, heard| kept(nlri.family(), heard));
        if !state.live && state.heard.is_empty() {
            self.peers.remove(&peer);
        }
    }

    /// Stale paths of the peer become long-lived ones (RFC 9494 §4.2).
    pub(super) fn long_lived(&mut self, peer: u8, families: FamilySet) {
        let Some(state) = self.peers.get_mut(&peer) else { return };
        let up = state.up.clone();
        let refuses = |attrs: &Attrs| attrs.communities.contains(&Community::NO_LLGR);
        state.heard.retain(|nlri, heard| {
            let concerned = families.contains(nlri.family()) && heard.freshness == Freshness::Stale;
            let accepted = Self::import(&up, nlri.prefix, &heard.attrs, heard.freshness);
            !concerned || !refuses(&heard.attrs) && !accepted.is_some_and(|it| refuses(&it))
        });
        for (nlri, heard) in &mut state.heard {
            if families.contains(nlri.family()) && heard.freshness == Freshness::Stale {
                heard.freshness = Freshness::LongLived;
            }
        }
        self.retain(peer, |_, _| true);
    }

    fn import(up: &PeerUp, prefix: Prefix, attrs: &Attrs, freshness: Freshness) -> Option<Attrs> {
        let external = up.peer_asn != US;
        let ours = attrs.as_path.asns().filter(|asn| *asn == US).count();
        if ours > usize::from(up.config.allow_own_as) {
            return None;
        }
        let mut attrs = attrs.clone();
        if let Some(role) = up.options.role {
            attrs.otc = role.receive(attrs.otc, up.peer_asn).ok()?;
        }
        if up.local_asn == LOCAL_AS && !up.config.local_as.no_prepend {
            let asns = std::iter::once(LOCAL_AS).chain(attrs.as_path.asns());
            attrs.as_path = AsPath::sequence(asns.map(|asn| asn.0).collect::<Vec<_>>());
        }
        let source = if external { Source::Ebgp } else { Source::Ibgp };
        let mut attrs = match &up.config.import {
            None if external => return None,
            None => attrs,
            Some(policy) => {
                let from = Some(peer_ref(up));
                match policy.apply(&context(up, prefix, source, from), &Arc::new(attrs)) {
                    Outcome::Accepted(accepted) => Attrs::clone(&accepted.attrs),
                    Outcome::Rejected(_) => return None,
                }
            }
        };
        if external && up.config.drain {
            put(&mut attrs, Community::GRACEFUL_SHUTDOWN);
        }
        if external && attrs.communities.contains(&Community::GRACEFUL_SHUTDOWN) {
            attrs.local_pref = Some(0);
        }
        if freshness == Freshness::LongLived {
            if attrs.communities.contains(&Community::NO_LLGR) {
                return None;
            }
            put(&mut attrs, Community::LLGR_STALE);
        }
        Some(attrs)
    }

    /// `None` if the next hop does not do.
    fn cost(&self, up: &PeerUp, attrs: &Attrs) -> Option<u32> {
        if !self.resolve {
            return Some(0);
        }
        match self.next_hops.get(&attrs.next_hop).copied().flatten()? {
            Resolution::Reachable { cost: 1.. } if up.config.next_hops_on_link => None,
            Resolution::Reachable { cost } => Some(cost),
            Resolution::Unreachable | Resolution::Own => None,
        }
    }

    /// What we originate, or else an aggregate of it.
    fn ours(&self, prefix: Prefix) -> Option<Attrs> {
        if let Some(attrs) = self.local.get(&prefix) {
            return Some(attrs.clone());
        }
        let contributes = |other: &Prefix| prefix.covers(*other) && *other != prefix;
        let active = self.aggregates.contains_key(&prefix) && self.local.keys().any(contributes);
        active.then(|| {
            let mut attrs = Attrs::originated(hop("0.0.0.0"));
            attrs.aggregator = Some(Aggregator { asn: US, router_id: OUR_ID });
            attrs
        })
    }

    fn is_summarised(&self, prefix: Prefix) -> bool {
        let mut aggregates = self.aggregates.iter();
        aggregates.any(|(around, alone)| *alone && around.covers(prefix) && *around != prefix)
    }

    fn eligible(&self, prefix: Prefix) -> Vec<Way<'_>> {
        let ours = self.ours(prefix).map(|attrs| Way { from: None, attrs, cost: 0 });
        let learned = self.peers.iter().flat_map(|(n, NaivePeer { up, heard, .. })| {
            let heard = heard.iter().filter(|(nlri, _)| nlri.prefix == prefix);
            heard.filter_map(|(nlri, heard)| {
                let attrs = Self::import(up, prefix, &heard.attrs, heard.freshness)?;
                let cost = self.cost(up, &attrs)?;
                Some(Way { from: Some((*n, up, nlri.path_id)), attrs, cost })
            })
        });
        ours.into_iter().chain(learned).collect()
    }

    /// RFC 4271 §9.1.2.2 as it is written: one filter after the other.
    fn used<'a>(mut ways: Vec<Way<'a>>, multipath: usize) -> Vec<Way<'a>> {
        let external = |way: &Way<'_>| way.from.is_some_and(|(_, up, _)| up.peer_asn != US);
        let stale = |way: &Way<'_>| way.attrs.communities.contains(&Community::LLGR_STALE);
        let preference = |way: &Way<'_>| way.attrs.local_pref.unwrap_or(100);
        let med = |way: &Way<'_>| way.attrs.med.unwrap_or(0);
        keep_least(&mut ways, stale);
        keep_least(&mut ways, |way| way.from.is_some());
        keep_least(&mut ways, |way| !way.attrs.weight);
        keep_least(&mut ways, |way| !preference(way));
        keep_least(&mut ways, |way| way.attrs.as_path.hops());
        let all = ways.clone();
        ways.retain(|way| {
            let neighbour = way.attrs.as_path.first();
            let rivals = all.iter().filter(|other| other.attrs.as_path.first() == neighbour);
            rivals.map(med).min() == Some(med(way))
        });
        keep_least(&mut ways, |way| !external(way));
        keep_least(&mut ways, |way| way.cost);
        ways.sort_by_key(|way| {
            let (router_id, address, path_id) = match way.from {
                None => (Ipv4Addr::UNSPECIFIED, None, 0),
                Some((_, up, path_id)) => (up.router_id, Some(up.address), path_id),
            };
            let id = way.attrs.originator_id.unwrap_or(router_id);
            (id, way.attrs.cluster_list.len(), address, path_id)
        });
        ways.truncate(multipath);
        ways
    }

    pub(super) fn best(&self, prefix: Prefix) -> Used {
        let used = Self::used(self.eligible(prefix), settings().multipath);
        used.into_iter().map(|way| (way.from.map(|(n, ..)| n), way.attrs)).collect()
    }

    /// What peer `n` must have been told of the prefix, sorted.
    pub(super) fn told(&self, n: u8, prefix: Prefix) -> Vec<Attrs> {
        let to = &self.peers[&n].up;
        let eligible = self.eligible(prefix);
        let used = Self::used(eligible.clone(), settings().multipath);
        let ways_in_use = used.clone();
        let several = to.options.add_path_send.contains(prefix.family());
        let (ways, most) = match to.config.add_path {
            AddPath::All if several => (eligible, usize::MAX),
            AddPath::Used if several => (used, usize::MAX),
            AddPath::Best(most) if several => (ranked(eligible), most.get().into()),
            _ if to.peer_asn != US && to.config.route_server_client => (ranked(eligible), 1),
            _ => (used.into_iter().take(1).collect(), 1),
        };
        let sum = ways_in_use.iter().map(|way| gbits(&way.attrs)).sum::<Option<u32>>();
        let told = ways.into_iter().filter_map(|way| {
            let gbits = if several { gbits(&way.attrs) } else { sum };
            self.export(n, to, prefix, (way, gbits.filter(|_| to.config.send_link_bandwidth)))
        });
        let mut told: Vec<_> = told.take(most).collect();
        told.sort();
        told
    }

    /// `gbits` is the bandwidth to be told where we are the next hop.
    fn export(
        &self,
        n: u8,
        to: &PeerUp,
        prefix: Prefix,
        (way, gbits): (Way<'_>, Option<u32>),
    ) -> Option<Attrs> {
        let (external, from) = (to.peer_asn != US, way.from.map(|(_, up, _)| up));
        let source = match from {
            None => Source::Local,
            Some(up) if up.peer_asn != US => Source::Ebgp,
            Some(_) => Source::Ibgp,
        };
        let server = external && to.config.route_server_client && source == Source::Ebgp;
        let client = |up: &PeerUp| up.config.route_reflector_client;
        let has = |community| way.attrs.communities.contains(&community);
        let knows_stale = to.options.long_lived.contains(prefix.family());
        if !to.families.contains(prefix.family())
            || from.is_some() && !self.waiting.is_empty()
            || way.from.is_some_and(|(from, ..)| from == n)
            || from.is_none() && self.is_summarised(prefix)
            || source == Source::Ibgp && !external && !client(to) && !from.is_some_and(client)
            || !server && has(Community::NO_ADVERTISE)
            || !server && external && has(Community::NO_EXPORT)
            || !server
                && external
                && has(Community::BLACKHOLE)
                && from.is_some()
                && !to.config.send_blackhole
            || external && has(Community::LLGR_STALE) && !knows_stale
        {
            return None;
        }
        let stale = has(Community::LLGR_STALE);
        let mut attrs = way.attrs;
        if external && !server && source != Source::Local {
            attrs.med = None;
        }
        let (mut attrs, choice) = match &to.config.export {
            None if external => return None,
            None => (attrs, NextHopChoice::Usual),
            Some(policy) => {
                let from = from.map(peer_ref);
                match policy.apply(&context(to, prefix, source, from), &Arc::new(attrs)) {
                    Outcome::Accepted(new) => (Attrs::clone(&new.attrs), new.next_hop),
                    Outcome::Rejected(_) => return None,
                }
            }
        };
        attrs.weight = 0;
        let usual =
            external && !server || source == Source::Local || !external && to.config.next_hop_self;
        let ours = match choice {
            NextHopChoice::Usual => usual,
            NextHopChoice::Own => true,
            NextHopChoice::AsItIs => attrs.next_hop.addr == to.address,
        };
        if ours {
            let own = if prefix.family() == Family::Ipv4Unicast { 0 } else { 1 };
            attrs.next_hop = NextHop::new(to.config.local_addresses[own]);
            if from.is_some() {
                let rate = gbits.map(|gbits| format!("{gbits}Gbit").parse().unwrap());
                let told = rate.map(|rate| ExtCommunity::link_bandwidth(to.local_asn, rate));
                attrs.ext_communities = told.into_iter().collect();
            }
        }
        if external {
            attrs.local_pref = None;
            attrs.originator_id = None;
            attrs.cluster_list.clear();
            if !server {
                attrs.as_path = told_path(to, &attrs.as_path);
            }
        } else {
            attrs.local_pref.get_or_insert(100);
            if let Some(up) = from.filter(|_| source == Source::Ibgp) {
                attrs.originator_id.get_or_insert(up.router_id);
                attrs.cluster_list.insert(0, OUR_ID);
            }
        }
        if let Some(role) = to.options.role {
            attrs.otc = role.send(attrs.otc, to.local_asn).ok()?;
        }
        if stale && !knows_stale {
            put(&mut attrs, Community::NO_EXPORT);
            attrs.local_pref = Some(0);
        }
        if self.drain || to.config.drain {
            put(&mut attrs, Community::GRACEFUL_SHUTDOWN);
            if !external {
                attrs.local_pref = Some(0);
            }
        }
        Some(attrs)
    }

    pub(super) fn wanted_next_hops(&self) -> BTreeSet<NextHop> {
        let paths = self.peers.values().flat_map(|NaivePeer { up, heard, .. }| {
            heard.iter().filter_map(|(nlri, heard)| {
                Self::import(up, nlri.prefix, &heard.attrs, heard.freshness)
            })
        });
        if self.resolve { paths.map(|attrs| attrs.next_hop).collect() } else { BTreeSet::new() }
    }
}

fn peer_ref(up: &PeerUp) -> PeerRef<'_> {
    let group = up.config.group.as_deref();
    PeerRef { name: &up.config.name, group, asn: up.peer_asn, next_hop: NextHop::new(up.address) }
}

fn context<'a>(
    up: &'a PeerUp,
    prefix: Prefix,
    source: Source,
    from: Option<PeerRef<'a>>,
) -> Context<'a> {
    Context { prefix, source, local_asn: up.local_asn, peer: peer_ref(up), from }
}

/// The link bandwidth that a path tells.
pub(super) fn gbits(attrs: &Attrs) -> Option<u32> {
    let rate = attrs.ext_communities.first()?.rate()?;
    (1..=12).find(|gbits| rate == format!("{gbits}Gbit").parse().unwrap())
}

fn put(attrs: &mut Attrs, community: Community) {
    attrs.communities.push(community);
    attrs.communities.sort();
    attrs.communities.dedup();
}

fn keep_least<K: Ord>(ways: &mut Vec<Way<'_>>, key: impl Fn(&Way<'_>) -> K) {
    let Some(least) = ways.iter().map(&key).min() else { return };
    ways.retain(|way| key(way) == least);
}

/// Each is the best if those before it were not there.
fn ranked(mut ways: Vec<Way<'_>>) -> Vec<Way<'_>> {
    let mut ranked = Vec::new();
    while let Some(best) = Naive::used(ways.clone(), 1).pop() {
        let which = |way: &Way<'_>| way.from.map(|(n, _, path_id)| (n, path_id));
        ways.retain(|way| which(way) != which(&best));
        ranked.push(best);
    }
    ranked
}

fn told_path(to: &PeerUp, path: &AsPath) -> AsPath {
    let mut seen = vec![to.local_asn.0];
    if to.local_asn != US && !to.config.local_as.replace_as {
        seen.push(US.0);
    }
    for asn in path.asns() {
        let shown = if asn == to.peer_asn {
            Some(if to.config.as_override { to.local_asn } else { asn })
        } else if asn.is_private() {
            match to.config.private_as {
                PrivateAs::Keep => Some(asn),
                PrivateAs::Remove => None,
                PrivateAs::Replace => Some(to.local_asn),
            }
        } else {
            Some(asn)
        };
        seen.extend(shown.map(|asn| asn.0));
    }
    AsPath::sequence(seen)
}
