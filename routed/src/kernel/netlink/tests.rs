//! Against the real kernel, with read-only requests and with ones that it must refuse.

use netlink_packet_route::{
    AddressFamily,
    link::{LinkAttribute, LinkMessage},
    route::{RouteAddress, RouteAttribute, RouteMessage, RouteProtocol, RouteScope, RouteType},
};

use super::*;

fn link(index: u32) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message
}

/// A route through an interface that does not exist.
fn impossible_route() -> RouteNetlinkMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = AddressFamily::Inet;
    message.header.destination_prefix_length = 32;
    message.header.protocol = RouteProtocol::Other(132);
    message.header.scope = RouteScope::Link;
    message.header.kind = RouteType::Unicast;
    message.header.table = 254;
    message.attributes =
        vec![RouteAttribute::Destination(RouteAddress::Inet([192, 0, 2, 1].into())), oif(i32::MAX)];
    RouteNetlinkMessage::NewRoute(message)
}

fn oif(index: i32) -> RouteAttribute {
    RouteAttribute::Oif(index.unsigned_abs())
}

#[test]
fn dump_of_links_holds_the_loopback() {
    let mut netlink = Netlink::open().unwrap();
    let links = netlink.dump(&RouteNetlinkMessage::GetLink(LinkMessage::default())).unwrap();
    let names: Vec<_> = links.iter().filter_map(name).collect();
    assert!(names.contains(&"lo".to_owned()), "{names:?}");
}

#[test]
fn single_object_is_found_by_index_and_a_missing_one_is_none() {
    let mut netlink = Netlink::open().unwrap();
    let lo = netlink.get(&RouteNetlinkMessage::GetLink(link(1))).unwrap().unwrap();
    assert_eq!(name(&lo).unwrap(), "lo");
    assert!(netlink.get(&RouteNetlinkMessage::GetLink(link(0x7fff_fff0))).unwrap().is_none());
}

#[test]
fn refusals_name_their_request_across_batches() {
    let mut netlink = Netlink::open().unwrap();
    let requests = vec![Request::create(impossible_route()); BATCH * 2 + 3];
    let refusals = netlink.apply(&requests).unwrap();
    let indexes: Vec<_> = refusals.iter().map(|refusal| refusal.index).collect();
    assert_eq!(indexes, (0..requests.len()).collect::<Vec<_>>());
    assert!(refusals.iter().all(|refusal| refusal.errno == Errno::ENODEV), "{refusals:?}");
}

#[test]
fn kernels_own_words_are_passed_on() {
    let mut netlink = Netlink::open().unwrap();
    let RouteNetlinkMessage::NewRoute(mut route) = impossible_route() else { unreachable!() };
    route.header.destination_prefix_length = 33;
    let refusals = netlink.apply(&[Request::create(RouteNetlinkMessage::NewRoute(route))]).unwrap();
    assert_eq!(refusals[0].errno, Errno::EINVAL);
    let text = refusals[0].text.as_deref().unwrap();
    assert!(text.to_lowercase().contains("prefix length"), "{text:?}");
}

#[test]
fn nothing_asked_is_nothing_refused() {
    assert_eq!(Netlink::open().unwrap().apply(&[]).unwrap(), []);
}

fn name(message: &RouteNetlinkMessage) -> Option<String> {
    let RouteNetlinkMessage::NewLink(link) = message else { return None };
    link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name.clone()),
        _ => None,
    })
}
