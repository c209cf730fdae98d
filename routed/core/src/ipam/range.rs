//! One range of a pool, cut into blocks that are opened as they are needed.
//!
//! In: which offsets are wanted or given back. Out: candidates, and the blocks in use. Addresses
//! are counted by their distance from the first of the range.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    ops::RangeInclusive,
    time::Instant,
};

use bgp::{family::Family, prefix::Prefix};

use super::block::{Age, Block};

/// An address that can be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) address: IpAddr,
    /// How far the walk over the block's fresh addresses has come when it is taken; `None` if it
    /// was not found by walking.
    walked: Option<u128>,
}

/// A range and its open blocks.
#[derive(Clone, Debug)]
pub(super) struct Range {
    /// Position of its pool.
    pub(super) pool: usize,
    prefix: Prefix,
    /// Addresses a block, a power of two that is at most the range.
    block_size: u128,
    blocks: BTreeMap<u128, Block>,
    /// No block before this one is closed.
    next_block: u128,
}

impl Range {
    /// Cut into blocks of `block_len` bits, or one block if the range is not larger.
    pub(super) fn new(pool: usize, prefix: Prefix, block_len: u8) -> Self {
        let len = block_len.clamp(prefix.len(), prefix.family().max_len());
        // A block is no larger than 2^64: the settings' lengths are within 16 bits of the longest,
        // and ranges within the families' unicast space.
        let block_size = 1 << (prefix.family().max_len() - len).min(MOST_BLOCK_BITS);
        Self { pool, prefix, block_size, blocks: BTreeMap::new(), next_block: 0 }
    }

    pub(super) const fn prefix(&self) -> Prefix {
        self.prefix
    }

    pub(super) fn family(&self) -> Family {
        self.prefix.family()
    }

    /// First and last assignable address: all but those that mean something else in the range,
    /// which are the network and broadcast address in IPv4 and the subnet-router anycast address
    /// in IPv6 (RFC 4291 §2.6.1). Ranges of one or two addresses are used whole (RFC 3021, RFC 6164).
    pub(super) fn assignable(&self) -> RangeInclusive<IpAddr> {
        let last = self.last_offset();
        let (skip, cut) = match (self.family(), last) {
            (_, 0 | 1) => (0, 0),
            (Family::Ipv4Unicast, _) => (1, 1),
            (Family::Ipv6Unicast, _) => (1, 0),
        };
        self.address(skip)..=self.address(last - cut)
    }

    /// Number of assignable addresses.
    pub(super) fn size(&self) -> u128 {
        let assignable = self.assignable();
        (bits(*assignable.end()) - bits(*assignable.start())).saturating_add(1)
    }

    /// The candidate for exactly this address; `None` if it is not assignable. Whether it is in
    /// use is the caller's question.
    pub(super) fn find(&self, address: IpAddr) -> Option<Candidate> {
        self.assignable().contains(&address).then_some(Candidate { address, walked: None })
    }

    /// The next address of an open block that was never used.
    pub(super) fn find_fresh(&mut self, usable: impl Fn(IpAddr) -> bool) -> Option<Candidate> {
        let assignable = self.assignable();
        let (first, size) = (self.prefix.addr(), self.block_size);
        self.blocks.iter_mut().find_map(|(number, block)| {
            fresh_of(block, beyond(first, number * size), |address| {
                assignable.contains(&address) && usable(address)
            })
        })
    }

    /// The first usable address of a block that is not open yet. `end` gives the last address
    /// of a reserved prefix that covers the whole of a block.
    pub(super) fn find_unopened(
        &self,
        usable: impl Fn(IpAddr) -> bool,
        end: impl Fn(Prefix) -> Option<IpAddr>,
    ) -> Option<Candidate> {
        let assignable = self.assignable();
        let last = self.last_offset() / self.block_size;
        let mut number = self.next_block;
        while number <= last {
            if self.blocks.contains_key(&number) {
                number += 1;
                continue;
            }
            if let Some(end) = end(self.block_prefix(number)) {
                let end = bits(end).saturating_sub(bits(self.prefix.addr()));
                number = (end / self.block_size).max(number) + 1;
                continue;
            }
            let mut empty = Block::new(self.block_size);
            let usable = |address| assignable.contains(&address) && usable(address);
            if let Some(found) =
                fresh_of(&mut empty, self.address(number * self.block_size), usable)
            {
                return Some(found);
            }
            number += 1;
        }
        None
    }

    /// The address that has been idle longest in the range.
    pub(super) fn oldest(&self) -> Option<(Age, Candidate)> {
        let oldest = self.blocks.iter().filter_map(|(number, block)| {
            let (age, offset) = block.oldest()?;
            Some((age, self.address(number * self.block_size + offset)))
        });
        let (age, address) = oldest.min_by_key(|(age, _)| *age)?;
        Some((age, Candidate { address, walked: None }))
    }

    /// Marks the address as in use and opens its block.
    pub(super) fn take(&mut self, candidate: Candidate) {
        let (block, offset) = self.open(candidate.address);
        block.take(offset);
        if let Some(walked) = candidate.walked {
            block.walk_to(walked);
        }
    }

    /// Marks an address that was in use before this run.
    pub(super) fn adopt(&mut self, address: IpAddr) {
        let (block, offset) = self.open(address);
        block.take(offset);
        block.begin_after(offset);
    }

    /// Makes an address idle.
    pub(super) fn put_back(&mut self, address: IpAddr, age: Age) {
        let (block, offset) = self.open(address);
        block.put_back(offset, age);
    }

    /// The open blocks with their addresses that became idle after `since`.
    pub(super) fn blocks(
        &self,
        since: Option<Instant>,
    ) -> impl Iterator<Item = (Prefix, u128, usize)> {
        self.blocks.iter().map(move |(number, block)| {
            (self.block_prefix(*number), block.size(), block.younger_than(since))
        })
    }

    /// Idle addresses that became so after `since`.
    pub(super) fn younger_than(&self, since: Option<Instant>) -> usize {
        self.blocks.values().map(|block| block.younger_than(since)).sum()
    }

    /// Every idle address and since when.
    pub(super) fn idle(&self) -> impl Iterator<Item = (IpAddr, Instant)> {
        self.blocks.iter().flat_map(move |(number, block)| {
            let first = self.address(number * self.block_size);
            block.idle().map(move |(offset, since)| (beyond(first, offset), since))
        })
    }

    fn open(&mut self, address: IpAddr) -> (&mut Block, u128) {
        let offset = bits(address) - bits(self.prefix.addr());
        let size = self.block_size;
        let number = offset / size;
        let block = self.blocks.entry(number).or_insert_with(|| Block::new(size));
        if number == self.next_block {
            self.next_block += 1;
        }
        (block, offset % size)
    }

    fn block_prefix(&self, number: u128) -> Prefix {
        let bits = u8::try_from(self.block_size.trailing_zeros()).unwrap_or(u8::MAX);
        let len = self.family().max_len().saturating_sub(bits);
        Prefix::new(self.address(number * self.block_size), len).unwrap_or(self.prefix)
    }

    /// Distance of the last address, assignable or not.
    fn last_offset(&self) -> u128 {
        let host_bits = u32::from(self.family().max_len() - self.prefix.len());
        1_u128.checked_shl(host_bits).map_or(u128::MAX, |all| all - 1)
    }

    fn address(&self, offset: u128) -> IpAddr {
        beyond(self.prefix.addr(), offset)
    }
}

/// The next fresh address of a block that begins at `first`.
fn fresh_of(
    block: &mut Block,
    first: IpAddr,
    usable: impl Fn(IpAddr) -> bool,
) -> Option<Candidate> {
    let fresh = block.find_fresh(|offset| usable(beyond(first, offset)))?;
    Some(Candidate { address: beyond(first, fresh.offset), walked: Some(fresh.walked) })
}

/// The address that lies `offset` after `first`, in the same family.
fn beyond(first: IpAddr, offset: u128) -> IpAddr {
    match first {
        IpAddr::V4(first) => {
            let offset = u32::try_from(offset).expect("an offset is less than the range's size");
            IpAddr::V4(Ipv4Addr::from_bits(first.to_bits() + offset))
        }
        IpAddr::V6(first) => IpAddr::V6(Ipv6Addr::from_bits(first.to_bits() + offset)),
    }
}

/// Last address of a prefix.
pub(crate) fn last(prefix: Prefix) -> IpAddr {
    let range = Range::new(0, prefix, 0);
    range.address(range.last_offset())
}

const fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits() as u128,
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// Largest block, in bits of addresses: more would be walked too long where much is reserved.
const MOST_BLOCK_BITS: u8 = 16;
