//! The RPC between plugin and daemon: one request and one answer per connection of a unix
//! stream socket.
//!
//! Each message is a 4-octet big-endian length and that many octets of JSON. A request that
//! needs a network namespace carries its file descriptor as SCM_RIGHTS with the first octet.
//! The length is at most [`MAX_MESSAGE`]: a broken caller cannot make the other side allocate.

use std::{
    collections::BTreeMap,
    io::{self, IoSlice, IoSliceMut, Read, Write},
    net::IpAddr,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
        unix::net::UnixStream,
    },
};

use ipnetwork::IpNetwork;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::cni::{AddResult, Error};

/// Where the daemon listens unless configured otherwise.
pub const DEFAULT_SOCKET: &str = "/run/slash32/cni.sock";
/// Largest message, in octets. GC lists every attachment of a node (at ~150 octets each).
pub const MAX_MESSAGE: usize = 1 << 20;

/// What a runtime asks, as the plugin passes it on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "UPPERCASE")]
pub enum Request {
    /// Attach a pod. Comes with the namespace's descriptor.
    Add(Attach),
    /// Detach it. Needs no namespace, which may be gone.
    Del(AttachmentId),
    /// Compare what ADD made with what is there. Comes with the namespace's descriptor.
    Check(Check),
    /// Can ADD be served?
    Status,
    /// Remove every attachment of this network that is not listed.
    Gc(Gc),
}

/// Names one attachment: unique per network, container and interface.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AttachmentId {
    /// `name` of the network configuration.
    pub network: String,
    /// `CNI_CONTAINERID`.
    pub container_id: String,
    /// `CNI_IFNAME`.
    pub ifname: String,
}

/// What ADD needs to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attach {
    /// Which attachment.
    pub id: AttachmentId,
    /// `CNI_NETNS` as given, for messages and for `sandbox` in the result.
    pub netns: String,
    /// `CNI_ARGS`, such as `K8S_POD_NAMESPACE` and `K8S_POD_NAME`.
    #[serde(default)]
    pub args: BTreeMap<String, String>,
    /// Requested addresses (`ips` capability or `CNI_ARGS` `IP`), at most one a family.
    #[serde(default)]
    pub ips: Vec<IpAddr>,
    /// Requested MAC of the pod's end (`mac` capability), six octets.
    #[serde(default)]
    pub mac: Option<[u8; 6]>,
    /// `mtu` of the network configuration, in octets.
    #[serde(default)]
    pub mtu: Option<u32>,
    /// Whether the pod gets a default route; `None`: if none of its other interfaces has one.
    #[serde(default)]
    pub default_route: Option<bool>,
    /// Which of the daemon's pools the addresses come from; `None`: the default ones.
    #[serde(default)]
    pub pool: Option<String>,
    /// Destinations that the pod reaches through this interface besides the default.
    #[serde(default)]
    pub routes: Vec<IpNetwork>,
    /// Another plugin has chosen `ips`: the daemon takes them as they are, from no pool.
    #[serde(default)]
    pub delegated: bool,
}

/// What CHECK needs to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// Which attachment.
    pub id: AttachmentId,
    /// `CNI_NETNS` as given.
    pub netns: String,
    /// `prevResult` of the configuration.
    pub prev_result: AddResult,
}

/// What GC needs to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gc {
    /// `name` of the network configuration.
    pub network: String,
    /// Attachments that are still valid: container id and interface name.
    pub valid: Vec<(String, String)>,
}

/// What the daemon answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Response {
    /// ADD succeeded.
    Added(AddResult),
    /// Any other verb succeeded.
    Done,
    /// It failed; this is what the runtime is to be told.
    Error(Error),
}

/// Why a message could not be sent or received.
#[derive(Debug, thiserror::Error)]
pub enum RpcError {
    /// The socket failed, timed out or ended in the middle of a message.
    #[error("the connection failed: {0}")]
    Io(#[from] io::Error),
    /// The message is longer than [`MAX_MESSAGE`].
    #[error("a message of {0} octets is too long; at most {MAX_MESSAGE} are taken")]
    TooLong(usize),
    /// The octets are not the JSON document expected.
    #[error("the message is not understood ({0}); are plugin and daemon of the same release?")]
    Document(#[from] serde_json::Error),
}

/// Sends a request, with a descriptor of the pod's network namespace where there is one.
///
/// # Errors
///
/// [`RpcError::TooLong`] before anything is sent; [`RpcError::Io`] as the socket has it.
pub fn send_request(
    stream: &UnixStream,
    request: &Request,
    netns: Option<BorrowedFd<'_>>,
) -> Result<(), RpcError> {
    let octets = frame(request)?;
    let descriptors: Vec<_> = netns.iter().map(AsRawFd::as_raw_fd).collect();
    let control = [ControlMessage::ScmRights(&descriptors)];
    let control = if descriptors.is_empty() { &control[..0] } else { &control[..] };
    let parts = [IoSlice::new(&octets)];
    let sent = sendmsg::<()>(stream.as_raw_fd(), &parts, control, MsgFlags::MSG_NOSIGNAL, None)
        .map_err(io::Error::from)?;
    // The descriptor went with the first octet; the rest is plain stream.
    let mut rest = stream;
    rest.write_all(&octets[sent..])?;
    Ok(())
}

/// Receives a request and the descriptor that came with it. Of several descriptors the first
/// counts; the others are closed.
///
/// # Errors
///
/// As [`receive`].
pub fn receive_request(stream: &UnixStream) -> Result<(Request, Option<OwnedFd>), RpcError> {
    let mut incoming = Incoming::default();
    loop {
        if let Some(received) = incoming.read(stream.as_fd())? {
            return Ok(received);
        }
    }
}

/// A request on its way in, of which some may have come; for those who do not wait in the socket.
#[derive(Debug, Default)]
pub struct Incoming {
    octets: Vec<u8>,
    descriptor: Option<OwnedFd>,
}

impl Incoming {
    /// Reads once. `None` if the request is not complete.
    ///
    /// # Errors
    ///
    /// As [`receive`]; that the socket has nothing at the moment comes as [`RpcError::Io`].
    pub fn read(
        &mut self,
        socket: BorrowedFd<'_>,
    ) -> Result<Option<(Request, Option<OwnedFd>)>, RpcError> {
        let had = self.octets.len();
        self.octets.resize(had + CHUNK, 0);
        let received = receive_with_descriptor(socket, &mut self.octets[had..]);
        self.octets.truncate(had + received.as_ref().map_or(0, |(count, _)| *count));
        let (_, descriptor) = received?;
        self.descriptor = self.descriptor.take().or(descriptor);
        let Some((length, body)) = self.octets.split_first_chunk::<4>() else { return Ok(None) };
        let length = body_length(*length)?;
        match body.get(..length) {
            Some(body) => Ok(Some((serde_json::from_slice(body)?, self.descriptor.take()))),
            None => Ok(None),
        }
    }
}

/// Sends any other message: a response, or what `routed show` asks and is told.
///
/// # Errors
///
/// As [`send_request`].
pub fn send<T: Serialize>(mut stream: &UnixStream, message: &T) -> Result<(), RpcError> {
    stream.write_all(&frame(message)?)?;
    Ok(())
}

/// Receives any other message.
///
/// # Errors
///
/// [`RpcError::Io`] if the stream ends early or its read timeout passes,
/// [`RpcError::TooLong`] if the other side announces too much, [`RpcError::Document`] if the
/// octets are not a `T`.
pub fn receive<T: DeserializeOwned>(mut stream: &UnixStream) -> Result<T, RpcError> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    receive_body(stream, length)
}

/// A message with its length in front, as it goes over the socket.
///
/// # Errors
///
/// [`RpcError::TooLong`], or [`RpcError::Document`] if it cannot be written as JSON.
pub fn frame<T: Serialize>(message: &T) -> Result<Vec<u8>, RpcError> {
    let mut octets = vec![0; 4];
    serde_json::to_writer(&mut octets, message)?;
    let body = octets.len() - 4;
    match u32::try_from(body) {
        Ok(length) if body <= MAX_MESSAGE => octets[..4].copy_from_slice(&length.to_be_bytes()),
        Ok(_) | Err(_) => return Err(RpcError::TooLong(body)),
    }
    Ok(octets)
}

fn receive_body<T: DeserializeOwned>(
    mut stream: &UnixStream,
    length: [u8; 4],
) -> Result<T, RpcError> {
    let mut body = vec![0; body_length(length)?];
    stream.read_exact(&mut body)?;
    Ok(serde_json::from_slice(&body)?)
}

fn body_length(length: [u8; 4]) -> Result<usize, RpcError> {
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > MAX_MESSAGE { Err(RpcError::TooLong(length)) } else { Ok(length) }
}

fn receive_with_descriptor(
    socket: BorrowedFd<'_>,
    octets: &mut [u8],
) -> io::Result<(usize, Option<OwnedFd>)> {
    let mut control = nix::cmsg_space!([i32; 8]);
    let mut parts = [IoSliceMut::new(octets)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut control), flags)?;
    let mut received = Vec::new();
    for part in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(descriptors) = part {
            for descriptor in descriptors {
                // SAFETY: the kernel has just installed this descriptor in our table for this
                // message; nobody else knows it, so this is its only owner.
                received.push(unsafe { OwnedFd::from_raw_fd(descriptor) });
            }
        }
    }
    if message.bytes == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok((message.bytes, received.into_iter().next()))
}

/// Octets read at once: more than any request but a GC's.
const CHUNK: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use std::{fs::File, os::unix::fs::MetadataExt};

    use super::*;

    fn id() -> AttachmentId {
        AttachmentId {
            network: "net".to_owned(),
            container_id: "c1".to_owned(),
            ifname: "eth0".to_owned(),
        }
    }

    #[test]
    fn a_request_arrives_with_the_same_open_file() {
        let (plugin, daemon) = UnixStream::pair().unwrap();
        let file = File::open("/proc/self/ns/net").unwrap();
        send_request(&plugin, &Request::Del(id()), Some(file.as_fd())).unwrap();
        let (request, descriptor) = receive_request(&daemon).unwrap();
        assert_eq!(request, Request::Del(id()));
        let received = File::from(descriptor.unwrap());
        assert_eq!(received.metadata().unwrap().ino(), file.metadata().unwrap().ino());
    }

    #[test]
    fn a_request_without_a_descriptor_arrives_without_one() {
        let (plugin, daemon) = UnixStream::pair().unwrap();
        send_request(&plugin, &Request::Status, None).unwrap();
        let (request, descriptor) = receive_request(&daemon).unwrap();
        assert_eq!(request, Request::Status);
        assert!(descriptor.is_none());
    }

    #[test]
    fn a_request_that_comes_octet_by_octet_is_complete_at_the_last() {
        let (mut plugin, daemon) = UnixStream::pair().unwrap();
        daemon.set_nonblocking(true).unwrap();
        let mut incoming = Incoming::default();
        let nothing = incoming.read(daemon.as_fd()).unwrap_err();
        assert!(matches!(nothing, RpcError::Io(e) if e.kind() == io::ErrorKind::WouldBlock));
        let octets = frame(&Request::Del(id())).unwrap();
        for (position, octet) in octets.iter().enumerate() {
            plugin.write_all(&[*octet]).unwrap();
            let received = incoming.read(daemon.as_fd()).unwrap();
            assert_eq!(received.is_some(), position + 1 == octets.len());
            if let Some((request, _)) = received {
                assert_eq!(request, Request::Del(id()));
            }
        }
    }

    #[test]
    fn a_long_request_arrives_whole_although_the_socket_takes_it_in_pieces() {
        let (plugin, daemon) = UnixStream::pair().unwrap();
        let valid = (0..12_000).map(|i| (format!("container-{i:040}"), "eth0".to_owned()));
        let gc = Request::Gc(Gc { network: "net".to_owned(), valid: valid.collect() });
        let sender = std::thread::spawn({
            let gc = gc.clone();
            move || send_request(&plugin, &gc, None)
        });
        let (request, _) = receive_request(&daemon).unwrap();
        sender.join().unwrap().unwrap();
        assert_eq!(request, gc);
    }

    #[test]
    fn an_announced_length_beyond_the_limit_is_refused_unread() {
        let (mut plugin, daemon) = UnixStream::pair().unwrap();
        plugin.write_all(&u32::MAX.to_be_bytes()).unwrap();
        assert!(matches!(receive_request(&daemon), Err(RpcError::TooLong(_))));
    }

    #[test]
    fn a_caller_that_goes_away_is_an_error_and_no_request() {
        let (mut plugin, daemon) = UnixStream::pair().unwrap();
        plugin.write_all(&[0, 0]).unwrap();
        drop(plugin);
        assert!(matches!(receive_request(&daemon), Err(RpcError::Io(_))));
        let (plugin, daemon) = UnixStream::pair().unwrap();
        drop(plugin);
        assert!(matches!(receive_request(&daemon), Err(RpcError::Io(_))));
    }

    #[test]
    fn octets_that_are_no_request_are_named_as_such() {
        let (mut plugin, daemon) = UnixStream::pair().unwrap();
        plugin.write_all(&[0, 0, 0, 2]).unwrap();
        plugin.write_all(b"{}").unwrap();
        assert!(matches!(receive_request(&daemon), Err(RpcError::Document(_))));
    }
}
