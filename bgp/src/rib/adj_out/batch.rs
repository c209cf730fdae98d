//! Advertisements being gathered for one pull: a path stands in at most one of them, so that the
//! order among announcements and withdrawals does not matter.

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::Advertisement;
use crate::{
    family::{Family, FamilySet, PerFamily},
    rib::attrs::{AttrId, AttrTable},
    wire::Nlri,
};

/// See the module.
#[derive(Default)]
pub(in crate::rib) struct Batch {
    paths: usize,
    begun: FamilySet,
    withdrawn: PerFamily<Vec<Nlri>>,
    reach: Vec<(AttrId, Vec<Nlri>)>,
    /// Where in `reach` a set of attributes stands.
    groups: HashMap<(Family, AttrId), usize, RandomState>,
    complete: FamilySet,
    ended: FamilySet,
}

impl Batch {
    /// Paths announced and withdrawn so far.
    pub(in crate::rib) const fn paths(&self) -> usize {
        self.paths
    }

    /// The path is gone.
    pub(in crate::rib) fn withdraw(&mut self, nlri: Nlri) {
        self.withdrawn.get_mut(nlri.family()).push(nlri);
        self.paths += 1;
    }

    /// The path now has these attributes.
    pub(in crate::rib) fn reach(&mut self, nlri: Nlri, attrs: AttrId) {
        let group = (nlri.family(), attrs);
        let at = *self.groups.entry(group).or_insert_with(|| {
            self.reach.push((attrs, Vec::new()));
            self.reach.len() - 1
        });
        self.reach[at].1.push(nlri);
        self.paths += 1;
    }

    /// The initial transfer of these families is complete.
    pub(in crate::rib) const fn complete(&mut self, families: FamilySet) {
        self.complete = families;
    }

    /// The answer to a route refresh begins.
    pub(in crate::rib) const fn refresh_begins(&mut self, family: Family) {
        self.begun.insert(family);
    }

    /// It is complete.
    pub(in crate::rib) const fn refresh_ends(&mut self, family: Family) {
        self.ended.insert(family);
    }

    /// All of it: marks around the routes that they are about, withdrawals first.
    pub(in crate::rib) fn into_advertisements(mut self, table: &AttrTable) -> Vec<Advertisement> {
        let mut all: Vec<_> = self.begun.iter().map(Advertisement::RefreshBegin).collect();
        for family in Family::ALL {
            let prefixes = std::mem::take(self.withdrawn.get_mut(family));
            if !prefixes.is_empty() {
                all.push(Advertisement::Withdraw(prefixes));
            }
        }
        let reach = self.reach.into_iter();
        all.extend(
            reach.map(|(attrs, prefixes)| Advertisement::Reach {
                attrs: table.get(attrs),
                prefixes,
            }),
        );
        all.extend(self.complete.iter().map(Advertisement::EndOfRib));
        all.extend(self.ended.iter().map(Advertisement::RefreshEnd));
        all
    }
}
