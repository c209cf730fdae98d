//! Import: what may enter the decision from a peer's Adj-RIB-In, and with which attributes.
//!
//! In: attributes as received, and whom they came from. Out: attributes after policy, or why
//! the path is left out (RFC 4271 §9.1.1). A pure function of its arguments, so that a change
//! of policy can be applied to stored paths at any time.

use std::sync::Arc;

use super::{
    nexthop,
    peer::{PeerUp, RibConfig},
    verdict::{Freshness, Ineligible},
};
use crate::{
    aspath::Asn,
    attrs::Attrs,
    community::Community,
    policy::{Context, Explanation, Outcome},
    prefix::Prefix,
};

/// LOCAL_PREF of paths that are about to go away (RFC 8326 §4.2).
pub(super) const GRACEFUL_SHUTDOWN_LOCAL_PREF: u32 = 0;

/// The checks that do not depend on the prefix: once for each set of attributes received.
pub(super) fn screen(us: &RibConfig, up: &PeerUp, attrs: &Attrs) -> Result<(), Ineligible> {
    let external = up.is_external();
    let allowed = usize::from(up.config.allow_own_as);
    if [up.local_asn, us.asn].iter().any(|own| attrs.as_path.count(*own) > allowed) {
        return Err(Ineligible::AsLoop);
    }
    if external && up.config.enforce_first_as && attrs.as_path.first() != Some(up.peer_asn) {
        return Err(Ineligible::FirstAs);
    }
    if attrs.originator_id == Some(us.router_id) {
        return Err(Ineligible::OriginatorLoop);
    }
    if attrs.cluster_list.contains(&us.cluster_id) {
        return Err(Ineligible::ClusterLoop);
    }
    if !nexthop::is_valid(attrs.next_hop, &up.config.local_addresses) {
        return Err(Ineligible::NextHopInvalid);
    }
    otc(up, attrs)?;
    if external && up.config.import.is_none() {
        return Err(Ineligible::NoImportPolicy);
    }
    Ok(())
}

/// Import policy, then graceful shutdown: a policy that wants to act on the community itself
/// can remove it. A path that is kept as long-lived stale is marked last (RFC 9494 §4.2). The
/// same `Arc` comes back if nothing was changed.
pub(super) fn import(
    us: &RibConfig,
    up: &PeerUp,
    prefix: Prefix,
    attrs: &Arc<Attrs>,
    freshness: Freshness,
) -> Result<Arc<Attrs>, Ineligible> {
    let attrs = before_policy(us, up, attrs)?;
    let mut attrs = match &up.config.import {
        None => attrs,
        Some(policy) => match policy.apply(&context(up, prefix), &attrs) {
            Outcome::Accepted(accepted) => accepted.attrs,
            Outcome::Rejected(rejection) => return Err(Ineligible::Rejected(rejection)),
        },
    };
    // A policy may have set another.
    if !nexthop::is_valid(attrs.next_hop, &up.config.local_addresses) {
        return Err(Ineligible::NextHopInvalid);
    }
    if up.is_external() && up.config.drain {
        Arc::make_mut(&mut attrs).add(Community::GRACEFUL_SHUTDOWN);
    }
    if up.is_external() && attrs.has(Community::GRACEFUL_SHUTDOWN) {
        Arc::make_mut(&mut attrs).local_pref = Some(GRACEFUL_SHUTDOWN_LOCAL_PREF);
    }
    match freshness {
        Freshness::Current | Freshness::Stale => {}
        Freshness::LongLived => {
            if attrs.has(Community::NO_LLGR) {
                return Err(Ineligible::NoLongLived);
            }
            Arc::make_mut(&mut attrs).add(Community::LLGR_STALE);
        }
    }
    Ok(attrs)
}

/// How the import policy came to what it makes of the path; `None` if there is none.
pub(super) fn explain(
    us: &RibConfig,
    up: &PeerUp,
    prefix: Prefix,
    attrs: &Arc<Attrs>,
) -> Option<Explanation> {
    let policy = up.config.import.as_ref()?;
    let attrs = before_policy(us, up, attrs).ok()?;
    Some(policy.explain(&context(up, prefix), &attrs))
}

/// The path as the policy sees it: with the AS that we pretend to be to this peer, and OTC.
fn before_policy(
    us: &RibConfig,
    up: &PeerUp,
    attrs: &Arc<Attrs>,
) -> Result<Arc<Attrs>, Ineligible> {
    let mut attrs = Arc::clone(attrs);
    if up.is_external() && up.local_asn != us.asn && !up.config.local_as.no_prepend {
        let path = attrs.as_path.prepended(up.local_asn, 1);
        Arc::make_mut(&mut attrs).as_path = path;
    }
    let marked = otc(up, &attrs)?;
    if attrs.otc != marked {
        Arc::make_mut(&mut attrs).otc = marked;
    }
    Ok(attrs)
}

/// The OTC that a path of the peer has from here on (RFC 9234 §5, ingress).
fn otc(up: &PeerUp, attrs: &Attrs) -> Result<Option<Asn>, Ineligible> {
    match up.options.role.filter(|_| up.is_external()) {
        Some(role) => role.receive(attrs.otc, up.peer_asn).map_err(Ineligible::RouteLeak),
        None => Ok(attrs.otc),
    }
}

/// What an import policy is asked about besides the attributes.
fn context(up: &PeerUp, prefix: Prefix) -> Context<'_> {
    let peer = up.as_seen_by_policies();
    Context { prefix, source: up.source(), local_asn: up.local_asn, peer, from: Some(peer) }
}
