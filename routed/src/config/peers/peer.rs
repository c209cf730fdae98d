//! One `[[peers]]` table: what it says, whether that fits together, and what it comes to.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    num::NonZeroU8,
    path::PathBuf,
    sync::Arc,
};

use bgp::{
    aspath::Asn,
    config::{PeerAs, RibPeerConfig, SessionConfig, Ttl},
    family::{Family, FamilySet},
    policy::Policy,
};

use super::{Bfd, Context, bfd, limits, options};
use crate::config::{
    Password, Peer, PeerAddress, password,
    policies::{self, Direction},
    problem::{Caution, Problem},
    section::{At, Section},
    speaker::{PolicyDefaults, Timers},
    value,
};

/// RFC 4271 §8.
const BGP_PORT: u16 = 179;

/// A table as far as it was understood.
pub(in crate::config) struct Read {
    pub(super) name: Option<At<String>>,
    pub(super) address: Option<At<PeerAddress>>,
    /// `None` if it cannot stand; the faults are recorded.
    pub(super) peer: Option<Peer>,
}

impl Read {
    /// The peer's name, given or taken from its address.
    pub(super) fn shown_name(&self) -> Option<String> {
        let named = self.name.as_ref().map(|name| name.value.clone());
        named.or_else(|| self.address.as_ref().map(|address| address.value.to_string()))
    }
}

/// How the other side is told from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// By its address.
    Fixed,
    /// By the interface that it is behind.
    Unnumbered,
    /// By a prefix that it is in; it is never dialled.
    Dynamic,
}

/// What peers of every kind have.
pub(super) struct Body {
    port: u16,
    local_address: Option<IpAddr>,
    bind_device: Option<Arc<str>>,
    ttl: Ttl,
    password: Option<Password>,
    session: SessionConfig,
    rib: RibPeerConfig,
    next_hop_ipv4: Option<Ipv4Addr>,
    next_hop_ipv6: Option<Ipv6Addr>,
    bfd: Option<Bfd>,
    internal: bool,
}

impl Body {
    /// The peer with this name and address.
    pub(super) fn peer(self, name: Arc<str>, address: PeerAddress) -> Peer {
        let Self { port, local_address, bind_device, ttl, password, session, rib, .. } = self;
        let Self { next_hop_ipv4, next_hop_ipv6, bfd, internal, .. } = self;
        let mut peer = Peer {
            name: Arc::clone(&name),
            address,
            port,
            local_address,
            bind_device,
            ttl,
            password,
            session,
            rib: RibPeerConfig { name, ..rib },
            next_hop_ipv4,
            next_hop_ipv6,
            bfd,
            membership: None,
        };
        peer.rib.next_hops_on_link = peer.is_on_link() && !internal;
        peer
    }
}

/// The table.
pub(super) fn read(
    section: &mut Section<'_, '_>,
    context: &Context<'_>,
    defaults: &PolicyDefaults,
) -> Read {
    let name = section.optional("name", value::name);
    let address = address(section, context);
    // Even if its value cannot stand: what follows from it is clear.
    let kind = if section.has("interface") { Kind::Unnumbered } else { Kind::Fixed };
    let body = body(section, context, defaults, kind, address.as_ref());
    let peer = address.as_ref().zip(body).map(|(address, body)| {
        let given = name.as_ref().map(|name| name.value.clone());
        let name = given.unwrap_or_else(|| address.value.to_string());
        body.peer(name.into(), address.value.clone())
    });
    Read { name, address, peer }
}

/// Everything but name and address. `None` if something has no value to stand for it.
pub(super) fn body(
    section: &mut Section<'_, '_>,
    context: &Context<'_>,
    defaults: &PolicyDefaults,
    kind: Kind,
    address: Option<&At<PeerAddress>>,
) -> Option<Body> {
    let asn = peer_as(section, kind);
    let internal = asn.as_ref().map(|asn| is_internal(asn, context.speaker.asn));
    if let Some(asn) = &asn {
        check_list(section, asn, context.speaker.asn);
    }
    let (local_address, port) = match kind {
        Kind::Fixed | Kind::Unnumbered => {
            (local_address(section, address), section.or("port", BGP_PORT, value::port))
        }
        Kind::Dynamic => (None, BGP_PORT),
    };
    let bind_device = bind_device(section, kind);
    let ttl = ttl(section, internal, kind);
    let password = password(section, context);
    let (local_asn, local_as) =
        options::local_asn(section, context.speaker.asn, (asn.as_ref(), internal));
    let mut session = session(section, context, asn, kind);
    let mut rib = RibPeerConfig { local_as, ..rib(section, context, defaults, internal) };
    options::rib(section, internal, &mut rib);
    match &mut session {
        Some(session) => {
            session.local_asn = local_asn.unwrap_or(session.local_asn);
            options::session(section, internal, session);
        }
        // The keys are judged all the same.
        None => options::session(section, internal, &mut options::anybody()),
    }
    let families = session.as_ref().map_or(FamilySet::ALL, |session| session.families);
    limits::read(section, families, &mut rib);
    let (next_hop_ipv4, next_hop_ipv6) = next_hops(section, families);
    let bfd = bfd::read(section, context, ttl);
    Some(Body {
        port,
        local_address,
        bind_device,
        ttl,
        password,
        session: session?,
        rib,
        next_hop_ipv4,
        next_hop_ipv6,
        bfd,
        internal: internal?,
    })
}

/// `address` or `interface`.
fn address(section: &mut Section<'_, '_>, context: &Context<'_>) -> Option<At<PeerAddress>> {
    let address = section.optional("address", value::host);
    let interface = section.optional("interface", value::interface);
    if let Some(address) = &address {
        check_address(section, address, context);
    }
    match (section.has("address"), section.has("interface")) {
        (true, true) => {
            section.fault(section.place_of("interface"), Problem::Excludes("address"));
        }
        (false, false) => {
            let example = "address = \"10.1.1.0\" or interface = \"eth1\"";
            section.fault(section.place_of("address"), Problem::Missing(example));
        }
        (true, false) | (false, true) => {}
    }
    let fixed = address.map(|At { value, place }| At { value: PeerAddress::Fixed(value), place });
    let learned =
        interface.map(|At { value, place }| At { value: PeerAddress::Learned(value), place });
    fixed.or(learned)
}

/// `asn`. Who is at the other end of an unnumbered link is known by the cabling: any other AS will
/// do.
fn peer_as(section: &mut Section<'_, '_>, kind: Kind) -> Option<PeerAs> {
    if kind == Kind::Unnumbered && !section.has("asn") {
        return Some(PeerAs::External);
    }
    let example = "asn = 4200000001, \"external\" or \"internal\"";
    section.required("asn", example, value::peer_as).map(|asn| asn.value)
}

/// Whether the session stays inside our AS.
fn is_internal(peer: &PeerAs, ours: Option<Asn>) -> bool {
    match peer {
        PeerAs::Exact(asn) => Some(*asn) == ours,
        PeerAs::Internal => true,
        PeerAs::External | PeerAs::OneOf(_) => false,
    }
}

/// What holds for iBGP and what for eBGP differs, so a list is for eBGP alone.
fn check_list(section: &mut Section<'_, '_>, peer: &PeerAs, ours: Option<Asn>) {
    if let (PeerAs::OneOf(list), Some(ours)) = (peer, ours)
        && list.contains(&ours)
    {
        section.fault(section.place_of("asn"), Problem::OwnAsnInList(ours));
    }
}

/// A peer is neither this node nor one of its pods.
fn check_address(section: &mut Section<'_, '_>, address: &At<IpAddr>, context: &Context<'_>) {
    let At { value: address, place } = address.clone();
    let own = context.speaker.listen.iter().any(|listen| listen.ip() == address)
        || context.speaker.router_id.map(IpAddr::V4) == Some(address);
    if own {
        section.fault(place.clone(), Problem::OwnAddress(address));
    }
    if let Some(range) = context.pods.iter().copied().find(|range| range.contains(address)) {
        section.fault(place, Problem::PeerInPods { address, range });
    }
}

fn local_address(section: &mut Section<'_, '_>, peer: Option<&At<PeerAddress>>) -> Option<IpAddr> {
    let At { value: local, place } = section.optional("local_address", value::host)?;
    let Some(peer) = peer?.value.fixed() else {
        section.fault(place, Problem::Excludes("interface"));
        return None;
    };
    if local == peer {
        section.fault(place, Problem::OwnAddress(peer));
    } else if local.is_ipv4() != peer.is_ipv4() {
        section.fault(place, Problem::FamilyMismatch { local, peer });
    }
    Some(local)
}

/// The interface of an unnumbered peer is the one that it is behind.
fn bind_device(section: &mut Section<'_, '_>, kind: Kind) -> Option<Arc<str>> {
    let At { value, place } = section.optional("bind_device", value::interface)?;
    if kind == Kind::Unnumbered {
        section.fault(place, Problem::Excludes("interface"));
        return None;
    }
    Some(value)
}

/// `multihop`, `ttl_security`, or what fits the kind of session.
///
/// An unnumbered peer is on the link whatever the hop limit: link-local addresses go no farther. With
/// the highest one the peer may check ours (RFC 5082) without our knowing.
fn ttl(section: &mut Section<'_, '_>, internal: Option<bool>, kind: Kind) -> Ttl {
    let unnumbered = kind == Kind::Unnumbered;
    let hops = |most| move |value: &toml::de::DeValue<'_>| value::number(1..=most)(value);
    let multihop = section.optional("multihop", hops(255));
    let security = section.optional("ttl_security", hops(254));
    let nonzero = |at: At<u8>| NonZeroU8::new(at.value);
    match (multihop, security) {
        (Some(multihop), _) if unnumbered => {
            section.fault(multihop.place, Problem::Excludes("interface"));
            Ttl::Any
        }
        (Some(multihop), Some(_)) => {
            section.fault(multihop.place, Problem::Excludes("ttl_security"));
            Ttl::Any
        }
        (Some(multihop), None) => nonzero(multihop).map_or(Ttl::OnLink, Ttl::Multihop),
        (None, Some(security)) => nonzero(security).map_or(Ttl::OnLink, Ttl::Security),
        (None, None) if internal == Some(true) || unnumbered => Ttl::Any,
        (None, None) => Ttl::OnLink,
    }
}

fn password(section: &mut Section<'_, '_>, context: &Context<'_>) -> Option<Password> {
    let scheme = password::scheme(section);
    if section.has("tcp_ao") && !section.has("password_file") {
        let example = "password_file = \"/etc/slash32/tor-a.key\" with it";
        section.fault(section.place_of("tcp_ao"), Problem::Missing(example));
    }
    let file = section.optional("password_file", |value| match value::text(value)? {
        "" => Err(Problem::EmptyValue("write the path of a file, or remove the key")),
        path => Ok(PathBuf::from(path)),
    })?;
    Some(password::read(section, &file, context.folder)?.with_scheme(scheme))
}

/// `None` if an AS number or the router id is not known.
fn session(
    section: &mut Section<'_, '_>,
    context: &Context<'_>,
    peer_asn: Option<PeerAs>,
    kind: Kind,
) -> Option<SessionConfig> {
    let defaults = &context.speaker.defaults;
    let timers = Timers::read(section);
    let hold_time = timers.hold_time.unwrap_or(defaults.hold_time);
    timers.warn(section, hold_time);
    let passive = match kind {
        Kind::Fixed | Kind::Unnumbered => passive(section, context),
        Kind::Dynamic => true,
    };
    let families = families(section);
    let extended_next_hop = section.or("extended_next_hop", kind == Kind::Unnumbered, value::flag);
    let ipv4 = [Family::Ipv4Unicast].into_iter().filter(|_| extended_next_hop);
    Some(SessionConfig {
        hold_time,
        keepalive_time: timers.keepalive_time.or(defaults.keepalive_time),
        connect_retry: timers.connect_retry.unwrap_or(defaults.connect_retry),
        passive,
        families,
        extended_next_hop: ipv4.collect(),
        ..SessionConfig::new(context.speaker.asn?, context.speaker.router_id?, peer_asn?)
    })
}

fn passive(section: &mut Section<'_, '_>, context: &Context<'_>) -> bool {
    let passive = section.optional("passive", value::flag).filter(|at| at.value);
    if let Some(passive) = &passive
        && context.speaker.listen.is_empty()
    {
        section.fault(passive.place.clone(), Problem::PassiveWithoutListener);
    }
    passive.is_some()
}

fn families(section: &mut Section<'_, '_>) -> FamilySet {
    let known = value::word(&["ipv4", "ipv6"], Family::ALL);
    let Some(list) = section.list("families", known) else { return FamilySet::ALL };
    if section.is_empty_list("families") {
        let remedy = "write [\"ipv4\"], [\"ipv6\"] or both, or remove the key";
        section.fault(section.place_of("families"), Problem::EmptyValue(remedy));
    }
    list.into_iter().map(|at| at.value).collect()
}

fn rib(
    section: &mut Section<'_, '_>,
    context: &Context<'_>,
    defaults: &PolicyDefaults,
    internal: Option<bool>,
) -> RibPeerConfig {
    let import = policy(section, Direction::Import, context, &defaults.import);
    let export = policy(section, Direction::Export, context, &defaults.export);
    let unset = |key, default: &Option<_>| !section.has(key) && default.is_none();
    let no_import = unset("import", &context.speaker.defaults.import);
    let no_export = unset("export", &context.speaker.defaults.export);
    if internal == Some(false) && no_import {
        section.warn(section.place(), Caution::NoImport);
    }
    if internal == Some(false) && no_export {
        section.warn(section.place(), Caution::NoExport);
    }
    if import.as_ref().is_some_and(|import| &*import.name == "originated") {
        section.warn(section.place_of("import"), Caution::ImportOriginated);
    }
    let reflector = section.optional("route_reflector_client", value::flag).filter(|at| at.value);
    let server = section.optional("route_server_client", value::flag).filter(|at| at.value);
    if let (Some(reflector), Some(false)) = (&reflector, internal) {
        section.fault(reflector.place.clone(), Problem::IbgpOnly);
    }
    if let (Some(server), Some(true)) = (&server, internal) {
        section.fault(server.place.clone(), Problem::EbgpOnly);
    }
    RibPeerConfig {
        import,
        export,
        route_reflector_client: reflector.is_some(),
        route_server_client: server.is_some(),
        next_hop_self: section.or("next_hop_self", false, value::flag),
        enforce_first_as: section.or("enforce_first_as", true, value::flag),
        next_hops_on_link: false,
        ..RibPeerConfig::default()
    }
}

fn policy(
    section: &mut Section<'_, '_>,
    direction: Direction,
    context: &Context<'_>,
    default: &Option<Arc<Policy>>,
) -> Option<Arc<Policy>> {
    match policies::read_names(section, direction) {
        Some(names) => context.policies.resolve(section, &names, direction),
        None => default.clone(),
    }
}

fn next_hops(
    section: &mut Section<'_, '_>,
    families: FamilySet,
) -> (Option<Ipv4Addr>, Option<Ipv6Addr>) {
    let four = section.optional("next_hop_ipv4", value::host_v4);
    let six = section.optional("next_hop_ipv6", value::host_v6);
    let given = [
        (four.as_ref().map(|at| &at.place), Family::Ipv4Unicast, "ipv4"),
        (six.as_ref().map(|at| &at.place), Family::Ipv6Unicast, "ipv6"),
    ];
    for (place, family, name) in given {
        if let Some(place) = place.filter(|_| !families.contains(family)) {
            section.warn(place.clone(), Caution::FamilyOff(name));
        }
    }
    (four.map(|at| at.value), six.map(|at| at.value))
}
