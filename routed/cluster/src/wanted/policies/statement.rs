//! One `[[policies.statements]]`: conditions, changes, a decision.

use std::{collections::BTreeMap, fmt::Display};

use routed_api::{
    Communities, Community, CommunityChange, Conditions, Family, MedChange, Name, NumberChange,
    Origin, PrefixMatch, Range, Set, Source, Statement,
};

use super::action;
use crate::wanted::{
    Problem,
    text::{Table, Value},
};

/// What words in policies stand for.
pub(super) struct Names<'n> {
    /// What the sessions of each BGPPeer are called on this node.
    pub(super) sessions: &'n BTreeMap<String, Vec<String>>,
    /// Of BGPConfiguration.
    pub(super) communities: BTreeMap<&'n str, &'n str>,
}

/// A key with its value, and the field that it comes from.
type Entry = (&'static str, Value, &'static str);

/// Changes that no text can be written for.
pub(super) fn invalid(statements: &[Statement]) -> Option<Problem> {
    let names = Names { sessions: &BTreeMap::new(), communities: BTreeMap::new() };
    let mut faults = statements.iter().enumerate().filter_map(|(number, statement)| {
        let fault = changes(statement.set.as_ref()?, &names).err()?;
        Some(format!("spec.statements[{number}].set.{fault}"))
    });
    faults.next().map(|message| Problem { reason: "Invalid", message })
}

/// Every statement that can come true on this node. None of them is [`invalid`].
pub(super) fn write_all(statements: &[Statement], names: &Names<'_>, table: &mut Table) {
    for statement in statements {
        let matches = statement.matches.as_ref();
        let tests = matches.map_or(Some(Vec::new()), |matches| names.all_of(&matches.conditions));
        let Some(tests) = tests else { continue };
        table.header("[[policies.statements]]", "");
        table.set_some("name", statement.name.as_ref(), "name");
        for (key, value, field) in tests {
            table.set(key, value, field);
        }
        if let Some(not) = matches.and_then(|matches| matches.not.as_ref()) {
            let none = names.each_of(not).into_iter().map(|(key, value, _)| (key, value));
            let mut none = none.peekable();
            if none.peek().is_some() {
                table.set("not", Value::table(none), "match.not");
            }
        }
        if let Some(Ok(changes)) = statement.set.as_ref().map(|set| changes(set, names)) {
            table.set("set", Value::table(changes), "set");
        }
        table.set_some("apply", statement.apply.as_ref().map(|name| &name.0), "apply");
        table.set_some("action", statement.action.map(action), "action");
    }
}

impl Names<'_> {
    /// `None`: they never hold all at once on this node.
    fn all_of(&self, conditions: &Conditions) -> Option<Vec<Entry>> {
        let impossible = |peers: &[Name]| !peers.is_empty() && self.sessions(peers).is_empty();
        if impossible(&conditions.peers) || impossible(&conditions.from_peers) {
            return None;
        }
        Some(self.each_of(conditions))
    }

    /// Every condition that can hold on this node.
    fn each_of(&self, conditions: &Conditions) -> Vec<Entry> {
        let mut list = Vec::new();
        destination(conditions, &mut list);
        path(conditions, &mut list);
        self.communities(conditions, &mut list);
        let peers = [
            ("peers", &conditions.peers, "match.peers"),
            ("from_peers", &conditions.from_peers, "match.fromPeers"),
        ];
        for (key, names, field) in peers {
            push_list(&mut list, key, self.sessions(names), field);
        }
        let numbers = [
            ("peer_asns", &conditions.peer_as_numbers, "match.peerASNumbers"),
            ("from_asns", &conditions.from_as_numbers, "match.fromASNumbers"),
        ];
        for (key, numbers, field) in numbers {
            push_list(&mut list, key, numbers.iter().copied(), field);
        }
        let policy = conditions.policy.as_ref().map(|name| Value::from(&name.0));
        list.extend(policy.map(|value| ("policy", value, "match.policy")));
        list
    }

    fn sessions(&self, peers: &[Name]) -> Vec<&String> {
        peers.iter().filter_map(|Name(peer)| self.sessions.get(peer)).flatten().collect()
    }

    fn communities(&self, conditions: &Conditions, list: &mut Vec<Entry>) {
        let kinds = [
            ("communities", &conditions.communities, "match.communities"),
            ("large_communities", &conditions.large_communities, "match.largeCommunities"),
            ("extended_communities", &conditions.extended_communities, "match.extendedCommunities"),
        ];
        for (key, communities, field) in kinds {
            let Some(Communities { any, all, none }) = communities else { continue };
            let tests = [("any", any), ("all", all), ("none", none)];
            let tests = tests.into_iter().filter(|(_, values)| !values.is_empty());
            let tests = tests.map(|(key, values)| (key, self.values(values)));
            list.push((key, Value::table(tests), field));
        }
    }

    fn value<'c>(&'c self, community: &'c Community) -> &'c str {
        self.communities.get(community.0.as_str()).copied().unwrap_or(&community.0)
    }

    fn values(&self, communities: &[Community]) -> Value {
        Value::list(communities.iter().map(|community| self.value(community)))
    }
}

fn destination(conditions: &Conditions, list: &mut Vec<Entry>) {
    let prefix = |PrefixMatch { cidr, prefix_length }: &PrefixMatch| {
        let Range { min, max } = prefix_length.unwrap_or(Range { min: None, max: None });
        let bound = |word, length: Option<u32>| {
            length.map_or_else(String::new, |length| format!(" {word} {length}"))
        };
        format!("{cidr}{}{}", bound("ge", min), bound("le", max))
    };
    let prefixes: Vec<String> = conditions.prefixes.iter().map(prefix).collect();
    push_list(list, "prefixes", &prefixes, "match.prefixes");
    let family = conditions.family.map(family).map(Value::from);
    list.extend(family.map(|value| ("family", value, "match.family")));
}

fn path(conditions: &Conditions, list: &mut Vec<Entry>) {
    push_list(list, "as_path", &conditions.as_path, "match.asPath");
    let contains = &conditions.as_path_contains;
    push_list(list, "as_path_contains", contains, "match.asPathContains");
    let origins = conditions.originated_by.iter().copied();
    push_list(list, "originated_by", origins, "match.originatedBy");
    push_list(list, "neighbor_as", conditions.neighbor_as.iter().copied(), "match.neighborAS");
    let ranges = [
        ("as_path_length", conditions.as_path_length, "match.asPathLength"),
        ("local_preference", conditions.local_preference, "match.localPreference"),
        ("med", conditions.med, "match.med"),
    ];
    for (key, bounds, field) in ranges {
        list.extend(bounds.map(|bounds| (key, range(bounds), field)));
    }
    let next_hops = conditions.next_hop.iter().map(|address| &address.0);
    push_list(list, "next_hop", next_hops, "match.nextHop");
    push_list(list, "origin", conditions.origin.iter().copied().map(origin), "match.origin");
    push_list(list, "source", conditions.source.iter().copied().map(source), "match.source");
}

/// Nothing for an empty list, which is no condition.
fn push_list<T: Into<Value>>(
    list: &mut Vec<Entry>,
    key: &'static str,
    values: impl IntoIterator<Item = T>,
    field: &'static str,
) {
    let mut values = values.into_iter().peekable();
    if values.peek().is_some() {
        list.push((key, Value::list(values), field));
    }
}

fn range(Range { min, max }: Range) -> Value {
    let bounds = [("min", min), ("max", max)];
    Value::table(bounds.into_iter().filter_map(|(key, bound)| Some((key, bound?.into()))))
}

/// As `families` has it.
pub(in crate::wanted) const fn family(family: Family) -> &'static str {
    match family {
        Family::IPv4 => "ipv4",
        Family::IPv6 => "ipv6",
    }
}

const fn origin(origin: Origin) -> &'static str {
    match origin {
        Origin::IGP => "igp",
        Origin::EGP => "egp",
        Origin::Incomplete => "incomplete",
    }
}

const fn source(source: Source) -> &'static str {
    match source {
        Source::Local => "local",
        Source::EBGP => "ebgp",
        Source::IBGP => "ibgp",
    }
}

fn changes(set: &Set, names: &Names<'_>) -> Result<Vec<(&'static str, Value)>, String> {
    let mut changes = Vec::new();
    let mut push = |key, value: Option<Value>| changes.extend(value.map(|value| (key, value)));
    push("weight", set.weight.map(Value::from));
    push("local_preference", set.local_preference.map(number).transpose()?);
    push("med", set.med.map(med).transpose()?);
    push("origin", set.origin.map(origin).map(Value::from));
    push("prepend_last_as", set.prepend_last_as.map(Value::from));
    push("prepend", set.prepend.map(Value::from));
    for (kind, change) in [
        (&COMMUNITIES, &set.communities),
        (&LARGE_COMMUNITIES, &set.large_communities),
        (&EXTENDED_COMMUNITIES, &set.extended_communities),
    ] {
        if let Some(change) = change {
            changes.extend(edits(kind, change, names)?);
        }
    }
    Ok(changes)
}

fn number(change: NumberChange) -> Result<Value, String> {
    match change {
        NumberChange { to: Some(number), add: None } => Ok(number.into()),
        NumberChange { to: None, add: Some(difference) } => Ok(signed(difference)),
        NumberChange { .. } => {
            Err("localPreference: give either to (the number) or add (the difference)".to_owned())
        }
    }
}

fn med(change: MedChange) -> Result<Value, String> {
    match change {
        MedChange { to: Some(number), add: None, remove: None | Some(false) } => Ok(number.into()),
        MedChange { to: None, add: Some(difference), remove: None | Some(false) } => {
            Ok(signed(difference))
        }
        MedChange { to: None, add: None, remove: Some(true) } => Ok("remove".into()),
        MedChange { .. } => {
            Err("med: give exactly one of to (the number), add (the difference) and remove: true"
                .to_owned())
        }
    }
}

/// With its sign, as a text.
fn signed(difference: impl Display) -> Value {
    let text = difference.to_string();
    Value::from(&if text.starts_with('-') { text } else { format!("+{text}") })
}

/// The field, and the keys for replacing, removing and adding.
type Kind = (&'static str, [&'static str; 3]);

const COMMUNITIES: Kind =
    ("communities", ["replace_communities", "remove_communities", "add_communities"]);
const LARGE_COMMUNITIES: Kind = (
    "largeCommunities",
    ["replace_large_communities", "remove_large_communities", "add_large_communities"],
);
const EXTENDED_COMMUNITIES: Kind = (
    "extendedCommunities",
    ["replace_extended_communities", "remove_extended_communities", "add_extended_communities"],
);

/// `routed.toml` replaces, or removes and adds. Both come to one list that replaces.
fn edits(
    (field, [replace_key, remove_key, add_key]): &Kind,
    change: &CommunityChange,
    names: &Names<'_>,
) -> Result<Vec<(&'static str, Value)>, String> {
    let CommunityChange { replace, remove, add } = change;
    let Some(replace) = replace else {
        let edits = [(*remove_key, remove), (*add_key, add)];
        let edits = edits.into_iter().filter(|(_, values)| !values.is_empty());
        return Ok(edits.map(|(key, values)| (key, names.values(values))).collect());
    };
    if remove.iter().any(|community| community.0.contains('*')) {
        return Err(format!(
            "{field}: remove has a pattern beside replace; leave out of replace what it matches"
        ));
    }
    let removed: Vec<_> = remove.iter().map(|community| names.value(community)).collect();
    let kept = replace.iter().map(|community| names.value(community));
    let kept = kept.filter(|value| !removed.contains(value));
    let all = kept.chain(add.iter().map(|community| names.value(community)));
    Ok(vec![(*replace_key, Value::list(all))])
}
