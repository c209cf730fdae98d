//! One pod's network as it shall be: both ends of the veth pair, addresses, and what hangs on them.
//!
//! A [`Wiring`] is complete: the steps that make it, the steps that undo it, the differences that
//! CHECK reports and the alias that survives a restart all follow from it alone.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use bgp::prefix::Prefix;

use crate::{
    attachment::{AttachmentId, PodName},
    ipam::Lease,
};

/// Everything about one pod's network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wiring {
    /// Which attachment.
    pub id: AttachmentId,
    /// For people to read.
    pub pod: Option<PodName>,
    /// The end in the host's namespace.
    pub host: LinkEnd,
    /// The end in the pod's namespace.
    pub inside: LinkEnd,
    /// Addresses of the pod's end, each /32 or /128.
    pub lease: Lease,
    /// Of both ends, in octets.
    pub mtu: u32,
    /// Whether the pod gets default routes.
    pub default_route: bool,
    /// What else the pod reaches through this interface. Not known of a former run's pods; CHECK
    /// then has it from the runtime.
    pub destinations: Vec<Prefix>,
    /// Where the host's routes to the pod go.
    pub routes: RouteStamp,
}

/// One end of a veth pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkEnd {
    /// Interface name.
    pub name: String,
    /// Interface index, chosen by us so that a batch can refer to it before it exists.
    pub index: u32,
    /// Hardware address.
    pub mac: Mac,
}

/// How the host's routes to pods are marked as ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteStamp {
    /// Kernel routing table.
    pub table: u32,
    /// Route protocol number; whatever carries it is ours.
    pub protocol: u8,
    /// Protocol number of what BGP taught us. Where a pod's address was learned from another node, which
    /// had the pod before, the pod's route takes the place of that.
    pub learned: u8,
}

/// The gateway that a pod uses for this family. The same in every pod; no interface has it: a
/// permanent neighbour entry leads to the host's end.
#[must_use]
pub const fn gateway(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => IpAddr::V4(GATEWAY_V4),
        IpAddr::V6(_) => IpAddr::V6(GATEWAY_V6),
    }
}

/// IPv4 gateway of every pod.
pub const GATEWAY_V4: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);
/// IPv6 gateway of every pod.
pub const GATEWAY_V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
/// Hardware address of every host's end, as Calico has it: each is alone on its link.
pub const HOST_MAC: Mac = Mac([0xee; 6]);

/// A hardware address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// The address of a pod's end if none is requested: locally administered, from the id, so that
    /// it is the same in every run.
    #[must_use]
    pub fn of_pod(id: &AttachmentId) -> Self {
        let [first, second, third, fourth, fifth, sixth, ..] = id.hash().to_be_bytes();
        Self([first & 0xfc | 0x02, second, third, fourth, fifth, sixth])
    }

    /// Can an interface have it? Not a group address and not zero.
    #[must_use]
    pub const fn is_unicast(self) -> bool {
        self.0[0] & 1 == 0 && !matches!(self.0, [0, 0, 0, 0, 0, 0])
    }
}

/// Lower case with colons, as CNI results have it.
impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl FromStr for Mac {
    type Err = BadMac;

    fn from_str(text: &str) -> Result<Self, BadMac> {
        let bad = || BadMac(text.to_owned());
        let mut octets = [0; 6];
        let mut parts = text.split(':');
        for octet in &mut octets {
            let part = parts.next().filter(|part| part.len() == 2).ok_or_else(bad)?;
            *octet = u8::from_str_radix(part, 16).map_err(|_| bad())?;
        }
        if parts.next().is_some() { Err(bad()) } else { Ok(Self(octets)) }
    }
}

/// Not a hardware address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a hardware address; write six octets, as in 02:00:5e:10:00:01")]
pub struct BadMac(pub String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hardware_addresses_are_written_and_read_alike() {
        let mac: Mac = "02:00:5e:10:00:ff".parse().unwrap();
        assert_eq!(mac.to_string(), "02:00:5e:10:00:ff");
        for text in
            ["", "02:00:5e:10:00", "02:00:5e:10:00:ff:00", "2:0:5e:10:0:ff", "02:00:5e:10:00:fg"]
        {
            assert!(text.parse::<Mac>().is_err(), "{text}");
        }
    }

    #[test]
    fn pods_get_local_unicast_hardware_addresses() {
        for number in 0..1000 {
            let id = AttachmentId::new("net", &format!("c{number}"), "eth0").unwrap();
            let mac = Mac::of_pod(&id);
            assert!(mac.is_unicast() && mac.0[0] & 2 == 2, "{mac}");
        }
        assert!(HOST_MAC.is_unicast());
    }
}
