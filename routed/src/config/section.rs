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
    findings: &mut Findings<'_>,
    read: impl FnOnce(&mut Section<'_, '_>) -> Option<T>,
) -> Option<T> {
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let offset = error.span().map_or(text.len(), |span| span.start);
        let place = findings.position(offset);
        let last = findings.position(text.trim_end().len());
        let of_last_line = place.line >= last.line;
        let problem = if of_last_line { Problem::CutOff } else { Problem::Syntax };
        findings.fault(place, problem(error));
    }
    if !findings.is_faultless() {
        // Half a document would give a second, misleading fault for everything that is cut off.
        return None;
    }
    let table = document.get_ref();
    if table.is_empty() {
        findings.fault(Place::whole_file(), Problem::Empty);
        return None;
    }
    let mut root =
        Section { findings, table: Some(table), place: Place::whole_file(), asked: Vec::new() };
    let value = read(&mut root);
    root.finish();
    value
}

/// One table. An absent one reads as empty.
pub(super) struct Section<'a, 't> {
    findings: &'a mut Findings<'t>,
    table: Option<&'a DeTable<'a>>,
    place: Place,
    /// Keys that somebody reads.
    asked: Vec<&'static str>,
}

impl<'a, 't> Section<'a, 't> {
    /// Records a fault.
    pub(super) fn fault(&mut self, place: Place, problem: Problem) {
        self.findings.fault(place, problem);
    }

    /// Records a warning.
    pub(super) fn warn(&mut self, place: Place, caution: Caution) {
        self.findings.warn(place, caution);
    }

    /// The value of a key, if it is there and good.
    pub(super) fn optional<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&DeValue<'_>) -> Result<T, Problem>,
    ) -> Option<At<T>> {
        let value = self.find(key)?;
        let place = self.place_of(key);
        self.judge(place, read(value.get_ref()))
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
            self.fault(self.place_of(key), problem);
            return None;
        };
        let mut list = Vec::with_capacity(elements.len());
        for (i, element) in elements.iter().enumerate() {
            let place = self.element_place(key, i, element);
            list.extend(self.judge(place, read(element.get_ref())));
        }
        Some(list)
    }

    /// A table inside this one.
    pub(super) fn section<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&mut Section<'_, 't>) -> T,
    ) -> T {
        let place = self.place_of(key);
        let table = self.find(key).and_then(|value| {
            let table = value.get_ref().as_table();
            if table.is_none() {
                self.fault(place.clone(), wrong_type("a table", value.get_ref()));
            }
            table
        });
        Section { findings: self.findings, table, place, asked: Vec::new() }.read(read)
    }

    /// Each table of a list of tables.
    pub(super) fn tables<T>(
        &mut self,
        key: &'static str,
        mut read: impl FnMut(&mut Section<'_, 't>) -> T,
    ) -> Vec<T> {
        let Some(value) = self.find(key) else { return Vec::new() };
        let Some(elements) = value.get_ref().as_array() else {
            let problem = wrong_type("a list of tables, each begun with [[...]]", value.get_ref());
            self.fault(self.place_of(key), problem);
            return Vec::new();
        };
        let mut list = Vec::with_capacity(elements.len());
        for (i, element) in elements.iter().enumerate() {
            let place = self.element_place(key, i, element);
            let Some(table) = element.get_ref().as_table() else {
                self.fault(place, wrong_type("a table", element.get_ref()));
                continue;
            };
            let section =
                Section { findings: self.findings, table: Some(table), place, asked: Vec::new() };
            list.push(section.read(&mut read));
        }
        list
    }

    /// True if the key is in the file. Does not count as reading it.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.is_some_and(|table| table.contains_key(key))
    }

    /// True if the list has no elements or is not there.
    pub(super) fn is_empty_list(&self, key: &str) -> bool {
        let value = self.table.and_then(|table| table.get(key));
        value.is_none_or(|value| value.get_ref().as_array().is_some_and(|list| list.is_empty()))
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
        let found = self.table.and_then(|table| table.get_key_value(key));
        let line = found.and_then(|(key, _)| self.findings.position(key.span().start).line);
        Place { key: self.path_of(key), line: line.or(self.place.line), column: None }
    }

    fn read<T>(mut self, read: impl FnOnce(&mut Self) -> T) -> T {
        let value = read(&mut self);
        self.finish();
        value
    }

    fn find(&mut self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        if !self.asked.contains(&key) {
            self.asked.push(key);
        }
        self.table?.get(key)
    }

    fn judge<T>(&mut self, place: Place, result: Result<T, Problem>) -> Option<At<T>> {
        match result {
            Ok(value) => Some(At { value, place }),
            Err(problem) => {
                self.fault(place, problem);
                None
            }
        }
    }

    fn element_place(&self, key: &str, index: usize, element: &Spanned<DeValue<'_>>) -> Place {
        let line = self.findings.position(element.span().start).line;
        Place { key: format!("{}[{index}]", self.path_of(key)), line, column: None }
    }

    fn path_of(&self, key: &str) -> String {
        if self.place.key.is_empty() { key.to_owned() } else { format!("{}.{key}", self.place.key) }
    }

    /// Every key that nobody read is a fault.
    fn finish(self) {
        let Some(table) = self.table else { return };
        for key in table.keys().filter(|key| !self.asked.contains(&&**key.get_ref())) {
            let name: &str = key.get_ref();
            let hint = nearest(name, self.asked.iter().copied())
                .map_or_else(|| Hint::Known(self.asked.clone()), Hint::DidYouMean);
            let place = self.place_of(name);
            self.findings.fault(place, Problem::UnknownKey(hint));
        }
    }
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
