//! A pod's steps as netlink requests.
//!
//! In: one [`Step`]. Out: the [`Request`] that carries it out, if it is one that changes anything,
//! and which refusals of it mean that there was nothing to do. Knows the kernel's attributes; decides nothing.

use std::{
    net::IpAddr,
    os::fd::{AsRawFd, BorrowedFd},
};

use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressHeaderFlags, AddressMessage, AddressScope},
    link::{
        AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoData, InfoKind, InfoVeth, LinkAttribute,
        LinkFlags, LinkInfo, LinkMessage,
    },
    neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState},
    route::{
        RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope,
        RouteType,
    },
};
use nix::errno::Errno;
use routed_core::pod::{
    step::{Adjustment, End, GROUP_DOOMED, GROUP_LIVE, Step},
    wiring::{LinkEnd, Mac, RouteStamp},
};

use crate::kernel::netlink::Request;

/// What the requests depend on besides the step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Context<'a> {
    /// The pod's namespace; `None` if no step leads there.
    pub(super) netns: Option<BorrowedFd<'a>>,
    /// Has the kernel IPv6 at all?
    pub(super) ipv6: bool,
}

/// `None` for steps that only wait, and those that go to nf_tables or /proc/sys.
pub(super) fn request(step: &Step, context: Context<'_>) -> Option<Request> {
    Some(match step {
        Step::AwaitCarrier { .. }
        | Step::AwaitAddress { .. }
        | Step::Permit { .. }
        | Step::Forbid { .. }
        | Step::Set { .. } => return None,
        Step::CreatePair { host, inside, mtu } => pair(host, inside, *mtu, context.netns),
        Step::Label { name, alias } => label(name, alias, context.ipv6),
        Step::Neighbour { on: End::Host(index) | End::Inside(index), address, mac } => {
            Request::replace(RouteNetlinkMessage::NewNeighbour(neighbour(
                *index,
                *address,
                Some(*mac),
            )))
        }
        Step::HostRoute { index, address, stamp } => {
            Request::create(RouteNetlinkMessage::NewRoute(host_route(*index, *address, *stamp)))
        }
        Step::LoopbackUp => {
            let mut message = LinkMessage::default();
            message.attributes.push(LinkAttribute::IfName("lo".to_owned()));
            Request::existing(RouteNetlinkMessage::SetLink(up(message)))
        }
        Step::LinkUp { on: End::Host(index) | End::Inside(index) } => {
            let mut message = LinkMessage::default();
            message.header.index = *index;
            Request::existing(RouteNetlinkMessage::SetLink(up(message)))
        }
        Step::Address { index, address, .. } => {
            Request::replace(RouteNetlinkMessage::NewAddress(self::address(*index, *address)))
        }
        Step::GatewayRoute { index, gateway } => {
            let mut message = route(*index, *gateway, MAIN);
            message.header.scope = RouteScope::Link;
            // A second interface of ours in one pod leads to the same gateway.
            Request::append(RouteNetlinkMessage::NewRoute(message))
        }
        Step::Route { index, destination, gateway } => {
            let mut message = route(*index, destination.addr(), MAIN);
            message.header.destination_prefix_length = destination.len();
            message.attributes.push(RouteAttribute::Gateway(RouteAddress::from(*gateway)));
            Request::create(RouteNetlinkMessage::NewRoute(message))
        }
        Step::DefaultRoute { index, gateway } => {
            let mut message = route(*index, *gateway, MAIN);
            message.header.destination_prefix_length = 0;
            message.attributes = vec![
                RouteAttribute::Gateway(RouteAddress::from(*gateway)),
                RouteAttribute::Oif(*index),
                RouteAttribute::Table(MAIN.table),
            ];
            Request::create(RouteNetlinkMessage::NewRoute(message))
        }
        Step::RemoveHostRoute { index, address, stamp } => {
            Request::existing(RouteNetlinkMessage::DelRoute(host_route(*index, *address, *stamp)))
        }
        Step::Adjust { index, to } => adjust(*index, to),
        Step::MoveHostRoute { index, address, stamp } => {
            Request::replace(RouteNetlinkMessage::NewRoute(host_route(*index, *address, *stamp)))
        }
        Step::Doom { name } => doom(name),
    })
}

/// Does this refusal mean that what was to be removed is not there?
pub(super) fn nothing_to_do(step: &Step, errno: Errno) -> bool {
    match step {
        Step::RemoveHostRoute { .. } => matches!(errno, Errno::ESRCH | Errno::ENODEV),
        Step::Doom { .. } => errno == Errno::ENODEV,
        Step::CreatePair { .. }
        | Step::Label { .. }
        | Step::Neighbour { .. }
        | Step::HostRoute { .. }
        | Step::LoopbackUp
        | Step::LinkUp { .. }
        | Step::Address { .. }
        | Step::GatewayRoute { .. }
        | Step::Route { .. }
        | Step::DefaultRoute { .. }
        | Step::Permit { .. }
        | Step::Forbid { .. }
        | Step::Adjust { .. }
        | Step::MoveHostRoute { .. }
        | Step::Set { .. }
        | Step::AwaitCarrier { .. }
        | Step::AwaitAddress { .. } => false,
    }
}

/// Moves an interface to the doomed group.
pub(super) fn doom(name: &str) -> Request {
    let mut message = LinkMessage::default();
    message.attributes =
        vec![LinkAttribute::IfName(name.to_owned()), LinkAttribute::Group(GROUP_DOOMED)];
    Request::existing(RouteNetlinkMessage::SetLink(message))
}

/// Deletes every interface of the doomed group, and waits for it once.
pub(super) fn sweep() -> Request {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::Group(GROUP_DOOMED));
    Request::existing(RouteNetlinkMessage::DelLink(message))
}

pub(super) const fn family(address: IpAddr) -> AddressFamily {
    match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}

pub(super) const fn full_length(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

fn pair(host: &LinkEnd, inside: &LinkEnd, mtu: u32, netns: Option<BorrowedFd<'_>>) -> Request {
    let end = |end: &LinkEnd| {
        let mut message = LinkMessage::default();
        message.header.index = end.index;
        message.attributes = vec![
            LinkAttribute::IfName(end.name.clone()),
            LinkAttribute::Address(end.mac.0.to_vec()),
            LinkAttribute::Mtu(mtu),
            // The default is one for each CPU, and each costs two kobjects.
            LinkAttribute::NumTxQueues(1),
            LinkAttribute::NumRxQueues(1),
        ];
        message
    };
    let mut peer = end(inside);
    peer.attributes.extend(netns.map(|netns| LinkAttribute::NetNsFd(netns.as_raw_fd())));
    let mut message = end(host);
    message.attributes.push(LinkAttribute::Group(GROUP_LIVE));
    message.attributes.push(LinkAttribute::LinkInfo(vec![
        LinkInfo::Kind(InfoKind::Veth),
        LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
    ]));
    Request::create(RouteNetlinkMessage::NewLink(message))
}

/// The kernel takes neither alias nor address generation mode when it creates an interface.
fn label(name: &str, alias: &str, ipv6: bool) -> Request {
    let mut message = LinkMessage::default();
    message.attributes =
        vec![LinkAttribute::IfName(name.to_owned()), LinkAttribute::IfAlias(alias.to_owned())];
    if ipv6 {
        let mode = AfSpecInet6::AddrGenMode(In6AddrGenMode::None);
        message.attributes.push(LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(vec![mode])]));
    }
    Request::existing(RouteNetlinkMessage::SetLink(message))
}

fn adjust(index: u32, to: &Adjustment) -> Request {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.attributes = vec![match to {
        Adjustment::Name(name) => LinkAttribute::IfName(name.clone()),
        Adjustment::Group => LinkAttribute::Group(GROUP_LIVE),
        Adjustment::Mtu(mtu) => LinkAttribute::Mtu(*mtu),
        Adjustment::Mac(mac) => LinkAttribute::Address(mac.0.to_vec()),
    }];
    Request::existing(RouteNetlinkMessage::SetLink(message))
}

fn up(mut message: LinkMessage) -> LinkMessage {
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
    message
}

fn neighbour(index: u32, address: IpAddr, mac: Option<Mac>) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = family(address);
    message.header.ifindex = index;
    message.header.state = NeighbourState::Permanent;
    message.attributes.push(NeighbourAttribute::Destination(match address {
        IpAddr::V4(address) => NeighbourAddress::Inet(address),
        IpAddr::V6(address) => NeighbourAddress::Inet6(address),
    }));
    message.attributes.extend(mac.map(|mac| NeighbourAttribute::LinkLayerAddress(mac.0.to_vec())));
    message
}

fn address(index: u32, address: IpAddr) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = family(address);
    message.header.prefix_len = full_length(address);
    message.header.scope = AddressScope::Universe;
    message.header.index = index;
    if address.is_ipv6() {
        message.header.flags = AddressHeaderFlags::Nodad;
    }
    message.attributes = vec![AddressAttribute::Local(address), AddressAttribute::Address(address)];
    message
}

/// A route on link to this one address.
fn route(index: u32, address: IpAddr, stamp: RouteStamp) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family(address);
    message.header.destination_prefix_length = full_length(address);
    // The octet holds small tables only; the attribute holds all.
    message.header.table = u8::try_from(stamp.table).unwrap_or(RouteHeader::RT_TABLE_UNSPEC);
    message.header.protocol = RouteProtocol::from(stamp.protocol);
    message.header.scope = RouteScope::Universe;
    message.header.kind = RouteType::Unicast;
    message.attributes = vec![
        RouteAttribute::Destination(RouteAddress::from(address)),
        RouteAttribute::Oif(index),
        RouteAttribute::Table(stamp.table),
    ];
    message
}

fn host_route(index: u32, address: IpAddr, stamp: RouteStamp) -> RouteMessage {
    let mut message = route(index, address, stamp);
    if address.is_ipv4() {
        // IPv6 routes have no scope.
        message.header.scope = RouteScope::Link;
    }
    message
}

/// Marks of the routes inside a pod: its main table, as if its boot scripts had made them.
const MAIN: RouteStamp = RouteStamp { table: 254, protocol: 3, learned: 0 };
