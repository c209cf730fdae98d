//! The fields of one object of Calico, each taken once. What nobody has taken is named in the end.

use std::{cell::RefCell, rc::Rc};

use bgp::aspath::Asn;
use serde_json::{Map, Value};

use super::Note;

/// Fields, and what is to be said about them.
pub(super) struct Fields {
    path: String,
    map: Map<String, Value>,
    remarks: Remarks,
}

/// `(is_loss, field, text)`, in the order in which they were found.
type Remarks = Rc<RefCell<Vec<(bool, String, String)>>>;

impl Fields {
    pub(super) fn new(path: &str, value: Value) -> Self {
        Self::part(path.to_owned(), value, Remarks::default())
    }

    fn part(path: String, value: Value, remarks: Remarks) -> Self {
        let map = match value {
            Value::Object(map) => map,
            Value::Null => Map::new(),
            other => {
                let text = format!("is {other}, and no object; it is left out");
                remarks.borrow_mut().push((true, path.clone(), text));
                Map::new()
            }
        };
        Self { path, map, remarks }
    }

    /// Looks at a field without taking it.
    pub(super) fn peek(&self, key: &str) -> Option<&Value> {
        self.map.get(key)
    }

    /// The value; empty text, `false`, an empty list and null say nothing.
    pub(super) fn take(&mut self, key: &str) -> Option<Value> {
        let value = self.map.remove(key)?;
        let says_nothing = match &value {
            Value::Null => true,
            Value::String(text) => text.is_empty(),
            Value::Array(list) => list.is_empty(),
            Value::Bool(_) | Value::Number(_) | Value::Object(_) => false,
        };
        (!says_nothing).then_some(value)
    }

    pub(super) fn text(&mut self, key: &str) -> Option<String> {
        match self.take(key)? {
            Value::String(text) => Some(text),
            other => self.wrong(key, &other, "text"),
        }
    }

    pub(super) fn flag(&mut self, key: &str) -> Option<bool> {
        match self.take(key)? {
            Value::Bool(flag) => Some(flag),
            other => self.wrong(key, &other, "true or false"),
        }
    }

    pub(super) fn number<T: TryFrom<u64>>(&mut self, key: &str) -> Option<T> {
        let value = self.take(key)?;
        let number = value.as_u64().and_then(|number| T::try_from(number).ok());
        number.or_else(|| self.wrong(key, &value, "a number in its range"))
    }

    /// An AS: a number, or text in either notation.
    pub(super) fn asn(&mut self, key: &str) -> Option<u32> {
        let value = self.take(key)?;
        let asn = as_asn(&value);
        asn.or_else(|| self.wrong(key, &value, "an AS number"))
    }

    /// A duration of Go, as in `1m30s`, in whole seconds.
    pub(super) fn seconds(&mut self, key: &str) -> Option<u16> {
        let value = self.take(key)?;
        let seconds = value.as_str().and_then(seconds);
        seconds.or_else(|| self.wrong(key, &value, "a duration of up to 65535 s, as in 120s"))
    }

    pub(super) fn texts(&mut self, key: &str) -> Vec<String> {
        let Some(Value::Array(list)) = self.take(key) else { return Vec::new() };
        let text = |value: &Value| value.as_str().map(str::to_owned);
        list.iter().filter_map(text).collect()
    }

    /// An object inside of this one; its own remarks go where those of this one go.
    pub(super) fn inner(&mut self, key: &str) -> Option<Self> {
        let value = self.take(key)?;
        Some(Self::part(self.place(key), value, Rc::clone(&self.remarks)))
    }

    /// Each object of a list.
    pub(super) fn list(&mut self, key: &str) -> Vec<Self> {
        let Some(Value::Array(list)) = self.take(key) else { return Vec::new() };
        let part = |(i, value)| {
            Self::part(format!("{}[{i}]", self.place(key)), value, Rc::clone(&self.remarks))
        };
        list.into_iter().enumerate().map(part).collect()
    }

    /// The value of this field is not in the result.
    pub(super) fn lost(&self, key: &str, text: impl Into<String>) {
        self.remark(true, key, text.into());
    }

    /// It is, and a person should look at it.
    pub(super) fn hint(&self, key: &str, text: impl Into<String>) {
        self.remark(false, key, text.into());
    }

    /// Leaves the rest untold.
    pub(super) fn forget(&mut self) {
        self.map.clear();
    }

    /// Names what nobody has taken.
    pub(super) fn finish(&mut self) {
        for (key, value) in std::mem::take(&mut self.map) {
            if !matches!(value, Value::Null | Value::Bool(false)) {
                self.lost(&key, format!("{value} has no counterpart; it is left out"));
            }
        }
    }

    /// Everything that was said about the object.
    pub(super) fn notes(&mut self, object: &str) -> Vec<Note> {
        self.finish();
        let remarks = self.remarks.take();
        let note =
            |(is_loss, field, text)| Note { is_loss, object: object.to_owned(), field, text };
        remarks.into_iter().map(note).collect()
    }

    fn remark(&self, is_loss: bool, key: &str, text: String) {
        self.remarks.borrow_mut().push((is_loss, self.place(key), text));
    }

    fn place(&self, key: &str) -> String {
        if key.is_empty() { self.path.clone() } else { format!("{}.{key}", self.path) }
    }

    fn wrong<T>(&self, key: &str, found: &Value, wanted: &str) -> Option<T> {
        self.lost(key, format!("is {found}, and not {wanted}; it is left out"));
        None
    }
}

pub(super) fn as_asn(value: &Value) -> Option<u32> {
    match value {
        Value::Number(number) => number.as_u64().and_then(|number| u32::try_from(number).ok()),
        Value::String(text) => text.parse().ok().map(|Asn(asn)| asn),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// `1h2m3s`, any part of it; parts of a second are rounded up.
fn seconds(text: &str) -> Option<u16> {
    let mut rest = text;
    let mut total = 0_f64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        let unit = rest[digits..].find(|c: char| c.is_ascii_digit());
        let end = unit.map_or(rest.len(), |unit| digits + unit);
        total += number
            * match &rest[digits..end] {
                "h" => 3600.0,
                "m" => 60.0,
                "s" => 1.0,
                "ms" => 0.001,
                _ => return None,
            };
        rest = &rest[end..];
    }
    let total = total.ceil();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it was compared")]
    (!text.is_empty() && total <= f64::from(u16::MAX)).then_some(total as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_of_go_are_whole_seconds() {
        for (text, wanted) in [
            ("120s", Some(120)),
            ("1m30s", Some(90)),
            ("2m0s", Some(120)),
            ("1.5s", Some(2)),
            ("500ms", Some(1)),
            ("24h", None),
            ("", None),
            ("120", None),
            ("12x", None),
        ] {
            assert_eq!(seconds(text), wanted, "{text}");
        }
    }
}
