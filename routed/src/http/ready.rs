//! Whether the daemon lives, and whether the node may carry traffic.
//!
//! Readiness of BGP has two phases. In the first every peer must be established: that holds back
//! a rolling update until this node is whole again. It ends when each peer has been established
//! once, or [`STARTUP`] has passed; from then on one established peer is enough, so that a dead
//! ToR does not make all its nodes not ready. A node without peers is ready, a drained one is not, nor
//! one whose daemon is ending.

use std::{io, path::Path, time::Duration};

use bgp::session::State;
use plugin::rpc::{self, MAX_MESSAGE, Request, Response};
use routed_core::fib::Fib;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
    time::timeout,
};

use crate::{
    peering::{PeerHandle, PeerStatus},
    sources::{NoAnswer, Sources, in_time},
};

/// One condition and how it stands, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Check {
    pub(super) name: &'static str,
    pub(super) outcome: Result<String, String>,
}

/// Every owner of state answers in time.
pub(super) async fn alive(sources: &Sources) -> Vec<Check> {
    let answers = |outcome: Result<_, NoAnswer>| {
        outcome.map(|()| "answers".to_owned()).map_err(|error| error.to_string())
    };
    let rib = in_time(sources.rib.best_counts()).await.map(|_| ());
    let mut checks = vec![Check { name: "rib", outcome: answers(rib) }];
    if let Some(pods) = &sources.pods {
        checks.push(Check {
            name: "pods",
            outcome: answers(in_time(pods.readiness()).await.map(|_| ())),
        });
    }
    if let Some(kernel) = &sources.kernel {
        checks.push(Check { name: "kernel", outcome: answers(kernel.ask(|_| ()).await) });
    }
    checks
}

/// Whether the node may carry traffic, in words for its cluster.
#[cfg(feature = "kubernetes")]
pub(crate) struct Readiness {
    /// As `/readyz` has it.
    pub(crate) ready: Result<(), String>,
    /// Pods have a network here: one session is enough from the beginning, and a drained node is as good
    /// as any.
    pub(crate) serves: Result<(), String>,
}

/// See [`Readiness`].
#[cfg(feature = "kubernetes")]
pub(crate) async fn readiness(sources: &Sources) -> Readiness {
    let statuses: Vec<_> = sources.peers.list().iter().map(PeerHandle::status).collect();
    let checks = checks_with(sources, &statuses).await;
    let one = Check { name: "bgp", outcome: bgp(&statuses, STARTUP) };
    let others = checks.iter().filter(|check| !["bgp", "drain"].contains(&check.name));
    Readiness { ready: missing(&mut checks.iter()), serves: missing(&mut others.chain([&one])) }
}

#[cfg(feature = "kubernetes")]
fn missing(checks: &mut dyn Iterator<Item = &Check>) -> Result<(), String> {
    let missing: Vec<_> =
        checks.filter_map(|check| check.outcome.as_ref().err()).cloned().collect();
    if missing.is_empty() { Ok(()) } else { Err(missing.join("; ")) }
}

/// Everything that traffic and pods need.
pub(super) async fn checks(sources: &Sources) -> Vec<Check> {
    let statuses: Vec<_> = sources.peers.list().iter().map(PeerHandle::status).collect();
    checks_with(sources, &statuses).await
}

async fn checks_with(sources: &Sources, statuses: &[PeerStatus]) -> Vec<Check> {
    let mut checks = vec![Check { name: "bgp", outcome: bgp(statuses, sources.started.elapsed()) }];
    if let Ok(true) = in_time(sources.rib.is_drained()).await {
        let drained = "traffic is sent elsewhere; `routed undrain` ends it".to_owned();
        checks.push(Check { name: "drain", outcome: Err(drained) });
    }
    if let Some(kernel) = &sources.kernel {
        let outcome = match kernel.ask(Fib::is_ready).await {
            Ok(true) => Ok("routes are in step".to_owned()),
            Ok(false) => Err("the kernel's routes are still being read".to_owned()),
            Err(error) => Err(error.to_string()),
        };
        checks.push(Check { name: "kernel", outcome });
    }
    if let Some(socket) = &sources.cni_socket {
        checks.push(Check { name: "cni", outcome: cni(socket).await });
    }
    checks
}

/// The two phases.
fn bgp(peers: &[PeerStatus], uptime: Duration) -> Result<String, String> {
    let wanted: Vec<_> = peers.iter().filter(|peer| peer.wanted).collect();
    let is_up = |peer: &&&PeerStatus| peer.state == State::Established;
    let up = wanted.iter().filter(is_up).count();
    let each_was_up = wanted.iter().all(|peer| peer.established_count > 0);
    let needed = if each_was_up || uptime >= STARTUP { wanted.len().min(1) } else { wanted.len() };
    let count = format!("{up} of {} sessions established", wanted.len());
    if up >= needed {
        return Ok(count);
    }
    let missing = wanted.iter().filter(|peer| !is_up(peer)).map(|peer| {
        let error = peer.last_error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
        format!("{} ({}{error})", peer.name, peer.state)
    });
    let missing = missing.collect::<Vec<_>>().join(", ");
    let until = if needed > 1 && uptime < STARTUP {
        format!("; at the start all are needed, from {} s on one is enough", STARTUP.as_secs())
    } else {
        String::new()
    };
    Err(format!("{count}; missing: {missing}{until}"))
}

/// What the plugin would be told to STATUS, asked as the plugin asks.
async fn cni(socket: &Path) -> Result<String, String> {
    let response = timeout(CNI_PATIENCE, status(socket)).await;
    match response.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
        Ok(Response::Done | Response::Added(_)) => Ok("the plugin's socket is served".to_owned()),
        Ok(Response::Error(error)) => Err(error.to_string()),
        Err(error) => Err(format!("no answer on {}: {error}", socket.display())),
    }
}

async fn status(socket: &Path) -> io::Result<Response> {
    let mut stream = UnixStream::connect(socket).await?;
    stream.write_all(&rpc::frame(&Request::Status).map_err(io::Error::other)?).await?;
    let length = usize::try_from(stream.read_u32().await?).unwrap_or(usize::MAX);
    if length > MAX_MESSAGE {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut octets = vec![0; length];
    stream.read_exact(&mut octets).await?;
    Ok(serde_json::from_slice(&octets)?)
}

/// After this long one established peer is enough: sessions come up within seconds, and a
/// rolling update should not wait for a ToR that is in repair.
const STARTUP: Duration = Duration::from_secs(120);

/// How long the CNI socket may take: a runtime's STATUS gets a few seconds too.
const CNI_PATIENCE: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests;
