//! From stored paths to contenders and verdicts: joins what is known of a destination's paths
//! (attributes, peers, next hops) for the decision and for people.
//!
//! Keeps nothing: verdicts are worked out when somebody asks.

use std::collections::BTreeMap;

use smallvec::SmallVec;

use super::{
    account::Standing,
    attrs::{AttrId, AttrTable},
    decide::{self, Contender, Origination},
    dest::{Dest, Path, PathKey},
    export::Candidate,
    nexthop::{self, NextHops},
    peer::{Peer, PeerId, PeerUp, RibConfig},
    verdict::{Ineligible, PathView, Verdict},
};
/// The eligible paths of one destination: mostly few.
pub(super) type Contenders = SmallVec<[Contender; 2]>;

/// Everything that a decision depends on besides the paths.
#[derive(Clone, Copy)]
pub(super) struct Judge<'a> {
    pub(super) config: &'a RibConfig,
    pub(super) peers: &'a BTreeMap<PeerId, Peer>,
    pub(super) next_hops: &'a NextHops,
    pub(super) attrs: &'a AttrTable,
}

impl<'a> Judge<'a> {
    /// The eligible paths in the order of the decision, and how many of them are used.
    pub(super) fn decide(&self, dest: &Dest) -> (Contenders, usize) {
        let mut contenders = self.contenders(dest);
        let used = decide::decide(&mut contenders, self.config.multipath);
        (contenders, used)
    }

    /// Whether the same paths as before are used now that the one of this key has come, was replaced
    /// or is gone; before it was `old`. Never wrong about yes: then nothing need be decided.
    pub(super) fn keeps_used(&self, dest: &Dest, key: PathKey, old: Option<&Path>) -> bool {
        if dest.in_use().is_empty() {
            return false;
        }
        let med = |path: &Path| path.accepted().map(|id| self.attrs.merits(id).med);
        let gone_unnoticed = old.is_none_or(|old| match (old.standing(), med(old)) {
            (Standing::InUse, _) => false,
            (Standing::Eligible, Some(gone)) => {
                let unused = &dest.eligible()[dest.in_use().len()..];
                let others = unused.iter().filter(|path| path.key() != key);
                decide::hid_nobody(gone, others.filter_map(med))
            }
            (Standing::Eligible | Standing::Ineligible, _) => true,
        });
        let come_unnoticed = || {
            let Some(new) = dest.path(key).and_then(|new| self.contender(0, new).ok()) else {
                return true;
            };
            let used = dest.in_use().iter();
            let used: Contenders = used.filter_map(|path| self.contender(0, path).ok()).collect();
            decide::is_beaten(&new, &used, self.config.multipath)
        };
        gone_unnoticed && come_unnoticed()
    }

    /// Every path with its verdict: the used ones, best first, then those that lost, latest first;
    /// paths that take no part come last, by peer.
    pub(super) fn verdicts(&self, dest: &Dest) -> Vec<PathView> {
        let (contenders, _) = self.decide(dest);
        let eligible = contenders.iter().enumerate().map(|(place, contender)| {
            let verdict = match contender.lost {
                Some(step) => Verdict::Lost(step),
                None if place == 0 => Verdict::Best,
                None => Verdict::Multipath,
            };
            self.view(&dest.paths()[contender.index], verdict)
        });
        let mut views: Vec<_> = eligible.collect();
        let begin = views.len();
        views.extend(dest.paths().iter().enumerate().filter_map(|(at, path)| {
            let reason = self.contender(at, path).err()?;
            Some(self.view(path, Verdict::Ineligible(reason)))
        }));
        views[begin..].sort_by_key(|view| (view.peer, view.path_id));
        views
    }

    /// The eligible paths in the order in which each would be the best if those before it were
    /// not there. Costs a decision for each after the first, when it is asked for.
    pub(super) fn ranked<'d>(self, dest: &'d Dest) -> impl Iterator<Item = &'d Path> + use<'a, 'd> {
        let rest = move || {
            let mut contenders = self.contenders(dest);
            std::iter::from_fn(move || {
                decide::decide(&mut contenders, 1);
                let best = (!contenders.is_empty()).then(|| contenders.remove(0))?;
                Some(&dest.paths()[best.index])
            })
        };
        // The first is known; the others are mostly not wanted.
        dest.best().into_iter().chain(std::iter::once_with(rest).flatten().skip(1))
    }

    /// An accepted path with its origin.
    pub(super) fn candidate(&self, path: &Path) -> Option<Candidate<'a>> {
        let id = path.accepted()?;
        let from = path.from().map(|peer| (peer, &self.peers[&peer].up));
        Some(Candidate { from, id, attrs: self.attrs.get(id), bandwidth: None })
    }

    fn contenders(&self, dest: &Dest) -> Contenders {
        let paths = dest.paths().iter().enumerate();
        paths.filter_map(|(at, path)| self.contender(at, path).ok()).collect()
    }

    /// Could the path be used?
    pub(super) fn is_eligible(&self, path: &Path) -> bool {
        let up = path.from().map(|peer| &self.peers[&peer].up);
        path.accepted().is_some_and(|attrs| self.cost(path, attrs, up).is_ok())
    }

    fn contender(&self, index: usize, path: &Path) -> Result<Contender, Ineligible> {
        let attrs = path.imported().map_err(|reason| self.attrs.reason(reason))?;
        let PathKey { from, path_id } = path.key();
        let up = from.map(|peer| &self.peers[&peer].up);
        let cost = self.cost(path, attrs, up)?;
        let from = up.map_or(Origination::Local, |up| {
            let (router_id, address) = (up.router_id, up.address);
            Origination::Peer { external: up.is_external(), router_id, address, path_id }
        });
        Ok(Contender::new(index, &self.attrs.merits(attrs), from, cost))
    }

    /// What it costs to reach the next hop that import has left to the path.
    fn cost(&self, path: &Path, attrs: AttrId, up: Option<&PeerUp>) -> Result<u32, Ineligible> {
        let Some(up) = up.filter(|_| self.config.resolve_next_hops) else { return Ok(0) };
        // What an operator's policy has set is no third party's say.
        let next_hop = self.attrs.next_hop(attrs);
        let received = || attrs == path.received || next_hop == self.attrs.next_hop(path.received);
        let on_link = up.is_external() && up.config.next_hops_on_link && received();
        nexthop::cost(self.next_hops.resolution(next_hop), on_link)
    }

    fn view(&self, path: &Path, verdict: Verdict) -> PathView {
        let attrs = self.attrs.get(path.accepted().unwrap_or(path.received));
        let PathKey { from: peer, path_id } = path.key();
        PathView { peer, path_id, attrs, verdict, freshness: path.marks().freshness }
    }
}
