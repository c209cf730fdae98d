//! `[[bgp.aggregates]]`: prefixes that stand for this node's own ranges.

use bgp::{prefix::Prefix, rib::Aggregate};

use super::{
    fault::Place,
    problem::{Caution, Problem},
    section::{At, Section},
    value,
};

/// Every table, in the order of the file. No prefix comes twice.
pub(super) fn read(speaker: &mut Section<'_, '_>) -> Vec<At<Aggregate>> {
    let tables = speaker.tables("aggregates", |table| {
        let prefix = table.required("prefix", "prefix = \"10.244.0.0/16\"", value::prefix);
        let summary_only = table.or("summary_only", false, value::flag);
        let At { value: prefix, place } = prefix?;
        if prefix.len() == 0 {
            table.fault(place, Problem::DefaultAggregate);
            return None;
        }
        Some(At { value: Aggregate { prefix, summary_only }, place })
    });
    let mut kept: Vec<At<Aggregate>> = Vec::new();
    for At { value, place } in tables.into_iter().flatten() {
        if let Some(first) = kept.iter().find(|first| first.value.prefix == value.prefix) {
            let what = format!("the prefix {}", value.prefix);
            speaker.fault(place, Problem::Repeated { what, first: first.place.clone() });
        } else {
            kept.push(At { value, place });
        }
    }
    kept
}

/// An aggregate has something inside it, and is nothing of that itself.
pub(super) fn check(root: &mut Section<'_, '_>, aggregates: &[At<Aggregate>], ranges: &[Prefix]) {
    for At { value: Aggregate { prefix, .. }, place } in aggregates {
        let place: Place = place.clone();
        if let Some(range) = ranges.iter().copied().find(|range| range.covers(*prefix)) {
            root.fault(place, Problem::AggregateInRange { prefix: *prefix, range });
        } else if !ranges.iter().any(|range| prefix.covers(*range)) {
            root.warn(place, Caution::EmptyAggregate(*prefix));
        }
    }
}
