//! A path that a running daemon has, with the policies that it has in force.

use std::path::Path;

use bgp::{prefix::Prefix, rib::Ineligible};

use super::{Direction, PolicyTestView, Question, TestError, view::Account};
use crate::{
    admin::Request,
    show::{
        self,
        view::{PathStatus, PeerView, WhyView},
    },
};

/// Asks what `routed why` asks, and takes out the part of the peer.
pub(super) fn test(socket: &Path, question: &Question) -> Result<PolicyTestView, TestError> {
    // Gives the peer's name if its address was asked for, and refuses an unknown one.
    let request = Request::Peers { peer: Some(question.peer.clone()) };
    let peers: Vec<PeerView> = show::ask(socket, &request)?;
    let peer = peers.into_iter().next().map_or_else(|| question.peer.clone(), |peer| peer.name);
    let prefix = question.prefix;
    let request = Request::Why { prefix: prefix.into(), to: Some(peer.clone()) };
    let why: Vec<WhyView> = show::ask(socket, &request)?;
    let why = why.into_iter().find(|why| Prefix::from(why.prefix) == prefix);
    let account = match question.direction {
        Direction::Import => imported(why, &peer, prefix)?,
        Direction::Export => exported(why, &peer, prefix)?,
    };
    Ok(PolicyTestView::new(question, peer, account))
}

/// The peer's path with its import.
fn imported(why: Option<WhyView>, peer: &str, prefix: Prefix) -> Result<Account, TestError> {
    let paths = why.into_iter().flat_map(|why| why.paths);
    let mut of_peer = paths.filter(|why| why.path.peer.as_deref() == Some(peer));
    let Some(why) = of_peer.next() else {
        return Err(TestError::NotReceived { peer: peer.to_owned(), prefix });
    };
    let ineligible = why.path.status == PathStatus::Ineligible;
    // Whether a next hop can be reached is asked after import.
    let reachability = [Ineligible::NextHopUnreachable, Ineligible::NextHopNotOnLink];
    let unreachable = reachability.iter().any(|reason| reason.to_string() == why.path.reason);
    Ok(Account {
        policy: why.import,
        before: why.received,
        after: (!ineligible || unreachable).then_some(why.path.attributes),
        reason: ineligible.then_some(why.path.reason),
    })
}

/// The best path with its export to the peer.
fn exported(why: Option<WhyView>, peer: &str, prefix: Prefix) -> Result<Account, TestError> {
    let WhyView { paths, told, .. } = why.ok_or(TestError::NoBest(prefix))?;
    let best = paths.into_iter().find(|why| why.path.status == PathStatus::Best);
    let best = best.ok_or(TestError::NoBest(prefix))?;
    let Some(told) = told.into_iter().find(|told| told.peer == *peer) else {
        return Err(TestError::NotUp(peer.to_owned()));
    };
    Ok(Account {
        policy: told.export,
        before: best.path.attributes,
        after: told.attributes,
        reason: told.reason,
    })
}
