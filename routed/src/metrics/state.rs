//! What has a state, read from its owners at a scrape.

mod peers;

use std::{collections::BTreeMap, time::Instant};

use bgp::{
    family::Family,
    rib::{ImportCounts, PeerCounts, RibSizes},
};
use prometheus::{
    GaugeVec, IntCounterVec, IntGaugeVec, Opts, Registry, core::Collector, proto::MetricFamily,
};
use routed_core::{
    fib::{
        self, Fib,
        nexthop_group::{GroupCounters, GroupState},
        status::RouteState,
    },
    ipam::PoolUse,
    pod::{PodState, RuleTable, check::Aspect, drift::DriftCounters},
};

use super::register;
use crate::{
    bmp::{Messages, Phase, StationList},
    mrt::{Recorder, RecordingState},
    node::NodeHandle,
    peering::PeerHandle,
    show::view::ClusterView,
    sources::{NoAnswer, Sources, in_time},
};

/// Every metric that is read, not counted.
pub(super) async fn gather(sources: &Sources) -> Vec<MetricFamily> {
    let fresh = Fresh::default();
    let version = env!("CARGO_PKG_VERSION");
    fresh
        .gauges("slash32_build_info", "Version of the daemon; always 1.", &["version"])
        .with_label_values(&[version])
        .set(1);
    let ok = fresh.gauges(
        "slash32_scrape_ok",
        "1 if this part of the daemon answered the scrape, 0 if its metrics are missing.",
        &["part"],
    );
    let report = |part: &str, outcome: Result<(), NoAnswer>| {
        ok.with_label_values(&[part]).set(i64::from(outcome.is_ok()));
        if let Err(error) = outcome {
            tracing::warn!(part, %error, "a part of the daemon did not answer a metrics scrape");
        }
    };
    let (dynamic, peers): (Vec<_>, Vec<_>) =
        sources.peers.list().iter().cloned().partition(|peer| group_of(peer).is_some());
    peers::sessions(&fresh, &peers);
    peers::bfd(&fresh, &peers);
    peers::groups(&fresh, &dynamic);
    let of_rib = async {
        rib(&fresh, sources).await?;
        routes(&fresh, sources).await
    };
    report("rib", of_rib.await);
    stations(&fresh, &sources.stations);
    recorder(&fresh, &sources.recorder);
    if let Some(look) = &sources.cluster {
        cluster(&fresh, &look());
    }
    if let Some(pods) = &sources.pods {
        report("pods", pods_and_pools(&fresh, pods).await);
    }
    if let Some(kernel) = &sources.kernel {
        report("kernel", kernel.ask(KernelSeen::of).await.map(|seen| seen.tell(&fresh)));
    }
    fresh.registry.gather()
}

fn cluster(fresh: &Fresh, cluster: &ClusterView) {
    let one = |name, help, value: bool| {
        fresh.gauges(name, help, &[]).with_label_values(&[] as &[&str]).set(value.into());
    };
    let watched = cluster.watched_seconds.is_some();
    one("slash32_cluster_watched", "1 if the API server is watched, 0 if not.", watched);
    let help = "1 if what the cluster says is in force, 0 if an earlier configuration is.";
    one("slash32_cluster_config_in_force", help, cluster.refused.is_none());
    let help = "1 if the API server takes what the node reports, 0 if something fails.";
    one("slash32_cluster_reported", help, cluster.unreported.is_empty());
    let help = "1 if this daemon leads the cluster, 0 if not.";
    one("slash32_cluster_leader", help, cluster.leads);
    let help = "Blocks whose nodes are gone, as far as this daemon leads.";
    let orphaned = fresh.gauges("slash32_cluster_orphaned_blocks", help, &[]);
    let blocks = i64::try_from(cluster.orphaned_blocks.len()).unwrap_or(i64::MAX);
    orphaned.with_label_values(&[] as &[&str]).set(blocks);
    let help = "Objects of the cluster that are known, by kind; pods of this node alone.";
    let objects = fresh.gauges("slash32_cluster_objects", help, &["kind"]);
    for (kind, count) in [
        ("Node", cluster.nodes),
        ("Pod", cluster.pods),
        ("IPPool", cluster.pools),
        ("BGPPeer", cluster.peers),
        ("BGPPolicy", cluster.policies),
    ] {
        objects.with_label_values(&[kind]).set(i64::try_from(count).unwrap_or(i64::MAX));
    }
    let help = "Objects that are not heeded.";
    let unheeded = fresh.gauges("slash32_cluster_objects_not_heeded", help, &[]);
    let problems = i64::try_from(cluster.problems.len()).unwrap_or(i64::MAX);
    unheeded.with_label_values(&[] as &[&str]).set(problems);
    let help = "Blocks that this node has claimed, by pool.";
    let blocks = fresh.gauges("slash32_cluster_blocks", help, &["pool"]);
    for claim in &cluster.claims {
        blocks.with_label_values(&[&*claim.pool]).inc();
    }
    let help = "1 for each pool of which every block is claimed and this node needs one.";
    let exhausted = fresh.gauges("slash32_cluster_pool_exhausted", help, &["pool"]);
    for pool in &cluster.exhausted_pools {
        exhausted.with_label_values(&[&**pool]).set(1);
    }
}

/// The group of dynamic peers that a peer is in.
fn group_of(peer: &PeerHandle) -> Option<&str> {
    peer.settings.membership.as_ref().map(|membership| &*membership.group)
}

async fn routes(fresh: &Fresh, sources: &Sources) -> Result<(), NoAnswer> {
    let peers = sources.peers.list();
    let ids: Vec<_> = peers.iter().map(|peer| peer.id).collect();
    let imports = in_time(sources.rib.import_counts(ids.clone()));
    rejected(fresh, &peers, &imports.await?);
    let counts = in_time(sources.rib.peer_counts(ids)).await?;
    let best = in_time(sources.rib.best_counts()).await?;
    let routes = fresh.gauges(
        "slash32_bgp_routes",
        "Routes of a peer, or of all in a group of dynamic peers: received from it, of these \
         accepted, of these in use (best), of those received kept from a session that ended \
         (stale), and advertised to it.",
        &["peer", "family", "kind"],
    );
    let limits = fresh.gauges(
        "slash32_bgp_max_prefixes",
        "How many routes a peer, or each in a group of dynamic peers, may announce (received), and \
         is told at most (advertised), where that is limited.",
        &["peer", "family", "kind"],
    );
    for (peer, counts) in peers.iter().zip(counts) {
        for (family, counts) in Family::ALL.into_iter().zip(counts) {
            if !peer.settings.session.families.contains(family) {
                continue;
            }
            let name = group_of(peer).unwrap_or(&peer.settings.name);
            let rib = &peer.settings.rib;
            let received = rib.max_prefixes.get(family).map(|limit| limit.max);
            let most = [("received", received), ("advertised", *rib.max_advertised.get(family))];
            for (kind, max) in most.into_iter().filter_map(|(kind, max)| Some((kind, max?))) {
                limits.with_label_values(&[name, &*family.to_string(), kind]).set(max.into());
            }
            let PeerCounts { received, accepted, best, stale, advertised } = counts;
            let kinds = [
                ("received", received),
                ("accepted", accepted),
                ("best", best),
                ("stale", stale),
                ("advertised", advertised),
            ];
            for (kind, count) in kinds {
                let labels = [name, &*family.to_string(), kind];
                routes.with_label_values(&labels).add(signed(count));
            }
        }
    }
    let all = fresh.gauges(
        "slash32_bgp_best_routes",
        "Destinations in the Loc-RIB, own ones included.",
        &["family"],
    );
    for (family, count) in Family::ALL.into_iter().zip(best) {
        all.with_label_values(&[&*family.to_string()]).set(signed(count));
    }
    Ok(())
}

/// What peers announced in vain.
fn rejected(fresh: &Fresh, peers: &[PeerHandle], imports: &[ImportCounts]) {
    let rejected = fresh.counters(
        "slash32_bgp_rejected_routes_total",
        "Routes of a peer, or of all in a group of dynamic peers, that were rejected when they came, in \
         the sessions that stand: by import policy or the lack of one (policy), or since they had \
         been here (as_loop, originator_loop, cluster_loop: sets of routes with the same attributes).",
        &["peer", "reason"],
    );
    for (peer, counts) in peers.iter().zip(imports) {
        let ImportCounts {
            rejected: policy,
            cluster_loops,
            as_loops,
            originator_loops,
            // Of no interest here, or counted with other faults.
            duplicate_announcements: _,
            duplicate_withdrawals: _,
            treated_as_withdraw: _,
        } = *counts;
        let name = group_of(peer).unwrap_or(&peer.settings.name);
        let reasons = [
            ("policy", policy),
            ("as_loop", as_loops),
            ("originator_loop", originator_loops),
            ("cluster_loop", cluster_loops),
        ];
        for (reason, count) in reasons {
            rejected.with_label_values(&[name, reason]).inc_by(count);
        }
    }
}

/// The RIB itself: its size, and how far it is behind.
async fn rib(fresh: &Fresh, sources: &Sources) -> Result<(), NoAnswer> {
    let queued = sources.rib.queued();
    let asked = Instant::now();
    let RibSizes { destinations, paths_received, attribute_sets } =
        in_time(sources.rib.sizes()).await?;
    let lag = asked.elapsed();
    let drained = in_time(sources.rib.is_drained()).await?;
    fresh
        .gauges(
            "slash32_bgp_drained",
            "1 if everything that peers are told carries \
            GRACEFUL_SHUTDOWN (routed drain, or bgp.drain).",
            &[],
        )
        .with_label_values::<&str>(&[])
        .set(i64::from(drained));
    let size = fresh.gauges(
        "slash32_rib_size",
        "What the RIB holds: prefixes known, paths received, different sets of attributes.",
        &["what"],
    );
    let counts = [
        ("destinations", destinations),
        ("paths_received", paths_received),
        ("attribute_sets", attribute_sets),
    ];
    for (what, count) in counts {
        size.with_label_values(&[what]).set(signed(count));
    }
    fresh
        .gauges("slash32_rib_queue_length", "Commands that wait for the RIB's thread.", &[])
        .with_label_values::<&str>(&[])
        .set(signed(queued));
    fresh
        .float_gauges(
            "slash32_rib_lag_seconds",
            "Time that a question of this scrape waited for the RIB's answer: its queue's lag.",
            &[],
        )
        .with_label_values::<&str>(&[])
        .set(lag.as_secs_f64());
    Ok(())
}

/// Monitoring stations.
fn stations(fresh: &Fresh, stations: &StationList) {
    let up = fresh.gauges("slash32_bmp_up", "1 if the station is connected.", &["station"]);
    let connections = fresh.counters(
        "slash32_bmp_connections_total",
        "How often the station has been connected to: its rise counts losses.",
        &["station"],
    );
    let messages =
        fresh.counters("slash32_bmp_messages_total", "BMP messages.", &["station", "type"]);
    let octets = fresh.counters("slash32_bmp_octets_total", "Octets of these.", &["station"]);
    let queued = fresh.gauges(
        "slash32_bmp_queued_octets",
        "Octets that wait for the station to take them.",
        &["station"],
    );
    for station in stations.now().iter() {
        let (status, name) = (station.status(), [&*station.settings.name]);
        up.with_label_values(&name).set(i64::from(status.phase == Phase::Connected));
        connections.with_label_values(&name).inc_by(status.connections);
        octets.with_label_values(&name).inc_by(status.octets);
        queued.with_label_values(&name).set(signed(status.queued));
        let Messages { peer_up, peer_down, route_monitoring, statistics, other } = status.sent;
        let counts = [
            ("peer_up", peer_up),
            ("peer_down", peer_down),
            ("route_monitoring", route_monitoring),
            ("statistics", statistics),
            ("other", other),
        ];
        for (kind, count) in counts {
            messages.with_label_values(&[name[0], kind]).inc_by(count);
        }
    }
}

/// The recorder; nothing where nothing is recorded.
fn recorder(fresh: &Fresh, recorder: &Recorder) {
    if recorder.settings().is_none() {
        return;
    }
    let status = recorder.status();
    let none: [&str; 0] = [];
    fresh
        .gauges("slash32_mrt_up", "1 if what peers say can be recorded.", &none)
        .with_label_values(&none)
        .set(i64::from(status.state == RecordingState::Recording));
    fresh
        .gauges("slash32_mrt_queued_octets", "Octets of records that wait for the disk.", &none)
        .with_label_values(&none)
        .set(signed(status.queued));
    let counts = [
        ("slash32_mrt_records_total", "Records of what peers say, written.", status.records),
        ("slash32_mrt_octets_total", "Octets of these.", status.octets),
        (
            "slash32_mrt_dropped_total",
            "Records dropped: the disk was too slow, or could not be written.",
            status.dropped,
        ),
        ("slash32_mrt_rotations_total", "Files of records put aside.", status.rotations),
    ];
    for (name, help, count) in counts {
        fresh.counters(name, help, &none).with_label_values(&none).inc_by(count);
    }
}

async fn pods_and_pools(fresh: &Fresh, node: &NodeHandle) -> Result<(), NoAnswer> {
    let (pods, pools) = (in_time(node.pods()).await?, in_time(node.pools()).await?);
    let gauge = fresh.gauges("slash32_pods", "Pod interfaces of this node.", &["state"]);
    let states = [
        (PodState::Attaching, "attaching"),
        (PodState::Ready, "ready"),
        (PodState::Removing, "removing"),
        (PodState::Stuck, "stuck"),
    ];
    for (state, name) in states {
        let count = pods.iter().filter(|pod| pod.state == state).count();
        gauge.with_label_values(&[name]).set(signed(count));
    }
    let DriftCounters { repaired, tables, failed, left } = in_time(node.drift()).await?;
    let counter = fresh.counters(
        "slash32_pods_repaired_total",
        "Things of pods on the host that other programs had changed, put right.",
        &["what"],
    );
    for what in Aspect::ALL.into_iter().filter(|what| what.is_watched()) {
        let count = repaired.get(&what).copied().unwrap_or(0);
        counter.with_label_values(&[&what.to_string().replace(' ', "-")]).inc_by(count);
    }
    for (table, what) in [(RuleTable::Guard, "rules"), (RuleTable::Nat, "nat")] {
        let count = tables.get(&table).copied().unwrap_or(0);
        counter.with_label_values(&[what]).inc_by(count);
    }
    let none: [&str; 0] = [];
    fresh
        .counters(
            "slash32_pods_repair_failures_total",
            "Attempts to put right what other programs had changed of pods that the kernel refused.",
            &none,
        )
        .with_label_values(&none)
        .inc_by(failed);
    fresh
        .gauges(
            "slash32_pods_differing",
            "Pods of which something on the host is not as it was made and cannot be put right.",
            &none,
        )
        .with_label_values(&none)
        .set(signed(left));
    let addresses = fresh.float_gauges(
        "slash32_ipam_addresses",
        "Addresses of a pod range: its capacity, and of these leased, cooling down and free.",
        &["pool", "state"],
    );
    for PoolUse { name: _, prefix, size, leased, cooling, family: _ } in pools {
        let pool = prefix.to_string();
        let free = size.saturating_sub(leased + cooling);
        let states = [("capacity", size), ("leased", leased), ("cooling", cooling), ("free", free)];
        for (state, count) in states {
            // Beyond 2^53 a float is not exact, and nobody counts that many pods.
            addresses.with_label_values(&[&*pool, state]).set(count as f64);
        }
    }
    Ok(())
}

/// What is counted of the kernel's routes.
struct KernelSeen {
    routes: Vec<(Family, RouteState, usize)>,
    counters: fib::status::Counters,
    objects: BTreeMap<(bool, GroupState), usize>,
    group_counters: fib::nexthop_group::GroupCounters,
}

impl KernelSeen {
    fn of(fib: &Fib) -> Self {
        let of_family = |family| {
            RouteState::ALL.into_iter().map(move |state| (family, state, fib.count(family, state)))
        };
        let routes = Family::ALL.into_iter().flat_map(of_family).collect();
        let mut objects = BTreeMap::new();
        for kind in [true, false] {
            objects.extend(GroupState::ALL.map(|state| ((kind, state), 0)));
        }
        for (object, _) in fib.next_hop_objects() {
            *objects.entry((object.is_group, object.state)).or_insert(0) += 1;
        }
        let group_counters = fib.group_counters();
        Self { routes, counters: fib.counters(), objects, group_counters }
    }

    fn tell_of_groups(&self, fresh: &Fresh) {
        let objects = fresh.gauges(
            "slash32_kernel_next_hops",
            "Our next-hop objects in the kernel by how they stand: groups that routes point at, and \
             hops that groups have.",
            &["kind", "state"],
        );
        for ((is_group, state), count) in &self.objects {
            let kind = if *is_group { "group" } else { "hop" };
            objects.with_label_values(&[kind, &*state.to_string()]).set(signed(*count));
        }
        let operations = fresh.counters(
            "slash32_kernel_next_hop_operations_total",
            "Next-hop objects written, deleted, refused by the kernel (failed), and found changed by \
             somebody else and put right (repaired).",
            &["operation"],
        );
        let GroupCounters { written, deleted, failed, repaired } = self.group_counters;
        let counts = [
            ("written", written),
            ("deleted", deleted),
            ("failed", failed),
            ("repaired", repaired),
        ];
        for (operation, count) in counts {
            operations.with_label_values(&[operation]).inc_by(count);
        }
    }

    fn tell(self, fresh: &Fresh) {
        self.tell_of_groups(fresh);
        let routes = fresh.gauges(
            "slash32_kernel_routes",
            "Our routes in the kernel's table by how they stand.",
            &["family", "state"],
        );
        for (family, state, count) in self.routes {
            let labels = [&*family.to_string(), &*state.to_string()];
            routes.with_label_values(&labels).set(signed(count));
        }
        let operations = fresh.counters(
            "slash32_kernel_route_operations_total",
            "Routes written, deleted, refused by the kernel (failed), and found changed by \
             somebody else and put right (repaired).",
            &["operation"],
        );
        let fib::status::Counters { written, deleted, failed, repaired, resyncs } = self.counters;
        let counts = [
            ("written", written),
            ("deleted", deleted),
            ("failed", failed),
            ("repaired", repaired),
        ];
        for (operation, count) in counts {
            operations.with_label_values(&[operation]).inc_by(count);
        }
        fresh
            .counters(
                "slash32_kernel_resyncs_total",
                "Full pictures of the kernel's routes taken because changes could not be followed.",
                &[],
            )
            .with_label_values::<&str>(&[])
            .inc_by(resyncs);
    }
}

/// A registry for one scrape.
#[derive(Default)]
struct Fresh {
    registry: Registry,
}

impl Fresh {
    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.add(IntGaugeVec::new(Opts::new(name, help), labels))
    }

    fn float_gauges(&self, name: &str, help: &str, labels: &[&str]) -> GaugeVec {
        self.add(GaugeVec::new(Opts::new(name, help), labels))
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.add(IntCounterVec::new(Opts::new(name, help), labels))
    }

    fn add<C: Collector + Clone + 'static>(&self, metric: prometheus::Result<C>) -> C {
        let metric = metric.expect("names and labels are constants of this file");
        register(&self.registry, metric.clone());
        metric
    }
}

fn signed(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
