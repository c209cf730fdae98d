//! One pool: which of its addresses were never used, and which are idle since when.
//!
//! Does not know who holds an address; its owner tells it what is in use. Addresses are counted by
//! their distance from the first assignable one.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    ops::RangeInclusive,
};

use bgp::prefix::Prefix;

/// An address that can be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    offset: u128,
    /// How far the walk over fresh addresses has come when it is taken.
    walked: u128,
}

/// The assignable addresses of a prefix.
///
/// Fresh addresses are found by walking once around the pool, from `start` over `walked` addresses
/// so far. What the walk has passed is in use or idle.
#[derive(Clone, Debug)]
pub(super) struct Pool {
    prefix: Prefix,
    first: IpAddr,
    size: u128,
    start: u128,
    walked: u128,
    /// By age: the number of the release.
    idle: BTreeMap<u64, u128>,
    idle_since: BTreeMap<u128, u64>,
}

impl Pool {
    /// All addresses but those that mean something else in the prefix: network and broadcast
    /// address in IPv4, the subnet-router anycast address in IPv6 (RFC 4291 §2.6.1). Prefixes of
    /// one or two addresses are used whole (RFC 3021, RFC 6164).
    pub(super) fn new(prefix: Prefix) -> Self {
        let host_bits = prefix.family().max_len() - prefix.len();
        let all = 1_u128.checked_shl(u32::from(host_bits)).map_or(u128::MAX, |all| all - 1);
        let (skip, size) = match (prefix.addr(), host_bits) {
            // `all` is one less than the count, so that ::/0 fits.
            (_, 0 | 1) => (0, all + 1),
            (IpAddr::V4(_), _) => (1, all - 1),
            (IpAddr::V6(_), _) => (1, all),
        };
        Self {
            prefix,
            first: beyond(prefix.addr(), skip),
            size,
            start: 0,
            walked: 0,
            idle: BTreeMap::new(),
            idle_since: BTreeMap::new(),
        }
    }

    pub(super) const fn prefix(&self) -> Prefix {
        self.prefix
    }

    /// Addresses that can be leased.
    pub(super) const fn size(&self) -> u128 {
        self.size
    }

    /// First to last assignable address.
    pub(super) fn range(&self) -> RangeInclusive<IpAddr> {
        self.first..=self.address(self.size - 1)
    }

    pub(super) fn holds(&self, address: IpAddr) -> bool {
        self.range().contains(&address)
    }

    /// Number of idle addresses.
    pub(super) fn idle(&self) -> usize {
        self.idle.len()
    }

    /// Lets the walk begin behind an address that was in use before this run: those before it may
    /// have been used shortly ago.
    pub(super) fn begin_after(&mut self, address: IpAddr) {
        self.start = self.start.max(self.offset(address) + 1);
    }

    /// The candidate for exactly this address; `None` if it is not assignable. Whether it is in
    /// use is the caller's question.
    pub(super) fn find(&self, address: IpAddr) -> Option<Candidate> {
        let offset = self.holds(address).then(|| self.offset(address))?;
        Some(Candidate { offset, walked: self.walked })
    }

    /// The next address that was never used.
    pub(super) fn find_fresh(&self, in_use: impl Fn(IpAddr) -> bool) -> Option<Candidate> {
        let mut walked = self.walked;
        while walked < self.size {
            let offset = (self.start % self.size).wrapping_add(walked);
            // Once around: beyond the last comes the first. No overflow, or it is ::/0.
            let offset = if offset >= self.size { offset - self.size } else { offset };
            walked += 1;
            if !self.idle_since.contains_key(&offset) && !in_use(self.address(offset)) {
                return Some(Candidate { offset, walked });
            }
        }
        None
    }

    /// The address that has been idle longest, and since which release.
    pub(super) fn find_idle(&self) -> Option<(u64, Candidate)> {
        let (age, offset) = self.idle.first_key_value()?;
        Some((*age, Candidate { offset: *offset, walked: self.walked }))
    }

    pub(super) fn take(&mut self, candidate: Candidate) -> IpAddr {
        self.walked = candidate.walked;
        if let Some(age) = self.idle_since.remove(&candidate.offset) {
            self.idle.remove(&age);
        }
        self.address(candidate.offset)
    }

    /// Makes an address idle, the youngest of all.
    pub(super) fn put_back(&mut self, address: IpAddr, age: u64) {
        let offset = self.offset(address);
        self.idle.insert(age, offset);
        self.idle_since.insert(offset, age);
    }

    fn offset(&self, address: IpAddr) -> u128 {
        bits(address) - bits(self.first)
    }

    fn address(&self, offset: u128) -> IpAddr {
        beyond(self.first, offset)
    }
}

const fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits() as u128,
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// The address that lies `offset` after `address`, in the same family.
fn beyond(address: IpAddr, offset: u128) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let offset = u32::try_from(offset).expect("an offset is less than the pool's size");
            IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() + offset))
        }
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() + offset)),
    }
}
