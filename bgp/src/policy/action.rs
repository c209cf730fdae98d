//! Actions: the changes that a statement makes to a path's attributes.

use super::Action;
use crate::attrs::Attrs;

impl Action {
    /// Makes the change. Lists stay sorted and without repeats, as [`Attrs`] wants them.
    pub(super) fn apply(&self, attrs: &mut Attrs) {
        match self {
            Self::SetLocalPref(value) => attrs.local_pref = Some(*value),
            Self::SetMed(value) => attrs.med = Some(*value),
            Self::AddCommunities(list) => add(&mut attrs.communities, list),
            Self::RemoveCommunities(list) => {
                attrs.communities.retain(|community| !list.contains(community));
            }
            Self::AddLargeCommunities(list) => add(&mut attrs.large_communities, list),
            Self::Prepend { asn, times } => {
                attrs.as_path = attrs.as_path.prepended(*asn, *times);
            }
        }
    }
}

fn add<T: Ord + Copy>(sorted: &mut Vec<T>, new: &[T]) {
    sorted.extend_from_slice(new);
    sorted.sort_unstable();
    sorted.dedup();
}
