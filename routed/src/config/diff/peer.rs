//! The settings of one peer, and what changing each of them does to its session.

use bgp::config::{
    AddPath, GracefulRestart, LocalAs, PrivateAs, RibPeerConfig, SessionConfig, Ttl,
};

use super::{
    Change,
    Effect::{None as Nothing, Reset, Soft},
    field::{Field, differences, listed},
};
use crate::config::Peer;

/// Everything that differs between two entries for the same peer.
pub(super) fn changes(old: &Peer, new: &Peer) -> Vec<Change> {
    changes_in(&format!("peers[{}]", new.name), old, new)
}

/// The same for entries of another table.
pub(super) fn changes_in(table: &str, old: &Peer, new: &Peer) -> Vec<Change> {
    differences(table, &fields(old), &fields(new))
}

/// A peer in a few words.
pub(super) fn summary(peer: &Peer) -> String {
    format!("{} AS {}", peer.address, peer.session.peer_asn)
}

fn fields(peer: &Peer) -> Vec<Field<'_>> {
    let Peer {
        name,
        address,
        port,
        local_address,
        bind_device,
        ttl,
        password,
        session,
        rib,
        next_hop_ipv4,
        next_hop_ipv6,
        bfd,
        membership,
    } = peer;
    let linger = membership.as_ref().map(|membership| membership.linger.as_secs());
    let mut fields = vec![
        // Policies know it.
        Field::new("name", Soft, name),
        Field::new("address", Reset, address),
        // Where to dial the next time; a session that is up does not care.
        Field::new("port", Nothing, port),
        Field::optional("local_address", Reset, *local_address),
        Field::optional("bind_device", Reset, bind_device.as_ref()),
        Field::secret("password_file", password.as_ref()),
    ];
    fields.extend(of_ttl(*ttl));
    fields.extend(of_session(session));
    fields.extend(of_rib(rib));
    fields.extend([
        Field::optional("next_hop_ipv4", Soft, *next_hop_ipv4),
        Field::optional("next_hop_ipv6", Soft, *next_hop_ipv6),
        // Whatever it is, the session goes on; a new session begins beside it.
        Field::optional("bfd", Nothing, bfd.as_ref()),
        // Between an entry of its own and one with others.
        Field::optional(
            "dynamic_peers",
            Reset,
            membership.as_ref().map(|membership| &membership.group),
        ),
        Field::optional("linger", Nothing, linger),
    ]);
    fields
}

/// A reset, even if the hop limits of a connection could be changed: that the peer is near enough
/// was checked when it connected.
fn of_ttl(ttl: Ttl) -> [Field<'static>; 2] {
    let (multihop, security) = match ttl {
        Ttl::OnLink => (Some("1 (on link)".to_owned()), None),
        Ttl::Multihop(hops) => (Some(hops.to_string()), None),
        Ttl::Security(hops) => (None, Some(hops)),
        Ttl::Any => (Some("255 (any)".to_owned()), None),
    };
    [Field::optional("multihop", Reset, multihop), Field::optional("ttl_security", Reset, security)]
}

/// What is told or agreed on in OPEN needs a new one.
fn of_session(session: &SessionConfig) -> Vec<Field<'_>> {
    let SessionConfig {
        local_asn,
        router_id,
        peer_asn,
        hold_time,
        keepalive_time,
        connect_retry,
        passive,
        families,
        add_path_receive,
        add_path_send,
        extended_next_hop,
        extended_messages,
        role,
        strict_role,
        graceful_restart,
    } = session;
    let mut fields = vec![
        Field::new(LOCAL_ASN, Reset, local_asn),
        Field::new(ROUTER_ID, Reset, router_id),
        Field::new("asn", Reset, peer_asn),
        Field::new("hold_time", Reset, &hold_time.seconds()),
        // Ours alone: the next KEEPALIVE goes out by it.
        Field::optional("keepalive_time", Nothing, keepalive_time.map(|time| time.as_secs())),
        Field::new("connect_retry", Nothing, &connect_retry.as_secs()),
        Field::new("passive", Nothing, passive),
        Field::new("families", Reset, &listed(families.iter())),
        Field::new("add_path_receive", Reset, &listed(add_path_receive.iter())),
        Field::new("add_path_send", Reset, &listed(add_path_send.iter())),
        Field::new("extended_next_hop", Reset, &listed(extended_next_hop.iter())),
        Field::new("extended_messages", Reset, extended_messages),
        Field::optional("role", Reset, *role),
        Field::new("strict_role", Reset, strict_role),
    ];
    fields.extend(of_restart(graceful_restart.as_ref()));
    fields
}

fn of_restart(restart: Option<&GracefulRestart>) -> impl Iterator<Item = Field<'static>> {
    let values = restart.map(|restart| {
        let GracefulRestart {
            restart_time,
            families,
            // How this run of the daemon began, and not what a file says.
            restarted: _,
            notification,
            stale_path_time,
            long_lived_time,
        } = restart;
        [
            restart_time.seconds().to_string(),
            listed(families.iter()),
            notification.to_string(),
            stale_path_time.as_secs().to_string(),
            long_lived_time.ipv4.seconds().to_string(),
            long_lived_time.ipv6.seconds().to_string(),
        ]
    });
    let keys = [
        ("restart_time", Reset),
        ("graceful_restart.families", Reset),
        ("graceful_restart.notification", Reset),
        // Looked at when the peer comes back.
        ("stale_path_time", Nothing),
        ("long_lived_stale_time.ipv4", Reset),
        ("long_lived_stale_time.ipv6", Reset),
    ];
    keys.into_iter().enumerate().map(move |(i, (key, effect))| {
        Field::optional(key, effect, values.as_ref().map(|values| &values[i]))
    })
}

/// What the RIB does with a peer's routes can change at any time.
fn of_rib(rib: &RibPeerConfig) -> Vec<Field<'_>> {
    let RibPeerConfig {
        group,
        import,
        export,
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
        // Follow from others: the peer's name, the distance, and the session's own addresses.
        name: _,
        next_hops_on_link: _,
        local_addresses: _,
    } = rib;
    let private_as = match private_as {
        PrivateAs::Keep => "keep",
        PrivateAs::Remove => "remove",
        PrivateAs::Replace => "replace",
    };
    let add_path = match add_path {
        AddPath::All => "all".to_owned(),
        AddPath::Used => "used".to_owned(),
        AddPath::Best(most) => format!("best {most}"),
    };
    vec![
        Field::policy("import", import.as_deref()),
        Field::policy("export", export.as_deref()),
        Field::optional("group", Soft, group.as_ref()),
        Field::new("route_reflector_client", Soft, route_reflector_client),
        Field::new("route_server_client", Soft, route_server_client),
        Field::new("next_hop_self", Soft, next_hop_self),
        Field::new("allow_own_as", Soft, allow_own_as),
        Field::new("as_override", Soft, as_override),
        Field::new("private_as", Soft, private_as),
        Field::new("local_as.no_prepend", Soft, no_prepend),
        Field::new("local_as.replace_as", Soft, replace_as),
        Field::new("add_path", Soft, &add_path),
        Field::optional("max_prefixes.ipv4", Soft, max_prefixes.ipv4.as_ref()),
        Field::optional("max_prefixes.ipv6", Soft, max_prefixes.ipv6.as_ref()),
        Field::optional("max_advertised.ipv4", Soft, max_advertised.ipv4.as_ref()),
        Field::optional("max_advertised.ipv6", Soft, max_advertised.ipv6.as_ref()),
        Field::new("drain", Soft, drain),
        Field::new("send_link_bandwidth", Soft, send_link_bandwidth),
        Field::new("send_blackhole", Soft, send_blackhole),
        Field::new("enforce_first_as", Soft, enforce_first_as),
    ]
}

/// Usually that of `[bgp]`.
pub(super) const LOCAL_ASN: &str = "local_asn";
/// Always that of `[bgp]`.
pub(super) const ROUTER_ID: &str = "router_id";
