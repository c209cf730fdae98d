//! One block: which of its addresses were never used, and which are idle since when.
//!
//! Does not know who holds an address; its owner tells it what is in use. Addresses are counted by
//! their distance from the first of the block.

use std::{collections::BTreeMap, time::Instant};

/// The addresses of a block.
///
/// Fresh addresses are found by walking once around the block, from `start` over `walked` addresses
/// so far. What the walk has passed is in use or idle.
#[derive(Clone, Debug)]
pub(super) struct Block {
    size: u128,
    start: u128,
    walked: u128,
    /// By age: when it became idle, and which of several at that moment was first.
    idle: BTreeMap<Age, u128>,
    ages: BTreeMap<u128, Age>,
}

/// When an address became idle; the number keeps the order within one moment.
pub(super) type Age = (Instant, u64);

/// A fresh address of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fresh {
    pub(super) offset: u128,
    /// How far the walk has come when it is taken.
    pub(super) walked: u128,
}

impl Block {
    pub(super) const fn new(size: u128) -> Self {
        Self { size, start: 0, walked: 0, idle: BTreeMap::new(), ages: BTreeMap::new() }
    }

    pub(super) const fn size(&self) -> u128 {
        self.size
    }

    /// Lets the walk begin behind an address that was in use before this run: those before it may
    /// have been used shortly ago.
    pub(super) fn begin_after(&mut self, offset: u128) {
        self.start = self.start.max(offset + 1);
    }

    /// The next address that was never used; `usable` says which can be had at all.
    ///
    /// What is passed over is in use, idle or cannot be had, and so is never fresh again.
    pub(super) fn find_fresh(&mut self, usable: impl Fn(u128) -> bool) -> Option<Fresh> {
        while self.walked < self.size {
            let offset = (self.start + self.walked) % self.size;
            if !self.ages.contains_key(&offset) && usable(offset) {
                return Some(Fresh { offset, walked: self.walked + 1 });
            }
            self.walked += 1;
        }
        None
    }

    /// The address that has been idle longest.
    pub(super) fn oldest(&self) -> Option<(Age, u128)> {
        self.idle.first_key_value().map(|(age, offset)| (*age, *offset))
    }

    /// Idle addresses that became so after this moment.
    pub(super) fn younger_than(&self, since: Option<Instant>) -> usize {
        match since {
            Some(since) => self.idle.range((since, u64::MAX)..).count(),
            None => self.idle.len(),
        }
    }

    /// Remembers how far the walk has come.
    pub(super) const fn walk_to(&mut self, walked: u128) {
        self.walked = walked;
    }

    /// The address is in use: it is not idle any more.
    pub(super) fn take(&mut self, offset: u128) {
        if let Some(age) = self.ages.remove(&offset) {
            self.idle.remove(&age);
        }
    }

    /// Makes an address idle.
    pub(super) fn put_back(&mut self, offset: u128, age: Age) {
        self.take(offset);
        self.idle.insert(age, offset);
        self.ages.insert(offset, age);
    }

    /// Every idle address and since when, longest first.
    pub(super) fn idle(&self) -> impl Iterator<Item = (u128, Instant)> {
        self.idle.iter().map(|((since, _), offset)| (*offset, *since))
    }
}
