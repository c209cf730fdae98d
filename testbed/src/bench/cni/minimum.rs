//! The kernel's own minimum for a pod's objects, by a process that is there already.
//!
//! In: a number and the pod's namespace. Out: how long the kernel took for the pair, its addresses,
//! routes and neighbours on both sides: one datagram on the host and one in the pod, and the last
//! answer awaited. No lease, no journal, no rules, no waiting until the pod is reachable: what a
//! daemon does beyond that shows as the difference.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::address::{
    AddressAttribute, AddressHeaderFlags, AddressMessage, AddressScope,
};
use netlink_packet_route::link::{
    AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoData, InfoKind, InfoVeth, LinkAttribute,
    LinkFlags, LinkInfo, LinkMessage,
};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use nix::sched::{CloneFlags, setns};

use super::Families;
use crate::netlink::Rtnetlink;

/// Makes and removes pods' objects.
pub(super) struct Minimum {
    host: Rtnetlink,
    home: std::fs::File,
    families: Families,
}

type Batch = Vec<(RouteNetlinkMessage, u16)>;

impl Minimum {
    pub(super) fn open(families: Families) -> Result<Self> {
        let home = std::fs::File::open("/proc/thread-self/ns/net")?;
        Ok(Self { host: Rtnetlink::open()?, home, families })
    }

    pub(super) fn add(&mut self, number: usize, netns: BorrowedFd<'_>) -> Result<Duration> {
        let begun = Instant::now();
        setns(netns, CloneFlags::CLONE_NEWNET).context("cannot enter a pod")?;
        let inside = Rtnetlink::open();
        setns(&self.home, CloneFlags::CLONE_NEWNET).context("cannot come back from a pod")?;
        self.host.batch(self.on_host(number, netns)).context("on the host")?;
        inside?.batch(self.in_pod()).context("in the pod")?;
        Ok(begun.elapsed())
    }

    /// Takes the routes away and marks the pair.
    pub(super) fn del(&mut self, number: usize) -> Result<Duration> {
        let begun = Instant::now();
        let index = index(number);
        let routes = addresses(number, self.families)
            .map(|address| (RouteNetlinkMessage::DelRoute(route(index, Some(address), None)), 0));
        let mut batch: Batch = routes.collect();
        let mut link = LinkMessage::default();
        link.header.index = index;
        link.attributes.push(LinkAttribute::Group(DOOMED));
        batch.push((RouteNetlinkMessage::SetLink(link), 0));
        self.host.batch(batch).context("on the host")?;
        Ok(begun.elapsed())
    }

    /// Deletes every marked pair.
    pub(super) fn sweep(&mut self) -> io::Result<()> {
        let mut link = LinkMessage::default();
        link.attributes.push(LinkAttribute::Group(DOOMED));
        self.host.batch(vec![(RouteNetlinkMessage::DelLink(link), 0)])
    }

    fn on_host(&self, number: usize, netns: BorrowedFd<'_>) -> Batch {
        let index = index(number);
        let mut peer = end("eth0", INSIDE, POD_MAC);
        peer.attributes.push(LinkAttribute::NetNsFd(netns.as_raw_fd()));
        let mut host = up(end(&format!("min{number}"), index, HOST_MAC));
        host.attributes.push(LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Veth),
            LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
        ]));
        let mut batch = vec![(RouteNetlinkMessage::NewLink(host), NLM_F_CREATE | NLM_F_EXCL)];
        let mut named = LinkMessage::default();
        named.header.index = index;
        let mode = AfSpecInet6::AddrGenMode(In6AddrGenMode::None);
        named.attributes = vec![
            LinkAttribute::IfAlias(format!("bench pod {number}")),
            LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(vec![mode])]),
        ];
        batch.push((RouteNetlinkMessage::SetLink(named), 0));
        for address in addresses(number, self.families) {
            batch.push(neighbour(index, address, POD_MAC));
            batch.push(new_route(route(index, Some(address), None)));
        }
        batch
    }

    fn in_pod(&self) -> Batch {
        let mut link = LinkMessage::default();
        link.header.index = INSIDE;
        let mut batch = vec![(RouteNetlinkMessage::SetLink(up(link)), 0)];
        // Any address does: the pods of this do not speak.
        for address in addresses(1, self.families) {
            let mut message = AddressMessage::default();
            message.header.family = family(address);
            message.header.prefix_len = length(address);
            message.header.scope = AddressScope::Universe;
            message.header.index = INSIDE;
            message.header.flags = AddressHeaderFlags::Nodad;
            message.attributes =
                vec![AddressAttribute::Local(address), AddressAttribute::Address(address)];
            batch.push((RouteNetlinkMessage::NewAddress(message), NLM_F_CREATE | NLM_F_EXCL));
            let gateway = match address {
                IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::new(169, 254, 1, 1)),
                IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1)),
            };
            batch.push(neighbour(INSIDE, gateway, HOST_MAC));
            if gateway.is_ipv4() {
                batch.push(new_route(route(INSIDE, Some(gateway), None)));
            }
            batch.push(new_route(route(INSIDE, None, Some(gateway))));
        }
        batch
    }
}

fn index(number: usize) -> u32 {
    FIRST_INDEX + u32::try_from(number).expect("pods are thousands")
}

fn addresses(number: usize, families: Families) -> impl Iterator<Item = IpAddr> {
    let number = u32::try_from(number).expect("pods are thousands");
    let four = IpAddr::V4(Ipv4Addr::from_bits(Ipv4Addr::new(10, 140, 0, 0).to_bits() + number));
    let net = Ipv6Addr::new(0xfd00, 0x10, 0x140, 0, 0, 0, 0, 0).to_bits();
    let six = IpAddr::V6(Ipv6Addr::from_bits(net + u128::from(number)));
    [four].into_iter().chain((families == Families::Dual).then_some(six))
}

fn end(name: &str, index: u32, mac: [u8; 6]) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.attributes = vec![
        LinkAttribute::IfName(name.to_owned()),
        LinkAttribute::Address(mac.to_vec()),
        LinkAttribute::NumTxQueues(1),
        LinkAttribute::NumRxQueues(1),
    ];
    message
}

fn up(mut message: LinkMessage) -> LinkMessage {
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
    message
}

fn neighbour(index: u32, address: IpAddr, mac: [u8; 6]) -> (RouteNetlinkMessage, u16) {
    let mut message = NeighbourMessage::default();
    message.header.family = family(address);
    message.header.ifindex = index;
    message.header.state = NeighbourState::Permanent;
    message.attributes = vec![
        NeighbourAttribute::Destination(match address {
            IpAddr::V4(address) => NeighbourAddress::Inet(address),
            IpAddr::V6(address) => NeighbourAddress::Inet6(address),
        }),
        NeighbourAttribute::LinkLayerAddress(mac.to_vec()),
    ];
    (RouteNetlinkMessage::NewNeighbour(message), NLM_F_CREATE | NLM_F_REPLACE)
}

fn new_route(message: RouteMessage) -> (RouteNetlinkMessage, u16) {
    (RouteNetlinkMessage::NewRoute(message), NLM_F_CREATE | NLM_F_EXCL)
}

/// On link to an address, or by a gateway to everything.
fn route(index: u32, to: Option<IpAddr>, gateway: Option<IpAddr>) -> RouteMessage {
    let of = to.or(gateway).expect("one of them is given");
    let mut message = RouteMessage::default();
    message.header.address_family = family(of);
    message.header.table = 254;
    message.header.protocol = RouteProtocol::Static;
    message.header.kind = RouteType::Unicast;
    message.header.scope = match (of, gateway) {
        (IpAddr::V4(_), None) => RouteScope::Link,
        (IpAddr::V4(_) | IpAddr::V6(_), _) => RouteScope::Universe,
    };
    message.attributes.push(RouteAttribute::Oif(index));
    if let Some(to) = to {
        message.header.destination_prefix_length = length(to);
        message.attributes.push(RouteAttribute::Destination(RouteAddress::from(to)));
    }
    message.attributes.extend(gateway.map(|to| RouteAttribute::Gateway(RouteAddress::from(to))));
    message
}

const fn family(address: IpAddr) -> AddressFamily {
    match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}

const fn length(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

/// Far from those that the kernel and the daemon choose.
const FIRST_INDEX: u32 = 1_500_000_000;
/// In the pod.
const INSIDE: u32 = 2;
const HOST_MAC: [u8; 6] = [0xee; 6];
const POD_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 1];
/// Link group of what is to be deleted.
const DOOMED: u32 = 77;
