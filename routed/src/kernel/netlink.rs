//! A blocking route netlink socket that sends requests in batches.
//!
//! In: requests as typed messages, or as octets where there is no type. Out: which of them the kernel refused and why, or the objects
//! that a dump returned. One sendmsg carries up to [`BATCH`] requests and only the last asks for
//! an acknowledgement: the kernel works through a datagram in order and reports every failure
//! unasked, so that answer settles all of them.
//!
//! Belongs to one OS thread that may wait for the kernel; never to an asynchronous task. Subscribes
//! to nothing, so a lost notification cannot disturb it. Decides nothing and repeats nothing.

use std::{
    fmt, io,
    os::fd::{AsRawFd, BorrowedFd},
    time::{Duration, Instant},
};

use netlink_packet_core::{
    Emitable, NLM_F_ACK, NLM_F_ACK_TLVS, NLM_F_APPEND, NLM_F_CAPPED, NLM_F_CREATE, NLM_F_DUMP,
    NLM_F_DUMP_INTR, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR,
    NetlinkBuffer, NetlinkDeserializable, NetlinkHeader, NetlinkSerializable, NlasIterator,
    Parseable,
};
use netlink_packet_route::{RouteNetlinkMessage, link::LinkMessage};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::{
    errno::Errno,
    sys::{
        socket::{setsockopt, sockopt},
        time::{TimeVal, TimeValLike},
    },
};

/// Requests in one sendmsg. Measured: beyond 32 nothing is gained.
pub const BATCH: usize = 32;

/// One thing asked of the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    message: Message,
    flags: u16,
}

/// What a request says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Something that `netlink-packet-route` has a type for.
    Typed(RouteNetlinkMessage),
    /// Something else.
    Octets {
        /// Message type (`nlmsg_type`).
        kind: u16,
        /// All behind the netlink header.
        payload: Vec<u8>,
    },
}

impl From<RouteNetlinkMessage> for Message {
    fn from(message: RouteNetlinkMessage) -> Self {
        Self::Typed(message)
    }
}

impl Request {
    /// Creates; refused with EEXIST if it is there already.
    #[must_use]
    pub fn create(message: impl Into<Message>) -> Self {
        Self { message: message.into(), flags: NLM_F_CREATE | NLM_F_EXCL }
    }

    /// Creates, or takes the place of what is there without a moment in between.
    #[must_use]
    pub fn replace(message: impl Into<Message>) -> Self {
        Self { message: message.into(), flags: NLM_F_CREATE | NLM_F_REPLACE }
    }

    /// Creates beside what is there (a further next hop of an IPv6 route).
    #[must_use]
    pub fn append(message: impl Into<Message>) -> Self {
        Self { message: message.into(), flags: NLM_F_CREATE | NLM_F_APPEND }
    }

    /// Changes or deletes what is there; refused (ENODEV, ENOENT, ESRCH) if it is not.
    #[must_use]
    pub fn existing(message: impl Into<Message>) -> Self {
        Self { message: message.into(), flags: 0 }
    }
}

/// The kernel said no to one request of a batch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Refusal {
    /// Position in the slice that was given to [`Netlink::apply`].
    pub index: usize,
    /// Why.
    pub errno: Errno,
    /// The kernel's own words (extended acknowledgement), if it had any.
    pub text: Option<String>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.errno)?;
        self.text.as_ref().map_or(Ok(()), |text| write!(f, ": {text}"))
    }
}

/// The socket failed, as opposed to a request being refused.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// A system call failed.
    #[error("netlink socket: {0}; the daemon needs CAP_NET_ADMIN")]
    Socket(#[from] io::Error),
    /// No answer in time. What was asked may or may not have been done.
    #[error("the kernel did not answer a netlink request within {} s", .0.as_secs())]
    Silent(Duration),
    /// A dump was refused.
    #[error("the kernel refused a netlink dump: {0}")]
    Dump(Refusal),
    /// The objects changed during each of several dumps.
    #[error("the kernel's objects changed during each of {0} dumps in a row")]
    Restless(usize),
}

/// A route netlink socket in the network namespace in which it was opened.
pub struct Netlink {
    socket: Socket,
    sequence: u32,
    outgoing: Vec<u8>,
    incoming: Vec<u8>,
}

impl fmt::Debug for Netlink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Netlink").field("sequence", &self.sequence).finish_non_exhaustive()
    }
}

impl Netlink {
    /// Opens a socket in the calling thread's network namespace. The socket stays there, wherever
    /// the thread goes later.
    ///
    /// # Errors
    ///
    /// [`NetlinkError::Socket`].
    pub fn open() -> Result<Self, NetlinkError> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind(&SocketAddr::new(0, 0))?;
        socket.connect(&SocketAddr::new(0, 0))?;
        socket.set_ext_ack(true)?;
        socket.set_cap_ack(true)?;
        socket.set_netlink_get_strict_chk(true)?;
        // SAFETY: the descriptor is open and stays so for the length of this borrow, since
        // `socket` owns it and outlives the two calls below.
        let fd = unsafe { BorrowedFd::borrow_raw(socket.as_raw_fd()) };
        // Refused to an ordinary user in a user namespace; the default size then does, because at
        // most one acknowledgement and one error for each request of a batch is outstanding.
        let _ = setsockopt(&fd, sockopt::RcvBufForce, &RECEIVE_BUFFER);
        setsockopt(&fd, sockopt::ReceiveTimeout, &TimeVal::seconds(1)).map_err(io::Error::from)?;
        let incoming = Vec::with_capacity(DATAGRAM);
        Ok(Self { socket, sequence: 0, outgoing: Vec::new(), incoming })
    }

    /// The socket's address. The kernel names it as the source of every change that was asked for
    /// here, in what it tells those who watch.
    ///
    /// # Errors
    ///
    /// [`NetlinkError::Socket`].
    pub fn port(&self) -> Result<u32, NetlinkError> {
        let mut address = SocketAddr::new(0, 0);
        self.socket.get_address(&mut address)?;
        Ok(address.port_number())
    }

    /// Carries out the requests in order and returns those that the kernel refused, also in order;
    /// empty if all went well. A refused request does not keep the later ones from being tried.
    ///
    /// # Errors
    ///
    /// [`NetlinkError`] if the socket fails; an unknown part of the requests has then been done.
    pub fn apply(&mut self, requests: &[Request]) -> Result<Vec<Refusal>, NetlinkError> {
        let mut refusals = Vec::new();
        for (number, batch) in requests.chunks(BATCH).enumerate() {
            self.apply_batch(batch, number * BATCH, &mut refusals)?;
        }
        Ok(refusals)
    }

    /// Asks for every object that `message` (a `Get…`) selects.
    ///
    /// An object that this program cannot decode is left out with a warning: somebody else's
    /// exotic interface must not blind us to all others.
    ///
    /// # Errors
    ///
    /// [`NetlinkError::Dump`] if the kernel refuses, [`NetlinkError::Restless`] if the objects keep
    /// changing meanwhile, or another [`NetlinkError`] if the socket fails.
    pub fn dump(
        &mut self,
        message: &RouteNetlinkMessage,
    ) -> Result<Vec<RouteNetlinkMessage>, NetlinkError> {
        self.dump_with(&message.clone().into(), typed)
    }

    /// The same for any message; `object` reads one of the answers.
    ///
    /// # Errors
    ///
    /// As [`dump`](Self::dump).
    pub fn dump_with<T>(
        &mut self,
        message: &Message,
        object: impl Fn(&NetlinkBuffer<&[u8]>) -> Option<T>,
    ) -> Result<Vec<T>, NetlinkError> {
        for _ in 0..DUMP_ATTEMPTS {
            let mut objects = Vec::new();
            let take = |message: &NetlinkBuffer<&[u8]>| objects.extend(object(message));
            if self.query(message, NLM_F_DUMP, take)? == Dumped::Whole {
                return Ok(objects);
            }
        }
        Err(NetlinkError::Restless(DUMP_ATTEMPTS))
    }

    /// Asks for the single object that `message` (a `Get…`) names; `None` if there is none.
    ///
    /// # Errors
    ///
    /// As [`dump`](Self::dump).
    pub fn get(
        &mut self,
        message: &RouteNetlinkMessage,
    ) -> Result<Option<RouteNetlinkMessage>, NetlinkError> {
        self.get_with(&message.clone().into(), typed)
    }

    /// The same for any message; `object` reads the answer.
    ///
    /// # Errors
    ///
    /// As [`dump`](Self::dump).
    pub fn get_with<T>(
        &mut self,
        message: &Message,
        object: impl Fn(&NetlinkBuffer<&[u8]>) -> Option<T>,
    ) -> Result<Option<T>, NetlinkError> {
        let mut found = None;
        let take = |message: &NetlinkBuffer<&[u8]>| found = object(message);
        match self.query(message, NLM_F_ACK, take) {
            Ok(Dumped::Whole | Dumped::Interrupted) => Ok(found),
            Err(NetlinkError::Dump(Refusal {
                errno: Errno::ENODEV | Errno::ENOENT | Errno::ESRCH | Errno::ENXIO,
                ..
            })) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The interface of this index; `None` if there is none.
    ///
    /// # Errors
    ///
    /// As [`dump`](Self::dump).
    pub fn link(&mut self, index: u32) -> Result<Option<LinkMessage>, NetlinkError> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        Ok(match self.get(&RouteNetlinkMessage::GetLink(message))? {
            Some(RouteNetlinkMessage::NewLink(link)) => Some(link),
            Some(_) | None => None,
        })
    }

    fn apply_batch(
        &mut self,
        batch: &[Request],
        offset: usize,
        refusals: &mut Vec<Refusal>,
    ) -> Result<(), NetlinkError> {
        let Some(last) = batch.len().checked_sub(1) else { return Ok(()) };
        self.outgoing.clear();
        let first = self.sequence.wrapping_add(1);
        for (position, request) in batch.iter().enumerate() {
            let ack = if position == last { NLM_F_ACK } else { 0 };
            self.push(&request.message, request.flags | ack);
        }
        self.send()?;
        let deadline = Instant::now() + ANSWER_TIME;
        loop {
            self.receive(deadline)?;
            for message in Datagram(&self.incoming) {
                let position = message.sequence_number().wrapping_sub(first) as usize;
                if message.message_type() != NLMSG_ERROR || position > last {
                    // A late answer to something that we gave up on.
                    continue;
                }
                if let Some((errno, text)) = failure(&message) {
                    refusals.push(Refusal { index: offset + position, errno, text });
                }
                if position == last {
                    return Ok(());
                }
            }
        }
    }

    fn query(
        &mut self,
        message: &Message,
        flags: u16,
        mut take: impl FnMut(&NetlinkBuffer<&[u8]>),
    ) -> Result<Dumped, NetlinkError> {
        self.outgoing.clear();
        self.push(message, flags);
        self.send()?;
        let mut dumped = Dumped::Whole;
        loop {
            // Each datagram of a dump gets its own time: a large table may take long as a whole.
            self.receive(Instant::now() + ANSWER_TIME)?;
            for message in Datagram(&self.incoming) {
                if message.sequence_number() != self.sequence {
                    continue;
                }
                if message.flags() & NLM_F_DUMP_INTR != 0 {
                    dumped = Dumped::Interrupted;
                }
                if matches!(message.message_type(), NLMSG_DONE | NLMSG_ERROR) {
                    return match failure(&message) {
                        Some((Errno::EINTR, _)) => Ok(Dumped::Interrupted),
                        Some((errno, text)) => {
                            Err(NetlinkError::Dump(Refusal { index: 0, errno, text }))
                        }
                        None => Ok(dumped),
                    };
                }
                take(&message);
            }
        }
    }

    /// Appends one message to the datagram in the making.
    fn push(&mut self, message: &Message, flags: u16) {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        let start = self.outgoing.len();
        let (kind, payload) = match message {
            Message::Typed(typed) => (typed.message_type(), NetlinkSerializable::buffer_len(typed)),
            Message::Octets { kind, payload } => (*kind, payload.len()),
        };
        let length = header.buffer_len() + payload;
        header.length = u32::try_from(length).expect("a request is a few hundred octets");
        header.message_type = kind;
        header.flags = flags | NLM_F_REQUEST;
        header.sequence_number = self.sequence;
        self.outgoing.resize(start + aligned(length), 0);
        let (head, body) = self.outgoing[start..start + length].split_at_mut(header.buffer_len());
        header.emit(head);
        match message {
            Message::Typed(typed) => typed.serialize(body),
            Message::Octets { payload, .. } => body.copy_from_slice(payload),
        }
    }

    fn send(&self) -> Result<(), NetlinkError> {
        loop {
            match self.socket.send(&self.outgoing, 0) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Waits for the next datagram.
    fn receive(&mut self, deadline: Instant) -> Result<(), NetlinkError> {
        loop {
            self.incoming.clear();
            match self.socket.recv(&mut self.incoming, libc::MSG_TRUNC) {
                Ok(length) if length > self.incoming.len() => {
                    // Cannot happen with the kernel's dumps, which are cut to fit the buffer that
                    // the reader offered last; an answer that large is lost.
                    return Err(io::Error::from(io::ErrorKind::InvalidData).into());
                }
                Ok(_) => return Ok(()),
                Err(error) => match error.kind() {
                    io::ErrorKind::Interrupted => {}
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                        if Instant::now() >= deadline {
                            return Err(NetlinkError::Silent(ANSWER_TIME));
                        }
                    }
                    _ => return Err(error.into()),
                },
            }
        }
    }
}

/// Whether a dump saw one state of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dumped {
    Whole,
    Interrupted,
}

/// The messages of one datagram; ends early at the first that is cut short.
pub(super) struct Datagram<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Datagram<'a> {
    type Item = NetlinkBuffer<&'a [u8]>;

    fn next(&mut self) -> Option<Self::Item> {
        let message = NetlinkBuffer::new_checked(self.0).ok()?;
        let length = message.length() as usize;
        let current = &self.0[..length];
        self.0 = self.0.get(aligned(length)..).unwrap_or_default();
        Some(NetlinkBuffer::new(current))
    }
}

/// An object of a dump, if it can be read.
fn typed(message: &NetlinkBuffer<&[u8]>) -> Option<RouteNetlinkMessage> {
    decode(message)
        .inspect_err(|error| tracing::warn!(%error, "kernel object left out of a dump"))
        .ok()
}

/// One message as a typed one.
pub(super) fn decode(
    message: &NetlinkBuffer<&[u8]>,
) -> Result<RouteNetlinkMessage, <RouteNetlinkMessage as NetlinkDeserializable>::Error> {
    let header = NetlinkHeader::parse(message)?;
    RouteNetlinkMessage::deserialize(&header, message.payload())
}

/// What an NLMSG_ERROR or NLMSG_DONE reports; `None` for success.
fn failure(message: &NetlinkBuffer<&[u8]>) -> Option<(Errno, Option<String>)> {
    let (code, rest) = message.payload().split_first_chunk::<4>()?;
    let code = i32::from_ne_bytes(*code);
    if code >= 0 {
        return None;
    }
    Some((Errno::from_raw(code.saturating_neg()), words(message, rest)))
}

/// The text attribute (NLMSGERR_ATTR_MSG) of an extended acknowledgement.
fn words(message: &NetlinkBuffer<&[u8]>, rest: &[u8]) -> Option<String> {
    const NLMSGERR_ATTR_MSG: u16 = 1;
    if message.flags() & NLM_F_ACK_TLVS == 0 {
        return None;
    }
    // NLMSG_ERROR repeats the request: only its header if capped, NLMSG_DONE does not.
    let attributes = if message.message_type() == NLMSG_DONE {
        rest
    } else if message.flags() & NLM_F_CAPPED != 0 {
        rest.get(NetlinkHeader::default().buffer_len()..)?
    } else {
        let request = NetlinkBuffer::new_checked(rest).ok()?;
        rest.get(aligned(request.length() as usize)..)?
    };
    NlasIterator::new(attributes).flatten().find(|nla| nla.kind() == NLMSGERR_ATTR_MSG).map(|nla| {
        let text = nla.value().split(|octet| *octet == 0).next().unwrap_or_default();
        String::from_utf8_lossy(text).into_owned()
    })
}

const fn aligned(length: usize) -> usize {
    length.next_multiple_of(4)
}

/// Octets asked for as receive buffer, beyond the system's limit where we may: so that a dump of
/// 100,000 routes and the errors of a batch always fit.
const RECEIVE_BUFFER: usize = 4 << 20;
/// Octets of one datagram; the kernel builds dumps of at most 32 KiB.
const DATAGRAM: usize = 64 << 10;
/// The kernel answers in microseconds; after this long something is badly wrong with it.
const ANSWER_TIME: Duration = Duration::from_secs(10);
/// Dumps tried before giving up on a kernel whose objects change all the time.
const DUMP_ATTEMPTS: usize = 10;

#[cfg(test)]
mod tests;
