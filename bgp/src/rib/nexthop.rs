//! Next hops: which ones paths have, and whether and how far away they can be reached.
//!
//! In: which destinations use which next hop, and the caller's answers. Out: which next hops
//! the caller shall watch or may forget, each once with its newest state, and which
//! destinations an answer concerns. Looks nothing up itself.

use std::{collections::VecDeque, net::IpAddr};

use foldhash::fast::RandomState;
use hashbrown::{HashMap, hash_map::Entry};

use super::{
    dense::{DestId, DestSet},
    verdict::Ineligible,
};
use crate::attrs::NextHop;

/// Where traffic to a next hop would go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// It can be reached.
    Reachable {
        /// Cost to compare in step e of RFC 4271 §9.1.2.2. 0 exactly if it is on a connected
        /// network, which is what eBGP peers on the link must announce.
        cost: u32,
    },
    /// No route leads there.
    Unreachable,
    /// It is an address of this router.
    Own,
}

/// A next hop that begins or ceases to matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextHopInterest {
    /// Paths have it: answer with [`super::Rib::set_next_hop`] now and whenever the answer changes.
    Watch(NextHop),
    /// No path has it any more. Answers are ignored until it is watched again.
    Forget(NextHop),
}

/// The next hops of all paths.
#[derive(Debug, Default)]
pub(super) struct NextHops {
    entries: HashMap<NextHop, Tracked, RandomState>,
    /// Those for which `watched` may not be what it should be, each once.
    changed: VecDeque<NextHop>,
}

#[derive(Debug, Default)]
struct Tracked {
    /// Destinations with a path that has it.
    users: DestSet,
    /// The caller's answer; `None` until it comes.
    resolution: Option<Resolution>,
    /// The caller has been told to watch it.
    watched: bool,
    /// It stands in `changed`.
    listed: bool,
}

impl NextHops {
    /// The destination has a path with this next hop. Idempotent.
    pub(super) fn add(&mut self, next_hop: NextHop, dest: DestId) {
        let tracked = self.entries.entry(next_hop).or_default();
        tracked.users.insert(dest);
        if !tracked.watched && !tracked.listed {
            tracked.listed = true;
            self.changed.push_back(next_hop);
        }
    }

    /// The destination has no path with this next hop any more.
    pub(super) fn remove(&mut self, next_hop: NextHop, dest: DestId) {
        let Some(tracked) = self.entries.get_mut(&next_hop) else { return };
        tracked.users.remove(dest);
        if tracked.users.is_empty() && !tracked.listed {
            tracked.listed = true;
            self.changed.push_back(next_hop);
        }
    }

    /// What the caller shall know next.
    pub(super) fn poll(&mut self) -> Option<NextHopInterest> {
        while let Some(next_hop) = self.changed.pop_front() {
            let Entry::Occupied(mut entry) = self.entries.entry(next_hop) else { continue };
            let tracked = entry.get_mut();
            tracked.listed = false;
            let wanted = !tracked.users.is_empty();
            let watched = std::mem::replace(&mut tracked.watched, wanted);
            if !wanted {
                entry.remove();
            }
            match (watched, wanted) {
                (false, true) => return Some(NextHopInterest::Watch(next_hop)),
                (true, false) => return Some(NextHopInterest::Forget(next_hop)),
                (true, true) | (false, false) => {}
            }
        }
        None
    }

    /// Takes an answer and gives the destinations that it concerns: none if nothing changed.
    pub(super) fn resolve(&mut self, next_hop: NextHop, resolution: Resolution) -> Vec<DestId> {
        let Some(tracked) = self.entries.get_mut(&next_hop) else { return Vec::new() };
        if tracked.resolution == Some(resolution) {
            return Vec::new();
        }
        tracked.resolution = Some(resolution);
        tracked.users.iter().collect()
    }

    /// The newest answer.
    pub(super) fn resolution(&self, next_hop: NextHop) -> Option<Resolution> {
        self.entries.get(&next_hop)?.resolution
    }
}

/// What an answer means for a path: the cost of its next hop, or why it cannot be used. A path
/// whose next hop is not answered yet waits as if there were no route (RFC 4271 §9.1.2.1).
/// `on_link`: only a connected network will do (RFC 4271 §5.1.3).
pub(super) const fn cost(answer: Option<Resolution>, on_link: bool) -> Result<u32, Ineligible> {
    match answer {
        None | Some(Resolution::Unreachable) => Err(Ineligible::NextHopUnreachable),
        Some(Resolution::Own) => Err(Ineligible::NextHopInvalid),
        Some(Resolution::Reachable { cost }) if on_link && cost > 0 => {
            Err(Ineligible::NextHopNotOnLink)
        }
        Some(Resolution::Reachable { cost }) => Ok(cost),
    }
}

/// Can traffic be sent to it at all? Not to one of our `own` addresses, nor where no router
/// can be: 0/8, 127/8, 169.254/16, 224/4, 255.255.255.255 and their IPv6 counterparts. An IPv6
/// link-local address can be one, on the link of the session.
pub(super) fn is_valid(next_hop: NextHop, own: &[IpAddr]) -> bool {
    let link_local = next_hop.link_local.map(IpAddr::V6);
    if own.iter().any(|own| *own == next_hop.addr || Some(*own) == link_local) {
        return false;
    }
    match next_hop.addr {
        IpAddr::V4(addr) => {
            addr.octets()[0] != 0
                && !addr.is_loopback()
                && !addr.is_link_local()
                && !addr.is_multicast()
                && !addr.is_broadcast()
        }
        IpAddr::V6(addr) => {
            !addr.is_unspecified()
                && !addr.is_loopback()
                && !addr.is_multicast()
                && addr.to_ipv4_mapped().is_none()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hop(text: &str) -> NextHop {
        NextHop::new(text.parse().unwrap())
    }

    #[test]
    fn addresses_that_no_router_can_have_are_no_next_hops() {
        for text in [
            "0.0.0.0",
            "0.1.2.3",
            "127.0.0.1",
            "169.254.1.1",
            "224.0.0.5",
            "239.1.1.1",
            "255.255.255.255",
            "::",
            "::1",
            "ff02::1",
            "::ffff:10.0.0.1",
        ] {
            assert!(!is_valid(hop(text), &[]), "{text}");
        }
        for text in ["10.0.0.1", "1.0.0.1", "223.255.255.255", "fe80::1", "2001:db8::1"] {
            assert!(is_valid(hop(text), &[]), "{text}");
            assert!(!is_valid(hop(text), &[text.parse().unwrap()]), "own {text}");
        }
    }

    #[test]
    fn a_next_hop_is_watched_once_and_forgotten_after_its_last_path() {
        let mut hops = NextHops::default();
        hops.add(hop("10.0.0.1"), DestId(1));
        hops.add(hop("10.0.0.1"), DestId(2));
        assert_eq!(hops.poll(), Some(NextHopInterest::Watch(hop("10.0.0.1"))));
        assert_eq!(hops.poll(), None);
        hops.remove(hop("10.0.0.1"), DestId(1));
        assert_eq!(hops.poll(), None);
        hops.remove(hop("10.0.0.1"), DestId(2));
        assert_eq!(hops.poll(), Some(NextHopInterest::Forget(hop("10.0.0.1"))));
        assert_eq!(hops.poll(), None);
        assert!(hops.entries.is_empty());
    }

    #[test]
    fn a_next_hop_that_flaps_between_polls_keeps_its_answer_and_tells_nothing() {
        let mut hops = NextHops::default();
        hops.add(hop("10.0.0.1"), DestId(1));
        hops.poll();
        hops.resolve(hop("10.0.0.1"), Resolution::Reachable { cost: 3 });
        for _ in 0..10 {
            hops.remove(hop("10.0.0.1"), DestId(1));
            hops.add(hop("10.0.0.1"), DestId(1));
        }
        assert_eq!(hops.changed.len(), 1);
        assert_eq!(hops.poll(), None);
        assert_eq!(hops.resolution(hop("10.0.0.1")), Some(Resolution::Reachable { cost: 3 }));
        hops.add(hop("10.0.0.2"), DestId(1));
        hops.remove(hop("10.0.0.2"), DestId(1));
        assert_eq!(hops.poll(), None);
    }

    #[test]
    fn an_answer_concerns_the_users_and_only_if_it_is_new() {
        let mut hops = NextHops::default();
        hops.add(hop("10.0.0.1"), DestId(1));
        hops.add(hop("10.0.0.2"), DestId(2));
        assert_eq!(hops.resolve(hop("10.0.0.1"), Resolution::Unreachable), [DestId(1)]);
        assert!(hops.resolve(hop("10.0.0.1"), Resolution::Unreachable).is_empty());
        assert!(hops.resolve(hop("10.0.0.9"), Resolution::Own).is_empty());
    }
}
