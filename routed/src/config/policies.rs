//! `[[policies]]`, with the lists that they name: what comes in and goes out, by name.
//!
//! In: tables of lists and statements. Out: compiled policies, and the ones that need no table:
//! `all`, `none` and `originated`. The language is described in `docs/policy.md`.

mod action;
mod condition;
mod link;
mod lists;
mod prefix;
mod problem;
mod reach;
mod statement;

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    sync::Arc,
};

use bgp::policy::{Decision, Policy};
use toml::de::DeValue;

pub use self::problem::{PolicyCaution, PolicyProblem};
pub(super) use self::reach::Direction;
use self::{
    link::{Made, Said},
    lists::Lists,
};
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
    words: Words,
    /// Lists of policies that were asked for, so that equal lists are one policy.
    chains: RefCell<BTreeMap<Vec<String>, Arc<Policy>>>,
}

struct Named {
    policy: Arc<Policy>,
    place: Place,
    used: Cell<bool>,
}

/// What statements can name besides policies.
struct Words {
    lists: Lists,
    /// Peers that were named; to be looked for once they are read.
    peers: RefCell<Vec<At<String>>>,
    /// Groups of peers that were named.
    groups: RefCell<Vec<At<String>>>,
}

/// Every table.
pub(super) fn read_all(root: &mut Section<'_, '_>) -> Policies {
    let words = Words {
        lists: lists::read_all(root),
        peers: RefCell::default(),
        groups: RefCell::default(),
    };
    let built_in = [Policy::accept_all(), Policy::reject_all(), Policy::originated()].map(Arc::new);
    let said = root.tables("policies", |section| read(section, &words));
    let said = with_own_names(root, &built_in, said.into_iter().flatten());
    let made = link::link(root, &built_in, said);
    for Made { policy, statements, .. } in &made {
        for (place, before) in reach::unreachable(policy, statements) {
            let caution = PolicyCaution::Unreachable(before);
            root.warn(place.clone(), Caution::Policy(caution));
        }
    }
    words.lists.warn_unused(root);
    let named = made.into_iter().map(|made| Named {
        policy: made.policy,
        place: made.place,
        used: Cell::new(made.named),
    });
    Policies { built_in, named: named.collect(), words, chains: RefCell::default() }
}

/// One table; `None` if it has no name to be found by.
fn read(section: &mut Section<'_, '_>, words: &Words) -> Option<Said> {
    let name = section.required("name", "name = \"from-tor\"", value::name);
    let default = section.required("default", "default = \"reject\"", decision);
    let statements = section.tables("statements", |table| statement::read(table, words));
    statement::check_names(section, &statements);
    Some(Said {
        name: name?.value.into(),
        place: section.place(),
        statements,
        default: default.map_or(Decision::Reject, |at| at.value),
    })
}

fn decision(value: &DeValue<'_>) -> Result<Decision, Problem> {
    value::word(
        &["accept", "reject", "next-policy"],
        [Decision::Accept, Decision::Reject, Decision::NextPolicy],
    )(value)
}

/// Those whose name is nobody else's.
fn with_own_names(
    root: &mut Section<'_, '_>,
    built_in: &[Arc<Policy>],
    said: impl Iterator<Item = Said>,
) -> Vec<Said> {
    let mut first: BTreeMap<Arc<str>, Place> = BTreeMap::new();
    let mut kept = Vec::new();
    for said in said {
        let place = Place { key: format!("{}.name", said.place.key), ..said.place.clone() };
        if let Some(first) = first.get(&said.name).cloned() {
            let what = format!("the name {:?}", said.name);
            root.fault(place, Problem::Repeated { what, first });
        } else if built_in.iter().any(|policy| policy.name == said.name) {
            root.fault(place, PolicyProblem::ReservedName(said.name.to_string()).into());
        } else {
            first.insert(Arc::clone(&said.name), place);
            kept.push(said);
        }
    }
    kept
}

/// `import` or `export`: one policy, or several in their order.
pub(super) fn read_names(
    section: &mut Section<'_, '_>,
    direction: Direction,
) -> Option<Vec<At<String>>> {
    let key = match direction {
        Direction::Import => "import",
        Direction::Export => "export",
    };
    check_not_empty(section, key);
    section.one_or_more(key, value::name)
}

impl Policies {
    /// What these names, in this order, come to for paths in this direction; faults and warnings
    /// are recorded in the places where they stand.
    pub(super) fn resolve(
        &self,
        section: &mut Section<'_, '_>,
        names: &[At<String>],
        direction: Direction,
    ) -> Option<Arc<Policy>> {
        let mut policies: Vec<Arc<Policy>> = Vec::new();
        for name in names {
            let policy = self.find(section, name)?;
            if let Some(last) = policies.last().filter(|last| !reach::leaves_paths(last)) {
                let caution = PolicyCaution::NeverAsked(last.name.to_string());
                section.warn(name.place.clone(), Caution::Policy(caution));
            }
            if let Some(unheeded) = reach::unheeded(&policy, direction) {
                let caution = match direction {
                    Direction::Import => PolicyCaution::NoEffectOnImport(unheeded.to_string()),
                    Direction::Export => PolicyCaution::NoEffectOnExport(unheeded.to_string()),
                };
                section.warn(name.place.clone(), Caution::Policy(caution));
            }
            policies.push(policy);
        }
        match &policies[..] {
            [] => None,
            [policy] => Some(Arc::clone(policy)),
            [..] => {
                let key = names.iter().map(|name| name.value.clone()).collect();
                let mut chains = self.chains.borrow_mut();
                let chain = chains.entry(key).or_insert_with(|| Policy::chain(policies).into());
                Some(Arc::clone(chain))
            }
        }
    }

    /// The policy that is named, or a fault in the place where it is.
    fn find(&self, section: &mut Section<'_, '_>, name: &At<String>) -> Option<Arc<Policy>> {
        let is_it = |policy: &&Arc<Policy>| *policy.name == *name.value;
        if let Some(named) = self.named.iter().find(|named| is_it(&&named.policy)) {
            named.used.set(true);
            return Some(named.policy.clone());
        }
        let found = self.built_in.iter().find(is_it).cloned();
        if found.is_none() {
            let named = self.named.iter().map(|named| &named.policy);
            let names = self.built_in.iter().chain(named).map(|policy| &policy.name);
            section.fault(name.place.clone(), link::unknown(&name.value, names).into());
        }
        found
    }

    /// Looks for the peers and groups that statements have named, once all of them are read.
    pub(super) fn check_peers(&self, root: &mut Section<'_, '_>, peers: &[&str], groups: &[&str]) {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let near =
            |name: &str, known: &[&str]| nearest(name, known.iter().copied()).map(str::to_owned);
        for At { value: name, place } in &*self.words.peers.borrow() {
            if !peers.contains(&&**name) {
                let (known, meant) = (owned(peers), near(name, peers));
                let problem = PolicyProblem::UnknownPeer { name: name.clone(), known, meant };
                root.fault(place.clone(), problem.into());
            }
        }
        for At { value: name, place } in &*self.words.groups.borrow() {
            if !groups.contains(&&**name) {
                let (known, meant) = (owned(groups), near(name, groups));
                let problem = Problem::UnknownGroup { name: name.clone(), known, meant };
                root.fault(place.clone(), problem);
            }
        }
    }

    /// Warns of policies that nobody has named, once every peer is read.
    pub(super) fn warn_unused(&self, root: &mut Section<'_, '_>) {
        for named in self.named.iter().filter(|named| !named.used.get()) {
            root.warn(named.place.clone(), Caution::Policy(PolicyCaution::UnusedPolicy));
        }
    }

    /// Those of the file, in its order.
    pub(super) fn into_named(self) -> Vec<Arc<Policy>> {
        self.named.into_iter().map(|named| named.policy).collect()
    }
}

impl Words {
    /// Names of peers, under this key.
    fn peers(&self, section: &mut Section<'_, '_>, key: &'static str) -> Option<Vec<Arc<str>>> {
        names(section, key, &self.peers)
    }

    /// Names of groups of peers, under this key.
    fn groups(&self, section: &mut Section<'_, '_>, key: &'static str) -> Option<Vec<Arc<str>>> {
        names(section, key, &self.groups)
    }
}

fn names(
    section: &mut Section<'_, '_>,
    key: &'static str,
    asked: &RefCell<Vec<At<String>>>,
) -> Option<Vec<Arc<str>>> {
    check_not_empty(section, key);
    let names = section.one_or_more(key, value::name)?;
    let list = names.iter().map(|name| (*name.value).into()).collect();
    asked.borrow_mut().extend(names);
    Some(list)
}

/// One value, or a list of at least one: an empty one would match nothing.
fn one_or_more<T>(
    section: &mut Section<'_, '_>,
    key: &'static str,
    read: impl FnMut(&DeValue<'_>) -> Result<T, Problem>,
) -> Option<Vec<T>> {
    check_not_empty(section, key);
    let list = section.one_or_more(key, read)?;
    Some(list.into_iter().map(|at| at.value).collect())
}

fn check_not_empty(section: &mut Section<'_, '_>, key: &'static str) {
    if section.has(key) && section.is_empty_list(key) {
        let remedy = "give at least one value, or remove the key";
        section.fault(section.place_of(key), Problem::EmptyValue(remedy));
    }
}
