//! `[pods]`: the ranges from which this node's pods get their addresses.

use bgp::{family::Family, prefix::Prefix};

use super::{
    Mode, Pods,
    problem::Problem,
    section::{At, Section},
    value,
};

/// What every Ethernet takes.
const DEFAULT_MTU: u32 = 1500;
/// The least that IPv6 needs (RFC 8200 §5).
const LEAST_MTU_IPV6: u32 = 1280;
/// The least that every IPv4 host must take in one piece (RFC 791).
const LEAST_MTU_IPV4: u32 = 576;

/// The section, if it is there.
pub(super) fn read(root: &mut Section<'_, '_>, mode: Mode) -> Option<Pods> {
    let present = root.has("pods");
    let pods = root.section("pods", |section| {
        let mut ranges = Vec::new();
        for (key, family) in [("ipv4", Family::Ipv4Unicast), ("ipv6", Family::Ipv6Unicast)] {
            ranges.extend(section.list(key, |value| range(value, family)).unwrap_or_default());
        }
        let six = ranges.iter().any(|range| range.value.family() == Family::Ipv6Unicast);
        let least = if six { LEAST_MTU_IPV6 } else { LEAST_MTU_IPV4 };
        let mtu = section.or("mtu", DEFAULT_MTU, value::number(least..=65_535));
        check_overlaps(section, &ranges);
        if section.exists() && ["ipv4", "ipv6"].iter().all(|key| section.is_empty_list(key)) {
            section.fault(section.place(), Problem::NoRange);
        }
        Pods { prefixes: ranges.into_iter().map(|range| range.value).collect(), mtu }
    });
    if present && mode == Mode::Speaker {
        root.fault(root.place_of("pods"), Problem::SpeakerOnly);
    }
    present.then_some(pods)
}

fn range(value: &toml::de::DeValue<'_>, family: Family) -> Result<Prefix, Problem> {
    let range = value::prefix(value)?;
    // At least four addresses, so that a pod can be replaced while the old one still leaves.
    let longest = family.max_len() - 2;
    if range.family() != family {
        return Err(Problem::WrongList(
            range,
            match range.family() {
                Family::Ipv4Unicast => "ipv4",
                Family::Ipv6Unicast => "ipv6",
            },
        ));
    }
    if range.len() > longest {
        return Err(Problem::RangeTooSmall(range, longest));
    }
    let reserved = RESERVED.iter().filter_map(|(text, what)| Some((text.parse().ok()?, *what)));
    for (reserved, what) in reserved {
        if range.covers(reserved) || reserved.covers(range) {
            return Err(Problem::RangeReserved(range, reserved, what));
        }
    }
    Ok(range)
}

fn check_overlaps(section: &mut Section<'_, '_>, ranges: &[At<Prefix>]) {
    for (i, this) in ranges.iter().enumerate() {
        let shares =
            |other: &&At<Prefix>| this.value.covers(other.value) || other.value.covers(this.value);
        if let Some(other) = ranges[..i].iter().find(shares) {
            let (this, place) = (this.value, this.place.clone());
            let (other, first) = (other.value, other.place.clone());
            section.fault(place, Problem::RangesOverlap { this, other, first });
        }
    }
}

/// What no pod can have as its address (RFC 6890).
const RESERVED: [(&str, &str); 7] = [
    ("0.0.0.0/8", "this network"),
    ("127.0.0.0/8", "loopback"),
    ("169.254.0.0/16", "link-local, with the pods' gateway"),
    ("224.0.0.0/3", "multicast and reserved"),
    ("::/16", "loopback and IPv4 in IPv6"),
    ("fe80::/10", "link-local, with the pods' gateway"),
    ("ff00::/8", "multicast"),
];
