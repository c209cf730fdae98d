//! Kernel routes as values: which one it is, where it leads, and what may be done about it.
//!
//! The numbers that tell our routes from everybody else's live here.

use std::{collections::BTreeMap, fmt, net::IpAddr, sync::Arc};

use bgp::{family::Family, prefix::Prefix};

use super::next_hop::NextHopId;

/// Route protocol number of what BGP taught us and of our own blackholes, unless configured
/// otherwise (rtnetlink(7), `rtm_protocol`). Every route with it, in any table, is the
/// [`Fib`](super::Fib)'s; nothing else ever is.
pub const PROTO_FABRIC: u8 = 132;

/// Route protocol number of the host routes to this node's pods. They belong to the pod machine:
/// here they are somebody else's routes, read and never written.
pub const PROTO_PODS: u8 = 133;

/// Number of the kernel's main table.
pub const TABLE_MAIN: u32 = 254;

/// What makes two routes the same one to the kernel: a second route with the same key replaces
/// the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteKey {
    /// Routing table.
    pub table: u32,
    /// Destination.
    pub prefix: Prefix,
    /// Metric (`RTA_PRIORITY`); the kernel prefers the lowest.
    pub metric: u32,
}

impl RouteKey {
    /// A key as the kernel keeps it: it turns metric 0 of an IPv6 route into 1024.
    #[must_use]
    pub const fn new(table: u32, prefix: Prefix, metric: Option<u32>) -> Self {
        let metric = match (prefix.family(), metric) {
            (Family::Ipv4Unicast, None) => 0,
            (Family::Ipv6Unicast, None | Some(0)) => IPV6_DEFAULT_METRIC,
            (Family::Ipv4Unicast | Family::Ipv6Unicast, Some(metric)) => metric,
        };
        Self { table, prefix, metric }
    }
}

impl fmt::Display for RouteKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} table {} metric {}", self.prefix, self.table, self.metric)
    }
}

/// One way out of this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hop {
    /// The neighbour to hand the packet to; `None` if the destination itself is on the link. May
    /// be an IPv6 address for an IPv4 route (RFC 8950).
    pub gateway: Option<IpAddr>,
    /// Index of the interface.
    pub ifindex: u32,
    /// Share of the traffic among several hops, 1..=256.
    pub weight: u16,
    /// Whether the kernel must believe that the gateway is on the link, whatever its routes say.
    pub onlink: bool,
}

impl Hop {
    /// A hop of ordinary weight.
    #[must_use]
    pub const fn new(gateway: Option<IpAddr>, ifindex: u32) -> Self {
        Self { gateway, ifindex, weight: 1, onlink: false }
    }
}

impl fmt::Display for Hop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(gateway) = self.gateway {
            write!(f, "via {gateway} ")?;
        }
        write!(f, "dev {}", self.ifindex)
    }
}

/// The hops of one route: sorted and without repeats, so that equal sets compare equal however
/// the kernel or BGP listed them. Shared by all routes that use the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hops(Arc<[Hop]>);

impl Hops {
    /// The set of these hops.
    #[must_use]
    pub fn as_slice(&self) -> &[Hop] {
        &self.0
    }

    /// True if there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The set of these hops, each with its share of the traffic in proportion to the others', as
    /// near as the kernel's 1 to 256 allow. Of a hop that comes twice the larger share counts: the
    /// same neighbour by two sessions is not twice as fast.
    #[must_use]
    pub fn weighed(shares: impl IntoIterator<Item = (Hop, u32)>) -> Self {
        let mut largest = BTreeMap::new();
        for (hop, share) in shares {
            let kept = largest.entry(Hop { weight: 1, ..hop }).or_insert(1);
            *kept = share.max(*kept);
        }
        let most = largest.values().copied().max().unwrap_or(1);
        let divisor = largest.values().copied().fold(0, greatest_common_divisor).max(1);
        let weight = |share: u32| {
            let (share, most) = (u64::from(share), u64::from(most));
            let exact = most / u64::from(divisor) <= MOST_WEIGHT;
            let weight = if exact {
                share / u64::from(divisor)
            } else {
                (share * MOST_WEIGHT + most / 2) / most
            };
            u16::try_from(weight.max(1)).expect("no share is larger than the largest")
        };
        largest.into_iter().map(|(hop, share)| Hop { weight: weight(share), ..hop }).collect()
    }
}

const fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

impl FromIterator<Hop> for Hops {
    fn from_iter<I: IntoIterator<Item = Hop>>(hops: I) -> Self {
        let mut hops: Vec<_> = hops.into_iter().collect();
        hops.sort_unstable();
        hops.dedup();
        Self(hops.into())
    }
}

/// What a route does with a packet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// Sends it on; several hops share the traffic (ECMP).
    Forward(Hops),
    /// Sends it on as the next-hop object says that is named here.
    Group(NextHopId),
    /// Drops it without a word.
    Blackhole,
    /// Refuses it (unreachable, prohibit, throw). Never ours.
    Refuse,
}

impl Target {
    /// The hops that it lists itself.
    #[must_use]
    pub fn hops(&self) -> &[Hop] {
        match self {
            Self::Forward(hops) => hops.as_slice(),
            Self::Group(_) | Self::Blackhole | Self::Refuse => &[],
        }
    }

    /// The next-hop object that it names.
    #[must_use]
    pub const fn group(&self) -> Option<NextHopId> {
        match self {
            Self::Group(id) => Some(*id),
            Self::Forward(_) | Self::Blackhole | Self::Refuse => None,
        }
    }
}

/// A route as the kernel reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Which.
    pub key: RouteKey,
    /// Whose: the route protocol number.
    pub protocol: u8,
    /// Where to.
    pub target: Target,
}

/// One change to the kernel's routes, always of our protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Creates the route; must be refused if any route with this key exists, so that nobody
    /// else's is overwritten.
    Add(RouteKey, Target),
    /// Takes the place of our route with this key, without a moment in between. The kernel cannot
    /// be told to replace ours only: somebody who takes the key in the instant before we hear of it
    /// is overwritten.
    Replace(RouteKey, Target),
    /// Removes our route with this key and leaves those of other protocols.
    Delete(RouteKey),
    /// Removes a second route of ours with this key, which somebody has put beside ours: the one that
    /// leads there.
    DeleteCopy(RouteKey, Target),
}

impl Operation {
    /// The route concerned.
    #[must_use]
    pub const fn key(&self) -> RouteKey {
        match self {
            Self::Add(key, _)
            | Self::Replace(key, _)
            | Self::Delete(key)
            | Self::DeleteCopy(key, _) => *key,
        }
    }
}

/// Why an operation was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// EEXIST: there is a route with this key.
    #[error("a route with this destination, table and metric exists already")]
    Exists,
    /// ESRCH or ENOENT: there is none.
    #[error("there is no such route")]
    Missing,
    /// The kernel refused it for another reason.
    #[error("{}", refusal(*errno, text.as_deref()))]
    Refused {
        /// Error number (errno(3)).
        errno: i32,
        /// The kernel's own words, if it had any.
        text: Option<Arc<str>>,
    },
    /// The socket failed; the operation may or may not have been done.
    #[error("the netlink socket failed, so what became of the route is unknown")]
    Unknown,
}

fn refusal(errno: i32, text: Option<&str>) -> String {
    let error = std::io::Error::from_raw_os_error(errno);
    text.map_or_else(
        || format!("the kernel refused the route: {error}"),
        |text| format!("the kernel refused the route: {text} ({error})"),
    )
}

const IPV6_DEFAULT_METRIC: u32 = 1024;

/// The kernel keeps the weight less one in an octet (`rtnh_hops`).
const MOST_WEIGHT: u64 = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_keep_the_proportion_of_the_shares() {
        for (shares, weights) in [
            (vec![], vec![]),
            (vec![100], vec![1]),
            (vec![7, 7, 7], vec![1, 1, 1]),
            (vec![10_000, 40_000], vec![1, 4]),
            (vec![256, 1], vec![256, 1]),
            (vec![257, 1], vec![256, 1]),
            (vec![u32::MAX, u32::MAX / 2], vec![256, 128]),
            (vec![u32::MAX, 0], vec![256, 1]),
            (vec![1_000_003, 3_000_000], vec![85, 256]),
        ] {
            let hops = (1..).zip(&shares).map(|(ifindex, share)| (Hop::new(None, ifindex), *share));
            let weighed: Vec<_> =
                Hops::weighed(hops).as_slice().iter().map(|hop| hop.weight).collect();
            assert_eq!(weighed, weights, "{shares:?}");
        }
    }

    #[test]
    fn hop_that_comes_twice_counts_once_with_the_larger_share() {
        let (a, b) = (Hop::new(None, 1), Hop::new(None, 2));
        let expected = Hops::from_iter([Hop { weight: 3, ..a }, b]);
        assert_eq!(Hops::weighed([(a, 10), (b, 10), (a, 30)]), expected);
    }
}
