//! What is measured. Each case prepares and gives back the work that counts.

use std::{hint::black_box, iter, net::Ipv4Addr, sync::Arc};

use bgp::{
    aspath::{AsPath, Asn},
    attrs::{Attrs, NextHop},
    config::RibPeerConfig,
    family::{Family, FamilySet},
    policy::{Condition, Context, Decision, PeerRef, Policy, PrefixMatch, Source, Statement},
    prefix::Prefix,
    rib::{News, Opening, PeerId, PeerUp, Rib, RibConfig, SessionOptions},
    wire::{self, Codec, Message, Nlri, Reach, Update},
};
use bytes::Bytes;

/// See the module.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// What one of its units is.
    pub(crate) unit: &'static str,
    /// How many there are in it.
    pub(crate) units: u64,
    pub(crate) prepare: fn() -> Box<dyn FnOnce()>,
}

impl Case {
    const fn route(name: &'static str, prepare: fn() -> Box<dyn FnOnce()>) -> Self {
        Self { name, unit: "route", units: ROUTES as u64, prepare }
    }
}

/// Every case. Routes have attributes in common by tens.
pub(crate) const CASES: [Case; 11] = [
    Case::route("decode", decode),
    Case::route("encode", encode),
    Case::route("insert", insert),
    Case::route("intern", intern),
    Case::route("decide", decide),
    Case::route("tell", tell),
    Case::route("withdraw", withdraw),
    Case::route("withdraw-lost", withdraw_lost),
    Case::route("untell", untell),
    Case { name: "flap", unit: "change, octets to octets", units: FLAPS as u64, prepare: flap },
    Case { name: "policy", unit: "route through 100 statements", units: 1000, prepare: policy },
];

/// UPDATEs to values.
fn decode() -> Box<dyn FnOnce()> {
    let messages = messages();
    Box::new(move || {
        for message in &messages {
            black_box(wire::decode(message, &Codec::PLAIN).expect("well formed"));
        }
    })
}

/// Values to UPDATEs.
fn encode() -> Box<dyn FnOnce()> {
    let updates = updates(1);
    Box::new(move || {
        for update in &updates {
            black_box(update.encode(&Codec::PLAIN).expect("fits"));
        }
    })
}

/// Routes that are new.
fn insert() -> Box<dyn FnOnce()> {
    applied(rib(1), updates(1), 1)
}

/// Routes that come again as they are.
fn intern() -> Box<dyn FnOnce()> {
    let mut rib = rib(1);
    apply(&mut rib, &updates(1), 1);
    applied(rib, updates(1), 1)
}

/// Routes to prefixes that four peers have already.
fn decide() -> Box<dyn FnOnce()> {
    applied(crowded(4), updates(5), 5)
}

/// Everything to a peer, encoded.
fn tell() -> Box<dyn FnOnce()> {
    let mut rib = rib(2);
    apply(&mut rib, &updates(1), 1);
    pulled(rib)
}

/// Routes that go.
fn withdraw() -> Box<dyn FnOnce()> {
    applied(crowded(1), withdrawals(), 1)
}

/// Routes that were not in use.
fn withdraw_lost() -> Box<dyn FnOnce()> {
    applied(crowded(5), withdrawals(), 5)
}

/// That everything is gone, to a peer, encoded.
fn untell() -> Box<dyn FnOnce()> {
    let mut rib = crowded(2);
    for peer in 1..=2 {
        apply(&mut rib, &withdrawals(), peer);
    }
    pulled(rib)
}

/// Single routes that come and go in UPDATEs of their own, and are told to a receiver.
fn flap() -> Box<dyn FnOnce()> {
    let prefixes: Vec<_> = prefixes().take(FLAPPING as usize).collect();
    let family = Family::Ipv4Unicast;
    let come = prefixes.iter().map(|prefix| {
        let reach = vec![Reach { family, attrs: attrs(1, 0), prefixes: vec![*prefix] }];
        Update { reach, ..Update::default() }
    });
    let go = prefixes.iter().map(|prefix| Update { withdrawn: vec![*prefix], ..Update::default() });
    let encode = |update: Update| update.encode(&Codec::PLAIN).expect("fits");
    let [come, go]: [Vec<Bytes>; 2] =
        [come.flat_map(encode).collect(), go.flat_map(encode).collect()];
    let mut rib = rib(1);
    Box::new(move || {
        for turn in 0..FLAPS / FLAPPING {
            let messages = if turn % 2 == 0 { &come } else { &go };
            for message in messages {
                let decoded = wire::decode(message, &Codec::PLAIN).expect("well formed");
                if let Message::Update(update) = &decoded {
                    rib.update(PeerId(1), update);
                }
            }
            pull(&mut rib, RECEIVER);
        }
        keep(rib);
    })
}

/// A path that only the last statement wants.
fn policy() -> Box<dyn FnOnce()> {
    let statement = |at: u8| {
        let within = Prefix::new(Ipv4Addr::new(at, 0, 0, 0).into(), 8).expect("not too long");
        Statement {
            name: at.to_string().into(),
            conditions: vec![Condition::Prefix(
                [PrefixMatch::inside(within)].into_iter().collect(),
            )],
            actions: Vec::new(),
            apply: None,
            decision: Some(Decision::Accept),
        }
    };
    let policy = Policy {
        name: "hundred".into(),
        statements: (1..=100).map(statement).collect(),
        default: Decision::Reject,
    };
    let attrs = attrs(1, 0);
    Box::new(move || {
        let next_hop = NextHop::new(Ipv4Addr::LOCALHOST.into());
        let peer = PeerRef { name: "peer", group: None, asn: Asn(1), next_hop };
        let prefix = Prefix::new(Ipv4Addr::new(100, 1, 2, 0).into(), 24).expect("not too long");
        let (source, local_asn, from) = (Source::Ebgp, US, Some(peer));
        let context = Context { prefix, source, local_asn, peer, from };
        for _ in 0..1000 {
            black_box(policy.apply(&context, &attrs));
        }
    })
}

fn applied(mut rib: Rib, updates: Vec<Update>, peer: u32) -> Box<dyn FnOnce()> {
    Box::new(move || {
        apply(&mut rib, &updates, peer);
        keep((rib, updates));
    })
}

fn pulled(mut rib: Rib) -> Box<dyn FnOnce()> {
    Box::new(move || {
        pull(&mut rib, RECEIVER);
        keep(rib);
    })
}

/// A router to which so many peers have announced the same prefixes, and told a receiver; one
/// more has said nothing yet.
fn crowded(peers: u32) -> Rib {
    let mut rib = rib(peers + 1);
    for peer in 1..=peers {
        apply(&mut rib, &updates(peer), peer);
    }
    pull(&mut rib, RECEIVER);
    rib
}

/// A router with peers numbered from 1, and a receiver.
fn rib(peers: u32) -> Rib {
    let id = Ipv4Addr::new(10, 0, 0, 1);
    let mut rib = Rib::new(RibConfig { resolve_next_hops: false, ..RibConfig::new(US, id) });
    rib.ignore_best();
    for peer in (1..=peers).chain([RECEIVER.0]) {
        rib.peer_up(PeerId(peer), peer_up(peer));
    }
    rib
}

fn peer_up(peer: u32) -> PeerUp {
    let address = Ipv4Addr::from_bits(0xC000_0200 + peer);
    let accept = || Some(Arc::new(Policy::accept_all()));
    PeerUp {
        families: FamilySet::ALL,
        local_asn: US,
        peer_asn: Asn(peer),
        router_id: address,
        address: address.into(),
        link: None,
        extended_next_hop: false,
        options: SessionOptions::default(),
        config: RibPeerConfig {
            import: accept(),
            export: accept(),
            local_addresses: vec![Ipv4Addr::new(198, 51, 100, 1).into()],
            ..RibPeerConfig::default()
        },
        opening: Opening::default(),
    }
}

fn apply(rib: &mut Rib, updates: &[Update], peer: u32) {
    for update in updates {
        rib.update(PeerId(peer), update);
    }
}

/// Tells a peer all that it is owed.
fn pull(rib: &mut Rib, peer: PeerId) {
    while rib.owes(peer) {
        match rib.poll_news(peer, 1024) {
            News::Shared { batch, to } => {
                black_box(batch.encode(to, &Codec::PLAIN));
            }
            News::Own(own) => {
                black_box(own);
            }
        }
    }
}

/// What is left after a case is no part of it.
fn keep<T>(rest: T) {
    std::mem::forget(rest);
}

/// What a peer announces: the lowest number wins.
fn updates(peer: u32) -> Vec<Update> {
    let mut sets = 0..;
    let prefixes: Vec<_> = prefixes().collect();
    let updates = prefixes.chunks(10).zip(sets.by_ref()).map(|(prefixes, set)| {
        let (family, prefixes) = (Family::Ipv4Unicast, prefixes.to_vec());
        let reach = vec![Reach { family, attrs: attrs(peer, set), prefixes }];
        Update { reach, ..Update::default() }
    });
    updates.collect()
}

fn withdrawals() -> Vec<Update> {
    let prefixes: Vec<_> = prefixes().collect();
    let updates = prefixes
        .chunks(900)
        .map(|prefixes| Update { withdrawn: prefixes.to_vec(), ..Update::default() });
    updates.collect()
}

fn messages() -> Vec<Bytes> {
    let encode = |update: &Update| update.encode(&Codec::PLAIN).expect("fits");
    updates(1).iter().flat_map(encode).collect()
}

/// Spread over the address space, each once.
fn prefixes() -> impl Iterator<Item = Nlri> {
    (0..ROUTES).map(|at| {
        let addr = Ipv4Addr::from_bits(at.wrapping_mul(0x9E37_79B1) << 8);
        Nlri::from(Prefix::new(addr.into(), 24).expect("not too long"))
    })
}

fn attrs(peer: u32, set: u32) -> Arc<Attrs> {
    let next_hop = NextHop::new(Ipv4Addr::from_bits(0xC000_0200 + peer).into());
    let mut attrs = Attrs::originated(next_hop);
    let path = iter::once(peer).chain(iter::repeat_n(70_000 + set, 2));
    attrs.as_path = AsPath::sequence(path);
    Arc::new(attrs)
}

const US: Asn = Asn(65_000);
const RECEIVER: PeerId = PeerId(100);
const ROUTES: u32 = 100_000;
/// Prefixes that come and go, and how often any does.
const FLAPPING: u32 = 1000;
const FLAPS: u32 = 100_000;
