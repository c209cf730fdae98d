//! Export: what a peer is told of a path, if anything.
//!
//! In: a prefix, a path with the peer it came from, and the peer to tell. Out: the
//! attributes as that peer must see them, or why it is not told (RFC 4271 §9.1.3, RFC 4456,
//! RFC 7947, RFC 8212). Keeps nothing but the last result, since neighbouring prefixes mostly
//! share their attributes.

mod as_path;
mod fit;
mod marks;
mod select;

use std::{net::IpAddr, sync::Arc};

pub use self::fit::Unsendable;
pub(super) use self::select::ToldPath;
use super::{
    attrs::AttrId,
    bandwidth,
    peer::{PeerId, PeerUp, RibConfig},
    verdict::NotAdvertised,
};
use crate::{
    aspath::Asn,
    attrs::{Attrs, DEFAULT_LOCAL_PREF, NextHop},
    community::Rate,
    family::Family,
    policy::{Accepted, Context, Explanation, NextHopChoice, Outcome, Source},
    prefix::Prefix,
};

/// A path and whom it came from: `None` is this router.
#[derive(Clone, Debug)]
pub(super) struct Candidate<'a> {
    pub(super) from: Option<(PeerId, &'a PeerUp)>,
    pub(super) id: AttrId,
    pub(super) attrs: Arc<Attrs>,
    /// What it and those that are used beside it carry together, if the peer is to hear of that.
    pub(super) bandwidth: Option<Rate>,
}

impl Candidate<'_> {
    fn source(&self) -> Source {
        self.from.map_or(Source::Local, |(_, up)| up.source())
    }
}

/// This router, as far as it concerns what it tells.
#[derive(Clone, Copy, Debug)]
pub(super) struct Us<'a> {
    pub(super) config: &'a RibConfig,
    /// Learned routes are held back (RFC 4724 §4.1).
    pub(super) deferring: bool,
}

/// Export to one peer.
pub(super) struct Exporter<'a, F> {
    us: Us<'a>,
    /// Nobody in particular for a group, whose members are spared their own paths elsewhere.
    to: (Option<PeerId>, &'a PeerUp),
    /// Turns new attributes into the shared set equal to them.
    share: F,
    last: Option<Rewritten>,
    /// Whether the policy may treat prefixes with the same attributes differently.
    by_prefix: bool,
    /// Whether it is told of the best path of each prefix and nothing else about it.
    tells_best_only: bool,
    /// What became of the last path of a peer.
    known: Option<Exported>,
    /// The attributes that were told last.
    numbered: Option<(Arc<Attrs>, AttrId)>,
    /// Paths that no message can hold, and whose the first is.
    unsendable: Option<(Option<PeerId>, Unsendable)>,
}

/// An outcome to use again for other prefixes.
struct Exported {
    family: Family,
    from: PeerId,
    bandwidth: Option<Rate>,
    attrs: AttrId,
    outcome: Result<Arc<Attrs>, NotAdvertised>,
}

/// A result to use again: the rewrite depends on nothing else.
struct Rewritten {
    family: Family,
    from: Option<PeerId>,
    bandwidth: Option<Rate>,
    before: Accepted,
    after: Arc<Attrs>,
}

impl<'a, F: FnMut(Attrs) -> Arc<Attrs>> Exporter<'a, F> {
    /// `share` turns new attributes into the shared set equal to them.
    pub(super) fn new(us: Us<'a>, (peer, to): (PeerId, &'a PeerUp), share: F) -> Self {
        Self::made(us, (Some(peer), to), share)
    }

    /// The same for all members of a group.
    pub(super) fn for_group(us: Us<'a>, manner: &'a PeerUp, share: F) -> Self {
        Self::made(us, (None, manner), share)
    }

    fn made(us: Us<'a>, to: (Option<PeerId>, &'a PeerUp), share: F) -> Self {
        let policy = to.1.config.export.as_ref();
        let by_prefix = policy.is_some_and(|policy| policy.depends_on_prefix());
        let tells_best_only = !to.1.looks_beyond_best();
        Self {
            us,
            to,
            share,
            last: None,
            by_prefix,
            tells_best_only,
            known: None,
            numbered: None,
            unsendable: None,
        }
    }

    /// What the peer is told of this path.
    pub(super) fn export(
        &mut self,
        prefix: Prefix,
        path: &Candidate<'_>,
    ) -> Result<Arc<Attrs>, NotAdvertised> {
        let outcome = self.export_again(prefix, path);
        self.note_unsendable(prefix, path.from.map(|(id, _)| id), &outcome);
        outcome
    }

    /// The same as for the last path, if that was like this one.
    fn export_again(
        &mut self,
        prefix: Prefix,
        path: &Candidate<'_>,
    ) -> Result<Arc<Attrs>, NotAdvertised> {
        let family = prefix.family();
        let Some((from, _)) = path.from.filter(|_| !self.by_prefix) else {
            return self.export_anew(prefix, path);
        };
        if let Some(known) = &self.known
            && known.attrs == path.id
            && (known.family, known.from, known.bandwidth) == (family, from, path.bandwidth)
        {
            return known.outcome.clone();
        }
        let outcome = self.export_anew(prefix, path);
        self.known = Some(Exported {
            family,
            from,
            bandwidth: path.bandwidth,
            attrs: path.id,
            outcome: outcome.clone(),
        });
        outcome
    }

    fn export_anew(
        &mut self,
        prefix: Prefix,
        path: &Candidate<'_>,
    ) -> Result<Arc<Attrs>, NotAdvertised> {
        self.may_tell(prefix, path)?;
        let accepted = self.apply_policy(prefix, path)?;
        self.rewrite(prefix.family(), accepted, path)
    }

    /// The rules that no policy can overrule.
    fn may_tell(&self, prefix: Prefix, path: &Candidate<'_>) -> Result<(), NotAdvertised> {
        let (to_id, to) = self.to;
        if !to.families.contains(prefix.family()) {
            return Err(NotAdvertised::Family);
        }
        if let Some((id, from)) = path.from {
            if self.us.deferring {
                return Err(NotAdvertised::Deferred);
            }
            if to_id == Some(id) {
                return Err(NotAdvertised::SplitHorizon);
            }
            let reflected = from.config.route_reflector_client || to.config.route_reflector_client;
            if !from.is_external() && !to.is_external() && !reflected {
                return Err(NotAdvertised::IbgpToIbgp);
            }
        }
        if path.from.is_none()
            && let Some(summary) = self.us.config.summary_of(prefix)
        {
            return Err(NotAdvertised::Aggregated(summary));
        }
        // Between its clients a route server does not act on communities (RFC 7947 §2.2.4).
        if !self.is_transparent(path) {
            marks::forbid(&path.attrs, path.source(), to)?;
        }
        marks::forbid_long_lived(&path.attrs, prefix.family(), to)?;
        self.otc(&path.attrs)?;
        if to.is_external() && to.config.export.is_none() {
            return Err(NotAdvertised::NoExportPolicy);
        }
        Ok(())
    }

    /// A route server passes paths between eBGP peers as they are (RFC 7947 §2.2). What it
    /// originates itself goes out as from any router.
    fn is_transparent(&self, path: &Candidate<'_>) -> bool {
        let (_, to) = self.to;
        to.is_route_server_client() && path.source() == Source::Ebgp
    }

    /// Export policy sees the path as the Loc-RIB has it, without the MED that another AS meant
    /// for us (RFC 4271 §5.1.4); a MED that the policy sets goes out.
    fn apply_policy(
        &self,
        prefix: Prefix,
        path: &Candidate<'_>,
    ) -> Result<Accepted, NotAdvertised> {
        let attrs = self.before_policy(path);
        let Some(policy) = &self.to.1.config.export else {
            return Ok(Accepted { attrs, next_hop: NextHopChoice::Usual });
        };
        match policy.apply(&self.context(prefix, path), &attrs) {
            Outcome::Accepted(mut accepted) => {
                marks::keep(&path.attrs, &mut accepted.attrs);
                Ok(accepted)
            }
            Outcome::Rejected(rejection) => Err(NotAdvertised::Rejected(rejection)),
        }
    }

    /// How the export policy came to what it makes of the path; `None` if there is none, or if a
    /// rule forbids the path before.
    pub(super) fn explain(&self, prefix: Prefix, path: &Candidate<'_>) -> Option<Explanation> {
        self.may_tell(prefix, path).ok()?;
        let policy = self.to.1.config.export.as_ref()?;
        Some(policy.explain(&self.context(prefix, path), &self.before_policy(path)))
    }

    /// What export policy is asked about, as it sees it: nothing of what a rule forbids before. That
    /// there is no policy (RFC 8212) is no such rule.
    pub(super) fn offered(&self, prefix: Prefix, path: &Candidate<'_>) -> Option<Arc<Attrs>> {
        match self.may_tell(prefix, path) {
            Ok(()) | Err(NotAdvertised::NoExportPolicy) => Some(self.before_policy(path)),
            Err(_) => None,
        }
    }

    fn before_policy(&self, path: &Candidate<'_>) -> Arc<Attrs> {
        let mut attrs = Arc::clone(&path.attrs);
        let learned = path.source() != Source::Local;
        let external = self.to.1.is_external();
        if external && learned && attrs.med.is_some() && !self.is_transparent(path) {
            Arc::make_mut(&mut attrs).med = None;
        }
        attrs
    }

    fn context<'c>(&self, prefix: Prefix, path: &Candidate<'c>) -> Context<'c>
    where
        'a: 'c,
    {
        let (_, to) = self.to;
        Context {
            prefix,
            source: path.source(),
            local_asn: to.local_asn,
            peer: to.as_seen_by_policies(),
            from: path.from.map(|(_, from)| from.as_seen_by_policies()),
        }
    }

    /// Makes of accepted attributes what the peer must see.
    fn rewrite(
        &mut self,
        family: Family,
        accepted: Accepted,
        path: &Candidate<'_>,
    ) -> Result<Arc<Attrs>, NotAdvertised> {
        let from = path.from.map(|(id, _)| id);
        if let Some(last) = &self.last
            && (last.family, last.from, last.bandwidth) == (family, from, path.bandwidth)
            && last.before == accepted
        {
            return Ok(Arc::clone(&last.after));
        }
        let attrs = Attrs { weight: 0, ..Attrs::clone(&accepted.attrs) };
        let attrs = if self.next_hop_is_ours(accepted.next_hop, path, attrs.next_hop) {
            let mut attrs = self.with_our_next_hop(family, attrs)?;
            if path.from.is_some() {
                bandwidth::tell(&path.attrs, &mut attrs, path.bandwidth, self.to.1.local_asn);
            }
            attrs
        } else {
            self.with_kept_next_hop(family, attrs)?
        };
        let mut attrs = match (self.to.1.is_external(), path.from) {
            (true, _) if self.is_transparent(path) => Self::for_external(attrs),
            (true, _) => self.for_other_as(attrs),
            (false, Some((_, from))) if !from.is_external() => {
                self.for_own_as(self.reflected(attrs, from))
            }
            (false, Some(_) | None) => self.for_own_as(attrs),
        };
        attrs.otc = self.otc(&attrs)?;
        marks::add(&mut attrs, family, self.us.config, self.to.1);
        let attrs = fit::fitting(attrs, family, self.to.1)?;
        let after = (self.share)(attrs);
        let (before, bandwidth) = (accepted, path.bandwidth);
        self.last = Some(Rewritten { family, from, bandwidth, before, after: Arc::clone(&after) });
        Ok(after)
    }

    /// Whether the peer is to send its traffic to us (RFC 4271 §5.1.3), or to whom the path says.
    fn next_hop_is_ours(
        &self,
        choice: NextHopChoice,
        path: &Candidate<'_>,
        next_hop: NextHop,
    ) -> bool {
        let (_, to) = self.to;
        match choice {
            NextHopChoice::Own => true,
            // A peer is never told itself.
            NextHopChoice::AsItIs => next_hop.addr == to.address,
            NextHopChoice::Usual => match (to.is_external(), path.from) {
                (true, _) => !self.is_transparent(path),
                (false, None) => true,
                (false, Some(_)) => to.config.next_hop_self,
            },
        }
    }

    /// The OTC with which a path goes out, if it may (RFC 9234 §5, egress). Without a role it is
    /// passed on as it is.
    fn otc(&self, attrs: &Attrs) -> Result<Option<Asn>, NotAdvertised> {
        let (_, to) = self.to;
        match to.options.role.filter(|_| to.is_external()) {
            Some(role) => role.send(attrs.otc, to.local_asn).map_err(NotAdvertised::CustomersOnly),
            None => Ok(attrs.otc),
        }
    }

    /// Takes off what has no meaning outside our AS (RFC 4271 §5.1.5, RFC 4456 §8).
    fn for_external(mut attrs: Attrs) -> Attrs {
        attrs.local_pref = None;
        attrs.originator_id = None;
        attrs.cluster_list.clear();
        attrs
    }

    /// RFC 4271 §5.1.2 b; non-transitive communities stay at home (RFC 4360 §6).
    fn for_other_as(&self, attrs: Attrs) -> Attrs {
        let mut attrs = Self::for_external(attrs);
        attrs.as_path = as_path::told(&attrs.as_path, self.to.1, self.us.config.asn);
        attrs.ext_communities.retain(|community| community.is_transitive());
        attrs
    }

    /// LOCAL_PREF is mandatory inside the AS (RFC 4271 §5.1.5).
    const fn for_own_as(&self, mut attrs: Attrs) -> Attrs {
        if attrs.local_pref.is_none() {
            attrs.local_pref = Some(DEFAULT_LOCAL_PREF);
        }
        attrs
    }

    /// RFC 4456 §8.
    fn reflected(&self, mut attrs: Attrs, from: &PeerUp) -> Attrs {
        attrs.originator_id.get_or_insert(from.router_id);
        attrs.cluster_list.insert(0, self.us.config.cluster_id);
        attrs
    }

    fn with_our_next_hop(&self, family: Family, mut attrs: Attrs) -> Result<Attrs, NotAdvertised> {
        attrs.next_hop = own_next_hop(self.to.1, family).ok_or(NotAdvertised::NoNextHop)?;
        Ok(attrs)
    }

    /// Leaves the next hop as it is, as far as the peer can use it: a link-local address is told
    /// only on its own link (RFC 2545 §3), an IPv6 one for IPv4 prefixes only to those who take it
    /// (RFC 8950 §4). Where nothing is left we take its place.
    fn with_kept_next_hop(&self, family: Family, mut attrs: Attrs) -> Result<Attrs, NotAdvertised> {
        let (_, to) = self.to;
        let NextHop { addr, link_local, scope } = attrs.next_hop;
        let same_link = scope.is_some() && scope == to.link;
        let is_link_local = attrs.next_hop.on_link().map(IpAddr::V6) == Some(addr);
        let readable = match family {
            Family::Ipv4Unicast => addr.is_ipv4() || to.extended_next_hop,
            Family::Ipv6Unicast => true,
        };
        if !readable || is_link_local && !same_link {
            return self.with_our_next_hop(family, attrs);
        }
        let link_local = link_local.filter(|_| same_link);
        attrs.next_hop = NextHop { addr, link_local, scope: None };
        Ok(attrs)
    }
}

/// Ourselves as the next hop: the first of our addresses of the family, or for IPv4 prefixes an
/// IPv6 one if there is no other and the peer takes it (RFC 8950 §4). Of the IPv6 ones a global
/// one is taken first, and a link-local one goes with it if we have one (RFC 2545 §3).
fn own_next_hop(to: &PeerUp, family: Family) -> Option<NextHop> {
    let addresses = &to.config.local_addresses;
    match family {
        Family::Ipv4Unicast => {
            let v4 = addresses.iter().copied().find(IpAddr::is_ipv4).map(NextHop::new);
            v4.or_else(|| to.extended_next_hop.then(|| own_ipv6(addresses))?)
        }
        Family::Ipv6Unicast => own_ipv6(addresses),
    }
}

fn own_ipv6(addresses: &[IpAddr]) -> Option<NextHop> {
    let ours = || {
        addresses.iter().filter_map(|addr| match addr {
            IpAddr::V6(addr) => Some(*addr),
            IpAddr::V4(_) => None,
        })
    };
    let link_local = ours().find(std::net::Ipv6Addr::is_unicast_link_local);
    match (ours().find(|addr| !addr.is_unicast_link_local()), link_local) {
        (Some(global), link_local) => {
            Some(NextHop { addr: global.into(), link_local, scope: None })
        }
        (None, Some(addr)) => Some(NextHop::new(addr.into())),
        (None, None) => None,
    }
}
