//! Faults and warnings with their places, collected while the file is read.
//!
//! In: places and problems as the sections find them. Out: [`Invalid`] with all of them in the
//! order of the file, one line each, or the configuration with its warnings.

use std::{
    cell::RefCell,
    fmt,
    path::{Path, PathBuf},
    str::Utf8Error,
};

use serde::Serialize;

use super::{
    Config, Loaded,
    problem::{Caution, Problem},
};

/// Where something stands: the key with its sections, and the position in the file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Place {
    /// Such as `peers[2].hold_time`, counted from 0; empty for the file as a whole.
    pub key: String,
    /// From 1; `None` if the key is not in the file.
    pub line: Option<usize>,
    /// From 1, in characters; only where the text itself is broken.
    pub column: Option<usize>,
}

impl Place {
    /// The file as such.
    #[must_use]
    pub const fn whole_file() -> Self {
        Self { key: String::new(), line: None, column: None }
    }
}

/// `:LINE:COLUMN: KEY: ` with what there is of it, to stand after the file's name.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for number in [self.line, self.column].into_iter().flatten() {
            write!(f, ":{number}")?;
        }
        f.write_str(": ")?;
        if self.key.is_empty() { Ok(()) } else { write!(f, "{}: ", self.key) }
    }
}

/// Something that makes the file unusable.
#[derive(Debug)]
pub struct Fault {
    /// Where.
    pub place: Place,
    /// What, and the remedy.
    pub problem: Problem,
}

/// Something that is allowed and perhaps not meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Where.
    pub place: Place,
    /// What, and the remedy.
    pub caution: Caution,
}

/// A file that gives no [`Config`], with everything that was found in it.
#[derive(Debug)]
pub struct Invalid {
    /// The file as it was named.
    pub file: PathBuf,
    /// In the order of the file; never empty.
    pub faults: Vec<Fault>,
    /// In the order of the file.
    pub warnings: Vec<Warning>,
}

impl std::error::Error for Invalid {}

/// One line a fault: `routed.toml:12: peers[2].hold_time: …`.
impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, fault) in self.faults.iter().enumerate() {
            let end = if i == 0 { "" } else { "\n" };
            write!(f, "{end}{}{}{}", self.file.display(), fault.place, fault.problem)?;
        }
        Ok(())
    }
}

impl Invalid {
    pub(super) fn whole_file(file: &Path, problem: Problem) -> Self {
        let fault = Fault { place: Place::whole_file(), problem };
        Self { file: file.to_path_buf(), faults: vec![fault], warnings: Vec::new() }
    }

    pub(super) fn not_utf8(file: &Path, octets: &[u8], error: Utf8Error) -> Self {
        let before = String::from_utf8_lossy(&octets[..error.valid_up_to()]);
        let mut invalid = Self::whole_file(file, Problem::NotUtf8);
        invalid.faults[0].place = position(&before, before.len());
        invalid
    }
}

/// What the sections have found so far. Every section writes here while others are being read.
pub(super) struct Findings<'t> {
    text: &'t str,
    /// Where the lines end: every key is looked up here, thousands in a large file.
    newlines: Vec<usize>,
    faults: RefCell<Vec<Found<Fault>>>,
    warnings: RefCell<Vec<Found<Warning>>>,
}

/// Something found in a template is found once for each of those that take over from it.
struct Found<T> {
    what: T,
    /// Who took over the value, as in `peers[2]`; empty for a value that stands for itself.
    heirs: Vec<String>,
}

impl<'t> Findings<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        let newlines = text.match_indices('\n').map(|(at, _)| at).collect();
        Self { text, newlines, faults: RefCell::default(), warnings: RefCell::default() }
    }

    /// `heir`: who took over the value that stands in the place.
    pub(super) fn fault(&self, place: Place, problem: Problem, heir: Option<String>) {
        let mut faults = self.faults.borrow_mut();
        let text = heir.is_some().then(|| problem.to_string());
        let known = faults.iter_mut().find(|known| {
            !known.heirs.is_empty()
                && known.what.place == place
                && text.as_ref().is_some_and(|text| *text == known.what.problem.to_string())
        });
        match known {
            Some(known) => known.heirs.extend(heir),
            None => {
                let heirs = heir.into_iter().collect();
                faults.push(Found { what: Fault { place, problem }, heirs });
            }
        }
    }

    /// `heir`: as for faults.
    pub(super) fn warn(&self, place: Place, caution: Caution, heir: Option<String>) {
        let warning = Warning { place, caution };
        let mut warnings = self.warnings.borrow_mut();
        let known =
            warnings.iter_mut().find(|known| !known.heirs.is_empty() && known.what == warning);
        match known.filter(|_| heir.is_some()) {
            Some(known) => known.heirs.extend(heir),
            None => warnings.push(Found { what: warning, heirs: heir.into_iter().collect() }),
        }
    }

    /// Line of an octet of the text, from 1.
    pub(super) fn line(&self, offset: usize) -> usize {
        self.newlines.partition_point(|newline| *newline < offset) + 1
    }

    /// Line and column of an octet of the text.
    pub(super) fn position(&self, offset: usize) -> Place {
        position(self.text, offset)
    }

    pub(super) fn is_faultless(&self) -> bool {
        self.faults.borrow().is_empty()
    }

    /// `config` may be there in spite of faults: values that were refused have stand-ins.
    pub(super) fn finish(self, file: &Path, config: Option<Config>) -> Result<Loaded, Invalid> {
        let Self { faults, warnings, text: _, newlines: _ } = self;
        let named = |place: Place, heirs: &[String]| Place { key: place.key + &of(heirs), ..place };
        let fault = |Found { what: Fault { place, problem }, heirs }| Fault {
            place: named(place, &heirs),
            problem,
        };
        let warning = |Found { what: Warning { place, caution }, heirs }| Warning {
            place: named(place, &heirs),
            caution,
        };
        let mut faults: Vec<Fault> = faults.into_inner().into_iter().map(fault).collect();
        let mut warnings: Vec<Warning> = warnings.into_inner().into_iter().map(warning).collect();
        faults.sort_by_key(|fault| (fault.place.line, fault.place.column));
        warnings.sort_by_key(|warning| warning.place.line);
        match config {
            Some(config) if faults.is_empty() => Ok(Loaded { config, warnings }),
            Some(_) | None => Err(Invalid { file: file.to_path_buf(), faults, warnings }),
        }
    }
}

/// ` (for peers[0], peers[1])`: whom a value is wrong for that stands somewhere else.
fn of(heirs: &[String]) -> String {
    match heirs {
        [] => String::new(),
        [a, b, c, _, more @ ..] => format!(" (for {a}, {b}, {c} and {} more)", more.len() + 1),
        few => format!(" (for {})", few.join(", ")),
    }
}

fn position(text: &str, offset: usize) -> Place {
    let before = &text[..text.floor_char_boundary(offset)];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    Place {
        key: String::new(),
        line: Some(before.matches('\n').count() + 1),
        column: Some(before[line_start..].chars().count() + 1),
    }
}
