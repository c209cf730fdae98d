//! What is told of a node, as its daemon knows it.

use std::{collections::BTreeSet, net::Ipv4Addr, time::Instant};

use routed_api::{ObjectProblem, SessionState};

/// A node at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Version of the daemon.
    pub version: String,
    /// Its AS and BGP identifier, if they are known.
    pub identity: Option<(u32, Ipv4Addr)>,
    /// Every session that is wanted.
    pub sessions: Vec<SessionSeen>,
    /// Objects, or parts of them, that are not heeded.
    pub problems: Vec<ObjectProblem>,
    /// Why what the cluster says is not in force, if so.
    pub refused: Option<String>,
    /// IPPools without a free block.
    pub exhausted: BTreeSet<String>,
    /// Blocks that another node has, although pods here use them.
    pub lost: BTreeSet<String>,
    /// Traffic and pods may come; else what is missing. At the start that is every session.
    pub ready: Result<(), String>,
    /// Pods here have a network; else what is missing. One session is enough.
    pub serves: Result<(), String>,
    /// There is an address for a further pod.
    pub has_addresses: bool,
    /// `metadata.uid` of the Node object; `None`: there is none.
    pub node_uid: Option<String>,
    /// How many nodes the cluster has: they share one API server.
    pub nodes: usize,
}

/// A session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionSeen {
    /// Name of the BGPPeer; `node:NAME`, `reflector:NAME` or `file:NAME` if there is none.
    pub peer: String,
    /// Whether no object asks for it: a session of the mesh or with a reflector.
    pub is_mesh: bool,
    /// Address or interface of the peer.
    pub address: String,
    /// AS of the peer, once it is known.
    pub asn: Option<u32>,
    /// Its state.
    pub state: SessionState,
    /// Since when.
    pub since: Option<Instant>,
    /// Why it is not established, or was not before, with the remedy.
    pub error: Option<String>,
    /// Its routes, if they could be counted.
    pub counts: Option<Counts>,
}

/// Routes of a session, of all families.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// What the peer has announced.
    pub received: i64,
    /// What import policy has let in.
    pub accepted: i64,
    /// What the peer is told.
    pub advertised: i64,
}

impl SessionSeen {
    pub(super) fn is_up(&self) -> bool {
        self.state == SessionState::Established
    }

    /// What a person knows it by: a BGPPeer may have several.
    pub(super) fn key(&self) -> (&str, &str) {
        (&self.peer, &self.address)
    }
}

/// The nodes of the cluster, by which things are spread in time.
pub(super) fn size(picture: &Picture) -> u32 {
    u32::try_from(picture.nodes).unwrap_or(u32::MAX).min(20_000)
}

/// A text without its numbers: two that differ in a time or a count say the same.
pub(super) fn gist(text: &str) -> String {
    text.chars().filter(|c| !c.is_ascii_digit()).collect()
}

/// A text that is no longer than the API server takes or a person reads.
pub(super) fn short(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let mut end = most - '…'.len_utf8();
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &text[..end])
}
