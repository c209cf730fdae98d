//! A raw ICMPv6 socket on one interface, for router solicitations and advertisements only.
//!
//! In: packets with their hop limit. Out: packets with hop limit 255, to all nodes or routers of the
//! link or to one of them. The kernel computes and verifies checksums. Needs CAP_NET_RAW.

use std::{
    io::{self, IoSlice, IoSliceMut},
    net::{Ipv6Addr, SocketAddrV6},
    num::NonZeroU32,
    os::fd::AsRawFd,
};

use libc::c_int;
use nix::{
    cmsg_space,
    sys::socket::{ControlMessageOwned, MsgFlags, SockaddrIn6, recvmsg, sendmsg},
};
use routed_core::ra::{ALL_ROUTERS, HOP_LIMIT, Packet};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{Interest, unix::AsyncFd};

use crate::peering::socket::{SocketError, set_option};

/// See the module.
#[derive(Debug)]
pub(super) struct LinkSocket {
    socket: AsyncFd<Socket>,
    index: NonZeroU32,
}

/// What listening came to.
#[derive(Debug)]
pub(super) enum Heard {
    /// A packet.
    Packet(OwnedPacket),
    /// None after all.
    Nothing,
    /// The socket is of no more use.
    Failed(io::Error),
}

/// [`Packet`] with its octets.
#[derive(Debug)]
pub(super) struct OwnedPacket {
    pub(super) source: Ipv6Addr,
    hop_limit: u8,
    octets: Vec<u8>,
}

impl OwnedPacket {
    pub(super) fn as_packet(&self) -> Packet<'_> {
        Packet { source: self.source, hop_limit: self.hop_limit, octets: &self.octets }
    }
}

impl LinkSocket {
    /// Opens one on the interface with this index.
    ///
    /// # Errors
    ///
    /// [`SocketError::Link`].
    pub(super) fn open(index: NonZeroU32) -> Result<Self, SocketError> {
        let failed = |source| SocketError::Link { source };
        let socket =
            Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6)).map_err(failed)?;
        prepare(&socket, index).map_err(failed)?;
        // What came in before it was bound to the interface may be from anywhere.
        let mut octets = [0; LONGEST];
        while nix::sys::socket::recv(socket.as_raw_fd(), &mut octets, MsgFlags::MSG_DONTWAIT)
            .is_ok()
        {}
        // SAFETY: the descriptor is open and stays the same one, since `Socket` owns it and is
        // owned by the `AsyncFd` until that is dropped.
        let socket = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) }
            .map_err(|error| failed(error.into()))?;
        Ok(Self { socket, index })
    }

    pub(super) const fn index(&self) -> NonZeroU32 {
        self.index
    }

    /// Waits for a packet. May be dropped at any point without losing one.
    pub(super) async fn hear(&self) -> Heard {
        let mut ready = match self.socket.readable().await {
            Ok(ready) => ready,
            Err(error) => return Heard::Failed(error),
        };
        match ready.try_io(|socket| receive(socket.get_ref())) {
            Ok(Ok(Some(packet))) => Heard::Packet(packet),
            Ok(Err(error)) => Heard::Failed(error),
            Ok(Ok(None)) | Err(_) => Heard::Nothing,
        }
    }

    /// Sends a message; the kernel chooses a link-local address of ours as its source, since no other
    /// goes to these destinations.
    ///
    /// # Errors
    ///
    /// The kernel's, such as the interface being gone, or its buffer full.
    pub(super) fn send(&self, octets: &[u8], to: Ipv6Addr) -> io::Result<()> {
        let to = SockaddrIn6::from(SocketAddrV6::new(to, 0, 0, self.index.get()));
        let fd = self.socket.get_ref().as_raw_fd();
        sendmsg(fd, &[IoSlice::new(octets)], &[], MsgFlags::MSG_DONTWAIT, Some(&to))?;
        Ok(())
    }
}

fn prepare(socket: &Socket, index: NonZeroU32) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    let interface = c_int::try_from(index.get()).map_err(io::Error::other)?;
    set_option(socket, libc::SOL_SOCKET, SO_BINDTOIFINDEX, &interface)?;
    set_option(socket, libc::IPPROTO_ICMPV6, ICMP6_FILTER, &ONLY_ROUTER_DISCOVERY)?;
    socket.set_recv_hoplimit_v6(true)?;
    socket.set_unicast_hops_v6(HOP_LIMIT.into())?;
    socket.set_multicast_hops_v6(HOP_LIMIT.into())?;
    socket.set_multicast_if_v6(index.get())?;
    socket.set_multicast_loop_v6(false)?;
    socket.join_multicast_v6(&ALL_ROUTERS, index.get())
}

/// One packet, unless it lacks what every packet has.
fn receive(socket: &Socket) -> io::Result<Option<OwnedPacket>> {
    let mut octets = vec![0; LONGEST];
    let mut control = cmsg_space!(c_int);
    let (len, source, hop_limit) = {
        let mut slices = [IoSliceMut::new(&mut octets)];
        let fd = socket.as_raw_fd();
        let message =
            recvmsg::<SockaddrIn6>(fd, &mut slices, Some(&mut control), MsgFlags::MSG_DONTWAIT)?;
        let hop_limit = message.cmsgs()?.find_map(|control| match control {
            ControlMessageOwned::Ipv6HopLimit(hops) => u8::try_from(hops).ok(),
            _ => None,
        });
        (message.bytes, message.address.map(|source| source.ip()), hop_limit)
    };
    octets.truncate(len);
    let packet = |(source, hop_limit)| OwnedPacket { source, hop_limit, octets };
    Ok(source.zip(hop_limit).map(packet))
}

/// Octets kept of a packet: more than any has that fits a usual link, and one that is cut short is
/// dropped for its options.
const LONGEST: usize = 2048;

/// linux/asm-generic/socket.h; the libc crate has it for Android only.
const SO_BINDTOIFINDEX: c_int = 62;
/// `ICMPV6_FILTER` of linux/icmpv6.h.
const ICMP6_FILTER: c_int = 1;
/// `struct icmp6_filter`: one bit for each type, set if it is kept out (RFC 3542 §3.2).
const ONLY_ROUTER_DISCOVERY: [u32; 8] = {
    let mut blocked = [u32::MAX; 8];
    // Router Solicitation and Router Advertisement.
    blocked[133 / 32] &= !(1 << (133 % 32));
    blocked[134 / 32] &= !(1 << (134 % 32));
    blocked
};
