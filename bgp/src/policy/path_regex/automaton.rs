//! From the tree of an expression to a table of states, and the run through it.
//!
//! The usual two steps: a nondeterministic automaton with as many states as the expression has
//! parts (Thompson), then the table of its sets of states (subset construction). Both have a
//! limit, so that no expression costs more than a moment and some kilobytes.

use std::{
    collections::BTreeMap,
    ops::ControlFlow::{self, Break, Continue},
};

use super::{Flaw, SYMBOLS, SymbolSet, parse::Node};

/// Most states before sets are formed.
const MAX_PARTS: usize = 2000;
/// Most rows of the table: 147 kB.
const MAX_ROWS: usize = 4096;

/// The table.
pub(super) struct Automaton {
    start: u16,
    /// The row that follows on each symbol.
    rows: Vec<[u16; SYMBOLS]>,
    /// For each row whether a path that ends there matches.
    ends: Vec<bool>,
}

/// No continuation can match.
const DEAD: u16 = 0;
/// A part has matched; the rest does not matter.
const MATCHED: u16 = 1;

impl Automaton {
    /// The table of an expression.
    pub(super) fn new(node: &Node) -> Result<Self, Flaw> {
        let parts = Parts::new(node)?;
        Builder::new(&parts).build()
    }

    /// Before the first symbol.
    pub(super) const fn start(&self) -> Run<'_> {
        Run { automaton: self, row: self.start }
    }
}

/// A path half read.
pub(super) struct Run<'a> {
    automaton: &'a Automaton,
    row: u16,
}

impl Run<'_> {
    /// Reads a symbol; breaks as soon as the answer is known.
    pub(super) fn step(&mut self, symbol: u8) -> ControlFlow<bool> {
        self.row = self.automaton.rows[usize::from(self.row)][usize::from(symbol)];
        match self.row {
            DEAD => Break(false),
            MATCHED => Break(true),
            _ => Continue(()),
        }
    }

    /// The answer if the path ends here.
    pub(super) fn matches_at_end(&self) -> bool {
        self.automaton.ends[usize::from(self.row)]
    }
}

/// A state of the nondeterministic automaton; the numbers are those of the states that follow.
enum Part {
    Symbols(SymbolSet, usize),
    Split(usize, usize),
    /// Goes on only at the start of a path.
    Start(usize),
    /// Goes on only at its end.
    End(usize),
    Accept,
}

struct Parts {
    parts: Vec<Part>,
    entry: usize,
}

impl Parts {
    fn new(node: &Node) -> Result<Self, Flaw> {
        let mut parts = Self { parts: vec![Part::Accept], entry: 0 };
        parts.entry = parts.add(node, 0)?;
        Ok(parts)
    }

    /// Adds a piece that goes on at `next`; gives where it begins.
    fn add(&mut self, node: &Node, next: usize) -> Result<usize, Flaw> {
        match node {
            Node::Empty => Ok(next),
            Node::Symbols(set) => self.push(Part::Symbols(*set, next)),
            Node::Start => self.push(Part::Start(next)),
            Node::End => self.push(Part::End(next)),
            Node::Sequence(nodes) => {
                nodes.iter().rev().try_fold(next, |next, node| self.add(node, next))
            }
            Node::Either(nodes) => {
                let (last, others) = nodes.split_last().ok_or(Flaw::Empty)?;
                let last = self.add(last, next)?;
                others.iter().try_fold(last, |rest, node| {
                    let begin = self.add(node, next)?;
                    self.push(Part::Split(begin, rest))
                })
            }
            Node::Repeat { node, min, max } => self.add_repeat(node, *min, *max, next),
        }
    }

    fn add_repeat(
        &mut self,
        node: &Node,
        min: u32,
        max: Option<u32>,
        next: usize,
    ) -> Result<usize, Flaw> {
        let mut begin = next;
        match max {
            None => {
                let split = self.push(Part::Split(next, next))?;
                let body = self.add(node, split)?;
                self.parts[split] = Part::Split(body, next);
                begin = split;
            }
            Some(max) => {
                for _ in min..max {
                    let body = self.add(node, begin)?;
                    begin = self.push(Part::Split(body, next))?;
                }
            }
        }
        (0..min).try_fold(begin, |begin, _| self.add(node, begin))
    }

    fn push(&mut self, part: Part) -> Result<usize, Flaw> {
        if self.parts.len() == MAX_PARTS {
            return Err(Flaw::TooComplex);
        }
        self.parts.push(part);
        Ok(self.parts.len() - 1)
    }

    /// The states that are reached from these without a symbol, in order and each once; those
    /// that only lead to others are left out.
    fn closure(&self, mut open: Vec<usize>, here: Position) -> Vec<usize> {
        let mut seen = vec![false; self.parts.len()];
        let mut reached = Vec::new();
        while let Some(part) = open.pop() {
            if std::mem::replace(&mut seen[part], true) {
                continue;
            }
            match self.parts[part] {
                Part::Split(one, other) => open.extend([one, other]),
                Part::Start(next) if here.start => open.push(next),
                Part::End(next) if here.end => open.push(next),
                Part::Start(_) => {}
                Part::End(_) | Part::Symbols(..) | Part::Accept => reached.push(part),
            }
        }
        reached.sort_unstable();
        reached
    }

    fn accepts(&self, states: &[usize]) -> bool {
        states.iter().any(|state| matches!(self.parts[*state], Part::Accept))
    }
}

/// Where in the path a set of states is looked at.
#[derive(Clone, Copy)]
struct Position {
    start: bool,
    end: bool,
}

const AT_START: Position = Position { start: true, end: false };
const INSIDE: Position = Position { start: false, end: false };

struct Builder<'p> {
    parts: &'p Parts,
    automaton: Automaton,
    numbers: BTreeMap<Vec<usize>, u16>,
    /// Rows that are not filled in yet, with their sets.
    open: Vec<(u16, Vec<usize>)>,
    /// Where a match may begin at every place but the first.
    anew: Vec<usize>,
}

impl<'p> Builder<'p> {
    fn new(parts: &'p Parts) -> Self {
        let automaton = Automaton {
            start: DEAD,
            rows: vec![[DEAD; SYMBOLS], [MATCHED; SYMBOLS]],
            ends: vec![false, true],
        };
        let anew = parts.closure(vec![parts.entry], INSIDE);
        Self { parts, automaton, numbers: BTreeMap::new(), open: Vec::new(), anew }
    }

    fn build(mut self) -> Result<Automaton, Flaw> {
        let first = self.parts.closure(vec![self.parts.entry], AT_START);
        self.automaton.start = if self.parts.accepts(&first) {
            MATCHED
        } else {
            // Its own row even if the same set comes again: only here the path may be empty.
            self.add_row(first, true)?
        };
        while let Some((row, states)) = self.open.pop() {
            for symbol in 0..SYMBOLS {
                let next = self.after(&states, symbol);
                let number = self.number(next)?;
                self.automaton.rows[usize::from(row)][symbol] = number;
            }
        }
        Ok(self.automaton)
    }

    /// The states after a symbol.
    fn after(&self, states: &[usize], symbol: usize) -> Vec<usize> {
        let symbol = u8::try_from(symbol).expect("there are fewer symbols");
        let followers = states.iter().filter_map(|state| match self.parts.parts[*state] {
            Part::Symbols(set, next) if set.has(symbol) => Some(next),
            Part::Symbols(..) | Part::Split(..) | Part::Start(_) | Part::End(_) | Part::Accept => {
                None
            }
        });
        let open = followers.chain(self.anew.iter().copied()).collect();
        self.parts.closure(open, INSIDE)
    }

    fn number(&mut self, states: Vec<usize>) -> Result<u16, Flaw> {
        if states.is_empty() {
            return Ok(DEAD);
        }
        if self.parts.accepts(&states) {
            return Ok(MATCHED);
        }
        if let Some(number) = self.numbers.get(&states) {
            return Ok(*number);
        }
        let number = self.add_row(states.clone(), false)?;
        self.numbers.insert(states, number);
        Ok(number)
    }

    fn add_row(&mut self, states: Vec<usize>, start: bool) -> Result<u16, Flaw> {
        let number = self.automaton.rows.len();
        if number == MAX_ROWS {
            return Err(Flaw::TooComplex);
        }
        let at_end = self.parts.closure(states.clone(), Position { start, end: true });
        self.automaton.ends.push(self.parts.accepts(&at_end));
        self.automaton.rows.push([DEAD; SYMBOLS]);
        let number = u16::try_from(number).expect("fewer than MAX_ROWS");
        self.open.push((number, states));
        Ok(number)
    }
}
