//! The conditions of a statement: one key each, all of which must hold; those inside `not` must
//! not.

use std::ops::RangeInclusive;

use bgp::{
    aspath::Asn,
    attrs::Origin,
    community::{Community, ExtCommunity, LargeCommunity},
    family::Family,
    policy::{AsnSet, Carries, Condition, PathRegex, PeerTest, Source, TagSet},
};
use toml::de::DeValue;

use super::{Words, lists::Kind, one_or_more, problem::PolicyProblem};
use crate::config::{
    problem::Problem,
    section::{At, Section},
    value,
};

/// Most hops that can be asked for: what one AS_SEQUENCE segment holds, many times over.
const MAX_HOPS: u32 = 1000;
/// Most communities that can be asked for: more than fit into an extended message.
const MAX_TAGS: u32 = 16_384;

/// A condition as it was read; policies are put in once all of them are known.
pub(super) enum Test {
    /// Complete.
    Of(Condition),
    /// This policy accepts.
    Policy(At<String>),
    /// This does not hold.
    Not(Box<Self>),
}

/// The conditions of a statement.
pub(super) fn read(section: &mut Section<'_, '_>, words: &Words) -> Vec<Test> {
    let mut tests = positive(section, words);
    if section.has("not") {
        let inner = section.section("not", |inner| positive(inner, words));
        tests.extend(inner.into_iter().map(|test| Test::Not(Box::new(test))));
    }
    tests
}

fn positive(section: &mut Section<'_, '_>, words: &Words) -> Vec<Test> {
    let mut list = Vec::new();
    destination(section, words, &mut list);
    as_path(section, &mut list);
    carries::<Community>(section, words, &mut list, Condition::Communities);
    carries::<LargeCommunity>(section, words, &mut list, Condition::LargeCommunities);
    carries::<ExtCommunity>(section, words, &mut list, Condition::ExtCommunities);
    attributes(section, words, &mut list);
    peers(section, words, &mut list);
    let mut tests: Vec<Test> = list.into_iter().map(Test::Of).collect();
    tests.extend(section.optional("policy", value::name).map(Test::Policy));
    tests
}

fn destination(section: &mut Section<'_, '_>, words: &Words, list: &mut Vec<Condition>) {
    let prefixes = one_or_more(section, "prefixes", |value| words.lists.prefixes(value));
    list.extend(prefixes.map(|sets| Condition::Prefix(sets.into_iter().flatten().collect())));
    let family = section.optional("family", value::word(&["ipv4", "ipv6"], Family::ALL));
    list.extend(family.map(|at| Condition::Family(at.value)));
}

fn as_path(section: &mut Section<'_, '_>, list: &mut Vec<Condition>) {
    let expressions = one_or_more(section, "as_path", |value| {
        Ok(value::text(value)?.parse::<PathRegex>().map_err(PolicyProblem::from)?)
    });
    list.extend(expressions.map(Condition::AsPath));
    list.extend(asns(section, "as_path_contains").map(Condition::AsPathContains));
    list.extend(asns(section, "originated_by").map(Condition::OriginatedBy));
    list.extend(asns(section, "neighbor_as").map(Condition::NeighborAs));
    let length = range(section, "as_path_length", MAX_HOPS);
    list.extend(length.map(|range| Condition::AsPathLength(sizes(range))));
}

/// `[65001, "64086.59905", "64512-65534"]`.
fn asns(section: &mut Section<'_, '_>, key: &'static str) -> Option<AsnSet> {
    let ranges: Vec<(Asn, Asn)> = one_or_more(section, key, |value| {
        let Some((first, last)) = value.as_str().and_then(|text| text.split_once('-')) else {
            return value::path_asn(value).map(|asn| (asn, asn));
        };
        let bound = |text: &str| value::path_asn(&DeValue::String(text.trim().into()));
        match (bound(first)?, bound(last)?) {
            (first, last) if first > last => {
                let text = value::text(value)?.to_owned();
                Err(PolicyProblem::EmptyAsnRange(text).into())
            }
            range => Ok(range),
        }
    })?;
    Some(ranges.into_iter().collect())
}

/// A list, of which any will do, or a table of `any`, `all`, `none` and `count`.
fn carries<T: Kind>(
    section: &mut Section<'_, '_>,
    words: &Words,
    list: &mut Vec<Condition>,
    condition: fn(Carries<T>) -> Condition,
) {
    if !section.has_table(T::KEY) {
        list.extend(tags(section, T::KEY, words).map(Carries::Any).map(condition));
        return;
    }
    section.section(T::KEY, |table| {
        list.extend(tags(table, "any", words).map(Carries::Any).map(condition));
        list.extend(tags(table, "all", words).map(Carries::All).map(condition));
        let none = tags(table, "none", words).map(Carries::Any).map(condition);
        list.extend(none.map(|any| Condition::Not(Box::new(any))));
        let count = range(table, "count", MAX_TAGS).map(|range| Carries::Count(sizes(range)));
        list.extend(count.map(condition));
        if !["any", "all", "none", "count"].iter().any(|key| table.has(key)) {
            let remedy = "give it any, all, none or count";
            table.fault(table.place(), Problem::EmptyValue(remedy));
        }
    });
}

fn tags<T: Kind>(
    section: &mut Section<'_, '_>,
    key: &'static str,
    words: &Words,
) -> Option<TagSet<T>> {
    let found = one_or_more(section, key, |value| words.lists.communities(value))?;
    Some(found.into_iter().flatten().collect())
}

fn attributes(section: &mut Section<'_, '_>, words: &Words, list: &mut Vec<Condition>) {
    let next_hops = one_or_more(section, "next_hop", |value| words.lists.next_hops(value));
    list.extend(next_hops.map(|sets| Condition::NextHop(sets.into_iter().flatten().collect())));
    list.extend(one_or_more(section, "origin", origin).map(Condition::Origin));
    let sources =
        value::word(&["local", "ebgp", "ibgp"], [Source::Local, Source::Ebgp, Source::Ibgp]);
    list.extend(one_or_more(section, "source", sources).map(Condition::Source));
    list.extend(range(section, "local_preference", u32::MAX).map(Condition::LocalPref));
    list.extend(range(section, "med", u32::MAX).map(Condition::Med));
}

/// `igp`, `egp` or `incomplete`.
pub(super) fn origin(value: &DeValue<'_>) -> Result<Origin, Problem> {
    value::word(&["igp", "egp", "incomplete"], [Origin::Igp, Origin::Egp, Origin::Incomplete])(
        value,
    )
}

fn peers(section: &mut Section<'_, '_>, words: &Words, list: &mut Vec<Condition>) {
    let mut test = |names, groups, numbers, make: fn(PeerTest) -> Condition| {
        let named = words.peers(section, names);
        list.extend(named.map(PeerTest::Name).map(make));
        let grouped = words.groups(section, groups);
        list.extend(grouped.map(PeerTest::Group).map(make));
        list.extend(asns(section, numbers).map(PeerTest::Asn).map(make));
    };
    test("peers", "peer_groups", "peer_asns", Condition::Peer);
    test("from_peers", "from_groups", "from_asns", Condition::LearnedFrom);
}

/// A number, or a table of `min` and `max`.
fn range(
    section: &mut Section<'_, '_>,
    key: &'static str,
    most: u32,
) -> Option<RangeInclusive<u32>> {
    if !section.has_table(key) {
        let number = section.optional(key, value::number(0..=most))?.value;
        return Some(number..=number);
    }
    section.section(key, |table| {
        let min = table.or("min", 0, value::number(0..=most));
        let max = table.or("max", u32::MAX, value::number(0..=most));
        if !table.has("min") && !table.has("max") {
            table.fault(table.place(), Problem::EmptyValue("give it min, max or both"));
        }
        if min > max {
            let (min, max) = (min as usize, max as usize);
            table.fault(table.place(), PolicyProblem::EmptyRange(min, max).into());
        }
        Some(min..=max)
    })
}

fn sizes(range: RangeInclusive<u32>) -> RangeInclusive<usize> {
    *range.start() as usize..=*range.end() as usize
}
