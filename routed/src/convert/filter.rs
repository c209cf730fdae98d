//! `BGPFilter`: a policy for each direction that it has rules for.

use std::collections::{BTreeMap, BTreeSet};

use routed_api::{
    Action, BGPPolicySpec, Communities, CommunityChange, Conditions, Family, Match, Name,
    PrefixMatch, Range, Set, Source, Statement,
};

use super::{Converted, Original, fields::Fields};

/// A direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Side {
    Import,
    Export,
}

/// Which filters there are, and for what.
pub(super) struct Names(BTreeMap<String, BTreeSet<Side>>);

/// Filters of all files.
pub(super) fn names(originals: &[Original]) -> Names {
    let filters = originals.iter().filter(|original| original.kind == "BGPFilter").map(|filter| {
        let has =
            |side: &Side| keys(*side).iter().any(|(key, _)| filter.fields.peek(key).is_some());
        (filter.name.clone(), [Side::Import, Side::Export].into_iter().filter(has).collect())
    });
    Names(filters.collect())
}

impl Names {
    pub(super) fn knows(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// What a peer with these filters names. What no rule decides about is treated as Calico does:
    /// imported, and exported if it is the node's own.
    pub(super) fn policies(&self, named: &[String], side: Side) -> Vec<Name> {
        let is_there =
            |name: &&String| self.0.get(*name).is_some_and(|sides| sides.contains(&side));
        let policies = named.iter().filter(is_there).map(|name| policy(name, side));
        let mut policies: Vec<Name> = policies.map(|name| name.as_str().into()).collect();
        if !policies.is_empty() {
            policies.push(match side {
                Side::Import => "all".into(),
                Side::Export => "originated".into(),
            });
        }
        policies
    }
}

fn policy(filter: &str, side: Side) -> String {
    match side {
        Side::Import => format!("{filter}-import"),
        Side::Export => format!("{filter}-export"),
    }
}

const fn keys(side: Side) -> [(&'static str, Family); 2] {
    match side {
        Side::Import => [("importV4", Family::IPv4), ("importV6", Family::IPv6)],
        Side::Export => [("exportV4", Family::IPv4), ("exportV6", Family::IPv6)],
    }
}

pub(super) fn convert(original: &mut Original, converted: &mut Converted) {
    for side in [Side::Import, Side::Export] {
        let mut statements = Vec::new();
        let mut is_there = false;
        for (key, family) in keys(side) {
            let rules = original.fields.list(key);
            is_there |= !rules.is_empty();
            for (i, mut rule) in rules.into_iter().enumerate() {
                let name = format!("{key}-{i}");
                statements.extend(statement(&mut rule, name, family, side));
                rule.finish();
            }
        }
        if is_there {
            let spec = BGPPolicySpec { default: Action::NextPolicy, statements };
            converted.add("BGPPolicy", &policy(&original.name, side), spec);
        }
    }
}

/// One rule; `None` if a condition has no counterpart, since the rule without it would be another.
fn statement(rule: &mut Fields, name: String, family: Family, side: Side) -> Option<Statement> {
    let action = match rule.text("action").as_deref() {
        Some("Accept") => Action::Accept,
        Some("Reject") => Action::Reject,
        _ => return left_out(rule, "action", "is neither Accept nor Reject"),
    };
    let mut matches = Match::default();
    matches.conditions.family = Some(family);
    prefixes(rule, family, &mut matches)?;
    if rule.text("source").is_some() {
        matches.conditions.source = vec![Source::EBGP, Source::IBGP];
    }
    peer_type(rule, side, &mut matches.conditions)?;
    for value in
        rule.inner("communities").map(|mut inner| inner.texts("values")).unwrap_or_default()
    {
        let is_large = value.matches(':').count() == 2;
        let conditions = &mut matches.conditions;
        let of_kind =
            if is_large { &mut conditions.large_communities } else { &mut conditions.communities };
        of_kind.get_or_insert_with(Communities::default).any.push(value.as_str().into());
    }
    let path: Vec<_> = rule.take("asPathPrefix").as_ref().and_then(as_path).unwrap_or_default();
    if !path.is_empty() {
        let path: Vec<_> = path.iter().map(u32::to_string).collect();
        matches.conditions.as_path = vec![format!("^{}_", path.join("_"))];
    }
    if rule.text("interface").is_some() {
        return left_out(
            rule,
            "interface",
            "routes are not told by interface; write their prefixes",
        );
    }
    if rule.take("priority").is_some() {
        return left_out(
            rule,
            "priority",
            "routes have no priority of Felix here; write their prefixes",
        );
    }
    let set = operations(rule);
    Some(Statement {
        name: Some(name),
        matches: Some(matches),
        set,
        apply: None,
        action: Some(action),
    })
}

fn left_out<T>(rule: &mut Fields, key: &str, why: &str) -> Option<T> {
    rule.lost(key, format!("{why}; the whole rule is left out, so that the next one decides"));
    rule.forget();
    None
}

fn prefixes(rule: &mut Fields, family: Family, matches: &mut Match) -> Option<()> {
    let operator = rule.text("matchOperator");
    let lengths = rule.inner("prefixLength").map(|mut lengths| {
        let range = Range { min: lengths.number("min"), max: lengths.number("max") };
        lengths.finish();
        range
    });
    let Some(cidr) = rule.text("cidr") else { return Some(()) };
    let length = cidr.rsplit_once('/').and_then(|(_, length)| length.parse().ok());
    let longest = if family == Family::IPv4 { 32 } else { 128 };
    let inside = Range {
        min: lengths.and_then(|range| range.min).or(length),
        max: lengths.and_then(|range| range.max).or(Some(longest)),
    };
    let (inside, is_negative) = match operator.as_deref() {
        Some("Equal") => (None, false),
        Some("NotEqual") => (None, true),
        Some("In") => (Some(inside), false),
        Some("NotIn") => (Some(inside), true),
        _ => return left_out(rule, "matchOperator", "is none of Equal, NotEqual, In, NotIn"),
    };
    if inside.is_none() && lengths.is_some() {
        return left_out(rule, "prefixLength", "belongs to In and NotIn");
    }
    let prefix = PrefixMatch { cidr: cidr.as_str().into(), prefix_length: inside };
    if is_negative {
        matches.not = Some(Conditions { prefixes: vec![prefix], ..Conditions::default() });
    } else {
        matches.conditions.prefixes = vec![prefix];
    }
    Some(())
}

fn peer_type(rule: &mut Fields, side: Side, conditions: &mut Conditions) -> Option<()> {
    let source = match rule.text("peerType").as_deref() {
        None => return Some(()),
        Some("eBGP") => Source::EBGP,
        Some("iBGP") => Source::IBGP,
        Some(_) => return left_out(rule, "peerType", "is neither eBGP nor iBGP"),
    };
    match side {
        Side::Import => conditions.source = vec![source],
        Side::Export => {
            let why = "who is told is not a condition of that kind; write peerASNumbers, or name the \
                       policy in those BGPPeers only";
            return left_out(rule, "peerType", why);
        }
    }
    Some(())
}

fn as_path(value: &serde_json::Value) -> Option<Vec<u32>> {
    value.as_array()?.iter().map(super::fields::as_asn).collect()
}

/// Changes that an accepting rule makes.
fn operations(rule: &mut Fields) -> Option<Set> {
    let mut set = Set::default();
    for mut operation in rule.list("operations") {
        if let Some(mut community) = operation.inner("addCommunity") {
            let value = community.text("value").unwrap_or_default();
            community.finish();
            let is_large = value.matches(':').count() == 2;
            let of_kind = if is_large { &mut set.large_communities } else { &mut set.communities };
            let change = of_kind.get_or_insert_with(CommunityChange::default);
            change.add.push(value.as_str().into());
        }
        if operation.take("prependASPath").is_some() {
            operation.lost(
                "prependASPath",
                "other ASes are not put in front; write set.prepend with the \
                number of times for our own",
            );
        }
        if operation.take("setPriority").is_some() {
            operation.lost(
                "setPriority",
                "routes have no priority of Felix here; localPreference and med \
                may be meant",
            );
        }
        operation.finish();
    }
    (set != Set::default()).then_some(set)
}
