//! `[[peer_groups]]`: what peers take over unless they say otherwise.
//!
//! In: the tables, and the reader of peers, which reads groups as well. Out: for each peer that
//! names a group, the group's values in place of those that the peer does not give.

use std::{cell::Cell, collections::BTreeMap, sync::Arc};

use crate::config::{
    fault::Place,
    problem::{Caution, Problem},
    section::{Section, Template, nearest},
    value,
};

/// Every group.
pub(super) struct Groups<'a>(Vec<Group<'a>>);

struct Group<'a> {
    name: Arc<str>,
    template: Template<'a>,
    place: Place,
    used: Cell<bool>,
}

impl<'a> Groups<'a> {
    /// Every table. `read` reads a peer.
    pub(super) fn read_all<'t, T>(
        root: &mut Section<'a, 't>,
        mut read: impl FnMut(&mut Section<'a, 't>) -> T,
    ) -> Self {
        let groups = root.tables("peer_groups", |section| {
            let name = section.required("name", "name = \"tors\"", value::name);
            let template = section.as_template(&mut read);
            let place = section.place();
            let used = Cell::new(false);
            name.map(|name| (name.place, Group { name: name.value.into(), template, place, used }))
        });
        let mut first: BTreeMap<Arc<str>, Place> = BTreeMap::new();
        let mut kept = Vec::new();
        for (place, group) in groups.into_iter().flatten() {
            if let Some(first) = first.get(&group.name).cloned() {
                let what = format!("the name {:?}", group.name);
                root.fault(place, Problem::Repeated { what, first });
            } else {
                first.insert(Arc::clone(&group.name), place);
                kept.push(group);
            }
        }
        Self(kept)
    }

    /// Lets a peer take over from the group that it names, if it names one; gives its name.
    pub(super) fn join(&self, peer: &mut Section<'a, '_>) -> Option<Arc<str>> {
        let named = peer.optional("group", value::name)?;
        let Some(group) = self.0.iter().find(|group| *group.name == *named.value) else {
            let meant = nearest(&named.value, self.names()).map(str::to_owned);
            let known = self.names().map(str::to_owned).collect();
            peer.fault(named.place, Problem::UnknownGroup { name: named.value, known, meant });
            return None;
        };
        group.used.set(true);
        peer.inherit(&group.template);
        Some(Arc::clone(&group.name))
    }

    /// Warns of groups that nobody has named, once every peer is read.
    pub(super) fn warn_unused(&self, root: &mut Section<'_, '_>) {
        for group in self.0.iter().filter(|group| !group.used.get()) {
            root.warn(group.place.clone(), Caution::UnusedGroup);
        }
    }

    /// Their names, in the order of the file.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> + Clone {
        self.0.iter().map(|group| &*group.name)
    }
}
