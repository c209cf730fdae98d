//! Waiting for what the kernel does in work of its own.
//!
//! In: the steps to wait for. Out: that they are done, or which was not in time. It asks again and
//! again, since there is nothing to subscribe to before the namespace exists for us; the work is
//! done in well under a millisecond unless the kernel's main lock is busy.

use std::{
    net::IpAddr,
    thread,
    time::{Duration, Instant},
};

use netlink_packet_core::{NlaBuffer, NlasIterator};
use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{LinkAttribute, LinkExtentMask, LinkMessage},
    route::{RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteType},
};
use routed_core::pod::step::Step;

use super::request::{family, full_length};
use crate::kernel::netlink::{Netlink, NetlinkError};

/// Waits for all of them; `Err` with the first that is not in time.
pub(super) fn wait<'a>(
    inside: &mut Netlink,
    steps: &'a [Step],
) -> Result<Result<(), &'a Step>, NetlinkError> {
    let deadline = Instant::now() + LONGEST;
    for step in steps {
        let mut pause = FIRST_PAUSE;
        while !done(inside, step)? {
            if Instant::now() >= deadline {
                return Ok(Err(step));
            }
            thread::sleep(pause);
            pause = (pause * 2).min(LAST_PAUSE);
        }
    }
    Ok(Ok(()))
}

fn done(inside: &mut Netlink, step: &Step) -> Result<bool, NetlinkError> {
    match step {
        Step::AwaitCarrier { index } => sends(inside, *index),
        Step::AwaitAddress { address } => receives(inside, *address),
        Step::CreatePair { .. }
        | Step::Label { .. }
        | Step::Neighbour { .. }
        | Step::HostRoute { .. }
        | Step::Permit { .. }
        | Step::Forbid { .. }
        | Step::LoopbackUp
        | Step::LinkUp { .. }
        | Step::Address { .. }
        | Step::GatewayRoute { .. }
        | Step::Route { .. }
        | Step::DefaultRoute { .. }
        | Step::RemoveHostRoute { .. }
        | Step::Adjust { .. }
        | Step::MoveHostRoute { .. }
        | Step::Set { .. }
        | Step::Doom { .. } => Ok(true),
    }
}

/// Has the interface the queueing discipline that it gets with its carrier? Until then it is one
/// that drops. Kernels from 6.8 on do the work when they are asked; others need a moment.
fn sends(netlink: &mut Netlink, index: u32) -> Result<bool, NetlinkError> {
    let mut message = LinkMessage::default();
    message.header.index = index;
    // Half of the answer is statistics, and what is left is read for one attribute only: a pod waits.
    message.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    let message = RouteNetlinkMessage::GetLink(message).into();
    let drops = netlink.get_with(&message, |link| {
        let attributes = NlasIterator::new(link.payload().get(LINK_HEADER..)?).flatten();
        let qdisc = |attribute: &NlaBuffer<&[u8]>| attribute.kind() == IFLA_QDISC;
        Some({ attributes }.find(qdisc).is_some_and(|qdisc| qdisc.value() == b"noop\0"))
    })?;
    Ok(drops == Some(false))
}

/// Is there a local route to the address?
fn receives(netlink: &mut Netlink, address: IpAddr) -> Result<bool, NetlinkError> {
    let mut message = RouteMessage::default();
    message.header.address_family = family(address);
    message.header.destination_prefix_length = full_length(address);
    message.header.flags = RouteFlags::FibMatch;
    message.attributes.push(RouteAttribute::Destination(RouteAddress::from(address)));
    Ok(match netlink.get(&RouteNetlinkMessage::GetRoute(message))? {
        Some(RouteNetlinkMessage::NewRoute(route)) => route.header.kind == RouteType::Local,
        Some(_) | None => false,
    })
}

/// If the kernel has not done it by now, its main lock is stuck.
const LONGEST: Duration = Duration::from_secs(5);
/// About what the work takes on an idle machine.
const FIRST_PAUSE: Duration = Duration::from_micros(20);
/// So that a busy machine is not asked all the time.
const LAST_PAUSE: Duration = Duration::from_millis(1);
/// Octets of an `ifinfomsg`.
const LINK_HEADER: usize = 16;
/// Name of the queueing discipline, with a NUL behind it.
const IFLA_QDISC: u16 = 6;
