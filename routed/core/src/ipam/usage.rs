//! How full pools and blocks are.

use std::fmt;

use bgp::{family::Family, prefix::Prefix};

/// How much of a pool is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolUse {
    /// Name of the pool.
    pub name: String,
    /// Family of the range.
    pub family: Family,
    /// The range as configured.
    pub prefix: Prefix,
    /// Addresses that can be leased.
    pub size: u128,
    /// Addresses that are leased.
    pub leased: u128,
    /// Addresses whose cooldown has not passed.
    pub cooling: u128,
}

/// How much of a block is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockUse {
    /// Name of its pool.
    pub pool: String,
    /// The block.
    pub prefix: Prefix,
    /// Addresses in it.
    pub size: u128,
    /// Addresses that are leased.
    pub leased: u128,
    /// Addresses whose cooldown has not passed.
    pub cooling: u128,
}

impl fmt::Display for PoolUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, family, prefix, size, leased, cooling } = self;
        write!(f, "pool {name}, {family} {prefix}: {leased} of {size} addresses leased")?;
        if *cooling > 0 { write!(f, ", {cooling} cooling down") } else { Ok(()) }
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
