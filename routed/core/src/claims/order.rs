//! In which order a node tries the blocks of a pool: every one once, and each node another way, so
//! that two that look at the same time seldom meet.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bgp::prefix::Prefix;

use super::Pool;

/// The blocks of a pool, in a node's order.
pub(super) struct Order {
    cidr: Prefix,
    block: u8,
    /// How many there are, a power of two; of more than 2^62 the rest is not looked at.
    count: u64,
    start: u64,
    /// Odd, and so without a common divisor with the count.
    stride: u64,
}

impl Order {
    pub(super) fn new(node: &str, pool: &Pool) -> Self {
        let bits = pool.block.saturating_sub(pool.cidr.len()).min(62);
        let count = 1_u64 << bits;
        Self {
            cidr: pool.cidr,
            block: pool.block.max(pool.cidr.len()),
            count,
            start: hash(&[node, &pool.name]) & (count - 1),
            stride: (hash(&[&pool.name, node]) | 1) & (count - 1) | 1,
        }
    }

    pub(super) fn candidates(&self) -> impl Iterator<Item = Prefix> {
        let index = move |i: u64| self.start.wrapping_add(i.wrapping_mul(self.stride));
        (0..self.count).filter_map(move |i| self.nth(index(i) & (self.count - 1)))
    }

    fn nth(&self, index: u64) -> Option<Prefix> {
        let address = match self.cidr.addr() {
            IpAddr::V4(first) => {
                let offset = u32::try_from(index << (32 - self.block)).ok()?;
                IpAddr::V4(Ipv4Addr::from_bits(first.to_bits() + offset))
            }
            IpAddr::V6(first) => {
                let offset = u128::from(index) << (128 - self.block);
                IpAddr::V6(Ipv6Addr::from_bits(first.to_bits() + offset))
            }
        };
        Prefix::new(address, self.block).ok()
    }
}

/// FNV-1a of the words, mixed once more so that every bit counts. Every node and every version must
/// come to the same.
#[must_use]
pub fn hash(words: &[&str]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for octet in words.iter().flat_map(|word| word.bytes().chain([0])) {
        hash = (hash ^ u64::from(octet)).wrapping_mul(0x0100_0000_01b3);
    }
    hash ^= hash >> 32;
    hash = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    hash ^ (hash >> 29)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn pool(cidr: &str, block: u8) -> Pool {
        let cidr = cidr.parse().expect("a prefix");
        Pool { name: "pods".to_owned(), cidr, block, spare: 1 }
    }

    #[test]
    fn every_block_comes_once_in_an_order_of_the_nodes_own() {
        for (cidr, block, count) in [
            ("10.0.0.0/16", 26, 1024),
            ("10.0.0.0/26", 26, 1),
            ("fd00::/112", 122, 1024),
            ("10.0.0.0/24", 32, 256),
        ] {
            let pool = pool(cidr, block);
            let blocks: Vec<_> = Order::new("node1", &pool).candidates().collect();
            let all: BTreeSet<_> = blocks.iter().copied().collect();
            assert_eq!((blocks.len(), all.len()), (count, count), "{cidr}");
            assert!(all.iter().all(|found| pool.cidr.covers(*found) && found.len() == block));
            if count > 1 {
                let other: Vec<_> = Order::new("node2", &pool).candidates().collect();
                assert_ne!(blocks, other);
            }
        }
    }

    #[test]
    fn a_pool_without_end_has_a_first_block() {
        let pool = pool("fd00::/16", 128);
        assert!(
            Order::new("node1", &pool).candidates().take(100).all(|block| pool.cidr.covers(block))
        );
    }
}
