//! One `[[policies.statements]]` table: conditions, changes, a decision.

use std::{collections::BTreeMap, sync::Arc};

use bgp::policy::{Action, Decision};

use super::{
    Words, action,
    condition::{self, Test},
    decision,
    problem::PolicyCaution,
};
use crate::config::{
    fault::Place,
    problem::{Caution, Problem},
    section::{At, Section},
    value,
};

/// A statement as it was read; policies are put in once all of them are known.
pub(super) struct Draft {
    pub(super) name: Arc<str>,
    pub(super) place: Place,
    pub(super) tests: Vec<Test>,
    pub(super) actions: Vec<Action>,
    pub(super) apply: Option<At<String>>,
    pub(super) decision: Option<Decision>,
}

/// The table.
pub(super) fn read(section: &mut Section<'_, '_>, words: &Words) -> Draft {
    let place = section.place();
    let name = section.optional("name", value::name);
    let tests = condition::read(section, words);
    let actions = section.section("set", |section| action::read(section, words));
    let apply = section.optional("apply", value::name);
    let decision = section.optional("action", decision).map(|at| at.value);
    if !["set", "apply", "action"].iter().any(|key| section.has(key)) {
        section.warn(place.clone(), Caution::Policy(PolicyCaution::IdleStatement));
    }
    let number = place.key.rsplit_once('[').map_or("", |(_, number)| number);
    let name: Arc<str> = match name {
        Some(name) => name.value.into(),
        None => format!("statement {}", number.trim_end_matches(']')).into(),
    };
    Draft { name, place, tests, actions, apply, decision }
}

/// A statement's name is shown when it rejects, so it must be one statement's.
pub(super) fn check_names(section: &mut Section<'_, '_>, statements: &[Draft]) {
    let mut first = BTreeMap::new();
    for Draft { name, place, .. } in statements {
        match first.get(name).cloned() {
            Some(first) => {
                let what = format!("the name {name:?}");
                section.fault(place.clone(), Problem::Repeated { what, first });
            }
            None => {
                first.insert(Arc::clone(name), place.clone());
            }
        }
    }
}
