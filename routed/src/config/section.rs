//! Reading a TOML table key by key, remembering where each value stands.
//!
//! In: a parsed document. Out: values with their places; for every key that is missing, of
//! another type, refused by its reader, or asked for by nobody, a fault. Reading goes on after
//! each fault, so that one run finds them all.

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    fault::{Findings, Place},
    problem::{Caution, Hint, Problem},
};

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) place: Place,
}

/// Parses the text and reads it as one section. `None` if it is no TOML.
pub(super) fn document<T>(
    text: &str,
    findings: &Findings<'_>,
    read: impl FnOnce(&mut Section<'_, '_>) -> Option<T>,
) -> Option<T> {
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let offset = error.span().map_or(text.len(), |span| span.start);
        let place = findings.position(offset);
        let last = findings.position(text.trim_end().len());
        let of_last_line = place.line >= last.line;
        let problem = if of_last_line { Problem::CutOff } else { Problem::Syntax };
        findings.fault(place, problem(error), None);
    }
    if !findings.is_faultless() {
        // Half a document would give a second, misleading fault for everything that is cut off.
        return None;
    }
    let table = document.get_ref();
    if table.is_empty() {
        findings.fault(Place::whole_file(), Problem::Empty, None);
        return None;
    }
    Section {
        findings,
        table: Some(table),
        place: Place::whole_file(),
        role: Role::Own,
        asked: Vec::new(),
    }
    .read(read)
}

/// One table. An absent one reads as empty.
pub(super) struct Section<'a, 't> {
    findings: &'a Findings<'t>,
    table: Option<&'a DeTable<'a>>,
    place: Place,
    role: Role<'a>,
    /// Keys that somebody reads.
    asked: Vec<&'static str>,
}

/// A table whose values others take over.
#[derive(Clone)]
pub(super) struct Template<'a> {
    table: Option<&'a DeTable<'a>>,
    place: Place,
}

/// How a table stands to templates.
///
/// A value in a template is read twice: once for itself, when faults of the value alone are
/// found, and once for each heir, when it turns out whether it fits there.
#[derive(Clone)]
enum Role<'a> {
    /// Stands for itself.
    Own,
    /// Is a template: whether its values fit together is not to be judged here.
    Template,
    /// Stands inside a template.
    InTemplate,
    /// Takes over what it does not say itself.
    Heir(Template<'a>),
    /// Stands inside a template and is read for this heir.
    TakenOver { heir: String },
}

/// Keys that say which peer is meant; no template can say that.
const IDENTITY: [&str; 4] = ["name", "address", "interface", "group"];

impl<'a, 't> Section<'a, 't> {
    /// Records a fault.
    pub(super) fn fault(&mut self, place: Place, problem: Problem) {
        match self.role {
            Role::Template | Role::InTemplate => {}
            Role::Own | Role::Heir(_) | Role::TakenOver { .. } => {
                let heir = self.heir_of(&place);
                self.findings.fault(place, problem, heir);
            }
        }
    }

    /// Records a warning.
    pub(super) fn warn(&mut self, place: Place, caution: Caution) {
        match self.role {
            Role::Template | Role::InTemplate => {}
            Role::Own | Role::Heir(_) | Role::TakenOver { .. } => {
                let heir = self.heir_of(&place);
                self.findings.warn(place, caution, heir);
            }
        }
    }

    /// Reads the section as one whose values others may take over, with the reader of those
    /// others. Faults of single values and unknown keys are found; what `read` gives is of no
    /// use, since a template need not be complete.
    pub(super) fn as_template<T>(&mut self, read: impl FnOnce(&mut Self) -> T) -> Template<'a> {
        self.role = Role::Template;
        read(self);
        // The others were asked for in vain; the template has a name of its own.
        self.asked.retain(|key| *key == "name" || !IDENTITY.contains(key));
        Template { table: self.table, place: self.place() }
    }

    /// From now on, takes over from the template what the section does not say itself.
    pub(super) fn inherit(&mut self, template: &Template<'a>) {
        self.role = Role::Heir(template.clone());
    }

    /// The value of a key, if it is there and good.
    pub(super) fn optional<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&DeValue<'_>) -> Result<T, Problem>,
    ) -> Option<At<T>> {
        let value = self.find(key)?;
        self.judge(key, self.place_of(key), read(value.get_ref()))
    }

    /// The value of a key that must be there; `example` shows how to write it.
    pub(super) fn required<T>(
        &mut self,
        key: &'static str,
        example: &'static str,
        read: impl FnOnce(&DeValue<'_>) -> Result<T, Problem>,
    ) -> Option<At<T>> {
        if self.find(key).is_none() {
            self.fault(self.place_of(key), Problem::Missing(example));
        }
        self.optional(key, read)
    }

    /// The value of a key, or its default.
    pub(super) fn or<T>(
        &mut self,
        key: &'static str,
        default: T,
        read: impl FnOnce(&DeValue<'_>) -> Result<T, Problem>,
    ) -> T {
        self.optional(key, read).map_or(default, |at| at.value)
    }

    /// The good elements of a list, if the key is there and a list.
    pub(super) fn list<T>(
        &mut self,
        key: &'static str,
        mut read: impl FnMut(&DeValue<'_>) -> Result<T, Problem>,
    ) -> Option<Vec<At<T>>> {
        let value = self.find(key)?;
        let Some(elements) = value.get_ref().as_array() else {
            let problem = wrong_type("a list, as in [\"...\"]", value.get_ref());
            return self.judge::<Vec<_>>(key, self.place_of(key), Err(problem)).map(|at| at.value);
        };
        let mut list = Vec::with_capacity(elements.len());
        for (i, element) in elements.iter().enumerate() {
            let place = self.element_place(key, i, element);
            list.extend(self.judge(key, place, read(element.get_ref())));
        }
        Some(list)
    }

    /// The good elements of a list, or one value in place of a list of one.
    pub(super) fn one_or_more<T>(
        &mut self,
        key: &'static str,
        mut read: impl FnMut(&DeValue<'_>) -> Result<T, Problem>,
    ) -> Option<Vec<At<T>>> {
        if self.look(key).is_some_and(|value| value.get_ref().is_array()) {
            return self.list(key, read);
        }
        self.optional(key, &mut read).map(|at| vec![at])
    }

    /// A table inside this one.
    pub(super) fn section<T>(&mut self, key: &'static str, read: impl FnOnce(&mut Self) -> T) -> T {
        let table = self.find(key).and_then(|value| {
            let wrong = || wrong_type("a table", value.get_ref());
            let table = value.get_ref().as_table().ok_or_else(wrong);
            self.judge(key, self.place_of(key), table).map(|at| at.value)
        });
        self.inner(key, table, self.place_of(key)).read(read)
    }

    /// Each table of a list of tables.
    pub(super) fn tables<T>(
        &mut self,
        key: &'static str,
        mut read: impl FnMut(&mut Self) -> T,
    ) -> Vec<T> {
        let Some(value) = self.find(key) else { return Vec::new() };
        let Some(elements) = value.get_ref().as_array() else {
            let problem = wrong_type("a list of tables, each begun with [[...]]", value.get_ref());
            self.judge::<()>(key, self.place_of(key), Err(problem));
            return Vec::new();
        };
        let mut list = Vec::with_capacity(elements.len());
        for (i, element) in elements.iter().enumerate() {
            let place = self.element_place(key, i, element);
            let Some(table) = element.get_ref().as_table() else {
                self.judge::<()>(key, place, Err(wrong_type("a table", element.get_ref())));
                continue;
            };
            list.push(self.inner(key, Some(table), place).read(&mut read));
        }
        list
    }

    /// True if the key is in the file, in this table or in its template. Does not count as
    /// reading it.
    pub(super) fn has(&self, key: &str) -> bool {
        self.look(key).is_some()
    }

    /// True if the key is in the file and a table.
    pub(super) fn has_table(&self, key: &str) -> bool {
        self.look(key).is_some_and(|value| value.get_ref().is_table())
    }

    /// True if the list has no elements or is not there.
    pub(super) fn is_empty_list(&self, key: &str) -> bool {
        let value = self.look(key).map(Spanned::get_ref);
        value.is_none_or(|value| value.as_array().is_some_and(|list| list.is_empty()))
    }

    /// True if no fault was found in the file so far.
    pub(super) fn is_faultless(&self) -> bool {
        self.findings.is_faultless()
    }

    /// True if the section itself is in the file, and a table.
    pub(super) const fn exists(&self) -> bool {
        self.table.is_some()
    }

    /// Where the section begins.
    pub(super) fn place(&self) -> Place {
        self.place.clone()
    }

    /// Where the key stands, or would.
    pub(super) fn place_of(&self, key: &str) -> Place {
        let (table, place) = match self.taken_over(key) {
            Some(template) => (template.table, &template.place),
            None => (self.table, &self.place),
        };
        let found = table.and_then(|table| table.get_key_value(key));
        let line = found.map(|(key, _)| self.findings.line(key.span().start));
        Place { key: inside(place, key), line: line.or(place.line), column: None }
    }

    fn read<T>(mut self, read: impl FnOnce(&mut Self) -> T) -> T {
        let value = read(&mut self);
        self.finish();
        value
    }

    /// A table under a key.
    fn inner(&self, key: &str, table: Option<&'a DeTable<'a>>, place: Place) -> Self {
        let role = match &self.role {
            Role::Own => Role::Own,
            Role::Template | Role::InTemplate => Role::InTemplate,
            Role::Heir(_) if self.taken_over(key).is_none() => Role::Own,
            Role::Heir(_) => Role::TakenOver { heir: self.place.key.clone() },
            Role::TakenOver { heir } => Role::TakenOver { heir: heir.clone() },
        };
        Section { findings: self.findings, table, place, role, asked: Vec::new() }
    }

    fn find(&mut self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        if !self.asked.contains(&key) {
            self.asked.push(key);
        }
        if matches!(self.role, Role::Template) && IDENTITY.contains(&key) {
            return None;
        }
        self.look(key)
    }

    fn look(&self, key: &str) -> Option<&'a Spanned<DeValue<'a>>> {
        let table = self.taken_over(key).map_or(self.table, |template| template.table);
        table?.get(key)
    }

    /// The template from which this key is taken over.
    fn taken_over(&self, key: &str) -> Option<&Template<'a>> {
        let Role::Heir(template) = &self.role else { return None };
        let said = self.table.is_some_and(|table| table.contains_key(key));
        let there = template.table.is_some_and(|table| table.contains_key(key));
        (there && !said && !IDENTITY.contains(&key)).then_some(template)
    }

    /// Who must be named beside a place in a template.
    fn heir_of(&self, place: &Place) -> Option<String> {
        match &self.role {
            Role::Own | Role::Template | Role::InTemplate => None,
            Role::Heir(template) => {
                let rest = place.key.strip_prefix(&template.place.key)?;
                rest.starts_with('.').then(|| self.place.key.clone())
            }
            Role::TakenOver { heir } => Some(heir.clone()),
        }
    }

    /// What the reader of a single value says. A value in a template was judged with the template.
    fn judge<T>(&mut self, key: &str, place: Place, result: Result<T, Problem>) -> Option<At<T>> {
        match result {
            Ok(value) => Some(At { value, place }),
            Err(problem) => {
                let known = matches!(self.role, Role::TakenOver { .. });
                if !known && self.taken_over(key).is_none() {
                    self.findings.fault(place, problem, None);
                }
                None
            }
        }
    }

    fn element_place(&self, key: &str, index: usize, element: &Spanned<DeValue<'_>>) -> Place {
        let line = Some(self.findings.line(element.span().start));
        Place { key: format!("{}[{index}]", self.place_of(key).key), line, column: None }
    }

    /// Every key that nobody read is a fault.
    fn finish(self) {
        let known = matches!(self.role, Role::TakenOver { .. });
        let Some(table) = self.table.filter(|_| !known) else { return };
        for key in table.keys().filter(|key| !self.asked.contains(&&**key.get_ref())) {
            let name: &str = key.get_ref();
            let is_template = matches!(self.role, Role::Template);
            let own = IDENTITY.into_iter().find(|own| is_template && *own == name);
            let problem = match own {
                Some(own) => Problem::Identity(own),
                None => Problem::UnknownKey(
                    nearest(name, self.asked.iter().copied())
                        .map_or_else(|| Hint::Known(self.asked.clone()), Hint::DidYouMean),
                ),
            };
            self.findings.fault(self.place_of(name), problem, None);
        }
    }
}

/// The path of a key inside a table.
fn inside(table: &Place, key: &str) -> String {
    if table.key.is_empty() { key.to_owned() } else { format!("{}.{key}", table.key) }
}

/// The fault of a value of another type.
pub(super) fn wrong_type(wanted: &'static str, found: &DeValue<'_>) -> Problem {
    Problem::WrongType { wanted, found: found.type_str() }
}

/// The word that was probably meant: one that needs few changes, or that contains the word.
pub(super) fn nearest<'w>(
    word: &str,
    mut known: impl Iterator<Item = &'w str> + Clone,
) -> Option<&'w str> {
    let close = known.clone().map(|other| (distance(word, other), other)).min();
    let limit = (word.chars().count() / 3).max(1);
    close
        .filter(|(changes, _)| *changes <= limit)
        .map(|(_, other)| other)
        .or_else(|| known.find(|other| word.len() > 2 && other.starts_with(word)))
}

/// Levenshtein distance: characters to insert, remove or replace.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_needs_few_changes_or_begins_the_same() {
        let known = ["hold_time", "keepalive_time", "password_file", "asn", "port"];
        let near = |word| nearest(word, known.into_iter());
        assert_eq!(near("hold_tiem"), Some("hold_time"));
        assert_eq!(near("holdtime"), Some("hold_time"));
        assert_eq!(near("password"), Some("password_file"));
        assert_eq!(near("as"), Some("asn"));
        assert_eq!(near("ports"), Some("port"));
        assert_eq!(near("neighbor"), None);
    }
}
