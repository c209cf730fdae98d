//! The text of a `routed.toml`, with what each line of it comes from.

use std::fmt::{self, Write as _};

use super::ObjectRef;

/// What is left out as one if it is at fault: an object, or the part of one that others can do without.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Part {
    pub(super) object: ObjectRef,
    /// Such as `spec.holdTimeSeconds`; empty for the object as a whole.
    pub(super) of: String,
}

impl Part {
    pub(super) fn whole(kind: &'static str, name: &str) -> Self {
        Self::of(kind, name, "")
    }

    pub(super) fn of(kind: &'static str, name: &str, of: impl Into<String>) -> Self {
        Self { object: ObjectRef { kind, name: name.to_owned() }, of: of.into() }
    }
}

/// Where a line comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// This line of the node's own file, from 1.
    Base(usize),
    /// The conversion itself.
    Own,
    /// A field of an object; empty for more than one.
    Object(Part, &'static str),
}

/// One line without its end.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) text: String,
    pub(super) origin: Origin,
}

/// A table.
#[derive(Clone, Debug)]
pub(super) struct Table {
    part: Part,
    lines: Vec<Line>,
}

impl Table {
    /// One with this header, of this part of an object.
    pub(super) fn new(header: &str, part: Part) -> Self {
        let mut table = Self::without_header(part);
        table.push(format!("# {}", table.part.object), "");
        table.push(header.to_owned(), "");
        table
    }

    /// Keys of a table that another has begun.
    pub(super) const fn without_header(part: Part) -> Self {
        Self { part, lines: Vec::new() }
    }

    /// A key with its value, from this field of the object.
    pub(super) fn set(&mut self, key: &str, value: impl Into<Value>, field: &'static str) {
        let Value(value) = value.into();
        self.push(format!("{key} = {value}"), field);
    }

    /// The same, if there is a value.
    pub(super) fn set_some(
        &mut self,
        key: &str,
        value: Option<impl Into<Value>>,
        field: &'static str,
    ) {
        if let Some(value) = value {
            self.set(key, value, field);
        }
    }

    /// The same, unless the list is empty.
    pub(super) fn set_list<T: Into<Value>>(
        &mut self,
        key: &str,
        values: impl IntoIterator<Item = T>,
        field: &'static str,
    ) {
        let mut values = values.into_iter().peekable();
        if values.peek().is_some() {
            self.set(key, Value::list(values), field);
        }
    }

    /// A key of the same table that comes from elsewhere.
    pub(super) fn set_of(
        &mut self,
        part: Part,
        key: &str,
        Value(value): Value,
        field: &'static str,
    ) {
        let text = format!("{key} = {value}  # {}", part.object);
        self.lines.push(Line { text, origin: Origin::Object(part, field) });
    }

    /// A list with a line for each element, so that each can be left out by itself.
    pub(super) fn set_lines(
        &mut self,
        key: &str,
        elements: impl IntoIterator<Item = (Value, Part)>,
        field: &'static str,
    ) {
        let mut elements = elements.into_iter().peekable();
        if elements.peek().is_none() {
            return;
        }
        self.push(format!("{key} = ["), field);
        for (Value(value), part) in elements {
            let text = format!("    {value},  # {}", part.object);
            self.lines.push(Line { text, origin: Origin::Object(part, field) });
        }
        self.push("]".to_owned(), field);
    }

    /// A table inside this one.
    pub(super) fn header(&mut self, header: &str, field: &'static str) {
        self.push(header.to_owned(), field);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    pub(super) fn into_lines(self) -> Vec<Line> {
        self.lines
    }

    fn push(&mut self, text: String, field: &'static str) {
        self.lines.push(Line { text, origin: Origin::Object(self.part.clone(), field) });
    }
}

/// A value as TOML has it.
#[derive(Clone, Debug)]
pub(super) struct Value(String);

impl Value {
    /// A list in one line.
    pub(super) fn list<T: Into<Self>>(values: impl IntoIterator<Item = T>) -> Self {
        let values: Vec<String> = values.into_iter().map(|value| value.into().0).collect();
        Self(format!("[{}]", values.join(", ")))
    }

    /// A table in one line.
    pub(super) fn table(keys: impl IntoIterator<Item = (&'static str, Self)>) -> Self {
        let keys: Vec<String> =
            keys.into_iter().map(|(key, Self(value))| format!("{key} = {value}")).collect();
        Self(if keys.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", keys.join(", ")) })
    }

    /// What this is shown as, in quotes.
    pub(super) fn shown(value: impl fmt::Display) -> Self {
        Self::from(&*value.to_string())
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        let mut quoted = String::from("\"");
        for c in text.chars() {
            match c {
                '"' | '\\' => quoted.extend(['\\', c]),
                c if c.is_control() => {
                    // Writing into a string cannot fail.
                    let _ = write!(quoted, "\\u{:04X}", u32::from(c));
                }
                c => quoted.push(c),
            }
        }
        quoted.push('"');
        Self(quoted)
    }
}

impl From<&String> for Value {
    fn from(text: &String) -> Self {
        Self::from(text.as_str())
    }
}

macro_rules! plain {
    ($($kind:ty),+) => {
        $(impl From<$kind> for Value {
            fn from(value: $kind) -> Self {
                Self(value.to_string())
            }
        })+
    };
}

plain!(bool, u8, u16, u32);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_text_holds_it_stays_one_value() {
        for text in ["plain", "a \"quoted\" one", "back\\slash", "two\nlines\r\t", "\u{7f}\u{85}é"]
        {
            let Value(value) = Value::from(text);
            assert!(!value.contains('\n'));
            let table: toml::Table = format!("key = {value}").parse().unwrap();
            assert_eq!(table["key"].as_str(), Some(text));
        }
    }
}
