//! Pools, and the blocks that nodes have claimed of them.

use ipnetwork::IpNetwork;
use k8s_openapi::jiff::Timestamp;
use routed_api::{IPBlock, IPPool};
use serde::Serialize;

use crate::{
    peers::seconds,
    table::{Align, Table, age},
};

/// One pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PoolRow {
    pool: String,
    cidr: String,
    block_size: u8,
    disabled: bool,
    /// Blocks that it has; JSON has no numbers of 2^64 and more.
    total: u64,
    claimed: u64,
    free: u64,
    /// Nodes that have some of it.
    nodes: usize,
}

/// One block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ClaimRow {
    block: String,
    pool: String,
    node: String,
    age_seconds: Option<u64>,
    /// What its condition `Orphaned` says, if that holds.
    orphaned: Option<String>,
}

/// Every pool, by name. Blocks count by where they lie, whatever pool they name.
pub(crate) fn pools(pools: &[IPPool], blocks: &[IPBlock]) -> Vec<PoolRow> {
    let claims: Vec<_> = blocks
        .iter()
        .filter_map(|block| Some((range(&block.spec.cidr.0)?, block.spec.node.0.as_str())))
        .collect();
    let mut rows: Vec<_> = pools.iter().filter_map(|pool| pool_row(pool, &claims)).collect();
    rows.sort_by(|a, b| a.pool.cmp(&b.pool));
    rows
}

/// A pool whose range is none was written past the schema, and no node heeds it.
fn pool_row(pool: &IPPool, claims: &[(Range, &str)]) -> Option<PoolRow> {
    let spec = &pool.spec;
    let cidr: IpNetwork = spec.cidr.0.parse().ok()?;
    let whole = range(&spec.cidr.0)?;
    let length = spec.block_size.unwrap_or(if cidr.is_ipv4() { 26 } else { 122 });
    let bits = if cidr.is_ipv4() { 32_u8 } else { 128 }.checked_sub(length)?;
    let count = 1_u128.checked_shl(u32::from(length.checked_sub(cidr.prefix())?))?;
    let inside = || claims.iter().filter(|(claim, _)| claim.overlaps(whole));
    // In blocks of this pool: others may have been of another size, when it was made.
    let mut taken: Vec<_> = inside()
        .map(|(claim, _)| (claim.index(whole, bits), claim.clipped(whole).end(whole, bits)))
        .collect();
    taken.sort_unstable();
    let (mut claimed, mut next) = (0_u128, 0_u128);
    for (first, last) in taken {
        let first = first.max(next);
        if last >= first {
            claimed += last - first + 1;
            next = last + 1;
        }
    }
    let nodes: std::collections::BTreeSet<_> = inside().map(|(_, node)| *node).collect();
    let number = |count: u128| u64::try_from(count).unwrap_or(u64::MAX);
    Some(PoolRow {
        pool: pool.metadata.name.clone().unwrap_or_default(),
        cidr: spec.cidr.0.clone(),
        block_size: length,
        disabled: spec.disabled,
        total: number(count),
        claimed: number(claimed),
        free: number(count.saturating_sub(claimed)),
        nodes: nodes.len(),
    })
}

/// Addresses from the first to the last; those of IPv4 are no part of any of IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    ipv4: bool,
    first: u128,
    last: u128,
}

impl Range {
    const fn overlaps(self, other: Self) -> bool {
        self.ipv4 == other.ipv4 && self.first <= other.last && other.first <= self.last
    }

    fn clipped(self, to: Self) -> Self {
        Self { first: self.first.max(to.first), last: self.last.min(to.last), ..self }
    }

    /// The number of the block of the pool in which it begins.
    fn index(self, pool: Self, bits: u8) -> u128 {
        (self.first.max(pool.first) - pool.first).checked_shr(bits.into()).unwrap_or(0)
    }

    /// In which it ends.
    fn end(self, pool: Self, bits: u8) -> u128 {
        (self.last - pool.first).checked_shr(bits.into()).unwrap_or(0)
    }
}

fn range(cidr: &str) -> Option<Range> {
    Some(match cidr.parse().ok()? {
        IpNetwork::V4(net) => Range {
            ipv4: true,
            first: u32::from(net.network()).into(),
            last: u32::from(net.broadcast()).into(),
        },
        IpNetwork::V6(net) => {
            Range { ipv4: false, first: net.network().into(), last: net.broadcast().into() }
        }
    })
}

pub(crate) fn pools_text(rows: &[PoolRow]) -> String {
    if rows.is_empty() {
        return "no IPPool: nodes give pods the addresses of their spec.podCIDRs\n".to_owned();
    }
    let mut table = Table::new()
        .column("POOL", Align::Left)
        .column("CIDR", Align::Left)
        .column("BLOCK", Align::Right)
        .column("BLOCKS", Align::Right)
        .column("CLAIMED", Align::Right)
        .column("FREE", Align::Right)
        .column("NODES", Align::Right)
        .optional("REMARK", Align::Left);
    for row in rows {
        let remark = match (row.disabled, row.free) {
            (true, _) => "disabled: no block of it is claimed any more",
            (false, 0) => "exhausted: add another IPPool",
            (false, _) => "",
        };
        table.row([
            row.pool.clone(),
            row.cidr.clone(),
            format!("/{}", row.block_size),
            row.total.to_string(),
            row.claimed.to_string(),
            row.free.to_string(),
            row.nodes.to_string(),
            remark.to_owned(),
        ]);
    }
    table.to_string()
}

/// Every block, of all nodes or of one, in the order of addresses.
pub(crate) fn claims(blocks: &[IPBlock], node: Option<&str>, now: Timestamp) -> Vec<ClaimRow> {
    let mut all: Vec<_> =
        blocks.iter().filter(|block| node.is_none_or(|node| block.spec.node.0 == node)).collect();
    all.sort_by_key(|block| {
        let range = range(&block.spec.cidr.0);
        range.map(|range| (!range.ipv4, range.first, range.last))
    });
    let row = |block: &IPBlock| {
        let conditions = block.status.iter().flat_map(|status| &status.conditions);
        let mut conditions = conditions
            .filter(|condition| condition.type_ == "Orphaned" && condition.status == "True");
        let created = block.metadata.creation_timestamp.as_ref();
        ClaimRow {
            block: block.spec.cidr.0.clone(),
            pool: block.spec.pool.0.clone(),
            node: block.spec.node.0.clone(),
            age_seconds: created.map(|created| seconds(created.0, now)),
            orphaned: conditions.next().map(|condition| condition.message.clone()),
        }
    };
    all.into_iter().map(row).collect()
}

pub(crate) fn claims_text(rows: &[ClaimRow]) -> String {
    if rows.is_empty() {
        return "no IPBlock: no node has claimed one\n".to_owned();
    }
    let mut table = Table::new()
        .column("BLOCK", Align::Left)
        .column("POOL", Align::Left)
        .column("NODE", Align::Left)
        .column("AGE", Align::Right)
        .optional("ORPHANED", Align::Left);
    for row in rows {
        table.row([
            row.block.clone(),
            row.pool.clone(),
            row.node.clone(),
            row.age_seconds.map_or("-".to_owned(), age),
            row.orphaned.clone().unwrap_or_default(),
        ]);
    }
    table.to_string()
}

#[cfg(test)]
mod tests {
    use routed_api::{IPBlockSpec, IPPoolSpec};

    use super::*;
    use crate::peers::tests::{ago, now};

    fn pool(name: &str, cidr: &str, block_size: Option<u8>) -> IPPool {
        let spec = IPPoolSpec {
            cidr: cidr.into(),
            block_size,
            node_selector: None,
            namespace_selector: None,
            disabled: false,
            nat_outgoing: false,
            disable_bgp_export: false,
        };
        IPPool::new(name, spec)
    }

    fn block(cidr: &str, node: &str) -> IPBlock {
        let spec = IPBlockSpec {
            cidr: cidr.into(),
            pool: "pods".into(),
            node: node.into(),
            node_uid: None,
        };
        let mut block = IPBlock::new(&IPBlock::name_of(&cidr.into()), spec);
        block.metadata.creation_timestamp = Some(ago(100));
        block
    }

    fn numbers(row: &PoolRow) -> (u64, u64, u64, usize) {
        (row.total, row.claimed, row.free, row.nodes)
    }

    #[test]
    fn pools_know_how_many_blocks_are_left() {
        let claims = [
            block("10.244.0.0/26", "n1"),
            block("10.244.0.64/26", "n2"),
            block("fd00::/122", "n1"),
            block("10.99.0.0/26", "n1"),
        ];
        let all = [
            pool("pods", "10.244.0.0/16", None),
            pool("six", "fd00::/112", None),
            pool("full", "10.99.0.0/26", None),
            pool("huge", "fd01::/32", Some(128)),
        ];
        let rows = pools(&all, &claims);
        let of = |name| numbers(rows.iter().find(|row| row.pool == name).unwrap());
        assert_eq!(of("pods"), (1_024, 2, 1_022, 2));
        assert_eq!(of("six"), (1_024, 1, 1_023, 1));
        assert_eq!(of("full"), (1, 1, 0, 1));
        assert_eq!(of("huge"), (u64::MAX, 0, u64::MAX, 0));
        let text = pools_text(&rows);
        assert!(text.contains("exhausted: add another IPPool"), "{text}");
    }

    #[test]
    fn blocks_of_another_size_take_what_they_lie_in() {
        // One is twice as large as a block, two lie in one, and one is larger than the pool.
        let claims = [
            block("10.0.0.0/25", "n1"),
            block("10.0.0.128/28", "n1"),
            block("10.0.0.144/28", "n2"),
        ];
        let row = &pools(&[pool("pods", "10.0.0.0/24", None)], &claims)[0];
        assert_eq!(numbers(row), (4, 3, 1, 2));
        let wide = &pools(&[pool("pods", "10.0.0.0/24", None)], &[block("10.0.0.0/16", "n1")])[0];
        assert_eq!(numbers(wide), (4, 4, 0, 1));
    }

    #[test]
    fn what_is_no_prefix_is_left_out() {
        assert_eq!(pools(&[pool("pods", "x", None)], &[block("y", "n")]), []);
        assert_eq!(pools(&[pool("pods", "10.0.0.0/24", Some(20))], &[]), []);
    }

    #[test]
    fn blocks_stand_in_the_order_of_addresses() {
        let all = [
            block("10.244.2.0/26", "n1"),
            block("fd00::/122", "n1"),
            block("10.244.10.0/26", "n2"),
        ];
        let rows = claims(&all, None, now());
        assert_eq!(
            claims_text(&rows),
            "BLOCK           POOL  NODE    AGE\n\
             10.244.2.0/26   pods  n1    1m40s\n\
             10.244.10.0/26  pods  n2    1m40s\n\
             fd00::/122      pods  n1    1m40s\n"
        );
        assert_eq!(claims(&all, Some("n2"), now()).len(), 1);
    }
}
