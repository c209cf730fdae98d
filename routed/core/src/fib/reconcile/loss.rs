//! What the kernel drops without a word: routes whose interface goes down, and those whose group goes.
//!
//! In: that an interface or a group is lost, or a group is there. Out: entries that know it, and doubt
//! where only a full picture tells.

use bgp::family::Family;

use super::{
    super::{
        entry::Entry,
        next_hop::NextHopId,
        route::{Hop, RouteKey, Target},
    },
    Reconciler,
};

impl Reconciler {
    /// An interface went down or away: with it, and in silence, the kernel drops the IPv4 routes
    /// that have no hop through an interface that is still up.
    pub(in crate::fib) fn link_lost(&mut self, ifindex: u32, up: impl Fn(u32) -> bool) {
        let alive = |hop: &Hop| hop.ifindex != ifindex && up(hop.ifindex);
        let lost = |key: &RouteKey, target: &Target| {
            let hops = target.hops();
            key.prefix.family() == Family::Ipv4Unicast
                && !hops.is_empty()
                && !hops.iter().any(alive)
        };
        for key in &self.flights {
            // Done before or after the loss? The answer does not tell.
            let entry = self.entries.get_mut(key);
            if let Some(flight) = entry.and_then(|entry| entry.flight.as_mut()) {
                flight.disturbed |= flight.deed.target().is_some_and(|target| lost(key, target));
            }
        }
        if !self.users.contains_key(&ifindex) {
            return;
        }
        self.doubt = true;
        let had = |entry: &Entry, key| entry.have.as_ref().is_some_and(|have| lost(key, have));
        let keys: Vec<_> = self
            .entries
            .iter()
            .filter(|(key, entry)| had(entry, key))
            .map(|(key, _)| *key)
            .collect();
        for key in keys {
            self.change(key, |entry| entry.have = None);
        }
    }

    /// A group is in the kernel: routes may name it.
    pub(in crate::fib) fn group_there(&mut self, id: NextHopId) {
        self.groups.insert(id);
        for key in std::mem::take(&mut self.blocked) {
            self.enqueue(key);
        }
    }

    /// A group is no longer in the kernel, which has dropped the routes that named it in silence.
    pub(in crate::fib) fn group_gone(&mut self, id: NextHopId, by_hand: bool) {
        self.groups.remove(&id);
        for key in &self.flights {
            // Done before or after the loss? The answer does not tell.
            let entry = self.entries.get_mut(key);
            if let Some(flight) = entry.and_then(|entry| entry.flight.as_mut()) {
                let names_it = |target: &Target| target.group() == Some(id);
                flight.disturbed |= flight.deed.target().is_some_and(names_it);
            }
        }
        let target = Target::Group(id);
        let concerned =
            |entry: &Entry| entry.have.as_ref() == Some(&target) || entry.wants(&target);
        let keys = self.entries.iter().filter(|(_, entry)| concerned(entry)).map(|(key, _)| *key);
        for key in keys.collect::<Vec<_>>() {
            if self.have(key) != Some(&target) {
                self.change(key, |_| ());
            } else if by_hand {
                self.foreign_hand_found(key, None);
            } else {
                self.change(key, |entry| entry.have = None);
            }
        }
    }
}
