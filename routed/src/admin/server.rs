//! The listening side: accepts callers, reads one request of each, writes the answer.

use std::{
    fs, io,
    os::unix::fs::{FileTypeExt as _, PermissionsExt as _},
    os::unix::net::UnixStream as StdUnixStream,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use plugin::rpc::{self, RpcError};
use serde::Serialize;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, BufWriter},
    net::{UnixListener, UnixStream},
    sync::Semaphore,
    task::JoinSet,
    time::timeout,
};

use super::{
    Part, Refusal, Request, answer, control, dump, next_hops, recorder, routes, stations, why,
};
use crate::{reload::ReloadHandle, sources::Sources};

/// The socket. Dropping it removes the path.
pub struct AdminServer {
    listener: UnixListener,
    path: PathBuf,
    sources: Sources,
    reload: ReloadHandle,
}

/// Why the socket could not be made.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// Another daemon answers there.
    #[error(
        "sockets.admin: another routed is listening on {}; stop it, or give this one another path",
        .0.display()
    )]
    InUse(PathBuf),
    /// Something that is no socket is there.
    #[error("sockets.admin: {} exists and is not a socket; move it away", .0.display())]
    NotASocket(PathBuf),
    /// The folder or the socket could not be made.
    #[error("sockets.admin: cannot listen on {}: {source}; check the folder", .path.display())]
    Bind {
        /// Where.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl AdminServer {
    /// Makes the socket, for its owner only, with the folder it is in. A socket that nobody
    /// answers is that of a daemon that is gone, and is replaced.
    ///
    /// # Errors
    ///
    /// [`AdminError`].
    pub fn bind(path: &Path, sources: Sources, reload: ReloadHandle) -> Result<Self, AdminError> {
        let failed = |source| AdminError::Bind { path: path.to_path_buf(), source };
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(failed)?;
        }
        match fs::symlink_metadata(path) {
            Ok(found) if !found.file_type().is_socket() => {
                return Err(AdminError::NotASocket(path.to_path_buf()));
            }
            Ok(_) if StdUnixStream::connect(path).is_ok() => {
                return Err(AdminError::InUse(path.to_path_buf()));
            }
            Ok(_) => fs::remove_file(path).map_err(failed)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => (),
            Err(error) => return Err(failed(error)),
        }
        let listener = UnixListener::bind(path).map_err(failed)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(failed)?;
        Ok(Self { listener, path: path.to_path_buf(), sources, reload })
    }

    /// Serves until dropped; may be dropped at any point.
    pub async fn run(self) {
        let places = Arc::new(Semaphore::new(CALLERS));
        let mut callers = JoinSet::new();
        loop {
            while callers.try_join_next().is_some() {}
            // A permit is taken before a caller is: further ones wait in the kernel's queue.
            let permit = Arc::clone(&places).acquire_owned().await;
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let (sources, reload) = (self.sources.clone(), self.reload.clone());
                    callers.spawn(async move {
                        if let Err(error) = serve(stream, &sources, &reload).await {
                            tracing::debug!(%error, "administrator's connection ended early");
                        }
                        drop(permit);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept on the administrator's socket");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

impl Drop for AdminServer {
    fn drop(&mut self) {
        // It may be gone already; the next start copes with either.
        let _ = fs::remove_file(&self.path);
    }
}

/// One caller.
async fn serve(
    mut stream: UnixStream,
    sources: &Sources,
    reload: &ReloadHandle,
) -> Result<(), RpcError> {
    let octets = timeout(REQUEST_TIME, read_request(&mut stream)).await.map_err(late)??;
    let mut answer = Answer { stream: BufWriter::new(stream) };
    match serde_json::from_slice(&octets) {
        Ok(request) => reply(&mut answer, request, sources, reload).await,
        Err(error) => {
            let reason = error.to_string();
            answer.part(&Part::<()>::Refused(Refusal::BadRequest { reason })).await?;
            answer.flush().await
        }
    }
}

async fn reply(
    answer: &mut Answer,
    request: Request,
    sources: &Sources,
    reload: &ReloadHandle,
) -> Result<(), RpcError> {
    match request {
        Request::Peers { peer } => answer.rows(answer::peers(sources, peer.as_deref()).await).await,
        Request::Routes { of, peer } => {
            answer.rows(routes::all(sources, of, peer.as_deref()).await).await
        }
        Request::Why { prefix, to } => {
            answer.rows(why::why(sources, prefix, to.as_deref()).await).await
        }
        Request::Received { peer } => answer.rows(routes::received(sources, &peer).await).await,
        Request::Advertised { peer } => answer.rows(routes::advertised(sources, &peer).await).await,
        Request::Stations => answer.rows(Ok(stations::all(sources))).await,
        Request::Recorder => answer.rows(Ok(recorder::all(sources))).await,
        Request::Cluster => {
            let cluster = sources.cluster.as_ref();
            answer.rows(Ok(cluster.map(|look| look()).into_iter().collect())).await
        }
        Request::NextHops => answer.rows(next_hops::all(sources).await).await,
        Request::Dump => dump::stream(answer, sources).await,
        Request::Pods => answer.rows(answer::pods(sources).await).await,
        Request::Pools => answer.rows(answer::pools(sources).await).await,
        Request::Blocks => answer.rows(answer::blocks(sources).await).await,
        Request::Leases => answer.rows(answer::leases(sources).await).await,
        Request::PutRight => answer.rows(answer::put_right(sources).await).await,
        Request::Reload { dry_run } => answer.rows(control::reload(reload, dry_run).await).await,
        Request::Drain { wanted, lasting } => {
            answer.rows(control::drain(reload, wanted, lasting).await).await
        }
        Request::Stop(mode) => answer.rows(control::stop(reload, mode).await).await,
        Request::Owed => answer.rows(control::owed(sources).await).await,
        Request::Peer { peer, action } => {
            answer.rows(control::act(sources, &peer, action).await).await
        }
    }
}

async fn read_request(stream: &mut UnixStream) -> Result<Vec<u8>, RpcError> {
    let length = stream.read_u32().await?;
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if length > MAX_REQUEST {
        return Err(RpcError::TooLong(length));
    }
    let mut octets = vec![0; length];
    stream.read_exact(&mut octets).await?;
    Ok(octets)
}

/// The writing side of one connection.
pub(super) struct Answer {
    stream: BufWriter<UnixStream>,
}

impl Answer {
    async fn rows<T: Serialize>(&mut self, rows: Result<Vec<T>, Refusal>) -> Result<(), RpcError> {
        match rows {
            Ok(rows) => {
                for row in rows {
                    match self.part(&Part::Row(row)).await {
                        Err(RpcError::TooLong(octets)) => {
                            let refusal = Refusal::LongRow { octets };
                            self.part(&Part::<()>::Refused(refusal)).await?;
                            return self.flush().await;
                        }
                        other => other?,
                    }
                }
                self.part(&Part::<()>::End).await?;
            }
            Err(refusal) => self.part(&Part::<()>::Refused(refusal)).await?,
        }
        self.flush().await
    }

    /// One document. A caller that takes nothing for a while is left.
    pub(super) async fn part<T: Serialize>(&mut self, part: &Part<T>) -> Result<(), RpcError> {
        let octets = rpc::frame(part)?;
        timeout(STALL_TIME, self.stream.write_all(&octets)).await.map_err(late)??;
        Ok(())
    }

    /// Octets of no document, after one that has announced them.
    pub(super) async fn octets(&mut self, octets: &[u8]) -> Result<(), RpcError> {
        timeout(STALL_TIME, self.stream.write_all(octets)).await.map_err(late)??;
        Ok(())
    }

    pub(super) async fn flush(&mut self) -> Result<(), RpcError> {
        timeout(STALL_TIME, self.stream.flush()).await.map_err(late)??;
        Ok(())
    }
}

fn late(_: tokio::time::error::Elapsed) -> io::Error {
    io::ErrorKind::TimedOut.into()
}

/// Largest request, in octets: a name and a prefix fit many times over.
const MAX_REQUEST: usize = 4096;
/// Callers served at once: several operators and a script or two. More wait.
const CALLERS: usize = 16;
/// How long a caller may take to say what it wants.
const REQUEST_TIME: Duration = Duration::from_secs(5);
/// How long a caller may take nothing of its answer.
const STALL_TIME: Duration = Duration::from_secs(10);
/// Rest after a failed `accept`: its usual cause, no free descriptors, does not pass at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
