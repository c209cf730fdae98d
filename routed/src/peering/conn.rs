//! One TCP connection of a peer: octets that wait to be written, and reads that never wait.
//!
//! In: octets to send. Out: octets received, progress, the end. Reading and writing do not wait
//! for each other: a peer that takes nothing is still read from.
//!
//! Knows nothing of BGP. Bounded by its owner, which stops making octets while
//! [`Conn::pending`] is high.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    os::fd::AsRawFd,
    task::{Context, Poll},
    time::Duration,
};

use bgp::session::ConnId;
use bytes::{Buf, Bytes};
use nix::sys::socket::{MsgFlags, recv};
use socket2::SockRef;
use tokio::{
    io::{AsyncWriteExt, Interest},
    net::TcpStream,
};

/// One connection.
#[derive(Debug)]
pub(crate) struct Conn {
    /// The session's number for it.
    pub(crate) id: ConnId,
    stream: TcpStream,
    queue: VecDeque<Bytes>,
    pending: usize,
}

/// What reading came to.
#[derive(Debug)]
pub(crate) enum Read {
    /// Octets of the peer.
    Octets(Bytes),
    /// None there at the moment.
    Nothing,
    /// The peer closed its side, or the connection broke.
    Ended(Option<io::Error>),
}

/// What writing came to.
#[derive(Debug)]
pub(crate) enum Write {
    /// The socket took something.
    Progress,
    /// It takes nothing at the moment, or nothing waits.
    Nothing,
    /// The connection broke.
    Broken(io::Error),
}

/// What a connection is ready for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ready {
    /// [`Conn::read`] will return something.
    Read(ConnId),
    /// [`Conn::write`] will make progress.
    Write(ConnId),
}

impl Read {
    fn from_taken(taken: io::Result<usize>, octets: &[u8]) -> Self {
        match taken {
            Ok(0) => Self::Ended(None),
            Ok(len) => Self::Octets(Bytes::copy_from_slice(&octets[..len])),
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Self::Nothing,
                _ => Self::Ended(Some(error)),
            },
        }
    }
}

impl Conn {
    pub(crate) const fn new(id: ConnId, stream: TcpStream) -> Self {
        Self { id, stream, queue: VecDeque::new(), pending: 0 }
    }

    /// Queues octets behind those that wait already.
    pub(crate) fn send(&mut self, octets: Bytes) {
        self.pending += octets.len();
        self.queue.push_back(octets);
    }

    /// Takes what is there, at most [`READ_LEN`] octets.
    pub(crate) fn read(&mut self) -> Read {
        let mut octets = [0; READ_LEN];
        let fd = self.stream.as_raw_fd();
        let taken = self.stream.try_io(Interest::READABLE, || {
            recv(fd, &mut octets, MsgFlags::MSG_DONTWAIT).map_err(io::Error::from)
        });
        Read::from_taken(taken, &octets)
    }

    /// The same, asking the kernel even if the runtime has not heard of any octets yet: for the
    /// moment at which it matters whether the peer has said something.
    pub(crate) fn read_now(&mut self) -> Read {
        let mut octets = [0; READ_LEN];
        let taken = recv(self.stream.as_raw_fd(), &mut octets, MsgFlags::MSG_DONTWAIT);
        Read::from_taken(taken.map_err(io::Error::from), &octets)
    }

    /// Gives the socket as much as it takes in one call.
    pub(crate) fn write(&mut self) -> Write {
        if self.queue.is_empty() {
            return Write::Nothing;
        }
        let slices: Vec<_> =
            self.queue.iter().take(WRITE_SLICES).map(|octets| IoSlice::new(octets)).collect();
        match self.stream.try_write_vectored(&slices) {
            Ok(len) => {
                self.taken(len);
                Write::Progress
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Write::Nothing,
            Err(error) => Write::Broken(error),
        }
    }

    /// Octets that wait for the socket.
    pub(crate) const fn pending(&self) -> usize {
        self.pending
    }

    pub(crate) const fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Ready if there is something to read (and it is wanted), or room for what waits.
    pub(crate) fn poll_ready(&self, cx: &mut Context<'_>, read: bool) -> Poll<Ready> {
        // An error makes both ready; the call that follows finds it.
        if !self.queue.is_empty() && self.stream.poll_write_ready(cx).is_ready() {
            return Poll::Ready(Ready::Write(self.id));
        }
        if read && self.stream.poll_read_ready(cx).is_ready() {
            return Poll::Ready(Ready::Read(self.id));
        }
        Poll::Pending
    }

    /// Ends the connection at once, with a RST if the peer can still hear it. The kernel keeps
    /// nothing of it.
    pub(crate) fn abort(self) {
        // Without it the kernel goes on in the background, which does no harm.
        let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
    }

    /// Ends the connection so that the peer gets to read our last words: writes what waits,
    /// closes our side, then drops what still comes until the peer closes too. Closing with
    /// octets unread would make the kernel send a RST, which may overtake a NOTIFICATION.
    ///
    /// Takes at most [`FAREWELL_TIME`]; may be dropped at any point.
    pub(crate) async fn farewell(mut self) {
        let farewell = async {
            for mut octets in std::mem::take(&mut self.queue) {
                self.stream.write_all_buf(&mut octets).await?;
            }
            self.stream.shutdown().await?;
            loop {
                self.stream.readable().await?;
                match self.read() {
                    Read::Octets(_) | Read::Nothing => (),
                    Read::Ended(_) => return Ok::<_, io::Error>(()),
                }
            }
        };
        // Whatever fails here, the connection is at its end.
        let _ = tokio::time::timeout(FAREWELL_TIME, farewell).await;
    }

    fn taken(&mut self, mut len: usize) {
        self.pending -= len;
        while len > 0 {
            let front = self.queue.front_mut().expect("the socket took no more than was queued");
            if len < front.len() {
                front.advance(len);
                return;
            }
            len -= front.len();
            self.queue.pop_front();
        }
    }
}

/// Octets read at once: sixteen full messages, and the whole of most bursts.
const READ_LEN: usize = 64 * 1024;

/// Messages handed to the kernel in one call.
const WRITE_SLICES: usize = 64;

/// How long the last words may take: a peer that is there takes a few round trips.
pub(crate) const FAREWELL_TIME: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::{io::AsyncReadExt, net::TcpListener};

    use super::*;

    async fn pair() -> (Conn, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (theirs, _) = listener.accept().await.unwrap();
        (Conn::new(ConnId(1), ours), theirs)
    }

    #[tokio::test]
    async fn what_is_queued_arrives_in_order_and_is_counted() {
        let (mut conn, mut theirs) = pair().await;
        for text in ["one ", "two ", "three"] {
            conn.send(Bytes::from_static(text.as_bytes()));
        }
        assert_eq!(conn.pending(), 13);
        assert_eq!(poll_fn(|cx| conn.poll_ready(cx, false)).await, Ready::Write(ConnId(1)));

        assert!(matches!(conn.write(), Write::Progress));

        assert_eq!(conn.pending(), 0);
        let mut octets = [0; 13];
        theirs.read_exact(&mut octets).await.unwrap();
        assert_eq!(&octets, b"one two three");
    }

    #[tokio::test]
    async fn a_peer_that_takes_nothing_stops_writing_but_not_reading() {
        let (mut conn, mut theirs) = pair().await;
        while !matches!(conn.write(), Write::Nothing) || conn.pending() == 0 {
            conn.send(Bytes::from(vec![0; 1 << 20]));
            poll_fn(|cx| conn.poll_ready(cx, false)).await;
        }
        let pending = conn.pending();

        theirs.write_all(b"hello").await.unwrap();

        assert_eq!(poll_fn(|cx| conn.poll_ready(cx, true)).await, Ready::Read(ConnId(1)));
        assert!(matches!(conn.read(), Read::Octets(octets) if &octets[..] == b"hello"));
        assert!(matches!(conn.read(), Read::Nothing));
        assert_eq!(conn.pending(), pending);
    }

    #[tokio::test]
    async fn octets_are_found_even_if_the_runtime_has_not_heard_of_them() {
        let (mut conn, theirs) = pair().await;
        assert!(matches!(conn.read(), Read::Nothing));
        // No await from here on: the runtime learns nothing.
        theirs.try_write(b"alive").unwrap();

        assert!(matches!(conn.read_now(), Read::Octets(octets) if &octets[..] == b"alive"));
    }

    #[tokio::test]
    async fn last_words_arrive_even_if_the_peer_never_stops_talking() {
        let (mut conn, mut theirs) = pair().await;
        conn.send(Bytes::from_static(b"goodbye"));
        theirs.write_all(&[0; 100_000]).await.unwrap();

        let farewell = tokio::spawn(conn.farewell());

        let mut octets = Vec::new();
        theirs.read_to_end(&mut octets).await.unwrap();
        assert_eq!(octets, b"goodbye");
        drop(theirs);
        farewell.await.unwrap();
    }

    #[tokio::test]
    async fn farewell_ends_even_if_the_peer_does_nothing() {
        let (mut conn, _theirs) = pair().await;
        conn.send(Bytes::from(vec![0; 64 << 20]));
        conn.farewell().await;
    }
}
