//! One setting with its value, and how two lists of the same settings are compared.

use std::fmt;

use bgp::policy::Policy;

use super::{Change, Effect};
use crate::config::Password;

/// A setting as it can be compared and shown.
#[derive(Debug)]
pub(super) struct Field<'a> {
    /// As in the file.
    pub(super) key: &'static str,
    /// What a change of it does.
    effect: Effect,
    value: Value<'a>,
}

/// Equal values are equal settings, even where what is shown of them does not tell.
#[derive(Debug, PartialEq)]
enum Value<'a> {
    Shown(String),
    Policy(Option<&'a Policy>),
    Secret(Option<&'a Password>),
}

impl<'a> Field<'a> {
    /// A setting whose text is all there is to it.
    pub(super) fn new(key: &'static str, effect: Effect, value: &(impl ToString + ?Sized)) -> Self {
        Self { key, effect, value: Value::Shown(value.to_string()) }
    }

    /// A setting that may be missing.
    pub(super) fn optional(
        key: &'static str,
        effect: Effect,
        value: Option<impl ToString>,
    ) -> Self {
        Self::new(key, effect, &value.map_or_else(|| NOTHING.to_owned(), |value| value.to_string()))
    }

    /// A policy, shown by its name and compared by what it says. A change is soft.
    pub(super) const fn policy(key: &'static str, policy: Option<&'a Policy>) -> Self {
        Self { key, effect: Effect::Soft, value: Value::Policy(policy) }
    }

    /// A key that nobody is shown. A change is a reset: each connection keeps the key that it
    /// began with.
    pub(super) const fn secret(key: &'static str, secret: Option<&'a Password>) -> Self {
        Self { key, effect: Effect::Reset, value: Value::Secret(secret) }
    }
}

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Shown(text) => text,
            Self::Policy(policy) => policy.map_or(NOTHING, |policy| &policy.name),
            Self::Secret(secret) => secret.map_or(NOTHING, |_| "hidden"),
        })
    }
}

/// The settings of one table that differ. Both lists come from the same function, so they have the
/// same keys in the same order.
pub(super) fn differences(table: &str, old: &[Field<'_>], new: &[Field<'_>]) -> Vec<Change> {
    let change = |(old, new): (&Field<'_>, &Field<'_>)| {
        debug_assert_eq!(old.key, new.key);
        if old.value == new.value {
            return None;
        }
        let (before, mut after) = (old.value.to_string(), new.value.to_string());
        if before == after {
            after += ", changed";
        }
        let place = format!("{table}.{}", new.key);
        Some(Change { place, old: Some(before), new: Some(after), effect: new.effect })
    };
    old.iter().zip(new).filter_map(change).collect()
}

/// Several values in one text.
pub(super) fn listed<T: ToString>(values: impl IntoIterator<Item = T>) -> String {
    let values: Vec<_> = values.into_iter().map(|value| value.to_string()).collect();
    if values.is_empty() { NOTHING.to_owned() } else { values.join(", ") }
}

/// What is shown of a setting that is not there.
const NOTHING: &str = "none";
