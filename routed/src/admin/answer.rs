//! Answers about peers, pods and pools: from the owners' state to views.

use std::time::{Duration, Instant};

use bgp::{
    config::{PeerAs, RibPeerConfig},
    family::{Family, FamilySet},
    rib::PeerCounts,
    session::{Counters, Established},
    wire::{MAX_LEN, Notification},
};
use routed_core::{
    ipam::{BlockUse, PoolUse},
    pod::{PodState, nat::NatState},
};

use super::Refusal;
use crate::{
    config::Peer,
    node::PodStatus,
    peering::{BfdStatus, LastError, PeerHandle, PeerStatus, Side},
    show::view::{
        BfdView, BlockView, LeaseView, MessageCounts, NotificationView, PeerView, PodView,
        PoolView, RouteCounts, Switch,
    },
    sources::{NoAnswer, Sources, in_time},
};

/// Every peer, in the order of the configuration; or the one of this name or address.
pub(super) async fn peers(sources: &Sources, name: Option<&str>) -> Result<Vec<PeerView>, Refusal> {
    let peers = match name {
        None => sources.peers.list(),
        Some(name) => [find_peer(sources, name)?].into(),
    };
    let ids = peers.iter().map(|peer| peer.id).collect();
    let counts = in_time(sources.rib.peer_counts(ids)).await.map_err(of_part("RIB"))?;
    let drained = in_time(sources.rib.is_drained()).await.map_err(of_part("RIB"))?;
    let now = Instant::now();
    let view = |(peer, counts): (&PeerHandle, _)| {
        let view = peer_view(peer, &peer.status(), counts, now);
        PeerView { drained: drained || peer.settings.rib.drain, router_drained: drained, ..view }
    };
    Ok(peers.iter().zip(counts).map(view).collect())
}

/// The peer of this name or address.
pub(super) fn find_peer(sources: &Sources, name: &str) -> Result<PeerHandle, Refusal> {
    sources.peer(name).ok_or_else(|| Refusal::UnknownPeer {
        name: name.to_owned(),
        known: sources.peers.list().iter().map(|peer| peer.settings.name.to_string()).collect(),
    })
}

/// Every pod interface.
pub(super) async fn pods(sources: &Sources) -> Result<Vec<PodView>, Refusal> {
    let pods = sources.pods.as_ref().ok_or(Refusal::NoPods)?;
    let pods = in_time(pods.pods()).await.map_err(of_part("pods"))?;
    let view = |PodStatus { wiring, state }: PodStatus| PodView {
        namespace: wiring.pod.as_ref().map(|pod| pod.namespace.clone()),
        pod: wiring.pod.as_ref().map(|pod| pod.name.clone()),
        network: wiring.id.network().to_owned(),
        container_id: wiring.id.container_id().to_owned(),
        ifname: wiring.inside.name,
        host_ifname: wiring.host.name,
        ipv4: wiring.lease.ipv4,
        ipv6: wiring.lease.ipv6,
        mac: wiring.inside.mac.to_string(),
        mtu: wiring.mtu,
        state: state_name(state).to_owned(),
    };
    Ok(pods.into_iter().map(view).collect())
}

/// Every pod range, in the order of the configuration.
pub(super) async fn pools(sources: &Sources) -> Result<Vec<PoolView>, Refusal> {
    let pods = sources.pods.as_ref().ok_or(Refusal::NoPods)?;
    let pools = in_time(pods.pools()).await.map_err(of_part("pods"))?;
    let former = in_time(pods.former_ranges()).await.map_err(of_part("pods"))?;
    let ranges = pools.iter().map(|pool| pool.prefix).chain(former.iter().map(|(range, _)| *range));
    let nat = in_time(pods.nat(ranges.collect())).await.map_err(of_part("pods"))?;
    let view = |PoolUse { name, family, prefix, size, leased, cooling }| PoolView {
        name,
        prefix: prefix.into(),
        family: family.to_string(),
        capacity: size,
        leased,
        cooling,
        free: size.saturating_sub(leased + cooling),
        former: false,
        nat_outgoing: Switch::Off,
    };
    let former = former.into_iter().map(|(prefix, leased)| PoolView {
        name: "-".to_owned(),
        prefix: prefix.into(),
        family: prefix.family().to_string(),
        capacity: leased as u128,
        leased: leased as u128,
        cooling: 0,
        free: 0,
        former: true,
        nat_outgoing: Switch::Off,
    });
    let mut views: Vec<_> = pools.into_iter().map(view).chain(former).collect();
    for (view, state) in views.iter_mut().zip(nat) {
        view.nat_outgoing = match state {
            NatState::Off => Switch::Off,
            NatState::On => Switch::On,
            NatState::Failed => Switch::Failed,
        };
    }
    Ok(views)
}

/// Every open block.
pub(super) async fn blocks(sources: &Sources) -> Result<Vec<BlockView>, Refusal> {
    let pods = sources.pods.as_ref().ok_or(Refusal::NoPods)?;
    let blocks = in_time(pods.blocks()).await.map_err(of_part("pods"))?;
    let view = |BlockUse { pool, prefix, size, leased, cooling }| BlockView {
        pool,
        prefix: prefix.into(),
        size,
        leased,
        cooling,
    };
    Ok(blocks.into_iter().map(view).collect())
}

/// Every address that is leased or idle.
pub(super) async fn leases(sources: &Sources) -> Result<Vec<LeaseView>, Refusal> {
    let pods = sources.pods.as_ref().ok_or(Refusal::NoPods)?;
    let book = in_time(pods.leases()).await.map_err(of_part("pods"))?;
    let leased = book.leased.into_iter().flat_map(|(id, lease)| {
        lease.iter().map(move |address| LeaseView {
            address,
            network: Some(id.network().to_owned()),
            container_id: Some(id.container_id().to_owned()),
            ifname: Some(id.ifname().to_owned()),
            idle_seconds: None,
        })
    });
    let idle = book.idle.into_iter().map(|(address, since)| LeaseView {
        address,
        network: None,
        container_id: None,
        ifname: None,
        idle_seconds: Some(whole(since)),
    });
    let mut views: Vec<_> = leased.chain(idle).collect();
    views.sort_by_key(|view| view.address);
    Ok(views)
}

/// Has the pods compared with the kernel.
pub(super) async fn put_right(sources: &Sources) -> Result<Vec<()>, Refusal> {
    let pods = sources.pods.as_ref().ok_or(Refusal::NoPods)?;
    in_time(pods.put_right()).await.map_err(of_part("pods"))?;
    Ok(Vec::new())
}

/// What became of a question to one of the owners.
pub(super) fn of_part(part: &'static str) -> impl Fn(NoAnswer) -> Refusal {
    move |error| Refusal::NoAnswer { part: part.to_owned(), reason: error.to_string() }
}

fn peer_view(
    peer: &PeerHandle,
    status: &PeerStatus,
    counts: [PeerCounts; Family::ALL.len()],
    now: Instant,
) -> PeerView {
    let settings = &peer.settings;
    let agreed: Option<&Established> = status.negotiated.as_deref();
    let configured = match &settings.session.peer_asn {
        PeerAs::Exact(asn) => Some(*asn),
        PeerAs::Internal => Some(settings.session.local_asn),
        PeerAs::External | PeerAs::OneOf(_) => None,
    };
    let families = Family::ALL.into_iter().zip(counts);
    let families = families.filter(|(family, _)| settings.session.families.contains(*family));
    PeerView {
        name: settings.name.to_string(),
        address: status.peer.map(|peer| peer.ip()),
        interface: settings.address.interface().map(ToString::to_string),
        asn: agreed.map(|agreed| agreed.peer_asn).or(configured).map(|asn| asn.0),
        local_asn: settings.session.local_asn.0,
        router_id: agreed.map(|agreed| agreed.peer_router_id),
        state: status.state.to_string(),
        enabled: status.wanted,
        drained: false,
        router_drained: false,
        since_seconds: status.since.map(|since| whole(now.saturating_duration_since(since))),
        established_count: status.established_count,
        families: agreed.map_or_else(Vec::new, |agreed| {
            agreed.families.iter().map(|family| family.to_string()).collect()
        }),
        capabilities: agreed.map_or_else(Vec::new, capabilities),
        hold_time: agreed.map(|agreed| agreed.hold_time),
        keepalive_time: agreed.map(|agreed| agreed.keepalive_time),
        connect_retry: whole(settings.session.connect_retry),
        local_address: status.local.map(|local| local.ip()),
        import: settings.rib.import.as_ref().map(|policy| policy.name.to_string()),
        export: settings.rib.export.as_ref().map(|policy| policy.name.to_string()),
        limits: limits(&settings.rib),
        routes: families.map(|(family, counts)| route_counts(family, counts, settings)).collect(),
        messages_received: message_counts(status.received),
        messages_sent: message_counts(status.sent),
        attributes_discarded: status.faults.discarded,
        treated_as_withdraw: status.faults.withdrawn,
        queued_octets: status.queued,
        last_error: status.last_error.as_ref().map(ToString::to_string),
        last_session_end: status.session_end.as_ref().map(ToString::to_string),
        last_error_seconds: status.failed_at.map(|at| whole(now.saturating_duration_since(at))),
        last_notification: status.last_error.as_ref().and_then(notification_view),
        remedy: status.last_error.as_ref().and_then(LastError::remedy).map(str::to_owned),
        next_attempt_seconds: status
            .next_attempt
            .map(|next| whole(next.saturating_duration_since(now))),
        bfd: status.bfd.as_ref().map(|bfd| bfd_view(bfd.status(), now)),
    }
}

fn bfd_view(status: BfdStatus, now: Instant) -> BfdView {
    let (remote_state, remote_diagnostic) = status.remote;
    let (discriminator, remote_discriminator) = status.discriminators;
    BfdView {
        state: status.state.to_string(),
        diagnostic: status.diagnostic.to_string(),
        remote_state: remote_state.to_string(),
        remote_diagnostic: remote_diagnostic.to_string(),
        discriminator,
        remote_discriminator,
        since_seconds: whole(now.saturating_duration_since(status.since)),
        transmit_interval_micros: status.transmit_micros,
        detection_time_micros: status.detection_micros,
        up_count: status.ups,
        failure_count: status.failures,
        last_failure: status.failure.map(|failure| failure.cause.to_string()),
        packets_sent: status.packets.sent,
        packets_received: status.packets.received,
        packets_dropped: status.packets.dropped,
        trouble: status.trouble.map(|trouble| trouble.to_string()),
        scheduling: status.scheduling.to_string(),
    }
}

fn notification_view(error: &LastError) -> Option<NotificationView> {
    let (notification, side) = error.notification()?;
    let Notification { code, subcode, .. } = *notification;
    Some(NotificationView { sent: side == Side::Ours, code, subcode })
}

/// What was agreed on beyond plain BGP-4, in words.
fn capabilities(agreed: &Established) -> Vec<String> {
    let codec = &agreed.codec;
    let mut all = Vec::new();
    let mut add = |agreed: bool, text: String| all.extend(agreed.then_some(text));
    add(codec.four_octet_as, "4-octet AS".to_owned());
    add(agreed.route_refresh && !agreed.enhanced_refresh, "route refresh".to_owned());
    add(agreed.enhanced_refresh, "enhanced route refresh".to_owned());
    add(!codec.extended_next_hop.is_empty(), "IPv6 next hops for IPv4".to_owned());
    add(codec.max_send_len > MAX_LEN, "extended messages".to_owned());
    for (families, verb) in [(codec.add_path_receive, "receives"), (codec.add_path_send, "sends")] {
        add(!families.is_empty(), format!("add-path ({verb} {})", listed(families)));
    }
    if let Some(restart) = &agreed.graceful_restart {
        let errors = if restart.notification { ", over errors too" } else { "" };
        let kept = match restart.families.is_empty() {
            true => "it only helps".to_owned(),
            false => format!("{} s for {}", restart.restart_time, listed(restart.families)),
        };
        add(true, format!("graceful restart ({kept}{errors})"));
    }
    let long = agreed.long_lived_families();
    add(!long.is_empty(), format!("long-lived graceful restart ({})", listed(long)));
    if let Some(ours) = agreed.role {
        let theirs = agreed.peer_role.map_or("untold".to_owned(), |role| role.to_string());
        add(true, format!("roles ({ours} here, {theirs} there)"));
    }
    all
}

fn listed(families: FamilySet) -> String {
    families.iter().map(|family| family.to_string()).collect::<Vec<_>>().join(" and ")
}

/// The limits of a peer's prefixes, in words.
fn limits(rib: &RibPeerConfig) -> Vec<String> {
    let of_family = |family| {
        let taken = rib.max_prefixes.get(family).map(|limit| format!("{family}: {limit}"));
        let told = rib.max_advertised.get(family);
        taken.into_iter().chain(told.map(|max| format!("{family}: told {max} at most")))
    };
    Family::ALL.into_iter().flat_map(of_family).collect()
}

fn route_counts(family: Family, counts: PeerCounts, settings: &Peer) -> RouteCounts {
    let PeerCounts { received, accepted, best, stale, advertised } = counts;
    RouteCounts {
        family: family.to_string(),
        received,
        accepted,
        best,
        stale,
        advertised,
        max_prefixes: settings.rib.max_prefixes.get(family).map(|limit| limit.max),
        max_advertised: *settings.rib.max_advertised.get(family),
    }
}

const fn message_counts(counters: Counters) -> MessageCounts {
    let Counters { opens, updates, notifications, keepalives, refreshes } = counters;
    MessageCounts {
        total: opens + updates + notifications + keepalives + refreshes,
        open: opens,
        update: updates,
        notification: notifications,
        keepalive: keepalives,
        route_refresh: refreshes,
    }
}

const fn whole(duration: Duration) -> u64 {
    duration.as_secs()
}

const fn state_name(state: PodState) -> &'static str {
    match state {
        PodState::Attaching => "attaching",
        PodState::Ready => "ready",
        PodState::Removing => "removing",
        PodState::Stuck => "stuck",
    }
}
