//! Policies that name other policies: each is made once all that it names are.
//!
//! In: policies as they were read, in the order of the file. Out: the same, compiled, with those
//! that they apply or ask inside; a fault for a name that is nobody's, for a circle, and for
//! more statements than a path should have to pass.

use std::sync::Arc;

use bgp::policy::{Condition, Decision, Policy, Statement};

use super::{condition::Test, problem::PolicyProblem, statement::Draft};
use crate::config::{
    fault::Place,
    section::{At, Section, nearest},
};

/// Most statements that one path may have to pass, those of inner policies each time they are
/// applied: some hundred microseconds.
const MAX_STATEMENTS: usize = 10_000;
/// Deepest nesting; also bounds our own recursion.
const MAX_DEPTH: usize = 16;

/// A policy as it was read.
pub(super) struct Said {
    pub(super) name: Arc<str>,
    pub(super) place: Place,
    pub(super) statements: Vec<Draft>,
    pub(super) default: Decision,
}

/// A policy with where it and its statements stand.
pub(super) struct Made {
    pub(super) policy: Arc<Policy>,
    pub(super) place: Place,
    pub(super) statements: Vec<Place>,
    /// Another policy names it.
    pub(super) named: bool,
}

/// All of them, in the order of the file. A policy that cannot be made complete has its faults
/// recorded, and stands without what is missing.
pub(super) fn link(
    root: &mut Section<'_, '_>,
    built_in: &[Arc<Policy>],
    said: Vec<Said>,
) -> Vec<Made> {
    let names = said.iter().map(|said| Arc::clone(&said.name)).collect();
    let states = said.into_iter().map(State::Waiting).collect();
    let mut linker = Linker { built_in, names, states, open: Vec::new() };
    for number in 0..linker.states.len() {
        linker.make(root, number);
    }
    let made = |state| match state {
        State::Made(made, _) => Some(made),
        State::Waiting(_) | State::Open => None,
    };
    linker.states.into_iter().filter_map(made).collect()
}

struct Linker<'b> {
    built_in: &'b [Arc<Policy>],
    names: Vec<Arc<str>>,
    states: Vec<State>,
    /// Policies that are being made, outermost first.
    open: Vec<usize>,
}

enum State {
    Waiting(Said),
    Open,
    Made(Made, Size),
}

/// What a policy asks of a path at most.
#[derive(Clone, Copy, Default)]
struct Size {
    /// Statements that are tried.
    statements: usize,
    /// Policies inside policies; 0 for none.
    depth: usize,
}

impl Linker<'_> {
    /// Makes a policy that still waits for it.
    fn make(&mut self, root: &mut Section<'_, '_>, number: usize) {
        let said = match std::mem::replace(&mut self.states[number], State::Open) {
            State::Waiting(said) => said,
            other @ (State::Open | State::Made(..)) => {
                self.states[number] = other;
                return;
            }
        };
        self.open.push(number);
        let mut size = Size::default();
        let places = said.statements.iter().map(|draft| draft.place.clone()).collect();
        let statements =
            said.statements.into_iter().map(|draft| self.statement(root, draft, &mut size));
        let mut statements: Vec<_> = statements.collect();
        self.open.pop();
        if size.statements > MAX_STATEMENTS || size.depth > MAX_DEPTH {
            let (most, depth) = (MAX_STATEMENTS, MAX_DEPTH);
            let problem = PolicyProblem::TooLarge { statements: size.statements, most, depth };
            root.fault(said.place.clone(), problem.into());
            // Nobody has to walk through it, nor is it told again for those that name it.
            (statements, size) = (Vec::new(), Size::default());
        }
        let policy = Policy { name: said.name, statements, default: said.default };
        let made =
            Made { policy: Arc::new(policy), place: said.place, statements: places, named: false };
        self.states[number] = State::Made(made, size);
    }

    fn statement(
        &mut self,
        root: &mut Section<'_, '_>,
        draft: Draft,
        size: &mut Size,
    ) -> Statement {
        size.statements = size.statements.saturating_add(1);
        let tests = draft.tests.into_iter();
        let conditions = tests.filter_map(|test| self.condition(root, test, size)).collect();
        let apply = draft.apply.and_then(|name| self.inner(root, &name, size));
        let Draft { name, actions, decision, .. } = draft;
        Statement { name, conditions, actions, apply, decision }
    }

    fn condition(
        &mut self,
        root: &mut Section<'_, '_>,
        test: Test,
        size: &mut Size,
    ) -> Option<Condition> {
        match test {
            Test::Of(condition) => Some(condition),
            Test::Policy(name) => self.inner(root, &name, size).map(Condition::Policy),
            Test::Not(test) => {
                self.condition(root, *test, size).map(|inner| Condition::Not(Box::new(inner)))
            }
        }
    }

    /// The policy that is named inside another, whose size grows by it.
    fn inner(
        &mut self,
        root: &mut Section<'_, '_>,
        name: &At<String>,
        size: &mut Size,
    ) -> Option<Arc<Policy>> {
        let Some(number) = self.names.iter().position(|known| **known == *name.value) else {
            let built_in = self.built_in.iter().find(|policy| *policy.name == *name.value);
            if built_in.is_none() {
                root.fault(name.place.clone(), self.unknown(&name.value).into());
            }
            return built_in.cloned();
        };
        if self.open.len() > MAX_DEPTH {
            // The policies around this one are too deep as well, and will say so.
            size.depth = MAX_DEPTH + 1;
            return None;
        }
        self.make(root, number);
        match &mut self.states[number] {
            State::Made(made, inner) => {
                made.named = true;
                size.statements = size.statements.saturating_add(inner.statements);
                size.depth = size.depth.max(inner.depth + 1);
                Some(Arc::clone(&made.policy))
            }
            State::Open => {
                let begin = self.open.iter().position(|open| *open == number).unwrap_or(0);
                let circle = self.open[begin..].iter().chain([&number]);
                let circle = circle.map(|number| self.names[*number].to_string()).collect();
                root.fault(name.place.clone(), PolicyProblem::Cycle(circle).into());
                None
            }
            State::Waiting(_) => unreachable!("was made above"),
        }
    }

    fn unknown(&self, name: &str) -> PolicyProblem {
        unknown(name, self.built_in.iter().map(|policy| &policy.name).chain(&self.names))
    }
}

/// Nobody has this name.
pub(super) fn unknown<'n>(
    name: &str,
    known: impl Iterator<Item = &'n Arc<str>> + Clone,
) -> PolicyProblem {
    let known = known.map(|name| &**name);
    PolicyProblem::UnknownPolicy {
        name: name.to_owned(),
        meant: nearest(name, known.clone()).map(str::to_owned),
        known: known.map(str::to_owned).collect(),
    }
}
