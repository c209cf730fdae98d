//! What the claims hear and say.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use bgp::prefix::Prefix;
use serde::{Deserialize, Serialize};

/// A pool, as far as claims go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Its name.
    pub name: String,
    /// Its range.
    pub cidr: Prefix,
    /// Length of its blocks; at least that of the range.
    pub block: u8,
    /// Empty blocks that the node shall have. 0: none is claimed any more, as of a disabled pool.
    pub spare: usize,
}

/// A claim as it is kept on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    /// The block.
    #[serde(with = "text")]
    pub block: Prefix,
    /// The pool that it is of.
    pub pool: String,
    /// `metadata.uid` of the claim.
    pub uid: String,
    /// Another node has the block since, and pods here use it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub lost: bool,
}

/// What has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// These pools there are for this node; from a listing that succeeded.
    Pools(Vec<Pool>),
    /// These claims the node has, from a listing that succeeded and was asked for then.
    Own {
        /// When it was asked for: claims that were made since are none of its business.
        asked: Instant,
        /// Every claim of the node.
        claims: Vec<Saved>,
    },
    /// So many addresses of each block are leased or cool down; a block that is not named has none.
    Used(BTreeMap<Prefix, u128>),
    /// The claim was created.
    Created {
        /// The block.
        block: Prefix,
        /// `metadata.uid` of the claim.
        uid: String,
    },
    /// The claim exists already.
    Exists {
        /// The block.
        block: Prefix,
        /// `metadata.uid` of the claim if it is this node's; `None`: it is another node's.
        ours: Option<String>,
    },
    /// Nobody knows whether the claim was created.
    CreateFailed(Prefix),
    /// Blocks of a pool that nodes have, this one's or others'.
    Occupied {
        /// The pool.
        pool: String,
        /// Which of them were listed.
        scope: Scope,
        /// Every block of these that is claimed.
        blocks: BTreeSet<Prefix>,
    },
    /// They could not be listed.
    ListFailed(String),
    /// The block is used no more: no lease, no announcement.
    Withdrawn(Prefix),
    /// It is used after all.
    Kept(Prefix),
    /// The claim is gone, or is another one's now.
    Deleted(Prefix),
    /// Nobody knows whether the claim was deleted.
    DeleteFailed(Prefix),
    /// What was to be on disk is there.
    Stored(u64),
    /// It is not.
    StoreFailed(u64),
    /// Time has passed.
    Tick,
}

/// What is to be done. Each is answered by an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Create the claim.
    Create {
        /// The block.
        block: Prefix,
        /// Its pool.
        pool: String,
    },
    /// List the claims to blocks of a pool, of all nodes.
    List {
        /// The pool.
        pool: String,
        /// Which of them.
        scope: Scope,
    },
    /// Stop using the block, if no address of it is leased.
    Withdraw(Prefix),
    /// Delete the claim, if it still is this one.
    Delete {
        /// The block.
        block: Prefix,
        /// `metadata.uid` of the claim.
        uid: String,
    },
    /// Put this on disk, in place of all that is there.
    Store {
        /// To be told with the answer.
        generation: u64,
        /// Everything.
        claims: Vec<Saved>,
    },
}

/// Which claims are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Those of another size than the pool's blocks: there are some where a pool was made anew, and the
    /// name of a claim does not keep two sizes from sharing addresses. Mostly there are none, and the API
    /// server sends next to nothing.
    OtherSizes,
    /// All.
    All,
}

/// Something that a person should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Every block of the pool is claimed.
    Exhausted {
        /// The pool.
        pool: String,
    },
    /// Another node has a block that pods here have addresses of.
    Lost {
        /// The block.
        block: Prefix,
    },
}

/// Prefixes as text, on disk.
mod text {
    use bgp::prefix::Prefix;
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(prefix: &Prefix, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(prefix)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Prefix, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(|_| D::Error::custom(format!("{text:?} is no prefix")))
    }
}
