//! Looking at pods, and removing them, without a daemon: for `routed pod`, `ipam check` and `cleanup`.
//!
//! In: the calling thread's namespace, which is the host's. Out: what is there.

use std::{io, net::IpAddr, os::fd::BorrowedFd};

use netlink_packet_route::route::RouteAddress;
use routed_core::pod::{
    check::{LinkSeen, Picture},
    wiring::Wiring,
};

use super::{
    guard::Guard,
    look::{self, Neighbours},
    request, seen,
};
use crate::kernel::{
    netlink::{Netlink, NetlinkError, Request},
    netns::Traveller,
};

/// Every interface of the calling thread's namespace, for tools that look without a daemon.
///
/// # Errors
///
/// If they cannot be listed.
pub fn interfaces() -> Result<Vec<LinkSeen>, NetlinkError> {
    look::links(&mut Netlink::open()?)
}

/// What the pods' interfaces have carried, seen from the side they are on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets.
    pub received: u64,
    /// Octets.
    pub received_octets: u64,
    /// Packets.
    pub sent: u64,
    /// Octets.
    pub sent_octets: u64,
    /// Packets, both ways.
    pub errors: u64,
    /// Packets, both ways.
    pub dropped: u64,
}

/// A pod as it can be seen without a daemon.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// What CHECK would look at.
    pub picture: Picture,
    /// Of the host's end.
    pub host: Option<Counters>,
    /// Of the pod's end.
    pub inside: Option<Counters>,
}

/// Looks at a pod from the calling thread's namespace, the host's, and from its own if that is known.
///
/// # Errors
///
/// If the kernel cannot be read.
pub fn view(
    traveller: &Traveller,
    netns: Option<BorrowedFd<'_>>,
    wiring: &Wiring,
) -> Result<View, NetlinkError> {
    let mut host = Netlink::open()?;
    let mut inside = match netns {
        Some(netns) => Some(traveller.within(netns, Netlink::open).map_err(io::Error::from)??),
        None => None,
    };
    let mut guard = Guard::open().map_err(io::Error::other)?;
    let picture = look::look(&mut host, inside.as_mut(), wiring, Neighbours::All)?;
    let permitted = guard.seen(wiring.host.index, wiring.lease).map_err(io::Error::other)?;
    Ok(View {
        picture: Picture { permitted, ..picture },
        host: look::counters(&mut host, wiring.host.index)?,
        inside: match &mut inside {
            Some(inside) => look::counters(inside, wiring.inside.index)?,
            None => None,
        },
    })
}

/// Requests that delete these interfaces of ours, all at once.
#[must_use]
pub fn sweeping(links: &[String]) -> Vec<Request> {
    let dooming = links.iter().map(|name| request::doom(name));
    dooming.chain([request::sweep()]).collect()
}

/// The address of a route's destination or gateway.
#[must_use]
pub const fn address(address: &RouteAddress) -> Option<IpAddr> {
    seen::ip(address)
}
