//! `max_prefixes` and `max_advertised`: how much a peer may announce, and how much it is told.

use std::time::Duration;

use bgp::{
    config::{AtLimit, Counted, PrefixLimit, RibPeerConfig},
    family::{Family, FamilySet, PerFamily},
};

use crate::config::{
    problem::{Caution, Problem},
    section::{At, Section},
    value,
};

/// Of 100 that a peer may announce, so many are worth a warning.
const DEFAULT_WARN_PERCENT: u32 = 75;
/// Five minutes: one transfer of routes in this time is no flapping.
const DEFAULT_REST: Duration = Duration::from_secs(300);

/// What follows a limit, as it is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Action {
    Warn,
    Stop,
    Restart,
}

/// Reads both tables. `families`: those that the session offers.
pub(super) fn read(section: &mut Section<'_, '_>, families: FamilySet, rib: &mut RibPeerConfig) {
    rib.max_prefixes = section.section("max_prefixes", |table| max_prefixes(table, families));
    rib.max_advertised = section.section("max_advertised", |table| {
        let limits = numbers(table, 0, families);
        PerFamily { ipv4: limits.ipv4.map(|at| at.value), ipv6: limits.ipv6.map(|at| at.value) }
    });
}

fn max_prefixes(
    table: &mut Section<'_, '_>,
    families: FamilySet,
) -> PerFamily<Option<PrefixLimit>> {
    let limits = numbers(table, 1, families);
    let actions = [Action::Warn, Action::Stop, Action::Restart];
    let words = value::word(&["warn", "stop", "restart"], actions);
    let action = table.or("action", Action::Restart, words);
    let percent = table.or("warn_percent", DEFAULT_WARN_PERCENT, value::number(1..=100));
    let counted = [Counted::Received, Counted::Accepted];
    let counted =
        table.or("counted", Counted::Received, value::word(&["received", "accepted"], counted));
    let rest = table.optional("restart_after", value::seconds);
    if let Some(rest) = &rest
        && action != Action::Restart
    {
        table.fault(rest.place.clone(), Problem::Missing("action = \"restart\" with it"));
    }
    let at_limit = match action {
        Action::Warn => AtLimit::Warn,
        Action::Stop => AtLimit::Stop { restart_after: None },
        Action::Restart => {
            AtLimit::Stop { restart_after: Some(rest.map_or(DEFAULT_REST, |at| at.value)) }
        }
    };
    let limit = |max: Option<At<u32>>| {
        max.map(|At { value: max, .. }| PrefixLimit {
            max,
            warn_from: share(max, percent),
            counted,
            at_limit,
        })
    };
    PerFamily { ipv4: limit(limits.ipv4), ipv6: limit(limits.ipv6) }
}

/// A number for one family or for each. A table that has none says nothing.
fn numbers(
    table: &mut Section<'_, '_>,
    least: u32,
    families: FamilySet,
) -> PerFamily<Option<At<u32>>> {
    let mut limits = PerFamily { ipv4: None, ipv6: None };
    for (family, key) in [(Family::Ipv4Unicast, "ipv4"), (Family::Ipv6Unicast, "ipv6")] {
        let limit = table.optional(key, value::number(least..=u32::MAX));
        if let Some(limit) = &limit
            && !families.contains(family)
        {
            table.warn(limit.place.clone(), Caution::FamilyOff(key));
        }
        *limits.get_mut(family) = limit;
    }
    if table.exists() && !table.has("ipv4") && !table.has("ipv6") {
        table.fault(table.place(), Problem::EmptyValue("write ipv4 = 12000, ipv6 = 4000 or both"));
    }
    limits
}

/// This many in a hundred of `max`, rounded up; never 0.
fn share(max: u32, percent: u32) -> u32 {
    let share = (u64::from(max) * u64::from(percent)).div_ceil(100);
    u32::try_from(share).unwrap_or(max).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_rounded_up_and_never_more_than_the_whole() {
        assert_eq!(share(1000, 75), 750);
        assert_eq!(share(10, 75), 8);
        assert_eq!(share(1, 1), 1);
        assert_eq!(share(u32::MAX, 100), u32::MAX);
    }
}
