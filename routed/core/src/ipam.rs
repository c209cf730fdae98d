//! Addresses of pods: which are leased, and which is leased next.
//!
//! In: the pools of the configuration, requests and releases by attachment, and at start what the
//! kernel's objects say is in use. Out: leases of one address a family, all or none, or an error
//! that names pool, use and remedy.
//!
//! An address that was never used goes first and then the one that has been idle longest, so that
//! what the network remembers of an old pod (connections, caches) has died before a new pod gets
//! its address. Memory grows with the addresses in use, not with the size of a pool. Releasing is
//! the caller's word that nothing in the kernel points to the address any more.

use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use bgp::{family::Family, prefix::Prefix};
use serde::Serialize;

use crate::attachment::AttachmentId;

mod pool;

use pool::{Candidate, Pool};

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

/// The node's pools and who has which address.
#[derive(Clone, Debug)]
pub struct Ipam {
    pools: Vec<Pool>,
    leases: BTreeMap<AttachmentId, Lease>,
    holders: BTreeMap<IpAddr, AttachmentId>,
    /// Counts releases, so that idle addresses of several pools can be compared by age.
    releases: u64,
}

impl Ipam {
    /// Pools in the order in which they are to be filled.
    pub fn new(pools: impl IntoIterator<Item = Prefix>) -> Self {
        Self {
            pools: pools.into_iter().map(Pool::new).collect(),
            leases: BTreeMap::new(),
            holders: BTreeMap::new(),
            releases: 0,
        }
    }

    /// Leases one address of every family that has pools: those of `requested` (at most one a
    /// family), any for the rest. An attachment that has a lease gets the same again.
    ///
    /// # Errors
    ///
    /// [`LeaseError`]; nothing has been leased then, in either family.
    pub fn lease(&mut self, id: &AttachmentId, requested: &[IpAddr]) -> Result<Lease, LeaseError> {
        if let Some(lease) = self.leases.get(id) {
            return match requested.iter().find(|address| !lease.contains(**address)) {
                None => Ok(*lease),
                Some(address) => Err(LeaseError::Differs { address: *address, lease: *lease }),
            };
        }
        let mut found = Vec::new();
        for family in Family::ALL {
            let mut wanted = requested.iter().filter(|address| family_of(**address) == family);
            match (wanted.next(), wanted.next()) {
                (Some(_), Some(_)) => return Err(LeaseError::TwoOfOneFamily(family)),
                (Some(address), None) => found.push(self.find_requested(*address)?),
                (None, None) if self.serves(family) => found.push(self.find_any(family)?),
                (None, _) => {}
            }
        }
        let mut lease = Lease::default();
        for (pool, candidate) in found {
            let address = self.pools[pool].take(candidate);
            lease.set(address);
            self.holders.insert(address, id.clone());
        }
        self.leases.insert(id.clone(), lease);
        Ok(lease)
    }

    /// Takes the addresses back; they are leased again only after all that have been idle longer.
    /// `None` if there was no lease.
    pub fn release(&mut self, id: &AttachmentId) -> Option<Lease> {
        let lease = self.leases.remove(id)?;
        for address in lease.iter() {
            if self.holders.get(&address) == Some(id) {
                self.holders.remove(&address);
                self.releases += 1;
                if let Some(pool) = self.pools.iter_mut().find(|pool| pool.holds(address)) {
                    pool.put_back(address, self.releases);
                }
            }
        }
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
            if let Some(pool) = self.pools.iter_mut().find(|pool| pool.holds(address)) {
                pool.begin_after(address);
            }
        }
        self.leases.insert(id.clone(), lease);
        Ok(())
    }

    /// The lease of an attachment.
    #[must_use]
    pub fn get(&self, id: &AttachmentId) -> Option<Lease> {
        self.leases.get(id).copied()
    }

    /// Is there a pool of this family?
    #[must_use]
    pub fn serves(&self, family: Family) -> bool {
        self.pools.iter().any(|pool| pool.prefix().family() == family)
    }

    /// Every pool and how much of it is used, in the order of the configuration.
    pub fn pools(&self) -> impl Iterator<Item = PoolUse> {
        self.pools.iter().map(|pool| PoolUse {
            family: pool.prefix().family(),
            prefix: pool.prefix(),
            size: pool.size(),
            leased: self.holders.range(pool.range()).count() as u128,
        })
    }

    fn find_requested(&self, address: IpAddr) -> Result<(usize, Candidate), LeaseError> {
        let family = family_of(address);
        let Some(index) = self.pools.iter().position(|pool| pool.prefix().contains(address)) else {
            return Err(LeaseError::OutsidePools { address, pools: self.uses(family) });
        };
        if let Some(by) = self.holders.get(&address) {
            return Err(LeaseError::Taken { address, by: by.clone() });
        }
        let pool = &self.pools[index];
        let candidate = pool.find(address);
        let reserved = LeaseError::Reserved { address, prefix: pool.prefix() };
        candidate.map(|candidate| (index, candidate)).ok_or(reserved)
    }

    fn find_any(&self, family: Family) -> Result<(usize, Candidate), LeaseError> {
        let pools =
            || self.pools.iter().enumerate().filter(|(_, pool)| pool.prefix().family() == family);
        let idle: usize = pools().map(|(_, pool)| pool.idle()).sum();
        let fresh = || {
            pools().find_map(|(index, pool)| {
                Some((index, pool.find_fresh(|address| self.holders.contains_key(&address))?))
            })
        };
        let oldest = || {
            pools()
                .filter_map(|(index, pool)| {
                    pool.find_idle().map(|(age, found)| (age, index, found))
                })
                .min_by_key(|(age, ..)| *age)
                .map(|(_, index, found)| (index, found))
        };
        let found = if idle < IDLE_MAX { fresh().or_else(oldest) } else { oldest().or_else(fresh) };
        found.ok_or_else(|| LeaseError::Exhausted { family, pools: self.uses(family) })
    }

    fn uses(&self, family: Family) -> PoolUses {
        PoolUses(self.pools().filter(|pool| pool.family == family).collect())
    }
}

/// How much of a pool is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolUse {
    /// Family of the pool.
    pub family: Family,
    /// The pool as configured.
    pub prefix: Prefix,
    /// Addresses that can be leased.
    pub size: u128,
    /// Addresses that are leased.
    pub leased: u128,
}

impl fmt::Display for PoolUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { family, prefix, size, leased } = self;
        write!(f, "pool {family} {prefix}: {leased} of {size} addresses leased")
    }
}

/// The pools of one family, for a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolUses(pub Vec<PoolUse>);

impl fmt::Display for PoolUses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("there is no pool of its family");
        }
        for (position, pool) in self.0.iter().enumerate() {
            write!(f, "{}{pool}", if position == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}

/// Why there is no lease.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeaseError {
    /// Every address of the family is leased.
    #[error(
        "no free {family} address ({pools}); delete pods or add a prefix to pods.{family} in routed.toml"
    )]
    Exhausted {
        /// The family.
        family: Family,
        /// Its pools.
        pools: PoolUses,
    },
    /// The address asked for is in no pool of this node.
    #[error(
        "requested address {address} is outside this node's pools ({pools}); request one inside or none"
    )]
    OutsidePools {
        /// As requested.
        address: IpAddr,
        /// Pools of its family.
        pools: PoolUses,
    },
    /// The address asked for is the first or last of its pool.
    #[error(
        "requested address {address} is the network, anycast or broadcast address of {prefix}; request another"
    )]
    Reserved {
        /// As requested.
        address: IpAddr,
        /// The pool.
        prefix: Prefix,
    },
    /// Somebody else has the address.
    #[error("address {address} is leased to {by}; request another or delete that pod")]
    Taken {
        /// As requested.
        address: IpAddr,
        /// Who has it.
        by: AttachmentId,
    },
    /// More than one address of a family was asked for.
    #[error("two {0} addresses were requested; a pod has one of each family")]
    TwoOfOneFamily(Family),
    /// The attachment has a lease of other addresses.
    #[error("the pod has other addresses than the requested {address}; delete it first")]
    Differs {
        /// As requested.
        address: IpAddr,
        /// What it has.
        lease: Lease,
    },
}

const fn family_of(address: IpAddr) -> Family {
    match address {
        IpAddr::V4(_) => Family::Ipv4Unicast,
        IpAddr::V6(_) => Family::Ipv6Unicast,
    }
}

/// Idle addresses of a family beyond which the oldest is used before a fresh one: what bounds the
/// memory of a large IPv6 pool (about 100 octets each).
const IDLE_MAX: usize = 65_536;

#[cfg(test)]
mod tests;
