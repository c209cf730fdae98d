//! What a runtime asks of the pods, and what it is told.

use std::{collections::BTreeSet, fmt, io, num::NonZeroU64};

use bgp::prefix::Prefix;

use super::{
    check::{Difference, Expected},
    step::Step,
    wiring::{Mac, Wiring},
};
use crate::{
    attachment::{AttachmentId, PodName},
    ipam::{LeaseError, Wish},
};

/// Numbers requests, so that the answer finds the one who asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpId(pub NonZeroU64);

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// ADD. The pod's namespace is known to whoever carries out the steps.
    Attach(Attach),
    /// DEL.
    Detach(AttachmentId),
    /// CHECK. The namespace as with ADD.
    Check(AttachmentId, Expected),
    /// GC: detach what is not listed.
    Collect(Collect),
    /// STATUS.
    Status,
}

/// What ADD asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attach {
    /// Which attachment.
    pub id: AttachmentId,
    /// For people to read.
    pub pod: Option<PodName>,
    /// Which addresses.
    pub wish: Wish,
    /// Requested hardware address of the pod's end.
    pub mac: Option<Mac>,
    /// Requested MTU, in octets.
    pub mtu: Option<u32>,
    /// Whether the pod gets default routes; `None`: if none of its other interfaces has them.
    pub default_route: Option<bool>,
    /// What else the pod reaches through this interface.
    pub destinations: Vec<Prefix>,
}

/// What GC asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collect {
    /// Only attachments of this network are touched.
    pub network: String,
    /// These stay. Empty is meaningful: none stays.
    pub valid: BTreeSet<AttachmentId>,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// ADD is done; the pod has this.
    Attached(Box<Wiring>),
    /// Any other verb is done.
    Done,
    /// It is not done.
    Failed(PodError),
}

/// Why a request failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PodError {
    /// No addresses.
    #[error(transparent)]
    Lease(#[from] LeaseError),
    /// ADD of an attachment that exists in another form.
    #[error("{id} exists already with another {what}; send DEL before ADD")]
    AlreadyAttached {
        /// Which.
        id: AttachmentId,
        /// What differs.
        what: Feature,
    },
    /// The MTU asked for is impossible.
    #[error("MTU {mtu} is not possible; use {least} to 65535")]
    Mtu {
        /// As requested, in octets.
        mtu: u32,
        /// What the pod's families need, in octets.
        least: u32,
    },
    /// The hardware address asked for is impossible.
    #[error(
        "{0} cannot be an interface's hardware address; use a unicast one, such as 02:00:5e:10:00:01"
    )]
    Mac(Mac),
    /// A route is asked for in a family in which the pod gets no address.
    #[error(
        "route {0} cannot be had: the pod gets no address of its family; remove it from `routes`"
    )]
    RouteWithoutAddress(Prefix),
    /// The pod has an interface of that name, which is not ours.
    #[error(
        "the pod's namespace has an interface {0} already, and it is not ours; use another CNI_IFNAME or remove it"
    )]
    IfnameTaken(String),
    /// The host has an interface of the name that we use for this pod.
    #[error(
        "the host has an interface {name} already, and it is not a pod's that we know; remove it: ip link delete {name}"
    )]
    HostLinkTaken {
        /// Its name.
        name: String,
    },
    /// The namespace given is the host's own.
    #[error(
        "CNI_NETNS is the host's own network namespace; give the pod's (pods on the host's network need no CNI)"
    )]
    HostNamespace,
    /// The descriptor is not of a network namespace, or the namespace cannot be entered.
    #[error(
        "CNI_NETNS cannot be entered ({0}); is it the path of a network namespace, and does the daemon have CAP_SYS_ADMIN?"
    )]
    Namespace(Errno),
    /// The pod's namespace has IPv6 switched off and it could not be switched on.
    #[error(
        "IPv6 is switched off in the pod and cannot be switched on ({0}); set net.ipv6.conf.default.disable_ipv6=0 there, or remove pods.ipv6 from routed.toml"
    )]
    Ipv6Off(Errno),
    /// The rules of what pods may send cannot be changed.
    #[error(
        "the rules in the table slash32 cannot be changed ({0}); see the daemon's log, then try again"
    )]
    Guard(Errno),
    /// The rules of NAT outgoing cannot be changed.
    #[error(
        "pods reach nothing outside of the cluster: the table slash32-nat cannot be changed ({0})"
    )]
    Nat(Errno),
    /// The kernel was built without.
    #[error(
        "pods reach nothing outside of the cluster: this kernel has no NAT for nf_tables; it needs CONFIG_NFT_NAT and CONFIG_NFT_MASQ (modprobe -a nft_chain_nat nft_nat nft_masq), or remove nat_outgoing from routed.toml"
    )]
    NatMissing,
    /// The kernel refused a step.
    #[error("{step} failed: {errno}{}", text.as_ref().map_or(String::new(), |text| format!(" ({text})")))]
    Refused {
        /// What was tried.
        step: Box<Step>,
        /// Why not.
        errno: Errno,
        /// The kernel's own words.
        text: Option<String>,
    },
    /// The kernel's interface failed; what was asked may or may not have been done.
    #[error("netlink failed ({0}); see the daemon's log, then try again")]
    Netlink(Errno),
    /// CHECK of an attachment that does not exist.
    #[error("{0} is not known here; send ADD first")]
    Unknown(AttachmentId),
    /// CHECK found differences.
    #[error("{}", Joined(.0))]
    Differs(Vec<Difference>),
    /// GC could not remove these.
    #[error("not removed: {}", Joined(.0))]
    NotCollected(Vec<Uncollected>),
    /// STATUS: not now.
    #[error(transparent)]
    NotReady(#[from] NotReady),
}

/// What an attachment can differ in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feature {
    /// Hardware address.
    Mac,
    /// MTU.
    Mtu,
    /// Default route.
    DefaultRoute,
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mac => "hardware address",
            Self::Mtu => "MTU",
            Self::DefaultRoute => "choice of default route",
        })
    }
}

/// One attachment that GC should have removed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{id}: {error}")]
pub struct Uncollected {
    /// Which.
    pub id: AttachmentId,
    /// Why not.
    pub error: PodError,
}

/// Why ADD cannot be served well now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotReady {
    /// Pods of a former run are not known yet.
    #[error("the daemon is still reading the kernel's state; try again in a moment")]
    Starting,
    /// No peer knows of this node's pods.
    #[error(
        "no BGP session is established, so pods of this node cannot be reached from others; see `routed show peers`"
    )]
    Isolated,
}

/// An error number of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errno(pub i32);

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        io::Error::from_raw_os_error(self.0).fmt(f)
    }
}

struct Joined<'a, T>(&'a [T]);

impl<T: fmt::Display> fmt::Display for Joined<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, item) in self.0.iter().enumerate() {
            write!(f, "{}{item}", if position == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}
