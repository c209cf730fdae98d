//! NAT outgoing: which packets of pods leave with an address of the node.
//!
//! In: the ranges whose pods need it, and the destinations that see pods under their own addresses. Out:
//! the [`Translation`] of each family, as intervals that do not touch, and how far it is in force.
//!
//! A pod whose range has left the configuration keeps its translation until its address is free:
//! otherwise its connections would end although nobody asked for that.

use std::{net::IpAddr, time::Instant};

use bgp::{family::Family, prefix::Prefix};

use super::{Command, Notice, Pods, event::RuleTable, verb::PodError};
use crate::ipam::last;

/// What the configuration asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NatSettings {
    /// Ranges of this node whose pods' addresses mean nothing outside; empty: no NAT.
    pub sources: Vec<Prefix>,
    /// Destinations that see pods under their own addresses.
    pub direct: Vec<Prefix>,
    /// What pods' packets leave with, at most one address a family; without one, with that of the
    /// interface by which they leave.
    pub addresses: Vec<IpAddr>,
}

/// Addresses from the first to the last, both of one family.
pub type Interval = (IpAddr, IpAddr);

/// What becomes of one family's packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Translation {
    /// Which family.
    pub family: Family,
    /// From here; in order, and none touches another.
    pub sources: Vec<Interval>,
    /// But not to here; in order, and none touches another.
    pub direct: Vec<Interval>,
    /// They get this address; `None`: that of the interface by which they leave.
    pub address: Option<IpAddr>,
}

/// Whether pods of a range leave with an address of the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NatState {
    /// They leave with their own.
    Off,
    /// They do.
    On,
    /// They should, but the kernel refuses so far.
    Failed,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Nat {
    /// What was ordered last; `None`: nothing yet.
    ordered: Option<Vec<Translation>>,
    /// Sources that have left the configuration.
    former: Vec<Prefix>,
    failed: bool,
    /// When to try again, after a failure.
    pub(super) again: Option<Instant>,
}

/// What the kernel shall do for these sources.
#[must_use]
pub fn translations(settings: &NatSettings, former: &[Prefix]) -> Vec<Translation> {
    let families = [Family::Ipv4Unicast, Family::Ipv6Unicast].into_iter();
    let translation = |family: Family| {
        let of_family = |prefix: &&Prefix| prefix.family() == family;
        let sources = settings.sources.iter().chain(former).filter(of_family).copied();
        // Who sends to a group is known to it by its own address, or is no use as a member.
        let direct = settings.direct.iter().filter(of_family).copied().chain(multicast(family));
        let fits = |address: &&IpAddr| Prefix::host(**address).family() == family;
        Translation {
            family,
            sources: merged(sources),
            direct: merged(direct),
            address: settings.addresses.iter().find(fits).copied(),
        }
    };
    families.map(translation).filter(|translation| !translation.sources.is_empty()).collect()
}

/// RFC 5771, RFC 4291 §2.7.
fn multicast(family: Family) -> Option<Prefix> {
    match family {
        Family::Ipv4Unicast => Prefix::new([224, 0, 0, 0].into(), 4).ok(),
        Family::Ipv6Unicast => Prefix::new([0xff00, 0, 0, 0, 0, 0, 0, 0].into(), 8).ok(),
    }
}

/// The same addresses in as few intervals as can be.
fn merged(prefixes: impl Iterator<Item = Prefix>) -> Vec<Interval> {
    let mut sorted: Vec<_> = prefixes.map(|prefix| (prefix.addr(), last(prefix))).collect();
    sorted.sort_unstable();
    let mut merged: Vec<Interval> = Vec::new();
    for (first, last) in sorted {
        match merged.last_mut() {
            Some(before) if next(before.1).is_none_or(|next| first <= next) => {
                before.1 = before.1.max(last);
            }
            Some(_) | None => merged.push((first, last)),
        }
    }
    merged
}

/// The address after this one; `None` after the last of its family.
#[must_use]
pub fn next(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(address) => Some(IpAddr::V4(address.to_bits().checked_add(1)?.into())),
        IpAddr::V6(address) => Some(IpAddr::V6(address.to_bits().checked_add(1)?.into())),
    }
}

impl Pods {
    /// Whether pods of this range leave with an address of the node.
    #[must_use]
    pub fn nat_of(&self, range: Prefix) -> NatState {
        let mut sources = self.settings.nat.sources.iter().chain(&self.nat.former);
        match sources.any(|source| *source == range) {
            false => NatState::Off,
            true if self.nat.failed => NatState::Failed,
            true => NatState::On,
        }
    }

    /// Other settings are in force; these were so before.
    pub(super) fn nat_reconfigured(&mut self, before: &NatSettings) {
        let kept = |range: &Prefix| {
            before.sources.iter().chain(&self.nat.former).any(|source| source == range)
        };
        let former = self.ipam.former().map(|(range, _)| range).filter(kept).collect();
        self.nat.former = former;
        let wanted = translations(&self.settings.nat, &self.nat.former);
        // Before the first survey it is not known yet which ranges are former.
        if self.nat.ordered.as_ref().is_some_and(|ordered| *ordered != wanted) {
            self.translate();
        }
    }

    /// Has the kernel translate as it shall.
    pub(super) fn translate(&mut self) {
        let wanted = translations(&self.settings.nat, &self.nat.former);
        self.nat.ordered = Some(wanted.clone());
        self.commands.push_back(Command::Translate(wanted));
    }

    pub(super) fn translated(&mut self, outcome: Result<(), PodError>, now: Instant) {
        self.nat.failed = outcome.is_err();
        self.nat.again = outcome.is_err().then(|| now + NAT_RETRY);
        if let Err(error) = outcome {
            self.notice(Notice::NotTranslated(error));
        }
    }

    /// A table that somebody had touched was put back, or could not be.
    pub(super) fn restored(
        &mut self,
        table: RuleTable,
        outcome: Result<(), PodError>,
        now: Instant,
    ) {
        self.drift.table(table, outcome.is_ok());
        match (table, outcome) {
            (_, Ok(())) => self.notice(Notice::Restored(table)),
            (RuleTable::Guard, Err(error)) => self.not_enforced(error, now),
            (RuleTable::Nat, Err(error)) => self.translated(Err(error), now),
        }
    }
}

/// What a kernel lacks it does not get within a second, and the log is read by people.
const NAT_RETRY: std::time::Duration = std::time::Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    fn prefixes(texts: &[&str]) -> Vec<Prefix> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn shown(intervals: &[Interval]) -> Vec<String> {
        intervals.iter().map(|(first, last)| format!("{first}-{last}")).collect()
    }

    #[test]
    fn without_sources_nothing_is_translated() {
        let direct = prefixes(&["10.0.0.0/8"]);
        let settings = NatSettings { direct, ..NatSettings::default() };
        assert_eq!(translations(&settings, &[]), []);
    }

    #[test]
    fn each_family_is_translated_for_itself_and_multicast_never() {
        let settings = NatSettings {
            sources: prefixes(&["10.244.1.0/24", "fd00:1::/64"]),
            direct: prefixes(&["10.244.0.0/16", "fd00::/16"]),
            addresses: vec!["2001:db8::1".parse().unwrap()],
        };
        let both = translations(&settings, &prefixes(&["10.244.9.0/24"]));
        let [four, six] = &both[..] else { panic!("{both:?}") };
        assert_eq!(shown(&four.sources), ["10.244.1.0-10.244.1.255", "10.244.9.0-10.244.9.255"]);
        assert_eq!(shown(&four.direct), ["10.244.0.0-10.244.255.255", "224.0.0.0-239.255.255.255"]);
        assert_eq!(four.address, None);
        assert_eq!(six.direct.len(), 2);
        assert_eq!(six.address, Some("2001:db8::1".parse().unwrap()));
    }

    #[test]
    fn intervals_neither_overlap_nor_touch() {
        let merge = |texts: &[&str]| shown(&merged(prefixes(texts).into_iter()));
        assert_eq!(merge(&["10.0.1.0/24", "10.0.0.0/24", "10.0.0.7/32"]), ["10.0.0.0-10.0.1.255"]);
        assert_eq!(merge(&["10.0.0.0/8", "10.1.0.0/16"]), ["10.0.0.0-10.255.255.255"]);
        assert_eq!(
            merge(&["10.0.0.0/24", "10.0.2.0/24"]),
            ["10.0.0.0-10.0.0.255", "10.0.2.0-10.0.2.255"]
        );
        assert_eq!(
            merge(&["255.0.0.0/8", "255.255.0.0/16", "0.0.0.0/0"]),
            ["0.0.0.0-255.255.255.255"]
        );
        assert_eq!(merge(&["ff00::/8", "::/0"]).len(), 1);
    }
}
