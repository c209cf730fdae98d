//! The socket that the plugin calls: one request and one answer a connection.
//!
//! In: connections. Out: the pump's answers. A connection that sends garbage, too much, or nothing
//! gets an error document (or is closed) in its own time and holds up nobody else. Decides
//! nothing; ends when its task is aborted, which harms no request that the pump has taken.

use std::{
    fs,
    io::{self, ErrorKind},
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::FileTypeExt,
    },
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use nix::sys::stat::{Mode, fchmod};
use plugin::{cni::code, rpc};
use tokio::{
    io::{AsyncWriteExt, Interest},
    net::{UnixListener, UnixStream},
    sync::Semaphore,
    time,
};

use routed_core::{ipam::Wish, pod::verb::Request};

use super::{Chooser, error, netns_path, request, response};
use crate::{
    metrics::{Metrics, Verb},
    node::NodeHandle,
};

/// Why the socket cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Another daemon answers there.
    #[error("{} is served by another daemon; stop it or set sockets.cni to another path", .0.display())]
    Occupied(PathBuf),
    /// Something that is no socket is there.
    #[error("{} is there already and is no socket; remove it or set sockets.cni to another path", .0.display())]
    NotASocket(PathBuf),
    /// The file system or the socket layer refused.
    #[error("{}: {error}; the daemon must be able to write there", path.display())]
    Io {
        /// The socket's path.
        path: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
}

/// Binds the socket, for its owner alone (mode 0600), in place of one that a dead daemon left.
///
/// # Errors
///
/// [`ListenError`]; a socket that somebody serves stays as it is.
pub fn listen(path: &Path) -> Result<std::os::unix::net::UnixListener, ListenError> {
    let failed = |error| ListenError::Io { path: path.to_owned(), error };
    match fs::symlink_metadata(path) {
        Ok(there) if !there.file_type().is_socket() => {
            return Err(ListenError::NotASocket(path.to_owned()));
        }
        Ok(_) => match std::os::unix::net::UnixStream::connect(path) {
            Ok(_) => return Err(ListenError::Occupied(path.to_owned())),
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                fs::remove_file(path).map_err(failed)?;
            }
            Err(error) => return Err(failed(error)),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => {
            path.parent().map_or(Ok(()), fs::create_dir_all).map_err(failed)?;
        }
        Err(error) => return Err(failed(error)),
    }
    let bind = || {
        let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None)?;
        // Before the path exists: nobody can connect in between.
        fchmod(&socket, Mode::S_IRUSR | Mode::S_IWUSR)?;
        socket.bind(&socket2::SockAddr::unix(path)?)?;
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        Ok(OwnedFd::from(socket).into())
    };
    bind().map_err(failed)
}

/// Who answers, and who is told.
#[derive(Clone)]
pub struct Service {
    /// The pods.
    pub node: NodeHandle,
    /// Hears of every request.
    pub metrics: Metrics,
    /// Says which addresses pods get; `None`: the requests and the node's own file.
    pub chooser: Option<Arc<dyn Chooser>>,
}

/// Serves the socket for as long as the task lives.
pub async fn serve(listener: std::os::unix::net::UnixListener, service: Service) {
    let listener = match UnixListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "the CNI socket cannot be served"),
    };
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection to the CNI socket was not accepted");
                time::sleep(PAUSE).await;
                continue;
            }
        };
        let service = service.clone();
        tokio::spawn(async move {
            if let Err(error) = converse(stream, &service).await {
                tracing::debug!(%error, "a CNI connection ended early");
            }
            drop(place);
        });
    }
}

/// One connection from beginning to end. A task, not a thread: each thread that has to wake costs a pod
/// some ten microseconds.
async fn converse(mut stream: UnixStream, service: &Service) -> Result<(), rpc::RpcError> {
    let started = Instant::now();
    let (asked, netns) = match time::timeout(READ_TIME, receive(&stream)).await {
        Ok(Ok(received)) => received,
        Ok(Err(bad)) => return refuse(&mut stream, &bad).await,
        Err(_) => return refuse(&mut stream, &io::Error::from(ErrorKind::TimedOut).into()).await,
    };
    let answer = answer(&asked, netns, service).await;
    let elapsed = started.elapsed();
    service.metrics.cni_done(Verb::from(&asked), &answer, elapsed);
    log(&asked, &answer, elapsed);
    send(&mut stream, &answer).await
}

async fn receive(stream: &UnixStream) -> Result<(rpc::Request, Option<OwnedFd>), rpc::RpcError> {
    let mut incoming = rpc::Incoming::default();
    loop {
        stream.readable().await?;
        // An error of the socket goes through `try_io`, which learns from it when to wait again.
        let mut outcome = Ok(None);
        let read = stream.try_io(Interest::READABLE, || match incoming.read(stream.as_fd()) {
            Err(rpc::RpcError::Io(error)) => Err(error),
            other => {
                outcome = other;
                Ok(())
            }
        });
        match read {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
            Ok(()) => {
                if let Some(received) = outcome? {
                    return Ok(received);
                }
            }
        }
    }
}

async fn refuse(stream: &mut UnixStream, bad: &rpc::RpcError) -> Result<(), rpc::RpcError> {
    tracing::debug!(error = %bad, "a CNI request was not understood");
    let code = match bad {
        rpc::RpcError::Io(_) => code::IO_FAILURE,
        rpc::RpcError::TooLong(_) | rpc::RpcError::Document(_) => code::DECODING_FAILURE,
    };
    let error = error(code, "the request was not understood", bad);
    send(stream, &rpc::Response::Error(error)).await
}

async fn send(stream: &mut UnixStream, answer: &rpc::Response) -> Result<(), rpc::RpcError> {
    let octets = rpc::frame(answer)?;
    let written = time::timeout(WRITE_TIME, stream.write_all(&octets)).await;
    Ok(written.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()))?)
}

async fn answer(asked: &rpc::Request, netns: Option<OwnedFd>, service: &Service) -> rpc::Response {
    let mut request = match request(asked) {
        Ok(Some(request)) => request,
        Ok(None) => return rpc::Response::Done,
        Err(error) => return rpc::Response::Error(error),
    };
    let path = netns_path(asked);
    if path.is_some() && netns.is_none() {
        let details = "the request came without the descriptor of CNI_NETNS; \
                       are plugin and daemon of the same release?";
        let error = error(code::INVALID_ENVIRONMENT, "no network namespace", &details);
        return rpc::Response::Error(error);
    }
    let Some(chooser) = &service.chooser else {
        return reply(request, netns, path, service).await;
    };
    if let (rpc::Request::Add(asked), Request::Attach(attach)) = (asked, &mut request)
        // What the runtime or an operator asks for on this node holds.
        && attach.wish == Wish::default()
    {
        match chooser.choose(&asked.args).await {
            Ok(wish) => attach.wish = wish,
            Err(error) => return rpc::Response::Error(error),
        }
    }
    let until = Instant::now() + MORE_TIME;
    loop {
        let again = netns.as_ref().map(OwnedFd::try_clone).transpose();
        let answer = reply(request.clone(), again.unwrap_or_default(), path, service).await;
        let is_short =
            matches!(&answer, rpc::Response::Error(error) if SHORT.contains(&error.code));
        if matches!(request, Request::Attach(_)) && is_short && chooser.more(until).await {
            continue;
        }
        chooser.used();
        return answer;
    }
}

/// What the machine says.
async fn reply(
    request: Request,
    netns: Option<OwnedFd>,
    path: Option<&str>,
    service: &Service,
) -> rpc::Response {
    match time::timeout(ANSWER_TIME, service.node.ask(request, netns)).await {
        Ok(Ok(reply)) => response(&reply, path.unwrap_or_default()),
        Ok(Err(stopped)) => {
            rpc::Response::Error(error(code::TRY_AGAIN, "no answer from the daemon", &stopped))
        }
        Err(_) => {
            let details =
                format!("the kernel was not done within {} s; try again", ANSWER_TIME.as_secs());
            rpc::Response::Error(error(code::TRY_AGAIN, "no answer in time", &details))
        }
    }
}

fn log(asked: &rpc::Request, answer: &rpc::Response, elapsed: Duration) {
    let elapsed_ms = elapsed.as_secs_f64() * 1000.0;
    let (verb, container_id, ifname) = match asked {
        rpc::Request::Add(attach) => ("ADD", &*attach.id.container_id, &*attach.id.ifname),
        rpc::Request::Del(id) => ("DEL", &*id.container_id, &*id.ifname),
        rpc::Request::Check(check) => ("CHECK", &*check.id.container_id, &*check.id.ifname),
        rpc::Request::Status => ("STATUS", "", ""),
        rpc::Request::Gc(_) => ("GC", "", ""),
    };
    match answer {
        rpc::Response::Added(_) | rpc::Response::Done => {
            tracing::debug!(verb, container_id, ifname, elapsed_ms, "CNI request done");
        }
        rpc::Response::Error(error) => {
            tracing::warn!(verb, container_id, ifname, elapsed_ms, %error, "CNI request failed");
        }
    }
}

/// Connections served at once; more wait in the backlog. A runtime starts at most some dozens of
/// pods together.
const CONNECTIONS: usize = 128;
/// Connections that may wait: a node's pods all starting after a reboot.
const BACKLOG: i32 = 1024;
/// The plugin writes its request at once; whoever does not is no plugin.
const READ_TIME: Duration = Duration::from_secs(5);
/// An answer fits the socket's buffer unless nobody reads it.
const WRITE_TIME: Duration = Duration::from_secs(5);
/// How long a pod waits for more addresses: a claim takes milliseconds, unless the API server is down.
const MORE_TIME: Duration = Duration::from_secs(5);
/// What is answered if there is no address.
const SHORT: [u32; 1] = [code::POOL_EXHAUSTED];
/// Pods take milliseconds; runtimes give up after minutes.
pub(super) const ANSWER_TIME: Duration = Duration::from_secs(60);
/// After a failed accept (no more descriptors), so that it does not spin.
const PAUSE: Duration = Duration::from_millis(100);
