//! `[[prefix_lists]]` and `[[community_lists]]`: values with a name, for any number of policies.
//!
//! In: the tables, then elements of other lists, each a value or such a name. Out: the values
//! that an element stands for.

use std::{cell::Cell, collections::BTreeMap, net::IpAddr, str::FromStr};

use bgp::{
    community::{Community, ExtCommunity, LargeCommunity},
    policy::{PrefixMatch, Tag, TagMatch},
};
use toml::de::DeValue;

use super::{
    prefix::prefix_match,
    problem::{PolicyCaution, PolicyProblem},
};
use crate::config::{
    fault::Place,
    problem::{Caution, Problem},
    section::{At, Section, nearest},
    value,
};

/// Every list.
pub(super) struct Lists {
    prefixes: Vec<List<Vec<PrefixMatch>>>,
    communities: Vec<List<Communities>>,
}

struct List<T> {
    name: String,
    place: Place,
    values: T,
    used: Cell<bool>,
}

/// A community list: what it has of each kind.
pub(super) struct Communities {
    standard: Vec<TagMatch<Community>>,
    large: Vec<TagMatch<LargeCommunity>>,
    extended: Vec<TagMatch<ExtCommunity>>,
}

/// A kind of communities.
pub(super) trait Kind: Tag {
    /// The key under which a list has them.
    const KEY: &'static str;
    /// One of them, with its article.
    const EXAMPLE: &'static str;

    /// Names that stand for one.
    fn names() -> Vec<&'static str> {
        Vec::new()
    }

    /// Those of a list.
    fn of(list: &Communities) -> &[TagMatch<Self>];

    /// From text, patterns included.
    fn parse(text: &str) -> Result<TagMatch<Self>, Problem>;
}

impl Kind for Community {
    const KEY: &'static str = "communities";
    const EXAMPLE: &'static str = "a community such as 65000:100, 65000:* or no-export";

    fn names() -> Vec<&'static str> {
        Self::well_known().collect()
    }

    fn of(list: &Communities) -> &[TagMatch<Self>] {
        &list.standard
    }

    fn parse(text: &str) -> Result<TagMatch<Self>, Problem> {
        Ok(TagMatch::from_str(text)?)
    }
}

impl Kind for LargeCommunity {
    const KEY: &'static str = "large_communities";
    const EXAMPLE: &'static str = "a large community such as 4200000000:1:2 or 4200000000:1:*";

    fn of(list: &Communities) -> &[TagMatch<Self>] {
        &list.large
    }

    fn parse(text: &str) -> Result<TagMatch<Self>, Problem> {
        Ok(TagMatch::from_str(text)?)
    }
}

impl Kind for ExtCommunity {
    const KEY: &'static str = "extended_communities";
    const EXAMPLE: &'static str = "an extended community such as rt:65000:100, rt:* or lb:*";

    fn of(list: &Communities) -> &[TagMatch<Self>] {
        &list.extended
    }

    fn parse(text: &str) -> Result<TagMatch<Self>, Problem> {
        Ok(TagMatch::from_str(text).map_err(PolicyProblem::from)?)
    }
}

/// The tables.
pub(super) fn read_all(root: &mut Section<'_, '_>) -> Lists {
    let prefixes = root.tables("prefix_lists", |section| {
        let values = super::one_or_more(section, "prefixes", prefix_match);
        if !section.has("prefixes") {
            let example = "prefixes = [\"10.0.0.0/8 le 24\"]";
            section.fault(section.place_of("prefixes"), Problem::Missing(example));
        }
        list(section, values.unwrap_or_default())
    });
    let communities = root.tables("community_lists", |section| {
        let kinds = [Community::KEY, LargeCommunity::KEY, ExtCommunity::KEY];
        if !kinds.iter().any(|kind| section.has(kind)) {
            let example =
                "communities = [\"65000:100\"], large_communities or extended_communities";
            section.fault(section.place_of(Community::KEY), Problem::Missing(example));
        }
        let values =
            Communities { standard: tags(section), large: tags(section), extended: tags(section) };
        list(section, values)
    });
    Lists { prefixes: unique(root, prefixes), communities: unique(root, communities) }
}

/// The patterns of one kind in a list itself.
fn tags<T: Kind>(section: &mut Section<'_, '_>) -> Vec<TagMatch<T>> {
    super::one_or_more(section, T::KEY, |value| T::parse(value::text(value)?)).unwrap_or_default()
}

/// The list, if it has a name that is no value.
fn list<T>(section: &mut Section<'_, '_>, values: T) -> Option<At<List<T>>> {
    let name = section.required("name", "name = \"martians\"", |value| {
        let name = value::name(value)?;
        if Community::names().contains(&&*name) || !is_list_name(&name) {
            return Err(PolicyProblem::ListName(name).into());
        }
        Ok(name)
    })?;
    let place = section.place();
    let list = List { name: name.value, place, values, used: Cell::new(false) };
    Some(At { value: list, place: name.place })
}

/// Can this be meant as a list's name, rather than as a value?
fn is_list_name(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic()) && !text.contains([':', '.', '/'])
}

fn unique<T>(root: &mut Section<'_, '_>, lists: Vec<Option<At<List<T>>>>) -> Vec<List<T>> {
    let mut first: BTreeMap<String, Place> = BTreeMap::new();
    let mut kept = Vec::new();
    for At { value: list, place } in lists.into_iter().flatten() {
        if let Some(first) = first.get(&list.name).cloned() {
            let what = format!("the name {:?}", list.name);
            root.fault(place, Problem::Repeated { what, first });
        } else {
            first.insert(list.name.clone(), place);
            kept.push(list);
        }
    }
    kept
}

impl Lists {
    /// What an element of `prefixes` stands for.
    pub(super) fn prefixes(&self, value: &DeValue<'_>) -> Result<Vec<PrefixMatch>, Problem> {
        let text = value::text(value)?;
        if !is_list_name(text) {
            return Ok(vec![prefix_match(value)?]);
        }
        let wanted = "a prefix such as 10.0.0.0/8 le 24";
        Ok(find(&self.prefixes, text, wanted, "prefix_lists", &[])?.clone())
    }

    /// What an element of `next_hop` stands for: everything inside, whatever the lengths.
    pub(super) fn next_hops(&self, value: &DeValue<'_>) -> Result<Vec<PrefixMatch>, Problem> {
        let text = value::text(value)?;
        if is_list_name(text) {
            return self.prefixes(value);
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(vec![PrefixMatch::inside(bgp::prefix::Prefix::host(address))]);
        }
        if !text.contains('/') || text.contains(' ') {
            return Err(PolicyProblem::NextHop(text.to_owned()).into());
        }
        Ok(vec![PrefixMatch::inside(text.parse()?)])
    }

    /// What an element of a list of communities stands for.
    pub(super) fn communities<T: Kind>(
        &self,
        value: &DeValue<'_>,
    ) -> Result<Vec<TagMatch<T>>, Problem> {
        let text = value::text(value)?;
        let names = T::names();
        if !is_list_name(text) || names.contains(&text) {
            return Ok(vec![T::parse(text)?]);
        }
        let list = find(&self.communities, text, T::EXAMPLE, "community_lists", &names)?;
        let tags = T::of(list);
        if tags.is_empty() {
            return Err(PolicyProblem::OtherKind { name: text.to_owned(), kind: T::KEY }.into());
        }
        Ok(tags.to_vec())
    }

    /// Warns of lists that nobody has named, once every policy is read.
    pub(super) fn warn_unused(&self, root: &mut Section<'_, '_>) {
        let prefixes = self.prefixes.iter().map(|list| (&list.used, &list.place));
        let communities = self.communities.iter().map(|list| (&list.used, &list.place));
        for (_, place) in prefixes.chain(communities).filter(|(used, _)| !used.get()) {
            root.warn(place.clone(), Caution::Policy(PolicyCaution::UnusedList));
        }
    }
}

/// The list of this name, or the problem that there is none.
fn find<'l, T>(
    lists: &'l [List<T>],
    name: &str,
    value: &'static str,
    table: &'static str,
    others: &[&str],
) -> Result<&'l T, Problem> {
    if let Some(list) = lists.iter().find(|list| list.name == name) {
        list.used.set(true);
        return Ok(&list.values);
    }
    let known = lists.iter().map(|list| &*list.name).chain(others.iter().copied());
    let meant = nearest(name, known).map(str::to_owned);
    Err(PolicyProblem::UnknownList { name: name.to_owned(), value, table, meant }.into())
}
