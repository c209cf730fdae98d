//! The plugin's side of the RPC: reach the daemon, ask, and turn what goes wrong into the
//! error document that tells the runtime's operator what to do.
//!
//! A DEL that finds no daemon is owed: it is noted beside the socket and settled by the daemon
//! when it is back, so that a runtime is never kept from removing a pod.

use std::{
    fs,
    io::{self, ErrorKind},
    os::{fd::BorrowedFd, unix::net::UnixStream},
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    cni::{Error, code},
    rpc::{self, AttachmentId, Request, Response, RpcError},
};

/// How long the daemon may take over one request. Runtimes themselves give up after minutes;
/// the daemon answers in milliseconds unless it is being started or its node is overloaded.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// Why there is no answer from the daemon.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody serves the socket: the daemon is not running, or listens elsewhere.
    #[error("routed does not answer on {socket} ({error})")]
    NoDaemon {
        /// The socket tried.
        socket: PathBuf,
        /// What connecting gave.
        error: io::Error,
    },
    /// The conversation broke off.
    #[error("talking to routed on {socket}: {error}")]
    Broken {
        /// The socket used.
        socket: PathBuf,
        /// What went wrong.
        error: RpcError,
    },
}

impl ClientError {
    /// Has the daemon gone in the middle of the conversation?
    fn died(&self) -> bool {
        match self {
            Self::Broken { error: RpcError::Io(error), .. } => {
                !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
            }
            Self::Broken { error: RpcError::TooLong(_) | RpcError::Document(_), .. }
            | Self::NoDaemon { .. } => false,
        }
    }
}

impl From<ClientError> for Error {
    fn from(error: ClientError) -> Self {
        let remedy = match &error {
            ClientError::NoDaemon { error, .. } if error.kind() == ErrorKind::PermissionDenied => {
                "run the runtime as root"
            }
            ClientError::NoDaemon { .. } => {
                "start it with `routed run`, or set `socket` in the conflist to its `sockets.cni`"
            }
            ClientError::Broken { .. } => "see the log of routed; the runtime may try again",
        };
        Self {
            code: code::TRY_AGAIN,
            msg: "the node daemon cannot be asked".to_owned(),
            details: format!("{error}; {remedy}"),
        }
    }
}

/// Asks the daemon and waits for its answer.
///
/// # Errors
///
/// [`ClientError`] if there is none. An answer that is itself an error comes as
/// [`Response::Error`].
pub fn call(
    socket: &Path,
    request: &Request,
    netns: Option<BorrowedFd<'_>>,
) -> Result<Response, ClientError> {
    let stream = UnixStream::connect(socket)
        .map_err(|error| ClientError::NoDaemon { socket: socket.to_owned(), error })?;
    let broken = |error| ClientError::Broken { socket: socket.to_owned(), error };
    let deadline = Some(ANSWER_WITHIN);
    stream.set_read_timeout(deadline).map_err(|error| broken(error.into()))?;
    stream.set_write_timeout(deadline).map_err(|error| broken(error.into()))?;
    rpc::send_request(&stream, request, netns).map_err(broken)?;
    rpc::receive(&stream).map_err(broken)
}

/// Tells the daemon of a DEL. If it cannot be asked, or dies over it, the DEL is noted for it and
/// counts as done: the runtime shall not be kept from removing a pod.
///
/// # Errors
///
/// As [`owe_detach`]; the DEL must then be reported as failed and tried again.
pub fn detach(socket: &Path, id: &AttachmentId) -> io::Result<Response> {
    let request = Request::Del(id.clone());
    match call(socket, &request, None) {
        Ok(response) => return Ok(response),
        // It is there and will carry it out; the runtime asks again.
        Err(error @ ClientError::Broken { .. }) if !error.died() => {
            return Ok(Response::Error(error.into()));
        }
        Err(ClientError::NoDaemon { .. } | ClientError::Broken { .. }) => {}
    }
    owe_detach(socket, id)?;
    // A daemon that has come up meanwhile may have read the notes before this one was there.
    match call(socket, &request, None) {
        Ok(response) => {
            // If it stays, the next start finds nothing to do.
            let _ = forgive_detach(socket, id);
            Ok(response)
        }
        Err(_) => Ok(Response::Done),
    }
}

/// Notes a DEL that could not be delivered. Where the socket's folder does not exist, no daemon
/// has run since boot and nothing is owed; and what has names too long for a file was never
/// attached, since the daemon takes no names so long.
///
/// # Errors
///
/// As the file system has it; the DEL must then be reported as failed and tried again.
pub fn owe_detach(socket: &Path, id: &AttachmentId) -> io::Result<()> {
    let Some(parent) = socket.parent().filter(|parent| parent.is_dir()) else { return Ok(()) };
    let folder = parent.join(OWED);
    match fs::create_dir(&folder) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
        Ok(()) | Err(_) => {}
    }
    match fs::File::create(folder.join(note_name(id))) {
        Err(error) if error.kind() != ErrorKind::InvalidFilename => Err(error),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Removes the note of a DEL that could be delivered after all.
///
/// # Errors
///
/// As the file system has it.
pub fn forgive_detach(socket: &Path, id: &AttachmentId) -> io::Result<()> {
    let Some(parent) = socket.parent() else { return Ok(()) };
    match fs::remove_file(parent.join(OWED).join(note_name(id))) {
        Err(error) if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InvalidFilename) => {
            Err(error)
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// The DELs that are owed, each with the note to remove once it is settled; `None` for what is no
/// note, which is left for a person to see.
///
/// # Errors
///
/// If the folder exists and cannot be listed.
pub fn owed_detaches(socket: &Path) -> io::Result<Vec<(PathBuf, Option<AttachmentId>)>> {
    let Some(parent) = socket.parent() else { return Ok(Vec::new()) };
    let entries = match fs::read_dir(parent.join(OWED)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut owed = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let id = path.file_name().and_then(|name| noted(name.to_str()?));
        owed.push((path, id));
    }
    owed.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(owed)
}

/// A note is its name, so that there is no half of one. Unique: none of the three can contain a colon.
fn note_name(id: &AttachmentId) -> String {
    format!("{}:{}:{}", id.network, id.container_id, id.ifname)
}

/// What a note of that name is of.
fn noted(name: &str) -> Option<AttachmentId> {
    let mut parts = name.split(':').map(str::to_owned);
    let id =
        AttachmentId { network: parts.next()?, container_id: parts.next()?, ifname: parts.next()? };
    parts.next().is_none().then_some(id)
}

/// Folder beside the socket that holds a note for each owed DEL.
const OWED: &str = "owed-detaches";

#[cfg(test)]
mod tests {
    use super::*;

    fn id(container_id: &str) -> AttachmentId {
        AttachmentId {
            network: "pods".to_owned(),
            container_id: container_id.to_owned(),
            ifname: "eth0".to_owned(),
        }
    }

    #[test]
    fn what_is_owed_is_read_back_once_however_often_it_was_noted() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("cni.sock");
        owe_detach(&socket, &id("c2")).unwrap();
        owe_detach(&socket, &id("c1")).unwrap();
        owe_detach(&socket, &id("c1")).unwrap();
        let owed: Vec<_> =
            owed_detaches(&socket).unwrap().into_iter().map(|(_, id)| id.unwrap()).collect();
        assert_eq!(owed, [id("c1"), id("c2")]);
        forgive_detach(&socket, &id("c1")).unwrap();
        forgive_detach(&socket, &id("c1")).unwrap();
        assert_eq!(owed_detaches(&socket).unwrap().len(), 1);
    }

    #[test]
    fn nothing_is_owed_of_what_has_a_longer_name_than_any_attachment() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("cni.sock");
        // The longest that the daemon takes, and then some that it does not.
        owe_detach(&socket, &id(&"c".repeat(116))).unwrap();
        for octets in [230, 240, 241, 242, 243, 244, 245, 246, 255, 256, 4096] {
            let id = id(&"c".repeat(octets));
            assert_eq!(detach(&socket, &id).unwrap(), Response::Done, "{octets} octets");
            forgive_detach(&socket, &id).unwrap();
        }
        let owed = owed_detaches(&socket).unwrap();
        let owed: Vec<_> = owed.into_iter().map(|(_, id)| id.unwrap()).collect();
        assert_eq!(owed, [id(&"c".repeat(116))]);
    }

    #[test]
    fn nothing_is_owed_where_no_daemon_has_run() {
        let socket = Path::new("/nonexistent/slash32/cni.sock");
        owe_detach(socket, &id("c1")).unwrap();
        assert!(owed_detaches(socket).unwrap().is_empty());
    }

    #[test]
    fn a_detach_over_which_the_daemon_dies_is_owed_and_counts_as_done() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("cni.sock");
        let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let daemon = std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            rpc::receive_request(&stream).unwrap();
        });
        assert_eq!(detach(&socket, &id("c1")).unwrap(), Response::Done);
        daemon.join().unwrap();
        assert_eq!(owed_detaches(&socket).unwrap().len(), 1);
    }

    #[test]
    fn a_daemon_that_is_back_by_then_is_told_and_nothing_stays_owed() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("cni.sock");
        let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let daemon = std::thread::spawn(move || {
            // The first conversation breaks off, the second is served.
            drop(listener.accept().unwrap());
            let (stream, _) = listener.accept().unwrap();
            let (request, _) = rpc::receive_request(&stream).unwrap();
            rpc::send(&stream, &Response::Done).unwrap();
            request
        });
        assert_eq!(detach(&socket, &id("c1")).unwrap(), Response::Done);
        assert_eq!(daemon.join().unwrap(), Request::Del(id("c1")));
        assert!(owed_detaches(&socket).unwrap().is_empty());
    }

    #[test]
    fn a_missing_daemon_is_named_with_its_socket_and_remedy() {
        let error = call(Path::new("/nonexistent/cni.sock"), &Request::Status, None).unwrap_err();
        let document = Error::from(error);
        assert_eq!(document.code, code::TRY_AGAIN);
        assert!(document.details.contains("/nonexistent/cni.sock"), "{document}");
        assert!(document.details.contains("routed run"), "{document}");
    }
}
