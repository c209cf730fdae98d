//! What is particular about a peer: every setting that is not what it would be if nobody had said
//! anything.
//!
//! Takes the settings apart without `..`, so that a new one cannot be forgotten.

use bgp::{
    config::{
        AddPath, GracefulRestart, LocalAs, PrivateAs, RibPeerConfig, SessionConfig, StaleTime,
    },
    family::{Family, FamilySet},
};

use crate::config::{Password, Peer, Scheme};

/// In words, in the order of the sections of the documentation.
pub(super) fn of(peer: &Peer) -> Vec<String> {
    let Peer {
        local_address,
        bind_device,
        bfd,
        password,
        session,
        rib,
        next_hop_ipv4,
        next_hop_ipv6,
        // These have columns of their own, or say what kind of peer it is.
        name: _,
        address: _,
        port: _,
        ttl: _,
        membership: _,
    } = peer;
    let mut all = Words::default();
    all.add(session.passive, "passive");
    match password.as_ref().map(Password::scheme) {
        Some(Scheme::Md5) => all.add(true, "password"),
        Some(Scheme::Ao { send_id, receive_id, .. }) => {
            all.value("TCP-AO", Some(format!("key ids {send_id} and {receive_id}")));
        }
        None => {}
    }
    all.value("from", *local_address);
    all.value("device", bind_device.as_deref());
    all.value("bfd", bfd.as_ref());
    of_rib(rib, &mut all);
    // Dynamic peers without a group of peers are one.
    all.0.retain(|option| *option != format!("group {}", peer.name));
    of_session(session, peer.address.interface().is_some(), &mut all);
    all.value("IPv4 next hop", *next_hop_ipv4);
    all.value("IPv6 next hop", *next_hop_ipv6);
    all.0
}

fn of_session(session: &SessionConfig, unnumbered: bool, all: &mut Words) {
    let SessionConfig {
        local_asn: _,
        router_id: _,
        peer_asn: _,
        hold_time: _,
        families,
        passive: _,
        keepalive_time,
        connect_retry,
        add_path_receive,
        add_path_send: _,
        extended_next_hop,
        extended_messages,
        role,
        strict_role,
        graceful_restart,
    } = session;
    all.value("keepalive s", keepalive_time.map(|time| time.as_secs()));
    all.value("connect retry s", Some(connect_retry.as_secs()).filter(|s| *s != 5));
    all.add(!add_path_receive.is_empty(), "takes add-path");
    let extended = extended_next_hop.contains(Family::Ipv4Unicast);
    if extended != unnumbered && families.contains(Family::Ipv4Unicast) {
        all.add(extended, "IPv4 by IPv6 next hops");
        all.add(!extended, "no IPv4 by IPv6 next hops");
    }
    all.add(!extended_messages, "no extended messages");
    all.value("role", *role);
    all.add(*strict_role, "strict role");
    of_restart(graceful_restart.as_ref(), all);
}

fn of_restart(restart: Option<&GracefulRestart>, all: &mut Words) {
    let Some(restart) = restart else { return all.add(true, "no graceful restart") };
    let usual = GracefulRestart::default();
    let GracefulRestart {
        restart_time,
        families,
        restarted: _,
        notification,
        stale_path_time,
        long_lived_time,
    } = restart;
    let differs = *restart_time != usual.restart_time;
    all.value("restart time s", differs.then_some(restart_time.seconds()));
    all.add(*families == FamilySet::NONE, "helper only");
    all.add(!notification, "no restart over notifications");
    let differs = *stale_path_time != usual.stale_path_time;
    all.value("stale path s", differs.then_some(stale_path_time.as_secs()));
    let long_lived = |time: StaleTime| (time != StaleTime::OFF).then_some(time.seconds());
    all.value("long-lived stale s of ipv4", long_lived(long_lived_time.ipv4));
    all.value("long-lived stale s of ipv6", long_lived(long_lived_time.ipv6));
}

fn of_rib(rib: &RibPeerConfig, all: &mut Words) {
    let RibPeerConfig {
        group,
        route_reflector_client,
        route_server_client,
        next_hop_self,
        allow_own_as,
        as_override,
        private_as,
        local_as: LocalAs { no_prepend, replace_as },
        add_path,
        max_prefixes,
        max_advertised,
        drain,
        send_link_bandwidth,
        send_blackhole,
        enforce_first_as,
        import: _,
        export: _,
        name: _,
        next_hops_on_link: _,
        local_addresses: _,
    } = rib;
    all.value("group", group.as_deref());
    all.add(*route_reflector_client, "reflector client");
    all.add(*route_server_client, "route server client");
    all.add(*next_hop_self, "next hop self");
    all.value("own AS allowed", Some(allow_own_as).filter(|times| **times > 0));
    all.add(*as_override, "AS override");
    match private_as {
        PrivateAs::Keep => {}
        PrivateAs::Remove => all.add(true, "private ASes removed"),
        PrivateAs::Replace => all.add(true, "private ASes replaced"),
    }
    all.add(*no_prepend, "local AS not prepended");
    all.add(*replace_as, "local AS alone");
    match add_path {
        AddPath::All => {}
        AddPath::Used => all.add(true, "add-path of those in use"),
        AddPath::Best(most) => all.value("add-path of the best", Some(most)),
    }
    for family in Family::ALL {
        let limit = max_prefixes.get(family);
        all.value("", limit.map(|limit| format!("{family}: {limit}")));
        let most = max_advertised.get(family);
        all.value("", most.map(|most| format!("{family}: told {most} at most")));
    }
    all.add(*drain, "drained");
    all.add(*send_link_bandwidth, "link bandwidth told");
    all.add(*send_blackhole, "blackholes passed on");
    all.add(!enforce_first_as, "any first AS");
}

#[derive(Default)]
struct Words(Vec<String>);

impl Words {
    fn add(&mut self, holds: bool, word: &str) {
        if holds {
            self.0.push(word.to_owned());
        }
    }

    fn value(&mut self, word: &str, value: Option<impl ToString>) {
        if let Some(value) = value {
            self.0.push(format!("{word} {}", value.to_string()).trim_start().to_owned());
        }
    }
}
