//! The answer to `routed why`: the RIB's account of a prefix joined with the kernel's.

use bgp::{
    policy::Explanation,
    prefix::Prefix,
    rib::{PeerId, WhyPath, WhyTold},
};
use ipnetwork::IpNetwork;
use nix::net::if_::if_indextoname;
use routed_core::fib::{
    Fib,
    route::{Hop, Target},
    status::RouteStatus,
};

use super::{
    Refusal,
    answer::{find_peer, of_part},
    routes::{attrs_view, path_view},
};
use crate::{
    show::view::{HopView, KernelRouteView, PolicyView, StepView, ToldView, WhyPathView, WhyView},
    sources::{Sources, in_time},
};

/// Why traffic to the prefix goes where it goes; no row if no prefix known covers it.
pub(super) async fn why(
    sources: &Sources,
    wanted: IpNetwork,
    to: Option<&str>,
) -> Result<Vec<WhyView>, Refusal> {
    let to = to.map(|name| find_peer(sources, name)).transpose()?.map(|peer| peer.id);
    let why = in_time(sources.rib.why(wanted.into(), to)).await.map_err(of_part("RIB"))?;
    let Some(why) = why else { return Ok(Vec::new()) };
    let told = why.told.iter().map(|told| told_view(told, sources));
    Ok(vec![WhyView {
        wanted,
        prefix: why.prefix.into(),
        paths: why.paths.iter().map(|path| why_path(path, sources)).collect(),
        kernel: in_kernel(sources, why.prefix).await?,
        told: told.collect(),
    }])
}

fn why_path(path: &WhyPath, sources: &Sources) -> WhyPathView {
    WhyPathView {
        path: path_view(&path.view, sources),
        received: attrs_view(&path.received, path.view.peer.is_some()),
        import: path.import.as_ref().map(policy_view),
    }
}

fn told_view(told: &WhyTold, sources: &Sources) -> ToldView {
    ToldView {
        peer: name(told.peer, sources),
        advertised: told.outcome.is_ok(),
        reason: told.outcome.as_ref().err().map(ToString::to_string),
        attributes: told.outcome.as_ref().ok().map(|attrs| attrs_view(attrs, true)),
        export: told.export.as_ref().map(policy_view),
    }
}

pub(crate) fn policy_view(explanation: &Explanation) -> PolicyView {
    let step = |step: &bgp::policy::Step| StepView {
        depth: step.depth,
        policy: step.policy.to_string(),
        statement: step.statement.as_deref().map(str::to_owned),
        result: step.result.to_string(),
    };
    PolicyView {
        accepted: matches!(explanation.outcome, bgp::policy::Outcome::Accepted(_)),
        policy: explanation.policy.to_string(),
        statement: explanation.statement.as_deref().map(str::to_owned),
        steps: explanation.steps.iter().map(step).collect(),
    }
}

/// The kernel's routes of ours to this very prefix.
async fn in_kernel(sources: &Sources, prefix: Prefix) -> Result<Vec<KernelRouteView>, Refusal> {
    let Some(kernel) = &sources.kernel else { return Ok(Vec::new()) };
    let look = move |fib: &Fib| {
        let routes = fib.routes().filter(|route| route.key.prefix == prefix);
        routes.map(|route| kernel_view(fib, &route)).collect()
    };
    kernel.ask(look).await.map_err(of_part("kernel's routes"))
}

fn kernel_view(fib: &Fib, route: &RouteStatus<'_>) -> KernelRouteView {
    let target = route.have.or(route.want);
    KernelRouteView {
        state: route.state.to_string(),
        table: route.key.table,
        metric: route.key.metric,
        error: route.error.map(ToString::to_string),
        group: target.and_then(Target::group).map(|id| id.0),
        hops: target.map(|target| hops(fib, target)).unwrap_or_default(),
        blackhole: matches!(target, Some(Target::Blackhole)),
    }
}

fn hops(fib: &Fib, target: &Target) -> Vec<HopView> {
    fib.hops(target).iter().map(hop_view).collect()
}

/// A hop with its interface by name.
pub(super) fn hop_view(hop: &Hop) -> HopView {
    HopView {
        gateway: hop.gateway,
        interface: if_indextoname(hop.ifindex)
            .ok()
            .and_then(|name| name.into_string().ok())
            .unwrap_or_else(|| format!("#{}", hop.ifindex)),
        weight: hop.weight,
    }
}

fn name(id: PeerId, sources: &Sources) -> String {
    let peers = sources.peers.list();
    let peer = peers.iter().find(|peer| peer.id == id);
    peer.map_or_else(|| format!("#{}", id.0), |peer| peer.settings.name.to_string())
}
