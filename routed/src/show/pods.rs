//! The tables of pods and of pod ranges.

use super::{
    or_dash,
    table::{Align, Table},
    view::{BlockView, LeaseView, PodView, PoolView, Switch},
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
        .column("RANGE", Align::Left)
        .column("FAMILY", Align::Left)
        .column("CAPACITY", Align::Right)
        .column("LEASED", Align::Right)
        .column("COOLING", Align::Right)
        .column("FREE", Align::Right)
        .optional("NAT", Align::Left)
        .optional("STATE", Align::Left);
    for pool in pools {
        table.row([
            pool.name.clone(),
            pool.prefix.to_string(),
            pool.family.clone(),
            pool.capacity.to_string(),
            pool.leased.to_string(),
            pool.cooling.to_string(),
            pool.free.to_string(),
            match pool.nat_outgoing {
                Switch::Off => String::new(),
                Switch::On => "outgoing".to_owned(),
                Switch::Failed => "failed".to_owned(),
            },
            if pool.former { "former".to_owned() } else { String::new() },
        ]);
    }
    table.to_string()
}

/// One line an open block.
pub(super) fn blocks(blocks: &[BlockView]) -> String {
    if blocks.is_empty() {
        return "no address of this node is or was in use\n".to_owned();
    }
    let mut table = Table::new()
        .column("BLOCK", Align::Left)
        .column("POOL", Align::Left)
        .column("SIZE", Align::Right)
        .column("LEASED", Align::Right)
        .column("COOLING", Align::Right);
    for block in blocks {
        table.row([
            block.prefix.to_string(),
            block.pool.clone(),
            block.size.to_string(),
            block.leased.to_string(),
            block.cooling.to_string(),
        ]);
    }
    table.to_string()
}

/// One line an address.
pub(super) fn leases(leases: &[LeaseView]) -> String {
    if leases.is_empty() {
        return "no address of this node is or was in use\n".to_owned();
    }
    let mut table = Table::new()
        .column("ADDRESS", Align::Left)
        .column("STATE", Align::Left)
        .column("INTERFACE", Align::Left)
        .column("NETWORK", Align::Left)
        .column("CONTAINER", Align::Left);
    for lease in leases {
        let state = lease.idle_seconds.map(|seconds| format!("idle for {seconds} s"));
        let container =
            lease.container_id.as_ref().map(|id| id.chars().take(13).collect::<String>());
        table.row([
            lease.address.to_string(),
            state.unwrap_or_else(|| "leased".to_owned()),
            or_dash(lease.ifname.clone()),
            or_dash(lease.network.clone()),
            or_dash(container),
        ]);
    }
    table.to_string()
}
