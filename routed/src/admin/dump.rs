//! The dump of everything that peers have announced: from the RIB, slice by slice, to MRT records on
//! the caller's connection.
//!
//! Nobody waits for it: the RIB's thread does other things between two slices, and a caller that takes
//! nothing is left. Writes no file; who asks does.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::SystemTime,
};

use bgp::{
    family::Family,
    mrt::{TableEntry, TablePeer, peer_table, table_records},
    rib::{DumpCursor, Dumped, DumpedPath, Monitored, PeerId, RibConfig},
    timestamp::Timestamp,
};
use plugin::rpc::RpcError;
use serde::{Deserialize, Serialize};

use super::{Part, answer::of_part, server::Answer};
use crate::sources::{Sources, in_time};

/// One row of the answer to [`Request::Dump`](super::Request::Dump).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DumpPart {
    /// So many octets of whole records follow this document, outside of any.
    Records(usize),
    /// What it came to.
    Summary {
        /// Peers in the index, this router first.
        peers: usize,
        /// Prefixes.
        prefixes: usize,
        /// Paths.
        paths: usize,
        /// Paths whose attributes cannot be written.
        left_out: usize,
    },
}

/// The peers of a dump.
struct Index {
    peers: Vec<TablePeer>,
    /// Place in the list, and the session.
    places: BTreeMap<PeerId, (u16, Arc<Monitored>)>,
}

/// What was written so far.
#[derive(Default)]
struct Tally {
    sequence: u32,
    prefixes: usize,
    paths: usize,
    left_out: usize,
}

/// Walks through the RIB and answers with all of it.
pub(super) async fn stream(answer: &mut Answer, sources: &Sources) -> Result<(), RpcError> {
    match walk(answer, sources).await? {
        Ok(summary) => {
            answer.part(&Part::Row(summary)).await?;
            answer.part(&Part::<DumpPart>::End).await?;
        }
        Err(refusal) => answer.part(&Part::<DumpPart>::Refused(refusal)).await?,
    }
    answer.flush().await
}

async fn walk(
    answer: &mut Answer,
    sources: &Sources,
) -> Result<Result<DumpPart, super::Refusal>, RpcError> {
    let at = Timestamp::from(SystemTime::now());
    let (router, sessions) = match in_time(sources.rib.router_and_sessions()).await {
        Ok(answer) => answer,
        Err(error) => return Ok(Err(of_part("RIB")(error))),
    };
    let index = Index::new(&router, sessions);
    send(answer, &peer_table(router.router_id, &index.peers, at)).await?;
    let (mut tally, mut cursor) = (Tally::default(), Some(DumpCursor::default()));
    while let Some(from) = cursor {
        let (slice, next) = match in_time(sources.rib.dump(from, SLICE)).await {
            Ok(answer) => answer,
            Err(error) => return Ok(Err(of_part("RIB")(error))),
        };
        cursor = next;
        let octets: Vec<u8> =
            slice.iter().flat_map(|dest| tally.records(dest, &index, at)).collect();
        send(answer, &octets).await?;
    }
    let Tally { prefixes, paths, left_out, .. } = tally;
    Ok(Ok(DumpPart::Summary { peers: index.peers.len(), prefixes, paths, left_out }))
}

async fn send(answer: &mut Answer, records: &[u8]) -> Result<(), RpcError> {
    if records.is_empty() {
        return Ok(());
    }
    answer.part(&Part::Row(DumpPart::Records(records.len()))).await?;
    answer.octets(records).await
}

impl Index {
    /// This router first, as the peer whose paths are its own: with no address (as other daemons
    /// write it).
    fn new(router: &RibConfig, sessions: Vec<Arc<Monitored>>) -> Self {
        let us = TablePeer {
            router_id: router.router_id,
            address: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            asn: router.asn,
        };
        let mut index = Self { peers: vec![us], places: BTreeMap::new() };
        for session in sessions {
            // The index has no room for more than 65,535.
            let Ok(place) = u16::try_from(index.peers.len()) else { break };
            let Monitored { address, asn, router_id, .. } = *session;
            index.peers.push(TablePeer { router_id, address, asn });
            index.places.insert(session.id, (place, session));
        }
        index
    }

    /// Where the path's peer stands, and its identifier if it gives one. `None` for a peer that came
    /// after the dump began.
    fn of(&self, path: &DumpedPath, family: Family) -> Option<(u16, Option<u32>)> {
        let Some(peer) = path.peer else { return Some((0, None)) };
        let (place, session) = self.places.get(&peer)?;
        let has_ids = session.options.add_path_receive.contains(family);
        Some((*place, has_ids.then_some(path.path_id)))
    }
}

impl Tally {
    fn records(&mut self, dest: &Dumped, index: &Index, at: Timestamp) -> Vec<u8> {
        let family = dest.prefix.family();
        let entries = dest.paths.iter().filter_map(|path| {
            let (peer, path_id) = index.of(path, family)?;
            Some(TableEntry { peer, learned: path.learned, path_id, attrs: &path.attrs })
        });
        let entries: Vec<_> = entries.collect();
        let (records, errors) = table_records(dest.prefix, &entries, &mut self.sequence, at);
        for error in &errors {
            tracing::error!(prefix = %dest.prefix, %error, "a path is left out of the dump");
        }
        self.prefixes += usize::from(!records.is_empty());
        self.paths += entries.len() - errors.len();
        self.left_out += errors.len();
        records.concat()
    }
}

/// Numbers of destinations in a slice: some milliseconds of the RIB's thread.
const SLICE: usize = 2048;
