//! Hears of what happens to pods' things on the host, on a thread of its own: that interfaces go away, and
//! what other programs change.
//!
//! In: the kernel's notifications, of which a filter in the kernel lets few through: a pod that comes
//! causes a dozen. Out: an [`Event`] for each that may concern a pod, and [`Event::Missed`] after some
//! were lost. Decides nothing. Ends when nobody takes the events.

use std::{
    collections::BTreeSet,
    io,
    net::IpAddr,
    os::fd::{AsRawFd, BorrowedFd},
    thread,
};

use netlink_packet_core::{NetlinkBuffer, NlasIterator};
use netlink_packet_route::{RouteNetlinkMessage, route::RouteAttribute, route::RouteMessage};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::{
    errno::Errno,
    sys::{
        socket::{setsockopt, sockopt},
        time::{TimeVal, TimeValLike},
    },
};
use routed_core::pod::Event;
use socket2::SockRef;
use tokio::sync::mpsc;

use super::{request::full_length, seen};
use crate::kernel::{
    filter,
    netlink::{Datagram, NetlinkError, decode},
};

/// Starts listening in the calling thread's network namespace; from then on nothing is missed. Changes
/// made through the netlink port `own` are nothing new.
///
/// # Errors
///
/// If the kernel gives us no socket or no thread.
pub(super) fn spawn(own: u32, events: mpsc::Sender<Event>) -> Result<(), NetlinkError> {
    let socket = subscribe(own)?;
    thread::Builder::new().name("pods-changes".to_owned()).spawn(move || run(&socket, &events))?;
    Ok(())
}

fn run(socket: &Socket, events: &mpsc::Sender<Event>) {
    let mut incoming = Vec::with_capacity(DATAGRAM);
    while !events.is_closed() {
        let mut news = News::default();
        // What belongs together comes together: a flush is one notification for each thing.
        let mut flags = 0;
        for _ in 0..DATAGRAMS {
            incoming.clear();
            match socket.recv(&mut incoming, flags) {
                Ok(_) => Datagram(&incoming).for_each(|message| news.take(&message)),
                Err(error) if error.raw_os_error() == Some(Errno::ENOBUFS as i32) => {
                    tracing::warn!("notifications about pods were lost; looking at all of them");
                    news.events.push(Event::Missed);
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::Interrupted
                    | io::ErrorKind::WouldBlock
                    | io::ErrorKind::TimedOut => break,
                    _ => {
                        return tracing::error!(
                            %error, "changes of pods by others are not noticed any more; restart routed"
                        );
                    }
                },
            }
            flags = libc::MSG_DONTWAIT;
        }
        for event in news.events() {
            if events.blocking_send(event).is_err() {
                return;
            }
        }
    }
}

/// What has been heard at a time; of the same thing once.
#[derive(Default)]
struct News {
    events: Vec<Event>,
    indexes: BTreeSet<u32>,
    addresses: BTreeSet<IpAddr>,
}

impl News {
    fn take(&mut self, message: &NetlinkBuffer<&[u8]>) {
        if message.message_type() == libc::RTM_NEWNETCONF {
            return self.indexes.extend(reconfigured(message.payload()));
        }
        let Ok(message) = decode(message) else { return };
        match message {
            RouteNetlinkMessage::DelLink(link) => {
                self.events.push(Event::LinkGone(link.header.index));
            }
            RouteNetlinkMessage::NewLink(link) => {
                self.events.push(Event::LinkChanged(Box::new(seen::link(link))));
            }
            RouteNetlinkMessage::NewNeighbour(neighbour)
            | RouteNetlinkMessage::DelNeighbour(neighbour) => {
                self.indexes.insert(neighbour.header.ifindex);
            }
            RouteNetlinkMessage::NewRoute(route) | RouteNetlinkMessage::DelRoute(route) => {
                self.addresses.extend(destination(&route));
            }
            _ => {}
        }
    }

    fn events(self) -> impl Iterator<Item = Event> {
        let indexes = self.indexes.into_iter().map(Event::Disturbed);
        let addresses = self.addresses.into_iter().map(Event::RouteChanged);
        self.events.into_iter().chain(indexes).chain(addresses)
    }
}

/// The single address that a route leads to, if it does.
fn destination(route: &RouteMessage) -> Option<IpAddr> {
    let to = route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Destination(to) => seen::ip(to),
        _ => None,
    })?;
    (route.header.destination_prefix_length == full_length(to)).then_some(to)
}

/// The interface whose settings have changed; `None` if they are those of all.
fn reconfigured(payload: &[u8]) -> Option<u32> {
    const NETCONFA_IFINDEX: u16 = 1;
    let attributes = NlasIterator::new(payload.get(NETCONFMSG..)?).flatten();
    let index = attributes.into_iter().find(|it| it.kind() == NETCONFA_IFINDEX)?;
    let index = i32::from_ne_bytes(index.value().try_into().ok()?);
    u32::try_from(index).ok()
}

fn subscribe(own: u32) -> Result<Socket, NetlinkError> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    // SAFETY: the descriptor is open and stays so for the length of this borrow, since `socket`
    // owns it and outlives it.
    let fd = unsafe { BorrowedFd::borrow_raw(socket.as_raw_fd()) };
    // Refused to an ordinary user in a user namespace; then more is lost, and noticed.
    let _ = setsockopt(&fd, sockopt::RcvBufForce, &RECEIVE_BUFFER);
    setsockopt(&fd, sockopt::ReceiveTimeout, &TimeVal::seconds(1)).map_err(io::Error::from)?;
    SockRef::from(&fd).attach_filter(&filter::changes_of_pods(own))?;
    socket.bind(&SocketAddr::new(0, 0))?;
    for group in [
        libc::RTNLGRP_LINK,
        libc::RTNLGRP_NEIGH,
        libc::RTNLGRP_IPV4_ROUTE,
        libc::RTNLGRP_IPV6_ROUTE,
        libc::RTNLGRP_IPV4_NETCONF,
    ] {
        socket.add_membership(group)?;
    }
    Ok(socket)
}

/// Octets of `struct netconfmsg`, with what aligns the attributes.
const NETCONFMSG: usize = 4;
/// Octets asked for as receive buffer: some thousand changes at once.
const RECEIVE_BUFFER: usize = 4 << 20;
/// Octets of one datagram; a notification is about a thousand.
const DATAGRAM: usize = 16 << 10;
/// Notifications that are told together.
const DATAGRAMS: usize = 256;
