//! `set`: what a statement changes.

use std::net::IpAddr;

use bgp::{
    community::{BadRate, Community, ExtCommunity, LargeCommunity, Rate},
    policy::{Action, Adjust, Edit, NextHopAction, TagMatch},
};
use toml::de::DeValue;

use super::{Words, condition, lists::Kind, one_or_more, problem::PolicyProblem};
use crate::config::{
    problem::Problem,
    section::{At, Section, wrong_type},
    value,
};

/// Most times that an AS is put in front of a path; more only makes paths long.
const MAX_PREPEND: u8 = 16;

/// The table, in the order in which its changes are made.
pub(super) fn read(section: &mut Section<'_, '_>, words: &Words) -> Vec<Action> {
    let mut actions = Vec::new();
    let weight = section.optional("weight", value::number(0..=u32::MAX));
    actions.extend(weight.map(|at| Action::SetWeight(at.value)));
    let local_pref = section.optional("local_preference", |value| adjust(value, ""));
    actions.extend(local_pref.map(|at| Action::LocalPref(at.value)));
    actions.extend(section.optional("med", med).map(|at| at.value));
    let origin = section.optional("origin", condition::origin);
    actions.extend(origin.map(|at| Action::SetOrigin(at.value)));
    let keys = ["replace_communities", "remove_communities", "add_communities"];
    actions.extend(edits::<Community>(section, words, keys).into_iter().map(Action::Communities));
    let keys = ["replace_large_communities", "remove_large_communities", "add_large_communities"];
    let edited = edits::<LargeCommunity>(section, words, keys);
    actions.extend(edited.into_iter().map(Action::LargeCommunities));
    let keys =
        ["replace_extended_communities", "remove_extended_communities", "add_extended_communities"];
    let edited = edits::<ExtCommunity>(section, words, keys);
    actions.extend(edited.into_iter().map(Action::ExtCommunities));
    let rate = section.optional("link_bandwidth", rate);
    actions.extend(rate.map(|at| Action::SetLinkBandwidth(at.value)));
    let last = section.optional("prepend_last_as", value::number(1..=MAX_PREPEND));
    actions.extend(last.map(|at| Action::PrependLastAs(at.value.into())));
    let own = section.optional("prepend", value::number(1..=MAX_PREPEND));
    actions.extend(own.map(|at| Action::Prepend(at.value.into())));
    actions.extend(next_hop(section).map(Action::SetNextHop));
    actions
}

/// `200`, `"+10"`, `"-10"`.
fn adjust(value: &DeValue<'_>, also: &'static str) -> Result<Adjust, Problem> {
    if let Some(number) = value.as_integer() {
        if let Some(plain) = number.as_str().strip_prefix('+') {
            return Err(PolicyProblem::PlusWithoutQuotes(plain.to_owned()).into());
        }
        return value::number(0..=u32::MAX)(value).map(Adjust::Set);
    }
    let text = value.as_str().ok_or_else(|| wrong_type("a number, \"+10\" or \"-10\"", value))?;
    let digits = |digits: &str| {
        digits.bytes().all(|digit| digit.is_ascii_digit()).then(|| digits.parse().ok())?
    };
    let adjust = match text.split_at_checked(1) {
        Some(("+", rest)) => digits(rest).map(Adjust::Add),
        Some(("-", rest)) => digits(rest).map(Adjust::Subtract),
        Some(_) | None => None,
    };
    adjust.ok_or_else(|| PolicyProblem::Adjust { got: text.to_owned(), also }.into())
}

fn med(value: &DeValue<'_>) -> Result<Action, Problem> {
    match value.as_str() {
        Some("remove") => Ok(Action::RemoveMed),
        Some(_) | None => adjust(value, ", \"remove\"").map(Action::Med),
    }
}

fn rate(value: &DeValue<'_>) -> Result<Rate, Problem> {
    let wrong = |error: BadRate| PolicyProblem::from(error).into();
    value::text(value)?.parse().map_err(wrong)
}

/// The changes to one kind of communities: replaced, or removed and then added, so that one that
/// stands in both lists is there in the end.
fn edits<T: Kind>(
    section: &mut Section<'_, '_>,
    words: &Words,
    [replace, remove, add]: [&'static str; 3],
) -> Vec<Edit<T>> {
    let mut edits = Vec::new();
    // An empty list takes all of them off.
    let replaced = section.one_or_more(replace, |value| in_full(words, value));
    for other in [remove, add] {
        if section.has(replace) && section.has(other) {
            section.fault(section.place_of(other), Problem::Excludes(replace));
        }
    }
    let flat = |list: Vec<At<Vec<T>>>| list.into_iter().flat_map(|at| at.value).collect();
    edits.extend(replaced.map(flat).map(Edit::Replace));
    let removed = one_or_more(section, remove, |value| words.lists.communities(value));
    edits.extend(removed.map(|list| Edit::Remove(list.into_iter().flatten().collect())));
    let added = one_or_more(section, add, |value| in_full(words, value));
    edits.extend(added.map(|list| Edit::Add(list.into_iter().flatten().collect())));
    edits
}

/// Communities that can be put on a path: no patterns.
fn in_full<T: Kind>(words: &Words, value: &DeValue<'_>) -> Result<Vec<T>, Problem> {
    let exact = |tag| match tag {
        TagMatch::Exact(tag) => Ok(tag),
        TagMatch::Masked { .. } => {
            Err(PolicyProblem::PatternAdded(value::text(value)?.to_owned()).into())
        }
    };
    words.lists.communities(value)?.into_iter().map(exact).collect()
}

/// A word, or an address for one family or each.
fn next_hop(section: &mut Section<'_, '_>) -> Option<NextHopAction> {
    let address = |value: &DeValue<'_>| match value::host(value)? {
        IpAddr::V4(ipv4) => Ok(NextHopAction::Address { ipv4: Some(ipv4), ipv6: None }),
        IpAddr::V6(ipv6) => Ok(NextHopAction::Address { ipv4: None, ipv6: Some(ipv6) }),
    };
    let list = one_or_more(section, "next_hop", |value| match value::text(value)? {
        "self" => Ok(NextHopAction::Own),
        "peer" => Ok(NextHopAction::Peer),
        "unchanged" => Ok(NextHopAction::Unchanged),
        text if text.parse::<IpAddr>().is_err() => {
            Err(PolicyProblem::SetNextHop(text.to_owned()).into())
        }
        _ => address(value),
    })?;
    let joined = list.into_iter().map(Some).reduce(|one, other| both(one?, other?));
    if joined == Some(None) {
        section.fault(section.place_of("next_hop"), PolicyProblem::ManyNextHops.into());
    }
    joined.flatten()
}

/// Two addresses in one, if they are of different families.
fn both(one: NextHopAction, other: NextHopAction) -> Option<NextHopAction> {
    let NextHopAction::Address { ipv4: a4, ipv6: a6 } = one else { return None };
    let NextHopAction::Address { ipv4: b4, ipv6: b6 } = other else { return None };
    let twice = a4.and(b4).is_some() || a6.and(b6).is_some();
    (!twice).then_some(NextHopAction::Address { ipv4: a4.or(b4), ipv6: a6.or(b6) })
}
