//! From the objects of the cluster to the `routed.toml` of one node.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
    path::Path,
};

use bgp::prefix::Prefix;
use routed_core::claims;

use crate::Objects;

/// What the node's configuration is made from.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// What is known of the cluster.
    pub objects: &'a Objects,
    /// The name of this node.
    pub node: &'a str,
    /// The node's own `routed.toml`.
    pub base: &'a str,
    /// The blocks that it has, from [`claims::Claims`].
    pub blocks: &'a [Block],
    /// The folder of the files with passwords.
    pub folder: &'a Path,
}

/// A block of this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Its addresses.
    pub prefix: Prefix,
    /// The pool that it is of.
    pub pool: String,
}

/// What a check found in the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where, from 1; `None`: in the text as a whole.
    pub line: Option<usize>,
    /// The key, as in `peers[2].hold_time`.
    pub key: String,
    /// What, and the remedy.
    pub message: String,
}

/// What the objects come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The `routed.toml` that holds.
    pub text: String,
    /// What is wrong with each object; nothing: it is heeded.
    pub problems: BTreeMap<ObjectRef, Vec<Problem>>,
    /// Pools that this node may claim blocks of.
    pub pools: Vec<claims::Pool>,
    /// Secrets that peers of this node name.
    pub secrets: BTreeSet<String>,
}

/// An object of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectRef {
    /// Its kind, as in `BGPPeer`.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
}

/// `BGPPeer/tor`
impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.name)
    }
}

/// Why an object, or a part of it, is not heeded.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// One word for programs, as conditions have it: `SecretMissing`.
    pub reason: &'static str,
    /// What, and the remedy.
    pub message: String,
}

/// Which pools and addresses a pod gets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// Names of pools, in the order in which they are tried; none: any.
    pub pools: Vec<String>,
    /// Exactly these, at most one of each family; none: any.
    pub addresses: Vec<IpAddr>,
}
