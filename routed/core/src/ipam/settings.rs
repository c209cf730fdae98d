//! Where addresses come from, by configuration.

use std::{net::IpAddr, time::Duration};

use bgp::prefix::Prefix;

/// Where addresses come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IpamSettings {
    /// The pools; the first is used where none is named.
    pub pools: Vec<PoolSettings>,
    /// Leased only to those who ask for exactly these addresses.
    pub reserved: Vec<Prefix>,
    /// Outside of the ranges, and leased all the same to those who ask for exactly these: addresses that
    /// follow their pod from node to node. One that is leased is announced by itself.
    pub floating: Vec<Prefix>,
    /// Another node has these now. No address of them is leased any more; one that still is, is announced
    /// by itself, so that its pod stays reachable beside what the other node announces.
    pub lost: Vec<Prefix>,
    /// How long an address is leased to nobody after its pod has gone.
    pub cooldown: Duration,
}

impl IpamSettings {
    pub(super) fn floats(&self, address: IpAddr) -> bool {
        self.floating.iter().any(|prefix| prefix.contains(address))
    }

    pub(super) fn has_lost(&self, prefix: Prefix) -> bool {
        self.lost.iter().any(|lost| lost.covers(prefix))
    }

    pub(super) fn reserves(&self, address: IpAddr) -> bool {
        self.reserved.iter().any(|prefix| prefix.contains(address))
    }
}

/// One pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolSettings {
    /// Unique name.
    pub name: String,
    /// Ranges of both families; of each family, in the order in which they are to be filled.
    pub ranges: Vec<Prefix>,
    /// Length of IPv4 blocks, 16..=32.
    pub block_ipv4: u8,
    /// Length of IPv6 blocks, 112..=128.
    pub block_ipv6: u8,
    /// Whether peers are told of its ranges.
    pub announce: bool,
}
