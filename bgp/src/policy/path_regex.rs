//! Regular expressions over AS paths, as network engineers write them.
//!
//! In: an expression such as `_65001_` or `^65001 [0-9]+$`, and a path. Out: whether the path,
//! written as routers print it (`65001 65002 {65003,65004}`), has a part that matches. The
//! dialect is that of Cisco and FRR: POSIX extended expressions in which `_` is a boundary.
//!
//! Compiled once into a table of states: a path costs one look-up a character, whatever the
//! expression, and no memory. An expression whose table would be too large is refused.

mod automaton;
mod parse;

use std::{fmt, ops::ControlFlow, str::FromStr, sync::Arc};

use self::automaton::Automaton;
use crate::aspath::{AsPath, Asn, SegmentKind};

/// A regular expression over AS paths. Two are equal if they are written the same.
#[derive(Clone)]
pub struct PathRegex {
    text: Arc<str>,
    automaton: Arc<Automaton>,
}

impl PathRegex {
    /// Does a part of the path match?
    #[must_use]
    pub fn matches(&self, path: &AsPath) -> bool {
        let mut run = self.automaton.start();
        let end = each_symbol(path, &mut |symbol| run.step(symbol));
        end.break_value().unwrap_or_else(|| run.matches_at_end())
    }
}

impl FromStr for PathRegex {
    type Err = BadPathRegex;

    fn from_str(text: &str) -> Result<Self, BadPathRegex> {
        let bad = |(at, flaw)| BadPathRegex { text: text.to_owned(), at, flaw };
        let node = parse::parse(text).map_err(bad)?;
        let automaton = Automaton::new(&node).map_err(|flaw| bad((0, flaw)))?;
        Ok(Self { text: text.into(), automaton: Arc::new(automaton) })
    }
}

impl PartialEq for PathRegex {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for PathRegex {}

impl fmt::Display for PathRegex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for PathRegex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PathRegex({:?})", self.text)
    }
}

/// Text that is no expression over AS paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadPathRegex {
    /// As written.
    pub text: String,
    /// Characters before the place; the length of the text for its end.
    pub at: usize,
    /// What is wrong there.
    pub flaw: Flaw,
}

impl std::error::Error for BadPathRegex {}

impl fmt::Display for BadPathRegex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not an AS path expression: ", self.text)?;
        match &self.flaw {
            Flaw::TooLong | Flaw::TooComplex => {}
            _ if self.at >= self.text.chars().count() => f.write_str("at its end, ")?,
            _ => write!(f, "at character {}, ", self.at + 1)?,
        }
        fmt::Display::fmt(&self.flaw, f)
    }
}

/// What can be wrong with an expression, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// Nothing there.
    #[error("nothing to match; write ^$ for the empty path, .* for any")]
    Empty,
    /// A character that no path has.
    #[error("{0:?} never stands in an AS path; paths have digits, spaces and {{}} () [] ,")]
    NeverThere(char),
    /// An escape of something that needs none.
    #[error("\\{0} is not known; write [0-9] for a digit, _ for a boundary, \\{{ for a brace")]
    Escape(char),
    /// A dot that stands for itself, but not between the halves of an AS number.
    #[error("\\. stands only between the halves of an AS number, as in 64086\\.59905")]
    Dot,
    /// A backslash with nothing after it.
    #[error("nothing after \\")]
    LoneBackslash,
    /// `*` with nothing before it.
    #[error("{0} repeats nothing; put what it repeats before it")]
    RepeatsNothing(char),
    /// `a**`, `a+?`.
    #[error("{0} after another repetition; use one of them, or ( )")]
    RepeatedTwice(char),
    /// `{` without a number.
    #[error("after {{ a number is wanted, as in {{2}} or {{1,3}}; write \\{{ for a set's brace")]
    Bounds,
    /// `{3,2}`.
    #[error("{{{0},{1}}} is an empty range; exchange the numbers")]
    EmptyBounds(u32, u32),
    /// More repetitions than make sense.
    #[error(
        "at most {} repetitions can be asked for; use * or + instead, or \\{{ for a set's brace",
        parse::MAX_REPEAT
    )]
    ManyRepeats,
    /// `(` without `)`.
    #[error("( is not closed; add ), or write \\( for a confederation's parenthesis")]
    OpenGroup,
    /// `)` without `(`.
    #[error(") closes nothing; remove it, or write \\) for a confederation's parenthesis")]
    CloseGroup,
    /// `(?`.
    #[error("groups are plain ( ) here; remove what begins with ?")]
    FancyGroup,
    /// Groups in groups in groups.
    #[error("groups are nested too deeply")]
    Depth,
    /// `[` without `]`.
    #[error("[ is not closed; add ]")]
    OpenClass,
    /// `[]`.
    #[error("nothing between [ and ]; write \\[ for a confederation's bracket")]
    EmptyClass,
    /// `[9-0]`.
    #[error("{0}-{1} is an empty range; exchange the digits")]
    EmptyRange(char, char),
    /// `[65000-65010]`.
    #[error(
        "[{0}] would be a set of digits, not a range of AS numbers; use as_path_contains with \
         \"{0}\" for that"
    )]
    NumberRange(String),
    /// `[[:alpha:]]`.
    #[error("[:{0}:] is not known; use [:digit:], [:space:] or the characters themselves")]
    ClassName(String),
    /// `[= * 65001 * =]`.
    #[error("that is a path mask of BIRD; write it as an expression, such as _65001_")]
    BirdMask,
    /// More than anybody writes by hand.
    #[error("it has more than {} characters; split it", parse::MAX_LENGTH)]
    TooLong,
    /// The table of states would be too large.
    #[error("it needs too many states; use fewer repetitions with bounds, or split it")]
    TooComplex,
}

/// The characters of a path's text; each has a number below this.
const SYMBOLS: usize = 18;

/// Some of those characters: bit n for number n.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct SymbolSet(u32);

impl SymbolSet {
    const NONE: Self = Self(0);
    const DIGITS: Self = Self(0x3FF);
    const ALL: Self = Self((1 << SYMBOLS) - 1);
    /// All but digits: what stands between numbers.
    const BOUNDARIES: Self = Self(Self::ALL.0 & !Self::DIGITS.0);

    const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    const fn inverted(self) -> Self {
        Self(Self::ALL.0 & !self.0)
    }

    const fn has(self, symbol: u8) -> bool {
        self.0 >> symbol & 1 == 1
    }
}

/// The number of a character of paths.
const fn symbol(character: char) -> Option<u8> {
    Some(match character {
        '0'..='9' => character as u8 - b'0',
        ' ' => SPACE,
        ',' => COMMA,
        '{' => 12,
        '}' => 13,
        '(' => 14,
        ')' => 15,
        '[' => 16,
        ']' => 17,
        _ => return None,
    })
}

const SPACE: u8 = 10;
const COMMA: u8 = 11;

/// Tells the characters of the path's text one by one, as `AsPath` is displayed.
fn each_symbol<B>(path: &AsPath, tell: &mut impl FnMut(u8) -> ControlFlow<B>) -> ControlFlow<B> {
    for (i, segment) in path.segments.iter().enumerate() {
        let (open, separator, close) = match segment.kind {
            SegmentKind::Sequence => (None, SPACE, None),
            SegmentKind::Set => (symbol('{'), COMMA, symbol('}')),
            SegmentKind::ConfedSequence => (symbol('('), SPACE, symbol(')')),
            SegmentKind::ConfedSet => (symbol('['), COMMA, symbol(']')),
        };
        let space = (i > 0).then_some(SPACE);
        space.into_iter().chain(open).try_for_each(&mut *tell)?;
        for (j, asn) in segment.asns.iter().enumerate() {
            if j > 0 {
                tell(separator)?;
            }
            each_digit(*asn, tell)?;
        }
        close.into_iter().try_for_each(&mut *tell)?;
    }
    ControlFlow::Continue(())
}

fn each_digit<B>(asn: Asn, tell: &mut impl FnMut(u8) -> ControlFlow<B>) -> ControlFlow<B> {
    // Ten digits hold any 32-bit number.
    let mut digits = [0_u8; 10];
    let mut begin = digits.len();
    let mut rest = asn.0;
    loop {
        begin -= 1;
        digits[begin] = u8::try_from(rest % 10).expect("a digit");
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    digits[begin..].iter().copied().try_for_each(tell)
}

#[cfg(test)]
mod tests;
