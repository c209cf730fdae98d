//! Random histories against a naive model that keeps only inputs and works everything out anew.
//!
//! The model shares no code with the RIB beyond the vocabulary and [`Policy::apply`]. After each
//! history the readers' accumulated views, and what the RIB says of itself, must equal it.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::{
    community::Community,
    config::{LocalAs, PrivateAs},
    policy::{
        Action, Adjust, Carries, Condition, Context, Decision, NextHopAction, NextHopChoice,
        Outcome, PeerRef, PeerTest, PrefixMatch, Source, Statement, TagMatch,
    },
};

/// Peers 0 and 1: eBGP, 0 with our AS allowed in once, 1 with a local AS; 2: iBGP; 3: reflector client; 4 and 5: route server clients; 6: iBGP
/// with next-hop-self, IPv4 only.
const PEERS: u8 = 7;
const PREFIXES: [&str; 5] =
    ["10.1.0.0/16", "10.2.0.0/16", "10.2.128.0/17", "fd00:1::/64", "fd00:2::/64"];

const LOCAL_AS: Asn = Asn(64999);

fn peer_of(n: u8) -> PeerUp {
    let asn = match n {
        0 | 1 | 4 | 5 => 65001 + u32::from(n),
        _ => US.0,
    };
    let mut up = peer(n + 1, asn);
    up.config.route_reflector_client = n == 3;
    up.config.route_server_client = n == 4 || n == 5;
    up.config.next_hop_self = n == 6;
    up.config.next_hops_on_link = n == 1;
    up.config.allow_own_as = u8::from(n == 0);
    if n == 1 {
        up.local_asn = LOCAL_AS;
    }
    if n == 6 {
        up.families = [Family::Ipv4Unicast].into_iter().collect();
    }
    up
}

#[derive(Clone, Copy, Debug)]
enum Move {
    Announce { peer: u8, prefix: usize, path: PathKind },
    Withdraw { peer: u8, prefix: usize },
    Up(u8),
    Down(u8),
    Originate { prefix: usize, med: Option<u32> },
    Cease { prefix: usize },
    Policies { peer: u8, import: usize, export: usize },
    Knobs { peer: u8, knobs: Knobs },
    NextHop { hop: u8, resolution: Resolution },
    Refresh { peer: u8 },
    Pull { peer: u8, budget: usize },
    ReadBest,
}

/// Settings of a peer besides its policies.
#[derive(Clone, Copy, Debug)]
struct Knobs {
    allow_own_as: u8,
    as_override: bool,
    private_as: PrivateAs,
    local_as: LocalAs,
}

fn any_knobs() -> impl Strategy<Value = Knobs> {
    let private_as =
        prop_oneof![Just(PrivateAs::Keep), Just(PrivateAs::Remove), Just(PrivateAs::Replace)];
    let local_as =
        any::<[bool; 2]>().prop_map(|[no_prepend, replace_as]| LocalAs { no_prepend, replace_as });
    (0_u8..2, any::<bool>(), private_as, local_as).prop_map(
        |(allow_own_as, as_override, private_as, local_as)| Knobs {
            allow_own_as,
            as_override,
            private_as,
            local_as,
        },
    )
}

/// Which path a peer announces.
#[derive(Clone, Copy, Debug)]
struct PathKind {
    weight: u32,
    hops: usize,
    med: Option<u32>,
    local_pref: Option<u32>,
    next_hop: u8,
    community: Option<Community>,
    looped: bool,
    reflected: bool,
}

fn attrs_of(peer: u8, kind: PathKind) -> Attrs {
    let up = peer_of(peer);
    let external = up.peer_asn != US;
    let first = if external { up.peer_asn.0 } else { 65001 };
    let mut asns = vec![first; kind.hops];
    if kind.looped {
        asns.push(US.0);
    }
    let mut attrs = path(200 + kind.next_hop, &asns);
    attrs.weight = kind.weight;
    attrs.med = kind.med;
    attrs.communities = kind.community.into_iter().collect();
    if !external {
        attrs.local_pref = kind.local_pref;
        if kind.reflected {
            attrs.originator_id = Some(Ipv4Addr::new(1, 1, 1, 1));
            attrs.cluster_list = vec![Ipv4Addr::new(2, 2, 2, 2)];
        }
    }
    attrs
}

fn policy_of(number: usize) -> Option<Arc<Policy>> {
    let statement = |condition, actions, decision| {
        let statement = Statement {
            name: "s".into(),
            conditions: vec![condition],
            actions,
            apply: None,
            decision,
        };
        let statements = vec![statement];
        Some(Arc::new(Policy { name: "p".into(), statements, default: Decision::Accept }))
    };
    match number {
        0 => None,
        1 => Some(Arc::new(Policy::originated())),
        2 => {
            let range = PrefixMatch { prefix: prefix("10.2.0.0/16"), min_len: 17, max_len: 32 };
            let set = vec![Action::LocalPref(Adjust::Set(200)), Action::Med(Adjust::Set(3))];
            statement(Condition::Prefix([range].into_iter().collect()), set, None)
        }
        3 => {
            let marked = [TagMatch::Exact(Community(1))].into_iter().collect();
            let marked = Condition::Communities(Carries::Any(marked));
            statement(marked, vec![], Some(Decision::Reject))
        }
        4 => {
            let from_first = PeerTest::Asn([Asn(65001)].into_iter().collect());
            let kept = vec![Action::SetNextHop(NextHopAction::Unchanged)];
            statement(Condition::LearnedFrom(from_first), kept, None)
        }
        5 => {
            let from_second = PeerTest::Asn([Asn(65002)].into_iter().collect());
            let own = vec![Action::SetNextHop(NextHopAction::Own)];
            statement(Condition::LearnedFrom(from_second), own, None)
        }
        _ => Some(Arc::new(Policy::accept_all())),
    }
}

fn any_path() -> impl Strategy<Value = PathKind> {
    let community = prop_oneof![
        4 => Just(None),
        1 => Just(Some(Community(1))),
        1 => Just(Some(Community::NO_EXPORT)),
        1 => Just(Some(Community::NO_ADVERTISE)),
        1 => Just(Some(Community::GRACEFUL_SHUTDOWN)),
    ];
    let preferences = (prop::option::of(0_u32..3), prop::option::of(99_u32..102));
    let rare = (prop::bool::weighted(0.1), prop::bool::weighted(0.3));
    let weight = prop_oneof![9 => Just(0_u32), 1 => 1_u32..3];
    (1_usize..4, (weight, preferences), 0_u8..4, community, rare).prop_map(
        |(hops, (weight, (med, local_pref)), next_hop, community, (looped, reflected))| PathKind {
            weight,
            hops,
            med,
            local_pref,
            next_hop,
            community,
            looped,
            reflected,
        },
    )
}

fn any_move() -> impl Strategy<Value = Move> {
    let (peer, prefix) = (0..PEERS, 0..PREFIXES.len());
    let resolution = prop_oneof![
        3 => (0_u32..3).prop_map(|cost| Resolution::Reachable { cost }),
        1 => Just(Resolution::Unreachable),
        1 => Just(Resolution::Own),
    ];
    prop_oneof![
        12 => (peer.clone(), prefix.clone(), any_path())
            .prop_map(|(peer, prefix, path)| Move::Announce { peer, prefix, path }),
        5 => (peer.clone(), prefix.clone())
            .prop_map(|(peer, prefix)| Move::Withdraw { peer, prefix }),
        3 => peer.clone().prop_map(Move::Up),
        1 => peer.clone().prop_map(Move::Down),
        1 => (prefix.clone(), prop::option::of(0_u32..2))
            .prop_map(|(prefix, med)| Move::Originate { prefix, med }),
        1 => prefix.prop_map(|prefix| Move::Cease { prefix }),
        2 => (peer.clone(), 0_usize..8, 0_usize..8)
            .prop_map(|(peer, import, export)| Move::Policies { peer, import, export }),
        2 => (peer.clone(), any_knobs()).prop_map(|(peer, knobs)| Move::Knobs { peer, knobs }),
        4 => (0_u8..4, resolution).prop_map(|(hop, resolution)| Move::NextHop { hop, resolution }),
        1 => peer.clone().prop_map(|peer| Move::Refresh { peer }),
        4 => (peer, 1_usize..4).prop_map(|(peer, budget)| Move::Pull { peer, budget }),
        2 => Just(Move::ReadBest),
    ]
}

/// What the router was told, and nothing else.
#[derive(Default)]
struct Model {
    resolve: bool,
    peers: BTreeMap<u8, (PeerUp, BTreeMap<Prefix, Attrs>)>,
    local: BTreeMap<Prefix, Attrs>,
    /// Answers for next hops that were asked for.
    next_hops: BTreeMap<NextHop, Option<Resolution>>,
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

type Used = Vec<(Option<u8>, Attrs)>;

impl Model {
    fn next_hop(number: u8) -> NextHop {
        NextHop::new(Ipv4Addr::new(192, 0, 2, 200 + number).into())
    }

    fn import(up: &PeerUp, prefix: Prefix, attrs: &Attrs) -> Option<Attrs> {
        let external = up.peer_asn != US;
        let ours = attrs.as_path.asns().filter(|asn| *asn == US).count();
        if ours > usize::from(up.config.allow_own_as) {
            return None;
        }
        let mut attrs = attrs.clone();
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
        if external && attrs.communities.contains(&Community::GRACEFUL_SHUTDOWN) {
            attrs.local_pref = Some(0);
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

    /// RFC 4271 §9.1.2.2 as it is written: one filter after the other.
    fn best(&self, prefix: Prefix) -> Used {
        if let Some(attrs) = self.local.get(&prefix) {
            return vec![(None, attrs.clone())];
        }
        let mut paths: Vec<_> = self
            .peers
            .iter()
            .filter_map(|(n, (up, received))| {
                let attrs = Self::import(up, prefix, received.get(&prefix)?)?;
                let cost = self.cost(up, &attrs)?;
                Some((*n, up, attrs, cost))
            })
            .collect();
        let heaviest = paths.iter().map(|(_, _, attrs, _)| attrs.weight).max();
        paths.retain(|(_, _, attrs, _)| Some(attrs.weight) == heaviest);
        let preference = |attrs: &Attrs| attrs.local_pref.unwrap_or(100);
        let most = paths.iter().map(|(_, _, attrs, _)| preference(attrs)).max();
        paths.retain(|(_, _, attrs, _)| Some(preference(attrs)) == most);
        let least = paths.iter().map(|(_, _, attrs, _)| attrs.as_path.hops()).min();
        paths.retain(|(_, _, attrs, _)| Some(attrs.as_path.hops()) == least);
        let all = paths.clone();
        paths.retain(|(_, _, attrs, _)| {
            all.iter().all(|(_, _, other, _)| {
                other.as_path.first() != attrs.as_path.first()
                    || other.med.unwrap_or(0) >= attrs.med.unwrap_or(0)
            })
        });
        if paths.iter().any(|(_, up, _, _)| up.peer_asn != US) {
            paths.retain(|(_, up, _, _)| up.peer_asn != US);
        }
        let nearest = paths.iter().map(|(_, _, _, cost)| *cost).min();
        paths.retain(|(_, _, _, cost)| Some(*cost) == nearest);
        paths.sort_by_key(|(_, up, attrs, _)| {
            let id = attrs.originator_id.unwrap_or(up.router_id);
            (id, attrs.cluster_list.len(), up.address)
        });
        paths.truncate(settings().multipath);
        paths.into_iter().map(|(n, _, attrs, _)| (Some(n), attrs)).collect()
    }

    /// What peer `n` must have been told of the prefix.
    fn told(&self, n: u8, prefix: Prefix) -> Option<Attrs> {
        let (to, _) = &self.peers[&n];
        let (from, attrs) = self.best(prefix).into_iter().next()?;
        let external = to.peer_asn != US;
        let from_up = from.map(|from| &self.peers[&from].0);
        let source = match from_up {
            None => Source::Local,
            Some(up) if up.peer_asn != US => Source::Ebgp,
            Some(_) => Source::Ibgp,
        };
        let server = external && to.config.route_server_client && source == Source::Ebgp;
        let client = |up: &PeerUp| up.config.route_reflector_client;
        if !to.families.contains(prefix.family())
            || from == Some(n)
            || source == Source::Ibgp && !external && !client(to) && !from_up.is_some_and(client)
            || !server && attrs.communities.contains(&Community::NO_ADVERTISE)
            || !server && external && attrs.communities.contains(&Community::NO_EXPORT)
        {
            return None;
        }
        let mut attrs = attrs;
        if external && !server && source != Source::Local {
            attrs.med = None;
        }
        let (mut attrs, choice) = match &to.config.export {
            None if external => return None,
            None => (attrs, NextHopChoice::Usual),
            Some(policy) => {
                let from = from_up.map(peer_ref);
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
        }
        if external {
            attrs.local_pref = None;
            attrs.originator_id = None;
            attrs.cluster_list.clear();
            if !server {
                attrs.as_path = Self::told_path(to, &attrs.as_path);
            }
        } else {
            attrs.local_pref.get_or_insert(100);
            if let Some(up) = from_up.filter(|_| source == Source::Ibgp) {
                attrs.originator_id.get_or_insert(up.router_id);
                attrs.cluster_list.insert(0, OUR_ID);
            }
        }
        Some(attrs)
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

    fn wanted_next_hops(&self) -> BTreeSet<NextHop> {
        let paths = self.peers.values().flat_map(|(up, received)| {
            received.iter().filter_map(|(prefix, attrs)| Self::import(up, *prefix, attrs))
        });
        if self.resolve { paths.map(|attrs| attrs.next_hop).collect() } else { BTreeSet::new() }
    }
}

/// A RIB and its model, and what their readers have heard so far.
struct Trial {
    rib: Rib,
    model: Model,
    best: BTreeMap<Prefix, Used>,
    told: BTreeMap<u8, BTreeMap<Prefix, Attrs>>,
    ends: BTreeMap<(u8, Family), usize>,
}

impl Trial {
    fn new(resolve: bool) -> Self {
        let rib = if resolve { resolving_router() } else { router() };
        let model = Model { resolve, ..Model::default() };
        let (best, told, ends) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { rib, model, best, told, ends }
    }

    fn make(&mut self, step: Move) {
        match step {
            Move::Announce { peer, prefix: at, path } => {
                let attrs = attrs_of(peer, path);
                self.rib.update(id(peer), &announce(&[PREFIXES[at]], attrs.clone()));
                if let Some((up, received)) = self.model.peers.get_mut(&peer)
                    && up.families.contains(prefix(PREFIXES[at]).family())
                {
                    received.insert(prefix(PREFIXES[at]), attrs);
                }
            }
            Move::Withdraw { peer, prefix: at } => {
                self.rib.update(id(peer), &withdraw(&[PREFIXES[at]]));
                if let Some((_, received)) = self.model.peers.get_mut(&peer) {
                    received.remove(&prefix(PREFIXES[at]));
                }
            }
            Move::Up(peer) => {
                self.lose(peer);
                self.rib.peer_up(id(peer), peer_of(peer));
                self.model.peers.insert(peer, (peer_of(peer), BTreeMap::new()));
            }
            Move::Down(peer) => {
                let (none, why) = (FamilySet::NONE, Cause::Closed);
                self.rib.peer_down(id(peer), none, &why, Timestamp::UNKNOWN);
                self.lose(peer);
            }
            Move::Originate { prefix: at, med } => {
                let mut attrs = Attrs::originated(hop("0.0.0.0"));
                attrs.med = med;
                self.rib.originate(prefix(PREFIXES[at]), Arc::new(attrs.clone()));
                self.model.local.insert(prefix(PREFIXES[at]), attrs);
            }
            Move::Cease { prefix: at } => {
                self.rib.withdraw(prefix(PREFIXES[at]));
                self.model.local.remove(&prefix(PREFIXES[at]));
            }
            Move::Policies { peer, import, export } => {
                let Some((up, _)) = self.model.peers.get_mut(&peer) else { return };
                up.config.import = policy_of(import);
                up.config.export = policy_of(export);
                self.rib.set_policies(id(peer), up.config.clone());
            }
            Move::Knobs { peer, knobs } => {
                let Some((up, _)) = self.model.peers.get_mut(&peer) else { return };
                up.config.allow_own_as = knobs.allow_own_as;
                up.config.as_override = knobs.as_override;
                up.config.private_as = knobs.private_as;
                up.config.local_as = knobs.local_as;
                self.rib.set_policies(id(peer), up.config.clone());
            }
            Move::NextHop { hop, resolution } => {
                self.read_next_hops();
                let next_hop = Model::next_hop(hop);
                self.rib.set_next_hop(next_hop, resolution);
                if let Some(answer) = self.model.next_hops.get_mut(&next_hop) {
                    *answer = Some(resolution);
                }
            }
            Move::Refresh { peer } => {
                self.rib.refresh(id(peer), Family::Ipv4Unicast);
                // All of it must come again: the peer may as well have forgotten it.
                if let Some(told) = self.told.get_mut(&peer) {
                    told.retain(|prefix, _| prefix.family() != Family::Ipv4Unicast);
                }
            }
            Move::Pull { peer, budget } => {
                self.pull(peer, budget);
            }
            Move::ReadBest => self.read_best(),
        }
    }

    fn lose(&mut self, peer: u8) {
        self.model.peers.remove(&peer);
        self.told.remove(&peer);
        self.ends.retain(|(other, _), _| *other != peer);
    }

    /// Watched next hops without an answer count as unreachable; forgotten ones are forgotten.
    fn read_next_hops(&mut self) {
        while let Some(interest) = self.rib.poll_next_hop() {
            match interest {
                NextHopInterest::Watch(next_hop) => {
                    assert!(self.model.next_hops.insert(next_hop, None).is_none());
                }
                NextHopInterest::Forget(next_hop) => {
                    assert!(self.model.next_hops.remove(&next_hop).is_some());
                }
            }
        }
    }

    fn pull(&mut self, peer: u8, budget: usize) -> bool {
        let pieces = self.rib.poll_advertisements(id(peer), budget);
        let told = self.told.entry(peer).or_default();
        for piece in &pieces {
            match piece {
                Advertisement::Reach { attrs, prefixes } => {
                    told.extend(prefixes.iter().map(|nlri| (nlri.prefix, Attrs::clone(attrs))));
                }
                Advertisement::Withdraw(prefixes) => {
                    told.retain(|prefix, _| !prefixes.contains(&Nlri::from(*prefix)));
                }
                Advertisement::EndOfRib(family) => {
                    *self.ends.entry((peer, *family)).or_default() += 1;
                }
                Advertisement::RefreshBegin(_) | Advertisement::RefreshEnd(_) => {}
            }
        }
        !pieces.is_empty()
    }

    fn read_best(&mut self) {
        while let Some(change) = self.rib.poll_best() {
            let used = change.paths.iter();
            let used: Used = used
                .map(|path| {
                    let peer = path.peer.map(|peer| u8::try_from(peer.0).unwrap());
                    (peer, Attrs::clone(&path.attrs))
                })
                .collect();
            if used.is_empty() {
                assert!(self.best.remove(&change.prefix).is_some(), "gone but never there");
            } else {
                self.best.insert(change.prefix, used);
            }
        }
    }

    /// Lets every reader catch up, by way of [`Rib::poll_ready`] alone, and compares.
    fn check(&mut self) {
        self.read_next_hops();
        self.read_best();
        // Those named before and not pulled since are not named again.
        for peer in 0..PEERS {
            self.pull(peer, 1);
        }
        while let Some(peer) = self.rib.poll_ready() {
            self.pull(u8::try_from(peer.0).unwrap(), 2);
        }
        let watched: BTreeSet<_> = self.model.next_hops.keys().copied().collect();
        assert_eq!(watched, self.model.wanted_next_hops());
        for text in PREFIXES {
            let best = self.best.get(&prefix(text)).cloned().unwrap_or_default();
            assert_eq!(best, self.model.best(prefix(text)), "best paths of {text}");
        }
        for (peer, (up, _)) in &self.model.peers {
            let expected: BTreeMap<_, _> = PREFIXES
                .iter()
                .filter_map(|text| Some((prefix(text), self.model.told(*peer, prefix(text))?)))
                .collect();
            assert_eq!(self.told.get(peer), Some(&expected), "told to peer {peer}");
            let shown = self.rib.advertised(id(*peer)).into_iter();
            let shown: BTreeMap<_, _> = shown
                .filter_map(|(prefix, attrs)| Some((prefix, Attrs::clone(&*attrs.ok()?))))
                .collect();
            assert_eq!(shown, expected, "shown for peer {peer}");
            for family in up.families.iter() {
                assert_eq!(self.ends.get(&(*peer, family)), Some(&1), "End-of-RIB");
                self.check_counts(*peer, family);
            }
        }
    }

    fn check_counts(&self, peer: u8, family: Family) {
        let of_family = |prefix: &Prefix| prefix.family() == family;
        let (_, received) = &self.model.peers[&peer];
        let views = self.rib.received(id(peer));
        let verdicts =
            || views.iter().filter(|(prefix, _)| of_family(prefix)).map(|(_, view)| &view.verdict);
        let expected = PeerCounts {
            received: received.keys().filter(|prefix| of_family(prefix)).count(),
            accepted: verdicts().filter(|it| !matches!(it, Verdict::Ineligible(_))).count(),
            best: verdicts().filter(|it| matches!(it, Verdict::Best | Verdict::Multipath)).count(),
            stale: 0,
            advertised: self.told[&peer].keys().filter(|prefix| of_family(prefix)).count(),
        };
        assert_eq!(self.rib.peer_counts(id(peer), family), expected);
        let best = self.best.keys().filter(|prefix| of_family(prefix)).count();
        assert_eq!(self.rib.best_count(family), best);
    }

    /// Takes everything away; nothing may be left behind.
    fn check_leaks(&mut self) {
        for peer in 0..PEERS {
            self.make(Move::Down(peer));
        }
        for prefix in 0..PREFIXES.len() {
            self.make(Move::Cease { prefix });
        }
        self.check();
        assert_eq!(self.rib.loc.ids(), [], "destinations left");
        assert_eq!(self.rib.routes().count(), 0);
    }
}

fn id(peer: u8) -> PeerId {
    PeerId(peer.into())
}

proptest! {
    #[test]
    fn after_any_history_all_readers_agree_with_a_model_worked_out_anew(
        resolve in any::<bool>(),
        first in prop::collection::vec(any_move(), 0..80),
        second in prop::collection::vec(any_move(), 0..80),
    ) {
        let mut trial = Trial::new(resolve);
        for peer in 0..PEERS - 2 {
            trial.make(Move::Up(peer));
        }
        for step in first {
            trial.make(step);
        }
        trial.check();
        for step in second {
            trial.make(step);
        }
        trial.check();
        trial.check_leaks();
    }
}
