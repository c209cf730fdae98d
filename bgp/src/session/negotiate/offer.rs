//! Our OPEN: what we offer the peer (RFC 4271 §4.2, RFC 5492).
//!
//! In: our settings, and what is to be said of our restarts. Out: the OPEN. Offers only what we
//! do, and of an option only what fits the families of the session.

use crate::{
    aspath::Asn,
    config::{GracefulRestart, PeerAs, SessionConfig, StaleTime},
    family::{Family, FamilySet},
    session::restart::OpenFlags,
    wire::{Capability, Open},
};

/// Our OPEN.
pub(in crate::session) fn offer(config: &SessionConfig, flags: OpenFlags) -> Open {
    let mut capabilities: Vec<_> = config.families.iter().map(Capability::family).collect();
    capabilities.push(Capability::RouteRefresh);
    let extended_next_hop = config.extended_next_hop.intersection(config.families);
    if extended_next_hop.contains(Family::Ipv4Unicast) {
        capabilities.push(Capability::ExtendedNextHop(vec![IPV4_OVER_IPV6]));
    }
    if config.extended_messages {
        capabilities.push(Capability::ExtendedMessage);
    }
    if let Some(role) = config.role.filter(|_| may_be_external(config)) {
        capabilities.push(Capability::Role(role.code()));
    }
    if let Some(restart) = &config.graceful_restart {
        capabilities.push(graceful_restart(config, restart, flags));
    }
    capabilities.push(Capability::FourOctetAs(config.local_asn));
    capabilities.extend(add_path(config));
    capabilities.push(Capability::EnhancedRouteRefresh);
    let restart = config.graceful_restart.as_ref();
    capabilities.extend(restart.and_then(|restart| long_lived(config, restart, flags)));
    Open {
        asn: config.local_asn.as_two_octets().unwrap_or(AS_TRANS),
        hold_time: config.hold_time.seconds(),
        router_id: config.router_id,
        capabilities,
    }
}

/// Roles are for sessions between ASes (RFC 9234 §4.1).
fn may_be_external(config: &SessionConfig) -> bool {
    match &config.peer_asn {
        PeerAs::Exact(asn) => *asn != config.local_asn,
        PeerAs::External | PeerAs::OneOf(_) => true,
        PeerAs::Internal => false,
    }
}

fn graceful_restart(
    config: &SessionConfig,
    restart: &GracefulRestart,
    flags: OpenFlags,
) -> Capability {
    let families = restart.families.intersection(config.families).iter();
    Capability::GracefulRestart {
        restarted: flags.restarted,
        notification: restart.notification,
        time: restart.restart_time.seconds(),
        families: families
            .map(|family| (family.afi(), family.safi(), flags.forwarding.contains(family)))
            .collect(),
    }
}

/// Only beside graceful restart, without which it would be ignored (RFC 9494 §3.1).
fn long_lived(
    config: &SessionConfig,
    restart: &GracefulRestart,
    flags: OpenFlags,
) -> Option<Capability> {
    let families = restart.families.intersection(config.families).iter().filter_map(|family| {
        let time = *restart.long_lived_time.get(family);
        let wanted = time != StaleTime::OFF;
        let kept = flags.forwarding.contains(family);
        wanted.then_some((family.afi(), family.safi(), kept, time.seconds()))
    });
    let families: Vec<_> = families.collect();
    (!families.is_empty()).then_some(Capability::LongLivedGracefulRestart(families))
}

fn add_path(config: &SessionConfig) -> Option<Capability> {
    let offered = |set: FamilySet, family, value| if set.contains(family) { value } else { 0 };
    let families = config.families.iter().filter_map(|family| {
        let ways = offered(config.add_path_receive, family, ADD_PATH_RECEIVE)
            | offered(config.add_path_send, family, ADD_PATH_SEND);
        (ways != 0).then_some((family.afi(), family.safi(), ways))
    });
    let families: Vec<_> = families.collect();
    (!families.is_empty()).then_some(Capability::AddPath(families))
}

/// IPv4 unicast prefixes with IPv6 next hops, as it stands in the capability (RFC 8950 §4).
pub(super) const IPV4_OVER_IPV6: (u16, u16, u16) =
    (Family::Ipv4Unicast.afi(), Family::Ipv4Unicast.safi() as u16, Family::Ipv6Unicast.afi());
/// Bits of the Send/Receive field; both together are 3 (RFC 7911 §4).
pub(super) const ADD_PATH_RECEIVE: u8 = 1;
/// See [`ADD_PATH_RECEIVE`].
pub(super) const ADD_PATH_SEND: u8 = 2;
/// [`Asn::TRANS`] as it stands in the two-octet field (RFC 6793 §9).
const AS_TRANS: u16 = 23456;
const _: () = assert!(Asn::TRANS.0 == AS_TRANS as u32);
