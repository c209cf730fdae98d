//! The watch: an OS thread that reports changes of interfaces, addresses, routes and next-hop objects.
//!
//! In: the kernel's notifications. Out: [`Links`], always current, for whoever wants to know about
//! interfaces; and on request every change as an event of the machine that decides about routes
//! ([`routed_core::fib::Fib`]). Changes made by our own route writer are left out, in the kernel
//! already, so that writing many routes does not flood this socket; and so is most of what happens to
//! pods' interfaces while they are being made or removed.
//!
//! Subscribes before it takes its first full picture, so that nothing falls in between. When the
//! kernel had to drop notifications, it takes a new picture and says so. Ends when nobody listens.

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
    thread,
};

use netlink_packet_core::{NLM_F_APPEND, NLM_F_REPLACE, NetlinkBuffer};
use netlink_packet_route::{RouteNetlinkMessage, address::AddressMessage, link::LinkMessage};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::{
    errno::Errno,
    sys::{
        socket::{setsockopt, sockopt},
        time::{TimeVal, TimeValLike},
    },
};
use routed_core::fib::{Event, RouteChange};
use socket2::SockRef;
use tokio::sync::{mpsc, watch};

use super::{
    filter,
    netlink::{Datagram, Netlink, NetlinkError, decode},
    routes::{StartError, message, next_hop},
};

mod link;

pub use routed_core::fib::links::Links;

/// Where changes of routes go.
#[derive(Debug)]
pub struct RouteSink {
    /// Changes in the order in which the kernel made them, with those of interfaces between them.
    pub events: mpsc::Sender<Vec<Event>>,
    /// Netlink port whose changes are nothing new.
    pub ignore_port: u32,
}

/// Starts a watch of the calling thread's network namespace, and of its routes if there is a sink
/// for them.
///
/// # Errors
///
/// [`StartError`] if the kernel gives us no socket or no thread, or does not list its interfaces.
pub fn start(routes: Option<RouteSink>) -> Result<watch::Receiver<Links>, StartError> {
    let socket = subscribe(routes.as_ref().map(|sink| sink.ignore_port))?;
    let mut netlink = Netlink::open()?;
    let picture = picture(&mut netlink)?;
    let (links, receiver) = watch::channel(picture);
    let sink = routes.map(|sink| sink.events);
    let thread = thread::Builder::new().name("watch".to_owned()).spawn(move || {
        Watch { socket, netlink, links, sink, incoming: Vec::with_capacity(DATAGRAM) }.run();
    });
    thread.map_err(StartError::Thread)?;
    Ok(receiver)
}

struct Watch {
    socket: Socket,
    /// For full pictures.
    netlink: Netlink,
    links: watch::Sender<Links>,
    sink: Option<mpsc::Sender<Vec<Event>>>,
    incoming: Vec<u8>,
}

/// What the socket had to say.
enum Heard {
    Changes,
    /// Nothing for a while, or nothing more at the moment.
    Nothing,
    /// The kernel dropped some.
    Overrun,
}

impl Watch {
    fn run(mut self) {
        let first = Event::Links(self.links.borrow().clone());
        self.report(vec![first]);
        while !self.is_unheard() {
            let mut events = Vec::new();
            match self.hear(0) {
                Ok(Heard::Nothing) => {}
                Ok(Heard::Changes) => self.collect(&mut events),
                Ok(Heard::Overrun) => events = self.start_over(),
                Err(error) => {
                    tracing::error!(%error, "kernel notifications cannot be read; restart routed");
                    return;
                }
            }
            self.report(events);
        }
    }

    fn is_unheard(&self) -> bool {
        self.links.is_closed() && self.sink.as_ref().is_none_or(mpsc::Sender::is_closed)
    }

    /// Reads one datagram into `incoming`.
    fn hear(&mut self, flags: i32) -> io::Result<Heard> {
        self.incoming.clear();
        match self.socket.recv(&mut self.incoming, flags) {
            Ok(_) => Ok(Heard::Changes),
            Err(error) => match error.kind() {
                io::ErrorKind::Interrupted
                | io::ErrorKind::WouldBlock
                | io::ErrorKind::TimedOut => Ok(Heard::Nothing),
                _ if error.raw_os_error() == Some(Errno::ENOBUFS as i32) => Ok(Heard::Overrun),
                _ => Err(error),
            },
        }
    }

    /// Takes in what has been read, and what else is there already.
    fn collect(&mut self, events: &mut Vec<Event>) {
        for _ in 0..DATAGRAMS {
            for message in Datagram(&self.incoming) {
                events.extend(event(&message));
            }
            match self.hear(libc::MSG_DONTWAIT) {
                Ok(Heard::Changes) => {}
                Ok(Heard::Overrun) => {
                    *events = self.start_over();
                    return;
                }
                // An error shows again at the next, waiting read.
                Ok(Heard::Nothing) | Err(_) => return,
            }
        }
        // The last datagram read.
        for message in Datagram(&self.incoming) {
            events.extend(event(&message));
        }
    }

    /// Notifications are missing: drops those that are left, which are older than a new picture.
    fn start_over(&mut self) -> Vec<Event> {
        tracing::warn!("kernel notifications were lost; reading interfaces and routes again");
        while let Ok(Heard::Changes | Heard::Overrun) = self.hear(libc::MSG_DONTWAIT) {}
        loop {
            match picture(&mut self.netlink) {
                Ok(picture) => {
                    self.links.send_replace(picture.clone());
                    return vec![Event::Links(picture), Event::Overrun];
                }
                Err(error) => {
                    tracing::error!(%error, "the kernel's interfaces cannot be read; trying again");
                    thread::sleep(PAUSE);
                }
            }
            if self.is_unheard() {
                return Vec::new();
            }
        }
    }

    /// Tells everybody. Waits for the sink if it has no room: the kernel's buffer is larger, and if
    /// even that overflows we start over.
    fn report(&mut self, events: Vec<Event>) {
        if events.is_empty() {
            return;
        }
        self.links.send_if_modified(|links| {
            let mut modified = false;
            for event in &events {
                if let Event::Link(event) = event {
                    modified |= links.apply(event.clone());
                }
            }
            modified
        });
        if let Some(sink) = &self.sink
            && sink.blocking_send(events).is_err()
        {
            self.sink = None;
        }
    }
}

/// A socket that hears of interfaces and addresses, and of routes unless they were changed through
/// the netlink port `ignored`.
fn subscribe(ignored: Option<u32>) -> Result<Socket, NetlinkError> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    // SAFETY: the descriptor is open and stays so for the length of this borrow, since `socket`
    // owns it and outlives it.
    let fd = unsafe { BorrowedFd::borrow_raw(socket.as_raw_fd()) };
    // Refused to an ordinary user in a user namespace, who has fewer routes as well.
    let _ = setsockopt(&fd, sockopt::RcvBufForce, &RECEIVE_BUFFER);
    setsockopt(&fd, sockopt::ReceiveTimeout, &TimeVal::seconds(1)).map_err(io::Error::from)?;
    let filter = match ignored {
        Some(port) => filter::both(filter::all_but(port), filter::few_of_pods()),
        None => filter::few_of_pods(),
    };
    SockRef::from(&fd).attach_filter(&filter)?;
    socket.bind(&SocketAddr::new(0, 0))?;
    let routes = [libc::RTNLGRP_IPV4_ROUTE, libc::RTNLGRP_IPV6_ROUTE];
    let routes = if ignored.is_some() { &routes[..] } else { &[] };
    let links = [libc::RTNLGRP_LINK, libc::RTNLGRP_IPV4_IFADDR, libc::RTNLGRP_IPV6_IFADDR];
    for group in links.iter().chain(routes) {
        socket.add_membership(*group)?;
    }
    if ignored.is_some() {
        // A kernel without next-hop objects has no such group either.
        let _ = socket.add_membership(libc::RTNLGRP_NEXTHOP);
    }
    Ok(socket)
}

/// Every interface with its addresses.
fn picture(netlink: &mut Netlink) -> Result<Links, NetlinkError> {
    let mut objects = netlink.dump(&RouteNetlinkMessage::GetLink(LinkMessage::default()))?;
    objects.extend(netlink.dump(&RouteNetlinkMessage::GetAddress(AddressMessage::default()))?);
    Ok(objects.iter().filter_map(link::event).collect())
}

/// What a notification reports, if it is any of our business.
fn event(message: &NetlinkBuffer<&[u8]>) -> Option<Event> {
    if let Some(event) = next_hop::event(message) {
        return Some(event);
    }
    let object = match decode(message) {
        Ok(object) => object,
        Err(error) => {
            tracing::warn!(%error, "kernel notification left out");
            return None;
        }
    };
    match &object {
        RouteNetlinkMessage::NewRoute(route) => {
            let change = match message.flags() {
                flags if flags & NLM_F_REPLACE != 0 => RouteChange::Replaced,
                flags if flags & NLM_F_APPEND != 0 => RouteChange::Appended,
                _ => RouteChange::Created,
            };
            Some(Event::Route(change, message::route(route)?))
        }
        RouteNetlinkMessage::DelRoute(route) => {
            Some(Event::Route(RouteChange::Gone, message::route(route)?))
        }
        _ => link::event(&object).map(Event::Link),
    }
}

/// Octets asked for as receive buffer: some 20,000 changes by others at once.
const RECEIVE_BUFFER: usize = 16 << 20;
/// Octets of one datagram; a notification is a few hundred, with 64 next hops a few thousand.
const DATAGRAM: usize = 64 << 10;
/// Datagrams reported together.
const DATAGRAMS: usize = 256;
/// Between two attempts to read the interfaces.
const PAUSE: std::time::Duration = std::time::Duration::from_secs(1);
