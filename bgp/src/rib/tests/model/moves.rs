//! What can happen to a RIB, at random.

use proptest::{option, prelude::*};

use super::{super::*, PEERS, PREFIXES, peer_of};
use crate::{
    community::{Community, ExtCommunity},
    config::{AddPath, AtLimit, Counted, LocalAs, PrefixLimit, PrivateAs},
    policy::{
        Action, Adjust, Carries, Condition, Decision, NextHopAction, PeerTest, PrefixMatch,
        Statement, TagMatch,
    },
};

#[derive(Clone, Copy, Debug)]
pub(super) enum Move {
    Announce {
        peer: u8,
        prefix: usize,
        path_id: u32,
        path: PathKind,
    },
    Withdraw {
        peer: u8,
        prefix: usize,
        path_id: u32,
    },
    EndOfRib {
        peer: u8,
        family: Family,
    },
    Up {
        peer: u8,
        narrow: bool,
    },
    Down {
        peer: u8,
        retain: FamilySet,
    },
    StaleExpired {
        peer: u8,
        families: FamilySet,
    },
    LongLived {
        peer: u8,
        families: FamilySet,
    },
    RefreshBegin {
        peer: u8,
        family: Family,
    },
    RefreshEnd {
        peer: u8,
        family: Family,
    },
    DeferralOver {
        peer: u8,
    },
    Originate {
        prefix: usize,
        med: Option<u32>,
    },
    Cease {
        prefix: usize,
    },
    Policies {
        peer: u8,
        import: usize,
        export: usize,
    },
    Knobs {
        peer: u8,
        knobs: Knobs,
    },
    Drain(bool),
    Urgent(bool),
    /// Aggregates, each with whether it is summary-only.
    Aggregates([Option<bool>; PREFIXES.len()]),
    NextHop {
        hop: u8,
        resolution: Resolution,
    },
    Refresh {
        peer: u8,
    },
    Pull {
        peer: u8,
        budget: usize,
    },
    ReadBest,
}

/// Settings of a peer besides its policies.
#[derive(Clone, Copy, Debug)]
pub(super) struct Knobs {
    pub(super) allow_own_as: u8,
    pub(super) as_override: bool,
    pub(super) private_as: PrivateAs,
    pub(super) local_as: LocalAs,
    pub(super) add_path: AddPath,
    pub(super) drain: bool,
    pub(super) send_blackhole: bool,
    pub(super) send_link_bandwidth: bool,
    /// Of IPv4.
    pub(super) max_prefixes: Option<PrefixLimit>,
    pub(super) max_advertised: Option<u32>,
}

/// Which path a peer announces.
#[derive(Clone, Copy, Debug)]
pub(super) struct PathKind {
    weight: u32,
    hops: usize,
    med: Option<u32>,
    local_pref: Option<u32>,
    next_hop: u8,
    community: Option<Community>,
    otc: Option<u8>,
    /// In Gbit/s.
    bandwidth: Option<u8>,
    looped: bool,
    reflected: bool,
}

/// The attributes of such a path.
pub(super) fn attrs_of(peer: u8, to: &str, kind: PathKind) -> Attrs {
    let up = peer_of(peer);
    let external = up.peer_asn != US;
    let first = if external { up.peer_asn.0 } else { 65001 };
    let first_asn = Asn(first);
    let mut asns = vec![first; kind.hops];
    if kind.looped {
        asns.push(US.0);
    }
    let path = match prefix(to).family() {
        Family::Ipv4Unicast => path,
        Family::Ipv6Unicast => path_v6,
    };
    let mut attrs = path(200 + kind.next_hop, &asns);
    attrs.weight = kind.weight;
    attrs.med = kind.med;
    attrs.communities = kind.community.into_iter().collect();
    attrs.otc = kind.otc.map(|n| Asn(65001 + u32::from(n)));
    attrs.ext_communities = kind
        .bandwidth
        .map(|gbits| {
            ExtCommunity::link_bandwidth(first_asn, format!("{gbits}Gbit").parse().unwrap())
        })
        .into_iter()
        .collect();
    if !external {
        attrs.local_pref = kind.local_pref;
        if kind.reflected {
            attrs.originator_id = Some(Ipv4Addr::new(1, 1, 1, 1));
            attrs.cluster_list = vec![Ipv4Addr::new(2, 2, 2, 2)];
        }
    }
    attrs
}

pub(super) fn policy_of(number: usize) -> Option<Arc<Policy>> {
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
        5 => Just(None),
        1 => Just(Some(Community(1))),
        1 => Just(Some(Community::NO_EXPORT)),
        1 => Just(Some(Community::NO_ADVERTISE)),
        1 => Just(Some(Community::GRACEFUL_SHUTDOWN)),
        1 => Just(Some(Community::BLACKHOLE)),
        1 => Just(Some(Community::LLGR_STALE)),
        1 => Just(Some(Community::NO_LLGR)),
    ];
    let preferences = (prop::option::of(0_u32..3), prop::option::of(99_u32..102));
    let otc = prop_oneof![4 => Just(None), 1 => (0_u8..2).prop_map(Some)];
    let bandwidth = option::weighted(0.7, 1_u8..4);
    let rare = (prop::bool::weighted(0.1), prop::bool::weighted(0.3));
    let weight = prop_oneof![9 => Just(0_u32), 1 => 1_u32..3];
    (1_usize..4, (weight, preferences), 0_u8..4, (community, otc, bandwidth), rare).prop_map(
        |(hops, (weight, (med, local_pref)), next_hop, tags, (looped, reflected))| {
            let (community, otc, bandwidth) = tags;
            PathKind {
                weight,
                hops,
                med,
                local_pref,
                next_hop,
                community,
                otc,
                bandwidth,
                looped,
                reflected,
            }
        },
    )
}

fn any_knobs() -> impl Strategy<Value = Knobs> {
    let private_as =
        prop_oneof![Just(PrivateAs::Keep), Just(PrivateAs::Remove), Just(PrivateAs::Replace)];
    let local_as =
        any::<[bool; 2]>().prop_map(|[no_prepend, replace_as]| LocalAs { no_prepend, replace_as });
    let add_path = prop_oneof![
        1 => Just(AddPath::All),
        1 => Just(AddPath::Used),
        2 => (1_u8..4).prop_map(|most| AddPath::Best(most.try_into().unwrap())),
    ];
    let limit = (1_u32..5, 1_u32..5, any::<bool>()).prop_map(|(max, warn_from, stop)| {
        let at_limit = if stop { AtLimit::Stop { restart_after: None } } else { AtLimit::Warn };
        PrefixLimit { max, warn_from, counted: Counted::Received, at_limit }
    });
    let limits = (option::weighted(0.2, limit), option::weighted(0.3, 0_u32..4));
    let flags = any::<[bool; 4]>();
    (0_u8..2, (private_as, local_as), add_path, flags, limits).prop_map(
        |(allow_own_as, (private_as, local_as), add_path, flags, limits)| Knobs {
            allow_own_as,
            as_override: flags[0],
            private_as,
            local_as,
            add_path,
            drain: flags[1],
            send_blackhole: flags[2],
            send_link_bandwidth: flags[3],
            max_prefixes: limits.0,
            max_advertised: limits.1,
        },
    )
}

fn any_families() -> impl Strategy<Value = FamilySet> {
    any::<[bool; 2]>().prop_map(|wanted| {
        let families = Family::ALL.into_iter().zip(wanted);
        families.filter(|(_, wanted)| *wanted).map(|(family, _)| family).collect()
    })
}

pub(super) fn any_move() -> impl Strategy<Value = Move> {
    let (peer, prefix, path_id) = (0..PEERS, 0..PREFIXES.len(), 0_u32..3);
    let family = prop::sample::select(Family::ALL.to_vec());
    let resolution = prop_oneof![
        3 => (0_u32..3).prop_map(|cost| Resolution::Reachable { cost }),
        1 => Just(Resolution::Unreachable),
        1 => Just(Resolution::Own),
    ];
    let sessions = prop_oneof![
        6 => (peer.clone(), prop::bool::weighted(0.2))
            .prop_map(|(peer, narrow)| Move::Up { peer, narrow }),
        4 => (peer.clone(), any_families())
            .prop_map(|(peer, retain)| Move::Down { peer, retain }),
        2 => (peer.clone(), any_families())
            .prop_map(|(peer, families)| Move::StaleExpired { peer, families }),
        3 => (peer.clone(), any_families())
            .prop_map(|(peer, families)| Move::LongLived { peer, families }),
        3 => (peer.clone(), family.clone())
            .prop_map(|(peer, family)| Move::EndOfRib { peer, family }),
        2 => (peer.clone(), family.clone())
            .prop_map(|(peer, family)| Move::RefreshBegin { peer, family }),
        2 => (peer.clone(), family).prop_map(|(peer, family)| Move::RefreshEnd { peer, family }),
        1 => peer.clone().prop_map(|peer| Move::DeferralOver { peer }),
    ];
    let settings = prop_oneof![
        4 => (peer.clone(), 0_usize..8, 0_usize..8)
            .prop_map(|(peer, import, export)| Move::Policies { peer, import, export }),
        4 => (peer.clone(), any_knobs()).prop_map(|(peer, knobs)| Move::Knobs { peer, knobs }),
        1 => any::<bool>().prop_map(Move::Drain),
        4 => any::<bool>().prop_map(Move::Urgent),
        1 => prop::array::uniform(option::weighted(0.3, any::<bool>())).prop_map(Move::Aggregates),
    ];
    let ours = prop_oneof![
        1 => (prefix.clone(), prop::option::of(0_u32..2))
            .prop_map(|(prefix, med)| Move::Originate { prefix, med }),
        1 => prefix.clone().prop_map(|prefix| Move::Cease { prefix }),
    ];
    prop_oneof![
        16 => (peer.clone(), prefix.clone(), path_id.clone(), any_path()).prop_map(
            |(peer, prefix, path_id, path)| Move::Announce { peer, prefix, path_id, path }
        ),
        5 => (peer.clone(), prefix, path_id)
            .prop_map(|(peer, prefix, path_id)| Move::Withdraw { peer, prefix, path_id }),
        7 => sessions,
        4 => settings,
        2 => ours,
        4 => (0_u8..4, resolution).prop_map(|(hop, resolution)| Move::NextHop { hop, resolution }),
        1 => peer.clone().prop_map(|peer| Move::Refresh { peer }),
        4 => (peer, 1_usize..4).prop_map(|(peer, budget)| Move::Pull { peer, budget }),
        2 => Just(Move::ReadBest),
    ]
}
