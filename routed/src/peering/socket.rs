//! TCP sockets as BGP needs them: source address, interface, hop limits, signatures, priority.
//!
//! In: addresses and the peer's [`Ttl`] and key. Out: sockets with every option set before the
//! first octet flows, or an error that names the option and what to do about it.
//!
//! Decides nothing about sessions and keeps no state.

use std::{
    io,
    mem::size_of,
    net::{IpAddr, SocketAddr},
    num::NonZeroU8,
    os::fd::{AsFd, AsRawFd},
    sync::Arc,
    time::Duration,
};

use bgp::{config::Ttl, prefix::Prefix};
use libc::c_int;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::config::Password;

mod device;
mod error;
mod signature;

pub use error::{Setting, SocketError};
pub(crate) use signature::change_key;
use signature::set_key;

/// How to reach a peer.
#[derive(Clone, Debug)]
pub(crate) struct Dial {
    /// The peer.
    pub(crate) peer: SocketAddr,
    /// Source address, if not left to the kernel.
    pub(crate) local: Option<IpAddr>,
    /// How far away the peer may be.
    pub(crate) ttl: Ttl,
    /// The interface to use, if not left to the kernel.
    pub(crate) device: Option<Arc<str>>,
    /// Key of its signatures.
    pub(crate) key: Option<Password>,
    /// How long to wait for an answer. The kernel alone would wait for two minutes.
    pub(crate) patience: Duration,
}

impl Dial {
    /// Opens a connection. Dropping the future gives the attempt up.
    ///
    /// # Errors
    ///
    /// [`SocketError`] if the socket cannot be made as asked for, the peer refuses or cannot be
    /// reached, or does not answer in time.
    pub(crate) async fn connect(self) -> Result<TcpStream, SocketError> {
        let socket = self.socket()?;
        let connecting = TcpSocket::from_std_stream(socket.into()).connect(self.peer);
        match tokio::time::timeout(self.patience, connecting).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(source)) => Err(SocketError::Connect { peer: self.peer, source }),
            Err(_) => Err(SocketError::NoAnswer { peer: self.peer, after: self.patience }),
        }
    }

    fn socket(&self) -> Result<Socket, SocketError> {
        let socket = open(self.peer)?;
        set_hops(&socket, self.peer.ip(), self.ttl)?;
        set_priority(&socket, self.peer.ip())?;
        socket.set_tcp_nodelay(true).map_err(Setting::NoDelay.failed())?;
        if let Some(key) = &self.key {
            set_key(&socket, Prefix::host(self.peer.ip()), key)?;
        }
        if let Some(device) = &self.device {
            device::bind(&socket, device)?;
        }
        if let Some(local) = self.local {
            let address = SocketAddr::new(local, 0);
            socket
                .bind(&address.into())
                .map_err(|source| SocketError::BindSource { address: local, source })?;
        }
        Ok(socket)
    }
}

/// Opens a listening socket that takes signed connections from the peers with a key.
///
/// It answers with the highest hop limit, because a peer that checks it (RFC 5082) must accept
/// our side of the handshake; [`prepare_accepted`] then sets what the peer at hand asks for. It
/// may be bound to an address that no interface has yet.
///
/// # Errors
///
/// [`SocketError`] if the address is taken or an option cannot be set.
pub(crate) fn listen<'a>(
    address: SocketAddr,
    keys: impl Iterator<Item = (Prefix, &'a Password)>,
) -> Result<TcpListener, SocketError> {
    let socket = open(address)?;
    socket.set_reuse_address(true).map_err(Setting::ReuseAddress.failed())?;
    if address.is_ipv6() {
        socket.set_only_v6(true).map_err(Setting::OnlyV6.failed())?;
        socket.set_freebind_v6(true).map_err(Setting::FreeBind.failed())?;
    } else {
        socket.set_freebind_v4(true).map_err(Setting::FreeBind.failed())?;
    }
    set_hops(&socket, address.ip(), Ttl::Any)?;
    set_priority(&socket, address.ip())?;
    socket.set_tcp_nodelay(true).map_err(Setting::NoDelay.failed())?;
    set_option(&socket, libc::IPPROTO_TCP, libc::TCP_SAVE_SYN, &1)
        .map_err(Setting::SaveSyn.failed())?;
    device::note_arrivals(&socket, address.is_ipv6())?;
    for (peer, key) in keys.filter(|(peer, _)| peer.addr().is_ipv4() == address.is_ipv4()) {
        set_key(&socket, peer, key)?;
    }
    let failed = |source| SocketError::Listen { address, source };
    socket.bind(&address.into()).map_err(failed)?;
    socket.listen(BACKLOG).map_err(failed)?;
    TcpListener::from_std(socket.into()).map_err(failed)
}

/// Gives a connection that a peer opened the options of that peer.
///
/// # Errors
///
/// [`SocketError::TooFar`] if the peer must be within some hops (RFC 5082) and its SYN came from
/// farther away or cannot be looked at; [`SocketError::OtherDevice`] if it came by another interface
/// than it must; [`SocketError::Option`] if an option cannot be set.
pub(crate) fn prepare_accepted(
    stream: &TcpStream,
    peer: IpAddr,
    ttl: Ttl,
    device: Option<&str>,
) -> Result<(), SocketError> {
    if let Some(device) = device {
        device::bind_accepted(stream, peer, device)?;
    }
    if let Ttl::Security(hops) = ttl {
        // Octets may have arrived before the minimum is set below. The SYN tells whether they
        // came from near enough: who is farther away cannot have made one that looks near.
        let least = least_ttl(hops);
        match syn_ttl(stream, peer) {
            Some(got) if got >= least => (),
            got => return Err(SocketError::TooFar { peer, got, least }),
        }
    }
    let socket = SockRef::from(stream);
    set_hops(&socket, peer, ttl)?;
    set_priority(&socket, peer)?;
    socket.set_tcp_nodelay(true).map_err(Setting::NoDelay.failed())
}

fn open(address: SocketAddr) -> Result<Socket, SocketError> {
    let failed = |source| SocketError::Open { source };
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))
        .map_err(failed)?;
    socket.set_nonblocking(true).map_err(failed)?;
    Ok(socket)
}

/// Sets the hop limit of what we send and, for GTSM, the least one of what we take.
fn set_hops(socket: &Socket, peer: IpAddr, ttl: Ttl) -> Result<(), SocketError> {
    let (sent, least) = match ttl {
        Ttl::OnLink => (1, None),
        Ttl::Multihop(hops) => (hops.get(), None),
        Ttl::Security(hops) => (u8::MAX, Some(least_ttl(hops))),
        Ttl::Any => (u8::MAX, None),
    };
    match peer {
        IpAddr::V4(_) => socket.set_ttl_v4(sent.into()),
        IpAddr::V6(_) => socket.set_unicast_hops_v6(sent.into()),
    }
    .map_err(Setting::HopLimit.failed())?;
    if let Some(least) = least {
        let (level, option) = match peer {
            IpAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_MINTTL),
            IpAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_MINHOPCOUNT),
        };
        set_option(socket, level, option, &c_int::from(least))
            .map_err(Setting::LeastHopLimit.failed())?;
    }
    Ok(())
}

/// Hop limit that a packet sent with 255 still has after passing `hops` − 1 routers (RFC 5082).
const fn least_ttl(hops: NonZeroU8) -> u8 {
    u8::MAX - (hops.get() - 1)
}

/// The hop limit that the peer's SYN arrived with.
fn syn_ttl(stream: &TcpStream, peer: IpAddr) -> Option<u8> {
    let mut header = [0_u8; 256];
    let mut len = libc::socklen_t::try_from(header.len()).expect("256 fits a socklen_t");
    // SAFETY: the pointers are to `header` and `len`, which outlive the call, and `len` is the
    // size of `header`, so the kernel writes within it.
    let result = unsafe {
        libc::getsockopt(
            stream.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_SAVED_SYN,
            header.as_mut_ptr().cast(),
            &raw mut len,
        )
    };
    // Offsets of TTL (RFC 791 §3.1) and Hop Limit (RFC 8200 §3).
    let (least_len, offset) = match peer {
        IpAddr::V4(_) => (20, 8),
        IpAddr::V6(_) => (40, 7),
    };
    (result == 0 && len >= least_len).then(|| header[offset])
}

/// Marks our packets as network control (CS6, RFC 4594 §3.1), so that a full link drops others.
fn set_priority(socket: &Socket, peer: IpAddr) -> Result<(), SocketError> {
    match peer {
        IpAddr::V4(_) => socket.set_tos_v4(CS6),
        IpAddr::V6(_) => socket.set_tclass_v6(CS6),
    }
    .map_err(Setting::Priority.failed())
}

/// Sets an option that neither std nor socket2 has a call for. `T` is the kernel's type of it.
pub(super) fn set_option<T>(
    socket: &impl AsFd,
    level: c_int,
    name: c_int,
    value: &T,
) -> io::Result<()> {
    let len = libc::socklen_t::try_from(size_of::<T>()).expect("options are small");
    // SAFETY: the pointer and the length are those of `value`, which outlives the call; the
    // kernel only reads it.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            level,
            name,
            std::ptr::from_ref(value).cast(),
            len,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Connections that may wait to be accepted: all clients of a large reflector returning at once.
const BACKLOG: c_int = 1024;

/// Class selector 6 in the upper six bits of TOS and Traffic Class (RFC 2474 §4.2.2).
const CS6: u32 = 48 << 2;

#[cfg(test)]
mod tests;
