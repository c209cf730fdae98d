//! One `[[policies.statements]]` table: conditions, changes, a decision.

use std::{collections::BTreeMap, sync::Arc};

use bgp::{
    attrs::Origin,
    policy::{Action, Adjust, Carries, Condition, Decision, Edit, PrefixMatch, Source, Statement},
    prefix::Prefix,
};
use toml::de::DeValue;

use crate::config::{
    problem::{Caution, Problem},
    section::{At, Section},
    value,
};

/// Most times that our AS is put in front of a path; more only makes paths long.
const MAX_PREPEND: u8 = 16;
/// Most hops that can be asked for: what one AS_SEQUENCE segment holds, many times over.
const MAX_HOPS: u16 = 1000;

/// The table.
pub(super) fn read(section: &mut Section<'_, '_>) -> At<Statement> {
    let place = section.place();
    let name = section.optional("name", value::name);
    let conditions = conditions(section);
    let actions = section.section("set", actions);
    let decide = value::word(&["accept", "reject"], [Decision::Accept, Decision::Reject]);
    let decision = section.optional("action", decide).map(|at| at.value);
    if decision.is_none() && !section.has("set") && !section.has("action") {
        section.warn(place.clone(), Caution::IdleStatement);
    }
    let number = place.key.rsplit_once('[').map_or("", |(_, number)| number);
    let name: Arc<str> = match name {
        Some(name) => name.value.into(),
        None => format!("statement {}", number.trim_end_matches(']')).into(),
    };
    At { value: Statement { name, conditions, actions, apply: None, decision }, place }
}

/// A statement's name is shown when it rejects, so it must be one statement's.
pub(super) fn check_names(section: &mut Section<'_, '_>, statements: &[At<Statement>]) {
    let mut first = BTreeMap::new();
    for At { value: statement, place } in statements {
        match first.get(&statement.name).cloned() {
            Some(first) => {
                let what = format!("the name {:?}", statement.name);
                section.fault(place.clone(), Problem::Repeated { what, first });
            }
            None => {
                first.insert(statement.name.clone(), place.clone());
            }
        }
    }
}

fn conditions(section: &mut Section<'_, '_>) -> Vec<Condition> {
    let mut conditions = Vec::new();
    let prefixes = values(section, "prefixes", prefix_match);
    conditions.extend(prefixes.map(|list| Condition::Prefix(list.into_iter().collect())));
    let standard = values(section, "communities", value::parsed);
    conditions.extend(
        standard.map(|list| Condition::Communities(Carries::Any(list.into_iter().collect()))),
    );
    let large = values(section, "large_communities", value::parsed);
    conditions.extend(
        large.map(|list| Condition::LargeCommunities(Carries::Any(list.into_iter().collect()))),
    );
    let contains = values(section, "as_path_contains", value::path_asn);
    conditions.extend(contains.map(|list| Condition::AsPathContains(list.into_iter().collect())));
    let originated = values(section, "originated_by", value::path_asn);
    conditions.extend(originated.map(|list| Condition::OriginatedBy(list.into_iter().collect())));
    if section.has("as_path_length") {
        conditions.push(section.section("as_path_length", as_path_length));
    }
    let origins =
        value::word(&["igp", "egp", "incomplete"], [Origin::Igp, Origin::Egp, Origin::Incomplete]);
    conditions
        .extend(section.optional("origin", origins).map(|at| Condition::Origin(vec![at.value])));
    let sources =
        value::word(&["local", "ebgp", "ibgp"], [Source::Local, Source::Ebgp, Source::Ibgp]);
    conditions
        .extend(section.optional("source", sources).map(|at| Condition::Source(vec![at.value])));
    conditions
}

fn actions(section: &mut Section<'_, '_>) -> Vec<Action> {
    let mut actions = Vec::new();
    let any = || value::number(0..=u32::MAX);
    let local_pref = section.optional("local_preference", any());
    actions.extend(local_pref.map(|at| Action::LocalPref(Adjust::Set(at.value))));
    actions.extend(section.optional("med", any()).map(|at| Action::Med(Adjust::Set(at.value))));
    // Removed first: a community that stands in both lists is there in the end.
    let removed = values(section, "remove_communities", value::parsed);
    actions
        .extend(removed.map(|list| Action::Communities(Edit::Remove(list.into_iter().collect()))));
    let added = values(section, "add_communities", value::parsed);
    actions.extend(added.map(|list| Action::Communities(Edit::Add(list))));
    let added = values(section, "add_large_communities", value::parsed);
    actions.extend(added.map(|list| Action::LargeCommunities(Edit::Add(list))));
    let prepend = section.optional("prepend", value::number(1..=MAX_PREPEND));
    actions.extend(prepend.map(|at| Action::Prepend(at.value.into())));
    actions
}

/// A list that, if it is there, has at least one element: an empty one would match nothing.
fn values<T>(
    section: &mut Section<'_, '_>,
    key: &'static str,
    read: impl FnMut(&DeValue<'_>) -> Result<T, Problem>,
) -> Option<Vec<T>> {
    if section.is_empty_list(key) && section.has(key) {
        let remedy = "give at least one value, or remove the key";
        section.fault(section.place_of(key), Problem::EmptyValue(remedy));
    }
    let list = section.list(key, read)?;
    Some(list.into_iter().map(|at| at.value).collect())
}

fn as_path_length(section: &mut Section<'_, '_>) -> Condition {
    let min: usize = section.or("min", 0, value::number(0..=MAX_HOPS)).into();
    let max = section.optional("max", value::number(0..=MAX_HOPS));
    let max = max.map_or(usize::MAX, |at| at.value.into());
    if min > max {
        section.fault(section.place(), Problem::EmptyRange(min, max));
    }
    Condition::AsPathLength(min..=max)
}

/// `PREFIX [ge LENGTH] [le LENGTH]`: without either exactly the prefix; `ge` alone up to the
/// family's longest.
fn prefix_match(value: &DeValue<'_>) -> Result<PrefixMatch, Problem> {
    let text = value::text(value)?;
    let syntax = || Problem::PrefixMatch(text.to_owned());
    let mut words = text.split_ascii_whitespace();
    let prefix: Prefix = words.next().ok_or_else(syntax)?.parse()?;
    let (mut ge, mut le) = (None, None);
    while let Some(word) = words.next() {
        let slot = match word {
            "ge" => &mut ge,
            "le" => &mut le,
            _ => return Err(syntax()),
        };
        let length = words.next().and_then(|word| word.parse::<u8>().ok());
        if slot.replace(length.ok_or_else(syntax)?).is_some() {
            return Err(syntax());
        }
    }
    let (own, longest) = (prefix.len(), prefix.family().max_len());
    let min_len = ge.unwrap_or(own);
    let max_len = le.unwrap_or(if ge.is_some() { longest } else { own });
    if own <= min_len && min_len <= max_len && max_len <= longest {
        Ok(PrefixMatch { prefix, min_len, max_len })
    } else {
        Err(Problem::PrefixLengths { prefix, min: min_len, max: max_len })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths(text: &str) -> Result<(u8, u8), String> {
        let text = DeValue::String(text.into());
        prefix_match(&text).map(|m| (m.min_len, m.max_len)).map_err(|error| error.to_string())
    }

    #[test]
    fn lengths_of_a_prefix_match_follow_ge_and_le() {
        assert_eq!(lengths("10.0.0.0/8"), Ok((8, 8)));
        assert_eq!(lengths("10.0.0.0/8 ge 16 le 32"), Ok((16, 32)));
        assert_eq!(lengths("10.0.0.0/8 le 32 ge 16"), Ok((16, 32)));
        assert_eq!(lengths("fd00::/8 le 64"), Ok((8, 64)));
        assert_eq!(lengths("fd00::/8 ge 48"), Ok((48, 128)));
    }

    #[test]
    fn impossible_lengths_and_other_words_are_refused() {
        assert_eq!(
            lengths("10.0.0.0/8 ge 33").unwrap_err(),
            "lengths 33 to 32 cannot match in 10.0.0.0/8; 8 <= ge <= le <= 32"
        );
        for text in ["10.0.0.0/16 le 8", "10.0.0.0/8 ge 24 le 16", "10.0.0.0/8 le 33"] {
            assert!(lengths(text).unwrap_err().contains("cannot match"), "{text}");
        }
        for text in ["", "10.0.0.0/8 eq 9", "10.0.0.0/8 ge", "10.0.0.0/8 ge 9 ge 10"] {
            assert!(lengths(text).unwrap_err().contains("not understood"), "{text}");
        }
    }
}
