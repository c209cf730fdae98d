//! Why there is no lease.

use std::{net::IpAddr, time::Duration};

use bgp::{family::Family, prefix::Prefix};

use super::{Lease, PoolUses};
use crate::attachment::AttachmentId;

/// Why there is no lease.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeaseError {
    /// Every address of the family is leased.
    #[error(
        "no free {family} address ({pools}); {}delete pods or add a prefix to the pool in routed.toml",
        wait.map_or(String::new(), |wait| format!("the next is free in {} s; else ", wait.as_secs() + 1))
    )]
    Exhausted {
        /// The family.
        family: Family,
        /// Its pools.
        pools: PoolUses,
        /// How long until the first cooldown ends.
        wait: Option<Duration>,
    },
    /// No pool has the name asked for.
    #[error("there is no pool {name:?}; pools of this node are {}", known.join(", "))]
    UnknownPool {
        /// As requested.
        name: String,
        /// Those of the configuration.
        known: Vec<String>,
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
