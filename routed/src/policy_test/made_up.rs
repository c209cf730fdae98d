//! A path that is made up, treated as a configuration says.
//!
//! The path goes through a RIB of its own, in which every next hop can be reached and the peers
//! concerned have a session: loops, RFC 8212, our AS and next hop are as they would be. What only
//! a session can tell has a stand-in: the AS of a peer in `asn = "external"`, and our addresses.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    num::NonZeroU32,
    sync::Arc,
};

use bgp::{
    aspath::{AsPath, Asn},
    attrs::{Attrs, NextHop, Origin},
    config::PeerAs,
    family::Family,
    policy::{Policy, Source},
    prefix::Prefix,
    rib::{Opening, PeerId, PeerUp, Rib, RibConfig, SessionOptions, Verdict, Why},
    wire::{Reach, Update},
};

use super::{Described, Direction, PolicyTestView, Question, TestError, view::Account};
use crate::{
    admin::{attrs_view, policy_view},
    config::{Config, Peer},
};

/// The peer whose policy is tested.
const TESTED: PeerId = PeerId(0);
/// The one from which a path for export came.
const SENDER: PeerId = PeerId(1);

/// Stands for an AS that is not known (RFC 5398).
const SOME_AS: Asn = Asn(64_496);
/// Stand for addresses that are not known (RFC 5737, RFC 3849).
const SOME_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const SOME_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
/// Stand for the address of an unnumbered peer and the link to it.
const SOME_LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
const SOME_LINK: NonZeroU32 = NonZeroU32::MIN;
const OUR_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);

/// Makes the path up and sees what becomes of it.
pub(super) fn test(
    config: &Config,
    question: &Question,
    path: &Described,
) -> Result<PolicyTestView, TestError> {
    let peer = find(config, &question.peer)?;
    let prefix = question.prefix;
    if !peer.session.families.contains(prefix.family()) {
        return Err(TestError::Family { peer: peer.name.to_string(), prefix });
    }
    let mut rib = rib(config);
    let account = match question.direction {
        Direction::Import => {
            let up = announcer(config, peer, path)?;
            announce(&mut rib, TESTED, up, prefix, path);
            imported(&rib, prefix)
        }
        Direction::Export => {
            originate(&mut rib, config, peer, prefix, path)?;
            exported(&rib, prefix)?
        }
    };
    Ok(PolicyTestView::new(question, peer.name.to_string(), account))
}

fn find<'c>(config: &'c Config, name: &str) -> Result<&'c Peer, TestError> {
    let is_it = |peer: &&Peer| *peer.name == *name || peer.address.to_string() == name;
    config.peers.iter().find(is_it).ok_or_else(|| TestError::UnknownPeer {
        name: name.to_owned(),
        known: config.peers.iter().map(|peer| peer.name.to_string()).collect(),
    })
}

/// A RIB for which every next hop can be reached.
fn rib(config: &Config) -> Rib {
    let speaker = &config.speaker;
    Rib::new(RibConfig {
        cluster_id: speaker.cluster_id,
        resolve_next_hops: false,
        ..RibConfig::new(speaker.asn, speaker.router_id)
    })
}

/// The session of the tested peer, for a path that it announces.
fn announcer(config: &Config, peer: &Peer, path: &Described) -> Result<PeerUp, TestError> {
    if path.source.is_some() || path.from.is_some() {
        return Err(TestError::ImportSource);
    }
    let first = path.as_path.as_ref().and_then(AsPath::first);
    let up = session(config, peer, path.peer_asn.or(first));
    if up.peer_asn != up.local_asn && path.local_pref.is_some() {
        return Err(TestError::NoLocalPref(peer.name.to_string()));
    }
    Ok(up)
}

/// Puts the path into the RIB as the one to be told to the peer.
fn originate(
    rib: &mut Rib,
    config: &Config,
    to: &Peer,
    prefix: Prefix,
    path: &Described,
) -> Result<(), TestError> {
    rib.peer_up(TESTED, session(config, to, path.peer_asn));
    let first = path.as_path.as_ref().and_then(AsPath::first);
    let Some(from) = &path.from else {
        match path.source.unwrap_or(Source::Local) {
            Source::Local => {
                let attrs = described(path, AsPath::empty(), IpAddr::V4(Ipv4Addr::UNSPECIFIED));
                rib.originate(prefix, Arc::new(attrs));
            }
            Source::Ebgp => {
                let asn = first.filter(|first| *first != config.speaker.asn);
                let asn = asn.unwrap_or_else(|| other_than(config.speaker.asn));
                announce(rib, SENDER, somebody(config, to, asn), prefix, path);
            }
            Source::Ibgp => {
                announce(rib, SENDER, somebody(config, to, config.speaker.asn), prefix, path);
            }
        }
        return Ok(());
    };
    let peer = find(config, from)?;
    let up = session(config, peer, first);
    let source = if up.peer_asn == up.local_asn { Source::Ibgp } else { Source::Ebgp };
    if path.source.is_some_and(|wanted| wanted != source) {
        return Err(TestError::OtherSource(from.clone()));
    }
    let id = if Arc::ptr_eq(&peer.name, &to.name) { TESTED } else { SENDER };
    announce(rib, id, accepting(up), prefix, path);
    Ok(())
}

/// A session with a peer of the configuration. `asn` is its AS if the configuration leaves it open.
fn session(config: &Config, peer: &Peer, asn: Option<Asn>) -> PeerUp {
    let local_asn = peer.session.local_asn;
    let peer_asn = match &peer.session.peer_asn {
        PeerAs::Exact(asn) => *asn,
        PeerAs::OneOf(list) => {
            let listed = asn.filter(|asn| list.contains(asn));
            listed.or_else(|| list.first().copied()).unwrap_or_else(|| other_than(local_asn))
        }
        PeerAs::Internal => local_asn,
        PeerAs::External => {
            asn.filter(|asn| *asn != local_asn).unwrap_or_else(|| other_than(local_asn))
        }
    };
    let (v4, v6) = match peer.local_address {
        Some(IpAddr::V4(v4)) => (Some(v4), None),
        Some(IpAddr::V6(v6)) => (None, Some(v6)),
        None => (None, None),
    };
    let v4 = peer.next_hop_ipv4.or(v4).unwrap_or(config.speaker.router_id);
    let v6 = peer.next_hop_ipv6.or(v6).unwrap_or(OUR_V6);
    let (address, link) = match peer.address.fixed() {
        Some(address) => (address, None),
        None => (SOME_LINK_LOCAL.into(), Some(SOME_LINK)),
    };
    let mut rib = peer.rib.clone();
    rib.local_addresses = vec![v4.into(), v6.into()];
    PeerUp {
        families: peer.session.families,
        local_asn,
        peer_asn,
        router_id: match address {
            IpAddr::V4(v4) => v4,
            IpAddr::V6(_) => SOME_V4,
        },
        address,
        link,
        extended_next_hop: peer.session.extended_next_hop.contains(Family::Ipv4Unicast),
        options: SessionOptions::default(),
        config: rib,
        opening: Opening::default(),
    }
}

/// A session like that with `peer`, but with somebody else, in this AS.
fn somebody(config: &Config, peer: &Peer, asn: Asn) -> PeerUp {
    let mut up = accepting(session(config, peer, None));
    up.config.name = "(made up)".into();
    up.config.group = None;
    up.local_asn = config.speaker.asn;
    up.config.route_reflector_client = false;
    up.config.route_server_client = false;
    up.address = IpAddr::V4(SOME_V4);
    PeerUp { peer_asn: asn, ..up }
}

/// The session of a sender whose own import is not in question.
fn accepting(up: PeerUp) -> PeerUp {
    let mut up = up;
    up.config.import = Some(Arc::new(Policy::accept_all()));
    up.config.enforce_first_as = false;
    up
}

fn other_than(ours: Asn) -> Asn {
    if ours == SOME_AS { Asn(SOME_AS.0 + 1) } else { SOME_AS }
}

/// The peer comes up and announces the path.
fn announce(rib: &mut Rib, id: PeerId, up: PeerUp, prefix: Prefix, path: &Described) {
    let likely_path = if up.peer_asn == up.local_asn {
        AsPath::empty()
    } else {
        AsPath::sequence([up.peer_asn.0])
    };
    let likely_hop = match prefix.family() {
        Family::Ipv4Unicast if up.address.is_ipv4() => up.address,
        Family::Ipv4Unicast => SOME_V4.into(),
        Family::Ipv6Unicast if up.address.is_ipv6() => up.address,
        Family::Ipv6Unicast => SOME_V6.into(),
    };
    let attrs = Arc::new(described(path, likely_path, likely_hop));
    rib.peer_up(id, up);
    let reach = Reach { family: prefix.family(), attrs, prefixes: vec![prefix.into()] };
    rib.update(id, &Update { reach: vec![reach], ..Update::default() });
}

/// The attributes that were described, with the likely ones where nothing was said.
fn described(path: &Described, likely_path: AsPath, likely_hop: IpAddr) -> Attrs {
    let next_hop = NextHop::new(path.next_hop.unwrap_or(likely_hop));
    Attrs {
        as_path: path.as_path.clone().unwrap_or(likely_path),
        origin: path.origin.unwrap_or(Origin::Igp),
        med: path.med,
        local_pref: path.local_pref,
        communities: sorted(&path.communities),
        large_communities: sorted(&path.large_communities),
        ext_communities: sorted(&path.ext_communities),
        ..Attrs::originated(next_hop)
    }
}

fn sorted<T: Ord + Clone>(list: &[T]) -> Vec<T> {
    let mut sorted = list.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    sorted
}

/// What became of the tested peer's path.
fn imported(rib: &Rib, prefix: Prefix) -> Account {
    let paths = rib.why(prefix, None).into_iter().flat_map(|why| why.paths);
    let mut of_peer = paths.filter(|path| path.view.peer == Some(TESTED));
    let why = of_peer.next().expect("the peer has announced it, in a family that it speaks");
    let reason = match &why.view.verdict {
        Verdict::Ineligible(reason) => Some(reason.to_string()),
        Verdict::Best | Verdict::Multipath | Verdict::Lost(_) => None,
    };
    Account {
        policy: why.import.as_ref().map(policy_view),
        before: attrs_view(&why.received, true),
        after: reason.is_none().then(|| attrs_view(&why.view.attrs, true)),
        reason,
    }
}

/// What the tested peer is told.
fn exported(rib: &Rib, prefix: Prefix) -> Result<Account, TestError> {
    let Why { paths, told, .. } = rib.why(prefix, Some(TESTED)).ok_or(TestError::NoBest(prefix))?;
    let path = paths.into_iter().next().ok_or(TestError::NoBest(prefix))?;
    let Some(told) = told.into_iter().next() else {
        return Err(TestError::Unusable(path.view.verdict.to_string()));
    };
    let learned = path.view.peer.is_some();
    Ok(Account {
        policy: told.export.as_ref().map(policy_view),
        before: attrs_view(&path.view.attrs, learned),
        after: told.outcome.as_ref().ok().map(|attrs| attrs_view(attrs, true)),
        reason: told.outcome.err().map(|reason| reason.to_string()),
    })
}
