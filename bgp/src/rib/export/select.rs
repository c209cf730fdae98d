//! Which of a destination's paths a peer is told of: the best one, the best one that it may be
//! told (RFC 7947 §2.3.2.1), or several (RFC 7911).
//!
//! In: the eligible paths in the order of the decision. Out: those that the peer is told of, or
//! for each why it is not.

use std::sync::Arc;

use super::{Candidate, Exporter};
use crate::{
    attrs::Attrs,
    config::AddPath,
    rib::{
        attrs::{AttrId, AttrTable},
        dest::{Dest, Path},
        judge::Judge,
        monitor::shown,
        verdict::NotAdvertised,
    },
};

/// A path as a peer is told of it: its number, 0 where there is one only, and its attributes.
pub(in crate::rib) type ToldPath = (u32, AttrId);

/// Of which paths a peer is told, and of how many of these.
struct Choice<'d> {
    /// All of these,
    set: &'d [Path],
    /// or as many as it takes in the order in which they win,
    ranked: bool,
    /// until so many were told.
    most: usize,
}

impl<'a, F: FnMut(Attrs) -> Arc<Attrs>> Exporter<'a, F> {
    /// Puts into `wanted` what the peer shall know of the destination.
    pub(in crate::rib) fn tell(
        &mut self,
        judge: Judge<'_>,
        dest: &Dest,
        wanted: &mut Vec<ToldPath>,
    ) {
        let (_, to) = self.to;
        if self.tells_best_only {
            // The common case, without all that the others need.
            let best = dest.best().and_then(|path| judge.candidate(path));
            let outcome = best.map(|candidate| self.export(dest.prefix, &candidate));
            let told = outcome.and_then(Result::ok);
            wanted.extend(told.map(|attrs| (0, self.numbered(judge.attrs, &attrs))));
            return;
        }
        let number = |path: &Path| to.number_told(path, dest.prefix.family());
        let most = self.choice(dest).most;
        let outcomes = self.outcomes(judge, dest);
        let told = outcomes
            .filter_map(|(path, outcome)| Some((number(path), judge.attrs.intern(&outcome.ok()?))));
        wanted.extend(told.take(most));
    }

    /// The number of these attributes; neighbours mostly have the same.
    fn numbered(&mut self, table: &AttrTable, attrs: &Arc<Attrs>) -> AttrId {
        if let Some((last, id)) = &self.numbered
            && Arc::ptr_eq(last, attrs)
        {
            return *id;
        }
        let id = table.intern(attrs);
        self.numbered = Some((Arc::clone(attrs), id));
        id
    }

    /// The paths of the destination that export policy is asked about (RFC 8671 §3), with their
    /// numbers.
    pub(in crate::rib) fn offers(&self, judge: Judge<'_>, dest: &Dest) -> Vec<(u32, Arc<Attrs>)> {
        let (_, to) = self.to;
        let family = dest.prefix.family();
        let Choice { set, ranked, most } = self.choice(dest);
        let ranked = ranked.then(|| judge.ranked(dest)).into_iter().flatten();
        let offers = set.iter().chain(ranked).filter_map(|path| {
            let attrs = self.offered(dest.prefix, &judge.candidate(path)?)?;
            Some((to.number_told(path, family), shown(path.from(), &attrs, family)))
        });
        offers.take(most).collect()
    }

    /// The paths that the peer could be told of, each with the attributes that it sees or the
    /// reason why it is not told of it; best first where not all are told.
    pub(in crate::rib) fn outcomes<'d>(
        &mut self,
        judge: Judge<'d>,
        dest: &'d Dest,
    ) -> impl Iterator<Item = (&'d Path, Result<Arc<Attrs>, NotAdvertised>)> + use<'_, 'a, 'd, F>
    {
        let Choice { set, ranked, most: mut left } = self.choice(dest);
        let ranked = ranked.then(|| judge.ranked(dest)).into_iter().flatten();
        let (_, to) = self.to;
        let several = to.options.add_path_send.contains(dest.prefix.family());
        let tells = to.config.send_link_bandwidth;
        let together = if tells && !several { dest.bandwidth(judge.attrs) } else { None };
        set.iter().chain(ranked).filter_map(move |path| {
            if left == 0 {
                return Some((path, Err(NotAdvertised::Enough)));
            }
            let candidate = judge.candidate(path)?;
            // Of several paths, each tells its own.
            let own = if tells && several { candidate.attrs.link_bandwidth() } else { None };
            let candidate = Candidate { bandwidth: together.or(own), ..candidate };
            let outcome = self.export(dest.prefix, &candidate);
            left -= usize::from(outcome.is_ok());
            Some((path, outcome))
        })
    }

    /// The same for people: for a peer that is told of one path, that one, or the best one with
    /// the reason why it is not told of any.
    pub(in crate::rib) fn shown<'d>(
        &mut self,
        judge: Judge<'d>,
        dest: &'d Dest,
    ) -> Vec<(&'d Path, Result<Arc<Attrs>, NotAdvertised>)> {
        let several = self.to.1.options.add_path_send.contains(dest.prefix.family());
        let mut outcomes: Vec<_> = self.outcomes(judge, dest).collect();
        if !several && !outcomes.is_empty() {
            let told = outcomes.iter().position(|(_, outcome)| outcome.is_ok());
            outcomes.swap(0, told.unwrap_or(0));
            outcomes.truncate(1);
        }
        outcomes
    }

    fn choice<'d>(&self, dest: &'d Dest) -> Choice<'d> {
        let (_, to) = self.to;
        let all = |set: &'d [Path]| Choice { set, ranked: false, most: set.len() };
        let ranked = |most| Choice { set: &[], ranked: true, most };
        if to.options.add_path_send.contains(dest.prefix.family()) {
            match to.config.add_path {
                AddPath::All => all(dest.eligible()),
                AddPath::Used => all(dest.in_use()),
                AddPath::Best(most) => ranked(most.get().into()),
            }
        } else if to.is_route_server_client() {
            ranked(1)
        } else {
            all(dest.in_use().get(..1).unwrap_or_default())
        }
    }
}
