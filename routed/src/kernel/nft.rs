//! A blocking nf_tables socket: transactions built by us, sent as one, carried out whole or not at
//! all.
//!
//! In: a [`Batch`] of messages. Out: whether the kernel has committed it, or the first refusal with
//! its place. Knows the kernel's format (`linux/netfilter/nf_tables.h`); what the rules mean is the
//! caller's. No program is started: one element costs microseconds, and milliseconds by `nft`.

use std::{
    fmt, io,
    os::fd::{AsRawFd, BorrowedFd},
    time::{Duration, Instant},
};

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};
use nix::{
    errno::Errno,
    sys::{
        socket::{setsockopt, sockopt},
        time::{TimeVal, TimeValLike},
    },
};

pub mod expression;
#[cfg(test)]
pub(crate) mod oracle;
pub mod table;

/// A transaction in the making.
#[derive(Debug)]
pub struct Batch {
    octets: Vec<u8>,
    messages: u32,
}

impl Batch {
    /// Empty.
    #[must_use]
    pub fn new() -> Self {
        let mut batch = Self { octets: Vec::with_capacity(512), messages: 0 };
        batch.push(BATCH_BEGIN, 0, AF_UNSPEC, SUBSYSTEM);
        batch
    }

    /// Appends a message of one of the kinds below for the family `inet`.
    pub fn message(&mut self, kind: u16, flags: u16, build: impl FnOnce(&mut Attributes<'_>)) {
        let start = self.push(SUBSYSTEM << 8 | kind, flags | NLM_F_REQUEST, INET, 0);
        build(&mut Attributes(&mut self.octets));
        self.close(start);
    }

    /// Number of messages without the two that frame them.
    #[must_use]
    pub const fn len(&self) -> u32 {
        self.messages - 1
    }

    /// Has it no message?
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A header with the message's number for sequence; returns where it begins.
    fn push(&mut self, kind: u16, flags: u16, family: u8, resource: u16) -> usize {
        let start = self.octets.len();
        self.octets.extend(HEADER.to_ne_bytes());
        self.octets.extend(kind.to_ne_bytes());
        self.octets.extend((flags | NLM_F_REQUEST).to_ne_bytes());
        self.octets.extend(self.messages.to_ne_bytes());
        self.octets.extend([0; 4]);
        self.octets.extend([family, 0]);
        self.octets.extend(resource.to_be_bytes());
        self.messages += 1;
        start
    }

    fn close(&mut self, start: usize) {
        let length = u32::try_from(self.octets.len() - start).expect("messages are cut to size");
        self.octets[start..start + 4].copy_from_slice(&length.to_ne_bytes());
    }

    /// The octets with sequence numbers from `first` on. Every message asks for an answer if it
    /// fails; the last asks for one in any case.
    fn finish(mut self, first: u32) -> Vec<u8> {
        let last = self.messages - 1;
        self.push(BATCH_END, 0, AF_UNSPEC, SUBSYSTEM);
        let mut start = 0;
        while start < self.octets.len() {
            let length = u32::from_ne_bytes(four(&self.octets[start..])) as usize;
            let number = u32::from_ne_bytes(four(&self.octets[start + 8..]));
            let sequence = first.wrapping_add(number);
            self.octets[start + 8..start + 12].copy_from_slice(&sequence.to_ne_bytes());
            if number == last {
                let flags = u16::from_ne_bytes([self.octets[start + 6], self.octets[start + 7]]);
                self.octets[start + 6..start + 8]
                    .copy_from_slice(&(flags | NLM_F_ACK).to_ne_bytes());
            }
            start += length.next_multiple_of(4);
        }
        self.octets
    }
}

impl Default for Batch {
    fn default() -> Self {
        Self::new()
    }
}

/// Where attributes go.
#[derive(Debug)]
pub struct Attributes<'a>(&'a mut Vec<u8>);

impl Attributes<'_> {
    /// A text with its final zero.
    pub fn text(&mut self, kind: u16, text: &str) -> &mut Self {
        self.put(kind, |octets| {
            octets.extend(text.as_bytes());
            octets.push(0);
        })
    }

    /// A number of 32 bits in network order.
    pub fn number(&mut self, kind: u16, number: u32) -> &mut Self {
        self.octets(kind, &number.to_be_bytes())
    }

    /// Octets as they are.
    pub fn octets(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        self.put(kind, |octets| octets.extend(value))
    }

    /// Attributes inside an attribute.
    pub fn nested(&mut self, kind: u16, build: impl FnOnce(&mut Attributes<'_>)) -> &mut Self {
        self.put(kind | NLA_F_NESTED, |octets| build(&mut Attributes(octets)))
    }

    fn put(&mut self, kind: u16, write: impl FnOnce(&mut Vec<u8>)) -> &mut Self {
        let start = self.0.len();
        self.0.extend([0; 2]);
        self.0.extend(kind.to_ne_bytes());
        write(self.0);
        let length = u16::try_from(self.0.len() - start).expect("attributes are cut to size");
        self.0[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        while !self.0.len().is_multiple_of(4) {
            self.0.push(0);
        }
        self
    }
}

/// Why a transaction was not committed; nothing of it has been done.
#[derive(Debug, thiserror::Error)]
pub enum NftError {
    /// The socket failed.
    #[error("nf_tables socket: {0}; the daemon needs CAP_NET_ADMIN and a kernel with nf_tables")]
    Socket(#[from] io::Error),
    /// No answer in time.
    #[error("the kernel did not answer an nf_tables transaction within {} s", ANSWER_TIME.as_secs())]
    Silent,
    /// The kernel refused.
    #[error("the kernel refused message {index} of an nf_tables transaction: {errno}")]
    Refused {
        /// Position of the message; that of no message if it refused them together.
        index: u32,
        /// Why.
        errno: Errno,
    },
}

/// An nf_tables socket in the network namespace in which it was opened. It stays open: closing it
/// makes the kernel wait for all of its packets.
pub struct Nft {
    socket: Socket,
    sequence: u32,
    incoming: Vec<u8>,
}

impl fmt::Debug for Nft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nft").field("sequence", &self.sequence).finish_non_exhaustive()
    }
}

impl Nft {
    /// Opens a socket in the calling thread's network namespace.
    ///
    /// # Errors
    ///
    /// [`NftError::Socket`].
    pub fn open() -> Result<Self, NftError> {
        let mut socket = Socket::new(NETLINK_NETFILTER)?;
        socket.bind(&SocketAddr::new(0, 0))?;
        socket.connect(&SocketAddr::new(0, 0))?;
        socket.set_cap_ack(true)?;
        // SAFETY: the descriptor is open and stays so for the length of this borrow, since
        // `socket` owns it and outlives it.
        let fd = unsafe { BorrowedFd::borrow_raw(socket.as_raw_fd()) };
        // A transaction is one datagram. Refused to an ordinary user in a user namespace, who has
        // fewer pods as well.
        let _ = setsockopt(&fd, SendBufferForce, &SEND_BUFFER);
        let _ = setsockopt(&fd, sockopt::RcvBufForce, &RECEIVE_BUFFER);
        setsockopt(&fd, sockopt::ReceiveTimeout, &TimeVal::seconds(1)).map_err(io::Error::from)?;
        Ok(Self { socket, sequence: 0, incoming: Vec::with_capacity(DATAGRAM) })
    }

    /// The socket's address, which the kernel names as the source of changes made here.
    ///
    /// # Errors
    ///
    /// [`NftError::Socket`].
    pub fn port(&self) -> Result<u32, NftError> {
        let mut address = SocketAddr::new(0, 0);
        self.socket.get_address(&mut address)?;
        Ok(address.port_number())
    }

    /// Carries out a transaction.
    ///
    /// # Errors
    ///
    /// [`NftError`]; nothing has been done then, unless the kernel was silent.
    pub fn commit(&mut self, batch: Batch) -> Result<(), NftError> {
        if batch.is_empty() {
            return Ok(());
        }
        let last = batch.messages - 1;
        let first = self.sequence.wrapping_add(1);
        self.sequence = first.wrapping_add(batch.messages);
        let octets = batch.finish(first);
        self.socket.send(&octets, 0)?;
        let deadline = Instant::now() + ANSWER_TIME;
        loop {
            self.receive(deadline)?;
            for (sequence, answer) in answers(&self.incoming) {
                let index = sequence.wrapping_sub(first);
                match answer {
                    _ if index > last => {}
                    Some(errno) => {
                        return Err(NftError::Refused { index: index.wrapping_sub(1), errno });
                    }
                    None if index == last => return Ok(()),
                    None => {}
                }
            }
        }
    }

    /// Is there an object that this message, a `GET…` of one object, names?
    ///
    /// # Errors
    ///
    /// [`NftError`], but not if there is none.
    pub fn exists(
        &mut self,
        kind: u16,
        build: impl FnOnce(&mut Attributes<'_>),
    ) -> Result<bool, NftError> {
        let mut batch = Batch { octets: Vec::new(), messages: 0 };
        batch.message(kind, NLM_F_ACK, build);
        self.sequence = self.sequence.wrapping_add(1);
        batch.octets[8..12].copy_from_slice(&self.sequence.to_ne_bytes());
        self.socket.send(&batch.octets, 0)?;
        let deadline = Instant::now() + ANSWER_TIME;
        loop {
            self.receive(deadline)?;
            for (sequence, answer) in answers(&self.incoming) {
                if sequence == self.sequence {
                    return match answer {
                        None => Ok(true),
                        Some(Errno::ENOENT) => Ok(false),
                        Some(errno) => Err(NftError::Refused { index: 0, errno }),
                    };
                }
            }
        }
    }

    fn receive(&mut self, deadline: Instant) -> Result<(), NftError> {
        loop {
            self.incoming.clear();
            match self.socket.recv(&mut self.incoming, 0) {
                Ok(_) => return Ok(()),
                Err(error) => match error.kind() {
                    io::ErrorKind::Interrupted => {}
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                        if Instant::now() >= deadline {
                            return Err(NftError::Silent);
                        }
                    }
                    _ => return Err(error.into()),
                },
            }
        }
    }
}

/// Every NLMSG_ERROR of a datagram: its sequence number, and why something failed, if it did.
fn answers(datagram: &[u8]) -> impl Iterator<Item = (u32, Option<Errno>)> {
    messages(datagram).filter_map(|message| {
        let kind = u16::from_ne_bytes([message[4], message[5]]);
        if kind != NLMSG_ERROR || message.len() < 20 {
            return None;
        }
        let code = i32::from_ne_bytes(four(&message[16..]));
        let errno = (code < 0).then(|| Errno::from_raw(code.saturating_neg()));
        Some((u32::from_ne_bytes(four(&message[8..])), errno))
    })
}

/// The messages of a datagram, each with its header of 16 octets; ends at the first that is cut.
pub fn messages(mut datagram: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        if datagram.len() < 16 {
            return None;
        }
        let length = u32::from_ne_bytes(four(datagram)) as usize;
        let message = datagram.get(..length).filter(|message| message.len() >= 16)?;
        datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    })
}

/// The first attribute of this kind.
#[must_use]
pub fn attribute(mut attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    while attributes.len() >= 4 {
        let length = usize::from(u16::from_ne_bytes([attributes[0], attributes[1]]));
        let kind = u16::from_ne_bytes([attributes[2], attributes[3]]);
        let value = attributes.get(4..length)?;
        if kind & !NLA_F_NESTED == wanted {
            return Some(value);
        }
        attributes = attributes.get(length.next_multiple_of(4)..)?;
    }
    None
}

/// The first four octets; zeros if there are fewer.
fn four(octets: &[u8]) -> [u8; 4] {
    octets.first_chunk().copied().unwrap_or_default()
}

/// SO_SNDBUFFORCE, which nix has no name for.
#[derive(Clone, Copy, Debug)]
struct SendBufferForce;

impl nix::sys::socket::SetSockOpt for SendBufferForce {
    type Val = usize;

    fn set<F: std::os::fd::AsFd>(&self, fd: &F, value: &usize) -> nix::Result<()> {
        let value = libc::c_int::try_from(*value).unwrap_or(libc::c_int::MAX);
        let length = libc::socklen_t::try_from(size_of_val(&value)).expect("an int is small");
        // SAFETY: the descriptor is borrowed, and the pointer and length are those of `value`,
        // which outlives the call.
        let result = unsafe {
            libc::setsockopt(
                fd.as_fd().as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_SNDBUFFORCE,
                (&raw const value).cast(),
                length,
            )
        };
        Errno::result(result).map(drop)
    }
}

/// NFT_MSG_NEWTABLE.
pub const NEW_TABLE: u16 = 0;
/// NFT_MSG_GETTABLE.
pub const GET_TABLE: u16 = 1;
/// NFT_MSG_DELTABLE.
pub const DELETE_TABLE: u16 = 2;
/// NFT_MSG_NEWCHAIN.
pub const NEW_CHAIN: u16 = 3;
/// NFT_MSG_NEWRULE.
pub const NEW_RULE: u16 = 6;
/// NFT_MSG_NEWSET.
pub const NEW_SET: u16 = 9;
/// NFT_MSG_NEWSETELEM.
pub const NEW_ELEMENT: u16 = 12;
/// NFT_MSG_GETSETELEM.
pub const GET_ELEMENT: u16 = 13;
/// NFT_MSG_DELSETELEM.
pub const DELETE_ELEMENT: u16 = 14;
/// NFNL_SUBSYS_NFTABLES.
pub const SUBSYSTEM: u16 = 10;
/// NLM_F_CREATE.
pub const CREATE: u16 = 0x400;
/// NLM_F_CREATE and NLM_F_APPEND.
pub const APPEND: u16 = 0xc00;
/// NFTA_LIST_ELEM.
pub const LIST_ELEMENT: u16 = 1;

const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLMSG_ERROR: u16 = 2;
const NLA_F_NESTED: u16 = 0x8000;
const AF_UNSPEC: u8 = 0;
/// NFPROTO_INET.
const INET: u8 = 1;
/// Octets of a message's two headers.
const HEADER: u32 = 20;
/// The kernel answers in microseconds, and waits for packets in flight at times.
const ANSWER_TIME: Duration = Duration::from_secs(10);
/// Octets: a transaction with some 100,000 elements.
const SEND_BUFFER: usize = 8 << 20;
/// Octets: an answer to each of its messages.
const RECEIVE_BUFFER: usize = 1 << 20;
/// Octets of one datagram of answers.
const DATAGRAM: usize = 32 << 10;
