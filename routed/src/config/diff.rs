//! The difference of two configurations, and what each change does to what is running.
//!
//! In: two whole configurations. Out: every setting that differs, with its place, its old and new
//! value and its [`Effect`]. What is printed before a reload and what the reload then does come
//! from here alone, so that they cannot differ.
//!
//! Applies nothing. Both sides are taken apart field by field without `..`: a new setting does
//! not compile before it has an effect here.

mod field;
mod peer;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use bgp::{policy::Policy, prefix::Prefix, rib::Aggregate};
use routed_core::ipam::{IpamSettings, PoolSettings};
use serde::{Deserialize, Serialize};

use super::{
    Config, DynamicPeers, Kernel, Kubernetes, Mode, Nat, Node, Peer, Pods, Recording, Sockets,
    Speaker, Station,
};
use field::{Field, differences, listed};

/// What a change does to what is running, gravest last.
///
/// There is none for asking a peer for its routes again: what peers announced is kept as it came,
/// so that whatever changes on our side is worked out from that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Sessions and routes stay as they are; it holds from now on.
    None,
    /// Routes are evaluated anew. Sessions stay.
    Soft,
    /// The peer's session, or the connection to the station, is closed and opened again, or closed
    /// for good.
    Reset,
    /// It cannot be changed while the daemon runs, and is not: it holds from the next start on.
    Restart,
}

/// The word that stands in tables.
impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::None => "none",
            Self::Soft => "soft",
            Self::Reset => "reset",
            Self::Restart => "restart",
        })
    }
}

/// One setting that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Where it stands in the file, peers and policies by name: `peers[tor-a].hold_time`.
    pub place: String,
    /// What it was; `None` if it was not there.
    pub old: Option<String>,
    /// What it is to be; `None` if it is no longer there.
    pub new: Option<String>,
    /// What that does.
    pub effect: Effect,
}

/// `peers[tor-a].hold_time: 90 -> 9 (reset)`
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, old, new, effect } = self;
        match (old, new) {
            (Some(old), Some(new)) => write!(f, "{place}: {old} -> {new} ({effect})"),
            (None, Some(new)) => write!(f, "{place}: added, {new} ({effect})"),
            (Some(_), None) => write!(f, "{place}: removed ({effect})"),
            (None, None) => write!(f, "{place} ({effect})"),
        }
    }
}

/// Everything that differs, in the order of the sections.
#[must_use]
pub fn between(old: &Config, new: &Config) -> Vec<Change> {
    let Config {
        node,
        speaker,
        peers: _,
        dynamic_peers: _,
        pods,
        kernel,
        sockets,
        stations: _,
        recording,
        kubernetes,
        policies,
    } = old;
    let mut changes = differences("node", &of_node(node), &of_node(&new.node));
    changes.extend(differences("bgp", &of_speaker(speaker), &of_speaker(&new.speaker)));
    changes.extend(of_policies(policies, &new.policies));
    changes.extend(of_peers(old, new));
    changes.extend(of_dynamic_peers(old, new));
    changes.extend(of_pods(pods.as_ref(), new.pods.as_ref()));
    changes.extend(differences("kernel", &of_kernel(kernel), &of_kernel(&new.kernel)));
    changes.extend(differences("sockets", &of_sockets(sockets), &of_sockets(&new.sockets)));
    changes.extend(of_stations(old, new));
    changes.extend(of_recording(recording.as_ref(), new.recording.as_ref()));
    let (old, new) = (of_kubernetes(kubernetes.as_ref()), of_kubernetes(new.kubernetes.as_ref()));
    changes.extend(differences("kubernetes", &old, &new));
    changes
}

/// What of `new` can be in force while the daemon that runs with `old` goes on: all but what has
/// the effect [`Effect::Restart`].
#[must_use]
pub fn without_restart(old: &Config, new: Config) -> Config {
    Config {
        node: Node { mode: old.node.mode, ..new.node },
        pods: match (&old.pods, new.pods) {
            (Some(_), Some(pods)) => Some(pods),
            (old, _) => old.clone(),
        },
        kernel: old.kernel.clone(),
        sockets: old.sockets.clone(),
        speaker: new.speaker,
        peers: new.peers,
        dynamic_peers: new.dynamic_peers,
        stations: new.stations,
        recording: new.recording,
        kubernetes: old.kubernetes.clone(),
        policies: new.policies,
    }
}

/// The gravest effect of changing one peer's settings; `None` if they are the same.
#[must_use]
pub fn of_peer(old: &Peer, new: &Peer) -> Option<Effect> {
    peer::changes(old, new).iter().map(|change| change.effect).max()
}

fn of_kubernetes(kubernetes: Option<&Kubernetes>) -> Vec<Field<'_>> {
    let kubeconfig = kubernetes.and_then(|it| it.kubeconfig.as_ref()).map(|path| path.display());
    let namespace = kubernetes.and_then(|it| it.namespace.as_ref());
    let state = kubernetes.map(|it| it.state.display());
    let orphan_after = kubernetes.map(|it| it.orphan_after.as_secs());
    vec![
        Field::optional("kubeconfig", Effect::Restart, kubeconfig),
        Field::optional("namespace", Effect::Restart, namespace),
        Field::optional("state", Effect::Restart, state),
        Field::optional("orphan_after", Effect::Restart, orphan_after),
    ]
}

fn of_node(node: &Node) -> Vec<Field<'_>> {
    let Node { name, mode } = node;
    let mode = match mode {
        Mode::Node => "node",
        Mode::Speaker => "speaker",
    };
    vec![Field::new("name", Effect::None, name), Field::new("mode", Effect::Restart, mode)]
}

fn of_speaker(speaker: &Speaker) -> Vec<Field<'_>> {
    let Speaker {
        asn,
        router_id,
        cluster_id,
        listen,
        multipath,
        drain,
        aggregates,
        selection_deferral_time,
    } = speaker;
    vec![
        Field::new("asn", Effect::Reset, asn),
        Field::new("router_id", Effect::Reset, router_id),
        Field::new("cluster_id", Effect::Soft, cluster_id),
        Field::new("listen", Effect::None, &listed(listen)),
        Field::new("multipath", Effect::Soft, multipath),
        Field::new("drain", Effect::Soft, drain),
        Field::new("aggregates", Effect::Soft, &listed(aggregates.iter().map(aggregate))),
        // Of a restart still to come.
        Field::new("selection_deferral_time", Effect::None, &selection_deferral_time.as_secs()),
    ]
}

fn aggregate(aggregate: &Aggregate) -> String {
    let Aggregate { prefix, summary_only } = aggregate;
    format!("{prefix}{}", if *summary_only { " (summary only)" } else { "" })
}

/// A policy does nothing by itself; the peers that use it have it among their own changes.
fn of_policies(old: &[Arc<Policy>], new: &[Arc<Policy>]) -> Vec<Change> {
    let by_name = |policies: &[Arc<Policy>]| -> BTreeMap<_, _> {
        policies.iter().map(|policy| (policy.name.clone(), policy.clone())).collect()
    };
    let (old, new) = (by_name(old), by_name(new));
    let names: BTreeSet<_> = old.keys().chain(new.keys()).collect();
    let change = |name: &Arc<str>| {
        let (old, new) = (old.get(name), new.get(name));
        let text = |policy: &Arc<Policy>| match policy.statements.len() {
            1 => "1 statement".to_owned(),
            count => format!("{count} statements"),
        };
        (old != new).then(|| Change {
            place: format!("policies[{name}]"),
            old: old.map(text),
            new: new.map(text),
            effect: Effect::None,
        })
    };
    names.into_iter().filter_map(change).collect()
}

/// Peers are the same if their address is.
fn of_peers(old: &Config, new: &Config) -> Vec<Change> {
    let find = |config: &Config, wanted: &Peer| {
        config.peers.iter().find(|peer| peer.address == wanted.address).cloned()
    };
    let entry = |peer: &Peer, old, new, effect| {
        vec![Change { place: format!("peers[{}]", peer.name), old, new, effect }]
    };
    let gone = old.peers.iter().filter(|peer| find(new, peer).is_none());
    let gone = gone.flat_map(|peer| entry(peer, Some(peer::summary(peer)), None, Effect::Reset));
    let others = new.peers.iter().flat_map(|peer| match find(old, peer) {
        Some(before) => own_changes((old, &before), (new, peer)),
        None => entry(peer, None, Some(peer::summary(peer)), Effect::None),
    });
    gone.chain(others).collect()
}

/// Groups are the same if their prefix is. A change concerns every member.
fn of_dynamic_peers(old: &Config, new: &Config) -> Vec<Change> {
    let find = |config: &Config, wanted: &DynamicPeers| {
        config.dynamic_peers.iter().find(|group| group.prefix == wanted.prefix).cloned()
    };
    let summary = |group: &DynamicPeers| {
        let DynamicPeers { prefix, limit, .. } = group;
        format!("{prefix} AS {}, at most {limit}", group.template().session.peer_asn)
    };
    let entry = |group: &DynamicPeers, old, new, effect| {
        vec![Change { place: format!("dynamic_peers[{}]", group.name), old, new, effect }]
    };
    let gone = old.dynamic_peers.iter().filter(|group| find(new, group).is_none());
    let gone = gone.flat_map(|group| entry(group, Some(summary(group)), None, Effect::Reset));
    let others = new.dynamic_peers.iter().flat_map(|group| match find(old, group) {
        Some(before) => changes_of_group((old, &before), (new, group)),
        None => entry(group, None, Some(summary(group)), Effect::None),
    });
    gone.chain(others).collect()
}

fn changes_of_group(old: (&Config, &DynamicPeers), new: (&Config, &DynamicPeers)) -> Vec<Change> {
    let table = format!("dynamic_peers[{}]", new.1.name);
    // Members that are too many stay.
    let limits =
        [old.1.limit, new.1.limit].map(|limit| [Field::new("limit", Effect::None, &limit)]);
    let lingers = [old.1.linger, new.1.linger]
        .map(|linger| [Field::new("linger", Effect::None, &linger.as_secs())]);
    let mut changes = differences(&table, &limits[0], &limits[1]);
    changes.extend(differences(&table, &lingers[0], &lingers[1]));
    let (before, after) = (old.1.template(), new.1.template());
    let members = peer::changes_in(&table, before, after);
    changes.extend(not_taken_over(members, (old.0, before), (new.0, after)));
    changes
}

/// A peer's changes without those that it only takes over from `[bgp]`.
fn own_changes(old: (&Config, &Peer), new: (&Config, &Peer)) -> Vec<Change> {
    not_taken_over(peer::changes(old.1, new.1), old, new)
}

fn not_taken_over(
    mut changes: Vec<Change>,
    old: (&Config, &Peer),
    new: (&Config, &Peer),
) -> Vec<Change> {
    let follows = |(config, peer): (&Config, &Peer)| peer.session.local_asn == config.speaker.asn;
    changes.retain(|change| match change.place.rsplit_once('.') {
        Some((_, peer::ROUTER_ID)) => false,
        Some((_, peer::LOCAL_ASN)) => !(follows(old) && follows(new)),
        Some(_) | None => true,
    });
    changes
}

fn of_pods(old: Option<&Pods>, new: Option<&Pods>) -> Vec<Change> {
    let summary = |pods: &Pods| listed(&pods.prefixes);
    match (old, new) {
        (Some(old), Some(new)) => {
            let mut changes = differences("pods", &pod_fields(old), &pod_fields(new));
            changes.extend(of_ranges(&old.prefixes, &new.prefixes));
            changes
        }
        (None, None) => Vec::new(),
        (old, new) => vec![Change {
            place: "pods".to_owned(),
            old: old.map(summary),
            new: new.map(summary),
            effect: Effect::Restart,
        }],
    }
}

fn pod_fields(pods: &Pods) -> Vec<Field<'_>> {
    let Pods { prefixes, ipam, mtu, guard, open_to_pods, nat } = pods;
    let Nat { pools: nat_pools, sources, cluster_ranges, exclude, addresses } = nat;
    let IpamSettings { pools, reserved, floating, lost, cooldown } = ipam;
    let cooldown = format!("{} s", cooldown.as_secs());
    let further = sources.iter().filter(|source| !prefixes.contains(source));
    let silent = pools.iter().filter(|pool| !pool.announce);
    // Of pods that are made from now on.
    vec![
        Field::optional("mtu", Effect::None, mtu.as_ref()),
        Field::new("guard", Effect::None, guard),
        Field::new("open_to_pods", Effect::None, &listed(open_to_pods)),
        Field::new("cooldown", Effect::None, &cooldown),
        Field::new("reserved", Effect::None, &listed(reserved)),
        Field::new("floating", Effect::Soft, &listed(floating)),
        Field::new("lost", Effect::Soft, &listed(lost)),
        Field::new("pools", Effect::None, &listed(pools.iter().map(pool))),
        Field::new("pools, announce = false", Effect::Soft, &listed(silent.map(|pool| &pool.name))),
        // Of connections that are made from now on.
        Field::new("nat_outgoing", Effect::None, &listed(nat_pools)),
        Field::new("nat_sources", Effect::None, &listed(further)),
        Field::new("cluster_ranges", Effect::None, &listed(cluster_ranges)),
        Field::new("nat_exclude", Effect::None, &listed(exclude)),
        Field::new("nat_addresses", Effect::None, &listed(addresses)),
    ]
}

/// A pool without its ranges, which are compared one by one, and without what peers are told of.
fn pool(pool: &PoolSettings) -> String {
    let PoolSettings { name, ranges: _, block_ipv4, block_ipv6, announce: _ } = pool;
    format!("{name} (blocks /{block_ipv4} and /{block_ipv6})")
}

/// Ranges one by one. Their order says which is filled first.
fn of_ranges(old: &[Prefix], new: &[Prefix]) -> Vec<Change> {
    let change = |range: &Prefix, old, new| Change {
        place: format!("pods[{range}]"),
        old,
        new,
        effect: Effect::Soft,
    };
    let text = || Some("range".to_owned());
    let gone = old.iter().filter(|range| !new.contains(range));
    let added = new.iter().filter(|range| !old.contains(range));
    let mut changes: Vec<_> = gone.map(|range| change(range, text(), None)).collect();
    changes.extend(added.map(|range| change(range, None, text())));
    let kept = |one: &[Prefix], other: &[Prefix]| -> Vec<Prefix> {
        one.iter().copied().filter(|range| other.contains(range)).collect()
    };
    let (before, after) = (kept(old, new), kept(new, old));
    if before != after {
        changes.push(Change {
            place: "pods, order of ranges".to_owned(),
            old: Some(listed(before)),
            new: Some(listed(after)),
            effect: Effect::None,
        });
    }
    changes
}

fn of_kernel(kernel: &Kernel) -> Vec<Field<'_>> {
    let Kernel { learned_routes, table, protocol, metric, next_hop_groups } = kernel;
    vec![
        Field::new("learned_routes", Effect::Restart, learned_routes),
        Field::new("table", Effect::Restart, table),
        Field::new("protocol", Effect::Restart, protocol),
        Field::optional("metric", Effect::Restart, *metric),
        Field::new("next_hop_groups", Effect::Restart, next_hop_groups),
    ]
}

fn of_sockets(sockets: &Sockets) -> Vec<Field<'_>> {
    let Sockets { cni, admin, http } = sockets;
    vec![
        Field::new("cni", Effect::Restart, &cni.display()),
        Field::new("admin", Effect::Restart, &admin.display()),
        Field::optional("http", Effect::Restart, *http),
    ]
}

/// Stations are the same if their address and port are.
fn of_stations(old: &Config, new: &Config) -> Vec<Change> {
    let find = |config: &Config, wanted: &Station| {
        config.stations.iter().find(|station| station.address == wanted.address).cloned()
    };
    let summary =
        |station: &Station| format!("{} {}", station.address, listed(station.views.iter()));
    let entry = |station: &Station, old, new, effect| {
        vec![Change { place: format!("bmp[{}]", station.name), old, new, effect }]
    };
    let gone = old.stations.iter().filter(|station| find(new, station).is_none());
    let gone = gone.flat_map(|station| entry(station, Some(summary(station)), None, Effect::Reset));
    let others = new.stations.iter().flat_map(|station| match find(old, station) {
        Some(before) => differences(
            &format!("bmp[{}]", station.name),
            &of_station(&before),
            &of_station(station),
        ),
        None => entry(station, None, Some(summary(station)), Effect::None),
    });
    gone.chain(others).collect()
}

/// What the station was told at the beginning of its connection needs a new one.
fn of_station(station: &Station) -> Vec<Field<'_>> {
    let Station {
        name,
        address: _,
        local_address,
        views,
        statistics_interval,
        connect_retry,
        send_hold_time,
    } = station;
    let statistics = statistics_interval.map_or(0, |interval| interval.as_secs());
    vec![
        Field::new("name", Effect::None, name),
        Field::optional("local_address", Effect::Reset, *local_address),
        Field::new("views", Effect::Reset, &listed(views.iter())),
        Field::new("statistics_interval", Effect::None, &statistics),
        Field::new("connect_retry", Effect::None, &connect_retry.as_secs()),
        Field::new("send_hold_time", Effect::None, &send_hold_time.as_secs()),
    ]
}

/// Nothing of it touches a session.
fn of_recording(old: Option<&Recording>, new: Option<&Recording>) -> Vec<Change> {
    let file = |recording: &Recording| recording.file.display().to_string();
    match (old, new) {
        (Some(old), Some(new)) => {
            differences("mrt", &recording_fields(old), &recording_fields(new))
        }
        (None, None) => Vec::new(),
        (old, new) => vec![Change {
            place: "mrt".to_owned(),
            old: old.map(file),
            new: new.map(file),
            effect: Effect::None,
        }],
    }
}

fn recording_fields(recording: &Recording) -> Vec<Field<'_>> {
    let Recording { file, peers, received, sent, states, rotate_interval, rotate_size, keep } =
        recording;
    let kinds = [(*received, "received"), (*sent, "sent"), (*states, "states")];
    let record = listed(kinds.into_iter().filter(|(on, _)| *on).map(|(_, kind)| kind));
    let peers = peers.as_ref().map_or_else(|| "all".to_owned(), listed);
    let interval = rotate_interval.map_or(0, |interval| interval.as_secs());
    vec![
        Field::new("file", Effect::None, &file.display()),
        Field::new("peers", Effect::None, &peers),
        Field::new("record", Effect::None, &record),
        Field::new("rotate_interval", Effect::None, &interval),
        Field::new("rotate_size", Effect::None, &rotate_size.map_or(0, |octets| octets >> 20)),
        Field::new("keep", Effect::None, &keep.unwrap_or(0)),
    ]
}

#[cfg(test)]
mod tests;
