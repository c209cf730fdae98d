//! From the text of an expression to its tree.
//!
//! Errors carry the number of characters before the place, and say what to write instead.

use super::{Flaw, SymbolSet, symbol};
use crate::aspath::Asn;

/// Longest expression, in characters: far more than anybody writes.
pub(super) const MAX_LENGTH: usize = 1000;
/// Most repetitions that `{n}` can ask for: a path of more hops is a mistake elsewhere.
pub(super) const MAX_REPEAT: u32 = 64;
/// Deepest nesting of groups; bounds our own recursion.
const MAX_DEPTH: usize = 32;

/// An expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Node {
    /// Matches between any two characters.
    Empty,
    /// One of these characters.
    Symbols(SymbolSet),
    /// The path begins here.
    Start,
    /// The path ends here.
    End,
    /// One after the other.
    Sequence(Vec<Self>),
    /// One of them.
    Either(Vec<Self>),
    /// The same several times; `max` of `None` is any number.
    Repeat { node: Box<Self>, min: u32, max: Option<u32> },
}

type Fault = (usize, Flaw);

/// The tree of an expression.
pub(super) fn parse(text: &str) -> Result<Node, Fault> {
    let characters: Vec<char> = text.chars().collect();
    if characters.is_empty() {
        return Err((0, Flaw::Empty));
    }
    if characters.len() > MAX_LENGTH {
        return Err((0, Flaw::TooLong));
    }
    let mut parser = Parser { text: &characters, at: 0, depth: 0 };
    let node = parser.either()?;
    match parser.peek() {
        None => Ok(node),
        // Only a parenthesis ends an alternative before its end.
        Some(_) => Err((parser.at, Flaw::CloseGroup)),
    }
}

struct Parser<'t> {
    text: &'t [char],
    at: usize,
    depth: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<char> {
        self.text.get(self.at).copied()
    }

    fn take(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        self.at += usize::from(found);
        found
    }

    /// Alternatives, up to the end or an unmatched `)`.
    fn either(&mut self) -> Result<Node, Fault> {
        let mut branches = vec![self.sequence()?];
        while self.take('|') {
            branches.push(self.sequence()?);
        }
        Ok(one_or(branches, Node::Either))
    }

    fn sequence(&mut self) -> Result<Node, Fault> {
        let mut nodes = Vec::new();
        while !matches!(self.peek(), None | Some('|' | ')')) {
            let atom = self.atom()?;
            nodes.push(self.repeated(atom)?);
        }
        Ok(one_or(nodes, Node::Sequence))
    }

    fn atom(&mut self) -> Result<Node, Fault> {
        if let Some(number) = self.dotted_number() {
            return Ok(number);
        }
        let at = self.at;
        let Some(character) = self.peek() else { return Ok(Node::Empty) };
        self.at += 1;
        match character {
            '^' => Ok(Node::Start),
            '$' => Ok(Node::End),
            '_' => {
                Ok(Node::Either(vec![Node::Start, Node::End, Node::Symbols(SymbolSet::BOUNDARIES)]))
            }
            '.' => Ok(Node::Symbols(SymbolSet::ALL)),
            '(' => self.group(at),
            '[' => self.class(at),
            '*' | '+' | '?' => Err((at, Flaw::RepeatsNothing(character))),
            '{' => Err((at, Flaw::Bounds)),
            '\\' => self.escaped(at),
            other => literal(other).ok_or((at, Flaw::NeverThere(other))),
        }
    }

    /// `64086\.59905`: paths are printed plain, so it stands for that number (RFC 5396).
    fn dotted_number(&mut self) -> Option<Node> {
        let digits = |from: usize| {
            let rest = self.text.get(from..).unwrap_or_default();
            rest.iter().take_while(|character| character.is_ascii_digit()).count()
        };
        let high = digits(self.at);
        let dot = self.at + high;
        if high == 0 || self.text.get(dot..dot + 2) != Some(&['\\', '.']) {
            return None;
        }
        let end = dot + 2 + digits(dot + 2);
        let text: String =
            self.text[self.at..end].iter().filter(|character| **character != '\\').collect();
        let asn: Asn = text.parse().ok()?;
        self.at = end;
        Some(Node::Sequence(asn.to_string().chars().filter_map(literal).collect()))
    }

    fn escaped(&mut self, at: usize) -> Result<Node, Fault> {
        let Some(character) = self.peek() else { return Err((at, Flaw::LoneBackslash)) };
        self.at += 1;
        match character {
            '.' => Err((at, Flaw::Dot)),
            digit if digit.is_ascii_digit() => Err((at, Flaw::Escape(digit))),
            other => literal(other).ok_or((at, Flaw::Escape(other))),
        }
    }

    fn group(&mut self, at: usize) -> Result<Node, Fault> {
        if self.peek() == Some('?') {
            return Err((at, Flaw::FancyGroup));
        }
        if self.depth == MAX_DEPTH {
            return Err((at, Flaw::Depth));
        }
        self.depth += 1;
        let node = self.either()?;
        self.depth -= 1;
        if self.take(')') { Ok(node) } else { Err((at, Flaw::OpenGroup)) }
    }

    /// `[…]`, of which the bracket has been taken. `at` is where it stands.
    fn class(&mut self, at: usize) -> Result<Node, Fault> {
        if self.peek() == Some('=') {
            return Err((at, Flaw::BirdMask));
        }
        self.refuse_number_range(at)?;
        let inverted = self.take('^');
        let mut set = SymbolSet::NONE;
        let first = self.at;
        loop {
            let place = self.at;
            let Some(character) = self.peek() else { return Err((at, Flaw::OpenClass)) };
            self.at += 1;
            match character {
                ']' if set != SymbolSet::NONE => break,
                // POSIX takes a first bracket literally; we do not, since it is always a slip.
                ']' => return Err((first, Flaw::EmptyClass)),
                '[' if self.peek() == Some(':') => set = set.with(self.named_class(place)?),
                _ => set = set.with(self.class_range(place, character)?),
            }
        }
        Ok(Node::Symbols(if inverted { set.inverted() } else { set }))
    }

    /// A character of a class or, with `-` after it, a range of digits.
    fn class_range(&mut self, at: usize, character: char) -> Result<SymbolSet, Fault> {
        let character = if character == '\\' {
            let Some(escaped) = self.peek() else { return Err((at, Flaw::LoneBackslash)) };
            self.at += 1;
            escaped
        } else {
            character
        };
        // In a class a boundary is the characters that stand between numbers.
        if character == '_' {
            return Ok(SymbolSet::BOUNDARIES);
        }
        let first = symbol(character).ok_or((at, Flaw::NeverThere(character)))?;
        let range = self.peek() == Some('-') && self.text.get(self.at + 1) != Some(&']');
        if !range {
            return Ok(SymbolSet(1 << first));
        }
        let Some(&end) = self.text.get(self.at + 1) else { return Err((at, Flaw::OpenClass)) };
        self.at += 2;
        let is_digit = |character: char| character.is_ascii_digit();
        match (character, end) {
            (from, to) if !is_digit(from) => Err((at, Flaw::EmptyRange(from, to))),
            (_, to) if !is_digit(to) => Err((at + 2, Flaw::NeverThere(to))),
            (from, to) if from > to => Err((at, Flaw::EmptyRange(from, to))),
            (from, to) => {
                let digits = (from..=to).filter_map(symbol);
                Ok(digits.fold(SymbolSet::NONE, |set, digit| set.with(SymbolSet(1 << digit))))
            }
        }
    }

    /// `[65000-65010]` is not what its writer means.
    fn refuse_number_range(&self, at: usize) -> Result<(), Fault> {
        let inside: String =
            self.text[self.at..].iter().take_while(|character| **character != ']').collect();
        let is_number =
            |text: &str| text.len() > 1 && text.chars().all(|digit| digit.is_ascii_digit());
        match inside.split_once('-') {
            Some((from, to)) if is_number(from) && is_number(to) => {
                Err((at, Flaw::NumberRange(inside)))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// `[:digit:]` within a class.
    fn named_class(&mut self, at: usize) -> Result<SymbolSet, Fault> {
        let rest = &self.text[self.at + 1..];
        let Some(length) = rest.windows(2).position(|pair| pair == [':', ']']) else {
            return Err((at, Flaw::OpenClass));
        };
        let name: String = rest[..length].iter().collect();
        self.at += 1 + length + 2;
        match &*name {
            "digit" => Ok(SymbolSet::DIGITS),
            "space" | "blank" => Ok(SymbolSet(1 << super::SPACE)),
            _ => Err((at, Flaw::ClassName(name))),
        }
    }

    /// What follows a piece: nothing, or one repetition.
    fn repeated(&mut self, node: Node) -> Result<Node, Fault> {
        let (min, max) = match self.peek() {
            Some('*') => (0, None),
            Some('+') => (1, None),
            Some('?') => (0, Some(1)),
            Some('{') => self.bounds()?,
            Some(_) | None => return Ok(node),
        };
        self.at += 1;
        if let Some(again @ ('*' | '+' | '?' | '{')) = self.peek() {
            return Err((self.at, Flaw::RepeatedTwice(again)));
        }
        Ok(Node::Repeat { node: Box::new(node), min, max })
    }

    /// `{2}`, `{2,}`, `{2,4}`; the closing brace is left.
    fn bounds(&mut self) -> Result<(u32, Option<u32>), Fault> {
        let at = self.at;
        self.at += 1;
        let min = self.count()?.ok_or((at, Flaw::Bounds))?;
        let max = if self.take(',') { self.count()? } else { Some(min) };
        if self.peek() != Some('}') {
            return Err((at, Flaw::Bounds));
        }
        match max {
            Some(max) if max < min => Err((at, Flaw::EmptyBounds(min, max))),
            max => Ok((min, max)),
        }
    }

    fn count(&mut self) -> Result<Option<u32>, Fault> {
        let at = self.at;
        let mut number = None;
        while let Some(digit) = self.peek().and_then(|character| character.to_digit(10)) {
            self.at += 1;
            let value = number.unwrap_or(0) * 10 + digit;
            if value > MAX_REPEAT {
                return Err((at, Flaw::ManyRepeats));
            }
            number = Some(value);
        }
        Ok(number)
    }
}

/// A character that stands for itself.
fn literal(character: char) -> Option<Node> {
    symbol(character).map(|symbol| Node::Symbols(SymbolSet(1 << symbol)))
}

fn one_or(mut nodes: Vec<Node>, many: impl FnOnce(Vec<Node>) -> Node) -> Node {
    match nodes.len() {
        0 => Node::Empty,
        1 => nodes.remove(0),
        _ => many(nodes),
    }
}
