//! What an administrator changes: the configuration in force, and single sessions.

use bgp::session::State;
use serde::{Deserialize, Serialize};

use super::{
    Refusal, StopMode,
    answer::{find_peer, of_part},
};
use crate::{
    config::diff::Change,
    peering::{PeerCommand, PeerHandle},
    reload::{ReloadError, ReloadHandle, Report},
    sources::{Sources, in_time},
};

/// One row of the answer to [`Request::Reload`](super::Request::Reload).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReloadRow {
    /// Something differs.
    Change(Change),
    /// Allowed and perhaps not meant; with its place.
    Warning(String),
    /// What else an operator should know.
    Remark(String),
}

/// What can be done with a peer's session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PeerAction {
    /// Have it (again).
    Enable,
    /// Have none until further notice, with a text for the peer's operator (RFC 9003).
    Disable(String),
    /// Down and up again, with a text.
    Reset(String),
    /// Routes again, without touching the session.
    Refresh(Direction),
}

/// Whose routes are to be told again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// The peer's to us (RFC 2918).
    In,
    /// Ours to the peer.
    Out,
    /// Either's.
    Both,
}

/// Reads the file again.
pub(super) async fn reload(
    reload: &ReloadHandle,
    dry_run: bool,
) -> Result<Vec<ReloadRow>, Refusal> {
    let Report { file, changes, warnings, remarks, applied: _ } =
        reload.reload(dry_run).await.map_err(refusal)?;
    let file = file.display();
    let warnings = warnings
        .iter()
        .map(|warning| ReloadRow::Warning(format!("{file}{}{}", warning.place, warning.caution)));
    let changes = changes.into_iter().map(ReloadRow::Change);
    Ok(changes.chain(warnings).chain(remarks.into_iter().map(ReloadRow::Remark)).collect())
}

/// Has the router drained, or no longer.
pub(super) async fn drain(
    reload: &ReloadHandle,
    wanted: bool,
    lasting: bool,
) -> Result<Vec<String>, Refusal> {
    let refused = |error: ReloadError| Refusal::NotDrained { reason: error.to_string() };
    reload.drain(wanted, lasting).await.map_err(refused)
}

/// Has the daemon end. There is nothing to be told afterwards.
pub(super) async fn stop(reload: &ReloadHandle, mode: StopMode) -> Result<Vec<()>, Refusal> {
    reload.stop(mode).await.map_err(refusal)?;
    Ok(Vec::new())
}

/// Names of the peers that have not taken everything yet.
pub(super) async fn owed(sources: &Sources) -> Result<Vec<String>, Refusal> {
    let peers = sources.peers.list();
    let ids = peers.iter().map(|peer| peer.id).collect();
    let owed = in_time(sources.rib.owed(ids)).await.map_err(of_part("RIB"))?;
    let waits = |peer: &&PeerHandle| owed.contains(&peer.id) || peer.status().queued > 0;
    Ok(peers.iter().filter(waits).map(|peer| peer.settings.name.to_string()).collect())
}

/// Does something with a peer's session. There is nothing to be told afterwards.
pub(super) async fn act(
    sources: &Sources,
    name: &str,
    action: PeerAction,
) -> Result<Vec<()>, Refusal> {
    let peer = find_peer(sources, name)?;
    match action {
        PeerAction::Enable => peer.command(PeerCommand::Start).await,
        PeerAction::Disable(text) => peer.command(PeerCommand::Stop(text)).await,
        PeerAction::Reset(text) => peer.command(PeerCommand::Reset(text)).await,
        PeerAction::Refresh(direction) => {
            let status = peer.status();
            let agreed = status.negotiated.filter(|_| status.state == State::Established);
            let Some(agreed) = agreed else {
                return Err(Refusal::NotEstablished { peer: name.to_owned() });
            };
            let (inward, outward) = match direction {
                Direction::In => (true, false),
                Direction::Out => (false, true),
                Direction::Both => (true, true),
            };
            if inward && !agreed.route_refresh {
                return Err(Refusal::NoRefresh { peer: name.to_owned() });
            }
            for family in agreed.families.iter() {
                if inward {
                    peer.command(PeerCommand::Refresh(family)).await;
                }
                if outward {
                    peer.command(PeerCommand::Resend(family)).await;
                }
            }
        }
    }
    Ok(Vec::new())
}

fn refusal(error: ReloadError) -> Refusal {
    match error {
        ReloadError::Invalid(invalid) => {
            let file = invalid.file.display();
            let fault =
                |fault: &crate::config::Fault| format!("{file}{}{}", fault.place, fault.problem);
            Refusal::Invalid { faults: invalid.faults.iter().map(fault).collect() }
        }
        ReloadError::Peering(error) => Refusal::NotApplied { reason: error.to_string() },
        ReloadError::DrainedByFile(_) | ReloadError::Stopping => {
            Refusal::NotApplied { reason: error.to_string() }
        }
    }
}
