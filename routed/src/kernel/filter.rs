//! Filters of netlink notifications, which the kernel runs before it wakes us.
//!
//! Classic BPF programs over one message. Loads are big-endian and netlink is in the machine's own
//! order, so every constant is turned round instead of every value.

use routed_core::pod::step::{GROUP_DOOMED, GROUP_LIVE};
use socket2::SockFilter;

/// Passes what may say that another program has changed things of pods on the host, and every deletion of
/// an interface. What is changed through the netlink port `own` does not pass, nor does most of what the
/// kernel does by itself while a pod comes or goes.
pub(super) fn changes_of_pods(own: u32) -> Vec<SockFilter> {
    // A block falls through to what follows it only if the message is not of its kind.
    let on = |kind, block: Vec<SockFilter>| {
        let skip = u8::try_from(block.len()).expect("blocks have a few instructions");
        let mut guarded = vec![unless_half(kind, skip)];
        guarded.extend(block);
        guarded
    };
    [
        vec![load_half(NLMSG_TYPE)],
        on(libc::RTM_DELLINK, vec![verdict(PASS)]),
        vec![load(NLMSG_PID), unless(own, 1), verdict(DROP), load_half(NLMSG_TYPE)],
        on(libc::RTM_NEWLINK, few_of_pods()),
        on(libc::RTM_NEWNEIGH, neighbours_of_pods()),
        on(libc::RTM_DELNEIGH, neighbours_of_pods()),
        on(libc::RTM_NEWROUTE, routes_to_single_addresses()),
        on(libc::RTM_DELROUTE, routes_to_single_addresses()),
        on(libc::RTM_NEWNETCONF, no_longer_forwarding()),
        vec![verdict(DROP)],
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Pods' interfaces have indexes from 2²⁴ on: the most significant octet is not zero.
fn neighbours_of_pods() -> Vec<SockFilter> {
    let first = if cfg!(target_endian = "little") { 3 } else { 0 };
    vec![load_octet(NEIGHBOUR_INDEX + first), if_equal(0, 1), verdict(PASS), verdict(DROP)]
}

/// But not those of the kernel to addresses of this node.
fn routes_to_single_addresses() -> Vec<SockFilter> {
    vec![
        load_octet(ROUTE_PROTOCOL),
        if_equal(libc::RTPROT_KERNEL.into(), 3),
        load_octet(ROUTE_LENGTH),
        if_equal(32, 2),
        if_equal(128, 1),
        verdict(DROP),
        verdict(PASS),
    ]
}

/// That IPv4 is not forwarded: new interfaces are told of as well, but those forward.
fn no_longer_forwarding() -> Vec<SockFilter> {
    const NETCONFA_FORWARDING: u32 = 2;
    const AF_INET: u32 = 2;
    vec![
        load_octet(NETCONF_FAMILY),
        if_equal(AF_INET, 1),
        verdict(DROP),
        load_constant(NETCONF_ATTRIBUTES),
        load_index(NETCONFA_FORWARDING),
        load(FIND_ATTRIBUTE),
        if_equal(0, 3),
        index_from_accumulator(),
        load_indexed(ATTRIBUTE_HEADER),
        if_equal(0, 1),
        verdict(DROP),
        verdict(PASS),
    ]
}

/// Passes what was not caused through this netlink port.
pub(super) fn all_but(port: u32) -> Vec<SockFilter> {
    vec![load(NLMSG_PID), unless(port, 1), verdict(DROP), verdict(PASS)]
}

/// Drops what says nothing about pods' interfaces that matters to routes: while one is being made (without
/// alias, or up but without carrier), being set up (which the kernel tells twice: when it is, and when it
/// has found the carrier), or being removed. What is left of a pod's messages, each of a good
/// kilooctet, is that it carries and that it has gone. All else passes.
pub(super) fn few_of_pods() -> Vec<SockFilter> {
    vec![
        load_half(NLMSG_TYPE),
        unless_half(libc::RTM_NEWLINK, 20),
        load_constant(LINK_ATTRIBUTES),
        load_index(libc::IFLA_GROUP.into()),
        // Where that attribute is, or 0.
        load(FIND_ATTRIBUTE),
        if_equal(0, 16),
        index_from_accumulator(),
        load_indexed(ATTRIBUTE_HEADER),
        if_equal(GROUP_DOOMED.to_be(), 8),
        unless(GROUP_LIVE, 12),
        load(LINK_FLAGS),
        if_set(libc::IFF_LOWER_UP, 6),
        if_set(libc::IFF_UP, 4),
        // Not up: somebody has set it down, unless it is new.
        load_constant(LINK_ATTRIBUTES),
        load_index(libc::IFLA_IFALIAS.into()),
        load(FIND_ATTRIBUTE),
        unless(0, 5),
        verdict(DROP),
        // It carries.
        load(LINK_CHANGE),
        if_set(libc::IFF_UP, 1),
        verdict(PASS),
        verdict(DROP),
        verdict(PASS),
    ]
}

/// Both: a message must pass the first to come to the second.
pub(super) fn both(first: Vec<SockFilter>, second: Vec<SockFilter>) -> Vec<SockFilter> {
    // The last instruction of each program passes; in front of it one drops.
    let mut program = first;
    program.pop();
    program.extend(second);
    program
}

const fn load(offset: u32) -> SockFilter {
    SockFilter::new(0x20, 0, 0, offset) // BPF_LD | BPF_W | BPF_ABS
}

const fn load_half(offset: u32) -> SockFilter {
    SockFilter::new(0x28, 0, 0, offset) // BPF_LD | BPF_H | BPF_ABS
}

const fn load_octet(offset: u32) -> SockFilter {
    SockFilter::new(0x30, 0, 0, offset) // BPF_LD | BPF_B | BPF_ABS
}

const fn load_indexed(offset: u32) -> SockFilter {
    SockFilter::new(0x40, 0, 0, offset) // BPF_LD | BPF_W | BPF_IND
}

const fn load_constant(value: u32) -> SockFilter {
    SockFilter::new(0x00, 0, 0, value) // BPF_LD | BPF_IMM
}

const fn load_index(value: u32) -> SockFilter {
    SockFilter::new(0x01, 0, 0, value) // BPF_LDX | BPF_IMM
}

const fn index_from_accumulator() -> SockFilter {
    SockFilter::new(0x07, 0, 0, 0) // BPF_MISC | BPF_TAX
}

/// Skips so many instructions if the accumulator is that, as loaded.
const fn if_equal(value: u32, skip: u8) -> SockFilter {
    SockFilter::new(0x15, skip, 0, value) // BPF_JMP | BPF_JEQ | BPF_K
}

/// Skips so many instructions unless the accumulator is that number of the machine's order.
const fn unless(value: u32, skip: u8) -> SockFilter {
    SockFilter::new(0x15, 0, skip, value.to_be())
}

/// The same for 16 bits.
fn unless_half(value: u16, skip: u8) -> SockFilter {
    SockFilter::new(0x15, 0, skip, value.to_be().into())
}

/// Skips so many instructions if a flag is set.
const fn if_set(flag: i32, skip: u8) -> SockFilter {
    SockFilter::new(0x45, skip, 0, flag.cast_unsigned().to_be()) // BPF_JMP | BPF_JSET | BPF_K
}

const fn verdict(octets: u32) -> SockFilter {
    SockFilter::new(0x06, 0, 0, octets) // BPF_RET | BPF_K
}

const PASS: u32 = u32::MAX;
const DROP: u32 = 0;
/// Offsets in `struct nlmsghdr`.
const NLMSG_TYPE: u32 = 4;
const NLMSG_PID: u32 = 12;
/// Of `ifi_flags` and `ifi_change`, and of the attributes behind `struct ifinfomsg`.
const LINK_FLAGS: u32 = 24;
const LINK_CHANGE: u32 = 28;
const LINK_ATTRIBUTES: u32 = 32;
/// Of `ndm_ifindex`, of `rtm_dst_len` and `rtm_protocol`, and of `ncm_family` and what follows it.
const NEIGHBOUR_INDEX: u32 = 20;
const ROUTE_LENGTH: u32 = 17;
const ROUTE_PROTOCOL: u32 = 21;
const NETCONF_FAMILY: u32 = 16;
const NETCONF_ATTRIBUTES: u32 = 20;
/// Octets in front of an attribute's value.
const ATTRIBUTE_HEADER: u32 = 4;
/// SKF_AD_OFF + SKF_AD_NLATTR: finds the attribute of the index's kind from the accumulator on.
const FIND_ATTRIBUTE: u32 = 0xffff_f000 + 12;

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use netlink_packet_core::{NLM_F_MULTIPART, NetlinkHeader, NetlinkMessage, NetlinkPayload};
    use netlink_packet_route::{
        RouteNetlinkMessage,
        link::{LinkAttribute, LinkFlags, LinkMessage},
        neighbour::NeighbourMessage,
        route::RouteMessage,
    };
    use socket2::SockRef;

    use super::*;

    /// A link as the kernel tells of it, with attributes on both sides of the group.
    fn link(group: Option<u32>, flags: LinkFlags) -> LinkMessage {
        let mut message = LinkMessage::default();
        message.header.index = 7;
        message.header.flags = flags;
        message.attributes.push(LinkAttribute::IfName("s32abc".to_owned()));
        message.attributes.extend(group.map(LinkAttribute::Group));
        message.attributes.push(LinkAttribute::Mtu(1500));
        message
    }

    fn labelled(mut message: LinkMessage) -> LinkMessage {
        message.attributes.push(LinkAttribute::IfAlias("slash32:…".to_owned()));
        message
    }

    /// As the kernel tells of a change of that flag.
    fn set_up(mut message: LinkMessage) -> LinkMessage {
        message.header.change_mask = LinkFlags::Up;
        message
    }

    fn octets(message: RouteNetlinkMessage, port: u32) -> Vec<u8> {
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_MULTIPART;
        header.port_number = port;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::from(message));
        message.finalize();
        let mut octets = vec![0; message.buffer_len()];
        message.serialize(&mut octets);
        octets
    }

    /// Which of these get through.
    fn passed(program: &[SockFilter], messages: &[Vec<u8>]) -> Vec<bool> {
        let (sender, receiver) = UnixDatagram::pair().unwrap();
        SockRef::from(&receiver).attach_filter(program).unwrap();
        receiver.set_nonblocking(true).unwrap();
        let get = |message: &Vec<u8>| {
            // A filtered datagram is dropped, which the sender does not notice.
            let _ = sender.send(message);
            receiver.recv(&mut [0; 4096]).is_ok()
        };
        messages.iter().map(get).collect()
    }

    #[test]
    fn of_pods_interfaces_only_what_routes_depend_on_gets_through() {
        use RouteNetlinkMessage::{DelLink, NewLink, NewRoute};
        let (up, carries) = (LinkFlags::Up, LinkFlags::Up | LinkFlags::LowerUp);
        let messages = [
            (NewLink(link(Some(GROUP_LIVE), up)), false),
            (NewLink(link(Some(GROUP_LIVE), carries)), true),
            (NewLink(set_up(link(Some(GROUP_LIVE), carries))), false),
            (NewLink(set_up(link(Some(0), carries))), true),
            (NewLink(link(Some(GROUP_LIVE), LinkFlags::empty())), false),
            (NewLink(labelled(link(Some(GROUP_LIVE), LinkFlags::empty()))), true),
            (NewLink(labelled(set_up(link(Some(GROUP_LIVE), LinkFlags::empty())))), true),
            (NewLink(labelled(link(Some(GROUP_LIVE), up))), false),
            (NewLink(labelled(link(Some(GROUP_LIVE), carries))), true),
            (NewLink(link(Some(GROUP_DOOMED), carries)), false),
            (NewLink(link(Some(GROUP_DOOMED), LinkFlags::empty())), false),
            (DelLink(link(Some(GROUP_DOOMED), LinkFlags::empty())), true),
            (DelLink(link(Some(GROUP_LIVE), carries)), true),
            // Everybody else's.
            (NewLink(link(Some(0), up)), true),
            (NewLink(link(None, up)), true),
            (NewRoute(netlink_packet_route::route::RouteMessage::default()), true),
        ];
        let (messages, expected): (Vec<_>, Vec<_>) =
            messages.into_iter().map(|(message, pass)| (octets(message, 1), pass)).unzip();
        assert_eq!(passed(&few_of_pods(), &messages), expected);
        // The same behind another filter, which has its own say.
        assert_eq!(passed(&both(all_but(2), few_of_pods()), &messages), expected);
        let none = passed(&both(all_but(1), few_of_pods()), &messages);
        assert!(!none.contains(&true), "{none:?}");
    }

    #[test]
    fn of_all_changes_those_that_may_be_of_pods_get_through() {
        use RouteNetlinkMessage::{
            DelLink, DelNeighbour, DelRoute, NewLink, NewNeighbour, NewRoute,
        };
        let carries = LinkFlags::Up | LinkFlags::LowerUp;
        let neighbour = |index| {
            let mut message = NeighbourMessage::default();
            message.header.ifindex = index;
            message
        };
        let route = |protocol: u8, length| {
            let mut message = RouteMessage::default();
            message.header.protocol = protocol.into();
            message.header.destination_prefix_length = length;
            message
        };
        let (messages, expected): (Vec<_>, Vec<_>) = [
            (DelLink(link(None, LinkFlags::Up)), true),
            (NewLink(labelled(link(Some(GROUP_LIVE), carries))), true),
            (NewLink(link(Some(GROUP_LIVE), LinkFlags::Up)), false),
            (NewLink(labelled(link(Some(GROUP_LIVE), LinkFlags::empty()))), true),
            (NewNeighbour(neighbour(1 << 24)), true),
            (DelNeighbour(neighbour(i32::MAX.cast_unsigned())), true),
            (NewNeighbour(neighbour(7)), false),
            (DelNeighbour(neighbour((1 << 24) - 1)), false),
            (NewRoute(route(133, 32)), true),
            (DelRoute(route(4, 128)), true),
            (DelRoute(route(133, 24)), false),
            (NewRoute(route(2, 32)), false),
        ]
        .into_iter()
        .map(|(message, pass)| (octets(message, 7), pass))
        .unzip();
        assert_eq!(passed(&changes_of_pods(8), &messages), expected);
        let ours = passed(&changes_of_pods(7), &messages);
        assert_eq!(ours.iter().position(|pass| *pass), Some(0), "an interface that goes");
        assert_eq!(ours.iter().filter(|pass| **pass).count(), 1);
    }

    #[test]
    fn of_settings_only_that_ipv4_is_forwarded_no_longer_gets_through() {
        // struct nlmsghdr, struct netconfmsg, NETCONFA_IFINDEX, and what has changed.
        let message = |family: u8, kind: u16, value: i32| {
            let mut octets = 36_u32.to_ne_bytes().to_vec();
            octets.extend(libc::RTM_NEWNETCONF.to_ne_bytes());
            octets.extend([0; 10]);
            octets.extend([family, 0, 0, 0]);
            for (kind, value) in [(1_u16, 1 << 24), (kind, value)] {
                octets.extend(8_u16.to_ne_bytes());
                octets.extend(kind.to_ne_bytes());
                octets.extend(i32::to_ne_bytes(value));
            }
            octets
        };
        let messages = [message(2, 2, 0), message(2, 2, 1), message(2, 3, 0), message(10, 2, 0)];
        assert_eq!(passed(&changes_of_pods(8), &messages), [true, false, false, false]);
    }

    #[test]
    fn changes_through_one_port_are_left_out() {
        let message = |port| octets(RouteNetlinkMessage::NewLink(link(None, LinkFlags::Up)), port);
        let ports = [0x0102_0304, 0x0403_0201, 5].map(message);
        assert_eq!(passed(&all_but(0x0102_0304), &ports), [false, true, true]);
    }
}
