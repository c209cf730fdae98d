//! `[pods]`: IPPools with the blocks that this node has of them, IPReservations, and the ranges that
//! the node has in its own object where there is no pool for it.

use std::collections::BTreeMap;

use bgp::{family::Family, prefix::Prefix};
use routed_api::{IPPool, IPPoolSpec};
use routed_core::claims;

use super::{
    Block, Draft, Input, Problem,
    base::Base,
    by_age,
    text::{Part, Table, Value},
};
use crate::{Node, Objects};

/// Blocks of 64 addresses.
const BLOCK_IPV4: u8 = 26;
/// The same.
const BLOCK_IPV6: u8 = 122;

/// A pool that nodes can have blocks of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usable<'o> {
    pub(crate) name: &'o str,
    pub(crate) spec: &'o IPPoolSpec,
    pub(crate) cidr: Prefix,
    pub(crate) block: u8,
}

/// Every pool that can be used, oldest first, and what is wrong with each of the others. Of two that
/// overlap the older one counts, by name if they are of the same second.
pub(crate) fn usable(objects: &Objects) -> (Vec<Usable<'_>>, BTreeMap<&str, Problem>) {
    let (mut usable, mut problems) = (Vec::new(), BTreeMap::new());
    for (name, pool) in by_age(&objects.pools, |pool| &pool.metadata) {
        match read(name, pool).and_then(|pool| beside(pool, &usable)) {
            Ok(pool) => usable.push(pool),
            Err(problem) => {
                problems.insert(name, problem);
            }
        }
    }
    (usable, problems)
}

fn read<'o>(name: &'o str, pool: &'o IPPool) -> Result<Usable<'o>, Problem> {
    let invalid = |message| Problem { reason: "Invalid", message };
    let spec = &pool.spec;
    let cidr: Prefix = spec.cidr.0.parse().map_err(|_| {
        invalid(format!(
            "spec.cidr: {:?} is no prefix; write an address without bits behind its length, as in \
             10.244.0.0/16",
            spec.cidr.0
        ))
    })?;
    let (sizes, usual) = match cidr.family() {
        Family::Ipv4Unicast => (16..=32, BLOCK_IPV4),
        Family::Ipv6Unicast => (112..=128, BLOCK_IPV6),
    };
    let block = spec.block_size.unwrap_or(usual);
    if !sizes.contains(&block) {
        let (least, most) = sizes.into_inner();
        let message =
            format!("spec.blockSize: {block} is not {least} to {most}; leave it out for {usual}");
        return Err(invalid(message));
    }
    if block < cidr.len() {
        let message = format!(
            "spec.cidr: {cidr} is smaller than one block; widen it, or set blockSize to at least {}",
            cidr.len()
        );
        return Err(invalid(message));
    }
    Ok(Usable { name, spec, cidr, block })
}

fn beside<'o>(pool: Usable<'o>, others: &[Usable<'o>]) -> Result<Usable<'o>, Problem> {
    let overlaps =
        |other: &&Usable<'_>| other.cidr.covers(pool.cidr) || pool.cidr.covers(other.cidr);
    match others.iter().find(overlaps) {
        None => Ok(pool),
        Some(other) => {
            let message = format!(
                "spec.cidr: {} overlaps {} of IPPool/{}, which is older; no block of it is claimed. \
                 Delete one of the two, or give this one another range",
                pool.cidr, other.cidr, other.name
            );
            Err(Problem { reason: "Overlap", message })
        }
    }
}

impl Usable<'_> {
    /// Is it for this node?
    pub(crate) fn is_for(&self, node: Option<&Node>) -> bool {
        let none = BTreeMap::new();
        let labels = node.map_or(&none, |node| &node.labels);
        self.spec.node_selector.as_ref().is_none_or(|selector| selector.matches(labels))
    }
}

/// The keys of `[pods]` that the file does not have, and its tables.
pub(super) fn write(input: &Input<'_>, base: &Base<'_>, draft: &mut Draft<'_>) -> Table {
    let (pools, problems) = usable(input.objects);
    for name in input.objects.pools.keys() {
        draft.accept("IPPool", name);
    }
    for (name, problem) in problems {
        draft.problem(&Part::whole("IPPool", name), problem);
    }
    let own = input.objects.nodes.get(input.node);
    let left_out = |draft: &Draft<'_>, name: &str| draft.is_left_out(&Part::whole("IPPool", name));
    let ours: Vec<_> =
        pools.iter().filter(|pool| pool.is_for(own) && !left_out(draft, pool.name)).collect();
    draft.pools = ours.iter().map(|pool| claimed(pool)).collect();
    let mut keys = Table::without_header(Part::whole("Node", input.node));
    let given = base.has("pods", "ipv4") || base.has("pods", "ipv6");
    let blocks = input.blocks.iter();
    let kept = blocks.filter(|block| {
        !left_out(draft, &block.pool) && !draft.is_left_out(&block_part(&block.pool, block.prefix))
    });
    let mut ranges: Vec<Prefix> = kept.map(|block| block.prefix).collect();
    if ours.is_empty() && input.blocks.is_empty() && !given {
        ranges.extend(write_pod_cidrs(input, draft, own, &mut keys));
    }
    write_reserved(input, base, draft, &ranges, &mut keys);
    write_lost(input, base, draft, &mut keys);
    if given || !ranges.is_empty() {
        write_floating(input, base, draft, &pools, &mut keys);
        write_nat(input, base, draft, (&pools, &ranges), &mut keys);
    }
    write_pools(input, draft, &pools);
    keys
}

/// The part of a pool that translates addresses, without which its pods have theirs all the same.
fn nat_part(pool: &str) -> Part {
    Part::of("IPPool", pool, "spec.natOutgoing")
}

/// Where pods see each other's own addresses: every pool of the cluster, and what else the node has; and
/// floating addresses whose pods leave with an address of the node as well.
fn write_nat(
    input: &Input<'_>,
    base: &Base<'_>,
    draft: &Draft<'_>,
    (pools, ranges): (&[Usable<'_>], &[Prefix]),
    keys: &mut Table,
) {
    let translated =
        |pool: &&Usable<'_>| pool.spec.nat_outgoing && !draft.is_left_out(&nat_part(pool.name));
    let floating = floating(input, base, draft, pools);
    let floating = floating.iter().filter_map(|(prefix, _)| {
        let pool = pools.iter().filter(translated).find(|pool| pool.cidr.covers(*prefix))?;
        Some((Value::shown(prefix), nat_part(pool.name)))
    });
    let floating: Vec<_> = floating.collect();
    let has_block = |pool: &&Usable<'_>| input.blocks.iter().any(|block| block.pool == pool.name);
    let of_blocks = pools.iter().filter(has_block).find(translated).map(|pool| nat_part(pool.name));
    let first = of_blocks.or_else(|| floating.first().map(|(_, part)| part.clone()));
    let Some(part) = first else { return };
    if !base.has("pods", "nat_sources") {
        keys.set_lines("nat_sources", floating, "spec.natOutgoing");
    }
    if base.has("pods", "cluster_ranges") {
        return;
    }
    let mut all: Vec<Prefix> = pools.iter().map(|pool| pool.cidr).collect();
    let others = ranges.iter().filter(|range| !pools.iter().any(|pool| pool.cidr.covers(**range)));
    all.extend(others);
    let all = Value::list(all.into_iter().map(Value::shown));
    keys.set_of(part, "cluster_ranges", all, "spec.natOutgoing");
}

fn block_part(pool: &str, block: Prefix) -> Part {
    Part::of("IPPool", pool, format!("block {block}"))
}

fn claimed(pool: &Usable<'_>) -> claims::Pool {
    let &Usable { name, spec, cidr, block } = pool;
    claims::Pool { name: name.to_owned(), cidr, block, spare: usize::from(!spec.disabled) }
}

/// The node's own ranges, each of which can be left out.
fn write_pod_cidrs(
    input: &Input<'_>,
    draft: &Draft<'_>,
    own: Option<&Node>,
    keys: &mut Table,
) -> Vec<Prefix> {
    let part = |range: &Prefix| Part::of("Node", input.node, format!("spec.podCIDRs {range}"));
    let ranges = own.into_iter().flat_map(|own| &own.pod_cidrs).copied();
    let ranges: Vec<Prefix> = ranges.filter(|range| !draft.is_left_out(&part(range))).collect();
    for (key, family) in [("ipv4", Family::Ipv4Unicast), ("ipv6", Family::Ipv6Unicast)] {
        let of_family = ranges.iter().filter(|range| range.family() == family);
        let lines = of_family.map(|range| (Value::shown(range), part(range)));
        keys.set_lines(key, lines, "spec.podCIDRs");
    }
    ranges
}

/// What reservations have in common with the ranges of this node.
fn write_reserved(
    input: &Input<'_>,
    base: &Base<'_>,
    draft: &mut Draft<'_>,
    ranges: &[Prefix],
    keys: &mut Table,
) {
    let mut lines = Vec::new();
    for (name, reservation) in &input.objects.reservations {
        draft.accept("IPReservation", name);
        let part = Part::whole("IPReservation", name);
        if draft.is_left_out(&part) {
            continue;
        }
        if base.has("pods", "reserved") {
            let message = "the node's own routed.toml has [pods] reserved, which takes the place of \
                           all reservations; remove it there";
            draft.problem(&part, Problem { reason: "Overridden", message: message.to_owned() });
            continue;
        }
        for text in &reservation.spec.reserved_cidrs {
            let Some(reserved) = reserved_prefix(&text.0) else {
                let message = format!(
                    "spec.reservedCIDRs: {:?} is neither an address nor a prefix; write 10.244.0.10 \
                     or 10.244.0.16/28",
                    text.0
                );
                draft.problem(&part, Problem { reason: "Invalid", message });
                continue;
            };
            for range in ranges {
                let common = if reserved.covers(*range) { *range } else { reserved };
                if range.covers(common) {
                    lines.push((Value::shown(common), part.clone()));
                }
            }
        }
    }
    keys.set_lines("reserved", lines, "spec.reservedCIDRs");
}

/// Reserved addresses that follow their pods from node to node.
fn write_floating(
    input: &Input<'_>,
    base: &Base<'_>,
    draft: &Draft<'_>,
    pools: &[Usable<'_>],
    keys: &mut Table,
) {
    let lines = floating(input, base, draft, pools).into_iter();
    let lines = lines.map(|(prefix, part)| (Value::shown(prefix), part));
    keys.set_lines("floating", lines, "spec.reservedCIDRs");
}

/// Those of pools that have an owner: which pod that is every node knows, and so no two nodes ever give one.
/// Who asks for one without owner gets it where the node has its block, whose book has it once.
fn floating(
    input: &Input<'_>,
    base: &Base<'_>,
    draft: &Draft<'_>,
    pools: &[Usable<'_>],
) -> Vec<(Prefix, Part)> {
    let mut all: Vec<(Prefix, Part)> = Vec::new();
    if base.has("pods", "floating") {
        return all;
    }
    for (name, reservation) in &input.objects.reservations {
        let part = Part::whole("IPReservation", name);
        if draft.is_left_out(&part) || reservation.spec.owner.is_none() {
            continue;
        }
        let reserved = reservation.spec.reserved_cidrs.iter();
        let reserved = reserved.filter_map(|text| text.0.parse().ok());
        let reserved = reserved.filter(|address| !input.moved.contains(address));
        let reserved = reserved.map(Prefix::host);
        let of_pools = reserved.filter(|prefix| pools.iter().any(|pool| pool.cidr.covers(*prefix)));
        all.extend(of_pools.map(|prefix| (prefix, part.clone())));
    }
    // One that two reservations name is one.
    all.sort_by_key(|(prefix, _)| *prefix);
    all.dedup_by_key(|(prefix, _)| *prefix);
    all
}

/// Blocks that another node has now. Of a pool that is not announced, pods' addresses are not either.
fn write_lost(input: &Input<'_>, base: &Base<'_>, draft: &Draft<'_>, keys: &mut Table) {
    if base.has("pods", "lost") {
        return;
    }
    let is_silent = |block: &&Block| {
        let pool = input.objects.pools.get(&block.pool);
        pool.is_some_and(|pool| pool.spec.disable_bgp_export)
    };
    let lost = input.lost.iter().filter(|block| !is_silent(block));
    let lines = lost.map(|block| (block_part(&block.pool, block.prefix), block.prefix));
    let lines = lines.filter(|(part, _)| !draft.is_left_out(part));
    keys.set_lines("lost", lines.map(|(part, block)| (Value::shown(block), part)), "spec.cidr");
}

/// An address, or a prefix.
fn reserved_prefix(text: &str) -> Option<Prefix> {
    text.parse().map(Prefix::host).ok().or_else(|| text.parse().ok())
}

/// Blocks of pools that are no more, or not for this node any more, are used until their pods have gone.
fn write_pools(input: &Input<'_>, draft: &mut Draft<'_>, pools: &[Usable<'_>]) {
    let mut blocks: BTreeMap<&str, Vec<Prefix>> = BTreeMap::new();
    for block in input.blocks {
        blocks.entry(&block.pool).or_default().push(block.prefix);
    }
    let known = pools.iter().filter_map(|pool| {
        let blocks = blocks.get(pool.name)?;
        Some((pool.name, Some(pool), blocks))
    });
    let others = blocks
        .iter()
        .filter(|(name, _)| !pools.iter().any(|pool| pool.name == **name))
        .map(|(name, blocks)| (*name, None, blocks));
    let all: Vec<_> = known.chain(others).collect();
    for (name, pool, blocks) in all {
        let part = |block: &Prefix| block_part(name, *block);
        let kept: Vec<_> = blocks.iter().filter(|block| !draft.is_left_out(&part(block))).collect();
        if kept.is_empty() || draft.is_left_out(&Part::whole("IPPool", name)) {
            continue;
        }
        let mut table = Table::new("[[pods.pools]]", Part::whole("IPPool", name));
        table.set("name", name, "metadata.name");
        let families = [
            ("ipv4", "block_ipv4", Family::Ipv4Unicast),
            ("ipv6", "block_ipv6", Family::Ipv6Unicast),
        ];
        for (key, size, family) in families {
            let of_family = kept.iter().filter(|block| block.family() == family);
            let lines: Vec<_> = of_family.map(|block| (Value::shown(block), part(block))).collect();
            if let Some(pool) = pool.filter(|_| !lines.is_empty()) {
                table.set(size, pool.block, "spec.blockSize");
            }
            table.set_lines(key, lines, "spec.cidr");
        }
        let object = input.objects.pools.get(name);
        if object.is_some_and(|pool| pool.spec.disable_bgp_export) {
            table.set("announce", false, "spec.disableBGPExport");
        }
        let nat = nat_part(name);
        if object.is_some_and(|pool| pool.spec.nat_outgoing) && !draft.is_left_out(&nat) {
            table.set_of(nat, "nat_outgoing", true.into(), "spec.natOutgoing");
        }
        draft.tables.push(table);
    }
}
