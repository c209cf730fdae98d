//! The tables of pods and of pod ranges.

use super::{
    or_dash,
    table::{Align, Table},
    view::{PodView, PoolView},
};

/// One line a pod interface.
pub(super) fn pods(pods: &[PodView]) -> String {
    if pods.is_empty() {
        return "no pods on this node\n".to_owned();
    }
    let mut table = Table::new()
        .column("POD", Align::Left)
        .column("IPV4", Align::Left)
        .column("IPV6", Align::Left)
        .column("INTERFACE", Align::Left)
        .column("HOST INTERFACE", Align::Left)
        .column("MTU", Align::Right)
        .column("STATE", Align::Left)
        .column("NETWORK", Align::Left)
        .column("CONTAINER", Align::Left);
    for pod in pods {
        let name = match (&pod.namespace, &pod.pod) {
            (Some(namespace), Some(name)) => format!("{namespace}/{name}"),
            (None, Some(name)) => name.clone(),
            (Some(_) | None, None) => "-".to_owned(),
        };
        table.row([
            name,
            or_dash(pod.ipv4),
            or_dash(pod.ipv6),
            pod.ifname.clone(),
            pod.host_ifname.clone(),
            pod.mtu.to_string(),
            pod.state.clone(),
            pod.network.clone(),
            // As runtimes' own tables show it; the whole id is in the JSON.
            pod.container_id.chars().take(13).collect(),
        ]);
    }
    table.to_string()
}

/// One line a pod range.
pub(super) fn pools(pools: &[PoolView]) -> String {
    if pools.is_empty() {
        return "no pod ranges on this node\n".to_owned();
    }
    let mut table = Table::new()
        .column("POOL", Align::Left)
        .column("FAMILY", Align::Left)
        .column("CAPACITY", Align::Right)
        .column("LEASED", Align::Right)
        .column("FREE", Align::Right);
    for pool in pools {
        table.row([
            pool.prefix.to_string(),
            pool.family.clone(),
            pool.capacity.to_string(),
            pool.leased.to_string(),
            pool.free.to_string(),
        ]);
    }
    table.to_string()
}
