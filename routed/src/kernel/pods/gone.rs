//! Hears of interfaces that go away, on a thread of its own.
//!
//! In: the kernel's notifications, of which a filter in the kernel lets only deletions through: a
//! pod that comes causes a dozen others. Out: [`Event::LinkGone`] for each, and [`Event::Doubt`]
//! after notifications were lost. Ends when nobody takes the events.

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
    thread,
};

use netlink_packet_route::RouteNetlinkMessage;
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

use crate::kernel::{
    filter,
    netlink::{Datagram, NetlinkError, decode},
};

/// Starts listening in the calling thread's network namespace; from then on nothing is missed.
///
/// # Errors
///
/// If the kernel gives us no socket or no thread.
pub fn spawn(events: mpsc::Sender<Event>) -> Result<(), NetlinkError> {
    let socket = subscribe()?;
    thread::Builder::new().name("pods-gone".to_owned()).spawn(move || run(&socket, &events))?;
    Ok(())
}

fn run(socket: &Socket, events: &mpsc::Sender<Event>) {
    let mut incoming = Vec::with_capacity(DATAGRAM);
    while !events.is_closed() {
        incoming.clear();
        match socket.recv(&mut incoming, 0) {
            Ok(_) => {
                for event in Datagram(&incoming).filter_map(|message| decode(&message).ok()) {
                    if let RouteNetlinkMessage::DelLink(link) = event
                        && events.blocking_send(Event::LinkGone(link.header.index)).is_err()
                    {
                        return;
                    }
                }
            }
            Err(error) if error.raw_os_error() == Some(Errno::ENOBUFS as i32) => {
                tracing::warn!(
                    "notifications of interfaces were lost; looking at all of them again"
                );
                if events.blocking_send(Event::Doubt).is_err() {
                    return;
                }
            }
            Err(error) => match error.kind() {
                io::ErrorKind::Interrupted
                | io::ErrorKind::WouldBlock
                | io::ErrorKind::TimedOut => {}
                _ => {
                    return tracing::error!(
                        %error, "it is not noticed any more when pods' namespaces go; restart routed"
                    );
                }
            },
        }
    }
}

fn subscribe() -> Result<Socket, NetlinkError> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    // SAFETY: the descriptor is open and stays so for the length of this borrow, since `socket`
    // owns it and outlives it.
    let fd = unsafe { BorrowedFd::borrow_raw(socket.as_raw_fd()) };
    // Refused to an ordinary user in a user namespace; then more is lost, and noticed.
    let _ = setsockopt(&fd, sockopt::RcvBufForce, &RECEIVE_BUFFER);
    setsockopt(&fd, sockopt::ReceiveTimeout, &TimeVal::seconds(1)).map_err(io::Error::from)?;
    SockRef::from(&fd).attach_filter(&filter::only_gone_links())?;
    socket.bind(&SocketAddr::new(0, 0))?;
    socket.add_membership(libc::RTNLGRP_LINK)?;
    Ok(socket)
}

/// Octets asked for as receive buffer: some thousand deletions at once.
const RECEIVE_BUFFER: usize = 4 << 20;
/// Octets of one datagram; a notification is about a thousand.
const DATAGRAM: usize = 16 << 10;
