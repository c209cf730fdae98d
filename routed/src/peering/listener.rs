//! One listening address: takes connections and hands each to the peer it comes from.
//!
//! In: connections. Out: streams on the peers' channels, and in the hall for those who may become
//! dynamic peers; to everybody else a NOTIFICATION "Connection Rejected" (RFC 4271 §6.5, RFC 4486
//! §4), so that the other side's log says what is wrong, and nothing that tells who we are.

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use bgp::{prefix::Prefix, session::ConnId, wire::Notification};
use bytes::Bytes;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc, watch},
};

use super::{conn::Conn, interfaces};
use crate::config::PeerAddress;

/// Where the connections of each peer go.
#[derive(Debug, Default)]
pub(crate) struct Doors {
    /// Where those wait from whose addresses dynamic peers connect, and which addresses these are.
    hall: Option<(mpsc::Sender<Guest>, Vec<Prefix>)>,
    /// By the peer's address.
    addresses: BTreeMap<IpAddr, Door>,
    /// By the interface on whose link the peer is searched for.
    interfaces: BTreeMap<Arc<str>, Door>,
}

type Door = mpsc::Sender<TcpStream>;

/// Somebody whose address is no peer's (yet).
#[derive(Debug)]
pub(crate) struct Guest {
    pub(crate) stream: TcpStream,
    pub(crate) source: SocketAddr,
}

/// Where a connection belongs.
enum Way {
    Door(Door),
    Hall(mpsc::Sender<Guest>),
    Out,
}

impl Doors {
    /// The same, with a hall for those who connect from these prefixes and have no door.
    pub(crate) fn with_hall(self, hall: mpsc::Sender<Guest>, from: Vec<Prefix>) -> Self {
        Self { hall: Some((hall, from)), ..self }
    }

    fn way_of(&self, source: SocketAddr) -> Way {
        let address = source.ip().to_canonical();
        let by_link = || self.interfaces.get(&*interfaces::link_of(source)?);
        if let Some(door) = self.addresses.get(&address).or_else(by_link) {
            return Way::Door(door.clone());
        }
        match &self.hall {
            Some((hall, from)) if from.iter().any(|prefix| prefix.contains(address)) => {
                Way::Hall(hall.clone())
            }
            Some(_) | None => Way::Out,
        }
    }
}

impl<'p> FromIterator<(&'p PeerAddress, Door)> for Doors {
    fn from_iter<I: IntoIterator<Item = (&'p PeerAddress, Door)>>(peers: I) -> Self {
        let mut doors = Self::default();
        for (address, door) in peers {
            match address {
                PeerAddress::Fixed(address) => {
                    doors.addresses.insert(address.to_canonical(), door);
                }
                PeerAddress::Learned(interface) => {
                    doors.interfaces.insert(Arc::clone(interface), door);
                }
            }
        }
        doors
    }
}

/// Accepts connections on one address.
///
/// Owns the listening socket; ends when aborted, at any point.
pub(crate) struct Listener {
    socket: Arc<TcpListener>,
    doors: watch::Receiver<Arc<Doors>>,
    strangers: Strangers,
    complaints: Complaints,
}

impl Listener {
    pub(crate) fn new(socket: Arc<TcpListener>, doors: watch::Receiver<Arc<Doors>>) -> Self {
        Self { socket, doors, strangers: Strangers::new(), complaints: Complaints::default() }
    }

    /// Runs until aborted: no error of `accept` is one of the listening socket itself.
    pub(crate) async fn run(mut self) {
        loop {
            match self.socket.accept().await {
                Ok((stream, source)) => self.admit(stream, source),
                Err(error) => self.pause(&error).await,
            }
        }
    }

    fn admit(&mut self, stream: TcpStream, source: SocketAddr) {
        let way = self.doors.borrow().way_of(source);
        let let_in = match way {
            Way::Door(door) => door.try_send(stream).is_ok(),
            Way::Hall(hall) => hall.try_send(Guest { stream, source }).is_ok(),
            Way::Out => return self.refuse(stream, source),
        };
        if !let_in {
            // A full door means that the peer opens connections faster than its session can look
            // at them; one more would not be better than the last.
            tracing::debug!(peer = %source, "connection dropped: earlier ones wait still");
        }
    }

    fn refuse(&mut self, stream: TcpStream, source: SocketAddr) {
        if let Some(unsaid) = self.complaints.next(Instant::now()) {
            tracing::warn!(
                peer = %source,
                unsaid,
                "refused a connection from an address that no peer has; add it to [[peers]] if \
                 it should be one",
            );
        }
        self.strangers.refuse(stream, connection_rejected());
    }

    async fn pause(&mut self, error: &io::Error) {
        let of_the_connection = [
            io::ErrorKind::ConnectionAborted,
            io::ErrorKind::ConnectionReset,
            io::ErrorKind::Interrupted,
        ];
        if of_the_connection.contains(&error.kind()) {
            return;
        }
        if let Some(unsaid) = self.complaints.next(Instant::now()) {
            tracing::warn!(
                %error,
                unsaid,
                "cannot accept connections for the moment; if files ran out, raise LimitNOFILE",
            );
        }
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
}

/// Takes leave of those who are not let in.
pub(crate) struct Strangers {
    /// One permit for each who is being told why.
    places: Arc<Semaphore>,
}

impl Strangers {
    pub(crate) fn new() -> Self {
        Self { places: Arc::new(Semaphore::new(STRANGERS)) }
    }

    /// Says these last words and closes the connection, in the background.
    pub(crate) fn refuse(&self, stream: TcpStream, words: Bytes) {
        // Without a permit the stranger gets a plain close: manners must not cost descriptors.
        let Ok(permit) = Arc::clone(&self.places).try_acquire_owned() else { return };
        let mut conn = Conn::new(ConnId(0), stream);
        conn.send(words);
        tokio::spawn(async move {
            conn.farewell().await;
            drop(permit);
        });
    }
}

/// Cease, Connection Rejected.
fn connection_rejected() -> Bytes {
    Notification { code: 6, subcode: 5, data: Bytes::new() }.encode()
}

/// Lets one complaint through in a while and counts the others: neither strangers nor a peer that is
/// out of order must fill the log.
#[derive(Debug, Default)]
pub(super) struct Complaints {
    last: Option<Instant>,
    unsaid: u64,
}

impl Complaints {
    /// How many were kept back since the last one, if this one may be made.
    pub(super) fn next(&mut self, now: Instant) -> Option<u64> {
        if self.last.is_some_and(|last| now < last + COMPLAINT_PAUSE) {
            self.unsaid += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.unsaid))
    }
}

/// Strangers told off at the same time, each for at most the time of a farewell.
const STRANGERS: usize = 64;

/// Rest after a failed `accept`: the usual cause, no free descriptors, does not pass at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Least time between two complaints of one listener or peer.
const COMPLAINT_PAUSE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_complaint_in_ten_seconds_is_made_and_the_others_are_counted() {
        let mut complaints = Complaints::default();
        let start = Instant::now();
        assert_eq!(complaints.next(start), Some(0));
        assert_eq!(complaints.next(start + Duration::from_secs(1)), None);
        assert_eq!(complaints.next(start + Duration::from_secs(9)), None);
        assert_eq!(complaints.next(start + Duration::from_secs(10)), Some(2));
        assert_eq!(complaints.next(start + Duration::from_secs(20)), Some(0));
    }
}
