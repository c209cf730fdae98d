//! What peers must have in common to share an Adj-RIB-Out.
//!
//! In: a session with its settings. Out: the same without what export never looks at, or nothing
//! if the peer must be looked at alone. Every setting is named here, so that a new one cannot be
//! forgotten.

use std::net::Ipv4Addr;

use crate::{
    config::{AddPath, LocalAs, PrivateAs, RibPeerConfig},
    family::FamilySet,
    rib::peer::{Opening, PeerUp, SessionOptions},
};

/// The session as export sees it, the same for all who are told the same.
pub(in crate::rib) fn manner(up: &PeerUp) -> Option<PeerUp> {
    let SessionOptions {
        graceful_restart: _,
        long_lived,
        add_path_receive: _,
        add_path_send,
        two_octet_as,
        extended_messages,
        enhanced_refresh: _,
        role,
    } = up.options;
    let config = config(&up.config)?;
    // Several paths, or the best that the peer may have: that is looked at for each.
    if !add_path_send.is_empty() || up.is_route_server_client() {
        return None;
    }
    let looks_at_as = config.as_override || config.private_as != PrivateAs::Keep;
    // Otherwise only whether it is ours matters.
    let peer_asn = if looks_at_as || !up.is_external() { up.peer_asn } else { OTHER_AS };
    if peer_asn == up.local_asn && up.is_external() {
        return None;
    }
    Some(PeerUp {
        families: up.families,
        local_asn: up.local_asn,
        peer_asn,
        router_id: Ipv4Addr::UNSPECIFIED,
        address: Ipv4Addr::UNSPECIFIED.into(),
        link: up.link,
        extended_next_hop: up.extended_next_hop,
        options: SessionOptions {
            graceful_restart: false,
            long_lived,
            add_path_receive: FamilySet::NONE,
            add_path_send,
            two_octet_as,
            extended_messages,
            enhanced_refresh: false,
            role,
        },
        config,
        opening: Opening::default(),
    })
}

fn config(config: &RibPeerConfig) -> Option<RibPeerConfig> {
    let RibPeerConfig {
        name: _,
        group: _,
        import: _,
        export,
        route_reflector_client,
        route_server_client,
        next_hop_self,
        allow_own_as: _,
        as_override,
        private_as,
        local_as: LocalAs { no_prepend: _, replace_as },
        add_path: _,
        max_prefixes: _,
        max_advertised,
        drain,
        send_link_bandwidth,
        send_blackhole,
        enforce_first_as: _,
        next_hops_on_link: _,
        local_addresses,
    } = config;
    let alone = export.as_ref().is_some_and(|policy| {
        let inputs = policy.inputs();
        // A next hop that a policy sets or keeps must not be the peer itself.
        inputs.peer || inputs.next_hop
    });
    let limited = max_advertised.ipv4.is_some() || max_advertised.ipv6.is_some();
    if alone || limited || *send_link_bandwidth {
        return None;
    }
    let plain = RibPeerConfig::default();
    Some(RibPeerConfig {
        export: export.clone(),
        route_reflector_client: *route_reflector_client,
        route_server_client: *route_server_client,
        next_hop_self: *next_hop_self,
        as_override: *as_override,
        private_as: *private_as,
        local_as: LocalAs { no_prepend: false, replace_as: *replace_as },
        add_path: AddPath::All,
        drain: *drain,
        send_link_bandwidth: *send_link_bandwidth,
        send_blackhole: *send_blackhole,
        local_addresses: local_addresses.clone(),
        ..plain
    })
}

/// Stands for any AS but ours: the last one, reserved (RFC 7300).
const OTHER_AS: crate::aspath::Asn = crate::aspath::Asn(u32::MAX);
