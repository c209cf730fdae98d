//! Which interface a connection uses: the one that the configuration names, or none.
//!
//! In: a socket and the interface's name. Out: a socket that sends and takes packets by it alone.

use std::{net::IpAddr, os::fd::AsRawFd};

use libc::c_int;
use nix::net::if_::{if_indextoname, if_nametoindex};
use socket2::{SockRef, Socket};
use tokio::net::TcpStream;

use super::{Setting, SocketError, set_option};

/// Binds a socket that has not dialled yet (SO_BINDTODEVICE).
pub(super) fn bind(socket: &Socket, device: &str) -> Result<(), SocketError> {
    let failed = |source| SocketError::Device { device: device.to_owned(), source };
    socket.bind_device(Some(device.as_bytes())).map_err(failed)
}

/// Has a listening socket remember by which interface each connection came.
pub(super) fn note_arrivals(socket: &Socket, ipv6: bool) -> Result<(), SocketError> {
    let (level, option) = if ipv6 {
        (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO)
    } else {
        (libc::IPPROTO_IP, libc::IP_PKTINFO)
    };
    set_option(socket, level, option, &c_int::from(true)).map_err(Setting::PacketInfo.failed())
}

/// Binds a connection that a peer opened, if it came by this interface.
pub(super) fn bind_accepted(
    stream: &TcpStream,
    peer: IpAddr,
    device: &str,
) -> Result<(), SocketError> {
    let got = arrival(stream, peer);
    let wanted = if_nametoindex(device).ok();
    if got.is_none() || got != wanted {
        let name = |index| if_indextoname(index).ok()?.into_string().ok();
        let got = got.and_then(name);
        return Err(SocketError::OtherDevice { peer, got, device: device.to_owned() });
    }
    let failed = |source| SocketError::Device { device: device.to_owned(), source };
    SockRef::from(stream).bind_device(Some(device.as_bytes())).map_err(failed)
}

/// The index of the interface by which a connection came to one of our listening sockets; `None` if
/// the kernel does not tell.
fn arrival(stream: &TcpStream, peer: IpAddr) -> Option<u32> {
    let (level, option, kind, offset) = match peer {
        IpAddr::V4(_) => (libc::IPPROTO_IP, IP_PKTOPTIONS, libc::IP_PKTINFO, 0),
        IpAddr::V6(_) => (libc::IPPROTO_IPV6, IPV6_2292PKTOPTIONS, libc::IPV6_PKTINFO, 16),
    };
    let mut control = [0_u8; 256];
    let mut len = libc::socklen_t::try_from(control.len()).expect("256 fits a socklen_t");
    // SAFETY: the pointers are to `control` and `len`, which outlive the call, and `len` is the size
    // of `control`, so the kernel writes within it.
    let result = unsafe {
        libc::getsockopt(
            stream.as_raw_fd(),
            level,
            option,
            control.as_mut_ptr().cast(),
            &raw mut len,
        )
    };
    let control = control.get(..usize::try_from(len).ok()?).filter(|_| result == 0)?;
    let data = find(control, level, kind)?;
    let index = data.get(offset..offset + 4)?;
    let index = u32::from_ne_bytes(index.try_into().ok()?);
    (index != 0).then_some(index)
}

/// The data of the control message of this level and type (cmsg(3): length, level, type, data).
fn find(mut control: &[u8], level: c_int, kind: c_int) -> Option<&[u8]> {
    const WORD: usize = size_of::<usize>();
    const HEADER: usize = WORD + 8;
    while control.len() >= HEADER {
        let len = usize::from_ne_bytes(control[..WORD].try_into().ok()?);
        let number =
            |at: usize| Some(c_int::from_ne_bytes(control.get(at..at + 4)?.try_into().ok()?));
        let data = control.get(HEADER..len)?;
        if (number(WORD)?, number(WORD + 4)?) == (level, kind) {
            return Some(data);
        }
        control = control.get(len.next_multiple_of(WORD)..)?;
    }
    None
}

/// `IP_PKTOPTIONS` of linux/in.h, which the libc crate lacks: of a TCP socket, what its handshake
/// came with.
const IP_PKTOPTIONS: c_int = 9;
/// `IPV6_2292PKTOPTIONS` of linux/in6.h: the same.
const IPV6_2292PKTOPTIONS: c_int = 6;
