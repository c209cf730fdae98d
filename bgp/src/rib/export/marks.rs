//! Communities with a meaning to every router: those that keep a path from a peer, and those that
//! go out with it whatever the policy says.
//!
//! In: a best path, and whom it would go to. Out: whether it may, and the attributes with what
//! must be added. Keeps nothing.

use std::sync::Arc;

use crate::{
    attrs::Attrs,
    community::Community,
    family::Family,
    policy::Source,
    rib::{
        adj_in::GRACEFUL_SHUTDOWN_LOCAL_PREF,
        peer::{PeerUp, RibConfig},
        verdict::NotAdvertised,
    },
};

/// LOCAL_PREF with which inside the AS a long-lived stale path goes to a peer that does not know
/// of such paths (RFC 9494 §4.6).
const LONG_LIVED_LOCAL_PREF: u32 = 0;

/// Whether communities of the path keep it from this peer (RFC 1997, RFC 7999 §3.2). Between its
/// clients a route server does not act on them (RFC 7947 §2.2.4): then this is not asked.
pub(super) fn forbid(attrs: &Attrs, source: Source, to: &PeerUp) -> Result<(), NotAdvertised> {
    let external = to.is_external();
    if attrs.has(Community::NO_ADVERTISE)
        || external
            && (attrs.has(Community::NO_EXPORT) || attrs.has(Community::NO_EXPORT_SUBCONFED))
    {
        return Err(NotAdvertised::Community);
    }
    if external
        && source != Source::Local
        && attrs.has(Community::BLACKHOLE)
        && !to.config.send_blackhole
    {
        return Err(NotAdvertised::Blackhole);
    }
    Ok(())
}

/// Long-lived stale paths stay among those who know of them (RFC 9494 §4.3); inside the AS others
/// may have them as the very last choice (§4.6).
pub(super) fn forbid_long_lived(
    attrs: &Attrs,
    family: Family,
    to: &PeerUp,
) -> Result<(), NotAdvertised> {
    if to.is_external() && is_not_understood(attrs, family, to) {
        return Err(NotAdvertised::LongLivedStale);
    }
    Ok(())
}

/// Puts back what a policy may not take off: `before` it, the path was as the Loc-RIB has it
/// (RFC 9494 §4.3).
pub(super) fn keep(before: &Attrs, after: &mut Arc<Attrs>) {
    if before.has(Community::LLGR_STALE) && !after.has(Community::LLGR_STALE) {
        Arc::make_mut(after).add(Community::LLGR_STALE);
    }
}

/// Adds what must go out with the path.
pub(super) fn add(attrs: &mut Attrs, family: Family, us: &RibConfig, to: &PeerUp) {
    if is_not_understood(attrs, family, to) {
        attrs.add(Community::NO_EXPORT);
        attrs.local_pref = Some(LONG_LIVED_LOCAL_PREF);
    }
    if us.drain || to.config.drain {
        attrs.add(Community::GRACEFUL_SHUTDOWN);
        if !to.is_external() {
            attrs.local_pref = Some(GRACEFUL_SHUTDOWN_LOCAL_PREF);
        }
    }
}

/// Is it long-lived stale, and the peer would not know what that means?
fn is_not_understood(attrs: &Attrs, family: Family, to: &PeerUp) -> bool {
    attrs.has(Community::LLGR_STALE) && !to.options.long_lived.contains(family)
}
