//! The little of route netlink that a lab needs: veth pairs, addresses, links up and down,
//! and reading back what is there.
//!
//! In: names, prefixes, namespace descriptors. Out: `Ok`, or the kernel's refusal. Blocking, one
//! request at a time: a lab is built once. Works in the network namespace in which it was opened,
//! also when the thread has moved on to another.

use std::io;
use std::os::fd::AsRawFd;

use ipnetwork::IpNetwork;
use netlink_packet_core::{
    Emitable, NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REQUEST, NLMSG_DONE,
    NLMSG_ERROR, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage};
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};

mod view;

pub(crate) use view::{LinkView, RouteView};

/// A route netlink socket.
pub(crate) struct Rtnetlink {
    socket: Socket,
    sequence: u32,
}

/// One end of a veth pair that is yet to be made.
pub(crate) struct VethEnd<'a, N: AsRawFd> {
    /// Interface name, at most 15 octets.
    pub(crate) name: &'a str,
    /// Network namespace to make it in.
    pub(crate) netns: &'a N,
}

impl Rtnetlink {
    /// Opens a socket in the calling thread's network namespace.
    pub(crate) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self { socket, sequence: 0 })
    }

    /// Makes a veth pair with its ends directly where they belong.
    pub(crate) fn add_veth<N: AsRawFd>(
        &mut self,
        ends: [&VethEnd<'_, N>; 2],
        mtu: u32,
    ) -> io::Result<()> {
        let [mut near, far] = ends.map(|end| {
            let mut link = LinkMessage::default();
            link.attributes.push(LinkAttribute::IfName(end.name.into()));
            link.attributes.push(LinkAttribute::NetNsFd(end.netns.as_raw_fd()));
            link.attributes.push(LinkAttribute::Mtu(mtu));
            link
        });
        near.attributes.push(LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Veth),
            LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(far))),
        ]));
        self.request(RouteNetlinkMessage::NewLink(near), NLM_F_CREATE | NLM_F_EXCL)
    }

    /// Makes a bridge and switches it on.
    pub(crate) fn add_bridge(&mut self, name: &str) -> io::Result<()> {
        let mut link = LinkMessage::default();
        link.attributes.push(LinkAttribute::IfName(name.into()));
        link.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Bridge)]));
        link.header.flags = LinkFlags::Up;
        link.header.change_mask = LinkFlags::Up;
        self.request(RouteNetlinkMessage::NewLink(link), NLM_F_CREATE | NLM_F_EXCL)
    }

    /// Makes an interface a port of a bridge and switches it on.
    pub(crate) fn join_bridge(&mut self, port: &str, bridge: &str) -> io::Result<()> {
        let mut link = LinkMessage::default();
        link.attributes.push(LinkAttribute::IfName(port.into()));
        link.attributes.push(LinkAttribute::Controller(self.index_of(bridge)?));
        self.request(RouteNetlinkMessage::SetLink(link), 0)?;
        self.set_link(port, true)
    }

    /// Switches an interface on or off.
    pub(crate) fn set_link(&mut self, name: &str, up: bool) -> io::Result<()> {
        let mut link = LinkMessage::default();
        link.attributes.push(LinkAttribute::IfName(name.into()));
        link.header.flags = if up { LinkFlags::Up } else { LinkFlags::empty() };
        link.header.change_mask = LinkFlags::Up;
        self.request(RouteNetlinkMessage::SetLink(link), 0)
    }

    /// Adds an address; an IPv6 one is usable at once (no duplicate address detection).
    pub(crate) fn add_address(&mut self, ifname: &str, address: IpNetwork) -> io::Result<()> {
        let mut message = AddressMessage::default();
        message.header.family = match address {
            IpNetwork::V4(_) => AddressFamily::Inet,
            IpNetwork::V6(_) => AddressFamily::Inet6,
        };
        message.header.prefix_len = address.prefix();
        message.header.index = self.index_of(ifname)?;
        message.header.flags = AddressHeaderFlags::Nodad;
        message.attributes.push(AddressAttribute::Local(address.ip()));
        message.attributes.push(AddressAttribute::Address(address.ip()));
        self.request(RouteNetlinkMessage::NewAddress(message), NLM_F_CREATE | NLM_F_EXCL)
    }

    /// Many requests with their flags in one datagram; ends with the answer to the last, and with the
    /// first refusal if there was one.
    pub(crate) fn batch(&mut self, batch: Vec<(RouteNetlinkMessage, u16)>) -> io::Result<()> {
        let last = batch.len();
        let first = self.sequence + 1;
        let mut octets = Vec::new();
        for (number, (message, flags)) in batch.into_iter().enumerate() {
            let ack = if number + 1 == last { NLM_F_ACK } else { 0 };
            let header = self.header(NLM_F_REQUEST | flags | ack);
            let mut message = NetlinkMessage::new(header, NetlinkPayload::from(message));
            message.finalize();
            let start = octets.len();
            octets.resize(start + message.buffer_len().next_multiple_of(4), 0);
            message.serialize(&mut octets[start..start + message.buffer_len()]);
        }
        self.socket.send(&octets, 0)?;
        self.replies_from(first).map(drop)
    }

    /// All interfaces of the namespace.
    pub(crate) fn links(&mut self) -> io::Result<Vec<LinkView>> {
        let dump = self.dump(&RouteNetlinkMessage::GetLink(LinkMessage::default()))?;
        dump.iter().map(|reply| view::link(&reply.payload)).collect()
    }

    /// All routes of the main table, of both families, sorted.
    pub(crate) fn routes(&mut self) -> io::Result<Vec<RouteView>> {
        let names: Vec<(u32, String)> =
            self.links()?.into_iter().map(|link| (link.index, link.name)).collect();
        let hops = view::next_hops(&self.dump_raw(view::RTM_GETNEXTHOP, &[0; 8])?, &names);
        let mut routes = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let dump = self.dump(&view::all_routes(family))?;
            for reply in &dump {
                routes.extend(view::route(&reply.payload, &names, &hops)?);
            }
        }
        routes.sort_by_key(|route: &RouteView| route.destination);
        Ok(view::merge_hops(routes))
    }

    fn index_of(&mut self, ifname: &str) -> io::Result<u32> {
        let links = self.links()?;
        links.iter().find(|link| link.name == ifname).map(|link| link.index).ok_or_else(|| {
            io::Error::new(io::ErrorKind::NotFound, format!("no interface {ifname}"))
        })
    }

    fn request(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        self.send(message, NLM_F_REQUEST | NLM_F_ACK | flags)?;
        self.replies().map(|_| ())
    }

    fn dump(&mut self, message: &RouteNetlinkMessage) -> io::Result<Vec<Reply>> {
        self.send(message.clone(), NLM_F_REQUEST | NLM_F_DUMP)?;
        self.replies()
    }

    /// A dump whose request netlink-packet-route has no type for (next-hop objects).
    fn dump_raw(&mut self, kind: u16, payload: &[u8]) -> io::Result<Vec<Reply>> {
        let mut header = self.header(NLM_F_REQUEST | NLM_F_DUMP);
        header.message_type = kind;
        header.length = u32::try_from(NETLINK_HEADER + payload.len()).expect("a short request");
        let mut octets = vec![0; NETLINK_HEADER];
        header.emit(&mut octets);
        octets.extend_from_slice(payload);
        self.socket.send(&octets, 0)?;
        self.replies()
    }

    fn send(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        let header = self.header(flags);
        let mut message = NetlinkMessage::new(header, NetlinkPayload::from(message));
        message.finalize();
        let mut octets = vec![0; message.buffer_len()];
        message.serialize(&mut octets);
        self.socket.send(&octets, 0)?;
        Ok(())
    }

    fn header(&mut self, flags: u16) -> NetlinkHeader {
        self.sequence += 1;
        let mut header = NetlinkHeader::default();
        header.flags = flags;
        header.sequence_number = self.sequence;
        header
    }

    /// Everything the kernel answers to the last request.
    fn replies(&mut self) -> io::Result<Vec<Reply>> {
        self.replies_from(self.sequence)
    }

    /// The same, or the first refusal of a request from this one on.
    fn replies_from(&mut self, first: u32) -> io::Result<Vec<Reply>> {
        let mut replies = Vec::new();
        let mut refusal = None;
        loop {
            let (datagram, _) = self.socket.recv_from_full()?;
            let mut rest = &datagram[..];
            while let Some((kind, sequence, payload, next)) = split_message(rest) {
                rest = next;
                if !(first..=self.sequence).contains(&sequence) {
                    continue;
                }
                match kind {
                    NLMSG_DONE => return Ok(replies),
                    NLMSG_ERROR => {
                        let code =
                            payload.first_chunk().map_or(0, |code| i32::from_ne_bytes(*code));
                        let error = (code != 0).then(|| io::Error::from_raw_os_error(-code));
                        refusal = refusal.or(error);
                        if sequence == self.sequence {
                            return refusal.map_or(Ok(replies), Err);
                        }
                    }
                    _ => replies.push(Reply { payload: payload.to_vec() }),
                }
            }
        }
    }
}

/// One message of a dump, without its netlink header.
struct Reply {
    payload: Vec<u8>,
}

/// Type, sequence number and payload of the first message, and what follows it.
fn split_message(octets: &[u8]) -> Option<(u16, u32, &[u8], &[u8])> {
    let length = u32::from_ne_bytes(*octets.first_chunk()?) as usize;
    let kind = u16::from_ne_bytes(octets.get(4..6)?.try_into().ok()?);
    let sequence = u32::from_ne_bytes(octets.get(8..12)?.try_into().ok()?);
    let payload = octets.get(NETLINK_HEADER..length)?;
    let next = octets.get(length.next_multiple_of(4)..).unwrap_or_default();
    Some((kind, sequence, payload, next))
}

/// Flag of an interface that is switched on (linux/if.h).
pub(crate) const IFF_UP: u32 = 1;
/// Octets of `struct nlmsghdr`.
const NETLINK_HEADER: usize = 16;
