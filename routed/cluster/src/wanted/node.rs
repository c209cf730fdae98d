//! Who a node is to others: its AS, its router id, and the addresses of a session between two.
//!
//! Every node works this out of every other by the same rules, so that both ends agree.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use bgp::aspath::Asn;
use routed_api::BGPConfigurationSpec;
use routed_core::claims::hash;

use crate::{Node, Objects};

/// As Calico has it: the first of those for private use.
const DEFAULT_ASN: Asn = Asn(64_512);

/// The AS that a node has by its label; `Err`: the label has something else.
pub(super) fn labelled_asn<'n>(
    node: &'n Node,
    configuration: Option<&BGPConfigurationSpec>,
) -> Result<Option<Asn>, &'n str> {
    let label = configuration.and_then(|spec| spec.node_as_number_label.as_ref());
    let Some(value) = label.and_then(|label| node.labels.get(&label.0)) else { return Ok(None) };
    let asn = value.parse().ok().filter(|asn| is_usable(*asn));
    asn.map(Some).ok_or(value.as_str())
}

/// The AS of a node. One with a label that is no AS has that of the others.
pub(super) fn asn(node: Option<&Node>, configuration: Option<&BGPConfigurationSpec>) -> Asn {
    let labelled = node.and_then(|node| labelled_asn(node, configuration).ok().flatten());
    labelled.unwrap_or_else(|| common_asn(configuration))
}

/// The AS of every node that has none of its own.
pub(super) fn common_asn(configuration: Option<&BGPConfigurationSpec>) -> Asn {
    let given = configuration.and_then(|spec| spec.as_number).map(Asn);
    given.filter(|asn| is_usable(*asn)).unwrap_or(DEFAULT_ASN)
}

/// As `routed.toml` has it (RFC 7607, RFC 6793 section 9, RFC 7300). Both ends of a session must know
/// it of each other, so that this does not wait for the check.
pub(super) const fn is_usable(asn: Asn) -> bool {
    !matches!(asn, Asn(0 | 65_535 | u32::MAX) | Asn::TRANS)
}

/// The BGP identifier of a node: its first IPv4 address; without one, a number made from its name
/// that no other node has.
pub(super) fn router_id(objects: &Objects, name: &str) -> Ipv4Addr {
    let ipv4 = |name: &str| ipv4(objects.nodes.get(name)?);
    if let Some(own) = ipv4(name) {
        return own;
    }
    let mut taken: BTreeSet<Ipv4Addr> =
        objects.nodes.keys().filter_map(|name| ipv4(name)).collect();
    let without = objects.nodes.keys().map(String::as_str).filter(|name| ipv4(name).is_none());
    // A name that sorts behind ours cannot take ours from us.
    for other in without.take_while(|other| *other < name) {
        taken.insert(free_id(other, &taken));
    }
    free_id(name, &taken)
}

fn free_id(name: &str, taken: &BTreeSet<Ipv4Addr>) -> Ipv4Addr {
    let mut salt = 0_u32;
    loop {
        let bits = hash(&["router id", name, &salt.to_string()]);
        let [_, _, _, _, a, b, c, d] = bits.to_be_bytes();
        // One that could be an address of a host, as most are.
        let id = Ipv4Addr::new(a % 223 + 1, b, c, d);
        if !taken.contains(&id) {
            return id;
        }
        salt += 1;
    }
}

fn ipv4(node: &Node) -> Option<Ipv4Addr> {
    node.addresses.iter().find_map(|address| match address {
        IpAddr::V4(address) => Some(*address),
        IpAddr::V6(_) => None,
    })
}

fn ipv6(node: &Node) -> Option<Ipv6Addr> {
    node.addresses.iter().find_map(|address| match address {
        IpAddr::V6(address) => Some(*address),
        IpAddr::V4(_) => None,
    })
}

/// The addresses of a session between two nodes. It carries every family that both have an address of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Path {
    /// IPv4 alone.
    Ipv4 { local: Ipv4Addr, remote: Ipv4Addr },
    /// IPv6 alone.
    Ipv6 { local: Ipv6Addr, remote: Ipv6Addr },
    /// Both, over IPv4, with our next hop for IPv6.
    Both { local: Ipv4Addr, remote: Ipv4Addr, next_hop: Ipv6Addr },
}

impl Path {
    /// `None` if they have no family in common.
    pub(super) fn between(own: &Node, other: &Node) -> Option<Self> {
        match (ipv4(own).zip(ipv4(other)), ipv6(own).zip(ipv6(other))) {
            (Some((local, remote)), Some((next_hop, _))) => {
                Some(Self::Both { local, remote, next_hop })
            }
            (Some((local, remote)), None) => Some(Self::Ipv4 { local, remote }),
            (None, Some((local, remote))) => Some(Self::Ipv6 { local, remote }),
            (None, None) => None,
        }
    }

    pub(super) const fn remote(self) -> IpAddr {
        match self {
            Self::Ipv4 { remote, .. } | Self::Both { remote, .. } => IpAddr::V4(remote),
            Self::Ipv6 { remote, .. } => IpAddr::V6(remote),
        }
    }

    pub(super) const fn local(self) -> IpAddr {
        match self {
            Self::Ipv4 { local, .. } | Self::Both { local, .. } => IpAddr::V4(local),
            Self::Ipv6 { local, .. } => IpAddr::V6(local),
        }
    }

    /// The only family that it can carry.
    pub(super) const fn only_family(self) -> Option<&'static str> {
        match self {
            Self::Ipv4 { .. } => Some("ipv4"),
            Self::Ipv6 { .. } => Some("ipv6"),
            Self::Both { .. } => None,
        }
    }

    pub(super) const fn next_hop_ipv6(self) -> Option<Ipv6Addr> {
        match self {
            Self::Both { next_hop, .. } => Some(next_hop),
            Self::Ipv4 { .. } | Self::Ipv6 { .. } => None,
        }
    }
}

/// Every other node that ours can have a session with.
pub(super) fn others<'o>(objects: &'o Objects, name: &str) -> BTreeMap<&'o str, (&'o Node, Path)> {
    let Some(own) = objects.nodes.get(name) else { return BTreeMap::new() };
    let others = objects.nodes.iter().filter(|(other, _)| *other != name);
    others
        .filter_map(|(other, node)| Some((other.as_str(), (node, Path::between(own, node)?))))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(addresses: &[&str]) -> Node {
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        Node { addresses, ..Node::default() }
    }

    fn objects(nodes: &[(&str, &[&str])]) -> Objects {
        let nodes =
            nodes.iter().map(|(name, addresses)| ((*name).to_owned(), node(addresses))).collect();
        Objects { nodes, ..Objects::default() }
    }

    #[test]
    fn router_ids_are_ipv4_addresses_or_numbers_of_their_own() {
        let with = objects(&[("a", &["fd00::1", "10.0.0.1"]), ("b", &["fd00::2"])]);
        assert_eq!(router_id(&with, "a"), Ipv4Addr::new(10, 0, 0, 1));
        let made = router_id(&with, "b");
        assert!((1..=223).contains(&made.octets()[0]));
        assert_eq!(router_id(&objects(&[]), "b"), made, "the others do not matter");
        // Somebody has it already.
        let text = made.to_string();
        let taken = objects(&[("a", &[&text]), ("b", &["fd00::2"]), ("c", &["fd00::3"])]);
        assert_ne!(router_id(&taken, "b"), made);
    }

    #[test]
    fn a_session_carries_what_both_have_addresses_of() {
        let both = node(&["10.0.0.1", "fd00::1"]);
        let path = |other: &[&str]| Path::between(&both, &node(other));
        let dual = path(&["fd00::2", "10.0.0.2"]).unwrap();
        assert_eq!(dual.remote().to_string(), "10.0.0.2");
        assert_eq!(dual.next_hop_ipv6(), Some("fd00::1".parse().unwrap()));
        assert_eq!(path(&["10.0.0.2"]).unwrap().only_family(), Some("ipv4"));
        let six = path(&["fd00::2"]).unwrap();
        assert_eq!((six.only_family(), six.local().to_string()), (Some("ipv6"), "fd00::1".into()));
        assert_eq!(path(&[]), None);
    }
}
