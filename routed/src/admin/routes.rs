//! Answers about routes: from the RIB's views to those that are shown.

use std::collections::BTreeMap;

use bgp::{
    attrs::Attrs,
    prefix::Prefix,
    rib::{self, PeerId, Verdict},
};
use routed_core::fib::{Fib, status::RouteStatus};

use super::{
    Refusal, Selection,
    answer::{find_peer, of_part},
};
use crate::{
    peering::interfaces,
    show::view::{AdvertisedView, AttrsView, PathStatus, PathView, ReceivedView, RouteView},
    sources::{Sources, in_time},
};

/// The routes selected; with a peer only those that it has a path for, and only that path.
pub(super) async fn all(
    sources: &Sources,
    of: Selection,
    peer: Option<&str>,
) -> Result<Vec<RouteView>, Refusal> {
    let peer = peer.map(|name| find_peer(sources, name)).transpose()?.map(|peer| peer.id);
    let mut routes = in_time(sources.rib.routes()).await.map_err(of_part("RIB"))?;
    match of {
        Selection::All => {}
        Selection::Covering(covered) => {
            let nearest = routes
                .into_iter()
                .filter(|(prefix, _)| prefix.covers(covered.into()))
                .max_by_key(|(prefix, _)| prefix.len());
            routes = nearest.into_iter().collect();
        }
        Selection::Inside(range) => {
            routes.retain(|(prefix, _)| Prefix::from(range).covers(*prefix));
        }
    }
    if peer.is_some() {
        for (_, paths) in &mut routes {
            paths.retain(|path| path.peer == peer);
        }
        routes.retain(|(_, paths)| !paths.is_empty());
    }
    let kernel = in_kernel(sources).await?;
    let views = routes.into_iter().map(|(prefix, paths)| RouteView {
        prefix: prefix.into(),
        kernel: kernel.get(&prefix).cloned(),
        paths: paths.iter().map(|path| path_view(path, sources)).collect(),
    });
    Ok(views.collect())
}

/// How every route of ours stands in the kernel, in words.
async fn in_kernel(sources: &Sources) -> Result<BTreeMap<Prefix, String>, Refusal> {
    let Some(kernel) = &sources.kernel else { return Ok(BTreeMap::new()) };
    let look = |fib: &Fib| {
        let text = |route: RouteStatus<'_>| match route.error {
            Some(error) => format!("{} ({error})", route.state),
            None => route.state.to_string(),
        };
        // A prefix may also have a route of a former configuration; the one wanted now is shown.
        let (wanted, former): (Vec<_>, Vec<_>) =
            fib.routes().partition(|route| route.want.is_some());
        former.into_iter().chain(wanted).map(|route| (route.key.prefix, text(route))).collect()
    };
    kernel.ask(look).await.map_err(of_part("kernel's routes"))
}

/// A peer's Adj-RIB-In.
pub(super) async fn received(sources: &Sources, peer: &str) -> Result<Vec<ReceivedView>, Refusal> {
    let peer = find_peer(sources, peer)?;
    let received = in_time(sources.rib.received(peer.id)).await.map_err(of_part("RIB"))?;
    let views = received.into_iter().map(|(prefix, path)| ReceivedView {
        prefix: prefix.into(),
        path_id: path.path_id,
        status: status(&path.verdict),
        reason: path.verdict.to_string(),
        attributes: attrs_view(&path.attrs, true),
    });
    Ok(views.collect())
}

/// A peer's Adj-RIB-Out, and what is kept from it.
pub(super) async fn advertised(
    sources: &Sources,
    peer: &str,
) -> Result<Vec<AdvertisedView>, Refusal> {
    let peer = find_peer(sources, peer)?;
    let advertised = in_time(sources.rib.advertised(peer.id)).await.map_err(of_part("RIB"))?;
    let views = advertised.into_iter().map(|view| AdvertisedView {
        prefix: view.prefix.into(),
        path_id: view.path_id,
        advertised: view.outcome.is_ok(),
        reason: view.outcome.as_ref().err().map(ToString::to_string),
        attributes: view.outcome.ok().map(|attrs| attrs_view(&attrs, true)),
    });
    Ok(views.collect())
}

pub(super) fn path_view(path: &rib::PathView, sources: &Sources) -> PathView {
    let name = |id: PeerId| {
        let peers = sources.peers.list();
        let peer = peers.iter().find(|peer| peer.id == id);
        peer.map_or_else(|| format!("#{}", id.0), |peer| peer.settings.name.to_string())
    };
    PathView {
        peer: path.peer.map(name),
        path_id: path.path_id,
        status: status(&path.verdict),
        reason: path.verdict.to_string(),
        attributes: attrs_view(&path.attrs, path.peer.is_some()),
    }
}

const fn status(verdict: &Verdict) -> PathStatus {
    match verdict {
        Verdict::Best => PathStatus::Best,
        Verdict::Multipath => PathStatus::Multipath,
        Verdict::Lost(_) => PathStatus::Eligible,
        Verdict::Ineligible(_) => PathStatus::Ineligible,
    }
}

pub(crate) fn attrs_view(attrs: &Attrs, learned: bool) -> AttrsView {
    AttrsView {
        next_hop: learned.then_some(attrs.next_hop.addr),
        next_hop_link_local: attrs.next_hop.link_local.filter(|_| learned),
        next_hop_interface: attrs.next_hop.scope.and_then(interfaces::name),
        as_path: attrs.as_path.to_string(),
        origin: attrs.origin.to_string(),
        weight: attrs.weight,
        local_preference: attrs.local_pref,
        med: attrs.med,
        communities: texts(&attrs.communities),
        large_communities: texts(&attrs.large_communities),
        extended_communities: texts(&attrs.ext_communities),
        originator_id: attrs.originator_id,
        cluster_list: attrs.cluster_list.clone(),
    }
}

fn texts<T: ToString>(values: &[T]) -> Vec<String> {
    values.iter().map(ToString::to_string).collect()
}
