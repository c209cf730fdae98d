//! The steps that make a pod's network, as data and in order.
//!
//! In: a [`Wiring`]. Out: what to ask of the kernel. Who carries them out decides nothing: one
//! datagram for each run of steps of the same [`Stage`], and no further stage after a refusal. Two
//! steps wait for what the kernel does in work of its own, since a pod must be reached from the moment
//! at which ADD is answered.
//!
//! What the order rests on: a pair is made with its peer already in the pod's namespace, since
//! moving an interface later costs 20 ms under the kernel's main lock; interface indexes and hardware
//! addresses are ours to choose, so that routes and neighbours need no answer first. The pair has a
//! datagram to itself: if it were refused because an index is taken, the routes behind it would go to a
//! stranger's interface. The pod's end goes up before the host's, which then has its carrier from the
//! first moment: every change of an end that is up, and every change of its carrier, makes the kernel
//! walk through all IPv6 routes of the namespace, of which the host has one for each pod. The rules
//! come after the carrier, with which the kernel begins what is waited for at the end.

use std::{fmt, net::IpAddr};

use bgp::prefix::Prefix;

use super::{
    alias,
    wiring::{LinkEnd, Mac, RouteStamp, Wiring, gateway},
};

/// Link group of the host's ends: what is in it is ours.
pub const GROUP_LIVE: u32 = 5332;
/// Link group of host's ends that are to be deleted, all at once.
pub const GROUP_DOOMED: u32 = 5333;

/// One change in the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Make a veth pair of one queue, the host's end in [`GROUP_LIVE`], the other end in the pod's
    /// namespace, both down. Refused if a name is taken.
    CreatePair {
        /// The host's end.
        host: LinkEnd,
        /// The pod's end.
        inside: LinkEnd,
        /// Of both ends, in octets.
        mtu: u32,
    },
    /// Write the pod's identity into the host's end, and let it have no link-local address: with
    /// thousands of pods those fill the node's own tables.
    Label {
        /// Name of the host's end.
        name: String,
        /// At most 255 octets.
        alias: String,
    },
    /// Permanent neighbour entry, on whichever side `on` is.
    Neighbour {
        /// Interface.
        on: End,
        /// Of the neighbour.
        address: IpAddr,
        /// Where it is.
        mac: Mac,
    },
    /// Route from the host to a pod's address, on link. Refused if there is one, unless BGP taught us that.
    HostRoute {
        /// Index of the host's end.
        index: u32,
        /// The pod's.
        address: IpAddr,
        /// Table and protocol.
        stamp: RouteStamp,
    },
    /// Let interfaces send from addresses: the new one from its own and those of the pod's other
    /// interfaces, these from the new one's.
    Permit {
        /// Index of the host's end.
        index: u32,
        /// The pod's.
        addresses: Vec<IpAddr>,
        /// Interface and address.
        permits: Vec<(u32, IpAddr)>,
    },
    /// Set the pod's loopback interface up.
    LoopbackUp,
    /// Set an end up.
    LinkUp {
        /// Which.
        on: End,
    },
    /// Give the pod's end an address of full length, without duplicate address detection (1.7 s).
    /// If IPv6 is switched off on the interface, it is switched on first.
    Address {
        /// The pod's end.
        name: String,
        /// Index in the pod's namespace.
        index: u32,
        /// The pod's.
        address: IpAddr,
    },
    /// Make the IPv4 gateway reachable on link.
    GatewayRoute {
        /// Index in the pod's namespace.
        index: u32,
        /// [`gateway`] of the family.
        gateway: IpAddr,
    },
    /// A further route of the pod. Refused if there is one.
    Route {
        /// Index in the pod's namespace.
        index: u32,
        /// Where to.
        destination: Prefix,
        /// [`gateway`] of the family.
        gateway: IpAddr,
    },
    /// The pod's default route. Refused if there is one.
    DefaultRoute {
        /// Index in the pod's namespace.
        index: u32,
        /// [`gateway`] of the family.
        gateway: IpAddr,
    },
    /// Wait until the pod's end sends: it was up before its peer, so the kernel notices the carrier a
    /// moment later, and drops what is sent until then.
    AwaitCarrier {
        /// Index in the pod's namespace.
        index: u32,
    },
    /// Wait until the pod's IPv6 address receives: even without duplicate address detection the
    /// kernel adds the address' local route a moment later.
    AwaitAddress {
        /// The pod's.
        address: IpAddr,
    },
    /// Take back [`Step::Permit`]: whatever the interface may send from, and whoever may send from
    /// the addresses.
    Forbid {
        /// Index of the host's end.
        index: u32,
        /// The pod's.
        addresses: Vec<IpAddr>,
    },
    /// Take back [`Step::HostRoute`]; nothing happens if it is not there.
    RemoveHostRoute {
        /// Index of the host's end: a route to the same address elsewhere stays.
        index: u32,
        /// The pod's.
        address: IpAddr,
        /// Table and protocol.
        stamp: RouteStamp,
    },
    /// Put right one thing of the host's end, which is there.
    Adjust {
        /// Index of the host's end.
        index: u32,
        /// What it shall be.
        to: Adjustment,
    },
    /// As [`Step::HostRoute`], in place of one of ours that leads elsewhere.
    MoveHostRoute {
        /// Index of the host's end.
        index: u32,
        /// The pod's.
        address: IpAddr,
        /// Table and protocol.
        stamp: RouteStamp,
    },
    /// Write a setting of the host's end under /proc/sys.
    Set {
        /// Name of the host's end.
        name: String,
        /// What it shall do.
        to: Setting,
    },
    /// Move the host's end to [`GROUP_DOOMED`]; nothing happens if it is not there. By name, which
    /// is derived from the id, and so can never hit a stranger's interface.
    Doom {
        /// Name of the host's end.
        name: String,
    },
}

/// One thing of the host's end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Adjustment {
    /// Its name.
    Name(String),
    /// That it is in [`GROUP_LIVE`].
    Group,
    /// Octets.
    Mtu(u32),
    /// Its hardware address.
    Mac(Mac),
}

/// A setting of the host's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// It forwards IPv4 that comes in.
    Forwards,
    /// It ignores router advertisements.
    IgnoresAdvertisements,
}

/// An interface on one of the two sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Index in the host's namespace.
    Host(u32),
    /// Index in the pod's namespace.
    Inside(u32),
}

/// Which datagram a step goes into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// In the host's namespace, by itself.
    Pair,
    /// In the host's namespace.
    Host,
    /// In the pod's namespace.
    Inside,
    /// The rules of what pods may send, one transaction a step.
    Guard,
    /// Files under /proc/sys are written.
    Settings,
    /// Nothing is sent but questions, until the answer is right.
    Await,
}

impl Step {
    /// Where and with what it is sent.
    #[must_use]
    pub const fn stage(&self) -> Stage {
        match self {
            Self::CreatePair { .. } => Stage::Pair,
            Self::Label { .. }
            | Self::Neighbour { on: End::Host(_), .. }
            | Self::LinkUp { on: End::Host(_) }
            | Self::HostRoute { .. }
            | Self::RemoveHostRoute { .. }
            | Self::Adjust { .. }
            | Self::MoveHostRoute { .. }
            | Self::Doom { .. } => Stage::Host,
            Self::Set { .. } => Stage::Settings,
            Self::Permit { .. } | Self::Forbid { .. } => Stage::Guard,
            Self::Neighbour { on: End::Inside(_), .. }
            | Self::LoopbackUp
            | Self::LinkUp { on: End::Inside(_) }
            | Self::Address { .. }
            | Self::GatewayRoute { .. }
            | Self::Route { .. }
            | Self::DefaultRoute { .. } => Stage::Inside,
            Self::AwaitCarrier { .. } | Self::AwaitAddress { .. } => Stage::Await,
        }
    }
}

/// Runs of steps that go into one datagram each.
pub fn datagrams(steps: &[Step]) -> impl Iterator<Item = &[Step]> {
    steps.chunk_by(|one, next| one.stage() == next.stage())
}

/// What the interface of a wiring and those of the same pod's others may send from, as far as the new
/// one is concerned.
#[must_use]
pub fn permits(wiring: &Wiring, siblings: &[&Wiring]) -> Vec<(u32, IpAddr)> {
    let own = wiring.lease.iter().map(|address| (wiring.host.index, address));
    let others = siblings.iter().flat_map(|sibling| {
        let theirs = sibling.lease.iter().map(|address| (wiring.host.index, address));
        theirs.chain(wiring.lease.iter().map(|address| (sibling.host.index, address)))
    });
    own.chain(others).collect()
}

/// The steps that make a pod's network. `permits` are those of [`permits`]; `None` if pods may send
/// what they like.
#[must_use]
pub fn attach(wiring: &Wiring, permits: Option<Vec<(u32, IpAddr)>>) -> Vec<Step> {
    let Wiring { host, inside, lease, mtu, routes, .. } = wiring;
    let pair = Step::CreatePair { host: host.clone(), inside: inside.clone(), mtu: *mtu };
    let index = inside.index;
    let mut steps = vec![pair, Step::LoopbackUp, Step::LinkUp { on: End::Inside(index) }];
    for address in lease.iter() {
        let gateway = gateway(address);
        steps.push(Step::Neighbour { on: End::Inside(index), address: gateway, mac: host.mac });
        steps.push(Step::Address { name: inside.name.clone(), index, address });
        if gateway.is_ipv4() {
            // IPv6 needs none: its gateway is link-local.
            steps.push(Step::GatewayRoute { index, gateway });
        }
        let family = Prefix::host(address).family();
        for destination in wiring.destinations.iter().filter(|to| to.family() == family) {
            steps.push(Step::Route { index, destination: *destination, gateway });
        }
        if wiring.default_route {
            steps.push(Step::DefaultRoute { index, gateway });
        }
    }
    steps.extend([
        Step::Label { name: host.name.clone(), alias: alias::encode(wiring) },
        Step::LinkUp { on: End::Host(host.index) },
    ]);
    for address in lease.iter() {
        steps.push(Step::Neighbour { on: End::Host(host.index), address, mac: inside.mac });
        steps.push(Step::HostRoute { index: host.index, address, stamp: *routes });
    }
    steps.push(Step::AwaitCarrier { index: inside.index });
    // Until then what the pod sends is dropped, but nothing runs in it before ADD is answered.
    let (index, addresses) = (host.index, lease.iter().collect());
    steps.extend(permits.map(|permits| Step::Permit { index, addresses, permits }));
    steps.extend(lease.ipv6.map(|address| Step::AwaitAddress { address: address.into() }));
    steps
}

/// As in an error: what was tried.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreatePair { host, inside, .. } => {
                write!(f, "creating the veth pair {} (host) and {} (pod)", host.name, inside.name)
            }
            Self::Label { name, .. } => write!(f, "writing the alias of {name}"),
            Self::Neighbour { on: End::Host(index), address, .. } => {
                write!(f, "adding the neighbour {address} to the host's interface {index}")
            }
            Self::Neighbour { on: End::Inside(_), address, .. } => {
                write!(f, "adding the neighbour {address} in the pod")
            }
            Self::HostRoute { index, address, .. } => {
                let prefix = Prefix::host(*address);
                write!(f, "adding the route {prefix} to the host's interface {index}")
            }
            Self::Permit { index, .. } => {
                write!(f, "permitting the pod's addresses on the host's interface {index}")
            }
            Self::Forbid { index, .. } => {
                write!(f, "forbidding the pod's addresses on the host's interface {index}")
            }
            Self::LoopbackUp => f.write_str("setting the pod's loopback interface up"),
            Self::LinkUp { on: End::Inside(_) } => f.write_str("setting the pod's interface up"),
            Self::LinkUp { on: End::Host(index) } => {
                write!(f, "setting the host's interface {index} up")
            }
            Self::Address { name, address, .. } => {
                write!(f, "adding the address {} to {name} in the pod", Prefix::host(*address))
            }
            Self::GatewayRoute { gateway, .. } => {
                write!(f, "adding the route to the gateway {gateway} in the pod")
            }
            Self::Route { destination, gateway, .. } => {
                write!(f, "adding the route {destination} via {gateway} in the pod")
            }
            Self::DefaultRoute { gateway, .. } => {
                write!(f, "adding the default route via {gateway} in the pod")
            }
            Self::AwaitCarrier { index } => {
                write!(f, "waiting for the pod's interface {index} to find its carrier")
            }
            Self::AwaitAddress { address } => write!(f, "waiting for {address} to receive"),
            Self::RemoveHostRoute { index, address, .. } => {
                let prefix = Prefix::host(*address);
                write!(f, "removing the route {prefix} from the host's interface {index}")
            }
            Self::Adjust { index, to } => {
                let what = match to {
                    Adjustment::Name(_) => "name",
                    Adjustment::Group => "group",
                    Adjustment::Mtu(_) => "MTU",
                    Adjustment::Mac(_) => "hardware address",
                };
                write!(f, "giving the host's interface {index} its {what} back")
            }
            Self::MoveHostRoute { index, address, .. } => {
                let prefix = Prefix::host(*address);
                write!(f, "leading the route {prefix} to the host's interface {index} again")
            }
            Self::Set { name, to: Setting::Forwards } => {
                write!(f, "switching forwarding on for {name}")
            }
            Self::Set { name, to: Setting::IgnoresAdvertisements } => {
                write!(f, "having {name} ignore router advertisements")
            }
            Self::Doom { name } => write!(f, "marking {name} for deletion"),
        }
    }
}
