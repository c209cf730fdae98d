//! Interfaces and addresses as netlink messages.

use std::net::IpAddr;

use bgp::prefix::Prefix;
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressFlags, AddressMessage},
    link::{LinkAttribute, LinkFlags, LinkMessage},
};
use routed_core::fib::links::{Address, Link, LinkEvent};

/// What a message says about interfaces or addresses, if anything.
pub(super) fn event(message: &RouteNetlinkMessage) -> Option<LinkEvent> {
    Some(match message {
        RouteNetlinkMessage::NewLink(message) => LinkEvent::Present(link(message)?),
        RouteNetlinkMessage::DelLink(message) => {
            is_whole(message).then_some(LinkEvent::Gone(message.header.index))?
        }
        RouteNetlinkMessage::NewAddress(message) if is_usable(message) => {
            LinkEvent::AddressPresent(message.header.index, address(message)?)
        }
        RouteNetlinkMessage::NewAddress(message) => {
            LinkEvent::AddressGone(message.header.index, address(message)?)
        }
        RouteNetlinkMessage::DelAddress(message) => {
            LinkEvent::AddressGone(message.header.index, address(message)?)
        }
        _ => return None,
    })
}

/// True if the message is about the interface itself and not its part in a bridge.
fn is_whole(message: &LinkMessage) -> bool {
    message.header.interface_family == AddressFamily::Unspec
}

fn link(message: &LinkMessage) -> Option<Link> {
    if !is_whole(message) {
        return None;
    }
    let name = message.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name.clone()),
        _ => None,
    })?;
    Some(Link {
        index: message.header.index,
        name,
        up: message.header.flags.contains(LinkFlags::Up),
        carrier: message.header.flags.contains(LinkFlags::LowerUp),
    })
}

/// False for an address that may be somebody else's: one that is being looked for on the link, or was
/// found there (RFC 4862 §5.4). The kernel uses it for nothing, and reports it again when it may.
fn is_usable(message: &AddressMessage) -> bool {
    !message.attributes.iter().any(|attribute| {
        matches!(attribute, AddressAttribute::Flags(flags)
            if flags.contains(AddressFlags::Tentative) && !flags.contains(AddressFlags::Optimistic))
    })
}

fn address(message: &AddressMessage) -> Option<Address> {
    let (mut local, mut on_link) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(addr) => local = Some(*addr),
            AddressAttribute::Address(addr) => on_link = Some(*addr),
            _ => {}
        }
    }
    // IPv6 names the peer in IFA_ADDRESS only if there is IFA_LOCAL too.
    let local: IpAddr = local.or(on_link)?;
    let on_link = Prefix::new(on_link?, message.header.prefix_len).ok()?;
    Some(Address { local, on_link })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_that_leaves_a_bridge_is_not_an_interface_that_is_gone() {
        let mut message = LinkMessage::default();
        message.header.index = 7;
        let gone = RouteNetlinkMessage::DelLink(message.clone());
        assert_eq!(event(&gone), Some(LinkEvent::Gone(7)));
        message.header.interface_family = AddressFamily::Bridge;
        assert_eq!(event(&RouteNetlinkMessage::DelLink(message)), None);
    }

    #[test]
    fn point_to_point_address_names_us_and_the_peer() {
        let mut message = AddressMessage::default();
        message.header.index = 7;
        message.header.prefix_len = 32;
        message.attributes = vec![
            AddressAttribute::Address("10.0.0.2".parse().unwrap()),
            AddressAttribute::Local("10.0.0.1".parse().unwrap()),
        ];
        let expected =
            Address { local: "10.0.0.1".parse().unwrap(), on_link: "10.0.0.2/32".parse().unwrap() };
        let seen = event(&RouteNetlinkMessage::NewAddress(message));
        assert_eq!(seen, Some(LinkEvent::AddressPresent(7, expected)));
    }

    #[test]
    fn rfc4862_5_4_an_address_is_not_ours_before_it_is_known_to_be_nobody_elses() {
        let local: IpAddr = "fe80::1".parse().unwrap();
        let address = Address { local, on_link: "fe80::/64".parse().unwrap() };
        let permanent = AddressFlags::Permanent;
        for (flags, expected) in [
            (permanent, LinkEvent::AddressPresent(7, address)),
            (permanent | AddressFlags::Tentative, LinkEvent::AddressGone(7, address)),
            (
                permanent | AddressFlags::Tentative | AddressFlags::Optimistic,
                LinkEvent::AddressPresent(7, address),
            ),
        ] {
            let mut message = AddressMessage::default();
            message.header.index = 7;
            message.header.prefix_len = 64;
            message.attributes =
                vec![AddressAttribute::Address(local), AddressAttribute::Flags(flags)];
            assert_eq!(event(&RouteNetlinkMessage::NewAddress(message)), Some(expected));
        }
    }
}
