//! UDP sockets as BFD needs them (RFC 5881 §4, §5; RFC 5883 §5).
//!
//! In: datagrams with their source and hop limit. Out: datagrams with hop limit 255 from a port
//! of the range that RFC 5881 wants.

use std::{
    io::{self, IoSliceMut},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::AsRawFd,
};

use super::Path;
use nix::{
    cmsg_space,
    sys::socket::{
        ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt::Ipv4RecvTtl,
    },
};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::{io::Interest, net::UdpSocket};

/// A datagram.
#[derive(Clone, Copy, Debug)]
pub(super) struct Datagram {
    pub(super) source: SocketAddr,
    pub(super) ttl: u8,
    pub(super) len: usize,
}

/// Opens a socket that hears everybody who sends to this port.
///
/// # Errors
///
/// The kernel's, such as the port being in use by another BFD daemon.
pub(super) fn listen(ipv6: bool, port: u16) -> io::Result<UdpSocket> {
    let domain = if ipv6 { Domain::IPV6 } else { Domain::IPV4 };
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    let address: SocketAddr = if ipv6 {
        socket.set_only_v6(true)?;
        socket.set_recv_hoplimit_v6(true)?;
        (Ipv6Addr::UNSPECIFIED, port).into()
    } else {
        setsockopt(&socket, Ipv4RecvTtl, &true)?;
        (Ipv4Addr::UNSPECIFIED, port).into()
    };
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}

/// Takes one datagram of a socket that the event loop has called readable; if there is none, the loop
/// waits for the next one.
///
/// # Errors
///
/// As [`receive`].
pub(super) fn receive_readable(
    socket: &UdpSocket,
    octets: &mut [u8],
) -> io::Result<Option<Datagram>> {
    socket.try_io(Interest::READABLE, || receive(socket, octets))
}

/// Takes one datagram, if there is one, even if the event loop does not know of it yet.
///
/// # Errors
///
/// The kernel's; [`io::ErrorKind::WouldBlock`] if there is none.
pub(super) fn receive(socket: &UdpSocket, octets: &mut [u8]) -> io::Result<Option<Datagram>> {
    let mut control = cmsg_space!(libc::c_int);
    let mut slices = [IoSliceMut::new(octets)];
    let message = recvmsg::<SockaddrStorage>(
        socket.as_raw_fd(),
        &mut slices,
        Some(&mut control),
        MsgFlags::MSG_DONTWAIT,
    )?;
    let ttl = message.cmsgs()?.find_map(|control| match control {
        ControlMessageOwned::Ipv6HopLimit(hops) | ControlMessageOwned::Ipv4Ttl(hops) => {
            u8::try_from(hops).ok()
        }
        _ => None,
    });
    let source = message.address.as_ref().and_then(address);
    let len = message.bytes;
    Ok(source.zip(ttl).map(|(source, ttl)| Datagram { source, ttl, len }))
}

fn address(storage: &SockaddrStorage) -> Option<SocketAddr> {
    let four = storage.as_sockaddr_in().map(|four| SocketAddr::V4((*four).into()));
    four.or_else(|| storage.as_sockaddr_in6().map(|six| SocketAddr::V6((*six).into())))
}

/// Opens the socket that a session sends from. Each has its own port, as RFC 5881 §4 advises.
///
/// # Errors
///
/// The kernel's, such as there being no route to the peer.
pub(super) fn sender(
    path: &Path,
    to: SocketAddr,
    first_port: u16,
) -> io::Result<std::net::UdpSocket> {
    let socket = Socket::new(Domain::for_address(to), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    if to.is_ipv6() {
        socket.set_only_v6(true)?;
        socket.set_unicast_hops_v6(255)?;
        socket.set_tclass_v6(INTERNETWORK_CONTROL)?;
    } else {
        socket.set_ttl_v4(255)?;
        socket.set_tos_v4(INTERNETWORK_CONTROL)?;
    }
    if let Some(device) = &path.device {
        socket.bind_device(Some(device.as_bytes()))?;
    }
    let unspecified: IpAddr =
        if to.is_ipv6() { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
    bind(&socket, path.local.unwrap_or(unspecified), first_port)?;
    socket.connect(&to.into())?;
    // Nobody sends there; what comes all the same is not to fill a buffer.
    SockRef::from(&socket).set_recv_buffer_size(0)?;
    Ok(socket.into())
}

/// Takes the first free port of the range from this one on.
fn bind(socket: &Socket, local: IpAddr, first: u16) -> io::Result<()> {
    let mut port = first.max(FIRST_PORT);
    for _ in 0..PORTS_TRIED {
        match socket.bind(&SocketAddr::new(local, port).into()) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                port = port.checked_add(1).unwrap_or(FIRST_PORT);
            }
            outcome => return outcome,
        }
    }
    Err(io::ErrorKind::AddrInUse.into())
}

/// RFC 5881 §4: 49152–65535.
pub(super) const FIRST_PORT: u16 = 49_152;
const PORTS_TRIED: u16 = 1_024;
/// Class selector 6, as BGP's own packets have it.
const INTERNETWORK_CONTROL: u32 = 0xc0;

#[cfg(test)]
mod tests {
    use super::*;

    /// As when the thread comes late to a deadline: the loop has not looked at the socket since.
    #[tokio::test]
    async fn a_datagram_that_the_event_loop_has_not_seen_is_taken() {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP)).unwrap();
        socket.set_nonblocking(true).unwrap();
        setsockopt(&socket, Ipv4RecvTtl, &true).unwrap();
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
        let ear = UdpSocket::from_std(socket.into()).unwrap();
        let mut octets = [0; 8];
        let none = receive_readable(&ear, &mut octets).unwrap_err();
        assert_eq!(none.kind(), io::ErrorKind::WouldBlock);

        let peer = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        peer.send_to(b"alive", ear.local_addr().unwrap()).unwrap();

        let unseen = receive_readable(&ear, &mut octets).unwrap_err();
        assert_eq!(unseen.kind(), io::ErrorKind::WouldBlock);
        let datagram = receive(&ear, &mut octets).unwrap().unwrap();
        assert_eq!((datagram.source, datagram.len), (peer.local_addr().unwrap(), 5));
    }
}
