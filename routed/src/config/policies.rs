//! `[[policies]]`: what comes in and goes out, by name.
//!
//! In: tables of statements. Out: compiled policies, and the ones that need no table: `all`,
//! `none` and `originated`.

mod statement;

use std::{cell::Cell, collections::BTreeMap, sync::Arc};

use bgp::policy::{Decision, Policy};

use super::{
    fault::Place,
    problem::{Caution, Problem},
    section::{At, Section, nearest},
    value,
};

/// Every policy that a peer can name.
pub(super) struct Policies {
    built_in: [Arc<Policy>; 3],
    named: Vec<Named>,
}

struct Named {
    policy: Arc<Policy>,
    place: Place,
    used: Cell<bool>,
}

/// Every table.
pub(super) fn read_all(root: &mut Section<'_, '_>) -> Policies {
    let built_in = [Policy::accept_all(), Policy::reject_all(), Policy::originated()].map(Arc::new);
    let named = root.tables("policies", read);
    let mut policies = Policies { built_in, named: Vec::new() };
    let mut first = BTreeMap::new();
    for named in named.into_iter().flatten() {
        let name = named.policy.name.to_string();
        let place = Place { key: format!("{}.name", named.place.key), ..named.place.clone() };
        if let Some(first) = first.get(&name).cloned() {
            root.fault(place, Problem::Repeated { what: format!("the name {name:?}"), first });
        } else if policies.built_in.iter().any(|policy| *policy.name == *name) {
            root.fault(place, Problem::ReservedName(name));
        } else {
            first.insert(name, place);
            policies.named.push(named);
        }
    }
    policies
}

/// One table; `None` if it has no name to be found by.
fn read(section: &mut Section<'_, '_>) -> Option<Named> {
    let name = section.required("name", "name = \"from-tor\"", value::name);
    let decide = value::word(&["accept", "reject"], [Decision::Accept, Decision::Reject]);
    let default = section.required("default", "default = \"reject\"", decide);
    let policy: Arc<str> = name.as_ref().map_or("", |name| &name.value).into();
    let statements = section.tables("statements", statement::read);
    statement::check_names(section, &statements);
    let named = Named {
        policy: Arc::new(Policy {
            name: policy,
            statements: statements.into_iter().map(|at| at.value).collect(),
            default: default.map_or(Decision::Reject, |at| at.value),
        }),
        place: section.place(),
        used: Cell::new(false),
    };
    name.map(|_| named)
}

impl Policies {
    /// The policy that is named, or a fault in the place where it is.
    pub(super) fn resolve(
        &self,
        section: &mut Section<'_, '_>,
        name: &At<String>,
    ) -> Option<Arc<Policy>> {
        let is_it = |policy: &&Arc<Policy>| *policy.name == *name.value;
        if let Some(named) = self.named.iter().find(|named| is_it(&&named.policy)) {
            named.used.set(true);
            return Some(named.policy.clone());
        }
        let found = self.built_in.iter().find(is_it).cloned();
        if found.is_none() {
            let known: Vec<String> = self.names().map(str::to_owned).collect();
            let meant = nearest(&name.value, self.names()).map(str::to_owned);
            let problem = Problem::UnknownPolicy { name: name.value.clone(), known, meant };
            section.fault(name.place.clone(), problem);
        }
        found
    }

    /// Warns of policies that nobody has named, once every peer is read.
    pub(super) fn warn_unused(&self, root: &mut Section<'_, '_>) {
        for named in self.named.iter().filter(|named| !named.used.get()) {
            root.warn(named.place.clone(), Caution::UnusedPolicy);
        }
    }

    /// Those of the file, in its order.
    pub(super) fn into_named(self) -> Vec<Arc<Policy>> {
        self.named.into_iter().map(|named| named.policy).collect()
    }

    fn names(&self) -> impl Iterator<Item = &str> + Clone {
        let named = self.named.iter().map(|named| &*named.policy.name);
        self.built_in.iter().map(|policy| &*policy.name).chain(named)
    }
}
