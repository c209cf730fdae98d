//! Addresses of pods: which are leased, and which is leased next.
//!
//! In: the pools of the configuration, requests and releases by attachment, and at start what the
//! kernel's objects say is in use. Out: leases of one address a family, all or none, or an error
//! that names pool, use and remedy.
//!
//! A pool's ranges are cut into blocks. Within the blocks that are open an address that was never
//! used goes first, then the one that has been idle longest, if its cooldown has passed; only then a
//! further block is opened. So what the network remembers of an old pod (connections, caches) has
//! died before a new pod gets its address, and memory grows with the addresses that were in use at
//! once, not with the size of a pool. Releasing is the caller's word that nothing in the kernel
//! points to the address any more.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::{Duration, Instant},
};

use bgp::{family::Family, prefix::Prefix};
use serde::Serialize;

use crate::attachment::AttachmentId;

mod block;
mod error;
pub mod journal;
mod range;
mod settings;
mod usage;

pub use error::LeaseError;
pub use settings::{IpamSettings, PoolSettings};
pub use usage::{BlockUse, PoolUse, PoolUses};

pub(crate) use range::last;
use range::{Candidate, Range};

/// The addresses of one attachment: one of each family that has pools.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Lease {
    /// IPv4.
    pub ipv4: Option<Ipv4Addr>,
    /// IPv6.
    pub ipv6: Option<Ipv6Addr>,
}

impl Lease {
    /// The addresses, IPv4 first.
    pub fn iter(self) -> impl Iterator<Item = IpAddr> {
        self.ipv4.map(IpAddr::V4).into_iter().chain(self.ipv6.map(IpAddr::V6))
    }

    /// Is this address in it?
    #[must_use]
    pub fn contains(self, address: IpAddr) -> bool {
        self.iter().any(|own| own == address)
    }

    const fn set(&mut self, address: IpAddr) {
        match address {
            IpAddr::V4(address) => self.ipv4 = Some(address),
            IpAddr::V6(address) => self.ipv6 = Some(address),
        }
    }
}

/// What a pod shall get.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// From these pools, of each family from the first that has a free address; none named: the
    /// first pool there is, or any for requested addresses. Those that the node has not are passed over.
    pub pools: Vec<String>,
    /// Families that it must get an address of, also if the node has no range of theirs.
    pub families: Vec<Family>,
    /// Exactly these, at most one a family.
    pub addresses: Vec<IpAddr>,
    /// Somebody else has chosen the addresses: nothing is added to them, and no pool need have them.
    pub delegated: bool,
}

/// The node's pools and who has which address.
#[derive(Clone, Debug)]
pub struct Ipam {
    settings: IpamSettings,
    ranges: Vec<Range>,
    /// Ranges of earlier settings in which addresses are leased that no range of these has.
    former: Vec<Former>,
    leases: BTreeMap<AttachmentId, Lease>,
    holders: BTreeMap<IpAddr, AttachmentId>,
    /// Counts what becomes idle, to keep the order within one moment.
    idled: u64,
}

impl Ipam {
    /// Nothing is leased.
    #[must_use]
    pub fn new(settings: IpamSettings) -> Self {
        let ranges = settings.pools.iter().enumerate().flat_map(|(number, pool)| {
            pool.ranges.iter().map(move |range| {
                let block = match range.family() {
                    Family::Ipv4Unicast => pool.block_ipv4,
                    Family::Ipv6Unicast => pool.block_ipv6,
                };
                Range::new(number, *range, block)
            })
        });
        Self {
            ranges: ranges.collect(),
            settings,
            former: Vec::new(),
            leases: BTreeMap::new(),
            holders: BTreeMap::new(),
            idled: 0,
        }
    }

    /// Goes on with other pools, reservations or cooldown. Leases stay as they are, wherever their
    /// addresses lie now. A range that leaves is kept as a former one until its last lease ends.
    pub fn reconfigure(&mut self, settings: IpamSettings) {
        let before = mem::replace(self, Self::new(settings));
        for (address, since) in before.idle() {
            self.idle_since(address, since);
        }
        for (id, lease) in &before.leases {
            // They have shared no address so far, so they do not now.
            let _ = self.adopt(id, *lease);
        }
        let own = before
            .ranges
            .iter()
            .map(|range| Former { prefix: range.prefix(), announced: before.is_announced(range) });
        let known = own.chain(before.former.iter().copied());
        self.former = known.filter(|former| !self.has_range(former.prefix)).collect();
        self.forget_former();
    }

    /// Leases one address of every family that the pool has: the requested ones, any for the rest.
    /// An attachment that has a lease gets the same again.
    ///
    /// # Errors
    ///
    /// [`LeaseError`]; nothing has been leased then, in either family.
    pub fn lease(
        &mut self,
        id: &AttachmentId,
        wish: &Wish,
        now: Instant,
    ) -> Result<Lease, LeaseError> {
        if let Some(lease) = self.leases.get(id) {
            return match wish.addresses.iter().find(|address| !lease.contains(**address)) {
                None => Ok(*lease),
                Some(address) => Err(LeaseError::Differs { address: *address, lease: *lease }),
            };
        }
        let pools = self.pools_of(wish)?;
        let mut found = Vec::new();
        for family in Family::ALL {
            let mut wanted = wish.addresses.iter().filter(|address| family_of(**address) == family);
            match (wanted.next(), wanted.next()) {
                (Some(_), Some(_)) => return Err(LeaseError::TwoOfOneFamily(family)),
                (Some(address), None) => found.push(self.find_requested(*address, wish, now)?),
                (None, None) if wish.delegated => {}
                (None, None)
                    if wish.families.contains(&family)
                        || pools.iter().any(|pool| self.serves(*pool, family)) =>
                {
                    found.push(self.find_in_turn(&pools, family, now)?);
                }
                (None, _) => {}
            }
        }
        let mut lease = Lease::default();
        for found in found {
            let address = match found {
                Found::In(range, candidate) => {
                    self.ranges[range].take(candidate);
                    candidate.address
                }
                Found::Outside(address) => address,
            };
            lease.set(address);
            self.holders.insert(address, id.clone());
        }
        self.leases.insert(id.clone(), lease);
        Ok(lease)
    }

    /// Takes the addresses back; they are leased again only after their cooldown, and after all
    /// that have been idle longer. `None` if there was no lease.
    pub fn release(&mut self, id: &AttachmentId, now: Instant) -> Option<Lease> {
        let lease = self.leases.remove(id)?;
        for address in lease.iter() {
            if self.holders.get(&address) == Some(id) {
                self.holders.remove(&address);
                self.idle_since(address, now);
            }
        }
        self.forget_former();
        Some(lease)
    }

    /// Enters what the kernel says is in use, at start and before the first [`lease`](Self::lease).
    /// Addresses outside the pools are kept too: the pools may have been changed meanwhile.
    ///
    /// # Errors
    ///
    /// [`LeaseError::Taken`] if another attachment has one of the addresses; nothing is entered.
    pub fn adopt(&mut self, id: &AttachmentId, lease: Lease) -> Result<(), LeaseError> {
        for address in lease.iter() {
            if let Some(by) = self.holders.get(&address).filter(|by| *by != id) {
                return Err(LeaseError::Taken { address, by: by.clone() });
            }
        }
        for address in lease.iter() {
            self.holders.insert(address, id.clone());
            if let Some(range) = self.range_of(address) {
                self.ranges[range].adopt(address);
            }
        }
        self.leases.insert(id.clone(), lease);
        Ok(())
    }

    /// Enters an address that became idle in a former run. One that is in use stays so.
    pub fn idle_since(&mut self, address: IpAddr, since: Instant) {
        if self.holders.contains_key(&address) || self.settings.reserves(address) {
            return;
        }
        self.idled += 1;
        if let Some(range) = self.range_of(address) {
            self.ranges[range].put_back(address, (since, self.idled));
        }
    }

    /// The lease of an attachment.
    #[must_use]
    pub fn get(&self, id: &AttachmentId) -> Option<Lease> {
        self.leases.get(id).copied()
    }

    /// Who has an address.
    #[must_use]
    pub fn holder(&self, address: IpAddr) -> Option<&AttachmentId> {
        self.holders.get(&address)
    }

    /// Every lease.
    pub fn leases(&self) -> impl Iterator<Item = (&AttachmentId, Lease)> {
        self.leases.iter().map(|(id, lease)| (id, *lease))
    }

    /// Every idle address and since when.
    pub fn idle(&self) -> impl Iterator<Item = (IpAddr, Instant)> {
        self.ranges.iter().flat_map(Range::idle)
    }

    /// Has any pool addresses of this family?
    #[must_use]
    pub fn has(&self, family: Family) -> bool {
        self.ranges.iter().any(|range| range.family() == family)
    }

    /// Every range and how much of it is used, in the order of the configuration.
    pub fn pools(&self, now: Instant) -> impl Iterator<Item = PoolUse> {
        let since = self.warm_since(now);
        self.ranges.iter().map(move |range| PoolUse {
            name: self.settings.pools[range.pool].name.clone(),
            family: range.family(),
            prefix: range.prefix(),
            size: range.size(),
            leased: self.holders.range(range.assignable()).count() as u128,
            cooling: range.younger_than(since) as u128,
        })
    }

    /// Ranges that are no longer in the configuration, and lost ones, with the number of their leases.
    pub fn former(&self) -> impl Iterator<Item = (Prefix, usize)> {
        let former = self.former.iter().map(|range| range.prefix);
        // Those that were lost in a former run have been no range in this one.
        let is_former = |prefix: &&Prefix| self.former.iter().any(|range| range.prefix == **prefix);
        let lost = self.settings.lost.iter().filter(move |prefix| !is_former(prefix)).copied();
        let all = former.chain(lost).map(|prefix| (prefix, self.outside(prefix).count()));
        all.filter(|(_, leased)| *leased > 0)
    }

    /// Every range, and every former one that is still this node's.
    pub fn prefixes(&self) -> impl Iterator<Item = Prefix> {
        self.ranges.iter().map(Range::prefix).chain(self.kept().map(|range| range.prefix))
    }

    /// What peers are told of: ranges, former ones, and the addresses of pods that lie in none of them: of
    /// floating and of lost prefixes. A range of one address has no blackhole that would keep packets
    /// from looping, and so is announced only while a pod has it.
    pub fn announced(&self) -> impl Iterator<Item = Prefix> {
        let is_whole = |range: &&Range| {
            let prefix = range.prefix();
            prefix != Prefix::host(prefix.addr()) || self.holders.contains_key(&prefix.addr())
        };
        let own = self.ranges.iter().filter(|range| self.is_announced(range));
        let own = own.filter(is_whole).map(Range::prefix);
        let former = self.kept().filter(|range| range.announced).map(|range| range.prefix);
        // Most nodes have none; the others need not look at every lease.
        let single = self.settings.floating.iter().chain(&self.settings.lost);
        let single: BTreeSet<_> = single.flat_map(|prefix| self.outside(*prefix)).collect();
        own.chain(former).chain(single.into_iter().copied().map(Prefix::host))
    }

    /// Former ranges that no other node has.
    fn kept(&self) -> impl Iterator<Item = &Former> {
        self.former.iter().filter(|range| !self.settings.has_lost(range.prefix))
    }

    /// Every open block.
    pub fn blocks(&self, now: Instant) -> impl Iterator<Item = BlockUse> {
        let since = self.warm_since(now);
        self.ranges.iter().flat_map(move |range| {
            range.blocks(since).map(move |(prefix, size, cooling)| BlockUse {
                pool: self.settings.pools[range.pool].name.clone(),
                prefix,
                size,
                leased: self.holders.keys().filter(|address| prefix.contains(**address)).count()
                    as u128,
                cooling: cooling as u128,
            })
        })
    }

    fn is_announced(&self, range: &Range) -> bool {
        self.settings.pools[range.pool].announce
    }

    fn has_range(&self, prefix: Prefix) -> bool {
        self.ranges.iter().any(|range| range.prefix() == prefix)
    }

    /// Addresses leased in this prefix that are in none of the ranges.
    fn outside(&self, prefix: Prefix) -> impl Iterator<Item = &IpAddr> {
        let leased = self.holders.range(prefix.addr()..=last(prefix)).map(|(address, _)| address);
        leased.filter(|address| self.range_of(**address).is_none())
    }

    fn forget_former(&mut self) {
        let mut former = mem::take(&mut self.former);
        former.retain(|range| self.outside(range.prefix).next().is_some());
        self.former = former;
    }

    fn pools_of(&self, wish: &Wish) -> Result<Vec<usize>, LeaseError> {
        let Some(first) = wish.pools.first() else { return Ok(vec![0]) };
        let position =
            |name: &String| self.settings.pools.iter().position(|pool| pool.name == *name);
        let known: Vec<_> = wish.pools.iter().filter_map(position).collect();
        if known.is_empty() && wish.families.is_empty() {
            return Err(LeaseError::UnknownPool {
                name: first.clone(),
                known: self.settings.pools.iter().map(|pool| pool.name.clone()).collect(),
            });
        }
        Ok(known)
    }

    fn serves(&self, pool: usize, family: Family) -> bool {
        self.ranges.iter().any(|range| range.pool == pool && range.family() == family)
    }

    fn range_of(&self, address: IpAddr) -> Option<usize> {
        self.ranges.iter().position(|range| range.prefix().contains(address))
    }

    /// What became idle after this moment is not leased yet; `None`: whatever is idle.
    fn warm_since(&self, now: Instant) -> Option<Instant> {
        // Before the clock began nothing can have become idle.
        now.checked_sub(self.settings.cooldown)
    }

    fn find_requested(
        &self,
        address: IpAddr,
        wish: &Wish,
        now: Instant,
    ) -> Result<Found, LeaseError> {
        if let Some(by) = self.holders.get(&address) {
            return Err(LeaseError::Taken { address, by: by.clone() });
        }
        let pools = if wish.pools.is_empty() { None } else { Some(self.pools_of(wish)?) };
        let range = self.range_of(address);
        let found =
            range.and_then(|range| Some(Found::In(range, self.ranges[range].find(address)?)));
        if wish.delegated {
            return Ok(found.unwrap_or(Found::Outside(address)));
        }
        if range.is_none() && self.settings.floats(address) {
            return Ok(Found::Outside(address));
        }
        match range.map(|range| &self.ranges[range]) {
            Some(range) if pools.as_ref().is_none_or(|pools| pools.contains(&range.pool)) => {
                found.ok_or_else(|| LeaseError::Reserved { address, prefix: range.prefix() })
            }
            Some(_) | None => {
                let pools = self.uses(pools.as_deref(), family_of(address), now);
                Err(LeaseError::OutsidePools { address, pools })
            }
        }
    }

    /// From the first of the pools that has one.
    fn find_in_turn(
        &mut self,
        pools: &[usize],
        family: Family,
        now: Instant,
    ) -> Result<Found, LeaseError> {
        let mut wait: Option<Duration> = None;
        for pool in pools {
            match self.find_any(*pool, family, now) {
                Ok(found) => return Ok(found),
                Err(cooling) => wait = wait.into_iter().chain(cooling).min(),
            }
        }
        Err(LeaseError::Exhausted { family, pools: self.uses(Some(pools), family, now), wait })
    }

    /// If there is none, how long the first that cools down does so.
    fn find_any(
        &mut self,
        pool: usize,
        family: Family,
        now: Instant,
    ) -> Result<Found, Option<Duration>> {
        let Self { ranges, holders, settings, .. } = self;
        let usable = |address| !holders.contains_key(&address) && !settings.reserves(address);
        let mut own: Vec<_> = ranges
            .iter_mut()
            .enumerate()
            .filter(|(_, range)| range.pool == pool && range.family() == family)
            .collect();
        for (number, range) in &mut own {
            if let Some(found) = range.find_fresh(usable) {
                return Ok(Found::In(*number, found));
            }
        }
        let oldest = own.iter().filter_map(|(number, range)| {
            let (age, found) = range.oldest()?;
            Some((age, *number, found))
        });
        let oldest = oldest.min_by_key(|(age, ..)| *age);
        if let Some(((idle, _), number, found)) = oldest
            && idle + settings.cooldown <= now
        {
            return Ok(Found::In(number, found));
        }
        let end = |block: Prefix| {
            settings.reserved.iter().find(|prefix| prefix.covers(block)).map(|prefix| last(*prefix))
        };
        for (number, range) in own {
            if let Some(found) = range.find_unopened(usable, end) {
                return Ok(Found::In(number, found));
            }
        }
        Err(oldest
            .map(|((idle, _), ..)| (idle + self.settings.cooldown).saturating_duration_since(now)))
    }

    /// The ranges of a family, of some pools or of all, for a message.
    fn uses(&self, pools: Option<&[usize]>, family: Family, now: Instant) -> PoolUses {
        let uses = self.ranges.iter().zip(self.pools(now));
        let uses = uses.filter(|(range, _)| {
            range.family() == family && pools.is_none_or(|pools| pools.contains(&range.pool))
        });
        PoolUses(uses.map(|(_, used)| used).collect())
    }
}

/// A range of earlier settings.
#[derive(Clone, Copy, Debug)]
struct Former {
    prefix: Prefix,
    /// Whether peers were told of it, and still are.
    announced: bool,
}

/// An address that can be had, and from where.
#[derive(Clone, Copy, Debug)]
enum Found {
    /// From the range at this position.
    In(usize, Candidate),
    /// From no range of ours.
    Outside(IpAddr),
}

const fn family_of(address: IpAddr) -> Family {
    match address {
        IpAddr::V4(_) => Family::Ipv4Unicast,
        IpAddr::V6(_) => Family::Ipv6Unicast,
    }
}

#[cfg(test)]
mod tests;
