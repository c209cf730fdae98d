//! `[pods]`: the ranges from which this node's pods get their addresses.

use std::time::Duration;

use bgp::{family::Family, prefix::Prefix};
use routed_core::ipam::{IpamSettings, PoolSettings};

mod nat;

use super::{
    Mode, Pods, Service,
    fault::Place,
    problem::Problem,
    section::{At, Section},
    value,
};

/// The least that IPv6 needs (RFC 8200 §5).
const LEAST_MTU_IPV6: u32 = 1280;
/// The least that every IPv4 host must take in one piece (RFC 791).
const LEAST_MTU_IPV4: u32 = 576;

/// Blocks of 64 addresses, as many as most nodes need once or twice.
const DEFAULT_BLOCK_IPV4: u8 = 26;
/// The same.
const DEFAULT_BLOCK_IPV6: u8 = 122;
/// Longer than a TCP peer retries into the void and than conntrack remembers most of it.
const DEFAULT_COOLDOWN: Duration = Duration::from_secs(30);
/// Longer would only be a way to run out of addresses.
const MOST_COOLDOWN: u16 = 3600;
/// What of the daemon pods can be let to reach.
const SERVICES: [Service; 2] = [Service::Bgp, Service::Http];
/// The pool of those who name none.
const DEFAULT_POOL: &str = "default";

/// The section, if it is there. In a cluster the node has pods without it, and ranges come and go.
pub(super) fn read(root: &mut Section<'_, '_>, mode: Mode, in_cluster: bool) -> Option<Pods> {
    let present = root.has("pods");
    let pods = root.section("pods", |section| {
        let mut ranges = ranges(section, in_cluster);
        let first = Pool {
            name: None,
            ranges: ranges.iter().map(|range| range.value).collect(),
            blocks: blocks(section, (DEFAULT_BLOCK_IPV4, DEFAULT_BLOCK_IPV6)),
            announce: true,
            nat: nat::of_pool(section),
        };
        let defaults = first.blocks;
        let has_own = !first.ranges.is_empty();
        let mut more = section.tables("pools", |section| {
            let name = section.required("name", "name = \"storage\"", value::name);
            let own = self::ranges(section, in_cluster);
            if !in_cluster {
                need_a_range(section);
            }
            let pool = own.iter().map(|range| range.value).collect();
            ranges.extend(own);
            let blocks = blocks(section, defaults);
            let announce = section.or("announce", true, value::flag);
            Pool { name, ranges: pool, blocks, announce, nat: nat::of_pool(section) }
        });
        check_names(section, &mut more, has_own);
        let six = ranges.iter().any(|range| range.value.family() == Family::Ipv6Unicast);
        let least = if six { LEAST_MTU_IPV6 } else { LEAST_MTU_IPV4 };
        let mtu = section.optional("mtu", value::number(least..=65_535));
        let cooldown = section.or("cooldown", DEFAULT_COOLDOWN, |value| {
            let seconds = value::number(0..=MOST_COOLDOWN)(value)?;
            Ok(Duration::from_secs(seconds.into()))
        });
        let reserved = reserved(section, &ranges);
        let floating = floating(section, &ranges);
        let lost = section.list("lost", value::prefix).unwrap_or_default();
        let lost = lost.into_iter().map(|at| at.value).collect();
        let guard = section.or("guard", true, value::flag);
        let open = section.list("open_to_pods", value::word(&["bgp", "http"], SERVICES));
        let open_to_pods = open.unwrap_or_default().into_iter().map(|at| at.value).collect();
        check_overlaps(section, &ranges);
        if let Some(place) =
            first.nat.clone().filter(|_| !has_own && !more.is_empty() && !in_cluster)
        {
            section.fault(place, Problem::NatOfNoRange);
        }
        let nat = nat::read(section, std::iter::once(&first).chain(&more), &ranges);
        if section.exists() && ranges.is_empty() && !in_cluster {
            need_a_range(section);
        }
        // Without ranges of its own, the section is no pool if there are others.
        let first = (has_own || more.is_empty()).then_some(first);
        let pools = first.into_iter().chain(more).map(Pool::settings).collect();
        Pods {
            prefixes: ranges.into_iter().map(|range| range.value).collect(),
            ipam: IpamSettings { pools, reserved, floating, lost, cooldown },
            mtu: mtu.map(|mtu| mtu.value),
            guard,
            open_to_pods,
            nat,
        }
    });
    if present && mode == Mode::Speaker {
        root.fault(root.place_of("pods"), Problem::SpeakerOnly);
    }
    (present || in_cluster && mode == Mode::Node).then_some(pods)
}

/// A pool as it is read.
struct Pool {
    name: Option<At<String>>,
    ranges: Vec<Prefix>,
    /// Lengths of IPv4 and IPv6 blocks.
    blocks: (u8, u8),
    announce: bool,
    /// Where its pods are to leave with an address of the node.
    nat: Option<Place>,
}

impl Pool {
    fn name(&self) -> String {
        self.name.as_ref().map_or_else(|| DEFAULT_POOL.to_owned(), |name| name.value.clone())
    }

    fn settings(self) -> PoolSettings {
        PoolSettings {
            name: self.name(),
            ranges: self.ranges,
            block_ipv4: self.blocks.0,
            block_ipv6: self.blocks.1,
            announce: self.announce,
        }
    }
}

/// The ranges of one pool, of both families.
fn ranges(section: &mut Section<'_, '_>, in_cluster: bool) -> Vec<At<Prefix>> {
    let mut ranges = Vec::new();
    for (key, family) in [("ipv4", Family::Ipv4Unicast), ("ipv6", Family::Ipv6Unicast)] {
        // At least four addresses, so that a pod can be replaced while the old one still leaves. A node of
        // a cluster gets further blocks, however small they are.
        let longest = if in_cluster { family.max_len() } else { family.max_len() - 2 };
        let range = |value: &toml::de::DeValue<'_>| range(value, family, longest);
        ranges.extend(section.list(key, range).unwrap_or_default());
    }
    ranges
}

fn blocks(section: &mut Section<'_, '_>, default: (u8, u8)) -> (u8, u8) {
    let ipv4 = section.or("block_ipv4", default.0, value::number(16..=32));
    (ipv4, section.or("block_ipv6", default.1, value::number(112..=128)))
}

fn need_a_range(section: &mut Section<'_, '_>) {
    if ["ipv4", "ipv6"].iter().all(|key| section.is_empty_list(key)) {
        section.fault(section.place(), Problem::NoRange);
    }
}

/// Names are unique, and the first pool has one too, if there is one besides these.
fn check_names(section: &mut Section<'_, '_>, pools: &mut [Pool], has_first: bool) {
    for i in 0..pools.len() {
        let Some(name) = pools[i].name.clone() else { continue };
        let mut earlier = pools[..i].iter().filter_map(|pool| pool.name.as_ref());
        if has_first && name.value == DEFAULT_POOL {
            section.fault(name.place, Problem::FirstPoolsName(name.value));
        } else if let Some(first) = earlier.find(|earlier| earlier.value == name.value) {
            let first = first.place.clone();
            section.fault(
                name.place,
                Problem::Repeated { what: format!("the name {:?}", name.value), first },
            );
        }
    }
}

/// Addresses that only those get who ask for them.
fn reserved(section: &mut Section<'_, '_>, ranges: &[At<Prefix>]) -> Vec<Prefix> {
    let in_a_range = |value: &toml::de::DeValue<'_>| {
        let reserved = address_or_prefix(value)?;
        let shares = |range: &At<Prefix>| range.value.covers(reserved);
        if ranges.iter().any(shares) {
            Ok(reserved)
        } else {
            Err(Problem::ReservedOutside(reserved))
        }
    };
    let reserved = section.list("reserved", in_a_range).unwrap_or_default();
    reserved.into_iter().map(|at| at.value).collect()
}

/// Addresses that follow their pod. Those in a range of this node are leased from it anyway, so a prefix
/// may cover one, but not lie inside.
fn floating(section: &mut Section<'_, '_>, ranges: &[At<Prefix>]) -> Vec<Prefix> {
    let floating = section.list("floating", address_or_prefix).unwrap_or_default();
    for (i, At { value: prefix, place }) in floating.iter().enumerate() {
        let twice = floating[..i]
            .iter()
            .find(|other| other.value.covers(*prefix) || prefix.covers(other.value));
        if let Some(other) = twice {
            let (this, first) = (*prefix, other.place.clone());
            let problem = Problem::RangesOverlap { this, other: other.value, first };
            section.fault(place.clone(), problem);
        }
    }
    let inside = |prefix: &Prefix| ranges.iter().any(|range| range.value.covers(*prefix));
    floating.into_iter().map(|at| at.value).filter(|prefix| !inside(prefix)).collect()
}

fn address_or_prefix(value: &toml::de::DeValue<'_>) -> Result<Prefix, Problem> {
    let address = value::text(value)?.parse().ok();
    address.map_or_else(|| value::prefix(value), |address| Ok(Prefix::host(address)))
}

fn range(value: &toml::de::DeValue<'_>, family: Family, longest: u8) -> Result<Prefix, Problem> {
    let range = value::prefix(value)?;
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
